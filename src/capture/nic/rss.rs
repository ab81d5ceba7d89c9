//! How a network card spreads packets over its receive queues (receive side scaling), and whether it brings both directions of a
//! connection to the same one.
//!
//! A card hashes addresses and ports of a packet, and finds the queue of the hash in a table. With the usual function (Toeplitz)
//! each bit that is set adds a window of the key; swapping source and destination leaves the hash as it is if the windows of
//! both are the same. That is so for a key of which every 16 bits are the same. Cards that can, and Linux 6.8 or newer, do without
//! such a key, which spreads less evenly: they combine both sides before they hash (`symmetric-xor`).

use serde::{Deserialize, Serialize};

/// `ETH_RSS_HASH_TOP`, `ETH_RSS_HASH_XOR`, `ETH_RSS_HASH_CRC32`.
const TOEPLITZ: u8 = 1;
const XOR: u8 = 2;
/// `RXH_IP_SRC` and its like.
const SOURCE_ADDRESS: u64 = 1 << 4;
const DESTINATION_ADDRESS: u64 = 1 << 5;
const SOURCE_PORT: u64 = 1 << 6;
const DESTINATION_PORT: u64 = 1 << 7;
/// What is repeated in a key under which both directions have the same hash.
const SYMMETRIC: [u8; 2] = [0x6d, 0x5a];

/// What is done to a packet's addresses and ports before they are hashed: bits of `RXH_XFRM_…`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Transform(pub u8);

impl Transform {
    /// Source xor destination takes the place of both.
    pub const SYMMETRIC_XOR: Transform = Transform(1);
    /// Source or destination and source xor destination do.
    const SYMMETRIC_OR_XOR: Transform = Transform(2);

    fn is_symmetric(self) -> bool {
        self.0 & (Transform::SYMMETRIC_XOR.0 | Transform::SYMMETRIC_OR_XOR.0) != 0
    }
}

/// How an interface spreads packets.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rss {
    /// The hash function: a bit of `ETH_RSS_HASH_…`; 0: not told.
    pub function: u8,
    /// What comes before it.
    pub transform: Transform,
    /// Its key.
    pub key: Vec<u8>,
    /// The queue of each hash, modulo the table's length.
    pub table: Vec<u32>,
    /// The fields of TCP over IPv4 that are hashed: bits of `RXH_…`; `None`: not told.
    #[serde(skip)]
    pub fields: Option<u64>,
}

/// Whether both directions of a connection come to one queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Symmetry {
    /// They do, as all come to one.
    OneQueue,
    /// They do, as both sides are combined first.
    Transform,
    /// They do, as the function treats both sides alike.
    Function,
    /// They do, by the key.
    Key,
    /// They do by chance only.
    None,
}

impl Symmetry {
    /// Why, in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Symmetry::OneQueue => "one queue",
            Symmetry::Transform => "symmetric-xor",
            Symmetry::Function => "the hash function xor",
            Symmetry::Key => "a symmetric key",
            Symmetry::None => "not symmetric",
        }
    }
}

impl Rss {
    /// Whether both directions of a connection come to one queue.
    pub fn symmetry(&self) -> Symmetry {
        let fields = self.fields.unwrap_or(SOURCE_ADDRESS | DESTINATION_ADDRESS | SOURCE_PORT | DESTINATION_PORT);
        let both = |source, destination| (fields & source == 0) == (fields & destination == 0);
        if self.table.windows(2).all(|pair| pair[0] == pair[1]) {
            Symmetry::OneQueue
        } else if !both(SOURCE_ADDRESS, DESTINATION_ADDRESS) || !both(SOURCE_PORT, DESTINATION_PORT) {
            Symmetry::None
        } else if self.transform.is_symmetric() {
            Symmetry::Transform
        } else if self.function & XOR != 0 {
            Symmetry::Function
        } else if self.function & !TOEPLITZ == 0 && self.has_symmetric_key() {
            Symmetry::Key
        } else {
            Symmetry::None
        }
    }

    /// Whether swapping addresses and ports leaves Toeplitz's hash as it is, for IPv4 and for IPv6.
    fn has_symmetric_key(&self) -> bool {
        // A window is 32 bits: windows of n bits further on are the same if n + 31 bits are.
        let same = |from: usize, bits: usize| {
            (from..from + bits + 31).all(|at| self.bit(at).is_some() && self.bit(at) == self.bit(at + bits))
        };
        same(0, 32) && same(64, 16) && same(0, 128) && same(256, 16)
    }

    fn bit(&self, at: usize) -> Option<bool> {
        self.key.get(at / 8).map(|byte| byte >> (7 - at % 8) & 1 == 1)
    }

    /// Ways to have it symmetric, the better one first.
    pub fn symmetric_ways(&self) -> [Rss; 2] {
        let key = SYMMETRIC.iter().copied().cycle().take(self.key.len()).collect();
        [
            Rss { transform: Transform::SYMMETRIC_XOR, ..self.clone() },
            Rss { key, transform: Transform::default(), ..self.clone() },
        ]
    }

    /// Whether the same is in force in `other`, as a driver tells it.
    pub fn is_in_force_in(&self, other: &Rss) -> bool {
        (self.function, self.transform, &self.key, &self.table)
            == (other.function, other.transform, &other.key, &other.table)
    }

    /// The arguments of `ethtool -X IF` that have it symmetric where only the key can be changed.
    pub fn symmetric_key_argument(&self) -> String {
        let key = SYMMETRIC.iter().cycle().take(self.key.len()).map(|byte| format!("{byte:02x}"));
        format!("hkey {}", key.collect::<Vec<_>>().join(":"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of Microsoft's verification suite.
    const MICROSOFT: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
        0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
        0xbe, 0xac, 0x01, 0xfa,
    ];

    fn rss(key: &[u8]) -> Rss {
        Rss { function: TOEPLITZ, key: key.to_vec(), table: vec![0, 1, 2, 3], ..Rss::default() }
    }

    /// Toeplitz's hash, bit by bit.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let window =
            |at: usize| (at..at + 32).fold(0u32, |window, at| window << 1 | u32::from(key[at / 8] >> (7 - at % 8) & 1));
        let set = (0..input.len() * 8).filter(|at| input[at / 8] >> (7 - at % 8) & 1 == 1);
        set.fold(0, |hash, at| hash ^ window(at))
    }

    /// Source and destination address, source and destination port of a connection, and the other way round.
    fn both_ways(address_bytes: usize, seed: u8) -> [Vec<u8>; 2] {
        let bytes = |salt: u8, count: usize| -> Vec<u8> {
            (0..count as u8).map(|at| at.wrapping_mul(31) ^ seed.wrapping_mul(97) ^ salt).collect()
        };
        let (client, server) = (bytes(3, address_bytes), bytes(140, address_bytes));
        let (client_port, server_port) = (bytes(77, 2), vec![0x18, 0xeb]);
        [[&client, &server, &client_port, &server_port], [&server, &client, &server_port, &client_port]]
            .map(|parts| parts.into_iter().flatten().copied().collect())
    }

    #[test]
    fn the_hash_of_the_tests_is_that_of_the_cards() {
        // Microsoft's: 66.9.149.187:2794 to 161.142.100.80:1766.
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(toeplitz(&MICROSOFT, &input), 0x51cc_c178);
    }

    #[test]
    fn a_key_is_symmetric_if_the_hashes_of_both_directions_are_the_same() {
        let repeated: Vec<u8> = SYMMETRIC.iter().copied().cycle().take(40).collect();
        let mut flipped = repeated.clone();
        // Of the last window of IPv6's ports.
        flipped[37] ^= 0x80;
        let mut unused = repeated.clone();
        unused[39] ^= 0x01;
        // Under which only IPv4's addresses, and only its ports, tell the directions apart.
        let of_block = |one: [u8; 2], count: usize, other: [u8; 2]| {
            let block = [one.repeat(count), other.repeat(8 - count)].concat();
            block.into_iter().cycle().take(40).collect::<Vec<u8>>()
        };
        for (key, is_symmetric) in [
            (MICROSOFT.to_vec(), false),
            (repeated, true),
            (flipped, false),
            (of_block(SYMMETRIC, 4, [0x11, 0x22]), false),
            (of_block(SYMMETRIC, 6, [0x11, 0x22]), false),
            (vec![0xff; 40], true),
            (unused, true),
        ] {
            let all = (4..=16).step_by(12).flat_map(|bytes| (0..=255).map(move |seed| both_ways(bytes, seed)));
            let same = all.into_iter().all(|[there, back]| toeplitz(&key, &there) == toeplitz(&key, &back));
            assert_eq!(same, is_symmetric, "{key:02x?}");
            assert_eq!(rss(&key).symmetry() == Symmetry::Key, is_symmetric, "{key:02x?}");
        }
        assert_eq!(rss(&[0x6d, 0x5a].repeat(16)).symmetry(), Symmetry::None, "too short for IPv6's ports");
        assert_eq!(rss(&[]).symmetry(), Symmetry::None);
    }

    #[test]
    fn both_directions_are_hashed_alike_only_if_both_sides_are_hashed() {
        let repeated = SYMMETRIC.repeat(20);
        let all = SOURCE_ADDRESS | DESTINATION_ADDRESS | SOURCE_PORT | DESTINATION_PORT;
        for (fields, expected) in [
            (all, Symmetry::Key),
            (SOURCE_ADDRESS | DESTINATION_ADDRESS, Symmetry::Key),
            (SOURCE_ADDRESS, Symmetry::None),
            (all & !DESTINATION_PORT, Symmetry::None),
        ] {
            assert_eq!(Rss { fields: Some(fields), ..rss(&repeated) }.symmetry(), expected, "{fields:x}");
        }
    }

    #[test]
    fn settings_are_in_force_if_each_of_them_is() {
        let wanted = rss(&MICROSOFT);
        assert!(wanted.is_in_force_in(&Rss { fields: Some(1), ..wanted.clone() }), "which are no settings of it");
        for other in [
            Rss { function: XOR, ..wanted.clone() },
            Rss { transform: Transform::SYMMETRIC_XOR, ..wanted.clone() },
            Rss { key: vec![1; 40], ..wanted.clone() },
            Rss { table: vec![0; 4], ..wanted.clone() },
        ] {
            assert!(!wanted.is_in_force_in(&other), "{other:?}");
        }
    }

    #[test]
    fn what_else_makes_it_symmetric() {
        let usual = rss(&MICROSOFT);
        assert_eq!(Rss { transform: Transform::SYMMETRIC_XOR, ..usual.clone() }.symmetry(), Symmetry::Transform);
        assert_eq!(Rss { transform: Transform::SYMMETRIC_OR_XOR, ..usual.clone() }.symmetry(), Symmetry::Transform);
        assert_eq!(Rss { function: XOR, ..usual.clone() }.symmetry(), Symmetry::Function);
        assert_eq!(Rss { table: vec![2; 128], ..usual.clone() }.symmetry(), Symmetry::OneQueue);
        assert_eq!(Rss { function: 4, key: SYMMETRIC.repeat(20), ..usual }.symmetry(), Symmetry::None, "crc32");
    }

    #[test]
    fn each_way_to_make_it_symmetric_does() {
        let usual = rss(&MICROSOFT);
        assert_eq!(usual.symmetry(), Symmetry::None);
        assert_eq!(usual.symmetric_ways().map(|way| way.symmetry()), [Symmetry::Transform, Symmetry::Key]);
        assert!(usual.symmetric_ways().iter().all(|way| way.table == usual.table));
        assert_eq!(Rss { key: vec![1; 4], ..usual }.symmetric_key_argument(), "hkey 6d:5a:6d:5a");
    }
}
