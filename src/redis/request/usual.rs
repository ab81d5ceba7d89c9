//! Requests of the usual form, read at once: a command of one key and few words, all of it in one segment.
//!
//! What such a request begins with, up to the length of its key, is the same for each of its command but for the number of words:
//! it is known beforehand, and compared. What [`UsualRequest::fill`] makes of a request is what the parser and
//! [`super::RequestVisitor`] would have made of it; a test compares them. Of whatever is not of this form [`UsualCommands::read`]
//! says so, and nothing has happened. Never panics, never allocates.

use crate::limits::ARGUMENTS_BYTES_MAX;
use crate::resp::parser::{BulkAt, behind_bulks, bulk_at};

use super::super::arguments::{self, BRIEF_HEAD_BYTES, BriefHead, ENTRY_HEADER_BYTES, HIDDEN_MAX, LONGER_KEY_BYTES};
use super::super::command::{CommandId, CommandTable};
use super::super::pairing::Flags;
use super::super::possible::{Kinds, Possible};
use super::super::session::{Act, Acts};
use super::{Form, Request, Shown, Standing};

/// Lengths of the name of a usual command: as many of its bytes as decide its place are followed by what is always the same.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=8;
/// Most words of a usual request.
const WORDS_MAX: usize = 9;
const _: () = assert!(WORDS_MAX - 2 <= HIDDEN_MAX, "a brief list has room for all but the command and its key");
/// Numbers of commands, as many of their bits as tell them apart.
const COMMANDS: usize = 1024;
/// Places of the table: few enough for the caches, so many that nearly each beginning finds its own.
const PLACES: usize = 2048;
/// Bytes that are compared: the longest beginning has 18.
const BEGINNING_BYTES: usize = 20;
/// Where the number of words is in them.
const WORDS_AT: u32 = 1;
const WORDS: u64 = 0xff << (8 * WORDS_AT);

/// How a request begins, in words.
type Beginning = (u64, u64, u32);

/// How a usual request begins: `*n\r\n$n\r\nNAME\r\n`, in words, and what it is then.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// All but the number of words; 0: no shape.
    head: u64,
    name: u64,
    name_mask: u64,
    end: u32,
    end_mask: u32,
    list: BriefHead,
    filled: Filled,
    /// Its length.
    bytes: u8,
    words_min: u8,
    /// So many more there may be.
    words_more: u8,
}

const _: () = assert!(size_of::<Shape>() == 64, "each has a cache line");

/// What a simple request of its shape is, in the order of a [`Request`]'s fields, so that these are filled at once.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Filled {
    answers: Kinds,
    command: CommandId,
    flags: Flags,
    standing: Standing,
    form: Form,
}

impl Filled {
    const fn new(command: CommandId, answers: Kinds) -> Filled {
        Filled { answers, command, flags: Flags(0), standing: Standing::Simple, form: Form::Brief }
    }
}

impl Shape {
    const NONE: Shape = Shape {
        head: 0,
        name: 0,
        name_mask: 0,
        end: 0,
        end_mask: 0,
        list: BriefHead::NONE,
        filled: Filled::new(CommandId::UNKNOWN, Kinds::NONE),
        bytes: 0,
        words_min: 0,
        words_more: 0,
    };

    /// That of requests with this name, as it is spelled.
    fn new(
        name: &[u8],
        list: BriefHead,
        command: CommandId,
        answers: Kinds,
        words: &std::ops::RangeInclusive<u32>,
    ) -> Option<Shape> {
        if !NAME_BYTES.contains(&name.len()) {
            return None;
        }
        let beginning = [b"*0\r\n$", name.len().to_string().as_bytes(), b"\r\n", name, b"\r\n"].concat();
        let (mut bytes, mut mask) = ([0; BEGINNING_BYTES], [0; BEGINNING_BYTES]);
        bytes.get_mut(..beginning.len())?.copy_from_slice(&beginning);
        mask[..beginning.len()].fill(0xff);
        let (head, name, end) = words_of(&bytes);
        let (_, name_mask, end_mask) = words_of(&mask);
        let words_min = (*words.start()).max(2);
        let words_more = (*words.end()).min(WORDS_MAX as u32).checked_sub(words_min)?;
        Some(Shape {
            head: head & !WORDS,
            name,
            name_mask,
            end,
            end_mask,
            list,
            filled: Filled::new(command, answers),
            bytes: beginning.len() as u8,
            words_min: words_min as u8,
            words_more: words_more as u8,
        })
    }

    #[inline(always)]
    fn fits(&self, beginning: Beginning) -> bool {
        self.head == beginning.0 & !WORDS && self.is_named(beginning)
    }

    /// Whether it is so behind the first word.
    #[inline(always)]
    fn is_named(&self, (_, name, end): Beginning) -> bool {
        self.name == name & self.name_mask && self.end == end & self.end_mask
    }
}

/// The commands that have the usual form: they change no session, hide nothing, do not wait, and have one key, which is their
/// first argument. Each in upper case and in lower case, as clients spell them; otherwise spelled they are left to the parser.
#[derive(Debug)]
pub struct UsualCommands {
    shapes: Box<[Shape; PLACES]>,
    /// What commands answer, by number; those that are not answered in the usual way have nothing here. Of unknown ones the number is
    /// beyond the table's.
    answers: Box<[Kinds; COMMANDS]>,
}

/// How a request of the usual form begins.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'s> {
    shape: &'s Shape,
    /// The first word, with the number of words, which the shape may have.
    head: u64,
}

/// A request of the usual form.
#[derive(Clone, Copy, Debug)]
pub struct UsualRequest<'s, 'a> {
    /// How it begins.
    pub begun: Begun<'s>,
    key: &'a [u8],
    /// The last bytes up to the key's end.
    last: &'a [u8; BRIEF_HEAD_BYTES],
    /// What follows it.
    pub rest: &'a [u8],
}

impl UsualCommands {
    /// Looks for them in a table. There are none where more or less is to be shown than keys.
    pub fn new(table: &CommandTable, acts: &Acts, possible: &Possible, shown: &Shown) -> UsualCommands {
        assert!(table.len() < COMMANDS, "unknown commands have the last number");
        let answers = |id| if acts.of(id) == Act::None { possible.of(id) } else { Kinds::NONE };
        // Where replies are to be shown, more is to be done about each.
        let answers = |id| if shown.payload_bytes > 0 { Kinds::NONE } else { answers(CommandId(id as u16)) };
        let mut usual = UsualCommands::none();
        *usual.answers = std::array::from_fn(answers);
        if !shown.keys || shown.payload_bytes > 0 {
            return usual;
        }
        let mut found = Vec::new();
        for (command, id) in table.iter().zip(0..) {
            let Some((role, words)) = command.keys.only_key() else { continue };
            let is_plain = !command.flags.container && !command.flags.blocking && !command.name.contains(' ');
            let id = CommandId(id);
            if !is_plain || acts.of(id) != Act::None || acts.hides_arguments(id) {
                continue;
            }
            for name in [command.name.to_ascii_uppercase(), command.name.to_ascii_lowercase()] {
                let Some(list) = BriefHead::new(name.as_bytes(), role) else { continue };
                found.extend(Shape::new(name.as_bytes(), list, id, usual.answers(id), &words));
            }
        }
        // Short names, which are used most, get their own places.
        found.sort_by_key(|shape| shape.bytes);
        for shape in found {
            usual.add(shape);
        }
        usual
    }

    /// No command: nothing has the usual form.
    pub fn none() -> UsualCommands {
        let shapes = vec![Shape::NONE; PLACES].into_boxed_slice().try_into().expect("so many were made");
        UsualCommands { shapes, answers: Box::new([Kinds::NONE; COMMANDS]) }
    }

    fn add(&mut self, shape: Shape) {
        let mut at = place_of(shape.head, shape.name);
        while self.shapes[at].head != 0 {
            at = (at + 1) % PLACES;
        }
        self.shapes[at] = shape;
    }

    /// The kinds of replies that may answer this command so that nothing but that is to be done about them.
    #[inline]
    pub fn answers(&self, command: CommandId) -> Kinds {
        self.answers[usize::from(command.0) % COMMANDS]
    }

    #[inline(always)]
    fn find(&self, beginning: Beginning) -> Option<&Shape> {
        let at = place_of(beginning.0, beginning.1);
        let shape = &self.shapes[at];
        // One by one: so they need not be put together in memory.
        let (head, name, end) = beginning;
        if shape.fits(beginning) { Some(shape) } else { self.find_farther(at, head, name, end) }
    }

    /// One that does not have the first of its places.
    #[cold]
    #[inline(never)]
    fn find_farther(&self, mut at: usize, head: u64, name: u64, end: u32) -> Option<&Shape> {
        while self.shapes[at].head != 0 {
            at = (at + 1) % PLACES;
            if self.shapes[at].fits((head, name, end)) {
                return Some(&self.shapes[at]);
            }
        }
        None
    }

    #[inline(always)]
    fn begin(&self, beginning: Beginning) -> Option<Begun<'_>> {
        let (shape, head) = (self.find(beginning)?, beginning.0);
        let is_wordy = words(head).wrapping_sub(shape.words_min) > shape.words_more;
        if is_wordy { None } else { Some(Begun { shape, head }) }
    }

    /// It begins in another way than the one before.
    #[inline(never)]
    fn begin_otherwise(&self, input: &[u8]) -> Option<Begun<'_>> {
        self.begin(words_of(input.first_chunk()?))
    }

    /// The request that the input begins with, if it is of the usual form and ends in the input.
    #[inline(always)]
    pub fn read<'s, 'a>(&'s self, input: &'a [u8]) -> Option<UsualRequest<'s, 'a>> {
        // Only one with an empty key is shorter.
        self.begin(words_of(input.first_chunk()?))?.read(input)
    }

    /// The same of one that is likely to begin as the one before did.
    #[inline(always)]
    pub fn read_like<'s, 'a>(&'s self, before: Begun<'s>, input: &'a [u8]) -> Option<UsualRequest<'s, 'a>> {
        let is_like = before.fits(words_of(input.first_chunk()?));
        let begun = if is_like { before } else { self.begin_otherwise(input)? };
        begun.read(input)
    }
}

impl<'s> Begun<'s> {
    #[inline(always)]
    fn fits(self, beginning: Beginning) -> bool {
        self.head == beginning.0 && self.shape.is_named(beginning)
    }

    /// The request that begins like this.
    #[inline(always)]
    fn read<'a>(self, input: &'a [u8]) -> Option<UsualRequest<'s, 'a>> {
        let BulkAt { upto, content: key, behind } = bulk_at(input, usize::from(self.shape.bytes))?;
        let found = UsualRequest { begun: self, key, last: upto.last_chunk()?, rest: behind };
        // With room for the mark that more follow, as one that streams by has it.
        if key.len() > LONGER_KEY_BYTES && found.list_bytes() + ENTRY_HEADER_BYTES > ARGUMENTS_BYTES_MAX {
            return None;
        }
        match found.others() {
            0 => Some(found),
            others => Some(UsualRequest { rest: behind_bulks(behind, others)?, ..found }),
        }
    }
}

impl UsualRequest<'_, '_> {
    /// Words behind the key.
    #[inline(always)]
    fn others(&self) -> usize {
        usize::from(words(self.begun.head).wrapping_sub(2))
    }

    /// Bytes of the list of its arguments.
    fn list_bytes(&self) -> usize {
        self.begun.shape.list.bytes_with(self.key.len(), self.others())
    }

    /// Fills a used or a new request; where and when it was seen is left to the caller. `came_at_once`: at a time that is known.
    #[inline(always)]
    pub fn fill(&self, request: &mut Request, came_at_once: bool) {
        let Filled { answers, command, flags, standing, form } = self.begun.shape.filled;
        (request.answers, request.command, request.flags) = (answers, command, flags);
        (request.standing, request.form) = (standing, form);
        if !came_at_once {
            request.standing = Standing::Other;
        }
        if !request.brief.fill(&self.begun.shape.list, self.key, self.last, self.others()) {
            // A copy: so it need not be put together in memory for all others.
            { *self }.fill_longer(request);
        }
    }

    /// The arguments are not so brief: they go where there is room for them.
    #[inline(never)]
    fn fill_longer(&self, request: &mut Request) {
        let list = &self.begun.shape.list;
        request.standing = Standing::Other;
        request.form = Form::Longer;
        request.args = u32::from(words(self.begun.head));
        request.keys = 1;
        if !request.late.room_mut().longer.fill(list, self.key, self.last, self.others()) {
            request.form = Form::Usual;
            arguments::fill(&mut request.late.arguments, list, self.key, self.others());
        }
    }
}

#[inline(always)]
fn words_of(beginning: &[u8; BEGINNING_BYTES]) -> Beginning {
    let (words, end) = beginning.as_chunks::<8>();
    let end = end.first_chunk().map_or(0, |end| u32::from_le_bytes(*end));
    (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]), end)
}

/// How many words a request has that begins like this.
#[inline(always)]
fn words(head: u64) -> u8 {
    (((head & WORDS) >> (8 * WORDS_AT)) as u8).wrapping_sub(b'0')
}

/// By the first word, but for the number of words, and the first five bytes of the second, which hold nothing of the key.
#[inline(always)]
fn place_of(head: u64, name: u64) -> usize {
    let both = (head & !WORDS) ^ name << 24;
    (both.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES.trailing_zeros())) as usize
}
