//! What surrounds a wrong pair, for whoever has to find out how it came about: the connection's packets, captured or not,
//! with the requests and replies in them, and what resptap told of the connection up to there.

use std::fmt::Write;
use std::ops::Range;

use crate::host::Packet;
use crate::judge::Verdict;
use crate::mirror::Sight;
use crate::random::MILLISECOND;
use crate::world::{EPOCH, Link, World};

/// Packets that are shown, and what was told.
const PACKETS_MAX: usize = 120;
const TOLD_MAX: usize = 60;

/// Of the first wrong pair; where all is right, of the first request that is lost. The verdict must have its log.
pub fn surroundings(world: &World, sights: &[Sight], verdict: &Verdict) -> String {
    let mut text = String::new();
    let first_lost = verdict.log.iter().find(|told| told.text.contains("Lost"));
    let (at, link) = match (verdict.wrongs.first(), first_lost) {
        (Some(wrong), _) => (wrong.at, wrong.link),
        (None, Some(told)) => {
            let _ = writeln!(text, "no pair is wrong; the first request that is lost: {}", told.text);
            (told.at, told.link)
        }
        (None, None) => return "no pair is wrong, and no request is lost".to_owned(),
    };
    let _ = writeln!(text, "packets of connection {link} up to {} (-: not captured):", at - EPOCH);
    let mut lines = packets(world, sights, link);
    lines.retain(|(when, _)| *when <= at + 5 * MILLISECOND);
    for (_, line) in &lines[lines.len().saturating_sub(PACKETS_MAX)..] {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "what resptap told of it:");
    let told: Vec<_> = verdict.log.iter().filter(|told| told.link == link && told.at <= at).collect();
    for told in &told[told.len().saturating_sub(TOLD_MAX)..] {
        let _ = writeln!(text, "{} {}", told.at - EPOCH, told.text);
    }
    text
}

/// A connection's packets, each with when it was (or would have been) captured, in order.
fn packets(world: &World, sights: &[Sight], link: usize) -> Vec<(u64, String)> {
    let mut captured = vec![Vec::new(); world.packets.len()];
    for sight in sights {
        captured[sight.packet as usize].push(sight.at);
    }
    let packets = world.packets.iter().zip(&captured).filter(|(packet, _)| packet.link as usize == link);
    let mut lines: Vec<(u64, String)> = packets
        .map(|(packet, times)| {
            let when = times.first().copied().or(packet.at).unwrap_or_default();
            (when, line(packet, times, &world.links[link]))
        })
        .collect();
    lines.sort();
    lines
}

fn line(packet: &Packet, times: &[u64], link: &Link) -> String {
    let is_in = |range: &Range<u64>| packet.length > 0 && range.start < packet.to() && range.end > packet.from;
    let whose = link.exchanges.iter().enumerate().filter(|(_, exchange)| {
        if packet.from_client { is_in(&exchange.request) } else { exchange.reply.as_ref().is_some_and(is_in) }
    });
    let whose: Vec<String> =
        whose.map(|(at, exchange)| format!("{at} {} {:?}", exchange.command, exchange.answer)).collect();
    let times: Vec<String> = times.iter().map(|at| (at - EPOCH).to_string()).collect();
    format!(
        "{}{} {}..{} ack {} window {} flags {:#04x} at {} [{}]",
        if times.is_empty() { '-' } else { ' ' },
        if packet.from_client { "C" } else { "          S" },
        packet.from,
        packet.to(),
        packet.ack,
        packet.window,
        packet.flags,
        times.join(" "),
        whose.join(", ")
    )
}
