//! A worker's requests, a bounded number, used again and again.
//!
//! Those that nobody holds are linked to one another like those of a queue. So requests that are taken one after the other are
//! linked in that order already, and those that were answered one after the other are given back together. Last returned first, so
//! that a busy worker stays in its cache; a used one keeps its buffers, so nothing allocates after warm-up.
//! Handles are our own state: one that is used after it was given back is a bug, and debug builds catch it.

use crate::pool::{NONE, Pool};
use crate::prefetch::prefetch_lines_of_nth;

use super::request::Request;

/// Requests that are taken one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The last one, or [`NONE`] as long as there is none.
    last: u32,
    /// The next one, if it is not new.
    next: u32,
}

impl Row {
    /// The last one that was taken.
    #[inline(always)]
    pub fn last(&self) -> u32 {
        self.last
    }
}

/// Requests, by 32-bit handles.
#[derive(Debug)]
pub struct Requests {
    /// All that were ever made: none is given back there.
    made: Pool<Request>,
    /// The first of those that nobody holds.
    free: u32,
    in_use: u32,
    #[cfg(debug_assertions)]
    taken: Vec<bool>,
}

impl Requests {
    /// At most so many.
    pub fn new(capacity: u32) -> Requests {
        Requests {
            made: Pool::new(capacity),
            free: NONE,
            in_use: 0,
            #[cfg(debug_assertions)]
            taken: Vec::new(),
        }
    }

    /// A request that nobody holds, as its last holder left it, or a new one; `None` at the bound.
    #[inline(always)]
    pub fn take(&mut self) -> Option<u32> {
        let mut row = self.begin_row();
        self.take_next(&mut row)?;
        self.note_taken(row, 1);
        Some(row.last)
    }

    /// Begins to take requests one after the other, each of which will be linked to the next. Meanwhile none may be taken otherwise, or
    /// given back.
    #[inline(always)]
    pub fn begin_row(&self) -> Row {
        Row { last: NONE, next: self.free }
    }

    /// Takes one more, to whose link nothing may be done; `None` at the bound.
    #[inline(always)]
    pub fn take_next(&mut self, row: &mut Row) -> Option<&mut Request> {
        let handle = if self.made.find(row.next).is_some() { row.next } else { self.make(*row)? };
        let request = self.made.find_mut(handle)?;
        *row = Row { last: handle, next: request.next };
        Some(request)
    }

    /// So many have been taken, at least one.
    #[inline(always)]
    pub fn end_row(&mut self, row: Row, count: u32) {
        self.note_taken(row, count);
        if let Some(last) = self.made.find_mut(row.last) {
            last.next = NONE;
        }
    }

    #[inline(always)]
    fn note_taken(&mut self, row: Row, count: u32) {
        #[cfg(debug_assertions)]
        {
            self.taken.resize(self.made.made() as usize, false);
            let mut handle = self.first_of_row();
            for number in 1..=count {
                assert!(!std::mem::replace(&mut self.taken[handle as usize], true), "request {handle} taken twice");
                assert_eq!(handle == row.last, number == count, "a row of {count} ends with its last one");
                handle = self.made.get(handle).next;
            }
        }
        self.free = row.next;
        self.in_use += count;
    }

    /// The next one, which is new.
    #[cold]
    #[inline(never)]
    fn make(&mut self, row: Row) -> Option<u32> {
        let handle = self.made.take(Request::new)?;
        match self.made.find_mut(row.last) {
            Some(last) => last.next = handle,
            None => self.free = handle,
        }
        Some(handle)
    }

    /// The first one of the row that is being taken, if there is one.
    #[inline(always)]
    pub fn first_of_row(&self) -> u32 {
        self.free
    }

    /// Returns a request.
    #[inline(always)]
    pub fn give_back(&mut self, handle: u32) {
        self.give_back_row(handle, handle, 1);
    }

    /// Returns so many requests, at least one, each of which is linked to the next.
    #[inline(always)]
    pub fn give_back_row(&mut self, first: u32, last: u32, count: u32) {
        #[cfg(debug_assertions)]
        {
            let mut handle = first;
            for number in 1..=count {
                assert!(
                    std::mem::replace(&mut self.taken[handle as usize], false),
                    "request {handle} given back twice"
                );
                assert_eq!(handle == last, number == count, "a row of {count} ends with its last one");
                handle = self.made.get(handle).next;
            }
        }
        if let Some(last) = self.made.find_mut(last) {
            last.next = self.free;
            self.free = first;
            self.in_use -= count;
        }
    }

    /// The request behind a handle.
    #[inline]
    pub fn get(&self, handle: u32) -> &Request {
        #[cfg(debug_assertions)]
        assert!(self.taken[handle as usize], "request {handle} read after it was given back");
        self.made.get(handle)
    }

    /// The request behind a handle, to change.
    #[inline]
    pub fn get_mut(&mut self, handle: u32) -> &mut Request {
        #[cfg(debug_assertions)]
        assert!(self.taken[handle as usize], "request {handle} changed after it was given back");
        self.made.get_mut(handle)
    }

    /// A request, whether or not somebody holds it, if it was ever made.
    #[inline(always)]
    pub fn find(&self, handle: u32) -> Option<&Request> {
        self.made.find(handle)
    }

    /// The same, to change.
    #[inline(always)]
    pub fn find_mut(&mut self, handle: u32) -> Option<&mut Request> {
        self.made.find_mut(handle)
    }

    /// Asks for the memory of a request; if there is no such, for whatever is there.
    #[inline(always)]
    pub fn prefetch(&self, handle: u32) {
        prefetch_lines_of_nth::<_, 2>(self.made.all(), handle as usize);
    }

    /// Requests held by somebody at the moment.
    #[inline]
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Requests ever made; they stay.
    pub fn made(&self) -> u32 {
        self.made.made()
    }

    /// Requests that may yet be taken.
    #[inline]
    pub fn left(&self) -> u32 {
        self.capacity() - self.in_use
    }

    /// The bound.
    pub fn capacity(&self) -> u32 {
        self.made.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a request on, as they are linked.
    fn row(requests: &Requests, first: u32) -> Vec<u32> {
        let next = |&handle: &u32| requests.find(handle).map(|request| request.next).filter(|&next| next != NONE);
        std::iter::successors(Some(first), next).collect()
    }

    #[test]
    fn the_last_returned_one_is_given_out_first_up_to_the_bound() {
        let mut requests = Requests::new(2);
        let first = requests.take().unwrap();
        let second = requests.take().unwrap();
        assert_eq!((requests.take(), requests.left(), requests.made()), (None, 0, 2));
        requests.get_mut(second).index = 7;
        requests.give_back(second);
        assert_eq!((requests.in_use(), requests.left()), (1, 1));
        assert_eq!(requests.take(), Some(second));
        assert_eq!(requests.get(second).index, 7);
        requests.give_back(first);
        requests.give_back(second);
        assert_eq!([requests.take(), requests.take()], [Some(second), Some(first)]);
    }

    /// Takes so many one after the other.
    fn take_row(requests: &mut Requests, count: u32) -> Vec<u32> {
        let mut row = requests.begin_row();
        let taken = (0..count).map(|_| {
            requests.take_next(&mut row).unwrap();
            row.last()
        });
        let taken: Vec<u32> = taken.collect();
        assert_eq!(requests.first_of_row(), taken[0]);
        requests.end_row(row, count);
        assert_eq!(self::row(requests, taken[0]), taken);
        taken
    }

    #[test]
    fn those_taken_one_after_the_other_are_linked_whether_they_are_used_or_new() {
        let mut requests = Requests::new(8);
        let taken = take_row(&mut requests, 3);
        requests.give_back_row(taken[0], taken[2], 3);
        assert_eq!((requests.in_use(), requests.left(), requests.made()), (0, 8, 3));
        // The three again, in their order, and two new ones.
        let again = take_row(&mut requests, 5);
        assert_eq!((&again[..3], requests.in_use(), requests.made()), (&taken[..], 5, 5));
        // Some of them, then the others, which are before them then.
        requests.give_back_row(again[0], again[1], 2);
        requests.give_back_row(again[2], again[4], 3);
        assert_eq!(row(&requests, requests.free), [&again[2..], &again[..2]].concat());
        assert_eq!(take_row(&mut requests, 2), again[2..4]);
    }

    #[test]
    fn at_the_bound_a_row_ends() {
        let mut requests = Requests::new(2);
        let mut row = requests.begin_row();
        assert!(requests.take_next(&mut row).is_some() && requests.take_next(&mut row).is_some());
        let last = row.last();
        assert!(requests.take_next(&mut row).is_none());
        assert_eq!(row.last(), last);
        requests.end_row(row, 2);
        assert_eq!((requests.left(), requests.take()), (0, None));
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    #[cfg(debug_assertions)]
    fn a_double_return_is_caught() {
        let mut requests = Requests::new(2);
        let handle = requests.take().unwrap();
        requests.give_back(handle);
        requests.give_back(handle);
    }

    #[test]
    #[should_panic(expected = "ends with its last one")]
    #[cfg(debug_assertions)]
    fn a_row_that_is_no_row_is_caught() {
        let mut requests = Requests::new(3);
        let [first, second] = [(); 2].map(|()| requests.take().unwrap());
        requests.get_mut(first).next = NONE;
        requests.give_back_row(first, second, 1);
    }
}
