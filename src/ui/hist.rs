//! `resptap hist`: percentiles of merged interval logs, and their export as a percentile distribution.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::export::hgrm::{self, Unit};
use crate::export::hlog_reader::{HlogReadError, Merged, UNTAGGED, merge};
use crate::record::histograms::{Histogram, mean_ns};

use super::format::{self, count, latency};

/// The tag of the overall latency.
const OVERALL: &str = "*|*|latency";
/// The columns before the tag.
const TITLES: [&str; 9] = ["count", "min", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"];
/// Tags that an error message names.
const TAGS_NAMED: usize = 10;

/// `resptap hist` failed.
#[derive(Debug, thiserror::Error)]
pub enum HistError {
    /// A log can't be read.
    #[error(transparent)]
    Log(#[from] HlogReadError),
    /// No tag is wanted.
    #[error("no tag matches {pattern}; the logs have {known}")]
    NoTag {
        /// What `--tag` said.
        pattern: String,
        /// Some of the tags that there are.
        known: String,
    },
    /// The logs hold no histograms.
    #[error("the logs hold no histograms: nothing was logged, or these are not the logs of --hist-log")]
    Empty,
    /// A distribution has one tag.
    #[error("--hgrm writes one distribution, but {tags} tags are selected; name one with --tag: {known}")]
    SeveralTags {
        /// How many.
        tags: usize,
        /// Some of them.
        known: String,
    },
    /// The distribution can't be written.
    #[error("{path} can't be written: {source}")]
    Hgrm {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The table can't be written.
    #[error("printing the percentiles failed: {0}")]
    Print(#[source] io::Error),
}

/// Merges `files`, prints a row for each tag that matches `tag` (`*` stands for any text, `?` for one character; a tag
/// that is spelt exactly so is taken alone), and writes the distribution of the one selected tag, or of the overall latency
/// if none is named, to `hgrm`.
pub fn run(files: &[PathBuf], tag: Option<&str>, hgrm: Option<&Path>, out: &mut dyn Write) -> Result<(), HistError> {
    let export = hgrm.map(Export::open).transpose()?;
    let mut merged = merge(files, |name| tag.is_none_or(|pattern| matches(pattern, name)))?;
    if let Some(pattern) = tag {
        if merged.tags.contains_key(pattern) {
            merged.tags.retain(|name, _| name == pattern);
        }
        if merged.tags.is_empty() {
            let known = named(&merge(files, |_| true)?);
            return Err(HistError::NoTag { pattern: pattern.to_owned(), known });
        }
    }
    if merged.tags.is_empty() {
        return Err(HistError::Empty);
    }
    if let Some(export) = export {
        export.write(selected(&merged, tag.is_some())?)?;
    }
    format::unless_enough(print(files.len(), &merged, out)).map_err(HistError::Print)
}

/// The one distribution to be exported.
fn selected(merged: &Merged, is_named: bool) -> Result<&Histogram, HistError> {
    let overall = if is_named { None } else { merged.tags.get(OVERALL).or_else(|| merged.tags.get(UNTAGGED)) };
    let only = || if merged.tags.len() == 1 { merged.tags.values().next() } else { None };
    overall.or_else(only).ok_or_else(|| HistError::SeveralTags { tags: merged.tags.len(), known: named(merged) })
}

fn named(merged: &Merged) -> String {
    let mut known: Vec<&str> = merged.tags.keys().take(TAGS_NAMED).map(String::as_str).collect();
    if merged.tags.len() > TAGS_NAMED {
        known.push("…");
    }
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

/// A distribution file, opened before the work begins, emptied only when there is something to write.
struct Export<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Export<'a> {
    fn open(path: &'a Path) -> Result<Export<'a>, HistError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        match file {
            Ok(file) => Ok(Export { path, file }),
            Err(source) => Err(HistError::Hgrm { path: path.display().to_string(), source }),
        }
    }

    fn write(self, histogram: &Histogram) -> Result<(), HistError> {
        let write = || {
            // Devices and pipes have no length.
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            let mut out = BufWriter::new(&self.file);
            hgrm::write(histogram, Unit::Milliseconds, &mut out)?;
            out.flush()
        };
        write().map_err(|source| HistError::Hgrm { path: self.path.display().to_string(), source })
    }
}

fn print(files: usize, merged: &Merged, out: &mut dyn Write) -> io::Result<()> {
    let logs = if files == 1 { "1 log".to_owned() } else { format!("{files} logs") };
    write!(out, "{logs}, {} histograms", count(merged.intervals))?;
    if let Some((from, to)) = merged.span {
        write!(out, ", {} to {} ({})", format::instant(from), format::instant(to), format::span(to.since(from)))?;
    }
    writeln!(out, "\n")?;
    // Tags come last, so that rows stay lined up however long they are.
    let rows: Vec<_> = ordered(merged).into_iter().map(|(tag, histogram)| (cells(histogram), tag)).collect();
    let mut widths = TITLES.map(str::len);
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; 9], tag: &str| {
        for (cell, width) in cells.iter().zip(widths) {
            write!(out, "{cell:>width$}  ")?;
        }
        writeln!(out, "{tag}")
    };
    line(TITLES, "tag")?;
    rows.iter().try_for_each(|(cells, tag)| line(cells.each_ref().map(String::as_str), tag))
}

/// What has no tag first, then overall before commands before servers.
fn ordered(merged: &Merged) -> Vec<(&str, &Histogram)> {
    let mut rows: Vec<_> = merged.tags.iter().map(|(tag, histogram)| (tag.as_str(), histogram)).collect();
    let rank = |tag: &str| match tag {
        UNTAGGED => 0,
        tag if tag.starts_with("*|*|") => 1,
        tag if tag.starts_with("*|") => 2,
        _ => 3,
    };
    rows.sort_by_key(|&(tag, _)| (rank(tag), tag));
    rows
}

fn cells(histogram: &Histogram) -> [String; 9] {
    if histogram.is_empty() {
        return std::array::from_fn(|column| if column == 0 { "0".to_owned() } else { "-".to_owned() });
    }
    let at = |quantile| latency(histogram.value_at_quantile(quantile));
    [
        count(histogram.len()),
        latency(histogram.min()),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(0.9999),
        latency(histogram.max()),
        latency(mean_ns(histogram)),
    ]
}

/// Whether `text` has the form of `pattern`, in time of at most the product of their lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // The last star, and where the text that it stands for ends for now.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((place, end)) = star else { return false };
                star = Some((place, end + 1));
                at = place + 1;
                from = end + 1;
            }
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::export::hlog::HlogWriter;
    use crate::record::room::Bounded;
    use crate::record::totals::{SeriesKey, Totals};
    use crate::units::{Address, Endpoint, Timestamp};

    /// A log of one interval: 4,000 GETs of 1 µs to 4 ms and a SET.
    fn log() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hlog");
        let mut totals = Totals::default();
        let server = Some(Endpoint { address: Address::from_ipv4([10, 0, 0, 9]), port: 6379 });
        for (command, count) in [("GET", 4000), ("SET", 1)] {
            let mut latency = crate::record::histograms::histogram(3);
            (1..=count).for_each(|value| latency.record(value * 1000).unwrap());
            totals.latency.add(&latency).unwrap();
            totals
                .series
                .insert(SeriesKey { server, command: command.into(), blocking: false }, Bounded::Kept(latency));
        }
        let from = Timestamp(1_795_348_800_000_000_000);
        let mut writer = HlogWriter::create(&path, 10).unwrap();
        writer.interval(from, from.after(10_000_000_000), &totals).unwrap();
        writer.finish().unwrap();
        (directory, path)
    }

    fn shown(files: &[PathBuf], tag: Option<&str>, hgrm: Option<&Path>) -> Result<String, HistError> {
        let mut out = Vec::new();
        run(files, tag, hgrm, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn merged_logs_are_a_row_per_tag_the_overall_ones_first() {
        let (_directory, path) = log();
        let text = shown(&[path.clone(), path], None, None).unwrap();
        assert_eq!(
            text,
            "2 logs, 16 histograms, 2026-11-22 12:00:00.000 UTC to 2026-11-22 12:00:10.000 UTC (10.0 s)

count      min      p50      p90      p99    p99.9   p99.99      max     mean  tag
8,002  1.00 µs  2.00 ms  3.60 ms  3.96 ms  4.00 ms  4.00 ms  4.00 ms  2.00 ms  *|*|latency
    0        -        -        -        -        -        -        -        -  *|*|queue
    0        -        -        -        -        -        -        -        -  *|*|server
    0        -        -        -        -        -        -        -        -  *|*|transfer
8,000  1.00 µs  2.00 ms  3.60 ms  3.96 ms  4.00 ms  4.00 ms  4.00 ms  2.00 ms  *|GET|latency
    2  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  *|SET|latency
8,000  1.00 µs  2.00 ms  3.60 ms  3.96 ms  4.00 ms  4.00 ms  4.00 ms  2.00 ms  10.0.0.9:6379|GET|latency
    2  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  1.00 µs  10.0.0.9:6379|SET|latency
"
        );
    }

    #[test]
    fn tags_are_chosen_by_pattern_and_an_exact_one_stands_alone() {
        let (_directory, path) = log();
        let rows = |tag| shown(slice::from_ref(&path), Some(tag), None).unwrap().lines().count() - 3;
        assert_eq!(rows("*|latency"), 5);
        assert_eq!(rows("10.0.0.9:6379|*"), 2);
        assert_eq!(rows("*|GET|latency"), 1, "a tag, not a pattern");
        let error = shown(slice::from_ref(&path), Some("HGET"), None).unwrap_err().to_string();
        assert!(error.starts_with("no tag matches HGET; the logs have *|*|latency, "), "{error}");
    }

    #[test]
    fn the_distribution_is_that_of_the_selected_tag() {
        let (directory, path) = log();
        let hgrm = directory.path().join("out.hgrm");
        std::fs::write(&hgrm, "x".repeat(100_000)).unwrap();
        shown(slice::from_ref(&path), None, Some(&hgrm)).unwrap();
        let text = std::fs::read_to_string(&hgrm).unwrap();
        assert!(text.starts_with("       Value ") && text.contains("Total count    =         4001]"), "{text}");
        shown(slice::from_ref(&path), Some("*|SET|latency"), Some(&hgrm)).unwrap();
        assert!(std::fs::read_to_string(&hgrm).unwrap().contains("    0.001000 1.000000000000          1\n"));
        let error = shown(slice::from_ref(&path), Some("*|latency"), Some(&hgrm)).unwrap_err();
        assert!(matches!(error, HistError::SeveralTags { tags: 5, .. }), "{error}");
        for unwritable in ["/dev/full", "no/such/directory/x.hgrm"] {
            let error = shown(slice::from_ref(&path), None, Some(Path::new(unwritable))).unwrap_err();
            assert!(matches!(error, HistError::Hgrm { .. }), "{error}");
        }
    }

    #[test]
    fn logs_without_histograms_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("empty.hlog");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(shown(&[path], None, None), Err(HistError::Empty)));
        assert!(matches!(shown(&[directory.path().join("none")], None, None), Err(HistError::Log(_))));
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*", "abc", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxx", false),
            ("*|GET|*", "10.0.0.9:6379|GET|latency", true),
            ("ab", "abc", false),
            ("é*", "éa", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
