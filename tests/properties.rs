//! What holds for any traffic: made up from a seed with known truth, changed on the way to the tap, and run through the
//! whole pipeline.

mod common;

use std::fs;
use std::io::BufWriter;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use resptap::capture::write::PcapWriter;
use resptap::capture::{Frame, LinkType};
use resptap::config::values::{Nanoseconds, Output, Several, SinkSpec};
use resptap::config::{self, Config};
use resptap::counters::Counter;
use resptap::export::summary::{Memory, Report, to_json};
use resptap::limits::TUNNELS_MAX;
use resptap::record::transaction::Transaction;
use resptap::redis::arguments::{self, KeyPlace, Payload};
use resptap::redis::pairing::Resync;
use resptap::runtime::{self, Progress};
use resptap::units::Timestamp;

use common::Random;
use common::drive::{Options, Outcomes, Truth, frames, run, run_batches, run_frames, run_watched, worker};
use common::encapsulate::{encapsulate, random_nest};
use common::packet::{self, Packet, SECOND};
use common::traffic::{Scene, Style, scene};

/// Failures print their seed; files of them are not kept.
/// So many cases of each, or as many as the variable `CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("CASES").map_or(cases, |wanted| wanted.parse().expect("CASES is a number"));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Waits for missing bytes for 50 ms, however many packets of a few bytes that may be.
const PATIENT: Options = Options {
    resync: Resync::Assume,
    timeout_ns: 30 * SECOND,
    payload_bytes: 256,
    reorder_packets: u32::MAX,
    memory: 256 << 20,
    interval_ns: None,
};

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
    #![proptest_config(config(200))]

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

/// Seldom something about a packet is as no host would have it.
fn make_odd(packet: &mut Packet, random: &mut Random) {
    match random.within(0, 200) {
        0..4 => packet.snap = random.within(54, 600) as usize,
        4..8 => packet.ack = packet.ack.wrapping_sub(random.within(0, 3000) as u32).wrapping_add(500),
        8 => packet.flags ^= 1 << random.within(0, 6),
        9 => packet.window = [0, 1, 500][random.within(0, 3) as usize],
        10 => packet.at = packet.at.saturating_sub(random.within(0, 2 * SECOND)),
        _ => {}
    }
}

/// All that is told of transactions but what their texts say.
fn without_texts(outcomes: &Outcomes) -> Vec<String> {
    let told = outcomes.records.iter().map(|record| {
        let Transaction { key, .. } = record.transaction;
        if key != KeyPlace::default() {
            let place = usize::from(key.at)..usize::from(key.at) + usize::from(key.length);
            assert_eq!(record.arguments.get(place), arguments::first_key(&record.arguments), "where its key is");
        }
        let transaction = Transaction {
            text_at: 0,
            arguments_len: 0,
            key: KeyPlace::default(),
            rare: Transaction::NOTHING_RARE,
            ..record.transaction
        };
        format!("{transaction:?} {:?} {:?}", record.parent, arguments::slot(&record.arguments))
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

proptest! {
    #![proptest_config(config(300))]

    /// Packets go the long way one by one; the short way in batches; and where payload is shown half of the short way, as requests
    /// and replies are then read one byte after the other.
    #[test]
    fn the_short_way_tells_what_the_long_way_tells(seed: u64, lossy: bool, modes: bool, clock: bool) {
        go_both_ways(seed, lossy, modes, clock)?;
    }
}

/// Found in a run: a reply that comes behind another one was seen before its request.
#[test]
fn both_ways_tell_the_same_where_a_reply_was_seen_before_its_request() {
    go_both_ways(5_893_595_879_321_166_783, true, true, false).unwrap();
}

fn go_both_ways(seed: u64, lossy: bool, modes: bool, clock: bool) -> Result<(), TestCaseError> {
    let style = Style { reuse: true, modes, stalls: true, value_bytes: 20_000, ..Style::default() };
    let (scene, mut random) = made(&style, seed);
    let mut packets = packet::cut(&scene.packets, 1, 3000, &mut random);
    if lossy {
        packets = packet::drop_some(&packet::shake(&packets, &mut random), 0.01, 0.01, &mut random);
        for packet in &mut packets {
            make_odd(packet, &mut random);
        }
    }
    if clock {
        // It is set back, most often when a client has its replies and asks again.
        let mut set_back = 0;
        for packet in &mut packets {
            let chance = if packet.from_client { 0.05 } else { 0.01 };
            set_back += if random.chance(chance) { random.within(0, SECOND) } else { 0 };
            packet.at = packet.at.saturating_sub(set_back);
        }
    }
    let bytes: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
    let frames = frames(&packets, &bytes);
    let options = Options { timeout_ns: SECOND, payload_bytes: 0, ..PATIENT };
    let (mut worker_of_long, inbox) = worker(options);
    worker_of_long.leave_short_way();
    let long = run_watched((worker_of_long, inbox), &frames, |_, _, _| ());
    let short = run_batches(worker(options), &frames, || random.within(1, 70) as usize);
    let half = run(&packets, Options { payload_bytes: 256, ..options });
    let told = without_texts(&long);
    for other in [&short, &half] {
        for (other, long) in without_texts(other).iter().zip(&told) {
            prop_assert_eq!(other, long);
        }
        prop_assert_eq!(other.records.len(), long.records.len());
        for &counter in Counter::ALL {
            prop_assert_eq!(other.counters[counter], long.counters[counter], "{:?}", counter);
        }
    }
    for (short, long) in short.records.iter().zip(&long.records) {
        prop_assert_eq!(&short.arguments, &long.arguments);
    }
    Ok(())
}

/// Frames and the times at which they are seen.
type Sights = Vec<(u64, Vec<u8>)>;

fn run_sights(sights: &Sights) -> Outcomes {
    let frames = sights.iter().map(|(at, bytes)| Frame {
        bytes,
        wire_len: bytes.len() as u32,
        at: Timestamp(*at),
        link: LinkType::Ethernet,
    });
    run_frames(&frames.collect::<Vec<_>>(), PATIENT)
}

/// What another tap shows of a frame: the same, in a VLAN, or behind a router.
fn copied(frame: &[u8], random: &mut Random) -> Vec<u8> {
    let mut copy = frame.to_vec();
    if random.chance(0.5) {
        copy[..12].fill(random.next() as u8);
        let ttl = if copy[12] == 0x86 { 21 } else { 22 };
        copy[ttl] -= 1;
        let checksum = if copy[12] == 0x86 { 70 } else { 50 };
        copy[checksum] ^= 0x55;
    }
    if random.chance(0.5) {
        copy.splice(12..12, [0x81, 0, 0, random.within(1, 200) as u8]);
    }
    copy
}

fn sorted(mut sights: Sights) -> Sights {
    sights.sort_by_key(|(at, _)| *at);
    sights
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn row_48_49_copies_of_all_packets_change_nothing_but_their_own_count(seed: u64) {
        let style = Style { reuse: true, modes: true, value_bytes: 50_000, ..Style::default() };
        let (scene, mut random) = made(&style, seed);
        // Retransmissions, and packets out of order, are copied too.
        let packets = packet::shake(&scene.packets, &mut random);
        let packets = packet::drop_some(&packets, 0.01, 0.01, &mut random);
        let packets = packet::add_strays(&packets, 0.01, &mut random);
        let once: Sights = packets.iter().zip(0..).map(|(packet, n)| (packet.at, packet.numbered_frame(n))).collect();
        // None after the last packet: what waits for missing bytes would have waited for longer when the capture ends.
        let end = once.iter().map(|(at, _)| *at).max().unwrap_or(0);
        let copies = once.iter().map(|(at, frame)| {
            ((at + random.within(0, packet::MILLISECOND)).min(end), copied(frame, &mut random))
        });
        let copies: Sights = copies.collect();
        let twice = sorted(once.iter().chain(&copies).cloned().collect());
        let (once, twice) = (run_sights(&once), run_sights(&twice));
        prop_assert_eq!(once.counters[Counter::Duplicates], 0);
        prop_assert_eq!(twice.counters[Counter::Duplicates], copies.len() as u64);
        for &counter in Counter::ALL {
            use Counter::{Duplicates, FrameBytes, FramesAnalysed, FramesSeen};
            if ![Duplicates, FrameBytes, FramesAnalysed, FramesSeen].contains(&counter) {
                prop_assert_eq!(once.counters[counter], twice.counters[counter], "{:?}", counter);
            }
        }
        let told = |outcomes: &Outcomes| {
            let records = outcomes.records.iter();
            let mut told: Vec<String> = records.map(|record| format!("{record:?}")).collect();
            told.sort();
            told
        };
        prop_assert_eq!(told(&once), told(&twice));
    }
}

/// Nobody watches.
struct Unwatched;

impl Progress for Unwatched {
    fn update(&mut self, _bytes: u64, _packets: u64) {}
}

/// The whole program on a capture file: its records, sorted, and its summary without what may differ.
fn read(file: &Path, workers: usize, mmap: bool) -> (Vec<String>, Value) {
    let records = file.with_extension("jsonl");
    let options = config::Options {
        workers: Some(workers),
        sink: Some(Several(vec![SinkSpec::Jsonl(Output::File(records.clone()))])),
        payload: Some(Payload::Full),
        timeout: Some(Nanoseconds(SECOND)),
        no_mmap: Some(!mmap),
        ..config::Options::default()
    };
    let config = Config::new(options, vec![file.to_owned()]).unwrap();
    let outcome = runtime::read(&config, &mut Unwatched).unwrap();
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    let report = Report {
        version: "",
        started: outcome.started,
        ended: outcome.ended,
        clock: &outcome.clock,
        input: &outcome.input,
        counters: &outcome.counters,
        totals: &outcome.totals,
        keys: outcome.keys.as_ref(),
        key_hasher: None,
        replication: &outcome.replication,
        names: &config.names,
        workers: &outcome.workers,
        memory: Memory { budget: config.memory, peak: outcome.memory_peak },
    };
    let mut summary = to_json(&report);
    let sections = summary.as_object_mut().unwrap();
    assert_eq!(sections["memory"]["limited"], false);
    assert_eq!(sections["keys"]["given_up"], serde_json::json!({"keys": 0, "prefixes": 0}), "all is exact");
    assert!(sections["keys"]["by_operations"].as_array().is_some_and(|keys| !keys.is_empty()));
    assert_eq!(sections["workers"].as_array().map(Vec::len), Some(workers));
    sections.retain(|section, _| section != "workers" && section != "memory");
    sections["resptap"].as_object_mut().unwrap().retain(|key, _| key != "started" && key != "ended");
    let mut lines: Vec<String> = fs::read_to_string(records).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    (lines, summary)
}

/// Where two summaries differ.
fn differences(place: &str, some: &Value, other: &Value) -> Vec<String> {
    match (some, other) {
        (Value::Object(fields), Value::Object(others)) if fields.keys().eq(others.keys()) => {
            let of_field =
                |(key, value): (&String, &Value)| differences(&format!("{place}.{key}"), value, &others[key]);
            fields.iter().flat_map(of_field).collect()
        }
        _ if some == other => Vec::new(),
        _ => vec![format!("{place}: {some} is not {other}")],
    }
}

/// A capture of many connections over a minute, with some of everything in it.
fn eventful(seed: u64) -> Vec<Packet> {
    let style = Style { connections: 24, stalls: true, modes: true, reuse: true, ..Style::default() };
    let (scene, mut random) = made(&style, seed);
    let trouble = Trouble { loss: (0.003, 0.003), strays: 0.005, shaken: true, backwards: 0.001, ..NO_TROUBLE };
    trouble.befall(&scene.packets, &mut random)
}

/// Writes a capture, of which every fourth packet came through tunnels and in fragments, a few of which were lost.
fn write(packets: &[Packet], file: &Path, random: &mut Random) {
    let out = BufWriter::new(fs::File::create(file).unwrap());
    let mut writer = PcapWriter::new(out, LinkType::Ethernet, true).unwrap();
    for packet in packets {
        let nest = if random.chance(0.25) { random_nest(TUNNELS_MAX, random) } else { Vec::new() };
        for frame in encapsulate(packet.frame(), &nest, false, random) {
            if random.chance(0.999) {
                let captured = frame.len().min(packet.snap);
                writer.frame(Timestamp(packet.at), &frame[..captured], frame.len() as u32).unwrap();
            }
        }
    }
    writer.finish().unwrap();
}

proptest! {
    #![proptest_config(config(30))]

    #[test]
    fn the_number_of_workers_changes_nothing(seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("capture.pcap");
        write(&eventful(seed), &file, &mut Random(seed));
        let (records, summary) = read(&file, 1, true);
        prop_assert!(records.len() > 100, "{} records", records.len());
        prop_assert!(summary["packets"]["skipped"]["fragment_joined"].as_u64() > Some(10));
        for (workers, mmap) in [(1, false), (2, true), (3, true), (4, false)] {
            let (more_records, more_summary) = read(&file, workers, mmap);
            for (record, expected) in more_records.iter().zip(&records) {
                prop_assert_eq!(record, expected, "of {} workers", workers);
            }
            prop_assert_eq!(more_records.len(), records.len());
            let different = differences("", &more_summary, &summary);
            prop_assert!(different.is_empty(), "of {} workers: {:#?}", workers, different);
        }
    }
}

/// What happened to a capture: each of these by itself, or some together.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    loss: (f64, f64),
    /// Percent of the packets.
    begins_at: usize,
    ends_at: usize,
    snap: usize,
    strays: f64,
    shaken: bool,
    backwards: f64,
}

const NO_TROUBLE: Trouble = Trouble {
    loss: (0.0, 0.0),
    begins_at: 0,
    ends_at: 100,
    snap: usize::MAX,
    strays: 0.0,
    shaken: false,
    backwards: 0.0,
};

impl Trouble {
    fn befall(self, packets: &[Packet], random: &mut Random) -> Vec<Packet> {
        let mut packets = packets.to_vec();
        if self.shaken {
            packets = packet::shake(&packets, random);
        }
        if self.strays > 0.0 {
            packets = packet::add_strays(&packets, self.strays, random);
        }
        packets = packet::drop_some(&packets, self.loss.0, self.loss.1, random);
        let place = |percent: usize, packets: &[Packet]| packets.len() * percent / 100;
        packets.truncate(place(self.ends_at, &packets));
        packets.drain(..place(self.begins_at, &packets));
        for packet in &mut packets {
            packet.snap = self.snap;
            if random.chance(self.backwards) {
                packet.at -= random.within(1, 10 * SECOND);
            }
        }
        packets
    }
}

/// Panics on a wrong pair; answers how many of the answered requests were paired.
fn pairs(scene: &Scene, packets: &[Packet], options: Options, exact_times: bool) -> (usize, usize) {
    let truth = Truth::new(&scene.exchanges);
    let outcomes = run(packets, options);
    (truth.check(&outcomes.records, exact_times.then_some(packets)), truth.answered())
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let rate = || prop_oneof![Just(0.0), Just(0.001), Just(0.01), Just(0.03), Just(0.1)];
    let begins_at = prop_oneof![Just(0), 0usize..50];
    let ends_at = prop_oneof![Just(100), 50usize..100];
    let snap = prop_oneof![Just(usize::MAX), Just(usize::MAX), 60usize..200];
    let strays = prop_oneof![Just(0.0), Just(0.0), Just(0.01), Just(0.1)];
    let backwards = prop_oneof![Just(0.0), Just(0.0), Just(0.05)];
    (rate(), rate(), begins_at, ends_at, snap, strays, any::<bool>(), backwards).prop_map(
        |(of_client, of_server, begins_at, ends_at, snap, strays, shaken, backwards)| Trouble {
            loss: (of_client, of_server),
            begins_at,
            ends_at,
            snap,
            strays,
            shaken,
            backwards,
        },
    )
}

fn style() -> impl Strategy<Value = Style> {
    (any::<[bool; 4]>(), prop_oneof![Just(100u64), Just(2000), Just(50_000)]).prop_map(
        |([astray, stalls, modes, reuse], value_bytes)| Style {
            value_bytes,
            astray,
            stalls,
            modes,
            reuse,
            ..Style::default()
        },
    )
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn whatever_befalls_a_capture_no_pair_is_wrong(
        seed: u64,
        style in style(),
        trouble in trouble(),
        timeout_ns in prop_oneof![Just(30 * SECOND), Just(SECOND), Just(packet::MILLISECOND)],
        strict: bool,
    ) {
        let (scene, mut random) = made(&style, seed);
        let packets = trouble.befall(&scene.packets, &mut random);
        // Where the clock lies, silence can't be told; and it does not tell whether a CLIENT REPLY was hidden before it.
        let knows_silence = trouble.backwards == 0.0 && !style.modes;
        let resync = if strict || !knows_silence { Resync::Strict } else { Resync::Assume };
        let exact_times = !trouble.shaken && trouble.backwards == 0.0;
        pairs(&scene, &packets, Options { resync, timeout_ns, ..Options::default() }, exact_times);
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn garbage_is_counted_and_harms_nothing(seed: u64, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (scene, mut random) = made(&Style { connections: 2, ..Style::default() }, seed);
        let mut frames: Vec<(u64, Vec<u8>)> = vec![(packet::EPOCH, bytes)];
        for packet in &scene.packets {
            let mut frame = packet.frame();
            match random.within(0, 10) {
                // Any bytes anywhere, headers first.
                0 => {
                    for _ in 0..random.within(1, 9) {
                        let length = if random.chance(0.7) { frame.len().min(80) } else { frame.len() };
                        frame[random.within(0, length as u64) as usize] = random.next() as u8;
                    }
                }
                1 => frame.truncate(random.within(0, frame.len() as u64) as usize),
                2 => frame = (0..random.within(0, 100)).map(|_| random.next() as u8).collect(),
                _ => {}
            }
            frames.push((if random.chance(0.05) { random.next() } else { packet.at }, frame));
        }
        let links = [LinkType::Ethernet, LinkType::Ethernet, LinkType::RawIp, LinkType::LinuxSll2, LinkType::Null];
        let frames: Vec<Frame<'_>> = frames.iter().map(|(at, bytes)| Frame {
            bytes,
            wire_len: if random.chance(0.9) { bytes.len() as u32 } else { random.next() as u32 },
            at: Timestamp(*at),
            link: if random.chance(0.95) { LinkType::Ethernet } else { random.pick(&links) },
        }).collect();
        let outcomes = run_frames(&frames, Options::default());
        prop_assert_eq!(outcomes.counters[Counter::FramesSeen], frames.len() as u64);
    }
}

#[test]
fn a_stray_syn_from_the_servers_port_swaps_no_roles() {
    let (scene, _) = made(&Style { connections: 1, ..Style::default() }, 1);
    let live = &scene.packets[3..];
    let from_server = live.iter().find(|packet| !packet.from_client).expect("the server says something");
    let (at, seq) = (live[0].at - 1, from_server.seq.wrapping_sub(1));
    let mut packets = vec![Packet { at, seq, flags: packet::SYN, payload: Vec::new(), ..*from_server }];
    packets.extend_from_slice(live);
    let outcomes = run(&packets, Options::default());
    assert!(!outcomes.records.is_empty());
    assert!(outcomes.records.iter().all(|record| record.transaction.conversation.server.port == 6379));
}

#[test]
fn a_connection_that_has_ended_is_not_begun_again_by_late_copies_of_all_its_packets() {
    let has_ended = |scene: &Scene| scene.packets.iter().any(|packet| packet.flags & (packet::FIN | packet::RST) != 0);
    let scenes = (0..20).map(|seed| made(&Style { connections: 1, ..Style::default() }, seed).0);
    for scene in scenes.filter(has_ended).take(5) {
        let (first, last) = (scene.packets[0].at, scene.packets[scene.packets.len() - 1].at);
        let again = scene.packets.iter().map(|packet| {
            let at = last + SECOND + (packet.at - first) * SECOND / (last - first) / 2;
            Packet { at, ..packet.clone() }
        });
        let twice = packet::sorted(scene.packets.iter().cloned().chain(again).collect());
        let (once, twice) = (run(&scene.packets, PATIENT), run(&twice, PATIENT));
        assert_eq!(essence(&twice, true).0, essence(&once, true).0);
        assert_eq!((twice.counters[Counter::ConnectionsOpened], twice.counters[Counter::ConnectionsMidstream]), (1, 0));
    }
}

/// The share of answered requests that is paired, over many scenes.
fn share(style: Style, trouble: Trouble, options: Options) -> f64 {
    let (mut paired, mut answered) = (0, 0);
    for seed in 0..60 {
        let (scene, mut random) = made(&style, seed);
        let packets = trouble.befall(&scene.packets, &mut random);
        let (some, of) = pairs(&scene, &packets, options, !trouble.shaken && trouble.backwards == 0.0);
        paired += some;
        answered += of;
    }
    paired as f64 / answered as f64
}

#[test]
fn most_is_paired_in_spite_of_trouble() {
    let both = |rate| Trouble { loss: (rate, rate), ..NO_TROUBLE };
    let pausing = Style { stalls: true, ..Style::default() };
    for (name, style, trouble, least) in [
        ("nothing", Style::default(), NO_TROUBLE, 1.0),
        ("modes", Style { modes: true, ..Style::default() }, NO_TROUBLE, 0.7),
        ("reused ports", Style { reuse: true, ..Style::default() }, NO_TROUBLE, 1.0),
        ("0.1 % lost", pausing, both(0.001), 0.95),
        ("1 % lost", pausing, both(0.01), 0.75),
        ("10 % lost", pausing, both(0.1), 0.15),
        ("1 % of requests lost", pausing, Trouble { loss: (0.01, 0.0), ..NO_TROUBLE }, 0.8),
        ("1 % of replies lost", pausing, Trouble { loss: (0.0, 0.01), ..NO_TROUBLE }, 0.85),
        ("begins in the middle", pausing, Trouble { begins_at: 30, ..NO_TROUBLE }, 0.2),
        ("snap length 128", Style::default(), Trouble { snap: 128, ..NO_TROUBLE }, 0.4),
        ("strays", Style::default(), Trouble { strays: 0.01, ..NO_TROUBLE }, 0.75),
        ("time goes back", Style::default(), Trouble { backwards: 0.05, ..NO_TROUBLE }, 1.0),
    ] {
        let share = share(style, trouble, Options::default());
        println!("share of answered requests that are paired, {name}: {:.1} %", 100.0 * share);
        assert!(share >= least, "{name}: {share}");
    }
}
