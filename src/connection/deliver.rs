//! From a segment to bytes in order: what goes to the parsers at once, what waits, what is given up as a gap.

use crate::counters::Counter;
use crate::decode::{Flags as TcpFlags, Segment};
use crate::limits::WINDOW_BYTES_MAX;
use crate::reassembly::pages::{Meta, Piece};
use crate::reassembly::stream::Place;
use crate::redis::pairing::{Flags, Reason};
use crate::units::{Direction, Offset, Timestamp};

use super::{Connection, Exhausted, Facts, Recorder, Resources};

impl Connection {
    /// Takes a segment that [`Connection::admit`] let in.
    pub fn segment<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        self.facts.clear(Facts::PLAIN);
        if self.is_unread() {
            return self.set_aside(segment, direction, at, resources, recorder);
        }
        self.read(segment, direction, at, resources, recorder);
        self.note_plain(resources);
    }

    /// Reads a segment.
    #[inline]
    pub(super) fn read<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) {
        if at < self.last_at {
            resources.counters.count(Counter::TimeBackwards);
        }
        let at = at.max(self.last_at);
        let direction = self.oriented(direction);
        if !self.is_seen() && !self.certainty.is_settled() {
            self.restart_pairing(resources, recorder);
        }
        self.expire(at, resources, recorder);
        if let Err(Exhausted(what)) = self.take(segment, direction, at, resources, recorder) {
            self.give_up(what, resources, recorder);
        }
        self.last_at = at;
    }

    fn take<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        at: Timestamp,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        // What has waited long enough is decided before this segment can change it.
        if self.streams[0].is_waiting() || self.streams[1].is_waiting() {
            self.streams.iter().for_each(|stream| stream.count_packet(&mut resources.pages));
            self.settle(Some(at), resources, recorder)?;
            self.facts.clear(Facts::PLAIN);
            if self.facts.has(Facts::CLOSED) {
                return Ok(());
            }
            if self.is_opaque() {
                self.pass_by(segment, direction, resources, recorder);
                return Ok(());
            }
        }
        self.handshake(segment, direction);
        if !self.stream(direction).is_seen() {
            self.first_sight(direction, resources);
        }
        let stream = self.stream_mut(direction);
        if !segment.flags.any(TcpFlags::RST | TcpFlags::SYN) {
            stream.offer(segment.window);
        }
        if segment.flags.any(TcpFlags::RST) {
            return self.reset(segment, direction, resources, recorder);
        }
        if segment.flags.any(TcpFlags::SYN) {
            self.note_syn(segment, direction, resources);
            return Ok(());
        }
        let ack = self.acknowledgement(segment, direction);
        let fin = segment.flags.any(TcpFlags::FIN);
        if segment.wire_payload_len == 0 && !fin {
            return Ok(());
        }
        let length = segment.wire_payload_len + u32::from(fin);
        if self.begins_elsewhere(segment.seq, length, direction) {
            self.misjudge(direction, resources, recorder);
        }
        let stream = self.stream_mut(direction);
        if !stream.is_known() {
            stream.begin(segment.seq);
        }
        let (from, place) = stream.place(segment.seq, length);
        let cut = segment.wire_payload_len - segment.payload.len() as u32;
        let meta = Meta { at, ack, push: segment.flags.any(TcpFlags::PSH), late: stream.acked() > from };
        match place {
            Place::OutOfWindow => resources.counters.count(Counter::OutOfWindow),
            Place::Old => self.count_old(from, length, direction, resources),
            Place::Next { old } if self.streams[direction as usize].is_waiting() || !self.is_due(direction, ack) => {
                self.facts.set_if(Facts::SKEWED, !self.is_due(direction, ack));
                self.store(Piece { from, bytes: segment.payload, cut, fin, meta }, old > 0, direction, resources)?;
            }
            Place::Next { old } => {
                let bytes = segment.payload.get(old as usize..).unwrap_or_default();
                let cut = cut.min(segment.wire_payload_len - old.min(segment.wire_payload_len));
                let piece = Piece { from: from.plus(u64::from(old)), bytes, cut, fin, meta };
                self.deliver(direction, &piece, resources, recorder)?;
            }
            Place::Ahead => {
                resources.counters.count(Counter::OutOfOrder);
                self.store(Piece { from, bytes: segment.payload, cut, fin, meta }, false, direction, resources)?;
            }
        }
        if self.streams[0].is_waiting() || self.streams[1].is_waiting() {
            self.settle(None, resources, recorder)?;
        }
        Ok(())
    }

    /// Applies an acknowledgement; answers which position of the other direction it is.
    pub(super) fn acknowledgement(&mut self, segment: &Segment<'_>, direction: Direction) -> Offset {
        let opposite = self.stream_mut(direction.reverse());
        if !segment.flags.any(TcpFlags::ACK) {
            return Offset(u64::MAX);
        }
        if !opposite.is_known() {
            opposite.acknowledge_unseen(segment.ack);
            return Offset(u64::MAX);
        }
        let ack = segment.ack.unwrap_near(opposite.next());
        if ack.distance_from(opposite.next()) <= WINDOW_BYTES_MAX {
            opposite.acknowledge(ack);
        }
        ack
    }

    /// Whether bytes with this acknowledgement can be delivered: a reply whose acknowledgement covers requests that were not
    /// seen yet came ahead of them.
    fn is_due(&self, direction: Direction, ack: Offset) -> bool {
        let requests = self.stream(Direction::Request);
        direction == Direction::Request || !requests.is_known() || ack == Offset(u64::MAX) || ack <= requests.next()
    }

    fn count_old(&mut self, from: Offset, length: u32, direction: Direction, resources: &mut Resources) {
        let stream = self.stream(direction);
        if length == 1 && from.plus(1) == stream.next() {
            resources.counters.count(Counter::KeepAlives);
            return;
        }
        resources.counters.count(Counter::Retransmitted);
        self.mark_retransmit(from, direction, resources);
    }

    /// Flags the message that a retransmission touches: the one that is unfinished, or the newest request.
    fn mark_retransmit(&mut self, from: Offset, direction: Direction, resources: &mut Resources) {
        match direction {
            Direction::Reply => {
                if let Some(unfinished) = self.unfinished_mut(direction, resources) {
                    unfinished.reply.retransmit = true;
                }
            }
            Direction::Request => {
                let building = (self.building != crate::pool::NONE).then_some(self.building);
                if let Some(handle) = building.or_else(|| self.queue.tail()) {
                    let request = resources.requests.get_mut(handle);
                    if building.is_some() || from < request.end {
                        request.add(Flags::RETRANSMIT);
                    }
                }
            }
        }
    }

    fn store(
        &mut self,
        piece: Piece<'_>,
        overlaps: bool,
        direction: Direction,
        resources: &mut Resources,
    ) -> Result<(), Exhausted> {
        if overlaps {
            self.mark_retransmit(piece.from, direction, resources);
        }
        let stream = &mut self.streams[direction as usize];
        // What was delivered before its first new byte is no part of it.
        let old = stream.next().distance_from(piece.from);
        let skipped = (old as usize).min(piece.bytes.len());
        let piece = Piece {
            from: piece.from.plus(old),
            bytes: &piece.bytes[skipped..],
            cut: piece.cut - (old - skipped as u64).min(u64::from(piece.cut)) as u32,
            ..piece
        };
        stream.store(&mut resources.pages, &piece).map_err(|_| Exhausted(Counter::EvictedPages))
    }

    /// Gives bytes that are next in order to the parser.
    #[inline]
    fn deliver<R: Recorder>(
        &mut self,
        direction: Direction,
        piece: &Piece<'_>,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        if !piece.bytes.is_empty() {
            if direction == Direction::Request {
                self.assume_silence(piece, resources, recorder);
            }
            // Acknowledged before it was seen, and no copy: the directions come through different ways.
            self.facts.set_if(Facts::SKEWED, piece.meta.late);
            let time = self.stream_mut(direction).advance(piece.bytes.len() as u64, piece.meta.at);
            self.stream_mut(direction.reverse()).open_window();
            self.parse(direction, piece, time, resources, recorder)?;
        }
        if piece.cut > 0 {
            let cut = u64::from(piece.cut);
            resources.counters.add(Counter::GapBytesCut, cut);
            let time = self.stream_mut(direction).advance(cut, piece.meta.at);
            self.missing(direction, cut, piece.meta.ack, time, resources, recorder)?;
        }
        if piece.fin && !self.facts.has(Facts::CLOSED) {
            let stream = self.stream_mut(direction);
            stream.step_over(1);
            stream.end();
            if direction == Direction::Reply {
                self.close(Reason::Fin, resources, recorder);
            }
        }
        Ok(())
    }

    /// Delivers what has become due; with `now`, also gives up what has waited for too long.
    fn settle<R: Recorder>(
        &mut self,
        now: Option<Timestamp>,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        loop {
            self.drain(Direction::Request, resources, recorder)?;
            self.drain(Direction::Reply, resources, recorder)?;
            let Some(now) = now else { return Ok(()) };
            let overdue = [Direction::Request, Direction::Reply].into_iter().find(|&direction| {
                let (time, packets) = (resources.settings.reorder_time_ns, resources.settings.reorder_packets);
                self.stream(direction).is_overdue(&resources.pages, now, time, packets)
            });
            let Some(direction) = overdue else { return Ok(()) };
            self.give_up_hole(direction, resources, recorder)?;
        }
    }

    fn drain<R: Recorder>(
        &mut self,
        direction: Direction,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        loop {
            let stream = &self.streams[direction as usize];
            let Some(first) = stream.first_stored(&resources.pages) else { return Ok(()) };
            if first.from != stream.next() || !self.is_due(direction, first.meta.ack) {
                return Ok(());
            }
            let handle = self.streams[direction as usize].take_stored(&mut resources.pages);
            // The page is copied out so that the parser can use the pools; this is the slow path.
            let page = resources.pages.get(handle);
            let (from, meta, cut, fin) = (page.from, page.meta, page.cut, page.fin);
            let mut bytes = [0; crate::limits::PAGE_BYTES];
            let length = page.bytes().len();
            bytes[..length].copy_from_slice(page.bytes());
            resources.pages.free(handle);
            let piece = Piece { from, bytes: &bytes[..length], cut, fin, meta };
            self.deliver(direction, &piece, resources, recorder)?;
        }
    }

    /// The bytes that the first stored page of a direction waits for will not come: they are a gap.
    fn give_up_hole<R: Recorder>(
        &mut self,
        direction: Direction,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let stream = self.stream(direction);
        let Some(first) = stream.first_stored(&resources.pages) else { return Ok(()) };
        let acknowledged = first.meta.ack;
        if first.from > stream.next() && self.is_due(direction, acknowledged) {
            let bytes = first.from.distance_from(stream.next());
            return self.gap(direction, bytes, acknowledged, resources, recorder);
        }
        // A reply that came ahead of requests: those won't come, or only from where some are stored. That comes first, as a
        // hidden reply may answer them.
        let requests = self.stream(Direction::Request);
        let stored = requests.first_stored(&resources.pages).map(|page| page.from);
        let until = stored.map_or(acknowledged, |stored| stored.min(acknowledged));
        let bytes = until.distance_from(requests.next());
        self.gap(Direction::Request, bytes, acknowledged, resources, recorder)
    }

    /// A direction shows itself: what was stepped over of it until now is a gap.
    #[cold]
    fn first_sight(&mut self, direction: Direction, resources: &mut Resources) {
        let stream = self.stream_mut(direction);
        let passed = stream.see();
        if stream.is_known() && passed > 0 {
            resources.counters.count(Counter::Gaps);
            resources.counters.add(Counter::GapBytesMirror, passed);
        }
    }

    /// `acknowledged`: what the segment behind the gap acknowledges of the other direction.
    fn gap<R: Recorder>(
        &mut self,
        direction: Direction,
        bytes: u64,
        acknowledged: Offset,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let stream = self.stream_mut(direction);
        let has_arrived = stream.acked() >= stream.next().plus(bytes);
        stream.step_over(bytes);
        if stream.is_seen() {
            resources.counters.count(Counter::Gaps);
            let lost = if has_arrived { Counter::GapBytesMirror } else { Counter::GapBytesNetwork };
            resources.counters.add(lost, bytes);
        }
        self.missing(direction, bytes, acknowledged, Timestamp::NONE, resources, recorder)
    }

    /// Delivers all that is stored, over whatever gaps, and what was acknowledged at the end but never seen.
    pub(super) fn flush<R: Recorder>(&mut self, resources: &mut Resources, recorder: &mut R) -> Result<(), Exhausted> {
        while !self.facts.has(Facts::CLOSED) {
            self.drain(Direction::Request, resources, recorder)?;
            self.drain(Direction::Reply, resources, recorder)?;
            let waiting = [Direction::Request, Direction::Reply].into_iter().find(|&d| self.stream(d).is_waiting());
            match waiting {
                Some(direction) if !self.facts.has(Facts::CLOSED) => {
                    self.give_up_hole(direction, resources, recorder)?;
                }
                _ => break,
            }
        }
        for direction in [Direction::Request, Direction::Reply] {
            let stream = self.stream(direction);
            let unseen = stream.acked().distance_from(stream.next());
            // One position more may be a FIN that was not captured.
            if !self.facts.has(Facts::CLOSED) && stream.is_known() && unseen > 1 {
                self.gap(direction, unseen, Offset(u64::MAX), resources, recorder)?;
            }
        }
        Ok(())
    }

    /// Lets time do its work on what waits: to be called when the deadline has come.
    pub fn tick<R: Recorder>(&mut self, now: Timestamp, resources: &mut Resources, recorder: &mut R) {
        if self.facts.has(Facts::CLOSED) {
            return;
        }
        self.facts.clear(Facts::PLAIN);
        if self.is_over(now) {
            return self.end_doubt(resources, recorder);
        }
        self.believe(now, resources, recorder);
        self.expire(now, resources, recorder);
        if let Err(Exhausted(what)) = self.settle(Some(now), resources, recorder) {
            self.give_up(what, resources, recorder);
        }
        self.note_plain(resources);
    }

    pub(super) fn reset<R: Recorder>(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        resources: &mut Resources,
        recorder: &mut R,
    ) -> Result<(), Exhausted> {
        let stream = self.stream(direction);
        if stream.is_known() && stream.place(segment.seq, 1).1 == Place::OutOfWindow {
            resources.counters.count(Counter::OutOfWindow);
            return Ok(());
        }
        self.flush(resources, recorder)?;
        self.close(Reason::Rst, resources, recorder);
        Ok(())
    }
}
