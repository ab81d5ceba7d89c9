//! Which transactions are emitted to the sinks.
