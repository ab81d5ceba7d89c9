//! Requests that wait for their replies, first in, first out, and the marks between them that stand for hidden ones.
//!
//! The requests are in a pool; a queue is its two ends. Each element has a *position*, counted from the connection's first:
//! [`Queue::first`] is that of the head. A mark ([`Stretch`]) says that requests may be hidden between its neighbours.

use crate::pool::NONE;
use crate::units::Offset;

use super::request::Request;
use super::requests::{Requests, Row};

/// Bytes of the shortest request of a client that speaks multibulk: `*1\r\n$0\r\n\r\n`.
const MULTIBULK_BYTES_MIN: u64 = 10;
/// Bytes in front of the name of a request: `*1\r\n$1\r\n`.
const MULTIBULK_HEADERS_BYTES_MIN: u64 = 8;
/// Bytes of the shortest inline request: `x\n`.
const INLINE_BYTES_MIN: u64 = 2;
/// Bytes of the shortest command that silences what is behind it: CLIENT REPLY OFF.
const SILENCING_BYTES_MIN: u64 = 36;

/// A stretch of the request stream of which it is not known what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Its first byte.
    pub from: Offset,
    /// Behind its last.
    pub to: Offset,
    /// The client may have used inline commands, which are shorter.
    pub may_be_inline: bool,
    /// Requests from before the capture are in it as well, so many at the most; 0 if there are none such.
    pub earlier: u64,
    /// It holds the rest of the request before it, or a part of that, and besides less than brings a request to its name.
    pub is_rest: bool,
    /// The request before it has been answered.
    pub is_answered: bool,
    /// A request begins in it.
    pub holds_one: bool,
}

impl Stretch {
    /// Whether so many bytes of a client that speaks multibulk bring no request to its name.
    pub fn is_before_name(bytes: u64) -> bool {
        bytes < MULTIBULK_HEADERS_BYTES_MIN
    }

    /// The most replies that what ended at or before `acknowledged` can have.
    pub fn replies_max(&self, acknowledged: Offset) -> u64 {
        let shortest = if self.may_be_inline { INLINE_BYTES_MIN } else { MULTIBULK_BYTES_MIN };
        self.earlier + acknowledged.min(self.to).distance_from(self.from) / shortest
    }

    /// Whether it may hold a command that silences the one behind it.
    pub fn may_silence(&self) -> bool {
        self.earlier > 0 || self.to.distance_from(self.from) >= SILENCING_BYTES_MIN
    }
}

/// The queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u32,
    /// Means something only if there are any.
    tail: u32,
    length: u32,
    /// Marks in it.
    marks: u32,
    /// Position of the head.
    first: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Queue::EMPTY
    }
}

impl Queue {
    /// Nothing, and nothing before it.
    pub const EMPTY: Queue = Queue { head: NONE, tail: NONE, length: 0, marks: 0, first: 0 };

    /// Requests in it, marks not counted.
    #[inline]
    pub fn len(&self) -> u32 {
        self.length - self.marks
    }

    /// All elements, marks counted.
    #[inline]
    pub fn elements(&self) -> u32 {
        self.length
    }

    /// Whether there is anything but marks.
    #[inline]
    pub fn has_requests(&self) -> bool {
        self.length > self.marks
    }

    /// Whether there are neither requests nor marks.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first one's handle.
    #[inline]
    pub fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// The same, or [`NONE`].
    #[inline(always)]
    pub fn head_or_none(&self) -> u32 {
        self.head
    }

    /// The last one's handle.
    #[inline]
    pub fn tail(&self) -> Option<u32> {
        (self.length > 0).then_some(self.tail)
    }

    /// Asks for the memory of the second element, which is the first one when that has been answered, and of the third, if it is known
    /// which one that is.
    #[inline(always)]
    pub fn prefetch_next_two(&self, pool: &Requests) {
        if self.length > 1
            && let Some(first) = pool.find(self.head)
        {
            pool.prefetch(first.next);
            pool.prefetch(first.ahead);
        }
    }

    /// The request that was first has been answered.
    #[inline]
    pub fn answered(&self, pool: &mut Requests) {
        if self.marks > 0
            && let Some(stretch) = self.head().and_then(|head| pool.get_mut(head).stretch_mut())
        {
            stretch.is_answered = true;
        }
    }

    /// Whether all that was seen is answered, and all that was not belonged to the last request before it.
    pub fn is_only_rest(&self, pool: &Requests) -> bool {
        let stretch = self.head().and_then(|head| pool.get(head).stretch());
        self.length == 1 && stretch.is_some_and(|stretch| stretch.is_rest && stretch.is_answered)
    }

    /// Whether there is a mark in it.
    pub fn is_marked(&self) -> bool {
        self.marks > 0
    }

    /// Position of the first element.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Position that the next element will have.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.length)
    }

    /// Puts a request at the end.
    #[inline]
    pub fn push(&mut self, handle: u32, pool: &mut Requests) {
        pool.get_mut(handle).next = NONE;
        self.append(handle, handle, pool);
        self.length += 1;
    }

    /// Puts requests at the end, each of which is linked to the next; how many they are is left to the caller.
    #[inline(always)]
    fn append(&mut self, first: u32, last: u32, pool: &mut Requests) {
        match self.tail().and_then(|tail| pool.find_mut(tail)) {
            Some(tail) => tail.next = first,
            None => self.head = first,
        }
        self.tail = last;
    }

    /// Puts a request into an empty queue.
    #[inline(always)]
    pub fn push_first(&mut self, handle: u32, pool: &mut Requests) {
        debug_assert!(self.is_empty());
        pool.get_mut(handle).next = NONE;
        self.head = handle;
        self.tail = handle;
        self.length = 1;
    }

    /// Puts so many requests at the end, all those of a row, which ends.
    #[inline(always)]
    pub fn push_row(&mut self, row: Row, count: u32, pool: &mut Requests) {
        self.append(row.first(), row.last(), pool);
        self.length += count;
        pool.end_row(row);
    }

    /// Puts a mark at the end: requests may be hidden here. `handle` is an empty request of the pool that stands for it.
    pub fn mark(&mut self, handle: u32, stretch: Stretch, pool: &mut Requests) {
        pool.get_mut(handle).make_mark(stretch);
        self.push(handle, pool);
        self.marks += 1;
    }

    /// Takes the first one, which may be a mark; it is the caller's to give back.
    #[inline]
    pub fn pop(&mut self, pool: &Requests) -> Option<u32> {
        let handle = self.head()?;
        let request = pool.get(handle);
        self.pop_request(request);
        self.marks -= u32::from(request.is_mark());
        Some(handle)
    }

    /// Takes the first one, which is this request; where it is a mark, that is not noted.
    #[inline(always)]
    pub fn pop_request(&mut self, first: &Request) {
        self.head = first.next;
        self.length -= 1;
        self.first += 1;
    }

    /// So many were taken, each the first one, of which none is a mark; now `next` is the first one, or there is none.
    #[inline(always)]
    pub fn pop_row(&mut self, count: u32, next: u32) {
        self.head = next;
        self.length -= count;
        self.first += u64::from(count);
    }

    /// The one behind another.
    #[inline]
    pub fn after(&self, handle: u32, pool: &Requests) -> Option<u32> {
        let next = pool.get(handle).next;
        (next != NONE).then_some(next)
    }

    /// All elements with their positions, from the first on.
    pub fn iter<'a>(&self, pool: &'a Requests) -> impl Iterator<Item = (u64, &'a Request)> + use<'a> {
        let (mut handle, mut position) = (self.head, self.first);
        std::iter::from_fn(move || {
            (handle != NONE).then(|| {
                let request = pool.get(handle);
                handle = request.next;
                position += 1;
                (position - 1, request)
            })
        })
    }

    /// The newest request that ends at or before `acknowledged`: what its client had received when it sent it, and the
    /// position of the first of those that it sent together, having received as much. `None` if it is not known which that is:
    /// a mark stands before it.
    pub fn newest(&self, acknowledged: Offset, pool: &Requests) -> Option<(Offset, u64)> {
        let mut group: Option<(Offset, u64)> = None;
        let (mut is_known, mut behind_mark) = (true, false);
        for (position, request) in self.iter(pool) {
            if request.is_mark() {
                behind_mark = true;
                continue;
            }
            if request.end > acknowledged {
                break;
            }
            if behind_mark || group.is_none_or(|(received, _)| received != request.received) {
                group = Some((request.received, position));
                is_known = !behind_mark;
            }
            behind_mark = false;
        }
        group.filter(|_| is_known && !behind_mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut Queue, pool: &mut Requests, end: u64, received: u64) {
        let handle = pool.take().unwrap();
        pool.get_mut(handle).end = Offset(end);
        pool.get_mut(handle).received = Offset(received);
        queue.push(handle, pool);
    }

    #[test]
    fn positions_count_on_whatever_is_taken() {
        let (mut queue, mut pool) = (Queue::default(), Requests::new(16));
        for n in 1..=3 {
            push(&mut queue, &mut pool, n * 10, 0);
        }
        let first = queue.pop(&pool).unwrap();
        pool.give_back(first);
        assert_eq!((queue.first(), queue.end(), queue.len()), (1, 3, 2));
        let found: Vec<_> = queue.iter(&pool).map(|(position, request)| (position, request.end.0)).collect();
        assert_eq!(found, [(1, 20), (2, 30)]);
    }

    #[test]
    fn rows_come_and_go_as_single_requests_do() {
        let (mut queue, mut pool) = (Queue::default(), Requests::new(16));
        push(&mut queue, &mut pool, 1, 0);
        for ends in [2..=2, 3..=6] {
            let mut row = pool.begin_row();
            let count = ends.clone().count() as u32;
            ends.for_each(|end| pool.take_next(&mut row).unwrap().end = Offset(end));
            queue.push_row(row, count, &mut pool);
        }
        push(&mut queue, &mut pool, 7, 0);
        let told = |queue: &Queue, pool: &Requests| -> Vec<(u64, u64)> {
            queue.iter(pool).map(|(position, request)| (position, request.end.0)).collect()
        };
        assert_eq!(told(&queue, &pool), (1..=7).map(|end| (end - 1, end)).collect::<Vec<_>>());
        // The first four are answered.
        let first = queue.head_or_none();
        let handles = std::iter::successors(Some(first), |&handle| queue.after(handle, &pool));
        let answered: Vec<u32> = handles.take(4).collect();
        queue.pop_row(4, pool.get(answered[3]).next());
        for handle in answered {
            pool.give_back(handle);
        }
        assert_eq!((queue.first(), queue.end(), queue.len(), pool.in_use()), (4, 7, 3, 3));
        assert_eq!(told(&queue, &pool), [(4, 5), (5, 6), (6, 7)]);
        // All the others, and one comes again.
        while let Some(handle) = queue.pop(&pool) {
            pool.give_back(handle);
        }
        push(&mut queue, &mut pool, 8, 0);
        assert_eq!((told(&queue, &pool), pool.in_use(), pool.made()), (vec![(7, 8)], 1, 7));
    }

    #[test]
    fn the_newest_group_is_what_was_sent_with_the_same_knowledge() {
        let (mut queue, mut pool) = (Queue::default(), Requests::new(16));
        for (end, received) in [(10, 0), (20, 5), (30, 5), (40, 7)] {
            push(&mut queue, &mut pool, end, received);
        }
        assert_eq!(queue.newest(Offset(9), &pool), None);
        assert_eq!(queue.newest(Offset(10), &pool), Some((Offset(0), 0)));
        assert_eq!(queue.newest(Offset(35), &pool), Some((Offset(5), 1)));
        assert_eq!(queue.newest(Offset(40), &pool), Some((Offset(7), 3)));
    }

    #[test]
    fn a_stretch_holds_no_more_requests_than_its_bytes_allow() {
        let stretch = Stretch {
            from: Offset(100),
            to: Offset(135),
            may_be_inline: false,
            earlier: 0,
            is_rest: false,
            is_answered: false,
            holds_one: false,
        };
        assert_eq!((stretch.replies_max(Offset(100)), stretch.replies_max(Offset(119))), (0, 1));
        assert_eq!((stretch.replies_max(Offset(999)), stretch.may_silence()), (3, false));
        let stretch = Stretch { to: Offset(136), may_be_inline: true, earlier: 7, ..stretch };
        assert_eq!((stretch.replies_max(Offset(136)), stretch.may_silence()), (7 + 18, true));
    }

    const REST: Stretch = Stretch {
        from: Offset(10),
        to: Offset(15),
        may_be_inline: false,
        earlier: 0,
        is_rest: true,
        is_answered: false,
        holds_one: false,
    };

    fn mark(queue: &mut Queue, pool: &mut Requests) {
        let handle = pool.take().unwrap();
        queue.mark(handle, REST, pool);
    }

    #[test]
    fn which_is_the_newest_group_is_not_known_where_a_mark_stands_before_it() {
        let (mut queue, mut pool) = (Queue::default(), Requests::new(16));
        push(&mut queue, &mut pool, 10, 0);
        mark(&mut queue, &mut pool);
        for (end, received) in [(20, 0), (30, 0), (40, 7)] {
            push(&mut queue, &mut pool, end, received);
        }
        let newest = [10, 20, 30, 40].map(|acknowledged| queue.newest(Offset(acknowledged), &pool));
        assert_eq!(newest, [None, None, None, Some((Offset(7), 4))]);
    }

    #[test]
    fn only_the_mark_that_is_first_is_told_of_an_answer_and_with_others_behind_it_is_not_all() {
        let (mut queue, mut pool) = (Queue::default(), Requests::new(16));
        mark(&mut queue, &mut pool);
        assert!(!queue.is_only_rest(&pool));
        queue.answered(&mut pool);
        assert!(queue.is_only_rest(&pool));
        mark(&mut queue, &mut pool);
        queue.answered(&mut pool);
        assert!(!queue.is_only_rest(&pool));
        let answered = queue.iter(&pool).map(|(_, request)| request.stretch().unwrap().is_answered);
        assert_eq!(answered.collect::<Vec<_>>(), [true, false]);
    }
}
