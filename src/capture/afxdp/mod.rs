//! Live frames by `AF_XDP` (the kernel's `af_xdp.rst`): an XDP program on the interface keeps what is of interest and hands it to
//! a socket that shares memory with the kernel: no byte is copied where the driver can do without (zero-copy), else each is
//! once. Each receive queue has a socket for each worker, and the program chooses the one whose connection it is
//! ([`Spread`]).
//!
//! The frames that are kept are taken away from the host. Those that come in several pieces of memory are put together here, by
//! copying. Each is stamped by the program as the driver receives it; the stamp's clock is never set, and is taken for the wall
//! clock's by how far the two are apart.

#![allow(unsafe_code)]

mod error;
mod holders;
mod program;
mod queue;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use xsk_rs::FrameDesc;

use super::afpacket::socket::Socket;
use super::afpacket::this_program;
use super::interface::queues;
use super::spread::Spread;
use super::{Condition, Frame, LinkType, Others, Way};
use crate::clock;
use crate::limits::{JOINED_FRAME_BYTES_MAX, XDP_BATCH_FRAMES, XDP_QUEUES_MAX};
use crate::units::Timestamp;

pub use error::XdpError;
use holders::holders;
use program::{Hook, Program};
pub use program::{Verdict, Verdicts};
use queue::{Failed, Queue, Shape};

/// How far the wall clock and that of the stamps move apart before it is taken for a step of the wall clock, in nanoseconds:
/// below are the errors of reading both.
const STEP_NS: u64 = 10_000;

/// What an interface's queues have in common.
#[derive(Debug)]
struct Attached {
    name: String,
    program: Program,
    /// Has the interface receive what is for others, too, as long as it is open.
    _promiscuous: Socket,
}

/// A worker's socket on a receive queue of an interface.
#[derive(Debug)]
pub struct AfXdp {
    // Before the program, whose map has its socket.
    queue: Queue,
    attached: Arc<Attached>,
    number: u32,
    worker: u32,
    way: Way,
    /// Frames that were taken out of the ring: those up to `given` were given back, those up to `next` were handed out, those up
    /// to `count` were not.
    frames: [FrameDesc; XDP_BATCH_FRAMES],
    given: usize,
    next: usize,
    count: usize,
    /// The time of the next frame, once it has been looked at.
    head: Option<Timestamp>,
    joined: Joined,
    /// When the stamps' clock stood at zero.
    zero: Timestamp,
    /// The time of a frame without a stamp: that of the last look into the ring.
    looked: Timestamp,
    packets: u64,
    is_down: bool,
    is_gone: bool,
    /// What the kernel counted, when it was last asked.
    statistics: queue::Statistics,
}

/// A frame that comes in several pieces.
#[derive(Debug, Default)]
struct Joined {
    bytes: Vec<u8>,
    wire_len: usize,
    at: Timestamp,
    state: JoinedState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum JoinedState {
    #[default]
    Empty,
    /// Pieces are still to come.
    Begun,
    /// It is the next frame.
    Whole,
    /// It was handed out; its bytes are in use.
    HandedOut,
}

/// What was counted of a socket's frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// What the XDP program did with the queue's; only the first worker's socket tells.
    pub verdicts: Verdicts,
    /// Frames handed out.
    pub received: u64,
    /// Frames that did not fit into the memory, and those for which none was free.
    pub dropped: u64,
    /// Frames for which the ring had no room.
    pub ring_full: u64,
    /// How often no memory of the queue was free; only the first worker's socket tells.
    pub fill_empty: u64,
    /// Frames that were in the ring at the end.
    pub left: u64,
}

impl AfXdp {
    /// Opens all receive queues of an interface, which has this number, in one of AF_XDP's ways: of each a socket for each worker.
    /// Frames of TCP of these ports come from now on.
    pub fn open(
        name: &str,
        number: i32,
        way: Way,
        ports: &[u16],
        others: Others,
        spread: Spread,
    ) -> Result<Vec<AfXdp>, XdpError> {
        let failed = |what| move |source| setup_error(name, way, what, source);
        let promiscuous = Socket::new().map_err(failed("opening a packet socket"))?;
        promiscuous.bind(number, 0).map_err(failed("binding a packet socket"))?;
        let hardware = promiscuous.bound().map_err(failed("asking for the link type"))?.hardware;
        if !matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
            return Err(XdpError::LinkType { name: name.to_owned(), hardware });
        }
        let count = queues(name);
        if count > XDP_QUEUES_MAX {
            return Err(XdpError::TooManyQueues { name: name.to_owned(), queues: count });
        }
        let loaded = Program::load(number, count as u32, ports, others, spread);
        let mut program = loaded.map_err(failed("loading the XDP program"))?;
        let shape = Shape { queues: count, workers: spread.workers as usize };
        let mut opened = Vec::with_capacity(count * shape.workers);
        for queue in 0..count as u32 {
            let sockets = open_queue(name, number, queue, shape, way)?;
            for (socket, worker) in sockets.into_iter().zip(0..) {
                let set = program.set_socket(queue, worker, socket.fd());
                set.map_err(failed("giving the XDP program its sockets"))?;
                opened.push((socket, queue, worker));
            }
        }
        promiscuous.hold_promiscuous(number).map_err(failed("setting promiscuous mode"))?;
        // From here on frames come.
        let hook = if way == Way::Generic { Hook::Generic } else { Hook::Driver };
        program.attach(hook).map_err(|source| attach_error(name, number, way, source))?;
        let attached = Arc::new(Attached { name: name.to_owned(), program, _promiscuous: promiscuous });
        let sockets = opened.into_iter();
        Ok(sockets
            .map(|(queue, number, worker)| AfXdp::new(queue, number, worker, way, Arc::clone(&attached)))
            .collect())
    }

    fn new(queue: Queue, number: u32, worker: u32, way: Way, attached: Arc<Attached>) -> AfXdp {
        AfXdp {
            queue,
            attached,
            number,
            worker,
            way,
            frames: [FrameDesc::default(); XDP_BATCH_FRAMES],
            given: 0,
            next: 0,
            count: 0,
            head: None,
            joined: Joined { bytes: Vec::with_capacity(JOINED_FRAME_BYTES_MAX), ..Joined::default() },
            zero: clock::monotonic_zero(),
            looked: clock::now(),
            packets: 0,
            is_down: false,
            is_gone: false,
            statistics: queue::Statistics::default(),
        }
    }

    /// The interface.
    pub fn name(&self) -> &str {
        &self.attached.name
    }

    /// The queue.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How its frames come.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Whether its memory is of huge pages.
    pub fn has_huge_pages(&self) -> bool {
        self.queue.has_huge_pages()
    }

    /// Whether frames that do not fit into one piece of memory are put together; else they are dropped, and counted.
    pub fn joins(&self) -> bool {
        self.queue.joins()
    }

    /// How its frames begin.
    pub fn link(&self) -> LinkType {
        LinkType::Ethernet
    }

    /// The socket's descriptor, to wait for.
    pub(super) fn fd(&self) -> RawFd {
        self.queue.fd()
    }

    /// Frames handed out.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Asks the kernel what it dropped since the beginning, and looks at how the clocks stand.
    pub fn drops(&mut self) -> u64 {
        // An interface that is gone tells no more.
        if let Some(statistics) = self.queue.statistics() {
            self.statistics = statistics;
        }
        let zero = clock::monotonic_zero();
        if zero.0.abs_diff(self.zero.0) > STEP_NS {
            self.zero = zero;
        }
        self.statistics.dropped + self.statistics.ring_full
    }

    /// Takes the program off the interface, and what is left out of the ring: the account of this socket.
    pub fn close(&mut self) -> Account {
        self.attached.program.detach();
        self.drops();
        let mut left = u64::from(self.head.take().is_some());
        // Those that were looked at are counted; the others are one for each last piece.
        let is_last = |frame: &FrameDesc| u64::from(!frame.has_more_frames());
        let looked_at = usize::from(left > 0 && self.joined.state != JoinedState::Whole);
        left += self.frames[..self.count].iter().skip(self.next + looked_at).map(is_last).sum::<u64>();
        loop {
            let taken = self.queue.take(&mut self.frames);
            if taken == 0 {
                break;
            }
            left += self.frames[..taken].iter().map(is_last).sum::<u64>();
        }
        (self.given, self.next, self.count) = (0, 0, 0);
        let tells_of_queue = self.worker == 0;
        let verdicts = || self.attached.program.verdicts(self.number).unwrap_or_default();
        Account {
            verdicts: if tells_of_queue { verdicts() } else { Verdicts::default() },
            received: self.packets,
            dropped: self.statistics.dropped,
            ring_full: self.statistics.ring_full,
            fill_empty: if tells_of_queue { self.statistics.fill_empty } else { 0 },
            left,
        }
    }

    /// Whether the interface is there no more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// What has become of the interface since this was asked the last time, if anything has. Waiting for frames tells nothing of
    /// that.
    pub fn news(&mut self) -> Option<Condition> {
        if self.is_gone {
            return None;
        }
        let was_down = self.is_down;
        let state = self.queue.state().map_err(|error| error.raw_os_error());
        self.is_down = state == Err(Some(libc::ENETDOWN));
        self.is_gone = state == Err(Some(libc::ENXIO));
        match (self.is_gone, self.is_down && !was_down) {
            (true, _) => Some(Condition::Gone),
            (false, true) => Some(Condition::WentDown),
            (false, false) => None,
        }
    }

    /// Whether so many frames wait that the kernel may soon have no room.
    pub(super) fn is_pressed(&mut self) -> bool {
        self.queue.waiting() > self.queue.room() / 2
    }

    /// How full its ring is.
    pub(super) fn filled(&mut self) -> f64 {
        self.queue.waiting() as f64 / self.queue.room() as f64
    }

    /// How often as many frames have been handed out as the ring holds.
    pub(super) fn turned(&self) -> f64 {
        self.packets as f64 / self.queue.room() as f64
    }

    /// Frames of connections of the parts below this one come no more ([`Spread::part`]).
    pub(super) fn leave_out(&self, below: usize) {
        self.attached.program.leave_out(self.number, self.worker, below);
    }

    /// Frames that were left out of its queue since the beginning; only the first worker's socket tells.
    pub(super) fn shed(&self) -> u64 {
        if self.worker > 0 {
            return 0;
        }
        self.attached.program.count(self.number, Verdict::Shed).unwrap_or_default()
    }

    /// The time of the next frame, if there is one. Frames that were handed out may be gone then.
    pub(super) fn advance(&mut self) -> Option<Timestamp> {
        if let Some(at) = self.next_in_block() {
            return Some(at);
        }
        self.give_back();
        if self.joined.state == JoinedState::HandedOut {
            self.joined.bytes.clear();
            self.joined.state = JoinedState::Empty;
        }
        loop {
            if self.next == self.count {
                self.count = self.queue.take(&mut self.frames);
                (self.given, self.next) = (0, 0);
                if self.count == 0 {
                    return None;
                }
                self.looked = Timestamp::NONE;
                for frame in &self.frames[..self.count] {
                    self.queue.prefetch(frame);
                }
            }
            if let Some(at) = self.next_in_block() {
                return Some(at);
            }
            // Pieces of a frame of which others are still to come, which were copied.
            self.give_back();
        }
    }

    /// The time of the next frame of those that were taken together.
    pub(super) fn next_in_block(&mut self) -> Option<Timestamp> {
        if self.head.is_none() && self.joined.state != JoinedState::HandedOut {
            self.head = self.look();
        }
        self.head
    }

    /// Looks for the next frame among those that were taken, and when it was received.
    fn look(&mut self) -> Option<Timestamp> {
        while self.next < self.count {
            let frame = self.frames[self.next];
            let is_first = self.joined.state == JoinedState::Empty;
            let at = if is_first { self.time_of(&frame) } else { self.joined.at };
            if is_first && !frame.has_more_frames() {
                return Some(at);
            }
            if is_first {
                (self.joined.wire_len, self.joined.at, self.joined.state) = (0, at, JoinedState::Begun);
            }
            // SAFETY: the piece was taken, and is not given back before the next call.
            self.joined.push(unsafe { self.queue.bytes(&frame) });
            self.next += 1;
            if !frame.has_more_frames() {
                self.joined.state = JoinedState::Whole;
                return Some(at);
            }
        }
        None
    }

    /// When a frame was received.
    fn time_of(&mut self, frame: &FrameDesc) -> Timestamp {
        if let Some(stamp) = self.queue.take_stamp(frame) {
            return self.zero.after(stamp);
        }
        if !self.looked.is_known() {
            self.looked = clock::now();
        }
        self.looked
    }

    /// The next frame of those that were taken together.
    ///
    /// # Safety
    /// It must not be used any more when [`AfXdp::advance`] is called the next time, nor when this is gone.
    pub(super) unsafe fn next_frame<'r>(&mut self) -> Option<Frame<'r>> {
        let at = self.next_in_block()?;
        self.head = None;
        self.packets += 1;
        let link = LinkType::Ethernet;
        if self.joined.state == JoinedState::Whole {
            self.joined.state = JoinedState::HandedOut;
            let Joined { bytes, wire_len, .. } = &self.joined;
            // SAFETY: these bytes are neither moved nor changed until `advance`, as the caller promises.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
            return Some(Frame { bytes, wire_len: *wire_len as u32, at, link });
        }
        // SAFETY: the frame was taken, and is given back by `advance` at the earliest.
        let bytes = unsafe { self.queue.bytes(&self.frames[self.next]) };
        self.next += 1;
        Some(Frame { bytes, wire_len: bytes.len() as u32, at, link })
    }

    /// Gives back what was handed out, and pieces that were copied.
    fn give_back(&mut self) {
        self.queue.give_back(&self.frames[self.given..self.next]);
        self.given = self.next;
    }
}

impl Joined {
    /// Adds a piece; what is beyond the longest frame is left out, as if the capture had cut it off.
    fn push(&mut self, piece: &[u8]) {
        self.wire_len += piece.len();
        let room = JOINED_FRAME_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// Sockets for a queue, which are as they were asked for.
fn open_queue(name: &str, number: i32, queue: u32, shape: Shape, way: Way) -> Result<Vec<Queue>, XdpError> {
    let is_zero_copy = way == Way::ZeroCopy;
    let opened = queue::open(name, queue, shape, is_zero_copy);
    let opened = opened.map_err(|failed| match queue_error(name, queue, shape, way, failed) {
        XdpError::QueueTaken { name, queue, .. } => XdpError::QueueTaken { name, queue, holders: holders(number) },
        other => other,
    })?;
    for socket in &opened {
        let told = socket.is_zero_copy();
        let told = told.map_err(|source| setup_error(name, way, "asking for the way of a socket", source))?;
        if is_zero_copy && !told {
            return Err(XdpError::NotZeroCopy { name: name.to_owned(), queue });
        }
    }
    Ok(opened)
}

fn setup_error(name: &str, way: Way, what: &'static str, source: io::Error) -> XdpError {
    let name = name.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => XdpError::NotPermitted { name, way, what, program: this_program(), source },
        _ => XdpError::Setup { name, what, source },
    }
}

fn queue_error(name: &str, queue: u32, shape: Shape, way: Way, failed: Failed) -> XdpError {
    let owned = name.to_owned();
    match failed {
        Failed::Umem(source) => match source.raw_os_error() {
            Some(libc::ENOBUFS) => XdpError::LockedMemory { name: owned, queue, shape },
            Some(libc::ENOMEM | libc::EAGAIN) => XdpError::Memory { name: owned, queue, shape, source },
            _ => setup_error(name, way, "making the memory of a queue", source),
        },
        Failed::Bind(source) => match source.raw_os_error() {
            Some(libc::EBUSY) => XdpError::QueueTaken { name: owned, queue, holders: String::new() },
            Some(libc::EOPNOTSUPP) if way == Way::ZeroCopy => XdpError::NoZeroCopy { name: owned },
            Some(libc::EINVAL) => XdpError::NoQueue { name: owned, queue, source },
            Some(libc::ENOBUFS) => XdpError::LockedMemory { name: owned, queue, shape },
            Some(libc::ENOMEM) => XdpError::Memory { name: owned, queue, shape, source },
            _ => setup_error(name, way, "binding a socket to a queue", source),
        },
    }
}

fn attach_error(name: &str, number: i32, way: Way, source: io::Error) -> XdpError {
    let owned = name.to_owned();
    match source.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => XdpError::ProgramAttached { name: owned, holders: holders(number) },
        Some(libc::EOPNOTSUPP) if way != Way::Generic => XdpError::NoDriverMode { name: owned, source },
        Some(libc::ENOSPC) => XdpError::TooFewQueues { name: owned },
        Some(libc::ERANGE) => XdpError::Mtu { name: owned },
        _ => setup_error(name, way, "attaching the XDP program", source),
    }
}
