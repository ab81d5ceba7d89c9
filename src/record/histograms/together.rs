//! Usual requests that took the same time, counted as one: sent together, and answered together.
//!
//! Where a client sends several requests at once, a segment brings the replies to several of them. Each but the first of these came
//! with the one before, so that all of its latency was in the queue; and if the requests were of one command and came in one
//! segment too, that latency is the same. How many have been alike is noted here until one comes that is not like them, or
//! anything is told. Never panics, allocates nothing but what [`Statistics::record`] does.

use crate::counters::Counters;
use crate::redis::command::{CommandId, CommandTable};
use crate::redis::pairing::Flags;
use crate::units::{Address, Endpoint, Timestamp};

use super::super::transaction::Times;
use super::usual::UsualSample;
use super::{Counts, Directory, OTHER, Sample, Statistics};

/// Whose replies come together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gathering {
    /// The server's number.
    pub server_number: u32,
    /// The client's.
    pub client_number: u32,
    /// First and last byte of each reply, and the last one of the reply before; known.
    pub answered: Timestamp,
}

/// What those of a [`Gathering`] have in common that took the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alike {
    /// The command.
    pub command: CommandId,
    /// First and last byte of the request; known.
    pub sent: Timestamp,
}

/// Those of late.
#[derive(Debug)]
pub(super) struct Together {
    gathering: Gathering,
    /// What those that are counted here have in common, or would have.
    alike: Alike,
    /// How many they are.
    counts: Counts,
}

impl Alike {
    const NONE: Alike = Alike { command: CommandId::UNKNOWN, sent: Timestamp::NONE };
}

const NOTHING: Counts = Counts { count: 0, errors: 0, request_bytes: 0, reply_bytes: 0 };

impl Together {
    pub(super) const NONE: Together = Together {
        gathering: Gathering { server_number: OTHER, client_number: OTHER, answered: Timestamp::NONE },
        alike: Alike::NONE,
        counts: NOTHING,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.counts.count == 0
    }
}

impl Statistics {
    /// Replies come together: [`Statistics::record_alike`] and [`Statistics::begin_alike`] are of these from now on. Those that come
    /// first may have this in common.
    #[inline(always)]
    pub fn gather(
        &mut self,
        gathering: Gathering,
        alike: Alike,
        table: &CommandTable,
        directory: &mut Directory,
        counters: &mut Counters,
    ) {
        self.count_alike(table, directory, counters);
        (self.together.gathering, self.together.alike) = (gathering, alike);
    }

    /// Adds a request if it is like those of late; else this answers false, and nothing has happened.
    #[inline(always)]
    pub fn record_alike(&mut self, alike: Alike, request_bytes: u64, reply_bytes: u64) -> bool {
        let Together { alike: last, counts, .. } = &mut self.together;
        let is_alike = *last == alike;
        if is_alike {
            counts.count += 1;
            counts.request_bytes += request_bytes;
            counts.reply_bytes += reply_bytes;
        }
        is_alike
    }

    /// Adds a request that is not like those of late: others may be like it.
    #[inline(never)]
    pub fn begin_alike(
        &mut self,
        alike: Alike,
        request_bytes: u64,
        reply_bytes: u64,
        table: &CommandTable,
        directory: &mut Directory,
        counters: &mut Counters,
    ) {
        self.count_alike(table, directory, counters);
        self.together.alike = alike;
        self.together.counts = Counts { count: 1, errors: 0, request_bytes, reply_bytes };
    }

    /// Whose replies come together, as was told last.
    pub fn gathering(&self) -> Gathering {
        self.together.gathering
    }

    /// Counts those of late: before another one comes, or anything is told.
    #[inline(always)]
    pub(super) fn count_alike(&mut self, table: &CommandTable, directory: &mut Directory, counters: &mut Counters) {
        if !self.together.is_empty() {
            self.add_alike(table, directory, counters);
        }
    }

    #[inline(never)]
    fn add_alike(&mut self, table: &CommandTable, directory: &mut Directory, counters: &mut Counters) {
        let Together { gathering, alike, counts } = &mut self.together;
        let Gathering { server_number, client_number, answered } = *gathering;
        let Alike { command, sent } = std::mem::replace(alike, Alike::NONE);
        let counts = std::mem::replace(counts, NOTHING);
        let Counts { count, request_bytes, reply_bytes, .. } = counts;
        let times = Times::queued(sent, answered);
        let sample = UsualSample { server_number, client_number, command, request_bytes, reply_bytes, times };
        if !u32::try_from(count).is_ok_and(|count| self.add_usual(&sample, count, directory, counters)) {
            self.add_one_by_one(&sample, count, table, directory, counters);
        }
    }

    /// There is no place for them yet.
    #[cold]
    fn add_one_by_one(
        &mut self,
        usual: &UsualSample,
        count: u64,
        table: &CommandTable,
        directory: &mut Directory,
        counters: &mut Counters,
    ) {
        let UsualSample { server_number, client_number, command, request_bytes, reply_bytes, times } = *usual;
        // Nobody asks for the names of those that have none.
        let server = directory.server_name(server_number).unwrap_or(Endpoint { address: Address::default(), port: 0 });
        let client = directory.client_name(client_number).unwrap_or_default();
        for number in 0..count {
            let of_all = |bytes| if number == 0 { bytes } else { 0 };
            let sample = Sample {
                server: &server,
                server_number,
                client: &client,
                client_number,
                command,
                flags: Flags::default(),
                request_bytes: of_all(request_bytes),
                reply_bytes: of_all(reply_bytes),
                times: Some(times),
                error: None,
                counts: true,
            };
            self.record(&sample, table, directory, counters);
        }
    }
}
