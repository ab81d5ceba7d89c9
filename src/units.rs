//! The few units that every layer speaks: points in time, addresses, directions and stream positions.
//!
//! Plain `Copy` data; nothing here allocates or panics.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A point in time by the capture's clock: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// No time is known (a byte that was never seen).
    pub const NONE: Timestamp = Timestamp(0);

    /// Nanoseconds from `earlier` to `self`; 0 where the clock went backwards.
    #[inline]
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The point in time `nanoseconds` later, saturating at the end of time.
    #[inline]
    #[must_use]
    pub fn after(self, nanoseconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(nanoseconds))
    }

    /// Whether a time is known at all.
    #[inline]
    pub fn is_known(self) -> bool {
        self != Self::NONE
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with nine digits: `2026-11-22T12:00:00.000000123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every 64-bit number of nanoseconds lies before the year 2555, within what jiff can say.
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.0)).map_err(|_| fmt::Error)?;
        write!(f, "{time:.9}")
    }
}

/// Which way bytes flow on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Direction {
    /// Client to server.
    Request = 0,
    /// Server to client.
    Reply = 1,
}

impl Direction {
    /// The other way.
    #[inline]
    #[must_use]
    pub fn reverse(self) -> Direction {
        match self {
            Direction::Request => Direction::Reply,
            Direction::Reply => Direction::Request,
        }
    }
}

/// A byte's position in one direction of a connection: its TCP sequence number unwrapped to 64 bits,
/// so that `offset.0 as u32` is the sequence number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Offset(pub u64);

impl Offset {
    /// The position `bytes` further on.
    #[inline]
    #[must_use]
    pub fn plus(self, bytes: u64) -> Offset {
        Offset(self.0.wrapping_add(bytes))
    }

    /// The position so many bytes before.
    #[inline]
    #[must_use]
    pub fn before(self, bytes: u64) -> Offset {
        Offset(self.0.wrapping_sub(bytes))
    }

    /// Bytes from `earlier` to `self`; 0 if `earlier` is not earlier.
    #[inline]
    pub fn distance_from(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// An IP address, IPv4 in its IPv6-mapped form, in network byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// From the four bytes of an IPv4 header.
    #[inline]
    pub fn from_ipv4(bytes: [u8; 4]) -> Address {
        Address((u128::from(u32::from_le_bytes(bytes)) << 96 | 0xffff << 80).to_le_bytes())
    }

    /// Whether this is an IPv4 address.
    #[inline]
    pub fn is_ipv4(self) -> bool {
        self.0[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }

    /// The four bytes of an IPv4 address, as a number whose lowest byte is the first.
    #[inline(always)]
    pub fn ipv4_bits(&self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    /// The standard library's form; IPv4 as IPv4.
    pub fn to_ip(self) -> IpAddr {
        if self.is_ipv4() {
            IpAddr::V4(Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15]))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.0))
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Address {
        match ip {
            IpAddr::V4(v4) => Address::from_ipv4(v4.octets()),
            IpAddr::V6(v6) => Address(v6.octets()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

/// One end of a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Debug)]
pub struct Endpoint {
    /// IP address.
    pub address: Address,
    /// TCP port, host byte order.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// `10.0.0.1:6379`, `[2001:db8::1]:6379`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.to_ip() {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// Who talks to whom, in which connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Conversation {
    /// The client.
    pub client: Endpoint,
    /// The server.
    pub server: Endpoint,
    /// The VLAN that the connection's first packet was in, and that inside it (two tags); 0: none.
    pub vlans: [u16; 2],
    /// Derived from the tuple and the time of the first packet: the same in every run.
    pub id: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timestamp_can_be_printed() {
        assert_eq!(Timestamp(1_795_348_800_000_000_123).to_string(), "2026-11-22T12:00:00.000000123Z");
        assert_eq!(Timestamp(951_825_599_999_999_999).to_string(), "2000-02-29T11:59:59.999999999Z");
        assert_eq!(Timestamp(u64::MAX).to_string(), "2554-07-21T23:34:33.709551615Z");
    }
}
