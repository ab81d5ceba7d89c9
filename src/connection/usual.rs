//! The short way: what nearly all segments take.
//!
//! A connection is *plain* while nothing about it needs to be thought of: both streams are known and whole, the pairing is
//! settled, its session is as any session begins. That is decided when something unusual has happened ([`Connection::is_plain`]
//! says what it takes) and remembered in a flag, so that a segment asks one question. What is done here for a plain connection
//! is what the long way ([`Connection::segment`] and below) would have done: where anything is not as usual, nothing has
//! happened yet, and the long way does it. In debug builds the flag is compared with what it stands for, and tests/properties.rs
//! compares what both ways tell. Here is what all its segments have in common; what requests and replies are apart from that is in the
//! modules of their names.

mod replies;
mod requests;

use crate::counters::Counter;
use crate::decode::seq::Seq;
use crate::decode::{Flags as TcpFlags, Segment, Sent};
use crate::pool::NONE;
use crate::prefetch::prefetch_lines;
use crate::reassembly::duplicate::{Print, Recent};
use crate::reassembly::pages::{Meta, Piece};
use crate::reassembly::stream::HalfStream;
use crate::units::{Direction, Offset, Timestamp};

use super::{Admission, Connection, Exhausted, Facts, Framing, Recorder, Resources};

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrived {
    /// The connection has taken it, or it is a copy.
    Done,
    /// The connection has taken it, and has ended.
    Closed,
    /// It does not simply go on with the connection: [`Connection::arrive_unusually`] is to be asked.
    Unusual,
}

impl Connection {
    /// A segment between its ends arrives, of which `cut` bytes were cut off. `print`: what its copies have in common, `recent`: the
    /// packets of late.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub fn arrive<R: Recorder>(
        &mut self,
        sent: &Sent<'_>,
        cut: u32,
        direction: Direction,
        at: Timestamp,
        print: &Print,
        recent: &mut Recent,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Arrived {
        let Some(ack) = self.usual(sent, direction, at, resources).filter(|_| cut == 0) else {
            return self.arrive_long(&sent.segment(cut), direction, at, *print, recent, resources, recorder);
        };
        self.arrive_usual(sent, ack, direction, at, print, recent, resources, recorder);
        if self.facts.has(Facts::PLAIN) { Arrived::Done } else { self.arrived(resources) }
    }

    /// The same of one that is the usual next one, which acknowledges up to `ack`. If the connection is plain no more,
    /// [`Connection::arrived`] is to be asked.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub fn arrive_usual<R: Recorder>(
        &mut self,
        sent: &Sent<'_>,
        ack: Offset,
        direction: Direction,
        at: Timestamp,
        print: &Print,
        recent: &mut Recent,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if recent.is_copy(*print, at, true) {
            return resources.counters.count(Counter::Duplicates);
        }
        self.take_usual(sent, direction, at, ack, resources, recorder);
    }

    /// Whether it is plain, as far as is noted.
    #[inline(always)]
    pub fn is_noted_plain(&self) -> bool {
        self.facts.has(Facts::PLAIN)
    }

    /// The same of a segment that is not the usual next one of a plain connection.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)]
    pub fn arrive_long<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        print: Print,
        recent: &mut Recent,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Arrived {
        let is_next = self.brings_next(segment, direction, at, resources);
        if recent.is_copy(print, at, is_next) {
            resources.counters.count(Counter::Duplicates);
            return Arrived::Done;
        }
        if is_next {
            self.segment(segment, direction, at, resources, recorder);
        } else if !self.take_acknowledgement(segment, direction, at, resources) {
            return Arrived::Unusual;
        }
        if self.facts.has(Facts::CLOSED) { Arrived::Closed } else { Arrived::Done }
    }

    /// A segment was taken by which the connection is no more plain, as far as is noted.
    #[inline(never)]
    pub fn arrived(&mut self, resources: &mut Resources) -> Arrived {
        self.note_plain(resources);
        if self.facts.has(Facts::CLOSED) { Arrived::Closed } else { Arrived::Done }
    }

    /// A segment arrives that does not simply go on with it. Answers whether it has taken it, or it is no one's; else the segment
    /// begins another connection, and this one has ended.
    pub fn arrive_unusually<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> bool {
        match self.admit(segment, direction, at, resources) {
            Admission::Take => self.segment(segment, direction, at, resources, recorder),
            Admission::Ignore => resources.counters.count(Counter::Stray),
            Admission::Note => self.note_syn(segment, self.oriented(direction), resources),
            Admission::Replace(reason) => {
                self.close(reason, resources, recorder);
                return false;
            }
        }
        true
    }

    /// Asks for the memory of the request that waits first, and of the reply that goes on.
    #[inline(always)]
    pub fn prefetch_head(&self, resources: &Resources) {
        resources.requests.prefetch(self.queue.head_or_none());
        // Most have none.
        if let Some(unfinished) = resources.unfinished.find(self.unfinished[Direction::Reply as usize]) {
            prefetch_lines::<_, 1>(unfinished);
        }
    }

    /// Whether several requests wait, so that a segment may bring several replies.
    #[inline(always)]
    pub fn awaits_several(&self) -> bool {
        self.queue.len() > 1
    }

    /// Notes whether it is plain.
    pub(super) fn note_plain(&mut self, resources: &mut Resources) {
        self.tidy_aside(resources);
        self.facts.put(Facts::PLAIN, resources.takes_short_way && self.is_plain());
    }

    pub(super) fn is_plain(&self) -> bool {
        !self.facts.has(Facts::CLOSED)
            && !self.facts.has(Facts::SWAPPED)
            && !self.facts.has(Facts::UNPAIRABLE)
            && !self.facts.has(Facts::WATCHFUL)
            && !self.facts.has(Facts::CLOSING)
            && self.certainty.is_settled()
            && self.framing == [Framing::Known; 2]
            && self.requests > 0
            && [self.resync, self.aside] == [NONE; 2]
            && !self.queue.is_marked()
            && self.session.is_plain()
            && self.streams.iter().all(HalfStream::is_plain)
    }

    /// What a segment, of which nothing was cut off, acknowledges, if it is the usual next one of a plain connection. Such a one is no
    /// copy of an earlier one.
    #[inline(always)]
    pub fn usual(&self, sent: &Sent<'_>, direction: Direction, at: Timestamp, resources: &Resources) -> Option<Offset> {
        debug_assert!(!self.facts.has(Facts::PLAIN) || self.is_plain());
        // What the other side has not sent yet, as far as was seen, is not usually acknowledged.
        let next = self.streams[direction as usize ^ 1].next();
        let ahead = sent.numbers.ack().distance(Seq::of(next));
        let is_usual = self.facts.has(Facts::PLAIN)
            && sent.control.flags() | TcpFlags::PSH == TcpFlags::ACK_PSH
            && Seq::of(self.stream(direction).next()) == sent.numbers.seq()
            && self.is_timely(at, resources)
            && !sent.payload.is_empty()
            && ahead <= 0;
        if is_usual { Some(Offset(next.0.wrapping_add_signed(i64::from(ahead)))) } else { None }
    }

    /// Whether time decides nothing: it has not gone backwards, and nothing has waited for too long. (It may say no without need.)
    #[inline(always)]
    fn is_timely(&self, at: Timestamp, resources: &Resources) -> bool {
        debug_assert!(
            !self.facts.has(Facts::PLAIN) || self.head_at <= self.last_at,
            "so the head is asked about alone"
        );
        at >= self.last_at && at.0.wrapping_sub(self.head_at.0) < resources.timely_ns
    }

    /// Takes the usual next segment of a plain connection, which acknowledges up to `ack`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn take_usual<R: Recorder>(
        &mut self,
        sent: &Sent<'_>,
        direction: Direction,
        at: Timestamp,
        ack: Offset,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        let bytes = sent.payload;
        let opposite = &mut self.streams[direction as usize ^ 1];
        opposite.acknowledge(ack);
        opposite.open_window();
        let stream = self.stream_mut(direction);
        stream.offer(sent.control.window());
        let from = stream.next();
        stream.advance_to(bytes.len() as u64, at);
        let taken = if self.unfinished[direction as usize] != NONE {
            self.finish_usual(bytes, direction, from, ack, at, resources, recorder)
        } else if direction == Direction::Request {
            self.usual_requests(bytes, from, ack, at, resources)
        } else {
            self.usual_replies(bytes, from, ack, at, resources, recorder)
        };
        if taken < bytes.len() {
            let meta = Meta { at, ack, push: sent.control.flags().any(TcpFlags::PSH), late: false };
            let piece = Piece { from, bytes, cut: 0, fin: false, meta };
            self.take_rest(direction, &piece, taken, at, resources, recorder);
        }
        // Only now: what it says of hidden requests is of the segment before, as the long way has it.
        self.last_at = at;
    }

    /// What is left of a segment goes the long way.
    #[inline(never)]
    fn take_rest<R: Recorder>(
        &mut self,
        direction: Direction,
        piece: &Piece<'_>,
        taken: usize,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if direction == Direction::Reply && self.begin_usual(piece, taken, time, resources) {
            return;
        }
        let done = match direction {
            Direction::Request => self.parse_requests(piece, taken, time, resources, recorder),
            Direction::Reply => self.parse_replies(piece, taken, time, resources, recorder),
        };
        if let Err(Exhausted(what)) = done {
            self.give_up(what, resources, recorder);
        }
    }

    /// Takes a segment that only acknowledges, if it is a usual one of a plain connection; answers whether it was.
    #[inline(always)]
    fn take_acknowledgement(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &Resources,
    ) -> bool {
        debug_assert!(!self.facts.has(Facts::PLAIN) || self.is_plain());
        let next = self.stream(direction.reverse()).next();
        let is_usual = self.facts.has(Facts::PLAIN)
            && segment.flags == TcpFlags::ACK
            && segment.wire_payload_len == 0
            && segment.seq == Seq::of(self.stream(direction).next())
            && segment.ack.distance(Seq::of(next)) <= 0
            && self.is_timely(at, resources);
        if is_usual {
            self.stream_mut(direction.reverse()).acknowledge(segment.ack.unwrap_near(next));
            self.stream_mut(direction).offer(segment.window);
            self.last_at = at;
        }
        is_usual
    }
}
