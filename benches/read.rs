//! The stages of `resptap read`, one by one, over a capture in memory: `cargo bench --bench read`. Rates are per transaction
//! (a request and its reply, a frame each).

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use resptap::capture::{Frame, LinkType};
use resptap::decode::decode;
use resptap::record::Message;
use resptap::record::transaction::RecordBatch;
use resptap::redis::arguments::Payload;
use resptap::redis::command::CommandTable;
use resptap::resp::parser::{Kind, Parser, Step, Visitor};
use resptap::sink::Sink;
use resptap::sink::jsonl::{JsonlSink, JsonlTarget};
use resptap::sink::record_json::RecordFormat;
use resptap::units::Timestamp;

use common::drive::{Options, worker};
use common::packet::{ACK, EPOCH, PSH, Packet, SYN};

const CONNECTIONS: u32 = 50;
const TRANSACTIONS: u64 = 20_000;

/// GETs and SETs of 50 connections in turn, 2 µs a packet.
fn capture() -> Vec<Packet> {
    let mut streams = [[1u32, 1]; CONNECTIONS as usize];
    let mut packets: Vec<Packet> = Vec::new();
    let mut send = |connection: u32, from_client: bool, flags: u8, payload: String| {
        let stream = &mut streams[connection as usize];
        let (own, other) = if from_client { (0, 1) } else { (1, 0) };
        let (seq, ack) = (stream[own], stream[other]);
        stream[own] += payload.len() as u32;
        packets.push(Packet {
            at: EPOCH + packets.len() as u64 * 2000,
            connection,
            port: 40_001 + 5 * connection as u16,
            from_client,
            // The SYN's number is the one before the first byte's.
            seq: seq - u32::from(flags & SYN != 0),
            ack,
            flags,
            window: 500,
            payload: payload.into_bytes(),
            offset: 0,
            snap: usize::MAX,
        });
    };
    for connection in 0..CONNECTIONS {
        send(connection, true, SYN, String::new());
        send(connection, false, SYN | ACK, String::new());
    }
    for number in 0..TRANSACTIONS {
        let connection = (number % u64::from(CONNECTIONS)) as u32;
        let (request, reply) = if number % 3 == 0 {
            (format!("*3\r\n$3\r\nSET\r\n$11\r\nkey:{number:07}\r\n$16\r\n{number:016}\r\n"), "+OK\r\n".to_owned())
        } else {
            (format!("*2\r\n$3\r\nGET\r\n$11\r\nkey:{number:07}\r\n"), format!("$16\r\n{number:016}\r\n"))
        };
        send(connection, true, ACK | PSH, request);
        send(connection, false, ACK | PSH, reply);
    }
    packets
}

/// Wants nothing of what is parsed.
struct Nobody<const REQUESTS: bool>;

impl<const REQUESTS: bool> Visitor for Nobody<REQUESTS> {
    const REQUESTS: bool = REQUESTS;

    fn begin(&mut self, _depth: usize, _kind: Kind, _length: u64) -> usize {
        0
    }

    fn bytes(&mut self, _chunk: &[u8]) {}

    fn missing(&mut self) {}

    fn end(&mut self, _depth: usize) {}
}

fn parse<const REQUESTS: bool>(parser: &mut Parser, bytes: &[u8]) -> u64 {
    let (mut rest, mut values) = (bytes, 0);
    while !rest.is_empty() {
        let (consumed, step) = parser.feed(rest, &mut Nobody::<REQUESTS>);
        values += u64::from(step == Step::Value);
        rest = &rest[consumed..];
    }
    values
}

/// The records of the capture, in the batches in which the writer gets them.
fn records(frames: &[Frame<'_>]) -> Vec<RecordBatch> {
    let (mut worker, mut inbox) = worker(Options { payload_bytes: 0, ..Options::default() });
    worker.process(frames);
    worker.finish(Timestamp(EPOCH));
    std::iter::from_fn(|| inbox.take())
        .filter_map(|message| match message {
            Message::Records(batch) => Some(*batch),
            Message::Statistics(_) => None,
        })
        .collect()
}

fn stages(criterion: &mut Criterion) {
    let packets = capture();
    let bytes: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
    let frames: Vec<Frame<'_>> = packets
        .iter()
        .zip(&bytes)
        .map(|(packet, bytes)| Frame {
            bytes,
            wire_len: bytes.len() as u32,
            at: Timestamp(packet.at),
            link: LinkType::Ethernet,
        })
        .collect();
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(TRANSACTIONS)).sample_size(20);

    group.bench_function("decode", |bencher| {
        bencher.iter(|| frames.iter().filter(|frame| decode(black_box(frame)).is_ok()).count());
    });

    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for packet in &packets {
        if packet.from_client { &mut requests } else { &mut replies }.extend_from_slice(&packet.payload);
    }
    group.bench_function("resp", |bencher| {
        bencher.iter(|| {
            let values = parse::<true>(&mut Parser::default(), &requests);
            assert_eq!(values + parse::<false>(&mut Parser::default(), &replies), 2 * TRANSACTIONS);
        });
    });

    // Everything that a worker does: decoding, flow table, reassembly, parsing, pairing, statistics, records.
    group.bench_function("worker", |bencher| {
        let fresh = || worker(Options { payload_bytes: 0, ..Options::default() });
        bencher.iter_batched_ref(fresh, |(worker, _inbox)| worker.process(&frames), BatchSize::LargeInput);
    });

    let batches = records(&frames);
    assert_eq!(batches.iter().map(|batch| batch.transactions.len() as u64).sum::<u64>(), TRANSACTIONS);
    group.bench_function("jsonl", |bencher| {
        let table = CommandTable::built_in();
        let format = RecordFormat {
            sensor: "bench".to_owned(),
            payload: Payload::Keys,
            key_hasher: None,
            table,
            cache_bytes: 32 << 20,
        };
        let mut sink =
            JsonlSink::create(&JsonlTarget::Path("/dev/null".into()), &format).expect("there is a /dev/null");
        let labels = resptap::endpoint::Labels::default();
        bencher.iter(|| batches.iter().try_for_each(|batch| sink.write(batch, &labels)).expect("it takes everything"));
    });
}

criterion_group!(benches, stages);
criterion_main!(benches);
