//! Whether bytes are RESP at all: what tells Redis's protocol from others, for connections of which no port says so.
//!
//! Two looks, one at what a client may have sent, one at what a server may. Both are stricter than the parser, which takes any
//! text behind a `+` or `:`: lines must be what their type says, and text must be text. They take a stream's bytes as they come,
//! keep nothing of them but the first word, and never panic.

use super::parser::{Kind, Parser, Step, UNKNOWN_LENGTH, Visitor};

/// Longest name of a command that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 32;
/// Bytes of a line that are looked at.
const LINE_BYTES: usize = 32;

/// What a client's stream, or a segment of it, is as far as it was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// It may be anything yet.
    Open,
    /// It begins with a command in the form that only RESP has.
    Multibulk,
    /// Lines, and then one that begins with a command that was asked for, or a command in the other form: only the answer tells.
    Inline,
    /// No client of Redis sends this.
    Wrong,
}

/// What a server's stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// It may be anything yet.
    Open,
    /// An array of bulk strings so far, as clients send it, too.
    Array,
    /// A value that no client sends.
    Reply,
    /// No server of Redis sends this.
    Wrong,
}

/// Looks at the beginning of a client's stream until it tells.
pub fn look_at_requests<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    parser: &mut Parser,
    is_command: impl Fn(&[u8]) -> bool,
) -> Asked {
    let (mut seen, mut lines) = (Requests::default(), false);
    parser.reset();
    for mut rest in pieces {
        while let Some(&first) = rest.first() {
            if parser.is_idle() {
                seen = Requests { is_line: first != b'*', ..Requests::default() };
            }
            if seen.is_line && rest.iter().take_while(|&&byte| byte != b'\n').any(|&byte| !is_text(byte)) {
                return Asked::Wrong;
            }
            let (consumed, step) = parser.feed(rest, &mut seen);
            rest = &rest[consumed..];
            match step {
                Step::Malformed => return Asked::Wrong,
                _ if seen.has_name && !seen.is_line => {
                    return match seen.name().is_some_and(is_name) {
                        true if lines => Asked::Inline,
                        true => Asked::Multibulk,
                        false => Asked::Wrong,
                    };
                }
                Step::Value if seen.name().is_some_and(&is_command) => return Asked::Inline,
                Step::Value => lines = true,
                _ => {}
            }
        }
    }
    Asked::Open
}

/// Looks at the beginning of a server's stream until it tells.
pub fn look_at_replies<'a>(pieces: impl Iterator<Item = &'a [u8]>, parser: &mut Parser) -> Answered {
    let mut seen = Replies::default();
    parser.reset();
    for mut rest in pieces {
        while !rest.is_empty() {
            let (consumed, step) = parser.feed(rest, &mut seen);
            rest = &rest[consumed..];
            match seen.answered() {
                _ if step == Step::Malformed => return Answered::Wrong,
                Answered::Open | Answered::Array => {}
                told => return told,
            }
        }
    }
    seen.answered()
}

/// Whether a segment, wherever in its stream, begins with a whole command's name in multibulk form, one that is asked for, and
/// holds nothing else than such messages, the last one perhaps not to its end.
pub fn is_requests(bytes: &[u8], parser: &mut Parser, is_command: impl Fn(&[u8]) -> bool) -> bool {
    let (mut rest, mut messages) = (bytes, 0);
    parser.reset();
    while let Some(&first) = rest.first() {
        let mut seen = Requests::default();
        if first != b'*' {
            return false;
        }
        let (consumed, step) = parser.feed(rest, &mut seen);
        if messages == 0 && !(seen.has_name && seen.name().is_some_and(&is_command)) {
            return false;
        }
        match step {
            Step::Value => rest = &rest[consumed..],
            step => return step == Step::More,
        }
        messages += 1;
    }
    messages > 0
}

/// What a segment, wherever in its stream, is if it holds nothing else than replies, the last one perhaps not to its end; it
/// counts what the first one is.
pub fn replies_in(bytes: &[u8], parser: &mut Parser) -> Answered {
    let (mut rest, mut first) = (bytes, None);
    parser.reset();
    while !rest.is_empty() {
        let mut seen = Replies::default();
        let (consumed, step) = parser.feed(rest, &mut seen);
        rest = &rest[consumed..];
        if step == Step::Malformed || seen.answered() == Answered::Wrong {
            return Answered::Wrong;
        }
        first = first.or(Some(seen.answered()));
    }
    first.unwrap_or(Answered::Open)
}

/// Whether a byte belongs into a line that somebody may have typed.
fn is_text(byte: u8) -> bool {
    !byte.is_ascii_control() || matches!(byte, b'\t' | b'\r' | b'\n')
}

/// Whether a command can have this name.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_graphic())
}

/// The first word of a request.
#[derive(Default)]
struct Requests {
    is_line: bool,
    values: u32,
    has_name: bool,
    is_long: bool,
    name: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl Requests {
    fn name(&self) -> Option<&[u8]> {
        self.name.get(..self.length).filter(|_| !self.is_long)
    }
}

impl Visitor for Requests {
    const REQUESTS: bool = true;

    fn begin(&mut self, depth: usize, _kind: Kind, length: u64) -> usize {
        if depth == 0 {
            return 0;
        }
        self.values += 1;
        if self.values > 1 {
            return 0;
        }
        if length != UNKNOWN_LENGTH && length > NAME_BYTES_MAX as u64 {
            // A command's name is shorter: it is as good as seen.
            (self.is_long, self.has_name) = (true, true);
        }
        NAME_BYTES_MAX + 1
    }

    fn bytes(&mut self, chunk: &[u8]) {
        if self.has_name {
            return;
        }
        match self.name.get_mut(self.length..self.length + chunk.len()) {
            Some(room) => {
                room.copy_from_slice(chunk);
                self.length += chunk.len();
            }
            None => self.is_long = true,
        }
    }

    fn missing(&mut self) {}

    fn end(&mut self, depth: usize) {
        self.has_name |= depth == 1;
    }
}

/// What the values of a server are.
#[derive(Default)]
struct Replies {
    /// The kind of the line that is being read, and what was seen of it.
    line: Option<Kind>,
    text: [u8; LINE_BYTES],
    length: usize,
    values: u32,
    is_wrong: bool,
    /// A value has begun that no client sends.
    is_reply: bool,
}

impl Replies {
    fn answered(&self) -> Answered {
        match self {
            Replies { is_wrong: true, .. } => Answered::Wrong,
            Replies { is_reply: true, .. } => Answered::Reply,
            Replies { values: 0, .. } => Answered::Open,
            _ if self.line.is_some() => Answered::Open,
            _ => Answered::Array,
        }
    }

    /// Whether the line is what its type says.
    fn is_right(&self, kind: Kind) -> bool {
        let text = &self.text[..self.length];
        let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let unsigned = || text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        match kind {
            Kind::Integer => text.len() < LINE_BYTES && digits(unsigned()),
            Kind::BigNumber => digits(unsigned()),
            Kind::Double => std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok()),
            Kind::Boolean => matches!(text, b"t" | b"f"),
            Kind::Null => text.is_empty(),
            Kind::Error => text.first().is_some_and(u8::is_ascii_graphic) && text.iter().all(|&byte| is_text(byte)),
            _ => text.iter().all(|&byte| is_text(byte)),
        }
    }
}

impl Visitor for Replies {
    const REQUESTS: bool = false;

    fn begin(&mut self, depth: usize, kind: Kind, length: u64) -> usize {
        self.values += 1;
        if length == UNKNOWN_LENGTH && !matches!(kind, Kind::Bulk | Kind::Array | Kind::Map | Kind::Set) {
            (self.line, self.length) = (Some(kind), 0);
            return LINE_BYTES;
        }
        let is_as_of_clients = match depth {
            0 => kind == Kind::Array && length > 0,
            _ => depth == 1 && kind == Kind::Bulk,
        };
        self.is_reply |= !is_as_of_clients;
        0
    }

    fn bytes(&mut self, chunk: &[u8]) {
        if let Some(room) = self.text.get_mut(self.length..self.length + chunk.len()) {
            room.copy_from_slice(chunk);
            self.length += chunk.len();
        }
    }

    fn missing(&mut self) {}

    fn end(&mut self, _depth: usize) {
        if let Some(kind) = self.line.take() {
            let is_right = self.is_right(kind);
            self.is_wrong |= !is_right;
            self.is_reply |= is_right;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of a stream, however it is cut.
    fn asked(text: &str) -> Asked {
        let look = |size: usize| {
            let is_command = |name: &[u8]| name.eq_ignore_ascii_case(b"PING") || name.eq_ignore_ascii_case(b"GET");
            look_at_requests(text.as_bytes().chunks(size), &mut Parser::default(), is_command)
        };
        let whole = look(text.len().max(1));
        (1..text.len()).for_each(|size| assert_eq!(look(size), whole, "{text:?} cut every {size} bytes"));
        whole
    }

    fn answered(text: &str) -> Answered {
        let look = |size: usize| look_at_replies(text.as_bytes().chunks(size), &mut Parser::default());
        let whole = look(text.len().max(1));
        (1..text.len()).for_each(|size| assert_eq!(look(size), whole, "{text:?} cut every {size} bytes"));
        whole
    }

    #[test]
    fn a_client_is_known_by_its_first_command() {
        for text in ["*1\r\n$4\r\nPING\r\n", "*2\r\n$8\r\nJSON.GET\r\n$1\r\n", "*3\r\n$3\r\nSET\r\n$999999\r\nabc"] {
            assert_eq!(asked(text), Asked::Multibulk, "{text:?}");
        }
        for text in [
            "PING\r\n",
            "\r\nget a\n",
            "what is this\r\nGET a\r\n",
            "POST /\r\n\r\n*1\r\n$4\r\nPING\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(asked(text), Asked::Inline, "{text:?}");
        }
        for text in ["", "*", "*1\r\n$4\r\nPIN", "PING", "EHLO a\r\nQUIT\r\n", "\r\n", "*0\r\n"] {
            assert_eq!(asked(text), Asked::Open, "{text:?}");
        }
    }

    #[test]
    fn what_no_client_sends_is_wrong_at_once() {
        let long = format!("*1\r\n$33\r\n{}\r\n", "A".repeat(33));
        for text in ["\0\0\0\x08\x04\u{4d2}", "*1\r\n:4\r\n", "*x", "*1\r\n$2\r\na\x01\r\n", "abc\x02", "a \"b", &long]
        {
            let whole = format!("{text}\r\n");
            assert_eq!(asked(&whole), Asked::Wrong, "{text:?}");
        }
    }

    #[test]
    fn a_server_is_known_by_a_value_that_only_servers_send() {
        let long = format!("+{}\r\n", "a".repeat(200));
        for text in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":-12\r\n",
            "$-1\r\n",
            "$3\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*1\r\n:1\r\n",
            "*2\r\n$1\r\na\r\n*0\r\n",
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            ",-inf\r\n",
            "(12345678901234567890123\r\n",
            "%1\r\n",
            "~1\r\n",
            ">2\r\n",
            "=5\r\n",
            "!3\r\n",
            &long,
        ] {
            assert_eq!(answered(text), Answered::Reply, "{text:?}");
        }
        for text in ["*1\r\n$1\r\na\r\n", "*3\r\n$7\r\nmessage\r\n", "*2\r\n"] {
            assert_eq!(answered(text), Answered::Array, "{text:?}");
        }
        for text in ["", "+OK", ":1", "*", "$3"] {
            assert_eq!(answered(text), Answered::Open, "{text:?}");
        }
    }

    #[test]
    fn lines_of_other_protocols_are_no_replies() {
        for text in [
            "HTTP/1.1 200 OK\r\n",
            "220 mail ESMTP\r\n",
            ":irc.example.com 001 bob :Welcome\r\n",
            "* OK IMAP4rev1\r\n",
            "VALUE a 0 1\r\n",
            "STORED\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "PONG\r\n",
            "#1\r\n",
            ",abc\r\n",
            "_x\r\n",
            "(12a\r\n",
            "- \r\n",
            "-\r\n",
            "+a\x01\r\n",
            ":\r\n",
        ] {
            assert_eq!(answered(text), Answered::Wrong, "{text:?}");
        }
    }

    #[test]
    fn of_a_segment_from_anywhere_all_must_fit() {
        let is_ping = |name: &[u8]| name == b"PING";
        let requests = |text: &str| is_requests(text.as_bytes(), &mut Parser::default(), is_ping);
        for text in
            ["*1\r\n$4\r\nPING\r\n", "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$9\r\nab", "*2\r\n$4\r\nPING\r\n$1"]
        {
            assert!(requests(text), "{text:?}");
        }
        for text in
            ["", "PING\r\n", "*1\r\n$4\r\nPONG\r\n", "*1\r\n$4\r\nPING\r\nPING\r\n", "*1\r\n$4\r\nPING\r\n*x", "*1\r\n"]
        {
            assert!(!requests(text), "{text:?}");
        }
        let replies = |text: &str| replies_in(text.as_bytes(), &mut Parser::default());
        assert_eq!(replies("+OK\r\n$3\r\nab"), Answered::Reply);
        assert_eq!(replies("*1\r\n$1\r\na\r\n+OK\r\n"), Answered::Array);
        assert_eq!(replies("+OK"), Answered::Open);
        assert_eq!(replies("+OK\r\n120 messages\r\n"), Answered::Wrong);
        assert_eq!(replies("+OK\r\n:a\r\n"), Answered::Wrong);
    }
}
