//! Packets cut into fragments by hand, and the cases in which they must not be put together.

use super::*;
use crate::capture::LinkType;
use crate::decode::{Packet, Segment};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// Frames and counters, and what became whole.
#[derive(Default)]
struct Bench {
    fragments: Fragments,
    counters: Counters,
    /// Frames that came, and their bytes.
    seen: u64,
    bytes: u64,
}

impl Bench {
    /// Puts a raw IP packet in; answers the whole packet's payload, its length on the wire, and its time.
    fn take_cut(&mut self, at: u64, bytes: &[u8], wire_len: usize) -> Option<(Vec<u8>, u32, u64)> {
        self.seen += 1;
        self.bytes += wire_len as u64;
        let frame = Frame { bytes, wire_len: wire_len as u32, at: Timestamp(at), link: LinkType::RawIp };
        let whole = self.fragments.join(&frame, &mut self.counters)?;
        self.counters.count(Counter::FramesSeen);
        self.counters.count(Counter::FramesAnalysed);
        self.counters.add(Counter::FrameBytes, u64::from(whole.wire_len));
        let Packet { segment: Segment { payload, wire_payload_len, .. }, source, .. } = decode(&whole).unwrap();
        assert_eq!(source.port, 40_001);
        Some((payload.to_vec(), wire_payload_len, whole.at.0))
    }

    fn take(&mut self, at: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let (payload, wire_len, then) = self.take_cut(at, bytes, bytes.len())?;
        assert_eq!((payload.len(), then), (wire_len as usize, at));
        Some(payload)
    }

    /// At the end every frame has been counted once; answers how many were (analysed, joined, given up).
    fn counted(mut self) -> (u64, u64, u64) {
        self.fragments.give_up_all(&mut self.counters);
        let counters = &self.counters;
        assert_eq!(counters[Counter::FramesSeen], self.seen);
        assert_eq!(counters[Counter::FrameBytes], self.bytes);
        assert_eq!(self.seen, counters[Counter::FramesAnalysed] + counters.sum("packets", "skipped."));
        let of = |counter| counters[counter];
        (of(Counter::FramesAnalysed), of(Counter::SkipFragmentJoined), of(Counter::SkipFragment))
    }
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let header = [0x9c, 0x41, 0x18, 0xeb, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 1, 0, 0, 0, 0, 0];
    [&header[..], payload].concat()
}

/// Bytes `from..to` of an IPv4 packet's data, as a fragment.
fn ipv4(id: u16, data: &[u8], from: usize, to: usize) -> Vec<u8> {
    let more = if to < data.len() { 0x2000 } else { 0 };
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
    packet[2..4].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&(more | (from / 8) as u16).to_be_bytes());
    [&packet, &data[from..to]].concat()
}

/// The same in IPv6, behind a hop-by-hop header.
fn ipv6(id: u32, data: &[u8], from: usize, to: usize) -> Vec<u8> {
    let more = u16::from(to < data.len());
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&((16 + to - from) as u16).to_be_bytes());
    (packet[6], packet[7], packet[23], packet[39]) = (0, 64, 1, 9);
    packet.extend([44, 0, 1, 4, 0, 0, 0, 0, 6, 0]);
    packet.extend((from as u16 | more).to_be_bytes());
    packet.extend(id.to_be_bytes());
    [&packet, &data[from..to]].concat()
}

/// In an IP-in-IP packet from 192.0.2.1.
fn in_ipv4(bytes: &[u8]) -> Vec<u8> {
    let mut header = ipv4(0, &[], 0, 0);
    header[2..4].copy_from_slice(&((20 + bytes.len()) as u16).to_be_bytes());
    header[9] = 4;
    header[12..16].copy_from_slice(&[192, 0, 2, 1]);
    [&header, bytes].concat()
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn a_packet_is_whole_with_its_last_missing_fragment_whichever_that_is() {
    let data = tcp(&payload(80));
    let cuts = [(0, 32), (32, 64), (64, 100)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut bench = Bench::default();
        let cut = |at: usize| (ipv4(7, &data, cuts[at].0, cuts[at].1), ipv6(7, &data, cuts[at].0, cuts[at].1));
        for (time, at) in (100..).zip(order) {
            let (four, six) = cut(at);
            let expected = (time == 102).then(|| payload(80));
            assert_eq!(bench.take(time, &four), expected, "{order:?}");
            assert_eq!(bench.take(time, &six), expected, "{order:?}");
        }
        assert_eq!(bench.counted(), (2, 4, 0));
    }
}

#[test]
fn fragments_of_different_packets_do_not_mix() {
    let (one, other) = (tcp(&payload(60)), tcp(&[b'x'; 60]));
    let mut bench = Bench::default();
    let mut foreign = ipv4(1, &other, 40, 80);
    assert_eq!(bench.take(1, &ipv4(1, &one, 0, 40)), None);
    assert_eq!(bench.take(1, &ipv4(2, &other, 40, 80)), None, "another number");
    foreign[9] = 17;
    assert_eq!(bench.take(1, &foreign), None, "another protocol");
    (foreign[9], foreign[15]) = (6, 2);
    assert_eq!(bench.take(1, &foreign), None, "another sender");
    assert_eq!(bench.take(2, &ipv4(1, &one, 40, 80)), Some(payload(60)));
    assert_eq!(bench.take(3, &ipv4(2, &other, 0, 40)), Some(vec![b'x'; 60]));
    assert_eq!(bench.counted(), (2, 2, 2));
}

#[test]
fn fragments_within_another_vlan_are_of_another_packet() {
    let data = tcp(&payload(60));
    let mut fragments = Fragments::default();
    let mut counters = Counters::default();
    for (vlan, from, to, whole) in [(5, 0, 40, false), (6, 40, 80, false), (5, 40, 80, true), (6, 0, 40, true)] {
        let bytes = [&[2; 12][..], &[0x81, 0, 0, vlan, 8, 0], &ipv4(1, &data, from, to)].concat();
        let wire_len = bytes.len() as u32;
        let frame = Frame { bytes: &bytes, wire_len, at: Timestamp(1), link: LinkType::Ethernet };
        let joined = fragments.join(&frame, &mut counters);
        assert_eq!(joined.map(|joined| decode(&joined).unwrap().tags.vlan), whole.then_some(u16::from(vlan)));
    }
}

#[test]
fn where_fragments_overlap_the_first_bytes_count_and_it_is_counted() {
    let (one, other) = (tcp(&payload(60)), tcp(&[b'x'; 60]));
    let mut bench = Bench::default();
    assert_eq!(bench.take(1, &ipv4(1, &one, 0, 40)), None);
    assert_eq!(bench.take(1, &ipv4(1, &one, 0, 40)), None, "a copy");
    assert_eq!(bench.take(1, &ipv4(1, &other, 24, 64)), None);
    let whole = bench.take(1, &ipv4(1, &one, 56, 80)).unwrap();
    assert_eq!(whole, [&payload(20)[..], &[b'x'; 24], &payload(60)[44..]].concat());
    assert_eq!(bench.counters[Counter::FragmentOverlaps], 3);
    assert_eq!(bench.counted(), (1, 3, 0));
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let (short, long) = (tcp(&payload(52)), tcp(&payload(60)));
    let mut bench = Bench::default();
    assert_eq!(bench.take(1, &ipv4(1, &long, 0, 40)), None);
    assert_eq!(bench.take(1, &ipv4(1, &long, 40, 72)), None);
    assert_eq!(bench.take(1, &ipv4(1, &short[..64], 48, 64)), None, "an end before what is there");
    assert_eq!(bench.take(1, &ipv4(2, &short, 64, 72)), None);
    assert_eq!(bench.take(1, &ipv4(2, &long, 64, 80)), None, "another end");
    assert_eq!(bench.take(1, &ipv4(2, &[0; 99], 64, 88)), None, "beyond the end");
    assert_eq!(bench.take(1, &ipv4(3, &long, 0, 41)), None, "not a multiple of 8");
    assert_eq!(bench.take(1, &ipv4(4, &vec![0; 65_528], 65_512, 65_528)), None, "longer than a packet can be");
    assert_eq!(bench.counters[Counter::SkipMalformed], 5);
    assert_eq!(bench.fragments.partial.iter().filter(|partial| partial.key.is_some()).count(), 2);
    assert_eq!(bench.counted(), (0, 0, 3));
}

#[test]
fn what_stays_incomplete_is_given_up_by_the_captures_time() {
    let data = tcp(&payload(60));
    for (later, whole) in [(30 * SECOND, true), (30 * SECOND + 1, false)] {
        let mut bench = Bench::default();
        assert_eq!(bench.take(SECOND, &ipv4(1, &data, 0, 40)), None);
        assert_eq!(bench.take(SECOND + later, &ipv4(1, &data, 40, 80)).is_some(), whole);
        assert_eq!(bench.counted(), if whole { (1, 1, 0) } else { (0, 0, 2) });
    }
}

#[test]
fn of_too_many_packets_the_oldest_gives_way() {
    let data = tcp(&payload(60));
    let mut bench = Bench::default();
    let packets = FRAGMENTED_PACKETS_MAX as u16 + 3;
    for id in 0..packets {
        assert_eq!(bench.take(1, &ipv4(id, &data, 0, 40)), None);
    }
    assert_eq!(bench.counters[Counter::EvictedFragments], 3);
    assert_eq!(bench.counters[Counter::SkipFragment], 3);
    for id in 3..packets {
        assert!(bench.take(1, &ipv4(id, &data, 40, 80)).is_some(), "{id}");
    }
    let all = u64::from(packets);
    assert_eq!(bench.counted(), (all - 3, all - 3, 3));
}

#[test]
fn of_too_many_bytes_what_nobody_uses_and_then_the_oldest_gives_way() {
    let big = tcp(&payload(60_000));
    let mut bench = Bench::default();
    for id in 0..20 {
        assert_eq!(bench.take(1, &ipv4(id, &big, 0, 59_992)), None);
        assert!(bench.fragments.buffers() <= FRAGMENT_CACHE_BYTES_MAX);
        let limit = 2 * FRAGMENT_CACHE_BYTES_MAX + 64 * (size_of::<Partial>() + 1024);
        assert!(bench.fragments.memory() as usize <= limit);
    }
    let evicted = bench.counters[Counter::EvictedFragments];
    assert!((12..20).contains(&evicted), "{evicted}");
    assert_eq!(bench.take(1, &ipv4(19, &big, 59_992, 60_020)), Some(payload(60_000)));
    let evicted = bench.counters[Counter::EvictedFragments];
    // Room that a whole packet left is used again, or given back, before others suffer.
    let small = tcp(&payload(60));
    for id in 100..110 {
        assert_eq!(bench.take(1, &ipv4(id, &small, 0, 40)), None);
        assert!(bench.take(1, &ipv4(id, &small, 40, 80)).is_some());
    }
    assert_eq!(bench.counters[Counter::EvictedFragments], evicted);
}

#[test]
fn fragments_inside_tunnels_and_tunnels_in_fragments_are_put_together() {
    let data = tcp(&payload(200));
    let mut bench = Bench::default();
    assert_eq!(bench.take(1, &in_ipv4(&ipv4(1, &data, 0, 120))), None);
    assert_eq!(bench.take(1, &in_ipv4(&ipv4(1, &data, 120, 220))), Some(payload(200)));
    // A fragment in a packet that is fragmented itself.
    let fragments = [in_ipv4(&ipv4(2, &data, 0, 120)), in_ipv4(&ipv4(2, &data, 120, 220))];
    let mut whole = None;
    for (id, tunnel) in fragments.iter().enumerate() {
        let inner = &tunnel[20..];
        for (from, to) in [(64, inner.len()), (0, 64)] {
            assert_eq!(whole, None);
            let mut outer = ipv4(id as u16, inner, from, to);
            (outer[9], outer[12]) = (4, 192);
            whole = bench.take(2, &outer);
        }
    }
    assert_eq!(whole, Some(payload(200)));
    assert_eq!(bench.counted(), (2, 4, 0));
}

#[test]
fn of_fragments_that_are_cut_off_the_first_gap_ends_what_is_known() {
    let data = tcp(&payload(80));
    for (cut, captured) in [([40, 40, 20], 80), ([40, 31, 20], 51), ([24, 24, 20], 4), ([40, 40, 3], 63)] {
        let mut bench = Bench::default();
        let mut last = None;
        for ((from, to), keep) in [(0, 40), (40, 80), (80, 100)].into_iter().zip(cut) {
            let bytes = ipv4(1, &data, from, to);
            last = bench.take_cut(1, &bytes[..20 + keep], bytes.len());
        }
        assert_eq!(last, Some((payload(80)[..captured].to_vec(), 80, 1)), "{cut:?}");
        assert_eq!(bench.counted(), (1, 2, 0));
    }
}

#[test]
fn headers_that_are_too_long_or_cut_off_are_refused() {
    let mut bench = Bench::default();
    let data = tcp(&payload(60));
    // Four extension headers of 256 bytes each.
    let mut long = ipv6(1, &data, 0, 40)[..40].to_vec();
    let length = (4 * 256 + 8 + 40) as u16;
    long[4..6].copy_from_slice(&length.to_be_bytes());
    for next in [60u8, 60, 60, 44] {
        long.extend([&[next, 31][..], &[0; 254]].concat());
    }
    long.extend([6, 0, 0, 1, 0, 0, 0, 1]);
    long.extend(&data[..40]);
    assert_eq!(bench.take(1, &long), None);
    assert_eq!(bench.counters[Counter::SkipTooDeep], 1);
    let mut options = ipv4(1, &data, 0, 40);
    options[0] = 0x4f;
    assert_eq!(bench.take_cut(1, &options[..30], options.len()), None);
    assert_eq!(bench.counters[Counter::SkipCutOff], 1);
    assert!(bench.fragments.partial.iter().all(|partial| partial.key.is_none()));
    assert_eq!(bench.counted(), (0, 0, 0));
}

proptest! {
    /// The oracle puts bytes into a map, the first ones of each place.
    #[test]
    fn random_fragments_come_to_what_the_oracle_says(
        len in 8usize..600,
        cuts in prop::collection::vec((0usize..80, 1usize..20), 1..40),
    ) {
        let data = tcp(&payload(len));
        let mut bench = Bench::default();
        let mut known = vec![None; data.len()];
        let mut result = None;
        for (time, (from, blocks)) in (1..).zip(cuts) {
            let from = (from * 8).min(data.len() / 8 * 8);
            let to = (from + blocks * 8).min(data.len());
            if from == 0 && to == data.len() || from == to {
                continue;
            }
            // Whose bytes they are can be seen.
            let mut mine = data.clone();
            mine[20..].iter_mut().for_each(|byte| *byte = byte.wrapping_add(time));
            for at in from..to {
                known[at].get_or_insert(mine[at]);
            }
            result = bench.take(u64::from(time), &ipv4(1, &mine, from, to));
            if known.iter().all(Option::is_some) {
                break;
            }
            prop_assert_eq!(&result, &None);
        }
        let expected: Option<Vec<u8>> = known.into_iter().collect();
        prop_assert_eq!(result, expected.map(|data| data[20..].to_vec()));
        bench.counted();
    }

    #[test]
    fn any_fragments_are_counted_once(
        packets in prop::collection::vec((0u16..4, 0usize..10, 1usize..30, any::<[u8; 4]>(), 0usize..120, any::<bool>()), 1..60),
    ) {
        let mut bench = Bench::default();
        let data = tcp(&payload(300));
        for (time, (id, from, len, damage, cut, is_inside)) in (1..).zip(packets) {
            let from = from * 8;
            let to = (from + len * 8).min(data.len());
            let mut bytes = if id % 2 == 0 { ipv4(id, &data, from, to) } else { ipv6(u32::from(id), &data, from, to) };
            if damage[0] < 128 {
                let at = usize::from(damage[1]) % bytes.len();
                bytes[at] = damage[2];
            }
            if is_inside {
                bytes = in_ipv4(&bytes);
            }
            let captured = if damage[3] < 64 { cut.min(bytes.len()) } else { bytes.len() };
            let frame = Frame { bytes: &bytes[..captured], wire_len: bytes.len() as u32, at: Timestamp(time), link: LinkType::RawIp };
            if !matches!(decode(&frame), Err(Skip::Fragment)) {
                continue;
            }
            bench.seen += 1;
            bench.bytes += bytes.len() as u64;
            if let Some(whole) = bench.fragments.join(&frame, &mut bench.counters) {
                bench.counters.count(Counter::FramesSeen);
                bench.counters.count(Counter::FramesAnalysed);
                bench.counters.add(Counter::FrameBytes, u64::from(whole.wire_len));
                prop_assert!(!matches!(decode(&whole), Err(Skip::Fragment)));
            }
        }
        bench.counted();
    }
}
