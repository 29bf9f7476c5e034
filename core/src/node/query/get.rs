//! Reading an item: verify every answer before it competes, keep the highest rank, say how
//! good the result is, and mend holders that lag, politely.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::item::{Item, Origin, Seq};
use crate::lookup::Candidate;
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{CallTag, JobId, OperationId, QueryId, StopReason};
use crate::node::input::{GetRequest, ReadPolicy};
use crate::node::items::held_life;
use crate::node::outcome::{GetError, GetOutcome, LookupStats, OperationError, Outcome, Source};
use crate::node::output::{Event, Output};
use crate::node::peers::records::Dialect;
use crate::node::query::Query;
use crate::node::query::replicas::PutPlan;
use crate::node::verify::Verdict;
use crate::store::merge::{Judgement, Rank, judge};
use crate::store::{Candidate as StoreCandidate, ClaimedLife, Held, Via};
use crate::time::Mono;
use crate::wire::{Life, Request};

/// Holders mended by one get.
const REPAIRS_PER_GET: usize = 3;

/// A verified version and who holds it.
struct Version {
    rank: Rank,
    item: Arc<Item>,
    holders: BTreeSet<NodeId>,
    life: Option<Life>,
    from: Option<crate::key::PublicKey>,
}

/// An answer whose signature is being checked, and who else gave the same.
struct Unverified {
    item: Arc<Item>,
    holders: BTreeSet<NodeId>,
    life: Option<Life>,
    from: Candidate,
}

/// What a read knows so far.
pub(crate) struct GetState {
    pub(crate) request: GetRequest,
    /// A put that waits for what this read finds.
    pub(crate) then: Option<Box<PutPlan>>,
    versions: Vec<Version>,
    jobs: BTreeMap<JobId, Unverified>,
    first_value: Option<Mono>,
    source: Source,
    asked: u16,
    without: u16,
}

impl GetState {
    pub(crate) fn new(request: GetRequest, then: Option<Box<PutPlan>>) -> Self {
        Self {
            request,
            then,
            versions: Vec::new(),
            jobs: BTreeMap::new(),
            first_value: None,
            source: Source::Network,
            asked: 0,
            without: 0,
        }
    }

    pub(crate) fn answered_without(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.without = self.without.saturating_add(1);
    }

    fn best(&self) -> Option<&Version> {
        self.versions
            .iter()
            .reduce(|best, version| match judge(&best.rank, &version.rank) {
                Judgement::Newer { .. } => version,
                Judgement::Same | Judgement::Older { .. } => best,
            })
    }

    /// Whether one more valid item would do, and one is being verified.
    pub(super) fn may_be_met_by_a_verdict(&self) -> bool {
        self.request.policy == ReadPolicy::FirstValid && !self.jobs.is_empty()
    }

    /// Whether the policy is met, or the lookup is over and nothing is being verified.
    pub(crate) fn is_complete(&self, lookup_over: bool) -> bool {
        let met = match self.request.policy {
            ReadPolicy::Freshest | ReadPolicy::Local => false,
            ReadPolicy::FirstValid => !self.versions.is_empty(),
            ReadPolicy::Quorum(n) => self
                .best()
                .is_some_and(|best| best.holders.len() >= usize::from(n)),
        };
        met || (lookup_over && self.jobs.is_empty())
    }

    fn add(&mut self, item: Arc<Item>, target: &Target, life: Option<Life>) -> &mut Version {
        let at = self
            .versions
            .iter()
            .position(|version| version.item.same_content(&item));
        let at = at.unwrap_or_else(|| {
            self.versions.push(Version {
                rank: Rank::of(target, &item),
                item,
                holders: BTreeSet::new(),
                life: None,
                from: None,
            });
            self.versions.len() - 1
        });
        let version = &mut self.versions[at];
        // Claims only ever shorten a life.
        version.life = match (version.life, life) {
            (Some(a), Some(b)) => Some(if a.left < b.left { a } else { b }),
            (a, b) => a.or(b),
        };
        version
    }
}

impl Node {
    /// Starts a read: this node's own store first, as one voice among many.
    pub(crate) fn start_get(&mut self, op: OperationId, state: Box<GetState>, started: Mono) {
        let mut state = state;
        let target = state.request.target;
        let now = self.base.cx.now;
        if let Some(held) = self.base.items.store.get(now, &target)
            && self.is_wanted(&state.request, held.item())
        {
            let life = Some(held_life(held, now));
            let item = held.item().clone();
            state.add(item.clone(), &target, life);
            state.source = Source::Store;
            self.first_value(op, &mut state, &item, None);
        } else if state.request.policy == ReadPolicy::FirstValid
            && let Some((item, life)) = self.base.items.cache.get(&target, now.mono)
            && self.is_wanted(&state.request, &item)
        {
            state.add(item.clone(), &target, Some(life));
            state.source = Source::Cache;
            self.first_value(op, &mut state, &item, None);
        }
        let local = state.request.policy == ReadPolicy::Local || state.is_complete(false);
        let goal = crate::node::query::QueryKind::Get(state);
        if local {
            return self.conclude_local_get(op, goal, target, started);
        }
        self.start_operation_query(op, goal, target, started);
    }

    /// Whether an item may answer a request: the owner's, or a mirror that the reader takes.
    fn is_wanted(&self, request: &GetRequest, item: &Item) -> bool {
        match item.origin_at(&request.target) {
            Origin::Owner => request
                .owner
                .as_ref()
                .is_none_or(|(key, salt)| item.key == *key && item.salt == *salt),
            Origin::Mirror => {
                request.unknown_mirrors || self.base.cx.config.mirrors.contains(&item.key)
            }
        }
    }

    /// An answer carried an item.
    pub(crate) fn got_item(
        &mut self,
        search: QueryId,
        op: Option<OperationId>,
        state: &mut GetState,
        from: &Candidate,
        item: Arc<Item>,
        life: Option<Life>,
    ) {
        let target = state.request.target;
        state.asked = state.asked.saturating_add(1);
        if !self.is_wanted(&state.request, &item) || item.check_sizes().is_err() {
            self.base.cx.counters.count(Counter::WrongItems);
            return;
        }
        // The same content: the copy that was verified counts, whatever signature came with this.
        let same = |known: &&Arc<Item>| known.same_content(&item);
        let seen = state.versions.iter().map(|version| &version.item);
        let held = self
            .base
            .items
            .store
            .get(self.base.cx.now, &target)
            .map(Held::item);
        if let Some(known) = seen.chain(held).find(same).cloned() {
            self.base.cx.counters.count(Counter::VerifySpared);
            let version = state.add(known.clone(), &target, life);
            version.holders.insert(from.id);
            version.from.get_or_insert(from.key);
            if let Some(op) = op {
                self.first_value(op, state, &known, Some(from.key));
            }
            return;
        }
        // The very same bytes are being verified already: wait for that verdict.
        let same = state.jobs.values_mut().find(|job| *job.item == *item);
        if let Some(job) = same {
            job.holders.insert(from.id);
            return;
        }
        if !self.base.may_verify(&from.key) {
            return;
        }
        let job = self.base.verify_read(&from.key, item.clone(), search);
        let holders = BTreeSet::from([from.id]);
        let from = *from;
        state.jobs.insert(
            job,
            Unverified {
                item,
                holders,
                life,
                from,
            },
        );
    }

    /// A verdict on an item that a read brought.
    pub(crate) fn get_verified(&mut self, id: QueryId, job: JobId, verdict: Verdict) {
        let Some(mut search) = self.queries.remove(&id) else {
            return;
        };
        let (op, target) = (search.op, search.target);
        if let crate::node::query::QueryKind::Get(state) = &mut search.goal
            && let Some(answer) = state.jobs.remove(&job)
        {
            match verdict {
                Ok(()) => {
                    let version = state.add(answer.item.clone(), &target, answer.life);
                    version.holders.extend(answer.holders);
                    version.from.get_or_insert(answer.from.key);
                    if let Some(op) = op {
                        self.first_value(op, state, &answer.item, Some(answer.from.key));
                    }
                }
                Err(_) => self.base.cx.counters.count(Counter::ForgedItems),
            }
        }
        self.queries.insert(id, search);
        self.advance_query(id);
    }

    fn first_value(
        &mut self,
        op: OperationId,
        state: &mut GetState,
        item: &Arc<Item>,
        from: Option<crate::key::PublicKey>,
    ) {
        if state.first_value.is_some() || state.then.is_some() || item.reads_as_deleted() {
            return;
        }
        state.first_value = Some(self.base.cx.now.mono);
        let origin = item.origin_at(&state.request.target);
        self.base.cx.output(Output::Event(Event::FirstValue {
            op,
            item: item.clone(),
            origin,
            from,
        }));
    }

    fn conclude_local_get(
        &mut self,
        op: OperationId,
        goal: crate::node::query::QueryKind,
        target: Target,
        started: Mono,
    ) {
        let search = self.idle_query(goal, Some(op), target, started);
        self.conclude_get(search, StopReason::Done);
    }

    /// A read is over.
    pub(crate) fn conclude_get(&mut self, search: Query, end: StopReason) {
        let now = self.base.cx.now;
        let stats = search.stats(now.mono);
        let crate::node::query::QueryKind::Get(mut state) = search.goal else {
            return;
        };
        let best = state
            .best()
            .map(|version| self.outcome(&state, version, search.started, stats));
        if end == StopReason::Done
            && let Some(best) = state.best()
            && best.rank.origin() == Origin::Owner
        {
            let lagging: Vec<Candidate> = search
                .lookup
                .answered_closest()
                .filter(|peer| !best.holders.contains(&peer.id))
                .copied()
                .collect();
            let (item, life) = (best.item.clone(), best.life);
            let from = best.from;
            self.keep_what_was_read(&search.target, &item, life, from, stats.converged);
            self.repair(&search.target, &item, life, &lagging);
        }
        let Some(op) = search.op else { return };
        if let Some(plan) = state.then.take() {
            let verified: Vec<(Seq, usize)> = state
                .versions
                .iter()
                .filter(|version| version.rank.origin() == Origin::Owner)
                .map(|version| (version.item.seq, version.holders.len()))
                .collect();
            return self.put_after_read(op, plan, &verified, usize::from(state.without), end);
        }
        let result = match (end, best) {
            (StopReason::Cancelled, _) => Err(OperationError::Cancelled.into()),
            (StopReason::Shutdown, _) => Err(OperationError::ShuttingDown.into()),
            (StopReason::Timeout, best) => {
                let best = best
                    .filter(|best| !best.item.reads_as_deleted())
                    .map(Box::new);
                Err(GetError::Timeout { best, stats })
            }
            (StopReason::Done, Some(best)) if best.item.reads_as_deleted() => {
                Err(GetError::Deleted {
                    seq: best.item.seq,
                    stats,
                })
            }
            (StopReason::Done, Some(best)) => Ok(best),
            (StopReason::Done, None)
                if stats.answered == 0 && state.request.policy != ReadPolicy::Local =>
            {
                Err(OperationError::NoPeers.into())
            }
            (StopReason::Done, None) => Err(GetError::NotFound { stats }),
        };
        self.finish(op, Outcome::Get(result));
    }

    fn outcome(
        &self,
        state: &GetState,
        best: &Version,
        started: Mono,
        stats: LookupStats,
    ) -> GetOutcome {
        let item = best.item.clone();
        let by_clock = || {
            let vouched = item.seq.as_time()?;
            self.base
                .cx
                .now
                .unix
                .is_set()
                .then(|| self.base.cx.now.unix.since(vouched))
        };
        let age = best.life.map(|life| life.age).or_else(by_clock);
        GetOutcome {
            target: state.request.target,
            origin: best.rank.origin(),
            age,
            source: if best.holders.is_empty() {
                state.source
            } else {
                Source::Network
            },
            agree: u16::try_from(best.holders.len()).unwrap_or(u16::MAX),
            asked: state.asked,
            first_value: state
                .first_value
                .map_or(stats.elapsed, |at| at.since(started)),
            stats,
            item,
        }
    }

    /// Design §3.7: a reader stores what it read only where it belongs; else a private cache.
    fn keep_what_was_read(
        &mut self,
        target: &Target,
        item: &Arc<Item>,
        life: Option<Life>,
        from: Option<crate::key::PublicKey>,
        converged: bool,
    ) {
        let now = self.base.cx.now;
        let life = life.unwrap_or(Life {
            age: Duration::ZERO,
            left: Duration::MAX,
        });
        if !item.reads_as_deleted() {
            self.base
                .items
                .cache
                .put(*target, item.clone(), life, now.mono);
        }
        let Some(from) = from else { return };
        let nearer = self.base.nearer(target);
        if !self.base.cx.config.serve
            || !(self.base.cx.config.full_node || (converged && nearer < self.base.cx.config.k))
        {
            return;
        }
        let candidate = StoreCandidate {
            target: *target,
            item: item.clone(),
            via: Via::Pulled(from),
            life: Some(ClaimedLife {
                age: life.age,
                remaining: life.left,
            }),
            bound: None,
        };
        let _ = self.base.items.admit(&mut self.base.cx, candidate, nearer);
    }

    /// Design §3.8: owner items only, at most three a get, once per target and peer in TTL/4,
    /// the remaining life carried, never to Go when older than TTL/2.
    fn repair(
        &mut self,
        target: &Target,
        item: &Arc<Item>,
        life: Option<Life>,
        lagging: &[Candidate],
    ) {
        let now = self.base.cx.now.mono;
        let old = life.is_none_or(|life| life.left < self.base.cx.config.item_ttl / 2);
        let mut sent = 0;
        for peer in lagging {
            if sent == REPAIRS_PER_GET {
                break;
            }
            if old && self.base.peers.store.dialect(&peer.key) != Dialect::Skydht {
                continue;
            }
            let quiet = self.base.cx.config.item_ttl / 4;
            if !self.base.items.repaired.note(*target, peer.id, now, quiet) {
                continue;
            }
            let mut ext = self.base.cx.request_ext();
            ext.life = life;
            let request = Request::PutValue {
                item: item.into(),
                mirror_target: None,
            };
            let call = self.base.ask_with(*peer, request, ext, CallTag::Repair);
            if call.is_some() {
                self.base.cx.counters.count(Counter::Repairs);
                sent += 1;
            }
        }
    }
}
