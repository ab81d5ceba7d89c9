//! Frames of one or several interfaces as one [`Source`], in the order of their times.
//!
//! A passive tap delivers each direction of a connection on an interface of its own. Each hands its frames over in blocks, so a
//! frame is held back until no other interface can still have an earlier one: until each has shown a later frame, or
//! [`LAG_NS`] have passed without. A live source hands out nothing at times; [`Interfaces::settled`] tells then how far time
//! has come.

#![allow(unsafe_code)]

use std::time::Duration;

use super::afpacket::{AfPacket, Condition, wait};
use super::{Frame, Polled, Source};
use crate::clock;
use crate::limits::{BLOCK_TIMEOUT_MS, LAG_NS};
use crate::units::Timestamp;

/// How long is waited at a time where some interface has frames that are held back for another.
const HELD_BACK_WAIT: Duration = Duration::from_millis(BLOCK_TIMEOUT_MS as u64 / 2);

/// The interfaces, one socket each.
#[derive(Debug)]
pub struct Interfaces {
    sources: Vec<AfPacket>,
    settled: Timestamp,
}

impl Interfaces {
    /// Of these sockets, at least one.
    pub fn new(sources: Vec<AfPacket>) -> Interfaces {
        Interfaces { sources, settled: Timestamp::NONE }
    }

    /// The sockets.
    pub fn sources(&self) -> &[AfPacket] {
        &self.sources
    }

    /// The sockets, to ask them what they know.
    pub fn sources_mut(&mut self) -> &mut [AfPacket] {
        &mut self.sources
    }

    /// Where the last poll brought nothing: all frames before this time have been handed out.
    pub fn settled(&self) -> Timestamp {
        self.settled
    }

    /// Waits until there may be frames, at most so long.
    pub fn wait(&mut self, most: Duration) {
        let is_holding = |source: &mut AfPacket| source.next_in_block().is_some();
        // Those that have frames already would end the waiting at once.
        let holding: u64 =
            self.sources.iter_mut().enumerate().map(|(n, source)| u64::from(is_holding(source)) << n).sum();
        let most = if holding == 0 { most } else { most.min(HELD_BACK_WAIT) };
        wait(self.sources.iter().enumerate().filter(|(n, _)| holding >> n & 1 == 0).map(|(_, source)| source), most);
    }

    /// What has become of the interfaces since this was asked the last time: the first that has news.
    pub fn news(&mut self) -> Option<(&str, Condition)> {
        self.sources.iter_mut().find_map(|source| {
            let news = source.news()?;
            Some((source.name(), news))
        })
    }

    /// Whether one of them has no frame at the moment. Frames that were handed out may be gone then.
    fn is_waiting(&mut self) -> bool {
        let mut is_waiting = false;
        for source in &mut self.sources {
            is_waiting |= source.advance().is_none();
        }
        is_waiting
    }

    /// Up to when frames may be handed out. `None`: whatever there is may be.
    fn horizon(&mut self) -> Option<Timestamp> {
        if !self.is_waiting() {
            return None;
        }
        // In this order: what had come by this time, less the lag, is in a block that is looked for after it.
        let now = clock::now();
        self.is_waiting().then(|| Timestamp(now.0.saturating_sub(LAG_NS)))
    }
}

impl Source for Interfaces {
    type Error = std::convert::Infallible;

    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, Self::Error> {
        let horizon = self.horizon();
        let mut frames = 0;
        // A block goes back only by `advance`, so the batch ends with the first block that does.
        while frames < most {
            let heads = self.sources.iter_mut().enumerate();
            let heads = heads.filter_map(|(number, source)| Some((source.next_in_block()?, number)));
            let Some((at, number)) = heads.min() else { break };
            if self.sources.len() > 1 && horizon.is_some_and(|horizon| at > horizon) {
                break;
            }
            let source = &mut self.sources[number];
            // SAFETY: the frame borrows `self`, by whose next borrow alone blocks go back.
            let Some(frame) = (unsafe { source.next_frame() }) else { break };
            each(frame);
            frames += 1;
            if source.next_in_block().is_none() {
                break;
            }
        }
        if frames == 0
            && let Some(horizon) = horizon
        {
            self.settled = horizon;
        }
        Ok(Polled::Frames(frames))
    }
}

#[cfg(test)]
mod tests {
    use super::super::afpacket::testing::Written;
    use super::*;

    const BYTES: &[u8] = b"frame";

    fn times(at: &[u64]) -> Vec<Written<'static>> {
        at.iter().map(|&at| Written { at, bytes: BYTES, ..Written::default() }).collect()
    }

    /// What comes until nothing does.
    fn polled(interfaces: &mut Interfaces, most: usize) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let before = all.len();
            interfaces.poll(most, &mut |frame| all.push(frame.at.0)).unwrap();
            assert!(all.len() - before <= most);
            if all.len() == before {
                return all;
            }
        }
    }

    #[test]
    fn frames_of_several_interfaces_come_in_the_order_of_their_times() {
        for most in [1, 2, 3, 32] {
            let (one, other) = (AfPacket::of_blocks("a", 2), AfPacket::of_blocks("b", 2));
            one.fill(0, &times(&[1, 4, 5]));
            one.fill(1, &times(&[8, 9]));
            other.fill(0, &times(&[2, 3]));
            other.fill(1, &times(&[6, 7, 10]));
            let mut interfaces = Interfaces::new(vec![one, other]);
            assert_eq!(polled(&mut interfaces, most), (1..=10).collect::<Vec<u64>>(), "{most} at a time");
            assert_eq!(interfaces.sources().iter().map(AfPacket::packets).collect::<Vec<_>>(), [5, 5]);
        }
    }

    #[test]
    fn a_frame_waits_for_the_other_interface_until_that_can_have_no_earlier_one() {
        let (one, other) = (AfPacket::of_blocks("a", 2), AfPacket::of_blocks("b", 2));
        let now = clock::now().0;
        let soon = now + 3_600_000_000_000;
        one.fill(0, &times(&[now - 1_000_000_000, soon]));
        let mut interfaces = Interfaces::new(vec![one, other]);
        assert_eq!(polled(&mut interfaces, 32), [now - 1_000_000_000], "that is long enough ago");
        let settled = interfaces.settled();
        assert!(settled.0 >= now - LAG_NS && settled.0 < soon, "{settled}");
        interfaces.sources()[1].fill(0, &times(&[soon - 1, soon + 1]));
        assert_eq!(polled(&mut interfaces, 32), [soon - 1, soon], "then it waits for the first one in turn");
    }

    #[test]
    fn an_interface_alone_waits_for_nobody() {
        let alone = AfPacket::of_blocks("a", 1);
        let soon = clock::now().0 + 3_600_000_000_000;
        alone.fill(0, &times(&[soon, soon + 1]));
        let mut interfaces = Interfaces::new(vec![alone]);
        assert_eq!(polled(&mut interfaces, 32), [soon, soon + 1]);
    }

    #[test]
    fn waiting_ends_in_time_though_frames_are_held_back() {
        let (one, other) = (AfPacket::of_blocks("a", 1), AfPacket::of_blocks("b", 1));
        one.fill(0, &times(&[clock::now().0 + 3_600_000_000_000]));
        let mut interfaces = Interfaces::new(vec![one, other]);
        assert_eq!(polled(&mut interfaces, 32), [0u64; 0]);
        let watch = clock::Stopwatch::start();
        interfaces.wait(Duration::from_mins(1));
        assert!(watch.elapsed() >= HELD_BACK_WAIT && watch.elapsed() < Duration::from_secs(30));
    }
}
