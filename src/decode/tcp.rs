//! The TCP header.

use super::ip::Datagram;
use super::seq::Seq;
use super::tags::Tags;
use super::{Packet, Segment, Skip, be16};

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

/// Reads a TCP header.
#[inline]
pub(super) fn segment<'a>(datagram: &Datagram<'a>, tags: Tags) -> Result<Packet<'a>, Skip> {
    let Datagram { mut source, mut destination, id, payload: bytes, .. } = *datagram;
    let header = bytes.header::<20>()?;
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < 20 || header_len > bytes.wire_len {
        return Err(Skip::Malformed);
    }
    source.port = be16([header[0], header[1]]);
    destination.port = be16([header[2], header[3]]);
    let payload = bytes.skip(header_len)?;
    let segment = Segment {
        seq: Seq(u32::from_be_bytes([header[4], header[5], header[6], header[7]])),
        ack: Seq(u32::from_be_bytes([header[8], header[9], header[10], header[11]])),
        flags: Flags(header[13]),
        window: be16([header[14], header[15]]),
        payload: payload.captured,
        wire_payload_len: u32::try_from(payload.wire_len).map_err(|_| Skip::Malformed)?,
    };
    Ok(Packet { source, destination, segment, tags, id, header: bytes.captured })
}
