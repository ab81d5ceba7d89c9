//! Whether a connection is Redis's at all, and which end is the server, where no port tells (`--port any`).
//!
//! Until that is decided nothing of it is read. Its segments are kept as they come, and given to the connection once it is
//! recognised, each with its own time: what comes out is what would have come out had its port been named. What is no client's
//! RESP becomes opaque, and costs one branch a packet from then on.
//!
//! * Where its beginning was seen, a SYN tells who asks. The client's first bytes must be a command in multibulk form, or lines
//!   of which one begins with a command of the table, and the server must answer with a value of RESP, and not speak first.
//!   A client whose server says nothing, up to the end, for the timeout, or for as long as its segments can be kept, is believed if it
//!   sends multibulk: nothing else begins so, and that nobody answers is worth to be told.
//! * Where it was not, arrays prove nothing: clients send them, and servers do. One end must have sent a command of the table as
//!   an array, and the other then acknowledged that with a value that clients never send, [`RECOGNITION_EXCHANGES`] times,
//!   and never the other way round. What comes in between is kept as far as there is room; older segments give way, as if the
//!   capture had begun behind them.
//!
//! Bounds: [`RECOGNITION_SEGMENTS_MAX`] and [`RECOGNITION_BYTES_MAX`] a connection, from a pool; after
//! [`RECOGNITION_STRIKES_MAX`] segments that look like nothing Redis sends, fewer if they are long, a connection is taken for
//! another protocol's. Never panics on traffic.

use arrayvec::ArrayVec;

use crate::counters::Counter;
use crate::decode::seq::Seq;
use crate::decode::{Flags as TcpFlags, Segment};
use crate::flow::hash::Seed;
use crate::limits::{
    CLOSED_LINGER_NS, RECOGNITION_BYTES_MAX, RECOGNITION_EXCHANGES, RECOGNITION_SEGMENTS_MAX, RECOGNITION_STRIKE_BYTES,
    RECOGNITION_STRIKES_MAX,
};
use crate::pool::NONE;
use crate::redis::command::{CommandId, CommandTable};
use crate::redis::foreign::Foreign;
use crate::redis::pairing::Reason;
use crate::resp::detect::{Answered, Asked, is_requests, look_at_replies, look_at_requests, replies_in};
use crate::units::{Conversation, Direction, Timestamp};

use super::{Aside, Certainty, Connection, Facts, Framing, Recorder, Resources, Start};

/// A segment, but for its payload's bytes. Its direction is that of the ports.
#[derive(Clone, Copy, Debug)]
struct Kept {
    at: Timestamp,
    direction: Direction,
    seq: Seq,
    ack: Seq,
    flags: TcpFlags,
    window: u16,
    payload_len: usize,
    wire_payload_len: u32,
}

impl Kept {
    fn of(segment: &Segment<'_>, direction: Direction, at: Timestamp) -> Kept {
        Kept {
            at,
            direction,
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            window: segment.window,
            payload_len: segment.payload.len(),
            wire_payload_len: segment.wire_payload_len,
        }
    }
}

/// What is kept of a connection that is not recognised yet.
#[derive(Debug)]
pub(super) struct Recognition {
    segments: ArrayVec<Kept, RECOGNITION_SEGMENTS_MAX>,
    /// Their payloads, one behind the other.
    bytes: ArrayVec<u8, RECOGNITION_BYTES_MAX>,
    /// The time of the packet before them.
    before: Timestamp,
    /// Where the last command ended that was seen of each direction, and not answered.
    asked: [Option<Seq>; 2],
    /// Commands of each direction that the other one answered.
    exchanges: [u8; 2],
}

impl Recognition {
    pub(super) fn new() -> Box<Recognition> {
        Box::new(Recognition {
            segments: ArrayVec::new(),
            bytes: ArrayVec::new(),
            before: Timestamp::NONE,
            asked: [None; 2],
            exchanges: [0; 2],
        })
    }

    fn begin(&mut self, before: Timestamp) {
        self.clear();
        self.before = before;
        self.asked = [None; 2];
        self.exchanges = [0; 2];
    }

    fn clear(&mut self) {
        self.segments.clear();
        self.bytes.clear();
    }

    fn fits(&self, payload: &[u8]) -> bool {
        !self.segments.is_full() && payload.len() <= self.bytes.remaining_capacity()
    }

    /// Keeps a segment, which must fit.
    fn push(&mut self, kept: Kept, payload: &[u8]) {
        if self.fits(payload) && self.bytes.try_extend_from_slice(payload).is_ok() {
            self.segments.push(kept);
        }
    }

    /// The segments with their payloads.
    fn iter(&self) -> impl Iterator<Item = (&Kept, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.segments.iter().map(move |kept| {
            let (payload, others) = rest.split_at(kept.payload_len.min(rest.len()));
            rest = others;
            (kept, payload)
        })
    }

    fn wire_bytes(&self) -> u64 {
        self.segments.iter().map(|kept| u64::from(kept.wire_payload_len)).sum()
    }

    /// Notes what a segment of a connection whose beginning was not seen is; answers the direction of the requests once that is
    /// certain.
    fn note(&mut self, kept: &Kept, look: Look) -> Option<Direction> {
        let (own, other) = (kept.direction as usize, kept.direction.reverse() as usize);
        match (look, self.asked[other]) {
            (Look::Requests, _) => self.asked[own] = Some(kept.seq.after(kept.wire_payload_len)),
            (Look::Reply, Some(end)) if kept.flags.any(TcpFlags::ACK) && kept.ack.distance(end) >= 0 => {
                self.asked[other] = None;
                self.exchanges[other] += 1;
            }
            _ => {}
        }
        match self.exchanges {
            [0, most] if most >= RECOGNITION_EXCHANGES => Some(Direction::Reply),
            [most, 0] if most >= RECOGNITION_EXCHANGES => Some(Direction::Request),
            // Values hold anything: both can't be, so neither is believed.
            [one, other] if one > 0 && other > 0 => {
                self.exchanges = [0; 2];
                self.asked = [None; 2];
                None
            }
            _ => None,
        }
    }
}

/// What a segment looks like by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// Commands.
    Requests,
    /// What only servers send.
    Reply,
    /// Either side's.
    Array,
    Nothing,
}

impl Look {
    fn at(payload: &[u8], resources: &mut Resources) -> Look {
        let (table, parser) = (resources.settings.table, &mut resources.scratch.parser);
        match payload.first() {
            Some(b'*') if is_requests(payload, parser, |name| is_telling(table, name)) => Look::Requests,
            None => Look::Nothing,
            _ => match replies_in(payload, parser) {
                Answered::Reply => Look::Reply,
                Answered::Array => Look::Array,
                Answered::Open | Answered::Wrong => Look::Nothing,
            },
        }
    }
}

/// What is to become of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Wait,
    Redis,
    /// Its client says what clients of Redis say, its server nothing yet that tells.
    OneSided,
    /// Its server says what servers of Redis say, but the beginning of what was asked is missing.
    Answered,
    /// Only what follows can tell: something is missing, or the client sends lines.
    Later,
    Other,
}

/// Whether a command's name is one that other protocols don't have as well: those of POP3 answer with `+OK`, too.
fn is_telling(table: &CommandTable, name: &[u8]) -> bool {
    let is_common = name.eq_ignore_ascii_case(b"AUTH") || name.eq_ignore_ascii_case(b"QUIT");
    !is_common && table.find(name).is_some_and(CommandId::is_known)
}

impl Connection {
    /// No port tells what it speaks: nothing of it is read before that is known.
    pub fn doubt(&mut self) {
        self.framing = [Framing::Unrecognised; 2];
        // Until it is recognised, when it began.
        self.head_at = self.last_at;
    }

    /// Whether it is not known yet what it speaks.
    pub(super) fn is_doubtful(&self) -> bool {
        self.framing[0] == Framing::Unrecognised
    }

    /// Whether its beginning was seen.
    fn is_known(&self) -> bool {
        self.facts.start() != Start::Midstream
    }

    /// A segment of a doubtful connection.
    pub(super) fn recognise<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        let flags = segment.flags;
        let is_known = self.is_known();
        if flags.any(TcpFlags::RST) {
            self.conclude(resources, recorder);
            return self.go_on(segment, direction, at, resources, recorder);
        }
        self.facts.set_if(Facts::CLOSING, flags.any(TcpFlags::FIN));
        if segment.wire_payload_len == 0 && self.aside(resources).recognition == NONE {
            if !is_known {
                self.last_at = self.last_at.max(at);
                return;
            }
            // Handshakes, and closes without any data.
            if !flags.any(TcpFlags::FIN) || self.is_next(segment, direction) {
                return self.read(segment, direction, at, resources, recorder);
            }
        }
        let (foreign, verdict) = match self.foreign(segment, direction) {
            Some(foreign) => (foreign, Verdict::Other),
            None if is_known => (Foreign::Other, self.judge_beginning(segment, direction, at, resources)),
            None => (Foreign::Other, self.judge_segment(segment, direction, at, resources)),
        };
        match verdict {
            Verdict::Redis => {
                self.recognised(resources, recorder);
                self.go_on(segment, direction, at, resources, recorder);
            }
            Verdict::Other => {
                self.left(foreign.counter(), Counter::OpaqueBytes, resources);
                self.go_on(segment, direction, at, resources, recorder);
            }
            Verdict::Wait | Verdict::OneSided | Verdict::Answered | Verdict::Later => {
                self.last_at = self.last_at.max(at);
            }
        }
    }

    /// A segment of a connection that is not doubtful any more.
    fn go_on<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if self.facts.has(Facts::CLOSED) {
            resources.counters.count(Counter::Stray);
        } else {
            self.segment(segment, direction, at, resources, recorder);
        }
    }

    /// Whether nothing is missing before a segment, of neither side.
    fn is_next(&self, segment: &Segment<'_>, direction: Direction) -> bool {
        let direction = self.oriented(direction);
        let (own, other) = (self.stream(direction), self.stream(direction.reverse()));
        let has_all = !other.is_known() || segment.ack.distance(Seq::of(other.next())) <= 0;
        segment.seq == Seq::of(own.next()) && has_all
    }

    /// What is spoken instead, where a few bytes tell.
    fn foreign(&self, segment: &Segment<'_>, direction: Direction) -> Option<Foreign> {
        let direction = self.oriented(direction);
        let is_first =
            self.is_known() && direction == Direction::Request && segment.seq == Seq::of(self.stream(direction).next());
        if is_first { Foreign::of_first_bytes(segment.payload) } else { Foreign::of_segment(segment.payload) }
    }

    /// Makes sure that there is room to keep segments in; `false`: there is none.
    fn has_recognition(&mut self, resources: &mut Resources) -> bool {
        if self.aside(resources).recognition != NONE {
            return true;
        }
        let Some(handle) = resources.recognitions.take(Recognition::new) else {
            resources.counters.count(Counter::EvictedRecognitions);
            return false;
        };
        resources.recognitions.get_mut(handle).begin(self.last_at);
        self.aside_mut(resources).recognition = handle;
        true
    }

    /// What is known with one segment more of a connection whose beginning was seen; keeps the segment, if that is not enough.
    fn judge_beginning(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
    ) -> Verdict {
        if !self.has_recognition(resources) {
            return Verdict::Other;
        }
        let kept = Kept::of(segment, direction, at);
        let verdict = self.look_at_beginning(Some((&kept, segment.payload)), resources);
        if matches!(verdict, Verdict::Redis | Verdict::Other) {
            return verdict;
        }
        let handle = self.aside(resources).recognition;
        let recognition = resources.recognitions.get_mut(handle);
        if recognition.fits(segment.payload) {
            recognition.push(kept, segment.payload);
            return Verdict::Wait;
        }
        if verdict == Verdict::OneSided || verdict == Verdict::Answered && self.has_asked(resources) {
            return Verdict::Redis;
        }
        if verdict == Verdict::Wait {
            return Verdict::Other;
        }
        // Its beginning was seen, but not all that came then: what follows must tell.
        self.start_late();
        self.judge_segment(segment, direction, at, resources)
    }

    /// Whether a segment was kept in which the client sends commands.
    fn has_asked(&self, resources: &mut Resources) -> bool {
        let handle = self.aside(resources).recognition;
        let Resources { recognitions, settings, scratch, .. } = resources;
        let mut kept = recognitions.get(handle).iter();
        kept.any(|(kept, payload)| {
            self.oriented(kept.direction) == Direction::Request
                && is_requests(payload, &mut scratch.parser, |name| is_telling(settings.table, name))
        })
    }

    /// As if its beginning had not been seen.
    fn start_late(&mut self) {
        self.facts.set_start(Start::Midstream);
        self.certainty = Certainty::Open;
        self.facts.set(Facts::MAY_PUSH);
        for stream in &mut self.streams {
            stream.forget_beginning();
            stream.lose_sight();
        }
    }

    /// What both streams are, as far as they are there without a hole, with one segment more.
    fn look_at_beginning(&self, extra: Option<(&Kept, &[u8])>, resources: &mut Resources) -> Verdict {
        let handle = self.aside(resources).recognition;
        let Resources { recognitions, settings, scratch, .. } = resources;
        let recognition = recognitions.get(handle);
        let parser = &mut scratch.parser;
        let all = || recognition.iter().chain(extra);
        let is_of = |kept: &Kept, direction: Direction| self.oriented(kept.direction) == direction;
        let first = Seq::of(self.stream(Direction::Request).next());
        let requests =
            || InOrder { from: Some(first), all: || all().filter(|(kept, _)| is_of(kept, Direction::Request)) };
        let reply_stream = self.stream(Direction::Reply);
        // If the SYN-ACK was missed, what the client acknowledges with its first bytes tells where replies begin.
        let first_acknowledged = || {
            let mut of_client = all().filter(|(kept, _)| is_of(kept, Direction::Request) && kept.seq == first);
            of_client.find(|(kept, _)| kept.flags.any(TcpFlags::ACK)).map(|(kept, _)| kept.ack)
        };
        let from = if reply_stream.is_known() { Some(Seq::of(reply_stream.next())) } else { first_acknowledged() };
        let replies = || InOrder { from, all: || all().filter(|(kept, _)| is_of(kept, Direction::Reply)) };

        let table = settings.table;
        let asked = look_at_requests(requests().map(|(_, payload)| payload), parser, |name| is_telling(table, name));
        let answered = look_at_replies(replies().map(|(_, payload)| payload), parser);
        let greeting = replies().next().filter(|(kept, _)| kept.ack.distance(first) <= 0);
        match (asked, answered) {
            (Asked::Wrong, _) | (_, Answered::Wrong) => Verdict::Other,
            // A server of Redis speaks first only to say that it won't serve.
            _ if greeting.is_some_and(|(_, payload)| payload.first() != Some(&b'-')) => Verdict::Other,
            (Asked::Multibulk | Asked::Inline, Answered::Reply | Answered::Array) => Verdict::Redis,
            (Asked::Multibulk, Answered::Open) => Verdict::OneSided,
            (Asked::Open, Answered::Reply) => Verdict::Answered,
            (Asked::Inline, _) => Verdict::Later,
            _ if requests().has_hole() || replies().has_hole() => Verdict::Later,
            _ => Verdict::Wait,
        }
    }

    /// What is known with one segment more of a connection whose beginning was not seen.
    fn judge_segment(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
    ) -> Verdict {
        let look = Look::at(segment.payload, resources);
        let is_telling = matches!(look, Look::Requests | Look::Reply);
        match look {
            Look::Requests if self.aside(resources).strikes > 0 => self.aside_mut(resources).strikes = 0,
            Look::Nothing if segment.wire_payload_len > 0 => {
                let long = u16::try_from(segment.wire_payload_len / RECOGNITION_STRIKE_BYTES).unwrap_or(u16::MAX);
                let strikes = &mut self.aside_mut(resources).strikes;
                *strikes = strikes.saturating_add(1).saturating_add(long);
            }
            _ => {}
        }
        let Aside { strikes, recognition, .. } = *self.aside(resources);
        if strikes >= RECOGNITION_STRIKES_MAX {
            return Verdict::Other;
        }
        let wire_bytes = u64::from(segment.wire_payload_len);
        if recognition == NONE && !is_telling {
            resources.counters.add(Counter::UndecidedBytes, wire_bytes);
            return Verdict::Wait;
        }
        if !self.has_recognition(resources) {
            return Verdict::Other;
        }
        let kept = Kept::of(segment, direction, at);
        let handle = self.aside(resources).recognition;
        let recognition = resources.recognitions.get_mut(handle);
        if let Some(requests) = recognition.note(&kept, look) {
            if requests != self.oriented(Direction::Request) {
                self.swap_ends();
            }
            return Verdict::Redis;
        }
        if !recognition.fits(segment.payload) {
            resources.counters.add(Counter::UndecidedBytes, recognition.wire_bytes());
            recognition.clear();
            recognition.before = self.last_at;
        }
        if recognition.fits(segment.payload) {
            recognition.push(kept, segment.payload);
        } else {
            resources.counters.add(Counter::UndecidedBytes, wire_bytes);
        }
        Verdict::Wait
    }

    /// The end that was taken for the server is the client.
    fn swap_ends(&mut self) {
        let Conversation { id, client, server, .. } = self.identity.conversation;
        let of = |client, server| Seed::fixed(0).hash_of(&(client, server, self.head_at.0));
        // What else is part of it remains.
        self.identity.conversation.id = id ^ of(client, server) ^ of(server, client);
        (self.identity.conversation.client, self.identity.conversation.server) = (server, client);
        self.facts.put(Facts::SWAPPED, !self.facts.has(Facts::SWAPPED));
    }

    /// It is Redis's: what was kept is read.
    fn recognised<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        let framing = if self.is_known() { Framing::Known } else { Framing::Seeking };
        let handle = self.decided(framing, resources);
        recorder.introduce(&mut self.identity, &mut resources.counters);
        if handle == NONE {
            return;
        }
        let Some(spare) = resources.spare_recognition.take() else { return };
        let kept = std::mem::replace(resources.recognitions.get_mut(handle), spare);
        self.last_at = kept.before;
        for (segment, payload) in kept.iter() {
            let Kept { at, direction, seq, ack, flags, window, wire_payload_len, .. } = *segment;
            let segment = Segment { seq, ack, flags, window, payload, wire_payload_len };
            self.go_on(&segment, direction, at, resources, recorder);
        }
        resources.spare_recognition = Some(std::mem::replace(resources.recognitions.get_mut(handle), kept));
        resources.recognitions.give_back(handle);
    }

    /// It is not looked into any more: `what` says why, `bytes` counts what was kept of it.
    fn left(&mut self, what: Counter, bytes: Counter, resources: &mut Resources) {
        resources.counters.count(what);
        let handle = self.decided(Framing::Opaque, resources);
        if handle != NONE {
            let recognition = resources.recognitions.get(handle);
            resources.counters.add(bytes, recognition.wire_bytes());
            // From here on its streams are only followed.
            for (kept, _) in recognition.iter() {
                let direction = if self.facts.has(Facts::SWAPPED) { kept.direction.reverse() } else { kept.direction };
                let stream = &mut self.streams[direction as usize];
                let end = kept.seq.after(kept.wire_payload_len);
                let is_ahead = !stream.is_known() || end.distance(Seq::of(stream.next())) > 0;
                if kept.wire_payload_len > 0 && is_ahead {
                    stream.begin(end);
                }
            }
            resources.recognitions.give_back(handle);
        }
    }

    /// It is not doubtful any more. Answers what is kept of it, which is the caller's to give back.
    fn decided(&mut self, framing: Framing, resources: &mut Resources) -> u32 {
        self.framing = [framing; 2];
        self.head_at = Timestamp::NONE;
        self.facts.clear(Facts::CLOSING);
        if self.aside == NONE {
            return NONE;
        }
        let aside = self.aside_mut(resources);
        aside.strikes = 0;
        let recognition = std::mem::replace(&mut aside.recognition, NONE);
        self.tidy_aside(resources);
        recognition
    }

    /// Time has come to `now`: a client that has waited for as long as an answer may take is believed, if it sends multibulk.
    pub(super) fn believe<R: Recorder>(&mut self, now: Timestamp, resources: &mut Resources, recorder: &mut R) {
        let waits = self.is_doubtful() && self.is_known() && self.aside(resources).recognition != NONE;
        let is_long = now.since(self.last_at) >= resources.settings.timeout_ns;
        if waits && is_long && self.look_at_beginning(None, resources) == Verdict::OneSided {
            self.recognised(resources, recorder);
        }
    }

    /// It ends, and it must be decided what it was.
    pub(super) fn conclude<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        if !self.is_doubtful() {
            return;
        }
        if self.aside(resources).recognition == NONE {
            if !self.is_known() {
                resources.counters.count(Counter::ConnectionsUndecided);
            }
            // One that carried no data is no riddle.
            self.decided(Framing::Opaque, resources);
        } else if self.is_known() && self.look_at_beginning(None, resources) == Verdict::OneSided {
            self.recognised(resources, recorder);
        } else {
            self.left(Counter::ConnectionsUndecided, Counter::UndecidedBytes, resources);
        }
    }

    /// A doubtful connection that is given up for want of memory.
    pub(super) fn abandon(&mut self, resources: &mut Resources) {
        if self.is_doubtful() {
            self.left(Counter::ConnectionsUndecided, Counter::UndecidedBytes, resources);
        }
    }

    /// Whether a doubtful connection has been closing for long enough that nothing more will tell.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.facts.has(Facts::CLOSING) && self.is_doubtful() && now.since(self.last_at) >= CLOSED_LINGER_NS
    }

    /// Ends it then.
    pub(super) fn end_doubt<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        self.conclude(resources, recorder);
        self.close(Reason::Fin, resources, recorder);
    }
}

/// The payloads of a direction in the order of its stream, each only as far as the one before did not have it, up to the first
/// hole.
struct InOrder<F> {
    from: Option<Seq>,
    all: F,
}

impl<'k, F, I> InOrder<F>
where
    F: Fn() -> I,
    I: Iterator<Item = (&'k Kept, &'k [u8])>,
{
    /// Whether something is missing before some of it.
    fn has_hole(mut self) -> bool {
        while self.next().is_some() {}
        let is_behind = |kept: &Kept| self.from.is_none_or(|end| kept.seq.distance(end) > 0);
        (self.all)().any(|(kept, _)| kept.wire_payload_len > 0 && is_behind(kept))
    }
}

impl<'k, F, I> Iterator for InOrder<F>
where
    F: Fn() -> I,
    I: Iterator<Item = (&'k Kept, &'k [u8])>,
{
    type Item = (&'k Kept, &'k [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.from?;
        let mut all = (self.all)();
        let (kept, payload) = all.find(|(kept, _)| {
            let end = kept.seq.after(kept.wire_payload_len);
            kept.seq.distance(next) <= 0 && end.distance(next) > 0
        })?;
        let old = usize::try_from(next.distance(kept.seq)).ok()?;
        let payload = payload.get(old..)?;
        // What the capture cut off is a hole as well.
        let is_whole = kept.payload_len as u64 == u64::from(kept.wire_payload_len);
        self.from = is_whole.then(|| kept.seq.after(kept.wire_payload_len));
        Some((kept, payload))
    }
}
