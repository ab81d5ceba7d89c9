//! The server ports that are observed.

/// A set of TCP ports, as a bitmap.
#[derive(Clone)]
pub struct PortSet(Box<[u64; 1024]>);

impl PortSet {
    /// The set of `ports`.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> PortSet {
        let mut words = Box::new([0u64; 1024]);
        for port in ports {
            words[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        PortSet(words)
    }

    /// Whether a port is in it.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries((0..=u16::MAX).filter(|&port| self.contains(port))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_was_made_of() {
        let ports = [0, 63, 64, 6379, 65535];
        let set = PortSet::new(ports);
        assert_eq!((0..=u16::MAX).filter(|&port| set.contains(port)).collect::<Vec<_>>(), ports);
    }
}
