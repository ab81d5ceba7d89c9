//! The summary for people: what was read, what was seen, how it paired, how long it took.
//!
//! Written for a Redis operator who does not know networks, and for a network engineer who does not know Redis: whatever
//! is not as it should be is said in words beside its number. What did not happen takes no line. A counter that has no
//! words here yet shows up under its own name.

use std::io::{self, Write};

use crate::capture::fault::{FaultCounts, Faults};
use crate::counters::{Counter, Counters};
use crate::export::keys::{Row, hit_ratio, ranked as ranked_keys, shown};
use crate::export::summary::{
    InputInterface, Listed, PERCENTILES, Report, clients, commands, error_codes, ranked, servers,
};
use crate::record::histograms::Histogram;
use crate::record::top::Metric;
use crate::record::totals::Totals;
use crate::redis::replication::SyncResult;

use super::advice::{Observed, advice};
use super::format::{Columns, Style, bytes, count, counted, instant, latency, printable, span, wrap};

/// Commands that are listed.
const COMMANDS_LISTED: usize = 20;
/// Servers and clients that are listed.
const PARTIES_LISTED: usize = 10;
/// Keys and prefixes that are listed.
const KEYS_LISTED: usize = 10;
/// Keys that are named for each other metric.
const KEYS_NAMED: usize = 3;
/// Width of the names of counters, their indentation included.
const NAME_WIDTH: usize = 19;
/// Width of counts.
const COUNT_WIDTH: usize = 14;

/// The columns of commands, servers and clients; their counts stand below those of the counters.
/// Replication links that are listed.
const LINKS_SHOWN: usize = 20;
const COLUMNS: [(&str, usize); 5] = [("count", COUNT_WIDTH - 2), ("errors", 7), ("p50", 8), ("p99", 8), ("max", 8)];

/// Prints the summary of what was looked for.
pub fn print_summary(report: &Report<'_>, observed: Observed<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { style, ports: observed.named(), out };
    page.title(report)?;
    page.input(report)?;
    page.section(report.counters, "packets", "PACKETS")?;
    page.section(report.counters, "connections", "CONNECTIONS")?;
    page.section(report.counters, "requests", "REQUESTS")?;
    page.section(report.counters, "replies", "REPLIES")?;
    page.replication(report)?;
    page.latency(report)?;
    page.commands(report)?;
    page.parties("SERVERS", report.totals, servers(report))?;
    page.parties("CLIENTS", report.totals, clients(report))?;
    page.keys(report)?;
    page.errors(report)?;
    page.memory(report)?;
    page.advice(report.counters, observed)
}

struct Page<'a> {
    style: Style,
    /// The observed ports, in words.
    ports: String,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn title(&mut self, report: &Report<'_>) -> io::Result<()> {
        let counters = report.counters;
        let connections = counters[Counter::ConnectionsOpened] + counters[Counter::ConnectionsMidstream];
        let title = format!(
            "resptap {}: {} on {} in {}",
            report.version,
            counted(counters[Counter::Requests], "request"),
            counted(connections, "connection"),
            span(report.duration_ns())
        );
        writeln!(self.out, "{}", self.style.heading(&title))
    }

    fn input(&mut self, report: &Report<'_>) -> io::Result<()> {
        self.heading("INPUT")?;
        if let Some((faults, counts)) = &report.input.faults {
            self.paragraph(&injected(faults, counts), true)?;
        }
        for file in &report.input.files {
            if file.format.is_empty() {
                writeln!(self.out, "  {}: nothing could be read", file.path)?;
            } else {
                let facts = format!("{}, {}, {}", file.format, bytes(file.bytes), counted(file.packets, "packet"));
                writeln!(self.out, "  {}: {facts}", file.path)?;
            }
            if let Some(problem) = &file.problem {
                self.paragraph(problem, true)?;
            }
        }
        for interface in &report.input.interfaces {
            let InputInterface { name, mode, link, packets, drops, nic, .. } = interface;
            let dropped = if *drops == 0 { "none".to_owned() } else { count(*drops) };
            let missed =
                if nic.missed == 0 { String::new() } else { format!(", {} missed by the card", count(nic.missed)) };
            let packets = counted(*packets, "packet");
            writeln!(self.out, "  {name}: {mode}, {link}, {packets}, {dropped} dropped{missed}")?;
        }
        if report.input.first.is_known() {
            let (first, last) = (instant(report.input.first), instant(report.input.last));
            self.paragraph(&format!("{first} to {last}"), false)?;
            self.paragraph(&format!("clock: {}", report.clock), false)?;
        }
        Ok(())
    }

    /// The counters of a section that counted anything.
    fn section(&mut self, counters: &Counters, section: &str, heading: &str) -> io::Result<()> {
        let counted: Vec<Counter> = Counter::ALL
            .iter()
            .copied()
            .filter(|&counter| {
                counter.place().0 == section && (counters[counter] > 0 || is_always_shown(counter, counters))
            })
            .filter(|&counter| counter != Counter::FrameBytes)
            .collect();
        if counted.iter().all(|&counter| counters[counter] == 0) && section != "requests" {
            return Ok(());
        }
        self.heading(heading)?;
        for counter in counted {
            let (name, words, attention) = explained(counter, counters, &self.ports);
            self.counter(&name, counters[counter], &words, attention)?;
        }
        if section == "requests" && counters.pending() > 0 {
            self.counter("pending", counters.pending(), "not decided yet", false)?;
        }
        Ok(())
    }

    /// Replicas that follow their primary, and how far behind they are.
    fn replication(&mut self, report: &Report<'_>) -> io::Result<()> {
        if report.replication.is_empty() {
            return Ok(());
        }
        self.heading("REPLICATION")?;
        for link in report.replication.iter().take(LINKS_SHOWN) {
            let facts = &link.facts;
            let line = format!("{} follows {}", link.identity.conversation.client, link.identity.conversation.server);
            self.paragraph(&line, false)?;
            let sync = match facts.sync_result {
                SyncResult::Partial => "went on from where it was".to_owned(),
                result => format!(
                    "full synchronisation {}: {} in {}",
                    result.name(),
                    bytes(facts.sync_bytes),
                    span(facts.sync_ended.since(facts.sync_started))
                ),
            };
            self.paragraph(&format!("  {sync}; then {} of changes", bytes(facts.stream_bytes)), false)?;
            if let (Some(lag), Some(since)) = (facts.lag_bytes(), facts.lag_ns()) {
                let lag = format!("  {lag} bytes behind when it last acknowledged, {} before the end", span(since));
                self.paragraph(&lag, false)?;
            }
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, n: u64, words: &str, attention: bool) -> io::Result<()> {
        let indent = NAME_WIDTH + COUNT_WIDTH + 2;
        let mut lines = wrap(words, self.style.width.saturating_sub(indent)).into_iter();
        let number = format!("{:>COUNT_WIDTH$}", count(n));
        let number = if attention { self.style.warning(&number) } else { number };
        let line = format!("  {name:<0$}{number}  {1}", NAME_WIDTH - 2, lines.next().unwrap_or_default());
        writeln!(self.out, "{}", line.trim_end())?;
        lines.try_for_each(|line| writeln!(self.out, "{:indent$}{line}", ""))
    }

    fn latency(&mut self, report: &Report<'_>) -> io::Result<()> {
        let (totals, parts) = (report.totals, &report.totals.parts);
        if totals.latency.is_empty() {
            return Ok(());
        }
        writeln!(self.out)?;
        let mut columns = Columns::new(
            "LATENCY",
            NAME_WIDTH - 2,
            &["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(|title| (title, 8)),
        );
        let rows = [
            ("latency", &totals.latency),
            ("  queue", &parts.queue),
            ("  server", &parts.server),
            ("  transfer", &parts.transfer),
        ];
        for (name, histogram) in rows {
            let percentiles = PERCENTILES.iter().map(|&(quantile, _)| latency(histogram.value_at_quantile(quantile)));
            columns.row(name, percentiles.chain([latency(histogram.max())]).collect());
        }
        columns.print(self.style, self.out)?;
        let answered = count(totals.latency.len());
        self.paragraph(
            &format!(
                "Of {answered} answered requests: from a request's last byte to the last byte of its reply, as seen where \
                 the traffic was captured. Commands that wait on purpose (BLPOP …) are left out. For each request it is \
                 the sum of queue (waiting behind earlier requests of the same connection), server (the server's own \
                 time, and the network between it and the capture) and transfer (the reply's first byte to its last)."
            ),
            false,
        )
    }

    fn commands(&mut self, report: &Report<'_>) -> io::Result<()> {
        self.entries("COMMANDS", report.totals, commands(report.totals), COMMANDS_LISTED)
    }

    fn parties<'b>(
        &mut self,
        heading: &str,
        totals: &Totals,
        entries: impl Iterator<Item = ((String, Option<&'b str>), Listed<'b>)>,
    ) -> io::Result<()> {
        let named = entries.map(|((address, name), entry)| {
            (name.map_or_else(|| address.clone(), |name| format!("{name} ({address})")), entry)
        });
        self.entries(heading, totals, named, PARTIES_LISTED)
    }

    /// The busiest, a line each, and how many more there are.
    fn entries<'b>(
        &mut self,
        heading: &str,
        totals: &Totals,
        entries: impl Iterator<Item = (String, Listed<'b>)>,
        most: usize,
    ) -> io::Result<()> {
        let ranked = ranked(entries);
        if ranked.is_empty() {
            return Ok(());
        }
        writeln!(self.out)?;
        let mut columns = Columns::new(heading, NAME_WIDTH - 2, &COLUMNS);
        let (listed, rest) = ranked.split_at(ranked.len().min(most));
        for (name, entry) in listed {
            columns.row(name.clone(), cells(totals, *entry));
        }
        columns.print(self.style, self.out)?;
        if !rest.is_empty() {
            let requests: u64 = rest.iter().map(|(_, entry)| entry.counts.count).sum();
            self.paragraph(&format!("and {} more with {} requests", count(rest.len() as u64), count(requests)), false)?;
        }
        Ok(())
    }

    fn keys(&mut self, report: &Report<'_>) -> io::Result<()> {
        let Some(statistics) = report.keys else {
            if report.counters[Counter::Requests] == 0 {
                return Ok(());
            }
            self.heading("KEYS")?;
            return self.paragraph("not shown with --payload none", false);
        };
        let hasher = report.key_hasher;
        let most_used = ranked_keys(&statistics.keys, Metric::Operations, hasher);
        if most_used.is_empty() {
            return Ok(());
        }
        self.tallies("KEYS (most used)", &most_used)?;
        for (metric, what) in [
            (Metric::BytesIn, "Most bytes were sent to"),
            (Metric::BytesOut, "Most bytes were read from"),
            (Metric::Latency, "Most time was spent on"),
        ] {
            let rows = ranked_keys(&statistics.keys, metric, hasher);
            let told = rows.iter().take(KEYS_NAMED).map(|row| {
                let value = row.tally.metrics()[metric as usize];
                let value = if metric == Metric::Latency { span(value) } else { bytes(value) };
                format!("{} ({value})", printable(&row.name))
            });
            let told: Vec<String> = told.collect();
            if !told.is_empty() {
                self.paragraph(&format!("{what} {}", told.join(", ")), false)?;
            }
        }
        let missed = statistics.keys.missed()[Metric::Operations as usize];
        if missed > 0 {
            let missed = count(missed);
            let text = format!(
                "There were more keys than could be counted apart: of each, up to {missed} operations may be missing here. More --memory may help."
            );
            self.paragraph(&text, true)?;
        }
        let not_kept = report.counters[Counter::KeysNotKept];
        if not_kept > 0 {
            let not_kept = count(not_kept);
            let text = format!(
                "{not_kept} uses of keys are in none of these: their names are not whole in the capture, or were too many in one request."
            );
            self.paragraph(&text, false)?;
        }
        self.tallies("PREFIXES", &ranked_keys(&statistics.prefixes, Metric::Operations, hasher))?;
        self.heading("BIGGEST MESSAGES")?;
        for (what, biggest) in [("request", &statistics.requests), ("reply", &statistics.replies)] {
            if let Some(big) = biggest.iter().next() {
                let key = big
                    .key
                    .as_ref()
                    .map_or(String::new(), |key| format!(" {}", printable(&shown(key.bytes(), key.is_cut(), hasher))));
                let (size, command) = (bytes(big.bytes), statistics.command(big));
                let text = format!("{what} of {size}: {command}{key}, {} to {}", big.client, big.server);
                self.paragraph(&text, false)?;
            }
        }
        Ok(())
    }

    fn tallies(&mut self, heading: &str, rows: &[Row]) -> io::Result<()> {
        writeln!(self.out)?;
        let titles = [("operations", COUNT_WIDTH - 2), ("reads", 6), ("hits", 6), ("in", 7), ("out", 7)];
        let mut columns = Columns::new(heading, NAME_WIDTH - 2, &titles);
        let percent = |share: f64| format!("{:.0} %", (share * 100.0).floor());
        for Row { name, tally, .. } in rows.iter().take(KEYS_LISTED) {
            let known = tally.reads + tally.writes;
            let reads = if known == 0 { "-".to_owned() } else { percent(tally.reads as f64 / known as f64) };
            let hits = hit_ratio(tally).map_or_else(|| "-".to_owned(), percent);
            let name = if name.is_empty() { "(without)".to_owned() } else { printable(name) };
            columns
                .row(name, vec![count(tally.operations), reads, hits, bytes(tally.bytes_in), bytes(tally.bytes_out)]);
        }
        columns.print(self.style, self.out)?;
        if rows.len() > KEYS_LISTED {
            self.paragraph("and more: --summary has a hundred of each", false)?;
        }
        Ok(())
    }

    fn errors(&mut self, report: &Report<'_>) -> io::Result<()> {
        let redirects = "REDIRECTS (a cluster sent the client elsewhere)";
        for (heading, redirected) in [("ERRORS (replies, by their code)", false), (redirects, true)] {
            let codes = error_codes(report.totals, redirected);
            if codes.is_empty() {
                continue;
            }
            self.heading(heading)?;
            for (code, n) in codes {
                // The longest code is wider than other names.
                let width = (NAME_WIDTH - 2 + COUNT_WIDTH).saturating_sub(code.len());
                writeln!(self.out, "  {code}{:>width$}", format!(" {}", count(n)))?;
            }
        }
        Ok(())
    }

    fn memory(&mut self, report: &Report<'_>) -> io::Result<()> {
        self.heading("MEMORY")?;
        self.paragraph(
            &format!("at most {} of {} used", bytes(report.memory.peak), bytes(report.memory.budget)),
            false,
        )?;
        if !report.is_limited() {
            return Ok(());
        }
        self.paragraph(
            "A bound was reached, so something was given up or counted as \"other\". More --memory may help:",
            true,
        )?;
        let given_up = Counter::ALL.iter().filter(|counter| counter.place().1.starts_with("evicted."));
        for &counter in given_up.filter(|&&counter| report.counters[counter] > 0) {
            let (name, words, _) = explained(counter, report.counters, &self.ports);
            self.counter(&name, report.counters[counter], &words, true)?;
        }
        Ok(())
    }

    /// What hid something, and what to do about it. Last, where a terminal's reader looks first.
    fn advice(&mut self, counters: &Counters, observed: Observed<'_>) -> io::Result<()> {
        let advice = advice(counters, observed);
        if advice.is_empty() {
            return Ok(());
        }
        let none = counters[Counter::Requests] == 0;
        self.heading(if none { "NO REDIS REQUESTS WERE FOUND" } else { "WHAT TO DO" })?;
        advice.iter().try_for_each(|paragraph| self.paragraph(paragraph, true))
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "\n{}", self.style.heading(text))
    }

    fn paragraph(&mut self, text: &str, attention: bool) -> io::Result<()> {
        for line in wrap(text, self.style.width.saturating_sub(2)) {
            let line = if attention { self.style.warning(&line) } else { line };
            writeln!(self.out, "  {line}")?;
        }
        Ok(())
    }
}

/// What was added to the capture, in words.
fn injected(faults: &Faults, counts: &FaultCounts) -> String {
    let done = [
        ("lost", counts.lost()),
        ("duplicated", counts.duplicated),
        ("reordered", counts.reordered),
        ("truncated", counts.truncated),
        ("flipped", counts.flipped),
    ];
    let done: Vec<String> = done
        .into_iter()
        .filter(|(_, frames)| *frames > 0)
        .map(|(name, frames)| format!("{} {name}", count(frames)))
        .collect();
    let done = if done.is_empty() { "none of them hit".to_owned() } else { done.join(", ") };
    format!(
        "faults were added on purpose (--fault {faults}), so this is not what the capture holds: of {}, {done}",
        counted(counts.frames, "packet")
    )
}

fn cells(totals: &Totals, Listed { counts, whose }: Listed<'_>) -> Vec<String> {
    let histogram = totals.latency_of(whose).filter(|histogram| !histogram.is_empty());
    let shown = |value: fn(&Histogram) -> u64| {
        histogram.as_ref().map_or_else(|| "-".to_owned(), |histogram| latency(value(histogram)))
    };
    vec![
        count(counts.count),
        count(counts.errors),
        shown(|histogram| histogram.value_at_quantile(0.5)),
        shown(|histogram| histogram.value_at_quantile(0.99)),
        shown(Histogram::max),
    ]
}

fn is_always_shown(counter: Counter, counters: &Counters) -> bool {
    match counter {
        Counter::FramesSeen | Counter::FramesAnalysed | Counter::Requests => true,
        // Nothing is no share of nothing.
        Counter::RequestsExact => counters[Counter::Requests] > 0,
        _ => false,
    }
}

/// A counter's name for people, what it means, and whether it deserves attention.
fn explained(counter: Counter, counters: &Counters, ports: &str) -> (String, String, bool) {
    let name = counter.place().1;
    // `skipped.not_ip` is `skipped`, explained by its words.
    let name = name.split_once('.').map_or(name, |(group, _)| group).replace('_', " ");
    let n = counters[counter];
    let share = |of: Counter| {
        let of = counters[of].max(1);
        // Rounded down, so that only all is 100 %.
        format!("{:.2} %", (u128::from(n) * 10_000 / u128::from(of)) as f64 / 100.0)
    };
    let (words, attention) = match counter {
        Counter::FramesSeen => (format!("{} on the wire", bytes(counters[Counter::FrameBytes])), false),
        Counter::FramesAnalysed => (format!("to or from {ports}"), false),
        Counter::SkipOtherPort => (format!("TCP, but not of {ports}"), false),
        Counter::RequestsExact => (format!("{}: paired with their reply", share(Counter::Requests)), false),
        Counter::GapBytesMirror | Counter::GapBytesNetwork | Counter::GapBytesCut => {
            return ("missing bytes".into(), words(counter).unwrap_or_default().0.to_owned(), true);
        }
        Counter::ResyncsCounted
        | Counter::ResyncsEliminated
        | Counter::ResyncsWindow
        | Counter::ResyncsSilence
        | Counter::ResyncsPrompt
        | Counter::ResyncsHabit
        | Counter::ResyncsAlternation => {
            return ("resyncs".into(), words(counter).unwrap_or_default().0.to_owned(), false);
        }
        Counter::EvictedRequests
        | Counter::EvictedPages
        | Counter::EvictedFragments
        | Counter::EvictedMessages
        | Counter::EvictedResyncs
        | Counter::EvictedRecognitions
        | Counter::EvictedSeries => {
            return ("given up".into(), words(counter).unwrap_or_default().0.to_owned(), true);
        }
        _ => match words(counter) {
            Some((words, attention)) => (words.to_owned(), attention),
            None => (counter.place().1.split_once('.').map_or("", |(_, part)| part).replace('_', " "), false),
        },
    };
    (name, words, attention)
}

/// What counters mean, for those that need nothing but words.
fn words(counter: Counter) -> Option<(&'static str, bool)> {
    Some(match counter {
        Counter::SkipCutOff => ("captured too short to show their headers; capture with a larger snap length", true),
        Counter::SkipNotIp => ("not IP (ARP, LLDP, …)", false),
        Counter::SkipNotTcp => ("IP, but not TCP", false),
        Counter::SkipFragment => ("fragments of IP packets that never became whole", true),
        Counter::SkipFragmentJoined => ("fragments of IP packets that another one completed", false),
        Counter::SkipTooDeep => ("in more tunnels, tags or labels than are looked into", true),
        Counter::SkipMalformed => ("header fields that contradict each other", true),
        Counter::FragmentOverlaps => ("with bytes that others had brought; what came first counts", true),
        Counter::Duplicates => ("copies of packets, from a mirror or a router; what was seen first counts", false),
        Counter::OutOfOrder => ("came before earlier data of their connection, and waited for it", false),
        Counter::Retransmitted => ("sent again by TCP; what was seen first counts", false),
        Counter::KeepAlives => ("TCP keep-alive probes", false),
        Counter::OutOfWindow => ("do not fit their connection's sequence numbers; ignored", true),
        Counter::Stray => ("without data, of no known connection, such as the last ACK of a close", false),
        Counter::TimeBackwards => ("their time lies before that of an earlier packet of their connection", true),
        Counter::CaptureDropsRing => ("dropped by the kernel: the capture was too slow for them", true),
        Counter::CaptureDropsMemory => {
            ("dropped by the kernel: no memory was free for them, or they were too long", true)
        }
        Counter::CaptureDropsSteering => ("for another worker, who had no room for them", true),
        Counter::FramesSteered => ("out of tunnels or fragments, passed on to another worker", false),
        Counter::FramesShed => ("of connections left out whole: there was more than the capture could carry", true),
        Counter::ClosedShed => ("left out from then on: there was more than the capture could carry", true),
        Counter::CaptureDropsNoSocket => ("came on a queue that was not there when the capture began", true),
        Counter::CaptureDropsNic => ("missed by the network card: the host had left it no room for them", true),
        Counter::Gaps => ("stretches of a connection that the capture does not have", true),
        Counter::GapBytesMirror => ("lost on the way to the capture: the receiver had acknowledged them", true),
        Counter::GapBytesNetwork => ("never seen and never acknowledged", true),
        Counter::GapBytesCut => ("cut off by the capture's snap length", true),
        Counter::ConnectionsOpened => ("their beginning was seen", false),
        Counter::ConnectionsMidstream => {
            ("were there before the capture, so their pairing had to be proved first", false)
        }
        Counter::ClosedFin => ("by FIN: in the normal way", false),
        Counter::ClosedRst => ("by RST: at once, by one side", false),
        Counter::ClosedReused => ("by a new connection between the same addresses and ports", false),
        Counter::ClosedIdle => ("after long silence (--idle-timeout); their state was freed", false),
        Counter::ClosedCaptureEnd => ("by the capture's end; they were still open", false),
        Counter::ClosedEvicted => ("connections given up for want of memory (--memory)", true),
        Counter::ConnectionsReplication => ("became replication links: a replica follows its primary", false),
        Counter::ConnectionsUnpairable => {
            ("had subscriptions from before the capture: replies and messages can't be told apart", false)
        }
        Counter::OpaqueTls => ("encrypted (TLS): their content can't be seen", true),
        Counter::OpaqueClusterBus => ("the bus between a cluster's nodes, which is not Redis's protocol", false),
        Counter::OpaqueReplication => ("on which nodes replicate by commands of their own (Dragonfly, Garnet)", false),
        Counter::OpaqueOther => ("of other protocols, or not recognised as Redis's (--port any)", false),
        Counter::ConnectionsUndecided => ("ended before it was told what they speak (--port any)", false),
        Counter::UndecidedBytes => ("went by before it was told what their connections speak (--port any)", false),
        Counter::OpaqueBytes => ("of connections that are not looked into", false),
        Counter::OneSidedClient => ("of which only the client's side was captured; check the mirror port", true),
        Counter::OneSidedServer => ("of which only the server's side was captured; check the mirror port", true),
        Counter::OneSidedRequestBytes => ("of requests, as far as the server's acknowledgements tell", false),
        Counter::OneSidedReplyBytes => ("of replies, as far as the clients' acknowledgements tell", false),
        Counter::RequestsResynced => {
            ("paired again after a gap or a mid-stream start, by the proof named below", false)
        }
        Counter::RequestsNoReply => ("none was due (CLIENT REPLY OFF or SKIP)", false),
        Counter::RequestsTimedOut => ("no reply within the timeout (--timeout)", true),
        Counter::RequestsLost => ("their reply, or the proof of pairing, is not in the capture", true),
        Counter::RequestsUnanswered => ("their connection, or the capture, ended before the reply", true),
        Counter::RequestsOneSided => ("of connections whose replies were never captured; check the mirror port", true),
        Counter::RequestsLate => ("of those timed out, answered later after all", false),
        Counter::ResyncsCounted => ("proved: counting left one possibility", false),
        Counter::ResyncsEliminated => ("proved: the kinds of replies left one possibility", false),
        Counter::ResyncsWindow => ("assumed: only one possibility explained many replies (see --resync)", false),
        Counter::ResyncsSilence => ("assumed: nothing was outstanding after long silence (see --resync)", false),
        Counter::ResyncsPrompt => ("assumed: replies follow at once, requests much later (see --resync)", false),
        Counter::ResyncsHabit => ("assumed: the client waits for replies, as it always did (see --resync)", false),
        Counter::ResyncsAlternation => ("assumed: requests and replies alternated to the end (--resync trust)", false),
        Counter::RequestsAlternating => ("of those lost, that --resync trust would have paired", false),
        Counter::Contradictions => ("times a reply could not belong to its request; pairing began anew", true),
        Counter::RequestBytesSkipped => ("of requests, in search of the beginning of one after a gap", false),
        Counter::RepliesPaired => ("with a request", false),
        Counter::UnsolicitedNoRequest => ("replies to no request", true),
        Counter::UnsolicitedMonitor => ("lines of MONITOR", false),
        Counter::UnsolicitedReplication => ("answers to the commands of replication", false),
        Counter::UnsolicitedPush => ("RESP3 push messages (invalidations, pub/sub)", false),
        Counter::DiscardedUnproved => {
            ("not paired: whose reply they are is unproved after a gap or mid-stream start", true)
        }
        Counter::ReplyBytesSkipped => ("of replies, in search of the beginning of one after a gap", false),
        Counter::Malformed => ("messages that break the Redis protocol; is this Redis traffic?", true),
        Counter::EvictedRequests => ("requests that waited for their reply", true),
        Counter::EvictedPages => ("packets that came too early and waited for those before them", true),
        Counter::EvictedFragments => ("packets of which only some fragments had come", true),
        Counter::EvictedMessages => ("messages of which only a part had come", true),
        Counter::EvictedResyncs => ("attempts to find a connection's pairing again", true),
        Counter::EvictedRecognitions => ("connections of which too little could be kept to recognise them", true),
        Counter::EvictedSeries => {
            ("requests counted as \"other\": too many servers, clients, commands or errors", true)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
