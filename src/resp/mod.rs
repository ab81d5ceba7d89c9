//! RESP, the Redis serialization protocol, versions 2 and 3: one resumable parser. Knows nothing of TCP.

pub mod detect;
mod inline;
pub mod parser;
#[cfg(test)]
mod tests;
