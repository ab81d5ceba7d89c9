//! Other addresses for each loop: a connection that were sent twice as it is would look like its own retransmission.
//!
//! Only the client's address changes, in its second and third byte from the end, so that servers stay what they are. Checksums of
//! the IP header and of TCP follow, if they were there (RFC 1624).

use resptap::capture::Frame;
use resptap::decode::decode;
use resptap::units::Address;

/// Where a frame has what changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shifter {
    /// The bytes that change: a 16-bit word of the client's address, of which the last byte is left as it is.
    word: usize,
    original: u16,
    /// The IP header's checksum, in IPv4.
    ip_checksum: Option<(usize, u16)>,
    tcp_checksum: Option<(usize, u16)>,
}

const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;

impl Shifter {
    /// Of a frame of TCP over IP without options; `None` of others, which stay as they are.
    pub fn of(frame: &Frame<'_>, ports: &[u16]) -> Option<Shifter> {
        let segment = decode(frame).ok()?;
        let tcp = (segment.tcp.bytes().as_ptr() as usize).checked_sub(frame.bytes.as_ptr() as usize)?;
        let is_from_client = ports.contains(&segment.destination.port);
        let client = if is_from_client { segment.source } else { segment.destination };
        let half = |at: usize| frame.bytes.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let (source, ip_checksum) = if client.address.is_ipv4() {
            let ip = tcp.checked_sub(IPV4_BYTES)?;
            (ip + 12, Some((ip + 10, half(ip + 10)?)))
        } else {
            (tcp.checked_sub(IPV6_BYTES)? + 8, None)
        };
        let bytes = if client.address.is_ipv4() { 4 } else { 16 };
        let address = if is_from_client { source } else { source + bytes };
        // The header is where it is thought to be if the address is.
        let found = frame.bytes.get(address..address + bytes)?;
        let is_there = match <[u8; 4]>::try_from(found) {
            Ok(found) => Address::from_ipv4(found) == client.address,
            Err(_) => client.address.0 == *found,
        };
        if !is_there {
            return None;
        }
        let word = address + bytes - 4;
        let sum = half(tcp + 16).filter(|&sum| sum != 0);
        Some(Shifter { word, original: half(word + 1)?, ip_checksum, tcp_checksum: sum.map(|sum| (tcp + 16, sum)) })
    }

    /// Gives the frame the addresses of a loop; of loop 0 its own.
    pub fn set(&self, frame: &mut [u8], number: u64) {
        let shifted = self.original.wrapping_add(number as u16);
        frame[self.word + 1..self.word + 3].copy_from_slice(&shifted.to_be_bytes());
        // Its bytes are halves of two of the words that checksums add up.
        let [old_high, old_low] = self.original.to_be_bytes();
        let [high, low] = shifted.to_be_bytes();
        for (at, checksum) in [self.ip_checksum, self.tcp_checksum].into_iter().flatten() {
            let mut sum = u32::from(!checksum);
            sum += u32::from(high) + u32::from(!u16::from(old_high));
            sum += (u32::from(low) << 8) + u32::from(!(u16::from(old_low) << 8));
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            frame[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Generator, Plan, Profile, Tunnel};
    use resptap::units::Endpoint;

    fn sum(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The sum over TCP's pseudo-header and segment, which is all ones if the checksum is right.
    fn tcp_sum(frame: &Frame<'_>) -> u16 {
        let segment = decode(frame).unwrap();
        let mut bytes = Vec::new();
        for Endpoint { address, .. } in [segment.source, segment.destination] {
            bytes.extend_from_slice(if address.is_ipv4() { &address.0[12..] } else { &address.0 });
        }
        bytes.extend_from_slice(&(segment.tcp.bytes().len() as u32).to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 6]);
        bytes.extend_from_slice(segment.tcp.bytes());
        sum(&bytes)
    }

    fn with<'a>(frame: &Frame<'_>, bytes: &'a [u8]) -> Frame<'a> {
        Frame { bytes, wire_len: frame.wire_len, at: frame.at, link: frame.link }
    }

    #[test]
    fn clients_get_other_addresses_and_right_checksums() {
        for (tunnel, ipv6) in [(Tunnel::None, 0.0), (Tunnel::Vlan, 0.0), (Tunnel::None, 1.0), (Tunnel::Vxlan, 0.0)] {
            let plan = Plan { tunnel, ipv6, timestamps: true, ..Profile::T1.plan() };
            let mut generator = Generator::new(&plan, 1);
            for frame in generator.next(300).frames() {
                let mut bytes = frame.bytes.to_vec();
                let tcp = decode(&frame).unwrap().tcp.bytes().as_ptr() as usize - frame.bytes.as_ptr() as usize;
                // The generator leaves it out.
                let right = !tcp_sum(&frame);
                bytes[tcp + 16..tcp + 18].copy_from_slice(&right.to_be_bytes());
                let original = bytes.clone();
                assert_eq!(tcp_sum(&with(&frame, &bytes)), 0xffff, "the test makes a right checksum");
                let shifter = Shifter::of(&with(&frame, &bytes), &[6379]).unwrap();
                let ends = |bytes: &[u8]| {
                    let segment = decode(&Frame { bytes, ..frame }).unwrap();
                    let is_asked = segment.destination.port == 6379;
                    if is_asked { (segment.source, segment.destination) } else { (segment.destination, segment.source) }
                };
                for number in [1, 2, 300, 65_535] {
                    shifter.set(&mut bytes, number);
                    let (before, after) = (ends(&original), ends(&bytes));
                    assert_ne!(before.0.address, after.0.address, "{number}");
                    assert_eq!((before.0.port, before.1), (after.0.port, after.1), "{number}");
                    assert_eq!(tcp_sum(&with(&frame, &bytes)), 0xffff, "{number} {tunnel:?} {ipv6}");
                    if ipv6 == 0.0 {
                        assert_eq!(sum(&bytes[tcp - 20..tcp]), 0xffff, "{number} {tunnel:?}");
                    }
                }
                shifter.set(&mut bytes, 0);
                assert_eq!(bytes, original);
            }
        }
    }

    #[test]
    fn what_is_no_tcp_or_has_no_checksum_stays_as_it_is() {
        let mut generator = Generator::new(&Profile::T1.plan(), 1);
        let trace = generator.next(10);
        let frame = trace.frame(0);
        let mut udp = frame.bytes.to_vec();
        udp[23] = 17;
        assert_eq!(Shifter::of(&Frame { bytes: &udp, ..frame }, &[6379]), None);
        let shifter = Shifter::of(&frame, &[6379]).unwrap();
        let mut bytes = frame.bytes.to_vec();
        shifter.set(&mut bytes, 5);
        assert_eq!(bytes[50..52], [0, 0], "no checksum of TCP is made up");
    }
}
