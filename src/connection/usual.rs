//! The short way: what nearly all segments take.
//!
//! A connection is *plain* while nothing about it needs to be thought of: both streams are known and whole, the pairing is
//! settled, its session is as any session begins. That is decided when something unusual has happened ([`Connection::is_plain`]
//! says what it takes) and remembered in a flag, so that a segment asks one question. What is done here for a plain connection
//! is what the long way ([`Connection::segment`] and below) would have done: where anything is not as usual, nothing has
//! happened yet, and the long way does it. In debug builds the flag is compared with what it stands for, and tests/properties.rs
//! compares what both ways tell.

use std::hint::cold_path;

use crate::counters::{Counter, Counters};
use crate::decode::seq::Seq;
use crate::decode::{Flags as TcpFlags, Segment, Sent};
use crate::pool::{NONE, Pool};
use crate::prefetch::{prefetch_bytes, prefetch_lines};
use crate::reassembly::duplicate::{Print, Recent};
use crate::reassembly::pages::{Meta, Piece};
use crate::reassembly::stream::HalfStream;
use crate::redis::request::Request;
use crate::redis::request::usual::{Begun, UsualCommands, UsualRequest};
use crate::redis::session::Act;
use crate::resp::parser::{BulkEnd, Kind, begun_bulk, scalar};
use crate::units::{Direction, Offset, Timestamp};

use super::scarcity::SHARE;
use super::{
    Admission, Became, Certainty, Connection, Exchange, Exhausted, Facts, Framing, Labels, Recorder, ReplyFacts,
    Resources, Unfinished,
};

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
        if let Some(request) = resources.requests.find_near(self.queue.head_or_none()) {
            request.prefetch();
        }
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

    /// What is left of a segment of replies: if it is a bulk string that goes on in the next one, and nothing of it is to be shown,
    /// that begins; answers whether it is such.
    fn begin_usual(&mut self, piece: &Piece<'_>, at: usize, time: Timestamp, resources: &mut Resources) -> bool {
        let Resources { settings, unfinished, .. } = resources;
        if !self.facts.has(Facts::PLAIN) || self.has_unfinished(Direction::Reply) || settings.shown.payload_bytes > 0 {
            return false;
        }
        let bytes = &piece.bytes[at..];
        let Some(begun) = begun_bulk(bytes) else { return false };
        let Some(handle) = unfinished.take(|| Unfinished::new(&settings.shown)) else { return false };
        let Unfinished { parser, reply } = unfinished.get_mut(handle);
        parser.begin_bulk(begun, bytes);
        let reply = &mut **reply;
        reply.begin_bulk(begun.0);
        reply.begin = piece.from.plus(at as u64);
        reply.t3 = time;
        reply.ack = piece.meta.ack;
        reply.begins_segment = at == 0;
        reply.late = piece.meta.late;
        self.unfinished[Direction::Reply as usize] = handle;
        true
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

    /// Takes the requests of the usual form that some bytes of a plain connection begin with, between messages; answers how many
    /// bytes they are.
    #[inline]
    pub(super) fn usual_requests(
        &mut self,
        bytes: &[u8],
        from: Offset,
        received: Offset,
        time: Timestamp,
        resources: &mut Resources,
    ) -> usize {
        let Resources { usual, requests, counters, .. } = resources;
        // Nothing is queued by MULTI on a plain connection.
        let Some(found) = usual.read(bytes) else { return 0 };
        let came = Came { received, time };
        if !self.queue.is_empty() || !found.rest.is_empty() {
            return self.usual_requests_in_a_row(bytes, found.begun, from, came, usual, requests, counters);
        }
        let Some(handle) = requests.take(Request::new) else { return 0 };
        let end = from.plus(bytes.len() as u64);
        came.fill(requests.get_mut(handle), &found, from, end, self.requests, 0);
        self.queue.push_first(handle, requests);
        counters.count(Counter::Requests);
        self.head_at = time;
        self.requests += 1;
        bytes.len()
    }

    /// The same of several, or where others wait. `begun`: how the first of them begins.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)]
    fn usual_requests_in_a_row(
        &mut self,
        bytes: &[u8],
        begun: Begun<'_>,
        from: Offset,
        came: Came,
        usual: &UsualCommands,
        requests: &mut Pool<Request>,
        counters: &mut Counters,
    ) -> usize {
        let mut queue_end = self.queue.open_end();
        // Those that wait no more; no marks are between them.
        let answered = self.requests.wrapping_sub(u64::from(queue_end.elements()));
        let mut queue_max = FEW_WAIT;
        let (all_end, mut rest, mut begun) = (from.plus(bytes.len() as u64), bytes, begun);
        while let Some(found) = usual.read_like(begun, rest) {
            let pipeline = queue_end.elements();
            if pipeline >= queue_max {
                queue_max = self.queue_max(pipeline, requests);
                if pipeline >= queue_max {
                    break;
                }
            }
            let Some(handle) = requests.take(Request::new) else { break };
            let [begin, end] = [rest, found.rest].map(|rest| all_end.before(rest.len() as u64));
            let index = answered.wrapping_add(u64::from(pipeline));
            came.fill(requests.get_mut(handle), &found, begin, end, index, pipeline);
            self.queue.push_at(&mut queue_end, handle, requests);
            (rest, begun) = (found.rest, found.begun);
        }
        let taken = u64::from(queue_end.elements() - self.queue.elements());
        if taken > 0 {
            counters.add(Counter::Requests, taken);
            if self.queue.is_empty() {
                self.head_at = came.time;
            }
            self.requests += taken;
            self.queue.close_end(queue_end);
        }
        bytes.len() - rest.len()
    }

    /// Takes the request of the usual form that some bytes begin with, whatever the connection's state, up to its being complete;
    /// answers how many bytes it is, 0 if it is no such.
    pub(super) fn usual_request(
        &mut self,
        bytes: &[u8],
        from: Offset,
        received: Offset,
        time: Timestamp,
        resources: &mut Resources,
    ) -> Result<usize, Exhausted> {
        let children = self.children(resources).elements();
        let Resources { usual, requests, .. } = resources;
        let Some(found) = usual.read(bytes) else { return Ok(0) };
        self.building = self.take_request_of(requests, children)?;
        let request = requests.get_mut(self.building);
        found.fill(request, false);
        request.t1 = time;
        request.begin = from;
        request.received = received;
        Ok(bytes.len() - found.rest.len())
    }

    /// A message goes on: if it is a reply that is one long string, it goes on to the end of the bytes, or ends in them, and then
    /// is paired, with those behind it; answers how many bytes that are, 0 if it is no such.
    #[allow(clippy::too_many_arguments)]
    fn finish_usual<R: Recorder>(
        &mut self,
        bytes: &[u8],
        direction: Direction,
        from: Offset,
        ack: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> usize {
        if direction == Direction::Request {
            return 0;
        }
        let handle = self.unfinished[direction as usize];
        let Unfinished { parser, reply } = resources.unfinished.get_mut(handle);
        let length = match parser.pass_by(bytes) {
            None => return 0,
            // Whatever it is.
            Some(BulkEnd::Beyond) => return bytes.len(),
            Some(BulkEnd::At(length)) => length,
        };
        if reply.kind != Some(Kind::Bulk) || reply.gap || reply.retransmit {
            return 0;
        }
        let (begin, end) = (reply.begin, from.plus(length as u64));
        let bytes_of_it = end.distance_from(begin) as usize;
        let answer = Answer { kind: Kind::Bulk, begin, end, bytes: bytes_of_it, t3: reply.t3, ack: reply.ack };
        self.queue.prefetch_next_two(&resources.requests);
        if !self.answer_usual(&answer, time, resources, recorder) {
            return 0;
        }
        // Nothing of it was kept that could have become large.
        resources.unfinished.give_back(handle);
        self.unfinished[direction as usize] = NONE;
        length + self.answered_first(&bytes[length..], end, ack, time, resources, recorder)
    }

    /// Pairs the replies of the usual form that some bytes of a plain connection begin with, between messages, as long as they
    /// answer usual requests; answers how many bytes they are.
    #[inline]
    pub(super) fn usual_replies<R: Recorder>(
        &mut self,
        bytes: &[u8],
        from: Offset,
        ack: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> usize {
        self.queue.prefetch_next_two(&resources.requests);
        if bytes.len() > LONG_BYTES {
            prefetch_bytes(bytes);
        }
        let Some((kind, behind)) = scalar(bytes) else { return 0 };
        let length = bytes.len() - behind.len();
        let end = from.plus(length as u64);
        let answer = Answer { kind, begin: from, end, bytes: length, t3: time, ack };
        if !self.answer_usual(&answer, time, resources, recorder) {
            return 0;
        }
        length + self.answered_first(behind, end, ack, time, resources, recorder)
    }

    /// The first reply of a segment was paired; what is behind it goes on at `from`. Answers how many bytes of that were taken.
    #[inline(always)]
    fn answered_first<R: Recorder>(
        &mut self,
        behind: &[u8],
        from: Offset,
        ack: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> usize {
        let (taken, replies) = match behind {
            [] => (0, 0),
            _ => self.usual_replies_behind(behind, from, ack, time, resources, recorder),
        };
        self.answered_usual(1 + replies, time, resources, recorder);
        taken
    }

    /// The same as [`Connection::usual_replies`] of those behind the first reply of a segment; answers how many they are, too.
    #[inline(never)]
    fn usual_replies_behind<R: Recorder>(
        &mut self,
        bytes: &[u8],
        from: Offset,
        ack: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> (usize, u64) {
        debug_assert!(self.previous <= time, "of a connection time does not go backwards");
        let Resources { requests, counters, labels, .. } = &mut *resources;
        recorder.come_behind(&self.identity, time, counters);
        let first = self.queue.first();
        // Those before it the habit knows of.
        let mut noted = first;
        let (end, mut rest) = (from.plus(bytes.len() as u64), bytes);
        while !rest.is_empty() {
            let Some((kind, behind)) = scalar(rest) else { break };
            let [begin, end] = [rest, behind].map(|rest| end.before(rest.len() as u64));
            let answer = Answer { kind, begin, end, bytes: rest.len() - behind.len(), t3: time, ack };
            let head = self.queue.head_or_none();
            let Some(request) = requests.find(head) else { break };
            if !request.is_simple() {
                cold_path();
                if !self.answer_other(request, &{ answer }, &mut noted, labels, counters, recorder) {
                    break;
                }
            } else if answer.is_of(request) {
                self.queue.prefetch_third(request, requests);
                if !self.habit.is_of_burst(request.received) {
                    cold_path();
                    self.note_burst(&mut noted, request.received, begin, end);
                }
                self.queue.pop_request(request);
                let reply = answer.facts(time);
                recorder.decided_behind(&self.exchange(request, &reply, time, labels), counters);
            } else {
                break;
            }
            requests.give_back(head);
            rest = behind;
        }
        self.habit.paired_of_burst(self.queue.first() - noted, end.before(rest.len() as u64));
        (bytes.len() - rest.len(), self.queue.first() - first)
    }

    /// One behind the first reply, if it is of the request that waits first, which is not simple; answers whether it is.
    #[inline(never)]
    fn answer_other<R: Recorder>(
        &mut self,
        request: &Request,
        answer: &Answer,
        noted: &mut u64,
        labels: &Pool<Labels>,
        counters: &mut Counters,
        recorder: &mut R,
    ) -> bool {
        let is_it = !request.has_timed_out() && answer.is_of(request);
        if is_it {
            self.note_burst(noted, request.received, answer.begin, answer.end);
            self.queue.pop_request(request);
            self.decided_otherwise(request, answer, answer.t3, answer.t3, labels, counters, recorder);
        }
        is_it
    }

    /// The request that waits first is paired with its reply, and is of another burst than those before, which the habit knows of up to
    /// position `noted`. Not inlined: so that is not kept at hand.
    #[inline(never)]
    fn note_burst(&mut self, noted: &mut u64, received: Offset, begin: Offset, end: Offset) {
        self.habit.paired_of_burst(self.queue.first() - *noted, begin);
        self.habit.paired(received, end);
        *noted = self.queue.first() + 1;
    }

    /// A request with its reply, between which and the one before, at `previous`, nothing came.
    #[inline(always)]
    fn exchange<'e>(
        &'e self,
        request: &'e Request,
        reply: &'e ReplyFacts<'e>,
        previous: Timestamp,
        labels: &'e Pool<Labels>,
    ) -> Exchange<'e> {
        Exchange {
            identity: &self.identity,
            request,
            became: Became::Paired(&self.certainty),
            reply: Some(reply),
            previous,
            db: &self.db,
            labels: (&self.labels, labels),
            parent: None,
        }
    }

    /// Pairs a reply of the usual form with the request that waits first, if that is a usual one; answers whether it was. It is left to
    /// the caller to tell [`Connection::answered_usual`].
    #[inline(always)]
    fn answer_usual<R: Recorder>(
        &mut self,
        answer: &Answer,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> bool {
        let Resources { requests, counters, labels, .. } = &mut *resources;
        let head = self.queue.head_or_none();
        let Some(request) = requests.find(head) else { return false };
        let is_simple = request.is_simple();
        if !is_simple && request.has_timed_out() || !answer.is_of(request) {
            return false;
        }
        self.habit.paired(request.received, answer.end);
        self.queue.pop_request(request);
        if is_simple {
            let reply = answer.facts(time);
            recorder.decided_simply(&self.exchange(request, &reply, self.previous, labels), counters);
        } else {
            self.decided_otherwise(request, &{ *answer }, self.previous, time, labels, counters, recorder);
        }
        requests.give_back(head);
        true
    }

    /// One that was answered is not simple.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)]
    fn decided_otherwise<R: Recorder>(
        &self,
        request: &Request,
        answer: &Answer,
        previous: Timestamp,
        time: Timestamp,
        labels: &Pool<Labels>,
        counters: &mut Counters,
        recorder: &mut R,
    ) {
        recorder.decided(&self.exchange(request, &answer.facts(time), previous, labels), counters);
    }

    /// So many replies were paired, which have come by now.
    #[inline(always)]
    fn answered_usual<R: Recorder>(
        &mut self,
        replies: u64,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        let counters = &mut resources.counters;
        counters.add(Counter::Replies, replies);
        counters.add(Counter::RepliesPaired, replies);
        let is_exact = self.certainty == Certainty::Exact;
        counters.add(if is_exact { Counter::RequestsExact } else { Counter::RequestsResynced }, replies);
        self.head_at = time;
        self.previous = self.previous.max(time);
        // One that is executed silently is decided as soon as it is the first.
        if !self.queue.is_empty()
            && let Some(next) = self.queue.head()
            && resources.act(next) != Act::None
        {
            self.facts.clear(Facts::PLAIN);
            self.execute_silent(resources, recorder);
        }
    }
}

/// Requests up to which a connection's queue may always grow: it need not be asked how many are left for all.
const FEW_WAIT: u32 = SHARE - 1;

/// Replies that have more bytes than this are asked for as a whole.
const LONG_BYTES: usize = 512;

/// What requests have in common that come in one segment.
#[derive(Clone, Copy, Debug)]
struct Came {
    /// How far their client had received replies.
    received: Offset,
    time: Timestamp,
}

impl Came {
    /// Fills a request of them.
    #[inline(always)]
    fn fill(
        self,
        request: &mut Request,
        found: &UsualRequest<'_, '_>,
        begin: Offset,
        end: Offset,
        index: u64,
        pipeline: u32,
    ) {
        debug_assert!(self.time.is_known(), "it is no earlier than others of the connection are");
        found.fill(request, true);
        request.t1 = self.time;
        request.t2 = self.time;
        request.begin = begin;
        request.end = end;
        request.received = self.received;
        request.index = index;
        request.pipeline = pipeline;
    }
}

/// A reply of the usual form.
#[derive(Clone, Copy, Debug)]
struct Answer {
    kind: Kind,
    /// Its place.
    begin: Offset,
    end: Offset,
    /// From there to there.
    bytes: usize,
    /// Its first byte.
    t3: Timestamp,
    /// What the segment with that acknowledged.
    ack: Offset,
}

impl Answer {
    /// Whether it answers the request that waits first, and nothing but that is to be done about it.
    #[inline(always)]
    fn is_of(&self, request: &Request) -> bool {
        debug_assert!(!request.is_mark(), "a plain connection's queue has no marks");
        request.end <= self.ack && request.answers.has(self.kind)
    }

    /// What is told of it, whose last byte came at `t4`.
    #[inline(always)]
    fn facts(&self, t4: Timestamp) -> ReplyFacts<'static> {
        let Answer { kind, begin, bytes, t3, .. } = *self;
        ReplyFacts { kind, begin, t3, t4, bytes: bytes as u64, error: &[], response: &[], nulls: Some(0) }
    }
}
