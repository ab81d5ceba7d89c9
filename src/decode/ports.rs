//! The server ports that are observed.

/// A set of TCP ports, as a bitmap.
#[derive(Clone)]
pub struct PortSet {
    words: Box<[u64; 1024]>,
    is_any: bool,
}

impl PortSet {
    /// The set of `ports`.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> PortSet {
        let mut words = Box::new([0u64; 1024]);
        for port in ports {
            words[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        let is_any = words.iter().all(|&word| word == u64::MAX);
        PortSet { words, is_any }
    }

    /// Whether it is all ports, 0 as well, which nobody names: then no port tells who the server is, nor what is spoken.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.is_any
    }

    /// Whether a port is in it.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        self.words[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_any {
            return f.write_str("any");
        }
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
        assert!(!set.is_any() && !PortSet::new(1..=u16::MAX).is_any() && PortSet::new(0..=u16::MAX).is_any());
        assert_eq!(format!("{:?} {:?}", PortSet::new([6379, 1]), PortSet::new(0..=u16::MAX)), "{1, 6379} any");
    }
}
