//! What is kept of a transaction: the record for the sinks, and its place in the statistics.

pub mod cells;
pub mod filter;
pub mod histograms;
pub mod key_hash;
pub mod keys;
pub mod room;
pub mod top;
pub mod totals;
pub mod transaction;

use histograms::Statistics;
use transaction::RecordBatch;

/// From a worker to the writer, and empty back.
#[derive(Debug)]
pub enum Message {
    /// Transactions for the sinks.
    Records(Box<RecordBatch>),
    /// The statistics of an interval that is over.
    Statistics(Box<Statistics>),
}
