//! The truth is always among the candidates: random requests and replies, some of both hidden, with the answers known.

use proptest::prelude::*;

use super::*;
use crate::redis::queue::Stretch;

/// Bytes of each request: the fewest that one can have.
const REQUEST: u64 = 10;
/// Kinds of requests, and of the replies that answer them.
const KINDS: u8 = 4;

/// A reply that is a line.
fn seen(acknowledged: Offset, is_anchored: bool) -> Seen {
    Seen { acknowledged, is_anchored, swallowed: 0, swallowed_to: acknowledged }
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request of a kind is sent; hidden or not.
    Request(u8, bool),
    /// The oldest request that waits is answered; hidden or not.
    Reply(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let request = (0..KINDS, prop::bool::weighted(0.1)).prop_map(|(kind, hidden)| Event::Request(kind, hidden));
    let reply = prop::bool::weighted(0.1).prop_map(Event::Reply);
    prop::collection::vec(prop_oneof![request, reply], 1..200)
}

/// A connection as it is in truth, and as its candidates see it.
struct Scene {
    pool: Requests,
    queue: Queue,
    candidates: Candidates,
    scratch: Scratch,
    /// Of each request, hidden ones too: its kind, the end of its bytes, and its place in the queue if it was seen.
    requests: Vec<(u8, u64, Option<u64>)>,
    answered: usize,
    /// Requests whose place was given to a mark.
    kinds: Vec<u8>,
    /// Replies that are hidden since the last one that was seen.
    hidden: u64,
}

impl Scene {
    fn new() -> Scene {
        let (pool, queue, mut candidates) = (Requests::new(4096), Queue::default(), Candidates::new());
        candidates.begin(Basis::Certain, &queue, &pool);
        Scene {
            pool,
            queue,
            candidates,
            scratch: Scratch::default(),
            requests: Vec::new(),
            answered: 0,
            kinds: Vec::new(),
            hidden: 0,
        }
    }

    fn end(&self) -> u64 {
        self.requests.len() as u64 * REQUEST
    }

    fn request(&mut self, kind: u8, hidden: bool) {
        let from = self.end();
        let to = Offset(from + REQUEST);
        let tail = self.queue.tail().filter(|&tail| self.pool.get(tail).is_mark());
        if hidden && let Some(tail) = tail {
            self.pool.get_mut(tail).stretch_mut().unwrap().to = to;
            self.candidates.marked(&self.queue, &self.pool);
        } else {
            let handle = self.pool.take().unwrap();
            self.pool.get_mut(handle).end = to;
            if hidden {
                let stretch = Stretch {
                    from: Offset(from),
                    to,
                    may_be_inline: false,
                    earlier: 0,
                    is_rest: false,
                    is_answered: false,
                    holds_one: false,
                };
                self.queue.mark(handle, stretch, &mut self.pool);
                self.candidates.marked(&self.queue, &self.pool);
            } else {
                self.queue.push(handle, &mut self.pool);
            }
            self.kinds.push(kind);
        }
        let place = (!hidden).then(|| self.queue.end() - 1);
        self.requests.push((kind, from + REQUEST, place));
    }

    fn reply(&mut self, hidden: bool) {
        let Some(&(kind, ..)) = self.requests.get(self.answered) else { return };
        // The server may have received more by now.
        let acknowledged = Offset(self.end());
        self.answered += 1;
        if hidden {
            self.hidden += 1;
            return;
        }
        if self.hidden > 0 {
            let hidden = std::mem::take(&mut self.hidden);
            self.candidates.hide((1, 2 * hidden), acknowledged, &self.queue, &self.pool, &mut self.scratch, |_| 0);
        }
        let (kinds, first) = (&self.kinds, self.queue.first());
        let ends: Vec<u64> = self.queue.iter(&self.pool).map(|(_, request)| request.end.0).collect();
        self.candidates.reply(&seen(acknowledged, false), &self.queue, &self.pool, &mut self.scratch, |line, _| {
            let place = ends.iter().position(|&end| end == line.end.0).unwrap() + first as usize;
            if kinds[place] == kind { Verdict::Possible(1) } else { Verdict::Impossible }
        });
    }

    /// The place of the next request that is answered, if it was seen: that of one to come if all are.
    fn truth(&self) -> Option<u64> {
        self.requests.get(self.answered).map_or(Some(self.queue.end()), |&(.., place)| place)
    }
}

proptest! {
    #[test]
    fn the_truth_is_among_the_candidates_and_one_that_is_left_is_it(events in events()) {
        let mut scene = Scene::new();
        for event in events {
            match event {
                Event::Request(kind, hidden) => scene.request(kind, hidden),
                Event::Reply(hidden) => scene.reply(hidden),
            }
            if scene.hidden > 0 {
                continue;
            }
            prop_assert!(!scene.candidates.is_empty());
            if let Some(truth) = scene.truth() {
                prop_assert!(scene.candidates.has(truth), "{truth} is not in {:?}", scene.candidates);
                if let Some((only, _)) = scene.candidates.only() {
                    prop_assert_eq!(only, truth);
                }
            } else {
                // It is in a mark, and so more than one place is possible.
                prop_assert_eq!(scene.candidates.only(), None);
            }
        }
    }
}

#[test]
fn of_two_that_are_left_the_kind_of_a_reply_strikes_one() {
    let mut scene = Scene::new();
    for kind in [0, 0, 1, 2] {
        scene.request(kind, false);
    }
    scene.reply(true);
    scene.reply(false);
    assert!(scene.candidates.has(2) && !scene.candidates.has(3), "{:?}", scene.candidates);
    assert_eq!(scene.candidates.only(), Some((2, Proof::Eliminated)));
    assert_eq!(scene.candidates.explained(2), Some(1));
}

#[test]
fn a_request_that_is_not_acknowledged_is_no_candidates_answer() {
    let mut scene = Scene::new();
    scene.request(0, false);
    scene.request(0, false);
    let (queue, pool) = (&scene.queue, &scene.pool);
    assert!(!scene.candidates.can_take(Offset(REQUEST - 1), queue, pool));
    scene
        .candidates
        .reply(&seen(Offset(REQUEST), false), queue, pool, &mut Scratch::default(), |_, _| Verdict::Possible(0));
    assert_eq!(scene.candidates.only(), Some((1, Proof::Counted)));
    scene
        .candidates
        .reply(&seen(Offset(REQUEST), false), queue, pool, &mut Scratch::default(), |_, _| Verdict::Possible(0));
    assert!(scene.candidates.is_empty());
}

#[test]
fn what_may_be_the_content_of_a_reply_moves_nobody_for_certain() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        scene.request(0, false);
    }
    scene.reply(true);
    let (queue, pool) = (&scene.queue, &scene.pool);
    scene.candidates.hide((1, 1), Offset(50), queue, pool, &mut Scratch::default(), |_| 3);
    assert_eq!(scene.candidates.only().map(|(position, _)| position), Some(1));
    assert_eq!(scene.candidates.explained(1), None, "it has explained nothing yet");
    scene.candidates.reply(&seen(Offset(50), false), queue, pool, &mut Scratch::default(), |_, _| Verdict::Possible(0));
    assert!(scene.candidates.has(1) && scene.candidates.has(2));
    // An anchored one is a reply.
    scene.candidates.reply(&seen(Offset(50), true), queue, pool, &mut Scratch::default(), |_, _| Verdict::Possible(3));
    assert!(!scene.candidates.has(1) && scene.candidates.has(2) && scene.candidates.has(3));
}

#[test]
fn a_hidden_reply_makes_no_request_more_believable() {
    let mut scene = Scene::new();
    for hidden in [true, false, false, false] {
        scene.request(0, hidden);
    }
    let (queue, pool) = (&scene.queue, &scene.pool);
    scene.candidates.hide((1, 3), Offset(40), queue, pool, &mut Scratch::default(), |_| 0);
    for position in 1..=3 {
        assert!(scene.candidates.has(position));
        assert_eq!(scene.candidates.explained(position), None, "{position}");
    }
    // Of two pasts the doubted one counts; and what is taken for no reply changes nothing about requests.
    let doubted = Candidate::fresh(0).in_mark();
    let believed = doubted.explained(DOUBT_REQUESTS, true);
    assert!(doubted.requests_in_doubt && !believed.requests_in_doubt);
    for (mut first, second) in [(believed, doubted), (doubted, believed)] {
        first.join(second);
        assert!(first.requests_in_doubt);
    }
    let mut places = Places::default();
    places.linger(3, doubted, None, &[]);
    assert!(places.get(3).unwrap().requests_in_doubt);
}

#[test]
fn a_window_needs_others_that_failed() {
    let mut scene = Scene::new();
    for n in 0..200 {
        scene.request(n % 3, false);
    }
    assert_eq!(scene.candidates.window(64), None);
    let (queue, pool) = (&scene.queue, &scene.pool);
    scene.candidates.hide((1, 9), Offset(2000), queue, pool, &mut Scratch::default(), |_| 0);
    for n in 0..70 {
        let mut place = 0;
        scene.candidates.reply(&seen(Offset(2000), false), queue, pool, &mut Scratch::default(), |request, _| {
            place = request.end.0 / REQUEST - 1;
            // The first reply answers request 4.
            if place % 3 == (n + 4) % 3 { Verdict::Possible(1) } else { Verdict::Impossible }
        });
    }
    // Those three apart explain as much.
    assert_eq!(scene.candidates.window(64), None);
    assert!(scene.candidates.has(74) && scene.candidates.has(71) && !scene.candidates.has(73));
}
