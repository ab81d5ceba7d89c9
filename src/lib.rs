//! resptap: passive, lossless analysis of Redis/Valkey traffic. The modules in the order in which a packet meets them.

#![deny(unsafe_code)]

// Layer 0: what everything speaks.
pub mod counters; // what happened, counted where it happened
pub mod limits; // every bound
pub mod pool; // bounded pools of reusable items
pub mod units; // time, addresses, stream positions
// Layer 1: bytes.
pub mod capture; // frames from files
pub mod resp; // RESP2/RESP3 values from bytes
// Layer 2: streams and requests.
pub mod flow; // which connection
pub mod redis; // commands, keys, pairing
// Layer 3: connections and records.
pub mod record; // transactions, statistics
// Layer 4: out of the worker.
pub mod export; // summaries and histogram files
pub mod sink; // where transactions go
// Layer 6: what people and operators meet.
pub mod ui; // tables
