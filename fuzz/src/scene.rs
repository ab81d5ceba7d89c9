//! Traffic with known truth, of which an input decides what befalls each packet on the way: no pair that comes out is wrong.
//!
//! The traffic itself follows from a seed (`common::traffic`); the bytes are a program of faults, which the fuzzer changes one
//! by one, where the property tests throw dice.

use std::collections::BTreeMap;

use resptap::limits::CLOSED_LINGER_NS;
use resptap::redis::pairing::Resync;

use super::common::Random;
use super::common::drive::{Options, Truth, run as analyse};
use super::common::packet::{self, MILLISECOND, Packet, SECOND};
use super::common::traffic::{Style, scene};
use super::input::Input;

/// Longest delays of a fault, in nanoseconds.
const DELAYS: [u64; 4] = [1000, MILLISECOND, 60 * MILLISECOND, 3 * SECOND];
/// How long after its connection's last one a packet may come, if no end of the connection was seen.
const LATEST: u64 = 100 * SECOND;

/// Seed (2), style (1), how it runs (1), then faults: which (1), of which packet (1, a share of all), how much (1).
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let seed = u64::from(input.short());
    let (kind, how) = (input.byte(), input.byte());
    let style = Style {
        connections: 1 + u32::from(kind & 1),
        requests: 12,
        value_bytes: if kind & 2 != 0 { 6000 } else { 300 },
        astray: kind & 2 != 0,
        stalls: kind & 4 != 0,
        modes: kind & 8 != 0,
        reuse: kind & 16 != 0,
        skew_ns: u64::from(kind >> 5) * 3 * MILLISECOND,
    };
    let scene = scene(&style, &mut Random(seed));
    let mut packets = scene.packets.clone();
    while !input.is_empty() && !packets.is_empty() {
        befall(&mut packets, &mut input);
    }
    hurry(&mut packets, &scene.packets);
    let packets = packet::sorted(packets);
    let options = Options {
        // What is only assumed may be wrong where the faults break the assumption.
        resync: Resync::Strict,
        timeout_ns: [30 * SECOND, SECOND, MILLISECOND, 100 * MILLISECOND][usize::from(how & 3)],
        payload_bytes: 256,
        reorder_packets: [128, 3, 0, 20][usize::from(how >> 2 & 3)],
        ..Options::default()
    };
    let truth = Truth::new(&scene.exchanges);
    truth.check(&analyse(&packets, options).records, None);
}

/// Delays add up; but nothing comes when it is forgotten that its connection has ended. Request and reply would then be a
/// connection that is seen from its middle on by all that can be known, as where a capture is read twice.
fn hurry(packets: &mut [Packet], original: &[Packet]) {
    let mut latest = BTreeMap::new();
    for packet in original {
        let ends = packet.flags & (packet::FIN | packet::RST) != 0;
        let (has_ended, at) = latest.entry(packet.connection).or_insert((false, 0));
        if ends || !*has_ended {
            // Of the packets that end it some may be lost.
            (*has_ended, *at) = (ends, packet.at + if ends { CLOSED_LINGER_NS / 2 } else { LATEST });
        }
    }
    for packet in packets {
        packet.at = packet.at.min(latest[&packet.connection].1);
    }
}

fn befall(packets: &mut Vec<Packet>, input: &mut Input<'_>) {
    let (fault, which, how_much) = (input.byte(), usize::from(input.byte()), input.byte());
    let at = which * packets.len() / 256;
    let delay = DELAYS[usize::from(fault >> 6)] * (1 + u64::from(how_much));
    match fault & 7 {
        // Some in a row are lost.
        0 | 1 => drop(packets.drain(at..packets.len().min(at + 1 + usize::from(how_much % 8)))),
        2 => packets[at].at += delay,
        // A SYN only where it is: with it late copies of all packets would be a connection like any other.
        3 if packets[at].flags & packet::SYN == 0 => {
            let again = Packet { at: packets[at].at + delay, ..packets[at].clone() };
            packets.push(again);
        }
        3 => packets.insert(at, packets[at].clone()),
        4 => {
            let pieces = packet::cut(&packets[at..=at], 1, 1 + u64::from(how_much), &mut Random(u64::from(fault)));
            packets.splice(at..=at, pieces);
        }
        5 => packets[at].snap = 54 + usize::from(how_much),
        // The capture begins late, or ends early.
        6 => drop(packets.drain(..at)),
        _ => packets.truncate(at + 1),
    }
}
