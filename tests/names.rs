//! `--names` from the command line to all that shows an address, on the sample capture.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn names_are_in_every_record_the_summary_and_the_table() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/redis.pcap");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let (names, records, summary) = (at("names.toml"), at("records.jsonl"), at("summary.json"));
    let read = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_resptap")).arg("read").arg(&sample).args(arguments).output();
        let output = output.expect("resptap starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).expect("text")
    };
    let sink = format!("jsonl:{}", records.display());
    let (names_text, summary_text) = (names.to_str().expect("text"), summary.to_str().expect("text"));
    fs::write(&names, "\"0.0.0.0/0\" = \"checkout\"\n\"0.0.0.0/0:6379\" = \"cache-a\"").expect("it is written");
    read(&["--names", names_text, "--sink", &sink, "--summary", summary_text]);

    let records = fs::read_to_string(records).expect("records");
    assert!(records.lines().count() > 10);
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        for (end, name) in
            [("source", "checkout"), ("client", "checkout"), ("destination", "cache-a"), ("server", "cache-a")]
        {
            assert_eq!(record[end]["name"], name, "{line}");
        }
    }
    let summary: Value = serde_json::from_str(&fs::read_to_string(summary).expect("a summary")).expect("JSON");
    for (parties, name) in [("servers", "cache-a"), ("clients", "checkout")] {
        let parties = summary[parties].as_object().expect("an object");
        assert!(!parties.is_empty() && parties.values().all(|party| party["name"] == name), "{parties:?}");
    }
    let table = read(&["--names", names_text]);
    assert!(table.contains("cache-a (") && table.contains("checkout ("), "{table}");
    let without = read(&[]);
    assert!(!without.contains("cache-a"), "{without}");
}
