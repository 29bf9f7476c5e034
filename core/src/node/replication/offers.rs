//! Offers: a full node announces items that it received from regular nodes to the full nodes that
//! it knows, as short stamps, and gives the items to those that request them. Later sessions find
//! what is lost.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::{CallTag, SyncId};
use crate::node::items::{Change, ChangeFrom};
use crate::node::limits::Limit;
use crate::node::replication::delayed::DelayedOffers;
use crate::node::replication::sessions::announces_full_node;
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::sync::{
    Entries, MAX_IDS, RequestPart, ResponsePart, Source, Stamp, SyncRequest, SyncResponse,
};
use crate::wire::{Request, Response};

/// Time for which changes are collected before they are offered.
const GATHER: Duration = Duration::from_millis(20);

/// An offer in progress.
struct OfferInFlight {
    peer: PublicKey,
    targets: Vec<Target>,
}

/// Items to offer, and their recipients.
#[derive(Default)]
pub(crate) struct Offers {
    waiting: BTreeMap<PublicKey, BTreeSet<Target>>,
    /// Items that another node with the same storage may announce first.
    delayed: DelayedOffers,
    out: BTreeMap<SyncId, OfferInFlight>,
    last: u64,
}

impl Offers {
    /// The longest queue of waiting changes, for a peer or for their delay to end.
    pub(crate) fn most_waiting(&self) -> usize {
        let most = self.waiting.values().map(BTreeSet::len).max();
        most.unwrap_or(0).max(self.delayed.len())
    }

    /// Number of offers in progress.
    #[cfg(test)]
    pub(crate) fn out(&self) -> usize {
        self.out.len()
    }

    /// Queues the items that are new in the store.
    pub(crate) fn gather(&mut self, base: &mut Base) {
        // Empty unless this is a full node.
        let changes = base.items.take_changes();
        if changes.is_empty() {
            return;
        }
        let most = base.cx.config.limits.offers;
        let mut over = false;
        for Change { target, from } in changes {
            match from {
                // A full node offers its items to all full nodes, so this node need not repeat it.
                ChangeFrom::Peer(peer) if base.peers.store.full_nodes().contains(&peer) => {}
                ChangeFrom::Peer(_) | ChangeFrom::Here => over |= self.enqueue(base, target),
                // Sessions find the items of an earlier run.
                ChangeFrom::Storage if base.loading.is_under_way() => {}
                ChangeFrom::Storage if self.delayed.len() < most => {
                    self.delayed.add(&mut base.cx, target);
                }
                ChangeFrom::Storage => over = true,
            }
        }
        if over {
            base.cx.hit(Limit::offers);
        }
        if !self.waiting.is_empty() {
            let at = base.cx.now.mono.plus(GATHER);
            base.cx.timers.set_earlier(Timer::Offer, at);
        }
        self.arm_delayed(base);
    }

    /// Queues a change for all known full nodes. Returns whether a queue was full.
    fn enqueue(&mut self, base: &Base, target: Target) -> bool {
        let most = base.cx.config.limits.offers;
        let mut over = false;
        for peer in base.peers.store.full_nodes() {
            let waiting = self.waiting.entry(*peer).or_default();
            if waiting.len() < most {
                waiting.insert(target);
            } else {
                over = true;
            }
        }
        over
    }

    fn arm_delayed(&self, base: &mut Base) {
        if let Some(at) = self.delayed.first() {
            base.cx.timers.set_earlier(Timer::Offer, at);
        }
    }

    /// Takes the announcement of a peer, which sends it to all full nodes that it knows.
    pub(crate) fn offered(&mut self, base: &Base, stamps: &[Stamp]) {
        let view = base.items.store.sync_view(base.cx.now);
        self.delayed.offered(&view, stamps);
    }

    /// Offers the queued items to each peer that has answered its previous offer.
    pub(crate) fn send(&mut self, base: &mut Base) {
        let mut over = false;
        while let Some(target) = self.delayed.pop(base.cx.now.mono) {
            over |= self.enqueue(base, target);
        }
        if over {
            base.cx.hit(Limit::offers);
        }
        self.arm_delayed(base);
        let busy: BTreeSet<PublicKey> = self.out.values().map(|out| out.peer).collect();
        let peers: Vec<PublicKey> = self.waiting.keys().copied().collect();
        for peer in peers {
            if busy.contains(&peer) {
                continue;
            }
            let mut targets = Vec::new();
            if let Some(waiting) = self.waiting.get_mut(&peer) {
                while targets.len() < MAX_IDS
                    && let Some(target) = waiting.pop_first()
                {
                    targets.push(target);
                }
                if waiting.is_empty() {
                    self.waiting.remove(&peer);
                }
            }
            self.offer(base, peer, &targets);
        }
    }

    fn offer(&mut self, base: &mut Base, peer: PublicKey, targets: &[Target]) {
        let view = base.items.store.sync_view(base.cx.now);
        let (mut stamps, mut offered) = (Vec::new(), Vec::new());
        for target in targets {
            let entry = view.entries(*target).next();
            if let Some((_, version)) = entry.filter(|(held, _)| held == target) {
                stamps.push(version.stamp(target));
                offered.push(*target);
            }
        }
        if stamps.is_empty() {
            return;
        }
        self.last += 1;
        let id = SyncId(self.last);
        let parts = Vec::from([RequestPart::Offer(stamps)]);
        if ask(base, peer, parts, CallTag::Offer(id)) {
            base.cx.counters.add(Counter::Offers, offered.len() as u64);
            let targets = offered;
            self.out.insert(id, OfferInFlight { peer, targets });
        }
    }

    /// Takes the answer to an offer, and gives the items that the peer requested.
    pub(crate) fn call_ended(&mut self, base: &mut Base, id: SyncId, ended: CallEnded) {
        let Some(OfferInFlight { peer, targets }) = self.out.remove(&id) else {
            return;
        };
        if self.waiting.contains_key(&peer) {
            base.cx.timers.set_earlier(Timer::Offer, base.cx.now.mono);
        }
        // A peer that is no longer a full node is given nothing.
        let answer = ended.result.ok().filter(announces_full_node);
        let Some(Response::Reconcile { message }) = answer.map(|message| message.response) else {
            return;
        };
        let Ok(response) = SyncResponse::decode(&message) else {
            return;
        };
        let [ResponsePart::Wanted(wanted)] = response.parts[..] else {
            return;
        };
        let view = base.items.store.sync_view(base.cx.now);
        let wanted = targets
            .iter()
            .enumerate()
            .filter(|(place, _)| wanted >> place & 1 == 1);
        let items = wanted.filter_map(|(_, target)| view.item(target));
        let mut parts: Vec<RequestPart> = items.map(RequestPart::Give).collect();
        // Full-size values may exceed one message; the next session finds the rest.
        parts.truncate(fitting(&parts));
        let given = parts.len() as u64;
        if !parts.is_empty() && ask(base, peer, parts, CallTag::Given) {
            base.cx.counters.add(Counter::SyncGiven, given);
        }
    }

    /// Stops offering. Items requested after offers in progress are still given.
    pub(crate) fn stop(&mut self) {
        self.waiting.clear();
        self.delayed.clear();
    }
}

/// Number of items that fit into one message.
pub(super) fn fitting(parts: &[RequestPart]) -> usize {
    let mut bytes = 0;
    let fits = parts.iter().take_while(|part| {
        if let RequestPart::Give((item, _)) = part {
            bytes += crate::sync::item_bytes(item) + 1;
        }
        bytes < crate::sync::MAX_SYNC_MESSAGE / 2
    });
    fits.count()
}

pub(super) fn ask(base: &mut Base, peer: PublicKey, parts: Vec<RequestPart>, tag: CallTag) -> bool {
    let message = SyncRequest {
        salt: [0; 8],
        parts,
    };
    let request = Request::Reconcile {
        message: message.encode(),
    };
    let peer = Candidate {
        key: peer,
        id: peer.id(),
        addr: None,
    };
    base.ask(peer, request, tag).is_some()
}
