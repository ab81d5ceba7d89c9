//! Copies of packets: a mirror of both sides of a switch, or of several VLANs, shows each packet more than once, and so does a
//! capture before and behind a router, or inside and outside of a tunnel. A copy is no retransmission: nothing was sent again.
//!
//! A copy is known by what mirrors and routers leave as it is and TCP changes when it sends the same bytes again ([`Print`]).
//! The packets of late of all connections of a worker are remembered in sets by their prints, the newest first; in a full set
//! the oldest gives way. So what is remembered is bounded by time, unless so many packets come in that time that sets run
//! over: then copies count as retransmissions. To remember a packet is a few moves in one cache line. Never panics; allocates
//! when it is made.

use crate::decode::Tcp;
use crate::limits::{COPY_TIME_NS, RECENT_PER_SET, RECENT_SETS};
use crate::units::{Direction, Timestamp};

/// Bits of a time that don't count: what is left are units of some 65 µs, of which 32 bits repeat after 3 days.
const TICK_BITS: u32 = 16;
const TICKS_MAX: u32 = (COPY_TIME_NS >> TICK_BITS) as u32;

const _: () = assert!(RECENT_SETS.is_power_of_two() && RECENT_SETS <= 1 << 32);

/// Equal for copies of a packet, and for hardly any two others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Print(u64);

impl Print {
    /// Of a segment on the connection with this hash, which nobody can guess.
    #[inline(always)]
    pub fn of(segment: &Tcp<'_>, direction: Direction, hash: u64) -> Print {
        let [one, other] = segment.mark();
        let product = u128::from(one ^ hash ^ direction as u64) * u128::from(other);
        Print(product as u64 ^ (product >> 64) as u64)
    }

    #[inline(always)]
    fn set(self) -> usize {
        self.0 as usize % RECENT_SETS
    }
}

/// A packet that was seen: the part of its print that does not tell its set, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sight {
    tag: u32,
    tick: u32,
}

impl Sight {
    #[inline(always)]
    fn new(print: Print, at: Timestamp) -> Sight {
        Sight { tag: (print.0 >> 32) as u32, tick: (at.0 >> TICK_BITS) as u32 }
    }
}

/// The newest first.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set([Sight; RECENT_PER_SET]);

/// The packets of late.
#[derive(Debug)]
pub struct Recent {
    sets: Box<[Set; RECENT_SETS]>,
    /// From when on what is next on its connection is no copy.
    certain_from: Timestamp,
}

impl Default for Recent {
    fn default() -> Recent {
        let sets = vec![Set([Sight::default(); RECENT_PER_SET]); RECENT_SETS];
        let sets = sets.into_boxed_slice().try_into().expect("so many were made");
        Recent { sets, certain_from: Timestamp::NONE }
    }
}

impl Recent {
    /// Bytes of memory in use.
    pub fn memory(&self) -> u64 {
        size_of_val(&*self.sets) as u64
    }

    /// A connection begins.
    pub fn connection_begins(&mut self, at: Timestamp) {
        self.certain_from = self.certain_from.max(at.after(COPY_TIME_NS + 1));
    }

    /// Whether a packet is a copy of one that was seen shortly before, or after; if it is not, it is remembered. `is_next`: it
    /// brings the bytes that come next on its connection, as no copy can, unless the connection that took the packet itself has
    /// given way to another one meanwhile. Of such a one nothing is looked up.
    #[inline(always)]
    pub fn is_copy(&mut self, print: Print, at: Timestamp, is_next: bool) -> bool {
        let is_first = is_next && at >= self.certain_from;
        if !is_first && self.holds(print, at) {
            return true;
        }
        let Set(sights) = &mut self.sets[print.set()];
        sights.copy_within(..RECENT_PER_SET - 1, 1);
        sights[0] = Sight::new(print, at);
        false
    }

    #[inline(never)]
    fn holds(&self, print: Print, at: Timestamp) -> bool {
        let sight = Sight::new(print, at);
        let is_near = |tick: u32| sight.tick.wrapping_sub(tick).wrapping_add(TICKS_MAX) <= 2 * TICKS_MAX;
        let is_it = |seen: &Sight| seen.tag == sight.tag && is_near(seen.tick);
        self.sets[print.set()].0.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests;
