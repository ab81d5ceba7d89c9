//! Honest connections: one GET after the other, each answered after the same time, so that a pair with another latency is
//! wrong. Half of them are busy; the others ask now and then, and are silent for seconds. In turn their requests and replies come
//! whole, in two segments, and in two segments of which the second comes first, so that they need memory to be put together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::random::{MILLISECOND, SECOND};
use crate::world::EPOCH;

use super::wire::Flow;

/// From an honest request to its reply, in nanoseconds.
pub const ANSWER_NS: u64 = 100_000;
/// Honest connections, neighbours in the order of their beginning.
const CONNECTIONS: usize = 128;
/// From one request of a busy one to its next.
const BUSY_NS: u64 = 10 * MILLISECOND;
/// From one request of a calm one to its next.
const CALM_NS: u64 = 3 * SECOND;
const REQUEST: &[u8] = b"*2\r\n$3\r\nGET\r\n$8\r\nhonest:1\r\n";
const REPLY: &[u8] = b"$5\r\nvalue\r\n";

/// Where a message is cut, if it comes in two segments.
const CUT: usize = 6;
/// From the first of two segments to the second.
const APART_NS: u64 = 20_000;

/// What an honest connection says: a segment.
pub(super) struct Moment {
    pub(super) at: u64,
    pub(super) asks: bool,
    pub(super) bytes: &'static [u8],
    /// Its handshake comes before.
    pub(super) opens: bool,
    /// It is the last one of a request.
    pub(super) ends_request: bool,
    pub(super) flow: Flow,
}

/// Who says what, in the order of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: u64,
    number: usize,
    asks: bool,
    from: usize,
    to: usize,
    is_last: bool,
}

struct Connection {
    flow: Flow,
    has_begun: bool,
    exchanges: u64,
}

/// All of them.
pub(super) struct Honest {
    connections: Vec<Connection>,
    agenda: BinaryHeap<Reverse<Entry>>,
    stopped: bool,
}

impl Honest {
    pub(super) fn new() -> Honest {
        let connection = |number: usize| {
            let client = u32::from_be_bytes([172, 16, 0, 1]) + number as u32;
            Connection { flow: Flow::of(client, 40_000 + number as u16, 0), has_begun: false, exchanges: 0 }
        };
        let mut honest = Honest {
            connections: (0..CONNECTIONS).map(connection).collect(),
            agenda: BinaryHeap::new(),
            stopped: false,
        };
        for number in 0..CONNECTIONS {
            // All begin within the first 10 ms.
            honest.plan(number, true, EPOCH + number as u64 * (BUSY_NS / CONNECTIONS as u64) + APART_NS);
        }
        honest
    }

    /// No more requests.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// What was to be said before `now`, one after the other.
    pub(super) fn due(&mut self, now: u64) -> Option<Moment> {
        let Entry { at, number, asks, from, to, is_last } = self.agenda.peek().filter(|next| next.0.at < now)?.0;
        self.agenda.pop();
        let message = if asks { REQUEST } else { REPLY };
        let connection = &mut self.connections[number];
        let mut flow = connection.flow;
        flow.advance(asks, from as u32);
        let opens = !std::mem::replace(&mut connection.has_begun, true);
        if is_last {
            connection.flow.advance(asks, message.len() as u32);
            self.plan_after(number, asks, at);
        }
        Some(Moment { at, asks, bytes: &message[from..to], opens, ends_request: asks && is_last, flow })
    }

    fn plan_after(&mut self, number: usize, asks: bool, at: u64) {
        if asks {
            return self.plan(number, false, at + ANSWER_NS);
        }
        self.connections[number].exchanges += 1;
        if !self.stopped {
            let period = if number.is_multiple_of(2) { BUSY_NS } else { CALM_NS };
            self.plan(number, true, at + period - ANSWER_NS);
        }
    }

    /// A message whose last segment comes at `at`.
    fn plan(&mut self, number: usize, asks: bool, at: u64) {
        let length = if asks { REQUEST.len() } else { REPLY.len() };
        let parts: &[(usize, usize)] = match self.connections[number].exchanges % 3 {
            0 => &[(0, length)],
            1 => &[(0, CUT), (CUT, length)],
            _ => &[(CUT, length), (0, CUT)],
        };
        for (part, &(from, to)) in parts.iter().enumerate() {
            let is_last = part + 1 == parts.len();
            let at = if is_last { at } else { at - APART_NS };
            self.agenda.push(Reverse(Entry { at, number, asks, from, to, is_last }));
        }
    }
}
