//! Reads capture files one after the other, and says what was read.

use std::path::Path;

use anyhow::Result;

use crate::capture::fault::{Faulty, Injector};
use crate::capture::file::{Compression, Facts, FileError, FileSource, OpenOptions};
use crate::capture::{Frame, Polled, Source};
use crate::config::Config;
use crate::decode::decode;
use crate::decode::ports::PortSet;
use crate::export::summary::{Input, InputFile};
use crate::flow::key::FlowKey;
use crate::limits::BATCH_FRAMES;
use crate::ring::Closed;
use crate::units::Direction;
use crate::worker::Batch;

use super::consumer::Consumer;

/// Bytes of a mapped file after which what has been read is given back to the system.
const RELEASE_BYTES: usize = 256 << 10;
/// Batches after which progress is told.
const PROGRESS_BATCHES: u32 = 1024;

/// Is told how far the reading is, and may end it.
pub trait Progress {
    /// Whether the reading is to end here, as if the capture did.
    fn wants_end(&self, is_standard_input: bool) -> bool {
        let _ = is_standard_input;
        false
    }

    /// Bytes read of all files, and packets done.
    fn update(&mut self, bytes: u64, packets: u64);
}

/// What was read.
pub(super) struct Read {
    /// For the summary.
    pub(super) summary: Input,
    /// Whose clock, and how fine.
    pub(super) clock: String,
    /// Packets on interfaces whose link type is not supported.
    pub(super) unreadable_packets: u64,
    /// What went wrong, each a sentence.
    pub(super) problems: Vec<String>,
}

/// Reads all files of the configuration into `consumer`. A file that can't be read, or not to its end, is a problem of its
/// own; the others are read all the same.
pub(super) fn read(config: &Config, consumer: &mut impl Consumer, progress: &mut dyn Progress) -> Result<Read> {
    let mut read =
        Read { summary: Input::default(), clock: String::new(), unreadable_packets: 0, problems: Vec::new() };
    let mut injector = config.fault.clone().map(Injector::new);
    let ports = PortSet::new(config.ports.iter().copied());
    let direction_of = |frame: &Frame<'_>| direction_of(frame, &ports);
    // A single worker has done with a block before the next one is read: copying that costs less than faulting its pages in, and
    // the cache has it. Several have frames under way, which a mapping keeps where they are.
    let mmap = config.mmap && config.workers > 1;
    let mut bytes_before = 0;
    for path in &config.files {
        let mut file = InputFile { path: path.display().to_string(), ..InputFile::default() };
        match FileSource::open(path, OpenOptions { mmap }) {
            Err(error) => file.problem = Some(error.to_string()),
            Ok(mut source) => {
                let summary = &mut read.summary;
                let ended = if let Some(injector) = &mut injector {
                    let before = injector.counts().frames;
                    let mut faulty = Faulty::new(&mut source, injector, direction_of);
                    let ended = read_file(&mut faulty, &mut file, summary, consumer, bytes_before, progress);
                    // Those of the file, whatever became of them.
                    file.packets = injector.counts().frames - before;
                    ended
                } else {
                    read_file(&mut source, &mut file, summary, consumer, bytes_before, progress)
                };
                let facts = source.facts();
                describe(&facts, path, &mut file, &mut read);
                bytes_before += file.bytes;
                consumer.next_file()?;
                ended?;
            }
        }
        let ended = progress.wants_end(is_standard_input(path));
        if let Some(problem) = &file.problem {
            read.problems.push(problem.clone());
        }
        read.summary.files.push(file);
        if ended {
            break;
        }
    }
    read.summary.faults = injector.map(|injector| (injector.faults().clone(), *injector.counts()));
    Ok(read)
}

/// Which way a frame of an observed connection goes.
fn direction_of(frame: &Frame<'_>, ports: &PortSet) -> Option<Direction> {
    let segment = decode(frame).ok()?;
    FlowKey::of(&segment, ports).map(|(_, direction)| direction)
}

/// Frames of a file: as they are, or with faults.
trait FileFrames: Source<Error = FileError> {
    fn file(&self) -> &FileSource;
}

impl FileFrames for FileSource {
    fn file(&self) -> &FileSource {
        self
    }
}

impl<D: Fn(&Frame<'_>) -> Option<Direction>> FileFrames for Faulty<'_, &mut FileSource, D> {
    fn file(&self) -> &FileSource {
        self.source()
    }
}

fn read_file(
    source: &mut impl FileFrames,
    file: &mut InputFile,
    summary: &mut Input,
    consumer: &mut impl Consumer,
    bytes_before: u64,
    progress: &mut dyn Progress,
) -> Result<(), Closed> {
    // Frames with faults lie in no mapping: the file is streamed then.
    let mapping = source.file().mapping();
    let (mut batches, mut released) = (0u32, 0);
    loop {
        let mut batch = Batch::new();
        let polled = source.poll(BATCH_FRAMES, &mut |frame| {
            if !summary.first.is_known() || frame.at < summary.first {
                summary.first = frame.at;
            }
            summary.last = summary.last.max(frame.at);
            batch.push(frame);
        });
        file.packets += batch.len() as u64;
        consumer.frames(&batch, mapping.as_ref())?;
        drop(batch);
        match polled {
            Ok(Polled::Frames(_)) if progress.wants_end(is_standard_input(Path::new(&file.path))) => {
                let packets = file.packets;
                file.problem =
                    Some(format!("{}: stopped by a signal after {packets} packets; these are reported", file.path));
                break;
            }
            Ok(Polled::Frames(_)) => {}
            Ok(Polled::End) => break,
            Err(error) => {
                file.problem = Some(error.to_string());
                break;
            }
        }
        batches += 1;
        if batches.is_multiple_of(PROGRESS_BATCHES) {
            progress.update(bytes_before + source.file().position(), consumer.packets());
        }
        if let Some(mapping) = &mapping {
            let read_to = source.file().position() as usize;
            if read_to - released > RELEASE_BYTES {
                let done_to = consumer.done_to(read_to);
                if done_to > released {
                    mapping.release(released..done_to);
                    released = done_to;
                }
            }
        }
    }
    file.bytes = source.file().position();
    Ok(())
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn describe(facts: &Facts, path: &Path, file: &mut InputFile, read: &mut Read) {
    file.format = format!("{}, {}", facts.format, facts.resolution);
    if facts.compression != Compression::None {
        file.format = format!("{}, {}", file.format, facts.compression);
    }
    let clock = format!("capture file, {}", facts.resolution);
    if read.clock.is_empty() {
        read.clock = clock;
    } else if read.clock != clock {
        "capture files, several resolutions".clone_into(&mut read.clock);
    }
    for unreadable in &facts.unreadable {
        read.unreadable_packets += unreadable.packets;
        file.packets += unreadable.packets;
        read.problems.push(format!(
            "{}: {} packets are of link type {} ({}), which is not supported; the other interfaces were read",
            path.display(),
            unreadable.packets,
            unreadable.number,
            unreadable.name
        ));
    }
    if facts.untimed > 0 {
        tracing::warn!(
            "{}: {} packets have no time of their own and were given the time of the packet before",
            path.display(),
            facts.untimed
        );
    }
}
