//! `resptap capture` on a real redis-server's traffic: at a mirror port between network namespaces (`scripts/bed`), at a passive
//! tap, on loopback and on the server's own interface; held against what the server counted.
//!
//! That needs root, redis-server and python3, so these tests are ignored by a plain `cargo test`. `scripts/test` installs what
//! they need and runs them: `cargo test --test capture -- --include-ignored`. A missing tool fails them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

mod common;
#[path = "capture/xdp.rs"]
mod xdp;

#[path = "capture/load.rs"]
mod load;
#[path = "capture/overload.rs"]
mod overload;
#[path = "capture/privileges.rs"]
mod privileges;
#[path = "capture/replayed.rs"]
mod replayed;

const PROGRAM: &str = env!("CARGO_BIN_EXE_resptap");

/// The ways of capturing that a veth interface has.
const MODES: [&str; 3] = ["af-packet", "copy", "generic"];

/// One capture at a time, so that none loses packets to another's work.
static CAPTURING: Mutex<()> = Mutex::new(());

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// Runs a command that must succeed; shows all that it said if it doesn't.
fn success(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{error}", output.status);
    output
}

/// Waits for something that takes a while, at most twenty seconds.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: not so after twenty seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A client, a server with redis-server, and a mirror port, in namespaces that are gone at the end.
struct Bed {
    prefix: String,
    directory: TempDir,
    server: Option<Child>,
    _alone: MutexGuard<'static, ()>,
}

impl Bed {
    fn up(options: &[&str]) -> Bed {
        static BEDS: AtomicU32 = AtomicU32::new(0);
        let alone = CAPTURING.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = format!("rt{}x{}", std::process::id(), BEDS.fetch_add(1, Ordering::Relaxed));
        success(Command::new(script("bed")).arg("up").args(options).arg(&prefix));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut bed = Bed { prefix, directory, server: None, _alone: alone };
        let mut server = bed.inside("srv", "redis-server");
        server.args(["--port", "6379", "--protected-mode", "no", "--save", "", "--appendonly", "no"]);
        server.args(["--enable-debug-command", "yes", "--unixsocket"]).arg(bed.path("redis.sock"));
        server.arg("--dir").arg(bed.directory.path()).stdout(Stdio::null());
        bed.server = Some(server.spawn().expect("redis-server starts"));
        wait_for("redis-server", || bed.ask_quietly("PING"));
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program in one of the namespaces.
    fn inside(&self, place: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}{place}", self.prefix), program]);
        command
    }

    /// Asks the server through its unix socket, which is in no capture.
    fn ask_quietly(&self, question: &str) -> bool {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.path("redis.sock")).args(question.split(' '));
        command.output().is_ok_and(|output| output.status.success())
    }

    fn info(&self, file: &str) {
        let mut command = Command::new("redis-cli");
        let output = success(command.arg("-s").arg(self.path("redis.sock")).args(["INFO", "all"]));
        fs::write(self.path(file), output.stdout).expect("INFO is written");
    }

    /// A shell on the client's side; the server is at 10.77.0.2.
    fn client(&self, shell: &str) -> String {
        let output = success(self.inside("cli", "bash").args(["-euc", shell]));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn ip(&self, place: &str, arguments: &str) {
        let namespace = format!("{}{place}", self.prefix);
        success(Command::new("ip").args(["-n", &namespace]).args(arguments.split(' ')));
    }

    /// Whether an XDP program is attached to an interface of the tap.
    fn has_program(&self, interface: &str) -> bool {
        let namespace = format!("{}tap", self.prefix);
        let output = success(Command::new("ip").args(["-n", &namespace, "link", "show", interface]));
        String::from_utf8_lossy(&output.stdout).contains("xdp")
    }

    /// Whether an interface of the tap is in promiscuous mode.
    fn is_promiscuous(&self, interface: &str) -> bool {
        let output = success(self.inside("tap", "cat").arg(format!("/sys/class/net/{interface}/flags")));
        let flags = String::from_utf8_lossy(&output.stdout);
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).expect("flags");
        flags & 0x100 != 0
    }

    /// Begins a capture in one of the namespaces.
    fn capture(&self, place: &str, arguments: &str) -> Capture {
        let mut command = self.inside(place, PROGRAM);
        command.args(["-v", "capture", "--summary"]).arg(self.path("summary.json"));
        command.arg("--sink").arg(format!("jsonl:{}", self.path("records.jsonl").display()));
        command.args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("resptap starts");
        // What it says is read as it comes, or it would wait for that.
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut begun = String::new();
        while !begun.contains("capturing") {
            assert!(said.read_line(&mut begun).expect("text") > 0, "it ended: {begun}");
        }
        let rest = std::thread::spawn(move || {
            let mut all = begun;
            while said.read_line(&mut all).is_ok_and(|bytes| bytes > 0) {}
            all
        });
        Capture { child, said: Some(rest) }
    }

    fn summary(&self) -> Value {
        let text = fs::read_to_string(self.path("summary.json")).expect("a summary");
        serde_json::from_str(&text).expect("a summary is JSON")
    }

    fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("records.jsonl")).expect("records");
        text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
    }

    /// Holds the summary against INFO of before and after: every count equal, nothing missed, every request paired.
    fn assert_all_seen(&self, how: &str) -> Value {
        self.info("after.txt");
        let mut command = Command::new(script("compare-counts"));
        command.arg("--before").arg(self.path("before.txt")).arg("--after").arg(self.path("after.txt"));
        if self.path("account.json").exists() {
            command.arg("--account").arg(self.path("account.json"));
        }
        let output = command.arg(self.path("summary.json")).output().expect("compare-counts starts");
        let summary = self.summary();
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{how}: {table}{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            summary["input"]
        );
        let (packets, requests) = (&summary["packets"], &summary["requests"]);
        assert_eq!(sum(&packets["seen"]), sum(&packets["analysed"]) + sum(&packets["skipped"]), "{how}: {packets}");
        assert_eq!(sum(&packets["capture_drops"]) + sum(&packets["gaps"]), 0, "{how}: {packets}");
        assert_eq!(sum(&requests["exact"]), sum(&requests["total"]), "{how}: {requests}");
        let interfaces = summary["input"]["interfaces"].as_array().expect("interfaces");
        let came: u64 = interfaces.iter().map(|interface| sum(&interface["packets"])).sum();
        assert_eq!(came, sum(&packets["seen"]), "{how}");
        // One at a time: there are hundreds of thousands.
        let records = BufReader::new(File::open(self.path("records.jsonl")).expect("records")).lines();
        // A writer of a debug build may be too slow for a benchmark on a busy machine: what it missed is counted.
        let dropped = sum(&summary["records"]["dropped"]);
        assert_eq!(records.count() as u64 + dropped, sum(&requests["total"]), "{how}");
        summary
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = Command::new(script("bed")).args(["down", &self.prefix]).status();
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A capture that runs.
struct Capture {
    child: Child,
    said: Option<std::thread::JoinHandle<String>>,
}

impl Capture {
    fn signal(&self, name: &str) {
        // `ip netns exec` has become the program: the process is its own.
        success(Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]));
    }

    /// Waits for its end; answers its status and what it said.
    fn ended(mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_for("the end of the capture", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        (status.expect("it has ended"), self.said.take().map(|said| said.join().expect("text")).unwrap_or_default())
    }

    /// Ends it in good order, which must succeed.
    fn end(self) -> String {
        self.signal("INT");
        let (status, said) = self.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sum(counts: &Value) -> u64 {
    match counts {
        Value::Object(fields) => fields.values().map(sum).sum(),
        number => number.as_u64().unwrap_or_else(|| panic!("not a count: {number}")),
    }
}

/// Requests are multiples of pipeline depth × clients: redis-benchmark then leaves none without its reply.
const BENCHMARK: &str = "B='redis-benchmark -h 10.77.0.2 -q'; \
     $B -n 100000 -c 50 -t set,get >/dev/null; $B -n 100000 -c 50 -P 16 -t set,get -r 1000 >/dev/null; \
     $B -n 500 -c 50 -d 100000 -t set,get >/dev/null";
const SMALL: &str = "redis-benchmark -h 10.77.0.2 -q -n 5000 -c 10 -t set,get >/dev/null";

/// The benchmark and `scripts/traffic`, seen by a capture with these arguments.
fn everything_is_seen(bed: &Bed, place: &str, arguments: &str) -> Value {
    load_passes(bed, place, arguments, BENCHMARK);
    bed.assert_all_seen(arguments)
}

/// Such a load of the client and `scripts/traffic`, while it is captured; answers the summary.
fn load_passes(bed: &Bed, place: &str, arguments: &str, load: &str) -> Value {
    bed.info("before.txt");
    let capture = bed.capture(place, arguments);
    bed.client(load);
    let (traffic, account) = (script("traffic"), bed.path("account.json"));
    bed.client(&format!(
        "'{}' --host 10.77.0.2 --port 6379 --seed 7 --report '{}'",
        traffic.display(),
        account.display()
    ));
    // Connections that the clients left open are closed by now, and that is seen, too.
    std::thread::sleep(Duration::from_millis(300));
    capture.end();
    bed.summary()
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_mirror_port_shows_every_request_to_one_worker_and_to_two_that_share_it() {
    for workers in [1, 2] {
        let bed = Bed::up(&[]);
        let summary = everything_is_seen(&bed, "tap", &format!("--interface t1 --mode af-packet --workers {workers}"));
        let busy = summary["workers"]
            .as_array()
            .expect("workers")
            .iter()
            .filter(|worker| sum(&worker["requests"]["total"]) > 0);
        assert_eq!(busy.count(), workers, "the connections are spread");
        assert_eq!(summary["input"]["interfaces"][0]["name"], "t1");
        assert_eq!(summary["input"]["interfaces"][0]["mode"], "af-packet");
        assert!(summary["resptap"]["clock"].as_str().is_some_and(|clock| clock.contains("kernel")));
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_passive_tap_with_an_interface_for_each_direction_shows_every_request() {
    for workers in [1, 2] {
        let bed = Bed::up(&["--split"]);
        let summary = everything_is_seen(
            &bed,
            "tap",
            &format!("--interface t1 --interface u1 --mode af-packet --workers {workers}"),
        );
        let interfaces = summary["input"]["interfaces"].as_array().expect("interfaces");
        // Each hands over many packets at a time: unsorted, most replies would come before or long after their requests.
        let packets = &summary["packets"];
        assert!(sum(&packets["time_backwards"]) * 1000 <= sum(&packets["seen"]), "{packets}");
        assert!(interfaces.len() == 2 && interfaces.iter().all(|interface| sum(&interface["packets"]) > 10_000));
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn the_servers_own_interface_shows_both_directions_once() {
    let bed = Bed::up(&[]);
    let summary = everything_is_seen(&bed, "srv", "--interface s0 --workers 2");
    // AF_XDP would have taken its packets away from the server.
    let interface = &summary["input"]["interfaces"][0];
    assert_eq!(interface["mode"], "af-packet");
    assert_eq!(interface["why"], "the interface is the host's own: it has the address 10.77.0.2");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn loopback_shows_each_packet_once() {
    let bed = Bed::up(&[]);
    bed.info("before.txt");
    let capture = bed.capture("srv", "--interface lo --workers 2");
    let mut benchmark = bed.inside("srv", "redis-benchmark");
    success(benchmark.args(["-q", "-n", "50000", "-c", "50", "-t", "set,get"]));
    std::thread::sleep(Duration::from_millis(300));
    capture.end();
    let summary = bed.assert_all_seen("lo");
    let packets = &summary["packets"];
    assert_eq!(sum(&packets["retransmitted"]) + sum(&packets["duplicates"]), 0, "{packets}");
}

/// Sends the frames of the sample into the mirror port, behind these tags.
const REPLAY: &str = r#"
import socket, struct, sys, time
interface, path, tags = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((interface, 0))
data = open(path, "rb").read()
at, sent = 24, 0
while at < len(data):
    length, = struct.unpack_from("<I", data, at + 8)
    frame = data[at + 16:at + 16 + length]
    at += 16 + length
    out.send(frame[:12] + tags + frame[12:])
    sent += 1
    if sent % 32 == 0:
        time.sleep(0.001)
"#;

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn tags_that_the_kernel_takes_out_are_there_again() {
    for mode in MODES {
        tags_are_there(mode);
    }
}

fn tags_are_there(mode: &str) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/redis.pcap");
    let bed = Bed::up(&[]);
    // The sample has frames of 26 kB: those of hosts with segmentation offload.
    bed.ip("sw", "link set t0 mtu 65500");
    bed.ip("tap", "link set t1 mtu 65500");
    for (tags, vlan, inner) in
        [("8100600c", Some("12"), None), ("88a8000c81000017", Some("12"), Some("23")), ("", None, None)]
    {
        let capture = bed.capture("tap", &format!("--interface t1 --mode {mode}"));
        let mut python = bed.inside("sw", "python3");
        success(python.args(["-c", REPLAY, "t0"]).arg(&sample).arg(tags));
        std::thread::sleep(Duration::from_millis(300));
        capture.end();
        let summary = bed.summary();
        let packets = &summary["packets"];
        assert_eq!(sum(&packets["analysed"]), 437, "{mode} {tags}: {packets}");
        // The mirror port's host tells of its groups (IGMP), without a tag.
        let bytes = 172_952 + 437 * tags.len() as u64 / 2 + 54 * sum(&packets["skipped"]);
        assert_eq!(sum(&packets["bytes"]), bytes, "{tags}: what was on the wire: {packets}");
        assert_eq!(sum(&summary["requests"]["exact"]), 227, "{tags}: {}", summary["requests"]);
        for record in bed.records() {
            assert_eq!(record.pointer("/network/vlan/id").and_then(Value::as_str), vlan, "{tags}: {record}");
            assert_eq!(record.pointer("/network/inner/vlan/id").and_then(Value::as_str), inner, "{tags}: {record}");
        }
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_signal_ends_it_with_all_that_had_come() {
    let bed = Bed::up(&[]);
    for (signal, mode) in [("INT", "af-packet"), ("TERM", "af-packet"), ("INT", "copy"), ("TERM", "generic")] {
        bed.info("before.txt");
        let capture = bed.capture("tap", &format!("--interface t1 --mode {mode} --workers 2"));
        bed.client(SMALL);
        // At once: of AF_PACKET the last block is still the kernel's.
        capture.signal(signal);
        let (status, said) = capture.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        bed.assert_all_seen(signal);
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_second_signal_ends_it_at_once() {
    let bed = Bed::up(&[]);
    let records = bed.path("records.jsonl");
    success(Command::new("mkfifo").arg(&records));
    // Nobody reads it, so what came can't be written to the end.
    let _reader = File::options().read(true).write(true).open(&records).expect("a pipe");
    let mut capture = bed.capture("tap", "--interface t1");
    bed.client(SMALL);
    capture.signal("INT");
    std::thread::sleep(Duration::from_millis(500));
    assert!(capture.child.try_wait().expect("it is our child").is_none(), "the first waits for the records' reader");
    capture.signal("TERM");
    let (status, said) = capture.ended();
    assert_eq!(status.code(), Some(128 + 15), "{said}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn it_ends_after_the_duration_that_was_asked_for() {
    let bed = Bed::up(&[]);
    let began = Instant::now();
    let capture = bed.capture("tap", "--interface t1 --duration 1500ms --interval 500ms");
    bed.client(SMALL);
    let (status, said) = capture.ended();
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(6), "{took:?}");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("packets/s")).collect();
    assert!((2..=3).contains(&lines.len()) && lines[0].contains("none dropped"), "{said}");
    assert!(lines.iter().any(|line| !line.contains(" 0 requests/s")), "{said}");
    assert_eq!(sum(&bed.summary()["requests"]["exact"]), sum(&bed.summary()["requests"]["total"]));
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn whoever_reads_the_records_too_slowly_costs_records_but_neither_packets_nor_counts() {
    let bed = Bed::up(&[]);
    let records = bed.path("records.jsonl");
    success(Command::new("mkfifo").arg(&records));
    // Open for both, so that neither side waits for the other to open it.
    let mut reader = File::options().read(true).write(true).open(&records).expect("a pipe");
    let log = bed.path("latencies.hlog");
    let capture =
        bed.capture("tap", &format!("--interface t1 --workers 2 --interval 200ms --hist-log {}", log.display()));
    bed.client("redis-benchmark -h 10.77.0.2 -q -n 144000 -c 50 -P 16 -t set,get >/dev/null; sleep 1");
    // It is read only now, so that it can end.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let said = capture.end();
    let summary = bed.summary();
    let (dropped, total) = (&summary["records"]["dropped"], &summary["requests"]["total"]);
    assert_eq!(sum(&summary["packets"]["capture_drops"]), 0, "{said}");
    // 64 batches of 1,024 may wait for each of the two workers; the others are lost.
    assert!(sum(dropped) > 100_000, "{dropped}");
    assert_eq!((&summary["records"]["emitted"], &summary["requests"]["exact"]), (total, total));
    assert_eq!([&summary["commands"]["GET"]["count"], &summary["commands"]["SET"]["count"]], [144_000, 144_000]);
    assert!(said.contains("transactions not written"), "{said}");
    let output = success(Command::new(PROGRAM).arg("hist").arg(&log));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("288,0"), "each latency is in some interval: {told}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn on_an_idle_interface_timeouts_are_told_and_intervals_end() {
    for interfaces in [
        "--interface t1 --mode af-packet",
        "--interface t1 --interface u1 --mode af-packet",
        "--interface t1 --mode af-packet --workers 2",
        "--interface t1 --mode copy --workers 1",
        "--interface t1 --interface u1 --mode copy --workers 2",
    ] {
        let bed = Bed::up(if interfaces.contains("u1") { &["--split"] } else { &[] });
        let log = bed.path("idle.hlog");
        let capture =
            bed.capture("tap", &format!("{interfaces} --timeout 300ms --interval 200ms --hist-log {}", log.display()));
        let mut sleeping = bed.inside("cli", "redis-cli");
        let mut sleeping = sleeping.args(["-h", "10.77.0.2", "DEBUG", "SLEEP", "4"]).spawn().expect("redis-cli starts");
        let began = Instant::now();
        wait_for("the record of a timeout", || {
            fs::read_to_string(bed.path("records.jsonl")).is_ok_and(|text| text.contains("timed_out"))
        });
        assert!(began.elapsed() < Duration::from_secs(3), "before the reply: {:?}", began.elapsed());
        wait_for("an interval", || fs::metadata(&log).is_ok_and(|log| log.len() > 0));
        sleeping.wait().expect("it ends");
        std::thread::sleep(Duration::from_millis(300));
        capture.end();
        let requests = &bed.summary()["requests"];
        assert_eq!((sum(&requests["timed_out"]), sum(&requests["late"])), (1, 1), "{interfaces}: {requests}");
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn an_interface_that_was_down_is_captured_again_when_it_is_up() {
    for (mode, workers) in [("af-packet", 1), ("af-packet", 2), ("copy", 1), ("copy", 2), ("generic", 1)] {
        let bed = Bed::up(&[]);
        let capture = bed.capture("tap", &format!("--interface t1 --mode {mode} --workers {workers}"));
        bed.client(SMALL);
        std::thread::sleep(Duration::from_millis(300));
        bed.ip("tap", "link set t1 down");
        bed.client(SMALL);
        std::thread::sleep(Duration::from_millis(300));
        bed.ip("tap", "link set t1 up");
        bed.client(SMALL);
        std::thread::sleep(Duration::from_millis(300));
        let said = capture.end();
        assert_eq!(said.matches("t1 is down").count(), 1, "{said}");
        let count = sum(&bed.summary()["commands"]["GET"]["count"]);
        // What came while it was down was not seen; what came before and after was.
        assert_eq!(count, 10_000, "{}", bed.summary()["requests"]);
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn an_interface_that_is_removed_ends_it_with_a_word_and_what_had_come() {
    for (options, arguments) in [
        (&[][..], "--interface t1 --mode af-packet"),
        (&[][..], "--interface t1 --mode af-packet --workers 2"),
        (&["--split"][..], "--interface t1 --interface u1 --mode af-packet"),
        (&[][..], "--interface t1 --mode copy"),
        (&["--split"][..], "--interface t1 --interface u1 --mode generic"),
    ] {
        let bed = Bed::up(options);
        let capture = bed.capture("tap", arguments);
        bed.client(SMALL);
        bed.ip("tap", "link del t1");
        let (status, said) = capture.ended();
        assert_eq!(status.code(), Some(1), "{said}");
        assert_eq!(said.matches("t1 is gone").count(), 1, "{said}");
        let requests = &bed.summary()["requests"];
        assert!(sum(&requests["total"]) >= 10_000 && requests["exact"] == requests["total"], "{arguments}: {requests}");
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn promiscuous_mode_and_xdp_program_are_gone_however_it_ends() {
    let bed = Bed::up(&[]);
    assert!(!bed.is_promiscuous("t1"));
    for (signal, mode) in ["INT", "KILL", "ABRT"].into_iter().flat_map(|signal| MODES.map(|mode| (signal, mode))) {
        let capture = bed.capture("tap", &format!("--interface t1 --mode {mode} --workers 2"));
        assert!(bed.is_promiscuous("t1"), "else frames for others would not be seen");
        assert_eq!(bed.has_program("t1"), mode != "af-packet");
        capture.signal(signal);
        capture.ended();
        assert!(!bed.is_promiscuous("t1"), "{mode} after {signal}");
        assert!(!bed.has_program("t1"), "{mode} after {signal}");
    }
}

/// CPU time of a process so far.
fn cpu_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name before may have spaces in it.
    let fields: Vec<&str> = text.rsplit_once(") ").expect("a name").1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks");
    Duration::from_millis(ticks * 10)
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn idle_it_costs_less_than_three_percent_of_a_core() {
    let bed = Bed::up(&["--split"]);
    for arguments in [
        "--interface t1 --mode af-packet --workers 2",
        "--interface t1 --interface u1 --mode af-packet --workers 2",
        "--interface t1 --mode copy --workers 2",
        "--interface t1 --interface u1 --mode generic --workers 2",
    ] {
        let capture = bed.capture("tap", arguments);
        std::thread::sleep(Duration::from_secs(2));
        let before = cpu_time(capture.child.id());
        std::thread::sleep(Duration::from_secs(5));
        let share = cpu_time(capture.child.id()).saturating_sub(before).as_secs_f64() / 5.0;
        assert!(share < 0.03, "{arguments}: {:.1} %", share * 100.0);
        capture.end();
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn without_the_capability_it_says_which_one_is_missing() {
    // nobody may not reach the build's folder.
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let program = folder.path().join("resptap");
    fs::copy(PROGRAM, &program).expect("a copy");
    success(Command::new("chmod").arg("755").arg(folder.path()).arg(&program));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
    let output = command.args(["capture", "--interface", "lo"]).output().expect("setpriv starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_NET_RAW") && said.contains("setcap cap_net_raw+ep"), "{said}");
}
