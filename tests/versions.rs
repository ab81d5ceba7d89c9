//! One capture in several versions: what taps do to it (frames twice, out of order, cut into smaller ones, cut off at a snap
//! length) makes no other transactions or latencies. The repository's sample and generated ones.

mod common;

use std::collections::BTreeSet;

use resptap::counters::Counter;
use resptap::redis::pairing::Flags;
use resptap::units::Timestamp;

use common::Random;
use common::drive::{Options, Outcomes, Record, run_frames};
use common::packet::MILLISECOND;
use common::versions::{Owned, borrowed, captures, duplicated, reordered, resegmented, snapped};

fn run(frames: &[Owned]) -> Outcomes {
    run_frames(&borrowed(frames), Options { payload_bytes: 0, ..Options::default() })
}

/// All that a record tells, times included, but that segments were repeated; and its beginning and end. With `moved` frames its
/// times are nowhere else than there.
fn told(record: &Record, moved: bool) -> (String, [u64; 2]) {
    let mut transaction = record.transaction;
    let times = [transaction.t1.0, transaction.end.0];
    if moved {
        (transaction.t1, transaction.end, transaction.times) = (Timestamp::NONE, Timestamp::NONE, None);
    }
    transaction.text_at = 0;
    transaction.flags = Flags(transaction.flags.0 & !Flags::RETRANSMIT.0);
    let texts = [&record.arguments, &record.error].map(|text| text.escape_ascii().to_string());
    (format!("{:?} {:5} {transaction:?} {texts:?}", transaction.connection, transaction.index), times)
}

fn sorted(outcomes: &Outcomes, moved: bool) -> Vec<(String, [u64; 2])> {
    let mut records: Vec<_> = outcomes.records.iter().map(|record| told(record, moved)).collect();
    records.sort();
    records
}

/// The version gives the records of the capture itself, with times that are later by less than `moved_ns`.
#[track_caller]
fn assert_same(version: fn(&[Owned], &mut Random) -> Vec<Owned>, moved_ns: u64) {
    for (seed, capture) in (0..).zip(captures()) {
        let changed = version(&capture, &mut Random(seed));
        let is_other = changed.len() != capture.len() || changed.iter().zip(&capture).any(|(a, b)| a.bytes != b.bytes);
        assert!(is_other, "{seed}: the version is the capture itself");
        let (clean, changed) = (run(&capture), run(&changed));
        assert!(clean.counters[Counter::RequestsExact] > 10);
        let moved = moved_ns > 0;
        for ((record, times), (expected, clean)) in sorted(&changed, moved).iter().zip(&sorted(&clean, moved)) {
            assert_eq!(record, expected, "capture {seed}");
            for (time, clean) in times.iter().zip(clean) {
                assert!((*clean..=clean + moved_ns).contains(time), "capture {seed}: {time} for {clean}: {record}");
            }
        }
        assert_eq!(changed.records.len(), clean.records.len(), "capture {seed}");
    }
}

/// A frame that lies in the file behind later ones is taken to have come when they came: time never goes back.
#[test]
fn frames_out_of_order_change_no_transaction_and_latencies_by_no_more_than_they_were_moved() {
    assert_same(reordered, 10 * MILLISECOND);
}

#[test]
fn frames_that_come_twice_change_no_transaction_and_no_latency() {
    assert_same(duplicated, 0);
}

#[test]
fn smaller_segments_change_no_transaction_and_no_latency() {
    assert_same(resegmented, 0);
}

/// PROTOCOL row 62: whatever is paired is paired as in the whole capture and has its latency.
#[test]
fn of_a_capture_with_a_snap_length_of_128_no_pair_and_no_latency_differs() {
    for (seed, capture) in (0..).zip(captures()) {
        let (clean, changed) = (run(&capture), run(&snapped(&capture)));
        let pair = |record: &Record| {
            let transaction = &record.transaction;
            format!("{} {:?} {:?} {:?}", transaction.client, transaction.reply, transaction.t1, transaction.end)
        };
        let pairs = |outcomes: &Outcomes| {
            outcomes.records.iter().filter(|record| record.is_paired()).map(pair).collect::<BTreeSet<_>>()
        };
        let (clean, changed) = (pairs(&clean), pairs(&changed));
        let others: Vec<_> = changed.difference(&clean).take(5).collect();
        assert!(others.is_empty(), "capture {seed}: {others:#?}");
        println!("capture {seed}: {} of {} paired", changed.len(), clean.len());
        assert!(!changed.is_empty(), "capture {seed}: nothing is paired");
    }
}
