//! Replication between full nodes: sessions that find the differences between two of them, and
//! offers of new items, both by [`Method::Reconcile`](crate::wire::Method::Reconcile); passes with
//! upstream's full nodes by GetItems and PutBatch; adverts. Between any nodes: handover to new
//! peers.

pub(crate) mod adverts;
mod arrival;
mod delayed;
mod go;
mod handover;
mod offers;
mod sessions;

use crate::node::base::Base;
use crate::node::inbound::SyncNotice;
use crate::node::query::Queries;
use crate::node::timers::Timer;

pub(crate) use handover::HandOver;
pub(crate) use offers::Offers;
pub(crate) use sessions::Sessions;

/// What a node does, in particular a full node, so that other nodes hold the items they should.
#[derive(Default)]
pub(crate) struct Replication {
    pub(crate) sessions: Sessions,
    pub(crate) offers: Offers,
    pub(crate) handover: HandOver,
}

impl Replication {
    /// Takes what a peer's reconciliation message says about the peer.
    pub(crate) fn on_sync_notice(&mut self, base: &mut Base, notice: &SyncNotice) {
        self.offers.offered(base, &notice.offered);
        if notice.compares {
            self.sessions.on_peer_session(base, notice.peer);
        }
    }

    /// Starts or stops everything that only a full node does: the rules of its store, sessions,
    /// offers and adverts. Peers learn of the change from the next answer.
    pub(crate) fn set_full_node(&mut self, base: &mut Base, queries: &mut Queries, on: bool) {
        if base.cx.config.full_node == on || base.cx.stopping {
            return;
        }
        if !on {
            // The other full nodes accept the withdrawal only while this node still is a full node.
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
            Sessions::schedule_soon(base);
            adverts::start(base);
        }
    }
}

#[cfg(test)]
mod tests;
