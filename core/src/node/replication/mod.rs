//! Replication between full nodes: sessions that find what two of them hold differently, and offers
//! of what is new here, both by [`Method::Reconcile`](crate::wire::Method::Reconcile); passes with
//! upstream's full nodes by GetItems and PutBatch; adverts.

pub(crate) mod adverts;
mod go;
mod offers;
mod sessions;

use crate::node::base::Base;
use crate::node::query::Queries;
use crate::node::timers::Timer;

pub(crate) use offers::Offers;
pub(crate) use sessions::Sessions;

/// What a full node does to hold what the others hold.
#[derive(Default)]
pub(crate) struct Replication {
    pub(crate) sessions: Sessions,
    pub(crate) offers: Offers,
}

impl Replication {
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
