//! A connection that is no client's RESP: it is told by what it says, and from then on only counted.

use crate::counters::Counter;
use crate::decode::{Flags as TcpFlags, Segment};
use crate::reassembly::stream::Place;
use crate::redis::foreign::Foreign;
use crate::redis::pairing::Reason;
use crate::units::{Direction, Timestamp};

use super::{Connection, Framing, Recorder, Resources};

impl Connection {
    /// Whether it is not looked into.
    #[inline]
    pub(super) fn is_opaque(&self) -> bool {
        self.framing[0] == Framing::Opaque
    }

    /// Whether what it sends goes by unread: it is opaque, or not recognised yet.
    #[inline]
    pub(super) fn is_unread(&self) -> bool {
        matches!(self.framing[0], Framing::Opaque | Framing::Unrecognised)
    }

    /// A segment of a connection that is not read.
    #[cold]
    pub(super) fn set_aside<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if segment.flags.any(TcpFlags::SYN) {
            self.note_syn(segment, self.oriented(direction), resources);
        }
        if !self.is_opaque() {
            return self.recognise(segment, direction, at, resources, recorder);
        }
        if at < self.last_at {
            resources.counters.count(Counter::TimeBackwards);
        }
        self.last_at = self.last_at.max(at);
        self.pass_by(segment, self.oriented(direction), resources, recorder);
    }

    /// Whether these bytes, the first ones of a connection or some of one whose framing is not known, show that it is no
    /// client's RESP. Then it is opaque.
    pub(super) fn is_foreign<R: Recorder>(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        resources: &mut Resources,
        recorder: &mut R,
    ) -> bool {
        let foreign = match (self.framing[direction as usize], direction) {
            (Framing::Known, Direction::Request) => Foreign::of_first_bytes(bytes),
            (Framing::Known, Direction::Reply) => None,
            _ => Foreign::of_segment(bytes),
        };
        let Some(foreign) = foreign else { return false };
        resources.counters.add(Counter::OpaqueBytes, bytes.len() as u64);
        self.become_opaque(foreign, resources, recorder);
        true
    }

    /// Nothing of it is looked into any more: it keeps its place, and nothing else.
    pub(super) fn become_opaque<R: Recorder>(&mut self, foreign: Foreign, resources: &mut Resources, recorder: &mut R) {
        resources.counters.count(foreign.counter());
        self.lose_all(resources, recorder);
        self.end_resync(resources);
        self.drop_building(resources);
        for direction in [Direction::Request, Direction::Reply] {
            self.drop_unfinished(direction, resources);
            self.streams[direction as usize].forget_stored(&mut resources.pages);
        }
        self.framing = [Framing::Opaque; 2];
    }

    /// A segment of an opaque connection goes by: its bytes are counted, and how far its streams have come.
    pub(super) fn pass_by<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        self.stream_mut(direction).see();
        if segment.flags.any(TcpFlags::RST) {
            // Nothing of it waits, so nothing can run out.
            let _ = self.reset(segment, direction, resources, recorder);
            return;
        }
        if segment.flags.any(TcpFlags::SYN) {
            return;
        }
        self.acknowledgement(segment, direction);
        let length = u64::from(segment.wire_payload_len);
        let stream = self.stream_mut(direction);
        if !stream.is_known() {
            stream.begin(segment.seq);
        }
        let (from, place) = stream.place(segment.seq, segment.wire_payload_len);
        if matches!(place, Place::Next { .. } | Place::Ahead) {
            let unseen = from.plus(length).distance_from(stream.next());
            stream.step_over(unseen);
            resources.counters.add(Counter::OpaqueBytes, unseen.min(length));
        }
        if segment.flags.any(TcpFlags::FIN) {
            self.close(Reason::Fin, resources, recorder);
        }
    }
}
