//! Traffic that wants more memory than there is: floods of connections, and connections that each hold as much as they can;
//! and among it a few honest ones, whose requests are answered after [`ANSWER_NS`], all of them.
//!
//! Each [`Case`] is written as a capture as it is made, so that no file of it is needed, and is the same in every run with the
//! same seed. `scripts/memory` reads it with `resptap read`.

mod cases;
mod honest;
mod wire;

pub use cases::Case;
pub use honest::ANSWER_NS;
pub use wire::Facts;

use std::io::{self, Write};

use crate::random::Random;

use honest::Honest;
use wire::Wire;

/// Writes a case of `connections` connections as a capture; answers what is in it.
pub fn write(case: Case, connections: u64, seed: u64, out: impl Write) -> io::Result<Facts> {
    let mut wire = Wire::begin(out, Honest::new())?;
    case.run(connections, &mut Random(seed), &mut wire)?;
    wire.finish()
}
