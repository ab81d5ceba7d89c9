//! From bytes in order to requests and replies, and from those to pairs.

use crate::counters::Counter;
use crate::limits::{PENDING_PER_CONNECTION_MAX, UNPROVED_PENDING_MAX};
use crate::pool::NONE;
use crate::reassembly::pages::Piece;
use crate::redis::foreign::Foreign;
use crate::redis::pairing::{Certainty, Flags, Outcome, Proof, Resync};
use crate::redis::reply::ReplyVisitor;
use crate::redis::request::{Request, RequestVisitor};
use crate::redis::session::Act;
use crate::resp::parser::{Kind, Parser, Step, Visitor};
use crate::units::{Direction, Offset, Timestamp};

use super::{Connection, Exhausted, Framing, Recorder, Resources, Settings, Unfinished};

/// The smallest reply: `_\r\n`.
const REPLY_BYTES_MIN: u64 = 3;

/// What of a message had been seen when its rest fell into a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begun {
    Nothing,
    /// Attributes, and no more: what they belong to is not known.
    Attributes,
    Push,
    /// A reply, or a request.
    Message,
}

impl Connection {
    /// Parses bytes of one direction that were seen at `time`.
    #[inline]
    pub(super) fn parse<R: Recorder>(
        &mut self,
        direction: Direction,
        piece: &Piece<'_>,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        match self.framing[direction as usize] {
            Framing::Known if self.requests > 0 || self.building != NONE => {}
            Framing::Known => {
                if self.is_foreign(direction, piece.bytes, resources, recorder) {
                    return Ok(());
                }
            }
            Framing::Broken | Framing::Opaque => return Ok(()),
            Framing::Seeking | Framing::Found => {
                if self.is_foreign(direction, piece.bytes, resources, recorder) {
                    return Ok(());
                }
                if !self.seek(direction, piece, resources) {
                    return Ok(());
                }
                self.requests_refound |= direction == Direction::Request;
            }
        }
        match direction {
            Direction::Request => self.parse_requests(piece, time, resources, recorder),
            Direction::Reply => self.parse_replies(piece, time, resources, recorder),
        }
    }

    /// Looks for a boundary in a stream whose framing was lost; answers whether the segment begins at one, and so is to be
    /// parsed.
    ///
    /// Requests: the segment consists of whole messages, and ends with one that was pushed or holds at least two. Replies:
    /// the same, and so did the segment before it, as bulk strings can hold anything. But where pairs may yet be proved a
    /// wrong boundary would be counted wrong, so there it takes a fact: the segment answers a request that was sent when
    /// all before the segment had been received.
    fn seek(&mut self, direction: Direction, piece: &Piece<'_>, resources: &mut Resources) -> bool {
        let Piece { from, bytes, meta, .. } = *piece;
        let parser = &mut resources.scratch.parser;
        let framing = self.framing[direction as usize];
        let found = match direction {
            Direction::Request if looks_whole::<true>(bytes, meta.push, parser) => Framing::Known,
            Direction::Reply if matches!(self.certainty, Certainty::Bounded { .. }) => {
                let drained = !meta.late && self.queue.drained(from, meta.ack, &resources.requests);
                if drained && looks_begun(bytes, parser) { Framing::Known } else { Framing::Seeking }
            }
            Direction::Reply if looks_whole::<false>(bytes, meta.push, parser) => {
                if framing == Framing::Found {
                    Framing::Known
                } else {
                    Framing::Found
                }
            }
            _ => Framing::Seeking,
        };
        self.framing[direction as usize] = found;
        if found != Framing::Known {
            self.skip_bytes(direction, bytes.len() as u64, resources);
        }
        found == Framing::Known
    }

    /// Bytes go by unparsed, in search of a boundary: whatever they hold is hidden.
    fn skip_bytes(&mut self, direction: Direction, bytes: u64, resources: &mut Resources) {
        match direction {
            Direction::Request => resources.counters.add(Counter::RequestBytesSkipped, bytes),
            Direction::Reply => {
                resources.counters.add(Counter::ReplyBytesSkipped, bytes);
                self.hide_replies(0, bytes / REPLY_BYTES_MIN + 1, resources);
            }
        }
    }

    fn parse_requests<R: Recorder>(
        &mut self,
        piece: &Piece<'_>,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let Piece { from, bytes, meta, .. } = *piece;
        // What comes late, or acknowledges nothing, does not tell what had been received when it was first sent.
        let received = if meta.late || meta.ack == Offset(u64::MAX) { Offset(0) } else { meta.ack };
        let mut at = 0;
        while at < bytes.len() && !self.closed && !self.is_opaque() {
            let here = from.plus(at as u64);
            let Resources { settings, requests, unfinished, scratch, .. } = resources;
            if self.building == NONE {
                self.building = requests.take(Request::new).ok_or(Exhausted(Counter::EvictedRequests))?;
                let request = requests.get_mut(self.building);
                request.reset(&settings.shown);
                request.t1 = time;
                request.begin = here;
                request.received = received;
                request.inline_is_believed = !self.requests_refound;
            }
            let handle = self.unfinished[Direction::Request as usize];
            let parser = if handle == NONE { &mut scratch.parser } else { &mut unfinished.get_mut(handle).parser };
            if handle == NONE {
                parser.reset();
            }
            let request = requests.get_mut(self.building);
            if parser.is_idle() {
                request.t1 = time;
                request.begin = here;
                request.received = received;
            }
            let mut visitor =
                RequestVisitor { request, table: settings.table, acts: &settings.acts, shown: settings.shown };
            let (consumed, step) = parser.feed(&bytes[at..], &mut visitor);
            at += consumed;
            match step {
                Step::More => self.keep_unfinished(Direction::Request, resources)?,
                Step::Empty => self.drop_unfinished(Direction::Request, resources),
                Step::Value => {
                    self.drop_unfinished(Direction::Request, resources);
                    self.request_complete(from.plus(at as u64), time, resources, recorder)?;
                }
                Step::Malformed => {
                    resources.counters.count(Counter::Malformed);
                    self.drop_unfinished(Direction::Request, resources);
                    return self.request_malformed(from.plus(at as u64), time, resources, recorder);
                }
            }
        }
        if !self.has_unfinished(Direction::Request) {
            self.drop_building(resources);
        }
        Ok(())
    }

    fn parse_replies<R: Recorder>(
        &mut self,
        piece: &Piece<'_>,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let Piece { from, bytes, meta, .. } = *piece;
        let mut at = 0;
        while at < bytes.len() {
            let here = from.plus(at as u64);
            let handle = self.unfinished[Direction::Reply as usize];
            let waits_for = if self.watchful && handle == NONE { self.waits_for(resources) } else { None };
            if self.link != NONE || matches!(waits_for, Some(Act::Sync | Act::Psync)) {
                at += self.link_bytes(&bytes[at..], meta.at, resources)?;
                if at == bytes.len() || self.link != NONE {
                    return Ok(());
                }
            }
            let items = (waits_for == Some(Act::Exec)).then(|| self.expected_items(resources));
            let Resources { settings, unfinished, scratch, .. } = resources;
            let current = if handle == NONE { scratch } else { unfinished.get_mut(handle) };
            if handle == NONE {
                current.parser.reset();
                current.reply.reset();
                current.reply.begin = here;
                current.reply.t3 = time;
                current.reply.ack = meta.ack;
                current.reply.exec = items;
                current.reply.wants_text = matches!(waits_for, Some(Act::Psync));
            }
            let mut visitor = ReplyVisitor { reply: &mut current.reply, payload_bytes: settings.shown.payload_bytes };
            let (consumed, step) = current.parser.feed(&bytes[at..], &mut visitor);
            at += consumed;
            match step {
                Step::More => self.keep_unfinished(Direction::Reply, resources)?,
                Step::Value | Step::Empty => {
                    self.reply_complete(from.plus(at as u64), time, resources, recorder)?;
                    self.drop_unfinished(Direction::Reply, resources);
                }
                Step::Malformed => {
                    resources.counters.count(Counter::Malformed);
                    self.drop_unfinished(Direction::Reply, resources);
                    self.contradiction(resources, recorder);
                    self.framing[Direction::Reply as usize] = Framing::Seeking;
                    self.skip_bytes(Direction::Reply, (bytes.len() - at) as u64, resources);
                    return Ok(());
                }
            }
            if self.closed {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A message goes on in the next segment: what the scratch holds of it moves into the pool.
    fn keep_unfinished(&mut self, direction: Direction, resources: &mut Resources) -> Result<(), Exhausted> {
        if self.has_unfinished(direction) {
            return Ok(());
        }
        let Resources { settings, unfinished, scratch, .. } = resources;
        let handle = unfinished.take(|| Unfinished::new(&settings.shown)).ok_or(Exhausted(Counter::EvictedMessages))?;
        self.unfinished[direction as usize] = handle;
        let kept = unfinished.get_mut(handle);
        kept.parser.resume_from(&scratch.parser);
        if direction == Direction::Reply {
            // Both keep their buffers.
            std::mem::swap(&mut kept.reply, &mut scratch.reply);
        }
        Ok(())
    }

    pub(super) fn unfinished_mut<'r>(
        &self,
        direction: Direction,
        resources: &'r mut Resources,
    ) -> Option<&'r mut Unfinished> {
        let handle = self.unfinished[direction as usize];
        (handle != NONE).then(|| resources.unfinished.get_mut(handle))
    }

    /// Bytes of a stream are missing; `time` is known if only the capture cut them off.
    pub(super) fn missing<R: Recorder>(
        &mut self,
        direction: Direction,
        bytes: u64,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        if direction == Direction::Reply && self.link != NONE {
            resources.links.get_mut(self.link).missing(bytes, self.last_at);
            return Ok(());
        }
        match self.framing[direction as usize] {
            Framing::Known => {}
            Framing::Broken | Framing::Opaque => return Ok(()),
            Framing::Seeking | Framing::Found => {
                self.framing[direction as usize] = Framing::Seeking;
                self.skip_bytes(direction, bytes, resources);
                return Ok(());
            }
        }
        let handle = self.unfinished[direction as usize];
        if handle == NONE {
            return self.hide(direction, bytes, Begun::Nothing, resources, recorder);
        }
        let Resources { settings, requests, unfinished, .. } = resources;
        let Unfinished { parser, reply } = unfinished.get_mut(handle);
        let skipped = match direction {
            Direction::Request => {
                let request = requests.get_mut(self.building);
                request.flags.set(Flags::GAP);
                let Settings { table, acts, shown, .. } = settings;
                parser.skip(bytes, &mut RequestVisitor { request, table, acts, shown: *shown })
            }
            Direction::Reply => {
                reply.gap = true;
                parser.skip(bytes, &mut ReplyVisitor { reply, payload_bytes: settings.shown.payload_bytes })
            }
        };
        let end = self.stream(direction).next();
        match (skipped, direction) {
            (Ok(Step::Value), Direction::Request) => {
                self.drop_unfinished(direction, resources);
                self.request_complete(end, time, resources, recorder)
            }
            (Ok(Step::Value), Direction::Reply) => {
                self.reply_complete(end, time, resources, recorder)?;
                self.drop_unfinished(direction, resources);
                Ok(())
            }
            (Ok(_), _) => Ok(()),
            (Err(_), _) => {
                let begun = match reply.kind {
                    None => Begun::Attributes,
                    Some(Kind::Push) => Begun::Push,
                    Some(_) => Begun::Message,
                };
                self.drop_unfinished(direction, resources);
                self.hide(direction, bytes, begun, resources, recorder)
            }
        }
    }

    /// Replies are hidden, and with them what they would have told of the session. Counting goes on only over commands that
    /// have one reply each, whatever happens.
    fn hide_replies(&mut self, fewest: u64, most: u64, resources: &Resources) {
        self.certainty.hide_replies(fewest, most);
        let mut handle = self.queue.head();
        while let Some(waiting) = handle
            && !self.certainty.is_settled()
            && self.certainty != Certainty::Unproved
        {
            if !resources.act(waiting).is_countable() {
                self.certainty = Certainty::Unproved;
            }
            handle = self.queue.after(waiting, &resources.requests);
        }
        if !self.session.is_plain() {
            self.certainty = Certainty::Unproved;
        }
    }

    /// Framing is lost: messages are hidden in `bytes` missing bytes, behind what had `begun` before them.
    fn hide<R: Recorder>(
        &mut self,
        direction: Direction,
        bytes: u64,
        begun: Begun,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        self.framing[direction as usize] = Framing::Seeking;
        match direction {
            Direction::Request => {
                if begun != Begun::Nothing {
                    // What was seen of it is a request, which keeps its place; its end was not seen.
                    let end = self.stream(direction).next();
                    let end = Offset(end.0 - bytes);
                    self.request_complete(end, Timestamp::NONE, resources, recorder)?;
                }
                self.drop_building(resources);
                self.mark(resources)
            }
            Direction::Reply => {
                let most = bytes / REPLY_BYTES_MIN;
                let (fewest, most) = match begun {
                    // It answers a request itself; what follows it may hold no other.
                    Begun::Push => (0, most),
                    Begun::Message => (1, most + 1),
                    Begun::Attributes => (0, most + 1),
                    Begun::Nothing if self.may_push => (0, most),
                    // However few bytes: one begins in them.
                    Begun::Nothing => (1, most.max(1)),
                };
                self.hide_replies(fewest, most, resources);
                self.lose_unproved(resources, recorder);
                Ok(())
            }
        }
    }

    /// From here on replies can't be told apart by counting.
    fn mark(&mut self, resources: &mut Resources) -> Result<(), Exhausted> {
        let handle = resources.requests.take(Request::new).ok_or(Exhausted(Counter::EvictedRequests))?;
        resources.requests.get_mut(handle).reset(&resources.settings.shown);
        resources.requests.get_mut(handle).t1 = self.last_at;
        self.queue.mark(handle, &mut resources.requests);
        Ok(())
    }

    pub(super) fn request_complete<R: Recorder>(
        &mut self,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        if self.queue.len() + self.children.len() >= PENDING_PER_CONNECTION_MAX {
            return Err(Exhausted(Counter::EvictedRequests));
        }
        let handle = std::mem::replace(&mut self.building, NONE);
        let request = resources.requests.get_mut(handle);
        request.break_off();
        if request.is_of_nodes {
            resources.requests.give_back(handle);
            self.become_opaque(Foreign::Replication, resources, recorder);
            return Ok(());
        }
        request.t2 = time;
        request.end = end;
        request.index = self.requests;
        request.pipeline = self.queue.len();
        let flags = request.flags;
        let act = resources.act(handle);
        if self.link != NONE {
            self.link_request(handle, act, resources);
            return Ok(());
        }
        self.requests += 1;
        if act.is_replication() {
            self.internal += 1;
        } else {
            resources.counters.count(Counter::Requests);
        }
        let request = resources.requests.get(handle);
        if !flags.has(Flags::MALFORMED) && !request.is_known(resources.settings.table, act) {
            // It may be answered by any number of replies.
            if let Err(exhausted) = self.mark(resources) {
                self.queue.push(handle, &mut resources.requests);
                return Err(exhausted);
            }
        }
        self.may_push |= act == Act::Hello;
        self.watchful |= matches!(act, Act::Exec | Act::Psync | Act::Sync);
        // A client that uses CLIENT REPLY may have silenced its server before the silence that was taken for none outstanding.
        let voids = act == Act::Reply && matches!(self.certainty, Certainty::Assumed(_));
        if voids || !act.is_countable() && !self.certainty.is_settled() {
            self.certainty = Certainty::Unproved;
        }
        self.queue.push(handle, &mut resources.requests);
        // After these, silence is no sign that nothing is outstanding.
        self.blocking_seen |= flags.has(Flags::BLOCKING) || !act.is_countable();
        self.lose_unproved(resources, recorder);
        self.execute_silent(resources, recorder);
        Ok(())
    }

    /// A client broke the protocol: the server answers with an error, and reads no further.
    fn request_malformed<R: Recorder>(
        &mut self,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        if self.certainty.is_settled() {
            self.framing[Direction::Request as usize] = Framing::Broken;
            resources.requests.get_mut(self.building).flags.set(Flags::MALFORMED);
            return self.request_complete(end, time, resources, recorder);
        }
        self.framing[Direction::Request as usize] = Framing::Seeking;
        self.drop_building(resources);
        self.mark(resources)
    }

    /// Where nothing is certain no reply will be paired: requests are lost at once, but for the newest of a connection of
    /// whose replies nothing was seen yet.
    pub(super) fn lose_unproved<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        if self.certainty != Certainty::Unproved {
            return;
        }
        if self.stream(Direction::Reply).seen {
            return self.lose_all(resources, recorder);
        }
        while self.queue.len() > UNPROVED_PENDING_MAX {
            self.pop(Outcome::OneSided, resources, recorder);
        }
    }

    pub(super) fn contradiction<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        if self.certainty != Certainty::Unproved {
            resources.counters.count(Counter::Contradictions);
        }
        self.certainty = Certainty::Unproved;
        self.lose_all(resources, recorder);
    }

    /// The assumption `silence`: both sides were silent for long enough, everything was acknowledged, nothing blocks, and a
    /// request ends the silence. Then nothing is outstanding, and counting begins anew.
    pub(super) fn assume_silence<R: Recorder>(
        &mut self,
        piece: &Piece<'_>,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        let Piece { bytes, meta, .. } = *piece;
        if self.certainty.is_settled() && !self.queue.is_marked() {
            return;
        }
        let settings = &resources.settings;
        if settings.resync != Resync::Assume || self.unpairable || self.blocking_seen {
            return;
        }
        let silent = self.streams.iter().all(|stream| {
            stream.time().is_known()
                && meta.at.since(stream.time()) >= settings.resync_silence_ns
                && stream.acked() >= stream.next()
                && !stream.is_waiting()
                && !stream.window_closed
        });
        let between_messages = !self.has_unfinished(Direction::Request) && !self.has_unfinished(Direction::Reply);
        if !silent
            || !between_messages
            || matches!(self.framing[Direction::Request as usize], Framing::Broken | Framing::Opaque)
            || !looks_whole::<true>(bytes, meta.push, &mut resources.scratch.parser)
        {
            return;
        }
        self.lose_all(resources, recorder);
        self.watchful = false;
        self.certainty = Certainty::Assumed(Proof::Silence);
        self.requests_refound |= self.framing[Direction::Request as usize] != Framing::Known;
        self.framing = [Framing::Known; 2];
        resources.counters.count(Counter::ResyncsSilence);
    }
}

/// Whether `bytes` are whole messages to the end (of requests, multibulk only: nothing may be taken for an inline command
/// that could be anything), and at least two, or one that was pushed.
fn looks_whole<const REQUESTS: bool>(bytes: &[u8], push: bool, parser: &mut Parser) -> bool {
    let (mut rest, mut messages) = (bytes, 0);
    parser.reset();
    while let Some(&first) = rest.first() {
        if REQUESTS && first != b'*' {
            return false;
        }
        let (consumed, step) = parser.feed(rest, &mut Nobody::<REQUESTS>);
        if step != Step::Value {
            return false;
        }
        messages += 1;
        rest = &rest[consumed..];
    }
    messages >= 2 || messages == 1 && push
}

/// Whether `bytes` can be the beginning of replies, whole or not.
fn looks_begun(bytes: &[u8], parser: &mut Parser) -> bool {
    let mut rest = bytes;
    parser.reset();
    while !rest.is_empty() {
        match parser.feed(rest, &mut Nobody::<false>) {
            (consumed, Step::Value) => rest = &rest[consumed..],
            (_, step) => return step == Step::More,
        }
    }
    true
}

/// Wants nothing.
struct Nobody<const REQUESTS: bool>;

impl<const REQUESTS: bool> Visitor for Nobody<REQUESTS> {
    const REQUESTS: bool = REQUESTS;

    fn begin(&mut self, _depth: usize, _kind: Kind, _length: u64) -> usize {
        0
    }

    fn bytes(&mut self, _chunk: &[u8]) {}

    fn missing(&mut self) {}

    fn end(&mut self, _depth: usize) {}
}
