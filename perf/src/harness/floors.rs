//! Floors: what a packet costs before anything is known of Redis. Each does all that the one before it does, and a little more;
//! what resptap takes is told as a multiple of them, measured in the same run, since nanoseconds differ from machine to machine.
//!
//! | floor | does |
//! |---|---|
//! | F0 | reads one word of every cache line |
//! | F1 | reads the headers, and hashes addresses and ports |
//! | F2 | looks up the connection, and updates it |
//! | F3 | reads one word of every cache line of the payload as well |
//!
//! They are as fast as the author can make them: frames are taken by the batch, and connections asked for before they are needed.
//! Only IPv4 without options, which is what the profiles are.

use hashbrown::HashTable;

use resptap::capture::Frame;
use resptap::prefetch::prefetch;

use crate::frame::SERVER_PORT;
use crate::generator::Trace;

/// Frames that are taken together.
const BATCH_FRAMES: usize = 32;
/// Bytes of a cache line.
const LINE_BYTES: usize = 64;
/// Secrets of the hash, which needs none here, but costs no less.
const SECRETS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];

/// A floor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Floor {
    /// One word of every cache line.
    F0,
    /// Headers and hash.
    F1,
    /// The connection.
    F2,
    /// The payload.
    F3,
}

/// A connection's two ends: the client's and the server's address, and the client's port.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Key {
    addresses: u64,
    port: u16,
}

/// What is known of a connection.
#[derive(Clone, Copy, Default, Debug)]
struct Flow {
    key: Key,
    next: [u32; 2],
    packets: [u32; 2],
    bytes: [u64; 2],
    out_of_order: u32,
    last_at: u64,
}

/// A frame whose headers have been read.
#[derive(Clone, Copy, Default)]
struct Parsed<'a> {
    key: Key,
    hash: u64,
    seq: u32,
    direction: usize,
    at: u64,
    payload: &'a [u8],
}

/// The state of a floor, and what it found.
#[derive(Debug)]
pub struct Floors {
    floor: Floor,
    index: HashTable<u32>,
    flows: Vec<Flow>,
    /// So that nothing of it can be left out.
    sum: u64,
    segments: u64,
}

impl Floors {
    /// One that knows no connection yet.
    pub fn new(floor: Floor, connections: usize) -> Floors {
        let has_flows = floor >= Floor::F2;
        Floors {
            floor,
            index: HashTable::new(),
            flows: Vec::with_capacity(if has_flows { connections } else { 0 }),
            sum: 0,
            segments: 0,
        }
    }

    /// Segments that were found.
    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// Connections that were found.
    pub fn connections(&self) -> usize {
        self.flows.len()
    }

    /// Takes the frames. Not inlined: it is what is measured.
    #[inline(never)]
    pub fn read(&mut self, trace: &Trace) {
        let mut sum = 0u64;
        match self.floor {
            Floor::F0 => {
                for frame in trace.frames() {
                    sum = sum.wrapping_add(lines(frame.bytes));
                    self.segments += 1;
                }
            }
            Floor::F1 => {
                for frame in trace.frames() {
                    let Some(parsed) = parse(&frame) else { continue };
                    sum = sum.wrapping_add(parsed.hash);
                    self.segments += 1;
                }
            }
            Floor::F2 => self.follow::<false>(trace),
            Floor::F3 => self.follow::<true>(trace),
        }
        self.sum = std::hint::black_box(self.sum.wrapping_add(sum));
    }

    #[inline(always)]
    fn follow<const TOUCHES: bool>(&mut self, trace: &Trace) {
        let mut from = 0;
        while from < trace.len() {
            let to = (from + BATCH_FRAMES).min(trace.len());
            let (mut batch, mut slots, mut count) = ([Parsed::default(); BATCH_FRAMES], [0u32; BATCH_FRAMES], 0);
            for index in from..to {
                if let Some(parsed) = parse(&trace.frame(index)) {
                    batch[count] = parsed;
                    count += 1;
                }
            }
            for (parsed, slot) in batch[..count].iter().zip(&mut slots) {
                let flows = &self.flows;
                *slot =
                    *self.index.find(parsed.hash, |&slot| flows[slot as usize].key == parsed.key).unwrap_or(&u32::MAX);
                if let Some(flow) = flows.get(*slot as usize) {
                    prefetch(flow);
                }
            }
            for (parsed, &slot) in batch[..count].iter().zip(&slots) {
                self.update(parsed, slot);
                if TOUCHES {
                    self.sum = self.sum.wrapping_add(lines(parsed.payload));
                }
            }
            self.segments += count as u64;
            from = to;
        }
    }

    #[inline(always)]
    fn update(&mut self, parsed: &Parsed<'_>, slot: u32) {
        let slot = if slot == u32::MAX { self.open(parsed) } else { slot };
        let flow = &mut self.flows[slot as usize];
        let (direction, length) = (parsed.direction, parsed.payload.len() as u32);
        flow.out_of_order += u32::from(flow.next[direction] != parsed.seq);
        flow.next[direction] = parsed.seq.wrapping_add(length);
        flow.packets[direction] += 1;
        flow.bytes[direction] += u64::from(length);
        flow.last_at = parsed.at;
    }

    #[cold]
    fn open(&mut self, parsed: &Parsed<'_>) -> u32 {
        // An earlier frame of the batch may have brought it.
        if let Some(&slot) = self.index.find(parsed.hash, |&slot| self.flows[slot as usize].key == parsed.key) {
            return slot;
        }
        let slot = self.flows.len() as u32;
        self.flows.push(Flow { key: parsed.key, ..Flow::default() });
        self.index.insert_unique(parsed.hash, slot, |&slot| hash(self.flows[slot as usize].key));
        slot
    }
}

/// The sum of a word of each cache line.
#[inline(always)]
fn lines(bytes: &[u8]) -> u64 {
    let mut sum = 0u64;
    for line in bytes.chunks(LINE_BYTES) {
        let word = line.first_chunk::<8>().map_or(u64::from(line[0]), |word| u64::from_le_bytes(*word));
        sum = sum.wrapping_add(word);
    }
    sum
}

#[inline(always)]
fn parse<'a>(frame: &Frame<'a>) -> Option<Parsed<'a>> {
    let header = frame.bytes.first_chunk::<54>()?;
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let fragment = half(20) & 0x3fff;
    if half(12) != 0x0800 || header[14] != 0x45 || header[23] != 6 || fragment != 0 {
        return None;
    }
    let end = 14 + usize::from(half(16));
    let payload = frame.bytes.get(34 + usize::from(header[46] >> 4) * 4..end)?;
    let (source, destination) = (u64::from(word(26)), u64::from(word(30)));
    let (addresses, port, direction) = if half(36) == SERVER_PORT {
        (source << 32 | destination, half(34), 0)
    } else if half(34) == SERVER_PORT {
        (destination << 32 | source, half(36), 1)
    } else {
        return None;
    };
    let key = Key { addresses, port };
    Some(Parsed { key, hash: hash(key), seq: word(38), direction, at: frame.at.0, payload })
}

#[inline(always)]
fn hash(key: Key) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product >> 64) as u64 ^ product as u64
    };
    fold(fold(key.addresses ^ SECRETS[0], u64::from(key.port) ^ SECRETS[1]), SECRETS[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Generator, Profile};

    #[test]
    fn floors_find_all_segments_and_connections_in_order() {
        for floor in [Floor::F0, Floor::F1, Floor::F2, Floor::F3] {
            let mut generator = Generator::new(&Profile::T1.plan(), 1);
            let mut floors = Floors::new(floor, 10_000);
            let mut packets = 0;
            for _ in 0..3 {
                floors.read(generator.next(40_000));
                packets += generator.trace().len() as u64;
            }
            assert_eq!(floors.segments(), packets, "{floor:?}");
            if floor >= Floor::F2 {
                assert_eq!(floors.connections() as u64, generator.facts().connections, "{floor:?}");
                // SYNs, and what follows them.
                let gaps: u64 = floors.flows.iter().map(|flow| u64::from(flow.out_of_order)).sum();
                assert_eq!(gaps, 4 * generator.facts().connections, "{floor:?}");
            }
        }
    }

    #[test]
    fn a_word_of_each_line_is_read() {
        let mut bytes = [0; 3 * LINE_BYTES + 1];
        for at in [0, LINE_BYTES, 2 * LINE_BYTES, 3 * LINE_BYTES] {
            bytes[at] = 1;
        }
        assert_eq!((lines(&bytes), lines(&bytes[..LINE_BYTES]), lines(&[])), (4, 1, 0));
    }
}
