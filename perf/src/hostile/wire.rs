//! Frames of many connections, written as a capture: Ethernet, IPv4, TCP without options. Checksums are left zero.

use std::io::{self, Write};

use crate::frame::SERVER_PORT;
use crate::random::SECOND;
use crate::tcp::{ACK, PSH, SYN};
use crate::world::EPOCH;

use super::honest::{Honest, Moment};

/// Time from one packet to the next, in nanoseconds: a million packets a second.
const PACKET_NS: u64 = 1_000;
/// Connections of one client address.
const PORTS: u64 = 60_000;
/// Where the servers are.
const SERVERS: u32 = u32::from_be_bytes([192, 168, 0, 1]);
/// Most bytes of a segment, as on Ethernet.
pub(super) const SEGMENT_BYTES: usize = 1460;

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Connections of the case.
    pub connections: u64,
    /// Packets, the honest ones counted.
    pub packets: u64,
    /// Requests of honest connections, each of them answered.
    pub honest: u64,
}

/// A connection: its ends, and how far its streams have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    client: u32,
    port: u16,
    server: u32,
    /// Next sequence numbers, of requests and of replies.
    pub(super) next: [u32; 2],
}

impl Flow {
    /// The connection of a number, with the first server.
    pub(super) fn numbered(number: u64) -> Flow {
        let client = u32::from_be_bytes([10, 0, 0, 0]) + (number / PORTS) as u32;
        Flow::of(client, 1024 + (number % PORTS) as u16, 0)
    }

    /// A connection by its client, and the number of its server.
    pub(super) fn of(client: u32, port: u16, server: u32) -> Flow {
        Flow { client, port, server: SERVERS + server, next: [1_000, 2_000] }
    }

    /// Bytes have been sent, seen or not.
    pub(super) fn advance(&mut self, from_client: bool, bytes: u32) {
        let next = &mut self.next[usize::from(!from_client)];
        *next = next.wrapping_add(bytes);
    }
}

/// Where frames go.
pub(super) struct Wire<W: Write> {
    out: W,
    now: u64,
    honest: Honest,
    facts: Facts,
    frame: Vec<u8>,
    identification: u16,
}

impl<W: Write> Wire<W> {
    /// Begins a capture: pcap, nanoseconds.
    pub(super) fn begin(mut out: W, honest: Honest) -> io::Result<Wire<W>> {
        for word in [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, 262_144, 1] {
            out.write_all(&word.to_le_bytes())?;
        }
        Ok(Wire { out, now: EPOCH, honest, facts: Facts::default(), frame: Vec::new(), identification: 0 })
    }

    /// Ends it: the answers that are due are given.
    pub(super) fn finish(mut self) -> io::Result<Facts> {
        self.honest.stop();
        // Those that are about to ask are still to be answered.
        self.pause(4 * SECOND)?;
        self.out.flush()?;
        Ok(self.facts)
    }

    /// A connection of the case begins to be counted.
    pub(super) fn count_connection(&mut self) {
        self.facts.connections += 1;
    }

    /// A while passes in which only the honest ones speak.
    pub(super) fn pause(&mut self, nanoseconds: u64) -> io::Result<()> {
        self.now += nanoseconds;
        self.speak_honestly()
    }

    /// The client's SYN.
    pub(super) fn syn(&mut self, flow: &Flow) -> io::Result<()> {
        let before = Flow { next: [flow.next[0].wrapping_sub(1), flow.next[1]], ..*flow };
        self.segment(&before, true, SYN, &[])
    }

    /// The server's answer to it.
    pub(super) fn syn_ack(&mut self, flow: &Flow) -> io::Result<()> {
        let before = Flow { next: [flow.next[0], flow.next[1].wrapping_sub(1)], ..*flow };
        self.segment(&before, false, SYN | ACK, &[])
    }

    /// A whole handshake.
    pub(super) fn handshake(&mut self, flow: &Flow) -> io::Result<()> {
        self.syn(flow)?;
        self.syn_ack(flow)?;
        self.segment(flow, true, ACK, &[])
    }

    /// Bytes of requests, or of replies, in as few segments as they need.
    pub(super) fn data(&mut self, flow: &mut Flow, from_client: bool, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(SEGMENT_BYTES) {
            self.segment(flow, from_client, ACK | PSH, chunk)?;
            flow.advance(from_client, chunk.len() as u32);
        }
        Ok(())
    }

    /// A fragment of an IP packet between the ends of a connection.
    pub(super) fn fragment(&mut self, flow: &Flow, identification: u16, block: u16, bytes: &[u8]) -> io::Result<()> {
        self.speak_honestly()?;
        let more_fragments = 0x2000;
        self.ip(flow, true, 20 + bytes.len(), identification, more_fragments | block);
        self.frame.extend_from_slice(bytes);
        self.packet(self.now)
    }

    fn segment(&mut self, flow: &Flow, from_client: bool, flags: u8, payload: &[u8]) -> io::Result<()> {
        self.speak_honestly()?;
        self.tcp(flow, from_client, flags, payload);
        self.packet(self.now)
    }

    /// What honest connections have to say by now.
    fn speak_honestly(&mut self) -> io::Result<()> {
        while let Some(Moment { at, asks, bytes, opens, ends_request, flow }) = self.honest.due(self.now) {
            if opens {
                let (client, server) = (flow.next[0].wrapping_sub(1), flow.next[1].wrapping_sub(1));
                self.tcp(&Flow { next: [client, 0], ..flow }, true, SYN, &[]);
                self.packet(at)?;
                self.tcp(&Flow { next: [flow.next[0], server], ..flow }, false, SYN | ACK, &[]);
                self.packet(at)?;
            }
            self.tcp(&flow, asks, ACK | PSH, bytes);
            self.packet(at)?;
            self.facts.honest += u64::from(ends_request);
        }
        self.now += PACKET_NS;
        Ok(())
    }

    fn ip(&mut self, flow: &Flow, from_client: bool, length: usize, identification: u16, fragment: u16) {
        let (from, to) = if from_client { (flow.client, flow.server) } else { (flow.server, flow.client) };
        let out = &mut self.frame;
        out.clear();
        out.extend_from_slice(&[2; 12]);
        out.extend_from_slice(&[0x08, 0x00, 0x45, 0]);
        out.extend_from_slice(&(length as u16).to_be_bytes());
        out.extend_from_slice(&identification.to_be_bytes());
        out.extend_from_slice(&fragment.to_be_bytes());
        out.extend_from_slice(&[64, 6, 0, 0]);
        out.extend_from_slice(&from.to_be_bytes());
        out.extend_from_slice(&to.to_be_bytes());
    }

    fn tcp(&mut self, flow: &Flow, from_client: bool, flags: u8, payload: &[u8]) {
        self.identification = self.identification.wrapping_add(1);
        self.ip(flow, from_client, 40 + payload.len(), self.identification, 0x4000);
        let (from, to) = if from_client { (flow.port, SERVER_PORT) } else { (SERVER_PORT, flow.port) };
        let [seq, ack] = if from_client { flow.next } else { [flow.next[1], flow.next[0]] };
        let ack = if flags & ACK == 0 { 0 } else { ack };
        let out = &mut self.frame;
        out.extend_from_slice(&from.to_be_bytes());
        out.extend_from_slice(&to.to_be_bytes());
        out.extend_from_slice(&seq.to_be_bytes());
        out.extend_from_slice(&ack.to_be_bytes());
        out.extend_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        out.extend_from_slice(payload);
    }

    fn packet(&mut self, at: u64) -> io::Result<()> {
        self.facts.packets += 1;
        let length = self.frame.len() as u32;
        for word in [(at / 1_000_000_000) as u32, (at % 1_000_000_000) as u32, length, length] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(&self.frame)
    }
}
