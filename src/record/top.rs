//! Heavy hitters in bounded memory: names (of keys, of prefixes) and what was done with each.
//!
//! Lossy Counting (Manku and Motwani, "Approximate Frequency Counts over Data Streams", VLDB 2002) in a weighted form, of four
//! metrics at once, with the bulk purge of Anderson et al. ("A High-Performance Algorithm for Identifying Frequent Items in Data
//! Streams", IMC 2017); merged as in Agarwal et al. ("Mergeable Summaries", PODS 2012). What it promises:
//!
//! * While no more names come than the table holds, all is exact.
//! * Of a name in the table, what is told was counted, and at most its error is missing: what may have been before it came in.
//! * A name that is not in the table has at most [`Top::missed`] of each metric.
//! * Where a table of m names is purged, the names that leave are at the lower 1 − q or less of them in every metric, so that
//!   `missed` is about W ∕ (q m) at the most, W being all that was counted; q is 1/2 where the four metrics agree on
//!   who is light, else less. What is told is not that estimate but the real bound.
//!
//! All memory is taken at the beginning (untouched pages cost nothing); nothing allocates but [`Top::absorb`].

use crate::limits::KEY_NAME_BYTES_MAX;
use crate::prefetch::prefetch;

use std::ops::AddAssign;

/// What was done with a name, and how it went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tally {
    /// Operations.
    pub operations: u64,
    /// RESP bytes of the requests.
    pub bytes_in: u64,
    /// RESP bytes of the replies.
    pub bytes_out: u64,
    /// Sum of the latencies, in nanoseconds.
    pub latency_ns: u64,
    /// Operations that only read.
    pub reads: u64,
    /// Operations that may write.
    pub writes: u64,
    /// Reads that brought a value.
    pub hits: u64,
    /// Reads that brought a null.
    pub misses: u64,
}

/// A metric by which names are ranked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub enum Metric {
    Operations,
    BytesIn,
    BytesOut,
    Latency,
}

/// All metrics, in order.
pub const METRICS: [Metric; 4] = [Metric::Operations, Metric::BytesIn, Metric::BytesOut, Metric::Latency];

/// A number for each of [`METRICS`].
pub type PerMetric = [u64; METRICS.len()];

impl Tally {
    /// The metrics.
    #[inline]
    pub fn metrics(&self) -> PerMetric {
        [self.operations, self.bytes_in, self.bytes_out, self.latency_ns]
    }
}

impl AddAssign<&Tally> for Tally {
    #[inline]
    fn add_assign(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.latency_ns += other.latency_ns;
        self.reads += other.reads;
        self.writes += other.writes;
        self.hits += other.hits;
        self.misses += other.misses;
    }
}

/// A name, or the beginning of a long one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    length: u8,
    is_cut: bool,
    bytes: [u8; KEY_NAME_BYTES_MAX],
}

const _: () = assert!(KEY_NAME_BYTES_MAX <= u8::MAX as usize);

impl Name {
    /// A name; `is_cut` if these bytes are its beginning only.
    pub fn new(name: &[u8], is_cut: bool) -> Name {
        let length = name.len().min(KEY_NAME_BYTES_MAX);
        let mut bytes = [0; KEY_NAME_BYTES_MAX];
        bytes[..length].copy_from_slice(&name[..length]);
        Name { length: length as u8, is_cut: is_cut || length < name.len(), bytes }
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Whether these are its beginning only.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// A name with its hash.
#[derive(Clone, Copy, Debug)]
pub struct Hashed<'a> {
    /// Of all of its bytes that are known, by a seed that is the same for all tables that are to be merged.
    pub hash: u64,
    /// At most [`KEY_NAME_BYTES_MAX`] bytes.
    pub name: &'a [u8],
    /// They are its beginning only. Such names are told apart by their hashes.
    pub is_cut: bool,
}

/// A name of the table and its tally. The tally has a cache line of its own, as names are counted far more often than read.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Entry {
    /// What was counted.
    pub tally: Tally,
    /// The name.
    pub name: Name,
}

/// What is seldom needed of an entry.
#[derive(Clone, Copy, Debug)]
struct Origin {
    hash: u64,
    /// What it may have had before it came in.
    error: PerMetric,
}

/// Names in the sample that decides who leaves.
const SAMPLE: usize = 1024;
/// A purge that would free less than the n-th part of the table goes on.
const FREED_PART_MIN: usize = 8;
/// The shares of the names, in percent, that are tried as light.
const LIGHT_PERCENT: [usize; 3] = [50, 75, 88];

/// The table.
#[derive(Debug)]
pub struct Top {
    capacity: usize,
    /// By hash, linear probing; a power of two, at most half full. 0 is free; else the hash's upper half, and the number of the entry + 1.
    index: Vec<u64>,
    entries: Vec<Entry>,
    origins: Vec<Origin>,
    missed: PerMetric,
}

impl Top {
    /// Bytes that a name costs at most.
    pub const NAME_BYTES: usize = size_of::<Entry>() + size_of::<Origin>() + 4 * size_of::<u64>();

    /// An empty table for so many names.
    pub fn new(capacity: usize) -> Top {
        assert!(capacity > 0 && u32::try_from(capacity).is_ok(), "a table holds something, and numbers are of 32 bits");
        Top {
            capacity,
            index: vec![0; (2 * capacity).next_power_of_two()],
            entries: Vec::with_capacity(capacity),
            origins: Vec::with_capacity(capacity),
            missed: PerMetric::default(),
        }
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> u64 {
        (self.entries.len() * (size_of::<Entry>() + size_of::<Origin>()) + self.index.len() * size_of::<u64>()) as u64
    }

    /// The names that are in the table, and of each what may be missing in its tally.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, &PerMetric)> {
        self.entries.iter().zip(self.origins.iter().map(|origin| &origin.error))
    }

    /// What a name that is not in the table may have had at the most; nothing as long as none has left.
    pub fn missed(&self) -> PerMetric {
        self.missed
    }

    /// Asks for the memory that [`Top::tally`] will need for this hash.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let mask = self.index.len() - 1;
        let slot = self.index[hash as usize & mask];
        if let Some(entry) = self.entries.get((slot as u32 as usize).wrapping_sub(1)) {
            prefetch(&entry.tally);
            prefetch(&entry.name.bytes[0]);
        }
    }

    /// The tally of a name, which comes in if it is not there; for that, if the table is full, the lightest leave, and `leaves`
    /// is told of each.
    #[inline]
    pub fn tally(&mut self, wanted: &Hashed<'_>, leaves: impl FnMut(&Entry)) -> &mut Tally {
        let at = match self.find(wanted) {
            Ok(at) => at,
            Err(slot) => self.insert(wanted, slot, leaves),
        };
        &mut self.entries[at].tally
    }

    /// Where the name is, or the free slot of the index where its number belongs.
    #[inline]
    fn find(&self, wanted: &Hashed<'_>) -> Result<usize, usize> {
        let mask = self.index.len() - 1;
        let mut slot = wanted.hash as usize & mask;
        loop {
            let found = self.index[slot];
            if found == 0 {
                return Err(slot);
            }
            if found >> 32 == wanted.hash >> 32 {
                let at = found as u32 as usize - 1;
                if self.is_at(at, wanted) {
                    return Ok(at);
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    #[inline]
    fn is_at(&self, at: usize, wanted: &Hashed<'_>) -> bool {
        let name = &self.entries[at].name;
        name.bytes() == wanted.name
            && name.is_cut == wanted.is_cut
            && (!name.is_cut || self.origins[at].hash == wanted.hash)
    }

    #[cold]
    fn insert(&mut self, wanted: &Hashed<'_>, mut slot: usize, leaves: impl FnMut(&Entry)) -> usize {
        if self.entries.len() == self.capacity {
            self.purge(leaves);
            slot = self.free_slot(wanted.hash);
        }
        self.push(wanted, slot, Tally::default(), self.missed)
    }

    fn push(&mut self, wanted: &Hashed<'_>, slot: usize, tally: Tally, error: PerMetric) -> usize {
        let at = self.entries.len();
        self.index[slot] = slot_of(wanted.hash, at);
        self.entries.push(Entry { tally, name: Name::new(wanted.name, wanted.is_cut) });
        self.origins.push(Origin { hash: wanted.hash, error });
        at
    }

    fn free_slot(&self, hash: u64) -> usize {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The lightest leave: those that are light in every metric.
    fn purge(&mut self, mut leaves: impl FnMut(&Entry)) {
        let least = self.capacity.div_ceil(FREED_PART_MIN);
        let light = LIGHT_PERCENT.iter().map(|&percent| self.quantiles(percent));
        let enough =
            |limits: &PerMetric| (0..self.entries.len()).filter(|&at| self.is_light(at, limits)).count() >= least;
        // If the sample says nothing of the rest, everything leaves: the bound on what is missed tells.
        let limits = light.into_iter().find(enough).unwrap_or_else(|| self.most());
        self.missed = limits;
        for at in (0..self.entries.len()).rev() {
            if self.is_light(at, &limits) {
                leaves(&self.entries[at]);
                self.entries.swap_remove(at);
                self.origins.swap_remove(at);
            }
        }
        self.rebuild_index();
    }

    /// What a name of the table may have had in all.
    fn most_of(&self, at: usize) -> PerMetric {
        let (mut most, error) = (self.entries[at].tally.metrics(), self.origins[at].error);
        most.iter_mut().zip(error).for_each(|(most, error)| *most += error);
        most
    }

    fn is_light(&self, at: usize, limits: &PerMetric) -> bool {
        self.most_of(at).iter().zip(limits).all(|(most, limit)| most <= limit)
    }

    /// Of each metric the value below which so many percent of a sample of the names are; never less than before.
    fn quantiles(&self, percent: usize) -> PerMetric {
        let mut limits = self.missed;
        let step = self.entries.len().div_ceil(SAMPLE);
        let mut sample = [0; SAMPLE];
        for (metric, limit) in limits.iter_mut().enumerate() {
            let mut length = 0;
            for (at, place) in (0..self.entries.len()).step_by(step).zip(&mut sample) {
                *place = self.most_of(at)[metric];
                length += 1;
            }
            let sample = &mut sample[..length];
            let rank = (length * percent / 100).min(length - 1);
            *limit = (*limit).max(*sample.select_nth_unstable(rank).1);
        }
        limits
    }

    /// Of each metric the most that a name may have.
    fn most(&self) -> PerMetric {
        (0..self.entries.len()).fold(self.missed, |mut most, at| {
            most.iter_mut().zip(self.most_of(at)).for_each(|(most, of)| *most = (*most).max(of));
            most
        })
    }

    fn rebuild_index(&mut self) {
        self.index.fill(0);
        for at in 0..self.origins.len() {
            let hash = self.origins[at].hash;
            let slot = self.free_slot(hash);
            self.index[slot] = slot_of(hash, at);
        }
    }

    /// Adds another table, which used the same seed: of another worker or interval. Not bounded by the capacity of one but by
    /// those of both.
    pub fn absorb(&mut self, other: &Top) {
        // Names that the other has not may have had there what it missed.
        let before = self.missed;
        for origin in &mut self.origins {
            add(&mut origin.error, &other.missed);
        }
        add(&mut self.missed, &other.missed);
        if 2 * (self.entries.len() + other.entries.len()) > self.index.len() {
            self.index = vec![0; (2 * (self.entries.len() + other.entries.len())).next_power_of_two()];
            self.rebuild_index();
        }
        for (entry, origin) in other.entries.iter().zip(&other.origins) {
            let name = Hashed { hash: origin.hash, name: entry.name.bytes(), is_cut: entry.name.is_cut };
            match self.find(&name) {
                Ok(at) => {
                    self.entries[at].tally += &entry.tally;
                    for ((error, added), missed) in
                        self.origins[at].error.iter_mut().zip(origin.error).zip(other.missed)
                    {
                        *error = *error - missed + added;
                    }
                }
                Err(slot) => {
                    let mut error = origin.error;
                    add(&mut error, &before);
                    self.push(&name, slot, entry.tally, error);
                }
            }
        }
        self.capacity = self.capacity.max(self.entries.len());
    }
}

fn slot_of(hash: u64, at: usize) -> u64 {
    hash & (u64::from(u32::MAX) << 32) | (at as u64 + 1)
}

fn add(sum: &mut PerMetric, other: &PerMetric) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}

#[cfg(test)]
mod tests;
