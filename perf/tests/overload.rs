//! A worker at twice the load that it can carry. Alone in its process, as resident memory is looked at.

use resptap_perf::generator::{Plan, Profile};
use resptap_perf::harness::overload::{Options, Overloaded, overload};

/// Of fewer connections than in measurements, at a rate at which fewer packets last as long.
fn found(packets: u64, is_writer_slow: bool) -> Overloaded {
    let plan = Plan { connections: 1000, interval_ns: 2500, ..Profile::T1.plan() };
    let found = overload(&plan, Options { packets, is_writer_slow }, 1).expect("nothing is written to a disk");
    found.check().unwrap_or_else(|what| panic!("{what}: {found:?}"));
    found
}

#[test]
fn at_twice_the_load_connections_that_are_kept_are_whole_and_what_is_not_written_is_counted() {
    let fast = found(2_000_000, false);
    assert_eq!((fast.dropped, fast.unwritten, fast.whole), (0, 0, Some(fast.kept)), "{fast:?}");
    // Half of it can be carried, and somewhat less is.
    assert!(fast.share_max > 0.5 && fast.share_max < 0.65, "{fast:?}");
    assert!(fast.kept > 350 && fast.processed > fast.packets / 3, "{fast:?}");

    let slow = found(4_000_000, true);
    assert!(slow.unwritten > slow.transactions / 10 && slow.written > slow.transactions / 4, "{slow:?}");
}
