//! Any bytes as a stream of requests or of replies, cut anywhere, against an obviously correct parser; and bytes that are
//! missing inside a string, which must change nothing but that string.

use resptap::resp::parser::{Kind, Parser, Step, Visitor};

use super::input::Input;
use super::oracle::{End, Fail, Oracle, Told};

/// Writes down what it is told.
struct Log<const REQUESTS: bool> {
    told: Vec<Told>,
    /// Bytes wanted of each value.
    wants: usize,
}

impl<const REQUESTS: bool> Visitor for Log<REQUESTS> {
    const REQUESTS: bool = REQUESTS;

    fn begin(&mut self, depth: usize, kind: Kind, length: u64) -> usize {
        self.told.push(Told::Begin(depth, kind, length));
        self.wants
    }

    fn bytes(&mut self, chunk: &[u8]) {
        match self.told.last_mut() {
            Some(Told::Text(text)) => text.extend_from_slice(chunk),
            _ => self.told.push(Told::Text(chunk.to_vec())),
        }
    }

    fn missing(&mut self) {}

    fn end(&mut self, depth: usize) {
        self.told.push(Told::End(depth));
    }
}

/// What a stream was, up to the first byte that is no message: what was told of each message, and how the rest failed.
#[derive(PartialEq, Debug)]
struct Stream {
    messages: Vec<(Option<Vec<Told>>, usize)>,
    malformed: bool,
}

/// Direction (1), sizes of the pieces (1), bytes wanted of each value (1), then the stream.
pub fn run(data: &[u8]) {
    // Longer lines than servers take are a matter of the parser's own tests.
    const BYTES_MAX: usize = 32 * 1024;
    let mut input = Input(&data[..data.len().min(BYTES_MAX)]);
    let (direction, pieces, wants) = (input.byte(), input.byte(), input.byte());
    let wants = [usize::MAX, 0, 1, 5][usize::from(wants % 4)];
    let stream = input.0;
    let (expected, told) = if direction & 1 == 0 {
        (expected(stream, wants, |oracle| oracle.reply()), fed::<false>(stream, pieces, wants))
    } else {
        (expected(stream, wants, |oracle| oracle.request()), fed::<true>(stream, pieces, wants))
    };
    assert_eq!(told, expected);
    if direction & 1 == 0 {
        skip(stream, usize::from(pieces));
    }
}

fn expected(stream: &[u8], wants: usize, read: fn(&mut Oracle<'_>) -> Result<End, Fail>) -> Stream {
    let mut oracle = Oracle { bytes: stream, at: 0, told: Vec::new() };
    let mut messages = Vec::new();
    while oracle.at < stream.len() {
        match read(&mut oracle) {
            Ok(end) => {
                let told = shortened(std::mem::take(&mut oracle.told), wants);
                messages.push(((end == End::Value).then_some(told), oracle.at));
            }
            Err(fail) => return Stream { messages, malformed: fail == Fail::Malformed },
        }
    }
    Stream { messages, malformed: false }
}

/// Without what is not wanted; an empty text is not told at all.
fn shortened(told: Vec<Told>, wants: usize) -> Vec<Told> {
    let shorter = told.into_iter().map(|told| match told {
        Told::Text(text) => Told::Text(text[..text.len().min(wants)].to_vec()),
        other => other,
    });
    shorter.filter(|told| !matches!(told, Told::Text(text) if text.is_empty())).collect()
}

fn fed<const REQUESTS: bool>(stream: &[u8], pieces: u8, wants: usize) -> Stream {
    let (mut parser, mut log) = (Parser::default(), Log::<REQUESTS> { told: Vec::new(), wants });
    let (mut at, mut messages) = (0, Vec::new());
    for piece in cut(stream, pieces) {
        let end = at + piece.len();
        while at < end {
            let (consumed, step) = parser.feed(&stream[at..end], &mut log);
            at += consumed;
            assert!(at <= end);
            match step {
                Step::More => assert_eq!(at, end, "all of a piece is consumed"),
                Step::Value => messages.push((Some(shortened(std::mem::take(&mut log.told), wants)), at)),
                Step::Empty => messages.push((None, at)),
                Step::Malformed => {
                    assert!(parser.is_idle());
                    return Stream { messages, malformed: true };
                }
            }
            assert_eq!(parser.is_idle(), step != Step::More);
            // A parser that takes up from another goes on as that one would.
            let mut other = Parser::default();
            other.resume_from(&parser);
            parser = other;
        }
    }
    Stream { messages, malformed: false }
}

/// Pieces of a stream: whole, byte by byte, or of sizes that change.
fn cut(stream: &[u8], pieces: u8) -> Vec<&[u8]> {
    let (mut rest, mut cut, mut size) = (stream, Vec::new(), usize::from(pieces));
    while !rest.is_empty() {
        let length = match pieces {
            0 => rest.len(),
            1..=9 => usize::from(pieces),
            _ => 1 + size % 17,
        };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        cut.push(piece);
        rest = after;
        size = size.wrapping_mul(31).wrapping_add(7);
    }
    cut
}

/// Bytes are missing from a place on: where the parser can step over them, the messages end where they would have.
fn skip(stream: &[u8], place: usize) {
    let ends = |from: usize, missing: usize| {
        let (mut parser, mut log) = (Parser::default(), Log::<false> { told: Vec::new(), wants: 0 });
        let (mut at, mut ends) = (0, Vec::new());
        while at < stream.len() {
            if at == from && missing > 0 {
                let Ok(step) = parser.skip(missing as u64, &mut log) else { return None };
                at += missing;
                if step == Step::Value {
                    ends.push(at);
                }
                continue;
            }
            let stop = if at < from { from } else { stream.len() };
            let (consumed, step) = parser.feed(&stream[at..stop], &mut log);
            at += consumed;
            match step {
                Step::Value => ends.push(at),
                Step::Malformed => return Some((ends, true)),
                _ => {}
            }
        }
        Some((ends, false))
    };
    if stream.is_empty() {
        return;
    }
    let from = place % stream.len();
    let missing = 1 + place % 7;
    if from + missing > stream.len() {
        return;
    }
    let whole = ends(from, 0);
    // What is missing may have been what is malformed.
    if let (Some(skipped), Some((all, false))) = (ends(from, missing), whole) {
        assert_eq!(skipped, (all, false), "{missing} bytes missing at {from}");
    }
}
