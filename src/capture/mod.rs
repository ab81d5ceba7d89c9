//! Where frames come from. A [`Source`] hands out batches of [`Frame`]s that borrow its memory: what must outlive the
//! batch is copied by whoever needs it.

pub mod afpacket;
#[cfg(feature = "afxdp")]
pub mod afxdp;
pub mod choice;
pub mod fault;
pub mod file;
pub mod interface;
pub mod live;
pub mod nic;
pub mod spread;
pub mod write;

use std::fmt;

use crate::units::Timestamp;

/// How the first header of a frame is to be read (the capture's link type).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum LinkType {
    /// IEEE 802.3 Ethernet (LINKTYPE 1).
    #[default]
    Ethernet,
    /// BSD loopback: a 4-byte address family in the writer's byte order (LINKTYPE 0).
    Null,
    /// `OpenBSD` loopback: as `Null`, in network byte order (LINKTYPE 108).
    Loop,
    /// A bare IPv4 or IPv6 packet (LINKTYPE 101, 12, 14, 228, 229).
    RawIp,
    /// Linux "cooked" capture, version 1: 16 bytes (LINKTYPE 113).
    LinuxSll,
    /// Linux "cooked" capture, version 2: 20 bytes (LINKTYPE 276).
    LinuxSll2,
}

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The bytes captured, from the link header on. May be fewer than were on the wire.
    pub bytes: &'a [u8],
    /// Length of the frame on the wire, in bytes.
    pub wire_len: u32,
    /// When it was seen.
    pub at: Timestamp,
    /// How to read its first header.
    pub link: LinkType,
}

/// By which of the kernel's ways the frames of an interface come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `AF_XDP`, read where the network card has written them.
    ZeroCopy,
    /// `AF_XDP`, copied once, by the driver.
    Copy,
    /// `AF_XDP`, copied behind the driver.
    Generic,
    /// `AF_PACKET`: copies; the host gets them, too.
    AfPacket,
}

impl Way {
    /// All of them, the best first.
    pub const ALL: [Way; 4] = [Way::ZeroCopy, Way::Copy, Way::Generic, Way::AfPacket];

    /// As `--mode` has it.
    pub fn name(self) -> &'static str {
        match self {
            Way::ZeroCopy => "zero-copy",
            Way::Copy => "copy",
            Way::Generic => "generic",
            Way::AfPacket => "af-packet",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of frames of an interface that `AF_XDP` does not keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Others {
    /// The host gets them.
    #[default]
    Pass,
    /// Nobody gets them.
    Drop,
}

/// What has become of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It has gone down, or was; frames come again when it is up.
    WentDown,
    /// It was removed, or moved to another network namespace: no frames will come any more.
    Gone,
}

/// What one call of [`Source::poll`] brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polled {
    /// This many frames were handed out (a live source: possibly none).
    Frames(usize),
    /// The source has ended; nothing more will come.
    End,
}

/// A source of frames.
pub trait Source {
    /// What can go wrong.
    type Error;

    /// Hands out at most `most` frames. They borrow the source, so they are gone before the next call.
    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, Self::Error>;
}

impl<S: Source> Source for &mut S {
    type Error = S::Error;

    #[inline]
    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, S::Error> {
        (**self).poll(most, each)
    }
}
