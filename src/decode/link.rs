//! Link layers: Ethernet with VLAN tags, Linux cooked captures, loopback, raw IP.

use crate::capture::LinkType;

use super::tags::Tags;
use super::tunnel::Layer;
use super::{Bytes, Skip, be16};

/// Tags of a frame that are looked behind: a customer's inside a provider's, and one more from the mirror.
const VLAN_TAGS_MAX: usize = 3;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the 802.1ad tag of older switches.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// RFC 3032, section 4; the second one was for multicast.
const ETHERTYPES_MPLS: [u16; 2] = [0x8847, 0x8848];

/// The IPv4 packet in an Ethernet frame without tags.
#[inline(always)]
pub(super) fn usual(frame: Bytes<'_>, link: LinkType) -> Option<Bytes<'_>> {
    let header = frame.header::<14>().ok()?;
    let is_usual = link == LinkType::Ethernet && be16([header[12], header[13]]) == ETHERTYPE_IPV4;
    if is_usual { frame.skip(14).ok() } else { None }
}

/// What is inside a frame.
#[inline]
pub(super) fn inside<'a>(frame: Bytes<'a>, link: LinkType, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    match link {
        LinkType::Ethernet => ethernet(frame, tags),
        LinkType::LinuxSll => {
            let header = frame.header::<16>()?;
            by_ethertype(be16([header[14], header[15]]), frame.skip(16)?, tags)
        }
        LinkType::LinuxSll2 => {
            let header = frame.header::<20>()?;
            by_ethertype(be16([header[0], header[1]]), frame.skip(20)?, tags)
        }
        // The family is in the byte order of the machine that captured, its values differ between systems: what follows
        // says by itself which version it is, the family only has to be one byte at either end.
        LinkType::Null | LinkType::Loop => {
            let family = frame.header::<4>()?;
            match *family {
                [2 | 10 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 2 | 10 | 24 | 28 | 30] => Ok(Layer::Ip(frame.skip(4)?)),
                _ => Err(Skip::NotIp),
            }
        }
        LinkType::RawIp => Ok(Layer::Ip(frame)),
    }
}

/// What is inside an Ethernet frame.
#[inline]
pub(super) fn ethernet<'a>(frame: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    let header = frame.header::<14>()?;
    by_ethertype(be16([header[12], header[13]]), frame.skip(14)?, tags)
}

/// What follows an ethertype.
#[inline]
pub(super) fn by_ethertype<'a>(mut ethertype: u16, mut packet: Bytes<'a>, tags: &mut Tags) -> Result<Layer<'a>, Skip> {
    let (mut seen, mut vlan, mut inner_vlan) = (0, 0, 0);
    while ETHERTYPES_VLAN.contains(&ethertype) {
        if seen == VLAN_TAGS_MAX {
            return Err(Skip::TooDeep);
        }
        let tag = packet.header::<4>()?;
        // 0: only a priority.
        match be16([tag[0], tag[1]]) & 0x0fff {
            0 => {}
            id if vlan == 0 => vlan = id,
            id => inner_vlan = id,
        }
        ethertype = be16([tag[2], tag[3]]);
        packet = packet.skip(4)?;
        seen += 1;
    }
    if vlan != 0 {
        (tags.vlan, tags.inner_vlan) = (vlan, inner_vlan);
    }
    match ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Ok(Layer::Ip(packet)),
        _ if ETHERTYPES_MPLS.contains(&ethertype) => Ok(Layer::Mpls(packet)),
        _ => Err(Skip::NotIp),
    }
}

/// Whether an ethertype is one that [`by_ethertype`] looks behind.
pub(super) fn is_known(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6)
        || ETHERTYPES_VLAN.contains(&ethertype)
        || ETHERTYPES_MPLS.contains(&ethertype)
}
