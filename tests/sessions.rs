//! Sessions as servers really have them (PROTOCOL sections 2 to 4), each as a conversation: what the client sends, what the
//! server answers (bytes of a real server, see the rows), and the records that come of it.

mod talk;

use resptap::counters::Counter;
use resptap::record::top::Tally;
use serde_json::Value;

use talk::{Talk, expect};

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
fn row_19_what_exec_has_subscribed_to_sends_messages() {
    let told = expect(
        |talk| {
            talk.c(&["MULTI", "SUBSCRIBE a b", "SUBSCRIBE b", "EXEC", "PING"])
                .s("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n")
                .s(&[SUBSCRIBED_A, SUBSCRIBED_B, SUBSCRIBED_B, MESSAGE, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"].concat())
                .c(&["MULTI", "UNSUBSCRIBE", "EXEC", "GET k"])
                .s("-ERR Can't execute 'multi'\r\n-ERR unsubscribed of a\r\n-ERR Can't execute 'exec'\r\n")
                .s("-ERR Can't execute 'get'\r\n")
                .c(&["UNSUBSCRIBE", "LRANGE l 0 -1"])
                .s("*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n")
                .s(MESSAGE)
        },
        &[
            "MULTI => OK",
            "SUBSCRIBE a b => (array) in EXEC",
            "SUBSCRIBE b => (array) in EXEC",
            "EXEC => [[subscribe, a, 1], [subscribe, b, 2], [subscribe, b, 2]]",
            "PING => [pong, ]",
            "MULTI => -ERR",
            "UNSUBSCRIBE => -ERR",
            "EXEC => -ERR",
            "GET k => -ERR",
            "UNSUBSCRIBE => [unsubscribe, a, 0]",
            "LRANGE l 0 -1 => [message, a, m]",
        ],
    );
    assert_eq!(told.counters[Counter::UnsolicitedPush], 1);
}

#[test]
fn row_19_where_execs_items_can_not_be_told_nothing_behind_it_is() {
    // A HELLO that may fail decides in which form the confirmations come.
    let told = expect(
        |talk| {
            talk.c(&["MULTI", "HELLO 3", "SUBSCRIBE a", "EXEC", "GET k"]).s(&[
                "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n",
                HELLO,
                PUSH_A,
                "$1\r\nv\r\n",
            ]
            .concat())
        },
        &[
            "MULTI => OK",
            "HELLO (redacted) => (none) [lost]",
            "SUBSCRIBE a => (none) [lost]",
            "EXEC => (none) [lost]",
            "GET k => (none) [lost]",
        ],
    );
    assert_eq!(told.counters[Counter::RequestsLost], 4);
    // Queued in silence: its confirmation comes when nobody waits for one.
    expect(
        |talk| {
            talk.c(&["CLIENT REPLY OFF", "MULTI", "SUBSCRIBE a", "EXEC", "CLIENT REPLY ON", "PING"]).s(&[
                SUBSCRIBED_A,
                "+OK\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n",
            ]
            .concat())
        },
        &[
            "CLIENT REPLY OFF => (none) [no_reply]",
            "MULTI => (none) [no_reply]",
            "SUBSCRIBE a => (none) [lost]",
            "EXEC => (none) [lost]",
            "CLIENT REPLY ON => (none) [lost]",
            "PING => (none) [lost]",
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
fn row_28_lines_of_a_monitor_by_another_name_are_no_replies_either() {
    let line = "+1795367238.519800 [0 127.0.0.1:41810] \"SET\" \"tk00000001\"\r\n";
    let talk = |talk: Talk| talk.c(&["WATCHALL"]).s("+OK\r\n").s(line).c(&["PING"]).s(line).s("+PONG\r\n").s(line);
    let told = expect(talk, &["WATCHALL => (simple)", "PING => PONG"]);
    assert_eq!(told.counters[Counter::UnsolicitedMonitor], 3);
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
fn row_42_the_database_is_unknown_where_the_beginning_was_not_seen() {
    for seen in [false, true] {
        let mut talk = Talk::new(1400);
        if !seen {
            talk.frames.clear();
        }
        // Before anything is answered, too.
        let talk = talk.c(&["GET a"]).wait(40_000).c(&["GET b"]).s("$-1\r\n$-1\r\n").c(&["SWAPDB 0 1", "GET b"]);
        let told = talk.s("+OK\r\n$-1\r\n").fin().run();
        assert!(told.records.len() >= 4);
        for record in &told.records {
            assert_eq!(record["redis"]["db"].as_u64(), seen.then_some(0), "{record}");
        }
    }
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
        |talk| {
            talk.c(&["GET k", "GET j", "ASKING", "GET j", "SET k v"])
                .s("-MOVED 3999 10.0.0.2:6381\r\n-ASK 3999 10.0.0.3:6381\r\n+OK\r\n-TRYAGAIN Multiple keys\r\n")
                .s("-REDIRECT 10.0.0.4:6381\r\n")
        },
        &["GET k => -MOVED", "GET j => -ASK", "ASKING => OK", "GET j => -TRYAGAIN", "SET k v => -REDIRECT"],
    );
    assert_eq!(told.records[4]["redis"]["redirect"], "10.0.0.4:6381");
    assert_eq!(told.records[3]["redis"].get("redirect"), None);
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

// Row 24.

#[test]
fn row_24_what_waits_behind_a_blocking_command_waits_in_the_queue_and_nothing_times_out() {
    let told = expect(
        |talk| {
            talk.c(&["BLPOP q 0", "GET k", "XREAD BLOCK 0 STREAMS s $"])
                .wait(100_000)
                .s("*2\r\n$1\r\nq\r\n$1\r\nx\r\n$1\r\nv\r\n")
                .wait(100_000)
                .s("*-1\r\n")
                .c(&["WAIT 1 0"])
                .wait(40_000)
                .s(":1\r\n")
                .c(&["XREAD COUNT 1 STREAMS BLOCK 0", "XREADGROUP GROUP g c BLOCK 5 STREAMS s >"])
                .s("*-1\r\n*-1\r\n")
        },
        &[
            "BLPOP q 0 => [q, x] blocking",
            "GET k => v",
            "XREAD BLOCK 0 STREAMS s $ => (nil) blocking",
            "WAIT 1 0 => 1 blocking",
            "XREAD COUNT 1 STREAMS BLOCK 0 => (nil)",
            "XREADGROUP GROUP g c BLOCK 5 STREAMS s > => (nil) blocking",
        ],
    );
    let time = |n: usize, name: &str| told.records[n]["redis"][name].as_u64().unwrap() / 1_000_000_000;
    assert_eq!((time(0, "server"), time(0, "queue")), (100, 0));
    assert_eq!((time(1, "server"), time(1, "queue")), (0, 100), "the wait is the pipeline's, not the server's");
}

#[test]
fn row_24_inside_multi_nothing_blocks() {
    expect(
        |talk| {
            talk.c(&["MULTI", "BLPOP q 0", "WAITAOF 0 0 0", "EXEC"])
                .s("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*-1\r\n*2\r\n:0\r\n:0\r\n")
        },
        &["MULTI => OK", "BLPOP q 0 => (null) in EXEC", "WAITAOF 0 0 0 => (array) in EXEC", "EXEC => [(nil), [0, 0]]"],
    );
}

#[test]
fn row_26_the_protocol_changes_with_hellos_reply_and_back_by_reset() {
    let told = expect(
        |talk| {
            talk.c(&["HELLO 9", "HELLO 3", "GET a", "SUBSCRIBE a", "PING"])
                .s(&["-NOPROTO unsupported protocol version\r\n", HELLO, "_\r\n", PUSH_A, "+PONG\r\n"].concat())
                .c(&["MULTI", "GET b", "RESET", "GET c", "SUBSCRIBE a", "PING"])
                .s(&["+OK\r\n+QUEUED\r\n+RESET\r\n$-1\r\n", SUBSCRIBED_A, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"].concat())
        },
        &[
            "HELLO (redacted) => -NOPROTO",
            "HELLO (redacted) => (map)",
            "GET a => (nil)",
            "SUBSCRIBE a => [subscribe, a, 1]",
            "PING => PONG",
            "MULTI => OK",
            "GET b => QUEUED not_executed",
            "RESET => RESET",
            "GET c => (nil)",
            "SUBSCRIBE a => [subscribe, a, 1]",
            "PING => [pong, ]",
        ],
    );
    assert_eq!(told.counters[Counter::UnsolicitedPush], 0);
}

#[test]
fn row_32_a_script_is_named_by_its_sha_and_its_keys_are_those_announced() {
    const SHA: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let told = expect(
        |talk| {
            talk.c(&[
                &format!("EVALSHA {SHA} 2 a b x"),
                "EVAL return 1 a x",
                "FCALL my_function 1 k",
                "EVALSHA no(name) 0",
            ])
            .s("-NOSCRIPT No matching script. Please use EVAL.\r\n:1\r\n+OK\r\n-NOSCRIPT No matching script.\r\n")
        },
        &[
            &format!("EVALSHA {SHA} 2 a b x => -NOSCRIPT"),
            "EVAL return 1 a x => 1",
            "FCALL my_function 1 k => OK",
            "EVALSHA no(name) 0 => -NOSCRIPT",
        ],
    );
    let redis = |n: usize| &told.records[n]["redis"];
    assert_eq!((&redis(0)["script"], &redis(0)["keys"]), (&SHA.into(), &2.into()));
    assert_eq!((redis(1).get("script"), &redis(1)["keys"]), (None, &1.into()));
    assert_eq!(redis(2)["script"], "my_function");
    assert_eq!(redis(3).get("script"), None, "what has not the form of a name is not shown as one");
}

#[test]
fn row_11_a_verbatim_string_is_shown_without_its_kind_and_counted_with_it() {
    let told = expect(
        |talk| talk.c(&["HELLO 3", "INFO x", "ECHO a"]).s(&[HELLO, "=8\r\ntxt:text\r\n$4\r\ntxt:\r\n"].concat()),
        &["HELLO (redacted) => (map)", "INFO x => text", "ECHO a => txt:"],
    );
    assert_eq!(told.records[1]["destination"]["bytes"], 14);
}

#[test]
fn row_43_commands_are_found_in_any_case_and_others_keep_the_name_that_was_sent() {
    let told = expect(
        |talk| {
            talk.c(&[
                "gEt k",
                "cLiEnT gEtNaMe",
                "FT.SEARCH idx q",
                "set_7f3a k v",
                "naughty\"name k",
                "client nosuch x",
            ])
            .s("$1\r\nv\r\n$-1\r\n*1\r\n:0\r\n+OK\r\n-ERR unknown command\r\n-ERR unknown subcommand\r\n")
        },
        &[
            "GET k => v",
            "CLIENT GETNAME => (nil)",
            "FT.SEARCH idx ? => (array) key_guessed",
            "SET_7F3A k ? => (simple) key_guessed",
            "unknown => -ERR",
            "CLIENT ? ? => -ERR",
        ],
    );
    let methods: Vec<&str> = told.records.iter().map(|record| record["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["GET", "CLIENT GETNAME", "FT.SEARCH", "SET_7F3A", "unknown", "CLIENT"]);
}

#[test]
fn row_30_who_sent_the_syn_is_the_client_whatever_the_ports() {
    let (low, high) = (([10, 0, 0, 1], 6379), ([10, 0, 0, 9], 6379));
    for ends in [[low, high], [high, low], [([10, 0, 0, 1], 40_001), low], [([10, 0, 0, 1], 80), low]] {
        let told = Talk::between(ends, 1400).c(&["GET k"]).s("$1\r\nv\r\n").fin().run();
        assert_eq!(told.lines(), ["GET k => v"]);
        let [client, server] = ends.map(|(address, port)| format!("{}:{port}", std::net::Ipv4Addr::from(address)));
        let end = |side: &str| {
            let end = &told.records[0][side];
            format!("{}:{}", end["ip"].as_str().unwrap(), end["port"])
        };
        assert_eq!(
            [end("source"), end("destination"), end("client"), end("server")],
            [&*client, &server, &client, &server]
        );
    }
}

#[test]
fn row_41_both_legs_of_a_proxy_are_connections_of_their_own() {
    // Two clients' requests go on over one connection, in another order.
    let (proxy, server) = (([10, 0, 0, 5], 6379), ([10, 0, 0, 9], 6379));
    let front = |client: u8, key: &str| {
        let talk = Talk::between([([10, 0, 0, client], 40_001), proxy], 1400).c(&[&format!("GET {key}")]);
        talk.wait(10).s(&format!("$1\r\n{key}\r\n")).fin()
    };
    let back =
        Talk::between([([10, 0, 0, 5], 51_000), server], 1400).c(&["GET b", "GET a"]).s("$1\r\nb\r\n$1\r\na\r\n");
    let mut all = back.fin();
    all.frames.extend(front(1, "a").frames);
    all.frames.extend(front(2, "b").frames);
    all.frames.sort_by_key(|(at, _)| *at);
    let told = all.run();
    let mut legs: Vec<String> = told
        .records
        .iter()
        .map(|record| {
            let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
            assert_eq!((text("/redis/pairing"), record["redis"].get("parent")), ("exact".to_owned(), None));
            format!("{} -> {}: {}", text("/source/ip"), text("/destination/ip"), text("/query"))
        })
        .collect();
    legs.sort();
    let expected = [
        "10.0.0.1 -> 10.0.0.5: GET a",
        "10.0.0.2 -> 10.0.0.5: GET b",
        "10.0.0.5 -> 10.0.0.9: GET a",
        "10.0.0.5 -> 10.0.0.9: GET b",
    ];
    assert_eq!(legs, expected);
    let ids: std::collections::BTreeSet<&str> =
        told.records.iter().map(|record| record["event"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn keys_of_each_command_that_was_executed_are_counted_with_what_it_found() {
    let told = Talk::new(1400)
        .c(&["MGET user:1 user:2 user:3", "MGET user:1", "AUTH user:4", "MIGRATE h 1 user:5 0 9"])
        .s("*3\r\n$-1\r\n$1\r\nv\r\n$-1\r\n*1\r\n$1\r\nv\r\n+OK\r\n+OK\r\n")
        .c(&["MULTI", "SET user:6 v", "DISCARD", "MULTI", "SET user:7 v", "GET user:8", "EXEC"])
        .s("+OK\r\n+QUEUED\r\n+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$-1\r\n")
        .run();
    let tallies = told.keys.keys.iter().map(|entry| {
        let Tally { reads, writes, hits, misses, .. } = *entry.tally;
        format!("{} {reads} {writes} {hits} {misses}", String::from_utf8_lossy(entry.name))
    });
    let expected = ["user:1 2 0 1 1", "user:2 1 0 1 0", "user:3 1 0 0 1", "user:7 0 1 0 0", "user:8 1 0 0 1"];
    assert_eq!(tallies.collect::<Vec<_>>(), expected);
    assert_eq!(told.counters[Counter::KeyOperations], 6);
}
