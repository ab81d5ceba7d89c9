//! The frame that nearly all are: TCP over IPv4 without options, with at most a timestamp, in untagged Ethernet, captured as a whole.
//!
//! Inlined as a whole, so that what is read goes from registers to where it is needed. Never panics.

use crate::capture::{Frame, LinkType};
use crate::units::{Address, Endpoint};

use super::be16;
use super::ip::{IPV4_FRAGMENT, PROTOCOL_TCP};
use super::link::ETHERTYPE_IPV4;
use super::mark::{NO_OPTIONS, STAMPED_BYTES, mark, mark_of_stamp};
use super::tcp::{PLAIN_BYTES, Sent, control, numbers, part};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const HEADERS: usize = ETHERNET + IPV4 + PLAIN_BYTES;

const PLAIN_WORDS: u32 = PLAIN_BYTES as u32 / 4;
const STAMPED_WORDS: u32 = STAMPED_BYTES as u32 / 4;

/// Version and length of the IP header.
const IPV4_WITHOUT_OPTIONS: u8 = 0x45;

/// Of the four bytes from the ethertype on all but the last one, and what they are.
const NETWORK: [u32; 2] = [0xffff_ff00, (ETHERTYPE_IPV4 as u32) << 16 | (IPV4_WITHOUT_OPTIONS as u32) << 8];
/// Of the four bytes from the fragment's place on all but the flags that don't count and the TTL, and what they are.
const TRANSPORT: [u32; 2] = [(IPV4_FRAGMENT as u32) << 16 | 0xff, PROTOCOL_TCP as u32];

/// Whether of four bytes those that count are as they are to be.
#[inline(always)]
fn are(bytes: [u8; 4], [counts, expected]: [u32; 2]) -> bool {
    u32::from_le_bytes(bytes) & counts.swap_bytes() == expected.swap_bytes()
}

/// The headers of a frame of the usual kind, as far as its kind can be seen by them.
#[derive(Clone, Copy, Debug)]
pub struct Usual<'a> {
    header: &'a [u8; HEADERS],
    /// From the IP header on.
    packet: &'a [u8],
}

impl<'a> Usual<'a> {
    /// Those of a frame, if it looks like one.
    #[inline(always)]
    pub fn of(frame: &Frame<'a>) -> Option<Usual<'a>> {
        let header = frame.bytes.first_chunk::<HEADERS>()?;
        let is_usual =
            frame.link == LinkType::Ethernet && are(part(header, 12), NETWORK) && are(part(header, 20), TRANSPORT);
        if is_usual { Some(Usual { header, packet: &frame.bytes[ETHERNET..] }) } else { None }
    }

    /// The addresses as they are in the header: the lower half of the number who sent it, the upper half to whom.
    #[inline(always)]
    pub fn addresses(&self) -> u64 {
        u64::from_le_bytes(part(self.header, 26))
    }

    /// The ports in the same way.
    #[inline(always)]
    pub fn ports(&self) -> u32 {
        u32::from_le_bytes(part(self.header, 34))
    }

    /// Who sent it, and to whom.
    pub fn ends(&self) -> [Endpoint; 2] {
        [(26, 34), (30, 36)].map(|(address, port)| Endpoint {
            address: Address::from_ipv4(part(self.header, address)),
            port: be16(part(self.header, port)),
        })
    }

    /// What its segment says, of which nothing is cut off, and its [mark](super::Tcp::mark). `None` if it is not usual after all, or
    /// something is wrong with it: [`super::decode`] tells of all, and of these the same.
    #[inline(always)]
    pub fn sent(&self) -> Option<(Sent<'a>, [u64; 2])> {
        let Usual { header, packet } = *self;
        let plain = header.last_chunk()?;
        let control = control(plain);
        let (headers_len, options) = match control.header_words() {
            PLAIN_WORDS => (IPV4 + PLAIN_BYTES, NO_OPTIONS),
            STAMPED_WORDS => (IPV4 + STAMPED_BYTES, mark_of_stamp(packet[IPV4..].first_chunk()?)),
            _ => return None,
        };
        let size = u32::from_be_bytes(part(header, 16));
        // Of a packet that is shorter than its headers more than any frame has.
        let payload_len = ((size >> 16) as usize).wrapping_sub(headers_len);
        let payload = packet.get(headers_len..)?.get(..payload_len)?;
        let numbers = numbers(plain);
        Some((Sent { numbers, control, payload }, mark(numbers, control, size, options)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use crate::units::Timestamp;

    /// A segment of 4 bytes in a frame with something behind it, whose TCP header has this length.
    fn frame(words: u8) -> Vec<u8> {
        let ip = [0x45, 0, 0, 24 + 4 * words, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
        let tcp = [0x9c, 0x41, 0x18, 0xeb, 0, 0, 0, 7, 0, 0, 0, 9, words << 4, 0x18, 1, 0, 0, 0, 0, 0];
        let options = vec![1; usize::from(words.saturating_sub(5)) * 4];
        [&[2; 12][..], &[8, 0], &ip, &tcp, &options, b"+OK\r\n..."].concat()
    }

    /// Whatever one changes in a header: what is usual is told as the long way tells it, and all that is usual is told.
    #[test]
    fn whatever_any_byte_of_its_headers_is_the_short_way_leads_where_the_long_one_does() {
        for words in [4, 5, 6, 8, 15] {
            let whole = frame(words);
            for (at, value) in (12..HEADERS).flat_map(|at| (0..=u8::MAX).map(move |value| (at, value))) {
                let mut changed = whole.clone();
                changed[at] = value;
                for (length, link) in [(0, LinkType::Ethernet), (6, LinkType::Ethernet), (0, LinkType::RawIp)] {
                    let bytes = &changed[..whole.len() - length];
                    let frame = Frame { bytes, wire_len: whole.len() as u32, at: Timestamp(1), link };
                    let usual = Usual::of(&frame).and_then(|usual| Some((usual, usual.sent()?)));
                    let Ok(long) = decode(&frame) else {
                        assert!(usual.is_none(), "{words} {at} {value}");
                        continue;
                    };
                    if let Some((usual, (sent, mark))) = usual {
                        let told = (usual.ends(), mark, format!("{:?}", sent.segment(0)));
                        let expected =
                            ([long.source, long.destination], long.tcp.mark(), format!("{:?}", long.segment));
                        assert_eq!(told, expected, "{words} {at} {value}");
                        assert_eq!((usual.ports() as u16).swap_bytes(), long.source.port);
                        assert_eq!(usual.addresses() as u32, long.source.address.ipv4_bits());
                        continue;
                    }
                    let is_whole = long.wire_payload_len as usize == long.payload.len() && changed[16..18] != [0; 2];
                    let is_known = [0x50, 0x80].contains(&(changed[46] & 0xf0)) && changed[14] == 0x45;
                    assert!(!is_whole || !is_known || link != LinkType::Ethernet, "{words} {at} {value}");
                }
            }
        }
    }
}
