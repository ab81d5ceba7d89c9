//! Link layers: Ethernet with VLAN tags, Linux cooked captures, loopback, raw IP.

use crate::capture::LinkType;

use super::{Bytes, Skip, be16};

/// Tags of a frame that are looked behind: a customer's inside a provider's, and one more from the mirror.
const VLAN_TAGS_MAX: usize = 3;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the 802.1ad tag of older switches.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// The IP packet inside a frame.
#[inline]
pub(super) fn network_packet(frame: Bytes<'_>, link: LinkType) -> Result<Bytes<'_>, Skip> {
    match link {
        LinkType::Ethernet => {
            let header = frame.header::<14>()?;
            by_ethertype(be16([header[12], header[13]]), frame.skip(14)?)
        }
        LinkType::LinuxSll => {
            let header = frame.header::<16>()?;
            by_ethertype(be16([header[14], header[15]]), frame.skip(16)?)
        }
        LinkType::LinuxSll2 => {
            let header = frame.header::<20>()?;
            by_ethertype(be16([header[0], header[1]]), frame.skip(20)?)
        }
        // The family is in the byte order of the machine that captured, its values differ between systems: what follows
        // says by itself which version it is, the family only has to be one byte at either end.
        LinkType::Null | LinkType::Loop => {
            let family = frame.header::<4>()?;
            match *family {
                [2 | 10 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 2 | 10 | 24 | 28 | 30] => frame.skip(4),
                _ => Err(Skip::NotIp),
            }
        }
        LinkType::RawIp => Ok(frame),
    }
}

#[inline]
fn by_ethertype(mut ethertype: u16, mut packet: Bytes<'_>) -> Result<Bytes<'_>, Skip> {
    let mut tags = 0;
    while ETHERTYPES_VLAN.contains(&ethertype) {
        if tags == VLAN_TAGS_MAX {
            return Err(Skip::NotIp);
        }
        let tag = packet.header::<4>()?;
        ethertype = be16([tag[2], tag[3]]);
        packet = packet.skip(4)?;
        tags += 1;
    }
    match ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Ok(packet),
        _ => Err(Skip::NotIp),
    }
}
