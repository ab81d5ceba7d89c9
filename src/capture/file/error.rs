//! What can go wrong with a capture file. Closed enums with the numbers that matter; no variant panics or hides another.

use std::fmt;
use std::io;

use super::input::Compression;
use super::link::link_name;

/// A capture file that can't be read, or not to its end: which one, and why.
///
/// From [`FileSource::open`](super::FileSource::open) nothing has been read. From
/// [`poll`](super::super::Source::poll) every whole frame before the fault has been handed out.
#[derive(Debug, thiserror::Error)]
#[error("can't read {input}: {fault}")]
pub struct FileError {
    /// The file as a person would name it.
    pub input: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl FileError {
    /// Whether the file just stops too early, as one does whose capture was killed or that is still being written.
    pub fn is_cut_short(&self) -> bool {
        matches!(self.fault, Fault::CutShort { .. } | Fault::CompressedCutShort { .. })
    }
}

/// What is wrong with a capture file. Offsets count the bytes of the capture itself, after decompression, unless a
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing has this name.
    #[error("there is no such file; check the path")]
    Missing,
    /// The system refuses to open it.
    #[error("it can't be opened ({0}); check its permissions")]
    Open(io::Error),
    /// A directory.
    #[error("it is a directory; name the capture files in it")]
    Directory,
    /// Not one byte.
    #[error("it is empty; a capture that found no packet would still have a header, so check how it was written")]
    Empty,
    /// The first bytes are no capture file's.
    #[error("it is not a capture file, it starts with {magic}; pcap and pcapng are read, plain or compressed with gzip or zstd{}", hint(*.magic))]
    NotCapture {
        /// What was found instead.
        magic: Magic,
    },
    /// A format version from the future or the far past.
    #[error(
        "{format} version {major}.{minor} at byte {offset} is not known; convert the file, for example with editcap"
    )]
    Version {
        /// Name of the format.
        format: &'static str,
        /// Where the header is.
        offset: u64,
        /// The version's number before the dot.
        major: u16,
        /// The version's number behind the dot.
        minor: u16,
    },
    /// No frame of the file can be read.
    #[error("link type {number} ({}) is not supported; Ethernet, raw IP, Linux cooked (1, 2) and BSD loopback captures are", link_name(*.number))]
    LinkType {
        /// Its LINKTYPE number.
        number: u16,
    },
    /// The file ends within a header, a packet or a block.
    #[error(
        "it is cut short: the packet at byte {offset} takes {needed} bytes, but only {available} are there; all before it has been read"
    )]
    CutShort {
        /// Where the unfinished part begins.
        offset: u64,
        /// Its length as far as it is known.
        needed: u64,
        /// How much of it is there.
        available: u64,
    },
    /// The compressed data ends too early.
    #[error(
        "its {compression} data is cut short at byte {position} of the compressed file; what is before has been read"
    )]
    CompressedCutShort {
        /// How it is compressed.
        compression: Compression,
        /// How much of the compressed file has been read.
        position: u64,
    },
    /// A declared length that can't be true.
    #[error(
        "absurd length of a {what} at byte {offset}: {length} bytes, where at most {limit} are possible; the file is damaged there, what is before has been read"
    )]
    Absurd {
        /// What has the length.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// The length.
        length: u64,
        /// What would have been believed.
        limit: u64,
    },
    /// A block that has no room for its own fields.
    #[error(
        "absurd length of a {what} at byte {offset}: {length} bytes, where at least {least} are needed; the file is damaged there, what is before has been read"
    )]
    TooSmall {
        /// What has the length.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// The length.
        length: u64,
        /// What its fields need.
        least: u64,
    },
    /// Something else that contradicts the format.
    #[error("damaged at byte {offset}: {what}; what is before has been read")]
    Damaged {
        /// Where.
        offset: u64,
        /// How.
        what: &'static str,
    },
    /// The compressed data contradicts its format or its checksum.
    #[error(
        "its {compression} data is damaged before byte {position} of the compressed file ({source}); what is before has been read"
    )]
    Compression {
        /// How it is compressed.
        compression: Compression,
        /// How much of the compressed file has been read.
        position: u64,
        /// What the decompressor says.
        source: io::Error,
    },
    /// The system fails to read.
    #[error("reading fails at byte {offset} ({source}); what is before has been read")]
    Read {
        /// How much had been read.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
}

/// The first bytes of a file that is not a capture: at most four.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Magic {
    bytes: [u8; 4],
    len: usize,
}

impl Magic {
    /// The first four of `bytes`, or as many as there are.
    pub fn of(bytes: &[u8]) -> Magic {
        let mut magic = Magic { bytes: [0; 4], len: bytes.len().min(4) };
        for (to, from) in magic.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        magic
    }

    /// What else the file may be.
    fn guess(self) -> Option<&'static str> {
        match self.bytes {
            [0x42, 0x5a, 0x68, _] => Some("bzip2"),
            [0xfd, 0x37, 0x7a, 0x58] => Some("xz"),
            [0x04, 0x22, 0x4d, 0x18] => Some("lz4"),
            [0x50, 0x4b, 0x03, 0x04] => Some("zip"),
            [0x73, 0x6e, 0x6f, 0x6f] => Some("snoop"),
            [0x47, 0x4d, 0x42, 0x55] => Some("Microsoft Network Monitor"),
            _ => None,
        }
    }
}

impl fmt::Display for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.bytes.iter().take(self.len).enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

fn hint(magic: Magic) -> String {
    match magic.guess() {
        Some(name @ ("bzip2" | "xz" | "lz4" | "zip")) => format!(" (this looks like {name}: decompress it first)"),
        Some(name) => format!(" (this looks like {name}: convert it first, for example with editcap)"),
        None => String::new(),
    }
}
