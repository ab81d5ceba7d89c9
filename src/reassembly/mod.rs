//! From segments to the bytes of one direction of a connection, in order. Knows nothing of Redis.
//!
//! ```text
//!            delivered            next        stored                stored
//!   ───────────────────────────────┤   hole   ├────────┤    hole    ├────┤
//!        old: counted, dropped          ↑ waited for, then a gap
//! ```
//!
//! A segment that begins at `next` goes to the parser straight from the frame. One that lies ahead is copied into pages of
//! a bounded pool; where segments overlap the first bytes win. A FIN takes one position, as in TCP.

pub mod duplicate;
pub mod pages;
pub mod stream;
#[cfg(test)]
mod tests;
