//! `resptap capture` on a network card of a virtual machine (`scripts/zc-vm`): a real redis-server's traffic, as a mirror port shows
//! it, with one queue and with several; held against what the server counted.
//!
//! That needs QEMU, redis-server and, for several queues, root, and takes a while: a plain `cargo test` ignores it.
//! `cargo test --test vm -- --include-ignored` runs it. Where the machine lacks something the tests say that they were skipped and
//! why, which is why they have a harness that can: not run is not passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_resptap");

/// What `scripts/zc-vm` exits with where it can't run on this machine.
const LACKING: i32 = 3;

/// What the jobs have in common.
const PRELUDE: &str = r#"
set -euo pipefail
cd /tmp/share

fail() { echo "FAILED: $*"; exit 1; }
wait_for() {
    local what=$1 tries
    shift
    for tries in $(seq 300); do
        if "$@"; then return; fi
        sleep 0.1
    done
    cat said
    fail "$what: not so after 30 seconds"
}
quietly() { redis-cli -s /tmp/redis.sock "$@"; }
answers() { quietly ping >/dev/null 2>&1; }
ip netns exec srv redis-server --port 6379 --protected-mode no --save '' --appendonly no --dir /tmp --unixsocket /tmp/redis.sock \
    >/dev/null &
wait_for redis-server answers

begins() { grep -q capturing said || { kill -0 $capture || fail "it ended: $(cat said)"; false; }; }
capture() {
    ./resptap -v capture --interface t1 --summary summary.json --sink jsonl:/tmp/records.jsonl "$@" 2>said &
    capture=$!
    wait_for "the beginning of the capture" begins
}
traffic() {
    quietly info all >before.txt
    ip netns exec cli redis-benchmark -h 10.77.0.2 -q -n 3000 -c 20 -t set,get >/dev/null
    ip netns exec cli redis-benchmark -h 10.77.0.2 -q -n 8000 -c 20 -P 16 -t set,get >/dev/null
    sleep 0.5
    quietly info all >after.txt
}
finish() {
    kill -INT $capture
    wait $capture || fail "it ended with $?: $(cat said)"
    wc -l </tmp/records.jsonl >records
}
"#;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// All that a command said.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// A folder that a guest has run a job in.
struct Ran(TempDir);

/// Runs a job in a guest with so many queues. `Err`: why it was not run, or how it failed.
fn run(queues: u32, job: &str) -> Result<Ran, Result<Completion, Failed>> {
    let outcome = |output: &Output| match output.status.code() {
        Some(0) => Ok(()),
        Some(LACKING) => {
            let reason = said(output).lines().last().unwrap_or_default().trim_start_matches("zc-vm: ").to_owned();
            Err(Ok(Completion::ignored_with(format!("skipped: {reason}"))))
        }
        _ => Err(Err(Failed::from(format!("{}\n{}", output.status, said(output))))),
    };
    outcome(&Command::new(script("zc-vm")).arg("setup").output().expect("scripts/zc-vm starts"))?;
    let share = tempfile::tempdir().expect("a folder");
    fs::copy(PROGRAM, share.path().join("resptap")).expect("a copy of the program");
    fs::write(share.path().join("job"), format!("{PRELUDE}\n{job}")).expect("a job");
    let mut command = Command::new(script("zc-vm"));
    command.args(["run", "--queues", &queues.to_string()]).arg(share.path()).arg("job");
    outcome(&command.output().expect("scripts/zc-vm starts"))?;
    Ok(Ran(share))
}

impl Ran {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&self.text("summary.json")).expect("a summary is JSON")
    }

    /// Holds the summary against INFO of before and after: every count equal, nothing missed, every request paired.
    fn assert_all_seen(&self) -> Value {
        let mut compare = Command::new(script("compare-counts"));
        compare.arg("--before").arg(self.path("before.txt")).arg("--after").arg(self.path("after.txt"));
        let output = compare.arg(self.path("summary.json")).output().expect("compare-counts starts");
        assert!(output.status.success(), "{}", said(&output));
        let summary = self.summary();
        let (packets, requests) = (&summary["packets"], &summary["requests"]);
        assert_eq!(sum(&packets["seen"]), sum(&packets["analysed"]) + sum(&packets["skipped"]), "{packets}");
        assert_eq!(sum(&packets["capture_drops"]) + sum(&packets["gaps"]), 0, "{packets}");
        assert!(sum(&requests["total"]) >= 22_000 && requests["exact"] == requests["total"], "{requests}");
        assert_eq!(self.text("records").trim(), sum(&requests["total"]).to_string());
        summary
    }
}

fn sum(counts: &Value) -> u64 {
    match counts {
        Value::Object(fields) => fields.values().map(sum).sum(),
        number => number.as_u64().unwrap_or_else(|| panic!("not a count: {number}")),
    }
}

/// A job that must succeed, and what must be so after it.
fn test(name: &str, queues: u32, job: &'static str, check: fn(&Ran)) -> Trial {
    let run = move || match run(queues, job) {
        Ok(ran) => {
            check(&ran);
            Ok(Completion::Completed)
        }
        Err(outcome) => outcome,
    };
    Trial::ignorable_test(name, run).with_ignored_flag(true)
}

fn main() -> ExitCode {
    // A guest takes all the cores there are.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let tests = vec![
        test(
            "a_card_with_one_queue_shows_every_request_by_af_packet",
            1,
            "capture --mode af-packet; traffic; finish",
            |ran| {
                let summary = ran.assert_all_seen();
                assert_eq!(summary["input"]["interfaces"][0]["mode"], "af-packet", "{}", summary["input"]);
            },
        ),
        test(
            "a_card_with_four_queues_shows_every_request_by_af_packet",
            4,
            "capture --mode af-packet; traffic; finish",
            |ran| {
                let summary = ran.assert_all_seen();
                assert_eq!(summary["workers"].as_array().map(Vec::len), Some(4), "a worker for each queue: {summary}");
            },
        ),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}
