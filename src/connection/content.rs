//! What is read as requests and may be the content of one, as its beginning was hidden.
//!
//! A value can look like requests. When where they begin is sought behind a gap, and the gap hid the head of such a value, the
//! content is read; behind it come true requests, and kinds of replies soon prove whose they are. But the reply to all of the value
//! came before: by counting back from there it would be the last of the content's that takes it. What is between a content and what
//! is behind it tells it, as no client sends that between two requests: an empty line, where the queue gets a mark, or a line that
//! looks like an inline command. There counting back ends.
//!
//! A length in a content may lead beyond its end, so that the end is taken for a part of an argument, and true requests behind it as
//! well. Each of these begins with `*` behind a line end: behind what is read as a request and has such in an argument counting back
//! ends, too.

use memchr::memchr_iter;

use crate::redis::pairing::Flags;
use crate::redis::queue::Stretch;
use crate::redis::request::Request;
use crate::units::Offset;

use super::facts::Facts;
use super::{Connection, Exhausted, Resources};

/// Line ends in a part of a message; one that may have begun in the part before counts as well.
pub(super) fn line_ends(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).filter(|&at| at == 0 || bytes[at - 1] == b'\r').count() as u64
}

/// How many requests in multibulk form may begin in a part of a message, at the beginning of a line; where that can have begun in the
/// part before, too.
fn begun(bytes: &[u8]) -> u64 {
    memchr_iter(b'*', bytes).filter(|&at| matches!(bytes[..at], [] | [b'\n'] | [.., b'\r', b'\n'])).count() as u64
}

impl Connection {
    /// Notes what may be requests in a part of the request that streams by, if where requests begin was found by their looks.
    pub(super) fn note_begun(&self, bytes: &[u8], resources: &mut Resources) {
        if self.facts.has(Facts::REQUESTS_REFOUND) {
            resources.requests.get_mut(self.building).note_begun(begun(bytes));
        }
    }

    /// Whether counting back ends behind this one: it may be the end of a content, if where requests begin was found by their looks. It
    /// looks like an inline command, or what may be requests is in its arguments.
    pub(super) fn may_end_content(&self, request: &Request) -> bool {
        let may_end = request.holds_begun() || request.flags.has(Flags::INLINE);
        may_end && self.facts.has(Facts::REQUESTS_REFOUND)
    }

    /// Whether what is read as requests may be the content of one whose beginning was hidden: where they begin was found by their
    /// looks, and whose replies come is not known yet.
    fn may_be_content(&self) -> bool {
        let is_open = !self.certainty.is_settled() || self.queue.is_marked();
        is_open && self.facts.has(Facts::REQUESTS_REFOUND)
    }

    /// There is an empty line. No client sends one between requests, but it is what ends a value; and if the request before it was
    /// the end of such a one, then the reply that comes is not its own.
    pub(super) fn content_may_end(&mut self, here: Offset, resources: &mut Resources) -> Result<(), Exhausted> {
        let tail = self.queue.tail().map(|tail| resources.requests.get(tail));
        // Behind what looks like an inline command counting back ends anyway.
        let has_ended = |tail: &Request| tail.is_mark() || tail.flags.has(Flags::INLINE);
        if !self.may_be_content() || tail.is_none_or(has_ended) {
            return Ok(());
        }
        let nothing = Stretch {
            from: here,
            to: here,
            may_be_inline: false,
            earlier: 0,
            is_rest: false,
            is_answered: false,
            holds_one: false,
        };
        self.mark(nothing, resources)?;
        self.requests_hidden(resources);
        Ok(())
    }
}
