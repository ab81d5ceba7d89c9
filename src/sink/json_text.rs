//! The parts of which JSON lines are made: numbers, times, and text from traffic.
//!
//! Everything is put into a [`Line`] and allocates nothing, if that is a [`Room`]. Whatever a text contains, what is put is valid
//! UTF-8 and fit for the inside of a JSON string. Text is shown as it is where it is UTF-8; where it has bytes that are not, these
//! appear as `\xHH` and its literal backslashes as `\\`, so that the two can be told apart.

use std::io::Write;

use crate::units::Timestamp;

/// Longest line that a [`Room`] holds, and one byte more.
pub(super) const LINE_BYTES: usize = 4096;
/// Bytes of a room: wherever a line is, the pieces that are put before it is looked at again have their places behind it.
pub(super) const ROOM_BYTES: usize = 4 * LINE_BYTES;

/// A line that is being put together. It goes from hand to hand instead of being borrowed, so that it is known in registers how
/// far it is, and not written to memory and read back piece by piece.
pub(super) trait Line: Sized {
    /// Puts a piece, and of another one the first `length` bytes; what is behind them does not count.
    fn parts<const A: usize, const B: usize>(self, first: &[u8; A], second: &[u8; B], length: u8) -> Self;

    /// Puts a piece, a time as [`Timestamp`] shows it but for its `Z`, and another piece.
    fn time<const A: usize, const B: usize>(self, before: &[u8; A], time: &TimeText<'_>, behind: &[u8; B]) -> Self;

    /// Puts all but the last bytes of a piece that was made before.
    fn piece_but<const N: usize>(self, piece: &Piece<N>, last: u8) -> Self;

    /// Sees to it that there is room for some more parts, pieces, times and fields: as many as stand one behind the other, but in no
    /// loop. [`Line::put`], [`Line::copy`] and [`Line::text`] do so by themselves.
    fn turn(self) -> Self;

    /// Puts what needs no escaping, of whatever length.
    fn copy(self, text: &[u8]) -> Self;

    /// Puts a piece that is always the same.
    #[inline(always)]
    fn put<const N: usize>(self, text: &[u8; N]) -> Self {
        self.turn().parts(text, &[], 0)
    }

    /// Puts a piece that was made before.
    #[inline(always)]
    fn piece<const N: usize>(self, piece: &Piece<N>) -> Self {
        self.piece_but(piece, 0)
    }

    /// Puts text from traffic, made fit for the inside of a JSON string.
    #[inline(always)]
    fn text(self, text: &[u8]) -> Self {
        if is_plain(text) { self.copy(text) } else { foreign(self, text) }
    }

    /// Puts a piece, and of another one what counts, and a number that was made text before.
    #[inline(always)]
    fn parts_and_digits<const A: usize, const B: usize>(
        self,
        first: &[u8; A],
        second: &[u8; B],
        length: u8,
        digits: Digits,
    ) -> Self {
        self.parts(first, second, length).parts(&[], &digits.text.to_le_bytes(), digits.length)
    }

    /// Puts `name` (with its punctuation) and a number.
    #[inline(always)]
    fn field<const N: usize>(self, name: &[u8; N], n: u64) -> Self {
        match Digits::new(n) {
            Some(Digits { text, length, .. }) => self.parts(name, &text.to_le_bytes(), length),
            None => huge(self.put(name), n).turn(),
        }
    }

    /// Puts a number in decimal.
    #[inline(always)]
    fn number(self, n: u64) -> Self {
        self.field(&[], n)
    }

    /// Puts `name` and a number that may be as the one before.
    #[inline(always)]
    fn field_like<const N: usize>(self, name: &[u8; N], n: u64, last: &mut Digits) -> Self {
        if n != last.number {
            let Some(digits) = Digits::new(n) else { return huge(self.put(name), n).turn() };
            *last = digits;
        }
        self.parts(name, &last.text.to_le_bytes(), last.length)
    }

    /// Puts `name` (with its punctuation), a word of our own, which needs no escaping, and the closing quote.
    #[inline(always)]
    fn word<const N: usize>(self, name: &[u8; N], word: &str) -> Self {
        self.put(name).copy(word.as_bytes()).put(b"\"")
    }
}

/// A line in room that was made before. One that becomes too long does no harm, but is not to be used: see [`Room::finish`].
pub(super) struct Room<'a> {
    room: &'a mut [u8; ROOM_BYTES],
    at: usize,
}

impl<'a> Room<'a> {
    /// An empty line.
    #[inline(always)]
    pub(super) fn new(room: &'a mut [u8; ROOM_BYTES]) -> Room<'a> {
        Room { room, at: 0 }
    }

    /// Ends the line: its bytes; `None` if it was too long.
    #[inline(always)]
    pub(super) fn finish(self) -> Option<usize> {
        (self.at < LINE_BYTES).then_some(self.at)
    }
}

impl Line for Room<'_> {
    // Of how many bytes a piece is at the most is known, and so is how many of them are put one after the other: the compiler sees
    // that there is room, and no piece needs to ask.
    #[inline(always)]
    fn parts<const A: usize, const B: usize>(mut self, first: &[u8; A], second: &[u8; B], length: u8) -> Self {
        let at = self.at;
        self.room[at..at + A].copy_from_slice(first);
        self.room[at + A..at + A + B].copy_from_slice(second);
        self.at += A + usize::from(length);
        self
    }

    #[inline(always)]
    fn time<const A: usize, const B: usize>(mut self, before: &[u8; A], time: &TimeText<'_>, behind: &[u8; B]) -> Self {
        let at = self.at;
        self.room[at..at + A].copy_from_slice(before);
        let at = at + A;
        self.room[at..at + SECOND_BYTES].copy_from_slice(time.second);
        // What is fourth of each three digits is overwritten.
        for (third, digits) in time.thirds.iter().enumerate() {
            let at = at + SECOND_BYTES + 3 * third;
            self.room[at..at + 4].copy_from_slice(&digits.to_le_bytes());
        }
        self.room[at + TIME_BYTES..at + TIME_BYTES + B].copy_from_slice(behind);
        self.at += A + TIME_BYTES + B;
        self
    }

    #[inline(always)]
    fn piece_but<const N: usize>(self, piece: &Piece<N>, last: u8) -> Self {
        self.parts(&[], &piece.text, piece.length - last)
    }

    #[inline(always)]
    fn copy(mut self, text: &[u8]) -> Self {
        self = self.turn();
        let (at, length) = (self.at, text.len());
        // Two pieces that overlap: keys are short.
        if length <= 32
            && let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>())
        {
            self.room[at..at + 16].copy_from_slice(first);
            self.room[at + length - 16..at + length].copy_from_slice(last);
        } else if length <= 16
            && let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>())
        {
            self.room[at..at + 8].copy_from_slice(first);
            self.room[at + length - 8..at + length].copy_from_slice(last);
        } else if let Some(place) = self.room[at..].get_mut(..length) {
            place.copy_from_slice(text);
        }
        self.at += length;
        self.turn()
    }

    // One that is too long stays at its end, and is so until it is finished.
    #[inline(always)]
    fn turn(mut self) -> Self {
        self.at = self.at.min(LINE_BYTES);
        self
    }
}

/// A line of any length.
pub(super) struct Long<'a>(pub(super) &'a mut Vec<u8>);

impl Line for Long<'_> {
    fn parts<const A: usize, const B: usize>(self, first: &[u8; A], second: &[u8; B], length: u8) -> Self {
        self.copy(first).copy(&second[..usize::from(length)])
    }

    fn time<const A: usize, const B: usize>(self, before: &[u8; A], time: &TimeText<'_>, behind: &[u8; B]) -> Self {
        let line = self.copy(before).copy(time.second);
        time.thirds.iter().fold(line, |line, third| line.copy(&third.to_le_bytes()[..3])).copy(behind)
    }

    fn piece_but<const N: usize>(self, piece: &Piece<N>, last: u8) -> Self {
        self.copy(&piece.whole[..piece.whole.len() - usize::from(last)])
    }

    fn copy(self, text: &[u8]) -> Self {
        self.0.extend_from_slice(text);
        self
    }

    fn turn(self) -> Self {
        self
    }
}

/// A piece that is made once and put often, in one go, whatever its length. One of more than `N` bytes can't be put into a room.
#[derive(Debug)]
pub(super) struct Piece<const N: usize> {
    text: [u8; N],
    /// Its length, of one that is short.
    length: u8,
    whole: Vec<u8>,
}

impl<const N: usize> Default for Piece<N> {
    fn default() -> Self {
        Piece { text: [0; N], length: 0, whole: Vec::new() }
    }
}

impl<const N: usize> Piece<N> {
    /// Makes it of these parts.
    pub(super) fn set(&mut self, parts: &[&[u8]]) {
        self.whole.clear();
        for part in parts {
            self.whole.extend_from_slice(part);
        }
        if let Some(place) = self.text.get_mut(..self.whole.len()) {
            place.copy_from_slice(&self.whole);
        }
        self.length = self.whole.len().min(N) as u8;
    }

    /// Whether it can be put into a room.
    pub(super) fn is_short(&self) -> bool {
        self.whole.len() <= N
    }
}

/// Numbers from here on have more than eight digits.
const HUGE: u64 = 100_000_000;

/// A number of up to eight digits, and these, the first in the lowest byte; what is behind them does not count.
#[derive(Clone, Copy)]
pub(super) struct Digits {
    number: u64,
    text: u64,
    length: u8,
}

impl Digits {
    /// Nought.
    pub(super) const ZERO: Digits = Digits { number: 0, text: b'0' as u64, length: 1 };

    /// Of a number that has no more.
    #[inline(always)]
    pub(super) fn new(n: u64) -> Option<Digits> {
        // Most are small.
        if let Some(&small) = usize::try_from(n).ok().and_then(|n| SMALL.get(n)) {
            return Some(Digits { number: n, text: u64::from(small), length: (small >> 24) as u8 });
        }
        (n < HUGE).then(|| Digits::of(n as u32))
    }

    /// Of one from 1000 on.
    #[inline(always)]
    fn of(n: u32) -> Digits {
        let (thousands, low) = (n as usize / 1000, u64::from(THIRDS[n as usize % 1000]));
        let high = |n: usize| SMALL[n % 1000];
        let (high, low, digits) = match thousands {
            0..1000 => (high(thousands), low, 3),
            _ => (high(thousands / 1000), u64::from(THIRDS[thousands % 1000]) | low << 24, 6),
        };
        let length = (high >> 24) as u8;
        let text = u64::from(high & 0xff_ffff) | low << (8 * length);
        Digits { number: u64::from(n), text, length: length + digits }
    }
}

/// Text from traffic, made fit for the inside of a JSON string, on its own.
pub(super) fn escaped(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    Long(&mut escaped).text(text);
    escaped
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

/// The numbers below 1000: their digits, the first in the lowest byte, and in the highest how many.
static SMALL: [u32; 1000] = {
    let mut small = [0; 1000];
    let mut n = 0;
    while n < 1000 {
        let [a, b, c] = [n / 100, n / 10 % 10, n % 10];
        let [a, b, c] = [b'0' + a as u8, b'0' + b as u8, b'0' + c as u8];
        small[n] = u32::from_le_bytes(match n {
            0..10 => [c, 0, 0, 1],
            10..100 => [b, c, 0, 2],
            _ => [a, b, c, 3],
        });
        n += 1;
    }
    small
};

/// The numbers below 1000 with all of their three digits.
static THIRDS: [u32; 1000] = {
    let mut thirds = [0; 1000];
    let mut n = 0;
    while n < 1000 {
        let digits = [n / 100, n / 10 % 10, n % 10];
        thirds[n] = u32::from_le_bytes([b'0' + digits[0] as u8, b'0' + digits[1] as u8, b'0' + digits[2] as u8, 0]);
        n += 1;
    }
    thirds
};

/// Puts a number from 10⁸ on.
#[cold]
fn huge<L: Line>(line: L, n: u64) -> L {
    line.turn().number(n / HUGE).put(&(eight_digits((n % HUGE) as u32) | ZEROS).to_le_bytes())
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether a text can stand in a JSON string as it is.
#[inline(always)]
pub(super) fn is_plain(text: &[u8]) -> bool {
    !has(text, odd)
}

/// The same, and there is no `{` in it, behind which the part of a key may be that decides its cluster slot.
#[inline(always)]
pub(super) fn is_plain_without_brace(text: &[u8]) -> bool {
    !has(text, |bytes| odd(bytes) | is(bytes, b'{'))
}

/// Whether a text has one of the bytes of which `find`, which looks at eight, leaves a highest bit set.
#[inline(always)]
fn has(text: &[u8], find: impl Fn(u64) -> u64) -> bool {
    let find = |bytes: &[u8; 8]| find(u64::from_le_bytes(*bytes));
    let found = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) if text.len() <= 16 => find(first) | find(last),
        (Some(_), Some(last)) => text.as_chunks().0.iter().fold(find(last), |found, bytes| found | find(bytes)),
        _ => text.iter().fold(0, |found, &byte| found | find(&[byte; 8])),
    };
    found & HIGHEST != 0
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHEST: u64 = ONES << 7;

/// Leaves a byte's highest bit set if one of these bytes is not of ASCII, a control character, a quotation mark or a backslash. It
/// is that byte's, unless the one before it borrows of it.
#[inline(always)]
fn odd(bytes: u64) -> u64 {
    bytes | bytes.wrapping_sub(ONES * 0x20) | is(bytes, b'"') | is(bytes, b'\\')
}

/// The same, if one of them is this one, or not of ASCII.
#[inline(always)]
fn is(bytes: u64, byte: u8) -> u64 {
    (bytes ^ (ONES * u64::from(byte))).wrapping_sub(ONES)
}

#[cold]
fn foreign<L: Line>(mut line: L, text: &[u8]) -> L {
    if let Ok(text) = std::str::from_utf8(text) {
        return escape(line, text, br"\\");
    }
    for chunk in text.utf8_chunks() {
        line = escape(line, chunk.valid(), br"\\\\");
        for &byte in chunk.invalid() {
            line = line.put(br"\\x").put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    line
}

/// Escapes what JSON wants escaped; `backslash` is what becomes of a backslash.
fn escape<L: Line>(mut line: L, text: &str, backslash: &[u8]) -> L {
    for &byte in text.as_bytes() {
        line = match byte {
            b'"' => line.put(br#"\""#),
            b'\\' => line.copy(backslash),
            b'\n' => line.put(br"\n"),
            b'\r' => line.put(br"\r"),
            b'\t' => line.put(br"\t"),
            0..0x20 => line.put(br"\u00").put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            _ => line.put(&[byte]),
        };
    }
    line
}

/// Bytes of a timestamp's text up to its fraction.
const SECOND_BYTES: usize = "2026-11-22T12:00:00.".len();

/// And of all of it but for its `Z`.
const TIME_BYTES: usize = SECOND_BYTES + 9;

/// A time as text, in parts: up to its fraction, and the digits of that, three by three.
#[derive(Clone, Copy)]
pub(super) struct TimeText<'a> {
    second: &'a [u8; SECOND_BYTES],
    thirds: [u32; 3],
}

const SECOND_NS: u64 = 1_000_000_000;

/// Makes times text; the last second is kept formatted.
#[derive(Debug)]
pub(super) struct Clock {
    /// When it began.
    begin: u64,
    text: [u8; SECOND_BYTES],
}

impl Default for Clock {
    fn default() -> Self {
        Clock { begin: 0, text: second_text(Timestamp(0)) }
    }
}

impl Clock {
    /// The text of a time.
    #[inline(always)]
    pub(super) fn text(&mut self, at: Timestamp) -> TimeText<'_> {
        let mut fraction = at.0.wrapping_sub(self.begin);
        if fraction >= SECOND_NS {
            fraction = self.turn(at);
        }
        let fraction = fraction as usize;
        let thirds = [fraction / 1_000_000 % 1000, fraction / 1000 % 1000, fraction % 1000];
        TimeText { second: &self.text, thirds: thirds.map(|third| THIRDS[third]) }
    }

    /// Another second it is; answers the fraction.
    #[cold]
    fn turn(&mut self, at: Timestamp) -> u64 {
        let fraction = at.0 % SECOND_NS;
        self.begin = at.0 - fraction;
        self.text = second_text(Timestamp(self.begin));
        fraction
    }
}

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

    /// What is put; into a room and into a line of any length it is the same.
    macro_rules! put {
        (|$line:ident| $put:expr) => {{
            let mut room = [0; ROOM_BYTES];
            let $line = Room::new(&mut room);
            let length = $put.finish().unwrap();
            let mut long = Vec::new();
            let $line = Long(&mut long);
            let _ = $put;
            assert_eq!(room[..length], long);
            String::from_utf8(long).unwrap()
        }};
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
            prop_assert_eq!(put!(|line| line.field(b"x", number)), format!("x{number}"));
        }

        #[test]
        fn times_are_as_units_print_them(times in proptest::collection::vec(any::<u64>(), 1..8), step: u32) {
            let mut clock = Clock::default();
            for at in times.iter().flat_map(|&at| [at, at.wrapping_add(u64::from(step)), at]) {
                let text = clock.text(Timestamp(at));
                prop_assert_eq!(put!(|line| line.time(b"", &text, b"Z\"")), Timestamp(at).to_string() + "\"");
            }
        }
    }

    #[test]
    fn texts_of_all_lengths_are_copied_whole() {
        let text: Vec<u8> = (b'A'..=b'Z').cycle().take(100).collect();
        for length in 0..text.len() {
            let text = &text[..length];
            assert_eq!(put!(|line| line.put(b"[").copy(text).put(b"]")).as_bytes(), [b"[", text, b"]"].concat());
        }
    }

    #[test]
    fn one_odd_byte_is_found_wherever_it_is() {
        for length in 1..40 {
            for (at, odd) in (0..length).flat_map(|at| [0, 0x1f, b'"', b'\\', 0x80, 0xff].map(|odd| (at, odd))) {
                let mut text = vec![b'~'; length];
                assert!(is_plain(&text));
                text[at] = odd;
                assert!(!is_plain(&text), "{odd:#x} at {at} of {length}");
            }
        }
        assert!(is_plain(&(0x20..0x80).filter(|byte| !b"\"\\".contains(byte)).collect::<Vec<_>>()));
    }

    #[test]
    fn a_line_that_becomes_too_long_for_its_room_is_none() {
        let mut clock = Clock::default();
        let time = clock.text(Timestamp(1));
        let mut piece = Piece::<16>::default();
        piece.set(&[b"less than", b" it has"]);
        for length in LINE_BYTES - 64..3 * LINE_BYTES {
            let text = vec![b'x'; length];
            let mut long = Vec::new();
            Long(&mut long).text(&text).time(b"<", &time, b">").number(u64::MAX).piece(&piece).put(b"!");
            let mut room = [0; ROOM_BYTES];
            let line =
                Room::new(&mut room).text(&text).time(b"<", &time, b">").number(u64::MAX).piece(&piece).put(b"!");
            let found = line.finish();
            assert_eq!(found, Some(long.len()).filter(|&length| length < LINE_BYTES));
            assert!(found.is_none_or(|length| room[..length] == long));
        }
    }

    #[test]
    fn round_numbers_have_all_their_digits() {
        let edges = (0..20).map(|power| 10u64.pow(power)).flat_map(|number| [number - 1, number, number + 1]);
        for number in edges.chain([u64::MAX]) {
            let text = put!(|line| {
                // The same number once more is the one before.
                let mut last = Digits::ZERO;
                line.field_like(b"", number, &mut last).field_like(b" ", number, &mut last)
            });
            assert_eq!(text, format!("{number} {number}"));
        }
    }
}
