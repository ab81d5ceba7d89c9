//! Runs a capture through resptap's connections, and holds every pair against the truth, by position: the request that was
//! paired must begin and end where a request did, the reply begin where its reply did, and both at the times at which those
//! bytes were captured.
//!
//! Connections are driven as a worker does it, but without records, so that millions of transactions take seconds.

use std::fmt::Write;

use resptap::capture::{Frame, LinkType};
use resptap::connection::{Arrived, Connection, Exchange as Told, Recorder, Resources, Settings};
use resptap::counters::{Counter, Counters};
use resptap::decode::ports::PortSet;
use resptap::decode::{Packet, decode};
use resptap::flow::hash::Seed;
use resptap::flow::key::FlowKey;
use resptap::limits::Budget;
use resptap::reassembly::duplicate::{Print, Recent};
use resptap::redis::command::CommandTable;
use resptap::redis::pairing::{Flags, Outcome, Reason, Resync};
use resptap::redis::possible::Possible;
use resptap::redis::request::Shown;
use resptap::redis::session::Acts;
use resptap::resp::parser;
use resptap::units::{Direction, Offset, Timestamp};

use crate::frame::{SERVER_PORT, frame};
use crate::mirror::{Coverage, Sight, capture};
use crate::mix::{Answer, Kind};
use crate::random::{MILLISECOND, SECOND};
use crate::scenario::Scenario;
use crate::world::{Exchange, FIRST_PORT, Link, World};

/// Bytes of `+QUEUED`.
const QUEUED_BYTES: u64 = 9;
/// Wrong pairs that are described.
const DESCRIBED_MAX: usize = 20;

/// What resptap made of a capture.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Requests that were answered, in truth.
    pub answered: u64,
    /// Of these, those that loss did not touch.
    pub untouched: u64,
    /// Pairs, all right.
    pub paired: u64,
    /// Those of them that loss did not touch.
    pub paired_untouched: u64,
    /// Pairs that are wrong.
    pub wrong: u64,
    /// The first of them.
    pub wrongs: Vec<Wrong>,
    /// By connection: replies that were seen before the first was paired.
    pub joined_after: Vec<Option<u64>>,
    /// Breaches of the laws of the counters.
    pub breaches: Vec<String>,
    /// What resptap counted.
    pub counters: Counters,
    /// What it told, in order, if that was wanted.
    pub log: Vec<Line>,
}

/// What resptap told of a request.
#[derive(Clone, Debug)]
pub struct Line {
    /// When.
    pub at: u64,
    /// Of which connection.
    pub link: usize,
    /// What.
    pub text: String,
}

/// A pair that is wrong.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// The scenario's seed.
    pub seed: u64,
    /// Which connection, from 0.
    pub link: usize,
    /// The request, if it was one.
    pub exchange: Option<usize>,
    /// When resptap was sure of it.
    pub at: u64,
    /// What is wrong.
    pub what: String,
}

impl Verdict {
    /// The share of the transactions that loss did not touch that were paired, in percent.
    pub fn share(&self) -> f64 {
        100.0 * self.paired_untouched as f64 / (self.untouched as f64).max(1.0)
    }

    /// Adds another's numbers.
    pub fn add(&mut self, other: Verdict) {
        self.answered += other.answered;
        self.untouched += other.untouched;
        self.paired += other.paired;
        self.paired_untouched += other.paired_untouched;
        self.wrong += other.wrong;
        self.wrongs.extend(other.wrongs);
        self.wrongs.truncate(DESCRIBED_MAX);
        self.joined_after.extend(other.joined_after);
        self.breaches.extend(other.breaches);
        self.counters.merge(&other.counters);
    }
}

/// Simulates a scenario, and judges what resptap makes of its capture.
pub fn judge(scenario: &Scenario, resync: Resync) -> Verdict {
    let world = World::run(scenario);
    judge_capture(&world, &capture(&world), resync, false)
}

/// Judges what resptap makes of a capture. `logs`: what it tells is kept.
pub fn judge_capture(world: &World, sights: &[Sight], resync: Resync, logs: bool) -> Verdict {
    let coverage = Coverage::new(world, sights);
    let mut bench = Bench::new(world, &coverage, resync, logs);
    let mut bytes = Vec::new();
    let mut next_tick = 0;
    for sight in sights {
        // Deadlines are decided by the capture's times, whenever they are looked at: once a second, as a worker does.
        if sight.at >= next_tick {
            bench.tick(Timestamp(sight.at - sight.at % SECOND));
            next_tick = sight.at - sight.at % SECOND + SECOND;
        }
        let wire_len = frame(world, sight, &mut bytes);
        bench.frame(&Frame { bytes: &bytes, wire_len, at: Timestamp(sight.at), link: LinkType::Ethernet });
    }
    bench.finish(sights.last().map_or(0, |sight| sight.at))
}

fn settings(resync: Resync) -> Settings {
    let table = CommandTable::built_in();
    Settings {
        table,
        acts: Acts::new(table),
        possible: Possible::new(table),
        shown: Shown { keys: true, payload_bytes: 0 },
        timeout_ns: 30 * SECOND,
        idle_timeout_ns: 3600 * SECOND,
        resync,
        resync_silence_ns: 2 * SECOND,
        reorder_time_ns: 50 * MILLISECOND,
        reorder_packets: 128,
    }
}

/// Connections, and who is told what became of their requests.
struct Bench<'a> {
    /// By number.
    connections: Vec<Option<Connection>>,
    resources: Resources,
    recent: Recent,
    ports: PortSet,
    clerk: Clerk<'a>,
}

impl<'a> Bench<'a> {
    fn new(world: &'a World, coverage: &'a Coverage, resync: Resync, logs: bool) -> Bench<'a> {
        let mut verdict = Verdict { joined_after: vec![None; world.links.len()], ..Verdict::default() };
        for (link, of) in world.links.iter().enumerate() {
            for exchange in of.exchanges.iter().filter(|exchange| exchange.reply.is_some()) {
                verdict.answered += 1;
                verdict.untouched += u64::from(coverage.shows_exchange(link, exchange));
            }
        }
        let pairs = world.links.iter().map(|link| vec![false; link.exchanges.len()]).collect();
        Bench {
            connections: world.links.iter().map(|_| None).collect(),
            resources: Resources::new(settings(resync), &Budget::new(512 << 20, 1)),
            recent: Recent::default(),
            ports: PortSet::new([SERVER_PORT]),
            clerk: Clerk { world, coverage, pairs, told: 0, now: 0, logs, verdict },
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        self.clerk.now = frame.at.0;
        self.resources.counters.count(Counter::FramesSeen);
        let packet = decode(frame).expect("the simulation makes frames that can be decoded");
        let (key, direction) = FlowKey::of(&packet, &self.ports).expect("its port is a server's");
        self.resources.counters.count(Counter::FramesAnalysed);
        self.arrive(&packet, direction, frame.at, key);
    }

    /// As a worker brings a segment to its connection.
    fn arrive(&mut self, packet: &Packet<'_>, direction: Direction, at: Timestamp, key: FlowKey) {
        let Bench { connections, resources, recent, clerk, .. } = self;
        let place = &mut connections[link_of(key.client.port)];
        let print = Print::of(packet.tcp.mark(), direction, key.hash(Seed::fixed(0)));
        if let Some(connection) = place {
            if connection.arrive(&packet.tcp.sent(), packet.tcp.cut, direction, at, &print, recent, resources, clerk)
                != Arrived::Unusual
                || connection.arrive_unusually(packet, direction, at, resources, clerk)
            {
                return;
            }
            *place = None;
        } else if recent.is_copy(print, at, false) {
            return resources.counters.count(Counter::Duplicates);
        }
        recent.connection_begins(at);
        let Some(mut connection) = Connection::open(packet, direction, at, &key, [0; 2], false) else {
            return resources.counters.count(Counter::Stray);
        };
        resources.counters.count(connection.opened_counter());
        connection.segment(packet, direction, at, resources, clerk);
        *place = Some(connection);
    }

    fn tick(&mut self, now: Timestamp) {
        let Bench { connections, resources, clerk, .. } = self;
        clerk.now = now.0;
        for connection in connections.iter_mut().flatten() {
            connection.tick(now, resources, clerk);
        }
    }

    fn finish(mut self, at: u64) -> Verdict {
        self.tick(Timestamp(at));
        let Bench { connections, resources, clerk, .. } = &mut self;
        for connection in connections.iter_mut().flatten() {
            connection.close(Reason::CaptureEnd, resources, clerk);
        }
        let told = self.clerk.told;
        let mut verdict = self.clerk.verdict;
        verdict.breaches = breaches(&self.resources, told);
        verdict.counters = self.resources.counters;
        verdict
    }
}

/// The laws of the summary: everything is counted, and once.
fn breaches(resources: &Resources, told: u64) -> Vec<String> {
    use Counter as C;
    let counters = &resources.counters;
    let others = counters.sum("replies", "unsolicited.") + counters.sum("replies", "discarded.");
    let paired = counters[C::RequestsExact] + counters[C::RequestsResynced] + counters[C::RequestsLate];
    let laws = [
        ("frames: seen = analysed + skipped", counters[C::FramesSeen], counters[C::FramesAnalysed]),
        ("replies: total = paired + others", counters[C::Replies], counters[C::RepliesPaired] + others),
        ("requests: none is pending at the end", counters.pending(), 0),
        ("requests: each is told once, late ones twice", counters[C::Requests] + counters[C::RequestsLate], told),
        ("nothing of the pools is in use at the end", u64::from(resources.in_use()), 0),
        // QUEUED is paired with its command, whatever becomes of that.
        ("pairs: no more requests than replies", paired.max(counters[C::RepliesPaired]), counters[C::RepliesPaired]),
    ];
    let broken = laws.iter().filter(|(_, some, other)| some != other);
    broken.map(|(law, some, other)| format!("{law}: {some} is not {other}")).collect()
}

/// Compares what is told with the truth.
struct Clerk<'a> {
    world: &'a World,
    coverage: &'a Coverage,
    /// By connection and exchange: it was paired.
    pairs: Vec<Vec<bool>>,
    told: u64,
    now: u64,
    logs: bool,
    verdict: Verdict,
}

/// Which connection a client's port is of.
fn link_of(port: u16) -> usize {
    usize::from(port - FIRST_PORT)
}

/// Where a position of resptap's is in its stream.
fn place(offset: Offset, isn: u32) -> u64 {
    u64::from((offset.0 as u32).wrapping_sub(isn.wrapping_add(1)))
}

impl Recorder for Clerk<'_> {
    fn decided(&mut self, told: &Told<'_>, _counters: &mut Counters) {
        self.told += 1;
        let world = self.world;
        let link = link_of(told.identity.conversation.client.port);
        let of = &world.links[link];
        let begin = place(told.request.begin, of.isn[0]);
        let exchange = of.exchanges.binary_search_by_key(&begin, |exchange| exchange.request.start).ok();
        let is_claim = told.outcome().is_paired() || told.outcome() == Outcome::NoReply;
        if self.logs {
            self.log(told, link, exchange);
        }
        if !is_claim {
            return;
        }
        let fault = match exchange {
            None => Some(format!("at {begin} no request begins")),
            Some(at) => fault(told, of, at).or_else(|| self.wrong_time(told, link, &of.exchanges[at])),
        };
        let fault = fault.or_else(|| {
            let is_new = exchange.is_none_or(|at| !std::mem::replace(&mut self.pairs[link][at], true));
            (!is_new).then(|| "it is paired twice".to_owned())
        });
        match fault {
            Some(what) => self.wrong(told, link, exchange, &what),
            None if told.outcome().is_paired() => self.right(link, &of.exchanges[exchange.unwrap_or_default()]),
            None => {}
        }
    }
}

impl Clerk<'_> {
    /// Whether a time of a pair is not that at which its byte was captured. Told where nothing comes late or again.
    fn wrong_time(&self, told: &Told<'_>, link: usize, exchange: &Exchange) -> Option<String> {
        let Scenario { network, mirror, .. } = self.world.scenario;
        let in_order = network.loss == 0.0 && network.late == 0.0 && mirror.late == 0.0 && mirror.snap == u32::MAX;
        let (Answer::Reply(_), Some(facts), Some(reply)) = (exchange.answer, told.reply, &exchange.reply) else {
            return None;
        };
        if !in_order || !self.coverage.is_timed(link) || told.request.flags.has(Flags::GAP) {
            return None;
        }
        let request = &exchange.request;
        let times = [
            ("t1", told.request.t1, true, request.start),
            ("t2", told.request.t2, true, request.end - 1),
            ("t3", facts.t3, false, reply.start),
            ("t4", facts.t4, false, reply.end - 1),
        ];
        times.into_iter().find_map(|(name, time, from_client, byte)| {
            let seen_at = self.coverage.seen_at(link, from_client, byte);
            let differs = seen_at != Some(time.0);
            differs.then(|| format!("{name} is {}, but its byte was captured at {seen_at:?}", time.0))
        })
    }

    fn right(&mut self, link: usize, exchange: &Exchange) {
        let verdict = &mut self.verdict;
        verdict.paired += 1;
        verdict.paired_untouched += u64::from(self.coverage.shows_exchange(link, exchange));
        if verdict.joined_after[link].is_none() {
            let Some(reply) = &exchange.reply else { return };
            // Replies of which all was seen, up to this one.
            let replies = self.world.links[link].exchanges.iter().filter_map(|exchange| exchange.reply.as_ref());
            let before = replies.take_while(|before| before.start < reply.start);
            let seen = before.filter(|before| self.coverage.shows(link, false, before));
            verdict.joined_after[link] = Some(seen.count() as u64);
        }
    }

    fn wrong(&mut self, told: &Told<'_>, link: usize, exchange: Option<usize>, what: &str) {
        let verdict = &mut self.verdict;
        verdict.wrong += 1;
        if verdict.wrongs.len() < DESCRIBED_MAX {
            let what = format!("{:?}: {what}", told.outcome());
            verdict.wrongs.push(Wrong { seed: self.world.scenario.seed, link, exchange, at: self.now, what });
        }
    }

    fn log(&mut self, told: &Told<'_>, link: usize, exchange: Option<usize>) {
        let Link { isn, exchanges, .. } = &self.world.links[link];
        let number = |number: Option<usize>| number.map_or("none".to_owned(), |number| number.to_string());
        let request = place(told.request.begin, isn[0]);
        let mut text = format!("request {} at {request} {:?}", number(exchange), told.outcome());
        if let Some(reply) = told.reply {
            let begin = place(reply.begin, isn[1]);
            let begins = |exchange: &Exchange| exchange.reply.is_some() && exchange.last_reply == begin;
            let whose = exchanges.iter().position(begins);
            let _ = write!(text, " {:?} at {begin}, which answers {}", reply.kind, number(whose));
        }
        self.verdict.log.push(Line { at: self.now, link, text });
    }
}

/// What is wrong with a pair (or with the claim that there is no reply).
fn fault(told: &Told<'_>, link: &Link, at: usize) -> Option<String> {
    let exchange = &link.exchanges[at];
    let end = place(told.request.end, link.isn[0]);
    // Of what the capture lost parts of, it may not be known where it ends.
    let is_whole = !told.request.flags.has(Flags::GAP);
    if is_whole && end != exchange.request.end {
        return Some(format!("its request ends at {end}, not at {}", exchange.request.end));
    }
    let Some(reply) = told.reply else {
        return (told.outcome() == Outcome::NoReply && exchange.is_answered()).then(|| "it has a reply".to_owned());
    };
    let begin = place(reply.begin, link.isn[1]);
    let own = exchange.reply.as_ref();
    // What a queued command is answered by EXEC, or was answered in the end.
    let executed_by = exchange.executed_by.and_then(|at| link.exchanges[at].reply.as_ref());
    let (expected, kind, bytes) = match (exchange.answer, own) {
        (Answer::Silence, _) | (_, None) => return Some("it has no reply".to_owned()),
        (Answer::Reply(kind), Some(own)) => (exchange.last_reply, kind, own.end - own.start),
        (Answer::Queued(kind), Some(_)) => match executed_by {
            Some(exec) => (exec.start, kind, QUEUED_BYTES),
            None => return Some("it was never executed".to_owned()),
        },
    };
    if begin != expected {
        return Some(format!("its reply begins at {begin}, not at {expected}"));
    }
    let is_discarded = told.request.flags.has(Flags::NOT_EXECUTED);
    if !is_discarded && kind_of(reply.kind) != Some(kind) {
        return Some(format!("its reply is {:?}, not {kind:?}", reply.kind));
    }
    (is_whole && reply.bytes != bytes).then(|| format!("its reply has {} bytes, not {bytes}", reply.bytes))
}

fn kind_of(kind: parser::Kind) -> Option<Kind> {
    use parser::Kind as K;
    Some(match kind {
        K::Simple => Kind::Simple,
        K::Error => Kind::Error,
        K::Integer => Kind::Integer,
        K::Bulk => Kind::Bulk,
        K::Null => Kind::Null,
        K::Array => Kind::Array,
        K::Map => Kind::Map,
        K::Set => Kind::Set,
        K::Double => Kind::Double,
        K::Push => Kind::Push,
        _ => return None,
    })
}
