//! Pieces of one stream in any order against a map of bytes: what is delivered is, byte by byte, what came first for its
//! place, once and in order; and all pages come back.

use std::collections::BTreeMap;

use resptap::decode::seq::Seq;
use resptap::pool::NONE;
use resptap::reassembly::pages::{Full, Meta, Pages, Piece};
use resptap::reassembly::stream::{HalfStream, Place};
use resptap::units::{Offset, Timestamp};

use super::input::Input;

/// What is at a place of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cell {
    Byte(u8),
    /// The capture cut it off.
    Cut,
    Fin,
}

/// The stream, and what is known of it.
struct Bench {
    pages: Pages,
    stream: HalfStream,
    /// Places that have come and have not been delivered.
    waiting: BTreeMap<u64, Cell>,
    /// All before this place was delivered or given up.
    next: u64,
    ended: bool,
}

/// Initial sequence number (4), size of the pool, then pieces: what, where (2, signed), bytes (2), cut bytes.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let isn = Seq(input.word());
    let pool_bytes = if input.byte().is_multiple_of(8) { 1 } else { 16 << 20 };
    let mut bench = Bench {
        pages: Pages::new(pool_bytes),
        stream: HalfStream::default(),
        waiting: BTreeMap::new(),
        next: isn.first_offset().0,
        ended: false,
    };
    bench.stream.begin(isn);
    let mut number = 0u8;
    while !input.is_empty() && !bench.ended {
        number = number.wrapping_add(1);
        if bench.step(&mut input, number) == Err(Full) {
            break;
        }
    }
    bench.stream.forget_stored(&mut bench.pages);
    assert_eq!(bench.pages.in_use(), 0, "pages come back");
    assert!(!bench.stream.is_waiting());
}

impl Bench {
    fn step(&mut self, input: &mut Input<'_>, number: u8) -> Result<(), Full> {
        let what = input.byte();
        if what & 7 == 7 {
            self.give_up();
            return self.drain();
        }
        let scale = if what & 8 != 0 { 65_536 } else { 1 };
        let from = self.next.wrapping_add_signed(i64::from(input.short().cast_signed()) * scale);
        let length = u64::from(input.short() % 5000);
        let cut = if what & 16 != 0 { u32::from(input.byte()) } else { 0 };
        let fin = what & 32 != 0;
        let bytes: Vec<u8> = (0..length).map(|at| number.wrapping_mul(31).wrapping_add(at as u8)).collect();
        let total = length as u32 + cut + u32::from(fin);
        let (found, place) = self.stream.place(Seq::of(Offset(from)), total);
        assert_eq!(found.0, from, "sequence numbers are unwrapped to the nearest");
        self.check_place(from, total, place);
        let meta = Meta { at: Timestamp(u64::from(number)), ack: Offset(0), push: what & 64 != 0, late: false };
        match place {
            Place::Old | Place::OutOfWindow => return Ok(()),
            Place::Ahead | Place::Next { .. } => {}
        }
        if total == 0 {
            return Ok(());
        }
        // What was delivered before its first new byte is no part of it.
        let old = self.next.saturating_sub(from);
        let skipped = old.min(length);
        let cut = cut - (old - skipped).min(u64::from(cut)) as u32;
        let piece = Piece { from: Offset(from + old), bytes: &bytes[skipped as usize..], cut, fin, meta };
        let cells = piece.bytes.iter().map(|&byte| Cell::Byte(byte)).chain((0..cut).map(|_| Cell::Cut));
        for (at, cell) in (piece.from.0..).zip(cells.chain(fin.then_some(Cell::Fin))) {
            self.waiting.entry(at).or_insert(cell);
        }
        if piece.from.0 == self.next && !self.stream.is_waiting() {
            let cells = piece.bytes.iter().map(|&byte| Cell::Byte(byte)).chain((0..cut).map(|_| Cell::Cut));
            let cells: Vec<Cell> = cells.chain(fin.then_some(Cell::Fin)).collect();
            self.deliver(&cells);
        } else {
            self.stream.store(&mut self.pages, &piece)?;
        }
        self.drain()
    }

    /// By plain arithmetic, without a circle.
    fn check_place(&self, from: u64, total: u32, place: Place) {
        let window = 1 << 30;
        let end = from + u64::from(total);
        let expected = if from > self.next + window || from + window < self.next {
            Place::OutOfWindow
        } else if from > self.next {
            Place::Ahead
        } else if from < self.next && end <= self.next {
            Place::Old
        } else {
            Place::Next { old: (self.next - from) as u32 }
        };
        assert_eq!(place, expected, "{from} of {total} at {}", self.next);
    }

    /// Delivers the stored pages that are next.
    fn drain(&mut self) -> Result<(), Full> {
        while !self.ended {
            let Some(page) = self.stream.first_stored(&self.pages) else { break };
            assert!(page.from.0 >= self.next, "nothing stored was delivered");
            if page.from.0 > self.next {
                break;
            }
            let page = self.stream.take_stored(&mut self.pages);
            assert_ne!(page, NONE);
            let stored = self.pages.get(page);
            let cells = stored.bytes().iter().map(|&byte| Cell::Byte(byte)).chain((0..stored.cut).map(|_| Cell::Cut));
            let cells: Vec<Cell> = cells.chain(stored.fin.then_some(Cell::Fin)).collect();
            assert_eq!(stored.end().0, stored.from.0 + cells.len() as u64);
            self.pages.free(page);
            self.deliver(&cells);
        }
        let first = self.stream.first_stored(&self.pages).map(|page| page.from.0);
        assert!(self.ended || first == self.waiting.keys().next().copied(), "what waits, waits at its place");
        Ok(())
    }

    /// The missing bytes before the first stored ones are given up.
    fn give_up(&mut self) {
        if let Some(page) = self.stream.first_stored(&self.pages) {
            let missing = page.from.0 - self.next;
            self.stream.step_over(missing);
            self.next += missing;
        }
    }

    fn deliver(&mut self, cells: &[Cell]) {
        for cell in cells {
            assert!(!self.ended, "nothing comes behind a FIN");
            assert_eq!(self.waiting.remove(&self.next), Some(*cell), "at {}", self.next);
            self.next += 1;
            if *cell == Cell::Fin {
                self.stream.step_over(1);
                self.stream.end();
                self.ended = true;
            } else {
                self.stream.advance(1, Timestamp(1));
            }
        }
        assert_eq!(self.stream.next().0, self.next);
        assert_eq!(self.stream.has_ended(), self.ended);
    }
}
