//! One core: a packet's whole path, from frame to record.
//!
//! ```text
//!  frames ─► decode ─► key, hash ─► flow table, copies ─► connection (reassembly, resp, pairing) ─► recording ─► ring ─► writer
//! ```
//!
//! Frames come in batches, and go from stage to stage: they are decoded and hashed, their place in the table is looked up, then what
//! their connection needs, and only then they are processed. What is needed at a stage is asked for at the one before, and others
//! are processed meanwhile, so that nobody waits for memory. A worker shares nothing with the others. After
//! warm-up it allocates nothing; it never locks, logs or formats, and reads no clock: time is what the frames and watermarks say.

mod arrival;
pub mod emission;
pub mod recording;
mod shed;

use std::cmp::Reverse;
use std::hint::select_unpredictable;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::capture::Frame;
use crate::capture::spread::Spread;
use crate::connection::{Arrived, Connection, ReplicationLink, Resources, Settings};
use crate::counters::{Counter, Counters, Published};
use crate::decode::fragment::Fragments;
use crate::decode::ports::Only;
use crate::decode::{Skip, Usual, decode};
use crate::flow::hash::Seed;
use crate::flow::key::{Ipv4Ends, Keying};
use crate::flow::table::Table;
use crate::limits::{BATCH_FRAMES, Budget};
use crate::pool::NONE;
use crate::prefetch::{LINE_BYTES, prefetch_bytes, prefetch_bytes_early, prefetch_nth};
use crate::reassembly::duplicate::{Print, Recent};
use crate::record::keys::KeyStatistics;
use crate::redis::pairing::Reason;
use crate::units::{Conversation, Direction, Timestamp};

use arrival::{Arrival, Arrivals, Known, Others};
use recording::Recording;
use shed::Shed;

/// A batch of frames.
pub type Batch<'a> = ArrayVec<Frame<'a>, BATCH_FRAMES>;

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
    /// Bytes of these on the wire.
    shed_bytes: u64,
}

/// So many frames before it is decoded a frame's headers are asked for.
const FRAMES_AHEAD: usize = 8;
/// How a frame goes on after it was decoded.
struct Steps {
    /// So many are looked up at the same time.
    together: usize,
    /// So many frames later its connection is looked up,
    to_look_up: usize,
    /// what the connection needs is asked for,
    to_ask: usize,
    /// and it arrives there.
    to_arrive: usize,
}

/// What connections need comes from a cache, most of it.
const FEW: Steps = Steps { together: 1, to_look_up: 4, to_ask: 10, to_arrive: 12 };
/// It comes from memory, and the pages of each connection are to be found first: for several of them at the same time.
const MANY: Steps = Steps { together: 8, to_look_up: 8, to_ask: 24, to_arrive: 36 };
/// From so many connections on, of some 240 bytes each, no processor remembers where the pages of most of them are. Of
/// few in debug builds, so that tests go both ways.
const MANY_CONNECTIONS: u32 = if cfg!(debug_assertions) { 8 } else { 4 << 20 };
/// So many bytes of a payload have been asked for with the headers before it.
const ASKED_BYTES: usize = 44;
/// Of longer frames few are read to their end: they are the middle of something long.
const SHORT_FRAME_BYTES: usize = 1024;

/// Asks for the headers of a frame, and what is behind them.
#[inline(always)]
fn ask_for_headers(frame: &Frame<'_>) {
    prefetch_nth(frame.bytes, 0);
    prefetch_nth(frame.bytes, LINE_BYTES);
}

/// After so many frames it is looked whether something is scarce: each may take some of it.
const RELIEF_FRAMES: usize = 32;
/// Frames after which counters are published.
const PUBLISH_FRAMES: usize = 32 * BATCH_FRAMES;

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
    #[inline]
    fn process_up_to_fragment(&mut self, frames: &[Frame<'_>]) -> usize {
        if self.table.span() < MANY_CONNECTIONS {
            self.process_in_steps::<false>(frames)
        } else {
            self.process_many(frames)
        }
    }

    /// The same of many connections.
    #[inline(never)]
    fn process_many(&mut self, frames: &[Frame<'_>]) -> usize {
        self.process_in_steps::<true>(frames)
    }

    /// See [`Worker::process_up_to_fragment`].
    ///
    /// With each frame that is decoded one of those before it goes on at each of the stages behind, and while one is processed the
    /// memory of others comes. `ARE_MANY`: there are many connections.
    #[inline(always)]
    fn process_in_steps<const ARE_MANY: bool>(&mut self, frames: &[Frame<'_>]) -> usize {
        let steps = const { if ARE_MANY { MANY } else { FEW } };
        const {
            assert!(FEW.to_look_up + FEW.together <= FEW.to_ask && FEW.to_ask < FEW.to_arrive);
            assert!(MANY.to_look_up + MANY.together <= MANY.to_ask && MANY.to_ask < MANY.to_arrive);
        }
        frames.iter().take(FRAMES_AHEAD).for_each(ask_for_headers);
        // Where no connection is left out, and none is told from another one by tags.
        let is_simple = !self.shed.is_at_work() && !self.keying.by_vlan;
        let only = if is_simple { self.keying.ports.only() } else { Only::NONE };
        let mut arrivals = Arrivals::new();
        let mut others = Others::default();
        let mut seen = Seen::default();
        // Those that are not decoded yet, up to the fragment or the end.
        let (mut coming, mut end) = (frames.iter(), frames.len());
        let mut step = 0_usize;
        loop {
            if let Some(frame) = coming.next() {
                match self.take_in(frame, coming.as_slice(), only, &mut arrivals, &mut others) {
                    Fate::Arrives => {}
                    // Counted when its fate is known.
                    Fate::Skipped(Skip::Fragment) => {
                        end -= coming.len() + 1;
                        coming = [].iter();
                        continue;
                    }
                    Fate::Skipped(skip) => {
                        seen.skipped += 1;
                        self.resources.counters.count(skip.counter());
                        continue;
                    }
                    Fate::Shed => {
                        seen.shed += 1;
                        seen.shed_bytes += u64::from(frame.wire_len);
                        continue;
                    }
                }
            } else if step >= arrivals.len() + steps.to_arrive {
                break;
            }
            if step.is_multiple_of(steps.together) {
                for before in 0..steps.together {
                    let number = step.wrapping_sub(steps.to_look_up).wrapping_sub(before);
                    if let Some(arrival) = arrivals.get_mut(number) {
                        arrival.guess = self.table.guess(arrival.hash);
                    }
                }
            }
            if let Some(arrival) = arrivals.get(step.wrapping_sub(steps.to_ask)) {
                self.recent.prefetch(arrival.print);
                self.ask_for_request(arrival);
            }
            let number = step.wrapping_sub(steps.to_arrive);
            if let Some(arrival) = arrivals.get(number) {
                if number.is_multiple_of(RELIEF_FRAMES) && self.resources.scarce().is_some() {
                    self.relieve(arrival.at);
                }
                self.arrive(arrival, &mut others);
            }
            step += 1;
        }
        let bytes: u64 = frames.iter().take(end).map(|frame| u64::from(frame.wire_len)).sum();
        let counters = &mut self.resources.counters;
        counters.add(Counter::FramesSeen, end as u64 - seen.shed);
        counters.add(Counter::FramesShed, seen.shed);
        counters.add(Counter::FrameBytes, bytes - seen.shed_bytes);
        counters.add(Counter::FramesAnalysed, end as u64 - seen.shed - seen.skipped);
        end
    }

    /// If it is a reply, the request that waits for it is needed, and if there may be several, all of them.
    #[inline(always)]
    fn ask_for_request(&self, arrival: &Arrival<'_>) {
        if let Some(connection) = self.table.peek(arrival.guess) {
            connection.prefetch_head(&self.resources);
            // Of requests all of it is needed, and so it is of what may be several replies. Which of the two it is, and how long,
            // can't be foretold: few are asked about that.
            let is_request = arrival.direction == Some(Direction::Request);
            let payload = arrival.sent.payload;
            let of_reply = select_unpredictable(connection.awaits_several(), ASKED_BYTES + LINE_BYTES, usize::MAX);
            if payload.len() > select_unpredictable(is_request, ASKED_BYTES, of_reply) {
                if is_request { prefetch_bytes(payload) } else { prefetch_bytes_early(payload) }
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

    /// Takes a frame, with those that come behind it: if it is a segment of interest, it is the next arrival.
    #[inline(always)]
    fn take_in<'a>(
        &mut self,
        frame: &Frame<'a>,
        behind: &[Frame<'a>],
        only: Only,
        arrivals: &mut Arrivals<'a>,
        others: &mut Others<'a>,
    ) -> Fate {
        if let Some(ahead) = behind.get(FRAMES_AHEAD - 1) {
            ask_for_headers(ahead);
        }
        // What ends in it, as most replies do, is read to its end; of a long one the beginning has been asked for. No branch: how long
        // the next one is can't be foretold.
        let length = frame.bytes.len();
        prefetch_nth(frame.bytes, if length <= SHORT_FRAME_BYTES { length.wrapping_sub(1) } else { 0 });
        self.decode_one(frame, only, arrivals, others)
    }

    /// Decodes a frame: at once what nearly all are, of the usual kind, with the only server port.
    #[inline(always)]
    fn decode_one<'a>(
        &mut self,
        frame: &Frame<'a>,
        only: Only,
        arrivals: &mut Arrivals<'a>,
        others: &mut Others<'a>,
    ) -> Fate {
        if let Some(usual) = Usual::of(frame)
            && let Some((ends, turn)) = Keying::of_only(only, &usual)
            && let Some((sent, mark)) = usual.sent()
        {
            let hash = ends.hash(self.table.seed());
            self.table.prefetch(hash);
            let print = Print::turned(mark, hash.rotate_left(2 * turn));
            let direction = Some(if turn == 0 { Direction::Request } else { Direction::Reply });
            arrivals.push(Arrival { ends, guess: NONE, hash, sent, at: frame.at, print, direction });
            return Fate::Arrives;
        }
        self.decode_otherwise(frame, arrivals, others)
    }

    /// The same of any frame. A segment, if anybody asked for its ports, becomes an arrival.
    #[inline(never)]
    fn decode_otherwise<'a>(
        &mut self,
        frame: &Frame<'a>,
        arrivals: &mut Arrivals<'a>,
        others: &mut Others<'a>,
    ) -> Fate {
        let usual = Usual::of(frame).and_then(|usual| Some((usual, usual.sent()?))).filter(|_| !self.keying.by_vlan);
        let Some((usual, (sent, mark))) = usual else { return self.decode_unusual(frame, arrivals, others) };
        if self.keying.ports.only().is_neither(usual.ports()) {
            return Fate::Skipped(Skip::OtherPort);
        }
        let Some((ends, direction)) = self.keying.of_usual(&usual) else { return Fate::Skipped(Skip::OtherPort) };
        if self.shed.is_at_work() {
            let [client, server] = ends.ends();
            if self.shed.takes(&client, &server) {
                return Fate::Shed;
            }
        }
        let hash = ends.hash(self.table.seed());
        self.table.prefetch(hash);
        let print = Print::of(mark, direction, hash);
        let (at, direction) = (frame.at, Some(direction));
        arrivals.push(Arrival { ends, guess: NONE, hash, sent, at, print, direction });
        Fate::Arrives
    }

    /// The same of a frame of another kind, of which nothing is known yet.
    #[inline(never)]
    fn decode_unusual<'a>(&mut self, frame: &Frame<'a>, arrivals: &mut Arrivals<'a>, others: &mut Others<'a>) -> Fate {
        let packet = match decode(frame) {
            Ok(packet) => packet,
            Err(skip) => return Fate::Skipped(skip),
        };
        let Some((key, direction)) = self.keying.of(&packet) else { return Fate::Skipped(Skip::OtherPort) };
        if self.shed.is_at_work() && self.shed.takes(&key.client, &key.server) {
            return Fate::Shed;
        }
        let (at, hash, sent) = (frame.at, self.table.hash(&key), packet.tcp.sent());
        self.table.prefetch(hash);
        let print = Print::of(packet.tcp.mark(), direction, hash);
        if direction == Direction::Request
            && let Some(behind) = sent.payload.get(ASKED_BYTES..)
        {
            prefetch_bytes(behind);
        }
        let vlans = [packet.tags.vlan, packet.tags.inner_vlan];
        others.all.push(Known { sent, cut: packet.tcp.cut, at, direction, print, hash, key, vlans });
        arrivals.push(Arrival { ends: Ipv4Ends::default(), guess: NONE, hash, sent, at, print, direction: None });
        Fate::Arrives
    }

    /// Brings a segment to its connection.
    #[inline(always)]
    fn arrive(&mut self, arrival: &Arrival<'_>, others: &mut Others<'_>) {
        let Worker { table, shed, recent, resources, recording, .. } = self;
        let Arrival { sent, at, print, .. } = arrival;
        let Some(direction) = arrival.direction else { return self.arrive_other(arrival.guess, others) };
        // It may be another one's with such a hash, and an earlier frame may have brought the connection, or ended it.
        let usual = table.claim(arrival.guess, arrival.ends);
        let Some(connection) = usual.filter(|connection| !shed.has_taken_any(connection.last_at())) else {
            return self.look_up_usual(arrival, direction);
        };
        let Some(ack) = connection.usual(sent, direction, *at, resources) else {
            return self.arrive_long(arrival, direction);
        };
        connection.arrive_usual(sent, ack, direction, *at, print, recent, resources, recording);
        if !connection.is_noted_plain() {
            self.arrived_usual(arrival, direction);
        }
    }

    /// The same of a segment of the usual kind that is not the usual next one of the connection where it was guessed.
    #[inline(never)]
    fn arrive_long(&mut self, arrival: &Arrival<'_>, direction: Direction) {
        let Worker { table, recent, resources, recording, .. } = self;
        let &Arrival { guess, ref sent, at, print, .. } = arrival;
        let connection = table.get_mut(guess);
        let arrived = connection.arrive_long(&sent.segment(0), direction, at, print, recent, resources, recording);
        if arrived != Arrived::Done {
            self.arrived(arrived, &arrival.known(direction), guess);
        }
    }

    /// A connection has taken a usual segment by which it is plain no more.
    #[inline(never)]
    fn arrived_usual(&mut self, arrival: &Arrival<'_>, direction: Direction) {
        let arrived = self.table.get_mut(arrival.guess).arrived(&mut self.resources);
        self.arrived(arrived, &arrival.known(direction), arrival.guess);
    }

    /// The connection of a segment of the usual kind is not where it was thought to be, or is no usual one.
    #[inline(never)]
    fn look_up_usual(&mut self, arrival: &Arrival<'_>, direction: Direction) {
        self.look_up(arrival.guess, &arrival.known(direction));
    }

    /// The same of the next one of another kind.
    #[inline(never)]
    fn arrive_other(&mut self, guess: u32, others: &mut Others<'_>) {
        let Some(known) = others.all.get(others.arrived) else { return };
        others.arrived += 1;
        self.look_up(guess, known);
    }

    /// Brings a segment to its connection of which nothing is known but where it may be.
    #[inline(never)]
    fn look_up(&mut self, guess: u32, known: &Known<'_>) {
        let Worker { table, shed, .. } = self;
        let is_there = table.is_at(guess, &known.key);
        let Some(slot) = is_there.then_some(guess).or_else(|| table.find(known.hash, &known.key)) else {
            return self.open_unless_copy(known);
        };
        if shed.has_taken_any(table.get(slot).last_at()) && self.end_if_shed(slot) {
            return self.open_unless_copy(known);
        }
        let Known { sent, cut, direction, at, print, .. } = known;
        let Worker { table, recent, resources, recording, .. } = self;
        let arrived = table.get_mut(slot).arrive(sent, *cut, *direction, *at, print, recent, resources, recording);
        if arrived != Arrived::Done {
            self.arrived(arrived, known, slot);
        }
    }

    /// What is to be done when a segment has come to its connection.
    #[inline(never)]
    fn arrived(&mut self, arrived: Arrived, known: &Known<'_>, slot: u32) {
        match arrived {
            Arrived::Done => {}
            Arrived::Closed => self.after(slot),
            Arrived::Unusual => self.arrive_unusually(known, slot),
        }
    }

    /// A segment comes that does not simply go on with its connection.
    fn arrive_unusually(&mut self, known: &Known<'_>, slot: u32) {
        if self.end_if_shed(slot) {
            return self.open(known);
        }
        let Known { sent, cut, at, direction, .. } = known;
        let connection = self.table.get_mut(slot);
        if connection.arrive_unusually(&sent.segment(*cut), *direction, *at, &mut self.resources, &mut self.recording) {
            return self.after(slot);
        }
        self.table.remove(slot);
        self.open(known);
    }

    /// Ends a connection of which packets may have been left out since its last one; answers whether it did.
    #[inline]
    fn end_if_shed(&mut self, slot: u32) -> bool {
        let connection = self.table.get_mut(slot);
        let Conversation { client, server, .. } = &connection.identity.conversation;
        if !self.shed.has_taken(client, server, connection.last_at()) {
            return false;
        }
        connection.leave_out(&mut self.resources, &mut self.recording);
        self.table.remove(slot);
        true
    }

    /// A segment of no connection begins one, if it is no copy.
    #[inline(never)]
    fn open_unless_copy(&mut self, known: &Known<'_>) {
        if self.recent.is_copy(known.print, known.at, false) {
            return self.resources.counters.count(Counter::Duplicates);
        }
        self.open(known);
    }

    /// A connection begins.
    fn open(&mut self, known: &Known<'_>) {
        let Known { sent, cut, at, direction, hash, key, vlans, .. } = known;
        self.recent.connection_begins(*at);
        let segment = &sent.segment(*cut);
        let may_swap = self.keying.ports.contains(key.client.port);
        let Some(mut connection) = Connection::open(segment, *direction, *at, key, *vlans, may_swap) else {
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
