//! What is particular to AF_XDP: what its program keeps and takes away, its queues, its stamps, and what is said where it can't be
//! had.

use super::*;

/// As `BENCHMARK`, but few large values of one client: many would overrun the mirror port, and a ring of a busy machine.
const LOAD: &str = "B='redis-benchmark -h 10.77.0.2 -q'; \
     $B -n 100000 -c 50 -t set,get >/dev/null; $B -n 100000 -c 50 -P 16 -t set,get -r 1000 >/dev/null; \
     $B -n 60 -c 1 -d 100000 -t set,get >/dev/null";

/// Packets that the switch could not deliver to the mirror ports. Where an XDP program runs in its driver, a veth interface holds
/// 256 packets; what comes before the kernel gets to run on a busy machine is lost, as on a wire, before anybody could see it.
fn overrun(bed: &Bed, mirrors: &[&str]) -> u64 {
    let count = |mirror: &&str| {
        let path = format!("/sys/class/net/{mirror}/statistics/tx_dropped");
        let output = success(bed.inside("sw", "cat").arg(path));
        String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().expect("a count")
    };
    mirrors.iter().map(count).sum()
}

/// A load and `scripts/traffic`, all of it seen by a capture at the tap, in a bed that delivers all of it.
fn all_is_seen(options: &[&str], mirrors: &[&str], prepare: impl Fn(&Bed), arguments: &str) -> Value {
    for _ in 0..4 {
        let bed = Bed::up(options);
        prepare(&bed);
        let summary = load_passes(&bed, "tap", arguments, LOAD);
        match overrun(&bed, mirrors) {
            0 => return bed.assert_all_seen(arguments),
            lost => println!("the mirror port was overrun by {lost} packets: once more; {}", summary["packets"]),
        }
    }
    panic!("this machine is too busy: the mirror port was overrun in each of four tries")
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
    for (mode, queues, workers) in [("copy", 1, 1), ("copy", 2, 1), ("copy", 2, 2), ("generic", 2, 2)] {
        let arguments = format!("--interface t1 --mode {mode} --workers {workers}");
        let summary = all_is_seen(&["--queues", &queues.to_string()], &["t0"], |_| (), &arguments);
        let interface = &summary["input"]["interfaces"][0];
        assert_eq!((&interface["mode"], &interface["why"]), (&mode.into(), &"asked for".into()));
        let packets = queues_of(interface);
        assert_eq!(packets.len(), queues);
        // Connections split over the queues of the driver, half of each on the other one; behind it everything comes to the first.
        let busy = if mode == "copy" { queues } else { 1 };
        assert_eq!(packets.iter().filter(|&&packets| packets > 1000).count(), busy, "{packets:?}");
        let packets = &summary["packets"];
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
    // 2 × 60 values of 100,000 bytes: in frames of up to 9,014 bytes.
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
        assert!(said.contains("queue 0 of t1 is taken: another AF_XDP socket is bound to it"), "{said}");
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
