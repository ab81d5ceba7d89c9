//! What becomes of requests, and by which argument: the words that pairing and its readers share.
//!
//! As long as both streams are framed and nothing is hidden, the k-th reply answers the k-th request of the
//! [queue](super::queue). When something may be hidden, [`super::candidates`] rules.

use crate::counters::Counter;

/// Facts about a transaction that are yes or no: a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u16);

impl Flags {
    /// A segment of it was retransmitted.
    pub const RETRANSMIT: Flags = Flags(1 << 0);
    /// Bytes of it are missing from the capture.
    pub const GAP: Flags = Flags(1 << 1);
    /// Its reply came after it had been reported as timed out.
    pub const LATE: Flags = Flags(1 << 2);
    /// The request broke the protocol; the server answers with an error and closes.
    pub const MALFORMED: Flags = Flags(1 << 3);
    /// It was sent as an inline command.
    pub const INLINE: Flags = Flags(1 << 4);
    /// It may wait for data on purpose; its latency is kept apart and it never times out.
    pub const BLOCKING: Flags = Flags(1 << 5);
    /// It was queued by a MULTI that was never executed.
    pub const NOT_EXECUTED: Flags = Flags(1 << 6);
    /// The command table does not have the command: that its first argument is the key is a guess.
    pub const KEY_GUESSED: Flags = Flags(1 << 7);

    /// The names that records show, in order.
    pub const NAMES: [(Flags, &'static str); 8] = [
        (Flags::RETRANSMIT, "retransmit"),
        (Flags::GAP, "gap"),
        (Flags::LATE, "late"),
        (Flags::MALFORMED, "malformed"),
        (Flags::INLINE, "inline"),
        (Flags::BLOCKING, "blocking"),
        (Flags::NOT_EXECUTED, "not_executed"),
        (Flags::KEY_GUESSED, "key_guessed"),
    ];

    /// Whether all bits of `other` are set.
    #[inline]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub fn has_any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets the bits of `other`.
    #[inline]
    pub fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

/// By which argument a pairing was found again after something had been hidden (PAIRING).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Proved: bounds alone left one possibility.
    Counted,
    /// Proved: the kinds of replies left one.
    Eliminated,
    /// Assumed: one possibility has explained many replies of several kinds, all others failed early.
    Window,
    /// Assumed: nothing can be outstanding after both sides were silent long enough.
    Silence,
    /// Assumed: the replies follow so promptly, and the requests so much later, that the client must wait for them.
    Prompt,
    /// Assumed: the client, which had always waited for its replies, does so again.
    Habit,
    /// Assumed, only with [`Resync::Trust`]: requests and replies alternated from the first to the last.
    Alternation,
}

impl Proof {
    /// All of them.
    pub const ALL: [Proof; 7] = [
        Proof::Counted,
        Proof::Eliminated,
        Proof::Window,
        Proof::Silence,
        Proof::Prompt,
        Proof::Habit,
        Proof::Alternation,
    ];

    /// As records and summaries spell it.
    pub fn name(self) -> &'static str {
        match self {
            Proof::Counted => "counted",
            Proof::Eliminated => "eliminated",
            Proof::Window => "window",
            Proof::Silence => "silence",
            Proof::Prompt => "prompt",
            Proof::Habit => "habit",
            Proof::Alternation => "alternation",
        }
    }

    /// Where it is counted.
    pub fn counter(self) -> Counter {
        match self {
            Proof::Counted => Counter::ResyncsCounted,
            Proof::Eliminated => Counter::ResyncsEliminated,
            Proof::Window => Counter::ResyncsWindow,
            Proof::Silence => Counter::ResyncsSilence,
            Proof::Prompt => Counter::ResyncsPrompt,
            Proof::Habit => Counter::ResyncsHabit,
            Proof::Alternation => Counter::ResyncsAlternation,
        }
    }
}

/// What is accepted as proof of pairing after something was hidden (PAIRING).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resync {
    /// Only what is certain.
    Strict,
    /// Also what is assumed by name, such as [`Proof::Silence`].
    Assume,
    /// As well as [`Proof::Alternation`].
    Trust,
}

/// Why a request stayed without a reply although nothing was hidden.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A side closed the connection.
    Fin,
    /// A side reset the connection.
    Rst,
    /// A new connection took over the same addresses and ports.
    Reused,
    /// The connection had been silent for the idle timeout.
    Idle,
    /// The capture ended.
    CaptureEnd,
}

impl Reason {
    /// As records spell it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Fin => "fin",
            Reason::Rst => "rst",
            Reason::Reused => "reused",
            Reason::Idle => "idle",
            Reason::CaptureEnd => "capture_end",
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// None is due.
    NoReply,
    /// Paired with its reply, nothing hidden.
    Exact,
    /// Paired with its reply after a gap or a mid-stream start.
    Resynced(Proof),
    /// No reply within the timeout at the head of its connection.
    TimedOut,
    /// Its reply, or the proof of pairing, is missing from the capture.
    Lost,
    /// The other direction was never seen.
    OneSided,
    /// The connection ended first.
    Unanswered(Reason),
}

impl Outcome {
    /// As `redis.pairing` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::NoReply => "no_reply",
            Outcome::Exact => "exact",
            Outcome::Resynced(_) => "resynced",
            Outcome::TimedOut => "timed_out",
            Outcome::Lost => "lost",
            Outcome::OneSided => "one_sided",
            Outcome::Unanswered(_) => "unanswered",
        }
    }

    /// Whether there is a reply.
    pub fn is_paired(self) -> bool {
        matches!(self, Outcome::Exact | Outcome::Resynced(_))
    }
}
