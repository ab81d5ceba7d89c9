//! Connections that are no client's, or not looked into (PROTOCOL section 3): replication, the cluster's bus, sentinels, TLS.

mod talk;

use resptap::counters::Counter;
use resptap::redis::replication::{Channel, SyncResult};

use talk::{Talk, expect};

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

#[test]
fn row_38_the_two_channels_of_a_synchronisation_are_told_apart() {
    let id = "25974c1ac0c49903d52106cb5da422518def26bf";
    // Valkey: the main connection asks twice, the second time from where the snapshot ends.
    let told = expect(
        |talk| {
            talk.c(&["REPLCONF capa eof capa psync2 capa dual-channel", "PSYNC ? -1"])
                .s("+OK\r\n+DUALCHANNELSYNC\r\n")
                .c(&["REPLCONF set-rdb-client-id 17", &format!("PSYNC {id} 101")])
                .s(&format!("+OK\r\n+CONTINUE {id}\r\n*1\r\n$4\r\nping\r\n"))
                .c(&["REPLCONF ACK 114"])
        },
        &[],
    );
    let facts = told.links[0].facts;
    assert_eq!((told.links.len(), facts.channel), (1, Channel::Main));
    assert_eq!((facts.primary_offset, facts.replica_offset, facts.sync_bytes), (Some(114), Some(114), 0));
    let told = expect(
        |talk| {
            talk.c(&["REPLCONF ip-address 10.0.0.1", "REPLCONF rdb-only 1 rdb-channel 1", "SYNC"])
                .s(&format!("+OK\r\n+OK\r\n$ENDOFF:100 {id} 0 17\r\n\n$EOF:{MARK}\r\nREDIS0010{MARK}"))
        },
        &[],
    );
    let facts = told.links[0].facts;
    assert_eq!((facts.channel, facts.sync_result, facts.sync_bytes), (Channel::Snapshot, SyncResult::Done, 9));
    assert_eq!((facts.primary_offset, facts.stream_bytes), (Some(100), 0));
    // Redis: the commands come on the main connection at once.
    let told = expect(
        |talk| {
            talk.c(&["REPLCONF capa rdb-channel-repl", "PSYNC ? -1"])
                .s("+OK\r\n+RDBCHANNELSYNC 17\r\n\n*1\r\n$4\r\nping\r\n")
                .c(&["REPLCONF ACK 114"])
        },
        &[],
    );
    let facts = told.links[0].facts;
    assert_eq!((facts.channel, facts.stream_bytes, facts.primary_offset), (Channel::Main, 14, None));
    let told = expect(
        |talk| {
            talk.c(&["REPLCONF main-ch-client-id 17", "PSYNC ? -1"])
                .s(&format!("+OK\r\n+FULLRESYNC {id} 100\r\n$EOF:{MARK}\r\nREDIS0010{MARK}"))
        },
        &[],
    );
    let facts = told.links[0].facts;
    assert_eq!((facts.channel, facts.sync_result, facts.sync_bytes), (Channel::Snapshot, SyncResult::Done, 9));
    assert_eq!(told.counters[Counter::Requests], 0, "no client's transactions");
}

/// What does not depend on where it was cut: of an opaque connection there is nothing to tell.
#[track_caller]
fn expect_opaque(talk: impl Fn(Talk) -> Talk, pieces: &[usize], counter: Counter) {
    for &piece in pieces {
        let told = talk(Talk::new(piece)).fin().run();
        assert_eq!(told.lines(), [""; 0], "in pieces of {piece}");
        let counters = &told.counters;
        assert_eq!((counters[counter], counters[Counter::Requests], counters[Counter::Replies]), (1, 0, 0), "{piece}");
        assert_eq!(counters[Counter::RequestBytesSkipped] + counters[Counter::ReplyBytesSkipped], 0, "{piece}");
        assert_eq!((counters[Counter::Malformed], counters[Counter::Contradictions]), (0, 0), "{piece}");
        assert_eq!((counters[Counter::Gaps], counters[Counter::ClosedFin]), (0, 1), "{piece}");
    }
}

#[test]
fn row_39_the_cluster_bus_is_a_class_of_its_own() {
    let message = [&b"RCmb\0\0\x08\xd0\0\x01\x18\xeb\0\x01"[..], &[b'\n'; 2242]].concat();
    let answer: String = message.iter().map(|&byte| char::from(byte % 128)).collect();
    let talk = |talk: Talk| talk.raw(&message).s(&answer).raw(&message).s(&answer);
    expect_opaque(talk, &[5, 700, 1400], Counter::OpaqueClusterBus);
}

#[test]
fn row_39_other_servers_replication_is_no_clients_transaction() {
    let flow = |talk: Talk| {
        talk.c(&["REPLCONF capa dragonfly"])
            .s("*4\r\n$2\r\nid\r\n$5\r\nSYNC1\r\n:2\r\n:4\r\n")
            .c(&["DFLY FLOW id SYNC1 0"])
            .s("*2\r\n$4\r\nFULL\r\n$3\r\neof\r\nREDIS0009 anything \r\n+OK\r\n")
            .c(&["REPLCONF ACK 5"])
    };
    let append = |talk: Talk| {
        talk.c(&["CLUSTER APPENDLOG node 0 64 128 payload", "CLUSTER APPENDLOG node 128 64 192 GET"])
            .s("+OK\r\n")
            .c(&["CLUSTER GOSSIP x"])
    };
    for piece in [1, 3, 7, 1400] {
        for told in [flow(Talk::new(piece)).fin().run(), append(Talk::new(piece)).fin().run()] {
            assert_eq!(told.lines(), [""; 0], "in pieces of {piece}");
            assert_eq!(
                (told.counters[Counter::OpaqueReplication], told.counters[Counter::Requests]),
                (1, 0),
                "{piece}"
            );
            assert_eq!(told.counters[Counter::Malformed], 0, "{piece}");
        }
    }
    // What was a client's before is told as a client's.
    let told = append(Talk::new(1400).c(&["GET k"]).s("$1\r\nv\r\n").c(&["GET j"])).fin().run();
    assert_eq!(told.lines(), ["GET k => v", "GET j => (none) [lost]"]);
}

#[test]
fn row_39_a_sentinel_is_spoken_to_as_any_server() {
    let switch = "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$29\r\nm 10.0.0.2 6379 10.0.0.3 6379\r\n";
    let told = expect(
        |talk| {
            talk.c(&["SENTINEL get-master-addr-by-name m", "SENTINEL CKQUORUM m", "PUBLISH __sentinel__:hello x"])
                .s("*2\r\n$8\r\n10.0.0.2\r\n$4\r\n6379\r\n+OK 3 usable Sentinels\r\n:1\r\n")
                .c(&["SUBSCRIBE +switch-master"])
                .s("*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n")
                .s(switch)
                .c(&["PING"])
                .s(switch)
                .s("*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        },
        &[
            "SENTINEL GET-MASTER-ADDR-BY-NAME m => [10.0.0.2, 6379]",
            "SENTINEL CKQUORUM m => OK 3 usable Sentinels",
            "PUBLISH __sentinel__:hello x => 1",
            "SUBSCRIBE +switch-master => [subscribe, +switch-master, 1]",
            "PING => [pong, ]",
        ],
    );
    assert_eq!(told.counters[Counter::UnsolicitedPush], 2);
}

#[test]
fn row_40_tls_is_a_class_of_its_own_and_never_looked_into() {
    let hello = [&[0x16, 3, 1, 0, 200, 1][..], &[b'*'; 199]].concat();
    let data = [&[0x17, 3, 3, 0, 14][..], b"*1\r\n$4\r\nPING\r\n"].concat();
    let answer = "\u{16}\u{3}\u{3}\0\u{9}+OK\r\n+OK\r";
    let talk = |talk: Talk| talk.raw(&hello).s(answer).raw(&data).s(answer).raw(&data).s(answer);
    expect_opaque(talk, &[1, 3, 7, 1400], Counter::OpaqueTls);
}

#[test]
fn row_40_tls_from_before_the_capture_is_known_by_its_records() {
    let data = [&[0x17, 3, 3, 0, 14][..], b"*1\r\n$4\r\nPING\r\n"].concat();
    let mut talk = Talk::new(1400);
    talk.frames.clear();
    let told =
        talk.raw(&data).s("\u{17}\u{3}\u{3}\0\u{5}+OK\r\n").raw(b"*1\r\n$4\r\nPING\r\n").s("+OK\r\n").fin().run();
    assert_eq!(told.lines(), [""; 0]);
    assert_eq!((told.counters[Counter::OpaqueTls], told.counters[Counter::ConnectionsMidstream]), (1, 1));
    assert_eq!(told.counters[Counter::OpaqueBytes], 19 + 10 + 14 + 5);
}

#[test]
fn row_40_tls_that_shows_behind_a_gap_counts_from_there_on() {
    let data = [&[0x17, 3, 3, 0, 14][..], b"*1\r\n$4\r\nPING\r\n"].concat();
    let mut talk = Talk::new(1400).raw(&data).raw(&data).wait(100).raw(&data);
    // The handshake has three.
    talk.frames.remove(3);
    let told = talk.fin().run();
    assert_eq!((told.counters[Counter::OpaqueTls], told.counters[Counter::OpaqueBytes]), (1, 2 * 19));
}
