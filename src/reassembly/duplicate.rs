//! Copies of packets: a mirror of both sides of a switch, or of several VLANs, shows each packet more than once, and so does a
//! capture before and behind a router, or inside and outside of a tunnel. A copy is no retransmission: nothing was sent again.
//!
//! A copy is known by what mirrors and routers leave as it is and TCP changes when it sends the same bytes again ([`Print`]).
//! The packets of late of all connections of a worker are remembered in sets by their prints, the newest first; in a full set
//! the oldest gives way. So what is remembered is bounded by time, unless so many packets come in that time that sets run
//! over: then copies count as retransmissions. To remember a packet is a few moves in one cache line. Never panics; allocates
//! when it is made.

use crate::limits::{COPY_TIME_NS, RECENT_PER_SET, RECENT_SETS};
use crate::prefetch::prefetch_nth;
use crate::units::{Direction, Timestamp};

/// Bits of a time that don't count: what is left are units of some 65 µs.
const TICK_BITS: u32 = 16;
/// Of these 20 bits are kept, which repeat after 68 s: by then other packets have come, or a copy would bring nothing.
const TICKS_BITS: u32 = 20;
const TICKS: u64 = (1 << TICKS_BITS) - 1;
/// Bits of a print that are kept beside a time.
const PRINT_BITS: u32 = u64::BITS - TICKS_BITS;
const TICKS_MAX: u64 = COPY_TIME_NS >> TICK_BITS;

const _: () = assert!(RECENT_SETS.is_power_of_two() && RECENT_SETS as u64 <= TICKS + 1);

/// Equal for copies of a packet, and for hardly any two others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Print(u64);

impl Print {
    /// Of a segment with this [mark](crate::decode::Tcp::mark) on the connection with this hash, which nobody can guess.
    #[inline(always)]
    pub fn of(mark: [u64; 2], direction: Direction, hash: u64) -> Print {
        Print::turned(mark, hash.rotate_left(u64::BITS / 2 * direction as u32))
    }

    /// The same with a hash of which the halves have changed places if it is a reply: both sides may number alike, and nothing that
    /// is known may turn one direction into the other.
    #[inline(always)]
    pub fn turned([one, other]: [u64; 2], hash: u64) -> Print {
        let product = u128::from(one ^ hash) * u128::from(other);
        Print(product as u64 ^ (product >> 64) as u64)
    }

    #[inline(always)]
    fn set(self) -> usize {
        self.0 as usize % RECENT_SETS
    }
}

/// A packet that was seen: the rest of its print, of which the lowest bits tell its set, and above that when. 44 bits: of a billion
/// packets that are looked for among those of late hardly one is taken for the copy of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sight(u64);

impl Sight {
    #[inline(always)]
    fn new(print: Print, at: Timestamp) -> Sight {
        Sight(print.0 >> TICKS_BITS | (at.0 >> TICK_BITS) << PRINT_BITS)
    }

    /// Its time, of which only the lowest bits are known.
    #[inline(always)]
    fn tick(self) -> u64 {
        self.0 >> PRINT_BITS
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

    /// Asks for the memory that is needed to remember a packet.
    #[inline(always)]
    pub fn prefetch(&self, print: Print) {
        prefetch_nth(&self.sets[..], print.set());
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

    #[inline(always)]
    fn holds(&self, print: Print, at: Timestamp) -> bool {
        let sight = Sight::new(print, at);
        let is_near =
            |seen: &Sight| sight.tick().wrapping_sub(seen.tick()).wrapping_add(TICKS_MAX) & TICKS <= 2 * TICKS_MAX;
        let is_it = |seen: &Sight| (seen.0 ^ sight.0) << TICKS_BITS == 0 && is_near(seen);
        self.sets[print.set()].0.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests;
