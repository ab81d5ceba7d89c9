//! The log on standard error.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

/// Starts logging: warnings and errors, and more the higher `verbosity` is. To be called once, before anything is logged.
pub fn start(verbosity: u8) {
    tracing_subscriber::fmt()
        .with_max_level(level(verbosity))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

fn level(verbosity: u8) -> LevelFilter {
    match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_v_logs_more() {
        assert_eq!(
            [0, 1, 2, 3, 9].map(level),
            [LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE, LevelFilter::TRACE,]
        );
    }
}
