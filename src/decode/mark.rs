//! By what copies of a segment are known: all that a mirror or a router leaves as it is, and that TCP changes when it sends the
//! same bytes again.
//!
//! That is sequence, acknowledgement, flags and window; the options, as a retransmission has a newer timestamp; in IPv4 the
//! identification, as it has a new one (RFC 6864); and the packet's length. The payload itself follows from these, as what TCP
//! sends at a place is always the same. Left out are addresses (they are the connection's), TTL, VLAN, tunnel, and checksums,
//! which hosts with offload leave open.

use super::tcp::{Control, Numbers, PLAIN_BYTES, Tcp, part};

/// Length of the usual header: two options that fill up, and a timestamp.
pub(super) const STAMPED_BYTES: usize = 32;
/// An odd number with about as many ones as zeros.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// As of no options below, mixed; not 0, which would leave the rest with few ones, that don't mix.
pub(super) const NO_OPTIONS: u64 = MIX;

impl Tcp<'_> {
    /// What copies of a packet have in common, and hardly any two others of its connection. Both numbers count.
    pub fn mark(&self) -> [u64; 2] {
        let header_len = self.control().header_len();
        let options = match (header_len, self.bytes.first_chunk()) {
            (PLAIN_BYTES, _) => NO_OPTIONS,
            (STAMPED_BYTES, Some(header)) => mark_of_stamp(header),
            _ => unusual_options(self.bytes, header_len).wrapping_mul(MIX),
        };
        mark(self.numbers(), self.control(), self.size, options)
    }
}

/// The same of these.
#[inline(always)]
pub(super) fn mark(numbers: Numbers, control: Control, size: u32, options: u64) -> [u64; 2] {
    // All but the place in the streams.
    let rest = u64::from(control.0) << 32 ^ u64::from(size) ^ options;
    [numbers.0, rest]
}

/// What is in it of the usual header's options.
#[inline(always)]
pub(super) fn mark_of_stamp(header: &[u8; STAMPED_BYTES]) -> u64 {
    // Mixed, so that a small change of the options can't make up for a small change of the others.
    u64::from_ne_bytes(part(header, 24)).wrapping_mul(MIX)
}

#[cold]
fn unusual_options(header: &[u8], len: usize) -> u64 {
    let options = header.get(PLAIN_BYTES..len).unwrap_or_default();
    let mix = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(MIX).rotate_left(29);
    options.iter().fold(1, mix)
}

#[cfg(test)]
mod tests {
    use crate::capture::{Frame, LinkType};
    use crate::decode::decode;
    use crate::units::Timestamp;

    /// An IPv4 packet with so many bytes of options, the usual 12 or others, and a payload of 5 bytes.
    fn ipv4(options: usize) -> Vec<u8> {
        let ip = [0x45, 0, 0, 45 + options as u8, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
        let words = (5 + options / 4) as u8;
        let tcp = [0x9c, 0x41, 0x18, 0xeb, 0, 0, 0, 7, 0, 0, 0, 9, words << 4, 0x10, 1, 0, 0, 0, 0, 0];
        let usual = [1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6];
        let options = if options == 12 { usual.to_vec() } else { vec![2; options] };
        [&ip[..], &tcp, &options, b"+OK\r\n"].concat()
    }

    fn mark(packet: &[u8]) -> [u64; 2] {
        let frame = Frame { bytes: packet, wire_len: packet.len() as u32, at: Timestamp(1), link: LinkType::RawIp };
        decode(&frame).unwrap().tcp.mark()
    }

    #[test]
    fn what_routers_and_offload_change_leaves_the_mark_as_it_is() {
        for options in [0, 12, 20] {
            let packet = ipv4(options);
            // Class, TTL and checksum of IP; checksum of TCP.
            for at in [1, 8, 10, 11, 36, 37] {
                let mut changed = packet.clone();
                changed[at] ^= 1;
                assert_eq!(mark(&changed), mark(&packet), "byte {at}, {options} bytes of options");
            }
        }
    }

    #[test]
    fn each_bit_that_tcp_changes_when_it_sends_again_changes_the_mark() {
        for options in [0, 4, 8, 12, 16, 20, 24, 40] {
            let packet = ipv4(options);
            // Of the usual options the kinds don't count, as they are always the same.
            let counted = if options == 12 { 44..52 } else { 40..40 + options };
            // Identification; sequence, acknowledgement; flags, window.
            for at in [4..6, 24..32, 33..36, counted].into_iter().flatten() {
                for bit in 0..8 {
                    let mut changed = packet.clone();
                    changed[at] ^= 1 << bit;
                    assert_ne!(mark(&changed), mark(&packet), "byte {at}, bit {bit}, {options} bytes of options");
                }
            }
            let mut shorter = packet.clone();
            shorter[3] -= 1;
            assert_ne!(mark(&shorter), mark(&packet), "the length");
        }
    }

    /// A FIN that follows an acknowledgement: its flags differ in the bit in which its timestamp does.
    #[test]
    fn small_changes_of_flags_and_timestamp_together_make_another_mark() {
        let packet = ipv4(12);
        for flags in 1..64 {
            for stamp in 1..=255 {
                let mut changed = packet.clone();
                changed[33] ^= flags;
                changed[47] ^= stamp;
                assert_ne!(mark(&changed), mark(&packet), "{flags} {stamp}");
            }
        }
    }

    #[test]
    fn packets_of_which_offload_left_the_length_open_are_told_apart_by_what_is_there() {
        let open = |mut packet: Vec<u8>, more: usize| {
            packet[2..4].fill(0);
            packet.extend(vec![b'x'; more]);
            mark(&packet)
        };
        assert_ne!(open(ipv4(12), 0), open(ipv4(12), 1));
        assert_eq!(open(ipv4(12), 1), open(ipv4(12), 1));
    }
}
