//! A capture means the same in whatever its packets are wrapped: tags, tunnels within tunnels, fragments, and the frames of hosts
//! with segmentation offload give the transactions, times and statistics of the plain one.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use serde_json::Value;

use resptap::capture::write::PcapWriter;
use resptap::capture::{Frame, LinkType};
use resptap::counters::{Counter, Counters};
use resptap::decode::fragment::Fragments;
use resptap::decode::{Skip, decode};
use resptap::limits::TUNNELS_MAX;
use resptap::units::Timestamp;

use common::Random;
use common::drive::{Options, Outcomes, run_frames};
use common::encapsulate::{LABELS_PSEUDO_WIRE, LABELS_PSEUDO_WIRE_BARE, STEPS, Step, encapsulate, random_nest};
use common::packet::{self, Packet};
use common::traffic::{Style, scene};

type Frames = Vec<(u64, Vec<u8>)>;

/// The frames of the packets in a nest of their own each; all fragments of one come at its time.
fn frames(packets: &[Packet], random: &mut Random, nest: impl Fn(&mut Random) -> (Vec<Step>, bool)) -> Frames {
    let wrap = |packet: &Packet| {
        let (nest, without_lengths) = nest(random);
        let frames = encapsulate(packet.frame(), &nest, without_lengths, random);
        frames.into_iter().map(|frame| (packet.at, frame)).collect::<Vec<_>>()
    };
    packets.iter().flat_map(wrap).collect()
}

fn borrowed(frames: &Frames) -> Vec<Frame<'_>> {
    let frame = |(at, bytes): &'_ (u64, Vec<u8>)| (Timestamp(*at), bytes.len() as u32);
    frames
        .iter()
        .map(|owned| {
            let (at, wire_len) = frame(owned);
            Frame { bytes: &owned.1, wire_len, at, link: LinkType::Ethernet }
        })
        .collect()
}

/// All that came out, but in which VLAN it was, and how many frames it took.
fn story(outcomes: &Outcomes) -> Vec<String> {
    let told = outcomes.records.iter().map(|record| {
        let mut transaction = record.transaction;
        (transaction.conversation.vlans, transaction.text_at, transaction.rare) = ([0; 2], 0, 0);
        let texts = [&record.arguments, &record.error, &record.response].map(|text| text.escape_ascii().to_string());
        format!("{transaction:?} {:?} {texts:?}", record.parent)
    });
    let per_frame = [Counter::FramesSeen, Counter::FrameBytes, Counter::SkipFragmentJoined];
    let counted = Counter::ALL.iter().filter(|counter| !per_frame.contains(counter));
    counted.map(|&counter| format!("{counter:?} {}", outcomes.counters[counter])).chain(told).collect()
}

#[track_caller]
fn assert_same(frames: &Frames, plain: &Outcomes, what: &dyn std::fmt::Debug) {
    let wrapped = run_frames(&borrowed(frames), Options::default());
    let skipped = Counter::ALL.iter().filter(|counter| counter.place().1.starts_with("skipped."));
    let skipped: Vec<_> = skipped.map(|&counter| (counter, wrapped.counters[counter])).collect();
    for (line, expected) in story(&wrapped).iter().zip(&story(plain)) {
        assert_eq!(line, expected, "{what:?} {skipped:?}");
    }
    assert_eq!(wrapped.records.len(), plain.records.len());
}

fn plain(packets: &[Packet]) -> Outcomes {
    let frames = packets.iter().map(|packet| (packet.at, packet.frame())).collect();
    run_frames(&borrowed(&frames), Options::default())
}

fn packets(seed: u64) -> (Vec<Packet>, Random) {
    let mut random = Random(seed);
    let style = Style { connections: 6, requests: 60, value_bytes: 20_000, ..Style::default() };
    (scene(&style, &mut random).packets, random)
}

#[test]
fn each_kind_of_encapsulation_changes_nothing() {
    for (seed, step) in (0..).zip(STEPS) {
        let (packets, mut random) = packets(seed);
        let plain = plain(&packets);
        assert!(plain.counters[Counter::RequestsExact] > 10);
        let wrapped = frames(&packets, &mut random, |_| (vec![step], false));
        assert_same(&wrapped, &plain, &step);
        let bytes = |frames: &Frames| frames.iter().map(|(_, frame)| frame.len()).sum::<usize>();
        let plain_bytes: usize = packets.iter().map(|packet| packet.frame().len()).sum();
        assert!(bytes(&wrapped) > plain_bytes, "{step:?} does nothing");
    }
}

#[test]
fn frames_of_segmentation_offload_without_lengths_are_whole_in_each_kind() {
    for (seed, step) in (100..).zip(STEPS) {
        let (packets, mut random) = packets(seed);
        let merged = packet::merge(&packets, &mut random);
        assert!(merged.iter().any(|packet| packet.payload.len() > 1500), "none is beyond the MTU");
        let wrapped = frames(&merged, &mut random, |_| (vec![step], true));
        assert_same(&wrapped, &plain(&merged), &step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_nest_up_to_the_limit_changes_nothing(seed: u64) {
        let (packets, mut random) = packets(seed);
        let of_packet = |random: &mut Random| (random_nest(TUNNELS_MAX, random), random.chance(0.2));
        let wrapped = frames(&packets, &mut random, of_packet);
        assert_same(&wrapped, &plain(&packets), &seed);
    }
}

#[test]
fn what_is_deeper_than_the_limit_is_counted_as_that() {
    let (packets, mut random) = packets(7);
    let wrapped = frames(&packets, &mut random, |_| (vec![Step::Vxlan; TUNNELS_MAX + 1], false));
    let outcomes = run_frames(&borrowed(&wrapped), Options::default());
    assert_eq!(outcomes.counters[Counter::SkipTooDeep], packets.len() as u64);
    assert!(outcomes.records.is_empty());
}

fn write(frames: &Frames, file: &Path) {
    let out = BufWriter::new(File::create(file).unwrap());
    let mut writer = PcapWriter::new(out, LinkType::Ethernet, true).unwrap();
    for (at, frame) in frames {
        writer.frame(Timestamp(*at), frame, frame.len() as u32).unwrap();
    }
    writer.finish().unwrap();
}

/// The records of the program, sorted.
fn records(file: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resptap"));
    let output = command.arg("read").arg(file).args(["--sink", "jsonl:-"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn in_vlans(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let tags: Vec<u8> = tags.iter().flat_map(|tag| [[0x81, 0], tag.to_be_bytes()].concat()).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

#[test]
fn equal_addresses_in_two_vlans_are_two_connections_where_the_vlan_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (one, both) = (folder.path().join("one.pcap"), folder.path().join("both.pcap"));
    let (packets, _) = packets(3);
    let of = |tags: &'static [&'static [u16]]| {
        let wrap = move |packet: &Packet| {
            tags.iter().map(|tags| (packet.at, in_vlans(&packet.frame(), tags))).collect::<Frames>()
        };
        packets.iter().flat_map(wrap).collect::<Frames>()
    };
    write(&of(&[&[12]]), &one);
    write(&of(&[&[12], &[12, 13]]), &both);
    let alone = records(&one, &[]);
    assert!(alone.len() > 10);
    assert!(alone.iter().all(|record| record["network"]["vlan"]["id"] == "12"));
    assert!(alone.iter().all(|record| record["network"].get("inner").is_none()));
    assert_eq!(records(&both, &[]).len(), alone.len(), "copies of the same packets");
    for workers in ["1", "3"] {
        let apart = records(&both, &["--key-by-vlan", "--workers", workers]);
        assert_eq!(apart.len(), 2 * alone.len());
        let (qinq, single): (Vec<_>, Vec<_>) =
            apart.into_iter().partition(|record| record["network"]["inner"]["vlan"]["id"] == "13");
        assert_eq!(qinq.len(), single.len());
        let ids = |records: &[Value]| records.iter().map(|record| record["event"]["id"].clone()).collect::<Vec<_>>();
        assert!(ids(&qinq).iter().all(|id| !ids(&single).contains(id)), "each has an id of its own");
        for (record, other) in single.iter().zip(&qinq) {
            assert_eq!(record["network"]["community_id"], other["network"]["community_id"]);
            assert_eq!(record["redis"], other["redis"]);
        }
    }
}

/// Lengths of the TCP payloads in the order of the capture, as resptap sees them.
fn payload_lengths(frames: &Frames) -> Vec<u32> {
    let (mut fragments, mut counters) = (Fragments::default(), Counters::default());
    let mut lengths = Vec::new();
    for frame in borrowed(frames) {
        let whole = match decode(&frame) {
            Err(Skip::Fragment) => fragments.join(&frame, &mut counters),
            _ => Some(frame),
        };
        lengths.extend(whole.map(|whole| decode(&whole).unwrap().wire_payload_len));
    }
    lengths
}

/// The same, as tshark sees them.
fn tshark_lengths(file: &Path) -> Vec<u32> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-Y", "tcp", "-T", "fields", "-e", "tcp.len"]);
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE", "-o", "tcp.analyze_sequence_numbers:FALSE"]);
    command.args(["-o", "udp.ignore_ipv6_zero_checksum:TRUE", "-d", "udp.port==8472,vxlan"]);
    for (labels, kind) in [(LABELS_PSEUDO_WIRE, "pwethcw"), (LABELS_PSEUDO_WIRE_BARE, "pwethnocw")] {
        command.arg("-d").arg(format!("mpls.label=={}-{},{kind}", labels.start, labels.end - 1));
    }
    let output = command.output().expect("tshark, which scripts/setup installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs tshark: scripts/test installs it and runs this"]
fn tshark_finds_the_same_payloads_inside_of_each_kind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.pcap");
    let mut compared = BTreeMap::new();
    let single = STEPS.iter().map(|&step| vec![step]);
    let pairs = STEPS
        .iter()
        .flat_map(|&step| [vec![step, Step::Fragments], vec![Step::Fragments, step], vec![Step::Vxlan, step]]);
    for (seed, nest) in (0..).zip(single.chain(pairs)) {
        let (packets, mut random) = packets(seed);
        let wrapped = frames(&packets, &mut random, |_| (nest.clone(), false));
        write(&wrapped, &file);
        let lengths = payload_lengths(&wrapped);
        assert_eq!(lengths.len(), packets.len());
        assert_eq!(lengths, tshark_lengths(&file), "{nest:?}");
        compared.insert(format!("{nest:?}"), lengths.iter().map(|&length| u64::from(length)).sum::<u64>());
    }
    println!("bytes of payload that both found: {compared:#?}");
}

/// What a capture file of nothing but damaged tunnels comes to: an account, not a crash.
#[test]
fn damaged_nests_are_counted_each_frame_once() {
    let (packets, mut random) = packets(11);
    let of_packet = |random: &mut Random| (random_nest(TUNNELS_MAX, random), random.chance(0.2));
    let mut damaged = frames(&packets, &mut random, of_packet);
    for (_, frame) in &mut damaged {
        for _ in 0..random.within(1, 4) {
            let headers = frame.len().min(200) as u64;
            frame[random.within(0, headers) as usize] = random.next() as u8;
        }
        if random.chance(0.1) {
            frame.truncate(random.within(0, frame.len() as u64) as usize);
        }
    }
    let outcomes = run_frames(&borrowed(&damaged), Options::default());
    assert_eq!(outcomes.counters[Counter::FramesSeen], damaged.len() as u64);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.pcap");
    write(&damaged, &file);
    let written = fs::metadata(&file).unwrap().len();
    assert!(written > 0);
    let one = records(&file, &["--workers", "1"]);
    assert_eq!(one, records(&file, &["--workers", "3"]));
}
