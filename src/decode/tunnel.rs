//! Tunnels: packets within packets, down to the TCP segment or the fragment inside of all of them.
//!
//! Each format is a function from its header's beginning to the [`Layer`] behind it. Total and allocation-free as all of
//! decoding; work is bounded by [`TUNNELS_MAX`] tunnels of at most [`MPLS_LABELS_MAX`] labels, and a packet in more of them is
//! [`Skip::TooDeep`]. Which tunnels a UDP packet may be is told by its destination's port, as there is no other sign.

use crate::limits::{MPLS_LABELS_MAX, TUNNELS_MAX};

use super::ip::{self, Datagram, PROTOCOL_TCP};
use super::tags::{Tags, Tunnel};
use super::{Bytes, Skip, be16, link};

const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_IPV6: u8 = 41;
const PROTOCOL_GRE: u8 = 47;
const PROTOCOL_MPLS: u8 = 137;

const PORT_VXLAN: u16 = 4789;
/// Linux's choice from before there was a number for it, still its default.
const PORT_VXLAN_LINUX: u16 = 8472;
const PORT_GENEVE: u16 = 6081;

/// "Transparent Ethernet bridging": a whole frame.
const ETHERTYPE_ETHERNET: u16 = 0x6558;
const ETHERTYPE_ERSPAN_I_II: u16 = 0x88be;
const ETHERTYPE_ERSPAN_III: u16 = 0x22eb;

/// What comes next, from its header on.
#[derive(Clone, Copy)]
pub(super) enum Layer<'a> {
    /// An Ethernet frame.
    Ethernet(Bytes<'a>),
    /// An IP packet.
    Ip(Bytes<'a>),
    /// A stack of MPLS labels.
    Mpls(Bytes<'a>),
}

/// What is inside of all tunnels.
pub(super) enum Innermost<'a> {
    /// A packet of TCP.
    Tcp(Datagram<'a>),
    /// A fragment.
    Fragment(Bytes<'a>),
}

/// Goes from layer to layer up to the innermost one. `passed` is told each IP packet that carries a tunnel.
pub(super) fn innermost<'a>(
    mut layer: Layer<'a>,
    tags: &mut Tags,
    passed: &mut impl FnMut(Bytes<'a>),
) -> Result<Innermost<'a>, Skip> {
    let mut tunnels = 0;
    loop {
        let inside = match layer {
            Layer::Ethernet(frame) => {
                layer = link::ethernet(frame, tags)?;
                continue;
            }
            Layer::Mpls(stack) => {
                tags.enter_tunnel();
                mpls(stack, tags)?
            }
            Layer::Ip(packet) => match ip::datagram(packet) {
                Err(Skip::Fragment) => return Ok(Innermost::Fragment(packet)),
                Err(skip) => return Err(skip),
                Ok(datagram) if datagram.protocol == PROTOCOL_TCP => return Ok(Innermost::Tcp(datagram)),
                Ok(datagram) => {
                    tags.enter_tunnel();
                    let inside = by_protocol(&datagram, tags)?;
                    passed(packet);
                    inside
                }
            },
        };
        if tunnels == TUNNELS_MAX {
            return Err(Skip::TooDeep);
        }
        tunnels += 1;
        layer = inside;
    }
}

/// What an IP packet carries that is not TCP.
fn by_protocol<'a>(datagram: &Datagram<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    match datagram.protocol {
        PROTOCOL_UDP => udp(datagram.payload, tags),
        PROTOCOL_GRE => gre(datagram.payload, tags),
        // IP in IP (RFC 2003, RFC 2473, RFC 4213).
        PROTOCOL_IPV4 | PROTOCOL_IPV6 => Ok(Layer::Ip(datagram.payload)),
        // RFC 4023.
        PROTOCOL_MPLS => Ok(Layer::Mpls(datagram.payload)),
        _ => Err(Skip::NotTcp),
    }
}

/// UDP (RFC 768). Its length is not looked at: what is inside has its own.
fn udp<'a>(packet: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    let header = packet.header::<8>()?;
    match be16([header[2], header[3]]) {
        PORT_VXLAN | PORT_VXLAN_LINUX => vxlan(packet.skip(8)?, tags),
        PORT_GENEVE => geneve(packet.skip(8)?, tags),
        _ => Err(Skip::NotTcp),
    }
}

/// VXLAN (RFC 7348, section 5).
fn vxlan<'a>(packet: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    const HAS_NETWORK: u8 = 0x08;
    let header = packet.header::<8>()?;
    if header[0] & HAS_NETWORK == 0 {
        return Err(Skip::NotTcp);
    }
    tags.tunnel = Tunnel::Vxlan(u32::from_be_bytes([0, header[4], header[5], header[6]]));
    Ok(Layer::Ethernet(packet.skip(8)?))
}

/// Geneve (RFC 8926, section 3.4). Options are skipped.
fn geneve<'a>(packet: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    let header = packet.header::<8>()?;
    let (version, options_len) = (header[0] >> 6, usize::from(header[0] & 0x3f) * 4);
    if version != 0 {
        return Err(Skip::NotTcp);
    }
    tags.tunnel = Tunnel::Geneve(u32::from_be_bytes([0, header[4], header[5], header[6]]));
    by_protocol_type(be16([header[2], header[3]]), packet.skip(8 + options_len)?, tags)
}

/// GRE (RFC 2784, RFC 2890); not with source routes (RFC 1701), and not that of PPTP (RFC 2637, version 1).
fn gre<'a>(packet: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    let header = packet.header::<4>()?;
    let (flags, protocol) = (be16([header[0], header[1]]), be16([header[2], header[3]]));
    if flags & (ROUTING | VERSION) != 0 {
        return Err(Skip::NotTcp);
    }
    let mut rest = packet.skip(4)?;
    if flags & CHECKSUM != 0 {
        rest = rest.skip(4)?;
    }
    if flags & KEY != 0 {
        tags.tunnel = Tunnel::Gre(u32::from_be_bytes(*rest.header::<4>()?));
        rest = rest.skip(4)?;
    }
    if flags & SEQUENCE != 0 {
        rest = rest.skip(4)?;
    }
    match protocol {
        ETHERTYPE_ERSPAN_I_II if flags & SEQUENCE == 0 => Ok(Layer::Ethernet(rest)),
        ETHERTYPE_ERSPAN_I_II => erspan_ii(rest, tags),
        ETHERTYPE_ERSPAN_III => erspan_iii(rest, tags),
        _ => by_protocol_type(protocol, rest, tags),
    }
}

/// ERSPAN type II (draft-foschiano-erspan-03, section 4.2). Type I has no header of its own.
fn erspan_ii<'a>(packet: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    let header = packet.header::<8>()?;
    erspan_session([header[0], header[1], header[2], header[3]], tags);
    Ok(Layer::Ethernet(packet.skip(8)?))
}

/// ERSPAN type III (draft-foschiano-erspan-03, section 4.3), with or without the subheader of its platform.
fn erspan_iii<'a>(packet: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    const HAS_SUBHEADER: u8 = 0x01;
    const FRAME_ETHERNET: u8 = 0;
    const FRAME_IP: u8 = 2;
    let header = packet.header::<12>()?;
    erspan_session([header[0], header[1], header[2], header[3]], tags);
    let subheader_len = if header[11] & HAS_SUBHEADER != 0 { 8 } else { 0 };
    let rest = packet.skip(12 + subheader_len)?;
    match (header[10] >> 2) & 0x1f {
        FRAME_ETHERNET => Ok(Layer::Ethernet(rest)),
        FRAME_IP => Ok(Layer::Ip(rest)),
        _ => Err(Skip::NotIp),
    }
}

/// The first word of ERSPAN's headers: the VLAN, which the frame itself may have lost, and the session.
fn erspan_session(word: [u8; 4], tags: &mut Tags) {
    tags.vlan = be16([word[0], word[1]]) & 0x0fff;
    tags.tunnel = Tunnel::Erspan(be16([word[2], word[3]]) & 0x03ff);
}

/// What follows a protocol type of Geneve or GRE.
fn by_protocol_type<'a>(protocol: u16, rest: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    match protocol {
        ETHERTYPE_ETHERNET => Ok(Layer::Ethernet(rest)),
        _ => link::by_ethertype(protocol, rest, tags),
    }
}

/// A stack of MPLS labels (RFC 3032, section 2.1). Nothing says what is behind it.
fn mpls<'a>(mut stack: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    /// Labels below say how to treat the packet, not whose it is (RFC 7274).
    const FIRST_ORDINARY: u32 = 16;
    /// The label that follows only spreads load (RFC 6790).
    const ENTROPY_INDICATOR: u32 = 7;
    let mut before = 0;
    for _ in 0..MPLS_LABELS_MAX {
        let entry = stack.header::<4>()?;
        stack = stack.skip(4)?;
        let label = u32::from_be_bytes(*entry) >> 12;
        if label >= FIRST_ORDINARY && before != ENTROPY_INDICATOR {
            tags.tunnel = Tunnel::Mpls(label);
        }
        before = label;
        let is_bottom = entry[2] & 1 != 0;
        if is_bottom {
            return behind_labels(stack);
        }
    }
    Err(Skip::TooDeep)
}

/// The packet behind MPLS labels, by its first four bits (RFC 4928, section 3): those of an IP packet are its version; 0 begins
/// the control word of a pseudo-wire (RFC 4385), or the address of an Ethernet frame without one (RFC 4448).
fn behind_labels(packet: Bytes<'_>) -> Result<Layer<'_>, Skip> {
    const CONTROL_WORD_LEN: usize = 4;
    let first = packet.header::<1>()?[0] >> 4;
    match first {
        4 | 6 => return Ok(Layer::Ip(packet)),
        0 => {
            let behind = packet.skip(CONTROL_WORD_LEN)?;
            if is_frame(behind)? {
                return Ok(Layer::Ethernet(behind));
            }
        }
        _ => {}
    }
    if is_frame(packet)? { Ok(Layer::Ethernet(packet)) } else { Err(Skip::NotIp) }
}

/// Whether it looks like an Ethernet frame in which there may be a packet.
fn is_frame(bytes: Bytes<'_>) -> Result<bool, Skip> {
    match bytes.header::<14>() {
        Ok(header) => Ok(link::is_known(be16([header[12], header[13]]))),
        Err(Skip::CutOff) => Err(Skip::CutOff),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests;
