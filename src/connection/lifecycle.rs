//! A connection's beginning and end, and what only time brings.

use crate::counters::Counter;
use crate::decode::seq::Seq;
use crate::decode::tags::Tags;
use crate::decode::{Flags as TcpFlags, Segment};
use crate::flow::hash::Seed;
use crate::flow::key::{FlowKey, Ipv4Ends, Keyed};
use crate::limits::CLOSED_LINGER_NS;
use crate::pool::NONE;
use crate::reassembly::stream::{HalfStream, Place};
use crate::redis::habits::Habit;
use crate::redis::pairing::{Flags, Outcome, Reason};
use crate::redis::queue::Queue;
use crate::redis::session::{Database, Session};
use crate::units::{Conversation, Direction, Endpoint, Timestamp};

use super::{
    Aside, Became, Certainty, Connection, Exchange, Facts, Framing, Identity, Recorder, ReplyFacts, Resources, Start,
};

/// Bytes of replies, of those seen last, of which a late segment of the client's may not know yet. A new connection's server hardly
/// ever begins among them: most count on with the time.
const RECENT_BYTES: i64 = 1 << 20;

/// What is to be done with a segment before its connection takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// The connection takes it.
    Take,
    /// It belongs to no connection any more.
    Ignore,
    /// Nor does this SYN, but it may begin another connection.
    Note,
    /// It begins another connection; the one at hand ends for this reason, unless it has ended.
    Replace(Reason),
}

impl Keyed for Connection {
    const BYTES_BESIDE: usize = size_of::<Aside>();
    const BYTES_USED: usize = std::mem::offset_of!(Connection, identity.conversation.id);

    #[inline(always)]
    fn ends(&self) -> (&Endpoint, &Endpoint) {
        let Conversation { client, server, .. } = &self.identity.conversation;
        if self.facts.has(Facts::SWAPPED) { (server, client) } else { (client, server) }
    }

    #[inline(always)]
    fn is_usual_between(&self, ends: Ipv4Ends) -> bool {
        // A plain one has not been swapped.
        self.facts.has_all(Facts::PLAIN, Facts::IPV4)
            && ends.are(&self.identity.conversation.client, &self.identity.conversation.server)
    }
}

// Slots begin at any multiple of 16 bytes.
const _: () = assert!((48 + Connection::BYTES_USED).div_ceil(64) == 4, "no usual segment touches five cache lines");

impl Connection {
    /// A connection that begins with `segment`; `None` if it can't: nothing in it tells of requests or replies to come.
    /// `may_swap`: both ends could be the server, so a SYN may tell that it is the other one.
    pub fn open(
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        key: &FlowKey,
        vlans: [u16; 2],
        may_swap: bool,
    ) -> Option<Connection> {
        let syn = segment.flags.any(TcpFlags::SYN);
        let ack = segment.flags.any(TcpFlags::ACK);
        let swapped = syn && (direction == Direction::Reply) != ack;
        let direction = if swapped { direction.reverse() } else { direction };
        let (client, server) = if swapped { (key.server, key.client) } else { (key.client, key.server) };
        if swapped && !may_swap || segment.flags.any(TcpFlags::RST) || !syn && segment.wire_payload_len == 0 {
            return None;
        }
        let mut streams = [HalfStream::default(); 2];
        let start = match (syn, ack) {
            (true, false) => {
                streams[direction as usize].begin(segment.seq.after(1));
                Start::Syn
            }
            (true, true) => {
                streams[direction as usize].begin(segment.seq.after(1));
                streams[direction.reverse() as usize].begin(segment.ack);
                Start::Handshake
            }
            (false, _) => Start::Midstream,
        };
        let known = start != Start::Midstream;
        // Fixed, so that the identifier is the same in every run.
        let mut id = Seed::fixed(0).hash_of(&(client, server, at.0));
        if key.tags != Tags::default() {
            id ^= Seed::fixed(0).hash_of(&key.tags);
        }
        Some(Connection {
            streams,
            last_at: at,
            head_at: Timestamp::NONE,
            queue: Queue::default(),
            requests: 0,
            facts: Facts::new(start, swapped, Ipv4Ends::of(&client, &server).is_some()),
            framing: [if known { Framing::Known } else { Framing::Seeking }; 2],
            certainty: if known { Certainty::Exact } else { Certainty::Open },
            session: Session::new(known),
            habit: Habit::default(),
            previous: Timestamp::NONE,
            unfinished: [NONE; 2],
            labels: NONE,
            db: if known { Database::FIRST } else { Database::UNKNOWN },
            identity: Identity {
                client_number: 0,
                server_number: 0,
                conversation: Conversation { client, server, vlans, id },
            },
            building: NONE,
            resync: NONE,
            first: Seq::of(streams[Direction::Request as usize].next()),
            aside: NONE,
        })
    }

    /// Where its beginning is counted.
    pub fn opened_counter(&self) -> Counter {
        if self.facts.start() == Start::Midstream { Counter::ConnectionsMidstream } else { Counter::ConnectionsOpened }
    }

    /// Whether a segment brings the bytes that come next, so that [`Connection::admit`] lets it in. Such a one is no copy of an
    /// earlier one, which would have brought them.
    #[inline(always)]
    pub fn brings_next(
        &self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &Resources,
    ) -> bool {
        Seq::of(self.stream(self.oriented(direction)).next()) == segment.seq
            && segment.wire_payload_len > 0
            && !segment.flags.any(TcpFlags::SYN)
            && !self.facts.has(Facts::CLOSED)
            && (self.aside == NONE || self.aside(resources).candidate.is_none())
            // What waits, or is kept until it is known what it is, has come, but has brought nothing so far.
            && !self.streams.iter().any(HalfStream::is_waiting)
            && !self.is_doubtful()
            && !self.is_idle(at, resources)
    }

    /// Whether a segment between its ends is its own.
    pub fn admit(
        &self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &Resources,
    ) -> Admission {
        let direction = self.oriented(direction);
        let flags = segment.flags;
        let syn = flags.any(TcpFlags::SYN);
        let has_data = segment.wire_payload_len > 0;
        if self.facts.has(Facts::CLOSED) {
            let old = at.since(self.last_at) > CLOSED_LINGER_NS || self.is_elsewhere(segment, direction);
            let goes_on = self.goes_on(segment.ack);
            let is_taken_up =
                || direction == Direction::Request && self.aside(resources).candidate == Some(segment.seq) && !goes_on;
            return if syn && !self.began_with(segment, direction) {
                // A stray one ends nothing here, but what an RST out of nowhere ended may go on, and must not begin there. What ended
                // by a FIN does not.
                let stream = self.stream(direction);
                let is_far = !stream.is_known() || stream.place(segment.seq, 1).1 == Place::OutOfWindow;
                let begins = flags.any(TcpFlags::ACK) || self.facts.has(Facts::CLOSING) || is_far;
                if begins { Admission::Replace(Reason::Fin) } else { Admission::Note }
            } else if has_data && (old || is_taken_up()) {
                Admission::Replace(Reason::Fin)
            } else {
                Admission::Ignore
            };
        }
        if self.is_idle(at, resources) {
            return Admission::Replace(Reason::Idle);
        }
        if syn && !flags.any(TcpFlags::ACK) {
            let is_over = self.facts.has(Facts::CLOSING) && self.is_elsewhere_syn(segment.seq, direction);
            return if is_over { Admission::Replace(Reason::Fin) } else { Admission::Take };
        }
        let taken_up = match direction {
            Direction::Reply if syn => Some(segment.ack),
            Direction::Request if has_data && !self.goes_on(segment.ack) => Some(segment.seq),
            _ => None,
        };
        let candidate = self.aside(resources).candidate;
        if candidate.is_some() && taken_up == candidate || (syn || has_data) && self.is_elsewhere(segment, direction) {
            return Admission::Replace(Reason::Reused);
        }
        Admission::Take
    }

    /// Whether a SYN or SYN-ACK is a copy of one that this connection began with.
    fn began_with(&self, segment: &Segment<'_>, direction: Direction) -> bool {
        let first = match direction {
            Direction::Request => segment.seq.after(1),
            Direction::Reply => segment.ack,
        };
        self.first_request() == Some(first)
    }

    /// Where its own SYN said that requests begin.
    fn first_request(&self) -> Option<Seq> {
        (self.facts.start() != Start::Midstream).then_some(self.first)
    }

    /// Whether neither its sequence nor its acknowledgement number can be this connection's.
    fn is_elsewhere(&self, segment: &Segment<'_>, direction: Direction) -> bool {
        let outside = |direction: Direction, seq: Seq| {
            let stream = self.stream(direction);
            stream.is_known() && stream.place(seq, 1).1 == Place::OutOfWindow
        };
        outside(direction, segment.seq) && outside(direction.reverse(), segment.ack)
    }

    /// Whether a client that acknowledges so much has received what was seen of the replies, or some of the last of it.
    fn goes_on(&self, ack: Seq) -> bool {
        let replies = self.stream(Direction::Reply);
        let behind = -i64::from(ack.distance(Seq::of(replies.next())));
        replies.is_known() && (0..=RECENT_BYTES).contains(&behind)
    }

    /// Notes a SYN that may begin another connection. It is believed once a SYN-ACK, or data that does not acknowledge replies of
    /// this one, takes it up: a stray SYN must not end a living connection.
    pub(super) fn note_syn(&mut self, segment: &Segment<'_>, direction: Direction, resources: &mut Resources) {
        if !segment.flags.any(TcpFlags::ACK) && self.is_elsewhere_syn(segment.seq, direction) {
            self.aside_mut(resources).candidate = Some(segment.seq.after(1));
        }
    }

    /// Whether a SYN with this sequence number can't be a copy of the one that began this connection.
    fn is_elsewhere_syn(&self, seq: Seq, direction: Direction) -> bool {
        let stream = self.stream(direction);
        let is_first = self.first_request() == Some(seq.after(1));
        !is_first && (!stream.is_known() || Seq::of(stream.next()) != seq.after(1))
    }

    /// Learns from handshake segments and acknowledgements where the streams begin.
    pub(super) fn handshake(&mut self, segment: &Segment<'_>, direction: Direction) {
        if self.facts.start() != Start::Syn || self.stream(Direction::Reply).is_known() {
            return;
        }
        let first = Seq::of(self.stream(Direction::Request).next());
        match direction {
            Direction::Reply if segment.flags.any(TcpFlags::SYN) && segment.ack == first => {
                self.stream_mut(direction).begin(segment.seq.after(1));
                self.facts.set_start(Start::Handshake);
            }
            // The SYN-ACK was missed: what the client acknowledges before its first request is where replies begin.
            Direction::Request if segment.flags.any(TcpFlags::ACK) && segment.seq == first => {
                self.stream_mut(direction.reverse()).begin(segment.ack);
            }
            _ => {}
        }
    }

    /// Whether a segment shows that its stream did not begin where its SYN said, or at a place that is not known: then the SYN
    /// was a stray one, or what came before was missed.
    pub(super) fn begins_elsewhere(&self, seq: Seq, length: u32, direction: Direction) -> bool {
        let stream = self.stream(direction);
        if self.facts.start() == Start::Midstream || stream.time().is_known() {
            return false;
        }
        // A keep-alive probe repeats the byte before the first.
        let is_before = || seq.distance(Seq::of(stream.next())) < 0;
        !stream.is_known() || length > 1 && is_before()
    }

    /// The connection is older than what was taken for its beginning.
    pub(super) fn misjudge<R: Recorder>(&mut self, direction: Direction, resources: &mut Resources, recorder: &mut R) {
        self.framing = [Framing::Seeking; 2];
        self.facts.set_start(Start::Midstream);
        self.facts.set(Facts::MAY_PUSH);
        for direction in [Direction::Request, Direction::Reply] {
            self.drop_unfinished(direction, resources);
        }
        self.drop_building(resources);
        let stream = &mut self.streams[direction as usize];
        stream.forget_stored(&mut resources.pages);
        stream.forget_beginning();
        self.restart_pairing(resources, recorder);
    }

    /// Applies what time alone decides, up to `now`.
    pub fn expire<R: Recorder>(&mut self, now: Timestamp, resources: &mut Resources, recorder: &mut R) {
        while let Some(head) = self.queue.head() {
            // So says also what is read of it below; but it need not be read.
            if now.since(self.head_at) < resources.settings.timeout_ns {
                return;
            }
            let request = resources.requests.get(head);
            let since = if request.t2.is_known() { request.t2 } else { request.t1 }.max(self.head_at);
            let blocked = request.flags.has(Flags::BLOCKING) && self.certainty.is_settled();
            if request.has_timed_out() || blocked || now.since(since) < resources.settings.timeout_ns {
                return;
            }
            if !self.stream(Direction::Reply).is_seen() {
                // If replies come after all, it is not known whose.
                self.certainty = Certainty::Open;
                self.end_resync(resources);
                self.pop(Outcome::OneSided, resources, recorder);
            } else if self.certainty.is_settled() && !request.is_mark() {
                resources.requests.get_mut(head).time_out();
                self.decide(head, Outcome::TimedOut, None, resources, recorder);
                return;
            } else if !self.queue.has_requests() {
                // Nothing that is known waits.
                return;
            } else {
                self.restart_pairing(resources, recorder);
            }
        }
    }

    /// When [`Connection::expire`] has something to do at the earliest, or the connection can be forgotten.
    pub fn deadline(&self, resources: &Resources) -> Timestamp {
        let settings = &resources.settings;
        if self.facts.has(Facts::CLOSED) {
            return self.last_at.after(CLOSED_LINGER_NS);
        }
        if self.facts.has(Facts::CLOSING) {
            return self.last_at.after(CLOSED_LINGER_NS);
        }
        let mut deadline = self.last_at.after(settings.idle_timeout_ns);
        if self.streams.iter().any(HalfStream::is_waiting) {
            deadline = deadline.min(self.last_at.after(settings.reorder_time_ns + 1));
        }
        // Also where nothing is pending now: what becomes pending meanwhile is not looked at earlier than this.
        deadline.min(self.last_at.max(self.head_at).after(settings.timeout_ns))
    }

    /// Whether it has been silent for so long that it is forgotten.
    pub fn is_idle(&self, now: Timestamp, resources: &Resources) -> bool {
        let limit = if self.facts.has(Facts::CLOSED) { CLOSED_LINGER_NS } else { resources.settings.idle_timeout_ns };
        now.since(self.last_at) >= limit && (self.facts.has(Facts::CLOSED) || !self.is_patient(resources))
    }

    /// Whether long silence is usual: it is subscribed, watches, waits for data, or is a replication link.
    fn is_patient(&self, resources: &Resources) -> bool {
        let blocks = |head| resources.requests.get(head).flags.has(Flags::BLOCKING);
        self.session.listens() || self.aside(resources).link != NONE || self.queue.head().is_some_and(blocks)
    }

    /// Whether it has ended. Then nothing is kept beside it any more.
    fn is_done(&mut self, resources: &mut Resources) -> bool {
        if self.facts.has(Facts::CLOSED) {
            self.drop_aside(resources);
        }
        self.facts.has(Facts::CLOSED)
    }

    /// Ends the connection: what waits is delivered as far as it came, what is pending ends for `reason`.
    pub fn close<R: Recorder>(&mut self, reason: Reason, resources: &mut Resources, recorder: &mut R) {
        if self.is_done(resources) {
            return;
        }
        self.conclude(resources, recorder);
        // The gaps at the end may need what has run out: then that is how it ends.
        let flushed = self.flush(resources, recorder);
        if self.facts.has(Facts::CLOSED) {
            return;
        }
        if flushed.is_err() {
            return self.give_up(Counter::EvictedMessages, resources, recorder);
        }
        resources.counters.count(match reason {
            Reason::Fin => Counter::ClosedFin,
            Reason::Rst => Counter::ClosedRst,
            Reason::Reused => Counter::ClosedReused,
            Reason::Idle => Counter::ClosedIdle,
            Reason::CaptureEnd => Counter::ClosedCaptureEnd,
        });
        self.end(Some(reason), resources, recorder);
    }

    /// Gives the connection up for want of memory.
    pub fn give_up<R: Recorder>(&mut self, what: Counter, resources: &mut Resources, recorder: &mut R) {
        if !self.is_done(resources) {
            resources.counters.count(what);
            resources.counters.count(Counter::ClosedEvicted);
            self.abandon(resources);
            self.end(None, resources, recorder);
        }
    }

    /// Ends the connection because packets of it were left out: what is pending is lost, whichever sides were seen until then.
    pub fn leave_out<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        if !self.is_done(resources) {
            resources.counters.count(Counter::ClosedShed);
            self.abandon(resources);
            self.streams.iter_mut().for_each(|stream| _ = stream.see());
            self.end(None, resources, recorder);
        }
    }

    fn end<R: Recorder>(&mut self, reason: Option<Reason>, resources: &mut Resources, recorder: &mut R) {
        self.end_open(resources, recorder);
        let mut certain = self.certainty.is_settled();
        let seen = self.stream(Direction::Reply).is_seen();
        let outcome = |certain: bool| match reason {
            _ if !seen => Outcome::OneSided,
            Some(reason) if certain => Outcome::Unanswered(reason),
            _ => Outcome::Lost,
        };
        self.drop_children(outcome(certain), resources, recorder);
        while let Some(head) = self.queue.head() {
            certain &= !resources.requests.get(head).is_mark();
            self.pop(outcome(certain), resources, recorder);
        }
        self.end_link(resources);
        self.count_one_sided(resources);
        let labels = std::mem::replace(&mut self.labels, NONE);
        if labels != NONE {
            resources.labels.give_back(labels);
        }
        for direction in [Direction::Request, Direction::Reply] {
            self.drop_unfinished(direction, resources);
            self.streams[direction as usize].forget_stored(&mut resources.pages);
            self.streams[direction as usize].end();
        }
        self.drop_building(resources);
        self.drop_aside(resources);
        self.facts.set(Facts::CLOSED);
        self.facts.set_if(Facts::CLOSING, reason == Some(Reason::Fin));
        self.facts.clear(Facts::PLAIN);
    }

    /// If data was seen of one side, and of the other not one segment: the first one's acknowledgements tell how many bytes the
    /// other sent.
    fn count_one_sided(&self, resources: &mut Resources) {
        let [requests, replies] = &self.streams;
        let counters = &mut resources.counters;
        if requests.time().is_known() && !replies.is_seen() {
            counters.count(Counter::OneSidedClient);
            counters.add(Counter::OneSidedReplyBytes, replies.acknowledged_bytes());
        } else if replies.time().is_known() && !requests.is_seen() {
            counters.count(Counter::OneSidedServer);
            counters.add(Counter::OneSidedRequestBytes, requests.acknowledged_bytes());
        }
    }

    /// All that waits is lost: nothing proves its pairing.
    pub(super) fn lose_all<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        self.forget_session(resources, recorder);
        while !self.queue.is_empty() {
            let outcome = self.lost();
            self.pop(outcome, resources, recorder);
        }
    }

    /// What becomes of a request of which nothing will be known.
    pub(super) fn lost(&self) -> Outcome {
        if self.stream(Direction::Reply).is_seen() { Outcome::Lost } else { Outcome::OneSided }
    }

    /// What was hidden may have changed the session in any way.
    pub(super) fn forget_session<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        self.session.forget();
        self.forget_channel(resources);
        self.db = Database::UNKNOWN;
        self.drop_children(Outcome::Lost, resources, recorder);
    }

    /// Takes the head off the queue, without a reply.
    pub(super) fn pop<R: Recorder>(&mut self, outcome: Outcome, resources: &mut Resources, recorder: &mut R) {
        let Some(head) = self.queue.pop(&resources.requests) else { return };
        self.left_queue(head, resources);
        let request = resources.requests.get(head);
        // One that was reported as timed out is decided.
        if !request.is_mark() && !request.has_timed_out() {
            self.decide(head, outcome, None, resources, recorder);
        }
        resources.requests.give_back(head);
    }

    /// Counts and tells what became of a request.
    pub(super) fn decide<R: Recorder>(
        &self,
        handle: u32,
        outcome: Outcome,
        reply: Option<&ReplyFacts<'_>>,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        self.decide_child(handle, outcome, reply, None, resources, recorder);
    }

    /// As [`Connection::decide`], of a request that the EXEC `parent` executed.
    pub(super) fn decide_child<R: Recorder>(
        &self,
        handle: u32,
        outcome: Outcome,
        reply: Option<&ReplyFacts<'_>>,
        parent: Option<u64>,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if resources.act(handle).is_replication() {
            // No client's transaction.
            return;
        }
        let request = resources.requests.get(handle);
        let counters = &mut resources.counters;
        if request.flags.has(Flags::LATE) {
            counters.count(Counter::RequestsLate);
        } else {
            counters.count(match outcome {
                Outcome::NoReply => Counter::RequestsNoReply,
                Outcome::Exact => Counter::RequestsExact,
                Outcome::Resynced(_) => Counter::RequestsResynced,
                Outcome::TimedOut => Counter::RequestsTimedOut,
                Outcome::Lost => Counter::RequestsLost,
                Outcome::OneSided => Counter::RequestsOneSided,
                Outcome::Unanswered(_) => Counter::RequestsUnanswered,
            });
        }
        let Connection { identity, previous, db, .. } = self;
        let (became, labels) = (Became::This(outcome), (&self.labels, &resources.labels));
        let exchange = Exchange { identity, request, became, reply, previous: *previous, db, labels, parent };
        recorder.decided(&exchange, counters);
    }
}
