//! The cases: each wants of one thing more than there is.

use std::io::{self, Write};

use clap::ValueEnum;

use crate::random::{MILLISECOND, Random, SECOND};

use super::wire::{Flow, SEGMENT_BYTES, Wire};

/// What there is too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Case {
    /// Connections of which only a SYN is seen
    Syn,
    /// Connections of which only SYN and SYN-ACK are seen
    HalfOpen,
    /// SYNs from anywhere
    Flood,
    /// Connections that each hold data behind a missing segment; each thousandth more and more of it
    Holes,
    /// Connections that each begin a request that they never end
    Headers,
    /// Replies that begin arrays in arrays and never end
    Nested,
    /// Transactions of which EXEC's array never ends
    Transactions,
    /// Clients that ask and are not answered; each thousandth with a pipeline of a million
    Unread,
    /// Busy connections from before the capture that ask for one kind of value and always have requests outstanding
    Midstream,
    /// Clients that tell their names
    Names,
    /// Long keys, each used once
    Keys,
    /// Many servers and clients, commands, and latencies from microseconds to seconds
    Series,
    /// Fragments of IP packets that never become whole
    Fragments,
}

impl Case {
    /// Writes it.
    pub(super) fn run<W: Write>(self, connections: u64, random: &mut Random, wire: &mut Wire<W>) -> io::Result<()> {
        // The honest ones are there first.
        wire.pause(20 * MILLISECOND)?;
        match self {
            Case::Syn => each(connections, wire, |wire, flow| wire.syn(flow)),
            Case::HalfOpen => each(connections, wire, |wire, flow| {
                wire.syn(flow)?;
                wire.syn_ack(flow)
            }),
            Case::Flood => flood(connections, random, wire),
            Case::Holes => holes(connections, wire),
            Case::Headers => each(connections, wire, |wire, flow| {
                wire.handshake(flow)?;
                wire.data(flow, true, random.pick(&UNFINISHED))
            }),
            Case::Nested => each(connections, wire, |wire, flow| nested(wire, flow, random)),
            Case::Transactions => each(connections, wire, transaction),
            Case::Unread => unread(connections, wire),
            Case::Midstream => midstream(connections, random, wire),
            Case::Names => each(connections, wire, |wire, flow| name(wire, flow, random)),
            Case::Keys => keys(connections, random, wire),
            Case::Series => series(connections, random, wire),
            Case::Fragments => fragments(connections, random, wire),
        }
    }
}

/// Requests without an end, with what they promise.
const UNFINISHED: [&[u8]; 6] = [
    b"*",
    b"*1000000\r\n$3\r\nSET\r\n$536870912\r\n",
    b"*2147483647\r\n$4\r\nMSET\r\n",
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$536870912\r\nthe beginning of a value",
    b"*3\r\n$3\r\nSET\r\n$536870912\r\nthe beginning of a key",
    b"SET key of an inline command without an end",
];

fn each<W: Write>(
    connections: u64,
    wire: &mut Wire<W>,
    mut run: impl FnMut(&mut Wire<W>, &mut Flow) -> io::Result<()>,
) -> io::Result<()> {
    for number in 0..connections {
        wire.count_connection();
        run(wire, &mut Flow::numbered(number))?;
    }
    Ok(())
}

/// A request as servers want it.
fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn flood<W: Write>(connections: u64, random: &mut Random, wire: &mut Wire<W>) -> io::Result<()> {
    for _ in 0..connections {
        wire.count_connection();
        let bits = random.bits();
        wire.syn(&Flow::of(bits as u32, (bits >> 32) as u16 | 1, 0))?;
    }
    Ok(())
}

fn holes<W: Write>(connections: u64, wire: &mut Wire<W>) -> io::Result<()> {
    let bytes = [b'x'; SEGMENT_BYTES];
    for number in 0..connections {
        wire.count_connection();
        let flow = &mut Flow::numbered(number);
        wire.handshake(flow)?;
        let from_client = number.is_multiple_of(2);
        flow.advance(from_client, SEGMENT_BYTES as u32);
        // The bound of one direction, and more.
        let segments = if number % 1000 == 999 { (5 << 20) / SEGMENT_BYTES } else { 1 };
        for _ in 0..segments {
            wire.data(flow, from_client, &bytes)?;
        }
    }
    Ok(())
}

fn nested<W: Write>(wire: &mut Wire<W>, flow: &mut Flow, random: &mut Random) -> io::Result<()> {
    wire.handshake(flow)?;
    wire.data(flow, true, &request(&[b"COMMAND"]))?;
    let depth = random.within(1, 64) as usize;
    let mut reply = b"*1000000\r\n".repeat(depth);
    reply.extend_from_slice(b"-ERR an error whose text does not end ");
    reply.extend_from_slice(&[b'x'; 300]);
    wire.data(flow, false, &reply)
}

/// Commands of a transaction.
const QUEUED: usize = 64;

fn transaction<W: Write>(wire: &mut Wire<W>, flow: &mut Flow) -> io::Result<()> {
    wire.handshake(flow)?;
    let mut requests = request(&[b"MULTI"]);
    for _ in 0..QUEUED {
        requests.extend(request(&[b"LLEN", b"list"]));
    }
    requests.extend(request(&[b"EXEC"]));
    wire.data(flow, true, &requests)?;
    let mut replies = b"+OK\r\n".to_vec();
    replies.extend(b"+QUEUED\r\n".repeat(QUEUED));
    // More than were asked for.
    replies.extend(b"*70000\r\n");
    replies.extend(b":1\r\n".repeat(20_000));
    wire.data(flow, false, &replies)
}

fn unread<W: Write>(connections: u64, wire: &mut Wire<W>) -> io::Result<()> {
    let one = request(&[b"LPUSH", b"list", b"element"]);
    let per_segment = SEGMENT_BYTES / one.len();
    let segment = one.repeat(per_segment);
    for number in 0..connections {
        wire.count_connection();
        let flow = &mut Flow::numbered(number);
        wire.handshake(flow)?;
        let requests = if number.is_multiple_of(1000) { 1_000_000 } else { per_segment };
        for _ in 0..requests / per_segment {
            wire.data(flow, true, &segment)?;
        }
    }
    Ok(())
}

/// Requests of each connection that are always outstanding, and requests of each.
const OUTSTANDING: usize = 16;
const BUSY_REQUESTS: usize = 2_000;

fn midstream<W: Write>(connections: u64, random: &mut Random, wire: &mut Wire<W>) -> io::Result<()> {
    let mut flows: Vec<Flow> = (0..connections).map(Flow::numbered).collect();
    let requests = request(&[b"HGET", b"hash", b"field"]).repeat(OUTSTANDING / 2);
    let replies = b"$5\r\nvalue\r\n".repeat(OUTSTANDING / 2);
    for flow in &mut flows {
        wire.count_connection();
        wire.data(flow, true, &requests)?;
    }
    for _ in 0..BUSY_REQUESTS / (OUTSTANDING / 2) {
        for flow in &mut flows {
            // What is answered is what was asked before the last.
            wire.data(flow, true, &requests)?;
            if random.chance(0.01) {
                flow.advance(false, replies.len() as u32);
            } else {
                wire.data(flow, false, &replies)?;
            }
        }
    }
    Ok(())
}

fn name<W: Write>(wire: &mut Wire<W>, flow: &mut Flow, random: &mut Random) -> io::Result<()> {
    wire.handshake(flow)?;
    let name = format!("{:064x}", random.bits());
    let name = name.as_bytes();
    let mut requests = request(&[b"CLIENT", b"SETNAME", name]);
    requests.extend(request(&[b"CLIENT", b"SETINFO", b"LIB-NAME", name]));
    requests.extend(request(&[b"CLIENT", b"SETINFO", b"LIB-VER", name]));
    wire.data(flow, true, &requests)?;
    wire.data(flow, false, &b"+OK\r\n".repeat(3))
}

/// Keys that a connection of that case uses.
const KEYS: usize = 10_000;

fn keys<W: Write>(connections: u64, random: &mut Random, wire: &mut Wire<W>) -> io::Result<()> {
    each(connections, wire, |wire, flow| {
        wire.handshake(flow)?;
        for _ in 0..KEYS {
            let key = format!("{:016x}:{:0200x}", random.bits(), random.bits());
            wire.data(flow, true, &request(&[b"SET", key.as_bytes(), b"value"]))?;
            wire.data(flow, false, b"+OK\r\n")?;
        }
        Ok(())
    })
}

/// Servers of that case, its clients, and the commands that they use.
const SERVERS: u64 = 4_000;
const CLIENTS: u64 = 5_000;
const COMMANDS: [&[u8]; 8] = [b"TTL", b"LLEN", b"SCARD", b"ZCARD", b"HLEN", b"STRLEN", b"TYPE", b"EXISTS"];
/// Connections whose replies all come late.
const LATE_TOGETHER: u64 = 4_000;
/// How much later: with them all time goes on.
const LATE_NS: [u64; 4] = [MILLISECOND, 20 * MILLISECOND, 300 * MILLISECOND, 5 * SECOND];

fn series<W: Write>(connections: u64, random: &mut Random, wire: &mut Wire<W>) -> io::Result<()> {
    let mut late = Vec::new();
    for number in 0..connections {
        wire.count_connection();
        let client = u32::from_be_bytes([10, 0, 0, 0]) + (number % CLIENTS) as u32;
        // A client's ports are those of its connections, in turn; so are a server's commands.
        let mut flow = Flow::of(client, 1024 + (number / CLIENTS) as u16, (number % SERVERS) as u32);
        let command = COMMANDS[(number / SERVERS) as usize % COMMANDS.len()];
        wire.handshake(&flow)?;
        // One is answered at once, so that its histogram has to grow for the next.
        wire.data(&mut flow, true, &request(&[command, b"key"]))?;
        wire.data(&mut flow, false, b":1\r\n")?;
        wire.data(&mut flow, true, &request(&[command, b"key"]))?;
        late.push(flow);
        if late.len() as u64 == LATE_TOGETHER {
            wire.pause(random.pick(&LATE_NS))?;
            for mut flow in late.drain(..) {
                wire.data(&mut flow, false, b":1\r\n")?;
            }
        }
    }
    Ok(())
}

fn fragments<W: Write>(connections: u64, random: &mut Random, wire: &mut Wire<W>) -> io::Result<()> {
    let bytes = [0; SEGMENT_BYTES / 8 * 8];
    each(connections, wire, |wire, flow| {
        let identification = random.bits() as u16;
        wire.fragment(flow, identification, random.within(0, 8_000) as u16, &bytes)
    })
}
