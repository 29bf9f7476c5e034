//! Queries: a lookup with a purpose. Each ends in an [`Ended`] for its initiator.

pub(crate) mod action;
pub(crate) mod get;
pub(crate) mod put;
pub(crate) mod steps;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::lookup::{Candidate, Lookup, LookupParams};
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, OperationId, PutMode, QueryId, StopReason};
use crate::node::items::placed::Placed;
use crate::node::measurements::Task;
use crate::node::outcome::LookupStats;
use crate::node::output::Event;
use crate::node::peers::records::Dialect;
use crate::node::query::get::{Get, Version};
use crate::node::query::put::Put;
use crate::node::timers::Timer;
use crate::routing::Contact;
use crate::store::{Candidate as StoreCandidate, Via};
use crate::time::Mono;
use crate::wire::{Life, Request};

/// Number of peers at which a lookup to fill a bucket ends.
const FILLED: usize = 8;
/// Maximum number of holders repaired by one get.
const REPAIRS_PER_GET: usize = 3;

/// The purpose of a query.
pub(crate) enum QueryKind {
    /// Find the nearest nodes, for a user.
    Nodes,
    /// A self-lookup that asks the `width` nearest peers, and the rest of the k nearest only if
    /// those name an unknown peer among them.
    Neighbourhood { width: usize },
    /// Refresh a stale bucket.
    Bucket(u8),
    /// Fill a sparse bucket.
    Fill(u8),
    /// Read an item.
    Get(Box<Get>),
    /// Publish or renew an item.
    Put(Box<Put>),
}

/// A running query.
pub(crate) struct Query {
    pub(crate) kind: QueryKind,
    pub(crate) op: Option<OperationId>,
    pub(crate) target: Target,
    lookup: Lookup,
    pub(crate) started: Mono,
    /// Set when the lookup has ended, to whether it converged. Replicas or verifications may be
    /// pending.
    converged: Option<bool>,
    widened: bool,
    /// Time until which `FirstValid` waits for the nearest peer alone.
    alone_until: Option<Mono>,
    /// Calls in progress.
    calls: BTreeSet<CallId>,
    requests: u16,
}

impl Query {
    /// Creates a query that asks no peer, to end it immediately.
    pub(crate) fn idle(
        cx: &Context,
        kind: QueryKind,
        op: OperationId,
        target: Target,
        started: Mono,
    ) -> Box<Self> {
        let lookup = Lookup::new(target, lookup_params(cx), [], cx.id);
        let mut query = Self::new(kind, Some(op), lookup, target, started);
        query.converged = Some(false);
        Box::new(query)
    }

    fn new(
        kind: QueryKind,
        op: Option<OperationId>,
        lookup: Lookup,
        target: Target,
        started: Mono,
    ) -> Self {
        Self {
            kind,
            op,
            target,
            lookup,
            started,
            converged: None,
            widened: false,
            alone_until: None,
            calls: BTreeSet::new(),
            requests: 0,
        }
    }

    pub(crate) fn stats(&self, now: Mono) -> LookupStats {
        let counts = self.lookup.counts();
        LookupStats {
            answered: u16::try_from(counts.answered).unwrap_or(u16::MAX),
            failed: u16::try_from(counts.failed).unwrap_or(u16::MAX),
            requests: self.requests,
            hops: self.lookup.hops(),
            converged: self.converged.unwrap_or(false),
            elapsed: now.since(self.started),
        }
    }

    /// The nearest peers that answered.
    pub(crate) fn answered_closest(&self) -> impl Iterator<Item = &Candidate> {
        self.lookup.answered_closest()
    }

    /// Records a call. Returns false if none was started.
    fn note_call(&mut self, call: Option<CallId>) -> bool {
        call.is_some_and(|call| {
            self.requests = self.requests.saturating_add(1);
            self.calls.insert(call)
        })
    }
}

/// A query that has ended, and the reason.
pub(crate) struct Ended {
    pub(crate) query: Box<Query>,
    pub(crate) reason: StopReason,
}

/// The running queries.
#[derive(Default)]
pub(crate) struct Queries {
    /// Boxed: a tree node has room for eleven, and most nodes run one query or none.
    running: BTreeMap<QueryId, Box<Query>>,
    last: u64,
    /// Ended queries whose initiators have not been informed.
    ended: VecDeque<Ended>,
}

impl Queries {
    /// The number that the next query will get. A query may end while it is started, so the
    /// initiator records its number before.
    pub(crate) fn next_id(&self) -> QueryId {
        QueryId(self.last + 1)
    }

    pub(crate) fn ids(&self) -> Vec<QueryId> {
        self.running.keys().copied().collect()
    }

    /// Returns the next ended query.
    pub(crate) fn pop_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    pub(crate) fn is_self_lookup(&self, id: QueryId) -> bool {
        let query = self.running.get(&id);
        query.is_some_and(|query| matches!(query.kind, QueryKind::Neighbourhood { .. }))
    }

    /// Starts a query and performs its first steps.
    pub(crate) fn start(
        &mut self,
        base: &mut Base,
        kind: QueryKind,
        op: Option<OperationId>,
        target: Target,
        started: Mono,
    ) {
        let id = self.next_id();
        self.last = id.0;
        if let Some(index) = base.peers.table.bucket_of(&target) {
            base.peers.table.refreshed(index, base.cx.now.mono);
        }
        let seeds = seeds(base, &target);
        base.cx.counters.count(Counter::Lookups);
        let mut params = lookup_params(&base.cx);
        params.k = match kind {
            QueryKind::Neighbourhood { width } => width,
            QueryKind::Fill(_) => params.k.min(FILLED),
            _ => params.k,
        };
        let lookup = Lookup::new(target, params, seeds, base.cx.id);
        let query = Query::new(kind, op, lookup, target, started);
        self.running.insert(id, Box::new(query));
        self.advance(base, id);
    }

    /// Starts renewing an own item on behalf of the node.
    pub(crate) fn renew(&mut self, base: &mut Base, placed: Placed, mode: PutMode) {
        base.cx.counters.count(Counter::Renewals);
        let started = base.cx.now.mono;
        base.cx.measured.task_started(Task::Renewal, started);
        let target = placed.target;
        let put = Box::new(Put::new(placed, mode, 1, true));
        let now = base.cx.now.mono;
        self.start(base, QueryKind::Put(put), None, target, now);
    }

    /// Starts a lookup in each of these buckets.
    pub(crate) fn look_up_buckets(
        &mut self,
        base: &mut Base,
        buckets: &[u8],
        kind: fn(u8) -> QueryKind,
    ) {
        let now = base.cx.now.mono;
        for index in buckets {
            let bytes = base.cx.random.refresh.bytes();
            let target = base.peers.table.random_target_in(*index, bytes);
            // Recorded now, so that a failing lookup does not recur immediately.
            base.peers.table.refreshed(*index, now);
            self.start(base, kind(*index), None, target, now);
        }
    }

    /// Performs as many steps as the window allows, and ends the query if nothing is left to do.
    pub(crate) fn advance(&mut self, base: &mut Base, id: QueryId) {
        let Some(mut query) = self.running.remove(&id) else {
            return;
        };
        base.cx.timers.cancel(Timer::Query(id));
        if !query.is_complete(base) {
            query.step(base, id);
        }
        if query.is_complete(base) {
            return self.end(base, query, StopReason::Done);
        }
        if let (QueryKind::Put(put), Some(_)) = (&query.kind, query.converged)
            && let Some(until) = put.patience().filter(|until| *until > base.cx.now.mono)
        {
            base.cx.timers.set(Timer::Query(id), until);
        }
        self.running.insert(id, query);
    }

    /// Ends a query early.
    pub(crate) fn stop(&mut self, base: &mut Base, id: QueryId, reason: StopReason) {
        if let Some(query) = self.running.remove(&id) {
            base.cx.timers.cancel(Timer::Query(id));
            self.end(base, query, reason);
        }
    }

    /// Ends a query in any state. If it is done, its calls continue, so that silent peers are
    /// noticed; otherwise they are cancelled.
    pub(crate) fn end(&mut self, base: &mut Base, query: Box<Query>, reason: StopReason) {
        if reason != StopReason::Done {
            for call in &query.calls {
                base.abandon(*call);
            }
        }
        if reason == StopReason::Done && query.requests > 0 {
            let measured = &mut base.cx.measured;
            let hops = u64::from(query.lookup.hops());
            measured.lookup_hops.observe(hops);
            let requests = u64::from(query.requests);
            measured.lookup_requests.observe(requests);
        }
        match &query.kind {
            QueryKind::Nodes | QueryKind::Neighbourhood { .. } => {}
            QueryKind::Bucket(index) | QueryKind::Fill(index) => {
                let now = base.cx.now.mono;
                if reason == StopReason::Done && query.lookup.counts().answered > 0 {
                    base.cx.measured.task_succeeded(Task::Refresh, now);
                }
                return base.peers.table.refreshed(*index, now);
            }
            QueryKind::Get(get) => {
                if let (StopReason::Done, Some(best)) = (reason, get.best())
                    && best.is_owners()
                {
                    query.keep(base, best);
                    query.repair(base, best);
                }
            }
            QueryKind::Put(put) => {
                let acknowledged = put.count().acknowledged();
                let (cx, target) = (&mut base.cx, query.target);
                let replicas = &mut cx.measured.put_replicas;
                replicas.observe(u64::from(acknowledged));
                if put.item().key == cx.public {
                    let own = &mut base.items.own;
                    own.published(cx, &target, acknowledged, put.go_holders);
                }
                if query.op.is_none() {
                    if acknowledged > 0 {
                        let now = cx.now.mono;
                        cx.measured.task_succeeded(Task::Renewal, now);
                    }
                    if acknowledged == 0 && reason == StopReason::Done {
                        let seq = put.item().seq;
                        cx.event(Event::RenewalFailed { target, seq });
                    }
                    return;
                }
            }
        }
        self.ended.push_back(Ended { query, reason });
    }
}

impl Query {
    /// Caches the result of a read, and stores it if this node is among the nearest or a full node.
    fn keep(&self, base: &mut Base, best: &Version) {
        let item = &best.item;
        let life = best.life.unwrap_or(Life {
            age: Duration::ZERO,
            left: Duration::MAX,
        });
        if !item.reads_as_deleted() {
            let (cache, now) = (&mut base.items.cache, base.cx.now.mono);
            cache.put(self.target, item.clone(), life, now);
        }
        let Some(from) = best.from else { return };
        let nearer = base.nearer(&self.target);
        let config = &base.cx.config;
        let is_among_nearest = self.converged == Some(true) && nearer < config.k;
        if !config.serve || !(config.full_node || is_among_nearest) {
            return;
        }
        let candidate = StoreCandidate {
            target: self.target,
            item: item.clone(),
            via: Via::Pulled(from),
            life: Some(life),
            bound: None,
        };
        let _ = base.items.admit(&mut base.cx, candidate, nearer);
    }

    /// Sends the item to stale holders: owner items only, at most three per get, once per target
    /// and peer within TTL/4, with the remaining lifetime, and never to Go nodes if less than TTL/2
    /// is left.
    fn repair(&self, base: &mut Base, best: &Version) {
        let ttl = base.cx.config.item_ttl;
        let now = base.cx.now.mono;
        let old = best.life.is_none_or(|life| life.left < ttl / 2);
        let mut sent = 0;
        let lagging = self.lookup.answered_closest();
        for peer in lagging.filter(|peer| !best.holders.contains(&peer.id)) {
            if sent == REPAIRS_PER_GET {
                break;
            }
            if old && base.peers.store.dialect(&peer.key) != Dialect::Skydht {
                continue;
            }
            let repaired = &mut base.items.repaired;
            if !repaired.note(self.target, peer.id, now, ttl / 4) {
                continue;
            }
            let mut ext = base.cx.request_ext();
            ext.life = best.life;
            let request = Request::PutValue {
                item: (&best.item).into(),
                mirror_target: None,
            };
            let call = base.ask_with(*peer, request, ext, CallTag::Repair);
            if call.is_some() {
                base.cx.counters.count(Counter::Repairs);
                sent += 1;
            }
        }
    }
}

/// The peers where a lookup starts: the nearest live ones, or any if there are too few.
fn seeds(base: &Base, target: &Target) -> Vec<Candidate> {
    let (table, config) = (&base.peers.table, &base.cx.config);
    let n = config.k.max(config.alpha);
    let seed = |contact: &Contact| Candidate {
        key: contact.key,
        id: contact.id,
        addr: contact.addr,
    };
    let live = table.closest_where(target, n, Contact::is_live);
    let mut seeds: Vec<_> = live.map(seed).collect();
    if seeds.len() < config.alpha {
        seeds = table.closest(target, n).map(seed).collect();
    }
    seeds
}

fn lookup_params(cx: &Context) -> LookupParams {
    let (config, limits) = (&cx.config, &cx.config.limits);
    LookupParams {
        k: config.k,
        alpha: config.alpha,
        disjoint_paths: config.disjoint_paths,
        newcomers_per_answer: limits.newcomers_per_answer,
        max_candidates: limits.lookup_candidates,
        hard_deadline: config.hard_deadline,
    }
}
