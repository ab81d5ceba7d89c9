//! Usual requests that took the same time, counted as one: sent together, and answered together.
//!
//! Where a client sends several requests at once, a segment brings the replies to several of them. Each but the first of these came
//! with the one before, so that all of its latency was in the queue; and if the requests were of one command and came in one
//! segment too, that latency is the same. The first of such requests is counted like any other
//! ([`Statistics::record_usual`]), and how many were like it is noted here until one comes that is not. Never panics.

use crate::redis::command::CommandId;
use crate::units::Timestamp;

use super::super::cells::Place;
use super::usual::{QUEUE, count_alone, parts};
use super::{Counts, OTHER, Statistics};

/// What requests have in common that took the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alike {
    /// The server's number.
    pub server_number: u32,
    /// The client's.
    pub client_number: u32,
    /// The command.
    pub command: CommandId,
    /// First and last byte of the request.
    pub sent: Timestamp,
    /// First and last byte of the reply, and the last one of the reply before; known.
    pub answered: Timestamp,
}

/// Those of late.
#[derive(Debug)]
pub(super) struct Together {
    /// The usual request that came last, which waits; when it was answered is not known if none can be like it.
    last: Alike,
    /// Those that were like it, and are not counted yet.
    more: Counts,
}

impl Together {
    pub(super) const NONE: Together = Together {
        last: Alike {
            server_number: OTHER,
            client_number: OTHER,
            command: CommandId::UNKNOWN,
            sent: Timestamp::NONE,
            answered: Timestamp::NONE,
        },
        more: Counts { count: 0, errors: 0, request_bytes: 0, reply_bytes: 0 },
    };
}

impl Statistics {
    /// Adds a usual request if the last one was like it; else this answers false, and nothing has happened.
    #[inline(always)]
    pub fn record_alike(&mut self, alike: &Alike, request_bytes: u64, reply_bytes: u64) -> bool {
        let Together { last, more } = &mut self.together;
        let is_alike = last == alike;
        if is_alike {
            more.count += 1;
            more.request_bytes += request_bytes;
            more.reply_bytes += reply_bytes;
        }
        is_alike
    }

    /// The request that was recorded just now, as a usual one, is such that others may be like it.
    #[inline(always)]
    pub fn expect_alike(&mut self, alike: Alike) {
        self.together.last = alike;
    }

    /// Counts those that were like the last one: before another one comes.
    #[inline(always)]
    pub(super) fn count_alike(&mut self) {
        if self.together.more.count > 0 {
            self.add_alike();
        }
    }

    #[inline(never)]
    fn add_alike(&mut self) {
        let Together { last, more } = std::mem::replace(&mut self.together, Together::NONE);
        let Counts { count, request_bytes, reply_bytes, .. } = more;
        let latency = Place::of(last.answered.since(last.sent));
        let Statistics { usual, commands, parts: of_all, .. } = self;
        let sums = usual.find(parts(last.server_number, last.command));
        let is_counted = sums.is_some_and(|sums| {
            sums.request_bytes += request_bytes;
            sums.reply_bytes += reply_bytes;
            count_alone::<QUEUE>(commands, of_all, sums, latency, count)
        });
        debug_assert!(is_counted, "the first one, which waits, was of a usual series, and had its places");
        let first = self.last_waiting();
        first.count += count as u32;
        first.request_bytes += request_bytes;
        first.reply_bytes += reply_bytes;
    }

    /// Those that come are not like the last one.
    #[inline(always)]
    pub(super) fn forget_alike(&mut self) {
        debug_assert!(self.together.more.count == 0, "they have been counted");
        self.together.last.answered = Timestamp::NONE;
    }
}
