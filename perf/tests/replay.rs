//! Whether what the replayer sends arrives: every frame of a capture, each connection's in order, at the rate that was asked for,
//! and in the second loop with other addresses. Needs root (network namespaces), ip and tcpdump: `scripts/test` runs it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use resptap::capture::file::{FileSource, OpenOptions};
use resptap::capture::{Polled, Source};
use resptap::decode::decode;
use resptap::units::Endpoint;
use resptap_perf::generator::{Format, Plan, Profile, write};

/// Two namespaces and a cable, removed in the end.
struct Cable {
    prefix: String,
}

impl Cable {
    fn new() -> Cable {
        let cable = Cable { prefix: format!("rpl{}", std::process::id()) };
        let [one, other] = [cable.name("a"), cable.name("b")];
        for arguments in [
            format!("netns add {one}"),
            format!("netns add {other}"),
            format!("-n {one} link add out type veth peer name in netns {other}"),
            format!("-n {one} link set out addrgenmode none"),
            format!("-n {other} link set in addrgenmode none"),
            format!("-n {one} link set out up"),
            format!("-n {other} link set in up"),
        ] {
            let status = Command::new("ip").args(arguments.split(' ')).status();
            assert!(status.expect("ip runs").success(), "ip {arguments}");
        }
        cable
    }

    fn name(&self, end: &str) -> String {
        format!("{}-{end}", self.prefix)
    }

    fn command(&self, end: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(end), program]);
        command
    }

    /// Captures what arrives until so many packets have.
    fn receive(&self, packets: usize, into: &Path) -> Child {
        let mut command = self.command("b", "tcpdump");
        command
            .args(["-i", "in", "-Z", "root", "--immediate-mode", "-U", "-B", "65536", "-c"])
            .arg(packets.to_string());
        let child = command.arg("-w").arg(into).stderr(Stdio::null()).spawn().expect("tcpdump runs");
        // It says nothing of when it has begun but by the file.
        let since = Instant::now();
        while !into.metadata().is_ok_and(|file| file.len() >= 24) {
            assert!(since.elapsed() < Duration::from_secs(10), "tcpdump has not begun");
            sleep(Duration::from_millis(20));
        }
        child
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for end in ["a", "b"] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(end)]).status();
        }
    }
}

/// A capture's frames by connection, each in order.
fn frames(path: &Path) -> BTreeMap<(Endpoint, Endpoint), Vec<Vec<u8>>> {
    let mut source = FileSource::open(path, OpenOptions { mmap: true }).expect("it can be read");
    let mut by_connection: BTreeMap<_, Vec<_>> = BTreeMap::new();
    while let Polled::Frames(_) = source
        .poll(32, &mut |frame| {
            let segment = decode(&frame).expect("it is TCP");
            let ends = (segment.source.min(segment.destination), segment.source.max(segment.destination));
            by_connection.entry(ends).or_default().push(frame.bytes.to_vec());
        })
        .expect("it is whole")
    {}
    by_connection
}

/// Sends a capture, and answers where what arrived is, and what the replayer said.
fn replay(cable: &Cable, capture: &Path, packets: usize, arguments: &[&str]) -> (PathBuf, String) {
    let arrived = capture.with_extension("arrived");
    let _ = std::fs::remove_file(&arrived);
    let mut receiver = cable.receive(packets, &arrived);
    let mut command = cable.command("a", env!("CARGO_BIN_EXE_replay"));
    let output = command.arg(capture).args(["--interface", "out"]).args(arguments).output().expect("replay runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let since = Instant::now();
    while receiver.try_wait().expect("it can be waited for").is_none() {
        if since.elapsed() > Duration::from_secs(10) {
            receiver.kill().expect("it can be ended");
            panic!("not all of {packets} packets arrived");
        }
        sleep(Duration::from_millis(20));
    }
    (arrived, String::from_utf8(output.stdout).expect("it is text"))
}

fn number(text: &str, name: &str) -> f64 {
    let (_, rest) = text.split_once(&format!("\"{name}\":")).expect("it is there");
    rest.split([',', '}']).next().unwrap().parse().expect("it is a number")
}

#[test]
#[ignore = "needs root, ip and tcpdump: scripts/test runs it"]
fn what_is_sent_arrives_in_order_at_its_rate_and_with_other_addresses_in_the_next_loop() {
    let folder = std::env::temp_dir().join(format!("replay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is room for files");
    let capture = folder.join("capture");
    let plan = Plan { connections: 100, ipv6: 0.3, timestamps: true, ..Profile::T1.plan() };
    let file = File::create(&capture).expect("it can be created");
    let facts = write(&plan, 1, 2000, Format::Pcapng, std::io::BufWriter::new(file), None).expect("it can be written");
    let packets = facts.happened.packets as usize;
    let sent = frames(&capture);
    let cable = Cable::new();

    // Slowly: the kernel hands over a thousand frames or so to the other end of a cable, and drops what is more.
    for arguments in [&["--pps", "5000", "--threads", "3"][..], &["--bps", "8000000"]] {
        let (arrived, told) = replay(&cable, &capture, packets, arguments);
        assert!(frames(&arrived) == sent, "{arguments:?}");
        let [packets, bytes] = [facts.happened.packets, facts.happened.bytes];
        assert!(told.starts_with(&format!("{{\"packets\":{packets},\"bytes\":{bytes},")), "{told}");
        assert!(told.contains("\"errors\":0,"), "{told}");
        if let ["--pps", _, ..] = arguments {
            assert!((4000.0..5005.0).contains(&number(&told, "pps")), "{told}");
        }
        if let ["--bps", _] = arguments {
            assert!((6.4e6..8.04e6).contains(&number(&told, "bps")), "{told}");
        }
    }

    let (arrived, _) = replay(&cable, &capture, 2 * packets, &["--loops", "2", "--speed", "0.001"]);
    let twice = frames(&arrived);
    assert_eq!(twice.len(), 2 * sent.len(), "connections begin anew");
    for (ends, of) in &sent {
        assert!(twice.get(ends) == Some(of), "the first loop is the capture: {ends:?}");
    }
    drop(cable);
    let _ = std::fs::remove_dir_all(folder);
}
