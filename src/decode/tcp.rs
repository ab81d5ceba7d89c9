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

/// A TCP header that holds together, and what is behind it: what is read of it where it is needed, need not be kept until then.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// The plain header.
    pub(super) plain: &'a [u8; PLAIN_BYTES],
    /// All captured bytes from that on.
    pub(super) bytes: &'a [u8],
    /// Length of the payload on the wire.
    pub(super) wire_payload_len: u32,
    /// Of its IPv4 packet the length and the identification, as in its header; of an IPv6 packet the payload's length alone.
    pub(super) size: u32,
    /// Bytes of the header, options included.
    pub(super) header_len: u32,
}

impl<'a> Tcp<'a> {
    /// Its captured bytes, from the header on.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Sequence and acknowledgement number.
    #[inline(always)]
    pub fn numbers(&self) -> Numbers {
        Numbers(u64::from_be_bytes(part(self.plain, 4)))
    }

    /// What stands behind that.
    #[inline(always)]
    pub fn control(&self) -> Control {
        Control(u32::from_be_bytes(part(self.plain, 12)))
    }

    /// Its payload, if all of that was captured.
    #[inline(always)]
    pub fn whole_payload(&self) -> Option<&'a [u8]> {
        let (header_len, payload_len) = (self.header_len as usize, self.wire_payload_len as usize);
        if self.bytes.len() == header_len + payload_len { self.bytes.get(header_len..) } else { None }
    }

    /// The segment.
    #[inline(always)]
    pub fn segment(&self) -> Segment<'a> {
        let (numbers, control) = (self.numbers(), self.control());
        Segment {
            seq: numbers.seq(),
            ack: numbers.ack(),
            flags: control.flags(),
            window: control.window(),
            payload: self.bytes.get(self.header_len as usize..).unwrap_or_default(),
            wire_payload_len: self.wire_payload_len,
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

/// Bytes of a header, options included, as it says itself.
#[inline(always)]
pub(super) fn header_len(plain: &[u8; PLAIN_BYTES]) -> u32 {
    u32::from(plain[12] >> 4) * 4
}

/// Some bytes of a header.
#[inline(always)]
pub(super) fn part<const N: usize, const LEN: usize>(header: &[u8; LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|byte| header[at + byte])
}

/// Reads a TCP header.
#[inline]
pub(super) fn segment<'a>(datagram: &Datagram<'a>, tags: Tags) -> Result<Packet<'a>, Skip> {
    let Datagram { mut source, mut destination, size, payload: bytes, .. } = *datagram;
    let plain = bytes.header::<PLAIN_BYTES>()?;
    let header_len = header_len(plain);
    let behind_header = bytes.wire_len.checked_sub(header_len as usize).ok_or(Skip::Malformed)?;
    if (header_len as usize) < PLAIN_BYTES {
        return Err(Skip::Malformed);
    }
    source.port = be16([plain[0], plain[1]]);
    destination.port = be16([plain[2], plain[3]]);
    let wire_payload_len = u32::try_from(behind_header).map_err(|_| Skip::Malformed)?;
    let tcp = Tcp { plain, bytes: bytes.captured, wire_payload_len, size, header_len };
    Ok(Packet { source, destination, segment: tcp.segment(), tags, tcp })
}
