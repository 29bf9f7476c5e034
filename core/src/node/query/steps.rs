//! The steps of a query: which peer to ask, and what its answer means.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::item::{Item, Origin};
use crate::key::PublicKey;
use crate::lookup::{Candidate, OPEN_PER_PLACE, Step, Why};
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, JobId, OperationId, QueryId};
use crate::node::input::ReadPolicy;
use crate::node::items::stored_life;
use crate::node::measurements::Side;
use crate::node::outcome::Source;
use crate::node::output::{Event, HopResult};
use crate::node::peers::records::Dialect;
use crate::node::query::action::{Action, Outbox, Unverified};
use crate::node::query::get::Get;
use crate::node::query::{FILLED, Queries, Query, QueryKind};
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::node::verify::Verdict;
use crate::store::StoredItem;
use crate::wire::{PeerList, Request, Response, Want, WireItem};

/// Number of full nodes nearest to the target to which a put also gives its item.
const FULL_NODES: usize = 2;
/// Number of candidates to which a lookup is widened if the nearest are suspiciously dense.
const WIDENED: usize = 64;

impl Queries {
    /// Takes the result of a lookup step's call.
    pub(crate) fn step_ended(&mut self, base: &mut Base, id: QueryId, ended: CallEnded) {
        let Some(query) = self.running.get_mut(&id) else {
            return;
        };
        query.calls.remove(&ended.id);
        query.alone_until = None;
        query.on_step(base, id, ended);
        self.advance(base, id);
    }

    /// Takes the result of a put's call; `step` if it is also a step of the lookup.
    pub(crate) fn replica_ended(
        &mut self,
        base: &mut Base,
        id: QueryId,
        step: bool,
        ended: CallEnded,
    ) {
        let Some(query) = self.running.get_mut(&id) else {
            return;
        };
        query.calls.remove(&ended.id);
        let peer = ended.peer;
        if let QueryKind::Put(put) = &mut query.kind {
            let mut out = Outbox::new();
            let result = ended.result.as_ref().map_err(|failure| *failure);
            put.on_answer(&peer, ended.repeated, result, &mut out);
            if result.is_ok() {
                base.cx.measured.replicas_asked += 1;
            }
            if let Some(refusal) = put.refusal(&peer.id) {
                let refused = (Side::Outbound, refusal);
                base.cx.measured.refusals.count(refused);
            }
            query.run(base, id, out);
        }
        if step {
            match ended.result {
                Ok(message) => {
                    let closest = message.ext.map(|ext| ext.closest).unwrap_or_default();
                    query.learn(base, &peer, closest, false);
                }
                Err(_) => query.lookup.failed(&peer.id),
            }
        }
        self.advance(base, id);
    }

    /// Takes the verdict on an item that a read returned.
    pub(crate) fn verified(&mut self, base: &mut Base, id: QueryId, job: JobId, verdict: &Verdict) {
        let Some(query) = self.running.get_mut(&id) else {
            return;
        };
        if let QueryKind::Get(get) = &mut query.kind {
            let mut out = Outbox::new();
            get.on_verdict(job, verdict.is_ok(), base.cx.now.mono, &mut out);
            query.run(base, id, out);
        }
        self.advance(base, id);
    }
}

impl Query {
    pub(super) fn is_complete(&self, base: &Base) -> bool {
        let config = &base.cx.config;
        match &self.kind {
            QueryKind::Get(get) => get.is_complete(self.converged.is_some()),
            QueryKind::Put(put) => {
                self.converged.is_some() && put.is_complete(config.k, base.cx.now.mono)
            }
            QueryKind::Nodes | QueryKind::Neighbourhood { .. } | QueryKind::Bucket(_) => {
                self.converged.is_some()
            }
            QueryKind::Fill(index) => {
                let peers = base.peers.table.peers_in(*index);
                self.converged.is_some() || peers >= FILLED.min(config.k)
            }
        }
    }

    pub(super) fn step(&mut self, base: &mut Base, id: QueryId) {
        let now = base.cx.now.mono;
        while self.converged.is_none() {
            // The pending verdict decides whether another peer has to be asked.
            if matches!(&self.kind, QueryKind::Get(get) if get.awaits_deciding_verdict()) {
                return;
            }
            if let Some(until) = self.alone_until {
                if now < until {
                    return base.cx.timers.set(Timer::Query(id), until);
                }
                self.alone_until = None;
            }
            let store = &base.peers.store;
            let expected = |peer: &Candidate| store.expected(&peer.key, now);
            match self.lookup.next(now, expected) {
                Step::Ask(peer) => self.ask(base, id, peer),
                Step::Wait(at) => return base.cx.timers.set(Timer::Query(id), at),
                Step::Done(why) => self.lookup_done(base, id, why == Why::Converged),
            }
        }
    }

    fn ask(&mut self, base: &mut Base, id: QueryId, peer: Candidate) {
        let now = base.cx.now.mono;
        let store = &base.peers.store;
        let expected = store.expected(&peer.key, now);
        // A peer that is not expected to answer is asked in addition to the window; only so many
        // are, and only while few of its calls are pending.
        let many = self.lookup.counts().open >= base.cx.config.alpha * OPEN_PER_PLACE
            || store.has_too_many_calls(&peer.key);
        if store.is_paused(&peer.key, now) || (expected.is_none() && many) {
            return self.lookup.failed(&peer.id);
        }
        let (target, tag) = (self.target, CallTag::Step(id));
        let call = match &self.kind {
            QueryKind::Get(get) => {
                if get.request.policy == ReadPolicy::FirstValid && self.requests == 0 {
                    self.alone_until = expected.map(|soft| now.plus(soft));
                }
                base.ask(peer, Request::GetValue { target }, tag)
            }
            QueryKind::Put(_) if self.may_store_immediately(base, &peer) => {
                self.store_at(base, id, &peer, true, false)
            }
            _ => base.ask(peer, Request::FindNode { target }, tag),
        };
        if self.note_call(call) {
            self.hop(base, &peer, HopResult::Asked);
        } else {
            self.lookup.failed(&peer.id);
        }
    }

    /// Whether a candidate that has not been asked may be given the item: if it supports our
    /// extensions, one answer carries both its verdict and its nearest peers.
    fn may_store_immediately(&self, base: &Base, peer: &Candidate) -> bool {
        base.peers.store.dialect(&peer.key) == Dialect::Skydht && self.is_within_radius(base, peer)
    }

    /// Whether `peer` is so near to the target that it is probably one of the k nearest.
    fn is_within_radius(&self, base: &Base, peer: &Candidate) -> bool {
        let radius = base.peers.table.expected_radius(base.cx.config.k);
        self.target.distance(&peer.id).high() <= radius
    }

    /// Sends the item of a put to a peer, unless it was asked before.
    fn store_at(
        &mut self,
        base: &mut Base,
        id: QueryId,
        peer: &Candidate,
        step: bool,
        whole: bool,
    ) -> Option<CallId> {
        let QueryKind::Put(put) = &mut self.kind else {
            return None;
        };
        if put.has_asked(&peer.id) {
            return None;
        }
        let mut ext = base.cx.request_ext();
        let dialect_is_ours = base.peers.store.dialect(&peer.key) == Dialect::Skydht;
        let request = put.request(dialect_is_ours && !whole, step);
        if matches!(request, Request::PutValue { .. }) {
            ext.bind = put.bind();
            if put.item().key != base.cx.public {
                ext.life = base.items.carried_life(base.cx.now, put.item());
            }
            if step {
                ext.want = Want::Peers;
            }
        }
        let tag = CallTag::Replica { query: id, step };
        let call = base.ask_with(*peer, request, ext, tag)?;
        let (store, now) = (&base.peers.store, base.cx.now.mono);
        let patience = match store.expected(&peer.key, now) {
            Some(_) => store.patience(&peer.key),
            None => Duration::ZERO,
        };
        put.asked(peer.id, now.plus(patience));
        Some(call)
    }

    /// Ends the lookup of a query, or widens it.
    fn lookup_done(&mut self, base: &mut Base, id: QueryId, converged: bool) {
        if !self.widened && self.is_too_dense(base) {
            self.widened = true;
            base.cx.counters.count(Counter::LookupsWidened);
            return self.lookup.widen(WIDENED);
        }
        let k = base.cx.config.k;
        if matches!(self.kind, QueryKind::Neighbourhood { .. }) && self.has_found_strangers(base) {
            return self.lookup.widen(k);
        }
        self.converged = Some(converged);
        if !converged {
            base.cx.counters.count(Counter::LookupsUnconverged);
        }
        if let QueryKind::Put(_) = self.kind {
            let closest = self.lookup.answered_closest().copied();
            for peer in closest.collect::<Vec<_>>() {
                let call = self.store_at(base, id, &peer, false, false);
                self.note_call(call);
            }
            // Full nodes announce the item to all other full nodes, however distant these are.
            let mut full_nodes = 0;
            for peer in base.nearest_full_nodes(&self.target, FULL_NODES) {
                let call = self.store_at(base, id, &peer, false, false);
                full_nodes += usize::from(self.note_call(call));
            }
            if let QueryKind::Put(put) = &mut self.kind {
                put.asked_full_nodes(full_nodes);
            }
        }
    }

    /// Whether an ended self-lookup left an unknown peer among the k nearest.
    fn has_found_strangers(&self, base: &Base) -> bool {
        let k = base.cx.config.k;
        let mut unasked = self.lookup.unasked_among_closest(k);
        self.lookup.width() < k && unasked.any(|peer| base.peers.table.get(&peer.id).is_none())
    }

    /// Whether the k nearest peers that answered are closer together than the size of the network
    /// allows, as when keys are ground around a target (an eclipse attack).
    fn is_too_dense(&self, base: &Base) -> bool {
        let k = base.cx.config.k;
        let kth = self.lookup.answered_closest().nth(k - 1);
        kth.is_some_and(|kth| {
            let distance = self.target.distance(&kth.id);
            base.peers.table.denser_than_expected(k, &distance)
        })
    }

    fn on_step(&mut self, base: &mut Base, id: QueryId, ended: CallEnded) {
        let peer = ended.peer;
        let Ok(message) = ended.result else {
            self.lookup.failed(&peer.id);
            return self.hop(base, &peer, HopResult::Failed);
        };
        match message.response {
            Response::FindNode { closest } => {
                self.learn(base, &peer, closest, false);
                if let QueryKind::Put(_) = self.kind
                    && self.lookup.is_among_closest(&peer.id, base.cx.config.k)
                    && self.is_within_radius(base, &peer)
                {
                    let call = self.store_at(base, id, &peer, false, false);
                    self.note_call(call);
                }
            }
            Response::GetValue { item, closest } => {
                self.learn(base, &peer, closest, item.is_some());
                let QueryKind::Get(get) = &mut self.kind else {
                    return;
                };
                let Some(item) = item.and_then(WireItem::into_item) else {
                    return get.on_no_item();
                };
                let answer = Unverified {
                    item,
                    life: message.ext.as_ref().and_then(|ext| ext.life),
                    from: peer,
                };
                let (now, mirrors) = (base.cx.now, &base.cx.config.mirrors);
                let held = base
                    .items
                    .store
                    .get(now, &self.target)
                    .map(StoredItem::item);
                let mut out = Outbox::new();
                get.on_item(answer, mirrors, held, now.mono, &mut out);
                self.run(base, id, out);
            }
            _ => self.lookup.failed(&peer.id),
        }
    }

    /// Performs the actions of a read or a put.
    fn run(&mut self, base: &mut Base, id: QueryId, out: Outbox) {
        for action in out {
            match action {
                Action::Count(counter) => base.cx.counters.count(counter),
                Action::FirstValue { item, from } => {
                    if let Some(op) = self.op {
                        let origin = item.origin_at(&self.target);
                        first_value(&mut base.cx, op, (item, origin), from);
                    }
                }
                Action::Verify(answer) => {
                    if let QueryKind::Get(get) = &mut self.kind
                        && base.may_verify(&answer.from.key)
                    {
                        let item = answer.item.clone();
                        let job = base.verify_read(&answer.from.key, item, id);
                        get.verifying(job, answer);
                    }
                }
                Action::StoreWhole(peer) => {
                    let call = self.store_at(base, id, &peer, false, true);
                    self.note_call(call);
                }
            }
        }
    }

    /// Adds the peers of an answer to the lookup.
    fn learn(&mut self, base: &mut Base, from: &Candidate, closest: PeerList, item: bool) {
        base.peers.clocks.note(from.key, &closest, base.cx.now);
        let counters = &mut base.cx.counters;
        counters.add(Counter::InvalidKeys, closest.bad_keys.into());
        counters.add(Counter::NewcomersCut, closest.excess.into());
        let closer = closest.peers.into_iter();
        let closer = closer.filter_map(|peer| peer.key.map(|key| (peer.id, key, peer.addr)));
        let learned = self.lookup.answered(&from.id, closer);
        counters.add(Counter::LyingIds, learned.lying_ids.into());
        counters.add(Counter::NewcomersCut, learned.cut.into());
        let new = learned.new;
        self.hop(base, from, HopResult::Answered { new, item });
    }

    fn hop(&self, base: &mut Base, peer: &Candidate, result: HopResult) {
        if let Some(op) = self.op {
            let peer = peer.key;
            base.cx.event(Event::Hop { op, peer, result });
        }
    }
}

/// Reads from this node's own store, or from its cache if the policy allows. Returns whether that
/// completes the read.
pub(crate) fn ask_local(base: &mut Base, op: OperationId, get: &mut Get) -> bool {
    let (now, mirrors) = (base.cx.now, &base.cx.config.mirrors);
    let (target, policy) = (get.request.target, get.request.policy);
    let mut out = Outbox::new();
    let held = base.items.store.get(now, &target);
    if let Some(held) = held.filter(|held| get.is_wanted(held.item(), mirrors)) {
        let life = stored_life(held, now);
        get.on_local(held.item(), life, Source::Store, now.mono, &mut out);
    } else if policy == ReadPolicy::FirstValid
        && let Some((item, life)) = base.items.cache.get(&target, now.mono)
        && get.is_wanted(&item, mirrors)
    {
        get.on_local(&item, life, Source::Cache, now.mono, &mut out);
    }
    for action in out {
        if let Action::FirstValue { item, from } = action {
            let origin = item.origin_at(&target);
            first_value(&mut base.cx, op, (item, origin), from);
        }
    }
    policy == ReadPolicy::Local || get.is_complete(false)
}

/// Reports a first value to the caller of a read.
fn first_value(
    cx: &mut Context,
    op: OperationId,
    (item, origin): (Arc<Item>, Origin),
    from: Option<PublicKey>,
) {
    cx.event(Event::FirstValue {
        op,
        item,
        origin,
        from,
    });
}
