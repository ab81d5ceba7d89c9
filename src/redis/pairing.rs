//! Which request a reply answers: the queue of those that wait, and what is certain of their order.
//!
//! As long as both streams are framed and nothing is hidden, the k-th reply answers the k-th request ([`Certainty::Exact`]).
//! Otherwise nothing is guessed:
//!
//! * Replies are hidden, requests are not ([`Certainty::Bounded`]): let h be the number of replies in the hidden stretches.
//!   The j-th reply seen since (from 0) answers the request at place h + j of the queue. From below h is bounded by what the
//!   stretches must hold, from above by what they can hold, and by each reply's acknowledgement: a server can't answer what
//!   it has not received, so h + j is a place before the first request that the reply's segment does not acknowledge. When
//!   one h is left the pairing is proved again (`counted`); when none is left a fact was wrong, and nothing is certain.
//! * Requests are hidden: those before the stretch keep their places and are answered exactly; behind them stands a mark
//!   ([`Queue::mark`]), and when a reply reaches it nothing is certain.
//! * Nothing is certain ([`Certainty::Unproved`], also of a connection older than the capture): replies are discarded, and
//!   requests end as `lost`, until long enough silence lets us assume that nothing is outstanding
//!   ([`Certainty::Assumed`]). Whatever is paired by that says so.

use crate::pool::{NONE, Pool};
use crate::units::Offset;

use super::request::Request;

/// Facts about a transaction that are yes or no: a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u16);

impl Flags {
    /// A segment of it was retransmitted.
    pub const RETRANSMIT: Flags = Flags(1 << 0);
    /// Bytes of it are missing from the capture.
    pub const GAP: Flags = Flags(1 << 1);
    /// Its reply came after it had been reported as timed out.
    pub const LATE: Flags = Flags(1 << 2);
    /// The request broke the protocol; the server answers with an error and closes.
    pub const MALFORMED: Flags = Flags(1 << 3);
    /// It was sent as an inline command.
    pub const INLINE: Flags = Flags(1 << 4);
    /// It may wait for data on purpose; its latency is kept apart and it never times out.
    pub const BLOCKING: Flags = Flags(1 << 5);
    /// It was queued by a MULTI that was never executed.
    pub const NOT_EXECUTED: Flags = Flags(1 << 6);
    /// The command table does not have the command: that its first argument is the key is a guess.
    pub const KEY_GUESSED: Flags = Flags(1 << 7);

    /// The names that records show, in order.
    pub const NAMES: [(Flags, &'static str); 8] = [
        (Flags::RETRANSMIT, "retransmit"),
        (Flags::GAP, "gap"),
        (Flags::LATE, "late"),
        (Flags::MALFORMED, "malformed"),
        (Flags::INLINE, "inline"),
        (Flags::BLOCKING, "blocking"),
        (Flags::NOT_EXECUTED, "not_executed"),
        (Flags::KEY_GUESSED, "key_guessed"),
    ];

    /// Whether all bits of `other` are set.
    #[inline]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the bits of `other`.
    #[inline]
    pub fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

/// By which argument a pairing was found again after something had been hidden (PAIRING).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Bounds alone left one possibility.
    Counted,
    /// Assumed: nothing can be outstanding after both sides were silent long enough.
    Silence,
}

impl Proof {
    /// All of them, in the order of [`Proof::name`]s.
    pub const ALL: [Proof; 2] = [Proof::Counted, Proof::Silence];

    /// As records and summaries spell it.
    pub fn name(self) -> &'static str {
        match self {
            Proof::Counted => "counted",
            Proof::Silence => "silence",
        }
    }
}

/// What is accepted as proof of pairing after something was hidden (PAIRING).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resync {
    /// Only what is certain.
    Strict,
    /// Also what is assumed by name, such as [`Proof::Silence`].
    Assume,
}

/// Why a request stayed without a reply although nothing was hidden.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A side closed the connection.
    Fin,
    /// A side reset the connection.
    Rst,
    /// A new connection took over the same addresses and ports.
    Reused,
    /// The connection had been silent for the idle timeout.
    Idle,
    /// The capture ended.
    CaptureEnd,
}

impl Reason {
    /// As records spell it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Fin => "fin",
            Reason::Rst => "rst",
            Reason::Reused => "reused",
            Reason::Idle => "idle",
            Reason::CaptureEnd => "capture_end",
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// None is due.
    NoReply,
    /// Paired with its reply, nothing hidden.
    Exact,
    /// Paired with its reply after a gap or a mid-stream start.
    Resynced(Proof),
    /// No reply within the timeout at the head of its connection.
    TimedOut,
    /// Its reply, or the proof of pairing, is missing from the capture.
    Lost,
    /// The other direction was never seen.
    OneSided,
    /// The connection ended first.
    Unanswered(Reason),
}

impl Outcome {
    /// As `redis.pairing` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::NoReply => "no_reply",
            Outcome::Exact => "exact",
            Outcome::Resynced(_) => "resynced",
            Outcome::TimedOut => "timed_out",
            Outcome::Lost => "lost",
            Outcome::OneSided => "one_sided",
            Outcome::Unanswered(_) => "unanswered",
        }
    }

    /// Whether there is a reply.
    pub fn is_paired(self) -> bool {
        matches!(self, Outcome::Exact | Outcome::Resynced(_))
    }
}

/// Requests that wait for their replies, first in, first out. The requests are in a pool; this is its two ends.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u32,
    tail: u32,
    length: u32,
    /// Marks in it.
    marks: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { head: NONE, tail: NONE, length: 0, marks: 0 }
    }
}

impl Queue {
    /// Requests in it, marks not counted.
    #[inline]
    pub fn len(&self) -> u32 {
        self.length - self.marks
    }

    /// Whether there are neither requests nor marks.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first one's handle.
    #[inline]
    pub fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// The last one's handle.
    #[inline]
    pub fn tail(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    /// Whether there is a mark in it.
    pub fn is_marked(&self) -> bool {
        self.marks > 0
    }

    /// Puts a request at the end.
    #[inline]
    pub fn push(&mut self, handle: u32, pool: &mut Pool<Request>) {
        pool.get_mut(handle).next = NONE;
        if self.tail == NONE {
            self.head = handle;
        } else {
            pool.get_mut(self.tail).next = handle;
        }
        self.tail = handle;
        self.length += 1;
    }

    /// Puts a mark at the end: from here on it is not certain which reply belongs to which request (requests are hidden,
    /// or answered by none or several). `handle` is an empty request of the pool that stands for it.
    pub fn mark(&mut self, handle: u32, pool: &mut Pool<Request>) {
        pool.get_mut(handle).mark = true;
        self.push(handle, pool);
        self.marks += 1;
    }

    /// Takes the first one, which may be a mark; it is the caller's to give back.
    #[inline]
    pub fn pop(&mut self, pool: &Pool<Request>) -> Option<u32> {
        let handle = self.head()?;
        let request = pool.get(handle);
        self.head = request.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.length -= 1;
        self.marks -= u32::from(request.is_mark());
        Some(handle)
    }

    /// The one behind another.
    pub fn after(&self, handle: u32, pool: &Pool<Request>) -> Option<u32> {
        let next = pool.get(handle).next;
        (next != NONE).then_some(next)
    }

    /// How many requests from the front end at or before `acknowledged`, counted up to `enough`.
    fn acknowledged(&self, acknowledged: Offset, enough: u64, pool: &Pool<Request>) -> u64 {
        let (mut count, mut handle) = (0, self.head);
        while handle != NONE && count < enough {
            let request = pool.get(handle);
            if request.end > acknowledged {
                break;
            }
            count += 1;
            handle = request.next;
        }
        count
    }

    /// Whether the newest request that ends at or before `acknowledged` was sent when all replies before `position` had been
    /// received. Not looked for among more than 1024, nor where requests are hidden.
    pub fn drained(&self, position: Offset, acknowledged: Offset, pool: &Pool<Request>) -> bool {
        if self.is_marked() {
            return false;
        }
        let (mut handle, mut newest) = (self.head, None);
        for _ in 0..CANDIDATES_MAX {
            if handle == NONE || pool.get(handle).end > acknowledged {
                return newest.is_some_and(|received| received >= position);
            }
            let request = pool.get(handle);
            newest = Some(request.received);
            handle = request.next;
        }
        false
    }
}

/// Possibilities, and replies, that are followed up before a connection is given up as unproved.
const CANDIDATES_MAX: u64 = 1024;

/// What is certain of a connection's pairing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certainty {
    /// The first request of the queue takes the next reply.
    Exact,
    /// So it is, by an assumption that was made earlier.
    Assumed(Proof),
    /// Between `hidden_min` and `hidden_max` replies were not seen, and `seen` replies since.
    Bounded {
        /// Fewest replies hidden.
        hidden_min: u64,
        /// Most replies hidden.
        hidden_max: u64,
        /// Replies seen since, none of them paired.
        seen: u64,
    },
    /// Nothing.
    Unproved,
}

/// What a reply answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The first request of the queue.
    First(Outcome),
    /// The request behind so many at the front of the queue, whose replies were hidden: those are lost.
    Behind {
        /// Requests that are lost.
        lost: u64,
        /// What becomes of the one behind them.
        outcome: Outcome,
    },
    /// No request: none waits.
    Nothing,
    /// It can't be told.
    Unproved,
    /// What was taken for certain can't be: the reply answers a request that its server had not received.
    Contradiction,
}

impl Certainty {
    /// Whether the next reply can be paired at once.
    pub fn is_settled(self) -> bool {
        matches!(self, Certainty::Exact | Certainty::Assumed(_))
    }

    /// A reply was seen, whose first segment acknowledged `ack` of the requests. Decides what it answers, and what is
    /// certain from now on.
    #[inline]
    pub fn reply(&mut self, queue: &Queue, ack: Offset, pool: &Pool<Request>) -> Answer {
        let outcome = match *self {
            Certainty::Exact => Outcome::Exact,
            Certainty::Assumed(proof) => Outcome::Resynced(proof),
            Certainty::Unproved => return Answer::Unproved,
            Certainty::Bounded { .. } => return self.bounded_reply(queue, ack, pool),
        };
        let Some(head) = queue.head() else { return Answer::Nothing };
        let head = pool.get(head);
        if head.is_mark() {
            *self = Certainty::Unproved;
            return Answer::Unproved;
        }
        if head.end > ack {
            *self = Certainty::Unproved;
            return Answer::Contradiction;
        }
        Answer::First(outcome)
    }

    fn bounded_reply(&mut self, queue: &Queue, ack: Offset, pool: &Pool<Request>) -> Answer {
        let Certainty::Bounded { hidden_min, hidden_max, seen } = *self else { return Answer::Unproved };
        if queue.is_marked() {
            *self = Certainty::Unproved;
            return Answer::Unproved;
        }
        if seen >= CANDIDATES_MAX {
            *self = Certainty::Unproved;
            return Answer::Unproved;
        }
        let enough = hidden_max.min(hidden_min + CANDIDATES_MAX) + seen + 1;
        let acknowledged = queue.acknowledged(ack, enough, pool);
        let Some(hidden_max) = acknowledged.checked_sub(seen + 1).map(|bound| bound.min(hidden_max)) else {
            *self = Certainty::Unproved;
            return Answer::Contradiction;
        };
        if hidden_max < hidden_min {
            *self = Certainty::Unproved;
            return Answer::Contradiction;
        }
        if hidden_max == hidden_min {
            *self = Certainty::Exact;
            return Answer::Behind { lost: hidden_min + seen, outcome: Outcome::Resynced(Proof::Counted) };
        }
        *self = if hidden_max - hidden_min >= CANDIDATES_MAX {
            Certainty::Unproved
        } else {
            Certainty::Bounded { hidden_min, hidden_max, seen: seen + 1 }
        };
        Answer::Unproved
    }

    /// Between `min` and `max` replies were hidden.
    pub fn hide_replies(&mut self, min: u64, max: u64) {
        *self = match *self {
            Certainty::Exact => Certainty::Bounded { hidden_min: min, hidden_max: max, seen: 0 },
            Certainty::Bounded { hidden_min, hidden_max, seen } => Certainty::Bounded {
                hidden_min: hidden_min.saturating_add(min),
                hidden_max: hidden_max.saturating_add(max),
                seen,
            },
            Certainty::Assumed(_) | Certainty::Unproved => Certainty::Unproved,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of requests that end at 10, 20, 30 …
    fn queue(length: u64) -> (Queue, Pool<Request>) {
        let (mut queue, mut pool) = (Queue::default(), Pool::new(64));
        for n in 1..=length {
            let handle = pool.take(Request::new).unwrap();
            pool.get_mut(handle).end = Offset(n * 10);
            queue.push(handle, &mut pool);
        }
        (queue, pool)
    }

    #[test]
    fn with_nothing_hidden_the_first_request_takes_the_reply() {
        let (queue, pool) = queue(3);
        let mut certainty = Certainty::Exact;
        assert_eq!(certainty.reply(&queue, Offset(10), &pool), Answer::First(Outcome::Exact));
        assert_eq!(certainty.reply(&Queue::default(), Offset(10), &pool), Answer::Nothing);
        let mut certainty = Certainty::Assumed(Proof::Silence);
        assert_eq!(certainty.reply(&queue, Offset(99), &pool), Answer::First(Outcome::Resynced(Proof::Silence)));
    }

    #[test]
    fn row_64_a_reply_that_its_server_could_not_give_yet_is_a_contradiction() {
        let (queue, pool) = queue(3);
        let mut certainty = Certainty::Exact;
        assert_eq!(certainty.reply(&queue, Offset(9), &pool), Answer::Contradiction);
        assert_eq!(certainty, Certainty::Unproved);
        assert_eq!(certainty.reply(&queue, Offset(99), &pool), Answer::Unproved);
    }

    #[test]
    fn counted_a_serial_client_whose_reply_was_lost() {
        let (queue, pool) = queue(2);
        let mut certainty = Certainty::Exact;
        certainty.hide_replies(1, 400);
        let answer = certainty.reply(&queue, Offset(20), &pool);
        assert_eq!(answer, Answer::Behind { lost: 1, outcome: Outcome::Resynced(Proof::Counted) });
        assert_eq!(certainty, Certainty::Exact);
    }

    #[test]
    fn several_possibilities_are_no_proof_until_acknowledgements_leave_one() {
        let (queue, pool) = queue(5);
        let mut certainty = Certainty::Exact;
        certainty.hide_replies(1, 3);
        assert_eq!(certainty.reply(&queue, Offset(40), &pool), Answer::Unproved);
        assert_eq!(certainty, Certainty::Bounded { hidden_min: 1, hidden_max: 3, seen: 1 });
        // The second reply acknowledges four requests: h + 1 is at most place 3.
        assert_eq!(certainty.reply(&queue, Offset(40), &pool), Answer::Unproved);
        assert_eq!(certainty, Certainty::Bounded { hidden_min: 1, hidden_max: 2, seen: 2 });
        let answer = certainty.reply(&queue, Offset(40), &pool);
        assert_eq!(answer, Answer::Behind { lost: 3, outcome: Outcome::Resynced(Proof::Counted) });
    }

    #[test]
    fn more_replies_than_requests_is_a_contradiction() {
        let (queue, pool) = queue(2);
        let mut certainty = Certainty::Exact;
        certainty.hide_replies(2, 5);
        assert_eq!(certainty.reply(&queue, Offset(20), &pool), Answer::Contradiction);
        let mut certainty = Certainty::Exact;
        certainty.hide_replies(0, 5);
        assert_eq!(certainty.reply(&queue, Offset(9), &pool), Answer::Contradiction);
    }

    #[test]
    fn stretches_add_up_and_end_an_assumption() {
        let mut certainty = Certainty::Exact;
        certainty.hide_replies(1, 3);
        certainty.hide_replies(0, 2);
        assert_eq!(certainty, Certainty::Bounded { hidden_min: 1, hidden_max: 5, seen: 0 });
        let mut certainty = Certainty::Assumed(Proof::Silence);
        certainty.hide_replies(0, 2);
        assert_eq!(certainty, Certainty::Unproved);
    }

    #[test]
    fn requests_before_hidden_ones_keep_their_places() {
        let (mut queue, mut pool) = queue(2);
        let mark = pool.take(Request::new).unwrap();
        queue.mark(mark, &mut pool);
        let later = pool.take(Request::new).unwrap();
        queue.push(later, &mut pool);
        assert_eq!(queue.len(), 3);
        let mut certainty = Certainty::Exact;
        for _ in 0..2 {
            assert_eq!(certainty.reply(&queue, Offset(99), &pool), Answer::First(Outcome::Exact));
            queue.pop(&pool);
        }
        assert_eq!(certainty.reply(&queue, Offset(99), &pool), Answer::Unproved);
        assert_eq!(certainty, Certainty::Unproved);
    }

    #[test]
    fn hidden_replies_and_hidden_requests_together_prove_nothing() {
        let (mut queue, mut pool) = queue(1);
        let mark = pool.take(Request::new).unwrap();
        queue.mark(mark, &mut pool);
        let mut certainty = Certainty::Exact;
        certainty.hide_replies(1, 1);
        assert_eq!(certainty.reply(&queue, Offset(99), &pool), Answer::Unproved);
        assert_eq!(certainty, Certainty::Unproved);
    }
}
