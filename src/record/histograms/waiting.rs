//! What usual requests add to their clients: it waits until the memory for it has come.
//!
//! Clients are many, each with a histogram of its own: the place of a latency in it is in no cache most of the time. So it is asked
//! for when a request comes, and counted when others have come. Never panics, never allocates.

use super::super::cells::Place;
use super::{OTHER, Statistics};

/// What waits of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    /// Its client's number.
    pub client: u32,
    /// RESP bytes of the request.
    pub request_bytes: u64,
    /// RESP bytes of the reply.
    pub reply_bytes: u64,
    /// The place of its latency.
    pub latency: Place,
}

/// Requests that wait at the most.
const WAITING: usize = 16;

/// Those that wait, in no order.
#[derive(Debug)]
pub(super) struct Waiting {
    additions: Box<[Addition; WAITING]>,
    length: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        let none = Addition { client: OTHER, request_bytes: 0, reply_bytes: 0, latency: Place::of(0) };
        Waiting { additions: Box::new([none; WAITING]), length: 0 }
    }
}

impl Statistics {
    /// A usual request comes: it waits, if there is a place for its latency already; else this answers false.
    #[inline(always)]
    pub(super) fn wait(&mut self, addition: Addition) -> bool {
        let latency = self.clients.touched(addition.client).and_then(|client| client.latency.kept());
        if !latency.is_some_and(|cells| cells.prefetch(addition.latency)) {
            return false;
        }
        let Waiting { additions, length } = &mut self.waiting;
        additions[*length % WAITING] = addition;
        *length += 1;
        if *length == WAITING {
            self.count_waiting();
        }
        true
    }

    /// Counts all that waits: before anything is told, and before a client's histogram is given up.
    #[inline(never)]
    pub(super) fn count_waiting(&mut self) {
        let Statistics { clients, waiting, .. } = self;
        for addition in &waiting.additions[..std::mem::take(&mut waiting.length)] {
            if let Some(client) = clients.touched_mut(addition.client)
                && let Some(count) = client.latency.kept_mut().and_then(|cells| cells.count_mut(addition.latency))
            {
                *count += 1;
                client.counts.count += 1;
                client.counts.request_bytes += addition.request_bytes;
                client.counts.reply_bytes += addition.reply_bytes;
            } else {
                debug_assert!(false, "what waits has its place");
            }
        }
    }

    /// Forgets all that waits.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.length = 0;
    }
}
