//! What tells connections apart.

use crate::units::Endpoint;

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
    /// The key's hash; the same for both directions.
    #[inline]
    pub fn hash(&self, seed: Seed) -> u64 {
        seed.of_endpoints(&self.client, &self.server)
    }
}
