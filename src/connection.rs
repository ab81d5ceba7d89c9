//! What one connection is: two half-streams, two parsers, and the queue of requests between them.
//!
//! [`Connection::segment`] takes each segment in the order of the capture and tells a [`Recorder`] what became of each
//! request. All deadlines (timeout, reorder budget, silence) are decided by comparing the capture's times, so that nothing
//! depends on when a timer happened to look.
//!
//! Memory: plain data in the table's slot; requests, unfinished messages and out-of-order data are in the worker's pools
//! ([`Resources`]). When a pool is empty the connection that needs more is given up whole ([`Exhausted`]), and counted.
//! Never panics on traffic.

mod answer;
mod aside;
mod content;
mod deliver;
mod facts;
mod lifecycle;
mod opaque;
mod parse;
mod recognise;
mod resync;
mod scarcity;
#[cfg(test)]
mod tests;
mod usual;

use aside::Aside;
use facts::{Facts, Start};
pub use lifecycle::Admission;
use recognise::Recognition;
use resync::{Held, Resyncing};
pub use usual::Arrived;

use crate::counters::{Counter, Counters};
use crate::decode::seq::Seq;
use crate::limits::{Budget, items};
use crate::pool::{NONE, Pool};
use crate::reassembly::pages::Pages;
use crate::reassembly::stream::HalfStream;
use crate::redis::candidates::{CANDIDATES_BYTES_MAX, Scratch};
use crate::redis::command::CommandTable;
use crate::redis::habits::Habit;
use crate::redis::pairing::{Outcome, Proof, Resync};
use crate::redis::possible::Possible;
use crate::redis::queue::Queue;
use crate::redis::replication::{Link, LinkFacts};
use crate::redis::reply::Reply;
use crate::redis::request::usual::UsualCommands;
use crate::redis::request::{Request, Shown};
use crate::redis::requests::Requests;
use crate::redis::session::{Act, Acts, Database, Session};
use crate::resp::parser::{Kind, Parser};
use crate::units::{Conversation, Direction, Offset, Timestamp};

/// What all connections of a worker go by.
#[derive(Debug)]
pub struct Settings {
    /// All commands.
    pub table: &'static CommandTable,
    /// What they do to sessions.
    pub acts: Acts,
    /// What they may answer.
    pub possible: Possible,
    /// What of requests is kept to be shown.
    pub shown: Shown,
    /// An unanswered request is reported after so long at the head of its connection.
    pub timeout_ns: u64,
    /// A silent connection is forgotten after so long.
    pub idle_timeout_ns: u64,
    /// What is accepted as proof.
    pub resync: Resync,
    /// Silence that the assumption of that name needs.
    pub resync_silence_ns: u64,
    /// How long missing bytes are waited for.
    pub reorder_time_ns: u64,
    /// For how many packets of the connection.
    pub reorder_packets: u32,
}

/// A message that is not complete yet, or the worker's scratch for one. What a long string needs comes first.
#[derive(Debug)]
#[repr(C)]
pub struct Unfinished {
    parser: Parser,
    reply: Box<Reply>,
}

impl Unfinished {
    fn new(shown: &Shown) -> Unfinished {
        Unfinished { parser: Parser::default(), reply: Box::new(Reply::with_room(shown.payload_bytes)) }
    }

    /// Bytes that one needs, with all that it points to.
    fn bytes(shown: &Shown) -> usize {
        size_of::<Unfinished>() + size_of::<Reply>() + Reply::room_bytes(shown.payload_bytes)
    }
}

/// What a worker's connections share.
#[derive(Debug)]
pub struct Resources {
    /// What they go by.
    pub settings: Settings,
    /// What happened.
    pub counters: Counters,
    /// Out-of-order data.
    pub pages: Pages,
    /// Connections may be plain (`usual.rs`).
    takes_short_way: bool,
    /// For so long time decides nothing of a plain connection (`usual.rs`).
    timely_ns: u64,
    usual: UsualCommands,
    requests: Requests,
    unfinished: Pool<Unfinished>,
    resyncs: Pool<Resyncing>,
    /// Where the next candidates of a connection are found.
    candidates: Scratch,
    held: Pool<Held>,
    recognitions: Pool<Box<Recognition>>,
    /// Stands in for one that is read out of its place; only then it is away.
    spare_recognition: Option<Box<Recognition>>,
    scratch: Unfinished,
    /// Stands in for a reply that is looked at outside of its place; only then it is away.
    stand_in: Option<Box<Reply>>,
    links: Pool<Link>,
    labels: Pool<Labels>,
    asides: Pool<Aside>,
    /// Replication links that have ended or are told at the end, at most [`limits::LINKS_TOLD_MAX`].
    replication: Vec<ReplicationLink>,
}

impl Resources {
    /// Pools within a budget.
    pub fn new(settings: Settings, budget: &Budget) -> Resources {
        let shown = &settings.shown;
        Resources {
            counters: Counters::default(),
            pages: Pages::new(budget.reassembly),
            takes_short_way: true,
            timely_ns: settings.timeout_ns.min(settings.idle_timeout_ns),
            usual: UsualCommands::new(settings.table, &settings.acts, &settings.possible, shown),
            requests: Requests::new(items(budget.pending, request_bytes(shown))),
            unfinished: Pool::new(items(budget.messages, Unfinished::bytes(shown))),
            candidates: Scratch::default(),
            resyncs: Pool::new(items(budget.resync / 2, RESYNC_BYTES)),
            held: Pool::new(items(budget.resync / 2, Held::bytes(shown.payload_bytes))),
            recognitions: Pool::new(items(budget.recognition, size_of::<Recognition>())),
            spare_recognition: Some(Recognition::new()),
            links: Pool::new(items(budget.links, size_of::<Link>())),
            labels: Pool::new(items(budget.labels, size_of::<Labels>() + LABELS * LABEL_BYTES_MAX)),
            // As many as connections, or more: those take more than themselves in the table.
            asides: Pool::new(items(budget.connections, size_of::<Connection>()).saturating_add(1)),
            replication: Vec::new(),
            scratch: Unfinished::new(shown),
            stand_in: Some(Box::new(Reply::with_room(shown.payload_bytes))),
            settings,
        }
    }

    /// From now on nothing goes the short way, before the first segment.
    pub fn leave_short_way(&mut self) {
        self.takes_short_way = false;
        self.usual = UsualCommands::none();
    }

    /// Bytes of memory that were ever in use.
    pub fn memory(&self) -> u64 {
        let shown = &self.settings.shown;
        let pools = [
            (self.requests.made(), request_bytes(shown)),
            (self.unfinished.made(), Unfinished::bytes(shown)),
            (self.resyncs.made(), RESYNC_BYTES),
            (self.held.made(), Held::bytes(shown.payload_bytes)),
            (self.recognitions.made(), size_of::<Recognition>()),
            (self.links.made(), size_of::<Link>()),
            (self.labels.made(), size_of::<Labels>() + LABELS * LABEL_BYTES_MAX),
            (self.asides.made(), size_of::<Aside>()),
        ];
        self.pages.memory() + pools.iter().map(|&(made, bytes)| u64::from(made) * bytes as u64).sum::<u64>()
    }

    /// Items of all pools in use: 0 when all connections have ended.
    pub fn in_use(&self) -> u32 {
        self.requests.in_use()
            + self.unfinished.in_use()
            + self.resyncs.in_use()
            + self.held.in_use()
            + self.recognitions.in_use()
            + self.pages.in_use()
            + self.links.in_use()
            + self.labels.in_use()
            + self.asides.in_use()
    }

    #[inline(never)]
    fn give_unfinished_back(&mut self, handle: u32) {
        self.unfinished.get_mut(handle).reply.trim();
        self.unfinished.give_back(handle);
    }

    /// What a request does to its session.
    fn act(&self, request: u32) -> Act {
        self.settings.acts.of(self.requests.get(request).command)
    }

    /// The replication links of connections that have ended.
    pub fn take_replication(&mut self) -> Vec<ReplicationLink> {
        std::mem::take(&mut self.replication)
    }
}

/// Bytes that a request may need: its item of EXEC's array is one more.
fn request_bytes(shown: &Shown) -> usize {
    Request::bytes_max(shown) + Reply::ITEM_BYTES
}

/// What a connection that resyncs may need.
const RESYNC_BYTES: usize = size_of::<Resyncing>() + CANDIDATES_BYTES_MAX;

/// A replication link, as the summary tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicationLink {
    /// The connection.
    pub identity: Identity,
    /// What is known.
    pub facts: LinkFacts,
}

/// Longest label that is kept, in bytes.
const LABEL_BYTES_MAX: usize = 64;
/// Labels of a connection.
const LABELS: usize = 4;

/// What a connection has said about its client.
#[derive(Debug, Default)]
pub struct Labels {
    /// CLIENT SETNAME
    pub name: Vec<u8>,
    /// AUTH, HELLO
    pub user: Vec<u8>,
    /// CLIENT SETINFO: the library's name and version.
    pub library: Vec<u8>,
    /// Its version alone.
    version: Vec<u8>,
}

/// Who talks to whom, and their numbers. What statistics and the flow table use comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Identity {
    /// The client's number in the worker's statistics.
    pub client_number: u32,
    /// The server's.
    pub server_number: u32,
    /// Which connection it is, and of whom.
    pub conversation: Conversation,
}

/// A reply, as told to a [`Recorder`].
#[derive(Clone, Copy, Debug)]
pub struct ReplyFacts<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Position of its first byte: of several replies the last one's, of a queued command the one that decided it.
    pub begin: Offset,
    /// First byte.
    pub t3: Timestamp,
    /// Last byte; not known if that fell into a gap.
    pub t4: Timestamp,
    /// RESP bytes, attributes included.
    pub bytes: u64,
    /// The text of an error, its beginning.
    pub error: &'a [u8],
    /// Its shown form.
    pub response: &'a [u8],
    /// Which of the first 64 elements of an aggregate are nulls, a bit each; not known of an item of EXEC's array.
    pub nulls: Option<u64>,
}

/// A request whose fate is decided.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// On which connection.
    pub identity: &'a Identity,
    /// The request; its flags are complete.
    pub request: &'a Request,
    became: Became<'a>,
    /// Its reply.
    pub reply: Option<&'a ReplyFacts<'a>>,
    /// Last byte of the reply or push before.
    pub previous: Timestamp,
    /// The database that it used.
    pub db: &'a Database,
    /// Where it is said what is known of the client.
    labels: (&'a u32, &'a Pool<Labels>),
    /// The EXEC that executed it.
    pub parent: Option<u64>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
enum Became<'a> {
    This(Outcome),
    /// It was paired, as certainly as its connection's next reply is. Where that is, as most don't ask.
    Paired(&'a Certainty),
}

impl<'a> Exchange<'a> {
    /// What became of it.
    #[inline(always)]
    pub fn outcome(&self) -> Outcome {
        match self.became {
            Became::This(outcome) => outcome,
            Became::Paired(certainty) => certainty.outcome(),
        }
    }

    /// Shows it to somebody who seldom sees one. A copy: so only what is shown has to be put together in memory.
    #[inline(always)]
    pub fn copied<R>(&self, show: impl FnOnce(&Exchange<'_>) -> R) -> R {
        let reply = self.reply.copied();
        show(&Exchange { reply: reply.as_ref(), ..*self })
    }

    /// Whether anything is known of the client.
    #[inline(always)]
    pub fn has_labels(&self) -> bool {
        *self.labels.0 != NONE
    }

    /// What is known of the client.
    #[inline(always)]
    pub fn labels(&self) -> Option<&'a Labels> {
        let (&handle, pool) = self.labels;
        (handle != NONE).then(|| pool.get(handle))
    }
}

/// Is told what became of requests.
pub trait Recorder {
    /// A request's fate is decided. A late reply comes as a second exchange of its request, with the flag `LATE`.
    fn decided(&mut self, exchange: &Exchange<'_>, counters: &mut Counters);

    /// The same of one that [is simple](Request::is_simple), with a reply that is no error.
    #[inline(always)]
    fn decided_simply(&mut self, exchange: &Exchange<'_>, counters: &mut Counters) {
        self.decided(exchange, counters);
    }

    /// Replies of a connection come that all come at once, at `at`, with one before them: [`Recorder::decided_behind`] tells of them.
    /// `first`: the request that waits first now.
    fn come_behind(&mut self, identity: &Identity, first: &Request, at: Timestamp, counters: &mut Counters) {
        let _ = (identity, first, at, counters);
    }

    /// The same as [`Recorder::decided_simply`], of one of those.
    #[inline(always)]
    fn decided_behind(&mut self, exchange: &Exchange<'_>, counters: &mut Counters) {
        self.decided(exchange, counters);
    }

    /// A connection is one of Redis's, which was not known from its beginning: its ends are numbered.
    fn introduce(&mut self, identity: &mut Identity, counters: &mut Counters) {
        let _ = (identity, counters);
    }
}

/// A pool is empty: the connection is to be given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted(Counter);

/// Whether a stream's framing is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    /// The next byte continues a message or begins one.
    Known,
    /// It is unknown where the next message begins.
    Seeking,
    /// The client broke the protocol: the server won't read on.
    Broken,
    /// It is no RESP, or no client's: it is not looked into.
    Opaque,
    /// It is not known yet whether it is RESP.
    Unrecognised,
}

/// What is certain of a connection's pairing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Certainty {
    /// The first request of the queue takes the next reply.
    Exact,
    /// So it is, by an assumption that was made earlier.
    Assumed(Proof),
    /// That is to be found out.
    Open,
}

impl Certainty {
    /// What becomes of requests that are paired with the next reply, where that is settled.
    #[inline(always)]
    fn outcome(self) -> Outcome {
        debug_assert!(self.is_settled());
        if let Certainty::Assumed(proof) = self { Outcome::Resynced(proof) } else { Outcome::Exact }
    }

    /// Whether the next reply can be paired at once.
    fn is_settled(self) -> bool {
        self != Certainty::Open
    }
}

/// One connection. What a usual segment touches comes first.
#[derive(Debug)]
#[repr(C)]
pub struct Connection {
    streams: [HalfStream; 2],
    last_at: Timestamp,
    /// When the head of the queue became it. Of a connection that is not recognised yet: when it began.
    head_at: Timestamp,
    queue: Queue,
    requests: u64,
    facts: Facts,
    framing: [Framing; 2],
    certainty: Certainty,
    session: Session,
    habit: Habit,
    /// Last byte of the last reply or push.
    previous: Timestamp,
    /// Unfinished messages of both directions.
    unfinished: [u32; 2],
    labels: u32,
    /// The database that it uses.
    db: Database,
    /// Who talks to whom.
    pub identity: Identity,
    /// The request that is streaming in.
    building: u32,
    /// What is known while the pairing is open.
    resync: u32,
    /// Where its own SYN said that requests begin, if that was seen; a copy of it may come late.
    first: Seq,
    /// What only few have, see [`aside`].
    aside: u32,
}

// Per connection, IPv6 included; the flow table adds 8 bytes, and 8 to 16 of its index.
const _: () = assert!(size_of::<Connection>() <= 232);

impl Connection {
    /// Whether it has ended; it is remembered for a while, so that late copies of its segments are known as such.
    pub fn is_closed(&self) -> bool {
        self.facts.has(Facts::CLOSED)
    }

    /// Time of its last packet.
    pub fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// Requests of it whose fate is not decided.
    pub fn undecided(&self, resources: &Resources) -> u64 {
        let is_told =
            |&head: &u32| resources.requests.get(head).has_timed_out() && !resources.act(head).is_replication();
        let head = self.queue.head().filter(is_told);
        let Aside { children, internal, .. } = self.aside(resources);
        u64::from(self.queue.len() + children.len() - internal) - u64::from(head.is_some())
    }

    /// The direction as this connection knows it, of a segment that goes `direction` by its ports.
    fn oriented(&self, direction: Direction) -> Direction {
        if self.facts.has(Facts::SWAPPED) { direction.reverse() } else { direction }
    }

    /// Whether a segment of it was seen.
    fn is_seen(&self) -> bool {
        self.streams.iter().any(HalfStream::is_seen)
    }

    fn stream(&self, direction: Direction) -> &HalfStream {
        &self.streams[direction as usize]
    }

    fn stream_mut(&mut self, direction: Direction) -> &mut HalfStream {
        &mut self.streams[direction as usize]
    }

    fn has_unfinished(&self, direction: Direction) -> bool {
        self.unfinished[direction as usize] != NONE
    }

    /// Gives the message that is unfinished in a direction back to the pool.
    #[inline]
    fn drop_unfinished(&mut self, direction: Direction, resources: &mut Resources) {
        if self.has_unfinished(direction) {
            let handle = std::mem::replace(&mut self.unfinished[direction as usize], NONE);
            resources.give_unfinished_back(handle);
        }
    }

    fn drop_building(&mut self, resources: &mut Resources) {
        let handle = std::mem::replace(&mut self.building, NONE);
        if handle != NONE {
            resources.requests.give_back(handle);
        }
    }
}
