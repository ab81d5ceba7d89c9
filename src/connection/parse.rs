//! From bytes in order to requests and replies, and from those to pairs.

use crate::counters::Counter;
use crate::limits::{EXEC_ITEMS_MAX, EXEC_ITEMS_USUAL, PENDING_PER_CONNECTION_MAX, UNPROVED_PENDING_MAX};
use crate::pool::NONE;
use crate::reassembly::pages::Piece;
use crate::redis::foreign::Foreign;
use crate::redis::pairing::{Flags, Outcome, Proof, Resync};
use crate::redis::queue::Stretch;
use crate::redis::reply::ReplyVisitor;
use crate::redis::request::{Request, RequestVisitor};
use crate::redis::session::Act;
use crate::resp::parser::{FramingLost, Kind, Parser, Step, Visitor};
use crate::units::{Direction, Offset, Timestamp};

use super::content::line_ends;
use super::{Certainty, Connection, Exhausted, Facts, Framing, Recorder, Resources, Settings, Unfinished};

/// The smallest reply: `_\r\n`.
pub(super) const REPLY_BYTES_MIN: u64 = 3;

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
            Framing::Broken | Framing::Opaque | Framing::Unrecognised => return Ok(()),
            Framing::Seeking => {
                if self.is_foreign(direction, piece.bytes, resources, recorder) {
                    return Ok(());
                }
                if direction == Direction::Request && self.has_ended(piece, resources) {
                    self.framing[direction as usize] = Framing::Known;
                } else if self.seek(direction, piece, resources, recorder) {
                    self.facts.set_if(Facts::REQUESTS_REFOUND, direction == Direction::Request);
                } else {
                    return Ok(());
                }
            }
        }
        match direction {
            Direction::Request => self.parse_requests(piece, 0, time, resources, recorder),
            Direction::Reply => self.parse_replies(piece, 0, time, resources, recorder),
        }
    }

    /// Whether a request that was cut off ended where the piece begins: it was answered, and so little is hidden behind its end
    /// that no content of another can begin the piece. Then nothing else was hidden.
    fn has_ended(&mut self, piece: &Piece<'_>, resources: &mut Resources) -> bool {
        let is_rest = self.certainty.is_settled() && self.queue.is_only_rest(&resources.requests);
        if !is_rest || !piece.bytes.starts_with(b"*") {
            return false;
        }
        if let Some(mark) = self.queue.pop(&resources.requests) {
            resources.requests.give_back(mark);
        }
        true
    }

    /// Looks for a boundary in a stream whose framing was lost; answers whether the segment begins at one, and so is to be
    /// parsed.
    ///
    /// The segment must consist of whole messages, and end with one that was pushed or hold at least two. Of replies it is
    /// also enough that the segment answers a request that was sent when all before the segment had been received. Bulk
    /// strings can hold anything, so this is no proof: what it leads to must explain itself (see [`super::resync`]).
    fn seek<R: Recorder>(
        &mut self,
        direction: Direction,
        piece: &Piece<'_>,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> bool {
        let Piece { from, bytes, meta, .. } = *piece;
        let parser = &mut resources.scratch.parser;
        let is_found = match direction {
            Direction::Request => looks_whole::<true>(bytes, meta.push, parser),
            Direction::Reply => {
                let newest = || self.queue.newest(meta.ack, &resources.requests);
                let drained = !meta.late && newest().is_some_and(|(received, _)| received >= from);
                (looks_whole::<false>(bytes, meta.push, parser) || drained && looks_begun(bytes, parser))
                    && self.can_take(meta.ack, resources)
            }
        };
        if is_found {
            self.framing[direction as usize] = Framing::Known;
        } else {
            self.skip_bytes(direction, bytes.len() as u64, meta.ack, resources, recorder);
        }
        is_found
    }

    /// Bytes go by unparsed, in search of a boundary: whatever they hold is hidden.
    fn skip_bytes<R: Recorder>(
        &mut self,
        direction: Direction,
        bytes: u64,
        acknowledged: Offset,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        match direction {
            Direction::Request => {
                resources.counters.add(Counter::RequestBytesSkipped, bytes);
                self.extend_mark(resources);
            }
            Direction::Reply => {
                resources.counters.add(Counter::ReplyBytesSkipped, bytes);
                self.hide_replies(0, bytes / REPLY_BYTES_MIN + 1, acknowledged, resources, recorder);
            }
        }
    }

    /// From byte `at` of the piece on.
    pub(super) fn parse_requests<R: Recorder>(
        &mut self,
        piece: &Piece<'_>,
        mut at: usize,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let Piece { from, bytes, meta, .. } = *piece;
        // What comes late, or acknowledges nothing, does not tell what had been received when it was first sent.
        let received = if meta.late || meta.ack == Offset(u64::MAX) { Offset(0) } else { meta.ack };
        while at < bytes.len() && !self.facts.has(Facts::CLOSED) && !self.is_opaque() {
            let here = from.plus(at as u64);
            let begins = self.building == NONE;
            debug_assert!(!self.facts.has(Facts::PLAIN) || self.is_plain());
            if begins && self.facts.has(Facts::PLAIN) {
                let usual = self.usual_requests(&bytes[at..], here, received, time, resources);
                if usual > 0 {
                    at += usual;
                    continue;
                }
            }
            if begins && !self.has_unfinished(Direction::Request) {
                let length = self.usual_request(&bytes[at..], here, received, time, resources)?;
                if length > 0 {
                    at += length;
                    self.facts.clear(Facts::PLAIN);
                    self.request_complete(from.plus(at as u64), time, resources, recorder)?;
                    self.note_plain(resources);
                    continue;
                }
            }
            if begins {
                self.building = self.take_request(resources)?;
            }
            let Resources { settings, requests, unfinished, scratch, .. } = resources;
            if begins {
                let request = requests.get_mut(self.building);
                request.reset(&settings.shown);
                request.t1 = time;
                request.begin = here;
                request.received = received;
                request.believe_inline(!self.facts.has(Facts::REQUESTS_REFOUND));
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
            // One that came at once is a client's own, unless it sent several at once.
            if !begins || step == Step::More {
                self.note_begun(&bytes[at..at + consumed], resources);
            }
            at += consumed;
            match step {
                Step::More => self.keep_unfinished(Direction::Request, resources)?,
                Step::Empty => {
                    self.drop_unfinished(Direction::Request, resources);
                    self.content_may_end(from.plus(at as u64), resources)?;
                }
                Step::Value => {
                    self.drop_unfinished(Direction::Request, resources);
                    self.facts.clear(Facts::PLAIN);
                    self.request_complete(from.plus(at as u64), time, resources, recorder)?;
                    self.note_plain(resources);
                }
                Step::Malformed => {
                    resources.counters.count(Counter::Malformed);
                    self.facts.clear(Facts::PLAIN);
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

    /// From byte `at` of the piece on.
    pub(super) fn parse_replies<R: Recorder>(
        &mut self,
        piece: &Piece<'_>,
        mut at: usize,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let Piece { from, bytes, meta, .. } = *piece;
        while at < bytes.len() {
            let here = from.plus(at as u64);
            let handle = self.unfinished[Direction::Reply as usize];
            debug_assert!(!self.facts.has(Facts::PLAIN) || self.is_plain());
            if handle == NONE && self.facts.has(Facts::PLAIN) {
                let usual = self.usual_replies(&bytes[at..], here, meta.ack, time, resources, recorder);
                if usual > 0 {
                    at += usual;
                    continue;
                }
            }
            let waits_for =
                if self.facts.has(Facts::WATCHFUL) && handle == NONE { self.waits_for(resources) } else { None };
            if self.aside(resources).link != NONE || matches!(waits_for, Some(Act::Sync | Act::Psync)) {
                at += self.link_bytes(&bytes[at..], meta.at, resources)?;
                if at == bytes.len() || self.aside(resources).link != NONE {
                    return Ok(());
                }
            }
            let items = (waits_for == Some(Act::Exec)).then(|| self.expected_items(resources));
            let items_max = self.children(resources).len() as usize + EXEC_ITEMS_USUAL;
            let Resources { settings, unfinished, scratch, .. } = resources;
            let current = if handle == NONE { scratch } else { unfinished.get_mut(handle) };
            if handle == NONE {
                current.parser.reset();
                current.reply.reset();
                current.reply.begin = here;
                current.reply.lines = (self.resync != NONE).then_some(0);
                current.reply.is_string = matches!(bytes[at], b'$' | b'=' | b'!');
                current.reply.t3 = time;
                current.reply.ack = meta.ack;
                current.reply.begins_segment = at == 0;
                current.reply.late = meta.late;
                current.reply.exec = items;
                current.reply.items_max = items_max.min(EXEC_ITEMS_MAX);
                current.reply.wants_text = matches!(waits_for, Some(Act::Psync));
            }
            let mut visitor = ReplyVisitor { reply: &mut current.reply, payload_bytes: settings.shown.payload_bytes };
            let (consumed, step) = current.parser.feed(&bytes[at..], &mut visitor);
            if let Some(lines) = &mut current.reply.lines {
                *lines += line_ends(&bytes[at..at + consumed]);
            }
            at += consumed;
            match step {
                Step::More => self.keep_unfinished(Direction::Reply, resources)?,
                Step::Value | Step::Empty => {
                    self.facts.clear(Facts::PLAIN);
                    self.reply_complete(from.plus(at as u64), time, resources, recorder)?;
                    self.drop_unfinished(Direction::Reply, resources);
                    self.note_plain(resources);
                }
                Step::Malformed => {
                    resources.counters.count(Counter::Malformed);
                    self.facts.clear(Facts::PLAIN);
                    self.drop_unfinished(Direction::Reply, resources);
                    self.contradiction(resources, recorder);
                    self.framing[Direction::Reply as usize] = Framing::Seeking;
                    self.skip_bytes(Direction::Reply, (bytes.len() - at) as u64, meta.ack, resources, recorder);
                    return Ok(());
                }
            }
            if self.facts.has(Facts::CLOSED) {
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
        acknowledged: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        self.facts.clear(Facts::PLAIN);
        let link = self.aside(resources).link;
        if direction == Direction::Reply && link != NONE {
            resources.links.get_mut(link).missing(bytes, self.last_at);
            return Ok(());
        }
        match self.framing[direction as usize] {
            Framing::Known => {}
            Framing::Broken | Framing::Opaque | Framing::Unrecognised => return Ok(()),
            Framing::Seeking => {
                self.skip_bytes(direction, bytes, acknowledged, resources, recorder);
                return Ok(());
            }
        }
        let handle = self.unfinished[direction as usize];
        if handle == NONE {
            return self.hide(direction, bytes, acknowledged, Begun::Nothing, (0, 0), resources, recorder);
        }
        let Resources { settings, requests, unfinished, .. } = resources;
        let Unfinished { parser, reply } = unfinished.get_mut(handle);
        let skipped = match direction {
            Direction::Request => {
                let request = requests.get_mut(self.building);
                request.add(Flags::GAP);
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
            (Err(FramingLost { rest }), _) => {
                let begun = match reply.kind {
                    None => Begun::Attributes,
                    Some(Kind::Push) => Begun::Push,
                    Some(_) => Begun::Message,
                };
                let seen = if direction == Direction::Reply { end.0 - bytes - reply.begin.0 } else { 0 };
                self.drop_unfinished(direction, resources);
                self.hide(direction, bytes, acknowledged, begun, (seen, rest), resources, recorder)
            }
        }
    }

    /// Framing is lost: messages are hidden in `bytes` missing bytes, behind what had `begun` before them, of which, if it is a reply,
    /// `seen` bytes were seen, and which had at least `rest` bytes to come.
    #[allow(clippy::too_many_arguments)]
    fn hide<R: Recorder>(
        &mut self,
        direction: Direction,
        bytes: u64,
        acknowledged: Offset,
        begun: Begun,
        (seen, rest): (u64, u64),
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        self.framing[direction as usize] = Framing::Seeking;
        match direction {
            Direction::Request => {
                let to = self.stream(direction).next();
                let from = Offset(to.0 - bytes);
                if begun != Begun::Nothing {
                    // What was seen of it is a request, which keeps its place; its end was not seen.
                    self.request_complete(from, Timestamp::NONE, resources, recorder)?;
                }
                self.drop_building(resources);
                let is_rest = begun != Begun::Nothing && self.facts.has(Facts::MULTIBULK) && bytes >= rest;
                let is_rest = is_rest && Stretch::is_before_name(bytes - rest);
                self.hide_requests(from, is_rest, begun == Begun::Nothing, resources)
            }
            Direction::Reply => {
                let most = bytes / REPLY_BYTES_MIN + self.swallowed_by(seen, resources);
                let (fewest, most) = match begun {
                    // It answers a request itself; what follows it may hold no other.
                    Begun::Push => (0, most),
                    Begun::Message => (1, most + 1),
                    Begun::Attributes => (0, most + 1),
                    Begun::Nothing if self.facts.has(Facts::MAY_PUSH) => (0, most),
                    // However few bytes: one begins in them.
                    Begun::Nothing => (1, most.max(1)),
                };
                self.hide_replies(fewest, most, acknowledged, resources, recorder);
                Ok(())
            }
        }
    }

    /// Requests may be hidden from `from` to what comes next; not if that `is_rest` of one; at least one if that `holds_one`.
    fn hide_requests(
        &mut self,
        from: Offset,
        is_rest: bool,
        holds_one: bool,
        resources: &mut Resources,
    ) -> Result<(), Exhausted> {
        let to = self.stream(Direction::Request).next();
        let tail = self.queue.tail().map(|tail| resources.requests.get(tail));
        if tail.is_some_and(Request::is_mark) {
            self.extend_mark(resources);
            return Ok(());
        }
        let may_be_inline = !self.facts.has(Facts::MULTIBULK);
        self.mark(Stretch { from, to, may_be_inline, earlier: 0, is_rest, is_answered: false, holds_one }, resources)?;
        self.requests_hidden(resources);
        Ok(())
    }

    /// Puts a mark at the end of the queue.
    pub(super) fn mark(&mut self, stretch: Stretch, resources: &mut Resources) -> Result<(), Exhausted> {
        let handle = self.take_request(resources)?;
        resources.requests.get_mut(handle).reset(&resources.settings.shown);
        resources.requests.get_mut(handle).t1 = self.last_at;
        self.queue.mark(handle, stretch, &mut resources.requests);
        if self.resync != NONE {
            resources.resyncs.get_mut(self.resync).marked(&stretch);
        }
        Ok(())
    }

    /// The stretch at the end of the queue goes on up to what comes next.
    fn extend_mark(&mut self, resources: &mut Resources) {
        let to = self.stream(Direction::Request).next();
        let tail = self.queue.tail();
        if let Some(stretch) = tail.and_then(|tail| resources.requests.get_mut(tail).stretch_mut()) {
            stretch.to = to;
            stretch.is_rest = false;
            self.requests_hidden(resources);
        }
    }

    pub(super) fn request_complete<R: Recorder>(
        &mut self,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        if self.queue.len() + self.children(resources).len() >= PENDING_PER_CONNECTION_MAX {
            return Err(Exhausted(Counter::EvictedRequests));
        }
        let handle = std::mem::replace(&mut self.building, NONE);
        let Resources { requests, usual, .. } = &mut *resources;
        let request = requests.get_mut(handle);
        request.break_off();
        request.answers = usual.answers(request.command);
        if request.is_of_nodes() {
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
        if self.aside(resources).link != NONE {
            self.link_request(handle, act, resources);
            return Ok(());
        }
        self.requests += 1;
        if act.is_replication() {
            self.aside_mut(resources).internal += 1;
        } else {
            resources.counters.count(Counter::Requests);
        }
        let request = resources.requests.get(handle);
        let was_multibulk = self.facts.has(Facts::MULTIBULK) || self.requests == 1;
        self.facts.put(Facts::MULTIBULK, was_multibulk && !flags.has(Flags::INLINE));
        if !flags.has(Flags::MALFORMED) && !request.is_known(resources.settings.table, act) {
            // It may be answered by any number of replies.
            let (from, to) = (request.begin, end);
            let stretch = Stretch {
                from,
                to,
                may_be_inline: true,
                earlier: 0,
                is_rest: false,
                is_answered: false,
                holds_one: false,
            };
            self.decide(handle, Outcome::Lost, None, resources, recorder);
            self.left_queue(handle, resources);
            resources.requests.give_back(handle);
            self.mark(stretch, resources)?;
            self.requests_hidden(resources);
            return Ok(());
        }
        self.facts.set_if(Facts::MAY_PUSH, act == Act::Hello);
        self.facts.set_if(Facts::WATCHFUL, matches!(act, Act::Exec | Act::Psync | Act::Sync));
        self.queue.push(handle, &mut resources.requests);
        // After these, silence is no sign that nothing is outstanding.
        self.facts.set_if(Facts::BLOCKING_SEEN, flags.has(Flags::BLOCKING) || !act.is_countable());
        match self.certainty {
            Certainty::Open => self.request_while_open(handle, resources, recorder),
            // A client that uses CLIENT REPLY may have silenced its server before the silence that was taken for none
            // outstanding.
            Certainty::Assumed(_) if act == Act::Reply => {
                self.facts.set(Facts::UNCOUNTABLE);
                self.restart_pairing(resources, recorder);
            }
            // It has as many confirmations as there are subscriptions, which is not known.
            _ if self.session.unsubscribes_unknown(act, resources.requests.get(handle)) => {
                self.restart_pairing(resources, recorder);
            }
            _ => self.execute_silent(resources, recorder),
        }
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
            resources.requests.get_mut(self.building).add(Flags::MALFORMED);
            return self.request_complete(end, time, resources, recorder);
        }
        self.framing[Direction::Request as usize] = Framing::Seeking;
        let from = resources.requests.get(self.building).begin;
        self.drop_building(resources);
        self.hide_requests(from, false, false, resources)
    }

    /// Where nothing is certain no reply will be paired: requests are lost at once, but for the newest of a connection of
    /// whose replies nothing was seen yet.
    pub(super) fn lose_unproved<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        if self.stream(Direction::Reply).is_seen() {
            return self.lose_all(resources, recorder);
        }
        while self.queue.len() > UNPROVED_PENDING_MAX {
            self.pop(Outcome::OneSided, resources, recorder);
        }
    }

    pub(super) fn contradiction<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        if self.certainty.is_settled() || self.resync != NONE {
            resources.counters.count(Counter::Contradictions);
        }
        self.restart_pairing(resources, recorder);
    }

    /// The assumption `silence`: both sides were silent for long enough, everything was acknowledged, nothing blocks, and a
    /// request ends the silence. Then nothing is outstanding, and counting begins anew. What was acknowledged and not seen
    /// yet voids it: a reply may have ended the silence, or this request began before it.
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
        if settings.resync == Resync::Strict
            || self.facts.has(Facts::UNPAIRABLE)
            || self.facts.has(Facts::BLOCKING_SEEN)
            || self.facts.has(Facts::UNCOUNTABLE)
        {
            return;
        }
        let silent = self.streams.iter().all(|stream| {
            stream.time().is_known()
                && meta.at.since(stream.time()) >= settings.resync_silence_ns
                && stream.acked() == stream.next()
                && !stream.is_waiting()
                && !stream.is_window_closed()
        });
        let between_messages = !self.has_unfinished(Direction::Request) && !self.has_unfinished(Direction::Reply);
        if !silent
            || !between_messages
            || matches!(self.framing[Direction::Request as usize], Framing::Broken | Framing::Opaque)
            || !looks_whole::<true>(bytes, meta.push, &mut resources.scratch.parser)
        {
            return;
        }
        if self.certainty.is_settled() {
            // What is hidden behind a mark has been answered as well.
            self.open_pairing(resources, recorder);
        }
        self.facts.set_if(Facts::REQUESTS_REFOUND, self.framing[Direction::Request as usize] != Framing::Known);
        self.framing = [Framing::Known; 2];
        self.assume(self.queue.end(), Proof::Silence, resources, recorder);
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
