//! What was dropped of an interface's packets before a capture could see them, by the counters of the card and its driver.
//!
//! Only one of them says for certain that packets were lost to the capture and stand in no other count: `rx_missed_errors`, those
//! for which the host had given the card no room (`Documentation/networking/statistics.rst` of Linux). Drivers use
//! `rx_fifo_errors` for the same packets or for others, and count in `rx_dropped`, and in the counters of their queues, also
//! what was of no interest, or what an `AF_XDP` socket had no room for: so these are told, and added to nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::ethtool::Ethtool;

/// What was counted since the capture's beginning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CardDrops {
    /// Packets that the card had no room for (`rx_missed_errors`).
    pub missed: u64,
    /// `rx_fifo_errors`: by driver.
    pub fifo: u64,
    /// `rx_dropped`: by driver.
    pub dropped: u64,
    /// Of each receive queue of which the driver tells: its number, and what it dropped.
    pub queues: Vec<(u32, u64)>,
}

/// Asks an interface's counters.
#[derive(Debug)]
pub struct CardMeter {
    name: String,
    folder: PathBuf,
    ethtool: Option<Ethtool>,
    /// Which of the driver's counters are drops of a queue: their places, and the queues' numbers.
    places: Vec<(usize, u32)>,
    before: CardDrops,
    drops: CardDrops,
}

impl CardMeter {
    /// Of this interface, from now on.
    pub fn of(interface: &str) -> CardMeter {
        let folder = Path::new("/sys/class/net").join(interface).join("statistics");
        CardMeter::with_counters(interface, folder, Ethtool::of(interface).ok())
    }

    /// With counters in this folder.
    fn with_counters(interface: &str, folder: PathBuf, ethtool: Option<Ethtool>) -> CardMeter {
        let names = ethtool.as_ref().and_then(|ethtool| ethtool.counters_named().ok().flatten()).unwrap_or_default();
        let place = |(place, name): (usize, &String)| Some((place, queue_of(name)?));
        let mut places: Vec<(usize, u32)> = names.iter().enumerate().filter_map(place).collect();
        places.sort_by_key(|&(_, queue)| queue);
        let name = interface.to_owned();
        let [before, drops] = [CardDrops::default(), CardDrops::default()];
        let mut meter = CardMeter { name, folder, ethtool, places, before, drops };
        meter.before = meter.counted().unwrap_or_default();
        meter.before.queues = meter.counted_of_queues().unwrap_or_default();
        meter.drops.queues = meter.before.queues.iter().map(|&(queue, _)| (queue, 0)).collect();
        meter
    }

    /// The interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Packets that the card has missed so far; of an interface that is gone, what was known last.
    pub fn missed(&mut self) -> u64 {
        if let Some(now) = self.counted() {
            let since = |of: fn(&CardDrops) -> u64| of(&now).saturating_sub(of(&self.before));
            self.drops.missed = since(|drops| drops.missed);
            self.drops.fifo = since(|drops| drops.fifo);
            self.drops.dropped = since(|drops| drops.dropped);
        }
        self.drops.missed
    }

    /// All that was counted so far. Drivers may take a while to tell of their queues.
    pub fn drops(&mut self) -> &CardDrops {
        self.missed();
        let now = self.counted_of_queues().unwrap_or_default();
        // Where the driver has other queues now, what was known last stays.
        if now.len() == self.before.queues.len() {
            let since =
                now.iter().zip(&self.before.queues).map(|(now, before)| (now.0, now.1.saturating_sub(before.1)));
            self.drops.queues = since.collect();
        }
        &self.drops
    }

    fn counted(&self) -> Option<CardDrops> {
        let read = |counter: &str| fs::read_to_string(self.folder.join(counter)).ok()?.trim().parse().ok();
        Some(CardDrops {
            missed: read("rx_missed_errors")?,
            fifo: read("rx_fifo_errors")?,
            dropped: read("rx_dropped")?,
            queues: Vec::new(),
        })
    }

    fn counted_of_queues(&self) -> Option<Vec<(u32, u64)>> {
        if self.places.is_empty() {
            return None;
        }
        let counters = self.ethtool.as_ref()?.counters().ok()??;
        let mut queues: Vec<(u32, u64)> = Vec::new();
        for &(place, queue) in &self.places {
            let count = *counters.get(place)?;
            match queues.last_mut() {
                Some(last) if last.0 == queue => last.1 = last.1.saturating_add(count),
                _ => queues.push((queue, count)),
            }
        }
        Some(queues)
    }
}

/// The receive queue whose drops a driver's counter of this name has, if it is one: `rx_queue_0_drops`, `rx0_drops`,
/// `rx-0.dropped`, `[0]: rx_discards`. Not what an XDP program was told to drop (`rx0_xdp_drops`).
fn queue_of(name: &str) -> Option<u32> {
    let (mut words, mut queue) = (Vec::new(), None);
    let mut rest = name;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        rest = &rest[at..];
        let is_number = rest.starts_with(|c: char| c.is_ascii_digit());
        let is_other = |c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != is_number;
        let (part, behind) = rest.split_at(rest.find(is_other).unwrap_or(rest.len()));
        rest = behind;
        match part {
            number if is_number => {
                if queue.replace(number.parse().ok()?).is_some() {
                    return None;
                }
            }
            "queue" | "q" | "ring" => {}
            word => words.push(word),
        }
    }
    match words[..] {
        ["rx", "drop" | "drops" | "dropped" | "discard" | "discards"] => queue,
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Cards whose counters are files.

    use super::*;

    /// The counters of a card.
    #[derive(Debug)]
    pub(crate) struct Counters(tempfile::TempDir);

    impl Counters {
        pub(crate) fn new(missed: u64, fifo: u64, dropped: u64) -> Counters {
            let counters = Counters(tempfile::tempdir().unwrap());
            counters.set(missed, fifo, dropped);
            counters
        }

        pub(crate) fn set(&self, missed: u64, fifo: u64, dropped: u64) {
            for (name, count) in [("rx_missed_errors", missed), ("rx_fifo_errors", fifo), ("rx_dropped", dropped)] {
                fs::write(self.0.path().join(name), format!("{count}\n")).unwrap();
            }
        }

        pub(crate) fn meter(&self, name: &str) -> CardMeter {
            CardMeter::with_counters(name, self.0.path().to_owned(), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Counters;
    use super::*;

    #[test]
    fn what_was_counted_before_is_not_of_the_capture() {
        let card = Counters::new(100, 10, 1);
        let mut meter = card.meter("a");
        assert_eq!((meter.missed(), meter.drops()), (0, &CardDrops::default()));
        card.set(105, 12, 8);
        let expected = CardDrops { missed: 5, fifo: 2, dropped: 7, queues: Vec::new() };
        assert_eq!((meter.missed(), meter.drops()), (5, &expected));
        drop(card);
        assert_eq!((meter.missed(), meter.drops()), (5, &expected), "gone: what was known last");
    }

    #[test]
    fn a_queues_drops_are_known_by_their_name() {
        let names = [
            ("rx_queue_3_drops", 3), // veth, igb
            ("rx3_drops", 3),        // virtio_net
            ("rx-12.dropped", 12),   // in the manner of i40e
            ("[0]: rx_discards", 0), // bnxt_en
            ("queue_7_rx_drops", 7),
        ];
        for (name, queue) in names {
            assert_eq!(queue_of(name), Some(queue), "{name}");
        }
        let others = [
            "rx_drops",
            "rx_queue_0_xdp_drops",
            "rx0_xdp_drops",
            "tx0_drops",
            "rx_queue_0_packets",
            "rx_prio3_discards",
            "rx0_1_drops",
            "rx99999999999_drops",
            "",
            "0",
            "r\u{e9}0_drops",
        ];
        for name in others {
            assert_eq!(queue_of(name), None, "{name}");
        }
    }

    #[test]
    fn of_loopback_nothing_is_dropped_and_of_what_is_not_there_nothing_is_known() {
        for name in ["lo", "no-such-if"] {
            let mut meter = CardMeter::of(name);
            assert_eq!((meter.name(), meter.places.len()), (name, 0));
            assert_eq!(meter.drops(), &CardDrops::default());
        }
    }
}
