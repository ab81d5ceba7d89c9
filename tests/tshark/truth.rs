//! What clients sent, from the whole capture, and which frames of a version of it bring the bytes of each request.

use std::collections::BTreeMap;

use resptap::capture::Frame;
use resptap::counters::Counters;
use resptap::decode::fragment::Fragments;
use resptap::decode::{Flags, Skip, decode};

use crate::common::versions::{Owned, borrowed};

const SERVER_PORT: u16 = 6379;

/// A request in truth.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its client's port: no two connections of a capture have the same.
    pub(crate) port: u16,
    /// Its place in what the client sent.
    pub(crate) begin: usize,
    pub(crate) end: usize,
    pub(crate) words: Vec<Vec<u8>>,
    /// Where each word ends, its line end included.
    pub(crate) word_ends: Vec<usize>,
    pub(crate) is_inline: bool,
}

/// What one client sent.
#[derive(Debug)]
struct Stream {
    /// Sequence number of its first byte.
    first: u32,
    bytes: Vec<u8>,
}

/// All that the clients of a capture sent.
#[derive(Debug)]
pub(crate) struct Truth {
    streams: BTreeMap<u16, Stream>,
    pub(crate) requests: Vec<Request>,
}

/// A client's segment in a frame, the frame's number counted from 1.
struct Sent<'a> {
    number: u32,
    port: u16,
    seq: u32,
    is_syn: bool,
    payload: &'a [u8],
    is_cut: bool,
}

fn sent(frames: &[Owned], mut each: impl FnMut(Sent<'_>)) {
    let (mut fragments, mut counters) = (Fragments::default(), Counters::default());
    let mut of_frame = |number: u32, frame: &Frame<'_>| {
        if let Ok(segment) = decode(frame)
            && segment.destination.port == SERVER_PORT
        {
            let is_syn = segment.flags.any(Flags::SYN);
            let (port, seq, payload) = (segment.source.port, segment.seq.0, segment.payload);
            let is_cut = payload.len() < segment.wire_payload_len as usize;
            each(Sent { number, port, seq, is_syn, payload, is_cut });
        }
    };
    for (number, frame) in (1..).zip(borrowed(frames)) {
        match decode(&frame) {
            Err(Skip::Fragment) => {
                if let Some(whole) = fragments.join(&frame, &mut counters) {
                    of_frame(number, &whole);
                }
            }
            _ => of_frame(number, &frame),
        }
    }
}

impl Truth {
    /// Of a capture that misses nothing.
    pub(crate) fn of(capture: &[Owned]) -> Truth {
        let mut streams: BTreeMap<u16, Stream> = BTreeMap::new();
        sent(capture, |sent| {
            if sent.is_syn {
                let stream = Stream { first: sent.seq.wrapping_add(1), bytes: Vec::new() };
                let earlier = streams.insert(sent.port, stream);
                assert!(earlier.is_none_or(|earlier| earlier.bytes.is_empty()), "port {} is used twice", sent.port);
            } else {
                let stream = streams.get_mut(&sent.port).expect("its SYN was captured");
                let from = sent.seq.wrapping_sub(stream.first) as usize;
                if from == stream.bytes.len() {
                    stream.bytes.extend_from_slice(sent.payload);
                }
            }
        });
        let requests = streams.iter().flat_map(|(&port, stream)| requests(port, &stream.bytes)).collect();
        Truth { streams, requests }
    }

    /// The requests of one client.
    pub(crate) fn of_port(&self, port: u16) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |request| request.port == port)
    }

    /// What a client sent.
    pub(crate) fn bytes(&self, port: u16) -> &[u8] {
        &self.streams[&port].bytes
    }

    /// Which frames of a version brought the bytes.
    pub(crate) fn sightings(&self, version: &[Owned]) -> Sightings {
        let empty = |(&port, stream): (&u16, &Stream)| (port, Seen::of(stream.bytes.len()));
        let mut seen: BTreeMap<u16, Seen> = self.streams.iter().map(empty).collect();
        sent(version, |sent| {
            if sent.is_syn || sent.payload.is_empty() {
                return;
            }
            let from = sent.seq.wrapping_sub(self.streams[&sent.port].first) as usize;
            let bytes = &self.streams[&sent.port].bytes;
            let to = from + sent.payload.len();
            // But for keep-alives.
            if bytes.get(from..to) == Some(sent.payload) {
                let seen = seen.get_mut(&sent.port).expect("all ports are there");
                seen.segments.push(Segment { from, to, is_cut: sent.is_cut });
                seen.frames[from..to].iter_mut().filter(|frame| **frame == 0).for_each(|frame| *frame = sent.number);
            }
        });
        Sightings(seen)
    }
}

/// Which frames brought the bytes of one client.
#[derive(Debug)]
struct Seen {
    /// The first frame that had each byte; 0: none.
    frames: Vec<u32>,
    segments: Vec<Segment>,
}

/// A segment of one client in a version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The capture cut off what follows.
    pub(crate) is_cut: bool,
}

impl Seen {
    fn of(bytes: usize) -> Seen {
        Seen { frames: vec![0; bytes], segments: Vec::new() }
    }
}

/// Which frames brought the bytes of all clients.
#[derive(Debug)]
pub(crate) struct Sightings(BTreeMap<u16, Seen>);

impl Sightings {
    fn frames(&self, port: u16) -> &[u32] {
        &self.0[&port].frames
    }

    /// Whether all of these bytes were captured.
    pub(crate) fn has_all(&self, port: u16, from: usize, to: usize) -> bool {
        !self.frames(port)[from..to].contains(&0)
    }

    /// The frame with which all was there that came of this byte and those before it.
    pub(crate) fn reached(&self, port: u16, byte: usize) -> u32 {
        self.frames(port)[..=byte].iter().copied().max().unwrap_or_default()
    }

    /// The frame that brought the last of a request to come.
    pub(crate) fn completed(&self, request: &Request) -> u32 {
        self.frames(request.port)[request.begin..request.end].iter().copied().max().unwrap_or_default()
    }

    /// A client's segments, in the order of the version.
    pub(crate) fn segments(&self, port: u16) -> &[Segment] {
        &self.0[&port].segments
    }
}

/// The requests in what a client sent: an opinion of its own, neither resptap's nor tshark's.
fn requests(port: u16, bytes: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut at = 0;
    while let Some((line, mut end)) = line(bytes, at) {
        let is_inline = !line.starts_with(b"*");
        let (mut words, mut word_ends): (Vec<Vec<u8>>, Vec<usize>) = (Vec::new(), Vec::new());
        if is_inline {
            words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect();
        } else {
            for _ in 0..number(line) {
                let Some((length, from)) = self::line(bytes, end) else { return requests };
                let to = from + usize::try_from(number(length)).expect("a length");
                let Some(word) = bytes.get(from..to) else { return requests };
                words.push(word.to_vec());
                end = to + 2;
                word_ends.push(end);
            }
        }
        if end > bytes.len() {
            break;
        }
        if !words.is_empty() {
            requests.push(Request { port, begin: at, end, words, word_ends, is_inline });
        }
        at = end;
    }
    requests
}

/// A line without its end, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = bytes[at..].iter().position(|&byte| byte == b'\n')?;
    let line = &bytes[at..at + length];
    Some((line.strip_suffix(b"\r").unwrap_or(line), at + length + 1))
}

/// The number behind a line's sign.
fn number(line: &[u8]) -> i64 {
    std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse().ok()).expect("clients that keep to the protocol")
}
