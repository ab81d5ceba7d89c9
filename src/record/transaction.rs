//! The transaction record: plain data on its way from a worker to the writer.
//!
//! A [`RecordBatch`] carries many of them through one ring slot, with the bytes of their texts behind one another in one
//! buffer, so that a record costs no allocation and batches are used again.

use std::ops::Deref;

use crate::limits::{RECORD_BATCH, RECORD_TEXT_BYTES};
use crate::redis::arguments::{BRIEF_LIST_BYTES, Brief, KeyPlace, Listed};
use crate::redis::command::CommandId;
use crate::redis::pairing::{Flags, Outcome};
use crate::redis::session::Database;
use crate::resp::parser::Kind;
use crate::units::{Address, Conversation, Endpoint, Timestamp};

/// The parts of a latency, in nanoseconds (SPEC section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// t2 − t1: the client sent.
    pub send: u64,
    /// b − t2: it waited behind earlier requests of its connection.
    pub queue: u64,
    /// t3′ − b: the server (and the network between it and the tap).
    pub server: u64,
    /// t4′ − t3′: the reply came in.
    pub transfer: u64,
}

impl Times {
    /// The four parts from the four wire times and `previous`, the time of the last byte of the reply or push before on this
    /// connection ([`Timestamp::NONE`]: there was none). `None` if one of the times fell into a gap.
    #[inline(always)]
    pub fn new(t1: Timestamp, t2: Timestamp, t3: Timestamp, t4: Timestamp, previous: Timestamp) -> Option<Times> {
        // One bit tells of all four that they are known, unless one is later than the year 2262.
        let each = [t1, t2, t3, t4].map(|t| t.0.wrapping_sub(1));
        if (each[0] | each[1] | each[2] | each[3]) >> (u64::BITS - 1) != 0 && each.contains(&u64::MAX) {
            return None;
        }
        let begin = t2.max(previous);
        let t3 = t3.max(begin);
        let t4 = t4.max(t3);
        let [queue, server, transfer] = [begin.0 - t2.0, t3.0 - begin.0, t4.0 - t3.0];
        Some(Times { send: t2.since(t1), queue, server, transfer })
    }

    /// Those of a request and a reply that came at once, the reply with the one before.
    #[inline(always)]
    pub fn queued(sent: Timestamp, answered: Timestamp) -> Times {
        // Where packets come another way round than they were sent, a reply may have been seen before its request.
        Times { send: 0, queue: answered.since(sent), server: 0, transfer: 0 }
    }

    /// Last byte of the request to last byte of the reply.
    #[inline]
    pub fn latency(&self) -> u64 {
        self.queue + self.server + self.transfer
    }
}

/// One request and what became of it. Plain data; its arguments lie in its batch's buffer from `text_at` on.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// The connection; the client asked.
    pub conversation: Conversation,
    /// Which request of its connection it is, from 0.
    pub index: u64,
    /// First byte of the request.
    pub t1: Timestamp,
    /// When the exchange ended: last byte of the reply (never before t2); for a request without a reply t2, or t1 if that is
    /// unknown.
    pub end: Timestamp,
    /// The parts of the latency; `None` where there is no reply or a time fell into a gap.
    pub times: Option<Times>,
    /// RESP bytes of the request.
    pub request_bytes: u64,
    /// RESP bytes of the reply, attributes included.
    pub reply_bytes: u64,
    /// Words of the request, the command counted.
    pub args: u32,
    /// Keys among them.
    pub keys: u32,
    /// Earlier requests that were still outstanding at t2.
    pub pipeline: u32,
    /// The database that it used.
    pub db: Database,
    /// The command.
    pub command: CommandId,
    /// More facts.
    pub flags: Flags,
    /// What became of it.
    pub outcome: Outcome,
    /// The reply's kind, if there is one.
    pub reply: Option<Kind>,
    /// Where its texts begin in the batch's buffer.
    pub text_at: u32,
    /// Bytes of the argument list (`redis::arguments`); 0 where nothing is shown.
    pub arguments_len: u16,
    /// Where in that list its key is, where that is known.
    pub key: KeyPlace,
    /// What it has beside them, and few others: its place in its batch; [`Transaction::NOTHING_RARE`]: it has nothing.
    pub rare: u16,
}

impl Transaction {
    /// Of which nothing is known but whose it is.
    #[cfg(test)]
    pub(crate) fn bare(connection: u64, client: Endpoint, server: Endpoint) -> Transaction {
        let conversation = Conversation { id: connection, client, server, vlans: [0; 2] };
        Transaction { conversation, ..Transaction::EMPTY }
    }

    /// There is nothing that only few have.
    pub const NOTHING_RARE: u16 = u16::MAX;

    /// Stands where none is yet.
    pub const EMPTY: Transaction = {
        let nobody = Endpoint { address: Address([0; 16]), port: 0 };
        Transaction {
            conversation: Conversation { client: nobody, server: nobody, vlans: [0; 2], id: 0 },
            index: 0,
            t1: Timestamp::NONE,
            end: Timestamp::NONE,
            times: None,
            request_bytes: 0,
            reply_bytes: 0,
            args: 1,
            keys: 0,
            pipeline: 0,
            command: CommandId::UNKNOWN,
            flags: Flags(0),
            outcome: Outcome::Lost,
            reply: None,
            text_at: 0,
            arguments_len: 0,
            key: KeyPlace { at: 0, length: 0 },
            rare: Transaction::NOTHING_RARE,
            db: Database::UNKNOWN,
        }
    };
}

/// A connection that has just been seen for the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Introduction {
    /// Identifies it, as in [`Transaction`].
    pub connection: u64,
    /// Who will ask.
    pub client: Endpoint,
    /// Who will answer.
    pub server: Endpoint,
}

/// Transactions on their way to the writer.
#[derive(Debug, Default)]
pub struct RecordBatch {
    /// Connections that are new, where somebody wants to know of them before they have records.
    pub introduced: Vec<Introduction>,
    /// In the order in which they were decided.
    pub transactions: Transactions,
    /// What only few of them have.
    rare: Vec<RareAt>,
    text: Text,
}

const _: () = assert!(RECORD_BATCH <= Transaction::NOTHING_RARE as usize, "each may have something rare");

/// Transactions that are written in place, where others have been before.
#[derive(Debug, Default)]
pub struct Transactions {
    places: Vec<Transaction>,
    /// Of these so many are taken.
    taken: usize,
}

impl Deref for Transactions {
    type Target = [Transaction];

    #[inline]
    fn deref(&self) -> &[Transaction] {
        &self.places[..self.taken]
    }
}

impl<'a> IntoIterator for &'a Transactions {
    type Item = &'a Transaction;
    type IntoIter = std::slice::Iter<'a, Transaction>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Transactions {
    /// A place for another one; `None`: all are taken, or were not made yet.
    #[inline(always)]
    fn place(&mut self) -> Option<&mut Transaction> {
        let place = self.places.get_mut(self.taken)?;
        self.taken += 1;
        Some(place)
    }
}

/// The bytes of texts, in room that has been there before.
#[derive(Debug, Default)]
struct Text {
    room: Vec<u8>,
    /// Of these so many are taken.
    taken: u32,
}

impl Text {
    #[inline(always)]
    fn is_full(&self) -> bool {
        self.taken as usize >= RECORD_TEXT_BYTES
    }

    /// Appends a list; answers how many bytes it has.
    #[inline(always)]
    fn append(&mut self, list: Listed<'_>) -> u16 {
        match list {
            Listed::Brief(list) => self.append_brief(list),
            Listed::Longer(list) => self.append_brief(list),
            Listed::Any(list) => self.append_any(list),
        }
    }

    #[inline(always)]
    fn append_brief<const BYTES: usize>(&mut self, list: &Brief<BYTES>) -> u16 {
        let at = self.taken as usize;
        let room = self.room.get_mut(at..at + BRIEF_LIST_BYTES).and_then(<[u8]>::first_chunk_mut);
        match room.and_then(|room| list.write(room)) {
            Some(length) => {
                self.taken += u32::from(length);
                u16::from(length)
            }
            None => self.append_any(&list.made()),
        }
    }

    /// Appends a text (at most 65,535 bytes; what is longer is cut); answers how many bytes it has.
    #[inline(never)]
    fn append_any(&mut self, text: &[u8]) -> u16 {
        let length = text.len().min(usize::from(u16::MAX));
        let at = self.taken as usize;
        let end = at + length;
        if end > self.room.len() {
            self.room.resize(end.max(2 * self.room.len()), 0);
        }
        self.room[at..end].copy_from_slice(&text[..length]);
        self.taken = end as u32;
        length as u16
    }
}

/// What few transactions have beside their arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rare<'a> {
    /// Of a queued command the index of the EXEC that executed it.
    pub parent: Option<u64>,
    /// The error's text (the code only, unless `--payload full`); empty if the reply is no error.
    pub error: &'a [u8],
    /// The reply's shown form (`--payload full`).
    pub response: &'a [u8],
    /// Where a redirect sends the client: `10.0.0.2:6379`.
    pub redirect: &'a [u8],
    /// What is known of the client, as a list (`redis::arguments`): its name as word, user as key, library as value.
    pub client: &'a [u8],
    /// The script (by its SHA-1) or function that it runs.
    pub script: &'a [u8],
}

/// The same, its texts in the batch's buffer, one behind the other.
#[derive(Clone, Copy, Debug)]
struct RareAt {
    parent: Option<u64>,
    text_at: u32,
    error_len: u16,
    response_len: u16,
    redirect_len: u16,
    client_len: u16,
    script_len: u16,
}

impl RecordBatch {
    /// Its bytes at the most, but for the last transaction's texts: a buffer that grew has room for twice as many.
    pub const BYTES_MAX: usize =
        RECORD_BATCH * (size_of::<Transaction>() + size_of::<RareAt>()) + 2 * RECORD_TEXT_BYTES;

    /// The argument list of one of the batch's transactions.
    #[inline]
    pub fn arguments(&self, transaction: &Transaction) -> &[u8] {
        &self.text.room[transaction.text_at as usize..][..usize::from(transaction.arguments_len)]
    }

    /// What lies in the batch's buffer behind so many bytes of a transaction's argument list, whosever it is.
    #[inline(always)]
    pub fn wide_text<const N: usize>(&self, transaction: &Transaction, at: usize) -> Option<&[u8; N]> {
        let from = transaction.text_at as usize + at;
        self.text.room.get(from..from + N)?.first_chunk()
    }

    /// What one of the batch's transactions has that few have.
    pub fn rare(&self, transaction: &Transaction) -> Rare<'_> {
        let Some(rare) = self.rare.get(usize::from(transaction.rare)) else { return Rare::default() };
        let (_, text) = self.text.room.split_at(rare.text_at as usize);
        let (error, text) = text.split_at(usize::from(rare.error_len));
        let (response, text) = text.split_at(usize::from(rare.response_len));
        let (redirect, text) = text.split_at(usize::from(rare.redirect_len));
        let (client, text) = text.split_at(usize::from(rare.client_len));
        let script = &text[..usize::from(rare.script_len)];
        Rare { parent: rare.parent, error, response, redirect, client, script }
    }

    /// Makes the places of transactions, if that has not been done.
    #[inline]
    pub fn make_places(&mut self) {
        if self.transactions.places.len() < RECORD_BATCH {
            self.transactions.places.resize(RECORD_BATCH, Transaction::EMPTY);
        }
    }

    /// The place of one more transaction, where another one has been before: all of it is to be filled in but its texts, and those
    /// are to be [listed](Texts::list) then. `None` if it is time to send the batch first, or if it has no places yet.
    #[inline(always)]
    pub fn place(&mut self) -> Option<(&mut Transaction, Texts<'_>)> {
        if self.text.is_full() {
            return None;
        }
        Some((self.transactions.place()?, Texts(&mut self.text)))
    }

    /// Appends a transaction with its arguments, however many there are.
    #[cfg(test)]
    pub(crate) fn push(&mut self, transaction: Transaction, arguments: &[u8]) {
        let text_at = self.text.taken;
        let arguments_len = self.text.append_any(arguments);
        let Transactions { places, taken } = &mut self.transactions;
        places.truncate(*taken);
        places.push(Transaction { text_at, arguments_len, rare: Transaction::NOTHING_RARE, ..transaction });
        *taken += 1;
    }

    /// Adds to the last transaction what few have (texts of at most 65,535 bytes each; longer ones are cut).
    pub fn add(&mut self, rare: Rare<'_>) {
        let at = self.transactions.taken - 1;
        self.transactions.places[at].rare = self.rare.len() as u16;
        self.rare.push(RareAt {
            parent: rare.parent,
            text_at: self.text.taken,
            error_len: self.text.append_any(rare.error),
            response_len: self.text.append_any(rare.response),
            redirect_len: self.text.append_any(rare.redirect),
            client_len: self.text.append_any(rare.client),
            script_len: self.text.append_any(rare.script),
        });
    }

    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        if !self.rare.is_empty() {
            let Transactions { places, taken } = &mut self.transactions;
            places[..*taken].iter_mut().for_each(|place| place.rare = Transaction::NOTHING_RARE);
        }
        self.introduced.clear();
        self.transactions.taken = 0;
        self.rare.clear();
        self.text.taken = 0;
    }
}

/// Where the arguments of a batch's newest transaction go.
pub struct Texts<'b>(&'b mut Text);

impl Texts<'_> {
    /// Appends them. The transaction has nothing else, until [`RecordBatch::add`]: no place has when it is taken.
    #[inline(always)]
    pub fn list(self, arguments: Listed<'_>, place: &mut Transaction) {
        debug_assert_eq!(place.rare, Transaction::NOTHING_RARE);
        place.text_at = self.0.taken;
        place.arguments_len = self.0.append(arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::arguments::{BRIEF_BYTES, BRIEF_HEAD_BYTES, BriefHead};
    use crate::redis::keys::KeyRole;

    fn push(batch: &mut RecordBatch, index: u64, arguments: Listed<'_>) -> bool {
        batch.make_places();
        let Some((place, texts)) = batch.place() else { return false };
        place.index = index;
        texts.list(arguments, place);
        true
    }

    /// A list that is made in its place.
    fn brief(index: u64) -> Brief<BRIEF_BYTES> {
        let head = BriefHead::new(b"GET", KeyRole::UNKNOWN).unwrap();
        let key = index.to_le_bytes();
        let mut last = [b'x'; BRIEF_HEAD_BYTES];
        last[BRIEF_HEAD_BYTES - key.len()..].copy_from_slice(&key);
        let mut brief = Brief::EMPTY;
        assert!(brief.fill(&head, &key, &last, index as usize % 3));
        brief
    }

    #[test]
    fn a_batch_takes_what_it_has_room_for_and_is_used_again_without_what_was_in_it() {
        let mut batch = RecordBatch::default();
        for run in 0..2 {
            for index in 0..RECORD_BATCH as u64 {
                let is_pushed = if index % 3 == run {
                    push(&mut batch, index, Listed::Brief(&brief(index)))
                } else {
                    push(&mut batch, index, Listed::Any(&index.to_le_bytes()))
                };
                assert!(is_pushed);
                if index % 2 == run {
                    batch.add(Rare { parent: Some(index), script: b"script", ..Rare::default() });
                }
            }
            assert!(!push(&mut batch, 0, Listed::Any(b"")) && batch.transactions.len() == RECORD_BATCH);
            for (index, transaction) in (0u64..).zip(&batch.transactions) {
                let list = brief(index).made();
                let arguments = if index % 3 == run { &*list } else { &index.to_le_bytes() };
                assert_eq!((transaction.index, batch.arguments(transaction)), (index, arguments));
                let rare = Rare { parent: Some(index), script: b"script", ..Rare::default() };
                assert_eq!(batch.rare(transaction), if index % 2 == run { rare } else { Rare::default() });
            }
            batch.clear();
            assert!(batch.transactions.is_empty());
        }
    }

    #[test]
    fn a_batch_has_no_room_after_many_bytes_of_text() {
        let mut batch = RecordBatch::default();
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut taken = 0;
        while push(&mut batch, taken as u64, Listed::Any(&text[..taken * 7 % 1000])) {
            taken += 1;
        }
        let lengths = (0..taken).map(|taken| taken * 7 % 1000);
        assert!(lengths.clone().sum::<usize>() >= RECORD_TEXT_BYTES && taken < RECORD_BATCH);
        assert_eq!(batch.transactions.len(), taken);
        for (transaction, length) in batch.transactions.iter().zip(lengths) {
            assert_eq!(batch.arguments(transaction), &text[..length]);
        }
    }

    #[test]
    fn what_came_at_once_with_the_one_before_waited_in_the_queue_for_all_of_its_time() {
        for (sent, answered) in [(1, 1), (1, 9), (9, 1), (1, u64::MAX), (u64::MAX, 1)] {
            let (sent, answered) = (Timestamp(sent), Timestamp(answered));
            let expected = Times::new(sent, sent, answered, answered, answered);
            assert_eq!(Some(Times::queued(sent, answered)), expected, "{sent:?} {answered:?}");
        }
    }

    #[test]
    fn times_are_known_if_all_four_are_whenever_they_were() {
        let late = u64::MAX - 10;
        for from in [1, 1 << 62, (1 << 63) - 4, 1 << 63, late] {
            let times = |zero: Option<usize>| {
                let mut at = [1, 2, 5, 9].map(|after| Timestamp(from + after));
                if let Some(zero) = zero {
                    at[zero] = Timestamp::NONE;
                }
                Times::new(at[0], at[1], at[2], at[3], Timestamp(from + 3))
            };
            assert_eq!(times(None), Some(Times { send: 1, queue: 1, server: 2, transfer: 4 }), "{from}");
            assert_eq!([0, 1, 2, 3].map(|n| times(Some(n))), [None; 4], "{from}");
        }
        let [early, late] = [10, 20].map(Timestamp);
        let none = Times { send: 0, queue: 0, server: 0, transfer: 0 };
        assert_eq!(Times::new(late, early, early, early, Timestamp::NONE), Some(none), "clocks that went backwards");
        let waited = Times { queue: 10, ..none };
        assert_eq!(Times::new(early, early, early, early, late), Some(waited), "the reply before came later");
    }
}
