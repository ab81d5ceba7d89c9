//! One core: a packet's whole path, from frame to record.
//!
//! ```text
//!  frames ─► decode ─► key, hash ─► flow table, copies ─► connection (reassembly, resp, pairing) ─► recording ─► ring ─► writer
//! ```
//!
//! Frames come in batches, and go from stage to stage a few at a time: they are decoded and hashed, their place in the table is
//! looked up, then what their connection needs, and only then they are processed. What is needed at a stage is asked for at the one
//! before, and others are processed meanwhile, so that nobody waits for memory. A worker shares nothing with the others. After
//! warm-up it allocates nothing; it never locks, logs or formats, and reads no clock: time is what the frames and watermarks say.

pub mod emission;
pub mod recording;
mod shed;

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::capture::Frame;
use crate::capture::spread::Spread;
use crate::connection::{Arrived, Connection, Identity, ReplicationLink, Resources, Settings};
use crate::counters::{Counter, Counters, Published};
use crate::decode::fragment::Fragments;
use crate::decode::{Skip, Tcp, Usual, decode, decode_usual};
use crate::flow::hash::Seed;
use crate::flow::key::{FlowKey, Ipv4Ends, Keying};
use crate::flow::table::Table;
use crate::limits::{BATCH_FRAMES, Budget};
use crate::pool::NONE;
use crate::prefetch::{LINE_BYTES, prefetch_bytes, prefetch_bytes_early, prefetch_nth};
use crate::reassembly::duplicate::{Print, Recent};
use crate::record::keys::KeyStatistics;
use crate::redis::pairing::Reason;
use crate::units::{Direction, Timestamp};

use recording::Recording;
use shed::Shed;

/// A batch of frames.
pub type Batch<'a> = ArrayVec<Frame<'a>, BATCH_FRAMES>;

/// A decoded frame on its way to its connection.
#[repr(C)]
struct Arrival<'a> {
    tcp: Tcp<'a>,
    at: Timestamp,
    hash: u64,
    ends: Ends,
    /// Where its connection is most likely.
    guess: u32,
    direction: Direction,
}

impl Arrival<'_> {
    /// What copies of it have in common.
    #[inline(always)]
    fn print(&self) -> Print {
        Print::of(&self.tcp, self.direction, self.hash)
    }
}

/// Between whom a frame goes.
#[derive(Clone, Copy)]
enum Ends {
    /// One of the usual kind.
    Usual(Ipv4Ends),
    /// Another: its number among these in the batch.
    Other(u8),
}

/// What a frame's key is that is not of the usual kind, and the VLANs that it was in.
struct Other {
    key: FlowKey,
    vlans: [u16; 2],
}

/// Frames that are on their way together.
#[derive(Default)]
struct Arrivals<'a> {
    all: ArrayVec<Arrival<'a>, STEP_FRAMES>,
    others: ArrayVec<Other, STEP_FRAMES>,
}

impl Arrivals<'_> {
    fn clear(&mut self) {
        self.all.clear();
        self.others.clear();
    }

    fn key(&self, arrival: &Arrival<'_>) -> FlowKey {
        match arrival.ends {
            Ends::Usual(ends) => ends.into(),
            Ends::Other(number) => self.others[usize::from(number)].key,
        }
    }

    fn vlans(&self, arrival: &Arrival<'_>) -> [u16; 2] {
        match arrival.ends {
            Ends::Usual(_) => [0; 2],
            Ends::Other(number) => self.others[usize::from(number)].vlans,
        }
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy)]
enum Fate {
    Arrives,
    Skipped(Skip),
    /// It is left out, as its connection is.
    Shed,
}

/// What of a batch's frames is to be counted.
#[derive(Default)]
struct Seen {
    /// Those that are looked at no further.
    skipped: u64,
    /// Those that were left out.
    shed: u64,
    /// Bytes on the wire of all others.
    bytes: u64,
}

/// Frames that go from one stage to the next together.
const STEP_FRAMES: usize = 4;
/// Stages: they are decoded, looked up, asked about, processed.
const STAGES: usize = 4;
/// So many frames before it is decoded a frame's headers are asked for.
const FRAMES_AHEAD: usize = 2 * STEP_FRAMES;
/// So many bytes behind a TCP header's beginning have been asked for with the headers before it.
const ASKED_BYTES: usize = LINE_BYTES;
/// Of longer frames few are read to their end: they are the middle of something long.
const SHORT_FRAME_BYTES: usize = 1024;

/// Asks for the headers of a frame, and what is behind them.
#[inline(always)]
fn ask_for_headers(frame: &Frame<'_>) {
    prefetch_nth(frame.bytes, 0);
    prefetch_nth(frame.bytes, LINE_BYTES);
}

/// Frames after which counters are published.
const PUBLISH_FRAMES: usize = 64 * BATCH_FRAMES;

/// One core's state.
#[derive(Debug)]
pub struct Worker {
    keying: Keying,
    shed: Shed,
    fragments: Fragments,
    recent: Recent,
    table: Table<Connection>,
    resources: Resources,
    recording: Recording,
    /// Frames since the counters were published.
    unpublished: usize,
    published: Arc<Published>,
}

/// What a worker says at the end.
#[derive(Debug)]
pub struct WorkerReport {
    /// All it counted.
    pub counters: Counters,
    /// Bytes of memory that it had in use at the most.
    pub memory_peak: u64,
    /// Its replication links.
    pub replication: Vec<ReplicationLink>,
    /// Its statistics of keys, unless keys are not to be known.
    pub keys: Option<KeyStatistics>,
}

impl Worker {
    /// A worker within a budget. `seed` must be the same as the steering's.
    pub fn new(
        settings: Settings,
        keying: impl Into<Keying>,
        seed: Seed,
        budget: &Budget,
        recording: Recording,
    ) -> Worker {
        // Timers are looked at often enough that a timeout is told within a second or so of capture time.
        let tick_ns = (settings.timeout_ns / 32).clamp(1_000_000, 1_000_000_000);
        let keying: Keying = keying.into();
        Worker {
            table: Table::new(budget.connections, keying.by_vlan, seed, tick_ns),
            keying,
            shed: Shed::new(Spread { workers: 1, secret: 0 }),
            fragments: Fragments::default(),
            recent: Recent::default(),
            resources: Resources::new(settings, budget),
            recording,
            unpublished: 0,
            published: Arc::default(),
        }
    }

    /// What it counted so far.
    pub fn counters(&self) -> &Counters {
        &self.resources.counters
    }

    /// Where it makes its counters visible to others, now and then.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Connections are spread like this: in an XDP program, too, what is left out is.
    pub fn spread_by(&mut self, spread: Spread) {
        self.shed = Shed::new(spread);
    }

    /// From now on nothing goes the short way, before the first frame: what both ways tell can be compared.
    pub fn leave_short_way(&mut self) {
        self.resources.leave_short_way();
    }

    /// From `now` on connections of the parts below this one ([`Spread::part`]) are left out, and no others.
    pub fn leave_out(&mut self, below: usize, now: Timestamp) {
        self.shed.set(below, now);
    }

    /// Processes frames in the order of the capture.
    pub fn process(&mut self, frames: &[Frame<'_>]) {
        for mut batch in frames.chunks(BATCH_FRAMES) {
            while !batch.is_empty() {
                let done = self.process_up_to_fragment(batch);
                batch = &batch[done..];
                if let [fragment, others @ ..] = batch {
                    self.join(fragment);
                    batch = others;
                }
            }
        }
        self.unpublished += frames.len();
        if self.unpublished >= PUBLISH_FRAMES {
            self.unpublished = 0;
            self.published.publish(&self.resources.counters);
        }
    }

    /// Processes a batch up to the first fragment in it, or its end; answers how many frames that were.
    ///
    /// Frames go from stage to stage a few at a time, and while they are processed the memory of those behind them comes.
    #[inline]
    fn process_up_to_fragment(&mut self, frames: &[Frame<'_>]) -> usize {
        if self.resources.scarce().is_some()
            && let Some(first) = frames.first()
        {
            self.relieve(first.at);
        }
        // Each on its way through all of the stages, in turn: the one that has come through takes what comes.
        let mut steps: [Arrivals<'_>; STAGES] = Default::default();
        frames.iter().take(FRAMES_AHEAD).for_each(ask_for_headers);
        // Frames that are decoded, up to the fragment or the end.
        let (mut decoded, mut end) = (0, frames.len());
        let mut seen = Seen::default();
        let mut step = 0;
        // Steps in which there may yet be some on their way.
        let mut left = STAGES - 1;
        while left > 0 {
            let coming = &mut steps[step % STAGES];
            coming.clear();
            if decoded < end {
                let some = decoded..end.min(decoded + STEP_FRAMES);
                let done = self.decode(frames, some.clone(), coming, &mut seen);
                if done < some.len() {
                    end = decoded + done;
                }
                decoded += done;
            } else {
                left -= 1;
            }
            for arrival in &mut steps[(step + STAGES - 1) % STAGES].all {
                arrival.guess = self.table.guess(arrival.hash);
            }
            for arrival in &steps[(step + STAGES - 2) % STAGES].all {
                self.ask_for_request(arrival);
            }
            let ready = &steps[(step + STAGES - 3) % STAGES];
            for arrival in &ready.all {
                self.arrive(arrival, ready);
            }
            step += 1;
        }
        let counters = &mut self.resources.counters;
        counters.add(Counter::FramesSeen, end as u64 - seen.shed);
        counters.add(Counter::FramesShed, seen.shed);
        counters.add(Counter::FrameBytes, seen.bytes);
        counters.add(Counter::FramesAnalysed, end as u64 - seen.shed - seen.skipped);
        end
    }

    /// If it is a reply, the request that waits for it is needed, and if there may be several, all of them.
    #[inline(always)]
    fn ask_for_request(&self, arrival: &Arrival<'_>) {
        if let Some(connection) = self.table.peek(arrival.guess) {
            connection.prefetch_head(&self.resources);
            let Some(behind) = arrival.tcp.bytes().get(ASKED_BYTES..) else { return };
            if arrival.direction == Direction::Request {
                prefetch_bytes(behind);
            } else if connection.awaits_several() && behind.len() > LINE_BYTES {
                prefetch_bytes_early(behind);
            }
        }
    }

    /// Takes a fragment, and processes the packet that became whole by it.
    #[cold]
    fn join(&mut self, fragment: &Frame<'_>) {
        let mut fragments = std::mem::take(&mut self.fragments);
        if let Some(whole) = fragments.join(fragment, &mut self.resources.counters) {
            let done = self.process_up_to_fragment(&[whole]);
            debug_assert_eq!(done, 1, "what is whole is no fragment");
        }
        self.fragments = fragments;
    }

    /// The input has nothing more at the moment: the writer hears of the connections that have begun.
    pub fn announce(&mut self) {
        self.recording.announce(&mut self.resources.counters);
    }

    /// Somebody waits for the records: the writer gets those that there are.
    pub fn hand_over(&mut self) {
        self.recording.hand_over(&mut self.resources.counters);
    }

    /// Decodes some of a batch's frames up to the first fragment among them, or their end, and answers how many frames that were;
    /// what is no segment of interest is counted and left out.
    #[inline(always)]
    fn decode<'a>(
        &mut self,
        frames: &[Frame<'a>],
        step: Range<usize>,
        arrivals: &mut Arrivals<'a>,
        seen: &mut Seen,
    ) -> usize {
        let mut done = step.len();
        for at in step.clone() {
            let frame = &frames[at];
            if let Some(ahead) = frames.get(at + FRAMES_AHEAD) {
                ask_for_headers(ahead);
            }
            if frame.bytes.len() <= SHORT_FRAME_BYTES {
                // What ends in it, as most replies do, is read to its end.
                prefetch_nth(frame.bytes, frame.bytes.len().wrapping_sub(1));
            }
            let fate = match decode_usual(frame) {
                Some(usual) => self.decoded(frame, &usual, arrivals),
                None => self.decode_unusual(frame, arrivals),
            };
            match fate {
                Fate::Arrives => {}
                // Counted when its fate is known.
                Fate::Skipped(Skip::Fragment) => {
                    done = at - step.start;
                    break;
                }
                Fate::Skipped(skip) => {
                    seen.skipped += 1;
                    self.resources.counters.count(skip.counter());
                }
                Fate::Shed => {
                    seen.shed += 1;
                    continue;
                }
            }
            seen.bytes += u64::from(frame.wire_len);
        }
        done
    }

    /// A segment, if anybody asked for its ports, becomes an arrival.
    #[inline(always)]
    fn decoded<'a>(&mut self, frame: &Frame<'a>, usual: &Usual<'a>, arrivals: &mut Arrivals<'a>) -> Fate {
        let Some((ends, direction)) = self.keying.of_usual(usual) else { return Fate::Skipped(Skip::OtherPort) };
        if self.shed.is_at_work() {
            let [client, server] = ends.ends();
            if self.shed.takes(&client, &server) {
                return Fate::Shed;
            }
        }
        let hash = ends.hash(self.table.seed());
        self.table.prefetch(hash);
        let ends = Ends::Usual(ends);
        arrivals.all.push(Arrival { tcp: usual.tcp, at: frame.at, hash, ends, guess: NONE, direction });
        Fate::Arrives
    }

    /// The same of a frame of another kind, of which nothing is known yet.
    #[inline(never)]
    fn decode_unusual<'a>(&mut self, frame: &Frame<'a>, arrivals: &mut Arrivals<'a>) -> Fate {
        let packet = match decode(frame) {
            Ok(packet) => packet,
            Err(skip) => return Fate::Skipped(skip),
        };
        let Some((key, direction)) = self.keying.of(&packet) else { return Fate::Skipped(Skip::OtherPort) };
        if self.shed.is_at_work() && self.shed.takes(&key.client, &key.server) {
            return Fate::Shed;
        }
        let hash = self.table.hash(&key);
        let ends = Ends::Other(arrivals.others.len() as u8);
        arrivals.others.push(Other { key, vlans: [packet.tags.vlan, packet.tags.inner_vlan] });
        arrivals.all.push(Arrival { tcp: packet.tcp, at: frame.at, hash, ends, guess: NONE, direction });
        Fate::Arrives
    }

    /// Brings a segment to its connection.
    #[inline(always)]
    fn arrive(&mut self, arrival: &Arrival<'_>, batch: &Arrivals<'_>) {
        let Worker { table, shed, recent, resources, recording, .. } = self;
        // It may be another one's with such a hash, and an earlier frame of the batch may have brought the connection, or ended it.
        let guessed = match arrival.ends {
            Ends::Usual(ends) => table.claim_ipv4(arrival.guess, ends),
            Ends::Other(number) => table.claim(arrival.guess, &batch.others[usize::from(number)].key),
        };
        let Some(connection) = guessed else { return self.look_up(arrival, batch) };
        if shed.has_taken_any(connection.last_at()) {
            return self.look_up(arrival, batch);
        }
        let Arrival { tcp, direction, at, .. } = arrival;
        let arrived = connection.arrive(tcp, *direction, *at, arrival.print(), recent, resources, recording);
        if arrived != Arrived::Done {
            self.arrived(arrived, arrival, arrival.guess, batch);
        }
    }

    /// Looks for the connection of a segment that is not where it was thought to be, or of which packets may have been left out.
    #[inline(never)]
    fn look_up(&mut self, arrival: &Arrival<'_>, batch: &Arrivals<'_>) {
        let Some(slot) = self.table.find(arrival.hash, &batch.key(arrival)) else {
            return self.open_unless_copy(arrival, batch);
        };
        if self.end_if_shed(slot) {
            return self.open_unless_copy(arrival, batch);
        }
        let Arrival { tcp, direction, at, .. } = arrival;
        let Worker { table, recent, resources, recording, .. } = self;
        let arrived = table.get_mut(slot).arrive(tcp, *direction, *at, arrival.print(), recent, resources, recording);
        self.arrived(arrived, arrival, slot, batch);
    }

    /// What is to be done when a segment has come to its connection.
    #[inline(never)]
    fn arrived(&mut self, arrived: Arrived, arrival: &Arrival<'_>, slot: u32, batch: &Arrivals<'_>) {
        match arrived {
            Arrived::Done => {}
            Arrived::Closed => self.after(slot),
            Arrived::Unusual => self.arrive_unusually(arrival, slot, batch),
        }
    }

    /// A segment comes that does not simply go on with its connection.
    fn arrive_unusually(&mut self, arrival: &Arrival<'_>, slot: u32, batch: &Arrivals<'_>) {
        if self.end_if_shed(slot) {
            return self.open(arrival, batch);
        }
        let Arrival { tcp, at, direction, .. } = arrival;
        let connection = self.table.get_mut(slot);
        if connection.arrive_unusually(&tcp.segment(), *direction, *at, &mut self.resources, &mut self.recording) {
            return self.after(slot);
        }
        self.table.remove(slot);
        self.open(arrival, batch);
    }

    /// Ends a connection of which packets may have been left out since its last one; answers whether it did.
    #[inline]
    fn end_if_shed(&mut self, slot: u32) -> bool {
        let connection = self.table.get_mut(slot);
        let Identity { client, server, .. } = &connection.identity;
        if !self.shed.has_taken(client, server, connection.last_at()) {
            return false;
        }
        connection.leave_out(&mut self.resources, &mut self.recording);
        self.table.remove(slot);
        true
    }

    /// A segment of no connection begins one, if it is no copy.
    #[inline(never)]
    fn open_unless_copy(&mut self, arrival: &Arrival<'_>, batch: &Arrivals<'_>) {
        if self.recent.is_copy(arrival.print(), arrival.at, false) {
            return self.resources.counters.count(Counter::Duplicates);
        }
        self.open(arrival, batch);
    }

    /// A connection begins.
    fn open(&mut self, arrival: &Arrival<'_>, batch: &Arrivals<'_>) {
        self.recent.connection_begins(arrival.at);
        let Arrival { tcp, at, direction, hash, .. } = arrival;
        let (segment, key, vlans) = (&tcp.segment(), &batch.key(arrival), batch.vlans(arrival));
        let may_swap = self.keying.ports.contains(key.client.port);
        let Some(mut connection) = Connection::open(segment, *direction, *at, key, vlans, may_swap) else {
            return self.resources.counters.count(Counter::Stray);
        };
        let counters = &mut self.resources.counters;
        counters.count(connection.opened_counter());
        if self.keying.ports.is_any() {
            connection.doubt();
        } else {
            self.recording.introduce(&mut connection.identity, counters);
        }
        connection.segment(segment, *direction, *at, &mut self.resources, &mut self.recording);
        let deadline = connection.deadline(&self.resources);
        if self.table.is_full() {
            self.evict();
        }
        if let Some(slot) = self.table.insert(*hash, *key, connection) {
            self.table.schedule(slot, deadline);
        }
    }

    /// The table is full: of those that nothing was seen of but their handshake, or that have ended, the idlest gives way; then
    /// of all.
    #[cold]
    fn evict(&mut self) {
        let rank = |connection: &Connection| Some((connection.has_spoken(), connection.last_at()));
        let Some(slot) = self.table.first_of_some(rank) else { return };
        let connection = self.table.get_mut(slot);
        connection.give_up(Counter::EvictedConnections, &mut self.resources, &mut self.recording);
        self.table.remove(slot);
    }

    /// Of something there is little left in the pools: of those that hold some of it, who holds most gives way, of equals the
    /// idlest. Data that has waited for long enough need not wait on.
    #[cold]
    fn relieve(&mut self, now: Timestamp) {
        for _ in 0..BATCH_FRAMES {
            let Some(scarce) = self.resources.scarce() else { return };
            let rank = |connection: &Connection| {
                let holds = connection.holds(scarce, &self.resources);
                (holds > 0).then_some((Reverse(holds), connection.last_at()))
            };
            // None of those that were looked at holds any: then others are.
            let Some(slot) = self.table.first_of_some(rank) else { continue };
            if self.end_if_shed(slot) {
                continue;
            }
            let connection = self.table.get_mut(slot);
            connection.tick(now, &mut self.resources, &mut self.recording);
            if connection.holds(scarce, &self.resources) > 0 {
                connection.give_up(scarce, &mut self.resources, &mut self.recording);
            }
            self.after(slot);
        }
    }

    /// A connection that was given up for want of memory leaves at once; one that ended is looked at when it may be
    /// forgotten.
    #[inline]
    fn after(&mut self, slot: u32) {
        let connection = self.table.get(slot);
        if connection.is_closed() {
            let deadline = connection.deadline(&self.resources);
            self.table.schedule(slot, deadline);
        }
    }

    /// Time has come to `now`: deadlines up to there are due, and so is the end of an interval.
    pub fn watermark(&mut self, now: Timestamp) {
        while let Some(slot) = self.table.due(now) {
            if self.end_if_shed(slot) {
                continue;
            }
            let connection = self.table.get_mut(slot);
            if connection.is_idle(now, &self.resources) {
                connection.close(Reason::Idle, &mut self.resources, &mut self.recording);
                self.table.remove(slot);
                continue;
            }
            connection.tick(now, &mut self.resources, &mut self.recording);
            let deadline = connection.deadline(&self.resources);
            self.table.schedule(slot, deadline);
        }
        self.debug_check();
        self.recording.watermark(now, &mut self.resources.counters);
        self.published.publish(&self.resources.counters);
    }

    /// The capture has ended, at `at`: all connections end, and what is left to tell is told.
    pub fn finish(mut self, at: Timestamp) -> WorkerReport {
        self.fragments.give_up_all(&mut self.resources.counters);
        // In the table's order, which no output depends on.
        for slot in 0..self.table.span() {
            if self.table.peek(slot).is_none() || self.end_if_shed(slot) {
                continue;
            }
            let connection = self.table.get_mut(slot);
            connection.tick(at, &mut self.resources, &mut self.recording);
            let connection = self.table.get_mut(slot);
            let reason = if connection.is_idle(at, &self.resources) { Reason::Idle } else { Reason::CaptureEnd };
            connection.close(reason, &mut self.resources, &mut self.recording);
            self.table.remove(slot);
        }
        debug_assert_eq!(self.resources.in_use(), 0, "pools are empty when all connections have ended");
        self.debug_check();
        let memory_peak = self.table.memory()
            + self.resources.memory()
            + self.recording.memory()
            + self.fragments.memory()
            + self.recent.memory();
        let keys = self.recording.finish(&mut self.resources.counters);
        let replication = self.resources.take_replication();
        WorkerReport { counters: self.resources.counters, memory_peak, replication, keys }
    }

    /// The laws of SPEC section 4, in debug builds.
    fn debug_check(&self) {
        if cfg!(debug_assertions) {
            let counters = &self.resources.counters;
            let skipped = counters.sum("packets", "skipped.");
            assert_eq!(counters[Counter::FramesSeen], counters[Counter::FramesAnalysed] + skipped);
            let others = counters.sum("replies", "unsolicited.") + counters.sum("replies", "discarded.");
            let held: u64 = self.table.iter().map(|connection| connection.held_replies(&self.resources)).sum();
            assert_eq!(counters[Counter::Replies], counters[Counter::RepliesPaired] + others + held);
            let pending: u64 = self.table.iter().map(|connection| connection.undecided(&self.resources)).sum();
            assert_eq!(counters.pending(), pending, "a request is either decided or in a queue");
        }
    }
}
