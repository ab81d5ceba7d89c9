//! What people see on a terminal.

pub mod format;
pub mod hist;
pub mod table;
