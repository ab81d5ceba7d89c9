//! What was typed: commands, options and their help. Turns it into what will run ([`crate::config`]), or into a message.
//!
//! The help speaks to network engineers who don't know Redis and to Redis operators who don't know networks. Defaults are
//! the configuration's; a test holds the help to them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::capture::Others;
use crate::capture::fault::Faults;
use crate::config::values::{
    CommandName, CpuRange, FilePath, Interface, List, Mode, Nanoseconds, Network, Output, Poll, PortRange, RssWish,
    Sample, Separator, Several, SinkSpec, Size,
};
use crate::config::{CheckConfig, Config, ConfigError, HistConfig, Live, Options, file, unknown_commands};
use crate::redis::arguments::Payload;
use crate::redis::pairing::Resync;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  resptap read capture.pcap                          Summary of a capture as a table
  resptap read capture.pcapng --sink jsonl:out.jsonl Every request as a line of JSON
  resptap read *.pcap.gz --slower-than 10ms --sink jsonl:-
                                                     Only slow requests, on standard output
  tcpdump -i eth0 -w - tcp port 6379 | resptap read -
                                                     From another program
  resptap check --interface eth1                     What is in the way of a good capture, and what to do
  resptap capture --interface eth1                   Live, from a mirror port, until Ctrl-C
  resptap read day.pcap --hist-log day.hlog && resptap hist day.hlog
                                                     Latency percentiles

Exit status: 0 done; 1 a file, interface or output failed, or a capture is cut short; 2 bad usage or configuration.";

/// Watches Redis and Valkey at work from a copy of their network traffic: pairs every request with its reply, measures
/// how long each part took, and tells what it could not see. It never sends anything to the network or the servers.
#[derive(Parser, Debug)]
#[command(name = "resptap", version, after_help = EXAMPLES)]
struct Typed {
    #[command(subcommand)]
    command: TypedCommand,
    /// Log more on standard error: -v what is done, -vv details, -vvv everything
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand, Debug)]
enum TypedCommand {
    /// Analyse capture files (pcap, pcapng; also .gz and .zst), as fast as possible
    Read(Box<Read>),
    /// Analyse the traffic that network interfaces see, as it comes
    Capture(Box<Capture>),
    /// Look at interfaces and this machine before a capture: what would make it lose packets or fail, and the command that
    /// mends it. Nothing is changed; the exit status is 1 if a capture would fail
    Check(Check),
    /// Merge interval logs of latencies (.hlog) and print their percentiles
    Hist(Hist),
}

#[derive(Args, Debug)]
struct Check {
    /// A network interface that is to be captured; may be given several times
    #[arg(long, value_name = "IF")]
    interface: Vec<Interface>,
    /// Put back what a capture with --rss symmetric has changed on the network card, if it was killed before it could itself
    #[arg(long)]
    restore: bool,
}

#[derive(Args, Debug)]
struct Hist {
    /// Interval logs, as `read --hist-log` writes them; those of several captures and sensors are added up
    #[arg(value_name = "FILE.hlog", required = true)]
    files: Vec<PathBuf>,
    /// Only series whose tag matches, `*` standing for any text: '10.0.0.9:6379|GET|*'. A tag is server|COMMAND|metric;
    /// the totals have the tags '*|*|latency', '*|*|queue', '*|*|server' and '*|*|transfer' [default: all]
    #[arg(long, value_name = "GLOB")]
    tag: Option<String>,
    /// Write the merged percentiles to a file that the HdrHistogram plotters read (.hgrm)
    #[arg(long, value_name = "PATH")]
    hgrm: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Read {
    /// Captures, read one after the other as one; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Args, Debug)]
struct Capture {
    /// A network interface that sees the traffic: a mirror port, or one of the server itself. A passive tap has one for each
    /// direction: give the option twice
    #[arg(long, value_name = "IF")]
    interface: Vec<Interface>,
    /// How the kernel hands over packets. zero-copy, copy and generic are AF_XDP: read where the network card wrote them, or copied
    /// once by its driver or behind it; it takes the packets away from the host. af-packet: copies of them, on any interface;
    /// nothing is taken from the host. auto: the first of these that the interface can, but only af-packet on one with an
    /// address, a master or an interface on top [default: auto]
    #[arg(long, value_name = "auto|zero-copy|copy|generic|af-packet")]
    mode: Option<Mode>,
    /// With AF_XDP: what becomes of packets that are no TCP of the observed ports: the host gets them, or nobody
    /// [default: pass]
    #[arg(long, value_name = "pass|drop")]
    others: Option<Others>,
    /// adaptive: sleep while no packets come. busy: look for them all the time, each worker on a core that nobody else needs
    /// [default: adaptive]
    #[arg(long, value_name = "adaptive|busy")]
    poll: Option<Poll>,
    /// Take packets of the observed ports away even from an interface that the host uses (with zero-copy, copy or generic)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    consume: Option<bool>,
    /// How the network card spreads packets over its queues. keep: as it does. symmetric: so that both directions of a connection
    /// come to one queue, and each worker, one for each queue, reads its own; what was before is put back at the end. Not for
    /// VXLAN and Geneve, whose two directions may still come to different queues [default: keep]
    #[arg(long, value_name = "keep|symmetric")]
    rss: Option<RssWish>,
    /// Go on as this user once interfaces and outputs are opened, for which root is needed; capabilities are given up in any case
    /// [default: whoever runs it]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// End after this long, such as 30s or 1h [default: until Ctrl-C or SIGTERM]
    #[arg(long, value_name = "DURATION")]
    duration: Option<Nanoseconds>,
    #[command(flatten)]
    common: Common,
}

/// The options that `read` and `capture` share.
#[derive(Args, Debug)]
struct Common {
    /// Take options from a TOML file: `port = 6380`, `slower-than = "5ms"`, `sink = ["jsonl:a"]`. Its keys are the names of
    /// these options without the dashes; what is typed here wins over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    records: Records,
    #[command(flatten)]
    statistics: Statistics,
    #[command(flatten)]
    pairing: Pairing,
    #[command(flatten)]
    resources: Resources,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Reading")]
struct Reading {
    /// Read files block by block, as a single worker does, where several have them mapped into memory: for file systems where
    /// mapping is slow or unsafe
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    no_mmap: Option<bool>,
    /// A testing aid: treat the capture as if the mirror port had been worse, and say so in the summary. SPEC is a list of
    /// loss=1% (client-loss, server-loss: of one direction), duplicate=1%, reorder=5%:8 (late by up to 8 frames),
    /// truncate=0.1%, flip=0.01% (a bit of a frame) and seed=7; the same seed gives the same faults [default: none]
    #[arg(long, value_name = "SPEC")]
    fault: Option<Faults>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Traffic")]
struct Traffic {
    /// TCP ports on which the servers listen: numbers and ranges, such as 6379,7000-7005; or `any`, to recognise Redis's protocol
    /// on whatever port it is spoken, by what both sides say first [default: 6379]
    #[arg(long, value_name = "LIST")]
    port: Option<List<PortRange>>,
    /// Tell connections apart also by their VLAN and tunnel (VXLAN and Geneve network, GRE key, ERSPAN session, MPLS label), for
    /// networks that use the same addresses. Not where the two directions differ in these, as often with MPLS: each would be
    /// a connection of its own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    key_by_vlan: Option<bool>,
}

#[derive(Args, Debug)]
#[command(
    next_help_heading = "Records: one per request (filters leave the statistics whole; all given ones must hold)"
)]
struct Records {
    /// Where the records go; may be given several times. jsonl:PATH is a file with a line of JSON each, jsonl:- standard
    /// output [default: nowhere]
    #[arg(long, value_name = "SPEC")]
    sink: Vec<SinkSpec>,
    /// Only requests that took longer than this from their last byte to the reply's last byte, such as 5ms or 1s
    #[arg(long, value_name = "DURATION")]
    slower_than: Option<Nanoseconds>,
    /// Only requests that the server answered with an error
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    errors: Option<bool>,
    /// Only these Redis commands, such as GET,'CLIENT SETNAME'; CLIENT alone stands for all of its subcommands
    #[arg(long, value_name = "LIST")]
    command: Option<List<CommandName>>,
    /// Only requests whose first key begins with one of these, such as user:,cart:
    #[arg(long, value_name = "LIST")]
    key_prefix: Option<List<String>>,
    /// Only requests from these clients: addresses or networks, such as 10.0.0.7,10.1.0.0/16
    #[arg(long, value_name = "CIDR")]
    client: Option<List<Network>>,
    /// Only requests to these servers: addresses or networks
    #[arg(long, value_name = "CIDR")]
    server: Option<List<Network>>,
    /// Only every Nth connection, chosen by its addresses and start, and whole: 1/10 is a tenth of them
    #[arg(long, value_name = "1/N")]
    sample: Option<Sample>,
    /// What of requests and replies is shown, in every output. keys: names of keys, other arguments as `?`, of errors the
    /// code. full: also arguments and replies. none: no keys either. Of commands that can carry a password nothing is shown
    /// [default: keys]
    #[arg(long, value_name = "none|keys|full")]
    payload: Option<Payload>,
    /// With `--payload full`, bytes that are shown of a request's arguments, and of a reply [default: 256]
    #[arg(long, value_name = "N")]
    payload_bytes: Option<usize>,
    /// Name of this observation point in the records [default: this machine's host name]
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
    /// Names of services, shown in records, summary and table: a TOML file with lines such as "10.0.0.9:6379" = "cache-a" or
    /// "10.1.0.0/16" = "checkout"; the longest prefix wins, then the one with a port
    #[arg(long, value_name = "FILE")]
    names: Option<FilePath>,
    /// Show keys not by their names but by a hash of them: HMAC-SHA-256 with the content of this file as the secret, the first
    /// 128 bits in hex. Replies, which may repeat keys, are then not shown, whatever `--payload` says
    #[arg(long, value_name = "FILE")]
    hash_keys: Option<FilePath>,
    /// Name the process and pid at either end in the records, where that is a process of this host that still runs: for
    /// `tcpdump -U … | resptap read - --processes` on the host of the Redis server or of its clients. Needs root for
    /// processes of others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    processes: Option<bool>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Statistics")]
struct Statistics {
    /// Write the final summary to a file as JSON, `-` for standard output [default: a table on standard output]
    #[arg(long, value_name = "PATH")]
    summary: Option<Output>,
    /// Table of the commands that the servers know and where their keys are, such as for modules or renamed commands; it
    /// takes the place of the built-in one, whose source, data/commands.tsv, explains the format [default: built in]
    #[arg(long, value_name = "FILE")]
    commands: Option<FilePath>,
    /// Write latency histograms at each interval to a HdrHistogram log (.hlog) that `resptap hist` and others read
    #[arg(long, value_name = "PATH")]
    hist_log: Option<FilePath>,
    /// Length of an interval of the histogram log, in capture time [default: 10s; of `capture`, and of its status line: 1s]
    #[arg(long, value_name = "DURATION")]
    interval: Option<Nanoseconds>,
    /// Latency series, one per server and command, that are kept apart; all others are counted as `other` [default: 512]
    #[arg(long, value_name = "N")]
    series: Option<usize>,
    /// The character that ends a prefix of a key: keys are also counted by what stands before the last one [default: :]
    #[arg(long, value_name = "C")]
    key_separator: Option<Separator>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Pairing requests with replies")]
struct Pairing {
    /// A request without a reply is reported as timed out after this long at the head of its connection; commands that
    /// wait on purpose, such as BLPOP, never are [default: 30s]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Nanoseconds>,
    /// A connection without packets for this long is forgotten, to save memory [default: 1h]
    #[arg(long, value_name = "DURATION")]
    idle_timeout: Option<Nanoseconds>,
    /// Which replies are believed to belong to which requests after lost packets, or where the capture began in the middle
    /// of a connection. strict: only what is proved. assume: also what is as good as certain by the client's ways, such as
    /// silence between its requests. trust: also requests and replies that alternate from first to last. Records name what
    /// they rest on [default: assume]
    #[arg(long, value_name = "strict|assume|trust")]
    resync: Option<Resync>,
    /// How long both sides must be silent for `--resync assume` to take everything as answered [default: 2s]
    #[arg(long, value_name = "DURATION")]
    resync_silence: Option<Nanoseconds>,
    /// How long packets that are missing are waited for (they may come late or again) before they count as lost
    /// [default: 50ms]
    #[arg(long, value_name = "DURATION")]
    reorder_time: Option<Nanoseconds>,
    /// How many further packets of their connection they are waited for [default: 128]
    #[arg(long, value_name = "N")]
    reorder_packets: Option<u32>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Resources")]
struct Resources {
    /// Worker threads, each on a core of its own [default: usable cores - 1, at least 1; of `capture`: the interface's receive
    /// queues, at most the usable cores]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Cores to run on: first those of the workers, then that of the writer, such as 2-7,1 [default: automatic; of `capture`,
    /// where a network card tells which are near it and there are enough, those for the workers]
    #[arg(long, value_name = "LIST")]
    cpus: Option<List<CpuRange>>,
    /// Memory for connections, unfinished requests and statistics altogether, such as 512MiB or 4GiB: never exceeded; the
    /// oldest gives way, and the summary tells [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
}

impl Read {
    fn split(self) -> (Options, Vec<PathBuf>, Option<PathBuf>) {
        let Read { files, mut common, reading: Reading { no_mmap, fault } } = self;
        let config = common.config.take();
        (Options { no_mmap, fault, ..common.options() }, files, config)
    }
}

impl Capture {
    fn split(self) -> (Options, Option<PathBuf>) {
        let Capture { interface, mode, others, poll, consume, rss, user, duration, mut common } = self;
        let config = common.config.take();
        let interface = (!interface.is_empty()).then_some(Several(interface));
        (Options { interface, mode, others, poll, consume, rss, user, duration, ..common.options() }, config)
    }
}

impl Common {
    fn options(self) -> Options {
        let Common { config: _, traffic, records, statistics, pairing, resources } = self;
        Options {
            workers: resources.workers,
            cpus: resources.cpus,
            port: traffic.port,
            key_by_vlan: traffic.key_by_vlan,
            sink: (!records.sink.is_empty()).then_some(Several(records.sink)),
            slower_than: records.slower_than,
            errors: records.errors,
            command: records.command,
            key_prefix: records.key_prefix,
            client: records.client,
            server: records.server,
            sample: records.sample,
            payload: records.payload,
            payload_bytes: records.payload_bytes,
            timeout: pairing.timeout,
            idle_timeout: pairing.idle_timeout,
            resync: pairing.resync,
            resync_silence: pairing.resync_silence,
            reorder_time: pairing.reorder_time,
            reorder_packets: pairing.reorder_packets,
            memory: resources.memory,
            series: statistics.series,
            key_separator: statistics.key_separator,
            commands: statistics.commands,
            hist_log: statistics.hist_log,
            interval: statistics.interval,
            summary: statistics.summary,
            sensor: records.sensor,
            names: records.names,
            hash_keys: records.hash_keys,
            processes: records.processes,
            ..Options::default()
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// `resptap read`.
    Read(Box<Config>),
    /// `resptap capture`.
    Capture(Box<Config>, Live),
    /// `resptap check`.
    Check(CheckConfig),
    /// `resptap hist`.
    Hist(HistConfig),
}

/// A command line that can be carried out.
#[derive(Debug)]
pub struct Invocation {
    /// What is to be done.
    pub command: Command,
    /// How often `-v` was given.
    pub verbosity: u8,
}

/// Nothing is to be run: the command line is wrong, or asked only for help or the version.
#[derive(Debug)]
pub enum Refusal {
    /// What clap has to say.
    Usage(clap::Error),
    /// The options don't go together, or the configuration file is wrong.
    Config(ConfigError),
}

impl Refusal {
    /// Tells the user, and gives the exit status.
    pub fn report(&self) -> ExitCode {
        match self {
            Refusal::Usage(error) => {
                // A closed pipe (`resptap --help | head -1`) is no failure of ours.
                let _ = error.print();
            }
            Refusal::Config(error) => eprintln!("error: {error}"),
        }
        ExitCode::from(self.status())
    }

    fn status(&self) -> u8 {
        match self {
            Refusal::Usage(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => 0,
            Refusal::Usage(_) | Refusal::Config(_) => 2,
        }
    }
}

/// The program: does what was typed, says what failed, and answers with the exit status (SPEC section 1).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let invocation = match parse(arguments) {
        Ok(invocation) => invocation,
        Err(refusal) => return refusal.report(),
    };
    ui::log::start(invocation.verbosity);
    let done = match &invocation.command {
        Command::Read(config) => {
            warn_of_unknown_commands(config);
            ui::read::run(config)
        }
        Command::Capture(config, live) => {
            warn_of_unknown_commands(config);
            ui::capture::run(config, live)
        }
        Command::Check(check) => ui::check::run(check),
        Command::Hist(hist) => hist_to_stdout(hist),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", ui::format::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn warn_of_unknown_commands(config: &Config) {
    for (given, nearest) in unknown_commands(&config.filter, config.table) {
        tracing::warn!("--command {given}: not in the command table; did you mean {nearest}?");
    }
}

fn hist_to_stdout(hist: &HistConfig) -> anyhow::Result<bool> {
    ui::hist::run(&hist.files, hist.tag.as_deref(), hist.hgrm.as_deref(), &mut std::io::stdout().lock())?;
    Ok(true)
}

/// Reads a command line, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Refusal> {
    let typed = Typed::try_parse_from(arguments).map_err(Refusal::Usage)?;
    let command = match typed.command {
        TypedCommand::Read(read) => {
            let (options, files, config) = read.split();
            let options = with_file(options, config)?;
            Command::Read(Box::new(Config::new(options, files).map_err(Refusal::Config)?))
        }
        TypedCommand::Capture(capture) => {
            let (options, config) = capture.split();
            let options = with_file(options, config)?;
            let (config, live) = Config::capture(options).map_err(Refusal::Config)?;
            Command::Capture(Box::new(config), live)
        }
        TypedCommand::Check(Check { interface, restore }) => {
            Command::Check(CheckConfig::new(&interface, restore).map_err(Refusal::Config)?)
        }
        TypedCommand::Hist(Hist { files, tag, hgrm }) => {
            Command::Hist(HistConfig::new(files, tag, hgrm).map_err(Refusal::Config)?)
        }
    };
    Ok(Invocation { command, verbosity: typed.verbose })
}

/// Options over those of the file that was named.
fn with_file(options: Options, path: Option<PathBuf>) -> Result<Options, Refusal> {
    let Some(path) = path else { return Ok(options) };
    Ok(options.over(file::read(&path).map_err(ConfigError::from).map_err(Refusal::Config)?))
}

#[cfg(test)]
mod tests;
