//! Frames made by hand, and what decoding makes of them.

use super::*;
use crate::capture::LinkType;
use crate::units::Timestamp;
use proptest::prelude::*;

/// An IPv4 TCP packet, 10.0.0.1:40001 → 10.0.0.9:6379, with `options` bytes of IP options.
fn ipv4(options: usize, payload: &[u8]) -> Vec<u8> {
    let tcp = tcp(payload);
    let mut packet = vec![0x40 | (5 + options / 4) as u8, 0];
    packet.extend_from_slice(&((20 + options + tcp.len()) as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9]);
    packet.extend(std::iter::repeat_n(1, options));
    packet.extend(tcp);
    packet
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut tcp = vec![0x9c, 0x41, 0x18, 0xeb, 0, 0, 0, 7, 0, 0, 0, 9, 0x80, 0x18, 0x01, 0x00, 0, 0, 0, 0];
    tcp.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]); // timestamps
    tcp.extend_from_slice(payload);
    tcp
}

/// An IPv6 TCP packet behind `extensions` (the last one names TCP).
fn ipv6(first: u8, extensions: &[u8], payload: &[u8]) -> Vec<u8> {
    let tcp = tcp(payload);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&((extensions.len() + tcp.len()) as u16).to_be_bytes());
    packet.extend_from_slice(&[first, 64]);
    packet.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    packet.extend_from_slice(extensions);
    packet.extend(tcp);
    packet
}

fn ethernet(tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1];
    for (tag, vlan) in tags.iter().zip(100u16..) {
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.extend_from_slice(&vlan.to_be_bytes());
    }
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(packet);
    frame
}

fn frame(bytes: &[u8], link: LinkType) -> Frame<'_> {
    Frame { bytes, wire_len: bytes.len() as u32, at: Timestamp(1), link }
}

#[track_caller]
fn expect(bytes: &[u8], link: LinkType, client: &str, payload: &[u8]) {
    let segment = decode(&frame(bytes, link)).unwrap();
    assert_eq!(segment.source.to_string(), client);
    assert_eq!((segment.destination.port, segment.seq, segment.ack, segment.window), (6379, Seq(7), Seq(9), 256));
    assert_eq!((segment.payload, segment.wire_payload_len as usize), (payload, payload.len()));
    assert!(segment.flags.any(Flags::PSH) && segment.flags.any(Flags::ACK) && !segment.flags.any(Flags::SYN));
}

const CLIENT: &str = "10.0.0.1:40001";

#[test]
fn every_link_type_leads_to_the_same_segment() {
    let packet = ipv4(0, b"PING\r\n");
    expect(&ethernet(&[], 0x0800, &packet), LinkType::Ethernet, CLIENT, b"PING\r\n");
    expect(&packet, LinkType::RawIp, CLIENT, b"PING\r\n");
    let sll = [&[0u8, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &packet].concat();
    expect(&sll, LinkType::LinuxSll, CLIENT, b"PING\r\n");
    let sll2 = [&[8u8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &packet].concat();
    expect(&sll2, LinkType::LinuxSll2, CLIENT, b"PING\r\n");
    expect(&[&[2u8, 0, 0, 0][..], &packet].concat(), LinkType::Null, CLIENT, b"PING\r\n");
    expect(&[&[0u8, 0, 0, 2][..], &packet].concat(), LinkType::Loop, CLIENT, b"PING\r\n");
}

#[test]
fn vlan_tags_are_looked_behind_up_to_three() {
    let packet = ipv4(0, b"x");
    expect(&ethernet(&[0x8100], 0x0800, &packet), LinkType::Ethernet, CLIENT, b"x");
    expect(&ethernet(&[0x88a8, 0x8100], 0x0800, &packet), LinkType::Ethernet, CLIENT, b"x");
    expect(&ethernet(&[0x9100, 0x8100, 0x8100], 0x0800, &packet), LinkType::Ethernet, CLIENT, b"x");
    let four = ethernet(&[0x8100; 4], 0x0800, &packet);
    assert_eq!(decode(&frame(&four, LinkType::Ethernet)).unwrap_err(), Skip::TooDeep);
}

#[test]
fn ip_options_and_extension_headers_are_skipped() {
    expect(&ipv4(12, b"x"), LinkType::RawIp, CLIENT, b"x");
    let v6 = "[2001:db8::1]:40001";
    expect(&ipv6(6, &[], b"x"), LinkType::RawIp, v6, b"x");
    let hop_by_hop_and_routing = [43, 0, 1, 4, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    expect(&ipv6(0, &hop_by_hop_and_routing, b"x"), LinkType::RawIp, v6, b"x");
    expect(&ipv6(51, &[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], b"x"), LinkType::RawIp, v6, b"x");
    expect(&ipv6(44, &[6, 0, 0, 0, 0, 0, 0, 1], b"x"), LinkType::RawIp, v6, b"x");
    assert_eq!(
        decode(&frame(&ipv6(44, &[6, 0, 0, 1, 0, 0, 0, 1], b"x"), LinkType::RawIp)).unwrap_err(),
        Skip::Fragment
    );
    assert_eq!(
        decode(&frame(&ipv6(44, &[6, 0, 0, 8, 0, 0, 0, 1], b"x"), LinkType::RawIp)).unwrap_err(),
        Skip::Fragment
    );
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut bytes = ethernet(&[], 0x0800, &ipv4(0, b""));
    bytes.extend_from_slice(&[0; 6]);
    expect(&bytes, LinkType::Ethernet, CLIENT, b"");
}

#[test]
fn a_cut_off_payload_keeps_its_length_on_the_wire() {
    let bytes = ethernet(&[], 0x0800, &ipv4(0, &[b'v'; 1000]));
    for cut in 0..bytes.len() {
        let frame = Frame { wire_len: bytes.len() as u32, ..frame(&bytes[..cut], LinkType::Ethernet) };
        match decode(&frame) {
            Err(skip) => assert_eq!((skip, cut < 14 + 20 + 20), (Skip::CutOff, true), "cut at {cut}"),
            Ok(segment) => {
                assert_eq!(segment.wire_payload_len, 1000);
                assert_eq!(segment.payload.len(), cut.saturating_sub(66));
            }
        }
    }
}

#[test]
fn a_total_length_of_zero_means_all_that_was_there() {
    let mut packet = ipv4(0, &[b'v'; 3000]);
    packet[2..4].fill(0);
    expect(&packet, LinkType::RawIp, CLIENT, &[b'v'; 3000]);
}

#[test]
fn what_is_no_tcp_segment_is_skipped_with_its_reason() {
    let packet = ipv4(0, b"x");
    let skip = |bytes: &[u8], link| decode(&frame(bytes, link)).unwrap_err();
    assert_eq!(skip(&ethernet(&[], 0x0806, &[0; 46]), LinkType::Ethernet), Skip::NotIp);
    let changed = |at: usize, to: u8| {
        let mut packet = packet.clone();
        packet[at] = to;
        packet
    };
    assert_eq!(skip(&changed(9, 17), LinkType::RawIp), Skip::NotTcp);
    assert_eq!(skip(&changed(6, 0x20), LinkType::RawIp), Skip::Fragment);
    assert_eq!(skip(&changed(7, 1), LinkType::RawIp), Skip::Fragment);
    assert_eq!(skip(&changed(0, 0x44), LinkType::RawIp), Skip::Malformed);
    assert_eq!(skip(&changed(0, 0x54), LinkType::RawIp), Skip::Malformed);
    assert_eq!(skip(&changed(3, 30), LinkType::RawIp), Skip::Malformed);
    assert_eq!(skip(&changed(32, 0x40), LinkType::RawIp), Skip::Malformed);
    assert_eq!(skip(&changed(32, 0xf0), LinkType::RawIp), Skip::Malformed);
    assert_eq!(skip(&[], LinkType::RawIp), Skip::Malformed);
    assert_eq!(skip(&[9, 9, 9, 9, 0x45], LinkType::Null), Skip::NotIp);
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), link in 0usize..6, wire_len: u32, cut in 0usize..200) {
        let link = [LinkType::Ethernet, LinkType::Null, LinkType::Loop, LinkType::RawIp, LinkType::LinuxSll, LinkType::LinuxSll2][link];
        let _ = decode(&Frame { bytes: &bytes, wire_len, at: Timestamp(0), link });
        // Near misses: real headers with random damage.
        let mut near = ethernet(&[0x8100], 0x86dd, &ipv6(0, &[6, 0, 0, 0, 0, 0, 0, 0], b"payload"));
        for (at, byte) in bytes.iter().enumerate().filter(|(at, _)| at % 23 == cut % 23) {
            if let Some(target) = near.get_mut(12 + at % 80) { *target = *byte; }
        }
        let near = &near[..near.len().min(cut + 20)];
        if let Ok(segment) = decode(&Frame { bytes: near, wire_len, at: Timestamp(0), link: LinkType::Ethernet }) {
            prop_assert!(segment.payload.len() as u64 <= u64::from(segment.wire_payload_len));
        }
    }
}

/// What the short way tells of a frame, if it is a usual one.
fn short(frame: &Frame<'_>) -> Option<String> {
    let usual = Usual::of(frame)?;
    let (sent, mark) = usual.sent()?;
    Some(format!("{:?}", (usual.ends(), sent.segment(0), Tags::default(), mark)))
}

/// The same as the long way tells it.
fn long(frame: &Frame<'_>) -> Option<String> {
    let packet = decode(frame).ok()?;
    let Packet { source, destination, segment, tags, tcp } = packet;
    Some(format!("{:?}", ([source, destination], segment, tags, tcp.mark())))
}

proptest! {
    #[test]
    fn the_short_way_of_the_usual_frame_leads_where_the_long_one_does(
        damage in proptest::collection::vec((12usize..70, any::<u8>()), 0..3),
        options in 0usize..2,
        cut in 0usize..120,
    ) {
        let mut bytes = ethernet(&[], 0x0800, &ipv4(4 * options, b"payload"));
        for (at, byte) in damage {
            if let Some(target) = bytes.get_mut(at) { *target = byte; }
        }
        let wire_len = bytes.len() as u32;
        bytes.truncate(cut);
        let frame = Frame { bytes: &bytes, wire_len, at: Timestamp(0), link: LinkType::Ethernet };
        let (usual, told) = (short(&frame), long(&frame));
        prop_assert!(usual.is_none() || usual == told, "{usual:?} {told:?}");
    }
}

#[test]
fn the_usual_frame_takes_the_short_way_and_no_other_does() {
    let usual = ethernet(&[], 0x0800, &ipv4(0, b"payload"));
    let frame_of_usual = frame(&usual, LinkType::Ethernet);
    assert_eq!(Usual::of(&frame_of_usual).unwrap().sent().unwrap().0.payload, b"payload");
    for (bytes, link) in [
        (ethernet(&[0x8100], 0x0800, &ipv4(0, b"x")), LinkType::Ethernet),
        (ethernet(&[], 0x86dd, &ipv6(6, &[], b"x")), LinkType::Ethernet),
        (ipv4(0, b"x"), LinkType::RawIp),
    ] {
        assert!(short(&frame(&bytes, link)).is_none() && decode(&frame(&bytes, link)).is_ok());
    }
}
