//! Which connection a segment belongs to: keys, the seeded hash, a bounded table and its expiry.

pub mod hash;
pub mod key;
