//! Names of services by address: the file of `--names`.
//!
//! A TOML table without sections: `"10.0.0.9:6379" = "cache-a"`, `"10.1.0.0/16" = "checkout"`. The key is an address or a
//! network, perhaps with a port (IPv6 then in brackets). Of all entries that hold an endpoint the one with the longest
//! prefix names it; of two with the same prefix the one with the port. Finding it is a hash lookup per length of prefix in
//! use, so it is done once per connection, not per record. Nothing panics, whatever the file holds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use crate::limits::NAME_BYTES_MAX;
use crate::units::{Address, Endpoint};

/// Why a file of names can't be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum NamesError {
    #[error("the file of names {path} can't be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: this is no TOML: {message}")]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error(
        "{path}, line {line}: `{key}` is no address or network; write 10.0.0.9, 10.1.0.0/16, 2001:db8::/32, or with a port 10.0.0.9:6379 or [2001:db8::9]:6379"
    )]
    Key { path: PathBuf, line: usize, key: String },
    #[error("{path}, line {line}: `{key}` has bits behind its prefix; write `{network}`, or a longer prefix")]
    HostBits { path: PathBuf, line: usize, key: String, network: IpNet },
    #[error(
        "{path}, line {line}: the address before a dot or `=` stands without quotes; write \"10.0.0.9\" = \"name\", and no [sections]"
    )]
    Unquoted { path: PathBuf, line: usize },
    #[error(
        "{path}, line {line}: `{key}` needs a name: a text of 1 to {NAME_BYTES_MAX} bytes without control characters"
    )]
    Name { path: PathBuf, line: usize, key: String },
    #[error("{path}, line {line}: `{key}` is named a second time; the first is on line {first}")]
    Twice { path: PathBuf, line: usize, key: String, first: usize },
}

/// What an entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Place {
    is_ipv4: bool,
    prefix: u8,
    /// The bits of the prefix, the others 0.
    bits: u128,
    /// `None`: any.
    port: Option<u16>,
}

/// The names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    entries: HashMap<Place, String>,
    /// Lengths of prefixes in use, longest first; IPv6, IPv4.
    prefixes: [Vec<u8>; 2],
}

impl Names {
    /// Reads a file of names.
    pub fn read(path: &Path) -> Result<Names, NamesError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| NamesError::Read { path: path.to_owned(), source })?;
        Names::parse(path, &text)
    }

    /// Reads the text of a file of names; `path` is only for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Names, NamesError> {
        let path = || path.to_owned();
        let table = DeTable::parse(text).map_err(|error| NamesError::Syntax {
            path: path(),
            line: line(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        // In the order of the file: the first fault is the one that is told.
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut names = Names::default();
        let mut lines = HashMap::new();
        for (key, value) in entries {
            let line = line(text, key.span().start);
            let key = key.get_ref().to_string();
            let name = match value.get_ref() {
                DeValue::Table(_) => return Err(NamesError::Unquoted { path: path(), line }),
                DeValue::String(name) => name.as_ref(),
                _ => "",
            };
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
                return Err(NamesError::Name { path: path(), line, key });
            }
            let Some((network, port)) = network_and_port(&key) else {
                return Err(NamesError::Key { path: path(), line, key });
            };
            if network.trunc() != network {
                return Err(NamesError::HostBits { path: path(), line, key, network: network.trunc() });
            }
            match lines.entry(Place::of(network, port)) {
                Entry::Occupied(first) => {
                    return Err(NamesError::Twice { path: path(), line, key, first: *first.get() });
                }
                Entry::Vacant(place) => {
                    names.insert(*place.key(), name.to_owned());
                    place.insert(line);
                }
            }
        }
        Ok(names)
    }

    fn insert(&mut self, place: Place, name: String) {
        let prefixes = &mut self.prefixes[usize::from(place.is_ipv4)];
        if let Err(at) = prefixes.binary_search_by(|prefix| place.prefix.cmp(prefix)) {
            prefixes.insert(at, place.prefix);
        }
        self.entries.insert(place, name);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name of an endpoint.
    pub fn of(&self, end: Endpoint) -> Option<&str> {
        self.find(end.address, Some(end.port))
    }

    /// The name of an address on all of its ports.
    pub fn of_address(&self, address: Address) -> Option<&str> {
        self.find(address, None)
    }

    fn find(&self, address: Address, port: Option<u16>) -> Option<&str> {
        let (is_ipv4, bits) = bits(address);
        self.prefixes[usize::from(is_ipv4)].iter().find_map(|&prefix| {
            let place = Place { is_ipv4, prefix, bits: bits & mask(prefix), port };
            let name = self.entries.get(&place).or_else(|| self.entries.get(&Place { port: None, ..place }));
            name.map(String::as_str)
        })
    }
}

impl Place {
    fn of(network: IpNet, port: Option<u16>) -> Place {
        let (is_ipv4, bits) = bits(network.network().into());
        // An IPv4 network that is written as IPv6 is the same network.
        let written_long = is_ipv4 && matches!(network, IpNet::V6(_));
        let prefix = if written_long { network.prefix_len().saturating_sub(96) } else { network.prefix_len() };
        Place { is_ipv4, prefix, bits: bits & mask(prefix), port }
    }
}

/// An address's bits from the highest on, and whether it is IPv4.
fn bits(address: Address) -> (bool, u128) {
    match address.to_ip() {
        IpAddr::V4(v4) => (true, u128::from(v4.to_bits()) << 96),
        IpAddr::V6(v6) => (false, v6.to_bits()),
    }
}

/// The highest bits.
fn mask(prefix: u8) -> u128 {
    !u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

/// `10.0.0.9`, `10.0.0.9:6379`, `10.1.0.0/16`, `10.1.0.0/16:6379`, `2001:db8::/32`, `[2001:db8::9]`, `[2001:db8::/32]:6379`.
fn network_and_port(key: &str) -> Option<(IpNet, Option<u16>)> {
    let (network, port) = match key.strip_prefix('[') {
        Some(inside) => {
            let (network, behind) = inside.split_once(']')?;
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
            (network, port)
        }
        // More than one colon: IPv6, which has its port behind brackets only.
        None => match key.split_once(':') {
            Some((network, port)) if !port.contains(':') => (network, Some(port)),
            _ => (key, None),
        },
    };
    // `+6379` is no port, though a number.
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    let network = IpNet::from_str(network).ok().or_else(|| Some(IpAddr::from_str(network).ok()?.into()))?;
    Some((network, port))
}

/// The line, from 1, on which the byte lies.
fn line(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Names, String> {
        Names::parse(Path::new("names.toml"), text).map_err(|error| error.to_string())
    }

    fn endpoint(address: &str, port: u16) -> Endpoint {
        Endpoint { address: address.parse::<IpAddr>().unwrap().into(), port }
    }

    #[test]
    fn the_longest_prefix_wins_and_of_the_same_prefix_the_port() {
        let names = parsed(
            r#"
            "10.0.0.9:6379" = "cache-a"
            "10.0.0.9" = "host-a"
            "10.1.0.0/16" = "checkout"
            "10.0.0.0/8:7000" = "ring"
            "0.0.0.0/0" = "ipv4"
            "[2001:db8::9]:6379" = "cache-b"
            "2001:db8::/32" = "lab"
            "#,
        )
        .unwrap();
        for (address, port, name) in [
            ("10.0.0.9", 6379, Some("cache-a")),
            ("10.0.0.9", 6380, Some("host-a")),
            ("10.0.0.9", 7000, Some("host-a")),
            ("10.1.2.3", 7000, Some("checkout")),
            ("10.2.2.3", 7000, Some("ring")),
            ("10.2.2.3", 6379, Some("ipv4")),
            ("2001:db8::9", 6379, Some("cache-b")),
            ("2001:db8::9", 6380, Some("lab")),
            ("2001:db9::9", 6379, None),
        ] {
            assert_eq!(names.of(endpoint(address, port)), name, "{address} {port}");
        }
        assert_eq!(names.of_address(endpoint("10.0.0.9", 0).address), Some("host-a"));
        assert_eq!(names.of_address(endpoint("2001:db8::9", 0).address), Some("lab"));
        assert!(!names.is_empty() && parsed("").unwrap().is_empty());
    }

    #[test]
    fn every_form_of_a_key_is_understood() {
        for (key, address) in [
            ("10.0.0.9", "10.0.0.9"),
            ("10.1.0.0/16:6379", "10.1.255.255"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[2001:db8::/32]:6379", "2001:db8:ffff::1"),
            ("::/0", "fe80::1"),
            ("::ffff:10.0.0.9", "10.0.0.9"),
            ("[::ffff:10.0.0.0/104]:6379", "10.9.9.9"),
        ] {
            let names = parsed(&format!("\"{key}\" = \"it\"")).unwrap();
            assert_eq!(names.of(endpoint(address, 6379)), Some("it"), "{key}");
            assert_eq!(names.of(endpoint("192.0.2.1", 6379)), None, "{key}");
        }
    }

    #[test]
    fn faults_are_told_with_file_line_and_remedy() {
        for (text, expected) in [
            ("a", "names.toml, line 1: this is no TOML: "),
            ("\n\"cache\" = \"a\"", "names.toml, line 2: `cache` is no address or network; write 10.0.0.9, "),
            ("\"10.0.0.9:\" = \"a\"", "`10.0.0.9:` is no address"),
            ("\"10.0.0.9:+1\" = \"a\"", "`10.0.0.9:+1` is no address"),
            ("\"10.0.0.9:65536\" = \"a\"", "`10.0.0.9:65536` is no address"),
            ("\"10.0.0.0/33\" = \"a\"", "`10.0.0.0/33` is no address"),
            ("\"[2001:db8::9\" = \"a\"", "`[2001:db8::9` is no address"),
            ("\"[2001:db8::9]6379\" = \"a\"", "`[2001:db8::9]6379` is no address"),
            ("\"10.1.2.3/16\" = \"a\"", "line 1: `10.1.2.3/16` has bits behind its prefix; write `10.1.0.0/16`"),
            ("10.0.0.9 = \"a\"", "line 1: the address before a dot or `=` stands without quotes"),
            ("[names]\n\"10.0.0.9\" = \"a\"", "line 1: the address before"),
            ("\"10.0.0.9\" = 7", "line 1: `10.0.0.9` needs a name"),
            ("\"10.0.0.9\" = \"\"", "line 1: `10.0.0.9` needs a name"),
            ("\"10.0.0.9\" = \"a\\u001b[1m\"", "line 1: `10.0.0.9` needs a name"),
            (
                "\"10.0.0.9\" = \"a\"\n\n\"10.0.0.9/32\" = \"b\"",
                "line 3: `10.0.0.9/32` is named a second time; the first is on line 1",
            ),
            ("\"10.0.0.9\" = \"a\"\n\"10.0.0.9\" = \"b\"", "names.toml, line 2: this is no TOML: "),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with("names.toml, line ") && error.contains(expected), "{text}: {error}");
        }
        let long = format!("\"10.0.0.9\" = \"{}\"", "a".repeat(NAME_BYTES_MAX + 1));
        assert!(parsed(&long).unwrap_err().contains("1 to 128 bytes"));
        let error = Names::read(Path::new("/nonexistent/names.toml")).unwrap_err().to_string();
        assert!(error.starts_with("the file of names /nonexistent/names.toml can't be read: "), "{error}");
    }

    /// Few bits, so that entries overlap.
    fn place() -> impl Strategy<Value = (bool, u8, u8, Option<u16>)> {
        (any::<bool>(), any::<u8>(), 0..=8u8, prop::option::of(1..3u16))
    }

    fn address(is_ipv4: bool, bits: u8) -> IpAddr {
        if is_ipv4 { [bits, 0, 0, 0].into() } else { [u16::from(bits) << 8, 0, 0, 0, 0, 0, 0, 0].into() }
    }

    proptest! {
        #[test]
        fn the_name_is_that_which_trying_all_entries_finds(
            entries in prop::collection::vec(place(), 0..20),
            asked in prop::collection::vec((any::<bool>(), any::<u8>(), 1..3u16), 1..20),
        ) {
            let mut nets: Vec<(IpNet, Option<u16>)> = Vec::new();
            let mut text = String::new();
            for (is_ipv4, bits, prefix, port) in entries {
                let net = IpNet::new(address(is_ipv4, bits), prefix).unwrap().trunc();
                if nets.contains(&(net, port)) {
                    continue;
                }
                let key = port.map_or_else(|| format!("{net}"), |port| format!("[{net}]:{port}"));
                writeln!(text, "\"{key}\" = \"{}\"", nets.len()).unwrap();
                nets.push((net, port));
            }
            let names = parsed(&text).unwrap();
            for (is_ipv4, bits, port) in asked {
                let ip = address(is_ipv4, bits);
                let holds = |&(_, (net, of)): &(usize, &(IpNet, Option<u16>))| net.contains(&ip) && of.is_none_or(|of| of == port);
                let best = nets.iter().enumerate().filter(holds).max_by_key(|(_, (net, of))| (net.prefix_len(), of.is_some()));
                let expected = best.map(|(number, _)| number.to_string());
                prop_assert_eq!(names.of(Endpoint { address: ip.into(), port }), expected.as_deref());
            }
        }
    }
}
