//! The summary against counters and totals that are known.

use super::*;
use crate::capture::nic::drops::CardDrops;
use crate::flow::hash::Seed;
use crate::record::histograms::{DIGITS, ErrorCode, histogram};
use crate::record::room::Bounded;
use crate::record::totals::{Command, Entry, SeriesKey};
use crate::redis::command::CommandTable;
use crate::units::{Address, Endpoint};

const START: u64 = 1_795_348_800_000_000_000;

fn entry(count: u64, latency: u64) -> Entry {
    let mut latencies = histogram(DIGITS);
    latencies.record_n(latency, count).unwrap();
    let counts = Counts { count, errors: 1, request_bytes: 30, reply_bytes: 5 };
    Entry { counts, latency: Bounded::Kept(latencies) }
}

fn totals() -> Totals {
    let mut totals = Totals::default();
    for latency in 1..=1000 {
        totals.latency.record(latency * 1000).unwrap();
    }
    for (name, count) in [("SET", 7), ("GET", 7), ("CLIENT SETNAME", 90)] {
        let Entry { counts, latency } = entry(count, 1000);
        totals.commands.insert(name.into(), Command { counts, parts: Bounded::Unused });
        totals.series.insert(SeriesKey { server: None, command: name.into(), blocking: false }, latency);
    }
    for number in 0..150u8 {
        let address = Address::from_ipv4([10, 0, 0, number]);
        totals.servers.insert(Some(Endpoint { address, port: 6379 }), entry(u64::from(number) + 1, 500));
        totals.clients.insert(Some(address), entry(3, 500));
    }
    totals.servers.insert(None, entry(1000, 500));
    for (code, count) in [(&b"WRONGTYPE x"[..], 2), (b"NOAUTH", 2), (b"LOADING", 9), (b"MOVED 1", 4), (b"ASK 1", 5)] {
        totals.errors.insert(Some(ErrorCode::of(code)), count);
    }
    totals.errors.insert(None, 1);
    totals
}

/// Each counter has its own number, so that no two can be mistaken for each other.
fn counters() -> Counters {
    let mut counters = Counters::default();
    for (number, &counter) in (1..).zip(Counter::ALL) {
        counters[counter] = number;
    }
    counters[Counter::Requests] = 100_000;
    counters
}

fn names_file() -> Names {
    Names::parse("names.toml".as_ref(), "\"10.0.0.149:6379\" = \"cache-a\"\n\"10.0.0.0/31\" = \"checkout\"").unwrap()
}

fn summary(counters: &Counters, totals: &Totals) -> Value {
    let file = InputFile { path: "a.pcap".into(), format: "pcap".into(), bytes: 12, packets: 3, problem: None };
    let cut = InputFile { problem: Some("cut short".into()), ..file.clone() };
    let input = Input {
        files: vec![file, cut],
        interfaces: Vec::new(),
        first: Timestamp(START),
        last: Timestamp(START + 12_500_000_000),
        shed: InputShed::default(),
        faults: None,
    };
    let workers = [WorkerReport { core: Some(3), counters: counters.clone() }, WorkerReport::default()];
    to_json(&Report {
        version: "0.1.0",
        started: Timestamp(START),
        ended: Timestamp(START + 1),
        clock: "the file's",
        input: &input,
        counters,
        totals,
        keys: Some(&keys()),
        key_hasher: None,
        replication: &[],
        names: &names_file(),
        workers: &workers,
        memory: Memory { budget: 1 << 30, peak: 1 << 20 },
    })
}

/// Of keys nothing but what was counted.
fn keys() -> KeyStatistics {
    KeyStatistics::new(1 << 20, b':', CommandTable::built_in(), Seed::fixed(1))
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn sections_and_fields_are_those_of_the_specification_in_its_order() {
    let summary = summary(&counters(), &totals());
    assert_eq!(
        names(&summary),
        [
            "resptap",
            "input",
            "packets",
            "connections",
            "requests",
            "replies",
            "latency",
            "commands",
            "servers",
            "clients",
            "errors",
            "redirects",
            "keys",
            "records",
            "replication",
            "memory",
            "workers"
        ]
    );
    assert_eq!(summary["resptap"]["started"], "2026-11-22T12:00:00.000000000Z");
    assert_eq!(summary["input"]["duration"], 12_500_000_000u64);
    assert_eq!(summary["input"]["files"][0].get("problem"), None);
    assert_eq!(summary["input"]["files"][1]["problem"], "cut short");
    let requests = names(&summary["requests"]);
    assert_eq!(
        requests[..9],
        ["total", "exact", "resynced", "no_reply", "timed_out", "lost", "unanswered", "one_sided", "pending"]
    );
    for (section, fields) in [
        (
            "packets",
            &[
                "seen",
                "bytes",
                "analysed",
                "skipped",
                "duplicates",
                "out_of_order",
                "retransmitted",
                "gaps",
                "gap_bytes",
            ][..],
        ),
        ("requests", &["late", "resyncs"]),
        ("replies", &["total", "paired", "unsolicited", "discarded"]),
        (
            "keys",
            &[
                "operations",
                "not_kept",
                "given_up",
                "distinct_keys",
                "by_operations",
                "by_bytes_in",
                "by_bytes_out",
                "by_latency",
                "prefixes",
                "biggest_requests",
                "biggest_replies",
            ],
        ),
        ("memory", &["budget", "peak", "limited", "evicted"]),
        ("workers", &[]),
    ] {
        for field in fields {
            assert!(summary[section].get(field).is_some(), "{section}.{field}");
        }
    }
    assert_eq!(names(&summary["latency"]), ["latency", "queue", "server", "transfer"]);
    assert_eq!(
        names(&summary["latency"]["latency"]),
        ["count", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max", "mean"]
    );
    assert_eq!(names(&summary["commands"]["GET"]), ["count", "errors", "request_bytes", "reply_bytes", "latency"]);
}

#[test]
fn every_counter_has_its_place_overall_and_per_worker() {
    let counters = counters();
    let summary = summary(&counters, &Totals::default());
    for &counter in Counter::ALL {
        let (section, name) = counter.place();
        for block in [&summary, &summary["workers"][0]] {
            let pointer = format!("/{section}/{}", name.replace('.', "/"));
            assert_eq!(block.pointer(&pointer), Some(&json!(counters[counter])), "{pointer}");
        }
    }
    assert_eq!(summary["requests"]["pending"], counters.pending());
    let gap_bytes = [Counter::GapBytesMirror, Counter::GapBytesNetwork, Counter::GapBytesCut];
    assert_eq!(summary["packets"]["gap_bytes"], gap_bytes.map(|counter| counters[counter]).iter().sum::<u64>());
    assert_eq!(summary["workers"][0]["core"], 3);
    assert_eq!(summary["workers"][1]["core"], Value::Null);
}

#[test]
fn memory_is_limited_as_soon_as_anything_was_given_up_for_it() {
    let limited = |counter: Option<Counter>| {
        let mut counters = Counters::default();
        if let Some(counter) = counter {
            counters.count(counter);
        }
        summary(&counters, &Totals::default())["memory"]["limited"].clone()
    };
    assert_eq!(limited(None), false);
    assert_eq!(limited(Some(Counter::ClosedIdle)), false);
    assert_eq!(limited(Some(Counter::EvictedConnections)), true);
    assert_eq!(limited(Some(Counter::EvictedPages)), true);
}

#[test]
fn lists_are_bounded_and_by_count_with_ties_by_name() {
    let summary = summary(&Counters::default(), &totals());
    assert_eq!(names(&summary["commands"]), ["CLIENT SETNAME", "GET", "SET"]);
    assert_eq!(names(&summary["errors"]), ["LOADING", "NOAUTH", "WRONGTYPE", "other"]);
    assert_eq!(names(&summary["redirects"]), ["ASK", "MOVED"]);
    let servers = names(&summary["servers"]);
    assert_eq!((servers.len(), &servers[..2]), (100, &["other", "10.0.0.149:6379"][..]));
    assert_eq!(names(&summary["clients"])[..3], ["10.0.0.0", "10.0.0.1", "10.0.0.10"]);
    assert_eq!(summary["servers"]["10.0.0.149:6379"]["count"], 150);
    assert_eq!(summary["servers"]["10.0.0.149:6379"]["latency"]["count"], 150);
}

#[test]
fn a_latency_of_which_some_found_no_room_is_not_told() {
    let mut totals = totals();
    let server = Some(Endpoint { address: Address::from_ipv4([10, 0, 0, 149]), port: 6379 });
    totals.servers.get_mut(&server).unwrap().latency = Bounded::GivenUp;
    let key = |server, command: &str| SeriesKey { server, command: command.into(), blocking: false };
    // What is left of the server's and the command's latencies is not all of them.
    totals.series.insert(key(server, "SET"), entry(5, 1000).latency);
    totals.series.insert(key(server, "GET"), Bounded::GivenUp);
    let told = |totals: &Totals| {
        let summary = summary(&Counters::default(), totals);
        let of = [&summary["servers"]["10.0.0.149:6379"], &summary["commands"]["GET"], &summary["commands"]["SET"]];
        of.map(|of| (of["count"].as_u64().unwrap(), of["latency"]["count"].as_u64().unwrap()))
    };
    assert_eq!(told(&totals), [(150, 0), (7, 7), (7, 12)], "a command goes on without a series that was given up");
    totals.series.insert(key(None, "SET"), Bounded::GivenUp);
    assert_eq!(told(&totals), [(150, 0), (7, 7), (7, 0)]);
}

#[test]
fn servers_and_clients_have_their_names_first() {
    let summary = summary(&Counters::default(), &totals());
    assert_eq!(summary["servers"]["10.0.0.149:6379"]["name"], "cache-a");
    assert_eq!(names(&summary["servers"]["10.0.0.149:6379"])[..2], ["name", "count"]);
    assert_eq!(names(&summary["servers"]["10.0.0.148:6379"])[0], "count");
    assert_eq!(summary["clients"]["10.0.0.1"]["name"], "checkout");
    assert_eq!(summary["clients"]["10.0.0.149"].get("name"), None, "the name is that of one port only");
}

#[test]
fn quantities_are_the_histograms_own() {
    let summary = summary(&Counters::default(), &totals());
    let latency = &summary["latency"]["latency"];
    assert_eq!((latency["count"].as_u64(), latency["min"].as_u64()), (Some(1000), Some(1000)));
    for (name, expected) in [
        ("p50", 500_000),
        ("p90", 900_000),
        ("p99", 990_000),
        ("p99_9", 999_000),
        ("max", 1_000_000),
        ("mean", 500_500),
    ] {
        let found = latency[name].as_u64().unwrap();
        assert!(found.abs_diff(expected) <= expected / 1000, "{name}: {found}");
    }
    assert_eq!(summary["latency"]["queue"], json!({"count": 0}), "an empty histogram has no percentiles");
}

#[test]
fn interfaces_stand_in_the_place_of_files() {
    let report = Report {
        version: "0.1.0",
        started: Timestamp(START),
        ended: Timestamp(START + 1),
        clock: "the kernel's",
        input: &Input {
            interfaces: vec![
                InputInterface {
                    name: "eth1".into(),
                    mode: "af-packet",
                    why: "asked for".into(),
                    rss: None,
                    link: "Ethernet",
                    packets: 7,
                    drops: 2,
                    freezes: 1,
                    nic: CardDrops { missed: 3, fifo: 4, dropped: 5, queues: vec![(0, 6), (1, 7)] },
                    queues: Vec::new(),
                },
                InputInterface {
                    name: "eth2".into(),
                    mode: "copy",
                    why: "nothing is better".into(),
                    rss: Some("symmetric-xor"),
                    link: "Ethernet",
                    packets: 8,
                    drops: 9,
                    freezes: 0,
                    nic: CardDrops::default(),
                    queues: vec![InputQueue {
                        number: 3,
                        huge_pages: true,
                        packets: 8,
                        left: 1,
                        ring_full: 4,
                        dropped: 5,
                        fill_empty: 6,
                        xdp: vec![("kept", 18), ("not_ip", 2)],
                    }],
                },
            ],
            shed: InputShed { share_max: 0.25, duration_ns: 7 },
            ..Input::default()
        },
        counters: &counters(),
        totals: &totals(),
        keys: None,
        key_hasher: None,
        replication: &[],
        names: &names_file(),
        workers: &[],
        memory: Memory::default(),
    };
    let expected = concat!(
        r#"{"interfaces":[{"name":"eth1","mode":"af-packet","why":"asked for","link":"Ethernet","packets":7,"drops":2,"#,
        r#""nic":{"missed":3,"fifo":4,"dropped":5,"queues":[{"queue":0,"dropped":6},{"queue":1,"dropped":7}]},"freezes":1},"#,
        r#"{"name":"eth2","mode":"copy","why":"nothing is better","link":"Ethernet","packets":8,"drops":9,"rss":"symmetric-xor","#,
        r#""nic":{"missed":0,"fifo":0,"dropped":0,"queues":[]},"#,
        r#""queues":[{"queue":3,"huge_pages":true,"packets":8,"left":1,"ring_full":4,"dropped":5,"fill_empty":6,"#,
        r#""xdp":{"kept":18,"not_ip":2}}]}],"shed":{"share_max":0.25,"duration":7}}"#
    );
    let summary = to_json(&report);
    assert_eq!(summary["input"].to_string(), expected);
    assert_eq!(summary["packets"]["capture_drops"]["ring"], counters()[Counter::CaptureDropsRing]);
    let mut counters = counters();
    (counters[Counter::FramesSeen], counters[Counter::FramesShed]) = (300, 100);
    let summary = to_json(&Report { counters: &counters, ..report });
    assert_eq!(summary["packets"]["shed"], json!({"packets": 100, "share": 0.25}), "of those that came");
}
