//! Workers that share nothing take memory each. Alone in its process, as resident memory is looked at.

use resptap_perf::generator::Profile;
use resptap_perf::harness::reader::Mode;
use resptap_perf::harness::timing::{Counted, Variant, count};

#[test]
fn a_shard_takes_as_much_memory_as_a_single_one_or_less_and_all_packets_are_dealt_out() {
    let run = |shards| {
        count(Profile::T1, Variant::Resptap(Mode::Aggregate), 100_000, shards, 1)
            .expect("all is paired, in each of them")
    };
    let (one, several) = (run(1), run(2));
    let is_plausible = |run: &Counted| run.bytes_per_shard > 4e6 && run.bytes_per_shard < 40e6;
    assert!(is_plausible(&one) && is_plausible(&several), "{one:?} {several:?}");
    // Histograms and keys are each one's own, connections are not.
    assert!(several.bytes_per_shard < 1.5 * one.bytes_per_shard, "{one:?} {several:?}");
    assert!(several.imbalance > 1.0 && several.imbalance < 1.1, "{several:?}");
    assert!((one.packets, one.transactions) != (0, 0) && several.packets >= 100_000, "{one:?} {several:?}");
}
