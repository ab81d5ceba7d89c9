//! A worker's records: decided requests that pass the filter, put together in a batch for the writer.

use crate::connection::{Exchange, Identity, Labels, ReplyFacts};
use crate::counters::{Counter, Counters};
use crate::record::filter::{Candidate, Filter};
use crate::record::histograms::ErrorCode;
use crate::record::transaction::{Introduction, RecordBatch, Texts, Times, Transaction};
use crate::redis::arguments::{self, Argument, ENTRY_HEADER_BYTES, Payload};
use crate::redis::command::CommandTable;
use crate::redis::redact;
use crate::redis::request::Request;
use crate::resp::parser::Kind;

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
    /// What is known of a record's client, while it is put together.
    client: Vec<u8>,
}

impl Records {
    pub(super) fn new(table: &'static CommandTable, emission: Emission) -> Records {
        Records { table, emission, batch: Box::default(), client: Vec::new() }
    }

    /// A connection is new.
    pub(super) fn introduce(&mut self, identity: &Identity) {
        if self.emission.introduces {
            let Identity { id: connection, client, server, .. } = *identity;
            self.batch.introduced.push(Introduction { connection, client, server });
        }
    }

    /// A request's fate is decided: if it passes the filter, it is appended to the batch. Answers whether that is full.
    pub(super) fn emit(
        &mut self,
        exchange: &Exchange<'_>,
        times: Option<Times>,
        error: Option<ErrorCode>,
        counters: &mut Counters,
    ) -> bool {
        if !self.emission.filter.is_open() && !self.passes(exchange, times, error) {
            counters.count(Counter::RecordsFiltered);
            return false;
        }
        counters.count(Counter::RecordsEmitted);
        self.append(exchange, times, error);
        self.batch.is_full()
    }

    /// Whether the filter lets it pass.
    #[inline(never)]
    fn passes(&self, exchange: &Exchange<'_>, times: Option<Times>, error: Option<ErrorCode>) -> bool {
        let request = exchange.request;
        let name = arguments::iter(request.arguments()).find_map(|argument| match argument {
            Argument::Word(word) => Some(word),
            _ => None,
        });
        self.emission.filter.passes(&Candidate {
            command: request.command,
            name: name.unwrap_or_default(),
            connection: exchange.identity.id,
            client: exchange.identity.client,
            server: exchange.identity.server,
            latency: times.map(|times| times.latency()),
            is_error: error.is_some(),
            first_key: arguments::first_key(request.arguments()),
        })
    }

    #[inline(always)]
    fn append(&mut self, exchange: &Exchange<'_>, times: Option<Times>, error: Option<ErrorCode>) {
        let Exchange { identity, request, outcome, reply, .. } = *exchange;
        let may_show = self.emission.payload != Payload::None && may_show(request, reply.is_some(), error);
        let ended = reply.map_or(request.t2, |reply| reply.t4.max(request.t2));
        let transaction = Transaction {
            connection: identity.id,
            index: request.index,
            client: identity.client,
            server: identity.server,
            vlans: identity.vlans,
            t1: request.t1,
            end: if ended.is_known() { ended } else { request.t1 },
            times,
            request_bytes: request.bytes(),
            reply_bytes: reply.map_or(0, |reply| reply.bytes),
            args: request.args,
            keys: request.keys,
            pipeline: request.pipeline,
            slot: if may_show { request.slot() } else { None },
            command: request.command,
            flags: request.flags,
            outcome,
            reply: reply.map(|reply| reply.kind),
            db: exchange.db,
            parent: exchange.parent,
            ..Transaction::EMPTY
        };
        self.batch.push(transaction, if may_show { request.arguments() } else { &[] });
        let script = request.noted_script().filter(|_| may_show);
        let is_usual =
            error.is_none() && self.emission.payload != Payload::Full && exchange.labels.is_none() && script.is_none();
        if !is_usual {
            self.append_texts(exchange, error, script);
        }
    }

    /// The texts of the last record beside its arguments.
    #[inline(never)]
    fn append_texts(&mut self, exchange: &Exchange<'_>, error: Option<ErrorCode>, script: Option<&[u8]>) {
        let Exchange { request, reply, .. } = *exchange;
        let shows_reply = self.emission.payload == Payload::Full
            && !redact::hides_reply(self.table, request.command)
            && !reply.is_some_and(is_foreign);
        let code = error.unwrap_or_default();
        self.client.clear();
        if let Some(labels) = exchange.labels {
            describe_client(labels, &mut self.client);
        }
        let redirect = reply.filter(|_| error.is_some_and(|code| code.is_redirect()));
        self.batch.add_texts(Texts {
            redirect: redirect.map_or(&[], |reply| redirect_target(reply.error)),
            client: &self.client,
            script: script.unwrap_or_default(),
            error: match reply {
                Some(reply) if error.is_some() && shows_reply => redact::error_text(reply.error),
                _ => code.as_str().as_bytes(),
            },
            response: reply.filter(|_| shows_reply && error.is_none()).map_or(&[], |reply| reply.response),
        });
    }
}

/// Whether a request's arguments and the name of its command may be shown, as far as they were kept.
pub(super) fn may_show(request: &Request, is_answered: bool, error: Option<ErrorCode>) -> bool {
    request.command.is_known() || redact::is_named(is_answered, error.as_ref().map(ErrorCode::as_str))
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
