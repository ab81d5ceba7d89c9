//! Requests of the usual kind, counted at once: answered without an error, not blocking, of a series that has had requests in
//! this interval.
//!
//! What such a request adds to its command, to its server and to the parts of the latency that took no time are sums over
//! series: they are kept by series, in few places that a series' numbers lead to, and [added](Statistics::settle) to where they
//! belong when a place is needed for another series and before anything is told. What it adds to its client and to the series' own
//! histogram waits a while (waiting.rs). All has its place already, most of the time; what has not is left to
//! [`Statistics::record`]. Never panics, allocates nothing but what that does.

use crate::counters::{Counter, Counters};
use crate::redis::command::{CommandId, CommandTable};

use super::super::cells::{PartCells, Place};
use super::super::room::Claim;
use super::super::transaction::Times;
use super::waiting::Addition;
use super::{Address, CommandEntry, Counts, DIGITS, Directory, Endpoint, Entries, PartyEntry, Statistics};

/// What a request of the usual kind adds, or several that took the same time.
#[derive(Clone, Copy, Debug)]
pub struct UsualSample {
    /// The server's number.
    pub server_number: u32,
    /// The client's.
    pub client_number: u32,
    /// The command.
    pub command: CommandId,
    /// RESP bytes of the request.
    pub request_bytes: u64,
    /// RESP bytes of the reply.
    pub reply_bytes: u64,
    /// The parts of its latency.
    pub times: Times,
}

/// Places of which a series may have any: the first that is free, or that of the series that came first.
const WAYS: usize = if cfg!(test) { 2 } else { 4 };
/// So many times these.
const SETS: usize = if cfg!(test) { 2 } else { 256 };
/// In [`Sums::alone`]: a part of the latency.
const QUEUE: usize = 0;
const SERVER: usize = 1;
const TRANSFER: usize = 2;
/// Likewise: none of the parts is all of the latency.
const MIXED: usize = 3;

/// What usual requests of a series have added since it came here. A cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Sums {
    /// Server and command, as one number.
    parts: u64,
    /// The series' number.
    series: u32,
    /// The command's number.
    command: u32,
    request_bytes: u64,
    reply_bytes: u64,
    /// Requests by the part that was all of the latency, so that the other two took no time.
    alone: [u64; MIXED + 1],
}

impl Sums {
    /// Of no series.
    const NONE: Sums =
        Sums { parts: u64::MAX, series: 0, command: 0, request_bytes: 0, reply_bytes: 0, alone: [0; MIXED + 1] };

    fn server(&self) -> u32 {
        (self.parts >> 32) as u32
    }

    /// Adds them to where they belong.
    fn settle(
        &mut self,
        commands: &mut Entries<CommandEntry>,
        servers: &mut Entries<PartyEntry<Endpoint, DIGITS>>,
        parts: &mut PartCells<DIGITS>,
    ) {
        let Sums { request_bytes, reply_bytes, alone, .. } = *self;
        let count: u64 = alone.iter().sum();
        // Both were touched when the series came here.
        let (Some(command), Some(server)) = (commands.touched_mut(self.command), servers.touched_mut(self.server()))
        else {
            debug_assert!(count == 0, "{count} requests are of no command or server");
            return;
        };
        let counts = Counts { count, errors: 0, request_bytes, reply_bytes };
        command.counts.merge(&counts);
        server.counts.merge(&counts);
        let [queue, in_server, transfer, _] = alone;
        let zeros = [in_server + transfer, queue + transfer, queue + in_server];
        parts.add_zeros(zeros);
        if let Some(parts) = command.parts.kept_mut() {
            parts.add_zeros(zeros);
        }
        *self = Sums { request_bytes: 0, reply_bytes: 0, alone: [0; MIXED + 1], ..*self };
    }
}

/// Sums by series.
#[derive(Debug)]
pub(super) struct UsualSeries {
    sets: Box<[[Sums; WAYS]; SETS]>,
}

impl Default for UsualSeries {
    fn default() -> Self {
        let sets = vec![[Sums::NONE; WAYS]; SETS].into_boxed_slice();
        UsualSeries { sets: sets.try_into().expect("so many were made") }
    }
}

impl UsualSeries {
    /// Bytes that it has.
    pub(super) const BYTES: u64 = size_of::<[[Sums; WAYS]; SETS]>() as u64;

    #[inline(always)]
    fn set(&mut self, parts: u64) -> &mut [Sums; WAYS] {
        // Servers and commands are small numbers, either of which may be the same for all.
        let both = parts ^ parts.rotate_left(9);
        let set = both.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SETS.trailing_zeros());
        &mut self.sets[set as usize % SETS]
    }

    #[inline(always)]
    fn find(&mut self, parts: u64) -> Option<&mut Sums> {
        self.set(parts).iter_mut().find(|sums| sums.parts == parts)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.sets.as_flattened_mut().iter_mut().for_each(|sums| *sums = Sums::NONE);
    }
}

/// Server and command, as one number.
#[inline(always)]
fn parts(server_number: u32, command: CommandId) -> u64 {
    u64::from(server_number) << 32 | u64::from(command.0)
}

impl Statistics {
    /// Adds a request, if its series has had requests in this interval, and there is a place for each part of its latency; else this
    /// answers false, and nothing has happened.
    #[inline(always)]
    pub fn record_usual(
        &mut self,
        sample: &UsualSample,
        table: &CommandTable,
        directory: &mut Directory,
        counters: &mut Counters,
    ) -> bool {
        self.count_alike(table, directory, counters);
        self.add_usual(sample, 1, directory, counters)
    }

    /// The same of so many requests that took the same time. The sample has the bytes of all.
    #[inline(always)]
    pub(super) fn add_usual(
        &mut self,
        sample: &UsualSample,
        count: u32,
        directory: &mut Directory,
        counters: &mut Counters,
    ) -> bool {
        let Statistics { usual, commands, parts: of_all, series: all_series, .. } = self;
        let UsualSample { server_number, client_number: client, command, request_bytes, reply_bytes, times } = *sample;
        let Some(sums) = usual.find(parts(server_number, command)) else { return false };
        let series = sums.series;
        let latency = Place::of_any(times.latency());
        let of_series = all_series.touched(series).and_then(|series| series.latency.kept());
        if !of_series.is_some_and(|cells| cells.prefetch(latency)) {
            return false;
        }
        let is_counted = match times.latency() {
            all if all == times.server => count_alone::<SERVER>(commands, of_all, sums, latency, count),
            all if all == times.queue => count_alone::<QUEUE>(commands, of_all, sums, latency, count),
            all if all == times.transfer => count_alone::<TRANSFER>(commands, of_all, sums, latency, count),
            _ => count_mixed(commands, of_all, sums, &times, count),
        };
        if !is_counted {
            return false;
        }
        sums.request_bytes += request_bytes;
        sums.reply_bytes += reply_bytes;
        let addition = Addition { client, series, latency, count, request_bytes, reply_bytes };
        self.wait(addition, directory, counters);
        true
    }

    /// Adds to a client that has had no requests in this interval, or whose latency has no room for this one.
    #[cold]
    #[inline(never)]
    pub(super) fn record_client(&mut self, name: Option<Address>, addition: &Addition, counters: &mut Counters) {
        let Addition { client: number, latency, count, request_bytes, reply_bytes, .. } = *addition;
        let Statistics { clients, room, .. } = self;
        let client = clients.touch(number, || PartyEntry::new(name));
        client.counts.merge(&Counts { count: u64::from(count), errors: 0, request_bytes, reply_bytes });
        for _ in 0..count {
            if client.latency.record(latency, Claim::Named, room).is_err() {
                counters.count(Counter::EvictedSeries);
            }
        }
    }

    /// Requests of this series are usual from now on.
    pub(super) fn make_usual(&mut self, server_number: u32, command: CommandId, series: u32, command_number: u32) {
        let Statistics { usual, commands, servers, parts: of_all, .. } = self;
        let parts = parts(server_number, command);
        if usual.find(parts).is_some() {
            return;
        }
        let set = usual.set(parts);
        set.rotate_right(1);
        let [first, ..] = set;
        first.settle(commands, servers, of_all);
        *first = Sums { parts, series, command: command_number, ..Sums::NONE };
    }

    /// Adds what usual requests have added since to where it belongs: before anything is told. None may wait
    /// ([`Statistics::count_waiting`]).
    pub fn settle(&mut self) {
        debug_assert!(self.is_settled(), "what waits was counted by the worker, who knows the clients' names");
        let Statistics { usual, commands, servers, parts, .. } = self;
        for sums in usual.sets.as_flattened_mut().iter_mut().filter(|sums| sums.parts != Sums::NONE.parts) {
            sums.settle(commands, servers, parts);
        }
    }
}

/// Counts so many times the part that is all of the latency, for its command and for all. If one of these has no place for it, this
/// answers false, and nothing has happened.
#[inline(always)]
fn count_alone<const PART: usize>(
    commands: &mut Entries<CommandEntry>,
    of_all: &mut PartCells<DIGITS>,
    sums: &mut Sums,
    latency: Place,
    count: u32,
) -> bool {
    let count = u64::from(count);
    let Some(command) = commands.touched_mut(sums.command) else { return false };
    let Some(parts) = command.parts.kept_mut() else { return false };
    let Some(in_command) = parts.count_mut(PART, latency) else { return false };
    let Some(in_all) = of_all.count_mut(PART, latency) else { return false };
    *in_command += count;
    *in_all += count;
    sums.alone[PART] += count;
    true
}

/// The same of all parts of a latency.
#[inline(never)]
fn count_mixed(
    commands: &mut Entries<CommandEntry>,
    of_all: &mut PartCells<DIGITS>,
    sums: &mut Sums,
    times: &Times,
    count: u32,
) -> bool {
    let places = [times.queue, times.server, times.transfer].map(Place::of);
    let Some(command) = commands.touched_mut(sums.command) else { return false };
    let Some(parts) = command.parts.kept_mut() else { return false };
    if !parts.has(places) || !of_all.has(places) {
        return false;
    }
    parts.count(places, count);
    of_all.count(places, count);
    sums.alone[MIXED] += u64::from(count);
    true
}
