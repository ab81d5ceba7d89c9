//! What `resptap read` makes of the traffic that measurements are made with, against the truth that is written beside it. What is
//! measured would be worth nothing if it were not what it is said to be.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use resptap::units::Timestamp;
use resptap_perf::generator::{Commands, Facts, Faults, Format, Plan, Profile, Sizes, Tunnel, write};
use serde_json::Value;

const REQUESTS: u64 = 3000;

/// What resptap made of a plan's traffic.
struct Reading {
    facts: Facts,
    truth: Vec<Value>,
    records: Vec<Value>,
    summary: Value,
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn read(plan: &Plan, requests: u64, format: Format) -> Reading {
    let folder = tempfile::tempdir().expect("there is room for files");
    let at = |name: &str| folder.path().join(name);
    let mut truth = Vec::new();
    let out = std::io::BufWriter::new(File::create(at("capture")).expect("the capture can be created"));
    let facts = write(plan, 1, requests, format, out, Some(&mut truth)).expect("it can be written");
    let status = Command::new(env!("CARGO_BIN_EXE_resptap"))
        .args(["read", "--workers", "1", "--payload", "full", "--sink"])
        .arg(format!("jsonl:{}", at("records").display()))
        .arg("--summary")
        .args([at("summary"), at("capture")])
        .status();
    assert!(status.expect("resptap runs").success());
    let text = |path: &Path| fs::read_to_string(path).expect("resptap has written it");
    Reading {
        facts,
        truth: lines(&String::from_utf8(truth).expect("the truth is text")),
        records: lines(&text(&at("records"))),
        summary: serde_json::from_str(&text(&at("summary"))).expect("the summary is JSON"),
    }
}

/// A truth as a record of it must be.
fn expected(truth: &Value) -> String {
    let number = |name: &str| truth[name].as_u64().unwrap();
    let (t1, t2, t3, t4) = (number("t1"), number("t2"), number("t3"), number("t4"));
    assert!(t1 <= t2 && t2 <= t3 && t3 <= t4, "{truth}");
    format!(
        "{} {} {} {} {} {} {} {} {} {}",
        truth["client"],
        truth["server"],
        truth["command"],
        truth["key"],
        Timestamp(t1),
        Timestamp(t4),
        t2 - t1,
        t4 - t2,
        truth["request_bytes"],
        truth["reply_bytes"]
    )
}

fn end(of: &Value) -> String {
    let (ip, port) = (of["ip"].as_str().unwrap(), &of["port"]);
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn told(record: &Value) -> String {
    let redis = &record["redis"];
    format!(
        "{:?} {:?} {} {} {} {} {} {} {} {}",
        end(&record["source"]),
        end(&record["destination"]),
        redis["command"],
        record["resource"],
        record["event"]["start"].as_str().unwrap(),
        record["event"]["end"].as_str().unwrap(),
        redis["send"],
        redis["latency"],
        record["source"]["bytes"],
        record["destination"]["bytes"]
    )
}

fn is_paired(record: &Value) -> bool {
    ["exact", "resynced"].contains(&record["redis"]["pairing"].as_str().unwrap())
}

impl Reading {
    fn number(&self, section: &str, name: &str) -> u64 {
        self.summary[section][name].as_u64().unwrap()
    }

    /// Frames are what was made, and nothing is odd about them.
    fn check_frames(&self, name: &str) {
        let happened = self.facts.happened;
        assert_eq!(self.number("packets", "seen"), happened.packets, "{name}");
        assert_eq!(self.number("packets", "bytes"), happened.bytes, "{name}");
        assert_eq!(self.number("packets", "analysed"), happened.packets, "{name}");
    }

    /// Requests, pairs and times are the truth's.
    fn check_exactly(&self, name: &str) {
        self.check_frames(name);
        for odd in ["duplicates", "out_of_order", "retransmitted", "out_of_window", "time_backwards", "gaps"] {
            assert_eq!(self.number("packets", odd), 0, "{name}: {odd}");
        }
        assert_eq!(self.number("requests", "total"), self.facts.requests, "{name}");
        assert_eq!(self.number("requests", "exact"), self.facts.transactions, "{name}");
        assert_eq!(self.summary["replies"]["unsolicited"]["push"].as_u64(), Some(self.facts.pushes), "{name}");
        let mut expected: Vec<String> = self.truth.iter().map(expected).collect();
        let mut told: Vec<String> = self.records.iter().map(told).collect();
        expected.sort_unstable();
        told.sort_unstable();
        assert!(self.truth.iter().all(|truth| truth["whole"] == true), "{name}");
        assert_eq!(expected.len() as u64, self.facts.transactions, "{name}");
        for (expected, told) in expected.iter().zip(&told) {
            assert_eq!(expected, told, "{name}");
        }
        assert_eq!(expected.len(), told.len(), "{name}");
    }

    /// What is paired is the truth, as far as the capture shows it; answers how much that was.
    fn check_pairs(&self, name: &str) -> usize {
        self.check_frames(name);
        let start = |truth: &Value| Timestamp(truth["t1"].as_u64().unwrap()).to_string();
        let truths: HashMap<(String, String), &Value> = self
            .truth
            .iter()
            .map(|truth| ((truth["client"].as_str().unwrap().to_owned(), start(truth)), truth))
            .collect();
        let mut pairs = 0;
        for record in self.records.iter().filter(|record| is_paired(record)) {
            pairs += 1;
            let client = end(&record["source"]);
            let start = record["event"]["start"].as_str().unwrap().to_owned();
            let truth = truths.get(&(client, start));
            if let Some(truth) = truth.filter(|truth| truth["whole"] == true) {
                assert_eq!(expected(truth), told(record), "{name}");
            }
            // A value begins with the number of its key.
            if let (Some(response), Some(key)) = (record["redis"]["response"].as_str(), record["resource"].as_str())
                && record["redis"]["command"] == "GET"
            {
                assert_eq!(response.get(..12), key.get(4..16), "{name}: {record}");
            }
        }
        pairs
    }
}

#[test]
fn of_each_profile_without_loss_all_is_found_as_it_was() {
    for profile in [Profile::T1, Profile::T2, Profile::T3, Profile::T4, Profile::T5, Profile::T10] {
        let requests = if profile == Profile::T3 { 300 } else { REQUESTS };
        let plan = Plan { connections: profile.plan().connections.min(1000), ..profile.plan() };
        read(&plan, requests, Format::Pcap).check_exactly(&profile.to_string());
    }
}

#[test]
fn of_any_mixture_without_loss_all_is_found_as_it_was() {
    let everything: Commands = "get=3,set=2,incr,lpush,hgetall,ping".parse().unwrap();
    let mixture = Plan {
        connections: 200,
        pipeline: "1~40".parse().unwrap(),
        key_bytes: "4-40".parse().unwrap(),
        value_bytes: "1~20000".parse().unwrap(),
        fields: Sizes::between(1, 20),
        commands: everything,
        resp3: 0.5,
        pushes: 0.2,
        ipv6: 0.5,
        acks: true,
        timestamps: true,
        lifetime: 50,
        ..Profile::T1.plan()
    };
    for (tunnel, format) in [
        (Tunnel::None, Format::Pcapng),
        (Tunnel::Vlan, Format::Pcap),
        (Tunnel::Vxlan, Format::Pcap),
        (Tunnel::Gre, Format::Pcapng),
    ] {
        let reading = read(&Plan { tunnel, ..mixture.clone() }, 2 * REQUESTS, format);
        reading.check_exactly(&format!("{tunnel:?}"));
        assert!(reading.facts.connections > 250, "connections take others' places: {:?}", reading.facts);
        assert!(reading.facts.pushes > 20, "{:?}", reading.facts);
    }
}

#[test]
fn of_traffic_with_loss_no_pair_is_wrong() {
    let plan = Plan { connections: 500, keys: 1 << 30, ..Profile::T6.plan() };
    let reading = read(&plan, 20_000, Format::Pcap);
    let happened = reading.facts.happened;
    assert!(happened.lost > 1500 && happened.late > 1500 && happened.duplicates > 1500, "{happened:?}");
    let pairs = reading.check_pairs("T6");
    assert!(pairs > 6000, "only {pairs} are paired");
    let whole = reading.truth.iter().filter(|truth| truth["whole"] == true).count();
    assert!(whole < 18_000, "the truth knows what is missing: {whole}");
    // One fault alone shows as what it is.
    let only = |faults| read(&Plan { faults, ..plan.clone() }, 3000, Format::Pcap);
    let doubled = only(Faults { duplicates: 0.05, ..Faults::default() });
    assert_eq!(doubled.number("packets", "duplicates"), doubled.facts.happened.duplicates);
    assert_eq!(doubled.number("requests", "exact"), doubled.facts.transactions);
    // Several segments of a connection, one behind the other, so that one that is late comes after its next.
    let faults = Faults { late: 0.05, ..Faults::default() };
    let late = read(&Plan { faults, pipeline: Sizes::fixed(16), ..plan.clone() }, 3000, Format::Pcap);
    assert!(late.number("packets", "out_of_order") > 10, "{}", late.summary["packets"]);
    assert_eq!(late.number("requests", "exact"), late.facts.transactions);
}

#[test]
fn connections_that_are_joined_are_paired_rightly_or_not_at_all() {
    let plan = Plan { connections: 300, keys: 1 << 30, ..Profile::T8.plan() };
    let reading = read(&plan, 40_000, Format::Pcap);
    assert!(reading.facts.earlier_replies > 200 && reading.facts.connections > 500, "{:?}", reading.facts);
    assert_eq!(reading.number("requests", "total"), reading.facts.requests);
    assert_eq!(reading.number("connections", "opened"), 0, "no handshake is in the capture");
    let pairs = reading.check_pairs("T8");
    assert!(pairs > 1000, "only {pairs} are paired");
}

#[test]
fn traffic_without_requests_is_counted_and_has_no_pairs_but_the_first() {
    for profile in [Profile::T7, Profile::T9] {
        let plan = Plan { connections: 100, ..profile.plan() };
        let reading = read(&plan, 5000, Format::Pcap);
        reading.check_frames(&profile.to_string());
        assert!((5000..5100).contains(&reading.facts.happened.packets), "{:?}", reading.facts);
        let firsts = reading.check_pairs(&profile.to_string());
        assert!(firsts >= 100, "{profile}: {firsts}");
        assert_eq!(reading.facts.transactions, 100, "{profile}");
        if profile == Profile::T7 {
            assert_eq!(firsts, 100);
        } else {
            assert!(reading.facts.hostile_bytes > 1_000_000, "{:?}", reading.facts);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for profile in Profile::ALL {
        let plan = Plan { connections: profile.plan().connections.min(1000), ..profile.plan() };
        let bytes = |seed| {
            let (mut capture, mut truth) = (Vec::new(), Vec::new());
            write(&plan, seed, 1500, Format::Pcap, &mut capture, Some(&mut truth)).expect("memory takes it");
            (capture, truth)
        };
        let once = bytes(1);
        assert!(once == bytes(1), "{profile}");
        assert!(once.0 != bytes(2).0, "{profile}");
    }
}

#[test]
#[ignore = "needs tshark and capinfos: scripts/test runs it"]
fn tshark_and_capinfos_read_what_is_written() {
    let folder = tempfile::tempdir().expect("there is room for files");
    for (format, tunnel, ipv6) in [
        (Format::Pcap, Tunnel::None, 0.0),
        (Format::Pcapng, Tunnel::None, 0.5),
        (Format::Pcapng, Tunnel::Vxlan, 0.0),
        (Format::Pcap, Tunnel::Gre, 0.5),
        (Format::Pcap, Tunnel::Vlan, 0.5),
    ] {
        let path = folder.path().join("capture");
        let plan = Plan { tunnel, ipv6, connections: 20, timestamps: true, ..Profile::T1.plan() };
        let file = File::create(&path).expect("the capture can be created");
        let facts = write(&plan, 1, 500, format, file, None).expect("it can be written");
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).arg(&path).output();
            let output = output.unwrap_or_else(|error| panic!("{program} can't be run: {error}"));
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("it is text")
        };
        let infos = run("capinfos", &["-c", "-d", "-M", "-T", "-r"]);
        let numbers: Vec<&str> = infos.trim().split('\t').collect();
        let happened = facts.happened;
        assert_eq!(numbers[1..], [happened.packets.to_string(), happened.bytes.to_string()], "{infos}");
        // Frames that are odd to it, and its checksums of IPv4 headers.
        let odd = "_ws.malformed or tcp.analysis.flags or ip.checksum.status == 0 or _ws.expert.severity >= 0x600000";
        let odd = run("tshark", &["-o", "ip.check_checksum:TRUE", "-Y", odd, "-r"]);
        assert_eq!(odd, "", "{format:?} {tunnel:?}");
        let commands =
            run("tshark", &["-Y", "resp.bulk_string.value == \"GET\" or resp.bulk_string.value == \"SET\"", "-r"]);
        assert_eq!(commands.lines().count() as u64, facts.requests, "{format:?} {tunnel:?}");
    }
}
