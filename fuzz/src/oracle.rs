//! RESP by recursion over bytes that are all there: what the resumable parser must tell, obviously.

use resptap::limits::{BULK_BYTES_MAX, ELEMENTS_MAX, RESP_DEPTH_MAX};
use resptap::resp::parser::{Kind, UNKNOWN_LENGTH};

/// What a visitor is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    Begin(usize, Kind, u64),
    /// All payload bytes of the value that began last.
    Text(Vec<u8>),
    End(usize),
}

/// How a message ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Value,
    /// No message: an empty line or multibulk.
    Empty,
}

/// Why there is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    /// The bytes end inside it.
    More,
    Malformed,
}

/// Reads messages.
pub struct Oracle<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    pub told: Vec<Told>,
}

/// A header's number.
#[derive(Clone, Copy)]
enum Number {
    Plain(u64),
    Negative(u64),
    Streamed,
}

/// What stood where a value was to be.
#[derive(PartialEq)]
enum Found {
    Element,
    /// A push, which is no element.
    Push,
    /// `.`
    Stop,
}

impl Oracle<'_> {
    fn next(&mut self) -> Result<u8, Fail> {
        let byte = *self.bytes.get(self.at).ok_or(Fail::More)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        bytes.iter().try_for_each(|&byte| if self.next()? == byte { Ok(()) } else { Err(Fail::Malformed) })
    }

    fn tell(&mut self, muted: bool, told: Told) {
        if !muted {
            self.told.push(told);
        }
    }

    /// `123`, `-1` or `?`, and CRLF.
    fn number(&mut self) -> Result<Number, Fail> {
        let mut byte = self.next()?;
        if byte == b'?' {
            return self.expect(b"\r\n").map(|()| Number::Streamed);
        }
        let negative = byte == b'-';
        if negative {
            byte = self.next()?;
        }
        let (mut number, mut digits) = (0, 0);
        while byte.is_ascii_digit() && digits < 18 {
            number = number * 10 + u64::from(byte - b'0');
            digits += 1;
            byte = self.next()?;
        }
        if byte != b'\r' || digits == 0 {
            return Err(Fail::Malformed);
        }
        self.expect(b"\n")?;
        Ok(if negative { Number::Negative(number) } else { Number::Plain(number) })
    }

    /// So many payload bytes and CRLF.
    fn payload(&mut self, length: u64) -> Result<Vec<u8>, Fail> {
        let rest = &self.bytes[self.at..];
        let length = usize::try_from(length).ok().filter(|&length| length <= rest.len()).ok_or(Fail::More)?;
        self.at += length;
        self.expect(b"\r\n")?;
        Ok(rest[..length].to_vec())
    }

    /// A server's message.
    pub fn reply(&mut self) -> Result<End, Fail> {
        // A push is a message of its own here.
        self.value(0, false, false).map(|_| End::Value)
    }

    fn value(&mut self, depth: usize, muted: bool, may_stop: bool) -> Result<Found, Fail> {
        let byte = self.next()?;
        let line = match byte {
            b'+' => Some(Kind::Simple),
            b'-' => Some(Kind::Error),
            b':' => Some(Kind::Integer),
            b',' => Some(Kind::Double),
            b'#' => Some(Kind::Boolean),
            b'(' => Some(Kind::BigNumber),
            b'_' => Some(Kind::Null),
            _ => None,
        };
        if let Some(kind) = line {
            let rest = &self.bytes[self.at..];
            let length = rest.windows(2).position(|two| two == b"\r\n").ok_or(Fail::More)?;
            self.at += length + 2;
            self.tell(muted, Told::Begin(depth, kind, UNKNOWN_LENGTH));
            self.tell(muted, Told::Text(rest[..length].to_vec()));
            self.tell(muted, Told::End(depth));
            return Ok(Found::Element);
        }
        match byte {
            b'.' if may_stop => return self.expect(b"\r\n").map(|()| Found::Stop),
            b'$' | b'=' | b'!' | b'*' | b'%' | b'~' | b'>' | b'|' => {}
            _ => return Err(Fail::Malformed),
        }
        let number = self.number()?;
        match (byte, number) {
            (b'$' | b'*', Number::Negative(1)) => {
                self.tell(muted, Told::Begin(depth, Kind::Null, 0));
                self.tell(muted, Told::End(depth));
                Ok(Found::Element)
            }
            (_, Number::Negative(_)) => Err(Fail::Malformed),
            (b'$', Number::Streamed) => self.chunks(depth, muted),
            (b'$' | b'=' | b'!', Number::Plain(length)) if length <= BULK_BYTES_MAX => {
                let kind = [Kind::Bulk, Kind::Verbatim, Kind::Error][b"$=!".iter().position(|&of| of == byte).unwrap()];
                self.tell(muted, Told::Begin(depth, kind, length));
                let text = self.payload(length)?;
                self.tell(muted, Told::Text(text));
                self.tell(muted, Told::End(depth));
                Ok(Found::Element)
            }
            (b'|', Number::Plain(pairs)) if pairs <= ELEMENTS_MAX => {
                self.elements(depth, true, Some(2 * pairs))?;
                self.value(depth, muted, may_stop)
            }
            (b'*' | b'%' | b'~' | b'>', Number::Plain(count)) if count <= ELEMENTS_MAX => {
                self.aggregate(byte, depth, muted, Some(if byte == b'%' { 2 * count } else { count }))
            }
            (b'*' | b'%' | b'~', Number::Streamed) => self.aggregate(byte, depth, muted, None),
            _ => Err(Fail::Malformed),
        }
    }

    fn chunks(&mut self, depth: usize, muted: bool) -> Result<Found, Fail> {
        self.tell(muted, Told::Begin(depth, Kind::Bulk, UNKNOWN_LENGTH));
        let mut text = Vec::new();
        loop {
            self.expect(b";")?;
            match self.number()? {
                Number::Plain(0) => break,
                Number::Plain(length) if length <= BULK_BYTES_MAX => text.extend(self.payload(length)?),
                _ => return Err(Fail::Malformed),
            }
        }
        self.tell(muted, Told::Text(text));
        self.tell(muted, Told::End(depth));
        Ok(Found::Element)
    }

    fn aggregate(&mut self, byte: u8, depth: usize, muted: bool, count: Option<u64>) -> Result<Found, Fail> {
        let kind = [Kind::Array, Kind::Map, Kind::Set, Kind::Push][b"*%~>".iter().position(|&of| of == byte).unwrap()];
        self.tell(muted, Told::Begin(depth, kind, count.unwrap_or(UNKNOWN_LENGTH)));
        self.elements(depth, muted, count)?;
        self.tell(muted, Told::End(depth));
        Ok(if kind == Kind::Push && depth > 0 { Found::Push } else { Found::Element })
    }

    /// The elements of an aggregate at `depth`; `None`: up to a `.`.
    fn elements(&mut self, depth: usize, muted: bool, count: Option<u64>) -> Result<(), Fail> {
        if count == Some(0) {
            return Ok(());
        }
        if depth == RESP_DEPTH_MAX {
            return Err(Fail::Malformed);
        }
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            match self.value(depth + 1, muted, count.is_none())? {
                Found::Element => left -= 1,
                Found::Push => {}
                Found::Stop => break,
            }
        }
        Ok(())
    }

    /// A client's message.
    pub fn request(&mut self) -> Result<End, Fail> {
        if self.bytes.get(self.at) != Some(&b'*') {
            return self.inline();
        }
        self.at += 1;
        let count = match self.number()? {
            Number::Negative(_) | Number::Plain(0) => return Ok(End::Empty),
            Number::Plain(count) if count <= ELEMENTS_MAX => count,
            _ => return Err(Fail::Malformed),
        };
        self.told.push(Told::Begin(0, Kind::Array, count));
        for _ in 0..count {
            self.expect(b"$")?;
            match self.number()? {
                Number::Plain(length) if length <= BULK_BYTES_MAX => {
                    self.told.push(Told::Begin(1, Kind::Bulk, length));
                    let text = self.payload(length)?;
                    self.told.extend([Told::Text(text), Told::End(1)]);
                }
                _ => return Err(Fail::Malformed),
            }
        }
        self.told.push(Told::End(0));
        Ok(End::Value)
    }

    /// A line, split into words by looking ahead, as servers do it.
    fn inline(&mut self) -> Result<End, Fail> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        let words = split(line, end.is_some())?;
        self.at += end.ok_or(Fail::More)? + 1;
        if words.is_empty() {
            return Ok(End::Empty);
        }
        self.told.push(Told::Begin(0, Kind::Array, UNKNOWN_LENGTH));
        for word in words {
            self.told.extend([Told::Begin(1, Kind::Bulk, UNKNOWN_LENGTH), Told::Text(word), Told::End(1)]);
        }
        self.told.push(Told::End(0));
        Ok(End::Value)
    }
}

/// The words of a line without its LF, which is there if the line `is_whole`.
fn split(line: &[u8], is_whole: bool) -> Result<Vec<Vec<u8>>, Fail> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c);
    let open = if is_whole { Fail::Malformed } else { Fail::More };
    let (mut at, mut words) = (0, Vec::new());
    loop {
        while line.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
        }
        if at == line.len() {
            return Ok(words);
        }
        let mut word = Vec::new();
        while let Some(&byte) = line.get(at).filter(|&&byte| !is_space(byte)) {
            at += 1;
            if byte == b'"' || byte == b'\'' {
                at += quoted(&line[at..], byte, &mut word).ok_or(open)?;
                if line.get(at).is_some_and(|&byte| !is_space(byte)) {
                    return Err(Fail::Malformed);
                }
            } else {
                word.push(byte);
            }
        }
        words.push(word);
    }
}

/// Adds what stands before the closing quote; answers how long that is, the quote included.
fn quoted(rest: &[u8], quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    let hex = |at: usize| rest.get(at).and_then(|&byte| (byte as char).to_digit(16));
    let mut at = 0;
    loop {
        let byte = *rest.get(at)?;
        at += 1;
        match byte {
            _ if byte == quote => return Some(at),
            b'\\' if quote == b'\'' => {
                let is_quote = rest.get(at) == Some(&b'\'');
                word.push(if is_quote { b'\'' } else { b'\\' });
                at += usize::from(is_quote);
            }
            b'\\' => {
                let escaped = *rest.get(at)?;
                at += 1;
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    b'x' if hex(at).is_some() && hex(at + 1).is_some() => {
                        at += 2;
                        (hex(at - 2)? * 16 + hex(at - 1)?) as u8
                    }
                    other => other,
                });
            }
            _ => word.push(byte),
        }
    }
}
