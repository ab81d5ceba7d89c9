//! Captures that are made, with the truth beside them, are replayed to the mirror port: what is told of them is the truth.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use resptap_perf::generator::{Format, Plan, Profile, write};
use resptap_perf::replay::{Loaded, Options, Pace, Sent};

use super::*;

/// Frames a second: what the kernel hands over to the other end of a cable one by one.
const PACE: f64 = 10_000.0;

/// Of each client's requests, in their order: command and key, and how long request and reply are.
type Told = BTreeMap<String, Vec<(String, String, u64, u64)>>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn truth(lines: &[u8]) -> Told {
    let mut truths: Vec<Value> =
        lines.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    truths.sort_by_key(|truth| sum(&truth["t1"]));
    let mut told = Told::new();
    for truth in truths {
        let bytes = (sum(&truth["request_bytes"]), sum(&truth["reply_bytes"]));
        let what = (text(&truth["command"]), text(&truth["key"]), bytes.0, bytes.1);
        told.entry(format!("{} {}", text(&truth["client"]), text(&truth["server"]))).or_default().push(what);
    }
    told
}

fn told(records: &[Value]) -> Told {
    let end = |end: &Value| format!("{}:{}", text(&end["ip"]), end["port"]);
    let mut told = Told::new();
    for record in records {
        assert_eq!(record["redis"]["pairing"], "exact", "{record}");
        let bytes = (sum(&record["source"]["bytes"]), sum(&record["destination"]["bytes"]));
        let what = (text(&record["redis"]["command"]), text(&record["resource"]), bytes.0, bytes.1);
        let ends = format!("{} {}", end(&record["source"]), end(&record["destination"]));
        told.entry(ends).or_default().push(what);
    }
    told
}

/// Sends a capture from the switch to the mirror port, while the caller goes on.
pub(crate) fn send(bed: &Bed, path: &Path, pace: Pace) -> JoinHandle<Sent> {
    let namespace = File::open(format!("/run/netns/{}sw", bed.prefix)).expect("the switch's namespace");
    let options = Options {
        interface: "t0".to_owned(),
        pace,
        threads: 1,
        loops: 1,
        duration: None,
        ports: vec![6379],
        bypass: false,
    };
    let loaded = Loaded::read(path, &options).expect("it can be read");
    std::thread::spawn(move || {
        let of_network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), of_network).expect("root may");
        loaded.send(&options, &AtomicBool::new(false)).expect("it can be sent")
    })
}

/// Whether all of it came to the tap, and so could be judged.
fn is_told_as_it_is(plan: &Plan, mode: &str, workers: u32) -> bool {
    let bed = Bed::up(&["--queues", "1"]);
    let path = bed.path("made.pcap");
    let out = BufWriter::new(File::create(&path).expect("a capture"));
    let mut lines = Vec::new();
    let facts = write(plan, 1, 6000, Format::Pcap, out, Some(&mut lines)).expect("it can be written");
    let capture = bed.capture("tap", &format!("--interface t1 --mode {mode} --workers {workers}"));
    let sent = send(&bed, &path, Pace::Packets(PACE)).join().expect("it does not panic");
    std::thread::sleep(Duration::from_millis(300));
    let said = capture.end();
    let summary = bed.summary();
    let of_packets = &summary["packets"];
    assert_eq!((sent.packets, sent.errors), (facts.happened.packets, 0));
    if sum(&of_packets["seen"]) < sent.packets || sum(&of_packets["shed"]["packets"]) > 0 {
        println!("{mode}: this machine is too busy; once more: {of_packets} {said}");
        return false;
    }
    assert_eq!(sum(&of_packets["analysed"]), sent.packets, "{of_packets}");
    assert_eq!(sum(&summary["requests"]["total"]), facts.requests, "{}", summary["requests"]);
    assert_eq!(sum(&summary["requests"]["exact"]), facts.transactions, "{}", summary["requests"]);
    assert_eq!(sum(&of_packets["gaps"]) + sum(&of_packets["duplicates"]), 0, "{of_packets}");
    let (told, truth) = (told(&bed.records()), truth(&lines));
    assert_eq!(told.len(), truth.len(), "connections");
    for (ends, truth) in &truth {
        assert_eq!(told.get(ends), Some(truth), "{mode}: {ends}");
    }
    true
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn what_is_replayed_is_told_as_it_was_made() {
    let one_by_one = Plan { connections: 300, ..Profile::T1.plan() };
    let pipelined = Plan { connections: 50, ..Profile::T2.plan() };
    for (plan, mode, workers) in
        [(&one_by_one, "copy", 2), (&pipelined, "copy", 2), (&one_by_one, "af-packet", 2), (&pipelined, "af-packet", 1)]
    {
        assert!((0..5).any(|_| is_told_as_it_is(plan, mode, workers)), "{mode}: this machine is too busy to judge");
    }
}
