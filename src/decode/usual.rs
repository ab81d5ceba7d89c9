//! The frame that nearly all are: TCP over IPv4 without options, in untagged Ethernet, captured as a whole.
//!
//! Inlined as a whole, so that what is read goes from registers to where it is needed. Never panics.

use crate::capture::{Frame, LinkType};
use crate::units::{Address, Endpoint};

use super::ip::{IPV4_FRAGMENT, PROTOCOL_TCP};
use super::link::ETHERTYPE_IPV4;
use super::tags::Tags;
use super::tcp::{PLAIN_BYTES, Tcp, header_len, part};
use super::{Packet, be16};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const HEADERS: usize = ETHERNET + IPV4 + PLAIN_BYTES;

/// Version and length of the IP header.
const IPV4_WITHOUT_OPTIONS: u8 = 0x45;

/// A packet in a frame of the usual kind.
#[derive(Clone, Copy, Debug)]
pub struct Usual<'a> {
    header: &'a [u8; HEADERS],
    /// What it carries.
    pub tcp: Tcp<'a>,
}

impl<'a> Usual<'a> {
    /// The addresses as they are in the header: the lower half of the number who sent it, the upper half to whom.
    #[inline(always)]
    pub fn addresses(&self) -> u64 {
        u64::from_le_bytes(part(self.header, 26))
    }

    /// The ports: the upper half of the number that of who sent it.
    #[inline(always)]
    pub fn ports(&self) -> u32 {
        u32::from_be_bytes(part(self.header, 34))
    }

    /// The same as [`super::decode`] tells it.
    pub fn packet(&self) -> Packet<'a> {
        let header = self.header;
        let end_at = |address, port| Endpoint {
            address: Address::from_ipv4(part(header, address)),
            port: be16(part(header, port)),
        };
        Packet {
            source: end_at(26, 34),
            destination: end_at(30, 36),
            segment: self.tcp.segment(),
            tags: Tags::default(),
            tcp: self.tcp,
        }
    }
}

/// The packet in a frame of the usual kind; `None` of any other, and where something is wrong with it: [`super::decode`] tells of
/// all, and of these the same.
#[inline(always)]
pub fn decode_usual<'a>(frame: &Frame<'a>) -> Option<Usual<'a>> {
    let header = frame.bytes.first_chunk::<HEADERS>()?;
    let is_usual = frame.link == LinkType::Ethernet
        && be16(part(header, 12)) == ETHERTYPE_IPV4
        && header[14] == IPV4_WITHOUT_OPTIONS
        && be16(part(header, 20)) & IPV4_FRAGMENT == 0
        && header[23] == PROTOCOL_TCP;
    let plain = header.last_chunk()?;
    let header_len = header_len(plain);
    if !is_usual || (header_len as usize) < PLAIN_BYTES {
        return None;
    }
    // Of a packet that is shorter than its header it is longer than any frame.
    let len = usize::from(be16(part(header, 16))).wrapping_sub(IPV4);
    let bytes = frame.bytes[ETHERNET + IPV4..].get(..len)?;
    let wire_payload_len = (len as u32).checked_sub(header_len)?;
    let size = u32::from_be_bytes(part(header, 16));
    let tcp = Tcp { plain, bytes, wire_payload_len, size, header_len };
    Some(Usual { header, tcp })
}
