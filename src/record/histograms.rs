//! One worker's statistics of one interval.
//!
//! The worker records into a [`Statistics`] box; at an interval's end the box moves to the writer, whole, and a cleared one
//! takes its place (ownership swap: nothing is shared, locked or copied). A [`Directory`] numbers servers, clients, series
//! and error codes once per worker, so that recording is indexing; number 0 is `other`, for all that came after a bound was
//! reached. Everything is made on first use and kept, so that recording allocates nothing after warm-up (a histogram grows
//! when it sees a value larger than any before).
//!
//! Histograms are within the [`Room`] of their box. One that finds no more is given up ([`Bounded`]), and what it had and would
//! have had is told without its server, or, if there is no room for that either, with all else that had none. So the four overall
//! metrics are always whole: there is room for them and for that rest from the beginning ([`Statistics::RESERVED_BYTES`]).

use std::borrow::Cow;

use crate::counters::{Counter, Counters};
use crate::prefetch::prefetch_nth;
use crate::redis::command::{CommandId, CommandTable};
use crate::redis::pairing::Flags;
use crate::units::{Address, Endpoint, Timestamp};

use super::cells::{Cells, Fine, PartCells, Place};
use super::room::{self, Absorbing, Bounded, Claim, Growing, Room, add_always, record_always};
use super::transaction::Times;
pub use directory::Directory;
use together::Together;
use usual::UsualSeries;
use waiting::Waiting;

mod directory;
pub mod together;
pub mod usual;
mod waiting;

/// A latency histogram, nanoseconds.
pub type Histogram = hdrhistogram::Histogram<u64>;

/// Significant digits of the overall metrics and of the latency series.
pub const DIGITS: u8 = 3;
/// Significant digits of the metrics per command and per client.
pub const DIGITS_COARSE: u8 = 2;
/// Largest value that is told apart: one hour. Longer ones count as this.
pub const VALUE_NS_MAX: u64 = 3_600_000_000_000;
/// The number of everything beyond a bound.
pub const OTHER: u32 = 0;

/// An empty histogram that grows with the values it sees.
pub fn histogram(digits: u8) -> Histogram {
    let mut histogram = Histogram::new(digits).expect("2 and 3 are digits that the library takes");
    histogram.auto(true);
    histogram
}

/// The mean, to the nanosecond; 0 of nothing.
#[expect(clippy::cast_sign_loss, reason = "values are not negative, nor is their mean")]
pub fn mean_ns(histogram: &Histogram) -> u64 {
    histogram.mean().round() as u64
}

/// An error code as the server sends it: the first word of an error reply, at most 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ErrorCode {
    length: u8,
    bytes: [u8; ErrorCode::BYTES_MAX],
}

impl ErrorCode {
    /// Longest code.
    pub const BYTES_MAX: usize = 32;

    /// The code at the beginning of an error's text (without the type byte): its first word if it is made of the characters
    /// that codes are made of, else `ERR`.
    pub fn of(text: &[u8]) -> ErrorCode {
        let word = text.split(|&byte| byte == b' ' || byte == b'\r' || byte == b'\n').next().unwrap_or_default();
        let valid = !word.is_empty()
            && word.len() <= Self::BYTES_MAX
            && word.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
        Self::from_word(if valid { word } else { b"ERR" })
    }

    fn from_word(word: &[u8]) -> ErrorCode {
        let mut code = ErrorCode { length: word.len() as u8, ..ErrorCode::default() };
        code.bytes[..word.len()].copy_from_slice(word);
        code
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("ERR")
    }

    /// Whether it sends the client elsewhere, in a cluster or during a failover: no failure of the command.
    pub fn is_redirect(&self) -> bool {
        matches!(self.as_str(), "MOVED" | "ASK" | "REDIRECT" | "TRYAGAIN" | "CLUSTERDOWN")
    }
}

/// A latency series: a server and a command, blocking calls apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SeriesName {
    /// `None`: all servers beyond the bound.
    pub server: Option<Endpoint>,
    /// The command.
    pub command: CommandId,
    /// Whether these are its blocking calls.
    pub blocking: bool,
}

impl Default for SeriesName {
    fn default() -> Self {
        SeriesName { server: None, command: CommandId::UNKNOWN, blocking: false }
    }
}

#[cold]
#[inline(never)]
fn count_error(
    errors: &mut Entries<(Option<ErrorCode>, u64)>,
    code: &ErrorCode,
    directory: &mut Directory,
    counters: &mut Counters,
) {
    let number = directory.error(*code, counters);
    errors.touch(number, || ((number != OTHER).then_some(*code), 0)).1 += 1;
}

/// Counts of requests and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Requests.
    pub count: u64,
    /// Of them, answered with an error.
    pub errors: u64,
    /// RESP bytes of the requests.
    pub request_bytes: u64,
    /// RESP bytes of the replies.
    pub reply_bytes: u64,
}

impl Counts {
    /// Adds another's.
    #[inline]
    pub fn merge(&mut self, other: &Counts) {
        self.count += other.count;
        self.errors += other.errors;
        self.request_bytes += other.request_bytes;
        self.reply_bytes += other.reply_bytes;
    }
}

/// The parts of the latency, apart.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Head-of-line waiting.
    pub queue: Histogram,
    /// Server time.
    pub server: Histogram,
    /// Reply transfer.
    pub transfer: Histogram,
}

impl Parts {
    /// Three empty histograms.
    pub fn new(digits: u8) -> Parts {
        let [queue, server, transfer] = [histogram(digits), histogram(digits), histogram(digits)];
        Parts { queue, server, transfer }
    }
}

impl Growing for Parts {
    fn bytes(&self) -> u64 {
        self.queue.bytes() + self.server.bytes() + self.transfer.bytes()
    }
}

impl Absorbing for Parts {
    fn begin(part: &Parts, claim: Claim, room: &mut Room) -> Option<Parts> {
        let mut begin = || Histogram::begin(&part.server, claim, room);
        Some(Parts { queue: begin()?, server: begin()?, transfer: begin()? })
    }

    fn add(&mut self, part: &Parts, claim: Claim, room: &mut Room) -> bool {
        let parts =
            [(&mut self.queue, &part.queue), (&mut self.server, &part.server), (&mut self.transfer, &part.transfer)];
        parts.into_iter().all(|(sum, part)| Absorbing::add(sum, part, claim, room))
    }
}

/// Statistics of one command over all servers.
#[derive(Clone, Debug)]
pub struct CommandEntry {
    /// Requests and bytes.
    pub counts: Counts,
    /// The parts of its latency.
    pub parts: Bounded<PartCells<DIGITS_COARSE>>,
}

/// Statistics of one server or client.
#[derive(Clone, Debug)]
pub struct PartyEntry<K, const DIGITS: u8> {
    /// Who; `None`: all beyond the bound.
    pub name: Option<K>,
    /// Requests and bytes.
    pub counts: Counts,
    /// A client's latency. Of a server only what its series don't have: that of the series beyond the bound, and for the
    /// entry of the servers beyond the bound all of it.
    pub latency: Bounded<Cells<DIGITS>>,
}

impl<K, const D: u8> PartyEntry<K, D> {
    fn new(name: Option<K>) -> Self {
        PartyEntry { name, counts: Counts::default(), latency: Bounded::Unused }
    }

    fn clear(&mut self) {
        self.counts = Counts::default();
        if let Some(latency) = self.latency.kept_mut() {
            latency.clear();
        }
    }
}

/// One latency series.
#[derive(Clone, Debug)]
pub struct SeriesEntry {
    /// Which.
    pub name: SeriesName,
    /// Its latency.
    pub latency: Bounded<Fine>,
}

/// Entries by number, and which of them were touched since the last clearing.
#[derive(Debug)]
pub struct Entries<T> {
    places: Vec<Entry<T>>,
    touched: Vec<u32>,
}

/// A number's entry.
#[derive(Debug)]
enum Entry<T> {
    Unmade,
    Untouched(T),
    Touched(T),
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries { places: Vec::new(), touched: Vec::new() }
    }
}

impl<T> Entries<T> {
    #[inline(always)]
    fn touch(&mut self, number: u32, make: impl FnOnce() -> T) -> &mut T {
        let at = number as usize;
        if let Some(Entry::Touched(_)) = self.places.get(at) {
            let Entry::Touched(entry) = &mut self.places[at] else { unreachable!("it is") };
            return entry;
        }
        self.touch_first(number, make)
    }

    #[cold]
    #[inline(never)]
    fn touch_first(&mut self, number: u32, make: impl FnOnce() -> T) -> &mut T {
        let at = number as usize;
        if at >= self.places.len() {
            self.places.resize_with(at + 1, || Entry::Unmade);
        }
        self.touched.push(number);
        let place = &mut self.places[at];
        *place = match std::mem::replace(place, Entry::Unmade) {
            Entry::Unmade => Entry::Touched(make()),
            Entry::Untouched(entry) | Entry::Touched(entry) => Entry::Touched(entry),
        };
        let Entry::Touched(entry) = place else { unreachable!("it has just been touched") };
        entry
    }

    /// Asks for the memory of an entry.
    #[inline(always)]
    fn prefetch(&self, number: u32) {
        // It need not begin with a cache line: it ends where the next one begins.
        prefetch_nth(&self.places, number as usize);
        prefetch_nth(&self.places, number as usize + 1);
    }

    /// The entry of a number, if it was touched, to look at.
    #[inline(always)]
    fn touched(&self, number: u32) -> Option<&T> {
        match self.places.get(number as usize) {
            Some(Entry::Touched(entry)) => Some(entry),
            _ => None,
        }
    }

    /// The same, to change.
    #[inline(always)]
    fn touched_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.places.get_mut(number as usize) {
            Some(Entry::Touched(entry)) => Some(entry),
            _ => None,
        }
    }

    /// The touched entries with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.touched.iter().filter_map(|&number| match &self.places[number as usize] {
            Entry::Touched(entry) => Some((number, entry)),
            Entry::Unmade | Entry::Untouched(_) => None,
        })
    }

    /// The same, to take from them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0..).zip(&mut self.places).filter_map(|(number, place)| match place {
            Entry::Touched(entry) => Some((number, entry)),
            Entry::Unmade | Entry::Untouched(_) => None,
        })
    }

    /// All entries that were ever made.
    fn made(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| match place {
            Entry::Touched(entry) | Entry::Untouched(entry) => Some(entry),
            Entry::Unmade => None,
        })
    }

    fn clear(&mut self, mut each: impl FnMut(&mut T)) {
        for number in self.touched.drain(..) {
            let place = &mut self.places[number as usize];
            if let Entry::Touched(mut entry) = std::mem::replace(place, Entry::Unmade) {
                each(&mut entry);
                *place = Entry::Untouched(entry);
            }
        }
    }
}

/// What a decided request adds to the statistics.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The server.
    pub server: &'a Endpoint,
    /// Its number.
    pub server_number: u32,
    /// The client.
    pub client: &'a Address,
    /// Its number.
    pub client_number: u32,
    /// The command.
    pub command: CommandId,
    /// `BLOCKING` matters.
    pub flags: Flags,
    /// RESP bytes of the request.
    pub request_bytes: u64,
    /// RESP bytes of the reply; 0 without one.
    pub reply_bytes: u64,
    /// The parts of the latency, where it counts.
    pub times: Option<Times>,
    /// The code of an error reply.
    pub error: Option<&'a ErrorCode>,
    /// Whether it adds a request: not if this is the late reply of one that was counted before.
    pub counts: bool,
}

/// One worker's statistics of one interval.
#[derive(Debug)]
pub struct Statistics {
    /// The interval's beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Overall parts of the latency, blocking commands left out.
    pub parts: PartCells<DIGITS>,
    /// Latency series.
    pub series: Entries<SeriesEntry>,
    /// What found no room in any of them; blocking calls apart.
    pub rest: [Fine; 2],
    /// By command; the number after the table's last is for unknown ones.
    pub commands: Entries<CommandEntry>,
    /// By server.
    pub servers: Entries<PartyEntry<Endpoint, DIGITS>>,
    /// By client address.
    pub clients: Entries<PartyEntry<Address, DIGITS_COARSE>>,
    /// By error code, redirects among them.
    pub errors: Entries<(Option<ErrorCode>, u64)>,
    usual: UsualSeries,
    together: Together,
    waiting: Waiting,
    room: Room,
}

impl Default for Statistics {
    fn default() -> Self {
        Statistics::new(Room::ENDLESS)
    }
}

impl Statistics {
    /// Bytes of what is never given up: the histograms of the overall parts of the latency and of the rest, and the sums of usual
    /// series.
    pub const RESERVED_BYTES: u64 = 5 * room::bytes(DIGITS, VALUE_NS_MAX) + UsualSeries::BYTES;

    /// An empty box. All histograms but those of [`Statistics::RESERVED_BYTES`] are within `room`.
    pub fn new(room: Room) -> Statistics {
        Statistics {
            from: Timestamp::NONE,
            to: Timestamp::NONE,
            parts: PartCells::default(),
            series: Entries::default(),
            rest: [Fine::default(), Fine::default()],
            commands: Entries::default(),
            servers: Entries::default(),
            clients: Entries::default(),
            errors: Entries::default(),
            usual: UsualSeries::default(),
            together: Together::NONE,
            waiting: Waiting::default(),
            room,
        }
    }

    /// Bytes of memory in use, by estimate.
    pub fn memory(&self) -> u64 {
        UsualSeries::BYTES
            + self.parts.bytes()
            + self.rest.iter().map(Growing::bytes).sum::<u64>()
            + self.series.made().map(|series| series.latency.bytes()).sum::<u64>()
            + self.commands.made().map(|command| command.parts.bytes()).sum::<u64>()
            + self.servers.made().map(|server| server.latency.bytes()).sum::<u64>()
            + self.clients.made().map(|client| client.latency.bytes()).sum::<u64>()
    }

    /// Adds a decided request.
    #[inline]
    pub fn record(
        &mut self,
        sample: &Sample<'_>,
        table: &CommandTable,
        directory: &mut Directory,
        counters: &mut Counters,
    ) {
        self.count_waiting(table, directory, counters);
        let counts = Counts {
            count: u64::from(sample.counts),
            errors: u64::from(sample.error.is_some_and(|code| !code.is_redirect())),
            request_bytes: if sample.counts { sample.request_bytes } else { 0 },
            reply_bytes: sample.reply_bytes,
        };
        let Statistics { parts, commands, servers, clients, errors, room, .. } = self;
        let command_number = u32::from(sample.command.0).min(table.len() as u32);
        let command =
            commands.touch(command_number, || CommandEntry { counts: Counts::default(), parts: Bounded::Unused });
        command.counts.merge(&counts);
        let server_name = || (sample.server_number != OTHER).then_some(*sample.server);
        servers.touch(sample.server_number, || PartyEntry::new(server_name())).counts.merge(&counts);
        let client_name = || (sample.client_number != OTHER).then_some(*sample.client);
        let client = clients.touch(sample.client_number, || PartyEntry::new(client_name()));
        client.counts.merge(&counts);
        if let Some(code) = sample.error {
            count_error(errors, code, directory, counters);
        }
        let Some(times) = &sample.times else { return };
        let is_blocking = sample.flags.has(Flags::BLOCKING);
        let latency = Place::of(times.latency());
        let of_parts = [times.queue, times.server, times.transfer].map(Place::of);
        if command.parts.record(of_parts, Claim::Named, room).is_err() {
            counters.count(Counter::EvictedSeries);
        }
        if !is_blocking {
            if client.latency.record(latency, Claim::Named, room).is_err() {
                counters.count(Counter::EvictedSeries);
            }
            record_always(parts, of_parts);
        }
        let server = (sample.server_number != OTHER).then_some(*sample.server);
        let name = SeriesName { server, command: sample.command, blocking: is_blocking };
        self.record_series(name, sample.server_number, Some(command_number), latency, directory, counters);
    }

    /// Records a latency in its series, whose next requests are usual ones if its command has a number.
    #[inline(never)]
    fn record_series(
        &mut self,
        name: SeriesName,
        server_number: u32,
        command_number: Option<u32>,
        latency: Place,
        directory: &mut Directory,
        counters: &mut Counters,
    ) {
        let mut given_up = None;
        if server_number != OTHER {
            if let Some(number) = directory.series(server_number, name) {
                let series = self.series.touch(number, || SeriesEntry { name, latency: Bounded::Unused });
                match series.latency.record(latency, Claim::Named, &mut self.room) {
                    Ok(()) => {
                        if let Some(command_number) = command_number
                            && !name.blocking
                        {
                            self.make_usual(server_number, name.command, number, command_number);
                        }
                        return;
                    }
                    Err(kept) => given_up = kept,
                }
            }
            counters.count(Counter::EvictedSeries);
        }
        self.record_elsewhere(name, server_number, given_up.as_ref(), latency, directory);
    }

    /// Keeps a latency that no series has, and all of a series that was given up for it.
    #[inline(never)]
    fn record_elsewhere(
        &mut self,
        name: SeriesName,
        server_number: u32,
        given_up: Option<&Fine>,
        latency: Place,
        directory: &mut Directory,
    ) {
        let Statistics { series, servers, rest, room, .. } = self;
        // What no series keeps for the server, it keeps itself, so that sums per server stay whole.
        if !name.blocking {
            let server = &mut servers.touch(server_number, || PartyEntry::new(name.server)).latency;
            // If there is no room it is told without its latency, which is among all others' all the same.
            let _ = given_up.map(|part| server.absorb(Cow::Borrowed(part), Claim::Named, room));
            let _ = server.record(latency, Claim::Named, room);
        }
        // The command goes on without its server, so that sums per command stay whole too.
        let name = SeriesName { server: None, ..name };
        let number = directory.overflow_series(name);
        let nameless = &mut series.touch(number, || SeriesEntry { name, latency: Bounded::Unused }).latency;
        let rest = &mut rest[usize::from(name.blocking)];
        if let Some(part) = given_up
            && let Some((kept, part)) = nameless.absorb(Cow::Borrowed(part), Claim::Other, room)
        {
            add_always(rest, &part);
            if let Some(kept) = kept {
                add_always(rest, &kept);
            }
        }
        if let Err(kept) = nameless.record(latency, Claim::Other, room) {
            record_always(rest, latency);
            if let Some(kept) = kept {
                add_always(rest, &kept);
            }
        }
    }

    /// Empties the box, keeping its memory.
    pub fn clear(&mut self) {
        self.from = Timestamp::NONE;
        self.to = Timestamp::NONE;
        self.parts.clear();
        self.rest.iter_mut().for_each(Fine::clear);
        self.series.clear(|entry| {
            if let Some(latency) = entry.latency.kept_mut() {
                latency.clear();
            }
        });
        self.commands.clear(|entry| {
            entry.counts = Counts::default();
            if let Some(parts) = entry.parts.kept_mut() {
                parts.clear();
            }
        });
        self.servers.clear(PartyEntry::clear);
        self.clients.clear(PartyEntry::clear);
        self.errors.clear(|entry| entry.1 = 0);
        self.forget_waiting();
        self.usual.clear();
    }
}

#[cfg(test)]
mod tests;
