//! Sessions as servers really have them (PROTOCOL sections 2 and 3), each as a conversation: what the client sends, what the
//! server answers (bytes of a real server, see the rows), and the records that come of it.

use std::fmt::Write as _;

use resptap::capture::{Frame, LinkType};
use resptap::connection::{ReplicationLink, Settings};
use resptap::counters::{Counter, Counters};
use resptap::decode::ports::PortSet;
use resptap::endpoint::Labels;
use resptap::flow::hash::Seed;
use resptap::limits::Budget;
use resptap::record::Message;
use resptap::record::filter::{Criteria, Filter};
use resptap::redis::arguments::Payload;
use resptap::redis::command::CommandTable;
use resptap::redis::pairing::Resync;
use resptap::redis::replication::SyncResult;
use resptap::redis::request::Shown;
use resptap::redis::session::Acts;
use resptap::ring::{Inbox, ring};
use resptap::sink::record_json::{RecordFormat, RecordWriter};
use resptap::units::Timestamp;
use resptap::worker::Worker;
use resptap::worker::recording::{Emission, Recording};
use serde_json::Value;

/// A conversation on one connection, as frames.
struct Talk {
    frames: Vec<(u64, Vec<u8>)>,
    at: u64,
    /// Next sequence numbers of client and server.
    seq: [u32; 2],
    /// Bytes of a segment, at most.
    piece: usize,
}

const SYN: u8 = 2;
const ACK: u8 = 0x10;
const PSH: u8 = 8;
const FIN: u8 = 1;

impl Talk {
    fn new(piece: usize) -> Talk {
        let mut talk = Talk { frames: Vec::new(), at: 1_000_000_000_000, seq: [u32::MAX - 5, u32::MAX - 50], piece };
        talk.segment(0, SYN, &[]);
        talk.seq[0] = talk.seq[0].wrapping_add(1);
        talk.segment(1, SYN | ACK, &[]);
        talk.seq[1] = talk.seq[1].wrapping_add(1);
        talk.segment(0, ACK, &[]);
        talk
    }

    fn segment(&mut self, side: usize, flags: u8, payload: &[u8]) {
        let ends = [([10, 0, 0, 1], 40_001u16), ([10, 0, 0, 9], 6379u16)];
        let (from, to) = (ends[side], ends[1 - side]);
        let mut frame = vec![0x45, 0];
        frame.extend(((40 + payload.len()) as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend(from.0);
        frame.extend(to.0);
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend(self.seq[side].to_be_bytes());
        frame.extend(self.seq[1 - side].to_be_bytes());
        frame.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        self.at += 1_000_000;
        self.frames.push((self.at, frame));
        self.seq[side] = self.seq[side].wrapping_add(payload.len() as u32);
    }

    fn say(mut self, side: usize, bytes: &[u8]) -> Talk {
        let pieces: Vec<&[u8]> = bytes.chunks(self.piece).collect();
        for (n, piece) in pieces.iter().enumerate() {
            self.segment(side, if n + 1 == pieces.len() { ACK | PSH } else { ACK }, piece);
        }
        self
    }

    /// The client sends commands, written as words.
    fn c(self, commands: &[&str]) -> Talk {
        let mut bytes = String::new();
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            write!(bytes, "*{}\r\n", words.len()).unwrap();
            for word in words {
                write!(bytes, "${}\r\n{word}\r\n", word.len()).unwrap();
            }
        }
        self.say(0, bytes.as_bytes())
    }

    /// The server sends bytes.
    fn s(self, bytes: &str) -> Talk {
        self.say(1, bytes.as_bytes())
    }

    fn fin(mut self) -> Talk {
        self.segment(0, FIN | ACK, &[]);
        self.seq[0] = self.seq[0].wrapping_add(1);
        self.segment(1, FIN | ACK, &[]);
        self
    }

    fn run(self) -> Told {
        let table = CommandTable::built_in();
        let settings = Settings {
            table,
            acts: Acts::new(table),
            shown: Shown { keys: true, payload_bytes: 256 },
            timeout_ns: 30_000_000_000,
            idle_timeout_ns: 3_600_000_000_000,
            resync: Resync::Strict,
            resync_silence_ns: 2_000_000_000,
            reorder_time_ns: 50_000_000,
            reorder_packets: 128,
        };
        let (outbox, inbox) = ring(64);
        let filter = Filter::new(&Criteria::default(), table);
        let emission = Emission { emits: true, introduces: false, filter, payload: Payload::Full };
        let recording = Recording::new(table, emission, 10_000_000_000, Seed::fixed(1), outbox);
        let mut worker =
            Worker::new(settings, PortSet::new([6379]), Seed::fixed(1), &Budget::new(64 << 20, 1), recording);
        let frames: Vec<Frame<'_>> = self
            .frames
            .iter()
            .map(|(at, bytes)| Frame { bytes, wire_len: bytes.len() as u32, at: Timestamp(*at), link: LinkType::RawIp })
            .collect();
        worker.process(&frames);
        let report = worker.finish(Timestamp(self.at));
        Told { records: records(inbox, table), counters: report.counters, links: report.replication }
    }
}

fn records(mut inbox: Inbox<Message>, table: &'static CommandTable) -> Vec<Value> {
    let mut writer =
        RecordWriter::new(&RecordFormat { sensor: "t".into(), payload: Payload::Full, key_hasher: None, table });
    let mut lines = Vec::new();
    while let Some(message) = inbox.take() {
        if let Message::Records(batch) = message {
            for transaction in &batch.transactions {
                writer.append(&mut lines, transaction, batch.texts(transaction), &Labels::default());
            }
        }
    }
    let mut records: Vec<Value> = lines
        .split(|&byte| byte == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let index = |record: &Value| {
        let id = record["event"]["id"].as_str().unwrap();
        id.rsplit('-').next().unwrap().parse::<u64>().unwrap()
    };
    records.sort_by_key(index);
    records
}

struct Told {
    records: Vec<Value>,
    counters: Counters,
    links: Vec<ReplicationLink>,
}

impl Told {
    /// `request => response [pairing] flags`, a line each.
    fn lines(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        self.records
            .iter()
            .map(|record| {
                let redis = &record["redis"];
                let mut line = format!("{} => ", text(&redis["request"]));
                let reply = redis.get("reply").map_or("none".to_owned(), text);
                match redis.get("error_code") {
                    Some(code) => write!(line, "-{}", text(code)).unwrap(),
                    None if redis["response"].as_str().is_some_and(|response| !response.is_empty()) => {
                        write!(line, "{}", text(&redis["response"])).unwrap();
                    }
                    None => write!(line, "({reply})").unwrap(),
                }
                if redis["pairing"] != "exact" {
                    write!(line, " [{}]", text(&redis["pairing"])).unwrap();
                }
                for flag in redis["flags"].as_array().into_iter().flatten() {
                    write!(line, " {}", text(flag)).unwrap();
                }
                if redis.get("parent").is_some() {
                    line.push_str(" in EXEC");
                }
                line
            })
            .collect()
    }
}

/// The same conversation in one segment, in small ones, and byte by byte.
#[track_caller]
fn expect(talk: impl Fn(Talk) -> Talk, lines: &[&str]) -> Told {
    for piece in [1, 3, 7] {
        assert_eq!(talk(Talk::new(piece)).fin().run().lines(), lines, "in pieces of {piece}");
    }
    let told = talk(Talk::new(1400)).fin().run();
    assert_eq!(told.lines(), lines);
    let counters = &told.counters;
    assert_eq!(counters.pending(), 0);
    let others = counters.sum("replies", "unsolicited.") + counters.sum("replies", "discarded.");
    assert_eq!(counters[Counter::Replies], counters[Counter::RepliesPaired] + others);
    told
}

const SUBSCRIBED_A: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
const SUBSCRIBED_B: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n";
const MESSAGE: &str = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
const PUSH_A: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
const PUSH_B: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n";
const PUSH_MESSAGE: &str = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
const HELLO: &str = "%1\r\n$5\r\nproto\r\n:3\r\n";

#[test]
fn row_14_a_resp2_subscription_is_answered_once_per_channel() {
    let told = expect(
        |talk| {
            talk.c(&["SUBSCRIBE a b", "PING"])
                .s(&[SUBSCRIBED_A, MESSAGE, SUBSCRIBED_B, MESSAGE, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"].concat())
                .c(&["UNSUBSCRIBE", "UNSUBSCRIBE", "PING"])
                .s("*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n")
                .s("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n+PONG\r\n")
                .c(&["UNSUBSCRIBE x", "GET k"])
                .s("-NOSUB 'unsubscribe' command executed not in subscribed mode\r\n$1\r\nv\r\n")
        },
        &[
            "SUBSCRIBE a b => [subscribe, b, 2]",
            "PING => [pong, ]",
            "UNSUBSCRIBE => [unsubscribe, a, 0]",
            "UNSUBSCRIBE => [unsubscribe, (nil), 0]",
            "PING => PONG",
            "UNSUBSCRIBE x => -NOSUB",
            "GET k => v",
        ],
    );
    assert_eq!(told.counters[Counter::UnsolicitedPush], 2);
    assert_eq!(told.counters[Counter::RepliesPaired], 9);
}

#[test]
fn row_15_in_a_resp2_subscription_other_commands_are_errors_and_it_ends_at_zero_or_reset() {
    expect(
        |talk| {
            talk.c(&["SUBSCRIBE a", "GET k"])
                .s(&[SUBSCRIBED_A, "-ERR Can't execute 'get': only (P|S)SUBSCRIBE allowed\r\n", MESSAGE].concat())
                .c(&["RESET", "LRANGE l 0 -1"])
                .s(&["+RESET\r\n", MESSAGE].concat())
        },
        &["SUBSCRIBE a => [subscribe, a, 1]", "GET k => -ERR", "RESET => RESET", "LRANGE l 0 -1 => [message, a, m]"],
    );
}

#[test]
fn rows_16_and_17_pushes_of_resp3_pair_with_nothing_but_confirm_subscriptions() {
    let told = expect(
        |talk| {
            talk.c(&["HELLO 3"])
                .s(HELLO)
                .c(&["SUBSCRIBE a b", "PING", "PUBLISH a m", "GET k"])
                .s(&[PUSH_A, PUSH_B, "+PONG\r\n", PUSH_MESSAGE, ":1\r\n"].concat())
                .s(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$1\r\nv\r\n")
                .c(&["SUBSCRIBE c"])
                .s("-NOPERM this user has no permissions to access the channel\r\n")
        },
        &[
            "HELLO (redacted) => (map)",
            "SUBSCRIBE a b => [subscribe, b, 2]",
            "PING => PONG",
            "PUBLISH a m => 1",
            "GET k => v",
            "SUBSCRIBE c => -NOPERM",
        ],
    );
    assert_eq!(told.counters[Counter::UnsolicitedPush], 2);
}

#[test]
fn row_19_execs_array_is_read_with_the_queued_list() {
    expect(
        |talk| {
            talk.c(&["MULTI", "PING", "SUBSCRIBE a b", "PING", "EXEC"])
                .s("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+PONG\r\n")
                .s(&[SUBSCRIBED_A, SUBSCRIBED_B, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"].concat())
                .c(&["PING x"])
                .s("*2\r\n$4\r\npong\r\n$1\r\nx\r\n")
        },
        &[
            "MULTI => OK",
            "PING => (simple) in EXEC",
            "SUBSCRIBE a b => (array) in EXEC",
            "PING => (array) in EXEC",
            "EXEC => [PONG, [subscribe, a, 1], [subscribe, b, 2], [pong, ]]",
            "PING x => [pong, x]",
        ],
    );
    expect(
        |talk| {
            talk.c(&["HELLO 3", "MULTI", "PING", "SUBSCRIBE a b", "PING", "EXEC", "GET k"])
                .s(&[HELLO, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+PONG\r\n", PUSH_A, PUSH_B].concat())
                .s("+PONG\r\n$1\r\nv\r\n")
        },
        &[
            "HELLO (redacted) => (map)",
            "MULTI => OK",
            "PING => (simple) in EXEC",
            "SUBSCRIBE a b => (push) in EXEC",
            "PING => (simple) in EXEC",
            "EXEC => [PONG, [subscribe, a, 1], [subscribe, b, 2], PONG]",
            "GET k => v",
        ],
    );
}

#[test]
fn row_20_client_reply_silences_commands_in_their_order() {
    expect(
        |talk| {
            talk.c(&["CLIENT REPLY OFF", "PING", "NOSUCH", "CLIENT REPLY ON", "GET k"])
                .s("+OK\r\n$1\r\nv\r\n")
                .c(&["CLIENT REPLY SKIP", "PING", "ECHO x", "CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "GET a"])
                .s("$1\r\nx\r\n$1\r\nA\r\n")
        },
        &[
            "CLIENT REPLY OFF => (none) [no_reply]",
            "PING => (none) [no_reply]",
            "unknown => (none) [no_reply]",
            "CLIENT REPLY ON => OK",
            "GET k => v",
            "CLIENT REPLY SKIP => (none) [no_reply]",
            "PING => (none) [no_reply]",
            "ECHO x => x",
            "CLIENT REPLY SKIP => (none) [no_reply]",
            "CLIENT REPLY SKIP => (none) [no_reply]",
            "PING => (none) [no_reply]",
            "GET a => A",
        ],
    );
    // Pushes flow while replies are off.
    expect(
        |talk| {
            talk.c(&["HELLO 3"])
                .s(HELLO)
                .c(&["CLIENT REPLY OFF", "SUBSCRIBE a", "PUBLISH a m", "PING", "CLIENT REPLY ON"])
                .s(&[PUSH_A, PUSH_MESSAGE, "+OK\r\n"].concat())
        },
        &[
            "HELLO (redacted) => (map)",
            "CLIENT REPLY OFF => (none) [no_reply]",
            "SUBSCRIBE a => [subscribe, a, 1]",
            "PUBLISH a m => (none) [no_reply]",
            "PING => (none) [no_reply]",
            "CLIENT REPLY ON => OK",
        ],
    );
}

#[test]
fn row_21_client_reply_inside_multi_leaves_fewer_items_than_announced() {
    expect(
        |talk| {
            talk.c(&["MULTI", "CLIENT REPLY SKIP", "PING", "EXEC", "ECHO after", "GET k"])
                .s("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n$1\r\nv\r\n")
        },
        &[
            "MULTI => OK",
            "CLIENT REPLY SKIP => (none) [no_reply] in EXEC",
            "PING => (simple) in EXEC",
            "EXEC => [PONG]",
            "ECHO after => (none) [no_reply]",
            "GET k => v",
        ],
    );
    expect(
        |talk| {
            talk.c(&["MULTI", "CLIENT REPLY OFF", "PING", "EXEC", "ECHO after", "CLIENT REPLY ON", "GET k"])
                .s("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\nv\r\n")
        },
        &[
            "MULTI => OK",
            "CLIENT REPLY OFF => (none) [no_reply] in EXEC",
            "PING => (none) [no_reply] in EXEC",
            "EXEC => []",
            "ECHO after => (none) [no_reply]",
            "CLIENT REPLY ON => OK",
            "GET k => v",
        ],
    );
}

#[test]
fn row_22_a_skipped_multi_is_open_all_the_same() {
    expect(
        |talk| {
            talk.c(&["CLIENT REPLY SKIP", "MULTI", "PING", "EXEC", "GET k"]).s("+QUEUED\r\n*1\r\n+PONG\r\n$1\r\nv\r\n")
        },
        &[
            "CLIENT REPLY SKIP => (none) [no_reply]",
            "MULTI => (none) [no_reply]",
            "PING => (simple) in EXEC",
            "EXEC => [PONG]",
            "GET k => v",
        ],
    );
}

#[test]
fn row_23_queued_commands_have_their_items_of_execs_array() {
    let told = expect(
        |talk| {
            talk.c(&["SET str x", "MULTI", "LPUSH str 1", "GET str", "EXEC"])
                .s("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-WRONGTYPE Operation against a key\r\n$1\r\nx\r\n")
                .c(&["MULTI", "NOPE", "GET a", "EXEC"])
                .s("+OK\r\n-ERR unknown command 'NOPE', with args beginning with: \r\n+QUEUED\r\n")
                .s("-EXECABORT Transaction discarded because of previous errors.\r\n")
                .c(&["MULTI", "PING", "DISCARD", "WATCH w", "MULTI", "PING", "EXEC"])
                .s("+OK\r\n+QUEUED\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n")
        },
        &[
            "SET str x => OK",
            "MULTI => OK",
            "LPUSH str 1 => -WRONGTYPE in EXEC",
            "GET str => (bulk) in EXEC",
            "EXEC => [WRONGTYPE, x]",
            "MULTI => OK",
            "unknown => -ERR",
            "GET a => QUEUED not_executed",
            "EXEC => -EXECABORT",
            "MULTI => OK",
            "PING => QUEUED not_executed",
            "DISCARD => OK",
            "WATCH w => OK",
            "MULTI => OK",
            "PING => QUEUED not_executed",
            "EXEC => (nil)",
        ],
    );
    let exec = &told.records[4];
    assert_eq!(told.records[3]["redis"]["parent"], exec["event"]["id"]);
    assert!(told.records[3]["redis"].get("latency").is_none() && exec["redis"].get("latency").is_some());
}

#[test]
fn row_18_a_push_inside_execs_array_is_nobodys_item() {
    expect(
        |talk| {
            talk.c(&["HELLO 3", "SUBSCRIBE a", "MULTI", "PING", "PUBLISH a m", "PING", "EXEC", "GET k"])
                .s(&[HELLO, PUSH_A, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+PONG\r\n", PUSH_MESSAGE].concat())
                .s(":1\r\n+PONG\r\n$1\r\nv\r\n")
        },
        &[
            "HELLO (redacted) => (map)",
            "SUBSCRIBE a => [subscribe, a, 1]",
            "MULTI => OK",
            "PING => (simple) in EXEC",
            "PUBLISH a m => (integer) in EXEC",
            "PING => (simple) in EXEC",
            "EXEC => [PONG, [message, a, m], 1, PONG]",
            "GET k => v",
        ],
    );
}

#[test]
fn row_27_a_server_that_speaks_first_is_no_reply() {
    let told = expect(|talk| talk.s("-ERR max number of clients reached\r\n"), &[]);
    assert_eq!(told.counters[Counter::UnsolicitedNoRequest], 1);
}

#[test]
fn row_28_lines_of_monitor_are_no_replies() {
    let told = expect(
        |talk| {
            talk.c(&["MONITOR"])
                .s("+OK\r\n+1795367238.519800 [0 127.0.0.1:41810] \"AUTH\" \"(redacted)\"\r\n")
                .c(&["PING", "QUIT"])
                .s("+PONG\r\n+1795367239.221243 [0 127.0.0.1:41814] \"PING\"\r\n+OK\r\n")
        },
        &["MONITOR => OK", "PING => PONG", "QUIT => OK"],
    );
    assert_eq!(told.counters[Counter::UnsolicitedMonitor], 2);
}

#[test]
fn row_42_the_database_is_known_by_what_succeeded() {
    let told = expect(
        |talk| {
            talk.c(&["GET a", "SELECT 3", "GET b", "SELECT 99", "GET c", "MULTI", "SELECT 7", "GET d", "EXEC", "GET e"])
                .s("$-1\r\n+OK\r\n$-1\r\n-ERR DB index is out of range\r\n$-1\r\n")
                .s("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$-1\r\n$-1\r\n")
                .c(&["RESET", "GET f"])
                .s("+RESET\r\n$-1\r\n")
        },
        &[
            "GET a => (nil)",
            "SELECT 3 => OK",
            "GET b => (nil)",
            "SELECT 99 => -ERR",
            "GET c => (nil)",
            "MULTI => OK",
            "SELECT 7 => (simple) in EXEC",
            "GET d => (null) in EXEC",
            "EXEC => [OK, (nil)]",
            "GET e => (nil)",
            "RESET => RESET",
            "GET f => (nil)",
        ],
    );
    let db = |n: usize| told.records[n]["redis"]["db"].as_u64();
    assert_eq!([0, 2, 4, 7, 9, 11].map(db), [Some(0), Some(3), Some(3), Some(7), Some(7), Some(0)]);
}

#[test]
fn labels_are_what_the_client_said_and_the_server_took() {
    let told = expect(
        |talk| {
            talk.c(&["HELLO 3 AUTH app hunter2 SETNAME svc-a", "CLIENT SETINFO LIB-NAME redis-py", "GET a"])
                .s(&[HELLO, "+OK\r\n$-1\r\n"].concat())
                .c(&["CLIENT SETINFO LIB-VER 5.0", "CLIENT SETNAME bad", "GET b", "AUTH other hunter3", "GET c"])
                .s("+OK\r\n-ERR no\r\n$-1\r\n+OK\r\n$-1\r\n")
        },
        &[
            "HELLO (redacted) (redacted) (redacted) (redacted) (redacted) (redacted) => (map)",
            "CLIENT SETINFO LIB-NAME redis-py => OK",
            "GET a => (nil)",
            "CLIENT SETINFO LIB-VER 5.0 => OK",
            "CLIENT SETNAME bad => -ERR",
            "GET b => (nil)",
            "AUTH (redacted) (redacted) => (simple)",
            "GET c => (nil)",
        ],
    );
    let client = |n: usize| told.records[n]["redis"]["client"].clone();
    assert_eq!(client(2), serde_json::json!({"name": "svc-a", "user": "app", "lib": "redis-py"}));
    assert_eq!(client(5), serde_json::json!({"name": "svc-a", "user": "app", "lib": "redis-py 5.0"}));
    assert_eq!(client(7)["user"], "other");
    let all = serde_json::to_string(&told.records).unwrap();
    assert!(!all.contains("hunter"), "{all}");
}

#[test]
fn row_31_redirects_name_their_target() {
    let told = expect(
        |talk| talk.c(&["GET k", "GET j"]).s("-MOVED 3999 10.0.0.2:6381\r\n-ASK 3999 10.0.0.3:6381\r\n"),
        &["GET k => -MOVED", "GET j => -ASK"],
    );
    assert_eq!(told.records[0]["redis"]["redirect"], "10.0.0.2:6381");
    assert_eq!(told.records[1]["redis"]["redirect"], "10.0.0.3:6381");
}

#[test]
fn row_63_a_reply_that_cannot_be_the_commands_ends_in_lost_never_in_a_shifted_queue() {
    // The failing AUTH lost its reply: what comes is the GET's.
    for replies in ["$1\r\nv\r\n+OK\r\n", "-NOAUTH Authentication required.\r\n+OK\r\n"] {
        let told = expect(
            |talk| talk.c(&["AUTH bad", "GET k", "SET a b"]).s(replies),
            &["AUTH (redacted) => (none) [lost]", "GET k => (none) [lost]", "SET a b => (none) [lost]"],
        );
        assert_eq!(told.counters[Counter::Contradictions], 1);
    }
    // QUEUED without MULTI, and an open MULTI that does not queue.
    expect(
        |talk| talk.c(&["GET k", "GET j"]).s("+QUEUED\r\n$1\r\nj\r\n"),
        &["GET k => (none) [lost]", "GET j => (none) [lost]"],
    );
    expect(
        |talk| talk.c(&["MULTI", "GET k", "GET j"]).s("+OK\r\n$1\r\nk\r\n$1\r\nj\r\n"),
        &["MULTI => OK", "GET k => (none) [lost]", "GET j => (none) [lost]"],
    );
}

const MARK: &str = "02ee005ddc15f7f5a4f6cb086b14fa6ed0c6592f";

#[test]
fn rows_33_to_37_psync_turns_the_connection_into_a_link() {
    let stream = "*1\r\n$4\r\nping\r\n*3\r\n$3\r\nSET\r\n$2\r\nrk\r\n$1\r\nv\r\n";
    let told = expect(
        |talk| {
            talk.c(&["PING", "REPLCONF listening-port 6380", "REPLCONF capa eof"])
                .s("+PONG\r\n+OK\r\n+OK\r\n")
                .c(&["PSYNC ? -1"])
                .s("\n\n\n+FULLRESYNC 25974c1ac0c49903d52106cb5da422518def26bf 100\r\n\n")
                .s(&format!("$EOF:{MARK}\r\nREDIS0010 payload{MARK}"))
                .c(&["REPLCONF ACK 100"])
                .s(stream)
                .c(&["REPLCONF ACK 114"])
                .s("*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n")
        },
        &["PING => PONG"],
    );
    assert_eq!(told.links.len(), 1);
    let facts = told.links[0].facts;
    assert_eq!((facts.sync_result, facts.sync_bytes), (SyncResult::Done, 17));
    assert_eq!((facts.primary_offset, facts.replica_offset), (Some(100 + 42 + 37), Some(114)));
    assert_eq!(facts.lag_bytes(), Some(65));
    assert_eq!(told.counters[Counter::Requests], 1);
    assert_eq!(told.counters[Counter::ConnectionsReplication], 1);
}

#[test]
fn row_35_sync_is_answered_by_the_snapshot_itself() {
    let told = expect(
        |talk| talk.c(&["PING", "SYNC"]).s("+PONG\r\n\n\n$9\r\nREDIS0010*1\r\n$4\r\nping\r\n"),
        &["PING => PONG"],
    );
    let facts = told.links[0].facts;
    assert_eq!((facts.sync_result, facts.sync_bytes, facts.stream_bytes), (SyncResult::Done, 9, 14));
    assert_eq!(facts.primary_offset, None);
}

#[test]
fn a_replica_that_is_refused_stays_a_client() {
    expect(
        |talk| talk.c(&["PSYNC ? -1", "PING"]).s("-NOMASTERLINK Can't SYNC while not connected\r\n+PONG\r\n"),
        &["PING => PONG"],
    );
}
