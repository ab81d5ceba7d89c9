//! One end of a TCP connection: what it has sent and received, what it acknowledges, when it sends again.
//!
//! As much of RFC 9293, 5681 and 6298 as shapes what a tap sees: segments of at most one MSS, windows that close, delayed and
//! duplicate acknowledgements, fast and timed retransmissions, probes of a closed window, Nagle's algorithm. Positions are
//! those of a stream's bytes, from 0.

use crate::random::{MILLISECOND, SECOND};

/// Least time after which something is sent again.
const RETRANSMIT_NS: u64 = 200 * MILLISECOND;
/// How long an acknowledgement may be held back.
const DELAYED_ACK_NS: u64 = 40 * MILLISECOND;
/// Most bytes under way.
const FLIGHT_BYTES_MAX: u64 = 256 << 10;
/// Never.
pub(crate) const NEVER: u64 = u64::MAX;
/// Windows are announced in units of this many bytes.
pub(crate) const WINDOW_UNIT_BYTES: u64 = 128;

/// What was sent, as one packet. Plain data.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Which connection, from 0.
    pub link: u32,
    /// Its direction.
    pub from_client: bool,
    /// Position of its first byte.
    pub from: u64,
    /// Bytes of payload.
    pub length: u32,
    /// Position up to which its sender had received.
    pub ack: u64,
    /// TCP flags.
    pub flags: u8,
    /// Bytes that the sender can take.
    pub window: u64,
    /// The sender's clock, in milliseconds (timestamps option).
    pub stamp: u32,
    /// The newest of the other side's that it has seen.
    pub echo: u32,
    /// IP identification.
    pub id: u16,
    /// When it passed the tap; `None`: it was lost before.
    pub at: Option<u64>,
    /// It asks whether a closed window has opened.
    pub probe: bool,
    /// An adversary's mirror loses it.
    pub marked: bool,
}

impl Packet {
    /// Position behind its last byte.
    pub fn to(&self) -> u64 {
        self.from.wrapping_add(u64::from(self.length))
    }
}

/// What a received packet makes its receiver acknowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acknowledge {
    Nothing,
    Later,
    Now,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Host {
    /// All bytes that its application has made.
    pub(crate) stream: Vec<u8>,
    /// How many of them it has handed over.
    pub(crate) written: u64,
    /// How many have been acknowledged.
    pub(crate) acknowledged: u64,
    /// How many have been sent.
    pub(crate) sent: u64,
    /// How many may be sent.
    limit: u64,
    /// Until this is acknowledged, what was lost is being repaired.
    recover: u64,
    duplicates: u32,
    retransmit_ns: u64,
    /// When it gives up waiting for an acknowledgement.
    pub(crate) retransmit_at: u64,
    nagle: bool,
    mss: u64,
    /// How much has been received in order.
    pub(crate) received: u64,
    /// What came ahead, in order.
    ahead: Vec<(u64, u64)>,
    /// How much of it the application has taken.
    pub(crate) read: u64,
    buffer: u64,
    announced: u64,
    unacknowledged: u64,
    /// When it acknowledges at the latest.
    pub(crate) acknowledge_at: u64,
    /// Its timers have an event.
    pub(crate) timer_at: u64,
    pub(crate) echo: u32,
    pub(crate) id: u16,
    /// When its last packet left.
    pub(crate) left_at: u64,
}

impl Host {
    pub(crate) fn new(mss: u32, buffer: u64, peer_buffer: u64, nagle: bool) -> Host {
        Host {
            stream: Vec::new(),
            written: 0,
            acknowledged: 0,
            sent: 0,
            limit: peer_buffer,
            recover: 0,
            duplicates: 0,
            retransmit_ns: RETRANSMIT_NS,
            retransmit_at: NEVER,
            nagle,
            mss: u64::from(mss),
            received: 0,
            ahead: Vec::new(),
            read: 0,
            buffer,
            announced: buffer,
            unacknowledged: 0,
            acknowledge_at: NEVER,
            timer_at: NEVER,
            echo: 0,
            id: 0,
            left_at: 0,
        }
    }

    /// The next stretch to send, if something is to be sent and may be.
    pub(crate) fn next_stretch(&mut self, now: u64) -> Option<(u64, u32)> {
        let unsent = self.written - self.sent;
        let in_flight = self.sent - self.acknowledged;
        if unsent == 0 {
            return None;
        }
        let room = self.limit.min(self.acknowledged + FLIGHT_BYTES_MAX).saturating_sub(self.sent);
        let length = unsent.min(self.mss).min(room);
        let is_small = length < self.mss;
        let waits = is_small && in_flight > 0 && (self.nagle || length < unsent);
        if length == 0 || waits {
            if in_flight == 0 && self.retransmit_at == NEVER {
                self.retransmit_at = now + self.retransmit_ns;
            }
            return None;
        }
        let from = self.sent;
        self.sent += length;
        if self.retransmit_at == NEVER || in_flight == 0 {
            self.retransmit_at = now + self.retransmit_ns;
        }
        Some((from, length as u32))
    }

    /// The first stretch that was sent and not acknowledged.
    fn first_unacknowledged(&self) -> (u64, u32) {
        (self.acknowledged, self.mss.min(self.sent - self.acknowledged) as u32)
    }

    /// Takes a packet's acknowledgement; answers what is to be sent again.
    pub(crate) fn acknowledgement(&mut self, packet: &Packet, now: u64) -> Option<(u64, u32)> {
        let limit = packet.ack + packet.window;
        // A FIN has a number, too.
        let ack = packet.ack.min(self.sent);
        if ack > self.acknowledged {
            self.acknowledged = ack;
            self.limit = self.limit.max(limit);
            self.duplicates = 0;
            self.retransmit_ns = RETRANSMIT_NS;
            self.retransmit_at = if self.acknowledged < self.sent { now + self.retransmit_ns } else { NEVER };
            return (self.acknowledged < self.recover && self.acknowledged < self.sent)
                .then(|| self.first_unacknowledged());
        }
        if ack == self.acknowledged {
            let repeats = packet.length == 0 && limit == self.limit && self.acknowledged < self.sent;
            self.limit = self.limit.max(limit);
            if repeats {
                self.duplicates += 1;
                if self.duplicates == 3 && self.acknowledged >= self.recover {
                    self.recover = self.sent;
                    return Some(self.first_unacknowledged());
                }
            }
        }
        None
    }

    /// Time has come to send again what was not acknowledged, or (`None`) to probe a closed window.
    pub(crate) fn retransmit(&mut self, now: u64) -> Option<(u64, u32)> {
        self.retransmit_ns = (2 * self.retransmit_ns).min(2 * SECOND);
        self.retransmit_at = now + self.retransmit_ns;
        if self.acknowledged == self.sent {
            return None;
        }
        self.recover = self.sent;
        Some(self.first_unacknowledged())
    }

    /// Whether something waits that its peer has no room for.
    pub(crate) fn is_blocked(&self) -> bool {
        self.acknowledged == self.sent && self.sent < self.written
    }

    /// Takes a packet's bytes.
    pub(crate) fn take(&mut self, packet: &Packet, now: u64) -> Acknowledge {
        if packet.probe {
            return Acknowledge::Now;
        }
        if packet.length == 0 {
            return Acknowledge::Nothing;
        }
        let (from, to) = (packet.from, packet.to());
        if to <= self.received || to > self.read + self.buffer {
            return Acknowledge::Now;
        }
        if from > self.received {
            self.ahead.push((from, to));
            self.ahead.sort_unstable();
            return Acknowledge::Now;
        }
        self.unacknowledged += to - self.received;
        self.received = to;
        let fills = !self.ahead.is_empty();
        let received = &mut self.received;
        self.ahead.retain(|&(from, to)| {
            let is_next = from <= *received;
            if is_next {
                *received = to.max(*received);
            }
            !is_next
        });
        if fills || self.unacknowledged >= 2 * self.mss {
            return Acknowledge::Now;
        }
        self.acknowledge_at = self.acknowledge_at.min(now + DELAYED_ACK_NS);
        Acknowledge::Later
    }

    /// The application takes all there is; answers whether the other side must hear that there is room again.
    pub(crate) fn read_all(&mut self) -> bool {
        self.read = self.received;
        let was = self.announced.saturating_sub(self.unacknowledged);
        was < 2 * self.mss && self.window() >= 2 * self.mss.min(self.buffer / 4)
    }

    fn window(&self) -> u64 {
        let room = self.buffer.saturating_sub(self.received - self.read);
        if room < self.mss.min(self.buffer / 4) { 0 } else { room - room % WINDOW_UNIT_BYTES }
    }

    /// What a packet says that leaves now: how far was received, and how much there is room for.
    pub(crate) fn announce(&mut self) -> (u64, u64) {
        self.acknowledge_at = NEVER;
        self.unacknowledged = 0;
        self.announced = self.window();
        (self.received, self.announced)
    }

    /// When its next timer is due.
    pub(crate) fn deadline(&self) -> u64 {
        self.retransmit_at.min(self.acknowledge_at)
    }
}
