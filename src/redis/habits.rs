//! How a client waits for its replies: what the assumptions `habit`, `prompt` and `alternation` rest on (PAIRING).
//!
//! None of it is a fact: a multiplexing client keeps a request outstanding for ever while each reply seems to answer the
//! newest. So each asks for more than one such client can well show by chance, and each has its name in what is paired by it.

use crate::units::{Offset, Timestamp};

/// Requests in a row, before something was hidden, after which a client is known to wait for its replies (two threads that think for
/// long and seldom overlap seem to for 16, and then may for 4 drains in a row not),
const HABIT_REQUESTS: u8 = 32;
/// and how often it must have waited for all of them.
const HABIT_WAITS: u8 = 3;
/// How often it must have waited to seem to.
const FORMING_WAITS: u8 = 8;
/// Exchanges in a row behind it after which it is taken to wait again.
const DRAINS: u8 = 6;

/// Whether a client always waits for all replies before it asks again, by acknowledgements alone.
// Aligned less than positions are, so that it takes no more than it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, packed(2))]
pub struct Habit {
    /// End of the last reply.
    answered_to: Offset,
    /// What the client had received when it sent the newest requests that were answered.
    burst: Offset,
    requests: u8,
    waits: u8,
}

impl Habit {
    /// A request was paired with its reply, which ends at `end`; its client had received replies up to `received` when it
    /// sent it. Requests that were sent together wait for one another.
    #[inline]
    pub fn paired(&mut self, received: Offset, end: Offset) {
        let Habit { answered_to, burst, .. } = *self;
        if received != burst {
            if received >= answered_to {
                self.waits = self.waits.saturating_add(1);
            } else {
                self.waits = 0;
                self.requests = 0;
            }
            self.burst = received;
        }
        // Never beyond 255.
        self.requests += u8::from(self.requests < u8::MAX);
        self.answered_to = end;
    }

    /// Whether its client had received as much when it sent this request as when it sent those that were answered last.
    #[inline(always)]
    pub fn is_of_burst(&self, received: Offset) -> bool {
        received == { self.burst }
    }

    /// So many requests of a burst were paired, of which the last one's reply ends at `end`.
    #[inline]
    pub fn paired_of_burst(&mut self, count: u32, end: Offset) {
        self.requests = u32::from(self.requests).saturating_add(count).min(u32::from(u8::MAX)) as u8;
        self.answered_to = end;
    }

    /// Whether it seems to have it.
    pub fn is_forming(&self) -> bool {
        self.waits >= FORMING_WAITS
    }

    /// Whether it has the habit.
    pub fn is_formed(&self) -> bool {
        self.requests >= HABIT_REQUESTS && self.waits >= HABIT_WAITS
    }
}

/// Whether a client that had the habit shows it again behind what was hidden.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drains {
    burst: Offset,
    in_a_row: u8,
    /// The position of the first request of the last drain, and how many replies had been seen then.
    last: (u64, u64),
}

impl Drains {
    /// A segment of replies begins at `at`; of the newest requests that it acknowledges the client had received replies up to
    /// `received` when it sent them; the first of these is at `position`, and `replies` have been seen before. Answers whether
    /// the habit is there again: then the segment begins with the reply to the first of these. From one drain to the next
    /// there must have been as many replies as requests.
    pub fn segment(&mut self, at: Offset, received: Offset, position: u64, replies: u64) -> bool {
        if received == self.burst {
            return false;
        }
        self.burst = received;
        let (last_position, last_replies) = std::mem::replace(&mut self.last, (position, replies));
        let is_even = position.wrapping_sub(last_position) == replies.wrapping_sub(last_replies);
        self.in_a_row = match received >= at {
            false => 0,
            true if self.in_a_row > 0 && is_even => self.in_a_row.saturating_add(1),
            true => 1,
        };
        self.in_a_row >= DRAINS
    }
}

/// Exchanges of which the times are kept.
const TIMES_KEPT: usize = 16;
/// Fewest exchanges that prove anything.
const EXCHANGES_MIN: u32 = 3;
/// How likely it may be, at the most, that it only seems so.
const CHANCE_MAX: f64 = 1e-6;

/// Requests and replies in the order in which they were captured: do they take turns, and how promptly?
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    requests: u32,
    replies: u32,
    request_ended: Timestamp,
    reply_ended: Timestamp,
    /// From the last request's end to the first reply's beginning, of the turn that goes on.
    delay_ns: u64,
    /// Exchanges in a row.
    exchanges: u32,
    delay_max_ns: u64,
    turnaround_min_ns: u64,
    turnaround_max_ns: u64,
    turnarounds_ns: [u64; TIMES_KEPT],
    /// Sum of −ln(delay ÷ (delay + turnaround)).
    evidence: f64,
    /// They did not take turns once.
    is_broken: bool,
    /// More than one request was under way at a time.
    is_serial_no_more: bool,
}

impl Turns {
    /// A request began at `t1` and ended at `t2`.
    pub fn request(&mut self, t1: Timestamp, t2: Timestamp) {
        if self.requests > 0 && self.replies == self.requests {
            self.exchange(t1.since(self.reply_ended));
        } else if self.replies > 0 {
            self.violate();
        }
        self.requests += 1;
        self.is_serial_no_more |= self.requests > 1;
        self.request_ended = t2;
    }

    /// A reply began at `t3` and ended at `t4`.
    pub fn reply(&mut self, t3: Timestamp, t4: Timestamp) {
        if self.replies >= self.requests {
            self.violate();
            return;
        }
        if self.replies == 0 {
            self.delay_ns = t3.since(self.request_ended);
        }
        self.replies += 1;
        self.reply_ended = t4;
    }

    /// Something was hidden: it begins anew.
    pub fn interrupt(&mut self) {
        *self = Turns { is_broken: true, ..Turns::default() };
    }

    fn violate(&mut self) {
        self.interrupt();
    }

    /// All requests of a turn were answered, and after `turnaround_ns` the next one came.
    fn exchange(&mut self, turnaround_ns: u64) {
        let delay_ns = self.delay_ns.max(1);
        let turnaround_ns = turnaround_ns.max(1);
        self.turnarounds_ns[self.exchanges as usize % TIMES_KEPT] = turnaround_ns;
        let first = self.exchanges == 0;
        self.exchanges += 1;
        self.delay_max_ns = self.delay_max_ns.max(delay_ns);
        self.turnaround_max_ns = self.turnaround_max_ns.max(turnaround_ns);
        self.turnaround_min_ns = if first { turnaround_ns } else { self.turnaround_min_ns.min(turnaround_ns) };
        self.evidence += (turnaround_ns as f64 / delay_ns as f64).ln_1p();
        self.requests = 0;
        self.replies = 0;
    }

    /// Whether the client can only be one that waits: replies follow at once, and requests much later, or after times that
    /// differ much. To be asked when a request has begun a turn.
    pub fn are_prompt(&self) -> bool {
        if self.exchanges < EXCHANGES_MIN || self.chance() > CHANCE_MAX {
            return false;
        }
        let kept = (self.exchanges as usize).min(TIMES_KEPT);
        let mut turnarounds = self.turnarounds_ns;
        let turnarounds = &mut turnarounds[..kept];
        turnarounds.sort_unstable();
        let median_ns = turnarounds[kept / 2];
        // Requests locked in phase with earlier replies would follow at short times, or at ever the same.
        median_ns >= self.delay_max_ns.saturating_mul(50)
            || self.exchanges >= 8
                && self.turnaround_max_ns >= self.turnaround_min_ns.saturating_mul(8)
                && self.delay_max_ns < self.turnaround_min_ns.saturating_mul(4)
    }

    /// Fisher's combination: were each delay anywhere between a request and the next one, how likely were delays as short
    /// as these?
    fn chance(&self) -> f64 {
        let (mut term, mut sum) = (1.0, 1.0);
        for k in 1..self.exchanges {
            term *= self.evidence / f64::from(k);
            sum += term;
        }
        (-self.evidence).exp() * sum
    }

    /// Whether a request waits for its reply.
    pub fn is_waiting(&self) -> bool {
        self.requests > self.replies
    }

    /// Whether requests and replies have alternated one by one since the first of them.
    pub fn have_alternated(&self) -> bool {
        !self.is_broken && !self.is_serial_no_more && (self.exchanges > 0 || self.replies > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_waits_forms_a_habit_and_one_that_does_not_loses_it() {
        let mut habit = Habit::default();
        for n in 1..=32 {
            assert!(!habit.is_formed());
            habit.paired(Offset(n * 10), Offset(n * 10 + 10));
        }
        assert!(habit.is_formed());
        // Two at once, still waiting.
        habit.paired(Offset(330), Offset(340));
        habit.paired(Offset(330), Offset(350));
        assert!(habit.is_formed());
        habit.paired(Offset(340), Offset(360));
        assert!(!habit.is_formed());
    }

    #[test]
    fn requests_of_a_burst_may_be_noted_at_once() {
        let end = |n: u64| Offset(1000 + 10 * n);
        let (mut each, mut at_once) = (Habit::default(), Habit::default());
        let mut replies = 0;
        for (burst, count) in [1u32, 7, 40, 300, 2].into_iter().enumerate() {
            // The third one is sent before all replies to the second one have come.
            let received = end(replies - u64::from(burst == 2));
            each.paired(received, end(replies + 1));
            at_once.paired(received, end(replies + 1));
            assert!(at_once.is_of_burst(received) && !at_once.is_of_burst(Offset(received.0 + 1)));
            (2..=u64::from(count)).for_each(|n| each.paired(received, end(replies + n)));
            replies += u64::from(count);
            at_once.paired_of_burst(count - 1, end(replies));
            assert_eq!(each, at_once, "{burst}");
        }
    }

    #[test]
    fn six_drains_in_a_row_show_the_habit_again() {
        let mut drains = Drains::default();
        let shown: Vec<bool> = (1..=6).map(|n| drains.segment(Offset(n * 10), Offset(n * 10), n, n + 7)).collect();
        assert_eq!(shown, [false, false, false, false, false, true]);
        assert!(!drains.segment(Offset(70), Offset(60), 7, 14), "the same requests again are no drain");
        assert!(!drains.segment(Offset(80), Offset(75), 8, 15));
        assert!(!drains.segment(Offset(90), Offset(90), 9, 16), "and it begins anew");
    }

    #[test]
    fn drains_between_which_requests_and_replies_differ_show_nothing() {
        let mut drains = Drains::default();
        // Each time one reply fewer comes than there were requests: one is always outstanding.
        let shown = (1..=9).map(|n| drains.segment(Offset(n * 10), Offset(n * 10), 3 * n, 2 * n));
        assert_eq!(shown.filter(|shown| *shown).count(), 0);
    }

    fn turns(exchanges: &[(u64, u64)]) -> Turns {
        let (mut turns, mut now) = (Turns::default(), 1_000_000);
        for &(delay, turnaround) in exchanges {
            turns.request(Timestamp(now), Timestamp(now));
            turns.reply(Timestamp(now + delay), Timestamp(now + delay));
            now += delay + turnaround;
        }
        turns.request(Timestamp(now), Timestamp(now));
        turns
    }

    #[test]
    fn prompt_replies_and_slow_requests_show_a_client_that_waits() {
        assert!(turns(&[(100, 100_000); 4]).are_prompt());
        assert!(!turns(&[(100, 100_000); 2]).are_prompt(), "two exchanges prove nothing");
        assert!(!turns(&[(1000, 4000); 12]).are_prompt(), "a window locked in phase shows just that");
        let varied: Vec<_> = (0..12).map(|n| (1000, 10_000 << (n % 4))).collect();
        assert!(turns(&varied).are_prompt());
    }

    #[test]
    fn a_violation_begins_anew() {
        let mut turns = turns(&[(100, 100_000); 4]);
        turns.request(Timestamp(2_000_000), Timestamp(2_000_000));
        turns.reply(Timestamp(2_000_001), Timestamp(2_000_001));
        turns.request(Timestamp(2_000_002), Timestamp(2_000_002));
        assert!(!turns.are_prompt() && !turns.have_alternated());
    }

    #[test]
    fn one_exchange_alternates_already() {
        let mut turns = Turns::default();
        turns.request(Timestamp(1), Timestamp(1));
        assert!(!turns.have_alternated());
        turns.reply(Timestamp(2), Timestamp(2));
        assert!(turns.have_alternated());
        turns.reply(Timestamp(3), Timestamp(3));
        assert!(!turns.have_alternated());
    }
}
