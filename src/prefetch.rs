//! The one intrinsic: a hint to bring something into the cache before it is needed.

#![allow(unsafe_code)]

/// Bytes of a cache line.
pub const LINE_BYTES: usize = 64;

/// Asks for the first cache line of `values[index]`; if there is no such value, for whatever is there.
#[inline(always)]
pub fn prefetch_nth<T>(values: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address neither reads nor faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(index).cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, index);
}

/// Asks for the first cache lines of `values[index]`, so many; if there is no such value, for whatever is there.
#[inline(always)]
pub fn prefetch_lines_of_nth<T, const LINES: usize>(values: &[T], index: usize) {
    const { assert!((LINES - 1) * LINE_BYTES < size_of::<T>()) };
    #[cfg(target_arch = "x86_64")]
    for line in 0..LINES {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = values.as_ptr().wrapping_add(index).cast::<i8>();
        // SAFETY: a prefetch of any address neither reads nor faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(LINE_BYTES * line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, index);
}

/// Asks for the cache lines that `values[index]` begins with, of so many bytes; if there is no such value, for whatever is there.
#[inline(always)]
pub fn prefetch_begin_of_nth<T>(values: &[T], index: usize, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = values.as_ptr().wrapping_add(index).cast::<i8>();
        let mut offset = 0;
        while offset + LINE_BYTES < bytes {
            // SAFETY: a prefetch of any address neither reads nor faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(offset)) };
            offset += LINE_BYTES;
        }
        // Wherever in a line it begins, that is where it ends.
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(bytes.saturating_sub(1))) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, index, bytes);
}

/// Asks for all cache lines of some bytes that hold several messages, each of which is read where it begins and ends.
#[inline(never)]
pub fn prefetch_bytes(bytes: &[u8]) {
    for at in (0..bytes.len()).step_by(LINE_BYTES) {
        prefetch_nth(bytes, at);
    }
}

/// Asks for all cache lines of some bytes that will be read after some others: into the second cache, as what comes meanwhile would
/// not leave them in the first one.
#[inline(never)]
pub fn prefetch_bytes_early(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes.len()).step_by(LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch of any address neither reads nor faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(at).cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Asks for the first cache lines of `value`, so many.
#[inline(always)]
pub fn prefetch_lines<T, const LINES: usize>(value: &T) {
    const { assert!((LINES - 1) * 64 < size_of::<T>()) };
    #[cfg(target_arch = "x86_64")]
    for line in 0..LINES {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address neither reads nor faults; this one lies inside `value`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().add(64 * line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Asks for the cache lines of `value`. Changes nothing but when they arrive; a no-op where the processor has no such hint.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(value).cast::<i8>();
        let mut offset = 0;
        while offset < size_of::<T>() {
            // SAFETY: a prefetch of any address neither reads nor faults; this one lies inside `value`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.add(offset)) };
            offset += 64;
        }
        if align_of::<T>() < 64 && size_of::<T>() > align_of::<T>() {
            // It need not begin with a line; then it ends in one more.
            // SAFETY: as above, its last byte.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.add(size_of::<T>() - 1)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
