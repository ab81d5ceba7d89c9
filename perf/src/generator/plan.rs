//! What traffic is made: a plan, and the plans that measurements are named for.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::random::{Random, Span};

/// What is made.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// What connections carry.
    pub content: Content,
    /// Connections that are open at the same time.
    pub connections: u32,
    /// Of these, those that wait for replies at the same time: at most half of them.
    pub in_flight: u32,
    /// Servers, which connections take in turn.
    pub servers: u32,
    /// Requests that are sent at once, and answered at once.
    pub pipeline: Sizes,
    /// Keys that there are, each as likely as any other.
    pub keys: u64,
    /// How long they are.
    pub key_bytes: Sizes,
    /// How long values are.
    pub value_bytes: Sizes,
    /// Fields of hashes.
    pub fields: Sizes,
    /// Commands.
    pub commands: Commands,
    /// Share of the connections that speak RESP3.
    pub resp3: f64,
    /// How often something is pushed before a reply on those.
    pub pushes: f64,
    /// Share of the connections over IPv6.
    pub ipv6: f64,
    /// Most payload of a segment, in bytes.
    pub segment_bytes: usize,
    /// Every second segment of several is acknowledged by one without data; otherwise acknowledgements ride on data.
    pub acks: bool,
    /// Segments carry TCP timestamps.
    pub timestamps: bool,
    /// What frames are wrapped in.
    pub tunnel: Tunnel,
    /// Transactions after which a connection is closed and another one takes its place; 0: never.
    pub lifetime: u32,
    /// Connections are older than the capture: their handshakes are not in it, and of half of them it begins with a reply.
    pub joins: bool,
    /// What the mirror port does to frames.
    pub faults: Faults,
    /// From one frame to the next, on average, in nanoseconds.
    pub interval_ns: u64,
}

/// What connections carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Requests and replies.
    Commands,
    /// After a first request and its reply, nothing but acknowledgements.
    Acks,
    /// After a first request and its reply, bytes that are made to be hard to parse.
    Hostile,
}

/// What frames are wrapped in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Tunnel {
    /// Nothing
    #[default]
    None,
    /// A VLAN tag
    Vlan,
    /// VXLAN over IPv4
    Vxlan,
    /// GRE over IPv4, with the inner Ethernet header
    Gre,
}

/// Shares of the frames with which something happens between the network and the capture.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Faults {
    /// They are not captured.
    pub loss: f64,
    /// They are captured up to 32 frames later.
    pub late: f64,
    /// They are captured twice.
    pub duplicates: f64,
}

/// By how many frames one is late, at the most.
pub(super) const LATE_FRAMES: u64 = 32;

/// A range from which sizes are drawn. `512`: always the same. `32-512`: each as likely. `32~16384`: each order of magnitude as
/// likely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    least: u64,
    most: u64,
    by_magnitude: bool,
}

impl Sizes {
    /// Always the same.
    pub const fn fixed(size: u64) -> Sizes {
        Sizes { least: size, most: size, by_magnitude: false }
    }

    /// Any of a range, each as likely.
    pub const fn between(least: u64, most: u64) -> Sizes {
        Sizes { least, most, by_magnitude: false }
    }

    /// One of them.
    pub fn draw(self, random: &mut Random) -> usize {
        let Sizes { least, most, by_magnitude } = self;
        let size = match by_magnitude {
            _ if least == most => least,
            true => random.magnitude(Span(least, most + 1)),
            false => random.within(least, most + 1),
        };
        size as usize
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number"));
        let (range, by_magnitude) = match (text.split_once('-'), text.split_once('~')) {
            (Some(range), _) => (range, false),
            (_, Some(range)) => (range, true),
            _ => ((text, text), false),
        };
        let (least, most) = (number(range.0)?, number(range.1)?);
        if least > most || most > 512 << 20 {
            return Err(format!(
                "`{text}` is no range of sizes: 32-512 (each as likely), or 1~100000 (each magnitude)"
            ));
        }
        Ok(Sizes { least, most, by_magnitude })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes { least, most, by_magnitude } = self;
        let sign = if *by_magnitude { '~' } else { '-' };
        if least == most { write!(f, "{least}") } else { write!(f, "{least}{sign}{most}") }
    }
}

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// A value, read.
    Get,
    /// A value, written.
    Set,
    /// A number, counted up.
    Incr,
    /// A value, put into a list.
    Lpush,
    /// A hash, read as a whole.
    Hgetall,
    /// Nothing.
    Ping,
    /// The beginning of RESP3.
    Hello,
}

impl Command {
    /// Those that can be asked for.
    const ALL: [Command; 6] =
        [Command::Get, Command::Set, Command::Incr, Command::Lpush, Command::Hgetall, Command::Ping];

    /// As servers know it.
    pub fn name(self) -> &'static str {
        match self {
            Command::Get => "GET",
            Command::Set => "SET",
            Command::Incr => "INCR",
            Command::Lpush => "LPUSH",
            Command::Hgetall => "HGETALL",
            Command::Ping => "PING",
            Command::Hello => "HELLO",
        }
    }
}

/// Commands, each as often as its weight says: `get=9,set=1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commands([u32; Command::ALL.len()]);

impl Commands {
    /// Nine GETs and a SET.
    pub const READS: Commands = Commands([9, 1, 0, 0, 0, 0]);
    /// GETs alone.
    pub const GETS: Commands = Commands([1, 0, 0, 0, 0, 0]);
    /// HGETALLs alone.
    pub const HASHES: Commands = Commands([0, 0, 0, 0, 1, 0]);

    /// One of them.
    pub fn draw(&self, random: &mut Random) -> Command {
        let mut choice = random.within(0, self.0.iter().map(|&weight| u64::from(weight)).sum());
        for (command, &weight) in Command::ALL.iter().zip(&self.0) {
            if choice < u64::from(weight) {
                return *command;
            }
            choice -= u64::from(weight);
        }
        Command::Get
    }
}

impl FromStr for Commands {
    type Err = String;

    fn from_str(text: &str) -> Result<Commands, String> {
        let mut weights = [0; Command::ALL.len()];
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let place = Command::ALL.iter().position(|command| command.name().eq_ignore_ascii_case(name));
            let known = || Command::ALL.map(Command::name).join(", ").to_lowercase();
            let place = place.ok_or_else(|| format!("`{name}` is none of the commands that are made: {}", known()))?;
            weights[place] = weight.parse().map_err(|_| format!("`{weight}` is no weight of {name}"))?;
        }
        if weights.iter().all(|&weight| weight == 0) {
            return Err(format!("`{text}`: no command has a weight"));
        }
        Ok(Commands(weights))
    }
}

/// The plans that measurements are named for (docs/performance.md).
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Profile {
    /// 10 000 connections, a request and its reply, values of 32 to 512 bytes
    T1,
    /// 16 requests at once, segments that are full
    T2,
    /// Values of 16 KB, with acknowledgements
    T3,
    /// T1 with 1 000 000 connections
    T4,
    /// T1 with 10 000 000 connections
    T5,
    /// T1 of which 5 % of the frames are lost, 5 % late and 5 % twice
    T6,
    /// Acknowledgements alone
    T7,
    /// T1 on connections that are joined in the middle, and in time replaced
    T8,
    /// Bytes that are made to be hard to parse
    T9,
    /// RESP3: large hashes, and pushes between
    T10,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 10] = [
        Profile::T1,
        Profile::T2,
        Profile::T3,
        Profile::T4,
        Profile::T5,
        Profile::T6,
        Profile::T7,
        Profile::T8,
        Profile::T9,
        Profile::T10,
    ];

    /// What it is.
    pub fn plan(self) -> Plan {
        let plain = Plan {
            content: Content::Commands,
            connections: 10_000,
            in_flight: 4096,
            servers: 4,
            pipeline: Sizes::fixed(1),
            keys: 100_000,
            key_bytes: Sizes::fixed(16),
            value_bytes: Sizes::between(32, 512),
            fields: Sizes::fixed(100),
            commands: Commands::READS,
            resp3: 0.0,
            pushes: 0.0,
            ipv6: 0.0,
            segment_bytes: 1460,
            acks: false,
            timestamps: false,
            tunnel: Tunnel::None,
            lifetime: 0,
            joins: false,
            faults: Faults::default(),
            interval_ns: 250,
        };
        match self {
            Profile::T1 => plain,
            Profile::T2 => Plan { pipeline: Sizes::fixed(16), commands: Commands::GETS, ..plain },
            Profile::T3 => Plan { value_bytes: Sizes::fixed(16 << 10), acks: true, commands: Commands::GETS, ..plain },
            Profile::T4 => Plan { connections: 1_000_000, ..plain },
            Profile::T5 => Plan { connections: 10_000_000, ..plain },
            Profile::T6 => {
                // Lost data is waited for by the clock: at the rate of the others most connections would always be waiting.
                let faults = Faults { loss: 0.05, late: 0.05, duplicates: 0.05 };
                Plan { faults, interval_ns: 1000, ..plain }
            }
            Profile::T7 => Plan { content: Content::Acks, ..plain },
            Profile::T8 => Plan { joins: true, lifetime: 64, ..plain },
            Profile::T9 => Plan { content: Content::Hostile, ..plain },
            Profile::T10 => Plan {
                commands: Commands::HASHES,
                value_bytes: Sizes::between(8, 64),
                resp3: 1.0,
                pushes: 0.25,
                ..plain
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
