//! resptap over the frames of a capture file, which are in memory: beside what other programs take that read the same file.

use std::io;
use std::path::Path;
use std::time::Instant;

use crate::generator::{Profile, Trace};

use super::reader::{Mode, Reader};

/// What it took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Frames of the file.
    pub packets: u64,
    /// Requests that were paired.
    pub paired: u64,
    /// What each round took, in nanoseconds.
    pub nanoseconds: Vec<u64>,
}

/// Takes a capture of a profile's traffic so many times, each time by a worker that has seen nothing before.
pub fn time(path: &Path, profile: Profile, mode: Mode, rounds: usize) -> io::Result<Timing> {
    let trace = Trace::open(path)?;
    let mut timing = Timing { packets: trace.len() as u64, paired: 0, nanoseconds: Vec::new() };
    for _ in 0..rounds {
        let mut reader = Reader::new(mode, &profile.plan())?;
        let began = Instant::now();
        reader.read(&trace)?;
        reader.settle()?;
        timing.nanoseconds.push(began.elapsed().as_nanos() as u64);
        timing.paired = reader.paired();
        if mode != Mode::Aggregate && reader.records() < reader.paired() {
            let (records, paired) = (reader.records(), reader.paired());
            return Err(io::Error::other(format!("{}: {records} records of {paired} pairs", path.display())));
        }
    }
    Ok(timing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Format, write};

    #[test]
    fn a_file_is_read_as_it_was_made() {
        let path = std::env::temp_dir().join(format!("resptap-perf-file-{}.pcap", std::process::id()));
        let mut capture = Vec::new();
        let facts = write(&Profile::T2.plan(), 1, 20_000, Format::Pcap, &mut capture, None).expect("it is written");
        std::fs::write(&path, &capture).expect("a file");
        let timing = time(&path, Profile::T2, Mode::JsonLines, 2);
        // Half a frame is none.
        std::fs::write(&path, &capture[..capture.len() - 1]).expect("a file");
        let cut = time(&path, Profile::T2, Mode::JsonLines, 1);
        std::fs::remove_file(&path).expect("it is there");
        let timing = timing.expect("it is read");
        assert_eq!((timing.packets, timing.paired), (facts.happened.packets, facts.transactions));
        assert!(timing.nanoseconds.len() == 2 && timing.nanoseconds.iter().all(|&ns| ns > 0));
        assert!(cut.is_err(), "{cut:?}");
    }
}
