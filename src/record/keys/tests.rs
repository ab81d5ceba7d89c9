//! What requests add to the statistics of keys.

use proptest::prelude::*;

use super::*;
use crate::record::top::Tally;
use crate::redis::arguments::{Argument, BRIEF_HEAD_BYTES, BriefHead, ENTRY_HEADER_BYTES, append, close};
use crate::units::Address;

const SEED: Seed = Seed::fixed(9);
const RO: &str = "RO+ACCESS";
const OW: &str = "OW+UPDATE";

fn table() -> &'static CommandTable {
    CommandTable::built_in()
}

fn endpoint(last: u8) -> Endpoint {
    Endpoint { address: Address::from_ipv4([10, 0, 0, last]), port: 6379 }
}

/// An argument list of a command with these keys.
fn list(keys: &[&str], role: &str) -> Vec<u8> {
    let mut list = Vec::new();
    append(&mut list, Argument::Word(b"COMMAND"));
    for key in keys {
        let at = list.len();
        append(&mut list, Argument::Hidden);
        list.extend_from_slice(key.as_bytes());
        close(&mut list, at, Some(role.parse().unwrap()), false);
    }
    assert!(keys.is_empty() || list.len() > ENTRY_HEADER_BYTES);
    list
}

fn request<'a>(command: &str, arguments: &'a [u8], reply: Kind) -> KeyedRequest<'a> {
    KeyedRequest {
        command: table().find(command.as_bytes()).unwrap(),
        arguments,
        keys: arguments::keys(arguments).count() as u32,
        has_gap: false,
        request_bytes: 100,
        reply_bytes: 10,
        latency_ns: 1000,
        reply: Some(reply),
        nulls: Some(0),
        counts: true,
    }
}

struct Kept {
    statistics: KeyStatistics,
    counters: Counters,
}

impl Kept {
    fn new() -> Kept {
        Kept { statistics: KeyStatistics::new(1 << 20, b':', table(), SEED), counters: Counters::default() }
    }

    fn record(&mut self, request: &KeyedRequest<'_>) {
        self.statistics.record(request, &mut self.counters);
    }

    fn finished(mut self) -> Kept {
        self.statistics.finish(&mut self.counters);
        self
    }
}

fn of(top: &Top, name: &str) -> Tally {
    let found = top.iter().find(|entry| entry.name == name.as_bytes());
    *found.unwrap_or_else(|| panic!("{name} is not there")).tally
}

#[test]
fn an_operation_counts_for_each_key_and_bytes_and_latency_for_the_first() {
    let mut kept = Kept::new();
    kept.record(&request("MSET", &list(&["user:1", "user:2"], OW), Kind::Simple));
    kept.record(&request("GET", &list(&["user:2"], RO), Kind::Bulk));
    kept.record(&request("PING", &list(&[], RO), Kind::Simple));
    let Kept { statistics: KeyStatistics { keys, prefixes, .. }, counters } = kept.finished();
    let first = Tally { operations: 1, bytes_in: 100, bytes_out: 10, latency_ns: 1000, writes: 1, ..Tally::default() };
    assert_eq!(of(&keys, "user:1"), first);
    assert_eq!(of(&keys, "user:2"), Tally { operations: 2, reads: 1, hits: 1, ..first });
    let both = Tally {
        operations: 3,
        bytes_in: 200,
        bytes_out: 20,
        latency_ns: 2000,
        reads: 1,
        writes: 2,
        hits: 1,
        misses: 0,
    };
    assert_eq!(of(&prefixes, "user:"), both);
    assert_eq!((counters[Counter::KeyOperations], counters[Counter::KeysNotKept]), (3, 0));
}

#[test]
fn what_gets_large_is_counted_whole() {
    const LARGE: u64 = 1 << 31;
    let names = ["k", "a name that is longer", &"n".repeat(200)];
    for large in 0..3 {
        let mut kept = Kept::new();
        let mut sum = Tally::default();
        // Enough that each name is found in the table, and that what it had of late gets large several times.
        for round in 0..200 {
            let mut metrics = [7, 5, 3];
            metrics[large] = [LARGE - 1, LARGE / 3, LARGE, 9 * LARGE][round % 4];
            let [request_bytes, reply_bytes, latency_ns] = metrics;
            for name in names {
                let list = list(&[name], RO);
                let large =
                    KeyedRequest { request_bytes, reply_bytes, latency_ns, ..request("GET", &list, Kind::Bulk) };
                kept.record(&large);
            }
            let (bytes_in, bytes_out) = (request_bytes, reply_bytes);
            sum += &Tally { operations: 1, bytes_in, bytes_out, latency_ns, reads: 1, hits: 1, ..Tally::default() };
        }
        let Kept { statistics: KeyStatistics { keys, .. }, .. } = kept.finished();
        for entry in keys.iter() {
            assert_eq!(*entry.tally, sum, "{large}: {}", entry.name.escape_ascii());
        }
        assert_eq!(keys.len(), names.len());
    }
}

#[test]
fn what_keys_had_of_late_stays_theirs_when_others_leave() {
    let mut kept = Kept::new();
    for number in 0..5000 {
        let name = if number % 2 == 0 { format!("hot:{}", number % 6) } else { format!("cold:{number}") };
        kept.record(&request("GET", &list(&[&name], RO), Kind::Bulk));
    }
    let Kept { statistics: KeyStatistics { keys, prefixes, .. }, counters } = kept.finished();
    assert!(counters[Counter::KeysGivenUp] > 0);
    let operations = |top: &Top, name| of(top, name).operations;
    assert_eq!(["hot:0", "hot:2", "hot:4"].map(|name| operations(&keys, name)), [834, 833, 833]);
    assert_eq!((operations(&prefixes, "hot:"), operations(&prefixes, "cold:")), (2500, 2500));
}

#[test]
fn a_null_is_a_miss_and_a_value_is_a_hit_where_the_data_of_one_key_is_read() {
    for (command, role, reply, nulls, expected) in [
        ("GET", RO, Kind::Null, Some(0), (0, 1)),
        ("GET", RO, Kind::Bulk, Some(0), (1, 0)),
        ("ZSCORE", RO, Kind::Double, Some(0), (1, 0)),
        ("GET", RO, Kind::Error, Some(0), (0, 0)),
        ("GET", RO, Kind::Simple, Some(0), (0, 0)),
        ("HGETALL", RO, Kind::Map, Some(0), (0, 0)),
        ("HMGET", RO, Kind::Array, Some(3), (0, 0)),
        ("EXISTS", "RO", Kind::Integer, Some(0), (0, 0)),
        ("LPOP", "RW+ACCESS+DELETE", Kind::Null, Some(0), (0, 0)),
        ("SET", OW, Kind::Null, Some(0), (0, 0)),
        ("MGET", RO, Kind::Array, Some(0), (1, 0)),
        ("MGET", RO, Kind::Array, Some(1), (0, 1)),
        ("MGET", RO, Kind::Array, None, (0, 0)),
    ] {
        let mut kept = Kept::new();
        kept.record(&KeyedRequest { nulls, ..request(command, &list(&["k"], role), reply) });
        let tally = of(&kept.finished().statistics.keys, "k");
        assert_eq!((tally.hits, tally.misses), expected, "{command} answered with {reply:?}, {nulls:?}");
    }
}

#[test]
fn each_item_of_mget_is_its_keys() {
    let mut kept = Kept::new();
    kept.record(&KeyedRequest { nulls: Some(0b101), ..request("MGET", &list(&["a", "b", "c"], RO), Kind::Array) });
    kept.record(&request("SINTER", &list(&["a", "b"], RO), Kind::Array));
    let kept = kept.finished();
    let hits = ["a", "b", "c"].map(|key| {
        let tally = of(&kept.statistics.keys, key);
        (tally.hits, tally.misses)
    });
    assert_eq!(hits, [(0, 1), (1, 0), (0, 1)]);
}

#[test]
fn a_guessed_key_is_neither_read_nor_written_and_a_late_reply_is_no_second_operation() {
    let mut guessed = Vec::new();
    append(&mut guessed, Argument::Key(b"k"));
    let mut kept = Kept::new();
    let asked = KeyedRequest { reply: None, reply_bytes: 0, latency_ns: 0, ..request("GET", &guessed, Kind::Bulk) };
    kept.record(&asked);
    kept.record(&KeyedRequest { counts: false, request_bytes: 0, ..request("GET", &guessed, Kind::Bulk) });
    let expected = Tally { operations: 1, bytes_in: 100, bytes_out: 10, latency_ns: 1000, ..Tally::default() };
    let kept = kept.finished();
    assert_eq!(of(&kept.statistics.keys, "k"), expected);
    assert_eq!(kept.counters[Counter::KeyOperations], 1);
}

/// A short list with this key, if it is not too long for one.
fn brief(name: &[u8], role: KeyRole) -> Option<Brief<BRIEF_BYTES>> {
    let head = BriefHead::new(b"GET", role).expect("it is short");
    let mut last = [b'-'; BRIEF_HEAD_BYTES];
    if let Some(at) = last.len().checked_sub(name.len()) {
        last[at..].copy_from_slice(name);
    }
    let mut brief = Brief::EMPTY;
    brief.fill(&head, name, &last, 0).then_some(brief)
}

#[test]
fn a_usual_request_adds_to_its_key_what_it_adds_to_one_of_any() {
    let kinds = Kind::ALL;
    let (mut any, mut usual) = (Kept::new(), Kept::new());
    let lengths = (0..KEY_NAME_BYTES_MAX + 5).chain([7, 8, 16, 17]);
    for (number, length) in lengths.cycle().take(64 * kinds.len()).enumerate() {
        let role = KeyRole::from_bits((number / kinds.len()) as u8);
        let reply = kinds[number % kinds.len()];
        // Names that differ at one place only, each of them used again and again.
        let mut name = vec![b'k'; length];
        if length > 0 {
            name[number % length] = b'x';
        }
        let mut list = Vec::new();
        append(&mut list, Argument::Hidden);
        list.extend_from_slice(&name);
        close(&mut list, 0, Some(role), false);
        // Its array says of each key whether it is there.
        let request = request("MGET", &list, reply);
        let key = Key { name: &name, is_cut: false, role };
        let metrics = &Metrics { bytes_in: 100, bytes_out: 10, latency_ns: 1000 };
        let brief = brief(&name, role).filter(|_| number % 3 > 0);
        for _ in 0..3 {
            any.record(&request);
            let Kept { statistics, counters } = &mut usual;
            match &brief {
                _ if reply == Kind::Array => usual.record(&request),
                Some(brief) => statistics.record_brief(brief, reply, metrics, counters),
                None => statistics.record_usual(&key, reply, metrics, counters),
            }
        }
    }
    assert_eq!(any.counters, usual.counters);
    let told = |kept: Kept| -> Vec<_> {
        let keys = kept.finished().statistics.keys;
        keys.iter().map(|entry| (entry.name.to_vec(), entry.is_cut, *entry.tally, entry.error)).collect()
    };
    assert_eq!(told(any), told(usual));
}

proptest! {
    #[test]
    fn uses_that_wait_are_all_counted_in_order_however_few_or_many(
        uses in proptest::collection::vec(0usize..40, 0..200),
    ) {
        let mut kept = Kept::new();
        let mut expected: Vec<(Vec<u8>, u64)> = Vec::new();
        for number in uses {
            let name = format!("{number:02}{}", "k".repeat(number)).into_bytes();
            let mut list = Vec::new();
            append(&mut list, Argument::Key(&name));
            kept.record(&request("GET", &list, Kind::Bulk));
            match expected.iter_mut().find(|(other, _)| *other == name) {
                Some((_, uses)) => *uses += 1,
                None => expected.push((name, 1)),
            }
        }
        let kept = kept.finished();
        let told: Vec<_> =
            kept.statistics.keys.iter().map(|entry| (entry.name.to_vec(), entry.tally.operations)).collect();
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn the_biggest_are_those_of_a_sorted_list(
        messages in proptest::collection::vec((0u64..6, 0u64..8, 0u64..8), 0..80),
    ) {
        let mut biggest = Biggest::new();
        let mut all: Vec<Big> = messages
            .into_iter()
            .map(|(bytes, at, connection)| Big {
                bytes,
                at: Timestamp(at),
                place: (connection, 0),
                command: CommandId::UNKNOWN,
                key: None,
                client: endpoint(1),
                server: endpoint(9),
            })
            .collect();
        for big in &all {
            if biggest.wants(big.bytes, big.at, big.place) {
                biggest.insert(*big);
            }
        }
        all.retain(|big| big.bytes > 0);
        all.sort_by_key(|big| (std::cmp::Reverse(big.bytes), big.at, big.place));
        all.truncate(BIGGEST_LISTED);
        prop_assert!(biggest.iter().eq(&all));
    }
}

#[test]
fn keys_that_are_not_kept_are_counted_as_such() {
    let mut kept = Kept::new();
    kept.record(&KeyedRequest { keys: 5, ..request("DEL", &list(&["a", "b"], OW), Kind::Integer) });
    // Of the first, bytes are missing.
    let mut torn = Vec::new();
    append(&mut torn, Argument::KeyCut(b"ac"));
    append(&mut torn, Argument::Key(b"b"));
    kept.record(&KeyedRequest { has_gap: true, ..request("MGET", &torn, Kind::Array) });
    let kept = kept.finished();
    assert_eq!((kept.counters[Counter::KeyOperations], kept.counters[Counter::KeysNotKept]), (3, 4));
    let names: Vec<&[u8]> = kept.statistics.keys.iter().map(|entry| entry.name).collect();
    assert_eq!(names, [b"a", b"b"]);
}

#[test]
fn prefixes_end_with_the_last_separator_and_miss_nothing_when_keys_are_too_many() {
    let mut kept = Kept::new();
    let names = (0..5000).map(|number| format!("user:{}:{number}", if number % 3 == 0 { "a" } else { "b" }));
    for name in names.chain(["plain".to_owned(), ":".to_owned()]) {
        kept.record(&request("GET", &list(&[&name], RO), Kind::Null));
    }
    let Kept { statistics: KeyStatistics { keys, prefixes, .. }, counters } = kept.finished();
    let operations = ["user:a:", "user:b:", "", ":"].map(|prefix| of(&prefixes, prefix).operations);
    assert_eq!(operations, [1667, 3333, 1, 1]);
    assert_eq!(of(&prefixes, "user:b:").misses, 3333);
    assert_eq!(counters[Counter::KeysGivenUp] + keys.len() as u64, 5002);
    assert_eq!(counters[Counter::PrefixesGivenUp], 0);
}

#[test]
fn too_many_prefixes_are_counted_as_given_up() {
    let mut kept = Kept::new();
    for number in 0..100 {
        kept.record(&request("GET", &list(&[&format!("{number}:x")], RO), Kind::Null));
    }
    let kept = kept.finished();
    let held = kept.statistics.prefixes.len() as u64;
    assert_eq!(kept.counters[Counter::PrefixesGivenUp] + held, 100);
    assert!(held <= PREFIXES_PER_WORKER_MAX as u64);
}

#[test]
fn long_keys_are_cut_and_yet_told_apart() {
    let mut kept = Kept::new();
    let long = |last: &str| format!("{}{last}", "x".repeat(KEY_NAME_BYTES_MAX));
    for last in ["a", "b", "a", ""] {
        kept.record(&request("GET", &list(&[&long(last)], RO), Kind::Null));
    }
    let kept = kept.finished();
    let told = kept.statistics.keys.iter().map(|entry| (entry.is_cut, entry.tally.operations));
    assert_eq!(told.collect::<Vec<_>>(), [(true, 2), (true, 1), (false, 1)]);
}

#[test]
fn the_biggest_messages_are_listed_in_order_however_they_come() {
    let numbers: Vec<u64> = (0..1000).map(|number| number * 7919 % 1000).collect();
    let kept = |numbers: &[u64]| {
        let mut biggest = Biggest::new();
        for &number in numbers {
            // Sizes come in pairs, of which the earlier is the bigger.
            let (bytes, at, place) = (number / 2, Timestamp(number), (1, 0));
            let command = CommandId::UNKNOWN;
            if biggest.wants(bytes, at, place) {
                biggest.insert(Big { bytes, at, place, command, key: None, client: endpoint(1), server: endpoint(9) });
            }
        }
        biggest
    };
    let expected: Vec<u64> = (490..500).rev().flat_map(|half| [2 * half, 2 * half + 1]).collect();
    assert_eq!(expected.len(), BIGGEST_LISTED);
    let told = |biggest: &Biggest| biggest.iter().map(|big| big.at.0).collect::<Vec<_>>();
    assert_eq!(told(&kept(&numbers)), expected);
    let (some, others) = numbers.split_at(300);
    let mut all = kept(some);
    all.absorb(&kept(others));
    assert_eq!(told(&all), expected);
}

#[test]
fn what_is_left_of_a_key_is_not_the_key_that_is_as_short() {
    let mut kept = Kept::new();
    for key in [Argument::KeyCut(b"beginning"), Argument::Key(b"beginning"), Argument::KeyCut(b"beginning")] {
        let mut list = Vec::new();
        append(&mut list, key);
        kept.record(&request("GET", &list, Kind::Bulk));
    }
    let kept = kept.finished();
    let told = kept.statistics.keys.iter().map(|entry| (entry.is_cut, entry.tally.operations));
    assert_eq!(told.collect::<Vec<_>>(), [(true, 2), (false, 1)]);
}

#[test]
fn bytes_and_latency_count_for_the_first_key_that_is_counted() {
    let mut list = Vec::new();
    append(&mut list, Argument::KeyCut(b"with a gap"));
    append(&mut list, Argument::Key(b"whole"));
    let mut kept = Kept::new();
    kept.record(&KeyedRequest { has_gap: true, ..request("MGET", &list, Kind::Array) });
    let tally = of(&kept.finished().statistics.keys, "whole");
    assert_eq!(tally.metrics(), [1, 100, 10, 1000]);
}
