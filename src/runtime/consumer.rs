//! What takes the frames of a source: a worker in the same thread, or a steerer that hands them to workers in threads of their
//! own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::Frame;
use crate::capture::file::Mapping;
use crate::counters::{Counter, Published};
use crate::limits::BATCH_FRAMES;
use crate::ring::{Closed, Inbox};
use crate::steering::{Parcel, Steerer, Watermarks};
use crate::units::Timestamp;
use crate::worker::{Batch, Worker, WorkerReport};

use super::guard;

/// The mapping of a file that workers read in place.
pub(super) type SharedMapping = Arc<Mapping>;

/// Takes frames, and says how far it is.
pub(super) trait Consumer {
    /// Frames, in the order of the capture, which lie in `mapping` if there is one.
    fn frames(&mut self, frames: &[Frame<'_>], mapping: Option<&SharedMapping>) -> Result<(), Closed>;
    /// The mapping was read up to `read_to`: up to where nobody needs it any more.
    fn done_to(&mut self, read_to: usize) -> usize;
    /// What comes now lies in another file.
    fn next_file(&mut self) -> Result<(), Closed>;
    /// Packets done so far.
    fn packets(&self) -> u64;
}

/// Whether a stream has nothing more at the moment: what reads it live hurries then.
fn is_drained(frames: &[Frame<'_>], mapping: Option<&SharedMapping>) -> bool {
    mapping.is_none() && frames.len() < BATCH_FRAMES
}

/// A single worker, in this thread.
pub(super) struct Alone {
    number: usize,
    worker: Worker,
    /// It has panicked.
    has_failed: bool,
    watermarks: Watermarks,
    /// Records are not kept until there are many: somebody waits for them.
    is_live: bool,
}

impl Alone {
    pub(super) fn new(number: usize, worker: Worker, interval_ns: u64, is_live: bool) -> Alone {
        Alone { number, worker, has_failed: false, watermarks: Watermarks::new(interval_ns), is_live }
    }

    /// Has the worker do something. One that panics is given up.
    fn with(&mut self, run: impl FnOnce(&mut Worker, &mut Watermarks)) -> Result<(), Closed> {
        if self.has_failed {
            return Err(Closed);
        }
        let (worker, watermarks) = (&mut self.worker, &mut self.watermarks);
        let done = guard(self.number, || run(worker, watermarks));
        self.has_failed = done.is_none();
        done.ok_or(Closed)
    }

    /// Nothing more comes at the moment; all that comes is of `at` or later.
    pub(super) fn idle(&mut self, at: Timestamp) -> Result<(), Closed> {
        self.with(|worker, watermarks| {
            if let Some(watermark) = watermarks.pass(at) {
                worker.watermark(watermark);
            }
            worker.hand_over();
        })
    }

    /// From `now` on connections of the parts below this one are left out, and no others. One that has failed has none.
    pub(super) fn leave_out(&mut self, below: usize, now: Timestamp) {
        let _ = self.with(|worker, _| worker.leave_out(below, now));
    }

    /// The capture has ended, at `last`. `None`: the worker had panicked.
    pub(super) fn finish(self, last: Timestamp) -> Option<WorkerReport> {
        if self.has_failed { None } else { guard(self.number, || self.worker.finish(last)) }
    }
}

impl Consumer for Alone {
    fn frames(&mut self, frames: &[Frame<'_>], mapping: Option<&SharedMapping>) -> Result<(), Closed> {
        let is_drained = is_drained(frames, mapping);
        let is_live = self.is_live;
        self.with(|worker, watermarks| {
            let mut from = 0;
            for (at, frame) in frames.iter().enumerate() {
                if let Some(watermark) = watermarks.pass(frame.at) {
                    worker.process(&frames[from..at]);
                    worker.watermark(watermark);
                    if is_live {
                        worker.hand_over();
                    }
                    from = at;
                }
            }
            worker.process(&frames[from..]);
            if is_drained {
                worker.announce();
            }
        })
    }

    fn done_to(&mut self, read_to: usize) -> usize {
        read_to
    }

    fn next_file(&mut self) -> Result<(), Closed> {
        Ok(())
    }

    fn packets(&self) -> u64 {
        self.worker.counters()[Counter::FramesSeen]
    }
}

/// Several workers: this thread reads and steers.
pub(super) struct Steered {
    steerer: Steerer,
    published: Vec<Arc<Published>>,
    /// Workers get what is there as soon as a stream has nothing more at the moment; else when it has been idle for a while.
    hurries: bool,
}

impl Steered {
    pub(super) fn new(steerer: Steerer, published: Vec<Arc<Published>>, hurries: bool) -> Steered {
        Steered { steerer, published, hurries }
    }

    pub(super) fn into_steerer(self) -> Steerer {
        self.steerer
    }
}

impl Consumer for Steered {
    fn frames(&mut self, frames: &[Frame<'_>], mapping: Option<&SharedMapping>) -> Result<(), Closed> {
        let is_drained = is_drained(frames, mapping);
        frames.iter().try_for_each(|frame| self.steerer.steer(frame, mapping))?;
        if self.hurries && is_drained { self.steerer.flush(None) } else { Ok(()) }
    }

    fn done_to(&mut self, read_to: usize) -> usize {
        self.steerer.done_to(read_to)
    }

    fn next_file(&mut self) -> Result<(), Closed> {
        self.steerer.next_file()
    }

    fn packets(&self) -> u64 {
        self.published.iter().map(|counters| counters.read(Counter::FramesSeen)).sum()
    }
}

/// A worker's thread: takes parcels until there are no more. `last`: where the capture ends, known by then.
pub(super) fn work(mut worker: Worker, mut inbox: Inbox<Box<Parcel>>, last: &AtomicU64) -> WorkerReport {
    while let Some(parcel) = inbox.receive() {
        let mut batch = Batch::new();
        for index in 0..parcel.len() {
            batch.push(parcel.frame(index));
            if batch.is_full() {
                worker.process(&batch);
                batch.clear();
            }
        }
        worker.process(&batch);
        drop(batch);
        if let Some(watermark) = parcel.watermark {
            worker.watermark(watermark);
        }
        worker.announce();
        inbox.give_back(parcel);
    }
    worker.finish(Timestamp(last.load(Ordering::Acquire)))
}
