//! Frames, one behind the other in one big arena, and what a mirror port makes of them.
//!
//! Ethernet, IPv4 or IPv6, TCP. Checksums of IPv4 headers are right, those of TCP zero, as sending hosts with offload leave them.

use std::io;
use std::ops::Range;
use std::path::Path;

use resptap::capture::file::{FileSource, OpenOptions};
use resptap::capture::{Frame, LinkType, Polled, Source};
use resptap::limits::BATCH_FRAMES;
use resptap::units::{Address, Endpoint, Timestamp};

use crate::frame::SERVER_PORT;
use crate::random::{MILLISECOND, Random};
use crate::world::EPOCH;

use super::plan::{Faults, LATE_FRAMES, Plan, Tunnel};

/// Frames in the order in which they were captured.
#[derive(Debug, Default)]
pub struct Trace {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a frame is in the arena.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    offset: usize,
    length: u32,
}

impl Trace {
    /// Frames in it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A frame.
    #[inline(always)]
    pub fn frame(&self, index: usize) -> Frame<'_> {
        self.at(self.places[index])
    }

    /// Some of the frames.
    #[inline(always)]
    pub fn some(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = Frame<'_>> {
        self.places[range].iter().map(|&place| self.at(place))
    }

    #[inline(always)]
    fn at(&self, place: Place) -> Frame<'_> {
        let Place { at, offset, length } = place;
        let bytes = &self.bytes[offset..offset + length as usize];
        Frame { bytes, wire_len: length, at: Timestamp(at), link: LinkType::Ethernet }
    }

    /// All frames.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        (0..self.len()).map(|index| self.frame(index))
    }

    /// Bytes of all frames.
    pub fn frame_bytes(&self) -> u64 {
        self.places.iter().map(|place| u64::from(place.length)).sum()
    }

    /// The frames of a capture.
    pub fn open(path: &Path) -> io::Result<Trace> {
        let wrong = |what: String| io::Error::other(format!("{}: {what}", path.display()));
        let mut source = FileSource::open(path, OpenOptions { mmap: true }).map_err(io::Error::other)?;
        let (mut trace, mut others) = (Trace::default(), 0u64);
        while let Polled::Frames(_) =
            source.poll(BATCH_FRAMES, &mut |frame| trace.push(&frame, &mut others)).map_err(io::Error::other)?
        {}
        if others > 0 {
            return Err(wrong(format!("{others} frames are cut off, or none of Ethernet")));
        }
        Ok(trace)
    }

    fn push(&mut self, frame: &Frame<'_>, others: &mut u64) {
        let length = frame.bytes.len() as u32;
        if length != frame.wire_len || frame.link != LinkType::Ethernet {
            *others += 1;
            return;
        }
        self.places.push(Place { at: frame.at.0, offset: self.bytes.len(), length });
        self.bytes.extend_from_slice(frame.bytes);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Which of the clients, from 0.
    pub(super) client: u32,
    pub(super) port: u16,
    /// Which of the servers, from 0.
    pub(super) server: u32,
    pub(super) is_ipv6: bool,
}

/// First client and server, which the others follow.
const CLIENTS: u32 = u32::from_be_bytes([10, 0, 0, 1]);
const SERVERS: u32 = u32::from_be_bytes([192, 168, 0, 1]);
/// Network of both over IPv6.
const NETWORK: [u8; 12] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0];
/// Outer ends of tunnels.
const TUNNEL_ENDS: [[u8; 4]; 2] = [[172, 16, 0, 1], [172, 16, 0, 2]];

impl Ends {
    /// As text: `10.0.0.1:1024`, `[2001:db8::a00:1]:1024`.
    pub(super) fn text(&self, client: bool) -> String {
        self.endpoint(client).to_string()
    }

    /// As records have it.
    pub(super) fn endpoint(&self, client: bool) -> Endpoint {
        let (host, port) =
            if client { (CLIENTS + self.client, self.port) } else { (SERVERS + self.server, SERVER_PORT) };
        if !self.is_ipv6 {
            return Endpoint { address: Address::from_ipv4(host.to_be_bytes()), port };
        }
        let mut address = [0; 16];
        address[..12].copy_from_slice(&NETWORK);
        address[12..].copy_from_slice(&host.to_be_bytes());
        Endpoint { address: Address(address), port }
    }
}

/// A segment's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    /// When it passed the mirror port.
    pub(super) at: u64,
    /// It is where it belongs in the capture.
    pub(super) in_order: bool,
}

/// What happened to frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Happened {
    /// Frames that were captured.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that were not captured.
    pub lost: u64,
    /// Frames that were captured late.
    pub late: u64,
    /// Frames that were captured twice.
    pub duplicates: u64,
}

/// Makes frames.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) trace: Trace,
    pub(super) happened: Happened,
    now: u64,
    interval_ns: u64,
    timestamps: bool,
    tunnel: Tunnel,
    faults: Faults,
    identification: u16,
    random: Random,
    /// Frames that are late: before which frame they come, and where they are.
    late: Vec<(u64, Place)>,
}

impl Wire {
    pub(super) fn new(plan: &Plan, seed: u64) -> Wire {
        Wire {
            trace: Trace::default(),
            happened: Happened::default(),
            now: EPOCH,
            interval_ns: plan.interval_ns,
            timestamps: plan.timestamps,
            tunnel: plan.tunnel,
            faults: plan.faults,
            identification: 0,
            random: Random(!seed),
            late: Vec::new(),
        }
    }

    /// Sends a segment.
    pub(super) fn segment(&mut self, ends: &Ends, from_client: bool, numbers: Numbers, payload: &[u8]) -> Sent {
        let offset = self.trace.bytes.len();
        // On average the interval, and never none.
        self.now += 1 + self.random.bits() % (2 * self.interval_ns).max(1);
        self.headers(ends, from_client, numbers, payload.len());
        self.trace.bytes.extend_from_slice(payload);
        let length = (self.trace.bytes.len() - offset) as u32;
        self.capture(Place { at: self.now, offset, length })
    }

    /// The arena is about to be used again: what is late comes now.
    pub(super) fn settle(&mut self) {
        while let Some((_, place)) = self.late.pop() {
            self.keep(place);
        }
    }

    fn capture(&mut self, place: Place) -> Sent {
        let Faults { loss, late, duplicates } = self.faults;
        let sent = |in_order| Sent { at: place.at, in_order };
        if self.random.chance(loss) {
            self.happened.lost += 1;
            self.trace.bytes.truncate(place.offset);
            return sent(false);
        }
        let is_late = self.random.chance(late);
        if is_late {
            self.happened.late += 1;
            let by = self.random.within(1, LATE_FRAMES + 1);
            self.late.push((self.happened.packets + by, place));
        } else {
            self.keep(place);
        }
        if self.random.chance(duplicates) {
            self.happened.duplicates += 1;
            self.keep(place);
        }
        while let Some(due) = self.late.iter().position(|(before, _)| *before <= self.happened.packets) {
            let (_, place) = self.late.swap_remove(due);
            self.keep(place);
        }
        sent(!is_late)
    }

    fn keep(&mut self, place: Place) {
        // A copy, and what was late, come later than what was just kept.
        let last = self.trace.places.last().map_or(0, |last| last.at);
        self.now = self.now.max(last + u64::from(place.at <= last));
        self.trace.places.push(Place { at: place.at.max(self.now), ..place });
        self.happened.packets += 1;
        self.happened.bytes += u64::from(place.length);
    }

    fn headers(&mut self, ends: &Ends, from_client: bool, numbers: Numbers, payload_bytes: usize) {
        let tcp_bytes = if self.timestamps { 32 } else { 20 };
        let ip_bytes = if ends.is_ipv6 { 40 } else { 20 } + tcp_bytes + payload_bytes;
        self.identification = self.identification.wrapping_add(1);
        let Wire { trace: Trace { bytes: out, .. }, tunnel, identification, now, .. } = self;
        let macs: &[u8; 12] =
            if from_client { &[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1] } else { &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9] };
        match tunnel {
            Tunnel::None | Tunnel::Vlan => {}
            Tunnel::Vxlan => {
                out.extend_from_slice(&[4; 12]);
                out.extend_from_slice(&[8, 0]);
                let udp_bytes = 8 + 8 + 14 + ip_bytes;
                ipv4(20 + udp_bytes, *identification, 17, TUNNEL_ENDS, out);
                out.extend_from_slice(&[0xc0, 0, 0x12, 0xb5]);
                out.extend_from_slice(&(udp_bytes as u16).to_be_bytes());
                out.extend_from_slice(&[0, 0, 8, 0, 0, 0, 0, 0, 42, 0]);
            }
            Tunnel::Gre => {
                out.extend_from_slice(&[4; 12]);
                out.extend_from_slice(&[8, 0]);
                ipv4(20 + 4 + 14 + ip_bytes, *identification, 47, TUNNEL_ENDS, out);
                out.extend_from_slice(&[0, 0, 0x65, 0x58]);
            }
        }
        out.extend_from_slice(macs);
        if *tunnel == Tunnel::Vlan {
            out.extend_from_slice(&[0x81, 0, 0, 42]);
        }
        let (client, server) = ((CLIENTS + ends.client).to_be_bytes(), (SERVERS + ends.server).to_be_bytes());
        let (from, to) = if from_client { (client, server) } else { (server, client) };
        if ends.is_ipv6 {
            out.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
            out.extend_from_slice(&((ip_bytes - 40) as u16).to_be_bytes());
            out.extend_from_slice(&[6, 64]);
            for host in [from, to] {
                out.extend_from_slice(&NETWORK);
                out.extend_from_slice(&host);
            }
        } else {
            out.extend_from_slice(&[8, 0]);
            ipv4(ip_bytes, *identification, 6, [from, to], out);
        }
        let (from, to) = if from_client { (ends.port, SERVER_PORT) } else { (SERVER_PORT, ends.port) };
        let mut tcp = [0; 20];
        tcp[0..2].copy_from_slice(&from.to_be_bytes());
        tcp[2..4].copy_from_slice(&to.to_be_bytes());
        tcp[4..8].copy_from_slice(&numbers.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&numbers.ack.to_be_bytes());
        tcp[12] = (tcp_bytes as u8 / 4) << 4;
        tcp[13] = numbers.flags;
        tcp[14..16].copy_from_slice(&[0xff, 0xff]);
        out.extend_from_slice(&tcp);
        if self.timestamps {
            let stamp = ((*now / MILLISECOND) as u32).to_be_bytes();
            out.extend_from_slice(&[1, 1, 8, 10]);
            out.extend_from_slice(&stamp);
            out.extend_from_slice(&stamp);
        }
    }
}

fn ipv4(length: usize, identification: u16, protocol: u8, ends: [[u8; 4]; 2], out: &mut Vec<u8>) {
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[12..20].copy_from_slice(ends.as_flattened());
    let sum: u32 = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    out.extend_from_slice(&header);
}
