//! Requests as resptap tells them, held against tshark's, on captures in all their versions: the same commands and arguments,
//! whole at the same frame. Each difference is printed with its reason, which is checked (`tshark/reasons.rs`); one without
//! fails. `scripts/compare-tshark` runs this.

mod common;
#[path = "tshark/dissection.rs"]
mod dissection;
#[path = "tshark/reasons.rs"]
mod reasons;
#[path = "tshark/truth.rs"]
mod truth;

use std::collections::BTreeMap;
use std::convert::Infallible;

use resptap::capture::fault::{Faulty, Injector};
use resptap::capture::{Frame, Polled, Source};
use resptap::decode::decode;
use resptap::redis::arguments::{self, Argument};
use resptap::redis::pairing::Flags;
use resptap::units::Direction;

use common::Random;
use common::drive::{Options, Record, run_frames};
use common::encapsulate::{STEPS, Step, encapsulate};
use common::versions::{Owned, borrowed, captures, duplicated, reordered, resegmented, snapped};
use dissection::{Dissected, dissect};
use reasons::{Difference, Scene};
use truth::{Request, Sightings, Truth};

/// Of the captures of which versions are made, the first.
const CAPTURES: usize = 6;

/// Frames as a source.
struct Frames<'f> {
    frames: std::vec::IntoIter<Frame<'f>>,
}

impl Source for Frames<'_> {
    type Error = Infallible;

    fn poll<'a>(&'a mut self, most: usize, each: &mut impl FnMut(Frame<'a>)) -> Result<Polled, Infallible> {
        let before = self.frames.len();
        self.frames.by_ref().take(most).for_each(|frame: Frame<'_>| each(frame));
        let polled = before - self.frames.len();
        Ok(if polled == 0 { Polled::End } else { Polled::Frames(polled) })
    }
}

/// With faults, as `resptap read --fault` adds them.
fn faulty(capture: &[Owned], faults: &str) -> Vec<Owned> {
    let direction = |frame: &Frame<'_>| {
        let segment = decode(frame).ok()?;
        Some(if segment.destination.port == 6379 { Direction::Request } else { Direction::Reply })
    };
    let mut injector = Injector::new(faults.parse().unwrap());
    let mut source = Faulty::new(Frames { frames: borrowed(capture).into_iter() }, &mut injector, direction);
    let mut frames = Vec::new();
    let mut take =
        |frame: Frame<'_>| frames.push(Owned { at: frame.at.0, bytes: frame.bytes.to_vec(), wire_len: frame.wire_len });
    while let Polled::Frames(_) = source.poll(64, &mut take).unwrap() {}
    frames
}

fn encapsulated(capture: &[Owned], step: Step, random: &mut Random) -> Vec<Owned> {
    let wrap = |frame: &Owned| {
        let frames = encapsulate(frame.bytes.clone(), &[step], false, random);
        let at = frame.at;
        frames.into_iter().map(move |bytes| Owned { at, wire_len: bytes.len() as u32, bytes })
    };
    capture.iter().flat_map(wrap).collect()
}

/// Each frame has a time of its own, by which it is known: a tap stamps what it sees when it sees it.
fn timed(frames: Vec<Owned>) -> Vec<Owned> {
    let mut last = 0;
    let stamp = |frame: Owned| {
        last = frame.at.max(last + 1);
        Owned { at: last, ..frame }
    };
    frames.into_iter().map(stamp).collect()
}

/// All versions of a capture, by name; over all captures there is each kind of encapsulation.
fn versions(capture: &[Owned], number: usize) -> Vec<(String, Vec<Owned>)> {
    let random = &mut Random(number as u64);
    let mut versions = vec![
        ("clean".to_owned(), capture.to_vec()),
        ("reordered".to_owned(), reordered(capture, random)),
        ("duplicated".to_owned(), duplicated(capture, random)),
        ("re-segmented".to_owned(), resegmented(capture, random)),
        ("snap length 128".to_owned(), snapped(capture)),
    ];
    let kinds = STEPS.chunks(STEPS.len() / CAPTURES).nth(number).expect("kinds for each capture");
    versions.extend(kinds.iter().map(|&step| ("encapsulated".to_owned(), encapsulated(capture, step, random))));
    for seed in 0..3 {
        for loss in ["loss=0.5%", "loss=3%", "client-loss=5%,server-loss=0%", "loss=1%,reorder=5%:4,duplicate=5%"] {
            let faults = format!("{loss},seed={seed}");
            versions.push((loss.to_owned(), faulty(capture, &faults)));
        }
    }
    for _ in 0..3 {
        let from = random.within(1, capture.len() as u64) as usize;
        versions.push(("mid-stream".to_owned(), capture[from..].to_vec()));
    }
    versions.into_iter().map(|(name, frames)| (name, timed(frames))).collect()
}

/// Requests as resptap tells them: by their number in the truth, the frame of their last byte, 0 where that is not told.
fn told_by_resptap(frames: &[Owned], truth: &Truth, sightings: &Sightings) -> BTreeMap<usize, u32> {
    let numbers: BTreeMap<u64, u32> = frames.iter().map(|frame| frame.at).zip(1..).collect();
    let frame_of = |at: u64| numbers.get(&at).copied().unwrap_or_default();
    let outcomes = run_frames(&borrowed(frames), Options::default());
    let is_first = |record: &&Record| !record.transaction.flags.has(Flags::LATE);
    let mut records: Vec<&Record> = outcomes.records.iter().filter(is_first).collect();
    records.sort_by_key(|record| (record.transaction.conversation.client.port, record.transaction.index));
    let mut told = BTreeMap::new();
    let mut from = 0;
    for record in records {
        let [first, last] = times(record).map(frame_of);
        let found = (from..truth.requests.len()).find(|&number| {
            let request = &truth.requests[number];
            let is_at = |byte: usize, frame: u32| frame == 0 || sightings.reached(request.port, byte) == frame;
            could_be(record, request) && is_at(request.begin, first) && is_at(request.end - 1, last)
        });
        let number = found.unwrap_or_else(|| panic!("nobody sent what resptap tells: {first} {last} {record:?}"));
        told.insert(number, last);
        from = number + 1;
    }
    told
}

/// Times of a request's first and last byte; 0: not told.
fn times(record: &Record) -> [u64; 2] {
    let transaction = &record.transaction;
    let (t1, end) = (transaction.t1.0, transaction.end.0);
    let t2 = match transaction.times {
        Some(times) => t1 + times.send,
        // Of what is not whole the end is told as the beginning.
        None if transaction.reply.is_none() && (end > t1 || !transaction.flags.has(Flags::GAP)) => end,
        None => 0,
    };
    [t1, t2]
}

/// Whether a record can be of a request, but for its time.
fn could_be(record: &Record, request: &Request) -> bool {
    let transaction = &record.transaction;
    let is_gap = transaction.flags.has(Flags::GAP);
    let mut shown = arguments::iter(&record.arguments).zip(&request.words);
    let are_shown = shown.all(|(argument, word)| match argument {
        Argument::Word(text) | Argument::Key(text) | Argument::Value(text) => {
            text == word || is_gap && word.starts_with(text)
        }
        Argument::KeyCut(text) | Argument::ValueCut(text) => word.starts_with(text),
        Argument::Hidden | Argument::Redacted | Argument::More => true,
    });
    transaction.conversation.client.port == request.port
        && (is_gap || transaction.request_bytes == (request.end - request.begin) as u64)
        && are_shown
}

/// Requests as tshark tells them, by their number in the truth; and what it tells that nobody sent.
fn told_by_tshark(
    dissected: Vec<Dissected>,
    truth: &Truth,
    sightings: &Sightings,
) -> (BTreeMap<usize, u32>, Vec<Dissected>) {
    let mut told = BTreeMap::new();
    let mut made_up = Vec::new();
    for one in dissected {
        let found = (0..truth.requests.len()).find(|number| {
            let request = &truth.requests[*number];
            let is_it = request.port == one.port && request.words == one.words && !told.contains_key(number);
            is_it
                && sightings.has_all(request.port, request.begin, request.end)
                && [sightings.completed(request), sightings.reached(request.port, request.end - 1)].contains(&one.frame)
        });
        match found {
            Some(number) => _ = told.insert(number, one.frame),
            None => made_up.push(one),
        }
    }
    (told, made_up)
}

/// How often what came out, over all captures.
#[derive(Default)]
struct Tally {
    /// By version: requests that both tell alike, that only one of them tells, that nobody sent.
    versions: BTreeMap<String, [u64; 4]>,
    /// By reason.
    reasons: BTreeMap<&'static str, u64>,
    unexplained: Vec<String>,
}

impl Tally {
    /// A difference at a frame, and its reason.
    fn differ(&mut self, place: &str, frame: u32, client: u16, difference: Difference<'_>, scene: &Scene<'_>) {
        let (who, words) = match difference {
            Difference::OnlyResptap(request) => ("only resptap tells", &request.words),
            Difference::OnlyTshark(request, _) => ("only tshark tells", &request.words),
            Difference::NoRequest(dissected) => ("only tshark tells, and nobody sent", &dissected.words),
        };
        let start = words.iter().take(2).map(|word| word[..word.len().min(20)].escape_ascii().to_string());
        let start = start.collect::<Vec<_>>().join(" ");
        let reason = scene.reason(difference);
        let told = format!("{place}, frame {frame}, client {client}: {who} {start}");
        println!("{told}: {}", reason.unwrap_or("NO REASON"));
        match reason {
            Some(reason) => *self.reasons.entry(reason).or_default() += 1,
            None => self.unexplained.push(told),
        }
    }

    fn compare(
        &mut self,
        place: &str,
        truth: &Truth,
        frames: &[Owned],
        dissected: Vec<Dissected>,
        reorders: bool,
    ) -> [u64; 4] {
        let sightings = truth.sightings(frames);
        let scene = Scene { truth, sightings: &sightings, reorders };
        let by_resptap = told_by_resptap(frames, truth, &sightings);
        let (by_tshark, made_up) = told_by_tshark(dissected, truth, &sightings);
        let mut counts = [0; 4];
        // Up to where on which connection resptap was certain of where requests begin.
        let mut certain = (0, 0);
        for (number, request) in truth.requests.iter().enumerate() {
            if request.port != certain.0 {
                certain = (request.port, 0);
            }
            let told = (by_resptap.get(&number), by_tshark.get(&number));
            let difference = match told {
                (None, None) => continue,
                (Some(one), Some(other)) => {
                    // Queued commands have no times of their own.
                    assert!(*one == 0 || one == other, "{place}: whole at frame {one} or {other}: {request:?}");
                    (0, None)
                }
                (Some(_), None) => (1, Some(Difference::OnlyResptap(request))),
                (None, Some(_)) => (2, Some(Difference::OnlyTshark(request, certain.1))),
            };
            counts[difference.0] += 1;
            if let Some(difference) = difference.1 {
                let frame = told.1.copied().unwrap_or_else(|| sightings.reached(request.port, request.end - 1));
                self.differ(place, frame, request.port, difference, &scene);
            }
            if told.0.is_some() {
                let is_whole = sightings.has_all(request.port, request.begin, request.end);
                certain.1 = if is_whole { request.end } else { request.begin };
            }
        }
        for dissected in &made_up {
            counts[3] += 1;
            self.differ(place, dissected.frame, dissected.port, Difference::NoRequest(dissected), &scene);
        }
        counts
    }

    fn print(&self) {
        println!("\n| version | both alike | only resptap | only tshark | nobody sent |\n|---|---|---|---|---|");
        for (version, [both, resptap, tshark, nobody]) in &self.versions {
            println!("| {version} | {both} | {resptap} | {tshark} | {nobody} |");
        }
        println!("\n| differences | reason |\n|---|---|");
        for (reason, count) in &self.reasons {
            println!("| {count} | {reason} |");
        }
    }
}

#[test]
fn the_page_on_tshark_names_each_reason() {
    let page = include_str!("../docs/tshark.md");
    let missing: Vec<_> = reasons::ALL.iter().filter(|reason| !page.contains(*reason)).collect();
    assert!(missing.is_empty(), "docs/tshark.md does not name {missing:#?}; scripts/compare-tshark prints its tables");
}

#[test]
#[ignore = "needs tshark: scripts/compare-tshark runs it"]
fn on_all_versions_of_a_capture_tshark_tells_the_same_requests_but_for_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.pcap");
    let mut tally = Tally::default();
    for (number, capture) in captures().into_iter().enumerate().take(CAPTURES) {
        let capture = timed(capture);
        let truth = Truth::of(&capture);
        for (version, frames) in versions(&capture, number) {
            let reorders = version.contains("reorder");
            let place = format!("capture {number}, {version}");
            let counts = tally.compare(&place, &truth, &frames, dissect(&frames, &file, reorders), reorders);
            let sum = tally.versions.entry(version).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    tally.print();
    let [alike, apart @ ..] = tally.versions["clean"];
    assert!(alike > 8 * apart.iter().sum::<u64>(), "of a whole capture both tell most alike");
    assert!(tally.unexplained.is_empty(), "differences without a reason: {:#?}", tally.unexplained);
    let unused: Vec<_> = reasons::ALL.iter().filter(|reason| !tally.reasons.contains_key(*reason)).collect();
    assert!(unused.is_empty(), "reasons that explain nothing: {unused:#?}");
}
