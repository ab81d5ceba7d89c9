//! A receive queue's sockets with their memory (UMEM) and rings, over xsk-rs.
//!
//! The sockets of a queue share its memory, one socket a worker. A frame is at any time in one of these: the fill ring, where the
//! kernel takes it from; the kernel; an RX ring; or with whoever took it by [`Queue::take`], until it is in the fill ring again,
//! which [`Queue::give_back`] sees to. There are more frames than all RX rings hold, so that a worker who falls behind leaves the
//! others some, and the fill ring has places for twice as many: the kernel may hand over frames before it says that it has taken
//! them out of there.
//!
//! The one fill ring has a lock, which is tried, not waited for: who finds it taken keeps what he gives back until the next time,
//! and waits only if that has become much.

use std::error::Error;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::sleep;
use std::time::Duration;

use arrayvec::ArrayVec;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::umem::Umem;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue};

use crate::limits::{
    RX_RING_FRAMES_MAX, RX_RING_FRAMES_MIN, RX_RING_FRAMES_SHARED_MIN, UMEM_FRAME_BYTES, UMEMS_BYTES_MAX,
    XDP_BATCH_FRAMES,
};
use crate::prefetch::prefetch;

use super::program::{STAMP_BYTES, Stamp};

/// How long a queue that is taken is asked for again: one that has just been left is free some milliseconds later.
const RETRY_TIMES: u32 = 20;
const RETRY_WAIT: Duration = Duration::from_millis(5);
const HUGE_PAGE_BYTES: usize = 2 << 20;
const _: () = assert!(2 * RX_RING_FRAMES_MIN * UMEM_FRAME_BYTES >= HUGE_PAGE_BYTES, "whole huge pages");

/// What could not be done.
#[derive(Debug)]
pub(super) enum Failed {
    /// The memory could not be had.
    Umem(io::Error),
    /// The socket could not be bound to the queue.
    Bind(io::Error),
}

/// Frames that may wait for the fill ring.
const OWED_FRAMES_MAX: usize = 8 * XDP_BATCH_FRAMES;

/// A worker's socket on a queue.
#[derive(Debug)]
pub(super) struct Queue {
    rx: RxQueue,
    /// Frames that its RX ring holds.
    room: usize,
    /// Frames that are to be given back.
    owed: ArrayVec<FrameDesc, OWED_FRAMES_MAX>,
    _tx: TxQueue,
    shared: Arc<Shared>,
}

/// What the sockets of a queue share.
#[derive(Debug)]
struct Shared {
    fill: Mutex<FillQueue>,
    /// Not used; it has to be there, and threads may share it like this only.
    _completion: Mutex<CompQueue>,
    // Behind those that use it.
    memory: Memory,
    joins: bool,
}

/// The memory of a queue.
#[derive(Debug)]
struct Memory {
    umem: Umem,
    bytes: usize,
    has_huge_pages: bool,
}

/// What the kernel counted of a queue's frames, since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Statistics {
    /// Frames longer than fits, and those for which no memory was free.
    pub(super) dropped: u64,
    /// Those for which the RX ring had no room.
    pub(super) ring_full: u64,
    /// How often no memory was free: part of `dropped`, except for zero-copy drivers, which then leave frames to the NIC.
    pub(super) fill_empty: u64,
}

/// How many share what memory there may be.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Queues of the interface.
    pub queues: usize,
    /// Workers, each with a socket on each queue.
    pub workers: usize,
}

impl Shape {
    /// Frames of the RX ring of each socket: a power of two.
    fn ring_frames(self) -> usize {
        let fair = UMEMS_BYTES_MAX / self.queues.max(1) / UMEM_FRAME_BYTES / (self.workers + 1);
        let power = (fair + 1).next_power_of_two() / 2;
        let least = if self.workers == 1 { RX_RING_FRAMES_MIN } else { RX_RING_FRAMES_SHARED_MIN };
        power.clamp(least, RX_RING_FRAMES_MAX)
    }

    /// Frames of the memory of each queue.
    fn memory_frames(self) -> usize {
        (self.workers + 1) * self.ring_frames()
    }

    /// Bytes of the memory of each queue.
    pub(super) fn memory_bytes(self) -> usize {
        self.memory_frames() * UMEM_FRAME_BYTES
    }
}

/// Binds a socket for each worker to a queue of an interface; frames come when their descriptors are in the program's map.
pub(super) fn open(name: &str, queue: u32, shape: Shape, zero_copy: bool) -> Result<Vec<Queue>, Failed> {
    let (memory, frames) = Memory::new(shape.memory_frames()).map_err(Failed::Umem)?;
    let room = shape.ring_frames();
    let interface: Interface = name.parse().map_err(|_| Failed::Bind(io::Error::from_raw_os_error(libc::ENODEV)))?;
    let how = if zero_copy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY } | BindFlags::XDP_USE_NEED_WAKEUP;
    let bind = |joins: bool| {
        let flags = if joins { how | BindFlags::XDP_USE_SG } else { how };
        let mut config = SocketConfig::builder();
        config.rx_queue_size(size(room)).tx_queue_size(size(1)).bind_flags(flags);
        config.libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD);
        // SAFETY: the other sockets of this memory are on the same queue, and libxdp loads no program.
        unsafe { Socket::new(config.build(), &memory.umem, &interface, queue) }.map_err(|error| os_error(&error))
    };
    let (mut joins, mut attempts) = (true, 0);
    let (tx, rx, rings) = loop {
        let error = match bind(joins) {
            Ok(opened) => break opened,
            Err(error) => error,
        };
        match error.raw_os_error() {
            // An older kernel, or a driver, that can't hand over a frame in several pieces.
            Some(libc::EINVAL | libc::EOPNOTSUPP) if joins => joins = false,
            Some(libc::EBUSY) if attempts < RETRY_TIMES => {
                attempts += 1;
                sleep(RETRY_WAIT);
            }
            _ => return Err(Failed::Bind(error)),
        }
    };
    let (fill, completion) =
        rings.ok_or_else(|| Failed::Bind(io::Error::other("the queue came without its fill ring")))?;
    let mut sockets = vec![(tx, rx)];
    for _ in 1..shape.workers {
        let (tx, rx, _) = bind(joins).map_err(Failed::Bind)?;
        sockets.push((tx, rx));
    }
    let shared = Arc::new(Shared { fill: Mutex::new(fill), _completion: Mutex::new(completion), memory, joins });
    let opened: Vec<Queue> =
        sockets.into_iter().map(|(tx, rx)| Queue::new(tx, rx, room, Arc::clone(&shared))).collect();
    opened.iter().take(1).for_each(|first| first.fill(first.lock(), &frames));
    Ok(opened)
}

impl Queue {
    fn new(tx: TxQueue, rx: RxQueue, room: usize, shared: Arc<Shared>) -> Queue {
        let opened = Queue { rx, room, owed: ArrayVec::new(), _tx: tx, shared };
        // SAFETY: no memory is passed; the descriptor is open.
        unsafe { libc::fcntl(opened.fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        opened
    }

    /// The socket.
    pub(super) fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// Whether its memory is of huge pages.
    pub(super) fn has_huge_pages(&self) -> bool {
        self.shared.memory.has_huge_pages
    }

    /// Whether frames longer than one piece of memory come in several.
    pub(super) fn joins(&self) -> bool {
        self.shared.joins
    }

    /// Whether the kernel says that frames are not copied.
    pub(super) fn is_zero_copy(&self) -> io::Result<bool> {
        let mut options = libc::xdp_options { flags: 0 };
        let mut length = size_of::<libc::xdp_options>() as libc::socklen_t;
        // SAFETY: the kernel writes at most that many bytes over numbers.
        let done = unsafe {
            let options = (&raw mut options).cast();
            libc::getsockopt(self.fd(), libc::SOL_XDP, libc::XDP_OPTIONS, options, &raw mut length)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0) }
    }

    /// Asks the kernel what it counted.
    pub(super) fn statistics(&self) -> Option<Statistics> {
        let counted = self.rx.fd().xdp_statistics().ok()?;
        Some(Statistics {
            dropped: counted.rx_dropped(),
            ring_full: counted.rx_ring_full(),
            fill_empty: counted.rx_fill_ring_empty_descs(),
        })
    }

    /// What has become of the interface: an error if it is down or gone. Also wakes a driver that waits for that.
    pub(super) fn state(&self) -> io::Result<()> {
        // SAFETY: nothing is received into no memory.
        let done = unsafe {
            libc::recvfrom(
                self.fd(),
                std::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Frames in the RX ring.
    pub(super) fn waiting(&mut self) -> usize {
        self.rx.nb_avail_exact() as usize
    }

    /// Frames that it holds.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Has the beginning of a frame, and its stamp, in the cache soon.
    #[inline]
    pub(super) fn prefetch(&self, frame: &FrameDesc) {
        // SAFETY: a frame has bytes, which lie in the memory, and is only hinted at.
        let bytes = unsafe { self.bytes(frame) };
        if let Some(first) = bytes.first_chunk::<64>() {
            prefetch(first);
        }
    }

    /// Takes frames out of the RX ring, as many as there are and fit; answers how many.
    pub(super) fn take(&mut self, frames: &mut [FrameDesc]) -> usize {
        // SAFETY: what is overwritten describes frames that were given back, or none.
        unsafe { self.rx.consume(frames) }
    }

    /// Gives frames back that were taken, as many as are taken at once; none of them may be used any more. Each only once.
    pub(super) fn give_back(&mut self, frames: &[FrameDesc]) {
        self.owed.extend(frames.iter().copied());
        if self.owed.is_empty() {
            return;
        }
        let is_much = self.owed.remaining_capacity() < XDP_BATCH_FRAMES;
        let fill = match self.shared.fill.try_lock() {
            Err(TryLockError::WouldBlock) if !is_much => return,
            Err(TryLockError::WouldBlock) => self.lock(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(fill) => fill,
        };
        self.fill(fill, &self.owed);
        self.owed.clear();
    }

    fn lock(&self) -> MutexGuard<'_, FillQueue> {
        self.shared.fill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands frames to the kernel.
    fn fill(&self, mut fill: MutexGuard<'_, FillQueue>, frames: &[FrameDesc]) {
        // SAFETY: the frames are of this memory, and nobody uses them, as the callers see to.
        let given = unsafe { fill.produce(frames) };
        debug_assert_eq!(given, frames.len(), "the fill ring has places for all frames twice");
        let needs_wakeup = fill.needs_wakeup();
        drop(fill);
        if needs_wakeup {
            // What is wrong with the interface is looked for when nothing comes.
            let _ = self.state();
        }
    }

    /// The bytes of a frame, or of a piece of one, that was taken.
    ///
    /// # Safety
    /// They must not be used any more when the frame is given back, nor when this is gone.
    pub(super) unsafe fn bytes<'q>(&self, frame: &FrameDesc) -> &'q [u8] {
        let (at, length) = (frame.addr(), frame.lengths().data());
        debug_assert!(at + length <= self.shared.memory.bytes, "a frame lies in the memory");
        // SAFETY: the kernel has written the frame there, and it is ours until it is given back.
        unsafe { std::slice::from_raw_parts(self.start().add(at), length) }
    }

    /// When a frame that was taken was received, by the clock of the XDP program: its stamp, which is taken off the frame, so
    /// that it can't be found before the next one.
    #[expect(clippy::cast_ptr_alignment, reason = "it is read and written unaligned")]
    pub(super) fn take_stamp(&mut self, frame: &FrameDesc) -> Option<u64> {
        let at = frame.addr().checked_sub(STAMP_BYTES)?;
        let stamp = self.start().wrapping_add(at).cast::<Stamp>();
        // SAFETY: before a frame its piece of memory has room, which is ours as the frame is.
        let found = unsafe { stamp.read_unaligned() };
        // SAFETY: as above.
        unsafe { stamp.write_unaligned(Stamp::default()) };
        found.at_ns()
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: the description is of no bytes at the memory's beginning.
        unsafe { self.shared.memory.umem.data(&FrameDesc::default()) }.contents().as_ptr().cast_mut()
    }
}

impl Memory {
    /// Memory for so many frames, of huge pages if there are enough.
    fn new(frames: usize) -> io::Result<(Memory, Vec<FrameDesc>)> {
        let mut config = UmemConfig::builder();
        let frame_bytes = (UMEM_FRAME_BYTES as u32).try_into().map_err(io::Error::other)?;
        config.frame_size(frame_bytes).fill_queue_size(size((2 * frames).next_power_of_two())).comp_queue_size(size(1));
        let config = config.build().map_err(io::Error::other)?;
        let count = NonZeroU32::new(frames as u32).ok_or(io::ErrorKind::InvalidInput)?;
        let bytes = frames * UMEM_FRAME_BYTES;
        if let Ok((umem, frames)) = Umem::new(config, count, true) {
            return Ok((Memory { umem, bytes, has_huge_pages: true }, frames));
        }
        let (umem, frames) = Umem::new(config, count, false).map_err(|error| os_error(&error))?;
        Ok((Memory { umem, bytes, has_huge_pages: false }, frames))
    }
}

/// A ring's size; a power of two.
fn size(frames: usize) -> QueueSize {
    QueueSize::new(frames as u32).unwrap_or_else(|_| unreachable!("{frames} is a power of two"))
}

/// The system's error behind one of xsk-rs.
fn os_error(error: &(dyn Error + 'static)) -> io::Error {
    let behind = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match behind.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_share_a_bounded_memory() {
        let shape = |queues: usize, workers: usize| Shape { queues, workers };
        assert_eq!(shape(1, 1).ring_frames(), RX_RING_FRAMES_MAX);
        assert_eq!(shape(1, 1).memory_frames(), 2 * RX_RING_FRAMES_MAX);
        for queues in [1, 2, 3, 4, 7, 8, 16] {
            for workers in [1, 2, 3, 4, 7, 8, 12] {
                let shape = shape(queues, workers);
                assert!(shape.ring_frames().is_power_of_two());
                assert!(queues * shape.memory_bytes() <= UMEMS_BYTES_MAX, "{shape:?}");
            }
        }
        assert_eq!(shape(10_000, 1).ring_frames(), RX_RING_FRAMES_MIN);
        assert_eq!(shape(10_000, 256).ring_frames(), RX_RING_FRAMES_SHARED_MIN);
    }
}
