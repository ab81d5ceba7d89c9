//! What is kept of a transaction: the record for the sinks, and its place in the statistics.

pub mod filter;
pub mod histograms;
pub mod totals;
pub mod transaction;
