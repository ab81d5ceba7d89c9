//! The requests of a segment that are of the usual form: those that are read at once.

use crate::connection::scarcity::SHARE;
use crate::connection::{Connection, Exhausted, Resources};
use crate::counters::{Counter, Counters};
use crate::redis::request::Request;
use crate::redis::request::usual::{Begun, UsualCommands, UsualRequest};
use crate::redis::requests::Requests;
use crate::units::{Offset, Timestamp};

impl Connection {
    /// Takes the requests of the usual form that some bytes of a plain connection begin with, between messages; answers how many
    /// bytes they are.
    #[inline]
    pub(in crate::connection) fn usual_requests(
        &mut self,
        bytes: &[u8],
        from: Offset,
        received: Offset,
        time: Timestamp,
        resources: &mut Resources,
    ) -> usize {
        let Resources { usual, requests, counters, .. } = resources;
        // Nothing is queued by MULTI on a plain connection.
        let Some(found) = usual.read(bytes) else { return 0 };
        let came = Came { received, time };
        if !self.queue.is_empty() || !found.rest.is_empty() {
            return self.usual_requests_in_a_row(bytes, found.begun, from, came, usual, requests, counters);
        }
        let Some(handle) = requests.take() else { return 0 };
        let end = from.plus(bytes.len() as u64);
        came.fill(requests.get_mut(handle), &found, from, end, self.requests, 0);
        self.queue.push_first(handle, requests);
        counters.count(Counter::Requests);
        self.head_at = time;
        self.requests += 1;
        bytes.len()
    }

    /// The same of several, or where others wait. `begun`: how the first of them begins.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)]
    fn usual_requests_in_a_row(
        &mut self,
        bytes: &[u8],
        begun: Begun<'_>,
        from: Offset,
        came: Came,
        usual: &UsualCommands,
        requests: &mut Requests,
        counters: &mut Counters,
    ) -> usize {
        let mut row = requests.begin_row();
        // Those that wait no more; no marks are between them.
        let answered = self.requests.wrapping_sub(u64::from(self.queue.elements()));
        let mut index = self.requests;
        let mut queue_max = FEW_WAIT;
        let (all_end, mut rest, mut begun) = (from.plus(bytes.len() as u64), bytes, begun);
        while let Some(found) = usual.read_like(begun, rest) {
            let pipeline = index.wrapping_sub(answered) as u32;
            if pipeline >= queue_max {
                queue_max = self.queue_max(pipeline, requests, row);
                if pipeline >= queue_max {
                    break;
                }
            }
            let Some(request) = requests.take_next(&mut row) else { break };
            let [begin, end] = [rest, found.rest].map(|rest| all_end.before(rest.len() as u64));
            came.fill(request, &found, begin, end, index, pipeline);
            index += 1;
            (rest, begun) = (found.rest, found.begun);
        }
        let taken = index.wrapping_sub(self.requests);
        if taken > 0 {
            counters.add(Counter::Requests, taken);
            if self.queue.is_empty() {
                self.head_at = came.time;
            }
            self.requests = index;
            self.queue.push_row(row, taken as u32, requests);
        }
        bytes.len() - rest.len()
    }

    /// Takes the request of the usual form that some bytes begin with, whatever the connection's state, up to its being complete;
    /// answers how many bytes it is, 0 if it is no such.
    pub(in crate::connection) fn usual_request(
        &mut self,
        bytes: &[u8],
        from: Offset,
        received: Offset,
        time: Timestamp,
        resources: &mut Resources,
    ) -> Result<usize, Exhausted> {
        let children = self.children(resources).elements();
        let Resources { usual, requests, .. } = resources;
        let Some(found) = usual.read(bytes) else { return Ok(0) };
        self.building = self.take_request_of(requests, children)?;
        let request = requests.get_mut(self.building);
        found.fill(request, time.is_known());
        request.t1 = time;
        request.begin = from;
        request.received = received;
        Ok(bytes.len() - found.rest.len())
    }
}

/// Requests up to which a connection's queue may always grow: it need not be asked how many are left for all.
const FEW_WAIT: u32 = SHARE - 1;

/// What requests have in common that come in one segment.
#[derive(Clone, Copy, Debug)]
struct Came {
    /// How far their client had received replies.
    received: Offset,
    time: Timestamp,
}

impl Came {
    /// Fills a request of them.
    #[inline(always)]
    fn fill(
        self,
        request: &mut Request,
        found: &UsualRequest<'_, '_>,
        begin: Offset,
        end: Offset,
        index: u64,
        pipeline: u32,
    ) {
        debug_assert!(self.time.is_known(), "it is no earlier than others of the connection are");
        found.fill(request, true);
        request.t1 = self.time;
        request.t2 = self.time;
        request.begin = begin;
        request.end = end;
        request.received = self.received;
        request.index = index;
        request.pipeline = pipeline;
    }
}
