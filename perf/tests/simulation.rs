//! Whether the simulation is true to what it simulates, and the judge is awake.

use resptap::redis::pairing::Resync;
use resptap_perf::judge::judge_capture;
use resptap_perf::mirror::{Coverage, Sight, capture};
use resptap_perf::random::{MICROSECOND, SECOND, Span};
use resptap_perf::scenario::{Client, Mirror, Mix, Scenario};
use resptap_perf::world::{Exchange, World};
use resptap_perf::{Packet, frame};

fn drawn(seed: u64) -> (World, Vec<Sight>) {
    let world = World::run(&Scenario::draw(seed));
    let sights = capture(&world);
    (world, sights)
}

/// Exchanges whose replies have been written, with where those begin.
fn answered(world: &World, link: usize) -> impl Iterator<Item = (&Exchange, u64)> {
    world.links[link].exchanges.iter().filter_map(|exchange| Some((exchange, exchange.reply.as_ref()?.start)))
}

/// Packets of a connection that carry data.
fn data(world: &World, link: u32) -> impl Iterator<Item = &Packet> {
    world.packets.iter().filter(move |packet| packet.link == link && packet.length > 0)
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    for seed in 0..10 {
        let frames = || {
            let (world, sights) = drawn(seed);
            let frame = |sight: &Sight| {
                let mut bytes = Vec::new();
                (sight.at, frame::frame(&world, sight, &mut bytes), bytes)
            };
            sights.iter().map(frame).collect::<Vec<_>>()
        };
        assert!(frames() == frames(), "scene {seed}");
    }
}

#[test]
fn every_request_of_a_scene_is_asked_and_answered() {
    for seed in 0..200 {
        let (world, _) = drawn(seed);
        for link in &world.links {
            assert_eq!(link.exchanges.len(), world.scenario.traffic.requests as usize, "scene {seed}");
            let open = link.exchanges.iter().filter(|exchange| exchange.is_answered() && exchange.reply.is_none());
            assert_eq!(open.count(), 0, "scene {seed}");
        }
    }
}

#[test]
fn of_a_perfect_mirror_everything_is_seen_and_paired() {
    for seed in 0..100 {
        let mut scenario = Scenario::draw(seed);
        scenario.mirror = Mirror::PERFECT;
        // What comes later than the reorder budget allows is a gap; commands that MULTI has queued at the end have no reply.
        (scenario.network.loss, scenario.network.late) = (0.0, 0.0);
        if scenario.traffic.mix == Mix::Modes {
            continue;
        }
        let world = World::run(&scenario);
        let verdict = judge_capture(&world, &capture(&world), Resync::Strict, false);
        assert_eq!((verdict.paired, verdict.wrong), (verdict.answered, 0), "scene {seed}");
        assert_eq!(verdict.untouched, verdict.answered, "scene {seed}");
    }
}

#[test]
fn acknowledgements_cover_what_had_arrived_and_nothing_else() {
    for seed in 0..100 {
        let (world, _) = drawn(seed);
        // How far each side had sent, in the order of sending.
        let mut sent = vec![[0u64; 2]; world.links.len()];
        for packet in &world.packets {
            let (own, other) = if packet.from_client { (0, 1) } else { (1, 0) };
            let sent = &mut sent[packet.link as usize];
            // A FIN has a number, too.
            assert!(packet.ack <= sent[other] + 1, "scene {seed}");
            if packet.length > 0 {
                sent[own] = sent[own].max(packet.to());
            }
        }
        for (exchange, begin) in answered(&world, 0).take(100) {
            let has_first = |packet: &&Packet| !packet.from_client && (packet.from..packet.to()).contains(&begin);
            let first = data(&world, 0).find(has_first).expect("it was sent");
            assert!(first.ack >= exchange.request.end, "a server answers what it has received, scene {seed}");
        }
    }
}

#[test]
fn what_the_network_loses_is_sent_again_as_another_packet() {
    let mut scenario = Scenario::new(Client::Window(16), Mix::Mixed, 3);
    scenario.network.loss = 0.01;
    let world = World::run(&scenario);
    let mut again = 0;
    for link in 0..2 {
        let packets: Vec<&Packet> = data(&world, link).collect();
        for (at, packet) in packets.iter().enumerate() {
            let is_same = |other: &&&Packet| (other.from_client, other.from) == (packet.from_client, packet.from);
            let Some(first) = packets[..at].iter().find(is_same) else { continue };
            again += 1;
            assert_ne!(first.id, packet.id, "a copy has the same identification, a retransmission has not");
            assert!(first.ack <= packet.ack);
        }
    }
    assert!(again > 10, "{again}");
}

#[test]
fn copies_are_the_same_frame_and_routed_ones_another() {
    for routed in [false, true] {
        let mut scenario = Scenario::new(Client::Serial, Mix::Mixed, 3);
        scenario.mirror.copies = 1.0;
        scenario.mirror.routed = routed;
        let world = World::run(&scenario);
        let sights = capture(&world);
        assert_eq!(sights.len(), 2 * world.packets.len());
        let copy = sights[1..].iter().find(|sight| sight.packet == sights[0].packet).expect("each has one");
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        frame::frame(&world, &sights[0], &mut bytes);
        frame::frame(&world, copy, &mut again);
        assert_eq!(bytes == again, !routed);
        assert_eq!(bytes[34..], again[34..], "TCP and payload are the same in any case");
    }
}

#[test]
fn loss_is_as_much_as_was_said_and_touches_what_it_touches() {
    for burst in [0.0, 0.5] {
        let mut scenario = Scenario::new(Client::Serial, Mix::Gets, 5).losing(0.01);
        scenario.traffic.requests = 20_000;
        scenario.traffic.value_bytes = 100;
        scenario.mirror.burst = burst;
        let world = World::run(&scenario);
        let sights = capture(&world);
        let lost = 1.0 - sights.len() as f64 / world.packets.len() as f64;
        let expected = 0.01 / (1.0 - burst);
        assert!((0.8 * expected..1.2 * expected).contains(&lost), "{lost}");
        let coverage = Coverage::new(&world, &sights);
        let all = answered(&world, 0).count() as f64;
        let touched = answered(&world, 0).filter(|(exchange, _)| !coverage.shows_exchange(0, exchange)).count();
        let per_packet = touched as f64 / all / 0.01;
        assert!((1.7..2.3).contains(&per_packet) || burst > 0.0, "a packet for each request and reply: {per_packet}");
    }
}

/// Requests outstanding after each packet with data, as its senders know it.
fn outstanding(world: &World) -> Vec<usize> {
    let exchanges = &world.links[0].exchanges;
    let (mut asked, mut told, mut counts) = (0, 0, Vec::new());
    for packet in data(world, 0) {
        let place = if packet.from_client { &mut asked } else { &mut told };
        *place = packet.to().max(*place);
        let requests = exchanges.iter().filter(|exchange| exchange.request.end <= asked).count();
        let is_told = |exchange: &&Exchange| exchange.reply.as_ref().is_some_and(|reply| reply.end <= told);
        counts.push(requests - exchanges.iter().filter(is_told).count());
    }
    counts
}

#[test]
fn windows_and_multiplexers_hardly_ever_drain() {
    for (client, often) in [(Client::Window(16), 0.01), (Client::Multiplexed(8), 0.1), (Client::Serial, 1.0)] {
        let mut scenario = Scenario::new(client, Mix::Mixed, 9);
        scenario.traffic.requests = 1000;
        let counts = outstanding(&World::run(&scenario));
        let drained = counts.iter().filter(|&&count| count == 0).count() as f64 / counts.len() as f64;
        assert!(drained <= often, "{client:?} {drained}");
        assert!(client != Client::Serial || drained > 0.4, "{drained}");
    }
}

#[test]
fn to_a_phase_locked_window_each_reply_comes_right_after_another_request() {
    let world = World::run(&Scenario::new(Client::Locked(2), Mix::Gets, 9));
    let packets: Vec<&Packet> = data(&world, 0).collect();
    let exchanges = &world.links[0].exchanges;
    let mut followed = 0;
    for pair in packets.windows(2).filter(|pair| pair[0].from_client && !pair[1].from_client) {
        let begins = |place: u64, of: &Exchange, reply: bool| match &of.reply {
            Some(at) if reply => at.start == place,
            _ => !reply && of.request.start == place,
        };
        let asked = exchanges.iter().position(|exchange| begins(pair[0].from, exchange, false));
        let told = exchanges.iter().position(|exchange| begins(pair[1].from, exchange, true));
        if let (Some(asked), Some(told)) = (asked, told)
            && asked + 10 < exchanges.len()
        {
            followed += 1;
            assert_eq!(told + 2, asked);
            assert!(pair[1].at.unwrap_or(0) - pair[0].at.unwrap_or(0) < 50 * MICROSECOND);
        }
    }
    assert!(followed > 1800, "{followed}");
}

#[test]
fn nagle_holds_a_reply_back_until_the_one_before_is_acknowledged() {
    let unacknowledged = |nagle: bool| {
        let mut scenario = Scenario::new(Client::Batch(2), Mix::Gets, 9);
        scenario.server.nagle = nagle;
        scenario.server.turn = 1;
        scenario.traffic.value_bytes = 100;
        scenario.traffic.requests = 500;
        let world = World::run(&scenario);
        let replies: Vec<&Packet> = data(&world, 0).filter(|packet| !packet.from_client).collect();
        let hurried = replies.windows(2).filter(|pair| {
            let acks = |packet: &Packet| packet.link == 0 && packet.from_client && packet.ack >= pair[0].to();
            let ack = world.packets.iter().find(|packet| acks(packet)).and_then(|packet| packet.at);
            ack.is_none_or(|ack| ack > pair[1].at.unwrap_or(0))
        });
        hurried.count()
    };
    assert_eq!(unacknowledged(true), 0);
    assert!(unacknowledged(false) > 100);
}

#[test]
fn a_client_that_dozes_closes_its_window() {
    let mut scenario = Scenario::new(Client::Window(64), Mix::Gets, 9);
    scenario.traffic.dozes = 0.01;
    scenario.network.buffers = [4096, 64 << 10];
    let world = World::run(&scenario);
    assert!(world.packets.iter().filter(|packet| packet.from_client && packet.window == 0).count() > 5);
    assert!(world.packets.iter().any(|packet| packet.probe));
}

#[test]
fn a_server_stalls_for_seconds() {
    let mut scenario = Scenario::new(Client::Serial, Mix::Gets, 9);
    scenario.server.stalls = 0.01;
    scenario.server.stall = Span(2 * SECOND, 3 * SECOND);
    let world = World::run(&scenario);
    let times: Vec<u64> = world.packets.iter().filter_map(|packet| packet.at).collect();
    assert!(times.windows(2).any(|pair| pair[1].saturating_sub(pair[0]) > SECOND));
}

#[test]
fn the_judge_finds_pairs_that_are_wrong() {
    let mut world = World::run(&Scenario::new(Client::Batch(4), Mix::Mixed, 11));
    let sights = capture(&world);
    assert_eq!(judge_capture(&world, &sights, Resync::Strict, false).wrong, 0);
    let (left, right) = world.links[0].exchanges.split_at_mut(51);
    std::mem::swap(&mut left[50].reply, &mut right[0].reply);
    let verdict = judge_capture(&world, &sights, Resync::Strict, false);
    assert_eq!(verdict.wrong, 2);
    assert_eq!(verdict.wrongs.iter().map(|wrong| wrong.exchange).collect::<Vec<_>>(), [Some(50), Some(51)]);
    // One that has no reply, in truth.
    world.links[1].exchanges[7].reply = None;
    assert_eq!(judge_capture(&world, &sights, Resync::Strict, false).wrong, 3);
}
