//! A request: what is kept of it while it streams by and while it waits for its reply.
//!
//! [`RequestVisitor`] is told the request's words by the parser and keeps what records need: the command, how many words and
//! keys, and (where records are wanted) a short list of arguments as they may be shown. Secrets are cut here, before a byte
//! is copied. Requests live in a pool; a used one keeps its buffer, so nothing allocates after warm-up.

pub mod usual;

use crate::limits::{ARGUMENTS_BYTES_MAX, NOTES_BYTES_MAX, PENDING_PER_CONNECTION_MAX};
use crate::pool::NONE;
use crate::resp::parser::{Kind, UNKNOWN_LENGTH, Visitor};
use crate::units::{Offset, Timestamp};

use super::arguments::{self, Argument, ENTRY_HEADER_BYTES, Key, NoKey};
use super::command::{CommandId, CommandTable, WORD_BYTES_MAX};
use super::foreign;
use super::guess;
use super::keys::finder::{KeyFinder, Role, Settle};
use super::keys::{KeyRole, slot};
use super::pairing::Flags;
use super::queue::Stretch;
use super::redact;
use super::session::{Act, Acts};

/// What of requests is kept to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Keys, and the words of the command.
    pub keys: bool,
    /// The other arguments, up to this many bytes in all.
    pub payload_bytes: usize,
}

impl Shown {
    /// Most bytes of an argument list.
    pub fn arguments_bytes_max(&self) -> usize {
        if self.keys { ARGUMENTS_BYTES_MAX.max(self.payload_bytes) } else { 0 }
    }
}

/// What is to be done with the argument that is streaming by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Collect {
    Nothing,
    /// A word of the command.
    Word,
    /// Text that says where keys are.
    Decider,
    /// A key or value for the list: its entry begins here.
    Entry {
        at: usize,
        key: Option<KeyRole>,
    },
}

/// What the argument that streams by is to the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Noting {
    Nothing,
    /// It is noted: its entry begins here.
    Entry {
        at: usize,
        what: Noted,
    },
    /// It is a secret, and behind it the next one is an option again.
    Secret,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Noted {
    Word,
    User,
    Name,
    Script,
}

/// A request.
#[derive(Debug)]
pub struct Request {
    /// The next one in its connection's queue.
    pub(super) next: u32,
    /// It is no request: here requests may be hidden.
    pub stretch: Option<Stretch>,
    /// It was reported as timed out.
    pub timed_out: bool,
    /// Which of its connection's requests it is, from 0.
    pub index: u64,
    /// First byte.
    pub t1: Timestamp,
    /// Last byte; not known if that fell into a gap.
    pub t2: Timestamp,
    /// Position of its first byte.
    pub begin: Offset,
    /// Position behind its last.
    pub end: Offset,
    /// How far its client had received replies when it sent the first byte.
    pub received: Offset,
    /// The command.
    pub command: CommandId,
    /// Words, the command's counted.
    pub args: u32,
    /// Keys among them.
    pub keys: u32,
    /// More facts.
    pub flags: Flags,
    /// Earlier requests that were outstanding at t2.
    pub pipeline: u32,
    /// Confirmations that are still to come, of a subscription command that has begun to be answered.
    pub confirmations_left: u32,
    /// First byte of its first reply, if there are several.
    pub t3: Timestamp,
    /// Bytes of the replies before its last one, if there are several.
    pub replied_bytes: u64,
    /// The arguments as they may be shown, see [`arguments`].
    pub arguments: Vec<u8>,
    /// Arguments that change the session, see [`Request::note`].
    notes: Vec<u8>,
    noting: Noting,
    /// Bytes that the entry of the argument list that streams in has room for.
    room: usize,
    finder: KeyFinder,
    /// Arguments that have begun.
    begun: u32,
    /// Arguments declared; `u32::MAX` for an inline command.
    declared: u32,
    collect: Collect,
    /// Bytes of the argument that streams by, on the wire.
    length: u64,
    /// The argument misses bytes.
    cut: bool,
    /// The list is full.
    full: bool,
    secret: bool,
    /// An inline command is believed: what was taken for a boundary after a gap may lie within a value, whose lines look
    /// like inline commands.
    pub inline_is_believed: bool,
    /// What it is is not known for certain: nothing of it is shown.
    veiled: bool,
    /// Its command is one that only nodes send one another.
    pub is_of_nodes: bool,
    /// Bytes of the command's words are missing.
    word_cut: bool,
    /// Of a request of the usual form where the entry of its only key begins in the list of arguments; else 0.
    usual_key_at: u8,
    word_length: u8,
    word: [u8; 2 * WORD_BYTES_MAX + 1],
}

impl Request {
    /// A request that is still empty.
    pub fn new() -> Request {
        Request {
            next: NONE,
            stretch: None,
            timed_out: false,
            index: 0,
            t1: Timestamp::NONE,
            t2: Timestamp::NONE,
            begin: Offset(0),
            end: Offset(0),
            received: Offset(0),
            command: CommandId::UNKNOWN,
            args: 0,
            keys: 0,
            flags: Flags::default(),
            pipeline: 0,
            confirmations_left: 0,
            t3: Timestamp::NONE,
            replied_bytes: 0,
            arguments: Vec::new(),
            notes: Vec::new(),
            noting: Noting::Nothing,
            room: 0,
            finder: KeyFinder::default(),
            begun: 0,
            declared: 0,
            collect: Collect::Nothing,
            length: 0,
            cut: false,
            full: false,
            secret: false,
            inline_is_believed: true,
            veiled: false,
            is_of_nodes: false,
            word_cut: false,
            usual_key_at: 0,
            word_length: 0,
            word: [0; 2 * WORD_BYTES_MAX + 1],
        }
    }

    /// Empties a used one, which keeps its buffer, and makes room for the arguments to be shown.
    pub fn reset(&mut self, shown: &Shown) {
        self.next = NONE;
        self.stretch = None;
        self.timed_out = false;
        self.t2 = Timestamp::NONE;
        self.command = CommandId::UNKNOWN;
        self.args = 0;
        self.keys = 0;
        self.flags = Flags::default();
        self.pipeline = 0;
        self.confirmations_left = 0;
        self.replied_bytes = 0;
        self.arguments.clear();
        self.notes.clear();
        self.usual_key_at = 0;
        self.noting = Noting::Nothing;
        if self.arguments.capacity() == 0 {
            self.arguments.reserve_exact(shown.arguments_bytes_max());
        }
        if self.notes.capacity() == 0 {
            self.notes.reserve_exact(NOTES_BYTES_MAX);
        }
        self.finder = KeyFinder::default();
        self.begun = 0;
        self.declared = 0;
        self.collect = Collect::Nothing;
        self.cut = false;
        self.full = false;
        self.secret = false;
        self.inline_is_believed = true;
        self.veiled = false;
        self.is_of_nodes = false;
        self.word_cut = false;
        self.word_length = 0;
    }

    /// No more of it will be seen: nothing is kept of the argument that was streaming in.
    pub fn break_off(&mut self) {
        if let Noting::Entry { at, .. } = std::mem::replace(&mut self.noting, Noting::Nothing) {
            self.notes.truncate(at);
        }
        if let Collect::Entry { at, .. } = self.collect {
            // Its entry began as one that is hidden.
            self.arguments.truncate(at + ENTRY_HEADER_BYTES);
            self.collect = Collect::Nothing;
        }
    }

    /// The n-th noted argument (from 0) of a command whose arguments change its session. Never a secret.
    pub fn note(&self, n: usize) -> Option<&[u8]> {
        let words = arguments::iter(&self.notes).filter_map(|note| match note {
            Argument::Word(word) => Some(word),
            _ => None,
        });
        words.into_iter().nth(n)
    }

    /// The user that a HELLO or AUTH names.
    pub fn noted_user(&self) -> Option<&[u8]> {
        arguments::iter(&self.notes).find_map(|note| match note {
            Argument::Key(user) => Some(user),
            _ => None,
        })
    }

    /// The name that a HELLO gives to its client.
    pub fn noted_name(&self) -> Option<&[u8]> {
        arguments::iter(&self.notes).find_map(|note| match note {
            Argument::Value(name) => Some(name),
            _ => None,
        })
    }

    /// The script (by its SHA-1) or function that it runs, where it names one.
    #[inline]
    pub fn noted_script(&self) -> Option<&[u8]> {
        if self.notes.is_empty() {
            return None;
        }
        arguments::iter(&self.notes).find_map(|note| match note {
            Argument::ValueCut(script) => Some(script),
            _ => None,
        })
    }

    /// Whether it is no request but a mark, see [`super::queue::Queue::mark`].
    #[inline]
    pub fn is_mark(&self) -> bool {
        self.stretch.is_some()
    }

    /// Whether so much of it was seen that it is known what it changes: all words of the command, and where those matter its
    /// arguments.
    #[inline]
    pub fn is_known(&self, table: &CommandTable, act: Act) -> bool {
        let is_complete = self.args > 0;
        self.is_named(table) && (is_complete || act.is_countable() && act != Act::Hello)
    }

    #[inline]
    fn is_named(&self, table: &CommandTable) -> bool {
        let words = match table.get(self.command) {
            Some(command) if command.flags.container => self.declared.min(2),
            _ => 1,
        };
        !self.word_cut && self.begun >= words && self.collect != Collect::Word
    }

    /// Cluster slot of the first key, where its bytes are kept.
    pub fn slot(&self) -> Option<u16> {
        arguments::keys(&self.arguments).next().filter(|key| !key.is_cut).map(|key| slot(key.name))
    }

    /// Whether its command is one that carries secrets, so that nothing of its arguments is told.
    #[inline]
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// The key of a request of the usual form: it is its only one, whole, and may be told. `None` of all others.
    #[inline(always)]
    pub fn usual_key(&self) -> Option<Key<'_>> {
        match self.usual_key_at {
            0 => None,
            at => arguments::whole_key_at(&self.arguments, usize::from(at)),
        }
    }

    /// RESP bytes.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.end.distance_from(self.begin)
    }
}

impl Default for Request {
    fn default() -> Self {
        Request::new()
    }
}

const _: () = assert!(PENDING_PER_CONNECTION_MAX < NONE);

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
                self.request.veiled = !self.request.inline_is_believed;
            }
            self.request.declared = u32::try_from(length).unwrap_or(u32::MAX);
            return 0;
        }
        let index = self.request.begun;
        self.request.begun += 1;
        self.request.length = length;
        self.request.cut = false;
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
        if let Noting::Entry { .. } = request.noting {
            let room = NOTES_BYTES_MAX.saturating_sub(request.notes.len());
            request.notes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        match request.collect {
            Collect::Nothing => {}
            Collect::Word | Collect::Decider => {
                let from = usize::from(request.word_length);
                let length = chunk.len().min(request.word.len() - from);
                request.word[from..from + length].copy_from_slice(&chunk[..length]);
                request.word_length += length as u8;
                request.cut |= length < chunk.len();
            }
            Collect::Entry { .. } => {
                let length = chunk.len().min(request.room);
                request.arguments.extend_from_slice(&chunk[..length]);
                request.room -= length;
            }
        }
    }

    fn missing(&mut self) {
        self.request.cut = true;
    }

    #[inline]
    fn end(&mut self, depth: usize) {
        if depth == 0 {
            self.request.args = self.request.begun;
            if self.request.declared == u32::MAX {
                self.settle_inline();
            }
            return;
        }
        if let Noting::Entry { at, what } = self.request.noting {
            self.note_end(at, what);
        }
        match std::mem::replace(&mut self.request.collect, Collect::Nothing) {
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
        request.collect = Collect::Word;
        if request.begun == 2 {
            // Behind the container's name and a space.
            request.word[usize::from(request.word_length)] = b' ';
            request.word_length += 1;
        }
        WORD_BYTES_MAX + 1
    }

    /// The command's first or second word is complete.
    #[inline]
    fn word_end(&mut self) {
        let request = &mut *self.request;
        request.word_cut |= request.cut;
        let words = &request.word[..usize::from(request.word_length)];
        let word = if request.begun == 2 { &words[self.table.name(request.command).len() + 1..] } else { words };
        let found = if request.cut || word.len() > WORD_BYTES_MAX { None } else { self.table.find(words) };
        request.is_of_nodes = found.is_none() && !request.cut && foreign::is_replication(words);
        // An unknown subcommand leaves the request with its container's name.
        if let Some(found) = found {
            request.command = found;
        }
        if self.shown.keys {
            // A second word that is no subcommand is an argument, and may be anything.
            let is_name = !request.cut && word.len() <= WORD_BYTES_MAX && (request.begun == 1 || found.is_some());
            let (list, full) = (&mut request.arguments, &mut request.full);
            if is_name && !request.veiled {
                append(list, full, self.shown, Argument::Word(word));
            } else if request.secret {
                append(list, full, self.shown, Argument::Redacted);
            } else {
                append(list, full, self.shown, Argument::Hidden);
            }
        }
        let Some(command) = self.table.get(request.command) else { return };
        if command.flags.blocking && !command.flags.blocking_option {
            request.flags.set(Flags::BLOCKING);
        }
        request.secret = self.acts.hides_arguments(request.command);
        request.veiled |= request.begun == 2 && found.is_none();
        if !command.flags.container || request.begun == 2 {
            request.word_length = 0;
        }
    }

    #[inline]
    fn argument(&mut self, index: u32, length: u64) -> usize {
        let request = &mut *self.request;
        let Some(command) = self.table.get(request.command) else { return self.unknown_argument(index, length) };
        if !self.shown.keys && !command.flags.blocking_option {
            return 0;
        }
        match request.finder.role(&command.keys, index, request.declared) {
            Role::Key(role) => {
                request.keys += 1;
                self.entry(length, Some(role))
            }
            Role::Instead(role, from) => {
                let instead = no_key(self.shown, request.secret);
                arguments::withdraw_keys(&mut request.arguments, from as usize, instead);
                self.entry(length, Some(role))
            }
            Role::Decides => {
                request.collect = Collect::Decider;
                request.word_length = 0;
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
        if request.secret || request.veiled || self.shown.payload_bytes == 0 || !request.command.is_known() {
            return self.hide();
        }
        self.entry(length, None)
    }

    /// Keeps the place of an argument, and nothing of it.
    fn hide(&mut self) -> usize {
        let request = &mut *self.request;
        if request.secret {
            append(&mut request.arguments, &mut request.full, self.shown, Argument::Redacted);
        } else {
            append(&mut request.arguments, &mut request.full, self.shown, Argument::Hidden);
        }
        0
    }

    /// Begins an entry of the list with an argument's bytes, as many as there is room for.
    #[inline]
    fn entry(&mut self, length: u64, key: Option<KeyRole>) -> usize {
        if self.request.veiled {
            return self.hide();
        }
        let request = &mut *self.request;
        let room = self.shown.arguments_bytes_max().saturating_sub(request.arguments.len() + 2 * ENTRY_HEADER_BYTES);
        if !self.shown.keys || request.full || room == 0 && length > 0 {
            append(&mut request.arguments, &mut request.full, self.shown, Argument::More);
            return 0;
        }
        request.collect = Collect::Entry { at: request.arguments.len(), key };
        arguments::append(&mut request.arguments, Argument::Hidden);
        request.room = room.min(usize::try_from(length).unwrap_or(usize::MAX));
        request.room
    }

    #[inline]
    fn entry_end(&mut self, at: usize, key: Option<KeyRole>) {
        let request = &mut *self.request;
        let text = request.arguments.len() - at - ENTRY_HEADER_BYTES;
        let known = if request.length == UNKNOWN_LENGTH { text as u64 } else { request.length };
        let cut = request.cut || (text as u64) < known;
        if key.is_some() && request.keys == 1 && !cut && text == 0 {
            request.finder.first_key_is_empty();
        }
        arguments::close(&mut request.arguments, at, key, cut);
        request.veiled |= request.secret && redact::ends_keys(&request.arguments[at + ENTRY_HEADER_BYTES..], cut);
    }

    /// Begins to note an argument that changes the session. Passwords are none of them.
    fn note(&mut self) -> usize {
        let act = self.acts.of(self.request.command);
        let request = &mut *self.request;
        let index = request.begun - 1;
        let last = arguments::iter(&request.notes).last();
        let is_option = |word: &[u8]| matches!(last, Some(Argument::Word(last)) if last.eq_ignore_ascii_case(word));
        let what = match act {
            _ if request.notes.len() + 2 * ENTRY_HEADER_BYTES > NOTES_BYTES_MAX => None,
            // Nothing of it is to be shown.
            Act::Auth | Act::Script | Act::SetName | Act::SetInfo if request.veiled => None,
            // With two arguments the first is the user; with one it is the password.
            Act::Auth => (index == 1 && request.declared == 3).then_some(Noted::User),
            Act::Script => (index == 1).then_some(Noted::Script),
            Act::Hello if request.noting == Noting::Secret => None,
            // Where bytes are missing, an AUTH may be one of them, and what follows not what it seems.
            Act::Hello if request.flags.has(Flags::GAP) && index > 1 => None,
            Act::Hello if index > 1 && is_option(b"AUTH") => Some(Noted::User),
            Act::Hello if index > 1 && is_option(b"SETNAME") => Some(Noted::Name),
            _ => Some(Noted::Word),
        };
        request.noting = match what {
            Some(what) => {
                let at = request.notes.len();
                arguments::append(&mut request.notes, Argument::Hidden);
                Noting::Entry { at, what }
            }
            None => Noting::Nothing,
        };
        if what.is_some() { NOTES_BYTES_MAX } else { 0 }
    }

    fn note_end(&mut self, at: usize, what: Noted) {
        let request = &mut *self.request;
        // What a CLIENT REPLY or HELLO changes is in its first argument.
        request.word_cut |= at == 0 && request.cut && matches!(self.acts.of(request.command), Act::Reply | Act::Hello);
        match what {
            Noted::Word => arguments::close_word(&mut request.notes, at),
            Noted::User => arguments::close(&mut request.notes, at, Some(KeyRole::UNKNOWN), false),
            Noted::Name => arguments::close(&mut request.notes, at, None, false),
            // Part of a name is none, and what has not the form of one may be anything.
            Noted::Script if request.cut || !is_name(&request.notes[at + ENTRY_HEADER_BYTES..]) => {
                request.notes.truncate(at);
            }
            Noted::Script => arguments::close(&mut request.notes, at, None, true),
        }
        request.noting = if what == Noted::User && self.acts.of(request.command) == Act::Hello {
            Noting::Secret
        } else {
            Noting::Nothing
        };
    }

    /// A word that says where keys are is complete: a keyword, or their number.
    fn decider_end(&mut self) {
        let request = &mut *self.request;
        let text = &request.word[..usize::from(request.word_length)];
        let Some(command) = self.table.get(request.command) else { return };
        let whole = request.length <= text.len() as u64 || request.length == UNKNOWN_LENGTH;
        if command.flags.blocking_option && whole && text.eq_ignore_ascii_case(b"BLOCK") {
            request.flags.set(Flags::BLOCKING);
        }
        // Where bytes are missing nothing is decided; a text that is too long for a word is none.
        let settle = if request.cut && whole {
            Settle::Nothing
        } else {
            request.finder.seen(&command.keys, request.begun - 1, request.declared, whole.then_some(text))
        };
        if self.shown.keys {
            let entry = match self.shown.payload_bytes > 0 && !request.cut && !request.veiled {
                _ if request.secret => Argument::Redacted,
                true if whole => Argument::Value(text),
                true => Argument::ValueCut(text),
                false => Argument::Hidden,
            };
            append(&mut request.arguments, &mut request.full, self.shown, entry);
        }
        self.settle(settle);
    }

    /// Takes back what later arguments have shown to be wrong.
    fn settle(&mut self, settle: Settle) {
        let request = &mut *self.request;
        let instead = no_key(self.shown, request.secret);
        match settle {
            Settle::Nothing => {}
            Settle::FirstKey(role) => arguments::set_first_key_role(&mut request.arguments, role),
            Settle::NoKeys => {
                request.keys = 0;
                arguments::withdraw_keys(&mut request.arguments, 0, instead);
            }
            Settle::Beyond(last, keys) => {
                request.keys = request.keys.saturating_sub(keys);
                arguments::withdraw_keys(&mut request.arguments, last as usize + 1, instead);
            }
        }
    }

    /// Of an inline command the number of arguments is known at its end only: now keys turn out to be none.
    fn settle_inline(&mut self) {
        let request = &mut *self.request;
        if let Some(command) = self.table.get(request.command)
            && request.keys > 0
        {
            let settle = request.finder.settle(&command.keys, request.args);
            self.settle(settle);
        }
    }

    /// An argument of a command that the table does not have: the first one is taken for its key, where it may be shown.
    fn unknown_argument(&mut self, index: u32, length: u64) -> usize {
        let request = &mut *self.request;
        let name = &request.word[..usize::from(request.word_length)];
        if index != 1 || !self.shown.keys || request.word_cut || !guess::has_key(name, request.declared) {
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

#[cfg(test)]
mod tests;
