//! The single writer: takes what the workers send, gives transactions to the sinks, and adds statistics up.
//!
//! An interval is complete when every worker has passed its end (of a live capture each at its own pace, perhaps several at
//! once); then it goes to the interval log, whole. A sink that fails is
//! told of once and left out from then on: the analysis goes on, and the failure decides the exit status.

use std::collections::BTreeMap;

use crate::endpoint::Labels;
use crate::export::hlog::{HlogError, HlogWriter};
use crate::limits::{INTERVAL_SUMS_BYTES_MIN, INTERVALS_OPEN_MAX};
use crate::record::Message;
use crate::record::histograms::Statistics;
use crate::record::room::Room;
use crate::record::totals::Totals;
use crate::redis::command::CommandTable;
use crate::ring::{Inbox, pause};
use crate::sink::{Sink, SinkError};
use crate::units::Timestamp;

/// After how often nothing had come sinks write what they have: a twentieth of a second or so.
const FLUSH_AFTER_PAUSES: u32 = 170;

/// Bytes of what is always whole: of the sums of all intervals that may be open, and of all.
const SUMS_RESERVED_BYTES: u64 = (INTERVALS_OPEN_MAX as u64 + 1) * Totals::RESERVED_BYTES;
const _: () = assert!(SUMS_RESERVED_BYTES <= INTERVAL_SUMS_BYTES_MIN);

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
    labels: Labels,
    /// Bytes for histograms of sums.
    bytes: u64,
    /// Intervals that not all workers have passed, by their beginning: their end and their sums.
    open: BTreeMap<Timestamp, (Timestamp, Totals)>,
    /// The end of the last interval that each worker has passed.
    passed: Vec<Timestamp>,
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
    /// A writer for the workers behind these rings. Where intervals are told, `bytes` are there for their sums; where they are
    /// not, each worker's histograms move here at its end, and there need be no bound.
    pub fn new(
        table: &'static CommandTable,
        inboxes: Vec<Inbox<Message>>,
        sinks: Vec<Box<dyn Sink + Send>>,
        hlog: Option<HlogWriter>,
        labels: Labels,
        bytes: u64,
    ) -> Writer {
        Writer {
            passed: vec![Timestamp::NONE; inboxes.len()],
            table,
            inboxes,
            sinks,
            hlog,
            labels,
            bytes,
            open: BTreeMap::new(),
            totals: Totals::default(),
            errors: Vec::new(),
        }
    }

    /// Writes until all workers have ended.
    pub fn run(mut self) -> WriterReport {
        let mut waited = 0;
        loop {
            let mut finished = true;
            for worker in 0..self.inboxes.len() {
                // In turn, so that no worker waits for another's backlog.
                let next = if self.must_wait(worker) { None } else { self.inboxes[worker].take() };
                match next {
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
                if waited == FLUSH_AFTER_PAUSES {
                    let errors = &mut self.errors;
                    self.sinks.retain_mut(|sink| sink.flush().map_err(|error| errors.push(error.into())).is_ok());
                }
            }
        }
        self.finish()
    }

    /// Whether too many intervals are open for this worker to begin another: those that are behind come first.
    fn must_wait(&self, worker: usize) -> bool {
        self.open.len() >= INTERVALS_OPEN_MAX && self.slowest().is_some_and(|passed| passed < self.passed[worker])
    }

    /// What all workers have passed. One that has ended early holds up nobody.
    fn slowest(&self) -> Option<Timestamp> {
        let working = self.passed.iter().zip(&self.inboxes).filter(|(_, inbox)| !inbox.is_finished());
        working.map(|(&passed, _)| passed).min()
    }

    fn take(&mut self, worker: usize, mut message: Message) {
        match &mut message {
            Message::Records(batch) => {
                if !self.sinks.is_empty() {
                    self.labels.prepare(batch);
                }
                let (labels, errors) = (&self.labels, &mut self.errors);
                self.sinks
                    .retain_mut(|sink| sink.write(batch, labels).map_err(|error| errors.push(error.into())).is_ok());
            }
            Message::Statistics(statistics) => self.add(worker, statistics),
        }
        self.inboxes[worker].give_back(message);
    }

    fn add(&mut self, worker: usize, statistics: &mut Statistics) {
        let mut room = self.room();
        if !statistics.from.is_known() {
            // All that a worker had, or what was left when the capture ended within its first interval: the box is not needed
            // any more.
            return self.totals.merge(statistics, true, self.table, &mut room);
        }
        let (to, sum) = self.open.entry(statistics.from).or_insert_with(|| (statistics.to, Totals::default()));
        // One that found the writer busy has a longer interval.
        *to = (*to).max(statistics.to);
        sum.merge(statistics, false, self.table, &mut room);
        self.passed[worker] = statistics.to;
        let Some(passed) = self.slowest() else { return };
        while let Some((&from, &(to, _))) = self.open.first_key_value()
            && to <= passed
        {
            self.complete(from);
        }
    }

    fn complete(&mut self, from: Timestamp) {
        let Some((to, sum)) = self.open.remove(&from) else { return };
        if let Some(hlog) = &mut self.hlog
            && let Err(error) = hlog.interval(from, to, &sum)
        {
            self.errors.push(error.into());
            self.hlog = None;
        }
        let mut room = self.room();
        room.take_up(sum.bytes());
        self.totals.merge_totals(sum, &mut room);
    }

    /// What is left for sums.
    fn room(&self) -> Room {
        let open = self.open.values().map(|(_, sum)| sum.bytes()).sum::<u64>();
        Room::new(self.bytes, SUMS_RESERVED_BYTES + self.totals.bytes() + open)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::names::Names;
    use crate::ring::{Outbox, ring};

    fn passed(from: u64) -> Message {
        let mut statistics = Box::<Statistics>::default();
        (statistics.from, statistics.to) = (Timestamp(from), Timestamp(from + 10));
        Message::Statistics(statistics)
    }

    /// A writer of two workers, and the workers' sides.
    fn writer() -> (Writer, Vec<Outbox<Message>>) {
        let (outboxes, inboxes) = (0..2).map(|_| ring(8)).unzip();
        let writer = Writer::new(
            CommandTable::built_in(),
            inboxes,
            Vec::new(),
            None,
            Labels::new(Names::default(), None),
            u64::MAX,
        );
        (writer, outboxes)
    }

    fn open(writer: &Writer) -> Vec<u64> {
        writer.open.keys().map(|from| from.0).collect()
    }

    #[test]
    fn an_interval_is_complete_when_all_workers_have_passed_it_though_one_jumped_over_it() {
        let (mut writer, _outboxes) = writer();
        for from in [10, 20, 30] {
            writer.take(0, passed(from));
        }
        assert_eq!(open(&writer), [10, 20, 30], "the other has told nothing yet");
        writer.take(1, passed(20));
        assert_eq!(open(&writer), [30], "it began later, or was too busy for the first");
        writer.take(1, passed(40));
        assert_eq!(open(&writer), [40]);
    }

    #[test]
    fn who_is_far_ahead_waits_for_who_is_behind() {
        let (mut writer, _outboxes) = writer();
        for from in [10, 20, 30] {
            assert!(!writer.must_wait(0));
            writer.take(0, passed(from));
        }
        assert!(writer.must_wait(0) && !writer.must_wait(1));
        writer.take(1, passed(10));
        assert!(!writer.must_wait(0), "one interval is complete");
    }

    #[test]
    fn a_worker_that_has_ended_holds_up_no_interval() {
        let (mut writer, mut outboxes) = writer();
        writer.take(0, passed(10));
        outboxes.pop();
        writer.take(0, passed(20));
        assert!(open(&writer).is_empty());
    }
}
