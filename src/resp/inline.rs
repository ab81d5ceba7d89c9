//! The words of an inline command, one byte at a time, as servers split them: separated by white space, `"…"` with the
//! escapes `\n \r \t \b \a \xHH`, `'…'` with `\'`; a closing quote must be followed by white space; LF ends the line, a CR
//! before it is white space.

/// What a byte meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// Nothing yet.
    None,
    /// A word begins, with this content.
    Begin(Content),
    /// More of the word.
    Bytes(Content),
    /// The word ends.
    End,
}

/// Up to four bytes of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Content {
    bytes: [u8; 4],
    length: u8,
}

impl Content {
    const EMPTY: Content = Content { bytes: [0; 4], length: 0 };

    fn of(byte: u8) -> Content {
        Content { bytes: [byte, 0, 0, 0], length: 1 }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Between,
    Plain,
    Double,
    DoubleEscape,
    /// `\x`, and the first hexadecimal digit if it was there.
    DoubleHex(Option<u8>),
    Single,
    SingleEscape,
    /// Behind a closing quote.
    Closed,
    LineEnd,
}

/// Quotes that do not close, or are not followed by white space: the server answers with an error and closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unbalanced;

/// Splits a line into words. Plain data, resumable anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tokenizer {
    state: State,
    words: u32,
}

impl Tokenizer {
    /// Words that have begun.
    pub(super) fn words(self) -> u32 {
        self.words
    }

    /// Whether the line has ended.
    pub(super) fn is_line_end(self) -> bool {
        self.state == State::LineEnd
    }

    /// Takes the next byte of the line.
    pub(super) fn next(&mut self, byte: u8) -> Result<Word, Unbalanced> {
        match self.state {
            State::Between => Ok(self.between(byte)),
            State::Plain => match byte {
                b'"' => Ok(self.go(State::Double, Word::None)),
                b'\'' => Ok(self.go(State::Single, Word::None)),
                _ if is_space(byte) => Ok(self.end(byte)),
                _ => Ok(Word::Bytes(Content::of(byte))),
            },
            State::Double => match byte {
                b'\\' => Ok(self.go(State::DoubleEscape, Word::None)),
                b'"' => Ok(self.go(State::Closed, Word::None)),
                b'\n' => Err(Unbalanced),
                _ => Ok(Word::Bytes(Content::of(byte))),
            },
            State::DoubleEscape => Ok(match byte {
                b'x' => self.go(State::DoubleHex(None), Word::None),
                b'n' => self.go(State::Double, Word::Bytes(Content::of(b'\n'))),
                b'r' => self.go(State::Double, Word::Bytes(Content::of(b'\r'))),
                b't' => self.go(State::Double, Word::Bytes(Content::of(b'\t'))),
                b'b' => self.go(State::Double, Word::Bytes(Content::of(8))),
                b'a' => self.go(State::Double, Word::Bytes(Content::of(7))),
                b'\n' => return Err(Unbalanced),
                _ => self.go(State::Double, Word::Bytes(Content::of(byte))),
            }),
            State::DoubleHex(first) => self.hexadecimal(first, byte),
            State::Single => match byte {
                b'\\' => Ok(self.go(State::SingleEscape, Word::None)),
                b'\'' => Ok(self.go(State::Closed, Word::None)),
                b'\n' => Err(Unbalanced),
                _ => Ok(Word::Bytes(Content::of(byte))),
            },
            State::SingleEscape => match byte {
                b'\'' => Ok(self.go(State::Single, Word::Bytes(Content::of(byte)))),
                // Only `\'` is an escape here: the backslash stands for itself.
                b'\n' => Err(Unbalanced),
                b'\\' => Ok(Word::Bytes(Content::of(b'\\'))),
                _ => Ok(self.go(State::Single, Word::Bytes(Content { bytes: [b'\\', byte, 0, 0], length: 2 }))),
            },
            State::Closed if is_space(byte) => Ok(self.end(byte)),
            State::Closed | State::LineEnd => Err(Unbalanced),
        }
    }

    fn between(&mut self, byte: u8) -> Word {
        let (state, content) = match byte {
            b'\n' => return self.go(State::LineEnd, Word::None),
            _ if is_space(byte) => return Word::None,
            b'"' => (State::Double, Content::EMPTY),
            b'\'' => (State::Single, Content::EMPTY),
            _ => (State::Plain, Content::of(byte)),
        };
        self.words += 1;
        self.go(state, Word::Begin(content))
    }

    /// Two hexadecimal digits are a byte; anything else is the text that it is, without the backslash.
    fn hexadecimal(&mut self, first: Option<u8>, byte: u8) -> Result<Word, Unbalanced> {
        let digit = |byte: u8| (byte as char).to_digit(16);
        match (first, digit(byte)) {
            (None, Some(_)) => {
                self.state = State::DoubleHex(Some(byte));
                Ok(Word::None)
            }
            (Some(high), Some(low)) => {
                let value = digit(high).unwrap_or_default() * 16 + low;
                Ok(self.go(State::Double, Word::Bytes(Content::of(value as u8))))
            }
            (first, None) => {
                let mut content = Content { bytes: [b'x', first.unwrap_or_default(), 0, 0], length: 1 };
                content.length += u8::from(first.is_some());
                // The byte itself is ordinary again, and may close the quotes or begin another escape.
                self.state = State::Double;
                match byte {
                    b'\\' => self.state = State::DoubleEscape,
                    b'"' => self.state = State::Closed,
                    b'\n' => return Err(Unbalanced),
                    _ => {
                        content.bytes[usize::from(content.length)] = byte;
                        content.length += 1;
                    }
                }
                Ok(Word::Bytes(content))
            }
        }
    }

    fn end(&mut self, byte: u8) -> Word {
        self.go(if byte == b'\n' { State::LineEnd } else { State::Between }, Word::End)
    }

    fn go(&mut self, state: State, word: Word) -> Word {
        self.state = state;
        word
    }
}

/// As C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
