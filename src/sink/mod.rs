//! Where transactions go.

mod connections;
mod json_text;
pub mod jsonl;
pub mod record_json;

use crate::endpoint::Labels;
use crate::record::transaction::RecordBatch;

/// A receiver of transactions.
pub trait Sink {
    /// Writes a batch, with what is known of the ends of its connections.
    fn write(&mut self, batch: &RecordBatch, labels: &Labels) -> Result<(), SinkError>;

    /// Nothing comes for a while: what is buffered may be written.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Writes what is buffered and ends.
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// What errors call standard output.
pub const STANDARD_OUTPUT: &str = "standard output";

/// A sink failed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file or pipe did not take what was written.
    #[error("writing transactions to {path} failed after {written} bytes: {source}")]
    Write {
        /// Where to.
        path: String,
        /// Bytes that had been written.
        written: u64,
        /// Why.
        source: std::io::Error,
    },
    /// The file can't be created.
    #[error("{path} can't be created for writing transactions: {source}")]
    Create {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl SinkError {
    /// Whoever read our standard output (`| head`) has seen enough: nothing has failed.
    pub fn is_enough(&self) -> bool {
        matches!(self, SinkError::Write { path, source, .. }
            if path == STANDARD_OUTPUT && source.kind() == std::io::ErrorKind::BrokenPipe)
    }
}
