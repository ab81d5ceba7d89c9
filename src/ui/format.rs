//! Numbers as people read them, and columns that line up.

use std::io::{self, Write};

use crate::units::Timestamp;

/// How to print for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether it shows colours: only if it is a terminal.
    pub colour: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style { width: 80, colour: false }
    }
}

impl Style {
    /// A heading.
    pub fn heading(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something that deserves attention.
    pub fn warning(self, text: &str) -> String {
        if self.colour { format!("\x1b[33m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A latency in three digits: `853 ns`, `85.3 µs`, `1.23 s`.
pub fn latency(ns: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")];
    for (ratio, unit) in UNITS {
        let value = ns as f64 / ratio;
        let decimals = match value {
            _ if unit == "ns" => 0,
            value if value < 9.995 => 2,
            value if value < 99.95 => 1,
            _ => 0,
        };
        if value < 999.5 || unit == "s" {
            return format!("{value:.decimals$} {unit}");
        }
    }
    unreachable!("the last unit takes everything")
}

/// A length of time in its two largest units: `2 h 13 min`, `12.3 s`.
pub fn span(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..100 => latency(ns),
        100..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A point in time to the millisecond: `2026-11-22 12:00:00.123 UTC`.
pub fn instant(at: Timestamp) -> String {
    let text = at.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} UTC", time.get(..12).unwrap_or(time))
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 packet`, `1,234 packets`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// An amount of data: `17 B`, `1.5 KiB`, `466 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A text from traffic, fit for a terminal: what would move its cursor or colours is written out.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// An error with its causes, each said once: many of our errors name their cause themselves.
pub fn chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .reduce(|said, cause| if said.contains(&cause) { said } else { format!("{said}: {cause}") })
        .unwrap_or_default()
}

/// `resptap … | head`: whoever read has seen enough, and nothing has failed.
pub fn unless_enough(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Rows of a name and numbers below a heading: names to the left, numbers to the right, all lined up.
#[derive(Debug)]
pub struct Columns {
    heading: String,
    /// Fewest columns of the names.
    names: usize,
    titles: Vec<(String, usize)>,
    rows: Vec<(String, Vec<String>)>,
}

/// Space before a row.
const INDENT: usize = 2;
/// Space before a column.
const GAP: usize = 2;

impl Columns {
    /// Columns under these titles, names and numbers at least so wide (so that several tables can line up).
    pub fn new(heading: &str, names: usize, titles: &[(&str, usize)]) -> Columns {
        let titles = titles.iter().map(|&(title, width)| (title.to_owned(), width)).collect();
        Columns { heading: heading.to_owned(), names, titles, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, cells: Vec<String>) {
        self.rows.push((name.into(), cells));
    }

    /// Prints heading and rows; a name that is too long for its column has a line of its own.
    pub fn print(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let width = |(column, (title, least)): (usize, &(String, usize))| {
            let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells.map(|cell| length(cell)).chain([length(title), *least]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.titles.iter().enumerate().map(width).collect();
        let numbers: usize = widths.iter().map(|width| width + GAP).sum();
        let longest = self.rows.iter().map(|(name, _)| length(name)).chain([self.names]).max().unwrap_or(0);
        let names = longest.min(style.width.saturating_sub(numbers + INDENT)).max(length(&self.heading));
        // Padding is counted without the marks of colours.
        let padding = names + INDENT - length(&self.heading);
        write!(out, "{}{:padding$}", style.heading(&self.heading), "")?;
        line(out, self.titles.iter().map(|(title, _)| title), &widths)?;
        for (name, cells) in &self.rows {
            if length(name) > names {
                writeln!(out, "{:INDENT$}{name}", "")?;
                write!(out, "{:1$}", "", names + INDENT)?;
            } else {
                write!(out, "{:INDENT$}{name:names$}", "")?;
            }
            line(out, cells.iter(), &widths)?;
        }
        Ok(())
    }
}

fn line<'a>(out: &mut dyn Write, cells: impl Iterator<Item = &'a String>, widths: &[usize]) -> io::Result<()> {
    for (cell, width) in cells.zip(widths) {
        write!(out, "{:>1$}", cell, width + GAP)?;
    }
    writeln!(out)
}

/// Columns that a text takes; all that we print takes one per character.
fn length(text: &str) -> usize {
    text.chars().count()
}

/// Breaks a text into lines of at most `width` characters, at spaces where there are any.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a last line");
        if line.is_empty() {
            line.push_str(word);
        } else if length(line) + 1 + length(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn latencies_have_three_digits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1000, "1.00 µs"),
            (9994, "9.99 µs"),
            (9996, "10.0 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(latency(ns), text);
        }
    }

    #[test]
    fn counts_sizes_and_spans_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 1000].map(|n| counted(n, "packet")), ["0 packets", "1 packet", "1,000 packets"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([0, 1023, 1024, 10_239, 1 << 20].map(bytes), ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB"]);
        assert_eq!([1023 << 20, u64::MAX].map(bytes), ["1.0 GiB", "16 EiB"]);
        assert_eq!([12_345_678_901, 150 * SECOND].map(span), ["12.3 s", "2 min 30 s"]);
        assert_eq!([7980 * SECOND, 90_000 * SECOND].map(span), ["2 h 13 min", "1 d 1 h"]);
    }

    #[test]
    fn columns_line_up_within_the_width() {
        let mut columns = Columns::new("NAME", 0, &[("count", 0), ("p50", 0)]);
        columns.row("a", vec!["1".into(), "85.3 µs".into()]);
        columns.row("a rather long name", vec!["1,000".into(), "1 ns".into()]);
        let print = |width| {
            let mut out = Vec::new();
            columns.print(Style { width, colour: false }, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            print(80),
            "NAME                  count      p50\n  a                       1  85.3 µs\n  a rather long name  1,000     1 ns\n"
        );
        assert_eq!(
            print(24),
            "NAME      count      p50\n  a           1  85.3 µs\n  a rather long name\n          1,000     1 ns\n"
        );
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let cause = || io::Error::other("the disk is on fire");
        assert_eq!(chain(&anyhow::Error::new(cause()).context("no luck")), "no luck: the disk is on fire");
        let named = anyhow::Error::new(cause()).context("no luck: the disk is on fire");
        assert_eq!(chain(&named), "no luck: the disk is on fire");
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_failure() {
        assert!(unless_enough(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_enough(Err(io::ErrorKind::StorageFull.into())).is_err());
        assert!(unless_enough(Ok(())).is_ok());
    }

    #[test]
    fn text_wraps_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible a b", 5), ["incomprehensible", "a b"]);
    }
}
