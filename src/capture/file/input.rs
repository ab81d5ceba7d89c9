//! The bytes of a capture file: a mapping of it, or a stream through a buffer.
//!
//! A regular, uncompressed file that nobody has open for writing is mapped. Everything else (pipes, standard input, gzip
//! and zstd, a file that is still being written) is streamed through one buffer, which grows only to hold a longer packet
//! that really arrives. Compression is recognised by its magic bytes, not by name.
//!
//! Nothing here panics. This file and nothing else in the reader is `unsafe`: the mapping, and the question whether a file
//! has a writer.

#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use memmap2::{Advice, Mmap, UncheckedAdvice};

use super::error::Fault;
use crate::limits::FILE_BUFFER_BYTES;

/// How a capture file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// It is not.
    #[default]
    None,
    /// gzip, one or several members.
    Gzip,
    /// Zstandard, one or several frames.
    Zstd,
}

impl Compression {
    fn of(magic: &[u8]) -> Compression {
        match *magic {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A file may begin with a skippable frame: parallel compressors write one.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "uncompressed",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}

/// A mapped capture file. Frames of a mapped source are slices of it, so that (offset, length) names a frame to any
/// thread that shares the mapping.
#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    fn new(file: &File) -> io::Result<Mapping> {
        // SAFETY: the mapping is read-only, and only ever read as bytes that are believed in nothing. What remains is
        // that another process shrinks the file (the read would be a SIGBUS) or changes it: a file with a writer is not
        // mapped (`has_writer`), and one that gets a writer later can be read with `--no-mmap`.
        let map = unsafe { Mmap::map(file) }?;
        // Only advice: a system that does not take it reads as well.
        let _ = map.advise(Advice::Sequential);
        Ok(Mapping(map))
    }

    /// Where `bytes` lie in the mapping; `None` if they are not a part of it.
    #[inline]
    pub fn offset_of(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).checked_sub(self.0.as_ptr() as usize)?;
        (offset <= self.0.len() && bytes.len() <= self.0.len() - offset).then_some(offset)
    }

    /// Gives the pages that lie wholly in `range` back to the system, so that a file larger than the memory budget does
    /// not count as memory in use. They may still be read: the system then maps them again.
    pub fn release(&self, range: Range<usize>) {
        const PAGE_BYTES: usize = 4096;
        let start = range.start.next_multiple_of(PAGE_BYTES);
        let end = range.end.min(self.0.len()) / PAGE_BYTES * PAGE_BYTES;
        if start < end {
            // SAFETY: the mapping is shared and read-only, so its pages hold nothing but the file's bytes; a reader of a
            // page that was given back faults it in again with those (madvise(2), MADV_DONTNEED).
            let _ = unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// fcntl's command that chooses the signal for a lease that is wanted back (asm-generic/fcntl.h); the libc crate lacks it.
const F_SETSIG: libc::c_int = 10;

/// Whether some process has the file open for writing, as far as the system tells: a read lease is given only where no
/// writer is (fcntl(2), `F_SETLEASE`). Where leases can't be had (another user's file, a file system without them) the
/// answer is no.
fn has_writer(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // SAFETY: fcntl on a descriptor that we own, with integer arguments only; it changes no memory.
    unsafe {
        // A process that opens the file for writing while we hold the lease has us sent a signal, by default one that
        // kills. SIGURG is ignored by default.
        libc::fcntl(fd, F_SETSIG, libc::SIGURG);
        if libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0 {
            libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
            return false;
        }
    }
    matches!(io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN | libc::EBUSY))
}

/// What [`open`] found.
pub(super) struct Opened {
    pub(super) input: Input,
    pub(super) compression: Compression,
    /// Length of the file as it is stored, where it has one.
    pub(super) size: Option<u64>,
}

/// The bytes and how far they have been read.
pub(super) enum Input {
    Mapped { mapping: Arc<Mapping>, position: usize },
    Streamed(Stream),
}

/// Opens a capture file, or standard input if its name is `-`, to be mapped if `mmap` allows and the file does.
pub(super) fn open(path: &Path, mmap: bool) -> Result<Opened, Fault> {
    let mut file = if path == Path::new("-") {
        File::from(io::stdin().as_fd().try_clone_to_owned().map_err(Fault::Open)?)
    } else {
        File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Fault::Missing,
            _ => Fault::Open(error),
        })?
    };
    let metadata = file.metadata().map_err(Fault::Open)?;
    if metadata.is_dir() {
        return Err(Fault::Directory);
    }
    let mut magic = Vec::with_capacity(4);
    file.by_ref().take(4).read_to_end(&mut magic).map_err(|source| Fault::Read { offset: 0, source })?;
    let compression = Compression::of(&magic);
    let size = metadata.is_file().then_some(metadata.len());
    let mappable = mmap && path != Path::new("-") && size.is_some_and(|size| size > 0);
    if mappable && compression == Compression::None && !has_writer(&file) {
        // A file that can't be mapped can still be read.
        if let Ok(mapping) = Mapping::new(&file) {
            let input = Input::Mapped { mapping: Arc::new(mapping), position: 0 };
            return Ok(Opened { input, compression, size });
        }
    }
    let stream =
        Stream::new(Cursor::new(magic).chain(file), compression).map_err(|source| Fault::Read { offset: 0, source })?;
    Ok(Opened { input: Input::Streamed(stream), compression, size })
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// A stream of (decompressed) bytes, seen through a buffer.
pub(super) struct Stream {
    reader: Box<dyn Read + Send>,
    compression: Compression,
    /// Bytes read of the file itself.
    raw_bytes: Arc<AtomicU64>,
    buffer: Vec<u8>,
    progress: Progress,
    ended: bool,
    failure: Option<Fault>,
}

/// How far a stream has been consumed. Apart from the buffer, so that it can move on while frames borrow that.
pub(super) struct Progress {
    /// What of the buffer is filled and not consumed.
    filled: Range<usize>,
    /// Bytes consumed, which is where `filled` begins in the stream.
    pub(super) offset: u64,
}

impl Progress {
    /// Moves the window's beginning on.
    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.filled.len(), "only what was in the window is consumed");
        self.filled.start += bytes;
        self.offset += bytes as u64;
    }
}

impl Stream {
    /// A stream of `raw`, decompressed.
    pub(super) fn new(raw: impl Read + Send + 'static, compression: Compression) -> io::Result<Stream> {
        let raw_bytes = Arc::new(AtomicU64::new(0));
        let raw = Counted { inner: raw, bytes: Arc::clone(&raw_bytes) };
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(raw),
            Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, raw))),
            Compression::Zstd => {
                Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(64 * 1024, raw))?)
            }
        };
        Ok(Stream {
            reader,
            compression,
            raw_bytes,
            buffer: vec![0; FILE_BUFFER_BYTES],
            progress: Progress { filled: 0..0, offset: 0 },
            ended: false,
            failure: None,
        })
    }

    /// What is there, from the first byte that has not been consumed.
    #[inline]
    pub(super) fn window(&self) -> &[u8] {
        self.buffer.get(self.progress.filled.clone()).unwrap_or_default()
    }

    /// The window, and what moves its beginning on.
    #[inline]
    pub(super) fn window_and_progress(&mut self) -> (&[u8], &mut Progress) {
        (self.buffer.get(self.progress.filled.clone()).unwrap_or_default(), &mut self.progress)
    }

    /// Where the window begins in the stream.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.progress.offset
    }

    /// How much of the file itself has been read.
    pub(super) fn raw_position(&self) -> u64 {
        match self.compression {
            Compression::None => self.progress.offset,
            Compression::Gzip | Compression::Zstd => self.raw_bytes.load(Ordering::Relaxed),
        }
    }

    /// Moves the window's beginning on.
    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        self.progress.consume(bytes);
    }

    /// What broke the stream off, once, if it did not just end.
    pub(super) fn take_failure(&mut self) -> Option<Fault> {
        self.failure.take()
    }

    /// Reads until the window has `needed` bytes; whether it now does. The buffer grows only when it is full of bytes that
    /// are needed, at most to twice `needed`.
    pub(super) fn fill(&mut self, needed: usize) -> bool {
        let filled = &mut self.progress.filled;
        if filled.len() < needed && filled.start > 0 {
            self.buffer.copy_within(filled.clone(), 0);
            *filled = 0..filled.len();
        }
        while self.progress.filled.len() < needed && !self.ended {
            let end = self.progress.filled.end;
            if end == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            match self.reader.read(self.buffer.get_mut(end..).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(bytes) => self.progress.filled.end += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(self.classify(error));
                }
            }
        }
        self.progress.filled.len() >= needed
    }

    fn classify(&self, source: io::Error) -> Fault {
        let (compression, position) = (self.compression, self.raw_position());
        if compression == Compression::None || source.raw_os_error().is_some() {
            Fault::Read { offset: position, source }
        } else if source.kind() == ErrorKind::UnexpectedEof {
            Fault::CompressedCutShort { compression, position }
        } else {
            Fault::Compression { compression, position, source }
        }
    }
}
