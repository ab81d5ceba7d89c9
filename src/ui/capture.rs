//! `resptap capture`: runs it, and shows how it goes meanwhile.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::capture::Way;
use crate::config::values::RssWish;
use crate::config::{Config, Live};
use crate::counters::{Counter, Counters};
use crate::runtime::{self, Observer, Opened, Status};
use crate::sandbox::{self, Duties, User};

use super::format::{count, counted};
use super::progress::Line;
use super::report::{Destination, tell};
use super::signals::Signals;

/// Captures, and writes all that was asked for. `Ok(false)`: something failed, and was said on standard error.
pub fn run(config: &Config, live: &Live) -> Result<bool> {
    let signals = Signals::catch().context("the signals that end the program can't be caught")?;
    if live.way.is_some_and(|way| way != Way::AfPacket) {
        sandbox::require_af_xdp()?;
    }
    let user = live.user.as_deref().map(User::named).transpose()?;
    let finds_processes = config.processes;
    let mut watch = Watch { line: Line::new(), signals, before: Status::default(), user, finds_processes };
    let summary = config.summary.as_ref().map(Destination::open).transpose()?;
    let outcome = runtime::capture(config, live, sandbox::without_af_xdp().as_deref(), &mut watch);
    watch.line.finish();
    let outcome = outcome?;
    if live.rss == RssWish::Symmetric
        && let Some(warning) = split(&outcome.counters)
    {
        tracing::warn!("{warning}");
    }
    // What has passed can't be looked at twice.
    Ok(tell(config, &outcome, summary, |_| None))
}

/// What to make of connections of which only one direction was seen, where a card was to bring both to one queue: it is its only
/// word for that they did.
fn split(counters: &Counters) -> Option<String> {
    const FEW: u64 = 20;
    let one_sided = counters[Counter::OneSidedClient] + counters[Counter::OneSidedServer];
    let all = counters[Counter::ConnectionsOpened] + counters[Counter::ConnectionsMidstream];
    (one_sided * FEW > all).then(|| {
        format!(
            "of {} of {} connections only one direction was seen, though the network card was to bring both to one queue \
             (--rss symmetric): if they are tunnelled (VXLAN, Geneve), or this is not so without the option, leave it out",
            count(one_sided),
            count(all)
        )
    })
}

/// Shows how the capture goes.
struct Watch {
    line: Line,
    signals: Signals,
    /// What was shown last.
    before: Status,
    /// Whom the capture runs as, once it has begun.
    user: Option<User>,
    finds_processes: bool,
}

impl Observer for Watch {
    fn opened(&mut self, opened: Opened) -> Result<()> {
        let duties = Duties {
            puts_back: opened.has_changed_cards,
            asks_xdp: opened.has_xdp,
            finds_processes: self.finds_processes,
        };
        Ok(sandbox::give_up(duties, self.user.as_ref())?)
    }

    fn wants_end(&self) -> bool {
        self.signals.want_end(false)
    }

    fn status(&mut self, status: &Status) {
        let line = describe(status, &self.before);
        if !self.line.show(&line) {
            tracing::info!("{line}");
        }
        self.before = *status;
    }
}

/// What has come, and was left out, since `before`, and what was dropped since the beginning.
fn describe(status: &Status, before: &Status) -> String {
    let seconds = status.elapsed.saturating_sub(before.elapsed).max(Duration::from_millis(1)).as_secs_f64();
    #[expect(clippy::cast_sign_loss, reason = "a count by a time is not negative")]
    let rate = |now: u64, before: u64| count((now.saturating_sub(before) as f64 / seconds).round() as u64);
    let drops =
        if status.drops == 0 { "none dropped".to_owned() } else { counted(status.drops, "packet") + " dropped" };
    let (seen, shed) = (status.packets.saturating_sub(before.packets), status.shed.saturating_sub(before.shed));
    let shed = match shed {
        0 => String::new(),
        packets => format!(", {:.0} % left out", packets as f64 / (packets + seen) as f64 * 100.0),
    };
    let missed = match status.missed {
        0 => String::new(),
        packets => format!(", {} missed by the card", count(packets)),
    };
    let unwritten = match status.unwritten {
        0 => String::new(),
        records => format!(", {} not written", counted(records, "transaction")),
    };
    format!(
        "{} s: {} packets/s, {} requests/s{shed}, {drops}{missed}{unwritten}",
        status.elapsed.as_secs(),
        rate(status.packets, before.packets),
        rate(status.requests, before.requests)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_of_one_direction_are_told() {
        let counters = |one_sided: u64, opened: u64| {
            let mut counters = Counters::default();
            counters.add(Counter::OneSidedClient, one_sided / 2);
            counters.add(Counter::OneSidedServer, one_sided - one_sided / 2);
            counters.add(Counter::ConnectionsOpened, opened / 2);
            counters.add(Counter::ConnectionsMidstream, opened - opened / 2);
            counters
        };
        assert_eq!(split(&counters(5, 100)), None);
        assert!(split(&counters(6, 100)).is_some_and(|text| text.starts_with("of 6 of 100 connections")));
        assert_eq!(split(&counters(0, 0)), None);
    }

    #[test]
    fn rates_are_of_the_last_interval_and_drops_of_the_whole_time() {
        let status = |ms, packets, requests, drops| Status {
            elapsed: Duration::from_millis(ms),
            packets,
            requests,
            drops,
            shed: 0,
            missed: 0,
            unwritten: 0,
        };
        let before = status(10_000, 5_000, 900, 0);
        assert_eq!(
            describe(&status(12_000, 25_001, 1_000, 0), &before),
            "12 s: 10,001 packets/s, 50 requests/s, none dropped"
        );
        assert!(describe(&status(12_000, 5_000, 900, 1), &before).ends_with("0 requests/s, 1 packet dropped"));
        assert!(describe(&status(12_000, 5_000, 900, 2_000), &before).ends_with("2,000 packets dropped"));
        let missed = Status { missed: 4_000, ..status(12_000, 5_000, 900, 1) };
        assert!(describe(&missed, &before).ends_with("1 packet dropped, 4,000 missed by the card"));
        let busy = |shed| Status { shed, ..status(12_000, 5_900, 902, 1) };
        let described = describe(&busy(400), &Status { shed: 300, ..before });
        assert_eq!(described, "12 s: 450 packets/s, 1 requests/s, 10 % left out, 1 packet dropped");
        assert!(!describe(&busy(400), &Status { shed: 400, ..before }).contains("left out"), "not any more");
        let slow = Status { unwritten: 3, ..status(12_000, 5_000, 900, 0) };
        assert!(describe(&slow, &before).ends_with("none dropped, 3 transactions not written"));
    }
}
