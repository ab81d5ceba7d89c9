//! The shown form of a request's arguments: a short list in a byte buffer, made while the request streams by.
//!
//! Layout: one entry after the other, each a kind (1 byte; of a key with its role), a length (2 bytes, little endian) and
//! that many bytes. An argument that streamed by has one entry, in order; a list holds at most the bytes it was made for; what does not fit ends it with [`Argument::More`].

use std::ops::Deref;

use crate::limits::ARGUMENTS_BYTES_MAX;
use crate::short::copy;

use super::keys::{self, KeyRole};

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
const VALUE: u8 = 1;
const VALUE_CUT: u8 = 2;
const HIDDEN: u8 = 3;
const REDACTED: u8 = 4;
const MORE: u8 = 5;
/// A key: the role's bits are added.
const KEY: u8 = 0x80;
/// It is cut.
const CUT: u8 = 0x40;

/// Bytes of an entry before its text.
pub const ENTRY_HEADER_BYTES: usize = 3;

/// Appends an entry; its text is cut to what a length field can say.
#[inline(always)]
pub fn append(list: &mut Vec<u8>, argument: Argument<'_>) {
    let (kind, text) = match argument {
        Argument::Word(text) => (WORD, text),
        Argument::Key(text) => (KEY | KeyRole::UNKNOWN.bits(), text),
        Argument::KeyCut(text) => (KEY | CUT | KeyRole::UNKNOWN.bits(), text),
        Argument::Value(text) => (VALUE, text),
        Argument::ValueCut(text) => (VALUE_CUT, text),
        Argument::Hidden => (HIDDEN, &[][..]),
        Argument::Redacted => (REDACTED, &[][..]),
        Argument::More => (MORE, &[][..]),
    };
    let length = text.len().min(usize::from(u16::MAX));
    let [low, high] = (length as u16).to_le_bytes();
    list.extend_from_slice(&[kind, low, high]);
    if length > 0 {
        list.extend_from_slice(&text[..length]);
    }
}

/// Bytes of the place of a [`Brief`] list.
pub const BRIEF_BYTES: usize = 40;
/// The same of one that is not quite as brief.
pub const LONGER_BYTES: usize = 88;
/// Bytes in front of its key there.
pub const BRIEF_HEAD_BYTES: usize = 16;
/// Most bytes of the key of one that is not quite as brief.
pub const LONGER_KEY_BYTES: usize = LONGER_BYTES - BRIEF_HEAD_BYTES;
/// Most hidden arguments at its end, and their bytes.
pub const HIDDEN_MAX: usize = 8;
const HIDDEN_BYTES: usize = HIDDEN_MAX * ENTRY_HEADER_BYTES;
const HIDDEN_ENTRIES: [u8; HIDDEN_BYTES] = {
    let mut entries = [0; HIDDEN_BYTES];
    let mut at = 0;
    while at < entries.len() {
        entries[at] = HIDDEN;
        at += ENTRY_HEADER_BYTES;
    }
    entries
};

/// Room for the longest of these lists.
pub const BRIEF_LIST_BYTES: usize = LONGER_BYTES + HIDDEN_BYTES;

/// How the list of a command with one key begins: with its name, and with all of the key's entry but its length and its name.
#[derive(Clone, Copy, Debug)]
pub struct BriefHead {
    /// It ends with them, where the key's name begins.
    bytes: [u8; BRIEF_HEAD_BYTES],
    start: Start,
}

/// How many bytes the list of a command with one key has before the key's name, and what the command does with the key.
#[derive(Clone, Copy, Debug)]
struct Start {
    role: KeyRole,
    bytes: u8,
}

impl Start {
    const NONE: Start = Start { role: KeyRole::UNKNOWN, bytes: 0 };

    /// Where the list begins, whose key has a fixed place: as many bytes before that, which are less than 16.
    #[inline(always)]
    fn from(self) -> usize {
        usize::from(!self.bytes) % BRIEF_HEAD_BYTES + 1
    }
}

impl BriefHead {
    /// No list begins like this.
    pub const NONE: BriefHead = BriefHead { bytes: [0; BRIEF_HEAD_BYTES], start: Start::NONE };

    /// Of a command of this name, as it is spelled; `None` if that is too long.
    pub fn new(name: &[u8], role: KeyRole) -> Option<BriefHead> {
        let mut list = Vec::new();
        append(&mut list, Argument::Word(name));
        let key = list.len();
        append(&mut list, Argument::Key(&[]));
        close(&mut list, key, Some(role), false);
        let from = BRIEF_HEAD_BYTES.checked_sub(list.len()).filter(|&from| from > 0)?;
        let mut bytes = [0; BRIEF_HEAD_BYTES];
        bytes[from..].copy_from_slice(&list);
        Some(BriefHead { bytes, start: Start { role, bytes: list.len() as u8 } })
    }

    /// Bytes of the list with a key of so many bytes and so many hidden arguments.
    #[inline(always)]
    pub fn bytes_with(&self, key: usize, hidden: usize) -> usize {
        usize::from(self.start.bytes) + key + hidden * ENTRY_HEADER_BYTES
    }
}

/// A list that is to be copied.
#[derive(Clone, Copy, Debug)]
pub enum Listed<'a> {
    /// A short one.
    Brief(&'a Brief<BRIEF_BYTES>),
    /// One that is not quite as short.
    Longer(&'a Brief<LONGER_BYTES>),
    /// All of these bytes.
    Any(&'a [u8]),
}

/// The two ends of a name that has 8 to 16 bytes; they may overlap.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// The first eight bytes.
    pub first: &'a [u8; 8],
    /// The last eight.
    pub last: &'a [u8; 8],
    /// Where these begin.
    pub last_at: usize,
}

/// Where in a list of arguments the name of its first key is, if that is whole and the first argument; of no length where that is
/// to be looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyPlace {
    /// Where it begins.
    pub at: u8,
    /// How long it is.
    pub length: u8,
}

/// A short list of the usual form, which remembers its key: a word, the key, and arguments that are hidden. It has so many bytes for
/// the word and the key.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Brief<const BYTES: usize> {
    start: Start,
    key_length: u8,
    /// Arguments that are hidden, which are not among the bytes.
    hidden: u8,
    /// The key's name has its place, whatever is in front of it.
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Brief<BYTES> {
    /// Of nothing.
    pub const EMPTY: Brief<BYTES> = Brief { start: Start::NONE, key_length: 0, hidden: 0, bytes: [0; BYTES] };

    /// Makes it the list of a command, a key and so many hidden arguments, at most [`HIDDEN_MAX`]; `false`, and it is none, if the
    /// key is too long. `last`: the last bytes of the key, or all of it behind whatever else.
    #[inline(always)]
    pub fn fill(&mut self, head: &BriefHead, key: &[u8], last: &[u8; BRIEF_HEAD_BYTES], hidden: usize) -> bool {
        const { assert!(BYTES <= u8::MAX as usize) };
        debug_assert!(hidden <= HIDDEN_MAX);
        let length = key.len();
        if length > BYTES - BRIEF_HEAD_BYTES {
            return false;
        }
        let end = BRIEF_HEAD_BYTES + length;
        if length > last.len() {
            copy(key, &mut self.bytes[BRIEF_HEAD_BYTES..end]);
        } else {
            // What is not of the key falls before it, where the head comes to lie.
            self.bytes[length..end].copy_from_slice(last);
        }
        self.bytes[..BRIEF_HEAD_BYTES].copy_from_slice(&head.bytes);
        self.bytes[BRIEF_HEAD_BYTES - 2] = length as u8;
        self.start = head.start;
        self.key_length = length as u8;
        self.hidden = hidden as u8;
        true
    }

    /// Words of its request.
    #[inline(always)]
    pub fn args(&self) -> u32 {
        2 + u32::from(self.hidden)
    }

    /// The name of the key, and what the command does with it.
    #[inline(always)]
    pub fn key(&self) -> (&[u8], KeyRole) {
        (&self.bytes[BRIEF_HEAD_BYTES..BRIEF_HEAD_BYTES + usize::from(self.key_length)], self.start.role)
    }

    /// The same, of a key whose name has 8 to 16 bytes.
    #[inline(always)]
    pub fn short_key(&self) -> Option<(Ends<'_>, KeyRole)> {
        const { assert!(BYTES >= BRIEF_HEAD_BYTES + 16) };
        let last_at = usize::from(self.key_length).wrapping_sub(8);
        if last_at > 8 {
            return None;
        }
        let name = self.bytes[BRIEF_HEAD_BYTES..].first_chunk::<16>()?;
        let last = name[last_at..].first_chunk()?;
        Some((Ends { first: name.first_chunk()?, last, last_at }, self.start.role))
    }

    /// Where in the list the name of the key begins, and its length.
    #[inline(always)]
    pub fn key_place(&self) -> KeyPlace {
        KeyPlace { at: self.start.bytes, length: self.key_length }
    }

    /// Writes the list where there is room for any such; answers how many bytes it has, or `None` if its hidden arguments are too many.
    /// What is behind them is not part of it.
    #[inline(always)]
    pub fn write(&self, place: &mut [u8; BRIEF_LIST_BYTES]) -> Option<u8> {
        let Start { bytes, .. } = self.start;
        let key_at = usize::from(bytes) % BRIEF_HEAD_BYTES;
        // What is before the key, and some of that; then all that there may be of the key.
        place[..BRIEF_HEAD_BYTES].copy_from_slice(&self.bytes[BRIEF_HEAD_BYTES - key_at..][..BRIEF_HEAD_BYTES]);
        place[key_at..key_at + BYTES - BRIEF_HEAD_BYTES].copy_from_slice(&self.bytes[BRIEF_HEAD_BYTES..]);
        let shown = bytes.wrapping_add(self.key_length);
        if self.hidden == 0 {
            return Some(shown);
        }
        let hidden = place.get_mut(usize::from(shown)..)?.first_chunk_mut()?;
        *hidden = HIDDEN_ENTRIES;
        Some(shown + self.hidden * ENTRY_HEADER_BYTES as u8)
    }

    /// The list, by itself.
    pub fn made(&self) -> List<'static> {
        let mut bytes = [0; BRIEF_LIST_BYTES];
        let length = self.write(&mut bytes).unwrap_or_default();
        List::Made { bytes, length: usize::from(length) }
    }
}

/// A list, wherever it is.
#[derive(Clone, Copy, Debug)]
pub enum List<'a> {
    /// One that was made just now: so many of these bytes.
    Made {
        /// These.
        bytes: [u8; BRIEF_LIST_BYTES],
        /// So many.
        length: usize,
    },
    /// One that is kept.
    Kept(&'a [u8]),
}

impl Deref for List<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            List::Made { bytes, length } => &bytes[..*length],
            List::Kept(list) => list,
        }
    }
}

/// Makes a longer one in a buffer.
#[cold]
#[inline(never)]
pub fn fill(list: &mut Vec<u8>, head: &BriefHead, key: &[u8], hidden: usize) {
    list.clear();
    // For whatever it is to hold.
    list.reserve_exact(ARGUMENTS_BYTES_MAX);
    let begins = &head.bytes[head.start.from()..];
    let at = begins.len().saturating_sub(ENTRY_HEADER_BYTES);
    list.extend_from_slice(&begins[..at]);
    append(list, Argument::Key(key));
    close(list, at, Some(head.start.role), false);
    for _ in 0..hidden {
        append(list, Argument::Hidden);
    }
}

/// Makes the entry that begins at `at` (appended as [`Argument::Hidden`], its text behind it) a key of that text and role, or
/// a value.
#[inline]
pub fn close(list: &mut [u8], at: usize, key: Option<KeyRole>, cut: bool) {
    let kind = match (key, cut) {
        (Some(role), false) => KEY | role.bits(),
        (Some(role), true) => KEY | CUT | role.bits(),
        (None, false) => VALUE,
        (None, true) => VALUE_CUT,
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

/// What becomes of a key that turns out to be none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoKey {
    /// A value.
    Value,
    /// [`Argument::Hidden`].
    Hidden,
    /// [`Argument::Redacted`].
    Redacted,
}

/// The keys from argument `from` on turn out to be none.
pub fn withdraw_keys(list: &mut Vec<u8>, from: usize, instead: NoKey) {
    let (mut at, mut number) = (0, 0);
    while let Some((kind, text)) = entry(list, at) {
        let mut length = text.len();
        if kind & KEY != 0 && number >= from {
            length = withdraw(list, at, length, instead);
        }
        at += ENTRY_HEADER_BYTES + length;
        number += 1;
    }
}

/// Makes a key of this length none; answers with the length of its text then.
fn withdraw(list: &mut Vec<u8>, at: usize, length: usize, instead: NoKey) -> usize {
    let kind = match instead {
        NoKey::Value if list[at] & CUT != 0 => VALUE_CUT,
        NoKey::Value => VALUE,
        NoKey::Hidden => HIDDEN,
        NoKey::Redacted => REDACTED,
    };
    list[at] = kind;
    if instead == NoKey::Value {
        return length;
    }
    list[at + 1..at + ENTRY_HEADER_BYTES].fill(0);
    list.drain(at + ENTRY_HEADER_BYTES..at + ENTRY_HEADER_BYTES + length);
    0
}

/// Gives the first key another role.
pub fn set_first_key_role(list: &mut [u8], role: KeyRole) {
    let first = positions(list).find(|&(_, kind, _)| kind & KEY != 0).map(|(at, _, _)| at);
    if let Some(kind) = first.and_then(|at| list.get_mut(at)) {
        *kind = *kind & (KEY | CUT) | role.bits();
    }
}

/// The entry that begins at `at`: its kind and text.
#[inline]
fn entry(list: &[u8], at: usize) -> Option<(u8, &[u8])> {
    let (&kind, after) = list.get(at..)?.split_first()?;
    let (length, after) = after.split_first_chunk::<2>()?;
    let text = after.get(..usize::from(u16::from_le_bytes(*length)))?;
    Some((kind, text))
}

/// All entries: where each begins, its kind and text.
#[inline]
fn positions(list: &[u8]) -> impl Iterator<Item = (usize, u8, &[u8])> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let at = next;
        let (kind, text) = entry(list, at)?;
        next = at + ENTRY_HEADER_BYTES + text.len();
        Some((at, kind, text))
    })
}

/// Reads a list.
#[inline]
pub fn iter(list: &[u8]) -> impl Iterator<Item = Argument<'_>> {
    positions(list).map(|(_, kind, text)| match kind {
        WORD => Argument::Word(text),
        VALUE => Argument::Value(text),
        VALUE_CUT => Argument::ValueCut(text),
        HIDDEN => Argument::Hidden,
        REDACTED => Argument::Redacted,
        _ if kind & (KEY | CUT) == KEY | CUT => Argument::KeyCut(text),
        _ if kind & KEY != 0 => Argument::Key(text),
        _ => Argument::More,
    })
}

/// What of a list follows the words of the command.
#[inline]
pub fn after_words(mut list: &[u8]) -> &[u8] {
    while let Some((WORD, word)) = entry(list, 0) {
        list = &list[ENTRY_HEADER_BYTES + word.len()..];
    }
    list
}

/// A key of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    /// Its name, or the beginning of it.
    pub name: &'a [u8],
    /// Only the beginning is kept.
    pub is_cut: bool,
    /// What the command does with it; [`KeyRole::UNKNOWN`] of one that was guessed.
    pub role: KeyRole,
}

/// The keys of a list, in order: those that it had room for.
#[inline]
pub fn keys(list: &[u8]) -> impl Iterator<Item = Key<'_>> {
    positions(list).filter(|&(_, kind, _)| kind & KEY != 0).map(|(_, kind, name)| Key {
        name,
        is_cut: kind & CUT != 0,
        role: KeyRole::from_bits(kind),
    })
}

/// The first key of a list.
#[inline]
pub fn first_key(list: &[u8]) -> Option<&[u8]> {
    keys(list).next().map(|key| key.name)
}

/// The cluster slot of the first key of a list, if all of its bytes are kept.
pub fn slot(list: &[u8]) -> Option<u16> {
    keys(list).next().filter(|key| !key.is_cut).map(|key| keys::slot(key.name))
}

/// Where the text of a list's first argument begins that is no word of the command, and how long it is; if that is a whole key.
#[inline(always)]
pub fn key_behind_words(list: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let ([kind, length @ ..], text) = list.get(at..)?.split_first_chunk::<ENTRY_HEADER_BYTES>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        at += ENTRY_HEADER_BYTES;
        if *kind != WORD {
            return (*kind & (KEY | CUT) == KEY && length <= text.len()).then_some((at, length));
        }
        at += length;
    }
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

    /// `MSET a 1 b 2`, as it stands while it streams by.
    fn mset() -> Vec<u8> {
        let mut list = Vec::new();
        append(&mut list, Argument::Word(b"MSET"));
        for (name, cut) in [(b"a", false), (b"b", true)] {
            let at = list.len();
            append(&mut list, Argument::Hidden);
            list.extend_from_slice(name);
            close(&mut list, at, Some("OW+UPDATE".parse().unwrap()), cut);
            append(&mut list, Argument::Hidden);
        }
        list
    }

    #[test]
    fn keys_are_read_back_with_their_roles() {
        let role: KeyRole = "OW+UPDATE".parse().unwrap();
        let found: Vec<Key<'_>> =
            [(&b"a"[..], false), (b"b", true)].map(|(name, is_cut)| Key { name, is_cut, role }).into();
        assert_eq!(keys(&mset()).collect::<Vec<_>>(), found);
        let mut list = mset();
        let other: KeyRole = "RM+DELETE".parse().unwrap();
        set_first_key_role(&mut list, other);
        assert_eq!(keys(&list).map(|key| key.role).collect::<Vec<_>>(), [other, role]);
        assert_eq!(keys(&list).map(|key| key.is_cut).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_key_that_is_none_leaves_nothing_but_its_place() {
        let (word, hidden) = (Argument::Word(b"MSET"), Argument::Hidden);
        let withdrawn = |from, instead| {
            let mut list = mset();
            withdraw_keys(&mut list, from, instead);
            list
        };
        let list = withdrawn(0, NoKey::Hidden);
        assert_eq!(iter(&list).collect::<Vec<_>>(), [word, hidden, hidden, hidden, hidden]);
        assert_eq!(list.len(), 5 * ENTRY_HEADER_BYTES + 4, "nothing of it is kept");
        let list = withdrawn(2, NoKey::Redacted);
        assert_eq!(iter(&list).collect::<Vec<_>>(), [word, Argument::Key(b"a"), hidden, Argument::Redacted, hidden]);
        let list = withdrawn(0, NoKey::Value);
        let values = [word, Argument::Value(b"a"), hidden, Argument::ValueCut(b"b"), hidden];
        assert_eq!(iter(&list).collect::<Vec<_>>(), values);
    }

    #[test]
    fn only_a_whole_key_behind_the_words_has_a_place() {
        let place = |second: Argument<'_>, missing: usize| {
            let mut list = Vec::new();
            append(&mut list, Argument::Word(b"GET"));
            append(&mut list, second);
            key_behind_words(&list[..list.len() - missing])
        };
        assert_eq!(place(Argument::Key(b"key"), 0), Some((9, 3)));
        assert_eq!(place(Argument::Key(b"key"), 1), None);
        assert_eq!(place(Argument::KeyCut(b"key"), 0), None);
        assert_eq!(place(Argument::Hidden, 0), None);
    }
}
