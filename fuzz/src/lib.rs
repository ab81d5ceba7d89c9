//! What is fuzzed. Each module is a target: its `run` takes any bytes, and panics where something does not hold that must.
//!
//! `scripts/fuzz` runs them under libFuzzer; `tests/corpus.rs` includes this file and replays the corpora through the same
//! functions. Inputs are read by [`input::Input`], byte by byte and from the front, so that an entry of a corpus means the
//! same after an update of any crate, and can be written by hand ([`seeds`]).

pub mod canary;
pub mod capture;
pub mod decode;
pub mod files;
pub mod input;
pub mod oracle;
pub mod reassembly;
pub mod resp;
pub mod scene;
pub mod seeds;
pub mod segments;

// The traffic and the harness of the tests of the whole pipeline.
#[path = "../../tests/common/mod.rs"]
pub mod common;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them but the canary, which must fail.
pub const TARGETS: &[Target] = &[
    ("files", files::run),
    ("decode", decode::run),
    ("reassembly", reassembly::run),
    ("resp", resp::run),
    ("segments", segments::run),
    ("capture", capture::run),
    ("scene", scene::run),
];
