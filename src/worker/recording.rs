//! What a worker keeps of each decided request, and how it gets to the writer: statistics by interval, records in batches.

use std::hint::cold_path;

use crate::connection::{Exchange, Identity, Recorder, ReplyFacts};
use crate::counters::{Counter, Counters};
use crate::flow::hash::Seed;
use crate::limits::{OVERALL_BYTES, STATISTICS_BOXES};
use crate::record::Message;
use crate::record::histograms::together::{Alike, Gathering};
use crate::record::histograms::usual::UsualSample;
use crate::record::histograms::{Directory, ErrorCode, Sample, Statistics};
use crate::record::keys::{Big, KeyStatistics, KeyedRequest, Metrics};
use crate::record::room::Room;
use crate::record::top::{Name, is_large};
use crate::record::transaction::{RecordBatch, Times};
use crate::redis::arguments::{self, BRIEF_BYTES, Brief, Key};
use crate::redis::command::CommandTable;
use crate::redis::pairing::Flags;
use crate::redis::request::Request;
use crate::resp::parser::Kind;
use crate::ring::{Outbox, pause};
use crate::units::Timestamp;

use super::emission::{Emission, Records, Usual, may_show};

const _: () = assert!(Statistics::RESERVED_BYTES <= OVERALL_BYTES * 5 / 6, "what is always whole has its room");

/// A worker's recorder.
#[derive(Debug)]
pub struct Recording {
    table: &'static CommandTable,
    /// `None` where intervals are not told: then all is one.
    interval_ns: Option<u64>,
    directory: Directory,
    /// Of each box.
    room: Room,
    statistics: Box<Statistics>,
    /// Of the whole run; empty where keys are not to be known.
    keys: KeyStatistics,
    has_keys: bool,
    records: Records,
    /// Keys are to be known, and there are no sinks.
    has_keys_alone: bool,
    outbox: Outbox<Message>,
    /// Boxes that came back, to be used again.
    #[expect(clippy::vec_box, reason = "a box moves through the ring as one pointer")]
    spare_statistics: Vec<Box<Statistics>>,
    /// Boxes of statistics that there are.
    boxes: usize,
    #[expect(clippy::vec_box, reason = "a box moves through the ring as one pointer")]
    spare_batches: Vec<Box<RecordBatch>>,
}

impl Recording {
    /// Recording into `outbox`, statistics within `bytes`.
    pub fn new(
        table: &'static CommandTable,
        emission: Emission,
        interval_ns: Option<u64>,
        seed: Seed,
        bytes: u64,
        keys: Option<KeyStatistics>,
        outbox: Outbox<Message>,
    ) -> Recording {
        let boxes = interval_ns.map_or(1, |_| STATISTICS_BOXES as u64);
        // A sixth is for names.
        let room = Room::new((bytes - bytes / 6) / boxes, Statistics::RESERVED_BYTES);
        let (has_keys, records) = (keys.is_some(), Records::new(table, emission));
        Recording {
            table,
            interval_ns,
            directory: Directory::new(seed, bytes / 6),
            room,
            statistics: Box::new(Statistics::new(room)),
            keys: keys.unwrap_or_else(|| KeyStatistics::new(0, b':', table, seed)),
            has_keys,
            has_keys_alone: has_keys && records.usual == Usual::Nothing,
            records,
            outbox,
            spare_statistics: Vec::new(),
            boxes: 1,
            spare_batches: Vec::new(),
        }
    }

    /// Numbers a new connection's ends.
    pub fn introduce(&mut self, identity: &mut Identity, counters: &mut Counters) {
        identity.client_number = self.directory.client(identity.conversation.client.address, counters);
        identity.server_number = self.directory.server(identity.conversation.server, counters);
        self.records.introduce(identity);
    }

    /// If connections have begun that are to be introduced, the writer hears of them now.
    pub fn announce(&mut self, counters: &mut Counters) {
        if !self.records.batch.introduced.is_empty() {
            self.send_batch(counters);
        }
    }

    /// The writer gets the records that there are.
    pub fn hand_over(&mut self, counters: &mut Counters) {
        if !self.records.batch.introduced.is_empty() || !self.records.batch.transactions.is_empty() {
            self.send_batch(counters);
        }
    }

    /// Bytes of memory in use, by estimate.
    pub fn memory(&self) -> u64 {
        self.keys.memory() + self.statistics.memory() * self.boxes as u64
    }

    /// Time has come to `now`: an interval that has ended goes to the writer.
    pub fn watermark(&mut self, now: Timestamp, counters: &mut Counters) {
        let Some(interval_ns) = self.interval_ns else { return };
        let interval = |at: Timestamp| Timestamp(at.0 - at.0 % interval_ns);
        if !self.statistics.from.is_known() {
            // What came before the first watermark belongs to the interval that it is in or ends.
            self.statistics.from =
                Timestamp(interval(now).0.saturating_sub(if interval(now) == now { interval_ns } else { 0 }));
        }
        if now < self.statistics.from.after(interval_ns) {
            return;
        }
        // One that found no box before goes on to here.
        self.statistics.to =
            if self.statistics.to.is_known() { interval(now) } else { self.statistics.from.after(interval_ns) };
        self.statistics.count_waiting(self.table, &mut self.directory, counters);
        let Some(fresh) = self.empty_box() else {
            // The interval becomes longer.
            self.statistics.to = interval(now);
            return;
        };
        let done = std::mem::replace(&mut self.statistics, fresh);
        match self.outbox.offer(Message::Statistics(done)) {
            Err(Message::Statistics(done)) if self.records.emission.is_live && !self.outbox.is_closed() => {
                self.spare_statistics.push(std::mem::replace(&mut self.statistics, done));
                self.statistics.to = interval(now);
            }
            Err(message) => {
                self.send(message);
                self.statistics.from = interval(now);
            }
            Ok(()) => self.statistics.from = interval(now),
        }
    }

    /// A box for statistics. If there are as many as there may be, the writer has to give one back first; live traffic does not
    /// wait for that.
    fn empty_box(&mut self) -> Option<Box<Statistics>> {
        let mut waited = 0;
        loop {
            self.collect();
            if let Some(empty) = self.spare_statistics.pop() {
                return Some(empty);
            }
            if self.boxes < STATISTICS_BOXES || self.outbox.is_closed() {
                self.boxes += 1;
                return Some(Box::new(Statistics::new(self.room)));
            }
            if self.records.emission.is_live {
                return None;
            }
            pause(&mut waited);
        }
    }

    /// Sends all that is left; the statistics of keys are of the whole run and need no interval.
    pub fn finish(mut self, counters: &mut Counters) -> Option<KeyStatistics> {
        if self.statistics.from.is_known() && !self.statistics.to.is_known() {
            self.statistics.to = self.statistics.from.after(self.interval_ns.unwrap_or_default());
        }
        self.statistics.count_waiting(self.table, &mut self.directory, counters);
        let statistics = std::mem::take(&mut self.statistics);
        self.send(Message::Statistics(statistics));
        // The last ones are waited for.
        let records = std::mem::take(&mut self.records.batch);
        counters.add(Counter::RecordsEmitted, records.transactions.len() as u64);
        self.send(Message::Records(records));
        self.has_keys.then(|| {
            self.keys.finish(counters);
            self.keys
        })
    }

    fn send_batch(&mut self, counters: &mut Counters) {
        self.collect();
        counters.add(Counter::RecordsEmitted, self.records.batch.transactions.len() as u64);
        let fresh = self.spare_batches.pop().unwrap_or_default();
        let full = Message::Records(std::mem::replace(&mut self.records.batch, fresh));
        if !self.records.emission.is_live {
            return self.send(full);
        }
        if let Err(Message::Records(mut refused)) = self.outbox.offer(full) {
            counters.add(Counter::RecordsDropped, refused.transactions.len() as u64);
            refused.clear();
            self.spare_batches.push(refused);
        }
    }

    fn send(&mut self, message: Message) {
        // The writer ends only by a bug of its own, which is reported where it is joined.
        let _ = self.outbox.send(message);
    }

    fn collect(&mut self) {
        while let Some(message) = self.outbox.reuse() {
            match message {
                Message::Records(mut batch) => {
                    batch.clear();
                    self.spare_batches.push(batch);
                }
                Message::Statistics(mut statistics) => {
                    statistics.clear();
                    self.spare_statistics.push(statistics);
                }
            }
        }
    }
}

/// Whether the keys of a request may be told. Of a command that carries secrets none may: what follows them is not for
/// certain a key.
#[inline]
fn may_tell_keys(request: &Request, is_answered: bool, error: Option<&ErrorCode>) -> bool {
    !request.is_secret() && (request.command.is_known() || may_show(request, is_answered, error))
}

/// Adds to the biggest messages.
#[cold]
#[inline(never)]
fn count_big(
    keys: &mut KeyStatistics,
    exchange: &Exchange<'_>,
    error: Option<&ErrorCode>,
    request_bytes: u64,
    reply_bytes: u64,
) {
    let Exchange { identity, request, .. } = *exchange;
    let place = (identity.conversation.id, request.index);
    for (biggest, bytes) in [(&mut keys.requests, request_bytes), (&mut keys.replies, reply_bytes)] {
        if biggest.wants(bytes, request.t1, place) {
            biggest.insert(big(exchange, error, bytes));
        }
    }
}

/// Adds to the statistics of keys.
#[inline(never)]
fn count_keys(
    keys: &mut KeyStatistics,
    exchange: &Exchange<'_>,
    latency_ns: u64,
    error: Option<&ErrorCode>,
    counters: &mut Counters,
) {
    let Exchange { request, reply, .. } = *exchange;
    if request.keys() == 0 || !may_tell_keys(request, reply.is_some(), error) {
        return;
    }
    let counts = !request.flags.has(Flags::LATE);
    let keyed = KeyedRequest {
        command: request.command,
        arguments: &request.arguments(),
        keys: request.keys(),
        has_gap: request.flags.has(Flags::GAP),
        request_bytes: if counts { request.bytes() } else { 0 },
        reply_bytes: reply.map_or(0, |reply| reply.bytes),
        latency_ns: if request.flags.has(Flags::BLOCKING) { 0 } else { latency_ns },
        reply: reply.map(|reply| reply.kind),
        nulls: reply.and_then(|reply| reply.nulls),
        counts,
    };
    keys.record(&keyed, counters);
}

#[cold]
fn big(exchange: &Exchange<'_>, error: Option<&ErrorCode>, bytes: u64) -> Big {
    let Exchange { identity, request, reply, .. } = *exchange;
    let may_tell = may_tell_keys(request, reply.is_some(), error);
    let is_whole = |key: &Key<'_>| !(key.is_cut && request.flags.has(Flags::GAP));
    let arguments = request.arguments();
    let key = arguments::keys(&arguments).next().filter(|key| may_tell && is_whole(key));
    Big {
        bytes,
        at: request.t1,
        place: (identity.conversation.id, request.index),
        command: request.command,
        key: key.map(|key| Name::new(key.name, key.is_cut)),
        client: identity.conversation.client,
        server: identity.conversation.server,
    }
}

#[cold]
fn error_code(text: &[u8]) -> ErrorCode {
    ErrorCode::of(text)
}

impl Recorder for Recording {
    fn introduce(&mut self, identity: &mut Identity, counters: &mut Counters) {
        Recording::introduce(self, identity, counters);
    }

    #[inline(never)]
    fn decided(&mut self, exchange: &Exchange<'_>, counters: &mut Counters) {
        let request = exchange.request;
        match exchange.reply.filter(|reply| is_usual(request, reply)) {
            Some(reply) if self.decided_usually(exchange, reply, request.t1, request.brief(), counters) => {}
            _ => self.decided_unusually(exchange, counters),
        }
    }

    #[inline(always)]
    fn decided_simply(&mut self, exchange: &Exchange<'_>, counters: &mut Counters) {
        let Some(reply) = exchange.reply else { return self.decided(exchange, counters) };
        debug_assert!(is_usual(exchange.request, reply));
        let simple = Some(exchange.request.simple());
        if !self.decided_usually(exchange, reply, exchange.request.t2, simple, counters) {
            exchange.copied(|exchange| self.decided_unusually(exchange, counters));
        }
    }

    #[inline(always)]
    fn come_behind(&mut self, identity: &Identity, first: &Request, at: Timestamp, counters: &mut Counters) {
        let Recording { statistics, table, directory, .. } = self;
        statistics.gather(gathering(identity, at), alike(first), table, directory, counters);
    }

    #[inline(always)]
    fn decided_behind(&mut self, exchange: &Exchange<'_>, counters: &mut Counters) {
        let Exchange { identity, request, reply, previous, .. } = *exchange;
        // Its first byte came when its last one did, with that of the one before.
        debug_assert!(reply.is_some_and(|reply| reply.t3 == previous && reply.t4 == previous && previous.is_known()));
        debug_assert_eq!(self.statistics.gathering(), gathering(identity, previous));
        let Some(reply) = reply else { return self.decided(exchange, counters) };
        let alike = alike(request);
        let (request_bytes, reply_bytes) = (request.simple_bytes(), reply.bytes);
        if !self.statistics.record_alike(alike, request_bytes, reply_bytes) {
            let Recording { statistics, table, directory, .. } = self;
            statistics.begin_alike(alike, request_bytes, reply_bytes, table, directory, counters);
        }
        let times = Times::queued(request.t2, reply.t4);
        // Each came in one segment.
        self.tell_usual::<true>(exchange, reply, times, request_bytes, Some(request.simple()), counters);
    }
}

impl Recording {
    /// One of the usual kind, whose first byte was sent at `t1`. Answers whether there was a place for it; else nothing has happened.
    #[inline(always)]
    fn decided_usually(
        &mut self,
        exchange: &Exchange<'_>,
        reply: &ReplyFacts<'_>,
        t1: Timestamp,
        brief: Option<&Brief<BRIEF_BYTES>>,
        counters: &mut Counters,
    ) -> bool {
        let Exchange { identity, request, .. } = *exchange;
        let Some(times) = Times::new(t1, request.t2, reply.t3, reply.t4, exchange.previous) else { return false };
        let (request_bytes, reply_bytes) = (request.bytes(), reply.bytes);
        let sample = UsualSample {
            server_number: identity.server_number,
            client_number: identity.client_number,
            command: request.command,
            request_bytes,
            reply_bytes,
            times,
        };
        let is_counted = self.statistics.record_usual(&sample, self.table, &mut self.directory, counters);
        if is_counted {
            self.tell_usual::<false>(exchange, reply, times, request_bytes, brief, counters);
        }
        is_counted
    }

    /// What a usual request, which was counted, is apart from that: a record, and a use of its key. `SMALL`: it and its reply are known not to
    /// be large; `brief`: its arguments, if they are.
    #[inline(always)]
    fn tell_usual<const SMALL: bool>(
        &mut self,
        exchange: &Exchange<'_>,
        reply: &ReplyFacts<'_>,
        times: Times,
        request_bytes: u64,
        brief: Option<&Brief<BRIEF_BYTES>>,
        counters: &mut Counters,
    ) {
        let (request, reply_bytes) = (exchange.request, reply.bytes);
        if !self.has_keys_alone {
            cold_path();
            let is_all = self.records.usual == Usual::All;
            if !(is_all && self.records.emit_usual(exchange, reply, times, request_bytes, brief)) {
                exchange.copied(|exchange| self.emit(exchange, Some(times), None, counters));
            }
            if !self.has_keys {
                return;
            }
        }
        let keys = &mut self.keys;
        if keys.requests.may_want(request_bytes, request.t1) || keys.replies.may_want(reply_bytes, request.t1) {
            exchange.copied(|exchange| count_big(keys, exchange, None, request_bytes, reply_bytes));
        }
        debug_assert!(!SMALL || !is_large(request_bytes | reply_bytes));
        let bytes = if SMALL { 0 } else { request_bytes | reply_bytes };
        if !is_large(bytes | times.latency()) && reply.kind != Kind::Array {
            let (bytes_in, bytes_out) = (request_bytes as u32, reply_bytes as u32);
            let metrics = &Metrics { bytes_in, bytes_out, latency_ns: times.latency() as u32 };
            if let Some(brief) = brief {
                return keys.record_brief(brief, reply.kind, metrics, counters);
            }
            if let Some((name, role)) = request.longer_key() {
                return keys.record_usual(&Key { name, is_cut: false, role }, reply.kind, metrics, counters);
            }
        }
        exchange.copied(|exchange| count_keys(keys, exchange, times.latency(), None, counters));
    }
}

/// Whose replies come together, when.
fn gathering(identity: &Identity, answered: Timestamp) -> Gathering {
    Gathering { server_number: identity.server_number, client_number: identity.client_number, answered }
}

/// What it has in common with those that take the same time, if it is simple.
#[inline(always)]
fn alike(request: &Request) -> Alike {
    Alike { command: request.command, sent: request.t2 }
}

/// The parts of its latency.
#[inline(always)]
fn times_of(exchange: &Exchange<'_>, reply: &ReplyFacts<'_>) -> Option<Times> {
    let request = exchange.request;
    Times::new(request.t1, request.t2, reply.t3, reply.t4, exchange.previous)
}

/// Whether a request that has this reply may be of the usual kind.
#[inline(always)]
fn is_usual(request: &Request, reply: &ReplyFacts<'_>) -> bool {
    !request.flags.has_any(UNUSUAL) && reply.kind != Kind::Error
}

/// With any of these a request is no [`UsualSample`].
const UNUSUAL: Flags = Flags(Flags::LATE.0 | Flags::BLOCKING.0 | Flags::NOT_EXECUTED.0);

impl Recording {
    /// Where there are sinks, a request becomes a record.
    #[inline(never)]
    fn emit(
        &mut self,
        exchange: &Exchange<'_>,
        times: Option<Times>,
        error: Option<&ErrorCode>,
        counters: &mut Counters,
    ) {
        if self.records.usual != Usual::Nothing && !self.records.emit(exchange, times, error, counters) {
            self.send_batch(counters);
            let has_room = self.records.emit(exchange, times, error, counters);
            debug_assert!(has_room, "nothing is in the batch yet");
        }
    }

    /// The same of any request.
    #[inline(never)]
    fn decided_unusually(&mut self, exchange: &Exchange<'_>, counters: &mut Counters) {
        let Exchange { identity, request, reply, .. } = *exchange;
        let times = reply.and_then(|reply| times_of(exchange, reply));
        let error = match reply {
            Some(reply) if reply.kind == Kind::Error => Some(error_code(reply.error)),
            _ => None,
        };
        let sample = Sample {
            server: &identity.conversation.server,
            server_number: identity.server_number,
            client: &identity.conversation.client.address,
            client_number: identity.client_number,
            command: request.command,
            flags: request.flags,
            request_bytes: request.bytes(),
            reply_bytes: reply.map_or(0, |reply| reply.bytes),
            times,
            error: error.as_ref(),
            // Its request was counted when it timed out.
            counts: !request.flags.has(Flags::LATE),
        };
        self.statistics.record(&sample, self.table, &mut self.directory, counters);
        // A command that was discarded is no use of its keys.
        if self.has_keys && !request.flags.has(Flags::NOT_EXECUTED) {
            let keys = &mut self.keys;
            let request_bytes = if sample.counts { sample.request_bytes } else { 0 };
            count_big(keys, exchange, error.as_ref(), request_bytes, sample.reply_bytes);
            let latency_ns = times.map_or(0, |times| times.latency());
            count_keys(keys, exchange, latency_ns, error.as_ref(), counters);
        }
        self.emit(exchange, times, error.as_ref(), counters);
    }
}
