//! `--port any`: connections of Redis give the records that they give where their port is named, wherever the server is and
//! wherever the capture begins; all others give none, and are left.

mod common;

use std::fs::File;
use std::process::Command;

use proptest::prelude::*;

use resptap::capture::write::PcapWriter;
use resptap::capture::{Frame, LinkType};
use resptap::counters::Counter;
use resptap::decode::ports::PortSet;
use resptap::limits::{
    RECOGNITION_EXCHANGES, RECOGNITION_SEGMENTS_MAX, RECOGNITION_STRIKES_MAX, SERVERS_PER_WORKER_MAX,
};
use resptap::redis::pairing::Resync;
use resptap::units::Timestamp;

use common::Random;
use common::drive::{Options, Outcomes, Truth, run_frames_on};
use common::packet::{self, ACK, EPOCH, FIN, MILLISECOND, PSH, Packet, RST, SECOND, SYN};
use common::traffic::{Style, scene};

/// Waits for missing bytes for 50 ms, however many packets of a few bytes that may be.
const PATIENT: Options = Options {
    resync: Resync::Assume,
    timeout_ns: 30 * SECOND,
    payload_bytes: 256,
    reorder_packets: u32::MAX,
    memory: 256 << 20,
    interval_ns: None,
};

fn any() -> PortSet {
    PortSet::new(0..=u16::MAX)
}

/// The packet with the server elsewhere: on this port, and, if it is `low`, at an address below the clients'.
fn moved(packet: &Packet, port: u16, low: bool) -> Vec<u8> {
    let mut frame = packet.frame();
    let (server, client_address, server_address, ports) =
        if frame[12] == 8 { (9u8, 26 + 3, 30 + 3, 34) } else { (9u8, 22 + 15, 38 + 15, 54) };
    for (address, at) in [(client_address, ports), (server_address, ports + 2)] {
        if frame[address] == server {
            frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
            frame[address] = if low { 0 } else { server };
        }
    }
    frame
}

fn run_moved(packets: &[Packet], ports: PortSet, port: u16, low: bool) -> Outcomes {
    let bytes: Vec<Vec<u8>> = packets.iter().map(|packet| moved(packet, port, low)).collect();
    let frames = packets.iter().zip(&bytes).map(|(packet, bytes)| Frame {
        bytes: &bytes[..bytes.len().min(packet.snap)],
        wire_len: bytes.len() as u32,
        at: Timestamp(packet.at),
        link: LinkType::Ethernet,
    });
    run_frames_on(ports, &frames.collect::<Vec<_>>(), PATIENT)
}

/// All records, each with the name of its connection, which others refer to.
fn told(outcomes: &Outcomes) -> Vec<String> {
    let tell = |record: &common::drive::Record| {
        let transaction = &record.transaction;
        format!("{:x} {} {:?}", transaction.conversation.id, record.essence(true), transaction.end)
    };
    let mut told: Vec<String> = outcomes.records.iter().map(tell).collect();
    told.sort();
    told
}

/// Some packets come a few places too late, or twice, as networks do; what comes far too late at the beginning costs more where no
/// port is named.
fn nudge(packets: &[Packet], random: &mut Random) -> Vec<Packet> {
    let mut nudged = Vec::new();
    for (at, packet) in packets.iter().enumerate() {
        nudged.push(packet.clone());
        if packet.flags & (SYN | RST) != 0 {
            continue;
        }
        // Not behind its connection's end.
        let mut later = |probability: f64| {
            let at = at + random.within(1, 4) as usize;
            let is_living = |later: &&Packet| later.connection == packet.connection && later.flags & RST == 0;
            packets.get(at).filter(is_living).filter(|_| random.chance(probability))
        };
        if let Some(later) = later(0.05) {
            nudged.push(Packet { at: later.at, ..packet.clone() });
        }
        if let Some(later) = later(0.1) {
            nudged.last_mut().expect("it was pushed").at = later.at;
        }
    }
    packet::sorted(nudged)
}

/// Whether a client begins with a line, which alone does not tell, and is never answered, or sends more behind it than is kept.
fn is_told_by_lines_alone(packets: &[Packet]) -> bool {
    let data = || packets.iter().filter(|packet| !packet.payload.is_empty());
    let begins = data().filter(|packet| {
        packet.from_client && packet.offset == 0 && !matches!(packet.payload[..], [b'*', b'1'..=b'9', ..])
    });
    begins.map(|packet| packet.connection).any(|connection| {
        let own = packets.iter().filter(|packet| packet.connection == connection && packet.flags & SYN == 0);
        let unanswered = own.take_while(|packet| packet.from_client || packet.payload.is_empty());
        let is_answered = data().any(|packet| packet.connection == connection && !packet.from_client);
        !is_answered || unanswered.count() >= RECOGNITION_SEGMENTS_MAX
    })
}

/// Where servers are.
const PLACES: [(u16, bool); 4] = [(80, false), (7777, true), (65_535, false), (65_535, true)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_are_those_of_the_named_port(seed: u64, place in 0usize..4, how in 0u8..5) {
        let mut random = Random(seed);
        // What comes out of order at the beginning, or behind an inline command, must be within what is kept.
        let style = Style { stalls: how == 3, value_bytes: 300, reuse: true, ..Style::default() };
        let scene = scene(&style, &mut random);
        let packets = match how {
            1 => packet::cut(&scene.packets, 200, 1400, &mut random),
            2 => nudge(&scene.packets, &mut random),
            // Cut off as by a short snap length.
            4 => scene.packets.into_iter().map(|packet| Packet { snap: 160, ..packet }).collect(),
            _ => scene.packets,
        };
        prop_assume!(!is_told_by_lines_alone(&packets));
        let (port, low) = PLACES[place];
        let named = run_moved(&packets, PortSet::new([port]), port, low);
        let found = run_moved(&packets, any(), port, low);
        let (found_told, named_told) = (told(&found), told(&named));
        for (found, named) in found_told.iter().zip(&named_told) {
            prop_assert_eq!(found, named);
        }
        prop_assert_eq!(found_told.len(), named_told.len());
        for counter in Counter::ALL.iter().filter(|counter| matches!(counter.place().0, "requests" | "replies" | "keys")) {
            prop_assert_eq!(found.counters[*counter], named.counters[*counter], "{:?}", counter);
        }
    }

    #[test]
    fn no_pair_is_wrong_wherever_the_capture_begins_and_whatever_it_lost(seed: u64, place in 0usize..4, loss in 0u8..3, shaken: bool) {
        let mut random = Random(seed);
        let style = Style { connections: 6, requests: 60, value_bytes: 3000, modes: true, ..Style::default() };
        let scene = scene(&style, &mut random);
        let begin = random.within(0, scene.packets.len() as u64 / 2) as usize;
        let lost = f64::from(loss) * 0.02;
        let packets = packet::drop_some(&scene.packets[begin..], lost, lost, &mut random);
        let packets = if shaken { packet::shake(&packets, &mut random) } else { packets };
        let (port, low) = PLACES[place];
        let found = run_moved(&packets, any(), port, low);
        Truth::new(&scene.exchanges).check(&found.records, None);
    }
}

/// A connection, as frames.
struct Talk {
    packets: Vec<Packet>,
    at: u64,
    seq: [u32; 2],
}

impl Talk {
    /// That begins with its handshake.
    fn new() -> Talk {
        let mut talk = Talk::joined();
        talk.send(0, SYN, b"");
        talk.seq[0] += 1;
        talk.send(1, SYN | ACK, b"");
        talk.seq[1] += 1;
        talk
    }

    /// That was there before the capture.
    fn joined() -> Talk {
        Talk { packets: Vec::new(), at: EPOCH, seq: [1_000_000, 2_000_000] }
    }

    fn send(&mut self, side: usize, flags: u8, payload: &[u8]) {
        self.at += MILLISECOND;
        self.packets.push(Packet {
            at: self.at,
            connection: 0,
            port: 40_001,
            from_client: side == 0,
            seq: self.seq[side],
            ack: if flags == SYN { 0 } else { self.seq[1 - side] },
            flags,
            window: 500,
            payload: payload.to_vec(),
            offset: 0,
            snap: usize::MAX,
        });
        self.seq[side] = self.seq[side].wrapping_add(payload.len() as u32);
    }

    /// The client says this.
    fn c(mut self, payload: impl AsRef<[u8]>) -> Talk {
        self.send(0, ACK | PSH, payload.as_ref());
        self
    }

    /// A command in multibulk form.
    fn ask(self, words: &str) -> Talk {
        let words: Vec<String> = words.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        self.c(format!("*{}\r\n{}", words.len(), words.concat()))
    }

    /// The server says this.
    fn s(mut self, payload: impl AsRef<[u8]>) -> Talk {
        self.send(1, ACK | PSH, payload.as_ref());
        self
    }

    /// One side says nothing but that it has seen what the other said.
    fn ack(mut self, side: usize) -> Talk {
        self.send(side, ACK, b"");
        self
    }

    fn fin(mut self) -> Talk {
        for side in [0, 1] {
            self.send(side, FIN | ACK, b"");
            self.seq[side] += 1;
        }
        self
    }

    /// What is missed of it from here on: all of a side's.
    fn without(mut self, side: usize) -> Talk {
        self.packets.retain(|packet| packet.from_client != (side == 0));
        self
    }

    /// In both places of a server: a port below the client's, and one above.
    #[track_caller]
    fn run(&self) -> Outcomes {
        let low = run_moved(&self.packets, any(), 80, false);
        let high = run_moved(&self.packets, any(), 65_535, false);
        assert_eq!(lines(&low), lines(&high), "wherever the server is");
        high
    }
}

fn lines(outcomes: &Outcomes) -> Vec<String> {
    let tell = |record: &common::drive::Record| {
        let words = record.essence(false);
        let mut words = words.split_whitespace();
        let client = words.next().unwrap();
        assert!(client.contains("40001"), "{client} is the client");
        let (command, outcome) = (words.nth(1).unwrap(), words.next().unwrap());
        format!("{command} {outcome} {}", record.response.escape_ascii())
    };
    outcomes.records.iter().map(tell).collect()
}

/// It gives these records.
#[track_caller]
fn gives(talk: &Talk, records: &[&str]) -> Outcomes {
    let outcomes = talk.run();
    assert_eq!(lines(&outcomes), records);
    assert_eq!(outcomes.counters.sum("connections", "opaque."), 0);
    assert_eq!(outcomes.counters[Counter::ConnectionsUndecided], 0);
    outcomes
}

/// It gives none, and is counted there.
#[track_caller]
fn gives_none(talk: &Talk, counter: Counter) -> Outcomes {
    let outcomes = talk.run();
    assert_eq!(lines(&outcomes), [""; 0]);
    let counters = &outcomes.counters;
    assert_eq!((counters[Counter::Requests], counters[Counter::Replies], counters[counter]), (0, 0, 1));
    let others = counters.sum("connections", "opaque.") + counters[Counter::ConnectionsUndecided];
    assert_eq!(others, 1, "and nowhere else");
    let bytes: usize = talk.packets.iter().map(|packet| packet.payload.len()).sum();
    assert_eq!(counters[Counter::OpaqueBytes] + counters[Counter::UndecidedBytes], bytes as u64, "all bytes count");
    assert_eq!((counters[Counter::Gaps], counters[Counter::Malformed]), (0, 0));
    outcomes
}

/// What is said, in turns: by side 0, the client, or 1.
type Said = Vec<(usize, Vec<u8>)>;

/// What other protocols say.
fn others() -> Vec<(&'static str, Said)> {
    let text = |lines: &[(usize, &str)]| -> Said {
        lines.iter().map(|(side, line)| (*side, line.as_bytes().to_vec())).collect()
    };
    let mut random = Random(7);
    let mut noise = |length: usize| -> Vec<u8> { (0..length).map(|_| random.next() as u8).collect() };
    vec![
        (
            "HTTP",
            text(&[
                (0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                (1, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n+OK\r\n"),
                (0, "GET /b HTTP/1.1\r\n\r\n"),
                (1, "HTTP/1.1 404 Not Found\r\n\r\n"),
            ]),
        ),
        (
            "POST",
            text(&[
                (0, &format!("POST / HTTP/1.1\r\n\r\n{}", "*1\r\n$4\r\nPING\r\n".repeat(400))),
                (1, "HTTP/1.1 200 OK\r\n\r\n"),
            ]),
        ),
        (
            "SMTP",
            text(&[(1, "220 a ESMTP\r\n"), (0, "EHLO b\r\n"), (1, "250 a\r\n"), (0, "QUIT\r\n"), (1, "221 a\r\n")]),
        ),
        (
            "POP3",
            text(&[
                (1, "+OK POP3 ready\r\n"),
                (0, "AUTH\r\n"),
                (1, "+OK\r\nPLAIN\r\n.\r\n"),
                (0, "USER a\r\n"),
                (1, "+OK\r\n"),
                (0, "PASS b\r\n"),
                (1, "+OK\r\n"),
                (0, "QUIT\r\n"),
                (1, "+OK\r\n"),
            ]),
        ),
        (
            "FTP",
            text(&[
                (1, "220 ready\r\n"),
                (0, "USER a\r\n"),
                (1, "331 password?\r\n"),
                (0, "PASS x\r\n"),
                (1, "230 ok\r\n"),
            ]),
        ),
        ("IMAP", text(&[(1, "* OK IMAP4rev1\r\n"), (0, "1 LOGIN a b\r\n"), (1, "1 OK done\r\n")])),
        (
            "IRC",
            text(&[
                (0, "PING x\r\n"),
                (1, ":irc.example.com PONG irc.example.com :x\r\n"),
                (0, "PING y\r\n"),
                (1, ":irc.example.com PONG irc.example.com :y\r\n"),
            ]),
        ),
        (
            "NATS",
            text(&[
                (1, "INFO {\"verbose\":true}\r\n"),
                (0, "CONNECT {}\r\nPING\r\n"),
                (1, "+OK\r\nPONG\r\n"),
                (0, "PING\r\n"),
                (1, "PONG\r\n"),
            ]),
        ),
        (
            "memcached",
            text(&[
                (0, "set a 0 0 1\r\nb\r\n"),
                (1, "STORED\r\n"),
                (0, "get a\r\n"),
                (1, "VALUE a 0 1\r\nb\r\nEND\r\n"),
                (0, "incr a 1\r\n"),
                (1, "2\r\n"),
            ]),
        ),
        ("SSH", text(&[(1, "SSH-2.0-a\r\n"), (0, "SSH-2.0-b\r\n"), (1, "\0\0\x04\x5c\x0a\x14")])),
        (
            "MySQL",
            vec![
                (1, b"\x4a\0\0\0\x0a8.0.3\0".to_vec()),
                (0, b"\x20\0\0\x01\x85\xa6".to_vec()),
                (1, b"\x07\0\0\x02\0".to_vec()),
            ],
        ),
        ("PostgreSQL", vec![(0, b"\0\0\0\x11\0\x03\0\0user\0a\0\0".to_vec()), (1, b"R\0\0\0\x08\0\0\0\0".to_vec())]),
        ("noise", (0..8).map(|n| (n % 2, noise(700))).collect()),
    ]
}

#[test]
fn other_protocols_are_left_and_give_no_records() {
    for (name, said) in others() {
        println!("{name}");
        let talk = said.iter().fold(Talk::new(), |talk, (side, bytes)| talk_on(talk, *side, bytes));
        gives_none(&talk.fin(), Counter::OpaqueOther);
    }
    // Text of which there is more than can be kept, and no answer.
    let begun = Talk::new().c("POST / HTTP/1.1\r\n\r\n");
    gives_none(&(0..40).fold(begun, |talk, _| talk.c("some text\r\n")), Counter::OpaqueOther);
    // Who looks for Redis finds other servers, too.
    gives_none(&Talk::new().ask("INFO").s("HTTP/1.1 400 Bad Request\r\n\r\n").fin(), Counter::OpaqueOther);
}

#[test]
fn other_protocols_give_no_records_either_where_their_beginning_is_missed_or_one_of_their_first_packets() {
    for (name, said) in others() {
        println!("{name}");
        let joined = said.iter().fold(Talk::joined(), |talk, (side, bytes)| talk_on(talk, *side, bytes));
        gives_none(&joined.fin(), Counter::ConnectionsUndecided);
        for missed in 0..4 {
            let mut talk = said.iter().fold(Talk::new(), |talk, (side, bytes)| talk_on(talk, *side, bytes));
            if missed < talk.packets.len() {
                talk.packets.remove(missed);
            }
            assert_eq!(lines(&talk.run()), [""; 0], "without packet {missed}");
        }
    }
}

fn talk_on(talk: Talk, side: usize, bytes: &[u8]) -> Talk {
    if side == 0 { talk.c(bytes) } else { talk.s(bytes) }
}

#[test]
fn other_protocols_from_before_the_capture_are_left_after_so_many_segments() {
    let mut talk = Talk::joined();
    for n in 1..u64::from(RECOGNITION_STRIKES_MAX) {
        talk = if n % 2 == 0 { talk.c("LIST\r\n") } else { talk.s("120 a\r\n") };
    }
    let before = talk.run().counters;
    assert_eq!((before[Counter::OpaqueOther], before[Counter::ConnectionsUndecided]), (0, 1));
    talk = talk.c("LIST\r\n");
    gives_none(&talk, Counter::OpaqueOther);
    for _ in 0..3 {
        talk = talk.ask("GET a").s("$1\r\n1\r\n");
    }
    gives_none(&talk, Counter::OpaqueOther);
    // A command in between gives it another chance.
    talk.packets.truncate(usize::from(RECOGNITION_STRIKES_MAX) - 1);
    let strike = |talk: Talk| talk.s("120 a\r\n");
    gives_none(&(0..900).fold(talk.ask("GET a"), |talk, _| strike(talk)), Counter::ConnectionsUndecided);
    // Long ones count as several.
    let mut long = Talk::joined();
    for _ in 0..=u32::from(RECOGNITION_STRIKES_MAX) / 11 {
        long = long.s(vec![b'x'; 10 * 4096]);
    }
    gives_none(&long, Counter::OpaqueOther);
}

#[test]
fn tls_and_the_cluster_bus_are_told_as_such() {
    let hello = b"\x16\x03\x01\0\x05\x01\0\0\x01\x03";
    let data = b"\x17\x03\x03\0\x05*1\r\n$";
    gives_none(&Talk::new().c(hello).s(data).c(data).fin(), Counter::OpaqueTls);
    gives_none(&Talk::joined().c(data).s(data), Counter::OpaqueTls);
    gives_none(&Talk::joined().s(data).c(data), Counter::OpaqueTls);
    let bus = b"RCmb\0\0\x08\xd0\0\x01\x18\xeb";
    gives_none(&Talk::new().c(bus).s(bus).fin(), Counter::OpaqueClusterBus);
    gives_none(&Talk::joined().s(bus).c(bus), Counter::OpaqueClusterBus);
}

#[test]
fn inline_commands_are_believed_if_the_server_answers_as_redis_does() {
    let talk = Talk::new().c("PING\r\n").s("+PONG\r\n").c("GET a\r\n").s("$1\r\n1\r\n").fin();
    gives(&talk, &["PING Exact PONG", "GET Exact 1"]);
    // And where the SYN-ACK is missed.
    let mut talk = Talk::new().c("PING\r\n").s("+PONG\r\n").fin();
    talk.packets.remove(1);
    gives(&talk, &["PING Exact PONG"]);
    // Also after lines that tell nothing.
    let talk = Talk::new().c("AUTH x\r\n").s("+OK\r\n").c("what\r\n").s("-ERR unknown\r\n").c("GET a\r\n").s("$-1\r\n");
    gives(&talk, &["AUTH Exact ", "unknown Exact ", "GET Exact (nil)"]);
    // These commands are those of others as well.
    gives_none(
        &Talk::new().c("AUTH a\r\n").s("+OK\r\n").c("QUIT\r\n").s("+OK\r\n").fin(),
        Counter::ConnectionsUndecided,
    );
    // POP3 of which the greeting is missed.
    let mut talk = Talk::new().s("+OK\r\n").c("AUTH\r\n").s("+OK\r\n").c("QUIT\r\n").s("+OK\r\n").fin();
    talk.packets.remove(2);
    assert_eq!(lines(&talk.run()), [""; 0]);
}

#[test]
fn resp3_and_messages_are_recognised() {
    let hello = "%1\r\n$5\r\nproto\r\n:3\r\n";
    let push = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
    let subscribed = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    let talk =
        Talk::new().ask("HELLO 3").s(hello).ask("SUBSCRIBE a").s(subscribed).s(push).ask("GET a").s("_\r\n").fin();
    let outcomes = talk.run();
    assert_eq!((outcomes.counters[Counter::RequestsExact], outcomes.counters[Counter::UnsolicitedPush]), (3, 1));
}

#[test]
fn of_connections_from_before_the_capture_two_exchanges_tell_who_is_the_server() {
    assert_eq!(RECOGNITION_EXCHANGES, 2);
    let one = Talk::joined().s("$1\r\n0\r\n").ask("GET a").s("$1\r\n1\r\n").ack(0);
    gives_none(&one, Counter::ConnectionsUndecided);
    let two = one.ask("INCR b").s(":2\r\n");
    let outcomes = two.run();
    assert_eq!(outcomes.counters[Counter::Requests], 2, "{:?}", lines(&outcomes));
    assert_eq!(outcomes.counters[Counter::Replies], 3, "that from before as well");
    // The same connection by name is told by the same identifier.
    for (port, low) in PLACES {
        let named = run_moved(&two.packets, PortSet::new([port]), port, low);
        assert_eq!(told(&run_moved(&two.packets, any(), port, low)), told(&named));
    }
}

#[test]
fn what_both_sides_may_send_does_not_tell_who_is_the_server() {
    // Each side's arrays could be the commands that the other one's answer.
    let array = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    let talk = (0..50).fold(Talk::joined(), |talk, _| talk.ask("LRANGE a 0 1").s(array));
    gives_none(&talk, Counter::ConnectionsUndecided);
    let talk = (0..50).fold(Talk::joined(), |talk, _| talk.s("*2\r\n$1\r\na\r\n$1\r\nb\r\n").c("+OK\r\n"));
    gives_none(&talk, Counter::ConnectionsUndecided);
    // A value that looks like a reply, to what looks like a command, only delays.
    let talk = Talk::joined().s(array).c("+OK\r\n").ask("INCR a").s(":1\r\n");
    gives_none(&talk, Counter::ConnectionsUndecided);
    assert!(talk.ask("INCR a").s(":2\r\n").ask("INCR a").s(":3\r\n").run().counters[Counter::Requests] >= 3);
    // Values that look like replies, between the server's arrays that look like commands.
    let talk = (0..50).fold(Talk::joined(), |talk, n| match n % 2 {
        0 => talk.s(array).c("+OK\r\n"),
        _ => talk.ask("GET a").s("+OK\r\n"),
    });
    assert_eq!(lines(&talk.run()), [""; 0]);
    // An answer acknowledges what it answers.
    let mut talk = Talk::joined();
    for _ in 0..10 {
        talk = talk.ask("GET a");
        talk.seq[0] -= 1;
        talk = talk.s("+OK\r\n");
        talk.seq[0] += 1;
    }
    gives_none(&talk, Counter::ConnectionsUndecided);
}

#[test]
fn what_does_not_fit_while_a_connection_is_doubtful_is_counted_and_later_segments_are_kept() {
    // Messages to a subscriber that asks for nothing for long.
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
    let mut talk = Talk::joined().s("+OK\r\n");
    for _ in 0..500 {
        talk = talk.s(message).ack(0);
    }
    gives_none(&talk, Counter::ConnectionsUndecided);
    let talk = talk.ask("UNSUBSCRIBE a").s("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n").ask("PING").s("+PONG\r\n");
    let counters = talk.run().counters;
    assert_eq!(counters[Counter::Requests], 2);
    assert!(counters[Counter::UndecidedBytes] > 10_000, "{}", counters[Counter::UndecidedBytes]);
}

#[test]
fn a_client_that_is_not_answered_is_believed_if_nothing_else_begins_so() {
    // A value that takes more segments than can be kept.
    let begun = Talk::new().c("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n");
    let talk = (0..100).fold(begun, |talk, _| talk.c([b'v'; 1000])).c("\r\n").s("+OK\r\n").fin();
    gives(&talk, &["SET Exact OK"]);
    let one_sided = Talk::new().ask("GET a").s("$1\r\n1\r\n").ask("GET b").s("$1\r\n2\r\n").fin().without(1);
    gives(&one_sided, &["GET OneSided ", "GET OneSided "]);
    // One that is never answered is told as such; lines could be anything.
    gives(&Talk::new().ask("PING").fin(), &["PING Unanswered(Fin) "]);
    gives_none(&Talk::new().c("PING\r\n").fin(), Counter::ConnectionsUndecided);
    let mut refused = Talk::new().ask("PING");
    refused.send(1, RST, b"");
    gives(&refused, &["PING Unanswered(Rst) "]);
    let mut waiting = Talk::new().ask("PING").ack(1);
    waiting.at += 100 * SECOND;
    gives(&waiting.ack(1), &["PING TimedOut "]);
    // It is told when it is time, not at the end.
    let mut waiting = Talk::new().ask("PING").ack(1);
    let later = Packet { at: waiting.at + 100 * SECOND, port: 40_002, flags: SYN, ..waiting.packets[0].clone() };
    waiting.packets.push(later);
    gives(&waiting, &["PING TimedOut "]);
}

#[test]
fn connections_without_data_and_refusals_are_no_riddle() {
    let empty = Talk::new().fin().run();
    assert_eq!((empty.counters[Counter::ConnectionsOpened], empty.counters[Counter::ClosedFin]), (1, 1));
    assert_eq!(empty.counters.sum("connections", "opaque.") + empty.counters[Counter::ConnectionsUndecided], 0);
    gives_none(&Talk::new().s("-ERR max number of clients reached\r\n").fin(), Counter::ConnectionsUndecided);
}

#[test]
fn a_doubtful_connection_that_closes_makes_room_for_the_next_between_the_same_ends() {
    let mut talk = Talk::new().c("PING\r\n").fin();
    talk.at += 10 * SECOND;
    talk.seq = [5_000_000, 6_000_000];
    talk.send(0, SYN, b"");
    talk.seq[0] += 1;
    talk.send(1, SYN | ACK, b"");
    talk.seq[1] += 1;
    let talk = talk.ask("PING").s("+PONG\r\n").fin();
    // The end of the first comes before its beginning.
    let mut shuffled = talk.packets.clone();
    shuffled[2..5].rotate_left(1);
    for packets in [&talk.packets, &shuffled] {
        let named = run_moved(packets, PortSet::new([80]), 80, false);
        let started = |outcomes: &Outcomes| outcomes.records.last().map(|record| record.transaction.conversation.id);
        assert_eq!(started(&run_moved(packets, any(), 80, false)), started(&named), "the second begins with its SYN");
    }
    let outcomes = talk.run();
    assert_eq!(lines(&outcomes), ["PING Exact PONG"]);
    let counters = &outcomes.counters;
    assert_eq!((counters[Counter::ConnectionsOpened], counters[Counter::ClosedFin]), (2, 2));
}

#[test]
fn other_servers_take_no_place_of_those_of_redis() {
    let syn = Talk::new().packets.swap_remove(0);
    let frames: Vec<Vec<u8>> = (1..=SERVERS_PER_WORKER_MAX as u16 + 10).map(|port| moved(&syn, port, false)).collect();
    let frames = frames.iter().map(|bytes| Frame {
        bytes,
        wire_len: bytes.len() as u32,
        at: Timestamp(EPOCH),
        link: LinkType::Ethernet,
    });
    let counters = run_frames_on(any(), &frames.collect::<Vec<_>>(), PATIENT).counters;
    assert_eq!(counters[Counter::ConnectionsOpened], SERVERS_PER_WORKER_MAX as u64 + 10);
    assert_eq!(counters[Counter::EvictedSeries], 0);
}

#[test]
fn where_there_is_no_room_to_keep_more_connections_are_left_and_counted() {
    let doubtful = |port: u16| {
        let talk = Talk::new().c("PING\r\n");
        talk.packets.into_iter().map(move |packet| Packet { port, connection: u32::from(port), ..packet })
    };
    let packets: Vec<Packet> = (10_001..11_001).flat_map(doubtful).collect();
    let counters = run_moved(&packets, any(), 80, false).counters;
    let evicted = counters[Counter::EvictedRecognitions];
    assert!((500..900).contains(&evicted), "{evicted} of 1000");
    assert_eq!((counters[Counter::OpaqueOther], counters[Counter::ConnectionsUndecided]), (evicted, 1000 - evicted));
    assert_eq!(counters[Counter::OpaqueBytes] + counters[Counter::UndecidedBytes], 6000);
}

#[test]
fn a_doubtful_connection_ends_soon_after_its_fin() {
    for talk in [Talk::new().c("PING\r\n").fin(), Talk::joined().c("some text\r\n").fin()] {
        let syn = Packet { port: 40_002, at: talk.at + 100 * SECOND, ..Talk::new().packets.swap_remove(0) };
        let counters = run_moved(&[talk.packets, vec![syn]].concat(), any(), 80, false).counters;
        assert_eq!((counters[Counter::ClosedFin], counters[Counter::ClosedCaptureEnd]), (1, 1));
        assert_eq!(counters[Counter::ConnectionsUndecided], 1);
    }
}

#[test]
fn a_hole_in_the_beginning_costs_what_it_hides_and_no_more() {
    // The first request is missed: what follows tells.
    let mut talk = Talk::new();
    for _ in 0..40 {
        talk = talk.ask("GET a").s("$1\r\n1\r\n").ask("INCR b").s(":2\r\n");
    }
    let missed = talk.packets.remove(2);
    let outcomes = talk.run();
    assert_eq!(outcomes.counters[Counter::Requests], 79);
    let as_named = |packets: &[Packet]| {
        let (named, found) = (run_moved(packets, PortSet::new([80]), 80, false), run_moved(packets, any(), 80, false));
        assert_eq!(told(&named), told(&found));
        found.counters
    };
    as_named(&talk.packets);
    // It comes far too late, but the answers have told.
    let mut late = talk.packets.clone();
    let at = late[40].at;
    late.insert(40, Packet { at, ..missed.clone() });
    assert_eq!(as_named(&late)[Counter::RequestsExact], 80);
    // Cut off within its first command.
    talk.packets.insert(2, Packet { snap: 14 + 40 + 8, ..missed });
    as_named(&talk.packets);
    // Of lines nothing tells but the first, or a segment of its own.
    let mut talk = Talk::new();
    for _ in 0..40 {
        talk = talk.c("GET a\r\n").s("$1\r\n1\r\n");
    }
    talk.packets.remove(2);
    gives_none(&talk, Counter::ConnectionsUndecided);
}

/// What the program prints for a file, but for the summary's parts that are of the run.
fn printed(file: &std::path::Path, arguments: &[&str]) -> (Vec<String>, serde_json::Value) {
    let summary = file.with_extension(format!("{}.json", arguments.concat()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_resptap"));
    command.arg("read").arg(file).args(["--sink", "jsonl:-", "--summary"]).arg(&summary).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let mut told: serde_json::Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
    for part in ["workers", "memory", "resptap"] {
        told.as_object_mut().unwrap().remove(part);
    }
    (lines, told)
}

#[test]
fn the_program_finds_what_the_named_port_gives_with_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.pcap");
    let mut random = Random(3);
    let style = Style { connections: 8, requests: 30, value_bytes: 300, ..Style::default() };
    let mut frames: Vec<(u64, Vec<u8>)> =
        scene(&style, &mut random).packets.iter().map(|packet| (packet.at, moved(packet, 7777, true))).collect();
    for (n, (_, said)) in (0..).zip(others()) {
        let talk = said.iter().fold(Talk::new(), |talk, (side, bytes)| talk_on(talk, *side, bytes)).fin();
        let packets = talk.packets.iter().map(|packet| Packet { port: 30_000 + n, ..packet.clone() });
        frames.extend(packets.map(|packet| (packet.at, moved(&packet, 8080, false))));
    }
    frames.sort_by_key(|frame| frame.0);
    let mut writer = PcapWriter::new(File::create(&path).unwrap(), LinkType::Ethernet, true).unwrap();
    for (at, frame) in &frames {
        writer.frame(Timestamp(*at), frame, frame.len() as u32).unwrap();
    }
    writer.finish().unwrap();
    let (named, _) = printed(&path, &["--port", "7777", "--workers", "1"]);
    let (found, summary) = printed(&path, &["--port", "any", "--workers", "1"]);
    assert_eq!(found, named);
    assert!(found.len() > 100, "{}", found.len());
    assert_eq!(summary["connections"]["opaque"]["other"], others().len(), "{}", summary["connections"]);
    assert_eq!(summary["servers"].as_object().unwrap().len(), 2, "other servers are not named: {}", summary["servers"]);
    assert_eq!(printed(&path, &["--port", "any", "--workers", "3"]), (found, summary));
}
