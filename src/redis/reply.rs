//! A reply: what is kept of it while it streams by.

use crate::limits::{ERROR_BYTES_MAX, EXEC_ITEMS_USUAL};
use crate::resp::parser::{Kind, Visitor};
use crate::units::{Offset, Timestamp};

/// Bytes of an aggregate's first element, or of a simple string, that are looked at: enough for `punsubscribe`.
const FIRST_BYTES: usize = 16;

/// How a verbatim string begins: `txt:` or `mkd:`.
const VERBATIM_KIND_BYTES: u8 = 4;

/// An item of EXEC's array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its kind.
    pub kind: Kind,
    /// The number that is its own third element: of a confirmation, the subscriptions that are left.
    pub third_integer: Option<u32>,
    /// The beginning of an error's text.
    error: [u8; Item::ERROR_BYTES],
    length: u8,
}

impl Item {
    const ERROR_BYTES: usize = 32;

    /// The beginning of an error's text: enough for its code.
    pub fn error(&self) -> &[u8] {
        &self.error[..usize::from(self.length)]
    }
}

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
    /// Its line ends, where they are counted from its beginning on.
    pub lines: Option<u64>,
    /// It is one string whose length is told before.
    pub is_string: bool,
    /// Its first byte is that of its segment.
    pub begins_segment: bool,
    /// That segment came late: it may have been sent before, acknowledging less.
    pub late: bool,
    /// Bytes of it are missing.
    pub gap: bool,
    /// A segment of it came out of order or again.
    pub retransmit: bool,
    /// Pushes among its elements.
    pub nested_pushes: u64,
    /// Which of the first 64 elements are nulls, a bit each, the first one's the lowest.
    pub nulls: u64,
    /// The number that is an aggregate's third element: of a confirmation, the subscriptions that are left.
    pub third_integer: Option<u32>,
    /// The items of the array, if it was said that they are wanted.
    pub items: Vec<Item>,
    /// It answers EXEC: its items are wanted, and are so many (whatever the array's header says).
    pub exec: Option<Option<u64>>,
    /// So many of them are kept, and no more, whatever the array brings.
    pub items_max: usize,
    /// All of a simple string is wanted, up to what is kept of errors.
    pub wants_text: bool,
    /// The beginning of an error's text, or of a simple string's.
    pub error: Vec<u8>,
    /// Its shown form, if one is wanted.
    pub response: Vec<u8>,
    elements: u64,
    depth_one: u64,
    /// Elements of the item that comes.
    depth_two: u64,
    /// Values begun at each depth tell where commas go.
    opened: usize,
    /// The value that streams in belongs to the shown form.
    is_shown: bool,
    /// But only its beginning that looks like an error's code.
    is_code: bool,
    /// Bytes of the value that comes which are left out of the shown form.
    unshown: u8,
    /// Which value's bytes come.
    collects: Collects,
    first_length: u8,
    first: [u8; FIRST_BYTES],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Collects {
    #[default]
    Nothing,
    /// An error's text, or all of a simple string's.
    Text,
    /// The beginning of a simple string, or of an aggregate's first element.
    First,
    /// An aggregate's third element.
    Third,
    /// The error that is the last item.
    ItemError,
    /// The last item's third element.
    ItemThird,
}

impl Reply {
    /// An empty one that will not have to grow, whatever it is to hold.
    pub fn with_room(payload_bytes: usize) -> Reply {
        Reply {
            error: Vec::with_capacity(ERROR_BYTES_MAX),
            response: Vec::with_capacity(payload_bytes),
            items: Vec::with_capacity(EXEC_ITEMS_USUAL),
            ..Reply::default()
        }
    }

    /// Bytes of the buffers of one with room.
    pub const fn room_bytes(payload_bytes: usize) -> usize {
        ERROR_BYTES_MAX + payload_bytes + EXEC_ITEMS_USUAL * Reply::ITEM_BYTES
    }

    /// Bytes of an item.
    pub const ITEM_BYTES: usize = size_of::<Item>();

    /// Gives back what an unusually long EXEC has made large.
    pub fn trim(&mut self) {
        if self.items.capacity() > EXEC_ITEMS_USUAL {
            self.items = Vec::with_capacity(EXEC_ITEMS_USUAL);
        }
    }

    /// Empties it; its buffers stay.
    pub fn reset(&mut self) {
        self.kind = None;
        self.lines = None;
        self.is_string = false;
        self.gap = false;
        self.retransmit = false;
        self.nested_pushes = 0;
        self.nulls = 0;
        self.error.clear();
        self.response.clear();
        self.third_integer = None;
        self.items.clear();
        self.exec = None;
        self.wants_text = false;
        self.elements = 0;
        self.depth_one = 0;
        self.opened = 0;
        self.is_shown = false;
        self.is_code = false;
        self.unshown = 0;
        self.collects = Collects::Nothing;
        self.first_length = 0;
    }

    /// It is a bulk string, of which nothing is kept.
    pub fn begin_bulk(&mut self, length: u64) {
        self.reset();
        self.kind = Some(Kind::Bulk);
        self.elements = length;
    }

    /// Whether it says that MULTI has queued the command.
    #[inline]
    pub fn is_queued(&self) -> bool {
        self.kind == Some(Kind::Simple) && self.text() == b"QUEUED"
    }

    /// Whether it has the shape of a pub/sub message.
    pub fn is_message(&self) -> bool {
        matches!((self.elements, self.first_element()), (3, b"message" | b"smessage") | (4, b"pmessage"))
    }

    /// An aggregate's first element, if that is a string; at most 16 bytes of it.
    pub fn first_element(&self) -> &[u8] {
        let is_aggregate = matches!(self.kind, Some(Kind::Array | Kind::Push));
        if is_aggregate { &self.first[..usize::from(self.first_length)] } else { &[] }
    }

    /// The beginning of a simple string's or an error's text.
    pub fn text(&self) -> &[u8] {
        match self.kind {
            Some(Kind::Error) => &self.error,
            Some(Kind::Simple) if self.wants_text => &self.error,
            Some(Kind::Simple) => &self.first[..usize::from(self.first_length)],
            _ => &[],
        }
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
    fn elements(&mut self, kind: Kind, declared: u64) -> u64 {
        match self.reply.exec {
            Some(Some(items)) if kind == Kind::Array => items,
            _ => declared,
        }
    }

    #[inline]
    fn begin(&mut self, depth: usize, kind: Kind, length: u64) -> usize {
        let reply = &mut *self.reply;
        reply.collects = Collects::Nothing;
        if depth == 0 {
            reply.kind = Some(kind);
            reply.elements = length;
            reply.collects = match kind {
                Kind::Error => Collects::Text,
                Kind::Simple if reply.wants_text => Collects::Text,
                Kind::Simple => Collects::First,
                _ => Collects::Nothing,
            };
        } else {
            reply.nested_pushes += u64::from(kind == Kind::Push);
            match depth {
                1 => {
                    reply.depth_one += 1;
                    reply.depth_two = 0;
                    self.element(kind);
                }
                2 if reply.exec.is_some() => {
                    reply.depth_two += 1;
                    if (reply.depth_two, kind) == (3, Kind::Integer) {
                        reply.collects = Collects::ItemThird;
                    }
                }
                _ => {}
            }
        }
        let wanted = match self.reply.collects {
            Collects::Nothing => 0,
            Collects::Text => ERROR_BYTES_MAX,
            Collects::First => FIRST_BYTES,
            Collects::Third | Collects::ItemThird => 12,
            Collects::ItemError => Item::ERROR_BYTES,
        };
        if self.payload_bytes > 0 { wanted.max(self.show(depth, kind)) } else { wanted }
    }

    #[inline]
    fn bytes(&mut self, chunk: &[u8]) {
        let reply = &mut *self.reply;
        match reply.collects {
            Collects::Nothing => {}
            Collects::Text => {
                let room = ERROR_BYTES_MAX.saturating_sub(reply.error.len());
                reply.error.extend_from_slice(&chunk[..room.min(chunk.len())]);
            }
            Collects::First => {
                let from = usize::from(reply.first_length);
                let length = chunk.len().min(FIRST_BYTES - from);
                reply.first[from..from + length].copy_from_slice(&chunk[..length]);
                reply.first_length += length as u8;
            }
            Collects::Third => reply.third_integer = Some(digits(reply.third_integer.unwrap_or_default(), chunk)),
            Collects::ItemThird => {
                if let Some(Item { third_integer, .. }) = reply.items.last_mut() {
                    *third_integer = Some(digits(third_integer.unwrap_or_default(), chunk));
                }
            }
            Collects::ItemError => {
                if let Some(item) = reply.items.last_mut() {
                    let from = usize::from(item.length);
                    let length = chunk.len().min(Item::ERROR_BYTES - from);
                    item.error[from..from + length].copy_from_slice(&chunk[..length]);
                    item.length += length as u8;
                }
            }
        }
        if reply.is_shown {
            let unshown = usize::from(reply.unshown).min(chunk.len());
            reply.unshown -= unshown as u8;
            let chunk = &chunk[unshown..];
            let is_code = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'_';
            let shown = if reply.is_code { chunk.iter().take_while(is_code).count() } else { chunk.len() };
            reply.is_shown = shown == chunk.len();
            let shown = &chunk[..shown];
            let room = self.payload_bytes.saturating_sub(reply.response.len());
            reply.response.extend_from_slice(&shown[..room.min(shown.len())]);
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

/// A number that comes in pieces; signs and anything else are left out.
fn digits(so_far: u32, chunk: &[u8]) -> u32 {
    let add = |number: u32, byte: &u8| number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
    chunk.iter().filter(|byte| byte.is_ascii_digit()).fold(so_far, add)
}

impl ReplyVisitor<'_> {
    /// An element of the message's own aggregate begins.
    fn element(&mut self, kind: Kind) {
        let reply = &mut *self.reply;
        if kind == Kind::Null && reply.depth_one <= u64::from(u64::BITS) {
            reply.nulls |= 1 << (reply.depth_one - 1);
        }
        if reply.exec.is_some() {
            if reply.items.len() < reply.items_max {
                if reply.items.len() == reply.items.capacity() {
                    reply.items.reserve_exact(reply.items_max - reply.items.len());
                }
                reply.items.push(Item { kind, third_integer: None, error: [0; Item::ERROR_BYTES], length: 0 });
                reply.collects = if kind == Kind::Error { Collects::ItemError } else { Collects::Nothing };
            }
            return;
        }
        reply.collects = match (reply.depth_one, kind) {
            (1, Kind::Bulk | Kind::Simple) => Collects::First,
            (3, Kind::Integer) => Collects::Third,
            _ => Collects::Nothing,
        };
    }

    /// The shown form: strings as they are (verbatim ones without their kind), nulls as `(nil)`, aggregates as `[a, b]`, of
    /// errors among their items, which may quote anything, the code. Answers how many bytes are wanted.
    fn show(&mut self, depth: usize, kind: Kind) -> usize {
        self.reply.unshown = if kind == Kind::Verbatim { VERBATIM_KIND_BYTES } else { 0 };
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
        self.reply.is_shown = true;
        self.reply.is_code = kind == Kind::Error && depth > 0;
        self.payload_bytes.saturating_sub(self.reply.response.len()) + usize::from(self.reply.unshown)
    }

    fn append(&mut self, text: &[u8]) {
        let room = self.payload_bytes.saturating_sub(self.reply.response.len());
        self.reply.response.extend_from_slice(&text[..room.min(text.len())]);
    }
}
