//! When a frame is due.

/// How fast a capture is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As fast as it goes.
    FlatOut,
    /// So many frames a second.
    Packets(f64),
    /// So many bits of frames a second.
    Bits(f64),
    /// So many times as fast as it was captured.
    Speed(f64),
}

/// Tells of each frame of a capture, in order, when it is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pace: Pace,
    first_at: Option<u64>,
    last_ns: u64,
    packets: u64,
    bytes: u64,
}

const SECOND_NS: f64 = 1e9;

impl Clock {
    pub(super) fn new(pace: Pace) -> Clock {
        Clock { pace, first_at: None, last_ns: 0, packets: 0, bytes: 0 }
    }

    /// When the next frame is due that was captured at `at` and has so many bytes, in nanoseconds after the first.
    pub(super) fn due(&mut self, at: u64, bytes: usize) -> u64 {
        let first_at = *self.first_at.get_or_insert(at);
        let due = match self.pace {
            Pace::Speed(factor) => nanoseconds(at.saturating_sub(first_at) as f64 / factor),
            _ => self.end(),
        };
        // A capture's clock may go backwards, frames are sent in order.
        self.last_ns = self.last_ns.max(due);
        self.packets += 1;
        self.bytes += bytes as u64;
        self.last_ns
    }

    /// When the loop is over, and the next may begin.
    pub(super) fn end(&self) -> u64 {
        match self.pace {
            Pace::FlatOut => 0,
            Pace::Packets(rate) => nanoseconds(self.packets as f64 / rate * SECOND_NS),
            Pace::Bits(rate) => nanoseconds(self.bytes as f64 * 8.0 / rate * SECOND_NS),
            // As long behind the last frame as frames are apart.
            Pace::Speed(_) => self.last_ns + self.last_ns / self.packets.max(1),
        }
    }
}

#[expect(clippy::cast_sign_loss, reason = "rates are positive, and casts saturate")]
fn nanoseconds(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_due_at_their_pace() {
        let frames = [(1000, 125), (1500, 125), (1400, 250), (4000, 100)];
        for (pace, expected, end) in [
            (Pace::FlatOut, [0, 0, 0, 0], 0),
            (Pace::Packets(1e6), [0, 1000, 2000, 3000], 4000),
            (Pace::Bits(1e9), [0, 1000, 2000, 4000], 4800),
            (Pace::Speed(0.5), [0, 1000, 1000, 6000], 7500),
        ] {
            let mut clock = Clock::new(pace);
            assert_eq!(frames.map(|(at, bytes)| clock.due(at, bytes)), expected, "{pace:?}");
            assert_eq!(clock.end(), end, "{pace:?}");
        }
    }
}
