//! The parts of which JSON lines are made: numbers, times, and text from traffic.
//!
//! Everything is put into a [`Line`] and allocates nothing. Whatever a text contains, what is put is valid UTF-8
//! and fit for the inside of a JSON string. Text is shown as it is where it is UTF-8; where it has bytes that are not, these
//! appear as `\xHH` and its literal backslashes as `\\`, so that the two can be told apart.

use std::io::Write;

use crate::units::Timestamp;

/// A line that is being put together, in room that was made before: what is left of that. For what needs more nothing is
/// put, nor anything from then on; a line that has left nothing is to be made again in more room.
///
/// What is usual is inlined, so that it is known in registers how far the line is, and not written to memory and read back
/// piece by piece.
pub(super) struct Line<'a> {
    left: &'a mut [u8],
    /// The last number of four to eight digits: durations, times of the server and latencies are often the same.
    last: u64,
    last_digits: Digits,
}

/// A number of up to eight digits, the first in the lowest byte.
#[derive(Clone, Copy)]
struct Digits {
    text: u64,
    length: usize,
}

impl<'a> Line<'a> {
    /// An empty one.
    #[inline(always)]
    pub(super) fn new(room: &'a mut [u8]) -> Line<'a> {
        Line { left: room, last: 1000, last_digits: digits(1000) }
    }

    /// Bytes of room that are left.
    #[inline(always)]
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    /// Puts a piece that is always the same.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, text: &[u8; N]) {
        self.put_part(text, N);
    }

    /// Puts the first `length` bytes of a piece, where there is room for all of it.
    #[inline(always)]
    fn put_part<const N: usize>(&mut self, text: &[u8; N], length: usize) {
        let left = std::mem::take(&mut self.left);
        if let Some(place) = left.first_chunk_mut() {
            *place = *text;
            self.left = left.get_mut(length..).unwrap_or_default();
        }
    }

    /// Puts what needs no escaping.
    #[inline(always)]
    pub(super) fn copy(&mut self, text: &[u8]) {
        if let Some((place, left)) = std::mem::take(&mut self.left).split_at_mut_checked(text.len()) {
            place.copy_from_slice(text);
            self.left = left;
        }
    }

    /// Puts what is not usual: `put` gets a line of its own, so that this one need not be in memory.
    #[inline(always)]
    pub(super) fn apart(&mut self, put: impl FnOnce(&mut Line<'a>)) {
        let mut line = Line::new(std::mem::take(&mut self.left));
        put(&mut line);
        self.left = line.left;
    }

    /// Puts text from traffic, made fit for the inside of a JSON string.
    #[inline(always)]
    pub(super) fn text(&mut self, text: &[u8]) {
        if is_plain(text) {
            self.copy(text);
        } else {
            self.apart(|line| foreign(line, text));
        }
    }

    /// Puts `name` (with its punctuation) and a number.
    #[inline(always)]
    pub(super) fn field<const N: usize>(&mut self, name: &[u8; N], n: u64) {
        self.put(name);
        self.number(n);
    }

    /// Puts a number in decimal.
    #[inline(always)]
    pub(super) fn number(&mut self, n: u64) {
        if let Some(&[a, b, c, length]) = SMALL.get(n as usize) {
            return self.put_part(&[a, b, c, length], usize::from(length));
        }
        if n != self.last {
            if n >= 100_000_000 {
                return self.apart(|line| huge(line, n));
            }
            (self.last, self.last_digits) = (n, digits(n as u32));
        }
        self.put_part(&self.last_digits.text.to_le_bytes(), self.last_digits.length);
    }

    /// Puts `name` (with its punctuation), a word of our own, which needs no escaping, and the closing quote.
    #[inline(always)]
    pub(super) fn word<const N: usize>(&mut self, name: &[u8; N], word: &str) {
        self.put(name);
        self.copy(word.as_bytes());
        self.put(b"\"");
    }

    /// Puts a time, as [`Timestamp`] shows it, and what follows it.
    #[inline(always)]
    pub(super) fn time<const N: usize>(&mut self, time: &TimeText, behind: &[u8; N]) {
        let left = std::mem::take(&mut self.left);
        if let Some((second, left)) = left.split_first_chunk_mut()
            && let Some((first, left)) = left.split_first_mut()
            && let Some((others, left)) = left.split_first_chunk_mut()
        {
            (*second, *first, *others) = (time.second, time.first, time.others.to_le_bytes());
            self.left = left;
            self.put(behind);
        }
    }
}

/// Text from traffic, made fit for the inside of a JSON string, on its own.
pub(super) fn escaped(text: &[u8]) -> Vec<u8> {
    // Of no byte come more than six.
    let mut room = vec![0; 6 * text.len() + 1];
    let mut line = Line::new(&mut room);
    line.text(text);
    let length = 6 * text.len() + 1 - line.left();
    room.truncate(length);
    room
}

/// The last eight decimal digits of a number below 10⁸, one per byte, the first in the lowest. Computed side by side within
/// one register: it is the conversion's trips to memory that would take the time.
#[inline]
fn eight_digits(n: u32) -> u64 {
    let (high, low) = (u64::from(n / 10_000), u64::from(n % 10_000));
    // Two numbers of four digits, then four of two, then eight of one. The multiplications divide by 100 and by 10: exact
    // for what fits.
    let fours = high | low << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// What makes digits of numbers, eight at once.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The numbers below 1000: their digits, and in the fourth place how many.
static SMALL: [[u8; 4]; 1000] = {
    let mut small = [[0; 4]; 1000];
    let mut n = 0;
    while n < 1000 {
        let [a, b, c] = [n / 100, n / 10 % 10, n % 10];
        let [a, b, c] = [b'0' + a as u8, b'0' + b as u8, b'0' + c as u8];
        small[n] = match n {
            0..10 => [c, 0, 0, 1],
            10..100 => [b, c, 0, 2],
            _ => [a, b, c, 3],
        };
        n += 1;
    }
    small
};

/// The digits of a number from 1 to 10⁸ − 1.
#[inline]
fn digits(n: u32) -> Digits {
    let digits = eight_digits(n);
    let leading = digits.trailing_zeros() / 8;
    Digits { text: (digits | ZEROS) >> (8 * leading), length: 8 - leading as usize }
}

/// Puts a number from 10⁸ on.
#[cold]
fn huge(line: &mut Line<'_>, n: u64) {
    line.number(n / 100_000_000);
    line.put(&(eight_digits((n % 100_000_000) as u32) | ZEROS).to_le_bytes());
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether a text can stand in a JSON string as it is.
#[inline(always)]
fn is_plain(text: &[u8]) -> bool {
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) if text.len() <= 16 => are_plain(*first) && are_plain(*last),
        (Some(_), Some(last)) => text.as_chunks().0.iter().all(|&bytes| are_plain(bytes)) && are_plain(*last),
        _ => text.iter().all(|&byte| are_plain([byte; 8])),
    }
}

/// Whether these are bytes of ASCII, none of them a control character, a quotation mark or a backslash.
#[inline(always)]
fn are_plain(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let bytes = u64::from_le_bytes(bytes);
    // With their highest bits set no subtraction borrows of the next byte; where one is left, the byte was large enough.
    let at_least = |bytes: u64, least: u64| (bytes | HIGHEST) - ONES * least;
    let not = |byte: u64| at_least(bytes ^ (ONES * byte), 1);
    !bytes & at_least(bytes, 0x20) & not(u64::from(b'"')) & not(u64::from(b'\\')) & HIGHEST == HIGHEST
}

#[cold]
fn foreign(line: &mut Line<'_>, text: &[u8]) {
    if let Ok(text) = std::str::from_utf8(text) {
        return escape(line, text, br"\\");
    }
    for chunk in text.utf8_chunks() {
        escape(line, chunk.valid(), br"\\\\");
        for &byte in chunk.invalid() {
            line.put(br"\\x");
            line.put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Escapes what JSON wants escaped; `backslash` is what becomes of a backslash.
fn escape(line: &mut Line<'_>, text: &str, backslash: &[u8]) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' => line.put(br#"\""#),
            b'\\' => line.copy(backslash),
            b'\n' => line.put(br"\n"),
            b'\r' => line.put(br"\r"),
            b'\t' => line.put(br"\t"),
            0..0x20 => {
                line.put(br"\u00");
                line.put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => line.put(&[byte]),
        }
    }
}

/// Bytes of a timestamp's text up to its fraction.
const SECOND_BYTES: usize = "2026-11-22T12:00:00.".len();

/// A time as text, in parts: up to its fraction, and the digits of that.
#[derive(Clone, Copy)]
pub(super) struct TimeText {
    second: [u8; SECOND_BYTES],
    first: u8,
    others: u64,
}

/// Makes times text; the last two seconds are kept formatted.
#[derive(Debug)]
pub(super) struct Clock {
    cached: [(u64, [u8; SECOND_BYTES]); 2],
}

impl Default for Clock {
    fn default() -> Self {
        Clock { cached: [(u64::MAX, [0; SECOND_BYTES]); 2] }
    }
}

impl Clock {
    /// The text of a time.
    #[inline(always)]
    pub(super) fn text(&mut self, at: Timestamp) -> TimeText {
        const SECOND: u64 = 1_000_000_000;
        let (second, fraction) = (at.0 / SECOND, (at.0 % SECOND) as u32);
        let (cached, text) = &mut self.cached[(second & 1) as usize];
        if *cached != second {
            *cached = second;
            *text = second_text(Timestamp(second * SECOND));
        }
        let others = eight_digits(fraction % 100_000_000) | ZEROS;
        TimeText { second: *text, first: b'0' + (fraction / 100_000_000) as u8, others }
    }
}

#[cold]
fn second_text(at: Timestamp) -> [u8; SECOND_BYTES] {
    let mut whole = [0; SECOND_BYTES + "000000000Z".len()];
    let mut rest = &mut whole[..];
    // Every text has this length; see the test of `Timestamp`.
    let written = write!(rest, "{at}");
    debug_assert!(written.is_ok() && rest.is_empty());
    whole.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is put into so much room.
    fn put(room: usize, put: impl FnOnce(&mut Line<'_>)) -> String {
        let mut text = vec![0; room];
        let mut line = Line::new(&mut text);
        put(&mut line);
        let length = room - line.left();
        text.truncate(length);
        String::from_utf8(text).unwrap()
    }

    fn text(from: &[u8]) -> String {
        let json = [&b"\""[..], &escaped(from), b"\""].concat();
        serde_json::from_slice(&json).unwrap()
    }

    /// The rule of SPEC section 3, said another way.
    fn shown(from: &[u8]) -> String {
        if let Ok(text) = std::str::from_utf8(from) {
            return text.to_owned();
        }
        let mut shown = String::new();
        for chunk in from.utf8_chunks() {
            shown.push_str(&chunk.valid().replace('\\', r"\\"));
            shown.extend(chunk.invalid().iter().map(|byte| format!(r"\x{byte:02x}")));
        }
        shown
    }

    #[test]
    fn bytes_that_are_not_text_can_be_told_from_backslashes() {
        assert_eq!(text(b"plain key:1"), "plain key:1");
        assert_eq!(text(br"a\b"), r"a\b");
        assert_eq!(text(b"a\\b\xff\x00"), "a\\\\b\\xff\0");
        assert_eq!(text(b"\xe2\x82"), r"\xe2\x82", "a character cut in two");
        assert_eq!(text("\u{2028}\u{7f}\u{10ffff}\"\n\r\t\u{1f}".as_bytes()), "\u{2028}\u{7f}\u{10ffff}\"\n\r\t\u{1f}");
        assert_eq!(text(b""), "");
    }

    proptest! {
        #[test]
        fn any_bytes_become_valid_json_that_reads_back_as_what_is_shown(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'"'), 0u8..0x20], 0..40),
        ) {
            prop_assert_eq!(text(&bytes), shown(&bytes));
        }

        #[test]
        fn numbers_are_as_the_standard_library_prints_them(number: u64, shift in 0u32..64) {
            let number = number >> shift;
            prop_assert_eq!(put(64, |line| line.field(b"x", number)), format!("x{number}"));
        }

        #[test]
        fn times_are_as_units_print_them(times in proptest::collection::vec(any::<u64>(), 1..8), step: u32) {
            let mut clock = Clock::default();
            for at in times.iter().flat_map(|&at| [at, at.wrapping_add(u64::from(step)), at]) {
                let text = clock.text(Timestamp(at));
                prop_assert_eq!(put(64, |line| line.time(&text, b"Z\"")), Timestamp(at).to_string() + "\"");
            }
        }
    }

    #[test]
    fn what_finds_no_room_leaves_none() {
        let time = Clock::default().text(Timestamp(1));
        let pieces: [&dyn Fn(&mut Line<'_>); 6] = [
            &|line| line.put(b"word"),
            &|line| line.copy(b"copy"),
            &|line| line.text(b"text\"\xff"),
            &|line| line.number(12_345),
            &|line| line.number(u64::MAX),
            &|line| line.time(&time, b"Z\""),
        ];
        for piece in pieces {
            let whole = put(64, piece).len();
            for room in 0..64 {
                let mut text = vec![0; room];
                let mut line = Line::new(&mut text);
                piece(&mut line);
                line.put(b"!");
                assert!(line.left() == 0 || line.left() == room - whole - 1, "{whole} bytes and one into {room}");
            }
        }
    }

    #[test]
    fn round_numbers_have_all_their_digits() {
        let edges = (0..20).map(|power| 10u64.pow(power)).flat_map(|number| [number - 1, number, number + 1]);
        for number in edges.chain([u64::MAX]) {
            // The same number once more is the one before.
            let text = put(64, |line| {
                line.number(number);
                line.field(b" ", number);
            });
            assert_eq!(text, format!("{number} {number}"));
        }
    }
}
