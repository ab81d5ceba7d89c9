//! Connections as little packet diagrams.
