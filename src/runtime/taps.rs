//! Opens the interfaces of a live capture for its threads, and describes what each brought.

use crate::capture::choice::{self, OpenError, Opened, Wanted};
use crate::capture::live::{Interfaces, Tap};
use crate::capture::{LinkType, Way};
use crate::config::{Config, Live};
use crate::counters::{Counter, Counters};
use crate::export::summary::InputInterface;
#[cfg(feature = "afxdp")]
use crate::export::summary::InputQueue;

/// The interfaces, opened.
#[derive(Debug)]
pub(crate) struct Taps {
    /// One for each thread that follows some of them.
    pub(super) parts: Vec<Interfaces>,
    /// Each interface: its name, the way, and why that.
    chosen: Vec<(String, Way, String)>,
}

/// Opens the interfaces. Copies of one interface's frames are shared by its workers, connection by connection. The two directions
/// of a connection may come to different interfaces, and to different queues of one: one thread follows all of these.
pub(super) fn open(config: &Config, live: &Live) -> Result<Taps, OpenError> {
    let is_alone = live.interfaces.len() == 1;
    let wanted = Wanted {
        way: live.way,
        ports: &config.ports,
        others: live.others,
        consume: live.consume,
        sockets: if is_alone { config.workers } else { 1 },
        rings: config.workers.max(live.interfaces.len()),
    };
    let (mut all, mut chosen) = (Vec::new(), Vec::new());
    for name in &live.interfaces {
        let Opened { taps, way, why } = choice::open(name, &wanted)?;
        tracing::info!("{name}: {way} ({why})");
        all.extend(taps);
        chosen.push((name.clone(), way, why));
    }
    let is_shared = is_alone && chosen.iter().all(|(_, way, _)| *way == Way::AfPacket);
    let parts = if is_shared {
        all.into_iter().map(|tap| Interfaces::new(vec![tap])).collect()
    } else {
        vec![Interfaces::new(all)]
    };
    Ok(Taps { parts, chosen })
}

impl Taps {
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

    /// Says of each interface by which way it was captured, and why.
    pub(super) fn explanations(&self) -> Vec<(String, String)> {
        self.chosen.iter().map(|(name, _, why)| (name.clone(), why.clone())).collect()
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
