//! TCP sequence numbers: all arithmetic modulo 2³² in one place (RFC 9293, section 3.4).
//!
//! There is no subtraction and no order on [`Seq`], because there is none on a circle: only signed distances, and unwrapping
//! to the 64-bit [`Offset`] that lies nearest to a known one.

use crate::units::Offset;

/// A sequence or acknowledgement number as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// The number `n` further on.
    #[inline]
    #[must_use]
    pub fn after(self, n: u32) -> Seq {
        Seq(self.0.wrapping_add(n))
    }

    /// How far `self` lies beyond `from`: negative if it lies before, −2³¹ … 2³¹ − 1.
    #[inline]
    pub fn distance(self, from: Seq) -> i32 {
        self.0.wrapping_sub(from.0).cast_signed()
    }

    /// The offset with this sequence number that lies nearest to `near`.
    #[inline]
    pub fn unwrap_near(self, near: Offset) -> Offset {
        Offset(near.0.wrapping_add_signed(i64::from(self.distance(Seq::of(near)))))
    }

    /// An offset with this sequence number, to begin a stream with: far enough from 0 that nothing before it goes below.
    #[inline]
    pub fn first_offset(self) -> Offset {
        Offset((1 << 32) | u64::from(self.0))
    }

    /// The sequence number of an offset.
    #[inline]
    pub fn of(offset: Offset) -> Seq {
        Seq(offset.0 as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unwrapping_finds_every_offset_within_two_gibibytes(near in (1u64 << 32)..(1 << 62), step in -(1i64 << 31)..(1 << 31)) {
            let wanted = Offset(near.wrapping_add_signed(step));
            prop_assert_eq!(Seq::of(wanted).unwrap_near(Offset(near)), wanted);
        }

        #[test]
        fn distance_undoes_after(seq: u32, n in 0u32..(1 << 31)) {
            prop_assert_eq!(Seq(seq).after(n).distance(Seq(seq)), n.cast_signed());
        }
    }
}
