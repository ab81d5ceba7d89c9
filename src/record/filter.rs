//! Which transactions are emitted to the sinks. Statistics see everything, whatever is filtered here.
//!
//! [`Criteria`] is what was asked for; a [`Filter`] is made of it once per worker, with commands looked up in the command
//! table, so that a decision is a few comparisons. Deciding allocates nothing.

use ipnet::IpNet;

use crate::redis::command::{CommandId, CommandTable};
use crate::units::{Address, Endpoint};

/// What a transaction must fulfil to be emitted: everything that is given here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Criteria {
    /// Its latency is larger than this, in nanoseconds. One without a latency does not fulfil it.
    pub slower_than_ns: Option<u64>,
    /// It was answered with an error.
    pub errors: bool,
    /// Its command is one of these (upper case; a container stands for all of its subcommands). Empty: any.
    pub commands: Vec<String>,
    /// Its first key begins with one of these. Empty: any, or no key.
    pub key_prefixes: Vec<Vec<u8>>,
    /// Its client is in one of these networks. Empty: any.
    pub clients: Vec<IpNet>,
    /// Its server is in one of these networks. Empty: any.
    pub servers: Vec<IpNet>,
    /// Its connection is one of the sample, which is one connection in this many.
    pub sample: Option<u32>,
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The command.
    pub command: CommandId,
    /// The command as the record names it; looked at only if the table does not have the command.
    pub name: &'a [u8],
    /// Identifies the connection.
    pub connection: u64,
    /// Who asked.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
    /// Nanoseconds, where there is a latency.
    pub latency: Option<u64>,
    /// Whether the reply is an error.
    pub is_error: bool,
    /// The first key, or as much of it as is kept.
    pub first_key: Option<&'a [u8]>,
}

/// [`Criteria`], ready to be applied.
#[derive(Clone, Debug)]
pub struct Filter {
    criteria: Criteria,
    /// Commands of the table that pass, a bit each.
    commands: Vec<u64>,
    /// Nothing is filtered.
    is_open: bool,
}

impl Filter {
    /// Prepares `criteria` for commands numbered by `table`.
    pub fn new(criteria: &Criteria, table: &CommandTable) -> Filter {
        let mut commands = vec![0u64; table.len().div_ceil(64)];
        for (id, command) in table.iter().enumerate() {
            if criteria.commands.iter().any(|wanted| is_or_contains(wanted.as_bytes(), command.name.as_bytes())) {
                commands[id / 64] |= 1 << (id % 64);
            }
        }
        Filter { is_open: *criteria == Criteria::default(), criteria: criteria.clone(), commands }
    }

    /// Whether any transaction is to be emitted.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the transaction is to be emitted.
    pub fn passes(&self, candidate: &Candidate<'_>) -> bool {
        self.is_open || self.fulfils(candidate)
    }

    fn fulfils(&self, candidate: &Candidate<'_>) -> bool {
        let criteria = &self.criteria;
        criteria.sample.is_none_or(|one_in| mix(candidate.connection).is_multiple_of(u64::from(one_in)))
            && criteria.slower_than_ns.is_none_or(|limit| candidate.latency.is_some_and(|latency| latency > limit))
            && (!criteria.errors || candidate.is_error)
            && (criteria.commands.is_empty() || self.has_command(candidate))
            && is_within(candidate.client.address, &criteria.clients)
            && is_within(candidate.server.address, &criteria.servers)
            && has_prefix(candidate.first_key, &criteria.key_prefixes)
    }

    fn has_command(&self, candidate: &Candidate<'_>) -> bool {
        let id = usize::from(candidate.command.0);
        if candidate.command.is_known() {
            return self.commands.get(id / 64).is_some_and(|bits| bits >> (id % 64) & 1 == 1);
        }
        self.criteria.commands.iter().any(|wanted| is_or_contains(wanted.as_bytes(), candidate.name))
    }
}

/// Whether `name` is `wanted`, or a subcommand of it.
fn is_or_contains(wanted: &[u8], name: &[u8]) -> bool {
    name.split_at_checked(wanted.len())
        .is_some_and(|(head, tail)| head.eq_ignore_ascii_case(wanted) && matches!(tail.first(), None | Some(b' ')))
}

fn is_within(address: Address, networks: &[IpNet]) -> bool {
    networks.is_empty() || {
        let address = address.to_ip();
        networks.iter().any(|network| network.contains(&address))
    }
}

fn has_prefix(key: Option<&[u8]>, prefixes: &[Vec<u8>]) -> bool {
    prefixes.is_empty() || key.is_some_and(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
}

/// Spreads an identifier over all 64 bits (the finaliser of `SplitMix64`), so that a sample is fair whatever identifiers look like.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "GET\t2\t\t1/range:0:1:0=RO\nCLIENT\t-2\tcontainer\t\nCLIENT SETNAME\t3\t\t\nCLIENT ID\t2\t\t\n";

    fn table() -> CommandTable {
        CommandTable::parse(TABLE).unwrap()
    }

    fn endpoint(ip: &str, port: u16) -> Endpoint {
        Endpoint { address: ip.parse::<std::net::IpAddr>().unwrap().into(), port }
    }

    fn get() -> Candidate<'static> {
        Candidate {
            command: table().find(b"GET").unwrap(),
            name: b"GET",
            connection: 7,
            client: endpoint("10.0.0.1", 40_001),
            server: endpoint("2001:db8::9", 6379),
            latency: Some(1_000),
            is_error: false,
            first_key: Some(b"user:1"),
        }
    }

    fn passes(criteria: &Criteria, candidate: &Candidate<'_>) -> bool {
        Filter::new(criteria, &table()).passes(candidate)
    }

    #[test]
    fn without_criteria_everything_passes() {
        let nothing_known = Candidate { command: CommandId::UNKNOWN, latency: None, first_key: None, ..get() };
        assert!(passes(&Criteria::default(), &nothing_known));
    }

    #[test]
    fn slower_than_means_longer_and_measured() {
        let slower = |limit| Criteria { slower_than_ns: Some(limit), ..Criteria::default() };
        assert!(passes(&slower(999), &get()));
        assert!(!passes(&slower(1_000), &get()), "as slow is not slower");
        assert!(!passes(&slower(0), &Candidate { latency: None, ..get() }));
    }

    #[test]
    fn errors_only() {
        let errors = Criteria { errors: true, ..Criteria::default() };
        assert!(!passes(&errors, &get()));
        assert!(passes(&errors, &Candidate { is_error: true, ..get() }));
    }

    #[test]
    fn a_container_stands_for_its_subcommands_and_a_subcommand_for_itself() {
        let commands = |names: &[&str]| Criteria {
            commands: names.iter().map(|&name| name.to_owned()).collect(),
            ..Criteria::default()
        };
        let table = table();
        let sent = |name: &'static str| Candidate {
            command: table.find(name.as_bytes()).unwrap_or(CommandId::UNKNOWN),
            name: name.as_bytes(),
            ..get()
        };
        assert!(passes(&commands(&["SET", "GET"]), &sent("GET")));
        assert!(!passes(&commands(&["SET"]), &sent("GET")));
        assert!(passes(&commands(&["CLIENT"]), &sent("CLIENT ID")));
        assert!(passes(&commands(&["CLIENT"]), &sent("CLIENT")));
        assert!(passes(&commands(&["CLIENT SETNAME"]), &sent("CLIENT SETNAME")));
        assert!(!passes(&commands(&["CLIENT SETNAME"]), &sent("CLIENT ID")));
        assert!(!passes(&commands(&["CLI"]), &sent("CLIENT ID")), "a word matches whole");
    }

    #[test]
    fn commands_that_the_table_does_not_have_match_by_their_text() {
        let search = Criteria { commands: vec!["FT.SEARCH".to_owned()], ..Criteria::default() };
        let sent = |name| Candidate { command: CommandId::UNKNOWN, name, ..get() };
        assert!(passes(&search, &sent(b"ft.search")));
        assert!(!passes(&search, &sent(b"FT.SEARCHX")));
        assert!(!passes(&search, &sent(b"")));
        let client = Criteria { commands: vec!["CLIENT".to_owned()], ..Criteria::default() };
        assert!(passes(&client, &sent(b"CLIENT BRANDNEW")), "a subcommand newer than the table");
    }

    #[test]
    fn networks_hold_addresses_of_their_own_family() {
        let clients = |nets: &[&str]| Criteria {
            clients: nets.iter().map(|net| net.parse().unwrap()).collect(),
            ..Criteria::default()
        };
        assert!(passes(&clients(&["192.168.0.0/16", "10.0.0.0/24"]), &get()));
        assert!(!passes(&clients(&["10.0.1.0/24"]), &get()));
        assert!(!passes(&clients(&["::/0"]), &get()));
        let servers = Criteria { servers: vec!["2001:db8::/32".parse().unwrap()], ..Criteria::default() };
        assert!(passes(&servers, &get()));
        assert!(!passes(&servers, &Candidate { server: endpoint("10.0.0.9", 6379), ..get() }));
    }

    #[test]
    fn key_prefixes_need_a_key() {
        let prefixes = Criteria { key_prefixes: vec![b"cart:".to_vec(), b"user:".to_vec()], ..Criteria::default() };
        assert!(passes(&prefixes, &get()));
        assert!(!passes(&prefixes, &Candidate { first_key: Some(b"users"), ..get() }));
        assert!(!passes(&prefixes, &Candidate { first_key: None, ..get() }));
    }

    #[test]
    fn all_given_criteria_must_hold() {
        let both = Criteria { errors: true, slower_than_ns: Some(10), ..Criteria::default() };
        assert!(!passes(&both, &get()));
        assert!(!passes(&both, &Candidate { is_error: true, latency: Some(10), ..get() }));
        assert!(passes(&both, &Candidate { is_error: true, ..get() }));
    }

    #[test]
    fn a_sample_keeps_or_drops_whole_connections_in_fair_shares() {
        let sample = Criteria { sample: Some(10), ..Criteria::default() };
        let filter = Filter::new(&sample, &table());
        let kept = (0..10_000).filter(|&connection| filter.passes(&Candidate { connection, ..get() })).count();
        assert!((900..1_100).contains(&kept), "{kept} of 10,000 is not about a tenth");
        for connection in 0..100 {
            let first = filter.passes(&Candidate { connection, ..get() });
            let later = Candidate { connection, is_error: true, latency: None, first_key: None, ..get() };
            assert_eq!(filter.passes(&later), first, "connection {connection} is torn apart");
        }
        assert!(passes(&Criteria { sample: Some(1), ..Criteria::default() }, &get()), "1/1 is everything");
    }
}
