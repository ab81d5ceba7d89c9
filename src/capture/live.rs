//! Frames of one or several sources as one [`Source`], in the order of their times.
//!
//! A passive tap delivers each direction of a connection on an interface of its own, and a network card may deliver them on
//! different queues. Each source hands its frames over some time after they came, so a frame is held back until no other source
//! can still have an earlier one: until each has shown a later frame, or its lag has passed without. A live source hands out
//! nothing at times; [`Interfaces::settled`] tells then how far time has come.

#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::thread::sleep;
use std::time::Duration;

use super::afpacket::AfPacket;
#[cfg(feature = "afxdp")]
use super::afxdp::AfXdp;
use super::{Condition, Frame, LinkType, Polled, Source};
use crate::clock;
use crate::limits::{BLOCK_TIMEOUT_MS, LAG_NS, SHED_PARTS};
use crate::units::Timestamp;

/// How long a thread sleeps where frames have just come: being woken for each one would cost more than they do. Longer each time
/// that none came meanwhile, up to the last.
const SHORT_WAITS: [Duration; 5] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
];

/// How much longer than it asked for a thread sleeps on a machine that has time for it.
const WAKING: Duration = Duration::from_micros(200);

/// How long a thread that rests so many times ([`Interfaces::rest`]) has nothing to do at the most: if it took longer it had, but was
/// not let. `None`: that can't be told, as the last rest was until something came.
pub fn rested_at_most(times: usize) -> Option<Duration> {
    Some(SHORT_WAITS.get(..times)?.iter().map(|&wait| wait + WAKING).sum())
}

/// A socket, of either kind, with the frames of an interface, or of a part of it.
#[derive(Debug)]
pub enum Tap {
    /// By packets' copies.
    AfPacket(AfPacket),
    /// Of a receive queue.
    #[cfg(feature = "afxdp")]
    AfXdp(Box<AfXdp>),
}

/// Asks either kind the same.
macro_rules! ask {
    ($tap:expr, $source:ident => $answer:expr) => {
        match $tap {
            Tap::AfPacket($source) => $answer,
            #[cfg(feature = "afxdp")]
            Tap::AfXdp($source) => $answer,
        }
    };
}

impl Tap {
    /// The interface.
    pub fn name(&self) -> &str {
        ask!(self, source => source.name())
    }

    /// How its frames begin.
    pub fn link(&self) -> LinkType {
        ask!(self, source => source.link())
    }

    /// Frames handed out.
    pub fn packets(&self) -> u64 {
        ask!(self, source => source.packets())
    }

    /// Frames that the kernel dropped since the beginning.
    pub fn drops(&mut self) -> u64 {
        match self {
            Tap::AfPacket(source) => source.drops().frames,
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(source) => source.drops(),
        }
    }

    /// Frames that have come, those that the kernel does not show yet among them; none where it shows each at once.
    fn arrived(&mut self) -> u64 {
        match self {
            Tap::AfPacket(source) => source.arrived(),
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(_) => 0,
        }
    }

    /// Of these, those that were handed out or left out.
    fn taken(&self) -> u64 {
        match self {
            Tap::AfPacket(source) => source.taken(),
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(_) => 0,
        }
    }

    /// How full its ring is.
    fn filled(&mut self) -> f64 {
        ask!(self, source => source.filled())
    }

    /// How often as much has been taken out of it as it holds.
    fn turned(&self) -> f64 {
        ask!(self, source => source.turned())
    }

    /// Frames of connections of the parts below this one need not come any more ([`Spread::part`](super::spread::Spread::part)).
    fn leave_out(&self, below: usize) {
        match self {
            // They come all the same: nobody looks at them before they are in the ring.
            Tap::AfPacket(_) => debug_assert!(below < SHED_PARTS),
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(source) => source.leave_out(below),
        }
    }

    /// Frames that therefore did not come since the beginning.
    fn shed(&self) -> u64 {
        match self {
            Tap::AfPacket(_) => 0,
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(source) => source.shed(),
        }
    }

    fn fd(&self) -> RawFd {
        ask!(self, source => source.fd())
    }

    fn news(&mut self) -> Option<Condition> {
        ask!(self, source => source.news())
    }

    /// How much later than its time a frame may be handed over, in nanoseconds.
    fn lag_ns(&self) -> u64 {
        match self {
            Tap::AfPacket(_) => LAG_NS,
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(_) => crate::limits::XDP_LAG_NS,
        }
    }

    /// How long is waited at a time where its frames are held back for another, or another's for its.
    fn held_back_wait(&self) -> Duration {
        match self {
            Tap::AfPacket(_) => Duration::from_millis(u64::from(BLOCK_TIMEOUT_MS) / 2),
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(_) => Duration::from_millis(1),
        }
    }

    /// Whether so many frames wait that frames which come may soon be dropped.
    fn is_pressed(&mut self) -> bool {
        match self {
            // Its ring is for more than the lag.
            Tap::AfPacket(_) => false,
            #[cfg(feature = "afxdp")]
            Tap::AfXdp(source) => source.is_pressed(),
        }
    }

    /// The time of the next frame, if there is one. Frames that were handed out may be gone then.
    fn advance(&mut self) -> Option<Timestamp> {
        ask!(self, source => source.advance())
    }

    /// The time of the next frame that does not make frames that were handed out go.
    fn next_in_block(&mut self) -> Option<Timestamp> {
        ask!(self, source => source.next_in_block())
    }

    /// That frame.
    ///
    /// # Safety
    /// It must not be used any more when [`Tap::advance`] is called the next time, nor when this is gone.
    unsafe fn next_frame<'r>(&mut self) -> Option<Frame<'r>> {
        // SAFETY: as the caller promises.
        ask!(self, source => unsafe { source.next_frame() })
    }
}

/// How full the sources' rings are. Rings are counted as wholes: two that are half full are one.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Fill {
    /// The fullest.
    pub fullest: f64,
    /// All together.
    pub filled: f64,
    /// What has been taken out of them since the beginning.
    pub turned: f64,
}

/// The sources, one socket each.
#[derive(Debug)]
pub struct Interfaces {
    sources: Vec<Tap>,
    settled: Timestamp,
    lag_ns: u64,
    held_back_wait: Duration,
    /// Those that are waited for, here so that it is made once.
    asked: Vec<libc::pollfd>,
}

impl Interfaces {
    /// Of these sources, at least one.
    pub fn new(sources: Vec<Tap>) -> Interfaces {
        let asked = Vec::with_capacity(sources.len());
        let lag_ns = sources.iter().map(Tap::lag_ns).max().unwrap_or_default();
        let held_back_wait = sources.iter().map(Tap::held_back_wait).min().unwrap_or_default();
        Interfaces { sources, settled: Timestamp::NONE, lag_ns, held_back_wait, asked }
    }

    /// The sources.
    pub fn sources(&self) -> &[Tap] {
        &self.sources
    }

    /// The sources, to ask them what they know.
    pub fn sources_mut(&mut self) -> &mut [Tap] {
        &mut self.sources
    }

    /// How much later than its time a frame may be handed over, in nanoseconds.
    pub fn lag_ns(&self) -> u64 {
        self.lag_ns
    }

    /// Where the last poll brought nothing: all frames before this time have been handed out.
    pub fn settled(&self) -> Timestamp {
        self.settled
    }

    /// Asks the kernel how many frames have come, those that it does not show yet among them.
    pub fn arrived(&mut self) -> u64 {
        self.sources.iter_mut().map(Tap::arrived).sum()
    }

    /// How many of these were taken.
    pub fn taken(&self) -> u64 {
        self.sources.iter().map(Tap::taken).sum()
    }

    /// Asks the kernel how many frames it dropped since the beginning.
    pub fn drops(&mut self) -> u64 {
        self.sources.iter_mut().map(Tap::drops).sum()
    }

    /// How full the rings are.
    pub fn fill(&mut self) -> Fill {
        let mut all = Fill::default();
        for source in &mut self.sources {
            let filled = source.filled();
            all = Fill {
                fullest: all.fullest.max(filled),
                filled: all.filled + filled,
                turned: all.turned + source.turned(),
            };
        }
        all
    }

    /// Frames of connections of the parts below this one ([`Spread::part`](super::spread::Spread::part)) need not come any more, and
    /// do not where an XDP program can leave them out.
    pub fn leave_out(&self, below: usize) {
        self.sources.iter().for_each(|source| source.leave_out(below));
    }

    /// Frames that therefore did not come since the beginning.
    pub fn shed(&self) -> u64 {
        self.sources.iter().map(Tap::shed).sum()
    }

    /// Waits after the last `quiet` polls have brought nothing: briefly where frames have just come, else until there may be some,
    /// or `most` has passed; answers whether the latter.
    pub fn rest(&mut self, quiet: usize, most: Duration) -> bool {
        match SHORT_WAITS.get(quiet.saturating_sub(1)) {
            Some(&short) => sleep(short),
            None => self.wait(most),
        }
        quiet > SHORT_WAITS.len()
    }

    /// Waits until there may be frames, at most so long. A signal ends it early.
    fn wait(&mut self, most: Duration) {
        // Those that have frames already would end the waiting at once.
        self.asked.clear();
        for source in &mut self.sources {
            if source.next_in_block().is_none() {
                self.asked.push(libc::pollfd { fd: source.fd(), events: libc::POLLIN, revents: 0 });
            }
        }
        let most = if self.asked.len() == self.sources.len() { most } else { most.min(self.held_back_wait) };
        let milliseconds = i32::try_from(most.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes into as many entries as there are. What it found is not asked for: whoever waited looks.
        unsafe { libc::poll(self.asked.as_mut_ptr(), self.asked.len() as libc::nfds_t, milliseconds) };
    }

    /// What has become of the interfaces since this was asked the last time: the first that has news.
    pub fn news(&mut self) -> Option<(&str, Condition)> {
        // One of an interface's queues tells for all of them.
        let mut asked = "";
        self.sources.iter_mut().find_map(|source| {
            if source.name() == asked {
                return None;
            }
            let news = source.news();
            asked = source.name();
            news.map(|news| (asked, news))
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
        self.is_waiting().then(|| Timestamp(now.0.saturating_sub(self.lag_ns)))
    }

    /// Whether a frame of this time waits for others. Rather than that frames are dropped, it does not.
    fn is_held_back(&mut self, at: Timestamp, horizon: Option<Timestamp>) -> bool {
        self.sources.len() > 1
            && horizon.is_some_and(|horizon| at > horizon)
            && !self.sources.iter_mut().any(Tap::is_pressed)
    }
}

impl Source for Interfaces {
    type Error = std::convert::Infallible;

    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, Self::Error> {
        let horizon = self.horizon();
        let mut frames = 0;
        // Frames go back only by `advance`, so the batch ends with the first block that has none left.
        while frames < most {
            let heads = self.sources.iter_mut().enumerate();
            let heads = heads.filter_map(|(number, source)| Some((source.next_in_block()?, number)));
            let Some((at, number)) = heads.min() else { break };
            if self.is_held_back(at, horizon) {
                break;
            }
            let source = &mut self.sources[number];
            // SAFETY: the frame borrows `self`, by whose next borrow alone frames go back.
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

    fn interfaces_of<const N: usize>(sources: [AfPacket; N]) -> Interfaces {
        Interfaces::new(sources.into_iter().map(Tap::AfPacket).collect())
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
            let mut interfaces = interfaces_of([one, other]);
            assert_eq!(polled(&mut interfaces, most), (1..=10).collect::<Vec<u64>>(), "{most} at a time");
            assert_eq!(interfaces.sources().iter().map(Tap::packets).collect::<Vec<_>>(), [5, 5]);
        }
    }

    #[test]
    fn a_frame_waits_for_the_other_interface_until_that_can_have_no_earlier_one() {
        let (one, other) = (AfPacket::of_blocks("a", 2), AfPacket::of_blocks("b", 2));
        let now = clock::now().0;
        let soon = now + 3_600_000_000_000;
        one.fill(0, &times(&[now - 1_000_000_000, soon]));
        let mut interfaces = interfaces_of([one, other]);
        assert_eq!(polled(&mut interfaces, 32), [now - 1_000_000_000], "that is long enough ago");
        let settled = interfaces.settled();
        assert!(settled.0 >= now - LAG_NS && settled.0 < soon, "{settled}");
        let [_, Tap::AfPacket(other)] = interfaces.sources() else { panic!("they are of this kind") };
        other.fill(0, &times(&[soon - 1, soon + 1]));
        assert_eq!(polled(&mut interfaces, 32), [soon - 1, soon], "then it waits for the first one in turn");
    }

    #[test]
    fn an_interface_alone_waits_for_nobody() {
        let alone = AfPacket::of_blocks("a", 1);
        let soon = clock::now().0 + 3_600_000_000_000;
        alone.fill(0, &times(&[soon, soon + 1]));
        let mut interfaces = interfaces_of([alone]);
        assert_eq!(polled(&mut interfaces, 32), [soon, soon + 1]);
    }

    #[test]
    fn rings_are_as_full_as_they_are_together() {
        let (one, other) = (AfPacket::of_blocks("a", 4), AfPacket::of_blocks("b", 4));
        (0..3).for_each(|block| one.fill(block, &times(&[1, 2])));
        other.fill(0, &times(&[1, 2]));
        let mut interfaces = interfaces_of([one, other]);
        assert_eq!(interfaces.fill(), Fill { fullest: 0.75, filled: 1.0, turned: 0.0 });
        assert_eq!(polled(&mut interfaces, 32).len(), 8);
        assert_eq!(interfaces.fill(), Fill { fullest: 0.0, filled: 0.0, turned: 1.0 });
    }

    #[test]
    fn waiting_ends_in_time_though_frames_are_held_back() {
        let (one, other) = (AfPacket::of_blocks("a", 1), AfPacket::of_blocks("b", 1));
        one.fill(0, &times(&[clock::now().0 + 3_600_000_000_000]));
        let mut interfaces = interfaces_of([one, other]);
        assert_eq!(polled(&mut interfaces, 32), [0u64; 0]);
        let watch = clock::Stopwatch::start();
        interfaces.wait(Duration::from_mins(1));
        assert!(watch.elapsed() >= interfaces.held_back_wait && watch.elapsed() < Duration::from_secs(30));
    }
}
