//! The frame that nearly all are: TCP over IPv4 without options, in untagged Ethernet, captured as a whole.
//!
//! Inlined as a whole, so that what is read goes from registers to where it is needed. Never panics.

use crate::capture::{Frame, LinkType};
use crate::units::{Address, Endpoint};

use super::tags::Tags;
use super::tcp::{PLAIN_BYTES, Tcp, header_len};
use super::{Packet, be16};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const HEADERS: usize = ETHERNET + IPV4 + PLAIN_BYTES;

/// Ethertype, version and length of the IP header; then the place among fragments and the protocol.
const KIND: u32 = u32::from_le_bytes([0x08, 0x00, 0x45, 0]);
const KIND_MASK: u32 = u32::from_le_bytes([0xff, 0xff, 0xff, 0]);
const WHOLE_TCP: u32 = u32::from_le_bytes([0, 0, 0, super::PROTOCOL_TCP]);
const WHOLE_TCP_MASK: u32 = u32::from_le_bytes([0x3f, 0xff, 0, 0xff]);

/// The packet in a frame of the usual kind; `None` of any other, and where something is wrong with it: [`super::decode`] tells of
/// all, and of these the same.
#[inline(always)]
pub fn decode_usual<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let header = frame.bytes.first_chunk::<HEADERS>()?;
    let kind = u32::from_le_bytes(part(header, 12));
    let whole_tcp = u32::from_le_bytes(part(header, 20));
    let is_usual =
        frame.link == LinkType::Ethernet && kind & KIND_MASK == KIND && whole_tcp & WHOLE_TCP_MASK == WHOLE_TCP;
    if !is_usual {
        return None;
    }
    let end = ETHERNET + usize::from(be16(part(header, 16)));
    let plain = header.last_chunk()?;
    let header_len = header_len(plain);
    if header_len < PLAIN_BYTES {
        return None;
    }
    let packet = frame.bytes.get(..end)?;
    let wire_payload_len = end.checked_sub(ETHERNET + IPV4 + header_len)? as u32;
    let tcp = Tcp { plain, bytes: &packet[ETHERNET + IPV4..], wire_payload_len, id: be16(part(header, 18)) };
    let end_at =
        |address, port| Endpoint { address: Address::from_ipv4(part(header, address)), port: be16(part(header, port)) };
    Some(Packet {
        source: end_at(26, 34),
        destination: end_at(30, 36),
        segment: tcp.segment(),
        tags: Tags::default(),
        tcp,
    })
}

/// Some bytes of the headers.
#[inline(always)]
fn part<const N: usize>(header: &[u8; HEADERS], at: usize) -> [u8; N] {
    std::array::from_fn(|byte| header[at + byte])
}
