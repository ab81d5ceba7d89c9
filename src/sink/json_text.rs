//! The parts of which JSON lines are made: numbers, times, and text from traffic.
//!
//! Everything appends to a buffer and allocates nothing itself. Whatever a text contains, what is appended is valid UTF-8
//! and fit for the inside of a JSON string. Text is shown as it is where it is UTF-8; where it has bytes that are not, these
//! appear as `\xHH` and its literal backslashes as `\\`, so that the two can be told apart.

use std::io::Write;

use crate::units::Timestamp;

/// `name` (with its punctuation) and a number.
#[inline]
pub(super) fn append_field(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    append_number(out, value);
}

/// `name` (with its punctuation), a word of our own, which needs no escaping, and the closing quote.
#[inline]
pub(super) fn append_word(out: &mut Vec<u8>, name: &[u8], word: &str) {
    out.extend_from_slice(name);
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
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

/// A number in decimal.
#[inline]
pub(super) fn append_number(out: &mut Vec<u8>, n: u64) {
    if n < 10 {
        out.push(b'0' + n as u8);
    } else if n < 100_000_000 {
        let digits = eight_digits(n as u32);
        let leading = digits.trailing_zeros() / 8;
        let end = out.len() + 8 - leading as usize;
        out.extend_from_slice(&((digits | ZEROS) >> (8 * leading)).to_le_bytes());
        out.truncate(end);
    } else {
        append_number(out, n / 100_000_000);
        out.extend_from_slice(&(eight_digits((n % 100_000_000) as u32) | ZEROS).to_le_bytes());
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether a byte can stand in a JSON string as it is, without looking at its neighbours.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "without branches it becomes vector instructions")]
fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Text from traffic, made fit for the inside of a JSON string.
#[inline]
pub(super) fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    // All bytes are looked at, whatever the first ones say: that takes a few vector instructions.
    if text.iter().fold(true, |plain, &byte| plain & is_plain(byte)) {
        out.extend_from_slice(text);
    } else {
        append_foreign(out, text);
    }
}

#[cold]
fn append_foreign(out: &mut Vec<u8>, text: &[u8]) {
    if let Ok(text) = std::str::from_utf8(text) {
        append_escaped(out, text, br"\\");
        return;
    }
    for chunk in text.utf8_chunks() {
        append_escaped(out, chunk.valid(), br"\\\\");
        for &byte in chunk.invalid() {
            out.extend_from_slice(br"\\x");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Escapes what JSON wants escaped; `backslash` is what becomes of a backslash.
fn append_escaped(out: &mut Vec<u8>, text: &str, backslash: &[u8]) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(backslash),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            0..0x20 => {
                out.extend_from_slice(br"\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

/// Bytes of a timestamp's text up to its fraction.
const SECOND_BYTES: usize = "2026-11-22T12:00:00.".len();

/// Timestamps as text; the last two seconds are kept formatted.
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
    /// The text of `Timestamp`'s own `Display`, and a closing quote.
    #[inline]
    pub(super) fn append(&mut self, out: &mut Vec<u8>, at: Timestamp) {
        const SECOND: u64 = 1_000_000_000;
        let (second, fraction) = (at.0 / SECOND, (at.0 % SECOND) as u32);
        let (cached, text) = &mut self.cached[(second & 1) as usize];
        if *cached != second {
            *cached = second;
            *text = second_text(Timestamp(second * SECOND));
        }
        out.extend_from_slice(text);
        out.push(b'0' + (fraction / 100_000_000) as u8);
        out.extend_from_slice(&(eight_digits(fraction % 100_000_000) | ZEROS).to_le_bytes());
        out.extend_from_slice(b"Z\"");
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

    fn text(from: &[u8]) -> String {
        let mut json = b"\"".to_vec();
        append_text(&mut json, from);
        json.push(b'"');
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
            let mut decimal = b"x".to_vec();
            append_number(&mut decimal, number);
            prop_assert_eq!(String::from_utf8(decimal).unwrap(), format!("x{number}"));
        }

        #[test]
        fn times_are_as_units_print_them(times in proptest::collection::vec(any::<u64>(), 1..8), step: u32) {
            let mut clock = Clock::default();
            for at in times.iter().flat_map(|&at| [at, at.wrapping_add(u64::from(step)), at]) {
                let mut text = Vec::new();
                clock.append(&mut text, Timestamp(at));
                prop_assert_eq!(String::from_utf8(text).unwrap(), Timestamp(at).to_string() + "\"");
            }
        }
    }

    #[test]
    fn round_numbers_have_all_their_digits() {
        let edges = (0..20).map(|power| 10u64.pow(power)).flat_map(|number| [number - 1, number, number + 1]);
        for number in edges.chain([u64::MAX]) {
            let mut decimal = Vec::new();
            append_number(&mut decimal, number);
            assert_eq!(String::from_utf8(decimal).unwrap(), number.to_string());
        }
    }
}
