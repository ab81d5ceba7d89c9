//! What is remembered of packets, for how long and of how many.

use super::*;
use crate::capture::{Frame, LinkType};
use crate::decode::decode;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);
const PRINT: Print = Print(0x1234_5678_9abc_def1);

fn after(print: Print, first: Timestamp) -> Recent {
    let mut recent = Recent::default();
    assert!(!recent.is_copy(print, first, false), "nothing was seen");
    recent
}

#[test]
fn a_packet_is_held_for_some_milliseconds_after_it_was_seen_and_before() {
    // Also where the ticks begin again.
    for now in [NOW, Timestamp(7 << (20 + TICK_BITS)), Timestamp((7 << (20 + TICK_BITS)) - 1)] {
        for (ns, expected) in [(0, true), (1_000_000, true), (9_900_000, true), (10_100_000, false), (1 << 34, false)] {
            assert_eq!(after(PRINT, now).holds(PRINT, now.after(ns)), expected, "{ns} later");
            assert_eq!(after(PRINT, now.after(ns)).holds(PRINT, now), expected, "{ns} earlier");
        }
    }
}

#[test]
fn copies_do_not_prolong_the_time_in_which_others_are_copies() {
    let mut recent = Recent::default();
    let found: Vec<bool> = (0..4).map(|n| recent.is_copy(PRINT, NOW.after(n * 6_000_000), false)).collect();
    assert_eq!(found, [false, true, false, true]);
}

#[test]
fn what_brings_the_next_bytes_is_no_copy_unless_a_connection_has_begun_lately() {
    let mut recent = after(PRINT, NOW);
    let begins = NOW.after(5_000_000);
    assert!(!recent.is_copy(PRINT, NOW.after(4_000_000), true));
    recent.connection_begins(begins);
    assert!(recent.is_copy(PRINT, begins.after(9_000_000), true));
    assert!(!recent.is_copy(PRINT, begins.after(COPY_TIME_NS + 1), true));
}

#[test]
fn what_brings_the_next_bytes_is_certain_from_when_the_last_connection_to_begin_has_its_age() {
    let mut recent = after(PRINT, NOW);
    recent.connection_begins(NOW);
    // Its packet came late.
    recent.connection_begins(Timestamp(NOW.0 - 1_000_000));
    assert!(recent.is_copy(PRINT, NOW.after(COPY_TIME_NS), true));
    assert!(!recent.is_copy(PRINT, NOW.after(COPY_TIME_NS + 1), true));
}

#[test]
fn each_bit_of_a_print_that_is_kept_tells_packets_apart() {
    for bit in 0..u64::BITS {
        let is_kept = bit >= 20 || bit < RECENT_SETS.ilog2();
        assert_eq!(after(PRINT, NOW).holds(Print(PRINT.0 ^ 1 << bit), NOW), !is_kept, "bit {bit}");
    }
}

#[test]
fn a_set_forgets_its_oldest_packet_first() {
    let print = |n: usize| Print(PRINT.0 ^ (n as u64) << 40);
    let mut recent = Recent::default();
    for n in 0..=RECENT_PER_SET {
        assert!(!recent.is_copy(print(n), NOW, true));
    }
    let held: Vec<bool> = (0..=RECENT_PER_SET).map(|n| recent.holds(print(n), NOW)).collect();
    assert_eq!(held, [[false].as_slice(), &[true; RECENT_PER_SET]].concat());
}

#[test]
fn the_budget_has_what_it_takes() {
    let budget = crate::limits::Budget::new(1 << 30, 1);
    assert_eq!(Recent::default().memory(), budget.recent);
}

/// Who sends and receives as many bytes, from the same number on, says of both sides nearly the same.
#[test]
fn segments_of_both_directions_are_told_apart_however_alike() {
    let print = |direction, [seq, ack]: [u32; 2]| {
        let mut ip = [0x45, 0, 0, 41, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9].to_vec();
        ip.extend_from_slice(&[0x9c, 0x41, 0x18, 0xeb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x18, 1, 0, 0, 0, 0, 0, b'x']);
        ip[24..28].copy_from_slice(&seq.to_be_bytes());
        ip[28..32].copy_from_slice(&ack.to_be_bytes());
        let frame = Frame { bytes: &ip, wire_len: 41, at: NOW, link: LinkType::RawIp };
        Print::of(decode(&frame).unwrap().tcp.mark(), direction, 0x1234_5678_9abc_def1)
    };
    for bit in 0..u32::BITS {
        let request = print(Direction::Request, [7, 9]);
        assert_ne!(print(Direction::Reply, [7, 9 ^ 1 << bit]), request, "ack {bit}");
        assert_ne!(print(Direction::Reply, [7 ^ 1 << bit, 9]), request, "seq {bit}");
    }
    assert_ne!(print(Direction::Reply, [7, 9]), print(Direction::Request, [7, 9]));
}

/// What acknowledges more and more differs in a few bits only.
#[test]
fn packets_of_one_connection_spread_over_all_sets() {
    let mut ip = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9].to_vec();
    ip.extend_from_slice(&[0x9c, 0x41, 0x18, 0xeb, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    for step in [1, 5, 100, 1 << 20] {
        let mut packets = [0; RECENT_SETS];
        for n in 0..RECENT_SETS as u32 {
            ip[28..32].copy_from_slice(&(n * step).to_be_bytes());
            let frame = Frame { bytes: &ip, wire_len: 40, at: NOW, link: LinkType::RawIp };
            let print = Print::of(decode(&frame).unwrap().tcp.mark(), Direction::Request, 0x1234_5678_9abc_def1);
            packets[print.set()] += 1;
        }
        assert!(packets.iter().all(|&packets| packets <= RECENT_PER_SET), "{step}: {:?}", packets.iter().max());
    }
}
