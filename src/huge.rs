//! Huge pages under large arrays that are read at random: in pages of 4 KiB nearly each access to one of them is one to the page
//! tables as well, and asking for its memory ahead does not hide that.
//!
//! A hint (madvise(2), `MADV_HUGEPAGE`), which Linux follows if `/sys/kernel/mm/transparent_hugepage/enabled` is `madvise` or
//! `always`. Memory is still taken when it is first touched, but 2 MiB at a time. That is why it is asked for array by array, where
//! most of what it takes is in use: not all that an allocator hands out is to grow like this.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// An array of which so many bytes are in use may grow by huge pages: they are a quarter of it.
pub const LARGE_BYTES: usize = 8 << 20;

/// Asks for huge pages under the room of an array.
pub fn ask_for<T>(room: &mut [MaybeUninit<T>]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE_BYTES: usize = 4096;
        let skipped = room.as_ptr().cast::<u8>().align_offset(PAGE_BYTES);
        let whole = size_of_val(room).saturating_sub(skipped) / PAGE_BYTES * PAGE_BYTES;
        let begin = room.as_mut_ptr().cast::<u8>().wrapping_add(skipped);
        if whole > 0 {
            // SAFETY: the range lies within the array, and the advice changes nothing that is in it. It is no harm if it is refused.
            unsafe { libc::madvise(begin.cast(), whole, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = room;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What the mapping that an address is in is for, as Linux has it in the line `VmFlags`.
    fn flags_at(address: usize) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_it = false;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            if let Some((begin, end)) = first.split_once('-') {
                let [begin, end] = [begin, end].map(|number| usize::from_str_radix(number, 16).unwrap());
                is_it = (begin..end).contains(&address);
            } else if first == "VmFlags:" && is_it {
                return words.map(str::to_owned).collect();
            }
        }
        panic!("nothing is mapped at {address:#x}");
    }

    #[test]
    fn linux_hears_where_huge_pages_are_wanted() {
        // A kernel that has none refuses, which is no harm.
        let has_any = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        let is_advised = |array: &Vec<u64>| {
            let middle = array.as_ptr() as usize + array.capacity() * size_of::<u64>() / 2;
            flags_at(middle).contains(&"hg".to_owned())
        };
        let mut array: Vec<u64> = Vec::with_capacity(LARGE_BYTES);
        assert!(!is_advised(&array));
        ask_for(array.spare_capacity_mut());
        assert_eq!(is_advised(&array), has_any);
        // Of one that has not a page nothing is said.
        ask_for(Vec::<u8>::with_capacity(100).spare_capacity_mut());
    }
}
