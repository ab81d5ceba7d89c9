//! What will run: the options of command line and file merged over the defaults, and checked before any work begins.
//!
//! [`Options`] is what was given, by the command line or by the file; [`Config`] is what results. Defaults stand here and
//! nowhere else.

pub mod file;
pub mod values;

use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::capture::fault::Faults;
use crate::capture::interface;
use crate::capture::{Others, Way};
use crate::endpoint::names::{Names, NamesError};
use crate::limits;
use crate::record::filter::Criteria;
use crate::record::key_hash::{KeyHashError, KeyHasher};
use crate::redis::arguments::Payload;
use crate::redis::command::{CommandTable, CommandTableError};
use crate::redis::pairing::Resync;
use values::{
    CommandName, CpuRange, FilePath, Interface, List, Mode, Nanoseconds, Network, Output, Poll, PortRange, RssWish,
    Sample, Separator, Several, SinkSpec, Size,
};

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// Timeouts are no longer than that, some 146 years: so a step back in time is more than any.
const TIMEOUT_NS_MAX: u64 = 1 << 62;

/// What was given of the options of `resptap read` and `resptap capture`. The names of its fields are the names of the options and the keys of the
/// file.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each field is the option of its name, which its help describes")]
pub struct Options {
    pub workers: Option<usize>,
    pub cpus: Option<List<CpuRange>>,
    pub port: Option<List<PortRange>>,
    pub key_by_vlan: Option<bool>,
    pub sink: Option<Several<SinkSpec>>,
    pub slower_than: Option<Nanoseconds>,
    pub errors: Option<bool>,
    pub command: Option<List<CommandName>>,
    pub key_prefix: Option<List<String>>,
    pub client: Option<List<Network>>,
    pub server: Option<List<Network>>,
    pub sample: Option<Sample>,
    #[serde(deserialize_with = "values::payload")]
    pub payload: Option<Payload>,
    pub payload_bytes: Option<usize>,
    pub timeout: Option<Nanoseconds>,
    pub idle_timeout: Option<Nanoseconds>,
    #[serde(deserialize_with = "values::resync")]
    pub resync: Option<Resync>,
    pub resync_silence: Option<Nanoseconds>,
    pub reorder_time: Option<Nanoseconds>,
    pub reorder_packets: Option<u32>,
    pub memory: Option<Size>,
    pub series: Option<usize>,
    pub key_separator: Option<Separator>,
    pub commands: Option<FilePath>,
    pub hist_log: Option<FilePath>,
    pub interval: Option<Nanoseconds>,
    pub summary: Option<Output>,
    pub sensor: Option<String>,
    pub names: Option<FilePath>,
    pub hash_keys: Option<FilePath>,
    pub processes: Option<bool>,
    pub no_mmap: Option<bool>,
    #[serde(deserialize_with = "values::faults")]
    pub fault: Option<Faults>,
    pub interface: Option<Several<Interface>>,
    pub mode: Option<Mode>,
    #[serde(deserialize_with = "values::others")]
    pub others: Option<Others>,
    pub poll: Option<Poll>,
    pub consume: Option<bool>,
    pub rss: Option<RssWish>,
    pub user: Option<String>,
    pub duration: Option<Nanoseconds>,
}

impl Options {
    /// These options where they are given, `other`'s elsewhere.
    #[must_use]
    pub fn over(self, other: Options) -> Options {
        Options {
            workers: self.workers.or(other.workers),
            cpus: self.cpus.or(other.cpus),
            port: self.port.or(other.port),
            key_by_vlan: self.key_by_vlan.or(other.key_by_vlan),
            sink: self.sink.or(other.sink),
            slower_than: self.slower_than.or(other.slower_than),
            errors: self.errors.or(other.errors),
            command: self.command.or(other.command),
            key_prefix: self.key_prefix.or(other.key_prefix),
            client: self.client.or(other.client),
            server: self.server.or(other.server),
            sample: self.sample.or(other.sample),
            payload: self.payload.or(other.payload),
            payload_bytes: self.payload_bytes.or(other.payload_bytes),
            timeout: self.timeout.or(other.timeout),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            resync: self.resync.or(other.resync),
            resync_silence: self.resync_silence.or(other.resync_silence),
            reorder_time: self.reorder_time.or(other.reorder_time),
            reorder_packets: self.reorder_packets.or(other.reorder_packets),
            memory: self.memory.or(other.memory),
            series: self.series.or(other.series),
            key_separator: self.key_separator.or(other.key_separator),
            commands: self.commands.or(other.commands),
            hist_log: self.hist_log.or(other.hist_log),
            interval: self.interval.or(other.interval),
            summary: self.summary.or(other.summary),
            sensor: self.sensor.or(other.sensor),
            names: self.names.or(other.names),
            hash_keys: self.hash_keys.or(other.hash_keys),
            processes: self.processes.or(other.processes),
            no_mmap: self.no_mmap.or(other.no_mmap),
            fault: self.fault.or(other.fault),
            interface: self.interface.or(other.interface),
            mode: self.mode.or(other.mode),
            others: self.others.or(other.others),
            poll: self.poll.or(other.poll),
            consume: self.consume.or(other.consume),
            rss: self.rss.or(other.rss),
            user: self.user.or(other.user),
            duration: self.duration.or(other.duration),
        }
    }
}

/// What `resptap read` or `resptap capture` will do. Checked: the runtime may take every value at its word.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The captures, in order; `-` is standard input. None where interfaces are captured.
    pub files: Vec<PathBuf>,
    /// Worker threads, 1 to [`limits::WORKERS_MAX`].
    pub workers: usize,
    /// Cores for the workers in order, then perhaps one for the writer; empty: any, or those near a network card.
    pub cpus: Vec<usize>,
    /// Server ports, ascending, at least one; all 65,536 of them mean that RESP is to be recognised on any port.
    pub ports: Vec<u16>,
    /// Whether VLAN and tunnel belong to a connection's identity.
    pub key_by_vlan: bool,
    /// Where transactions go.
    pub sinks: Vec<SinkSpec>,
    /// Which of them.
    pub filter: Criteria,
    /// What is shown of them.
    pub payload: Payload,
    /// Bytes of arguments, and of a reply, that are shown with [`Payload::Full`].
    pub payload_bytes: usize,
    /// How long a request at the head of its connection may be without a reply.
    pub timeout_ns: u64,
    /// How long a connection may be silent.
    pub idle_timeout_ns: u64,
    /// What is accepted as proof of pairing after something was hidden.
    pub resync: Resync,
    /// How long both sides must be silent to prove that nothing is outstanding.
    pub resync_silence_ns: u64,
    /// How long missing bytes are waited for, at most.
    pub reorder_time_ns: u64,
    /// How many packets of the connection are waited for them, at most.
    pub reorder_packets: u32,
    /// Budget over all workers, in bytes.
    pub memory: u64,
    /// Latency series that are shown apart.
    pub series: usize,
    /// What ends a prefix of a key.
    pub key_separator: u8,
    /// All commands.
    pub table: &'static CommandTable,
    /// The interval log of histograms.
    pub hist_log: Option<PathBuf>,
    /// The length of an interval.
    pub interval_ns: u64,
    /// Where the summary goes as JSON; `None`: a table for people.
    pub summary: Option<Output>,
    /// `observer.name`.
    pub sensor: String,
    /// Names of services.
    pub names: Names,
    /// Keys are shown by their hash.
    pub key_hasher: Option<KeyHasher>,
    /// Whether records name the processes of this host.
    pub processes: bool,
    /// Whether files are mapped into memory.
    pub mmap: bool,
    /// Faults that are added to the capture.
    pub fault: Option<Faults>,
}

/// What `resptap capture` captures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// The interfaces, each once, at least one.
    pub interfaces: Vec<String>,
    /// By which way; `None`: by the best.
    pub way: Option<Way>,
    /// What becomes of packets that AF_XDP does not keep.
    pub others: Others,
    /// Whether threads wait for packets.
    pub poll: Poll,
    /// Whether packets may be taken away from an interface that the host uses.
    pub consume: bool,
    /// What is done about how cards spread packets over their queues.
    pub rss: RssWish,
    /// Whom it runs as, once all is opened; `None`: whoever began it.
    pub user: Option<String>,
    /// For how long; `None`: until it is ended.
    pub duration_ns: Option<u64>,
}

/// What `resptap hist` will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistConfig {
    /// The interval logs.
    pub files: Vec<PathBuf>,
    /// Which tags; `None`: all.
    pub tag: Option<String>,
    /// Where the merged percentiles are written.
    pub hgrm: Option<PathBuf>,
}

/// What `resptap check` looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckConfig {
    /// The interfaces, each once, at least one.
    pub interfaces: Vec<String>,
    /// Whether what a killed capture has left behind is put back.
    pub restore: bool,
}

/// Why a configuration can't run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ConfigError {
    #[error(transparent)]
    File(#[from] file::FileError),
    #[error("the command table {path} (--commands) can't be read: {source}")]
    CommandsRead { path: PathBuf, source: std::io::Error },
    #[error(
        "the command table {path} (--commands), {source}; its format is explained in that of resptap's data/commands.tsv"
    )]
    Commands { path: PathBuf, source: CommandTableError },
    #[error(transparent)]
    Names(#[from] NamesError),
    #[error(transparent)]
    HashKeys(#[from] KeyHashError),
    #[error("{option} is {value}, but must be from {least} to {most}")]
    OutOfRange { option: &'static str, value: String, least: String, most: String },
    #[error("{option} is {value}, but must be at least 1ms; less is usually a slip of the unit")]
    TooShort { option: &'static str, value: String },
    #[error("{option} is empty; leave the option out, or give it a value")]
    Empty { option: &'static str },
    #[error(
        "--cpus names {cpus} cores for {workers} workers; name one core for each worker, and one more for the writer if it is to have its own"
    )]
    CpuCount { cpus: usize, workers: usize },
    #[error("--cpus names core {cpu} twice; each worker needs a core of its own")]
    CpuTwice { cpu: usize },
    #[error(
        "--memory {memory} is too little for --workers {workers}, which needs {needed} (16MiB each); raise --memory or lower --workers"
    )]
    Memory { memory: Size, workers: usize, needed: Size },
    #[error("both {first} and {second} write to standard output; send one of them to a file")]
    StdoutTwice { first: String, second: String },
    #[error("both {first} and {second} write to {path}; give each a file of its own")]
    FileTwice { first: String, second: String, path: PathBuf },
    #[error("{option} would overwrite {path}, which is to be read; write to another file")]
    OverwritesInput { option: String, path: PathBuf },
    #[error("--{option} is an option of `resptap {its_command}`, not of `resptap {command}`; leave it out of the file")]
    OtherCommand { option: &'static str, its_command: &'static str, command: &'static str },
    #[error("which interface is meant? Name it with --interface; those of this machine are shown by: ip link")]
    NoInterface,
    #[error("--interface {interface} is given twice; name each interface once")]
    InterfaceTwice { interface: String },
    #[error("`-` (standard input) is given twice, but can be read only once")]
    StdinTwice,
    #[error("`-` is standard input, which is the keyboard here; pipe a capture into it, or name a file")]
    StdinIsTerminal,
}

impl Config {
    /// What results from the options that are given for these files.
    pub fn new(options: Options, files: Vec<PathBuf>) -> Result<Config, ConfigError> {
        let given = [
            ("interface", options.interface.is_some()),
            ("mode", options.mode.is_some()),
            ("others", options.others.is_some()),
            ("poll", options.poll.is_some()),
            ("consume", options.consume.is_some()),
            ("rss", options.rss.is_some()),
            ("user", options.user.is_some()),
            ("duration", options.duration.is_some()),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(ConfigError::OtherCommand { option, its_command: "capture", command: "read" });
        }
        Config::common(options, files, usable_cores() - 1, 10 * SECOND_NS)
    }

    /// What results from the options that are given for a live capture, and what is captured.
    pub fn capture(options: Options) -> Result<(Config, Live), ConfigError> {
        let given = [("no-mmap", options.no_mmap.is_some()), ("fault", options.fault.is_some())];
        if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(ConfigError::OtherCommand { option, its_command: "read", command: "capture" });
        }
        let live = live(&options)?;
        let queues = live.interfaces.iter().map(|interface| interface::queues(interface)).sum::<usize>();
        let config = Config::common(options, Vec::new(), queues.min(usable_cores()), SECOND_NS)?;
        Ok((config, live))
    }

    /// What both commands have in common. Not given, there are `usual_workers`, and intervals of `usual_interval_ns`.
    fn common(
        options: Options,
        files: Vec<PathBuf>,
        usual_workers: usize,
        usual_interval_ns: u64,
    ) -> Result<Config, ConfigError> {
        let Size(memory) = options.memory.unwrap_or(Size(1 << 30));
        let cpus = cpus(options.cpus.as_ref())?;
        let workers = workers(options.workers, &cpus, usual_workers, memory)?;
        let path = |given: &Option<FilePath>| given.as_ref().map(|FilePath(path)| path.clone());
        let (names_file, secret_file) = (path(&options.names), path(&options.hash_keys));
        let config = Config {
            workers,
            cpus,
            ports: ports(options.port.as_ref()),
            key_by_vlan: options.key_by_vlan.unwrap_or(false),
            sinks: options.sink.iter().flat_map(|Several(sinks)| sinks).cloned().collect(),
            filter: criteria(&options),
            payload: options.payload.unwrap_or(Payload::Keys),
            payload_bytes: within(
                "--payload-bytes",
                options.payload_bytes.unwrap_or(256),
                1,
                limits::PAYLOAD_BYTES_MAX,
            )?,
            timeout_ns: positive("--timeout", options.timeout, 30 * SECOND_NS)?,
            idle_timeout_ns: positive("--idle-timeout", options.idle_timeout, 3600 * SECOND_NS)?,
            resync: options.resync.unwrap_or(Resync::Assume),
            resync_silence_ns: positive("--resync-silence", options.resync_silence, 2 * SECOND_NS)?,
            reorder_time_ns: options.reorder_time.map_or(50 * MILLISECOND_NS, |Nanoseconds(time)| time),
            reorder_packets: options.reorder_packets.unwrap_or(128),
            memory,
            series: within("--series", options.series.unwrap_or(512), 1, limits::SERIES_PER_WORKER_MAX)?,
            key_separator: options.key_separator.map_or(b':', |Separator(byte)| byte),
            table: options.commands.as_ref().map_or(Ok(CommandTable::built_in()), |FilePath(path)| table(path))?,
            hist_log: options.hist_log.map(|FilePath(path)| path),
            interval_ns: positive("--interval", options.interval, usual_interval_ns)?,
            summary: options.summary,
            sensor: options.sensor.unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned()),
            names: names_file.as_deref().map(Names::read).transpose()?.unwrap_or_default(),
            key_hasher: secret_file.as_deref().map(KeyHasher::read).transpose()?,
            processes: options.processes.unwrap_or(false),
            // Where faults change frames, these are copies.
            mmap: !options.no_mmap.unwrap_or(false) && options.fault.is_none(),
            fault: options.fault,
            files,
        };
        if config.sensor.is_empty() {
            return Err(ConfigError::Empty { option: "--sensor" });
        }
        config.check_stdin()?;
        let inputs: Vec<PathBuf> = config.files.iter().cloned().chain(names_file).chain(secret_file).collect();
        check_outputs(&config.outputs(), &inputs)?;
        Ok(config)
    }

    /// Whether records or the summary go to standard output, so that nothing else may.
    pub fn uses_stdout(&self) -> bool {
        self.outputs().iter().any(|(_, output)| *output == Output::Stdout)
    }

    fn check_stdin(&self) -> Result<(), ConfigError> {
        match self.files.iter().filter(|file| file.as_os_str() == "-").count() {
            1 if std::io::stdin().is_terminal() => Err(ConfigError::StdinIsTerminal),
            0 | 1 => Ok(()),
            _ => Err(ConfigError::StdinTwice),
        }
    }

    /// Everything that is written, with the option that says so.
    fn outputs(&self) -> Vec<(String, Output)> {
        let sinks = self.sinks.iter().map(|SinkSpec::Jsonl(output)| {
            let target = match output {
                Output::Stdout => "-".to_owned(),
                Output::File(path) => path.display().to_string(),
            };
            (format!("--sink jsonl:{target}"), output.clone())
        });
        let hist_log = self.hist_log.iter().map(|path| ("--hist-log".to_owned(), Output::File(path.clone())));
        let summary = self.summary.iter().map(|output| ("--summary".to_owned(), output.clone()));
        sinks.chain(hist_log).chain(summary).collect()
    }
}

impl HistConfig {
    /// Checks that the result overwrites none of the logs.
    pub fn new(files: Vec<PathBuf>, tag: Option<String>, hgrm: Option<PathBuf>) -> Result<HistConfig, ConfigError> {
        let outputs: Vec<_> = hgrm.iter().map(|path| ("--hgrm".to_owned(), Output::File(path.clone()))).collect();
        check_outputs(&outputs, &files)?;
        Ok(HistConfig { files, tag, hgrm })
    }
}

impl CheckConfig {
    /// Checks that the interfaces are each named once.
    pub fn new(given: &[Interface], restore: bool) -> Result<CheckConfig, ConfigError> {
        Ok(CheckConfig { interfaces: interfaces(given.iter())?, restore })
    }
}

fn within(option: &'static str, value: usize, least: usize, most: usize) -> Result<usize, ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let (value, least, most) = (value.to_string(), least.to_string(), most.to_string());
    Err(ConfigError::OutOfRange { option, value, least, most })
}

/// A length of time of at least one millisecond: less is a slip of the unit.
fn positive(option: &'static str, given: Option<Nanoseconds>, default: u64) -> Result<u64, ConfigError> {
    match given {
        Some(Nanoseconds(value)) if value < MILLISECOND_NS => Err(ConfigError::TooShort {
            option,
            value: humantime::format_duration(std::time::Duration::from_nanos(value)).to_string(),
        }),
        given => Ok(given.map_or(default, |Nanoseconds(value)| value).min(TIMEOUT_NS_MAX)),
    }
}

fn cpus(given: Option<&List<CpuRange>>) -> Result<Vec<usize>, ConfigError> {
    let mut cpus = Vec::new();
    let mut seen = BTreeSet::new();
    for cpu in given.iter().flat_map(|List(ranges)| ranges).flat_map(|CpuRange(range)| range.clone()) {
        if !seen.insert(cpu) {
            return Err(ConfigError::CpuTwice { cpu });
        }
        cpus.push(cpu);
    }
    Ok(cpus)
}

/// Cores that this process may use, at least one.
fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What is to be captured.
fn live(options: &Options) -> Result<Live, ConfigError> {
    let given = options.interface.iter().flat_map(|Several(interfaces)| interfaces);
    let interfaces = interfaces(given)?;
    let duration_ns = options.duration.map(|given| positive("--duration", Some(given), 0)).transpose()?;
    Ok(Live {
        interfaces,
        way: options.mode.and_then(|Mode(way)| way),
        others: options.others.unwrap_or_default(),
        poll: options.poll.unwrap_or_default(),
        consume: options.consume.unwrap_or(false),
        rss: options.rss.unwrap_or_default(),
        user: options.user.clone(),
        duration_ns,
    })
}

/// The interfaces that are named, each once.
fn interfaces<'g>(given: impl Iterator<Item = &'g Interface>) -> Result<Vec<String>, ConfigError> {
    let mut interfaces: Vec<String> = Vec::new();
    for Interface(interface) in given {
        if interfaces.contains(interface) {
            return Err(ConfigError::InterfaceTwice { interface: interface.clone() });
        }
        interfaces.push(interface.clone());
    }
    if interfaces.is_empty() {
        return Err(ConfigError::NoInterface);
    }
    within("the number of --interface", interfaces.len(), 1, limits::TAPS_MAX)?;
    Ok(interfaces)
}

/// The number of workers: as given; else what the list of cores leaves beside the writer; else the usual number, as far as
/// the memory allows.
fn workers(given: Option<usize>, cpus: &[usize], usual: usize, memory: u64) -> Result<usize, ConfigError> {
    let affordable = usize::try_from(memory / limits::MEMORY_PER_WORKER_MIN).unwrap_or(usize::MAX);
    let workers = match given {
        Some(workers) => workers,
        None if !cpus.is_empty() => (cpus.len() - 1).max(1),
        None => usual.min(limits::WORKERS_MAX).min(affordable).max(1),
    };
    within("--workers", workers, 1, limits::WORKERS_MAX)?;
    if !cpus.is_empty() && !(workers..=workers + 1).contains(&cpus.len()) {
        return Err(ConfigError::CpuCount { cpus: cpus.len(), workers });
    }
    if workers > affordable {
        let needed = Size(limits::MEMORY_PER_WORKER_MIN * workers as u64);
        return Err(ConfigError::Memory { memory: Size(memory), workers, needed });
    }
    Ok(workers)
}

/// Reads a command table. It lives as long as the program: everything refers to it.
fn table(path: &Path) -> Result<&'static CommandTable, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::CommandsRead { path: path.to_owned(), source })?;
    let table = CommandTable::parse(&text).map_err(|source| ConfigError::Commands { path: path.to_owned(), source })?;
    Ok(Box::leak(Box::new(table)))
}

fn ports(given: Option<&List<PortRange>>) -> Vec<u16> {
    let ports: BTreeSet<u16> = match given {
        Some(List(ranges)) => ranges.iter().flat_map(|PortRange(range)| range.clone()).collect(),
        None => BTreeSet::from([6379]),
    };
    ports.into_iter().collect()
}

fn criteria(options: &Options) -> Criteria {
    let networks = |given: &Option<List<Network>>| {
        given.iter().flat_map(|List(networks)| networks).map(|Network(network)| *network).collect()
    };
    Criteria {
        slower_than_ns: options.slower_than.map(|Nanoseconds(limit)| limit),
        errors: options.errors.unwrap_or(false),
        commands: options.command.iter().flat_map(|List(names)| names).map(|CommandName(name)| name.clone()).collect(),
        key_prefixes: options.key_prefix.iter().flat_map(|List(texts)| texts).map(|text| text.clone().into()).collect(),
        clients: networks(&options.client),
        servers: networks(&options.server),
        sample: options.sample.map(|Sample(one_in)| one_in),
    }
}

/// Commands of the filter that the table does not have, each with the one whose name is most like it: perhaps a module's,
/// perhaps mistyped.
pub fn unknown_commands<'a>(filter: &'a Criteria, table: &'a CommandTable) -> Vec<(&'a str, &'a str)> {
    let nearest = |name: &str| {
        let likeness = |other: &&str| strsim::normalized_damerau_levenshtein(name, other);
        table.iter().map(|command| command.name.as_str()).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
    };
    let unknown = filter.commands.iter().filter(|name| table.find(name.as_bytes()).is_none());
    unknown.map(|name| (name.as_str(), nearest(name).unwrap_or_default())).collect()
}

/// No two outputs may be one, and none may be an input.
fn check_outputs(outputs: &[(String, Output)], inputs: &[PathBuf]) -> Result<(), ConfigError> {
    for (at, (first, output)) in outputs.iter().enumerate() {
        let later = &outputs[at + 1..];
        let Output::File(path) = output else {
            if let Some((second, _)) = later.iter().find(|(_, other)| *other == Output::Stdout) {
                return Err(ConfigError::StdoutTwice { first: first.clone(), second: second.clone() });
            }
            continue;
        };
        if inputs.iter().any(|input| are_one_file(path, input)) {
            return Err(ConfigError::OverwritesInput { option: first.clone(), path: path.clone() });
        }
        let same = |other: &Output| matches!(other, Output::File(other) if are_one_file(path, other));
        if let Some((second, _)) = later.iter().find(|(_, other)| same(other)) {
            return Err(ConfigError::FileTwice { first: first.clone(), second: second.clone(), path: path.clone() });
        }
    }
    Ok(())
}

/// Whether two paths lead to one regular file (by links, too), or would once it is created. Devices such as /dev/null may be
/// shared.
fn are_one_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        (Err(_), Err(_)) => place(a) == place(b),
        _ => false,
    }
}

/// The path of a file that does not exist yet, with its folder resolved.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    folder.join(path.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests;
