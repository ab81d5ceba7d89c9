//! `resptap check`: what stands in the way of a good capture, before one is begun; each finding with the command that mends it.
//!
//! Nothing is changed, except that `--restore` puts back what a killed capture has left behind.

mod interface;
mod machine;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};

use anyhow::Result;

use crate::capture::nic::Facts;
use crate::capture::nic::ethtool::Ethtool;
use crate::capture::nic::host::Host;
use crate::capture::nic::kept::{Left, Place};
use crate::config::CheckConfig;
use crate::sandbox;

use super::format::{Style, unless_enough, wrap};

/// How good it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grade {
    Ok,
    /// A capture works, but might lose packets, or costs more than it need.
    Warn,
    /// A capture does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    grade: Grade,
    topic: &'static str,
    text: String,
    /// A command.
    mend: Option<String>,
}

impl Finding {
    fn ok(topic: &'static str, text: impl Into<String>) -> Finding {
        Finding { grade: Grade::Ok, topic, text: text.into(), mend: None }
    }

    fn warn(topic: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { grade: Grade::Warn, topic, text: text.into(), mend: Some(mend.into()) }
    }

    fn fail(topic: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { grade: Grade::Fail, topic, text: text.into(), mend: Some(mend.into()) }
    }
}

/// What the program may do: of what the ways to capture need, what is missing.
#[derive(Clone, Debug, Default)]
struct Privileges {
    af_packet: Vec<String>,
    af_xdp: Vec<String>,
    locking: Vec<String>,
    /// The command that gives it.
    setcap: String,
}

impl Privileges {
    fn read() -> Privileges {
        Privileges {
            af_packet: sandbox::missing(sandbox::AF_PACKET),
            af_xdp: sandbox::missing(sandbox::AF_XDP),
            locking: sandbox::missing(sandbox::LOCKING),
            setcap: sandbox::setcap(),
        }
    }
}

/// Looks at the machine and the interfaces, and says what it found. `Ok(false)`: something failed.
pub fn run(check: &CheckConfig) -> Result<bool> {
    let (host, privileges) = (Host::read(), Privileges::read());
    let facts: Vec<Option<Facts>> = check.interfaces.iter().map(|name| Facts::of(name)).collect();
    let queues = facts.iter().flatten().filter(|facts| facts.in_use.is_none()).map(|facts| facts.queues).sum();
    let mut sections = vec![("this machine", machine::judge(&host, &privileges, queues))];
    for (name, facts) in check.interfaces.iter().zip(&facts) {
        let mut findings = Vec::new();
        if check.restore {
            findings.push(restore(name));
        }
        findings.extend(match facts {
            Some(facts) => interface::judge(facts, &host, Place::of(name).left()),
            None => vec![interface::absent(name)],
        });
        sections.push((name, findings));
    }
    let is_terminal = io::stdout().is_terminal();
    let style = Style { colour: is_terminal, ..Style::default() };
    unless_enough(print(&sections, style, &mut io::stdout().lock()))?;
    Ok(!sections.iter().flat_map(|(_, findings)| findings).any(|finding| finding.grade == Grade::Fail))
}

/// Puts back what a killed capture has left behind.
fn restore(name: &str) -> Finding {
    let again = format!("resptap check --interface {name} --restore");
    let restored = Ethtool::of(name).map(|card| Place::of(name).restore(&card));
    match restored {
        Ok(Ok(Left::Nothing)) => Finding::ok("restore", "nothing was left behind by a capture that was killed"),
        Ok(Ok(Left::PutBack(pid))) => Finding::ok(
            "restore",
            format!("how packets are spread over the queues is as it was before process {pid} was killed"),
        ),
        Ok(Ok(Left::OfAnother)) => Finding::ok(
            "restore",
            "what a killed capture left behind was of another card, which had this name; this one is left alone",
        ),
        Ok(Ok(Left::InUse(pid))) => Finding::fail(
            "restore",
            format!("a capture that runs (process {pid}) holds its settings, and puts them back when it ends"),
            format!("kill -INT {pid}"),
        ),
        Ok(Err(error)) => Finding::fail("restore", error.to_string(), again),
        Err(error) => Finding::fail("restore", format!("no socket can be had to ask about {name}: {error}"), again),
    }
}

fn print(sections: &[(&str, Vec<Finding>)], style: Style, out: &mut dyn Write) -> io::Result<()> {
    const INDENT: usize = 22;
    for (number, (name, findings)) in sections.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", style.heading(name))?;
        for finding in findings {
            let grade = match finding.grade {
                Grade::Ok => "ok  ".to_owned(),
                Grade::Warn => style.warning("warn"),
                Grade::Fail => style.warning("fail"),
            };
            let mut lines = wrap(&finding.text, style.width.saturating_sub(INDENT).max(20)).into_iter();
            writeln!(out, "  {grade}  {:<12}  {}", finding.topic, lines.next().unwrap_or_default())?;
            for line in lines {
                writeln!(out, "{:INDENT$}{line}", "")?;
            }
            // In one line, to be copied.
            if let Some(mend) = &finding.mend {
                writeln!(out, "{:INDENT$}-> {mend}", "")?;
            }
        }
    }
    Ok(())
}
