//! The table against sums that forget nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::flow::hash::Seed;

const SEED: Seed = Seed::fixed(5);

fn tally(operations: u64, bytes_in: u64, bytes_out: u64, latency_ns: u64) -> Tally {
    Tally { operations, bytes_in, bytes_out, latency_ns, ..Tally::default() }
}

/// Short ones, and some that are not.
fn name(number: u32) -> Vec<u8> {
    let end = ["", ":and:more", ":x"][number as usize % 3];
    format!("key:{number:05}{end}").into_bytes()
}

fn hashed(name: &[u8]) -> Hashed<'_> {
    Hashed { hash: SEED.of_bytes(name), name, is_cut: false }
}

/// A name where short ones have room, and where all have.
fn rooms(name: &[u8]) -> ([u8; SHORT_BYTES], NameRoom) {
    let (mut short, mut long) = ([0; SHORT_BYTES], [b'-'; size_of::<NameRoom>()]);
    if let Some(room) = short.get_mut(..name.len()) {
        room.copy_from_slice(name);
    }
    long[..name.len()].copy_from_slice(name);
    (short, long)
}

/// A table, and beside it what is true.
struct Watched {
    top: Top,
    truth: BTreeMap<Vec<u8>, Tally>,
    left: BTreeMap<Vec<u8>, Tally>,
}

impl Watched {
    fn new(capacity: usize) -> Watched {
        Watched { top: Top::new(capacity), truth: BTreeMap::new(), left: BTreeMap::new() }
    }

    fn add(&mut self, number: u32, tally: Tally) {
        let name = name(number);
        let (short, _) = rooms(&name);
        let hashed = hashed(&name);
        if self.top.insert_short(hashed.hash, Shape::new(name.len(), false), short, &tally) {
            assert!(!self.truth.contains_key(&name) || self.left.contains_key(&name), "it is there already");
            *self.truth.entry(name).or_default() += &tally;
            return;
        }
        let left = &mut self.left;
        let leaves = |entry: &Entry<'_>| *left.entry(entry.name.to_vec()).or_default() += entry.tally;
        *self.top.tally(&hashed, leaves) += &tally;
        *self.truth.entry(name).or_default() += &tally;
    }

    fn absorb(&mut self, other: &Watched) {
        self.top.absorb(&other.top);
        for (sum, more) in [(&mut self.truth, &other.truth), (&mut self.left, &other.left)] {
            for (name, tally) in more {
                *sum.entry(name.clone()).or_default() += tally;
            }
        }
    }

    /// What is promised of every table.
    fn check(&self) {
        let held: BTreeMap<&[u8], _> = self.top.iter().map(|entry| (entry.name, (*entry.tally, entry.error))).collect();
        assert_eq!(held.len(), self.top.len(), "no name is there twice");
        for (name, truth) in &self.truth {
            let (counted, error) = held.get(&name[..]).copied().unwrap_or((Tally::default(), self.top.missed));
            for ((truth, counted), error) in truth.metrics().into_iter().zip(counted.metrics()).zip(error) {
                assert!(counted <= truth && truth <= counted + error, "{truth}: {counted} to {error} more");
            }
            // Whatever left was told of.
            let mut all = counted;
            all += &self.left.get(name).copied().unwrap_or_default();
            assert_eq!(all, *truth);
        }
        assert_eq!(self.top.is_whole(), self.left.is_empty());
        if self.left.is_empty() {
            assert_eq!((self.top.missed(), held.len()), (PerMetric::default(), self.truth.len()), "all is exact");
        }
    }
}

fn stream() -> impl Strategy<Value = Vec<(u32, Tally)>> {
    // A few names come often, many seldom; each metric has its own heavy ones.
    let number = prop_oneof![0u32..5, 0u32..30, 0u32..400];
    let uses = (
        number,
        0u64..2,
        prop_oneof![0u64..10, 0u64..100_000],
        0u64..1000,
        prop_oneof![9 => 0u64..9, 1 => 0u64..1 << 40],
    );
    let uses = uses.prop_map(|(number, operations, bytes_in, bytes_out, latency)| {
        (number, tally(operations, bytes_in, bytes_out, latency))
    });
    prop::collection::vec(uses, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_is_true_within_its_error(capacity in 1usize..100, stream in stream()) {
        let mut watched = Watched::new(capacity);
        for (number, tally) in stream {
            watched.add(number, tally);
            prop_assert!(watched.top.len() <= capacity);
        }
        watched.check();
    }

    #[test]
    fn merged_tables_promise_the_same(
        streams in prop::collection::vec((prop_oneof![3usize..60, Just(1000)], stream()), 1..4),
    ) {
        let mut parts: Vec<Watched> = Vec::new();
        for (capacity, stream) in streams {
            let mut watched = Watched::new(capacity);
            for (number, tally) in stream {
                watched.add(number, tally);
            }
            parts.push(watched);
        }
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap();
        for part in parts {
            all.absorb(&part);
            all.check();
        }
    }
}

#[test]
fn who_is_heavy_in_any_one_metric_stays_and_the_error_is_as_small_as_promised() {
    const CAPACITY: u64 = 512;
    let mut watched = Watched::new(CAPACITY as usize);
    let heavy = [tally(1, 0, 0, 0), tally(0, 1000, 0, 0), tally(0, 0, 1000, 0), tally(0, 0, 0, 1_000_000)];
    for round in 0..20_000 {
        for (number, tally) in heavy.iter().enumerate() {
            watched.add(number as u32, *tally);
        }
        watched.add(1000 + round, tally(1, 10, 10, 1000));
    }
    watched.check();
    for (number, tally) in heavy.iter().enumerate() {
        let name = name(number as u32);
        let entry = watched.top.iter().find(|entry| entry.name == name).expect("it stays");
        assert_eq!(
            (entry.tally.metrics()[number], entry.error),
            (20_000 * tally.metrics()[number], [0; 4]),
            "exact since the first"
        );
    }
    // Of 40,000 operations half are in names that come once.
    assert!(watched.top.missed()[0] <= 2 * 40_000 / CAPACITY, "{:?}", watched.top.missed());
}

#[test]
fn a_sample_that_says_nothing_of_the_rest_does_not_keep_a_purge_from_making_room() {
    let capacity = 16 * SAMPLE;
    let mut watched = Watched::new(capacity);
    for number in 0..capacity as u32 {
        watched.add(number, tally(if number % 16 == 0 { 1 } else { 100 }, 0, 0, 0));
    }
    assert_eq!(watched.top.len(), capacity);
    watched.add(u32::MAX, tally(1, 0, 0, 0));
    assert_eq!((watched.top.len(), watched.top.missed()), (1, [100, 0, 0, 0]));
    watched.check();
}

#[test]
fn long_names_of_one_beginning_are_told_apart() {
    let mut top = Top::new(8);
    let beginning = [b'x'; KEY_NAME_BYTES_MAX];
    for hash in [1, 2, 1] {
        top.tally(&Hashed { hash, name: &beginning, is_cut: true }, |_| ()).operations += 1;
    }
    top.tally(&Hashed { hash: 1, name: &beginning, is_cut: false }, |_| ()).operations += 10;
    let told: Vec<_> = top.iter().map(|entry| (entry.is_cut, entry.tally.operations)).collect();
    assert_eq!(told, [(true, 2), (true, 1), (false, 10)]);
    assert!(Name::new(&[b'x'; KEY_NAME_BYTES_MAX + 1], false).is_cut());
}

#[test]
fn names_that_leave_with_nothing_leave_an_error_for_each_that_comes() {
    let mut watched = Watched::new(8);
    for number in 0..100 {
        watched.add(number, tally(u64::from(number > 50), 0, 0, 0));
        assert_eq!(watched.top.errors.len(), if number < 8 { 0 } else { watched.top.len() });
    }
    watched.check();
}

#[test]
fn names_of_all_lengths_are_compared_to_their_last_byte() {
    let name: Vec<u8> = (0..40).collect();
    for length in 0..=40 {
        assert!(same(&name[..length], &name[..length]));
        for other_length in (0..=40).filter(|&other| other != length) {
            assert!(!same(&name[..length], &name[..other_length]), "{length} {other_length}");
        }
        for at in 0..length {
            let mut other = name.clone();
            other[at] ^= 1;
            assert!(!same(&name[..length], &other[..length]), "{length}: byte {at}");
        }
    }
}

#[test]
fn names_whose_hashes_are_alike_are_compared() {
    let mut top = Top::new(4);
    for name in [&b"a"[..], b"b", b"a"] {
        top.tally(&Hashed { hash: u64::MAX, name, is_cut: false }, |_| ()).operations += 1;
    }
    assert_eq!(top.iter().map(|entry| entry.tally.operations).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn what_a_name_seems_to_be_is_looked_at_from_end_to_end() {
    let is = |there: (&[u8], bool, u64), wanted: (&[u8], bool, u64)| {
        let mut top = Top::new(4);
        let (name, is_cut, hash) = there;
        top.tally(&Hashed { hash, name, is_cut }, |_| ());
        let mut likely = Likely::NONE;
        top.prefetch_places([(hash, &mut likely)].into_iter());
        let (name, is_cut, hash) = wanted;
        let (short, long) = rooms(name);
        top.likely_names().add(likely, hash, Shape::new(name.len(), is_cut), (&short, &long), &Lately::NOTHING)
    };
    for length in [1, 8, 9, 15, 16, 17, 40, KEY_NAME_BYTES_MAX] {
        let name = vec![b'n'; length];
        for is_cut in [false, true] {
            assert!(is((&name, is_cut, 1), (&name, is_cut, 1)), "{length}");
            assert!(!is((&name, is_cut, 1), (&name, !is_cut, 1)), "{length}");
            assert!(!is((&name, is_cut, 1), (&name[1..], is_cut, 1)), "{length}");
            for at in 0..length {
                let mut other = name.clone();
                other[at] = b'x';
                assert!(!is((&name, is_cut, 1), (&other, is_cut, 1)), "{length}, {at}");
            }
        }
        assert!(!is((&name, true, 1), (&name, true, 2)), "what is cut is told apart by its hash");
    }
    assert!(!is((b"n\0", false, 1), (b"n", false, 1)), "zeros may belong to a name");
}

#[test]
fn what_comes_after_others_were_added_has_the_room_of_both() {
    let [mut one, other] = [0, 4].map(|first| {
        let mut watched = Watched::new(4);
        (first..first + 4).for_each(|number| watched.add(number, tally(1, 0, 0, 0)));
        watched
    });
    one.absorb(&other);
    for number in 8..11 {
        one.add(number, tally(1, 0, 0, 0));
        assert!(one.top.len() <= 8);
    }
    one.check();
}

#[test]
fn a_table_with_many_names_is_in_huge_pages() {
    use crate::huge::tests::were_asked_for;

    let many = (LARGE_BYTES / size_of::<Place>()) as u32;
    let mut watched = Watched::new(1 << 17);
    let asked = |top: &Top| [were_asked_for(&top.index[0]), were_asked_for(&top.places[0])];
    (0..many).for_each(|number| watched.add(number, tally(1, 0, 0, 0)));
    assert_eq!(asked(&watched.top), [false; 2]);
    watched.add(many, tally(1, 0, 0, 0));
    assert_eq!(asked(&watched.top), [true; 2]);
    watched.check();
}
