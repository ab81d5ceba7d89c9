//! Runs packets through a worker, in this thread, and collects what comes out; holds it against the truth.

use std::collections::{BTreeMap, BTreeSet};

use resptap::capture::{Frame, LinkType};
use resptap::connection::Settings;
use resptap::counters::{Counter, Counters};
use resptap::decode::ports::PortSet;
use resptap::flow::hash::Seed;
use resptap::limits::Budget;
use resptap::record::Message;
use resptap::record::filter::{Criteria, Filter};
use resptap::record::keys::KeyStatistics;
use resptap::record::room::Room;
use resptap::record::totals::Totals;
use resptap::record::transaction::Transaction;
use resptap::redis::arguments::{self, Argument, Payload};
use resptap::redis::command::CommandTable;
use resptap::redis::pairing::{Flags, Outcome, Resync};
use resptap::redis::possible::Possible;
use resptap::redis::request::Shown;
use resptap::redis::session::Acts;
use resptap::ring::{Inbox, ring};
use resptap::steering::Watermarks;
use resptap::units::Timestamp;
use resptap::worker::Worker;
use resptap::worker::emission::Emission;
use resptap::worker::recording::Recording;

use super::packet::{MILLISECOND, Packet, SECOND};
use super::sums;
use super::traffic::{Exchange, FAKE_TOKEN};

/// What a run goes by.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub resync: Resync,
    pub timeout_ns: u64,
    pub payload_bytes: usize,
    pub reorder_packets: u32,
    pub memory: u64,
    /// Intervals that are told; who wants them gives their boxes back.
    pub interval_ns: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            resync: Resync::Assume,
            timeout_ns: 30 * SECOND,
            payload_bytes: 256,
            reorder_packets: 128,
            memory: 256 << 20,
            interval_ns: None,
        }
    }
}

/// A record that came out.
#[derive(Clone, Debug)]
pub struct Record {
    pub transaction: Transaction,
    pub parent: Option<u64>,
    pub arguments: Vec<u8>,
    pub error: Vec<u8>,
    pub response: Vec<u8>,
}

impl Record {
    pub fn is_paired(&self) -> bool {
        self.transaction.outcome.is_paired()
    }

    /// The token that the request shows.
    fn request_token(&self) -> Option<String> {
        let token = arguments::iter(&self.arguments).find_map(|argument| match argument {
            Argument::Key(text) | Argument::Value(text) => token_in(text),
            _ => None,
        });
        token.filter(|token| self.is_first(token))
    }

    /// Whether a token can be the message's own: where bytes are missing, it may be that of something within a value.
    fn is_first(&self, token: &str) -> bool {
        !self.transaction.flags.has(Flags::GAP) || token != FAKE_TOKEN
    }

    /// The token that the reply shows, or its number.
    fn reply_token(&self) -> Option<String> {
        let number = |text: &[u8]| {
            let is_number = text.len() == 9 && text[0] == b'7' && text.iter().all(u8::is_ascii_digit);
            is_number.then(|| String::from_utf8_lossy(text).into_owned())
        };
        let token = token_in(&self.error).or_else(|| token_in(&self.response)).or_else(|| number(&self.response));
        token.filter(|token| self.is_first(token))
    }

    /// All that does not depend on how the bytes were spread over packets, nor on time.
    pub fn essence(&self, with_pipeline: bool) -> String {
        let client = self.transaction.conversation.client;
        let Transaction { index, outcome, reply, request_bytes, reply_bytes, args, keys, .. } = self.transaction;
        let slot = arguments::slot(&self.arguments);
        let flags = Flags(self.transaction.flags.0 & !Flags::RETRANSMIT.0);
        let pipeline = if with_pipeline { self.transaction.pipeline } else { 0 };
        let command = CommandTable::built_in().name(self.transaction.command);
        format!(
            "{client} {index:5} {command} {outcome:?} {reply:?} {request_bytes} {reply_bytes} {args} {keys} {slot:?} {flags:?} {pipeline} {} {} {}",
            self.arguments.escape_ascii(),
            self.error.escape_ascii(),
            self.response.escape_ascii()
        )
    }
}

fn token_in(text: &[u8]) -> Option<String> {
    let at = text.windows(2).position(|window| window == b"tk")?;
    let token = text.get(at..at + 10)?;
    token[2..].iter().all(u8::is_ascii_digit).then(|| String::from_utf8_lossy(token).into_owned())
}

/// What a run brought.
#[derive(Debug)]
pub struct Outcomes {
    pub records: Vec<Record>,
    pub counters: Counters,
}

/// A worker whose messages are kept for the caller, as many as it likes.
pub fn worker(options: Options) -> (Worker, Inbox<Message>) {
    worker_on(PortSet::new([6379]), options)
}

/// One that looks at these ports.
pub fn worker_on(ports: PortSet, options: Options) -> (Worker, Inbox<Message>) {
    const MESSAGES: usize = 4096;
    let table = CommandTable::built_in();
    let payload_bytes = options.payload_bytes;
    let settings = Settings {
        table,
        acts: Acts::new(table),
        possible: Possible::new(table),
        shown: Shown { keys: true, payload_bytes },
        timeout_ns: options.timeout_ns,
        idle_timeout_ns: 3600 * SECOND,
        resync: options.resync,
        resync_silence_ns: 2 * SECOND,
        reorder_time_ns: 50 * MILLISECOND,
        reorder_packets: options.reorder_packets,
    };
    let payload = if payload_bytes > 0 { Payload::Full } else { Payload::Keys };
    let emission = Emission {
        emits: true,
        introduces: false,
        is_live: false,
        filter: Filter::new(&Criteria::default(), table),
        payload,
    };
    let (outbox, inbox) = ring(MESSAGES);
    let seed = Seed::fixed(7);
    let budget = Budget::new(options.memory, 1);
    let keys = Some(KeyStatistics::new(budget.keys, b':', table, seed));
    let recording = Recording::new(table, emission, options.interval_ns, seed, budget.statistics, keys, outbox);
    (Worker::new(settings, ports, seed, &budget, recording), inbox)
}

/// Runs packets, each of which is a frame of its own.
pub fn run(packets: &[Packet], options: Options) -> Outcomes {
    let bytes: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
    let outcomes = run_frames(&frames(packets, &bytes), options);
    // Here no command has several replies, and none is queued by MULTI.
    assert_eq!(outcomes.counters[Counter::RepliesPaired], paired(&outcomes.counters), "each reply is paired once");
    outcomes
}

/// Packets as frames, which have these bytes.
pub fn frames<'b>(packets: &[Packet], bytes: &'b [Vec<u8>]) -> Vec<Frame<'b>> {
    let frames = packets.iter().zip(bytes).map(|(packet, bytes)| Frame {
        bytes: &bytes[..bytes.len().min(packet.snap)],
        wire_len: bytes.len() as u32,
        at: Timestamp(packet.at),
        link: LinkType::Ethernet,
    });
    frames.collect()
}

/// Requests that are paired with a reply.
fn paired(counters: &Counters) -> u64 {
    counters[Counter::RequestsExact] + counters[Counter::RequestsResynced] + counters[Counter::RequestsLate]
}

/// Runs frames; checks the laws of the summary at the end.
pub fn run_frames(frames: &[Frame<'_>], options: Options) -> Outcomes {
    run_frames_on(PortSet::new([6379]), frames, options)
}

/// Runs frames with these server ports.
pub fn run_frames_on(ports: PortSet, frames: &[Frame<'_>], options: Options) -> Outcomes {
    run_watched(worker_on(ports, options), frames, |_, _, _| ())
}

/// Runs frames; before each, `watch` gets the worker, the frame's number, and its time.
pub fn run_watched(
    (mut worker, mut inbox): (Worker, Inbox<Message>),
    frames: &[Frame<'_>],
    mut watch: impl FnMut(&mut Worker, usize, Timestamp),
) -> Outcomes {
    let mut watermarks = Watermarks::new(10 * SECOND);
    let mut last = Timestamp::NONE;
    let mut told = Told::default();
    for (number, frame) in frames.iter().enumerate() {
        if let Some(watermark) = watermarks.pass(frame.at) {
            worker.watermark(watermark);
            told.collect(&mut inbox);
        }
        watch(&mut worker, number, frame.at);
        worker.process(&[*frame]);
        last = last.max(frame.at);
    }
    finish(worker, last, inbox, told)
}

/// Runs frames that come in batches of so many, as those of a capture do.
pub fn run_batches(
    (mut worker, mut inbox): (Worker, Inbox<Message>),
    frames: &[Frame<'_>],
    mut batch: impl FnMut() -> usize,
) -> Outcomes {
    let mut watermarks = Watermarks::new(10 * SECOND);
    let mut last = Timestamp::NONE;
    let mut told = Told::default();
    let (mut from, mut to) = (0, batch());
    for (number, frame) in frames.iter().enumerate() {
        let watermark = watermarks.pass(frame.at);
        if watermark.is_some() || number == to {
            worker.process(&frames[from..number]);
            (from, to) = (number, number + batch());
        }
        if let Some(watermark) = watermark {
            worker.watermark(watermark);
            told.collect(&mut inbox);
        }
        last = last.max(frame.at);
    }
    worker.process(&frames[from..]);
    finish(worker, last, inbox, told)
}

fn finish(worker: Worker, last: Timestamp, mut inbox: Inbox<Message>, mut told: Told) -> Outcomes {
    let counters = worker.finish(last).counters;
    told.collect(&mut inbox);
    let Told { records, totals } = told;
    check_laws(&counters, &records);
    sums::check(&totals, &records, counters[Counter::EvictedSeries] == 0);
    Outcomes { records, counters }
}

/// What a worker has told.
#[derive(Default)]
struct Told {
    records: Vec<Record>,
    totals: Totals,
}

impl Told {
    fn collect(&mut self, inbox: &mut Inbox<Message>) {
        let Told { records, totals } = self;
        while let Some(mut message) = inbox.take() {
            match &mut message {
                Message::Records(batch) => records.extend(batch.transactions.iter().map(|transaction| {
                    let rare = batch.rare(transaction);
                    Record {
                        transaction: *transaction,
                        parent: rare.parent,
                        arguments: batch.arguments(transaction).to_vec(),
                        error: rare.error.to_vec(),
                        response: rare.response.to_vec(),
                    }
                })),
                Message::Statistics(statistics) => {
                    totals.merge(statistics, false, CommandTable::built_in(), &mut { Room::ENDLESS });
                }
            }
            inbox.give_back(message);
        }
    }
}

/// SPEC section 4: every packet, request and reply is counted once.
fn check_laws(counters: &Counters, records: &[Record]) {
    use Counter as C;
    let skipped = counters.sum("packets", "skipped.");
    assert_eq!(counters[C::FramesSeen], counters[C::FramesAnalysed] + skipped, "packets");
    let unpaired = counters.sum("replies", "unsolicited.") + counters.sum("replies", "discarded.");
    assert_eq!(counters[C::Replies], counters[C::RepliesPaired] + unpaired, "replies");
    assert_eq!(counters.pending(), 0, "nothing is pending at the end");
    assert!(counters[C::RequestsLate] <= counters[C::RequestsTimedOut], "late ones are a part of the timed-out ones");
    assert!(counters[C::RepliesPaired] >= paired(counters), "each pair has a reply of its own");
    // The records tell the same story.
    let count = |is_it: &dyn Fn(&Record) -> bool| records.iter().filter(|record| is_it(record)).count() as u64;
    let is_late = |record: &Record| record.transaction.flags.has(Flags::LATE);
    assert_eq!(count(&|record| !is_late(record)), counters[C::Requests], "one record for each request");
    assert_eq!(count(&is_late), counters[C::RequestsLate], "one more for each late reply");
    assert_eq!(count(&Record::is_paired), paired(counters), "one record for each pair");
    for record in records.iter().filter(|record| is_late(record)) {
        let has_first = records.iter().any(|first| {
            let (first, record) = (&first.transaction, &record.transaction);
            (first.conversation.id, first.index, first.outcome)
                == (record.conversation.id, record.index, Outcome::TimedOut)
        });
        assert!(has_first, "a late reply has timed out before: {record:?}");
    }
}

/// When which stretch of a stream was seen.
struct Sighting {
    from: u64,
    to: u64,
    at: u64,
}

/// Times of the first sighting of each byte, by connection and direction.
struct Sightings(BTreeMap<(u32, bool), Vec<Sighting>>);

impl Sightings {
    fn new(packets: &[Packet]) -> Sightings {
        let mut seen: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for packet in packets {
            let (from, length) = (packet.offset, packet.payload.len() as u64);
            let entry = seen.entry((packet.connection, packet.from_client)).or_default();
            entry.push(Sighting { from, to: from + length, at: packet.at });
        }
        Sightings(seen)
    }

    fn of(&self, connection: u32, from_client: bool, byte: u64) -> Option<u64> {
        let seen = self.0.get(&(connection, from_client))?;
        seen.iter().find(|seen| (seen.from..seen.to).contains(&byte)).map(|seen| seen.at)
    }
}

/// Holds each pair against the truth; answers how many pairs there are.
pub struct Truth<'a> {
    exchanges: &'a [Exchange],
    by_token: BTreeMap<&'a str, usize>,
}

impl<'a> Truth<'a> {
    pub fn new(exchanges: &'a [Exchange]) -> Truth<'a> {
        let named = exchanges.iter().enumerate();
        let by_token = named.filter_map(|(at, exchange)| Some((exchange.token.as_deref()?, at))).collect();
        Truth { exchanges, by_token }
    }

    /// Panics if a pair is wrong: its request and its reply must be of one true exchange, as far as either can be told.
    /// With `packets` the last byte's time must be right as well.
    pub fn check(&self, records: &[Record], packets: Option<&[Packet]>) -> usize {
        let sightings = packets.map(Sightings::new);
        let mut taken = BTreeSet::new();
        let paired: Vec<&Record> = records.iter().filter(|record| record.is_paired()).collect();
        for record in &paired {
            let candidates: Vec<usize> = match record.request_token() {
                Some(token) => self.by_token.get(token.as_str()).copied().into_iter().collect(),
                None => (0..self.exchanges.len()).collect(),
            };
            let mut matching = candidates.iter().filter(|&&at| is_of(record, &self.exchanges[at], sightings.as_ref()));
            let Some(&first) = matching.next() else {
                let truth: Vec<_> = candidates.iter().take(3).map(|&at| &self.exchanges[at]).collect();
                panic!("WRONG PAIR: {}\n{record:?}\ntruth: {truth:?}", record.essence(true));
            };
            let is_unique = matching.next().is_none();
            assert!(!is_unique || taken.insert(first), "paired twice: {record:?}");
        }
        paired.len()
    }

    /// Requests that are answered.
    pub fn answered(&self) -> usize {
        self.exchanges.iter().filter(|exchange| exchange.answered).count()
    }
}

fn is_of(record: &Record, exchange: &Exchange, sightings: Option<&Sightings>) -> bool {
    let client = record.transaction.conversation.client;
    let Transaction { flags, reply: kind, request_bytes, reply_bytes, end, .. } = record.transaction;
    let Some(reply) = &exchange.reply else { return false };
    // Of what the capture lost parts of, sizes and kinds may not be known.
    let is_whole = !flags.has(Flags::GAP);
    let length = |range: (u64, u64)| range.1 - range.0;
    let t2 = |seen: &Sightings| seen.of(exchange.connection, true, exchange.range.1 - 1);
    let t4 = |seen: &Sightings| seen.of(exchange.connection, false, reply.range.1 - 1);
    let in_time = sightings.is_none_or(|seen| t2(seen).max(t4(seen)) == Some(end.0));
    let command = CommandTable::built_in().name(record.transaction.command);
    client.port == exchange.port
        && (command == exchange.command || !is_whole && command == "unknown")
        && record.reply_token().is_none_or(|token| reply.token == Some(token))
        && kind == Some(reply.kind)
        && (!is_whole || request_bytes == length(exchange.range) && reply_bytes == length(reply.range) && in_time)
}
