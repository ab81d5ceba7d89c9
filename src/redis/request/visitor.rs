//! Fills a [`Request`] while the parser reads it.
//!
//! Secrets are cut here, before a byte is copied. Never panics.

use crate::limits::NOTES_BYTES_MAX;
use crate::resp::parser::{Kind, UNKNOWN_LENGTH, Visitor};

use super::super::arguments::{self, Argument, ENTRY_HEADER_BYTES, NoKey};
use super::super::command::{CommandTable, WORD_BYTES_MAX};
use super::super::foreign;
use super::super::guess;
use super::super::keys::KeyRole;
use super::super::keys::finder::{Role, Settle};
use super::super::pairing::Flags;
use super::super::redact;
use super::super::session::{Act, Acts};
use super::{Collect, Noted, Noting, Request, Shown};

/// Fills a [`Request`] while the parser reads it.
pub struct RequestVisitor<'a> {
    /// The request.
    pub request: &'a mut Request,
    /// All commands.
    pub table: &'a CommandTable,
    /// What they do to sessions.
    pub acts: &'a Acts,
    /// What is kept to be shown.
    pub shown: Shown,
}

impl Visitor for RequestVisitor<'_> {
    const REQUESTS: bool = true;

    #[inline]
    fn begin(&mut self, depth: usize, _kind: Kind, length: u64) -> usize {
        if depth == 0 {
            if length == UNKNOWN_LENGTH {
                self.request.flags.set(Flags::INLINE);
                self.request.late.veiled = !self.request.late.inline_is_believed;
            }
            self.request.late.declared = u32::try_from(length).unwrap_or(u32::MAX);
            return 0;
        }
        let index = self.request.late.begun;
        self.request.late.begun += 1;
        self.request.late.length = length;
        self.request.late.cut = false;
        match index {
            0 => self.collect_word(),
            1 if self.table.get(self.request.command).is_some_and(|command| command.flags.container) => {
                self.collect_word()
            }
            _ => {
                let shown = self.argument(index, length);
                if self.acts.of(self.request.command).notes_arguments() { self.note().max(shown) } else { shown }
            }
        }
    }

    #[inline]
    fn bytes(&mut self, chunk: &[u8]) {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        if let Noting::Entry { .. } = draft.noting {
            let room = NOTES_BYTES_MAX.saturating_sub(draft.notes.len());
            draft.notes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        match draft.collect {
            Collect::Nothing => {}
            Collect::Word | Collect::Decider => {
                let from = usize::from(draft.word_length);
                let length = chunk.len().min(draft.word.len() - from);
                draft.word[from..from + length].copy_from_slice(&chunk[..length]);
                draft.word_length += length as u8;
                draft.cut |= length < chunk.len();
            }
            Collect::Entry { .. } => {
                let length = chunk.len().min(draft.room);
                draft.arguments.extend_from_slice(&chunk[..length]);
                draft.room -= length;
            }
        }
    }

    fn missing(&mut self) {
        self.request.late.cut = true;
    }

    #[inline]
    fn end(&mut self, depth: usize) {
        if depth == 0 {
            self.request.args = self.request.late.begun;
            if self.request.late.declared == u32::MAX {
                self.settle_inline();
            }
            return;
        }
        if let Noting::Entry { at, what } = self.request.late.noting {
            self.note_end(at, what);
        }
        match std::mem::replace(&mut self.request.late.collect, Collect::Nothing) {
            Collect::Nothing => {}
            Collect::Word => self.word_end(),
            Collect::Decider => self.decider_end(),
            Collect::Entry { at, key } => self.entry_end(at, key),
        }
    }
}

impl RequestVisitor<'_> {
    #[inline]
    fn collect_word(&mut self) -> usize {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        draft.collect = Collect::Word;
        if draft.begun == 2 {
            // Behind the container's name and a space.
            draft.word[usize::from(draft.word_length)] = b' ';
            draft.word_length += 1;
        }
        WORD_BYTES_MAX + 1
    }

    /// The command's first or second word is complete.
    #[inline]
    fn word_end(&mut self) {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        draft.word_cut |= draft.cut;
        let words = &draft.word[..usize::from(draft.word_length)];
        let word = if draft.begun == 2 { &words[self.table.name(request.command).len() + 1..] } else { words };
        let found = if draft.cut || word.len() > WORD_BYTES_MAX { None } else { self.table.find(words) };
        draft.is_of_nodes = found.is_none() && !draft.cut && foreign::is_replication(words);
        // An unknown subcommand leaves the request with its container's name.
        if let Some(found) = found {
            request.command = found;
        }
        if self.shown.keys {
            // A second word that is no subcommand is an argument, and may be anything.
            let is_name = !draft.cut && word.len() <= WORD_BYTES_MAX && (draft.begun == 1 || found.is_some());
            let (list, full) = (&mut draft.arguments, &mut draft.full);
            if is_name && !draft.veiled {
                append(list, full, self.shown, Argument::Word(word));
            } else if draft.secret {
                append(list, full, self.shown, Argument::Redacted);
            } else {
                append(list, full, self.shown, Argument::Hidden);
            }
        }
        let Some(command) = self.table.get(request.command) else { return };
        if command.flags.blocking && !command.flags.blocking_option {
            request.flags.set(Flags::BLOCKING);
        }
        draft.secret = self.acts.hides_arguments(request.command);
        draft.veiled |= draft.begun == 2 && found.is_none();
        if !command.flags.container || draft.begun == 2 {
            draft.word_length = 0;
        }
    }

    #[inline]
    fn argument(&mut self, index: u32, length: u64) -> usize {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        let Some(command) = self.table.get(request.command) else { return self.unknown_argument(index, length) };
        if !self.shown.keys && !command.flags.blocking_option {
            return 0;
        }
        match draft.finder.role(&command.keys, index, draft.declared) {
            Role::Key(role) => {
                request.keys += 1;
                self.entry(length, Some(role))
            }
            Role::Instead(role, from) => {
                let instead = no_key(self.shown, draft.secret);
                arguments::withdraw_keys(&mut draft.arguments, from as usize, instead);
                self.entry(length, Some(role))
            }
            Role::Decides => {
                draft.collect = Collect::Decider;
                draft.word_length = 0;
                WORD_BYTES_MAX
            }
            Role::Other => self.value(length),
        }
    }

    fn value(&mut self, length: u64) -> usize {
        if !self.shown.keys {
            return 0;
        }
        let request = &self.request;
        if request.late.secret || request.late.veiled || self.shown.payload_bytes == 0 || !request.command.is_known() {
            return self.hide();
        }
        self.entry(length, None)
    }

    /// Keeps the place of an argument, and nothing of it.
    fn hide(&mut self) -> usize {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        if draft.secret {
            append(&mut draft.arguments, &mut draft.full, self.shown, Argument::Redacted);
        } else {
            append(&mut draft.arguments, &mut draft.full, self.shown, Argument::Hidden);
        }
        0
    }

    /// Begins an entry of the list with an argument's bytes, as many as there is room for.
    #[inline]
    fn entry(&mut self, length: u64, key: Option<KeyRole>) -> usize {
        if self.request.late.veiled {
            return self.hide();
        }
        let request = &mut *self.request;
        let draft = &mut *request.late;
        let room = self.shown.arguments_bytes_max().saturating_sub(draft.arguments.len() + 2 * ENTRY_HEADER_BYTES);
        if !self.shown.keys || draft.full || room == 0 && length > 0 {
            append(&mut draft.arguments, &mut draft.full, self.shown, Argument::More);
            return 0;
        }
        draft.collect = Collect::Entry { at: draft.arguments.len(), key };
        arguments::append(&mut draft.arguments, Argument::Hidden);
        draft.room = room.min(usize::try_from(length).unwrap_or(usize::MAX));
        draft.room
    }

    #[inline]
    fn entry_end(&mut self, at: usize, key: Option<KeyRole>) {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        let text = draft.arguments.len() - at - ENTRY_HEADER_BYTES;
        let known = if draft.length == UNKNOWN_LENGTH { text as u64 } else { draft.length };
        let cut = draft.cut || (text as u64) < known;
        if key.is_some() && request.keys == 1 && !cut && text == 0 {
            draft.finder.first_key_is_empty();
        }
        arguments::close(&mut draft.arguments, at, key, cut);
        draft.veiled |= draft.secret && redact::ends_keys(&draft.arguments[at + ENTRY_HEADER_BYTES..], cut);
    }

    /// Begins to note an argument that changes the session. Passwords are none of them.
    fn note(&mut self) -> usize {
        let act = self.acts.of(self.request.command);
        let request = &mut *self.request;
        let draft = &mut *request.late;
        let index = draft.begun - 1;
        let last = arguments::iter(&draft.notes).last();
        let is_option = |word: &[u8]| matches!(last, Some(Argument::Word(last)) if last.eq_ignore_ascii_case(word));
        let what = match act {
            _ if draft.notes.len() + 2 * ENTRY_HEADER_BYTES > NOTES_BYTES_MAX => None,
            // Nothing of it is to be shown.
            Act::Auth | Act::Script | Act::SetName | Act::SetInfo if draft.veiled => None,
            // With two arguments the first is the user; with one it is the password.
            Act::Auth => (index == 1 && draft.declared == 3).then_some(Noted::User),
            Act::Script => (index == 1).then_some(Noted::Script),
            Act::Hello if draft.noting == Noting::Secret => None,
            // Where bytes are missing, an AUTH may be one of them, and what follows not what it seems.
            Act::Hello if request.flags.has(Flags::GAP) && index > 1 => None,
            Act::Hello if index > 1 && is_option(b"AUTH") => Some(Noted::User),
            Act::Hello if index > 1 && is_option(b"SETNAME") => Some(Noted::Name),
            _ => Some(Noted::Word),
        };
        draft.noting = match what {
            Some(what) => {
                let at = draft.notes.len();
                arguments::append(&mut draft.notes, Argument::Hidden);
                Noting::Entry { at, what }
            }
            None => Noting::Nothing,
        };
        if what.is_some() { NOTES_BYTES_MAX } else { 0 }
    }

    fn note_end(&mut self, at: usize, what: Noted) {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        // What a CLIENT REPLY or HELLO changes is in its first argument.
        draft.word_cut |= at == 0 && draft.cut && matches!(self.acts.of(request.command), Act::Reply | Act::Hello);
        match what {
            Noted::Word => arguments::close_word(&mut draft.notes, at),
            Noted::User => arguments::close(&mut draft.notes, at, Some(KeyRole::UNKNOWN), false),
            Noted::Name => arguments::close(&mut draft.notes, at, None, false),
            // Part of a name is none, and what has not the form of one may be anything.
            Noted::Script if draft.cut || !is_name(&draft.notes[at + ENTRY_HEADER_BYTES..]) => {
                draft.notes.truncate(at);
            }
            Noted::Script => arguments::close(&mut draft.notes, at, None, true),
        }
        draft.noting = if what == Noted::User && self.acts.of(request.command) == Act::Hello {
            Noting::Secret
        } else {
            Noting::Nothing
        };
    }

    /// A word that says where keys are is complete: a keyword, or their number.
    fn decider_end(&mut self) {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        let text = &draft.word[..usize::from(draft.word_length)];
        let Some(command) = self.table.get(request.command) else { return };
        let whole = draft.length <= text.len() as u64 || draft.length == UNKNOWN_LENGTH;
        if command.flags.blocking_option && whole && text.eq_ignore_ascii_case(b"BLOCK") {
            request.flags.set(Flags::BLOCKING);
        }
        // Where bytes are missing nothing is decided; a text that is too long for a word is none.
        let settle = if draft.cut && whole {
            Settle::Nothing
        } else {
            draft.finder.seen(&command.keys, draft.begun - 1, draft.declared, whole.then_some(text))
        };
        if self.shown.keys {
            let entry = match self.shown.payload_bytes > 0 && !draft.cut && !draft.veiled {
                _ if draft.secret => Argument::Redacted,
                true if whole => Argument::Value(text),
                true => Argument::ValueCut(text),
                false => Argument::Hidden,
            };
            append(&mut draft.arguments, &mut draft.full, self.shown, entry);
        }
        self.settle(settle);
    }

    /// Takes back what later arguments have shown to be wrong.
    fn settle(&mut self, settle: Settle) {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        let instead = no_key(self.shown, draft.secret);
        match settle {
            Settle::Nothing => {}
            Settle::FirstKey(role) => arguments::set_first_key_role(&mut draft.arguments, role),
            Settle::NoKeys => {
                request.keys = 0;
                arguments::withdraw_keys(&mut draft.arguments, 0, instead);
            }
            Settle::Beyond(last, keys) => {
                request.keys = request.keys.saturating_sub(keys);
                arguments::withdraw_keys(&mut draft.arguments, last as usize + 1, instead);
            }
        }
    }

    /// Of an inline command the number of arguments is known at its end only: now keys turn out to be none.
    fn settle_inline(&mut self) {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        if let Some(command) = self.table.get(request.command)
            && request.keys > 0
        {
            let settle = draft.finder.settle(&command.keys, request.args);
            self.settle(settle);
        }
    }

    /// An argument of a command that the table does not have: the first one is taken for its key, where it may be shown.
    fn unknown_argument(&mut self, index: u32, length: u64) -> usize {
        let request = &mut *self.request;
        let draft = &mut *request.late;
        let name = &draft.word[..usize::from(draft.word_length)];
        if index != 1 || !self.shown.keys || draft.word_cut || !guess::has_key(name, draft.declared) {
            return self.value(length);
        }
        request.keys = 1;
        request.flags.set(Flags::KEY_GUESSED);
        self.entry(length, Some(KeyRole::UNKNOWN))
    }
}

/// Whether it can be the name of a script or function, as servers name them: a SHA-1 in hex, or letters, digits and `_`.
fn is_name(text: &[u8]) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// What becomes of a key that is none.
fn no_key(shown: Shown, secret: bool) -> NoKey {
    match (secret, shown.payload_bytes > 0) {
        (true, _) => NoKey::Redacted,
        (false, true) => NoKey::Value,
        (false, false) => NoKey::Hidden,
    }
}

/// Appends a whole entry, or once the mark that more follow. Inlined, so that each kind's own is short.
#[inline(always)]
fn append(list: &mut Vec<u8>, full: &mut bool, shown: Shown, entry: Argument<'_>) {
    let room = shown.arguments_bytes_max().saturating_sub(list.len() + ENTRY_HEADER_BYTES);
    let length = match entry {
        Argument::Word(text) | Argument::Value(text) => text.len(),
        _ => 0,
    };
    if *full || !shown.keys {
        return;
    }
    if entry == Argument::More || room < length + ENTRY_HEADER_BYTES {
        *full = true;
        arguments::append(list, Argument::More);
    } else {
        arguments::append(list, entry);
    }
}
