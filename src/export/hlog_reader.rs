//! Reading interval logs back: those of any number of sensors, and those of other tools, merged by tag.
//!
//! Logs are read line by line, so memory is bounded by one histogram per tag and the longest line. What a log declares is
//! checked before it is believed: a damaged log is an error that names file and line, never a panic or a large allocation.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry};

use crate::record::histograms::{Histogram, histogram as empty};
use crate::units::Timestamp;

/// The tag of intervals that have none.
pub const UNTAGGED: &str = "default";

/// Longest line, in bytes. A histogram of the finest resolution that the tools know stays far below.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of one histogram's counts, decompressed.
const COUNTS_BYTES_MAX: u64 = 64 << 20;
/// Most recorded values of one histogram; more is no measurement.
const VALUES_MAX: u64 = 1 << 56;
/// A year: how the tools tell times since the epoch from times since the log's start.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// Interval logs can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HlogReadError {
    /// The file can't be opened or read.
    #[error("the histogram log {path} can't be read: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A line is not what an interval log has.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// Which file.
        path: String,
        /// 1-based.
        line: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
}

/// What is wrong with a line of an interval log.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LineProblem {
    /// It has neither the form of an interval nor that of a comment.
    #[error(
        "this is neither an interval (Tag=…,start,length,max,histogram) nor a comment; is this an HdrHistogram interval log?"
    )]
    Form,
    /// It ends without a line feed and is not whole.
    #[error("the line is cut short; the log was copied while it was written, or its disk was full")]
    CutShort,
    /// It is longer than any histogram.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes; no histogram is that long")]
    TooLong,
    /// The histogram is not base64.
    #[error("the histogram is not base64 text: {0}")]
    Base64(base64::DecodeError),
    /// The histogram is not in one of the formats that are read.
    #[error("the histogram can't be decoded: {0}; versions V2 and V2 compressed are read")]
    Histogram(String),
}

/// Logs put together.
#[derive(Debug, Default)]
pub struct Merged {
    /// A histogram per tag.
    pub tags: BTreeMap<String, Histogram>,
    /// Beginning of the first interval and end of the last one, of all that were read.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Intervals that were put together, one per line.
    pub intervals: u64,
}

/// Reads and merges logs; only tags that `wanted` wants.
pub fn merge<P: AsRef<Path>>(paths: &[P], wanted: impl Fn(&str) -> bool) -> Result<Merged, HlogReadError> {
    let mut merged = Merged::default();
    for path in paths {
        let path = path.as_ref();
        let read = |source| HlogReadError::Read { path: path.display().to_string(), source };
        let file = File::open(path).map_err(read)?;
        let mut log = Log { merged: &mut merged, wanted: &wanted, start: None, base: None, known: false };
        let mut lines = BufReader::new(file);
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            number += 1;
            if lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(read)? == 0 {
                break;
            }
            log.line(&mut line).map_err(|problem| HlogReadError::Line {
                path: path.display().to_string(),
                line: number,
                problem,
            })?;
        }
    }
    Ok(merged)
}

/// One log while it is read.
struct Log<'a, F> {
    merged: &'a mut Merged,
    wanted: &'a F,
    start: Option<Duration>,
    base: Option<Duration>,
    /// Whether a line was as an interval log has it.
    known: bool,
}

impl<F: Fn(&str) -> bool> Log<'_, F> {
    fn line(&mut self, line: &mut Vec<u8>) -> Result<(), LineProblem> {
        let whole = line.ends_with(b"\n");
        if !whole {
            if line.len() as u64 >= LINE_BYTES_MAX {
                return Err(LineProblem::TooLong);
            }
            line.push(b'\n');
        }
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        // A last line that lacks only its line feed is as good as any; one that was not finished can't be decoded.
        self.entry(line).map_err(|problem| if whole || !self.known { problem } else { LineProblem::CutShort })?;
        self.known = true;
        Ok(())
    }

    fn entry(&mut self, line: &[u8]) -> Result<(), LineProblem> {
        match IntervalLogIterator::new(line).next() {
            None => Ok(()),
            Some(Err(_)) => Err(LineProblem::Form),
            Some(Ok(LogEntry::StartTime(at))) => {
                self.start = Some(at);
                Ok(())
            }
            Some(Ok(LogEntry::BaseTime(at))) => {
                self.base = Some(at);
                Ok(())
            }
            Some(Ok(LogEntry::Interval(interval))) => self.interval(&interval),
        }
    }

    fn interval(&mut self, interval: &IntervalLogHistogram<'_>) -> Result<(), LineProblem> {
        let tag = interval.tag().map_or(UNTAGGED, |tag| tag.as_str());
        if !(self.wanted)(tag) {
            return Ok(());
        }
        let histogram = decode(interval.encoded_histogram())?;
        let sum = self.merged.tags.entry(tag.to_owned()).or_insert_with(|| empty(histogram.sigfig()));
        if sum.len().saturating_add(histogram.len()) > VALUES_MAX {
            return Err(LineProblem::Histogram(format!("more than {VALUES_MAX} values")));
        }
        sum.add(&histogram).map_err(|error| LineProblem::Histogram(error.to_string()))?;
        self.merged.intervals += 1;
        let from = self.absolute(interval.start_timestamp());
        let to = from.saturating_add(interval.duration());
        let (from, to) = (timestamp(from), timestamp(to));
        self.merged.span = Some(self.merged.span.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        Ok(())
    }

    /// An interval's time since the epoch. Without a base, times much smaller than the start count from there, as in the
    /// Java tools.
    fn absolute(&self, at: Duration) -> Duration {
        match (self.base, self.start) {
            (Some(base), _) => base.saturating_add(at),
            (None, Some(start)) if at.saturating_add(YEAR) < start => start.saturating_add(at),
            _ => at,
        }
    }
}

fn timestamp(at: Duration) -> Timestamp {
    Timestamp(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))
}

const V2: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();
const V2_COMPRESSED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
/// Bytes of a V2 histogram before its counts: cookie, length of the counts, offset, digits, lowest, highest, ratio.
const V2_HEADER_BYTES: usize = 40;

/// Decodes a histogram. The library trusts the lengths that it finds; so it is given only what has been checked.
fn decode(encoded: &str) -> Result<Histogram, LineProblem> {
    let problem = |text: &str| LineProblem::Histogram(text.to_owned());
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim_end()).map_err(LineProblem::Base64)?;
    let bytes = match bytes.split_first_chunk::<4>() {
        Some((&V2, _)) => bytes,
        Some((&V2_COMPRESSED, rest)) => {
            let compressed = rest.get(4..).ok_or_else(|| problem("it ends within its header"))?;
            let mut plain = Vec::new();
            flate2::read::ZlibDecoder::new(compressed)
                .take(COUNTS_BYTES_MAX)
                .read_to_end(&mut plain)
                .map_err(|error| LineProblem::Histogram(error.to_string()))?;
            plain
        }
        _ => return Err(problem("its first bytes are those of no known version")),
    };
    if !bytes.starts_with(&V2) {
        return Err(problem("what is compressed in it is no histogram"));
    }
    let counts = bytes.get(V2_HEADER_BYTES..).ok_or_else(|| problem("it ends within its header"))?;
    let declared = bytes[4..].first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
    if declared as usize != counts.len() {
        return Err(LineProblem::Histogram(format!("{declared} bytes of counts declared, {} found", counts.len())));
    }
    // The one number that the library can't negate.
    if counts.windows(9).any(|number| number == [0xff; 9]) {
        return Err(problem("a number in it is out of range"));
    }
    let histogram: Histogram =
        Deserializer::new().deserialize(&mut &bytes[..]).map_err(|error| LineProblem::Histogram(error.to_string()))?;
    if histogram.len() > VALUES_MAX {
        return Err(LineProblem::Histogram(format!("more than {VALUES_MAX} values")));
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer, V2Serializer};
    use std::path::PathBuf;

    /// A histogram of one value as text, compressed and not.
    fn encoded(value: u64) -> [String; 2] {
        let mut recorded = Histogram::new_with_max(3_600_000_000_000, 3).unwrap();
        recorded.record(value).unwrap();
        let (mut compressed, mut plain) = (Vec::new(), Vec::new());
        V2DeflateSerializer::new().serialize(&recorded, &mut compressed).unwrap();
        V2Serializer::new().serialize(&recorded, &mut plain).unwrap();
        [compressed, plain].map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.hlog");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn read(text: impl AsRef<[u8]>) -> Result<Merged, HlogReadError> {
        let (_directory, path) = file(text);
        merge(&[path], |_| true)
    }

    fn problem(text: impl AsRef<[u8]>) -> (u64, LineProblem) {
        match read(text) {
            Err(HlogReadError::Line { line, problem, .. }) => (line, problem),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn logs_of_other_tools_are_read() {
        let [compressed, plain] = encoded(1_000_000);
        let java = format!(
            "#[Logged with jHiccup version 2.0.7]\n#[Histogram log format version 1.3]\n\
             #[StartTime: 1438867590.285 (seconds since epoch), Thu Aug 06 06:26:30 PDT 2015]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\r\n\
             0.127,1.007,2.769,{compressed}\n1.134,0.999,0.442,{plain}\r\n\nTag=A,2.133,1.001,0.426,{compressed}"
        );
        let merged = read(java).unwrap();
        assert_eq!(merged.tags.keys().collect::<Vec<_>>(), ["A", UNTAGGED]);
        assert_eq!((merged.tags[UNTAGGED].len(), merged.tags["A"].len(), merged.intervals), (2, 1, 3));
        let at = |ms: u64| Timestamp(ms * 1_000_000);
        assert_eq!(merged.span, Some((at(1_438_867_590_412), at(1_438_867_593_419))), "times count from the start");

        let based = format!("#[StartTime: 5.000 (x)]\n#[BaseTime: 100.000 (x)]\n1.000,2.000,1.000,{compressed}\n");
        assert_eq!(read(based).unwrap().span, Some((at(101_000), at(103_000))));
        let absolute = format!("#[StartTime: 1438867590.285 (x)]\n1438867591.000,1.000,1.0,{compressed}\n");
        assert_eq!(read(absolute).unwrap().span, Some((at(1_438_867_591_000), at(1_438_867_592_000))));
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        let [whole, _] = encoded(5);
        let good = format!("#comment\n1.000,1.000,1.000,{whole}\n");
        assert_eq!(problem(format!("{good}nonsense\n")), (3, LineProblem::Form));
        assert_eq!(problem("\u{d4}\u{c3}\u{b2}\u{a1}"), (1, LineProblem::Form));
        assert_eq!(problem(&format!("{good}{good}")[..good.len() * 2 - 9]), (4, LineProblem::CutShort));
        assert!(matches!(problem("1.0,1.0,1.0,HIST*FAAA\n"), (1, LineProblem::Base64(_))));
        let (directory, path) = file("x\n");
        let error = merge(&[&path], |_| true).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}, line 1: ", path.display())), "{error}");
        let error = merge(&[directory.path().join("missing")], |_| true).unwrap_err().to_string();
        assert!(error.contains("missing can't be read: No such file"), "{error}");
        assert!(matches!(merge(&[directory.path()], |_| true), Err(HlogReadError::Read { .. })));
    }

    #[test]
    fn damaged_histograms_are_errors_and_never_large_allocations() {
        use base64::engine::general_purpose::STANDARD;
        let [compressed, plain] = encoded(123_456).map(|text| STANDARD.decode(text).unwrap());
        let decoded = |bytes: &[u8]| decode(&STANDARD.encode(bytes));
        assert_eq!(decoded(&plain).unwrap().len(), 1);
        for histogram in [&compressed, &plain] {
            for length in 0..histogram.len() {
                assert!(decoded(&histogram[..length]).is_err(), "cut to {length}");
            }
            for place in 0..histogram.len() {
                for bit in 0..8 {
                    let mut damaged = histogram.clone();
                    damaged[place] ^= 1 << bit;
                    // Whatever comes of it, it comes without a panic.
                    if let Ok(histogram) = decoded(&damaged) {
                        let _ =
                            (histogram.mean(), histogram.stdev(), histogram.value_at_quantile(0.99), histogram.max());
                    }
                }
            }
        }
        // Four gigabytes declared, none there.
        let mut greedy = plain.clone();
        greedy[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(decoded(&greedy), Err(LineProblem::Histogram(text)) if text.contains("4294967295 bytes")));
        // The one number that can't be negated.
        let mut negative = plain[..V2_HEADER_BYTES].to_vec();
        negative.extend_from_slice(&[0xff; 9]);
        negative[4..8].copy_from_slice(&9u32.to_be_bytes());
        assert!(decoded(&negative).is_err());
        // Compressed twice.
        let mut nested = V2_COMPRESSED.to_vec();
        nested.extend_from_slice(&[0; 4]);
        let mut encoder = flate2::write::ZlibEncoder::new(nested, flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &compressed).unwrap();
        assert!(decoded(&encoder.finish().unwrap()).is_err());
    }

    #[test]
    fn only_wanted_tags_are_decoded() {
        let [whole, _] = encoded(5);
        let text = format!("Tag=a,1.000,1.000,1.000,{whole}\nTag=b,9.000,1.000,1.000,damaged\n");
        let (_directory, path) = file(text);
        let merged = merge(&[path], |tag| tag == "a").unwrap();
        assert_eq!(merged.tags.len(), 1);
        assert_eq!(merged.span.unwrap().1, Timestamp(2_000_000_000));
    }
}
