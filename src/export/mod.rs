//! What is told at intervals and at the end: summaries and histogram files.
