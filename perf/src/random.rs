//! Random numbers that are the same in every run (`SplitMix64`): a seed is a whole scene.

/// A generator; its number is its seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `from` up to, not including, `to`.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.bits() % (to - from)
    }

    /// From 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True once in `1 / probability` times.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.within(0, from.len() as u64) as usize]
    }

    /// Within a range, all orders of magnitude of it equally likely.
    #[expect(clippy::cast_sign_loss, reason = "exp is never negative")]
    pub fn magnitude(&mut self, range: Span) -> u64 {
        let Span(least, most) = range;
        if least >= most {
            return least;
        }
        let (low, high) = ((least.max(1) as f64).ln(), (most as f64).ln());
        (low + self.unit() * (high - low)).exp() as u64
    }
}

/// A range of durations, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span(pub u64, pub u64);

/// A microsecond in nanoseconds.
pub const MICROSECOND: u64 = 1_000;
/// A millisecond in nanoseconds.
pub const MILLISECOND: u64 = 1_000_000;
/// A second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
