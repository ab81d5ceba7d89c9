//! A connection that PSYNC or SYNC has turned into a replication link: the server sends, the replica acknowledges.
//!
//! What the server sends: bare newlines while it prepares the snapshot, the snapshot (`$N` and N bytes, or `$EOF:` with 40
//! random bytes that stand again at its end; neither has a CRLF behind it), then commands without end. A [`Link`] takes these
//! bytes cut anywhere, counts them and keeps none. Offsets are the server's: `+FULLRESYNC id offset` names the one at the
//! snapshot, and every byte of the command stream adds one.

use crate::units::Timestamp;

/// Length of the mark that ends a snapshot of unknown length.
const MARK_BYTES: usize = 40;
/// Longest header line: `$ENDOFF:` with an offset, an identifier and two numbers more.
const HEADER_BYTES_MAX: usize = 128;

/// How a full synchronisation went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyncResult {
    /// There was none: the link goes on from an offset that both knew.
    #[default]
    Partial,
    /// The snapshot is under way.
    Running,
    /// The snapshot came whole.
    Done,
    /// The link ended, or bytes are missing, before the snapshot was whole.
    Failed,
}

impl SyncResult {
    /// As summaries spell it.
    pub fn name(self) -> &'static str {
        match self {
            SyncResult::Partial => "partial",
            SyncResult::Running => "running",
            SyncResult::Done => "done",
            SyncResult::Failed => "failed",
        }
    }
}

/// What a link carries. Newer servers synchronise over two connections at once (Valkey calls it dual channel, Redis RDB
/// channel): the snapshot comes on one of its own, while the commands come on the main one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Channel {
    /// Snapshot and commands.
    #[default]
    Only,
    /// Commands: the snapshot comes on another connection.
    Main,
    /// The snapshot alone.
    Snapshot,
}

impl Channel {
    /// As summaries spell it; nothing of a link that is the only one.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Channel::Only => None,
            Channel::Main => Some("main"),
            Channel::Snapshot => Some("snapshot"),
        }
    }

    /// What a replica says of its connection by an option of REPLCONF.
    pub fn of_option(word: &[u8]) -> Option<Channel> {
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if is("rdb-channel") || is("main-ch-client-id") {
            Some(Channel::Snapshot)
        } else {
            is("set-rdb-client-id").then_some(Channel::Main)
        }
    }
}

/// Whether an answer to PSYNC only sends the replica to another connection for its snapshot; it will ask here again.
pub fn is_deferred(answer: &[u8]) -> bool {
    answer == b"DUALCHANNELSYNC"
}

/// What is known of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkFacts {
    /// What it carries.
    pub channel: Channel,
    /// When the snapshot began to come, or the link began.
    pub sync_started: Timestamp,
    /// When its last byte came.
    pub sync_ended: Timestamp,
    /// Its bytes.
    pub sync_bytes: u64,
    /// How it went.
    pub sync_result: SyncResult,
    /// The server's offset: what it has sent of its command stream. `None`: not known (SYNC, or a gap).
    pub primary_offset: Option<u64>,
    /// What the replica has acknowledged.
    pub replica_offset: Option<u64>,
    /// When it last did.
    pub acknowledged_at: Timestamp,
    /// Last byte from either side.
    pub last_at: Timestamp,
    /// Bytes of the command stream.
    pub stream_bytes: u64,
}

impl LinkFacts {
    /// Bytes that the replica has not acknowledged.
    pub fn lag_bytes(&self) -> Option<u64> {
        Some(self.primary_offset?.saturating_sub(self.replica_offset?))
    }

    /// Nanoseconds since the replica's last acknowledgement, as the server's own `lag` counts it.
    pub fn lag_ns(&self) -> Option<u64> {
        self.acknowledged_at.is_known().then(|| self.last_at.since(self.acknowledged_at))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Newlines, then the snapshot's header.
    Preamble,
    Header,
    /// So many bytes of the snapshot are left.
    Sized(u64),
    /// The snapshot ends with the mark.
    Marked,
    /// Newlines, then the stream.
    Awaiting,
    Stream,
    /// Not understood: bytes are not counted.
    Lost,
}

/// The server's side of a link.
#[derive(Clone, Debug)]
pub struct Link {
    state: State,
    header_length: usize,
    header: [u8; HEADER_BYTES_MAX],
    mark: [u8; MARK_BYTES],
    /// The last bytes of the snapshot, to be compared with the mark.
    tail: [u8; MARK_BYTES],
    tail_at: usize,
    /// What is known.
    pub facts: LinkFacts,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            state: State::Preamble,
            header_length: 0,
            header: [0; HEADER_BYTES_MAX],
            mark: [0; MARK_BYTES],
            tail: [0; MARK_BYTES],
            tail_at: 0,
            facts: LinkFacts::default(),
        }
    }
}

impl Link {
    /// A link begins at `at`. `answer`: what the server said to PSYNC, without the `+`; nothing to SYNC. `asked`: the offset
    /// from which the replica asked to go on. `channel`: what it said that the connection is for.
    pub fn begin(&mut self, answer: &[u8], asked: Option<u64>, channel: Channel, at: Timestamp) {
        *self = Link::default();
        self.facts.channel = channel;
        self.facts.sync_started = at;
        self.facts.last_at = at;
        let mut words = answer.split(|&byte| byte == b' ');
        match words.next() {
            Some(b"FULLRESYNC") => {
                self.facts.sync_result = SyncResult::Running;
                self.facts.primary_offset = words.nth(1).and_then(number);
            }
            Some(b"CONTINUE") => {
                self.state = State::Stream;
                // The replica asks for the byte behind its own offset.
                self.facts.primary_offset = asked.and_then(|asked| asked.checked_sub(1));
            }
            // The commands follow at once; from which offset on is said on the other connection.
            Some(b"RDBCHANNELSYNC") => {
                self.facts.channel = Channel::Main;
                self.state = State::Awaiting;
            }
            _ => self.facts.sync_result = SyncResult::Running,
        }
    }

    /// The server sent these bytes.
    pub fn feed(&mut self, mut bytes: &[u8], at: Timestamp) {
        self.facts.last_at = self.facts.last_at.max(at);
        while !bytes.is_empty() {
            let consumed = match self.state {
                State::Preamble => self.preamble(bytes, at),
                State::Header => self.header(bytes, at),
                State::Sized(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.facts.sync_bytes += here as u64;
                    self.state = State::Sized(left - here as u64);
                    if left == here as u64 {
                        self.snapshot_done(at);
                    }
                    here
                }
                State::Marked => self.marked(bytes, at),
                State::Awaiting => {
                    let newlines = bytes.iter().take_while(|&&byte| byte == b'\n').count();
                    if newlines < bytes.len() {
                        self.state = State::Stream;
                    }
                    newlines
                }
                State::Stream => {
                    self.streamed(bytes.len() as u64);
                    bytes.len()
                }
                State::Lost => bytes.len(),
            };
            bytes = &bytes[consumed..];
        }
    }

    /// Bytes from the server are missing.
    pub fn missing(&mut self, bytes: u64, at: Timestamp) {
        match self.state {
            State::Awaiting | State::Stream => {
                self.state = State::Stream;
                self.streamed(bytes);
            }
            State::Sized(left) if bytes < left => {
                self.facts.sync_bytes += bytes;
                self.state = State::Sized(left - bytes);
            }
            // Where the snapshot ends is known; what is missing behind it is of the stream.
            State::Sized(left) => {
                self.facts.sync_bytes += left;
                self.snapshot_done(at);
                self.streamed(bytes - left);
            }
            _ => self.lose(),
        }
    }

    /// The replica acknowledged an offset.
    pub fn acknowledged(&mut self, offset: u64, at: Timestamp) {
        self.facts.replica_offset = Some(offset);
        self.facts.acknowledged_at = at;
        self.facts.last_at = self.facts.last_at.max(at);
    }

    /// The link has ended.
    pub fn end(&mut self) {
        if self.facts.sync_result == SyncResult::Running {
            self.facts.sync_result = SyncResult::Failed;
        }
    }

    fn streamed(&mut self, bytes: u64) {
        self.facts.stream_bytes += bytes;
        if let Some(offset) = &mut self.facts.primary_offset {
            *offset += bytes;
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.facts.primary_offset = None;
        self.end();
    }

    fn preamble(&mut self, bytes: &[u8], at: Timestamp) -> usize {
        let newlines = bytes.iter().take_while(|&&byte| byte == b'\n').count();
        match bytes.get(newlines) {
            None => {}
            Some(b'$') => {
                self.facts.sync_started = at;
                self.header_length = 0;
                self.state = State::Header;
            }
            Some(_) => self.lose(),
        }
        newlines
    }

    fn header(&mut self, bytes: &[u8], at: Timestamp) -> usize {
        for (n, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' {
                self.header_done(at);
                return n + 1;
            }
            let Some(place) = self.header.get_mut(self.header_length) else {
                self.lose();
                return n;
            };
            *place = byte;
            self.header_length += 1;
        }
        bytes.len()
    }

    fn header_done(&mut self, at: Timestamp) {
        let line = self.header[..self.header_length].trim_ascii_end();
        let Some(line) = line.strip_prefix(b"$") else { return self.lose() };
        if let Some(line) = line.strip_prefix(b"ENDOFF:") {
            // Where the commands of the main connection will go on; the snapshot's own header follows.
            self.facts.primary_offset = line.split(|&byte| byte == b' ').next().and_then(number);
            self.facts.channel = Channel::Snapshot;
            self.state = State::Preamble;
            return;
        }
        if let Some(mark) = line.strip_prefix(b"EOF:") {
            let Ok(mark) = <[u8; MARK_BYTES]>::try_from(mark) else { return self.lose() };
            self.mark = mark;
            self.tail = [0; MARK_BYTES];
            self.tail_at = 0;
            self.state = State::Marked;
            return;
        }
        match number(line) {
            Some(0) => self.snapshot_done(at),
            Some(length) => self.state = State::Sized(length),
            None => self.lose(),
        }
    }

    /// Looks for the mark as a window over the last 40 bytes, across any cut.
    fn marked(&mut self, bytes: &[u8], at: Timestamp) -> usize {
        for (n, &byte) in bytes.iter().enumerate() {
            self.tail[self.tail_at] = byte;
            self.tail_at = (self.tail_at + 1) % MARK_BYTES;
            self.facts.sync_bytes += 1;
            if byte == self.mark[MARK_BYTES - 1] && self.is_mark() {
                self.facts.sync_bytes -= MARK_BYTES as u64;
                self.snapshot_done(at);
                return n + 1;
            }
        }
        bytes.len()
    }

    fn is_mark(&self) -> bool {
        let (newer, older) = self.tail.split_at(self.tail_at);
        self.mark.iter().eq(older.iter().chain(newer))
    }

    fn snapshot_done(&mut self, at: Timestamp) {
        self.state = State::Stream;
        self.facts.sync_result = SyncResult::Done;
        self.facts.sync_ended = at;
    }
}

/// A decimal number.
pub fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &[u8] = b"02ee005ddc15f7f5a4f6cb086b14fa6ed0c6592f";

    fn fed(answer: &[u8], bytes: &[u8], piece: usize) -> LinkFacts {
        let mut link = Link::default();
        link.begin(answer, Some(101), Channel::Only, Timestamp(1));
        for (n, piece) in bytes.chunks(piece).enumerate() {
            link.feed(piece, Timestamp(10 + n as u64));
        }
        link.facts
    }

    #[test]
    fn row_34_newlines_come_before_the_snapshot() {
        let facts = fed(b"FULLRESYNC 25974c1a 248", b"\n\n\n$4\r\nREDI*1\r\n", 1);
        assert_eq!((facts.sync_bytes, facts.sync_result, facts.primary_offset), (4, SyncResult::Done, Some(252)));
    }

    #[test]
    fn row_35_snapshots_have_no_crlf_behind_them() {
        let stream = b"*1\r\n$4\r\nping\r\n";
        let sized = [b"$9\r\nREDIS0010".as_slice(), stream].concat();
        // The payload holds the beginning of the mark, twice.
        let payload = [b"REDIS", &MARK[..39], &MARK[..20], b"x"].concat();
        let marked = [b"$EOF:".as_slice(), MARK, b"\r\n", &payload, MARK, stream].concat();
        for piece in [1, 7, 39, 40, 41, 1000] {
            let facts = fed(b"FULLRESYNC id 100", &sized, piece);
            assert_eq!((facts.sync_bytes, facts.primary_offset, facts.stream_bytes), (9, Some(114), 14), "{piece}");
            let facts = fed(b"FULLRESYNC id 100", &marked, piece);
            assert_eq!(facts.sync_bytes, payload.len() as u64, "{piece}");
            assert_eq!((facts.sync_result, facts.primary_offset), (SyncResult::Done, Some(114)), "{piece}");
        }
        // SYNC says nothing before it, and names no offset.
        let facts = fed(b"", &sized, 3);
        assert_eq!((facts.sync_result, facts.primary_offset, facts.stream_bytes), (SyncResult::Done, None, 14));
    }

    #[test]
    fn row_38_of_two_channels_one_has_the_snapshot_and_one_the_commands() {
        let id = "25974c1ac0c49903d52106cb5da422518def26bf";
        let snapshot =
            [format!("$ENDOFF:18446744073709551 {id} 15 123456789\r\n").as_bytes(), b"$9\r\nREDIS0010"].concat();
        for piece in [1, 7, 1000] {
            let facts = fed(b"", &snapshot, piece);
            assert_eq!((facts.channel, facts.sync_bytes, facts.sync_result), (Channel::Snapshot, 9, SyncResult::Done));
            assert_eq!((facts.primary_offset, facts.stream_bytes), (Some(18_446_744_073_709_551), 0));
            let facts = fed(b"RDBCHANNELSYNC 17", b"\n\n*1\r\n$4\r\nping\r\n", piece);
            assert_eq!((facts.channel, facts.sync_result), (Channel::Main, SyncResult::Partial));
            assert_eq!((facts.primary_offset, facts.stream_bytes), (None, 14), "its newlines are none of the stream");
        }
    }

    #[test]
    fn a_link_that_continues_counts_from_what_was_asked_for() {
        let facts = fed(b"CONTINUE 25974c1a", b"*1\r\n$4\r\nping\r\n", 5);
        assert_eq!((facts.sync_result, facts.primary_offset), (SyncResult::Partial, Some(114)));
    }

    #[test]
    fn lag_is_what_is_not_acknowledged_and_since_when() {
        let mut link = Link::default();
        link.begin(b"CONTINUE", Some(1), Channel::Only, Timestamp(5));
        link.feed(&[b'x'; 50], Timestamp(100));
        assert_eq!(link.facts.lag_bytes(), None);
        link.acknowledged(20, Timestamp(200));
        link.feed(&[b'x'; 5], Timestamp(260));
        assert_eq!((link.facts.lag_bytes(), link.facts.lag_ns()), (Some(35), Some(60)));
    }

    #[test]
    fn missing_bytes_inside_snapshot_or_stream_keep_the_offset() {
        let mut link = Link::default();
        link.begin(b"FULLRESYNC id 0", None, Channel::Only, Timestamp(1));
        link.feed(b"$100\r\nREDIS", Timestamp(2));
        link.missing(95, Timestamp(3));
        link.feed(b"abc", Timestamp(4));
        link.missing(7, Timestamp(5));
        assert_eq!((link.facts.sync_result, link.facts.primary_offset), (SyncResult::Done, Some(10)));
        link.begin(b"FULLRESYNC id 0", None, Channel::Only, Timestamp(1));
        link.feed(b"$10", Timestamp(2));
        link.missing(96, Timestamp(3));
        assert_eq!((link.facts.sync_result, link.facts.primary_offset), (SyncResult::Failed, None));
    }
}
