//! The simulation: an event queue, hosts and the network between them. Clients are in `client`, the server in `server`.
//!
//! What comes out ([`World::run`]) is every packet with the time at which it passed the tap, and the truth: which bytes of
//! which stream are which request, and which reply answers it. The same scenario gives the same world, bit by bit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use crate::client::Asking;
use crate::host::{Acknowledge, Host, NEVER, Packet};
use crate::mix::{self, Answer, Mode};
use crate::random::{MICROSECOND, MILLISECOND, Random, SECOND, Span};
use crate::scenario::{Client, Scenario};
use crate::tcp::{ACK, FIN, PSH, RST, SYN};

/// When all of this happens.
pub const EPOCH: u64 = 1_795_348_800 * SECOND;

/// Port of the first client; the others have the next ones.
pub const FIRST_PORT: u16 = 20_000;

/// Which of a connection's hosts.
pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

/// A request and its reply, as they really were.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The command.
    pub command: &'static str,
    /// Where the request is in its stream.
    pub request: Range<u64>,
    /// How it is answered.
    pub answer: Answer,
    /// Where the reply is in its stream; `None`: there is none, or it had not been written at the end.
    pub reply: Option<Range<u64>>,
    /// Of a queued command: which exchange executed or discarded it.
    pub executed_by: Option<usize>,
    /// Where the last reply is, of several.
    pub last_reply: u64,
    /// The number of its token.
    pub number: u32,
    /// Messages of subscriptions may come before its reply.
    listens: bool,
    /// Which of its client's threads asked.
    pub(crate) thread: u32,
    /// Where the reply is in the store of those made up.
    made: Range<usize>,
}

impl Exchange {
    /// Whether a reply of its own is due.
    pub fn is_answered(&self) -> bool {
        self.answer != Answer::Silence
    }
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// The client's port.
    pub port: u16,
    /// Initial sequence numbers of client and server.
    pub isn: [u32; 2],
    /// What was asked and answered, in order.
    pub exchanges: Vec<Exchange>,
    pub(crate) hosts: [Host; 2],
    pub(crate) asking: Asking,
    /// Exchanges that the server has executed.
    pub(crate) executed: usize,
    /// Replies that are made up, to be written.
    replies: Vec<u8>,
    mode: Mode,
}

impl Link {
    /// All bytes of a direction.
    pub fn stream(&self, from_client: bool) -> &[u8] {
        &self.hosts[usize::from(!from_client)].stream
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// A packet reaches its host.
    Arrive(u32),
    /// A host's timers are due.
    Timer(u32, usize),
    /// A client's thread asks.
    Ask(u32, u32),
    /// A client asks again if its last request is still this one and still open.
    Insist(u32, u32),
    /// A client reads again.
    Wake(u32),
    /// The server looks for requests.
    Serve,
    /// The server's replies to this connection leave.
    Flush(u32, u64),
    /// A connection has nothing more to say.
    Close(u32),
}

/// A simulated scene.
#[derive(Debug)]
pub struct World {
    /// What is simulated.
    pub scenario: Scenario,
    /// Its connections.
    pub links: Vec<Link>,
    /// Every packet, in the order in which they were sent.
    pub packets: Vec<Packet>,
    pub(crate) random: Random,
    pub(crate) now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    pub(crate) server_free_at: u64,
    pub(crate) server_wakes: bool,
    numbers: u32,
    /// The packets that leave now are an adversary's target.
    pub(crate) marks: bool,
}

impl World {
    /// Simulates a scene to its end.
    pub fn run(scenario: &Scenario) -> World {
        let mut world = World {
            scenario: *scenario,
            links: Vec::new(),
            packets: Vec::new(),
            random: Random(scenario.seed),
            now: EPOCH,
            events: BinaryHeap::new(),
            scheduled: 0,
            server_free_at: 0,
            server_wakes: false,
            numbers: 0,
            marks: false,
        };
        for link in 0..scenario.traffic.connections {
            world.open(link);
        }
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            world.now = at;
            world.happen(event);
        }
        world
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(packet) => self.arrive(packet),
            Event::Timer(link, side) => self.timer(link, side),
            Event::Ask(link, thread) => self.ask(link, thread),
            Event::Insist(link, sent) => self.insist(link, sent),
            Event::Wake(link) => self.wake_client(link),
            Event::Serve => self.serve(),
            Event::Flush(link, to) => self.flush(link, to),
            Event::Close(link) => self.close(link),
        }
    }

    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    pub(crate) fn link(&mut self, link: u32) -> &mut Link {
        &mut self.links[link as usize]
    }

    /// The handshake.
    fn open(&mut self, link: u32) {
        let Scenario { traffic, server, network, .. } = self.scenario;
        let isn = [self.random.bits() as u32, self.random.bits() as u32];
        let [of_client, of_server] = network.buffers;
        let hosts = [
            Host::new(network.mss, of_client, of_server, false),
            Host::new(network.mss, of_server, of_client, server.nagle),
        ];
        self.links.push(Link {
            port: FIRST_PORT + link as u16,
            isn,
            exchanges: Vec::new(),
            hosts,
            asking: Asking::new(&traffic),
            executed: 0,
            replies: Vec::new(),
            mode: Mode::default(),
        });
        let trip = network.delays[0] + network.delays[1];
        let at = EPOCH + self.random.within(0, 5 * MILLISECOND);
        for (after, side, flags) in [(0, CLIENT, SYN), (trip, SERVER, SYN | ACK), (2 * trip, CLIENT, ACK)] {
            self.now = at + after;
            self.control(link, side, 0, flags);
        }
        let threads = if let Client::Multiplexed(threads) = traffic.client { threads } else { 1 };
        for thread in 0..threads {
            self.schedule(at + 3 * trip + u64::from(thread) * 3 * MICROSECOND, Event::Ask(link, thread));
        }
    }

    /// Makes up the next request of a connection, and writes it.
    pub(crate) fn request(&mut self, link: u32, thread: u32) -> bool {
        let World { links, random, scenario, .. } = self;
        let link = &mut links[link as usize];
        let Host { stream, .. } = &mut link.hosts[CLIENT];
        let (begin, made_from) = (stream.len() as u64, link.replies.len());
        let number = self.numbers;
        self.numbers += 1;
        let made = mix::make(&scenario.traffic, &mut link.mode, number, random, stream, &mut link.replies);
        let at = link.exchanges.len();
        if made.executes {
            let queued = link.exchanges.iter_mut().rev();
            let queued = queued.take_while(|exchange| exchange.command != "MULTI");
            queued.for_each(|exchange| exchange.executed_by = Some(at));
        }
        link.exchanges.push(Exchange {
            command: made.command,
            request: begin..stream.len() as u64,
            answer: made.answer,
            reply: None,
            executed_by: None,
            last_reply: made.before_last,
            number,
            listens: made.listens,
            thread,
            made: made_from..link.replies.len(),
        });
        made.answer != Answer::Silence
    }

    /// The server executes a connection's next request: its reply is ready to be written.
    pub(crate) fn execute(&mut self, link: u32) {
        let World { links, random, scenario, .. } = self;
        let link = &mut links[link as usize];
        let stream = &mut link.hosts[SERVER].stream;
        let exchange = &mut link.exchanges[link.executed];
        if scenario.traffic.resp3 && link.executed > 0 && random.chance(0.05) {
            mix::invalidation(random, stream);
        }
        if exchange.listens && random.chance(0.3) {
            stream.push(if scenario.traffic.resp3 { b'>' } else { b'*' });
            stream.extend_from_slice(mix::MESSAGE);
        }
        if exchange.is_answered() {
            let begin = stream.len() as u64;
            exchange.last_reply += begin;
            stream.extend_from_slice(&link.replies[exchange.made.clone()]);
            exchange.reply = Some(begin..stream.len() as u64);
        }
        link.executed += 1;
    }

    /// Hands what an application has made, up to a position, to its host.
    pub(crate) fn write(&mut self, link: u32, side: usize, to: u64) {
        let host = &mut self.link(link).hosts[side];
        host.written = host.written.max(to);
        self.push(link, side);
    }

    /// Sends what may be sent.
    fn push(&mut self, link: u32, side: usize) {
        let now = self.now;
        while let Some((from, length)) = self.link(link).hosts[side].next_stretch(now) {
            self.data(link, side, from, length);
        }
        self.set_timer(link, side);
    }

    fn data(&mut self, link: u32, side: usize, from: u64, length: u32) {
        let ends = from + u64::from(length) == self.link(link).hosts[side].written;
        self.send(link, side, from, length, if ends { ACK | PSH } else { ACK });
    }

    /// A packet without payload.
    fn control(&mut self, link: u32, side: usize, from: u64, flags: u8) {
        self.send(link, side, from, 0, flags);
    }

    fn acknowledge(&mut self, link: u32, side: usize) {
        let sent = self.link(link).hosts[side].sent;
        self.control(link, side, sent, ACK);
    }

    fn send(&mut self, link: u32, side: usize, from: u64, length: u32, flags: u8) {
        let network = self.scenario.network;
        let now = self.now;
        let host = &mut self.links[link as usize].hosts[side];
        let (ack, window) = host.announce();
        host.id = host.id.wrapping_add(1);
        host.left_at = now.max(host.left_at + 1);
        let (left_at, id, echo, sent) = (host.left_at, host.id, host.echo, host.sent);
        let (before, after) = if side == CLIENT { (0, 1) } else { (1, 0) };
        let is_data = flags & (SYN | FIN | RST) == 0;
        let random = &mut self.random;
        let lost = is_data && random.chance(network.loss);
        let lost_before = lost && random.chance(0.5);
        let late = |random: &mut Random| {
            let is_late = is_data && random.chance(network.late);
            if is_late { random.magnitude(Span(10 * MICROSECOND, 5 * MILLISECOND)) } else { 0 }
        };
        let at = left_at + network.delays[before] + late(random);
        let arrives = at + network.delays[after] + late(random);
        let probe = length == 0 && flags == ACK && from == sent.wrapping_sub(1);
        let packet = Packet {
            link,
            from_client: side == CLIENT,
            from,
            length,
            ack,
            flags,
            window,
            stamp: (left_at / MILLISECOND) as u32,
            echo,
            id,
            at: (!lost_before).then_some(at),
            probe,
            marked: self.marks && length > 0,
        };
        self.packets.push(packet);
        if !lost && is_data {
            self.schedule(arrives, Event::Arrive(self.packets.len() as u32 - 1));
        }
    }

    fn arrive(&mut self, packet: u32) {
        let packet = self.packets[packet as usize];
        let (link, side) = (packet.link, if packet.from_client { SERVER } else { CLIENT });
        let now = self.now;
        let host = &mut self.link(link).hosts[side];
        host.echo = host.echo.max(packet.stamp);
        let again = host.acknowledgement(&packet, now);
        let acknowledges = host.take(&packet, now);
        if let Some((from, length)) = again {
            self.data(link, side, from, length);
        }
        if packet.length > 0 && acknowledges != Acknowledge::Nothing {
            if side == CLIENT {
                self.hear(link);
            } else {
                self.notice(link);
            }
        }
        self.push(link, side);
        if acknowledges == Acknowledge::Now {
            self.acknowledge(link, side);
        }
        self.set_timer(link, side);
    }

    /// An application takes what its host has received.
    pub(crate) fn read(&mut self, link: u32, side: usize) {
        if self.link(link).hosts[side].read_all() {
            self.acknowledge(link, side);
        }
    }

    fn set_timer(&mut self, link: u32, side: usize) {
        let host = &mut self.links[link as usize].hosts[side];
        let deadline = host.deadline();
        if deadline < host.timer_at {
            host.timer_at = deadline;
            self.schedule(deadline, Event::Timer(link, side));
        }
    }

    fn timer(&mut self, link: u32, side: usize) {
        let now = self.now;
        let host = &mut self.link(link).hosts[side];
        if host.timer_at != now {
            return;
        }
        host.timer_at = NEVER;
        if host.acknowledge_at <= now {
            self.acknowledge(link, side);
        }
        let host = &mut self.link(link).hosts[side];
        if host.retransmit_at <= now {
            match host.retransmit(now) {
                Some((from, length)) => self.data(link, side, from, length),
                None if host.is_blocked() => {
                    let from = host.sent.wrapping_sub(1);
                    self.control(link, side, from, ACK);
                }
                None => host.retransmit_at = NEVER,
            }
        }
        self.set_timer(link, side);
    }

    /// FIN from one side and the other, RST, or nothing.
    fn close(&mut self, link: u32) {
        let trip = self.scenario.network.delays[0] + self.scenario.network.delays[1];
        let first = self.random.within(0, 2) as usize;
        let ends = |world: &mut World, side: usize| world.link(link).hosts[side].sent;
        match self.random.within(0, 4) {
            0 => {}
            1 => {
                let end = ends(self, first);
                self.control(link, first, end, RST | ACK);
            }
            _ => {
                let (end, other_end) = (ends(self, first), ends(self, 1 - first));
                self.control(link, first, end, FIN | ACK);
                self.now += trip;
                self.link(link).hosts[1 - first].received += 1;
                self.control(link, 1 - first, other_end, FIN | ACK);
                self.now += trip;
                self.link(link).hosts[first].received += 1;
                self.control(link, first, end + 1, ACK);
            }
        }
    }
}
