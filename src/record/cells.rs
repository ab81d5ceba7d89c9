//! What a worker counts latencies in: the counts of an HdrHistogram, without all else.
//!
//! Each request goes into several of them, so a value's [`Place`] is found once and counting is one addition. Places are those of
//! HdrHistogram of as many digits; when they are told ([`Recording::told`]) they become one, the same that would have recorded
//! the values itself.

use crate::prefetch::prefetch_nth;

use super::histograms::{DIGITS, DIGITS_COARSE, Histogram, Parts, VALUE_NS_MAX};
use super::room::{Absorbing, Claim, Growing, Recording, Room, singles, sized};

/// Counts of values with three significant digits.
pub type Fine = Cells<DIGITS>;

/// Fine places of values that are told apart one by one.
const FINE_SINGLES: usize = singles(DIGITS) as usize;
/// Fine places that have one coarse place together.
const FINE_PER_COARSE: usize = FINE_SINGLES / singles(DIGITS_COARSE) as usize;
/// Octaves that the coarse places begin to share earlier.
const COARSE_EARLIER: usize = FINE_PER_COARSE.trailing_zeros() as usize;

/// The place of a value in histograms of so many significant digits.
#[inline(always)]
const fn place(digits: u8, value: u64) -> usize {
    let singles = singles(digits);
    // Values of as many bits as the last single one or fewer are not halved.
    let halvings = (singles - 1).leading_zeros() - (value | (singles - 1)).leading_zeros();
    halvings as usize * (singles as usize / 2) + (value >> halvings) as usize
}

/// The least value that has this place.
const fn value(digits: u8, place: usize) -> u64 {
    let half = singles(digits) as usize / 2;
    let halvings = (place / half).saturating_sub(1);
    ((place - halvings * half) as u64) << halvings
}

/// Where a value is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    fine: u32,
    coarse: u32,
}

impl Place {
    /// Of a value.
    #[inline(always)]
    pub fn of(value: u64) -> Place {
        if value == 0 { Place { fine: 0, coarse: 0 } } else { Place::of_any(value) }
    }

    /// Of a value that is hardly ever zero.
    #[inline(always)]
    pub fn of_any(value: u64) -> Place {
        let fine = place(DIGITS, value);
        // From the second half of the singles on a coarse place is a number of fine ones.
        let coarse = if fine >= FINE_SINGLES / 2 {
            fine / FINE_PER_COARSE + COARSE_EARLIER * (singles(DIGITS_COARSE) as usize / 2)
        } else {
            place(DIGITS_COARSE, value)
        };
        Place { fine: fine as u32, coarse: coarse as u32 }
    }
}

/// Counts by place.
#[derive(Clone, Debug)]
pub struct Cells<const DIGITS: u8> {
    /// For whole powers of two, but none beyond [`VALUE_NS_MAX`]; no more room than for these.
    counts: Vec<u64>,
}

impl<const D: u8> Cells<D> {
    /// Places of a power of two.
    const HALF: usize = singles(D) as usize / 2;
    /// The place of all values that are not told apart.
    const LAST: usize = place(D, VALUE_NS_MAX);

    /// Grows to so many times half of the singles.
    fn grow(&mut self, halves: usize) {
        let places = (halves * Self::HALF).min(Self::LAST + 1);
        self.counts.reserve_exact(places - self.counts.len());
        self.counts.resize(places, 0);
    }

    /// So many times half of the singles.
    fn halves(&self) -> usize {
        self.counts.len().div_ceil(Self::HALF)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.counts.fill(0);
    }

    #[inline(always)]
    fn at(place: Place) -> usize {
        (if D == DIGITS { place.fine } else { place.coarse }) as usize
    }

    /// The count of a place, if it has one already.
    #[inline(always)]
    pub fn count_mut(&mut self, place: Place) -> Option<&mut u64> {
        self.counts.get_mut(Self::at(place))
    }

    /// Asks for the memory of the count of a place; answers whether it has one already.
    #[inline(always)]
    pub fn prefetch(&self, place: Place) -> bool {
        prefetch_nth(&self.counts, Self::at(place));
        Self::at(place) < self.counts.len()
    }

    fn make_room(&mut self, at: usize, claim: Claim, room: &mut Room) -> bool {
        let (has, wants) = (self.halves(), at / Self::HALF + 1);
        if wants > has {
            if !room.take(((wants - has) * Self::HALF * size_of::<u64>()) as u64, claim) {
                return false;
            }
            self.grow(wants);
        }
        true
    }

    #[cold]
    #[inline(never)]
    fn record_larger(&mut self, at: usize, claim: Claim, room: &mut Room) -> bool {
        let at = at.min(Self::LAST);
        let has_room = self.make_room(at, claim, room);
        if has_room {
            self.counts[at] += 1;
        }
        has_room
    }
}

impl<const D: u8> Default for Cells<D> {
    fn default() -> Self {
        let mut cells = Cells { counts: Vec::new() };
        cells.grow(2);
        cells
    }
}

impl<const D: u8> Growing for Cells<D> {
    fn bytes(&self) -> u64 {
        (self.halves() * Self::HALF * size_of::<u64>()) as u64
    }
}

impl<const D: u8> Absorbing for Cells<D> {
    fn begin(_: &Self, claim: Claim, room: &mut Room) -> Option<Self> {
        Self::empty(claim, room)
    }

    fn add(&mut self, part: &Self, claim: Claim, room: &mut Room) -> bool {
        let used = part.counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        let has_room = self.make_room(used.saturating_sub(1), claim, room);
        if has_room {
            self.counts.iter_mut().zip(&part.counts[..used]).for_each(|(sum, count)| *sum += count);
        }
        has_room
    }
}

impl<const D: u8> Recording for Cells<D> {
    type Value = Place;
    type Told = Histogram;

    fn empty(claim: Claim, room: &mut Room) -> Option<Self> {
        let empty = Self::default();
        room.take(empty.bytes(), claim).then_some(empty)
    }

    #[inline(always)]
    fn record(&mut self, place: Place, claim: Claim, room: &mut Room) -> bool {
        match self.count_mut(place) {
            Some(count) => {
                *count += 1;
                true
            }
            None => self.record_larger(Self::at(place), claim, room),
        }
    }

    fn told(&self) -> Histogram {
        let mut histogram = sized(D, value(D, self.counts.len() - 1));
        for (at, &count) in self.counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            histogram.record_n(value(D, at), count).expect("it is as large");
        }
        histogram
    }
}

/// The parts of latencies: queue, server and transfer.
#[derive(Clone, Debug, Default)]
pub struct PartCells<const DIGITS: u8> {
    parts: [Cells<DIGITS>; 3],
    /// Zeros, which are not in the cells: most of the time nothing waits, and a reply fits into one segment.
    zeros: [u64; 3],
}

impl<const D: u8> PartCells<D> {
    /// Of one of the parts the count of a place, if it has one already.
    #[inline(always)]
    pub fn count_mut(&mut self, part: usize, place: Place) -> Option<&mut u64> {
        self.parts.get_mut(part)?.count_mut(place)
    }

    /// Whether each part has its place already.
    #[inline]
    pub fn has(&self, places: [Place; 3]) -> bool {
        self.parts.iter().zip(places).all(|(cells, place)| Cells::<D>::at(place) < cells.counts.len())
    }

    /// Counts a value in each part so many times, all of which have their places.
    #[inline]
    pub fn count(&mut self, places: [Place; 3], times: u32) {
        for ((cells, place), zeros) in self.parts.iter_mut().zip(places).zip(&mut self.zeros) {
            let count = if place.fine == 0 { Some(zeros) } else { cells.count_mut(place) };
            debug_assert!(count.is_some(), "there is a place");
            if let Some(count) = count {
                *count += u64::from(times);
            }
        }
    }

    /// Of each part so many zeros.
    pub fn add_zeros(&mut self, zeros: [u64; 3]) {
        self.zeros.iter_mut().zip(zeros).for_each(|(sum, zeros)| *sum += zeros);
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.parts.iter_mut().for_each(Cells::clear);
        self.zeros = [0; 3];
    }
}

impl<const D: u8> Growing for PartCells<D> {
    fn bytes(&self) -> u64 {
        self.parts.iter().map(Cells::bytes).sum()
    }
}

impl<const D: u8> Recording for PartCells<D> {
    type Value = [Place; 3];
    type Told = Parts;

    fn empty(claim: Claim, room: &mut Room) -> Option<Self> {
        let empty = Self::default();
        room.take(empty.bytes(), claim).then_some(empty)
    }

    #[inline(always)]
    fn record(&mut self, places: [Place; 3], claim: Claim, room: &mut Room) -> bool {
        for ((cells, place), zeros) in self.parts.iter_mut().zip(places).zip(&mut self.zeros) {
            if place.fine == 0 {
                *zeros += 1;
            } else if !cells.record(place, claim, room) {
                return false;
            }
        }
        true
    }

    fn told(&self) -> Parts {
        let mut told = self.parts.each_ref().map(Cells::told);
        for (part, &zeros) in told.iter_mut().zip(&self.zeros) {
            part.record_n(0, zeros).expect("zero is a value");
        }
        let [queue, server, transfer] = told;
        Parts { queue, server, transfer }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::histograms::histogram;
    use super::super::room::{bytes, record_always};
    use super::*;

    /// What the library makes of the same values.
    fn recorded(digits: u8, values: &[u64]) -> Histogram {
        let mut recorded = histogram(digits);
        for &value in values {
            recorded.record(value.min(VALUE_NS_MAX)).unwrap();
        }
        recorded
    }

    fn counted<const D: u8>(values: &[u64]) -> Histogram {
        let mut cells = Cells::<D>::default();
        for &value in values {
            record_always(&mut cells, Place::of(value));
        }
        cells.told()
    }

    fn check(values: &[u64]) {
        for (digits, told) in [(2, counted::<2>(values)), (3, counted::<3>(values))] {
            let recorded = recorded(digits, values);
            let counts = |histogram: &Histogram| -> Vec<_> {
                histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
            };
            assert_eq!(counts(&told), counts(&recorded), "{digits} digits, {values:?}");
            let of =
                |it: &Histogram| (it.len(), it.min(), it.min_nz(), it.max(), it.mean().to_bits(), it.stdev().to_bits());
            assert_eq!(of(&told), of(&recorded), "{digits} digits, {values:?}");
        }
    }

    proptest! {
        #[test]
        fn cells_tell_the_histogram_that_would_have_recorded_the_values(
            values in proptest::collection::vec((0u32..64, any::<u64>()).prop_map(|(bits, value)| value >> bits), 0..50),
        ) {
            check(&values);
        }
    }

    #[test]
    fn values_about_each_power_of_two_have_the_places_of_the_library() {
        (0..64).for_each(|power| {
            for value in [(1u64 << power) - 1, 1 << power, (1 << power) + 1, 3 << power >> 1] {
                check(&[value]);
            }
        });
        check(&[VALUE_NS_MAX - 1, VALUE_NS_MAX, VALUE_NS_MAX + 1, u64::MAX]);
    }

    #[test]
    fn cells_take_as_many_bytes_as_are_told() {
        fn check<const D: u8>() {
            for power in 0..42 {
                for value in [(1 << power) - 1, 1 << power, (1 << power) + 1, VALUE_NS_MAX] {
                    let mut room = Room::new(1 << 20, 0);
                    let mut cells = Cells::<D>::empty(Claim::Other, &mut room).unwrap();
                    assert!(cells.record(Place::of(value), Claim::Other, &mut room));
                    let bytes = bytes(D, value);
                    let mut left = Room::new(1 << 20, 0);
                    left.take_up(bytes);
                    assert_eq!((cells.bytes(), room), (bytes, left), "{D} digits, {value}");
                    assert_eq!(cells.told().distinct_values() as u64 * 8, bytes, "{D} digits, {value}");
                }
            }
        }
        check::<2>();
        check::<3>();
    }
}
