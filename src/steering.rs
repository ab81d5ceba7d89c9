//! Who owns a frame, and how the thread that reads a file hands it there; [`mesh`] is how workers of a live capture do.
//!
//! [`Steerer`] decodes headers and gives each worker [`Parcel`]s: where its frames lie in the file's mapping, or, of piped and
//! compressed input and of packets put together from fragments, copies of them. [`Watermarks`] tell all workers, at the same places of the file, how far time has come:
//! deadlines up to there are due, intervals up to there are over. So nothing in the output depends on the number of workers.

pub mod mesh;

use std::sync::Arc;

use crate::capture::file::Mapping;
use crate::capture::{Frame, LinkType};
use crate::counters::Counters;
use crate::decode::fragment::Fragments;
use crate::decode::{Skip, decode};
use crate::flow::hash::Seed;
use crate::flow::key::Keying;
use crate::limits::{PARCEL_BYTES, PARCEL_FRAMES};
use crate::ring::{Closed, Outbox};
use crate::units::Timestamp;

/// How often time is told, if intervals are longer.
const TICK_NS: u64 = 1_000_000_000;

/// Finds the places in a capture where time has passed a tick or an interval's end.
#[derive(Clone, Copy, Debug)]
pub struct Watermarks {
    interval_ns: u64,
    /// The next tick or interval's end.
    next: Timestamp,
}

impl Watermarks {
    /// For intervals of this length.
    pub fn new(interval_ns: u64) -> Watermarks {
        Watermarks { interval_ns, next: Timestamp::NONE }
    }

    /// Whether a frame of this time would be the first of a tick or an interval.
    #[inline]
    pub fn is_due(&self, at: Timestamp) -> bool {
        at >= self.next
    }

    /// A frame of this time comes: time has come to the returned point before it.
    #[inline]
    pub fn pass(&mut self, at: Timestamp) -> Option<Timestamp> {
        if !self.is_due(at) {
            return None;
        }
        let floor = |step: u64| at.0 - at.0 % step;
        let ceiling = |step: u64| Timestamp(floor(step).saturating_add(step));
        let first = !self.next.is_known();
        self.next = ceiling(TICK_NS).min(ceiling(self.interval_ns));
        (!first).then(|| Timestamp(floor(TICK_NS).max(floor(self.interval_ns))))
    }
}

/// Where a frame is.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Timestamp,
    offset: usize,
    length: u32,
    wire_len: u32,
    link: LinkType,
    /// Whether that is in the file's mapping, not in the parcel's own bytes.
    is_mapped: bool,
}

/// Frames on their way to a worker, in order.
#[derive(Debug, Default)]
pub struct Parcel {
    places: Vec<Place>,
    /// The file that places may be in.
    mapping: Option<Arc<Mapping>>,
    bytes: Vec<u8>,
    /// How far time has come behind the frames.
    pub watermark: Option<Timestamp>,
    /// Place in the file up to which frames of this lane have been handed over.
    read_to: usize,
}

impl Parcel {
    /// Frames in it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no frame in it.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A frame. The place is our own state: it lies within the mapping or the bytes.
    #[inline]
    pub fn frame(&self, index: usize) -> Frame<'_> {
        let place = self.places[index];
        let all: &[u8] = match &self.mapping {
            Some(mapping) if place.is_mapped => mapping,
            _ => &self.bytes,
        };
        let bytes = &all[place.offset..place.offset + place.length as usize];
        Frame { bytes, wire_len: place.wire_len, at: place.at, link: place.link }
    }

    /// Empties it, keeping its memory.
    fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
        self.mapping = None;
        self.watermark = None;
        self.read_to = 0;
    }

    fn is_full(&self) -> bool {
        self.places.len() >= PARCEL_FRAMES || self.bytes.len() >= PARCEL_BYTES
    }

    fn push(&mut self, frame: &Frame<'_>, mapping: Option<&Arc<Mapping>>) {
        let mapped = mapping.and_then(|mapping| mapping.offset_of(frame.bytes));
        let offset = if let Some(offset) = mapped {
            if self.mapping.is_none() {
                self.mapping = mapping.cloned();
            }
            self.read_to = offset;
            offset
        } else {
            self.bytes.extend_from_slice(frame.bytes);
            self.bytes.len() - frame.bytes.len()
        };
        let Frame { at, wire_len, link, .. } = *frame;
        let length = frame.bytes.len() as u32;
        self.places.push(Place { at, offset, length, wire_len, link, is_mapped: mapped.is_some() });
    }
}

/// The worker that owns a frame, of `workers`. One that is no segment of interest goes to the first, which counts it; a fragment
/// to nobody.
#[inline]
fn owner(frame: &Frame<'_>, keying: &Keying, seed: Seed, workers: usize) -> Option<usize> {
    let segment = match decode(frame) {
        Ok(segment) => segment,
        Err(Skip::Fragment) => return None,
        Err(_) => return Some(0),
    };
    let Some((key, _)) = keying.of(&segment) else { return Some(0) };
    Some(((u128::from(key.hash(seed)) * workers as u128) >> 64) as usize)
}

/// Hands frames to their workers.
#[derive(Debug)]
pub struct Steerer {
    keying: Keying,
    seed: Seed,
    fragments: Fragments,
    /// Of the frames that no worker gets.
    counters: Counters,
    watermarks: Watermarks,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    outbox: Outbox<Box<Parcel>>,
    parcel: Box<Parcel>,
    /// Boxes, as the ring carries them.
    #[expect(clippy::vec_box, reason = "a box moves through the ring as one pointer")]
    spare: Vec<Box<Parcel>>,
    /// Parcels that are with the worker.
    under_way: usize,
    /// Place in the file up to which the worker is done.
    done_to: usize,
}

impl Steerer {
    /// Over these rings, one a worker.
    pub fn new(outboxes: Vec<Outbox<Box<Parcel>>>, keying: Keying, seed: Seed, interval_ns: u64) -> Steerer {
        let lane = |outbox| Lane { outbox, parcel: Box::default(), spare: Vec::new(), under_way: 0, done_to: 0 };
        Steerer {
            keying,
            seed,
            fragments: Fragments::default(),
            counters: Counters::default(),
            watermarks: Watermarks::new(interval_ns),
            lanes: outboxes.into_iter().map(lane).collect(),
        }
    }

    /// Hands over a frame, which lies in `mapping` if there is one.
    #[inline]
    pub fn steer(&mut self, frame: &Frame<'_>, mapping: Option<&Arc<Mapping>>) -> Result<(), Closed> {
        if let Some(watermark) = self.watermarks.pass(frame.at) {
            self.flush(Some(watermark))?;
        }
        let workers = self.lanes.len();
        match owner(frame, &self.keying, self.seed, workers) {
            Some(owner) => self.lanes[owner].push(frame, mapping),
            None => self.steer_whole(frame),
        }
    }

    /// Takes a fragment, and hands over the packet that became whole by it: its fragments may lie anywhere in the file, and only
    /// the first one has the ports that tell whose it is.
    #[cold]
    fn steer_whole(&mut self, fragment: &Frame<'_>) -> Result<(), Closed> {
        let Some(whole) = self.fragments.join(fragment, &mut self.counters) else { return Ok(()) };
        let owner = owner(&whole, &self.keying, self.seed, self.lanes.len()).unwrap_or(0);
        self.lanes[owner].push(&whole, None)
    }

    /// Nothing more comes. Answers what was counted of frames that no worker got, and the memory that was in use for them.
    pub fn finish(mut self) -> (Counters, u64) {
        // A worker that is gone is reported where it is joined.
        let _ = self.flush(None);
        self.fragments.give_up_all(&mut self.counters);
        (self.counters, self.fragments.memory())
    }

    /// Sends what is collected, and how far time has come.
    pub fn flush(&mut self, watermark: Option<Timestamp>) -> Result<(), Closed> {
        for lane in &mut self.lanes {
            if watermark.is_some() || !lane.parcel.is_empty() {
                lane.send(watermark)?;
            }
        }
        Ok(())
    }

    /// Place in the mapping up to which all workers are done, where the source has been read up to `read_to`.
    pub fn done_to(&mut self, read_to: usize) -> usize {
        let done = self.lanes.iter_mut().map(|lane| {
            lane.collect();
            if lane.under_way == 0 && lane.parcel.is_empty() { read_to } else { lane.done_to }
        });
        done.min().unwrap_or(read_to)
    }

    /// The next frames lie in another file: sends what is collected of this one.
    pub fn next_file(&mut self) -> Result<(), Closed> {
        self.flush(None)?;
        self.lanes.iter_mut().for_each(|lane| lane.done_to = 0);
        Ok(())
    }
}

impl Lane {
    #[inline]
    fn push(&mut self, frame: &Frame<'_>, mapping: Option<&Arc<Mapping>>) -> Result<(), Closed> {
        self.parcel.push(frame, mapping);
        if self.parcel.is_full() { self.send(None) } else { Ok(()) }
    }

    fn send(&mut self, watermark: Option<Timestamp>) -> Result<(), Closed> {
        self.collect();
        let next = self.spare.pop().unwrap_or_default();
        let mut parcel = std::mem::replace(&mut self.parcel, next);
        parcel.watermark = watermark;
        self.under_way += 1;
        self.outbox.send(parcel)
    }

    /// Takes the parcels that came back.
    fn collect(&mut self) {
        while let Some(mut parcel) = self.outbox.reuse() {
            self.under_way -= 1;
            self.done_to = self.done_to.max(parcel.read_to);
            parcel.clear();
            self.spare.push(parcel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_fall_on_ticks_and_interval_ends_before_the_frame_that_passes_them() {
        let second = TICK_NS;
        let mut marks = Watermarks::new(second * 5 / 2);
        let mut pass = |at: u64| marks.pass(Timestamp(at)).map(|mark| mark.0);
        assert_eq!(pass(100 * second + 1), None, "nothing is over at the first frame");
        assert_eq!(pass(100 * second + 2), None);
        assert_eq!(pass(101 * second), Some(101 * second));
        assert_eq!(pass(100 * second), None, "time going back passes nothing");
        assert_eq!(pass(102 * second + 600_000_000), Some(102 * second + 500_000_000));
        assert_eq!(pass(150 * second + 7), Some(150 * second), "a long silence is one step");
    }
}
