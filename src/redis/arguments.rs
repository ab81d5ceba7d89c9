//! The shown form of a request's arguments: a short list in a byte buffer, made while the request streams by.
//!
//! Layout: one entry after the other, each a kind (1 byte), a length (2 bytes, little endian) and that many bytes.
//! A list holds at most the bytes it was made for; what does not fit ends it with [`Argument::More`].

/// What of requests and replies is shown (`--payload`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Payload {
    /// Command names and error codes.
    None,
    /// Key names as well; other arguments as `?`.
    #[default]
    Keys,
    /// Arguments, errors and replies, up to `--payload-bytes` each.
    Full,
}

/// One entry of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument<'a> {
    /// A word of the command, as it was sent.
    Word(&'a [u8]),
    /// A key.
    Key(&'a [u8]),
    /// A key of which only the beginning is kept.
    KeyCut(&'a [u8]),
    /// Another argument, kept with `--payload full`.
    Value(&'a [u8]),
    /// Another argument of which only the beginning is kept.
    ValueCut(&'a [u8]),
    /// An argument that is not shown.
    Hidden,
    /// A secret.
    Redacted,
    /// More arguments follow that are not kept.
    More,
}

const WORD: u8 = 0;
const KEY: u8 = 1;
const KEY_CUT: u8 = 2;
const VALUE: u8 = 3;
const VALUE_CUT: u8 = 4;
const HIDDEN: u8 = 5;
const REDACTED: u8 = 6;
const MORE: u8 = 7;

/// Bytes of an entry before its text.
pub const ENTRY_HEADER_BYTES: usize = 3;

/// Appends an entry; its text is cut to what a length field can say.
pub fn append(list: &mut Vec<u8>, argument: Argument<'_>) {
    let (kind, text) = match argument {
        Argument::Word(text) => (WORD, text),
        Argument::Key(text) => (KEY, text),
        Argument::KeyCut(text) => (KEY_CUT, text),
        Argument::Value(text) => (VALUE, text),
        Argument::ValueCut(text) => (VALUE_CUT, text),
        Argument::Hidden => (HIDDEN, &[][..]),
        Argument::Redacted => (REDACTED, &[][..]),
        Argument::More => (MORE, &[][..]),
    };
    let length = text.len().min(usize::from(u16::MAX));
    list.push(kind);
    list.extend_from_slice(&(length as u16).to_le_bytes());
    list.extend_from_slice(&text[..length]);
}

/// Makes the entry that begins at `at` (appended as [`Argument::Hidden`], its text behind it) a key or value of that text.
pub fn close(list: &mut [u8], at: usize, key: bool, cut: bool) {
    let kind = match (key, cut) {
        (true, false) => KEY,
        (true, true) => KEY_CUT,
        (false, false) => VALUE,
        (false, true) => VALUE_CUT,
    };
    close_as(list, at, kind);
}

/// Makes it a word.
pub fn close_word(list: &mut [u8], at: usize) {
    close_as(list, at, WORD);
}

fn close_as(list: &mut [u8], at: usize, kind: u8) {
    let length = list.len() - at - ENTRY_HEADER_BYTES;
    list[at] = kind;
    list[at + 1..at + ENTRY_HEADER_BYTES].copy_from_slice(&(length.min(usize::from(u16::MAX)) as u16).to_le_bytes());
}

/// Reads a list.
pub fn iter(list: &[u8]) -> impl Iterator<Item = Argument<'_>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let (&kind, after) = rest.split_first()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        Some(match kind {
            WORD => Argument::Word(text),
            KEY => Argument::Key(text),
            KEY_CUT => Argument::KeyCut(text),
            VALUE => Argument::Value(text),
            VALUE_CUT => Argument::ValueCut(text),
            HIDDEN => Argument::Hidden,
            REDACTED => Argument::Redacted,
            _ => Argument::More,
        })
    })
}

/// The first key of a list.
pub fn first_key(list: &[u8]) -> Option<&[u8]> {
    iter(list).find_map(|argument| match argument {
        Argument::Key(key) | Argument::KeyCut(key) => Some(key),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_back() {
        let entries = [
            Argument::Word(b"MSET"),
            Argument::Key(b""),
            Argument::Hidden,
            Argument::KeyCut(b"long\0key"),
            Argument::Value(b"v"),
            Argument::ValueCut(b"w"),
            Argument::Redacted,
            Argument::More,
        ];
        let mut list = Vec::new();
        for entry in entries {
            append(&mut list, entry);
        }
        assert_eq!(iter(&list).collect::<Vec<_>>(), entries);
        assert_eq!(first_key(&list), Some(&b""[..]));
        assert_eq!(iter(&list[..list.len() - 1]).count(), entries.len() - 1, "a cut list ends early");
    }
}
