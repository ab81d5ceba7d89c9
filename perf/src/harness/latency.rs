//! How long a worker takes for a batch: nothing else on its core gets to run meanwhile, and what comes waits in its ring.
//!
//! Here alone a clock is read around each batch; the two readings are in what is told.

use std::io;

use resptap::limits::BATCH_FRAMES;

use crate::generator::{Generator, Profile};

use super::reader::{Mode, Reader};
use super::timing::{OPENING_FRAMES, PIECE_BYTES, check};

/// What batches took, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// How many there were.
    pub batches: u64,
    /// Half of them took no longer.
    pub median: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// 999 of 1,000 took no longer.
    pub p999: u64,
    /// None took longer.
    pub max: u64,
}

impl Latency {
    /// Of all that was taken; `None`: nothing was.
    fn of(mut took: Vec<u64>) -> Option<Latency> {
        took.sort_unstable();
        let max = *took.last()?;
        // The first that as many are not above.
        let quantile = |thousandths: usize| took[(took.len() * thousandths).div_ceil(1000).max(1) - 1];
        Some(Latency {
            batches: took.len() as u64,
            median: quantile(500),
            p99: quantile(990),
            p999: quantile(999),
            max,
        })
    }
}

/// Has a worker with all of its statistics take so many pieces of a profile's traffic, batch by batch, when one has warmed it up.
pub fn latency(profile: Profile, pieces: usize, seed: u64) -> io::Result<Latency> {
    let plan = profile.plan();
    let mut generator = Generator::new(&plan, seed);
    let mut reader = Reader::new(Mode::Aggregate, &plan)?;
    while !generator.is_open() {
        generator.next(OPENING_FRAMES);
        reader.read(generator.trace())?;
    }
    let (mut took, mut packets) = (Vec::new(), OPENING_FRAMES);
    for piece in 0..=pieces {
        generator.next(packets);
        let trace = generator.trace();
        if piece == 0 {
            reader.read(trace)?;
        } else {
            took.reserve(trace.len().div_ceil(BATCH_FRAMES));
            reader.read_timed(trace, &mut took)?;
        }
        packets = (PIECE_BYTES * trace.len() as u64 / trace.frame_bytes().max(1)) as usize;
        check(&mut reader, profile, &generator.facts().clone())?;
    }
    Latency::of(took).ok_or_else(|| io::Error::other(format!("{profile}: no batch was timed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_it_says_took_no_longer() {
        let told = |numbers: Vec<u64>| {
            Latency::of(numbers).map(|Latency { batches, median, p99, p999, max }| [batches, median, p99, p999, max])
        };
        assert_eq!(told((1..=10_000).rev().collect()), Some([10_000, 5000, 9900, 9990, 10_000]));
        assert_eq!(told(vec![7, 3, 5]), Some([3, 5, 7, 7, 7]));
        assert_eq!(told(vec![9]), Some([1, 9, 9, 9, 9]));
        assert_eq!(told(Vec::new()), None);
    }

    #[test]
    fn each_batch_is_timed_once() {
        let (mut generator, plan) = (Generator::new(&Profile::T1.plan(), 1), Profile::T1.plan());
        let mut reader = Reader::new(Mode::Aggregate, &plan).expect("there is memory");
        let mut took = Vec::new();
        for _ in 0..3 {
            let trace = generator.next(10_000);
            let before = took.len();
            reader.read_timed(trace, &mut took).expect("nothing is written");
            assert_eq!(took.len() - before, trace.len().div_ceil(BATCH_FRAMES));
        }
        assert!(took.iter().all(|&ns| ns > 0), "a batch takes some time");
        check(&mut reader, Profile::T1, generator.facts()).expect("all was read");
    }
}
