//! The TCP header.

use super::ip::Datagram;
use super::seq::Seq;
use super::tags::Tags;
use super::{Packet, Segment, Skip, be16};

/// Length of a header without options.
pub(super) const PLAIN_BYTES: usize = 20;

/// The flag bits of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Flags = Flags(0x02);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x04);
    /// Push.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgement field is significant.
    pub const ACK: Flags = Flags(0x10);
    /// Both of these.
    pub const ACK_PSH: Flags = Flags(0x18);

    /// Whether any bit of `other` is set.
    #[inline]
    pub fn any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;

    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// A TCP header that holds together, and what is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// The plain header.
    pub(super) plain: &'a [u8; PLAIN_BYTES],
    /// All captured bytes from that on.
    pub(super) bytes: &'a [u8],
    /// Captured bytes of the payload.
    pub(super) payload: &'a [u8],
    /// Bytes of the payload that were cut off.
    pub cut: u32,
    /// Of its IPv4 packet the length and the identification, as in its header; of an IPv6 packet the payload's length alone.
    pub(super) size: u32,
}

impl<'a> Tcp<'a> {
    /// Its captured bytes, from the header on.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Sequence and acknowledgement number.
    #[inline(always)]
    pub(super) fn numbers(&self) -> Numbers {
        numbers(self.plain)
    }

    /// What stands behind that.
    #[inline(always)]
    pub(super) fn control(&self) -> Control {
        control(self.plain)
    }

    /// What its connection is to know of it.
    #[inline(always)]
    pub fn sent(&self) -> Sent<'a> {
        Sent { numbers: self.numbers(), control: self.control(), payload: self.payload }
    }
}

/// What a connection is to know of a segment, in little room.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Where it is in both streams.
    pub numbers: Numbers,
    /// Its flags and its window.
    pub control: Control,
    /// The payload's captured bytes.
    pub payload: &'a [u8],
}

impl<'a> Sent<'a> {
    /// The segment, of which so many bytes were cut off.
    #[inline(always)]
    pub fn segment(&self, cut: u32) -> Segment<'a> {
        let Sent { numbers, control, payload } = *self;
        Segment {
            seq: numbers.seq(),
            ack: numbers.ack(),
            flags: control.flags(),
            window: control.window(),
            payload,
            wire_payload_len: payload.len() as u32 + cut,
        }
    }
}

/// The sequence and the acknowledgement number: where a segment is in both streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers(pub(super) u64);

impl Numbers {
    /// Sequence number of its first byte.
    #[inline(always)]
    pub fn seq(self) -> Seq {
        Seq((self.0 >> 32) as u32)
    }

    /// Acknowledgement number.
    #[inline(always)]
    pub fn ack(self) -> Seq {
        Seq(self.0 as u32)
    }
}

/// The length of a header, its flags, and the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control(pub(super) u32);

impl Control {
    /// Words of four bytes of its header, options included, as it says itself.
    #[inline(always)]
    pub(super) fn header_words(self) -> u32 {
        self.0 >> 28
    }

    /// The same in bytes.
    #[inline(always)]
    pub(super) fn header_len(self) -> usize {
        self.header_words() as usize * 4
    }

    /// Its flags.
    #[inline(always)]
    pub fn flags(self) -> Flags {
        Flags((self.0 >> 16) as u8)
    }

    /// The window, not scaled.
    #[inline(always)]
    pub fn window(self) -> u16 {
        self.0 as u16
    }
}

/// The numbers in a header.
#[inline(always)]
pub(super) fn numbers(plain: &[u8; PLAIN_BYTES]) -> Numbers {
    Numbers(u64::from_be_bytes(part(plain, 4)))
}

/// What stands behind them.
#[inline(always)]
pub(super) fn control(plain: &[u8; PLAIN_BYTES]) -> Control {
    Control(u32::from_be_bytes(part(plain, 12)))
}

/// Some bytes of a header, which has so many: read at once, as single ones are not.
#[inline(always)]
pub(super) fn part<const N: usize, const LEN: usize>(header: &[u8; LEN], at: usize) -> [u8; N] {
    header.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

/// Reads a TCP header.
#[inline]
pub(super) fn segment<'a>(datagram: &Datagram<'a>, tags: Tags) -> Result<Packet<'a>, Skip> {
    let Datagram { mut source, mut destination, size, payload: bytes, .. } = *datagram;
    let plain = bytes.header::<PLAIN_BYTES>()?;
    let header_len = control(plain).header_len();
    let behind_header = bytes.wire_len.checked_sub(header_len).ok_or(Skip::Malformed)?;
    if header_len < PLAIN_BYTES {
        return Err(Skip::Malformed);
    }
    source.port = be16([plain[0], plain[1]]);
    destination.port = be16([plain[2], plain[3]]);
    let wire_payload_len = u32::try_from(behind_header).map_err(|_| Skip::Malformed)?;
    let payload = bytes.captured.get(header_len..).unwrap_or_default();
    let cut = wire_payload_len - payload.len() as u32;
    let tcp = Tcp { plain, bytes: bytes.captured, payload, cut, size };
    Ok(Packet { source, destination, segment: tcp.sent().segment(cut), tags, tcp })
}
