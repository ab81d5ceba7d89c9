//! Capture files: pcap and pcapng, mapped or streamed, as a [`Source`].
//!
//! Frames of a mapped file are slices of its [`Mapping`]; frames of a stream borrow its buffer until the next poll. Every
//! whole packet before a fault is handed out before the fault is: [`Source::poll`] first returns the frames and reports
//! the fault when called again, then ends.
//!
//! Promises: no panic on any input; nothing is allocated per packet or by a declared length (a stream's buffer grows with
//! bytes that have arrived, to at most twice the longest block believed, `limits::BLOCK_BYTES_MAX`); a packet costs
//! bounded work.
//!
//! The headers are read by hand rather than with a reader crate: they are a dozen fixed fields, while the crates at hand
//! build a parsed block per packet, options included, and hide its place in the mapping. One of them, pcap-parser, is the
//! oracle in the tests.

mod bytes;
mod error;
mod input;
mod link;
mod pcap;
mod pcapng;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{Fault, FileError, Magic};
pub use input::{Compression, Mapping};
pub use link::link_name;

use super::{Frame, Polled, Source};
use crate::prefetch::prefetch;
use input::{Input, Opened, Stream};
use pcap::Pcap;
use pcapng::Pcapng;

/// How a file is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOptions {
    /// Whether a file that can be mapped is (`--no-mmap` says no).
    pub mmap: bool,
}

/// The unit of a file's times, as a fraction of a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeResolution {
    /// 10⁻ⁿ seconds.
    PowerOfTen(u8),
    /// 2⁻ⁿ seconds.
    PowerOfTwo(u8),
}

impl Default for TimeResolution {
    /// Microseconds, as in pcap and in pcapng where nothing else is said.
    fn default() -> Self {
        TimeResolution::PowerOfTen(6)
    }
}

impl TimeResolution {
    /// From pcapng's `if_tsresol`: the highest bit tells the base, the others the exponent.
    fn from_option(exponent: u8) -> TimeResolution {
        match exponent {
            0..=0x7f => TimeResolution::PowerOfTen(exponent),
            0x80.. => TimeResolution::PowerOfTwo(exponent & 0x7f),
        }
    }

    /// The finer of two.
    fn finer(self, other: TimeResolution) -> TimeResolution {
        let bits = |resolution| match resolution {
            TimeResolution::PowerOfTen(digits) => f64::from(digits) * std::f64::consts::LOG2_10,
            TimeResolution::PowerOfTwo(bits) => f64::from(bits),
        };
        if bits(other) > bits(self) { other } else { self }
    }
}

impl fmt::Display for TimeResolution {
    /// `microseconds`, `10^-4 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeResolution::PowerOfTen(0) => f.write_str("seconds"),
            TimeResolution::PowerOfTen(3) => f.write_str("milliseconds"),
            TimeResolution::PowerOfTen(6) => f.write_str("microseconds"),
            TimeResolution::PowerOfTen(9) => f.write_str("nanoseconds"),
            TimeResolution::PowerOfTen(12) => f.write_str("picoseconds"),
            TimeResolution::PowerOfTen(digits) => write!(f, "10^-{digits} s"),
            TimeResolution::PowerOfTwo(bits) => write!(f, "2^-{bits} s"),
        }
    }
}

/// Packets that were passed over because nothing here reads their link type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// LINKTYPE number.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// Packets so far.
    pub packets: u64,
}

/// What is known of a file, as far as it has been read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// As it was named.
    pub path: PathBuf,
    /// `pcap` or `pcapng`.
    pub format: &'static str,
    /// How it is compressed.
    pub compression: Compression,
    /// The finest unit of its times.
    pub resolution: TimeResolution,
    /// Its length as it is stored, in bytes, where it has one.
    pub size_bytes: Option<u64>,
    /// Interfaces described.
    pub interfaces: u64,
    /// Packets without a time of their own, which were given the time of the packet before (pcapng's simple packets).
    pub untimed: u64,
    /// Packets passed over, by link type; a link type is also listed when its interface had no packet.
    pub unreadable: Vec<Unreadable>,
}

/// What the bytes at a position are.
enum Item<'w> {
    /// A packet; `length` bytes with its header.
    Packet { frame: Frame<'w>, length: usize },
    /// Something else, `length` bytes long.
    Other { length: usize },
    /// It is longer than the window: `needed` bytes at least. A window of any length below that gives the same number, so
    /// that a mapped and a streamed file end with the same words.
    Short { needed: usize },
}

/// A file format, looked at item by item.
trait Format {
    /// What `window`, which lies at `offset` in the file, begins with. The same position may be looked at again; only an
    /// item that is not a packet is then gone for good.
    fn next<'w>(&mut self, window: &'w [u8], offset: u64) -> Result<Item<'w>, Fault>;

    /// What is still to be said when the file has ended at an item's end.
    fn at_end(&self) -> Result<(), Fault> {
        Ok(())
    }
}

#[derive(Debug)]
enum Reader {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// A capture file.
pub struct FileSource {
    path: PathBuf,
    name: String,
    compression: Compression,
    size_bytes: Option<u64>,
    input: Input,
    reader: Reader,
    ended: bool,
}

impl FileSource {
    /// Opens a capture file (`-` is standard input) and reads the beginning of it.
    pub fn open(path: &Path, options: OpenOptions) -> Result<FileSource, FileError> {
        let mut name =
            if path == Path::new("-") { "standard input".to_owned() } else { path.to_string_lossy().into_owned() };
        let result = input::open(path, options.mmap).and_then(|mut opened| {
            if opened.compression != Compression::None {
                name.push_str(" (decompressed)");
            }
            Ok((begin(&mut opened.input)?, opened))
        });
        match result {
            Ok((reader, Opened { input, compression, size })) => Ok(FileSource {
                path: path.to_owned(),
                name,
                compression,
                size_bytes: size,
                input,
                reader,
                ended: false,
            }),
            Err(fault) => Err(FileError { input: name, fault }),
        }
    }

    /// The mapping that frames are slices of; `None` if the file is streamed.
    pub fn mapping(&self) -> Option<Arc<Mapping>> {
        match &self.input {
            Input::Mapped { mapping, .. } => Some(Arc::clone(mapping)),
            Input::Streamed(_) => None,
        }
    }

    /// How much of the file as it is stored has been read, in bytes: to be compared with [`Facts::size_bytes`].
    #[inline]
    pub fn position(&self) -> u64 {
        match &self.input {
            Input::Mapped { position, .. } => *position as u64,
            Input::Streamed(stream) => stream.raw_position(),
        }
    }

    /// What is known of the file so far.
    pub fn facts(&self) -> Facts {
        let (format, resolution, interfaces, untimed) = match &self.reader {
            Reader::Pcap(pcap) => ("pcap", pcap.resolution(), 1, 0),
            Reader::Pcapng(pcapng) => ("pcapng", pcapng.resolution(), pcapng.interfaces_seen(), pcapng.untimed()),
        };
        let unreadable = match &self.reader {
            Reader::Pcap(_) => Vec::new(),
            Reader::Pcapng(pcapng) => pcapng
                .unreadable()
                .iter()
                .map(|(&number, &packets)| Unreadable { number, name: link_name(number), packets })
                .collect(),
        };
        Facts {
            path: self.path.clone(),
            format,
            compression: self.compression,
            resolution,
            size_bytes: self.size_bytes,
            interfaces,
            untimed,
            unreadable,
        }
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource").field("facts", &self.facts()).field("position", &self.position()).finish()
    }
}

impl Source for FileSource {
    type Error = FileError;

    /// Hands out the next frames: at least one, unless the file has ended or `most` is 0.
    #[inline]
    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, FileError> {
        if self.ended {
            return Ok(Polled::End);
        }
        let result = match &mut self.reader {
            Reader::Pcap(format) => poll(format, &mut self.input, most, each),
            Reader::Pcapng(format) => poll(format, &mut self.input, most, each),
        };
        self.ended = !matches!(result, Ok(Polled::Frames(_)));
        result.map_err(|fault| FileError { input: self.name.clone(), fault })
    }
}

/// Reads the beginning of a file: which format it is, and a pcap file's header.
fn begin(input: &mut Input) -> Result<Reader, Fault> {
    fill(input, 4)?;
    let window = input.window();
    if window.is_empty() {
        return Err(Fault::Empty);
    }
    match window.first_chunk::<4>().copied() {
        Some(pcapng::MAGIC) => Ok(Reader::Pcapng(Pcapng::new())),
        Some(magic) if pcap::recognises(magic) => {
            fill(input, pcap::HEADER_BYTES)?;
            let Some(header) = input.window().first_chunk() else {
                return Err(cut_short(input.window(), 0, pcap::HEADER_BYTES));
            };
            let pcap = Pcap::new(header)?;
            input.consume(pcap::HEADER_BYTES);
            Ok(Reader::Pcap(pcap))
        }
        _ => Err(Fault::NotCapture { magic: Magic::of(window) }),
    }
}

/// Sees to it that `needed` bytes are in the window, or all there are.
fn fill(input: &mut Input, needed: usize) -> Result<(), Fault> {
    let Input::Streamed(stream) = input else { return Ok(()) };
    if stream.fill(needed) { Ok(()) } else { stream.take_failure().map_or(Ok(()), Err) }
}

impl Input {
    /// What can be seen, from the first byte that has not been consumed.
    fn window(&self) -> &[u8] {
        match self {
            Input::Mapped { mapping, position } => mapping.get(*position..).unwrap_or_default(),
            Input::Streamed(stream) => stream.window(),
        }
    }

    fn consume(&mut self, bytes: usize) {
        match self {
            Input::Mapped { position, .. } => *position += bytes,
            Input::Streamed(stream) => stream.consume(bytes),
        }
    }
}

#[inline(always)]
fn poll<'a, F: Format>(
    format: &mut F,
    input: &'a mut Input,
    most: usize,
    each: &mut impl FnMut(Frame<'a>),
) -> Result<Polled, Fault> {
    match input {
        Input::Mapped { mapping, position } => {
            let mapping: &'a Mapping = mapping;
            let window = mapping.get(*position..).unwrap_or_default();
            let walk = walk(format, window, *position as u64, most, each);
            *position += walk.consumed;
            if walk.frames > 0 {
                return Ok(Polled::Frames(walk.frames));
            }
            end(format, window.get(walk.consumed..).unwrap_or_default(), *position as u64, walk.stop)
        }
        Input::Streamed(stream) => {
            if let Some(stop) = seek_packet(format, stream)? {
                if let Some(failure) = stream.take_failure() {
                    return Err(failure);
                }
                return end(format, stream.window(), stream.offset(), stop);
            }
            let (window, progress) = stream.window_and_progress();
            let walk = walk(format, window, progress.offset, most, each);
            progress.consume(walk.consumed);
            Ok(Polled::Frames(walk.frames))
        }
    }
}

/// Reads on until the window begins with a whole packet, or `Some` reason why there is none.
fn seek_packet<F: Format>(format: &mut F, stream: &mut Stream) -> Result<Option<Stop>, Fault> {
    loop {
        let needed = match format.next(stream.window(), stream.offset())? {
            Item::Packet { .. } => return Ok(None),
            Item::Other { length } => {
                stream.consume(length);
                continue;
            }
            Item::Short { needed } => needed,
        };
        if !stream.fill(needed) {
            return Ok(Some(Stop::Short { needed }));
        }
    }
}

/// Why a walk stopped.
enum Stop {
    /// It has as many frames as were asked for.
    Full,
    /// The next item is longer than the window.
    Short { needed: usize },
    /// The next item is none.
    Fault(Fault),
}

/// How far ahead of the packet that is handed out memory is asked for.
const PREFETCH_BYTES: usize = 2048;
/// How much, so that of small packets, which are where the time goes, all of it is.
const PREFETCHED_BYTES: usize = 128;

struct Walk {
    frames: usize,
    consumed: usize,
    stop: Stop,
}

/// Hands out frames from `window`, which lies at `offset` in the file, at most `most`.
#[inline(always)]
fn walk<'w, F: Format>(
    format: &mut F,
    window: &'w [u8],
    offset: u64,
    most: usize,
    each: &mut impl FnMut(Frame<'w>),
) -> Walk {
    let mut walk = Walk { frames: 0, consumed: 0, stop: Stop::Full };
    while walk.frames < most {
        let rest = window.get(walk.consumed..).unwrap_or_default();
        if let Some(ahead) = rest.get(PREFETCH_BYTES..).and_then(<[u8]>::first_chunk::<PREFETCHED_BYTES>) {
            prefetch(ahead);
        }
        match format.next(rest, offset + walk.consumed as u64) {
            Ok(Item::Packet { frame, length }) => {
                each(frame);
                walk.frames += 1;
                walk.consumed += length;
            }
            Ok(Item::Other { length }) => walk.consumed += length,
            Ok(Item::Short { needed }) => {
                walk.stop = Stop::Short { needed };
                break;
            }
            Err(fault) => {
                walk.stop = Stop::Fault(fault);
                break;
            }
        }
    }
    walk
}

/// What it means that no frame came, with `rest` left at `offset`.
#[cold]
fn end<F: Format>(format: &F, rest: &[u8], offset: u64, stop: Stop) -> Result<Polled, Fault> {
    match stop {
        Stop::Full => Ok(Polled::Frames(0)),
        Stop::Short { .. } if rest.is_empty() => format.at_end().map(|()| Polled::End),
        Stop::Short { needed } => Err(cut_short(rest, offset, needed)),
        Stop::Fault(fault) => Err(fault),
    }
}

fn cut_short(rest: &[u8], offset: u64, needed: usize) -> Fault {
    Fault::CutShort { offset, needed: needed as u64, available: rest.len() as u64 }
}
