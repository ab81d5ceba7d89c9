//! A worker's records: decided requests that pass the filter, put together in a batch for the writer.

use crate::connection::{Exchange, Identity, Labels, ReplyFacts};
use crate::counters::{Counter, Counters};
use crate::record::filter::{Candidate, Filter};
use crate::record::histograms::ErrorCode;
use crate::record::transaction::{Introduction, Rare, RecordBatch, Times, Transaction};
use crate::redis::arguments::{self, Argument, BRIEF_BYTES, Brief, ENTRY_HEADER_BYTES, KeyPlace, Listed, Payload};
use crate::redis::command::CommandTable;
use crate::redis::redact;
use crate::redis::request::Request;
use crate::resp::parser::Kind;
use crate::units::{Conversation, Timestamp};

/// What is emitted.
#[derive(Debug)]
pub struct Emission {
    /// There are sinks.
    pub emits: bool,
    /// Which transactions they get.
    pub filter: Filter,
    /// What of each is shown.
    pub payload: Payload,
    /// The traffic is live: what the sinks are too slow for is dropped. A file is read more slowly.
    pub is_live: bool,
    /// New connections are made known to the writer before they have records, so that it can find out about them while they live.
    pub introduces: bool,
}

/// A worker's records.
#[derive(Debug)]
pub(super) struct Records {
    table: &'static CommandTable,
    /// What is emitted.
    pub(super) emission: Emission,
    /// Those that the writer does not have yet.
    pub(super) batch: Box<RecordBatch>,
    /// Which usual requests are emitted.
    pub(super) usual: Usual,
    /// What is known of a record's client, while it is put together.
    client: Vec<u8>,
}

/// Which usual requests are emitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Usual {
    /// None: there are no sinks.
    Nothing,
    /// There is nothing to decide: all are, and their keys shown.
    All,
    /// It is to be decided, or what is shown of them.
    Some,
}

impl Records {
    pub(super) fn new(table: &'static CommandTable, emission: Emission) -> Records {
        let usual = match &emission {
            Emission { emits: false, .. } => Usual::Nothing,
            Emission { payload: Payload::Keys, filter, .. } if filter.is_open() => Usual::All,
            _ => Usual::Some,
        };
        Records { table, emission, batch: Box::default(), usual, client: Vec::new() }
    }

    /// A connection is new.
    pub(super) fn introduce(&mut self, identity: &Identity) {
        if self.emission.introduces {
            let Conversation { id: connection, client, server, .. } = identity.conversation;
            self.batch.introduced.push(Introduction { connection, client, server });
        }
    }

    /// A request's fate is decided, of which [`Usual::All`] are emitted. If it is short and of the usual form, and the batch has room, it
    /// is appended there; else the answer is `false`, and [`Records::emit`] does what there is to do.
    #[inline(always)]
    pub(super) fn emit_usual(
        &mut self,
        exchange: &Exchange<'_>,
        reply: &ReplyFacts<'_>,
        times: Times,
        request_bytes: u64,
        brief: Option<&Brief<BRIEF_BYTES>>,
    ) -> bool {
        let request = exchange.request;
        // Looked at before anything is written, so that all that is known goes from where it is into the record. What is brief is of
        // a command that is known.
        if !exchange.has_labels()
            && exchange.parent.is_none()
            && let Some(brief) = brief
        {
            let Some((place, texts)) = self.batch.place() else { return false };
            // Its times are known, and so is when it ended.
            let ended = Timestamp(request.t2.0.wrapping_add(times.latency()));
            debug_assert_eq!(ended, reply.t4.max(request.t2));
            let has = Words { args: brief.args(), keys: 1, key: brief.key_place() };
            fill(place, exchange, Some(reply), Some(times), request_bytes, ended, &has);
            texts.list(Listed::Brief(brief), place);
            return true;
        }
        false
    }

    /// A request's fate is decided: if it passes the filter, it is appended to the batch. Answers `false` if that has to be sent
    /// first.
    #[inline(never)]
    pub(super) fn emit(
        &mut self,
        exchange: &Exchange<'_>,
        times: Option<Times>,
        error: Option<&ErrorCode>,
        counters: &mut Counters,
    ) -> bool {
        if !self.emission.filter.is_open() && !self.passes(exchange, times, error.is_some()) {
            counters.count(Counter::RecordsFiltered);
            return true;
        }
        let Exchange { request, reply, .. } = *exchange;
        let may_show = self.emission.payload != Payload::None && may_show(request, reply.is_some(), error);
        let kept;
        let (arguments, key) = match request.not_so_brief() {
            Some(longer) if may_show => (Listed::Longer(longer), longer.key_place()),
            _ => {
                kept = request.arguments();
                (Listed::Any(if may_show { &kept } else { &[] }), KeyPlace::default())
            }
        };
        let ended = reply.map_or(request.t2, |facts| facts.t4.max(request.t2));
        let end = if ended.is_known() { ended } else { request.t1 };
        self.batch.make_places();
        let Some((place, texts)) = self.batch.place() else { return false };
        let has = Words { args: request.args(), keys: request.keys(), key };
        fill(place, exchange, reply, times, request.bytes(), end, &has);
        texts.list(arguments, place);
        let script = request.noted_script().filter(|_| may_show);
        self.append_rare(exchange, error, script);
        true
    }

    /// Whether the filter lets it pass.
    fn passes(&self, exchange: &Exchange<'_>, times: Option<Times>, is_error: bool) -> bool {
        let request = exchange.request;
        let arguments = request.arguments();
        let name = arguments::iter(&arguments).find_map(|argument| match argument {
            Argument::Word(word) => Some(word),
            _ => None,
        });
        self.emission.filter.passes(&Candidate {
            command: request.command,
            name: name.unwrap_or_default(),
            connection: exchange.identity.conversation.id,
            client: exchange.identity.conversation.client,
            server: exchange.identity.conversation.server,
            latency: times.map(|times| times.latency()),
            is_error,
            first_key: arguments::first_key(&arguments),
        })
    }

    /// What the last record has that few have.
    fn append_rare(&mut self, exchange: &Exchange<'_>, error: Option<&ErrorCode>, script: Option<&[u8]>) {
        let Exchange { request, reply, .. } = *exchange;
        let shows_reply = self.emission.payload == Payload::Full
            && !redact::hides_reply(self.table, request.command)
            && !reply.is_some_and(is_foreign);
        let code = error.copied().unwrap_or_default();
        self.client.clear();
        if let Some(labels) = exchange.labels() {
            describe_client(labels, &mut self.client);
        }
        let redirect = reply.filter(|_| error.is_some_and(ErrorCode::is_redirect));
        let rare = Rare {
            parent: exchange.parent,
            redirect: redirect.map_or(&[], |reply| redirect_target(reply.error)),
            client: &self.client,
            script: script.unwrap_or_default(),
            error: match reply {
                Some(reply) if error.is_some() && shows_reply => redact::error_text(reply.error),
                _ => code.as_str().as_bytes(),
            },
            response: reply.filter(|_| shows_reply && error.is_none()).map_or(&[], |reply| reply.response),
        };
        if rare != Rare::default() {
            self.batch.add(rare);
        }
    }
}

/// Whether a request's arguments and the name of its command may be shown, as far as they were kept.
pub(super) fn may_show(request: &Request, is_answered: bool, error: Option<&ErrorCode>) -> bool {
    request.command.is_known() || redact::is_named(is_answered, error.map(ErrorCode::as_str))
}

/// What words a request has.
struct Words {
    /// So many, the command's counted.
    args: u32,
    /// Keys among them.
    keys: u32,
    /// The first one.
    key: KeyPlace,
}

/// Fills a record but for its texts, field after field in its place: they are too many for registers.
#[inline(always)]
fn fill(
    place: &mut Transaction,
    exchange: &Exchange<'_>,
    facts: Option<&ReplyFacts<'_>>,
    made: Option<Times>,
    bytes: u64,
    ended: Timestamp,
    has: &Words,
) {
    let Exchange { identity, request, .. } = *exchange;
    // All of them are named: what stands there is another one's.
    let Transaction {
        conversation,
        index,
        t1,
        end,
        times,
        request_bytes,
        reply_bytes,
        args,
        keys,
        pipeline,
        db,
        command,
        flags,
        outcome,
        reply,
        key,
        text_at: _,
        arguments_len: _,
        rare: _,
    } = place;
    *conversation = identity.conversation;
    *index = request.index;
    *t1 = request.t1;
    *times = made;
    *request_bytes = bytes;
    *reply_bytes = facts.map_or(0, |facts| facts.bytes);
    *args = has.args;
    *keys = has.keys;
    *pipeline = request.pipeline;
    *db = *exchange.db;
    *command = request.command;
    *flags = request.flags;
    *outcome = exchange.outcome();
    *reply = facts.map(|facts| facts.kind);
    *end = ended;
    *key = has.key;
}

/// Whether a reply repeats what other clients sent.
fn is_foreign(reply: &ReplyFacts<'_>) -> bool {
    reply.kind == Kind::Simple && redact::is_monitor_line(reply.response)
}

/// Name, user and library of a client, as they are known.
fn describe_client(labels: &Labels, list: &mut Vec<u8>) {
    if !labels.name.is_empty() {
        arguments::append(list, Argument::Word(&labels.name));
    }
    if !labels.user.is_empty() {
        arguments::append(list, Argument::Key(&labels.user));
    }
    let at = list.len();
    arguments::append(list, Argument::Hidden);
    labels.library_and_version(list);
    if list.len() == at + ENTRY_HEADER_BYTES {
        list.truncate(at);
    } else {
        arguments::close(list, at, None, false);
    }
}

/// The last word of `MOVED 3999 10.0.0.2:6379` or `REDIRECT 10.0.0.2:6379`; of others nothing.
fn redirect_target(error: &[u8]) -> &[u8] {
    let mut words = error.split(|&byte| byte == b' ');
    match words.next() {
        Some(b"MOVED" | b"ASK") => words.nth(1).unwrap_or_default(),
        Some(b"REDIRECT") => words.next().unwrap_or_default(),
        _ => &[],
    }
}
