//! What tells connections apart.

use crate::decode::ports::{Only, PortSet};
use crate::decode::tags::Tags;
use crate::decode::{Packet, Usual};
use crate::units::{Address, Direction, Endpoint};

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

    /// The same of a usual frame, which has no tags.
    pub fn of_usual(&self, frame: &Usual<'_>) -> Option<(Ipv4Ends, Direction)> {
        let [source, destination] = frame.ends();
        let (key, direction) = FlowKey::between(source, destination, &self.ports)?;
        Some((Ipv4Ends::of(&key.client, &key.server)?, direction))
    }

    /// The same where there is one server port, which is one of the frame's two: and how far these were turned, 16 bits if it is a
    /// reply.
    #[inline(always)]
    pub fn of_only(only: Only, frame: &Usual<'_>) -> Option<(Ipv4Ends, u32)> {
        let turn = only.turn(frame.ports())?;
        let addresses = frame.addresses().rotate_left(2 * turn);
        Some((Ipv4Ends { addresses, ports: frame.ports().rotate_left(turn).swap_bytes() }, turn))
    }
}

/// The ends of a connection over IPv4, by role, in little room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, packed(4))]
pub struct Ipv4Ends {
    /// As in a header: the client's in the lower half.
    addresses: u64,
    /// The client's in the upper half.
    ports: u32,
}

impl Ipv4Ends {
    /// Of two ends, if both are of IPv4.
    #[inline]
    pub fn of(client: &Endpoint, server: &Endpoint) -> Option<Ipv4Ends> {
        let [one, other] = [client, server].map(|end| u64::from(end.address.ipv4_bits()));
        let ports = u32::from(client.port) << 16 | u32::from(server.port);
        let is_ipv4 = client.address.is_ipv4() && server.address.is_ipv4();
        is_ipv4.then_some(Ipv4Ends { addresses: other << 32 | one, ports })
    }

    /// The client's and the server's.
    pub fn ends(self) -> [Endpoint; 2] {
        let Ipv4Ends { addresses, ports } = self;
        let end = |address: u64, port: u32| Endpoint {
            address: Address::from_ipv4((address as u32).to_le_bytes()),
            port: port as u16,
        };
        [end(addresses, ports >> 16), end(addresses >> 32, ports)]
    }

    /// Whether it has these ends, of which it is known that they are of IPv4.
    #[inline(always)]
    pub fn are(self, client: &Endpoint, server: &Endpoint) -> bool {
        let Ipv4Ends { addresses, ports } = self;
        client.address.ipv4_bits() == addresses as u32
            && server.address.ipv4_bits() == (addresses >> 32) as u32
            && client.port == (ports >> 16) as u16
            && server.port == ports as u16
    }

    /// The hash of the key that it stands for.
    #[inline(always)]
    pub fn hash(self, seed: Seed) -> u64 {
        seed.of_ipv4(self.addresses, self.ports)
    }
}

impl From<Ipv4Ends> for FlowKey {
    fn from(ends: Ipv4Ends) -> FlowKey {
        let [client, server] = ends.ends();
        FlowKey { client, server, tags: Tags::default() }
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
        FlowKey::between(segment.source, segment.destination, ports)
    }

    #[inline(always)]
    fn between(source: Endpoint, destination: Endpoint, ports: &PortSet) -> Option<(FlowKey, Direction)> {
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
        let ends = match Ipv4Ends::of(&self.client, &self.server) {
            Some(ends) => ends.hash(seed),
            None => seed.of_roles(&self.client, &self.server),
        };
        if self.tags == Tags::default() { ends } else { ends ^ seed.hash_of(&self.tags) }
    }
}

/// What a table holds by its key: it knows its own ends, so that they are kept once.
pub trait Keyed {
    /// Bytes that one may need elsewhere, of those that the table has for it.
    const BYTES_BESIDE: usize = 0;
    /// Bytes that it begins with, which are all that a usual segment of it touches.
    const BYTES_USED: usize;

    /// The client's end and the server's, as its key has them.
    fn ends(&self) -> (&Endpoint, &Endpoint);

    /// Whether these are its ends, and it is as most are; if not, [`Keyed::ends`] tell.
    fn is_usual_between(&self, ends: Ipv4Ends) -> bool;
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

    #[test]
    fn a_usual_frame_has_the_key_that_it_has_by_the_long_way() {
        let seed = Seed::fixed(1);
        for ports in [vec![6379], vec![40_001], vec![6379, 40_001], vec![80], vec![80, 6379], vec![40_001, 80]] {
            let keying: Keying = PortSet::new(ports.clone()).into();
            for back in [false, true] {
                let bytes = frame(5, back);
                let untagged = [&bytes[..12], &bytes[16..]].concat();
                let frame = Frame { bytes: &untagged, wire_len: 54, at: Timestamp(1), link: LinkType::Ethernet };
                let decoded = Usual::of(&frame).unwrap();
                let usual = keying.of_usual(&decoded);
                let told = keying.of(&decode(&frame).unwrap());
                assert_eq!(usual.map(|(ends, direction)| (ends.into(), direction)), told, "{ports:?} {back}");
                assert_eq!(usual.is_some(), ports != [80]);
                if let Some((ends, turn)) = Keying::of_only(keying.ports.only(), &decoded) {
                    assert_eq!(usual, Some((ends, if turn == 16 { Direction::Reply } else { Direction::Request })));
                }
                assert_eq!(Keying::of_only(keying.ports.only(), &decoded).is_some(), ports.len() == 1 && ports != [80]);
                let (Some((ends, _)), Some((key, _))) = (usual, told) else { continue };
                assert_eq!((ends.hash(seed), Ipv4Ends::of(&key.client, &key.server)), (key.hash(seed), Some(ends)));
                assert!(ends.are(&key.client, &key.server) && !ends.are(&key.server, &key.client));
                let elsewhere = Endpoint { port: 1, ..key.client };
                assert!(!ends.are(&elsewhere, &key.server) && !ends.are(&key.client, &elsewhere));
                let other = Endpoint { address: Address::from_ipv4([10, 0, 0, 2]), ..key.server };
                assert!(!ends.are(&key.client, &other));
            }
        }
    }
}
