//! Traffic for measurements: millions of packets, fast, the same for the same seed, with the truth beside them.
//!
//! Unlike [`crate::world`], which simulates what hosts and networks do, this is a straight line of code that composes frames into
//! an arena ([`Trace`]). Connections take turns by chance, so that neither their beginnings nor their packets come in an order that
//! flatters a table. The arena is filled piece by piece ([`Generator::next`]), so that traffic may be longer than memory.

mod files;
mod messages;
mod plan;
mod truth;
mod wire;

pub use files::{Format, write};
pub use plan::{Command, Commands, Content, Faults, Plan, Profile, Sizes, Tunnel};
pub use truth::Exchange;
pub use wire::{Happened, Trace};

use crate::random::Random;
use crate::tcp::{ACK, FIN, PSH, SYN};

use messages::Drawn;
use wire::{Ends, Numbers, Sent, Wire};

/// Ports of a client, from 1024 on, that are used in turn.
const PORTS: u64 = 64_000;
/// Connections of a client, if there are not too many clients.
const CONNECTIONS_PER_CLIENT: u32 = 100;
/// Most clients.
const CLIENTS_MAX: u32 = 4000;

/// A connection.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Of all that ever were.
    number: u32,
    /// Next sequence numbers of client and server.
    next: [u32; 2],
    /// Transactions until it is closed.
    left: u32,
    /// Frames that had been captured when one of its own was last lost or late, modulo 2³².
    faulty_at: u32,
    is_ipv6: bool,
    is_resp3: bool,
    /// It waits for replies.
    is_waiting: bool,
}

/// Requests that were sent at once, and wait for their replies.
#[derive(Debug)]
struct Burst {
    link: u32,
    depth: usize,
    /// From which they were drawn.
    seed: u64,
    is_hello: bool,
    /// Their requests are not in the capture.
    is_earlier: bool,
    /// Of each its truth, if that is kept.
    exchanges: Vec<Exchange>,
}

/// What was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Frames.
    pub happened: Happened,
    /// Connections.
    pub connections: u64,
    /// Requests.
    pub requests: u64,
    /// Those of them that were answered.
    pub transactions: u64,
    /// Replies to requests from before the capture.
    pub earlier_replies: u64,
    /// What was pushed between replies.
    pub pushes: u64,
    /// Bytes that are no requests and replies (T9).
    pub hostile_bytes: u64,
}

/// Makes traffic.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    random: Random,
    wire: Wire,
    links: Vec<Link>,
    clients: u32,
    bursts: Vec<Burst>,
    facts: Facts,
    /// Requests that are to be made, or frames where there are none.
    limit: u64,
    /// The truth is kept.
    keeps_truth: bool,
    truth: Vec<Exchange>,
    /// A burst's bytes, before they are cut into segments.
    message: Vec<u8>,
    /// Where in them each request or reply ends.
    ends: Vec<usize>,
    sent: Vec<Sent>,
}

impl Generator {
    /// Makes traffic by a plan, without end.
    pub fn new(plan: &Plan, seed: u64) -> Generator {
        // Touched at once, so that what is measured meanwhile is not disturbed by it.
        let mut links = vec![Link { is_waiting: true, ..Link::default() }; plan.connections as usize];
        links.clear();
        Generator {
            random: Random(seed),
            wire: Wire::new(plan, seed),
            links,
            clients: (plan.connections / CONNECTIONS_PER_CLIENT).clamp(1, CLIENTS_MAX),
            bursts: Vec::new(),
            facts: Facts::default(),
            limit: u64::MAX,
            keeps_truth: false,
            truth: Vec::new(),
            message: Vec::new(),
            ends: Vec::new(),
            sent: Vec::new(),
            plan: plan.clone(),
        }
    }

    /// So many requests are made, and no more; of traffic without requests (T7, T9) about so many frames.
    #[must_use]
    pub fn with_limit(self, requests: u64) -> Generator {
        Generator { limit: requests, ..self }
    }

    /// The truth is kept until it is taken ([`Generator::take_truth`]).
    #[must_use]
    pub fn with_truth(self) -> Generator {
        Generator { keeps_truth: true, ..self }
    }

    /// The next frames: `packets` or a few more, fewer only at the end, where there are none.
    pub fn next(&mut self, packets: usize) -> &Trace {
        self.wire.trace.clear();
        while self.wire.trace.len() < packets && self.step() {}
        self.wire.settle();
        self.facts.happened = self.wire.happened;
        &self.wire.trace
    }

    /// Whether all connections have been opened: from then on all are open at the same time.
    pub fn is_open(&self) -> bool {
        self.links.len() == self.plan.connections as usize
    }

    /// What was made so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The frames that [`Generator::next`] made last.
    pub fn trace(&self) -> &Trace {
        &self.wire.trace
    }

    /// The truth about what was answered since it was last taken.
    pub fn take_truth(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.truth)
    }

    /// Something happens; answers whether anything did.
    fn step(&mut self) -> bool {
        let may_ask = self.facts.requests < self.limit;
        if !self.is_open() && may_ask {
            let link = self.links.len() as u32;
            let begun = self.begin();
            self.links.push(begun);
            self.join(link);
            return true;
        }
        match self.plan.content {
            Content::Commands if may_ask && self.bursts.len() < self.in_flight() => {
                let link = self.idle_link();
                self.ask(link);
            }
            Content::Commands | Content::Acks | Content::Hostile if !self.bursts.is_empty() => {
                let burst = self.random.within(0, self.bursts.len() as u64) as usize;
                self.answer(burst);
            }
            Content::Commands => return false,
            Content::Acks | Content::Hostile if self.wire.happened.packets >= self.limit => return false,
            Content::Acks => self.acknowledge(),
            Content::Hostile => self.annoy(),
        }
        true
    }

    fn in_flight(&self) -> usize {
        self.plan.in_flight.min(self.plan.connections / 2).max(1) as usize
    }

    fn any_link(&mut self) -> u32 {
        self.random.within(0, self.links.len() as u64) as u32
    }

    fn idle_link(&mut self) -> u32 {
        loop {
            let link = self.any_link();
            if !self.links[link as usize].is_waiting {
                return link;
            }
        }
    }

    fn ends(&self, link: &Link) -> Ends {
        Ends {
            client: link.number % self.clients,
            port: 1024 + (u64::from(link.number / self.clients) % PORTS) as u16,
            server: link.number % self.plan.servers,
            is_ipv6: link.is_ipv6,
        }
    }

    /// A new connection.
    fn begin(&mut self) -> Link {
        let random = &mut self.random;
        let number = self.facts.connections as u32;
        self.facts.connections += 1;
        let bits = random.bits();
        let is_ipv6 = random.chance(self.plan.ipv6);
        Link {
            number,
            next: [bits as u32, (bits >> 32) as u32],
            // So that not all that began together end together.
            left: if self.plan.lifetime == 0 { 0 } else { random.within(1, 2 * u64::from(self.plan.lifetime)) as u32 },
            is_ipv6,
            is_resp3: random.chance(self.plan.resp3),
            is_waiting: false,
            // Long ago.
            faulty_at: (self.wire.happened.packets as u32).wrapping_sub(u32::MAX / 2),
        }
    }

    /// What of a connection's beginning is in the capture, up to its first reply; replies of a connection that has taken another's
    /// place come in their turn.
    fn join(&mut self, link: u32) {
        if self.plan.joins {
            if self.random.chance(0.5) {
                self.ask_unseen(link);
                self.answer(self.bursts.len() - 1);
            }
            return;
        }
        let [client, server] = self.links[link as usize].next;
        let begins = |seq: u32, ack, flags| Numbers { seq: seq.wrapping_sub(1), ack, flags };
        self.send(link, true, begins(client, 0, SYN));
        self.send(link, false, begins(server, client, SYN | ACK));
        self.send(link, true, Numbers { seq: client, ack: server, flags: ACK });
        if self.links[link as usize].is_resp3 {
            self.burst(link, 1, true);
            self.answer(self.bursts.len() - 1);
        }
        // Acknowledgements alone would not be worth a connection.
        self.ask(link);
        self.answer(self.bursts.len() - 1);
    }

    /// A segment without data.
    fn send(&mut self, link: u32, from_client: bool, numbers: Numbers) -> Sent {
        let ends = self.ends(&self.links[link as usize]);
        self.wire.segment(&ends, from_client, numbers, &[])
    }

    fn ask(&mut self, link: u32) {
        let depth = self.plan.pipeline.draw(&mut self.random).max(1);
        self.burst(link, depth, false);
    }

    /// Requests from before the capture: only their replies will be in it.
    fn ask_unseen(&mut self, link: u32) {
        let seed = self.random.bits();
        self.links[link as usize].is_waiting = true;
        let burst = Burst { link, depth: 1, seed, is_hello: false, is_earlier: true, exchanges: Vec::new() };
        self.bursts.push(burst);
    }

    fn burst(&mut self, link: u32, depth: usize, is_hello: bool) {
        let seed = self.random.bits();
        self.message.clear();
        self.ends.clear();
        let mut exchanges = Vec::new();
        let mut random = Random(seed);
        for _ in 0..depth {
            let drawn = if is_hello { Drawn::hello() } else { Drawn::draw(&self.plan, &mut random) };
            let from = self.message.len();
            drawn.request(&mut self.message);
            self.ends.push(self.message.len());
            if self.keeps_truth {
                let ends = self.ends(&self.links[link as usize]);
                let bytes = self.message.len() - from;
                exchanges.push(Exchange::asked(drawn.command, drawn.key, ends, bytes));
            }
        }
        self.facts.requests += depth as u64;
        let is_whole = self.cut(link, true);
        let mut from = 0;
        for (exchange, &to) in exchanges.iter_mut().zip(&self.ends) {
            (exchange.t1, exchange.t2) = self.times(from, to);
            exchange.is_whole = is_whole;
            from = to;
        }
        self.links[link as usize].is_waiting = true;
        self.bursts.push(Burst { link, depth, seed, is_hello, is_earlier: false, exchanges });
    }

    /// A burst is answered.
    fn answer(&mut self, burst: usize) {
        let Burst { link, depth, seed, is_hello, is_earlier, mut exchanges } = self.bursts.swap_remove(burst);
        self.message.clear();
        self.ends.clear();
        let is_resp3 = self.links[link as usize].is_resp3;
        let mut random = Random(seed);
        if is_resp3 && !is_hello && self.random.chance(self.plan.pushes) {
            messages::push(self.random.within(0, self.plan.keys), &mut self.message);
            self.facts.pushes += 1;
        }
        let pushed = self.message.len();
        for _ in 0..depth {
            let drawn = if is_hello { Drawn::hello() } else { Drawn::draw(&self.plan, &mut random) };
            drawn.reply(is_resp3, &mut self.message);
            self.ends.push(self.message.len());
        }
        if is_earlier {
            self.facts.earlier_replies += depth as u64;
        } else {
            self.facts.transactions += depth as u64;
        }
        let is_whole = self.cut(link, false);
        let mut from = pushed;
        for (exchange, &to) in exchanges.iter_mut().zip(&self.ends) {
            (exchange.t3, exchange.t4) = self.times(from, to);
            exchange.is_whole &= is_whole;
            exchange.reply_bytes = (to - from) as u32;
            from = to;
        }
        self.truth.append(&mut exchanges);
        let ended = &mut self.links[link as usize];
        ended.is_waiting = false;
        if self.plan.lifetime > 0 {
            ended.left = ended.left.saturating_sub(depth as u32);
            if ended.left == 0 {
                self.replace(link);
            }
        }
    }

    /// Sends the burst's bytes, in segments. Answers whether they are in the capture, each where it belongs, and none that was sent
    /// shortly before them may come after them.
    fn cut(&mut self, link: u32, from_client: bool) -> bool {
        let own = usize::from(!from_client);
        let ends = self.ends(&self.links[link as usize]);
        let Generator { links, wire, message, sent, plan, .. } = self;
        let link = &mut links[link as usize];
        sent.clear();
        let mut is_whole = (wire.happened.packets as u32).wrapping_sub(link.faulty_at) > 2 * plan::LATE_FRAMES as u32;
        let segments = message.len().div_ceil(plan.segment_bytes);
        for (number, payload) in message.chunks(plan.segment_bytes).enumerate() {
            let is_last = number + 1 == segments;
            let flags = if is_last { PSH | ACK } else { ACK };
            let numbers = Numbers { seq: link.next[own], ack: link.next[1 - own], flags };
            let segment = wire.segment(&ends, from_client, numbers, payload);
            if !segment.in_order {
                is_whole = false;
                link.faulty_at = wire.happened.packets as u32;
            }
            sent.push(segment);
            link.next[own] = link.next[own].wrapping_add(payload.len() as u32);
            if plan.acks && segments > 1 && (is_last || number % 2 == 1) {
                let numbers = Numbers { seq: link.next[1 - own], ack: link.next[own], flags: ACK };
                wire.segment(&ends, !from_client, numbers, &[]);
            }
        }
        is_whole
    }

    /// When the first and the last of these bytes of the burst passed the mirror port.
    fn times(&self, from: usize, to: usize) -> (u64, u64) {
        let at = |place: usize| self.sent[place / self.plan.segment_bytes].at;
        (at(from), at(to - 1))
    }

    /// A connection is closed, and another one begins in its place.
    fn replace(&mut self, link: u32) {
        let [client, server] = self.links[link as usize].next;
        self.send(link, true, Numbers { seq: client, ack: server, flags: FIN | ACK });
        self.send(link, false, Numbers { seq: server, ack: client.wrapping_add(1), flags: FIN | ACK });
        let (seq, ack) = (client.wrapping_add(1), server.wrapping_add(1));
        self.send(link, true, Numbers { seq, ack, flags: ACK });
        if self.facts.requests < self.limit {
            self.links[link as usize] = self.begin();
            self.join(link);
        }
    }

    /// A pure acknowledgement.
    fn acknowledge(&mut self) {
        let link = self.any_link();
        let from_client = self.random.chance(0.5);
        let own = usize::from(!from_client);
        let next = self.links[link as usize].next;
        self.send(link, from_client, Numbers { seq: next[own], ack: next[1 - own], flags: ACK });
    }

    /// A segment that is made to be hard to parse.
    fn annoy(&mut self) {
        let link = self.any_link();
        let from_client = self.random.chance(0.5);
        self.message.clear();
        messages::hostile(&mut self.random, &mut self.message);
        self.facts.hostile_bytes += self.message.len() as u64;
        self.cut(link, from_client);
    }
}
