//! The machine's clock. The only file that reads it: everything else lives by the capture's clock.
//!
//! Used for what concerns the program itself (when it ran, how fast it is), never for what concerns the traffic.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::units::Timestamp;

/// Now, by the wall clock. A clock that stands before 1970 gives [`Timestamp::NONE`].
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

/// When the clock of the kernel that is never set (`CLOCK_MONOTONIC`) stood at zero, by the wall clock: what is added to its
/// times.
pub fn monotonic_zero() -> Timestamp {
    let monotonic = || {
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        u64::try_from(read.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(read.tv_nsec).unwrap_or(0)
    };
    // Of some tries the one between whose two readings the least time passed.
    let tries = (0..3).map(|_| {
        let (before, wall, after) = (monotonic(), now(), monotonic());
        (after - before, wall.0.saturating_sub(before + (after - before) / 2))
    });
    tries.min().map_or(Timestamp::NONE, |(_, zero)| Timestamp(zero))
}

/// Measures how long the program itself takes; never goes backwards.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_counts_nanoseconds_since_1970() {
        let year_ns = 365 * 24 * 3600 * 1_000_000_000;
        assert!((Timestamp(50 * year_ns)..Timestamp(400 * year_ns)).contains(&now()));
    }

    #[test]
    fn the_monotonic_clocks_zero_stays_where_it_is() {
        let (first, second) = (monotonic_zero(), monotonic_zero());
        assert!(first < now() && first.0.abs_diff(second.0) < 1_000_000, "{first} {second}");
    }

    #[test]
    fn a_stopwatch_measures_at_least_what_was_slept() {
        let watch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(2));
        assert!(watch.elapsed() >= Duration::from_millis(2));
    }
}
