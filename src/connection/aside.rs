//! What only few connections have, and those mostly not for long: it is in the worker's pool while there is any of it.
//!
//! A connection has one such place at the most, and the pool has one for each connection that the table can hold and for the one
//! that is about to be put in ([`Connection::BYTES_BESIDE`] are in the table's budget), so that it is never short of them.

use crate::decode::seq::Seq;
use crate::pool::NONE;
use crate::redis::queue::Queue;
use crate::redis::replication::Channel;
use crate::redis::session::Subscriptions;

use super::{Connection, Resources};

/// What there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aside {
    /// Commands that MULTI has queued.
    pub(super) children: Queue,
    /// Commands of replication in the queue, or among those: no transactions.
    pub(super) internal: u32,
    /// Of a connection that is subscribed.
    pub(super) subscriptions: Subscriptions,
    /// What the connection is for, as its replica said.
    pub(super) channel: Channel,
    /// It is a replication link.
    pub(super) link: u32,
    /// What is kept of it until it is recognised.
    pub(super) recognition: u32,
    /// Segments until then that looked like nothing Redis sends.
    pub(super) strikes: u16,
    /// A SYN that may begin another connection between the same ends.
    pub(super) candidate: Option<Seq>,
}

impl Aside {
    /// As of a connection that has none of it.
    const NOTHING: Aside = Aside {
        children: Queue::EMPTY,
        internal: 0,
        subscriptions: Subscriptions::NONE,
        channel: Channel::Only,
        link: NONE,
        recognition: NONE,
        strikes: 0,
        candidate: None,
    };

    /// Whether it is of no more use to a connection that is not subscribed.
    fn is_nothing(&self) -> bool {
        let Aside { children, internal, subscriptions: _, channel, link, recognition, strikes, candidate } = *self;
        children.is_empty()
            && (internal, strikes) == (0, 0)
            && channel == Channel::Only
            && [link, recognition] == [NONE; 2]
            && candidate.is_none()
    }
}

impl Connection {
    /// What of that it has.
    #[inline]
    pub(super) fn aside<'r>(&self, resources: &'r Resources) -> &'r Aside {
        if self.aside == NONE { &Aside::NOTHING } else { resources.asides.get(self.aside) }
    }

    /// The same, to change.
    pub(super) fn aside_mut<'r>(&mut self, resources: &'r mut Resources) -> &'r mut Aside {
        if self.aside == NONE {
            let place = resources.asides.take(|| Aside::NOTHING).expect("there is a place for each connection");
            *resources.asides.get_mut(place) = Aside::NOTHING;
            self.aside = place;
        }
        resources.asides.get_mut(self.aside)
    }

    /// If nothing is left of it, its place is given back.
    #[inline]
    pub(super) fn tidy_aside(&mut self, resources: &mut Resources) {
        if self.aside != NONE && !self.session.is_subscribed() && resources.asides.get(self.aside).is_nothing() {
            self.drop_aside(resources);
        }
    }

    /// Whatever is left of it, its place is given back.
    pub(super) fn drop_aside(&mut self, resources: &mut Resources) {
        let place = std::mem::replace(&mut self.aside, NONE);
        if place != NONE {
            resources.asides.give_back(place);
        }
    }

    /// Commands that MULTI has queued.
    pub(super) fn children(&self, resources: &Resources) -> Queue {
        self.aside(resources).children
    }

    /// MULTI has queued one more.
    pub(super) fn push_child(&mut self, handle: u32, resources: &mut Resources) {
        let mut children = self.children(resources);
        children.push(handle, &mut resources.requests);
        self.aside_mut(resources).children = children;
    }

    /// Takes the first of them.
    pub(super) fn pop_child(&mut self, resources: &mut Resources) -> Option<u32> {
        if self.aside == NONE {
            return None;
        }
        let Resources { asides, requests, .. } = resources;
        asides.get_mut(self.aside).children.pop(requests)
    }

    /// What it is subscribed to.
    pub(super) fn subscriptions(&self, resources: &Resources) -> Subscriptions {
        if self.session.is_subscribed() { self.aside(resources).subscriptions } else { Subscriptions::NONE }
    }

    /// It is subscribed to so much, if it is.
    pub(super) fn keep_subscriptions(&mut self, subscriptions: Subscriptions, resources: &mut Resources) {
        if self.session.is_subscribed() {
            self.aside_mut(resources).subscriptions = subscriptions;
        }
    }

    /// What its replica has said that it is for is not known any more.
    pub(super) fn forget_channel(&mut self, resources: &mut Resources) {
        if self.aside != NONE {
            self.aside_mut(resources).channel = Channel::Only;
        }
    }
}
