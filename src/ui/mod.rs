//! What people see while the program runs.

pub mod log;
pub mod progress;
