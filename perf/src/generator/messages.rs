//! Requests and replies. A request is drawn from a number, and its reply from the same number later on, so that nothing need be
//! kept of it meanwhile but that.
//!
//! Replies that carry a value begin it with the number of the key that was asked for: a wrong pair shows.

use crate::random::Random;

use super::plan::{Command, Plan};

/// Bytes of values: nothing that looks like RESP.
const FILLER: [u8; 4096] = [b'v'; 4096];
/// Digits that tell a key.
const KEY_DIGITS: usize = 12;

/// A request that was drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) command: Command,
    pub(super) key: u64,
    key_bytes: usize,
    value_bytes: usize,
    fields: usize,
}

impl Drawn {
    pub(super) fn draw(plan: &Plan, random: &mut Random) -> Drawn {
        let command = plan.commands.draw(random);
        let key = random.within(0, plan.keys);
        // A key's length is always the same.
        let key_bytes = plan.key_bytes.draw(&mut Random(key));
        let value_bytes = plan.value_bytes.draw(random);
        let fields = if command == Command::Hgetall { plan.fields.draw(random) } else { 0 };
        Drawn { command, key, key_bytes, value_bytes, fields }
    }

    /// The one with which a connection turns to RESP3.
    pub(super) fn hello() -> Drawn {
        Drawn { command: Command::Hello, key: 0, key_bytes: 0, value_bytes: 0, fields: 0 }
    }

    /// Appends the request.
    pub(super) fn request(&self, out: &mut Vec<u8>) {
        match self.command {
            Command::Get => out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n"),
            Command::Set => out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n"),
            Command::Incr => out.extend_from_slice(b"*2\r\n$4\r\nINCR\r\n"),
            Command::Lpush => out.extend_from_slice(b"*3\r\n$5\r\nLPUSH\r\n"),
            Command::Hgetall => out.extend_from_slice(b"*2\r\n$7\r\nHGETALL\r\n"),
            Command::Ping => return out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"),
            Command::Hello => return out.extend_from_slice(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
        }
        header(b'$', self.key_bytes as u64, out);
        append_key(self.key, self.key_bytes, out);
        out.extend_from_slice(b"\r\n");
        if matches!(self.command, Command::Set | Command::Lpush) {
            value(self.key, self.value_bytes, out);
        }
    }

    /// Appends its reply.
    pub(super) fn reply(&self, resp3: bool, out: &mut Vec<u8>) {
        match self.command {
            Command::Get => value(self.key, self.value_bytes, out),
            Command::Set => out.extend_from_slice(b"+OK\r\n"),
            Command::Incr | Command::Lpush => header(b':', self.key + 1, out),
            Command::Ping => out.extend_from_slice(b"+PONG\r\n"),
            Command::Hello => {
                out.extend_from_slice(b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n");
            }
            Command::Hgetall => {
                let (sign, items) = if resp3 { (b'%', self.fields) } else { (b'*', 2 * self.fields) };
                header(sign, items as u64, out);
                for field in 0..self.fields as u64 {
                    header(b'$', KEY_DIGITS as u64, out);
                    digits(if field == 0 { self.key } else { field }, out);
                    out.extend_from_slice(b"\r\n");
                    value(field, self.value_bytes, out);
                }
            }
        }
    }
}

/// Appends what a server pushes to a client that keeps copies: that a key has changed.
pub(super) fn push(key: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$16\r\n");
    append_key(key, 16, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the name of a key: `key:000000000042`, longer ones with `k`s behind, shorter ones without their beginning.
pub(super) fn append_key(key: u64, bytes: usize, out: &mut Vec<u8>) {
    const PREFIX: &[u8] = b"key:";
    let from = out.len();
    out.extend_from_slice(PREFIX);
    digits(key, out);
    let usual = PREFIX.len() + KEY_DIGITS;
    if bytes < usual {
        out.drain(from..from + usual - bytes);
    } else {
        out.resize(from + bytes, b'k');
    }
}

/// The name of a key, as a record shows it.
pub(super) fn key_name(plan: &Plan, key: u64) -> String {
    let mut name = Vec::new();
    append_key(key, plan.key_bytes.draw(&mut Random(key)), &mut name);
    String::from_utf8_lossy(&name).into_owned()
}

/// A bulk string that begins with a key's number, as far as it has room for that.
fn value(key: u64, bytes: usize, out: &mut Vec<u8>) {
    header(b'$', bytes as u64, out);
    let end = out.len() + bytes;
    digits(key, out);
    out.truncate(end);
    while out.len() < end {
        let rest = end - out.len();
        out.extend_from_slice(&FILLER[..rest.min(FILLER.len())]);
    }
    out.extend_from_slice(b"\r\n");
}

fn digits(number: u64, out: &mut Vec<u8>) {
    let mut text = [b'0'; KEY_DIGITS];
    let mut rest = number;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text);
}

/// A sign and a number.
fn header(sign: u8, number: u64, out: &mut Vec<u8>) {
    let mut text = [0; 24];
    let mut at = text.len() - 2;
    text[at..].copy_from_slice(b"\r\n");
    let mut rest = number;
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text[at - 1] = sign;
    out.extend_from_slice(&text[at - 1..]);
}

/// Appends about a segment of bytes that are made to be hard to parse: promises of much, nesting, tiny values, numbers that are
/// none, noise.
pub(super) fn hostile(random: &mut Random, out: &mut Vec<u8>) {
    const PIECES: [&[u8]; 14] = [
        b"*1\r\n",
        b"*0\r\n",
        b"\r\n",
        b"*2147483647\r\n",
        b"$536870912\r\n",
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$536870912\r\n",
        b"$00000000000000000000000000000012\r\n",
        b"*-1\r\n",
        b":99999999999999999999999\r\n",
        b"%2147483647\r\n",
        b">3\r\n+pubsub\r\n",
        b"-ERR an error\r\n",
        b"P\r\n",
        b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
    ];
    let end = out.len() + random.within(1, 1400) as usize;
    let piece = random.pick(&PIECES);
    // Half of the segments are all alike, the others a mixture, with noise.
    let is_uniform = random.chance(0.5);
    while out.len() < end {
        if is_uniform {
            out.extend_from_slice(piece);
        } else if random.chance(0.1) {
            out.extend_from_slice(&random.bits().to_le_bytes());
        } else {
            out.extend_from_slice(random.pick(&PIECES));
        }
    }
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_resp() {
        let drawn = |command| Drawn { command, key: 42, key_bytes: 16, value_bytes: 14, fields: 1 };
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let set = drawn(Command::Set);
        assert_eq!(
            text(&|out| set.request(out)),
            "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$14\r\n000000000042vv\r\n"
        );
        assert_eq!(text(&|out| drawn(Command::Get).reply(false, out)), "$14\r\n000000000042vv\r\n");
        assert_eq!(text(&|out| drawn(Command::Incr).reply(false, out)), ":43\r\n");
        let hash = "$12\r\n000000000042\r\n$14\r\n000000000000vv\r\n";
        assert_eq!(text(&|out| drawn(Command::Hgetall).reply(true, out)), format!("%1\r\n{hash}"));
        assert_eq!(text(&|out| drawn(Command::Hgetall).reply(false, out)), format!("*2\r\n{hash}"));
        assert_eq!(text(&|out| append_key(42, 3, out)), "042");
        assert_eq!(text(&|out| append_key(42, 18, out)), "key:000000000042kk");
        assert_eq!(text(&|out| value(42, 3, out)), "$3\r\n000\r\n");
    }
}
