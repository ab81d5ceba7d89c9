//! From complete replies to pairs: which request a reply answers, what it changes, and what else it may be.

use crate::counters::Counter;
use crate::limits::LINKS_TOLD_MAX;
use crate::pool::NONE;
use crate::redis::pairing::{Flags, Outcome};
use crate::redis::redact;
use crate::redis::replication::{Channel, Link, is_deferred, number};
use crate::redis::reply::Reply;
use crate::redis::request::{Confirmed, Request};
use crate::redis::session::{Act, Database, Reading};
use crate::resp::parser::Kind;
use crate::units::{Direction, Offset, Timestamp};

use super::{
    Certainty, Connection, Exhausted, Facts, Framing, LABEL_BYTES_MAX, Labels, Recorder, ReplicationLink, ReplyFacts,
    Resources,
};

/// A simple reply `+QUEUED\r\n`, in bytes.
const QUEUED_BYTES: u64 = 9;

impl Connection {
    /// What the request that waits first does, if it is certain that the next reply is for it.
    pub(super) fn waits_for(&self, resources: &Resources) -> Option<Act> {
        let head = self.queue.head().filter(|_| self.certainty.is_settled())?;
        (!resources.requests.get(head).is_mark()).then(|| resources.act(head))
    }

    /// A reply is complete. It is looked at outside of its place, so that pools can change meanwhile.
    pub(super) fn reply_complete<R: Recorder>(
        &mut self,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let slot = self.unfinished[Direction::Reply as usize];
        let place = if slot == NONE { &mut resources.scratch } else { resources.unfinished.get_mut(slot) };
        let mut reply = resources.stand_in.take().unwrap_or_default();
        std::mem::swap(&mut place.reply, &mut reply);
        let done = self.read_reply(&mut reply, end, time, resources, recorder);
        // A connection that was given up meanwhile has returned its place, and the stand-in with it.
        if slot == NONE {
            std::mem::swap(&mut resources.scratch.reply, &mut reply);
        } else if self.unfinished[Direction::Reply as usize] == slot {
            std::mem::swap(&mut resources.unfinished.get_mut(slot).reply, &mut reply);
        }
        resources.stand_in = Some(reply);
        self.previous = self.previous.max(time);
        done
    }

    fn read_reply<R: Recorder>(
        &mut self,
        reply: &mut Reply,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let Some(kind) = reply.kind else { return Ok(()) };
        let counters = &mut resources.counters;
        counters.add(Counter::Replies, 1 + reply.nested_pushes);
        counters.add(Counter::UnsolicitedPush, reply.nested_pushes);
        if kind == Kind::Push {
            self.session.saw_push();
            self.facts.set(Facts::MAY_PUSH);
        }
        let act = self.waits_for(resources);
        if self.session.is_unasked_monitor_line(reply) && !self.may_answer_anything(resources) {
            // MONITOR by another name.
            self.session.monitors();
        }
        match self.session.reads(act, reply, self.subscriptions(resources)) {
            Reading::Answer if kind != Kind::Push => self.answer(reply, end, time, resources, recorder)?,
            Reading::Confirmation => self.confirmation(reply, end, time, resources, recorder),
            Reading::MonitorLine => resources.counters.count(Counter::UnsolicitedMonitor),
            Reading::Unclear if matches!(self.certainty, Certainty::Assumed(_)) => {
                // A subscription from before the capture: replies and messages can't be told apart by counting.
                self.facts.set(Facts::UNPAIRABLE);
                resources.counters.count(Counter::ConnectionsUnpairable);
                resources.counters.count(Counter::DiscardedUnproved);
                self.contradiction(resources, recorder);
            }
            Reading::Unclear if !self.certainty.is_settled() => {
                resources.counters.count(Counter::DiscardedUnproved);
                self.restart_pairing(resources, recorder);
            }
            Reading::Unclear => self.answer(reply, end, time, resources, recorder)?,
            Reading::Push | Reading::Answer => {
                self.push_while_open(reply, end, resources, recorder);
                resources.counters.count(Counter::UnsolicitedPush);
                self.count_subscriptions(reply, resources);
            }
        }
        Ok(())
    }

    /// Whether the request that waits first is of a command whose replies may be anything.
    fn may_answer_anything(&self, resources: &Resources) -> bool {
        let head = self.queue.head().map(|head| resources.requests.get(head));
        head.is_some_and(|head| head.is_mark() || resources.settings.possible.of(head.command).are_any())
    }

    /// Pairs the reply with the request that it answers.
    fn answer<R: Recorder>(
        &mut self,
        reply: &mut Reply,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let outcome = match self.certainty {
            Certainty::Exact => Outcome::Exact,
            Certainty::Assumed(proof) => Outcome::Resynced(proof),
            Certainty::Open => {
                self.reply_while_open(reply, end, time, resources, recorder);
                return Ok(());
            }
        };
        let Some(head) = self.queue.head() else {
            return self.answer_nothing(reply, outcome, end, time, resources, recorder);
        };
        let request = resources.requests.get(head);
        if request.is_mark() {
            self.open_pairing(resources, recorder);
            self.reply_while_open(reply, end, time, resources, recorder);
        } else if request.end > reply.ack {
            // Row 64: its server had not received the request.
            resources.counters.count(Counter::DiscardedUnproved);
            self.contradiction(resources, recorder);
        } else {
            self.first(reply, outcome, end, time, resources, recorder)?;
        }
        Ok(())
    }

    /// A reply that no request waits for: unsolicited, unless it answers a request that has not ended.
    fn answer_nothing<R: Recorder>(
        &mut self,
        reply: &Reply,
        outcome: Outcome,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        if reply.kind != Some(Kind::Error) || !self.broke_protocol(reply.ack, resources) {
            resources.counters.count(Counter::UnsolicitedNoRequest);
            return Ok(());
        }
        // Row 68: the server gave the request up before it ended.
        self.drop_unfinished(Direction::Request, resources);
        self.framing[Direction::Request as usize] = Framing::Broken;
        resources.requests.get_mut(self.building).add(Flags::MALFORMED);
        let stream = self.stream(Direction::Request);
        let (seen_to, seen_at) = (stream.next(), stream.time());
        self.request_complete(seen_to, seen_at, resources, recorder)?;
        if self.certainty.is_settled() && !self.queue.is_empty() && !self.queue.is_marked() {
            self.pair(reply, outcome, end, time, resources, recorder);
        } else {
            // It was to be silent, or it is not known what it was.
            resources.counters.count(Counter::UnsolicitedNoRequest);
        }
        Ok(())
    }

    /// Whether a request is streaming in that began before what a reply acknowledged.
    fn broke_protocol(&self, ack: Offset, resources: &Resources) -> bool {
        self.building != NONE
            && self.has_unfinished(Direction::Request)
            && ack > resources.requests.get(self.building).begin
    }

    /// The reply is for the first request, unless it can't be.
    fn first<R: Recorder>(
        &mut self,
        reply: &Reply,
        outcome: Outcome,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let Some(head) = self.queue.head() else { return Ok(()) };
        let act = resources.act(head);
        if self.session.contradicts(act, reply) || self.refutes(reply, head, resources) {
            resources.counters.count(Counter::DiscardedUnproved);
            self.contradiction(resources, recorder);
            return Ok(());
        }
        if act == Act::Exec && reply.kind == Some(Kind::Array) && self.is_unreadable(resources) {
            // Where the array ends is not known.
            resources.counters.count(Counter::DiscardedUnproved);
            self.restart_pairing(resources, recorder);
            return Ok(());
        }
        if act == Act::Psync && reply.kind == Some(Kind::Simple) && !is_deferred(reply.text()) {
            self.begin_link(head, reply.text(), time, resources)?;
        }
        self.pair(reply, outcome, end, time, resources, recorder);
        self.execute_silent(resources, recorder);
        Ok(())
    }

    /// Whether a reply is of a kind that the request never has, where its pairing rests on an assumption: then that was wrong.
    #[inline]
    fn refutes(&self, reply: &Reply, head: u32, resources: &Resources) -> bool {
        let is_assumed = matches!(self.certainty, Certainty::Assumed(_)) && !self.facts.has(Facts::ODD_KINDS);
        is_assumed
            && reply.kind.is_some_and(|kind| {
                !resources.settings.possible.of(resources.requests.get(head).command).has(kind) && !reply.is_queued()
            })
    }

    /// As [`Connection::first`], of a reply that has been judged already.
    pub(super) fn pair_first<R: Recorder>(
        &mut self,
        reply: &Reply,
        outcome: Outcome,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        self.pair(reply, outcome, end, time, resources, recorder);
        self.execute_silent(resources, recorder);
    }

    pub(super) fn pair<R: Recorder>(
        &mut self,
        reply: &Reply,
        outcome: Outcome,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        let (Some(head), Some(kind)) = (self.queue.pop(&resources.requests), reply.kind) else { return };
        self.queue.answered(&mut resources.requests);
        let act = resources.act(head);
        resources.counters.count(if act.is_replication() {
            Counter::UnsolicitedReplication
        } else {
            Counter::RepliesPaired
        });
        self.head_at = self.stream(Direction::Reply).time();
        let request = resources.requests.get_mut(head);
        self.habit.paired(request.received, end);
        self.facts
            .set_if(Facts::ODD_KINDS, !resources.settings.possible.of(request.command).has(kind) && !reply.is_queued());
        let set = |is_set: bool, flag: Flags| if is_set { flag.0 } else { 0 };
        request.add(Flags(
            set(reply.gap, Flags::GAP)
                | set(reply.retransmit, Flags::RETRANSMIT)
                | set(request.has_timed_out(), Flags::LATE),
        ));
        if self.session.is_queued(act, reply) && !request.has_timed_out() {
            // Queued commands don't block, whatever they are.
            request.flags = Flags(request.flags.0 & !Flags::BLOCKING.0);
            return self.push_child(head, resources);
        }
        self.left_queue(head, resources);
        let request = resources.requests.get_mut(head);
        let (t3, bytes_before) = request.confirmed().map_or((reply.t3, 0), |confirmed| (confirmed.t3, confirmed.bytes));
        let facts = ReplyFacts {
            kind,
            begin: reply.begin,
            t3,
            t4: time,
            bytes: end.distance_from(reply.begin) + bytes_before,
            error: &reply.error,
            response: if act == Act::Exec && !self.shows_items(resources) { &[] } else { &reply.response },
            nulls: Some(reply.nulls),
        };
        self.decide(head, outcome, Some(&facts), resources, recorder);
        let succeeded = kind != Kind::Error;
        if act != Act::None {
            self.after_answer(head, reply, outcome, time, resources, recorder);
            self.session.answered(act, resources.requests.get(head), succeeded);
            if succeeded {
                self.note_channel(act, head, resources);
                self.label(act, head, resources);
            }
        }
        resources.requests.give_back(head);
    }

    /// What the answer to EXEC and its like means for the commands that were queued.
    fn after_answer<R: Recorder>(
        &mut self,
        head: u32,
        reply: &Reply,
        outcome: Outcome,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        match resources.act(head) {
            Act::Exec if reply.kind == Some(Kind::Array) => {
                self.execute_children(head, reply, outcome, time, resources, recorder);
            }
            Act::Exec => self.discard_children(reply.begin, outcome, resources, recorder),
            Act::Discard | Act::Reset if reply.kind != Some(Kind::Error) => {
                self.discard_children(reply.begin, outcome, resources, recorder);
            }
            _ => {}
        }
    }

    /// A confirmation of the subscription command that waits first: with the last one it is answered.
    fn confirmation<R: Recorder>(
        &mut self,
        reply: &Reply,
        end: Offset,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        let Some(head) = self.queue.head() else { return };
        let outcome = match self.certainty {
            Certainty::Exact => Outcome::Exact,
            Certainty::Assumed(proof) => Outcome::Resynced(proof),
            Certainty::Open => return resources.counters.count(Counter::DiscardedUnproved),
        };
        if resources.requests.get(head).end > reply.ack {
            resources.counters.count(Counter::DiscardedUnproved);
            return self.contradiction(resources, recorder);
        }
        let act = resources.act(head);
        let subscriptions = self.subscriptions(resources);
        let request = resources.requests.get(head);
        if request.confirmed().is_none() {
            let left = self.session.confirmations(act, request, subscriptions).max(1);
            let begun = Confirmed { t3: reply.t3, bytes: 0, left };
            *resources.requests.get_mut(head).confirmed_mut() = Some(begun);
        }
        self.count_subscriptions(reply, resources);
        if let Some(confirmed) = resources.requests.get_mut(head).confirmed_mut()
            && confirmed.left > 1
        {
            confirmed.left -= 1;
            confirmed.bytes += end.distance_from(reply.begin);
            return resources.counters.count(Counter::RepliesPaired);
        }
        self.pair(reply, outcome, end, time, resources, recorder);
        self.execute_silent(resources, recorder);
    }

    /// Commands that are executed without a reply are decided as soon as they are the first.
    #[inline]
    pub(super) fn execute_silent<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) {
        while let Some(head) = self.queue.head() {
            let request = resources.requests.get(head);
            if !self.certainty.is_settled() || request.is_mark() || request.has_timed_out() {
                return;
            }
            let act = resources.settings.acts.of(request.command);
            if self.session.is_due(act, request) {
                return;
            }
            if self.session.hides(act) {
                return self.restart_pairing(resources, recorder);
            }
            let request = resources.requests.get(head);
            self.session.executed_silently(act, request);
            self.head_at = self.head_at.max(request.t2);
            if act == Act::Reset {
                self.forget_channel(resources);
            }
            self.pop(Outcome::NoReply, resources, recorder);
        }
        self.facts.clear(Facts::WATCHFUL);
    }

    /// A request has left the queue, and those that MULTI has queued.
    pub(super) fn left_queue(&mut self, handle: u32, resources: &mut Resources) {
        if self.aside != NONE && resources.act(handle).is_replication() {
            let aside = self.aside_mut(resources);
            aside.internal = aside.internal.saturating_sub(1);
        }
    }

    /// A message about subscriptions.
    fn count_subscriptions(&mut self, reply: &Reply, resources: &mut Resources) {
        let mut subscriptions = self.subscriptions(resources);
        self.session.count_subscriptions(reply, &mut subscriptions);
        self.keep_subscriptions(subscriptions, resources);
    }

    /// Keeps what a command that succeeded said its connection is for.
    fn note_channel(&mut self, act: Act, handle: u32, resources: &mut Resources) {
        match act {
            Act::Replconf => {
                let request = resources.requests.get(handle);
                let said = (0..).map_while(|n| request.note(n)).find_map(Channel::of_option);
                if let Some(said) = said {
                    self.aside_mut(resources).channel = said;
                }
            }
            Act::Reset => self.forget_channel(resources),
            _ => {}
        }
    }

    /// How many items EXEC's array will really have, if that is not what its header says (rows 19 and 21).
    pub(super) fn expected_items(&self, resources: &Resources) -> Option<u64> {
        let (mut session, subscriptions) = (self.session, self.subscriptions(resources));
        let children = self.children(resources);
        let (mut items, mut special, mut next) = (0, false, children.head());
        while let Some(child) = next {
            let act = resources.act(child);
            special |= !act.is_countable();
            items += session.queued_items(act, resources.requests.get(child), subscriptions);
            next = children.after(child, &resources.requests);
        }
        (special && self.session.is_regular()).then_some(items)
    }

    /// Whether the reply to EXEC may be shown: those of all of its commands may.
    fn shows_items(&self, resources: &Resources) -> bool {
        let children = self.children(resources);
        let mut next = children.head();
        while let Some(child) = next {
            if redact::hides_reply(resources.settings.table, resources.requests.get(child).command) {
                return false;
            }
            next = children.after(child, &resources.requests);
        }
        self.session.is_regular()
    }

    /// Whether EXEC's array can't be read: it may have more items or fewer than its header says, and it is not known how many.
    fn is_unreadable(&self, resources: &Resources) -> bool {
        let children = self.children(resources);
        let mut next = children.head();
        while let Some(child) = next
            && !self.session.is_regular()
        {
            if resources.act(child).is_decisive() {
                return true;
            }
            next = children.after(child, &resources.requests);
        }
        false
    }

    /// Gives each queued command its item of EXEC's array.
    fn execute_children<R: Recorder>(
        &mut self,
        exec: u32,
        reply: &Reply,
        outcome: Outcome,
        time: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        let parent = resources.requests.get(exec).index;
        let regular = self.session.is_regular() && !reply.gap;
        let (mut at, mut is_known) = (0, true);
        let (mut session, subscriptions) = (self.session, self.subscriptions(resources));
        while let Some(child) = self.pop_child(resources) {
            self.left_queue(child, resources);
            let act = resources.act(child);
            is_known &= regular || !act.is_decisive();
            let request = resources.requests.get(child);
            let mut items = session.queued_items(act, request, subscriptions);
            if session.is_resp3() && matches!(act, Act::Subscribe(_) | Act::Unsubscribe(_)) {
                // Its items are pushes, which the array does not count but has.
                items = u64::from(session.confirmations(act, request, subscriptions));
            } else {
                // A message that was pushed into the array (servers up to 7.0) is nobody's item.
                while reply.items.get(at).is_some_and(|item| item.kind == Kind::Push) {
                    at += 1;
                }
            }
            let item = reply.items.get(at + (items.max(1) - 1) as usize).filter(|_| items > 0 && regular);
            for item in reply.items.iter().skip(at).take(items as usize).filter(|_| regular) {
                let mut counted = self.subscriptions(resources);
                self.session.count_item(act, item.third_integer, &mut counted);
                self.keep_subscriptions(counted, resources);
            }
            at += items as usize;
            if let Some(item) = item {
                let (t3, t4) = (Timestamp::NONE, time);
                // On the wire it was answered by `+QUEUED`; the bytes of its item are EXEC's.
                let (begin, bytes) = (reply.begin, QUEUED_BYTES);
                let (error, response) = (item.error(), &[][..]);
                let facts = ReplyFacts { kind: item.kind, begin, t3, t4, bytes, error, response, nulls: None };
                self.decide_child(child, outcome, Some(&facts), Some(parent), resources, recorder);
                let succeeded = item.kind != Kind::Error;
                self.session.executed_in_multi(act, resources.requests.get(child), succeeded);
                if succeeded {
                    self.note_channel(act, child, resources);
                    self.label(act, child, resources);
                }
            } else {
                let silent = items == 0 && regular;
                let outcome = if silent { Outcome::NoReply } else { Outcome::Lost };
                self.decide_child(child, outcome, None, Some(parent), resources, recorder);
                if silent {
                    self.session.executed_in_multi(act, resources.requests.get(child), true);
                    self.note_channel(act, child, resources);
                }
                if !silent && act == Act::Select {
                    self.db = Database::UNKNOWN;
                }
            }
            resources.requests.give_back(child);
        }
        if !is_known {
            self.restart_pairing(resources, recorder);
        }
    }

    /// Queued commands that are never executed: `+QUEUED` was all they were answered.
    fn discard_children<R: Recorder>(
        &mut self,
        begin: Offset,
        outcome: Outcome,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        while let Some(child) = self.pop_child(resources) {
            self.left_queue(child, resources);
            resources.requests.get_mut(child).add(Flags::NOT_EXECUTED);
            let (t3, t4) = (Timestamp::NONE, Timestamp::NONE);
            let (kind, bytes, response) = (Kind::Simple, QUEUED_BYTES, &b"QUEUED"[..]);
            let facts = ReplyFacts { kind, begin, t3, t4, bytes, error: &[], response, nulls: None };
            self.decide(child, outcome, Some(&facts), resources, recorder);
            resources.requests.give_back(child);
        }
    }

    /// Queued commands of whose execution nothing will be known.
    pub(super) fn drop_children<R: Recorder>(&mut self, outcome: Outcome, resources: &mut Resources, recorder: &mut R) {
        while let Some(child) = self.pop_child(resources) {
            self.left_queue(child, resources);
            self.decide(child, outcome, None, resources, recorder);
            resources.requests.give_back(child);
        }
    }

    /// Keeps what a command that succeeded said about the client, or the database that it chose.
    fn label(&mut self, act: Act, handle: u32, resources: &mut Resources) {
        let Resources { requests, labels, .. } = resources;
        let request = requests.get(handle);
        match act {
            Act::Select => {
                let number = request.note(0).and_then(number).and_then(|number| u32::try_from(number).ok());
                self.db = number.map_or(Database::UNKNOWN, Database::new);
            }
            Act::Reset => {
                self.db = self.db.number().map_or(Database::UNKNOWN, |_| Database::FIRST);
                if self.labels != NONE {
                    let labels = labels.get_mut(self.labels);
                    labels.name.clear();
                    labels.user.clear();
                }
            }
            Act::Hello | Act::Auth | Act::SetName | Act::SetInfo => {
                if self.labels == NONE {
                    // Without room the connection goes without labels.
                    let Some(handle) = labels.take(Labels::with_room) else { return };
                    self.labels = handle;
                    labels.get_mut(handle).clear();
                }
                labels.get_mut(self.labels).learn(act, request);
            }
            _ => {}
        }
    }

    /// The primary's side takes bytes that are no replies: all of a link, and before it the newlines that keep it alive.
    pub(super) fn link_bytes(
        &mut self,
        bytes: &[u8],
        at: Timestamp,
        resources: &mut Resources,
    ) -> Result<usize, Exhausted> {
        if self.aside(resources).link == NONE {
            let newlines = bytes.iter().take_while(|&&byte| byte == b'\n').count();
            let is_sync = self.waits_for(resources) == Some(Act::Sync);
            if newlines == bytes.len() || !(is_sync && bytes[newlines] == b'$') {
                return Ok(newlines);
            }
            // SYNC is answered by the snapshot itself.
            if let Some(head) = self.queue.pop(&resources.requests) {
                self.left_queue(head, resources);
                let begun = self.begin_link(head, b"", at, resources);
                resources.requests.give_back(head);
                begun?;
            }
        }
        let link = self.aside(resources).link;
        resources.links.get_mut(link).feed(bytes, at);
        Ok(bytes.len())
    }

    fn begin_link(
        &mut self,
        request: u32,
        answer: &[u8],
        at: Timestamp,
        resources: &mut Resources,
    ) -> Result<(), Exhausted> {
        let asked = resources.requests.get(request).note(1).and_then(number);
        let link = resources.links.take(Link::default).ok_or(Exhausted(Counter::EvictedMessages))?;
        let aside = self.aside_mut(resources);
        aside.link = link;
        let channel = aside.channel;
        resources.links.get_mut(link).begin(answer, asked, channel, at);
        resources.counters.count(Counter::ConnectionsReplication);
        Ok(())
    }

    /// What a replica sends over its link: acknowledgements, and nothing that is answered.
    pub(super) fn link_request(&mut self, handle: u32, act: Act, resources: &mut Resources) {
        let request = resources.requests.get(handle);
        let acknowledges =
            act == Act::Replconf && request.note(0).is_some_and(|word| word.eq_ignore_ascii_case(b"ACK"));
        if acknowledges && let Some(offset) = request.note(1).and_then(number) {
            let at = if request.t2.is_known() { request.t2 } else { self.last_at };
            let link = self.aside(resources).link;
            resources.links.get_mut(link).acknowledged(offset, at);
        }
        resources.requests.give_back(handle);
    }

    /// The link ends with its connection: what is known of it is kept to be told.
    pub(super) fn end_link(&mut self, resources: &mut Resources) {
        let handle = self.aside(resources).link;
        if handle == NONE {
            return;
        }
        self.aside_mut(resources).link = NONE;
        let link = resources.links.get_mut(handle);
        link.end();
        if resources.replication.len() < LINKS_TOLD_MAX {
            resources.replication.push(ReplicationLink { identity: self.identity, facts: link.facts });
        }
        resources.links.give_back(handle);
    }
}

impl Labels {
    fn with_room() -> Labels {
        let room = || Vec::with_capacity(LABEL_BYTES_MAX);
        Labels { name: room(), user: room(), library: room(), version: room() }
    }

    fn clear(&mut self) {
        self.name.clear();
        self.user.clear();
        self.library.clear();
        self.version.clear();
    }

    fn learn(&mut self, act: Act, request: &Request) {
        match act {
            Act::SetName => set(&mut self.name, request.note(0).unwrap_or_default()),
            Act::SetInfo => {
                let value = request.note(1).unwrap_or_default();
                match request.note(0).unwrap_or_default() {
                    word if word.eq_ignore_ascii_case(b"LIB-NAME") => set(&mut self.library, value),
                    word if word.eq_ignore_ascii_case(b"LIB-VER") => set(&mut self.version, value),
                    _ => {}
                }
            }
            _ => {
                if let Some(user) = request.noted_user() {
                    set(&mut self.user, user);
                }
                if let Some(name) = request.noted_name() {
                    set(&mut self.name, name);
                }
            }
        }
    }

    /// The library's name and version, with a space between; empty if it said neither.
    pub fn library_and_version(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.library);
        if !self.library.is_empty() && !self.version.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(&self.version);
    }
}

fn set(label: &mut Vec<u8>, text: &[u8]) {
    label.clear();
    label.extend_from_slice(&text[..text.len().min(LABEL_BYTES_MAX)]);
}
