//! Traffic with known truth: clients and servers that talk over a simulated network, and a tap between them.
//!
//! Every request carries a token of its own, and so does its reply where its kind has room for one; so a pair that was
//! emitted can be held against the truth. Values are full of things that look like RESP, with tokens that nobody sent.
//! Clients wait for what they asked for (one, a batch, or a window of requests), so that whoever falls silent has nothing
//! outstanding: the assumption `silence` holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write as _;

use resptap::resp::parser::Kind;

use super::Random;
use super::packet::{ACK, EPOCH, FIN, MILLISECOND, PSH, Packet, RST, SECOND, SYN, sorted};

/// In the RESP within values.
pub const FAKE_TOKEN: &str = "tk99999999";

/// What a reply is, in truth.
#[derive(Clone, Debug)]
pub struct Reply {
    pub kind: Kind,
    pub token: Option<String>,
    /// Its place in its stream.
    pub range: (u64, u64),
}

/// A request and what became of it, in truth.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub connection: u32,
    pub port: u16,
    pub command: &'static str,
    /// `None`: its arguments are never shown.
    pub token: Option<String>,
    pub range: (u64, u64),
    pub reply: Option<Reply>,
    /// The server does answer, in time: not the last requests of some connections, nor silenced ones.
    pub answered: bool,
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    pub packets: Vec<Packet>,
    pub exchanges: Vec<Exchange>,
    pub pushes: u64,
}

/// What kind of traffic.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub connections: u32,
    pub requests: u64,
    /// Longest value.
    pub value_bytes: u64,
    /// Values that look like RESP have any lengths in them, which lead anywhere, and any aggregates.
    pub astray: bool,
    /// Servers stall and clients pause, for seconds.
    pub stalls: bool,
    /// Connections that turn to a mode in which replies can't be counted.
    pub modes: bool,
    /// Connections take over the port of an earlier one.
    pub reuse: bool,
    /// How long the client's packets need to the tap, beyond the server's: two taps that are not in step.
    pub skew_ns: u64,
}

impl Default for Style {
    fn default() -> Style {
        Style {
            connections: 4,
            requests: 40,
            value_bytes: 3000,
            astray: false,
            stalls: false,
            modes: false,
            reuse: false,
            skew_ns: 0,
        }
    }
}

/// Several connections, interleaved.
pub fn scene(style: &Style, random: &mut Random) -> Scene {
    let mut scene = Scene::default();
    let (mut ended_at, mut ends) = (EPOCH, [0; 2]);
    for connection in 0..style.connections {
        let follows = style.reuse && connection % 2 == 1;
        let port = 40_000 + (connection - u32::from(follows)) as u16;
        let start =
            if follows { ended_at + random.within(1, 3 * SECOND) } else { EPOCH + random.within(0, SECOND / 10) };
        let mut session = Session::new(connection, port, *style, random);
        if follows {
            // A new connection between the same ends begins ahead of where the old one ended (RFC 6191).
            session.isn = ends.map(|end: u32| end.wrapping_add(session.random.within(1000, 1 << 31) as u32));
        }
        session.run(start);
        scene.pushes += session.pushes;
        ends = [0, 1].map(|side| session.isn[side].wrapping_add(session.sent[side] as u32));
        ended_at = session.packets.iter().map(|packet| packet.at).max().unwrap_or(start);
        scene.packets.append(&mut session.packets);
        scene.exchanges.append(&mut session.exchanges);
    }
    for packet in scene.packets.iter_mut().filter(|packet| packet.from_client) {
        packet.at += style.skew_ns;
    }
    scene.packets = sorted(scene.packets);
    scene
}

#[derive(Clone, Copy, Debug)]
enum Client {
    /// Asks for so many at once, and waits for all of them.
    Batch(u64),
    /// Keeps so many outstanding.
    Window(u64),
}

#[derive(Clone, Copy, Debug)]
enum Segmenting {
    Mss(u64),
    Random,
    /// At line ends: the worst for whoever looks for a boundary.
    Lines,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Ask,
    ServerHas { to: u64 },
    Answer { exchange: usize },
    ClientHas { to: u64 },
}

struct Session<'r> {
    style: Style,
    random: &'r mut Random,
    connection: u32,
    port: u16,
    client: Client,
    segmenting: Segmenting,
    resp3: bool,
    /// From the client to the tap, and from there to the server.
    delays: (u64, u64),
    isn: [u32; 2],
    sent: [u64; 2],
    received: [u64; 2],
    busy_to: [u64; 2],
    packets: Vec<Packet>,
    exchanges: Vec<Exchange>,
    replies: Vec<Vec<u8>>,
    pushes: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    queued: Vec<Event>,
    left: u64,
    served: usize,
    free_at: u64,
    /// Replies that wait to be written together.
    buffer: Vec<u8>,
    last_due: usize,
    outstanding: u64,
    completed: usize,
    asking: bool,
    /// Replies are switched off; the next one is.
    silenced: bool,
    skips: bool,
}

impl<'r> Session<'r> {
    fn new(connection: u32, port: u16, style: Style, random: &'r mut Random) -> Session<'r> {
        let depth = random.within(1, 30);
        let client = random.pick(&[Client::Batch(1), Client::Batch(1), Client::Batch(depth), Client::Window(depth)]);
        let mss = random.pick(&[100, 536, 1448, 1448, 9000, 60_000]);
        let segmenting =
            random.pick(&[Segmenting::Mss(mss), Segmenting::Mss(mss), Segmenting::Random, Segmenting::Lines]);
        let isn = [(); 2].map(|()| {
            if random.chance(0.5) { 0u32.wrapping_sub(random.within(0, 5000) as u32) } else { random.next() as u32 }
        });
        Session {
            style,
            connection,
            port,
            client,
            segmenting,
            resp3: random.chance(0.4),
            delays: (random.within(1000, MILLISECOND), random.within(1000, MILLISECOND)),
            isn,
            sent: [0; 2],
            received: [0; 2],
            busy_to: [0; 2],
            packets: Vec::new(),
            exchanges: Vec::new(),
            replies: Vec::new(),
            pushes: 0,
            events: BinaryHeap::new(),
            queued: Vec::new(),
            left: random.within(1, style.requests + 1),
            served: 0,
            free_at: 0,
            buffer: Vec::new(),
            last_due: 0,
            outstanding: 0,
            completed: 0,
            asking: true,
            silenced: false,
            skips: false,
            random,
        }
    }

    fn run(&mut self, start: u64) {
        let trip = self.delays.0 + self.delays.1;
        self.control(true, start, SYN, false);
        self.control(false, start + trip, SYN | ACK, false);
        self.control(true, start + 2 * trip, ACK, true);
        self.schedule(start + 2 * trip + 1000, Event::Ask);
        let mut now = start;
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            now = at;
            match self.queued[event] {
                Event::Ask => self.ask(at),
                Event::ServerHas { to } => self.serve(at, to),
                Event::Answer { exchange } => self.answer(at, exchange),
                Event::ClientHas { to } => self.take(at, to),
            }
        }
        self.end(now + 1000);
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.queued.push(event);
        let number = self.queued.len();
        self.events.push(Reverse((at, number as u64, number - 1)));
    }

    /// A packet without payload. `open`: behind the SYN.
    fn control(&mut self, from_client: bool, at: u64, flags: u8, open: bool) {
        self.packet(from_client, at, flags, Vec::new(), open);
    }

    /// Sends a packet as soon as the one before has left; answers when.
    fn packet(&mut self, from_client: bool, at: u64, flags: u8, payload: Vec<u8>, open: bool) -> u64 {
        let (own, other) = if from_client { (0, 1) } else { (1, 0) };
        let left = at.max(self.busy_to[own] + 1);
        self.busy_to[own] = left;
        let offset = self.sent[own];
        let seq = self.isn[own].wrapping_add(u32::from(open)).wrapping_add(offset as u32);
        let acks = flags & ACK != 0;
        let ack = if acks { self.isn[other].wrapping_add(1).wrapping_add(self.received[own] as u32) } else { 0 };
        self.sent[own] += payload.len() as u64;
        let at = left + if from_client { self.delays.0 } else { self.delays.1 };
        let (connection, port) = (self.connection, self.port);
        let snap = usize::MAX;
        self.packets.push(Packet {
            at,
            connection,
            port,
            from_client,
            seq,
            ack,
            flags,
            window: 500,
            payload,
            offset,
            snap,
        });
        left
    }

    /// Writes bytes as segments; answers when each has arrived, and up to where.
    fn write(&mut self, from_client: bool, at: u64, bytes: &[u8]) -> Vec<(u64, u64)> {
        let trip = self.delays.0 + self.delays.1;
        let (mut from, mut at, mut arrivals) = (0, at, Vec::new());
        while from < bytes.len() {
            let rest = &bytes[from..];
            let length = match self.segmenting {
                Segmenting::Mss(mss) => mss as usize,
                Segmenting::Random => self.random.within(1, 2000) as usize,
                Segmenting::Lines => {
                    let lines = self.random.within(1, 8) as usize;
                    let ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
                    ends.take(lines).last().unwrap_or(rest.len())
                }
            };
            let to = bytes.len().min(from + length.min(60_000));
            let pushed = to == bytes.len() || matches!(self.segmenting, Segmenting::Lines) && self.random.chance(0.5);
            let flags = if pushed { ACK | PSH } else { ACK };
            at = self.packet(from_client, at, flags, bytes[from..to].to_vec(), true);
            arrivals.push((at + trip, self.sent[usize::from(!from_client)]));
            at += self.random.within(100, 20_000);
            from = to;
        }
        arrivals
    }

    fn ask(&mut self, at: u64) {
        self.asking = false;
        let count = match self.client {
            Client::Batch(most) => self.random.within(1, most + 1),
            Client::Window(window) => window.saturating_sub(self.outstanding),
        };
        let count = count.min(self.left);
        let mut bytes = Vec::new();
        for _ in 0..count {
            self.left -= 1;
            self.request(&mut bytes);
        }
        let arrivals = self.write(true, at, &bytes);
        for (at, to) in arrivals {
            self.schedule(at, Event::ServerHas { to });
        }
        if self.outstanding == 0 && self.left > 0 {
            // All were silenced.
            self.asking = true;
            self.schedule(at + MILLISECOND, Event::Ask);
        }
    }

    /// Makes up a request and its reply.
    fn request(&mut self, bytes: &mut Vec<u8>) {
        let number = self.exchanges.len();
        let begin = self.sent[0] + bytes.len() as u64;
        let made = make(self, number, bytes);
        let begin = begin + made.skipped;
        let end = self.sent[0] + bytes.len() as u64;
        let is_silent = made.silent;
        let never = !is_silent && self.left == 0 && self.random.chance(0.2);
        let reply = Reply { kind: made.kind, token: made.reply_token, range: (0, 0) };
        self.exchanges.push(Exchange {
            connection: self.connection,
            port: self.port,
            command: made.command,
            token: made.token,
            range: (begin, end),
            reply: (!is_silent && !never).then_some(reply),
            answered: !is_silent && !never,
        });
        self.replies.push(made.reply);
        self.outstanding += u64::from(!is_silent && !never);
    }

    fn serve(&mut self, at: u64, to: u64) {
        self.received[1] = self.received[1].max(to);
        while self.exchanges.get(self.served).is_some_and(|exchange| exchange.range.1 <= self.received[1]) {
            let usual = self.random.within(1000, 500_000);
            let stalls = self.style.stalls && self.random.chance(0.02);
            let takes = if stalls { self.random.within(MILLISECOND, 4 * SECOND) } else { usual };
            self.free_at = self.free_at.max(at) + takes;
            if self.exchanges[self.served].answered {
                self.last_due = self.served;
                self.schedule(self.free_at, Event::Answer { exchange: self.served });
            }
            self.served += 1;
        }
    }

    fn answer(&mut self, at: u64, exchange: usize) {
        if self.resp3 && exchange > 0 && self.random.chance(0.1) {
            self.buffer.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$10\r\ntk99999999\r\n");
            self.pushes += 1;
        }
        let begin = self.sent[1] + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&self.replies[exchange]);
        let end = self.sent[1] + self.buffer.len() as u64;
        if let Some(reply) = &mut self.exchanges[exchange].reply {
            reply.range = (begin, end);
        }
        if exchange < self.last_due && self.random.chance(0.3) {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        for (at, to) in self.write(false, at, &buffer) {
            self.schedule(at, Event::ClientHas { to });
        }
    }

    fn take(&mut self, at: u64, to: u64) {
        self.received[0] = self.received[0].max(to);
        let mut answered = 0;
        while let Some(exchange) = self.exchanges.get(self.completed) {
            match &exchange.reply {
                Some(reply) if reply.range.1 == 0 || reply.range.1 > self.received[0] => break,
                Some(_) => answered += 1,
                None => {}
            }
            self.completed += 1;
        }
        self.outstanding -= answered;
        if self.random.chance(0.4) {
            self.control(true, at + 1, ACK, true);
        }
        let goes_on = match self.client {
            Client::Batch(_) => self.outstanding == 0,
            Client::Window(_) => answered > 0,
        };
        if goes_on && self.left > 0 && !self.asking {
            self.asking = true;
            let pauses = self.style.stalls && self.outstanding == 0 && self.random.chance(0.05);
            let usual = self.random.within(2000, 2 * MILLISECOND);
            let think = if pauses { self.random.within(SECOND, 5 * SECOND) } else { usual };
            self.schedule(at + think, Event::Ask);
        }
    }

    /// FIN from one side and the other, RST, or nothing.
    fn end(&mut self, at: u64) {
        let trip = self.delays.0 + self.delays.1;
        let first = self.random.chance(0.5);
        match self.random.within(0, 4) {
            0 => {}
            1 => self.control(true, at, RST | ACK, true),
            _ => {
                self.control(first, at, FIN | ACK, true);
                self.received[usize::from(first)] += 1;
                self.control(!first, at + trip, FIN | ACK, true);
                self.sent[usize::from(!first)] += 1;
                self.received[usize::from(!first)] += 1;
                self.control(first, at + 2 * trip, ACK, true);
            }
        }
    }
}

/// A request and its reply, made up.
struct Made {
    command: &'static str,
    token: Option<String>,
    /// Bytes before the request that are none: empty lines.
    skipped: u64,
    kind: Kind,
    reply: Vec<u8>,
    reply_token: Option<String>,
    silent: bool,
}

fn make(session: &mut Session<'_>, number: usize, bytes: &mut Vec<u8>) -> Made {
    let token = format!("tk{:08}", session.connection as usize * 100_000 + number);
    let before = bytes.len();
    let silenced = session.silenced || std::mem::take(&mut session.skips);
    let fixed = |command, kind, reply: &[u8]| Made {
        command,
        token: None,
        skipped: 0,
        kind,
        reply: reply.to_vec(),
        reply_token: None,
        silent: silenced,
    };
    if number == 0 && session.resp3 {
        words(bytes, &[b"HELLO", b"3"]);
        return fixed("HELLO", Kind::Map, b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n");
    }
    if session.style.modes && number > 0 && session.random.chance(0.03) {
        match session.random.within(0, 3) {
            0 => {
                words(bytes, &[b"CLIENT", b"REPLY", b"SKIP"]);
                session.skips = !session.silenced;
                return Made { silent: true, ..fixed("CLIENT REPLY", Kind::Simple, b"") };
            }
            1 => {
                words(bytes, &[b"client", b"reply", b"off"]);
                session.silenced = true;
                return Made { silent: true, ..fixed("CLIENT REPLY", Kind::Simple, b"") };
            }
            _ => {
                words(bytes, &[b"CLIENT", b"REPLY", b"ON"]);
                session.silenced = false;
                return Made { silent: false, ..fixed("CLIENT REPLY", Kind::Simple, b"+OK\r\n") };
            }
        }
    }
    if session.random.chance(0.03) {
        bytes.extend_from_slice(session.random.pick(&[&b"\r\n"[..], b"*0\r\n", b"*-1\r\n", b"\n"]));
    }
    let skipped = (bytes.len() - before) as u64;
    let random = &mut *session.random;
    let made = ordinary(session.resp3, session.style.values(), &token, random, bytes);
    Made { token: Some(token), skipped, silent: silenced, ..made }
}

fn ordinary(resp3: bool, values: Values, token: &str, random: &mut Random, bytes: &mut Vec<u8>) -> Made {
    let text = token.as_bytes();
    let number = format!("7{}", &token[2..]);
    let key = [b"k:", text].concat();
    let null: &[u8] = if resp3 { b"_\r\n" } else { random.pick(&[&b"$-1\r\n"[..], b"*-1\r\n"]) };
    let (command, kind, reply, reply_token) = match random.within(0, 12) {
        0 => {
            words(bytes, &[b"ECHO", text]);
            ("ECHO", Kind::Bulk, bulk(text), Some(token.to_owned()))
        }
        1 => {
            bytes.extend_from_slice(b"echo  ");
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(random.pick(&[&b"\r\n"[..], b"\n"]));
            ("ECHO", Kind::Bulk, bulk(text), Some(token.to_owned()))
        }
        2 => {
            words(bytes, &[b"SET", &key, &value(b"", values, random)]);
            ("SET", Kind::Simple, b"+OK\r\n".to_vec(), None)
        }
        3 => {
            words(bytes, &[b"INCR", &key]);
            ("INCR", Kind::Integer, format!(":{number}\r\n").into_bytes(), Some(number))
        }
        4 => {
            words(bytes, &[b"get", &key]);
            ("GET", Kind::Null, null.to_vec(), None)
        }
        5 => {
            words(bytes, &[b"GET", &key]);
            ("GET", Kind::Bulk, b"$0\r\n\r\n".to_vec(), None)
        }
        6 => {
            words(bytes, &[b"LPUSH", &key, &value(b"", values.short(), random)]);
            ("LPUSH", Kind::Error, format!("-WRONGTYPE {token} is no list\r\n").into_bytes(), Some(token.to_owned()))
        }
        7 | 8 => {
            // Of each kind the command that has it: servers answer no other.
            let commands: [(&'static str, &[&[u8]]); 3] =
                [("LRANGE", &[b"0", b"-1"]), ("SMEMBERS", &[]), ("HGETALL", &[])];
            let (command, more) = random.pick(&commands);
            words(bytes, &[&[command.as_bytes(), &key], more].concat());
            let (kind, reply) = aggregate(if resp3 { command } else { "LRANGE" }, text, values, random);
            (command, kind, reply, Some(token.to_owned()))
        }
        9 if resp3 => {
            words(bytes, &[b"EVAL", b"return 1", b"1", &key]);
            let (kind, reply) = match random.within(0, 4) {
                0 => (Kind::Double, format!(",{number}\r\n")),
                1 => (Kind::BigNumber, format!("({number}\r\n")),
                2 => (Kind::Verbatim, format!("=14\r\ntxt:{token}\r\n")),
                _ => (Kind::Simple, format!("|1\r\n+ttl\r\n:5\r\n+{token}\r\n")),
            };
            let shown = if matches!(kind, Kind::Double | Kind::BigNumber) { number } else { token.to_owned() };
            ("EVAL", kind, reply.into_bytes(), Some(shown))
        }
        _ => {
            words(bytes, &[b"GET", &key]);
            ("GET", Kind::Bulk, bulk(&value(text, values, random)), Some(token.to_owned()))
        }
    };
    Made { command, token: None, skipped: 0, kind, reply, reply_token, silent: false }
}

/// An aggregate whose first element is the token.
fn aggregate(command: &str, token: &[u8], values: Values, random: &mut Random) -> (Kind, Vec<u8>) {
    let (kind, sign) = match command {
        "SMEMBERS" => (Kind::Set, '~'),
        "HGETALL" => (Kind::Map, '%'),
        _ => (Kind::Array, '*'),
    };
    let declared = random.within(1, 8);
    let elements = if kind == Kind::Map { 2 * declared } else { declared };
    let mut reply = format!("{sign}{declared}\r\n").into_bytes();
    reply.extend_from_slice(&bulk(token));
    for _ in 1..elements {
        match random.within(0, 6) {
            0 => reply.extend_from_slice(b":1\r\n"),
            1 => reply.extend_from_slice(b"$-1\r\n"),
            2 => reply.extend_from_slice(b"*2\r\n+a\r\n*0\r\n"),
            3 if kind != Kind::Array => reply.extend_from_slice(b"|1\r\n+a\r\n:1\r\n#t\r\n"),
            _ => reply.extend_from_slice(&bulk(&value(b"", values.short(), random))),
        }
    }
    (kind, reply)
}

fn words(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(&bulk(word));
    }
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

/// What values are like.
#[derive(Clone, Copy)]
struct Values {
    /// The longest's.
    bytes: u64,
    astray: bool,
}

impl Values {
    /// Those that are parts of something.
    fn short(self) -> Values {
        Values { bytes: self.bytes / 10 + 1, ..self }
    }
}

impl Style {
    fn values(&self) -> Values {
        Values { bytes: self.value_bytes, astray: self.astray }
    }
}

/// A value that begins with `start`: most are short, few are as long as may be.
fn value(start: &[u8], Values { bytes, astray }: Values, random: &mut Random) -> Vec<u8> {
    const PIECES: [&[u8]; 16] = [
        b"+OK\r\n",
        b":1\r\n",
        b"$3\r\nfoo\r\n",
        b"$10\r\ntk99999999\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$10\r\ntk99999999\r\n",
        b"*2\r\n$3\r\nGET\r\n$12\r\nk:tk99999999\r\n",
        b"-ERR tk99999999\r\n",
        b"_\r\n",
        b"\r\n",
        b"PING tk99999999\r\n",
        b"$100\r\n",
        b"\xff\x00\r",
        b"*3\r\n",
        b"some words",
        b"+OK",
    ];
    let mut value = start.to_vec();
    let most = random.within(0, bytes + 1);
    let length = if random.chance(0.1) { most } else { most.min(random.within(0, 200)) };
    let looks_like_resp = random.chance(0.6);
    while (value.len() as u64) < length {
        if looks_like_resp {
            let piece: &[u8] = random.pick(&PIECES);
            match piece {
                // Lengths that lead anywhere.
                b"$100\r\n" if astray => write!(value, "${}\r\n", random.within(0, 121)).expect("memory takes it"),
                b"*3\r\n" if astray => {
                    let sign = char::from(random.pick(b"**>%~|"));
                    write!(value, "{sign}{}\r\n", random.within(0, 6)).expect("memory takes it");
                }
                piece => value.extend_from_slice(piece),
            }
        } else {
            value.extend_from_slice(&random.next().to_le_bytes());
        }
    }
    value
}
