//! What people see on a terminal.

pub mod format;
pub mod hist;
pub mod log;
pub mod progress;
pub mod read;
pub mod table;
