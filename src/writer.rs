//! The single writer: takes what the workers send, gives transactions to the sinks, and adds statistics up.
//!
//! An interval is complete when every worker has passed its end; then it goes to the interval log, whole. A sink that fails is
//! told of once and left out from then on: the analysis goes on, and the failure decides the exit status.

use std::collections::BTreeMap;

use crate::export::hlog::{HlogError, HlogWriter};
use crate::record::Message;
use crate::record::histograms::Statistics;
use crate::record::totals::Totals;
use crate::redis::command::CommandTable;
use crate::ring::{Inbox, pause};
use crate::sink::{Sink, SinkError};
use crate::units::Timestamp;

/// What went wrong while writing.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A sink failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The interval log failed.
    #[error(transparent)]
    Hlog(#[from] HlogError),
}

impl WriteError {
    /// Nothing failed: the reader of our standard output has seen enough.
    pub fn is_enough(&self) -> bool {
        matches!(self, WriteError::Sink(error) if error.is_enough())
    }
}

/// The writer.
pub struct Writer {
    table: &'static CommandTable,
    inboxes: Vec<Inbox<Message>>,
    sinks: Vec<Box<dyn Sink + Send>>,
    hlog: Option<HlogWriter>,
    /// Intervals that not all workers have passed, by their beginning: their end, how many have, and their sums.
    open: BTreeMap<Timestamp, (Timestamp, usize, Totals)>,
    totals: Totals,
    errors: Vec<WriteError>,
}

/// What the writer has at the end.
#[derive(Debug)]
pub struct WriterReport {
    /// All statistics.
    pub totals: Totals,
    /// All that failed, in order.
    pub errors: Vec<WriteError>,
}

impl Writer {
    /// A writer for the workers behind these rings.
    pub fn new(
        table: &'static CommandTable,
        inboxes: Vec<Inbox<Message>>,
        sinks: Vec<Box<dyn Sink + Send>>,
        hlog: Option<HlogWriter>,
    ) -> Writer {
        Writer { table, inboxes, sinks, hlog, open: BTreeMap::new(), totals: Totals::default(), errors: Vec::new() }
    }

    /// Writes until all workers have ended.
    pub fn run(mut self) -> WriterReport {
        let mut waited = 0;
        loop {
            let mut finished = true;
            for worker in 0..self.inboxes.len() {
                // In turn, so that no worker waits for another's backlog.
                match self.inboxes[worker].take() {
                    Some(message) => {
                        waited = 0;
                        finished = false;
                        self.take(worker, message);
                    }
                    None => finished &= self.inboxes[worker].is_finished(),
                }
            }
            if finished {
                break;
            }
            if waited > 0 || self.inboxes.iter().all(Inbox::is_empty) {
                pause(&mut waited);
            }
        }
        self.finish()
    }

    fn take(&mut self, worker: usize, message: Message) {
        match &message {
            Message::Records(batch) => {
                let errors = &mut self.errors;
                self.sinks.retain_mut(|sink| sink.write(batch).map_err(|error| errors.push(error.into())).is_ok());
            }
            Message::Statistics(statistics) => self.add(statistics),
        }
        self.inboxes[worker].give_back(message);
    }

    fn add(&mut self, statistics: &Statistics) {
        if !statistics.from.is_known() {
            // What a worker had left when the capture ended within its first interval.
            return self.totals.merge(statistics, self.table);
        }
        let (_, passed, sum) =
            self.open.entry(statistics.from).or_insert_with(|| (statistics.to, 0, Totals::default()));
        sum.merge(statistics, self.table);
        *passed += 1;
        let complete = *passed == self.inboxes.len();
        if complete {
            self.complete(statistics.from);
        }
    }

    fn complete(&mut self, from: Timestamp) {
        let Some((to, _, sum)) = self.open.remove(&from) else { return };
        if let Some(hlog) = &mut self.hlog
            && let Err(error) = hlog.interval(from, to, &sum)
        {
            self.errors.push(error.into());
            self.hlog = None;
        }
        self.totals.merge_totals(&sum);
    }

    fn finish(mut self) -> WriterReport {
        // Intervals that a worker did not reach because it ended early.
        while let Some((&from, _)) = self.open.first_key_value() {
            self.complete(from);
        }
        for sink in &mut self.sinks {
            if let Err(error) = sink.finish() {
                self.errors.push(error.into());
            }
        }
        if let Some(hlog) = self.hlog
            && let Err(error) = hlog.finish()
        {
            self.errors.push(error.into());
        }
        WriterReport { totals: self.totals, errors: self.errors }
    }
}
