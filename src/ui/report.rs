//! What a run found, told at its end: the summary as JSON or as a table, and what went wrong.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::config::values::Output;
use crate::export::summary::{Memory, Report, to_json};
use crate::runtime::Outcome;

use super::advice::Observed;
use super::format::{Style, chain, unless_enough};
use super::survey::Survey;
use super::table::print_summary;

/// Tells what was found. `Ok(false)`: something failed, and was said on standard error. `survey` takes a second look at the
/// traffic, where that is possible, if the first found nothing in it.
pub(super) fn tell(
    config: &Config,
    outcome: &Outcome,
    summary: Option<Destination<'_>>,
    survey: impl FnOnce(&Report<'_>) -> Option<Survey>,
) -> bool {
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
        None => print_table(config, &report, outcome, survey),
    };
    problems.extend(told.err().map(|error| chain(&error)));
    for problem in &problems {
        tracing::error!("{problem}");
    }
    problems.is_empty()
}

/// The table goes to standard output, unless records do.
fn print_table(
    config: &Config,
    report: &Report<'_>,
    outcome: &Outcome,
    survey: impl FnOnce(&Report<'_>) -> Option<Survey>,
) -> Result<()> {
    let input = &outcome.input;
    let packets = input.files.iter().map(|file| file.packets).chain(input.interfaces.iter().map(|one| one.packets));
    if packets.sum::<u64>() == 0 && !outcome.problems.is_empty() {
        // Nothing could be read: the error says all there is to say.
        return Ok(());
    }
    let survey = survey(report);
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

/// Where the summary goes; a file is opened before work begins.
pub(super) enum Destination<'a> {
    Stdout,
    File(&'a Path, File),
}

impl Destination<'_> {
    pub(super) fn open(output: &Output) -> Result<Destination<'_>> {
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
