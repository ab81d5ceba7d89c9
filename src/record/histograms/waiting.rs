//! What usual requests add to their series and their clients: it waits until the memory for it has come.
//!
//! The place of a latency in a histogram is in no cache most of the time: that of a series has thousands of places, and clients, each
//! with one of its own, are many. So it is asked for when a request comes, and counted when others have come. Requests go in groups:
//! when one is full, what the one before asked for has come. A client takes two steps, as its entry says where its histogram is.
//! Never panics, allocates nothing but what a client's first requests do.

use std::hint::cold_path;

use crate::counters::Counters;
use crate::redis::command::CommandTable;

use super::super::cells::Place;
use super::together::Together;
use super::{Directory, OTHER, Statistics};

/// What waits of a request. There is a place for it in its series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    /// Its client's number.
    pub client: u32,
    /// Its series' number.
    pub series: u32,
    /// The place of its latency.
    pub latency: Place,
    /// Requests that it stands for: itself, and those that are [alike](super::together).
    pub count: u32,
    /// RESP bytes of the requests.
    pub request_bytes: u64,
    /// RESP bytes of the replies.
    pub reply_bytes: u64,
}

/// Requests that go together.
const GROUP: usize = 8;
/// One that comes, those that wait, and one to spare: a power of two.
const GROUPS: usize = 4;

/// Those that wait, each in the place of its number.
#[derive(Debug)]
pub(super) struct Waiting {
    additions: Box<[[Addition; GROUP]; GROUPS]>,
    /// Requests that have come.
    come: usize,
    /// Of them, those that were counted.
    counted: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        let latency = Place::of(0);
        let none = Addition { client: OTHER, series: 0, latency, count: 0, request_bytes: 0, reply_bytes: 0 };
        Waiting { additions: Box::new([[none; GROUP]; GROUPS]), come: 0, counted: 0 }
    }
}

impl Statistics {
    /// A usual request comes: it waits.
    #[inline(always)]
    pub(super) fn wait(&mut self, addition: Addition, directory: &mut Directory, counters: &mut Counters) {
        self.clients.prefetch(addition.client);
        let Waiting { additions, come, .. } = &mut self.waiting;
        additions.as_flattened_mut()[*come % (GROUP * GROUPS)] = addition;
        *come += 1;
        if come.is_multiple_of(GROUP) {
            cold_path();
            self.advance(directory, counters);
        }
    }

    /// A group has come.
    #[inline(never)]
    fn advance(&mut self, directory: &mut Directory, counters: &mut Counters) {
        let Statistics { clients, waiting: Waiting { additions, come, counted }, .. } = self;
        let Some(before) = (*come / GROUP).checked_sub(2) else { return };
        for addition in &additions[before % GROUPS] {
            if let Some(latency) = clients.touched(addition.client).and_then(|client| client.latency.kept()) {
                latency.prefetch(addition.latency);
            }
        }
        let until = before * GROUP;
        if *counted < until {
            self.count_until(until, directory, counters);
        }
    }

    /// Counts all that waits: before anything is told, and before a histogram is given up.
    #[inline]
    pub fn count_waiting(&mut self, table: &CommandTable, directory: &mut Directory, counters: &mut Counters) {
        self.count_alike(table, directory, counters);
        if !self.is_settled() {
            self.count_until(self.waiting.come, directory, counters);
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_settled(&self) -> bool {
        self.together.is_empty() && self.waiting.counted == self.waiting.come
    }

    #[inline(never)]
    fn count_until(&mut self, until: usize, directory: &mut Directory, counters: &mut Counters) {
        while let Some(addition) = self.count_known(until) {
            let name = directory.client_name(addition.client);
            self.record_client(name, &addition, counters);
        }
    }

    /// Counts what waits up to there, or up to the first whose client has no place for it: that is left to the caller.
    #[inline(always)]
    fn count_known(&mut self, until: usize) -> Option<Addition> {
        let Statistics { series, clients, waiting: Waiting { additions, counted, .. }, .. } = self;
        for number in *counted..until {
            let addition = &additions.as_flattened()[number % (GROUP * GROUPS)];
            let latency = addition.latency;
            let of_series = series.touched_mut(addition.series).and_then(|series| series.latency.kept_mut());
            let count = of_series.and_then(|cells| cells.count_mut(latency));
            debug_assert!(count.is_some(), "a series has its place when a request waits");
            if let Some(count) = count {
                *count += u64::from(addition.count);
            }
            if let Some(client) = clients.touched_mut(addition.client)
                && let Some(count) = client.latency.kept_mut().and_then(|cells| cells.count_mut(latency))
            {
                *count += u64::from(addition.count);
                client.counts.count += u64::from(addition.count);
                client.counts.request_bytes += addition.request_bytes;
                client.counts.reply_bytes += addition.reply_bytes;
            } else {
                cold_path();
                *counted = number + 1;
                return Some(*addition);
            }
        }
        *counted = until;
        None
    }

    /// Forgets all that waits.
    pub(super) fn forget_waiting(&mut self) {
        self.together = Together::NONE;
        self.waiting.come = 0;
        self.waiting.counted = 0;
    }
}
