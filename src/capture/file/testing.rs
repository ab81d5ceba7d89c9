//! What the tests of capture files share: writers that can also write what is wrong or old, and a reader to its end.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{LinkType, Polled, Source};
use super::bytes::Order;
use super::{FileError, FileSource, OpenOptions};
use crate::units::Timestamp;

/// A frame that outlives its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owned {
    pub(super) at: u64,
    pub(super) wire_len: u32,
    pub(super) link: LinkType,
    pub(super) bytes: Vec<u8>,
}

/// The frame that most tests expect.
pub(super) fn ethernet(at: u64, bytes: &[u8]) -> Owned {
    Owned { at, wire_len: bytes.len() as u32, link: LinkType::Ethernet, bytes: bytes.to_vec() }
}

/// A directory for the files of one test.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new() -> Files {
        Files(tempfile::tempdir().expect("a directory for temporary files"))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("a temporary file");
        path
    }
}

/// Everything a source hands out, and the fault that ends it.
pub(super) fn drain(source: &mut FileSource) -> (Vec<Owned>, Option<FileError>) {
    let mut frames = Vec::new();
    loop {
        let before = frames.len();
        let result = source.poll(3, &mut |frame| {
            let Timestamp(at) = frame.at;
            frames.push(Owned { at, wire_len: frame.wire_len, link: frame.link, bytes: frame.bytes.to_vec() });
        });
        match result {
            Ok(Polled::Frames(n)) => assert!((1..=3).contains(&n) && frames.len() == before + n, "{n} frames"),
            Ok(Polled::End) => return (frames, None),
            Err(error) => {
                assert_eq!(frames.len(), before, "a fault comes without frames");
                assert_eq!(source.poll(1, &mut |_| ()).unwrap(), Polled::End, "after a fault a source has ended");
                return (frames, Some(error));
            }
        }
    }
}

/// What a file holds, and the fault that ends it or keeps it from being opened.
pub(super) fn read(path: &Path, mmap: bool) -> (Vec<Owned>, Option<FileError>) {
    match FileSource::open(path, OpenOptions { mmap }) {
        Ok(mut source) => drain(&mut source),
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// Reads a file mapped and buffered, sees to it that both say the same, and returns it.
pub(super) fn read_both_ways(path: &Path) -> (Vec<Owned>, Option<FileError>) {
    let (mapped, mapped_error) = read(path, true);
    let (buffered, buffered_error) = read(path, false);
    assert_eq!(mapped, buffered);
    assert_eq!(mapped_error.as_ref().map(ToString::to_string), buffered_error.map(|error| error.to_string()));
    (mapped, mapped_error)
}

/// The frames of a file that must be whole.
pub(super) fn frames_of(path: &Path) -> Vec<Owned> {
    let (frames, error) = read_both_ways(path);
    assert!(error.is_none(), "{}", error.unwrap());
    frames
}

/// Opens a file that must be mapped. While another test starts a process, that may for a moment hold a copy of the
/// descriptor the file was written through: hence the patience.
pub(super) fn open_mapped(path: &Path) -> FileSource {
    for _ in 0..200 {
        let source = FileSource::open(path, OpenOptions { mmap: true }).unwrap();
        if source.mapping().is_some() {
            return source;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{} is never mapped", path.display());
}

fn put_u16(order: Order, to: &mut Vec<u8>, number: u16) {
    to.extend(if order == Order::Big { number.to_be_bytes() } else { number.to_le_bytes() });
}

fn put_u32(order: Order, to: &mut Vec<u8>, number: u32) {
    to.extend(if order == Order::Big { number.to_be_bytes() } else { number.to_le_bytes() });
}

/// Magic numbers of pcap.
pub(super) const MICROSECONDS: u32 = 0xa1b2_c3d4;
pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;
pub(super) const MODIFIED: u32 = 0xa1b2_cd34;

/// A pcap file of any kind.
pub(super) struct RawPcap {
    order: Order,
    magic: u32,
    pub(super) bytes: Vec<u8>,
}

impl RawPcap {
    pub(super) fn new(order: Order, magic: u32, snap_len: u32, link: u32) -> RawPcap {
        let mut bytes = Vec::new();
        put_u32(order, &mut bytes, magic);
        put_u16(order, &mut bytes, 2);
        put_u16(order, &mut bytes, 4);
        for number in [0, 0, snap_len, link] {
            put_u32(order, &mut bytes, number);
        }
        RawPcap { order, magic, bytes }
    }

    /// A record whose captured length may lie.
    pub(super) fn record(mut self, time: (u32, u32), captured: u32, wire_len: u32, data: &[u8]) -> RawPcap {
        for number in [time.0, time.1, captured, wire_len] {
            put_u32(self.order, &mut self.bytes, number);
        }
        if self.magic == MODIFIED {
            self.bytes.extend([0xee; 8]);
        }
        self.bytes.extend(data);
        self
    }

    pub(super) fn packet(self, time: (u32, u32), data: &[u8]) -> RawPcap {
        self.record(time, data.len() as u32, data.len() as u32, data)
    }
}

/// A pcapng file.
pub(super) struct RawPcapng {
    order: Order,
    pub(super) bytes: Vec<u8>,
}

impl RawPcapng {
    /// A file of one empty section.
    pub(super) fn new(order: Order) -> RawPcapng {
        RawPcapng { order, bytes: Vec::new() }.section(order)
    }

    /// Another section.
    pub(super) fn section(mut self, order: Order) -> RawPcapng {
        self.order = order;
        let mut body = Vec::new();
        put_u32(order, &mut body, 0x1a2b_3c4d);
        put_u16(order, &mut body, 1);
        put_u16(order, &mut body, 0);
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    /// A block of any type; its body is padded.
    pub(super) fn block(mut self, kind: u32, body: &[u8]) -> RawPcapng {
        let length = 12 + body.len().next_multiple_of(4);
        put_u32(self.order, &mut self.bytes, kind);
        put_u32(self.order, &mut self.bytes, length as u32);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        put_u32(self.order, &mut self.bytes, length as u32);
        self
    }

    /// An interface with options (code, value), the last one ended by none if `options` is empty.
    pub(super) fn interface(self, link: u16, snap_len: u32, options: &[(u16, &[u8])]) -> RawPcapng {
        let order = self.order;
        let mut body = Vec::new();
        put_u16(order, &mut body, link);
        put_u16(order, &mut body, 0);
        put_u32(order, &mut body, snap_len);
        for (code, value) in options {
            put_u16(order, &mut body, *code);
            put_u16(order, &mut body, value.len() as u16);
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            put_u32(order, &mut body, 0);
        }
        self.block(1, &body)
    }

    fn time_and_lengths(&self, body: &mut Vec<u8>, ticks: u64, captured: u32, wire_len: u32) {
        for number in [(ticks >> 32) as u32, ticks as u32, captured, wire_len] {
            put_u32(self.order, body, number);
        }
    }

    /// An enhanced packet with a comment behind it.
    pub(super) fn packet(self, interface: u32, ticks: u64, data: &[u8]) -> RawPcapng {
        self.packet_cut(interface, ticks, data, data.len() as u32)
    }

    /// An enhanced packet that was longer on the wire.
    pub(super) fn packet_cut(self, interface: u32, ticks: u64, data: &[u8], wire_len: u32) -> RawPcapng {
        let mut body = Vec::new();
        put_u32(self.order, &mut body, interface);
        self.time_and_lengths(&mut body, ticks, data.len() as u32, wire_len);
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        put_u16(self.order, &mut body, 1);
        put_u16(self.order, &mut body, 2);
        body.extend(*b"hi\0\0\0\0\0\0");
        self.block(6, &body)
    }

    /// A packet block of the obsolete kind.
    pub(super) fn obsolete_packet(self, interface: u16, ticks: u64, data: &[u8]) -> RawPcapng {
        let mut body = Vec::new();
        put_u16(self.order, &mut body, interface);
        put_u16(self.order, &mut body, 7);
        self.time_and_lengths(&mut body, ticks, data.len() as u32, data.len() as u32);
        body.extend(data);
        self.block(2, &body)
    }

    /// A simple packet.
    pub(super) fn simple_packet(self, wire_len: u32, data: &[u8]) -> RawPcapng {
        let mut body = Vec::new();
        put_u32(self.order, &mut body, wire_len);
        body.extend(data);
        self.block(3, &body)
    }
}
