//! A transaction as one line of JSON: the record of SPEC section 3, in its fixed order of fields.
//!
//! This is the hot output, so it is written by hand into room that is used again: what belongs to a command, a
//! connection or a second is formatted once and copied from then on. Nothing is allocated for a record. What is in most
//! records is inlined into one function, the rest is apart. The tests hold every line against `serde_json`.

use std::io::Write;

use arrayvec::ArrayVec;
use base64::Engine;
use sha1::{Digest, Sha1};

use crate::endpoint::{Label, Labels};
use crate::record::histograms::ErrorCode;
use crate::record::key_hash::KeyHasher;
use crate::record::transaction::{Texts, Transaction};
use crate::redis::arguments::{self, Argument, Payload};
use crate::redis::command::{CommandTable, WORD_BYTES_MAX};
use crate::redis::pairing::{Flags, Outcome};
use crate::resp::parser::Kind;
use crate::units::Endpoint;

use super::json_text::{Clock, Line, escaped};

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
}

/// Connections whose texts are kept ready; a power of two. About 1.5 MB.
const CONNECTIONS_CACHED: usize = 4096;

/// Room for a record at first.
const ROOM_BYTES: usize = 4096;

/// Writes records.
#[derive(Debug)]
pub struct RecordWriter {
    payload: Payload,
    key_hasher: Option<KeyHasher>,
    /// By [`CommandId`].
    commands: Vec<CommandText>,
    /// `status` to the value of `event.id`, for `OK` and for `Error`.
    status: [Vec<u8>; 2],
    clock: Clock,
    connections: Box<[Connection]>,
    scratch: Vec<u8>,
    /// Where records are put together.
    room: Vec<u8>,
    /// The name of a command that the table does not have.
    unknown: CommandText,
}

/// What records say of their command: few long pieces are faster than many short ones.
#[derive(Debug, Default)]
struct CommandText {
    /// Its name, ready for JSON.
    name: Vec<u8>,
    /// `type` and `method`.
    method: Vec<u8>,
    /// `query`, up to the arguments.
    query: Vec<u8>,
    /// What follows `event.id`, up to the value of `outcome`. The action is in lower case, its words joined by dots.
    event: Vec<u8>,
    /// The beginning of `redis`, up to the value of `args`.
    redis: Vec<u8>,
}

impl CommandText {
    /// `name` is ready for JSON.
    fn set(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.event.clear();
        self.event.extend_from_slice(&self.name);
        self.event.make_ascii_lowercase();
        for byte in &mut self.event {
            if *byte == b' ' {
                *byte = b'.';
            }
        }
        let kind = br#"","kind":"event","category":["network"],"dataset":"redis","action":"redis."#;
        self.event.splice(..0, kind.iter().copied());
        self.event.extend_from_slice(br#"","outcome":""#);
        for (text, before, after) in [
            (&mut self.method, &br#""type":"redis","method":""#[..], &b""[..]),
            (&mut self.query, br#"","query":""#, b""),
            (&mut self.redis, br#","redis":{"command":""#, br#"","args":"#),
        ] {
            text.clear();
            text.extend_from_slice(before);
            text.extend_from_slice(&self.name);
            text.extend_from_slice(after);
        }
    }
}

impl RecordWriter {
    /// A writer of records of this form.
    pub fn new(format: &RecordFormat) -> RecordWriter {
        let commands = format.table.iter().map(|command| {
            let mut text = CommandText::default();
            text.set(&escaped(command.name.as_bytes()));
            text
        });
        let status = ["OK", "Error"].map(|status| {
            let status = format!(r#"","status":"{status}","ecs":{{"version":"8.11"}},"observer":{{"name":""#);
            [status.as_bytes(), &escaped(format.sensor.as_bytes()), br#""},"event":{"id":""#].concat()
        });
        RecordWriter {
            payload: format.payload,
            key_hasher: format.key_hasher.clone(),
            commands: commands.collect(),
            status,
            clock: Clock::default(),
            connections: std::iter::repeat_with(Connection::default).take(CONNECTIONS_CACHED).collect(),
            scratch: Vec::new(),
            room: vec![0; ROOM_BYTES],
            unknown: CommandText::default(),
        }
    }

    /// Appends the record of `transaction` and a line feed to `out`.
    pub fn append(&mut self, out: &mut Vec<u8>, transaction: &Transaction, texts: Texts<'_>, labels: &Labels) {
        if self.commands.get(usize::from(transaction.command.0)).is_none() {
            self.name_unknown(texts.arguments);
        }
        let command = self.commands.get(usize::from(transaction.command.0)).unwrap_or(&self.unknown);
        let connection = connection(&mut self.connections, &mut self.scratch, transaction, labels);
        let [ok, error] = &self.status;
        let status = if status_ok(transaction) { ok } else { error };
        let (payload, key_hasher) = (self.payload, self.key_hasher.as_ref());
        let record = Record { payload, key_hasher, command, connection, status, transaction, texts };
        loop {
            let left = record.put(&mut self.room, &mut self.clock);
            if left > 0 {
                return out.extend_from_slice(&self.room[..self.room.len() - left]);
            }
            // A request or reply that is shown is longer than what is usual.
            self.room.resize(2 * self.room.len(), 0);
        }
    }

    /// Names an unknown command by its words, if they look like a command's.
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
        self.unknown.set(if self.scratch.is_empty() { b"unknown" } else { &self.scratch });
    }
}

/// `OK`: answered without an error, or no answer was due. Everything else is an `Error`, as Packetbeat has it.
fn status_ok(transaction: &Transaction) -> bool {
    match transaction.outcome {
        Outcome::NoReply => true,
        outcome => outcome.is_paired() && transaction.reply != Some(Kind::Error),
    }
}

/// What a record is made of.
struct Record<'a> {
    payload: Payload,
    key_hasher: Option<&'a KeyHasher>,
    command: &'a CommandText,
    connection: &'a Connection,
    status: &'a [u8],
    transaction: &'a Transaction,
    texts: Texts<'a>,
}

impl Record<'_> {
    /// Puts the record and a line feed into `room`; answers how many bytes are left of that. Not inlined: in a loop numbers
    /// would be formatted before it is known whether that is needed, and kept in memory.
    #[inline(never)]
    fn put(&self, room: &mut [u8], clock: &mut Clock) -> usize {
        let mut line = Line::new(room);
        let transaction = self.transaction;
        let (t1, end) = (transaction.t1, transaction.end);
        if t1.is_known() && end.is_known() {
            let (start, end_text) = (clock.text(t1), clock.text(end));
            line.put(br#"{"@timestamp":""#);
            line.time(&start, br#"Z","#);
            self.put_request(&mut line);
            self.put_event(&mut line);
            line.put(br#","start":""#);
            line.time(&start, br#"Z","end":""#);
            line.time(&end_text, br#"Z","duration":"#);
            line.number(end.since(t1));
        } else {
            line.apart(|line| self.put_untimed(line, clock));
        }
        self.put_parties(&mut line);
        self.put_redis(&mut line);
        line.put(b"}}\n");
        line.left()
    }

    /// The same up to the object `event`, its closing brace left to come, of one of whose times one is not known.
    #[cold]
    fn put_untimed(&self, line: &mut Line<'_>, clock: &mut Clock) {
        let (t1, end) = (self.transaction.t1, self.transaction.end);
        line.put(b"{");
        // A record without a time could not be stored; the other time that is known stands in.
        let at = if t1.is_known() { t1 } else { end };
        if at.is_known() {
            line.put(br#""@timestamp":""#);
            line.time(&clock.text(at), br#"Z","#);
        }
        self.put_request(line);
        self.put_event(line);
        if t1.is_known() {
            line.put(br#","start":""#);
            line.time(&clock.text(t1), br#"Z""#);
        }
        if end.is_known() {
            line.put(br#","end":""#);
            line.time(&clock.text(end), br#"Z""#);
        }
    }

    /// `type` to `query`, the latter's closing quote left to come.
    #[inline(always)]
    fn put_request(&self, line: &mut Line<'_>) {
        line.copy(&self.command.method);
        if self.payload != Payload::None
            && let Some(key) = arguments::iter(self.texts.arguments).find(is_key)
        {
            line.put(br#"","resource":""#);
            self.put_argument(line, key, false);
        }
        line.copy(&self.command.query);
        if self.payload != Payload::None {
            self.put_arguments(line, false);
        }
    }

    /// All arguments after the command's words, a space before each.
    #[inline(always)]
    fn put_arguments(&self, line: &mut Line<'_>, values: bool) {
        for argument in arguments::iter(self.texts.arguments) {
            if !matches!(argument, Argument::Word(_)) {
                line.put(b" ");
                self.put_argument(line, argument, values);
            }
        }
    }

    #[inline(always)]
    fn put_argument(&self, line: &mut Line<'_>, argument: Argument<'_>, values: bool) {
        match argument {
            Argument::Key(name) if self.key_hasher.is_none() => line.text(name),
            Argument::Hidden => line.put(b"?"),
            _ => line.apart(|line| self.put_unusual(line, argument, values)),
        }
    }

    #[inline(never)]
    fn put_unusual(&self, line: &mut Line<'_>, argument: Argument<'_>, values: bool) {
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
    fn put_key(&self, line: &mut Line<'_>, name: &[u8], is_cut: bool) {
        match self.key_hasher {
            Some(hasher) => {
                line.put(&hasher.hash(name));
                if is_cut {
                    line.copy("…".as_bytes());
                }
            }
            None if is_cut => put_cut(line, name),
            None => line.text(name),
        }
    }

    /// The query's closing quote, and what follows up to `outcome` in the object `event`.
    #[inline(always)]
    fn put_event(&self, line: &mut Line<'_>) {
        let transaction = self.transaction;
        line.copy(self.status);
        line.put(&self.connection.id_text);
        line.number(transaction.index);
        line.copy(&self.command.event);
        match (transaction.outcome.is_paired(), transaction.reply) {
            (false, _) => line.put(br#"unknown""#),
            (true, Some(Kind::Error)) => line.put(br#"failure""#),
            (true, _) => line.put(br#"success""#),
        }
    }

    /// The closing brace of `event`, and `source` to `network`.
    #[inline(always)]
    fn put_parties(&self, line: &mut Line<'_>) {
        line.put(br#"},"source":{"#);
        self.put_client(line);
        line.put(br#"},"destination":{"#);
        self.put_server(line);
        line.put(br#"},"client":{"#);
        self.put_client(line);
        line.put(br#"},"server":{"#);
        self.put_server(line);
        line.copy(&self.connection.network_text);
    }

    #[inline(always)]
    fn put_client(&self, line: &mut Line<'_>) {
        line.copy(&self.connection.client_text);
        line.number(self.transaction.request_bytes);
        if let Some(labels) = &self.connection.labels {
            line.copy(&labels.client);
        }
    }

    #[inline(always)]
    fn put_server(&self, line: &mut Line<'_>) {
        let text = &self.connection.server_text[..];
        if matches!(self.transaction.outcome, Outcome::Lost | Outcome::OneSided) {
            // Of a reply that the capture missed nobody knows the size, nor of an item of EXEC's.
            line.copy(text.strip_suffix(BYTES).unwrap_or(text));
        } else {
            line.copy(text);
            line.number(self.transaction.reply_bytes);
        }
        if let Some(labels) = &self.connection.labels {
            line.copy(&labels.server);
        }
    }

    /// The object `redis`, its closing brace left to come.
    #[inline(always)]
    fn put_redis(&self, line: &mut Line<'_>) {
        let Record { transaction, texts, .. } = self;
        line.copy(&self.command.redis);
        line.number(u64::from(transaction.args));
        line.field(br#","keys":"#, u64::from(transaction.keys));
        // The slot tells something about the key, so it is shown only where the key may be.
        if let Some(slot) = transaction.slot.filter(|_| self.payload != Payload::None) {
            line.field(br#","slot":"#, u64::from(slot));
        }
        if let Some(db) = transaction.db {
            line.field(br#","db":"#, u64::from(db));
        }
        if !texts.script.is_empty() {
            line.put(br#","script":""#);
            line.text(texts.script);
            line.put(b"\"");
        }
        if let Some(kind) = transaction.reply {
            line.word(br#","reply":""#, kind.name());
        }
        match transaction.outcome {
            Outcome::Exact => line.put(br#","pairing":"exact""#),
            _ => line.apart(|line| self.put_pairing(line)),
        }
        if let Some(times) = &transaction.times {
            line.field(br#","send":"#, times.send);
            line.field(br#","queue":"#, times.queue);
            line.field(br#","server":"#, times.server);
            line.field(br#","transfer":"#, times.transfer);
            line.field(br#","latency":"#, times.latency());
        }
        line.field(br#","pipeline":"#, u64::from(transaction.pipeline));
        let is_usual = transaction.flags == Flags::default()
            && self.payload != Payload::Full
            && transaction.reply != Some(Kind::Error)
            && texts.client.is_empty()
            && transaction.parent.is_none();
        if !is_usual {
            line.apart(|line| self.put_rest(line));
        }
    }

    #[inline(never)]
    fn put_pairing(&self, line: &mut Line<'_>) {
        let outcome = self.transaction.outcome;
        line.word(br#","pairing":""#, outcome.name());
        match outcome {
            Outcome::Resynced(proof) => line.word(br#","proof":""#, proof.name()),
            Outcome::Unanswered(reason) => line.word(br#","reason":""#, reason.name()),
            _ => {}
        }
    }

    /// What few records have: flags, the error, what is known of the client, with `--payload full` the texts of request and
    /// reply, and the EXEC that executed it.
    #[inline(never)]
    fn put_rest(&self, line: &mut Line<'_>) {
        let Record { transaction, texts, .. } = self;
        put_flags(line, transaction.flags);
        let full = self.payload == Payload::Full;
        let shows_reply = full && self.key_hasher.is_none();
        let is_error = transaction.reply == Some(Kind::Error);
        if is_error && !texts.error.is_empty() {
            let code = ErrorCode::of(texts.error);
            put_text(line, br#","error":""#, if shows_reply { texts.error } else { code.as_str().as_bytes() });
            line.word(br#","error_code":""#, code.as_str());
            if !texts.redirect.is_empty() {
                put_text(line, br#","redirect":""#, texts.redirect);
            }
        }
        if shows_reply && transaction.reply.is_some() && !is_error {
            put_text(line, br#","return_value":""#, texts.response);
        }
        put_client_labels(line, texts.client);
        if full {
            line.put(br#","request":""#);
            line.copy(&self.command.name);
            self.put_arguments(line, true);
            line.put(b"\"");
            if shows_reply && transaction.reply.is_some() {
                let response = if is_error && texts.response.is_empty() { texts.error } else { texts.response };
                put_text(line, br#","response":""#, response);
            }
        }
        if let Some(parent) = transaction.parent {
            line.put(br#","parent":""#);
            line.put(&id_text(transaction.connection));
            line.number(parent);
            line.put(b"\"");
        }
    }
}

fn is_key(argument: &Argument<'_>) -> bool {
    matches!(argument, Argument::Key(_) | Argument::KeyCut(_))
}

/// `name` (with its punctuation), a text from traffic, and the closing quote.
fn put_text<const N: usize>(line: &mut Line<'_>, name: &[u8; N], text: &[u8]) {
    line.put(name);
    line.text(text);
    line.put(b"\"");
}

/// The beginning of a text. A character that was cut in two is left out, so that it does not look like a foreign byte.
fn put_cut(line: &mut Line<'_>, text: &[u8]) {
    let whole = match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => &text[..error.valid_up_to()],
        _ => text,
    };
    line.text(whole);
    line.copy("…".as_bytes());
}

fn put_flags(line: &mut Line<'_>, flags: Flags) {
    let mut set = Flags::NAMES.into_iter().filter(|&(flag, _)| flags.has(flag));
    let Some((_, first)) = set.next() else { return };
    line.word(br#","flags":[""#, first);
    for (_, name) in set {
        line.word(br#",""#, name);
    }
    line.put(b"]");
}

/// The object `client` of what its connection said of itself: name, user, library.
fn put_client_labels(line: &mut Line<'_>, list: &[u8]) {
    let mut lead: &[u8] = br#","client":{"#;
    for label in arguments::iter(list) {
        let (name, text): (&[u8], _) = match label {
            Argument::Word(text) => (br#""name":""#, text),
            Argument::Key(text) => (br#""user":""#, text),
            Argument::Value(text) => (br#""lib":""#, text),
            _ => continue,
        };
        line.copy(lead);
        line.copy(name);
        line.text(text);
        line.put(b"\"");
        lead = b",";
    }
    if !list.is_empty() {
        line.put(b"}");
    }
}

/// What stands before the number of bytes.
const BYTES: &[u8] = br#","bytes":"#;

/// What records repeat of their connection.
#[derive(Debug, Default)]
struct Connection {
    id: u64,
    client: Endpoint,
    server: Endpoint,
    /// The beginning of its records' ids.
    id_text: [u8; 17],
    /// `"ip":"10.0.0.1","port":40001,"bytes":`; IPv6 takes up to 74 bytes.
    client_text: ArrayVec<u8, 80>,
    server_text: ArrayVec<u8, 80>,
    /// `},"network":{…}`, 111 bytes and up to 52 for VLANs.
    network_text: ArrayVec<u8, 168>,
    /// Who is at its ends, if anything is known of them.
    labels: Option<Box<LabelTexts>>,
    /// The version of those.
    labels_version: u64,
}

/// `,"name":"checkout","process":{"name":"app","pid":7}` of both ends.
#[derive(Debug, Default)]
struct LabelTexts {
    client: Vec<u8>,
    server: Vec<u8>,
}

/// The texts of a transaction's connection: from the cache (direct-mapped), or made in its place.
#[inline]
fn connection<'a>(
    cache: &'a mut [Connection],
    scratch: &mut Vec<u8>,
    transaction: &Transaction,
    labels: &Labels,
) -> &'a Connection {
    let place = &mut cache[transaction.connection as usize & (CONNECTIONS_CACHED - 1)];
    if place.id != transaction.connection
        || place.client != transaction.client
        || place.server != transaction.server
        || place.network_text.is_empty()
    {
        place.make(scratch, transaction);
        place.label(labels);
    } else if place.labels_version != labels.version() {
        place.label(labels);
    }
    place
}

/// A connection's part of an `event.id`: 16 hexadecimal digits and a dash.
fn id_text(id: u64) -> [u8; 17] {
    std::array::from_fn(|place| match place {
        16 => b'-',
        place => b"0123456789abcdef"[(id >> (60 - 4 * place)) as usize & 15],
    })
}

impl Connection {
    #[cold]
    fn make(&mut self, scratch: &mut Vec<u8>, transaction: &Transaction) {
        let (client, server) = (transaction.client, transaction.server);
        (self.id, self.client, self.server) = (transaction.connection, client, server);
        self.id_text = id_text(self.id);
        for (text, end) in [(&mut self.client_text, client), (&mut self.server_text, server)] {
            scratch.clear();
            let _ = write!(scratch, r#""ip":"{}","port":{}"#, end.address, end.port);
            scratch.extend_from_slice(BYTES);
            fill(text, scratch);
        }
        scratch.clear();
        let kind = if client.address.is_ipv4() && server.address.is_ipv4() { "ipv4" } else { "ipv6" };
        let _ =
            write!(scratch, r#"}},"network":{{"type":"{kind}","transport":"tcp","protocol":"redis","community_id":""#);
        append_community_id(scratch, client, server);
        scratch.push(b'"');
        // A tag is a name, so ECS has it as a text. The inner one of two has an object of its own.
        let [vlan, inner_vlan] = transaction.vlans;
        if vlan != 0 {
            let _ = write!(scratch, r#","vlan":{{"id":"{vlan}"}}"#);
        }
        if inner_vlan != 0 {
            let _ = write!(scratch, r#","inner":{{"vlan":{{"id":"{inner_vlan}"}}}}"#);
        }
        scratch.push(b'}');
        fill(&mut self.network_text, scratch);
    }

    #[cold]
    fn label(&mut self, labels: &Labels) {
        self.labels_version = labels.version();
        self.labels = (!labels.is_empty()).then(|| {
            let text = |end| label_text(labels.of(self.id, end));
            Box::new(LabelTexts { client: text(self.client), server: text(self.server) })
        });
    }
}

fn label_text(label: Label<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(name) = label.name {
        text.extend_from_slice(br#","name":""#);
        text.extend_from_slice(&escaped(name.as_bytes()));
        text.push(b'"');
    }
    if let Some(process) = label.process {
        text.extend_from_slice(br#","process":{"name":""#);
        text.extend_from_slice(&escaped(&process.name));
        let _ = write!(text, r#"","pid":{}}}"#, process.pid);
    }
    text
}

fn fill<const N: usize>(text: &mut ArrayVec<u8, N>, from: &[u8]) {
    text.clear();
    text.try_extend_from_slice(from).expect("the capacity is that of the longest address");
}

/// Community ID, version 1, of a TCP connection, seed 0: a hash of the tuple by which other tools know it, the lower end
/// first.
fn append_community_id(out: &mut Vec<u8>, one: Endpoint, other: Endpoint) {
    const TCP: u8 = 6;
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let both_ipv4 = low.address.is_ipv4() && high.address.is_ipv4();
    let from = if both_ipv4 { 12 } else { 0 };
    let mut hash = Sha1::new();
    hash.update(0u16.to_be_bytes());
    hash.update(&low.address.0[from..]);
    hash.update(&high.address.0[from..]);
    hash.update([TCP, 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    let mut text = [0; 28];
    let digest = hash.finalize();
    if base64::engine::general_purpose::STANDARD.encode_slice(&digest[..], &mut text).is_ok() {
        out.extend_from_slice(b"1:");
        out.extend_from_slice(&text);
    }
}

#[cfg(test)]
mod tests;
