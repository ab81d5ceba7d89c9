//! The flow hash: seeded (attackers choose addresses and ports), and the same for both directions of a connection.
//!
//! Folded 64 × 64 → 128-bit multiplications. What chooses the worker is the same whichever end sends ([`Seed::of_endpoints`]: two
//! rounds over each end, summed, and one more); what chooses the bucket knows client from server ([`Seed::of_roles`]: a round over
//! each address, and one more with the ports; [`Seed::of_ipv4`]: two rounds). Nothing in the output depends on either.

use std::hash::{BuildHasher, Hash, Hasher};

use crate::units::Endpoint;

/// A secret that makes hashes unpredictable from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed([u64; 2]);

impl Seed {
    /// A fixed seed, for tests and benchmarks.
    pub const fn fixed(seed: u64) -> Seed {
        Seed([seed ^ 0x9e37_79b9_7f4a_7c15, seed.rotate_left(32) ^ 0xd1b5_4a32_d192_ed03])
    }

    /// A seed that nobody can guess, from the standard library's own source of them.
    pub fn random() -> Seed {
        let state = std::hash::RandomState::new();
        Seed([state.hash_one(1u64), state.hash_one(2u64)])
    }

    /// The hash of a connection between two endpoints, whichever sends.
    #[inline]
    pub fn of_endpoints(self, one: &Endpoint, other: &Endpoint) -> u64 {
        fold(self.endpoint(one).wrapping_add(self.endpoint(other)), self.0[1])
    }

    /// The hash of a connection whose two ends are told apart.
    #[inline(always)]
    pub fn of_roles(self, client: &Endpoint, server: &Endpoint) -> u64 {
        let [one, other] = [halves(&client.address.0), halves(&server.address.0)];
        let ports = u64::from(client.port) << 16 | u64::from(server.port);
        let one = fold(one.0 ^ self.0[0], one.1 ^ self.0[1]);
        let other = fold(other.0 ^ self.0[1], other.1 ^ self.0[0]);
        fold(one ^ ports.rotate_left(32), other ^ ports ^ self.0[1])
    }

    /// The same of a connection over IPv4: two addresses and two ports.
    #[inline(always)]
    pub fn of_ipv4(self, addresses: u64, ports: u32) -> u64 {
        fold(fold(addresses ^ self.0[0], u64::from(ports) ^ self.0[1]), self.0[1])
    }

    /// The hash of anything, for tables that are not on the packet path.
    #[inline]
    pub fn hash_of<K: Hash>(self, value: &K) -> u64 {
        let mut state = Folding(self.0[0], self.0[1]);
        value.hash(&mut state);
        state.finish()
    }

    /// The hash of a text.
    #[inline(always)]
    pub fn of_bytes(self, bytes: &[u8]) -> u64 {
        let length = bytes.len() as u64;
        let (mut state, mut rest) = (self.0[0], bytes);
        while rest.len() > 16
            && let Some((chunk, after)) = rest.split_first_chunk::<16>()
        {
            let (high, low) = halves(chunk);
            state = fold(high ^ state, low ^ self.0[1]) ^ self.0[0];
            rest = after;
        }
        // At most 16 bytes are left: read from both ends, which may overlap.
        let (a, b) = match (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
                (Some(first), Some(last)) => (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()),
                _ => rest.iter().fold((0, 0), |(a, _), &byte| (a << 8 | u64::from(byte), 0)),
            },
        };
        self.of_rest(state, [a, b], length)
    }

    /// The same of a text of 8 to 16 bytes, by its first eight and its last.
    #[inline(always)]
    pub fn of_ends(self, first: [u8; 8], last: [u8; 8], length: u64) -> u64 {
        debug_assert!((8..=16).contains(&length));
        self.of_rest(self.0[0], [u64::from_le_bytes(first), u64::from_le_bytes(last)], length)
    }

    #[inline(always)]
    fn of_rest(self, state: u64, [a, b]: [u64; 2], length: u64) -> u64 {
        fold(fold(a ^ state, b ^ self.0[1]) ^ self.0[0], length ^ self.0[1])
    }

    #[inline]
    fn endpoint(self, endpoint: &Endpoint) -> u64 {
        let (high, low) = halves(&endpoint.address.0);
        let inner = fold(high ^ self.0[0], low ^ self.0[1]);
        fold(inner ^ self.0[1], u64::from(endpoint.port) ^ self.0[0])
    }
}

#[inline]
fn halves(address: &[u8; 16]) -> (u64, u64) {
    let whole = u128::from_le_bytes(*address);
    ((whole >> 64) as u64, whole as u64)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product >> 64) as u64 ^ product as u64
}

struct Folding(u64, u64);

impl Hasher for Folding {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 56));
        }
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = fold(self.0 ^ value, self.1 | 1).rotate_left(23) ^ value;
    }

    #[inline]
    fn finish(&self) -> u64 {
        fold(self.0 ^ self.1, 0x9e37_79b9_7f4a_7c15 ^ self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Address;

    fn endpoint(a: u8, b: u8, port: u16) -> Endpoint {
        Endpoint { address: Address::from_ipv4([10, 0, a, b]), port }
    }

    #[test]
    fn both_directions_hash_alike_and_seeds_differ() {
        let (client, server) = (endpoint(0, 1, 40_001), endpoint(0, 9, 6379));
        let seed = Seed::fixed(1);
        assert_eq!(seed.of_endpoints(&client, &server), seed.of_endpoints(&server, &client));
        assert_ne!(seed.of_endpoints(&client, &server), Seed::fixed(2).of_endpoints(&client, &server));
        assert_ne!(Seed::random(), Seed::random());
    }

    #[test]
    fn texts_of_all_lengths_hash_apart() {
        let seed = Seed::fixed(3);
        let text: Vec<u8> = (1..=80).collect();
        let mut hashes = std::collections::BTreeSet::new();
        for length in 0..=80 {
            assert!(hashes.insert(seed.of_bytes(&text[..length])), "the first {length} bytes");
            // Each byte counts, wherever it stands; so does the seed.
            for at in 0..length {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(hashes.insert(seed.of_bytes(&other[..length])), "byte {at} of {length}");
            }
            assert!(hashes.insert(Seed::fixed(4).of_bytes(&text[..length])), "another seed");
        }
        assert!(hashes.insert(seed.of_bytes(&[0])) && hashes.insert(seed.of_bytes(&[0; 2])), "zeros count");
    }

    #[test]
    fn connections_spread_evenly_over_workers_and_buckets() {
        let seed = Seed::fixed(7);
        let server = endpoint(0, 9, 6379);
        let (mut by_worker, mut by_bucket, mut by_others) = ([0u32; 16], [0u32; 16], [0u32; 32]);
        for port in 10_000..26_000 {
            let client = endpoint((port % 5) as u8, (port % 11) as u8, port);
            by_worker[(seed.of_endpoints(&client, &server) >> 60) as usize] += 1;
            by_bucket[(seed.of_roles(&client, &server) & 15) as usize] += 1;
            let [.., a, b] = client.address.0;
            let addresses = u64::from_le_bytes([10, 0, a, b, 10, 0, 0, 9]);
            let hash = seed.of_ipv4(addresses, u32::from(port) << 16 | u32::from(server.port));
            by_others[(hash & 15) as usize] += 1;
            by_others[16 + (hash >> 60) as usize] += 1;
        }
        for count in by_worker.into_iter().chain(by_bucket).chain(by_others) {
            assert!((850..1150).contains(&count), "1000 expected, {count} found");
        }
    }
}
