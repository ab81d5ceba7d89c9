//! Out of one thread and into another: single-producer, single-consumer rings (rtrb) that carry boxes there and, empty,
//! back, so that what was allocated once is used again.

use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

/// The other side has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the thread that should have taken it has ended")]
pub struct Closed;

/// The sending side.
#[derive(Debug)]
pub struct Outbox<T> {
    full: Producer<T>,
    empty: Consumer<T>,
}

/// The receiving side.
#[derive(Debug)]
pub struct Inbox<T> {
    full: Consumer<T>,
    empty: Producer<T>,
}

/// A ring for `capacity` messages, and one back.
pub fn ring<T>(capacity: usize) -> (Outbox<T>, Inbox<T>) {
    let (full_in, full_out) = RingBuffer::new(capacity);
    // All that is under way, being filled, being emptied, and waiting to be used again.
    let (empty_in, empty_out) = RingBuffer::new(2 * capacity + 2);
    (Outbox { full: full_in, empty: empty_out }, Inbox { full: full_out, empty: empty_in })
}

impl<T> Outbox<T> {
    /// Sends a message. Waits while the ring is full: a file loses nothing, it is read more slowly.
    pub fn send(&mut self, mut message: T) -> Result<(), Closed> {
        let mut waited = 0;
        loop {
            message = match self.full.push(message) {
                Ok(()) => return Ok(()),
                Err(rtrb::PushError::Full(message)) => message,
            };
            if self.full.is_abandoned() {
                return Err(Closed);
            }
            pause(&mut waited);
        }
    }

    /// Sends a message if there is room; gives it back if not, or if the other side has ended: live traffic does not wait.
    pub fn offer(&mut self, message: T) -> Result<(), T> {
        if self.full.is_abandoned() {
            return Err(message);
        }
        self.full.push(message).map_err(|rtrb::PushError::Full(message)| message)
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.full.is_full()
    }

    /// Whether the other side has ended.
    pub fn is_closed(&self) -> bool {
        self.full.is_abandoned()
    }

    /// A message that came back to be used again.
    pub fn reuse(&mut self) -> Option<T> {
        self.empty.pop().ok()
    }
}

impl<T> Inbox<T> {
    /// The next message, if there is one.
    pub fn take(&mut self) -> Option<T> {
        self.full.pop().ok()
    }

    /// The next message; `None` when there will be none. Waits.
    pub fn receive(&mut self) -> Option<T> {
        let mut waited = 0;
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            if self.is_finished() {
                return None;
            }
            pause(&mut waited);
        }
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Whether nothing more will come.
    pub fn is_finished(&self) -> bool {
        // In this order: what was sent before the sender ended is still there.
        self.full.is_abandoned() && self.full.is_empty()
    }

    /// Returns an empty message to be used again. If the way back is full, it is dropped.
    pub fn give_back(&mut self, message: T) {
        let _ = self.empty.push(message);
    }
}

/// Waits a little, and longer the longer it has been waited: first awake, then giving way, then asleep for up to 100 µs, and
/// where nothing comes for some ten milliseconds for up to 10 ms, which costs hardly anything.
pub fn pause(waited: &mut u32) {
    *waited = waited.saturating_add(1);
    match *waited {
        0..=32 => std::hint::spin_loop(),
        33..=64 => std::thread::yield_now(),
        n @ 65..=164 => std::thread::sleep(Duration::from_micros(u64::from(n - 64))),
        n => std::thread::sleep(Duration::from_millis(u64::from(n - 164).min(10))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_in_order_through_a_small_ring_and_boxes_come_back() {
        let (mut outbox, mut inbox) = ring::<Box<u64>>(4);
        let receiver = std::thread::spawn(move || {
            let mut expected = 0;
            while let Some(message) = inbox.receive() {
                assert_eq!(*message, expected);
                expected += 1;
                inbox.give_back(message);
            }
            expected
        });
        let mut made = 0;
        for n in 0..10_000 {
            let mut message = outbox.reuse().unwrap_or_else(|| {
                made += 1;
                Box::new(0)
            });
            *message = n;
            outbox.send(message).unwrap();
        }
        drop(outbox);
        assert_eq!(receiver.join().unwrap(), 10_000);
        assert!(made <= 10, "{made} boxes made");
    }

    #[test]
    fn sending_to_nobody_fails_instead_of_waiting() {
        let (mut outbox, inbox) = ring::<u8>(1);
        drop(inbox);
        assert_eq!(outbox.send(1).and_then(|()| outbox.send(2)), Err(Closed));
    }

    #[test]
    fn what_finds_no_room_or_nobody_comes_back() {
        let (mut outbox, mut inbox) = ring::<u64>(1);
        assert_eq!((outbox.offer(1), outbox.offer(2)), (Ok(()), Err(2)));
        assert_eq!(inbox.take(), Some(1));
        assert_eq!(outbox.offer(3), Ok(()));
        drop(inbox);
        assert_eq!(outbox.offer(4), Err(4));
    }
}
