//! One capture in several versions: what taps do to it (frames twice, out of order, cut into smaller ones, cut off at a snap
//! length) makes no other transactions or latencies. The repository's sample and generated ones.

mod common;

use std::collections::BTreeSet;

use resptap::counters::Counter;
use resptap::redis::arguments::KeyPlace;
use resptap::redis::pairing::Flags;
use resptap::units::Timestamp;

use common::Random;
use common::drive::{Options, Outcomes, Record, run_frames};
use common::packet::{ACK, EPOCH, MILLISECOND, PSH, Packet, SYN};
use common::versions::{Owned, borrowed, captures, duplicated, reordered, resegmented, snapped};

fn run(frames: &[Owned]) -> Outcomes {
    run_frames(&borrowed(frames), Options { payload_bytes: 0, ..Options::default() })
}

/// All that a record tells, times included, but that segments were repeated or incomplete; and its beginning and end. With `moved` frames its
/// times are nowhere else than there.
fn told(record: &Record, moved: bool) -> (String, [u64; 2]) {
    let mut transaction = record.transaction;
    let times = [transaction.t1.0, transaction.end.0];
    if moved {
        (transaction.t1, transaction.end, transaction.times) = (Timestamp::NONE, Timestamp::NONE, None);
    }
    // Places in its batch, and in its arguments, where its key is looked for if they don't say.
    (transaction.text_at, transaction.rare, transaction.key) = (0, 0, KeyPlace::default());
    transaction.flags = Flags(transaction.flags.0 & !(Flags::RETRANSMIT.0 | Flags::GAP.0));
    let texts = [&record.arguments, &record.error].map(|text| text.escape_ascii().to_string());
    (
        format!(
            "{:?} {:5} {transaction:?} {:?} {texts:?}",
            transaction.conversation.id, transaction.index, record.parent
        ),
        times,
    )
}

fn sorted(outcomes: &Outcomes, moved: bool) -> Vec<(String, [u64; 2])> {
    let mut records: Vec<_> = outcomes.records.iter().map(|record| told(record, moved)).collect();
    records.sort();
    records
}

/// The version gives the records of the capture itself, with times that are later by less than `moved_ns`.
#[track_caller]
fn assert_same(version: fn(&[Owned], &mut Random) -> Vec<Owned>, moved_ns: u64) {
    for (seed, capture) in (0..).zip(captures()) {
        let changed = version(&capture, &mut Random(seed));
        let is_other = changed.len() != capture.len() || changed.iter().zip(&capture).any(|(a, b)| a.bytes != b.bytes);
        assert!(is_other, "{seed}: the version is the capture itself");
        let (clean, changed) = (run(&capture), run(&changed));
        assert!(clean.counters[Counter::RequestsExact] > 10);
        let moved = moved_ns > 0;
        for ((record, times), (expected, clean)) in sorted(&changed, moved).iter().zip(&sorted(&clean, moved)) {
            assert_eq!(record, expected, "capture {seed}");
            for (time, clean) in times.iter().zip(clean) {
                assert!((*clean..=clean + moved_ns).contains(time), "capture {seed}: {time} for {clean}: {record}");
            }
        }
        assert_eq!(changed.records.len(), clean.records.len(), "capture {seed}");
    }
}

/// A frame that lies in the file behind later ones is taken to have come when they came: time never goes back.
#[test]
fn frames_out_of_order_change_no_transaction_and_latencies_by_no_more_than_they_were_moved() {
    assert_same(reordered, 10 * MILLISECOND);
}

#[test]
fn frames_that_come_twice_change_no_transaction_and_no_latency() {
    assert_same(duplicated, 0);
}

#[test]
fn smaller_segments_change_no_transaction_and_no_latency() {
    assert_same(resegmented, 0);
}

/// PROTOCOL row 62: whatever is paired is paired as in the whole capture and has its latency.
#[test]
fn of_a_capture_with_a_snap_length_of_128_no_pair_and_no_latency_differs() {
    let (mut paired, mut all) = (0, 0);
    for (seed, capture) in (0..).zip(captures()) {
        let (clean, changed) = (run(&capture), run(&snapped(&capture)));
        let pair = |record: &Record| {
            let transaction = &record.transaction;
            format!(
                "{} {:?} {:?} {:?}",
                transaction.conversation.client, transaction.reply, transaction.t1, transaction.end
            )
        };
        let pairs = |outcomes: &Outcomes| {
            outcomes.records.iter().filter(|record| record.is_paired()).map(pair).collect::<BTreeSet<_>>()
        };
        let (clean, changed) = (pairs(&clean), pairs(&changed));
        let others: Vec<_> = changed.difference(&clean).take(5).collect();
        assert!(others.is_empty(), "capture {seed}: {others:#?}");
        println!("capture {seed}: {} of {} paired", changed.len(), clean.len());
        paired += changed.len();
        all += clean.len();
    }
    // What is cut off behind a string whose length is known hides requests and replies. In these captures that is much.
    assert!(paired * 100 >= all * 45, "{paired} of {all} paired");
}

/// Where the capture cuts off nothing but values, nothing else is lost.
#[test]
fn of_a_capture_whose_values_alone_are_cut_off_every_transaction_and_latency_is_the_same() {
    for seed in 0..20 {
        let capture = values(&mut Random(seed));
        let (clean, changed) = (run(&capture), run(&snapped(&capture)));
        assert_eq!((clean.records.len(), clean.counters[Counter::RequestsExact]), (200, 200));
        assert!(changed.counters[Counter::GapBytesCut] > 100_000);
        assert_eq!(sorted(&changed, false), sorted(&clean, false), "capture {seed}");
    }
}

/// One client, which stores values and reads them, of one byte to many segments.
fn values(random: &mut Random) -> Vec<Owned> {
    let (mut at, mut sent) = (EPOCH, [0_u64; 2]);
    let mut packets = Vec::new();
    let mut send = |from_client: bool, flags: u8, bytes: &[u8]| {
        let mut segments = bytes.chunks(1448).peekable();
        loop {
            let payload = segments.next().unwrap_or_default().to_vec();
            at += MILLISECOND / 10;
            let own = usize::from(from_client);
            let is_last = segments.peek().is_none();
            let flags = if is_last && !payload.is_empty() { flags | PSH } else { flags };
            let packet = Packet {
                at,
                connection: 0,
                port: 40_001,
                from_client,
                seq: sent[own] as u32,
                ack: sent[1 - own] as u32,
                flags,
                window: 500,
                payload,
                offset: 0,
                snap: usize::MAX,
            };
            sent[own] += packet.payload.len() as u64 + u64::from(flags & SYN != 0);
            let frame = packet.frame();
            packets.push(Owned { at, wire_len: frame.len() as u32, bytes: frame });
            if is_last {
                break;
            }
        }
    };
    send(true, SYN, b"");
    send(false, SYN | ACK, b"");
    send(true, ACK, b"");
    for n in 0..100 {
        let length = 1 << random.within(0, 15);
        let value = format!("${length}\r\n{}\r\n", "*1\r\n".repeat(length / 4 + 1).get(..length).unwrap_or_default());
        send(true, ACK, format!("*3\r\n$3\r\nSET\r\n$3\r\nk{n:02}\r\n{value}").as_bytes());
        send(false, ACK, b"+OK\r\n");
        send(true, ACK, format!("*2\r\n$3\r\nGET\r\n$3\r\nk{n:02}\r\n").as_bytes());
        send(false, ACK, value.as_bytes());
    }
    packets
}
