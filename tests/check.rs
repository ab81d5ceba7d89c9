//! `resptap check` on interfaces of network namespaces (`scripts/bed`), and with fewer privileges.
//!
//! That needs root, so most are ignored by a plain `cargo test`: `cargo test --test check -- --include-ignored`. What a real card
//! tells is in tests/vm.rs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_resptap");

/// Namespaces with a mirror port, gone at the end.
struct Bed(String);

impl Bed {
    fn up(name: &str) -> Bed {
        let bed = Bed(format!("rc{}{name}", std::process::id()));
        assert!(bed.script("up").status.success());
        bed
    }

    fn script(&self, verb: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bed");
        Command::new(script).args([verb, &self.0]).output().expect("scripts/bed starts")
    }

    fn ip(&self, place: &str, arguments: &str) {
        let namespace = format!("{}{place}", self.0);
        let status = Command::new("ip").args(["-n", &namespace]).args(arguments.split(' ')).status();
        assert!(status.expect("ip starts").success(), "{arguments}");
    }

    fn check(&self, place: &str, arguments: &str) -> Checked {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}{place}", self.0), PROGRAM, "check"]).args(arguments.split(' '));
        Checked::of(&mut command)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.script("down");
    }
}

/// What it said.
#[derive(Debug)]
struct Checked {
    status: Option<i32>,
    text: String,
    error: String,
}

impl Checked {
    fn of(command: &mut Command) -> Checked {
        let output = command.output().expect("it starts");
        let [text, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        Checked { status: output.status.code(), text, error }
    }

    /// The grade of a topic, and all that is said of it, in one line.
    fn finding(&self, topic: &str) -> (String, String) {
        let begins = |line: &str| ["ok", "warn", "fail"].iter().any(|grade| line.starts_with(&format!("  {grade}")));
        let mut lines =
            self.text.lines().skip_while(|line| !begins(line) || !line[6..].trim_start().starts_with(topic));
        let first = lines.next().unwrap_or_else(|| panic!("nothing of {topic}: {self:?}"));
        let rest: Vec<&str> = lines.take_while(|line| line.starts_with("        ")).map(str::trim).collect();
        let grade = first.split_whitespace().next().expect("a grade").to_owned();
        (grade, format!("{} {}", first[6..].trim(), rest.join(" ")))
    }

    fn assert(&self, topic: &str, grade: &str, said: &[&str]) {
        let (its_grade, text) = self.finding(topic);
        assert_eq!(its_grade, grade, "{text}");
        for said in said {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}

#[test]
fn an_interface_that_is_not_there_fails() {
    let checked = Checked::of(Command::new(PROGRAM).args(["check", "--interface", "no-such-if"]));
    assert_eq!(checked.status, Some(1), "{checked:?}");
    checked.assert("link", "fail", &["no interface no-such-if", "-> ip link"]);
}

#[test]
fn an_interface_that_is_not_named_is_bad_usage() {
    let checked = Checked::of(Command::new(PROGRAM).arg("check"));
    assert_eq!(checked.status, Some(2), "{checked:?}");
    assert!(checked.error.contains("--interface"), "{checked:?}");
}

#[test]
#[ignore = "needs root: scripts/test runs it"]
fn a_mirror_port_of_a_driver_without_zero_copy_is_a_warning() {
    let bed = Bed::up("a");
    let checked = bed.check("tap", "--interface t1");
    assert_eq!(checked.status, Some(0), "{checked:?}");
    checked.assert("privileges", "ok", &["AF_XDP and AF_PACKET are permitted"]);
    checked.assert("link", "ok", &["up"]);
    checked.assert(
        "capture by",
        "warn",
        &["veth has no zero-copy", "-> resptap capture --interface t1 --mode af-packet"],
    );
    checked.assert("RSS", "ok", &["does not tell"]);
    bed.ip("tap", "link set t1 down");
    bed.check("tap", "--interface t1").assert("link", "warn", &["down", "-> ip link set t1 up"]);
}

#[test]
#[ignore = "needs root: scripts/test runs it"]
fn an_interface_that_the_host_uses_is_captured_by_af_packet() {
    let bed = Bed::up("b");
    let checked = bed.check("srv", "--interface s0 --interface lo");
    assert_eq!(checked.status, Some(0), "{checked:?}");
    checked.assert("capture by", "ok", &["AF_PACKET", "it has the address 10.77.0.2", "driver veth"]);
    assert!(checked.text.contains("\ns0\n") && checked.text.contains("\nlo\n"), "{checked:?}");
    bed.ip("sw", "link set t0 master br0");
    bed.check("sw", "--interface t0").assert("capture by", "ok", &["AF_PACKET", "it belongs to br0"]);
}

#[test]
#[ignore = "needs root: scripts/test runs it"]
fn where_nothing_was_left_behind_there_is_nothing_to_restore() {
    let bed = Bed::up("c");
    let checked = bed.check("tap", "--interface t1 --restore");
    assert_eq!(checked.status, Some(0), "{checked:?}");
    checked.assert("restore", "ok", &["nothing was left behind"]);
}

#[test]
#[ignore = "needs root: scripts/test runs it"]
fn missing_capabilities_are_named_with_the_command_that_gives_them() {
    // nobody may not reach the build's folder.
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let program: PathBuf = folder.path().join("resptap");
    fs::copy(PROGRAM, &program).expect("a copy");
    assert!(Command::new("chmod").arg("755").arg(folder.path()).arg(&program).status().expect("chmod").success());
    let as_nobody = |capabilities: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]).arg(&program);
        Checked::of(command.args(["check", "--interface", "lo"]))
    };
    let setcap = format!("-> setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep {}", program.display());
    let none = as_nobody("-all");
    assert_eq!(none.status, Some(1), "{none:?}");
    none.assert("privileges", "fail", &["CAP_NET_RAW is missing", &setcap]);
    let some = as_nobody("-all,+net_raw,+net_admin");
    assert_eq!(some.status, Some(0), "{some:?}");
    some.assert("privileges", "warn", &["CAP_BPF, CAP_PERFMON is missing", &setcap]);
    as_nobody("-all,+net_raw,+net_admin,+bpf,+perfmon").assert("privileges", "ok", &["are permitted"]);
}
