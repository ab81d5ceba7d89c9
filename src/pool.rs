//! A bounded pool of reusable items, addressed by 32-bit handles.
//!
//! Items are made on first use, never dropped before the pool, and given out again as they were left (buffers keep their
//! capacity), last returned first, so that a busy worker stays in its cache and allocates nothing after warm-up.
//! `take` answers `None` at the bound. Handles are our own state: a handle that is used after `give_back` is a bug, and
//! debug builds catch it.

use crate::huge::{self, LARGE_BYTES};

/// The handle of nothing.
pub const NONE: u32 = u32::MAX;

/// A bounded pool of `T`.
#[derive(Debug)]
pub struct Pool<T> {
    items: Vec<T>,
    free: Vec<u32>,
    capacity: u32,
    #[cfg(debug_assertions)]
    taken: Vec<bool>,
}

impl<T> Pool<T> {
    /// Items from which on they are in huge pages.
    const LARGE: usize = LARGE_BYTES / size_of::<T>();

    /// A pool of at most `capacity` items.
    pub fn new(capacity: u32) -> Pool<T> {
        let capacity = capacity.min(NONE - 1);
        Pool {
            items: Vec::new(),
            free: Vec::new(),
            capacity,
            #[cfg(debug_assertions)]
            taken: Vec::new(),
        }
    }

    /// An item that nobody holds, as its last holder left it, or a new one from `make`; `None` at the bound.
    #[inline(always)]
    pub fn take(&mut self, make: impl FnOnce() -> T) -> Option<u32> {
        let handle = match self.free.pop() {
            Some(handle) => handle,
            None => self.make(make)?,
        };
        #[cfg(debug_assertions)]
        {
            self.taken.resize(self.items.len(), false);
            assert!(!std::mem::replace(&mut self.taken[handle as usize], true), "pool item {handle} taken twice");
        }
        Some(handle)
    }

    /// One more item.
    #[cold]
    fn make(&mut self, make: impl FnOnce() -> T) -> Option<u32> {
        let handle = self.items.len() as u32;
        if handle >= self.capacity {
            return None;
        }
        self.grow();
        self.items.push(make());
        Some(handle)
    }

    /// Makes room for one more item, the first time for all that there may be: memory that was never touched costs nothing, and
    /// items that move to a larger place take long, in which packets are lost, and leave as much behind as they need.
    #[inline]
    fn grow(&mut self) {
        let length = self.items.len();
        if length == self.items.capacity() {
            self.items.reserve_exact(self.capacity as usize);
            // All of them may be given back at once, which is no time to allocate.
            self.free.reserve_exact(self.capacity as usize);
            #[cfg(debug_assertions)]
            self.taken.reserve_exact(self.capacity as usize);
        }
        if length == Self::LARGE {
            huge::ask_for(&self.items);
        }
    }

    /// Returns an item to the pool.
    #[inline]
    pub fn give_back(&mut self, handle: u32) {
        #[cfg(debug_assertions)]
        assert!(std::mem::replace(&mut self.taken[handle as usize], false), "pool item {handle} given back twice");
        self.free.push(handle);
    }

    /// The item behind a handle.
    #[inline]
    pub fn get(&self, handle: u32) -> &T {
        #[cfg(debug_assertions)]
        assert!(self.taken[handle as usize], "pool item {handle} read after it was given back");
        &self.items[handle as usize]
    }

    /// The item behind a handle, to change.
    #[inline]
    pub fn get_mut(&mut self, handle: u32) -> &mut T {
        #[cfg(debug_assertions)]
        assert!(self.taken[handle as usize], "pool item {handle} changed after it was given back");
        &mut self.items[handle as usize]
    }

    /// An item, whether or not somebody holds it. For sweeps over all handles below [`Pool::span`].
    pub fn peek(&self, handle: u32) -> &T {
        &self.items[handle as usize]
    }

    /// The same, if it was ever made.
    #[inline(always)]
    pub fn find(&self, handle: u32) -> Option<&T> {
        self.items.get(handle as usize)
    }

    /// All items that were ever made, by their handles.
    #[inline(always)]
    pub fn all(&self) -> &[T] {
        &self.items
    }

    /// The same, to change.
    #[inline(always)]
    pub fn find_mut(&mut self, handle: u32) -> Option<&mut T> {
        self.items.get_mut(handle as usize)
    }

    /// Items held by somebody at the moment.
    #[inline]
    pub fn in_use(&self) -> u32 {
        (self.items.len() - self.free.len()) as u32
    }

    /// Items ever made; they stay until the pool is dropped.
    pub fn made(&self) -> u32 {
        self.items.len() as u32
    }

    /// Items that may yet be taken.
    #[inline]
    pub fn left(&self) -> u32 {
        self.capacity - self.in_use()
    }

    /// The bound.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Number of handles that may be in use: every handle is below this. For sweeps over all items.
    pub fn span(&self) -> u32 {
        self.items.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_out_the_last_returned_item_first_and_stops_at_its_bound() {
        let mut pool: Pool<Vec<u8>> = Pool::new(2);
        let first = pool.take(Vec::new).unwrap();
        let second = pool.take(Vec::new).unwrap();
        assert_eq!(pool.take(Vec::new), None);
        pool.get_mut(second).extend_from_slice(b"kept");
        pool.give_back(second);
        assert_eq!(pool.in_use(), 1);
        assert_eq!(pool.take(|| unreachable!("a returned item is used first")), Some(second));
        assert_eq!(pool.get(second), b"kept");
        assert_ne!(first, second);
    }

    #[test]
    fn giving_back_needs_no_memory() {
        let mut pool: Pool<u8> = Pool::new(100);
        let handles: Vec<u32> = std::iter::from_fn(|| pool.take(|| 0)).collect();
        let room = pool.free.capacity();
        for handle in handles {
            pool.give_back(handle);
        }
        assert_eq!((pool.free.len(), pool.free.capacity()), (100, room));
    }

    #[test]
    fn a_pool_of_which_much_is_in_use_is_in_huge_pages() {
        use crate::huge::tests::were_asked_for;

        let items = LARGE_BYTES / 1024;
        let mut pool: Pool<[u64; 128]> = Pool::new(32 * items as u32);
        for _ in 0..items {
            pool.take(|| [7; 128]);
        }
        assert!(!were_asked_for(pool.get(0)));
        pool.take(|| [7; 128]);
        assert!(were_asked_for(pool.get(0)));
        assert!((0..=items as u32).all(|handle| *pool.get(handle) == [7; 128]));
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    #[cfg(debug_assertions)]
    fn a_double_return_is_caught() {
        let mut pool: Pool<u8> = Pool::new(2);
        let handle = pool.take(|| 0).unwrap();
        pool.give_back(handle);
        pool.give_back(handle);
    }
}
