//! What records repeat of their connection: its texts, made once and kept ready for as many connections as there is memory for.
//!
//! A connection's identifier is spread over all of its bits, so some of them say where its place is noted: in a set of a few. What
//! is kept is compared with the whole tuple, since an identifier could be had twice. Where sets run over there are twice as many
//! from then on, up to what was granted; then new connections take the places of others, whose texts are made again. Texts lie in
//! the order in which they were first made and do not move, so that they take no more memory than there are connections.

use base64::Engine;
use sha1::{Digest, Sha1};

use crate::endpoint::{Label, Labels};
use crate::prefetch::prefetch;
use crate::record::transaction::Transaction;
use crate::units::{Address, Endpoint};

use super::json_text::{Line, Long, escaped};

/// Connections in a set.
const WAYS: usize = 4;
/// Sets at first, and at least.
const SETS_MIN: usize = if cfg!(test) { 1 } else { 256 };

/// Bytes of a connection. While sets move there are half as many beside them.
const CONNECTION_BYTES: usize = size_of::<Connection>() + size_of::<Set>() / WAYS * 3 / 2;
const _: () = assert!(size_of::<Connection>() == 256, "four lines of the cache");

/// Where texts of a connection are expected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

/// Which connections are where.
#[derive(Clone, Copy, Debug)]
struct Set {
    ids: [u64; WAYS],
    /// Where the texts of each are; [`FREE`]: there is none.
    places: [u32; WAYS],
}

/// No connection's place.
const FREE: u32 = u32::MAX;

impl Set {
    const EMPTY: Set = Set { ids: [0; WAYS], places: [FREE; WAYS] };

    /// Which one of it is a connection's, or else may become it.
    fn way_of(&self, id: u64) -> Option<usize> {
        let is_its = |&way: &usize| self.ids[way] == id && self.places[way] != FREE;
        (0..WAYS).find(is_its).or_else(|| (0..WAYS).find(|&way| self.places[way] == FREE))
    }
}

/// Texts of connections.
#[derive(Debug)]
pub(super) struct Connections {
    sets: Vec<Set>,
    texts: Vec<Connection>,
    sets_max: usize,
    /// Those whose place was taken since there were so many sets.
    replaced: usize,
    scratch: Vec<u8>,
}

impl Connections {
    /// Within `bytes`, but for the least that there is, and what names and processes take.
    pub(super) fn new(bytes: u64) -> Connections {
        let connections = usize::try_from(bytes).unwrap_or(usize::MAX) / CONNECTION_BYTES;
        let sets_max = (1 << (connections / WAYS).clamp(1, FREE as usize / WAYS).ilog2()).max(SETS_MIN);
        Connections {
            sets: vec![Set::EMPTY; SETS_MIN],
            // Memory that was never touched costs nothing.
            texts: Vec::with_capacity(WAYS * sets_max),
            sets_max,
            replaced: 0,
            scratch: Vec::new(),
        }
    }

    #[inline(always)]
    fn set_of(&self, id: u64) -> usize {
        id as usize & (self.sets.len() - 1)
    }

    /// Where the texts of a transaction's connection are, if they are anywhere.
    #[inline(always)]
    pub(super) fn find(&self, transaction: &Transaction) -> Place {
        let Set { ids, places } = &self.sets[self.set_of(transaction.conversation.id)];
        // Without branches: which of them it is nobody can foresee.
        let ids = ids.iter().enumerate();
        let way = ids.fold(0, |way, (this, &id)| if id == transaction.conversation.id { this } else { way });
        Place(places[way] as usize)
    }

    /// Asks for what is at a place.
    #[inline(always)]
    pub(super) fn prefetch(&self, place: Place) {
        if let Some(texts) = self.texts.get(place.0) {
            prefetch(texts);
        }
    }

    /// The texts of a transaction's connection, with `labels` if there are any at all. They are expected at a place, where another's
    /// may be meanwhile.
    #[inline(always)]
    pub(super) fn of(&mut self, transaction: &Transaction, expected: Place, labels: Option<&Labels>) -> &Connection {
        if self.texts.get(expected.0).is_some_and(|texts| texts.is_of(transaction, labels)) {
            return &self.texts[expected.0];
        }
        let place = self.make(transaction, labels);
        &self.texts[place]
    }

    /// Makes them, where they are or in place of another's.
    #[cold]
    #[inline(never)]
    fn make(&mut self, transaction: &Transaction, labels: Option<&Labels>) -> usize {
        let id = transaction.conversation.id;
        if self.sets[self.set_of(id)].way_of(id).is_none() {
            self.replaced += 1;
            if self.replaced > self.sets.len() / 4 && self.sets.len() < self.sets_max {
                self.grow();
            }
        }
        let set = self.set_of(id);
        let set = &mut self.sets[set];
        let way = set.way_of(id).unwrap_or(self.replaced % WAYS);
        set.ids[way] = id;
        if set.places[way] == FREE {
            set.places[way] = self.texts.len() as u32;
            self.texts.push(Connection::default());
        }
        let place = set.places[way] as usize;
        self.texts[place].make(&mut self.scratch, transaction, labels);
        place
    }

    /// Twice as many sets: what is kept stays.
    fn grow(&mut self) {
        let sets = vec![Set::EMPTY; 2 * self.sets.len()];
        let before = std::mem::replace(&mut self.sets, sets);
        self.replaced = 0;
        for Set { ids, places } in before {
            for way in (0..WAYS).filter(|&way| places[way] != FREE) {
                // Of two sets that were one each has room for all.
                let set = self.set_of(ids[way]);
                (self.sets[set].ids[way], self.sets[set].places[way]) = (ids[way], places[way]);
            }
        }
    }
}

/// A connection's part of an `event.id`: 16 hexadecimal digits and a dash.
pub(super) fn id_text(id: u64) -> [u8; 17] {
    std::array::from_fn(|place| match place {
        16 => b'-',
        place => HEX[(id >> (60 - 4 * place)) as usize & 15],
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes of a community id, version 1.
const COMMUNITY_ID_BYTES: usize = 30;
/// With the quotation mark behind it.
pub(super) const COMMUNITY_TEXT_BYTES: usize = COMMUNITY_ID_BYTES + 1;

/// Longest text of an end of IPv4.
pub(super) const END_IPV4_BYTES: usize = 48;
/// And of IPv6.
pub(super) const END_BYTES: usize = 72;

/// The text of an end, up to the number of its bytes: `"ip":"10.0.0.1","port":40001,"bytes":`.
#[derive(Debug)]
pub(super) struct EndText {
    text: [u8; END_BYTES],
    /// Of these so many count; 0: it is not made yet.
    pub(super) length: u8,
}

impl EndText {
    /// Its first bytes, among which it is.
    #[inline(always)]
    pub(super) fn first<const N: usize>(&self) -> &[u8; N] {
        const { assert!(N <= END_BYTES) };
        self.text.first_chunk().unwrap_or(&[0; N])
    }

    /// What stands before the number of bytes, at its end.
    pub(super) const BYTES: &[u8] = br#","bytes":"#;
}

/// The texts of a connection, in as few lines of the cache as they need.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Connection {
    id: u64,
    client: Endpoint,
    server: Endpoint,
    /// The beginning of its records' ids.
    pub(super) id_text: [u8; 17],
    pub(super) client_text: EndText,
    pub(super) server_text: EndText,
    /// `network.community_id` and the quotation mark behind it.
    pub(super) community_text: [u8; COMMUNITY_TEXT_BYTES],
    /// Both ends are of IPv4.
    pub(super) is_ipv4: bool,
    /// Who is at its ends, if anything is known of them.
    pub(super) labels: Option<Box<LabelTexts>>,
}

/// `,"name":"checkout","process":{"name":"app","pid":7}` of both ends.
#[derive(Debug)]
pub(super) struct LabelTexts {
    pub(super) client: Vec<u8>,
    pub(super) server: Vec<u8>,
    /// Of the answers that they are made of.
    version: u64,
}

impl Default for Connection {
    fn default() -> Self {
        let none = || EndText { text: [0; END_BYTES], length: 0 };
        Connection {
            id: 0,
            client: Endpoint::default(),
            server: Endpoint::default(),
            id_text: [0; 17],
            client_text: none(),
            server_text: none(),
            community_text: [b'"'; COMMUNITY_TEXT_BYTES],
            is_ipv4: false,
            labels: None,
        }
    }
}

impl Connection {
    #[inline]
    fn is_free(&self) -> bool {
        self.client_text.length == 0
    }

    /// Whether they are a transaction's, and nobody at its ends has another name meanwhile.
    #[inline(always)]
    fn is_of(&self, transaction: &Transaction, labels: Option<&Labels>) -> bool {
        // Looked at together: they hardly ever differ.
        let differs = |one: &Endpoint, other: &Endpoint| {
            let halves = |end: &Endpoint| {
                end.address.0.as_chunks().0.first_chunk().map(|halves: &[[u8; 8]; 2]| halves.map(u64::from_ne_bytes))
            };
            let [[high, low], [other_high, other_low]] = [one, other].map(|end| halves(end).unwrap_or([0; 2]));
            (high ^ other_high) | (low ^ other_low) | u64::from(one.port ^ other.port)
        };
        let ends = differs(&self.client, &transaction.conversation.client)
            | differs(&self.server, &transaction.conversation.server);
        ends | (self.id ^ transaction.conversation.id) == 0
            && self.labels.as_ref().map(|texts| texts.version) == labels.map(Labels::version)
    }

    fn make(&mut self, scratch: &mut Vec<u8>, transaction: &Transaction, labels: Option<&Labels>) {
        let (client, server) = (transaction.conversation.client, transaction.conversation.server);
        if self.is_free() || (self.id, self.client, self.server) != (transaction.conversation.id, client, server) {
            (self.id, self.client, self.server) = (transaction.conversation.id, client, server);
            self.id_text = id_text(self.id);
            self.client_text = end_text(scratch, client);
            self.server_text = end_text(scratch, server);
            self.is_ipv4 = client.address.is_ipv4() && server.address.is_ipv4();
            self.community_text[..COMMUNITY_ID_BYTES].copy_from_slice(&community_id(client, server));
        }
        self.labels = labels.map(|labels| {
            let text = |end| label_text(labels.of(self.id, end));
            Box::new(LabelTexts { client: text(client), server: text(server), version: labels.version() })
        });
    }
}

fn end_text(scratch: &mut Vec<u8>, end: Endpoint) -> EndText {
    scratch.clear();
    let line = put_address(Long(scratch).put(br#""ip":""#), end.address);
    let _ = line.field(br#"","port":"#, u64::from(end.port)).copy(EndText::BYTES);
    let mut text = [0; END_BYTES];
    text[..scratch.len()].copy_from_slice(scratch);
    EndText { text, length: scratch.len() as u8 }
}

/// As the standard library prints it, but faster: where connections are many, most records are the first of theirs in a while.
fn put_address<L: Line>(line: L, address: Address) -> L {
    if address.is_ipv4() {
        let [a, b, c, d] = [12, 13, 14, 15].map(|place: usize| u64::from(address.0[place]));
        return line.number(a).field(b".", b).field(b".", c).field(b".", d);
    }
    // RFC 5952: instead of the first of the longest runs of zeros, if it is of more than one group, are two colons.
    let groups = address.0.as_chunks().0;
    let run = |from: usize| groups[from..].iter().take_while(|&&group| group == [0; 2]).count();
    let from = (0..groups.len()).rev().max_by_key(|&from| run(from)).unwrap_or(0);
    if run(from) < 2 {
        return put_groups(line, groups);
    }
    put_groups(put_groups(line, &groups[..from]).put(b"::"), &groups[from + run(from)..])
}

fn put_groups<L: Line>(mut line: L, groups: &[[u8; 2]]) -> L {
    for (place, &[high, low]) in groups.iter().enumerate() {
        let digits = [high >> 4, high & 15, low >> 4, low & 15];
        let zeros = digits[..3].iter().take_while(|&&digit| digit == 0).count();
        if place > 0 {
            line = line.put(b":");
        }
        line = line.copy(&digits.map(|digit| HEX[usize::from(digit)])[zeros..]);
    }
    line
}

fn label_text(label: Label<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(name) = label.name {
        text.extend_from_slice(br#","name":""#);
        text.extend_from_slice(&escaped(name.as_bytes()));
        text.push(b'"');
    }
    if let Some(process) = label.process {
        text.extend_from_slice(br#","process":{"name":""#);
        text.extend_from_slice(&escaped(&process.name));
        let _ = Long(&mut text).field(br#"","pid":"#, u64::from(process.pid)).put(b"}");
    }
    text
}

/// Community ID, version 1, of a TCP connection, seed 0: a hash of the tuple by which other tools know it, the lower end
/// first.
pub(super) fn community_id(one: Endpoint, other: Endpoint) -> [u8; COMMUNITY_ID_BYTES] {
    const TCP: u8 = 6;
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let both_ipv4 = low.address.is_ipv4() && high.address.is_ipv4();
    let from = if both_ipv4 { 12 } else { 0 };
    let mut hash = Sha1::new();
    hash.update(0u16.to_be_bytes());
    hash.update(&low.address.0[from..]);
    hash.update(&high.address.0[from..]);
    hash.update([TCP, 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    let mut text = *b"1:0000000000000000000000000000";
    let digest = hash.finalize();
    let written = base64::engine::general_purpose::STANDARD.encode_slice(&digest[..], &mut text[2..]);
    debug_assert_eq!(written, Ok(COMMUNITY_ID_BYTES - 2), "20 bytes are 28 characters");
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::names::Names;
    use crate::units::Conversation;

    fn endpoint(address: &str, port: u16) -> Endpoint {
        Endpoint { address: Address::from(address.parse::<std::net::IpAddr>().unwrap()), port }
    }

    fn bare(connection: u64) -> Transaction {
        Transaction::bare(connection, endpoint("10.0.0.1", connection as u16), endpoint("10.0.0.9", 6379))
    }

    fn text(end: &EndText) -> &str {
        str::from_utf8(&end.text[..usize::from(end.length)]).unwrap()
    }

    fn check(connections: &mut Connections, transaction: &Transaction, labels: Option<&Labels>) {
        let Conversation { id: connection, client, server, .. } = transaction.conversation;
        let expected = connections.find(transaction);
        let found = connections.of(transaction, expected, labels);
        assert_eq!(found.id_text, *format!("{connection:016x}-").as_bytes());
        for (found, end) in [(&found.client_text, client), (&found.server_text, server)] {
            assert_eq!(text(found), format!(r#""ip":"{}","port":{},"bytes":"#, end.address, end.port));
        }
        assert_eq!(found.community_text[..], [&community_id(client, server)[..], b"\""].concat());
        assert_eq!(found.is_ipv4, client.address.is_ipv4() && server.address.is_ipv4());
        let name = labels
            .and_then(|labels| labels.of(connection, client).name)
            .map(|name| format!(r#","name":"{name}""#).into_bytes());
        assert_eq!(found.labels.as_ref().map(|labels| labels.client.clone()), name);
    }

    #[test]
    fn connections_that_share_a_place_are_not_mixed_up() {
        let labels =
            Labels::new(Names::parse("names.toml".as_ref(), "\"0.0.0.0/0\" = \"b\"\n\"::/0\" = \"c\"").unwrap(), None);
        let longest = endpoint("1111:2222:3333:4444:5555:6666:7777:8888", 65535);
        for labels in [None, Some(&labels)] {
            let mut connections = Connections::new(0);
            let (one, other) = (bare(0), Transaction::bare(0, longest, Endpoint { port: 6380, ..longest }));
            // An identifier could be had twice; that of the first is what a free place has.
            for transaction in
                [one, other, one, Transaction::bare(0, one.conversation.client, longest), bare(7), other, bare(7)]
            {
                check(&mut connections, &transaction, labels);
            }
        }
    }

    #[test]
    fn there_are_as_many_as_were_granted_and_no_more() {
        let bytes = |connections: usize| (connections * CONNECTION_BYTES) as u64;
        for (granted, kept) in [(0, 4), (4, 4), (63, 32), (64, 64), (65, 64)] {
            let mut connections = Connections::new(bytes(granted));
            for id in (0..200).chain(0..200) {
                check(&mut connections, &bare(id), None);
            }
            let places = (WAYS * connections.sets.len(), connections.texts.capacity());
            assert_eq!((connections.texts.len(), places), (kept, (kept, kept)), "{granted}");
        }
    }

    #[test]
    fn what_is_kept_moves_along_when_there_is_more_room() {
        let mut connections = Connections::new(1 << 20);
        for id in 0..100 {
            check(&mut connections, &bare(id), None);
        }
        assert!(WAYS * connections.sets.len() >= 100);
        let mut made: Vec<u64> = connections.texts.iter().map(|texts| texts.id).collect();
        assert!(made.len() > 90);
        for (place, &id) in made.iter().enumerate() {
            assert_eq!(connections.find(&bare(id)).0, place);
        }
        made.sort_unstable();
        made.dedup();
        assert!(made.len() > 90, "none is there twice");
    }

    #[test]
    fn community_ids_are_those_of_the_published_vectors() {
        let id = |from: (&str, u16), to: (&str, u16)| {
            let id = community_id(endpoint(from.0, from.1), endpoint(to.0, to.1));
            String::from_utf8(id.to_vec()).unwrap()
        };
        let (client, server) = (("128.232.110.120", 34855), ("66.35.250.204", 80));
        assert_eq!(id(client, server), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!(id(server, client), id(client, server));
        let (client, server) = (("192.168.170.8", 32795), ("192.168.170.20", 53));
        assert_eq!(id(client, server), id(server, client));
        // Same address on both sides: the lower port comes first.
        assert_eq!(id(("127.0.0.1", 2), ("127.0.0.1", 1)), id(("127.0.0.1", 1), ("127.0.0.1", 2)));
        let (client, server) = (("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943), ("2607:f8b0:400c:c03::1a", 25));
        assert_eq!(id(client, server), "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=");
    }

    fn put(address: Address) -> String {
        let mut text = Vec::new();
        let _ = put_address(Long(&mut text), address);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn addresses_with_any_groups_of_zeros_are_as_the_standard_library_prints_them() {
        for zeros in 0..=255u8 {
            let groups = std::array::from_fn::<u16, 8, _>(|place| u16::from(zeros >> place & 1 == 0) * 0x1020);
            let address = Ipv6Addr::from(groups);
            assert_eq!(put(Address(address.octets())), address.to_string());
        }
    }

    proptest! {
        #[test]
        fn addresses_are_as_the_standard_library_prints_them(bytes: [u8; 16], zeros: u16, ipv4: [u8; 4]) {
            let bytes = std::array::from_fn(|place| if zeros >> place & 1 == 1 { 0 } else { bytes[place] });
            prop_assert_eq!(put(Address(bytes)), Address(bytes).to_string());
            prop_assert_eq!(put(Address::from_ipv4(ipv4)), Address::from_ipv4(ipv4).to_string());
        }
    }
}
