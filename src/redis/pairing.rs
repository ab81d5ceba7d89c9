//! Requests waiting for their replies, and what becomes of them.

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

    /// The names that records show, in order.
    pub const NAMES: [(Flags, &'static str); 6] = [
        (Flags::RETRANSMIT, "retransmit"),
        (Flags::GAP, "gap"),
        (Flags::LATE, "late"),
        (Flags::MALFORMED, "malformed"),
        (Flags::INLINE, "inline"),
        (Flags::BLOCKING, "blocking"),
    ];

    /// Whether all bits of `other` are set.
    #[inline]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
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
    /// Bounds alone left one possibility.
    Counted,
    /// Assumed: nothing can be outstanding after both sides were silent long enough.
    Silence,
}

impl Proof {
    /// All of them, in the order of [`Proof::name`]s.
    pub const ALL: [Proof; 2] = [Proof::Counted, Proof::Silence];

    /// As records and summaries spell it.
    pub fn name(self) -> &'static str {
        match self {
            Proof::Counted => "counted",
            Proof::Silence => "silence",
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
