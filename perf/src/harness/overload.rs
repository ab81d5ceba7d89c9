//! Twice the load that a worker can carry: whole connections are left out, the others are whole, and nothing grows.
//!
//! Time is the traffic's own, so that all of it is the same on any machine: a packet costs a worker so many nanoseconds of it, one
//! that is left out a twentieth, and what comes meanwhile waits in a ring, or is dropped where that is full. What is left out is
//! decided as a live capture does ([`Overload`]), by how the ring fills; records go to a writer that formats them as JSON Lines.
//!
//! Each packet, each transaction and each pair is accounted for ([`Overloaded::check`]).

use std::collections::{HashMap, VecDeque};
use std::io;

use resptap::capture::spread::Spread;
use resptap::capture::{Frame, LinkType};
use resptap::counters::Counter;
use resptap::endpoint::Labels;
use resptap::limits::{BATCH_FRAMES, SHED_PARTS};
use resptap::record::Message;
use resptap::record::transaction::Transaction;
use resptap::redis::pairing::Outcome;
use resptap::ring::Inbox;
use resptap::runtime::overload::{Look, Overload};
use resptap::sink::Sink;
use resptap::sink::jsonl::JsonlSink;
use resptap::steering::Watermarks;
use resptap::units::{Endpoint, Timestamp};
use resptap::worker::{Batch, Worker};

use crate::generator::{Exchange, Generator, Plan};

use super::reader::{INTERVAL_NS, discarding_sink, process, worker};
use super::timing::resident_bytes;

/// Frames that the ring holds, and bytes of each, as those of AF_XDP.
const RING_FRAMES: usize = 16_384;
const FRAME_BYTES: usize = 2048;
/// What comes, in percent of what can be carried: at first, under overload, and when the load has fallen.
const SUSTAINABLE: u64 = 75;
const TWICE: u64 = 200;
const FALLEN: u64 = 40;
/// By how much less a packet costs that is left out.
const SHED_CHEAPER: u64 = 20;
/// Batches after which it is looked how full the ring is, and for how long the worker rests when it is empty, in nanoseconds.
const LOOK_BATCHES: u32 = 16;
const REST_NS: u64 = 50_000;
/// Frames that are made at once.
const PIECE: usize = 100_000;
/// For so many requests there is room whose records have not come, or will not, as they were left out.
const TRUTHS: usize = 1_800_000;
/// By how much resident memory may grow under it.
const GROWTH_MAX: f64 = 0.03;
/// Where connections are.
const SPREAD: Spread = Spread { workers: 1, secret: 7 };

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Packets in all: a quarter of them before it, a quarter under it, and half of them after it.
    pub packets: u64,
    /// The writer takes half of the records that a worker at its limit makes.
    pub is_writer_slow: bool,
}

/// What was found under it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Overloaded {
    /// Packets that came.
    pub packets: u64,
    /// Those that were processed.
    pub processed: u64,
    /// Those that were left out.
    pub shed: u64,
    /// Those that the ring had no room for.
    pub dropped: u64,
    /// Requests whose fate was decided.
    pub transactions: u64,
    /// Those whose records were written.
    pub written: u64,
    /// Those whose records were dropped, as the writer was too slow.
    pub unwritten: u64,
    /// Pairs that are none.
    pub wrong: u64,
    /// Connections that were never left out.
    pub kept: u64,
    /// Those of which each pair was written; where the writer is too slow it is not known.
    pub whole: Option<u64>,
    /// The share of the connections that was left out at the most.
    pub share_max: f64,
    /// The share that still was when the load had fallen.
    pub share_after: f64,
    /// Resident memory before it, in bytes.
    pub resident_before: u64,
    /// Resident memory after it.
    pub resident_after: u64,
}

impl Overloaded {
    /// What does not hold of all that must.
    pub fn check(&self) -> Result<(), String> {
        let Overloaded { packets, processed, shed, dropped, transactions, written, unwritten, .. } = *self;
        if packets != processed + shed + dropped {
            return Err(format!("of {packets} packets {processed} were processed, {shed} left out, {dropped} dropped"));
        }
        if transactions != written + unwritten {
            return Err(format!("of {transactions} records {written} were written, and {unwritten} dropped"));
        }
        if self.wrong > 0 {
            return Err(format!("{} pairs are wrong", self.wrong));
        }
        if shed == 0 || self.kept == 0 {
            return Err(format!("{shed} packets were left out, {} connections were not", self.kept));
        }
        if dropped == 0 && self.whole.is_some_and(|whole| whole != self.kept) {
            return Err(format!("of {} connections that were kept {:?} are whole", self.kept, self.whole));
        }
        if self.share_after > 0.0 {
            return Err(format!("{} of the connections are left out though the load has fallen", self.share_after));
        }
        if self.resident_after as f64 > self.resident_before as f64 * (1.0 + GROWTH_MAX) {
            return Err(format!("resident memory grew from {} to {}", self.resident_before, self.resident_after));
        }
        Ok(())
    }
}

/// Has a worker take a plan's traffic: as much as it can carry, then twice as much, then less again.
pub fn overload(plan: &Plan, options: Options, seed: u64) -> io::Result<Overloaded> {
    let mut run = Run::new(plan, seed)?;
    let packets = options.packets / 4;
    // A record for two packets, each of which costs twice the interval.
    let writer_ns = options.is_writer_slow.then_some(2 * 2 * 2 * plan.interval_ns);
    while !run.generator.is_open() {
        run.take(PIECE as u64, SUSTAINABLE, writer_ns)?;
    }
    run.take(packets, SUSTAINABLE, writer_ns)?;
    let (before, resident_before) = (run.sums(), resident_bytes()?);
    run.take(packets, TWICE, writer_ns)?;
    let (after, resident_after) = (run.sums(), resident_bytes()?);
    let most = run.overload.most();
    let (kept, whole) = run.truth.whole(most);
    run.take(2 * packets, FALLEN, writer_ns)?;
    let share = |parts: usize| parts as f64 / SHED_PARTS as f64;
    Ok(Overloaded {
        packets: after.packets - before.packets,
        processed: after.processed - before.processed,
        shed: after.shed - before.shed,
        dropped: after.dropped - before.dropped,
        transactions: after.transactions - before.transactions,
        written: after.written - before.written,
        unwritten: after.unwritten - before.unwritten,
        wrong: run.truth.wrong,
        kept,
        whole: (!options.is_writer_slow).then_some(whole),
        share_max: share(most),
        share_after: share(run.overload.parts()),
        resident_before,
        resident_after,
    })
}

/// What there was so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    packets: u64,
    processed: u64,
    shed: u64,
    dropped: u64,
    transactions: u64,
    written: u64,
    unwritten: u64,
}

/// A worker, what comes to it, and what is behind it.
struct Run {
    generator: Generator,
    truth: Truth,
    ring: Ring,
    worker: Worker,
    watermarks: Watermarks,
    overload: Overload,
    writer: Writer,
    interval_ns: u64,
    /// When it began, and what time it is for the worker, in nanoseconds.
    began_ns: Option<u64>,
    now_ns: u64,
    /// Time in which there was nothing to do.
    idle_ns: u64,
    batches: u32,
}

impl Run {
    fn new(plan: &Plan, seed: u64) -> io::Result<Run> {
        let (mut worker, inbox) = worker(true, true, plan);
        worker.spread_by(SPREAD);
        Ok(Run {
            generator: Generator::new(plan, seed).with_truth(),
            truth: Truth::new(),
            ring: Ring::new(),
            worker,
            watermarks: Watermarks::new(INTERVAL_NS),
            overload: Overload::default(),
            writer: Writer { inbox, sink: discarding_sink()?, labels: Labels::default(), free_ns: 0, written: 0 },
            interval_ns: plan.interval_ns,
            began_ns: None,
            now_ns: 0,
            idle_ns: 0,
            batches: 0,
        })
    }

    fn sums(&self) -> Sums {
        let counters = self.worker.counters();
        Sums {
            packets: self.generator.facts().happened.packets,
            processed: counters[Counter::FramesAnalysed] + counters.sum("packets", "skipped."),
            shed: counters[Counter::FramesShed],
            dropped: self.ring.dropped,
            transactions: counters[Counter::Requests] - counters.pending(),
            written: self.writer.written,
            unwritten: counters[Counter::RecordsDropped],
        }
    }

    /// So many packets come, `load` percent of what can be carried; in the end all of them have been taken, and their records
    /// written. `writer_ns`: how long the writer takes for a record.
    fn take(&mut self, packets: u64, load: u64, writer_ns: Option<u64>) -> io::Result<()> {
        let cost_ns = self.interval_ns * load / 100;
        let end = self.generator.facts().happened.packets + packets;
        while self.generator.facts().happened.packets < end {
            self.generator.next(PIECE);
            self.truth.learn(&self.generator.take_truth());
            let frames = self.generator.trace().len();
            let mut next = 0;
            while next < frames {
                next = self.arrive(next);
                self.work(cost_ns, writer_ns)?;
            }
        }
        while !self.ring.held.is_empty() {
            self.work(cost_ns, writer_ns)?;
        }
        self.worker.hand_over();
        self.writer.write(self.now_ns, None, &mut self.truth)
    }

    /// What has come by now goes into the ring; if that is empty, it is rested. Answers which frame of the piece comes next.
    fn arrive(&mut self, mut next: usize) -> usize {
        let trace = self.generator.trace();
        let first_ns = trace.frame(next).at.0;
        self.began_ns.get_or_insert(first_ns);
        if self.ring.held.is_empty() && self.now_ns < first_ns {
            let until = (self.now_ns + REST_NS).max(first_ns);
            if self.now_ns > 0 {
                self.idle_ns += until - self.now_ns;
            }
            self.now_ns = until;
        }
        while next < trace.len() {
            let frame = trace.frame(next);
            if frame.at.0 > self.now_ns {
                break;
            }
            self.ring.push(&frame);
            next += 1;
        }
        next
    }

    /// The worker takes a batch, and the writer what there is time for.
    fn work(&mut self, cost_ns: u64, writer_ns: Option<u64>) -> io::Result<()> {
        let batch = self.ring.batch();
        let (taken, shed) = (batch.len(), self.worker.counters()[Counter::FramesShed]);
        process(&mut self.worker, &mut self.watermarks, &batch);
        drop(batch);
        self.ring.give_back(taken);
        let shed = self.worker.counters()[Counter::FramesShed] - shed;
        self.now_ns += (taken as u64 - shed) * cost_ns + shed * cost_ns / SHED_CHEAPER;
        self.batches = self.batches.wrapping_add(1);
        if self.batches.is_multiple_of(LOOK_BATCHES) || self.ring.held.is_empty() {
            self.look();
        }
        self.writer.write(self.now_ns, writer_ns, &mut self.truth)
    }

    fn look(&mut self) {
        let filled = self.ring.held.len() as f64 / RING_FRAMES as f64;
        let look = Look {
            at_ns: self.now_ns - self.began_ns.unwrap_or_default(),
            fullest: filled,
            filled,
            turned: self.ring.taken as f64 / RING_FRAMES as f64,
            lost: self.ring.dropped,
            idle_ns: self.idle_ns,
        };
        if self.overload.look(&look) {
            self.worker.leave_out(self.overload.parts(), Timestamp(self.now_ns));
        }
    }
}

/// Frames that wait for the worker, each in its place.
struct Ring {
    bytes: Vec<u8>,
    held: VecDeque<(Timestamp, usize)>,
    /// Frames that were taken out, and those that there was no room for.
    taken: u64,
    dropped: u64,
}

impl Ring {
    fn new() -> Ring {
        Ring {
            // Touched at once, so that it does not grow later.
            bytes: vec![1; RING_FRAMES * FRAME_BYTES],
            held: VecDeque::with_capacity(RING_FRAMES),
            taken: 0,
            dropped: 0,
        }
    }

    fn place(number: u64) -> usize {
        (number as usize % RING_FRAMES) * FRAME_BYTES
    }

    fn push(&mut self, frame: &Frame<'_>) {
        if self.held.len() == RING_FRAMES || frame.bytes.len() > FRAME_BYTES {
            self.dropped += 1;
            return;
        }
        let place = Ring::place(self.taken + self.held.len() as u64);
        self.bytes[place..place + frame.bytes.len()].copy_from_slice(frame.bytes);
        self.held.push_back((frame.at, frame.bytes.len()));
    }

    fn batch(&self) -> Batch<'_> {
        let held = self.held.iter().take(BATCH_FRAMES).enumerate();
        held.map(|(index, &(at, length))| {
            let place = Ring::place(self.taken + index as u64);
            let bytes = &self.bytes[place..place + length];
            Frame { bytes, wire_len: length as u32, at, link: LinkType::Ethernet }
        })
        .collect()
    }

    fn give_back(&mut self, frames: usize) {
        self.held.drain(..frames);
        self.taken += frames as u64;
    }
}

/// The writer's side.
struct Writer {
    inbox: Inbox<Message>,
    sink: JsonlSink,
    labels: Labels,
    /// When it has done what it took.
    free_ns: u64,
    written: u64,
}

impl Writer {
    /// Writes what there is time for up to `now_ns`, if a record takes `record_ns`; otherwise all there is.
    fn write(&mut self, now_ns: u64, record_ns: Option<u64>, truth: &mut Truth) -> io::Result<()> {
        while record_ns.is_none() || self.free_ns <= now_ns {
            let Some(message) = self.inbox.take() else { break };
            if let Message::Records(batch) = &message {
                self.sink.write(batch, &self.labels).map_err(io::Error::other)?;
                let records = batch.transactions.len() as u64;
                self.written += records;
                if let Some(record_ns) = record_ns {
                    self.free_ns = self.free_ns.max(now_ns) + records * record_ns;
                }
                batch.transactions.iter().for_each(|transaction| truth.judge(transaction));
            }
            self.inbox.give_back(message);
        }
        Ok(())
    }
}

/// What really was.
struct Truth {
    connections: HashMap<Endpoint, Connection>,
    /// Of each request whose record has not come: by its connection and its time, what a record says of its reply. A connection
    /// that was left out and is back may find its pairing much later.
    exchanges: HashMap<(u32, u64), Answer>,
    wrong: u64,
}

/// A connection, and what was found of it.
struct Connection {
    number: u32,
    part: usize,
    /// Requests that were answered, and those whose pairs were written.
    answered: u64,
    pairs: u64,
}

/// How a request was answered.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Answer {
    t4: u64,
    request_bytes: u32,
    reply_bytes: u32,
}

impl Truth {
    fn new() -> Truth {
        // So that it does not grow later.
        Truth { connections: HashMap::new(), exchanges: HashMap::with_capacity(TRUTHS), wrong: 0 }
    }

    fn learn(&mut self, exchanges: &[Exchange]) {
        for exchange in exchanges {
            let Exchange { t1, t4, request_bytes, reply_bytes, .. } = *exchange;
            let (client, server) = exchange.endpoints();
            let (number, part) = (self.connections.len() as u32, SPREAD.part(&client, &server));
            let new = Connection { number, part, answered: 0, pairs: 0 };
            let connection = self.connections.entry(client).or_insert(new);
            connection.answered += 1;
            self.exchanges.insert((connection.number, t1), Answer { t4, request_bytes, reply_bytes });
        }
    }

    fn judge(&mut self, record: &Transaction) {
        if !matches!(record.outcome, Outcome::Exact | Outcome::Resynced(_)) {
            return;
        }
        let Transaction { conversation, t1, end, request_bytes, reply_bytes, .. } = record;
        let connection = self.connections.get_mut(&conversation.client);
        let answer = connection.as_ref().and_then(|connection| self.exchanges.remove(&(connection.number, t1.0)));
        match (connection, answer) {
            (Some(connection), Some(answer))
                if answer.t4 == end.0
                    && u64::from(answer.request_bytes) == *request_bytes
                    && u64::from(answer.reply_bytes) == *reply_bytes =>
            {
                connection.pairs += 1;
            }
            _ => self.wrong += 1,
        }
    }

    /// Connections that were kept where these parts were left out, and those of them that are whole.
    fn whole(&self, parts: usize) -> (u64, u64) {
        let kept = self.connections.values().filter(|connection| connection.part >= parts);
        let is_whole = |connection: &&Connection| connection.answered == connection.pairs;
        (kept.clone().count() as u64, kept.filter(is_whole).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use resptap::units::Conversation;

    use super::*;
    use crate::generator::Profile;

    #[test]
    fn what_must_hold_is_looked_at() {
        let good = Overloaded {
            packets: 100,
            processed: 40,
            shed: 50,
            dropped: 10,
            transactions: 20,
            written: 15,
            unwritten: 5,
            kept: 9,
            whole: Some(9),
            share_max: 0.5,
            resident_before: 1000,
            resident_after: 1030,
            ..Overloaded::default()
        };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Overloaded { whole: Some(8), ..good }.check(), Ok(()), "packets were dropped");
        for bad in [
            Overloaded { processed: 41, ..good },
            Overloaded { packets: 90, dropped: 0, whole: Some(8), ..good },
            Overloaded { written: 14, ..good },
            Overloaded { wrong: 1, ..good },
            Overloaded { packets: 50, shed: 0, ..good },
            Overloaded { kept: 0, whole: Some(0), ..good },
            Overloaded { share_after: 0.1, ..good },
            Overloaded { resident_after: 1031, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reply_of_another_request_is_a_wrong_pair() {
        let mut generator = Generator::new(&Profile::T1.plan(), 1).with_truth();
        generator.next(100_000);
        let mut truth = Truth::new();
        let exchanges = generator.take_truth();
        truth.learn(&exchanges);
        let record = |exchange: &Exchange, reply: &Exchange| {
            let (client, server) = exchange.endpoints();
            Transaction {
                conversation: Conversation { client, server, ..Transaction::EMPTY.conversation },
                t1: Timestamp(exchange.t1),
                end: Timestamp(reply.t4),
                request_bytes: exchange.request_bytes.into(),
                reply_bytes: reply.reply_bytes.into(),
                outcome: Outcome::Exact,
                ..Transaction::EMPTY
            }
        };
        truth.judge(&record(&exchanges[0], &exchanges[0]));
        assert_eq!(truth.wrong, 0);
        truth.judge(&record(&exchanges[1], &exchanges[2]));
        truth.judge(&record(&exchanges[0], &exchanges[0]));
        assert_eq!(truth.wrong, 2, "another's reply, and one that was there before");
        truth.judge(&Transaction { outcome: Outcome::Lost, ..record(&exchanges[3], &exchanges[4]) });
        assert_eq!(truth.wrong, 2, "it is no pair");
    }
}
