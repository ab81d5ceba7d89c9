//! The pcap format: a header, then records.
//!
//! Never panics, never allocates; bounded work per record. Spec: draft-ietf-opsawg-pcap, and libpcap's own
//! `sf-pcap.c` for what the draft leaves out (the "modified" variant with its longer record header).

use super::super::{Frame, LinkType};
use super::bytes::Order;
use super::error::Fault;
use super::{Format, Item, TimeResolution};
use crate::limits::{DECLARED_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use crate::units::Timestamp;

/// Bytes of the file's header.
pub(super) const HEADER_BYTES: usize = 24;

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetzov's variant, written by some old Linux systems: eight more bytes in each record's header.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

/// Whether these are the first bytes of a pcap file.
pub(super) fn recognises(magic: [u8; 4]) -> bool {
    variant(magic).is_some()
}

fn variant(magic: [u8; 4]) -> Option<(Order, u32)> {
    [Order::Little, Order::Big].into_iter().find_map(|order| {
        let number = order.u32(&magic, 0);
        [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS, MAGIC_MODIFIED].contains(&number).then_some((order, number))
    })
}

/// The reader of one file's records.
#[derive(Debug)]
pub(super) struct Pcap {
    order: Order,
    nanoseconds: bool,
    record_header_bytes: usize,
    link: LinkType,
    frame_bytes_max: u32,
}

impl Pcap {
    /// Reads the file's header.
    pub(super) fn new(header: &[u8; HEADER_BYTES]) -> Result<Pcap, Fault> {
        let magic = [header[0], header[1], header[2], header[3]];
        let Some((order, number)) = variant(magic) else {
            return Err(Fault::NotCapture { magic: super::error::Magic::of(header) });
        };
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        if major != 2 {
            return Err(Fault::Version { format: "pcap", offset: 0, major, minor });
        }
        // The upper half of the field says how long the frames' check sequence is; nobody here reads that far.
        let link_number = order.u32(header, 20) as u16;
        Ok(Pcap {
            order,
            nanoseconds: number == MAGIC_NANOSECONDS,
            record_header_bytes: if number == MAGIC_MODIFIED { 24 } else { 16 },
            link: LinkType::from_number(link_number).ok_or(Fault::LinkType { number: link_number })?,
            frame_bytes_max: order.u32(header, 16).clamp(FRAME_BYTES_MAX, DECLARED_FRAME_BYTES_MAX),
        })
    }

    /// The unit of the file's times.
    pub(super) fn resolution(&self) -> TimeResolution {
        TimeResolution::PowerOfTen(if self.nanoseconds { 9 } else { 6 })
    }

    /// Seconds and their fraction as one number. A fraction of a second or more is damage: it is taken as just below one.
    #[inline(always)]
    fn time(&self, seconds: u32, fraction: u32) -> Timestamp {
        let nanoseconds = if self.nanoseconds { fraction.min(999_999_999) } else { fraction.min(999_999) * 1000 };
        Timestamp(seconds as u64 * 1_000_000_000 + nanoseconds as u64)
    }
}

impl Format for Pcap {
    #[inline(always)]
    fn next<'w>(&mut self, window: &'w [u8], offset: u64) -> Result<Item<'w>, Fault> {
        let Some(header) = window.first_chunk::<16>().filter(|_| window.len() >= self.record_header_bytes) else {
            return Ok(Item::Short { needed: self.record_header_bytes });
        };
        let captured = self.order.u32(header, 8);
        if captured > self.frame_bytes_max {
            let limit = self.frame_bytes_max as u64;
            return Err(Fault::Absurd { what: "packet", offset, length: captured as u64, limit });
        }
        let length = self.record_header_bytes + captured as usize;
        let Some(bytes) = window.get(self.record_header_bytes..length) else {
            return Ok(Item::Short { needed: length });
        };
        let frame = Frame {
            bytes,
            // Some writers leave the wire length at 0, or count it without the check sequence.
            wire_len: self.order.u32(header, 12).max(captured),
            at: self.time(self.order.u32(header, 0), self.order.u32(header, 4)),
            link: self.link,
        };
        Ok(Item::Packet { frame, length })
    }
}
