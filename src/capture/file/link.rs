//! Link types by their numbers in capture files, and their names. Pure tables.
//!
//! Source: the LINKTYPE registry, <https://www.tcpdump.org/linktypes.html>.

use super::super::LinkType;

impl LinkType {
    /// The link type of a LINKTYPE number; `None` where frames of that number can't be read.
    pub fn from_number(number: u16) -> Option<LinkType> {
        match number {
            1 => Some(LinkType::Ethernet),
            0 => Some(LinkType::Null),
            108 => Some(LinkType::Loop),
            // 12 and 14 are what some systems call raw IP in their own files; 228 and 229 are IPv4 and IPv6 alone.
            101 | 12 | 14 | 228 | 229 => Some(LinkType::RawIp),
            113 => Some(LinkType::LinuxSll),
            276 => Some(LinkType::LinuxSll2),
            _ => None,
        }
    }

    /// The LINKTYPE number that is written for it.
    pub fn number(self) -> u16 {
        match self {
            LinkType::Ethernet => 1,
            LinkType::Null => 0,
            LinkType::Loop => 108,
            LinkType::RawIp => 101,
            LinkType::LinuxSll => 113,
            LinkType::LinuxSll2 => 276,
        }
    }
}

/// The name of a LINKTYPE number, for people; `unknown` where it is none of the usual ones.
pub fn link_name(number: u16) -> &'static str {
    match number {
        0 => "BSD loopback",
        1 => "Ethernet",
        3 => "AX.25",
        6 => "Token Ring",
        7 => "ARCNET",
        8 => "SLIP",
        9 => "PPP",
        10 => "FDDI",
        12 | 14 | 101 => "raw IP",
        50 => "PPP in HDLC framing",
        51 => "PPPoE",
        100 => "ATM, RFC 1483",
        104 => "Cisco HDLC",
        105 => "IEEE 802.11",
        107 => "Frame Relay",
        108 => "OpenBSD loopback",
        113 => "Linux cooked",
        117 => "OpenBSD pflog",
        119 => "IEEE 802.11 with Prism header",
        127 => "IEEE 802.11 with radiotap header",
        143 => "DOCSIS",
        147..=162 => "reserved for private use",
        163 => "IEEE 802.11 with AVS header",
        187 | 201 => "Bluetooth HCI",
        189 | 220 | 249 => "USB",
        192 => "Per-Packet Information (PPI)",
        195 | 215 | 230 | 283 => "IEEE 802.15.4",
        197 => "Endace ERF",
        227 => "CAN bus",
        228 => "IPv4",
        229 => "IPv6",
        239 => "Linux NFLOG",
        240 => "Hilscher netANALYZER",
        251 | 256 => "Bluetooth Low Energy",
        252 => "Wireshark upper-layer PDUs",
        253 => "Linux netlink",
        276 => "Linux cooked, version 2",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_type_is_read_back_from_the_number_that_is_written() {
        for link in [
            LinkType::Ethernet,
            LinkType::Null,
            LinkType::Loop,
            LinkType::RawIp,
            LinkType::LinuxSll,
            LinkType::LinuxSll2,
        ] {
            assert_eq!(LinkType::from_number(link.number()), Some(link));
            assert_ne!(link_name(link.number()), "unknown");
        }
    }

    #[test]
    fn the_other_numbers_of_raw_ip_are_raw_ip_and_wireless_is_named_but_not_read() {
        for number in [101, 12, 14, 228, 229] {
            assert_eq!(LinkType::from_number(number), Some(LinkType::RawIp));
        }
        for number in [105, 127, 192, 9, 147, 162, 65535] {
            assert_eq!(LinkType::from_number(number), None);
        }
        assert_eq!(link_name(105), "IEEE 802.11");
        assert_eq!(link_name(150), "reserved for private use");
    }
}
