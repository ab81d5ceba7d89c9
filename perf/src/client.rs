//! What clients do: when they ask, and how they take replies.

use crate::random::{MICROSECOND, MILLISECOND, SECOND, Span};
use crate::scenario::{Client, Traffic};
use crate::world::{CLIENT, Event, Link, World};

/// Requests after which [`Client::Switching`] changes its way.
const SWITCH_AFTER: u32 = 60;
/// What [`Client::Impatient`] has outstanding at the most.
const INSISTS_MAX: u32 = 8;

/// Where a client is.
#[derive(Debug)]
pub(crate) struct Asking {
    /// Requests still to be sent.
    pub(crate) left: u32,
    sent: u32,
    outstanding: u32,
    /// Exchanges that it has seen the end of.
    completed: usize,
    /// It will ask at a time that is set.
    is_set: bool,
    dozes: bool,
    closes: bool,
}

impl Asking {
    pub(crate) fn new(traffic: &Traffic) -> Asking {
        let left = traffic.requests;
        Asking { left, sent: 0, outstanding: 0, completed: 0, is_set: false, dozes: false, closes: false }
    }

    /// How many requests it sends now.
    fn wanted(&self, client: Client) -> u32 {
        let wanted = match client {
            Client::Serial | Client::Impatient => 1u32.saturating_sub(self.outstanding),
            Client::Batch(size) | Client::Window(size) => size.saturating_sub(self.outstanding),
            Client::Multiplexed(_) | Client::Locked(_) => 1,
            Client::Switching if self.is_serial() => 1u32.saturating_sub(self.outstanding),
            Client::Switching => 2u32.saturating_sub(self.outstanding),
        };
        wanted.min(self.left)
    }

    /// Of [`Client::Switching`].
    fn is_serial(&self) -> bool {
        (self.sent / SWITCH_AFTER).is_multiple_of(2)
    }
}

impl World {
    /// A thread of a client asks.
    pub(crate) fn ask(&mut self, link: u32, thread: u32) {
        let client = self.scenario.traffic.client;
        let asking = &mut self.link(link).asking;
        asking.is_set = false;
        let wanted = asking.wanted(client);
        let (sent, left) = (asking.sent, asking.left);
        self.marks = client == Client::Switching && sent > 0 && sent % SWITCH_AFTER < 2;
        // Some write each request by itself.
        let singly = self.random.chance(0.3);
        for _ in 0..wanted {
            self.ask_once(link, thread);
            if singly {
                self.hand_over(link);
            }
        }
        self.hand_over(link);
        self.marks = false;
        match client {
            Client::Locked(_) if left > wanted => {
                let after = self.random.magnitude(Span(200 * MICROSECOND, 5 * MILLISECOND));
                self.schedule(self.now + after, Event::Ask(link, thread));
            }
            Client::Impatient if left > wanted => self.be_impatient(link),
            _ => {}
        }
        self.go_on_after_silence(link, thread);
    }

    fn ask_once(&mut self, link: u32, thread: u32) {
        let is_answered = self.request(link, thread);
        let asking = &mut self.link(link).asking;
        asking.left -= 1;
        asking.sent += 1;
        asking.outstanding += u32::from(is_answered);
    }

    fn hand_over(&mut self, link: u32) {
        let to = self.link(link).hosts[CLIENT].stream.len() as u64;
        self.write(link, CLIENT, to);
    }

    /// Where nothing of what was asked is answered, nothing else would make the client ask again.
    fn go_on_after_silence(&mut self, link: u32, thread: u32) {
        let client = self.scenario.traffic.client;
        let now = self.now;
        let Link { asking, exchanges, .. } = self.link(link);
        let last_is_silent = exchanges.last().is_some_and(|last| !last.is_answered());
        let goes_on = asking.left > 0 && !matches!(client, Client::Locked(_));
        if matches!(client, Client::Multiplexed(_)) {
            if goes_on && last_is_silent {
                self.schedule(now + 100 * MICROSECOND, Event::Ask(link, thread));
            }
        } else if goes_on && asking.outstanding == 0 && !asking.is_set {
            asking.is_set = true;
            self.schedule(now + MILLISECOND, Event::Ask(link, thread));
        }
        self.close_if_done(link);
    }

    fn be_impatient(&mut self, link: u32) {
        let sent = self.link(link).asking.sent;
        let after = self.random.magnitude(Span(50 * MICROSECOND, 100 * MILLISECOND));
        self.schedule(self.now + after, Event::Insist(link, sent));
    }

    /// A client that has waited long enough asks something else.
    pub(crate) fn insist(&mut self, link: u32, sent: u32) {
        let asking = &self.link(link).asking;
        let is_open = asking.outstanding > 0 && asking.outstanding < INSISTS_MAX;
        if asking.sent == sent && asking.left > 0 && is_open {
            self.ask_once(link, 0);
            self.hand_over(link);
            self.be_impatient(link);
        }
    }

    /// A client's host has received something.
    pub(crate) fn hear(&mut self, link: u32) {
        let traffic = self.scenario.traffic;
        if self.link(link).asking.dozes {
            return;
        }
        if self.random.chance(traffic.dozes) {
            self.link(link).asking.dozes = true;
            let after = self.random.magnitude(Span(5 * MILLISECOND, 3 * SECOND));
            return self.schedule(self.now + after, Event::Wake(link));
        }
        self.read(link, CLIENT);
        self.complete(link);
    }

    /// A client reads again.
    pub(crate) fn wake_client(&mut self, link: u32) {
        self.link(link).asking.dozes = false;
        self.read(link, CLIENT);
        self.complete(link);
    }

    /// Takes the replies that have arrived whole.
    fn complete(&mut self, link: u32) {
        let traffic = self.scenario.traffic;
        let mut took = false;
        loop {
            let at = &mut self.links[link as usize];
            let read = at.hosts[CLIENT].read;
            let asking = &mut at.asking;
            let Some(exchange) = at.exchanges.get(asking.completed) else { break };
            if exchange.is_answered() {
                if exchange.reply.as_ref().is_none_or(|reply| reply.end > read) {
                    break;
                }
                asking.outstanding -= 1;
                took = true;
                let (thread, goes_on) = (exchange.thread, asking.left > 0);
                if matches!(traffic.client, Client::Multiplexed(_)) && goes_on {
                    let think = self.random.magnitude(traffic.think);
                    self.schedule(self.now + think, Event::Ask(link, thread));
                }
            }
            self.link(link).asking.completed += 1;
        }
        if !took {
            return;
        }
        let asking = &self.link(link).asking;
        let drained = asking.outstanding == 0;
        let windowed =
            matches!(traffic.client, Client::Window(_)) || traffic.client == Client::Switching && !asking.is_serial();
        let asks = match traffic.client {
            Client::Multiplexed(_) | Client::Locked(_) => false,
            _ => (drained || windowed) && !asking.is_set && asking.left > 0,
        };
        if asks {
            self.link(link).asking.is_set = true;
            let short = Span(MICROSECOND, 20 * MICROSECOND);
            let think = self.random.magnitude(if windowed { short } else { traffic.think });
            self.schedule(self.now + think, Event::Ask(link, 0));
        }
        self.close_if_done(link);
    }

    fn close_if_done(&mut self, link: u32) {
        let asking = &mut self.link(link).asking;
        if asking.left == 0 && asking.outstanding == 0 && !asking.closes {
            asking.closes = true;
            self.schedule(self.now + 20 * MILLISECOND, Event::Close(link));
        }
    }
}
