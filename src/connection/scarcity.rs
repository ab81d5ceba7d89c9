//! What is done when pools run short: who may take more, and who holds how much.
//!
//! Of what one connection can pile up it may hold a multiple of what is left for all others: of requests without a reply
//! [`SHARE`] times as much, of data behind a hole as much. So one that takes without end is given up while others find what they
//! need. Where less than a [`RESERVE`]th is left, the worker asks for the connections that hold most of it.

use crate::counters::Counter;
use crate::limits::PENDING_PER_CONNECTION_MAX;
use crate::pool::NONE;
use crate::redis::requests::{Requests, Row};

use super::{Connection, Exhausted, Facts, Resources};

/// Requests that a connection may hold for each one that is left: a long pipeline is no offence while there is room.
pub(super) const SHARE: u32 = 7;
/// A pool of which less than this part is left is short.
const RESERVE: u32 = 64;

/// Whether who holds so many may take one more of those that are left.
#[inline(always)]
fn has_share(holds: u32, left: impl FnOnce() -> u32) -> bool {
    // Most hold so few that what is left need not be asked for.
    holds < SHARE || u64::from(holds) < (u64::from(left()) + 1) * u64::from(SHARE)
}

/// How many one may hold who holds so many, and takes one after the other of those that are left: as long as it holds less, it
/// may take one more.
fn holds_max(holds: u32, left: u32) -> u64 {
    // With each that it takes one less is left.
    let all = u64::from(holds) + u64::from(left) + 1;
    (all * u64::from(SHARE)).div_ceil(u64::from(SHARE + 1)).max(u64::from(SHARE))
}

/// Whether so many that are left are few.
fn are_few(left: u32, capacity: u32) -> bool {
    left < capacity / RESERVE
}

impl Resources {
    /// What there is little of, by the counter of what gives way for want of it.
    #[inline]
    pub fn scarce(&self) -> Option<Counter> {
        if are_few(self.requests.left(), self.requests.capacity()) {
            Some(Counter::EvictedRequests)
        } else if are_few(self.unfinished.left(), self.unfinished.capacity()) {
            Some(Counter::EvictedMessages)
        } else if are_few(self.pages.left(), self.pages.capacity()) {
            Some(Counter::EvictedPages)
        } else {
            None
        }
    }
}

impl Connection {
    /// Whether anything was seen of it but its handshake, and it has not ended.
    pub fn has_spoken(&self) -> bool {
        !self.facts.has(Facts::CLOSED)
            && self.streams.iter().any(|stream| stream.time().is_known() || stream.is_waiting())
    }

    /// How much it holds of what is scarce.
    pub fn holds(&self, scarce: Counter, resources: &Resources) -> u32 {
        match scarce {
            Counter::EvictedRequests => self.holds_requests(resources),
            Counter::EvictedMessages => self.unfinished.iter().map(|&handle| u32::from(handle != NONE)).sum(),
            _ => self.streams.iter().map(|stream| stream.stored_pages(&resources.pages)).sum(),
        }
    }

    /// Requests, and the marks between them.
    fn holds_requests(&self, resources: &Resources) -> u32 {
        self.holds_besides(self.children(resources).elements())
    }

    #[inline(always)]
    fn holds_besides(&self, children: u32) -> u32 {
        self.queue.elements() + children + u32::from(self.building != NONE)
    }

    /// A request of the pool, unless it holds its share.
    #[inline]
    pub(super) fn take_request(&self, resources: &mut Resources) -> Result<u32, Exhausted> {
        let children = self.children(resources).elements();
        self.take_request_of(&mut resources.requests, children)
    }

    /// How long its queue, which will have `length` elements with those of the row, and nothing of MULTI's, may become by more, so that
    /// it holds no more than its share; up to `length` if it may take none.
    #[cold]
    #[inline(never)]
    pub(super) fn queue_max(&self, length: u32, requests: &Requests, row: Row) -> u32 {
        let building = u32::from(self.building != NONE);
        let holds_max = holds_max(length + building, requests.left_by(row));
        holds_max.min(u64::from(PENDING_PER_CONNECTION_MAX)) as u32 - building
    }

    /// The same, of a connection of which MULTI has queued so many commands.
    #[inline(always)]
    pub(super) fn take_request_of(&self, requests: &mut Requests, children: u32) -> Result<u32, Exhausted> {
        let holds = self.holds_besides(children);
        let taken = if has_share(holds, || requests.left()) { requests.take() } else { None };
        taken.ok_or(Exhausted(Counter::EvictedRequests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_several_is_asked_once_as_if_it_were_asked_for_each() {
        for (holds, left) in (0..100).flat_map(|holds| (0..100).map(move |left| (holds, left))) {
            for taken in 0..=left {
                let may_take = has_share(holds + taken, || left - taken);
                assert_eq!(may_take, u64::from(holds + taken) < holds_max(holds, left), "{holds} {left} {taken}");
            }
        }
    }
}
