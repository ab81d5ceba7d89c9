//! Which kinds of reply a command may have: what lets a reply contradict the request that it would answer.
//!
//! Only what holds for every server and both protocols is said: RESP3's map or set beside RESP2's array, its double beside
//! the bulk string. Errors are always possible, and so is everything of a command that is not listed: scripts, modules, what
//! nobody has looked up. So a list that lacks a command costs some proofs, and never makes one wrong. The kinds are those of
//! the replies that the command reference of Redis describes; a server that answers otherwise is noticed while nothing is
//! hidden, and its connection does without (`Connection::odd_kinds`).

use super::command::{CommandId, CommandTable};
use crate::resp::parser::Kind;

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u16);

impl Kinds {
    /// Not even an error.
    pub const NONE: Kinds = Kinds(0);
    const ANY: Kinds = Kinds(u16::MAX);

    const fn of(kinds: &[Kind]) -> Kinds {
        let mut bits = 1 << Kind::Error as u16;
        let mut at = 0;
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u16;
            at += 1;
        }
        Kinds(bits)
    }

    const fn of_bits(kinds: &[Kind]) -> u16 {
        Kinds::of(kinds).0 & !(1 << Kind::Error as u16)
    }

    /// Whether a reply of this kind is possible.
    #[inline]
    pub fn has(self, kind: Kind) -> bool {
        self.0 >> (kind as u16) & 1 == 1
    }

    /// Whether all are single lines: nothing that could be taken for a reply is in them.
    pub fn are_lines(self) -> bool {
        self.0 & !Kinds::of(&[Simple, Integer, Null, Double, Kind::Boolean]).0 == 0
    }

    /// Whether none has elements.
    pub fn are_scalars(self) -> bool {
        self.0 & Kinds::of_bits(&[Array, Map, Set]) == 0
    }

    /// Whether anything is possible.
    pub fn are_any(self) -> bool {
        self == Kinds::ANY
    }
}

use Kind::{Array, Bulk, Double, Integer, Map, Null, Set, Simple, Verbatim};

/// Commands by what they may answer.
const LISTED: &[(Kinds, &str)] = &[
    (
        Kinds::of(&[Simple]),
        "AUTH|CLIENT SETINFO|CLIENT SETNAME|CONFIG RESETSTAT|CONFIG SET|DISCARD|FLUSHALL|FLUSHDB|HMSET|LSET|LTRIM|MSET|MULTI\
         |PFMERGE|PSETEX|RENAME|RESET|SELECT|SETEX|TYPE|UNWATCH|WATCH|XSETID",
    ),
    (
        Kinds::of(&[Integer]),
        "APPEND|BITCOUNT|BITOP|BITPOS|COPY|DBSIZE|DECR|DECRBY|DEL|EXISTS|EXPIRE|EXPIREAT|EXPIRETIME|GETBIT|HDEL|HEXISTS\
         |HINCRBY|HLEN|HSET|HSETNX|HSTRLEN|INCR|INCRBY|LASTSAVE|LINSERT|LLEN|LPUSH|LPUSHX|LREM|MOVE|MSETNX|PERSIST|PEXPIRE\
         |PEXPIREAT|PEXPIRETIME|PFADD|PFCOUNT|PTTL|PUBLISH|RENAMENX|RPUSH|RPUSHX|SADD|SCARD|SDIFFSTORE|SETBIT|SETNX\
         |SETRANGE|SINTERCARD|SINTERSTORE|SISMEMBER|SMOVE|SPUBLISH|SREM|STRLEN|SUNIONSTORE|TOUCH|TTL|UNLINK|WAIT|XACK|XDEL\
         |XLEN|XTRIM|ZCARD|ZCOUNT|ZDIFFSTORE|ZINTERCARD|ZINTERSTORE|ZLEXCOUNT|ZRANGESTORE|ZREM|ZREMRANGEBYLEX\
         |ZREMRANGEBYRANK|ZREMRANGEBYSCORE|ZUNIONSTORE|GEOADD|GEOSEARCHSTORE",
    ),
    (Kinds::of(&[Bulk]), "ECHO|GETRANGE|SUBSTR"),
    (Kinds::of(&[Bulk, Double]), "HINCRBYFLOAT|INCRBYFLOAT"),
    (
        Kinds::of(&[Bulk, Null]),
        "DUMP|GET|GETDEL|GETEX|GETSET|HGET|LINDEX|LMOVE|RANDOMKEY|RPOPLPUSH|BRPOPLPUSH|BLMOVE|XADD",
    ),
    (Kinds::of(&[Bulk, Null, Double]), "ZSCORE|ZINCRBY|GEODIST"),
    (Kinds::of(&[Bulk, Null, Array]), "HRANDFIELD|LPOP|RPOP|ZRANDMEMBER"),
    (Kinds::of(&[Bulk, Null, Array, Set]), "SPOP|SRANDMEMBER"),
    (Kinds::of(&[Bulk, Verbatim]), "INFO|CLIENT INFO|CLIENT LIST"),
    (Kinds::of(&[Simple, Null, Bulk]), "SET"),
    (Kinds::of(&[Simple, Bulk, Array]), "PING"),
    (Kinds::of(&[Integer, Bulk, Null, Double]), "ZADD"),
    (Kinds::of(&[Integer, Null, Array]), "ZRANK|ZREVRANK|LPOS"),
    (Kinds::of(&[Array]), "HKEYS|HMGET|HSCAN|HVALS|KEYS|LRANGE|MGET|SCAN|SMISMEMBER|SSCAN|TIME|XRANGE|XREVRANGE|ZSCAN"),
    (Kinds::of(&[Array, Set]), "SDIFF|SINTER|SMEMBERS|SUNION|COMMAND"),
    (Kinds::of(&[Array, Map]), "CONFIG GET|HELLO|HGETALL"),
    (Kinds::of(&[Array, Null]), "BLPOP|BRPOP|BZPOPMAX|BZPOPMIN|EXEC|ZMPOP|LMPOP|BLMPOP|BZMPOP|ZMSCORE"),
    (Kinds::of(&[Array, Map, Null]), "XREAD|XREADGROUP"),
    (
        Kinds::of(&[Array, Set, Map]),
        "ZRANGE|ZRANGEBYLEX|ZRANGEBYSCORE|ZREVRANGE|ZREVRANGEBYLEX|ZREVRANGEBYSCORE|ZPOPMIN|ZPOPMAX|ZDIFF|ZINTER|ZUNION",
    ),
];

/// The kinds of all commands, by number.
#[derive(Debug)]
pub struct Possible(Vec<Kinds>);

impl Possible {
    /// Looks the commands up in a table.
    pub fn new(table: &CommandTable) -> Possible {
        let mut kinds = vec![Kinds::ANY; table.len()];
        for (possible, names) in LISTED {
            for id in names.split('|').filter_map(|name| table.find(name.as_bytes())) {
                kinds[usize::from(id.0)] = *possible;
            }
        }
        Possible(kinds)
    }

    /// What a command may answer.
    #[inline]
    pub fn of(&self, command: CommandId) -> Kinds {
        self.0.get(usize::from(command.0)).copied().unwrap_or(Kinds::ANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_listed_command_is_in_the_built_in_table_once() {
        let table = CommandTable::built_in();
        let mut seen = BTreeSet::new();
        for name in LISTED.iter().flat_map(|(_, names)| names.split('|')) {
            let id = table.find(name.as_bytes());
            assert!(id.is_some_and(|id| table.name(id) == name), "{name} is not in the table");
            assert!(seen.insert(name), "{name} stands twice");
        }
    }

    #[test]
    fn errors_are_always_possible_and_so_is_anything_of_what_is_not_listed() {
        let possible = Possible::new(CommandTable::built_in());
        let of = |name: &str| possible.of(CommandTable::built_in().find(name.as_bytes()).unwrap());
        assert!(of("GET").has(Bulk) && of("GET").has(Null) && of("GET").has(Kind::Error) && !of("GET").has(Integer));
        assert!(!of("INCR").are_any() && of("EVAL").are_any());
        assert!(of("EVAL").has(Kind::Boolean) && possible.of(CommandId::UNKNOWN).has(Map));
    }
}
