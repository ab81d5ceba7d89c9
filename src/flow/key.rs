//! What tells connections apart.

use crate::decode::Segment;
use crate::decode::ports::PortSet;
use crate::units::{Direction, Endpoint};

use super::hash::Seed;

/// A connection's identity: its two ends, by role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowKey {
    /// The end whose port is not the server's.
    pub client: Endpoint,
    /// The end whose port is the server's.
    pub server: Endpoint,
}

impl FlowKey {
    /// The key of a segment's connection, and which way the segment goes; `None` if neither port is a server's. If both are,
    /// the end with the lower port (then address) is taken for the server, until a SYN tells otherwise.
    #[inline]
    pub fn of(segment: &Segment<'_>, ports: &PortSet) -> Option<(FlowKey, Direction)> {
        let Segment { source, destination, .. } = *segment;
        let to_server = match (ports.contains(source.port), ports.contains(destination.port)) {
            (false, true) => true,
            (true, false) => false,
            (true, true) => (destination.port, destination.address) < (source.port, source.address),
            (false, false) => return None,
        };
        Some(if to_server {
            (FlowKey { client: source, server: destination }, Direction::Request)
        } else {
            (FlowKey { client: destination, server: source }, Direction::Reply)
        })
    }

    /// The key's hash; the same for both directions.
    #[inline]
    pub fn hash(&self, seed: Seed) -> u64 {
        seed.of_endpoints(&self.client, &self.server)
    }
}
