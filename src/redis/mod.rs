//! Redis on top of RESP: commands, keys, and which reply belongs to which request. Knows nothing of sequence numbers, only
//! of positions in the two streams and of how much of the requests a reply's segment acknowledged.

pub mod arguments;
pub mod candidates;
pub mod command;
pub mod foreign;
mod guess;
pub mod habits;
pub mod keys;
pub mod outline;
pub mod pairing;
pub mod possible;
pub mod queue;
pub mod redact;
pub mod replication;
pub mod reply;
pub mod request;
pub mod requests;
pub mod session;
