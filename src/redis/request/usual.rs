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
use super::{Form, Request, Shown};

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
    answers: Kinds,
    command: CommandId,
    /// Its length.
    bytes: u8,
    words_min: u8,
    /// So many more there may be.
    words_more: u8,
}

const _: () = assert!(size_of::<Shape>() == 64, "each has a cache line");

impl Shape {
    const NONE: Shape = Shape {
        head: 0,
        name: 0,
        name_mask: 0,
        end: 0,
        end_mask: 0,
        list: BriefHead::NONE,
        command: CommandId::UNKNOWN,
        answers: Kinds::NONE,
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
            command,
            answers,
            bytes: beginning.len() as u8,
            words_min: words_min as u8,
            words_more: words_more as u8,
        })
    }

    #[inline(always)]
    fn fits(&self, (head, name, end): Beginning) -> bool {
        self.head == head & !WORDS && self.name == name & self.name_mask && self.end == end & self.end_mask
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

/// A request of the usual form.
#[derive(Clone, Copy, Debug)]
pub struct UsualRequest<'s, 'a> {
    shape: &'s Shape,
    key: &'a [u8],
    /// The last bytes up to the key's end.
    last: &'a [u8; BRIEF_HEAD_BYTES],
    /// Words, more than one.
    words: u8,
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

    /// The request that the input begins with, if it is of the usual form and ends in the input.
    #[inline(always)]
    pub fn read<'s, 'a>(&'s self, input: &'a [u8]) -> Option<UsualRequest<'s, 'a>> {
        // Only one with an empty key is shorter.
        let beginning = words_of(input.first_chunk()?);
        Self::read_shaped(input, beginning, self.find(beginning)?)
    }

    /// The same of one that is likely to be of the same command as the one before.
    #[inline(always)]
    pub fn read_like<'s, 'a>(&'s self, before: &UsualRequest<'s, '_>, input: &'a [u8]) -> Option<UsualRequest<'s, 'a>> {
        let beginning = words_of(input.first_chunk()?);
        let shape = if before.shape.fits(beginning) { before.shape } else { self.find(beginning)? };
        Self::read_shaped(input, beginning, shape)
    }

    #[inline(always)]
    fn read_shaped<'s, 'a>(input: &'a [u8], beginning: Beginning, shape: &'s Shape) -> Option<UsualRequest<'s, 'a>> {
        let words = ((beginning.0 & WORDS) >> (8 * WORDS_AT)) as u8;
        let words = words.wrapping_sub(b'0');
        if words.wrapping_sub(shape.words_min) > shape.words_more {
            return None;
        }
        let BulkAt { upto, content: key, behind } = bulk_at(input, usize::from(shape.bytes))?;
        let found = UsualRequest { shape, key, last: upto.last_chunk()?, words, rest: behind };
        // With room for the mark that more follow, as one that streams by has it.
        if key.len() > LONGER_KEY_BYTES && found.list_bytes() + ENTRY_HEADER_BYTES > ARGUMENTS_BYTES_MAX {
            return None;
        }
        let others = found.others();
        if others == 0 {
            return Some(found);
        }
        Some(UsualRequest { rest: behind_bulks(found.rest, others)?, ..found })
    }
}

impl UsualRequest<'_, '_> {
    /// Words behind the key.
    #[inline(always)]
    fn others(&self) -> usize {
        usize::from(self.words.wrapping_sub(2))
    }

    /// Bytes of the list of its arguments.
    fn list_bytes(&self) -> usize {
        self.shape.list.bytes_with(self.key.len(), self.others())
    }

    /// Fills a used or a new request; where and when it was seen is left to the caller.
    #[inline(always)]
    pub fn fill(&self, request: &mut Request) {
        request.answers = self.shape.answers;
        request.command = self.shape.command;
        request.flags = Flags::default();
        request.timed_out = false;
        request.form = Form::Brief;
        request.args = u32::from(self.words);
        request.keys = 1;
        if !request.brief.fill(&self.shape.list, self.key, self.last, self.others()) {
            // A copy: so it need not be put together in memory for all others.
            { *self }.fill_longer(request);
        }
    }

    /// The arguments are not so brief: they go where there is room for them.
    #[inline(never)]
    fn fill_longer(&self, request: &mut Request) {
        let list = &self.shape.list;
        request.form = Form::Longer;
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

/// By the first word, but for the number of words, and the first five bytes of the second, which hold nothing of the key.
#[inline(always)]
fn place_of(head: u64, name: u64) -> usize {
    let both = (head & !WORDS) ^ name << 24;
    (both.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES.trailing_zeros())) as usize
}
