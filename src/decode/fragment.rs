//! IP fragments put together again (RFC 791, section 3.2; RFC 8200, section 4.5).
//!
//! A packet becomes whole with the fragment that completes it, and that fragment's frame then stands for all of it: with its
//! time, as a frame like that of the packet's first fragment, but longer. Frames are counted when their fate is known: that
//! one by whoever gets the whole packet, the others as joined, those of a packet that never became whole as given up. Where
//! fragments overlap, the bytes that came first count.
//!
//! Bounded in packets and bytes; what is oldest gives way. What is waited for too long is given up by the capture's time, when
//! the next fragment comes. Works on bytes of any kind without a panic; a buffer is allocated when it is first needed.

use arrayvec::ArrayVec;

use crate::capture::Frame;
use crate::counters::{Counter, Counters};
use crate::limits::{
    FRAGMENT_CACHE_BYTES_MAX, FRAGMENT_HEADERS_BYTES_MAX, FRAGMENT_TIMEOUT_NS, FRAGMENTED_PACKETS_MAX, TUNNELS_MAX,
};
use crate::units::{Address, Timestamp};

use super::ip::{self, Piece};
use super::tags::Tags;
use super::tunnel::{self, Innermost};
use super::{Bytes, Skip, decode, link};

/// Offsets count in blocks of 8 bytes.
const BLOCK_BYTES: usize = 8;
/// The longest IP packet.
const PACKET_BYTES_MAX: usize = 65_535;
const BLOCKS_MAX: usize = PACKET_BYTES_MAX.div_ceil(BLOCK_BYTES);
const WORDS: usize = BLOCKS_MAX.div_ceil(64);

/// Packets of which not all fragments have come yet.
#[derive(Debug, Default)]
pub struct Fragments {
    partial: Vec<Partial>,
    /// How many packets have begun.
    begun: u64,
    /// The frame of the packet that became whole last.
    whole: Vec<u8>,
    /// The one around it, if that was fragmented as well.
    outer: Vec<u8>,
}

/// Whose fragments belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Key {
    id: u32,
    protocol: u8,
    source: Address,
    destination: Address,
    tags: Tags,
}

/// A packet that is being put together, or room for one.
#[derive(Debug)]
struct Partial {
    /// `None`: nothing is in it.
    key: Option<Key>,
    /// Which packet it is, counted from the first.
    number: u64,
    since: Timestamp,
    /// Frames that it has come in so far, and their bytes on the wire.
    frames: u64,
    frame_bytes: u64,
    /// What stands before the data in the frame of the first fragment, ready for the whole packet. Empty: not yet there.
    headers: ArrayVec<u8, FRAGMENT_HEADERS_BYTES_MAX>,
    data: Vec<u8>,
    /// Which blocks of it have come, and how many.
    blocks: Box<[u64; WORDS]>,
    blocks_count: usize,
    /// How far the data reaches that has been heard of.
    reach: usize,
    /// Length of the data, known from the last fragment.
    len: Option<usize>,
    /// Where the capture cut the data off.
    captured: usize,
}

/// A fragment, and where in its frame.
struct Found<'a> {
    key: Key,
    piece: Piece<'a>,
    /// The IP headers of the tunnels and of itself.
    ip_at: ArrayVec<usize, { TUNNELS_MAX + 1 }>,
}

impl Fragments {
    /// Takes a frame of which decoding said [`Skip::Fragment`], and counts what is decided by it. Answers the frame of the packet
    /// that became whole by it.
    pub fn join(&mut self, frame: &Frame<'_>, counters: &mut Counters) -> Option<Frame<'_>> {
        let mut wire_len = self.take(frame, counters)?;
        // What became whole may be a tunnel's packet with a fragment inside.
        loop {
            std::mem::swap(&mut self.whole, &mut self.outer);
            let outer = std::mem::take(&mut self.outer);
            let joined = Frame { bytes: &outer, wire_len, ..*frame };
            if !matches!(decode(&joined), Err(Skip::Fragment)) {
                self.outer = std::mem::replace(&mut self.whole, outer);
                return Some(Frame { bytes: &self.whole, wire_len, ..*frame });
            }
            let inner = self.take(&joined, counters);
            self.outer = outer;
            wire_len = inner?;
        }
    }

    /// Gives up what is not whole: the capture has ended.
    pub fn give_up_all(&mut self, counters: &mut Counters) {
        for partial in &mut self.partial {
            partial.give_up(counters);
        }
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> u64 {
        let fixed = self.partial.len() * (size_of::<Partial>() + size_of::<[u64; WORDS]>());
        (fixed + self.buffers() + self.whole.capacity() + self.outer.capacity()) as u64
    }

    fn buffers(&self) -> usize {
        self.partial.iter().map(|partial| partial.data.capacity()).sum()
    }

    /// Takes a fragment; the packet that became whole by it is in `whole`. Answers its length on the wire.
    fn take(&mut self, frame: &Frame<'_>, counters: &mut Counters) -> Option<u32> {
        for partial in &mut self.partial {
            if frame.at.since(partial.since) > FRAGMENT_TIMEOUT_NS {
                partial.give_up(counters);
            }
        }
        let taken = find(frame).and_then(|found| {
            let at = self.place_of(&found.key, frame.at, counters);
            self.partial[at].add(&found, frame, counters)?;
            Ok(at)
        });
        let at = match taken {
            Ok(at) => at,
            Err(skip) => {
                counters.count(Counter::FramesSeen);
                counters.add(Counter::FrameBytes, u64::from(frame.wire_len));
                counters.count(skip.counter());
                return None;
            }
        };
        self.make_room(at, counters);
        self.partial[at].finish(&mut self.whole, counters)
    }

    /// Where a packet is put together; a place for it if it is new.
    fn place_of(&mut self, key: &Key, now: Timestamp, counters: &mut Counters) -> usize {
        if let Some(at) = self.partial.iter().position(|partial| partial.key.as_ref() == Some(key)) {
            return at;
        }
        let free = self.partial.iter().position(|partial| partial.key.is_none());
        let at = match free {
            Some(at) => at,
            None if self.partial.len() < FRAGMENTED_PACKETS_MAX => {
                self.partial.push(Partial::new());
                self.partial.len() - 1
            }
            None => {
                let oldest = (0..self.partial.len()).min_by_key(|&at| self.partial[at].number).unwrap_or(0);
                counters.count(Counter::EvictedFragments);
                self.partial[oldest].give_up(counters);
                oldest
            }
        };
        self.begun += 1;
        self.partial[at].begin(*key, self.begun, now);
        at
    }

    /// Gives memory back while there is too much of it: first what nobody uses, then of the oldest packet, but not that at
    /// `kept`.
    fn make_room(&mut self, kept: usize, counters: &mut Counters) {
        while self.buffers() > FRAGMENT_CACHE_BYTES_MAX {
            let others = self.partial.iter_mut().enumerate();
            let others = others.filter(|(at, partial)| *at != kept && partial.data.capacity() > 0);
            let Some((_, partial)) = others.min_by_key(|(_, partial)| (partial.key.is_some(), partial.number)) else {
                return;
            };
            if partial.key.is_some() {
                counters.count(Counter::EvictedFragments);
                partial.give_up(counters);
            }
            partial.data = Vec::new();
        }
    }
}

impl Partial {
    fn new() -> Partial {
        Partial {
            key: None,
            number: 0,
            since: Timestamp::NONE,
            frames: 0,
            frame_bytes: 0,
            headers: ArrayVec::new(),
            data: Vec::new(),
            blocks: Box::new([0; WORDS]),
            blocks_count: 0,
            reach: 0,
            len: None,
            captured: 0,
        }
    }

    /// Begins with a packet, keeping the memory.
    fn begin(&mut self, key: Key, number: u64, now: Timestamp) {
        (self.key, self.number, self.since) = (Some(key), number, now);
        (self.frames, self.frame_bytes) = (0, 0);
        self.headers.clear();
        self.data.clear();
        self.blocks.fill(0);
        (self.blocks_count, self.reach, self.len, self.captured) = (0, 0, None, usize::MAX);
    }

    /// Adds a fragment; fails if it can't be one of this packet.
    fn add(&mut self, found: &Found<'_>, frame: &Frame<'_>, counters: &mut Counters) -> Result<(), Skip> {
        let Piece { offset, more, header_len, data, .. } = found.piece;
        let end = offset + data.wire_len;
        let contradicts = match self.len {
            Some(len) => end > len || !more && end != len,
            None => !more && end < self.reach,
        };
        let is_odd = more && !data.wire_len.is_multiple_of(BLOCK_BYTES);
        if contradicts || is_odd || header_len + end > PACKET_BYTES_MAX {
            self.forget_if_new();
            return Err(Skip::Malformed);
        }
        if offset == 0 && self.headers.is_empty() {
            match headers(found, frame) {
                Ok(headers) => self.headers = headers,
                Err(skip) => {
                    self.forget_if_new();
                    return Err(skip);
                }
            }
        }
        if !more {
            self.len = Some(end);
        }
        self.reach = self.reach.max(end);
        if data.captured.len() < data.wire_len {
            self.captured = self.captured.min(offset + data.captured.len());
        }
        if self.copy(offset, data) {
            counters.count(Counter::FragmentOverlaps);
        }
        self.frames += 1;
        self.frame_bytes += u64::from(frame.wire_len);
        Ok(())
    }

    /// Nothing has come of it that it could wait with.
    fn forget_if_new(&mut self) {
        if self.frames == 0 {
            self.key = None;
        }
    }

    /// Copies the blocks that are new; answers whether some were not.
    fn copy(&mut self, offset: usize, data: Bytes<'_>) -> bool {
        let end = offset + data.wire_len;
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        let mut overlaps = false;
        for block in offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let (word, bit) = (block / 64, 1u64 << (block % 64));
            if self.blocks[word] & bit != 0 {
                overlaps = true;
                continue;
            }
            self.blocks[word] |= bit;
            self.blocks_count += 1;
            let to = block * BLOCK_BYTES;
            let captured = data.captured.get(to - offset..).unwrap_or_default();
            let captured = &captured[..captured.len().min(BLOCK_BYTES)];
            self.data[to..to + captured.len()].copy_from_slice(captured);
        }
        overlaps
    }

    /// If the packet is whole, writes its frame to `out`, counts the frames before the last one, and answers the frame's length
    /// on the wire.
    fn finish(&mut self, out: &mut Vec<u8>, counters: &mut Counters) -> Option<u32> {
        let len = self.len.filter(|len| self.blocks_count == len.div_ceil(BLOCK_BYTES))?;
        if self.headers.is_empty() {
            return None;
        }
        self.key = None;
        out.clear();
        out.extend_from_slice(&self.headers);
        out.extend_from_slice(&self.data[..len.min(self.captured)]);
        let wire_len = (self.headers.len() + len) as u32;
        counters.add(Counter::FramesSeen, self.frames - 1);
        counters.add(Counter::SkipFragmentJoined, self.frames - 1);
        // The rest is counted with the whole packet.
        counters.add(Counter::FrameBytes, self.frame_bytes.saturating_sub(u64::from(wire_len)));
        Some(wire_len)
    }

    fn give_up(&mut self, counters: &mut Counters) {
        if self.key.take().is_some() {
            counters.add(Counter::FramesSeen, self.frames);
            counters.add(Counter::FrameBytes, self.frame_bytes);
            counters.add(Counter::SkipFragment, self.frames);
        }
    }
}

/// The fragment inside a frame.
fn find<'a>(frame: &Frame<'a>) -> Result<Found<'a>, Skip> {
    let bytes = Bytes::of(frame);
    let mut ip_at = ArrayVec::new();
    // As captured bytes are parts of the frame's, a header that was read begins where they do.
    let place = |packet: Bytes<'_>| packet.captured.as_ptr().addr() - frame.bytes.as_ptr().addr();
    let mut tags = Tags::default();
    let layer = link::inside(bytes, frame.link, &mut tags)?;
    let innermost = tunnel::innermost(layer, &mut tags, &mut |packet| ip_at.push(place(packet)))?;
    // The caller has decoded the same bytes before.
    let Innermost::Fragment(packet) = innermost else { return Err(Skip::Fragment) };
    ip_at.push(place(packet));
    let piece = ip::piece(packet)?;
    let Piece { id, protocol, source, destination, .. } = piece;
    Ok(Found { key: Key { id, protocol, source, destination, tags }, piece, ip_at })
}

/// All that stands before the data of the first fragment, changed so that it is that of the whole packet: no header says how
/// long its packet is (as with segmentation offload), and none that it is a fragment.
fn headers(found: &Found<'_>, frame: &Frame<'_>) -> Result<ArrayVec<u8, FRAGMENT_HEADERS_BYTES_MAX>, Skip> {
    let own = found.ip_at.last().copied().unwrap_or(0);
    let before = frame.bytes.get(..own + found.piece.header_len).ok_or(Skip::CutOff)?;
    let mut headers = ArrayVec::new();
    headers.try_extend_from_slice(before).map_err(|_| Skip::TooDeep)?;
    for &at in &found.ip_at {
        let len_at = if headers[at] >> 4 == 4 { at + 2 } else { at + 4 };
        headers[len_at..len_at + 2].fill(0);
    }
    let offset_at = own + found.piece.offset_at;
    headers[offset_at..offset_at + 2].fill(0);
    Ok(headers)
}

#[cfg(test)]
mod tests;
