//! Counters: what happened, counted where it happened.
//!
//! Each worker counts in a plain block of its own ([`Counters`]) and publishes it now and then into a shared block
//! ([`Published`], cache-padded, so that no two workers write the same line).

use std::ops::{Index, IndexMut};
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident => $section:literal / $text:literal),* $(,)?) => {
        /// What is counted. The doc of each is its meaning in the summary.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Counter { $($(#[doc = $doc])* $name),* }

        impl Counter {
            /// All counters, in order.
            pub const ALL: &'static [Counter] = &[$(Counter::$name),*];

            /// Section of the summary that shows it, and its name there (`a.b` is `b` inside the object `a`).
            pub fn place(self) -> (&'static str, &'static str) {
                match self { $(Counter::$name => ($section, $text)),* }
            }
        }
    };
}

counters! {
    /// Frames that the source delivered.
    FramesSeen => "packets"/"seen",
    /// Their bytes on the wire.
    FrameBytes => "packets"/"bytes",
    /// Frames that became segments of an observed connection's addresses and ports.
    FramesAnalysed => "packets"/"analysed",
    /// The captured bytes end inside the headers.
    SkipCutOff => "packets"/"skipped.cut_off",
    /// Not an IP packet.
    SkipNotIp => "packets"/"skipped.not_ip",
    /// An IP packet that is not TCP.
    SkipNotTcp => "packets"/"skipped.not_tcp",
    /// A fragment of an IP packet of which others never came, or came when it had been given up.
    SkipFragment => "packets"/"skipped.fragment",
    /// A fragment of an IP packet that became whole: the fragment that completed it stands for all of it.
    SkipFragmentJoined => "packets"/"skipped.fragment_joined",
    /// Header fields that contradict each other.
    SkipMalformed => "packets"/"skipped.malformed",
    /// In more tunnels, VLAN tags, MPLS labels or IPv6 extension headers than are looked behind.
    SkipTooDeep => "packets"/"skipped.too_deep",
    /// TCP, but none of the server ports.
    SkipOtherPort => "packets"/"skipped.other_port",
    /// On an interface whose link type is not supported.
    SkipLinkType => "packets"/"skipped.link_type",
    /// Fragments with bytes that others had brought (which count).
    FragmentOverlaps => "packets"/"fragment_overlaps",
    /// Copies of packets that a mirror, or a capture before and behind a router, showed more than once; otherwise ignored.
    Duplicates => "packets"/"duplicates",
    /// Packets whose data came before earlier data of their direction, and waited for it.
    OutOfOrder => "packets"/"out_of_order",
    /// Segments whose bytes had all been seen before.
    Retransmitted => "packets"/"retransmitted",
    /// Keep-alive probes.
    KeepAlives => "packets"/"keep_alives",
    /// Segments outside any plausible window of their connection.
    OutOfWindow => "packets"/"out_of_window",
    /// Segments without data that belong to no known connection.
    Stray => "packets"/"stray",
    /// Packets whose time lies before an earlier packet's of their connection (taken as that one's).
    TimeBackwards => "packets"/"time_backwards",
    /// Frames that a live capture's ring had no room for: the kernel dropped them, and they are not among those seen.
    CaptureDropsRing => "packets"/"capture_drops.ring",
    /// Frames for which the memory of a queue (AF_XDP) had no free piece, or that did not fit into it.
    CaptureDropsMemory => "packets"/"capture_drops.memory",
    /// Frames that came on a queue without a socket (AF_XDP).
    CaptureDropsNoSocket => "packets"/"capture_drops.no_socket",
    /// Frames that a network card had no room for (`rx_missed_errors`): no capture could see them.
    CaptureDropsNic => "packets"/"capture_drops.nic",
    /// Packets passed on to another worker who had no room for them.
    CaptureDropsSteering => "packets"/"capture_drops.steering",
    /// Packets of connections that were left out whole because there was more load than the capture could carry; they are not among
    /// those seen.
    FramesShed => "packets"/"shed.packets",
    /// Packets that came to another worker than the one whose connection they are of, and were passed on: out of tunnels, or made
    /// whole from fragments.
    FramesSteered => "packets"/"steered",
    /// Stretches of a stream that never came.
    Gaps => "packets"/"gaps",
    /// Bytes in them, which the peer had acknowledged: lost on the way to the capture.
    GapBytesMirror => "packets"/"gap_bytes_by.mirror",
    /// Bytes in them, which nobody acknowledged.
    GapBytesNetwork => "packets"/"gap_bytes_by.network",
    /// Bytes that the capture cut off (snap length).
    GapBytesCut => "packets"/"gap_bytes_by.cut",
    /// Connections whose beginning was seen.
    ConnectionsOpened => "connections"/"opened",
    /// Connections that were there before the capture.
    ConnectionsMidstream => "connections"/"midstream",
    /// Ended by FIN.
    ClosedFin => "connections"/"closed.fin",
    /// Ended by RST.
    ClosedRst => "connections"/"closed.rst",
    /// Ended by a new connection between the same addresses and ports.
    ClosedReused => "connections"/"closed.reused",
    /// Silent for the idle timeout.
    ClosedIdle => "connections"/"closed.idle",
    /// Still open when the capture ended.
    ClosedCaptureEnd => "connections"/"closed.capture_end",
    /// Given up for want of memory.
    ClosedEvicted => "connections"/"closed.evicted",
    /// Left out under overload.
    ClosedShed => "connections"/"closed.shed",
    /// Turned into replication links.
    ConnectionsReplication => "connections"/"replication",
    /// In a state from before the capture in which requests and replies can't be told to be pairs.
    ConnectionsUnpairable => "connections"/"unpairable",
    /// Of TLS: not looked into.
    OpaqueTls => "connections"/"opaque.tls",
    /// Of the bus of a cluster: not looked into.
    OpaqueClusterBus => "connections"/"opaque.cluster_bus",
    /// On which nodes replicate or gossip by commands of their server's own: not looked into.
    OpaqueReplication => "connections"/"opaque.replication",
    /// Of another protocol, or never recognised as Redis's within the bounds of `--port any`: not looked into.
    OpaqueOther => "connections"/"opaque.other",
    /// Bytes that such connections carried from then on.
    OpaqueBytes => "connections"/"opaque_bytes",
    /// Of which only the client's side was captured.
    OneSidedClient => "connections"/"one_sided.client",
    /// Of which only the server's side was captured.
    OneSidedServer => "connections"/"one_sided.server",
    /// Bytes of requests that the servers of such connections acknowledged: none of them was captured.
    OneSidedRequestBytes => "connections"/"one_sided_bytes.request",
    /// Bytes of replies that the clients of such connections acknowledged: none of them was captured.
    OneSidedReplyBytes => "connections"/"one_sided_bytes.reply",
    /// That ended before `--port any` could tell what they speak.
    ConnectionsUndecided => "connections"/"undecided",
    /// Bytes of connections that went by before it was told what they speak.
    UndecidedBytes => "connections"/"undecided_bytes",
    /// Requests.
    Requests => "requests"/"total",
    /// Paired, nothing hidden.
    RequestsExact => "requests"/"exact",
    /// Paired after a gap or a mid-stream start.
    RequestsResynced => "requests"/"resynced",
    /// No reply was due.
    RequestsNoReply => "requests"/"no_reply",
    /// No reply within the timeout.
    RequestsTimedOut => "requests"/"timed_out",
    /// The reply, or the proof of pairing, is missing from the capture.
    RequestsLost => "requests"/"lost",
    /// The connection ended first.
    RequestsUnanswered => "requests"/"unanswered",
    /// The other direction was never seen.
    RequestsOneSided => "requests"/"one_sided",
    /// Of the timed-out ones, those whose reply came later.
    RequestsLate => "requests"/"late",
    /// Pairing found again because bounds left one possibility.
    ResyncsCounted => "requests"/"resyncs.counted",
    /// Pairing found again because the kinds of replies left one possibility.
    ResyncsEliminated => "requests"/"resyncs.eliminated",
    /// Pairing assumed: one possibility explained many replies where all others failed early.
    ResyncsWindow => "requests"/"resyncs.window",
    /// Pairing assumed again after silence.
    ResyncsSilence => "requests"/"resyncs.silence",
    /// Pairing assumed: replies follow promptly, requests much later.
    ResyncsPrompt => "requests"/"resyncs.prompt",
    /// Pairing assumed: the client had always waited for its replies, and does so again.
    ResyncsHabit => "requests"/"resyncs.habit",
    /// Pairing assumed (`--resync trust`): requests and replies alternated from the first to the last.
    ResyncsAlternation => "requests"/"resyncs.alternation",
    /// Lost requests that `--resync trust` would have paired.
    RequestsAlternating => "requests"/"lost_alternating",
    /// Times a fact contradicted the pairing.
    Contradictions => "requests"/"contradictions",
    /// Bytes of requests skipped in search of a boundary.
    RequestBytesSkipped => "requests"/"bytes_skipped",
    /// Replies.
    Replies => "replies"/"total",
    /// Paired with a request.
    RepliesPaired => "replies"/"paired",
    /// Sent without a request.
    UnsolicitedNoRequest => "replies"/"unsolicited.no_request",
    /// RESP3 pushes, and pub/sub messages of RESP2.
    UnsolicitedPush => "replies"/"unsolicited.push",
    /// Lines of MONITOR.
    UnsolicitedMonitor => "replies"/"unsolicited.monitor",
    /// Answers to the commands of replication.
    UnsolicitedReplication => "replies"/"unsolicited.replication",
    /// Not paired because the pairing is unproved after a gap or a mid-stream start.
    DiscardedUnproved => "replies"/"discarded.unproved",
    /// Bytes of replies skipped in search of a boundary.
    ReplyBytesSkipped => "replies"/"bytes_skipped",
    /// Messages that break the protocol.
    Malformed => "replies"/"malformed",
    /// Uses of keys that the statistics of keys have.
    KeyOperations => "keys"/"operations",
    /// Uses of keys that they don't have: the name was not kept whole, or among too many of its request.
    KeysNotKept => "keys"/"not_kept",
    /// Keys that left the full table of keys: from then on not all is exact.
    KeysGivenUp => "keys"/"given_up.keys",
    /// Prefixes that left the full table of prefixes.
    PrefixesGivenUp => "keys"/"given_up.prefixes",
    /// Connections given up because the table was full.
    EvictedConnections => "memory"/"evicted.connections",
    /// Pending requests given up for want of memory.
    EvictedRequests => "memory"/"evicted.requests",
    /// Out-of-order data given up for want of memory.
    EvictedPages => "memory"/"evicted.reassembly",
    /// Fragmented packets given up for want of memory.
    EvictedFragments => "memory"/"evicted.fragments",
    /// Unfinished messages given up for want of memory.
    EvictedMessages => "memory"/"evicted.messages",
    /// Connections that were resyncing and were given up as unproved, or held replies, for want of memory.
    EvictedResyncs => "memory"/"evicted.resyncs",
    /// Connections of which `--port any` could not keep what it had seen, and which were left for want of memory.
    EvictedRecognitions => "memory"/"evicted.recognitions",
    /// Latency series, servers, clients or error codes beyond the bound, counted as `other`.
    EvictedSeries => "memory"/"evicted.series",
    /// Transactions handed to the sinks.
    RecordsEmitted => "records"/"emitted",
    /// Transactions that the filters kept back.
    RecordsFiltered => "records"/"filtered",
    /// Transactions of those emitted that a live capture dropped before the sinks, which were too slow for them.
    RecordsDropped => "records"/"dropped",
}

/// Number of counters.
pub const COUNTERS: usize = Counter::ALL.len();

/// One worker's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([u64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        Counters([0; COUNTERS])
    }
}

impl Counters {
    /// Counts one.
    #[inline(always)]
    pub fn count(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }

    /// Counts `n`.
    #[inline(always)]
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.0[counter as usize] += n;
    }

    /// Adds another block.
    pub fn merge(&mut self, other: &Counters) {
        for (sum, n) in self.0.iter_mut().zip(other.0) {
            *sum += n;
        }
    }

    /// Requests that are neither paired nor given up: what the law of SPEC section 4 leaves as `pending`.
    pub fn pending(&self) -> u64 {
        let decided = [
            Counter::RequestsExact,
            Counter::RequestsResynced,
            Counter::RequestsNoReply,
            Counter::RequestsTimedOut,
            Counter::RequestsLost,
            Counter::RequestsUnanswered,
            Counter::RequestsOneSided,
        ];
        self[Counter::Requests] - decided.iter().map(|&counter| self[counter]).sum::<u64>()
    }

    /// Replies that are neither paired nor given up: those that wait for the pairing of their connection to be found again.
    pub fn replies_pending(&self) -> u64 {
        let decided = self.sum("replies", "unsolicited.") + self.sum("replies", "discarded.");
        self[Counter::Replies].saturating_sub(self[Counter::RepliesPaired] + decided)
    }

    /// Sum of all counters of a section whose name begins so: `sum("packets", "skipped.")`.
    pub fn sum(&self, section: &str, prefix: &str) -> u64 {
        Counter::ALL
            .iter()
            .filter(|counter| counter.place().0 == section && counter.place().1.starts_with(prefix))
            .map(|&counter| self[counter])
            .sum()
    }
}

impl Index<Counter> for Counters {
    type Output = u64;

    #[inline]
    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

impl IndexMut<Counter> for Counters {
    #[inline]
    fn index_mut(&mut self, counter: Counter) -> &mut u64 {
        &mut self.0[counter as usize]
    }
}

/// A block that others may read while its worker goes on: each number is right for some recent moment.
#[derive(Debug)]
pub struct Published(CachePadded<[AtomicU64; COUNTERS]>);

impl Default for Published {
    fn default() -> Self {
        Published(CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Published {
    /// Makes `counters` visible.
    pub fn publish(&self, counters: &Counters) {
        for (shared, n) in self.0.iter().zip(counters.0) {
            shared.store(n, Ordering::Relaxed);
        }
    }

    /// What was published last.
    pub fn read(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}
