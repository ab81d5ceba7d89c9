//! Keeps a worker's rings from running over: looks how full they are, and has the worker, and the XDP program before it, leave out
//! what [`Overload`] says.

use crate::capture::live::{Fill, Interfaces};
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
    /// For how long there was nothing to do, and since when there is nothing, in nanoseconds.
    idle_ns: u64,
    quiet_since_ns: Option<u64>,
}

impl Relief {
    pub(super) fn new() -> Relief {
        Relief {
            overload: Overload::new(),
            began: Stopwatch::start(),
            drops: 0,
            shed: 0,
            idle_ns: 0,
            quiet_since_ns: None,
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// There was something to do, or not.
    #[inline]
    pub(super) fn note(&mut self, is_quiet: bool) {
        match (is_quiet, self.quiet_since_ns) {
            (true, None) => self.quiet_since_ns = Some(self.now_ns()),
            (false, Some(since)) => {
                self.idle_ns += self.now_ns() - since;
                self.quiet_since_ns = None;
            }
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
        let idle_ns = self.idle_ns + self.quiet_since_ns.map_or(0, |since| at_ns - since);
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
