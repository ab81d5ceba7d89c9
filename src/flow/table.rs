//! The flow table: bounded, a hash index over slots in a pool, with a timer for each slot.
//!
//! Slots stay where they are while they live; the index is beside them. Of a key the ends are the connection's own
//! ([`Keyed`]), and what else belongs to it is kept only where it is to tell connections apart. When the table is full the
//! caller is told, and may make room with [`Table::first_of_some`].

use crate::pool::Pool;
use crate::prefetch::prefetch_begin_of_nth;

use super::expiry::{HasLinks, Links, Wheel};
use super::hash::Seed;
use super::index::{Index, SLOTS_MAX};
use super::key::{FlowKey, Ipv4Ends, Keyed};
use crate::decode::tags::Tags;
use crate::units::Timestamp;

/// One connection's place.
#[derive(Debug)]
#[repr(C)]
struct Slot<T> {
    /// First, and its fields in the order in which they are used.
    value: Option<T>,
    links: Links,
}

/// A bounded table of connections.
#[derive(Debug)]
pub struct Table<T> {
    index: Index,
    slots: Pool<Slot<T>>,
    /// Of each slot, where they are a part of keys; else none.
    tags: Option<Vec<Tags>>,
    wheel: Wheel,
    seed: Seed,
    /// Slots that were looked at in search of one to give way.
    looked_at: u64,
}

/// Connections that are compared to find one to give way.
const CANDIDATES: u32 = 32;
/// Slots that are looked at for them.
const LOOKED_AT_MAX: u32 = 256;
/// The golden ratio's part behind the point, in units of 2⁻⁶⁴: its multiples lie evenly between 0 and 1, however many.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl<T: Keyed> Table<T> {
    /// A table in `bytes` of memory, whose timers are looked at every `tick_ns`. `has_tags`: keys have tags that tell.
    pub fn new(bytes: u64, has_tags: bool, seed: Seed, tick_ns: u64) -> Table<T> {
        let tags_bytes = if has_tags { size_of::<Tags>() } else { 0 };
        let bytes_each = size_of::<Slot<T>>() + T::BYTES_BESIDE + tags_bytes + 4 + Index::ENTRY_BYTES;
        let slots = crate::limits::items(bytes, bytes_each).min(SLOTS_MAX);
        Table {
            index: Index::default(),
            slots: Pool::new(slots),
            tags: has_tags.then(Vec::new),
            wheel: Wheel::new(tick_ns),
            seed,
            looked_at: 0,
        }
    }

    /// Bytes of memory that were ever in use.
    pub fn memory(&self) -> u64 {
        let tags_bytes = self.tags.as_ref().map_or(0, |tags| tags.len() * size_of::<Tags>());
        let slot_bytes = size_of::<Slot<T>>() as u64 + 4;
        u64::from(self.slots.made()) * slot_bytes + tags_bytes as u64 + self.index.bytes() as u64
    }

    /// Connections in it.
    pub fn len(&self) -> u32 {
        self.slots.in_use()
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.slots.in_use() == self.slots.capacity()
    }

    /// Whether what is in a slot has this key.
    #[inline(always)]
    fn is_keyed(&self, slot: u32, value: &T, key: &FlowKey) -> bool {
        value.ends() == (&key.client, &key.server)
            && self.tags.as_ref().is_none_or(|tags| tags[slot as usize] == key.tags)
    }

    /// All connections.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.span()).filter_map(|slot| self.peek(slot))
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The secret of its hashes.
    #[inline]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The hash of a key in this table.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        key.hash(self.seed)
    }

    /// Where a connection is.
    #[inline(never)]
    pub fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        self.index.find(hash, |slot| self.is_keyed(slot, self.get(slot), key))
    }

    /// Asks for what [`Table::guess`] needs.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Slots have lower numbers than this; not in all of them there is a connection.
    pub fn span(&self) -> u32 {
        self.slots.span()
    }

    /// Where a connection with a key of this hash is most likely, or a number that no slot has; of its slot nothing has been read, but
    /// it is asked for.
    #[inline(always)]
    pub fn guess(&self, hash: u64) -> u32 {
        let guess = self.index.guess(hash);
        prefetch_begin_of_nth(self.slots.all(), guess as usize, T::BYTES_USED);
        guess
    }

    /// The connection in a slot.
    #[inline]
    pub fn get(&self, slot: u32) -> &T {
        self.slots.get(slot).value.as_ref().expect("a slot in the index holds a connection")
    }

    /// Whether there is a connection with this key in a slot that was guessed.
    #[inline]
    pub fn is_at(&self, guess: u32, key: &FlowKey) -> bool {
        self.peek(guess).is_some_and(|value| self.is_keyed(guess, value, key))
    }

    /// The connection in a slot that was guessed, if it is a usual one between these ends. There are no tags
    /// that tell.
    #[inline(always)]
    pub fn claim(&mut self, guess: u32, ends: Ipv4Ends) -> Option<&mut T> {
        debug_assert!(self.tags.is_none(), "they tell");
        let value = self.slots.find_mut(guess)?.value.as_mut()?;
        if value.is_usual_between(ends) { Some(value) } else { None }
    }

    /// The connection in a slot that was guessed, if there is one.
    #[inline(always)]
    pub fn peek(&self, guess: u32) -> Option<&T> {
        self.slots.find(guess)?.value.as_ref()
    }

    /// The connection in a slot, to change.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> &mut T {
        self.slots.get_mut(slot).value.as_mut().expect("a slot in the index holds a connection")
    }

    /// Puts a connection in. `None`, and nothing happens, if the table is full.
    pub fn insert(&mut self, hash: u64, key: FlowKey, value: T) -> Option<u32> {
        debug_assert_eq!(value.ends(), (&key.client, &key.server), "it has the key's ends");
        let slot = self.slots.take(|| Slot { value: None, links: Links::default() })?;
        self.slots.get_mut(slot).value = Some(value);
        if let Some(tags) = &mut self.tags {
            if tags.len() <= slot as usize {
                tags.reserve_exact(self.slots.capacity() as usize - tags.len());
                tags.resize(slot as usize + 1, Tags::default());
            }
            tags[slot as usize] = key.tags;
        }
        let Table { index, slots, tags, seed, .. } = self;
        if !index.has_room() {
            let others = (0..slots.span()).filter(|&other| other != slot && slots.peek(other).value.is_some());
            let hashed = others.map(|other| (hash_of(other, slots, tags.as_deref(), *seed), other));
            index.rebuild(slots.in_use() as usize - 1, hashed);
        }
        index.insert(hash, slot);
        Some(slot)
    }

    /// Takes a connection out.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        self.wheel.cancel(slot, &mut LinksOf(&mut self.slots));
        let hash = hash_of(slot, &self.slots, self.tags.as_deref(), self.seed);
        self.index.remove(hash, slot);
        let value = self.slots.get_mut(slot).value.take();
        self.slots.give_back(slot);
        value
    }

    /// Sets a slot's timer.
    pub fn schedule(&mut self, slot: u32, deadline: Timestamp) {
        self.wheel.schedule(slot, deadline, &mut LinksOf(&mut self.slots));
    }

    /// A slot whose timer is to be looked at: its deadline has come, or lies so far ahead that it was not entered exactly.
    pub fn due(&mut self, now: Timestamp) -> Option<u32> {
        self.wheel.due(now, &mut LinksOf(&mut self.slots))
    }

    /// The connection that is first by `rank` among some, of those that have one. They are taken from all over the table: what
    /// began together lies together, and may be all of one kind.
    pub fn first_of_some<R: Ord>(&mut self, rank: impl Fn(&T) -> Option<R>) -> Option<u32> {
        let span = self.slots.span();
        let (mut first, mut candidates): (Option<(R, u32)>, u32) = (None, 0);
        for _ in 0..LOOKED_AT_MAX {
            if candidates == CANDIDATES.min(span) {
                break;
            }
            self.looked_at += 1;
            let slot = ((u128::from(self.looked_at.wrapping_mul(GOLDEN)) * u128::from(span)) >> 64) as u32;
            let Some(rank) = self.slots.peek(slot).value.as_ref().and_then(&rank) else { continue };
            candidates += 1;
            if first.as_ref().is_none_or(|(least, _)| rank < *least) {
                first = Some((rank, slot));
            }
        }
        first.map(|(_, slot)| slot)
    }
}

/// The hash of the key of what is in a slot.
fn hash_of<T: Keyed>(slot: u32, slots: &Pool<Slot<T>>, tags: Option<&[Tags]>, seed: Seed) -> u64 {
    let value = slots.get(slot).value.as_ref().expect("a slot in the index holds a connection");
    let (&client, &server) = value.ends();
    let tags = tags.map_or(Tags::default(), |tags| tags[slot as usize]);
    FlowKey { client, server, tags }.hash(seed)
}

/// Gives the wheel access to the links that lie in the slots.
struct LinksOf<'a, T>(&'a mut Pool<Slot<T>>);

impl<T> HasLinks for LinksOf<'_, T> {
    fn links(&mut self, slot: u32) -> &mut Links {
        &mut self.0.get_mut(slot).links
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Address, Endpoint};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(client: u16) -> FlowKey {
        let end = |last, port| Endpoint { address: Address::from_ipv4([10, 0, 0, last]), port };
        FlowKey { client: end(1, client), server: end(2, 6379), ..FlowKey::default() }
    }

    /// A value with the key that it is under.
    struct Entry(FlowKey, u64);

    impl Keyed for Entry {
        const BYTES_USED: usize = size_of::<Entry>();

        fn ends(&self) -> (&Endpoint, &Endpoint) {
            (&self.0.client, &self.0.server)
        }

        fn is_usual_between(&self, ends: Ipv4Ends) -> bool {
            Ipv4Ends::of(&self.0.client, &self.0.server) == Some(ends)
        }
    }

    fn insert(table: &mut Table<Entry>, key: FlowKey, value: u64) -> Option<u32> {
        table.insert(table.hash(&key), key, Entry(key, value))
    }

    fn remove(table: &mut Table<Entry>, slot: u32) -> Option<u64> {
        table.remove(slot).map(|entry| entry.1)
    }

    /// A full table of 16 whose values are 1000, 999, 998, …
    fn full() -> Table<Entry> {
        let mut table = Table::new(0, false, Seed::fixed(1), 1);
        let has_room = |&n: &u16| insert(&mut table, key(n), 1000 - u64::from(n)).is_some();
        assert_eq!((0..100).take_while(has_room).count(), 16);
        table
    }

    #[test]
    fn a_full_table_says_so_and_names_one_of_the_first() {
        let mut table = full();
        assert!(table.is_full());
        let slot = table.first_of_some(|entry| Some(entry.1)).unwrap();
        let removed = remove(&mut table, slot).unwrap();
        assert!(removed < 990, "{removed} is not among the least");
        assert!(!table.is_full());
        let of_removed = key((1000 - removed) as u16);
        assert_eq!(table.find(table.hash(&of_removed), &of_removed), None);
        assert_eq!(table.len(), 15);
    }

    #[test]
    fn what_has_no_rank_is_passed_over() {
        let mut table = full();
        let is_even = |entry: &Entry| entry.1.is_multiple_of(2).then_some(entry.1);
        for _ in 0..8 {
            // All are looked at sooner or later.
            let slot = (0..16).find_map(|_| table.first_of_some(is_even)).unwrap();
            assert_eq!(remove(&mut table, slot).unwrap() % 2, 0);
        }
        assert_eq!((0..16).find_map(|_| table.first_of_some(is_even)), None);
    }

    #[test]
    fn neighbours_are_not_all_that_is_compared() {
        let mut table = Table::new(1 << 20, false, Seed::fixed(1), 1);
        // The first half is of more worth than the second.
        for n in 0..1000 {
            insert(&mut table, key(n), u64::from(n < 500)).unwrap();
        }
        for _ in 0..100 {
            let slot = table.first_of_some(|entry| Some(entry.1)).unwrap();
            assert_eq!(remove(&mut table, slot), Some(0));
        }
    }

    #[test]
    fn keys_between_the_same_ends_are_told_apart_by_their_tags() {
        let tagged = |n: u16| FlowKey { tags: Tags { vlan: n, ..Tags::default() }, ..key(n % 7) };
        let mut table = Table::new(1 << 20, true, Seed::fixed(1), 1);
        for n in 0..500 {
            insert(&mut table, tagged(n), u64::from(n)).unwrap();
        }
        for n in (0..500).step_by(3) {
            let slot = table.find(table.hash(&tagged(n)), &tagged(n)).unwrap();
            let other = tagged(n + 7);
            assert!(table.is_at(slot, &tagged(n)) && !table.is_at(slot, &other));
            assert_eq!(remove(&mut table, slot), Some(u64::from(n)));
            assert!(!table.is_at(slot, &tagged(n)));
        }
        // In the places of those.
        for n in 500..600 {
            insert(&mut table, tagged(n), u64::from(n)).unwrap();
        }
        for n in 0..600 {
            let found = table.find(table.hash(&tagged(n)), &tagged(n)).map(|slot| table.get(slot).1);
            assert_eq!(found, (n >= 500 || n % 3 > 0).then_some(u64::from(n)));
        }
    }

    #[test]
    fn a_slot_is_found_and_claimed_by_no_key_but_its_own() {
        let mut table = Table::new(0, false, Seed::fixed(1), 1);
        let slot = insert(&mut table, key(1), 0).unwrap();
        let other_server = FlowKey { server: key(1).client, ..key(1) };
        for (other, is_it) in [(key(1), true), (key(2), false), (other_server, false)] {
            let ends = Ipv4Ends::of(&other.client, &other.server).unwrap();
            assert_eq!(table.find(table.hash(&key(1)), &other).is_some(), is_it, "{other:?}");
            assert_eq!(table.is_at(slot, &other), is_it, "{other:?}");
            assert_eq!(table.claim(slot, ends).is_some(), is_it, "{other:?}");
        }
    }

    #[test]
    fn the_timer_of_what_was_taken_out_is_forgotten() {
        let mut table = Table::new(0, false, Seed::fixed(1), 1);
        let slots = [1, 2].map(|n| insert(&mut table, key(n), 0).unwrap());
        for slot in slots {
            table.schedule(slot, Timestamp(10));
        }
        remove(&mut table, slots[0]);
        assert_eq!([100, 100].map(|now| table.due(Timestamp(now))), [Some(slots[1]), None]);
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(operations in prop::collection::vec((0u16..40, any::<bool>(), any::<u64>()), 0..200)) {
            let mut table: Table<Entry> = Table::new(1 << 20, false, Seed::fixed(3), 1);
            let mut model = BTreeMap::new();
            for (client, is_insert, value) in operations {
                let key = key(client);
                match (table.find(table.hash(&key), &key), is_insert) {
                    (Some(slot), true) => table.get_mut(slot).1 = value,
                    (None, true) => { insert(&mut table, key, value).unwrap(); }
                    (Some(slot), false) => { prop_assert_eq!(remove(&mut table, slot), model.get(&client).copied()); }
                    (None, false) => {}
                }
                if is_insert { model.insert(client, value); } else { model.remove(&client); }
                prop_assert_eq!(table.len() as usize, model.len());
            }
            for (client, value) in &model {
                let slot = table.find(table.hash(&key(*client)), &key(*client)).unwrap();
                prop_assert_eq!(table.get(slot).1, *value);
            }
            for slot in 0..table.span() { if table.peek(slot).is_some() { table.remove(slot); } }
            prop_assert!(table.is_empty());
        }
    }
}
