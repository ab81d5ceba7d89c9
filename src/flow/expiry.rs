//! A timing wheel whose lists run through the slots themselves: no memory of its own per timer, constant work to set and to
//! cancel one.
//!
//! A deadline beyond the wheel's span is entered at its far end and looked at again from there; so what [`Wheel::due`] gives
//! out may be early, never later than one tick after its deadline.

use crate::pool::NONE;
use crate::units::Timestamp;

/// Bits of a slot's number.
pub const SLOT_BITS: u32 = 26;
/// Slots that there may be.
pub const SLOTS_MAX: u32 = (1 << SLOT_BITS) - 1;
/// Ticks that the wheel spans: as many as the bits beside a slot's number can tell.
const TICKS: u64 = 1 << (u32::BITS - SLOT_BITS);

/// A slot's place in a wheel.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// The slot behind it, [`SLOTS_MAX`] if there is none, and in the bits above it the number of their list.
    next: u32,
    /// The slot before it, and [`Links::IS_SET`].
    previous: u32,
}

impl Default for Links {
    fn default() -> Self {
        Links { next: SLOTS_MAX, previous: SLOTS_MAX }
    }
}

impl Links {
    /// It is in a list.
    const IS_SET: u32 = 1 << SLOT_BITS;

    /// Between these two of a list; [`NONE`] if there is none.
    fn between(previous: u32, next: u32, list: u32) -> Links {
        Links { next: next & SLOTS_MAX | list << SLOT_BITS, previous: previous & SLOTS_MAX | Self::IS_SET }
    }

    /// The list that it is in.
    fn list(self) -> Option<u32> {
        (self.previous & Self::IS_SET != 0).then_some(self.next >> SLOT_BITS)
    }

    fn next(self) -> Option<u32> {
        Some(self.next & SLOTS_MAX).filter(|&slot| slot != SLOTS_MAX)
    }

    fn previous(self) -> Option<u32> {
        Some(self.previous & SLOTS_MAX).filter(|&slot| slot != SLOTS_MAX)
    }

    fn set_next(&mut self, next: Option<u32>) {
        self.next = self.next & !SLOTS_MAX | next.unwrap_or(SLOTS_MAX);
    }

    fn set_previous(&mut self, previous: Option<u32>) {
        self.previous = self.previous & !SLOTS_MAX | previous.unwrap_or(SLOTS_MAX);
    }
}

/// Where the links of slots are.
pub trait HasLinks {
    /// A slot's links.
    fn links(&mut self, slot: u32) -> &mut Links;
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    tick_ns: u64,
    /// The tick up to which all has been given out.
    now: u64,
    heads: [u32; TICKS as usize],
}

impl Wheel {
    /// An empty wheel.
    pub fn new(tick_ns: u64) -> Wheel {
        Wheel { tick_ns: tick_ns.max(1), now: 0, heads: [NONE; TICKS as usize] }
    }

    /// Sets a slot's deadline, whatever it was before.
    pub fn schedule(&mut self, slot: u32, deadline: Timestamp, slots: &mut impl HasLinks) {
        self.cancel(slot, slots);
        // Rounded up, so that nothing is looked at before its time.
        let tick = (deadline.0 / self.tick_ns + 1).clamp(self.now + 1, self.now + TICKS - 1);
        let list = (tick % TICKS) as u32;
        let next = std::mem::replace(&mut self.heads[list as usize], slot);
        *slots.links(slot) = Links::between(NONE, next, list);
        if next != NONE {
            slots.links(next).set_previous(Some(slot));
        }
    }

    /// Forgets a slot's deadline.
    pub fn cancel(&mut self, slot: u32, slots: &mut impl HasLinks) {
        let links = std::mem::take(slots.links(slot));
        let Some(list) = links.list() else { return };
        let (previous, next) = (links.previous(), links.next());
        match previous {
            Some(previous) => slots.links(previous).set_next(next),
            None => self.heads[list as usize] = next.unwrap_or(NONE),
        }
        if let Some(next) = next {
            slots.links(next).set_previous(previous);
        }
    }

    /// Takes out one slot that is due at `now`.
    pub fn due(&mut self, now: Timestamp, slots: &mut impl HasLinks) -> Option<u32> {
        let target = now.0 / self.tick_ns;
        // After a long silence one turn of the wheel empties it.
        self.now = self.now.max(target.saturating_sub(TICKS));
        loop {
            let head = self.heads[(self.now % TICKS) as usize];
            if head != NONE {
                self.cancel(head, slots);
                return Some(head);
            }
            if self.now >= target {
                return None;
            }
            self.now += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Slots(Vec<Links>);

    impl HasLinks for Slots {
        fn links(&mut self, slot: u32) -> &mut Links {
            &mut self.0[slot as usize]
        }
    }

    proptest! {
        #[test]
        fn everything_comes_up_after_its_deadline_and_within_a_tick_of_it(
            deadlines in prop::collection::vec((1u64..5_000, any::<bool>()), 1..40),
            steps in prop::collection::vec(1u64..400, 1..80),
        ) {
            const TICK: u64 = 10;
            let mut slots = Slots(vec![Links::default(); deadlines.len()]);
            let mut wheel = Wheel::new(TICK);
            let mut waiting: Vec<Option<u64>> = Vec::new();
            for (slot, (deadline, cancelled)) in deadlines.iter().enumerate() {
                wheel.schedule(slot as u32, Timestamp(*deadline), &mut slots);
                if *cancelled { wheel.cancel(slot as u32, &mut slots); }
                waiting.push((!cancelled).then_some(*deadline));
            }
            let mut now = 0;
            for step in steps.into_iter().chain([5_000, 5_000]) {
                now += step;
                while let Some(slot) = wheel.due(Timestamp(now), &mut slots) {
                    let deadline = waiting[slot as usize].expect("cancelled or twice");
                    if deadline > now {
                        wheel.schedule(slot, Timestamp(deadline), &mut slots);
                    } else {
                        waiting[slot as usize] = None;
                    }
                }
                for deadline in waiting.iter().flatten() {
                    prop_assert!(deadline + TICK + TICK > now, "{} is overdue at {}", deadline, now);
                }
            }
            prop_assert!(waiting.iter().all(Option::is_none));
        }
    }
}
