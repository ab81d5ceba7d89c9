//! Traffic as a capture file: pcap or pcapng, nanoseconds.

use std::io::{self, Write};

use clap::ValueEnum;

use resptap::capture::write::PcapWriter;
use resptap::capture::{Frame, LinkType};

use super::{Facts, Generator, Plan};

/// Frames that are made at once.
const PIECE: usize = 65_536;

/// How a capture is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// pcap
    #[default]
    Pcap,
    /// pcapng
    Pcapng,
}

/// Writes so many requests' traffic as a capture to `out`, and, if it is wanted, the truth about each that was answered as a line
/// of JSON to `truth`.
pub fn write(
    plan: &Plan,
    seed: u64,
    requests: u64,
    format: Format,
    out: impl Write,
    mut truth: Option<&mut dyn Write>,
) -> io::Result<Facts> {
    let mut generator = Generator::new(plan, seed).with_limit(requests);
    if truth.is_some() {
        generator = generator.with_truth();
    }
    let mut file = match format {
        Format::Pcap => File::Pcap(PcapWriter::new(out, LinkType::Ethernet, true)?),
        Format::Pcapng => File::Pcapng(begin_pcapng(out)?),
    };
    while !generator.next(PIECE).is_empty() {
        for frame in generator.trace().frames() {
            file.frame(&frame)?;
        }
        if let Some(mut truth) = truth.as_mut() {
            for exchange in generator.take_truth() {
                exchange.write(plan, &mut truth)?;
            }
        }
    }
    file.finish()?;
    Ok(*generator.facts())
}

enum File<W> {
    Pcap(PcapWriter<W>),
    Pcapng(W),
}

impl<W: Write> File<W> {
    fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        match self {
            File::Pcap(writer) => writer.frame(frame.at, frame.bytes, frame.wire_len),
            File::Pcapng(out) => packet_block(out, frame),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            File::Pcap(writer) => writer.finish().map(|_| ()),
            File::Pcapng(mut out) => out.flush(),
        }
    }
}

/// A section and its one interface, whose times are in nanoseconds (draft-ietf-opsawg-pcapng).
fn begin_pcapng<W: Write>(mut out: W) -> io::Result<W> {
    let section: [u32; 7] = [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28];
    let no_snap_length = 0;
    let (resolution, nanoseconds) = (1 << 16 | 9, 9);
    let interface: [u32; 8] = [1, 32, 1, no_snap_length, resolution, nanoseconds, 0, 32];
    for word in section.iter().chain(&interface) {
        out.write_all(&word.to_le_bytes())?;
    }
    Ok(out)
}

/// An enhanced packet block.
fn packet_block(out: &mut impl Write, frame: &Frame<'_>) -> io::Result<()> {
    let captured = frame.bytes.len();
    let padding = captured.next_multiple_of(4) - captured;
    let total = (32 + captured + padding) as u32;
    for word in [6, total, 0, (frame.at.0 >> 32) as u32, frame.at.0 as u32, captured as u32, frame.wire_len] {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(frame.bytes)?;
    out.write_all(&[0; 3][..padding])?;
    out.write_all(&total.to_le_bytes())
}
