//! What is told at intervals and at the end: summaries and histogram files.

pub mod hgrm;
pub mod hlog;
pub mod hlog_reader;
pub mod keys;
pub mod series;
pub mod summary;
