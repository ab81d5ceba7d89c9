//! Plays a packet diagram (see the tests) into a connection, and tells what came out of it.

use crate::capture::{Frame, LinkType};
use crate::connection::{Arrived, Connection, Exchange, Recorder, Resources, Settings};
use crate::counters::{Counter, Counters};
use crate::decode::{Flags, Packet as Decoded, decode};
use crate::flow::key::FlowKey;
use crate::limits::Budget;
use crate::reassembly::duplicate::{Print, Recent};
use crate::redis::arguments::{self, Argument};
use crate::redis::command::CommandTable;
use crate::redis::habits::Habit;
use crate::redis::pairing::{Flags as Facts, Outcome, Reason, Resync};
use crate::redis::possible::Possible;
use crate::redis::request::Shown;
use crate::redis::session::Acts;
use crate::units::{Direction, Timestamp};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;

/// What can be chosen.
pub(super) struct Options {
    pub(super) resync: Resync,
    pub(super) isn: u32,
}

/// What came out.
pub(super) struct Played {
    /// One line a request, in the order in which they were decided, those of the end by their index.
    pub(super) told: Vec<String>,
    /// Of those that were paired: last byte to last byte.
    pub(super) latencies_ms: Vec<u64>,
    /// A sign for each packet: `x` where the connection had something aside behind it, else a point.
    pub(super) asides: String,
    /// How the client waits for its replies, as far as is known behind each packet.
    habits: Vec<Option<Habit>>,
    facts: Vec<String>,
    /// Where each reply began, its bytes, when its first one came and when its last one.
    pub(super) replies: Vec<[u64; 4]>,
    counters: Counters,
}

impl Played {
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.counters[counter]
    }
}

pub(super) fn play(diagram: &str) -> Played {
    play_with(|_| {}, diagram)
}

pub(super) fn play_with(choose: impl FnOnce(&mut Options), diagram: &str) -> Played {
    let mut options = Options { resync: Resync::Assume, isn: 1_000_000 };
    choose(&mut options);
    let mut packets = packets(diagram, options.isn);
    packets.sort_by_key(|packet| packet.seen_at);
    let played = Tap::new(options.resync, 100).watch(&packets);
    // Where no payload is shown, what is usual goes a shorter way, and ends as it does without.
    let short = Tap::new(options.resync, 0).watch(&packets);
    assert_eq!((&short.facts, &short.latencies_ms), (&played.facts, &played.latencies_ms));
    assert_eq!(short.replies, played.replies);
    assert_eq!(short.habits, played.habits);
    assert_eq!(short.counters, played.counters);
    played
}

#[derive(Clone, Debug)]
struct Packet {
    /// When it gets to the tap; its own clock may say otherwise.
    seen_at: u64,
    at: u64,
    direction: Direction,
    seq: u32,
    ack: u32,
    flags: Flags,
    window: u16,
    payload: Vec<u8>,
    /// Bytes of it that the capture did not keep.
    cut: usize,
    missed: bool,
}

impl Packet {
    /// As it is on the wire.
    fn bytes(&self, id: u16) -> Vec<u8> {
        let ends = [([10, 0, 0, 1], 40_000u16.to_be_bytes()), ([10, 0, 0, 9], 6379u16.to_be_bytes())];
        let [(source, source_port), (destination, destination_port)] = match self.direction {
            Direction::Request => ends,
            Direction::Reply => [ends[1], ends[0]],
        };
        let length = (40 + self.payload.len() as u16).to_be_bytes();
        let ip = [&[0x45, 0], &length[..], &id.to_be_bytes(), &[0, 0, 64, 6, 0, 0], &source, &destination].concat();
        let (seq, ack, window) = (self.seq.to_be_bytes(), self.ack.to_be_bytes(), self.window.to_be_bytes());
        let tcp = [&source_port, &destination_port, &seq[..], &ack, &[0x50, self.flags.0], &window, &[0; 4]].concat();
        [ip, tcp, self.payload.clone()].concat()
    }
}

/// One side's stream while the diagram is read.
#[derive(Clone, Copy)]
struct Side {
    next: u32,
    acknowledged: u32,
}

fn packets(diagram: &str, isn: u32) -> Vec<Packet> {
    let mut isn = isn;
    let mut sides = [Side { next: isn, acknowledged: 0 }, Side { next: isn.wrapping_add(77), acknowledged: 0 }];
    let (mut now, mut behind) = (1000 * SECOND, 0);
    let mut all: Vec<Packet> = Vec::new();
    let mut sent: [Vec<Packet>; 2] = [Vec::new(), Vec::new()];
    for line in diagram.split('|').map(str::trim) {
        let (side, what) = line.split_once(' ').unwrap_or((line, ""));
        now += MILLISECOND;
        match side {
            "wait" => now += seconds(what),
            "back" => behind = seconds(what),
            "again" | "soon" => {
                // By the clock both sides count on from, of the latter.
                isn = isn.wrapping_add(if side == "soon" { 1 << 22 } else { 1 << 31 });
                sides = [Side { next: isn, acknowledged: 0 }, Side { next: isn.wrapping_add(77), acknowledged: 0 }];
            }
            _ => {
                let direction = if side.starts_with(['C', 'c']) { Direction::Request } else { Direction::Reply };
                let mut packet = packet(direction, what, &mut sides, &sent, side.ends_with('-'));
                if side == "C0" {
                    packet.window = 0;
                }
                if side.ends_with('!') {
                    packet.flags = packet.flags | Flags::FIN;
                    sides[direction as usize].next = packet.seq.wrapping_add(packet.payload.len() as u32 + 1);
                }
                packet.missed = side.starts_with(['c', 's']);
                let late = side.split_once('~').map_or(0, |(_, late)| late.parse().unwrap());
                packet.seen_at = now + late * MILLISECOND;
                packet.at = packet.seen_at - behind;
                sent[direction as usize].push(packet.clone());
                if side.starts_with(['C', 'S']) {
                    all.push(packet);
                }
            }
        }
    }
    all
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse::<u64>().unwrap() * SECOND
}

fn packet(direction: Direction, what: &str, sides: &mut [Side; 2], sent: &[Vec<Packet>; 2], keeps_ack: bool) -> Packet {
    let other = sides[direction.reverse() as usize].next;
    let own = &mut sides[direction as usize];
    if !keeps_ack {
        own.acknowledged = other;
    }
    let mut packet = Packet {
        seen_at: 0,
        at: 0,
        direction,
        seq: own.next,
        ack: own.acknowledged,
        flags: Flags::ACK,
        window: 500,
        payload: Vec::new(),
        cut: 0,
        missed: false,
    };
    let is_request = direction == Direction::Request;
    match what {
        "SYN" => packet.flags = if is_request { Flags::SYN } else { Flags::SYN | Flags::ACK },
        "FIN" => packet.flags = Flags::FIN | Flags::ACK,
        "RST" => packet.flags = Flags::RST,
        "ACK" => {}
        "KEEP" => {
            packet.seq = packet.seq.wrapping_sub(1);
            packet.payload = vec![0];
            return packet;
        }
        "STRAY-RST" => {
            (packet.flags, packet.seq) = (Flags::RST, packet.seq.wrapping_add(1 << 31));
            return packet;
        }
        "STRAY-ACK" => {
            packet.ack = packet.ack.wrapping_add(7 << 28);
            return packet;
        }
        "STRAY-SYN" => {
            (packet.flags, packet.seq) = (Flags::SYN, packet.seq.wrapping_add(1 << 31));
            return packet;
        }
        "SYN-COPY" => return sent[direction as usize][0].clone(),
        "STRAY-SYN-AHEAD" => {
            (packet.flags, packet.seq) = (Flags::SYN, packet.seq.wrapping_add(20));
            return packet;
        }
        "COPY" => return sent[direction as usize].iter().rfind(|packet| !packet.payload.is_empty()).unwrap().clone(),
        "AGAIN" => {
            let missed = sent[direction as usize].iter().rfind(|packet| packet.missed).unwrap();
            return Packet { ack: packet.ack, missed: false, ..missed.clone() };
        }
        _ => {
            packet.cut = what.split_once('/').map_or(0, |(_, cut)| payload(&format!("[{cut}"), false).len());
            packet.payload = payload(&what.replace('/', ""), is_request);
        }
    }
    if !packet.payload.is_empty() {
        packet.flags = Flags::ACK | Flags::PSH;
    }
    let ends = packet.flags.any(Flags::SYN | Flags::FIN);
    own.next = own.next.wrapping_add(packet.payload.len() as u32 + u32::from(ends));
    packet
}

/// In brackets bytes as they are, `_` being CRLF; else requests or replies.
fn payload(what: &str, is_request: bool) -> Vec<u8> {
    if let Some(raw) = what.strip_prefix('[') {
        return raw.trim_end_matches(']').replace('_', "\r\n").into_bytes();
    }
    if is_request {
        let request = |words: &str| {
            let words: Vec<&str> = words.split_whitespace().collect();
            let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
            format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
        };
        return what.split(';').map(request).collect::<String>().into_bytes();
    }
    let reply = |text: &str| match text.strip_prefix('$') {
        Some(text) => format!("${}\r\n{text}\r\n", text.len()),
        None => format!("{text}\r\n"),
    };
    what.split_whitespace().map(reply).collect::<String>().into_bytes()
}

/// What is told, with the index that orders the end's.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    /// The same without what is shown.
    facts: Vec<String>,
    latencies_ms: Vec<u64>,
    replies: Vec<[u64; 4]>,
}

impl Recorder for Told {
    fn decided(&mut self, exchange: &Exchange<'_>, _counters: &mut Counters) {
        let request = exchange.request;
        let shown = request.arguments();
        let words = arguments::iter(&shown).map(|argument| match argument {
            Argument::Word(text)
            | Argument::Key(text)
            | Argument::KeyCut(text)
            | Argument::Value(text)
            | Argument::ValueCut(text) => String::from_utf8_lossy(text).into_owned(),
            _ => "?".to_owned(),
        });
        let mut told = vec![words.collect::<Vec<_>>().join(" "), "=>".to_owned(), exchange.outcome().name().to_owned()];
        match exchange.outcome() {
            Outcome::Resynced(proof) => told.push(proof.name().to_owned()),
            Outcome::Unanswered(reason) => told.push(reason.name().to_owned()),
            _ => {}
        }
        let flags = Facts::NAMES.iter().filter(|(flag, _)| exchange.outcome().is_paired() && request.flags.has(*flag));
        told.extend(flags.map(|(_, name)| (*name).to_owned()));
        let of_reply = exchange.reply.map(|reply| (reply.kind, exchange.previous));
        self.facts.push(format!("{} {:?}", told[1..].join(" "), (request.index, request.pipeline, of_reply)));
        if let Some(reply) = exchange.reply {
            let text = if reply.error.is_empty() { reply.response } else { reply.error };
            told.push(String::from_utf8_lossy(text).into_owned());
            self.latencies_ms.push(reply.t4.since(request.t2) / MILLISECOND);
            self.replies.push([reply.begin.0, reply.bytes, reply.t3.0, reply.t4.0]);
        }
        self.lines.push(told.join(" "));
    }
}

struct Tap {
    resources: Resources,
    recent: Recent,
    /// Packets so far: no two are copies of one another.
    packets: u16,
    connection: Option<Connection>,
    told: Told,
}

/// Of the one connection's key.
const HASH: u64 = 0x1234_5678_9abc_def1;

impl Tap {
    fn new(resync: Resync, payload_bytes: usize) -> Tap {
        let table = CommandTable::built_in();
        let settings = Settings {
            table,
            acts: Acts::new(table),
            possible: Possible::new(table),
            shown: Shown { keys: true, payload_bytes },
            timeout_ns: 30 * SECOND,
            idle_timeout_ns: 3600 * SECOND,
            resync,
            resync_silence_ns: 2 * SECOND,
            reorder_time_ns: 50 * MILLISECOND,
            reorder_packets: 128,
        };
        let resources = Resources::new(settings, &Budget::new(16 << 20, 1));
        Tap { resources, recent: Recent::default(), packets: 0, connection: None, told: Told::default() }
    }

    fn watch(mut self, packets: &[Packet]) -> Played {
        let (mut last, mut asides, mut habits) = (Timestamp::NONE, String::new(), Vec::new());
        for packet in packets {
            self.take(packet);
            let has_aside = self.resources.asides.in_use() > 0;
            asides.push(if has_aside { 'x' } else { '.' });
            habits.push(self.connection.as_ref().map(|connection| connection.habit));
            last = last.max(Timestamp(packet.at));
        }
        if let Some(mut connection) = self.connection.take() {
            connection.close(Reason::CaptureEnd, &mut self.resources, &mut self.told);
        }
        assert_eq!(self.resources.in_use(), 0, "everything was given back");
        assert_eq!(self.resources.counters.pending(), 0, "every request was decided");
        let Told { lines: told, facts, latencies_ms, replies } = self.told;
        Played { told, facts, latencies_ms, replies, asides, habits, counters: self.resources.counters }
    }

    fn take(&mut self, packet: &Packet) {
        let (direction, at) = (packet.direction, Timestamp(packet.at));
        self.packets += 1;
        let bytes = packet.bytes(self.packets);
        let captured = &bytes[..bytes.len() - packet.cut];
        let frame = Frame { bytes: captured, wire_len: bytes.len() as u32, at, link: LinkType::RawIp };
        let Decoded { segment, tcp, source, destination, .. } = decode(&frame).expect("it is TCP");
        let (client, server) = match direction {
            Direction::Request => (source, destination),
            Direction::Reply => (destination, source),
        };
        let Tap { resources, recent, connection, told, .. } = self;
        let print = Print::of(tcp.mark(), direction, HASH);
        if let Some(current) = connection
            && (current.arrive(&tcp.sent(), tcp.cut, direction, at, &print, recent, resources, told)
                != Arrived::Unusual
                || current.arrive_unusually(&segment, direction, at, resources, told))
        {
            return;
        }
        let key = FlowKey { client, server, ..FlowKey::default() };
        *connection = Connection::open(&segment, direction, at, &key, [0; 2], false);
        if let Some(connection) = connection {
            resources.counters.count(connection.opened_counter());
            connection.segment(&segment, direction, at, resources, told);
        }
    }
}
