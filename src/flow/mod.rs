//! Which connection a segment belongs to: keys, the seeded hash, a bounded table and its expiry.

pub mod expiry;
pub mod hash;
pub mod index;
pub mod key;
pub mod table;
