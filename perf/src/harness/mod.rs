//! Measures what a packet costs, beside floors that are measured in the same run: see docs/performance.md.

pub mod floors; // what a packet costs without resptap
pub mod reader; // what it costs with it
pub mod timing; // both, in turn
