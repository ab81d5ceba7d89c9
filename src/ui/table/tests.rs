//! The table, as people see it.

use super::*;
use crate::capture::nic::drops::CardDrops;
use crate::endpoint::names::Names;
use crate::export::summary::{Input, InputFile, InputInterface, Memory};
use crate::flow::hash::Seed;
use crate::record::histograms::{Counts, DIGITS, ErrorCode, histogram};
use crate::record::keys::{Big, KeyStatistics, KeyedRequest};
use crate::record::room::Bounded;
use crate::record::top::Name;
use crate::record::totals::Totals;
use crate::record::totals::{Command, Entry, SeriesKey};
use crate::redis::arguments::{self, Argument};
use crate::redis::command::CommandTable;
use crate::resp::parser::Kind;
use crate::units::{Address, Endpoint, Timestamp};

const START: u64 = 1_795_348_800_000_000_000;

/// Latencies with a tail, as servers have them.
fn latencies(count: u64, median: u64) -> Histogram {
    let mut recorded = histogram(DIGITS);
    for number in 0..count.min(10_000) {
        let tail = 10_000 / (10_000 - number * 10_000 / count.min(10_000));
        recorded.record_n(median / 2 + median * number / 20_000 + median * tail, (count / 10_000).max(1)).unwrap();
    }
    recorded
}

fn entry(count: u64, errors: u64, median: u64) -> Entry {
    let counts = Counts { count, errors, request_bytes: count * 30, reply_bytes: count * 5 };
    Entry { counts, latency: if median == 0 { Bounded::Unused } else { Bounded::Kept(latencies(count, median)) } }
}

/// Adds a command whose latencies are in one series.
fn add_command(totals: &mut Totals, name: &str, Entry { counts, latency }: Entry) {
    totals.commands.insert(name.into(), Command { counts, parts: Bounded::Unused });
    totals.series.insert(SeriesKey { server: None, command: name.into(), blocking: false }, latency);
}

fn totals() -> Totals {
    let mut totals = Totals { latency: latencies(1_234_000, 85_000), ..Totals::default() };
    totals.parts.queue.record_n(0, 1_200_000).unwrap();
    totals.parts.queue.add(latencies(34_000, 120_000)).unwrap();
    totals.parts.server.add(latencies(1_234_000, 80_000)).unwrap();
    totals.parts.transfer.add(latencies(1_234_000, 400)).unwrap();
    for (name, count, errors, median) in [
        ("GET", 700_000, 0, 60_000),
        ("SET", 400_000, 12, 75_000),
        ("CLIENT SETNAME", 50, 0, 20_000),
        ("BLPOP", 300, 0, 2_500_000_000),
        ("QUIT", 3, 0, 0),
        ("unknown", 17, 17, 18_000),
    ] {
        add_command(&mut totals, name, entry(count, errors, median));
    }
    for number in 0..25u64 {
        add_command(&mut totals, &format!("H{number:02}"), entry(2000 - number, 0, 50_000 + number));
    }
    let server = Address::from_ipv4([10, 0, 0, 9]);
    totals.servers.insert(Some(Endpoint { address: server, port: 6379 }), entry(1_100_000, 29, 70_000));
    let long = "2001:db8:1111:2222:3333:4444:5555:6666".parse::<std::net::IpAddr>().unwrap();
    totals.servers.insert(Some(Endpoint { address: long.into(), port: 6379 }), entry(50_000, 0, 70_000));
    for number in 0..14 {
        totals
            .clients
            .insert(Some(Address::from_ipv4([10, 0, 1, number])), entry(90_000 - u64::from(number), 2, 71_000));
    }
    for (code, count) in [(&b"WRONGTYPE x"[..], 12), (b"ERR x", 17), (b"MOVED 1", 4)] {
        totals.errors.insert(Some(ErrorCode::of(code)), count);
    }
    totals
}

fn healthy() -> Counters {
    let mut counters = Counters::default();
    for (counter, n) in [
        (Counter::FramesSeen, 2_504_011),
        (Counter::FrameBytes, 312_504_011),
        (Counter::FramesAnalysed, 2_500_000),
        (Counter::SkipNotTcp, 4_000),
        (Counter::SkipNotIp, 11),
        (Counter::ConnectionsOpened, 50),
        (Counter::ClosedFin, 48),
        (Counter::ClosedCaptureEnd, 2),
        (Counter::Requests, 1_234_050),
        (Counter::RequestsExact, 1_234_050),
        (Counter::Replies, 1_234_050),
        (Counter::RepliesPaired, 1_234_050),
    ] {
        counters[counter] = n;
    }
    counters
}

fn lossy() -> Counters {
    let mut counters = healthy();
    for &counter in Counter::ALL {
        counters[counter] = counters[counter].max(7);
    }
    let others = Counter::ALL.iter().filter(|counter| {
        matches!(counter.place(), ("requests", name) if !name.contains('.') && !["total", "exact", "late", "lost_alternating", "contradictions", "bytes_skipped"].contains(&name))
    });
    counters[Counter::RequestsExact] -= 7 * others.count() as u64;
    counters
}

fn print(counters: &Counters, totals: &Totals, problem: Option<&str>, style: Style) -> String {
    print_with_keys(counters, totals, Some(&keys(&[])), problem, style)
}

/// Statistics of GETs: of a key, a value of so many bytes or a null.
fn keys(uses: &[(&str, Option<u64>)]) -> KeyStatistics {
    let table = CommandTable::built_in();
    let mut keys = KeyStatistics::new(1 << 20, b':', table, Seed::fixed(1));
    let mut counters = Counters::default();
    for (number, (name, value)) in (0..).zip(uses) {
        let mut arguments = Vec::new();
        arguments::append(&mut arguments, Argument::Hidden);
        arguments.extend_from_slice(name.as_bytes());
        arguments::close(&mut arguments, 0, Some("RO+ACCESS".parse().unwrap()), false);
        let (request_bytes, reply_bytes) = (40, value.unwrap_or(5));
        let request = KeyedRequest {
            command: table.find(b"GET").unwrap(),
            arguments: &arguments,
            keys: 1,
            has_gap: false,
            request_bytes,
            reply_bytes,
            latency_ns: 1000,
            reply: Some(if value.is_some() { Kind::Bulk } else { Kind::Null }),
            nulls: None,
            counts: true,
        };
        let big = Big {
            bytes: request_bytes,
            at: Timestamp(START),
            place: (1, number),
            command: request.command,
            key: Some(Name::new(name.as_bytes(), false)),
            client: Endpoint { address: Address::from_ipv4([10, 0, 1, 3]), port: 40_000 },
            server: Endpoint { address: Address::from_ipv4([10, 0, 0, 9]), port: 6379 },
        };
        keys.requests.insert(big);
        keys.replies.insert(Big { bytes: reply_bytes, ..big });
        keys.record(&request, &mut counters);
    }
    keys.finish(&mut counters);
    keys
}

fn print_with_keys(
    counters: &Counters,
    totals: &Totals,
    keys: Option<&KeyStatistics>,
    problem: Option<&str>,
    style: Style,
) -> String {
    let file = InputFile {
        path: "redis.pcap".into(),
        format: "pcap, microseconds".into(),
        bytes: 352_504_011,
        packets: 2_504_011,
        problem: problem.map(str::to_owned),
    };
    let last = Timestamp(START + 12_345_678_901);
    let input = Input { files: vec![file], first: Timestamp(START), last, ..Input::default() };
    print_input(&input, counters, totals, keys, style)
}

fn print_input(
    input: &Input,
    counters: &Counters,
    totals: &Totals,
    keys: Option<&KeyStatistics>,
    style: Style,
) -> String {
    let report = Report {
        version: "0.1.0",
        started: Timestamp(START),
        ended: Timestamp(START),
        clock: "the capture file",
        input,
        counters,
        totals,
        keys,
        key_hasher: None,
        replication: &[],
        names: &Names::parse("names.toml".as_ref(), "\"10.0.0.9\" = \"cache-a\"\n\"10.0.1.3\" = \"Kasse-ä\"").unwrap(),
        workers: &[],
        memory: Memory { budget: 1 << 30, peak: 12 << 20 },
    };
    let mut out = Vec::new();
    let observed = Observed { ports: &[6379], survey: None };
    print_summary(&report, observed, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn interfaces_are_told_with_what_was_dropped() {
    let eth1 = InputInterface {
        name: "eth1".into(),
        mode: "af-packet",
        why: "the interface is the host's own: it has the address 10.0.0.1".into(),
        link: "Ethernet",
        packets: 2_504_011,
        ..InputInterface::default()
    };
    let tun0 = InputInterface { name: "tun0".into(), link: "IP", packets: 1, drops: 1_000, ..eth1.clone() };
    let nic = CardDrops { missed: 2_000, fifo: 3, ..CardDrops::default() };
    let eth2 = InputInterface { name: "eth2".into(), nic, ..eth1.clone() };
    let input = Input { interfaces: vec![eth1, tun0, eth2], ..Input::default() };
    let text = print_input(&input, &healthy(), &totals(), None, Style::default());
    assert!(text.contains("\n  eth1: af-packet, Ethernet, 2,504,011 packets, none dropped\n"), "{text}");
    assert!(text.contains("\n  tun0: af-packet, IP, 1 packet, 1,000 dropped\n"), "{text}");
    assert!(text.contains(" 2,504,011 packets, none dropped, 2,000 missed by the card\n"), "{text}");
}

#[test]
fn a_healthy_capture_fits_a_terminal_and_names_no_trouble() {
    let text = print(&healthy(), &totals(), None, Style::default());
    println!("{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert_eq!(line, line.trim_end());
    }
    for expected in [
        "resptap 0.1.0: 1,234,050 requests on 50 connections in 12.3 s\n",
        "  exact                 1,234,050  100.00 %: paired with their reply\n",
        "  skipped                   4,000  IP, but not TCP\n",
        "  cache-a (10.0.0.9:6379)",
        "  Kasse-ä (10.0.1.3) ",
        "  10.0.1.4 ",
        "  and 11 more with ",
        "  and 4 more with ",
        "  WRONGTYPE                    12\n",
        "  at most 12 MiB of 1.0 GiB used\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    for trouble in ["lost", "gap", "missing", "given up", "bound", "WHAT TO DO", "\x1b"] {
        assert!(!text.contains(trouble), "{trouble}");
    }
}

#[test]
fn everything_that_is_not_as_it_should_be_is_explained() {
    let text = print(&lossy(), &totals(), Some("cut short in packet 2504012"), Style::default());
    println!("{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for expected in [
        "  cut short in packet 2504012\n",
        "\nWHAT TO DO\n  The network card missed 7 packets: the host did not take them",
        "\n  The kernel dropped 14 packets before the capture could read them.",
        "\n  7 transactions were not written: what --sink writes to was too slow,",
        "\n  The capture keeps only the beginning of each packet",
        "  lost                          7  their reply, or the proof of pairing, is not\n",
        "  exact                 1,234,008  99.99 %: paired",
        "  A bound was reached",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    for &counter in Counter::ALL {
        let shown_elsewhere = matches!(counter.place().0, "records" | "keys")
            || matches!(counter, Counter::FrameBytes | Counter::Requests)
            || counter == Counter::Replies;
        let (_, words, _) = explained(counter, &lossy(), "port 6379");
        assert!(shown_elsewhere || !words.is_empty(), "{counter:?} has no words");
    }
}

#[test]
fn nothing_at_all_is_a_summary_too() {
    let text = print(&Counters::default(), &Totals::default(), None, Style::default());
    assert!(text.contains("REQUESTS\n  total                         0\n"), "{text}");
    assert!(text.contains("NO REDIS REQUESTS WERE FOUND\n  The capture holds no packets."), "{text}");
    assert!(!text.contains("exact"), "{text}");
    assert!(!text.contains("LATENCY") && !text.contains("COMMANDS") && !text.contains("PACKETS"), "{text}");
}

#[test]
fn colour_adds_marks_and_changes_no_text() {
    let plain = print(&lossy(), &totals(), None, Style::default());
    let coloured = print(&lossy(), &totals(), None, Style { colour: true, width: 80 });
    assert_ne!(plain, coloured);
    let stripped = ["\x1b[0m", "\x1b[1m", "\x1b[33m"].iter().fold(coloured, |text, mark| text.replace(mark, ""));
    assert_eq!(stripped, plain);
}

/// The lines from a heading up to the next one.
fn section<'a>(printed: &'a str, heading: &str) -> Vec<&'a str> {
    let mut lines = printed.lines().skip_while(|line| !line.starts_with(heading));
    let first = lines.next().into_iter();
    first.chain(lines.take_while(|line| line.starts_with(' '))).collect()
}

#[test]
fn keys_and_prefixes_are_listed_with_their_hits() {
    let mut uses = vec![("user:1", Some(10)); 3];
    uses.extend([("user:2", None), ("plain", Some(9_000_000)), ("\x1b[2J\n", None)]);
    let printed = print_with_keys(&healthy(), &totals(), Some(&keys(&uses)), None, Style::default());
    assert_eq!(
        section(&printed, "KEYS"),
        [
            "KEYS (most used)       operations   reads    hits       in      out",
            "  user:1                        3   100 %   100 %    120 B     30 B",
            "  \\u{1b}[2J\\n                   1   100 %     0 %     40 B      5 B",
            "  plain                         1   100 %   100 %     40 B  8.6 MiB",
            "  user:2                        1   100 %     0 %     40 B      5 B",
            "  Most bytes were sent to user:1 (120 B), \\u{1b}[2J\\n (40 B), plain (40 B)",
            "  Most bytes were read from plain (8.6 MiB), user:1 (30 B), \\u{1b}[2J\\n (5 B)",
            "  Most time was spent on user:1 (3.00 µs), \\u{1b}[2J\\n (1.00 µs), plain (1.00",
            "  µs)",
        ]
    );
    assert_eq!(
        section(&printed, "PREFIXES"),
        [
            "PREFIXES               operations   reads    hits       in      out",
            "  user:                         4   100 %    75 %    160 B     35 B",
            "  (without)                     2   100 %    50 %     80 B  8.6 MiB",
        ]
    );
    assert_eq!(
        section(&printed, "BIGGEST"),
        [
            "BIGGEST MESSAGES",
            "  request of 40 B: GET user:1, 10.0.1.3:40000 to 10.0.0.9:6379",
            "  reply of 8.6 MiB: GET plain, 10.0.1.3:40000 to 10.0.0.9:6379",
        ]
    );
}

#[test]
fn keys_are_not_shown_where_they_may_not() {
    let printed = print_with_keys(&healthy(), &totals(), None, None, Style::default());
    assert_eq!(section(&printed, "KEYS"), ["KEYS", "  not shown with --payload none"]);
    let nothing = print_with_keys(&Counters::default(), &Totals::default(), None, None, Style::default());
    assert!(!nothing.contains("KEYS"), "{nothing}");
}
