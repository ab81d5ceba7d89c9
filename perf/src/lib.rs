//! Redis traffic with known truth, simulated from a seed: who asked what, over which network, and what a mirror port made of
//! it; and a judge that holds what resptap pairs against the truth.

// What is simulated.
pub mod random; // chance, the same in every run
pub mod scenario; // who talks how about what, and what happens to it
// Who asks, who answers, and about what.
mod client; // asks
mod mix; // makes requests and replies up
mod server; // answers
// How it travels.
mod host; // one end of a TCP connection
pub mod tcp; // its flags
pub mod world; // all ends, and the network between them
// How it is seen.
pub mod frame; // as bytes
pub mod hostile; // or of many connections at once, that want too much memory
pub mod mirror; // and what is missing
// For measurements: as much as is wanted, fast.
pub mod generator; // frames by a plan, and their truth
pub mod harness; // what they cost
pub mod replay; // to an interface
// What resptap makes of it.
pub mod judge; // pairs against the truth
pub mod surroundings; // what led to a wrong one

pub use host::Packet;
pub use mix::{Answer, Kind};
