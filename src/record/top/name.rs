//! Names of a table: short ones are kept beside their hashes, of long ones the beginning is.

use crate::limits::KEY_NAME_BYTES_MAX;

/// A name, or the beginning of a long one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    length: u8,
    is_cut: bool,
    bytes: [u8; KEY_NAME_BYTES_MAX],
}

const _: () = assert!(KEY_NAME_BYTES_MAX <= u8::MAX as usize);

impl Name {
    /// A name; `is_cut` if these bytes are its beginning only.
    pub fn new(name: &[u8], is_cut: bool) -> Name {
        let length = name.len().min(KEY_NAME_BYTES_MAX);
        let mut bytes = [0; KEY_NAME_BYTES_MAX];
        bytes[..length].copy_from_slice(&name[..length]);
        Name { length: length as u8, is_cut: is_cut || length < name.len(), bytes }
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Whether these are its beginning only.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// Room for a name.
pub type NameRoom = [u8; KEY_NAME_BYTES_MAX.next_power_of_two()];

/// How long a name is, at most [`KEY_NAME_BYTES_MAX`] bytes, and whether it is the beginning of a longer one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shape(u16);

impl Shape {
    /// Of no bytes.
    pub const EMPTY: Shape = Shape(0);

    const CUT: u16 = 0x100;

    /// Of a name.
    #[inline(always)]
    pub fn new(length: usize, is_cut: bool) -> Shape {
        Shape(length as u8 as u16 | u16::from(is_cut) << 8)
    }

    /// Bytes.
    #[inline(always)]
    pub fn length(self) -> usize {
        usize::from(self.0 as u8)
    }

    /// Whether it is the beginning of a longer one.
    #[inline(always)]
    pub fn is_cut(self) -> bool {
        self.0 & Self::CUT != 0
    }

    /// Of a whole name that is no longer than [`SHORT_BYTES`].
    #[inline(always)]
    pub fn is_short(self) -> bool {
        usize::from(self.0) <= SHORT_BYTES
    }
}

/// Names that have no more bytes are kept beside their hashes.
pub const SHORT_BYTES: usize = 16;

/// Whether two names are the same. Eight bytes at a time, none beyond their ends: the library's comparison reads 32, which may
/// lie in a cache line that was not asked for.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(end_of_a), Some(end_of_b)) => {
            let (chunks_of_a, chunks_of_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
            a.len() == b.len() && end_of_a == end_of_b && chunks_of_a.iter().zip(chunks_of_b).all(|(a, b)| a == b)
        }
        _ => a == b,
    }
}

#[inline(never)]
pub(super) fn is_long(a: &[u8], b: &[u8]) -> bool {
    same(a, b)
}
