//! The resumable RESP parser: RESP2 and RESP3 values, and the multibulk and inline commands of clients.
//!
//! [`Parser::feed`] takes bytes as they come, cut anywhere, and goes on where it stopped: no byte is looked at twice, and the
//! bytes of a bulk string that nobody wants are not looked at at all, only counted. What it finds it tells a [`Visitor`].
//! Nothing is allocated, whatever a length declares; nesting is bounded by [`RESP_DEPTH_MAX`]. It never panics; what breaks
//! the protocol ends as [`Step::Malformed`], after which the stream's framing is unknown.
//!
//! Follows the RESP2 and RESP3 specifications (streamed strings and aggregates included) and, for requests, what servers do:
//! elements of a client's multibulk must be bulk strings, anything that does not begin with `*` is an inline command.
//! Attributes precede a value and are no elements; a push inside an aggregate is no element either (servers up to 7.0 put
//! them there).

mod whole;

use crate::limits::{BULK_BYTES_MAX, ELEMENTS_MAX, INLINE_BYTES_MAX, RESP_DEPTH_MAX};

use super::inline::{Tokenizer, Word};
use whole::short_number;
pub use whole::{BulkAt, BulkEnd, begun_bulk, behind_bulks, bulk, bulk_at, scalar};

/// The kind of a RESP value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `+`
    Simple,
    /// `-`, and RESP3's `!`.
    Error,
    /// `:`
    Integer,
    /// `$`
    Bulk,
    /// `$-1`, `*-1`, `_`: one null in three forms.
    Null,
    /// `*`
    Array,
    /// `%`
    Map,
    /// `~`
    Set,
    /// `>`
    Push,
    /// `,`
    Double,
    /// `#`
    Boolean,
    /// `(`
    BigNumber,
    /// `=`
    Verbatim,
}

impl Kind {
    /// All, each in the place of its number.
    pub const ALL: [Kind; 13] = {
        use Kind::{Array, BigNumber, Boolean, Bulk, Double, Error, Integer, Map, Null, Push, Set, Simple, Verbatim};
        [Simple, Error, Integer, Bulk, Null, Array, Map, Set, Push, Double, Boolean, BigNumber, Verbatim]
    };

    /// Whether it is one value: neither aggregate nor null, and no word about how it went.
    pub const fn is_value(self) -> bool {
        matches!(self, Kind::Integer | Kind::Bulk | Kind::Double | Kind::Boolean | Kind::BigNumber | Kind::Verbatim)
    }

    /// As `redis.reply` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Simple => "simple",
            Kind::Error => "error",
            Kind::Integer => "integer",
            Kind::Bulk => "bulk",
            Kind::Null => "null",
            Kind::Array => "array",
            Kind::Map => "map",
            Kind::Set => "set",
            Kind::Push => "push",
            Kind::Double => "double",
            Kind::Boolean => "boolean",
            Kind::BigNumber => "bignum",
            Kind::Verbatim => "verbatim",
        }
    }
}

/// A length that is not known when the value begins: inline words, lines, streamed strings and aggregates.
pub const UNKNOWN_LENGTH: u64 = u64::MAX;

/// Is told what a [`Parser`] finds. Attributes and their contents are left out.
pub trait Visitor {
    /// Whether the stream is a client's (multibulk and inline commands) or a server's (any value).
    const REQUESTS: bool;

    /// How many elements the message's own aggregate has, if that is known better than its header says.
    #[inline]
    fn elements(&mut self, _kind: Kind, declared: u64) -> u64 {
        declared
    }

    /// A value begins. `depth` 0 is the message itself. `length`: payload bytes of a string, elements of an aggregate (a
    /// map's keys and values counted each). Answers how many of its leading payload bytes are wanted.
    fn begin(&mut self, depth: usize, kind: Kind, length: u64) -> usize;

    /// Payload bytes of the value that began last, as many as are wanted, possibly in several pieces.
    fn bytes(&mut self, chunk: &[u8]);

    /// Wanted bytes of the value that began last are missing from the capture; none of its bytes follow.
    fn missing(&mut self);

    /// A value ends.
    fn end(&mut self, depth: usize);
}

/// Where [`Parser::feed`] stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// All input is consumed, the message goes on (or none has begun).
    More,
    /// A message is complete.
    Value,
    /// Bytes that are no message: an empty line, or a multibulk of no elements, from a client.
    Empty,
    /// Not RESP.
    Malformed,
}

/// More bytes are missing than the current string holds: where the next value begins is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FramingLost {
    /// Bytes that the message had still to come at the least.
    pub rest: u64,
}

/// Bytes of the shortest element of a request: `$0\r\n\r\n`.
const BULK_BYTES_MIN: u64 = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The next byte is a type byte.
    Start,
    /// Inside a header's number.
    Number,
    NumberLf,
    /// Inside a line.
    Line,
    /// `number` bytes of a string (or a streamed string's chunk) are left.
    Bulk,
    BulkCr,
    BulkLf,
    /// A streamed string's next chunk: its `;`.
    Chunk,
    /// The CRLF behind the `.` that ends a streamed aggregate.
    DotCr,
    DotLf,
    /// Inside an inline command.
    Inline,
}

/// Elements left in an aggregate whose number was not declared.
const STREAMED: u32 = u32::MAX;

/// The parser's whole state between two pieces of input. What a long string needs comes first, in one cache line.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Parser {
    /// Digits so far, or bytes left of a string, or bytes so far of a line.
    number: u64,
    /// Payload bytes of the current value that are still wanted.
    wanted: usize,
    state: State,
    /// The type byte of the header that is being read.
    type_byte: u8,
    digits: u8,
    negative: bool,
    /// `?` stood for the number.
    streamed: bool,
    /// The line's last byte so far was CR.
    last_cr: bool,
    /// The string consists of chunks.
    chunked: bool,
    /// A message has begun.
    begun: bool,
    /// Open aggregates.
    depth: u8,
    /// Depth of the outermost open attribute plus one; 0: none.
    muted: u8,
    tokenizer: Tokenizer,
    /// Bit d: the aggregate at depth d is an attribute.
    attributes: u64,
    /// Bit d: it is a push.
    pushes: u64,
    /// Elements left in each open aggregate.
    left: [u32; RESP_DEPTH_MAX],
}

const _: () = assert!(RESP_DEPTH_MAX <= u64::BITS as usize && 2 * ELEMENTS_MAX < STREAMED as u64);

impl Default for Parser {
    fn default() -> Self {
        Parser {
            state: State::Start,
            type_byte: 0,
            digits: 0,
            negative: false,
            streamed: false,
            last_cr: false,
            chunked: false,
            begun: false,
            depth: 0,
            muted: 0,
            tokenizer: Tokenizer::default(),
            number: 0,
            wanted: 0,
            attributes: 0,
            pushes: 0,
            left: [0; RESP_DEPTH_MAX],
        }
    }
}

impl Parser {
    /// Whether no message has begun: the next byte is a message's first.
    #[inline]
    pub fn is_idle(&self) -> bool {
        !self.begun
    }

    /// Forgets the message that has begun.
    pub fn reset(&mut self) {
        self.state = State::Start;
        self.begun = false;
        self.depth = 0;
        self.muted = 0;
        self.attributes = 0;
        self.pushes = 0;
    }

    /// Takes up where `other` stopped. Copies only what is in use.
    pub fn resume_from(&mut self, other: &Parser) {
        let depth = usize::from(other.depth);
        let mut left = self.left;
        left[..depth].copy_from_slice(&other.left[..depth]);
        *self = Parser { left, ..*other };
    }

    /// Consumes input up to the end of a message, or all of it. Answers how many bytes were consumed, and why it stopped.
    #[inline]
    pub fn feed<V: Visitor>(&mut self, input: &[u8], visitor: &mut V) -> (usize, Step) {
        let mut at = 0;
        while at < input.len() {
            let step = match self.state {
                State::Start if V::REQUESTS && self.depth == 1 => self.arguments(input, &mut at, visitor),
                State::Start => self.start(input, &mut at, visitor),
                State::Number => self.number(input, &mut at),
                State::NumberLf => expect(input, &mut at, b'\n').and_then(|()| self.header(visitor)),
                State::Bulk => Ok(self.bulk(input, &mut at, visitor)),
                State::BulkCr => expect(input, &mut at, b'\r').map(|()| {
                    self.state = State::BulkLf;
                    Step::More
                }),
                State::BulkLf => expect(input, &mut at, b'\n').map(|()| self.string_end(visitor)),
                State::Line => self.line(input, &mut at, visitor),
                State::Chunk => expect(input, &mut at, b';').map(|()| {
                    self.begin_number(b';');
                    Step::More
                }),
                State::DotCr => expect(input, &mut at, b'\r').map(|()| {
                    self.state = State::DotLf;
                    Step::More
                }),
                State::DotLf => expect(input, &mut at, b'\n').map(|()| {
                    self.left[usize::from(self.depth) - 1] = 1;
                    self.complete(visitor)
                }),
                State::Inline => self.inline(input, &mut at, visitor),
            };
            match step {
                Ok(Step::More) => {}
                Ok(step) => {
                    self.begun = false;
                    return (at, step);
                }
                Err(NotResp) => {
                    self.reset();
                    return (at, Step::Malformed);
                }
            }
        }
        (at, Step::More)
    }

    /// Steps over `missing` bytes that the capture does not have. That works inside a string whose length is known, its CRLF
    /// included; elsewhere what follows is unknown, and the parser is reset.
    pub fn skip<V: Visitor>(&mut self, missing: u64, visitor: &mut V) -> Result<Step, FramingLost> {
        // A chunk of a streamed string ends at a place that is known as well, but says nothing of the string's end.
        let payload = match self.state {
            State::Bulk => self.number,
            State::BulkCr | State::BulkLf => 0,
            _ => return Err(self.framing_lost::<V>(0)),
        };
        let crlf = if self.state == State::BulkLf { 1 } else { 2 };
        if missing > payload + crlf {
            return Err(self.framing_lost::<V>(payload + crlf));
        }
        if payload > 0 && missing > 0 && self.wanted > 0 {
            self.wanted = 0;
            if self.muted == 0 {
                visitor.missing();
            }
        }
        if missing < payload {
            self.number -= missing;
            return Ok(Step::More);
        }
        match payload + crlf - missing {
            0 => {
                let step = self.string_end(visitor);
                self.begun &= step == Step::More;
                return Ok(step);
            }
            1 => self.state = State::BulkLf,
            _ => self.state = State::BulkCr,
        }
        Ok(Step::More)
    }

    /// `rest`: bytes of the current string that are still to come.
    fn framing_lost<V: Visitor>(&mut self, rest: u64) -> FramingLost {
        let begun = u64::from(self.state != State::Start);
        let elements = if V::REQUESTS && self.depth == 1 { u64::from(self.left[0]) - begun } else { 0 };
        self.reset();
        FramingLost { rest: rest + elements * BULK_BYTES_MIN }
    }

    #[inline]
    fn start<V: Visitor>(&mut self, input: &[u8], at: &mut usize, visitor: &mut V) -> Result<Step, NotResp> {
        let byte = input[*at];
        let outermost = self.depth == 0;
        self.begun = true;
        if V::REQUESTS {
            match (byte, outermost) {
                (b'*', true) | (b'$', false) => {}
                (_, true) => {
                    self.tokenizer = Tokenizer::default();
                    self.number = 0;
                    self.state = State::Inline;
                    return Ok(Step::More);
                }
                _ => return Err(NotResp),
            }
        }
        *at += 1;
        match byte {
            b'$' | b'*' | b'%' | b'~' | b'>' | b'|' | b'=' | b'!' => {
                self.begin_number(byte);
                if let Some((number, length)) = short_number(&input[*at..]) {
                    *at += length;
                    self.number = number;
                    return self.header(visitor);
                }
            }
            b'+' => self.begin_line(Kind::Simple, visitor),
            b'-' => self.begin_line(Kind::Error, visitor),
            b':' => self.begin_line(Kind::Integer, visitor),
            b',' => self.begin_line(Kind::Double, visitor),
            b'#' => self.begin_line(Kind::Boolean, visitor),
            b'(' => self.begin_line(Kind::BigNumber, visitor),
            b'_' => self.begin_line(Kind::Null, visitor),
            b'.' if !outermost && self.left[usize::from(self.depth) - 1] == STREAMED => self.state = State::DotCr,
            _ => return Err(NotResp),
        }
        Ok(Step::More)
    }

    #[inline]
    fn begin_number(&mut self, type_byte: u8) {
        self.type_byte = type_byte;
        self.digits = 0;
        self.number = 0;
        self.negative = false;
        self.streamed = false;
        self.state = State::Number;
    }

    fn begin_line<V: Visitor>(&mut self, kind: Kind, visitor: &mut V) {
        self.wanted = if self.muted == 0 { visitor.begin(usize::from(self.depth), kind, UNKNOWN_LENGTH) } else { 0 };
        self.number = 0;
        self.last_cr = false;
        self.state = State::Line;
    }

    #[inline]
    fn number(&mut self, input: &[u8], at: &mut usize) -> Result<Step, NotResp> {
        while let Some(&byte) = input.get(*at) {
            *at += 1;
            match byte {
                b'0'..=b'9' if !self.streamed && self.digits < 18 => {
                    self.number = self.number * 10 + u64::from(byte - b'0');
                    self.digits += 1;
                }
                b'\r' if self.digits > 0 || self.streamed => {
                    self.state = State::NumberLf;
                    break;
                }
                b'-' if self.digits == 0 && !self.negative && !self.streamed => self.negative = true,
                b'?' if self.digits == 0 && !self.negative && !self.streamed => self.streamed = true,
                _ => return Err(NotResp),
            }
        }
        Ok(Step::More)
    }

    /// A header's line is complete.
    #[inline]
    fn header<V: Visitor>(&mut self, visitor: &mut V) -> Result<Step, NotResp> {
        if self.negative {
            return match (self.type_byte, self.number) {
                // Of clients, `*-1` is no command; `$-1` makes the server answer with an error and close.
                (b'*', _) if V::REQUESTS && self.depth == 0 => {
                    self.state = State::Start;
                    Ok(Step::Empty)
                }
                (b'*' | b'$', 1) if !V::REQUESTS => {
                    let depth = usize::from(self.depth);
                    if self.muted == 0 {
                        visitor.begin(depth, Kind::Null, 0);
                        visitor.end(depth);
                    }
                    Ok(self.complete(visitor))
                }
                _ => Err(NotResp),
            };
        }
        match self.type_byte {
            b'$' => self.begin_string(Kind::Bulk, visitor),
            b'=' => self.begin_string(Kind::Verbatim, visitor),
            b'!' => self.begin_string(Kind::Error, visitor),
            b';' => Ok(self.begin_chunk(visitor)?),
            b'*' => self.open(Kind::Array, 1, visitor),
            b'%' => self.open(Kind::Map, 2, visitor),
            b'~' => self.open(Kind::Set, 1, visitor),
            b'>' => self.open(Kind::Push, 1, visitor),
            _ => self.open_attribute(),
        }
    }

    #[inline]
    fn begin_string<V: Visitor>(&mut self, kind: Kind, visitor: &mut V) -> Result<Step, NotResp> {
        let streamed = self.streamed;
        if streamed && (kind != Kind::Bulk || V::REQUESTS) || !streamed && self.number > BULK_BYTES_MAX {
            return Err(NotResp);
        }
        let length = if streamed { UNKNOWN_LENGTH } else { self.number };
        self.wanted = if self.muted == 0 { visitor.begin(usize::from(self.depth), kind, length) } else { 0 };
        self.chunked = streamed;
        self.state = match (streamed, length) {
            (true, _) => State::Chunk,
            (false, 0) => State::BulkCr,
            (false, _) => State::Bulk,
        };
        Ok(Step::More)
    }

    fn begin_chunk<V: Visitor>(&mut self, visitor: &mut V) -> Result<Step, NotResp> {
        if self.streamed || self.number > BULK_BYTES_MAX {
            return Err(NotResp);
        }
        if self.number > 0 {
            self.state = State::Bulk;
            return Ok(Step::More);
        }
        self.chunked = false;
        Ok(self.string_end(visitor))
    }

    #[inline]
    fn open<V: Visitor>(&mut self, kind: Kind, per_element: u64, visitor: &mut V) -> Result<Step, NotResp> {
        if self.number > ELEMENTS_MAX || self.streamed && (V::REQUESTS || kind == Kind::Push) {
            return Err(NotResp);
        }
        if V::REQUESTS && self.number == 0 {
            self.state = State::Start;
            return Ok(Step::Empty);
        }
        let depth = usize::from(self.depth);
        let mut elements = self.number * per_element;
        if depth == 0 && !self.streamed && self.muted == 0 {
            elements = visitor.elements(kind, elements).min(2 * ELEMENTS_MAX);
        }
        if self.muted == 0 {
            visitor.begin(depth, kind, if self.streamed { UNKNOWN_LENGTH } else { elements });
        }
        if elements == 0 && !self.streamed {
            if self.muted == 0 {
                visitor.end(depth);
            }
            return Ok(if kind == Kind::Push && depth > 0 { self.next_value() } else { self.complete(visitor) });
        }
        self.descend(if self.streamed { STREAMED } else { elements as u32 })?;
        self.pushes |= u64::from(kind == Kind::Push) << depth;
        Ok(Step::More)
    }

    fn open_attribute(&mut self) -> Result<Step, NotResp> {
        if self.number > ELEMENTS_MAX || self.streamed {
            return Err(NotResp);
        }
        if self.number == 0 {
            return Ok(self.next_value());
        }
        let depth = self.depth;
        self.descend((self.number * 2) as u32)?;
        self.attributes |= 1 << depth;
        if self.muted == 0 {
            self.muted = depth + 1;
        }
        Ok(Step::More)
    }

    #[inline]
    fn descend(&mut self, elements: u32) -> Result<(), NotResp> {
        let depth = usize::from(self.depth);
        if depth == RESP_DEPTH_MAX {
            return Err(NotResp);
        }
        self.left[depth] = elements;
        self.attributes &= !(1 << depth);
        self.pushes &= !(1 << depth);
        self.depth += 1;
        self.state = State::Start;
        Ok(())
    }

    #[inline]
    fn next_value(&mut self) -> Step {
        self.state = State::Start;
        Step::More
    }

    /// A value is complete, and with it perhaps the aggregates that it was the last element of.
    #[inline]
    fn complete<V: Visitor>(&mut self, visitor: &mut V) -> Step {
        self.state = State::Start;
        while self.depth > 0 {
            let top = usize::from(self.depth) - 1;
            if self.left[top] == STREAMED {
                return Step::More;
            }
            self.left[top] -= 1;
            if self.left[top] > 0 {
                return Step::More;
            }
            self.depth -= 1;
            if self.attributes & (1 << top) != 0 {
                // The value that it belongs to follows.
                if self.muted == self.depth + 1 {
                    self.muted = 0;
                }
                return Step::More;
            }
            if self.muted == 0 {
                visitor.end(top);
            }
            if self.pushes & (1 << top) != 0 && top > 0 {
                // A push among the elements of an aggregate is none of them.
                return Step::More;
            }
        }
        Step::Value
    }

    #[inline]
    fn bulk<V: Visitor>(&mut self, input: &[u8], at: &mut usize, visitor: &mut V) -> Step {
        let rest = &input[*at..];
        let here = usize::try_from(self.number).unwrap_or(usize::MAX).min(rest.len());
        if self.wanted > 0 {
            let wanted = self.wanted.min(here);
            visitor.bytes(&rest[..wanted]);
            self.wanted -= wanted;
        }
        *at += here;
        self.number -= here as u64;
        if self.number > 0 {
            return Step::More;
        }
        // Mostly all of it is here.
        if rest[here..].starts_with(b"\r\n") {
            *at += 2;
            return self.string_end(visitor);
        }
        self.state = State::BulkCr;
        Step::More
    }

    /// A string and its CRLF are complete, or one chunk of it.
    #[inline]
    fn string_end<V: Visitor>(&mut self, visitor: &mut V) -> Step {
        if self.chunked {
            self.state = State::Chunk;
            return Step::More;
        }
        if self.muted == 0 {
            visitor.end(usize::from(self.depth));
        }
        self.complete(visitor)
    }

    fn line<V: Visitor>(&mut self, input: &[u8], at: &mut usize, visitor: &mut V) -> Result<Step, NotResp> {
        let rest = &input[*at..];
        if self.last_cr {
            self.last_cr = false;
            if rest[0] == b'\n' {
                *at += 1;
                if self.muted == 0 {
                    visitor.end(usize::from(self.depth));
                }
                return Ok(self.complete(visitor));
            }
            self.line_bytes(b"\r", visitor);
        }
        let end = memchr::memchr(b'\r', rest);
        self.line_bytes(&rest[..end.unwrap_or(rest.len())], visitor);
        if self.number > INLINE_BYTES_MAX {
            return Err(NotResp);
        }
        *at += end.map_or(rest.len(), |end| end + 1);
        // Mostly all of it is here.
        if end.is_some() && input.get(*at) == Some(&b'\n') {
            *at += 1;
            if self.muted == 0 {
                visitor.end(usize::from(self.depth));
            }
            return Ok(self.complete(visitor));
        }
        self.last_cr = end.is_some();
        Ok(Step::More)
    }

    fn line_bytes<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) {
        self.number += bytes.len() as u64;
        let wanted = self.wanted.min(bytes.len());
        if wanted > 0 {
            visitor.bytes(&bytes[..wanted]);
            self.wanted -= wanted;
        }
    }

    fn inline<V: Visitor>(&mut self, input: &[u8], at: &mut usize, visitor: &mut V) -> Result<Step, NotResp> {
        while let Some(&byte) = input.get(*at) {
            *at += 1;
            self.number += 1;
            if self.number > INLINE_BYTES_MAX {
                return Err(NotResp);
            }
            let first = self.tokenizer.words() == 0;
            match self.tokenizer.next(byte).map_err(|_| NotResp)? {
                Word::None => {}
                Word::Begin(content) => {
                    if first {
                        visitor.begin(0, Kind::Array, UNKNOWN_LENGTH);
                    }
                    self.wanted = visitor.begin(1, Kind::Bulk, UNKNOWN_LENGTH);
                    self.word_bytes(content.as_slice(), visitor);
                }
                Word::Bytes(content) => self.word_bytes(content.as_slice(), visitor),
                Word::End => visitor.end(1),
            }
            if self.tokenizer.is_line_end() {
                self.state = State::Start;
                if self.tokenizer.words() == 0 {
                    return Ok(Step::Empty);
                }
                visitor.end(0);
                return Ok(Step::Value);
            }
        }
        Ok(Step::More)
    }

    fn word_bytes<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) {
        let wanted = self.wanted.min(bytes.len());
        if wanted > 0 {
            visitor.bytes(&bytes[..wanted]);
            self.wanted -= wanted;
        }
    }
}

#[inline]
fn expect(input: &[u8], at: &mut usize, byte: u8) -> Result<(), NotResp> {
    if input[*at] != byte {
        return Err(NotResp);
    }
    *at += 1;
    Ok(())
}

/// The bytes are not RESP.
struct NotResp;
