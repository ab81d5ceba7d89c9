//! The final summary: everything that was counted, as JSON (SPEC section 4) and for the tables made for people.
//!
//! Sections of counters come from [`Counter::place`], so a new counter shows up by itself. The order of fields is that of
//! the specification and of the counters; within `commands`, `servers`, `clients` and `errors` it is by count, ties by
//! name. The same statistics give the same text.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use crate::capture::fault::{FaultCounts, Faults};
use crate::capture::nic::drops::CardDrops;
use crate::connection::ReplicationLink;
use crate::counters::{Counter, Counters};
use crate::endpoint::names::Names;
use crate::limits;
use crate::record::histograms::{Counts, Histogram, mean_ns};
use crate::record::key_hash::KeyHasher;
use crate::record::keys::KeyStatistics;
use crate::record::totals::{Totals, Whose};
use crate::redis::replication::SyncResult;
use crate::units::Timestamp;

use super::keys;

/// Everything that the summary tells.
#[derive(Debug)]
pub struct Report<'a> {
    /// The program's version.
    pub version: &'a str,
    /// When the run began, by the wall clock.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Whose clock the packets' times are, in words.
    pub clock: &'a str,
    /// What was read.
    pub input: &'a Input,
    /// All workers' counters together.
    pub counters: &'a Counters,
    /// All workers' statistics together.
    pub totals: &'a Totals,
    /// All workers' statistics of keys; `None` where keys are not shown.
    pub keys: Option<&'a KeyStatistics>,
    /// Keys are told by their hash.
    pub key_hasher: Option<&'a KeyHasher>,
    /// Replication links, in an order of their own.
    pub replication: &'a [ReplicationLink],
    /// Names of services.
    pub names: &'a Names,
    /// Each worker.
    pub workers: &'a [WorkerReport],
    /// Memory.
    pub memory: Memory,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The files, in the order in which they were read.
    pub files: Vec<InputFile>,
    /// The interfaces that were captured.
    pub interfaces: Vec<InputInterface>,
    /// Time of the first packet; [`Timestamp::NONE`] without packets.
    pub first: Timestamp,
    /// Time of the last one.
    pub last: Timestamp,
    /// What was left out of it.
    pub shed: InputShed,
    /// Faults that were added to it: then the summary is not that of the capture.
    pub faults: Option<(Faults, FaultCounts)>,
}

/// One capture file.
#[derive(Clone, Debug, Default)]
pub struct InputFile {
    /// As it was named.
    pub path: String,
    /// What it is: `pcap, microseconds`, `pcapng, zstd`.
    pub format: String,
    /// Bytes read of it.
    pub bytes: u64,
    /// Frames read of it.
    pub packets: u64,
    /// Why it could not be read to its end.
    pub problem: Option<String>,
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InputInterface {
    /// Its name.
    pub name: String,
    /// How it was captured, as `--mode` has it.
    pub mode: &'static str,
    /// Why in this way.
    pub why: String,
    /// Whether its card brings both directions of a connection to one queue, and by what; `None`: its driver does not tell.
    pub rss: Option<&'static str>,
    /// What its frames begin with.
    pub link: &'static str,
    /// Frames that came.
    pub packets: u64,
    /// Frames that were dropped for want of room.
    pub drops: u64,
    /// How often there came to be no room (AF_PACKET).
    pub freezes: u64,
    /// What its card and driver dropped before.
    pub nic: CardDrops,
    /// Its receive queues (AF_XDP).
    pub queues: Vec<InputQueue>,
}

/// What a live capture left out, connection by connection, because there was more than it could carry.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct InputShed {
    /// The largest share of the connections that a worker left out at a time.
    pub share_max: f64,
    /// For how long it left any out, in nanoseconds.
    pub duration_ns: u64,
}

impl InputShed {
    /// The most that one of two workers left out, and for how long one did.
    #[must_use]
    pub fn max(self, other: InputShed) -> InputShed {
        InputShed {
            share_max: self.share_max.max(other.share_max),
            duration_ns: self.duration_ns.max(other.duration_ns),
        }
    }
}

/// The name under which an XDP program counts frames without the time at which they were received.
pub const UNSTAMPED: &str = "unstamped";

/// A receive queue of an interface. What its XDP program kept is `packets + left + ring_full + dropped`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InputQueue {
    /// Which one.
    pub number: u32,
    /// Whether its memory is of huge pages.
    pub huge_pages: bool,
    /// Frames that came.
    pub packets: u64,
    /// Frames that were still in its ring at the end.
    pub left: u64,
    /// Frames for which the ring had no room.
    pub ring_full: u64,
    /// Frames for which there was no memory, or that did not fit into it.
    pub dropped: u64,
    /// How often there was no memory.
    pub fill_empty: u64,
    /// What the XDP program did with how many frames.
    pub xdp: Vec<(&'static str, u64)>,
}

impl InputInterface {
    /// Frames that came without the time at which they were received.
    pub fn unstamped(&self) -> u64 {
        let of_queues = self.queues.iter().flat_map(|queue| &queue.xdp);
        of_queues.filter(|(name, _)| *name == UNSTAMPED).map(|(_, count)| count).sum()
    }

    /// Adds what another socket on the same interface had.
    pub fn add(&mut self, other: InputInterface) {
        self.packets += other.packets;
        self.drops += other.drops;
        self.freezes += other.freezes;
        for queue in other.queues {
            match self.queues.iter_mut().find(|known| known.number == queue.number) {
                Some(known) => known.add(&queue),
                None => self.queues.push(queue),
            }
        }
        self.queues.sort_by_key(|queue| queue.number);
    }
}

impl InputQueue {
    /// Adds what another socket on the same queue had.
    fn add(&mut self, other: &InputQueue) {
        self.packets += other.packets;
        self.left += other.left;
        self.ring_full += other.ring_full;
        self.dropped += other.dropped;
        self.fill_empty += other.fill_empty;
        for ((_, count), (_, more)) in self.xdp.iter_mut().zip(&other.xdp) {
            *count += more;
        }
    }
}

/// One worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerReport {
    /// The core to which it was pinned.
    pub core: Option<usize>,
    /// What it counted.
    pub counters: Counters,
}

/// Memory of the whole program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// `--memory`, in bytes.
    pub budget: u64,
    /// Most of it that was ever used, in bytes.
    pub peak: u64,
}

/// The percentiles that are told, and their names.
pub const PERCENTILES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99_9"), (0.9999, "p99_99")];

/// The name of everything beyond a bound.
pub const OTHER: &str = "other";

impl Report<'_> {
    /// Whether a bound of memory was reached: then not everything could be told apart or waited for.
    pub fn is_limited(&self) -> bool {
        self.counters.sum("memory", "evicted.") > 0
    }

    /// Time covered by the capture, in nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        self.input.last.since(self.input.first)
    }
}

/// The summary of SPEC section 4.
pub fn to_json(report: &Report<'_>) -> Value {
    let totals = report.totals;
    let mut summary = Map::new();
    summary.insert(
        "resptap".into(),
        json!({
            "version": report.version, "started": report.started.to_string(), "ended": report.ended.to_string(),
            "clock": report.clock,
        }),
    );
    summary.insert("input".into(), input(report));
    for (section, mut fields) in sections(report.counters) {
        if section == "keys" {
            match report.keys {
                Some(statistics) => fields.extend(keys::lists(statistics, report.key_hasher)),
                None => fields = Map::from_iter([("hidden".to_owned(), json!("--payload none"))]),
            }
        }
        if section != "memory" {
            summary.insert(section.into(), Value::Object(fields));
        }
        if section == "replies" {
            summary.insert("latency".into(), latency(totals));
            summary.insert(
                "commands".into(),
                ranked(commands(totals)).into_iter().map(|(name, of)| (name, entry(totals, of))).collect(),
            );
            summary.insert("servers".into(), parties(totals, servers(report)));
            summary.insert("clients".into(), parties(totals, clients(report)));
            summary.insert("errors".into(), errors(totals, false));
            summary.insert("redirects".into(), errors(totals, true));
        }
    }
    summary.insert("replication".into(), report.replication.iter().map(replication).collect());
    summary.insert("memory".into(), memory(report));
    let workers = report.workers.iter().map(|worker| {
        let mut fields = Map::from_iter([("core".to_owned(), json!(worker.core))]);
        fields.extend(
            sections(&worker.counters).into_iter().map(|(name, section)| (name.into(), Value::Object(section))),
        );
        Value::Object(fields)
    });
    summary.insert("workers".into(), workers.collect());
    Value::Object(summary)
}

/// One replication link; what is not known is absent.
fn replication(link: &ReplicationLink) -> Value {
    let facts = &link.facts;
    let mut fields = Map::new();
    fields.insert("primary".into(), json!(link.identity.conversation.server.to_string()));
    fields.insert("replica".into(), json!(link.identity.conversation.client.to_string()));
    if let Some(channel) = facts.channel.name() {
        fields.insert("channel".into(), json!(channel));
    }
    let mut sync = Map::from_iter([("result".to_owned(), json!(facts.sync_result.name()))]);
    if facts.sync_result != SyncResult::Partial {
        sync.insert("started".into(), json!(facts.sync_started.to_string()));
        sync.insert("bytes".into(), json!(facts.sync_bytes));
    }
    if facts.sync_ended.is_known() {
        sync.insert("duration".into(), json!(facts.sync_ended.since(facts.sync_started)));
    }
    fields.insert("sync".into(), Value::Object(sync));
    fields.insert("stream_bytes".into(), json!(facts.stream_bytes));
    let known = [
        ("primary_offset", facts.primary_offset),
        ("replica_offset", facts.replica_offset),
        ("lag_bytes", facts.lag_bytes()),
        ("lag_ns", facts.lag_ns()),
    ];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    Value::Object(fields)
}

/// All counters, by section, in their own order, and the sums that the specification wants beside them.
fn sections(counters: &Counters) -> Vec<(&'static str, Map<String, Value>)> {
    let mut sections: Vec<(&'static str, Map<String, Value>)> = Vec::new();
    for &counter in Counter::ALL {
        let (section, name) = counter.place();
        let at = sections.iter().position(|(name, _)| *name == section).unwrap_or_else(|| {
            sections.push((section, Map::new()));
            sections.len() - 1
        });
        let fields = &mut sections[at].1;
        match name.split_once('.') {
            None => {
                fields.insert(name.into(), json!(counters[counter]));
            }
            Some((group, name)) => {
                if group == "gap_bytes_by" && !fields.contains_key("gap_bytes") {
                    fields.insert("gap_bytes".into(), json!(counters.sum("packets", "gap_bytes_by.")));
                }
                let group = fields.entry(group).or_insert_with(|| json!({}));
                if let Some(group) = group.as_object_mut() {
                    group.insert(name.into(), json!(counters[counter]));
                    if counter == Counter::FramesShed {
                        group.insert("share".into(), json!(shed_share(counters)));
                    }
                }
            }
        }
        if counter == Counter::RequestsOneSided {
            fields.insert("pending".into(), json!(counters.pending()));
        }
        if counter == Counter::RepliesPaired {
            fields.insert("pending".into(), json!(counters.replies_pending()));
        }
    }
    sections
}

/// The share of the packets that was left out because there was more than the capture could carry: counts, divided by what is left to
/// one, are those of all.
pub fn shed_share(counters: &Counters) -> f64 {
    let (seen, shed) = (counters[Counter::FramesSeen], counters[Counter::FramesShed]);
    if shed == 0 { 0.0 } else { shed as f64 / (seen + shed) as f64 }
}

fn input(report: &Report<'_>) -> Value {
    let input = report.input;
    let files = input.files.iter().map(|file| {
        let mut fields =
            json!({"path": file.path, "format": file.format, "bytes": file.bytes, "packets": file.packets});
        if let Some(problem) = &file.problem {
            fields["problem"] = json!(problem);
        }
        fields
    });
    let interfaces = input.interfaces.iter().map(|interface| {
        let InputInterface { name, mode, why, rss, link, packets, drops, freezes, nic, queues } = interface;
        let mut fields =
            json!({"name": name, "mode": mode, "why": why, "link": link, "packets": packets, "drops": drops});
        if let Some(rss) = rss {
            fields["rss"] = json!(rss);
        }
        fields["nic"] = card_drops(nic);
        if queues.is_empty() {
            fields["freezes"] = json!(freezes);
        } else {
            fields["queues"] = queues.iter().map(queue).collect();
        }
        fields
    });
    let mut fields = if input.interfaces.is_empty() {
        json!({"files": files.collect::<Vec<_>>()})
    } else {
        let InputShed { share_max, duration_ns } = input.shed;
        json!({
            "interfaces": interfaces.collect::<Vec<_>>(), "shed": {"share_max": share_max, "duration": duration_ns},
        })
    };
    if let Some((faults, counts)) = &input.faults {
        fields["faults"] = json!({
            "spec": faults.to_string(), "frames": counts.frames,
            "lost": {"client": counts.lost_of_clients, "server": counts.lost_of_servers, "other": counts.lost_of_others},
            "duplicated": counts.duplicated, "reordered": counts.reordered, "truncated": counts.truncated,
            "flipped": counts.flipped,
        });
    }
    if input.first.is_known() {
        fields["first"] = json!(input.first.to_string());
        fields["last"] = json!(input.last.to_string());
        fields["duration"] = json!(report.duration_ns());
    }
    fields
}

fn card_drops(CardDrops { missed, fifo, dropped, queues }: &CardDrops) -> Value {
    let queues: Vec<Value> =
        queues.iter().map(|(queue, dropped)| json!({"queue": queue, "dropped": dropped})).collect();
    json!({"missed": missed, "fifo": fifo, "dropped": dropped, "queues": queues})
}

fn queue(queue: &InputQueue) -> Value {
    let xdp: Map<String, Value> = queue.xdp.iter().map(|&(name, count)| (name.to_owned(), json!(count))).collect();
    json!({
        "queue": queue.number, "huge_pages": queue.huge_pages, "packets": queue.packets, "left": queue.left,
        "ring_full": queue.ring_full, "dropped": queue.dropped, "fill_empty": queue.fill_empty, "xdp": xdp,
    })
}

fn latency(totals: &Totals) -> Value {
    json!({
        "latency": quantities(&totals.latency), "queue": quantities(&totals.parts.queue),
        "server": quantities(&totals.parts.server), "transfer": quantities(&totals.parts.transfer),
    })
}

/// What is told of a histogram; of an empty one only that it is.
fn quantities(histogram: &Histogram) -> Value {
    let mut fields = Map::from_iter([("count".to_owned(), json!(histogram.len()))]);
    if !histogram.is_empty() {
        fields.insert("min".into(), json!(histogram.min()));
        for (quantile, name) in PERCENTILES {
            fields.insert(name.into(), json!(histogram.value_at_quantile(quantile)));
        }
        fields.insert("max".into(), json!(histogram.max()));
        fields.insert("mean".into(), json!(mean_ns(histogram)));
    }
    Value::Object(fields)
}

/// A command, server or client, as summary and table list it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Requests and bytes.
    pub counts: &'a Counts,
    /// Whose they are.
    pub whose: Whose<'a>,
}

fn entry(totals: &Totals, Listed { counts, whose }: Listed<'_>) -> Value {
    // Latencies that found no room are told like those that nobody had; `memory.limited` tells.
    let latency = totals.latency_of(whose).map_or_else(|| json!({"count": 0}), |latency| quantities(&latency));
    json!({
        "count": counts.count, "errors": counts.errors, "request_bytes": counts.request_bytes,
        "reply_bytes": counts.reply_bytes, "latency": latency,
    })
}

/// Commands by name.
pub fn commands(totals: &Totals) -> impl Iterator<Item = (String, Listed<'_>)> {
    totals
        .commands
        .iter()
        .map(|(name, command)| (name.clone(), Listed { counts: &command.counts, whose: Whose::Command(name) }))
}

/// An address, as summaries and tables have it, and the name of its service.
type Party<'a> = (String, Option<&'a str>);

/// Servers, each with its name.
pub fn servers<'a>(report: &Report<'a>) -> impl Iterator<Item = (Party<'a>, Listed<'a>)> {
    let (totals, names) = (report.totals, report.names);
    totals.servers.iter().map(|(&server, entry)| {
        let listed = Listed { counts: &entry.counts, whose: Whose::Server(server) };
        (party(server, |server| names.of(server)), listed)
    })
}

/// Clients, each with its name.
pub fn clients<'a>(report: &Report<'a>) -> impl Iterator<Item = (Party<'a>, Listed<'a>)> {
    let (totals, names) = (report.totals, report.names);
    totals.clients.iter().map(|(&client, entry)| {
        let listed = Listed { counts: &entry.counts, whose: Whose::Client(client) };
        (party(client, |client| names.of_address(client)), listed)
    })
}

fn party<'a, T: Copy + ToString>(of: Option<T>, name: impl FnOnce(T) -> Option<&'a str>) -> Party<'a> {
    (of.map_or_else(|| OTHER.to_owned(), |of| of.to_string()), of.and_then(name))
}

fn parties<'a>(totals: &Totals, entries: impl Iterator<Item = (Party<'a>, Listed<'a>)>) -> Value {
    let mut ranked = ranked(entries);
    ranked.truncate(limits::PARTIES_LISTED);
    let entries = ranked.into_iter().map(|((address, name), of)| {
        let mut fields = entry(totals, of);
        if let (Some(name), Value::Object(fields)) = (name, &mut fields) {
            fields.shift_insert(0, "name".into(), json!(name));
        }
        (address, fields)
    });
    entries.collect()
}

/// Most requests first, ties by name.
pub fn ranked<'a, N: Ord>(entries: impl Iterator<Item = (N, Listed<'a>)>) -> Vec<(N, Listed<'a>)> {
    let mut ranked: Vec<_> = entries.collect();
    ranked.sort_by(|(one, a), (other, b)| (Reverse(a.counts.count), one).cmp(&(Reverse(b.counts.count), other)));
    ranked
}

/// Error codes with their counts, most frequent first: the redirects of a cluster, or all others.
pub fn error_codes(totals: &Totals, redirects: bool) -> Vec<(&str, u64)> {
    let codes = totals.errors.iter().filter(|(code, _)| code.is_some_and(|code| code.is_redirect()) == redirects);
    let mut codes: Vec<_> =
        codes.map(|(code, &count)| (code.as_ref().map_or(OTHER, |code| code.as_str()), count)).collect();
    codes.sort_by_key(|&(code, count)| (Reverse(count), code));
    codes
}

fn errors(totals: &Totals, redirects: bool) -> Value {
    error_codes(totals, redirects).into_iter().map(|(code, count)| (code.to_owned(), json!(count))).collect()
}

fn memory(report: &Report<'_>) -> Value {
    let sections = sections(report.counters);
    let evicted =
        sections.into_iter().find(|(name, _)| *name == "memory").and_then(|(_, mut fields)| fields.remove("evicted"));
    json!({
        "budget": report.memory.budget, "peak": report.memory.peak, "limited": report.is_limited(), "evicted": evicted,
    })
}

#[cfg(test)]
mod tests;
