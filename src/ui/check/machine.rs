//! What of the machine matters for any capture.

use crate::capture::nic::host::Host;
use crate::limits::{RX_RING_FRAMES_MAX, UMEM_FRAME_BYTES, UMEMS_BYTES_MAX};
use crate::ui::format::bytes;

use super::{Finding, Privileges};

/// Memory for packets that `AF_XDP` takes for a queue, and for all of them at most, in bytes.
const QUEUE_BYTES: u64 = (2 * RX_RING_FRAMES_MAX * UMEM_FRAME_BYTES) as u64;
const QUEUES_BYTES_MAX: u64 = UMEMS_BYTES_MAX as u64;

/// Judges it for a capture of so many queues by `AF_XDP`, beside any by `AF_PACKET`.
pub(super) fn judge(host: &Host, privileges: &Privileges, queues: usize) -> Vec<Finding> {
    let mut findings = vec![permitted(privileges)];
    let needed = (queues as u64 * QUEUE_BYTES).min(QUEUES_BYTES_MAX);
    if needed > 0 {
        findings.push(locked_memory(host, privileges, needed));
        findings.extend(huge_pages(host, needed));
    }
    findings.push(isolation(host));
    findings
}

fn permitted(privileges: &Privileges) -> Finding {
    let Privileges { af_packet, af_xdp, setcap, .. } = privileges;
    if !af_packet.is_empty() {
        let text = format!(
            "this user may not capture: {} is missing, without which no packet is seen, and for AF_XDP, the faster way, {}",
            af_packet.join(", "),
            af_xdp.join(", ")
        );
        Finding::fail("privileges", text, setcap)
    } else if !af_xdp.is_empty() {
        let text = format!(
            "AF_PACKET is permitted, AF_XDP, the faster way, is not: {} is missing, so AF_PACKET is taken",
            af_xdp.join(", ")
        );
        Finding::warn("privileges", text, setcap)
    } else {
        Finding::ok("privileges", "AF_XDP and AF_PACKET are permitted")
    }
}

fn locked_memory(host: &Host, privileges: &Privileges, needed: u64) -> Finding {
    const TOPIC: &str = "memory lock";
    match host.locked_memory {
        Some(limit) if limit < needed && !privileges.locking.is_empty() => Finding::warn(
            TOPIC,
            format!(
                "AF_XDP locks up to {} of memory for packets, and this user may lock {}; in a systemd unit the limit is \
                 LimitMEMLOCK=infinity",
                bytes(needed),
                bytes(limit)
            ),
            "ulimit -l unlimited",
        ),
        _ => Finding::ok(TOPIC, format!("{} for packets may be locked", bytes(needed))),
    }
}

fn huge_pages(host: &Host, needed: u64) -> Option<Finding> {
    const TOPIC: &str = "huge pages";
    let (free, page) = host.huge_pages.filter(|(_, page)| *page > 0)?;
    let wanted = needed.div_ceil(page);
    if free >= wanted {
        return Some(Finding::ok(TOPIC, format!("{free} of {} are free, {wanted} are of use", bytes(page))));
    }
    let text = format!(
        "{free} of {} are free; with {wanted} the memory for packets costs less to reach, and without it lies in small ones",
        bytes(page)
    );
    Some(Finding::warn(TOPIC, text, format!("sysctl -w vm.nr_hugepages={wanted}")))
}

fn isolation(host: &Host) -> Finding {
    const TOPIC: &str = "cores";
    let isolated: Vec<usize> = host.isolated.iter().copied().filter(|core| host.cores.contains(core)).collect();
    match (&host.cores[..], &isolated[..]) {
        ([] | [_], _) => Finding::ok(TOPIC, "one, which does everything"),
        (all, []) => {
            let last = all[all.len() - 1];
            let workers = if all[1] == last { last.to_string() } else { format!("{}-{last}", all[1]) };
            let text = format!(
                "{}, shared with all other programs: while one of these has a worker's core, packets wait. Cores can be kept free \
                 by the kernel's command line, to which this adds, from the next start on",
                all.len()
            );
            let mend = format!(
                "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX isolcpus={workers}\"' >> /etc/default/grub && update-grub"
            );
            Finding::warn(TOPIC, text, mend)
        }
        (_, isolated) => {
            let list = isolated.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            Finding::ok(
                TOPIC,
                format!("{list} are kept free of other programs; give them to the workers: --cpus {list}"),
            )
        }
    }
}
