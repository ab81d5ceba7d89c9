//! Writes traffic for measurements as a capture, the same for the same arguments; what was made is told on standard
//! error, as JSON.
//!
//! `cargo run --release -p resptap-perf --bin generate -- t1 --requests 1000000 --truth t1.jsonl t1.pcap`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use resptap_perf::generator::{self, Commands, Facts, Format, Plan, Profile, Sizes, Tunnel};

/// Writes a capture of traffic that never was.
#[derive(Parser, Debug)]
struct Arguments {
    /// What is made; the options change it
    profile: Profile,
    /// The capture; `-` is standard output
    output: PathBuf,
    /// Requests; of t7 and t9, which have none but the first of each connection, frames
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the capture is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The truth: a line of JSON for each request and its reply, with the times at which their first and last bytes (t1 to t4)
    /// passed the mirror port, and whether all of their frames are in the capture
    #[arg(long)]
    truth: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

/// What is changed of a profile.
#[derive(clap::Args, Debug)]
struct Changes {
    /// Connections that are open at the same time
    #[arg(long)]
    connections: Option<u32>,
    /// Of these, those that wait for replies
    #[arg(long)]
    in_flight: Option<u32>,
    /// Servers
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    servers: Option<u32>,
    /// Requests that are sent at once: 16, 1-32 (each as likely), 1~1000 (each magnitude as likely)
    #[arg(long)]
    pipeline: Option<Sizes>,
    /// Keys that there are
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    keys: Option<u64>,
    /// How long they are
    #[arg(long)]
    key_bytes: Option<Sizes>,
    /// How long values are
    #[arg(long)]
    value_bytes: Option<Sizes>,
    /// Fields of a hash
    #[arg(long)]
    fields: Option<Sizes>,
    /// Commands with their weights: get=9,set=1; of get, set, incr, lpush, hgetall, ping
    #[arg(long)]
    commands: Option<Commands>,
    /// Share of the connections that speak RESP3, from 0 to 1
    #[arg(long, value_parser = share)]
    resp3: Option<f64>,
    /// Share of their replies before which something is pushed
    #[arg(long, value_parser = share)]
    pushes: Option<f64>,
    /// Share of the connections over IPv6
    #[arg(long, value_parser = share)]
    ipv6: Option<f64>,
    /// Most payload of a segment, in bytes
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    segment_bytes: Option<u16>,
    /// Every second segment of several is acknowledged by one without data
    #[arg(long)]
    acks: bool,
    /// Segments carry TCP timestamps
    #[arg(long)]
    timestamps: bool,
    /// What frames are wrapped in
    #[arg(long, value_enum)]
    tunnel: Option<Tunnel>,
    /// Transactions after which a connection is closed and another one takes its place; 0: never
    #[arg(long)]
    lifetime: Option<u32>,
    /// Connections are older than the capture
    #[arg(long)]
    joins: bool,
    /// Share of the frames that are not captured
    #[arg(long, value_parser = share)]
    loss: Option<f64>,
    /// Share of the frames that are captured late
    #[arg(long, value_parser = share)]
    late: Option<f64>,
    /// Share of the frames that are captured twice
    #[arg(long, value_parser = share)]
    duplicates: Option<f64>,
    /// Nanoseconds from one frame to the next, on average
    #[arg(long)]
    interval_ns: Option<u64>,
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is no share: a number from 0 to 1"))
}

fn change<T>(what: &mut T, to: Option<T>) {
    if let Some(to) = to {
        *what = to;
    }
}

impl Changes {
    fn apply(self, plan: &mut Plan) {
        change(&mut plan.connections, self.connections.map(|connections| connections.max(2)));
        change(&mut plan.in_flight, self.in_flight);
        change(&mut plan.servers, self.servers);
        change(&mut plan.pipeline, self.pipeline);
        change(&mut plan.keys, self.keys);
        change(&mut plan.key_bytes, self.key_bytes);
        change(&mut plan.value_bytes, self.value_bytes);
        change(&mut plan.fields, self.fields);
        change(&mut plan.commands, self.commands);
        change(&mut plan.resp3, self.resp3);
        change(&mut plan.pushes, self.pushes);
        change(&mut plan.ipv6, self.ipv6);
        change(&mut plan.segment_bytes, self.segment_bytes.map(usize::from));
        plan.acks |= self.acks;
        plan.timestamps |= self.timestamps;
        change(&mut plan.tunnel, self.tunnel);
        change(&mut plan.lifetime, self.lifetime);
        plan.joins |= self.joins;
        change(&mut plan.faults.loss, self.loss);
        change(&mut plan.faults.late, self.late);
        change(&mut plan.faults.duplicates, self.duplicates);
        change(&mut plan.interval_ns, self.interval_ns);
    }
}

fn create(path: &PathBuf) -> Result<BufWriter<Box<dyn Write>>> {
    let out: Box<dyn Write> = if path.as_os_str() == "-" {
        Box::new(io::stdout().lock())
    } else {
        Box::new(File::create(path).with_context(|| format!("{} can't be created", path.display()))?)
    };
    Ok(BufWriter::with_capacity(1 << 18, out))
}

fn main() -> Result<()> {
    let Arguments { profile, output, requests, seed, format, truth, changes } = Arguments::parse();
    let mut plan = profile.plan();
    changes.apply(&mut plan);
    let is_stdout = output.as_os_str() == "-";
    ensure!(
        truth.as_ref().is_none_or(|truth| !is_stdout || truth.as_os_str() != "-"),
        "capture and truth can't both be written to standard output; name a file for one of them"
    );
    let mut truth = truth.as_ref().map(create).transpose()?;
    let out = create(&output)?;
    let facts =
        generator::write(&plan, seed, requests, format, out, truth.as_mut().map(|truth| truth as &mut dyn Write))
            .with_context(|| format!("writing {} failed", output.display()))?;
    if let Some(truth) = &mut truth {
        truth.flush().context("writing the truth failed")?;
    }
    tell(&facts)
}

fn tell(facts: &Facts) -> Result<()> {
    let Facts { happened, connections, requests, transactions, earlier_replies, pushes, hostile_bytes } = facts;
    let generator::Happened { packets, bytes, lost, late, duplicates } = happened;
    writeln!(
        io::stderr(),
        r#"{{"packets":{packets},"bytes":{bytes},"connections":{connections},"requests":{requests},"transactions":{transactions},"earlier_replies":{earlier_replies},"pushes":{pushes},"hostile_bytes":{hostile_bytes},"lost":{lost},"late":{late},"duplicates":{duplicates}}}"#
    )?;
    Ok(())
}
