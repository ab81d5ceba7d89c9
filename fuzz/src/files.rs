//! Any bytes as a capture file: mapped, streamed and compressed they are the same frames and the same end, no frame is made
//! of bytes that are not there, and what has ended stays ended.

use std::fs;
use std::io::Write;
use std::path::Path;

use resptap::capture::file::{FileSource, OpenOptions};
use resptap::capture::{LinkType, Polled, Source};

/// What a file brought, and how it ended.
#[derive(PartialEq, Debug)]
pub struct Content {
    pub frames: Vec<Copy>,
    /// `None`: at its end.
    pub fault: Option<String>,
}

/// A copy of a frame.
#[derive(PartialEq, Debug)]
pub struct Copy {
    pub at: u64,
    pub wire_len: u32,
    pub link: LinkType,
    pub bytes: Vec<u8>,
}

/// How it is compressed, then the file.
pub fn run(data: &[u8]) {
    let Some((form, raw)) = data.split_first() else { return };
    let path = file(raw);
    let mapped = read(&path, true);
    let streamed = read(&path, false);
    assert_eq!(mapped, streamed, "mapped and streamed");
    let bytes: usize = mapped.frames.iter().map(|frame| frame.bytes.len()).sum();
    assert!(bytes + 12 * mapped.frames.len() <= raw.len(), "frames are made of the file's bytes");
    let packed = match form % 4 {
        0 => return,
        1 => gzip(raw),
        2 => {
            let (some, rest) = raw.split_at(raw.len() / 2);
            [gzip(some), gzip(rest)].concat()
        }
        _ => zstd::encode_all(raw, 1).expect("memory takes anything"),
    };
    // A file within the file is not unpacked twice.
    let unpacked = read(&file(&packed), true);
    if !matches!(raw, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        assert_eq!(unpacked.frames, mapped.frames, "compressed");
        assert_eq!(unpacked.fault.is_some(), mapped.fault.is_some());
    }
    // Cut short, it is a beginning.
    let cut = read(&file(&packed[..packed.len() - packed.len().min(usize::from(*form) + 1)]), true);
    assert!(unpacked.frames.starts_with(&cut.frames));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes anything");
    encoder.finish().expect("memory takes anything")
}

/// In memory, if there is such a place.
fn folder() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

/// A file with these bytes, for as long as its path lives.
pub fn file(bytes: &[u8]) -> tempfile::TempPath {
    // Nobody has it open any more: it can be mapped.
    let path = tempfile::NamedTempFile::new_in(folder()).expect("a temporary file").into_temp_path();
    fs::write(&path, bytes).expect("it is written");
    path
}

/// Reads a file to its end.
pub fn read(path: &Path, mmap: bool) -> Content {
    let mut content = Content { frames: Vec::new(), fault: None };
    let mut source = match FileSource::open(path, OpenOptions { mmap }) {
        Ok(source) => source,
        Err(error) => {
            content.fault = Some(told(&error.to_string(), path));
            return content;
        }
    };
    loop {
        let mut polled = 0;
        let result = source.poll(32, &mut |frame| {
            polled += 1;
            let (at, wire_len, link) = (frame.at.0, frame.wire_len, frame.link);
            content.frames.push(Copy { at, wire_len, link, bytes: frame.bytes.to_vec() });
        });
        match result {
            Ok(Polled::Frames(frames)) => assert!(frames == polled && (1..=32).contains(&frames)),
            Ok(Polled::End) => break,
            Err(error) => {
                content.fault = Some(told(&error.to_string(), path));
                break;
            }
        }
    }
    let again = source.poll(32, &mut |_| panic!("a frame behind the end"));
    assert!(matches!(again, Ok(Polled::End)));
    let _ = source.facts();
    content
}

/// What does not depend on the file's name.
fn told(error: &str, path: &Path) -> String {
    error.replace(&*path.to_string_lossy(), "FILE")
}
