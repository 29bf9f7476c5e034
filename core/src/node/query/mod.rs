//! Searches: a lookup together with what it is for.

pub(crate) mod get;
pub(crate) mod put;
pub(crate) mod replicas;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::id::Target;
use crate::lookup::{Candidate, Lookup, LookupParams, OPEN_PER_PLACE, Step, Why};
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, OperationId, QueryId, StopReason};
use crate::node::input::ReadPolicy;
use crate::node::outcome::LookupStats;
use crate::node::output::{Event, HopResult, Output};
use crate::node::query::get::GetState;
use crate::node::query::replicas::PutState;
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::node::upkeep::fill::FILLED;
use crate::routing::Contact;
use crate::time::Mono;
use crate::wire::{PeerList, Request, Response, WireItem};

/// Candidates are widened to this many when the nearest are suspiciously dense.
const WIDENED: usize = 64;

/// What a search is for.
pub(crate) enum QueryKind {
    /// A user wants the nearest nodes.
    Nodes,
    /// The node's own neighbourhood, after joining and now and then.
    Neighbourhood,
    /// A stale bucket.
    Bucket(u8),
    /// A bucket with hardly any peer.
    Fill(u8),
    /// An item to read.
    Get(Box<GetState>),
    /// An item to publish or to renew.
    Put(Box<PutState>),
}

/// A search under way.
pub(crate) struct Query {
    pub(crate) goal: QueryKind,
    pub(crate) op: Option<OperationId>,
    pub(crate) target: Target,
    pub(crate) lookup: Lookup,
    pub(crate) started: Mono,
    /// The lookup is over; replicas or verifications may be outstanding.
    pub(crate) converged: Option<bool>,
    pub(crate) widened: bool,
    /// `FirstValid` asks the nearest alone until this moment.
    pub(crate) alone_until: Option<Mono>,
    pub(crate) calls: QueryCalls,
}

/// The calls of a search.
#[derive(Default)]
pub(crate) struct QueryCalls {
    out: BTreeSet<CallId>,
    made: u16,
}

impl QueryCalls {
    /// Notes a call that was made; false when there was none.
    pub(crate) fn note(&mut self, call: Option<CallId>) -> bool {
        call.is_some_and(|call| {
            self.made = self.made.saturating_add(1);
            self.out.insert(call)
        })
    }

    pub(crate) fn ended(&mut self, call: CallId) {
        self.out.remove(&call);
    }
}

impl Query {
    pub(crate) fn stats(&self, now: Mono) -> LookupStats {
        let counts = self.lookup.counts();
        LookupStats {
            answered: u16::try_from(counts.answered).unwrap_or(u16::MAX),
            failed: u16::try_from(counts.failed).unwrap_or(u16::MAX),
            requests: self.calls.made,
            hops: self.lookup.hops(),
            converged: self.converged.unwrap_or(false),
            elapsed: now.since(self.started),
        }
    }
}

impl Node {
    /// Starts a search and takes its first steps.
    pub(crate) fn start_query(
        &mut self,
        goal: QueryKind,
        op: Option<OperationId>,
        target: Target,
        started: Mono,
    ) -> QueryId {
        let id = self.next_query_id();
        self.next_query += 1;
        if let Some(index) = self.base.peers.table.bucket_of(&target) {
            self.base
                .peers
                .table
                .refreshed(index, self.base.cx.now.mono);
        }
        let seeds = self.seeds(&target);
        self.base.cx.counters.count(Counter::Lookups);
        let mut params = self.lookup_params();
        params.k = self.lookup_width(&goal);
        let search = Query {
            goal,
            op,
            target,
            lookup: Lookup::new(target, params, seeds, self.base.cx.id),
            started,
            converged: None,
            widened: false,
            alone_until: None,
            calls: QueryCalls::default(),
        };
        self.queries.insert(id, Box::new(search));
        self.advance_query(id);
        id
    }

    /// The number that the next search gets.
    pub(crate) fn next_query_id(&self) -> QueryId {
        QueryId(self.next_query + 1)
    }

    /// Where a lookup starts: the nearest live peers, or whoever there is.
    fn seeds(&self, target: &Target) -> Vec<Candidate> {
        let n = self.base.cx.config.k.max(self.base.cx.config.alpha);
        let seed = |contact: &Contact| Candidate {
            key: contact.key,
            id: contact.id,
            addr: contact.addr,
        };
        let mut seeds: Vec<_> = self
            .base
            .peers
            .table
            .closest_where(target, n, Contact::is_live)
            .map(seed)
            .collect();
        if seeds.len() < self.base.cx.config.alpha {
            seeds = self.base.peers.table.closest(target, n).map(seed).collect();
        }
        seeds
    }

    pub(crate) fn lookup_params(&self) -> LookupParams {
        let limits = &self.base.cx.config.limits;
        LookupParams {
            k: self.base.cx.config.k,
            alpha: self.base.cx.config.alpha,
            disjoint_paths: self.base.cx.config.disjoint_paths,
            newcomers_per_answer: limits.newcomers_per_answer,
            max_candidates: limits.lookup_candidates,
            hard_deadline: self.base.cx.config.hard_deadline,
        }
    }

    /// How many of the nearest a lookup is to find.
    fn lookup_width(&self, goal: &QueryKind) -> usize {
        match goal {
            QueryKind::Neighbourhood => self.self_lookup_width(),
            QueryKind::Fill(_) => self.base.cx.config.k.min(FILLED),
            _ => self.base.cx.config.k,
        }
    }

    /// Takes as many steps as the window allows; ends the search when nothing is left to do.
    pub(crate) fn advance_query(&mut self, id: QueryId) {
        let Some(mut search) = self.queries.remove(&id) else {
            return;
        };
        self.base.cx.timers.cancel(Timer::Query(id));
        if !self.is_query_complete(&search) {
            self.step_query(id, &mut search);
        }
        if self.is_query_complete(&search) {
            return self.end_query(id, search, StopReason::Done);
        }
        if let (QueryKind::Put(state), Some(_)) = (&search.goal, search.converged)
            && let Some(until) = state
                .patience()
                .filter(|until| *until > self.base.cx.now.mono)
        {
            self.base.cx.timers.set(Timer::Query(id), until);
        }
        self.queries.insert(id, search);
    }

    fn step_query(&mut self, id: QueryId, search: &mut Query) {
        let now = self.base.cx.now.mono;
        while search.converged.is_none() {
            // The verdict on what was found decides whether anybody else has to be asked.
            if matches!(&search.goal, QueryKind::Get(state) if state.may_be_met_by_a_verdict()) {
                return;
            }
            if let Some(until) = search.alone_until {
                if now < until {
                    self.base.cx.timers.set(Timer::Query(id), until);
                    return;
                }
                search.alone_until = None;
            }
            let book = &self.base.peers.store;
            match search
                .lookup
                .next(now, |peer| book.expected(&peer.key, now))
            {
                Step::Ask(peer) => self.ask(id, search, peer),
                Step::Wait(at) => {
                    self.base.cx.timers.set(Timer::Query(id), at);
                    return;
                }
                Step::Done(why) => self.lookup_done(id, search, why == Why::Converged),
            }
        }
    }

    fn ask(&mut self, id: QueryId, search: &mut Query, peer: Candidate) {
        let now = self.base.cx.now.mono;
        let expected = self.base.peers.store.expected(&peer.key, now);
        // Whoever is not expected to answer is asked beside the others, but only so many are, and
        // only so often.
        let many = search.lookup.counts().open >= self.base.cx.config.alpha * OPEN_PER_PLACE
            || self.base.peers.store.owes_much(&peer.key);
        if self.base.peers.store.is_paused(&peer.key, now) || (expected.is_none() && many) {
            search.lookup.failed(&peer.id);
            return;
        }
        let call = match &mut search.goal {
            QueryKind::Nodes
            | QueryKind::Neighbourhood
            | QueryKind::Bucket(_)
            | QueryKind::Fill(_) => self.ask_nodes(id, search.target, peer),
            QueryKind::Get(state) => {
                if state.request.policy == ReadPolicy::FirstValid && search.calls.made == 0 {
                    search.alone_until = expected.map(|soft| now.plus(soft));
                }
                let request = Request::GetValue {
                    target: search.target,
                };
                self.base.ask(peer, request, CallTag::Step(id))
            }
            QueryKind::Put(state) => {
                if self.may_store_at_once(search.target, &peer) {
                    self.store_at(id, state, &peer, true)
                } else {
                    self.ask_nodes(id, search.target, peer)
                }
            }
        };
        if !search.calls.note(call) {
            search.lookup.failed(&peer.id);
            return;
        }
        self.hop(search.op, &peer, HopResult::Asked);
    }

    fn ask_nodes(&mut self, id: QueryId, target: Target, peer: Candidate) -> Option<CallId> {
        let request = Request::FindNode { target };
        self.base.ask(peer, request, CallTag::Step(id))
    }

    /// The lookup of a search is over: widen it, or go on to what comes after.
    fn lookup_done(&mut self, id: QueryId, search: &mut Query, converged: bool) {
        if !search.widened && self.is_too_dense(search) {
            search.widened = true;
            self.base.cx.counters.count(Counter::LookupsWidened);
            search.lookup.widen(WIDENED);
            return;
        }
        if matches!(search.goal, QueryKind::Neighbourhood)
            && self.has_found_strangers(&search.lookup)
        {
            return search.lookup.widen(self.base.cx.config.k);
        }
        search.converged = Some(converged);
        if !converged {
            self.base.cx.counters.count(Counter::LookupsUnconverged);
        }
        if let QueryKind::Put(state) = &mut search.goal {
            let closest: Vec<Candidate> = search.lookup.answered_closest().copied().collect();
            for peer in closest {
                if !state.has_asked(&peer.id) {
                    search.calls.note(self.store_at(id, state, &peer, false));
                }
            }
        }
    }

    /// Whether the k nearest that answered lie closer together than the size of the network
    /// allows, as they do when somebody grinds keys around one target (an eclipse).
    fn is_too_dense(&self, search: &Query) -> bool {
        let k = self.base.cx.config.k;
        search
            .lookup
            .answered_closest()
            .nth(k - 1)
            .is_some_and(|kth| {
                self.base
                    .peers
                    .table
                    .denser_than_expected(k, &search.target.distance(&kth.id))
            })
    }

    fn is_query_complete(&self, search: &Query) -> bool {
        match &search.goal {
            QueryKind::Get(state) => state.is_complete(search.converged.is_some()),
            QueryKind::Put(state) => {
                let now = self.base.cx.now.mono;
                search.converged.is_some() && state.is_complete(self.base.cx.config.k, now)
            }
            QueryKind::Nodes | QueryKind::Neighbourhood | QueryKind::Bucket(_) => {
                search.converged.is_some()
            }
            QueryKind::Fill(index) => search.converged.is_some() || self.is_filled(*index),
        }
    }

    /// An answer to, or the failure of, a lookup step.
    pub(crate) fn query_step_ended(&mut self, id: QueryId, ended: CallEnded) {
        let Some(mut search) = self.queries.remove(&id) else {
            return;
        };
        search.calls.ended(ended.id);
        search.alone_until = None;
        match ended.result {
            Err(_) => {
                search.lookup.failed(&ended.peer.id);
                self.hop(search.op, &ended.peer, HopResult::Failed);
            }
            Ok(message) => match message.response {
                Response::FindNode { closest } => {
                    self.learn(&mut search, &ended.peer, closest, false);
                    if let QueryKind::Put(state) = &mut search.goal
                        && search
                            .lookup
                            .is_among_closest(&ended.peer.id, self.base.cx.config.k)
                        && self.is_within_radius(search.target, &ended.peer)
                    {
                        let replica = self.store_at(id, state, &ended.peer, false);
                        search.calls.note(replica);
                    }
                }
                Response::GetValue { item, closest } => {
                    self.learn(&mut search, &ended.peer, closest, item.is_some());
                    let life = message.ext.as_ref().and_then(|ext| ext.life);
                    if let (QueryKind::Get(state), Some(item)) =
                        (&mut search.goal, item.and_then(WireItem::into_item))
                    {
                        self.got_item(id, search.op, state, &ended.peer, item, life);
                    } else if let QueryKind::Get(state) = &mut search.goal {
                        state.answered_without();
                    }
                }
                _ => {
                    search.lookup.failed(&ended.peer.id);
                }
            },
        }
        self.queries.insert(id, search);
        self.advance_query(id);
    }

    /// Feeds an answer's peers into the lookup.
    pub(crate) fn learn(
        &mut self,
        search: &mut Query,
        from: &Candidate,
        closest: PeerList,
        item: bool,
    ) {
        self.base
            .peers
            .clocks
            .note(from.key, &closest, self.base.cx.now);
        self.base
            .cx
            .counters
            .add(Counter::InvalidKeys, closest.bad_keys.into());
        self.base
            .cx
            .counters
            .add(Counter::NewcomersCut, closest.excess.into());
        if matches!(search.goal, QueryKind::Neighbourhood) {
            self.hear_of(&closest.peers);
        }
        let closer = closest.peers.into_iter();
        let closer = closer.filter_map(|peer| peer.key.map(|key| (peer.id, key, peer.addr)));
        let learned = search.lookup.answered(&from.id, closer);
        self.base
            .cx
            .counters
            .add(Counter::LyingIds, learned.lying_ids.into());
        self.base
            .cx
            .counters
            .add(Counter::NewcomersCut, learned.cut.into());
        self.hop(
            search.op,
            from,
            HopResult::Answered {
                new: learned.new,
                item,
            },
        );
    }

    /// Ends a search, whatever state it is in. Calls still out run on when it is done, so that
    /// silent peers are noticed as such; else they are abandoned.
    pub(crate) fn end_query(&mut self, id: QueryId, search: Box<Query>, end: StopReason) {
        self.base.cx.timers.cancel(Timer::Query(id));
        if end != StopReason::Done {
            for call in &search.calls.out {
                self.base.abandon(*call);
            }
        }
        match search.goal {
            QueryKind::Nodes => self.nodes_found(&search, end),
            QueryKind::Neighbourhood => self.neighbourhood_found(&search, end),
            QueryKind::Bucket(index) | QueryKind::Fill(index) => {
                self.base
                    .peers
                    .table
                    .refreshed(index, self.base.cx.now.mono);
            }
            QueryKind::Get(_) => self.conclude_get(*search, end),
            QueryKind::Put(_) => self.conclude_put(*search, end),
        }
    }

    fn hop(&mut self, op: Option<OperationId>, peer: &Candidate, result: HopResult) {
        if let Some(op) = op {
            self.base.cx.output(Output::Event(Event::Hop {
                op,
                peer: peer.key,
                result,
            }));
        }
    }
}
