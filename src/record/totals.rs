//! Statistics by name, merged over workers and intervals: what summaries, tables and interval logs are made of.

use std::collections::BTreeMap;

use crate::redis::command::CommandTable;
use crate::units::{Address, Endpoint};

use super::histograms::{Counts, DIGITS, DIGITS_COARSE, ErrorCode, Histogram, Parts, Statistics, histogram};

/// Latency and counts of one command, server or client.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Requests and bytes.
    pub counts: Counts,
    /// Latency of its paired requests.
    pub latency: Histogram,
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

/// Merged statistics. Ordered maps, so that all that is printed comes in one order.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Overall latency, blocking commands left out.
    pub latency: Histogram,
    /// Its parts.
    pub parts: Parts,
    /// Latency series.
    pub series: BTreeMap<SeriesKey, Histogram>,
    /// By command (blocking calls included): counts, latency, and the parts of the latency.
    pub commands: BTreeMap<String, (Entry, Parts)>,
    /// By server; `None`: those beyond the bound.
    pub servers: BTreeMap<Option<Endpoint>, Entry>,
    /// By client address; `None`: those beyond the bound.
    pub clients: BTreeMap<Option<Address>, Entry>,
    /// By error code; `None`: those beyond the bound. Redirects among them.
    pub errors: BTreeMap<Option<ErrorCode>, u64>,
}

impl Default for Totals {
    fn default() -> Self {
        Totals {
            latency: histogram(DIGITS),
            parts: Parts::new(DIGITS),
            series: BTreeMap::new(),
            commands: BTreeMap::new(),
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }
}

fn entry(digits: u8) -> Entry {
    Entry { counts: Counts::default(), latency: histogram(digits) }
}

fn add(sum: &mut Histogram, part: &Histogram) {
    sum.add(part).expect("the histogram resizes itself");
}

impl Totals {
    /// Adds one worker's interval.
    pub fn merge(&mut self, statistics: &Statistics, table: &CommandTable) {
        self.parts.merge(&statistics.parts);
        for (number, command) in statistics.commands.iter() {
            let name = table.iter().nth(number as usize).map_or("unknown", |command| &command.name);
            let (entry, parts) =
                self.commands.entry(name.to_owned()).or_insert_with(|| (entry(DIGITS), Parts::new(DIGITS_COARSE)));
            entry.counts.merge(&command.counts);
            parts.merge(&command.parts);
        }
        for (_, server) in statistics.servers.iter() {
            let sum = self.servers.entry(server.name).or_insert_with(|| entry(DIGITS));
            sum.counts.merge(&server.counts);
            if let Some(latency) = &server.latency {
                add(&mut sum.latency, latency);
            }
        }
        for (_, client) in statistics.clients.iter() {
            let sum = self.clients.entry(client.name).or_insert_with(|| entry(DIGITS_COARSE));
            sum.counts.merge(&client.counts);
            if let Some(latency) = &client.latency {
                add(&mut sum.latency, latency);
            }
        }
        for (_, (code, count)) in statistics.errors.iter() {
            *self.errors.entry(*code).or_default() += count;
        }
        for (_, series) in statistics.series.iter() {
            let command = table.name(series.name.command);
            let key =
                SeriesKey { server: series.name.server, command: command.to_owned(), blocking: series.name.blocking };
            add(self.series.entry(key).or_insert_with(|| histogram(DIGITS)), &series.latency);
            if let Some((entry, _)) = self.commands.get_mut(command) {
                add(&mut entry.latency, &series.latency);
            }
            if !series.name.blocking {
                add(&mut self.latency, &series.latency);
                // Series without a server are in their servers' own entries.
                if let Some(sum) = series.name.server.and_then(|server| self.servers.get_mut(&Some(server))) {
                    add(&mut sum.latency, &series.latency);
                }
            }
        }
    }

    /// Adds other totals.
    pub fn merge_totals(&mut self, other: &Totals) {
        add(&mut self.latency, &other.latency);
        self.parts.merge(&other.parts);
        for (key, latency) in &other.series {
            add(self.series.entry(key.clone()).or_insert_with(|| histogram(DIGITS)), latency);
        }
        for (name, (other, other_parts)) in &other.commands {
            let (sum, parts) =
                self.commands.entry(name.clone()).or_insert_with(|| (entry(DIGITS), Parts::new(DIGITS_COARSE)));
            sum.merge(other);
            parts.merge(other_parts);
        }
        for (name, other) in &other.servers {
            self.servers.entry(*name).or_insert_with(|| entry(DIGITS)).merge(other);
        }
        for (name, other) in &other.clients {
            self.clients.entry(*name).or_insert_with(|| entry(DIGITS_COARSE)).merge(other);
        }
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
    }
}

impl Entry {
    fn merge(&mut self, other: &Entry) {
        self.counts.merge(&other.counts);
        add(&mut self.latency, &other.latency);
    }
}
