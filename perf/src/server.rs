//! The server: one thread that takes what has arrived on all connections, executes it in order, and writes the replies of a
//! turn together, as an event loop does.

use crate::random::{MICROSECOND, MILLISECOND, Span};
use crate::scenario::Client;
use crate::world::{Event, SERVER, World};

impl World {
    /// A connection's requests have arrived at the server.
    pub(crate) fn notice(&mut self, link: u32) {
        if let Client::Locked(window) = self.scenario.traffic.client {
            return self.serve_locked(link, window);
        }
        if !self.server_wakes {
            self.server_wakes = true;
            let wakes = self.random.magnitude(Span(2 * MICROSECOND, 30 * MICROSECOND));
            self.schedule(self.server_free_at.max(self.now + wakes), Event::Serve);
        }
    }

    /// How many of a connection's requests have arrived whole and wait.
    fn waiting(&self, link: u32) -> usize {
        let link = &self.links[link as usize];
        let received = link.hosts[SERVER].received;
        link.exchanges[link.executed..].iter().take_while(|exchange| exchange.request.end <= received).count()
    }

    /// One turn of the event loop.
    pub(crate) fn serve(&mut self) {
        self.server_wakes = false;
        let server = self.scenario.server;
        let mut at = self.now;
        if self.random.chance(server.stalls) {
            at += self.random.magnitude(server.stall);
        }
        let mut again = false;
        for link in 0..self.links.len() as u32 {
            self.read(link, SERVER);
            let (mut waiting, mut left) = (self.waiting(link), server.turn);
            if waiting == 0 {
                continue;
            }
            while waiting > 0 && left > 0 {
                self.execute(link);
                at += self.random.magnitude(server.service);
                (waiting, left) = (waiting - 1, left - 1);
            }
            again |= waiting > 0;
            let to = self.link(link).hosts[SERVER].stream.len() as u64;
            self.schedule(at, Event::Flush(link, to));
        }
        self.server_free_at = at;
        if again {
            self.server_wakes = true;
            self.schedule(at + MICROSECOND, Event::Serve);
        }
    }

    /// The replies of a turn leave.
    pub(crate) fn flush(&mut self, link: u32, to: u64) {
        self.write(link, SERVER, to);
    }

    /// [`Client::Locked`]: each request is followed at once by the reply to the one `window` before.
    fn serve_locked(&mut self, link: u32, window: u32) {
        self.read(link, SERVER);
        let all_asked = self.link(link).asking.left == 0;
        let waiting = self.waiting(link);
        let holds = if all_asked { 0 } else { window as usize };
        for _ in holds..waiting {
            self.execute(link);
        }
        let to = self.link(link).hosts[SERVER].stream.len() as u64;
        let after = if all_asked { 10 * MILLISECOND } else { self.random.within(5, 20) * MICROSECOND };
        self.schedule(self.now + after, Event::Flush(link, to));
    }
}
