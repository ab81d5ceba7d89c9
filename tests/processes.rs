//! `--processes` on live traffic: a real redis-server and its clients on the loopback of a network namespace of their own,
//! tcpdump's output piped into `resptap read -` in the same namespace.
//!
//! Needs root, ip, redis-server, redis-cli, python3 and tcpdump, so these tests are ignored by a plain `cargo test`;
//! `scripts/test` installs what they need and runs them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Ends a child when the test does, however it does.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}")))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("its output is piped")
    }

    fn stderr(&mut self) -> ChildStderr {
        self.0.stderr.take().expect("its errors are piped")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace with a loopback, a redis-server in it, and a tcpdump that captures what both say.
struct Host {
    name: String,
    server: Running,
    // Dropped after the server, which writes there.
    _directory: TempDir,
}

impl Host {
    fn new() -> Host {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("resptap{}-proc{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        success(Command::new("ip").args(["netns", "add", &name]));
        success(Command::new("ip").args(["-n", &name, "link", "set", "lo", "up"]));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = inside(&name, "redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(directory.path()).stdout(Stdio::null());
        let host = Host { server: Running::start(&mut command), name, _directory: directory };
        wait_for("redis-server", || {
            let answer = host.command("redis-cli").arg("ping").output().expect("redis-cli starts");
            answer.stdout == b"PONG\n"
        });
        host
    }

    /// A command in the namespace; `ip netns exec` becomes it, so its pid is the child's.
    fn command(&self, program: &str) -> Command {
        inside(&self.name, program)
    }

    /// tcpdump and resptap behind it.
    fn watch(&self, arguments: &[&str]) -> Watch {
        let mut tcpdump = Running::start(
            self.command("tcpdump")
                .args(["-i", "lo", "-U", "--immediate-mode", "-Z", "root", "-w", "-", "tcp port 6379"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut errors = BufReader::new(tcpdump.stderr());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).expect("text") > 0, "tcpdump has ended");
        }
        let capture = Stdio::from(tcpdump.stdout());
        let mut command = self.command(env!("CARGO_BIN_EXE_resptap"));
        command.args(["read", "-", "--sink", "jsonl:-", "--summary", "/dev/null"]).args(arguments).stdin(capture);
        let resptap = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        Watch { tcpdump, resptap, _errors: errors }
    }

    /// A client that stays connected: python3, which answers each line with what it got for a PING.
    fn client(&self) -> Client {
        let program = "import socket, sys\n\
                       s = socket.create_connection(('127.0.0.1', 6379))\n\
                       for line in sys.stdin:\n\
                       \x20   s.sendall(b'PING\\r\\n')\n\
                       \x20   print(s.recv(100), flush=True)\n";
        let mut command = self.command("python3");
        command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = Running::start(&mut command);
        Client { output: BufReader::new(python.stdout()), python }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

struct Client {
    python: Running,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn ping(&mut self) {
        let input = self.python.0.stdin.as_mut().expect("its input is piped");
        input.write_all(b"\n").expect("it reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        assert!(line.contains("PONG"), "{line:?}");
    }
}

struct Watch {
    tcpdump: Running,
    resptap: Running,
    /// Kept open, so that tcpdump can say goodbye.
    _errors: BufReader<ChildStderr>,
}

impl Watch {
    /// Ends the capture; the records, and what was said on standard error.
    fn finish(mut self) -> (Vec<Value>, String) {
        // What the kernel has captured reaches tcpdump at once, and resptap soon after.
        sleep(Duration::from_millis(300));
        success(Command::new("kill").args(["-INT", &self.tcpdump.pid().to_string()]));
        let (mut records, mut errors) = (String::new(), String::new());
        self.resptap.stdout().read_to_string(&mut records).expect("text");
        self.resptap.stderr().read_to_string(&mut errors).expect("text");
        let status = self.resptap.0.wait().expect("it ends");
        assert!(status.success(), "{status}: {errors}");
        (records.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect(), errors)
    }
}

/// `ip netns exec` without the change of mounts and without a shell: the program replaces it and keeps its pid.
fn inside(name: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", PathBuf::from("/var/run/netns").join(name).display())).arg(program);
    command
}

fn success(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn wait_for(what: &str, mut is_ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_ready() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}: not ready after ten seconds");
        sleep(Duration::from_millis(20));
    }
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).expect("it runs").trim_end().to_owned()
}

#[test]
#[ignore = "needs root, ip, redis-server, python3 and tcpdump: scripts/test runs it"]
fn redis_server_and_its_clients_are_named_from_their_first_record_on() {
    let host = Host::new();
    for workers in ["1", "2"] {
        let watch = host.watch(&["--processes", "--workers", workers]);
        let mut clients = [host.client(), host.client()];
        for client in &mut clients {
            (0..3).for_each(|_| client.ping());
        }
        let server = json!({"name": "redis-server", "pid": host.server.pid()});
        let expected =
            clients.each_ref().map(|client| json!({"name": comm(client.python.pid()), "pid": client.python.pid()}));
        // When the records are written the clients have gone: they were asked for when their connections began.
        sleep(Duration::from_millis(300));
        drop(clients);
        let (records, errors) = watch.finish();
        assert_eq!(records.len(), 6, "{workers} workers");
        for record in &records {
            assert_eq!(
                (&record["destination"]["process"], &record["server"]["process"]),
                (&server, &server),
                "{record}"
            );
            assert!(expected.contains(&record["source"]["process"]), "{workers} workers: {record}");
            assert_eq!(record["source"], record["client"]);
        }
        for client in &expected {
            assert_eq!(records.iter().filter(|record| record["source"]["process"] == *client).count(), 3);
        }
        assert_eq!(errors, "", "nothing to complain of");
    }
}

#[test]
#[ignore = "needs root, ip, redis-server, redis-cli and tcpdump: scripts/test runs it"]
fn ends_that_have_vanished_cost_nothing_and_break_nothing() {
    let mut host = Host::new();
    let capture = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut tcpdump = Running::start(
        host.command("tcpdump")
            .args(["-i", "lo", "-U", "--immediate-mode", "-Z", "root", "-w"])
            .arg(capture.path())
            .arg("tcp port 6379")
            .stderr(Stdio::piped()),
    );
    let mut errors = BufReader::new(tcpdump.stderr());
    let mut line = String::new();
    errors.read_line(&mut line).expect("text");
    for _ in 0..200 {
        success(host.command("redis-cli").arg("ping").stdout(Stdio::null()));
    }
    sleep(Duration::from_millis(300));
    success(Command::new("kill").args(["-INT", &tcpdump.pid().to_string()]));
    let _ = tcpdump.0.wait();

    let read = |host: &Host, arguments: &[&str]| {
        let begin = Instant::now();
        let mut command = host.command(env!("CARGO_BIN_EXE_resptap"));
        command.args(["read", "--sink", "jsonl:-", "--summary", "/dev/null"]).args(arguments).arg(capture.path());
        let output = command.output().expect("resptap starts");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        (String::from_utf8(output.stdout).expect("text"), begin.elapsed())
    };
    let (plain, plain_time) = read(&host, &[]);
    assert_eq!(plain.lines().count(), 200);
    // The clients have gone; the server still listens.
    let (records, time) = read(&host, &["--processes"]);
    assert_eq!(records.lines().count(), 200);
    for record in records.lines() {
        let record: Value = serde_json::from_str(record).expect("a record is JSON");
        assert_eq!(record["server"]["process"]["pid"], host.server.pid());
        assert_eq!(record["client"].get("process"), None);
    }
    assert!(time < plain_time + Duration::from_millis(500), "{time:?}, without processes {plain_time:?}");
    // Nobody is there any more.
    let _ = host.server.0.kill();
    let _ = host.server.0.wait();
    let (records, time) = read(&host, &["--processes"]);
    assert_eq!(records, plain);
    assert!(time < plain_time + Duration::from_millis(500), "{time:?}, without processes {plain_time:?}");
}

#[test]
#[ignore = "needs root, ip, redis-server, python3, tcpdump and setpriv: scripts/test runs it"]
fn without_permission_there_is_one_warning_that_says_what_is_needed() {
    let host = Host::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    // nobody may not reach the build's folder.
    let program = directory.path().join("resptap");
    fs::copy(env!("CARGO_BIN_EXE_resptap"), &program).expect("a copy");
    success(Command::new("chmod").arg("-R").arg("a+rX").arg(directory.path()));
    let capture = directory.path().join("capture.pcap");
    let mut tcpdump = Running::start(
        host.command("tcpdump")
            .args(["-i", "lo", "-U", "--immediate-mode", "-Z", "root", "-w"])
            .arg(&capture)
            .arg("tcp port 6379")
            .stderr(Stdio::piped()),
    );
    let mut line = String::new();
    BufReader::new(tcpdump.stderr()).read_line(&mut line).expect("text");
    let mut clients = [host.client(), host.client()];
    clients.iter_mut().for_each(Client::ping);
    sleep(Duration::from_millis(300));
    success(Command::new("chmod").arg("a+r").arg(&capture));
    let mut command = host.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(&program).args(["read", "--processes", "--sink", "jsonl:-", "--summary", "/dev/null"]).arg(&capture);
    let output = command.output().expect("setpriv starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("--processes: ").count(), 1, "{errors}");
    assert!(
        errors.contains("run as root, or with the capabilities CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
        "{errors}"
    );
    let records = String::from_utf8(output.stdout).expect("text");
    assert!(records.lines().count() >= 2 && !records.contains("\"process\""), "{records}");
}
