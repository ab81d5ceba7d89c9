//! Writes pcap files: for the traffic generator and the tests.
//!
//! Little endian, micro- or nanoseconds. Never panics; buffers nothing, so `out` should. Spec:
//! draft-ietf-opsawg-pcap.

use std::io::{self, ErrorKind, Write};

use super::LinkType;
use crate::limits::FRAME_BYTES_MAX;
use crate::units::Timestamp;

/// A pcap file being written.
#[derive(Debug)]
pub struct PcapWriter<W> {
    out: W,
    nanoseconds: bool,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file's header.
    pub fn new(mut out: W, link: LinkType, nanoseconds: bool) -> io::Result<PcapWriter<W>> {
        let magic: u32 = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        let mut header = [0; 24];
        header[0..4].copy_from_slice(&magic.to_le_bytes());
        header[4..6].copy_from_slice(&2u16.to_le_bytes());
        header[6..8].copy_from_slice(&4u16.to_le_bytes());
        header[16..20].copy_from_slice(&FRAME_BYTES_MAX.to_le_bytes());
        header[20..24].copy_from_slice(&u32::from(link.number()).to_le_bytes());
        out.write_all(&header)?;
        Ok(PcapWriter { out, nanoseconds })
    }

    /// Writes a frame that was `wire_len` bytes long, of which `bytes` were captured. The format has no room for times
    /// after the year 2106 or for frames longer than 4 GB.
    pub fn frame(&mut self, at: Timestamp, bytes: &[u8], wire_len: u32) -> io::Result<()> {
        let too_much = |what: &'static str| io::Error::new(ErrorKind::InvalidInput, what);
        let seconds = u32::try_from(at.0 / 1_000_000_000).map_err(|_| too_much("a time that pcap can't express"))?;
        let nanoseconds = (at.0 % 1_000_000_000) as u32;
        let captured = u32::try_from(bytes.len()).map_err(|_| too_much("a frame that pcap can't express"))?;
        let mut header = [0; 16];
        header[0..4].copy_from_slice(&seconds.to_le_bytes());
        let fraction = if self.nanoseconds { nanoseconds } else { nanoseconds / 1000 };
        header[4..8].copy_from_slice(&fraction.to_le_bytes());
        header[8..12].copy_from_slice(&captured.to_le_bytes());
        header[12..16].copy_from_slice(&wire_len.to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(bytes)
    }

    /// Flushes, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}
