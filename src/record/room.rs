//! Room for histograms: what they take of a budget, and what becomes of one that finds no more.
//!
//! A histogram grows with the values that it sees. One that is refused room is given up whole, for good: what it had and what
//! comes later is told elsewhere. So each that is told is complete, never without its largest values. The library's own growing is
//! not used, as it takes up to twice what it needs.

use std::borrow::Cow;

use super::histograms::Histogram;

/// Bytes of the counts of a histogram of values up to `value`: there are as many for each power of two, and for the values
/// that are told apart one by one as for two of them.
pub const fn bytes(digits: u8, value: u64) -> u64 {
    let singles = singles(digits);
    let powers = (u64::BITS - value.leading_zeros()).saturating_sub(singles.trailing_zeros());
    (2 + powers as u64) * (singles / 2) * size_of::<u64>() as u64
}

/// How many values are told apart one by one.
pub const fn singles(digits: u8) -> u64 {
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

    /// Takes so many bytes, if they are left.
    pub fn take(&mut self, bytes: u64, claim: Claim) -> bool {
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
pub fn sized(digits: u8, value: u64) -> Histogram {
    let most = (singles(digits) - 1).max(u64::MAX >> value.leading_zeros().min(u64::BITS - 1));
    Histogram::new_with_max(most, digits).expect("2 and 3 are digits that the library takes")
}

/// What is bounded: it takes as much as it likes, and grows with the largest value.
pub trait Growing: Clone {
    /// Bytes that it has.
    fn bytes(&self) -> u64;
}

/// What grows with others of its kind.
pub trait Absorbing: Growing {
    /// An empty one for what is like `part`, if there is room.
    fn begin(part: &Self, claim: Claim, room: &mut Room) -> Option<Self>;
    /// Takes all of another one, if there is room.
    fn add(&mut self, part: &Self, claim: Claim, room: &mut Room) -> bool;
}

/// What grows with values.
pub trait Recording: Growing {
    /// What it takes.
    type Value: Copy;
    /// What is made of it where it is told.
    type Told;

    /// An empty one, if there is room.
    fn empty(claim: Claim, room: &mut Room) -> Option<Self>;
    /// Takes a value. If there is no room, it has to be given up: it may have taken a part of it.
    fn record(&mut self, value: Self::Value, claim: Claim, room: &mut Room) -> bool;
    /// As it is told.
    fn told(&self) -> Self::Told;
}

impl Growing for Histogram {
    fn bytes(&self) -> u64 {
        (self.distinct_values() * size_of::<u64>()) as u64
    }
}

impl Absorbing for Histogram {
    fn begin(part: &Histogram, claim: Claim, room: &mut Room) -> Option<Histogram> {
        let digits = part.sigfig();
        room.take(bytes(digits, 0), claim).then(|| sized(digits, 0))
    }

    fn add(&mut self, part: &Histogram, claim: Claim, room: &mut Room) -> bool {
        let (most, digits) = (part.max(), self.sigfig());
        if self.high() < most {
            if !room.take(bytes(digits, most).saturating_sub(self.bytes()), claim) {
                return false;
            }
            let mut grown = sized(digits, most);
            Histogram::add(&mut grown, &*self).expect("it is larger");
            *self = grown;
        }
        Histogram::add(self, part).is_ok()
    }
}

/// Takes a value where room is reserved.
#[inline(always)]
pub fn record_always<T: Recording>(sum: &mut T, value: T::Value) {
    sum.record(value, Claim::Other, &mut { Room::ENDLESS });
}

/// Takes all of another one where room is reserved.
pub fn add_always<T: Absorbing>(sum: &mut T, part: &T) {
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

impl<T: Recording> Bounded<T> {
    /// Takes a value. If there is no room, or was none before, this fails with what had been taken so far.
    #[inline(always)]
    pub fn record(&mut self, value: T::Value, claim: Claim, room: &mut Room) -> Result<(), Option<T>> {
        if let Bounded::Kept(kept) = self
            && kept.record(value, claim, room)
        {
            return Ok(());
        }
        self.record_first(value, claim, room)
    }

    #[cold]
    #[inline(never)]
    fn record_first(&mut self, value: T::Value, claim: Claim, room: &mut Room) -> Result<(), Option<T>> {
        if let Bounded::Unused = self
            && let Some(mut empty) = T::empty(claim, room)
        {
            let is_taken = empty.record(value, claim, room);
            *self = Bounded::Kept(empty);
            if is_taken {
                return Ok(());
            }
        }
        Err(self.give_up(room))
    }

    /// What it has, as it is told; if that `is_moved`, nothing stays.
    pub fn tell(&mut self, is_moved: bool) -> Bounded<T::Told> {
        let told = match self {
            Bounded::Unused => Bounded::Unused,
            Bounded::GivenUp => Bounded::GivenUp,
            Bounded::Kept(kept) => Bounded::Kept(kept.told()),
        };
        if is_moved && let Bounded::Kept(_) = self {
            *self = Bounded::Unused;
        }
        told
    }
}

impl<T: Absorbing> Bounded<T> {
    /// Takes all of another one. If there is no room, or was none before, it answers what it does not keep: what it had taken so
    /// far, and the other.
    pub fn absorb<'a>(&mut self, part: Cow<'a, T>, claim: Claim, room: &mut Room) -> Option<(Option<T>, Cow<'a, T>)> {
        if let Bounded::Unused = self {
            // One that is moved here is counted already.
            if let Cow::Owned(part) = part {
                *self = Bounded::Kept(part);
                return None;
            }
            if let Some(empty) = T::begin(&part, claim, room) {
                *self = Bounded::Kept(empty);
            }
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
}

#[cfg(test)]
mod tests {
    use super::super::cells::{Fine, Place};
    use super::*;

    #[test]
    fn one_that_finds_no_room_leaves_all_that_it_had_and_what_it_took() {
        let all = bytes(3, 1 << 20);
        let mut room = Room::new(all, 0);
        let mut bounded = Bounded::<Fine>::Unused;
        bounded.record(Place::of(1 << 10), Claim::Other, &mut room).unwrap();
        bounded.record(Place::of(1 << 20), Claim::Other, &mut room).unwrap();
        assert_eq!((room.left, bounded.bytes()), (0, all));
        let kept = bounded.record(Place::of(1 << 21), Claim::Other, &mut room).unwrap_err().unwrap();
        assert_eq!((kept.told().len(), room.left), (2, all));
        assert!(matches!(bounded.record(Place::of(1), Claim::Other, &mut room), Err(None)), "it begins no second time");
        assert!(bounded.is_given_up() && room.left == all);
    }

    #[test]
    fn the_many_leave_a_quarter_to_what_is_kept_of_them_together() {
        let mut room = Room::new(4 * bytes(3, 0), 0);
        let mut take = |claim| Bounded::<Fine>::Unused.record(Place::of(1), claim, &mut room).is_ok();
        assert_eq!([(); 4].map(|()| take(Claim::Named)), [true, true, true, false]);
        assert_eq!([(); 2].map(|()| take(Claim::Other)), [true, false]);
    }
}
