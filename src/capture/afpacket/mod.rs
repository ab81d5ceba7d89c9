//! Live frames by `AF_PACKET` with a `TPACKET_V3` ring (packet(7)): works on every Linux interface, and takes nothing away
//! from the host.
//!
//! The kernel copies whole frames into the ring, each with its time, and hands over blocks of them: when a block is full, or
//! after [`BLOCK_TIMEOUT_MS`]. Where the ring is full it drops frames, and counts them. Several sockets may share the frames of
//! an interface (`PACKET_FANOUT_HASH`): both directions of a connection then come to one socket, whatever is around them,
//! except for tunnels in UDP (VXLAN, Geneve), whose outer ports differ between the directions: the steering mesh is for these.

#![allow(unsafe_code)]

mod ring;
pub(super) mod socket;

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use memmap2::MmapOptions;

use super::{Condition, Frame, LinkType};
use crate::limits::{BLOCK_TIMEOUT_MS, RING_BLOCK_BYTES, RING_BLOCKS_MAX, RING_BLOCKS_MIN, RINGS_BYTES_MAX};
use crate::units::Timestamp;

use ring::{RESERVED_BYTES, Ring};
use socket::Socket;

/// A tun device: bare IP packets. The kernel's number for cellular modems with the same is not in the libc crate.
const ARPHRD_RAWIP: u16 = 519;

/// Why an interface can't be captured.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// See the message.
    #[error("there is no interface {name} to capture on; there are: {}", there.join(", "))]
    NoSuchInterface {
        /// As it was asked for.
        name: String,
        /// The interfaces of this network namespace.
        there: Vec<String>,
    },
    /// See the message.
    #[error(
        "capturing on {name} is not permitted: it needs the capability CAP_NET_RAW. Run resptap as root, or give the program the \
         capability: setcap cap_net_raw+ep {program}"
    )]
    NotPermitted {
        /// The interface.
        name: String,
        /// This program's file.
        program: String,
    },
    /// See the message.
    #[error(
        "{name} is an interface whose frames are not read (link type {hardware} of linux/if_arp.h); Ethernet, loopback and tun \
         interfaces are"
    )]
    LinkType {
        /// The interface.
        name: String,
        /// Its `ARPHRD_…`.
        hardware: u16,
    },
    /// See the message.
    #[error(
        "there is no memory for the ring of {name}, which takes {} MiB for each of {sockets} sockets ({source}); lower --workers, \
         or free memory", bytes >> 20
    )]
    Memory {
        /// The interface.
        name: String,
        /// Of one ring.
        bytes: usize,
        /// How many there should be.
        sockets: usize,
        /// Why.
        source: io::Error,
    },
    /// See the message.
    #[error("{what} on {name} failed: {source}; a Linux kernel of version 4.12 or newer with CONFIG_PACKET is needed")]
    Setup {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What the kernel counted of a socket's frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drops {
    /// Frames for which the ring had no room.
    pub frames: u64,
    /// How often it had become full.
    pub freezes: u64,
}

/// A socket on an interface, with its ring.
#[derive(Debug)]
pub struct AfPacket {
    name: String,
    number: i32,
    link: LinkType,
    socket: Socket,
    ring: Ring,
    is_gone: bool,
    packets: u64,
    /// Frames that the kernel has put into the ring, when it was last asked.
    arrived: u64,
    drops: Drops,
}

impl AfPacket {
    /// Opens `sockets` on an interface, which has this number, that share its frames, connection by connection. `rings`: how many
    /// there are altogether, on all interfaces.
    pub fn open(name: &str, number: i32, sockets: usize, rings: usize) -> Result<Vec<AfPacket>, LiveError> {
        let mut group = Vec::new();
        for _ in 0..sockets {
            group.push(AfPacket::set_up(name, number, sockets, blocks(rings))?);
        }
        if let [alone] = &group[..] {
            alone.start()?;
        } else {
            share(&group)?;
        }
        Ok(group)
    }

    /// A socket with its ring, into which nothing comes yet.
    fn set_up(name: &str, number: i32, sockets: usize, blocks: usize) -> Result<AfPacket, LiveError> {
        let failed = |what| move |source| LiveError::Setup { name: name.to_owned(), what, source };
        let socket = Socket::new().map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                LiveError::NotPermitted { name: name.to_owned(), program: this_program() }
            }
            _ => failed("opening a packet socket")(source),
        })?;
        // Bound to no protocol, it tells of the interface and receives nothing.
        socket.bind(number, 0).map_err(failed("binding a packet socket"))?;
        let hardware = socket.bound().map_err(failed("asking for the link type"))?.hardware;
        let Some(link) = link_type(hardware) else {
            return Err(LiveError::LinkType { name: name.to_owned(), hardware });
        };
        let version = libc::tpacket_versions::TPACKET_V3 as i32;
        socket
            .set(libc::SOL_PACKET, libc::PACKET_VERSION, &version)
            .and_then(|()| socket.set(libc::SOL_PACKET, libc::PACKET_RESERVE, &RESERVED_BYTES))
            .map_err(failed("preparing a ring"))?;
        let bytes = blocks * RING_BLOCK_BYTES;
        let memory = socket
            .set(libc::SOL_PACKET, libc::PACKET_RX_RING, &request(blocks))
            .and_then(|()| MmapOptions::new().len(bytes).map_raw(socket.as_raw_fd()))
            .map_err(|source| match source.raw_os_error() {
                Some(libc::ENOMEM | libc::EAGAIN) => {
                    LiveError::Memory { name: name.to_owned(), bytes, sockets, source }
                }
                _ => failed("making a ring")(source),
            })?;
        if hardware == libc::ARPHRD_ETHER {
            socket.hold_promiscuous(number).map_err(failed("setting promiscuous mode"))?;
        }
        Ok(AfPacket {
            name: name.to_owned(),
            number,
            link,
            socket,
            ring: Ring::new(memory, link, hardware == libc::ARPHRD_LOOPBACK),
            is_gone: false,
            packets: 0,
            arrived: 0,
            drops: Drops::default(),
        })
    }

    /// From now on frames of every protocol come.
    fn start(&self) -> Result<(), LiveError> {
        let bound = self.socket.bind(self.number, libc::ETH_P_ALL as u16);
        bound.map_err(|source| self.failed("binding a packet socket", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> LiveError {
        LiveError::Setup { name: self.name.clone(), what, source }
    }

    /// The interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket's descriptor, to wait for.
    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// How its frames begin.
    pub fn link(&self) -> LinkType {
        self.link
    }

    /// Frames handed out.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Asks the kernel what it dropped since the beginning.
    pub fn drops(&mut self) -> Drops {
        // SAFETY: numbers may be zeroes.
        let mut counted: libc::tpacket_stats_v3 = unsafe { std::mem::zeroed() };
        // Being asked sets the kernel's numbers back. It answers whatever has become of the interface.
        if self.socket.get(libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut counted).is_ok() {
            // The kernel counts those that it drops among all.
            self.arrived += u64::from(counted.tp_packets.saturating_sub(counted.tp_drops));
            self.drops.frames += u64::from(counted.tp_drops);
            self.drops.freezes += u64::from(counted.tp_freeze_q_cnt);
        }
        self.drops
    }

    /// Asks the kernel how many frames it has put into the ring, those among them that it does not show yet.
    pub(super) fn arrived(&mut self) -> u64 {
        self.drops();
        self.arrived
    }

    /// Frames that were taken out of the ring.
    pub(super) fn taken(&self) -> u64 {
        self.ring.taken()
    }

    /// How full the ring is.
    pub(super) fn filled(&self) -> f64 {
        self.ring.filled()
    }

    /// How often it has been read to its end.
    pub(super) fn turned(&self) -> f64 {
        self.ring.turned()
    }

    /// Whether the interface is there no more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// What has become of the interface since this was asked the last time, if anything has.
    pub fn news(&mut self) -> Option<Condition> {
        if self.is_gone {
            return None;
        }
        let went_down = self.socket.take_error().is_some();
        self.is_gone = self.socket.bound().is_ok_and(|bound| bound.interface != self.number);
        match (self.is_gone, went_down) {
            (true, _) => Some(Condition::Gone),
            (false, true) => Some(Condition::WentDown),
            (false, false) => None,
        }
    }

    /// The time of the next frame, if there is one. Frames that were handed out may be gone then.
    pub(super) fn advance(&mut self) -> Option<Timestamp> {
        self.ring.advance()
    }

    /// The time of the next frame of the same block.
    pub(super) fn next_in_block(&mut self) -> Option<Timestamp> {
        self.ring.next_in_block()
    }

    /// The next frame of the same block.
    ///
    /// # Safety
    /// It must not be used any more when [`AfPacket::advance`] is called the next time, nor when this is gone.
    pub(super) unsafe fn next_frame<'r>(&mut self) -> Option<Frame<'r>> {
        // SAFETY: as the caller promises.
        let frame = unsafe { self.ring.next_frame() };
        self.packets += u64::from(frame.is_some());
        frame
    }
}

/// Has sockets share their interface's frames, from the first frame on.
fn share(group: &[AfPacket]) -> Result<(), LiveError> {
    // Until all have joined nobody gets frames: a connection would change its socket with each that joins.
    let nothing = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
    let filter = libc::sock_fprog { len: 1, filter: (&raw const nothing).cast_mut() };
    let kind = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_DEFRAG;
    // The kernel chooses the number of the group, so that it is nobody else's, and the others join that.
    let mut number = 0;
    for (place, socket) in group.iter().enumerate() {
        let failed = |source| socket.failed("sharing frames among workers", source);
        socket.socket.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter).map_err(failed)?;
        socket.start()?;
        let unique = if place == 0 { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
        let asked: u32 = number | (kind | unique) << 16;
        socket.socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &asked).map_err(failed)?;
        if place == 0 {
            socket.socket.get(libc::SOL_PACKET, libc::PACKET_FANOUT, &mut number).map_err(failed)?;
            number &= 0xffff;
        }
    }
    let unused: u32 = 0;
    for socket in group {
        let failed = |source| socket.failed("sharing frames among workers", source);
        socket.socket.set(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &unused).map_err(failed)?;
    }
    Ok(())
}

/// How frames of a link layer (`ARPHRD_…`) begin; `None`: in a way that is not read.
pub fn link_type(hardware: u16) -> Option<LinkType> {
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::Ethernet),
        libc::ARPHRD_NONE | ARPHRD_RAWIP => Some(LinkType::RawIp),
        _ => None,
    }
}

/// How many blocks each of so many rings has.
fn blocks(rings: usize) -> usize {
    (RINGS_BYTES_MAX / rings.max(1) / RING_BLOCK_BYTES).clamp(RING_BLOCKS_MIN, RING_BLOCKS_MAX)
}

fn request(blocks: usize) -> libc::tpacket_req3 {
    // Frames are as long as they are; the kernel only checks that these numbers fit one another.
    let frame_bytes = 2048;
    libc::tpacket_req3 {
        tp_block_size: RING_BLOCK_BYTES as u32,
        tp_block_nr: blocks as u32,
        tp_frame_size: frame_bytes,
        tp_frame_nr: (RING_BLOCK_BYTES * blocks) as u32 / frame_bytes,
        tp_retire_blk_tov: BLOCK_TIMEOUT_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    }
}

/// This program's file.
pub(super) fn this_program() -> String {
    std::env::current_exe().map_or_else(|_| "resptap".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
pub(super) mod testing {
    //! Interfaces without a kernel behind them.

    use std::net::UdpSocket;

    use super::*;
    pub(in crate::capture) use ring::testing::Written;

    impl AfPacket {
        /// With this many blocks, which the test fills.
        pub(in crate::capture) fn of_blocks(name: &str, blocks: usize) -> AfPacket {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            AfPacket {
                name: name.to_owned(),
                number: 1,
                link: LinkType::Ethernet,
                socket: std::os::fd::OwnedFd::from(socket).into(),
                ring: ring::testing::ring(blocks, LinkType::Ethernet, false),
                is_gone: false,
                packets: 0,
                arrived: 0,
                drops: Drops::default(),
            }
        }

        pub(in crate::capture) fn fill(&self, block: usize, frames: &[Written<'_>]) {
            self.ring.fill(block, frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_share_a_bounded_memory() {
        assert_eq!(blocks(1), RING_BLOCKS_MAX);
        for rings in [1, 3, 8, 16] {
            assert!(rings * blocks(rings) * RING_BLOCK_BYTES <= RINGS_BYTES_MAX, "{rings}");
        }
        assert_eq!(blocks(256), RING_BLOCKS_MIN);
        let asked = request(RING_BLOCKS_MAX);
        assert_eq!(
            asked.tp_block_size as usize * RING_BLOCKS_MAX,
            asked.tp_frame_size as usize * asked.tp_frame_nr as usize
        );
    }
}
