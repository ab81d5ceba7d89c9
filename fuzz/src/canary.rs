//! A bug on purpose, which the fuzzer must find from nothing: a harness that does not is blind. It stands behind some dozen
//! bytes that only guidance by coverage gets right one after the other.

use resptap::resp::parser::{Kind, Parser, Visitor};

struct Canary {
    sings: bool,
}

impl Visitor for Canary {
    const REQUESTS: bool = false;

    fn begin(&mut self, depth: usize, kind: Kind, _length: u64) -> usize {
        self.sings |= depth == 2 && kind == Kind::Map;
        0
    }

    fn bytes(&mut self, _chunk: &[u8]) {}

    fn missing(&mut self) {}

    fn end(&mut self, _depth: usize) {}
}

/// Fails on a map within an array within an array.
pub fn run(data: &[u8]) {
    let (mut parser, mut canary) = (Parser::default(), Canary { sings: false });
    let _ = parser.feed(data, &mut canary);
    assert!(!canary.sings, "the canary sings");
}
