//! A request: what is kept of it while it streams by and while it waits for its reply.
//!
//! [`RequestVisitor`] is told the request's words by the parser and keeps what records need: the command, how many words and
//! keys, and (where records are wanted) a short list of arguments as they may be shown. Requests live in a pool; a used one keeps
//! its buffers, so nothing allocates after warm-up.

pub mod usual;
mod visitor;

use std::ops::{Deref, DerefMut};

pub use visitor::RequestVisitor;

use crate::limits::{ARGUMENTS_BYTES_MAX, NOTES_BYTES_MAX, PENDING_PER_CONNECTION_MAX};
use crate::pool::NONE;
use crate::units::{Offset, Timestamp};

use super::arguments::{self, Argument, BRIEF_BYTES, Brief, ENTRY_HEADER_BYTES, LONGER_BYTES, List};
use super::command::{CommandId, CommandTable, WORD_BYTES_MAX};
use super::keys::KeyRole;
use super::keys::finder::KeyFinder;
use super::pairing::Flags;
use super::possible::Kinds;
use super::queue::Stretch;
use super::session::Act;

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

/// A request: two cache lines, which have all that a usual one has.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Request {
    /// The second one behind it in its connection's queue, or any other: which is to be asked for when this one is answered.
    pub(super) ahead: u32,
    /// The next one in its connection's queue.
    pub(super) next: u32,
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
    /// Replies that may answer it so that nothing but that is to be done about them, see [`usual::UsualCommands::answers`].
    pub answers: Kinds,
    /// The command.
    pub command: CommandId,
    /// More facts.
    pub flags: Flags,
    standing: Standing,
    form: Form,
    /// Words, the command's counted, and keys among them. Of a brief one its list tells.
    args: u32,
    keys: u32,
    /// Earlier requests that were outstanding at t2.
    pub pipeline: u32,
    brief: Brief<BRIEF_BYTES>,
    late: Late,
}

/// How much there is to be thought of when a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Nothing: it is of the usual form and short, came at once, at a time that is known, and has no flags.
    Simple,
    Other,
    /// It was reported as timed out.
    TimedOut,
}

/// How a request was read, and what of it is where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// While it streamed by: the draft is its own.
    Streamed,
    /// At once ([`usual`]): of the draft only the arguments are its own, the rest is another one's, or an older one's.
    Usual,
    /// Likewise, and its arguments are here, not in the draft.
    Brief,
    /// Likewise, and its arguments are where there is room for longer ones.
    Longer,
}

/// What is made when it is first needed, and stays: of thousands of requests that wait at the same time most are brief, and need
/// nothing of it.
#[derive(Debug, Default)]
struct Late(Option<Box<Room>>);

/// Room for what is not brief.
#[derive(Debug)]
struct Room {
    /// Arguments of the usual form that are not quite as brief.
    longer: Brief<LONGER_BYTES>,
    /// Of requests that stream by.
    draft: Option<Box<Draft>>,
}

impl Late {
    fn room_mut(&mut self) -> &mut Room {
        self.0.get_or_insert_with(|| Box::new(Room { longer: Brief::EMPTY, draft: None }))
    }

    fn longer(&self) -> &Brief<LONGER_BYTES> {
        debug_assert!(self.0.is_some(), "one of this form has been filled");
        self.0.as_ref().map_or(&Brief::EMPTY, |room| &room.longer)
    }
}

impl Deref for Late {
    type Target = Draft;

    #[inline]
    fn deref(&self) -> &Draft {
        self.0.as_ref().and_then(|room| room.draft.as_deref()).unwrap_or(&NO_DRAFT)
    }
}

impl DerefMut for Late {
    #[inline]
    fn deref_mut(&mut self) -> &mut Draft {
        self.room_mut().draft.get_or_insert_with(|| Box::new(Draft::NEW))
    }
}

/// What those are told who ask for a draft that was not made.
static NO_DRAFT: Draft = Draft::NEW;

/// What has come of the replies of a subscription command, of which each confirms a channel.
#[derive(Debug)]
pub struct Confirmed {
    /// First byte of the first one.
    pub t3: Timestamp,
    /// Bytes of those before the last one.
    pub bytes: u64,
    /// Confirmations that are still to come.
    pub left: u32,
}

/// What is needed while a request streams by, and what only few have.
#[derive(Debug)]
struct Draft {
    /// It is no request: here requests may be hidden.
    stretch: Option<Stretch>,
    confirmed: Option<Confirmed>,
    /// The arguments as they may be shown, see [`arguments`].
    arguments: Vec<u8>,
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
    /// What may be requests in it, itself as well, if they are counted.
    all_begun: u64,
    /// The argument misses bytes.
    cut: bool,
    /// The list is full.
    full: bool,
    secret: bool,
    /// An inline command is believed: what was taken for a boundary after a gap may lie within a value, whose lines look
    /// like inline commands.
    inline_is_believed: bool,
    /// What it is is not known for certain: nothing of it is shown.
    veiled: bool,
    /// Its command is one that only nodes send one another.
    is_of_nodes: bool,
    /// Bytes of the command's words are missing.
    word_cut: bool,
    word_length: u8,
    word: [u8; 2 * WORD_BYTES_MAX + 1],
}

impl Draft {
    const NEW: Draft = Draft {
        stretch: None,
        confirmed: None,
        arguments: Vec::new(),
        notes: Vec::new(),
        noting: Noting::Nothing,
        room: 0,
        finder: KeyFinder::NEW,
        begun: 0,
        declared: 0,
        collect: Collect::Nothing,
        length: 0,
        all_begun: 0,
        cut: false,
        full: false,
        secret: false,
        inline_is_believed: true,
        veiled: false,
        is_of_nodes: false,
        word_cut: false,
        word_length: 0,
        word: [0; 2 * WORD_BYTES_MAX + 1],
    };

    /// Empties a used one, which keeps its buffers.
    fn reset(&mut self) {
        self.stretch = None;
        self.confirmed = None;
        self.arguments.clear();
        self.notes.clear();
        self.noting = Noting::Nothing;
        self.finder = KeyFinder::NEW;
        self.begun = 0;
        self.declared = 0;
        self.collect = Collect::Nothing;
        self.all_begun = 0;
        self.cut = false;
        self.full = false;
        self.secret = false;
        self.inline_is_believed = true;
        self.veiled = false;
        self.is_of_nodes = false;
        self.word_cut = false;
        self.word_length = 0;
    }

    /// Makes room in an empty one for whatever it is to hold, so that it never has to grow.
    fn make_room(&mut self, shown: &Shown) {
        self.arguments.reserve_exact(shown.arguments_bytes_max());
        self.notes.reserve_exact(NOTES_BYTES_MAX);
    }
}

impl Request {
    /// A request that is still empty.
    pub fn new() -> Request {
        Request {
            next: NONE,
            pipeline: 0,
            index: 0,
            t1: Timestamp::NONE,
            t2: Timestamp::NONE,
            begin: Offset(0),
            end: Offset(0),
            received: Offset(0),
            command: CommandId::UNKNOWN,
            answers: Kinds::NONE,
            flags: Flags::default(),
            args: 0,
            keys: 0,
            ahead: NONE,
            standing: Standing::Other,
            form: Form::Streamed,
            brief: Brief::EMPTY,
            late: Late::default(),
        }
    }

    /// Empties a used one, which keeps its buffers, and makes room for the arguments to be shown.
    pub fn reset(&mut self, shown: &Shown) {
        self.next = NONE;
        self.pipeline = 0;
        self.t2 = Timestamp::NONE;
        self.command = CommandId::UNKNOWN;
        self.answers = Kinds::NONE;
        self.flags = Flags::default();
        self.args = 0;
        self.keys = 0;
        self.standing = Standing::Other;
        self.form = Form::Streamed;
        let draft = &mut *self.late;
        draft.reset();
        draft.make_room(shown);
    }

    /// Bytes that one may need, with all that it points to; but for what its draft is itself, as of thousands that wait few have one.
    pub fn bytes_max(shown: &Shown) -> usize {
        size_of::<Request>() + size_of::<Room>() + NOTES_BYTES_MAX + shown.arguments_bytes_max()
    }

    /// The next one in its connection's queue, or [`NONE`].
    #[inline(always)]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// The second one behind it there, or any other.
    #[inline(always)]
    pub fn ahead(&self) -> u32 {
        self.ahead
    }

    /// Words, the command's counted.
    #[inline]
    pub fn args(&self) -> u32 {
        if self.form == Form::Brief { self.brief.args() } else { self.args }
    }

    /// Keys among them.
    #[inline]
    pub fn keys(&self) -> u32 {
        if self.form == Form::Brief { 1 } else { self.keys }
    }

    /// The arguments as they may be shown, see [`arguments`].
    pub fn arguments(&self) -> List<'_> {
        match self.form {
            Form::Brief => self.brief.made(),
            Form::Longer => self.late.longer().made(),
            Form::Usual | Form::Streamed => List::Kept(&self.late.arguments),
        }
    }

    /// The same, of one of the usual form that is short; it has no notes.
    #[inline(always)]
    pub fn brief(&self) -> Option<&Brief<BRIEF_BYTES>> {
        (self.form == Form::Brief).then_some(&self.brief)
    }

    /// Whether it is as most are: of the usual form and short, it came at once, at a time that is known, has no flags, and has not timed
    /// out.
    #[inline(always)]
    pub fn is_simple(&self) -> bool {
        let is_simple = self.standing == Standing::Simple;
        debug_assert!(!is_simple || self.form == Form::Brief && self.flags == Flags::default());
        debug_assert!(!is_simple || self.t1 == self.t2 && self.t2.is_known());
        is_simple
    }

    /// What is known of the arguments of one that [is simple](Request::is_simple).
    #[inline(always)]
    pub fn simple(&self) -> &Brief<BRIEF_BYTES> {
        debug_assert!(self.is_simple());
        &self.brief
    }

    /// RESP bytes of one that [is simple](Request::is_simple), all of which was seen.
    #[inline(always)]
    pub fn simple_bytes(&self) -> u64 {
        debug_assert!(self.is_simple() && self.begin <= self.end);
        self.end.0.wrapping_sub(self.begin.0)
    }

    /// Whether it was reported as timed out.
    #[inline(always)]
    pub fn has_timed_out(&self) -> bool {
        self.standing == Standing::TimedOut
    }

    /// It is reported as timed out.
    pub fn time_out(&mut self) {
        self.standing = Standing::TimedOut;
    }

    /// So many more of what may be requests were seen in it, itself as well; of one that streams by.
    pub fn note_begun(&mut self, begun: u64) {
        self.late.all_begun += begun;
    }

    /// Whether what may be requests is in its arguments, where that was noted.
    pub fn holds_begun(&self) -> bool {
        self.form == Form::Streamed && self.late.all_begun > 1
    }

    /// It has these flags as well.
    pub fn add(&mut self, flags: Flags) {
        self.flags.set(flags);
        if self.standing == Standing::Simple && flags != Flags::default() {
            self.standing = Standing::Other;
        }
    }

    /// The name of the only key, and what it does with it, of one of the usual form that is not quite as short.
    #[inline(never)]
    pub fn longer_key(&self) -> Option<(&[u8], KeyRole)> {
        (self.form == Form::Longer).then(|| self.late.longer().key())
    }

    /// The same, of one of the usual form that is not quite as short.
    #[inline(always)]
    pub fn not_so_brief(&self) -> Option<&Brief<LONGER_BYTES>> {
        (self.form == Form::Longer).then(|| self.late.longer())
    }

    #[inline(always)]
    fn is_usual(&self) -> bool {
        self.form != Form::Streamed
    }

    /// It is no request: here requests may be hidden.
    #[inline]
    pub fn stretch(&self) -> Option<Stretch> {
        if self.is_usual() { None } else { self.late.stretch }
    }

    /// The same, to change.
    #[inline]
    pub fn stretch_mut(&mut self) -> Option<&mut Stretch> {
        if self.is_usual() { None } else { self.late.stretch.as_mut() }
    }

    /// Makes an empty one a mark, see [`super::queue::Queue::mark`].
    pub fn make_mark(&mut self, stretch: Stretch) {
        debug_assert!(!self.is_usual() && self.args() == 0);
        self.late.stretch = Some(stretch);
    }

    /// What has come of several replies, if that has begun.
    pub fn confirmed(&self) -> Option<&Confirmed> {
        if self.is_usual() { None } else { self.late.confirmed.as_ref() }
    }

    /// The same, to change; of a subscription command, which is none of the usual form.
    pub fn confirmed_mut(&mut self) -> &mut Option<Confirmed> {
        debug_assert!(!self.is_usual());
        &mut self.late.confirmed
    }

    /// Whether an inline command is believed: what was taken for a boundary after a gap may lie within a value, whose lines look
    /// like inline commands.
    pub fn believe_inline(&mut self, is_believed: bool) {
        self.late.inline_is_believed = is_believed;
    }

    /// Whether its command is one that only nodes send one another.
    pub fn is_of_nodes(&self) -> bool {
        !self.is_usual() && self.late.is_of_nodes
    }

    /// No more of it will be seen: nothing is kept of the argument that was streaming in.
    pub fn break_off(&mut self) {
        if self.is_usual() {
            return;
        }
        if let Noting::Entry { at, .. } = std::mem::replace(&mut self.late.noting, Noting::Nothing) {
            self.late.notes.truncate(at);
        }
        if let Collect::Entry { at, .. } = self.late.collect {
            // Its entry began as one that is hidden.
            self.late.arguments.truncate(at + ENTRY_HEADER_BYTES);
            self.late.collect = Collect::Nothing;
        }
    }

    #[inline]
    fn notes(&self) -> &[u8] {
        if self.is_usual() { &[] } else { &self.late.notes }
    }

    /// The n-th noted argument (from 0) of a command whose arguments change its session. Never a secret.
    pub fn note(&self, n: usize) -> Option<&[u8]> {
        let words = arguments::iter(self.notes()).filter_map(|note| match note {
            Argument::Word(word) => Some(word),
            _ => None,
        });
        words.into_iter().nth(n)
    }

    /// The user that a HELLO or AUTH names.
    pub fn noted_user(&self) -> Option<&[u8]> {
        arguments::iter(self.notes()).find_map(|note| match note {
            Argument::Key(user) => Some(user),
            _ => None,
        })
    }

    /// The name that a HELLO gives to its client.
    pub fn noted_name(&self) -> Option<&[u8]> {
        arguments::iter(self.notes()).find_map(|note| match note {
            Argument::Value(name) => Some(name),
            _ => None,
        })
    }

    /// The script (by its SHA-1) or function that it runs, where it names one.
    #[inline]
    pub fn noted_script(&self) -> Option<&[u8]> {
        if self.notes().is_empty() {
            return None;
        }
        arguments::iter(self.notes()).find_map(|note| match note {
            Argument::ValueCut(script) => Some(script),
            _ => None,
        })
    }

    /// Whether it is no request but a mark, see [`super::queue::Queue::mark`].
    #[inline]
    pub fn is_mark(&self) -> bool {
        self.stretch().is_some()
    }

    /// Whether so much of it was seen that it is known what it changes: all words of the command, and where those matter its
    /// arguments.
    #[inline]
    pub fn is_known(&self, table: &CommandTable, act: Act) -> bool {
        let is_complete = self.args() > 0;
        self.is_named(table) && (is_complete || act.is_countable() && act != Act::Hello)
    }

    #[inline]
    fn is_named(&self, table: &CommandTable) -> bool {
        if self.is_usual() {
            return true;
        }
        let words = match table.get(self.command) {
            Some(command) if command.flags.container => self.late.declared.min(2),
            _ => 1,
        };
        !self.late.word_cut && self.late.begun >= words && self.late.collect != Collect::Word
    }

    /// Whether its command is one that carries secrets, so that nothing of its arguments is told.
    #[inline]
    pub fn is_secret(&self) -> bool {
        !self.is_usual() && self.late.secret
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
const _: () = assert!(std::mem::offset_of!(Request, args) == 64, "a queue is read by its requests' first cache line");
const _: () = assert!(size_of::<Request>() == 128, "thousands wait, and are in no near cache when they are answered");

#[cfg(test)]
mod tests;
