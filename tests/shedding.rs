//! What becomes of connections that are left out because there is more load than can be carried: they are lost, whole, and the
//! others are as if nothing had been.

mod common;

use std::collections::BTreeMap;

use proptest::prelude::*;

use resptap::capture::spread::Spread;
use resptap::counters::Counter;
use resptap::limits::SHED_PARTS;
use resptap::redis::pairing::{Outcome, Reason};
use resptap::units::{Conversation, Timestamp};
use resptap::worker::Worker;

use common::Random;
use common::drive::{Options, Outcomes, Record, Truth, frames, run, run_watched, worker};
use common::packet::{Packet, SECOND};
use common::traffic::{Scene, Style, scene};

fn made(seed: u64) -> Scene {
    scene(&Style { connections: 24, requests: 30, ..Style::default() }, &mut Random(seed))
}

/// Runs a scene, where connections are spread by this secret; before each frame `watch` may leave some out.
fn run_shedding(packets: &[Packet], secret: u64, watch: impl FnMut(&mut Worker, usize, Timestamp)) -> Outcomes {
    let (mut worker, inbox) = worker(Options::default());
    worker.spread_by(Spread { workers: 3, secret });
    let bytes: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
    let outcomes = run_watched((worker, inbox), &frames(packets, &bytes), watch);
    let counters = &outcomes.counters;
    assert_eq!(counters[Counter::FramesSeen] + counters[Counter::FramesShed], packets.len() as u64, "each is counted");
    outcomes
}

/// The pairs of each connection, and in which part it is where connections are spread by this secret; by the client's port.
fn paired(outcomes: &Outcomes, secret: u64) -> BTreeMap<u16, (usize, Vec<String>)> {
    let mut by_client: BTreeMap<u16, (usize, Vec<String>)> = BTreeMap::new();
    for record in outcomes.records.iter().filter(|record| record.is_paired()) {
        let Conversation { client, server, .. } = &record.transaction.conversation;
        let part = Spread { workers: 1, secret }.part(client, server);
        by_client.entry(client.port).or_insert((part, Vec::new())).1.push(record.essence(true));
    }
    by_client
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_is_never_left_out_notices_nothing_and_nobody_is_paired_wrongly(seed: u64, shares: [u8; 6]) {
        let Scene { packets, exchanges, .. } = made(seed);
        let piece = packets.len() / (shares.len() + 1);
        let outcomes = run_shedding(&packets, seed, |worker, number, at| {
            if number > 0 && number.is_multiple_of(piece) {
                worker.leave_out(shares.get(number / piece - 1).copied().unwrap_or(0).into(), at);
            }
        });
        Truth::new(&exchanges).check(&outcomes.records, None);
        let most = shares.into_iter().max().unwrap_or_default().into();
        let (all, left) = (paired(&run(&packets, Options::default()), seed), paired(&outcomes, seed));
        for (port, expected) in all.iter().filter(|(_, (part, _))| *part >= most) {
            prop_assert_eq!(left.get(port), Some(expected));
        }
        prop_assert_eq!(outcomes.counters[Counter::RequestsTimedOut], 0);
    }
}

#[test]
fn what_waits_on_a_connection_that_is_left_out_is_lost_however_its_time_passes() {
    let Scene { packets, .. } = made(5);
    let half = packets.len() / 2;
    // Everything is left out; the next that is looked at is a timer, the end, or nothing until the connection is back.
    for (waits, comes_back) in [(true, false), (false, false), (false, true)] {
        let mut packets = packets.clone();
        if waits {
            packets[half..].iter_mut().for_each(|packet| packet.at += 100 * SECOND);
        }
        let outcomes = run_shedding(&packets, 9, |worker, number, at| {
            if number == half - 1 {
                worker.leave_out(SHED_PARTS, at);
            } else if comes_back && number == half + half / 2 {
                worker.leave_out(0, at);
            }
        });
        let counters = &outcomes.counters;
        assert!(counters[Counter::ClosedShed] > 10 && counters[Counter::RequestsLost] > 10, "{waits} {comes_back}");
        assert_eq!((counters[Counter::RequestsTimedOut], counters[Counter::RequestsOneSided]), (0, 0), "{waits}");
        let ended = |record: &Record| record.transaction.outcome == Outcome::Unanswered(Reason::CaptureEnd);
        assert!(comes_back || !outcomes.records.iter().any(ended), "{waits}");
        if comes_back {
            assert!(counters[Counter::ConnectionsMidstream] > 0, "they begin anew");
            assert_eq!(counters[Counter::Gaps], 0, "nothing is missing of what they are now");
        }
    }
}
