//! The data path allocates nothing after warm-up: a whole capture goes through a worker again and again, and after the
//! warm-up the worker's thread asks the system for no memory.
//!
//! The warm-up is one pass for each of the two statistics boxes that take turns: a histogram grows when it sees a value larger
//! than any before.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use resptap::capture::{Frame, LinkType};
use resptap::counters::Counter;
use resptap::record::Message;
use resptap::ring::Inbox;
use resptap::steering::Watermarks;
use resptap::units::Timestamp;
use resptap::worker::{Batch, Worker};

use common::Random;
use common::drive::{Options, worker};
use common::encapsulate::{Step, encapsulate};
use common::packet::{self, Packet, SECOND};
use common::traffic::{Style, scene};

thread_local! {
    /// Allocations of this thread; `None` where they are not counted.
    static ALLOCATIONS: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

// SAFETY: everything is left to the system's allocator; counting touches only this thread's cell.
#[expect(unsafe_code, reason = "an allocator can't be written otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A thread that is ending has no cell any more.
    let _ = ALLOCATIONS.try_with(|allocations| {
        if let Some(so_far) = allocations.get() {
            allocations.set(Some(so_far + 1));
        }
    });
}

/// How often `run` allocates.
fn allocations(run: impl FnOnce()) -> u64 {
    ALLOCATIONS.set(Some(0));
    run();
    ALLOCATIONS.take().unwrap_or_default()
}

/// A few thousand transactions with some of everything, over several intervals: pipelined and not, split headers, big
/// values, out-of-order and repeated segments, gaps, connections that open and close all the time.
fn capture() -> Vec<Packet> {
    let mut random = Random(20_261_122);
    let mut packets = Vec::new();
    for (round, modes) in [false, true, false].into_iter().enumerate() {
        let style =
            Style { connections: 40, requests: 80, value_bytes: 60_000, stalls: true, modes, ..Style::default() };
        let scene = scene(&style, &mut random);
        let shaken = packet::shake(&scene.packets, &mut random);
        let lossy = packet::drop_some(&shaken, 0.001, 0.001, &mut random);
        packets.extend(lossy.into_iter().map(|packet| Packet {
            at: packet.at + round as u64 * 13 * SECOND,
            port: packet.port + 100 * round as u16,
            ..packet
        }));
    }
    packet::sorted(packets)
}

/// One pass over the capture, `later` in time, with a consumer that takes messages and gives their boxes back.
fn replay(worker: &mut Worker, inbox: &mut Inbox<Message>, marks: &mut Watermarks, frames: &[Frame<'_>], later: u64) {
    for frames in frames.chunks(32) {
        let mut batch = Batch::new();
        for frame in frames {
            let at = Timestamp(frame.at.0 + later);
            if let Some(mark) = marks.pass(at) {
                worker.process(&batch);
                batch.clear();
                worker.watermark(mark);
            }
            batch.push(Frame { at, ..*frame });
        }
        worker.process(&batch);
        while let Some(message) = inbox.take() {
            inbox.give_back(message);
        }
    }
}

#[test]
fn a_replay_after_the_warm_up_allocates_nothing() {
    let mut random = Random(1);
    // Every fourth packet comes through tunnels, in fragments.
    let mut wrap = |packet: &Packet| {
        let nest: &[Step] = if random.chance(0.25) { &[Step::Fragments, Step::Vxlan, Step::Fragments] } else { &[] };
        let frames = encapsulate(packet.frame(), nest, false, &mut random);
        frames.into_iter().map(|frame| (packet.at, frame)).collect::<Vec<_>>()
    };
    let packets: Vec<(u64, Vec<u8>)> = capture().iter().flat_map(&mut wrap).collect();
    let frames: Vec<Frame<'_>> = packets
        .iter()
        .map(|(at, bytes)| Frame { bytes, wire_len: bytes.len() as u32, at: Timestamp(*at), link: LinkType::Ethernet })
        .collect();
    for payload_bytes in [0, 256] {
        let (mut worker, mut inbox) =
            worker(Options { payload_bytes, interval_ns: Some(10 * SECOND), ..Options::default() });
        // As in the later passes, time has begun before the first frame; timers then go off at the same places.
        let mut marks = Watermarks::new(10 * SECOND);
        worker.watermark(Timestamp(packet::EPOCH - SECOND));
        let mut passes = [0; 5];
        for (pass, allocated) in passes.iter_mut().enumerate() {
            let later = pass as u64 * 7200 * SECOND;
            *allocated = allocations(|| replay(&mut worker, &mut inbox, &mut marks, &frames, later));
        }
        assert!(passes[0] > 0, "the first pass allocates, or the count is broken");
        // Each of the two boxes of statistics has then had each of the intervals.
        assert_eq!(passes[3..], [0, 0], "allocations after the warm-up, {payload_bytes} bytes of payload");
        let counters = worker.counters();
        assert!(counters[Counter::RequestsExact] > 4 * 2000, "{}", counters[Counter::RequestsExact]);
        for counter in [
            Counter::OutOfOrder,
            Counter::Gaps,
            Counter::ClosedFin,
            Counter::ClosedRst,
            Counter::RequestsLost,
            Counter::SkipFragmentJoined,
        ] {
            assert!(counters[counter] > 0, "{counter:?} does not occur");
        }
    }
}
