//! What is spoken on a server's port but is no client's RESP: TLS, the bus of a cluster, the replication of other servers.
//!
//! A connection that speaks it is recognised by its first bytes, by a whole segment where its beginning was not seen, or by a
//! command that only nodes send one another; from then on it is counted and not looked into. Pure functions of a few bytes.

use crate::counters::Counter;

/// The first byte of a TLS handshake record, and the major version behind it.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 3];
/// Content types of TLS records: of a change of cipher, an alert, a handshake, and data.
const TLS_TYPES: std::ops::RangeInclusive<u8> = 20..=23;
/// Bytes of a TLS record before its content.
const TLS_HEADER_BYTES: usize = 5;
/// Longest content of a record (RFC 5246, section 6.2.3; TLS 1.3 allows less).
const TLS_CONTENT_BYTES_MAX: usize = (1 << 14) + 2048;
/// How a message of the cluster bus begins; the upper byte of its length, which follows, is always zero.
const BUS_SIGNATURE: &[u8] = b"RCmb\0";

/// What a connection speaks instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// TLS.
    Tls,
    /// The binary protocol between the nodes of a cluster.
    ClusterBus,
    /// Replication or gossip by commands of a server's own: Dragonfly's DFLY, Garnet's CLUSTER APPENDLOG and the like.
    Replication,
    /// Something else, of which only that is known.
    Other,
}

impl Foreign {
    /// Where its connections are counted.
    pub fn counter(self) -> Counter {
        match self {
            Foreign::Tls => Counter::OpaqueTls,
            Foreign::ClusterBus => Counter::OpaqueClusterBus,
            Foreign::Replication => Counter::OpaqueReplication,
            Foreign::Other => Counter::OpaqueOther,
        }
    }

    /// What a client speaks whose very first bytes these are. One byte of TLS tells already: no command begins so.
    pub fn of_first_bytes(bytes: &[u8]) -> Option<Foreign> {
        match bytes {
            [first] if *first == TLS_HANDSHAKE[0] => Some(Foreign::Tls),
            _ if bytes.starts_with(&TLS_HANDSHAKE) => Some(Foreign::Tls),
            _ if bytes.starts_with(BUS_SIGNATURE) => Some(Foreign::ClusterBus),
            _ => None,
        }
    }

    /// What is spoken on a connection of which this is some segment: of TLS it takes whole records, from end to end, as the
    /// middle of a value may hold anything.
    pub fn of_segment(bytes: &[u8]) -> Option<Foreign> {
        if bytes.starts_with(BUS_SIGNATURE) {
            return Some(Foreign::ClusterBus);
        }
        let mut rest = bytes;
        while let Some((header, content)) = rest.split_first_chunk::<TLS_HEADER_BYTES>() {
            let [kind, major, minor, high, low] = *header;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if !TLS_TYPES.contains(&kind) || major != 3 || minor > 4 || !(1..=TLS_CONTENT_BYTES_MAX).contains(&length) {
                return None;
            }
            rest = content.get(length..)?;
        }
        (rest.is_empty() && !bytes.is_empty()).then_some(Foreign::Tls)
    }
}

/// Subcommands of CLUSTER by which nodes replicate or gossip over the clients' port. The first one is of Redis and Valkey
/// (migration of slots), the others are Garnet's.
const CLUSTER_WORDS: [&[u8]; 9] = [
    b"SYNCSLOTS",
    b"AOFSYNC",
    b"APPENDLOG",
    b"ATTACH_SYNC",
    b"BEGIN_REPLICA_RECOVER",
    b"GOSSIP",
    b"INITIATE_REPLICA_SYNC",
    b"SEND_CKPT_FILE_SEGMENT",
    b"SEND_CKPT_METADATA",
];

/// Whether a command, given by its words, is one that only nodes send one another.
pub fn is_replication(words: &[u8]) -> bool {
    if words.eq_ignore_ascii_case(b"DFLY") {
        return true;
    }
    let Some((container, word)) = words.split_at_checked(b"CLUSTER ".len()) else { return false };
    container.eq_ignore_ascii_case(b"CLUSTER ") && CLUSTER_WORDS.iter().any(|other| other.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TLS record of application data.
    fn record(length: u16) -> Vec<u8> {
        [&[23, 3, 3][..], &length.to_be_bytes(), &vec![b'*'; usize::from(length)]].concat()
    }

    #[test]
    fn row_40_tls_is_known_by_its_first_bytes() {
        for hello in [&[0x16, 3, 1, 2, 0, 1][..], &[0x16, 3], &[0x16]] {
            assert_eq!(Foreign::of_first_bytes(hello), Some(Foreign::Tls));
        }
        for other in [&b""[..], b"*1\r\n", b"PING\r\n", &[0x16, 4], &[0x17, 3, 3], b"\x03"] {
            assert_eq!(Foreign::of_first_bytes(other), None, "{other:?}");
        }
    }

    #[test]
    fn row_40_tls_from_before_the_capture_is_known_by_whole_records() {
        for bytes in [record(1), record(1000), [record(64), record(3)].concat()] {
            assert_eq!(Foreign::of_segment(&bytes), Some(Foreign::Tls));
            assert_eq!(Foreign::of_segment(&bytes[..bytes.len() - 1]), None, "a record that is not whole");
            assert_eq!(Foreign::of_segment(&[&bytes[..], b"x"].concat()), None, "more than records");
        }
        for bytes in
            [&b""[..], &[23, 3, 3, 0, 0], &[24, 3, 3, 0, 1, 9], &[23, 2, 3, 0, 1, 9], &[23, 3, 5, 0, 1, 9], b"*1\r\n"]
        {
            assert_eq!(Foreign::of_segment(bytes), None, "{bytes:?}");
        }
        let longest = TLS_CONTENT_BYTES_MAX as u16;
        assert_eq!(Foreign::of_segment(&record(longest)), Some(Foreign::Tls));
        assert_eq!(Foreign::of_segment(&record(longest + 1)), None);
    }

    #[test]
    fn row_39_the_cluster_bus_is_known_by_its_signature() {
        let ping = b"RCmb\0\0\x08\xd0\0\x01\x18\xeb";
        assert_eq!(Foreign::of_first_bytes(ping), Some(Foreign::ClusterBus));
        assert_eq!(Foreign::of_segment(ping), Some(Foreign::ClusterBus));
        assert_eq!(Foreign::of_first_bytes(b"RCmb is no command\r\n"), None);
        assert_eq!(Foreign::of_segment(b"RCmb is no command\r\n"), None);
    }

    #[test]
    fn row_39_what_only_nodes_say_is_no_clients_command() {
        for words in ["DFLY", "dfly", "CLUSTER APPENDLOG", "cluster gossip", "CLUSTER SYNCSLOTS", "Cluster Aofsync"] {
            assert!(is_replication(words.as_bytes()), "{words}");
        }
        for words in
            ["", "DFLYX", "CLUSTER", "CLUSTER ", "CLUSTER SLOTS", "CLUSTER APPENDLOGS", "CLIENTS GOSSIP", "GOSSIP"]
        {
            assert!(!is_replication(words.as_bytes()), "{words}");
        }
    }
}
