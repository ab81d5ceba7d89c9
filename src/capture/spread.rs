//! Which worker owns a connection, by a hash that an XDP program can do, too (`afxdp/program/tap.bpf.c` has the same).
//!
//! Seeded, as attackers choose addresses and ports, and the same for both directions: each end is three steps of xor, multiply,
//! and fold, over the halves of its address and its port; the ends are added, and one step more gives the hash. Its high half,
//! multiplied by the number of workers, has the worker in its high half.

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
        let ends = self.endpoint(one).wrapping_add(self.endpoint(other));
        (((mix(ends, self.secret) >> 32) * u64::from(self.workers)) >> 32) as usize
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
}
