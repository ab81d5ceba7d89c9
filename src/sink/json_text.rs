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

/// The two decimal digits of 0 … 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// A number in decimal.
#[inline]
pub(super) fn append_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while n >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(n % 100) as usize]);
        n /= 100;
    }
    // What is left is a first digit, or nothing after a full pair (0 itself has its digit).
    if n > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + n as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A number as 16 hexadecimal digits.
pub(super) fn append_hex(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0; 16];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = HEX[(n >> (60 - 4 * place)) as usize & 15];
    }
    out.extend_from_slice(&digits);
}

/// Whether a byte can stand in a JSON string as it is, without looking at its neighbours.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

/// Text from traffic, made fit for the inside of a JSON string.
#[inline]
pub(super) fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|&byte| PLAIN[usize::from(byte)]) {
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

/// Bytes of a timestamp's text.
pub(super) const TIME_BYTES: usize = "2026-11-22T12:00:00.000000123Z".len();

/// Timestamps as text; the last two seconds are kept formatted.
#[derive(Debug)]
pub(super) struct Clock {
    cached: [(u64, [u8; TIME_BYTES]); 2],
}

impl Default for Clock {
    fn default() -> Self {
        Clock { cached: [(u64::MAX, [0; TIME_BYTES]); 2] }
    }
}

impl Clock {
    #[inline]
    pub(super) fn text(&mut self, at: Timestamp) -> [u8; TIME_BYTES] {
        const SECOND: u64 = 1_000_000_000;
        let second = at.0 / SECOND;
        let (cached, text) = &mut self.cached[(second & 1) as usize];
        if *cached != second {
            let mut rest = &mut text[..];
            // The text of a second always has this length; see the test of `Timestamp`.
            let written = write!(rest, "{}", Timestamp(second * SECOND));
            debug_assert!(written.is_ok() && rest.is_empty());
            *cached = second;
        }
        let mut text = *text;
        let mut fraction = at.0 % SECOND;
        for place in [27, 25, 23, 21] {
            text[place..place + 2].copy_from_slice(&PAIRS[(fraction % 100) as usize]);
            fraction /= 100;
        }
        text[20] = b'0' + fraction as u8;
        text
    }
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
            let (mut decimal, mut hexadecimal) = (Vec::new(), Vec::new());
            append_number(&mut decimal, number);
            append_hex(&mut hexadecimal, number);
            prop_assert_eq!(String::from_utf8(decimal).unwrap(), number.to_string());
            prop_assert_eq!(String::from_utf8(hexadecimal).unwrap(), format!("{number:016x}"));
        }

        #[test]
        fn times_are_as_units_print_them(times in proptest::collection::vec(any::<u64>(), 1..8), step: u32) {
            let mut clock = Clock::default();
            for at in times.iter().flat_map(|&at| [at, at.wrapping_add(u64::from(step)), at]) {
                let text = clock.text(Timestamp(at));
                prop_assert_eq!(std::str::from_utf8(&text).unwrap(), Timestamp(at).to_string());
            }
        }
    }

    #[test]
    fn round_numbers_have_all_their_digits() {
        for number in [0, 9, 10, 99, 100, 101, 999, 1000, 10_000, u64::MAX] {
            let mut decimal = Vec::new();
            append_number(&mut decimal, number);
            assert_eq!(String::from_utf8(decimal).unwrap(), number.to_string());
        }
    }
}
