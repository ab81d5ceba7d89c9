//! A worker whose connections want more memory than there is: it keeps within its budget, counts what gives way, and goes on
//! to pair what honest connections say. `scripts/memory` measures the same as a process, with more of everything.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;

use resptap::capture::{Frame, LinkType};
use resptap::counters::{Counter, Counters};
use resptap::record::Message;
use resptap::redis::command::CommandTable;
use resptap::redis::pairing::Outcome;
use resptap::ring::Inbox;
use resptap::steering::Watermarks;
use resptap::units::Timestamp;
use resptap_perf::hostile::{self, ANSWER_NS, Case, Facts};

use common::drive::{Options, worker};
use common::packet::SECOND;

thread_local! {
    /// Bytes that this thread has allocated and not freed, and the most of them so far; `None` where they are not counted.
    static LIVE: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

struct Counting;

// SAFETY: everything is left to the system's allocator; counting touches only this thread's cell.
#[expect(unsafe_code, reason = "an allocator can't be written otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), size);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(freed: usize, allocated: usize) {
    // A thread that is ending has no cell any more.
    let _ = LIVE.try_with(|live| {
        if let Some((so_far, most)) = live.get() {
            let now = (so_far + allocated).saturating_sub(freed);
            live.set(Some((now, most.max(now))));
        }
    });
}

/// The frames of a capture as `resptap_perf` writes it.
fn frames(capture: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let mut rest = &capture[24..];
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_at_checked(16)?;
        let wire_len = number(&header[8..12]);
        let (bytes, behind) = behind.split_at(wire_len as usize);
        rest = behind;
        let at = Timestamp(u64::from(number(&header[..4])) * SECOND + u64::from(number(&header[4..8])));
        Some(Frame { bytes, wire_len, at, link: LinkType::Ethernet })
    })
}

/// What a case came to.
struct Ran {
    facts: Facts,
    counters: Counters,
    /// Most bytes that the worker had at a time.
    peak: u64,
    /// Requests of honest connections that were paired, and those of them with a reply that is not theirs.
    honest: u64,
    wrong: u64,
}

fn run(case: Case, connections: u64, memory: u64) -> Ran {
    let mut capture = Vec::new();
    let facts = hostile::write(case, connections, 1, &mut capture).expect("a vector takes everything");
    let mut ran = Ran { facts, counters: Counters::default(), peak: 0, honest: 0, wrong: 0 };
    LIVE.set(Some((0, 0)));
    let (mut worker, mut inbox) = worker(Options { memory, payload_bytes: 0, ..Options::default() });
    let mut watermarks = Watermarks::new(10 * SECOND);
    let mut last = Timestamp::NONE;
    for frame in frames(&capture) {
        if let Some(watermark) = watermarks.pass(frame.at) {
            worker.watermark(watermark);
        }
        worker.process(&[frame]);
        last = frame.at;
        ran.collect(&mut inbox);
    }
    ran.counters = worker.finish(last).counters;
    ran.collect(&mut inbox);
    ran.peak = LIVE.take().map_or(0, |(_, most)| most as u64);
    ran
}

impl Ran {
    fn collect(&mut self, inbox: &mut Inbox<Message>) {
        while let Some(message) = inbox.take() {
            if let Message::Records(batch) = &message {
                // Nobody else uses GET.
                let get = CommandTable::built_in().find(b"GET").expect("it is in the table");
                for transaction in batch.transactions.iter().filter(|one| one.command == get) {
                    if matches!(transaction.outcome, Outcome::Exact | Outcome::Resynced(_)) {
                        self.honest += 1;
                        self.wrong += u64::from(transaction.times.is_none_or(|times| times.latency() != ANSWER_NS));
                    }
                }
            }
            inbox.give_back(message);
        }
    }
}

#[test]
fn statistics_of_intervals_go_to_and_fro_in_two_boxes() {
    let (mut worker, mut inbox) = worker(Options { interval_ns: Some(10 * SECOND), ..Options::default() });
    let writer = std::thread::spawn(move || {
        let (mut boxes, mut intervals) = (BTreeSet::new(), 0);
        while let Some(message) = inbox.receive() {
            if let Message::Statistics(statistics) = &message {
                intervals += 1;
                // The last one needs not come back, and is as good as a third.
                if intervals <= 1000 {
                    boxes.insert(std::ptr::from_ref(&**statistics).addr());
                }
            }
            inbox.give_back(message);
        }
        (boxes.len(), intervals)
    });
    for interval in 1..=1001 {
        worker.watermark(Timestamp(interval * 10 * SECOND));
    }
    worker.finish(Timestamp(10_011 * SECOND));
    assert_eq!(writer.join().expect("it ended"), (2, 1002));
}

/// The smallest budget that a worker can have.
const MEMORY: u64 = 16 << 20;

#[test]
fn whoever_wants_too_much_memory_gives_way_and_the_honest_are_paired() {
    // Who has not spoken for longer than others, as some honest ones, gives way where all have spoken.
    let least_percent = |case: Case| if case == Case::Names { 90 } else { 100 };
    for (case, connections, gives_way) in [
        (Case::Syn, 40_000, Counter::EvictedConnections),
        (Case::HalfOpen, 40_000, Counter::EvictedConnections),
        (Case::Flood, 40_000, Counter::EvictedConnections),
        (Case::Holes, 8_000, Counter::EvictedPages),
        (Case::Headers, 8_000, Counter::EvictedMessages),
        (Case::Nested, 8_000, Counter::EvictedMessages),
        (Case::Transactions, 200, Counter::EvictedRequests),
        (Case::Unread, 1_000, Counter::EvictedRequests),
        (Case::Midstream, 100, Counter::EvictedResyncs),
        (Case::Names, 30_000, Counter::EvictedConnections),
        (Case::Keys, 3, Counter::KeysGivenUp),
        (Case::Series, 20_000, Counter::EvictedSeries),
        (Case::Fragments, 2_000, Counter::EvictedFragments),
    ] {
        let Ran { facts, counters, peak, honest, wrong } = run(case, connections, MEMORY);
        assert!(counters[gives_way] > 0, "{case:?}: nothing of {gives_way:?}");
        assert!(peak <= MEMORY, "{case:?}: {peak} bytes are more than {MEMORY}");
        assert_eq!(wrong, 0, "{case:?}: honest requests that were paired with another's reply");
        let least = facts.honest * least_percent(case) / 100;
        assert!(honest >= least, "{case:?}: {honest} of {} honest requests were paired", facts.honest);
    }
}
