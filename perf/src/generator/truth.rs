//! The truth about requests and their replies.

use std::io::{self, Write};

use resptap::units::Endpoint;

use super::messages::key_name;
use super::plan::{Command, Plan};
use super::wire::Ends;

/// A request and its reply, as they really were.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// The command.
    pub command: Command,
    /// The number of its key.
    pub key: u64,
    ends: Ends,
    /// Bytes of the request.
    pub request_bytes: u32,
    /// Bytes of its reply.
    pub reply_bytes: u32,
    /// When the request's first byte passed the mirror port, in nanoseconds.
    pub t1: u64,
    /// Its last byte.
    pub t2: u64,
    /// The reply's first byte.
    pub t3: u64,
    /// Its last byte.
    pub t4: u64,
    /// All of their frames are in the capture, where they belong, and so are those of their connection before them.
    pub is_whole: bool,
}

impl Exchange {
    pub(super) fn asked(command: Command, key: u64, ends: Ends, bytes: usize) -> Exchange {
        Exchange {
            command,
            key,
            ends,
            request_bytes: bytes as u32,
            reply_bytes: 0,
            t1: 0,
            t2: 0,
            t3: 0,
            t4: 0,
            is_whole: false,
        }
    }

    /// The client's address and port.
    pub fn client(&self) -> String {
        self.ends.text(true)
    }

    /// Both, the client's first, as records have them.
    pub fn endpoints(&self) -> (Endpoint, Endpoint) {
        (self.ends.endpoint(true), self.ends.endpoint(false))
    }

    /// The server's.
    pub fn server(&self) -> String {
        self.ends.text(false)
    }

    /// The key, as a record shows it; `None` of a command without one.
    pub fn key_name(&self, plan: &Plan) -> Option<String> {
        (!matches!(self.command, Command::Ping | Command::Hello)).then(|| key_name(plan, self.key))
    }

    /// Writes a line of JSON.
    pub fn write(&self, plan: &Plan, out: &mut impl Write) -> io::Result<()> {
        let Exchange { request_bytes, reply_bytes, t1, t2, t3, t4, is_whole, .. } = self;
        let key = self.key_name(plan).map_or_else(String::new, |key| format!(r#","key":"{key}""#));
        writeln!(
            out,
            r#"{{"client":"{}","server":"{}","command":"{}"{key},"t1":{t1},"t2":{t2},"t3":{t3},"t4":{t4},"request_bytes":{request_bytes},"reply_bytes":{reply_bytes},"whole":{is_whole}}}"#,
            self.client(),
            self.server(),
            self.command.name(),
        )
    }
}
