//! Publishing an item: store while closing in, in parallel, and count who took it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Item, ItemError, Seq};
use crate::lookup::Candidate;
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, OperationId, PutMode, QueryId, StopReason};
use crate::node::input::{GetRequest, PutOptions, ReadPolicy};
use crate::node::outcome::{OperationError, Outcome, PutError, PutOutcome};
use crate::node::output::Event;
use crate::node::peers::records::Dialect;
use crate::node::query::get::GetState;
use crate::node::query::replicas::{PutPlan, PutState, Replica};
use crate::node::query::{Query, QueryKind};
use crate::node::refusal_text;
use crate::node::rpc::calls::{CallEnded, CallFailure};
use crate::store::{Candidate as StoreCandidate, Refusal, Via};
use crate::time::Mono;
use crate::wire::{Request, Response, Want};

/// A sequence more than this ahead of the clock is refused without force.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

impl Node {
    /// A user's put: find the sequence, sign, publish.
    pub(crate) fn start_put(&mut self, op: OperationId, plan: Box<PutPlan>) {
        let target = Target::of(&self.base.cx.public, plan.salt.as_bytes());
        let sizes = Item {
            key: self.base.cx.public,
            seq: Seq(0),
            signature: Default::default(),
            value: plan.value.clone(),
            salt: plan.salt.clone(),
        };
        if let Err(error) = sizes.check_sizes() {
            return self.finish(op, Outcome::Put(Err(PutError::Item(error))));
        }
        // Without a clock, or to compare, the network is asked first.
        let clockless = plan.options.seq.is_none() && !self.base.cx.now.unix.is_set();
        let must_read = plan.options.expect.is_some() || clockless;
        if must_read && plan.reads == 0 && !plan.options.local_only {
            return self.read_before_put(op, plan);
        }
        self.sign_and_publish(op, plan, target);
    }

    fn read_before_put(&mut self, op: OperationId, mut plan: Box<PutPlan>) {
        plan.reads += 1;
        let started = plan.started;
        let request = GetRequest::of(self.base.cx.public, plan.salt.clone(), ReadPolicy::Freshest);
        let state = Box::new(GetState::new(request, Some(plan)));
        self.start_get(op, state, started);
    }

    /// What the network holds is known: compare, raise the floor, go on.
    pub(crate) fn put_after_read(
        &mut self,
        op: OperationId,
        plan: Box<PutPlan>,
        verified: &[(Seq, usize)],
        without: usize,
        end: StopReason,
    ) {
        match end {
            StopReason::Done => {}
            StopReason::Cancelled => {
                return self.finish(op, Outcome::Put(Err(OperationError::Cancelled.into())));
            }
            StopReason::Shutdown => {
                return self.finish(op, Outcome::Put(Err(OperationError::ShuttingDown.into())));
            }
            StopReason::Timeout => {
                return self.finish(op, Outcome::Put(Err(OperationError::Timeout.into())));
            }
        }
        let target = Target::of(&self.base.cx.public, plan.salt.as_bytes());
        let highest = verified.iter().map(|(seq, _)| *seq).max();
        if let Some(highest) = highest {
            self.base
                .items
                .own
                .raise(target, highest, self.base.cx.now.mono);
        }
        if let Some(expected) = plan.options.expect {
            // Advisory: the majority of those who answered must hold what is expected.
            let total: usize = verified.iter().map(|(_, n)| n).sum::<usize>() + without;
            let agreeing: usize = if expected == Seq(0) {
                without
            } else {
                verified
                    .iter()
                    .filter(|(seq, _)| *seq == expected)
                    .map(|(_, n)| n)
                    .sum()
            };
            let majority = agreeing * 2 > total || (total == 0 && expected == Seq(0));
            if highest > Some(expected) || !majority {
                return self.finish(op, Outcome::Put(Err(PutError::Conflict { held: highest })));
            }
        }
        self.sign_and_publish(op, plan, target);
    }

    fn sign_and_publish(&mut self, op: OperationId, plan: Box<PutPlan>, target: Target) {
        if let Some(expected) = plan.options.expect {
            let own = self.base.items.own_version(self.base.cx.now, &target);
            let nothing = Some(expected).filter(|it| *it != Seq(0));
            if own > Some(expected) || (plan.options.local_only && own != nothing) {
                return self.finish(op, Outcome::Put(Err(PutError::Conflict { held: own })));
            }
        }
        let item = match self.sign_next(&plan, &target) {
            Ok(item) => Arc::new(item),
            Err(error) => return self.finish(op, Outcome::Put(Err(error))),
        };
        self.base.items.cache.forget(&target);
        let candidate = StoreCandidate {
            target,
            item: item.clone(),
            via: Via::Local,
            life: None,
            bound: None,
        };
        let admitted = self.base.items.admit(&mut self.base.cx, candidate, 0);
        if let Err(refusal) = admitted
            && (plan.options.local_only || refusal == Refusal::Older)
        {
            let error = match (
                refusal,
                self.base.items.known_seq(self.base.cx.now, &target),
            ) {
                (Refusal::Older, Some(have)) => PutError::Sequence {
                    have,
                    got: item.seq,
                },
                (refusal, _) => PutError::Local(refusal),
            };
            return self.finish(op, Outcome::Put(Err(error)));
        }
        self.base
            .items
            .own
            .raise(target, item.seq, self.base.cx.now.mono);
        if plan.options.once || item.is_tombstone() {
            self.base.items.forget_own(&mut self.base.cx, &target);
        } else if plan.options.local_only {
            // Nobody else holds it, so there is nothing to renew.
        } else {
            self.base
                .items
                .remember_own(&mut self.base.cx, target, item.clone());
        }
        let mut state = PutState::new(
            item,
            PutMode::Publish,
            plan.options.min_replicas,
            admitted.is_ok(),
        );
        let (started, local_only) = (plan.started, plan.options.local_only);
        state.plan = Some(plan);
        if local_only {
            let search =
                self.idle_query(QueryKind::Put(Box::new(state)), Some(op), target, started);
            let outcome = put_outcome(&search, self.base.cx.now.mono);
            return self.finish(
                op,
                Outcome::Put(outcome.ok_or(OperationError::NoPeers.into())),
            );
        }
        self.start_operation_query(op, QueryKind::Put(Box::new(state)), target, started);
    }

    /// Signs with the sequence asked for, or the automatic one (design §3.5).
    fn sign_next(&mut self, plan: &PutPlan, target: &Target) -> Result<Item, PutError> {
        let known = self.base.items.known_seq(self.base.cx.now, target);
        let clock = self
            .base
            .cx
            .now
            .unix
            .is_set()
            .then_some(Seq(self.base.cx.now.unix.0));
        let seq = match plan.options.seq {
            Some(seq) => {
                if known.is_some_and(|known| seq <= known) {
                    return Err(PutError::Sequence {
                        have: known.unwrap_or_default(),
                        got: seq,
                    });
                }
                seq
            }
            None => {
                let above = |seq: Seq| seq.0.checked_add(1).map(Seq);
                let next = self.base.items.next_seq(self.base.cx.now, target);
                let next = match plan.deleted {
                    Some(deleted) => next.zip(above(deleted)).map(|(a, b)| a.max(b)),
                    None => next,
                };
                next.ok_or(PutError::SequenceSaturated)?
            }
        };
        // Only a number that the caller gave can be a mistake of the caller's: the next one after
        // what was published while a clock was wrong is right, wherever the clock is now.
        let limit = clock.map(|clock| clock.0.saturating_add(crate::time::nanos(AHEAD)));
        let given = plan.options.seq.is_some() && !plan.options.force;
        if given && limit.is_some_and(|limit| seq.0 > limit) {
            return Err(PutError::SequenceAhead(seq));
        }
        self.base
            .cx
            .sign(seq, plan.value.clone(), plan.salt.clone())
            .ok_or(PutError::NoSecretKey)
    }

    /// A verified item that somebody signed: publish it at its signer's own target.
    pub(crate) fn publish_signed(
        &mut self,
        op: OperationId,
        item: Arc<Item>,
        options: &PutOptions,
        started: Mono,
        admitted: Result<(), Refusal>,
    ) {
        let target = item.target();
        if options.local_only {
            let outcome = admitted.map(|()| PutState::new(item, PutMode::Publish, 0, true));
            let result = match outcome {
                Ok(state) => {
                    let goal = QueryKind::Put(Box::new(state));
                    let search = self.idle_query(goal, Some(op), target, started);
                    put_outcome(&search, self.base.cx.now.mono)
                        .ok_or(OperationError::NoPeers.into())
                }
                Err(refusal) => Err(PutError::Local(refusal)),
            };
            return self.finish(op, Outcome::Put(result));
        }
        let state = PutState::new(
            item,
            PutMode::Publish,
            options.min_replicas,
            admitted.is_ok(),
        );
        self.start_operation_query(op, QueryKind::Put(Box::new(state)), target, started);
    }

    /// Starts renewing an own item; nobody waits for it.
    pub(crate) fn renew(&mut self, target: Target, item: Arc<Item>, mode: PutMode) {
        self.base.cx.counters.count(Counter::Renewals);
        let state = PutState::new(item, mode, 1, true);
        let now = self.base.cx.now.mono;
        self.start_query(QueryKind::Put(Box::new(state)), None, target, now);
    }

    /// Whether a candidate that has not answered yet may be given the item at once: it speaks
    /// our dialect, so one answer brings both its verdict and its nearest peers.
    pub(crate) fn may_store_at_once(&self, target: Target, peer: &Candidate) -> bool {
        self.base.peers.store.dialect(&peer.key) == Dialect::Skydht
            && self.is_within_radius(target, peer)
    }

    /// Whether `peer` lies so near the target that it is probably one of the k nearest.
    pub(crate) fn is_within_radius(&self, target: Target, peer: &Candidate) -> bool {
        target.distance(&peer.id).high()
            <= self.base.peers.table.expected_radius(self.base.cx.config.k)
    }

    /// Sends the item to one peer.
    pub(crate) fn store_at(
        &mut self,
        id: QueryId,
        state: &mut PutState,
        peer: &Candidate,
        step: bool,
    ) -> Option<CallId> {
        if state.has_asked(&peer.id) {
            return None;
        }
        let mut ext = self.base.cx.request_ext();
        let ours = self.base.peers.store.dialect(&peer.key) == Dialect::Skydht;
        let request = if state.mode == PutMode::Renew && ours && !step {
            Request::Renew {
                target: state.item.target(),
                seq: state.item.seq,
                signature: state.item.signature,
                content_hash: state.item.content_hash(),
            }
        } else {
            if state.item.key != self.base.cx.public {
                ext.life = self.base.items.carried_life(self.base.cx.now, &state.item);
            }
            if step {
                ext.want = Want::Peers;
            }
            Request::PutValue {
                item: (&state.item).into(),
                mirror_target: None,
            }
        };
        let purpose = CallTag::Replica { query: id, step };
        let call = self.base.ask_with(*peer, request, ext, purpose)?;
        let now = self.base.cx.now.mono;
        let patience = match self.base.peers.store.expected(&peer.key, now) {
            Some(_) => self.base.peers.store.patience(&peer.key),
            None => Duration::ZERO,
        };
        state.set(peer.id, Replica::Pending(now.plus(patience)));
        Some(call)
    }

    /// An answer to, or the failure of, a replica call.
    pub(crate) fn replica_ended(&mut self, id: QueryId, step: bool, ended: CallEnded) {
        let Some(mut search) = self.queries.remove(&id) else {
            return;
        };
        search.calls.ended(ended.id);
        let (peer, result) = (&ended.peer, ended.result);
        let mut retry_whole = false;
        if let QueryKind::Put(state) = &mut search.goal {
            let replica = match &result {
                Err(CallFailure::Open(_)) if !ended.repeated => None,
                Err(_) => Some(Replica::Unknown),
                Ok(message) => match &message.response {
                    Response::PutValue { stored, error } | Response::Renew { stored, error } => {
                        state.go_holders |= message.ext.is_none() && *stored;
                        let held = message.ext.as_ref().and_then(|ext| ext.held);
                        if !*stored {
                            state.highest_held = state.highest_held.max(held);
                            if let (Refusal::Deleted, Some(held)) =
                                (refusal_text::parse(error), held)
                            {
                                state.deleted.insert(peer.id, held);
                            }
                        }
                        retry_whole = !*stored
                            && matches!(message.response, Response::Renew { .. })
                            && refusal_text::parse(error) == Refusal::NotHeld;
                        Some(match (*stored, held == Some(state.item.seq)) {
                            (true, true) => Replica::Refreshed,
                            (true, false) => Replica::Stored,
                            // The first attempt may have arrived: then this is no refusal.
                            (false, _) if ended.repeated => Replica::Unknown,
                            (false, _) => Replica::Refused(refusal_text::parse(error)),
                        })
                    }
                    _ => Some(Replica::Unknown),
                },
            };
            match replica {
                Some(replica) => state.set(peer.id, replica),
                // Never reached: it is no replica at all.
                None => state.forget(&peer.id),
            }
            if retry_whole {
                state.forget(&peer.id);
                let mode = core::mem::replace(&mut state.mode, PutMode::Publish);
                search.calls.note(self.store_at(id, state, peer, false));
                state.mode = mode;
            }
        }
        if step {
            match result {
                Ok(message) => {
                    let closest = message.ext.map(|ext| ext.closest).unwrap_or_default();
                    self.learn(&mut search, peer, closest, false);
                }
                Err(_) => search.lookup.failed(&peer.id),
            }
        }
        self.queries.insert(id, search);
        self.advance_query(id);
    }

    /// A put is over.
    pub(crate) fn conclude_put(&mut self, mut search: Query, end: StopReason) {
        let now = self.base.cx.now.mono;
        let Some(partial) = put_outcome(&search, now) else {
            return;
        };
        let target = search.target;
        let QueryKind::Put(state) = &mut search.goal else {
            return;
        };
        let acknowledged = partial.replicas.acknowledged();
        if state.item.key == self.base.cx.public {
            self.base.items.own.published(
                &mut self.base.cx,
                &target,
                acknowledged,
                state.go_holders,
            );
        }
        let Some(op) = search.op else {
            if acknowledged == 0 && end == StopReason::Done {
                let seq = partial.seq;
                self.base.cx.event(Event::RenewalFailed { target, seq });
            }
            return;
        };
        let older = state.refused_as_older();
        let (mut compared, mut automatic) = (false, false);
        if let Some(mut plan) = state.plan.take()
            && end == StopReason::Done
            && older
        {
            compared = plan.options.expect.is_some();
            automatic = plan.options.seq.is_none();
            // Once in any case; then only as long as nobody takes it.
            if plan.may_try_again() && (plan.reads == 0 || acknowledged == 0) {
                // Somebody has a higher sequence than the clock, or publishes at the same time:
                // learn it and sign anew.
                plan.deleted = plan.deleted.max(state.mostly_deleted());
                return self.read_before_put(op, plan);
            }
        }
        let wanted = state.wanted;
        let enough = acknowledged >= wanted;
        let nobody = partial.replicas.attempted() == 0 && partial.stats.answered == 0;
        let (have, got) = (state.highest_held, state.item.seq);
        let result = match end {
            StopReason::Cancelled => Err(OperationError::Cancelled.into()),
            StopReason::Shutdown => Err(OperationError::ShuttingDown.into()),
            _ if enough => Ok(partial),
            StopReason::Timeout => Err(PutError::Timeout {
                partial: Box::new(partial),
            }),
            StopReason::Done if nobody => Err(OperationError::NoPeers.into()),
            StopReason::Done if acknowledged == 0 && older && compared => {
                Err(PutError::Conflict { held: have })
            }
            StopReason::Done if acknowledged == 0 && older && automatic => {
                Err(PutError::Overtaken { have })
            }
            StopReason::Done
                if acknowledged == 0 && older && have.is_some_and(|have| have > got) =>
            {
                Err(PutError::Sequence {
                    have: have.unwrap_or_default(),
                    got,
                })
            }
            StopReason::Done => Err(PutError::TooFewReplicas {
                wanted,
                partial: Box::new(partial),
            }),
        };
        self.finish(op, Outcome::Put(result));
    }

    /// A put of a signed item whose signature is wrong.
    pub(crate) fn refuse_signed(&mut self, op: OperationId, error: ItemError) {
        self.finish(op, Outcome::Put(Err(PutError::Item(error))));
    }
}

fn put_outcome(search: &Query, now: Mono) -> Option<PutOutcome> {
    let QueryKind::Put(state) = &search.goal else {
        return None;
    };
    Some(PutOutcome {
        target: search.target,
        seq: state.item.seq,
        replicas: state.count(),
        local: state.local,
        stats: search.stats(now),
    })
}
