//! Faults are as frequent as was asked for, the same in every run, and nothing else happens.

use super::*;
use crate::limits::FAULT_REORDER_FRAMES_MAX;

/// Frames that carry their number; every third is a request, every third a reply. Fails at the end, as a file cut short.
struct Numbered {
    next: u64,
    frames: u64,
    bytes: [u8; 64],
}

impl Source for Numbered {
    type Error = &'static str;

    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, &'static str> {
        if self.next == self.frames {
            return Err("cut short");
        }
        self.bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        let at = Timestamp(1000 + self.next);
        self.next += 1;
        let bytes: &'a [u8; 64] = &self.bytes;
        assert!(most > 0);
        each(Frame { bytes, wire_len: 100, at, link: LinkType::RawIp });
        Ok(Polled::Frames(1))
    }
}

fn direction(frame: &Frame<'_>) -> Option<Direction> {
    [None, Some(Direction::Request), Some(Direction::Reply)][number(frame.bytes) as usize % 3]
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// A frame that came out.
#[derive(PartialEq, Debug)]
struct Out {
    at: u64,
    wire_len: u32,
    link: LinkType,
    bytes: Vec<u8>,
}

fn run(spec: &str, frames: u64, most: usize) -> (Vec<Out>, FaultCounts) {
    let mut injector = Injector::new(spec.parse().unwrap());
    let mut source = Faulty::new(Numbered { next: 0, frames, bytes: [0x55; 64] }, &mut injector, direction);
    let mut out = Vec::new();
    loop {
        let mut polled = 0;
        let result = source.poll(most, &mut |frame| {
            polled += 1;
            out.push(Out { at: frame.at.0, wire_len: frame.wire_len, link: frame.link, bytes: frame.bytes.to_vec() });
        });
        assert!(polled <= most, "no more than asked for");
        match result {
            Ok(Polled::Frames(frames)) => assert_eq!((frames, frames > 0), (polled, true)),
            Ok(Polled::End) => panic!("the error is lost"),
            Err(error) => {
                assert_eq!(error, "cut short");
                assert!(matches!(source.poll(most, &mut |_| panic!("a frame behind the end")), Ok(Polled::End)));
                break;
            }
        }
    }
    let counts = *injector.counts();
    assert_eq!(out.len() as u64, counts.frames - counts.lost() + counts.duplicated, "frames are conserved");
    assert!(injector.delayed.is_empty() && injector.ready.is_empty(), "nothing stays behind");
    (out, counts)
}

/// Within five standard deviations of what was asked for: of a hundred million seeds some fifty fail.
#[track_caller]
fn is_about(found: u64, of: u64, probability: f64) {
    let expected = of as f64 * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    assert!((found as f64 - expected).abs() <= 5.0 * deviation + 0.5, "{found} of {of}, not about {expected}");
}

#[test]
fn without_faults_nothing_changes() {
    let (out, counts) = run("seed=5", 1000, 32);
    assert_eq!(counts, FaultCounts { frames: 1000, ..FaultCounts::default() });
    for (number, frame) in (0..).zip(&out) {
        assert_eq!((self::number(&frame.bytes), frame.at), (number, 1000 + number));
        assert_eq!((frame.bytes.len(), frame.wire_len, frame.link), (64, 100, LinkType::RawIp));
        assert!(frame.bytes[8..].iter().all(|&byte| byte == 0x55));
    }
}

#[test]
fn each_fault_is_as_frequent_as_was_asked_for() {
    const FRAMES: u64 = 300_000;
    let spec = "loss=10%,client-loss=0.5%,server-loss=25%,duplicate=2%,reorder=5%:8,truncate=3%,flip=1%";
    for seed in 0..3 {
        let (out, counts) = run(&format!("{spec},seed={seed}"), FRAMES, 32);
        let handed_on = out.len() as u64;
        assert_eq!(counts.frames, FRAMES);
        is_about(counts.lost_of_others, FRAMES / 3, 0.10);
        is_about(counts.lost_of_clients, FRAMES / 3, 0.005);
        is_about(counts.lost_of_servers, FRAMES / 3, 0.25);
        is_about(counts.duplicated, FRAMES - counts.lost(), 0.02);
        is_about(counts.reordered, handed_on, 0.05);
        is_about(counts.truncated, handed_on, 0.03);
        is_about(counts.flipped, handed_on, 0.01);
        assert_eq!(out.iter().filter(|frame| frame.bytes.len() < 64).count() as u64, counts.truncated);
        assert!(out.iter().all(|frame| frame.wire_len == 100), "what was on the wire does not change");
    }
}

#[test]
fn a_flip_changes_one_bit() {
    let (out, counts) = run("flip=100%", 2000, 32);
    assert_eq!(counts.flipped, 2000);
    let plain = run("seed=1", 2000, 32).0;
    let mut places = std::collections::BTreeSet::new();
    for (frame, plain) in out.iter().zip(&plain) {
        let changed: Vec<_> = frame.bytes.iter().zip(&plain.bytes).map(|(a, b)| (a ^ b).count_ones()).collect();
        assert_eq!(changed.iter().sum::<u32>(), 1);
        places.insert(changed.iter().position(|&bits| bits == 1).unwrap());
    }
    assert_eq!(places.len(), 64, "every byte is hit some time");
}

#[test]
fn loss_of_one_direction_leaves_the_other_alone() {
    for (spec, gone) in [("client-loss=100%", 1), ("server-loss=100%", 2)] {
        let (out, _) = run(spec, 300, 32);
        assert_eq!(out.len(), 200);
        assert!(out.iter().all(|frame| number(&frame.bytes) % 3 != gone), "{spec}");
    }
    let (out, counts) = run("loss=100%,client-loss=0%", 300, 32);
    assert_eq!((out.len(), counts.lost_of_others, counts.lost_of_servers), (100, 100, 100));
}

#[test]
fn a_delayed_frame_is_late_by_so_many_frames_at_most_and_has_the_time_of_its_place() {
    for most_late in [1, 8, FAULT_REORDER_FRAMES_MAX] {
        let (out, counts) = run(&format!("reorder=20%:{most_late}"), 20_000, 32);
        let (mut last_at, mut highest, mut latest, mut late) = (0, 0, 0, 0);
        for frame in &out {
            let number = number(&frame.bytes);
            assert!(frame.at >= last_at, "time does not go back");
            last_at = frame.at;
            assert!(frame.at >= 1000 + number && frame.at <= 1000 + number + u64::from(most_late));
            latest = latest.max(frame.at - 1000 - number);
            late += u64::from(number < highest);
            highest = highest.max(number);
        }
        assert!(late > counts.reordered / 2, "{late} of {} were passed by others", counts.reordered);
        assert!(latest > u64::from(most_late) * 9 / 10, "delays are spread: {latest}");
    }
}

#[test]
fn what_is_held_is_bounded() {
    let spec: Faults = format!("reorder=100%:{FAULT_REORDER_FRAMES_MAX},duplicate=100%").parse().unwrap();
    let mut injector = Injector::new(spec);
    let mut source = Faulty::new(Numbered { next: 0, frames: 20_000, bytes: [0; 64] }, &mut injector, direction);
    while source.poll(32, &mut |_| ()).is_ok() {}
    let copies = injector.spare.len() + injector.out.len();
    assert!(copies <= 2 * FAULT_REORDER_FRAMES_MAX as usize + 2 * 32, "{copies} copies were made");
}

#[test]
fn the_same_seed_gives_the_same_faults_however_frames_are_asked_for() {
    let spec = "loss=3%,duplicate=4%,reorder=10%:20,truncate=5%,flip=6%,seed=7";
    let (first, counts) = run(spec, 5000, 32);
    for most in [1, 2, 1000] {
        assert_eq!(run(spec, 5000, most), (first.iter().map(clone).collect(), counts));
    }
    let other = run(&spec.replace("seed=7", "seed=8"), 5000, 32).1;
    assert_ne!(other, counts, "another seed, other faults");
}

fn clone(frame: &Out) -> Out {
    Out { bytes: frame.bytes.clone(), ..*frame }
}

#[test]
fn one_fault_more_changes_none_of_the_others() {
    let lost = |spec| {
        let numbers: std::collections::BTreeSet<u64> =
            run(spec, 5000, 32).0.iter().map(|frame| number(&frame.bytes)).collect();
        numbers
    };
    let alone = lost("loss=10%,seed=3");
    assert!(alone.len() < 4700);
    assert_eq!(lost("loss=10%,seed=3,duplicate=50%,reorder=50%"), alone);
}

#[test]
fn a_spec_is_read_and_what_is_wrong_with_one_is_named() {
    let faults: Faults =
        "loss=1%, client-loss=0.5%,duplicate=100%,reorder=5%:9,seed=18446744073709551615".parse().unwrap();
    assert_eq!((faults.loss, faults.client_loss, faults.server_loss), (0.01, 0.005, 0.01));
    assert_eq!((faults.duplicate, faults.reorder, faults.reorder_frames, faults.seed), (1.0, 0.05, 9, u64::MAX));
    assert_eq!("reorder=5%".parse::<Faults>().unwrap().reorder_frames, 8);
    assert_eq!(("client-loss=2%,loss=1%".parse::<Faults>().unwrap().client_loss,), (0.02,), "in any order");
    let wrong = [
        ("", "no fault is given; there are loss=P%, client-loss=P%"),
        ("los=1%", "`los=1%` is no fault; there are loss=P%"),
        ("loss", "`loss` is no fault; there are"),
        ("loss=1%,", "`` is no fault; there are"),
        ("loss=0.01", "`loss=0.01`: the share of frames must be a percentage from 0% to 100%"),
        ("flip=101%", "`flip=101%`: the share"),
        ("flip=-1%", "`flip=-1%`: the share"),
        ("flip=inf%", "`flip=inf%`: the share"),
        ("truncate=%", "`truncate=%`: the share"),
        ("reorder=x:3", "`reorder=x:3`: the share"),
        (
            "reorder=5%:0",
            "`reorder=5%:0`: behind the colon must stand by how many frames one is late at most, from 1 to 1024",
        ),
        ("reorder=5%:1025", "from 1 to 1024"),
        ("seed=-1", "`seed=-1`: the seed must be a whole number"),
        ("loss=1%,loss=2%", "`loss` is given twice"),
    ];
    for (spec, message) in wrong {
        let error = spec.parse::<Faults>().unwrap_err().to_string();
        assert!(error.contains(message), "{spec}: {error}");
    }
}
