//! What a connection's commands change about its replies: how many are due, of which form, and what else may come.
//!
//! A [`Session`] follows the server's side of one connection: it takes commands in the order in which the server executes
//! them, each when its reply (or its silence) is due, and so knows at every reply what the server's state was when it was
//! written. [`Session::reads`] says what a reply is by that state, [`Session::contradicts`] whether it can be the answer to
//! the command that waits; what can't be ends in a resync, never in a shifted queue. Plain data, a byte a connection.

use super::command::{CommandId, CommandTable};
use super::redact;
use super::reply::Reply;
use super::request::Request;
use crate::resp::parser::Kind;

/// The database that a connection uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Database(u32);

impl Database {
    /// That is not known.
    pub const UNKNOWN: Database = Database(u32::MAX);
    /// The one that connections begin with.
    pub const FIRST: Database = Database(0);

    /// The one of this number.
    pub fn new(number: u32) -> Database {
        Database(number)
    }

    /// Its number, where that is known.
    #[inline]
    pub fn number(self) -> Option<u32> {
        (self != Database::UNKNOWN).then_some(self.0)
    }
}

/// What subscriptions are to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// SUBSCRIBE
    Channel,
    /// PSUBSCRIBE
    Pattern,
    /// SSUBSCRIBE
    Shard,
}

/// What a command does to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Nothing.
    None,
    /// HELLO
    Hello,
    /// AUTH
    Auth,
    /// SELECT
    Select,
    /// RESET
    Reset,
    /// QUIT
    Quit,
    /// PING, whose answer differs while subscribed.
    Ping,
    /// CLIENT REPLY
    Reply,
    /// CLIENT SETNAME
    SetName,
    /// CLIENT SETINFO
    SetInfo,
    /// MULTI
    Multi,
    /// EXEC
    Exec,
    /// DISCARD
    Discard,
    /// WATCH, an error inside MULTI.
    Watch,
    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE
    Subscribe(Topic),
    /// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE
    Unsubscribe(Topic),
    /// MONITOR
    Monitor,
    /// EVALSHA, FCALL and their read-only forms, which name what they run.
    Script,
    /// SYNC
    Sync,
    /// PSYNC
    Psync,
    /// REPLCONF
    Replconf,
}

impl Act {
    fn of(name: &str) -> Act {
        match name {
            "HELLO" => Act::Hello,
            "AUTH" => Act::Auth,
            "SELECT" => Act::Select,
            "RESET" => Act::Reset,
            "QUIT" => Act::Quit,
            "PING" => Act::Ping,
            "CLIENT REPLY" => Act::Reply,
            "CLIENT SETNAME" => Act::SetName,
            "CLIENT SETINFO" => Act::SetInfo,
            "MULTI" => Act::Multi,
            "EXEC" => Act::Exec,
            "DISCARD" => Act::Discard,
            "WATCH" => Act::Watch,
            "SUBSCRIBE" => Act::Subscribe(Topic::Channel),
            "PSUBSCRIBE" => Act::Subscribe(Topic::Pattern),
            "SSUBSCRIBE" => Act::Subscribe(Topic::Shard),
            "UNSUBSCRIBE" => Act::Unsubscribe(Topic::Channel),
            "PUNSUBSCRIBE" => Act::Unsubscribe(Topic::Pattern),
            "SUNSUBSCRIBE" => Act::Unsubscribe(Topic::Shard),
            "MONITOR" => Act::Monitor,
            "EVALSHA" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => Act::Script,
            "SYNC" => Act::Sync,
            "PSYNC" => Act::Psync,
            "REPLCONF" => Act::Replconf,
            _ => Act::None,
        }
    }

    /// Whether its arguments matter to the session or its records, so that they are noted with the request.
    pub fn notes_arguments(self) -> bool {
        use Act::{Auth, Hello, Psync, Replconf, Reply, Script, Select, SetInfo, SetName};
        matches!(self, Hello | Auth | Select | Reply | SetName | SetInfo | Script | Psync | Replconf)
    }

    /// Whether it has exactly one reply, whatever the session's state, and leaves that so for the commands behind it.
    pub fn is_countable(self) -> bool {
        use Act::{Monitor, Psync, Replconf, Reply, Subscribe, Sync, Unsubscribe};
        !matches!(self, Subscribe(_) | Unsubscribe(_) | Reply | Monitor | Sync | Psync | Replconf)
    }

    /// Whether what it does decides how the replies behind it are to be read, so that nothing can be told of those if its
    /// execution was not heard.
    pub fn is_decisive(self) -> bool {
        !self.is_countable() || self == Act::Hello
    }

    /// Whether it belongs to replication and is no client's transaction.
    pub fn is_replication(self) -> bool {
        matches!(self, Act::Sync | Act::Psync | Act::Replconf)
    }

    /// Whether the server executes it at once although a MULTI is open.
    fn is_never_queued(self) -> bool {
        matches!(self, Act::Multi | Act::Exec | Act::Discard | Act::Watch | Act::Quit | Act::Reset)
    }
}

/// The acts of all commands, by number, and whether they carry secrets.
#[derive(Debug)]
pub struct Acts(Vec<(Act, bool)>);

impl Acts {
    /// Looks the commands up in a table.
    pub fn new(table: &CommandTable) -> Acts {
        Acts(table.iter().map(|command| (Act::of(&command.name), redact::hides(command))).collect())
    }

    /// What a command does.
    #[inline]
    pub fn of(&self, command: CommandId) -> Act {
        self.0.get(usize::from(command.0)).map_or(Act::None, |&(act, _)| act)
    }

    /// Whether its arguments are never shown.
    #[inline]
    pub fn hides_arguments(&self, command: CommandId) -> bool {
        self.0.get(usize::from(command.0)).is_some_and(|&(_, hides)| hides)
    }
}

/// Which replies the server sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Replies {
    On,
    Off,
    /// None to the next command.
    SkipNext,
}

/// What a reply is, by the session's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// The answer to the command that waits first.
    Answer,
    /// One of the answers to a subscription command that waits first.
    Confirmation,
    /// A pub/sub message, an invalidation or another push.
    Push,
    /// A line of MONITOR.
    MonitorLine,
    /// It can't be told from a message; something is known wrongly.
    Unclear,
}

/// What a connection is subscribed to, by the server's own numbers. Few connections are: a [`Session`] only says whether it is, and
/// where it is not these say nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscriptions {
    channels: u32,
    patterns: u32,
    shards: u32,
}

impl Subscriptions {
    /// To nothing.
    pub const NONE: Subscriptions = Subscriptions { channels: 0, patterns: 0, shards: 0 };
}

/// The server's side of a connection: a bit for each of its states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session(u8);

impl Session {
    /// All of its commands were seen: what follows is right. Otherwise it is what was learnt since.
    const KNOWN: Session = Session(1 << 0);
    const RESP3: Session = Session(1 << 1);
    /// A MULTI is open.
    const IN_MULTI: Session = Session(1 << 2);
    /// Something happened in the open MULTI that makes its EXEC's items differ from its commands.
    const IRREGULAR: Session = Session(1 << 3);
    const MONITORS: Session = Session(1 << 4);
    const SUBSCRIBED: Session = Session(1 << 5);
    /// [`Replies::Off`]
    const OFF: Session = Session(1 << 6);
    /// [`Replies::SkipNext`]
    const SKIPS: Session = Session(1 << 7);

    /// A session from its beginning.
    pub fn new(known: bool) -> Session {
        let mut session = Session(0);
        session.put(Session::KNOWN, known);
        session
    }

    #[inline]
    fn has(self, state: Session) -> bool {
        self.0 & state.0 != 0
    }

    fn put(&mut self, state: Session, is_so: bool) {
        self.0 = self.0 & !state.0 | if is_so { state.0 } else { 0 };
    }

    #[inline]
    fn replies(self) -> Replies {
        if self.has(Session::OFF) {
            Replies::Off
        } else if self.has(Session::SKIPS) {
            Replies::SkipNext
        } else {
            Replies::On
        }
    }

    fn put_replies(&mut self, replies: Replies) {
        self.put(Session::OFF, replies == Replies::Off);
        self.put(Session::SKIPS, replies == Replies::SkipNext);
    }

    /// Something was hidden that may have changed anything.
    pub fn forget(&mut self) {
        self.0 &= Session::RESP3.0;
    }

    /// Whether every command has one reply, the next one.
    #[inline]
    pub fn is_countable(&self) -> bool {
        self.replies() == Replies::On && !self.has(Session::MONITORS) && !self.is_subscribed()
    }

    /// Whether it is as any session begins, in either protocol: each command has one reply, which is its own.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.is_countable() && !self.has(Session::IN_MULTI)
    }

    /// Whether messages may come at any time.
    #[inline]
    pub fn is_subscribed(&self) -> bool {
        self.has(Session::SUBSCRIBED)
    }

    /// Whether long silence is usual.
    pub fn listens(&self) -> bool {
        self.is_subscribed() || self.has(Session::MONITORS)
    }

    /// Whether the command gets a reply (or several).
    #[inline]
    pub fn is_due(&self, act: Act, request: &Request) -> bool {
        match act {
            // REPLCONF ACK is the one command that is never answered.
            Act::Replconf => !request.note(0).is_some_and(|word| word.eq_ignore_ascii_case(b"ACK")),
            // Confirmations are pushed: silence does not concern them.
            Act::Subscribe(_) | Act::Unsubscribe(_) if !self.has(Session::IN_MULTI) => true,
            Act::Reply if !self.has(Session::IN_MULTI) => match request.note(0) {
                Some(word) if word.eq_ignore_ascii_case(b"ON") => true,
                Some(word) if word.eq_ignore_ascii_case(b"OFF") || word.eq_ignore_ascii_case(b"SKIP") => false,
                _ => self.replies() == Replies::On,
            },
            _ => self.replies() == Replies::On,
        }
    }

    /// A command was executed without a reply.
    pub fn executed_silently(&mut self, act: Act, request: &Request) {
        let skipped = self.replies() == Replies::SkipNext;
        match act {
            Act::Reply if !self.has(Session::IN_MULTI) => return self.set_replies(request),
            Act::Multi => self.put(Session::IN_MULTI, true),
            Act::Exec | Act::Discard => self.end_multi(),
            Act::Reset => {
                *self = Session::new(self.has(Session::KNOWN));
                return;
            }
            // What was queued, or whether it succeeded, was not heard.
            _ if self.has(Session::IN_MULTI) => self.put(Session::IRREGULAR, true),
            Act::Hello => self.put(Session::RESP3, request.note(0) == Some(b"3")),
            Act::Monitor => self.put(Session::MONITORS, true),
            _ => {}
        }
        if skipped {
            self.put_replies(Replies::On);
        }
    }

    fn set_replies(&mut self, request: &Request) {
        match request.note(0) {
            Some(word) if word.eq_ignore_ascii_case(b"OFF") => self.put_replies(Replies::Off),
            Some(word) if word.eq_ignore_ascii_case(b"ON") => self.put_replies(Replies::On),
            Some(word) if word.eq_ignore_ascii_case(b"SKIP") && self.replies() == Replies::On => {
                self.put_replies(Replies::SkipNext);
            }
            _ => {}
        }
    }

    /// What a reply is. `act`: the command that waits first.
    #[inline]
    pub fn reads(&self, act: Option<Act>, reply: &Reply, subscriptions: Subscriptions) -> Reading {
        let Some(kind) = reply.kind else { return Reading::Unclear };
        let waits_for_confirmation =
            matches!(act, Some(Act::Subscribe(_) | Act::Unsubscribe(_))) && !self.has(Session::IN_MULTI);
        match kind {
            Kind::Push if waits_for_confirmation && confirms(act, reply) => Reading::Confirmation,
            Kind::Push => Reading::Push,
            Kind::Array if !self.has(Session::RESP3) => {
                if waits_for_confirmation && confirms(act, reply) {
                    Reading::Confirmation
                } else if self.is_subscribed() && reply.is_message() {
                    Reading::Push
                } else if subscriptions.shards > 0 && reply.first_element() == b"sunsubscribe" {
                    // The server moved the slot away.
                    Reading::Push
                } else if !self.has(Session::KNOWN) && reply.is_message() {
                    Reading::Unclear
                } else {
                    Reading::Answer
                }
            }
            Kind::Simple
                if (self.has(Session::MONITORS) || !self.has(Session::KNOWN)) && is_monitor_line(reply.text()) =>
            {
                Reading::MonitorLine
            }
            _ => Reading::Answer,
        }
    }

    /// Whether a reply has the form of MONITOR's lines although no MONITOR was seen.
    #[inline]
    pub fn is_unasked_monitor_line(&self, reply: &Reply) -> bool {
        reply.kind == Some(Kind::Simple)
            && self.has(Session::KNOWN)
            && !self.has(Session::MONITORS)
            && is_monitor_line(reply.text())
    }

    /// It watches all commands of the server.
    pub fn monitors(&mut self) {
        self.put(Session::MONITORS, true);
    }

    /// A message about the subscriptions themselves: their numbers are the server's.
    pub fn count_subscriptions(&mut self, reply: &Reply, subscriptions: &mut Subscriptions) {
        let topic = match reply.first_element() {
            b"subscribe" | b"unsubscribe" => Topic::Channel,
            b"psubscribe" | b"punsubscribe" => Topic::Pattern,
            b"ssubscribe" | b"sunsubscribe" => Topic::Shard,
            _ => return,
        };
        self.count_topic(topic, reply.third_integer, subscriptions);
    }

    /// As [`Session::count_subscriptions`], of a confirmation that is an item of EXEC's array: the command tells the topic.
    pub fn count_item(&mut self, act: Act, count: Option<u32>, subscriptions: &mut Subscriptions) {
        if let Act::Subscribe(topic) | Act::Unsubscribe(topic) = act {
            self.count_topic(topic, count, subscriptions);
        }
    }

    fn count_topic(&mut self, topic: Topic, count: Option<u32>, subscriptions: &mut Subscriptions) {
        let Some(count) = count else { return };
        let Subscriptions { channels, patterns, shards } = subscriptions;
        // The server counts channels and patterns together.
        let change = i64::from(count) - i64::from(*channels + *patterns);
        let changed = |n: u32| u32::try_from((i64::from(n) + change).max(0)).unwrap_or(u32::MAX);
        match topic {
            Topic::Channel => *channels = changed(*channels),
            Topic::Pattern => *patterns = changed(*patterns),
            Topic::Shard => *shards = count,
        }
        self.put(Session::SUBSCRIBED, *subscriptions != Subscriptions::NONE);
    }

    /// Whether a command ends all subscriptions while it is not known how many there are.
    #[inline]
    pub fn unsubscribes_unknown(&self, act: Act, request: &Request) -> bool {
        !self.has(Session::KNOWN) && matches!(act, Act::Unsubscribe(_)) && request.args() == 1
    }

    /// How many confirmations a subscription command gets, at the moment at which it is executed.
    pub fn confirmations(&self, act: Act, request: &Request, subscriptions: Subscriptions) -> u32 {
        let named = request.args().saturating_sub(1);
        match act {
            Act::Unsubscribe(topic) if named == 0 => match topic {
                Topic::Channel => subscriptions.channels.max(1),
                Topic::Pattern => subscriptions.patterns.max(1),
                Topic::Shard => subscriptions.shards.max(1),
            },
            _ => named,
        }
    }

    /// Whether a reply can't be the answer to a command.
    #[inline]
    pub fn contradicts(&self, act: Act, reply: &Reply) -> bool {
        let Some(kind) = reply.kind else { return true };
        if act == Act::None && !self.has(Session::IN_MULTI) && kind != Kind::Simple {
            // Most of all.
            return false;
        }
        let text = reply.text();
        let queued = reply.is_queued();
        if kind == Kind::Error {
            // Row 63: a failing AUTH can lose its reply; what comes then is the next command's.
            return act == Act::Auth && text.starts_with(b"NOAUTH");
        }
        if queued && (act.is_never_queued() || self.has(Session::KNOWN) && !self.has(Session::IN_MULTI)) {
            return true;
        }
        if self.has(Session::IN_MULTI) && self.has(Session::KNOWN) && !act.is_never_queued() {
            return !queued;
        }
        let ok = kind == Kind::Simple && text == b"OK";
        match act {
            _ if queued => false,
            Act::None | Act::Ping | Act::Script | Act::Replconf => false,
            Act::Hello => !matches!(kind, Kind::Map | Kind::Array),
            Act::Reset => !(kind == Kind::Simple && text == b"RESET"),
            Act::Exec => !matches!(kind, Kind::Array | Kind::Null),
            Act::Subscribe(_) | Act::Unsubscribe(_) => true,
            Act::Psync | Act::Sync => kind != Kind::Simple,
            Act::Auth
            | Act::Select
            | Act::Quit
            | Act::Reply
            | Act::SetName
            | Act::SetInfo
            | Act::Multi
            | Act::Discard
            | Act::Watch
            | Act::Monitor => !ok,
        }
    }

    /// Whether an answer says that the command was queued by MULTI. Learns that one is open.
    #[inline]
    pub fn is_queued(&mut self, act: Act, reply: &Reply) -> bool {
        let queued = reply.is_queued();
        // A HELLO changes the form of the items behind it, or fails.
        if queued {
            self.put(
                Session::IRREGULAR,
                self.has(Session::IRREGULAR) || !self.has(Session::IN_MULTI) || act == Act::Hello,
            );
            self.put(Session::IN_MULTI, true);
        }
        queued
    }

    /// Whether a command that is executed silently is only queued, and will decide, when EXEC executes it, how replies are to
    /// be read: nobody will hear when, or whether.
    pub fn hides(&self, act: Act) -> bool {
        self.has(Session::IN_MULTI) && act.is_decisive()
    }

    /// A command was answered; `succeeded`: not by an error.
    #[inline]
    pub fn answered(&mut self, act: Act, request: &Request, succeeded: bool) {
        match act {
            Act::None => {}
            Act::Exec | Act::Discard => self.end_multi(),
            _ if !succeeded => {}
            Act::Hello => match request.note(0) {
                Some(b"3") => self.put(Session::RESP3, true),
                Some(b"2") => self.put(Session::RESP3, false),
                _ => {}
            },
            Act::Reset => *self = Session::new(self.has(Session::KNOWN)),
            Act::Reply => self.set_replies(request),
            Act::Multi => {
                self.put(Session::IN_MULTI, true);
                self.put(Session::IRREGULAR, false);
            }
            Act::Monitor => self.put(Session::MONITORS, true),
            _ => {}
        }
    }

    fn end_multi(&mut self) {
        self.put(Session::IN_MULTI, false);
        self.put(Session::IRREGULAR, false);
    }

    /// Whether the items of the open MULTI's EXEC can be told by its queued commands.
    pub fn is_regular(&self) -> bool {
        self.has(Session::KNOWN) && !self.has(Session::IRREGULAR)
    }

    /// Items that a queued command leaves in EXEC's array (pushes not counted), and its effect on the ones behind it.
    pub fn queued_items(&mut self, act: Act, request: &Request, subscriptions: Subscriptions) -> u64 {
        let items = match act {
            Act::Reply => u64::from(request.note(0).is_some_and(|word| word.eq_ignore_ascii_case(b"ON"))),
            _ if self.replies() == Replies::Off => 0,
            Act::Subscribe(_) | Act::Unsubscribe(_) if self.has(Session::RESP3) => 0,
            Act::Subscribe(_) | Act::Unsubscribe(_) => u64::from(self.confirmations(act, request, subscriptions)),
            _ => 1,
        };
        if act == Act::Reply {
            self.set_replies(request);
        }
        items
    }

    /// A queued command was executed by EXEC.
    pub fn executed_in_multi(&mut self, act: Act, request: &Request, succeeded: bool) {
        if act == Act::Reply {
            self.set_replies(request);
        } else {
            self.answered(act, request, succeeded);
        }
    }

    /// Whether subscription confirmations are pushes.
    pub fn is_resp3(&self) -> bool {
        self.has(Session::RESP3)
    }

    /// A push came: the protocol is RESP3.
    pub fn saw_push(&mut self) {
        self.put(Session::RESP3, true);
    }
}

/// Whether a reply has the form of a confirmation of this command.
fn confirms(act: Option<Act>, reply: &Reply) -> bool {
    let expected: &[u8] = match act {
        Some(Act::Subscribe(Topic::Channel)) => b"subscribe",
        Some(Act::Subscribe(Topic::Pattern)) => b"psubscribe",
        Some(Act::Subscribe(Topic::Shard)) => b"ssubscribe",
        Some(Act::Unsubscribe(Topic::Channel)) => b"unsubscribe",
        Some(Act::Unsubscribe(Topic::Pattern)) => b"punsubscribe",
        Some(Act::Unsubscribe(Topic::Shard)) => b"sunsubscribe",
        _ => return false,
    };
    reply.first_element() == expected
}

/// `1795367238.519800 [0 127.0.0.1:41810] "SET" …`
fn is_monitor_line(text: &[u8]) -> bool {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits >= 9 && text.get(digits) == Some(&b'.')
}
