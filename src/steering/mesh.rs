//! The steering mesh: rings from each worker of a live capture to each other one.
//!
//! A packet comes to the worker who owns its connection, by the hash of what its outermost headers tell ([`Spread`], or the
//! kernel's or the card's own). Where these do not tell, whoever gets the packet passes a copy on to its owner: a packet out of
//! tunnels, and one that was made whole from fragments, of which only the first has ports. Packets that the XDP program sorted out
//! of their tunnels are with their owners already.
//!
//! Never waits: what finds no room in a ring is dropped, and counted. Parcels are used again, so after warm-up nothing is
//! allocated.

use crate::capture::Frame;
use crate::capture::spread::Spread;
use crate::counters::{Counter, Counters};
use crate::decode::fragment::Fragments;
use crate::decode::{Hidden, Segment, decode, hidden, is_usual};
use crate::limits::PARCELS;
use crate::ring::{Inbox, Outbox, ring};

use super::Parcel;

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
}

#[derive(Debug)]
struct Lane {
    outbox: Outbox<Box<Parcel>>,
    parcel: Box<Parcel>,
}

/// The ends of a mesh of `spread`'s workers.
pub fn mesh(spread: Spread) -> Vec<Mesh> {
    let workers = spread.workers as usize;
    let mut ends: Vec<Mesh> = (0..workers)
        .map(|number| Mesh {
            number,
            spread,
            fragments: Fragments::default(),
            counters: Counters::default(),
            lanes: Vec::with_capacity(workers),
            inboxes: Vec::with_capacity(workers),
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
                let is_others = owner != self.number;
                if is_others {
                    self.lanes[owner].push(frame, &mut self.counters);
                    self.counters.count(Counter::FramesSteered);
                }
                is_others
            }
            Hidden::Connection => {
                let Some(whole) = self.fragments.join(frame, &mut self.counters) else { return true };
                // What is no segment even now may be anybody's, to be counted.
                let owner = decode(&whole).map_or(self.number, |segment| owner(self.spread, &segment));
                self.lanes[owner].push(&whole, &mut self.counters);
                self.counters.add(Counter::FramesSteered, u64::from(owner != self.number));
                true
            }
        }
    }

    /// Sends what was taken.
    #[inline]
    pub fn flush(&mut self) {
        for lane in &mut self.lanes {
            if !lane.parcel.is_empty() {
                lane.send(&mut self.counters);
            }
        }
    }

    /// A parcel of this worker's, if there is one. It is given back by [`Mesh::give_back`].
    #[inline]
    pub fn take(&mut self) -> Option<(usize, Box<Parcel>)> {
        self.inboxes.iter_mut().enumerate().find_map(|(from, inbox)| Some((from, inbox.take()?)))
    }

    /// Returns a parcel to whom it is from.
    pub fn give_back(&mut self, from: usize, parcel: Box<Parcel>) {
        self.inboxes[from].give_back(parcel);
    }

    /// This worker passes nothing on any more.
    pub fn close(&mut self) {
        self.flush();
        self.lanes.clear();
        self.fragments.give_up_all(&mut self.counters);
    }

    /// After [`Mesh::close`]: waits for a parcel; `None` when the others have closed theirs, too.
    pub fn last(&mut self) -> Option<(usize, Box<Parcel>)> {
        self.inboxes.iter_mut().enumerate().find_map(|(from, inbox)| Some((from, inbox.receive()?)))
    }

    /// What was counted of frames that no worker got, and of those that were passed on.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes of memory in use for fragments.
    pub fn memory(&self) -> u64 {
        self.fragments.memory()
    }
}

fn owner(spread: Spread, segment: &Segment<'_>) -> usize {
    spread.owner(&segment.source, &segment.destination)
}

impl Lane {
    fn push(&mut self, frame: &Frame<'_>, counters: &mut Counters) {
        self.parcel.push(frame, None);
        if self.parcel.is_full() {
            self.send(counters);
        }
    }

    fn send(&mut self, counters: &mut Counters) {
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

    /// What each worker is passed.
    fn passed(ends: &mut [Mesh]) -> Vec<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        for end in ends {
            let mut got = Vec::new();
            while let Some((from, parcel)) = end.take() {
                got.extend((0..parcel.len()).map(|at| parcel.frame(at).bytes.to_vec()));
                end.give_back(from, parcel);
            }
            all.push(got);
        }
        all
    }

    #[test]
    fn packets_out_of_tunnels_come_to_their_owners_whoever_gets_them() {
        for port in 40_000..40_020 {
            for number in 0..3 {
                let mut ends = mesh(SPREAD);
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
            let mut ends = mesh(SPREAD);
            let [first, last] = fragments(port);
            assert!(ends[1].takes(&frame(&last)) && ends[1].takes(&frame(&first)), "nobody else is to count them");
            ends[1].flush();
            let got = passed(&mut ends);
            for (number, got) in got.iter().enumerate() {
                assert_eq!(got.len(), usize::from(number == owner(port)));
                assert!(got.iter().all(|whole| whole[20..] == ip(port)[20..]));
            }
            assert_eq!(ends[1].counters()[Counter::SkipFragmentJoined], 1, "the other one stands for all of it");
        }
    }

    #[test]
    fn other_frames_stay_where_they_are() {
        let mut ends = mesh(SPREAD);
        for packet in [ip(40_000), vec![0; 20], vec![], vec![0x45; 3]] {
            assert!(!ends[0].takes(&frame(&packet)), "{packet:?}");
        }
        ends[0].flush();
        assert_eq!(passed(&mut ends), vec![Vec::<Vec<u8>>::new(); 3]);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut ends = mesh(SPREAD);
        let packet = (40_000..41_000).find(|&port| owner(port) != 0).map(tunnelled).unwrap();
        let sent = PARCELS as u64 + 3;
        for _ in 0..sent {
            assert!(ends[0].takes(&frame(&packet)));
            ends[0].flush();
        }
        let got: usize = passed(&mut ends).iter().map(Vec::len).sum();
        let counters = ends[0].counters();
        assert_eq!((counters[Counter::FramesSteered], counters[Counter::CaptureDropsSteering]), (sent, 3));
        assert_eq!(got, PARCELS);
    }

    #[test]
    fn the_last_parcels_are_waited_for_until_all_have_closed() {
        let mut ends = mesh(SPREAD);
        let port = (40_000..41_000).find(|&port| owner(port) != 0).unwrap();
        let (packet, to) = (tunnelled(port), owner(port));
        assert!(ends[0].takes(&frame(&packet)));
        let mut receiver = ends.remove(to);
        receiver.close();
        let threads: Vec<_> = ends
            .into_iter()
            .map(|mut end| {
                std::thread::spawn(move || {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    end.close();
                    while end.last().is_some() {}
                })
            })
            .collect();
        let mut got = 0;
        while let Some((from, parcel)) = receiver.last() {
            got += parcel.len();
            receiver.give_back(from, parcel);
        }
        assert_eq!(got, 1);
        assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
    }
}
