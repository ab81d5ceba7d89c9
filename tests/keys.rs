//! Statistics of keys of the whole program, over the sample capture: against its records, and kept back where keys may not be
//! shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/redis.pcap")
}

fn run(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_resptap")).arg("read").arg(sample()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn keys(arguments: &[&str]) -> Value {
    let summary: Value = serde_json::from_str(&run(&[&["--summary", "-"], arguments].concat())).unwrap();
    summary["keys"].clone()
}

/// Of each name in a list one of its numbers.
fn numbers(list: &Value, name: &str, number: &str) -> BTreeMap<String, u64> {
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| (entry[name].as_str().unwrap().to_owned(), entry[number].as_u64().unwrap())).collect()
}

#[test]
fn what_is_told_of_keys_is_what_the_records_add_up_to() {
    let records = run(&["--sink", "jsonl:-"]);
    let (mut bytes_in, mut latency, mut uses) = (BTreeMap::new(), BTreeMap::new(), 0);
    for record in records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        uses += record["redis"]["keys"].as_u64().unwrap_or_default();
        let Some(key) = record["resource"].as_str() else { continue };
        *bytes_in.entry(key.to_owned()).or_default() += record["source"]["bytes"].as_u64().unwrap();
        if record["method"] != "BLPOP" {
            *latency.entry(key.to_owned()).or_default() += record["redis"]["latency"].as_u64().unwrap_or_default();
        }
    }
    let keys = keys(&[]);
    assert!(uses > 200);
    assert_eq!(keys["operations"].as_u64().unwrap() + keys["not_kept"].as_u64().unwrap(), uses);
    // The list is cut at a hundred, so it is held against the records, not they against it.
    for (list, field, expected) in [("by_bytes_in", "bytes_in", bytes_in), ("by_latency", "latency", latency)] {
        let told = numbers(&keys[list], "key", field);
        assert!(told.len() >= 30, "{told:?}");
        for (key, number) in told {
            assert_eq!(expected.get(&key), Some(&number), "{field} of {key}");
        }
    }
}

#[test]
fn the_separator_says_what_a_prefix_is() {
    let of = |arguments: &[&str]| numbers(&keys(arguments)["prefixes"], "prefix", "operations");
    let (usual, other) = (of(&[]), of(&["--key-separator", "s"]));
    assert!(usual.keys().any(|prefix| prefix.ends_with(':')), "{usual:?}");
    assert!(other.keys().all(|prefix| prefix.is_empty() || prefix.ends_with('s')), "{other:?}");
    assert_eq!(usual.values().sum::<u64>(), other.values().sum::<u64>());
}

#[test]
fn without_keys_in_the_payload_no_name_of_a_key_is_told() {
    let names: Vec<String> = numbers(&keys(&[])["by_operations"], "key", "operations").into_keys().collect();
    assert!(names.len() > 30 && run(&[]).contains(&names[0][..3]));
    for arguments in [
        &["--payload", "none"][..],
        &["--payload=none", "--summary=-"],
        &["--payload=none", "--key-prefix=k", "--sink=jsonl:-"],
    ] {
        let told = run(arguments);
        for name in names.iter().filter(|name| name.len() > 4) {
            assert!(!told.contains(name.as_str()), "{name} is told with {arguments:?}");
        }
    }
    assert_eq!(keys(&["--payload", "none"]), serde_json::json!({"hidden": "--payload none"}));
}
