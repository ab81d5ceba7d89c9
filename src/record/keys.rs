//! Statistics of keys: which are used most, by operations, bytes and latency; what prefixes of theirs are used for; and the
//! biggest messages.
//!
//! Each worker has a [`KeyStatistics`] for the whole run; at the end they are [added up](KeyStatistics::absorb). Uses are counted
//! in batches: the tables are larger than a processor's caches, and what a use needs of them comes while the next requests are
//! read. A prefix gets what its keys had when they leave the table of keys, so that it misses nothing of them; its own table
//! has its own bound.
//!
//! An operation counts for each of its request's keys; bytes and latency count once, for the first one. Commands that wait on
//! purpose have no latency here. Hits and misses are of commands that only read one key's data and are answered with one value
//! or a null, and of the items of MGET: aggregates do not tell whether they are empty for want of a key.

use crate::counters::{Counter, Counters};
use crate::flow::hash::Seed;
use crate::limits::{
    BIGGEST_LISTED, KEY_BATCH, KEY_NAME_BYTES_MAX, KEYS_PER_WORKER_MAX, PREFIXES_PER_WORKER_MAX, items,
};
use crate::redis::arguments::{self, Key};
use crate::redis::command::{CommandId, CommandTable};
use crate::redis::keys::{Access, KeyRole};
use crate::resp::parser::Kind;
use crate::units::{Endpoint, Timestamp};

use super::top::{Entry, Hashed, Likely, Name, PerMetric, Tally, Top};

/// What a decided request adds to its keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// The command.
    pub command: CommandId,
    /// The arguments as they may be shown; empty if none may.
    pub arguments: &'a [u8],
    /// Keys that the request has, kept or not.
    pub keys: u32,
    /// Bytes of it are missing.
    pub has_gap: bool,
    /// RESP bytes; 0 if they have been counted.
    pub request_bytes: u64,
    /// RESP bytes; 0 without a reply.
    pub reply_bytes: u64,
    /// 0 where it does not count.
    pub latency_ns: u64,
    /// The reply's kind, if there is one.
    pub reply: Option<Kind>,
    /// Which of the first 64 items of its array are nulls, a bit each, where that is known.
    pub nulls: Option<u64>,
    /// Whether it adds operations: not if this is the late reply of a request that was counted before.
    pub counts: bool,
}

/// A use of a key that waits to be counted.
#[derive(Clone, Copy, Debug)]
struct Use {
    hash: u64,
    metrics: PerMetric,
    /// Which name of the table it seems to be, once that has been looked up.
    likely: Likely,
    /// Bytes of its name that are kept.
    name_length: u8,
    is_cut: bool,
    facts: u8,
}

impl Use {
    const NONE: Use = Use { hash: 0, metrics: [0; 4], likely: Likely::NONE, name_length: 0, is_cut: false, facts: 0 };
}

/// When so many other uses have come, a use's place in the table is asked for: its part of the index has come by then.
const PLACE_BEHIND: usize = 8;
/// The same of its name, which is found by its place.
const NAME_BEHIND: usize = 2 * PLACE_BEHIND;

// Facts of a use.
const READ: u8 = 1;
const WRITE: u8 = 2;
const HIT: u8 = 4;
const MISS: u8 = 8;

/// What facts add to a tally's reads, writes, hits and misses.
const ADDED: [[u64; 4]; 16] = {
    let mut added = [[0; 4]; 16];
    let mut facts = 0;
    while facts < 16 {
        let all = facts as u64;
        added[facts] = [all & 1, all >> 1 & 1, all >> 2 & 1, all >> 3];
        facts += 1;
    }
    added
};

/// A request, or a reply, that is among the biggest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Big {
    /// RESP bytes.
    pub bytes: u64,
    /// First byte of the request.
    pub at: Timestamp,
    /// Its connection, and which of its requests it is.
    pub place: (u64, u64),
    /// The command.
    pub command: CommandId,
    /// The first key, if there is one that may be shown.
    pub key: Option<Name>,
    /// Who asked.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
}

/// The biggest, biggest first; of equals the earlier.
#[derive(Debug)]
pub struct Biggest {
    list: Vec<Big>,
    /// Smaller ones don't belong here.
    least: u64,
}

impl Biggest {
    fn new() -> Biggest {
        Biggest { list: Vec::with_capacity(BIGGEST_LISTED), least: 1 }
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Big> {
        self.list.iter()
    }

    /// Whether one of this size, time and place belongs here.
    #[inline]
    pub fn wants(&self, bytes: u64, at: Timestamp, place: (u64, u64)) -> bool {
        bytes >= self.least
            && match self.list.last() {
                Some(last) if self.list.len() == BIGGEST_LISTED => {
                    bytes > last.bytes || (at, place) < (last.at, last.place)
                }
                _ => true,
            }
    }

    /// Adds one that belongs here.
    #[cold]
    pub fn insert(&mut self, big: Big) {
        self.list.truncate(BIGGEST_LISTED - 1);
        let rank = |big: &Big| (std::cmp::Reverse(big.bytes), big.at, big.place);
        let at = self.list.partition_point(|other| rank(other) < rank(&big));
        self.list.insert(at, big);
        if let (BIGGEST_LISTED, Some(last)) = (self.list.len(), self.list.last()) {
            self.least = last.bytes;
        }
    }

    fn absorb(&mut self, other: &Biggest) {
        for big in &other.list {
            if self.wants(big.bytes, big.at, big.place) {
                self.insert(*big);
            }
        }
    }
}

/// One worker's statistics of keys, or those of all.
#[derive(Debug)]
pub struct KeyStatistics {
    table: &'static CommandTable,
    seed: Seed,
    separator: u8,
    /// MGET, whose items are one key's each.
    mget: Option<CommandId>,
    /// Tallies of keys.
    pub keys: Top,
    /// Tallies of prefixes, their separator included; the empty one is of keys without.
    pub prefixes: Top,
    /// The biggest requests.
    pub requests: Biggest,
    /// The biggest replies.
    pub replies: Biggest,
    batch: Box<[Use; KEY_BATCH]>,
    /// The names of the batch.
    names: Box<[[u8; KEY_NAME_BYTES_MAX]; KEY_BATCH]>,
    /// How many wait in it.
    waiting: usize,
}

impl KeyStatistics {
    /// Empty ones, within `budget` bytes. All that are to be added up must have the same `seed`.
    pub fn new(budget: u64, separator: u8, table: &'static CommandTable, seed: Seed) -> KeyStatistics {
        let room = |share: u64, most: usize| most.min(items(share, Top::NAME_BYTES) as usize);
        KeyStatistics {
            table,
            seed,
            separator,
            mget: table.find(b"MGET"),
            keys: Top::new(room(budget / 8 * 7, KEYS_PER_WORKER_MAX)),
            prefixes: Top::new(room(budget / 8, PREFIXES_PER_WORKER_MAX)),
            requests: Biggest::new(),
            replies: Biggest::new(),
            batch: Box::new([Use::NONE; KEY_BATCH]),
            names: Box::new([[0; KEY_NAME_BYTES_MAX]; KEY_BATCH]),
            waiting: 0,
        }
    }

    /// The command of one of the biggest messages.
    pub fn command(&self, big: &Big) -> &str {
        self.table.name(big.command)
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> u64 {
        self.keys.memory() + self.prefixes.memory()
    }

    /// Adds a decided request that has keys.
    #[inline]
    pub fn record(&mut self, request: &KeyedRequest<'_>, counters: &mut Counters) {
        let mut number = 0;
        for (n, key) in (0..).zip(arguments::keys(request.arguments)) {
            // What is left of a name out of which bytes are missing is not the beginning of one.
            if key.is_cut && request.has_gap {
                continue;
            }
            let facts = self.facts(request, &key, n);
            let (operations, first) = (u64::from(request.counts), number == 0);
            number += 1;
            let metrics = if first {
                [operations, request.request_bytes, request.reply_bytes, request.latency_ns]
            } else {
                [operations, 0, 0, 0]
            };
            self.push(&key, metrics, facts, counters);
        }
        if request.counts {
            counters.add(Counter::KeyOperations, u64::from(number));
            counters.add(Counter::KeysNotKept, u64::from(request.keys.saturating_sub(number)));
        }
    }

    /// Lets a use of a key wait, and asks for what earlier ones will need.
    #[inline(always)]
    fn push(&mut self, key: &Key<'_>, metrics: PerMetric, facts: u8, counters: &mut Counters) {
        if self.waiting == KEY_BATCH {
            self.count_batch(counters);
        }
        let at = self.waiting % KEY_BATCH;
        self.waiting = at + 1;
        let kept = &key.name[..key.name.len().min(KEY_NAME_BYTES_MAX)];
        let hash = self.seed.of_bytes(key.name);
        self.keys.prefetch(hash);
        let is_cut = key.is_cut || kept.len() < key.name.len();
        self.batch[at] = Use { hash, metrics, likely: Likely::NONE, name_length: kept.len() as u8, is_cut, facts };
        copy(kept, &mut self.names[at]);
        if let Some(earlier) = at.checked_sub(PLACE_BEHIND) {
            let earlier = &mut self.batch[earlier];
            earlier.likely = self.keys.prefetch_place(earlier.hash);
        }
        if let Some(earlier) = at.checked_sub(NAME_BEHIND) {
            self.keys.prefetch_name(self.batch[earlier].likely);
        }
    }

    /// What a request means for the n-th of its keys.
    #[inline(always)]
    fn facts(&self, request: &KeyedRequest<'_>, key: &Key<'_>, n: u32) -> u8 {
        let mut facts = 0;
        if key.role != KeyRole::UNKNOWN && request.counts {
            facts |= if key.role.writes() { WRITE } else { READ };
        }
        if key.role.access() != Access::ReadOnly || !key.role.accesses_data() {
            return facts;
        }
        let nulls = || request.nulls.filter(|_| Some(request.command) == self.mget && n < u64::BITS);
        let is_null = match request.reply {
            Some(Kind::Array) => nulls().map(|nulls| nulls >> n & 1 == 1),
            Some(Kind::Null) if request.keys == 1 => Some(true),
            Some(kind) if request.keys == 1 && kind.is_value() => Some(false),
            _ => None,
        };
        facts
            | match is_null {
                Some(true) => MISS,
                Some(false) => HIT,
                None => 0,
            }
    }

    /// Counts what waits.
    #[inline(never)]
    fn count_batch(&mut self, counters: &mut Counters) {
        let KeyStatistics { keys, prefixes, batch, names, waiting, seed, separator, .. } = self;
        let batch = &mut batch[..std::mem::take(waiting)];
        let places_from = batch.len().saturating_sub(PLACE_BEHIND);
        for key_use in &mut batch[places_from..] {
            key_use.likely = keys.prefetch_place(key_use.hash);
        }
        let names_from = batch.len().saturating_sub(NAME_BEHIND);
        for key_use in &batch[names_from..] {
            keys.prefetch_name(key_use.likely);
        }
        for (key_use, name) in batch.iter().zip(names.iter()) {
            let name = &name[..usize::from(key_use.name_length)];
            let key = Hashed { hash: key_use.hash, name, is_cut: key_use.is_cut };
            let tally = keys.tally_likely(&key, key_use.likely, |leaving| {
                counters.count(Counter::KeysGivenUp);
                count_prefix(prefixes, leaving, *separator, *seed, counters);
            });
            let [operations, bytes_in, bytes_out, latency_ns] = key_use.metrics;
            let [reads, writes, hits, misses] = ADDED[usize::from(key_use.facts) % ADDED.len()];
            *tally += &Tally { operations, bytes_in, bytes_out, latency_ns, reads, writes, hits, misses };
        }
    }

    /// Counts all that waits; now the prefixes have all that their keys have.
    pub fn finish(&mut self, counters: &mut Counters) {
        self.count_batch(counters);
        let KeyStatistics { keys, prefixes, separator, seed, .. } = self;
        for entry in keys.iter() {
            count_prefix(prefixes, &entry, *separator, *seed, counters);
        }
    }

    /// Adds another worker's, both finished.
    pub fn absorb(&mut self, other: &KeyStatistics) {
        self.keys.absorb(&other.keys);
        self.prefixes.absorb(&other.prefixes);
        self.requests.absorb(&other.requests);
        self.replies.absorb(&other.replies);
    }
}

/// Copies a name to where there is room for any. Most are so short that they are copied as their two ends, which may overlap.
#[inline(always)]
fn copy(name: &[u8], to: &mut [u8; KEY_NAME_BYTES_MAX]) {
    match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) if name.len() <= 16 => {
            to[..8].copy_from_slice(first);
            to[name.len() - 8..name.len()].copy_from_slice(last);
        }
        _ => to[..name.len()].copy_from_slice(name),
    }
}

/// Adds what a key had to its prefix: all up to the last separator.
fn count_prefix(prefixes: &mut Top, key: &Entry<'_>, separator: u8, seed: Seed, counters: &mut Counters) {
    let name = key.name;
    let prefix = &name[..memchr::memrchr(separator, name).map_or(0, |at| at + 1)];
    let prefix = Hashed { hash: seed.of_bytes(prefix), name: prefix, is_cut: false };
    *prefixes.tally(&prefix, |_| counters.count(Counter::PrefixesGivenUp)) += key.tally;
}

#[cfg(test)]
mod tests;
