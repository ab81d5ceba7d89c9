//! IPv4 with options, IPv6 with extension headers.

use crate::units::{Address, Endpoint};

use super::{Bytes, Skip, be16};

/// Extension headers that are looked behind.
const EXTENSION_HEADERS_MAX: usize = 8;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_FRAGMENT: u8 = 44;
const PROTOCOL_AUTHENTICATION: u8 = 51;

/// The TCP segment inside an IP packet, and between whom it goes (ports still 0).
#[inline]
pub(super) fn transport_payload(packet: Bytes<'_>) -> Result<(Endpoint, Endpoint, Bytes<'_>), Skip> {
    match packet.header::<1>()?[0] >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => Err(Skip::Malformed),
    }
}

#[inline]
fn ipv4(packet: Bytes<'_>) -> Result<(Endpoint, Endpoint, Bytes<'_>), Skip> {
    let header = packet.header::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    // Total length 0: the host's segmentation offload handed over more than the field can say.
    let total_len = match usize::from(be16([header[2], header[3]])) {
        0 => packet.wire_len,
        length => length,
    };
    if header_len < 20 || total_len < header_len || packet.wire_len < header_len {
        return Err(Skip::Malformed);
    }
    // Offset or "more fragments".
    if be16([header[6], header[7]]) & 0x3fff != 0 {
        return Err(Skip::Fragment);
    }
    if header[9] != PROTOCOL_TCP {
        return Err(Skip::NotTcp);
    }
    let source = Address::from_ipv4([header[12], header[13], header[14], header[15]]);
    let destination = Address::from_ipv4([header[16], header[17], header[18], header[19]]);
    Ok((end(source), end(destination), packet.truncate(total_len).skip(header_len)?))
}

#[inline]
fn ipv6(packet: Bytes<'_>) -> Result<(Endpoint, Endpoint, Bytes<'_>), Skip> {
    let header = packet.header::<40>()?;
    let address = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&header[at..at + 16]);
        Address(bytes)
    };
    let mut rest = packet.skip(40)?;
    // Payload length 0: a jumbogram, or segmentation offload as above.
    match usize::from(be16([header[4], header[5]])) {
        0 => {}
        length => rest = rest.truncate(length),
    }
    let mut next = header[6];
    for _ in 0..EXTENSION_HEADERS_MAX {
        match next {
            PROTOCOL_TCP => return Ok((end(address(8)), end(address(24)), rest)),
            PROTOCOL_FRAGMENT => {
                let fragment = rest.header::<8>()?;
                // Offset or "more fragments"; a fragment header without either is a whole packet.
                if be16([fragment[2], fragment[3]]) & 0xfff9 != 0 {
                    return Err(Skip::Fragment);
                }
                next = fragment[0];
                rest = rest.skip(8)?;
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
            _ => return Err(Skip::NotTcp),
        }
    }
    Err(Skip::NotTcp)
}

#[inline]
fn end(address: Address) -> Endpoint {
    Endpoint { address, port: 0 }
}
