//! Candidates against an oracle.
