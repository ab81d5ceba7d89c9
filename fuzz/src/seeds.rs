//! What the fuzzer begins with, where no input was found yet: one of each thing, written by hand. `tests/corpus.rs` writes
//! them into the corpora.

use std::fs;
use std::path::Path;

use resptap::capture::LinkType;
use resptap::capture::write::PcapWriter;
use resptap::units::Timestamp;

use super::common::Random;
use super::common::packet::Packet;
use super::common::traffic::{Style, scene};
use super::segments::{REPLIES, REQUESTS};

/// Inputs of a target, each with its name.
pub fn of(target: &str, root: &Path) -> Vec<(String, Vec<u8>)> {
    let named = |inputs: Vec<Vec<u8>>| {
        inputs.into_iter().enumerate().map(|(number, input)| (format!("seed-{number:02}"), input)).collect()
    };
    match target {
        "files" => {
            named(captures(root).into_iter().flat_map(|file| (0..4).map(move |form| with(&[form], &file))).collect())
        }
        "decode" => named(frames().into_iter().map(|frame| with(&[0, 0xff, 0xff, 0, 0], &frame)).collect()),
        "reassembly" => named(vec![
            vec![0, 0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 20, 0, 10, 0, 7, 0, 5, 0, 30, 0],
            vec![0xff, 0xff, 0xff, 0xff, 1, 48, 9, 0, 0, 16, 3, 0, 0, 0, 9, 0],
        ]),
        "resp" => named(messages()),
        "segments" => named(programs()),
        "capture" => named(captures(root).into_iter().map(|file| with(&[8], &file)).collect()),
        "scene" => named((0..8).map(|kind| vec![kind, 0, kind * 5, kind, 0, 40, 0, 0x42, 90, 3, 3, 150, 7]).collect()),
        _ => Vec::new(),
    }
}

fn with(head: &[u8], rest: &[u8]) -> Vec<u8> {
    [head, rest].concat()
}

/// Replies and requests, each kind in a stream.
fn messages() -> Vec<Vec<u8>> {
    let streams = |direction: u8, all: &[&[u8]]| {
        let in_parts: Vec<Vec<u8>> =
            all.chunks(8).enumerate().map(|(at, part)| with(&[direction, at as u8, 0], &part.concat())).collect();
        in_parts
    };
    [streams(0, &REPLIES), streams(1, &REQUESTS)].concat()
}

/// For each request one connection that asks it, and some replies.
fn programs() -> Vec<Vec<u8>> {
    let (client, server) = (0, 4);
    let asked = |request: u8, reply: u8| vec![8 | client, 0, request, 8 | server, reply, 0];
    let handshake = [22 << 3 | client, 0, 22 << 3 | server, 0];
    let mut programs: Vec<Vec<u8>> = (0..48).step_by(3).map(|at| with(&[8], &asked(at, at))).collect();
    programs.push([&[8][..], &handshake, &asked(9, 9), &asked(2, 9), &asked(10, 11), &[23 << 3, 23 << 3 | 4]].concat());
    programs.push([&[9][..], &handshake, &[16 << 3, 1], &asked(1, 3), &[29 << 3, 5], &asked(1, 3)].concat());
    programs
}

/// The packets of a small scene.
fn packets() -> Vec<Packet> {
    let style = Style { connections: 2, requests: 6, value_bytes: 100, ..Style::default() };
    scene(&style, &mut Random(5)).packets
}

/// A few frames: IPv4 and IPv6, with a VLAN tag, raw.
fn frames() -> Vec<Vec<u8>> {
    let plain: Vec<Vec<u8>> = packets().iter().take(6).map(Packet::frame).collect();
    let tagged = [&plain[0][..12], &[0x81, 0, 0, 7], &plain[0][12..]].concat();
    plain.into_iter().chain([tagged]).collect()
}

/// Small captures: pcap of made-up traffic, the beginning of a real one, and pcapng.
fn captures(root: &Path) -> Vec<Vec<u8>> {
    let mut writer = PcapWriter::new(Vec::new(), LinkType::Ethernet, true).expect("memory takes anything");
    for packet in packets().iter().take(24) {
        let frame = packet.frame();
        writer.frame(Timestamp(packet.at), &frame, frame.len() as u32).expect("memory takes anything");
    }
    let made = writer.finish().expect("memory takes anything");
    let real = fs::read(root.join("samples/redis.pcap")).expect("the sample is there");
    vec![made, real[..real.len().min(4000)].to_vec(), pcapng()]
}

/// A section, an interface, and two packets.
fn pcapng() -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let length = 12 + body.len().next_multiple_of(4) as u32;
        file.extend_from_slice(&[kind.to_le_bytes(), length.to_le_bytes()].concat());
        file.extend_from_slice(body);
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend_from_slice(&length.to_le_bytes());
    };
    block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    block(1, &[1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    for frame in packets().iter().take(2).map(Packet::frame) {
        let length = (frame.len() as u32).to_le_bytes();
        let head = [0_u32.to_le_bytes(), 0x18ea_u32.to_le_bytes(), 7_u32.to_le_bytes(), length, length].concat();
        block(6, &[head, frame].concat());
    }
    let simple = packets()[0].frame();
    block(3, &[&(simple.len() as u32).to_le_bytes()[..], &simple].concat());
    file
}
