//! Huge pages under large arrays that are read at random: in pages of 4 KiB nearly each access to one of them is one to the page
//! tables as well, and asking for its memory ahead does not hide that.
//!
//! A hint (madvise(2), `MADV_HUGEPAGE`), which Linux follows if `/sys/kernel/mm/transparent_hugepage/enabled` is `madvise` or
//! `always`. Memory is still taken when it is first touched, but 2 MiB at a time. That is why it is asked for array by array, of
//! those that are used: not all that an allocator hands out is to grow like this.

#![allow(unsafe_code)]

/// An array of which so many bytes are in use is worth huge pages.
pub const LARGE_BYTES: usize = 512 << 10;
/// If it has room for so many: what huge pages take more than it uses is then within a budget that is made for as much.
const ROOM_BYTES: usize = 8 << 20;

/// Asks for huge pages under an array that will be as large as its capacity, those under what is in use included.
#[cold]
pub fn ask_for<T>(array: &Vec<T>) {
    if array.capacity() * size_of::<T>() >= ROOM_BYTES {
        ask_for_any(array);
    }
}

/// The same of one that has less room, but is beside others with which it has as much.
#[cold]
pub fn ask_for_any<T>(array: &Vec<T>) {
    #[cfg(test)]
    tests::ASKED.with_borrow_mut(|asked| asked.push(array.as_ptr().addr()));
    #[cfg(target_os = "linux")]
    {
        const HUGE_PAGE_BYTES: usize = 2 << 20;
        // Of the kernel's interface; the library does not have it.
        const MADV_COLLAPSE: libc::c_int = 25;
        // Whole huge pages: what else is in the first and the last one is backed like it.
        let skipped = array.as_ptr().addr() % HUGE_PAGE_BYTES;
        let begin = array.as_ptr().cast_mut().cast::<u8>().wrapping_sub(skipped);
        let whole = |items: usize| (skipped + items * size_of::<T>()).next_multiple_of(HUGE_PAGE_BYTES);
        // SAFETY: advice changes nothing that is in memory, and says nothing of where none is. It is no harm if it is refused, as by a
        // kernel that is older than the second one (Linux 6.1).
        unsafe {
            libc::madvise(begin.cast(), whole(array.capacity()), libc::MADV_HUGEPAGE);
            libc::madvise(begin.cast(), whole(array.len()), MADV_COLLAPSE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = array;
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        /// Arrays that this thread asked for.
        pub(super) static ASKED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    /// Whether huge pages were asked for under the array that begins with this item. (Linux is no witness of that: what an allocator
    /// hands out may have been another array's before.)
    pub(crate) fn were_asked_for<T>(first: &T) -> bool {
        ASKED.with_borrow(|asked| asked.contains(&std::ptr::from_ref(first).addr()))
    }

    /// What the mapping that an address is in is for, as Linux has it in the line `VmFlags`.
    #[cfg(target_os = "linux")]
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
    #[cfg(target_os = "linux")]
    fn linux_hears_where_huge_pages_are_wanted() {
        // A kernel that has none refuses, which is no harm.
        let has_any = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        let mut array: Vec<u64> = Vec::with_capacity(ROOM_BYTES / size_of::<u64>());
        array.extend(0..1000);
        ask_for(&array);
        for at in [0, 999, array.capacity() - 1] {
            let address = array.as_ptr().wrapping_add(at).addr();
            assert_eq!(flags_at(address).contains(&"hg".to_owned()), has_any, "{at}");
        }
        assert!(array.iter().copied().eq(0..1000));
    }

    #[test]
    fn of_an_array_that_has_less_room_nothing_is_said() {
        for (room, expected) in [(ROOM_BYTES - 1, false), (ROOM_BYTES, true)] {
            let mut array: Vec<u8> = Vec::with_capacity(room);
            array.push(1);
            ask_for(&array);
            assert_eq!(were_asked_for(&array[0]), expected, "{room}");
        }
    }
}
