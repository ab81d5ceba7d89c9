//! Redis on top of RESP: commands, keys, and which reply belongs to which request. Knows nothing of sequence numbers.

pub mod arguments;
pub mod command;
pub mod keys;
pub mod pairing;
