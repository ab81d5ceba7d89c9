//! The replies of a segment that are of the usual form, paired with the requests that wait first.
//!
//! The first one of a segment, which may have begun in an earlier one, has a way of its own, and so have those behind it: they came
//! when it did, so that little is to be found out about each.

use std::hint::cold_path;

use crate::connection::{
    Became, Certainty, Connection, Exchange, Facts, Labels, Recorder, ReplyFacts, Resources, Unfinished,
};
use crate::counters::{Counter, Counters};
use crate::pool::{NONE, Pool};
use crate::prefetch::{prefetch_bytes, prefetch_lines_of_nth};
use crate::reassembly::pages::Piece;
use crate::redis::request::Request;
use crate::redis::session::Act;
use crate::resp::parser::{BulkEnd, Kind, begun_bulk, scalar};
use crate::units::{Direction, Offset, Timestamp};

impl Connection {
    /// What is left of a segment of replies: if it is a bulk string that goes on in the next one, and nothing of it is to be shown,
    /// that begins; answers whether it is such.
    pub(super) fn begin_usual(
        &mut self,
        piece: &Piece<'_>,
        at: usize,
        time: Timestamp,
        resources: &mut Resources,
    ) -> bool {
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

    /// A message goes on: if it is a reply that is one long string, it goes on to the end of the bytes, or ends in them, and then
    /// is paired, with those behind it; answers how many bytes that are, 0 if it is no such.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn finish_usual<R: Recorder>(
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
        let answer = Answer { kind: Kind::Bulk, begin, bytes: bytes_of_it, t3: reply.t3, ack: reply.ack };
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
    pub(in crate::connection) fn usual_replies<R: Recorder>(
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
        let answer = Answer { kind, begin: from, bytes: length, t3: time, ack };
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
        self.answered_usual(1 + u64::from(replies), time, resources, recorder);
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
    ) -> (usize, u32) {
        debug_assert!(self.previous <= time, "of a connection time does not go backwards");
        let Resources { requests, counters, labels, .. } = &mut *resources;
        let first = self.queue.head_or_none();
        let Some(request) = requests.find(first) else { return (0, 0) };
        recorder.come_behind(&self.identity, request, time, counters);
        let mut rest = bytes;
        let mut next = first;
        let (all, mut returned) = requests.begin_return();
        // How many were returned before, and when the habit knew of all.
        let before = returned.count();
        let mut noted = before;
        while !rest.is_empty() {
            let Some((kind, behind)) = scalar(rest) else { break };
            let Some(request) = all.find(next) else { break };
            // Hardly ever needed: it is not to be kept at hand.
            let begin = from.plus((bytes.len() - rest.len()) as u64);
            let answer = Answer { kind, begin, bytes: rest.len() - behind.len(), t3: time, ack };
            if !answer.is_of(request) {
                break;
            }
            returned.add(next);
            next = request.next();
            prefetch_lines_of_nth::<_, 2>(all.all(), request.ahead() as usize);
            if !self.habit.is_of_burst(request.received) {
                cold_path();
                self.note_burst(request.received, answer.end());
                noted = returned.count();
            }
            if request.is_simple() {
                let reply = answer.facts(time);
                recorder.decided_behind(&self.exchange(request, &reply, time, labels), counters);
            } else {
                cold_path();
                debug_assert!(!request.has_timed_out(), "only one that waited first when it did has");
                self.decided_otherwise(request, &{ answer }, time, time, labels, counters, recorder);
            }
            rest = behind;
        }
        let returned = returned.count();
        requests.end_return(returned);
        let (count, others) = ((returned - before) as u32, (returned - noted) as u32);
        let taken = bytes.len() - rest.len();
        if count > 0 {
            self.queue.pop_row(count, next);
            self.habit.paired_of_burst(others, from.plus(taken as u64));
        }
        (taken, count)
    }

    /// A request is paired with its reply, which ends at `end`, and is of another burst than those before. These were not answered when it
    /// was sent, as their replies came with this one; so that is all that the habit has to know of them. Not inlined: so that is not kept
    /// at hand.
    #[inline(never)]
    fn note_burst(&mut self, received: Offset, end: Offset) {
        self.habit.paired(received, end);
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
        self.habit.paired(request.received, answer.end());
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

/// Replies that have more bytes than this are asked for as a whole.
const LONG_BYTES: usize = 512;

/// A reply of the usual form.
#[derive(Clone, Copy, Debug)]
struct Answer {
    kind: Kind,
    /// Its first byte.
    begin: Offset,
    /// Its bytes.
    bytes: usize,
    /// When the first of them came.
    t3: Timestamp,
    /// What the segment with that acknowledged.
    ack: Offset,
}

impl Answer {
    /// Behind its last byte.
    #[inline(always)]
    fn end(&self) -> Offset {
        self.begin.plus(self.bytes as u64)
    }

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
