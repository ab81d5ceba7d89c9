//! Keeps a worker's rings from running over: looks how full they are, and has the worker, and the XDP program before it, leave out
//! what [`Overload`] says.

use crate::capture::live::{Fill, Interfaces, rested_at_most};
use crate::clock::{self, Stopwatch};
use crate::export::summary::InputShed;
use crate::limits::SHED_PARTS;

use super::member::Member;
use super::overload::{Look, Overload};

/// How full a ring is when packets may have been dropped, so that the kernel is asked each time.
const NEARLY_FULL: f64 = 0.5;

/// What is looked at, and what was found.
#[derive(Debug)]
pub(super) struct Relief {
    overload: Overload,
    began: Stopwatch,
    /// Packets dropped so far.
    drops: u64,
    /// Packets that the XDP program left out so far.
    shed: u64,
    /// For how long there was nothing to do, in nanoseconds.
    idle_ns: u64,
    /// Since when there is nothing, in nanoseconds, and how many times in a row there was not.
    quiet: Option<(u64, usize)>,
}

impl Relief {
    pub(super) fn new() -> Relief {
        Relief { overload: Overload::default(), began: Stopwatch::start(), drops: 0, shed: 0, idle_ns: 0, quiet: None }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// So many times in a row there was nothing to do.
    #[inline]
    pub(super) fn note(&mut self, quiet: usize) {
        match (quiet, self.quiet) {
            (0, Some((since_ns, times))) => {
                self.idle_ns += quiet_ns(self.now_ns() - since_ns, times);
                self.quiet = None;
            }
            (1, None) => self.quiet = Some((self.now_ns(), 1)),
            (1.., Some((since_ns, _))) => self.quiet = Some((since_ns, quiet)),
            _ => {}
        }
    }

    /// Looks at the rings, and changes what is left out if that is needed. `asks`: the kernel is asked what it dropped, however
    /// empty they are.
    pub(super) fn look(&mut self, tap: &mut Interfaces, member: &mut Member, asks: bool) {
        let Fill { fullest, filled, turned } = tap.fill();
        if asks || fullest > NEARLY_FULL {
            self.drops = tap.drops();
            self.shed = if self.overload.most() > 0 { tap.shed() } else { 0 };
        }
        let at_ns = self.now_ns();
        let idle_ns = self.idle_ns + self.quiet.map_or(0, |(since_ns, times)| quiet_ns(at_ns - since_ns, times));
        let look = Look { at_ns, fullest, filled, turned, lost: self.drops, idle_ns };
        if self.overload.look(&look) {
            let below = self.overload.parts();
            tap.leave_out(below);
            // What comes from now on is left out, or it is not.
            member.leave_out(below, clock::now());
        }
    }

    /// Packets dropped, and left out by an XDP program, since the beginning.
    pub(super) fn lost(&self) -> (u64, u64) {
        (self.drops, self.shed)
    }

    /// What was left out.
    pub(super) fn shed(&self) -> InputShed {
        let share_max = self.overload.most() as f64 / SHED_PARTS as f64;
        InputShed { share_max, duration_ns: self.overload.shed_ns(self.now_ns()) }
    }
}

/// For how long a thread had nothing to do that found so many times in a row that there was nothing, all in all in this time.
fn quiet_ns(passed_ns: u64, times: usize) -> u64 {
    let most = rested_at_most(times).map_or(u64::MAX, |most| u64::try_from(most.as_nanos()).unwrap_or(u64::MAX));
    passed_ns.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_let_run_is_not_idle() {
        assert_eq!(quiet_ns(120_000, 1), 120_000);
        assert_eq!(quiet_ns(30_000_000, 1), 250_000);
        assert_eq!(quiet_ns(30_000_000, 2), 550_000);
        assert_eq!(quiet_ns(30_000_000, 6), 30_000_000, "it waited for frames");
    }
}
