//! Partial sight (PROTOCOL row 58, and captures that begin or end anywhere): one direction alone, every possible first packet,
//! every possible last one. Generated traffic with known truth, whose values look like requests and replies.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use resptap::counters::Counter;
use resptap::redis::pairing::{Outcome, Reason, Resync};

use common::Random;
use common::drive::{Options, Truth, run};
use common::packet::{ACK, Packet, RST, SYN};
use common::traffic::{Scene, Style, scene};

fn made(seed: u64) -> Scene {
    scene(&Style::default(), &mut Random(seed))
}

/// Bytes that the packets of one side acknowledge, over all connections: from the handshake on, or from the first data on.
fn acknowledged(packets: &[Packet]) -> u64 {
    // Its first and its newest acknowledgement, until a RST.
    let mut acks: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    let mut has_ended = BTreeSet::new();
    for packet in packets {
        if packet.flags & RST != 0 {
            has_ended.insert(packet.connection);
        }
        let begins = packet.flags & SYN != 0 || !packet.payload.is_empty() || acks.contains_key(&packet.connection);
        let is_open = begins && !has_ended.contains(&packet.connection);
        // A client's SYN acknowledges nothing.
        if is_open && packet.flags & ACK != 0 {
            let (_, newest) = acks.entry(packet.connection).or_insert((packet.ack, packet.ack));
            if packet.ack.wrapping_sub(*newest) < 1 << 31 {
                *newest = packet.ack;
            }
        }
    }
    acks.values().map(|(first, newest)| u64::from(newest.wrapping_sub(*first))).sum()
}

/// Packets of one side; from their first data on, as if the capture had begun after the handshakes.
fn one_side(packets: &[Packet], of_client: bool, has_handshakes: bool) -> Vec<Packet> {
    let mut has_begun: BTreeMap<u32, bool> = BTreeMap::new();
    let mut is_kept = |packet: &&Packet| {
        let begun = has_begun.entry(packet.connection).or_default();
        *begun |= !packet.payload.is_empty();
        packet.from_client == of_client && (has_handshakes || *begun && packet.flags & SYN == 0)
    };
    packets.iter().filter(|packet| is_kept(packet)).cloned().collect()
}

#[test]
fn row_58_of_the_clients_side_alone_all_requests_are_told_and_none_is_paired() {
    for seed in 0..60 {
        let scene = made(seed);
        for has_handshakes in [true, false] {
            let packets = one_side(&scene.packets, true, has_handshakes);
            let outcomes = run(&packets, Options::default());
            for record in &outcomes.records {
                let transaction = &record.transaction;
                assert!(matches!(transaction.outcome, Outcome::OneSided | Outcome::NoReply), "{seed}: {transaction:?}");
                assert_eq!((transaction.times, transaction.reply_bytes), (None, 0));
            }
            let counters = &outcomes.counters;
            if has_handshakes {
                assert_eq!(outcomes.records.len(), scene.exchanges.len(), "{seed}");
                let bytes = scene.exchanges.iter().map(|exchange| exchange.range.1 - exchange.range.0).sum::<u64>();
                let told = outcomes.records.iter().map(|record| record.transaction.request_bytes).sum::<u64>();
                assert_eq!(told, bytes, "{seed}");
            }
            assert_eq!(counters[Counter::OneSidedReplyBytes], acknowledged(&packets), "{seed} {has_handshakes}");
            assert_eq!(counters[Counter::OneSidedClient], 4, "{seed} {has_handshakes}");
            assert_eq!(counters[Counter::OneSidedServer] + counters[Counter::Gaps], 0, "{seed} {has_handshakes}");
        }
    }
}

#[test]
fn row_58_of_the_servers_side_alone_replies_are_counted_and_nothing_is_made_up() {
    for seed in 0..60 {
        let scene = made(seed);
        for has_handshakes in [true, false] {
            let packets = one_side(&scene.packets, false, has_handshakes);
            let with_data = packets.iter().filter(|packet| !packet.payload.is_empty());
            let connections = with_data.map(|packet| packet.connection).collect::<BTreeSet<_>>();
            let outcomes = run(&packets, Options::default());
            let counters = &outcomes.counters;
            assert!(outcomes.records.is_empty(), "{seed}: {:?}", outcomes.records);
            assert_eq!(counters[Counter::RepliesPaired] + counters[Counter::Requests], 0);
            assert_eq!(counters[Counter::OneSidedServer], connections.len() as u64, "{seed} {has_handshakes}");
            let of_those: Vec<_> =
                packets.iter().filter(|packet| connections.contains(&packet.connection)).cloned().collect();
            // The client's FIN counts as a byte, if it is acknowledged before the server's ends the connection.
            let fins = acknowledged(&of_those) - counters[Counter::OneSidedRequestBytes];
            assert!(fins <= counters[Counter::OneSidedServer], "{seed} {has_handshakes}: {fins}");
            assert_eq!(counters[Counter::OneSidedClient] + counters[Counter::Gaps], 0, "{seed} {has_handshakes}");
        }
    }
}

#[test]
fn whichever_packet_is_the_first_no_pair_is_wrong() {
    let mut paired = 0;
    for seed in 0..12 {
        let scene = made(seed);
        let truth = Truth::new(&scene.exchanges);
        for from in 1..scene.packets.len() {
            let packets = &scene.packets[from..];
            for resync in [Resync::Strict, Resync::Assume] {
                let outcomes = run(packets, Options { resync, ..Options::default() });
                paired += truth.check(&outcomes.records, Some(packets));
            }
        }
    }
    assert!(paired > 1000, "{paired} pairs");
}

#[test]
fn whichever_packet_is_the_last_all_that_was_answered_until_then_is_paired() {
    for seed in 0..12 {
        let scene = made(seed);
        let truth = Truth::new(&scene.exchanges);
        for to in 1..scene.packets.len() {
            let packets = &scene.packets[..to];
            let mut seen: BTreeMap<(u32, bool), u64> = BTreeMap::new();
            for packet in packets {
                let end = packet.offset + packet.payload.len() as u64;
                let seen = seen.entry((packet.connection, packet.from_client)).or_default();
                *seen = (*seen).max(end);
            }
            let is_seen = |connection: u32, from_client: bool, end: u64| {
                seen.get(&(connection, from_client)).is_some_and(|&seen| seen >= end)
            };
            let answered = scene.exchanges.iter().filter(|exchange| {
                let reply = exchange.reply.as_ref().filter(|_| exchange.answered);
                reply.is_some_and(|reply| is_seen(exchange.connection, false, reply.range.1))
            });
            let sent = scene.exchanges.iter().filter(|exchange| is_seen(exchange.connection, true, exchange.range.1));
            let outcomes = run(packets, Options::default());
            assert_eq!(truth.check(&outcomes.records, Some(packets)), answered.count(), "{seed} {to}");
            assert_eq!(outcomes.records.len(), sent.count(), "{seed} {to}: half a request is none");
            for record in outcomes.records.iter().filter(|record| !record.is_paired()) {
                let outcome = record.transaction.outcome;
                let is_end = matches!(
                    outcome,
                    Outcome::NoReply | Outcome::Unanswered(Reason::CaptureEnd | Reason::Fin | Reason::Rst)
                );
                assert!(is_end, "{seed} {to}: {:?}", record.transaction);
            }
        }
    }
}
