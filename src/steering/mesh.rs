//! The steering mesh: rings from each worker of a live capture to each other one.
//!
//! A packet comes to the worker who owns its connection, by the hash of what its outermost headers tell ([`Spread`], or the
//! kernel's or the card's own). Where these do not tell, whoever gets the packet passes a copy on to its owner, if it is in tunnels.
//! A fragment is passed on to the first worker, as only the first of a packet has ports: that one puts them together, and passes
//! on the whole. Packets that the XDP program sorted out of their tunnels are with their owners already, and fragments with the
//! first worker.
//!
//! What is passed on comes later than what is not. So a worker to whom something is passed on holds all frames whose outermost
//! headers do not tell, its own among them, until no other can still have an earlier one, and takes them in the order of their
//! times: those of a connection in tunnels are all among them.
//!
//! Never waits: what finds no room in a ring is dropped, and counted; where much is held the earliest is taken at once. Parcels are
//! used again, as far as the way back has room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrayvec::ArrayVec;

use crate::capture::Frame;
use crate::capture::spread::Spread;
use crate::counters::{Counter, Counters};
use crate::decode::fragment::Fragments;
use crate::decode::{Hidden, Packet, decode, hidden, is_usual};
use crate::limits::{BATCH_FRAMES, MESH_HELD_BYTES_MAX, PARCELS};
use crate::ring::{Inbox, Outbox, ring};
use crate::units::Timestamp;

use super::Parcel;

/// Who puts fragments together.
const JOINER: usize = 0;

/// A worker's end of the mesh.
#[derive(Debug)]
pub struct Mesh {
    number: usize,
    spread: Spread,
    fragments: Fragments,
    counters: Counters,
    /// To each worker, this one among them.
    lanes: Vec<Lane>,
    /// From each worker.
    inboxes: Vec<Inbox<Box<Parcel>>>,
    /// Another worker has passed something on.
    has_received: bool,
    /// Or will, so that it is to be held.
    is_merging: bool,
    held: Held,
}

/// Frames that wait for earlier ones.
#[derive(Debug, Default)]
struct Held {
    /// The time of each, the earliest first, in which parcel it is, and where.
    frames: BinaryHeap<Reverse<(Timestamp, usize, usize)>>,
    /// The parcels: from whom, and how many frames of it are still to be taken. Those of which none are may be given back.
    parcels: Vec<Option<(usize, Box<Parcel>, usize)>>,
    /// Bytes of the parcels.
    bytes: usize,
}

#[derive(Debug)]
struct Lane {
    outbox: Outbox<Box<Parcel>>,
    parcel: Box<Parcel>,
}

/// The ends of a mesh of `spread`'s workers. `is_merging`: what is in tunnels will be passed on, so it is held from the beginning,
/// not only when something has been.
pub fn mesh(spread: Spread, is_merging: bool) -> Vec<Mesh> {
    let workers = spread.workers as usize;
    let mut ends: Vec<Mesh> = (0..workers)
        .map(|number| Mesh {
            number,
            spread,
            fragments: Fragments::default(),
            counters: Counters::default(),
            lanes: Vec::with_capacity(workers),
            inboxes: Vec::with_capacity(workers),
            has_received: false,
            is_merging,
            held: Held::default(),
        })
        .collect();
    for from in 0..workers {
        for to in 0..workers {
            let (outbox, inbox) = ring(PARCELS);
            ends[from].lanes.push(Lane { outbox, parcel: Box::default() });
            ends[to].inboxes.push(inbox);
        }
    }
    ends
}

impl Mesh {
    /// Takes a frame that may be another worker's, or a part of one; answers whether it did. It is sent by [`Mesh::flush`].
    #[inline(always)]
    pub fn takes(&mut self, frame: &Frame<'_>) -> bool {
        !is_usual(frame) && self.takes_hidden(frame)
    }

    #[cold]
    fn takes_hidden(&mut self, frame: &Frame<'_>) -> bool {
        match hidden(frame) {
            Hidden::Nothing => false,
            Hidden::Segment(segment) => {
                let owner = owner(self.spread, &segment);
                if owner != self.number {
                    self.pass_on(owner, frame);
                } else if self.is_merging {
                    self.lanes[owner].push(frame, &mut self.counters);
                } else {
                    return false;
                }
                true
            }
            Hidden::Connection if self.number != JOINER => {
                self.pass_on(JOINER, frame);
                true
            }
            Hidden::Connection => {
                let Mesh { spread, fragments, counters, lanes, .. } = self;
                if let Some(whole) = fragments.join(frame, counters) {
                    // What is no segment even now may be anybody's, to be counted.
                    let owner = decode(&whole).map_or(JOINER, |segment| owner(*spread, &segment));
                    counters.add(Counter::FramesSteered, u64::from(owner != JOINER));
                    lanes[owner].push(&whole, counters);
                }
                true
            }
        }
    }

    fn pass_on(&mut self, owner: usize, frame: &Frame<'_>) {
        self.counters.count(Counter::FramesSteered);
        self.lanes[owner].push(frame, &mut self.counters);
    }

    /// Sends what was taken, as far as there is room.
    #[inline]
    pub fn flush(&mut self) {
        for lane in &mut self.lanes {
            if !lane.parcel.is_empty() && !lane.outbox.is_full() {
                lane.send(&mut self.counters);
            }
        }
    }

    /// Takes what is passed on to this worker, and holds it; answers whether there was anything.
    pub fn gather(&mut self) -> bool {
        self.give_back();
        let mut any = false;
        for from in 0..self.inboxes.len() {
            while let Some(parcel) = self.inboxes[from].take() {
                any = true;
                self.has_received |= from != self.number;
                self.is_merging |= self.has_received;
                self.hold(from, parcel);
            }
        }
        any
    }

    fn hold(&mut self, from: usize, parcel: Box<Parcel>) {
        let free = self.held.parcels.iter().position(Option::is_none).unwrap_or(self.held.parcels.len());
        let mut left = 0;
        for index in 0..parcel.len() {
            let frame = parcel.frame(index);
            // A fragment that was passed on to be put together is so at once.
            let is_joined = self.number == JOINER && matches!(hidden(&frame), Hidden::Connection);
            if is_joined && self.takes_hidden(&frame) {
                continue;
            }
            self.held.frames.push(Reverse((frame.at, free, index)));
            left += 1;
        }
        self.held.bytes += parcel.bytes.len();
        let held = Some((from, parcel, left));
        match self.held.parcels.get_mut(free) {
            Some(place) => *place = held,
            None => self.held.parcels.push(held),
        }
    }

    /// Frames of up to `horizon` that are held, the earliest first, as many as make a batch. None is due if it is empty.
    pub fn due(&mut self, horizon: Timestamp) -> ArrayVec<Frame<'_>, BATCH_FRAMES> {
        self.give_back();
        let Held { frames, parcels, bytes } = &mut self.held;
        let is_much = *bytes > MESH_HELD_BYTES_MAX;
        let mut places: ArrayVec<(usize, usize), BATCH_FRAMES> = ArrayVec::new();
        while let Some(Reverse((at, ..))) = frames.peek()
            && (*at <= horizon || is_much)
            && !places.is_full()
            && let Some(Reverse((_, place, index))) = frames.pop()
        {
            places.push((place, index));
            if let Some((.., left)) = &mut parcels[place] {
                *left -= 1;
            }
        }
        let parcels = &*parcels;
        let frame = |(place, index): (usize, usize)| parcels[place].as_ref().map(|(_, parcel, _)| parcel.frame(index));
        places.into_iter().filter_map(frame).collect()
    }

    /// Gives parcels back of which all frames were taken.
    fn give_back(&mut self) {
        let Held { parcels, bytes, .. } = &mut self.held;
        for held in parcels {
            if let Some((from, parcel, _)) = held.take_if(|(.., left)| *left == 0) {
                *bytes -= parcel.bytes.len();
                self.inboxes[from].give_back(parcel);
            }
        }
    }

    /// Whether another worker has passed something on.
    pub fn has_received(&self) -> bool {
        self.has_received
    }

    /// Whether frames whose outermost headers do not tell are held.
    pub fn is_merging(&self) -> bool {
        self.is_merging
    }

    /// Whether frames are held.
    pub fn holds(&self) -> bool {
        !self.held.frames.is_empty()
    }

    /// Whether this worker is to go on until the others have closed: it may have to pass on what they pass on to it.
    pub fn outlasts_others(&self) -> bool {
        self.number == JOINER
    }

    /// This worker passes nothing on any more.
    pub fn close(&mut self) {
        for lane in &mut self.lanes {
            lane.send(&mut self.counters);
        }
        self.lanes.clear();
        self.fragments.give_up_all(&mut self.counters);
    }

    /// Whether nothing comes any more; before [`Mesh::close`], from the others.
    pub fn is_over(&self) -> bool {
        let is_open = |from: usize| from == self.number && !self.lanes.is_empty();
        self.inboxes.iter().enumerate().all(|(from, inbox)| is_open(from) || inbox.is_finished())
    }

    /// What was counted of frames that no worker got, and of those that were passed on.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes of memory in use for fragments and what is held.
    pub fn memory(&self) -> u64 {
        self.fragments.memory() + self.held.memory()
    }
}

fn owner(spread: Spread, segment: &Packet<'_>) -> usize {
    spread.owner(&segment.source, &segment.destination)
}

impl Held {
    fn memory(&self) -> u64 {
        (self.bytes + self.frames.capacity() * size_of::<Reverse<(Timestamp, usize, usize)>>()) as u64
    }
}

impl Lane {
    fn push(&mut self, frame: &Frame<'_>, counters: &mut Counters) {
        self.parcel.push(frame, None);
        if self.parcel.is_full() {
            self.send(counters);
        }
    }

    fn send(&mut self, counters: &mut Counters) {
        if self.parcel.is_empty() {
            return;
        }
        let mut next = self.outbox.reuse().unwrap_or_default();
        next.clear();
        let parcel = std::mem::replace(&mut self.parcel, next);
        if let Err(parcel) = self.outbox.offer(parcel) {
            counters.add(Counter::CaptureDropsSteering, parcel.len() as u64);
            self.parcel = parcel;
            self.parcel.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::LinkType;
    use crate::limits::PARCEL_FRAMES;
    use crate::units::Timestamp;

    const SPREAD: Spread = Spread { workers: 3, secret: 7 };

    /// A segment of TCP from this port to 10.0.0.9:6379.
    fn ip(port: u16) -> Vec<u8> {
        let ports = [port.to_be_bytes(), 6379u16.to_be_bytes()].concat();
        let ip = [0x45, 0, 0, 48, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
        let tcp = [0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
        [&ip[..], &ports, &tcp, b"PING \r\n\n"].concat()
    }

    /// The same in IP in IP.
    fn tunnelled(port: u16) -> Vec<u8> {
        let inner = ip(port);
        [&[0x45, 0, 0, 20 + inner.len() as u8, 0, 2, 0, 0, 64, 4, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2][..], &inner].concat()
    }

    /// The same in two fragments.
    fn fragments(port: u16) -> [Vec<u8>; 2] {
        let whole = ip(port);
        let piece = |from: usize, to: usize, more: u8| {
            let mut piece = [&whole[..20], &whole[20 + from..20 + to]].concat();
            (piece[3], piece[6], piece[7]) = (piece.len() as u8, more << 5, (from / 8) as u8);
            piece
        };
        [piece(0, 24, 1), piece(24, 28, 0)]
    }

    fn frame(bytes: &[u8]) -> Frame<'_> {
        Frame { bytes, wire_len: bytes.len() as u32, at: Timestamp(1), link: LinkType::RawIp }
    }

    fn owner(port: u16) -> usize {
        super::owner(SPREAD, &decode(&frame(&ip(port))).unwrap())
    }

    /// What each worker is passed, in the order in which it takes that.
    fn passed(ends: &mut [Mesh]) -> Vec<Vec<Vec<u8>>> {
        ends.iter_mut().map(|end| taken(end, Timestamp(u64::MAX))).collect()
    }

    fn taken(end: &mut Mesh, horizon: Timestamp) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        while end.gather() {}
        loop {
            let batch = end.due(horizon);
            if batch.is_empty() {
                return got;
            }
            got.extend(batch.iter().map(|frame| frame.bytes.to_vec()));
        }
    }

    #[test]
    fn packets_out_of_tunnels_come_to_their_owners_whoever_gets_them() {
        for port in 40_000..40_020 {
            for number in 0..3 {
                let mut ends = mesh(SPREAD, false);
                let packet = tunnelled(port);
                let is_others = owner(port) != number;
                assert_eq!(ends[number].takes(&frame(&packet)), is_others);
                ends[number].flush();
                let mut expected = vec![Vec::new(); 3];
                if is_others {
                    expected[owner(port)].push(packet);
                }
                assert_eq!(passed(&mut ends), expected);
                assert_eq!(ends[number].counters()[Counter::FramesSteered], u64::from(is_others));
            }
        }
    }

    #[test]
    fn packets_in_fragments_come_to_their_owners_when_they_are_whole() {
        for port in 40_000..40_020 {
            let mut ends = mesh(SPREAD, false);
            let [first, last] = fragments(port);
            assert!(ends[1].takes(&frame(&last)) && ends[0].takes(&frame(&first)), "nobody else is to count them");
            ends[1].flush();
            assert!(ends[0].gather());
            ends[0].flush();
            let got = passed(&mut ends);
            for (number, got) in got.iter().enumerate() {
                assert_eq!(got.len(), usize::from(number == owner(port)));
                assert!(got.iter().all(|whole| whole[20..] == ip(port)[20..]));
            }
            assert_eq!(ends[0].counters()[Counter::SkipFragmentJoined], 1, "the other one stands for all of it");
            let steered: u64 = ends.iter().map(|end| end.counters()[Counter::FramesSteered]).sum();
            assert_eq!(steered, 1 + u64::from(owner(port) != 0));
        }
    }

    #[test]
    fn other_frames_stay_where_they_are() {
        let mut ends = mesh(SPREAD, false);
        for packet in [ip(40_000), vec![0; 20], vec![], vec![0x45; 3]] {
            assert!(!ends[0].takes(&frame(&packet)), "{packet:?}");
        }
        ends[0].flush();
        assert_eq!(passed(&mut ends), vec![Vec::<Vec<u8>>::new(); 3]);
    }

    #[test]
    fn what_finds_no_room_waits_until_it_is_much_and_then_is_counted() {
        let mut ends = mesh(SPREAD, false);
        let port = (40_000..41_000).find(|&port| owner(port) != 0).unwrap();
        let packet = tunnelled(port);
        let mut send = |frames: usize| {
            for _ in 0..frames {
                assert!(ends[0].takes(&frame(&packet)));
                ends[0].flush();
            }
            ends[0].counters()[Counter::CaptureDropsSteering]
        };
        assert_eq!(send(PARCELS), 0, "the ring is full");
        assert_eq!(send(PARCEL_FRAMES - 1), 0, "the parcel is, but for one");
        assert_eq!((send(1), send(PARCEL_FRAMES - 1)), (PARCEL_FRAMES as u64, PARCEL_FRAMES as u64));
        let steered = ends[0].counters()[Counter::FramesSteered];
        assert_eq!(passed(&mut ends).iter().map(Vec::len).sum::<usize>(), PARCELS);
        ends[0].close();
        assert_eq!(passed(&mut ends).iter().map(Vec::len).sum::<usize>(), PARCEL_FRAMES - 1, "room was made");
        assert_eq!(steered, (PARCELS + 2 * PARCEL_FRAMES - 1) as u64);
    }

    #[test]
    fn what_is_passed_on_is_taken_in_the_order_of_times_when_nothing_earlier_can_come() {
        let mut ends = mesh(SPREAD, false);
        let mut ports = (40_000..41_000).filter(|&port| owner(port) == 0);
        let packets: Vec<_> = ports.by_ref().take(7).map(tunnelled).collect();
        let mut take = |number: usize, at: u64| {
            let at = Timestamp(at);
            ends[number].takes(&Frame { at, ..frame(&packets[at.0 as usize]) })
        };
        assert!(!take(0, 0), "nobody has passed on anything yet");
        assert!(mesh(SPREAD, true)[0].takes(&frame(&packets[0])), "but will");
        assert!(take(1, 2) && take(1, 4) && take(2, 3) && take(2, 5));
        ends[1].flush();
        ends[2].flush();
        assert!(ends[0].gather() && !ends[0].gather());
        for at in [1, 6] {
            assert!(ends[0].takes(&Frame { at: Timestamp(at), ..frame(&packets[at as usize]) }), "it is one of them");
        }
        ends[0].flush();
        assert_eq!(taken(&mut ends[0], Timestamp(4)), packets[1..=4]);
        assert!(ends[0].holds());
        assert_eq!(taken(&mut ends[0], Timestamp(6)), packets[5..=6]);
        assert!(!ends[0].holds());
        assert_eq!((ends[0].held.bytes, ends[0].held.parcels.iter().flatten().count()), (0, 0), "all was given back");
    }

    #[test]
    fn where_much_is_held_nothing_waits() {
        let mut ends = mesh(SPREAD, false);
        let port = (40_000..41_000).find(|&port| owner(port) == 0).unwrap();
        let packet = tunnelled(port);
        let mut frames = 0;
        while ends[0].held.bytes <= MESH_HELD_BYTES_MAX {
            assert!(ends[1].takes(&frame(&packet)));
            ends[1].flush();
            ends[0].gather();
            frames += 1;
        }
        let got = taken(&mut ends[0], Timestamp(0)).len();
        assert!(
            (BATCH_FRAMES..frames).contains(&got) && ends[0].held.bytes <= MESH_HELD_BYTES_MAX,
            "{got} of {frames}"
        );
    }

    #[test]
    fn it_is_over_when_all_have_closed_and_everything_was_taken() {
        let mut ends = mesh(SPREAD, false);
        assert!(ends.iter().all(|end| !end.is_over()));
        assert_eq!(ends.iter().map(Mesh::outlasts_others).collect::<Vec<_>>(), [true, false, false]);
        assert!(ends[2].takes(&frame(&fragments(40_000)[0])));
        ends[1].close();
        ends[2].close();
        assert!(!ends[0].is_over(), "something is under way");
        assert!(ends[0].gather());
        assert!(ends[0].is_over() && !ends[1].is_over() && !ends[2].is_over());
        ends[0].close();
        assert!(ends.iter().all(Mesh::is_over));
    }
}
