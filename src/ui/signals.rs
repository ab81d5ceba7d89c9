//! Ctrl-C and its like: the first ends the reading in good order, so that what was read is reported; the second ends the
//! program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What was asked of the program meanwhile.
#[derive(Debug, Default)]
pub(super) struct Signals {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Notes signals from now on.
    pub(super) fn catch() -> io::Result<Signals> {
        let signals = Signals::default();
        let any = Arc::new(AtomicBool::new(false));
        for (signal, noted) in [(SIGINT, &signals.interrupted), (SIGTERM, &signals.terminated)] {
            // In this order: what an earlier signal has noted is acted on before this one is.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&any))?;
            flag::register(signal, Arc::clone(&any))?;
            flag::register(signal, Arc::clone(noted))?;
        }
        Ok(signals)
    }

    /// Whether reading is to end. In `tcpdump -w - | resptap read -` Ctrl-C goes to both: tcpdump writes what it still has
    /// and ends, and with it standard input.
    pub(super) fn want_end(&self, is_standard_input: bool) -> bool {
        self.terminated.load(Ordering::Relaxed) || (!is_standard_input && self.interrupted.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_leaves_the_end_of_standard_input_to_its_writer() {
        let signals = Signals::default();
        assert!(!signals.want_end(false) && !signals.want_end(true));
        signals.interrupted.store(true, Ordering::Relaxed);
        assert!(signals.want_end(false) && !signals.want_end(true));
        signals.terminated.store(true, Ordering::Relaxed);
        assert!(signals.want_end(true));
    }
}
