//! Captures interfaces: opens them, has threads follow them, watches over these, and says what came.
//!
//! Each worker has a thread, which follows the sockets that bring its connections, of all interfaces and queues, in the order of
//! their frames' times.
//!
//! Time is that of the frames. Where none come it is the wall clock's, less the time that a frame may still be under way, so
//! that timeouts are told and intervals end on an idle interface, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use anyhow::Result;

use crate::capture::live::Interfaces;
use crate::capture::nic::drops::CardMeter;
use crate::capture::{Condition, Source};
use crate::clock::{self, Stopwatch};
use crate::config::values::Poll;
use crate::config::{Config, Live};
use crate::counters::{Counter, Counters, Published};
use crate::export::summary::{Input, InputInterface, InputShed};
use crate::limits::BATCH_FRAMES;
use crate::steering::mesh::{self, Mesh};
use crate::units::Timestamp;
use crate::worker::{Batch, Worker, WorkerReport};

use super::consumer::Alone;
use super::input::Read;
use super::member::Member;
use super::relief::Relief;
use super::spawn;
use super::taps::{Explanation, Taps, described};

/// How often, where no packets come, what there is goes on to whoever waits for it, in nanoseconds: not so often that small pieces
/// fill the rings there.
const IDLE_NS: u64 = 20_000_000;
/// How long is waited for frames before it is looked what time it is.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// The same where other workers have passed some on and may do so again, of which waiting tells nothing.
const IDLE_WAIT_AMONG_OTHERS: Duration = Duration::from_millis(5);
/// How long, after the end, is waited for frames that have come and that a busy kernel has not handed over.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether the capture is to end.
const WATCH_WAIT: Duration = Duration::from_millis(50);
/// Batches after which it is looked how full the rings are.
const LOOK_BATCHES: u32 = 16;
/// The same, whereupon the kernel is asked what it dropped.
const DROPS_BATCHES: u32 = 4096;
const _: () = assert!(DROPS_BATCHES.is_multiple_of(LOOK_BATCHES));

/// Is told how a capture goes, and may end it.
pub trait Observer {
    /// All is opened, for reading and for writing, and nothing has begun: no thread but this one runs. An error ends the capture.
    fn opened(&mut self, opened: Opened) -> Result<()>;

    /// Whether the capture is to end here.
    fn wants_end(&self) -> bool;

    /// How it goes, once each interval.
    fn status(&mut self, status: &Status);
}

/// What was opened for a capture, and what is still to be done with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    /// XDP programs are to be asked for what they counted.
    pub has_xdp: bool,
    /// Settings of network cards are to be put back.
    pub has_changed_cards: bool,
}

/// How a capture goes, since its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Since when.
    pub elapsed: Duration,
    /// Packets seen.
    pub packets: u64,
    /// Requests seen.
    pub requests: u64,
    /// Packets dropped for want of time.
    pub drops: u64,
    /// Packets left out, connection by connection, because there were more than could be carried.
    pub shed: u64,
    /// Packets that network cards had no room for.
    pub missed: u64,
    /// Transactions that the sinks were too slow for.
    pub unwritten: u64,
}

/// What the thread that watches says to those that follow, and they to it.
#[derive(Debug, Default)]
struct Control {
    /// Up to when the capture goes, in nanoseconds; 0: it goes on.
    end: AtomicU64,
    /// Packets dropped so far.
    drops: AtomicU64,
    /// Packets that XDP programs left out so far.
    shed: AtomicU64,
}

impl Control {
    /// All that has come until now is still read.
    fn end_now(&self) {
        // The first end counts.
        let _ = self.end.compare_exchange(0, clock::now().0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn end(&self) -> Option<Timestamp> {
        Some(Timestamp(self.end.load(Ordering::Relaxed))).filter(|end| end.is_known())
    }
}

/// What a thread found that followed some interfaces.
#[derive(Debug, Default)]
struct Followed {
    first: Timestamp,
    last: Timestamp,
    /// How far time came.
    end: Timestamp,
    interfaces: Vec<InputInterface>,
    shed: InputShed,
    /// What was dropped of these.
    counters: Counters,
    problems: Vec<String>,
}

/// Follows the interfaces until the observer wants it to end, the time is over, or one of them is gone.
pub(super) fn capture(
    config: &Config,
    live: &Live,
    mut taps: Taps,
    workers: Vec<Worker>,
    observer: &mut dyn Observer,
) -> Result<(Read, Vec<Option<WorkerReport>>)> {
    let (clock, explanations) = (taps.clock(), taps.explanations());
    tracing::info!("capturing {}", taps.describe());
    let owners = taps.owners;
    let (spread, mut cards) = (std::mem::take(&mut taps.spread), std::mem::take(&mut taps.cards));
    let mesh = mesh::mesh(owners, !taps.are_sorted_out_of_tunnels());
    let spread_workers = workers.into_iter().map(|mut worker| {
        worker.spread_by(owners);
        worker
    });
    let members = spread_workers.zip(mesh).zip(taps.parts);
    let (followed, reports) = follow_all(config, live, members.collect(), &mut cards, observer)?;
    let (mut read, mut reports) = summed(followed, reports, clock, &explanations);
    add_drops(&mut cards, &mut read.summary, &mut reports);
    // The sockets are closed.
    read.problems.extend(spread.end());
    Ok((read, reports))
}

/// Has threads follow the interfaces, each with a worker, its end of the mesh, and its part of the sockets.
fn follow_all(
    config: &Config,
    live: &Live,
    members: Vec<((Worker, Mesh), Interfaces)>,
    cards: &mut [CardMeter],
    observer: &mut dyn Observer,
) -> Result<(Vec<Followed>, Vec<Option<WorkerReport>>)> {
    let published: Vec<Arc<Published>> = members.iter().map(|((worker, _), _)| worker.published()).collect();
    let control = Arc::new(Control::default());
    let mut watched = Watched { control: Arc::clone(&control), published, cards, interval_ns: config.interval_ns };
    let (poll, is_alone) = (live.poll, members.len() == 1);
    let mut threads = Vec::new();
    for (number, ((worker, mesh), tap)) in members.into_iter().enumerate() {
        let (control, interval_ns) = (Arc::clone(&control), config.interval_ns);
        let follow = move || {
            let alone = Alone::new(number, worker, interval_ns, true);
            let mut member = Member::new(alone, (!is_alone).then_some(mesh), tap.lag_ns());
            let followed = follow(tap, &mut member, &control, poll, number == 0);
            let report = member.finish(followed.end);
            (followed, report)
        };
        threads.push(spawn(&format!("worker-{number}"), config.cpus.get(number).copied(), follow)?);
    }
    let joined = watched.join(threads, live.duration_ns, observer);
    Ok(joined.into_iter().map(Option::unwrap_or_default).unzip())
}

/// Follows interfaces with a worker until the end, and reads what is in their rings then.
fn follow(mut tap: Interfaces, member: &mut Member, control: &Control, poll: Poll, speaks: bool) -> Followed {
    let mut followed = Followed::default();
    let (mut relief, mut told) = (Relief::new(), (0, 0));
    let (mut batches, mut quiet, mut idled) = (0u32, 0, Timestamp::NONE);
    // Since when it is over, and how many frames had come then.
    let mut over: Option<(Stopwatch, u64)> = None;
    loop {
        let mut batch = Batch::new();
        let Ok(_) = tap.poll(BATCH_FRAMES, &mut |frame| batch.push(frame));
        let last = batch.last().map(|frame| frame.at);
        for frame in &batch {
            if !followed.first.is_known() || frame.at < followed.first {
                followed.first = frame.at;
            }
            followed.last = followed.last.max(frame.at);
        }
        let done = if batch.is_empty() { Ok(()) } else { member.frames(&batch) };
        drop(batch);
        let received = done.and_then(|()| member.receive());
        let mut done = received.map(|_| ());
        let reached = last.unwrap_or_else(|| tap.settled());
        followed.end = followed.end.max(reached);
        // Not each time: between two packets there are many.
        if last.is_none() && (reached < idled || reached.since(idled) >= IDLE_NS) {
            idled = reached;
            done = done.and_then(|()| member.idle(reached));
            if let Some((name, condition)) = tap.news() {
                followed.hear(name, condition, control, speaks);
            }
        }
        if control.end().is_some_and(|end| reached >= end) {
            let (since, arrived) = *over.get_or_insert_with(|| (Stopwatch::start(), tap.arrived()));
            if tap.taken() >= arrived || since.elapsed() >= LAST_WAIT {
                break;
            }
        }
        if done.is_err() {
            break;
        }
        batches = batches.wrapping_add(1);
        quiet = if last.is_none() && received == Ok(false) { quiet + 1 } else { 0 };
        relief.note(quiet);
        let has_rested = poll == Poll::Adaptive && quiet > 0 && tap.rest(quiet, most_wait(member));
        if has_rested || batches.is_multiple_of(LOOK_BATCHES) {
            relief.look(&mut tap, member, has_rested || batches.is_multiple_of(DROPS_BATCHES));
            let (drops, shed) = relief.lost();
            control.drops.fetch_add(drops - told.0, Ordering::Relaxed);
            control.shed.fetch_add(shed - told.1, Ordering::Relaxed);
            told = (drops, shed);
        }
    }
    followed.shed = relief.shed();
    for source in tap.sources_mut() {
        followed.interfaces.push(described(source, &mut followed.counters));
    }
    followed
}

fn most_wait(member: &Member) -> Duration {
    if member.has_received() { IDLE_WAIT_AMONG_OTHERS } else { IDLE_WAIT }
}

impl Followed {
    /// Something has become of an interface.
    fn hear(&mut self, name: &str, condition: Condition, control: &Control, speaks: bool) {
        match condition {
            Condition::WentDown if speaks => {
                tracing::warn!("{name} is down: nothing is captured until it is up again (ip link set {name} up)");
            }
            Condition::WentDown => {}
            Condition::Gone => {
                self.problems.push(format!(
                    "{name} is gone: the interface was removed, or moved to another network namespace; what it had brought until \
                     then is reported"
                ));
                control.end_now();
            }
        }
    }
}

/// What a capture is watched by.
struct Watched<'c> {
    control: Arc<Control>,
    published: Vec<Arc<Published>>,
    cards: &'c mut [CardMeter],
    interval_ns: u64,
}

impl Watched<'_> {
    /// Waits for the threads to end, or has them end when it is time; answers what each found, unless it panicked.
    fn join<T>(
        &mut self,
        threads: impl IntoIterator<Item = JoinHandle<T>>,
        duration_ns: Option<u64>,
        observer: &mut dyn Observer,
    ) -> Vec<Option<T>> {
        let threads: Vec<JoinHandle<T>> = threads.into_iter().collect();
        let watch = Stopwatch::start();
        let duration = duration_ns.map(Duration::from_nanos);
        let interval = Duration::from_nanos(self.interval_ns);
        let mut next = interval;
        while !threads.iter().all(JoinHandle::is_finished) {
            let elapsed = watch.elapsed();
            if observer.wants_end() || duration.is_some_and(|duration| elapsed >= duration) {
                self.control.end_now();
            }
            if elapsed >= next {
                observer.status(&self.status(elapsed));
                // One that is missed is missed.
                next = elapsed + interval;
            }
            let until = duration.map_or(next, |duration| duration.min(next)).saturating_sub(elapsed);
            sleep(until.clamp(Duration::from_millis(1), WATCH_WAIT));
        }
        threads.into_iter().map(|thread| thread.join().ok()).collect()
    }

    fn status(&mut self, elapsed: Duration) -> Status {
        let missed = self.cards.iter_mut().map(CardMeter::missed).sum();
        let sum = |counter| self.published.iter().map(|published| published.read(counter)).sum::<u64>();
        Status {
            elapsed,
            packets: sum(Counter::FramesSeen),
            requests: sum(Counter::Requests),
            drops: self.control.drops.load(Ordering::Relaxed),
            shed: self.control.shed.load(Ordering::Relaxed) + sum(Counter::FramesShed),
            missed,
            unwritten: sum(Counter::RecordsDropped),
        }
    }
}

/// All that was found together. A report counts what the kernel dropped of its interfaces.
fn summed(
    followed: Vec<Followed>,
    mut reports: Vec<Option<WorkerReport>>,
    clock: String,
    explanations: &[Explanation],
) -> (Read, Vec<Option<WorkerReport>>) {
    let mut input = Input::default();
    let mut problems: Vec<String> = Vec::new();
    for (number, one) in followed.into_iter().enumerate() {
        if one.first.is_known() && (!input.first.is_known() || one.first < input.first) {
            input.first = one.first;
        }
        input.last = input.last.max(one.last);
        input.shed = input.shed.max(one.shed);
        problems.extend(one.problems.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
        let own = reports.get_mut(number).and_then(Option::as_mut);
        if let Some(report) = own {
            report.counters.merge(&one.counters);
        }
        for interface in one.interfaces {
            match input.interfaces.iter_mut().find(|known| known.name == interface.name) {
                Some(known) => known.add(interface),
                None => input.interfaces.push(interface),
            }
        }
    }
    for Explanation { name, why, rss } in explanations {
        if let Some(interface) = input.interfaces.iter_mut().find(|interface| interface.name == *name) {
            interface.why.clone_from(why);
            interface.rss = *rss;
        }
    }
    let clock = match input.interfaces.iter().map(InputInterface::unstamped).sum::<u64>() {
        0 => clock,
        packets => format!("{clock}; for {packets} packets that had no stamp, later, as they were handed over"),
    };
    (Read { summary: input, clock, unreadable_packets: 0, problems }, reports)
}

/// Adds what cards dropped of the interfaces. What they missed the first worker's counters take, as if it had.
fn add_drops(cards: &mut [CardMeter], input: &mut Input, reports: &mut [Option<WorkerReport>]) {
    for card in cards {
        let missed = card.missed();
        if let Some(report) = reports.iter_mut().flatten().next() {
            report.counters.add(Counter::CaptureDropsNic, missed);
        }
        if let Some(interface) = input.interfaces.iter_mut().find(|interface| interface.name == card.name()) {
            interface.nic = card.drops().clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::nic::drops::CardDrops;
    use crate::capture::nic::drops::testing;
    use crate::export::summary::{InputQueue, UNSTAMPED};

    fn followed(first: u64, last: u64, packets: u64) -> Followed {
        let interface = InputInterface { name: "a".into(), packets, drops: 1, ..InputInterface::default() };
        let problems = vec!["a is gone".to_owned()];
        Followed {
            first: Timestamp(first),
            last: Timestamp(last),
            end: Timestamp(last),
            interfaces: vec![interface],
            shed: InputShed { share_max: first as f64, duration_ns: 9 - last },
            counters: Counters::default(),
            problems,
        }
    }

    #[test]
    fn what_sockets_of_one_interface_found_is_told_together() {
        let found = vec![followed(5, 9, 3), followed(2, 8, 4), followed(0, 0, 0)];
        let why = [Explanation { name: "a".to_owned(), why: "asked for".to_owned(), rss: Some("one queue") }];
        let (read, _) = summed(found, vec![None, None, None], "its own".to_owned(), &why);
        let interface = &read.summary.interfaces[0];
        assert_eq!(
            (read.clock.as_str(), interface.why.as_str(), interface.rss),
            ("its own", "asked for", Some("one queue"))
        );
        assert_eq!((read.summary.first, read.summary.last), (Timestamp(2), Timestamp(9)));
        assert_eq!(read.summary.interfaces.len(), 1);
        assert_eq!((read.summary.interfaces[0].packets, read.summary.interfaces[0].drops), (7, 3));
        assert_eq!(read.problems, ["a is gone"]);
        assert_eq!(read.summary.shed, InputShed { share_max: 5.0, duration_ns: 9 }, "the most of each");
    }

    #[test]
    fn what_cards_missed_is_counted_once_and_told_of_each() {
        let (one, other) = (testing::Counters::new(7, 0, 0), testing::Counters::new(0, 0, 0));
        let mut cards = [one.meter("a"), other.meter("b")];
        one.set(9, 0, 3);
        other.set(40, 1, 0);
        let of = |name: &str| InputInterface { name: name.to_owned(), ..InputInterface::default() };
        let mut input = Input { interfaces: vec![of("b"), of("a")], ..Input::default() };
        let report =
            || WorkerReport { counters: Counters::default(), memory_peak: 0, replication: Vec::new(), keys: None };
        let mut reports = [None, Some(report()), Some(report())];
        add_drops(&mut cards, &mut input, &mut reports);
        let counted = reports.iter().flatten().map(|report| report.counters[Counter::CaptureDropsNic]);
        assert_eq!(counted.collect::<Vec<u64>>(), [42, 0]);
        let told = |missed, fifo, dropped| CardDrops { missed, fifo, dropped, queues: Vec::new() };
        assert_eq!(
            input.interfaces.into_iter().map(|one| one.nic).collect::<Vec<_>>(),
            [told(40, 1, 0), told(2, 0, 3)]
        );
        let mut watched = Watched { control: Arc::default(), published: Vec::new(), cards: &mut cards, interval_ns: 1 };
        assert_eq!(watched.status(Duration::ZERO).missed, 42);
    }

    #[test]
    fn packets_without_a_stamp_are_told_with_the_clock() {
        let mut one = followed(5, 9, 3);
        one.interfaces[0].queues = vec![InputQueue { xdp: vec![("kept", 3), (UNSTAMPED, 2)], ..InputQueue::default() }];
        let (read, _) = summed(vec![one], vec![None], "its own".to_owned(), &[]);
        assert!(read.clock.starts_with("its own; for 2 packets that had no stamp"), "{}", read.clock);
    }

    #[test]
    fn the_first_end_counts() {
        let control = Control::default();
        assert_eq!(control.end(), None);
        control.end_now();
        let end = control.end();
        sleep(Duration::from_millis(2));
        control.end_now();
        assert!(end.is_some() && control.end() == end);
    }
}
