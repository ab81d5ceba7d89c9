//! Each finding, from facts that are made up.

use crate::capture::nic::ethtool::{Channels, Offloads, Size};
use crate::capture::nic::rss::{Rss, Transform};
use crate::capture::nic::xdp::XdpFeatures;

use super::*;

/// A mirror port as it should be.
fn good() -> Facts {
    Facts {
        name: "eth1".to_owned(),
        driver: Some(("ice".to_owned(), "6.12".to_owned())),
        is_up: true,
        carrier: Some(true),
        hardware: 1,
        mtu: 9000,
        queues: 4,
        channels: Some(Channels { receiving: Size::default(), combined: Size { now: 4, most: 4 } }),
        rings: Some(Size { now: 4096, most: 8160 }),
        offloads: Some(Offloads::default()),
        rss: Some(Rss { function: 1, transform: Transform::SYMMETRIC_XOR, table: vec![0, 1, 2, 3], ..Rss::default() }),
        xdp: Some(XdpFeatures { driver: true, zero_copy: true, several_pieces: true }),
        interrupts: (0..4).map(|core| (40 + core as u32, vec![core])).collect(),
        node: Some(0),
        in_use: None,
    }
}

fn good_host() -> Host {
    Host {
        cores: vec![0, 1, 2, 3],
        isolated: vec![2, 3],
        nodes: vec![vec![0, 1], vec![2, 3]],
        huge_pages: Some((128, 2 << 20)),
        locked_memory: None,
    }
}

fn judged(facts: &Facts) -> Vec<Finding> {
    interface::judge(facts, &good_host(), None)
}

/// The only finding that is not good.
fn only(findings: Vec<Finding>) -> (Grade, &'static str, String, String) {
    let bad: Vec<Finding> = findings.into_iter().filter(|finding| finding.grade != Grade::Ok).collect();
    let [Finding { grade, topic, text, mend }] = <[_; 1]>::try_from(bad).expect("one");
    (grade, topic, text, mend.expect("a command"))
}

#[test]
fn where_all_is_well_nothing_is_to_be_done() {
    let all = [judged(&good()), machine::judge(&good_host(), &Privileges::default(), 4)].concat();
    assert!(all.iter().all(|finding| finding.grade == Grade::Ok && finding.mend.is_none()), "{all:#?}");
    let topics: Vec<&str> = all.iter().map(|finding| finding.topic).collect();
    let expected = [
        "link",
        "capture by",
        "queues",
        "RSS",
        "VLAN tags",
        "joining",
        "ring",
        "interrupts",
        "NUMA",
        "MTU",
        "privileges",
        "memory lock",
        "huge pages",
        "cores",
    ];
    assert_eq!(topics, expected);
}

#[test]
fn each_fault_of_an_interface_has_its_command() {
    let xdp = |driver, zero_copy, several_pieces| Some(XdpFeatures { driver, zero_copy, several_pieces });
    let offloads = |rx_vlan, lro, gro| Some(Offloads { rx_vlan, lro, gro });
    let queues = |now: usize, most| Facts {
        queues: now,
        channels: Some(Channels { receiving: Size::default(), combined: Size { now: now as u32, most } }),
        ..good()
    };
    let usual = Rss { transform: Transform::default(), ..good().rss.unwrap() };
    let af_packet = "resptap capture --interface eth1 --mode af-packet";
    let near = Facts { node: Some(1), ..good() };
    for (facts, topic, said, mend) in [
        (Facts { is_up: false, carrier: None, ..good() }, "link", "down", "ip link set eth1 up"),
        (Facts { carrier: Some(false), ..good() }, "link", "no signal", "ethtool eth1"),
        (Facts { xdp: xdp(true, false, true), ..good() }, "capture by", "ice has no zero-copy", af_packet),
        (Facts { xdp: xdp(false, false, false), ..good() }, "capture by", "ice has no AF_XDP", af_packet),
        (queues(2, 8), "queues", "2 of up to 8 receive queues", "ethtool -L eth1 combined 4"),
        (queues(8, 8), "queues", "more than the 4 cores", "ethtool -L eth1 combined 4"),
        (
            Facts { rss: Some(usual), ..good() },
            "RSS",
            "not symmetric",
            "resptap capture --interface eth1 --rss symmetric",
        ),
        (
            Facts { offloads: offloads(true, false, false), ..good() },
            "VLAN tags",
            "AF_XDP does not see",
            "ethtool -K eth1 rxvlan off",
        ),
        (Facts { offloads: offloads(false, true, false), ..good() }, "joining", "LRO", "ethtool -K eth1 lro off"),
        (Facts { offloads: offloads(false, false, true), ..good() }, "joining", "GRO", "ethtool -K eth1 gro off"),
        (
            Facts { offloads: offloads(false, true, true), ..good() },
            "joining",
            "LRO",
            "ethtool -K eth1 lro off gro off",
        ),
        (
            Facts { rings: Some(Size { now: 512, most: 8160 }), ..good() },
            "ring",
            "512 packets",
            "ethtool -G eth1 rx 4096",
        ),
        (
            Facts { rings: Some(Size { now: 128, most: 256 }), ..good() },
            "ring",
            "128 packets",
            "ethtool -G eth1 rx 256",
        ),
        (Facts { xdp: xdp(true, true, false), ..good() }, "MTU", "up to 3498", "ip link set eth1 mtu 3498"),
        (
            Facts { interrupts: vec![(40, vec![0]), (41, vec![0])], ..good() },
            "interrupts",
            "all go to 1 of 4 cores",
            "set -- 0 1 2 3; for irq in 40 41; do echo $1 > /proc/irq/$irq/smp_affinity_list; set -- \"$@\" $1; shift; done",
        ),
    ] {
        // More queues than cores have more interrupts, too.
        let (grade, its_topic, text, command) = only(judged(&facts));
        assert_eq!((grade, its_topic, &command[..]), (Grade::Warn, topic, mend), "{text}");
        assert!(text.contains(said), "{text}");
    }
    let far = Host { cores: vec![0, 1], ..good_host() };
    let (_, topic, _, mend) = only(interface::judge(&Facts { queues: 2, ..near }, &far, None));
    assert_eq!((topic, &mend[..]), ("NUMA", "taskset -c 2,3 resptap capture --interface eth1"));
}

#[test]
fn what_can_not_be_captured_fails() {
    let (grade, topic, text, _) = only(judged(&Facts { hardware: 32, ..good() }));
    assert_eq!((grade, topic), (Grade::Fail, "link"), "{text}");
    let absent = interface::absent("eth9");
    assert!(absent.grade == Grade::Fail && absent.text.contains("no interface eth9"));
}

#[test]
fn what_the_kernel_does_not_tell_of_a_driver_is_known_of_some() {
    let capture_by = |facts: &Facts| judged(facts).into_iter().find(|finding| finding.topic == "capture by").unwrap();
    assert_eq!(capture_by(&Facts { xdp: None, ..good() }).grade, Grade::Ok);
    let unknown = Facts { xdp: None, driver: Some(("tg3".to_owned(), String::new())), ..good() };
    assert_eq!(capture_by(&unknown).grade, Grade::Warn);
}

#[test]
fn the_hosts_own_interface_is_left_as_it_is() {
    let own = Facts {
        in_use: Some("it has the address 10.0.0.1".to_owned()),
        xdp: None,
        rss: Some(Rss { table: vec![0, 1], ..Rss::default() }),
        offloads: Some(Offloads { rx_vlan: true, lro: false, gro: true }),
        mtu: 1500,
        ..good()
    };
    let findings = judged(&own);
    assert!(findings.iter().all(|finding| finding.grade == Grade::Ok), "{findings:#?}");
    assert!(findings[1].text.contains("AF_PACKET") && findings[1].text.contains("10.0.0.1"), "{findings:#?}");
}

#[test]
fn settings_that_were_left_behind_are_told() {
    let (grade, topic, text, mend) = only(interface::judge(&good(), &good_host(), Some(77)));
    assert_eq!((grade, topic), (Grade::Warn, "RSS"));
    assert!(text.contains("process 77") && mend == "resptap check --interface eth1 --restore", "{text} {mend}");
}

#[test]
fn each_fault_of_the_machine_has_its_command() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let privileges = |af_packet: &[&str], af_xdp: &[&str], locking: &[&str]| Privileges {
        af_packet: names(af_packet),
        af_xdp: names(af_xdp),
        locking: names(locking),
        setcap: "setcap …".to_owned(),
    };
    let all = ["CAP_NET_RAW", "CAP_BPF"];
    let low = Host { locked_memory: Some(8 << 20), ..good_host() };
    for (host, privileges, grade, topic, said, mend) in [
        (good_host(), privileges(&all[..1], &all, &[]), Grade::Fail, "privileges", "may not capture", "setcap …"),
        (good_host(), privileges(&[], &all[1..], &[]), Grade::Warn, "privileges", "CAP_BPF is missing", "setcap …"),
        (low, privileges(&[], &[], &["CAP_IPC_LOCK"]), Grade::Warn, "memory lock", "8.0 MiB", "ulimit -l unlimited"),
        (
            Host { huge_pages: Some((3, 2 << 20)), ..good_host() },
            privileges(&[], &[], &[]),
            Grade::Warn,
            "huge pages",
            "3 of 2.0 MiB",
            "sysctl -w vm.nr_hugepages=128",
        ),
        (
            Host { isolated: vec![], ..good_host() },
            privileges(&[], &[], &[]),
            Grade::Warn,
            "cores",
            "shared with all other programs",
            "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX isolcpus=1-3\"' >> /etc/default/grub && update-grub",
        ),
    ] {
        let (its_grade, its_topic, text, command) = only(machine::judge(&host, &privileges, 4));
        assert_eq!((its_grade, its_topic, &command[..]), (grade, topic, mend), "{text}");
        assert!(text.contains(said), "{text}");
    }
    // Nothing of AF_XDP matters where no queue is captured by it.
    let plain = Host { huge_pages: Some((0, 2 << 20)), locked_memory: Some(0), ..good_host() };
    let findings = machine::judge(&plain, &privileges(&[], &[], &["CAP_IPC_LOCK"]), 0);
    assert!(findings.iter().all(|finding| finding.grade == Grade::Ok), "{findings:#?}");
}

#[test]
fn findings_are_lines_and_commands_are_not_broken() {
    let long = "a command that is longer than a terminal is wide, with some options more that make it so, and another";
    let findings = vec![
        Finding::ok("link", "up"),
        Finding::warn(
            "queues",
            "a text that has so many words that it does not fit into one line of the terminal",
            long,
        ),
        Finding::fail("privileges", "none", "setcap"),
    ];
    let mut out = Vec::new();
    print(&[("this machine", vec![]), ("eth1", findings)], Style::default(), &mut out).unwrap();
    let expected = format!(
        "this machine

eth1
  ok    link          up
  warn  queues        a text that has so many words that it does not fit into
                      one line of the terminal
                      -> {long}
  fail  privileges    none
                      -> setcap
"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// The finding on a topic, if there is one: whether all is well, and what it says.
fn on<'f>(findings: &'f [Finding], topic: &str) -> Option<(bool, &'f str)> {
    let finding = findings.iter().find(|finding| finding.topic == topic)?;
    Some((finding.grade == Grade::Ok, &finding.text))
}

#[test]
fn what_does_not_matter_or_can_not_be_changed_is_no_fault() {
    let in_use = Some("it has the address 10.0.0.1".to_owned());
    let short = Some(XdpFeatures { driver: true, zero_copy: true, several_pieces: false });
    for (facts, what) in [
        (Facts { queues: 8, channels: None, ..good() }, "more queues than cores, whose number is fixed"),
        (Facts { queues: 1, channels: None, rss: None, ..good() }, "one queue"),
        (Facts { rss: None, ..good() }, "several queues of which nothing is told, as each worker reads all of them"),
        (Facts { rings: Some(Size::default()), ..good() }, "rings without a size"),
        (Facts { interrupts: vec![], ..good() }, "no interrupts of its own"),
        (Facts { xdp: short, in_use, ..good() }, "long packets by AF_PACKET"),
    ] {
        let findings = judged(&facts);
        assert!(findings.iter().all(|finding| finding.grade == Grade::Ok), "{what}: {findings:#?}");
    }
    assert_eq!(on(&judged(&Facts { rings: Some(Size::default()), ..good() }), "ring"), None);
    let one_node = Host { nodes: vec![vec![0, 1, 2, 3]], ..good_host() };
    assert_eq!(on(&interface::judge(&good(), &one_node, None), "NUMA"), None);
    assert_eq!(on(&judged(&good()), "MTU"), Some((true, "9000")));
    let usual = judged(&Facts { mtu: 1500, ..good() });
    assert!(on(&usual, "MTU").is_some_and(|(is_ok, text)| is_ok && text.ends_with("ip link set eth1 mtu 9000")));
}

#[test]
fn queues_that_only_receive_are_set_as_such() {
    let receiving = Size { now: 2, most: 8 };
    let channels = Some(Channels { receiving, combined: Size::default() });
    let (_, topic, text, mend) = only(judged(&Facts { queues: 2, channels, ..good() }));
    assert_eq!((topic, &mend[..]), ("queues", "ethtool -L eth1 rx 4"), "{text}");
}

#[test]
fn cores_and_memory_are_judged_by_what_may_be_used() {
    let judge = |host: Host| machine::judge(&host, &Privileges::default(), 4);
    let root = judge(Host { locked_memory: Some(8 << 20), ..good_host() });
    assert!(root.iter().all(|finding| finding.grade == Grade::Ok), "no limit for who may lock any: {root:#?}");
    assert_eq!(on(&judge(Host { huge_pages: Some((0, 0)), ..good_host() }), "huge pages"), None);
    let text = |host: Host| on(&judge(host), "cores").map(|(_, text)| text.to_owned()).unwrap();
    assert!(text(good_host()).starts_with("2,3 are kept free"));
    assert!(text(Host { isolated: vec![3, 9], ..good_host() }).starts_with("3 are kept free"));
    assert!(text(Host { isolated: vec![9], ..good_host() }).starts_with("4, shared with all other programs"));
    assert_eq!(text(Host { cores: vec![0], isolated: vec![], ..good_host() }), "one, which does everything");
    let two = judge(Host { cores: vec![0, 1], isolated: vec![], ..good_host() });
    assert!(only(two).3.contains("isolcpus=1\""));
}
