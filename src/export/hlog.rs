//! `HdrHistogram` interval logs (`.hlog`), format 1.3 with V2 compressed histograms: what the `HdrHistogram` tools
//! read.
//!
//! One line per interval and tag. A tag is `server|COMMAND|metric`: `*` for all, two-word commands joined by a dot,
//! `XREAD.BLOCK` for the blocking calls of a command that blocks only when asked to. Values are nanoseconds; the column of
//! maxima, which is for people, is in milliseconds, as the Java tools have it. Times are seconds since the epoch.
//!
//! The bytes depend on the statistics alone: histograms are written in one shape (1 ns to 1 hour) however far the worker's
//! had grown. Memory is bounded by one interval's text.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use crate::record::histograms::{Histogram, Parts, VALUE_NS_MAX, histogram as empty};
use crate::record::totals::{SeriesKey, Totals};
use crate::units::Timestamp;

use super::series::SeriesBound;

/// Nanoseconds of the unit in which maxima are shown.
const MAX_VALUE_DIVISOR: f64 = 1_000_000.0;

/// The tag of everything beyond `--series`.
const OTHER: &str = "other|other|latency";
/// Of that, the blocking calls, which would hide all else.
const OTHER_BLOCKING: &str = "other|other.BLOCK|latency";

/// An interval log can't be written.
#[derive(Debug, thiserror::Error)]
pub enum HlogError {
    /// The file can't be created.
    #[error("{path} can't be created for writing the histogram log: {source}")]
    Create {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file did not take what was written.
    #[error("writing the histogram log {path} failed after {written} bytes: {source}")]
    Write {
        /// Where.
        path: String,
        /// Bytes that had been written.
        written: u64,
        /// Why.
        source: io::Error,
    },
}

/// Writes an interval log.
#[derive(Debug)]
pub struct HlogWriter {
    path: PathBuf,
    file: File,
    written: u64,
    started: bool,
    series: SeriesBound,
}

impl HlogWriter {
    /// Creates the file, so that one that can't be written is known before any work. At most `series_max` series are
    /// written by name.
    pub fn create(path: &Path, series_max: usize) -> Result<HlogWriter, HlogError> {
        let file =
            File::create(path).map_err(|source| HlogError::Create { path: path.display().to_string(), source })?;
        let mut writer = HlogWriter {
            path: path.to_owned(),
            file,
            written: 0,
            started: false,
            series: SeriesBound::new(series_max),
        };
        let version = env!("CARGO_PKG_VERSION");
        writer.write(format!("#[Logged with resptap {version}]\n#[Histogram log format version 1.3]\n").as_bytes())?;
        Ok(writer)
    }

    /// Adds an interval: `totals` of what was decided from `from` to `to`.
    pub fn interval(&mut self, from: Timestamp, to: Timestamp, totals: &Totals) -> Result<(), HlogError> {
        if !self.started {
            self.started = true;
            self.write(header(from).as_bytes())?;
        }
        self.series.admit(&totals.series);
        let mut lines = Lines::new(from, to);
        let result = lines
            .overall(totals)
            .and_then(|()| lines.series(totals, &self.series))
            .and_then(|()| lines.commands(totals));
        result.map_err(|source| self.failed(source))?;
        self.write(&lines.text)
    }

    /// Ends the log.
    pub fn finish(mut self) -> Result<(), HlogError> {
        self.file.flush().map_err(|source| self.failed(source))
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), HlogError> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(self.failed(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.written += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> HlogError {
        HlogError::Write { path: self.path.display().to_string(), written: self.written, source }
    }
}

fn header(start: Timestamp) -> String {
    let seconds = start.0 as f64 / 1e9;
    format!(
        "#[StartTime: {seconds:.3} (seconds since epoch), {start}]\n#[MaxValueDivisor: {MAX_VALUE_DIVISOR:.3}]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
    )
}

/// The lines of one interval.
struct Lines {
    from: Duration,
    length: Duration,
    serializer: V2DeflateSerializer,
    /// The shape in which all histograms are written, by significant digits.
    shapes: BTreeMap<u8, Histogram>,
    text: Vec<u8>,
}

impl Lines {
    fn new(from: Timestamp, to: Timestamp) -> Lines {
        Lines {
            from: Duration::from_nanos(from.0),
            length: Duration::from_nanos(to.since(from)),
            serializer: V2DeflateSerializer::new(),
            shapes: BTreeMap::new(),
            text: Vec::new(),
        }
    }

    /// The four overall metrics, even where there is nothing to say, so that the log has no holes.
    fn overall(&mut self, totals: &Totals) -> io::Result<()> {
        self.line("*|*|latency", &totals.latency)?;
        self.parts("*", &totals.parts)
    }

    fn parts(&mut self, command: &str, parts: &Parts) -> io::Result<()> {
        self.line(&format!("*|{command}|queue"), &parts.queue)?;
        self.line(&format!("*|{command}|server"), &parts.server)?;
        self.line(&format!("*|{command}|transfer"), &parts.transfer)
    }

    fn series(&mut self, totals: &Totals, bound: &SeriesBound) -> io::Result<()> {
        let mut rest: BTreeMap<&str, Histogram> = BTreeMap::new();
        for (tag, latency) in [OTHER, OTHER_BLOCKING].into_iter().zip(&totals.rest) {
            if !latency.is_empty() {
                gather(&mut rest, tag, latency)?;
            }
        }
        for (key, latency) in kept(totals) {
            match key.server {
                Some(server) if bound.is_admitted(key) => {
                    self.line(&format!("{server}|{}|latency", command_of(key)), latency)?;
                }
                _ => gather(&mut rest, if key.blocking { OTHER_BLOCKING } else { OTHER }, latency)?,
            }
        }
        rest.iter().try_for_each(|(tag, latency)| self.line(tag, latency))
    }

    /// Each command over all servers, those beyond `--series` included.
    fn commands(&mut self, totals: &Totals) -> io::Result<()> {
        let given_up = totals.series.iter().filter(|(key, latency)| key.server.is_none() && latency.is_given_up());
        let given_up: BTreeSet<_> = given_up.map(|(key, _)| command_of(key)).collect();
        let mut series: BTreeMap<String, Vec<&Histogram>> = BTreeMap::new();
        for (key, latency) in kept(totals) {
            series.entry(command_of(key)).or_default().push(latency);
        }
        // One sum at a time: together they could take more than there is.
        for (command, latencies) in series.iter().filter(|(command, _)| !given_up.contains(*command)) {
            let mut sum = BTreeMap::new();
            latencies.iter().try_for_each(|latency| gather(&mut sum, (), latency))?;
            self.line(&format!("*|{command}|latency"), &sum[&()])?;
        }
        for (name, command) in &totals.commands {
            if let Some(parts) = command.parts.kept()
                && !parts.server.is_empty()
            {
                self.parts(&fit_for_tag(name), parts)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, tag: &str, histogram: &Histogram) -> io::Result<()> {
        let digits = histogram.sigfig();
        let shape = match self.shapes.entry(digits) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let shape = entry.insert(Histogram::new_with_max(VALUE_NS_MAX, digits).map_err(io::Error::other)?);
                shape.auto(true);
                shape
            }
        };
        shape.reset();
        shape.add(histogram).map_err(io::Error::other)?;
        let mut text = Vec::new();
        let mut log = IntervalLogWriterBuilder::new()
            .with_max_value_divisor(MAX_VALUE_DIVISOR)
            .begin_log_with(&mut text, &mut self.serializer)?;
        let tag = Tag::new(tag).ok_or_else(|| io::Error::other(format!("{tag:?} is no tag")))?;
        log.write_histogram(shape, self.from, self.length, Some(tag)).map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
        })?;
        // The library opens every log with a line on the divisor; ours has it in its header.
        let line = text.split_inclusive(|&byte| byte == b'\n').next_back().unwrap_or_default();
        self.text.extend_from_slice(line);
        Ok(())
    }
}

fn gather<K: Ord>(sums: &mut BTreeMap<K, Histogram>, key: K, part: &Histogram) -> io::Result<()> {
    let sum = sums.entry(key).or_insert_with(|| empty(part.sigfig()));
    sum.add(part).map_err(io::Error::other)
}

/// The series that have what they should.
fn kept(totals: &Totals) -> impl Iterator<Item = (&SeriesKey, &Histogram)> {
    totals.series.iter().filter_map(|(key, latency)| Some((key, latency.kept()?)))
}

/// The command of a series, its blocking calls told apart where it has both kinds.
fn command_of(key: &SeriesKey) -> String {
    let mut command = fit_for_tag(&key.command);
    if key.blocking && matches!(key.command.as_str(), "XREAD" | "XREADGROUP") {
        command.push_str(".BLOCK");
    }
    command
}

/// A command's name without what separates parts of a tag or columns of the log.
fn fit_for_tag(name: &str) -> String {
    name.replace([' ', ',', '|', '\r', '\n'], ".")
}

#[cfg(test)]
mod tests {
    use super::super::hlog_reader::{Merged, merge};
    use super::*;
    use crate::record::histograms::{DIGITS, DIGITS_COARSE, histogram};
    use crate::record::room::Bounded;
    use crate::record::totals::Command;
    use crate::units::{Address, Endpoint};

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_795_348_800 * SECOND;

    fn server(text: &str) -> Endpoint {
        Endpoint { address: Address::from(text.parse::<std::net::IpAddr>().unwrap()), port: 6379 }
    }

    /// Adds `count` requests of a series, as recording and merging would.
    fn add(totals: &mut Totals, server: Option<Endpoint>, command: &str, blocking: bool, latency: u64, count: u64) {
        let key = SeriesKey { server, command: command.into(), blocking };
        let series = totals.series.entry(key).or_insert_with(|| Bounded::Kept(histogram(DIGITS)));
        series.kept_mut().unwrap().record_n(latency, count).unwrap();
        let new = || Command { parts: Bounded::Kept(Parts::new(DIGITS_COARSE)), ..Command::default() };
        let parts = totals.commands.entry(command.into()).or_insert_with(new).parts.kept_mut().unwrap();
        parts.server.record_n(latency, count).unwrap();
        parts.queue.record_n(0, count).unwrap();
        parts.transfer.record_n(0, count).unwrap();
        if !blocking {
            totals.latency.record_n(latency, count).unwrap();
            totals.parts.server.record_n(latency, count).unwrap();
            totals.parts.queue.record_n(0, count).unwrap();
            totals.parts.transfer.record_n(0, count).unwrap();
        }
    }

    fn log(path: &Path, series_max: usize, intervals: &[Totals]) {
        let mut writer = HlogWriter::create(path, series_max).unwrap();
        for (number, totals) in (0..).zip(intervals) {
            let from = Timestamp(START + number * 10 * SECOND);
            writer.interval(from, from.after(10 * SECOND), totals).unwrap();
        }
        writer.finish().unwrap();
    }

    fn counts(merged: &Merged) -> BTreeMap<&str, u64> {
        merged.tags.iter().map(|(tag, histogram)| (&**tag, histogram.len())).collect()
    }

    #[test]
    fn what_is_logged_is_read_back_by_tag() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hlog");
        let mut totals = Totals::default();
        add(&mut totals, Some(server("10.0.0.9")), "GET", false, 85_000, 10);
        add(&mut totals, Some(server("2001:db8::9")), "CLIENT SETNAME", false, 1_000, 1);
        add(&mut totals, Some(server("10.0.0.9")), "XREAD", true, 5 * SECOND, 2);
        add(&mut totals, Some(server("10.0.0.9")), "XREAD", false, 70_000, 3);
        add(&mut totals, Some(server("10.0.0.9")), "BLPOP", true, 2 * VALUE_NS_MAX, 1);
        log(&path, 512, &[totals, Totals::default()]);
        let merged = merge(&[&path], |_| true).unwrap();
        let expected = [
            ("*|*|latency", 14),
            ("*|*|queue", 14),
            ("*|*|server", 14),
            ("*|*|transfer", 14),
            ("*|BLPOP|latency", 1),
            ("*|BLPOP|queue", 1),
            ("*|BLPOP|server", 1),
            ("*|BLPOP|transfer", 1),
            ("*|CLIENT.SETNAME|latency", 1),
            ("*|CLIENT.SETNAME|queue", 1),
            ("*|CLIENT.SETNAME|server", 1),
            ("*|CLIENT.SETNAME|transfer", 1),
            ("*|GET|latency", 10),
            ("*|GET|queue", 10),
            ("*|GET|server", 10),
            ("*|GET|transfer", 10),
            ("*|XREAD.BLOCK|latency", 2),
            ("*|XREAD|latency", 3),
            ("*|XREAD|queue", 5),
            ("*|XREAD|server", 5),
            ("*|XREAD|transfer", 5),
            ("10.0.0.9:6379|BLPOP|latency", 1),
            ("10.0.0.9:6379|GET|latency", 10),
            ("10.0.0.9:6379|XREAD.BLOCK|latency", 2),
            ("10.0.0.9:6379|XREAD|latency", 3),
            ("[2001:db8::9]:6379|CLIENT.SETNAME|latency", 1),
        ];
        assert_eq!(counts(&merged), BTreeMap::from(expected));
        let get = &merged.tags["10.0.0.9:6379|GET|latency"];
        assert!(get.equivalent(get.max(), 85_000) && get.sigfig() == DIGITS);
        assert_eq!(merged.span, Some((Timestamp(START), Timestamp(START + 20 * SECOND))));
    }

    #[test]
    fn the_text_is_that_of_the_format() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hlog");
        let mut totals = Totals::default();
        add(&mut totals, Some(server("10.0.0.9")), "GET", false, 2_500_000, 1);
        log(&path, 1, &[totals]);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1..5],
            [
                "#[Histogram log format version 1.3]",
                "#[StartTime: 1795348800.000 (seconds since epoch), 2026-11-22T12:00:00.000000000Z]",
                "#[MaxValueDivisor: 1000000.000]",
                "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"",
            ]
        );
        assert!(lines[5].starts_with("Tag=*|*|latency,1795348800.000,10.000,2.501,HISTF"), "{}", lines[5]);
        assert_eq!(lines.iter().filter(|line| line.starts_with('#')).count(), 4);
        assert_eq!(lines.len(), 5 + 4 + 1 + 4);
    }

    #[test]
    fn series_beyond_the_bound_are_other_and_no_request_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hlog");
        let mut totals = Totals::default();
        add(&mut totals, Some(server("10.0.0.9")), "GET", false, 10, 9);
        add(&mut totals, Some(server("10.0.0.9")), "SET", false, 10, 4);
        add(&mut totals, Some(server("10.0.0.9")), "BLPOP", true, 10, 3);
        add(&mut totals, None, "GET", false, 10, 100);
        log(&path, 1, &[totals]);
        let merged = merge(&[&path], |tag| !tag.starts_with('*')).unwrap();
        let expected =
            [("10.0.0.9:6379|GET|latency", 9), ("other|other.BLOCK|latency", 3), ("other|other|latency", 104)];
        assert_eq!(counts(&merged), BTreeMap::from(expected));
        let merged = merge(&[&path], |tag| tag == "*|GET|latency").unwrap();
        assert_eq!(counts(&merged), BTreeMap::from([("*|GET|latency", 109)]));
    }

    #[test]
    fn what_found_no_room_is_among_the_rest_and_no_part_of_a_command_is_told_for_all_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hlog");
        let mut totals = Totals::default();
        add(&mut totals, Some(server("10.0.0.9")), "GET", false, 10, 9);
        add(&mut totals, Some(server("10.0.0.9")), "SET", false, 10, 4);
        let given_up = SeriesKey { server: None, command: "GET".into(), blocking: false };
        totals.series.insert(given_up, Bounded::GivenUp);
        for (rest, count) in totals.rest.iter_mut().zip([20, 3]) {
            rest.record_n(10, count).unwrap();
        }
        log(&path, 2, &[totals]);
        let merged = merge(&[&path], |tag| tag.ends_with("latency") && !tag.starts_with("*|*")).unwrap();
        let expected = [
            ("*|SET|latency", 4),
            ("10.0.0.9:6379|GET|latency", 9),
            ("10.0.0.9:6379|SET|latency", 4),
            ("other|other.BLOCK|latency", 3),
            ("other|other|latency", 20),
        ];
        assert_eq!(counts(&merged), BTreeMap::from(expected));
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_far_histograms_have_grown() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("1"), directory.path().join("2"));
        let (mut totals, mut grown) = (Totals::default(), Totals::default());
        for latency in [&mut grown.latency, &mut grown.parts.queue] {
            latency.record(VALUE_NS_MAX).unwrap();
            latency.reset();
        }
        for totals in [&mut totals, &mut grown] {
            add(totals, Some(server("10.0.0.9")), "GET", false, 123_456, 7);
        }
        log(&one, 9, &[totals]);
        log(&other, 9, &[grown]);
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
    }

    #[test]
    fn the_logs_of_two_sensors_together_are_the_log_of_one_that_saw_all() {
        let directory = tempfile::tempdir().unwrap();
        let paths: Vec<_> = ["a", "b", "all"].iter().map(|name| directory.path().join(name)).collect();
        let mut intervals = [vec![], vec![], vec![]];
        for interval in 0..3u64 {
            let mut totals = [Totals::default(), Totals::default(), Totals::default()];
            for request in 0..200u64 {
                let latency = (request * 7919 + interval * 104_729) % 50_000_000;
                let sensor = request as usize % 2;
                let server = server(["10.0.0.9", "10.0.0.8"][sensor]);
                let command = if request % 3 == 0 { "GET" } else { "SET" };
                for log in [sensor, 2] {
                    add(&mut totals[log], Some(server), command, false, latency, 1);
                }
            }
            for (log, totals) in intervals.iter_mut().zip(totals) {
                log.push(totals);
            }
        }
        for (path, intervals) in paths.iter().zip(&intervals) {
            log(path, 512, intervals);
        }
        let apart = merge(&[&paths[1], &paths[0]], |_| true).unwrap();
        let whole = merge(&[&paths[2]], |_| true).unwrap();
        assert_eq!(apart.tags, whole.tags);
        assert_eq!(apart.span, whole.span);
        assert_eq!(whole.tags["*|*|latency"].len(), 600);
    }

    #[test]
    fn a_log_that_can_not_be_written_says_so_with_the_bytes_that_were() {
        let error = HlogWriter::create(Path::new("/dev/full"), 1).unwrap_err();
        assert!(matches!(error, HlogError::Write { written: 0, .. }));
        assert!(error.to_string().contains("/dev/full failed after 0 bytes"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(HlogWriter::create(directory.path(), 1), Err(HlogError::Create { .. })));
    }
}
