//! Receives an interface's frames as `resptap capture` does, and gives each back at once: what capturing costs before anything is
//! done with a packet. Ends when its standard input does, and tells on standard output how many there were, as JSON.
//! `scripts/capture-cost` builds and runs it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;
use std::time::Duration;

use clap::Parser;

use resptap::capture::choice::{self, Opened, Wanted};
use resptap::capture::live::{Interfaces, Tap};
use resptap::capture::spread::Spread;
use resptap::capture::{Others, Source, Way};
use resptap::limits::BATCH_FRAMES;

/// How long is waited at a time, as `resptap capture` does.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Receives frames, and does nothing with them.
#[derive(Parser, Debug)]
struct Arguments {
    /// The interface
    #[arg(long)]
    interface: String,
    /// How: af-packet, generic, copy or zero-copy
    #[arg(long, value_parser = way)]
    mode: Way,
}

fn way(text: &str) -> Result<Way, String> {
    let all = Way::ALL;
    all.into_iter().find(|way| way.name() == text).ok_or_else(|| format!("one of {}", all.map(Way::name).join(", ")))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { interface, mode } = Arguments::parse();
    let ports = [6379];
    let wanted = Wanted {
        way: Some(mode),
        ports: &ports,
        others: Others::Pass,
        without_xdp: None,
        consume: false,
        spread: Spread { workers: 1, secret: 1 },
        interfaces: 1,
    };
    let Opened { taps, .. } = choice::open(&interface, &wanted)?;
    let mut tap = Interfaces::new(taps);
    let has_ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&has_ended);
    spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        end.store(true, Ordering::Relaxed);
    });
    writeln!(io::stderr(), "capturing {interface}")?;
    let mut quiet = 0;
    while quiet == 0 || !has_ended.load(Ordering::Relaxed) {
        let mut frames = 0;
        let Ok(_) = tap.poll(BATCH_FRAMES, &mut |_| frames += 1);
        quiet = if frames == 0 { quiet + 1 } else { 0 };
        if quiet > 0 {
            tap.rest(quiet, IDLE_WAIT);
        }
    }
    let packets: u64 = tap.sources().iter().map(Tap::packets).sum();
    let drops: u64 = tap.sources_mut().iter_mut().map(Tap::drops).sum();
    writeln!(io::stdout(), r#"{{"packets":{packets},"drops":{drops}}}"#)?;
    Ok(())
}
