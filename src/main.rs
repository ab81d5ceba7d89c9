//! The `resptap` program: its allocator, and its start.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    resptap::cli::main(std::env::args_os())
}
