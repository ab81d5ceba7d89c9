//! What tags, tunnels and fragmentation make of a frame on its way to the tap.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Random;

/// One step of encapsulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Up to three VLAN tags.
    Vlans,
    /// MPLS labels before the IP packet.
    Mpls,
    /// MPLS labels and a control word before the frame.
    PseudoWire,
    /// Labels before the frame and nothing between.
    PseudoWireBare,
    Vxlan,
    Geneve,
    Gre,
    ErspanI,
    ErspanII,
    ErspanIII,
    IpInIp,
    /// Cut into fragments, which come in any order.
    Fragments,
}

pub const STEPS: [Step; 12] = [
    Step::Vlans,
    Step::Mpls,
    Step::PseudoWire,
    Step::PseudoWireBare,
    Step::Vxlan,
    Step::Geneve,
    Step::Gre,
    Step::ErspanI,
    Step::ErspanII,
    Step::ErspanIII,
    Step::IpInIp,
    Step::Fragments,
];

impl Step {
    /// Whether it counts towards the limit.
    fn is_tunnel(self) -> bool {
        !matches!(self, Step::Vlans | Step::Fragments)
    }
}

/// Labels of what is neither of the pseudo-wires' kinds: nothing but the label tells (by agreement of its ends) what is behind it.
const LABELS: Range<u64> = 3000..1 << 20;
pub const LABELS_PSEUDO_WIRE: Range<u64> = 1000..1100;
pub const LABELS_PSEUDO_WIRE_BARE: Range<u64> = 2000..2100;

/// Some steps, of which at most `tunnels` are tunnels, and two at most fragmentation: more would be more packets at the same
/// time than are put together.
pub fn random_nest(tunnels: usize, random: &mut Random) -> Vec<Step> {
    let mut nest = Vec::new();
    let mut left = tunnels;
    for _ in 0..random.within(1, 3 * tunnels as u64) {
        let step = random.pick(&STEPS);
        let fragmented = nest.iter().filter(|&&before| before == Step::Fragments).count();
        if step.is_tunnel() && left == 0 || step == Step::Fragments && fragmented == 2 {
            continue;
        }
        left -= usize::from(step.is_tunnel());
        nest.push(step);
    }
    nest
}

const IPV4: [u8; 2] = [8, 0];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The frames that the steps make of an Ethernet frame. A step that can't be taken (an IP packet inside of something that is
/// none) is left out. `without_lengths`: as hosts with segmentation offload mirror them, IP headers say nothing of lengths, and
/// frames have no padding.
pub fn encapsulate(frame: Vec<u8>, nest: &[Step], without_lengths: bool, random: &mut Random) -> Vec<Vec<u8>> {
    let mut frame = frame;
    if without_lengths {
        match ethertype(&frame) {
            IPV4 => frame[16..18].fill(0),
            IPV6 => frame[18..20].fill(0),
            _ => {}
        }
    }
    let mut frames = vec![frame];
    for &step in nest {
        // All that comes of one packet takes the same way.
        let way = Random(random.next());
        let taken = frames.iter().flat_map(|frame| match step {
            Step::Fragments => fragments(frame, random),
            step => vec![wrapped(frame, step, without_lengths, &mut way.clone())],
        });
        frames = taken.collect();
        if step == Step::Fragments {
            shuffle(&mut frames, random);
        }
    }
    frames
}

fn shuffle(frames: &mut [Vec<u8>], random: &mut Random) {
    for at in 1..frames.len() {
        frames.swap(at, random.within(0, at as u64 + 1) as usize);
    }
}

fn ethertype(frame: &[u8]) -> [u8; 2] {
    [frame[12], frame[13]]
}

/// The IP packet of a frame without tags or labels.
fn ip(frame: &[u8]) -> Option<&[u8]> {
    matches!(ethertype(frame), IPV4 | IPV6).then(|| &frame[14..])
}

fn ethernet(ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype, payload].concat()
}

fn wrapped(frame: &[u8], step: Step, without_lengths: bool, random: &mut Random) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if !without_lengths && frame.len() < 60 {
        frame.resize(60, 0);
    }
    let ip = ip(&frame);
    let choice = random.next() as usize;
    let is_even = choice.is_multiple_of(2);
    let mut outer = |protocol: u8, payload: &[&[u8]]| in_ip(protocol, &payload.concat(), without_lengths, random);
    match step {
        Step::Vlans if ip.is_some() => {
            let mut tags = Vec::new();
            for _ in 0..random.within(1, 4) {
                tags.extend(random.pick(&[[0x81, 0], [0x88, 0xa8], [0x91, 0]]));
                tags.extend((random.next() as u16).to_be_bytes());
            }
            [&frame[..12], &tags, &frame[12..]].concat()
        }
        Step::Mpls if ip.is_some() => ethernet([0x88, 0x47], &[&labels(LABELS, random)[..], &frame[14..]].concat()),
        Step::PseudoWire => {
            frame[0] = random.next() as u8;
            ethernet([0x88, 0x48], &[&labels(LABELS_PSEUDO_WIRE, random)[..], &[0, 0, 0, 9], &frame].concat())
        }
        Step::PseudoWireBare => {
            // An address that can't be taken for something else.
            frame[0] = 0xa2;
            ethernet([0x88, 0x47], &[&labels(LABELS_PSEUDO_WIRE_BARE, random)[..], &frame].concat())
        }
        Step::Vxlan => {
            let port = if is_even { 4789u16 } else { 8472 };
            let length = u16::try_from(16 + frame.len()).unwrap_or(0).to_be_bytes();
            let header = [8, 0, 0, 0, 0, 1, 2, 0];
            outer(17, &[&[0xc0, 1], &port.to_be_bytes(), &length, &[0; 2], &header, &frame])
        }
        Step::Geneve => {
            let words = choice % 15;
            let (protocol, inside) = match ip {
                Some(ip) if is_even => (ethertype(&frame), ip),
                _ => ([0x65, 0x58], &frame[..]),
            };
            let header = [words as u8, 0, protocol[0], protocol[1], 0, 1, 2, 0];
            let length = u16::try_from(16 + words * 4 + inside.len()).unwrap_or(0).to_be_bytes();
            outer(17, &[&[0xc0, 1, 0x17, 0xc1], &length, &[0; 2], &header, &vec![7; words * 4], inside])
        }
        Step::Gre => {
            let flags = [0x00, 0x20, 0x80, 0xa0, 0xb0, 0x30][choice % 6];
            let fields =
                vec![9; (flags >> 7 & 1) as usize * 4 + (flags >> 5 & 1) as usize * 4 + (flags >> 4 & 1) as usize * 4];
            let (protocol, inside) = match ip {
                Some(ip) if is_even => (ethertype(&frame), ip),
                _ => ([0x65, 0x58], &frame[..]),
            };
            outer(47, &[&[flags, 0], &protocol, &fields, inside])
        }
        Step::ErspanI => outer(47, &[&[0, 0, 0x88, 0xbe], &frame]),
        Step::ErspanII => outer(47, &[&[0x10, 0, 0x88, 0xbe], &[0; 4], &[0x10, 5, 0, 9, 0, 0, 0, 1], &frame]),
        Step::ErspanIII => {
            let subheader: &[u8] = if is_even { &[5; 8] } else { &[] };
            let last = u8::from(!subheader.is_empty());
            let header = [0x20, 5, 0, 9, 1, 1, 1, 1, 0, 0, 0, last];
            outer(47, &[&[0x10, 0, 0x22, 0xeb], &[0; 4], &header, subheader, &frame])
        }
        Step::IpInIp => match ip {
            Some(ip) => outer(if ethertype(&frame) == IPV4 { 4 } else { 41 }, &[ip]),
            None => frame,
        },
        Step::Vlans | Step::Mpls | Step::Fragments => frame,
    }
}

/// A stack of labels, the last one of which is in `last`.
fn labels(last: Range<u64>, random: &mut Random) -> Vec<u8> {
    let count = random.within(1, 9);
    let label = |at| {
        let is_last = at + 1 == count;
        let range = if is_last { last.clone() } else { LABELS };
        let number = random.within(range.start, range.end) as u32;
        (number << 12 | u32::from(is_last) << 8 | 64).to_be_bytes()
    };
    (0..count).flat_map(label).collect()
}

/// In a packet of either version, with options or without.
fn in_ip(protocol: u8, payload: &[u8], without_lengths: bool, random: &mut Random) -> Vec<u8> {
    let length = |bytes: usize| if without_lengths { 0 } else { u16::try_from(bytes).unwrap_or(0) }.to_be_bytes();
    let extra = if random.chance(0.3) { 8 } else { 0 };
    if random.chance(0.5) {
        let mut header =
            vec![0x45 + extra as u8 / 4, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        header.resize(20 + extra, 1);
        let length = length(header.len() + payload.len());
        header[2..4].copy_from_slice(&length);
        return ethernet(IPV4, &[&header, payload].concat());
    }
    let mut header = vec![0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&length(extra + payload.len()));
    (header[6], header[7], header[23], header[39]) = (protocol, 64, 1, 2);
    if extra > 0 {
        header[6] = 0;
        header.extend([protocol, 0, 1, 4, 0, 0, 0, 0]);
    }
    ethernet(IPV6, &[&header, payload].concat())
}

/// The packet of a frame in fragments; itself, if it can't be cut.
fn fragments(frame: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    /// No two packets under way at the same time have the same.
    static NUMBERS: AtomicU32 = AtomicU32::new(0);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let Some(packet) = ip(frame) else { return vec![frame.to_vec()] };
    let field = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let is_v4 = ethertype(frame) == IPV4;
    let (header_len, len) = if is_v4 {
        let header_len = usize::from(packet[0] & 15) * 4;
        (header_len, if field(2) == 0 { packet.len() } else { field(2) })
    } else {
        let header_len = if packet[6] == 0 { 48 } else { 40 };
        (header_len, if field(4) == 0 { packet.len() } else { 40 + field(4) })
    };
    let is_fragment = if is_v4 { field(6) & 0x3fff != 0 } else { packet[if packet[6] == 0 { 40 } else { 6 }] == 44 };
    let (header, data) = packet[..len].split_at(header_len);
    if is_fragment || data.len() <= 8 || len + 8 > 65_535 {
        return vec![frame.to_vec()];
    }
    let (least, most) = ((data.len() / 40).max(8) as u64, data.len().min(1500) as u64);
    let mut made = Vec::new();
    let mut from = 0;
    while from < data.len() {
        let to = data.len().min(from + random.within(least, least + most) as usize / 8 * 8);
        let more = to < data.len();
        let mut header = header.to_vec();
        if is_v4 {
            header[2..4].copy_from_slice(&((header_len + to - from) as u16).to_be_bytes());
            header[4..6].copy_from_slice(&(number as u16).to_be_bytes());
            header[6..8].copy_from_slice(&(u16::from(more) << 13 | (from / 8) as u16).to_be_bytes());
        } else {
            let next_at = if header[6] == 0 { 40 } else { 6 };
            let next = std::mem::replace(&mut header[next_at], 44);
            header.extend([next, 0]);
            header.extend((from as u16 | u16::from(more)).to_be_bytes());
            header.extend(number.to_be_bytes());
            let length = (header.len() - 40 + to - from) as u16;
            header[4..6].copy_from_slice(&length.to_be_bytes());
        }
        made.push(ethernet(ethertype(frame), &[&header, &data[from..to]].concat()));
        from = to;
    }
    made
}
