//! `resptap read`: runs it, shows the progress meanwhile and the summary at the end.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::config::values::Output;
use crate::counters::Counter;
use crate::export::summary::{Memory, Report, to_json};
use crate::runtime::{self, Outcome};

use super::advice::Observed;
use super::format::{Style, chain, unless_enough};
use super::progress::Progress;
use super::signals::Signals;
use super::survey::Survey;
use super::table::print_summary;

/// Reads the files and writes all that was asked for. `Ok(false)`: something failed, and was said on standard error.
pub fn run(config: &Config) -> Result<bool> {
    let summary = config.summary.as_ref().map(Destination::open).transpose()?;
    let total = total_bytes(config);
    let signals = Signals::catch().context("the signals that end the program can't be caught")?;
    let mut bar = Bar { progress: Progress::new(total), signals };
    let outcome = runtime::read(config, &mut bar);
    bar.progress.finish();
    let outcome = outcome?;
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        started: outcome.started,
        ended: outcome.ended,
        clock: &outcome.clock,
        input: &outcome.input,
        counters: &outcome.counters,
        totals: &outcome.totals,
        keys: outcome.keys.as_ref(),
        key_hasher: config.key_hasher.as_ref(),
        replication: &outcome.replication,
        names: &config.names,
        workers: &outcome.workers,
        memory: Memory { budget: config.memory, peak: outcome.memory_peak },
    };
    let mut problems = outcome.problems.clone();
    let told = match summary {
        Some(destination) => destination.write_json(&report),
        None => print_table(config, &report, &outcome),
    };
    problems.extend(told.err().map(|error| chain(&error)));
    for problem in &problems {
        tracing::error!("{problem}");
    }
    Ok(problems.is_empty())
}

/// The table goes to standard output, unless records do.
fn print_table(config: &Config, report: &Report<'_>, outcome: &Outcome) -> Result<()> {
    if outcome.input.files.iter().all(|file| file.packets == 0) && !outcome.problems.is_empty() {
        // Nothing could be read: the error says all there is to say.
        return Ok(());
    }
    let survey = survey(config, report);
    let observed = Observed { ports: &config.ports, survey: survey.as_ref() };
    let print = |is_terminal, out: &mut dyn Write| {
        print_summary(report, observed, Style { colour: is_terminal, ..Style::default() }, out)
    };
    let told = if config.uses_stdout() {
        print(io::stderr().is_terminal(), &mut io::stderr().lock())
    } else {
        print(io::stdout().is_terminal(), &mut io::stdout().lock())
    };
    unless_enough(told).context("printing the summary failed")
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

/// Where the summary goes; a file is opened before work begins.
enum Destination<'a> {
    Stdout,
    File(&'a Path, File),
}

impl Destination<'_> {
    fn open(output: &Output) -> Result<Destination<'_>> {
        Ok(match output {
            Output::Stdout => Destination::Stdout,
            Output::File(path) => {
                let file = File::create(path)
                    .with_context(|| format!("{} can't be created for writing the summary", path.display()))?;
                Destination::File(path, file)
            }
        })
    }

    fn write_json(self, report: &Report<'_>) -> Result<()> {
        let summary = to_json(report);
        let write = |out: &mut dyn Write| -> io::Result<()> {
            writeln!(out, "{summary:#}")?;
            out.flush()
        };
        match self {
            Destination::Stdout => {
                unless_enough(write(&mut io::stdout().lock())).context("writing the summary to standard output failed")
            }
            Destination::File(path, file) => write(&mut BufWriter::new(file))
                .with_context(|| format!("writing the summary to {} failed", path.display())),
        }
    }
}
