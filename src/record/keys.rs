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

use super::top::{Entry, Hashed, Name, Top};

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
    bytes_in: u64,
    bytes_out: u64,
    latency_ns: u64,
    /// Its name, in the batch's text.
    name_at: u32,
    name_length: u8,
    is_cut: bool,
    facts: u8,
}

/// When so many other uses have come, a use's place in the table is asked for: its part of the index has come by then.
const PLACE_BEHIND: usize = 8;
/// The same of its name, which is found by its place.
const NAME_BEHIND: usize = 2 * PLACE_BEHIND;

// Facts of a use.
const OPERATION: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const HIT: u8 = 8;
const MISS: u8 = 16;

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
pub struct Biggest(Vec<Big>);

impl Biggest {
    fn new() -> Biggest {
        Biggest(Vec::with_capacity(BIGGEST_LISTED))
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Big> {
        self.0.iter()
    }

    /// Whether one of this size, time and place belongs here.
    #[inline]
    pub fn wants(&self, bytes: u64, at: Timestamp, place: (u64, u64)) -> bool {
        match self.0.last() {
            Some(last) if self.0.len() == BIGGEST_LISTED => {
                bytes > last.bytes || bytes == last.bytes && (at, place) < (last.at, last.place)
            }
            _ => bytes > 0,
        }
    }

    /// Adds one that belongs here.
    #[cold]
    pub fn insert(&mut self, big: Big) {
        self.0.truncate(BIGGEST_LISTED - 1);
        let rank = |big: &Big| (std::cmp::Reverse(big.bytes), big.at, big.place);
        let at = self.0.partition_point(|other| rank(other) < rank(&big));
        self.0.insert(at, big);
    }

    fn absorb(&mut self, other: &Biggest) {
        for big in &other.0 {
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
    batch: Vec<Use>,
    text: Vec<u8>,
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
            batch: Vec::with_capacity(KEY_BATCH),
            text: Vec::with_capacity(KEY_BATCH * KEY_NAME_BYTES_MAX),
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
            let first = number == 0;
            let facts = self.facts(request, &key, n);
            number += 1;
            if self.batch.len() == KEY_BATCH {
                self.count_batch(counters);
            }
            let kept = &key.name[..key.name.len().min(KEY_NAME_BYTES_MAX)];
            let hash = self.seed.of_bytes(key.name);
            self.keys.prefetch(hash);
            self.batch.push(Use {
                hash,
                bytes_in: if first { request.request_bytes } else { 0 },
                bytes_out: if first { request.reply_bytes } else { 0 },
                latency_ns: if first { request.latency_ns } else { 0 },
                name_at: self.text.len() as u32,
                name_length: kept.len() as u8,
                is_cut: key.is_cut || kept.len() < key.name.len(),
                facts,
            });
            self.text.extend_from_slice(kept);
            let newest = self.batch.len() - 1;
            if let Some(earlier) = newest.checked_sub(PLACE_BEHIND) {
                self.keys.prefetch_place(self.batch[earlier].hash);
            }
            if let Some(earlier) = newest.checked_sub(NAME_BEHIND) {
                self.keys.prefetch_name(self.batch[earlier].hash);
            }
        }
        if request.counts {
            counters.add(Counter::KeyOperations, u64::from(number));
            counters.add(Counter::KeysNotKept, u64::from(request.keys.saturating_sub(number)));
        }
    }

    /// What a request means for the n-th of its keys.
    #[inline]
    fn facts(&self, request: &KeyedRequest<'_>, key: &Key<'_>, n: u32) -> u8 {
        let mut facts = if request.counts { OPERATION } else { 0 };
        if key.role != KeyRole::UNKNOWN && request.counts {
            facts |= if key.role.writes() { WRITE } else { READ };
        }
        if key.role.access() != Access::ReadOnly || !key.role.accesses_data() {
            return facts;
        }
        let nulls = request.nulls.filter(|_| Some(request.command) == self.mget && n < u64::BITS);
        let is_null = match request.reply {
            Some(Kind::Array) => nulls.map(|nulls| nulls >> n & 1 == 1),
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
    fn count_batch(&mut self, counters: &mut Counters) {
        let KeyStatistics { keys, prefixes, batch, text, seed, separator, .. } = self;
        for key_use in &batch[batch.len().saturating_sub(PLACE_BEHIND)..] {
            keys.prefetch_place(key_use.hash);
        }
        for key_use in &batch[batch.len().saturating_sub(NAME_BEHIND)..] {
            keys.prefetch_name(key_use.hash);
        }
        for key_use in batch.drain(..) {
            let (from, length) = (key_use.name_at as usize, usize::from(key_use.name_length));
            let key = Hashed { hash: key_use.hash, name: &text[from..from + length], is_cut: key_use.is_cut };
            let tally = keys.tally(&key, |leaving| {
                counters.count(Counter::KeysGivenUp);
                count_prefix(prefixes, leaving, *separator, *seed, counters);
            });
            let is = |fact: u8| u64::from(key_use.facts & fact != 0);
            tally.operations += is(OPERATION);
            tally.bytes_in += key_use.bytes_in;
            tally.bytes_out += key_use.bytes_out;
            tally.latency_ns += key_use.latency_ns;
            tally.reads += is(READ);
            tally.writes += is(WRITE);
            tally.hits += is(HIT);
            tally.misses += is(MISS);
        }
        text.clear();
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

/// Adds what a key had to its prefix: all up to the last separator.
fn count_prefix(prefixes: &mut Top, key: &Entry<'_>, separator: u8, seed: Seed, counters: &mut Counters) {
    let name = key.name;
    let prefix = &name[..memchr::memrchr(separator, name).map_or(0, |at| at + 1)];
    let prefix = Hashed { hash: seed.of_bytes(prefix), name: prefix, is_cut: false };
    *prefixes.tally(&prefix, |_| counters.count(Counter::PrefixesGivenUp)) += key.tally;
}

#[cfg(test)]
mod tests;
