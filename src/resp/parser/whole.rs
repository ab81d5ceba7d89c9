//! What is here from its first to its last byte, as nearly all headers and arguments are: read in one step, not resumed.
//!
//! All of it can be read in pieces as well, by [`Parser::feed`], which gives the same. Never panics.

use std::hint::cold_path;

use crate::limits::BULK_BYTES_MAX;

use super::{Kind, NotResp, Parser, State, Step, Visitor};

/// As many as any length or integer that is not negative has at the most, but for a few that are read in pieces.
const LONG_DIGITS_MAX: usize = 18;
/// Bytes that a bulk string begins with, of which [`short_header`] reads its length.
const HEAD_BYTES: usize = 8;

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

/// The length of the bulk string that the input begins with, if that has up to three digits, and the bytes of its header.
#[inline(always)]
fn short_header(input: &[u8; HEAD_BYTES]) -> Option<(usize, usize)> {
    if input[0] != b'$' {
        return None;
    }
    // A digit is the low half of its byte, whose high half stays 0 if 6 is added.
    if &input[3..5] == b"\r\n" {
        let digits = u32::from(u16::from_le_bytes([input[1], input[2]])) ^ 0x3030;
        return (((digits + 0x0606) | digits) & 0xf0f0 == 0).then(|| (both(digits), 5));
    }
    let digits = u32::from_le_bytes([input[1], input[2], input[3], input[4]]) ^ u32::from_le_bytes(*b"000\r");
    if (digits.wrapping_add(0x0006_0606) | digits) & 0xfff0_f0f0 == 0 && input[5] == b'\n' {
        return Some((both(digits) * 10 + (digits >> 16) as usize, 6));
    }
    (input[1].is_ascii_digit() && &input[2..4] == b"\r\n").then(|| (usize::from(input[1] - b'0'), 4))
}

/// The number of which the lowest byte is the first digit, and the next one the second.
#[inline(always)]
fn both(digits: u32) -> usize {
    (digits.wrapping_mul(0x0a01) >> 8 & 0xff) as usize
}

/// The content of a bulk string that the input begins with, and how many bytes it takes with its header and end.
#[inline(always)]
pub fn bulk(input: &[u8]) -> Option<(&[u8], usize)> {
    bulk_at(input, 0).map(|BulkAt { upto, content, .. }| (content, upto.len() + 2))
}

/// A bulk string in its input.
#[derive(Clone, Copy, Debug)]
pub struct BulkAt<'a> {
    /// All of the input that is up to its content's end.
    pub upto: &'a [u8],
    /// Its content.
    pub content: &'a [u8],
    /// What is behind it.
    pub behind: &'a [u8],
}

/// The bulk string that begins at byte `at` of the input.
#[inline(always)]
pub fn bulk_at(input: &[u8], at: usize) -> Option<BulkAt<'_>> {
    if let Some(head) = input.get(at..at + HEAD_BYTES).and_then(<[u8]>::first_chunk)
        && let Some((length, header)) = short_header(head)
    {
        let (upto, behind) = split_end(input, at + header + length)?;
        return Some(BulkAt { upto, content: upto.get(at + header..)?, behind });
    }
    let (content, bytes) = other_bulk(input.get(at..)?)?;
    let (upto, behind) = split_end(input, at + bytes - 2)?;
    Some(BulkAt { upto, content, behind })
}

/// What is up to the end of a content, which is there if CRLF follows, and what is behind that.
#[inline(always)]
fn split_end(input: &[u8], end: usize) -> Option<(&[u8], &[u8])> {
    let (with_end, behind) = input.split_at_checked(end + 2)?;
    let upto = with_end.strip_suffix(b"\r\n")?;
    Some((upto, behind))
}

/// What follows so many bulk strings that the input begins with.
#[inline(never)]
pub fn behind_bulks(mut input: &[u8], count: usize) -> Option<&[u8]> {
    for _ in 0..count {
        let (_, bytes) = bulk(input)?;
        input = input.get(bytes..)?;
    }
    Some(input)
}

/// As [`bulk`], of one whose length has more digits, or which is very short.
#[cold]
#[inline(never)]
fn other_bulk(input: &[u8]) -> Option<(&[u8], usize)> {
    let (_, behind) = input.split_first().filter(|&(&first, _)| first == b'$')?;
    let (length, header) = long_number(behind)?;
    let (content, end) = input.get(1 + header..)?.split_at_checked(usize::try_from(length).ok()?)?;
    end.starts_with(b"\r\n").then_some((content, 1 + header + content.len() + 2))
}

/// As [`short_number`], of more digits.
#[inline(never)]
fn long_number(input: &[u8]) -> Option<(u64, usize)> {
    let digits = input.iter().take(LONG_DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, behind) = input.split_at_checked(digits)?;
    let number = digits.iter().fold(0, |number, &digit| number * 10 + u64::from(digit - b'0'));
    (!digits.is_empty() && behind.starts_with(b"\r\n")).then_some((number, digits.len() + 2))
}

/// The kind of a reply that the input begins with, and what is behind it: of those without elements that say nothing but their
/// kind. An `OK`, an integer, a null, or a bulk string, of which the content is not looked at.
#[inline(always)]
pub fn scalar(input: &[u8]) -> Option<(Kind, &[u8])> {
    if let Some(head) = input.first_chunk()
        && let Some((length, header)) = short_header(head)
    {
        let Some((_, behind)) = split_end(input, header + length) else {
            cold_path();
            return None;
        };
        return Some((Kind::Bulk, behind));
    }
    cold_path();
    let (kind, bytes) = other_scalar(input)?;
    Some((kind, input.get(bytes..)?))
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
    let (length, header) = if let Some((length, header)) = input.first_chunk().and_then(short_header) {
        (length as u64, header)
    } else {
        let (_, behind) = input.split_first().filter(|&(&first, _)| first == b'$')?;
        long_number(behind).map(|(length, bytes)| (length, 1 + bytes))?
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`short_header`] is to tell.
    fn plain(head: [u8; HEAD_BYTES]) -> Option<(usize, usize)> {
        let (_, behind) = head.split_first().filter(|&(&first, _)| first == b'$')?;
        let (length, bytes) = short_number(behind)?;
        Some((length as usize, 1 + bytes))
    }

    #[test]
    fn a_short_header_is_read_at_once_whatever_each_of_its_bytes_is() {
        let mut told = 0;
        for text in [
            b"$0\r\nabcd",
            b"$9\r\n\r\n\r\n",
            b"$09\r\nabc",
            b"$90\r\n\r\n\r",
            b"$905\r\nab",
            b"$000\r\n\r\n",
            b"$1234\r\n1",
        ] {
            // Any two of its bytes are any two.
            for (first, second) in (0..HEAD_BYTES).flat_map(|first| (0..first).map(move |second| (first, second))) {
                for bytes in 0..=u16::MAX {
                    let mut head = *text;
                    [head[first], head[second]] = bytes.to_le_bytes();
                    assert_eq!(short_header(&head), plain(head), "{head:?}");
                    told += usize::from(plain(head).is_some());
                }
            }
        }
        assert!(told > 0);
        for length in 0..1000 {
            let mut head = [b'x'; HEAD_BYTES];
            let text = format!("${length}\r\n");
            head[..text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(short_header(&head), Some((length, text.len())));
        }
    }
}
