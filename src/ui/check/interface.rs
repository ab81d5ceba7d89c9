//! What of an interface matters for capturing it.
//!
//! A mirror port, which is nobody's, is captured by `AF_XDP`; an interface that the host uses is captured by `AF_PACKET`, and its
//! settings are the host's matter: they are told, and nothing is asked to be changed.

use crate::capture::afpacket;
use crate::capture::nic::Facts;
use crate::capture::nic::host::Host;
use crate::capture::nic::rss::{Rss, Symmetry};

use super::Finding;

/// Packets for which a queue should have room: at 10 Gbit/s of small packets, a few hundred microseconds.
const RING_PACKETS: u32 = 4096;
/// Longest packet that takes one piece of `AF_XDP`'s memory, in bytes.
const PIECE_MTU: u32 = 3498;
/// Drivers with zero-copy, for kernels that do not tell (before 6.3).
const ZERO_COPY_DRIVERS: &[&str] = &["i40e", "ice", "igc", "ixgbe", "mlx5_core", "st_gmac"];

/// There is no such interface.
pub(super) fn absent(name: &str) -> Finding {
    Finding::fail("link", format!("there is no interface {name} in this network namespace"), "ip link")
}

/// Judges an interface. `left`: the process of a killed capture that has left its settings behind.
pub(super) fn judge(facts: &Facts, host: &Host, left: Option<u32>) -> Vec<Finding> {
    let by_xdp = facts.in_use.is_none();
    let mut findings = vec![link(facts), way(facts), queues(facts, host)];
    findings.push(left.map_or_else(|| spread(facts), |pid| left_behind(facts, pid)));
    if by_xdp {
        findings.extend(vlan_tags(facts));
        findings.extend(joined(facts));
    }
    findings.extend(ring(facts));
    findings.extend(interrupts(facts, host));
    findings.extend(node(facts, host));
    findings.push(mtu(facts));
    findings
}

fn link(facts: &Facts) -> Finding {
    const TOPIC: &str = "link";
    let name = &facts.name;
    if afpacket::link_type(facts.hardware).is_none() {
        let text = format!(
            "its frames (link type {} of linux/if_arp.h) are not read; those of Ethernet, loopback and tun interfaces are",
            facts.hardware
        );
        return Finding::fail(TOPIC, text, "ip -br link");
    }
    match (facts.is_up, facts.carrier) {
        (false, _) => Finding::warn(TOPIC, "it is down, so nothing comes", format!("ip link set {name} up")),
        (true, Some(false)) => Finding::warn(
            TOPIC,
            "no signal: look at the cable, and at what is on its other end",
            format!("ethtool {name}"),
        ),
        (true, _) => Finding::ok(TOPIC, "up"),
    }
}

/// By which of the kernel's ways it is captured.
fn way(facts: &Facts) -> Finding {
    const TOPIC: &str = "capture by";
    let driver = facts.driver.as_ref().map_or("unknown", |(name, _)| name);
    if let Some(use_) = &facts.in_use {
        let text = format!(
            "AF_PACKET, as this host uses the interface ({use_}), and AF_XDP would take packets away from it; driver {driver}"
        );
        return Finding::ok(TOPIC, text);
    }
    let text = match facts.xdp {
        Some(xdp) if xdp.zero_copy => {
            return Finding::ok(TOPIC, format!("AF_XDP without copying (zero-copy); driver {driver}"));
        }
        None if ZERO_COPY_DRIVERS.contains(&driver) => {
            return Finding::ok(TOPIC, format!("AF_XDP, by the driver {driver}, which has zero-copy"));
        }
        Some(xdp) if xdp.driver => format!(
            "AF_XDP, but the driver {driver} has no zero-copy: each packet is copied once, as by AF_PACKET, which may cost less"
        ),
        Some(_) => {
            format!("the driver {driver} has no AF_XDP: what the kernel does in its place is slower than AF_PACKET")
        }
        None => {
            format!("this kernel does not tell whether the driver {driver} has AF_XDP and zero-copy; AF_PACKET works")
        }
    };
    Finding::warn(TOPIC, text, format!("resptap capture --interface {} --mode af-packet", facts.name))
}

fn queues(facts: &Facts, host: &Host) -> Finding {
    const TOPIC: &str = "queues";
    let (queues, cores) = (facts.queues, host.cores.len().max(1));
    let most = facts.channels.map_or(0, |channels| channels.combined.most.max(channels.receiving.most)) as usize;
    let kind = if facts.channels.is_some_and(|channels| channels.combined.most == 0) { "rx" } else { "combined" };
    let set = |queues: usize| format!("ethtool -L {} {kind} {queues}", facts.name);
    if queues > cores && most > 0 {
        let text = format!("{queues} receive queues, more than the {cores} cores there are to work on them");
        return Finding::warn(TOPIC, text, set(cores));
    }
    let useful = most.min(cores);
    if queues < useful {
        let text = format!("{queues} of up to {most} receive queues: all packets pass {queues} of {cores} cores first");
        return Finding::warn(TOPIC, text, set(useful));
    }
    Finding::ok(TOPIC, format!("{queues}"))
}

/// Whether both directions of a connection come to one queue.
fn spread(facts: &Facts) -> Finding {
    const TOPIC: &str = "RSS";
    let name = &facts.name;
    if facts.queues == 1 {
        return Finding::ok(TOPIC, "one queue, so both directions of a connection come to it");
    }
    let symmetry = facts.rss.as_ref().map(Rss::symmetry);
    match symmetry {
        Some(Symmetry::None) if facts.in_use.is_some() => {
            Finding::ok(TOPIC, "not symmetric, which does not matter to AF_PACKET")
        }
        Some(Symmetry::None) => Finding::warn(
            TOPIC,
            "not symmetric: the two directions of a connection come to different queues, so each worker reads all of them, \
             which costs more",
            format!("resptap capture --interface {name} --rss symmetric"),
        ),
        Some(symmetry) => {
            Finding::ok(TOPIC, format!("both directions of a connection come to one queue ({})", symmetry.name()))
        }
        None => Finding::ok(TOPIC, "the driver does not tell how it spreads packets, so each worker reads all queues"),
    }
}

fn left_behind(facts: &Facts, pid: u32) -> Finding {
    let text = format!(
        "a capture that was killed (process {pid}) has left behind how packets are spread over the queues; the next capture puts back what \
         was before, as does"
    );
    Finding::warn("RSS", text, format!("resptap check --interface {} --restore", facts.name))
}

fn vlan_tags(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "VLAN tags";
    let offloads = facts.offloads?;
    Some(if offloads.rx_vlan {
        let text = "the card takes them out of packets, so that AF_XDP does not see them (AF_PACKET does)";
        Finding::warn(TOPIC, text, format!("ethtool -K {} rxvlan off", facts.name))
    } else {
        Finding::ok(TOPIC, "left in packets")
    })
}

fn joined(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "joining";
    let offloads = facts.offloads?;
    let (who, what) = match (offloads.lro, offloads.gro) {
        (true, true) => ("the card (LRO) and the kernel (GRO) join", "lro off gro off"),
        (true, false) => ("the card joins (LRO)", "lro off"),
        (false, true) => ("the kernel joins (GRO)", "gro off"),
        (false, false) => return Some(Finding::ok(TOPIC, "packets come as they were sent")),
    };
    let text = format!("{who} packets before AF_PACKET sees them: the times of all but the first are lost");
    Some(Finding::warn(TOPIC, text, format!("ethtool -K {} {what}", facts.name)))
}

fn ring(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "ring";
    let ring = facts.rings.filter(|ring| ring.most > 0)?;
    let wanted = ring.most.min(RING_PACKETS);
    Some(if ring.now < wanted {
        let text = format!(
            "each queue of the card has room for {} packets, of up to {}: in bursts it may drop some",
            ring.now, ring.most
        );
        Finding::warn(TOPIC, text, format!("ethtool -G {} rx {wanted}", facts.name))
    } else {
        Finding::ok(TOPIC, format!("each queue of the card has room for {} packets", ring.now))
    })
}

/// Whether as many cores take the card's interrupts as there are queues.
fn interrupts(facts: &Facts, host: &Host) -> Option<Finding> {
    const TOPIC: &str = "interrupts";
    let mut cores: Vec<usize> = facts.interrupts.iter().flat_map(|(_, cores)| cores).copied().collect();
    cores.sort_unstable();
    cores.dedup();
    let wanted = facts.queues.min(host.cores.len());
    if cores.is_empty() {
        return None;
    }
    if cores.len() >= wanted {
        return Some(Finding::ok(TOPIC, format!("spread over {} of {} cores", cores.len(), host.cores.len())));
    }
    let numbers = facts.interrupts.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(" ");
    let text = format!("those of {} queues all go to {} of {} cores", facts.queues, cores.len(), host.cores.len());
    let cores = host.cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mend = format!(
        "set -- {cores}; for irq in {numbers}; do echo $1 > /proc/irq/$irq/smp_affinity_list; set -- \"$@\" $1; shift; done"
    );
    Some(Finding::warn(TOPIC, text, mend))
}

/// Whether the card is near the cores that may work.
fn node(facts: &Facts, host: &Host) -> Option<Finding> {
    const TOPIC: &str = "NUMA";
    let number = facts.node.filter(|_| host.nodes.len() > 1)?;
    let near = host.nodes.get(number)?;
    let list = near.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Some(if host.cores.iter().any(|core| near.contains(core)) {
        Finding::ok(TOPIC, format!("the card is at node {number}, whose cores are {list}"))
    } else {
        let text = format!("the card is at node {number}, and none of its cores may be used: each packet crosses over");
        Finding::warn(TOPIC, text, format!("taskset -c {list} resptap capture --interface {}", facts.name))
    })
}

fn mtu(facts: &Facts) -> Finding {
    const TOPIC: &str = "MTU";
    let (name, mtu) = (&facts.name, facts.mtu);
    if facts.in_use.is_none() && mtu > PIECE_MTU && facts.xdp.is_some_and(|xdp| xdp.driver && !xdp.several_pieces) {
        let text = format!("{mtu}, and the driver's AF_XDP takes packets of up to {PIECE_MTU} bytes only");
        return Finding::warn(TOPIC, text, format!("ip link set {name} mtu {PIECE_MTU}"));
    }
    let text = if facts.in_use.is_none() && mtu < 9000 {
        format!(
            "{mtu}; where the mirrored network has longer packets (jumbo frames, tunnels): ip link set {name} mtu 9000"
        )
    } else {
        mtu.to_string()
    };
    Finding::ok(TOPIC, text)
}
