//! A transaction as one line of JSON: the record of SPEC section 3, in its fixed order of fields.
//!
//! This is the hot output, so it is written by hand into the sink's buffer: what belongs to a command, a connection or a second
//! is formatted once and copied from then on, in few long pieces. Nothing is allocated for a record. What is in most records is
//! inlined into one function, the rest is apart. The tests hold every line against `serde_json`.

mod command_text;

use crate::endpoint::Labels;
use crate::record::histograms::ErrorCode;
use crate::record::key_hash::KeyHasher;
use crate::record::transaction::{RecordBatch, Transaction};
use crate::redis::arguments::{self, Argument, KeyPlace, Payload};
use crate::redis::command::{CommandTable, WORD_BYTES_MAX};
use crate::redis::keys::{slot, slot_of_whole};
use crate::redis::pairing::{Flags, Outcome};
use crate::resp::parser::Kind;

use command_text::{CommandText, SLOT_COUNTS, SUCCESS};

use super::connections::{
    COMMUNITY_TEXT_BYTES, Connection, Connections, END_BYTES, END_IPV4_BYTES, EndText, Place, id_text,
};
use super::json_text::{
    Clock, Digits, Line, Long, Piece, ROOM_BYTES, Room, TimeText, escaped, is_plain, is_plain_without_brace,
};

/// What records say beyond their transactions.
#[derive(Clone, Debug)]
pub struct RecordFormat {
    /// `observer.name`.
    pub sensor: String,
    /// What of requests and replies is shown.
    pub payload: Payload,
    /// Keys are shown by their hash. Then replies, and errors beyond their codes, are not shown: they may repeat keys.
    pub key_hasher: Option<KeyHasher>,
    /// The commands' names.
    pub table: &'static CommandTable,
    /// Bytes for texts of connections that are kept ready.
    pub cache_bytes: u64,
}

/// Writes records.
#[derive(Debug)]
pub struct RecordWriter {
    form: Form,
    /// By [`CommandId`].
    commands: Vec<CommandText>,
    /// Of the times at which requests begin, and of those at which exchanges end.
    clocks: [Clock; 2],
    connections: Connections,
    scratch: Vec<u8>,
    /// The name of a command that the table does not have.
    unknown: CommandText,
}

/// What all records have in common.
#[derive(Debug)]
struct Form {
    payload: Payload,
    key_hasher: Option<KeyHasher>,
    /// `status` to the value of `event.id`, for `OK` and for `Error`.
    status: [Piece<STATUS_BYTES>; 2],
}

/// Room for the name of a sensor among them; with a longer one records take longer.
const STATUS_BYTES: usize = 112;

impl RecordWriter {
    /// Bytes of room in which a record is put.
    pub const ROOM_BYTES: usize = ROOM_BYTES;

    /// A writer of records of this form.
    pub fn new(format: &RecordFormat) -> RecordWriter {
        let status = ["OK", "Error"].map(|status| {
            let mut piece = Piece::default();
            let ecs = br#"","ecs":{"version":"8.11"},"observer":{"name":""#;
            let sensor = escaped(format.sensor.as_bytes());
            piece.set(&[br#"","status":""#, status.as_bytes(), ecs, &sensor, br#""},"event":{"id":""#]);
            piece
        });
        let form = Form { payload: format.payload, key_hasher: format.key_hasher.clone(), status };
        let commands = format.table.iter().map(|command| {
            let mut text = CommandText::default();
            text.set(&escaped(command.name.as_bytes()), command.arity.unsigned_abs(), &form);
            text
        });
        RecordWriter {
            commands: commands.collect(),
            form,
            clocks: Default::default(),
            connections: Connections::new(format.cache_bytes),
            scratch: Vec::new(),
            unknown: CommandText::default(),
        }
    }

    /// Finds a transaction's key, and where the texts of its connection are expected, and asks for these, so that they are in the
    /// cache when it is put.
    #[inline(always)]
    pub fn expect<'a>(&self, batch: &'a RecordBatch, transaction: &Transaction) -> Expected<'a> {
        let place = self.connections.find(transaction);
        self.connections.prefetch(place);
        let shows_keys = self.form.payload != Payload::None && self.form.key_hasher.is_none();
        Expected { place, key: if shows_keys { short_key(batch, transaction) } else { None } }
    }

    /// Puts the record of `transaction` and a line feed into `room`; answers how many bytes it has. `None`: it is too long.
    /// `expected`: what [`RecordWriter::expect`] found.
    /// `labels`: what is known of the ends of connections, if there is anything at all.
    // Not inlined: in a loop numbers would be formatted before it is known whether that is needed, and kept in memory.
    #[inline(never)]
    pub fn put(
        &mut self,
        room: &mut [u8; ROOM_BYTES],
        batch: &RecordBatch,
        transaction: &Transaction,
        expected: &Expected<'_>,
        labels: Option<&Labels>,
    ) -> Option<usize> {
        let (record, clocks) = self.record(batch, transaction, expected, labels);
        record.put(room, clocks, expected.key.as_ref())
    }

    /// Appends the record of `transaction` and a line feed to `out`, however long it is. Takes longer.
    #[inline(never)]
    pub fn append(
        &mut self,
        out: &mut Vec<u8>,
        batch: &RecordBatch,
        transaction: &Transaction,
        labels: Option<&Labels>,
    ) {
        let expected = self.expect(batch, transaction);
        let (record, clocks) = self.record(batch, transaction, &expected, labels);
        let _ = record.line(Long(out), clocks, expected.key.as_ref());
    }

    #[inline(always)]
    fn record<'a>(
        &'a mut self,
        batch: &'a RecordBatch,
        transaction: &'a Transaction,
        expected: &Expected<'_>,
        labels: Option<&Labels>,
    ) -> (Record<'a>, &'a mut [Clock; 2]) {
        if self.commands.get(usize::from(transaction.command.0)).is_none() {
            self.name_unknown(batch.arguments(transaction));
        }
        let command = self.commands.get(usize::from(transaction.command.0)).unwrap_or(&self.unknown);
        let connection = self.connections.of(transaction, expected.place, labels);
        let has_succeeded = transaction.outcome.is_paired() && transaction.reply != Some(Kind::Error);
        (Record { form: &self.form, command, connection, has_succeeded, batch, transaction }, &mut self.clocks)
    }

    /// Names an unknown command by its words, if they look like a command's.
    #[cold]
    fn name_unknown(&mut self, list: &[u8]) {
        self.scratch.clear();
        for argument in arguments::iter(list) {
            let Argument::Word(word) = argument else { break };
            let named = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if word.is_empty() || word.len() > WORD_BYTES_MAX || !word.iter().all(named) {
                self.scratch.clear();
                break;
            }
            if !self.scratch.is_empty() {
                self.scratch.push(b' ');
            }
            self.scratch.extend(word.iter().map(u8::to_ascii_uppercase));
        }
        self.unknown.set(if self.scratch.is_empty() { b"unknown" } else { &self.scratch }, 0, &self.form);
    }
}

/// What a record is made of.
struct Record<'a> {
    form: &'a Form,
    command: &'a CommandText,
    connection: &'a Connection,
    /// The value of `event.outcome` is `success`.
    has_succeeded: bool,
    batch: &'a RecordBatch,
    transaction: &'a Transaction,
}

impl Record<'_> {
    #[inline(always)]
    fn put(&self, room: &mut [u8; ROOM_BYTES], clocks: &mut [Clock; 2], key: Option<&ShortKey<'_>>) -> Option<usize> {
        if !self.command.is_short {
            return None;
        }
        self.line(Room::new(room), clocks, key).finish()
    }

    /// Puts the record and a line feed.
    #[inline(always)]
    fn line<L: Line>(&self, line: L, clocks: &mut [Clock; 2], key: Option<&ShortKey<'_>>) -> L {
        let transaction = self.transaction;
        let (t1, end) = (transaction.t1, transaction.end);
        // Durations, times of the server and latencies are often the same.
        let mut last = Digits::ZERO;
        let (line, slot) = if t1.is_known() && end.is_known() {
            let [clock, end_clock] = clocks;
            let start = clock.text(t1);
            let (line, slot) = self.put_request(line.time(br#"{"@timestamp":""#, &start, br#"Z","#), key);
            let line = self.put_event(line, &start).time(br#"Z","end":""#, &end_clock.text(end), br#"Z""#);
            (line.field_like(br#","duration":"#, end.since(t1), &mut last), slot)
        } else {
            let (line, slot) = self.put_untimed(line, clocks, key);
            (line.turn(), slot)
        };
        let line = self.put_parties(line);
        self.put_redis(line, slot, &mut last)
    }

    /// The same up to the object `event`, its closing brace left to come, of one of whose times one is not known.
    #[cold]
    fn put_untimed<L: Line>(&self, line: L, clocks: &mut [Clock; 2], key: Option<&ShortKey<'_>>) -> (L, Option<u16>) {
        let (t1, end) = (self.transaction.t1, self.transaction.end);
        // A record without a time could not be stored; the other time that is known stands in.
        let at = if t1.is_known() { t1 } else { end };
        let mut line = line.put(b"{");
        if at.is_known() {
            line = line.time(br#""@timestamp":""#, &clocks[0].text(at), br#"Z","#);
        }
        let (line, slot) = self.put_request(line, key);
        let mut line = self.put_id(line.turn()).piece_but(&self.command.event, SUCCESS.len() as u8);
        line = line.copy(self.outcome().as_bytes()).put(b"\"");
        if t1.is_known() {
            line = line.time(br#","start":""#, &clocks[0].text(t1), br#"Z""#);
        }
        if end.is_known() {
            line = line.time(br#","end":""#, &clocks[0].text(end), br#"Z""#);
        }
        (line, slot)
    }

    /// `type` to `query`, the latter's closing quote left to come. Answers the cluster slot, too: where that may be shown.
    #[inline(always)]
    fn put_request<L: Line>(&self, line: L, key: Option<&ShortKey<'_>>) -> (L, Option<u16>) {
        let line = line.piece(&self.command.method);
        if let Some(&ShortKey { wide, length, slot, others }) = key {
            // It is shown twice.
            let line = line.parts(br#"","resource":""#, wide, length).piece(&self.command.query);
            let line = line.parts(b"", wide, length);
            if others == 0 {
                return (line, Some(slot));
            }
            let (_, others) = self.batch.arguments(self.transaction).split_at(others);
            return (self.put_arguments(line, others), Some(slot));
        }
        if self.form.payload == Payload::None {
            return (line.piece_but(&self.command.query, 1), None);
        }
        let list = self.batch.arguments(self.transaction);
        (self.put_unusual_request(line, list).turn(), arguments::slot(list))
    }

    /// `resource` and `query`, if the first argument is no key, or one that is long or needs work.
    #[inline(never)]
    fn put_unusual_request<L: Line>(&self, line: L, list: &[u8]) -> L {
        let line = match arguments::iter(list).find(is_key) {
            Some(key) => self.put_unusual(line.put(br#"","resource":""#), key, false),
            None => line,
        };
        self.put_arguments(line.piece_but(&self.command.query, 1), arguments::after_words(list))
    }

    /// Arguments of the query, a space before each.
    #[inline(always)]
    fn put_arguments<L: Line>(&self, mut line: L, list: &[u8]) -> L {
        for argument in arguments::iter(list) {
            line = match argument {
                Argument::Word(_) => line,
                Argument::Hidden => line.put(b" ?"),
                _ => self.put_unusual(line.put(b" "), argument, false),
            };
        }
        line.turn()
    }

    #[inline(never)]
    fn put_unusual<L: Line>(&self, line: L, argument: Argument<'_>, values: bool) -> L {
        match argument {
            Argument::Word(text) => line.text(text),
            Argument::Key(name) => self.put_key(line, name, false),
            Argument::KeyCut(name) => self.put_key(line, name, true),
            Argument::Value(text) if values => line.text(text),
            Argument::ValueCut(text) if values => put_cut(line, text),
            Argument::Value(_) | Argument::ValueCut(_) | Argument::Hidden => line.put(b"?"),
            Argument::Redacted => line.put(b"(redacted)"),
            Argument::More => line.copy("…".as_bytes()),
        }
    }

    /// A key, or of one that is not kept whole the beginning; either by its hash if there is to be one.
    fn put_key<L: Line>(&self, line: L, name: &[u8], is_cut: bool) -> L {
        match &self.form.key_hasher {
            Some(hasher) => {
                let line = line.put(&hasher.hash(name));
                if is_cut { line.copy("…".as_bytes()) } else { line }
            }
            None if is_cut => put_cut(line, name),
            None => line.text(name),
        }
    }

    /// The query's closing quote, and what follows up to the value of `event.id`.
    #[inline(always)]
    fn put_id<L: Line>(&self, line: L) -> L {
        // `OK`: answered without an error, or no answer was due. Everything else is an `Error`, as Packetbeat has it.
        let [ok, error] = &self.form.status;
        let is_ok = self.has_succeeded || self.transaction.outcome == Outcome::NoReply;
        line.piece(if is_ok { ok } else { error }).field(&self.connection.id_text, self.transaction.index)
    }

    /// The query's closing quote, and what follows up to `start` in the object `event`, the latter's closing quote left to come.
    #[inline(always)]
    fn put_event<L: Line>(&self, line: L, start: &TimeText<'_>) -> L {
        let line = self.put_id(line);
        let line = if self.has_succeeded {
            line.piece(&self.command.event)
        } else {
            let line = line.piece_but(&self.command.event, SUCCESS.len() as u8);
            line.copy(self.outcome().as_bytes())
        };
        line.time(br#"","start":""#, start, b"")
    }

    /// The value of `event.outcome`.
    fn outcome(&self) -> &'static str {
        match self.transaction.outcome.is_paired() {
            _ if self.has_succeeded => "success",
            true => "failure",
            false => "unknown",
        }
    }

    /// The closing brace of `event`, and `source` to `network`, the latter's closing brace left to come.
    #[inline(always)]
    fn put_parties<L: Line>(&self, line: L) -> L {
        let line = line.turn();
        let Transaction { request_bytes, reply_bytes, .. } = *self.transaction;
        // Of a reply that the capture missed nobody knows the size, nor of an item of EXEC's.
        if matches!(self.transaction.outcome, Outcome::Lost | Outcome::OneSided)
            || self.connection.labels.is_some()
            || self.transaction.conversation.vlans != [0; 2]
        {
            return self.put_unusual_parties(line).turn();
        }
        let Some(request) = Digits::new(request_bytes) else { return self.put_unusual_parties(line).turn() };
        let Some(reply) = Digits::new(reply_bytes) else { return self.put_unusual_parties(line).turn() };
        if self.connection.is_ipv4 {
            let line = self.put_usual_ends::<L, END_IPV4_BYTES>(line, request, reply);
            line.parts(NETWORK_IPV4, &self.connection.community_text, COMMUNITY_TEXT_BYTES as u8)
        } else {
            self.put_ipv6_parties(line, request, reply).turn()
        }
    }

    #[inline(never)]
    fn put_ipv6_parties<L: Line>(&self, line: L, request: Digits, reply: Digits) -> L {
        let line = self.put_usual_ends::<L, END_BYTES>(line, request, reply);
        line.parts(NETWORK_IPV6, &self.connection.community_text, COMMUNITY_TEXT_BYTES as u8)
    }

    /// `source` to `server`, the latter's closing brace left to come; of the text of an end there are up to `N` bytes.
    #[inline(always)]
    fn put_usual_ends<L: Line, const N: usize>(&self, line: L, request: Digits, reply: Digits) -> L {
        let Connection { client_text, server_text, .. } = self.connection;
        let (client, client_length) = (client_text.first::<N>(), client_text.length);
        let (server, server_length) = (server_text.first::<N>(), server_text.length);
        let line = line.parts_and_digits(br#"},"source":{"#, client, client_length, request);
        let line = line.parts_and_digits(br#"},"destination":{"#, server, server_length, reply);
        let line = line.parts_and_digits(br#"},"client":{"#, client, client_length, request);
        line.parts_and_digits(br#"},"server":{"#, server, server_length, reply)
    }

    #[inline(never)]
    fn put_unusual_parties<L: Line>(&self, line: L) -> L {
        let line = self.put_client(line.put(br#"},"source":{"#));
        let line = self.put_server(line.put(br#"},"destination":{"#));
        let line = self.put_client(line.put(br#"},"client":{"#));
        let line = self.put_server(line.put(br#"},"server":{"#));
        let line = if self.connection.is_ipv4 { line.put(NETWORK_IPV4) } else { line.put(NETWORK_IPV6) };
        self.put_vlans(line.put(&self.connection.community_text))
    }

    fn put_client<L: Line>(&self, line: L) -> L {
        let text = &self.connection.client_text;
        let line = line.parts(b"", text.first::<END_BYTES>(), text.length);
        let line = line.number(self.transaction.request_bytes);
        self.connection.labels.iter().fold(line, |line, labels| line.copy(&labels.client))
    }

    fn put_server<L: Line>(&self, line: L) -> L {
        let text = &self.connection.server_text;
        let length = text.length;
        let line = if matches!(self.transaction.outcome, Outcome::Lost | Outcome::OneSided) {
            line.parts(b"", text.first::<END_BYTES>(), length - EndText::BYTES.len() as u8)
        } else {
            line.parts(b"", text.first::<END_BYTES>(), length).number(self.transaction.reply_bytes)
        };
        self.connection.labels.iter().fold(line, |line, labels| line.copy(&labels.server))
    }

    /// A tag is a name, so ECS has it as a text. The inner one of two has an object of its own.
    fn put_vlans<L: Line>(&self, mut line: L) -> L {
        let [vlan, inner_vlan] = self.transaction.conversation.vlans.map(u64::from);
        if vlan != 0 {
            line = line.field(br#","vlan":{"id":""#, vlan).put(br#""}"#);
        }
        if inner_vlan != 0 {
            line = line.field(br#","inner":{"vlan":{"id":""#, inner_vlan).put(br#""}}"#);
        }
        line
    }

    /// The closing brace of `network`, the object `redis`, the record's closing brace and a line feed.
    #[inline(always)]
    fn put_redis<L: Line>(&self, line: L, slot: Option<u16>, last: &mut Digits) -> L {
        let transaction = self.transaction;
        let CommandText { redis, usual_args, counts_bytes, .. } = self.command;
        let mut line = line.turn();
        line = match slot {
            Some(slot) if (transaction.args, transaction.keys) == (*usual_args, 1) => {
                line.piece(redis).number(u64::from(slot))
            }
            _ => self.put_counts(line.piece_but(redis, *counts_bytes), slot).turn(),
        };
        if let Some(db) = transaction.db.number() {
            line = line.field(br#","db":"#, u64::from(db));
        }
        if transaction.rare != Transaction::NOTHING_RARE {
            line = self.put_script(line).turn();
        }
        line = match (transaction.outcome, transaction.reply) {
            (Outcome::Exact, Some(Kind::Bulk)) => line.parts(br#","reply":"bulk","pairing":"exact""#, b"", 0),
            (Outcome::Exact, Some(Kind::Simple)) => line.parts(br#","reply":"simple","pairing":"exact""#, b"", 0),
            _ => self.put_pairing(line).turn(),
        };
        if let Some(times) = &transaction.times {
            // Who asks for one thing at a time, in one packet, waits for the server alone.
            line = if times.send | times.queue == 0 {
                line.field_like(br#","send":0,"queue":0,"server":"#, times.server, last)
            } else {
                let line = line.field(br#","send":"#, times.send).field(br#","queue":"#, times.queue);
                line.field_like(br#","server":"#, times.server, last)
            };
            line = if times.transfer == 0 {
                line.field_like(br#","transfer":0,"latency":"#, times.latency(), last)
            } else {
                line.field(br#","transfer":"#, times.transfer).field_like(br#","latency":"#, times.latency(), last)
            };
        }
        let is_usual = transaction.flags == Flags::default()
            && self.form.payload != Payload::Full
            && transaction.rare == Transaction::NOTHING_RARE;
        if is_usual && transaction.pipeline == 0 {
            return line.parts(b",\"pipeline\":0}}\n", b"", 0);
        }
        line = line.field(br#","pipeline":"#, u64::from(transaction.pipeline));
        if !is_usual {
            line = self.put_rest(line).turn();
        }
        line.put(b"}}\n")
    }

    #[inline(never)]
    fn put_counts<L: Line>(&self, line: L, slot: Option<u16>) -> L {
        let Transaction { args, keys, .. } = self.transaction;
        let counts = SLOT_COUNTS.get(*args as usize).and_then(|counts| counts.get(*keys as usize));
        if let (Some(counts), Some(slot)) = (counts, slot) {
            return line.field(counts, u64::from(slot));
        }
        let line = line.field(br#"","args":"#, u64::from(self.transaction.args));
        let line = line.field(br#","keys":"#, u64::from(self.transaction.keys));
        match slot {
            Some(slot) => line.field(br#","slot":"#, u64::from(slot)),
            None => line,
        }
    }

    #[inline(never)]
    fn put_script<L: Line>(&self, line: L) -> L {
        let script = self.batch.rare(self.transaction).script;
        if script.is_empty() { line } else { put_text(line, br#","script":""#, script) }
    }

    #[inline(never)]
    fn put_pairing<L: Line>(&self, mut line: L) -> L {
        if let Some(kind) = self.transaction.reply {
            line = line.word(br#","reply":""#, kind.name());
        }
        let outcome = self.transaction.outcome;
        line = line.word(br#","pairing":""#, outcome.name());
        match outcome {
            Outcome::Resynced(proof) => line.word(br#","proof":""#, proof.name()),
            Outcome::Unanswered(reason) => line.word(br#","reason":""#, reason.name()),
            _ => line,
        }
    }

    /// What few records have: flags, the error, what is known of the client, with `--payload full` the texts of request and
    /// reply, and the EXEC that executed it.
    #[inline(never)]
    fn put_rest<L: Line>(&self, line: L) -> L {
        let (transaction, rare) = (self.transaction, self.batch.rare(self.transaction));
        let mut line = put_flags(line, transaction.flags);
        let full = self.form.payload == Payload::Full;
        let shows_reply = full && self.form.key_hasher.is_none();
        let is_error = transaction.reply == Some(Kind::Error);
        if is_error && !rare.error.is_empty() {
            let code = ErrorCode::of(rare.error);
            line = put_text(line, br#","error":""#, if shows_reply { rare.error } else { code.as_str().as_bytes() });
            line = line.word(br#","error_code":""#, code.as_str());
            if !rare.redirect.is_empty() {
                line = put_text(line, br#","redirect":""#, rare.redirect);
            }
        }
        if shows_reply && transaction.reply.is_some() && !is_error {
            line = put_text(line, br#","return_value":""#, rare.response);
        }
        line = put_client_labels(line, rare.client);
        if full {
            line = line.put(br#","request":""#).copy(&self.command.name);
            for argument in arguments::iter(arguments::after_words(self.batch.arguments(transaction))) {
                if !matches!(argument, Argument::Word(_)) {
                    line = self.put_unusual(line.put(b" "), argument, true);
                }
            }
            line = line.put(b"\"");
            if shows_reply && transaction.reply.is_some() {
                let response = if is_error && rare.response.is_empty() { rare.error } else { rare.response };
                line = put_text(line, br#","response":""#, response);
            }
        }
        if let Some(parent) = rare.parent {
            line = line.put(br#","parent":""#).put(&id_text(transaction.conversation.id)).number(parent).put(b"\"");
        }
        line
    }
}

const NETWORK_IPV4: &[u8; 80] = br#"},"network":{"type":"ipv4","transport":"tcp","protocol":"redis","community_id":""#;
const NETWORK_IPV6: &[u8; 80] = br#"},"network":{"type":"ipv6","transport":"tcp","protocol":"redis","community_id":""#;

/// Keys up to this length are short.
const SHORT_KEY_BYTES: usize = 32;

/// What is known of a transaction before its record is put.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    place: Place,
    /// Its key, if it is short and may be shown.
    key: Option<ShortKey<'a>>,
}

/// A key that is the first argument, is short, and can stand in a JSON string as it is.
#[derive(Clone, Copy)]
struct ShortKey<'a> {
    /// What begins with its text.
    wide: &'a [u8; SHORT_KEY_BYTES],
    length: u8,
    slot: u16,
    /// Where in the list the arguments behind it begin; 0: there are none.
    others: usize,
}

/// The key of a transaction.
#[inline(always)]
fn short_key<'a>(batch: &'a RecordBatch, transaction: &Transaction) -> Option<ShortKey<'a>> {
    let (at, length) = match transaction.key {
        KeyPlace { length: 0, .. } => find_key(batch.arguments(transaction))?,
        KeyPlace { at, length } => (usize::from(at), usize::from(length)),
    };
    // Others' arguments lie behind it, or what was there before.
    let wide = batch.wide_text(transaction, at)?;
    let key = wide.get(..length)?;
    let end = at + length;
    let others = match usize::from(transaction.arguments_len) {
        list if list > end => end,
        list if list == end => 0,
        _ => return None,
    };
    let slot = if is_plain_without_brace(key) { slot_of_whole(key) } else { slot_if_plain(key)? };
    Some(ShortKey { wide, length: length as u8, slot, others })
}

#[inline(never)]
fn find_key(list: &[u8]) -> Option<(usize, usize)> {
    arguments::key_behind_words(list)
}

#[inline(never)]
fn slot_if_plain(key: &[u8]) -> Option<u16> {
    is_plain(key).then(|| slot(key))
}

fn is_key(argument: &Argument<'_>) -> bool {
    matches!(argument, Argument::Key(_) | Argument::KeyCut(_))
}

/// `name` (with its punctuation), a text from traffic, and the closing quote.
fn put_text<const N: usize, L: Line>(line: L, name: &[u8; N], text: &[u8]) -> L {
    line.put(name).text(text).put(b"\"")
}

/// The beginning of a text. A character that was cut in two is left out, so that it does not look like a foreign byte.
fn put_cut<L: Line>(line: L, text: &[u8]) -> L {
    let whole = match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => &text[..error.valid_up_to()],
        _ => text,
    };
    line.text(whole).copy("…".as_bytes())
}

fn put_flags<L: Line>(line: L, flags: Flags) -> L {
    let mut set = Flags::NAMES.into_iter().filter(|&(flag, _)| flags.has(flag));
    let Some((_, first)) = set.next() else { return line };
    let line = line.word(br#","flags":[""#, first);
    set.fold(line, |line, (_, name)| line.word(br#",""#, name)).put(b"]")
}

/// The object `client` of what its connection said of itself: name, user, library.
fn put_client_labels<L: Line>(mut line: L, list: &[u8]) -> L {
    let mut lead: &[u8] = br#","client":{"#;
    for label in arguments::iter(list) {
        let (name, text): (&[u8], _) = match label {
            Argument::Word(text) => (br#""name":""#, text),
            Argument::Key(text) => (br#""user":""#, text),
            Argument::Value(text) => (br#""lib":""#, text),
            _ => continue,
        };
        line = line.copy(lead).copy(name).text(text).put(b"\"");
        lead = b",";
    }
    if list.is_empty() { line } else { line.put(b"}") }
}

#[cfg(test)]
mod tests;
