//! A transaction as one line of JSON: the record of SPEC section 3, in its fixed order of fields.
//!
//! This is the hot output, so it is written by hand into a buffer that is used again: what belongs to a command, a
//! connection or a second is formatted once and copied from then on. Nothing is allocated for a record. The tests hold
//! every line against `serde_json`.

use std::io::Write;

use arrayvec::ArrayVec;
use base64::Engine;
use sha1::{Digest, Sha1};

use crate::endpoint::{Label, Labels};
use crate::record::histograms::ErrorCode;
use crate::record::key_hash::KeyHasher;
use crate::record::transaction::{Texts, Transaction};
use crate::redis::arguments::{self, Argument, Payload};
use crate::redis::command::{CommandId, CommandTable, WORD_BYTES_MAX};
use crate::redis::pairing::{Flags, Outcome};
use crate::resp::parser::Kind;
use crate::units::Endpoint;

use super::json_text::{Clock, append_field, append_number, append_text, append_word};

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
    fn set(&mut self, name: &[u8]) {
        self.name.clear();
        append_text(&mut self.name, name);
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
            text.set(command.name.as_bytes());
            text
        });
        let status = ["OK", "Error"].map(|status| {
            let mut text = Vec::new();
            append_word(&mut text, br#"","status":""#, status);
            text.extend_from_slice(br#","ecs":{"version":"8.11"},"observer":{"name":""#);
            append_text(&mut text, format.sensor.as_bytes());
            text.extend_from_slice(br#""},"event":{"id":""#);
            text
        });
        RecordWriter {
            payload: format.payload,
            key_hasher: format.key_hasher.clone(),
            commands: commands.collect(),
            status,
            clock: Clock::default(),
            connections: std::iter::repeat_with(Connection::default).take(CONNECTIONS_CACHED).collect(),
            scratch: Vec::new(),
            unknown: CommandText::default(),
        }
    }

    /// Appends the record of `transaction` and a line feed to `out`.
    pub fn append(&mut self, out: &mut Vec<u8>, transaction: &Transaction, texts: Texts<'_>, labels: &Labels) {
        if self.commands.get(usize::from(transaction.command.0)).is_none() {
            self.name_unknown(texts.arguments);
        }
        let command = command_text(&self.commands, &self.unknown, transaction.command);
        let connection = connection(&mut self.connections, &mut self.scratch, transaction, labels);
        out.push(b'{');
        // A record without a time could not be stored; the other time that is known stands in.
        let at = if transaction.t1.is_known() { transaction.t1 } else { transaction.end };
        if at.is_known() {
            out.extend_from_slice(br#""@timestamp":""#);
            self.clock.append(out, at);
            out.push(b',');
        }
        append_request(out, command, self.payload, self.key_hasher.as_ref(), texts);
        let [ok, error] = &self.status;
        out.extend_from_slice(if status_ok(transaction) { ok } else { error });
        append_event(out, command, connection, &mut self.clock, transaction);
        append_parties(out, connection, transaction);
        self.append_redis(out, command, transaction, texts);
        append_parent(out, transaction);
        out.extend_from_slice(b"}}\n");
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

    /// The object `redis`, its closing brace left to come.
    fn append_redis(&self, out: &mut Vec<u8>, command: &CommandText, transaction: &Transaction, texts: Texts<'_>) {
        append_field(out, &command.redis, u64::from(transaction.args));
        append_field(out, br#","keys":"#, u64::from(transaction.keys));
        // The slot tells something about the key, so it is shown only where the key may be.
        if let Some(slot) = transaction.slot.filter(|_| self.payload != Payload::None) {
            append_field(out, br#","slot":"#, u64::from(slot));
        }
        if let Some(db) = transaction.db {
            append_field(out, br#","db":"#, u64::from(db));
        }
        if !texts.script.is_empty() {
            out.extend_from_slice(br#","script":""#);
            append_text(out, texts.script);
            out.push(b'"');
        }
        if let Some(kind) = transaction.reply {
            append_word(out, br#","reply":""#, kind.name());
        }
        append_word(out, br#","pairing":""#, transaction.outcome.name());
        match transaction.outcome {
            Outcome::Resynced(proof) => append_word(out, br#","proof":""#, proof.name()),
            Outcome::Unanswered(reason) => append_word(out, br#","reason":""#, reason.name()),
            _ => {}
        }
        if let Some(times) = &transaction.times {
            append_field(out, br#","send":"#, times.send);
            append_field(out, br#","queue":"#, times.queue);
            append_field(out, br#","server":"#, times.server);
            append_field(out, br#","transfer":"#, times.transfer);
            append_field(out, br#","latency":"#, times.latency());
        }
        append_field(out, br#","pipeline":"#, u64::from(transaction.pipeline));
        append_flags(out, transaction.flags);
        self.append_payload(out, command, transaction, texts);
    }

    /// The error, and with `--payload full` the texts of request and reply.
    fn append_payload(&self, out: &mut Vec<u8>, command: &CommandText, transaction: &Transaction, texts: Texts<'_>) {
        let full = self.payload == Payload::Full;
        let shows_reply = full && self.key_hasher.is_none();
        let is_error = transaction.reply == Some(Kind::Error);
        if is_error && !texts.error.is_empty() {
            let code = ErrorCode::of(texts.error);
            out.extend_from_slice(br#","error":""#);
            append_text(out, if shows_reply { texts.error } else { code.as_str().as_bytes() });
            append_word(out, br#"","error_code":""#, code.as_str());
            if !texts.redirect.is_empty() {
                out.extend_from_slice(br#","redirect":""#);
                append_text(out, texts.redirect);
                out.push(b'"');
            }
        }
        if shows_reply && transaction.reply.is_some() && !is_error {
            out.extend_from_slice(br#","return_value":""#);
            append_text(out, texts.response);
            out.push(b'"');
        }
        append_client(out, texts.client);
        if !full {
            return;
        }
        out.extend_from_slice(br#","request":""#);
        out.extend_from_slice(&command.name);
        append_arguments(out, texts.arguments, true, self.key_hasher.as_ref());
        out.push(b'"');
        if shows_reply && transaction.reply.is_some() {
            out.extend_from_slice(br#","response":""#);
            append_text(out, if is_error && texts.response.is_empty() { texts.error } else { texts.response });
            out.push(b'"');
        }
    }
}

/// The `event.id` of the EXEC that executed it.
fn append_parent(out: &mut Vec<u8>, transaction: &Transaction) {
    let Some(parent) = transaction.parent else { return };
    out.extend_from_slice(br#","parent":""#);
    out.extend_from_slice(&id_text(transaction.connection));
    append_number(out, parent);
    out.push(b'"');
}

/// The object `client` of what its connection said of itself: name, user, library.
fn append_client(out: &mut Vec<u8>, list: &[u8]) {
    let mut lead: &[u8] = br#","client":{"#;
    for label in arguments::iter(list) {
        let (name, text): (&[u8], _) = match label {
            Argument::Word(text) => (br#""name":""#, text),
            Argument::Key(text) => (br#""user":""#, text),
            Argument::Value(text) => (br#""lib":""#, text),
            _ => continue,
        };
        out.extend_from_slice(lead);
        out.extend_from_slice(name);
        append_text(out, text);
        out.push(b'"');
        lead = b",";
    }
    if !list.is_empty() {
        out.push(b'}');
    }
}

fn command_text<'a>(commands: &'a [CommandText], unknown: &'a CommandText, id: CommandId) -> &'a CommandText {
    commands.get(usize::from(id.0)).unwrap_or(unknown)
}

/// `OK`: answered without an error, or no answer was due. Everything else is an `Error`, as Packetbeat has it.
fn status_ok(transaction: &Transaction) -> bool {
    match transaction.outcome {
        Outcome::NoReply => true,
        outcome => outcome.is_paired() && transaction.reply != Some(Kind::Error),
    }
}

fn is_key(argument: &Argument<'_>) -> bool {
    matches!(argument, Argument::Key(_) | Argument::KeyCut(_))
}

/// All arguments after the command's words, a space before each.
fn append_arguments(out: &mut Vec<u8>, list: &[u8], values: bool, key_hasher: Option<&KeyHasher>) {
    for argument in arguments::iter(list) {
        if !matches!(argument, Argument::Word(_)) {
            out.push(b' ');
            append_argument(out, argument, values, key_hasher);
        }
    }
}

fn append_argument(out: &mut Vec<u8>, argument: Argument<'_>, values: bool, key_hasher: Option<&KeyHasher>) {
    match argument {
        Argument::Word(text) => append_text(out, text),
        Argument::Key(name) => append_key(out, name, false, key_hasher),
        Argument::KeyCut(name) => append_key(out, name, true, key_hasher),
        Argument::Value(text) if values => append_text(out, text),
        Argument::ValueCut(text) if values => append_cut(out, text),
        Argument::Value(_) | Argument::ValueCut(_) | Argument::Hidden => out.push(b'?'),
        Argument::Redacted => out.extend_from_slice(b"(redacted)"),
        Argument::More => out.extend_from_slice("…".as_bytes()),
    }
}

/// A key, or of one that is not kept whole the beginning; either by its hash if there is to be one.
fn append_key(out: &mut Vec<u8>, name: &[u8], is_cut: bool, key_hasher: Option<&KeyHasher>) {
    match key_hasher {
        Some(hasher) => {
            out.extend_from_slice(&hasher.hash(name));
            if is_cut {
                out.extend_from_slice("…".as_bytes());
            }
        }
        None if is_cut => append_cut(out, name),
        None => append_text(out, name),
    }
}

/// The beginning of a text. A character that was cut in two is left out, so that it does not look like a foreign byte.
fn append_cut(out: &mut Vec<u8>, text: &[u8]) {
    let whole = match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => &text[..error.valid_up_to()],
        _ => text,
    };
    append_text(out, whole);
    out.extend_from_slice("…".as_bytes());
}

/// `type` to `query`, the latter's closing quote left to come.
fn append_request(
    out: &mut Vec<u8>,
    command: &CommandText,
    payload: Payload,
    key_hasher: Option<&KeyHasher>,
    texts: Texts<'_>,
) {
    out.extend_from_slice(&command.method);
    if payload != Payload::None
        && let Some(key) = arguments::iter(texts.arguments).find(is_key)
    {
        out.extend_from_slice(br#"","resource":""#);
        append_argument(out, key, false, key_hasher);
    }
    out.extend_from_slice(&command.query);
    if payload != Payload::None {
        append_arguments(out, texts.arguments, false, key_hasher);
    }
}

/// The object `event` from the value of its `id` on.
fn append_event(
    out: &mut Vec<u8>,
    command: &CommandText,
    connection: &Connection,
    clock: &mut Clock,
    transaction: &Transaction,
) {
    out.extend_from_slice(&connection.id_text);
    append_number(out, transaction.index);
    out.extend_from_slice(&command.event);
    match (transaction.outcome.is_paired(), transaction.reply) {
        (false, _) => out.extend_from_slice(br#"unknown""#),
        (true, Some(Kind::Error)) => out.extend_from_slice(br#"failure""#),
        (true, _) => out.extend_from_slice(br#"success""#),
    }
    let (t1, end) = (transaction.t1, transaction.end);
    if t1.is_known() {
        out.extend_from_slice(br#","start":""#);
        clock.append(out, t1);
    }
    if end.is_known() {
        out.extend_from_slice(br#","end":""#);
        clock.append(out, end);
    }
    if t1.is_known() && end.is_known() {
        append_field(out, br#","duration":"#, end.since(t1));
    }
    out.push(b'}');
}

const BYTES: &[u8; 9] = br#","bytes":"#;

/// `source` to `network`.
fn append_parties(out: &mut Vec<u8>, connection: &Connection, transaction: &Transaction) {
    out.extend_from_slice(br#","source":"#);
    let source = out.len();
    out.push(b'{');
    out.extend_from_slice(&connection.client_text);
    append_field(out, BYTES, transaction.request_bytes);
    if let Some(labels) = &connection.labels {
        out.extend_from_slice(&labels.client);
    }
    out.push(b'}');
    let source = source..out.len();
    out.extend_from_slice(br#","destination":"#);
    let destination = out.len();
    out.push(b'{');
    out.extend_from_slice(&connection.server_text);
    // Of a reply that the capture missed nobody knows the size, nor of an item of EXEC's.
    if !matches!(transaction.outcome, Outcome::Lost | Outcome::OneSided) {
        append_field(out, BYTES, transaction.reply_bytes);
    }
    if let Some(labels) = &connection.labels {
        out.extend_from_slice(&labels.server);
    }
    out.push(b'}');
    let destination = destination..out.len();
    out.extend_from_slice(br#","client":"#);
    out.extend_from_within(source);
    out.extend_from_slice(br#","server":"#);
    out.extend_from_within(destination);
    out.extend_from_slice(&connection.network_text);
}

fn append_flags(out: &mut Vec<u8>, flags: Flags) {
    if flags == Flags::default() {
        return;
    }
    let mut before: &[u8] = br#","flags":["#;
    let begin = out.len();
    for (flag, name) in Flags::NAMES {
        if flags.has(flag) {
            out.extend_from_slice(before);
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
            before = b",";
        }
    }
    if out.len() > begin {
        out.push(b']');
    }
}

/// What records repeat of their connection.
#[derive(Debug, Default)]
struct Connection {
    id: u64,
    client: Endpoint,
    server: Endpoint,
    /// The beginning of its records' ids.
    id_text: [u8; 17],
    /// `"ip":"10.0.0.1","port":40001`; IPv6 takes up to 65 bytes.
    client_text: ArrayVec<u8, 72>,
    server_text: ArrayVec<u8, 72>,
    /// `,"network":{…}`, 110 bytes and up to 52 for VLANs.
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
            fill(text, scratch);
        }
        scratch.clear();
        let kind = if client.address.is_ipv4() && server.address.is_ipv4() { "ipv4" } else { "ipv6" };
        let _ =
            write!(scratch, r#","network":{{"type":"{kind}","transport":"tcp","protocol":"redis","community_id":""#);
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
        append_text(&mut text, name.as_bytes());
        text.push(b'"');
    }
    if let Some(process) = label.process {
        text.extend_from_slice(br#","process":{"name":""#);
        append_text(&mut text, &process.name);
        append_field(&mut text, br#"","pid":"#, u64::from(process.pid));
        text.push(b'}');
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
