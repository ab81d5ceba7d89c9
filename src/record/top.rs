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

use std::hint::select_unpredictable;
use std::ops::AddAssign;

use crate::huge::{self, LARGE_BYTES};
use crate::limits::KEY_NAME_BYTES_MAX;
use crate::prefetch::prefetch_nth;

pub use name::{Name, NameRoom, SHORT_BYTES, Shape};
use name::{is_long, same};

mod name;

/// What was done with a name, and how it went. A cache line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(C, align(64))]
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

/// The same in half the room, of late: it is beside the name, and goes to the tally when it gets large.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Lately {
    metrics: [u32; METRICS.len()],
    /// Reads, writes, hits and misses.
    counts: [u32; 4],
}

/// Whether a number, or one of those of which these are all bits, is too large for what is had of late.
#[inline(always)]
pub fn is_large(number: u64) -> bool {
    number >> (u32::BITS - 1) != 0
}

impl Lately {
    /// Of nothing.
    pub const NOTHING: Lately = Lately { metrics: [0; METRICS.len()], counts: [0; 4] };

    /// Of these metrics; `None` if one of them is large.
    #[inline(always)]
    pub fn metrics(metrics: &PerMetric) -> Option<[u32; METRICS.len()]> {
        let all = metrics.iter().fold(0, |all, metric| all | metric);
        if is_large(all) { None } else { Some(metrics.map(|metric| metric as u32)) }
    }

    /// What is added, none of which is large.
    #[inline(always)]
    pub fn new(metrics: [u32; METRICS.len()], counts: [u32; 4]) -> Lately {
        Lately { metrics, counts }
    }

    /// Adds another; answers whether it is large now.
    #[inline(always)]
    fn add(&mut self, other: &Lately) -> bool {
        let sums =
            |one: [u32; 4], other: [u32; 4]| -> [u32; 4] { std::array::from_fn(|n| one[n].wrapping_add(other[n])) };
        let (metrics, counts) = (sums(self.metrics, other.metrics), sums(self.counts, other.counts));
        *self = Lately { metrics, counts };
        let all: [u32; 4] = std::array::from_fn(|n| metrics[n] | counts[n]);
        is_large((all[0] | all[1] | all[2] | all[3]).into())
    }

    /// As a tally.
    pub fn tally(&self) -> Tally {
        let [operations, bytes_in, bytes_out, latency_ns] = self.metrics.map(u64::from);
        let [reads, writes, hits, misses] = self.counts.map(u64::from);
        Tally { operations, bytes_in, bytes_out, latency_ns, reads, writes, hits, misses }
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

/// A name of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// It is the beginning of a longer one.
    pub is_cut: bool,
    /// What was counted.
    pub tally: &'a Tally,
    /// What may be missing: what it may have had before it came in.
    pub error: PerMetric,
}

/// A name, its hash and what it had of late. A cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Place {
    hash: u64,
    /// One that is short, and zeros behind it.
    short: [u8; SHORT_BYTES],
    /// Where in the text another one is.
    name_at: u32,
    shape: Shape,
    lately: Lately,
}

const _: () = assert!(size_of::<Place>() == 64);

impl Place {
    /// Where its bytes are in the text, if it is not short.
    #[inline(always)]
    fn range(&self) -> std::ops::Range<usize> {
        let from = self.name_at as usize;
        from..from + self.shape.length()
    }

    /// What it had of late goes to its tally.
    fn settle(&mut self, tally: &mut Tally) {
        *tally += &std::mem::take(&mut self.lately).tally();
    }

    #[inline]
    fn name<'n>(&'n self, text: &'n [u8]) -> &'n [u8] {
        if self.shape.is_short() { &self.short[..self.shape.length()] } else { &text[self.range()] }
    }
}

/// Which name of a table a hash seems to be of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Likely(u32);

impl Likely {
    /// None, or it is not known.
    pub const NONE: Likely = Likely(u32::MAX);

    #[inline(always)]
    fn at(slot: Slot) -> Likely {
        Likely(slot.number().wrapping_sub(1))
    }
}

/// A place of the index: the number of a name + 1, or 0 if it is free, and above it a part of the name's hash, so that hardly any
/// other name is looked at on the way to one.
#[derive(Clone, Copy, Debug, Default)]
struct Slot(u64);

impl Slot {
    fn new(at: usize, hash: u64) -> Slot {
        Slot(tag(hash) | (at as u64 + 1) & u64::from(u32::MAX))
    }

    /// The number of a name + 1, or 0 if it is free.
    #[inline(always)]
    fn number(self) -> u32 {
        self.0 as u32
    }

    /// Whether its name's hash may be this one; of one that is free this says nothing.
    #[inline(always)]
    fn may_be(self, hash: u64) -> bool {
        tag(self.0 ^ hash) == 0
    }
}

/// The part of a hash that does not tell its place in the index.
#[inline(always)]
fn tag(hash: u64) -> u64 {
    hash & !u64::from(u32::MAX)
}

/// Names in the sample that decides who leaves.
const SAMPLE: usize = 1024;
/// A purge that would free less than the n-th part of the table goes on.
const FREED_PART_MIN: usize = 8;
/// The shares of the names, in percent, that are tried as light.
const LIGHT_PERCENT: [usize; 3] = [50, 75, 88];

/// The table. What belongs to a name has one number in all of its parts, which are apart so that counting touches one cache line
/// of a name, and few pages.
#[derive(Debug)]
pub struct Top {
    capacity: usize,
    /// By hash, linear probing; a power of two, at most half full.
    index: Vec<Slot>,
    places: Vec<Place>,
    /// What each had, but for what it had of late.
    tallies: Vec<Tally>,
    /// What each may have had before it came in, if it is kept: not as long as none has left, as that is nothing.
    errors: Vec<PerMetric>,
    keeps_errors: bool,
    /// None has left.
    is_whole: bool,
    /// The bytes of those that are not short, in the same order.
    text: Vec<u8>,
    missed: PerMetric,
}

impl Top {
    /// Bytes that a name costs at most.
    pub const NAME_BYTES: usize =
        size_of::<Place>() + size_of::<Tally>() + size_of::<PerMetric>() + 4 * size_of::<Slot>() + KEY_NAME_BYTES_MAX;

    /// An empty table for so many names.
    pub fn new(capacity: usize) -> Top {
        let text = capacity * KEY_NAME_BYTES_MAX;
        assert!(capacity > 0 && u32::try_from(text).is_ok(), "a table holds something, and numbers are of 32 bits");
        Top {
            capacity,
            index: vec![Slot::default(); (2 * capacity).next_power_of_two()],
            places: Vec::with_capacity(capacity),
            tallies: Vec::with_capacity(capacity),
            errors: Vec::with_capacity(capacity),
            keeps_errors: false,
            is_whole: true,
            text: Vec::with_capacity(text),
            missed: PerMetric::default(),
        }
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> u64 {
        (self.places.len() * (size_of::<Place>() + size_of::<Tally>())
            + self.errors.len() * size_of::<PerMetric>()
            + self.index.len() * size_of::<Slot>()
            + self.text.len()) as u64
    }

    /// Names in the table.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no name had to leave: everything is there, and exact.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The names that are in the table.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).map(|at| self.entry(at))
    }

    /// Of each name that is in the table one metric, in the order of [`Top::iter`].
    pub fn values(&self, metric: usize) -> impl Iterator<Item = u64> {
        self.tallies.iter().map(move |tally| tally.metrics()[metric])
    }

    /// The name that is so far in [`Top::iter`].
    pub fn entry(&self, at: usize) -> Entry<'_> {
        let error = self.errors.get(at).copied().unwrap_or_default();
        debug_assert_eq!(self.places[at].lately, Lately::NOTHING, "it was settled before anything is told");
        Entry { name: self.name(at), is_cut: self.places[at].shape.is_cut(), tally: &self.tallies[at], error }
    }

    #[inline]
    fn name(&self, at: usize) -> &[u8] {
        self.places[at].name(&self.text)
    }

    /// What a name that is not in the table may have had at the most; nothing as long as none has left.
    pub fn missed(&self) -> PerMetric {
        self.missed
    }

    /// Asks for the memory that [`Top::tally`] will need first for this hash; then [`Top::prefetch_places`] does for what it needs
    /// next, and [`Top::prefetch_names`] for the last. Between one and the next there should be time for the memory to come.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        prefetch_nth(&self.index, hash as usize & (self.index.len() - 1));
    }

    /// See [`Top::prefetch`]. Tells of each hash which name it seems to be of.
    #[inline]
    pub fn prefetch_places<'a>(&self, hashes: impl Iterator<Item = (u64, &'a mut Likely)>) {
        let (index, places) = (&self.index[..], &self.places[..]);
        for (hash, likely) in hashes {
            *likely = find_likely(index, hash);
            prefetch_nth(places, likely.0 as usize);
        }
    }

    /// See [`Top::prefetch`].
    #[inline]
    pub fn prefetch_names(&self, likely: impl Iterator<Item = (Likely, Shape)>) {
        let (places, text) = (&self.places[..], &self.text[..]);
        for (likely, shape) in likely {
            // A short one has come already.
            if !shape.is_short()
                && let Some(place) = places.get(likely.0 as usize)
            {
                let range = place.range();
                prefetch_nth(text, range.start);
                prefetch_nth(text, range.end.wrapping_sub(1));
            }
        }
    }

    /// The tally of a name, which comes in if it is not there; for that, if the table is full, the lightest leave, and `leaves`
    /// is told of each.
    pub fn tally(&mut self, wanted: &Hashed<'_>, leaves: impl FnMut(&Entry<'_>)) -> &mut Tally {
        let at = match self.find(wanted) {
            Ok(at) => at,
            Err(slot) => self.insert(wanted, slot, leaves),
        };
        &mut self.tallies[at]
    }

    /// The names that are in the table, to add to many.
    #[inline(always)]
    pub fn likely_names(&mut self) -> LikelyNames<'_> {
        LikelyNames { places: &mut self.places, text: &self.text, tallies: &mut self.tallies }
    }

    /// Adds what names had of late to their tallies: before anything is told.
    pub fn settle(&mut self) {
        for (place, tally) in self.places.iter_mut().zip(&mut self.tallies) {
            place.settle(tally);
        }
    }

    /// Whether there is a name of this number, and it is the one that is wanted.
    #[inline]
    fn is(&self, at: usize, wanted: &Hashed<'_>) -> bool {
        let Some(place) = self.places.get(at) else { return false };
        place.hash == wanted.hash && place.shape.is_cut() == wanted.is_cut && same(place.name(&self.text), wanted.name)
    }

    /// Where the name is, or the free slot of the index where its number belongs.
    #[inline]
    fn find(&self, wanted: &Hashed<'_>) -> Result<usize, usize> {
        let mask = self.index.len() - 1;
        let mut slot = wanted.hash as usize & mask;
        loop {
            let found = self.index[slot];
            if found.number() == 0 {
                return Err(slot);
            }
            let at = found.number() as usize - 1;
            if found.may_be(wanted.hash) && self.is(at, wanted) {
                return Ok(at);
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, wanted: &Hashed<'_>, mut slot: usize, leaves: impl FnMut(&Entry<'_>)) -> usize {
        if self.len() == self.capacity {
            self.purge(leaves);
            slot = self.free_slot(wanted.hash);
        }
        if self.keeps_errors {
            self.errors.push(self.missed);
        }
        self.push(wanted, slot, Tally::default())
    }

    /// Takes in a short name with what it has, if it is none of those that are there, and if there is room; else this answers
    /// false, and nothing has happened.
    #[inline(always)]
    pub fn insert_short(&mut self, hash: u64, shape: Shape, short: [u8; SHORT_BYTES], tally: &Tally) -> bool {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot].number() != 0 {
            if self.index[slot].may_be(hash) {
                return false;
            }
            slot = (slot + 1) & mask;
        }
        let at = self.len();
        if at == self.capacity || self.keeps_errors || !shape.is_short() {
            return false;
        }
        debug_assert!(short[shape.length()..].iter().all(|&byte| byte == 0));
        self.index[slot] = Slot::new(at, hash);
        self.add(Place { hash, short, name_at: 0, shape, lately: Lately::NOTHING }, *tally);
        true
    }

    /// Takes a name in; its error is the caller's to add.
    fn push(&mut self, wanted: &Hashed<'_>, slot: usize, tally: Tally) -> usize {
        let at = self.len();
        let &Hashed { hash, name, is_cut } = wanted;
        self.index[slot] = Slot::new(at, hash);
        let shape = Shape::new(name.len(), is_cut);
        let (short, lately) = ([0; SHORT_BYTES], Lately::NOTHING);
        let mut place = Place { hash, short, name_at: self.text.len() as u32, shape, lately };
        if shape.is_short() {
            place.short[..name.len()].copy_from_slice(name);
        } else {
            self.text.extend_from_slice(name);
        }
        self.add(place, tally);
        at
    }

    /// Adds a name that is in the index. When there are many, all that is looked up at random gets huge pages.
    #[inline(always)]
    fn add(&mut self, place: Place, tally: Tally) {
        if self.places.len() == LARGE_BYTES / size_of::<Place>() {
            self.ask_for_huge_pages();
        }
        self.places.push(place);
        self.tallies.push(tally);
    }

    #[cold]
    fn ask_for_huge_pages(&self) {
        huge::ask_for_any(&self.index);
        huge::ask_for_any(&self.places);
    }

    fn free_slot(&self, hash: u64) -> usize {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot].number() != 0 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The lightest leave: those that are light in every metric.
    fn purge(&mut self, mut leaves: impl FnMut(&Entry<'_>)) {
        self.settle();
        let least = self.capacity.div_ceil(FREED_PART_MIN);
        let mut light = LIGHT_PERCENT.iter().map(|&percent| self.quantiles(percent));
        let frees_enough =
            |limits: &PerMetric| (0..self.len()).filter(|&at| self.is_light(at, limits)).count() >= least;
        // If the sample says nothing of the rest, everything leaves: the bound on what is missed tells.
        let limits = light.find(frees_enough).unwrap_or_else(|| self.most());
        self.missed = limits;
        self.keep_errors();
        self.is_whole = false;
        let (mut kept, mut text_end) = (0, 0);
        for at in 0..self.len() {
            if self.is_light(at, &limits) {
                leaves(&self.entry(at));
                continue;
            }
            let mut place = self.places[at];
            if !place.shape.is_short() {
                self.text.copy_within(place.range(), text_end);
                place.name_at = text_end as u32;
                text_end += place.shape.length();
            }
            self.places[kept] = place;
            self.tallies[kept] = self.tallies[at];
            self.errors[kept] = self.errors[at];
            kept += 1;
        }
        self.places.truncate(kept);
        self.tallies.truncate(kept);
        self.errors.truncate(kept);
        self.text.truncate(text_end);
        self.rebuild_index();
    }

    /// What a name of the table may have had in all.
    fn most_of(&self, at: usize) -> PerMetric {
        let mut most = self.tallies[at].metrics();
        if let Some(error) = self.errors.get(at) {
            add(&mut most, error);
        }
        most
    }

    fn is_light(&self, at: usize, limits: &PerMetric) -> bool {
        self.most_of(at).iter().zip(limits).all(|(most, limit)| most <= limit)
    }

    /// Of each metric the value below which so many percent of a sample of the names are; never less than before.
    fn quantiles(&self, percent: usize) -> PerMetric {
        let mut limits = self.missed;
        let step = self.len().div_ceil(SAMPLE);
        let mut sample = [0; SAMPLE];
        for (metric, limit) in limits.iter_mut().enumerate() {
            let mut length = 0;
            for (at, value) in (0..self.len()).step_by(step).zip(&mut sample) {
                *value = self.most_of(at)[metric];
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
        (0..self.len()).fold(self.missed, |mut most, at| {
            most.iter_mut().zip(self.most_of(at)).for_each(|(most, of)| *most = (*most).max(of));
            most
        })
    }

    fn keep_errors(&mut self) {
        self.keeps_errors = true;
        self.errors.resize(self.len(), PerMetric::default());
    }

    fn rebuild_index(&mut self) {
        self.index.fill(Slot::default());
        for at in 0..self.len() {
            let hash = self.places[at].hash;
            let slot = self.free_slot(hash);
            self.index[slot] = Slot::new(at, hash);
        }
    }

    /// Adds another table, which used the same seed: of another worker or interval. Not bounded by the capacity of one but by
    /// those of both.
    pub fn absorb(&mut self, other: &Top) {
        let before = self.missed;
        self.keep_errors();
        self.is_whole &= other.is_whole;
        // Names that the other has not may have had there what it missed.
        for error in &mut self.errors {
            add(error, &other.missed);
        }
        add(&mut self.missed, &other.missed);
        let most = self.len() + other.len();
        if 2 * most > self.index.len() {
            self.index = vec![Slot::default(); (2 * most).next_power_of_two()];
            self.rebuild_index();
        }
        for (place, entry) in other.places.iter().zip(other.iter()) {
            let name = Hashed { hash: place.hash, name: entry.name, is_cut: entry.is_cut };
            match self.find(&name) {
                Ok(at) => {
                    self.tallies[at] += entry.tally;
                    for ((error, added), missed) in self.errors[at].iter_mut().zip(entry.error).zip(other.missed) {
                        *error = *error - missed + added;
                    }
                }
                Err(slot) => {
                    let mut error = entry.error;
                    add(&mut error, &before);
                    self.errors.push(error);
                    self.push(&name, slot, *entry.tally);
                }
            }
        }
        self.capacity = self.capacity.max(self.len());
    }
}

/// See [`Top::likely_names`].
pub struct LikelyNames<'a> {
    places: &'a mut [Place],
    text: &'a [u8],
    tallies: &'a mut [Tally],
}

impl LikelyNames<'_> {
    /// Adds to a name, a short one or a long one, of which it was looked up which one of the table it seems to be, if it is that one;
    /// else this answers false.
    #[inline(always)]
    pub fn add(
        &mut self,
        likely: Likely,
        hash: u64,
        shape: Shape,
        (short, long): (&[u8; SHORT_BYTES], &NameRoom),
        added: &Lately,
    ) -> bool {
        let at = likely.0 as usize;
        let Some(place) = self.places.get_mut(at).filter(|place| place.shape == shape) else { return false };
        let is_it = if shape.is_short() {
            u128::from_ne_bytes(place.short) == u128::from_ne_bytes(*short)
        } else {
            // Of a name that is cut the hash says more than what is kept.
            place.hash == hash && is_long(self.text.get(place.range()).unwrap_or_default(), &long[..shape.length()])
        };
        if !is_it {
            return false;
        }
        if place.lately.add(added) {
            self.settle(at);
        }
        true
    }

    /// What a name had of late is large.
    #[cold]
    #[inline(never)]
    fn settle(&mut self, at: usize) {
        if let (Some(place), Some(tally)) = (self.places.get_mut(at), self.tallies.get_mut(at)) {
            place.settle(tally);
        }
    }
}

/// The name that this hash is of, unless it is not in the table. Another one hardly ever.
#[inline(always)]
fn find_likely(index: &[Slot], hash: u64) -> Likely {
    let slot = hash as usize & (index.len() - 1);
    // Without a branch: which of the two it is can't be foretold.
    let (first, second) = (index[slot], index[(slot + 1) & (index.len() - 1)]);
    let found = select_unpredictable(first.may_be(hash), first, second);
    if found.may_be(hash) { Likely::at(found) } else { find_farther(index, slot, hash) }
}

/// The same where another name has its slot.
#[cold]
#[inline(never)]
fn find_farther(index: &[Slot], mut slot: usize, hash: u64) -> Likely {
    loop {
        let found = index[slot];
        if found.may_be(hash) || found.number() == 0 {
            return Likely::at(found);
        }
        slot = (slot + 1) & (index.len() - 1);
    }
}

fn add(sum: &mut PerMetric, other: &PerMetric) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}

#[cfg(test)]
mod tests;
