//! One frame of any link type: decoding is total, a payload lies in its frame, and cutting a frame off changes nothing of
//! what is left of it.

use resptap::capture::{Frame, LinkType};
use resptap::decode::{Packet, Skip, decode};
use resptap::units::Timestamp;

use super::input::Input;

pub const LINKS: [LinkType; 6] =
    [LinkType::Ethernet, LinkType::Null, LinkType::Loop, LinkType::RawIp, LinkType::LinuxSll, LinkType::LinuxSll2];

/// Link type, where it is cut (2), by what it was longer on the wire (2), then the frame.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let link = LINKS[usize::from(input.byte()) % LINKS.len()];
    let (cut, beyond) = (usize::from(input.short()), u32::from(input.short()));
    let bytes = input.0;
    let wire_len = bytes.len() as u32 + beyond;
    let frame = Frame { bytes, wire_len, at: Timestamp(1), link };
    let whole = decode(&frame);
    if let Ok(segment) = &whole {
        check(segment, &frame);
    }
    let kept = &bytes[..cut % (bytes.len() + 1)];
    let shorter = Frame { bytes: kept, ..frame };
    match (whole, decode(&shorter)) {
        (Ok(whole), Ok(part)) => {
            check(&part, &shorter);
            assert_eq!((part.source, part.destination), (whole.source, whole.destination));
            assert_eq!((part.seq, part.ack, part.window), (whole.seq, whole.ack, whole.window));
            assert_eq!(part.wire_payload_len, whole.wire_payload_len);
            assert!(whole.payload.starts_with(part.payload));
        }
        (Ok(_), Err(skip)) => assert_eq!(skip, Skip::CutOff, "only what is missing is missed"),
        (Err(skip), Err(other)) => assert!(other == skip || other == Skip::CutOff, "{skip:?} became {other:?}"),
        (Err(skip), Ok(_)) => assert_eq!(skip, Skip::Malformed, "fewer bytes say no more"),
    }
}

fn check(segment: &Packet<'_>, frame: &Frame<'_>) {
    let (within, payload) = (frame.bytes.as_ptr_range(), segment.payload.as_ptr_range());
    assert!(segment.payload.is_empty() || within.start <= payload.start && payload.end <= within.end);
    assert!(segment.payload.len() <= segment.wire_payload_len as usize);
    // A mirror or a tunnel may have cut the packet off: then it is as long as its IP header says.
    assert!(segment.wire_payload_len <= frame.wire_len.max(u32::from(u16::MAX)));
}
