//! `resptap read --fault`: the same with any number of workers, nothing without a fault, and never without saying so.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/redis.pcap");
const ALL: &str = "loss=1%,client-loss=0.5%,duplicate=2%,reorder=5%:8,truncate=1%,flip=1%,seed=7";

/// The records, sorted, and the summary without what may differ.
fn read(folder: &Path, arguments: &[&str]) -> (Vec<String>, Value) {
    let (records, summary) = (folder.join("records.jsonl"), folder.join("summary.json"));
    let sink = format!("jsonl:{}", records.display());
    let output = Command::new(env!("CARGO_BIN_EXE_resptap"))
        .args(["read", SAMPLE, "--sink", &sink, "--summary"])
        .arg(&summary)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("resptap starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = fs::read_to_string(records).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    let mut summary: Value = serde_json::from_str(&fs::read_to_string(summary).unwrap()).unwrap();
    let sections = summary.as_object_mut().unwrap();
    sections.retain(|section, _| section != "workers" && section != "memory");
    sections["resptap"].as_object_mut().unwrap().retain(|key, _| key != "started" && key != "ended");
    (lines, summary)
}

#[test]
fn faults_are_the_same_with_any_number_of_workers_and_every_frame_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let plain = read(folder.path(), &["--workers=1"]);
    let first = read(folder.path(), &["--workers=1", "--fault", ALL]);
    for arguments in [&["--workers=1"][..], &["--workers=3"], &["--workers=2", "--no-mmap"]] {
        assert_eq!(read(folder.path(), &[arguments, &["--fault", ALL]].concat()), first, "{arguments:?}");
    }
    let other = read(folder.path(), &["--workers=1", "--fault", &ALL.replace("seed=7", "seed=8")]);
    assert_ne!(other.0, first.0, "another seed, other faults");
    let (input, seen) = (&first.1["input"], &first.1["packets"]["seen"]);
    let faults = &input["faults"];
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("a number: {input}"));
    let lost: u64 = ["client", "server", "other"].iter().map(|of| number(&faults["lost"][of])).sum();
    assert_eq!(faults["spec"], ALL);
    assert_eq!(faults["frames"], plain.1["packets"]["seen"], "all frames of the file");
    assert_eq!(input["files"][0]["packets"], faults["frames"]);
    assert_eq!(number(seen), number(&faults["frames"]) - lost + number(&faults["duplicated"]));
    for fault in ["duplicated", "reordered", "truncated", "flipped"] {
        assert!(number(&faults[fault]) > 0, "{fault}: {faults}");
    }
    assert!(lost > 0 && first.0 != plain.0);
}

#[test]
fn faults_that_never_strike_change_nothing_and_are_told_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let plain = read(folder.path(), &["--workers=2"]);
    let (records, mut summary) = read(folder.path(), &["--workers=2", "--fault", "seed=3,loss=0%"]);
    assert_eq!(records, plain.0);
    let faults = summary["input"].as_object_mut().unwrap().remove("faults").expect("faults are told");
    assert_eq!(faults["frames"], plain.1["packets"]["seen"]);
    assert_eq!(summary, plain.1);
    assert!(plain.1["input"].get("faults").is_none(), "without --fault there are none");
}

#[test]
fn the_table_begins_with_the_faults_that_were_added() {
    let read = |fault: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_resptap")).args(["read", SAMPLE, "--fault", fault]).output();
        let table = String::from_utf8(output.expect("resptap starts").stdout).unwrap();
        table.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let table = read("server-loss=100%");
    let told =
        "INPUT faults were added on purpose (--fault server-loss=100%), so this is not what the capture holds: of ";
    assert!(table.contains(told) && table.contains(" lost "), "{table}");
    assert!(read("seed=1").contains("none of them hit"));
}
