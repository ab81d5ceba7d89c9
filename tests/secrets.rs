//! No secret in any output: plants a canary in each place that PROTOCOL row 47 names, in every form in which it can be sent,
//! with its bytes cut, missing or begun before the capture, runs the program, and searches all that it writes.
//!
//! A canary is found by five letters of it, in any case, so that a part that is shown is found as well. Values and keys of
//! ordinary commands are planted beside it: they must be found where `--payload` says so, or the search would prove nothing.

mod common;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::packet::{ACK, EPOCH, MILLISECOND, PSH, Packet, SYN, sorted};
use resptap::capture::LinkType;
use resptap::capture::write::PcapWriter;
use resptap::units::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

/// A secret. Its letters are no hex digits, so that no hash holds them.
const CANARY: &str = "zqxjkvwyqzkx";
/// A value, a key, the name of a command, of a client and of a user, the text of an error: all of which may be shown.
const VALUE: &str = "gullqhqvz";
const KEY: &str = "kiwiqhqvz";
/// The key's hash: `printf kiwiqhqvz | openssl dgst -sha256 -hmac qhq-secret`.
const HASH: &str = "be8bf27add6d90d7793cb4845aa64686";
const SECRET: &str = "qhq-secret";
const NAME: &str = "NIGHTQHQ.JAR";
const CLIENT: &str = "clientqhq";
const USER: &str = "userqhq";
const ERROR_TEXT: &str = "Operation against qhq";

/// A reply, `{}` being the canary.
#[derive(Clone, Copy)]
enum Reply {
    /// As it goes over the wire, but for the end of its last line.
    Line(&'static str),
    Bulk(&'static str),
    Array(&'static [&'static str]),
    Map(&'static [&'static str]),
}

use Reply::{Array, Bulk, Line, Map};

const OK: Reply = Line("+OK");

impl Reply {
    fn bytes(self) -> Vec<u8> {
        let planted = |text: &str| text.replace("{}", CANARY);
        let bulk = |text: &&str| format!("${}\r\n{}\r\n", planted(text).len(), planted(text));
        let text = match self {
            Line(text) => format!("{}\r\n", planted(text)),
            Bulk(text) => bulk(&text),
            Array(items) => format!("*{}\r\n{}", items.len(), items.iter().map(bulk).collect::<String>()),
            Map(items) => format!("%{}\r\n{}", items.len() / 2, items.iter().map(bulk).collect::<String>()),
        };
        text.into_bytes()
    }

    /// Whether the server takes the command into a MULTI.
    fn queues(self) -> bool {
        !matches!(self, Line(text) if text.contains("nknown") || text.contains('\n') && text.starts_with('+'))
    }
}

/// What is sent where a secret is, `{}` being the canary, and what is answered.
#[rustfmt::skip]
const ROWS: &[(&str, Reply)] = &[
    ("AUTH {}", OK),
    ("auth {}", Line("-ERR AUTH <password> called without any password configured for the default user")),
    ("AUTH {}", Line("-WRONGPASS invalid username-password pair or user is disabled.")),
    ("AUTH alice {}", OK),
    ("AUTH alice {} {}", Line("-ERR syntax error '{}'")),
    ("HELLO 3 AUTH alice {}", Map(&["proto", "3"])),
    ("HELLO 3 AUTH alice {} SETNAME me", Map(&["proto", "3"])),
    ("HELLO 2 SETNAME me AUTH alice {}", Array(&["proto", "2"])),
    ("HELLO 3 AUHT alice {}", Line("-ERR Syntax error in HELLO option '{}'")),
    ("HELLO 3 AUTH {}", Line("-ERR Syntax error in HELLO option 'AUTH'")),
    ("ACL SETUSER alice on >{} ~*", OK),
    ("ACL SETUSER alice <{}", OK),
    ("ACL SETUSER alice #{}", OK),
    ("ACL SETUSER alice !{}", Line("-ERR Error in ACL SETUSER modifier '!{}': The password you are trying to remove")),
    ("ACL SETUSER alice {}", Line("-ERR Error in ACL SETUSER modifier '{}': Syntax error")),
    ("ACL SETUSR alice >{}", Line("-ERR unknown subcommand 'SETUSR'. Try ACL HELP.")),
    ("ACL {}", Line("-ERR unknown subcommand '{}'. Try ACL HELP.")),
    ("ACL DRYRUN alice AUTH {}", OK),
    ("ACL GETUSER alice", Array(&["flags", "on", "passwords", "{}"])),
    ("ACL GETUSER alice", Map(&["flags", "on", "passwords", "{}"])),
    ("ACL LIST", Array(&["user default on nopass", "user alice on #{} ~* &* +@all"])),
    ("ACL GENPASS", Bulk("{}")),
    ("CONFIG SET requirepass {}", OK),
    ("CONFIG SET masterauth {}", OK),
    ("CONFIG SET primaryauth {}", OK),
    ("CONFIG SET masteruser {}", OK),
    ("CONFIG SET primaryuser {}", OK),
    ("CONFIG SET tls-key-file-pass {}", OK),
    ("CONFIG SET tls-client-key-file-pass {}", OK),
    ("CONFIG SET maxmemory 1 requirepass {} masterauth {}", OK),
    ("CONFIG SET requirepass {}", Line("-ERR CONFIG SET failed (possibly related to argument '{}') - no")),
    ("CONFIG SET {}", Line("-ERR Unsupported CONFIG parameter: {}")),
    ("CONFIG STE requirepass {}", Line("-ERR unknown subcommand 'STE'. Try CONFIG HELP.")),
    ("CONFIG {} x", Line("-ERR unknown subcommand '{}'. Try CONFIG HELP.")),
    ("CONFIG GET requirepass", Array(&["requirepass", "{}"])),
    ("CONFIG GET *", Map(&["maxmemory", "1", "masterauth", "{}", "masteruser", "{}"])),
    ("MIGRATE h 6379 key 0 9 AUTH {}", OK),
    ("MIGRATE h 6379 '' 0 9 AUTH2 alice {} KEYS a b", OK),
    ("MIGRATE h 6379 '' 0 9 KEYS a AUTH {}", OK),
    ("MIGRATE h 6379 '' 0 9 KEYS a AUTH2 alice {}", Line("-ERR Target instance replied with error: WRONGPASS {}")),
    ("SENTINEL SET mymaster auth-pass {}", OK),
    ("SENTINEL SET mymaster auth-user {} auth-pass {}", Line("-ERR Invalid argument '{}' for SENTINEL SET 'auth-pass'")),
    ("SENTINEL CONFIG SET sentinel-pass {}", OK),
    ("SENTINEL CONFIG SET sentinel-user {}", OK),
    ("SENTINEL CONFIG GET sentinel-pass", Array(&["sentinel-pass", "{}"])),
    ("SENTINEL {} mymaster", Line("-ERR Unknown sentinel subcommand '{}'")),
    ("MODULE LOAD /lib/m.so password {}", OK),
    ("MODULE LOADEX /lib/m.so ARGS {}", OK),
    // Mistyped: neither the table nor the server knows it.
    ("AUHT {}", Line("-ERR unknown command 'AUHT', with args beginning with: '{}' ")),
    ("AUHT alice {}", Line("-ERR unknown command `AUHT`, with args beginning with: `alice`, `{}`, ")),
    ("AUHT {} correct horse", Line("-ERR unknown command 'AUHT', with args beginning with: '{}' 'correct' ")),
    ("{}", Line("-ERR unknown command '{}', with args beginning with: ")),
    ("{} PING", Line("-ERR unknown command {}")),
    ("M.{} some thing", Line("-ERR unknown command 'M.{}', with args beginning with: 'some' 'thing' ")),
    ("CLIENT {}", Line("-ERR unknown subcommand '{}'. Try CLIENT HELP.")),
    ("CLIENT STENAME {}", Line("-ERR unknown subcommand 'STENAME'. Try CLIENT HELP.")),
    // Renamed: the server knows it.
    ("myauth {}", OK),
    ("b840fc SET requirepass {}", OK),
    ("b840fc GET requirepass", Array(&["requirepass", "{}"])),
    ("greet 3 AUTH alice {}", Map(&["proto", "3"])),
    // What other clients sent.
    ("SLOWLOG GET", Array(&["CONFIG", "SET", "requirepass", "{}"])),
    ("MONITOR", Line("+OK\r\n+1795367238.519800 [0 127.0.0.1:41810] \"AUTH\" \"{}\"")),
    ("PING", Line("+1795367238.519800 [0 127.0.0.1:41810] \"CONFIG\" \"SET\" \"requirepass\" \"{}\"\r\n+PONG")),
    // Errors of any command, and within replies.
    ("GET a b c", Line("-ERR wrong number of arguments, with args beginning with: {}")),
    ("EVALSHA 55c2 0", Line("*2\r\n:1\r\n-ERR unknown command '{}'")),
];

/// Commands of which nothing is a secret, and what may be found of them.
const PLAIN: &[(&str, Reply)] = &[
    ("AUTH userqhq {}", OK),
    ("CLIENT SETNAME clientqhq", OK),
    ("SET kiwiqhqvz gullqhqvz", OK),
    ("GET kiwiqhqvz", Bulk("gullqhqvz")),
    ("LPUSH kiwiqhqvz gullqhqvz", Line("-WRONGTYPE Operation against qhq")),
    ("nightqhq.jar kiwiqhqvz {}", OK),
];

fn words(command: &str) -> Vec<String> {
    let word = |word: &str| if word == "''" { String::new() } else { word.replace("{}", CANARY) };
    command.split(' ').map(word).collect()
}

fn multibulk(command: &str) -> Vec<u8> {
    let words = words(command);
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn inline(command: &str) -> Vec<u8> {
    format!("{}\r\n", command.replace("{}", CANARY)).into_bytes()
}

/// Who says what, in turn: the client (`true`) or the server.
type Talk = Vec<(bool, Vec<u8>)>;

/// The row's command in each form, followed by commands that let the framing be found again.
fn forms(command: &str, reply: Reply) -> Vec<Talk> {
    let ping = || [(true, multibulk("PING")), (false, b"+PONG\r\n".to_vec())];
    let single = |request| [vec![(true, request), (false, reply.bytes())], [ping(), ping(), ping()].concat()].concat();
    let mut forms = vec![single(multibulk(command)), single(inline(command))];
    if reply.queues() {
        let exec = [b"*2\r\n+PONG\r\n", &reply.bytes()[..]].concat();
        let queued: Talk = vec![
            (true, multibulk("MULTI")),
            (false, b"+OK\r\n".to_vec()),
            (true, [multibulk("PING"), multibulk(command)].concat()),
            (false, b"+QUEUED\r\n+QUEUED\r\n".to_vec()),
            (true, multibulk("EXEC")),
            (false, exec),
        ];
        forms.push([queued, [ping(), ping(), ping()].concat()].concat());
    }
    forms
}

/// What the capture has of a conversation.
#[derive(Clone, Copy)]
enum Sight {
    /// All of it; this turn's bytes in two segments.
    Cut { turn: usize, at: usize },
    /// Each byte in a segment of its own.
    Bytes,
    /// Not these bytes of a turn.
    Gap { turn: usize, from: usize, to: usize },
    /// Not what came before this byte.
    Begin { turn: usize, at: usize },
}

/// All places within the turns that hold the canary, or part of a MULTI that does.
fn places(talk: &Talk) -> impl Iterator<Item = (usize, usize, usize)> {
    let holds = |bytes: &[u8]| memchr_find(bytes, CANARY.as_bytes());
    let last = talk.iter().rposition(|(_, bytes)| holds(bytes)).unwrap_or(0);
    let turns = talk.iter().enumerate().take(last + 1);
    turns.flat_map(move |(turn, (_, bytes))| {
        let all = if holds(bytes) { bytes.len() } else { 1 };
        (0..all).map(move |at| (turn, at, bytes.len()))
    })
}

fn memchr_find(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// A capture of many conversations, a connection each.
#[derive(Default)]
struct Capture {
    packets: Vec<Packet>,
    connections: u16,
}

impl Capture {
    /// One in which each row is seen in each of these ways, and the plain commands once.
    fn of(sights: impl Fn(&Talk) -> Vec<Sight>) -> Capture {
        let mut capture = Capture::plain();
        for (command, reply) in ROWS {
            for talk in forms(command, *reply) {
                for sight in sights(&talk) {
                    capture.add(&talk, sight);
                }
            }
        }
        capture
    }

    /// One of the plain commands.
    fn plain() -> Capture {
        let plain = PLAIN.iter().flat_map(|(command, reply)| [(true, multibulk(command)), (false, reply.bytes())]);
        Capture::whole(&plain.collect())
    }

    /// One of a single conversation.
    fn whole(talk: &Talk) -> Capture {
        let mut capture = Capture::default();
        capture.add(talk, Sight::Cut { turn: 0, at: 0 });
        capture
    }

    fn add(&mut self, talk: &Talk, sight: Sight) {
        self.connections += 1;
        let (connection, port) = (u32::from(self.connections), 1024 + self.connections);
        let mut at = EPOCH + u64::from(self.connections) * 10_000;
        let mut next = [10_000u32, 20_000];
        let mut packet = |next: [u32; 2], from_client: bool, flags: u8, payload: &[u8]| {
            // Far enough from one another that a hole is given up.
            at += 60 * MILLISECOND;
            let (seq, ack) = if from_client { (next[0], next[1]) } else { (next[1], next[0]) };
            let payload = payload.to_vec();
            let rest = Packet {
                at,
                connection,
                port,
                from_client,
                seq,
                ack,
                flags,
                window: 500,
                payload,
                offset: 0,
                snap: 65_535,
            };
            self.packets.push(rest);
        };
        let begin = if let Sight::Begin { turn, at } = sight { (turn, at) } else { (0, 0) };
        if !matches!(sight, Sight::Begin { .. }) {
            packet([9_999, 0], true, SYN, &[]);
            packet([10_000, 19_999], false, SYN | ACK, &[]);
            packet(next, true, ACK, &[]);
        }
        for (turn, (from_client, bytes)) in talk.iter().enumerate() {
            let pieces: Vec<std::ops::Range<usize>> = match sight {
                Sight::Cut { turn: cut, at } if cut == turn => vec![0..at, at..bytes.len()],
                Sight::Bytes => (0..bytes.len()).map(|at| at..at + 1).collect(),
                Sight::Gap { turn: gap, from, to } if gap == turn => vec![0..from, to..bytes.len()],
                _ => std::iter::once(0..bytes.len()).collect(),
            };
            let side = usize::from(!from_client);
            let start = next[side];
            for piece in pieces {
                let piece = if begin.0 == turn { piece.start.max(begin.1)..piece.end } else { piece };
                if piece.is_empty() || turn < begin.0 {
                    continue;
                }
                next[side] = start + piece.start as u32;
                let push = if piece.end == bytes.len() { PSH } else { 0 };
                packet(next, *from_client, ACK | push, &bytes[piece]);
            }
            next[side] = start + bytes.len() as u32;
        }
    }

    fn write(self, path: &Path) {
        assert!(self.connections < u16::MAX - 1024);
        let file = BufWriter::new(File::create(path).expect("it is created"));
        let mut writer = PcapWriter::new(file, LinkType::Ethernet, true).expect("it is written");
        for packet in sorted(self.packets) {
            let frame = packet.frame();
            writer.frame(Timestamp(packet.at), &frame, frame.len() as u32).expect("it is written");
        }
        writer.finish().expect("it is written");
    }
}

/// All that the program writes, by what wrote it.
struct Outputs {
    texts: Vec<(&'static str, String)>,
}

struct Folder(TempDir);

impl Folder {
    fn with(capture: Capture) -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a temporary directory"));
        capture.write(&folder.at("capture.pcap"));
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Options by which keys are shown by their hash.
    fn hashing(&self) -> [String; 2] {
        let secret = self.at("secret");
        fs::write(&secret, format!("{SECRET}\n")).expect("it is written");
        ["--hash-keys".to_owned(), secret.to_str().expect("text").to_owned()]
    }

    /// Runs the program at the highest level of logs; gives what it prints.
    fn run(&self, arguments: &[&str], more: &[&str]) -> (String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resptap"));
        command.args(["-vvv", "read"]).arg(self.at("capture.pcap")).args(arguments).args(more);
        let output = command.env("RUST_LOG", "trace").output().expect("resptap starts");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), errors)
    }

    /// All that it writes. It runs twice, as only without `--summary` there is a table.
    fn read(&self, arguments: &[&str]) -> Outputs {
        let [records, summary, hlog] = ["records.jsonl", "summary.json", "out.hlog"].map(|name| self.at(name));
        let text = |path: &PathBuf| path.to_str().expect("text").to_owned();
        let sink = format!("jsonl:{}", text(&records));
        let outputs = ["--sink", &sink, "--summary", &text(&summary), "--hist-log", &text(&hlog)];
        let (_, log) = self.run(arguments, &outputs);
        let (table, log_beside) = self.run(arguments, &[]);
        let read = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).expect("it was written")).into_owned();
        let texts = vec![
            ("records", read(&records)),
            ("summary", read(&summary)),
            ("interval log", without_histograms(&read(&hlog))),
            ("log", log),
            ("table", table),
            ("log beside the table", log_beside),
        ];
        Outputs { texts }
    }
}

/// The line that holds a part of the canary, in any case.
fn line_with_canary(text: &str) -> Option<&str> {
    let parts: Vec<_> = (0..=CANARY.len() - 5).map(|at| &CANARY[at..at + 5]).collect();
    text.lines().find(|line| {
        let lower = line.to_ascii_lowercase();
        parts.iter().any(|part| lower.contains(part))
    })
}

/// An interval log without its histograms, whose digits could spell anything.
fn without_histograms(log: &str) -> String {
    let lines = log.lines().map(|line| line.rsplit_once(',').map_or(line, |(before, _)| before));
    lines.collect::<Vec<_>>().join("\n")
}

impl Outputs {
    fn records(&self) -> Vec<Value> {
        self.texts[0].1.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
    }

    fn shows(&self, wanted: &str) -> bool {
        self.texts.iter().any(|(_, text)| text.contains(wanted))
    }

    /// Whether the statistics of keys show this: in the summary, and in the table.
    #[track_caller]
    fn statistics_show(&self, wanted: &str) -> [bool; 2] {
        let text = |name| self.texts.iter().find(|(what, _)| *what == name).map(|(_, text)| &text[..]).expect(name);
        let summary: Value = serde_json::from_str(text("summary")).expect("a summary is JSON");
        let keys = &summary["keys"];
        let shows = keys.to_string().contains(wanted);
        let is_listed = keys["distinct_keys"].as_u64().is_none_or(|keys| keys <= 100);
        assert!(is_listed, "not all keys are listed, so that what else was counted is not searched");
        let (_, table) = text("table").split_once("\nKEYS").expect("the table has a section of keys");
        let (section, _) = table.split_once("\nERRORS").expect("the table has a section of errors");
        [shows, section.contains(wanted)]
    }

    #[track_caller]
    fn assert_no_canary(&self, arguments: &[&str]) {
        for (what, text) in &self.texts {
            if let Some(line) = line_with_canary(text) {
                panic!("{what} with {arguments:?} shows a part of the canary {CANARY}: {line}");
            }
        }
    }
}

/// Searches the outputs of all modes; each shows what it should of what is no secret.
#[track_caller]
fn search(capture: Capture) -> Outputs {
    let connections = capture.connections;
    let folder = Folder::with(capture);
    for (payload, shown) in [("none", false), ("keys", true)] {
        let arguments = ["--payload", payload];
        let outputs = folder.read(&arguments);
        outputs.assert_no_canary(&arguments);
        assert_eq!((outputs.shows(KEY), outputs.shows(NAME)), (shown, shown), "--payload {payload}");
        assert_eq!(outputs.statistics_show(KEY), [shown; 2], "--payload {payload}");
        assert!(!outputs.shows(VALUE) && !outputs.shows(ERROR_TEXT), "--payload {payload}");
        assert!(outputs.shows(CLIENT) && outputs.shows(USER), "who asks is no payload");
    }
    let arguments = ["--payload", "full", "--payload-bytes", "4096"];
    let outputs = folder.read(&arguments);
    outputs.assert_no_canary(&arguments);
    for wanted in [KEY, NAME, VALUE, CLIENT, USER, ERROR_TEXT] {
        assert!(outputs.shows(wanted), "{wanted} is not found, so nothing would be");
    }
    assert_eq!(outputs.statistics_show(KEY), [true; 2]);
    let hashing = folder.hashing();
    let hashed = folder.read(&[&hashing.each_ref().map(String::as_str)[..], &arguments].concat());
    hashed.assert_no_canary(&["--hash-keys"]);
    assert!(!hashed.shows(KEY) && hashed.statistics_show(HASH) == [true; 2], "--hash-keys");
    assert!(outputs.texts[0].1.lines().count() > usize::from(connections), "the conversations were not understood");
    outputs
}

#[test]
fn row_47_no_secret_is_shown_wherever_the_segments_end() {
    let outputs = search(Capture::of(|talk| {
        let cuts = places(talk).map(|(turn, at, _)| Sight::Cut { turn, at });
        cuts.chain([Sight::Bytes]).collect()
    }));
    // What is searched is there: every command, seen whole, hidden by its own rule.
    let records = outputs.records();
    let has = |request: &str| records.iter().any(|record| record["redis"]["request"] == request);
    for request in [
        "AUTH (redacted)",
        "HELLO (redacted) (redacted) (redacted) (redacted)",
        "ACL SETUSER (redacted) (redacted)",
        "CONFIG SET (redacted) (redacted)",
        "CONFIG GET (redacted)",
        "CONFIG (redacted) (redacted) (redacted)",
        "MIGRATE (redacted) (redacted) key (redacted) (redacted) (redacted) (redacted)",
        "SENTINEL SET (redacted) (redacted) (redacted)",
        "SENTINEL CONFIG (redacted) (redacted) (redacted)",
        "MODULE LOAD (redacted) (redacted) (redacted)",
        "CLIENT ?",
        "MYAUTH ?",
        "B840FC GET ?",
        "unknown",
    ] {
        assert!(has(request), "no {request}");
    }
    let exact = records.iter().filter(|record| record["redis"]["pairing"] == "exact").count();
    assert!(exact > records.len() / 10 * 9, "{exact} of {} were understood", records.len());
}

#[test]
fn row_47_no_secret_is_shown_where_bytes_of_it_are_missing() {
    search(Capture::of(|talk| {
        let gaps = places(talk).flat_map(|(turn, from, length)| {
            [1, length].map(|missing| Sight::Gap { turn, from, to: length.min(from + missing) })
        });
        gaps.collect()
    }));
}

#[test]
fn row_70_no_secret_is_shown_whose_beginning_was_not_captured() {
    search(Capture::of(|talk| places(talk).map(|(turn, at, _)| Sight::Begin { turn, at }).collect()));
}

#[test]
fn row_70_a_line_within_a_value_is_no_command_whose_key_is_shown() {
    // The capture begins within a value of which one segment looks like a whole command, and the next like an inline one.
    let [lookalike, line] = [multibulk("PING"), inline("GET {}")];
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", lookalike.len() + line.len());
    let talk =
        vec![(true, head.into_bytes()), (true, lookalike), (true, line), (true, b"\r\n".to_vec()), (false, OK.bytes())];
    let mut capture = Capture::plain();
    capture.add(&talk, Sight::Begin { turn: 1, at: 0 });
    let outputs = Folder::with(capture).read(&["--payload", "keys"]);
    outputs.assert_no_canary(&[]);
    let lost = |command: &str| {
        outputs.records().iter().any(|record| record["method"] == command && record["redis"]["pairing"] != "exact")
    };
    assert!(lost("PING") && lost("GET"), "the lines are not taken for commands, so nothing is tested");
}

#[test]
fn row_70_an_unknown_command_is_named_only_if_its_server_knows_it() {
    let named = |name: &str, reply: Reply| {
        let talk = vec![(true, multibulk(&format!("{name} a b"))), (false, reply.bytes())];
        let outputs = Folder::with(Capture::whole(&talk)).read(&["--payload", "full"]);
        let record = &outputs.records()[0];
        assert_eq!(record["redis"]["command"], record["method"]);
        (record["method"].as_str().expect("text").to_owned(), record["query"].as_str().expect("text").to_owned())
    };
    let unknown = || ("unknown".to_owned(), "unknown".to_owned());
    let known = |name: &str| (name.to_owned(), format!("{name} a ?"));
    assert_eq!(named("json.get", Bulk("x")), known("JSON.GET"));
    assert_eq!(named("JSON.GET", Line("-WRONGTYPE no")), known("JSON.GET"));
    assert_eq!(named("JSON.GET", Line("-ERR unknown command 'JSON.GET', with args beginning with: 'a' ")), unknown());
    assert_eq!(named("GET\u{e9}", OK), ("unknown".to_owned(), "unknown ? ?".to_owned()), "no name has such letters");
    assert_eq!(named(&"X".repeat(64), OK), known(&"X".repeat(64)));
    assert_eq!(named(&"X".repeat(65), OK).0, "unknown");
    // Nobody answers.
    let outputs = Folder::with(Capture::whole(&vec![(true, multibulk("JSON.GET a b"))])).read(&[]);
    assert_eq!(outputs.records()[0]["query"], "unknown");
    assert_eq!(outputs.records()[0]["redis"].get("slot"), None);
}

#[test]
fn a_password_is_never_the_name_of_a_client() {
    for (command, user) in [
        ("AUTH {}", None),
        ("AUTH userqhq {}", Some(USER)),
        ("HELLO 3 AUTH userqhq {}", Some(USER)),
        ("HELLO 3 AUTH AUTH {}", Some("AUTH")),
        ("HELLO 3 AUTH SETNAME {}", Some("SETNAME")),
    ] {
        let reply = if command.starts_with("HELLO") { Map(&["proto", "3"]) } else { OK };
        let talk =
            |request| vec![(true, request), (false, reply.bytes()), (true, multibulk("PING")), (false, OK.bytes())];
        for request in [multibulk(command), inline(command)] {
            let is_inline = !request.starts_with(b"*");
            let outputs = Folder::with(Capture::whole(&talk(request))).read(&[]);
            outputs.assert_no_canary(&[command]);
            let records = outputs.records();
            let found = records[1]["redis"]["client"]["user"].as_str();
            assert!(found == user || is_inline && found.is_none(), "{command}: {found:?}");
        }
    }
    // The AUTH of a HELLO is missing, and its user has the name of an option.
    let talk = vec![(true, multibulk("HELLO 3 AUTH AUTH {}")), (false, Map(&["proto", "3"]).bytes())];
    let talk = [talk, vec![(true, multibulk("PING")), (false, OK.bytes())]].concat();
    let at = "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\n".len();
    let mut capture = Capture::default();
    capture.add(&talk, Sight::Gap { turn: 0, from: at + 1, to: at + 2 });
    Folder::with(capture).read(&[]).assert_no_canary(&["HELLO with a gap"]);
}

#[test]
fn a_table_of_commands_can_make_any_of_them_a_secret() {
    let talk = vec![(true, multibulk("b840fc SET requirepass {}")), (false, Bulk("{}").bytes())];
    let folder = Folder::with(Capture::whole(&talk));
    let table = folder.at("commands.tsv");
    let with = |flags: &str| {
        fs::write(&table, format!("B840FC\t-2\t{flags}\t\n")).expect("it is written");
        folder.read(&["--payload", "full", "--commands", table.to_str().expect("text")])
    };
    assert!(with("").shows(CANARY), "with the table as the user made it");
    let secret = with("secret");
    secret.assert_no_canary(&["secret"]);
    assert_eq!(secret.records()[0]["redis"]["request"], "B840FC (redacted) (redacted) (redacted)");
}

#[test]
fn keys_of_a_command_that_carries_secrets_are_told_in_its_record_only() {
    let mut capture = Capture::plain();
    let talk = vec![(true, multibulk("MIGRATE h 6379 mothqhqvz 0 9 AUTH {}")), (false, OK.bytes())];
    capture.add(&talk, Sight::Cut { turn: 0, at: 0 });
    let outputs = Folder::with(capture).read(&[]);
    outputs.assert_no_canary(&[]);
    assert!(outputs.records().iter().any(|record| record["resource"] == "mothqhqvz"));
    assert_eq!(outputs.statistics_show("mothqhqvz"), [false; 2]);
    assert_eq!(outputs.statistics_show(KEY), [true; 2]);
}

#[test]
fn keys_are_shown_by_their_hash_everywhere_and_filtered_by_their_name() {
    let folder = Folder::with(Capture::plain());
    let hashing = folder.hashing();
    let hashed = hashing.each_ref().map(String::as_str);
    let plain = folder.read(&[]).records();
    for payload in ["keys", "full"] {
        let outputs = folder.read(&[&hashed[..], &["--payload", payload]].concat());
        assert!(!outputs.shows(KEY) && !outputs.shows(SECRET), "--payload {payload}");
        assert_eq!(outputs.statistics_show(HASH), [true; 2], "--payload {payload}");
        for (record, plain) in outputs.records().iter().zip(&plain) {
            assert_eq!(record["redis"]["slot"], plain["redis"]["slot"], "the key's own");
            assert_eq!(record.get("resource").is_some(), plain.get("resource").is_some());
            if let Some(resource) = record.get("resource") {
                assert_eq!(resource, HASH);
                assert!(record["query"].as_str().expect("text").contains(HASH));
            }
        }
        assert_eq!(outputs.shows(VALUE), payload == "full", "arguments are shown as ever");
        let shows_reply = |record: &Value| record["redis"].get("response").is_some();
        assert!(!outputs.records().iter().any(shows_reply), "replies may repeat keys");
    }
    let none = folder.read(&[&hashed[..], &["--payload", "none"]].concat());
    assert!(!none.shows(KEY) && !none.shows(HASH));
    let of_prefix = folder.read(&[&hashed[..], &["--key-prefix", "kiwi"]].concat()).records();
    let with_key = plain.iter().filter(|record| record["resource"] == KEY).count();
    assert!(with_key == 4 && of_prefix.len() == with_key, "{}", of_prefix.len());
    assert!(folder.read(&[&hashed[..], &["--key-prefix", &HASH[..4]]].concat()).records().is_empty());
}
