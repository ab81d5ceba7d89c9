//! A second look at a capture in which nothing was found: which ports does it have, and what is spoken there?
//!
//! Reads at most 200,000 packets of a file, with memory for a counter per port. Only to advise people: whatever
//! can't be read again gives no survey, never an error.

use std::path::Path;

use crate::capture::file::{FileSource, OpenOptions};
use crate::capture::{Polled, Source};
use crate::decode::{Packet, decode};
use crate::limits::BATCH_FRAMES;
use crate::redis::command::{CommandId, CommandTable};

/// Packets that are looked at.
const FRAMES_MAX: usize = 200_000;
/// Ports that are told.
const PORTS_TOLD: usize = 5;

/// What a port is used for, as far as its packets show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortSeen {
    /// The servers' port: the lower one of a connection's two, unless the protocol says otherwise.
    pub port: u16,
    /// Packets to and from it.
    pub packets: u64,
    /// Packets to it that begin as a Redis request does.
    pub redis: u64,
    /// Packets from and to it that begin as TLS does.
    pub tls: u64,
}

/// The ports of a capture's beginning: those with Redis requests first, then the busiest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Survey {
    /// At most five.
    pub ports: Vec<PortSeen>,
}

impl Survey {
    /// Looks at the beginning of a file; standard input can't be read twice.
    pub fn of(path: &Path) -> Option<Survey> {
        if !path.metadata().is_ok_and(|file| file.is_file()) {
            return None;
        }
        let mut source = FileSource::open(path, OpenOptions { mmap: false }).ok()?;
        let mut ports = vec![PortSeen::default(); usize::from(u16::MAX) + 1];
        let commands = CommandTable::built_in();
        let mut left = FRAMES_MAX;
        while left > 0 {
            let mut tally = |frame| {
                if let Ok(segment) = decode(&frame) {
                    note(&mut ports, &segment, commands);
                }
            };
            // A damaged file has been complained of already.
            let Ok(Polled::Frames(frames)) = source.poll(BATCH_FRAMES.min(left), &mut tally) else { break };
            left -= frames.min(left);
        }
        Some(Survey { ports: ranked(ports) })
    }

    /// What was seen of a port.
    pub fn port(&self, port: u16) -> Option<&PortSeen> {
        self.ports.iter().find(|seen| seen.port == port)
    }
}

fn note(ports: &mut [PortSeen], segment: &Packet<'_>, commands: &CommandTable) {
    let (from, to) = (segment.source.port, segment.destination.port);
    let is_request = begins_a_request(segment.payload, commands);
    let server = if is_request { to } else { from.min(to) };
    let seen = &mut ports[usize::from(server)];
    seen.packets += 1;
    seen.redis += u64::from(is_request);
    seen.tls += u64::from(begins_tls(segment.payload));
}

/// An array whose first item is a Redis command: `*2\r\n$3\r\nGET…`. Replies may be arrays as well, but don't begin so.
fn begins_a_request(payload: &[u8], commands: &CommandTable) -> bool {
    let mut lines = payload.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (Some(count), Some(length), Some(name)) = (lines.next(), lines.next(), lines.next()) else { return false };
    let is_number = |line: &[u8], mark| {
        line.strip_prefix(mark).is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
    };
    is_number(count, b"*") && is_number(length, b"$") && commands.find(name).is_some_and(CommandId::is_known)
}

/// A TLS record: handshake or application data, of version 1.x.
fn begins_tls(payload: &[u8]) -> bool {
    matches!(payload, [0x14..=0x17, 3, 0..=4, ..])
}

fn ranked(mut ports: Vec<PortSeen>) -> Vec<PortSeen> {
    for (number, seen) in (0..=u16::MAX).zip(&mut ports) {
        seen.port = number;
    }
    ports.retain(|seen| seen.packets > 0);
    ports.sort_by_key(|seen| (std::cmp::Reverse((seen.redis, seen.packets)), seen.port));
    ports.truncate(PORTS_TOLD);
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_speaks_redis_on_its_port_only() {
        let survey = Survey::of(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/redis.pcap"))).unwrap();
        assert_eq!(survey.ports.len(), 1, "{survey:?}");
        let seen = survey.port(6379).unwrap();
        assert!(seen.packets > 400 && seen.redis > 100 && seen.tls == 0, "{seen:?}");
        assert_eq!(survey.port(80), None);
    }

    #[test]
    fn what_can_not_be_read_again_gives_no_survey() {
        for path in ["/dev/null", "/no/such/file", "/tmp", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            assert_eq!(Survey::of(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn requests_and_tls_are_told_by_their_first_bytes() {
        let commands = CommandTable::built_in();
        assert!(begins_a_request(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n", commands));
        let replies = [&b"*2\r\n:1\r\n:2\r\n"[..], b"*1\r\n$6\r\nbasket\r\n", b"$3\r\nGET\r\n", b"*\r\n$\r\nGET\r\n"];
        for other in replies.into_iter().chain([&b"*2"[..], b"", b"GET / HTTP/1.1\r\n\r\n"]) {
            assert!(!begins_a_request(other, commands), "{other:?}");
        }
        assert!(begins_tls(&[0x16, 3, 1, 2, 0]) && begins_tls(&[0x17, 3, 3, 0, 9]));
        assert!(!begins_tls(b"\x16\x04\x01") && !begins_tls(b"*2\r\n") && !begins_tls(&[0x16, 3]));
    }

    #[test]
    fn ports_with_requests_come_before_busier_ones_and_few_are_told() {
        let mut ports = vec![PortSeen::default(); 65_536];
        for (number, seen) in (0..10).zip(&mut ports) {
            seen.packets = 100 * number;
        }
        ports[3].redis = 1;
        let ranked: Vec<u16> = ranked(ports).iter().map(|seen| seen.port).collect();
        assert_eq!(ranked, [3, 9, 8, 7, 6]);
    }
}
