//! Tries to make resptap pair a request with a reply that is not its own: random clients, servers, networks and mirrors with
//! known truth (`perf/`), and every pair held against it. None may be wrong, and the laws of the counters hold.
//!
//! A failure prints what led to it, and the command that shows the same again. `RESPTAP_MODEL_DRAWS` sets how many scenes are
//! drawn (each has about 1,500 transactions); `scripts/pairing-curves` is the long run.

mod common;

use std::collections::BTreeSet;
use std::env;

use resptap::capture::{Frame, LinkType};
use resptap::counters::{Counter, Counters};
use resptap::redis::pairing::Resync;
use resptap::units::Timestamp;
use resptap_perf::frame::frame;
use resptap_perf::judge::{Verdict, judge_capture};
use resptap_perf::mirror::{Sight, capture};
use resptap_perf::random::{MILLISECOND, SECOND, Span};
use resptap_perf::scenario::{Client, Mix, Scenario};
use resptap_perf::surroundings::surroundings;
use resptap_perf::world::World;

use common::drive::{Options, run_frames};

/// Judges scenes; panics where a pair is wrong or a law is broken.
fn judged(scenes: impl IntoIterator<Item = Scenario>, resync: Resync) -> Verdict {
    let mut all = Verdict::default();
    for scenario in scenes {
        let world = World::run(&scenario);
        let sights = capture(&world);
        let verdict = judge_capture(&world, &sights, resync, false);
        if verdict.wrong > 0 {
            let verdict = judge_capture(&world, &sights, resync, true);
            panic!(
                "{} WRONG PAIRS, the first: {:?}\n{scenario:?}\n{}",
                verdict.wrong,
                verdict.wrongs[0],
                surroundings(&world, &sights, &verdict)
            );
        }
        assert!(verdict.breaches.is_empty(), "{:?}\n{scenario:?}", verdict.breaches);
        all.add(verdict);
    }
    all
}

fn draws(usual: u64) -> u64 {
    env::var("RESPTAP_MODEL_DRAWS").ok().and_then(|draws| draws.parse().ok()).unwrap_or(usual)
}

/// Scenes by chance; a panic is preceded by the command that shows its scene.
fn draw(from: u64, resync: Resync, name: &str) -> Verdict {
    let scenes = (from..from + draws(500)).map(|seed| {
        // Shown where the test fails, as cargo keeps the output of those that pass to itself.
        println!("cargo run -p resptap-perf --bin cell -- --draw {seed} --resync {name} --dump");
        let mut scenario = Scenario::draw(seed);
        if resync != Resync::Strict {
            // A server that stalls for longer than --resync-silence while a client asks on is what fools that assumption.
            scenario.server.stall.1 = scenario.server.stall.1.min(1500 * MILLISECOND);
        }
        scenario
    });
    let verdict = judged(scenes, resync);
    println!(
        "{name}: of {} transactions that loss did not touch {:.1} % were paired",
        verdict.untouched,
        verdict.share()
    );
    assert!(verdict.paired > verdict.untouched / 10, "{verdict:?}");
    verdict
}

#[test]
fn whatever_is_drawn_strict_pairs_nothing_wrongly() {
    draw(0, Resync::Strict, "strict");
}

#[test]
fn whatever_is_drawn_assume_pairs_nothing_wrongly() {
    draw(1_000_000, Resync::Assume, "assume");
}

/// What a worker counts of a capture.
fn worker_counters(world: &World, sights: &[Sight]) -> Counters {
    let frames = sights.iter().map(|sight| {
        let mut bytes = Vec::new();
        let wire_len = frame(world, sight, &mut bytes);
        (sight.at, bytes, wire_len)
    });
    let frames: Vec<_> = frames.collect();
    let frames = frames.iter().map(|(at, bytes, wire_len)| Frame {
        bytes,
        wire_len: *wire_len,
        at: Timestamp(*at),
        link: LinkType::Ethernet,
    });
    run_frames(&frames.collect::<Vec<_>>(), Options { payload_bytes: 0, ..Options::default() }).counters
}

/// Rows 48 and 49: each packet has an identification and a timestamp as Linux gives them, those that TCP sends again included.
#[test]
fn copies_are_counted_each_and_leave_the_account_of_retransmissions_as_it_is() {
    let (mut copies, mut retransmissions) = (0, 0);
    for seed in 3_000_000..3_000_030 {
        let mut scenario = Scenario::draw(seed);
        (scenario.mirror.copies, scenario.mirror.routed) = (0.3, seed % 2 == 0);
        let world = World::run(&scenario);
        let twice = capture(&world);
        let mut seen = BTreeSet::new();
        let once: Vec<Sight> = twice.iter().filter(|sight| seen.insert(sight.packet)).copied().collect();
        let (twice_counted, once_counted) = (worker_counters(&world, &twice), worker_counters(&world, &once));
        for &counter in Counter::ALL {
            use Counter::{Duplicates, FrameBytes, FramesAnalysed, FramesSeen};
            let expected = match counter {
                Duplicates => (twice.len() - once.len()) as u64,
                FrameBytes | FramesAnalysed | FramesSeen => continue,
                _ => once_counted[counter],
            };
            assert_eq!(twice_counted[counter], expected, "{counter:?} of scene {seed}");
        }
        assert_eq!(once_counted[Counter::Duplicates], 0, "scene {seed}");
        copies += twice.len() - once.len();
        retransmissions += once_counted[Counter::Retransmitted];
    }
    assert!(copies > 1000 && retransmissions > 100, "{copies} copies, {retransmissions} retransmissions");
}

#[test]
fn a_worker_counts_the_same_and_its_records_agree() {
    for seed in 2_000_000..2_000_030 {
        let mut scenario = Scenario::draw(seed);
        scenario.traffic.mix = Mix::Mixed;
        let world = World::run(&scenario);
        let sights = capture(&world);
        let counters = worker_counters(&world, &sights);
        let verdict = judge_capture(&world, &sights, Resync::Assume, false);
        for counter in Counter::ALL {
            let (section, name) = counter.place();
            if ["requests", "replies", "connections"].contains(&section) {
                assert_eq!(counters[*counter], verdict.counters[*counter], "{section}.{name} of scene {seed}");
            }
        }
    }
}

/// Scenes of a kind, at several rates of loss, from the beginning and joined in the middle, of both mixes.
fn troubled(client: Client, change: impl Fn(&mut Scenario)) -> Vec<Scenario> {
    let mut scenes = Vec::new();
    for seed in 0..4 {
        for mix in [Mix::Gets, Mix::Mixed] {
            for (loss, begins) in [(0.003, 0.0), (0.01, 0.0), (0.05, 0.0), (0.0, 0.3), (0.01, 0.3)] {
                let mut scenario = Scenario::new(client, mix, seed).losing(loss);
                scenario.mirror.begins = begins;
                scenario.traffic.requests = 600;
                change(&mut scenario);
                scenes.push(scenario);
            }
        }
    }
    scenes
}

/// Neither strictly nor by assumption.
fn nothing_is_wrong(scenes: &[Scenario]) {
    for resync in [Resync::Strict, Resync::Assume] {
        judged(scenes.iter().copied(), resync);
    }
}

const CLIENTS: [Client; 6] = [
    Client::Serial,
    Client::Batch(4),
    Client::Window(2),
    Client::Window(16),
    Client::Multiplexed(2),
    Client::Multiplexed(8),
];

// What is no evidence (PAIRING).

#[test]
fn that_each_reply_seems_to_answer_the_newest_request_is_no_evidence() {
    // One is outstanding for ever; replies come as if right after their requests.
    for outstanding in [1, 2, 5] {
        judged(troubled(Client::Locked(outstanding), |_| {}), Resync::Strict);
    }
}

#[test]
fn that_a_request_is_outstanding_for_ever_by_chance_is_no_evidence() {
    for threads in [2, 3, 8] {
        let busy = |scenario: &mut Scenario| scenario.traffic.think = Span(20_000, 200_000);
        nothing_is_wrong(&troubled(Client::Multiplexed(threads), busy));
    }
}

#[test]
fn that_the_server_was_silent_for_seconds_is_no_evidence() {
    // Longer than --resync-silence it fools that assumption, if a client asks on; never a proof.
    for (longest, resync) in [(5 * SECOND, Resync::Strict), (1900 * MILLISECOND, Resync::Assume)] {
        for client in CLIENTS {
            let stalling = |scenario: &mut Scenario| {
                scenario.server.stalls = 0.02;
                scenario.server.stall = Span(SECOND, longest);
            };
            judged(troubled(client, stalling), resync);
        }
    }
}

#[test]
fn that_nothing_moves_while_a_window_is_closed_is_no_evidence() {
    for client in CLIENTS {
        let dozing = |scenario: &mut Scenario| {
            scenario.traffic.dozes = 0.02;
            scenario.network.buffers = [4096, 4096];
        };
        nothing_is_wrong(&troubled(client, dozing));
    }
}

#[test]
fn that_all_bytes_of_replies_are_acknowledged_is_no_evidence() {
    // Thoughts are longer than an acknowledgement may be delayed, and so is the service.
    for client in [Client::Window(2), Client::Multiplexed(2), Client::Multiplexed(8), Client::Impatient] {
        let slow = |scenario: &mut Scenario| {
            scenario.traffic.think = Span(50 * MILLISECOND, 300 * MILLISECOND);
            scenario.server.service = Span(45 * MILLISECOND, 200 * MILLISECOND);
            scenario.server.turn = 1;
        };
        nothing_is_wrong(&troubled(client, slow));
    }
}

#[test]
fn that_the_client_waited_is_no_evidence() {
    // Its threads do, each for its own reply, while another's is outstanding.
    for threads in [2, 3] {
        let waiting = |scenario: &mut Scenario| {
            scenario.traffic.think = Span(100 * MILLISECOND, 900 * MILLISECOND);
            scenario.server.service = Span(MILLISECOND, 500 * MILLISECOND);
            scenario.server.stalls = 0.01;
            scenario.server.stall = Span(500 * MILLISECOND, 1500 * MILLISECOND);
        };
        nothing_is_wrong(&troubled(Client::Multiplexed(threads), waiting));
    }
}

#[test]
fn what_is_said_inside_values_is_not_believed() {
    for client in CLIENTS {
        let full = |scenario: &mut Scenario| {
            scenario.traffic.value_bytes = 20_000;
            scenario.network.mss = 200;
            scenario.traffic.requests = 200;
        };
        nothing_is_wrong(&troubled(client, full));
    }
}

// How much is paired.

/// The share of the transactions that loss did not touch, at 1 % of loss in both directions.
fn share(client: Client, mix: Mix, resync: Resync) -> f64 {
    let verdict = judged((0..5).map(|seed| Scenario::new(client, mix, seed).losing(0.01)), resync);
    println!("{client:?} {mix:?} {resync:?}: {:.2} %", verdict.share());
    verdict.share()
}

#[test]
fn of_mixed_commands_strict_pairs_nearly_all_that_loss_did_not_touch() {
    for (client, least) in [
        (Client::Serial, 98.0),
        (Client::Batch(16), 95.0),
        (Client::Window(16), 95.0),
        (Client::Multiplexed(8), 95.0),
        (Client::Multiplexed(40), 95.0),
    ] {
        let share = share(client, Mix::Mixed, Resync::Strict);
        assert!(share >= least, "{client:?}: {share:.2} %");
    }
}

#[test]
fn of_gets_alone_assume_pairs_most_that_loss_did_not_touch() {
    for (client, least) in [(Client::Serial, 80.0), (Client::Batch(16), 75.0)] {
        let share = share(client, Mix::Gets, Resync::Assume);
        assert!(share >= least, "{client:?}: {share:.2} %");
    }
}

#[test]
fn forty_threads_on_a_connection_that_is_joined_in_the_middle_pair_within_300_replies() {
    let scenes = (0..20).map(|seed| {
        let mut scenario = Scenario::new(Client::Multiplexed(40), Mix::Mixed, seed);
        scenario.mirror.begins = 0.3;
        scenario
    });
    let verdict = judged(scenes, Resync::Assume);
    for joined in &verdict.joined_after {
        assert!(joined.is_some_and(|replies| replies <= 300), "{:?}", verdict.joined_after);
    }
}
