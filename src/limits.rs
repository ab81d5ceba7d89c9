//! Every bound in one place, and the memory budget summed term by term.
//!
//! A bound that is reached is counted (`memory.evicted`, `memory.limited` in the summary), never silent. The relations
//! between bounds are checked when this file compiles.

/// Frames that a worker takes at a time.
pub const BATCH_FRAMES: usize = 64;

/// Tunnels within one another that are looked into.
pub const TUNNELS_MAX: usize = 4;
/// MPLS labels of one stack that are looked behind.
pub const MPLS_LABELS_MAX: usize = 8;
/// How long the fragments of an IP packet are waited for, in nanoseconds, as Linux does; RFC 791 and RFC 8200 leave it between
/// 15 and 60 s.
pub const FRAGMENT_TIMEOUT_NS: u64 = 30_000_000_000;
/// Fragmented IP packets that are put together at the same time.
pub const FRAGMENTED_PACKETS_MAX: usize = 64;
/// Bytes that are kept of all of them. Small under test, so that the bound is reached.
pub const FRAGMENT_CACHE_BYTES_MAX: usize = if cfg!(test) { 256 * 1024 } else { 1 << 20 };
/// Headers before a fragment's data, those of tunnels included, in bytes.
pub const FRAGMENT_HEADERS_BYTES_MAX: usize = 1024;

/// Deepest nesting of a RESP value. Clients of Redis itself give up at 9; modules and scripts nest deeper.
pub const RESP_DEPTH_MAX: usize = 64;
/// Longest bulk string that is believed, in bytes. Servers stop at 512 MB by default and can be told otherwise.
pub const BULK_BYTES_MAX: u64 = 1 << 40;
/// Most elements that an aggregate may declare: what 31 bits hold, as in the servers.
pub const ELEMENTS_MAX: u64 = i32::MAX as u64;
/// Longest inline command, in bytes, as in the servers.
pub const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// Arguments of a request that are kept to be shown, in bytes, unless `--payload-bytes` asks for more.
pub const ARGUMENTS_BYTES_MAX: usize = 512;
/// Most that `--payload-bytes` may ask for.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Items of an EXEC's reply that are told apart; commands beyond are lost. No more than its transaction has commands are kept,
/// and those of [`EXEC_ITEMS_USUAL`].
pub const EXEC_ITEMS_MAX: usize = 65_536;
/// Replication links that one worker tells.
pub const LINKS_TOLD_MAX: usize = 1000;
/// Items of an EXEC's reply that there is room for from the beginning.
pub const EXEC_ITEMS_USUAL: usize = 32;
/// Arguments of a request that are noted because they change the session, in bytes.
pub const NOTES_BYTES_MAX: usize = 192;
/// Error reply text that is looked at, in bytes.
pub const ERROR_BYTES_MAX: usize = 256;

/// Segments of a connection that are kept until it is recognised (`--port any`).
pub const RECOGNITION_SEGMENTS_MAX: usize = 32;
/// Bytes of their payload.
pub const RECOGNITION_BYTES_MAX: usize = 16 * 1024;
/// Segments that look like nothing Redis sends until a connection is taken for another protocol's; a long one counts as
/// several.
pub const RECOGNITION_STRIKES_MAX: u16 = 1024;
/// Bytes of such a segment that count as another one.
pub const RECOGNITION_STRIKE_BYTES: u32 = 4096;
/// Exchanges that tell who is the server of a connection whose beginning was not seen.
pub const RECOGNITION_EXCHANGES: u8 = 2;

/// Requests that may wait for their replies on one connection.
pub const PENDING_PER_CONNECTION_MAX: u32 = 1 << 20;
/// Requests that an unproved connection keeps for a proof to come.
pub const UNPROVED_PENDING_MAX: u32 = 64;

/// Places of the queue over which candidates are followed up on one connection that is resyncing.
pub const CANDIDATES_MAX: u64 = 1024;
/// Requests from before the capture, or from before a contradiction, that may still be answered; where more were outstanding the
/// connection joins later.
pub const EARLIER_REQUESTS_MAX: u64 = 256;
/// Replies of a connection that is resyncing that are held for a proof to come.
pub const HELD_REPLIES_MAX: usize = 64;

/// Bytes of out-of-order data in one page.
pub const PAGE_BYTES: usize = 2048;
/// Out-of-order data that one direction of a connection may hold, in bytes.
pub const STREAM_BUFFER_BYTES_MAX: u64 = 4 << 20;
/// How far from the expected one a sequence number can plausibly lie: the largest TCP window, in bytes.
pub const WINDOW_BYTES_MAX: u64 = 1 << 30;
/// How long a closed connection is remembered, so that late copies of its segments don't count as a new one, in nanoseconds.
pub const CLOSED_LINGER_NS: u64 = 2_000_000_000;

/// How long after a packet another one like it is taken for a copy of it, in nanoseconds. Mirrors show copies within microseconds,
/// routers within some milliseconds; TCP sends again later, or with another timestamp and identification.
pub const COPY_TIME_NS: u64 = 10_000_000;
/// Sets of packets of late that a worker remembers.
pub const RECENT_SETS: usize = 2048;
/// Packets in a set. It runs over before the copy comes for one packet in 7,000 if that is 3,000 packets later: 3 ms where a worker
/// gets a million packets a second.
pub const RECENT_PER_SET: usize = 8;

/// Servers that are told apart by one worker.
pub const SERVERS_PER_WORKER_MAX: usize = 4096;
/// Client addresses that are told apart by one worker.
pub const CLIENTS_PER_WORKER_MAX: usize = 4096;
/// Latency series that are told apart by one worker; `--series` bounds how many are shown.
pub const SERIES_PER_WORKER_MAX: usize = 4096;
/// Error codes that are told apart.
pub const ERROR_CODES_MAX: usize = 256;
/// Bytes of the histograms of one worker that are always whole: the overall metrics, and what found no room elsewhere.
pub const OVERALL_BYTES: u64 = 2 << 20;
/// Boxes of statistics of one worker where intervals are told: one is filled while the writer empties the other.
pub const STATISTICS_BOXES: usize = 2;
/// Intervals that a worker may be ahead of another where they are told; the writer lets it wait.
pub const INTERVALS_OPEN_MAX: usize = 3;
/// Least bytes for sums of intervals where they are told.
pub const INTERVAL_SUMS_BYTES_MIN: u64 = 7 << 20;
/// Servers and clients that the summary lists.
pub const PARTIES_LISTED: usize = 100;

/// Keys of which one worker keeps statistics; a smaller budget makes them fewer. Few under test, so that the edge is reached.
pub const KEYS_PER_WORKER_MAX: usize = if cfg!(test) { 64 } else { 1 << 17 };
/// Prefixes of keys of which one worker keeps statistics.
pub const PREFIXES_PER_WORKER_MAX: usize = if cfg!(test) { 16 } else { 1 << 14 };
/// Longest name of a key, or prefix, that statistics show whole, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 126;
/// Uses of keys that there is room for while they wait to be counted.
pub const KEY_BATCH: usize = 32;
/// Keys and prefixes that the summary lists in each order.
pub const KEYS_LISTED: usize = 100;
/// The biggest requests, and as many replies, that the summary lists.
pub const BIGGEST_LISTED: usize = 20;

/// Longest secret that keys are hashed with (`--hash-keys`), in bytes.
pub const HASH_KEY_BYTES_MAX: u64 = 64 * 1024;
/// Longest name of a service (`--names`), in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Connections whose processes are remembered (`--processes`). About 6 MB.
pub const PROCESS_CONNECTIONS_MAX: usize = 1 << 16;
/// Questions about processes under way to the thread that answers them, each about the connections of a batch.
pub const PROCESS_ASKS_MAX: usize = 64;

/// Transactions in a batch to the writer.
pub const RECORD_BATCH: usize = 1024;
/// Bytes of their texts after which a batch goes, though it has fewer.
pub const RECORD_TEXT_BYTES: usize = 64 * 1024;
/// Batches under way from one worker to the writer.
pub const RECORD_BATCHES: usize = 8;
/// Of live traffic, whose records are dropped where there is no room: as many as the budget has room for, up to these.
pub const LIVE_RECORD_BATCHES_MAX: usize = 64;
/// Frames in a parcel from the steering thread to a worker.
pub const PARCEL_FRAMES: usize = 512;
/// Bytes of frames in a parcel, where they are not in a mapping.
pub const PARCEL_BYTES: usize = 256 * 1024;
/// Parcels under way to one worker.
pub const PARCELS: usize = 8;
/// How long a frame that is passed on is under way to the other worker, at the most, in nanoseconds: several times that for which
/// workers wait for frames at a time.
pub const MESH_LAG_NS: u64 = 20_000_000;
/// Bytes of frames that a worker of a live capture holds until no other can pass on an earlier one. Few under test, so that the
/// bound is reached.
pub const MESH_HELD_BYTES_MAX: usize = if cfg!(test) { 64 * 1024 } else { 16 << 20 };

/// Longest frame that a capture file may hold without having declared a longer snap length, in bytes.
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// Longest frame that a capture file may hold at all, in bytes, as in libpcap's and Wireshark's own readers.
pub const DECLARED_FRAME_BYTES_MAX: u32 = 16 << 20;
/// Longest block of a pcapng file, in bytes: the longest frame and its options.
pub const BLOCK_BYTES_MAX: u32 = DECLARED_FRAME_BYTES_MAX + (1 << 20);
/// Interfaces that one section of a pcapng file may describe.
pub const INTERFACES_MAX: usize = 1 << 16;
/// Buffer between a streamed capture and its reader, in bytes; it grows only to hold one longer frame. Small under test,
/// so that its edges are reached.
pub const FILE_BUFFER_BYTES: usize = if cfg!(test) { 64 } else { 256 * 1024 };

/// By how many frames an injected fault (`--fault`) delays one at most, which bounds how many are held.
pub const FAULT_REORDER_FRAMES_MAX: u32 = 1024;

/// Interfaces that one capture may have: a passive tap has two.
pub const TAPS_MAX: usize = 16;
/// Bytes of a block of the ring between the kernel and a live capture: frames are handed over a block at a time.
pub const RING_BLOCK_BYTES: usize = 1 << 19;
/// Blocks of such a ring; fewer where there are many rings.
pub const RING_BLOCKS_MAX: usize = 128;
/// Fewest.
pub const RING_BLOCKS_MIN: usize = 8;
/// Bytes of all rings together, unless the fewest blocks of each are more. They are beside `--memory`.
pub const RINGS_BYTES_MAX: usize = 256 << 20;
/// After how long the kernel hands over a block that is not full, in milliseconds.
pub const BLOCK_TIMEOUT_MS: u32 = 20;
/// How much later than its time a frame has been handed over, at the most, in nanoseconds: the block's timeout, and time for a
/// busy kernel to notice it.
pub const LAG_NS: u64 = 100_000_000;

/// Bytes of a piece of the memory (UMEM) into which AF_XDP writes frames; longer frames take several. 256 of them stay free for
/// the driver, before the frame.
pub const UMEM_FRAME_BYTES: usize = 4096;
/// Frames of the ring in which a queue hands them over: a power of two, as the next.
pub const RX_RING_FRAMES_MAX: usize = 16_384;
/// Fewest.
pub const RX_RING_FRAMES_MIN: usize = 512;
/// Fewest where many workers share the queue.
pub const RX_RING_FRAMES_SHARED_MIN: usize = 64;
/// Bytes of the memory of all queues together, unless the fewest frames of each are more. They are beside `--memory`.
pub const UMEMS_BYTES_MAX: usize = 256 << 20;
/// Queues of an interface that can be captured by AF_XDP.
pub const XDP_QUEUES_MAX: usize = 256;
/// Frames that are taken out of a queue's ring at once.
pub const XDP_BATCH_FRAMES: usize = 64;
/// Longest frame that is put together of several pieces of memory, in bytes: what segmentation offload makes.
pub const JOINED_FRAME_BYTES_MAX: usize = 256 * 1024;
/// How much later than its time a frame of AF_XDP is in its queue's ring, at the most, in nanoseconds: the kernel hands frames
/// over when it has looked at some dozens of them.
pub const XDP_LAG_NS: u64 = 10_000_000;

/// Parts of all connections, by a hash, that are left out one after the other where there is more load than can be carried; the last
/// one never is.
pub const SHED_PARTS: usize = 256;

/// Most workers.
pub const WORKERS_MAX: usize = 256;
/// Smallest `--memory` per worker, in bytes.
pub const MEMORY_PER_WORKER_MIN: u64 = 16 << 20;

const _: () = assert!(ARGUMENTS_BYTES_MAX <= PAYLOAD_BYTES_MAX && PAYLOAD_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(UNPROVED_PENDING_MAX <= PENDING_PER_CONNECTION_MAX);
const _: () = assert!(STREAM_BUFFER_BYTES_MAX < WINDOW_BYTES_MAX && WINDOW_BYTES_MAX <= 1 << 31);
const _: () = assert!(PARCEL_BYTES >= 64 * 1024 + 256, "a parcel holds the largest frame");
const _: () = assert!(PARCEL_BYTES >= FRAGMENT_HEADERS_BYTES_MAX + 64 * 1024, "a parcel holds the largest packet");
const _: () = assert!(FRAGMENT_CACHE_BYTES_MAX >= 3 * 64 * 1024, "a packet fits, though its buffer doubled");
const _: () = assert!(FRAGMENT_CACHE_BYTES_MAX as u64 <= MEMORY_PER_WORKER_MIN / 16);
const _: () = assert!(FRAME_BYTES_MAX <= DECLARED_FRAME_BYTES_MAX && DECLARED_FRAME_BYTES_MAX < BLOCK_BYTES_MAX);
const _: () = assert!(LAG_NS > 2 * 1_000_000 * BLOCK_TIMEOUT_MS as u64);
const _: () = assert!(RING_BLOCK_BYTES >= 4 * 64 * 1024 && RINGS_BYTES_MAX / RING_BLOCK_BYTES >= RING_BLOCKS_MAX);
const _: () = assert!(RX_RING_FRAMES_MAX.is_power_of_two() && RX_RING_FRAMES_MIN.is_power_of_two());
const _: () = assert!(2 * RX_RING_FRAMES_MAX * UMEM_FRAME_BYTES <= UMEMS_BYTES_MAX);
const _: () = assert!(XDP_BATCH_FRAMES * UMEM_FRAME_BYTES > 64 * 1024, "the pieces of a frame are taken at once");
const _: () = assert!(PARCEL_FRAMES.is_multiple_of(BATCH_FRAMES));

/// How one worker's share of `--memory` is divided, in bytes. The terms sum to at most the share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// The share.
    pub total: u64,
    /// Connections, their place in the table included, and what few of them have beside it.
    pub connections: u64,
    /// Requests that wait for replies.
    pub pending: u64,
    /// Out-of-order data.
    pub reassembly: u64,
    /// Messages that are unfinished at the end of a segment.
    pub messages: u64,
    /// What connections need to find their pairing again.
    pub resync: u64,
    /// What clients have said about themselves.
    pub labels: u64,
    /// Replication links.
    pub links: u64,
    /// What is kept of connections until they are recognised.
    pub recognition: u64,
    /// Statistics: histograms, servers, clients. [`OVERALL_BYTES`] are among them.
    pub statistics: u64,
    /// Statistics of keys.
    pub keys: u64,
    /// Records and frames under way in rings.
    pub rings: u64,
    /// Fragments of IP packets.
    pub fragments: u64,
    /// Packets of late.
    pub recent: u64,
}

impl Budget {
    /// Divides `memory` bytes among `workers`.
    pub fn new(memory: u64, workers: usize) -> Budget {
        let total = memory / workers.max(1) as u64;
        // Twice: while a buffer grows there are two of it, and a whole packet is copied out.
        let fragments = 2 * FRAGMENT_CACHE_BYTES_MAX as u64;
        let recent = (RECENT_SETS * RECENT_PER_SET * 8) as u64;
        let percent = |n: u64| total.saturating_sub(fragments + recent + OVERALL_BYTES) / 100 * n;
        let budget = Budget {
            total,
            connections: percent(36),
            pending: percent(17),
            reassembly: percent(10),
            messages: percent(5),
            resync: percent(5),
            labels: percent(4),
            links: percent(1),
            recognition: percent(2),
            statistics: OVERALL_BYTES + percent(11),
            keys: percent(4),
            rings: percent(5),
            fragments,
            recent,
        };
        assert!(budget.sum() <= total, "the parts are within the whole");
        budget
    }

    fn sum(&self) -> u64 {
        self.connections
            + self.pending
            + self.reassembly
            + self.messages
            + self.resync
            + self.labels
            + self.links
            + self.recognition
            + self.statistics
            + self.keys
            + self.rings
            + self.fragments
            + self.recent
    }
}

/// Of `memory` bytes those for sums of intervals, where they are told; the rest is divided among the workers.
pub fn interval_sums_bytes(memory: u64) -> u64 {
    (memory / 8).max(INTERVAL_SUMS_BYTES_MIN)
}

/// Of `memory` bytes those for texts of connections, where there are sinks: of 60,000 of a gigabyte.
pub fn record_texts_bytes(memory: u64) -> u64 {
    memory / 32
}

/// How many items of `bytes` each fit into `budget` bytes.
pub fn items(budget: u64, bytes: usize) -> u32 {
    u32::try_from(budget / bytes as u64).unwrap_or(u32::MAX - 1).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_budget_are_within_the_whole() {
        for workers in [1, 3, 256] {
            for memory in [MEMORY_PER_WORKER_MIN * workers as u64, 1 << 30, 1 << 40] {
                let budget = Budget::new(memory, workers);
                assert!(budget.sum() * workers as u64 <= memory);
                assert!(budget.sum() > budget.total * 99 / 100);
            }
        }
    }
}
