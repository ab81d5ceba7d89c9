//! Which slot is behind a hash: open addressing with linear probing, 4 bytes an entry.
//!
//! An entry is the number of a slot and, above it, a part of its key's hash, so that hardly any other slot is looked at on the way
//! to one. What is behind a hash is most likely where the hash says, or next to it: one cache line, which can be asked for as soon
//! as the hash is known. Whose hash it is only the slot tells. Grows by doubling, when half is taken; never shrinks.

use std::hint::{cold_path, select_unpredictable};

use crate::huge::{self, LARGE_BYTES};
use crate::pool::NONE;
use crate::prefetch::prefetch_nth;

use super::expiry::SLOT_BITS;

/// Slots have lower numbers than this.
pub const SLOTS_MAX: u32 = (1 << SLOT_BITS) - 2;

/// A place that was never taken since the index was made: here a search ends.
const FREE: u32 = u32::MAX;
/// One whose entry was removed: here a search goes on. No slot has such a number.
const GONE: u32 = u32::MAX - 1;

const SLOT: u32 = (1 << SLOT_BITS) - 1;
const PLACES_MIN: usize = 16;

/// The index.
#[derive(Debug)]
pub struct Index {
    /// A power of two, of which at least half is free.
    entries: Vec<u32>,
    /// Those that are not free.
    taken: usize,
}

/// The part of a hash that is in its entry, in its place there.
#[inline(always)]
fn tag(hash: u64) -> u32 {
    (hash >> 16) as u32 & !SLOT
}

/// Whether an entry's hash may be this one.
#[inline(always)]
fn may_be(entry: u32, hash: u64) -> bool {
    (entry ^ tag(hash)) <= SLOT
}

impl Default for Index {
    fn default() -> Index {
        Index { entries: vec![FREE; PLACES_MIN], taken: 0 }
    }
}

impl Index {
    /// Bytes that it has.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.entries)
    }

    /// Bytes for each entry that it may need: where it has just grown a quarter of its places is taken; with room for what the
    /// allocator makes of that.
    pub const ENTRY_BYTES: usize = 20;

    #[inline(always)]
    fn place(&self, hash: u64) -> usize {
        hash as usize & (self.entries.len() - 1)
    }

    /// Asks for the memory that a search begins with.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        prefetch_nth(&self.entries, self.place(hash));
    }

    /// The first slot whose hash may be this one; it may be one that is no more, or a number that no slot has.
    #[inline(always)]
    pub fn guess(&self, hash: u64) -> u32 {
        let (entries, last) = (&self.entries[..], self.entries.len() - 1);
        let place = hash as usize & last;
        // Without a branch: which of the two it is can't be foretold.
        let (first, second) = (entries[place], entries[(place + 1) & last]);
        let entry = select_unpredictable(may_be(first, hash), first, second);
        if may_be(entry, hash) {
            return entry & SLOT;
        }
        cold_path();
        self.guess_farther(hash)
    }

    /// The same of one that is neither in the first place nor in the second.
    #[inline(never)]
    fn guess_farther(&self, hash: u64) -> u32 {
        let mut place = self.place(hash);
        loop {
            let entry = self.entries[place];
            // A free place may seem to be one: its slot is beyond all others.
            if may_be(entry, hash) {
                return entry & SLOT;
            }
            if entry == FREE {
                return NONE;
            }
            place = (place + 1) & (self.entries.len() - 1);
        }
    }

    /// The slot with this hash that is the one.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.find_place(hash, &mut is_it).map(|place| self.entries[place] & SLOT)
    }

    #[inline]
    fn find_place(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut place = self.place(hash);
        loop {
            match self.entries[place] {
                FREE => return None,
                GONE => {}
                entry if may_be(entry, hash) && is_it(entry & SLOT) => return Some(place),
                _ => {}
            }
            place = (place + 1) & (self.entries.len() - 1);
        }
    }

    /// Whether there is room for one more; else it is to be [made anew](Index::rebuild) first.
    #[inline]
    pub fn has_room(&self) -> bool {
        (self.taken + 1) * 2 <= self.entries.len()
    }

    /// Adds a slot that is not there yet. There must be room.
    pub fn insert(&mut self, hash: u64, slot: u32) {
        debug_assert!(slot < SLOTS_MAX && self.has_room());
        let mut place = self.place(hash);
        while self.entries[place] < GONE {
            place = (place + 1) & (self.entries.len() - 1);
        }
        self.taken += usize::from(self.entries[place] == FREE);
        self.entries[place] = tag(hash) | slot;
    }

    /// Makes it anew with room for twice as many: of all slots in it, with their hashes.
    pub fn rebuild(&mut self, count: usize, slots: impl Iterator<Item = (u64, u32)>) {
        let mut places = self.entries.len();
        // At least half of the room is left, so that it is some time until it is made anew again.
        while count * 4 > places {
            places *= 2;
        }
        // What was there is not needed for it: so there are never two of them.
        self.entries = Vec::new();
        self.entries.reserve_exact(places);
        if places * size_of::<u32>() >= LARGE_BYTES {
            huge::ask_for_any(&self.entries);
        }
        self.entries.resize(places, FREE);
        self.taken = 0;
        for (hash, slot) in slots {
            self.insert(hash, slot);
        }
    }

    /// Removes a slot, which is there.
    pub fn remove(&mut self, hash: u64, slot: u32) {
        let Some(place) = self.find_place(hash, |other| other == slot) else {
            debug_assert!(false, "slot {slot} is in the index");
            return;
        };
        let mask = self.entries.len() - 1;
        if self.entries[(place + 1) & mask] != FREE {
            self.entries[place] = GONE;
            return;
        }
        // No search goes on from here, nor from those before it that are gone.
        let mut last = place;
        loop {
            self.entries[last] = FREE;
            self.taken -= 1;
            last = last.wrapping_sub(1) & mask;
            if self.entries[last] != GONE {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashTable;
    use proptest::prelude::*;

    proptest! {
        /// Hashes that differ in few bits, so that many share places and tags.
        #[test]
        fn behaves_as_a_hash_table(
            operations in prop::collection::vec((0u64..8, 0u64..4, 0u64..3, any::<bool>()), 0..400)
        ) {
            let mut index = Index::default();
            let mut model: HashTable<(u64, u32)> = HashTable::new();
            let mut next = 0;
            for (low, tag, group, is_insert) in operations {
                let hash = low | tag << 42 | group << 4;
                let found = index.find(hash, |slot| model.iter().any(|&one| one == (hash, slot)));
                let expected = model.find(hash, |one| one.0 == hash).map(|one| one.1);
                prop_assert_eq!(found.is_some(), expected.is_some());
                if expected.is_none() {
                    prop_assert!(index.guess(hash) >= SLOTS_MAX || model.iter().all(|one| one.0 != hash));
                }
                if is_insert {
                    if !index.has_room() {
                        index.rebuild(model.len(), model.iter().copied());
                    }
                    index.insert(hash, next);
                    model.insert_unique(hash, (hash, next), |one| one.0);
                    next += 1;
                } else if let Some(slot) = found {
                    index.remove(hash, slot);
                    model.find_entry(hash, |&one| one == (hash, slot)).unwrap().remove();
                }
                for &(hash, slot) in &model {
                    prop_assert_eq!(index.find(hash, |other| other == slot), Some(slot));
                    prop_assert!(index.guess(hash) < SLOTS_MAX);
                }
                let taken = index.entries.iter().filter(|&&entry| entry != FREE).count();
                prop_assert_eq!(taken, index.taken);
                prop_assert!(taken * 2 <= index.entries.len() && index.entries.len() <= (model.len() + 4).next_power_of_two() * 4);
            }
        }
    }

    #[test]
    fn an_index_out_of_which_all_has_gone_is_free() {
        let mut index = Index::default();
        for slot in 0..6 {
            index.insert(3, slot);
        }
        for slot in [2, 0, 5, 1, 4, 3] {
            index.remove(3, slot);
        }
        assert_eq!((index.taken, index.guess(3)), (0, NONE));
        assert!(index.entries.iter().all(|&entry| entry == FREE));
    }

    #[test]
    fn it_doubles_when_half_is_taken() {
        let mut index = Index::default();
        for slot in 0..1000 {
            if !index.has_room() {
                let before = index.entries.len();
                index.rebuild(slot as usize, (0..slot).map(|slot| (u64::from(slot) * 7919, slot)));
                assert_eq!((index.entries.len(), index.taken), (2 * before, before / 2));
            }
            index.insert(u64::from(slot) * 7919, slot);
        }
        assert_eq!(index.entries.len(), 2048);
    }
}
