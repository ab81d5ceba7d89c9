//! Which latency series are shown by name. Their number is bounded (`--series`); the rest is `other`.
//!
//! Series are admitted interval by interval, never dropped again, so that a series once shown is shown to the end. Among
//! the new ones of an interval those with most requests take the free places, ties in the order of their keys: the choice
//! depends on the traffic alone, not on the order in which workers report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::record::histograms::Histogram;
use crate::record::room::Bounded;
use crate::record::totals::SeriesKey;

/// The admitted series.
#[derive(Debug)]
pub struct SeriesBound {
    most: usize,
    admitted: BTreeSet<SeriesKey>,
}

impl SeriesBound {
    /// Room for `most` series.
    pub fn new(most: usize) -> SeriesBound {
        SeriesBound { most, admitted: BTreeSet::new() }
    }

    /// Gives the free places to an interval's new series.
    pub fn admit(&mut self, series: &BTreeMap<SeriesKey, Bounded<Histogram>>) {
        let free = self.most.saturating_sub(self.admitted.len());
        if free == 0 {
            return;
        }
        let kept = series.iter().filter_map(|(key, latency)| Some((key, latency.kept()?.len())));
        let mut new: Vec<_> = kept.filter(|(key, _)| key.server.is_some() && !self.admitted.contains(key)).collect();
        new.sort_by_key(|&(key, requests)| (Reverse(requests), key));
        self.admitted.extend(new.into_iter().take(free).map(|(key, _)| key.clone()));
    }

    /// Whether the series is shown by name.
    pub fn is_admitted(&self, key: &SeriesKey) -> bool {
        self.admitted.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::histograms::{DIGITS, histogram};
    use crate::units::{Address, Endpoint};

    fn key(port: u16, command: &str) -> SeriesKey {
        let server = Some(Endpoint { address: Address::from_ipv4([10, 0, 0, 9]), port });
        SeriesKey { server, command: command.into(), blocking: false }
    }

    fn interval(series: &[(u16, &str, u64)]) -> BTreeMap<SeriesKey, Bounded<Histogram>> {
        let series = series.iter().map(|&(port, command, count)| {
            let mut latency = histogram(DIGITS);
            latency.record_n(1000, count).unwrap();
            (key(port, command), Bounded::Kept(latency))
        });
        series.collect()
    }

    #[test]
    fn free_places_go_to_the_busiest_and_are_kept() {
        let mut bound = SeriesBound::new(3);
        bound.admit(&interval(&[(1, "GET", 5), (2, "GET", 9)]));
        bound.admit(&interval(&[(3, "GET", 7), (3, "SET", 8), (4, "SET", 8), (1, "GET", 1)]));
        bound.admit(&interval(&[(5, "GET", 1000)]));
        let shown: Vec<_> = [(1, "GET"), (2, "GET"), (3, "GET"), (3, "SET"), (4, "SET"), (5, "GET")]
            .into_iter()
            .filter(|(port, command)| bound.is_admitted(&key(*port, command)))
            .collect();
        assert_eq!(shown, [(1, "GET"), (2, "GET"), (3, "SET")]);
    }

    #[test]
    fn what_lies_beyond_the_workers_own_bounds_has_no_name_to_show() {
        let mut bound = SeriesBound::new(3);
        let nameless = SeriesKey { server: None, ..key(1, "GET") };
        bound.admit(&BTreeMap::from([(nameless.clone(), Bounded::Kept(histogram(DIGITS)))]));
        assert!(!bound.is_admitted(&nameless));
    }
}
