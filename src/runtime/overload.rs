//! How much a worker leaves out, so that the rest can be carried: decided by how its rings fill, before they run over.
//!
//! Pure: time, and how full the rings are, are told. Raised at once, by as much as the rings' filling since they were emptiest says
//! there is too much; a ring that has only been left alone for a moment, and is being emptied, is none. Lowered as far as the time in
//! which the worker has nothing to do says that it can carry more, which is looked at over a while, a longer one each time that it
//! was mistaken.

use crate::limits::SHED_PARTS;

/// How full a ring is when connections are left out if it is still filling: more than one whose frames are held back for another
/// interface's is.
const HIGH: f64 = 0.625;
/// When they are as soon as it is fuller than it was.
const BRIM: f64 = 0.875;
/// Below this more may come.
const LOW: f64 = 0.25;
/// How much fuller it must have become since it was so full.
const STILL: f64 = 0.03125;
/// Of what could be kept, what is: the rest of the time empties the rings.
const MARGIN: f64 = 0.875;
/// What is kept of what was kept before where packets were lost, of which the rings do not tell how many; and how long it takes until
/// that has helped, in nanoseconds.
const LOSS: f64 = 0.5;
const LOSS_NS: u64 = 10_000_000;
/// Least that is: where the worker did not run for a while the rings say too little, too.
const STEP: f64 = 0.5;
/// How busy the worker is to be when more is kept, and what is not worth the change.
const BUSY: f64 = 0.8;
const WORTH: f64 = 1.1;
/// For how long the worker is watched before more is kept: at first, and at the most.
const PATIENCE_NS: u64 = 500_000_000;
const PATIENCE_MAX_NS: u64 = 16_000_000_000;

/// What a worker's rings look like at a moment. Rings are counted as wholes: two that are half full are one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// When, since the capture began, in nanoseconds.
    pub at_ns: u64,
    /// How full the fullest is.
    pub fullest: f64,
    /// How full they are together.
    pub filled: f64,
    /// How much has been taken out of them since the beginning.
    pub turned: f64,
    /// Packets lost since the beginning.
    pub lost: u64,
    /// Time in which there was nothing to do since the beginning, in nanoseconds.
    pub idle_ns: u64,
}

/// Decides.
#[derive(Debug)]
pub struct Overload {
    /// Parts that are kept, in fractions.
    kept: f64,
    /// When the rings were emptiest since what is left out was changed.
    emptiest: Look,
    /// How full the fullest was when it had become high since then, and at the last look.
    high: Option<f64>,
    before: f64,
    /// Packets lost before the last look, and when they last made a difference, in nanoseconds.
    lost: u64,
    lost_ns: Option<u64>,
    /// Where the measurement of idleness began, and how full the fullest was since.
    watch: Look,
    fullest: f64,
    patience_ns: u64,
    /// When more was kept the last time, in nanoseconds.
    lowered_ns: Option<u64>,
    /// Most parts that were left out at a time.
    most: usize,
    /// Since when parts are left out, in nanoseconds, and for how long they were before.
    since_ns: Option<u64>,
    shed_ns: u64,
}

impl Default for Overload {
    /// Nothing is left out.
    fn default() -> Overload {
        Overload {
            kept: SHED_PARTS as f64,
            emptiest: Look::default(),
            high: None,
            before: 0.0,
            lost: 0,
            lost_ns: None,
            watch: Look::default(),
            fullest: 0.0,
            patience_ns: PATIENCE_NS,
            lowered_ns: None,
            most: 0,
            since_ns: None,
            shed_ns: 0,
        }
    }
}

impl Overload {
    /// Parts that are left out.
    pub fn parts(&self) -> usize {
        #[expect(clippy::cast_sign_loss, reason = "it is at least one")]
        let kept = self.kept as usize;
        SHED_PARTS - kept.clamp(1, SHED_PARTS)
    }

    /// The most that were at a time.
    pub fn most(&self) -> usize {
        self.most
    }

    /// For how long any were, in nanoseconds, now being `at_ns`.
    pub fn shed_ns(&self, at_ns: u64) -> u64 {
        self.shed_ns + self.since_ns.map_or(0, |since| at_ns.saturating_sub(since))
    }

    /// Looks, and decides; answers whether that changes what is left out.
    pub fn look(&mut self, look: &Look) -> bool {
        let before = self.parts();
        self.fullest = self.fullest.max(look.fullest);
        self.press(look);
        if look.at_ns - self.watch.at_ns >= self.patience_ns {
            self.relax(look);
        }
        let parts = self.parts();
        self.most = self.most.max(parts);
        match (before, parts) {
            (0, 1..) => self.since_ns = Some(look.at_ns),
            (1.., 0) => {
                self.shed_ns = self.shed_ns(look.at_ns);
                self.since_ns = None;
            }
            _ => {}
        }
        before != parts
    }

    /// Leaves more out if the rings will not hold.
    fn press(&mut self, look: &Look) {
        let (took, grew) = (look.turned - self.emptiest.turned, look.filled - self.emptiest.filled);
        let is_new = self.lost_ns.is_none_or(|lost| look.at_ns - lost >= LOSS_NS);
        let has_lost = look.lost > self.lost && is_new;
        self.lost = look.lost;
        let is_fuller = look.fullest > std::mem::replace(&mut self.before, look.fullest);
        let is_filling = match self.high {
            Some(high) => is_fuller && (look.fullest >= high + STILL || look.fullest >= BRIM),
            // The worker may not have run for a while: then it will be emptier at the next look.
            None => false,
        };
        self.high = (look.fullest >= HIGH).then(|| self.high.unwrap_or(look.fullest));
        if !(has_lost || is_filling) {
            if grew <= 0.0 {
                self.emptiest = *look;
            }
            return;
        }
        let mut keeps = took / (took + grew.max(0.0)).max(f64::MIN_POSITIVE) * MARGIN;
        if has_lost {
            keeps = keeps.min(LOSS);
            self.lost_ns = Some(look.at_ns);
        }
        self.kept = (self.kept * keeps.max(STEP)).max(1.0);
        (self.emptiest, self.high) = (*look, None);
        if self.lowered_ns.is_some_and(|lowered| look.at_ns - lowered < 2 * self.patience_ns) {
            self.patience_ns = (2 * self.patience_ns).min(PATIENCE_MAX_NS);
        }
        self.lowered_ns = None;
        self.begin_watch(look);
    }

    /// Keeps more if there has been time for more.
    fn relax(&mut self, look: &Look) {
        let passed = (look.at_ns - self.watch.at_ns) as f64;
        let busy = 1.0 - ((look.idle_ns - self.watch.idle_ns) as f64 / passed).min(0.99);
        let whole = SHED_PARTS as f64;
        let could = (self.kept * BUSY / busy).min(2.0 * self.kept).min(whole);
        if self.kept < whole && self.fullest < LOW && (could >= self.kept * WORTH || could >= whole) {
            if self.lowered_ns.is_some() {
                // It was right the last time.
                self.patience_ns = (self.patience_ns / 2).max(PATIENCE_NS);
            }
            self.kept = could;
            self.lowered_ns = Some(look.at_ns);
        }
        self.begin_watch(look);
    }

    fn begin_watch(&mut self, look: &Look) {
        self.watch = *look;
        self.fullest = look.fullest;
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, clippy::cast_sign_loss, reason = "what is none is none exactly, and nothing is below")]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A worker with a ring, in steps of a tenth of a millisecond.
    struct Simulation {
        overload: Overload,
        /// Packets that the ring holds, and those that are in it.
        room: f64,
        waiting: f64,
        /// Nanoseconds for a packet that is kept, and for one that the worker leaves out.
        cost_ns: f64,
        shed_cost_ns: f64,
        /// What is left out does not come into the ring (an XDP program).
        sheds_before: bool,
        look: Look,
        /// Packets lost, and how often what is left out changed.
        lost: f64,
        changes: u32,
        /// When it was looked the last time.
        looked_ns: u64,
    }

    impl Simulation {
        fn new(room: f64, sheds_before: bool) -> Simulation {
            Simulation {
                overload: Overload::default(),
                room,
                waiting: 0.0,
                cost_ns: 1000.0,
                shed_cost_ns: 50.0,
                sheds_before,
                look: Look::default(),
                lost: 0.0,
                changes: 0,
                looked_ns: 0,
            }
        }

        fn share(&self) -> f64 {
            self.overload.parts() as f64 / SHED_PARTS as f64
        }

        /// So many packets a second come for so long; `works`: whether the worker gets to run.
        fn run(&mut self, rate: f64, ns: u64, works: bool) {
            const STEP_NS: u64 = 100_000;
            for _ in 0..ns / STEP_NS {
                let share = self.share();
                let (into_ring, shed_in_ring) = if self.sheds_before { (1.0 - share, 0.0) } else { (1.0, share) };
                let room_left = self.room - self.waiting;
                let come = rate * into_ring * STEP_NS as f64 / 1e9;
                self.lost += (come - room_left).max(0.0);
                self.waiting += come.min(room_left);
                self.look.at_ns += STEP_NS;
                if !works {
                    continue;
                }
                // What was in the ring when more began to be left out is as what comes.
                let cost = self.cost_ns * (1.0 - shed_in_ring) + self.shed_cost_ns * shed_in_ring;
                let could = STEP_NS as f64 / cost;
                let took = could.min(self.waiting);
                self.waiting -= took;
                self.look.turned += took / self.room;
                self.look.idle_ns += ((1.0 - took / could) * STEP_NS as f64) as u64;
                if self.look.at_ns - self.looked_ns >= 500_000 {
                    self.looked_ns = self.look.at_ns;
                    (self.look.filled, self.look.fullest) = (self.waiting / self.room, self.waiting / self.room);
                    self.look.lost = self.lost as u64;
                    self.changes += u32::from(self.overload.look(&self.look));
                }
            }
        }
    }

    #[test]
    fn what_can_be_carried_is_kept_and_nothing_is_lost() {
        // Of a worker who can carry a million packets a second; rings of AF_XDP and of AF_PACKET.
        for (room, sheds_before) in [(16_384.0, true), (16_384.0, false), (300_000.0, false)] {
            for rate in [1.1e6, 1.5e6, 2e6, 3e6] {
                let mut worker = Simulation::new(room, sheds_before);
                worker.run(rate, 4 * SECOND, true);
                let (share, changes) = (worker.share(), worker.changes);
                let needed = 1.0 - 1e6 / rate;
                assert!(share >= needed && share < needed + 0.3 * (1.0 - needed), "{room} {rate}: {share}");
                worker.run(rate, 30 * SECOND, true);
                assert_eq!(worker.lost, 0.0, "{room} {sheds_before} {rate}");
                assert_eq!((worker.share(), worker.changes), (share, changes), "it stays: {room} {rate}");
                assert_eq!(worker.overload.most(), worker.overload.parts());
            }
        }
    }

    #[test]
    fn where_packets_are_lost_all_the_same_it_is_not_for_long() {
        for (room, sheds_before, rate) in [(16_384.0, true, 8e6), (16_384.0, true, 50e6), (20_000.0, false, 8e6)] {
            let mut worker = Simulation::new(room, sheds_before);
            worker.run(rate, SECOND / 4, true);
            let lost = worker.lost;
            assert!(lost > 0.0 && lost < rate / 10.0, "{rate}: {lost}");
            worker.run(rate, 10 * SECOND, true);
            assert_eq!(worker.lost, lost, "{rate}");
            let kept = 1.0 - worker.share();
            assert!(kept > 0.45 * 1e6 / rate, "something is kept: {kept} of {rate}");
        }
    }

    #[test]
    fn all_is_seen_again_when_the_load_falls() {
        let mut worker = Simulation::new(16_384.0, true);
        worker.run(3e6, 2 * SECOND, true);
        assert!(worker.share() > 0.6);
        worker.run(5e5, 4 * SECOND, true);
        assert_eq!((worker.share(), worker.lost), (0.0, 0.0));
        let shed_ns = worker.overload.shed_ns(worker.look.at_ns);
        assert!((2 * SECOND..6 * SECOND).contains(&shed_ns) && worker.overload.shed_ns(u64::MAX) == shed_ns);
        assert!(worker.overload.most() > 170);
        // Some more than can be carried.
        worker.run(2e6, 2 * SECOND, true);
        worker.run(1.2e6, 20 * SECOND, true);
        assert!(worker.share() > 0.16 && worker.share() < 0.4, "{}", worker.share());
        assert_eq!(worker.lost, 0.0);
    }

    #[test]
    fn what_came_long_before_does_not_count() {
        let mut worker = Simulation::new(16_384.0, true);
        worker.run(1e5, 20 * SECOND, true);
        worker.run(5e6, SECOND, true);
        assert_eq!(worker.lost, 0.0);
    }

    #[test]
    fn little_more_is_not_worth_a_change() {
        let mut worker = Simulation::new(16_384.0, true);
        worker.run(2e6, 2 * SECOND, true);
        let changes = worker.changes;
        // Busy for some more than two thirds of the time.
        worker.run(0.74 * 1e6 / (1.0 - worker.share()), 20 * SECOND, true);
        assert_eq!((worker.changes, worker.lost), (changes, 0.0));
    }

    #[test]
    fn a_worker_whose_ring_is_half_full_at_times_has_no_time_for_more() {
        let mut worker = Simulation::new(16_384.0, true);
        worker.run(3e6, SECOND, true);
        let changes = worker.changes;
        for _ in 0..200 {
            // 6,500 packets of these wait in the end.
            worker.run((1e6 + 6.5e6) / (1.0 - worker.share()), 1_000_000, true);
            worker.run(0.0, 49_000_000, true);
        }
        assert_eq!((worker.changes, worker.lost), (changes, 0.0));
    }

    #[test]
    fn no_load_at_all_ends_it_too() {
        let mut worker = Simulation::new(16_384.0, true);
        worker.run(3e6, SECOND, true);
        worker.run(0.0, 4 * SECOND, true);
        assert_eq!(worker.share(), 0.0);
    }

    #[test]
    fn what_can_be_carried_is_never_left_out() {
        let mut worker = Simulation::new(16_384.0, true);
        worker.run(9e5, 20 * SECOND, true);
        assert_eq!((worker.changes, worker.lost), (0, 0.0));
        // The worker is kept from running for a while.
        for _ in 0..50 {
            worker.run(5e5, 24_000_000, false);
            worker.run(5e5, SECOND / 2, true);
        }
        assert_eq!((worker.changes, worker.lost), (0, 0.0));
        // For so long that the ring is nearly full.
        for _ in 0..50 {
            worker.run(5e5, 31_000_000, false);
            worker.run(5e5, SECOND / 2, true);
        }
        assert_eq!((worker.changes, worker.lost), (0, 0.0));
    }

    #[test]
    fn a_worker_who_runs_only_at_times_is_one_that_can_carry_less() {
        for (room, rate) in [(16_384.0, 1.5e5), (300_000.0, 3e5)] {
            let mut worker = Simulation::new(room, room < 1e5);
            for _ in 0..300 {
                worker.run(rate, 27_000_000, false);
                worker.run(rate, 3_000_000, true);
            }
            let needed = 1.0 - 1e5 / rate;
            assert!(worker.share() >= needed && worker.share() < needed + 0.4 * (1.0 - needed), "{}", worker.share());
            assert!(worker.lost == 0.0 && worker.changes < 4, "{} {}", worker.lost, worker.changes);
        }
    }

    #[test]
    fn who_is_mistaken_waits_longer() {
        let mut worker = Simulation::new(16_384.0, true);
        for _ in 0..60 {
            // Each time that it keeps more, more comes.
            worker.run(3e5, SECOND, true);
            worker.run(3e6, SECOND, true);
        }
        assert_eq!(worker.overload.patience_ns, PATIENCE_MAX_NS);
        assert!(worker.changes < 60, "{}", worker.changes);
        worker.run(3e5, 60 * SECOND, true);
        assert_eq!(worker.share(), 0.0);
    }
}
