//! Recording and merging (`totals`) together, against sums made one request at a time.

use std::fmt::Write;

use proptest::prelude::*;

use super::super::totals::{Command, Totals, Whose};
use super::together::{Alike, Gathering};
use super::usual::UsualSample;
use super::*;
use crate::flow::hash::Seed;

fn table() -> CommandTable {
    CommandTable::parse("GET\t2\t\t\nSET\t3\t\t\nXREAD\t-4\tblocking\t\n").unwrap()
}

fn endpoint(last: u8) -> Endpoint {
    Endpoint { address: Address::from_ipv4([10, 0, 0, last]), port: 6379 }
}

/// A request as one number of a generator describes it.
#[derive(Clone, Copy, Debug)]
struct Request {
    server: u8,
    client: u8,
    command: u16,
    blocking: bool,
    error: Option<&'static [u8]>,
    times: Option<Times>,
}

fn request() -> impl Strategy<Value = Request> {
    let error = prop_oneof![3 => Just(None), 1 => Just(Some(&b"ERR x"[..])), 1 => Just(Some(&b"MOVED 1 h:1"[..]))];
    // Times up to beyond the largest value that is told apart; often one part is all of them.
    let or_zero = |most: u64| prop_oneof![Just(0), 0..most];
    let times = proptest::option::weighted(0.8, (or_zero(1 << 20), or_zero(1 << 44), or_zero(1 << 10)));
    (0u8..4, 0u8..4, 0u16..4, any::<bool>(), error, times).prop_map(
        |(server, client, command, blocking, error, times)| {
            let times = times.map(|(queue, server, transfer)| Times { send: 0, queue, server, transfer });
            Request { server, client, command, blocking: blocking && command == 2, error, times }
        },
    )
}

struct Worker {
    statistics: Statistics,
    directory: Directory,
    counters: Counters,
    /// Usual requests are counted at once, as a worker does it.
    is_quick: bool,
}

impl Worker {
    fn new() -> Worker {
        Worker::with_bounds(100, 100)
    }

    fn with_bounds(parties: usize, series: usize) -> Worker {
        let directory = Directory::with_bounds(Seed::random(), parties, parties, series, parties);
        Worker { statistics: Statistics::default(), directory, counters: Counters::default(), is_quick: true }
    }

    /// One whose box has room for so many bytes beyond what is always whole.
    fn with_room(bytes: u64) -> Worker {
        Worker { statistics: Statistics::new(Room::new(bytes, 0)), ..Worker::new() }
    }

    fn record(&mut self, request: Request) {
        let (server, client) = (endpoint(request.server), endpoint(request.client).address);
        let error = request.error.map(ErrorCode::of);
        let (server_number, client_number) =
            (self.directory.server(server, &mut self.counters), self.directory.client(client, &mut self.counters));
        let sample = Sample {
            server: &server,
            server_number,
            client: &client,
            client_number,
            command: if request.command == 3 { CommandId::UNKNOWN } else { CommandId(request.command) },
            flags: if request.blocking { Flags::BLOCKING } else { Flags::default() },
            request_bytes: 10,
            reply_bytes: 3,
            times: request.times,
            error: error.as_ref(),
            counts: true,
        };
        if let (true, Some(times), None, false) = (self.is_quick, request.times, error, request.blocking) {
            let Sample { command, request_bytes, reply_bytes, .. } = sample;
            // What has waited in the queue, and took no time then, came with the reply before.
            let (sent, answered) = (Timestamp(1), Timestamp(1 + times.latency()));
            let gathering = Gathering { server_number, client_number, answered };
            let alike = Alike { command, sent };
            let may_be_alike = times.queue > 0 && times.queue == times.latency();
            let Worker { statistics, directory, counters, .. } = self;
            if may_be_alike {
                if statistics.gathering() != gathering {
                    // Which of them comes first does not matter.
                    let first = if answered.0.is_multiple_of(2) { alike } else { Alike { sent: answered, ..alike } };
                    statistics.gather(gathering, first, &table(), directory, counters);
                }
                if !statistics.record_alike(alike, request_bytes, reply_bytes) {
                    statistics.begin_alike(alike, request_bytes, reply_bytes, &table(), directory, counters);
                }
                return;
            }
            let usual = UsualSample { server_number, client_number, command, request_bytes, reply_bytes, times };
            if statistics.record_usual(&usual, &table(), directory, counters) {
                return;
            }
        }
        self.statistics.record(&sample, &table(), &mut self.directory, &mut self.counters);
    }

    fn settle(&mut self) {
        self.statistics.count_waiting(&table(), &mut self.directory, &mut self.counters);
    }

    fn totals(&mut self) -> Totals {
        let mut totals = Totals::default();
        self.settle();
        totals.merge(&mut self.statistics, false, &table(), &mut { Room::ENDLESS });
        totals
    }
}

/// All that totals say, histograms by their counts (how far they have grown does not matter).
fn said(totals: &Totals) -> String {
    let mut said = String::new();
    let mut say = |name: String, histogram: &Histogram| {
        let counts: Vec<_> =
            histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        let _ = writeln!(said, "{name} {} {} {} {counts:?}", histogram.len(), histogram.min(), histogram.max());
    };
    say("latency".into(), &totals.latency);
    say("queue".into(), &totals.parts.queue);
    say("server".into(), &totals.parts.server);
    say("transfer".into(), &totals.parts.transfer);
    for (key, latency) in &totals.series {
        say(format!("{key:?}"), latency.kept().unwrap());
    }
    for (name, Command { counts, parts }) in &totals.commands {
        say(format!("{name} {counts:?}"), &totals.latency_of(Whose::Command(name)).unwrap());
        if let Some(parts) = parts.kept().filter(|parts| !parts.queue.is_empty()) {
            say(format!("{name} queue"), &parts.queue);
            say(format!("{name} server"), &parts.server);
            say(format!("{name} transfer"), &parts.transfer);
        }
    }
    for (name, entry) in &totals.servers {
        say(format!("{name:?} {:?}", entry.counts), &totals.latency_of(Whose::Server(*name)).unwrap());
    }
    for (name, entry) in &totals.clients {
        say(format!("{name:?} {:?}", entry.counts), &totals.latency_of(Whose::Client(*name)).unwrap());
    }
    said + &format!("{:?}", totals.errors)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn totals_do_not_depend_on_which_worker_recorded_what_or_who_is_merged_first(
        requests in proptest::collection::vec((request(), 0usize..3), 0..60),
    ) {
        let mut one = Worker::new();
        let mut three = [Worker::new(), Worker::new(), Worker::new()];
        for &(request, worker) in &requests {
            one.record(request);
            three[worker].record(request);
        }
        let expected = said(&one.totals());
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let (mut merged, mut summed) = (Totals::default(), Totals::default());
            for worker in order {
                three[worker].settle();
                merged.merge(&mut three[worker].statistics, false, &table(), &mut { Room::ENDLESS });
                summed.merge_totals(three[worker].totals(), &mut { Room::ENDLESS });
            }
            prop_assert_eq!(said(&merged), expected.clone());
            prop_assert_eq!(said(&summed), expected.clone());
        }
    }

    #[test]
    fn a_cleared_box_is_as_good_as_a_new_one(
        before in proptest::collection::vec(request(), 0..30),
        after in proptest::collection::vec(request(), 0..30),
    ) {
        let (mut used, mut new) = (Worker::new(), Worker::new());
        for request in before {
            used.record(request);
        }
        used.statistics.clear();
        prop_assert_eq!(said(&used.totals()), said(&Totals::default()));
        for request in after {
            used.record(request);
            new.record(request);
        }
        prop_assert_eq!(said(&used.totals()), said(&new.totals()));
    }

    #[test]
    fn bounds_change_names_to_other_and_no_sum(
        requests in proptest::collection::vec(request(), 0..60), parties in 0usize..3, series in 0usize..5,
    ) {
        let (mut free, mut bounded) = (Worker::new(), Worker::with_bounds(parties, series));
        for &request in &requests {
            free.record(request);
            bounded.record(request);
        }
        let (free, totals) = (free.totals(), bounded.totals());
        let named = totals.servers.keys().flatten().count().max(totals.clients.keys().flatten().count());
        prop_assert!(named <= parties && totals.series.keys().filter(|key| key.server.is_some()).count() <= series);
        prop_assert_eq!(totals.latency.len(), free.latency.len());
        prop_assert_eq!(totals.errors.values().sum::<u64>(), free.errors.values().sum::<u64>());
        let latencies = |totals: &Totals, whose| totals.latency_of(whose).map(|latency| latency.len());
        for (name, command) in &free.commands {
            prop_assert_eq!(totals.commands[name].counts, command.counts);
            let whose = Whose::Command(name);
            prop_assert_eq!(latencies(&totals, whose), latencies(&free, whose));
        }
        let of_servers = totals.servers.keys().filter_map(|&name| latencies(&totals, Whose::Server(name)));
        prop_assert_eq!(of_servers.sum::<u64>(), free.latency.len(), "every server keeps its latency");
        for (&name, entry) in &totals.servers {
            let whose = Whose::Server(name);
            let all_of_it = name.is_none() || latencies(&totals, whose) == latencies(&free, whose);
            prop_assert!(all_of_it && entry.counts.count > 0, "{:?}", name);
        }
        let distinct = requests.iter().map(|request| request.server).collect::<std::collections::BTreeSet<_>>();
        prop_assert!(distinct.len() <= parties || bounded.counters[Counter::EvictedSeries] > 0);
    }
}

/// Each latency that `totals` tell is whole, and what is not told by name is among the rest; nothing that was given up is missing
/// overall.
fn check_bounded(totals: &Totals, free: &Totals) {
    let counts = |histogram: &Histogram| -> Vec<_> {
        histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    };
    assert_eq!(counts(&totals.latency), counts(&free.latency));
    let of_parts = |parts: &Parts| [&parts.queue, &parts.server, &parts.transfer].map(counts);
    assert_eq!(of_parts(&totals.parts), of_parts(&free.parts));
    for (key, latency) in totals.series.iter().filter(|(key, _)| key.server.is_some()) {
        if let Some(latency) = latency.kept() {
            assert_eq!(counts(latency), counts(free.series[key].kept().unwrap()), "{key:?}");
        }
    }
    for (name, command) in &free.commands {
        assert_eq!(totals.commands[name].counts, command.counts);
        if let (Some(parts), Some(free)) = (totals.commands[name].parts.kept(), command.parts.kept()) {
            assert_eq!(of_parts(parts), of_parts(free), "{name}");
        }
    }
    let told = |whose: Whose<'_>| {
        if let Some(latency) = totals.latency_of(whose) {
            assert_eq!(counts(&latency), counts(&free.latency_of(whose).unwrap()), "{whose:?}");
        }
    };
    free.commands.keys().for_each(|name| told(Whose::Command(name)));
    free.servers.keys().for_each(|&name| told(Whose::Server(name)));
    free.clients.keys().for_each(|&name| told(Whose::Client(name)));
    for blocking in [false, true] {
        let series = |totals: &Totals| {
            let kept = totals.series.iter().filter(|(key, _)| key.blocking == blocking);
            let named: u64 = kept.filter_map(|(_, latency)| Some(latency.kept()?.len())).sum();
            named + totals.rest[usize::from(blocking)].len()
        };
        assert_eq!(series(totals), series(free), "each latency is in one series, or in the rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_finds_no_room_is_given_up_whole_and_no_sum_changes(
        requests in proptest::collection::vec((request(), 0usize..2), 0..80), rooms in (0u64..2 << 20, 0u64..2 << 20),
        of_sums in 0u64..2 << 20, is_moved: bool,
    ) {
        let mut free = Worker::new();
        let mut bounded = [Worker::with_room(rooms.0), Worker::with_room(rooms.1)];
        for &(request, worker) in &requests {
            free.record(request);
            bounded[worker].record(request);
        }
        let free = free.totals();
        bounded.iter_mut().for_each(Worker::settle);
        for (worker, room) in bounded.iter().zip([rooms.0, rooms.1]) {
            prop_assert!(worker.statistics.memory() <= room + Statistics::RESERVED_BYTES);
        }
        let has_given_up = bounded.iter().any(|worker| worker.counters[Counter::EvictedSeries] > 0);
        let (mut totals, mut summed) = (Totals::default(), Totals::default());
        for worker in &mut bounded {
            // Copied, an interval's sum is beside that of all.
            let mut sum = Totals::default();
            sum.merge(&mut worker.statistics, false, &table(), &mut Room::new(of_sums, summed.bytes()));
            prop_assert!(summed.bytes() + sum.bytes() <= of_sums);
            let mut room = Room::new(of_sums, summed.bytes() + sum.bytes());
            summed.merge_totals(sum, &mut room);
            prop_assert!(summed.bytes() <= of_sums);
            totals.merge(&mut worker.statistics, is_moved, &table(), &mut { Room::ENDLESS });
        }
        check_bounded(&totals, &free);
        check_bounded(&summed, &free);
        prop_assert!(has_given_up || totals.given_up == 0 && said(&totals) == said(&free));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn usual_requests_counted_at_once_add_what_they_add_one_by_one(
        requests in proptest::collection::vec((request(), 1usize..4, 0u32..40), 0..80),
        bounds in prop_oneof![Just((100, 100)), (0usize..3, 0usize..8)],
        room in prop_oneof![2 => Just(u64::MAX), 1 => 0u64..1 << 20, 1 => 0u64..8 << 20],
    ) {
        let [mut quick, mut plain] = [true, false].map(|is_quick| {
            let statistics = Statistics::new(if room == u64::MAX { Room::ENDLESS } else { Room::new(room, 0) });
            Worker { statistics, is_quick, ..Worker::with_bounds(bounds.0, bounds.1) }
        });
        let same = |quick: &mut Worker, plain: &mut Worker| {
            quick.settle();
            assert_eq!(quick.statistics.memory(), plain.statistics.memory());
            assert_eq!(quick.statistics.room, plain.statistics.room);
            assert_eq!(quick.counters, plain.counters);
            assert_eq!(format!("{:?}", quick.totals()), format!("{:?}", plain.totals()));
        };
        for (request, times, then) in requests {
            for worker in [&mut quick, &mut plain] {
                (0..times).for_each(|_| worker.record(request));
            }
            // An interval is told, and ends, or goes on.
            if then < 2 {
                same(&mut quick, &mut plain);
            }
            if then == 0 {
                quick.statistics.clear();
                plain.statistics.clear();
            }
        }
        same(&mut quick, &mut plain);
    }
}

#[test]
fn of_many_series_each_is_usual_until_others_need_its_place() {
    let times = |server| Some(Times { server, ..Times::default() });
    let mut worker = Worker::new();
    for server in 0..100u8 {
        let request = Request { server, client: 1, command: 0, blocking: false, error: None, times: times(10) };
        worker.record(request);
        worker.record(Request { times: times(1 << 30), ..request });
        worker.record(request);
    }
    let totals = worker.totals();
    assert_eq!(totals.commands["GET"].counts.count, 300);
    assert!(totals.servers.values().all(|server| server.counts.count == 3 && server.counts.request_bytes == 30));
    let parts = totals.commands["GET"].parts.kept().unwrap();
    assert_eq!(
        [&parts.queue, &parts.server, &parts.transfer].map(|part| (part.len(), part.count_at(0))),
        [(300, 300), (300, 0), (300, 300)]
    );
}

#[test]
fn counts_errors_bytes_and_redirects_are_told_apart() {
    let mut worker = Worker::new();
    let request = Request { server: 1, client: 2, command: 0, blocking: false, error: None, times: None };
    worker.record(request);
    worker.record(Request { error: Some(b"ERR unknown"), ..request });
    worker.record(Request { error: Some(b"MOVED 12 10.0.0.7:6379"), ..request });
    let totals = worker.totals();
    let counts = Counts { count: 3, errors: 1, request_bytes: 30, reply_bytes: 9 };
    assert_eq!(totals.commands["GET"].counts, counts);
    assert_eq!(totals.servers[&Some(endpoint(1))].counts, counts);
    assert_eq!(totals.clients[&Some(endpoint(2).address)].counts, counts);
    assert_eq!(totals.errors[&Some(ErrorCode::of(b"MOVED x"))], 1);
    assert_eq!(totals.latency.len(), 0, "without times nothing enters a histogram");
    assert!(totals.series.is_empty());
}

#[test]
fn blocking_calls_are_kept_apart_from_the_overall_latency() {
    let times = Some(Times { send: 0, queue: 1, server: 5_000_000_000, transfer: 2 });
    let mut worker = Worker::new();
    let request = Request { server: 1, client: 2, command: 2, blocking: true, error: None, times };
    worker.record(request);
    worker.record(Request { blocking: false, times: Some(Times { server: 100, ..Times::default() }), ..request });
    let totals = worker.totals();
    assert_eq!((totals.latency.len(), totals.latency.max()), (1, 100));
    assert_eq!(totals.latency_of(Whose::Server(Some(endpoint(1)))).unwrap().len(), 1);
    assert_eq!(totals.latency_of(Whose::Client(Some(endpoint(2).address))).unwrap().len(), 1);
    let Parts { queue, server, transfer, .. } = &totals.parts;
    assert_eq!([queue, server, transfer].map(|part| (part.len(), part.max())), [(1, 0), (1, 100), (1, 0)]);
    assert_eq!(totals.series.keys().map(|key| key.blocking).collect::<Vec<_>>(), [false, true]);
    assert_eq!(totals.latency_of(Whose::Command("XREAD")).unwrap().len(), 2);
}

#[test]
fn error_codes_are_the_first_word_if_it_looks_like_one() {
    for (text, code) in [
        (&b"WRONGTYPE Operation against"[..], "WRONGTYPE"),
        (b"LOADING", "LOADING"),
        (b"BUSY\r\n", "BUSY"),
        (b"unknown command", "ERR"),
        (b"", "ERR"),
        (b"\xff\xfe", "ERR"),
        (b"A23456789012345678901234567890123 too long", "ERR"),
    ] {
        assert_eq!(ErrorCode::of(text).as_str(), code);
    }
    assert!(ErrorCode::of(b"ASK 1 h:1").is_redirect() && !ErrorCode::of(b"ASKING").is_redirect());
}

#[test]
fn row_43_commands_that_the_table_does_not_have_share_one_name() {
    let mut worker = Worker::new();
    let request = Request { server: 1, client: 1, command: 3, blocking: false, error: None, times: None };
    (0..1000).for_each(|_| worker.record(request));
    let totals = worker.totals();
    assert_eq!(totals.commands.keys().collect::<Vec<_>>(), ["unknown"]);
    assert_eq!(totals.commands["unknown"].counts.count, 1000);
}

#[test]
fn usual_requests_are_all_counted_however_many_come_in_a_row() {
    for come in [1_u8, 8, 16, 17, 24, 31, 32, 33, 100] {
        let [quick, plain] = [true, false].map(|is_quick| {
            let mut worker = Worker { is_quick, ..Worker::new() };
            for n in 0..=come {
                // Of the first one's histograms those behind it find their places.
                let server = if n == 0 { 1 << 30 } else { 1 << (n % 30) };
                let times = Some(Times { server, ..Times::default() });
                let client = n % 5;
                worker.record(Request { server: 0, client, command: 0, blocking: false, error: None, times });
            }
            said(&worker.totals())
        });
        assert_eq!(quick, plain, "{come} in a row");
    }
}
