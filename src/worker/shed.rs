//! Which connections a worker leaves out, because there is more load than it can carry: whole ones, so that the others stay whole.
//!
//! By a hash each connection is in one of [`SHED_PARTS`] parts ([`Spread::part`]), and those of the lowest are left out: the more
//! there is to shed the more parts, and always the same first. Their packets are no more looked at, here or already by the XDP
//! program, so a connection does not notice: whoever comes back to one asks here whether it has missed any.

use crate::capture::spread::Spread;
use crate::limits::SHED_PARTS;
use crate::units::{Endpoint, Timestamp};

/// What is left out now, and what was.
#[derive(Debug)]
pub(super) struct Shed {
    spread: Spread,
    /// Parts below this one are left out.
    below: usize,
    /// When each part was left out the last time.
    until: Box<[Timestamp; SHED_PARTS]>,
    /// When any was.
    newest: Timestamp,
    /// Some were, at some time.
    has_been: bool,
}

impl Shed {
    /// Nothing is left out.
    pub(super) fn new(spread: Spread) -> Shed {
        Shed {
            spread,
            below: 0,
            until: Box::new([Timestamp::NONE; SHED_PARTS]),
            newest: Timestamp::NONE,
            has_been: false,
        }
    }

    /// From `now` on the parts below this one are left out, and no others.
    pub(super) fn set(&mut self, below: usize, now: Timestamp) {
        if let Some(back) = self.until.get_mut(below..self.below) {
            back.fill(now);
            self.newest = self.newest.max(now);
        }
        self.has_been |= below > 0;
        self.below = below;
    }

    /// Whether anything is left out.
    #[inline(always)]
    pub(super) fn is_at_work(&self) -> bool {
        self.below > 0
    }

    /// Whether a packet between these ends is left out.
    #[inline(never)]
    pub(super) fn takes(&self, one: &Endpoint, other: &Endpoint) -> bool {
        self.spread.part(one, other) < self.below
    }

    /// Whether any packets may have been left out since then, of connections of which some come now.
    #[inline(always)]
    pub(super) fn has_taken_any(&self, since: Timestamp) -> bool {
        self.has_been && self.newest >= since
    }

    /// Whether packets between these ends may have been left out since then.
    pub(super) fn has_taken(&self, one: &Endpoint, other: &Endpoint, since: Timestamp) -> bool {
        self.has_been && {
            let part = self.spread.part(one, other);
            part < self.below || self.until[part] >= since
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Address;

    const SPREAD: Spread = Spread { workers: 3, secret: 7 };

    fn ends() -> impl Iterator<Item = (Endpoint, Endpoint)> {
        let end = |port| Endpoint { address: Address::from_ipv4([10, 0, 0, 1]), port };
        (10_000..12_000).map(move |port| (end(port), end(6379)))
    }

    #[test]
    fn what_is_left_out_of_more_is_left_out_of_still_more() {
        let mut shed = Shed::new(SPREAD);
        let mut before: Vec<u16> = Vec::new();
        for (below, share) in [(0, 0), (1, 8), (64, 500), (128, 1000), (255, 1992)] {
            shed.set(below, Timestamp(5));
            let taken: Vec<u16> =
                ends().filter(|(one, other)| shed.takes(one, other)).map(|(one, _)| one.port).collect();
            assert!(taken.len().abs_diff(share) < 70, "{below}: {}", taken.len());
            assert!(before.iter().all(|port| taken.contains(port)), "{below}");
            before = taken;
        }
    }

    #[test]
    fn who_comes_back_is_told_what_was_missed() {
        let mut shed = Shed::new(SPREAD);
        let (one, other) = ends().find(|(one, other)| SPREAD.part(one, other) == 100).expect("some are");
        let has_taken = |shed: &Shed, since| shed.has_taken(&other, &one, Timestamp(since));
        assert!(!has_taken(&shed, 1), "there was no need");
        shed.set(100, Timestamp(10));
        assert!(!has_taken(&shed, 1), "it is the first that is not");
        shed.set(101, Timestamp(20));
        assert!(has_taken(&shed, 5) && has_taken(&shed, 25));
        shed.set(120, Timestamp(30));
        shed.set(50, Timestamp(40));
        assert!(has_taken(&shed, 35) && has_taken(&shed, 40) && !has_taken(&shed, 41));
        shed.set(0, Timestamp(60));
        assert!(has_taken(&shed, 35) && !has_taken(&shed, 41), "it was back already");
    }
}
