//! Room for histograms: what they take of a budget, and what becomes of one that finds no more.
//!
//! A histogram grows with the values that it sees. One that is refused room is given up whole, for good: what it had and what
//! comes later is told elsewhere. So each that is told is complete, never without its largest values. The library's own growing is
//! not used, as it takes up to twice what it needs.

use std::borrow::Cow;

use super::histograms::{Histogram, VALUE_NS_MAX};

/// Bytes of the counts of a histogram of values up to `value`: there are as many for each power of two, and for the values
/// that are told apart one by one as for two of them.
pub const fn bytes(digits: u8, value: u64) -> u64 {
    let singles = singles(digits);
    let powers = (u64::BITS - value.leading_zeros()).saturating_sub(singles.trailing_zeros());
    (2 + powers as u64) * (singles / 2) * size_of::<u64>() as u64
}

/// How many values are told apart one by one.
const fn singles(digits: u8) -> u64 {
    (2 * 10_u64.pow(digits as u32)).next_power_of_two()
}

/// For whom room is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// One of many, who may use three quarters.
    Named,
    /// What is kept of all that found no room.
    Other,
}

/// Bytes that are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    left: u64,
    /// Of them, those that are not for [`Claim::Named`].
    reserved: u64,
}

impl Room {
    /// Room without an end.
    pub const ENDLESS: Room = Room { left: u64::MAX, reserved: 0 };

    /// So many bytes, of which `used` are not free.
    pub fn new(bytes: u64, used: u64) -> Room {
        let left = bytes.saturating_sub(used);
        Room { left, reserved: left / 4 }
    }

    /// These are in use, whether there is room or not.
    pub fn take_up(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }

    fn take(&mut self, bytes: u64, claim: Claim) -> bool {
        let free = if claim == Claim::Named { self.left.saturating_sub(self.reserved) } else { self.left };
        if free < bytes {
            return false;
        }
        self.left -= bytes;
        true
    }

    fn give_back(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes);
    }
}

/// An empty histogram of values up to `value`, and of all others that need no more bytes.
fn sized(digits: u8, value: u64) -> Histogram {
    let most = (singles(digits) - 1).max(u64::MAX >> value.leading_zeros().min(u64::BITS - 1));
    Histogram::new_with_max(most, digits).expect("2 and 3 are digits that the library takes")
}

/// What is bounded: it takes values, as many as it likes, and grows with the largest.
pub trait Growing: Clone {
    /// What it takes.
    type Value: Copy;

    /// An empty one, if there is room.
    fn empty(digits: u8, claim: Claim, room: &mut Room) -> Option<Self>;
    /// Whether it is large enough for a value.
    fn fits(&self, value: Self::Value) -> bool;
    /// Makes it large enough, if there is room.
    fn make_room(&mut self, value: Self::Value, claim: Claim, room: &mut Room) -> bool;
    /// Takes a value for which it is large enough.
    fn take(&mut self, value: Self::Value);
    /// Takes all of another one, if there is room.
    fn add(&mut self, part: &Self, claim: Claim, room: &mut Room) -> bool;
    /// Does what it has put off: it is to be read.
    fn settle(&mut self) {}
    /// Significant digits of its values.
    fn digits(&self) -> u8;
    /// Bytes that it has.
    fn bytes(&self) -> u64;
}

impl Growing for Histogram {
    type Value = u64;

    fn empty(digits: u8, claim: Claim, room: &mut Room) -> Option<Histogram> {
        room.take(bytes(digits, 0), claim).then(|| sized(digits, 0))
    }

    #[inline]
    fn fits(&self, value: u64) -> bool {
        value.min(VALUE_NS_MAX) <= self.high()
    }

    fn make_room(&mut self, value: u64, claim: Claim, room: &mut Room) -> bool {
        let (value, digits) = (value.min(VALUE_NS_MAX), self.sigfig());
        if self.high() < value {
            if !room.take(bytes(digits, value).saturating_sub(self.bytes()), claim) {
                return false;
            }
            let mut grown = sized(digits, value);
            Histogram::add(&mut grown, &*self).expect("it is larger");
            *self = grown;
        }
        true
    }

    /// Values of more than [`VALUE_NS_MAX`] count as that.
    #[inline]
    fn take(&mut self, value: u64) {
        self.record(value.min(VALUE_NS_MAX)).expect("it fits");
    }

    fn add(&mut self, part: &Histogram, claim: Claim, room: &mut Room) -> bool {
        self.make_room(part.max(), claim, room) && Histogram::add(self, part).is_ok()
    }

    fn digits(&self) -> u8 {
        self.sigfig()
    }

    fn bytes(&self) -> u64 {
        (self.distinct_values() * size_of::<u64>()) as u64
    }
}

/// Takes a value where room is reserved.
#[inline]
pub fn record_always<T: Growing>(sum: &mut T, value: T::Value) {
    if !sum.fits(value) {
        enlarge(sum, value);
    }
    sum.take(value);
}

#[cold]
fn enlarge<T: Growing>(sum: &mut T, value: T::Value) {
    sum.make_room(value, Claim::Other, &mut { Room::ENDLESS });
}

/// Takes all of another one where room is reserved.
pub fn add_always<T: Growing>(sum: &mut T, part: &T) {
    sum.add(part, Claim::Other, &mut { Room::ENDLESS });
}

/// What is given up when it finds no room.
#[derive(Clone, Debug, Default)]
pub enum Bounded<T> {
    /// Nothing has come.
    #[default]
    Unused,
    /// All that has come is in it.
    Kept(T),
    /// It found no room.
    GivenUp,
}

impl<T> Bounded<T> {
    /// What was kept; `None` if nothing has come or it was given up.
    pub fn kept(&self) -> Option<&T> {
        match self {
            Bounded::Kept(kept) => Some(kept),
            Bounded::Unused | Bounded::GivenUp => None,
        }
    }

    /// Whether it was given up.
    pub fn is_given_up(&self) -> bool {
        matches!(self, Bounded::GivenUp)
    }

    /// What was kept, to be changed.
    pub fn kept_mut(&mut self) -> Option<&mut T> {
        match self {
            Bounded::Kept(kept) => Some(kept),
            Bounded::Unused | Bounded::GivenUp => None,
        }
    }
}

impl<T: Growing> Bounded<T> {
    /// Bytes that it has.
    pub fn bytes(&self) -> u64 {
        self.kept().map_or(0, T::bytes)
    }

    /// Takes a value. If there is no room, or was none before, this fails with what had been taken so far.
    #[inline]
    pub fn record(&mut self, value: T::Value, digits: u8, claim: Claim, room: &mut Room) -> Result<(), Option<T>> {
        match self {
            Bounded::Kept(kept) if kept.fits(value) => {
                kept.take(value);
                Ok(())
            }
            _ => self.record_if_room(value, digits, claim, room),
        }
    }

    #[cold]
    fn record_if_room(&mut self, value: T::Value, digits: u8, claim: Claim, room: &mut Room) -> Result<(), Option<T>> {
        if let Bounded::Unused = self {
            self.begin(digits, claim, room);
        }
        if let Bounded::Kept(kept) = self
            && kept.make_room(value, claim, room)
        {
            kept.take(value);
            return Ok(());
        }
        Err(self.give_up(room))
    }

    /// Takes all of another one. If there is no room, or was none before, it answers what it does not keep: what it had taken so
    /// far, and the other.
    pub fn absorb<'a>(&mut self, part: Cow<'a, T>, claim: Claim, room: &mut Room) -> Option<(Option<T>, Cow<'a, T>)> {
        if let Bounded::Unused = self {
            // One that is moved here is counted already.
            if let Cow::Owned(mut part) = part {
                part.settle();
                *self = Bounded::Kept(part);
                return None;
            }
            self.begin(part.digits(), claim, room);
        }
        if let Bounded::Kept(kept) = self
            && kept.add(&part, claim, room)
        {
            if let Cow::Owned(part) = part {
                room.give_back(part.bytes());
            }
            return None;
        }
        Some((self.give_up(room), part))
    }

    #[cold]
    fn begin(&mut self, digits: u8, claim: Claim, room: &mut Room) {
        if let Some(empty) = T::empty(digits, claim, room) {
            *self = Bounded::Kept(empty);
        }
    }

    /// From now on it takes nothing; answers what it had.
    #[cold]
    pub fn give_up(&mut self, room: &mut Room) -> Option<T> {
        match std::mem::replace(self, Bounded::GivenUp) {
            Bounded::Kept(kept) => {
                room.give_back(kept.bytes());
                Some(kept)
            }
            Bounded::Unused | Bounded::GivenUp => None,
        }
    }

    /// What it has, for somebody else: moved there, or to be copied.
    pub fn hand_over(&mut self, is_moved: bool) -> Bounded<Cow<'_, T>> {
        match self {
            Bounded::Unused => Bounded::Unused,
            Bounded::GivenUp => Bounded::GivenUp,
            Bounded::Kept(_) if is_moved => match std::mem::take(self) {
                Bounded::Kept(kept) => Bounded::Kept(Cow::Owned(kept)),
                Bounded::Unused | Bounded::GivenUp => Bounded::Unused,
            },
            Bounded::Kept(kept) => Bounded::Kept(Cow::Borrowed(kept)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_takes_as_many_bytes_as_are_told() {
        for digits in [2, 3] {
            for power in 0..42 {
                for value in [(1 << power) - 1, 1 << power, (1 << power) + 1, VALUE_NS_MAX] {
                    assert_eq!(sized(digits, value).bytes(), bytes(digits, value), "{digits} digits, {value}");
                    let mut grown = Histogram::empty(digits, Claim::Other, &mut { Room::ENDLESS }).unwrap();
                    record_always(&mut grown, value);
                    assert_eq!((grown.bytes(), grown.len()), (bytes(digits, value), 1), "{digits} digits, {value}");
                }
            }
        }
    }

    #[test]
    fn one_that_finds_no_room_leaves_all_that_it_had_and_what_it_took() {
        let all = bytes(3, 1 << 20);
        let mut room = Room::new(all, 0);
        let mut bounded = Bounded::<Histogram>::Unused;
        bounded.record(1 << 10, 3, Claim::Other, &mut room).unwrap();
        bounded.record(1 << 20, 3, Claim::Other, &mut room).unwrap();
        assert_eq!((room.left, bounded.bytes()), (0, all));
        let kept = bounded.record(1 << 21, 3, Claim::Other, &mut room).unwrap_err().unwrap();
        assert_eq!((kept.len(), room.left), (2, all));
        assert_eq!(bounded.record(1, 3, Claim::Other, &mut room), Err(None), "it begins no second time");
        assert!(bounded.is_given_up() && room.left == all);
    }

    #[test]
    fn the_many_leave_a_quarter_to_what_is_kept_of_them_together() {
        let mut room = Room::new(4 * bytes(3, 0), 0);
        let mut take = |claim| Bounded::<Histogram>::Unused.record(1, 3, claim, &mut room).is_ok();
        assert_eq!([(); 4].map(|()| take(Claim::Named)), [true, true, true, false]);
        assert_eq!([(); 2].map(|()| take(Claim::Other)), [true, false]);
    }
}
