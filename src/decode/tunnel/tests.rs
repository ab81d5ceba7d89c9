//! Each format, made by hand as its specification draws it.

use super::*;
use crate::capture::{Frame, LinkType};
use crate::decode::{Packet, decode};
use crate::units::Timestamp;
use proptest::prelude::*;

/// 10.0.0.1:40001 → 10.0.0.9:6379, 4 bytes of payload.
fn packet() -> Vec<u8> {
    let ip = [0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
    let tcp = [0x9c, 0x41, 0x18, 0xeb, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 1, 0, 0, 0, 0, 0];
    [&ip[..], &tcp, b"PING"].concat()
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1][..], &ethertype.to_be_bytes(), payload].concat()
}

/// The packet in an Ethernet frame, in VLAN 7.
fn tagged() -> Vec<u8> {
    ethernet(0x8100, &[&[0, 7, 8, 0][..], &packet()].concat())
}

/// In an IPv4 packet between two tunnels' ends.
fn in_ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0x45, 0, 0, 0, 0, 2, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    [&header[..], payload].concat()
}

fn in_ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    (header[6], header[7], header[23], header[39]) = (protocol, 64, 1, 2);
    [&header[..], payload].concat()
}

fn in_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    [&[0xc0, 0][..], &port.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

fn in_gre(flags: u16, protocol: u16, fields: &[u8], payload: &[u8]) -> Vec<u8> {
    in_ipv4(47, &[&flags.to_be_bytes()[..], &protocol.to_be_bytes(), fields, payload].concat())
}

fn decoded(bytes: &[u8], link: LinkType) -> Result<Packet<'_>, Skip> {
    decode(&Frame { bytes, wire_len: bytes.len() as u32, at: Timestamp(1), link })
}

/// The packet is found, in this VLAN and tunnel; wherever the capture cuts its headers off it says so.
#[track_caller]
fn expect(bytes: &[u8], vlan: u16, tunnel: Tunnel) {
    let segment = decoded(bytes, LinkType::RawIp).unwrap();
    assert_eq!((segment.source.to_string().as_str(), segment.destination.port), ("10.0.0.1:40001", 6379));
    assert_eq!((segment.payload, segment.wire_payload_len), (&b"PING"[..], 4));
    assert_eq!(segment.tags, Tags { vlan, inner_vlan: 0, tunnel });
    for cut in 0..bytes.len() {
        let frame = &bytes[..cut];
        let frame = Frame { bytes: frame, wire_len: bytes.len() as u32, at: Timestamp(1), link: LinkType::RawIp };
        match decode(&frame) {
            Ok(segment) => assert_eq!((segment.wire_payload_len, cut >= bytes.len() - 4), (4, true)),
            Err(skip) => assert_eq!((skip, cut < bytes.len() - 4), (Skip::CutOff, true), "cut at {cut}"),
        }
    }
}

#[track_caller]
fn refuse(bytes: &[u8], skip: Skip) {
    assert_eq!(decoded(bytes, LinkType::RawIp).unwrap_err(), skip);
}

#[test]
fn ip_in_ip_has_no_number() {
    expect(&in_ipv4(4, &packet()), 0, Tunnel::None);
    expect(&in_ipv6(4, &packet()), 0, Tunnel::None);
    expect(&in_ipv4(41, &in_ipv6(4, &packet())), 0, Tunnel::None);
    expect(&in_ipv6(41, &in_ipv6(4, &packet())), 0, Tunnel::None);
}

#[test]
fn vxlan_is_known_by_either_port_and_by_its_flag() {
    let vxlan = |flags: u8| [&[flags, 0, 0, 0, 0x12, 0x34, 0x56, 0xff][..], &tagged()].concat();
    expect(&in_ipv4(17, &in_udp(4789, &vxlan(8))), 7, Tunnel::Vxlan(0x12_3456));
    expect(&in_ipv6(17, &in_udp(8472, &vxlan(0x88))), 7, Tunnel::Vxlan(0x12_3456));
    refuse(&in_ipv4(17, &in_udp(4789, &vxlan(0xf7))), Skip::NotTcp);
    refuse(&in_ipv4(17, &in_udp(4790, &vxlan(8))), Skip::NotTcp);
    let from_port = [&[0x12, 0xb5, 0xc0, 0][..], &in_udp(1, &vxlan(8))[4..]].concat();
    refuse(&in_ipv4(17, &from_port), Skip::NotTcp);
}

#[test]
fn geneve_carries_frames_or_packets_behind_its_options() {
    let geneve = |first: u8, protocol: u16, options: usize, payload: &[u8]| {
        let header = [&[first, 0x40][..], &protocol.to_be_bytes(), &[0xab, 0xcd, 0xef, 0]].concat();
        in_ipv4(17, &in_udp(6081, &[&header[..], &vec![0x55; options], payload].concat()))
    };
    let tunnel = Tunnel::Geneve(0xab_cdef);
    expect(&geneve(0, 0x6558, 0, &tagged()), 7, tunnel);
    expect(&geneve(3, 0x0800, 12, &packet()), 0, tunnel);
    expect(&geneve(0x3f, 0x86dd, 252, &in_ipv6(4, &packet())), 0, tunnel);
    refuse(&geneve(0x40, 0x6558, 0, &tagged()), Skip::NotTcp);
    refuse(&geneve(0, 0x0806, 0, &packet()), Skip::NotIp);
    refuse(&geneve(0x3f, 0x0800, 0, &packet()), Skip::Malformed);
}

#[test]
fn gre_has_optional_fields_in_their_order() {
    let key = [0xde, 0xad, 0xbe, 0xef];
    expect(&in_gre(0, 0x0800, &[], &packet()), 0, Tunnel::None);
    expect(&in_gre(0x8000, 0x0800, &[9; 4], &packet()), 0, Tunnel::None);
    expect(&in_gre(0x1000, 0x86dd, &[9; 4], &in_ipv6(4, &packet())), 0, Tunnel::None);
    expect(&in_gre(0x2000, 0x6558, &key, &tagged()), 7, Tunnel::Gre(0xdead_beef));
    expect(&in_gre(0xb000, 0x6558, &[&[9; 4][..], &key, &[9; 4]].concat(), &tagged()), 7, Tunnel::Gre(0xdead_beef));
    expect(&in_gre(0, 0x8847, &[0, 1, 0x41, 64], &packet()), 0, Tunnel::Mpls(20));
    refuse(&in_gre(0x4000, 0x0800, &[], &packet()), Skip::NotTcp);
    refuse(&in_gre(0x2001, 0x880b, &[0; 4], &packet()), Skip::NotTcp);
    refuse(&in_gre(0, 0x0806, &[], &packet()), Skip::NotIp);
}

#[test]
fn erspan_has_three_types_told_apart_by_the_sequence_number_and_the_protocol() {
    // VLAN 0x123 and session 0x2aa, where the header has them; the frame within has lost its tag.
    let frame = ethernet(0x0800, &packet());
    let second = [0x11, 0x23, 0xfe, 0xaa, 0, 0, 0, 1];
    let third = |last: [u8; 2]| [0x21, 0x23, 0xfe, 0xaa, 9, 9, 9, 9, 0, 0, last[0], last[1]];
    let session = Tunnel::Erspan(0x2aa);
    expect(&in_gre(0, 0x88be, &[], &frame), 0, Tunnel::None);
    expect(&in_gre(0x1000, 0x88be, &[0, 0, 0, 1], &[&second[..], &frame].concat()), 0x123, session);
    expect(&in_gre(0x1000, 0x88be, &[0, 0, 0, 1], &[&second[..], &tagged()].concat()), 7, session);
    expect(&in_gre(0x1000, 0x22eb, &[0, 0, 0, 1], &[&third([0x03, 0xf6])[..], &frame].concat()), 0x123, session);
    expect(&in_gre(0, 0x22eb, &[], &[&third([0, 1])[..], &[9; 8], &frame].concat()), 0x123, session);
    expect(&in_gre(0x1000, 0x22eb, &[0; 4], &[&third([0x88, 0])[..], &packet()].concat()), 0x123, session);
    refuse(&in_gre(0x1000, 0x22eb, &[0; 4], &[&third([0x04, 0])[..], &packet()].concat()), Skip::NotIp);
}

#[test]
fn behind_mpls_labels_the_first_bits_tell_what_it_is() {
    let label = |label: u32, bottom: bool| (label << 12 | u32::from(bottom) << 8 | 64).to_be_bytes();
    let in_mpls = |labels: &[u32], payload: &[u8]| {
        let stack = labels.iter().enumerate().flat_map(|(at, &number)| label(number, at + 1 == labels.len()));
        in_ipv4(137, &stack.chain(payload.iter().copied()).collect::<Vec<_>>())
    };
    let behind = |bytes: &[u8], vlan, number| {
        expect(bytes, vlan, Tunnel::Mpls(number));
    };
    behind(&in_mpls(&[1000], &packet()), 0, 1000);
    behind(&in_mpls(&[1000, 0x7_abcd], &in_ipv6(4, &packet())), 0, 0x7_abcd);
    behind(&in_mpls(&[16; 8], &packet()), 0, 16);
    refuse(&in_mpls(&[16; 9], &packet()), Skip::TooDeep);
    // A pseudo-wire, with control word (also before an address that begins with a 4) and without.
    behind(&in_mpls(&[17], &[&[0, 0, 0, 5][..], &tagged()].concat()), 7, 17);
    let mut four = tagged();
    four[0] = 0x46;
    behind(&in_mpls(&[17], &[&[0, 0, 0, 5][..], &four].concat()), 7, 17);
    let mut other = tagged();
    other[0] = 0xa6;
    behind(&in_mpls(&[17], &other), 7, 17);
    refuse(&in_mpls(&[17], &[1, 0, 0, 5, 0]), Skip::NotIp);
    refuse(&in_mpls(&[17], &ethernet(0x0806, &[0; 46])), Skip::NotIp);
    // Reserved labels and entropy are nobody's number.
    behind(&in_mpls(&[300, 7, 99, 0], &packet()), 0, 300);
    // On a link of its own, in a VLAN that says nothing about what is inside.
    for ethertype in [0x8847u16, 0x8848] {
        let stack = [&[0, 5][..], &ethertype.to_be_bytes(), &label(300, true), &packet()].concat();
        let frame = ethernet(0x8100, &stack);
        let tags = Tags { vlan: 0, inner_vlan: 0, tunnel: Tunnel::Mpls(300) };
        assert_eq!(decoded(&frame, LinkType::Ethernet).unwrap().tags, tags);
    }
}

#[test]
fn of_several_tags_the_first_and_the_last_are_told_but_no_priorities() {
    for (ids, expected) in [
        (&[12][..], (12, 0)),
        (&[12, 13], (12, 13)),
        (&[12, 13, 14], (12, 14)),
        (&[0, 13], (13, 0)),
        (&[12, 0], (12, 0)),
        (&[0xe00c], (12, 0)),
        (&[], (0, 0)),
    ] {
        let tags = ids.iter().flat_map(|&id: &u16| [&id.to_be_bytes()[..], &[0x81, 0]].concat());
        let mut rest: Vec<u8> = tags.collect();
        let len = rest.len();
        if let Some(last) = rest.get_mut(len.saturating_sub(2)..) {
            last.copy_from_slice(&[8, 0][..last.len()]);
        }
        rest.extend(packet());
        let frame = ethernet(if ids.is_empty() { 0x0800 } else { 0x8100 }, &rest);
        let tags = decoded(&frame, LinkType::Ethernet).unwrap().tags;
        assert_eq!((tags.vlan, tags.inner_vlan), expected, "{ids:?}");
    }
}

#[test]
fn tunnels_are_looked_into_up_to_the_limit() {
    let mut bytes = packet();
    for _ in 0..TUNNELS_MAX {
        bytes = in_ipv4(4, &bytes);
        expect(&bytes, 0, Tunnel::None);
    }
    refuse(&in_ipv4(4, &bytes), Skip::TooDeep);
    refuse(&in_gre(0, 0x8847, &[0, 1, 0x41, 64], &bytes), Skip::TooDeep);
    // What is no tunnel is no deeper one.
    let mut other = in_ipv4(17, &in_udp(53, &[0; 20]));
    for _ in 0..TUNNELS_MAX {
        other = in_ipv4(4, &other);
    }
    refuse(&other, Skip::NotTcp);
}

#[test]
fn the_innermost_number_counts() {
    let inner = in_gre(0x2000, 0x0800, &[0, 0, 0, 9], &packet());
    let vxlan = [&[8, 0, 0, 0, 0, 0, 3, 0][..], &ethernet(0x0800, &inner)].concat();
    expect(&in_ipv4(17, &in_udp(4789, &vxlan)), 0, Tunnel::Gre(9));
    let vxlan = [&[8, 0, 0, 0, 0, 0, 3, 0][..], &ethernet(0x0800, &in_ipv4(4, &packet()))].concat();
    expect(&in_ipv4(17, &in_udp(4789, &vxlan)), 0, Tunnel::Vxlan(3));
}

#[test]
fn what_a_tunnels_beginning_cut_off_is_missing_but_has_its_length() {
    // ERSPAN shortens frames that don't fit; the headers inside tell how long they were.
    let inner = ethernet(0x0800, &packet());
    let bytes = in_gre(0, 0x88be, &[], &inner[..inner.len() - 3]);
    let segment = decoded(&bytes, LinkType::RawIp).unwrap();
    assert_eq!((segment.payload, segment.wire_payload_len), (&b"P"[..], 4));
}

#[test]
fn lengths_of_zero_and_beyond_the_field_are_those_of_the_frame_inside_tunnels_too() {
    let payload = vec![b'v'; 66_000];
    let mut inner = packet();
    inner[2..4].fill(0);
    inner.extend_from_slice(&payload[4..]);
    let mut outer = in_ipv4(17, &in_udp(4789, &[&[8, 0, 0, 0, 0, 0, 3, 0][..], &ethernet(0x0800, &inner)].concat()));
    outer[2..4].fill(0);
    let segment = decoded(&outer, LinkType::RawIp).unwrap();
    assert_eq!((segment.payload.len(), segment.wire_payload_len), (66_000, 66_000));
}

proptest! {
    #[test]
    fn any_damage_to_any_header_gives_an_answer(
        kinds in proptest::collection::vec(0usize..9, 0..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let mut bytes = packet();
        for kind in kinds {
            bytes = match kind {
                0 => in_ipv4(4, &bytes),
                1 => in_ipv6(4, &bytes),
                2 => in_ipv4(17, &in_udp(8472, &[&[8, 0, 0, 0, 0, 0, 3, 0][..], &ethernet(0x0800, &bytes)].concat())),
                3 => in_ipv6(17, &in_udp(6081, &[&[1, 0, 8, 0, 0, 0, 3, 0, 9, 9, 9, 9][..], &bytes].concat())),
                4 => in_gre(0xb000, 0x6558, &[3; 12], &ethernet(0x0800, &bytes)),
                5 => in_gre(0, 0x88be, &[], &ethernet(0x0800, &bytes)),
                6 => in_gre(0x1000, 0x88be, &[3; 12], &ethernet(0x0800, &bytes)),
                7 => in_gre(0, 0x22eb, &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 3, 3, 3, 3, 3, 3], &ethernet(0x0800, &bytes)),
                _ => in_ipv4(137, &[&[0, 1, 0, 64, 0, 1, 1, 64, 0, 0, 0, 0][..], &ethernet(0x0800, &bytes)].concat()),
            };
        }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let wire_len = bytes.len() as u32;
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for link in [LinkType::RawIp, LinkType::Ethernet] {
            if let Ok(segment) = decode(&Frame { bytes: &bytes, wire_len, at: Timestamp(0), link }) {
                prop_assert!(segment.payload.len() <= segment.wire_payload_len as usize);
            }
        }
    }
}
