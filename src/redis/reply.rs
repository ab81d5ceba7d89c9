//! A reply: what is kept of it while it streams by.

use crate::limits::ERROR_BYTES_MAX;
use crate::resp::parser::{Kind, UNKNOWN_LENGTH, Visitor};
use crate::units::{Offset, Timestamp};

/// Bytes of an aggregate's first element that are looked at: enough for `pmessage`.
const FIRST_ELEMENT_BYTES: usize = 8;

/// What is kept of a reply (or push).
#[derive(Debug, Default)]
pub struct Reply {
    /// Its kind; `None` while only attributes came.
    pub kind: Option<Kind>,
    /// First byte.
    pub t3: Timestamp,
    /// Position of its first byte.
    pub begin: Offset,
    /// What the segment with its first byte acknowledged of the requests.
    pub ack: Offset,
    /// Bytes of it are missing.
    pub gap: bool,
    /// A segment of it came out of order or again.
    pub retransmit: bool,
    /// Pushes among its elements.
    pub nested_pushes: u64,
    /// The beginning of an error's text.
    pub error: Vec<u8>,
    /// Its shown form, if one is wanted.
    pub response: Vec<u8>,
    elements: u64,
    depth_one: u64,
    /// Values begun at each depth tell where commas go.
    opened: usize,
    first_length: u8,
    first: [u8; FIRST_ELEMENT_BYTES],
}

impl Reply {
    /// An empty one that will not have to grow, whatever it is to hold.
    pub fn with_room(payload_bytes: usize) -> Reply {
        Reply {
            error: Vec::with_capacity(ERROR_BYTES_MAX),
            response: Vec::with_capacity(payload_bytes),
            ..Reply::default()
        }
    }

    /// Empties it; its buffers stay.
    pub fn reset(&mut self) {
        self.kind = None;
        self.gap = false;
        self.retransmit = false;
        self.nested_pushes = 0;
        self.error.clear();
        self.response.clear();
        self.elements = 0;
        self.depth_one = 0;
        self.opened = 0;
        self.first_length = 0;
    }

    /// Whether it has the shape of a RESP2 pub/sub message: which other replies could have too.
    pub fn looks_like_message(&self) -> bool {
        self.kind == Some(Kind::Array)
            && matches!(
                (self.elements, &self.first[..usize::from(self.first_length)]),
                (3, b"message" | b"smessage") | (4, b"pmessage")
            )
    }
}

/// Fills a [`Reply`] while the parser reads it.
pub struct ReplyVisitor<'a> {
    /// The reply.
    pub reply: &'a mut Reply,
    /// Bytes of its shown form that are wanted.
    pub payload_bytes: usize,
}

impl Visitor for ReplyVisitor<'_> {
    const REQUESTS: bool = false;

    #[inline]
    fn begin(&mut self, depth: usize, kind: Kind, length: u64) -> usize {
        let reply = &mut *self.reply;
        if depth == 0 {
            reply.kind = Some(kind);
            reply.elements = length;
        } else {
            reply.nested_pushes += u64::from(kind == Kind::Push);
            reply.depth_one += u64::from(depth == 1);
        }
        if self.payload_bytes > 0 {
            return self.show(depth, kind).max(if kind == Kind::Error { ERROR_BYTES_MAX } else { 0 });
        }
        match (depth, kind) {
            (0, Kind::Error) => ERROR_BYTES_MAX,
            (1, Kind::Bulk) if reply.depth_one == 1 && (length <= FIRST_ELEMENT_BYTES as u64) => FIRST_ELEMENT_BYTES,
            (1, Kind::Bulk) if reply.depth_one == 1 && length == UNKNOWN_LENGTH => FIRST_ELEMENT_BYTES + 1,
            _ => 0,
        }
    }

    #[inline]
    fn bytes(&mut self, chunk: &[u8]) {
        let reply = &mut *self.reply;
        if reply.kind == Some(Kind::Error) {
            let room = ERROR_BYTES_MAX.saturating_sub(reply.error.len());
            reply.error.extend_from_slice(&chunk[..room.min(chunk.len())]);
        } else if reply.depth_one == 1 {
            let from = usize::from(reply.first_length);
            let length = chunk.len().min(FIRST_ELEMENT_BYTES - from);
            reply.first[from..from + length].copy_from_slice(&chunk[..length]);
            reply.first_length += length as u8;
        }
        if self.payload_bytes > 0 {
            let room = self.payload_bytes.saturating_sub(reply.response.len());
            reply.response.extend_from_slice(&chunk[..room.min(chunk.len())]);
        }
    }

    fn missing(&mut self) {
        self.reply.gap = true;
    }

    #[inline]
    fn end(&mut self, depth: usize) {
        if self.payload_bytes > 0 && self.reply.opened > depth {
            self.reply.opened = depth;
            self.append(b"]");
        }
    }
}

impl ReplyVisitor<'_> {
    /// The shown form: strings as they are, nulls as `(nil)`, aggregates as `[a, b]`. Answers the bytes that still fit.
    fn show(&mut self, depth: usize, kind: Kind) -> usize {
        if depth > 0 && !self.reply.response.ends_with(b"[") {
            self.append(b", ");
        }
        match kind {
            Kind::Null => self.append(b"(nil)"),
            Kind::Array | Kind::Map | Kind::Set | Kind::Push => {
                self.append(b"[");
                self.reply.opened = depth + 1;
            }
            _ => {}
        }
        self.payload_bytes.saturating_sub(self.reply.response.len())
    }

    fn append(&mut self, text: &[u8]) {
        let room = self.payload_bytes.saturating_sub(self.reply.response.len());
        self.reply.response.extend_from_slice(&text[..room.min(text.len())]);
    }
}
