//! By what copies of a segment are known: all that a mirror or a router leaves as it is, and that TCP changes when it sends the
//! same bytes again.
//!
//! That is sequence, acknowledgement, flags and window; the options, as a retransmission has a newer timestamp; in IPv4 the
//! identification, as it has a new one (RFC 6864); and the payload's length. The payload itself follows from these, as what TCP
//! sends at a place is always the same. Left out are addresses (they are the connection's), TTL, VLAN, tunnel, and checksums,
//! which hosts with offload leave open.

use super::Segment;

/// Length of the usual header: two options that fill up, and a timestamp.
const USUAL_BYTES: usize = 32;

impl Segment<'_> {
    /// What copies of a segment have in common, and hardly any two others of its connection. Both numbers count.
    #[inline(always)]
    pub fn mark(&self) -> [u64; 2] {
        if let Some(header) = self.header.first_chunk::<USUAL_BYTES>() {
            let kind = u32::from_be_bytes(part(header, 12));
            if kind >> 28 == USUAL_BYTES as u32 / 4 {
                return [u64::from_ne_bytes(part(header, 4)), self.rest(kind, u64::from_ne_bytes(part(header, 24)))];
            }
        }
        self.unusual_mark()
    }

    /// All but the place in the streams; `kind`: the length of the header, flags and window.
    #[inline(always)]
    fn rest(&self, kind: u32, options: u64) -> u64 {
        let lengths = u64::from(self.id) << 16 ^ u64::from(self.wire_payload_len);
        // Turned, so that what counts most of each stands apart.
        u64::from(kind) << 32 ^ lengths ^ options.rotate_left(24)
    }

    #[cold]
    fn unusual_mark(&self) -> [u64; 2] {
        let len = self.header.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        let options = self.header.get(20..len).unwrap_or_default();
        let mix = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let kind = u32::from(self.flags.0) << 16 | u32::from(self.window);
        [u64::from(self.seq.0) << 32 | u64::from(self.ack.0), self.rest(kind, options.iter().fold(1, mix))]
    }
}

/// Some bytes of a header.
#[inline(always)]
fn part<const N: usize>(header: &[u8; USUAL_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|byte| header[at + byte])
}
