//! What the first elements of a [`Queue`] are, in one piece of memory.
//!
//! While a connection's pairing is open each reply is held against all that waits. The requests lie all over their pool, each in a
//! cache line that is not there; here is of each what that needs, of so many as wait usually. An outline is brought up to date
//! before it is read: what is new is behind what it has, what is gone was before it. Elements don't change, but for what a
//! mark stands for, which is therefore not copied. Those beyond its room are read where they are.

use std::collections::VecDeque;

use crate::units::Offset;

use super::command::CommandId;
use super::queue::{Queue, Stretch};
use super::request::Request;
use super::requests::Requests;

/// One element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Position behind its last byte.
    pub end: Offset,
    /// How far its client had received replies when it sent the first byte.
    pub received: Offset,
    /// The command.
    pub command: CommandId,
    /// It is no request: here requests may be hidden.
    pub is_mark: bool,
    handle: u32,
}

impl Line {
    fn of(handle: u32, pool: &Requests) -> Line {
        let request = pool.get(handle);
        let Request { end, received, command, .. } = *request;
        Line { end, received, command, is_mark: request.is_mark(), handle }
    }
}

/// The first elements of a queue.
#[derive(Debug)]
pub struct Outline {
    /// Position of the first one.
    first: u64,
    lines: VecDeque<Line>,
    room: usize,
}

impl Outline {
    /// An empty one, with room for so many.
    pub fn with_room(lines: usize) -> Outline {
        Outline { first: 0, lines: VecDeque::with_capacity(lines), room: lines }
    }

    /// Bytes of one with room for so many lines.
    pub const fn bytes(lines: usize) -> usize {
        lines * size_of::<Line>()
    }

    /// Forgets all: what follows may be another queue.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// Brings it up to date.
    pub fn follow(&mut self, queue: &Queue, pool: &Requests) {
        while self.first < queue.first() && self.lines.pop_front().is_some() {
            self.first += 1;
        }
        let mut next = match self.lines.back() {
            // No position is ever given twice.
            Some(_) if self.end() == queue.end() => None,
            Some(last) => queue.after(last.handle, pool),
            None => {
                self.first = queue.first();
                queue.head()
            }
        };
        while let Some(handle) = next
            && self.lines.len() < self.room
        {
            self.lines.push_back(Line::of(handle, pool));
            next = queue.after(handle, pool);
        }
    }

    /// Position behind the last element that it has.
    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// The elements from a position on, or from the first one, with their positions: those of the queue that are beyond its room,
    /// too.
    #[inline]
    pub fn from<'a>(
        &'a self,
        position: u64,
        queue: &'a Queue,
        pool: &'a Requests,
    ) -> impl Iterator<Item = (u64, Line)> + use<'a> {
        let skipped = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.lines.len());
        let (first, end) = (self.first + skipped as u64, self.end());
        let last = self.lines.back().filter(|_| end < queue.end());
        let mut next = last.and_then(|last| queue.after(last.handle, pool));
        let beyond = std::iter::from_fn(move || {
            let handle = next?;
            next = queue.after(handle, pool);
            Some(Line::of(handle, pool))
        });
        let beyond = (end..).zip(beyond).skip_while(move |&(at, _)| at < position);
        (first..).zip(self.lines.range(skipped..).copied()).chain(beyond)
    }

    /// What a mark stands for now.
    pub fn stretch(line: &Line, pool: &Requests) -> Option<Stretch> {
        if line.is_mark { pool.get(line.handle).stretch() } else { None }
    }

    /// The newest request that ends at or before `acknowledged`: what its client had received when it sent it, and the
    /// position of the first of those that it sent together, having received as much. `None` if it is not known which that is:
    /// a mark stands before it.
    pub fn newest(&self, acknowledged: Offset, queue: &Queue, pool: &Requests) -> Option<(Offset, u64)> {
        if self.end() < queue.end() {
            return queue.newest(acknowledged, pool);
        }
        let mut lines = (0..self.lines.len()).rev().map(|at| (self.first + at as u64, &self.lines[at]));
        let mut behind = false;
        let (mut position, newest) = loop {
            let (position, line) = lines.next()?;
            if line.is_mark {
                behind = true;
            } else if line.end > acknowledged {
                behind = false;
            } else {
                break (position, *line);
            }
        };
        if behind {
            return None;
        }
        for (before, line) in lines {
            if line.is_mark {
                return None;
            }
            if line.received != newest.received {
                break;
            }
            position = before;
        }
        Some((newest.received, position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to a queue.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A request of so many bytes comes; its client has received so many more.
        Push(u64, u64),
        Mark,
        Pop,
        /// The outline is read.
        Read,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1u64..4, 0u64..3).prop_map(|(bytes, received)| Step::Push(bytes, received)),
            1 => Just(Step::Mark),
            3 => Just(Step::Pop),
            3 => Just(Step::Read),
        ];
        prop::collection::vec(step, 0..60)
    }

    fn check(outline: &mut Outline, queue: &Queue, pool: &Requests, end: u64) {
        outline.follow(queue, pool);
        for position in queue.first().saturating_sub(1)..queue.end() + 2 {
            let told: Vec<_> = outline.from(position, queue, pool).collect();
            let held: Vec<_> = queue.iter(pool).filter(|&(at, _)| at >= position).collect();
            assert_eq!(told.len(), held.len(), "from {position} on");
            for ((at, line), (held_at, request)) in told.into_iter().zip(held) {
                assert_eq!((at, Outline::stretch(&line, pool)), (held_at, request.stretch()));
                assert_eq!((line.end, line.received, line.is_mark), (request.end, request.received, request.is_mark()));
            }
        }
        for acknowledged in 0..=end {
            let acknowledged = Offset(acknowledged);
            let newest = outline.newest(acknowledged, queue, pool);
            assert_eq!(newest, queue.newest(acknowledged, pool), "{acknowledged:?}");
        }
    }

    proptest! {
        #[test]
        fn an_outline_has_what_the_queue_has_whenever_it_is_read(steps in steps(), room in 1usize..12) {
            let (mut pool, mut queue, mut outline) = (Requests::new(100), Queue::default(), Outline::with_room(room));
            let (mut end, mut received) = (0, 0);
            for step in steps {
                match step {
                    Step::Push(bytes, more) => {
                        (end, received) = (end + bytes, received + more);
                        let handle = pool.take().unwrap();
                        let request = pool.get_mut(handle);
                        request.reset(&crate::redis::request::Shown { keys: false, payload_bytes: 0 });
                        (request.end, request.received) = (Offset(end), Offset(received));
                        queue.push(handle, &mut pool);
                    }
                    Step::Mark => {
                        let at = Offset(end);
                        let stretch = Stretch {
                            from: at,
                            to: at,
                            may_be_inline: false,
                            earlier: 0,
                            is_rest: false,
                            is_answered: false,
                            holds_one: false,
                        };
                        let handle = pool.take().unwrap();
                        let request = pool.get_mut(handle);
                        request.reset(&crate::redis::request::Shown { keys: false, payload_bytes: 0 });
                        (request.end, request.received) = (at, Offset(received));
                        queue.mark(handle, stretch, &mut pool);
                    }
                    Step::Pop => {
                        if let Some(handle) = queue.pop(&pool) {
                            pool.give_back(handle);
                        }
                    }
                    Step::Read => check(&mut outline, &queue, &pool, end),
                }
            }
            check(&mut outline, &queue, &pool, end);
        }
    }
}
