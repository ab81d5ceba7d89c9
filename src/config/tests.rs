//! What results from which options.

use super::*;

/// The example of a file of names.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/names.toml");

fn config(options: Options) -> Result<Config, ConfigError> {
    Config::new(options, vec!["capture.pcap".into()])
}

fn refused(options: Options) -> String {
    config(options).unwrap_err().to_string()
}

#[expect(clippy::unnecessary_wraps, reason = "as the field wants it")]
fn sinks(targets: &[&str]) -> Option<Several<SinkSpec>> {
    Some(Several(targets.iter().map(|target| format!("jsonl:{target}").parse().unwrap()).collect()))
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields want it")]
fn list<T: std::str::FromStr>(text: &str) -> Option<List<T>>
where
    values::ValueError: From<T::Err>,
{
    Some(text.parse().unwrap())
}

#[test]
fn no_timeout_is_so_long_that_a_step_back_in_time_is_not_longer() {
    let options = Options { idle_timeout: Some(Nanoseconds(u64::MAX)), ..Options::default() };
    assert_eq!(config(options).unwrap().idle_timeout_ns, 1 << 62);
}

#[test]
fn without_options_the_defaults_of_the_specification_run() {
    let config = config(Options::default()).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(config.workers, (cores - 1).clamp(1, 64), "1 GiB is enough for 64 workers");
    assert_eq!((config.ports.as_slice(), config.cpus.as_slice()), (&[6379][..], &[][..]));
    assert_eq!((config.filter.clone(), config.sinks.as_slice()), (Criteria::default(), &[][..]));
    assert_eq!((config.payload, config.payload_bytes), (Payload::Keys, 256));
    assert_eq!((config.timeout_ns, config.idle_timeout_ns), (30_000_000_000, 3_600_000_000_000));
    assert_eq!((config.resync, config.resync_silence_ns), (Resync::Assume, 2_000_000_000));
    assert_eq!((config.reorder_time_ns, config.reorder_packets), (50_000_000, 128));
    assert_eq!((config.memory, config.series, config.interval_ns), (1 << 30, 512, 10_000_000_000));
    assert_eq!(config.key_separator, b':');
    assert_eq!((config.hist_log.clone(), config.summary.clone(), config.mmap), (None, None, true));
    assert!(std::ptr::eq(config.table, CommandTable::built_in()));
    assert!(!config.sensor.is_empty() && !config.uses_stdout());
    assert!(config.names.is_empty() && !config.processes && !config.key_by_vlan);
}

#[test]
fn every_option_reaches_the_configuration() {
    let config = config(Options {
        workers: Some(2),
        cpus: list("4-5,1"),
        port: list("7000-7002,6380,7001"),
        key_by_vlan: Some(true),
        sink: sinks(&["out.jsonl", "-"]),
        slower_than: Some(Nanoseconds(5)),
        errors: Some(true),
        command: list("get,client id"),
        key_prefix: list("user:,a"),
        client: list("10.0.0.1"),
        server: list("10.0.0.0/8,::1"),
        sample: Some(Sample(10)),
        payload: Some(Payload::Full),
        payload_bytes: Some(64),
        timeout: Some(Nanoseconds(7_000_000)),
        idle_timeout: Some(Nanoseconds(8_000_000)),
        resync: Some(Resync::Strict),
        resync_silence: Some(Nanoseconds(9_000_000)),
        reorder_time: Some(Nanoseconds(0)),
        reorder_packets: Some(0),
        memory: Some(Size(64 << 20)),
        series: Some(9),
        key_separator: Some(Separator(b'/')),
        commands: Some(FilePath("data/commands.tsv".into())),
        hist_log: Some(FilePath("out.hlog".into())),
        interval: Some(Nanoseconds(1_000_000)),
        summary: Some(Output::File("out.json".into())),
        sensor: Some("tap-1".to_owned()),
        names: Some(FilePath(SAMPLE.into())),
        hash_keys: Some(FilePath(SAMPLE.into())),
        processes: Some(true),
        no_mmap: Some(true),
        fault: Some("loss=1%".parse().unwrap()),
        ..Options::default()
    });
    let expected = Config {
        files: vec!["capture.pcap".into()],
        workers: 2,
        cpus: vec![4, 5, 1],
        ports: vec![6380, 7000, 7001, 7002],
        key_by_vlan: true,
        sinks: vec![SinkSpec::Jsonl(Output::File("out.jsonl".into())), SinkSpec::Jsonl(Output::Stdout)],
        filter: Criteria {
            slower_than_ns: Some(5),
            errors: true,
            commands: vec!["GET".to_owned(), "CLIENT ID".to_owned()],
            key_prefixes: vec![b"user:".to_vec(), b"a".to_vec()],
            clients: vec!["10.0.0.1/32".parse().unwrap()],
            servers: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            sample: Some(10),
        },
        payload: Payload::Full,
        payload_bytes: 64,
        timeout_ns: 7_000_000,
        idle_timeout_ns: 8_000_000,
        resync: Resync::Strict,
        resync_silence_ns: 9_000_000,
        reorder_time_ns: 0,
        reorder_packets: 0,
        memory: 64 << 20,
        series: 9,
        key_separator: b'/',
        table: CommandTable::built_in(),
        hist_log: Some("out.hlog".into()),
        interval_ns: 1_000_000,
        summary: Some(Output::File("out.json".into())),
        sensor: "tap-1".to_owned(),
        names: Names::read(SAMPLE.as_ref()).unwrap(),
        key_hasher: Some(KeyHasher::read(SAMPLE.as_ref()).unwrap()),
        processes: true,
        mmap: false,
        fault: Some("loss=1%".parse().unwrap()),
    };
    assert_eq!(config.unwrap(), expected);
}

fn captured(options: Options) -> Result<(Config, Live), ConfigError> {
    Config::capture(options)
}

#[expect(clippy::unnecessary_wraps, reason = "as the field wants it")]
fn interfaces(names: &[&str]) -> Option<Several<Interface>> {
    Some(Several(names.iter().map(|name| name.parse().unwrap()).collect()))
}

#[test]
fn a_live_capture_has_its_own_defaults() {
    let (config, live) = captured(Options { interface: interfaces(&["lo"]), ..Options::default() }).unwrap();
    assert_eq!((config.workers, config.interval_ns), (1, 1_000_000_000), "loopback has one queue");
    assert!(config.files.is_empty());
    let usual = Live {
        interfaces: vec!["lo".to_owned()],
        way: None,
        others: Others::Pass,
        poll: Poll::Adaptive,
        consume: false,
        rss: RssWish::Keep,
        user: None,
        duration_ns: None,
    };
    assert_eq!(live, usual);
    let options = Options {
        interface: interfaces(&["eth1", "eth0"]),
        mode: Some(Mode(Some(Way::Generic))),
        others: Some(Others::Drop),
        poll: Some(Poll::Busy),
        consume: Some(true),
        rss: Some(RssWish::Symmetric),
        user: Some("nobody".to_owned()),
        duration: Some(Nanoseconds(5_000_000)),
        workers: Some(3),
        ..Options::default()
    };
    let (config, live) = captured(options).unwrap();
    let interfaces = vec!["eth1".to_owned(), "eth0".to_owned()];
    let expected = Live {
        interfaces,
        way: Some(Way::Generic),
        others: Others::Drop,
        poll: Poll::Busy,
        consume: true,
        rss: RssWish::Symmetric,
        user: Some("nobody".to_owned()),
        duration_ns: Some(5_000_000),
    };
    assert_eq!(live, expected);
    assert_eq!(config.workers, 3);
}

#[test]
fn what_can_not_be_captured_is_refused() {
    let none = Options::default();
    let refused = |options| captured(options).unwrap_err().to_string();
    assert!(refused(none.clone()).contains("Name it with --interface"));
    let twice = refused(Options { interface: interfaces(&["a", "b", "a"]), ..none.clone() });
    assert_eq!(twice, "--interface a is given twice; name each interface once");
    let many: Vec<String> = (0..17).map(|n| format!("eth{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(
        refused(Options { interface: interfaces(&many), ..none.clone() }).contains("is 17, but must be from 1 to 16")
    );
    let short = Options { interface: interfaces(&["a"]), duration: Some(Nanoseconds(9)), ..none.clone() };
    assert!(refused(short).starts_with("--duration is 9ns"));
}

#[test]
fn options_of_the_other_command_are_refused_with_its_name() {
    let none = Options::default();
    for (option, options) in [
        ("interface", Options { interface: interfaces(&["a"]), ..none.clone() }),
        ("mode", Options { mode: Some(Mode(None)), ..none.clone() }),
        ("others", Options { others: Some(Others::Drop), ..none.clone() }),
        ("poll", Options { poll: Some(Poll::Busy), ..none.clone() }),
        ("consume", Options { consume: Some(true), ..none.clone() }),
        ("rss", Options { rss: Some(RssWish::Keep), ..none.clone() }),
        ("user", Options { user: Some("nobody".to_owned()), ..none.clone() }),
        ("duration", Options { duration: Some(Nanoseconds(5_000_000)), ..none.clone() }),
    ] {
        let error = refused(options);
        assert!(error.starts_with(&format!("--{option} is an option of `resptap capture`, not of")), "{error}");
    }
    let live = Options { interface: interfaces(&["a"]), ..none };
    for (option, options) in [
        ("no-mmap", Options { no_mmap: Some(true), ..live.clone() }),
        ("fault", Options { fault: Some("loss=1%".parse().unwrap()), ..live.clone() }),
    ] {
        let error = captured(options).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--{option} is an option of `resptap read`, not of")), "{error}");
    }
}

#[test]
fn the_number_of_workers_follows_the_cores_that_are_named() {
    let workers = |workers, cpus: &str| config(Options { workers, cpus: list(cpus), ..Options::default() });
    assert_eq!(workers(None, "3").unwrap().workers, 1);
    assert_eq!(workers(None, "2-7,1").unwrap().workers, 6);
    assert_eq!(workers(Some(3), "0-2").unwrap().workers, 3, "the writer needs no core of its own");
    assert_eq!(workers(Some(3), "0-3").unwrap().workers, 3);
    assert!(matches!(workers(Some(3), "0-1"), Err(ConfigError::CpuCount { cpus: 2, workers: 3 })));
    assert!(matches!(workers(Some(3), "0-4"), Err(ConfigError::CpuCount { cpus: 5, workers: 3 })));
    assert!(matches!(workers(None, "1,0-2"), Err(ConfigError::CpuTwice { cpu: 1 })));
}

#[test]
fn memory_must_be_enough_for_the_workers_that_are_asked_for() {
    let memory = |workers, memory| config(Options { workers, memory: Some(Size(memory)), ..Options::default() });
    assert!(memory(Some(2), 32 << 20).is_ok());
    assert_eq!(
        memory(Some(2), (32 << 20) - 1).unwrap_err().to_string(),
        "--memory 33554431 bytes is too little for --workers 2, which needs 32MiB (16MiB each); raise --memory or lower --workers"
    );
    assert!(memory(None, 1 << 20).is_err(), "one worker is the least");
    assert_eq!(memory(None, 16 << 20).unwrap().workers, 1, "the default takes what the memory allows");
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    let none = Options::default();
    assert_eq!(refused(Options { workers: Some(0), ..none.clone() }), "--workers is 0, but must be from 1 to 256");
    assert!(refused(Options { workers: Some(257), ..none.clone() }).starts_with("--workers is 257"));
    assert!(refused(Options { series: Some(0), ..none.clone() }).starts_with("--series is 0"));
    assert!(refused(Options { series: Some(4097), ..none.clone() }).ends_with("from 1 to 4096"));
    assert!(refused(Options { payload_bytes: Some(0), ..none.clone() }).starts_with("--payload-bytes is 0"));
    assert!(refused(Options { payload_bytes: Some(16_385), ..none.clone() }).ends_with("from 1 to 16384"));
    assert!(refused(Options { sensor: Some(String::new()), ..none.clone() }).starts_with("--sensor is empty"));
    let short = Some(Nanoseconds(999_999));
    for (option, options) in [
        ("--timeout", Options { timeout: short, ..none.clone() }),
        ("--idle-timeout", Options { idle_timeout: short, ..none.clone() }),
        ("--resync-silence", Options { resync_silence: short, ..none.clone() }),
        ("--interval", Options { interval: short, ..none.clone() }),
    ] {
        assert_eq!(
            refused(options),
            format!("{option} is 999us 999ns, but must be at least 1ms; less is usually a slip of the unit")
        );
    }
}

#[test]
fn standard_output_has_one_writer() {
    assert_eq!(
        refused(Options { sink: sinks(&["-", "a", "-"]), ..Options::default() }),
        "both --sink jsonl:- and --sink jsonl:- write to standard output; send one of them to a file"
    );
    let both = Options { sink: sinks(&["-"]), summary: Some(Output::Stdout), ..Options::default() };
    assert_eq!(refused(both), "both --sink jsonl:- and --summary write to standard output; send one of them to a file");
    assert!(config(Options { sink: sinks(&["-"]), ..Options::default() }).unwrap().uses_stdout());
}

#[test]
fn standard_input_is_read_once() {
    let twice = Config::new(Options::default(), vec!["-".into(), "a".into(), "-".into()]);
    assert!(matches!(twice, Err(ConfigError::StdinTwice)));
}

#[test]
fn no_two_outputs_are_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let summary = |summary: PathBuf| Options {
        sink: sinks(&[at("out").to_str().unwrap()]),
        summary: Some(Output::File(summary)),
        ..Options::default()
    };
    assert!(config(summary(at("other"))).is_ok());
    let error = refused(summary(at(".").join("out")));
    assert!(error.contains("--summary write to") && error.contains("a file of its own"), "{error}");
    fs::write(at("out"), "").unwrap();
    std::os::unix::fs::symlink(at("out"), at("link")).unwrap();
    assert!(matches!(config(summary(at("link"))), Err(ConfigError::FileTwice { .. })));
    let null = Options { sink: sinks(&["/dev/null", "/dev/null"]), ..Options::default() };
    assert!(config(null).is_ok(), "a device is no file");
}

#[test]
fn no_output_overwrites_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("capture.pcap");
    fs::write(&capture, "precious").unwrap();
    let alias = folder.path().join("alias");
    fs::hard_link(&capture, &alias).unwrap();
    let none = Options::default();
    for options in [
        Options { summary: Some(Output::File(capture.clone())), ..none.clone() },
        Options { sink: sinks(&[alias.to_str().unwrap()]), ..none.clone() },
        Options { hist_log: Some(FilePath(alias.clone())), ..none.clone() },
    ] {
        let error = Config::new(options, vec!["a".into(), capture.clone()]).unwrap_err();
        assert!(error.to_string().contains("would overwrite"), "{error}");
    }
    let names = folder.path().join("names.toml");
    fs::write(&names, "").unwrap();
    let summary = Some(Output::File(names.clone()));
    let over_names = refused(Options { names: Some(FilePath(names)), summary, ..none });
    assert!(over_names.contains("--summary would overwrite"), "{over_names}");
    let (secret, options) = (folder.path().join("secret"), Options::default());
    fs::write(&secret, "s").unwrap();
    let summary = Some(Output::File(secret.clone()));
    let over_secret = refused(Options { hash_keys: Some(FilePath(secret)), summary, ..options });
    assert!(over_secret.contains("--summary would overwrite"), "{over_secret}");
    let hist = HistConfig::new(vec![capture.clone()], None, Some(alias));
    assert!(matches!(hist, Err(ConfigError::OverwritesInput { .. })));
}

#[test]
fn a_secret_that_keys_can_not_be_hashed_with_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let hashed = || refused(Options { hash_keys: Some(FilePath(path.clone())), ..Options::default() });
    assert!(hashed().contains("secret (--hash-keys), can't be read: No such file"), "{}", hashed());
    fs::write(&path, "\n").unwrap();
    assert!(hashed().contains("secret (--hash-keys), is empty"), "{}", hashed());
}

#[test]
fn unknown_commands_are_named_with_the_nearest() {
    let rows = "GET\t2\t\t\nGETEX\t-2\t\t\nSET\t-3\t\t\nCLIENT\t-2\tcontainer\t\nCLIENT SETNAME\t3\t\t\n";
    let table = CommandTable::parse(rows).unwrap();
    let filter =
        Criteria { commands: ["GET", "CLIENT SETNAM", "GTE"].map(str::to_owned).to_vec(), ..Criteria::default() };
    assert_eq!(unknown_commands(&filter, &table), [("CLIENT SETNAM", "CLIENT SETNAME"), ("GTE", "GET")]);
}

#[test]
fn a_command_table_that_can_not_be_read_is_named_with_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("commands.tsv");
    let with_table = |text: &str| {
        fs::write(&path, text).unwrap();
        config(Options { commands: Some(FilePath(path.clone())), ..Options::default() })
    };
    let table = with_table("GET\t2\t\t1/range:0:1:0=RO\n").unwrap().table;
    assert_eq!(table.len(), 1);
    let error = with_table("GET\t2\t\t1/range:0:1:0=RO\nSET\t-3\t\t1/range:0:1:0=OV\n").unwrap_err().to_string();
    for part in
        ["commands.tsv (--commands), line 2, field keys: \"1/range:0:1:0=OV\" is not a role", "data/commands.tsv"]
    {
        assert!(error.contains(part), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let absent = refused(Options { commands: Some(FilePath(path.clone())), ..Options::default() });
    assert!(absent.contains("commands.tsv (--commands) can't be read: No such file"), "{absent}");
}
