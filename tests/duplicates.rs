//! PROTOCOL rows 48 and 49: a capture in which packets stand more than once, as mirrors and routers show them, gives the records
//! of the clean one to the byte, and tells how many copies there were. What TCP sent again is no copy.

mod common;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use resptap::capture::LinkType;
use resptap::capture::write::PcapWriter;
use resptap::units::Timestamp;

use common::Random;
use common::encapsulate::{STEPS, encapsulate};
use common::packet::{MILLISECOND, Packet};
use common::traffic::{Style, scene};

/// Frames and when they are captured.
type Frames = Vec<(u64, Vec<u8>)>;

/// Traffic on which nothing is sent again; each packet has a number of its own.
fn clean(seed: u64) -> (Vec<Packet>, Frames) {
    let style = Style { connections: 6, requests: 80, value_bytes: 20_000, reuse: true, ..Style::default() };
    let packets = scene(&style, &mut Random(seed)).packets;
    let frames = packets.iter().zip(0..).map(|(packet, number)| (packet.at, packet.numbered_frame(number))).collect();
    (packets, frames)
}

fn in_order(mut frames: Frames) -> Frames {
    frames.sort_by_key(|(at, _)| *at);
    frames
}

/// Each frame, and a copy of it.
fn twice(frames: &Frames, mut copy: impl FnMut(u64, &[u8]) -> (u64, Vec<u8>)) -> Frames {
    let copies = frames.iter().map(|(at, frame)| copy(*at, frame));
    let copies: Frames = copies.collect();
    in_order(frames.iter().chain(&copies).cloned().collect())
}

fn in_vlan(frame: &[u8], vlan: u8) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, vlan], &frame[12..]].concat()
}

/// What is left of a frame behind a router: other addresses of the link layer, a hop less.
fn routed(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[..12].fill(7);
    let is_v6 = frame[12] == 0x86;
    frame[if is_v6 { 21 } else { 22 }] -= 1;
    if !is_v6 {
        frame[24] ^= 0x55;
    }
    frame
}

/// The records of the program, sorted, and the summary's account of packets.
fn read(frames: &Frames, arguments: &[&str]) -> (Vec<String>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let (file, summary) = (folder.path().join("capture.pcap"), folder.path().join("summary.json"));
    let mut writer = PcapWriter::new(BufWriter::new(File::create(&file).unwrap()), LinkType::Ethernet, true).unwrap();
    for (at, frame) in frames {
        writer.frame(Timestamp(*at), frame, frame.len() as u32).unwrap();
    }
    writer.finish().unwrap();
    run(&file, &summary, arguments)
}

fn run(file: &Path, summary: &Path, arguments: &[&str]) -> (Vec<String>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resptap"));
    command.arg("read").arg(file).args(["--sink", "jsonl:-", "--payload", "full", "--summary"]).arg(summary);
    let output = command.args(arguments).output().expect("resptap starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = std::str::from_utf8(&output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let summary: Value = serde_json::from_str(&fs::read_to_string(summary).unwrap()).unwrap();
    (lines, summary)
}

/// What the summary tells but of how many packets there were.
fn without_counts(mut summary: Value) -> Value {
    let sections = summary.as_object_mut().unwrap();
    sections.retain(|section, _| !["workers", "memory", "input"].contains(&section.as_str()));
    sections["resptap"].as_object_mut().unwrap().retain(|key, _| key != "started" && key != "ended");
    let packets = sections["packets"].as_object_mut().unwrap();
    packets.retain(|name, _| !["seen", "bytes", "analysed", "duplicates"].contains(&name.as_str()));
    summary
}

/// Holds a capture with so many copies against the clean one.
#[track_caller]
fn assert_same(clean: &Frames, copied: &Frames, what: &str) {
    let (records, summary) = read(clean, &["--workers", "1"]);
    assert!(records.len() > 100);
    assert_eq!(summary["packets"]["duplicates"], 0, "{what}");
    for workers in ["1", "3"] {
        let (found, account) = read(copied, &["--workers", workers]);
        for (line, expected) in found.iter().zip(&records) {
            assert_eq!(line, expected, "{what}");
        }
        assert_eq!(found.len(), records.len(), "{what}");
        assert_eq!(account["packets"]["duplicates"], copied.len() - clean.len(), "{what}, {workers} workers");
        assert_eq!(without_counts(account), without_counts(summary.clone()), "{what}");
    }
}

#[test]
fn a_mirror_of_both_sides_of_a_switch_shows_each_packet_twice() {
    let (_, frames) = clean(1);
    assert_same(&frames, &twice(&frames, |at, frame| (at, frame.to_vec())), "at once");
    assert_same(&frames, &twice(&frames, |at, frame| (at + 3_000, frame.to_vec())), "microseconds later");
    let thrice = twice(&frames, |at, frame| (at + 3_000, frame.to_vec()));
    let again = frames.iter().map(|(at, frame)| (at + 40_000, frame.clone()));
    assert_same(&frames, &in_order(thrice.iter().cloned().chain(again).collect()), "three times");
}

#[test]
fn a_mirror_of_several_vlans_shows_copies_with_other_tags() {
    let (_, plain) = clean(2);
    let tagged: Frames = plain.iter().map(|(at, frame)| (*at, in_vlan(frame, 12))).collect();
    let copy = |at: u64, frame: &[u8]| (at + 5_000, in_vlan(&[&frame[..12], &frame[16..]].concat(), 13));
    let copied = twice(&tagged, copy);
    assert_same(&tagged, &copied, "another VLAN");
    assert_same(&plain, &twice(&plain, |at, frame| (at + 5_000, in_vlan(frame, 13))), "with a tag and without");
    // Where the VLAN tells connections apart they are no copies.
    let (alone, _) = read(&tagged, &["--key-by-vlan"]);
    let (records, summary) = read(&copied, &["--key-by-vlan"]);
    assert_eq!(records.len(), 2 * alone.len());
    assert_eq!(summary["packets"]["duplicates"], 0);
}

#[test]
fn a_capture_before_and_behind_a_router_shows_copies_that_come_among_other_packets() {
    let (_, frames) = clean(3);
    assert_same(&frames, &twice(&frames, |at, frame| (at + 80_000, routed(frame))), "soon");
    let mut random = Random(3);
    let late = twice(&frames, |at, frame| (at + random.within(MILLISECOND, 5 * MILLISECOND), routed(frame)));
    assert_same(&frames, &late, "some milliseconds later");
    // Of a connection's packets that wait for an earlier one copies come as well.
    let mut random = Random(4);
    let moved: Frames = frames.iter().map(|(at, frame)| (at + random.within(0, 900_000), frame.clone())).collect();
    let moved = in_order(moved);
    assert_same(&moved, &twice(&moved, |at, frame| (at + MILLISECOND, routed(frame))), "out of order");
}

#[test]
fn a_capture_inside_and_outside_of_a_tunnel_shows_copies_of_each_kind() {
    for (seed, step) in (10..).zip(STEPS) {
        let (_, frames) = clean(seed);
        let mut random = Random(seed);
        let mut wrap = |frame: &[u8]| encapsulate(frame.to_vec(), &[step], false, &mut random);
        if wrap(&frames[0].1).len() > 1 || frames.iter().any(|(_, frame)| wrap(frame).len() > 1) {
            // Fragments are put together first.
            continue;
        }
        let copied = twice(&frames, |at, frame| (at + 20_000, wrap(frame).swap_remove(0)));
        assert_same(&frames, &copied, &format!("{step:?}"));
    }
}

/// Sent again with another identification, or another timestamp, or later than any copy comes.
#[test]
fn what_tcp_sends_again_is_counted_as_that_however_soon() {
    let (packets, frames) = clean(5);
    let (_, account) = read(&frames, &[]);
    assert_eq!(account["packets"]["retransmitted"], 0);
    let strays = |account: &Value| account["packets"]["stray"].as_u64().unwrap();
    let strays_before = strays(&account);
    let has_data = |packet: &&Packet| packet.payload.len() > 1;
    let again = packets.iter().filter(has_data).zip(1_000_000..).step_by(7);
    let soon: Frames = again.map(|(packet, number)| (packet.at + 300_000, packet.numbered_frame(number))).collect();
    let with_data = packets.iter().zip(&frames).filter(|(packet, _)| has_data(packet));
    let later: Frames = with_data.step_by(5).map(|(_, (at, frame))| (at + 11 * MILLISECOND, frame.clone())).collect();
    for (sent_again, what) in [(soon, "soon"), (later, "later")] {
        assert!(sent_again.len() > 50, "{what}");
        let all = in_order(frames.iter().chain(&sent_again).cloned().collect());
        let (records, account) = read(&all, &[]);
        let (retransmitted, duplicates) = (&account["packets"]["retransmitted"], &account["packets"]["duplicates"]);
        // Those that come when their connection has ended belong to none.
        let counted = retransmitted.as_u64().unwrap() + strays(&account) - strays_before;
        assert_eq!(counted, sent_again.len() as u64, "{what}");
        assert_eq!(duplicates, 0, "{what}");
        assert!(records.iter().any(|record| record.contains("\"retransmit\"")), "{what}");
        // Copies of what was sent again are copies all the same.
        let copied = twice(&all, |at, frame| (at + 10_000, routed(frame)));
        let (copied_records, copied_account) = read(&copied, &[]);
        assert_eq!(copied_records, records, "{what}");
        assert_eq!(copied_account["packets"]["duplicates"], all.len(), "{what}");
        assert_eq!(&copied_account["packets"]["retransmitted"], retransmitted, "{what}");
    }
}

#[test]
fn packets_that_a_fault_duplicates_are_counted_as_copies() {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.json");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/redis.pcap");
    let (records, plain) = run(&sample, &summary, &[]);
    let (found, account) = run(&sample, &summary, &["--fault", "duplicate=30%,seed=5"]);
    assert_eq!(found, records);
    let duplicated = &account["input"]["faults"]["duplicated"];
    assert!(duplicated.as_u64() > Some(100), "{duplicated}");
    assert_eq!(plain["packets"]["duplicates"], 0);
    assert_eq!(&account["packets"]["duplicates"], duplicated);
    assert_eq!(account["packets"]["retransmitted"], plain["packets"]["retransmitted"]);
}
