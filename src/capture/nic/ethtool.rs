//! What an interface's driver tells of itself and lets be changed: the questions of `linux/ethtool.h`, by ioctl.
//!
//! Questions are arrays of 32-bit words, the first of which says which one it is; the kernel writes its answer over them. A driver
//! that does not know a question says so (`EOPNOTSUPP`): then the answer is [`None`].

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::rss::{Rss, Transform};

/// `ETHTOOL_GDRVINFO` and its like.
const GET_DRIVER: u32 = 0x03;
const GET_RINGS: u32 = 0x10;
const GET_STRINGS: u32 = 0x1b;
const GET_COUNTERS: u32 = 0x1d;
const GET_FLAGS: u32 = 0x25;
const GET_FLOW_HASH: u32 = 0x29;
const GET_GRO: u32 = 0x2b;
const GET_CHANNELS: u32 = 0x3c;
const GET_RSS: u32 = 0x46;
const SET_RSS: u32 = 0x47;

/// Words of `struct ethtool_drvinfo`, of which 32 bytes each are the driver's name and version.
const DRIVER_WORDS: usize = 49;
/// Which of them says how many counters the driver has.
const DRIVER_COUNTERS: usize = 45;
/// Words of `struct ethtool_gstrings` and `struct ethtool_stats` before what they are for.
const STRINGS_WORDS: usize = 3;
const COUNTERS_WORDS: usize = 2;
/// `ETH_SS_STATS`: the counters' names, each with 32 bytes.
const COUNTERS_NAMES: u32 = 1;
const NAME_WORDS: usize = 8;
/// Words of `struct ethtool_rxnfc`.
const FLOW_HASH_WORDS: usize = 48;
/// Words of `struct ethtool_rxfh` before the table.
const RSS_WORDS: usize = 6;
/// `ETH_FLAG_RXVLAN`, `ETH_FLAG_LRO`.
const RX_VLAN: u32 = 1 << 8;
const LRO: u32 = 1 << 15;
/// `TCP_V4_FLOW`.
const TCP_IPV4: u32 = 1;
/// Most entries of a table and bytes of a key that are believed: more than any card has.
const TABLE_MAX: u32 = 1 << 16;
const KEY_MAX: u32 = 1 << 12;
/// Most counters of a driver that are believed. The kernel writes as many as there are then, not as many as there is room for: so
/// there is always room for these.
const COUNTERS_MAX: usize = 1 << 16;

/// How many there are, and how many there could be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// As it is set.
    pub now: u32,
    /// As it can be.
    pub most: u32,
}

/// Queues, as a driver has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Channels {
    /// That only receive.
    pub receiving: Size,
    /// That receive and send.
    pub combined: Size,
}

/// What is done to packets before a program sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Their VLAN tag is taken out.
    pub rx_vlan: bool,
    /// The card joins several to one.
    pub lro: bool,
    /// The kernel joins several to one.
    pub gro: bool,
}

/// Asks about one interface.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
}

impl Ethtool {
    /// About the interface of this name.
    pub fn of(interface: &str) -> io::Result<Ethtool> {
        let mut name = [0; libc::IFNAMSIZ];
        if interface.len() >= name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (place, byte) in name.iter_mut().zip(interface.bytes()) {
            *place = libc::c_char::from_ne_bytes([byte]);
        }
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, and nobody else's.
        Ok(Ethtool { socket: unsafe { OwnedFd::from_raw_fd(fd) }, name })
    }

    /// The driver's name and version.
    pub fn driver(&self) -> io::Result<Option<(String, String)>> {
        let mut words = [0; DRIVER_WORDS];
        words[0] = GET_DRIVER;
        Ok(self.ask(&mut words)?.then(|| {
            let bytes: Vec<u8> = words[1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
            (text(&bytes[..32]), text(&bytes[32..64]))
        }))
    }

    /// The names of the driver's counters, in their order.
    pub fn counters_named(&self) -> io::Result<Option<Vec<String>>> {
        let Some(count) = self.counters_count()? else { return Ok(None) };
        let mut words = vec![0; STRINGS_WORDS + COUNTERS_MAX * NAME_WORDS];
        (words[0], words[1], words[2]) = (GET_STRINGS, COUNTERS_NAMES, count as u32);
        if !self.ask(&mut words)? || words[2] as usize != count {
            return Ok(None);
        }
        let name = |words: &[u32]| text(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>());
        Ok(Some(words[STRINGS_WORDS..].chunks(NAME_WORDS).take(count).map(name).collect()))
    }

    /// The driver's counters.
    pub fn counters(&self) -> io::Result<Option<Vec<u64>>> {
        let Some(count) = self.counters_count()? else { return Ok(None) };
        let mut words = vec![0; COUNTERS_WORDS + COUNTERS_MAX * 2];
        (words[0], words[1]) = (GET_COUNTERS, count as u32);
        if !self.ask(&mut words)? || words[1] as usize != count {
            return Ok(None);
        }
        Ok(Some(words[COUNTERS_WORDS..].chunks(2).take(count).map(|pair| two_words(pair[0], pair[1])).collect()))
    }

    /// How many counters the driver has; `None`: none, or too many.
    fn counters_count(&self) -> io::Result<Option<usize>> {
        let mut words = [0; DRIVER_WORDS];
        words[0] = GET_DRIVER;
        let count = if self.ask(&mut words)? { words[DRIVER_COUNTERS] as usize } else { 0 };
        Ok((1..=COUNTERS_MAX).contains(&count).then_some(count))
    }

    /// Packets for which the rings of each queue have room.
    pub fn rings(&self) -> io::Result<Option<Size>> {
        let mut words = [0; 9];
        words[0] = GET_RINGS;
        Ok(self.ask(&mut words)?.then(|| Size { now: words[5], most: words[1] }))
    }

    /// Queues.
    pub fn channels(&self) -> io::Result<Option<Channels>> {
        let mut words = [0; 9];
        words[0] = GET_CHANNELS;
        Ok(self.ask(&mut words)?.then(|| Channels {
            receiving: Size { now: words[5], most: words[1] },
            combined: Size { now: words[8], most: words[4] },
        }))
    }

    /// What is done to packets.
    pub fn offloads(&self) -> io::Result<Option<Offloads>> {
        let (mut flags, mut gro) = ([GET_FLAGS, 0], [GET_GRO, 0]);
        Ok((self.ask(&mut flags)? && self.ask(&mut gro)?).then(|| Offloads {
            rx_vlan: flags[1] & RX_VLAN != 0,
            lro: flags[1] & LRO != 0,
            gro: gro[1] != 0,
        }))
    }

    /// How packets are spread over queues.
    pub fn rss(&self) -> io::Result<Option<Rss>> {
        let mut sizes = [0; RSS_WORDS];
        sizes[0] = GET_RSS;
        if !self.ask(&mut sizes)? {
            return Ok(None);
        }
        let (entries, key_bytes) = (sizes[2].min(TABLE_MAX), sizes[3].min(KEY_MAX));
        // It can tell of more than it has.
        if entries == 0 {
            return Ok(None);
        }
        let mut words = vec![0; RSS_WORDS + entries as usize + (key_bytes as usize).div_ceil(4)];
        (words[0], words[2], words[3]) = (GET_RSS, entries, key_bytes);
        if !self.ask(&mut words)? {
            return Ok(None);
        }
        let (table, key) = words[RSS_WORDS..].split_at(entries as usize);
        let [function, transform, ..] = words[4].to_ne_bytes();
        let mut key: Vec<u8> = key.iter().flat_map(|word| word.to_ne_bytes()).collect();
        key.truncate(key_bytes as usize);
        Ok(Some(Rss {
            function,
            transform: Transform(transform),
            key,
            table: table.to_vec(),
            fields: self.flow_hash().unwrap_or_default(),
        }))
    }

    /// Has packets spread so. The fields of packets that are hashed are left as they are.
    pub fn set_rss(&self, rss: &Rss) -> io::Result<()> {
        let mut words = vec![0; RSS_WORDS];
        (words[0], words[2], words[3]) = (SET_RSS, rss.table.len() as u32, rss.key.len() as u32);
        words[4] = u32::from_ne_bytes([rss.function, rss.transform.0, 0, 0]);
        words.extend(&rss.table);
        words.extend(rss.key.chunks(4).map(|chunk| {
            let mut bytes = [0; 4];
            bytes[..chunk.len()].copy_from_slice(chunk);
            u32::from_ne_bytes(bytes)
        }));
        if self.ask(&mut words)? { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)) }
    }

    /// Which fields of TCP over IPv4 are hashed (`RXH_…`).
    fn flow_hash(&self) -> io::Result<Option<u64>> {
        let mut words = [0; FLOW_HASH_WORDS];
        (words[0], words[1]) = (GET_FLOW_HASH, TCP_IPV4);
        Ok(self.ask(&mut words)?.then(|| two_words(words[2], words[3])))
    }

    /// Whether the driver knows the question, which must be one of those above, in an array that has room for its answer: the
    /// fixed size of the question's structure, or, of RSS, a table and a key as long as the question says, or, of counters, as
    /// many as any driver has.
    fn ask(&self, words: &mut [u32]) -> io::Result<bool> {
        // SAFETY: a request of zeroes is one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the kernel reads and writes as many words as the question has, which are there: see above. Any bits are words.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
        if result >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::EOPNOTSUPP) { Ok(false) } else { Err(error) }
    }
}

/// A number of 64 bits that lies over two words.
fn two_words(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// Text that ends with a zero, or fills its place.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_an_error_and_what_has_no_answer_is_none() {
        for name in ["no-such-if", "a-name-that-is-too-long"] {
            let error = Ethtool::of(name).and_then(|ethtool| ethtool.driver()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name}");
        }
        let loopback = Ethtool::of("lo").unwrap();
        assert_eq!((loopback.rss().unwrap(), loopback.channels().unwrap()), (None, None));
        assert_eq!((loopback.counters_named().unwrap(), loopback.counters().unwrap()), (None, None));
    }

    #[test]
    fn text_ends_with_a_zero() {
        assert_eq!((text(b"veth\0rest"), text(b"full")), ("veth".to_owned(), "full".to_owned()));
    }
}
