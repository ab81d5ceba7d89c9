//! What the capture shows of what passed the tap: packets lost, doubled, late, cut off; directions captured apart.

use std::ops::Range;

use crate::host::Packet;
use crate::random::{MILLISECOND, Random, Span};
use crate::world::{Exchange, World};

/// A frame of the capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sight {
    /// When it was captured.
    pub at: u64,
    /// Which of the world's packets it shows.
    pub packet: u32,
    /// It is a copy that has crossed a router.
    pub routed: bool,
}

/// The most by which the mirror is late.
const LATE_NS: Span = Span(10_000, 5 * MILLISECOND);
/// An adversary's mirror loses so many of the marked packets.
const MARKED_LOSS: f64 = 0.7;

/// The frames of the capture, in their order.
pub fn capture(world: &World) -> Vec<Sight> {
    let mirror = world.scenario.mirror;
    let random = &mut Random(world.scenario.seed ^ 0x0dd_ba11);
    let mut passed: Vec<(u64, u32)> =
        world.packets.iter().zip(0..).filter_map(|(packet, index)| Some((packet.at?, index))).collect();
    passed.sort_unstable();
    #[expect(clippy::cast_sign_loss, reason = "shares are not negative")]
    let place = |share: f64| (passed.len() as f64 * share) as usize;
    let (begins, ends) = (place(mirror.begins), place(mirror.ends));
    let mut sights = Vec::with_capacity(passed.len());
    let mut in_burst = false;
    for &(at, packet) in &passed[begins..ends.max(begins)] {
        let Packet { from_client, marked, .. } = world.packets[packet as usize];
        let direction = usize::from(!from_client);
        let loss = mirror.loss[direction];
        let is_lost = loss > 0.0 && in_burst || random.chance(loss) || marked && random.chance(MARKED_LOSS);
        if loss > 0.0 {
            in_burst = is_lost && random.chance(mirror.burst);
        }
        if is_lost {
            continue;
        }
        let late = |random: &mut Random| if random.chance(mirror.late) { random.magnitude(LATE_NS) } else { 0 };
        let at = at + mirror.skew[direction] + late(random);
        sights.push(Sight { at, packet, routed: false });
        if random.chance(mirror.copies) {
            let after = random.within(0, 200_000) + late(random);
            sights.push(Sight { at: at + after, packet, routed: mirror.routed });
        }
    }
    sights.sort_by_key(|sight| (sight.at, sight.packet));
    sights
}

/// A stretch of a stream, and when it was captured.
type Arrival = (Range<u64>, u64);

/// What of a world's streams can be seen in a capture.
#[derive(Debug)]
pub struct Coverage {
    /// By connection and direction: stretches that were seen, in order, apart from each other.
    seen: Vec<[Vec<Range<u64>>; 2]>,
    /// The same as they came: each stretch that is new, and when.
    arrivals: Vec<[Vec<Arrival>; 2]>,
    /// Directions in which something was sent again in other pieces: what was new in them, and when, is not kept.
    resent: Vec<[bool; 2]>,
}

impl Coverage {
    /// Of these frames.
    pub fn new(world: &World, sights: &[Sight]) -> Coverage {
        let mut seen = vec![[Vec::new(), Vec::new()]; world.links.len()];
        let mut arrivals = vec![[Vec::new(), Vec::new()]; world.links.len()];
        let mut resent = vec![[false; 2]; world.links.len()];
        for sight in sights {
            let packet = &world.packets[sight.packet as usize];
            let (link, direction) = (packet.link as usize, usize::from(!packet.from_client));
            let arrived: &mut Vec<Arrival> = &mut arrivals[link][direction];
            let overlaps = arrived.last().is_some_and(|(last, _)| packet.from < last.end);
            let is_copy = || arrived.iter().rev().any(|(seen, _)| *seen == (packet.from..packet.to()));
            resent[link][direction] |= packet.length > 0 && overlaps && !is_copy();
            if packet.length > 0 && arrived.last().is_none_or(|(last, _)| last.end < packet.to()) {
                arrived.push((packet.from..packet.to(), sight.at));
            }
            let stretches: &mut Vec<Range<u64>> = &mut seen[link][direction];
            match stretches.last_mut() {
                _ if packet.length == 0 => {}
                Some(last) if last.end == packet.from => last.end = packet.to(),
                _ => stretches.push(packet.from..packet.to()),
            }
        }
        for stretches in seen.iter_mut().flatten() {
            stretches.sort_unstable_by_key(|stretch| stretch.start);
            stretches.dedup_by(|next, last| {
                let touches = next.start <= last.end;
                if touches {
                    last.end = last.end.max(next.end);
                }
                touches
            });
        }
        Coverage { seen, arrivals, resent }
    }

    /// Whether all of a stretch was seen.
    pub fn shows(&self, link: usize, from_client: bool, stretch: &Range<u64>) -> bool {
        let seen = &self.seen[link][usize::from(!from_client)];
        let behind = seen.partition_point(|seen| seen.start <= stretch.start);
        behind > 0 && seen[behind - 1].end >= stretch.end
    }

    /// Whether it is known when each byte was seen first, where nothing comes late.
    pub fn is_timed(&self, link: usize) -> bool {
        self.resent[link] == [false; 2]
    }

    /// When a byte was seen first, where nothing comes late or again.
    pub fn seen_at(&self, link: usize, from_client: bool, byte: u64) -> Option<u64> {
        let arrivals = &self.arrivals[link][usize::from(!from_client)];
        let (stretch, at) = arrivals.get(arrivals.partition_point(|(stretch, _)| stretch.end <= byte))?;
        stretch.contains(&byte).then_some(*at)
    }

    /// Whether all of an exchange was seen, request and reply: loss did not touch it.
    pub fn shows_exchange(&self, link: usize, exchange: &Exchange) -> bool {
        self.shows(link, true, &exchange.request)
            && exchange.reply.as_ref().is_some_and(|reply| self.shows(link, false, reply))
    }
}
