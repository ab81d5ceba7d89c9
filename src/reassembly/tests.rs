//! Segments in every order, and the bytes that come out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::pages::{Full, Meta, Pages, Piece};
use super::stream::{HalfStream, Place};
use crate::decode::seq::Seq;
use crate::limits::PAGE_BYTES;
use crate::units::{Offset, Timestamp};

fn piece(from: Offset, bytes: &[u8], at: u64) -> Piece<'_> {
    Piece {
        from,
        bytes,
        cut: 0,
        fin: false,
        meta: Meta { at: Timestamp(at), ack: Offset(0), push: false, late: false },
    }
}

#[test]
fn places_of_segments_around_the_sequence_wrap() {
    let mut stream = HalfStream::default();
    stream.begin(Seq(u32::MAX - 1));
    let place = |seq: u32, length| stream.place(Seq(seq), length).1;
    assert_eq!(place(u32::MAX - 1, 5), Place::Next { old: 0 });
    assert_eq!(place(u32::MAX - 1, 0), Place::Next { old: 0 });
    assert_eq!(place(u32::MAX - 4, 5), Place::Next { old: 3 });
    assert_eq!(place(u32::MAX - 4, 3), Place::Old);
    assert_eq!(place(u32::MAX - 2, 0), Place::Old);
    assert_eq!(place(2, 5), Place::Ahead);
    assert_eq!(place((1 << 30) - 2, 5), Place::Ahead);
    assert_eq!(place(1 << 30, 5), Place::OutOfWindow);
    assert_eq!(place(u32::MAX - 3 - (1 << 30), 5), Place::OutOfWindow);
}

#[test]
fn a_stream_holds_no_more_pages_than_it_leaves() {
    let mut pages = Pages::new(64 * 1024);
    let all = pages.left();
    let mut holds = || {
        let mut stream = HalfStream::default();
        stream.begin(Seq(0));
        let pieces = (1..).map(|n| stream.next().plus(10 * n)).take(100);
        for from in pieces.collect::<Vec<_>>() {
            if stream.store(&mut pages, &piece(from, b"a", 0)).is_err() {
                break;
            }
        }
        stream.stored_pages(&pages)
    };
    let (first, second) = (holds(), holds());
    assert!(first.abs_diff(all / 2) <= 1, "{first} of {all}");
    assert!(second.abs_diff(all / 4) <= 1, "{second} of {all}");
}

#[test]
fn waiting_is_measured_from_the_oldest_page_that_is_left() {
    let (mut pages, mut stream) = (Pages::new(1 << 20), HalfStream::default());
    stream.begin(Seq(0));
    let at = |n| stream.next().plus(n);
    let (first, second) = (piece(at(10), b"a", 100), piece(at(20), b"b", 50));
    stream.store(&mut pages, &first).unwrap();
    stream.store(&mut pages, &second).unwrap();
    for _ in 0..5 {
        stream.count_packet(&mut pages);
    }
    assert!(!stream.is_overdue(&pages, Timestamp(150), 100, 5));
    assert!(stream.is_overdue(&pages, Timestamp(201), 100, 5), "the first came at 100");
    assert!(stream.is_overdue(&pages, Timestamp(0), 100, 4), "five packets since");
    let page = stream.take_stored(&mut pages);
    assert_eq!(pages.get(page).bytes(), b"a");
    pages.free(page);
    stream.forget_stored(&mut pages);
    assert_eq!(pages.in_use(), 0);
}

#[test]
fn a_full_pool_says_so_and_nothing_leaks() {
    let (mut pages, mut stream) = (Pages::new(1), HalfStream::default());
    stream.begin(Seq(0));
    let bytes = vec![7; 100 * PAGE_BYTES];
    let from = stream.next().plus(1);
    assert_eq!(stream.store(&mut pages, &piece(from, &bytes, 1)), Err(Full));
    stream.forget_stored(&mut pages);
    assert_eq!(pages.in_use(), 0);
}

/// What a stream holds, byte by byte: the value, or `None` for one that the capture cut off; FIN is position −1's wish.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<u64, (Option<u8>, bool)>,
}

impl Model {
    fn store(&mut self, piece: &Piece<'_>) {
        let cut = piece.bytes.len()..piece.bytes.len() + piece.cut as usize;
        let content = piece.bytes.iter().map(|&byte| (Some(byte), false)).chain(cut.map(|_| (None, false)));
        let fin = piece.fin.then_some((None, true));
        for (byte, at) in content.chain(fin).zip(piece.from.0..) {
            self.bytes.entry(at).or_insert(byte);
        }
    }
}

proptest! {
    #[test]
    fn what_is_stored_comes_back_in_order_and_the_first_bytes_win(
        pieces in prop::collection::vec((0u64..9000, prop_oneof![0usize..20, 0usize..5000], 0u32..30, any::<u8>()), 1..12),
        isn: u32,
    ) {
        let (mut pages, mut stream, mut model) = (Pages::new(64 << 20), HalfStream::default(), Model::default());
        stream.begin(Seq(isn));
        let first = stream.next();
        for (at, (from, length, cut, value)) in pieces.iter().enumerate() {
            let bytes: Vec<u8> = (0..*length).map(|i| value.wrapping_add(i as u8)).collect();
            let mut piece = piece(first.plus(1 + from), &bytes, at as u64);
            piece.cut = if cut % 3 == 0 { *cut } else { 0 };
            stream.store(&mut pages, &piece).unwrap();
            model.store(&piece);
        }
        let mut found = BTreeMap::new();
        let mut last_end = first;
        while stream.is_waiting() {
            let page = stream.take_stored(&mut pages);
            let stored = pages.get(page);
            prop_assert!(stored.from >= last_end, "in order, disjoint");
            let bytes = stored.bytes().iter().map(|&byte| Some(byte)).chain((0..stored.cut).map(|_| None));
            found.extend((stored.from.0..).zip(bytes));
            last_end = stored.end();
            pages.free(page);
        }
        prop_assert_eq!(found, model.bytes.into_iter().map(|(at, (byte, _))| (at, byte)).collect::<BTreeMap<_, _>>());
        prop_assert_eq!(pages.in_use(), 0);
    }

    #[test]
    fn a_fin_is_one_position_at_the_end(length in 0usize..5000, push: bool) {
        let (mut pages, mut stream) = (Pages::new(64 << 20), HalfStream::default());
        stream.begin(Seq(9));
        let bytes = vec![1; length];
        let mut piece = piece(stream.next().plus(5), &bytes, 1);
        piece.fin = true;
        piece.meta.push = push;
        stream.store(&mut pages, &piece).unwrap();
        stream.store(&mut pages, &piece).unwrap();
        let (mut total, mut fins, mut pushes) = (0, 0, 0);
        while stream.is_waiting() {
            let page = stream.take_stored(&mut pages);
            prop_assert_eq!(fins, 0, "nothing behind the FIN");
            let stored = pages.get(page);
            total += stored.bytes().len();
            fins += usize::from(stored.fin);
            pushes += usize::from(stored.meta.push && !stored.fin);
            pages.free(page);
        }
        prop_assert_eq!((total, fins, pushes), (length, 1, usize::from(push && length > 0)));
    }
}
