//! Command lines, what they run, and what their help promises.

use std::collections::BTreeSet;

use clap::CommandFactory;

use super::*;
use crate::capture::Way;

fn parsed(arguments: &[&str]) -> Result<Invocation, Refusal> {
    parse(["resptap"].iter().chain(arguments).map(OsString::from))
}

fn read(arguments: &[&str]) -> Config {
    match parsed(&[&["read", "a.pcap"], arguments].concat()).unwrap().command {
        Command::Read(config) => *config,
        _ => panic!("read was asked for"),
    }
}

/// The message, as it is printed.
fn refused(arguments: &[&str]) -> String {
    match parsed(arguments).unwrap_err() {
        Refusal::Usage(error) => error.to_string(),
        Refusal::Config(error) => error.to_string(),
    }
}

fn capture(arguments: &[&str]) -> (Config, Live) {
    match parsed(&[&["capture", "--interface=lo"], arguments].concat()).unwrap().command {
        Command::Capture(config, live) => (*config, live),
        _ => panic!("capture was asked for"),
    }
}

/// The long names of the options of a command.
fn options_of(command: &str) -> BTreeSet<String> {
    let typed = Typed::command();
    let read = typed.find_subcommand(command).unwrap();
    read.get_opts().filter_map(|option| option.get_long().map(str::to_owned)).collect()
}

/// Those of `read`.
fn option_names() -> BTreeSet<String> {
    options_of("read")
}

#[test]
fn the_definition_is_sound() {
    Typed::command().debug_assert();
}

#[test]
fn options_and_keys_of_the_file_have_the_same_names() {
    // serde's list of what the struct has is what the file may hold: an unknown key shows it.
    let mut options: BTreeSet<String> = option_names().union(&options_of("capture")).cloned().collect();
    assert!(options.remove("config"), "which file is the one thing that no file says");
    for name in &options {
        let error = file::parse("tap.toml".as_ref(), &format!("{name} = {{}}")).unwrap_err();
        assert!(matches!(error, file::FileError::Value { .. }), "--{name} is no key of the file: {error}");
    }
    let in_struct = format!("{:?}", Options::default()).matches(": None").count();
    assert_eq!(in_struct, options.len(), "a key of the file is no option");
}

#[test]
fn every_option_of_the_command_line_runs() {
    let plain = read(&["--workers=1"]);
    let folder = tempfile::tempdir().unwrap();
    let commands = folder.path().join("commands.tsv");
    std::fs::write(&commands, "GET\t2\t\t1/range:0:1:0=RO\n").unwrap();
    let changed = [
        ("commands", commands.to_str().unwrap()),
        ("cpus", "0,1"),
        ("port", "6379,7000-7005"),
        ("key-by-vlan", "true"),
        ("sink", "jsonl:-"),
        ("slower-than", "5ms"),
        ("errors", "true"),
        ("command", "GET"),
        ("key-prefix", "user:"),
        ("client", "10.0.0.0/8"),
        ("server", "10.0.0.1"),
        ("sample", "1/10"),
        ("payload", "full"),
        ("payload-bytes", "100"),
        ("timeout", "3s"),
        ("idle-timeout", "3m"),
        ("resync", "strict"),
        ("resync-silence", "3s"),
        ("reorder-time", "3ms"),
        ("reorder-packets", "3"),
        ("memory", "512MiB"),
        ("series", "3"),
        ("key-separator", "/"),
        ("hist-log", "out.hlog"),
        ("interval", "1s"),
        ("summary", "-"),
        ("sensor", "tap-1"),
        ("names", concat!(env!("CARGO_MANIFEST_DIR"), "/samples/names.toml")),
        ("hash-keys", concat!(env!("CARGO_MANIFEST_DIR"), "/samples/names.toml")),
        ("processes", "true"),
        ("no-mmap", "true"),
        ("fault", "loss=1%,seed=7"),
    ];
    for (name, value) in changed {
        assert_ne!(read(&["--workers=1", &format!("--{name}={value}")]), plain, "--{name} has no reader");
    }
    assert_eq!(read(&["--workers=7"]).workers, 7);
    let tested: BTreeSet<String> =
        changed.iter().map(|(name, _)| *name).chain(["workers", "config"]).map(str::to_owned).collect();
    assert_eq!(tested, option_names(), "an option without a test");
}

#[test]
fn every_option_of_a_live_capture_runs() {
    let plain = capture(&["--workers=1"]);
    let changed = [
        ("interface", "lo2"),
        ("mode", "af-packet"),
        ("others", "drop"),
        ("poll", "busy"),
        ("consume", "true"),
        ("rss", "symmetric"),
        ("user", "nobody"),
        ("duration", "5s"),
    ];
    for (name, value) in changed {
        assert_ne!(capture(&["--workers=1", &format!("--{name}={value}")]), plain, "--{name} has no reader");
    }
    let own: BTreeSet<String> = changed.iter().map(|(name, _)| (*name).to_owned()).collect();
    let of_files = ["no-mmap", "fault"].map(str::to_owned);
    let common: BTreeSet<String> = option_names().into_iter().filter(|name| !of_files.contains(name)).collect();
    assert_eq!(options_of("capture"), common.union(&own).cloned().collect(), "the others are those of read");
    assert_eq!(capture(&["--port=7000"]).0.ports, [7000], "and they are taken");
}

#[test]
fn the_file_may_name_the_interface() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.toml");
    std::fs::write(&path, "interface = ['eth1', 'eth2']\nmode = 'af-packet'\nduration = '1h'\nport = 7000\n").unwrap();
    let file = path.to_str().unwrap();
    let Command::Capture(config, live) = parsed(&["capture", "--config", file]).unwrap().command else { panic!() };
    assert_eq!((live.interfaces, config.ports), (vec!["eth1".to_owned(), "eth2".to_owned()], vec![7000]));
    assert_eq!((live.way, live.duration_ns), (Some(Way::AfPacket), Some(3_600_000_000_000)));
    let error = refused(&["read", "a.pcap", "--config", file]);
    assert!(error.contains("--interface is an option of `resptap capture`"), "{error}");
    assert!(refused(&["capture"]).contains("--interface"));
    assert!(refused(&["capture", "--interface", "a/b"]).contains("`a/b` is no name of an interface"));
    assert!(refused(&["capture", "--interface", "lo", "--mode", "magic"]).contains("not one of auto, zero-copy, copy"));
}

#[test]
fn the_defaults_that_the_help_tells_are_those_that_run() {
    let plain = read(&[]);
    let typed = Typed::command();
    let mut told = 0;
    for option in typed.find_subcommand("read").unwrap().get_opts() {
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, default)) = help.split_once("[default: ") else { continue };
        // What follows is of the other command.
        let default = default.trim_end_matches(']').split(';').next().unwrap_or_default();
        // The others are told in words.
        if !default.contains(' ') && !matches!(default, "nowhere" | "automatic" | "built in" | "none") {
            let name = option.get_long().unwrap();
            assert_eq!(read(&[&format!("--{name}={default}")]), plain, "--{name} does not default to {default}");
            told += 1;
        }
    }
    assert_eq!(told, 13);
}

#[test]
fn flags_may_be_taken_back() {
    assert!(read(&["--errors"]).filter.errors);
    assert!(!read(&["--errors=false"]).filter.errors);
    assert!(!read(&["--no-mmap"]).mmap);
}

#[test]
fn the_command_line_wins_over_the_file_and_the_file_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.toml");
    std::fs::write(&path, "port = [7000]\ntimeout = '5s'\nerrors = true\nsink = ['jsonl:a', 'jsonl:b']\n").unwrap();
    let file = path.to_str().unwrap();
    let from_file = read(&["--config", file]);
    assert_eq!((from_file.ports.as_slice(), from_file.timeout_ns), (&[7000][..], 5_000_000_000));
    assert!(from_file.filter.errors);
    assert_eq!((from_file.sinks.len(), from_file.payload_bytes), (2, 256));
    let typed = read(&["--config", file, "--port", "6380", "--errors=false", "--sink", "jsonl:c"]);
    assert_eq!((typed.ports.as_slice(), typed.timeout_ns), (&[6380][..], 5_000_000_000));
    assert!(!typed.filter.errors);
    assert_eq!(typed.sinks, ["jsonl:c".parse().unwrap()], "a typed list replaces the file's");
    std::fs::write(&path, "prot = 1").unwrap();
    let error = refused(&["read", "a.pcap", "--config", file]);
    assert!(error.contains("tap.toml, line 1: there is no option `prot`; the nearest one is `port`"), "{error}");
}

#[test]
fn what_is_mistyped_is_named_with_the_nearest() {
    let error = refused(&["read", "a.pcap", "--prot", "6380"]);
    assert!(error.contains("'--prot'") && error.contains("'--port'"), "{error}");
    let error = refused(&["raed", "a.pcap"]);
    assert!(error.contains("'raed'") && error.contains("'read'"), "{error}");
}

#[test]
fn a_wrong_value_is_told_with_its_option_and_the_remedy() {
    let error = refused(&["read", "a.pcap", "--port", "all"]);
    assert!(error.contains("--port") && error.contains("`all` is no port; write numbers"), "{error}");
    let error = refused(&["read", "a.pcap", "--sink", "kafka:broker/topic"]);
    assert!(error.contains("--sink") && error.contains("there is jsonl:PATH"), "{error}");
    let error = refused(&["read", "a.pcap", "--fault", "los=1%"]);
    assert!(error.contains("--fault") && error.contains("`los=1%` is no fault; there are loss=P%"), "{error}");
    let error = refused(&["read", "a.pcap", "--resync", "hope"]);
    assert!(error.contains("`hope` is not one of strict, assume, trust"), "{error}");
    let error = refused(&["read", "a.pcap", "--names", "/nonexistent/names.toml"]);
    assert!(error.contains("the file of names /nonexistent/names.toml can't be read"), "{error}");
    assert!(refused(&["read"]).contains("<FILE>"));
    assert!(refused(&["hist"]).contains("<FILE.hlog>"));
}

#[test]
fn hist_takes_logs_a_tag_and_an_output() {
    let invocation = parsed(&["hist", "a.hlog", "b.hlog", "--tag", "*|GET|*", "--hgrm", "out.hgrm", "-vv"]).unwrap();
    assert_eq!(invocation.verbosity, 2);
    let Command::Hist(hist) = invocation.command else { panic!("hist was asked for") };
    assert_eq!(hist.files, [PathBuf::from("a.hlog"), PathBuf::from("b.hlog")]);
    assert_eq!((hist.tag.as_deref(), hist.hgrm), (Some("*|GET|*"), Some("out.hgrm".into())));
}

#[test]
fn help_and_version_are_no_failure_and_bad_usage_is_status_2() {
    let status = |arguments: &[&str]| parsed(arguments).unwrap_err().status();
    assert_eq!(status(&["--version"]), 0);
    assert_eq!(status(&["read", "--help"]), 0);
    assert_eq!(status(&[]), 2);
    assert_eq!(status(&["read", "a", "--workers", "many"]), 2);
    assert_eq!(status(&["read", "a", "--workers", "0"]), 2);
}

#[test]
fn check_takes_interfaces_each_once() {
    let Command::Check(check) =
        parsed(&["check", "--interface", "eth1", "--interface", "eth2", "--restore"]).unwrap().command
    else {
        panic!("check was asked for")
    };
    assert_eq!((check.interfaces, check.restore), (vec!["eth1".to_owned(), "eth2".to_owned()], true));
    assert!(refused(&["check"]).contains("which interface is meant"));
    assert!(refused(&["check", "--interface", "a", "--interface", "a"]).contains("given twice"));
}
