//! Any capture file through a whole worker: real captures, mutated. The laws of the summary hold, and all pools are empty at
//! the end (the worker's own assertions, `common::drive`).

use resptap::capture::Frame;
use resptap::counters::Counter;
use resptap::units::Timestamp;

use super::common::drive::run_frames;
use super::files;
use super::segments::options;

/// What the run goes by (1), then a file.
pub fn run(data: &[u8]) {
    let Some((&how, file)) = data.split_first() else { return };
    let content = files::read(&files::file(file), false);
    let frames: Vec<Frame<'_>> = content
        .frames
        .iter()
        .map(|copy| Frame { bytes: &copy.bytes, wire_len: copy.wire_len, at: Timestamp(copy.at), link: copy.link })
        .collect();
    let outcomes = run_frames(&frames, options(how));
    assert_eq!(outcomes.counters[Counter::FramesSeen], frames.len() as u64);
}
