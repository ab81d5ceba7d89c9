//! Frames: Ethernet, IPv4, TCP with timestamps. Checksums are left zero, as sending hosts with offload leave them.

use crate::host::{Packet, WINDOW_UNIT_BYTES};
use crate::mirror::Sight;
use crate::tcp::SYN;
use crate::world::World;

/// Port of the server.
pub const SERVER_PORT: u16 = 6379;
/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 14 + 20 + 32;

/// Writes the frame of a sight; answers how long it was on the wire. What the capture cuts off is not written.
pub fn frame(world: &World, sight: &Sight, out: &mut Vec<u8>) -> u32 {
    let packet = &world.packets[sight.packet as usize];
    let link = &world.links[packet.link as usize];
    let wire_len = HEADER_BYTES + packet.length as usize;
    out.clear();
    out.extend_from_slice(if sight.routed { &[6; 12] } else { &[2; 12] });
    out.extend_from_slice(&[0x08, 0x00]);
    ip(packet, sight.routed, wire_len - 14, out);
    let (from, to) = if packet.from_client { (link.port, SERVER_PORT) } else { (SERVER_PORT, link.port) };
    out.extend_from_slice(&from.to_be_bytes());
    out.extend_from_slice(&to.to_be_bytes());
    let (own, other) = if packet.from_client { (0, 1) } else { (1, 0) };
    let is_syn = packet.flags & SYN != 0;
    // A SYN's own number is the one before the first byte's.
    let seq = link.isn[own].wrapping_add(u32::from(!is_syn)).wrapping_add(packet.from as u32);
    let ack = if packet.flags == SYN { 0 } else { link.isn[other].wrapping_add(1).wrapping_add(packet.ack as u32) };
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&ack.to_be_bytes());
    out.extend_from_slice(&[8 << 4, packet.flags]);
    out.extend_from_slice(&((packet.window / WINDOW_UNIT_BYTES).min(u64::from(u16::MAX)) as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 1, 1, 8, 10]);
    out.extend_from_slice(&packet.stamp.to_be_bytes());
    out.extend_from_slice(&packet.echo.to_be_bytes());
    let snap = world.scenario.mirror.snap as usize;
    let captured = (packet.length as usize).min(snap.saturating_sub(HEADER_BYTES));
    let at = packet.from as usize;
    if captured > 0 {
        out.extend_from_slice(&link.stream(packet.from_client)[at..at + captured]);
    }
    wire_len as u32
}

fn ip(packet: &Packet, routed: bool, length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(&packet.id.to_be_bytes());
    out.extend_from_slice(&[0x40, 0, if routed { 63 } else { 64 }, 6, 0, 0]);
    let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 9]);
    let (from, to) = if packet.from_client { (client, server) } else { (server, client) };
    out.extend_from_slice(&from);
    out.extend_from_slice(&to);
}
