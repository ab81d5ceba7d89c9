//! Measures resptap over traffic in memory, and tells on standard output what it found, as JSON. `scripts/perf` builds and runs it,
//! and makes tables.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use resptap_perf::generator::{Plan, Profile};
use resptap_perf::harness::file;
use resptap_perf::harness::latency::{Latency, latency};
use resptap_perf::harness::overload::{Options, Overloaded, overload};
use resptap_perf::harness::timing::{Counted, Variant, count, idle_bytes, time};

/// As in resptap itself, whose memory is measured, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures resptap over traffic in memory.
#[derive(Parser, Debug)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Where chance begins
    #[arg(long, default_value_t = 1, global = true)]
    seed: u64,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Times variants in turn over the same frames, in rounds
    Time {
        /// Which traffic
        profile: Profile,
        /// What is timed: F0 to F3 (floors), A (statistics), R (records to the ring), D (JSON Lines)
        #[arg(long, value_delimiter = ',', value_parser = variant, default_value = "F0,F1,F2,F3,A,D")]
        variants: Vec<Variant>,
        /// Rounds, each of 128 MB of frames
        #[arg(long, default_value_t = 9)]
        rounds: usize,
    },
    /// Takes frames once, within the function `counted`, for valgrind to count its instructions
    Count {
        /// Which traffic
        profile: Profile,
        /// What is counted
        #[arg(long, value_parser = variant)]
        variant: Variant,
        /// Frames
        #[arg(long, default_value_t = 100_000)]
        packets: usize,
        /// Workers among which they are dealt out, one after the other
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
        shards: u32,
    },
    /// Tells how long a worker takes for a batch of 64 frames
    Latency {
        /// Which traffic
        profile: Profile,
        /// Pieces of traffic, each of 128 MB of frames
        #[arg(long, default_value_t = 3)]
        pieces: usize,
    },
    /// Gives a worker twice the load that it can carry, and accounts for all of it
    Overload {
        /// Packets, of which there are two million a second: a quarter before it, a quarter under it, and half of them after it
        #[arg(long, default_value_t = 8_000_000)]
        packets: u64,
        /// The writer is too slow for the records, too
        #[arg(long)]
        slow_writer: bool,
    },
    /// Times resptap over the frames of a capture file, which are in memory
    File {
        /// Which traffic it is
        profile: Profile,
        /// The file
        capture: PathBuf,
        /// What is timed: A (statistics), R (records to the ring), D (JSON Lines)
        #[arg(long, value_parser = variant, default_value = "D")]
        variant: Variant,
        /// How many times
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Tells how much memory a silent connection takes
    Idle {
        /// Connections
        #[arg(long, default_value_t = 1_000_000)]
        connections: u32,
    },
}

fn variant(text: &str) -> Result<Variant, String> {
    Variant::named(text).ok_or_else(|| format!("`{text}` is none of F0, F1, F2, F3, A, R, D"))
}

fn list(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!("[{}]", numbers.join(","))
}

fn overloaded(found: &Overloaded) -> io::Result<String> {
    found.check().map_err(|what| io::Error::other(format!("under overload {what}")))?;
    let Overloaded { packets, processed, shed, dropped, transactions, written, unwritten, wrong, .. } = found;
    let Overloaded { kept, whole, share_max, share_after, resident_before, resident_after, .. } = found;
    let whole = whole.map_or("null".to_owned(), |whole| whole.to_string());
    Ok(format!(
        r#"{{"packets":{packets},"processed":{processed},"shed":{shed},"dropped":{dropped},"transactions":{transactions},"written":{written},"unwritten":{unwritten},"wrong":{wrong},"kept":{kept},"whole":{whole},"share_max":{share_max:.4},"share_after":{share_after:.4},"resident_before":{resident_before},"resident_after":{resident_after}}}"#
    ))
}

fn main() -> io::Result<()> {
    let Arguments { what, seed } = Arguments::parse();
    let text = match what {
        What::Time { profile, variants, rounds } => {
            let timing = time(profile, &variants, rounds, seed)?;
            let nanoseconds: Vec<String> = variants
                .iter()
                .zip(&timing.nanoseconds)
                .map(|(variant, of)| format!(r#""{}":{}"#, variant.name(), list(of)))
                .collect();
            format!(
                r#"{{"profile":"{profile}","packets":{},"transactions":{},"bytes":{},"paired":{},"nanoseconds":{{{}}}}}"#,
                list(&timing.packets),
                list(&timing.transactions),
                list(&timing.bytes),
                timing.paired.map_or("null".to_owned(), |share| format!("{share:.4}")),
                nanoseconds.join(",")
            )
        }
        What::Count { profile, variant, packets, shards } => {
            let Counted { packets, transactions, imbalance, bytes_per_shard } =
                count(profile, variant, packets, shards as usize, seed)?;
            format!(
                r#"{{"profile":"{profile}","variant":"{}","packets":{packets},"transactions":{transactions},"imbalance":{imbalance},"bytes_per_shard":{bytes_per_shard:.0}}}"#,
                variant.name()
            )
        }
        What::Latency { profile, pieces } => {
            let Latency { batches, median, p99, p999, max } = latency(profile, pieces, seed)?;
            format!(
                r#"{{"profile":"{profile}","batches":{batches},"median":{median},"p99":{p99},"p999":{p999},"max":{max}}}"#
            )
        }
        What::Overload { packets, slow_writer } => {
            let options = Options { packets, is_writer_slow: slow_writer };
            overloaded(&overload(&Plan { interval_ns: 500, ..Profile::T1.plan() }, options, seed)?)?
        }
        What::File { profile, capture, variant, rounds } => {
            let Variant::Resptap(mode) = variant else {
                return Err(io::Error::other(format!("{} is a floor, and reads no files", variant.name())));
            };
            let file::Timing { packets, paired, nanoseconds } = file::time(&capture, profile, mode, rounds)?;
            format!(r#"{{"packets":{packets},"paired":{paired},"nanoseconds":{}}}"#, list(&nanoseconds))
        }
        What::Idle { connections } => {
            format!(r#"{{"connections":{connections},"bytes_per_connection":{:.1}}}"#, idle_bytes(connections, seed)?)
        }
    };
    writeln!(io::stdout(), "{text}")
}
