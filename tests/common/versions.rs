//! Versions of a capture: what taps do to it.

use std::path::Path;

use resptap::capture::file::{FileSource, OpenOptions};
use resptap::capture::{Frame, LinkType, Polled, Source};
use resptap::decode::decode;
use resptap::units::{Endpoint, Timestamp};

use super::Random;
use super::packet::MILLISECOND;
use super::traffic::{Style, scene};

/// The snap length that is asked for.
const SNAP: usize = 128;
const ETHERNET_BYTES: usize = 14;

/// A frame on an Ethernet.
#[derive(Clone)]
pub struct Owned {
    pub at: u64,
    pub bytes: Vec<u8>,
    pub wire_len: u32,
}

/// The frames as a source hands them out.
pub fn borrowed(frames: &[Owned]) -> Vec<Frame<'_>> {
    let frame = |frame| {
        let &Owned { at, ref bytes, wire_len } = frame;
        Frame { bytes, wire_len, at: Timestamp(at), link: LinkType::Ethernet }
    };
    frames.iter().map(frame).collect()
}

pub fn sample() -> Vec<Owned> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/redis.pcap");
    let mut source = FileSource::open(Path::new(path), OpenOptions { mmap: false }).unwrap();
    let mut frames = Vec::new();
    let mut take = |frame: Frame<'_>| {
        assert_eq!(frame.link, LinkType::Ethernet);
        frames.push(Owned { at: frame.at.0, bytes: frame.bytes.to_vec(), wire_len: frame.wire_len });
    };
    while let Polled::Frames(_) = source.poll(64, &mut take).unwrap() {}
    frames
}

/// The sample, and captures of clients that pipeline, with values of many segments.
pub fn captures() -> Vec<Vec<Owned>> {
    let made = (0..20).map(|seed| {
        let style = Style { connections: 4, requests: 60, value_bytes: 20_000, ..Style::default() };
        let packets = scene(&style, &mut Random(seed)).packets;
        let owned = packets.iter().map(|packet| {
            let bytes = packet.frame();
            Owned { at: packet.at, wire_len: bytes.len() as u32, bytes }
        });
        owned.collect()
    });
    std::iter::once(sample()).chain(made).collect()
}

/// Whose segment it is, and how many bytes of data are in it.
fn segment_of(frame: &Owned) -> (Option<Endpoint>, usize) {
    let whole =
        Frame { bytes: &frame.bytes, wire_len: frame.wire_len, at: Timestamp(frame.at), link: LinkType::Ethernet };
    decode(&whole).map_or((None, 0), |segment| (Some(segment.source), segment.payload.len()))
}

/// Segments of one sender within 10 ms of each other in another order, each with its own time. Only those with data: a
/// handshake that comes after its data is another story, and so is a reply that comes before its request.
pub fn reordered(frames: &[Owned], random: &mut Random) -> Vec<Owned> {
    let mut frames = frames.to_vec();
    for at in 1..frames.len() {
        let [before, after] = [&frames[at - 1], &frames[at]];
        let is_near = after.at.abs_diff(before.at) < 10 * MILLISECOND;
        let (one, other) = (segment_of(before), segment_of(after));
        if is_near && one.0 == other.0 && one.1 > 0 && other.1 > 0 && random.chance(0.3) {
            frames.swap(at - 1, at);
        }
    }
    frames
}

pub fn duplicated(frames: &[Owned], random: &mut Random) -> Vec<Owned> {
    frames.iter().flat_map(|frame| vec![frame.clone(); if random.chance(0.4) { 2 } else { 1 }]).collect()
}

/// Segments cut into smaller ones of the same time.
pub fn resegmented(frames: &[Owned], random: &mut Random) -> Vec<Owned> {
    let mut cut = Vec::new();
    for frame in frames {
        let (_, payload) = segment_of(frame);
        let headers = frame.bytes.len() - payload;
        let is_plain = frame.bytes.get(12..15) == Some(&[8, 0, 0x45]) && frame.wire_len as usize == frame.bytes.len();
        if payload < 2 || !is_plain || random.chance(0.5) {
            cut.push(frame.clone());
            continue;
        }
        let tcp = ETHERNET_BYTES + 20;
        let total = u16::from_be_bytes([frame.bytes[16], frame.bytes[17]]);
        // Bytes behind the packet would be padding.
        assert_eq!(usize::from(total), frame.bytes.len() - ETHERNET_BYTES);
        let seq = u32::from_be_bytes(frame.bytes[tcp + 4..tcp + 8].try_into().unwrap());
        let middle = random.within(1, payload as u64) as usize;
        for (from, to) in [(0, middle), (middle, payload)] {
            let mut bytes = [&frame.bytes[..headers], &frame.bytes[headers + from..headers + to]].concat();
            let total = (bytes.len() - ETHERNET_BYTES) as u16;
            bytes[16..18].copy_from_slice(&total.to_be_bytes());
            bytes[tcp + 4..tcp + 8].copy_from_slice(&seq.wrapping_add(from as u32).to_be_bytes());
            if to < payload {
                // A FIN is that of the last part.
                bytes[tcp + 13] &= !1;
            }
            cut.push(Owned { at: frame.at, wire_len: bytes.len() as u32, bytes });
        }
    }
    cut
}

pub fn snapped(frames: &[Owned]) -> Vec<Owned> {
    let snap = |frame: &Owned| Owned { bytes: frame.bytes[..frame.bytes.len().min(SNAP)].to_vec(), ..*frame };
    frames.iter().map(snap).collect()
}
