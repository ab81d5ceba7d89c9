//! `resptap read`: runs it, and shows the progress meanwhile.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::counters::Counter;
use crate::export::summary::Report;
use crate::runtime;

use super::progress::Progress;
use super::report::{Destination, tell};
use super::signals::Signals;
use super::survey::Survey;

/// Reads the files and writes all that was asked for. `Ok(false)`: something failed, and was said on standard error.
pub fn run(config: &Config) -> Result<bool> {
    let summary = config.summary.as_ref().map(Destination::open).transpose()?;
    let total = total_bytes(config);
    let signals = Signals::catch().context("the signals that end the program can't be caught")?;
    let mut bar = Bar { progress: Progress::new(total), signals };
    let outcome = runtime::read(config, &mut bar);
    bar.progress.finish();
    Ok(tell(config, &outcome?, summary, |report| survey(config, report)))
}

/// A second look at the capture, if the first found nothing in it.
fn survey(config: &Config, report: &Report<'_>) -> Option<Survey> {
    let nothing = report.counters[Counter::Requests] == 0 && report.counters[Counter::FramesSeen] > 0;
    let with_packets = report.input.files.iter().zip(&config.files).find(|(file, _)| file.packets > 0);
    with_packets.filter(|_| nothing).and_then(|(_, path)| Survey::of(path))
}

/// Bytes of all files, where each has a length.
fn total_bytes(config: &Config) -> Option<u64> {
    let length =
        |path: &Path| Some(std::fs::metadata(path).ok()?).filter(std::fs::Metadata::is_file).map(|file| file.len());
    config.files.iter().map(|path| length(path)).sum()
}

struct Bar {
    progress: Progress,
    signals: Signals,
}

impl runtime::Progress for Bar {
    fn update(&mut self, bytes: u64, packets: u64) {
        self.progress.update(bytes, packets);
    }

    fn wants_end(&self, is_standard_input: bool) -> bool {
        self.signals.want_end(is_standard_input)
    }
}
