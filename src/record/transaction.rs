//! The transaction record: plain data on its way from a worker to the writer.
//!
//! A [`RecordBatch`] carries many of them through one ring slot, with the bytes of their texts behind one another in one
//! buffer, so that a record costs no allocation and batches are used again.

use std::ops::Deref;

use crate::limits::{RECORD_BATCH, RECORD_TEXT_BYTES};
use crate::redis::command::CommandId;
use crate::redis::pairing::{Flags, Outcome};
use crate::resp::parser::Kind;
use crate::units::{Address, Endpoint, Timestamp};

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

    /// Last byte of the request to last byte of the reply.
    #[inline]
    pub fn latency(&self) -> u64 {
        self.queue + self.server + self.transfer
    }
}

/// One request and what became of it. Plain data; its texts lie in its batch's buffer from `text_at` on.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// Identifies the connection: derived from its tuple and the time of its first packet.
    pub connection: u64,
    /// Which request of its connection it is, from 0.
    pub index: u64,
    /// Who asked.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
    /// The VLAN that its connection's first packet was in, and that inside it (two tags); 0: none.
    pub vlans: [u16; 2],
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
    /// Cluster slot of the first key, where all of its bytes were seen and it may be shown.
    pub slot: Option<u16>,
    /// The database that it used, where that is known.
    pub db: Option<u32>,
    /// Of a queued command the index of the EXEC that executed it.
    pub parent: Option<u64>,
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
    /// Bytes of the error reply's text (the code only, unless `--payload full`); 0 if the reply is no error.
    pub error_len: u16,
    /// Bytes of the reply's shown form (`--payload full`).
    pub response_len: u16,
    /// Bytes of a redirect's target.
    pub redirect_len: u16,
    /// Bytes of what is known of the client.
    pub client_len: u16,
    /// Bytes of the name of the script or function that it runs.
    pub script_len: u16,
}

impl Transaction {
    /// Of which nothing is known but whose it is.
    #[cfg(test)]
    pub(crate) fn bare(connection: u64, client: Endpoint, server: Endpoint) -> Transaction {
        Transaction { connection, client, server, ..Transaction::EMPTY }
    }

    /// Stands where none is yet.
    pub const EMPTY: Transaction = {
        let nobody = Endpoint { address: Address([0; 16]), port: 0 };
        Transaction {
            connection: 0,
            index: 0,
            client: nobody,
            server: nobody,
            vlans: [0; 2],
            t1: Timestamp::NONE,
            end: Timestamp::NONE,
            times: None,
            request_bytes: 0,
            reply_bytes: 0,
            args: 1,
            keys: 0,
            pipeline: 0,
            slot: None,
            command: CommandId::UNKNOWN,
            flags: Flags(0),
            outcome: Outcome::Lost,
            reply: None,
            text_at: 0,
            arguments_len: 0,
            error_len: 0,
            response_len: 0,
            redirect_len: 0,
            client_len: 0,
            script_len: 0,
            db: None,
            parent: None,
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
    text: Text,
}

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
    /// A place for another one.
    #[inline(always)]
    fn place(&mut self) -> &mut Transaction {
        let at = self.taken;
        if at >= self.places.len() {
            self.places.push(Transaction::EMPTY);
        }
        self.taken = at + 1;
        &mut self.places[at]
    }
}

/// The bytes of texts, in room that has been there before.
#[derive(Debug, Default)]
struct Text {
    room: Vec<u8>,
    /// Of these so many are taken.
    taken: usize,
}

impl Text {
    /// Appends a text (at most 65,535 bytes; what is longer is cut); answers how many bytes it has.
    #[inline(always)]
    fn append(&mut self, text: &[u8]) -> u16 {
        let length = text.len();
        // Two pieces that overlap: most lists of arguments are short.
        if length <= 32
            && let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>())
            && let Some(place) = self.room.get_mut(self.taken..).and_then(|room| room.first_chunk_mut::<32>())
        {
            place[..16].copy_from_slice(first);
            place[length - 16..length].copy_from_slice(last);
            self.taken += length;
            return length as u16;
        }
        self.append_any(text)
    }

    #[inline(never)]
    fn append_any(&mut self, text: &[u8]) -> u16 {
        let length = text.len().min(usize::from(u16::MAX));
        let end = self.taken + length;
        if end > self.room.len() {
            self.room.resize(end.max(2 * self.room.len()), 0);
        }
        self.room[self.taken..end].copy_from_slice(&text[..length]);
        self.taken = end;
        length as u16
    }
}

/// A transaction's texts beside its arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts<'a> {
    /// The error's code or text.
    pub error: &'a [u8],
    /// The reply's shown form.
    pub response: &'a [u8],
    /// Where a redirect sends the client: `10.0.0.2:6379`.
    pub redirect: &'a [u8],
    /// What is known of the client, as a list (`redis::arguments`): its name as word, user as key, library as value.
    pub client: &'a [u8],
    /// The script (by its SHA-1) or function that it runs.
    pub script: &'a [u8],
}

impl RecordBatch {
    /// Its bytes at the most, but for the last transaction's texts: a buffer that grew has room for twice as many.
    pub const BYTES_MAX: usize = RECORD_BATCH * size_of::<Transaction>() + 2 * RECORD_TEXT_BYTES;

    /// The argument list of one of the batch's transactions.
    #[inline]
    pub fn arguments(&self, transaction: &Transaction) -> &[u8] {
        &self.text.room[transaction.text_at as usize..][..usize::from(transaction.arguments_len)]
    }

    /// The texts of one of the batch's transactions.
    pub fn texts(&self, transaction: &Transaction) -> Texts<'_> {
        let (_, text) = self.text.room.split_at(transaction.text_at as usize);
        let (_, text) = text.split_at(usize::from(transaction.arguments_len));
        let (error, text) = text.split_at(usize::from(transaction.error_len));
        let (response, text) = text.split_at(usize::from(transaction.response_len));
        let (redirect, text) = text.split_at(usize::from(transaction.redirect_len));
        let (client, text) = text.split_at(usize::from(transaction.client_len));
        let script = &text[..usize::from(transaction.script_len)];
        Texts { error, response, redirect, client, script }
    }

    /// Appends a transaction with its arguments, in place; its other texts are none, until [`RecordBatch::add_texts`].
    #[inline(always)]
    pub fn push(&mut self, transaction: Transaction, arguments: &[u8]) {
        let text_at = self.text.taken as u32;
        let arguments_len = self.text.append(arguments);
        *self.transactions.place() = Transaction {
            text_at,
            arguments_len,
            error_len: 0,
            response_len: 0,
            redirect_len: 0,
            client_len: 0,
            script_len: 0,
            ..transaction
        };
    }

    /// Adds the other texts of the last transaction (each at most 65,535 bytes; longer ones are cut).
    pub fn add_texts(&mut self, texts: Texts<'_>) {
        let at = self.transactions.taken - 1;
        let transaction = &mut self.transactions.places[at];
        transaction.error_len = self.text.append_any(texts.error);
        transaction.response_len = self.text.append_any(texts.response);
        transaction.redirect_len = self.text.append_any(texts.redirect);
        transaction.client_len = self.text.append_any(texts.client);
        transaction.script_len = self.text.append_any(texts.script);
    }

    /// Whether it is time to send it.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.transactions.taken >= RECORD_BATCH || self.text.taken >= RECORD_TEXT_BYTES
    }

    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.introduced.clear();
        self.transactions.taken = 0;
        self.text.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
