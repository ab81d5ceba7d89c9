//! What is yes or no about a connection, and how much of its beginning was seen: a bit or two each.

/// How much of a connection's beginning was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// Nothing.
    Midstream,
    /// The client's SYN.
    Syn,
    /// Both SYNs.
    Handshake,
}

/// The set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Facts(u16);

impl Facts {
    /// The end that was taken for the server sent the SYN: it is the client.
    pub(super) const SWAPPED: Facts = Facts(1 << 0);
    pub(super) const CLOSED: Facts = Facts(1 << 1);
    /// It can go the short way, see [`super::usual`].
    pub(super) const PLAIN: Facts = Facts(1 << 2);
    pub(super) const MAY_PUSH: Facts = Facts(1 << 3);
    pub(super) const UNPAIRABLE: Facts = Facts(1 << 4);
    /// An acknowledgement was seen before what it acknowledges: the directions come through different ways.
    pub(super) const SKEWED: Facts = Facts(1 << 5);
    /// A reply was of a kind that its command never has, by our own list.
    pub(super) const ODD_KINDS: Facts = Facts(1 << 6);
    /// The client has sent multibulk commands, and nothing else.
    pub(super) const MULTIBULK: Facts = Facts(1 << 7);
    pub(super) const BLOCKING_SEEN: Facts = Facts(1 << 8);
    /// It has changed how its replies are to be counted while nothing was certain.
    pub(super) const UNCOUNTABLE: Facts = Facts(1 << 9);
    /// Where requests begin was lost at least once: that it was found again is likely, but not certain.
    pub(super) const REQUESTS_REFOUND: Facts = Facts(1 << 10);
    /// A command waits whose reply must be read in its own way.
    pub(super) const WATCHFUL: Facts = Facts(1 << 11);
    /// A FIN of it was seen, and it is not recognised yet, or has ended by that.
    pub(super) const CLOSING: Facts = Facts(1 << 12);
    const SYN_SEEN: Facts = Facts(1 << 13);
    const HANDSHAKE_SEEN: Facts = Facts(1 << 14);
    /// Both ends are of IPv4.
    pub(super) const IPV4: Facts = Facts(1 << 15);

    /// Those of a connection that begins.
    pub(super) fn new(start: Start, swapped: bool, ipv4: bool) -> Facts {
        let mut facts = Facts(0);
        facts.put(Facts::IPV4, ipv4);
        facts.set_start(start);
        facts.put(Facts::SWAPPED, swapped);
        facts.put(Facts::MAY_PUSH, start == Start::Midstream);
        facts
    }

    #[inline(always)]
    pub(super) fn has(self, fact: Facts) -> bool {
        self.0 & fact.0 != 0
    }

    /// Whether it has both facts.
    #[inline(always)]
    pub(super) fn has_all(self, one: Facts, other: Facts) -> bool {
        !self.0 & (one.0 | other.0) == 0
    }

    #[inline(always)]
    pub(super) fn set(&mut self, fact: Facts) {
        self.0 |= fact.0;
    }

    #[inline(always)]
    pub(super) fn clear(&mut self, fact: Facts) {
        self.0 &= !fact.0;
    }

    /// Sets it if so; else it stays as it is.
    #[inline(always)]
    pub(super) fn set_if(&mut self, fact: Facts, is_so: bool) {
        self.0 |= if is_so { fact.0 } else { 0 };
    }

    #[inline(always)]
    pub(super) fn put(&mut self, fact: Facts, is_so: bool) {
        self.clear(fact);
        self.set_if(fact, is_so);
    }

    pub(super) fn start(self) -> Start {
        if self.has(Facts::HANDSHAKE_SEEN) {
            Start::Handshake
        } else if self.has(Facts::SYN_SEEN) {
            Start::Syn
        } else {
            Start::Midstream
        }
    }

    pub(super) fn set_start(&mut self, start: Start) {
        self.put(Facts::SYN_SEEN, start == Start::Syn);
        self.put(Facts::HANDSHAKE_SEEN, start == Start::Handshake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_do_not_touch_one_another() {
        let mut facts = Facts::new(Start::Syn, true, false);
        assert_eq!((facts.start(), facts.has(Facts::SWAPPED), facts.has(Facts::MAY_PUSH)), (Start::Syn, true, false));
        facts.set_if(Facts::CLOSING, false);
        facts.set_if(Facts::SKEWED, true);
        facts.set_if(Facts::SKEWED, false);
        facts.put(Facts::SWAPPED, false);
        facts.set_start(Start::Handshake);
        assert_eq!((facts.start(), facts.has(Facts::SKEWED)), (Start::Handshake, true));
        assert!(!facts.has(Facts::CLOSING) && !facts.has(Facts::SWAPPED));
        facts.set_start(Start::Midstream);
        facts.clear(Facts::SKEWED);
        facts.set(Facts::MAY_PUSH);
        assert_eq!(facts, Facts::new(Start::Midstream, false, false));
    }
}
