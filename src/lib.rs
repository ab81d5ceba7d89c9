//! resptap: passive, lossless analysis of Redis/Valkey traffic. The modules in the order in which a packet meets them.

#![deny(unsafe_code)]

// Layer 0: what everything speaks.
pub mod clock; // the only reader of the machine's clock
pub mod counters; // what happened, counted where it happened
pub mod huge; // huge pages
pub mod limits; // every bound
pub mod pool; // bounded pools of reusable items
pub mod prefetch; // the one intrinsic
pub mod short; // short texts
pub mod units; // time, addresses, stream positions
// Layer 1: bytes.
pub mod capture; // frames from files and interfaces, faults on purpose
pub mod decode; // TCP segments from frames
pub mod resp; // RESP2/RESP3 values from bytes
// Layer 2: streams and requests.
pub mod flow; // which connection
pub mod reassembly; // bytes in order from segments
pub mod redis; // commands, keys, pairing
// Layer 3: connections and records.
pub mod connection; // requests and replies of one connection, paired
pub mod record; // transactions, statistics
// Layer 4: out of the worker.
pub mod endpoint; // who is behind an address
pub mod export; // summaries and histogram files
pub mod ring; // rings between threads
pub mod sink; // where transactions go
// Layer 5: threads.
pub mod steering; // who owns a frame
pub mod worker; // one core
pub mod writer; // the single writer
// Layer 6: the program; config is the lowest of it, cli the highest.
pub mod cli; // what was typed
pub mod config; // what will run
pub mod runtime; // pin, spawn, join
pub mod sandbox; // what the program may do
pub mod ui; // tables, progress and log
