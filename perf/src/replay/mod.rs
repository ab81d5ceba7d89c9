//! Sends a capture to an interface, at a rate of one's own: what is captured there has a truth that is known.
//!
//! Frames are dealt out to threads by connection, each of which has a socket of its own, so that a connection's frames stay in
//! order. The time of each frame is fixed by its place in the capture ([`Pace`]); a thread that is late sends as fast as it can
//! until it is not. A capture that is sent several times has other client addresses each time ([`Shifter`]): connections begin anew.

mod pace;
mod shift;
mod socket;

pub use pace::Pace;
pub use shift::Shifter;

use std::io;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use resptap::capture::file::{FileError, FileSource, OpenOptions};
use resptap::capture::{Frame, Polled, Source};
use resptap::decode::decode;
use resptap::flow::hash::Seed;
use resptap::limits::BATCH_FRAMES;

use pace::Clock;
use socket::Sender;

/// Frames that are handed to the kernel at once.
const BATCH: usize = 64;
/// How often a thread looks whether time is up while it waits, in nanoseconds.
const LOOK_NS: u64 = 50_000_000;

/// How a capture is sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The interface.
    pub interface: String,
    /// How fast.
    pub pace: Pace,
    /// Threads, each with a socket.
    pub threads: usize,
    /// How many times; 0: until time is up.
    pub loops: u64,
    /// After how long it ends at the latest.
    pub duration: Option<Duration>,
    /// Server ports: the other end's address is the one that changes from loop to loop.
    pub ports: Vec<u16>,
    /// Frames go to the driver without the kernel's queues: faster, but what the card has no room for is lost, not waited for.
    pub bypass: bool,
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sent {
    /// Frames that the kernel took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that it refused.
    pub errors: u64,
    /// Times it had no room, and was asked again.
    pub retries: u64,
    /// How late a frame was at the most, in nanoseconds.
    pub late_ns: u64,
    /// From the first to the last.
    pub seconds: f64,
}

/// The frames of a capture, in memory.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    bytes: Vec<u8>,
    frames: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: usize,
    length: usize,
    /// When it is due, in nanoseconds after the loop began.
    due_ns: u64,
    shifter: Option<Shifter>,
}

/// A capture, dealt out.
#[derive(Debug)]
pub struct Loaded {
    lanes: Vec<Lane>,
    /// How long a loop takes.
    loop_ns: u64,
}

impl Loaded {
    /// Reads a capture into memory.
    pub fn read(path: &Path, options: &Options) -> Result<Loaded, FileError> {
        let mut lanes = vec![Lane::default(); options.threads];
        let mut source = FileSource::open(path, OpenOptions { mmap: true })?;
        let mut clock = Clock::new(options.pace);
        while let Polled::Frames(_) = source.poll(BATCH_FRAMES, &mut |frame| {
            let due_ns = clock.due(frame.at.0, frame.bytes.len());
            lanes[lane_of(&frame, options.threads)].push(&frame, due_ns, &options.ports);
        })? {}
        Ok(Loaded { lanes, loop_ns: clock.end() })
    }

    /// Frames in it.
    pub fn packets(&self) -> usize {
        self.lanes.iter().map(|lane| lane.frames.len()).sum()
    }

    /// Sends it; ends early when `ends` becomes true.
    pub fn send(self, options: &Options, ends: &AtomicBool) -> io::Result<Sent> {
        let senders = self.lanes.iter().map(|_| Sender::open(&options.interface, options.bypass));
        let senders = senders.collect::<io::Result<Vec<_>>>()?;
        let together = Barrier::new(senders.len());
        let loop_ns = self.loop_ns;
        let all = thread::scope(|scope| {
            let threads = self.lanes.into_iter().zip(senders).map(|(mut lane, mut sender)| {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    lane.send(&mut sender, options, loop_ns, ends)
                })
            });
            // All of them run before the first is waited for.
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().expect("a sender does not panic")).collect::<Vec<_>>()
        });
        let mut sum = Sent::default();
        for one in all {
            let one = one?;
            sum.packets += one.packets;
            sum.bytes += one.bytes;
            sum.errors += one.errors;
            sum.retries += one.retries;
            sum.late_ns = sum.late_ns.max(one.late_ns);
            sum.seconds = sum.seconds.max(one.seconds);
        }
        Ok(sum)
    }
}

/// The lane of a frame: both directions of a connection have the same.
fn lane_of(frame: &Frame<'_>, lanes: usize) -> usize {
    let hash = decode(frame).map_or(0, |segment| Seed::fixed(1).of_endpoints(&segment.source, &segment.destination));
    ((u128::from(hash) * lanes as u128) >> 64) as usize
}

impl Lane {
    fn push(&mut self, frame: &Frame<'_>, due_ns: u64, ports: &[u16]) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(frame.bytes);
        let shifter = Shifter::of(frame, ports);
        self.frames.push(Place { offset, length: frame.bytes.len(), due_ns, shifter });
    }

    fn send(&mut self, sender: &mut Sender, options: &Options, loop_ns: u64, ends: &AtomicBool) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let began = Instant::now();
        let end_ns = options.duration.map_or(u64::MAX, |duration| duration.as_nanos() as u64);
        let now = || began.elapsed().as_nanos() as u64;
        let mut number = 0;
        'loops: while options.loops == 0 || number < options.loops {
            let loop_began_ns = loop_ns.saturating_mul(number);
            let mut from = 0;
            while from < self.frames.len() {
                let at = now();
                if at >= end_ns || ends.load(Ordering::Relaxed) {
                    break 'loops;
                }
                let due = self.frames[from].due_ns.saturating_add(loop_began_ns);
                if due > at {
                    wait((due - at).min(LOOK_NS));
                    continue;
                }
                sent.late_ns = sent.late_ns.max(if options.pace == Pace::FlatOut { 0 } else { at - due });
                let batch = &self.frames[from..(from + BATCH).min(self.frames.len())];
                // Those that are due, too.
                let count = batch.partition_point(|place| place.due_ns.saturating_add(loop_began_ns) <= at);
                let batch = &batch[..count.max(1)];
                for place in batch {
                    if let Some(shifter) = &place.shifter {
                        shifter.set(&mut self.bytes[place.offset..place.offset + place.length], number);
                    }
                }
                let frames = batch.iter().map(|place| &self.bytes[place.offset..place.offset + place.length]);
                sender.send(frames, &mut sent)?;
                from += batch.len();
            }
            number += 1;
            if self.frames.is_empty() {
                break;
            }
        }
        sent.seconds = began.elapsed().as_secs_f64();
        Ok(sent)
    }
}

/// Waits so many nanoseconds: asleep where that is exact enough.
fn wait(nanoseconds: u64) {
    // What waking up may take.
    const WAKING_NS: u64 = 100_000;
    if nanoseconds > 2 * WAKING_NS {
        thread::sleep(Duration::from_nanos(nanoseconds - WAKING_NS));
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Generator, Profile};

    #[test]
    fn lanes_keep_connections_whole_and_in_order() {
        let mut generator = Generator::new(&Profile::T1.plan(), 1);
        let trace = generator.next(30_000);
        let mut lanes = vec![Lane::default(); 4];
        let mut last_of = std::collections::HashMap::new();
        for (number, frame) in trace.frames().enumerate() {
            let lane = lane_of(&frame, 4);
            lanes[lane].push(&frame, number as u64, &[6379]);
            let segment = decode(&frame).unwrap();
            let ends = (segment.source.min(segment.destination), segment.source.max(segment.destination));
            assert_eq!(*last_of.entry(ends).or_insert(lane), lane);
        }
        for lane in &lanes {
            assert!((6_000..9_000).contains(&lane.frames.len()), "{}", lane.frames.len());
            assert!(lane.frames.is_sorted_by_key(|place| place.due_ns));
        }
    }
}
