//! JSON Lines: transactions to a file, standard output, or a zstd-compressed file.
//!
//! Records are gathered and written in pieces of at least 64 KiB; memory is bounded by that and the longest record.
//! What was buffered is written by [`Sink::finish`]; without it the end is missing.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::endpoint::Labels;
use crate::record::transaction::{RecordBatch, Transaction};

use super::record_json::{Expected, RecordFormat, RecordWriter};
use super::{STANDARD_OUTPUT, Sink, SinkError};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// With room for a record more.
const BUFFER_BYTES: usize = WRITE_BYTES + RecordWriter::ROOM_BYTES;

/// Of so many records together the texts of their connections are asked for before the first is put: waiting for memory one after
/// the other takes longer than putting them.
const EXPECTED: usize = 8;

/// Where the lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsonlTarget {
    /// Standard output.
    Stdout,
    /// A file, replaced if it exists; compressed with zstd if its name ends in `.zst`.
    Path(PathBuf),
}

impl From<&str> for JsonlTarget {
    /// As `--sink jsonl:` takes it: `-` is standard output.
    fn from(target: &str) -> JsonlTarget {
        if target == "-" { JsonlTarget::Stdout } else { JsonlTarget::Path(target.into()) }
    }
}

/// The sink.
pub struct JsonlSink {
    records: RecordWriter,
    buffer: Box<[u8; BUFFER_BYTES]>,
    /// Bytes that are gathered in it.
    gathered: usize,
    /// A record that is longer than that room.
    long: Vec<u8>,
    output: Output,
    /// What errors call the output.
    name: String,
}

enum Output {
    Plain(Counted),
    Zstd(zstd::stream::write::Encoder<'static, Counted>),
}

/// A file, and the bytes that it took.
struct Counted {
    file: File,
    written: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl JsonlSink {
    /// Opens the output, so that one that can't be written is known before any work.
    pub fn create(target: &JsonlTarget, format: &RecordFormat) -> Result<JsonlSink, SinkError> {
        let (file, name) = match target {
            JsonlTarget::Stdout => (stdout(), STANDARD_OUTPUT.to_owned()),
            JsonlTarget::Path(path) => (File::create(path), path.display().to_string()),
        };
        let compressed = matches!(target, JsonlTarget::Path(path) if is_zstd(path));
        let output = file.and_then(|file| {
            let file = Counted { file, written: 0 };
            Ok(if compressed {
                Output::Zstd(zstd::stream::write::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?)
            } else {
                Output::Plain(file)
            })
        });
        match output {
            Ok(output) => Ok(JsonlSink {
                records: RecordWriter::new(format),
                buffer: vec![0; BUFFER_BYTES].into_boxed_slice().try_into().expect("so many were made"),
                gathered: 0,
                long: Vec::new(),
                output,
                name,
            }),
            Err(source) => Err(SinkError::Create { path: name, source }),
        }
    }

    /// Gathers a record, of which this much is known.
    #[inline(always)]
    fn put(
        &mut self,
        batch: &RecordBatch,
        transaction: &Transaction,
        expected: &Expected<'_>,
        labels: Option<&Labels>,
    ) -> Result<(), SinkError> {
        // It never is more, which the compiler can't know.
        let at = self.gathered.min(WRITE_BYTES);
        if let Some(room) = self.buffer[at..at + RecordWriter::ROOM_BYTES].first_chunk_mut()
            && let Some(length) = self.records.put(room, batch, transaction, expected, labels)
        {
            self.gathered += length;
        } else {
            // It goes at once, behind what was before it.
            self.records.append(&mut self.long, batch, transaction, labels);
            self.write_out()?;
        }
        if self.gathered >= WRITE_BYTES { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<(), SinkError> {
        let gathered = &self.buffer[..std::mem::take(&mut self.gathered)];
        let result = match &mut self.output {
            Output::Plain(file) => file.write_all(gathered).and_then(|()| file.write_all(&self.long)),
            Output::Zstd(encoder) => encoder.write_all(gathered).and_then(|()| encoder.write_all(&self.long)),
        };
        self.long.clear();
        self.check(result)
    }

    fn check(&self, result: io::Result<()>) -> Result<(), SinkError> {
        result.map_err(|source| {
            let written = match &self.output {
                Output::Plain(file) => file.written,
                Output::Zstd(encoder) => encoder.get_ref().written,
            };
            SinkError::Write { path: self.name.clone(), written, source }
        })
    }
}

impl Sink for JsonlSink {
    fn write(&mut self, batch: &RecordBatch, labels: &Labels) -> Result<(), SinkError> {
        let labels = (!labels.is_empty()).then_some(labels);
        let (groups, rest) = batch.transactions.as_chunks::<EXPECTED>();
        for group in groups {
            let expected = group.each_ref().map(|transaction| self.records.expect(batch, transaction));
            for (transaction, expected) in group.iter().zip(&expected) {
                self.put(batch, transaction, expected, labels)?;
            }
        }
        for transaction in rest {
            let expected = self.records.expect(batch, transaction);
            self.put(batch, transaction, &expected, labels)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        // A compressed file shows nothing before its end anyway.
        if self.gathered == 0 { Ok(()) } else { self.write_out() }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.write_out()?;
        let result = match &mut self.output {
            Output::Plain(file) => file.flush(),
            Output::Zstd(encoder) => encoder.do_finish(),
        };
        self.check(result)
    }
}

fn is_zstd(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zst"))
}

/// Standard output without the standard library's line buffer.
#[cfg(unix)]
fn stdout() -> io::Result<File> {
    use std::os::fd::AsFd;
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;
    use crate::redis::arguments::{self, Argument, Payload};
    use crate::redis::command::{CommandId, CommandTable};
    use crate::units::{Endpoint, Timestamp};

    fn format() -> RecordFormat {
        let table = CommandTable::parse("GET\t2\t\t1/range:0:1:0=RO\n").unwrap();
        RecordFormat {
            sensor: "tap".into(),
            payload: Payload::Keys,
            key_hasher: None,
            table: Box::leak(Box::new(table)),
            cache_bytes: 0,
        }
    }

    fn batch(records: u64) -> RecordBatch {
        let mut batch = RecordBatch::default();
        for index in 0..records {
            let transaction = Transaction {
                index,
                t1: Timestamp(1_795_348_800_000_000_000 + index),
                command: CommandId(0),
                ..Transaction::bare(1, Endpoint::default(), Endpoint::default())
            };
            batch.push(transaction, &[]);
        }
        batch
    }

    fn write(path: &Path, records: u64) -> Result<(), SinkError> {
        let mut sink = JsonlSink::create(&JsonlTarget::Path(path.into()), &format())?;
        sink.write(&batch(records), &Labels::default())?;
        sink.finish()
    }

    #[test]
    fn all_lines_arrive_plain_and_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("records.jsonl");
        let compressed = directory.path().join("records.jsonl.zst");
        write(&plain, 1000).unwrap();
        write(&compressed, 1000).unwrap();
        let text = std::fs::read_to_string(&plain).unwrap();
        assert!(text.len() > 4 * WRITE_BYTES, "several writes");
        assert_eq!(text.lines().count(), 1000);
        for (index, line) in text.lines().enumerate() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["event"]["id"], format!("0000000000000001-{index}"));
        }
        let packed = std::fs::read(&compressed).unwrap();
        assert!(packed.len() < text.len() / 10);
        assert_eq!(zstd::stream::decode_all(&packed[..]).unwrap(), text.as_bytes());
    }

    #[test]
    fn a_record_that_is_longer_than_others_is_written_whole_and_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["records.jsonl", "records.jsonl.zst"] {
            let path = directory.path().join(name);
            let mut sink = JsonlSink::create(&JsonlTarget::Path(path.clone()), &format()).unwrap();
            let mut records = RecordBatch::default();
            for (transaction, length) in
                batch(200).transactions.iter().zip([1, 2000, 4000, 4001, 60_000].iter().cycle())
            {
                let mut key = Vec::new();
                arguments::append(&mut key, Argument::Key(&vec![b'k'; *length]));
                records.push(*transaction, &key);
            }
            sink.write(&records, &Labels::default()).unwrap();
            sink.finish().unwrap();
            let written = std::fs::read(&path).unwrap();
            let text = if is_zstd(&path) { zstd::stream::decode_all(&written[..]).unwrap() } else { written };
            let mut expected = Vec::new();
            let mut writer = RecordWriter::new(&format());
            for transaction in &records.transactions {
                writer.append(&mut expected, &records, transaction, None);
            }
            assert!(text == expected && text.lines().count() == 200);
        }
    }

    #[test]
    fn an_output_that_can_not_be_created_is_known_at_once() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().join("no/such/file"), directory.path().into()] {
            let error = JsonlSink::create(&JsonlTarget::Path(path.clone()), &format()).err().unwrap();
            assert!(matches!(&error, SinkError::Create { path: named, .. } if *named == path.display().to_string()));
        }
    }

    #[test]
    fn a_full_disk_is_an_error_that_says_how_much_was_written() {
        let error = write(Path::new("/dev/full"), 1000).unwrap_err();
        assert!(matches!(error, SinkError::Write { written: 0, .. }), "{error}");
        assert!(error.to_string().starts_with("writing transactions to /dev/full failed after 0 bytes: "), "{error}");
        let error = write(Path::new("/dev/full"), 1).unwrap_err();
        assert!(matches!(error, SinkError::Write { .. }), "a short output fails at its end: {error}");
    }

    #[test]
    fn a_dash_is_standard_output() {
        assert_eq!(JsonlTarget::from("-"), JsonlTarget::Stdout);
        assert_eq!(JsonlTarget::from("./-"), JsonlTarget::Path("./-".into()));
    }
}
