//! From a frame to a TCP [`Segment`], or to a [`Skip`] with its reason.
//!
//! Borrowing, allocation-free, total: any bytes give an answer in bounded work (so many VLAN tags, labels, extension headers
//! and tunnels and no more), nothing panics. Checksums are not verified: mirrors of a sending host carry wrong ones. Header
//! layouts follow IEEE 802.3/802.1Q, RFC 791, RFC 8200, RFC 9293, those named in `tunnel.rs`, and the link types' descriptions
//! by the tcpdump group. Fragments are told as such; [`fragment::Fragments`] makes them whole again.

pub mod fragment;
mod ip;
mod link;
mod mark;
pub mod ports;
pub mod seq;
pub mod tags;
mod tcp;
mod tunnel;
mod usual;

use std::ops::Deref;

use crate::capture::Frame;
use crate::counters::Counter;
use crate::units::Endpoint;

use ip::PROTOCOL_TCP;
use seq::Seq;
use tags::Tags;
pub use tcp::{Control, Flags, Numbers, Sent, Tcp};
use tunnel::{Innermost, Layer};
pub use usual::Usual;

/// One TCP segment, as captured: what its connection reads of it.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of its first byte (of SYN, if that is set).
    pub seq: Seq,
    /// Acknowledgement number; means something only if `flags` has ACK.
    pub ack: Seq,
    /// TCP flags.
    pub flags: Flags,
    /// The window as on the wire, not scaled: only whether it is zero can be told.
    pub window: u16,
    /// The payload's captured bytes.
    pub payload: &'a [u8],
    /// The payload's length on the wire; what it exceeds `payload` by was cut off by the capture.
    pub wire_payload_len: u32,
}

/// A segment, and what else its headers tell.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Who sent it.
    pub source: Endpoint,
    /// To whom.
    pub destination: Endpoint,
    /// The segment.
    pub segment: Segment<'a>,
    /// The VLAN and the tunnel that it was in.
    pub tags: Tags,
    /// What the segment was read from, and can be again.
    pub tcp: Tcp<'a>,
}

impl<'a> Deref for Packet<'a> {
    type Target = Segment<'a>;

    #[inline(always)]
    fn deref(&self) -> &Segment<'a> {
        &self.segment
    }
}

/// Why a frame is no segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skip {
    /// The capture cut the frame off inside its headers.
    CutOff,
    /// No IP packet.
    NotIp,
    /// An IP packet that is not TCP.
    NotTcp,
    /// A fragment of an IP packet.
    Fragment,
    /// Lengths that contradict each other.
    Malformed,
    /// In more tunnels, tags, labels or extension headers than are looked behind.
    TooDeep,
    /// TCP between ports that nobody asked for.
    OtherPort,
}

impl Skip {
    /// Where it is counted.
    pub fn counter(self) -> Counter {
        match self {
            Skip::CutOff => Counter::SkipCutOff,
            Skip::NotIp => Counter::SkipNotIp,
            Skip::NotTcp => Counter::SkipNotTcp,
            Skip::Fragment => Counter::SkipFragment,
            Skip::Malformed => Counter::SkipMalformed,
            Skip::TooDeep => Counter::SkipTooDeep,
            Skip::OtherPort => Counter::SkipOtherPort,
        }
    }
}

/// Whether a frame is of the usual kind, TCP over IPv4 in untagged Ethernet, as far as its IP header.
#[inline(always)]
pub fn is_usual(frame: &Frame<'_>) -> bool {
    link::usual(Bytes::of(frame), frame.link).is_some_and(|packet| ip::usual(packet).is_some())
}

/// What a frame's outermost headers hide.
#[derive(Clone, Copy, Debug)]
pub enum Hidden<'a> {
    /// Nothing: the frame is a segment's, or of no interest.
    Nothing,
    /// A segment, which is in tunnels.
    Segment(Packet<'a>),
    /// To which connection the frame belongs: it is, or has inside, a fragment.
    Connection,
}

/// Looks for what a frame's outermost headers hide.
#[cold]
pub fn hidden<'a>(frame: &Frame<'a>) -> Hidden<'a> {
    let mut tags = Tags::default();
    let Ok(layer) = link::inside(Bytes::of(frame), frame.link, &mut tags) else { return Hidden::Nothing };
    if let Layer::Ip(packet) = layer
        && ip::datagram(packet).is_ok_and(|datagram| datagram.protocol == PROTOCOL_TCP)
    {
        return Hidden::Nothing;
    }
    match decode_tunnels(layer, tags) {
        Ok(segment) => Hidden::Segment(segment),
        Err(Skip::Fragment) => Hidden::Connection,
        Err(_) => Hidden::Nothing,
    }
}

/// Reads a frame's headers.
#[inline]
pub fn decode<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Skip> {
    let mut tags = Tags::default();
    let layer = link::inside(Bytes::of(frame), frame.link, &mut tags)?;
    if let Layer::Ip(packet) = layer {
        let datagram = ip::datagram(packet)?;
        if datagram.protocol == PROTOCOL_TCP {
            return tcp::segment(&datagram, tags);
        }
    }
    decode_tunnels(layer, tags)
}

/// The same from what is not simply a packet of TCP on: apart, so that the usual way is short.
#[cold]
fn decode_tunnels(layer: Layer<'_>, mut tags: Tags) -> Result<Packet<'_>, Skip> {
    match tunnel::innermost(layer, &mut tags, &mut |_| {})? {
        Innermost::Tcp(datagram) => tcp::segment(&datagram, tags),
        Innermost::Fragment(_) => Err(Skip::Fragment),
    }
}

/// A stretch of a frame: the bytes captured of it, and how long it was on the wire (never less).
#[derive(Clone, Copy)]
struct Bytes<'a> {
    captured: &'a [u8],
    wire_len: usize,
}

impl<'a> Bytes<'a> {
    /// All of a frame.
    #[inline(always)]
    fn of(frame: &Frame<'a>) -> Bytes<'a> {
        Bytes { captured: frame.bytes, wire_len: (frame.wire_len as usize).max(frame.bytes.len()) }
    }

    /// Its first `N` bytes.
    #[inline(always)]
    fn header<const N: usize>(&self) -> Result<&'a [u8; N], Skip> {
        self.captured.first_chunk::<N>().ok_or(if self.wire_len >= N { Skip::CutOff } else { Skip::Malformed })
    }

    /// What follows its first `n` bytes.
    #[inline(always)]
    fn skip(&self, n: usize) -> Result<Bytes<'a>, Skip> {
        let wire_len = self.wire_len.checked_sub(n).ok_or(Skip::Malformed)?;
        Ok(Bytes { captured: self.captured.get(n..).unwrap_or_default(), wire_len })
    }

    /// The same where its header says that it has `n` bytes: without what the link layer put behind them, and with those that
    /// are missing because a mirror or a tunnel's beginning cut the packet off.
    #[inline(always)]
    fn with_len(&self, n: usize) -> Bytes<'a> {
        Bytes { captured: self.captured.get(..n).unwrap_or(self.captured), wire_len: n }
    }
}

#[inline]
fn be16(bytes: [u8; 2]) -> u16 {
    u16::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
