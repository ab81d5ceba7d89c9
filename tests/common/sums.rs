//! What all statistics have to be: the sums of what the records say, made one record at a time.

use std::collections::BTreeMap;
use std::fmt::Debug;

use resptap::record::histograms::{Counts, DIGITS, DIGITS_COARSE, ErrorCode, Histogram, VALUE_NS_MAX, histogram};
use resptap::record::totals::{Totals, Whose};
use resptap::redis::command::CommandTable;
use resptap::redis::pairing::Flags;
use resptap::resp::parser::Kind;

use super::drive::Record;

/// Requests, bytes and latencies of somebody.
struct Sum {
    counts: Counts,
    latency: Histogram,
}

/// Holds statistics against the records: all of them, whoever they are told by. Nobody may be among `other`; where `is_whole`, each
/// latency is to be told.
pub fn check(totals: &Totals, records: &[Record], is_whole: bool) {
    let record = |histogram: &mut Histogram, value: u64| histogram.record(value.min(VALUE_NS_MAX)).unwrap();
    let mut all = [(); 4].map(|()| histogram(DIGITS));
    let (mut servers, mut clients, mut commands) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for Record { transaction, error, .. } in records {
        let is_blocking = transaction.flags.has(Flags::BLOCKING);
        let latency = transaction.times.map(|times| times.latency());
        let is_first = !transaction.flags.has(Flags::LATE);
        let is_redirect = ErrorCode::of(error).is_redirect();
        let counts = Counts {
            count: u64::from(is_first),
            errors: u64::from(transaction.reply == Some(Kind::Error) && !is_redirect),
            request_bytes: if is_first { transaction.request_bytes } else { 0 },
            reply_bytes: transaction.reply_bytes,
        };
        let add = |sum: &mut Sum, has_latency: bool| {
            sum.counts.merge(&counts);
            latency.filter(|_| has_latency).into_iter().for_each(|latency| record(&mut sum.latency, latency));
        };
        let empty = |digits| move || Sum { counts: Counts::default(), latency: histogram(digits) };
        let command = CommandTable::built_in().name(transaction.command);
        add(servers.entry(transaction.conversation.server).or_insert_with(empty(DIGITS)), !is_blocking);
        add(clients.entry(transaction.conversation.client.address).or_insert_with(empty(DIGITS_COARSE)), !is_blocking);
        add(commands.entry(command).or_insert_with(empty(DIGITS)), true);
        if let Some(times) = transaction.times.filter(|_| !is_blocking) {
            for (all, value) in all.iter_mut().zip([times.latency(), times.queue, times.server, times.transfer]) {
                record(all, value);
            }
        }
    }
    let parts = &totals.parts;
    let told = [&totals.latency, &parts.queue, &parts.server, &parts.transfer];
    for (name, (told, sum)) in ["latency", "queue", "server", "transfer"].iter().zip(told.into_iter().zip(&all)) {
        assert_eq!(cells(told), cells(sum), "{name} of all");
    }
    same(&servers, totals, is_whole, |server| (totals.servers[&Some(*server)].counts, Whose::Server(Some(*server))));
    same(&clients, totals, is_whole, |client| (totals.clients[&Some(*client)].counts, Whose::Client(Some(*client))));
    same(&commands, totals, is_whole, |command| (totals.commands[*command].counts, Whose::Command(command)));
    assert_eq!(
        [totals.servers.len(), totals.clients.len(), totals.commands.len()],
        [servers.len(), clients.len(), commands.len()],
        "nobody else is told of"
    );
}

fn same<'a, K: Debug>(
    sums: &'a BTreeMap<K, Sum>,
    totals: &Totals,
    is_whole: bool,
    told: impl Fn(&'a K) -> (Counts, Whose<'a>),
) {
    for (name, sum) in sums {
        let (counts, whose) = told(name);
        assert_eq!(counts, sum.counts, "{name:?}");
        // Who found no room has none that is told.
        match totals.latency_of(whose) {
            Some(latency) => assert_eq!(cells(&latency), cells(&sum.latency), "latency of {name:?}"),
            None => assert!(!is_whole, "latency of {name:?} is told"),
        }
    }
}

/// What a histogram tells: its values, and how often there was each.
fn cells(histogram: &Histogram) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}
