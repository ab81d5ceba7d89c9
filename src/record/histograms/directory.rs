//! Numbers for servers, clients, series and error codes, once per worker, so that recording is indexing. Number 0 is `other`, for all
//! that came after a bound was reached.

use std::hash::Hash;

use hashbrown::HashTable;

use crate::counters::{Counter, Counters};
use crate::flow::hash::Seed;
use crate::limits;
use crate::units::{Address, Endpoint};

use super::{ErrorCode, OTHER, SeriesName};

/// Numbers things in the order in which they come, up to a bound.
#[derive(Debug)]
struct Numbering<K> {
    index: HashTable<u32>,
    names: Vec<K>,
    capacity: usize,
    seed: Seed,
}

impl<K: Copy + Eq + Hash + Default> Numbering<K> {
    fn new(capacity: usize, seed: Seed) -> Self {
        // Number 0 is `other`; its name is never looked up.
        Numbering { index: HashTable::new(), names: vec![K::default()], capacity, seed }
    }

    #[inline]
    fn number(&mut self, name: K) -> Option<u32> {
        let hash = self.seed.hash_of(&name);
        if let Some(&number) = self.index.find(hash, |&number| self.names[number as usize] == name) {
            return Some(number);
        }
        if self.names.len() > self.capacity {
            return None;
        }
        let number = self.names.len() as u32;
        self.names.push(name);
        let (names, seed) = (&self.names, self.seed);
        self.index.insert_unique(hash, number, |&other| seed.hash_of(&names[other as usize]));
        Some(number)
    }

    /// The name of a number; `None`: of all that came after the bound was reached.
    fn name(&self, number: u32) -> Option<K> {
        if number == OTHER { None } else { self.names.get(number as usize).copied() }
    }
}

/// A worker's numbers for servers, clients, series and error codes.
#[derive(Debug)]
pub struct Directory {
    servers: Numbering<Endpoint>,
    clients: Numbering<Address>,
    series: Numbering<SeriesName>,
    errors: Numbering<ErrorCode>,
    /// Series that were numbered last, each in the place that its numbers give it: most requests are of a few.
    recent: Box<[Recent; RECENT]>,
}

/// A series by the numbers of its parts, as one, and its own.
#[derive(Clone, Copy, Debug)]
struct Recent {
    parts: u64,
    series: u32,
}

/// Places for series that were numbered last.
const RECENT: usize = 256;

impl Directory {
    /// Bytes that a name costs at most, what is made of it in the statistics and their sums included.
    const NAME_BYTES: usize = 1024;

    /// An empty directory whose names, and what is made of them, take at most so many bytes. `seed` guards its tables against
    /// chosen names.
    pub fn new(seed: Seed, bytes: u64) -> Directory {
        let most = |bound: usize| bound.min(limits::items(bytes / 3, Self::NAME_BYTES) as usize);
        Directory::with_bounds(
            seed,
            most(limits::SERVERS_PER_WORKER_MAX),
            most(limits::CLIENTS_PER_WORKER_MAX),
            most(limits::SERIES_PER_WORKER_MAX),
            limits::ERROR_CODES_MAX,
        )
    }

    pub(super) fn with_bounds(seed: Seed, servers: usize, clients: usize, series: usize, errors: usize) -> Directory {
        Directory {
            servers: Numbering::new(servers, seed),
            clients: Numbering::new(clients, seed),
            series: Numbering::new(series, seed),
            errors: Numbering::new(errors, seed),
            // No series has these parts.
            recent: Box::new([Recent { parts: u64::MAX, series: OTHER }; RECENT]),
        }
    }

    /// The number of a series whose server has the number `server`, if there is room for it.
    pub(super) fn series(&mut self, server: u32, name: SeriesName) -> Option<u32> {
        let parts = u64::from(server) << 32 | u64::from(name.command.0) << 1 | u64::from(name.blocking);
        let place = (server as usize).wrapping_mul(31).wrapping_add(usize::from(name.command.0)) % RECENT;
        if self.recent[place].parts == parts {
            return Some(self.recent[place].series);
        }
        let series = self.number_series(name)?;
        self.recent[place] = Recent { parts, series };
        Some(series)
    }

    #[cold]
    #[inline(never)]
    fn number_series(&mut self, name: SeriesName) -> Option<u32> {
        self.series.number(name)
    }

    /// The server's number.
    pub fn server(&mut self, server: Endpoint, counters: &mut Counters) -> u32 {
        number_or_other(self.servers.number(server), counters)
    }

    /// The server of a number.
    pub(super) fn server_name(&self, number: u32) -> Option<Endpoint> {
        self.servers.name(number)
    }

    /// The client of a number.
    pub(super) fn client_name(&self, number: u32) -> Option<Address> {
        self.clients.name(number)
    }

    /// The client's number (by address: its ports come and go).
    pub fn client(&mut self, client: Address, counters: &mut Counters) -> u32 {
        number_or_other(self.clients.number(client), counters)
    }

    /// The number of a series without a server: these have room of their own, one per command, blocking calls apart.
    pub(super) fn overflow_series(&mut self, name: SeriesName) -> u32 {
        let capacity = self.series.capacity;
        self.series.capacity = usize::MAX;
        let number = self.series.number(name).unwrap_or(OTHER);
        self.series.capacity = capacity;
        number
    }

    /// The number of an error code.
    pub(super) fn error(&mut self, code: ErrorCode, counters: &mut Counters) -> u32 {
        number_or_other(self.errors.number(code), counters)
    }
}

#[inline]
fn number_or_other(number: Option<u32>, counters: &mut Counters) -> u32 {
    number.unwrap_or_else(|| {
        counters.count(Counter::EvictedSeries);
        OTHER
    })
}
