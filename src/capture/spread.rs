//! Which worker owns a connection, and which of the parts it is in that are left out one after the other under overload, by a
//! hash that an XDP program can do, too (`afxdp/program/tap.bpf.c` has the same).
//!
//! Seeded, as attackers choose addresses and ports, and the same for both directions: each end is three steps of xor, multiply,
//! and fold, over the halves of its address and its port; the ends are added, and one step more gives the hash. Its high half,
//! multiplied by the number of workers, has the worker in its high half; the part is the first byte of its low half, so that each
//! worker has as many of each part.

use crate::limits::SHED_PARTS;
use crate::units::{Address, Endpoint};

/// 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// How connections are spread over workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// Among how many.
    pub workers: u32,
    /// What makes the hash unpredictable from outside.
    pub secret: u64,
}

impl Spread {
    /// The worker who owns what goes between two ends, whichever sends.
    #[inline]
    pub fn owner(&self, one: &Endpoint, other: &Endpoint) -> usize {
        (((self.hash(one, other) >> 32) * u64::from(self.workers)) >> 32) as usize
    }

    /// The part of all connections, below [`SHED_PARTS`], that what goes between two ends is in.
    #[inline]
    pub fn part(&self, one: &Endpoint, other: &Endpoint) -> usize {
        (self.hash(one, other) >> 24) as usize % SHED_PARTS
    }

    #[inline]
    fn hash(&self, one: &Endpoint, other: &Endpoint) -> u64 {
        mix(self.endpoint(one).wrapping_add(self.endpoint(other)), self.secret)
    }

    #[inline]
    fn endpoint(&self, Endpoint { address: Address(address), port }: &Endpoint) -> u64 {
        let whole = u128::from_be_bytes(*address);
        mix(mix(mix(self.secret, (whole >> 64) as u64), whole as u64), u64::from(*port))
    }
}

#[inline]
fn mix(sum: u64, word: u64) -> u64 {
    let product = (sum ^ word).wrapping_mul(MULTIPLIER);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(a: u8, b: u8, port: u16) -> Endpoint {
        Endpoint { address: Address::from_ipv4([10, 0, a, b]), port }
    }

    #[test]
    fn both_directions_have_one_owner_and_secrets_make_others() {
        let server = endpoint(0, 9, 6379);
        let spreads = [1, 2].map(|secret| Spread { workers: 8, secret });
        let mut differ = 0;
        for port in 10_000..10_100 {
            let client = endpoint(0, 1, port);
            let owners = spreads.map(|spread| spread.owner(&client, &server));
            assert_eq!(owners, spreads.map(|spread| spread.owner(&server, &client)));
            differ += u32::from(owners[0] != owners[1]);
        }
        assert!(differ > 70, "{differ}");
    }

    #[test]
    fn connections_spread_evenly_over_workers() {
        for workers in [1, 3, 8, 16] {
            let spread = Spread { workers, secret: 7 };
            let server = endpoint(0, 9, 6379);
            let mut owned = vec![0u32; workers as usize];
            for port in 10_000..26_000 {
                owned[spread.owner(&endpoint((port % 5) as u8, (port % 11) as u8, port), &server)] += 1;
            }
            let fair = 16_000 / workers;
            assert!(owned.iter().all(|count| count.abs_diff(fair) < fair / 5), "{owned:?}");
        }
    }

    #[test]
    fn each_worker_has_as_many_connections_of_each_part() {
        let spread = Spread { workers: 4, secret: 7 };
        let server = endpoint(0, 9, 6379);
        // Of each worker, by sixteenths of the parts.
        let mut counts = [[0u32; 16]; 4];
        for port in 10_000..42_000 {
            let client = endpoint((port % 5) as u8, (port % 11) as u8, port);
            let part = spread.part(&client, &server);
            assert!(part < SHED_PARTS && part == spread.part(&server, &client));
            counts[spread.owner(&client, &server)][part * 16 / SHED_PARTS] += 1;
        }
        assert!(counts.as_flattened().iter().all(|count| count.abs_diff(500) < 100), "{counts:?}");
    }
}
