//! A worker's requests, a bounded number, used again and again.
//!
//! Which ones nobody holds is in a list, the last returned at its end, and first given out, so that a busy worker stays in its cache.
//! So of requests that are taken one after the other each knows when it is taken which come behind it, and is linked to them at once;
//! and nothing has to be read of a request that is taken, which may be in no cache.
//! A used one keeps its buffers, so nothing allocates after warm-up.
//! Handles are our own state: one that is used after it was given back is a bug, and debug builds catch it.

use crate::pool::{NONE, Pool};
use crate::prefetch::prefetch_lines_of_nth;

use super::request::Request;

/// Entries before all others in the list of those that nobody holds: what is behind its last two.
const NONE_BEHIND: usize = 2;

/// Requests that are taken one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    first: u32,
    /// The last one, or [`NONE`] as long as there is none.
    last: u32,
    /// Entries that are left of the list of those that nobody holds.
    free: usize,
}

impl Row {
    /// The first one that is taken.
    #[inline(always)]
    pub fn first(&self) -> u32 {
        self.first
    }

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
    /// Those that nobody holds, behind [`NONE_BEHIND`] entries that are [`NONE`]; there is room for all.
    free: Vec<u32>,
    /// Entries of the list, with these.
    free_count: usize,
    #[cfg(debug_assertions)]
    taken: Vec<bool>,
}

/// Takes back requests that are read meanwhile.
#[derive(Debug)]
pub struct Returned<'a> {
    free: &'a mut [u32],
    /// Entries of the list.
    count: usize,
}

impl Returned<'_> {
    /// One more, which will be no one's.
    #[inline(always)]
    pub fn add(&mut self, handle: u32) {
        debug_assert!(self.count < self.free.len(), "there is room for all");
        if let Some(place) = self.free.get_mut(self.count) {
            *place = handle;
            self.count += 1;
        }
    }

    /// Entries of the list now, for [`Requests::end_return`].
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Requests {
    /// At most so many.
    pub fn new(capacity: u32) -> Requests {
        let made = Pool::new(capacity);
        // Zeros cost no memory until they are written over.
        let mut free = vec![0; made.capacity() as usize + NONE_BEHIND];
        free[..NONE_BEHIND].fill(NONE);
        Requests {
            made,
            free,
            free_count: NONE_BEHIND,
            #[cfg(debug_assertions)]
            taken: Vec::new(),
        }
    }

    /// A request that nobody holds, as its last holder left it, or a new one; `None` at the bound.
    #[inline(always)]
    pub fn take(&mut self) -> Option<u32> {
        let handle = match self.free.get(self.free_count - 1) {
            Some(&handle) if handle != NONE => {
                self.free_count -= 1;
                handle
            }
            _ => self.make(NONE)?,
        };
        self.note_taken(handle);
        Some(handle)
    }

    /// Begins to take requests one after the other, each of which will be linked to the next. Meanwhile none may be taken otherwise, or
    /// given back.
    #[inline(always)]
    pub fn begin_row(&self) -> Row {
        let first = match self.free[self.free_count - 1] {
            NONE => self.made.made(),
            first => first,
        };
        Row { first, last: NONE, free: self.free_count }
    }

    /// Takes one more, to whose links nothing may be done; `None` at the bound.
    #[inline(always)]
    pub fn take_next(&mut self, row: &mut Row) -> Option<&mut Request> {
        let Some(&[ahead, next, handle]) = self.free.get(row.free.wrapping_sub(3)..row.free) else {
            return self.make_next(row);
        };
        self.note_taken(handle);
        let request = self.made.find_mut(handle)?;
        (row.last, row.free) = (handle, row.free - 1);
        (request.ahead, request.next) = (ahead, next);
        Some(request)
    }

    /// The same where all that were made are taken.
    #[cold]
    #[inline(never)]
    fn make_next(&mut self, row: &mut Row) -> Option<&mut Request> {
        row.last = self.make(row.last)?;
        self.note_taken(row.last);
        let request = self.made.find_mut(row.last)?;
        (request.ahead, request.next) = (NONE, NONE);
        Some(request)
    }

    /// No more are taken. At least one was.
    #[inline(always)]
    pub fn end_row(&mut self, row: Row) {
        self.free_count = row.free;
        if let Some(last) = self.made.find_mut(row.last) {
            last.next = NONE;
        }
    }

    #[inline(always)]
    fn note_taken(&mut self, handle: u32) {
        #[cfg(debug_assertions)]
        {
            self.taken.resize(self.made.made() as usize, false);
            assert!(!std::mem::replace(&mut self.taken[handle as usize], true), "request {handle} taken twice");
        }
        #[cfg(not(debug_assertions))]
        let _ = handle;
    }

    /// A new one, to which the one before is linked, if there is one.
    #[cold]
    #[inline(never)]
    fn make(&mut self, before: u32) -> Option<u32> {
        let handle = self.made.take(Request::new)?;
        if let Some(before) = self.made.find_mut(before) {
            before.next = handle;
        }
        Some(handle)
    }

    /// Returns a request.
    #[inline(always)]
    pub fn give_back(&mut self, handle: u32) {
        let (_, mut returned) = self.begin_return();
        returned.add(handle);
        let count = returned.count();
        self.end_return(count);
    }

    /// All requests, to be read, while some of them are returned.
    #[inline(always)]
    pub fn begin_return(&mut self) -> (&Pool<Request>, Returned<'_>) {
        (&self.made, Returned { free: &mut self.free, count: self.free_count })
    }

    /// Those were returned with which the list has so many entries.
    #[inline(always)]
    pub fn end_return(&mut self, count: usize) {
        #[cfg(debug_assertions)]
        for &handle in &self.free[self.free_count..count] {
            assert!(std::mem::replace(&mut self.taken[handle as usize], false), "request {handle} given back twice");
        }
        self.free_count = count;
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
        self.made.made() - (self.free_count - NONE_BEHIND) as u32
    }

    /// Requests ever made; they stay.
    pub fn made(&self) -> u32 {
        self.made.made()
    }

    /// Requests that may yet be taken.
    #[inline]
    pub fn left(&self) -> u32 {
        self.capacity() - self.in_use()
    }

    /// The same while a row is taken.
    pub fn left_by(&self, row: Row) -> u32 {
        self.capacity() - self.made.made() + (row.free - NONE_BEHIND) as u32
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

    fn give_back(requests: &mut Requests, handles: &[u32]) {
        let (_, mut returned) = requests.begin_return();
        for &handle in handles {
            returned.add(handle);
        }
        let count = returned.count();
        requests.end_return(count);
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
        give_back(&mut requests, &[first, second]);
        assert_eq!([requests.take(), requests.take(), requests.take()], [Some(second), Some(first), None]);
    }

    /// Takes so many one after the other.
    fn take_row(requests: &mut Requests, count: usize) -> Vec<u32> {
        let mut taking = requests.begin_row();
        let left = requests.left();
        let taken = (1..=count as u32).map(|taken| {
            requests.take_next(&mut taking).unwrap();
            assert_eq!(requests.left_by(taking), left - taken);
            taking.last()
        });
        let taken: Vec<u32> = taken.collect();
        requests.end_row(taking);
        assert_eq!((taking.first(), row(requests, taken[0])), (taken[0], taken.clone()));
        taken
    }

    #[test]
    fn those_taken_one_after_the_other_are_linked_whether_they_are_used_or_new() {
        let mut requests = Requests::new(8);
        let taken = take_row(&mut requests, 3);
        give_back(&mut requests, &taken);
        assert_eq!((requests.in_use(), requests.left(), requests.made()), (0, 8, 3));
        // The three again, and two new ones.
        let again = take_row(&mut requests, 5);
        let reversed: Vec<u32> = taken.into_iter().rev().collect();
        assert_eq!((&again[..3], requests.in_use(), requests.made()), (&reversed[..], 5, 5));
        assert_eq!(requests.get(again[0]).ahead, again[2]);
        give_back(&mut requests, &[again[1], again[4]]);
        assert_eq!(take_row(&mut requests, 1), again[4..]);
        assert_eq!((requests.take(), requests.in_use()), (Some(again[1]), 5));
    }

    #[test]
    fn at_the_bound_a_row_ends() {
        let mut requests = Requests::new(2);
        let mut row = requests.begin_row();
        assert!(requests.take_next(&mut row).is_some() && requests.take_next(&mut row).is_some());
        let last = row.last();
        assert!(requests.take_next(&mut row).is_none());
        assert_eq!(row.last(), last);
        requests.end_row(row);
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
}
