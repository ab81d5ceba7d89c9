//! Which arguments of a command are keys, and the cluster slot of a key.
//!
//! A [`KeySpec`] says where keys begin and how they go on, in the terms of the command descriptions that Redis and Valkey
//! publish. It is interpreted while arguments stream by, one after the other: [`KeyFinder`] answers for each argument, in
//! order, whether it is a key and whether its bytes are needed to go on. Nothing allocates.

use std::str::FromStr;

/// Where the keys of a command begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begin {
    /// At this argument (0 is the command itself).
    Index(u32),
    /// After the first argument that equals this word (upper case), looked for from this argument on.
    Keyword {
        /// The word, upper case.
        word: String,
        /// First argument that may be it.
        from: u32,
    },
}

/// How they go on from there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Find {
    /// Up to `last` (relative to the beginning; negative: counted from the last argument, −1), every `step`-th.
    /// With `last` −1 and `limit` n > 1, only the first n-th part of the arguments that remain.
    Range {
        /// Last key.
        last: i32,
        /// Arguments from a key to the next.
        step: u32,
        /// 0 or 1: no limit.
        limit: u32,
    },
    /// An argument tells how many keys there are.
    KeyNumber {
        /// Which (relative to the beginning).
        count_at: u32,
        /// The first key (relative to the beginning).
        first: u32,
        /// Arguments from a key to the next.
        step: u32,
    },
}

/// Where a command has keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// Where they begin.
    pub begin: Begin,
    /// How they go on.
    pub find: Find,
}

impl KeySpec {
    /// How many arguments at the end are never keys.
    pub fn trailing_arguments(&self) -> u32 {
        match self.find {
            Find::Range { last: last @ ..=-2, .. } => last.unsigned_abs() - 1,
            _ => 0,
        }
    }
}

/// The text is not a key specification.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key specification")]
pub struct KeySpecError;

impl FromStr for KeySpec {
    type Err = KeySpecError;

    /// `1/range:-1:2:0`, `STREAMS@1/range:-1:1:2`, `2/keynum:0:1:1`.
    fn from_str(text: &str) -> Result<KeySpec, KeySpecError> {
        let (begin, find) = text.split_once('/').ok_or(KeySpecError)?;
        let begin = match begin.split_once('@') {
            None => Begin::Index(number(begin)?),
            Some((word, from)) => Begin::Keyword { word: word.to_ascii_uppercase(), from: number(from)? },
        };
        let fields: Vec<&str> = find.split(':').collect();
        let find = match fields[..] {
            ["range", last, step, limit] => Find::Range {
                last: last.parse().map_err(|_| KeySpecError)?,
                step: step_of(step)?,
                limit: number(limit)?,
            },
            ["keynum", count_at, first, step] => {
                Find::KeyNumber { count_at: number(count_at)?, first: number(first)?, step: step_of(step)? }
            }
            _ => return Err(KeySpecError),
        };
        Ok(KeySpec { begin, find })
    }
}

fn number(text: &str) -> Result<u32, KeySpecError> {
    text.parse().map_err(|_| KeySpecError)
}

fn step_of(text: &str) -> Result<u32, KeySpecError> {
    number(text).and_then(|step| if step == 0 { Err(KeySpecError) } else { Ok(step) })
}

/// What is known of where keys are while a command's arguments stream by. Plain data, kept with the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFinder {
    /// Which of the command's specs is at work (they are in order of position).
    spec: u8,
    /// Whether `first`, `last` and `step` are known.
    open: bool,
    /// The next key.
    first: u32,
    /// The last one, at most.
    last: u32,
    step: u32,
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A key.
    Key,
    /// Its bytes decide where the keys are: to be given to [`KeyFinder::seen`].
    Decides,
    /// Neither.
    Other,
}

impl KeyFinder {
    /// What argument `index` of `count` is. To be asked for every argument after the command words, in order.
    #[inline]
    pub fn role(&mut self, specs: &[KeySpec], index: u32, count: u32) -> Role {
        while let Some(spec) = specs.get(usize::from(self.spec)) {
            if !self.open {
                match &spec.begin {
                    Begin::Index(begin) => match spec.find {
                        Find::Range { last, step, limit } => self.open_range(*begin, last, step, limit, count),
                        Find::KeyNumber { count_at, .. } => {
                            let at = begin + count_at;
                            if index == at {
                                return Role::Decides;
                            }
                            if index < at {
                                return Role::Other;
                            }
                            self.next_spec();
                            continue;
                        }
                    },
                    Begin::Keyword { from, .. } => {
                        return if index >= *from { Role::Decides } else { Role::Other };
                    }
                }
            }
            if index < self.first {
                return Role::Other;
            }
            if index > self.last {
                self.next_spec();
                continue;
            }
            if (index - self.first).is_multiple_of(self.step) {
                return Role::Key;
            }
            return Role::Other;
        }
        Role::Other
    }

    /// The bytes of an argument for which [`KeyFinder::role`] answered [`Role::Decides`].
    pub fn seen(&mut self, specs: &[KeySpec], index: u32, count: u32, bytes: &[u8]) {
        let Some(spec) = specs.get(usize::from(self.spec)) else { return };
        if let Begin::Keyword { word, .. } = &spec.begin
            && !word.as_bytes().eq_ignore_ascii_case(bytes)
        {
            return;
        }
        match spec.find {
            Find::Range { last, step, limit } => self.open_range(index + 1, last, step, limit, count),
            Find::KeyNumber { count_at, first, step } => {
                let begin = index - count_at.min(index);
                match std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<u32>().ok()) {
                    Some(keys) if keys > 0 => {
                        self.open = true;
                        self.first = begin + first;
                        self.step = step;
                        self.last = (begin + first).saturating_add((keys - 1).saturating_mul(step));
                    }
                    _ => self.next_spec(),
                }
            }
        }
    }

    fn open_range(&mut self, begin: u32, last: i32, step: u32, limit: u32, count: u32) {
        self.open = true;
        self.first = begin;
        self.step = step;
        self.last = if last >= 0 {
            begin.saturating_add(last.unsigned_abs())
        } else if last == -1 && limit > 1 {
            // The remaining arguments fall into `limit` equal parts, of which the first holds the keys.
            begin.saturating_add(count.saturating_sub(begin) / limit).saturating_sub(1)
        } else {
            count.saturating_sub(last.unsigned_abs())
        };
        if self.last < self.first {
            self.next_spec();
        }
    }

    fn next_spec(&mut self) {
        self.spec += 1;
        self.open = false;
    }
}

/// The cluster slot of a key: CRC-16/XMODEM modulo 16384 of the part between the first `{` and the next `}` if that is not
/// empty, else of the whole key.
pub fn slot(key: &[u8]) -> u16 {
    let hashed = match memchr::memchr(b'{', key) {
        Some(open) => match memchr::memchr(b'}', &key[open + 1..]) {
            Some(length) if length > 0 => &key[open + 1..open + 1 + length],
            _ => key,
        },
        None => key,
    };
    crc16(hashed) & 0x3fff
}

fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0u16; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = (byte as u16) << 8;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<'a>(specs: &str, arguments: &'a [&'a str]) -> Vec<&'a str> {
        let specs: Vec<KeySpec> = specs.split(' ').map(|spec| spec.parse().unwrap()).collect();
        let mut finder = KeyFinder::default();
        let count = arguments.len() as u32;
        let mut found = Vec::new();
        for (index, argument) in (1..count).zip(&arguments[1..]) {
            match finder.role(&specs, index, count) {
                Role::Key => found.push(*argument),
                Role::Decides => finder.seen(&specs, index, count, argument.as_bytes()),
                Role::Other => {}
            }
        }
        found
    }

    #[test]
    fn ranges() {
        assert_eq!(keys("1/range:0:1:0", &["SET", "k", "v", "EX", "5"]), ["k"]);
        assert_eq!(keys("1/range:-1:2:0", &["MSET", "a", "1", "b", "2"]), ["a", "b"]);
        assert_eq!(keys("1/range:-2:1:0", &["BLPOP", "a", "b", "0"]), ["a", "b"]);
        assert_eq!(keys("1/range:0:1:0", &["GET"]), Vec::<&str>::new());
        assert_eq!(keys("1/range:-2:1:0", &["BLPOP", "0"]), Vec::<&str>::new());
    }

    #[test]
    fn keywords_and_key_numbers() {
        let xread = "STREAMS@1/range:-1:1:2";
        assert_eq!(keys(xread, &["XREAD", "COUNT", "2", "streams", "a", "b", "0", "0"]), ["a", "b"]);
        assert_eq!(keys(xread, &["XREAD", "COUNT", "2"]), Vec::<&str>::new());
        let eval = "2/keynum:0:1:1";
        assert_eq!(keys(eval, &["EVAL", "return 1", "2", "a", "b", "c"]), ["a", "b"]);
        assert_eq!(keys(eval, &["EVAL", "return 1", "0", "c"]), Vec::<&str>::new());
        assert_eq!(keys(eval, &["EVAL", "return 1", "many", "c"]), Vec::<&str>::new());
        // ZUNIONSTORE: the destination, then a counted list.
        let union = "1/range:0:1:0 2/keynum:0:1:1";
        assert_eq!(keys(union, &["ZUNIONSTORE", "d", "2", "a", "b", "WEIGHTS", "1", "2"]), ["d", "a", "b"]);
    }

    #[test]
    fn slots_follow_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the check value that the cluster specification gives");
        assert_eq!(slot(b"user:1"), 10778, "the specification's example record");
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") & 0x3fff);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") & 0x3fff);
    }
}
