//! A conversation of a client with a server, in segments of any length, and the records that come of it.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part of this")]

use std::fmt::Write as _;

use resptap::capture::{Frame, LinkType};
use resptap::connection::{ReplicationLink, Settings};
use resptap::counters::{Counter, Counters};
use resptap::decode::ports::PortSet;
use resptap::flow::hash::Seed;
use resptap::limits::Budget;
use resptap::record::Message;
use resptap::record::filter::{Criteria, Filter};
use resptap::record::keys::KeyStatistics;
use resptap::redis::arguments::Payload;
use resptap::redis::command::CommandTable;
use resptap::redis::pairing::Resync;
use resptap::redis::possible::Possible;
use resptap::redis::request::Shown;
use resptap::redis::session::Acts;
use resptap::ring::{Inbox, ring};
use resptap::sink::record_json::{RecordFormat, RecordWriter};
use resptap::units::Timestamp;
use resptap::worker::Worker;
use resptap::worker::emission::Emission;
use resptap::worker::recording::Recording;
use serde_json::Value;

/// A conversation on one connection, as frames.
pub struct Talk {
    pub frames: Vec<(u64, Vec<u8>)>,
    at: u64,
    /// Next sequence numbers of client and server.
    seq: [u32; 2],
    /// Bytes of a segment, at most.
    piece: usize,
    /// Client and server.
    ends: [([u8; 4], u16); 2],
}

const SYN: u8 = 2;
const ACK: u8 = 0x10;
const PSH: u8 = 8;
const FIN: u8 = 1;

impl Talk {
    pub fn new(piece: usize) -> Talk {
        Talk::between([([10, 0, 0, 1], 40_001), ([10, 0, 0, 9], 6379)], piece)
    }

    pub fn between(ends: [([u8; 4], u16); 2], piece: usize) -> Talk {
        let (at, seq) = (1_000_000_000_000, [u32::MAX - 5, u32::MAX - 50]);
        let mut talk = Talk { frames: Vec::new(), at, seq, piece, ends };
        talk.segment(0, SYN, &[]);
        talk.seq[0] = talk.seq[0].wrapping_add(1);
        talk.segment(1, SYN | ACK, &[]);
        talk.seq[1] = talk.seq[1].wrapping_add(1);
        talk.segment(0, ACK, &[]);
        talk
    }

    pub fn segment(&mut self, side: usize, flags: u8, payload: &[u8]) {
        let (from, to) = (self.ends[side], self.ends[1 - side]);
        let mut frame = vec![0x45, 0];
        frame.extend(((40 + payload.len()) as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend(from.0);
        frame.extend(to.0);
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend(self.seq[side].to_be_bytes());
        frame.extend(self.seq[1 - side].to_be_bytes());
        frame.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        self.at += 1_000_000;
        self.frames.push((self.at, frame));
        self.seq[side] = self.seq[side].wrapping_add(payload.len() as u32);
    }

    pub fn say(mut self, side: usize, bytes: &[u8]) -> Talk {
        let pieces: Vec<&[u8]> = bytes.chunks(self.piece).collect();
        for (n, piece) in pieces.iter().enumerate() {
            self.segment(side, if n + 1 == pieces.len() { ACK | PSH } else { ACK }, piece);
        }
        self
    }

    /// The client sends commands, written as words.
    pub fn c(self, commands: &[&str]) -> Talk {
        let mut bytes = String::new();
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            write!(bytes, "*{}\r\n", words.len()).unwrap();
            for word in words {
                write!(bytes, "${}\r\n{word}\r\n", word.len()).unwrap();
            }
        }
        self.say(0, bytes.as_bytes())
    }

    /// The server sends bytes.
    pub fn s(self, bytes: &str) -> Talk {
        self.say(1, bytes.as_bytes())
    }

    /// The client sends bytes.
    pub fn raw(self, bytes: &[u8]) -> Talk {
        self.say(0, bytes)
    }

    /// Nothing happens for so many milliseconds.
    pub fn wait(mut self, milliseconds: u64) -> Talk {
        self.at += milliseconds * 1_000_000;
        self
    }

    pub fn fin(mut self) -> Talk {
        self.segment(0, FIN | ACK, &[]);
        self.seq[0] = self.seq[0].wrapping_add(1);
        self.segment(1, FIN | ACK, &[]);
        self
    }

    pub fn run(self) -> Told {
        self.run_on(PortSet::new([6379]))
    }

    pub fn run_on(self, ports: PortSet) -> Told {
        let table = CommandTable::built_in();
        let settings = Settings {
            table,
            acts: Acts::new(table),
            possible: Possible::new(table),
            shown: Shown { keys: true, payload_bytes: 256 },
            timeout_ns: 30_000_000_000,
            idle_timeout_ns: 3_600_000_000_000,
            resync: Resync::Strict,
            resync_silence_ns: 2_000_000_000,
            reorder_time_ns: 50_000_000,
            reorder_packets: 128,
        };
        let (outbox, inbox) = ring(64);
        let filter = Filter::new(&Criteria::default(), table);
        let emission = Emission { emits: true, introduces: false, is_live: false, filter, payload: Payload::Full };
        let seed = Seed::fixed(1);
        let keys = KeyStatistics::new(1 << 20, b':', table, seed);
        let budget = Budget::new(64 << 20, 1);
        let recording = Recording::new(table, emission, None, seed, budget.statistics, Some(keys), outbox);
        let mut worker = Worker::new(settings, ports, Seed::fixed(1), &budget, recording);
        let frames: Vec<Frame<'_>> = self
            .frames
            .iter()
            .map(|(at, bytes)| Frame { bytes, wire_len: bytes.len() as u32, at: Timestamp(*at), link: LinkType::RawIp })
            .collect();
        worker.process(&frames);
        let report = worker.finish(Timestamp(self.at));
        let (keys, links) = (report.keys.expect("they were asked for"), report.replication);
        Told { records: records(inbox, table), counters: report.counters, links, keys }
    }
}

fn records(mut inbox: Inbox<Message>, table: &'static CommandTable) -> Vec<Value> {
    let mut writer = RecordWriter::new(&RecordFormat {
        sensor: "t".into(),
        payload: Payload::Full,
        key_hasher: None,
        table,
        cache_bytes: 0,
    });
    let mut lines = Vec::new();
    while let Some(message) = inbox.take() {
        if let Message::Records(batch) = message {
            for transaction in &batch.transactions {
                writer.append(&mut lines, &batch, transaction, None);
            }
        }
    }
    let mut records: Vec<Value> = lines
        .split(|&byte| byte == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let index = |record: &Value| {
        let id = record["event"]["id"].as_str().unwrap();
        id.rsplit('-').next().unwrap().parse::<u64>().unwrap()
    };
    records.sort_by_key(index);
    records
}

pub struct Told {
    pub records: Vec<Value>,
    pub counters: Counters,
    pub links: Vec<ReplicationLink>,
    pub keys: KeyStatistics,
}

impl Told {
    /// `request => response [pairing] flags`, a line each.
    pub fn lines(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        self.records
            .iter()
            .map(|record| {
                let redis = &record["redis"];
                let mut line = format!("{} => ", text(&redis["request"]));
                let reply = redis.get("reply").map_or("none".to_owned(), text);
                match redis.get("error_code") {
                    Some(code) => write!(line, "-{}", text(code)).unwrap(),
                    None if redis["response"].as_str().is_some_and(|response| !response.is_empty()) => {
                        write!(line, "{}", text(&redis["response"])).unwrap();
                    }
                    None => write!(line, "({reply})").unwrap(),
                }
                if redis["pairing"] != "exact" {
                    write!(line, " [{}]", text(&redis["pairing"])).unwrap();
                }
                for flag in redis["flags"].as_array().into_iter().flatten() {
                    write!(line, " {}", text(flag)).unwrap();
                }
                if redis.get("parent").is_some() {
                    line.push_str(" in EXEC");
                }
                line
            })
            .collect()
    }
}

/// A server on a port that is higher than its client's.
pub const ELSEWHERE: [([u8; 4], u16); 2] = [([10, 0, 0, 1], 40_001), ([10, 0, 0, 9], 50_000)];

/// The same conversation in one segment, in small ones, and byte by byte; and where no port tells that it is one.
#[track_caller]
pub fn expect(talk: impl Fn(Talk) -> Talk, lines: &[&str]) -> Told {
    for piece in [1, 3, 7] {
        assert_eq!(talk(Talk::new(piece)).fin().run().lines(), lines, "in pieces of {piece}");
    }
    let told = talk(Talk::new(1400)).fin().run();
    assert_eq!(told.lines(), lines);
    for piece in [1, 7, 1400] {
        let recognised = talk(Talk::between(ELSEWHERE, piece)).fin().run_on(PortSet::new(0..=u16::MAX));
        assert_eq!(recognised.lines(), lines, "recognised on any port, in pieces of {piece}");
    }
    let counters = &told.counters;
    assert_eq!(counters.pending(), 0);
    let others = counters.sum("replies", "unsolicited.") + counters.sum("replies", "discarded.");
    assert_eq!(counters[Counter::Replies], counters[Counter::RepliesPaired] + others);
    told
}
