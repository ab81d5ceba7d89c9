//! Pairing while something may be hidden: candidates are followed up, replies held, and both released when the pairing is
//! proved or assumed again (PAIRING.md; the argument is in [`crate::redis::candidates`]).
//!
//! A connection that is open has a [`Resyncing`] in the worker's pool. One that could never be proved nor may be assumed, or
//! for which the pool had no place, goes without: its requests are lost at once, its replies discarded.

use crate::counters::Counter;
use crate::limits::{CANDIDATES_MAX, EARLIER_REQUESTS_MAX, HELD_REPLIES_MAX};
use crate::pool::NONE;
use crate::redis::candidates::{Basis, Candidates, Hidden, Seen, Verdict};
use crate::redis::habits::{Drains, Turns};
use crate::redis::outline::Line;
use crate::redis::pairing::{Outcome, Proof, Resync};
use crate::redis::queue::{Queue, Stretch};
use crate::redis::reply::Reply;
use crate::redis::request::Request;
use crate::redis::requests::Requests;
use crate::resp::parser::Kind;
use crate::units::{Direction, Offset, Timestamp};

use super::parse::REPLY_BYTES_MIN;
use super::{Certainty, Connection, Exhausted, Facts, Recorder, Resources, Settings};

/// Points that a candidate must earn, as the framing was found again by its looks: what seems to be replies may be the elements of
/// an array or the content of a bulk string whose beginning was hidden.
const DOUBT_ARRAY: u8 = 8;
/// The same, if the hidden reply can be a bulk string but no array.
const DOUBT_BULK: u8 = 6;
/// What it is worth if a reply begins where its request's client, which has been waiting for its replies, had received
/// everything before.
const POINTS_DRAINED: u8 = 16;
/// A length, `$1\r\n`, in bytes.
const LENGTH_BYTES_MIN: u64 = 4;
/// Replies that a candidate must have explained to be assumed by `window`.
const WINDOW_REPLIES: u16 = 64;
/// Replies after which candidates are no longer followed up.
const REPLIES_FOLLOWED_MAX: u64 = 1024;

/// A reply that waits for the pairing to be proved.
#[derive(Debug)]
pub(super) struct Held {
    reply: Reply,
    end: Offset,
    time: Timestamp,
    /// Last byte of the reply or push before.
    previous: Timestamp,
    /// Its client had received all before when it sent what this acknowledges: it is hardly the content of a reply.
    is_drained: bool,
}

impl Held {
    pub(super) fn with_room(payload_bytes: usize) -> Held {
        Held {
            reply: Reply::with_room(payload_bytes),
            end: Offset(0),
            time: Timestamp::NONE,
            previous: Timestamp::NONE,
            is_drained: false,
        }
    }

    /// Bytes that one needs, with all that it points to.
    pub(super) fn bytes(payload_bytes: usize) -> usize {
        size_of::<Held>() + Reply::room_bytes(payload_bytes)
    }
}

/// What is known of a connection's pairing while it is open.
#[derive(Debug)]
pub(super) struct Resyncing {
    candidates: Candidates,
    /// The newest replies since the last stretch, in their pool.
    held: [u32; HELD_REPLIES_MAX],
    held_count: usize,
    /// Replies since it began.
    replies: u64,
    last_kind: Option<Kind>,
    drains: Drains,
    turns: Turns,
    /// Requests are hidden, or may be, since the connection's first captured byte.
    interrupted: bool,
    /// The queue's first position when it began; `None` once replies were hidden, so that they can't be counted from there.
    counted_from: Option<u64>,
    /// Marks since then, and how many of them hold a request.
    marks: (u64, u64),
}

impl Resyncing {
    pub(super) fn new() -> Resyncing {
        Resyncing {
            candidates: Candidates::new(),
            held: [NONE; HELD_REPLIES_MAX],
            held_count: 0,
            replies: 0,
            last_kind: None,
            drains: Drains::default(),
            turns: Turns::default(),
            interrupted: false,
            counted_from: None,
            marks: (0, 0),
        }
    }

    /// A mark was put into the queue.
    pub(super) fn marked(&mut self, stretch: &Stretch) {
        self.marks.0 += 1;
        self.marks.1 += u64::from(stretch.holds_one);
    }

    /// Whether, if the next reply is for the request at `position`, as many were seen before as requests for which there was
    /// one: each of those seen, and at least one in each stretch that holds any.
    fn counts_to(&self, position: u64, queue: &Queue, requests: &Requests) -> bool {
        let Some(from) = self.counted_from else { return true };
        let behind =
            queue.iter(requests).filter(|&(at, _)| at >= position).filter_map(|(_, request)| request.stretch());
        let (marks, holding) = behind.fold(self.marks, |(marks, holding), stretch| {
            (marks.saturating_sub(1), holding.saturating_sub(u64::from(stretch.holds_one)))
        });
        let seen = position.saturating_sub(from).saturating_sub(marks);
        self.replies >= seen + holding
    }

    /// Takes the oldest held reply.
    fn take_oldest(&mut self) -> Option<u32> {
        let oldest = (self.held_count > 0).then(|| self.held[0])?;
        self.held.copy_within(1..self.held_count, 0);
        self.held_count -= 1;
        Some(oldest)
    }
}

impl Connection {
    /// What the pairing rests on now.
    fn basis(&self) -> Basis {
        match self.certainty {
            Certainty::Exact => Basis::Certain,
            Certainty::Assumed(proof) => Basis::Assumed(proof),
            Certainty::Open => Basis::Nothing,
        }
    }

    /// Replies of it that are neither paired nor given up.
    pub fn held_replies(&self, resources: &Resources) -> u64 {
        if self.resync == NONE { 0 } else { resources.resyncs.get(self.resync).held_count as u64 }
    }

    /// From here on it is not certain which reply answers which request: candidates are followed up, beginning with the first
    /// request of the queue.
    pub(super) fn open_pairing<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        let basis = self.basis();
        self.certainty = Certainty::Open;
        let is_countable = self.session.is_countable()
            && self
                .queue
                .iter(&resources.requests)
                .all(|(_, request)| request.is_mark() || resources.settings.acts.of(request.command).is_countable());
        if !is_countable {
            return self.restart_pairing(resources, recorder);
        }
        self.forget_session(resources, recorder);
        self.begin_resync(basis, 0, resources, recorder);
    }

    /// Nothing is certain any more: what waits is lost, and all begins anew as in the middle of a connection.
    pub(super) fn restart_pairing<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        self.certainty = Certainty::Open;
        self.end_resync(resources);
        let waiting = u64::from(self.queue.len());
        self.lose_all(resources, recorder);
        self.begin_resync(Basis::Nothing, waiting, resources, recorder);
    }

    /// `waiting`: requests that were given up, and may yet be answered.
    fn begin_resync<R: Recorder>(&mut self, basis: Basis, waiting: u64, resources: &mut Resources, recorder: &mut R) {
        self.end_resync(resources);
        let is_hopeless = basis == Basis::Nothing && resources.settings.resync == Resync::Strict
            || self.facts.has(Facts::UNPAIRABLE)
            || basis == Basis::Nothing && self.facts.has(Facts::UNCOUNTABLE);
        let is_scarce = resources.requests.in_use() > resources.requests.capacity() / 4 * 3;
        if is_scarce && !is_hopeless {
            resources.counters.count(Counter::EvictedResyncs);
        }
        if is_hopeless || is_scarce {
            return self.lose_unproved(resources, recorder);
        }
        let Some(handle) = resources.resyncs.take(Resyncing::new) else {
            resources.counters.count(Counter::EvictedResyncs);
            return self.lose_unproved(resources, recorder);
        };
        self.resync = handle;
        if basis == Basis::Nothing && self.mark_earlier(waiting, resources).is_err() {
            self.end_resync(resources);
            return;
        }
        let state = resources.resyncs.get_mut(handle);
        state.replies = 0;
        state.last_kind = None;
        state.drains = Drains::default();
        state.turns = Turns::default();
        state.interrupted = basis != Basis::Nothing || self.requests > 0;
        state.counted_from = (basis != Basis::Nothing).then_some(self.queue.first());
        state.marks = (0, 0);
        self.queue
            .iter(&resources.requests)
            .filter_map(|(_, request)| request.stretch())
            .for_each(|stretch| state.marked(&stretch));
        state.candidates.begin(basis, &self.queue, &resources.requests);
    }

    /// Requests from before what was captured may still be answered.
    fn mark_earlier(&mut self, waiting: u64, resources: &mut Resources) -> Result<(), Exhausted> {
        let earlier = EARLIER_REQUESTS_MAX + waiting;
        let at = self.stream(Direction::Request).next();
        self.mark(
            Stretch {
                from: at,
                to: at,
                may_be_inline: true,
                earlier,
                is_rest: false,
                is_answered: false,
                holds_one: false,
            },
            resources,
        )
    }

    /// Gives the state back; replies that are still held are discarded.
    pub(super) fn end_resync(&mut self, resources: &mut Resources) {
        self.discard_held(0, resources);
        let handle = std::mem::replace(&mut self.resync, NONE);
        if handle != NONE {
            resources.resyncs.give_back(handle);
        }
    }

    /// Discards held replies but the newest so many.
    fn discard_held(&mut self, keep: usize, resources: &mut Resources) {
        if self.resync == NONE {
            return;
        }
        let state = resources.resyncs.get_mut(self.resync);
        while state.held_count > keep {
            let Some(oldest) = state.take_oldest() else { return };
            resources.held.give_back(oldest);
            resources.counters.count(Counter::DiscardedUnproved);
        }
    }

    /// Between `fewest` and `most` replies are hidden; what comes behind them acknowledges `acknowledged`.
    pub(super) fn hide_replies<R: Recorder>(
        &mut self,
        fewest: u64,
        most: u64,
        acknowledged: Offset,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if self.certainty != Certainty::Open {
            self.open_pairing(resources, recorder);
        }
        if self.resync == NONE {
            return;
        }
        self.discard_held(0, resources);
        let Resources { resyncs, requests, settings, candidates, .. } = resources;
        let state = resyncs.get_mut(self.resync);
        state.turns.interrupt();
        state.drains = Drains::default();
        state.interrupted = true;
        state.counted_from = None;
        let may_push = self.facts.has(Facts::MAY_PUSH);
        let doubt = |hidden: Hidden| match hidden {
            // The elements of a push whose beginning was hidden look like replies, whatever was asked.
            _ if may_push => DOUBT_ARRAY,
            Hidden::NoReply => 0,
            Hidden::Answer(command) if !self.facts.has(Facts::ODD_KINDS) => match settings.possible.of(command) {
                kinds if kinds.are_lines() => 0,
                kinds if kinds.are_scalars() => DOUBT_BULK,
                _ => DOUBT_ARRAY,
            },
            Hidden::Answer(_) | Hidden::Unknown => DOUBT_ARRAY,
        };
        state.candidates.hide((fewest, most), acknowledged, &self.queue, requests, candidates, doubt);
        if state.candidates.is_empty() {
            self.contradiction(resources, recorder);
        } else if state.candidates.overflows() {
            self.restart_pairing(resources, recorder);
        } else {
            self.lose_impossible(resources, recorder);
        }
    }

    /// Requests may be hidden in the stretch that the queue's last element, a mark, stands for.
    pub(super) fn requests_hidden(&mut self, resources: &mut Resources) {
        if self.resync != NONE {
            let Resources { resyncs, requests, .. } = resources;
            let state = resyncs.get_mut(self.resync);
            state.turns.interrupt();
            state.interrupted = true;
            state.candidates.marked(&self.queue, requests);
        }
    }

    /// A request has come while the pairing is open.
    pub(super) fn request_while_open<R: Recorder>(&mut self, handle: u32, resources: &mut Resources, recorder: &mut R) {
        if self.resync == NONE {
            return self.lose_unproved(resources, recorder);
        }
        let act = resources.act(handle);
        if !act.is_countable() {
            self.facts.set(Facts::UNCOUNTABLE);
            return self.restart_pairing(resources, recorder);
        }
        let Resources { resyncs, requests, settings, .. } = resources;
        let request = requests.get(handle);
        let (t1, t2) = (request.t1, if request.t2.is_known() { request.t2 } else { request.t1 });
        let state = resyncs.get_mut(self.resync);
        state.candidates.follow(&self.queue, requests);
        state.turns.request(t1, t2);
        let position = self.queue.end() - 1;
        if settings.resync != Resync::Strict
            && !self.facts.has(Facts::SKEWED)
            && !self.facts.has(Facts::BLOCKING_SEEN)
            && state.turns.are_prompt()
        {
            self.assume(position, Proof::Prompt, resources, recorder);
        } else if self.queue.end() - self.queue.first() > CANDIDATES_MAX + HELD_REPLIES_MAX as u64 {
            self.restart_pairing(resources, recorder);
        } else if !self.stream(Direction::Reply).is_seen() {
            self.lose_unproved(resources, recorder);
        }
    }

    /// A reply has come while the pairing is open.
    pub(super) fn reply_while_open<R: Recorder>(
        &mut self,
        reply: &mut Reply,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if self.resync == NONE {
            return resources.counters.count(Counter::DiscardedUnproved);
        }
        if resources.resyncs.get(self.resync).candidates.lowest() < self.queue.first() {
            // What was given up meanwhile could still be answered.
            self.restart_pairing(resources, recorder);
        }
        if self.resync == NONE {
            return resources.counters.count(Counter::DiscardedUnproved);
        }
        let newest = self.newest_acknowledged(reply, resources);
        let is_drained = newest.is_some_and(|(received, _)| received >= reply.begin);
        if let Some(position) = self.follow(reply, end, newest, is_drained, resources) {
            self.assume(position, Proof::Habit, resources, recorder);
            if self.certainty != Certainty::Open {
                let outcome = Outcome::Resynced(Proof::Habit);
                return self.pair_first(reply, outcome, end, time, resources, recorder);
            }
        }
        self.hold(reply, end, time, is_drained, resources);
        let state = resources.resyncs.get(self.resync);
        if state.candidates.is_empty() {
            self.contradiction(resources, recorder);
        } else if state.candidates.overflows() || state.replies > REPLIES_FOLLOWED_MAX {
            self.restart_pairing(resources, recorder);
        } else if !self.prove(resources, recorder) {
            self.lose_impossible(resources, recorder);
        }
    }

    /// Whether a reply that acknowledges so much could answer anything.
    pub(super) fn can_take(&self, acknowledged: Offset, resources: &Resources) -> bool {
        self.resync == NONE
            || resources.resyncs.get(self.resync).candidates.can_take(acknowledged, &self.queue, &resources.requests)
    }

    /// What the client had received when it sent the newest requests that a reply's segment acknowledges, and where the first
    /// of those is; if the reply begins the segment, and it did not come late.
    fn newest_acknowledged(&self, reply: &Reply, resources: &mut Resources) -> Option<(Offset, u64)> {
        if reply.late || !reply.begins_segment {
            return None;
        }
        let Resources { resyncs, requests, .. } = resources;
        resyncs.get_mut(self.resync).candidates.newest(reply.ack, &self.queue, requests)
    }

    /// Moves the candidates on. Answers the position of this reply's request if the client's habit tells it.
    fn follow(
        &mut self,
        reply: &Reply,
        end: Offset,
        newest: Option<(Offset, u64)>,
        is_drained: bool,
        resources: &mut Resources,
    ) -> Option<u64> {
        let (swallowed, swallowed_to) = (swallowed(reply, end), self.acknowledged(reply.ack));
        let Resources { resyncs, requests, settings, candidates, .. } = resources;
        let Settings { acts, possible, resync, .. } = settings;
        let state = resyncs.get_mut(self.resync);
        let drained = is_drained && self.habit.is_forming();
        // Elements of an array are mostly of one kind.
        let is_change = reply.kind != state.last_kind && reply.kind != Some(Kind::Error) && !reply.is_queued();
        state.last_kind = reply.kind;
        let shows_habit = newest
            .is_some_and(|(received, position)| state.drains.segment(reply.begin, received, position, state.replies));
        let habit = newest.filter(|_| shows_habit && *resync != Resync::Strict && self.habit.is_formed());
        if let Some((_, position)) = habit
            && state.candidates.has(position)
            && state.counts_to(position, &self.queue, requests)
        {
            return Some(position);
        }
        state.replies += 1;
        state
            .turns
            .reply(reply.t3, if reply.gap { reply.t3 } else { reply.t3.max(self.stream(Direction::Reply).time()) });
        let (session, odd_kinds) = (&self.session, self.facts.has(Facts::ODD_KINDS));
        state.candidates.reply(
            &Seen { acknowledged: reply.ack, is_anchored: drained, swallowed, swallowed_to },
            &self.queue,
            requests,
            candidates,
            |line: &Line, before: Option<&Line>| {
                let kinds = possible.of(line.command);
                let (Some(kind), act) = (reply.kind, acts.of(line.command)) else { return Verdict::Impossible };
                if session.contradicts(act, reply) || !odd_kinds && !kinds.has(kind) && !reply.is_queued() {
                    return Verdict::Impossible;
                }
                let differs = before.is_some_and(|before| !before.is_mark && possible.of(before.command) != kinds);
                let tells = is_change && differs && !kinds.are_any();
                // It says nothing for a request that was sent before its client had received all that.
                let waited = drained && line.received >= reply.begin;
                Verdict::Possible(if waited { POINTS_DRAINED } else { u8::from(tells) })
            },
        );
        None
    }

    /// What was acknowledged of the requests by now, and at least so much.
    fn acknowledged(&self, at_least: Offset) -> Offset {
        self.stream(Direction::Request).acked().max(at_least)
    }

    /// There was a push, up to `end`. If it may be the content of a reply, others may be beneath it.
    pub(super) fn push_while_open<R: Recorder>(
        &mut self,
        push: &Reply,
        end: Offset,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if self.resync != NONE && resources.resyncs.get(self.resync).candidates.are_in_doubt() {
            self.hide_replies(0, swallowed(push, end), self.acknowledged(push.ack), resources, recorder);
        }
    }

    /// So many replies may be beneath what was seen of a message of so many bytes, if that may be the content of one.
    pub(super) fn swallowed_by(&self, bytes: u64, resources: &Resources) -> u64 {
        let is_in_doubt = self.resync != NONE && resources.resyncs.get(self.resync).candidates.are_in_doubt();
        if is_in_doubt { bytes / REPLY_BYTES_MIN } else { 0 }
    }

    /// Keeps a reply, in exchange for an empty one.
    fn hold(&mut self, reply: &mut Reply, end: Offset, time: Timestamp, is_drained: bool, resources: &mut Resources) {
        self.discard_held(HELD_REPLIES_MAX - 1, resources);
        let payload_bytes = resources.settings.shown.payload_bytes;
        let Some(handle) = resources.held.take(|| Held::with_room(payload_bytes)) else {
            // The newest are what can be released: without this one those before it are of no use.
            self.discard_held(0, resources);
            resources.counters.count(Counter::DiscardedUnproved);
            return resources.counters.count(Counter::EvictedResyncs);
        };
        let held = resources.held.get_mut(handle);
        std::mem::swap(&mut held.reply, reply);
        (held.end, held.time, held.previous, held.is_drained) = (end, time, self.previous, is_drained);
        let state = resources.resyncs.get_mut(self.resync);
        state.held[state.held_count] = handle;
        state.held_count += 1;
    }

    /// If one candidate is left, or one may be assumed, the pairing is settled; answers whether it is.
    fn prove<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) -> bool {
        let state = resources.resyncs.get(self.resync);
        let candidates = &state.candidates;
        let (only, basis) = (candidates.only().filter(|&(position, _)| position <= self.queue.end()), candidates.basis);
        if let Some((position, proof)) = only
            && basis != Basis::Nothing
            && let Some(sure) = candidates.explained(position)
        {
            let (certainty, proof) = match basis {
                Basis::Assumed(assumed) => (Certainty::Assumed(assumed), assumed),
                _ => (Certainty::Exact, proof),
            };
            self.settle_pairing(position, usize::from(sure), certainty, proof, resources, recorder);
            return true;
        }
        let window = candidates.window(WINDOW_REPLIES).filter(|&position| position <= self.queue.end());
        if let Some(position) = window
            && resources.settings.resync != Resync::Strict
        {
            self.assume(position, Proof::Window, resources, recorder);
            return true;
        }
        false
    }

    /// By an assumption the next reply is for the request at `position`. A candidate that the facts have struck is not assumed.
    pub(super) fn assume<R: Recorder>(
        &mut self,
        position: u64,
        proof: Proof,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if self.resync == NONE {
            self.lose_below(position, resources, recorder);
            resources.counters.count(proof.counter());
            self.certainty = Certainty::Assumed(proof);
            return;
        }
        let state = resources.resyncs.get(self.resync);
        if !state.candidates.has(position) {
            if state.candidates.basis != Basis::Nothing {
                resources.counters.count(Counter::Contradictions);
            }
            return self.restart_pairing(resources, recorder);
        }
        // Counting back goes as far as what is held are replies, and not the content of one whose beginning was hidden.
        let held = &state.held[..state.held_count];
        let is_reply = |handle: &u32| proof == Proof::Window || resources.held.get(*handle).is_drained;
        let replies = held.iter().position(is_reply).map_or(0, |first| held.len() - first);
        self.settle_pairing(position, replies, Certainty::Assumed(proof), proof, resources, recorder);
    }

    /// The next reply is for the request at `position`; so the `sure` newest of those held are for the requests before it, as
    /// far as there is no mark between.
    fn settle_pairing<R: Recorder>(
        &mut self,
        position: u64,
        sure: usize,
        certainty: Certainty,
        proof: Proof,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        resources.counters.count(proof.counter());
        // What is directly behind a mark may have no reply.
        let before = self.queue.iter(&resources.requests).take_while(|&(at, _)| at < position);
        let behind = |(at, request): (u64, &Request)| match request.stretch() {
            Some(stretch) => Some(at + 1 + u64::from(stretch.may_silence())),
            None => self.may_end_content(request).then_some(at + 1),
        };
        let behind_mark = before.filter_map(behind).max().unwrap_or(self.queue.first());
        let between = usize::try_from(position.saturating_sub(behind_mark)).unwrap_or(usize::MAX);
        let released = sure.min(between).min(resources.resyncs.get(self.resync).held_count);
        self.discard_held(released, resources);
        self.lose_below(position - released as u64, resources, recorder);
        self.certainty = certainty;
        let outcome = Outcome::Resynced(proof);
        let last_byte = self.previous;
        for _ in 0..released {
            let Some(handle) = resources.resyncs.get_mut(self.resync).take_oldest() else { break };
            let held = resources.held.get_mut(handle);
            let (reply, end, time) = (std::mem::take(&mut held.reply), held.end, held.time);
            self.previous = held.previous;
            self.pair(&reply, outcome, end, time, resources, recorder);
            resources.held.get_mut(handle).reply = reply;
            resources.held.give_back(handle);
            if self.certainty != certainty {
                // It told that nothing is certain behind it.
                self.previous = last_byte;
                return;
            }
        }
        self.previous = last_byte;
        self.end_resync(resources);
        self.facts.set(Facts::WATCHFUL);
        self.execute_silent(resources, recorder);
    }

    /// Requests that can't be answered by what is held nor by what is to come are lost.
    fn lose_impossible<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        let state = resources.resyncs.get(self.resync);
        let lowest = state.candidates.lowest().saturating_sub(state.held_count as u64);
        self.lose_below(lowest, resources, recorder);
    }

    fn lose_below<R: Recorder>(&mut self, position: u64, resources: &mut Resources, recorder: &mut R) {
        while self.queue.first() < position && !self.queue.is_empty() {
            let outcome = self.lost();
            self.pop(outcome, resources, recorder);
        }
    }

    /// The connection ends while its pairing is open: with `--resync trust` requests and replies that alternated from the
    /// first to the last are taken at their word; otherwise it is counted what that would have paired.
    pub(super) fn end_open<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        if self.resync == NONE {
            return;
        }
        let state = resources.resyncs.get(self.resync);
        let held = state.held_count as u64;
        let alternated =
            held > 0 && !state.interrupted && !self.facts.has(Facts::SKEWED) && state.turns.have_alternated();
        let last = self.queue.end() - u64::from(state.turns.is_waiting());
        if alternated && resources.settings.resync == Resync::Trust {
            self.settle_pairing(
                last,
                held as usize,
                Certainty::Assumed(Proof::Alternation),
                Proof::Alternation,
                resources,
                recorder,
            );
        } else {
            let would = if alternated { held.min(u64::from(self.queue.len())) } else { 0 };
            resources.counters.add(Counter::RequestsAlternating, would);
            self.end_resync(resources);
        }
    }
}

/// How many replies may have begun beneath one that ends at `end`, if that is the content of another, and a length in it leads beyond
/// the end of that. Each of them has a line end; the others are that of the length, and that of a content where it ends in a string.
fn swallowed(reply: &Reply, end: Offset) -> u64 {
    let most = end.distance_from(reply.begin).saturating_sub(LENGTH_BYTES_MIN).div_ceil(REPLY_BYTES_MIN);
    let lines = reply.lines.filter(|_| !reply.gap);
    lines.map_or(most, |lines| most.min(lines.saturating_sub(1 + u64::from(reply.is_string))))
}
