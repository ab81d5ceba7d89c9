//! Requests and their replies. Every key (or argument) has a token that no other request has, and every reply whose kind has
//! room for one has its request's token, too; values may hold what looks like RESP, with a token that is nobody's.

use crate::random::Random;
use crate::scenario::{Mix, Traffic};

/// The kind of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `+OK`
    Simple,
    /// `-ERR`
    Error,
    /// `:1`
    Integer,
    /// `$3`
    Bulk,
    /// `$-1`, `*-1`, `_`
    Null,
    /// `*2`
    Array,
    /// `%2`
    Map,
    /// `~2`
    Set,
    /// `,1.5`
    Double,
    /// `>3`
    Push,
}

/// How a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// By one reply of this kind.
    Reply(Kind),
    /// By `+QUEUED`; the reply of this kind is an item of the next EXEC's.
    Queued(Kind),
    /// Not at all.
    Silence,
}

/// A request and its reply, made up; their bytes are elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) command: &'static str,
    pub(crate) answer: Answer,
    /// It is an EXEC or DISCARD: the queued ones before it have their replies in its own.
    pub(crate) executes: bool,
    /// Bytes of its replies before the last one, if there are several.
    pub(crate) before_last: u64,
    /// Messages of subscriptions may come before its reply.
    pub(crate) listens: bool,
}

impl Made {
    fn new(command: &'static str, answer: Answer) -> Made {
        Made { command, answer, executes: false, before_last: 0, listens: false }
    }
}

/// What a connection's earlier commands mean for the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mode {
    begun: bool,
    silenced: bool,
    skips: bool,
    /// Commands that MULTI has queued, and the items that EXEC will have.
    queued: Option<(u32, Vec<u8>)>,
    /// Channels that are subscribed to.
    channels: u32,
}

const PIECES: [&[u8]; 16] = [
    b"+OK\r\n",
    b":1\r\n",
    b"$3\r\nfoo\r\n",
    b"$10\r\ntk99999999\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$10\r\ntk99999999\r\n",
    b"*2\r\n$3\r\nGET\r\n$12\r\nk:tk99999999\r\n",
    b"-ERR tk99999999\r\n",
    b"_\r\n",
    b"\r\n",
    b"*2\r\n$10\r\ntk99999999\r\n:1\r\n",
    b"$-1\r\n",
    b"\xff\x00\r",
    b"*3\r\n",
    b"some words",
    b"+OK",
];

/// Makes up a connection's next request: its bytes are appended to `request`, those of its reply to `reply`.
pub(crate) fn make(
    traffic: &Traffic,
    mode: &mut Mode,
    number: u32,
    random: &mut Random,
    request: &mut Vec<u8>,
    reply: &mut Vec<u8>,
) -> Made {
    let mut made = Maker { traffic, random, request, reply };
    if traffic.resp3 && !mode.begun {
        mode.begun = true;
        made.words(&[b"HELLO", b"3"]);
        made.reply.extend_from_slice(b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n");
        return Made::new("HELLO", Answer::Reply(Kind::Map));
    }
    let token = format!("tk{number:08}");
    match traffic.mix {
        Mix::Gets => made.get(&token, true),
        Mix::Mixed => made.mixed(&token),
        Mix::Modes => made.modal(&token, mode),
    }
}

/// What the server pushes between replies to a client that tracks keys: that some, or all, have changed. The long ones are cut
/// anywhere by packets, so that what is in them may be all that is seen.
pub(crate) fn invalidation(random: &mut Random, stream: &mut Vec<u8>) {
    stream.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n");
    if random.chance(0.1) {
        return stream.extend_from_slice(b"_\r\n");
    }
    let keys = if random.chance(0.2) { random.within(2, 200) } else { 1 };
    stream.push(b'*');
    decimal(keys as usize, stream);
    for _ in 0..keys {
        stream.extend_from_slice(b"$12\r\nk:tk99999999\r\n");
    }
}

/// A message to a subscriber, behind `*` or `>`.
pub(crate) const MESSAGE: &[u8] = b"3\r\n$7\r\nmessage\r\n$1\r\na\r\n$10\r\ntk99999999\r\n";

struct Maker<'a> {
    traffic: &'a Traffic,
    random: &'a mut Random,
    request: &'a mut Vec<u8>,
    reply: &'a mut Vec<u8>,
}

impl Maker<'_> {
    fn words(&mut self, words: &[&[u8]]) {
        self.request.push(b'*');
        decimal(words.len(), self.request);
        for word in words {
            bulk(word, self.request);
        }
    }

    /// A command on a key; a value behind it if there is one.
    fn keyed(&mut self, command: &str, token: &str, rest: &[&[u8]]) {
        let mut key = [0; 12];
        key[..2].copy_from_slice(b"k:");
        key[2..].copy_from_slice(&token.as_bytes()[..10]);
        let mut words = [&b""[..]; 5];
        words[0] = command.as_bytes();
        words[1] = &key;
        words[2..2 + rest.len()].copy_from_slice(rest);
        self.words(&words[..2 + rest.len()]);
    }

    fn get(&mut self, token: &str, only: bool) -> Made {
        self.keyed("GET", token, &[]);
        let kind = match self.random.within(0, 20) {
            0..=3 => self.null(),
            4 if !only => self.wrong_type(token),
            _ => self.bulk(token),
        };
        Made::new("GET", Answer::Reply(kind))
    }

    fn mixed(&mut self, token: &str) -> Made {
        let fails = self.random.chance(0.03);
        let (command, kind) = match self.random.within(0, 32) {
            0..=9 => return self.get(token, false),
            10..=14 => {
                let value = self.value(b"");
                self.keyed("SET", token, &[&value]);
                ("SET", if fails { self.error(&format!("OOM {token} is too much")) } else { self.simple("OK") })
            }
            15..=17 => {
                self.keyed("INCR", token, &[]);
                ("INCR", if fails { self.wrong_type(token) } else { self.integer(token) })
            }
            18 | 19 => {
                self.keyed("LRANGE", token, &[b"0", b"-1"]);
                ("LRANGE", if fails { self.wrong_type(token) } else { self.aggregate(Kind::Array, token) })
            }
            20 | 21 => {
                self.keyed("HGET", token, &[b"field"]);
                let is_null = self.random.chance(0.3);
                ("HGET", if is_null { self.null() } else { self.bulk(token) })
            }
            22 => {
                let kind = if self.traffic.resp3 { Kind::Map } else { Kind::Array };
                self.keyed("HGETALL", token, &[]);
                ("HGETALL", if fails { self.wrong_type(token) } else { self.aggregate(kind, token) })
            }
            23 => {
                let kind = if self.traffic.resp3 { Kind::Set } else { Kind::Array };
                self.keyed("SMEMBERS", token, &[]);
                ("SMEMBERS", if fails { self.wrong_type(token) } else { self.aggregate(kind, token) })
            }
            24 => {
                self.keyed("EXISTS", token, &[]);
                ("EXISTS", self.integer(token))
            }
            25 | 26 => {
                let value = self.value(b"");
                self.keyed("LPUSH", token, &[&value]);
                ("LPUSH", if fails { self.wrong_type(token) } else { self.integer(token) })
            }
            27 => {
                self.keyed("TYPE", token, &[]);
                ("TYPE", self.simple("string"))
            }
            28 => {
                self.words(&[b"ECHO", token.as_bytes()]);
                ("ECHO", self.bulk_of(token.as_bytes()))
            }
            29 => {
                self.words(&[b"PING"]);
                ("PING", self.simple("PONG"))
            }
            30 => {
                self.words(&[b"PING", token.as_bytes()]);
                ("PING", self.bulk_of(token.as_bytes()))
            }
            _ => {
                self.keyed("ZSCORE", token, &[b"member"]);
                ("ZSCORE", self.score(token))
            }
        };
        Made::new(command, Answer::Reply(kind))
    }

    /// As `mixed`, with commands that change how replies are counted.
    fn modal(&mut self, token: &str, mode: &mut Mode) -> Made {
        let reply_from = self.reply.len();
        if mode.queued.is_none() && !mode.silenced && !mode.skips && (mode.channels > 0 || self.random.chance(0.01)) {
            let listens = mode.channels > 0;
            if let Some(made) = self.subscriber(token, mode) {
                return Made { listens, ..made };
            }
        }
        let choice = self.random.within(0, 100);
        let made = match (choice, &mut mode.queued) {
            (0..=1, None) if !mode.silenced => {
                self.words(&[b"CLIENT", b"REPLY", b"SKIP"]);
                mode.skips = true;
                return Made::new("CLIENT REPLY", Answer::Silence);
            }
            (2, None) if !mode.silenced => {
                self.words(&[b"client", b"reply", b"off"]);
                mode.silenced = true;
                mode.skips = false;
                return Made::new("CLIENT REPLY", Answer::Silence);
            }
            (0..=40, None) if mode.silenced => {
                self.words(&[b"CLIENT", b"REPLY", b"ON"]);
                (mode.silenced, mode.skips) = (false, false);
                return Made::new("CLIENT REPLY", Answer::Reply(self.simple("OK")));
            }
            (3..=4, None) if !mode.silenced && !mode.skips => {
                self.words(&[b"MULTI"]);
                mode.queued = Some((0, Vec::new()));
                return Made::new("MULTI", Answer::Reply(self.simple("OK")));
            }
            (0..=24, Some((queued, items))) => {
                let executes = choice < 20;
                let (count, items) = (*queued, std::mem::take(items));
                mode.queued = None;
                if !executes {
                    self.words(&[b"DISCARD"]);
                    return Made { executes: true, ..Made::new("DISCARD", Answer::Reply(self.simple("OK"))) };
                }
                self.words(&[b"EXEC"]);
                self.reply.push(b'*');
                decimal(count as usize, self.reply);
                self.reply.extend_from_slice(&items);
                return Made { executes: true, ..Made::new("EXEC", Answer::Reply(Kind::Array)) };
            }
            (5, None) => {
                self.words(&[b"SELECT", b"3"]);
                Made::new("SELECT", Answer::Reply(self.simple("OK")))
            }
            _ => self.mixed(token),
        };
        if let (Some((queued, items)), Answer::Reply(kind)) = (&mut mode.queued, made.answer) {
            *queued += 1;
            items.extend_from_slice(&self.reply[reply_from..]);
            self.reply.truncate(reply_from);
            self.reply.extend_from_slice(b"+QUEUED\r\n");
            return Made { answer: Answer::Queued(kind), ..made };
        }
        if mode.silenced || std::mem::take(&mut mode.skips) {
            self.reply.truncate(reply_from);
            return Made { answer: Answer::Silence, ..made };
        }
        made
    }

    /// What a subscriber says, or is to become one; in RESP3 often anything else.
    fn subscriber(&mut self, token: &str, mode: &mut Mode) -> Option<Made> {
        let sign = if self.traffic.resp3 { '>' } else { '*' };
        let kind = if self.traffic.resp3 { Kind::Push } else { Kind::Array };
        match (mode.channels, self.random.within(0, 4)) {
            (0, _) => {
                self.words(&[b"SUBSCRIBE", b"a", b"b"]);
                mode.channels = 2;
                self.confirm(sign, "subscribe", "a", 1);
                let before_last = self.confirm(sign, "subscribe", "b", 2);
                Some(Made { before_last, ..Made::new("SUBSCRIBE", Answer::Reply(kind)) })
            }
            (_, 0) => {
                self.words(&[b"UNSUBSCRIBE"]);
                mode.channels = 0;
                self.confirm(sign, "unsubscribe", "b", 1);
                let before_last = self.confirm(sign, "unsubscribe", "a", 0);
                Some(Made { before_last, ..Made::new("UNSUBSCRIBE", Answer::Reply(kind)) })
            }
            _ if self.traffic.resp3 => None,
            _ => {
                self.words(&[b"PING", token.as_bytes()]);
                self.reply.extend_from_slice(b"*2\r\n$4\r\npong\r\n");
                bulk(token.as_bytes(), self.reply);
                Some(Made::new("PING", Answer::Reply(Kind::Array)))
            }
        }
    }

    /// A confirmation of the last of two subscriptions; answers how long the one before was, which is as long.
    fn confirm(&mut self, sign: char, what: &str, channel: &str, left: u32) -> u64 {
        let text = format!("{sign}3\r\n${}\r\n{what}\r\n$1\r\n{channel}\r\n:{left}\r\n", what.len());
        self.reply.extend_from_slice(text.as_bytes());
        text.len() as u64
    }

    fn simple(&mut self, text: &str) -> Kind {
        self.line('+', text)
    }

    fn error(&mut self, text: &str) -> Kind {
        self.line('-', text);
        Kind::Error
    }

    fn wrong_type(&mut self, token: &str) -> Kind {
        self.error(&format!("WRONGTYPE {token} holds the wrong kind of value"))
    }

    fn line(&mut self, sign: char, text: &str) -> Kind {
        self.reply.push(sign as u8);
        self.reply.extend_from_slice(text.as_bytes());
        self.reply.extend_from_slice(b"\r\n");
        Kind::Simple
    }

    /// A number that has the token's digits.
    fn integer(&mut self, token: &str) -> Kind {
        self.line(':', &format!("7{}", &token[2..]));
        Kind::Integer
    }

    fn null(&mut self) -> Kind {
        let null: &[u8] = if self.traffic.resp3 { b"_\r\n" } else { b"$-1\r\n" };
        self.reply.extend_from_slice(null);
        Kind::Null
    }

    fn bulk_of(&mut self, text: &[u8]) -> Kind {
        bulk(text, self.reply);
        Kind::Bulk
    }

    fn bulk(&mut self, token: &str) -> Kind {
        let value = self.value(token.as_bytes());
        self.bulk_of(&value)
    }

    fn score(&mut self, token: &str) -> Kind {
        if self.random.chance(0.2) {
            return self.null();
        }
        let number = format!("7{}", &token[2..]);
        if self.traffic.resp3 {
            self.line(',', &number);
            return Kind::Double;
        }
        self.bulk_of(number.as_bytes())
    }

    /// An aggregate whose first element is the token.
    fn aggregate(&mut self, kind: Kind, token: &str) -> Kind {
        let sign = match kind {
            Kind::Map => b'%',
            Kind::Set => b'~',
            _ => b'*',
        };
        let declared = self.random.within(1, 6) as usize;
        self.reply.push(sign);
        decimal(declared, self.reply);
        bulk(token.as_bytes(), self.reply);
        for _ in 1..if kind == Kind::Map { 2 * declared } else { declared } {
            let value = self.value(b"");
            bulk(&value[..value.len().min(500)], self.reply);
        }
        kind
    }

    /// A value that begins with `start`: most are short, few are as long as may be.
    fn value(&mut self, start: &[u8]) -> Vec<u8> {
        let random = &mut *self.random;
        let most = random.within(0, self.traffic.value_bytes + 1);
        let length = if random.chance(0.03) { most } else { most.min(random.within(0, 100)) } as usize;
        let mut value = Vec::with_capacity(start.len() + length + 48);
        value.extend_from_slice(start);
        let looks_like_resp = self.traffic.look_alikes && random.chance(0.4);
        while value.len() < length {
            if looks_like_resp {
                value.extend_from_slice(random.pick(&PIECES));
            } else {
                value.extend_from_slice(&random.bits().to_le_bytes());
            }
        }
        value
    }
}

fn decimal(number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    decimal(text.len(), out);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}
