//! What is simulated: who talks how about what, over which network, and what the mirror port makes of it.

use std::str::FromStr;

use crate::random::{MICROSECOND, MILLISECOND, Random, SECOND, Span};

/// How clients send requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// One request, its reply, a pause for thought, the next.
    Serial,
    /// So many requests, all their replies, a pause, the next so many.
    Batch(u32),
    /// As many outstanding as it may: a new one with each reply.
    Window(u32),
    /// So many threads on one connection, each as [`Client::Serial`].
    Multiplexed(u32),
    /// As [`Client::Serial`], but it does not always wait for the reply.
    Impatient,
    /// Adversary: serial for a while, then a window of 2 for a while; the mirror likes to lose the first request of the
    /// change.
    Switching,
    /// Adversary: so many are always outstanding, and a reply comes right after each request, as if to that.
    Locked(u32),
}

/// Which commands are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mix {
    /// GET alone: bulk strings and nulls.
    Gets,
    /// Commands of six kinds of replies.
    Mixed,
    /// As [`Mix::Mixed`], with commands that change how replies are to be counted.
    Modes,
}

/// The traffic.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Traffic {
    /// How it is asked.
    pub client: Client,
    /// What.
    pub mix: Mix,
    /// RESP3: the connection begins with HELLO 3, and pushes come in between.
    pub resp3: bool,
    /// Longest values, in bytes; most are much shorter.
    pub value_bytes: u64,
    /// Values contain what looks like RESP.
    pub look_alikes: bool,
    /// Pause between a reply and the next request.
    pub think: Span,
    /// A client stops reading now and then, for longer than its window lasts.
    pub dozes: f64,
    /// Connections to the one server.
    pub connections: u32,
    /// Requests of each.
    pub requests: u32,
}

/// The server: one thread that serves all connections in turn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Server {
    /// Time that a command takes.
    pub service: Span,
    /// Most requests of a connection that one turn serves; their replies leave together.
    pub turn: u32,
    /// Probability that a turn takes very long.
    pub stalls: f64,
    /// How long then.
    pub stall: Span,
    /// Small replies are held back while others are not acknowledged (Nagle).
    pub nagle: bool,
}

/// The network; the tap is somewhere on the way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Network {
    /// Time from the client to the tap, and from the tap to the server.
    pub delays: [u64; 2],
    /// Probability that a packet gets lost, half of them before the tap.
    pub loss: f64,
    /// Probability that a packet is late.
    pub late: f64,
    /// Longest segment, in bytes.
    pub mss: u32,
    /// Receive buffers of client and server, in bytes.
    pub buffers: [u64; 2],
}

/// The mirror port and the capture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mirror {
    /// Probability that a packet of the client, of the server is not captured.
    pub loss: [f64; 2],
    /// Probability that the next packet is lost, too.
    pub burst: f64,
    /// Probability that a packet is captured twice.
    pub copies: f64,
    /// Copies have crossed a router.
    pub routed: bool,
    /// Probability that a packet is captured late.
    pub late: f64,
    /// Time by which each direction is captured later than it passed.
    pub skew: [u64; 2],
    /// Most bytes of a frame that are captured.
    pub snap: u32,
    /// Share of the packets after which the capture begins.
    pub begins: f64,
    /// Share of the packets after which it ends.
    pub ends: f64,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scenario {
    /// Where chance begins.
    pub seed: u64,
    /// The traffic.
    pub traffic: Traffic,
    /// The server.
    pub server: Server,
    /// The network.
    pub network: Network,
    /// The mirror port.
    pub mirror: Mirror,
}

impl Scenario {
    /// A usual scene, in which nothing is lost.
    pub fn new(client: Client, mix: Mix, seed: u64) -> Scenario {
        let think = match client {
            Client::Multiplexed(_) => Span(50 * MICROSECOND, 2 * MILLISECOND),
            Client::Window(_) => Span(MICROSECOND, 20 * MICROSECOND),
            _ => Span(300 * MICROSECOND, 30 * MILLISECOND),
        };
        let traffic = Traffic {
            client,
            mix,
            resp3: false,
            value_bytes: 2000,
            look_alikes: true,
            think,
            dozes: 0.0,
            connections: 2,
            requests: 2000,
        };
        let service = Span(20 * MICROSECOND, 200 * MICROSECOND);
        let server = Server { service, turn: 4, stalls: 0.0, stall: Span(50 * MILLISECOND, 4 * SECOND), nagle: false };
        let network = Network {
            delays: [40 * MICROSECOND, 10 * MICROSECOND],
            loss: 0.0,
            late: 0.0,
            mss: 1448,
            buffers: [64 << 10, 64 << 10],
        };
        Scenario { seed, traffic, server, network, mirror: Mirror::PERFECT }
    }

    /// The same where the mirror loses so much of both directions.
    #[must_use]
    pub fn losing(mut self, loss: f64) -> Scenario {
        self.mirror.loss = [loss, loss];
        self
    }

    /// Anything that may happen, by chance.
    pub fn draw(seed: u64) -> Scenario {
        let random = &mut Random(seed ^ 0x5ca1_ab1e);
        let client = match random.within(0, 12) {
            0 | 1 => Client::Serial,
            2 => Client::Batch(random.pick(&[2, 3, 16, 100, 1000])),
            3 => Client::Batch(random.within(2, 30) as u32),
            4..=6 => Client::Window(random.pick(&[2, 3, 5, 16, 64, 200, 1000])),
            7..=9 => Client::Multiplexed(random.pick(&[2, 3, 8, 40, 200])),
            _ => Client::Impatient,
        };
        let mix = random.pick(&[Mix::Gets, Mix::Mixed, Mix::Mixed, Mix::Modes]);
        let mut scenario = Scenario::new(client, mix, seed);
        scenario.draw_traffic(random);
        scenario.draw_way(random);
        scenario
    }

    fn draw_traffic(&mut self, random: &mut Random) {
        let traffic = &mut self.traffic;
        traffic.resp3 = random.chance(0.4);
        traffic.value_bytes = random.pick(&[3, 50, 500, 2000, 2000, 50_000, 1_000_000]);
        traffic.look_alikes = random.chance(0.7);
        if random.chance(0.4) {
            let least = random.magnitude(Span(MICROSECOND, 10 * MILLISECOND));
            traffic.think = Span(least, least * random.pick(&[2, 20, 200]));
        }
        traffic.dozes = random.pick(&[0.0, 0.0, 0.002]);
        traffic.connections = random.within(1, 5) as u32;
        traffic.requests = if traffic.value_bytes > 10_000 { 150 } else { random.within(100, 1500) as u32 };
        let server = &mut self.server;
        let least = random.magnitude(Span(MICROSECOND, 500 * MICROSECOND));
        server.service = Span(least, least * random.pick(&[2, 10, 100]));
        server.turn = random.pick(&[1, 1, 2, 4, 4, 16, 10_000]);
        server.stalls = random.pick(&[0.0, 0.0005, 0.002, 0.01]);
        server.stall = Span(MILLISECOND, random.pick(&[10, 100, 4000]) * MILLISECOND);
    }

    fn draw_way(&mut self, random: &mut Random) {
        let delay = |random: &mut Random| random.magnitude(Span(MICROSECOND, 5 * MILLISECOND));
        let network = &mut self.network;
        network.delays = [delay(random), delay(random)];
        network.loss = random.pick(&[0.0, 0.0, 0.0, 0.0001, 0.001, 0.01]);
        network.late = random.pick(&[0.0, 0.0, 0.001, 0.02]);
        network.mss = random.pick(&[1448, 1448, 1448, 536, 100, 8948]);
        network.buffers = [random.pick(&[8 << 10, 64 << 10, 1 << 20]), random.pick(&[8 << 10, 64 << 10, 1 << 20])];
        let rates = [0.0, 0.0001, 0.001, 0.003, 0.01, 0.01, 0.03, 0.1];
        let mirror = &mut self.mirror;
        mirror.loss = match random.within(0, 4) {
            0 => [random.pick(&rates), 0.0],
            1 => [0.0, random.pick(&rates)],
            _ => [random.pick(&rates); 2],
        };
        mirror.burst = random.pick(&[0.0, 0.0, 0.3, 0.8]);
        mirror.copies = random.pick(&[0.0, 0.0, 0.02, 1.0]);
        mirror.routed = random.chance(0.3);
        mirror.late = random.pick(&[0.0, 0.0, 0.01, 0.1]);
        if random.chance(0.4) {
            mirror.skew[random.within(0, 2) as usize] = random.within(0, 20 * MILLISECOND);
        }
        mirror.snap = random.pick(&[u32::MAX, u32::MAX, u32::MAX, 128]);
        if random.chance(0.3) {
            mirror.begins = random.unit() * 0.7;
        }
        if random.chance(0.2) {
            mirror.ends = mirror.begins + (1.0 - mirror.begins) * (0.3 + 0.7 * random.unit());
        }
    }
}

impl Mirror {
    /// It shows all there is.
    pub const PERFECT: Mirror = Mirror {
        loss: [0.0; 2],
        burst: 0.0,
        copies: 0.0,
        routed: false,
        late: 0.0,
        skew: [0; 2],
        snap: u32::MAX,
        begins: 0.0,
        ends: 1.0,
    };
}

impl FromStr for Client {
    type Err = String;

    /// `serial`, `batch:16`, `window:16`, `multiplexed:40`, `impatient`, `switching`, `locked:2`
    fn from_str(text: &str) -> Result<Client, String> {
        let (name, number) = text.split_once(':').unwrap_or((text, ""));
        let number = || {
            number.parse().ok().filter(|number| *number > 0).ok_or(format!("{text:?} needs a number, as in {name}:16"))
        };
        Ok(match name {
            "serial" => Client::Serial,
            "batch" => Client::Batch(number()?),
            "window" => Client::Window(number()?),
            "multiplexed" => Client::Multiplexed(number()?),
            "impatient" => Client::Impatient,
            "switching" => Client::Switching,
            "locked" => Client::Locked(number()?),
            _ => {
                return Err(format!(
                    "{text:?} is no kind of client: serial, batch:N, window:N, multiplexed:N, impatient, switching, locked:N"
                ));
            }
        })
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        match text {
            "gets" => Ok(Mix::Gets),
            "mixed" => Ok(Mix::Mixed),
            "modes" => Ok(Mix::Modes),
            _ => Err(format!("{text:?} is no mix of commands: gets, mixed, modes")),
        }
    }
}
