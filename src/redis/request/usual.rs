//! Requests of the usual form, read at once: a command of one key and few words, all of it in one segment.
//!
//! What [`UsualRequest::fill`] makes of a request is what the parser and [`super::RequestVisitor`] would have made of it; a test
//! compares them. Of whatever is not of this form [`UsualCommands::read`] says so, and nothing has happened. Never panics,
//! never allocates.

use crate::resp::parser::{Kind, bulk};

use super::super::arguments::{self, ENTRY_HEADER_BYTES, ShortWord};
use super::super::command::{CommandId, CommandTable};
use super::super::keys::KeyRole;
use super::super::pairing::Flags;
use super::super::possible::{Kinds, Possible};
use super::super::session::{Act, Acts};
use super::{Request, Shown};

/// Longest name of a usual command.
const NAME_BYTES_MAX: usize = 8;
/// Numbers of commands, as many of their bits as tell them apart.
const COMMANDS: usize = 1024;
/// Places of the table: few enough for the caches, so many that nearly each name finds its own.
const PLACES: usize = 1024;
/// `*n\r\n$n\r\n`: all but the digits, and where they are.
const FORM: u64 = u64::from_le_bytes(*b"*\0\r\n$\0\r\n");
const FORM_MASK: u64 = u64::from_le_bytes([0xff, 0, 0xff, 0xff, 0xff, 0, 0xff, 0xff]);
const FORM_BYTES: usize = 8;

/// What is known of a usual command.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Its name, as it is spelled.
    name: u64,
    /// Bytes of that; 0: the place is empty.
    length: u8,
    words_min: u8,
    words_max: u8,
    role: u8,
    command: u16,
}

/// The commands that have the usual form: they change no session, hide nothing, do not wait, and have one key, which is their
/// first argument. Each in upper case and in lower case, as clients spell them; otherwise spelled they are left to the parser.
#[derive(Debug)]
pub struct UsualCommands {
    places: Box<[Place; PLACES]>,
    /// What commands answer, by number; those that are not answered in the usual way have nothing here. Of unknown ones the number is
    /// beyond the table's.
    answers: Box<[Kinds; COMMANDS]>,
    /// Most bytes of the list of arguments.
    list_bytes_max: usize,
}

/// A request of the usual form.
#[derive(Clone, Copy, Debug)]
pub struct UsualRequest<'a> {
    command: CommandId,
    role: KeyRole,
    name: ShortWord,
    key: &'a [u8],
    words: u32,
    /// Its bytes.
    pub bytes: usize,
}

impl UsualCommands {
    /// Looks for them in a table. There are none where more or less is to be shown than keys.
    pub fn new(table: &CommandTable, acts: &Acts, possible: &Possible, shown: &Shown) -> UsualCommands {
        assert!(table.len() < COMMANDS, "unknown commands have the last number");
        let places = vec![Place::default(); PLACES].into_boxed_slice().try_into().expect("so many were made");
        let answers = |id| if acts.of(id) == Act::None { possible.of(id) } else { Kinds::NONE };
        // Where replies are to be shown, more is to be done about each.
        let answers = |id| if shown.payload_bytes > 0 { Kinds::NONE } else { answers(CommandId(id as u16)) };
        let answers = Box::new(std::array::from_fn(answers));
        let mut usual = UsualCommands { places, answers, list_bytes_max: shown.arguments_bytes_max() };
        if !shown.keys || shown.payload_bytes > 0 {
            return usual;
        }
        for (command, id) in table.iter().zip(0..) {
            let Some((role, words)) = command.keys.only_key() else { continue };
            let is_plain = !command.flags.container && !command.flags.blocking && !command.name.contains(' ');
            let id = CommandId(id);
            if !is_plain || acts.of(id) != Act::None || acts.hides_arguments(id) {
                continue;
            }
            for spelling in [command.name.to_ascii_uppercase(), command.name.to_ascii_lowercase()] {
                let Some(name) = padded(spelling.as_bytes()) else { continue };
                let place = Place {
                    name,
                    length: spelling.len() as u8,
                    words_min: (*words.start()).clamp(2, 255) as u8,
                    words_max: (*words.end()).min(9) as u8,
                    role: role.bits(),
                    command: id.0,
                };
                let mut at = place_of(name, spelling.len());
                while usual.places[at].length > 0 {
                    at = (at + 1) % PLACES;
                }
                usual.places[at] = place;
            }
        }
        usual
    }

    /// Whether a reply of this kind may answer this command, and nothing but that is to be done about it.
    #[inline(always)]
    pub fn may_answer(&self, command: CommandId, kind: Kind) -> bool {
        self.answers[usize::from(command.0) % COMMANDS].has(kind)
    }

    #[inline(always)]
    fn find(&self, name: u64, length: usize) -> Option<&Place> {
        let mut at = place_of(name, length);
        loop {
            let place = &self.places[at];
            if place.name == name && usize::from(place.length) == length {
                return Some(place);
            }
            if place.length == 0 {
                return None;
            }
            at = (at + 1) % PLACES;
        }
    }

    /// The request that the input begins with, if it is of the usual form and ends in the input.
    #[inline(always)]
    pub fn read<'a>(&self, input: &'a [u8]) -> Option<UsualRequest<'a>> {
        let (head, behind) = input.split_first_chunk::<FORM_BYTES>()?;
        let head = u64::from_le_bytes(*head);
        let (words, length) = (digit(head >> 8), digit(head >> 40));
        if head & FORM_MASK != FORM || !(2..=9).contains(&words) || !(1..=NAME_BYTES_MAX as u8).contains(&length) {
            return None;
        }
        let length = usize::from(length);
        let bytes = u64::from_le_bytes(*behind.first_chunk()?) & u64::MAX >> (64 - 8 * length);
        let name = ShortWord { bytes, length };
        let place = self.find(bytes, length)?;
        if words < place.words_min || words > place.words_max {
            return None;
        }
        let mut rest = behind.get(length..)?.strip_prefix(b"\r\n")?;
        let (key, bytes) = bulk(rest)?;
        let others = usize::from(words) - 2;
        // With room for the mark that more follow, as one that streams by has it.
        let list = (3 + others) * ENTRY_HEADER_BYTES + length + key.len();
        if list > self.list_bytes_max {
            return None;
        }
        rest = &rest[bytes..];
        for _ in 0..others {
            let (_, bytes) = bulk(rest)?;
            rest = &rest[bytes..];
        }
        Some(UsualRequest {
            command: CommandId(place.command),
            role: KeyRole::from_bits(place.role),
            name,
            key,
            words: u32::from(words),
            bytes: input.len() - rest.len(),
        })
    }
}

impl UsualRequest<'_> {
    /// Fills a used or a new request; where and when it was seen is left to the caller.
    #[inline(always)]
    pub fn fill(&self, request: &mut Request) {
        request.command = self.command;
        request.flags = Flags::default();
        request.args = self.words;
        request.keys = 1;
        request.confirmations_left = 0;
        request.replied_bytes = 0;
        request.timed_out = false;
        request.is_usual = true;
        let hidden = self.words as usize - 2;
        request.is_brief = request.brief.fill(self.name, self.key, self.role, hidden);
        if !request.is_brief {
            arguments::fill(&mut request.draft.arguments, self.name, self.key, self.role, hidden);
        }
    }
}

#[inline(always)]
fn digit(byte: u64) -> u8 {
    (byte as u8).wrapping_sub(b'0')
}

/// A name of at most 8 bytes as a number, zeros behind it.
fn padded(name: &[u8]) -> Option<u64> {
    let mut bytes = [0; NAME_BYTES_MAX];
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    Some(u64::from_le_bytes(bytes))
}

#[inline(always)]
fn place_of(name: u64, length: usize) -> usize {
    ((name ^ length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES.trailing_zeros())) as usize
}
