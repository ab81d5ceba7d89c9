//! Sends a capture to an interface, and tells on standard output what was sent, as JSON.
//!
//! `cargo run --release -p resptap-perf --bin replay -- t1.pcap --interface eth1 --pps 500000 --threads 2 --loops 10`

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;

use resptap_perf::replay::{Loaded, Options, Pace, Sent};

/// Sends a capture to an interface.
#[derive(Parser, Debug)]
struct Arguments {
    /// The capture: pcap or pcapng, compressed or not
    capture: PathBuf,
    /// The interface
    #[arg(long)]
    interface: String,
    #[command(flatten)]
    rate: Rate,
    /// Threads, each with a socket; a connection's frames are sent by one of them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// How many times; 0: until --duration is over, or Ctrl-C. Each time clients have other addresses
    #[arg(long, default_value_t = 1)]
    loops: u64,
    /// Ends after so many seconds at the latest
    #[arg(long)]
    duration: Option<f64>,
    /// Server ports: addresses of the other ends change from loop to loop
    #[arg(long, value_delimiter = ',', default_value = "6379")]
    ports: Vec<u16>,
    /// Frames go to the driver without the kernel's queues: faster, but what the card has no room for is lost
    #[arg(long)]
    bypass: bool,
}

/// How fast; without any of these flat out.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct Rate {
    /// Frames a second
    #[arg(long, value_parser = positive)]
    pps: Option<f64>,
    /// Bits of frames a second
    #[arg(long, value_parser = positive)]
    bps: Option<f64>,
    /// So many times as fast as it was captured
    #[arg(long, value_parser = positive)]
    speed: Option<f64>,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| format!("`{text}` is no number above 0"))
}

fn main() -> Result<()> {
    let Arguments { capture, interface, rate, threads, loops, duration, ports, bypass } = Arguments::parse();
    let pace = match rate {
        Rate { pps: Some(rate), .. } => Pace::Packets(rate),
        Rate { bps: Some(rate), .. } => Pace::Bits(rate),
        Rate { speed: Some(factor), .. } => Pace::Speed(factor),
        _ => Pace::FlatOut,
    };
    let duration = duration.map(Duration::try_from_secs_f64).transpose()?;
    let options = Options { interface, pace, threads: threads.into(), loops, duration, ports, bypass };
    let loaded = Loaded::read(&capture, &options)?;
    ensure!(loaded.packets() > 0, "{} has no packets: there is nothing to send", capture.display());
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ends))?;
    }
    let Sent { packets, bytes, errors, retries, late_ns, seconds } = loaded.send(&options, &ends)?;
    let is_interrupted = ends.load(Ordering::Relaxed);
    let (pps, bps) = (packets as f64 / seconds, bytes as f64 * 8.0 / seconds);
    writeln!(
        io::stdout(),
        r#"{{"packets":{packets},"bytes":{bytes},"seconds":{seconds:.6},"pps":{pps:.0},"bps":{bps:.0},"errors":{errors},"retries":{retries},"late_ns":{late_ns},"interrupted":{is_interrupted}}}"#
    )?;
    Ok(())
}
