//! One direction of a connection: what comes next, what was acknowledged, what waits behind a hole.

use crate::decode::seq::Seq;
use crate::limits::{STREAM_BUFFER_BYTES_MAX, WINDOW_BYTES_MAX};
use crate::pool::NONE;
use crate::units::{Offset, Timestamp};

use super::pages::{Full, Page, Pages, Piece};

/// Where a segment lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// It begins at the next byte, or before it: so many of its first bytes have been seen.
    Next {
        /// Bytes already seen.
        old: u32,
    },
    /// Everything in it has been seen.
    Old,
    /// Bytes before it are missing.
    Ahead,
    /// No TCP window reaches there.
    OutOfWindow,
}

/// One direction of a connection. Plain data.
#[derive(Clone, Copy, Debug)]
pub struct HalfStream {
    next: Offset,
    acked: Offset,
    time: Timestamp,
    /// Once a segment of it was seen, the pages that wait. Until then, where it began, or, if its place is not known, where what
    /// the other side acknowledges did.
    list_or_first: u32,
    window_most: u16,
    /// Of the bits below.
    state: u8,
}

/// Its sequence numbers are known.
const KNOWN: u8 = 1 << 0;
const ENDED: u8 = 1 << 1;
/// A segment of it was seen.
const SEEN: u8 = 1 << 2;
/// It offered a window of zero, or one far smaller than before, and nothing of the other direction was seen since.
const WINDOW_CLOSED: u8 = 1 << 3;

const _: () = assert!(size_of::<HalfStream>() == 32);

impl Default for HalfStream {
    fn default() -> Self {
        HalfStream {
            next: Offset(0),
            acked: Offset(0),
            time: Timestamp::NONE,
            list_or_first: 0,
            window_most: 0,
            state: 0,
        }
    }
}

impl HalfStream {
    /// Begins at a sequence number: that of its first byte, as far as is known.
    pub fn begin(&mut self, first: Seq) {
        self.next = first.first_offset();
        self.acked = self.next;
        self.set_first(first);
        self.state |= KNOWN;
    }

    fn set_first(&mut self, first: Seq) {
        if !self.is_seen() {
            self.list_or_first = first.0;
        }
    }

    /// It does not begin where it was thought to.
    pub fn forget_beginning(&mut self) {
        self.state &= !KNOWN;
        self.acked = Offset(0);
    }

    /// Whether its sequence numbers are known.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.state & KNOWN != 0
    }

    /// Whether a segment of it was seen.
    #[inline]
    pub fn is_seen(&self) -> bool {
        self.state & SEEN != 0
    }

    /// A segment of it is seen. Answers how many bytes were stepped over before the first one, of one whose place is known.
    pub fn see(&mut self) -> u64 {
        if self.is_seen() {
            return 0;
        }
        let passed = self.next.distance_from(Seq(self.list_or_first).first_offset());
        self.state |= SEEN;
        self.list_or_first = NONE;
        passed
    }

    /// As if none had been seen. Nothing of it may wait.
    pub fn lose_sight(&mut self) {
        debug_assert!(!self.is_waiting());
        self.state &= !SEEN;
        self.list_or_first = 0;
    }

    fn list(&self) -> u32 {
        if self.is_seen() { self.list_or_first } else { NONE }
    }

    /// Position of the next byte.
    #[inline]
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Highest position that the other side acknowledged.
    #[inline]
    pub fn acked(&self) -> Offset {
        self.acked
    }

    /// Time of the last byte: the running maximum of first sightings.
    #[inline]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Its FIN has been reached, or it was cut off.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.state & ENDED != 0
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        self.state |= ENDED;
    }

    /// Whether nothing of it is missing or to be found out: it has begun, has brought data, of which nothing is known to be
    /// missing, and goes on.
    #[inline]
    pub fn is_plain(&self) -> bool {
        let is_whole = self.list_or_first == NONE && self.acked <= self.next;
        self.state & (KNOWN | SEEN | ENDED) == KNOWN | SEEN && is_whole && self.time.is_known()
    }

    /// Data waits behind a hole.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.list() != NONE
    }

    /// This side offers a window (not scaled). A sender may wait for a closed one to open, and for a small one to grow.
    #[inline(always)]
    pub fn offer(&mut self, window: u16) {
        // Nearly always nothing of it is news.
        if window > self.window_most || window <= self.window_most / 4 {
            self.window_most = self.window_most.max(window);
            self.state |= if window <= self.window_most / 4 { WINDOW_CLOSED } else { 0 };
        }
    }

    /// Something of the other direction was seen: its window is open.
    #[inline]
    pub fn open_window(&mut self) {
        self.state &= !WINDOW_CLOSED;
    }

    /// Whether a sender may wait for its window.
    #[inline]
    pub fn is_window_closed(&self) -> bool {
        self.state & WINDOW_CLOSED != 0
    }

    /// The other side acknowledged up to here.
    #[inline]
    pub fn acknowledge(&mut self, ack: Offset) {
        self.acked = self.acked.max(ack);
    }

    /// The same while its place is not known: how far this grows tells how many bytes there were.
    pub fn acknowledge_unseen(&mut self, ack: Seq) {
        if self.acked == Offset(0) {
            self.set_first(ack);
            self.acked = ack.first_offset();
        }
        let ack = ack.unwrap_near(self.acked);
        if ack.distance_from(self.acked) <= WINDOW_BYTES_MAX {
            self.acknowledge(ack);
        }
    }

    /// Bytes that the other side has acknowledged since it began, of one of which nothing was seen. A FIN counts as one.
    pub fn acknowledged_bytes(&self) -> u64 {
        debug_assert!(!self.is_seen());
        self.acked.distance_from(Seq(self.list_or_first).first_offset())
    }

    /// Where `length` positions from a sequence number on lie.
    #[inline]
    pub fn place(&self, seq: Seq, length: u32) -> (Offset, Place) {
        let from = seq.unwrap_near(self.next);
        let place = if from > self.next {
            if from.distance_from(self.next) > WINDOW_BYTES_MAX { Place::OutOfWindow } else { Place::Ahead }
        } else {
            let old = self.next.distance_from(from);
            if old > WINDOW_BYTES_MAX {
                Place::OutOfWindow
            } else if old >= u64::from(length) && old > 0 {
                Place::Old
            } else {
                Place::Next { old: old as u32 }
            }
        };
        (from, place)
    }

    /// Delivered `bytes` more, seen at `at`; answers their time.
    #[inline]
    pub fn advance(&mut self, bytes: u64, at: Timestamp) -> Timestamp {
        self.next = self.next.plus(bytes);
        self.time = self.time.max(at);
        self.time
    }

    /// The same at a time that is not before any of it.
    #[inline]
    pub fn advance_to(&mut self, bytes: u64, at: Timestamp) {
        debug_assert!(self.time <= at);
        self.next = self.next.plus(bytes);
        self.time = at;
    }

    /// Steps over bytes that were never seen.
    #[inline]
    pub fn step_over(&mut self, bytes: u64) {
        self.next = self.next.plus(bytes);
    }

    /// Stores a piece that can't be delivered yet.
    pub fn store(&mut self, pages: &mut Pages, piece: &Piece<'_>) -> Result<(), Full> {
        self.see();
        pages.store(&mut self.list_or_first, piece, STREAM_BUFFER_BYTES_MAX)
    }

    /// Pages that are stored.
    pub fn stored_pages(&self, pages: &Pages) -> u32 {
        pages.count(self.list())
    }

    /// The first stored page.
    pub fn first_stored<'p>(&self, pages: &'p Pages) -> Option<&'p Page> {
        pages.head(self.list())
    }

    /// Takes the first stored page, to be delivered and then freed.
    pub fn take_stored(&mut self, pages: &mut Pages) -> u32 {
        debug_assert!(self.is_waiting());
        pages.take_head(&mut self.list_or_first)
    }

    /// Forgets what is stored.
    pub fn forget_stored(&mut self, pages: &mut Pages) {
        if self.is_waiting() {
            pages.free_list(&mut self.list_or_first);
        }
    }

    /// Counts a packet of the connection against the reorder budget.
    #[inline]
    pub fn count_packet(&self, pages: &mut Pages) {
        pages.count_packet(self.list());
    }

    /// Whether what is stored has waited for longer than `reorder_time_ns` at `now`, or for more than `reorder_packets`
    /// packets.
    pub fn is_overdue(&self, pages: &Pages, now: Timestamp, reorder_time_ns: u64, reorder_packets: u32) -> bool {
        pages
            .waiting(self.list())
            .is_some_and(|(since, packets)| now.since(since) > reorder_time_ns || packets > reorder_packets)
    }
}
