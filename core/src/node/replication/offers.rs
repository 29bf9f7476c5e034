//! Offers: what a full node was given by others than full nodes is announced to the full nodes that
//! it knows, in short, and given to those that want it. What gets lost is found by the next session.

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
use crate::node::replication::later::Later;
use crate::node::replication::sessions::says_full;
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::sync::{
    Entries, MAX_IDS, RequestPart, ResponsePart, Source, Stamp, SyncRequest, SyncResponse,
};
use crate::wire::{Request, Response};

/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(20);

/// An offer that is out.
struct Out {
    peer: PublicKey,
    targets: Vec<Target>,
}

/// What is to be offered, and to whom.
#[derive(Default)]
pub(crate) struct Offers {
    waiting: BTreeMap<PublicKey, BTreeSet<Target>>,
    /// What another node that shares the storage may announce before this one.
    later: Later,
    out: BTreeMap<SyncId, Out>,
    last: u64,
}

impl Offers {
    /// How many changes wait for the peer for whom most wait, or for their time.
    pub(crate) fn most_waiting(&self) -> usize {
        let most = self.waiting.values().map(BTreeSet::len).max();
        most.unwrap_or(0).max(self.later.len())
    }

    /// Offers whose answers are awaited.
    #[cfg(test)]
    pub(crate) fn out(&self) -> usize {
        self.out.len()
    }

    /// Takes up what is new in the store.
    pub(crate) fn gather(&mut self, base: &mut Base) {
        // Only a full node notes any.
        let changes = base.items.take_changes();
        if changes.is_empty() {
            return;
        }
        let most = base.cx.config.limits.offers;
        let mut over = false;
        for Change { target, from } in changes {
            match from {
                // A node that has it from a full node is not the only one that it was offered to.
                ChangeFrom::Peer(peer) if base.peers.store.full_nodes().contains(&peer) => {}
                ChangeFrom::Peer(_) | ChangeFrom::Here => over |= self.wait(base, target),
                // What an earlier run left is found by sessions.
                ChangeFrom::Storage if base.loading.is_under_way() => {}
                ChangeFrom::Storage if self.later.len() < most => {
                    self.later.add(&mut base.cx, target);
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
        self.arm_later(base);
    }

    /// Has a change offered to all full nodes that are known; returns whether it is too many for one.
    fn wait(&mut self, base: &Base, target: Target) -> bool {
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

    fn arm_later(&self, base: &mut Base) {
        if let Some(at) = self.later.first() {
            base.cx.timers.set_earlier(Timer::Offer, at);
        }
    }

    /// A peer has announced these versions, as it does to all full nodes that it knows.
    pub(crate) fn offered(&mut self, base: &Base, stamps: &[Stamp]) {
        let view = base.items.store.sync_view(base.cx.now);
        self.later.offered(&view, stamps);
    }

    /// Offers what is waiting, to each peer that has answered the offer before.
    pub(crate) fn send(&mut self, base: &mut Base) {
        let mut over = false;
        while let Some(target) = self.later.pop(base.cx.now.mono) {
            over |= self.wait(base, target);
        }
        if over {
            base.cx.hit(Limit::offers);
        }
        self.arm_later(base);
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
            self.out.insert(id, Out { peer, targets });
        }
    }

    /// An offer was answered, or not: what is wanted is given.
    pub(crate) fn call_ended(&mut self, base: &mut Base, id: SyncId, ended: CallEnded) {
        let Some(Out { peer, targets }) = self.out.remove(&id) else {
            return;
        };
        if self.waiting.contains_key(&peer) {
            base.cx.timers.set_earlier(Timer::Offer, base.cx.now.mono);
        }
        // Who is no full node any more is given nothing.
        let answer = ended.result.ok().filter(says_full);
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
        // Values of full size are too many for one message at times; the next session finds them.
        parts.truncate(fitting(&parts));
        let given = parts.len() as u64;
        if !parts.is_empty() && ask(base, peer, parts, CallTag::Given) {
            base.cx.counters.add(Counter::SyncGiven, given);
        }
    }

    /// Nothing more is offered; what is wanted of offers that are out is still given.
    pub(crate) fn stop(&mut self) {
        self.waiting.clear();
        self.later.clear();
    }
}

/// How many items fit into a message.
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
