//! Packets as the tap sees them, and what can happen to them on the way there.

use std::collections::BTreeMap;

use super::Random;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

pub const MILLISECOND: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;
/// When all of this happens.
pub const EPOCH: u64 = 1_795_348_800 * SECOND;

/// One packet between a client (10.0.0.1 or `fd00::1`, by its port) and the server, port 6379.
#[derive(Clone, Debug)]
pub struct Packet {
    pub at: u64,
    /// Which connection: a port may be used by several, one after the other.
    pub connection: u32,
    pub port: u16,
    pub from_client: bool,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub payload: Vec<u8>,
    /// Place of the payload in its stream, from 0.
    pub offset: u64,
    /// Bytes of the frame that are captured.
    pub snap: usize,
}

impl Packet {
    /// The packet on an Ethernet; every fifth client speaks IPv6.
    pub fn frame(&self) -> Vec<u8> {
        let is_v6 = self.port.is_multiple_of(5);
        let mut frame = vec![2; 12];
        frame.extend_from_slice(if is_v6 { &[0x86, 0xdd] } else { &[8, 0] });
        let tcp_len = (20 + self.payload.len()) as u16;
        if is_v6 {
            let (client, server) =
                ([&[0xfd; 1][..], &[0; 14], &[1]].concat(), [&[0xfd; 1][..], &[0; 14], &[9]].concat());
            frame.extend_from_slice(&[0x60, 0, 0, 0]);
            frame.extend_from_slice(&tcp_len.to_be_bytes());
            frame.extend_from_slice(&[6, 64]);
            let (from, to) = if self.from_client { (client, server) } else { (server, client) };
            frame.extend_from_slice(&[from, to].concat());
        } else {
            frame.extend_from_slice(&[0x45, 0]);
            frame.extend_from_slice(&(20 + tcp_len).to_be_bytes());
            frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
            let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 9]);
            let (from, to) = if self.from_client { (client, server) } else { (server, client) };
            frame.extend_from_slice(&[from, to].concat());
        }
        let (from, to) = if self.from_client { (self.port, 6379) } else { (6379, self.port) };
        frame.extend_from_slice(&from.to_be_bytes());
        frame.extend_from_slice(&to.to_be_bytes());
        frame.extend_from_slice(&self.seq.to_be_bytes());
        frame.extend_from_slice(&self.ack.to_be_bytes());
        frame.extend_from_slice(&[5 << 4, self.flags]);
        frame.extend_from_slice(&self.window.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 0]);
        frame.extend_from_slice(&self.payload);
        frame
    }

    /// The same with the identification or the timestamp that a new packet has; IPv6 has only the latter.
    pub fn numbered_frame(&self, number: u32) -> Vec<u8> {
        let mut frame = self.frame();
        let tcp = if frame[12] == 0x86 { 54 } else { 34 };
        if tcp == 34 && number.is_multiple_of(2) {
            frame[18..20].copy_from_slice(&(number as u16).to_be_bytes());
        } else {
            let length_at = if tcp == 34 { 16 } else { 18 };
            let length = u16::from_be_bytes([frame[length_at], frame[length_at + 1]]) + 12;
            frame[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
            frame[tcp + 12] = 8 << 4;
            let option = [&[1, 1, 8, 10], &number.to_be_bytes()[..], &[0; 4]].concat();
            frame.splice(tcp + 20..tcp + 20, option);
        }
        frame
    }

    /// The part of it that carries payload bytes `from..to`.
    fn part(&self, from: usize, to: usize) -> Packet {
        let is_last = to == self.payload.len();
        Packet {
            seq: self.seq.wrapping_add(from as u32),
            offset: self.offset + from as u64,
            payload: self.payload[from..to].to_vec(),
            flags: if is_last { self.flags } else { self.flags & !(PSH | FIN) },
            ..*self
        }
    }

    fn flow(&self) -> (u32, bool) {
        (self.connection, self.from_client)
    }
}

/// Cuts every payload into pieces of `least` to `most` bytes.
pub fn cut(packets: &[Packet], least: u64, most: u64, random: &mut Random) -> Vec<Packet> {
    let mut cut = Vec::new();
    for packet in packets {
        let mut from = 0;
        while from < packet.payload.len() {
            let to = packet.payload.len().min(from + random.within(least, most + 1) as usize);
            cut.push(packet.part(from, to));
            from = to;
        }
        if packet.payload.is_empty() {
            cut.push(packet.clone());
        }
    }
    cut
}

/// Merges packets with payload that follow one another on their connection in the same direction.
pub fn merge(packets: &[Packet], random: &mut Random) -> Vec<Packet> {
    const PAYLOAD_MAX: usize = 60_000;
    let mut merged: Vec<Option<Packet>> = Vec::new();
    let mut last: BTreeMap<u32, usize> = BTreeMap::new();
    for packet in packets {
        let before = last.insert(packet.connection, merged.len()).and_then(|at| {
            merged[at].take_if(|before| {
                let both_carry = !before.payload.is_empty() && !packet.payload.is_empty();
                let in_order = before.offset + before.payload.len() as u64 == packet.offset;
                let fits = before.payload.len() + packet.payload.len() <= PAYLOAD_MAX;
                before.flow() == packet.flow() && both_carry && in_order && fits && random.chance(0.9)
            })
        });
        merged.push(Some(match before {
            None => packet.clone(),
            Some(before) => Packet {
                seq: before.seq,
                offset: before.offset,
                payload: [&before.payload[..], &packet.payload].concat(),
                ..*packet
            },
        }));
    }
    merged.into_iter().flatten().collect()
}

/// Moves packets (but SYNs and RSTs) a little, and repeats some, as they were or with the newest acknowledgement: within the
/// default reorder budget.
pub fn shake(packets: &[Packet], random: &mut Random) -> Vec<Packet> {
    let mut shaken = Vec::new();
    let resets = packets.iter().filter(|packet| packet.flags & RST != 0);
    // Nothing comes after its connection's RST that came before.
    let resets: BTreeMap<u32, u64> = resets.map(|packet| (packet.connection, packet.at - 1)).collect();
    let latest = |packet: &Packet| resets.get(&packet.connection).copied().unwrap_or(u64::MAX);
    for packet in packets {
        let is_fixed = packet.flags & (SYN | RST) != 0 || packet.offset == 0 && packet.payload.is_empty();
        let delay = if is_fixed || random.chance(0.7) { 0 } else { random.within(0, 5 * MILLISECOND) };
        shaken.push(Packet { at: (packet.at + delay).min(latest(packet)), ..packet.clone() });
        if !is_fixed && random.chance(0.05) {
            let delay = random.within(0, 20 * MILLISECOND);
            shaken.push(Packet { at: packet.at + delay, ..packet.clone() });
        }
    }
    // Once more, much later, each with what its sender acknowledges by then.
    let mut late = Vec::new();
    for (at, packet) in shaken.iter().enumerate() {
        if packet.payload.is_empty() || !random.chance(0.05) {
            continue;
        }
        let knows_less =
            |later: &&Packet| later.flow() == packet.flow() && !tells_of_arrival(packets, packet, later.ack);
        if let Some(later) = shaken[at..].iter().take(40).rfind(knows_less) {
            late.push(Packet { at: later.at + 1, ack: later.ack, ..packet.clone() });
        }
    }
    shaken.extend(late);
    sorted(shaken)
}

/// Whether who acknowledges so much has received that `packet` has arrived, and so does not send it again.
fn tells_of_arrival(packets: &[Packet], packet: &Packet, ack: u32) -> bool {
    let end = packet.seq.wrapping_add(packet.payload.len() as u32);
    let is_answer = |other: &&Packet| other.connection == packet.connection && other.from_client != packet.from_client;
    let mut answers = packets.iter().filter(is_answer);
    answers.any(|other| other.ack.wrapping_sub(end).cast_signed() >= 0 && ack.wrapping_sub(other.seq).cast_signed() > 0)
}

/// In order of time, no two at the same.
pub fn sorted(mut packets: Vec<Packet>) -> Vec<Packet> {
    packets.sort_by_key(|packet| packet.at);
    let mut last = 0;
    for packet in &mut packets {
        packet.at = packet.at.max(last + 1);
        last = packet.at;
    }
    packets
}

/// Drops packets of either direction with these probabilities, some in bursts.
pub fn drop_some(packets: &[Packet], of_client: f64, of_server: f64, random: &mut Random) -> Vec<Packet> {
    let mut burst = 0u64;
    let mut kept = Vec::new();
    for packet in packets {
        let probability = if packet.from_client { of_client } else { of_server };
        if burst > 0 && probability > 0.0 {
            burst -= 1;
        } else if random.chance(probability) {
            burst = if random.chance(0.2) { random.within(1, 6) } else { 0 };
        } else {
            kept.push(packet.clone());
        }
    }
    kept
}

/// Packets that belong to nobody: SYNs, SYN-ACKs and RSTs with numbers near and far; only not the very numbers that would
/// make the connection's data continue at them.
pub fn add_strays(packets: &[Packet], probability: f64, random: &mut Random) -> Vec<Packet> {
    let mut all = Vec::new();
    for packet in packets {
        all.push(packet.clone());
        if random.chance(probability) {
            let behind = random.within(2, 500) as u32;
            let ahead = random.pick(&[0, 1 << 24, 1 << 28, 1 << 31, 3 << 30]);
            let seq = packet.seq.wrapping_add(ahead).wrapping_sub(behind);
            let flags = random.pick(&[SYN, SYN | ACK, RST, RST | ACK]);
            let ack = if flags & SYN == 0 { packet.ack } else { random.next() as u32 };
            all.push(Packet { at: packet.at + 1, seq, ack, flags, payload: Vec::new(), ..*packet });
        }
    }
    sorted(all)
}
