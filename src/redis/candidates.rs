//! Which request the next reply may answer, while something is hidden: the set of candidates.
//!
//! A candidate is a position in the [queue](super::queue): the element that the next reply answers. While nothing is hidden
//! there is one, the first request. A reply moves every candidate on by one; a stretch of the reply stream that may hide
//! `a` to `b` replies moves each by every number between; a mark in the queue, which may hide requests, takes any number of
//! replies up to what its bytes can hold, also none. What a fact contradicts is struck:
//!
//! * a request that the reply's segment does not acknowledge can't be answered by it, nor by one before it;
//! * nor can a request that was not sent yet (all that is acknowledged has been seen, or is a mark by now);
//! * a reply of a kind that the command never has (and `+QUEUED` to what MULTI never queues) can't be its answer.
//!
//! **Why a proof is one.** Let the true answer of each reply be given. By the facts that PAIRING.md lists (first in, first
//! out; one reply a request; a stretch holds as many requests or replies as its bytes allow) the truth is among the
//! candidates at the beginning. Each step keeps it there: it moves as the server answered, and nothing true contradicts a
//! fact. What is kept is never less than that: where bounds are merged (the numbers of replies that a mark has taken, the
//! costs of ways through a stretch) the hull of all is kept. So when one candidate is left, it is the truth, whatever was
//! seen; and of the replies since the last stretch or mark those that all its pasts have in common are known as well
//! ([`Candidates::explained`]). They alone are released.
//!
//! Three things could make the first candidates wrong, and are excluded by the caller: commands that do not have one reply
//! each (`Act::is_countable`; a mark that can hold CLIENT REPLY SKIP lets the request behind it go unanswered), a server
//! whose replies are not of the usual kinds, and framing. Where the framing of a stream was found again by its looks,
//! messages may be the content of a bulk string; so a candidate must have earned points ([`Candidates::explained`]) since. Until it
//! has, a reply may be content, and moves nobody; and a length in a content may lead beyond the end of that: then replies have
//! begun beneath what was seen, as many as it has lines ([`Seen::swallowed`]), and nobody counts back to what was before.
//! Where it were requests, the last of them may have taken the reply to the request whose content they were: behind what no client
//! sends between two, and what is behind a content, the caller releases nothing from before it.
//!
//! A set that would grow beyond [`CANDIDATES_MAX`], or begins where nothing bounds what was outstanding, has no
//! certain [`Basis`]: it never proves anything, but may be assumed from.

use crate::limits::{CANDIDATES_MAX, EARLIER_REQUESTS_MAX, HELD_REPLIES_MAX};
use crate::units::Offset;

use super::command::CommandId;
use super::outline::{Line, Outline};
use super::pairing::Proof;
use super::queue::Queue;
use super::requests::Requests;

/// What the set rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// Facts since the beginning of the connection.
    Certain,
    /// An assumption that was made before.
    Assumed(Proof),
    /// Nothing: a beginning in the middle, or a contradiction.
    Nothing,
}

/// Whether a request may be answered by a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Yes, which is worth so many points: how unlikely that would be, were it not the answer.
    Possible(u8),
    /// Its command never has such a reply.
    Impossible,
}

/// A reply that was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What its first segment acknowledges of the requests.
    pub acknowledged: Offset,
    /// It is certainly a reply, and no content of one.
    pub is_anchored: bool,
    /// If it may be content, so many replies may be beneath it: a length in a content may lead beyond the end of that.
    pub swallowed: u64,
    /// What was acknowledged when its last byte came.
    pub swallowed_to: Offset,
}

/// What may have been hidden directly before a candidate.
#[derive(Clone, Copy, Debug)]
pub enum Hidden {
    /// No reply; but there may have been pushes.
    NoReply,
    /// A reply to this request.
    Answer(CommandId),
    /// A reply to a request that is not known.
    Unknown,
}

/// What a candidate must explain behind a mark: the requests behind it may be the content of a value whose beginning was
/// hidden.
const DOUBT_REQUESTS: u8 = 6;

/// Once a candidate has explained so much, what follows is taken for replies, and not for the content of one.
const DOUBT_LINGERS: u8 = 4;

/// Candidates that must have failed by the kinds of replies for `window`: where all requests are of one kind it says nothing.
const WINDOW_STRUCK_MIN: u16 = 4;

/// Places for which there is room from the beginning: those of a connection whose beginning was not seen.
const ROOM: usize = EARLIER_REQUESTS_MAX as usize + HELD_REPLIES_MAX;

/// Marks for which there is room from the beginning.
const MARKS: usize = 16;

/// Bytes that a set may come to need.
pub const CANDIDATES_BYTES_MAX: usize =
    size_of::<Candidate>() * (CANDIDATES_MAX as usize + 1) + Outline::bytes(EARLIER_REQUESTS_MAX as usize);

/// How many replies a mark has taken, for the candidate that is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Taken {
    position: u64,
    least: u64,
    most: u64,
}

/// A mark of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    position: u64,
    may_silence: bool,
}

/// One candidate's past, since the last stretch or mark. Where two pasts lead to one place, they share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Candidate {
    /// 1 + its age, the number of replies that it has explained (the longer past's); 0: no candidate.
    alive: u16,
    /// So many of the newest replies it has certainly explained (the shorter past's).
    sure: u8,
    /// What the replies that it explained were worth (the better past).
    points: u8,
    /// What they must be worth to be believed.
    needed: u8,
    /// What it takes for replies may be the content of one whose beginning was hidden.
    in_doubt: bool,
    /// And so may what it takes for requests.
    requests_in_doubt: bool,
}

impl Candidate {
    /// One that begins, behind a hidden reply if it must explain something.
    fn fresh(needed: u8) -> Candidate {
        Candidate { alive: 1, sure: 0, points: 0, needed, in_doubt: needed > 0, requests_in_doubt: false }
    }

    /// What it has yet to earn.
    fn owed(self) -> u8 {
        if self.points < self.needed { self.needed } else { 0 }
    }

    /// The same in a mark: it keeps its age, but what it has explained was before.
    fn in_mark(self) -> Candidate {
        let needed = self.owed().max(DOUBT_REQUESTS);
        Candidate { alive: self.alive, sure: 0, points: 0, needed, in_doubt: self.in_doubt, requests_in_doubt: true }
    }

    fn explained(self, worth: u8, is_anchored: bool) -> Candidate {
        let points = self.points.saturating_add(worth);
        Candidate {
            alive: self.alive.saturating_add(1),
            sure: self.sure.saturating_add(1),
            points,
            needed: self.needed,
            in_doubt: self.in_doubt && !is_anchored && points < self.needed,
            requests_in_doubt: self.requests_in_doubt && points < self.needed,
        }
    }

    fn join(&mut self, other: Candidate) {
        *self = if self.alive == 0 {
            other
        } else {
            Candidate {
                alive: self.alive.max(other.alive),
                sure: self.sure.min(other.sure),
                points: self.points.max(other.points),
                needed: self.needed.max(other.needed),
                in_doubt: self.in_doubt || other.in_doubt,
                requests_in_doubt: self.requests_in_doubt || other.requests_in_doubt,
            }
        };
    }
}

/// Candidates at consecutive positions, from `base` on.
#[derive(Debug, Default)]
struct Places {
    base: u64,
    of: Vec<Candidate>,
    taken: Vec<Taken>,
    /// One did not fit.
    overflows: bool,
}

impl Places {
    /// With room for what is usual.
    fn with_room() -> Places {
        Places { of: Vec::with_capacity(ROOM), taken: Vec::with_capacity(MARKS), ..Places::default() }
    }

    fn clear(&mut self, base: u64) {
        self.base = base;
        self.of.clear();
        self.taken.clear();
        self.overflows = false;
    }

    fn get(&self, position: u64) -> Option<Candidate> {
        let index = usize::try_from(position.checked_sub(self.base)?).ok()?;
        self.of.get(index).copied().filter(|candidate| candidate.alive > 0)
    }

    fn taken(&self, position: u64) -> Option<Taken> {
        self.taken.iter().copied().find(|taken| taken.position == position)
    }

    fn put(&mut self, position: u64, candidate: Candidate) {
        let index = position.saturating_sub(self.base);
        if index > CANDIDATES_MAX {
            self.overflows = true;
            return;
        }
        let index = index as usize;
        if self.of.len() <= index {
            self.of.resize(index + 1, Candidate::default());
        }
        self.of[index].join(candidate);
    }

    /// A candidate comes to a position; from a mark it may go on at once.
    fn enter(&mut self, position: u64, candidate: Candidate, marks: &[Mark]) {
        let is_behind = marks.last().is_none_or(|last| position > last.position);
        match marks.iter().find(|mark| !is_behind && mark.position == position) {
            Some(mark) => self.stay(Taken { position, least: 0, most: 0 }, candidate, mark.may_silence, marks),
            None => self.put(position, candidate),
        }
    }

    /// A candidate is in a mark, and so it is also behind it; and if the mark may hold what silences a command, behind the
    /// next request as well.
    fn stay(&mut self, taken: Taken, candidate: Candidate, may_silence: bool, marks: &[Mark]) {
        let candidate = candidate.in_mark();
        self.put(taken.position, candidate);
        match self.taken.iter_mut().find(|other| other.position == taken.position) {
            Some(other) => {
                other.least = other.least.min(taken.least);
                other.most = other.most.max(taken.most);
            }
            None => self.taken.push(taken),
        }
        self.enter(taken.position + 1, candidate, marks);
        if may_silence {
            self.enter(taken.position + 2, candidate, marks);
        }
    }

    /// A candidate for which what was seen is no reply stays where it is.
    fn linger(&mut self, position: u64, candidate: Candidate, taken: Option<Taken>, marks: &[Mark]) {
        let Candidate { requests_in_doubt, .. } = candidate;
        let candidate = Candidate { in_doubt: true, requests_in_doubt, ..Candidate::fresh(candidate.owed()) };
        match (taken, marks.iter().find(|mark| mark.position == position)) {
            (Some(taken), Some(mark)) => self.stay(taken, candidate, mark.may_silence, marks),
            _ => self.put(position, candidate),
        }
    }

    /// Whether what was seen are replies: something explains so much of it.
    fn are_shown(&self) -> bool {
        self.of.iter().any(|candidate| candidate.points >= DOUBT_LINGERS)
    }

    fn trim(&mut self) {
        let dead = self.of.iter().take_while(|candidate| candidate.alive == 0).count();
        self.of.drain(..dead);
        self.base += dead as u64;
    }
}

/// Where the next set is made, of whichever connection.
#[derive(Debug)]
pub struct Scratch(Places);

impl Default for Scratch {
    fn default() -> Self {
        Scratch(Places::with_room())
    }
}

/// The set.
#[derive(Debug)]
pub struct Candidates {
    /// What it rests on.
    pub basis: Basis,
    now: Places,
    marks: Vec<Mark>,
    outline: Outline,
    /// So many were struck because of their kind, since the set began.
    struck_by_kind: u16,
    /// The highest age that something struck had reached.
    struck_age: u16,
}

impl Default for Candidates {
    fn default() -> Self {
        Candidates::new()
    }
}

impl Candidates {
    /// An empty one, to be begun.
    pub fn new() -> Candidates {
        Candidates {
            basis: Basis::Nothing,
            now: Places::with_room(),
            marks: Vec::with_capacity(MARKS),
            outline: Outline::with_room(EARLIER_REQUESTS_MAX as usize),
            struck_by_kind: 0,
            struck_age: 0,
        }
    }

    /// Begins with one candidate: the first of the queue.
    pub fn begin(&mut self, basis: Basis, queue: &Queue, pool: &Requests) {
        self.basis = basis;
        self.struck_by_kind = 0;
        self.struck_age = 0;
        self.outline.clear();
        self.read_marks(queue, pool);
        self.now.clear(queue.first());
        self.now.enter(queue.first(), Candidate::fresh(0), &self.marks);
        self.now.trim();
    }

    /// A mark was put at the end of the queue, or the one there grew: what was there may be in it or behind it.
    pub fn marked(&mut self, queue: &Queue, pool: &Requests) {
        self.read_marks(queue, pool);
        let position = queue.end().saturating_sub(1);
        if let (Some(candidate), Some(mark)) = (self.now.get(position), self.marks.last().copied()) {
            let taken = self.now.taken(position).unwrap_or(Taken { position, least: 0, most: 0 });
            self.now.stay(taken, candidate, mark.may_silence, &self.marks);
        }
    }

    fn read_marks(&mut self, queue: &Queue, pool: &Requests) {
        self.outline.follow(queue, pool);
        self.marks.clear();
        self.marks.extend(self.outline.from(0, queue, pool).filter_map(|(position, line)| {
            Outline::stretch(&line, pool).map(|stretch| Mark { position, may_silence: stretch.may_silence() })
        }));
    }

    /// A reply was seen. `judge` says what a request's command lets it be, and is given the request before it as well.
    pub fn reply(
        &mut self,
        seen: &Seen,
        queue: &Queue,
        pool: &Requests,
        Scratch(next): &mut Scratch,
        mut judge: impl FnMut(&Line, Option<&Line>) -> Verdict,
    ) {
        let &Seen { acknowledged, is_anchored, swallowed, swallowed_to } = seen;
        self.outline.follow(queue, pool);
        next.clear(self.now.base);
        let are_shown = is_anchored || self.now.are_shown();
        let lingers = |candidate: Candidate| candidate.in_doubt && !are_shown;
        let owed = self.now.of.iter().filter(|&&candidate| lingers(candidate)).map(|candidate| candidate.owed()).max();
        if let Some(owed) = owed.filter(|_| swallowed > 0) {
            self.spread((0, swallowed), swallowed_to, (queue, pool), next, lingers, |_, _| owed);
        }
        let Candidates { now, marks, outline, struck_by_kind, .. } = self;
        let mut struck_age = self.struck_age;
        let mut strike = |candidate: Candidate| struck_age = struck_age.max(candidate.alive - 1);
        let mut last: Option<Line> = None;
        for (position, line) in outline.from(now.base.saturating_sub(1), queue, pool) {
            let before = last.replace(line);
            if position >= now.base + now.of.len() as u64 {
                break;
            }
            let Some(candidate) = now.get(position) else { continue };
            if lingers(candidate) {
                next.linger(position, candidate, now.taken(position), marks);
            }
            if let Some(stretch) = Outline::stretch(&line, pool) {
                let Some(taken) = now.taken(position) else { continue };
                let most = (taken.most + 1).min(stretch.replies_max(acknowledged));
                if taken.least < most {
                    let taken = Taken { position, least: taken.least + 1, most };
                    next.stay(taken, candidate, stretch.may_silence(), marks);
                }
            } else if line.end > acknowledged {
                strike(candidate);
            } else if let Verdict::Possible(points) = judge(&line, before.as_ref()) {
                next.enter(position + 1, candidate.explained(points, is_anchored), marks);
            } else {
                *struck_by_kind = struck_by_kind.saturating_add(1);
                strike(candidate);
            }
        }
        if let Some(candidate) = now.get(queue.end()) {
            if lingers(candidate) {
                next.linger(queue.end(), candidate, None, marks);
            }
            strike(candidate);
        }
        self.struck_age = struck_age;
        self.take(next);
    }

    /// A request was put at the end of the queue; it is read now, while it is at hand.
    pub fn follow(&mut self, queue: &Queue, pool: &Requests) {
        self.outline.follow(queue, pool);
    }

    /// What the client had received when it sent the newest requests that end at or before `acknowledged`, and where the first
    /// of those is ([`Queue::newest`]).
    pub fn newest(&mut self, acknowledged: Offset, queue: &Queue, pool: &Requests) -> Option<(Offset, u64)> {
        self.outline.follow(queue, pool);
        self.outline.newest(acknowledged, queue, pool)
    }

    /// Whether any candidate could be answered by a reply whose segment acknowledges so much.
    pub fn can_take(&self, acknowledged: Offset, queue: &Queue, pool: &Requests) -> bool {
        queue.iter(pool).any(|(position, request)| {
            self.now.get(position).is_some()
                && match request.stretch() {
                    Some(stretch) => {
                        self.now.taken(position).is_some_and(|taken| taken.least < stretch.replies_max(acknowledged))
                    }
                    None => request.end <= acknowledged,
                }
        })
    }

    /// Between `fewest` and `most` replies were hidden; the segment behind them acknowledges `acknowledged`. `doubt`: how much
    /// a candidate must explain if this was hidden before it. Where what was seen may be content, so may be what was hidden.
    pub fn hide(
        &mut self,
        (fewest, most): (u64, u64),
        acknowledged: Offset,
        queue: &Queue,
        pool: &Requests,
        Scratch(next): &mut Scratch,
        doubt: impl Fn(Hidden) -> u8,
    ) {
        next.clear(self.now.base);
        self.struck_age = 0;
        self.outline.follow(queue, pool);
        let are_shown = self.now.are_shown();
        for (position, candidate) in (self.now.base..).zip(&self.now.of) {
            if candidate.alive > 0 && candidate.in_doubt && !are_shown {
                next.linger(position, *candidate, self.now.taken(position), &self.marks);
            }
        }
        let needed = |position, before| self.needed(position, before, &doubt);
        self.spread((fewest, most), acknowledged, (queue, pool), next, |_| true, needed);
        self.take(next);
    }

    /// From those of the candidates that are chosen, `fewest` to `most` replies move on, over what ends before `acknowledged`.
    /// `needed`: what one must explain that comes to a position, behind an element.
    fn spread(
        &self,
        (fewest, most): (u64, u64),
        acknowledged: Offset,
        (queue, pool): (&Queue, &Requests),
        next: &mut Places,
        is_chosen: impl Fn(Candidate) -> bool,
        needed: impl Fn(u64, Option<Line>) -> u8,
    ) {
        let chosen = |position: u64| self.now.get(position).filter(|&candidate| is_chosen(candidate));
        let reaches = |(least, greatest): (u64, u64)| least <= most && greatest >= fewest;
        // The replies that it takes to come to a position from a candidate: the hull of all ways. And from a mark that may
        // silence what is behind it, to the position after that.
        let mut cost: Option<(u64, u64)> = None;
        let mut jump: Option<(u64, (u64, u64))> = None;
        let mut is_open = true;
        let mut before = None;
        // What was hidden clears no doubt of the requests before it.
        let mut requests_in_doubt = false;
        let fresh = |needed: u8, requests_in_doubt: bool| {
            let needed = if requests_in_doubt { needed.max(DOUBT_REQUESTS) } else { needed };
            Candidate { requests_in_doubt, ..Candidate::fresh(needed) }
        };
        for (position, line) in self.outline.from(0, queue, pool) {
            let needed = needed(position, before.replace(line));
            requests_in_doubt |= chosen(position).is_some_and(|candidate| candidate.requests_in_doubt);
            let arrives = cost.is_some();
            cost = hull(cost, chosen(position).map(|_| (0, 0)));
            if jump.is_some_and(|(at, _)| at == position) {
                cost = hull(cost, jump.take().map(|(_, cost)| cost));
            }
            let Some((least, greatest)) = cost else { continue };
            if let Some(stretch) = Outline::stretch(&line, pool) {
                let was = self.now.taken(position);
                let capacity = stretch.replies_max(acknowledged);
                let taken_least = was.filter(|_| !arrives).map_or(0, |was| was.least);
                let taken = Taken {
                    position,
                    least: taken_least + fewest.saturating_sub(greatest),
                    most: (was.map_or(0, |was| was.most) + most.saturating_sub(least)).min(capacity),
                };
                if least <= most && taken.least <= taken.most {
                    next.stay(taken, fresh(needed, requests_in_doubt), stretch.may_silence(), &self.marks);
                }
                let behind = (least, greatest + capacity.saturating_sub(taken_least));
                cost = Some(behind);
                jump = stretch.may_silence().then_some((position + 2, behind));
                continue;
            }
            if reaches((least, greatest)) {
                next.enter(position, fresh(needed, requests_in_doubt), &self.marks);
            }
            if line.end > acknowledged {
                is_open = false;
                break;
            }
            cost = (least < most).then_some((least + 1, greatest + 1));
        }
        if is_open {
            // The place of the next request is one as well.
            cost = hull(cost, chosen(queue.end()).map(|_| (0, 0)));
            cost = hull(cost, jump.filter(|(at, _)| *at == queue.end()).map(|(_, cost)| cost));
            if cost.is_some_and(reaches) {
                let needed = needed(queue.end(), before);
                let requests_in_doubt = self.now.of.iter().any(|candidate| candidate.requests_in_doubt);
                next.enter(queue.end(), fresh(needed, requests_in_doubt), &self.marks);
            }
        }
    }

    /// What a candidate must explain behind a hidden reply to the request `before` it, or to what was hidden before.
    fn needed(&self, position: u64, before: Option<Line>, doubt: &impl Fn(Hidden) -> u8) -> u8 {
        let owed = self.now.get(position).map(Candidate::owed);
        let hidden = match (before, owed) {
            (None, Some(_)) => Hidden::NoReply,
            (Some(before), _) if !before.is_mark => Hidden::Answer(before.command),
            _ => Hidden::Unknown,
        };
        doubt(hidden).max(owed.unwrap_or(0))
    }

    /// The next set becomes this one.
    fn take(&mut self, next: &mut Places) {
        std::mem::swap(&mut self.now, next);
        self.now.trim();
    }

    /// Whether nothing is possible any more: a fact was wrong.
    pub fn is_empty(&self) -> bool {
        self.now.of.is_empty()
    }

    /// Whether what is taken for replies may be the content of one whose beginning was hidden.
    pub fn are_in_doubt(&self) -> bool {
        self.now.of.iter().any(|candidate| candidate.alive > 0 && candidate.in_doubt) && !self.now.are_shown()
    }

    /// Whether there are more than are followed up.
    pub fn overflows(&self) -> bool {
        self.now.overflows
    }

    /// The lowest candidate.
    pub fn lowest(&self) -> u64 {
        self.now.base
    }

    /// The one candidate that is left, if it is a request's place: its position, and by which argument.
    pub fn only(&self) -> Option<(u64, Proof)> {
        let is_one = self.now.of.len() == 1 && self.now.taken.is_empty() && !self.now.overflows;
        is_one.then_some((self.now.base, if self.struck_by_kind > 0 { Proof::Eliminated } else { Proof::Counted }))
    }

    /// Whether a position is among them.
    pub fn has(&self, position: u64) -> bool {
        self.now.get(position).is_some()
    }

    /// How many of the newest replies a candidate has certainly explained; `None` if that does not yet convince.
    pub fn explained(&self, position: u64) -> Option<u8> {
        self.now.get(position).filter(|candidate| candidate.points >= candidate.needed).map(|candidate| candidate.sure)
    }

    /// The candidate that has explained many replies where all others that were tried failed early, or began late: the
    /// assumption `window`.
    pub fn window(&self, age_min: u16) -> Option<u64> {
        let mut best: Option<(u64, u16)> = None;
        let mut second = self.struck_age;
        for (position, candidate) in (self.now.base..).zip(&self.now.of) {
            let age = candidate.alive.saturating_sub(1);
            match best {
                Some((_, most)) if age <= most => second = second.max(age),
                _ => {
                    second = second.max(best.map_or(0, |(_, most)| most));
                    best = Some((position, age));
                }
            }
        }
        best.filter(|&(_, age)| age >= age_min && second <= age / 3 && self.struck_by_kind >= WINDOW_STRUCK_MIN)
            .map(|(position, _)| position)
    }
}

fn hull(one: Option<(u64, u64)>, other: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match (one, other) {
        (Some((least, greatest)), Some((a, b))) => Some((least.min(a), greatest.max(b))),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
