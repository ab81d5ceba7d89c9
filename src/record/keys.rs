//! Statistics of keys: which are used most, by operations, bytes and latency; what prefixes of theirs are used for; and the
//! biggest messages.
//!
//! Each worker has a [`KeyStatistics`] for the whole run; at the end they are [added up](KeyStatistics::absorb). Uses wait before
//! they are counted, in groups: the tables are larger than a processor's caches, and what a group needs of them comes while the
//! requests of the next ones are read. A prefix gets what its keys had when they leave the table of keys, so that it misses nothing of them; its own table
//! has its own bound.
//!
//! An operation counts for each of its request's keys; bytes and latency count once, for the first one. Commands that wait on
//! purpose have no latency here. Hits and misses are of commands that only read one key's data and are answered with one value
//! or a null, and of the items of MGET: aggregates do not tell whether they are empty for want of a key.

use std::hint::cold_path;

use crate::counters::{Counter, Counters};
use crate::flow::hash::Seed;
use crate::limits::{
    BIGGEST_LISTED, KEY_BATCH, KEY_NAME_BYTES_MAX, KEYS_PER_WORKER_MAX, PREFIXES_PER_WORKER_MAX, items,
};
use crate::redis::arguments::{self, BRIEF_BYTES, Brief, Ends, Key};
use crate::redis::command::{CommandId, CommandTable};
use crate::redis::keys::KeyRole;
use crate::resp::parser::Kind;
use crate::units::{Endpoint, Timestamp};

use super::top::{Entry, Hashed, Lately, Likely, Name, NameRoom, PerMetric, SHORT_BYTES, Shape, Tally, Top};

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

/// What a usual request adds to its key: an operation, and these, none of which is large.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is the metric of its name")]
pub struct Metrics {
    pub bytes_in: u32,
    pub bytes_out: u32,
    pub latency_ns: u32,
}

impl Metrics {
    fn all(&self) -> [u32; 4] {
        [1, self.bytes_in, self.bytes_out, self.latency_ns]
    }
}

/// A use of a key that waits to be counted.
#[derive(Clone, Copy, Debug)]
struct Use {
    hash: u64,
    metrics: [u32; 4],
    /// Which name of the table it seems to be, once that has been looked up.
    likely: Likely,
    /// Of its name, as far as it is kept.
    shape: Shape,
    sort: Sort,
    /// A short name, and zeros behind it.
    short: [u8; SHORT_BYTES],
}

impl Use {
    const NONE: Use = Use {
        hash: 0,
        metrics: [0; 4],
        likely: Likely::NONE,
        shape: Shape::EMPTY,
        sort: Sort::of_facts(0),
        short: [0; SHORT_BYTES],
    };

    /// Its name, as far as it is kept, which is in the `room` if it is not short.
    fn name<'n>(&'n self, room: &'n NameRoom) -> &'n [u8] {
        let length = self.shape.length();
        if self.shape.is_short() { &self.short[..length] } else { room.get(..length).unwrap_or_default() }
    }
}

/// Uses that are looked up, and counted, together. When a group has come, the place in the table is asked for of each of its
/// uses, whose part of the index has come by then; so is the name of each of the group before, which is found by its place; and
/// the group before that is counted.
const GROUP: usize = 8;
/// Groups of uses that wait, and one that comes.
const GROUPS: usize = 4;
const _: () = assert!(KEY_BATCH == GROUPS * GROUP, "what comes is written over what was counted");

// Facts of a use.
const READ: u8 = 1;
const WRITE: u8 = 2;
const HIT: u8 = 4;
const MISS: u8 = 8;
/// It depends on the reply whether it is a hit or a miss.
const ASKS: u8 = 16;

/// Roles that there may be: as many as their bits tell apart.
const ROLES: usize = 1 << 6;

/// Facts of a use by the bits of its key's role.
const FACTS: [u8; ROLES] = {
    let mut facts = [0; ROLES];
    let mut bits = 0;
    while bits < facts.len() {
        let role = KeyRole::from_bits(bits as u8);
        if role.bits() != KeyRole::UNKNOWN.bits() {
            facts[bits] = if role.writes() { WRITE } else { READ };
        }
        if !role.writes() && role.accesses_data() {
            facts[bits] |= ASKS;
        }
        bits += 1;
    }
    facts
};

/// What kind of use one is: which facts it has, by its key's role and the reply to its request, of which it is the only one, or as
/// such.
#[derive(Clone, Copy, Debug)]
struct Sort([u8; 2]);

/// Numbers that sorts may have.
const SORTS: usize = 16 << u8::BITS;
/// What is no kind of reply.
const AS_SUCH: u8 = 15;
const _: () = assert!(Kind::ALL.len() <= AS_SUCH as usize);

impl Sort {
    /// Of a request's only key; the reply is no array, into which is to be looked.
    #[inline(always)]
    fn of_reply(reply: Kind, role: KeyRole) -> Sort {
        debug_assert!(reply != Kind::Array);
        Sort([role.bits(), reply as u8])
    }

    /// Of these facts.
    const fn of_facts(facts: u8) -> Sort {
        Sort([facts, AS_SUCH])
    }

    /// Its number.
    #[inline(always)]
    fn number(self) -> usize {
        usize::from(u16::from_le_bytes(self.0)) % SORTS
    }
}

/// What a use adds to a tally's reads, writes, hits and misses, by its sort's number.
static ADDED: [[u32; 4]; SORTS] = {
    let mut added = [[0; 4]; SORTS];
    let mut sort = 0;
    while sort < SORTS {
        let (number, bits) = (sort >> u8::BITS, sort % ROLES);
        let facts = if number == AS_SUCH as usize {
            bits as u8
        } else if number >= Kind::ALL.len() {
            0
        } else {
            assert!(Kind::ALL[number] as usize == number);
            let asks = FACTS[bits] & ASKS != 0;
            FACTS[bits]
                | match Kind::ALL[number] {
                    Kind::Null if asks => MISS,
                    kind if asks && kind.is_value() => HIT,
                    _ => 0,
                }
        };
        let all = facts as u32;
        added[sort] = [all & 1, all >> 1 & 1, all >> 2 & 1, all >> 3 & 1];
        sort += 1;
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
    /// The least rank of what may belong here.
    least: u128,
}

/// The larger, the bigger; of equals the earlier.
#[inline(always)]
fn rank(bytes: u64, at: Timestamp) -> u128 {
    u128::from(bytes) << u64::BITS | u128::from(!at.0)
}

impl Biggest {
    fn new() -> Biggest {
        Biggest { list: Vec::with_capacity(BIGGEST_LISTED), least: rank(1, Timestamp(u64::MAX)) }
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Big> {
        self.list.iter()
    }

    /// Whether one of this size and time may belong here.
    #[inline(always)]
    pub fn may_want(&self, bytes: u64, at: Timestamp) -> bool {
        rank(bytes, at) >= self.least
    }

    /// Whether one of this size, time and place belongs here.
    pub fn wants(&self, bytes: u64, at: Timestamp, place: (u64, u64)) -> bool {
        self.may_want(bytes, at)
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
        let order = |big: &Big| (std::cmp::Reverse(big.bytes), big.at, big.place);
        let at = self.list.partition_point(|other| order(other) < order(&big));
        self.list.insert(at, big);
        if let (BIGGEST_LISTED, Some(last)) = (self.list.len(), self.list.last()) {
            self.least = rank(last.bytes, last.at);
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
    /// Uses that wait, each in the place of its number.
    waiting: Box<[[Use; GROUP]; GROUPS]>,
    /// The names of those whose names are not short.
    names: Box<[[NameRoom; GROUP]; GROUPS]>,
    /// Uses that have come.
    come: u64,
    /// Of them, those that were counted.
    counted: u64,
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
            waiting: Box::new([[Use::NONE; GROUP]; GROUPS]),
            names: Box::new([[[0; _]; GROUP]; GROUPS]),
            come: 0,
            counted: 0,
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
            match Lately::metrics(&metrics) {
                Some(metrics) => self.push(&key, metrics, Sort::of_facts(facts), counters),
                None => self.count_large(&key, &metrics, Sort::of_facts(facts), counters),
            }
        }
        if request.counts {
            counters.add(Counter::KeyOperations, u64::from(number));
            counters.add(Counter::KeysNotKept, u64::from(request.keys.saturating_sub(number)));
        }
    }

    /// Adds a request whose only key this is, kept whole, and that is neither late nor without a reply; which is no array, as what that
    /// says of a key is for [`KeyStatistics::record`] to see. None of the numbers is large.
    #[inline(never)]
    pub fn record_usual(&mut self, key: &Key<'_>, reply: Kind, metrics: &Metrics, counters: &mut Counters) {
        counters.count(Counter::KeyOperations);
        self.push(key, metrics.all(), Sort::of_reply(reply, key.role), counters);
    }

    /// The same of a short list.
    #[inline(always)]
    pub fn record_brief(
        &mut self,
        brief: &Brief<BRIEF_BYTES>,
        reply: Kind,
        metrics: &Metrics,
        counters: &mut Counters,
    ) {
        let Some((ends, role)) = brief.short_key() else {
            cold_path();
            let (name, role) = brief.key();
            return self.record_usual(&Key { name, is_cut: false, role }, reply, &{ *metrics }, counters);
        };
        counters.count(Counter::KeyOperations);
        let Ends { first, last, last_at } = ends;
        let length = last_at + 8;
        let hash = self.seed.of_ends(*first, *last, length as u64);
        self.keys.prefetch(hash);
        let place = &mut self.waiting.as_flattened_mut()[self.come as usize % KEY_BATCH];
        place.hash = hash;
        // One by one: so they need not be put together before.
        place.metrics[0] = 1;
        place.metrics[1] = metrics.bytes_in;
        place.metrics[2] = metrics.bytes_out;
        place.metrics[3] = metrics.latency_ns;
        place.likely = Likely::NONE;
        place.shape = Shape::new(length, false);
        let sort = Sort::of_reply(reply, role);
        place.sort.0[0] = sort.0[0];
        place.sort.0[1] = sort.0[1];
        place.short[..8].copy_from_slice(first);
        place.short[8..].fill(0);
        place.short[last_at..last_at + 8].copy_from_slice(last);
        self.pushed(counters);
    }

    /// Lets a use of a key wait, and counts what has waited long enough.
    fn push(&mut self, key: &Key<'_>, metrics: [u32; 4], sort: Sort, counters: &mut Counters) {
        let at = self.come as usize % KEY_BATCH;
        let mut short = [0; SHORT_BYTES];
        let kept = key.name.get(..KEY_NAME_BYTES_MAX).unwrap_or(key.name);
        let shape = Shape::new(kept.len(), key.is_cut || kept.len() < key.name.len());
        let room = if shape.is_short() { &mut short[..] } else { &mut self.names.as_flattened_mut()[at][..] };
        room[..kept.len()].copy_from_slice(kept);
        let hash = self.seed.of_bytes(key.name);
        self.keys.prefetch(hash);
        self.waiting.as_flattened_mut()[at] = Use { hash, metrics, likely: Likely::NONE, shape, sort, short };
        self.pushed(counters);
    }

    /// One more waits.
    #[inline(always)]
    fn pushed(&mut self, counters: &mut Counters) {
        self.come += 1;
        if self.come.is_multiple_of(GROUP as u64) {
            cold_path();
            self.advance(counters);
        }
    }

    /// A group has come.
    #[inline(never)]
    fn advance(&mut self, counters: &mut Counters) {
        let come = self.come as usize / GROUP;
        let behind = |groups: usize| come.wrapping_sub(groups) % GROUPS;
        if come > 2 {
            let (group, mut at) = (behind(3), 0);
            while at < GROUP {
                at += count_likely(&mut self.keys, &self.waiting[group][at..], &self.names[group][at..]);
                if at < GROUP {
                    let Use { hash, metrics, shape, sort, short, .. } = &self.waiting[group][at];
                    if !self.keys.insert_short(*hash, *shape, *short, &added(metrics, *sort).tally()) {
                        self.count_new(group, at, counters);
                    }
                    at += 1;
                }
            }
            self.counted += GROUP as u64;
        }
        self.keys.prefetch_names(self.waiting[behind(2)].iter().map(|one| (one.likely, one.shape)));
        // Last, as what is needed of the last one has been asked for just now.
        self.keys.prefetch_places(self.waiting[behind(1)].iter_mut().map(|one| (one.hash, &mut one.likely)));
    }

    /// What a request means for the n-th of its keys.
    fn facts(&self, request: &KeyedRequest<'_>, key: &Key<'_>, n: u32) -> u8 {
        let of_role = FACTS[usize::from(key.role.bits()) % FACTS.len()];
        let facts = if request.counts { of_role & !ASKS } else { 0 };
        if of_role & ASKS == 0 {
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

    /// Counts a use of a name that came into the table since it was looked up, or that comes in now.
    #[cold]
    #[inline(never)]
    fn count_new(&mut self, group: usize, at: usize, counters: &mut Counters) {
        let (one, room) = (self.waiting[group][at], self.names[group][at]);
        let key = Hashed { hash: one.hash, name: one.name(&room), is_cut: one.shape.is_cut() };
        self.count(&key, &added(&one.metrics, one.sort).tally(), counters);
    }

    /// Counts a use that is too large to wait.
    #[cold]
    #[inline(never)]
    fn count_large(&mut self, key: &Key<'_>, metrics: &PerMetric, sort: Sort, counters: &mut Counters) {
        let name = key.name.get(..KEY_NAME_BYTES_MAX).unwrap_or(key.name);
        let is_cut = key.is_cut || name.len() < key.name.len();
        let mut tally = added(&[0; 4], sort).tally();
        [tally.operations, tally.bytes_in, tally.bytes_out, tally.latency_ns] = *metrics;
        self.count(&Hashed { hash: self.seed.of_bytes(key.name), name, is_cut }, &tally, counters);
    }

    fn count(&mut self, key: &Hashed<'_>, added: &Tally, counters: &mut Counters) {
        let KeyStatistics { keys, prefixes, seed, separator, .. } = self;
        *keys.tally(key, |leaving| {
            counters.count(Counter::KeysGivenUp);
            count_prefix(prefixes, leaving, *separator, *seed, counters);
        }) += added;
    }

    /// Counts all that waits; now the prefixes have all that their keys have.
    pub fn finish(&mut self, counters: &mut Counters) {
        for number in std::mem::replace(&mut self.counted, self.come)..self.come {
            let at = number as usize % KEY_BATCH;
            self.count_new(at / GROUP, at % GROUP, counters);
        }
        let KeyStatistics { keys, prefixes, separator, seed, .. } = self;
        keys.settle();
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

/// Counts uses up to the first that is not of the name that it seems to be; answers how many.
#[inline(always)]
fn count_likely(keys: &mut Top, uses: &[Use], names: &[NameRoom]) -> usize {
    let mut keys = keys.likely_names();
    for (at, (Use { hash, metrics, likely, shape, sort, short }, long)) in uses.iter().zip(names).enumerate() {
        if !keys.add(*likely, *hash, *shape, (short, long), &added(metrics, *sort)) {
            return at;
        }
    }
    uses.len()
}

/// What a use adds.
#[inline(always)]
fn added(metrics: &[u32; 4], sort: Sort) -> Lately {
    Lately::new(*metrics, ADDED[sort.number()])
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
