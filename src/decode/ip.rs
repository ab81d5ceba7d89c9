//! IPv4 with options, IPv6 with extension headers.

use crate::units::{Address, Endpoint};

use super::{Bytes, Skip, be16};

/// Extension headers that are looked behind.
const EXTENSION_HEADERS_MAX: usize = 8;

pub(super) const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_FRAGMENT: u8 = 44;
const PROTOCOL_AUTHENTICATION: u8 = 51;

/// The fragment offset and "more fragments" of an IPv4 header.
pub(super) const IPV4_FRAGMENT: u16 = 0x3fff;
/// The same of an IPv6 fragment header, where the offset comes first.
const IPV6_FRAGMENT: u16 = 0xfff9;

/// What a whole IP packet carries, and between whom it goes (ports still 0).
#[derive(Clone, Copy)]
pub(super) struct Datagram<'a> {
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) protocol: u8,
    /// By what it is told from others: of IPv4 its length, and the identification in the lower half, as in the header; of IPv6 the
    /// payload's length alone.
    pub(super) size: u32,
    pub(super) payload: Bytes<'a>,
}

/// A fragment of an IP packet.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) source: Address,
    pub(super) destination: Address,
    /// Which packet it is of; in IPv4 together with `protocol`, which is 0 in IPv6.
    pub(super) id: u32,
    pub(super) protocol: u8,
    /// Place of its first byte.
    pub(super) offset: usize,
    /// Whether there is one behind it.
    pub(super) more: bool,
    /// Bytes of the header, up to the data.
    pub(super) header_len: usize,
    /// Where in the header the two bytes with the offset are.
    pub(super) offset_at: usize,
    pub(super) data: Bytes<'a>,
}

/// What an IPv4 packet carries, if that is whole and TCP.
#[inline(always)]
pub(super) fn usual(packet: Bytes<'_>) -> Option<Datagram<'_>> {
    let datagram = if packet.header::<1>().ok()?[0] >> 4 == 4 { ipv4(packet).ok()? } else { return None };
    (datagram.protocol == PROTOCOL_TCP).then_some(datagram)
}

/// What an IP packet carries.
#[inline]
pub(super) fn datagram(packet: Bytes<'_>) -> Result<Datagram<'_>, Skip> {
    match packet.header::<1>()?[0] >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => Err(Skip::Malformed),
    }
}

/// Length of an IPv4 header, and what follows it.
#[inline(always)]
fn ipv4_payload<'a>(header: &[u8; 20], packet: Bytes<'a>) -> Result<(usize, Bytes<'a>), Skip> {
    let header_len = usize::from(header[0] & 0x0f) * 4;
    // Total length 0: the host's segmentation offload handed over more than the field can say.
    let total_len = match usize::from(be16([header[2], header[3]])) {
        0 => packet.wire_len,
        length => length,
    };
    if header_len < 20 || total_len < header_len || packet.wire_len < header_len {
        return Err(Skip::Malformed);
    }
    Ok((header_len, packet.with_len(total_len).skip(header_len)?))
}

/// A length as in the upper half of [`Datagram::size`]. It is the true one: in a header of segmentation offload, or of what was made
/// whole from fragments, it may be another or none, and be more than fits there.
#[inline(always)]
fn size(length: usize) -> u32 {
    (length as u32).rotate_left(16)
}

#[inline(always)]
fn ipv4(packet: Bytes<'_>) -> Result<Datagram<'_>, Skip> {
    let header = packet.header::<20>()?;
    let (header_len, payload) = ipv4_payload(header, packet)?;
    if be16([header[6], header[7]]) & IPV4_FRAGMENT != 0 {
        return Err(Skip::Fragment);
    }
    let (source, destination) = ipv4_ends(header);
    Ok(Datagram {
        source: end(source),
        destination: end(destination),
        protocol: header[9],
        size: size(header_len + payload.wire_len) ^ u32::from(be16([header[4], header[5]])),
        payload,
    })
}

#[inline(always)]
fn ipv4_ends(header: &[u8; 20]) -> (Address, Address) {
    let address = |at: usize| Address::from_ipv4([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    (address(12), address(16))
}

#[inline]
fn ipv6_ends(header: &[u8; 40]) -> (Address, Address) {
    let address = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&header[at..at + 16]);
        Address(bytes)
    };
    (address(8), address(24))
}

#[inline]
fn ipv6(packet: Bytes<'_>) -> Result<Datagram<'_>, Skip> {
    let header = packet.header::<40>()?;
    let Behind { protocol, payload, fragment } = behind_extensions(header, packet)?;
    if fragment.is_some() {
        return Err(Skip::Fragment);
    }
    let (source, destination) = ipv6_ends(header);
    let size = size(payload.wire_len);
    Ok(Datagram { source: end(source), destination: end(destination), protocol, size, payload })
}

/// What stands behind the extension headers of an IPv6 packet, or behind that which makes it a fragment.
struct Behind<'a> {
    protocol: u8,
    payload: Bytes<'a>,
    fragment: Option<&'a [u8; 8]>,
}

#[inline]
fn behind_extensions<'a>(header: &[u8; 40], packet: Bytes<'a>) -> Result<Behind<'a>, Skip> {
    let mut rest = packet.skip(40)?;
    // Payload length 0: a jumbogram, or segmentation offload as above.
    match usize::from(be16([header[4], header[5]])) {
        0 => {}
        length => rest = rest.with_len(length),
    }
    let mut next = header[6];
    for _ in 0..EXTENSION_HEADERS_MAX {
        match next {
            PROTOCOL_FRAGMENT => {
                let fragment = rest.header::<8>()?;
                next = fragment[0];
                rest = rest.skip(8)?;
                // A fragment header with neither offset nor "more fragments" is of a whole packet.
                if be16([fragment[2], fragment[3]]) & IPV6_FRAGMENT != 0 {
                    return Ok(Behind { protocol: next, payload: rest, fragment: Some(fragment) });
                }
            }
            PROTOCOL_AUTHENTICATION => {
                let extension = rest.header::<2>()?;
                next = extension[0];
                rest = rest.skip((usize::from(extension[1]) + 2) * 4)?;
            }
            // Hop-by-hop, routing, destination options, mobility, host identity, shim.
            0 | 43 | 60 | 135 | 139 | 140 => {
                let extension = rest.header::<2>()?;
                next = extension[0];
                rest = rest.skip((usize::from(extension[1]) + 1) * 8)?;
            }
            protocol => return Ok(Behind { protocol, payload: rest, fragment: None }),
        }
    }
    Err(Skip::TooDeep)
}

/// The fragment that an IP packet is of which [`datagram`] said that it is one.
pub(super) fn piece(packet: Bytes<'_>) -> Result<Piece<'_>, Skip> {
    match packet.header::<1>()?[0] >> 4 {
        4 => {
            let header = packet.header::<20>()?;
            let (header_len, data) = ipv4_payload(header, packet)?;
            let (source, destination) = ipv4_ends(header);
            let field = be16([header[6], header[7]]);
            Ok(Piece {
                source,
                destination,
                id: u32::from(be16([header[4], header[5]])),
                protocol: header[9],
                offset: usize::from(field & 0x1fff) * 8,
                more: field & 0x2000 != 0,
                header_len,
                offset_at: 6,
                data,
            })
        }
        6 => {
            let header = packet.header::<40>()?;
            let Behind { payload, fragment, .. } = behind_extensions(header, packet)?;
            let fragment = fragment.ok_or(Skip::Malformed)?;
            let length = usize::from(be16([header[4], header[5]]));
            let whole = if length == 0 { packet } else { packet.with_len(40 + length) };
            let header_len = whole.wire_len - payload.wire_len;
            let (source, destination) = ipv6_ends(header);
            let field = be16([fragment[2], fragment[3]]);
            Ok(Piece {
                source,
                destination,
                id: u32::from_be_bytes([fragment[4], fragment[5], fragment[6], fragment[7]]),
                protocol: 0,
                offset: usize::from(field & 0xfff8),
                more: field & 1 != 0,
                header_len,
                offset_at: header_len - 6,
                data: payload,
            })
        }
        _ => Err(Skip::Malformed),
    }
}

#[inline]
fn end(address: Address) -> Endpoint {
    Endpoint { address, port: 0 }
}
