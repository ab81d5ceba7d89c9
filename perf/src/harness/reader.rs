//! resptap itself over traffic in memory: a worker as `resptap read` makes it, in this thread, with what is behind it.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use resptap::connection::Settings;
use resptap::counters::{Counter, Counters};
use resptap::decode::decode;
use resptap::decode::ports::PortSet;
use resptap::endpoint::Labels;
use resptap::flow::hash::Seed;
use resptap::flow::key::FlowKey;
use resptap::limits::{BATCH_FRAMES, Budget, LIVE_RECORD_BATCHES_MAX, RECORD_BATCHES, record_texts_bytes};
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
use resptap::sink::Sink;
use resptap::sink::jsonl::{JsonlSink, JsonlTarget};
use resptap::sink::record_json::RecordFormat;
use resptap::steering::Watermarks;
use resptap::worker::emission::Emission;
use resptap::worker::recording::Recording;
use resptap::worker::{Batch, Worker};

use crate::frame::SERVER_PORT;
use crate::generator::{Plan, Trace};
use crate::random::{MILLISECOND, SECOND};

/// From one interval of time to the next, as `resptap read` has it.
pub(super) const INTERVAL_NS: u64 = 10 * SECOND;
/// `--memory`, if connections don't need more.
const MEMORY: u64 = 1 << 30;
/// More than a connection takes of it, in bytes.
const MEMORY_PER_CONNECTION: u64 = 1536;
/// The same of one that has to find its pairing again and again.
const MEMORY_PER_RESYNC: u64 = 3 << 20;
/// The flow table's, in every run the same.
const SEED: Seed = Seed::fixed(7);

/// What becomes of transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Statistics alone: A.
    Aggregate,
    /// Records through the ring to the writer's side, which throws them away.
    Records,
    /// Records as JSON Lines to a file that takes and forgets them, on the same core: D.
    JsonLines,
}

/// A worker and what is behind it.
pub struct Reader {
    worker: Worker,
    watermarks: Watermarks,
    inbox: Inbox<Message>,
    sink: Option<JsonlSink>,
    labels: Labels,
    /// Records that came out of the ring.
    records: u64,
    emits: bool,
}

/// A worker with memory for what a plan makes, and the writer's end of its ring. `is_live`: it does not wait for the writer.
pub(super) fn worker(emits: bool, is_live: bool, plan: &Plan) -> (Worker, Inbox<Message>) {
    let table = CommandTable::built_in();
    let settings = Settings {
        table,
        acts: Acts::new(table),
        possible: Possible::new(table),
        shown: Shown { keys: true, payload_bytes: 0 },
        timeout_ns: 30 * SECOND,
        idle_timeout_ns: 3600 * SECOND,
        resync: Resync::Assume,
        resync_silence_ns: 2 * SECOND,
        reorder_time_ns: 50 * MILLISECOND,
        reorder_packets: 128,
    };
    let emission = Emission {
        emits,
        introduces: false,
        is_live,
        filter: Filter::new(&Criteria::default(), table),
        payload: Payload::Keys,
    };
    let (outbox, inbox) = ring(if is_live { LIVE_RECORD_BATCHES_MAX } else { RECORD_BATCHES });
    let is_whole = plan.faults.loss == 0.0 && !plan.joins;
    let each = if is_whole { MEMORY_PER_CONNECTION } else { MEMORY_PER_RESYNC };
    let budget = Budget::new(MEMORY.max(u64::from(plan.connections) * each), 1);
    let keys = Some(KeyStatistics::new(budget.keys, b':', table, SEED));
    let recording = Recording::new(table, emission, None, SEED, budget.statistics, keys, outbox);
    (Worker::new(settings, PortSet::new([SERVER_PORT]), SEED, &budget, recording), inbox)
}

/// JSON Lines to a file that takes and forgets them.
pub(super) fn discarding_sink() -> io::Result<JsonlSink> {
    let format = RecordFormat {
        sensor: "tap".to_owned(),
        payload: Payload::Keys,
        key_hasher: None,
        table: CommandTable::built_in(),
        cache_bytes: record_texts_bytes(MEMORY),
    };
    JsonlSink::create(&JsonlTarget::Path(PathBuf::from("/dev/null")), &format).map_err(io::Error::other)
}

impl Reader {
    /// With memory for what a plan makes.
    pub fn new(mode: Mode, plan: &Plan) -> io::Result<Reader> {
        let emits = mode != Mode::Aggregate;
        let (worker, inbox) = worker(emits, false, plan);
        Ok(Reader {
            worker,
            watermarks: Watermarks::new(INTERVAL_NS),
            inbox,
            sink: (mode == Mode::JsonLines).then(discarding_sink).transpose()?,
            labels: Labels::default(),
            records: 0,
            emits,
        })
    }

    /// What it counted.
    pub fn counters(&self) -> &Counters {
        self.worker.counters()
    }

    /// Requests that were paired.
    pub fn paired(&self) -> u64 {
        let counters = self.worker.counters();
        counters[Counter::RequestsExact] + counters[Counter::RequestsResynced]
    }

    /// Records that came out of it.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether anything was given up for want of memory: then it is another workload that was measured. Series that are counted as
    /// `other` are not among it.
    pub fn has_evicted(&self) -> bool {
        let counters = self.worker.counters();
        counters.sum("memory", "evicted.") > counters[Counter::EvictedSeries]
    }

    /// Takes frames, as the thread does that reads a file. Not inlined: it is what is measured.
    #[inline(never)]
    pub fn read(&mut self, trace: &Trace) -> io::Result<()> {
        let mut batch = Batch::new();
        let mut from = 0;
        while from < trace.len() {
            let to = (from + BATCH_FRAMES).min(trace.len());
            batch.clear();
            batch.extend(trace.some(from..to));
            self.take(&batch)?;
            from = to;
        }
        Ok(())
    }

    /// Takes frames, and appends what each batch took, in nanoseconds: of the worker alone, nothing is behind it.
    pub fn read_timed(&mut self, trace: &Trace, took: &mut Vec<u64>) -> io::Result<()> {
        let mut from = 0;
        while from < trace.len() {
            let to = (from + BATCH_FRAMES).min(trace.len());
            let batch: Batch<'_> = (from..to).map(|index| trace.frame(index)).collect();
            let began = Instant::now();
            self.take(&batch)?;
            took.push(began.elapsed().as_nanos() as u64);
            from = to;
        }
        Ok(())
    }

    /// Takes some of the frames: those of its shard.
    pub fn read_some(&mut self, trace: &Trace, places: &[u32]) -> io::Result<()> {
        for places in places.chunks(BATCH_FRAMES) {
            let batch: Batch<'_> = places.iter().map(|&index| trace.frame(index as usize)).collect();
            self.take(&batch)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn take(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        process(&mut self.worker, &mut self.watermarks, batch);
        if self.emits { self.drain() } else { Ok(()) }
    }

    /// What the writer does: it takes what is there.
    fn drain(&mut self) -> io::Result<()> {
        while let Some(message) = self.inbox.take() {
            if let Message::Records(batch) = &message {
                self.records += batch.transactions.len() as u64;
                if let Some(sink) = &mut self.sink {
                    sink.write(batch, &self.labels).map_err(io::Error::other)?;
                }
            }
            self.inbox.give_back(message);
        }
        Ok(())
    }

    /// The records that have not been handed over yet are.
    pub fn settle(&mut self) -> io::Result<()> {
        self.worker.hand_over();
        self.drain()
    }
}

/// Has a worker process a batch, and tells it what time it is.
#[inline(always)]
pub(super) fn process(worker: &mut Worker, watermarks: &mut Watermarks, batch: &Batch<'_>) {
    // Hardly ever has it come so far.
    if !batch.iter().any(|frame| watermarks.is_due(frame.at)) {
        return worker.process(batch);
    }
    let mut from = 0;
    for (at, frame) in batch.iter().enumerate() {
        if let Some(watermark) = watermarks.pass(frame.at) {
            worker.process(&batch[from..at]);
            worker.watermark(watermark);
            from = at;
        }
    }
    worker.process(&batch[from..]);
}

/// The frames of each of so many shards, as `resptap read` deals them out to its workers.
pub fn shards(trace: &Trace, shards: usize) -> Vec<Vec<u32>> {
    let ports = PortSet::new([SERVER_PORT]);
    let mut places = vec![Vec::new(); shards];
    for (place, frame) in trace.frames().enumerate() {
        let key = decode(&frame).ok().and_then(|segment| FlowKey::of(&segment, &ports));
        let owner = key.map_or(0, |(key, _)| (u128::from(key.hash(SEED)) * shards as u128) >> 64);
        places[owner as usize].push(place as u32);
    }
    places
}
