//! Huge pages under large arrays that are read at random: in pages of 4 KiB nearly each access to one of them is one to the page
//! tables as well.
//!
//! A hint (madvise(2), `MADV_HUGEPAGE`), which the system may not follow, and follows where it backs memory with huge pages for
//! those who ask (`/sys/kernel/mm/transparent_hugepage/enabled`). Memory is still taken when it is first touched, but 2 MiB at a
//! time; it is the array's own, so that no more of it is taken than the array has room for. That is why it is asked for array by
//! array: not all that an allocator hands out is to grow like this.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Arrays that have fewer bytes are left as they are: two of the pages.
const LARGE_BYTES: usize = 4 << 20;
/// The system's pages.
const PAGE_BYTES: usize = 4096;

/// Asks for huge pages under the room of an array.
pub fn ask_for<T>(room: &mut [MaybeUninit<T>]) {
    advise(room.as_mut_ptr().cast(), size_of_val(room));
}

/// Asks for huge pages under an array.
pub fn ask_for_under<T>(array: &mut [T]) {
    advise(array.as_mut_ptr().cast(), size_of_val(array));
}

/// Asks for huge pages under the whole pages of a range of memory that is ours.
fn advise(begin: *mut u8, bytes: usize) {
    if bytes < LARGE_BYTES {
        return;
    }
    let skipped = begin.align_offset(PAGE_BYTES);
    let whole = (bytes - skipped) / PAGE_BYTES * PAGE_BYTES;
    #[cfg(target_os = "linux")]
    // SAFETY: the range lies within an allocation, and the advice changes nothing that is in it. It is no harm if it is refused.
    unsafe {
        libc::madvise(begin.wrapping_add(skipped).cast(), whole, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = whole;
}
