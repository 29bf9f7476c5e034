//! Replication between full nodes: sessions that find what two of them hold differently, and offers
//! of what is new here, both by [`Method::Reconcile`](crate::wire::Method::Reconcile); passes with
//! upstream's full nodes by GetItems and PutBatch; adverts. And, between any nodes, hand-over to
//! newcomers.

pub(crate) mod adverts;
mod arrival;
mod go;
mod handover;
mod later;
mod offers;
mod sessions;

use crate::node::base::Base;
use crate::node::inbound::Heard;
use crate::node::query::Queries;
use crate::node::timers::Timer;

pub(crate) use handover::HandOver;
pub(crate) use offers::Offers;
pub(crate) use sessions::Sessions;

/// What a node does so that others hold what they should, a full node above all.
#[derive(Default)]
pub(crate) struct Replication {
    pub(crate) sessions: Sessions,
    pub(crate) offers: Offers,
    pub(crate) handover: HandOver,
}

impl Replication {
    /// A peer has asked this node to reconcile, or offered it something.
    pub(crate) fn heard(&mut self, base: &mut Base, heard: &Heard) {
        self.offers.offered(base, &heard.offered);
        if heard.compares {
            self.sessions.asked_by(base, heard.peer);
        }
    }

    /// Begins, or ends, everything that a full node does beyond what a regular one does: the store's
    /// rules, sessions, offers and adverts. Peers learn of it from the next answer.
    pub(crate) fn set_full_node(&mut self, base: &mut Base, queries: &mut Queries, on: bool) {
        if base.cx.config.full_node == on || base.cx.stopping {
            return;
        }
        if !on {
            // The other full nodes hear of it from this one, as long as it is one.
            adverts::withdraw(base, queries);
            self.offers.gather(base);
            self.offers.send(base);
            self.offers.stop();
            self.sessions.stop(base);
            for timer in [Timer::Reconcile, Timer::Offer, Timer::Advert] {
                base.cx.timers.cancel(timer);
            }
        }
        base.cx.config.full_node = on;
        base.items.set_full_node(&mut base.cx);
        if on {
            Sessions::met_full_node(base);
            adverts::start(base);
        }
    }
}

#[cfg(test)]
mod tests;
