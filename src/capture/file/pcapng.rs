//! The pcapng format: sections of blocks.
//!
//! Each section has its own byte order and its own interfaces; each interface its own link type, snap length and time
//! resolution. Packets of an interface whose link type can't be read are counted by link type and passed over, as is every
//! block that holds no packet.
//!
//! Never panics; bounded work per block; allocates only for interfaces, of which a section has at most `INTERFACES_MAX`.
//! Spec: draft-ietf-opsawg-pcapng.

use std::collections::BTreeMap;

use super::super::{Frame, LinkType};
use super::bytes::Order;
use super::error::Fault;
use super::{Format, Item, TimeResolution};
use crate::limits::{BLOCK_BYTES_MAX, DECLARED_FRAME_BYTES_MAX, FRAME_BYTES_MAX, INTERFACES_MAX};
use crate::units::Timestamp;

/// The first bytes of every section, the same in either byte order.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;

/// Type and both lengths: what every block has.
const FRAMING_BYTES: usize = 12;
/// Fixed fields and framing of a packet block, enhanced or obsolete.
const PACKET_BYTES: usize = 32;
/// Fixed fields and framing of a simple packet block.
const SIMPLE_PACKET_BYTES: usize = 16;
/// Fixed fields and framing of an interface description.
const INTERFACE_BYTES: usize = 20;
/// Fixed fields and framing of a section header.
const SECTION_BYTES: usize = 28;

/// How ticks become nanoseconds.
#[derive(Clone, Copy, Debug)]
enum Scale {
    Multiply(u64),
    Divide(u64),
    /// Ticks are 2⁻ⁿ seconds.
    Shift(u8),
}

impl Scale {
    fn new(resolution: TimeResolution) -> Scale {
        match resolution {
            TimeResolution::PowerOfTen(digits @ 0..=9) => Scale::Multiply(10u64.pow(9 - digits as u32)),
            // Beyond 10⁻²⁸ s, 64 bits of ticks are less than a nanosecond.
            TimeResolution::PowerOfTen(digits) => {
                10u64.checked_pow(digits as u32 - 9).map_or(Scale::Multiply(0), Scale::Divide)
            }
            TimeResolution::PowerOfTwo(bits) => Scale::Shift(bits),
        }
    }
}

/// What one interface description says.
#[derive(Debug)]
struct Interface {
    /// How to read its frames, or the number of a link type that can't be read.
    link: Result<LinkType, u16>,
    snap_len: u32,
    scale: Scale,
    offset_seconds: i64,
}

impl Interface {
    fn frame_bytes_max(&self) -> u32 {
        match self.snap_len {
            0 => DECLARED_FRAME_BYTES_MAX,
            declared => declared.clamp(FRAME_BYTES_MAX, DECLARED_FRAME_BYTES_MAX),
        }
    }

    #[inline(always)]
    fn time(&self, ticks: u64) -> Timestamp {
        let nanoseconds = match self.scale {
            Scale::Multiply(by) => ticks.saturating_mul(by),
            Scale::Divide(by) => ticks / by,
            // At most 94 bits are needed, and a shift by 127 is still within 128.
            Scale::Shift(bits) => u64::try_from((ticks as u128 * 1_000_000_000) >> bits.min(127)).unwrap_or(u64::MAX),
        };
        if self.offset_seconds == 0 {
            return Timestamp(nanoseconds);
        }
        Timestamp(nanoseconds.saturating_add_signed(self.offset_seconds.saturating_mul(1_000_000_000)))
    }
}

/// The reader of one file's blocks.
#[derive(Debug)]
pub(super) struct Pcapng {
    order: Order,
    /// Those of the current section.
    interfaces: Vec<Interface>,
    interfaces_seen: u64,
    readable_seen: bool,
    finest: Option<TimeResolution>,
    /// Packets passed over, by link type.
    unreadable: BTreeMap<u16, u64>,
    /// The time of the last packet that had one.
    last_at: Timestamp,
    untimed: u64,
    /// Simple packets before this offset have been counted: the same packet may be looked at twice.
    untimed_counted_to: u64,
}

impl Pcapng {
    /// A reader at the start of a file, which is a section header.
    pub(super) fn new() -> Pcapng {
        Pcapng {
            order: Order::Little,
            interfaces: Vec::new(),
            interfaces_seen: 0,
            readable_seen: false,
            finest: None,
            unreadable: BTreeMap::new(),
            last_at: Timestamp::NONE,
            untimed: 0,
            untimed_counted_to: 0,
        }
    }

    /// Interfaces described so far, over all sections.
    pub(super) fn interfaces_seen(&self) -> u64 {
        self.interfaces_seen
    }

    /// The finest unit of time among them.
    pub(super) fn resolution(&self) -> TimeResolution {
        self.finest.unwrap_or_default()
    }

    /// Packets so far that have no time of their own.
    pub(super) fn untimed(&self) -> u64 {
        self.untimed
    }

    /// Packets passed over so far, by LINKTYPE number.
    pub(super) fn unreadable(&self) -> &BTreeMap<u16, u64> {
        &self.unreadable
    }

    /// A new section: a new byte order, no interfaces.
    #[cold]
    fn section<'w>(&mut self, window: &'w [u8], offset: u64) -> Result<Item<'w>, Fault> {
        let Some(header) = window.first_chunk::<SECTION_BYTES>() else {
            return Ok(Item::Short { needed: SECTION_BYTES });
        };
        let orders = [Order::Little, Order::Big];
        let Some(order) = orders.into_iter().find(|order| order.u32(header, 8) == BYTE_ORDER_MAGIC) else {
            return Err(Fault::Damaged { offset, what: "a section header without its byte-order magic" });
        };
        let length = checked_length(order.u32(header, 4), SECTION_BYTES, offset)?;
        let Some(block) = window.get(..length) else {
            return Ok(Item::Short { needed: length });
        };
        check_trailer(order, block, offset)?;
        let (major, minor) = (order.u16(header, 12), order.u16(header, 14));
        if major != 1 {
            return Err(Fault::Version { format: "pcapng", offset, major, minor });
        }
        self.order = order;
        self.interfaces.clear();
        Ok(Item::Other { length })
    }

    #[cold]
    fn interface(&mut self, block: &[u8], offset: u64) -> Result<(), Fault> {
        let Some(header) = block.first_chunk::<INTERFACE_BYTES>() else {
            return Err(too_small("interface description", block, INTERFACE_BYTES, offset));
        };
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(Fault::Damaged { offset, what: "more interfaces in one section than any machine has" });
        }
        let number = self.order.u16(header, 8);
        let mut interface = Interface {
            link: LinkType::from_number(number).ok_or(number),
            snap_len: self.order.u32(header, 12),
            scale: Scale::Multiply(1000),
            offset_seconds: 0,
        };
        let mut resolution = TimeResolution::default();
        let mut options = block.get(16..block.len() - 4).unwrap_or_default();
        // Options that run over the block's end are left unread: what a packet needs has been read.
        while let Some((code, value, rest)) = self.option(options) {
            match (code, value) {
                (OPTION_END, _) => break,
                (OPTION_TIME_RESOLUTION, &[exponent, ..]) => resolution = TimeResolution::from_option(exponent),
                (OPTION_TIME_OFFSET, value) => {
                    if let Some(seconds) = value.first_chunk::<8>() {
                        interface.offset_seconds = self.order.u64(*seconds).cast_signed();
                    }
                }
                _ => {}
            }
            options = rest;
        }
        interface.scale = Scale::new(resolution);
        match interface.link {
            Ok(_) => self.readable_seen = true,
            Err(number) => {
                self.unreadable.entry(number).or_insert(0);
            }
        }
        self.finest = Some(self.finest.map_or(resolution, |finest| finest.finer(resolution)));
        self.interfaces_seen += 1;
        self.interfaces.push(interface);
        Ok(())
    }

    /// Code and value of the first option, and the options behind it.
    fn option<'w>(&self, options: &'w [u8]) -> Option<(u16, &'w [u8], &'w [u8])> {
        let header = options.first_chunk::<4>()?;
        let length = self.order.u16(header, 2) as usize;
        let value = options.get(4..4 + length)?;
        Some((self.order.u16(header, 0), value, options.get(4 + length.next_multiple_of(4)..).unwrap_or_default()))
    }

    /// An enhanced packet, or (`obsolete`) its predecessor with a shorter interface number.
    #[inline(always)]
    fn packet<'w>(&mut self, block: &'w [u8], offset: u64, obsolete: bool) -> Result<Item<'w>, Fault> {
        let Some(header) = block.first_chunk::<28>() else {
            return Err(too_small("packet block", block, PACKET_BYTES, offset));
        };
        let order = self.order;
        let id = if obsolete { order.u16(header, 8) as usize } else { order.u32(header, 8) as usize };
        let ticks = (order.u32(header, 12) as u64) << 32 | order.u32(header, 16) as u64;
        let captured = order.u32(header, 20);
        let Some(interface) = self.interfaces.get(id) else {
            return Err(Fault::Damaged { offset, what: "a packet of an interface that its section does not describe" });
        };
        let room = block.len().saturating_sub(PACKET_BYTES) as u64;
        let limit = room.min(interface.frame_bytes_max() as u64);
        let Some(bytes) = block.get(28..28 + captured as usize).filter(|_| captured as u64 <= limit) else {
            return Err(Fault::Absurd { what: "packet", offset, length: captured as u64, limit });
        };
        let length = block.len();
        match interface.link {
            Ok(link) => {
                let at = interface.time(ticks);
                self.last_at = at;
                let wire_len = order.u32(header, 24).max(captured);
                Ok(Item::Packet { frame: Frame { bytes, wire_len, at, link }, length })
            }
            Err(number) => Ok(self.pass_over(number, length)),
        }
    }

    /// A simple packet: of the first interface, without a captured length or a time. It gets the time of the packet before.
    #[cold]
    fn simple_packet<'w>(&mut self, block: &'w [u8], offset: u64) -> Result<Item<'w>, Fault> {
        let Some(header) = block.first_chunk::<12>().filter(|_| block.len() >= SIMPLE_PACKET_BYTES) else {
            return Err(too_small("simple packet block", block, SIMPLE_PACKET_BYTES, offset));
        };
        let Some(interface) = self.interfaces.first() else {
            return Err(Fault::Damaged { offset, what: "a packet of an interface that its section does not describe" });
        };
        let length = block.len();
        let link = match interface.link {
            Ok(link) => link,
            Err(number) => return Ok(self.pass_over(number, length)),
        };
        let wire_len = self.order.u32(header, 8);
        let snap_len = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
        let captured = (wire_len.min(snap_len) as usize).min(length - SIMPLE_PACKET_BYTES);
        let bytes = block.get(12..12 + captured).unwrap_or_default();
        if offset >= self.untimed_counted_to {
            self.untimed += 1;
            self.untimed_counted_to = offset + 1;
        }
        Ok(Item::Packet { frame: Frame { bytes, wire_len, at: self.last_at, link }, length })
    }

    #[cold]
    fn pass_over<'w>(&mut self, number: u16, length: usize) -> Item<'w> {
        *self.unreadable.entry(number).or_insert(0) += 1;
        Item::Other { length }
    }
}

impl Format for Pcapng {
    #[inline(always)]
    fn next<'w>(&mut self, window: &'w [u8], offset: u64) -> Result<Item<'w>, Fault> {
        let Some(header) = window.first_chunk::<FRAMING_BYTES>() else {
            return Ok(Item::Short { needed: FRAMING_BYTES });
        };
        if header[..4] == MAGIC {
            return self.section(window, offset);
        }
        let length = checked_length(self.order.u32(header, 4), FRAMING_BYTES, offset)?;
        let Some(block) = window.get(..length) else {
            return Ok(Item::Short { needed: length });
        };
        check_trailer(self.order, block, offset)?;
        match self.order.u32(header, 0) {
            ENHANCED_PACKET => self.packet(block, offset, false),
            OBSOLETE_PACKET => self.packet(block, offset, true),
            SIMPLE_PACKET => self.simple_packet(block, offset),
            INTERFACE => self.interface(block, offset).map(|()| Item::Other { length }),
            _ => Ok(Item::Other { length }),
        }
    }

    /// A file none of whose interfaces can be read has told nothing.
    fn at_end(&self) -> Result<(), Fault> {
        match self.unreadable.iter().max_by_key(|&(_, packets)| packets) {
            Some((&number, _)) if !self.readable_seen => Err(Fault::LinkType { number }),
            _ => Ok(()),
        }
    }
}

/// A block's length, if it is possible.
#[inline(always)]
fn checked_length(length: u32, least: usize, offset: u64) -> Result<usize, Fault> {
    if length < least as u32 {
        return Err(Fault::TooSmall { what: "block", offset, length: length as u64, least: least as u64 });
    }
    if length > BLOCK_BYTES_MAX {
        return Err(Fault::Absurd { what: "block", offset, length: length as u64, limit: BLOCK_BYTES_MAX as u64 });
    }
    if !length.is_multiple_of(4) {
        return Err(Fault::Damaged { offset, what: "a block whose length is not a multiple of 4" });
    }
    Ok(length as usize)
}

/// A block's length is also its last four bytes.
#[inline(always)]
fn check_trailer(order: Order, block: &[u8], offset: u64) -> Result<(), Fault> {
    match block.last_chunk::<4>() {
        Some(trailer) if order.u32(trailer, 0) as usize == block.len() => Ok(()),
        _ => Err(Fault::Damaged { offset, what: "a block whose two lengths differ" }),
    }
}

#[cold]
fn too_small(what: &'static str, block: &[u8], least: usize, offset: u64) -> Fault {
    Fault::TooSmall { what, offset, length: block.len() as u64, least: least as u64 }
}
