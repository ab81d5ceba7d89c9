//! Numbers in either byte order. Pure; never panics on the positions that this module's callers name, which are constants
//! within arrays of known length.

/// The byte order of a file or section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The number at `at`, a constant.
    #[inline(always)]
    pub(super) fn u16<const N: usize>(self, bytes: &[u8; N], at: usize) -> u16 {
        let number = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if self == Order::Big { number.swap_bytes() } else { number }
    }

    /// The number at `at`, a constant.
    #[inline(always)]
    pub(super) fn u32<const N: usize>(self, bytes: &[u8; N], at: usize) -> u32 {
        let number = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if self == Order::Big { number.swap_bytes() } else { number }
    }

    /// The number in eight bytes.
    pub(super) fn u64(self, bytes: [u8; 8]) -> u64 {
        if self == Order::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }
}
