//! Faults on purpose: a [`Source`] around a source that loses, duplicates, delays, cuts off and corrupts frames, as mirror
//! ports do. For tests, and for people who want to see what a capture would have told had it been worse.
//!
//! What happens to a frame is a function of the seed, of the frame's number and of the fault alone: the same seed gives the
//! same faults in every run, and one fault more or less changes none of the others. All frames are copied into buffers of
//! their own, which are used again; a delayed one waits for a bounded number of frames
//! ([`limits::FAULT_REORDER_FRAMES_MAX`](crate::limits::FAULT_REORDER_FRAMES_MAX)), so what is held is bounded. A delayed
//! frame has the time of the frame that it follows, as a tap stamps what it sees when it sees it.
//!
//! Never panics; changes nothing of the order of frames that are not delayed, and nothing at all without faults.

mod spec;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{Frame, LinkType, Polled, Source};
use crate::units::{Direction, Timestamp};
pub use spec::{FaultSpecError, Faults};

/// What was done to the frames of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultCounts {
    /// Frames that came.
    pub frames: u64,
    /// Of these, from clients, and not handed on.
    pub lost_of_clients: u64,
    /// From servers, and not handed on.
    pub lost_of_servers: u64,
    /// Of no observed connection, and not handed on.
    pub lost_of_others: u64,
    /// Handed on twice.
    pub duplicated: u64,
    /// Handed on behind later ones; of a duplicate, each copy may be.
    pub reordered: u64,
    /// Cut off.
    pub truncated: u64,
    /// With a bit that was changed.
    pub flipped: u64,
}

impl FaultCounts {
    /// Frames that were not handed on.
    pub fn lost(&self) -> u64 {
        self.lost_of_clients + self.lost_of_servers + self.lost_of_others
    }
}

/// A copy of a frame.
#[derive(Debug, Default)]
struct Copy {
    bytes: Vec<u8>,
    wire_len: u32,
    at: Timestamp,
    link: LinkType,
}

impl Copy {
    fn frame(&self) -> Frame<'_> {
        Frame { bytes: &self.bytes, wire_len: self.wire_len, at: self.at, link: self.link }
    }
}

/// What faults need beyond a source: it outlives the files of a run, so that their frames are numbered through.
#[derive(Debug)]
pub struct Injector {
    faults: Faults,
    counts: FaultCounts,
    /// Copies that are to be handed out, in order.
    ready: VecDeque<Copy>,
    /// Copies that wait until so many more frames have come.
    delayed: Vec<(u32, Copy)>,
    /// Those that were handed out last.
    out: Vec<Copy>,
    spare: Vec<Copy>,
    /// Time of the last frame.
    now: Timestamp,
}

impl Injector {
    /// For these faults.
    pub fn new(faults: Faults) -> Injector {
        Injector {
            faults,
            counts: FaultCounts::default(),
            ready: VecDeque::new(),
            delayed: Vec::new(),
            out: Vec::new(),
            spare: Vec::new(),
            now: Timestamp::NONE,
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    /// The faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// A frame comes, and meets its fate.
    fn take(&mut self, frame: &Frame<'_>, direction: Option<Direction>) {
        let number = self.counts.frames;
        self.counts.frames += 1;
        self.now = frame.at;
        let lost = match direction {
            Some(Direction::Request) => (self.faults.client_loss, &mut self.counts.lost_of_clients),
            Some(Direction::Reply) => (self.faults.server_loss, &mut self.counts.lost_of_servers),
            None => (self.faults.loss, &mut self.counts.lost_of_others),
        };
        if Draw::new(&self.faults, number, Fault::Loss).is_below(lost.0) {
            *lost.1 += 1;
        } else {
            self.hand_on(frame, number, 0);
            if Draw::new(&self.faults, number, Fault::Duplicate).is_below(self.faults.duplicate) {
                self.counts.duplicated += 1;
                self.hand_on(frame, number, 1);
            }
        }
        self.pass();
    }

    fn hand_on(&mut self, frame: &Frame<'_>, number: u64, copy: u64) {
        let draw = |fault: Fault| Draw::new(&self.faults, 2 * number + copy, fault);
        let mut held = self.spare.pop().unwrap_or_default();
        held.bytes.clear();
        held.bytes.extend_from_slice(frame.bytes);
        (held.wire_len, held.at, held.link) = (frame.wire_len, frame.at, frame.link);
        let mut truncates = draw(Fault::Truncate);
        if truncates.is_below(self.faults.truncate) && !held.bytes.is_empty() {
            held.bytes.truncate(truncates.within(held.bytes.len()));
            self.counts.truncated += 1;
        }
        let mut flips = draw(Fault::Flip);
        if flips.is_below(self.faults.flip) && !held.bytes.is_empty() {
            let (byte, bit) = (flips.within(held.bytes.len()), flips.within(8));
            held.bytes[byte] ^= 1 << bit;
            self.counts.flipped += 1;
        }
        let mut delays = draw(Fault::Reorder);
        if delays.is_below(self.faults.reorder) {
            // Another frame passes it with the next one.
            let frames = 1 + delays.within(self.faults.reorder_frames as usize) as u32;
            self.delayed.push((frames + 1, held));
            self.counts.reordered += 1;
        } else {
            self.ready.push_back(held);
        }
    }

    /// A frame has come: delayed ones are a frame nearer to their end.
    fn pass(&mut self) {
        for (left, _) in &mut self.delayed {
            *left -= 1;
        }
        let now = self.now;
        let due = self.delayed.extract_if(.., |(left, _)| *left == 0);
        self.ready.extend(due.map(|(_, held)| Copy { at: held.at.max(now), ..held }));
    }

    /// No more frames come: the delayed ones follow, the soonest first.
    fn end(&mut self) {
        let now = self.now;
        self.delayed.sort_by_key(|(left, _)| *left);
        self.ready.extend(self.delayed.drain(..).map(|(_, held)| Copy { at: held.at.max(now), ..held }));
    }
}

/// Which fault a number is drawn for.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
enum Fault {
    Loss = 1,
    Duplicate,
    Reorder,
    Truncate,
    Flip,
}

/// Random numbers for one fault of one frame (`SplitMix64`): our own, so that a seed means the same in every version.
struct Draw(u64);

impl Draw {
    fn new(faults: &Faults, number: u64, fault: Fault) -> Draw {
        // The seed is mixed first, so that neighbouring seeds share nothing.
        let seed = Draw(faults.seed).next();
        Draw(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ (fault as u64) << 56)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True with this probability.
    fn is_below(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// From 0 up to, not including, `to`, which is not 0.
    fn within(&mut self, to: usize) -> usize {
        ((u128::from(self.next()) * to as u128) >> 64) as usize
    }
}

/// A source whose frames meet with faults.
pub struct Faulty<'i, S: Source, D> {
    source: S,
    injector: &'i mut Injector,
    direction: D,
    /// How the source has ended.
    ended: Option<Result<(), S::Error>>,
}

impl<'i, S: Source, D: Fn(&Frame<'_>) -> Option<Direction>> Faulty<'i, S, D> {
    /// Around `source`; `direction` tells which way a frame of an observed connection goes.
    pub fn new(source: S, injector: &'i mut Injector, direction: D) -> Faulty<'i, S, D> {
        Faulty { source, injector, direction, ended: None }
    }

    /// The source itself.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S: Source, D: Fn(&Frame<'_>) -> Option<Direction>> Source for Faulty<'_, S, D> {
    type Error = S::Error;

    /// Hands out frames as the source does; where all that it brought are lost or delayed it is asked again.
    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, S::Error> {
        let Faulty { source, injector, direction, ended } = self;
        injector.spare.append(&mut injector.out);
        while injector.ready.is_empty() && ended.is_none() {
            let polled = source.poll(most, &mut |frame| injector.take(&frame, direction(&frame)));
            match polled {
                Ok(Polled::Frames(0)) => break,
                Ok(Polled::Frames(_)) => {}
                Ok(Polled::End) => *ended = Some(Ok(())),
                Err(error) => *ended = Some(Err(error)),
            }
        }
        if ended.is_some() {
            injector.end();
        }
        let frames = most.min(injector.ready.len());
        injector.out.extend(injector.ready.drain(..frames));
        match ended {
            Some(end) if injector.out.is_empty() => std::mem::replace(end, Ok(())).map(|()| Polled::End),
            _ => {
                injector.out.iter().for_each(|held| each(held.frame()));
                Ok(Polled::Frames(frames))
            }
        }
    }
}
