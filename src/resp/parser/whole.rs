//! What is here from its first to its last byte, as nearly all headers and arguments are: read in one step, not resumed.
//!
//! All of it can be read in pieces as well, by [`Parser::feed`], which gives the same. Never panics.

use crate::limits::BULK_BYTES_MAX;

use super::{Kind, NotResp, Parser, State, Step, Visitor};

/// As many as any length or integer that is not negative has at the most, but for a few that are read in pieces.
const LONG_DIGITS_MAX: usize = 18;

/// The number of up to three digits that begins the input, and how many bytes it takes with its CRLF. Most headers are of this
/// kind, so that they take one step instead of three.
#[inline]
pub(super) fn short_number(input: &[u8]) -> Option<(u64, usize)> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    match *input {
        [a, b'\r', b'\n', ..] => Some((digit(a)?, 3)),
        [a, b, b'\r', b'\n', ..] => Some((digit(a)? * 10 + digit(b)?, 4)),
        [a, b, c, b'\r', b'\n', ..] => Some((digit(a)? * 100 + digit(b)? * 10 + digit(c)?, 5)),
        _ => None,
    }
}

/// As [`short_number`], of what begins with the lowest byte of a word.
#[inline(always)]
fn short_number_of(word: u64) -> Option<(usize, usize)> {
    const CRLF: u16 = u16::from_le_bytes(*b"\r\n");
    let digit = |at: u32| ((word >> (8 * at)) as u8).wrapping_sub(b'0');
    let ends = |at: u32| (word >> (8 * at)) as u16 == CRLF;
    if ends(2) {
        let [a, b] = [digit(0), digit(1)];
        (a <= 9 && b <= 9).then(|| (usize::from(a) * 10 + usize::from(b), 4))
    } else if ends(3) {
        let [a, b, c] = [digit(0), digit(1), digit(2)];
        let value = usize::from(a) * 100 + usize::from(b) * 10 + usize::from(c);
        (a <= 9 && b <= 9 && c <= 9).then_some((value, 5))
    } else {
        let a = digit(0);
        (ends(1) && a <= 9).then(|| (usize::from(a), 3))
    }
}

/// The content of a bulk string that the input begins with, and how many bytes it takes with its header and end.
#[inline(always)]
pub fn bulk(input: &[u8]) -> Option<(&[u8], usize)> {
    if let Some(head) = input.first_chunk() {
        let head = u64::from_le_bytes(*head);
        if head as u8 != b'$' {
            return None;
        }
        if let Some((length, header)) = short_number_of(head >> 8) {
            return content(input, length, 1 + header);
        }
    }
    other_bulk(input)
}

/// As [`bulk`], of one whose length has more digits, or which is very short.
#[inline(never)]
fn other_bulk(input: &[u8]) -> Option<(&[u8], usize)> {
    let (_, behind) = input.split_first().filter(|&(&first, _)| first == b'$')?;
    let (length, header) = long_number(behind)?;
    content(input, usize::try_from(length).ok()?, 1 + header)
}

/// A content of this length, behind a header of so many bytes, and how many bytes both have with the end.
#[inline(always)]
fn content(input: &[u8], length: usize, header: usize) -> Option<(&[u8], usize)> {
    let (content, behind) = input.get(header..)?.split_at_checked(length)?;
    behind.starts_with(b"\r\n").then_some((content, header + length + 2))
}

/// As [`short_number`], of more digits.
#[inline(never)]
fn long_number(input: &[u8]) -> Option<(u64, usize)> {
    let digits = input.iter().take(LONG_DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, behind) = input.split_at_checked(digits)?;
    let number = digits.iter().fold(0, |number, &digit| number * 10 + u64::from(digit - b'0'));
    (!digits.is_empty() && behind.starts_with(b"\r\n")).then_some((number, digits.len() + 2))
}

/// The kind of a reply that the input begins with, and its bytes: of those without elements that say nothing but their kind. An
/// `OK`, an integer, a null, or a bulk string, of which the content is not looked at.
#[inline(always)]
pub fn scalar(input: &[u8]) -> Option<(Kind, usize)> {
    if let Some(head) = input.first_chunk() {
        let head = u64::from_le_bytes(*head);
        if head as u8 == b'$'
            && let Some((length, header)) = short_number_of(head >> 8)
        {
            return content(input, length, 1 + header).map(|(_, bytes)| (Kind::Bulk, bytes));
        }
    }
    other_scalar(input)
}

/// As [`scalar`], of all but bulk strings of the usual lengths.
#[inline(never)]
fn other_scalar(input: &[u8]) -> Option<(Kind, usize)> {
    match *input {
        [b'$', b'-', b'1', b'\r', b'\n', ..] => Some((Kind::Null, 5)),
        [b'$', ..] => other_bulk(input).map(|(_, bytes)| (Kind::Bulk, bytes)),
        [b'+', b'O', b'K', b'\r', b'\n', ..] => Some((Kind::Simple, 5)),
        [b'_', b'\r', b'\n', ..] => Some((Kind::Null, 3)),
        [b':', b'-', ref number @ ..] => integer(number).map(|bytes| (Kind::Integer, 2 + bytes)),
        [b':', ref number @ ..] => integer(number).map(|bytes| (Kind::Integer, 1 + bytes)),
        _ => None,
    }
}

/// Bytes of a number, with its end.
#[inline]
fn integer(input: &[u8]) -> Option<usize> {
    short_number(input).or_else(|| long_number(input)).map(|(_, bytes)| bytes)
}

/// The length of the bulk string that the input begins with, and the bytes of its header, if some of its content is not here.
#[inline]
pub fn begun_bulk(input: &[u8]) -> Option<(u64, usize)> {
    let (_, behind) = input.split_first().filter(|&(&first, _)| first == b'$')?;
    let (length, bytes) = short_number(behind).or_else(|| long_number(behind))?;
    let header = 1 + bytes;
    (length <= BULK_BYTES_MAX && length > (input.len() - header) as u64).then_some((length, header))
}

/// Where a bulk string ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BulkEnd {
    /// Not in this input, all of which is part of it.
    Beyond,
    /// Behind so many bytes, and with it the message.
    At(usize),
}

impl Parser {
    /// If the message that has begun is a bulk string of which nothing more is wanted: passes by what the input has of it. `None`:
    /// the input is to be fed.
    #[inline]
    pub fn pass_by(&mut self, input: &[u8]) -> Option<BulkEnd> {
        let is_simple = self.state == State::Bulk && !self.chunked;
        if !is_simple || self.depth > 0 || self.muted > 0 || self.wanted > 0 {
            return None;
        }
        let length = input.len() as u64;
        if self.number > length {
            self.number -= length;
            return Some(BulkEnd::Beyond);
        }
        let left = self.number as usize;
        input[left..].starts_with(b"\r\n").then_some(BulkEnd::At(left + 2))
    }

    /// Begins with a bulk string of a server's of which nothing is wanted, and of which the input has the header and not all of the
    /// content, as [`begun_bulk`] told: as if the input had been fed.
    pub fn begin_bulk(&mut self, (length, header): (u64, usize), input: &[u8]) {
        self.reset();
        self.begin_number(b'$');
        self.begun = true;
        self.chunked = false;
        self.wanted = 0;
        self.number = length - (input.len() - header) as u64;
        self.state = State::Bulk;
    }

    /// Reads arguments of a client's multibulk command: those that are here as a whole, or the beginning of the next one.
    #[inline]
    pub(super) fn arguments<V: Visitor>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        visitor: &mut V,
    ) -> Result<Step, NotResp> {
        while let Some((argument, bytes)) = bulk(&input[*at..]) {
            let wanted = visitor.begin(1, Kind::Bulk, argument.len() as u64).min(argument.len());
            if wanted > 0 {
                visitor.bytes(&argument[..wanted]);
            }
            visitor.end(1);
            *at += bytes;
            self.left[0] -= 1;
            if self.left[0] == 0 {
                self.depth = 0;
                visitor.end(0);
                return Ok(Step::Value);
            }
        }
        if *at < input.len() { self.start(input, at, visitor) } else { Ok(Step::More) }
    }
}
