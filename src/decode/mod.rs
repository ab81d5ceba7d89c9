//! From a frame to a TCP [`Segment`], or to a [`Skip`] with its reason.
//!
//! Borrowing, allocation-free, total: any bytes give an answer in bounded work (at most 3 VLAN tags and 8 extension
//! headers), nothing panics. Checksums are not verified: mirrors of a sending host carry wrong ones. Header layouts follow
//! IEEE 802.3/802.1Q, RFC 791, RFC 8200, RFC 9293 and the link types' descriptions by the tcpdump group.

mod ip;
mod link;
pub mod ports;
pub mod seq;
mod tcp;

use crate::capture::Frame;
use crate::counters::Counter;
use crate::units::Endpoint;

use seq::Seq;
pub use tcp::Flags;

/// One TCP segment, as captured.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Who sent it.
    pub source: Endpoint,
    /// To whom.
    pub destination: Endpoint,
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
            Skip::OtherPort => Counter::SkipOtherPort,
        }
    }
}

/// Reads a frame's headers.
#[inline]
pub fn decode<'a>(frame: &Frame<'a>) -> Result<Segment<'a>, Skip> {
    let wire_len = (frame.wire_len as usize).max(frame.bytes.len());
    let packet = link::network_packet(Bytes { captured: frame.bytes, wire_len }, frame.link)?;
    let (source, destination, payload) = ip::transport_payload(packet)?;
    tcp::segment(source, destination, payload)
}

/// A stretch of a frame: the bytes captured of it, and how long it was on the wire (never less).
#[derive(Clone, Copy)]
struct Bytes<'a> {
    captured: &'a [u8],
    wire_len: usize,
}

impl<'a> Bytes<'a> {
    /// Its first `N` bytes.
    #[inline]
    fn header<const N: usize>(&self) -> Result<&'a [u8; N], Skip> {
        self.captured.first_chunk::<N>().ok_or(if self.wire_len >= N { Skip::CutOff } else { Skip::Malformed })
    }

    /// What follows its first `n` bytes.
    #[inline]
    fn skip(&self, n: usize) -> Result<Bytes<'a>, Skip> {
        let wire_len = self.wire_len.checked_sub(n).ok_or(Skip::Malformed)?;
        Ok(Bytes { captured: self.captured.get(n..).unwrap_or_default(), wire_len })
    }

    /// Its first `n` bytes on the wire, without what the link layer put behind them.
    #[inline]
    fn truncate(&self, n: usize) -> Bytes<'a> {
        let n = n.min(self.wire_len);
        Bytes { captured: self.captured.get(..n).unwrap_or(self.captured), wire_len: n }
    }
}

#[inline]
fn be16(bytes: [u8; 2]) -> u16 {
    u16::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
