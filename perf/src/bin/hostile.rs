//! Writes traffic that wants more memory than there is, as a capture, to standard output; what was written is told on standard
//! error, as JSON. `scripts/memory` builds and runs it.
//!
//! `cargo run --release -p resptap-perf --bin hostile -- syn --connections 1000000 | resptap read --memory 256MiB -`

use std::io::{self, BufWriter, Write};

use clap::Parser;

use resptap_perf::hostile::{self, ANSWER_NS, Case, Facts};

/// Writes a capture that is the same for the same arguments.
#[derive(Parser, Debug)]
struct Arguments {
    /// What there is too much of
    case: Case,
    /// Connections that it is made of
    #[arg(long, default_value_t = 100_000)]
    connections: u64,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> io::Result<()> {
    let Arguments { case, connections, seed } = Arguments::parse();
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let Facts { connections, packets, honest } = hostile::write(case, connections, seed, out)?;
    writeln!(
        io::stderr(),
        r#"{{"connections":{connections},"packets":{packets},"honest":{honest},"answer_ns":{ANSWER_NS}}}"#
    )
}
