//! Measures resptap over traffic in memory, and tells on standard output what it found, as JSON. `scripts/perf` builds and runs it,
//! and makes tables.

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use resptap_perf::generator::Profile;
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
            let Counted { packets, transactions, imbalance } = count(profile, variant, packets, shards as usize, seed)?;
            format!(
                r#"{{"profile":"{profile}","variant":"{}","packets":{packets},"transactions":{transactions},"imbalance":{imbalance}}}"#,
                variant.name()
            )
        }
        What::Idle { connections } => {
            format!(r#"{{"connections":{connections},"bytes_per_connection":{:.1}}}"#, idle_bytes(connections, seed)?)
        }
    };
    writeln!(io::stdout(), "{text}")
}
