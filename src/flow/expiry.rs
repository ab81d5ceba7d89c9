//! A timing wheel whose lists run through the slots themselves: no memory of its own per timer, constant work to set and to
//! cancel one.
//!
//! A deadline beyond the wheel's span is entered at its far end and looked at again from there; so what [`Wheel::due`] gives
//! out may be early, never later than one tick after its deadline.

use crate::pool::NONE;
use crate::units::Timestamp;

/// Ticks that the wheel spans.
const TICKS: u64 = 64;

/// A slot's place in a wheel.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    next: u32,
    previous: u32,
    /// Which list it is in; `TICKS`: none.
    list: u8,
}

impl Default for Links {
    fn default() -> Self {
        Links { next: NONE, previous: NONE, list: TICKS as u8 }
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
        let list = (tick % TICKS) as usize;
        let next = std::mem::replace(&mut self.heads[list], slot);
        *slots.links(slot) = Links { next, previous: NONE, list: list as u8 };
        if next != NONE {
            slots.links(next).previous = slot;
        }
    }

    /// Forgets a slot's deadline.
    pub fn cancel(&mut self, slot: u32, slots: &mut impl HasLinks) {
        let Links { next, previous, list } = std::mem::take(slots.links(slot));
        if u64::from(list) == TICKS {
            return;
        }
        if previous == NONE {
            self.heads[usize::from(list)] = next;
        } else {
            slots.links(previous).next = next;
        }
        if next != NONE {
            slots.links(next).previous = previous;
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
