//! Starts the threads of a run, pins them, feeds them, and joins them again.
//!
//! Of files: with one worker the thread that reads is the worker, and only the writer is beside it. With more, the reading thread
//! steers: each worker has a thread and a ring from the reader. A worker that panics is one bug, said loudly: the rest of the
//! analysis is saved.

mod consumer;
mod cores;
mod input;
mod live;
mod member;
pub mod overload;
mod relief;
mod rss;
mod taps;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};

use crate::clock;
use crate::config::values::{Output, SinkSpec};
use crate::config::{Config, Live};
use crate::connection::{ReplicationLink, Settings};
use crate::counters::{Counter, Counters, Published};
use crate::decode::ports::PortSet;
use crate::endpoint::{Labels, process};
use crate::export::hlog::HlogWriter;
use crate::export::summary;
use crate::flow::hash::Seed;
use crate::flow::key::Keying;
use crate::limits::{self, Budget, LIVE_RECORD_BATCHES_MAX, PARCEL_BYTES, PARCELS, RECORD_BATCHES};
use crate::record::Message;
use crate::record::filter::Filter;
use crate::record::keys::KeyStatistics;
use crate::record::totals::Totals;
use crate::record::transaction::RecordBatch;
use crate::redis::arguments::Payload;
use crate::redis::command::CommandTable;
use crate::redis::possible::Possible;
use crate::redis::request::Shown;
use crate::redis::session::Acts;
use crate::ring::{Outbox, ring};
use crate::sink::Sink;
use crate::sink::jsonl::{JsonlSink, JsonlTarget};
use crate::sink::record_json::RecordFormat;
use crate::steering::{Parcel, Steerer};
use crate::units::Timestamp;
use crate::worker::emission::Emission;
use crate::worker::recording::Recording;
use crate::worker::{Worker, WorkerReport};
use crate::writer::{Writer, WriterReport};

use consumer::{Alone, Steered, work};
pub use input::Progress;
pub use live::{Observer, Opened, Status};

/// All that a run found.
#[derive(Debug)]
pub struct Outcome {
    /// When it began, by the wall clock.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What was read.
    pub input: summary::Input,
    /// The finest unit of its times.
    pub clock: String,
    /// All workers' counters together.
    pub counters: Counters,
    /// Replication links.
    pub replication: Vec<ReplicationLink>,
    /// Each worker.
    pub workers: Vec<summary::WorkerReport>,
    /// All statistics.
    pub totals: Totals,
    /// Statistics of keys; `None` where keys are not to be known.
    pub keys: Option<KeyStatistics>,
    /// Bytes of the budget that were in use at the most.
    pub memory_peak: u64,
    /// What went wrong, each a sentence: the exit status is 1 if there is any.
    pub problems: Vec<String>,
}

/// Reads capture files. Fails, before any work, if an output can't be created.
pub fn read(config: &Config, progress: &mut dyn Progress) -> Result<Outcome> {
    let begin = || Ok(());
    analyse(config, begin, |(), workers, seed| match <[Worker; 1]>::try_from(workers) {
        Ok([worker]) => read_alone(config, worker, progress),
        Err(workers) => read_steered(config, workers, seed, progress),
    })
}

/// Captures interfaces. Fails, before any work, if one of them or an output can't be opened. `without_xdp`: why `AF_XDP` is not to be
/// tried unless it is asked for.
pub fn capture(
    config: &Config,
    live: &Live,
    without_xdp: Option<&str>,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let placed = cores::placed(config, live, &usable_cores());
    let config = placed.as_ref().unwrap_or(config);
    let taps = taps::open(config, live, without_xdp)?;
    let opened = taps.opened();
    let begin = || observer.opened(opened).map(|()| observer);
    analyse(config, begin, |observer, workers, _| live::capture(config, live, taps, workers, observer))
}

/// Opens the outputs, has `begin` do what comes before the first thread, starts the writer, has `feed` feed the workers, and adds up what all of them found.
fn analyse<B>(
    config: &Config,
    begin: impl FnOnce() -> Result<B>,
    feed: impl FnOnce(B, Vec<Worker>, Seed) -> Result<(input::Read, Vec<Option<WorkerReport>>)>,
) -> Result<Outcome> {
    let started = clock::now();
    let table = config.table;
    let sinks = sinks(config, table)?;
    let hlog = config.hist_log.as_deref().map(|path| HlogWriter::create(path, config.series)).transpose()?;
    let begun = begin()?;
    let interval_sums_bytes = if hlog.is_some() { limits::interval_sums_bytes(config.memory) } else { 0 };
    let budget = Budget::new(config.memory - interval_sums_bytes - record_texts_bytes(config), config.workers);
    let batches = record_batches(config.files.is_empty(), &budget);
    let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..config.workers).map(|_| ring::<Message>(batches)).unzip();
    let sums_bytes = if hlog.is_some() { interval_sums_bytes } else { u64::MAX };
    let writer = Writer::new(table, inboxes, sinks, hlog, labels(config)?, sums_bytes);
    let writer_core = config.cpus.get(config.workers).copied();
    let writer = spawn("writer", writer_core, move || writer.run())?;
    let seed = Seed::random();
    let workers: Vec<Worker> =
        outboxes.into_iter().map(|outbox| worker(config, table, seed, &budget, outbox)).collect();
    let (input, mut reports) = feed(begun, workers, seed)?;
    let mut problems = input.problems;
    let WriterReport { totals, errors } = writer.join().unwrap_or_else(|_| {
        problems.push("the writer ended by a bug; what it had added up is lost".to_owned());
        WriterReport { totals: Totals::default(), errors: Vec::new() }
    });
    problems.extend(errors.iter().filter(|error| !error.is_enough()).map(ToString::to_string));
    count_unreadable(&mut reports, input.unreadable_packets);
    let mut counters = Counters::default();
    counters.add(Counter::EvictedSeries, totals.given_up);
    let mut memory_peak = 0;
    for (number, report) in reports.iter().enumerate() {
        match report {
            Some(report) => {
                counters.merge(&report.counters);
                memory_peak += report.memory_peak;
            }
            None => problems.push(format!("worker {number} ended by a bug; what it had not sent is lost")),
        }
    }
    let mut replication: Vec<ReplicationLink> =
        reports.iter_mut().flatten().flat_map(|report| std::mem::take(&mut report.replication)).collect();
    // An order that does not depend on the workers.
    replication.sort_by_key(|link| {
        (link.facts.sync_started, link.identity.conversation.client, link.identity.conversation.id)
    });
    let keys = reports.iter_mut().flatten().filter_map(|report| report.keys.take()).reduce(|mut all, one| {
        all.absorb(&one);
        all
    });
    let core = |number: usize| config.cpus.get(number).copied();
    let workers = reports.into_iter().enumerate().map(|(number, report)| summary::WorkerReport {
        core: core(number),
        counters: report.map(|report| report.counters).unwrap_or_default(),
    });
    Ok(Outcome {
        started,
        ended: clock::now(),
        input: input.summary,
        clock: input.clock,
        counters,
        replication,
        workers: workers.collect(),
        totals,
        keys,
        memory_peak,
        problems,
    })
}

/// Batches of records that may be under way from a worker to the writer: where a file waits for the writer few are enough. Live traffic
/// does not, so while the writer is busy the more the better.
fn record_batches(is_live: bool, budget: &Budget) -> usize {
    if !is_live {
        return RECORD_BATCHES;
    }
    let room = budget.rings.saturating_sub((PARCELS * PARCEL_BYTES) as u64) / RecordBatch::BYTES_MAX as u64;
    usize::try_from(room).unwrap_or(usize::MAX).clamp(RECORD_BATCHES, LIVE_RECORD_BATCHES_MAX)
}

/// Packets that no reader could make frames of were there all the same: the first worker's counters take them.
fn count_unreadable(reports: &mut [Option<WorkerReport>], packets: u64) {
    if let Some(report) = reports.iter_mut().flatten().next() {
        report.counters.add(Counter::FramesSeen, packets);
        report.counters.add(Counter::SkipLinkType, packets);
    }
}

fn sinks(config: &Config, table: &'static CommandTable) -> Result<Vec<Box<dyn Sink + Send>>> {
    let format = RecordFormat {
        sensor: config.sensor.clone(),
        payload: config.payload,
        key_hasher: config.key_hasher.clone(),
        table,
        cache_bytes: record_texts_bytes(config) / config.sinks.len().max(1) as u64,
    };
    let mut sinks: Vec<Box<dyn Sink + Send>> = Vec::new();
    for SinkSpec::Jsonl(output) in &config.sinks {
        let target = match output {
            Output::Stdout => JsonlTarget::Stdout,
            Output::File(path) => JsonlTarget::Path(path.clone()),
        };
        sinks.push(Box::new(JsonlSink::create(&target, &format)?));
    }
    Ok(sinks)
}

/// Bytes for texts of connections that all sinks have together.
fn record_texts_bytes(config: &Config) -> u64 {
    if config.sinks.is_empty() { 0 } else { limits::record_texts_bytes(config.memory) }
}

/// Who is behind an address, for the sinks. Processes are looked for in a thread that ends when nobody asks it any more; it
/// is not waited for.
fn labels(config: &Config) -> Result<Labels> {
    let processes = if introduces(config) {
        let (processes, helper) = process::start()?;
        spawn("processes", None, move || helper.run())?;
        Some(processes)
    } else {
        None
    };
    Ok(Labels::new(config.names.clone(), processes))
}

/// Whether somebody wants to know of connections as soon as they are seen.
fn introduces(config: &Config) -> bool {
    config.processes && !config.sinks.is_empty()
}

fn worker(
    config: &Config,
    table: &'static CommandTable,
    seed: Seed,
    budget: &Budget,
    outbox: Outbox<Message>,
) -> Worker {
    let emits = !config.sinks.is_empty();
    let keys_are_shown = config.payload != Payload::None;
    // A filter by key prefix must see keys, even where nobody may.
    let keys = keys_are_shown || emits && !config.filter.key_prefixes.is_empty();
    let payload_bytes = if emits && config.payload == Payload::Full { config.payload_bytes } else { 0 };
    let settings = Settings {
        table,
        acts: Acts::new(table),
        possible: Possible::new(table),
        shown: Shown { keys, payload_bytes },
        timeout_ns: config.timeout_ns,
        idle_timeout_ns: config.idle_timeout_ns,
        resync: config.resync,
        resync_silence_ns: config.resync_silence_ns,
        reorder_time_ns: config.reorder_time_ns,
        reorder_packets: config.reorder_packets,
    };
    let filter = Filter::new(&config.filter, table);
    let is_live = config.files.is_empty();
    let emission = Emission { emits, filter, payload: config.payload, is_live, introduces: introduces(config) };
    let statistics = keys_are_shown.then(|| KeyStatistics::new(budget.keys, config.key_separator, table, seed));
    let interval_ns = config.hist_log.is_some().then_some(config.interval_ns);
    let recording = Recording::new(table, emission, interval_ns, seed, budget.statistics, statistics, outbox);
    Worker::new(settings, keying(config), seed, budget, recording)
}

fn keying(config: &Config) -> Keying {
    Keying { ports: PortSet::new(config.ports.iter().copied()), by_vlan: config.key_by_vlan }
}

/// One worker: this thread reads and works.
fn read_alone(
    config: &Config,
    worker: Worker,
    progress: &mut dyn Progress,
) -> Result<(input::Read, Vec<Option<WorkerReport>>)> {
    if let Some(&core) = config.cpus.first() {
        pin(core)?;
    }
    let mut alone = Alone::new(0, worker, config.interval_ns, false);
    let read = input::read(config, &mut alone, progress)?;
    let report = alone.finish(read.summary.last);
    Ok((read, vec![report]))
}

/// Several workers: this thread reads and steers.
fn read_steered(
    config: &Config,
    workers: Vec<Worker>,
    seed: Seed,
    progress: &mut dyn Progress,
) -> Result<(input::Read, Vec<Option<WorkerReport>>)> {
    let mut steering = Steering::start(config, workers, seed)?;
    let read = input::read(config, &mut steering.consumer, progress)?;
    let last = read.summary.last;
    Ok((read, steering.finish(last)))
}

/// Workers in threads of their own, and what hands frames to them.
struct Steering {
    consumer: Steered,
    threads: Vec<JoinHandle<Option<WorkerReport>>>,
    /// Where the capture ends, once that is known.
    last: Arc<AtomicU64>,
}

impl Steering {
    fn start(config: &Config, workers: Vec<Worker>, seed: Seed) -> Result<Steering> {
        let published: Vec<Arc<Published>> = workers.iter().map(Worker::published).collect();
        let (mut outboxes, mut threads) = (Vec::new(), Vec::new());
        let last = Arc::new(AtomicU64::new(0));
        for (number, worker) in workers.into_iter().enumerate() {
            let (outbox, inbox) = ring::<Box<Parcel>>(PARCELS);
            outboxes.push(outbox);
            let last = Arc::clone(&last);
            let core = config.cpus.get(number).copied();
            let run = move || guard(number, || work(worker, inbox, &last));
            threads.push(spawn(&format!("worker-{number}"), core, run)?);
        }
        let steerer = Steerer::new(outboxes, keying(config), seed, config.interval_ns);
        Ok(Steering { consumer: Steered::new(steerer, published, introduces(config)), threads, last })
    }

    /// The capture has ended, at `last`: so do the workers.
    fn finish(self, last: Timestamp) -> Vec<Option<WorkerReport>> {
        // The workers read it when their rings have closed.
        self.last.store(last.0, Ordering::Release);
        let (counters, memory) = self.consumer.into_steerer().finish();
        let mut reports: Vec<_> = self.threads.into_iter().map(|thread| thread.join().ok().flatten()).collect();
        // As if the first worker had had the frames that none got.
        if let Some(report) = reports.iter_mut().flatten().next() {
            report.counters.merge(&counters);
            report.memory_peak += memory;
        }
        reports
    }
}

/// Runs a worker's part; a panic in it ends that worker only, and is said.
fn guard<T>(number: usize, run: impl FnOnce() -> T) -> Option<T> {
    // What the closure leaves half done is not used again: the worker is given up.
    let ended = catch_unwind(AssertUnwindSafe(run));
    if ended.is_err() {
        tracing::error!("worker {number} panicked: this is a bug in resptap; the other workers go on");
    }
    ended.ok()
}

fn spawn<T: Send + 'static>(
    name: &str,
    core: Option<usize>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    if let Some(core) = core {
        check_core(core)?;
    }
    let run = move || {
        if let Some(core) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
        }
        run()
    };
    Builder::new().name(name.to_owned()).spawn(run).with_context(|| format!("starting the thread {name} failed"))
}

fn pin(core: usize) -> Result<()> {
    check_core(core)?;
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
    Ok(())
}

fn check_core(core: usize) -> Result<()> {
    let usable = usable_cores();
    anyhow::ensure!(
        usable.contains(&core),
        "--cpus names core {core}, which this process may not use; usable: {}",
        usable.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    );
    Ok(())
}

/// The cores that this thread may use.
fn usable_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_live_traffic_more_records_may_wait_as_far_as_the_budget_has_room() {
        let batches = |memory, workers| record_batches(true, &Budget::new(memory, workers));
        assert_eq!(record_batches(false, &Budget::new(1 << 40, 1)), RECORD_BATCHES);
        assert_eq!((batches(1 << 30, 1), batches(1 << 28, 16)), (LIVE_RECORD_BATCHES_MAX, RECORD_BATCHES));
        for workers in [2, 3, 4] {
            let budget = Budget::new(1 << 30, workers);
            let batches = record_batches(true, &budget);
            assert!(batches > RECORD_BATCHES && (batches * RecordBatch::BYTES_MAX) as u64 <= budget.rings, "{batches}");
        }
    }
}
