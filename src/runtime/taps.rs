//! Opens the interfaces of a live capture for its threads, and describes what each brought.

use anyhow::Result;

use crate::capture::choice::{self, Wanted};
use crate::capture::interface::queues;
use crate::capture::live::{Interfaces, Tap};
use crate::capture::nic::drops::CardMeter;
use crate::capture::spread::Spread;
use crate::capture::{LinkType, Way};
use crate::config::values::RssWish;
use crate::config::{Config, Live};
use crate::counters::{Counter, Counters};
use crate::export::summary::InputInterface;
#[cfg(feature = "afxdp")]
use crate::export::summary::InputQueue;
use crate::flow::hash::Seed;

use super::live::Opened;
use super::rss::{self, Spread as CardSpread};

/// The interfaces, opened.
#[derive(Debug)]
pub(crate) struct Taps {
    /// The sockets that bring each worker's connections.
    pub(super) parts: Vec<Interfaces>,
    /// Whose connections are whose, where the outermost headers do not tell.
    pub(super) owners: Spread,
    /// Each interface: its name, the way, and why that.
    chosen: Vec<(String, Way, String)>,
    /// Whether each worker has a queue of its own.
    has_own_queues: bool,
    /// What their cards drop.
    pub(super) cards: Vec<CardMeter>,
    /// How their cards spread packets. Dropped last: cards forget it when their XDP program is detached.
    pub(super) spread: CardSpread,
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

/// Opens the interfaces. Each worker has sockets that bring both directions of its connections: of copies the kernel chooses by a
/// hash, the same on all interfaces; of AF_XDP the XDP program does, on each queue. Only where a card was asked to bring both
/// directions to one queue, and there is one for each worker, that is its own.
pub(super) fn open(config: &Config, live: &Live, without_xdp: Option<&str>) -> Result<Taps> {
    rss::put_back_left(&live.interfaces);
    let workers = config.workers;
    let has_own_queues = match &live.interfaces[..] {
        [alone] => live.rss == RssWish::Symmetric && queues(alone) == workers,
        _ => false,
    };
    let secret = Seed::random().hash_of(&"whose connection it is");
    let owners = Spread { workers: workers as u32, secret };
    let wanted = Wanted {
        way: live.way,
        ports: &config.ports,
        others: live.others,
        without_xdp,
        consume: live.consume,
        spread: Spread { workers: if has_own_queues { 1 } else { owners.workers }, secret },
        interfaces: live.interfaces.len(),
    };
    let opened = open_alike(live, &wanted)?;
    let spread = CardSpread::arrange(&live.interfaces, live.rss)?;
    let mut chosen = Vec::new();
    let mut parts: Vec<Vec<Tap>> = (0..workers).map(|_| Vec::new()).collect();
    for (name, choice::Opened { taps, way, why, node }) in live.interfaces.iter().zip(opened) {
        let near = node
            .map(|node| format!("; memory for packets is of the card's NUMA node, {node}, while that has any"))
            .unwrap_or_default();
        tracing::info!("{name}: {way} ({why}){near}");
        chosen.push((name.clone(), way, why));
        for (number, tap) in taps.into_iter().enumerate() {
            parts[number % workers].push(tap);
        }
    }
    let parts = parts.into_iter().map(Interfaces::new).collect();
    // Cards are set up anew when an XDP program comes: what they drop meanwhile is not of the capture.
    let cards = live.interfaces.iter().map(|name| CardMeter::of(name)).collect();
    Ok(Taps { parts, owners, chosen, has_own_queues, cards, spread })
}

/// Opens all interfaces in ways that spread connections over the workers alike.
fn open_alike(live: &Live, wanted: &Wanted<'_>) -> Result<Vec<choice::Opened>> {
    let open_all = |wanted: &Wanted<'_>| -> Result<Vec<choice::Opened>> {
        live.interfaces.iter().map(|name| Ok(choice::open(name, wanted)?)).collect()
    };
    let opened = open_all(wanted)?;
    let copies = opened.iter().filter(|opened| opened.way == Way::AfPacket).count();
    if copies == 0 || copies == opened.len() {
        return Ok(opened);
    }
    let whys: Vec<String> =
        opened.into_iter().filter(|opened| opened.way == Way::AfPacket).map(|opened| opened.why).collect();
    let mut opened = open_all(&Wanted { way: Some(Way::AfPacket), ..*wanted })?;
    for one in &mut opened {
        one.why = format!("all interfaces in the same way, and one has no better: {}", whys.join("; "));
    }
    Ok(opened)
}

impl Taps {
    /// What is still to be done with them.
    pub(super) fn opened(&self) -> Opened {
        Opened {
            has_xdp: self.chosen.iter().any(|(_, way, _)| *way != Way::AfPacket),
            has_changed_cards: self.spread.has_changed(),
        }
    }

    /// Whether packets in tunnels, too, come to the worker whose connection they are of.
    pub(super) fn are_sorted_out_of_tunnels(&self) -> bool {
        !self.has_own_queues && self.chosen.iter().all(|(_, way, _)| *way != Way::AfPacket)
    }

    /// What is captured, how, and by whom.
    pub(super) fn describe(&self) -> String {
        let names = self.chosen.iter().map(|(name, way, _)| match way {
            Way::AfPacket => format!("{name} by AF_PACKET"),
            way => format!("{name} by AF_XDP ({way})"),
        });
        let workers = match (self.parts.len(), self.has_own_queues) {
            (1, _) => "with one worker".to_owned(),
            (count, false) => format!("with {count} workers"),
            (count, true) => format!("with {count} workers, each with a queue of its own"),
        };
        format!("{}, {workers}", names.collect::<Vec<_>>().join(" and "))
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
            counters.add(Counter::FramesShed, account.verdicts[Verdict::Shed]);
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
