//! Why an interface can't be captured by AF_XDP: what was tried, and what to do.

use std::io;

use crate::capture::Way;
use crate::limits::XDP_QUEUES_MAX;

use super::queue::Shape;

/// See the messages.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum XdpError {
    #[error(
        "capturing on {name} by AF_XDP ({way}) is not permitted ({what}: {source}): it needs the capabilities CAP_NET_ADMIN, \
         CAP_NET_RAW, CAP_BPF and CAP_PERFMON. Run resptap as root, or give the program the capabilities: setcap \
         cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep {program}"
    )]
    NotPermitted { name: String, way: Way, what: &'static str, program: String, source: io::Error },
    #[error(
        "{name} is no Ethernet interface (link type {hardware} of linux/if_arp.h), and AF_XDP is for Ethernet; take --mode af-packet"
    )]
    LinkType { name: String, hardware: u16 },
    #[error(
        "{name} has {queues} receive queues, and AF_XDP captures at most {XDP_QUEUES_MAX}; lower their number: ethtool -L {name} \
         combined {XDP_QUEUES_MAX}"
    )]
    TooManyQueues { name: String, queues: usize },
    #[error(
        "queue {queue} of {name} is taken: an AF_XDP socket of another resptap or another program is bound to it{holders}; end that first, or take --mode af-packet, which takes nothing away"
    )]
    QueueTaken { name: String, queue: u32, holders: String },
    #[error(
        "another XDP program is attached to {name}{holders}; end who attached it, or take it off (ip link show {name} tells which it is, \
         ip link set {name} xdp off takes off what has no process), or take --mode af-packet"
    )]
    ProgramAttached { name: String, holders: String },
    #[error(
        "the driver of {name} can't hand over frames without copying them (zero-copy); take --mode copy, which copies each frame once"
    )]
    NoZeroCopy { name: String },
    #[error(
        "{name}: the kernel says that queue {queue} copies frames, though it was bound without copying; take --mode copy"
    )]
    NotZeroCopy { name: String, queue: u32 },
    #[error("the driver of {name} runs no XDP programs ({source}); take --mode generic, which works with every driver")]
    NoDriverMode { name: String, source: io::Error },
    #[error(
        "{name} has no queue {queue} for AF_XDP, or its ring would be too large ({source}); its queues are shown by: ethtool -l {name}"
    )]
    NoQueue { name: String, queue: u32, source: io::Error },
    #[error(
        "the driver of {name} runs XDP programs only where it has as many receive queues as the other end of the cable has transmit \
         queues (veth): ethtool -L {name} rx N raises their number, or take --mode generic"
    )]
    TooFewQueues { name: String },
    #[error(
        "the MTU of {name} is too large for XDP in its driver; lower it (ip link set {name} mtu 1500), or take --mode generic"
    )]
    Mtu { name: String },
    #[error(
        "the memory of queue {queue} of {name}, {} MiB, may not be locked: raise the limit (ulimit -l unlimited, or \
         LimitMEMLOCK=infinity in a systemd unit), or give the program CAP_IPC_LOCK", shape.memory_bytes() >> 20
    )]
    LockedMemory { name: String, queue: u32, shape: Shape },
    #[error(
        "there is no memory for queue {queue} of {name}, which takes {} MiB for each of {} queues ({source}); lower their \
         number (ethtool -L {name} combined N), or free memory", shape.memory_bytes() >> 20, shape.queues
    )]
    Memory { name: String, queue: u32, shape: Shape, source: io::Error },
    #[error(
        "{what} on {name} failed: {source}; AF_XDP in this way needs Linux 5.18 or newer: take --mode af-packet on older ones"
    )]
    Setup { name: String, what: &'static str, source: io::Error },
}
