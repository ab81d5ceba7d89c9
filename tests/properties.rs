//! What holds for any traffic: made up from a seed with known truth, changed on the way to the tap, and run through the
//! whole pipeline.

mod common;

use proptest::prelude::*;

use common::drive::{Options, Outcomes, Truth, run};
use common::packet::{self, Packet, SECOND};
use common::traffic::{Scene, Style, scene};
use common::Random;

use resptap::counters::Counter;
use resptap::redis::pairing::Resync;

/// Failures print their seed; files of them are not kept.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Waits for missing bytes for 50 ms, however many packets of a few bytes that may be.
const PATIENT: Options =
    Options { resync: Resync::Assume, timeout_ns: 30 * SECOND, payload_bytes: 256, reorder_packets: u32::MAX };

fn made(style: &Style, seed: u64) -> (Scene, Random) {
    let mut random = Random(seed);
    let scene = scene(style, &mut random);
    (scene, random)
}

/// Records in an order of their own, and counters but those of packets.
fn essence(outcomes: &Outcomes, with_pipeline: bool) -> (Vec<String>, Vec<(Counter, u64)>) {
    let mut records: Vec<String> = outcomes.records.iter().map(|record| record.essence(with_pipeline)).collect();
    records.sort();
    let counted = Counter::ALL.iter().filter(|counter| counter.place().0 != "packets");
    (records, counted.map(|&counter| (counter, outcomes.counters[counter])).collect())
}

fn assert_same(changed: &[Packet], original: &Outcomes, with_pipeline: bool) {
    let changed = run(changed, PATIENT);
    let (records, counters) = essence(&changed, with_pipeline);
    let (expected_records, expected_counters) = essence(original, with_pipeline);
    for (record, expected) in records.iter().zip(&expected_records) {
        assert_eq!(record, expected);
    }
    assert_eq!(records.len(), expected_records.len());
    assert_eq!(counters, expected_counters);
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn of_a_whole_capture_every_answered_request_is_paired_exactly_and_timed_right(seed: u64, stalls: bool) {
        let style = Style { stalls, value_bytes: 100_000, reuse: true, ..Style::default() };
        let (scene, _) = made(&style, seed);
        let outcomes = run(&scene.packets, PATIENT);
        let truth = Truth::new(&scene.exchanges);
        truth.check(&outcomes.records, Some(&scene.packets));
        let counters = &outcomes.counters;
        prop_assert_eq!(counters[Counter::Requests], scene.exchanges.len() as u64);
        prop_assert_eq!(counters[Counter::RequestsExact], truth.answered() as u64);
        prop_assert_eq!(counters[Counter::UnsolicitedPush], scene.pushes);
        prop_assert_eq!(counters[Counter::Replies], truth.answered() as u64 + scene.pushes);
        prop_assert_eq!(counters[Counter::Gaps], 0);
    }

    #[test]
    fn cutting_and_merging_segments_changes_nothing(seed: u64) {
        let (scene, mut random) = made(&Style { connections: 3, requests: 20, ..Style::default() }, seed);
        let original = run(&scene.packets, PATIENT);
        assert_same(&packet::cut(&scene.packets, 1, 1, &mut random), &original, true);
        assert_same(&packet::cut(&scene.packets, 1, 2000, &mut random), &original, true);
        assert_same(&packet::merge(&scene.packets, &mut random), &original, true);
    }

    #[test]
    fn reordering_and_repeating_segments_changes_nothing(seed: u64, skew in 0u64..20) {
        let style = Style { skew_ns: skew * packet::MILLISECOND, value_bytes: 20_000, ..Style::default() };
        let (scene, mut random) = made(&style, seed);
        let original = run(&scene.packets, PATIENT);
        let truth = Truth::new(&scene.exchanges);
        prop_assert_eq!(truth.check(&original.records, None), truth.answered());
        let shaken = packet::shake(&scene.packets, &mut random);
        assert_same(&shaken, &original, false);
        let shaken = run(&shaken, PATIENT);
        prop_assert_eq!(truth.check(&shaken.records, None), truth.answered());
    }
}
