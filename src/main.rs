//! The `resptap` program: its allocator, and its start.

use std::process::ExitCode;

use resptap::{cli, ui};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(invocation) => {
            ui::log::start(invocation.verbosity);
            ExitCode::SUCCESS
        }
        Err(refusal) => refusal.report(),
    }
}
