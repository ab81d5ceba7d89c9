//! Names as they are written, and lists as they are ordered.

use super::*;
use crate::flow::hash::Seed;
use crate::record::top::Hashed;

fn top(tallies: impl Iterator<Item = (String, Tally)>) -> Top {
    let mut top = Top::new(10_000);
    for (name, tally) in tallies {
        let hash = Seed::fixed(1).of_bytes(name.as_bytes());
        *top.tally(&Hashed { hash, name: name.as_bytes(), is_cut: false }, |_| ()) += &tally;
    }
    top
}

#[test]
fn names_are_written_as_in_records() {
    for (name, is_cut, text) in [
        (&b"user:1"[..], false, "user:1"),
        (b"", false, ""),
        ("schl\u{fc}ssel".as_bytes(), false, "schl\u{fc}ssel"),
        (br"a\b", false, r"a\b"),
        (b"a\\b\xff", false, r"a\\b\xff"),
        (b"begin", true, "begin…"),
        (b"caf\xc3", true, "caf…"),
        (b"caf\xc3", false, r"caf\xc3"),
    ] {
        assert_eq!(shown(name, is_cut, None), text);
    }
}

#[test]
fn names_are_told_by_their_hash_where_that_is_asked_for() {
    let hasher = KeyHasher::new(b"Jefe");
    // RFC 4231, case 2.
    let hash = "5bdcc146bf60754e6a042426089575c7";
    let name = "what do ya want for nothing?";
    assert_eq!(shown(name.as_bytes(), false, Some(&hasher)), hash);
    assert_eq!(shown(name.as_bytes(), true, Some(&hasher)), format!("{hash}…"));
    let tally = Tally { operations: 1, ..Tally::default() };
    let top = top([(name.to_owned(), tally), (String::new(), tally)].into_iter());
    let rows = ranked(&top, Metric::Operations, Some(&hasher));
    assert_eq!(rows.iter().map(|row| &row.name[..]).collect::<Vec<_>>(), ["", hash]);
}

#[test]
fn the_first_hundred_are_listed_by_the_metric_and_then_by_name() {
    let tallies = (0..1000u64).map(|number| {
        let operations = number * 7919 % 1000 / 2;
        (format!("{number:03}"), Tally { operations, bytes_in: 1000 - number, ..Tally::default() })
    });
    let mut expected: Vec<(String, Tally)> = tallies.clone().collect();
    expected.sort_by_key(|(name, tally)| (Reverse(tally.operations), name.clone()));
    let top = top(tallies);
    let rows = ranked(&top, Metric::Operations, None);
    let told: Vec<(String, Tally)> = rows.into_iter().map(|row| (row.name, row.tally)).collect();
    assert_eq!(told, expected[..KEYS_LISTED]);
    assert_eq!(ranked(&top, Metric::BytesIn, None)[0].name, "000");
    assert_eq!(ranked(&top, Metric::Latency, None), [], "none of it is no rank");
    assert_eq!(distinct(&top), Some(1000));
}

#[test]
fn what_may_be_missing_is_told_beside_what_was_counted() {
    let mut top = Top::new(8);
    for number in 0..100 {
        let name = format!("{number}");
        let hash = Seed::fixed(1).of_bytes(name.as_bytes());
        top.tally(&Hashed { hash, name: name.as_bytes(), is_cut: false }, |_| ()).operations += 2;
    }
    assert_eq!(distinct(&top), None);
    let rows = ranked(&top, Metric::Operations, None);
    let last = rows.iter().map(|row| row.error[0]).max();
    assert_eq!(last, Some(top.missed()[0]));
    assert!(rows.iter().all(|row| tally("key", row)["error"]["operations"] == row.error[0]));
}

#[test]
fn the_share_of_hits_is_told_where_there_is_one() {
    let tally = |hits, misses| Tally { hits, misses, ..Tally::default() };
    assert_eq!(hit_ratio(&tally(0, 0)), None);
    assert_eq!(hit_ratio(&tally(3, 1)), Some(0.75));
    let row = Row { name: "user:".into(), tally: tally(2, 1), error: [0; 4] };
    assert_eq!(super::tally("prefix", &row)["hit_ratio"], 0.6667);
}
