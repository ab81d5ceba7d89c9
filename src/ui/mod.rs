//! What people see on a terminal.

pub mod advice;
pub mod capture;
pub mod check;
pub mod format;
pub mod hist;
pub mod log;
pub mod progress;
pub mod read;
mod report;
mod signals;
pub mod survey;
pub mod table;
