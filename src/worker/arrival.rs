//! Frames that were decoded, on their way to their connections.

use arrayvec::ArrayVec;

use crate::decode::Sent;
use crate::flow::key::{FlowKey, Ipv4Ends};
use crate::limits::BATCH_FRAMES;
use crate::reassembly::duplicate::Print;
use crate::units::{Direction, Timestamp};

/// A decoded frame on its way to its connection.
#[repr(C)]
pub(super) struct Arrival<'a> {
    pub(super) ends: Ipv4Ends,
    /// Where its connection is most likely.
    pub(super) guess: u32,
    pub(super) hash: u64,
    pub(super) sent: Sent<'a>,
    pub(super) at: Timestamp,
    /// What copies of it have in common.
    pub(super) print: Print,
    /// `None`: it is none of the usual kind, but the next of the others.
    pub(super) direction: Option<Direction>,
}

/// What is known of a decoded frame of whatever kind.
pub(super) struct Known<'a> {
    pub(super) sent: Sent<'a>,
    /// Bytes of it that were cut off.
    pub(super) cut: u32,
    pub(super) at: Timestamp,
    pub(super) direction: Direction,
    pub(super) print: Print,
    pub(super) hash: u64,
    pub(super) key: FlowKey,
    pub(super) vlans: [u16; 2],
}

impl<'a> Arrival<'a> {
    /// All that is known of one of the usual kind.
    #[inline(never)]
    pub(super) fn known(&self, direction: Direction) -> Known<'a> {
        let &Arrival { sent, ends, hash, at, print, .. } = self;
        Known { sent, cut: 0, at, direction, print, hash, key: ends.into(), vlans: [0; 2] }
    }
}

/// The decoded frames of a batch.
pub(super) type Arrivals<'a> = ArrayVec<Arrival<'a>, BATCH_FRAMES>;

/// Frames of another kind than the usual one, each of which has its place among the arrivals.
#[derive(Default)]
pub(super) struct Others<'a> {
    pub(super) all: ArrayVec<Known<'a>, BATCH_FRAMES>,
    /// Those that have arrived.
    pub(super) arrived: usize,
}
