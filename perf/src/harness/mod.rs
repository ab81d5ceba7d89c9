//! Measures what a packet costs, beside floors that are measured in the same run: see docs/performance.md.

pub mod file; // the same frames as other programs read
pub mod floors; // what a packet costs without resptap
pub mod latency; // how long a batch takes
pub mod overload; // what becomes of twice as many as can be carried
pub mod reader; // what it costs with it
pub mod timing; // both, in turn
