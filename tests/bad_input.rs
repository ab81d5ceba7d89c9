//! Bad input and bad output: what `resptap` says, with which status it ends, and that it never panics.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const ETHERNET: u32 = 1;
/// What a capture of ours has: a handshake, then a PING and its PONG for each transaction.
const HANDSHAKE_PACKETS: usize = 3;

/// A pcap file of one connection with so many PINGs.
fn pcap(transactions: usize, link_type: u32) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, link_type] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for (number, frame) in frames(transactions).iter().enumerate() {
        let micros = 10 * number as u32;
        for word in [1_790_000_000, micros, frame.len() as u32, frame.len() as u32] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

/// The same as pcapng.
fn pcapng(transactions: usize) -> Vec<u8> {
    let mut file = Vec::new();
    block(&mut file, 0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    block(&mut file, 1, &[&(ETHERNET as u16).to_le_bytes()[..], &[0, 0], &262_144_u32.to_le_bytes()].concat());
    for (number, frame) in frames(transactions).iter().enumerate() {
        let micros = 1_790_000_000_000_000_u64 + 10 * number as u64;
        let mut body = Vec::new();
        for word in [0, (micros >> 32) as u32, micros as u32, frame.len() as u32, frame.len() as u32] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.extend_from_slice(frame);
        block(&mut file, 6, &body);
    }
    file
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = 12 + body.len().next_multiple_of(4) as u32;
    file.extend_from_slice(&kind.to_le_bytes());
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(body);
    file.resize(file.len().next_multiple_of(4), 0);
    file.extend_from_slice(&length.to_le_bytes());
}

fn frames(transactions: usize) -> Vec<Vec<u8>> {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let (request, reply) = (&b"*1\r\n$4\r\nPING\r\n"[..], &b"+PONG\r\n"[..]);
    let mut frames = vec![
        frame(true, 999, 0, SYN, b""),
        frame(false, 4_999, 1_000, SYN | ACK, b""),
        frame(true, 1_000, 5_000, ACK, b""),
    ];
    assert_eq!(frames.len(), HANDSHAKE_PACKETS);
    let (mut client, mut server) = (1_000, 5_000);
    for _ in 0..transactions {
        frames.push(frame(true, client, server, ACK, request));
        client += request.len() as u32;
        frames.push(frame(false, server, client, ACK, reply));
        server += reply.len() as u32;
    }
    frames
}

fn frame(from_client: bool, sequence: u32, acknowledged: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend_from_slice(&[8, 0]);
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&(40 + payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
    let ends = [([10, 0, 0, 1], 40_000_u16), ([10, 0, 0, 2], 6379)];
    let (source, destination) = if from_client { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
    frame.extend_from_slice(&source.0);
    frame.extend_from_slice(&destination.0);
    frame.extend_from_slice(&source.1.to_be_bytes());
    frame.extend_from_slice(&destination.1.to_be_bytes());
    frame.extend_from_slice(&sequence.to_be_bytes());
    frame.extend_from_slice(&acknowledged.to_be_bytes());
    frame.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend_from_slice(payload);
    frame
}

/// A directory with files of the test's making, and `resptap` run in it.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("the file is written");
        path
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resptap"));
        command.current_dir(self.directory.path()).arg("read").stdin(Stdio::null());
        command
    }

    /// Runs `resptap read` and gives status, standard error and the summary, if there is one.
    fn read(&self, arguments: &[&str]) -> Run {
        let summary = self.path("summary.json");
        let _ = fs::remove_file(&summary);
        let output =
            self.command().args(["--summary", "summary.json"]).args(arguments).output().expect("resptap starts");
        let run = Run::of(&output);
        let summary = fs::read_to_string(summary).ok().filter(|text| !text.is_empty());
        Run { summary: summary.map(|text| serde_json::from_str(&text).expect("a summary that is JSON")), ..run }
    }
}

#[derive(Debug)]
struct Run {
    status: i32,
    /// In lower case.
    errors: String,
    summary: Option<Value>,
}

impl Run {
    fn of(output: &Output) -> Run {
        let errors = String::from_utf8_lossy(&output.stderr).to_lowercase();
        let status = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}\n{errors}", output.status));
        assert!(!errors.contains("panicked"), "{errors}");
        assert_ne!(status, 101, "{errors}");
        Run { status, errors, summary: None }
    }

    /// Ended with this status, and said these words (lower case).
    #[track_caller]
    fn says(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for word in words {
            assert!(self.errors.contains(word), "{word:?} is missing in: {}", self.errors);
        }
    }

    #[track_caller]
    fn exact(&self) -> u64 {
        let summary = self.summary.as_ref().unwrap_or_else(|| panic!("no summary: {self:?}"));
        summary["requests"]["exact"].as_u64().expect("requests.exact")
    }
}

#[test]
fn a_sound_capture_is_read_without_complaint() {
    let bench = Bench::new();
    for bytes in [pcap(5, ETHERNET), pcapng(5)] {
        bench.file("sound", &bytes);
        let run = bench.read(&["sound"]);
        run.says(0, &[]);
        assert_eq!(run.exact(), 5);
    }
}

#[test]
fn a_missing_file_is_named() {
    Bench::new().read(&["no-such-file.pcap"]).says(1, &["no-such-file.pcap", "no such file"]);
}

#[test]
fn a_directory_is_called_one() {
    let bench = Bench::new();
    fs::create_dir(bench.path("captures")).unwrap();
    bench.read(&["captures"]).says(1, &["captures", "directory"]);
}

#[test]
fn an_empty_file_is_called_empty() {
    let bench = Bench::new();
    bench.file("nothing.pcap", b"");
    bench.read(&["nothing.pcap"]).says(1, &["nothing.pcap", "empty"]);
    bench.read(&["-"]).says(1, &["standard input", "empty"]);
}

#[test]
fn a_file_that_is_no_capture_is_refused() {
    let bench = Bench::new();
    bench.file("notes.txt", &b"Dear diary, today I captured nothing.\n".repeat(100));
    bench.file("short.txt", b"abc");
    bench.file("gzipped.txt.gz", &gzip(b"not a capture either, although it is well compressed"));
    for name in ["notes.txt", "short.txt", "gzipped.txt.gz"] {
        bench.read(&[name]).says(1, &[name, "capture"]);
    }
}

#[test]
fn an_unsupported_link_type_is_named() {
    let bench = Bench::new();
    bench.file("wlan.pcap", &pcap(1, 105));
    bench.read(&["wlan.pcap"]).says(1, &["wlan.pcap", "link type", "105"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_was_readable_of_a_file_cut_short_is_reported() {
    let bench = Bench::new();
    for (name, bytes) in [("cut.pcap", pcap(10, ETHERNET)), ("cut.pcapng", pcapng(10))] {
        bench.file(name, &bytes[..bytes.len() - 3]);
        for arguments in [&[name][..], &["--no-mmap", name], &["--workers", "2", name]] {
            let run = bench.read(arguments);
            run.says(1, &[name, "cut short"]);
            assert_eq!(run.exact(), 9, "all but the transaction whose reply was cut off");
        }
    }
}

#[test]
fn a_compressed_or_piped_file_cut_short_is_reported_too() {
    let bench = Bench::new();
    let whole = pcap(2000, ETHERNET);
    let zipped = gzip(&whole);
    bench.file("cut.gz", &zipped[..zipped.len() * 3 / 4]);
    let packed = zstd::encode_all(&whole[..], 1).unwrap();
    bench.file("cut.zst", &packed[..packed.len() - 5]);
    bench.file("zipped-cut.gz", &gzip(&whole[..whole.len() - 3]));
    for name in ["cut.gz", "cut.zst", "zipped-cut.gz"] {
        let run = bench.read(&[name]);
        run.says(1, &[name, "cut short"]);
        assert!(run.exact() < 2000, "{name}: {}", run.exact());
    }
    assert_eq!(bench.read(&["zipped-cut.gz"]).exact(), 1999);

    let cut = fs::File::open(bench.file("cut.pcap", &whole[..whole.len() - 3])).unwrap();
    let output = bench.command().args(["--summary", "s.json", "-"]).stdin(cut).output().unwrap();
    Run::of(&output).says(1, &["standard input", "cut short"]);
}

#[test]
fn wherever_a_file_is_cut_what_stands_before_is_analysed() {
    let bench = Bench::new();
    for whole in [pcap(3, ETHERNET), pcapng(3)] {
        let mut exact_before = 0;
        for end in (1..whole.len()).step_by(5) {
            bench.file("cut", &whole[..end]);
            let run = bench.read(&["cut"]);
            assert!(run.status <= 1, "{run:?}");
            let exact = run.summary.as_ref().map_or(0, |_| run.exact());
            assert!(exact >= exact_before && exact <= 3, "{end} of {} bytes: {run:?}", whole.len());
            exact_before = exact;
        }
        assert!(exact_before >= 2, "nearly all of the file has been read in the end");
    }
}

#[test]
fn an_absurd_length_ends_the_file_without_a_large_allocation() {
    let bench = Bench::new();
    let sound_packets = HANDSHAKE_PACKETS + 2 * 4;
    let mut cases = Vec::new();
    for length in [u32::MAX, 0xffff_fff0, 0x7fff_ffff, 300_000_000] {
        let mut file = pcap(4, ETHERNET);
        file.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&[0; 64]);
        cases.push(file);
    }
    for length in [u32::MAX, 0xffff_fffc, 0x7fff_fffc, 0, 4, 8, 13] {
        let mut file = pcapng(4);
        file.extend_from_slice(&6_u32.to_le_bytes());
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&[0; 64]);
        cases.push(file);
    }
    for bytes in cases {
        bench.file("absurd", &bytes);
        for arguments in [&["absurd"][..], &["--no-mmap", "absurd"]] {
            // Address space is limited: an allocation by the declared length would fail.
            let shell = "ulimit -v 3000000; exec \"$0\" read --memory 64MiB --summary summary.json \"$@\"";
            let mut command = Command::new("bash");
            command
                .current_dir(bench.directory.path())
                .args(["-c", shell, env!("CARGO_BIN_EXE_resptap")])
                .args(arguments);
            Run::of(&command.output().unwrap()).says(1, &["absurd"]);
            let summary: Value =
                serde_json::from_str(&fs::read_to_string(bench.path("summary.json")).unwrap()).unwrap();
            assert_eq!(summary["requests"]["exact"], 4, "what stood before it was analysed");
            assert_eq!(summary["packets"]["seen"], sound_packets);
        }
    }
}

#[test]
fn nonsense_after_a_sound_beginning_is_no_reason_to_panic() {
    let bench = Bench::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..150 {
        let mut bytes = if round % 2 == 0 { pcap(3, ETHERNET) } else { pcapng(3) };
        for _ in 0..=round % 8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = 24 + (state >> 33) as usize % (bytes.len() - 24);
            bytes[at] = (state >> 20) as u8;
        }
        bench.file("nonsense", &bytes);
        let run = bench.read(&["--timeout", "1s", "nonsense"]);
        assert!(run.status <= 1, "{run:?}");
    }
}

#[test]
fn an_unknown_option_is_answered_with_the_nearest() {
    let bench = Bench::new();
    bench.file("sound", &pcap(1, ETHERNET));
    bench.read(&["--wokers", "2", "sound"]).says(2, &["--wokers", "--workers"]);
    bench.read(&[]).says(2, &["file"]);
}

#[test]
fn an_unknown_configuration_key_is_answered_with_the_nearest() {
    let bench = Bench::new();
    bench.file("sound", &pcap(1, ETHERNET));
    bench.file("resptap.toml", b"wokers = 2\n");
    bench.read(&["--config", "resptap.toml", "sound"]).says(2, &["resptap.toml", "wokers", "workers"]);
    bench.file("resptap.toml", b"workers = = 2\n");
    bench.read(&["--config", "resptap.toml", "sound"]).says(2, &["resptap.toml"]);
    bench.read(&["--config", "absent.toml", "sound"]).says(2, &["absent.toml"]);
}

#[test]
fn a_value_of_the_wrong_form_is_refused() {
    let bench = Bench::new();
    bench.file("sound", &pcap(1, ETHERNET));
    for (option, value) in [
        ("--workers", "many"),
        ("--port", "70000"),
        ("--payload", "everything"),
        ("--timeout", "soon"),
        ("--memory", "lots"),
        ("--sink", "carrierpigeon:somewhere"),
        ("--sample", "2/1"),
        ("--client", "10.0.0.0/99"),
    ] {
        bench.read(&[option, value, "sound"]).says(2, &[option, value]);
    }
}

/// Waits for a process that must end by itself, and soon.
fn ends_soon(mut child: std::process::Child) -> Output {
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("still waiting for its input after 20 s");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut stderr = Vec::new();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status, stdout: Vec::new(), stderr }
}

#[test]
fn an_output_that_cannot_be_written_is_found_before_any_work() {
    let bench = Bench::new();
    fs::create_dir(bench.path("folder")).unwrap();
    for (option, value, path) in [
        ("--sink", "jsonl:absent/records.jsonl", "absent/records.jsonl"),
        ("--sink", "jsonl:folder", "folder"),
        ("--summary", "absent/summary.json", "absent/summary.json"),
        ("--hist-log", "absent/latency.hlog", "absent/latency.hlog"),
    ] {
        // The input never ends: whoever waits for it has begun to work.
        let mut command = bench.command();
        command.args([option, value, "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        Run::of(&ends_soon(child)).says(1, &[path]);
        drop(input);
    }
}

#[test]
fn a_full_disk_is_reported_with_the_bytes_that_were_written() {
    let bench = Bench::new();
    bench.file("sound", &pcap(5000, ETHERNET));
    bench.read(&["--sink", "jsonl:/dev/full", "sound"]).says(1, &["/dev/full", "0 bytes", "no space left"]);
    bench.read(&["--hist-log", "/dev/full", "sound"]).says(1, &["/dev/full", "no space left"]);
    let output = bench.command().args(["--summary", "/dev/full", "sound"]).output().unwrap();
    Run::of(&output).says(1, &["/dev/full", "no space left"]);

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = bench.command().args(["--sink", "jsonl:-", "sound"]).stdout(full).output().unwrap();
    Run::of(&output).says(1, &["standard output", "no space left"]);
}

#[test]
fn a_disk_that_fills_up_while_writing_is_reported_with_the_bytes_that_were_written() {
    let bench = Bench::new();
    bench.file("sound", &pcap(5000, ETHERNET));
    // A limit on the size of files, in KiB, stands in for the size of a disk.
    let shell = "trap '' XFSZ; ulimit -f 200; exec \"$0\" read --sink jsonl:records.jsonl sound";
    let mut command = Command::new("bash");
    command.current_dir(bench.directory.path()).args(["-c", shell, env!("CARGO_BIN_EXE_resptap")]);
    let run = Run::of(&command.output().unwrap());
    let written = fs::metadata(bench.path("records.jsonl")).unwrap().len();
    assert_eq!(written, 200 << 10, "the disk did fill up");
    run.says(1, &["records.jsonl", &format!("{written} bytes")]);
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let bench = Bench::new();
    bench.file("sound", &pcap(5000, ETHERNET));
    let mut command = bench.command();
    command.args(["--sink", "jsonl:-", "sound"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(first[0], b'{');
    let output = ends_soon(child);
    assert!(output.status.code().is_some_and(|status| status <= 1), "{}", output.status);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let bench = Bench::new();
    bench.file("sound", &pcap(20_000, ETHERNET));
    for output in [&["--sink", "jsonl:-"][..], &["--summary", "-"], &[]] {
        let mut command = bench.command();
        command.args(output).arg("sound").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let run = Run::of(&ends_soon(child));
        assert!(!run.errors.contains("broken pipe") && run.status == 0, "{output:?}: {run:?}");
    }
}

#[test]
fn a_cause_is_named_once() {
    let bench = Bench::new();
    bench.file("sound", &pcap(1, ETHERNET));
    for (option, value) in [("--sink", "jsonl:absent/records.jsonl"), ("--hist-log", "absent/latency.hlog")] {
        let run = bench.read(&[option, value, "sound"]);
        assert_eq!(run.errors.matches("no such file").count(), 1, "{run:?}");
    }
}

#[test]
fn a_capture_of_another_port_is_answered_with_that_port() {
    let bench = Bench::new();
    bench.file("other.pcap", &pcap(3, ETHERNET));
    let output = bench.command().args(["--port", "6380,7000-7005", "other.pcap"]).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("NO REDIS REQUESTS WERE FOUND\n  No packet is to or from ports 6380, 7000-7005."),
        "{table}"
    );
    assert!(table.contains("try --port 6379."), "{table}");
}

/// Sends a signal to a child of ours.
fn signal(child: &std::process::Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_signal_ends_the_reading_in_good_order() {
    let bench = Bench::new();
    let whole = pcap(2000, ETHERNET);
    for (name, status) in [("INT", 0), ("TERM", 1)] {
        let mut command = bench.command();
        command.args(["--sink", "jsonl:records.jsonl", "--summary", "summary.json", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // The pipe holds less than this: when all is written, the reading has begun.
        input.write_all(&whole[..whole.len() / 16 * 15]).unwrap();
        signal(&child, name);
        // Whoever is told to end by SIGTERM need not take the rest.
        let _ = input.write_all(&whole[whole.len() / 16 * 15..]);
        drop(input);
        Run::of(&ends_soon(child)).says(status, &[]);
        let summary: Value = serde_json::from_str(&fs::read_to_string(bench.path("summary.json")).unwrap()).unwrap();
        let total = summary["requests"]["total"].as_u64().unwrap();
        let records = fs::read_to_string(bench.path("records.jsonl")).unwrap();
        assert!(records.ends_with("}\n") && records.lines().count() as u64 == total, "no record is cut");
        assert!(if name == "INT" { total == 2000 } else { total > 0 }, "{name}: {total}");
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let bench = Bench::new();
    let mut command = bench.command();
    let mut child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // More than the pipe holds, and no end: the reading has begun and waits.
    input.write_all(&pcap(2000, ETHERNET)).unwrap();
    let status = (0..500).find_map(|_| {
        signal(&child, "INT");
        std::thread::sleep(Duration::from_millis(20));
        child.try_wait().unwrap()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(130), "as shells tell of an interrupt");
}
