//! What a capture may do, and gives up.

use super::*;

/// Of each thread of a process: its users, and the capabilities that it may use, as a number.
fn threads(pid: u32) -> Vec<(String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let read = |folder: PathBuf| {
        let status = fs::read_to_string(folder.join("status")).expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let capabilities = |name| u64::from_str_radix(&field(name), 16).expect("bits");
        assert_eq!(capabilities("CapPrm:"), capabilities("CapEff:"));
        (format!("{} {} {}", field("Uid:"), field("Gid:"), field("Groups:")), capabilities("CapPrm:"))
    };
    tasks.map(|task| read(task.expect("a task").path())).collect()
}

const CAP_BPF: u64 = 1 << 39;
const CAP_SYS_PTRACE: u64 = 1 << 19;
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_capture_that_has_begun_has_only_the_capabilities_that_it_needs() {
    for (arguments, kept) in [
        ("--interface t1 --mode af-packet --workers 2", 0),
        ("--interface t1 --mode af-packet --processes", CAP_SYS_PTRACE | CAP_DAC_READ_SEARCH),
        ("--interface t1 --mode copy --workers 2", CAP_BPF),
    ] {
        let bed = Bed::up(&[]);
        bed.info("before.txt");
        let capture = bed.capture("tap", arguments);
        wait_for("the threads", || threads(capture.child.id()).len() >= 3);
        let threads = threads(capture.child.id());
        assert!(threads.iter().all(|(_, capabilities)| *capabilities == kept), "{threads:x?}");
        bed.client(SMALL);
        std::thread::sleep(Duration::from_millis(300));
        capture.end();
        bed.assert_all_seen(arguments);
    }
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_capture_goes_on_as_the_user_that_it_is_told() {
    for mode in ["af-packet", "copy"] {
        let bed = Bed::up(&[]);
        bed.info("before.txt");
        let capture = bed.capture("tap", &format!("--interface t1 --mode {mode} --workers 2 --user nobody"));
        wait_for("the threads", || threads(capture.child.id()).len() >= 3);
        for (user, capabilities) in threads(capture.child.id()) {
            assert!(user.starts_with("65534 65534 65534 65534 65534") && !user.contains(" 0"), "{user}");
            assert_eq!(capabilities & !CAP_BPF, 0);
        }
        bed.client(SMALL);
        std::thread::sleep(Duration::from_millis(300));
        capture.end();
        bed.assert_all_seen(mode);
    }
}

/// A capture by the user nobody with these capabilities, of the interface t1 for a second.
fn by_nobody(bed: &Bed, capabilities: &str, arguments: &str) -> (Option<i32>, String) {
    // nobody may not reach the build's folder.
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let program = folder.path().join("resptap");
    fs::copy(PROGRAM, &program).expect("a copy");
    success(Command::new("chmod").arg("755").arg(folder.path()).arg(&program));
    let mut command = bed.inside("tap", "setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    // Not of the four: in place of a limit of locked memory that is high enough.
    let capabilities = format!("{capabilities},+ipc_lock");
    command.args(["--inh-caps", &capabilities, "--ambient-caps", &capabilities]).arg(program);
    command.args(["-v", "capture", "--interface", "t1", "--duration", "1s"]).args(arguments.split(' '));
    let output = command.output().expect("setpriv starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn four_capabilities_are_enough_and_each_that_is_missing_is_named_with_the_command_that_gives_it() {
    let bed = Bed::up(&[]);
    for mode in ["copy", "generic", "af-packet", "auto"] {
        let (status, said) = by_nobody(&bed, "-all,+net_admin,+net_raw,+bpf,+perfmon", &format!("--mode {mode}"));
        assert_eq!(status, Some(0), "{mode}: {said}");
    }
    assert_eq!(by_nobody(&bed, "-all,+net_raw", "--mode af-packet").0, Some(0), "one is enough for copies");
    for (missing, others) in [
        ("CAP_NET_ADMIN", "-all,+net_raw,+bpf,+perfmon"),
        ("CAP_NET_RAW", "-all,+net_admin,+bpf,+perfmon"),
        ("CAP_BPF", "-all,+net_admin,+net_raw,+perfmon"),
        ("CAP_PERFMON", "-all,+net_admin,+net_raw,+bpf"),
    ] {
        let (status, said) = by_nobody(&bed, others, "--mode copy");
        assert_eq!(status, Some(1), "{missing}: {said}");
        assert!(said.contains(&format!("not permitted: {missing} is missing")), "{missing}: {said}");
        assert!(said.contains("setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep /"), "{missing}: {said}");
    }
    let (status, said) = by_nobody(&bed, "-all,+net_admin,+net_raw,+bpf", "--mode auto");
    assert_eq!(status, Some(0), "{said}");
    let expected = "t1: af-packet (not AF_XDP, the faster way, for which CAP_PERFMON is missing: setcap cap_net_admin,cap_net_raw,";
    assert!(said.contains(expected) && said.matches("CAP_PERFMON").count() == 1, "{said}");
    let (status, said) = by_nobody(&bed, "-all,+net_raw", "--mode af-packet --user daemon");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("only root can become another user"), "{said}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn a_user_that_is_not_there_ends_it_before_it_begins() {
    let output = Command::new(PROGRAM).args(["capture", "--interface", "lo", "--user", "no-such-user"]).output();
    let output = output.expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no user no-such-user"), "{said}");
}
