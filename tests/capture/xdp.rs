//! What is particular to AF_XDP: what its program keeps and takes away, its queues, its stamps, and what is said where it can't be
//! had.

use std::collections::HashMap;
use std::io::BufWriter;

use resptap::capture::LinkType;
use resptap::capture::write::PcapWriter;
use resptap::units::Timestamp;

use super::*;
use common::Random;
use common::encapsulate::{STEPS, Step, encapsulate, random_nest};
use common::traffic::{Style, scene};

/// As `BENCHMARK`, but smaller values of one client: the packets of larger ones would overrun the mirror port.
const LOAD: &str = "B='redis-benchmark -h 10.77.0.2 -q'; \
     $B -n 100000 -c 50 -t set,get >/dev/null; $B -n 100000 -c 50 -P 16 -t set,get -r 1000 >/dev/null; \
     $B -n 500 -c 1 -d 20000 -t set,get >/dev/null";

/// What became of the packets that the switch mirrored, as the kernel counts them; a train of segments counts as so many.
#[derive(Debug)]
struct Mirrored {
    /// Packets that passed the server's port: each is mirrored.
    passed: u64,
    /// Packets that left the queues of the mirror ports.
    sent: u64,
    /// Packets that the cables to the tap could not take. Where an XDP program runs in its driver, a veth interface holds 256
    /// packets. From Linux 6.16 on more wait on the switch (`scripts/bed`); before, what comes until the kernel gets to run on a
    /// busy machine is lost, as on a wire, before anybody could see it.
    overran: u64,
}

impl Mirrored {
    fn of(bed: &Bed, mirrors: &[&str]) -> Mirrored {
        let packets = |port: &str, kind: &str| {
            let output = success(bed.inside("sw", "tc").args(["-s", "-j", "qdisc", "show", "dev", port]));
            let queues: Vec<Value> = serde_json::from_slice(&output.stdout).expect("queues as JSON");
            let queue = queues.iter().find(|queue| queue["kind"] == kind).expect("`scripts/bed` made it");
            sum(&queue["packets"])
        };
        let overran = |mirror: &&str| {
            let path = format!("/sys/class/net/{mirror}/statistics/tx_dropped");
            let output = success(bed.inside("sw", "cat").arg(path));
            String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().expect("a count")
        };
        Mirrored {
            passed: packets("s1", "clsact"),
            sent: mirrors.iter().map(|mirror| packets(mirror, "pfifo")).sum(),
            overran: mirrors.iter().map(overran).sum(),
        }
    }

    /// Packets that the switch lost, before they came to the tap.
    fn lost(&self) -> u64 {
        self.passed.saturating_sub(self.sent) + self.overran
    }
}

/// Segments that the client or the server sent again, as their kernels count them.
fn sent_again(bed: &Bed) -> u64 {
    let count = |place: &&str| {
        let output = success(bed.inside(place, "cat").arg("/proc/net/snmp"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, counts) = (tcp.next().expect("names"), tcp.next().expect("counts"));
        let place = names.split(' ').position(|name| name == "RetransSegs").expect("it is counted");
        counts.split(' ').nth(place).expect("as many").parse::<u64>().expect("a count")
    };
    ["cli", "srv"].iter().map(count).sum()
}

/// A load and `scripts/traffic`, all of it seen by a capture at the tap, in a bed that delivers all of it.
fn all_is_seen(options: &[&str], mirrors: &[&str], prepare: impl Fn(&Bed), arguments: &str) -> Value {
    for _ in 0..6 {
        let bed = Bed::up(options);
        prepare(&bed);
        let summary = load_passes(&bed, "tap", arguments, LOAD);
        // Bytes that did not come to their receiver either, for longer than a capture waits, as the hosts know who sent them again:
        // the cables are overrun, too. What the capture itself drops is no excuse.
        let by = |who: &str| sum(&summary["packets"][who]);
        let unacknowledged = sum(&summary["packets"]["gap_bytes_by"]["network"]);
        let was_sent_again = sent_again(&bed) > 0;
        let cables_lost =
            was_sent_again && unacknowledged > 0 && by("gap_bytes") == unacknowledged && by("capture_drops") == 0;
        // Where the capture did not get to run for so long that its ring was nearly full.
        let was_shed = sum(&summary["packets"]["shed"]["packets"]) > 0;
        let mirrored = Mirrored::of(&bed, mirrors);
        // What the tap's interface dropped is told there, but is no excuse: a capture may be why, and has to count it then.
        println!("{mirrored:?}; {}; {}", summary["packets"], summary["input"]);
        if mirrored.lost() == 0 && !cables_lost && !was_shed {
            return bed.assert_all_seen(arguments);
        }
        println!("a mirror port or a cable was overrun, or the capture was busy: once more");
    }
    panic!("this machine is too busy: the mirror port, a cable, or the capture was overrun in each of six tries")
}

/// Holds an interface's account together: whatever the XDP program kept was received, or counted where it was lost; and nothing
/// was lost. Answers the packets of each queue.
fn queues_of(interface: &Value) -> Vec<u64> {
    let queues = interface["queues"].as_array().expect("queues");
    for queue in queues {
        let count = |name: &str| sum(&queue[name]);
        let xdp = |name: &str| sum(&queue["xdp"][name]);
        let kept = xdp("kept") + xdp("fragments") + xdp("undecided");
        let told = count("packets") + count("left") + count("ring_full") + count("dropped");
        assert_eq!(kept, told, "{queue}");
        assert_eq!(count("ring_full") + count("dropped") + count("left") + xdp("no_socket"), 0, "{queue}");
        assert_eq!(xdp("unstamped"), 0, "{queue}");
    }
    queues.iter().map(|queue| sum(&queue["packets"])).collect()
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn an_xdp_program_at_a_mirror_port_shows_every_request() {
    for (bed, mode, queues, workers) in [
        (&["--queues", "1"][..], "copy", 1, 1),
        (&["--queues", "1"], "copy", 1, 2),
        (&[], "copy", 2, 1),
        (&[], "copy", 2, 2),
        (&["--symmetric"], "copy", 2, 2),
        (&["--symmetric"], "generic", 2, 1),
        (&[], "generic", 2, 2),
    ] {
        let arguments = format!("--interface t1 --mode {mode} --workers {workers}");
        let summary = all_is_seen(bed, &["t0"], |_| (), &arguments);
        let interface = &summary["input"]["interfaces"][0];
        assert_eq!((&interface["mode"], &interface["why"]), (&mode.into(), &"asked for".into()));
        let packets = queues_of(interface);
        assert_eq!(packets.len(), queues);
        // Connections split over the queues of the driver, half of each on the other one; behind it everything comes to the first.
        let busy = if mode == "copy" { queues } else { 1 };
        assert_eq!(packets.iter().filter(|&&packets| packets > 1000).count(), busy, "{packets:?}");
        // Whatever queues they came on, connections are spread over the workers by the program: nothing was passed on.
        let of_workers = summary["workers"].as_array().expect("workers").iter();
        assert!(
            of_workers.clone().count() == workers && of_workers.clone().all(|of| sum(&of["requests"]["total"]) > 1000)
        );
        let packets = &summary["packets"];
        assert_eq!(sum(&packets["steered"]), 0, "{packets}");
        assert!(sum(&packets["time_backwards"]) * 1000 <= sum(&packets["seen"]), "{packets}");
        assert!(summary["resptap"]["clock"].as_str().is_some_and(|clock| clock.contains("XDP program")));
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn xdp_programs_at_a_passive_tap_show_every_request() {
    for mode in ["copy", "generic"] {
        let arguments = format!("--interface t1 --interface u1 --mode {mode} --workers 2");
        let summary = all_is_seen(&["--split"], &["t0", "u0"], |_| (), &arguments);
        let interfaces = summary["input"]["interfaces"].as_array().expect("interfaces");
        assert_eq!(interfaces.len(), 2);
        for interface in interfaces {
            assert!(queues_of(interface).into_iter().sum::<u64>() > 10_000, "{interface}");
        }
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn frames_longer_than_a_piece_of_memory_are_put_together() {
    let jumbo = |bed: &Bed| {
        for (place, interfaces) in
            [("cli", &["c0"][..]), ("srv", &["s0"]), ("sw", &["c1", "s1", "t0", "br0"]), ("tap", &["t1"])]
        {
            for interface in interfaces {
                bed.ip(place, &format!("link set {interface} mtu 9000"));
            }
        }
    };
    let summary = all_is_seen(&[], &["t0"], jumbo, "--interface t1 --mode copy");
    queues_of(&summary["input"]["interfaces"][0]);
    let packets = &summary["packets"];
    // 2 × 500 values of 20,000 bytes: in frames of up to 9,014 bytes.
    assert!(sum(&packets["bytes"]) > 12_000_000 && sum(&packets["gap_bytes"]) == 0, "{packets}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn auto_takes_the_best_way_of_an_interface_that_is_nobodys_and_says_why() {
    let bed = Bed::up(&[]);
    bed.info("before.txt");
    let capture = bed.capture("tap", "--interface t1");
    bed.client(SMALL);
    std::thread::sleep(Duration::from_millis(300));
    let said = capture.end();
    let why = "not zero-copy: the driver of t1 can't hand over frames without copying them";
    assert!(said.contains("t1: copy (not zero-copy") && said.contains("t1 by AF_XDP (copy)"), "{said}");
    let summary = bed.assert_all_seen("auto");
    let interface = &summary["input"]["interfaces"][0];
    assert_eq!(interface["mode"], "copy");
    assert!(interface["why"].as_str().is_some_and(|said| said.starts_with(why)), "{interface}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn what_the_host_uses_is_consumed_only_where_that_is_said() {
    let bed = Bed::up(&[]);
    let mut refused = bed.inside("srv", PROGRAM);
    let output = refused.args(["capture", "--interface", "s0", "--mode", "copy"]).output().expect("resptap starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("s0 is the host's own (it has the address 10.77.0.2)"), "{said}");
    assert!(said.contains("--consume"), "{said}");

    // A port that nobody listens on refuses at once, if it hears of the question.
    let asks = |port: u16| {
        let ask = format!("s=0; timeout 1 bash -c '</dev/tcp/10.77.0.2/{port}' 2>/dev/null || s=$?; echo $s");
        bed.client(&ask).trim().parse::<u8>().expect("a status")
    };
    assert_eq!((asks(6379), asks(7)), (0, 1));
    for (others, of_port_7) in [("pass", 1), ("drop", 124)] {
        let capture =
            bed.capture("srv", &format!("--interface s0 --mode generic --consume --others {others} --workers 1"));
        assert_eq!((asks(6379), asks(7)), (124, of_port_7), "{others}");
        capture.end();
        let summary = bed.summary();
        let counted = &summary["input"]["interfaces"][0]["queues"][0]["xdp"];
        assert!(sum(&counted["kept"]) > 0 && sum(&counted["other_port"]) > 0, "{counted}");
        wait_for("the server to be there again", || asks(6379) == 0);
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_second_capture_is_told_what_the_first_one_holds() {
    let bed = Bed::up(&[]);
    let first = bed.capture("tap", "--interface t1 --mode copy");
    for mode in ["copy", "generic"] {
        let mut second = bed.inside("tap", PROGRAM);
        let output = second.args(["capture", "--interface", "t1", "--mode", mode]).output().expect("resptap starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("queue 0 of t1 is taken: an AF_XDP socket of another resptap"), "{said}");
        assert!(said.contains(&format!("resptap, process {}", first.child.id())), "{said}");
    }
    // One that takes nothing away is possible beside it, but sees only what the first one leaves.
    let auto = bed.inside("tap", PROGRAM).args(["-v", "capture", "--interface", "t1", "--duration", "300ms"]).output();
    let auto = auto.expect("resptap starts");
    let said = String::from_utf8_lossy(&auto.stderr);
    assert_eq!(auto.status.code(), Some(0), "{said}");
    assert!(
        said.contains("t1: af-packet (not zero-copy") && said.contains("not copy: queue 0 of t1 is taken"),
        "{said}"
    );
    bed.client(SMALL);
    std::thread::sleep(Duration::from_millis(300));
    first.end();
    assert_eq!(sum(&bed.summary()["commands"]["GET"]["count"]), 5_000);
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn another_program_on_the_interface_is_told_of() {
    let bed = Bed::up(&[]);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/capture/afxdp/program/tap.bpf.o");
    // As others attach theirs.
    bed.ip("tap", &format!("link set t1 xdp obj {} sec xdp.frags", program.display()));
    let mut command = bed.inside("tap", PROGRAM);
    let output = command.args(["capture", "--interface", "t1", "--mode", "copy"]).output().expect("resptap starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another XDP program is attached to t1") && said.contains("xdp off"), "{said}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn killed_under_load_it_leaves_nothing_and_can_begin_again() {
    let bed = Bed::up(&[]);
    let mut load = bed.inside("cli", "redis-benchmark");
    let mut load = load.args(["-h", "10.77.0.2", "-q", "-l", "-n", "100000", "-c", "10", "-t", "get"]);
    load = load.stdout(Stdio::null());
    let mut load = load.spawn().expect("redis-benchmark starts");
    for mode in ["copy", "generic"].into_iter().cycle().take(20) {
        let capture = bed.capture("tap", &format!("--interface t1 --mode {mode}"));
        std::thread::sleep(Duration::from_millis(50));
        capture.signal("KILL");
        capture.ended();
        assert!(!bed.has_program("t1") && !bed.is_promiscuous("t1"), "{mode}");
    }
    load.kill().expect("it runs");
    load.wait().expect("it ends");
}

/// Connections in tags and tunnels, each in others, as a capture file. `tagged`: what is done to a frame's outermost tags.
fn wrapped(path: &Path, nests: &[Vec<Step>], tagged: fn(&mut [u8])) {
    let mut random = Random(7);
    let file = BufWriter::new(File::create(path).expect("a file"));
    let mut out = PcapWriter::new(file, LinkType::Ethernet, false).expect("it is written");
    for (number, nest) in nests.iter().enumerate() {
        let style = Style { connections: 2, requests: 10, ..Style::default() };
        for mut packet in scene(&style, &mut random).packets {
            packet.port += 5 * number as u16;
            for mut frame in encapsulate(packet.frame(), nest, false, &mut random) {
                tagged(&mut frame);
                out.frame(Timestamp(packet.at), &frame, frame.len() as u32).expect("it is written");
            }
        }
    }
}

/// Makes a frame's outermost tags such as the kernel looks behind, for the hash by which it spreads what a packet capture gets: of
/// the type 0x9100 they are not.
fn known_to_the_kernel(frame: &mut [u8]) {
    for tag in frame[12..].chunks_exact_mut(4) {
        match tag[..2] {
            [0x91, 0] => tag[..2].copy_from_slice(&[0x88, 0xa8]),
            [0x81, 0] | [0x88, 0xa8] => {}
            _ => break,
        }
    }
}

/// What a capture at the tap reports of such a file.
fn seen_of(bed: &Bed, path: &Path, arguments: &str) -> Value {
    let capture = bed.capture("tap", &format!("--interface t1 {arguments}"));
    let mut python = bed.inside("sw", "python3");
    success(python.args(["-c", REPLAY, "t0"]).arg(path).arg(""));
    std::thread::sleep(Duration::from_millis(300));
    capture.end();
    let summary = bed.summary();
    let packets = &summary["packets"];
    assert_eq!(sum(&packets["seen"]), sum(&packets["analysed"]) + sum(&packets["skipped"]), "{arguments}");
    assert_eq!(sum(&packets["capture_drops"]), 0, "{arguments}: {packets}");
    summary
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn the_program_keeps_all_that_would_be_looked_at_and_nothing_else() {
    let bed = Bed::up(&[]);
    bed.ip("sw", "link set t0 mtu 65500");
    bed.ip("tap", "link set t1 mtu 65500");
    let mut random = Random(7);
    let mut nests: Vec<_> = STEPS.iter().map(|&step| vec![step]).collect();
    nests.extend((0..40).map(|_| random_nest(4, &mut random)));
    let (fragmented, whole): (Vec<_>, Vec<_>) = nests.into_iter().partition(|nest| nest.contains(&Step::Fragments));
    let (fragments, tunnels, known) = (bed.path("fragments.pcap"), bed.path("tunnels.pcap"), bed.path("known.pcap"));
    wrapped(&tunnels, &whole, |_| ());
    wrapped(&known, &whole, known_to_the_kernel);
    wrapped(&fragments, &fragmented, |_| ());

    let copied = [&tunnels, &fragments].map(|path| seen_of(&bed, path, "--mode af-packet --workers 1"));
    assert!(copied.iter().all(|copied| sum(&copied["packets"]["analysed"]) > 400));
    for (mode, workers) in [("copy", 1), ("generic", 1), ("copy", 3), ("generic", 3), ("af-packet", 3)] {
        let tunnels = if mode == "af-packet" { &known } else { &tunnels };
        let kept = [tunnels, &fragments].map(|path| seen_of(&bed, path, &format!("--mode {mode} --workers {workers}")));
        for (kept, copied) in kept.iter().zip(&copied) {
            let told = format!("{mode} {workers}: {} {}", kept["packets"], kept["requests"]);
            let (steered, is_alone) = (sum(&kept["packets"]["steered"]), workers == 1);
            assert_eq!(kept["packets"]["analysed"], copied["packets"]["analysed"], "{told}");
            let is_fragmented = sum(&copied["packets"]["skipped"]["fragment_joined"]) > 0;
            if is_fragmented && !is_alone {
                // Those of a connection that were in fragments come a little later than the others, and here it has ended by then.
                assert!(
                    sum(&kept["requests"]["exact"]) * 2 > sum(&copied["requests"]["exact"]) && steered > 0,
                    "{told}"
                );
                continue;
            }
            for field in ["duplicates", "retransmitted", "gaps"] {
                assert_eq!(kept["packets"][field], copied["packets"][field], "{told}");
            }
            // The program sorts packets out of their tunnels; the kernel does not look into those in UDP.
            assert_eq!(steered > 0, !is_alone && mode == "af-packet", "{told}");
            assert_eq!(kept["requests"], copied["requests"], "{told}");
        }
        for interface in kept.iter().filter(|_| mode != "af-packet").map(|kept| &kept["input"]["interfaces"][0]) {
            queues_of(interface);
            assert!(interface["queues"].as_array().expect("queues").iter().all(|of| sum(&of["xdp"]["undecided"]) == 0));
        }
    }
    let other = seen_of(&bed, &tunnels, "--mode copy --workers 1 --port 7000");
    // Which of the queues a packet takes is the kernel's choice.
    let queues = other["input"]["interfaces"][0]["queues"].as_array().expect("queues");
    let count = |field: &str| queues.iter().map(|queue| sum(&queue["xdp"][field])).sum::<u64>();
    assert!(count("kept") == 0 && count("other_port") > 1000, "{queues:?}");
}

/// Latencies of each connection's requests, in their order.
fn latencies(records: &[Value]) -> HashMap<String, Vec<u64>> {
    let mut by_client: HashMap<String, Vec<u64>> = HashMap::new();
    for record in records {
        let client = record["source"]["port"].to_string();
        // One that is unanswered has none.
        by_client.entry(client).or_default().push(record["redis"]["latency"].as_u64().unwrap_or_default());
    }
    by_client
}

#[test]
#[ignore = "needs root, redis-server, python3 and tcpdump: scripts/test runs it"]
fn latencies_by_the_drivers_stamps_are_those_of_a_packet_capture() {
    let bed = Bed::up(&[]);
    let pcap = bed.path("switch.pcap");
    let mut tcpdump = bed.inside("sw", "tcpdump");
    tcpdump.args(["-i", "t0", "--time-stamp-precision", "nano", "-B", "65536", "-U", "-w"]).arg(&pcap);
    let mut tcpdump = tcpdump.stderr(Stdio::null()).spawn().expect("tcpdump starts");
    wait_for("tcpdump", || fs::metadata(&pcap).is_ok_and(|file| file.len() > 0));
    let capture = bed.capture("tap", "--interface t1 --mode copy");
    bed.client(SMALL);
    std::thread::sleep(Duration::from_millis(500));
    capture.end();
    success(Command::new("kill").args(["-INT", &tcpdump.id().to_string()]));
    tcpdump.wait().expect("it ends");
    let live = latencies(&bed.records());
    let mut read = Command::new(PROGRAM);
    read.args(["read", "--sink"]).arg(format!("jsonl:{}", bed.path("records.jsonl").display())).arg(&pcap);
    success(read.args(["--workers", "1", "--summary"]).arg(bed.path("read.json")));
    let filed = latencies(&bed.records());
    let mut differences: Vec<u64> = Vec::new();
    for (client, live) in &live {
        let filed = &filed[client];
        assert_eq!(live.len(), filed.len(), "{client}");
        differences.extend(live.iter().zip(filed).map(|(live, filed)| live.abs_diff(*filed)));
    }
    assert!(differences.len() >= 10_000, "{}", differences.len());
    differences.sort_unstable();
    let median = differences[differences.len() / 2];
    println!(
        "differences of latencies: median {median} ns, 99 % below {} ns",
        differences[differences.len() * 99 / 100]
    );
    assert!(median < 20_000, "{median} ns");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_program_that_was_stopped_for_a_second_tells_the_latencies_that_were() {
    let bed = Bed::up(&[]);
    for mode in ["copy", "generic"] {
        let capture = bed.capture("tap", &format!("--interface t1 --mode {mode}"));
        let mut pinging = bed.inside("cli", "redis-cli");
        let pinging = pinging.args(["-h", "10.77.0.2", "-r", "200", "-i", "0.01", "PING"]).stdout(Stdio::null());
        let mut pinging = pinging.spawn().expect("redis-cli starts");
        std::thread::sleep(Duration::from_millis(400));
        capture.signal("STOP");
        std::thread::sleep(Duration::from_secs(1));
        capture.signal("CONT");
        pinging.wait().expect("it ends");
        std::thread::sleep(Duration::from_millis(300));
        capture.end();
        let latency = &bed.summary()["commands"]["PING"]["latency"];
        assert_eq!(sum(&latency["count"]), 200, "{mode}");
        assert!(sum(&latency["max"]) < 500_000_000, "{mode}: {latency}");
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn four_capabilities_and_memory_that_may_be_locked_are_enough_and_what_is_missing_is_told() {
    const CAPABILITIES: &str = "+net_admin,+net_raw,+bpf,+perfmon";
    let bed = Bed::up(&[]);
    // nobody may not reach the build's folder.
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let program = folder.path().join("resptap");
    fs::copy(PROGRAM, &program).expect("a copy");
    success(Command::new("chmod").arg("755").arg(folder.path()).arg(&program));
    let run = |limit: &str, capabilities: &str| {
        let mut command = bed.inside("tap", "prlimit");
        command.arg(format!("--memlock={limit}")).args(["setpriv", "--reuid", "65534", "--regid", "65534"]);
        command.args(["--clear-groups", "--inh-caps", capabilities, "--ambient-caps", capabilities]).arg(&program);
        command.args(["-v", "capture", "--interface", "t1", "--mode", "copy", "--duration", "300ms"]);
        let output = command.output().expect("prlimit starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = run("65536", &format!("{CAPABILITIES},+ipc_lock"));
    assert!(status == Some(0) && said.contains("t1 by AF_XDP (copy)"), "{said}");
    let (status, said) = run("65536", CAPABILITIES);
    assert!(status == Some(1) && said.contains("may not be locked") && said.contains("CAP_IPC_LOCK"), "{said}");
    let (status, said) = run("65536", "+net_raw");
    assert!(status == Some(1) && said.contains("CAP_NET_ADMIN") && said.contains("setcap"), "{said}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn busy_it_never_sleeps() {
    let bed = Bed::up(&[]);
    let capture = bed.capture("tap", "--interface t1 --mode copy --workers 1 --poll busy");
    std::thread::sleep(Duration::from_secs(1));
    let before = cpu_time(capture.child.id());
    std::thread::sleep(Duration::from_secs(2));
    let share = cpu_time(capture.child.id()).saturating_sub(before).as_secs_f64() / 2.0;
    // On a machine with other work it gets its share only.
    assert!(share > 0.1, "{:.1} %", share * 100.0);
    bed.client(SMALL);
    std::thread::sleep(Duration::from_millis(300));
    capture.end();
    assert_eq!(sum(&bed.summary()["commands"]["GET"]["count"]), 5_000);
}
