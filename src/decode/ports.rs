//! The server ports that are observed.

/// A set of TCP ports, as a bitmap.
#[derive(Clone)]
pub struct PortSet {
    words: Box<[u64; 1024]>,
    is_any: bool,
    only: Only,
}

/// The port of a set of one, as most are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Only {
    /// Twice, side by side, as in a header.
    twice: u32,
    /// Of a larger or an empty set 0, else the most that a port can be.
    most: u32,
}

impl Only {
    /// As of a set that is not of one.
    pub const NONE: Only = Only { twice: 0, most: 0 };

    /// How far two ports as in a header, of which the first is the lower half, are to be turned so that the port of the set is in the
    /// upper half: 16 bits or none. `None`: they don't tell that.
    #[inline(always)]
    pub fn turn(self, ports: u32) -> Option<u32> {
        // No branches: which of the two it is can't be foretold. 16 where nothing is left of the first.
        let turn = ((ports ^ self.twice) & 0xffff).wrapping_sub(1) >> 27 & 16;
        // Something is left of one, nothing of the other.
        let is_one = (ports.rotate_left(turn) ^ self.twice).wrapping_sub(1) < self.most;
        if is_one { Some(turn) } else { None }
    }

    /// Whether the set is of one port, which is neither of these.
    #[inline]
    pub fn is_neither(self, ports: u32) -> bool {
        let left = ports ^ self.twice;
        self.most > 0 && left & 0xffff != 0 && left >> 16 != 0
    }
}

impl PortSet {
    /// The set of `ports`.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> PortSet {
        let mut words = Box::new([0u64; 1024]);
        for port in ports {
            words[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        let is_any = words.iter().all(|&word| word == u64::MAX);
        let mut set = PortSet { words, is_any, only: Only::NONE };
        let mut all = (0..=u16::MAX).filter(|&port| set.contains(port));
        if let (Some(only), None) = (all.next(), all.next()) {
            let only = u32::from(only.swap_bytes());
            set.only = Only { twice: only << 16 | only, most: 0xffff };
        }
        set
    }

    /// Whether it is all ports, 0 as well, which nobody names: then no port tells who the server is, nor what is spoken.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.is_any
    }

    /// Its port, if that is one.
    #[inline(always)]
    pub fn only(&self) -> Only {
        self.only
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

    #[test]
    fn the_only_port_is_turned_to_the_upper_half() {
        let ports = [0, 1, 6379, 0xeb18, 6380, 40_001, 0xff00, u16::MAX];
        let header = |from: u16, to: u16| u32::from(to.swap_bytes()) << 16 | u32::from(from.swap_bytes());
        for (from, to) in ports.into_iter().flat_map(|from| ports.map(|to| (from, to))) {
            for only in ports {
                let set = PortSet::new([only, only]).only();
                let expected = match (from == only, to == only) {
                    (true, false) => Some(16),
                    (false, true) => Some(0),
                    _ => None,
                };
                assert_eq!(set.turn(header(from, to)), expected, "{only}: {from} {to}");
                assert_eq!(set.is_neither(header(from, to)), from != only && to != only, "{only}: {from} {to}");
            }
            for set in [PortSet::new([]), PortSet::new([0, 6379]), PortSet::new(0..=u16::MAX)] {
                let only = set.only();
                assert!(only.turn(header(from, to)).is_none() && !only.is_neither(header(from, to)), "{from} {to}");
            }
        }
    }
}
