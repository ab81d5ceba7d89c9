//! Times floors and resptap over the same frames, in turn, piece after piece of traffic that goes on: nothing is read twice by the
//! same state, and all of a piece is too much for the caches.

use std::io;
use std::time::Instant;

use resptap::counters::Counter;

use crate::generator::{Content, Facts, Generator, Plan, Profile};

use super::floors::{Floor, Floors};
use super::reader::{Mode, Reader};

/// Bytes of a piece: several times what the caches hold.
pub(super) const PIECE_BYTES: u64 = 128 << 20;
/// Frames that are made at once while connections are opened.
pub(super) const OPENING_FRAMES: usize = 250_000;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// A floor.
    Floor(Floor),
    /// resptap.
    Resptap(Mode),
}

impl Variant {
    /// As tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Floor(Floor::F0) => "F0",
            Variant::Floor(Floor::F1) => "F1",
            Variant::Floor(Floor::F2) => "F2",
            Variant::Floor(Floor::F3) => "F3",
            Variant::Resptap(Mode::Aggregate) => "A",
            Variant::Resptap(Mode::Records) => "R",
            Variant::Resptap(Mode::JsonLines) => "D",
        }
    }

    /// What its name says.
    pub fn named(name: &str) -> Option<Variant> {
        let floors = [Floor::F0, Floor::F1, Floor::F2, Floor::F3].map(Variant::Floor);
        let modes = [Mode::Aggregate, Mode::Records, Mode::JsonLines].map(Variant::Resptap);
        floors.into_iter().chain(modes).find(|variant| variant.name().eq_ignore_ascii_case(name))
    }
}

/// A variant at work.
#[expect(clippy::large_enum_variant, reason = "there are half a dozen of them")]
enum Work {
    Floor(Floors),
    Resptap(Reader),
}

impl Work {
    fn new(variant: Variant, plan: &Plan) -> io::Result<Work> {
        Ok(match variant {
            Variant::Floor(floor) => Work::Floor(Floors::new(floor, plan.connections as usize)),
            Variant::Resptap(mode) => Work::Resptap(Reader::new(mode, plan)?),
        })
    }

    fn read(&mut self, generator: &Generator) -> io::Result<()> {
        match self {
            Work::Floor(floors) => floors.read(generator.trace()),
            Work::Resptap(reader) => reader.read(generator.trace())?,
        }
        Ok(())
    }

    /// A measurement of work that was not done is worth nothing.
    fn check(&mut self, profile: Profile, facts: &Facts) -> io::Result<()> {
        match self {
            Work::Floor(floors) if floors.segments() != facts.happened.packets => Err(io::Error::other(format!(
                "{profile}: a floor found {} of {} segments",
                floors.segments(),
                facts.happened.packets
            ))),
            Work::Floor(_) => Ok(()),
            Work::Resptap(reader) => check(reader, profile, facts),
        }
    }
}

/// The same of resptap.
pub(super) fn check(reader: &mut Reader, profile: Profile, facts: &Facts) -> io::Result<()> {
    let Facts { happened, connections, requests, transactions, .. } = facts;
    let wrong = |what: String| Err(io::Error::other(format!("{profile}: {what}")));
    reader.settle()?;
    let counters = reader.counters();
    if counters[Counter::FramesAnalysed] != happened.packets {
        return wrong(format!("{} of {} frames were analysed", counters[Counter::FramesAnalysed], happened.packets));
    }
    let (paired, decided) = (reader.paired(), counters[Counter::Requests] - counters.pending());
    let emitted = counters[Counter::RecordsEmitted];
    if emitted > 0 && (emitted != decided || reader.records() != emitted) {
        return wrong(format!("{emitted} of {decided} records came out, {} arrived", reader.records()));
    }
    let plan = profile.plan();
    let is_whole = plan.faults.loss == 0.0 && !plan.joins && plan.content == Content::Commands;
    if is_whole && paired != *transactions {
        return wrong(format!("{paired} of {transactions} transactions were paired"));
    }
    // Where frames are missing only what is sure is paired, and how much that is, is told.
    if plan.faults.loss > 0.0 && paired < transactions / 20 {
        return wrong(format!("only {paired} of {transactions} transactions were paired"));
    }
    let found = counters[Counter::Requests];
    if plan.joins && found != *requests {
        return wrong(format!("{found} of {requests} requests were found"));
    }
    if is_whole && counters[Counter::ConnectionsOpened] + counters[Counter::ConnectionsMidstream] < *connections {
        return wrong(format!("there were {connections} connections"));
    }
    // What is hostile wants more memory than there is.
    if plan.content != Content::Hostile && reader.has_evicted() {
        return wrong("memory did not suffice: it is another workload that was measured".to_owned());
    }
    Ok(())
}

/// Times of a profile.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Frames in each round.
    pub packets: Vec<u64>,
    /// Requests that were answered in each round.
    pub transactions: Vec<u64>,
    /// Bytes of the frames in each round.
    pub bytes: Vec<u64>,
    /// Of each variant, what each round took, in nanoseconds.
    pub nanoseconds: Vec<Vec<u64>>,
    /// Of all requests that were answered, those that resptap paired, if it was measured.
    pub paired: Option<f64>,
}

/// Measures variants over a profile in so many rounds.
pub fn time(profile: Profile, variants: &[Variant], rounds: usize, seed: u64) -> io::Result<Timing> {
    let plan = profile.plan();
    let mut generator = Generator::new(&plan, seed);
    let mut works = variants.iter().map(|&variant| Work::new(variant, &plan)).collect::<io::Result<Vec<_>>>()?;
    while !generator.is_open() {
        generator.next(OPENING_FRAMES);
        works.iter_mut().try_for_each(|work| work.read(&generator))?;
    }
    let mut timing = Timing {
        packets: Vec::new(),
        transactions: Vec::new(),
        bytes: Vec::new(),
        nanoseconds: vec![Vec::new(); variants.len()],
        paired: None,
    };
    let mut packets = OPENING_FRAMES;
    // The first round warms up, and tells how long frames are.
    for round in 0..=rounds {
        let before = *generator.facts();
        generator.next(packets);
        let facts = *generator.facts();
        let bytes = facts.happened.bytes - before.happened.bytes;
        if round > 0 {
            timing.packets.push(facts.happened.packets - before.happened.packets);
            timing.transactions.push(facts.transactions - before.transactions);
            timing.bytes.push(bytes);
        }
        for turn in 0..works.len() {
            // Each comes first in turn.
            let number = (turn + round) % works.len();
            let began = Instant::now();
            works[number].read(&generator)?;
            let took = began.elapsed().as_nanos() as u64;
            if round > 0 {
                timing.nanoseconds[number].push(took);
            }
        }
        works.iter_mut().try_for_each(|work| work.check(profile, &facts))?;
        packets = (PIECE_BYTES * packets as u64 / bytes.max(1)) as usize;
    }
    timing.paired = works.iter().find_map(|work| match work {
        Work::Floor(_) => None,
        Work::Resptap(reader) => Some(reader.paired() as f64 / generator.facts().transactions.max(1) as f64),
    });
    Ok(timing)
}

/// What a counted run went through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Frames.
    pub packets: u64,
    /// Requests that were answered.
    pub transactions: u64,
    /// Most frames of a shard, by their mean; 1 of one.
    pub imbalance: f64,
    /// Resident memory that each shard takes, in bytes; of valgrind, where that counts.
    pub bytes_per_shard: f64,
}

/// Has a variant take `packets` frames of a profile within `counted`, for valgrind to count its instructions there, when its
/// connections have been opened and twice as many frames have warmed it up. With several shards each takes its own, and all of them
/// together that many times as many before: each has then had as many as a single one. A key is new to each of them, and a histogram
/// grows in each: where that is often, it is not their steady state.
pub fn count(profile: Profile, variant: Variant, packets: usize, shards: usize, seed: u64) -> io::Result<Counted> {
    let plan = profile.plan();
    let mut generator = Generator::new(&plan, seed);
    // Made before it is looked at, so that it is not taken for theirs.
    generator.next(OPENING_FRAMES);
    let resident = resident_bytes()?;
    let mut works = (0..shards).map(|_| Work::new(variant, &plan)).collect::<io::Result<Vec<_>>>()?;
    read_shards(&mut works, &generator, &deal(&generator, shards))?;
    while !generator.is_open() {
        generator.next(OPENING_FRAMES);
        read_shards(&mut works, &generator, &deal(&generator, shards))?;
    }
    for _ in 0..2 * (shards - 1) {
        // There is room for them already.
        generator.next(OPENING_FRAMES / 2);
        read_shards(&mut works, &generator, &deal(&generator, shards))?;
    }
    for _ in 0..shards {
        generator.next(2 * packets);
        read_shards(&mut works, &generator, &deal(&generator, shards))?;
    }
    let before = *generator.facts();
    generator.next(packets);
    let facts = *generator.facts();
    let dealt = deal(&generator, shards);
    counted(&mut works, &generator, &dealt)?;
    let grown = resident_bytes()?.saturating_sub(resident);
    if let [work] = &mut works[..] {
        work.check(profile, &facts)?;
    } else {
        check_shards(&mut works, profile, &facts)?;
    }
    let most = dealt.iter().map(Vec::len).max().unwrap_or(0);
    let packets = facts.happened.packets - before.happened.packets;
    Ok(Counted {
        packets,
        transactions: facts.transactions - before.transactions,
        imbalance: if shards == 1 { 1.0 } else { most as f64 * shards as f64 / packets as f64 },
        bytes_per_shard: grown as f64 / shards as f64,
    })
}

fn deal(generator: &Generator, shards: usize) -> Vec<Vec<u32>> {
    if shards == 1 { Vec::new() } else { super::reader::shards(generator.trace(), shards) }
}

/// What is counted.
#[inline(never)]
fn counted(works: &mut [Work], generator: &Generator, dealt: &[Vec<u32>]) -> io::Result<()> {
    std::hint::black_box(read_shards(works, generator, dealt))
}

fn read_shards(works: &mut [Work], generator: &Generator, dealt: &[Vec<u32>]) -> io::Result<()> {
    match works {
        [work] => work.read(generator),
        works => works.iter_mut().zip(dealt).try_for_each(|(work, places)| match work {
            Work::Resptap(reader) => reader.read_some(generator.trace(), places),
            Work::Floor(_) => Err(io::Error::other("floors have no shards")),
        }),
    }
}

fn check_shards(works: &mut [Work], profile: Profile, facts: &Facts) -> io::Result<()> {
    let paired: u64 = works.iter().map(|work| if let Work::Resptap(reader) = work { reader.paired() } else { 0 }).sum();
    if paired == facts.transactions {
        return Ok(());
    }
    Err(io::Error::other(format!("{profile}: shards paired {paired} of {} transactions", facts.transactions)))
}

/// Resident memory that each of so many connections takes that have had one transaction and then are silent, in bytes; half of
/// them over IPv6.
pub fn idle_bytes(connections: u32, seed: u64) -> io::Result<f64> {
    // Those that are there before it is looked at, so that what all of them share is, too.
    const FIRST: u32 = 20_000;
    // So few that the first have them all: statistics of keys are no connection's.
    const KEYS: u64 = 2_000;
    let connections = connections + FIRST;
    let plan = crate::generator::Plan { connections, keys: KEYS, ipv6: 0.5, in_flight: 1, ..Profile::T1.plan() };
    let mut generator = Generator::new(&plan, seed);
    let mut reader = Reader::new(Mode::Aggregate, &plan)?;
    let mut before = None;
    while !generator.is_open() {
        generator.next(50_000);
        reader.read(generator.trace())?;
        if before.is_none() && generator.facts().connections >= u64::from(FIRST) {
            before = Some((resident_bytes()?, generator.facts().connections));
        }
    }
    let (bytes, opened) = before.ok_or_else(|| io::Error::other("too few connections"))?;
    let grown = resident_bytes()?.saturating_sub(bytes);
    let facts = generator.facts();
    if reader.paired() != facts.transactions || reader.has_evicted() {
        return Err(io::Error::other(format!(
            "{} of {} transactions were paired",
            reader.paired(),
            facts.transactions
        )));
    }
    Ok(grown as f64 / (facts.connections - opened) as f64)
}

/// The resident memory of this process.
pub(super) fn resident_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}
