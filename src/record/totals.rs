//! Statistics by name, merged over workers and intervals: what summaries, tables and interval logs are made of.
//!
//! What a worker's last box has moves here; of the others it is copied, into as much [`Room`] as there is. What one worker or
//! interval has given up is given up for all: each histogram that is told is complete. Latencies of servers and commands are sums
//! of their series, made when they are asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::redis::command::CommandTable;
use crate::units::{Address, Endpoint};

use super::histograms::{Counts, DIGITS, ErrorCode, Histogram, Parts, Statistics, VALUE_NS_MAX, histogram};
use super::room::{self, Absorbing, Bounded, Claim, Recording, Room, add_always};

/// Statistics of one server or client.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Requests and bytes.
    pub counts: Counts,
    /// A client's latency. Of a server that of the requests that are in none of its series.
    pub latency: Bounded<Histogram>,
}

/// Statistics of one command.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// Requests and bytes.
    pub counts: Counts,
    /// The parts of its latency.
    pub parts: Bounded<Parts>,
}

/// A latency series by name: server (`None`: those beyond the bound), command as spelt in the table, blocking calls apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SeriesKey {
    /// The server.
    pub server: Option<Endpoint>,
    /// Its command; `unknown` for those that the table does not have.
    pub command: String,
    /// Whether these are its blocking calls.
    pub blocking: bool,
}

/// Whose latency is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose<'a> {
    /// A command's, blocking calls included.
    Command(&'a str),
    /// A server's, or that of those beyond the bound; blocking calls left out.
    Server(Option<Endpoint>),
    /// A client's, or that of those beyond the bound; blocking calls left out.
    Client(Option<Address>),
}

/// Merged statistics. Ordered maps, so that all that is printed comes in one order.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Overall latency, blocking commands left out.
    pub latency: Histogram,
    /// Its parts.
    pub parts: Parts,
    /// Latency series.
    pub series: BTreeMap<SeriesKey, Bounded<Histogram>>,
    /// What found no room in any of them; blocking calls apart.
    pub rest: [Histogram; 2],
    /// By command, blocking calls included.
    pub commands: BTreeMap<String, Command>,
    /// By server; `None`: those beyond the bound.
    pub servers: BTreeMap<Option<Endpoint>, Entry>,
    /// By client address; `None`: those beyond the bound.
    pub clients: BTreeMap<Option<Address>, Entry>,
    /// By error code; `None`: those beyond the bound. Redirects among them.
    pub errors: BTreeMap<Option<ErrorCode>, u64>,
    /// Histograms that were given up here.
    pub given_up: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Totals {
            latency: histogram(DIGITS),
            parts: Parts::new(DIGITS),
            series: BTreeMap::new(),
            rest: [histogram(DIGITS), histogram(DIGITS)],
            commands: BTreeMap::new(),
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            errors: BTreeMap::new(),
            given_up: 0,
        }
    }
}

impl Totals {
    /// Bytes of the histograms of which nothing is ever given up: the overall metrics, and the rest.
    pub const RESERVED_BYTES: u64 = 6 * room::bytes(DIGITS, VALUE_NS_MAX);

    /// Bytes of the other histograms.
    pub fn bytes(&self) -> u64 {
        self.series.values().map(Bounded::bytes).sum::<u64>()
            + self.commands.values().map(|command| command.parts.bytes()).sum::<u64>()
            + self.servers.values().chain(self.clients.values()).map(|entry| entry.latency.bytes()).sum::<u64>()
    }

    /// Adds one worker's interval; if it is not to be used again, what it has moves here.
    pub fn merge(&mut self, statistics: &mut Statistics, is_moved: bool, table: &CommandTable, room: &mut Room) {
        statistics.settle();
        add_always(&mut self.parts, &statistics.parts.told());
        for (number, command) in statistics.commands.iter_mut() {
            let name = table.iter().nth(number as usize).map_or("unknown", |command| &command.name);
            let sum = self.commands.entry(name.to_owned()).or_default();
            sum.counts.merge(&command.counts);
            self.given_up += absorb(&mut sum.parts, command.parts.tell(is_moved).hand_over(is_moved), room);
        }
        for (_, server) in statistics.servers.iter_mut() {
            let sum = self.servers.entry(server.name).or_default();
            sum.counts.merge(&server.counts);
            self.given_up += absorb(&mut sum.latency, server.latency.tell(is_moved).hand_over(is_moved), room);
        }
        for (_, client) in statistics.clients.iter_mut() {
            let sum = self.clients.entry(client.name).or_default();
            sum.counts.merge(&client.counts);
            self.given_up += absorb(&mut sum.latency, client.latency.tell(is_moved).hand_over(is_moved), room);
        }
        for (_, (code, count)) in statistics.errors.iter() {
            *self.errors.entry(*code).or_default() += count;
        }
        for (_, series) in statistics.series.iter_mut() {
            let mut told = series.latency.tell(is_moved);
            if let Some(latency) = told.kept()
                && !series.name.blocking
            {
                add_always(&mut self.latency, latency);
            }
            let command = table.name(series.name.command).to_owned();
            let key = SeriesKey { server: series.name.server, command, blocking: series.name.blocking };
            self.add_series(&key, told.hand_over(is_moved), room);
        }
        let rest = statistics.rest.each_ref().map(Recording::told);
        add_always(&mut self.latency, &rest[0]);
        self.add_rest(&rest);
    }

    /// Adds other totals.
    pub fn merge_totals(&mut self, other: Totals, room: &mut Room) {
        add_always(&mut self.latency, &other.latency);
        add_always(&mut self.parts, &other.parts);
        self.given_up += other.given_up;
        for (name, mut other) in other.commands {
            let sum = self.commands.entry(name).or_default();
            sum.counts.merge(&other.counts);
            self.given_up += absorb(&mut sum.parts, other.parts.hand_over(true), room);
        }
        for (name, other) in other.servers {
            self.given_up += self.servers.entry(name).or_default().merge(other, room);
        }
        for (name, other) in other.clients {
            self.given_up += self.clients.entry(name).or_default().merge(other, room);
        }
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        for (key, mut latency) in other.series {
            self.add_series(&key, latency.hand_over(true), room);
        }
        self.add_rest(&other.rest);
    }

    /// Latency of somebody's requests; `None` if some of it found no room.
    pub fn latency_of(&self, whose: Whose<'_>) -> Option<Histogram> {
        match whose {
            Whose::Command(command) => self.latency_of_command(command),
            Whose::Server(server) => self.latency_of_server(server),
            Whose::Client(client) => sum(self.clients.get(&client).map(|entry| &entry.latency).into_iter()),
        }
    }

    fn latency_of_server(&self, server: Option<Endpoint>) -> Option<Histogram> {
        let own = self.servers.get(&server).map(|entry| &entry.latency);
        let from = SeriesKey { server, command: String::new(), blocking: false };
        // Series without a server are in their servers' own entries.
        let series = self.series.range(from..).take_while(|(key, _)| key.server == server && server.is_some());
        let series = series.filter(|(key, latency)| !key.blocking && !latency.is_given_up());
        sum(own.into_iter().chain(series.map(|(_, latency)| latency)))
    }

    fn latency_of_command(&self, command: &str) -> Option<Histogram> {
        let series = self.series.iter().filter(|(key, _)| key.command == command);
        // What was given up with its server goes on without.
        let series = series.filter(|(key, latency)| key.server.is_none() || !latency.is_given_up());
        sum(series.map(|(_, latency)| latency))
    }

    /// Adds what a series has, or that it was given up.
    fn add_series(&mut self, key: &SeriesKey, part: Bounded<Cow<'_, Histogram>>, room: &mut Room) {
        let SeriesKey { server, blocking, .. } = *key;
        let claim = if server.is_some() { Claim::Named } else { Claim::Other };
        let sum = self.series.entry(key.clone()).or_default();
        let (kept, part) = match part {
            Bounded::Unused => return,
            Bounded::GivenUp => (sum.give_up(room), None),
            Bounded::Kept(part) => match sum.absorb(part, claim, room) {
                None => return,
                Some((kept, part)) => {
                    self.given_up += 1;
                    (kept, Some(part))
                }
            },
        };
        for part in kept.map(Cow::Owned).into_iter().chain(part) {
            if server.is_none() {
                add_always(&mut self.rest[usize::from(blocking)], &part);
                continue;
            }
            if !blocking {
                let own = &mut self.servers.entry(server).or_default().latency;
                self.given_up += absorb(own, Bounded::Kept(Cow::Borrowed(&part)), room);
            }
            self.add_series(&SeriesKey { server: None, ..key.clone() }, Bounded::Kept(Cow::Borrowed(&part)), room);
        }
    }

    fn add_rest(&mut self, rest: &[Histogram; 2]) {
        self.rest.iter_mut().zip(rest).for_each(|(sum, part)| add_always(sum, part));
    }
}

/// The sum of what was kept; `None` if something was given up.
fn sum<'a>(parts: impl Iterator<Item = &'a Bounded<Histogram>>) -> Option<Histogram> {
    let mut sum: Option<Histogram> = None;
    for part in parts {
        match (part, &mut sum) {
            (Bounded::Unused, _) => {}
            (Bounded::Kept(part), Some(sum)) => add_always(sum, part),
            (Bounded::Kept(part), None) => sum = Some(part.clone()),
            (Bounded::GivenUp, _) => return None,
        }
    }
    Some(sum.unwrap_or_else(|| histogram(DIGITS)))
}

/// Adds what another one has, or that it was given up; answers how many were given up for that.
fn absorb<T: Absorbing>(sum: &mut Bounded<T>, part: Bounded<Cow<'_, T>>, room: &mut Room) -> u64 {
    match part {
        Bounded::Unused => 0,
        Bounded::GivenUp => {
            sum.give_up(room);
            0
        }
        Bounded::Kept(part) => u64::from(sum.absorb(part, Claim::Named, room).is_some()),
    }
}

impl Entry {
    fn merge(&mut self, mut other: Entry, room: &mut Room) -> u64 {
        self.counts.merge(&other.counts);
        absorb(&mut self.latency, other.latency.hand_over(true), room)
    }
}
