//! `resptap read` on captures of a real redis-server, held against what the server counted, what the clients say they sent,
//! and what tshark sees.
//!
//! The captures are made here, by `scripts/capture-session`, in network namespaces: that needs root, redis-server, tcpdump
//! and tshark, so these tests are ignored by a plain `cargo test`. `scripts/test` installs what they need and runs them:
//! `cargo test --test live -- --include-ignored`. A missing tool fails them.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex};

use serde_json::Value;
use tempfile::TempDir;

#[path = "live/modes.rs"]
mod modes;

type Counts = BTreeMap<String, u64>;

/// What `scripts/traffic` uses as a password.
const SECRET: &str = "s3cret-never-to-be-shown";

/// One capture at a time, so that none loses packets to another's work.
static CAPTURING: Mutex<()> = Mutex::new(());

static ZOO: LazyLock<Session> = LazyLock::new(|| Session::with_traffic(&[], "--seed 1"));
static PLAIN: LazyLock<Session> = LazyLock::new(|| Session::with_traffic(&[], "--seed 2 --only-plain"));
static BENCHMARK: LazyLock<Session> = LazyLock::new(|| {
    // Requests are multiples of pipeline depth × clients: redis-benchmark then leaves none without its reply.
    Session::new(
        &[],
        "B=\"redis-benchmark -h $REDIS_HOST -p $REDIS_PORT -q\"; \
         $B -n 10000 -c 50 -t ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset; \
         $B -n 16000 -c 50 -P 16 -t set,get,incr,lpush -r 1000; \
         $B -n 4000 -c 50 -d 2000 -t set,get; \
         $B -n 500 -c 50 -d 100000 -t set,get; \
         $B -n 8000 -c 50 -P 16 -3 -t set,get,sadd; \
         $B -n 1000 -c 50 -k 0 -t set,get",
    )
});

/// A captured session, and what its parties say about it.
struct Session {
    directory: TempDir,
    /// Whether `scripts/traffic` left its account.
    has_account: bool,
}

impl Session {
    fn new(options: &[&str], shell: &str) -> Session {
        let guard = CAPTURING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(script("capture-session"));
        command.arg("--out").arg(directory.path()).args(options).args(["--", "bash", "-euc", shell]);
        command.arg("bash").arg(directory.path().join("account.json"));
        success(&mut command);
        drop(guard);
        let has_account = directory.path().join("account.json").exists();
        Session { directory, has_account }
    }

    fn with_traffic(options: &[&str], traffic: &str) -> Session {
        let traffic_script = script("traffic");
        let shell = format!(
            "exec '{}' --host $REDIS_HOST --port $REDIS_PORT --report \"$1\" {traffic}",
            traffic_script.display()
        );
        Session::new(options, &shell)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn capture(&self) -> PathBuf {
        self.path("capture.pcap")
    }

    fn account(&self) -> Value {
        json(&self.path("account.json"))
    }
}

/// What `resptap read` made of a capture.
struct Reading {
    summary: Value,
    /// In the order in which they were written.
    records: Vec<String>,
}

impl Reading {
    fn of(capture: &Path, arguments: &[&str]) -> Reading {
        Reading::from_stdin(Stdio::null(), capture, arguments)
    }

    fn from_stdin(stdin: Stdio, capture: &Path, arguments: &[&str]) -> Reading {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (records, summary) = (directory.path().join("records.jsonl"), directory.path().join("summary.json"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_resptap"));
        command.arg("read").arg("--sink").arg(format!("jsonl:{}", records.display()));
        command.arg("--summary").arg(&summary).args(arguments).arg(capture).stdin(stdin);
        success(&mut command);
        let text = fs::read_to_string(&records).expect("records in UTF-8");
        Reading { summary: json(&summary), records: text.lines().map(str::to_owned).collect() }
    }

    fn parsed(&self) -> Vec<Value> {
        self.records.iter().map(|line| serde_json::from_str(line).expect("a record that is JSON")).collect()
    }

    fn sorted(mut self) -> Vec<String> {
        self.records.sort_unstable();
        self.records
    }

    /// The summary without what may differ from run to run.
    fn lasting_summary(&self, also_without: &[&str]) -> Value {
        let mut summary = self.summary.clone();
        let fields = summary.as_object_mut().expect("a summary is an object");
        for name in ["workers", "memory"].iter().chain(also_without) {
            fields.remove(*name);
        }
        let program = fields["resptap"].as_object_mut().expect("resptap is an object");
        program.remove("started");
        program.remove("ended");
        summary
    }

    fn requests(&self, name: &str) -> u64 {
        self.summary["requests"][name].as_u64().unwrap_or_else(|| panic!("no requests.{name} in {}", self.summary))
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a command that must succeed; shows all that it said if it doesn't.
fn success(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn sum(counts: &Value) -> u64 {
    match counts {
        Value::Object(fields) => fields.values().map(sum).sum(),
        number => number.as_u64().unwrap_or_else(|| panic!("not a count: {number}")),
    }
}

fn text<'a>(record: &'a Value, pointer: &str) -> &'a str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {record}"))
}

fn number(record: &Value, pointer: &str) -> u64 {
    record.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {record}"))
}

fn count(names: impl Iterator<Item = String>) -> Counts {
    let mut counts = Counts::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// A command of a record as accounts call it.
fn command_of(record: &Value) -> String {
    let method = text(record, "/method");
    if method == "NOSUCHCOMMAND" { "unknown".to_owned() } else { method.to_owned() }
}

/// The field of the summary's commands, by command.
fn by_command(summary: &Value, field: &str) -> Counts {
    let commands = summary["commands"].as_object().expect("commands is an object");
    commands.iter().map(|(name, entry)| (name.clone(), number(entry, &format!("/{field}")))).collect()
}

fn as_counts(value: &Value) -> Counts {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("not counts ({error}): {value}"))
}

/// Runs the comparison of `scripts/compare-counts` on a summary.
fn compare_counts(session: &Session, summary: &Value) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("summary.json");
    fs::write(&path, summary.to_string()).expect("the summary is written");
    let mut command = Command::new(script("compare-counts"));
    command.arg("--before").arg(session.path("before.txt")).arg("--after").arg(session.path("after.txt"));
    if session.has_account {
        command.arg("--account").arg(session.path("account.json"));
    }
    command.arg(&path).output().expect("compare-counts starts")
}

fn assert_counts_equal(session: &Session, summary: &Value) {
    let output = compare_counts(session, summary);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
}

/// The laws of SPEC section 4, and that nothing was missed.
fn assert_whole(reading: &Reading) {
    let Reading { summary, records } = reading;
    let requests = &summary["requests"];
    let others: u64 = ["exact", "resynced", "no_reply", "timed_out", "lost", "unanswered", "one_sided", "pending"]
        .iter()
        .map(|name| reading.requests(name))
        .sum();
    assert_eq!(reading.requests("total"), others, "total is the sum of the others: {requests}");
    assert_eq!(reading.requests("exact"), reading.requests("total"), "every transaction is exact: {requests}");
    assert_eq!(records.len() as u64, reading.requests("total"), "one record for each");

    let packets = &summary["packets"];
    assert_eq!(sum(&packets["seen"]), sum(&packets["analysed"]) + sum(&packets["skipped"]), "{packets}");
    assert_eq!(sum(&packets["gaps"]) + sum(&packets["gap_bytes"]), 0, "{packets}");

    let replies = &summary["replies"];
    assert_eq!(
        sum(&replies["total"]),
        sum(&replies["paired"]) + sum(&replies["unsolicited"]) + sum(&replies["discarded"]),
        "{replies}"
    );
    assert_eq!(sum(&replies["paired"]), reading.requests("exact"), "{replies}");
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn counts_of_redis_benchmark_are_the_servers_own() {
    let reading = Reading::of(&BENCHMARK.capture(), &[]);
    assert_counts_equal(&BENCHMARK, &reading.summary);
    assert_whole(&reading);
    assert!(reading.requests("total") > 200_000, "redis-benchmark sent its requests: {}", reading.summary["requests"]);
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn counts_of_a_zoo_of_clients_are_the_servers_own() {
    let reading = Reading::of(&ZOO.capture(), &[]);
    assert_counts_equal(&ZOO, &reading.summary);
    assert_whole(&reading);
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn a_count_that_is_off_by_one_is_noticed() {
    let mut summary = Reading::of(&ZOO.capture(), &[]).summary;
    let get = &mut summary["commands"]["GET"]["count"];
    *get = Value::from(get.as_u64().expect("a count") - 1);
    let output = compare_counts(&ZOO, &summary);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn requests_bytes_and_errors_are_those_of_the_clients_account() {
    let reading = Reading::of(&ZOO.capture(), &[]);
    let account = ZOO.account();
    assert_eq!(by_command(&reading.summary, "count"), as_counts(&account["requests"]));
    assert_eq!(by_command(&reading.summary, "request_bytes"), as_counts(&account["request_bytes"]));
    assert_eq!(by_command(&reading.summary, "reply_bytes"), as_counts(&account["reply_bytes"]));
    assert_eq!(as_counts(&reading.summary["errors"]), as_counts(&account["errors"]));
    assert_eq!(number(&reading.summary, "/connections/opened"), number(&account, "/connections"));
    assert_eq!(number(&reading.summary, "/connections/midstream"), 0);
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn records_add_up_to_the_summary() {
    let reading = Reading::of(&ZOO.capture(), &[]);
    let records = reading.parsed();
    let summary = &reading.summary;
    assert_eq!(count(records.iter().map(command_of)), by_command(summary, "count"));
    let ids: HashSet<&str> = records.iter().map(|record| text(record, "/event/id")).collect();
    assert_eq!(ids.len(), records.len(), "every record has an id of its own");
    for record in &records {
        assert_eq!(text(record, "/redis/pairing"), "exact", "{record}");
        let never_executed = record.pointer("/redis/flags").is_some_and(|flags| flags.to_string().contains("not_exec"));
        if never_executed || record.pointer("/redis/parent").is_some() {
            assert!(record.pointer("/redis/latency").is_none(), "a queued command has no latency of its own: {record}");
            continue;
        }
        let (queue, server, transfer) =
            (number(record, "/redis/queue"), number(record, "/redis/server"), number(record, "/redis/transfer"));
        assert_eq!(number(record, "/redis/latency"), queue + server + transfer, "{record}");
        assert_eq!(
            number(record, "/event/duration"),
            number(record, "/redis/send") + number(record, "/redis/latency"),
            "{record}"
        );
    }
    let failed: u64 = by_command(summary, "errors").values().sum();
    assert_eq!(records.iter().filter(|record| text(record, "/status") == "Error").count() as u64, failed);
    for (side, field) in [("source", "request_bytes"), ("destination", "reply_bytes")] {
        let bytes: u64 = records.iter().map(|record| number(record, &format!("/{side}/bytes"))).sum();
        assert_eq!(bytes, by_command(summary, field).values().sum::<u64>(), "{field}");
    }
}

/// Requests by their first word, replies, and error replies by code, as tshark sees them.
fn seen_by_tshark(capture: &Path) -> (Counts, u64, Counts) {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture);
    command.args(["-d", "tcp.port==6379,resp", "-o", "tcp.desegment_tcp_streams:TRUE"]);
    command.args([
        "-Y",
        "resp && !resp.partial && !resp.reassembled_in_next_frame",
        "-T",
        "fields",
        "-E",
        "occurrence=f",
    ]);
    command.args(["-e", "tcp.dstport", "-e", "resp.bulk_string.value", "-e", "resp.error"]);
    let output = success(&mut command);
    let (mut requests, mut replies, mut errors) = (Counts::new(), 0, Counts::new());
    for line in String::from_utf8(output.stdout).expect("fields in UTF-8").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [port, bulk, error] = fields[..] else { panic!("tshark printed {line:?}") };
        if port == "6379" {
            let bytes = (0..bulk.len() / 2).map(|at| u8::from_str_radix(&bulk[2 * at..2 * at + 2], 16).unwrap());
            let word = String::from_utf8(bytes.collect()).expect("a command").to_ascii_uppercase();
            *requests.entry(if word == "NOSUCHCOMMAND" { "unknown".to_owned() } else { word }).or_default() += 1;
        } else {
            replies += 1;
            if let Some(code) = error.split(' ').next().filter(|code| !code.is_empty()) {
                *errors.entry(code.to_owned()).or_default() += 1;
            }
        }
    }
    (requests, replies, errors)
}

// One request at a time, RESP2, no values of hundreds of kilobytes and no single-byte segments: on those tshark 4.0 miscounts
// (it dissects no inline commands, no RESP3, and loses its place in long values).
#[test]
#[ignore = "needs root, redis-server, tcpdump and tshark: scripts/test runs it"]
fn tshark_agrees_on_requests_and_replies() {
    let (requests, replies, errors) = seen_by_tshark(&PLAIN.capture());
    let reading = Reading::of(&PLAIN.capture(), &[]);
    assert_whole(&reading);
    let records = reading.parsed();
    let first_words = count(records.iter().map(|record| {
        let command = command_of(record);
        command.split(' ').next().unwrap_or_default().to_owned()
    }));
    assert_eq!(first_words, requests);
    assert_eq!(sum(&reading.summary["replies"]["total"]), replies);
    let failed = records.iter().filter(|record| text(record, "/status") == "Error");
    assert_eq!(count(failed.map(|record| text(record, "/redis/error_code").to_owned())), errors);
    assert_counts_equal(&PLAIN, &reading.summary);
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn the_result_is_the_same_for_any_number_of_workers() {
    for session in [&*ZOO, &*BENCHMARK] {
        let one = Reading::of(&session.capture(), &["--workers", "1"]);
        let summary = one.lasting_summary(&[]);
        let records = one.sorted();
        for workers in ["2", "3", "4"] {
            let more = Reading::of(&session.capture(), &["--workers", workers]);
            assert_eq!(more.lasting_summary(&[]), summary, "{workers} workers");
            assert!(more.sorted() == records, "the records of {workers} workers differ from those of one");
        }
    }
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn a_compressed_or_piped_capture_gives_the_same() {
    let capture = ZOO.capture();
    let plain = Reading::of(&capture, &[]);
    let summary = plain.lasting_summary(&["input"]);
    let records = plain.sorted();
    let bytes = fs::read(&capture).expect("the capture");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (gz, zst) = (directory.path().join("capture.pcap.gz"), directory.path().join("capture.pcap.zst"));
    let mut encoder = flate2::write::GzEncoder::new(File::create(&gz).unwrap(), flate2::Compression::fast());
    encoder.write_all(&bytes).and_then(|()| encoder.finish()).expect("gzip");
    fs::write(&zst, zstd::encode_all(&bytes[..], 1).expect("zstd")).expect("the file is written");

    let mut cat = Command::new("cat").arg(&capture).stdout(Stdio::piped()).spawn().expect("cat starts");
    let pipe = Stdio::from(cat.stdout.take().expect("a pipe"));
    let readings = [
        ("gz", Reading::of(&gz, &[])),
        ("zst", Reading::of(&zst, &[])),
        ("a pipe", Reading::from_stdin(pipe, Path::new("-"), &[])),
        ("standard input", Reading::from_stdin(File::open(&gz).unwrap().into(), Path::new("-"), &[])),
        ("--no-mmap", Reading::of(&capture, &["--no-mmap"])),
    ];
    cat.wait().expect("cat ends");
    for (how, reading) in readings {
        assert_eq!(reading.lasting_summary(&["input"]), summary, "{how}");
        assert!(reading.sorted() == records, "the records read from {how} differ from those of the plain file");
    }
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn thirty_thousand_pipelined_requests_lose_none_and_pair_rightly() {
    let session = Session::with_traffic(&["--loopback"], "--only burst");
    let reading = Reading::of(&session.capture(), &["--payload", "full"]);
    assert_whole(&reading);
    assert_counts_equal(&session, &reading.summary);
    assert_eq!(reading.requests("total"), 30_000);
    let records = reading.parsed();
    let ports: HashSet<u64> = records.iter().map(|record| number(record, "/source/port")).collect();
    assert_eq!(ports.len(), 1, "all on one connection");
    let deepest = records.iter().map(|record| number(record, "/redis/pipeline")).max();
    assert!(deepest > Some(1000), "they were pipelined, at most {deepest:?} deep");
    let mut echoes = 0;
    for record in records.iter().filter(|record| text(record, "/method") == "ECHO") {
        assert_eq!(text(record, "/redis/request"), format!("ECHO {}", text(record, "/redis/response")));
        echoes += 1;
    }
    assert!(echoes > 1000, "{echoes} requests could be held against their replies");
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn a_password_is_never_shown() {
    for payload in ["none", "keys", "full"] {
        let reading = Reading::of(&ZOO.capture(), &["--payload", payload]);
        assert!(reading.records.iter().any(|line| line.contains("\"AUTH\"")), "there were passwords to show");
        let shown = reading.records.iter().find(|line| line.contains(SECRET));
        assert_eq!(shown, None, "--payload {payload}");
        assert!(!reading.summary.to_string().contains(SECRET), "--payload {payload}");
    }
}

/// Peak resident memory of `resptap read`, in bytes. Asked of /usr/bin/time: a process begins with the peak of the one that
/// started it, and that one is small.
fn peak_memory(capture: &Path, arguments: &[&str]) -> u64 {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (peak, summary) = (directory.path().join("peak"), directory.path().join("summary.json"));
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format", "%M", "--output"]).arg(&peak).arg(env!("CARGO_BIN_EXE_resptap"));
    // One interval, so that it does not matter how long a capture took.
    let rest = ["--interval", "1h", "--sink", "jsonl:/dev/null", "--summary"];
    command.args(["read", "--workers", "1"]).args(rest).arg(&summary);
    success(command.args(arguments).arg(capture));
    assert!(sum(&json(&summary)["requests"]["exact"]) > 0, "there was something to do");
    let kilobytes: u64 = fs::read_to_string(&peak).expect("a peak").trim().parse().expect("a number");
    kilobytes * 1024
}

#[test]
#[ignore = "needs root, redis-server, tcpdump and /usr/bin/time: scripts/test runs it"]
fn a_64_mb_value_costs_no_memory() {
    let talk = |bytes: usize| {
        Session::new(
            &[],
            &format!(
                "head -c {bytes} /dev/zero | redis-cli -h $REDIS_HOST -p $REDIS_PORT -x SET big; \
                 redis-cli -h $REDIS_HOST -p $REDIS_PORT GET big | wc -c"
            ),
        )
    };
    let (small, large) = (talk(64), talk(64 << 20));
    let reading = Reading::of(&large.capture(), &[]);
    assert_whole(&reading);
    assert_counts_equal(&large, &reading.summary);
    assert!(by_command(&reading.summary, "request_bytes")["SET"] > 64 << 20);
    assert!(by_command(&reading.summary, "reply_bytes")["GET"] > 64 << 20);
    for arguments in [&[][..], &["--no-mmap"]] {
        let (less, more) = (peak_memory(&small.capture(), arguments), peak_memory(&large.capture(), arguments));
        // A batch of frames of 64 KB is in memory at a time.
        assert!(more < less + (8 << 20), "{arguments:?}: {less} bytes for a small capture, {more} for two of 64 MB");
    }
}

/// A primary with two replicas, which synchronise one way and the other, and 10,000 writes.
const REPLICATION: &str = r#"
cli() { redis-cli -h "$REDIS_HOST" -p "$REDIS_PORT" "$@"; }
directory=$(mktemp -d)
replica() {
    mkdir "$directory/$1"
    redis-server --port "$1" --dir "$directory/$1" --save '' --replicaof "$REDIS_HOST" "$REDIS_PORT" >"$directory/$1/log" &
    pids+=($!)
    for _ in $(seq 200); do
        if [ "$(redis-cli -p "$1" ROLE 2>/dev/null | sed -n 4p)" = connected ]; then return; fi
        sleep 0.1
    done
    return 1
}
pids=()
trap 'kill "${pids[@]}"; wait; rm -rf "$directory"' EXIT
cli DEBUG SET-ACTIVE-EXPIRE 1 >/dev/null
for n in $(seq 100); do echo "SET before:$n $n"; done | cli --pipe >/dev/null
cli CONFIG SET repl-diskless-sync-delay 0 repl-diskless-sync yes >/dev/null
replica 7001
cli CONFIG SET repl-diskless-sync no >/dev/null
replica 7002
redis-benchmark -h "$REDIS_HOST" -p "$REDIS_PORT" -q -n 10000 -c 10 -t set >/dev/null
cli WAIT 2 5000 >/dev/null
sleep 2.5
cli INFO replication | tr -d '\r' >"$(dirname "$1")/replication.txt"
"#;

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn replication_is_told_apart_from_clients_and_its_lag_is_the_servers_own() {
    let session = Session::new(&[], REPLICATION);
    let reading = Reading::of(&session.capture(), &[]);
    let summary = &reading.summary;
    let counts = by_command(summary, "count");
    assert_eq!(counts["SET"], 10_100, "the clients' writes, and none of those that were sent to replicas");
    for command in ["PSYNC", "SYNC", "REPLCONF"] {
        assert!(!counts.contains_key(command), "{command} is no client's transaction: {counts:?}");
    }
    let told = fs::read_to_string(session.path("replication.txt")).expect("INFO replication");
    let value = |text: &str, name: &str| -> u64 {
        let found = text.split([',', '\n']).find_map(|field| field.strip_prefix(name)?.strip_prefix(['=', ':']));
        found.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let links = summary["replication"].as_array().expect("links");
    assert_eq!(links.len(), 2, "{links:?}");
    for (link, line) in links.iter().zip(["slave0", "slave1"]) {
        let line = told.lines().find(|text| text.starts_with(line)).expect("a replica");
        assert_eq!(text(link, "/sync/result"), "done");
        assert!(number(link, "/sync/bytes") > 100);
        let offset = value(&told, "master_repl_offset");
        // The primary pings its replicas now and then: the last ping may fall between INFO and the end of the capture.
        assert!((offset..=offset + 14).contains(&number(link, "/primary_offset")), "{link}: {told}");
        assert!(number(link, "/replica_offset") >= value(line, "offset"), "{link}: {told}");
        assert!(number(link, "/lag_bytes") <= 14 && number(link, "/lag_ns") < 1_500_000_000, "{link}");
    }
}
