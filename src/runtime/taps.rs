//! Opens the interfaces of a live capture for its threads, and describes what each brought.

use anyhow::Result;

use crate::capture::choice::{self, Wanted};
use crate::capture::live::{Interfaces, Tap};
use crate::capture::nic::drops::CardMeter;
use crate::capture::{LinkType, Way};
use crate::config::values::RssWish;
use crate::config::{Config, Live};
use crate::counters::{Counter, Counters};
use crate::export::summary::InputInterface;
#[cfg(feature = "afxdp")]
use crate::export::summary::InputQueue;

use super::live::Opened;
use super::rss::{self, Spread};

/// The interfaces, opened.
#[derive(Debug)]
pub(crate) struct Taps {
    /// One for each thread that follows some of them.
    pub(super) parts: Vec<Interfaces>,
    /// Each interface: its name, the way, and why that.
    chosen: Vec<(String, Way, String)>,
    /// What their cards drop.
    pub(super) cards: Vec<CardMeter>,
    /// How their cards spread packets. Dropped last: cards forget it when their XDP program is detached.
    pub(super) spread: Spread,
}

/// How an interface was captured.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Explanation {
    pub(super) name: String,
    /// Why in this way.
    pub(super) why: String,
    /// Whether both directions of a connection come to one queue; `None`: its driver does not tell.
    pub(super) rss: Option<&'static str>,
}

/// Opens the interfaces. Copies of one interface's frames are shared by its workers, connection by connection. The two directions
/// of a connection may come to different interfaces, and to different queues of one: one thread follows all of these. Only where
/// a card was asked to bring them to one queue each worker has a queue of its own.
pub(super) fn open(config: &Config, live: &Live, without_xdp: Option<&str>) -> Result<Taps> {
    rss::put_back_left(&live.interfaces);
    let is_alone = live.interfaces.len() == 1;
    let wanted = Wanted {
        way: live.way,
        ports: &config.ports,
        others: live.others,
        without_xdp,
        consume: live.consume,
        sockets: if is_alone { config.workers } else { 1 },
        rings: config.workers.max(live.interfaces.len()),
    };
    let (mut all, mut chosen) = (Vec::new(), Vec::new());
    for name in &live.interfaces {
        let choice::Opened { taps, way, why, node } = choice::open(name, &wanted)?;
        let near =
            node.map(|node| format!("; memory for packets is of the card's NUMA node, {node}")).unwrap_or_default();
        tracing::info!("{name}: {way} ({why}){near}");
        all.extend(taps);
        chosen.push((name.clone(), way, why));
    }
    let spread = Spread::arrange(&live.interfaces, live.rss)?;
    let keeps_together = |name: &str, way| match way {
        Way::AfPacket => true,
        // Not unless it is asked for: of tunnels the card sees the outside only, whose two directions may differ.
        _ => live.rss == RssWish::Symmetric && spread.is_symmetric(name) && all.len() == config.workers,
    };
    let is_shared = is_alone && chosen.iter().all(|(name, way, _)| keeps_together(name, *way));
    let parts = if is_shared {
        all.into_iter().map(|tap| Interfaces::new(vec![tap])).collect()
    } else {
        vec![Interfaces::new(all)]
    };
    // Cards are set up anew when an XDP program comes: what they drop meanwhile is not of the capture.
    let cards = live.interfaces.iter().map(|name| CardMeter::of(name)).collect();
    Ok(Taps { parts, chosen, cards, spread })
}

impl Taps {
    /// What is still to be done with them.
    pub(super) fn opened(&self) -> Opened {
        Opened {
            has_xdp: self.chosen.iter().any(|(_, way, _)| *way != Way::AfPacket),
            has_changed_cards: self.spread.has_changed(),
        }
    }

    /// What is captured, and how.
    pub(super) fn describe(&self) -> String {
        let names = self.chosen.iter().map(|(name, way, _)| match way {
            Way::AfPacket => format!("{name} by AF_PACKET"),
            way => format!("{name} by AF_XDP ({way})"),
        });
        names.collect::<Vec<_>>().join(" and ")
    }

    /// Whose clock the frames' times are, and how fine.
    pub(super) fn clock(&self) -> String {
        let by = |way: Way| match way {
            Way::AfPacket => "the kernel as packets arrive",
            Way::Generic => "the kernel's XDP program as packets arrive behind the driver",
            Way::Copy | Way::ZeroCopy => "the kernel's XDP program as packets arrive in the driver",
        };
        let mut readers: Vec<&str> = self.chosen.iter().map(|(_, way, _)| by(*way)).collect();
        readers.dedup();
        format!("this host's, read by {}, nanoseconds", readers.join(", and by "))
    }

    /// Says of each interface how it was captured.
    pub(super) fn explanations(&self) -> Vec<Explanation> {
        let explain = |(name, _, why): &(String, Way, String)| Explanation {
            name: name.clone(),
            why: why.clone(),
            rss: self.spread.name(name),
        };
        self.chosen.iter().map(explain).collect()
    }
}

/// What a socket brought, at the end, and what the kernel dropped of it.
pub(super) fn described(tap: &mut Tap, counters: &mut Counters) -> InputInterface {
    let link = match tap.link() {
        LinkType::RawIp => "IP",
        _ => "Ethernet",
    };
    let (name, packets) = (tap.name().to_owned(), tap.packets());
    match tap {
        Tap::AfPacket(source) => {
            let drops = source.drops();
            counters.add(Counter::CaptureDropsRing, drops.frames);
            let mode = Way::AfPacket.name();
            InputInterface {
                name,
                mode,
                link,
                packets,
                drops: drops.frames,
                freezes: drops.freezes,
                ..InputInterface::default()
            }
        }
        #[cfg(feature = "afxdp")]
        Tap::AfXdp(source) => {
            use crate::capture::afxdp::Verdict;
            let mode = source.way().name();
            let account = source.close();
            let no_socket = account.verdicts[Verdict::NoSocket];
            counters.add(Counter::CaptureDropsRing, account.ring_full);
            counters.add(Counter::CaptureDropsMemory, account.dropped);
            counters.add(Counter::CaptureDropsNoSocket, no_socket);
            let queue = InputQueue {
                number: source.number(),
                huge_pages: source.has_huge_pages(),
                packets: account.received,
                left: account.left,
                ring_full: account.ring_full,
                dropped: account.dropped,
                fill_empty: account.fill_empty,
                xdp: Verdict::ALL.map(|(verdict, name)| (name, account.verdicts[verdict])).to_vec(),
            };
            let drops = account.ring_full + account.dropped + no_socket;
            InputInterface { name, mode, link, packets, drops, queues: vec![queue], ..InputInterface::default() }
        }
    }
}
