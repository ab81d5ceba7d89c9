//! What tells connections apart.

use crate::decode::Packet;
use crate::decode::ports::PortSet;
use crate::decode::tags::Tags;
use crate::units::{Direction, Endpoint};

use super::hash::Seed;

/// Which segments are looked at, and what tells their connections apart.
#[derive(Clone, Debug)]
pub struct Keying {
    /// The server ports.
    pub ports: PortSet,
    /// Whether VLAN and tunnel belong to a connection's identity.
    pub by_vlan: bool,
}

impl From<PortSet> for Keying {
    fn from(ports: PortSet) -> Keying {
        Keying { ports, by_vlan: false }
    }
}

impl Keying {
    /// The key of a segment's connection, and which way the segment goes; `None` if neither port is a server's.
    #[inline(always)]
    pub fn of(&self, segment: &Packet<'_>) -> Option<(FlowKey, Direction)> {
        let (mut key, direction) = FlowKey::of(segment, &self.ports)?;
        if self.by_vlan {
            key.tags = segment.tags;
        }
        Some((key, direction))
    }
}

/// A connection's identity: its two ends, by role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowKey {
    /// The end whose port is not the server's.
    pub client: Endpoint,
    /// The end whose port is the server's.
    pub server: Endpoint,
    /// Where it is, if that is to tell it from others between the same ends; else nothing.
    pub tags: Tags,
}

impl FlowKey {
    /// The key of a segment's connection, and which way the segment goes; `None` if neither port is a server's. If both are,
    /// the end with the lower port (then address) is taken for the server, until a SYN tells otherwise. VLAN and tunnel are left
    /// out.
    #[inline(always)]
    pub fn of(segment: &Packet<'_>, ports: &PortSet) -> Option<(FlowKey, Direction)> {
        let Packet { source, destination, .. } = *segment;
        let to_server = match (ports.contains(source.port), ports.contains(destination.port)) {
            (false, true) => true,
            (true, false) => false,
            (true, true) => (destination.port, destination.address) < (source.port, source.address),
            (false, false) => return None,
        };
        Some(if to_server {
            (FlowKey { client: source, server: destination, tags: Tags::default() }, Direction::Request)
        } else {
            (FlowKey { client: destination, server: source, tags: Tags::default() }, Direction::Reply)
        })
    }

    /// The key's hash; the same for both directions.
    #[inline(always)]
    pub fn hash(&self, seed: Seed) -> u64 {
        let ends = seed.of_roles(&self.client, &self.server);
        if self.tags == Tags::default() { ends } else { ends ^ seed.hash_of(&self.tags) }
    }
}

/// What a table holds by its key: it knows its own ends, so that they are kept once.
pub trait Keyed {
    /// Bytes that one may need elsewhere, of those that the table has for it.
    const BYTES_BESIDE: usize = 0;

    /// The client's end and the server's, as its key has them.
    fn ends(&self) -> (&Endpoint, &Endpoint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Frame, LinkType};
    use crate::decode::decode;
    use crate::units::Timestamp;

    /// A frame from 10.0.0.1:40001 to 10.0.0.9:6379, or back, in this VLAN.
    fn frame(vlan: u8, back: bool) -> Vec<u8> {
        let (ends, ports) = if back {
            ([10, 0, 0, 9, 10, 0, 0, 1], [0x18, 0xeb, 0x9c, 0x41])
        } else {
            ([10, 0, 0, 1, 10, 0, 0, 9], [0x9c, 0x41, 0x18, 0xeb])
        };
        let ip = [0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0];
        let tcp = [0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
        [&[2; 12][..], &[0x81, 0, 0, vlan, 8, 0], &ip, &ends, &ports, &tcp].concat()
    }

    fn key(by_vlan: bool, frame: &[u8]) -> FlowKey {
        let keying = Keying { by_vlan, ..PortSet::new([6379]).into() };
        let wire_len = frame.len() as u32;
        let frame = Frame { bytes: frame, wire_len, at: Timestamp(1), link: LinkType::Ethernet };
        keying.of(&decode(&frame).unwrap()).unwrap().0
    }

    #[test]
    fn vlans_tell_connections_apart_only_where_they_are_to() {
        let seed = Seed::fixed(1);
        for (by_vlan, vlan, back, same) in
            [(false, 6, false, true), (false, 6, true, true), (true, 5, true, true), (true, 6, false, false)]
        {
            let (one, other) = (key(by_vlan, &frame(5, false)), key(by_vlan, &frame(vlan, back)));
            assert_eq!(one == other, same, "{by_vlan} {vlan} {back}");
            assert_eq!(one.hash(seed) == other.hash(seed), same, "{by_vlan} {vlan} {back}");
        }
        assert_eq!(key(true, &frame(5, false)).tags.vlan, 5);
        assert_eq!(key(false, &frame(5, false)).hash(seed), key(true, &frame(0, false)).hash(seed), "0 is no VLAN");
    }
}
