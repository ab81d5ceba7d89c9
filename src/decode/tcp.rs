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
    /// The identification of its IPv4 packet; 0 in IPv6, which has none.
    pub(super) id: u16,
}

impl<'a> Tcp<'a> {
    /// Its captured bytes, from the header on.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The segment.
    #[inline(always)]
    pub fn segment(&self) -> Segment<'a> {
        let header = self.plain;
        Segment {
            seq: Seq(u32::from_be_bytes([header[4], header[5], header[6], header[7]])),
            ack: Seq(u32::from_be_bytes([header[8], header[9], header[10], header[11]])),
            flags: Flags(header[13]),
            window: be16([header[14], header[15]]),
            payload: self.bytes.get(header_len(header)..).unwrap_or_default(),
            wire_payload_len: self.wire_payload_len,
        }
    }
}

/// Bytes of a header, options included, as it says itself.
#[inline(always)]
pub(super) fn header_len(plain: &[u8; PLAIN_BYTES]) -> usize {
    usize::from(plain[12] >> 4) * 4
}

/// Reads a TCP header.
#[inline]
pub(super) fn segment<'a>(datagram: &Datagram<'a>, tags: Tags) -> Result<Packet<'a>, Skip> {
    let Datagram { mut source, mut destination, id, payload: bytes, .. } = *datagram;
    let plain = bytes.header::<PLAIN_BYTES>()?;
    let header_len = header_len(plain);
    if header_len < PLAIN_BYTES || header_len > bytes.wire_len {
        return Err(Skip::Malformed);
    }
    source.port = be16([plain[0], plain[1]]);
    destination.port = be16([plain[2], plain[3]]);
    let wire_payload_len = u32::try_from(bytes.wire_len - header_len).map_err(|_| Skip::Malformed)?;
    let tcp = Tcp { plain, bytes: bytes.captured, wire_payload_len, id };
    Ok(Packet { source, destination, segment: tcp.segment(), tags, tcp })
}
