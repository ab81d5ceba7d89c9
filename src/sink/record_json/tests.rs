//! Every line is held against a `serde_json::Value` that is built from the transaction another way.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::connections::community_id;
use super::super::json_text::LINE_BYTES;
use super::*;
use crate::endpoint::names::Names;
use crate::endpoint::process::{Process, Processes};
use crate::record::transaction::{Rare, Times};
use crate::redis::command::CommandId;
use crate::redis::keys::slot;
use crate::redis::pairing::{Proof, Reason};
use crate::redis::session::Database;
use crate::units::{Address, Conversation, Endpoint, Timestamp};

fn table() -> &'static CommandTable {
    static TABLE: std::sync::LazyLock<CommandTable> = std::sync::LazyLock::new(|| {
        let text =
            "GET\t2\t\t1/range:0:1:0=RO\nSET\t-3\t\t1/range:0:1:0=OW\nCLIENT SETNAME\t3\t\t\nCLIENT\t-2\tcontainer\t\n";
        CommandTable::parse(text).unwrap()
    });
    &TABLE
}

fn format(payload: Payload) -> RecordFormat {
    RecordFormat { sensor: "tap \"1\"".into(), payload, key_hasher: None, table: table(), cache_bytes: 0 }
}

fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint { address: Address::from(address.parse::<std::net::IpAddr>().unwrap()), port }
}

const T1: u64 = 1_795_348_800_000_000_123;

/// SPEC's example: `SET user:1 v`, answered by `+OK`.
fn set() -> Transaction {
    Transaction {
        conversation: Conversation {
            client: endpoint("10.0.0.1", 40_001),
            server: endpoint("10.0.0.9", 6379),
            vlans: [0; 2],
            id: 0x0123_4567_89ab_cdef,
        },
        index: 7,
        t1: Timestamp(T1),
        end: Timestamp(T1 + 181_200),
        times: Some(Times { send: 1200, queue: 0, server: 180_000, transfer: 0 }),
        request_bytes: 32,
        reply_bytes: 5,
        args: 3,
        keys: 1,
        pipeline: 0,
        command: CommandId(1),
        flags: Flags::default(),
        outcome: Outcome::Exact,
        reply: Some(Kind::Simple),
        text_at: 0,
        arguments_len: 0,
        key: KeyPlace::default(),
        rare: Transaction::NOTHING_RARE,
        db: Database::UNKNOWN,
    }
}

fn list(entries: &[Argument<'_>]) -> Vec<u8> {
    let mut list = Vec::new();
    for &entry in entries {
        arguments::append(&mut list, entry);
    }
    list
}

/// The record of a batch's only transaction, which is the same whether it is put into a room or into a line of any length.
fn record(writer: &mut RecordWriter, batch: &RecordBatch, labels: &Labels) -> String {
    let labels = (!labels.is_empty()).then_some(labels);
    let [transaction] = batch.transactions[..] else { panic!("it is not alone") };
    let mut out = Vec::new();
    writer.append(&mut out, batch, &transaction, labels);
    let mut room = Box::new([0; RecordWriter::ROOM_BYTES]);
    let expected = writer.expect(batch, &transaction);
    if let Some(length) = writer.put(&mut room, batch, &transaction, &expected, labels) {
        assert_eq!(room[..length], out);
    } else {
        assert!(out.len() >= LINE_BYTES || transaction.command == CommandId::UNKNOWN);
    }
    // Nor does it differ where it is known beforehand where the key is.
    if let Some((at, length)) = arguments::key_behind_words(batch.arguments(&transaction))
        && let (Ok(at), Ok(length)) = (u8::try_from(at), u8::try_from(length))
    {
        let mut same = Vec::new();
        writer.append(&mut same, batch, &Transaction { key: KeyPlace { at, length }, ..transaction }, labels);
        assert_eq!(same, out);
    }
    String::from_utf8(out).unwrap()
}

fn batch(transaction: Transaction, arguments: &[u8], rare: Rare<'_>) -> RecordBatch {
    let mut batch = RecordBatch::default();
    batch.push(transaction, arguments);
    if rare != Rare::default() {
        batch.add(rare);
    }
    batch
}

fn line(payload: Payload, transaction: Transaction, entries: &[Argument<'_>], error: &[u8], response: &[u8]) -> String {
    let batch = batch(transaction, &list(entries), Rare { error, response, ..Rare::default() });
    record(&mut RecordWriter::new(&format(payload)), &batch, &Labels::default())
}

fn parsed(line: &str) -> Value {
    assert_eq!(line.matches('\n').count(), 1, "one line: {line}");
    serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap()
}

const SET: [Argument<'_>; 3] = [Argument::Word(b"set"), Argument::Key(b"user:1"), Argument::Value(b"v")];

#[test]
fn the_example_of_the_specification_is_reproduced_in_its_order() {
    let found = line(Payload::Full, set(), &SET, b"", b"OK");
    assert_eq!(
        found,
        concat!(
            r#"{"@timestamp":"2026-11-22T12:00:00.000000123Z","type":"redis","method":"SET","resource":"user:1","#,
            r#""query":"SET user:1 ?","status":"OK","ecs":{"version":"8.11"},"observer":{"name":"tap \"1\""},"#,
            r#""event":{"id":"0123456789abcdef-7","kind":"event","category":["network"],"dataset":"redis","#,
            r#""action":"redis.set","outcome":"success","start":"2026-11-22T12:00:00.000000123Z","#,
            r#""end":"2026-11-22T12:00:00.000181323Z","duration":181200},"#,
            r#""source":{"ip":"10.0.0.1","port":40001,"bytes":32},"destination":{"ip":"10.0.0.9","port":6379,"bytes":5},"#,
            r#""client":{"ip":"10.0.0.1","port":40001,"bytes":32},"server":{"ip":"10.0.0.9","port":6379,"bytes":5},"#,
            r#""network":{"type":"ipv4","transport":"tcp","protocol":"redis","community_id":"#,
            r#""1:jCoYRPRY3W7nWZMAU+xOkY4KQtw="},"#,
            r#""redis":{"command":"SET","args":3,"keys":1,"slot":10778,"reply":"simple","pairing":"exact","send":1200,"#,
            r#""queue":0,"server":180000,"transfer":0,"latency":180000,"pipeline":0,"return_value":"OK","#,
            r#""request":"SET user:1 v","response":"OK"}}"#,
            "\n"
        )
    );
}

#[test]
fn a_record_that_is_too_long_for_its_room_is_put_whole() {
    for length in (1200..1800).chain([50_000]) {
        let response = vec![b'x'; length];
        let record = parsed(&line(Payload::Full, set(), &SET, b"", &response));
        assert_eq!(record["redis"]["return_value"].as_str().map(str::len), Some(length));
        assert_eq!(record["redis"]["response"], record["redis"]["return_value"]);
    }
}

#[test]
fn as_many_arguments_as_there_may_be_are_put_one_by_one() {
    for entry in [Argument::Hidden, Argument::Redacted, Argument::More, Argument::Key(b"\n"), Argument::Value(b"\xff")]
    {
        for count in (0..40).map(|n| n * n * n / 4) {
            let entries: Vec<_> = [Argument::Word(b"set")].into_iter().chain(vec![entry; count]).collect();
            for payload in [Payload::Keys, Payload::Full] {
                let record = parsed(&line(payload, set(), &entries, b"", b"OK"));
                assert_eq!(record["query"].as_str().unwrap().split(' ').count(), 1 + count);
            }
        }
    }
}

#[test]
fn what_is_not_to_be_shown_is_not_shown() {
    let mut failed = set();
    failed.reply = Some(Kind::Error);
    let error = b"WRONGTYPE Operation against a key holding the wrong kind of value";
    let keys = parsed(&line(Payload::Keys, failed, &SET, error, b"secret"));
    assert_eq!(keys["query"], "SET user:1 ?");
    assert_eq!(keys["resource"], "user:1");
    assert_eq!(keys["redis"]["error"], "WRONGTYPE");
    assert_eq!(keys["redis"]["error_code"], "WRONGTYPE");
    assert_eq!(keys["status"], "Error");
    assert_eq!(keys["event"]["outcome"], "failure");
    for absent in ["return_value", "request", "response"] {
        assert_eq!(keys["redis"].get(absent), None, "{absent}");
    }

    let none = line(Payload::None, failed, &SET, error, b"secret");
    assert!(!none.contains("user:1") && !none.contains("slot") && !none.contains("Operation"), "{none}");
    assert_eq!(parsed(&none)["query"], "SET");
    assert_eq!(parsed(&none)["redis"]["keys"], 1);

    let full = parsed(&line(Payload::Full, failed, &SET, error, b""));
    assert_eq!(full["redis"]["error"], std::str::from_utf8(error).unwrap());
    assert_eq!(full["redis"]["response"], full["redis"]["error"]);
    assert_eq!(full["redis"].get("return_value"), None);
}

#[test]
fn row_32_a_script_or_function_is_named() {
    let sha = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let named = Rare { script: sha, client: &list(&[Argument::Word(b"web")]), ..Rare::default() };
    let mut lines = [named, Rare::default()].into_iter().map(|texts| {
        let mut writer = RecordWriter::new(&format(Payload::Keys));
        parsed(&record(&mut writer, &batch(set(), &[], texts), &Labels::default()))
    });
    let redis = lines.next().unwrap()["redis"].clone();
    assert_eq!((&redis["script"], &redis["client"]["name"]), (&json!(str::from_utf8(sha).unwrap()), &json!("web")));
    assert_eq!(lines.next().unwrap()["redis"].get("script"), None);
}

#[test]
fn requests_without_a_reply_have_an_unknown_outcome() {
    let mut request = set();
    (request.reply, request.times, request.reply_bytes) = (None, None, 0);
    request.end = request.t1;
    let cases = [
        (Outcome::NoReply, "OK", true, "no_reply"),
        (Outcome::TimedOut, "Error", true, "timed_out"),
        (Outcome::Lost, "Error", false, "lost"),
        (Outcome::OneSided, "Error", false, "one_sided"),
        (Outcome::Unanswered(Reason::Rst), "Error", true, "unanswered"),
    ];
    for (outcome, status, reply_bytes_known, pairing) in cases {
        request.outcome = outcome;
        let record = parsed(&line(Payload::Full, request, &SET, b"", b""));
        assert_eq!(record["event"]["outcome"], "unknown");
        assert_eq!(record["status"], status, "{pairing}");
        assert_eq!(record["redis"]["pairing"], pairing);
        assert_eq!(record["destination"].get("bytes").is_some(), reply_bytes_known, "{pairing}");
        assert_eq!(record["server"], record["destination"]);
        for absent in ["latency", "reply", "response", "return_value", "error"] {
            assert_eq!(record["redis"].get(absent), None, "{absent}");
        }
        assert_eq!(record["redis"].get("reason").is_some(), pairing == "unanswered");
    }
}

#[test]
fn times_that_are_not_known_are_absent() {
    let mut request = set();
    (request.t1, request.times) = (Timestamp::NONE, None);
    let record = parsed(&line(Payload::Keys, request, &SET, b"", b""));
    assert_eq!(record["@timestamp"], record["event"]["end"], "the known time stands in");
    assert_eq!(record["event"].get("start"), None);
    assert_eq!(record["event"].get("duration"), None);
    request.end = Timestamp::NONE;
    let record = parsed(&line(Payload::Keys, request, &SET, b"", b""));
    assert_eq!(record.get("@timestamp"), None);
    assert_eq!(record["event"].get("end"), None);
}

#[test]
fn unknown_commands_are_named_by_their_words_if_these_look_like_names() {
    let mut request = set();
    request.command = CommandId::UNKNOWN;
    let method = |words: &[&[u8]]| {
        let words: Vec<_> = words.iter().map(|word| Argument::Word(word)).chain([Argument::Hidden]).collect();
        let record = parsed(&line(Payload::Keys, request, &words, b"", b""));
        assert_eq!(record["redis"]["command"], record["method"]);
        (record["method"].as_str().unwrap().to_owned(), record["event"]["action"].as_str().unwrap().to_owned())
    };
    assert_eq!(method(&[b"ft.search"]), ("FT.SEARCH".into(), "redis.ft.search".into()));
    assert_eq!(method(&[b"client", b"new"]), ("CLIENT NEW".into(), "redis.client.new".into()));
    for words in [&[&b"a b"[..]][..], &[b""], &[b"\xff"], &[b"ok", b"\""], &[&[b'x'; 65]], &[]] {
        assert_eq!(method(words), ("unknown".into(), "redis.unknown".into()), "{words:?}");
    }
    assert_eq!(method(&[&[b'x'; 64]]).0, "X".repeat(64));
    assert_eq!(parsed(&line(Payload::Keys, request, &[], b"", b""))["query"], "unknown");
}

#[test]
fn cut_and_redacted_arguments_say_so() {
    let entries = [
        Argument::Word(b"SET"),
        Argument::KeyCut("schlüssel".as_bytes().get(..5).unwrap()),
        Argument::ValueCut(b"\xff\\"),
        Argument::Hidden,
        Argument::Redacted,
        Argument::More,
    ];
    let record = parsed(&line(Payload::Full, set(), &entries, b"", b""));
    assert_eq!(record["resource"], "schl…", "half a character is not shown as a byte");
    assert_eq!(record["query"], "SET schl… ? ? (redacted) …");
    assert_eq!(record["redis"]["request"], r"SET schl… \xff\\… ? (redacted) …");
}

#[test]
fn vlans_are_named_as_ecs_has_them() {
    let network = |vlans| {
        let mut transaction = set();
        transaction.conversation.vlans = vlans;
        let text = line(Payload::Keys, transaction, &SET, b"", b"");
        let (_, network) = text.split_once(r#""network":"#).unwrap();
        network.split_once(r#","redis""#).unwrap().0.split_once(r#"KQtw=","#).map(|(_, vlans)| vlans.to_owned())
    };
    assert_eq!(network([0, 0]), None, "community_id is the last field");
    assert_eq!(network([12, 0]).unwrap(), r#""vlan":{"id":"12"}}"#);
    assert_eq!(network([4094, 4093]).unwrap(), r#""vlan":{"id":"4094"},"inner":{"vlan":{"id":"4093"}}}"#);
}

#[test]
fn keys_are_shown_by_their_hash_and_what_could_repeat_them_is_not() {
    let hasher = KeyHasher::new(b"Jefe");
    let hash = |name: &[u8]| String::from_utf8(hasher.hash(name).to_vec()).unwrap();
    let entries = [Argument::Word(b"SET"), Argument::Key(b"user:1"), Argument::Value(b"v"), Argument::KeyCut(b"cut")];
    let line = |transaction, error: &[u8]| {
        let format = RecordFormat { key_hasher: Some(hasher.clone()), ..format(Payload::Full) };
        let mut list = Vec::new();
        for entry in entries {
            arguments::append(&mut list, entry);
        }
        let batch = batch(transaction, &list, Rare { error, response: b"user:1", ..Rare::default() });
        record(&mut RecordWriter::new(&format), &batch, &Labels::default())
    };
    let text = line(set(), b"");
    assert!(!text.contains("user:1"), "{text}");
    let record = parsed(&text);
    assert_eq!(record["resource"], hash(b"user:1"));
    assert_eq!(record["query"], format!("SET {} ? {}…", hash(b"user:1"), hash(b"cut")));
    assert_eq!(record["redis"]["request"], format!("SET {} v {}…", hash(b"user:1"), hash(b"cut")));
    assert_eq!(record["redis"]["slot"], 10778, "that of the key itself");
    let failed = line(Transaction { reply: Some(Kind::Error), ..set() }, b"BUSYKEY user:1 exists");
    assert_eq!(parsed(&failed)["redis"]["error"], "BUSYKEY");
    assert!(!failed.contains("user:1"), "{failed}");
}

/// The whole record, from the words of the specification.
fn oracle(
    payload: Payload,
    transaction: &Transaction,
    entries: &[Argument<'_>],
    error: &[u8],
    response: &[u8],
) -> Value {
    let name = match transaction.command.0 {
        0 => "GET",
        1 => "SET",
        2 => "CLIENT SETNAME",
        3 => "CLIENT",
        _ => "unknown",
    };
    let (mut query, mut request, mut resource) = (name.to_owned(), name.to_owned(), None);
    for entry in entries {
        let (hidden, open) = match entry {
            Argument::Word(_) => continue,
            Argument::Key(text) => (shown(text), shown(text)),
            Argument::KeyCut(text) => (shown(text) + "…", shown(text) + "…"),
            Argument::Value(text) => ("?".into(), shown(text)),
            Argument::ValueCut(text) => ("?".into(), shown(text) + "…"),
            Argument::Hidden => ("?".into(), "?".into()),
            Argument::Redacted => ("(redacted)".into(), "(redacted)".into()),
            Argument::More => ("…".into(), "…".into()),
        };
        if matches!(entry, Argument::Key(_) | Argument::KeyCut(_)) && resource.is_none() {
            resource = Some(hidden.clone());
        }
        query = query + " " + &hidden;
        request = request + " " + &open;
    }
    if payload == Payload::None {
        (query, resource) = (name.to_owned(), None);
    }
    let party = |end: &Endpoint, bytes| json!({"ip": end.address.to_string(), "port": end.port, "bytes": bytes});
    let (client, server) = (
        party(&transaction.conversation.client, transaction.request_bytes),
        party(&transaction.conversation.server, transaction.reply_bytes),
    );
    let community = community_id(transaction.conversation.client, transaction.conversation.server);
    let is_error = transaction.reply == Some(Kind::Error);
    let (outcome, status) = if is_error { ("failure", "Error") } else { ("success", "OK") };
    let mut record = Map::new();
    record.insert("@timestamp".into(), json!(transaction.t1.to_string()));
    record.insert("type".into(), json!("redis"));
    record.insert("method".into(), json!(name));
    if let Some(resource) = resource {
        record.insert("resource".into(), json!(resource));
    }
    record.insert("query".into(), json!(query));
    record.insert("status".into(), json!(status));
    record.insert("ecs".into(), json!({"version": "8.11"}));
    record.insert("observer".into(), json!({"name": "tap \"1\""}));
    record.insert(
        "event".into(),
        json!({
            "id": format!("{:016x}-{}", transaction.conversation.id, transaction.index), "kind": "event",
            "category": ["network"], "dataset": "redis",
            "action": format!("redis.{}", name.to_lowercase().replace(' ', ".")), "outcome": outcome,
            "start": transaction.t1.to_string(), "end": transaction.end.to_string(),
            "duration": transaction.end.0 - transaction.t1.0,
        }),
    );
    for (role, value) in [("source", &client), ("destination", &server), ("client", &client), ("server", &server)] {
        record.insert(role.into(), value.clone());
    }
    let kind = if transaction.conversation.client.address.is_ipv4() { "ipv4" } else { "ipv6" };
    let community = str::from_utf8(&community).unwrap();
    let mut network = json!({"type": kind, "transport": "tcp", "protocol": "redis", "community_id": community});
    let [vlan, inner_vlan] = transaction.conversation.vlans.map(|vlan| json!({"id": vlan.to_string()}));
    if transaction.conversation.vlans[0] != 0 {
        network["vlan"] = vlan;
    }
    if transaction.conversation.vlans[1] != 0 {
        network["inner"] = json!({"vlan": inner_vlan});
    }
    record.insert("network".into(), network);
    // The slot tells something about the key, so it is shown only where the key may be.
    let is_any_key = |entry: &&Argument<'_>| matches!(entry, Argument::Key(_) | Argument::KeyCut(_));
    let slot = match entries.iter().find(is_any_key) {
        Some(Argument::Key(key)) if payload != Payload::None => Some(slot(key)),
        _ => None,
    };
    record.insert("redis".into(), redis(payload, transaction, slot, name, &request, error, response));
    Value::Object(record)
}

fn redis(
    payload: Payload,
    transaction: &Transaction,
    slot: Option<u16>,
    name: &str,
    request: &str,
    error: &[u8],
    response: &[u8],
) -> Value {
    let mut redis = json!({"command": name, "args": transaction.args, "keys": transaction.keys});
    let fields = redis.as_object_mut().unwrap();
    if let Some(slot) = slot {
        fields.insert("slot".into(), json!(slot));
    }
    fields.insert("reply".into(), json!(transaction.reply.unwrap().name()));
    fields.insert("pairing".into(), json!(transaction.outcome.name()));
    if let Outcome::Resynced(proof) = transaction.outcome {
        fields.insert("proof".into(), json!(proof.name()));
    }
    if let Some(times) = transaction.times {
        let parts = [("send", times.send), ("queue", times.queue), ("server", times.server)];
        for (name, value) in parts.into_iter().chain([("transfer", times.transfer)]) {
            fields.insert(name.into(), json!(value));
        }
        fields.insert("latency".into(), json!(times.queue + times.server + times.transfer));
    }
    fields.insert("pipeline".into(), json!(transaction.pipeline));
    let flags: Vec<_> =
        Flags::NAMES.iter().filter(|(flag, _)| transaction.flags.0 & flag.0 != 0).map(|(_, name)| *name).collect();
    if !flags.is_empty() {
        fields.insert("flags".into(), json!(flags));
    }
    let is_error = transaction.reply == Some(Kind::Error);
    if is_error && !error.is_empty() {
        let code = ErrorCode::of(error).as_str().to_owned();
        let text = if payload == Payload::Full { shown(error) } else { code.clone() };
        fields.insert("error".into(), json!(text));
        fields.insert("error_code".into(), json!(code));
    }
    if payload == Payload::Full {
        if !is_error {
            fields.insert("return_value".into(), json!(shown(response)));
        }
        fields.insert("request".into(), json!(request));
        let response = if is_error && response.is_empty() { error } else { response };
        fields.insert("response".into(), json!(shown(response)));
    }
    redis
}

fn shown(text: &[u8]) -> String {
    let json = [&b"\""[..], &escaped(text), b"\""].concat();
    serde_json::from_slice(&json).expect("the tests of json_text hold the text itself against the rule")
}

/// Bytes among which everything that JSON minds is frequent; characters are never cut at the end.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        "[a-z:]{1,9}".prop_map(String::into_bytes),
        Just(b"\\".to_vec()),
        Just(b"\"\r\n\0".to_vec()),
        Just("\u{2028}é".as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| {
        let mut bytes = pieces.concat();
        bytes.push(b'.');
        bytes
    })
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let outcome = prop_oneof![Just(Outcome::Exact), prop::sample::select(&Proof::ALL).prop_map(Outcome::Resynced)];
    let reply = prop_oneof![Just(Kind::Error), Just(Kind::Bulk), Just(Kind::BigNumber)];
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), 0u32..3, any::<u32>());
    let vlans = prop_oneof![
        Just([0, 0]),
        (1u16..4096).prop_map(|vlan| [vlan, 0]),
        (1u16..4096, 1u16..4096).prop_map(<[u16; 2]>::from)
    ];
    let times = (1u64..u64::MAX / 2, 0u64..1 << 40, proptest::option::of((0u64..1 << 40, 0u64..1 << 40)));
    (numbers, times, any::<bool>(), vlans, 0u16..5, 0u16..64, outcome, reply).prop_map(
        |(numbers, (t1, duration, parts), ipv6, vlans, command, flags, outcome, reply)| {
            let server = if ipv6 { endpoint("2001:db8::9", 6379) } else { endpoint("10.0.0.9", 6379) };
            Transaction {
                conversation: Conversation {
                    client: if ipv6 {
                        endpoint("fe80::1:2", numbers.2 as u16)
                    } else {
                        endpoint("10.1.2.3", numbers.4 as u16)
                    },
                    server,
                    vlans,
                    id: numbers.0,
                },
                index: numbers.1,
                request_bytes: numbers.1 >> 3,
                reply_bytes: numbers.0 >> 5,
                args: numbers.2,
                keys: numbers.3,
                pipeline: numbers.4,
                t1: Timestamp(t1),
                end: Timestamp(t1 + duration),
                times: parts.map(|(a, b)| Times { send: a / 3, queue: a, server: b, transfer: a ^ b }),
                command: if command == 4 { CommandId::UNKNOWN } else { CommandId(command) },
                flags: Flags(flags),
                outcome,
                reply: Some(reply),
                ..set()
            }
        },
    )
}

proptest! {
    #[test]
    fn every_record_is_what_the_oracle_builds_in_the_same_order(
        transaction in transaction(),
        payload in prop_oneof![Just(Payload::None), Just(Payload::Keys), Just(Payload::Full)],
        texts in proptest::collection::vec((0u8..8, hostile()), 0..5),
        error in prop_oneof![hostile(), Just(b"NOAUTH required".to_vec()), Just(vec![])],
        response in hostile(),
    ) {
        let entries: Vec<Argument<'_>> = texts
            .iter()
            .map(|(kind, text)| match kind {
                0 | 1 => Argument::Key(text),
                2 => Argument::KeyCut(text),
                3 => Argument::Value(text),
                4 => Argument::ValueCut(text),
                5 => Argument::Hidden,
                6 => Argument::Redacted,
                _ => Argument::More,
            })
            .collect();
        let found = parsed(&line(payload, transaction, &entries, &error, &response));
        let expected = oracle(payload, &transaction, &entries, &error, &response);
        prop_assert_eq!(&found, &expected);
        // Printed, the two show the order of their fields as well.
        prop_assert_eq!(found.to_string(), expected.to_string());
    }
}

#[test]
fn names_and_processes_stand_behind_the_addresses_of_both_ends_and_roles() {
    let text = "\"10.0.0.0/24\" = \"check\\\"out\"\n\"10.0.0.9:6379\" = \"cache-a\"";
    let processes = Processes::knowing(&set(), Process { name: b"redis-\xff".to_vec(), pid: 4711 });
    let labels = Labels::new(Names::parse("names.toml".as_ref(), text).unwrap(), Some(processes));
    let batch = batch(set(), &[], Rare::default());
    let line = record(&mut RecordWriter::new(&format(Payload::Keys)), &batch, &labels);
    let source = r#"{"ip":"10.0.0.1","port":40001,"bytes":32,"name":"check\"out"}"#;
    let destination = concat!(
        r#"{"ip":"10.0.0.9","port":6379,"bytes":5,"name":"cache-a","#,
        r#""process":{"name":"redis-\\xff","pid":4711}}"#
    );
    for (name, value) in [("source", source), ("client", source), ("destination", destination), ("server", destination)]
    {
        assert!(line.contains(&format!("\"{name}\":{value},")), "{name}: {line}");
    }
    parsed(&line);
}

#[test]
fn a_process_that_is_found_later_is_in_the_records_from_then_on() {
    let mut writer = RecordWriter::new(&format(Payload::Keys));
    let batch = batch(set(), &[], Rare::default());
    let mut process_of =
        |labels: &Labels| parsed(&record(&mut writer, &batch, labels))["server"]["process"]["pid"].clone();
    assert_eq!(process_of(&Labels::default()), Value::Null);
    let found = Processes::knowing(&set(), Process { name: b"redis-server".to_vec(), pid: 7 });
    assert_eq!(process_of(&Labels::new(Names::default(), Some(found))), 7);
}

#[test]
fn all_commands_fit_into_their_places_and_what_does_not_is_named_whole() {
    let writer = RecordWriter::new(&RecordFormat { table: CommandTable::built_in(), ..format(Payload::Keys) });
    for command in &writer.commands {
        assert!(command.is_short, "{}", command.name.escape_ascii());
    }
    let sensor = "s".repeat(200);
    let mut writer = RecordWriter::new(&RecordFormat { sensor: sensor.clone(), ..format(Payload::Keys) });
    let found = parsed(&{
        let mut out = Vec::new();
        let batch = batch(set(), &[], Rare::default());
        let transaction = &batch.transactions[0];
        let expected = writer.expect(&batch, transaction);
        assert_eq!(writer.put(&mut [0; RecordWriter::ROOM_BYTES], &batch, transaction, &expected, None), None);
        writer.append(&mut out, &batch, transaction, None);
        String::from_utf8(out).unwrap()
    });
    assert_eq!(found["observer"]["name"], sensor);
}

#[test]
fn few_and_many_arguments_and_keys_are_counted() {
    for (args, keys) in [(0, 0), (1, 0), (9, 9), (10, 9), (9, 10), (u32::MAX, u32::MAX)] {
        let redis = parsed(&line(Payload::Keys, Transaction { args, keys, ..set() }, &SET, b"", b""))["redis"].clone();
        assert_eq!((&redis["args"], &redis["keys"]), (&json!(args), &json!(keys)));
    }
}
