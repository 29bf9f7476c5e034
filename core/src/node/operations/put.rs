//! A user's put: determine the sequence, sign, publish, and repeat with a higher sequence if
//! holders have one.
//!
//! Its phases: a read of what holders have if that is needed, then publishing; both once more if
//! holders refuse the item as older.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Item, Origin, Seq};
use crate::node::base::Base;
use crate::node::ids::{OperationId, PutMode, StopReason};
use crate::node::input::{Expected, GetRequest, PutOptions, ReadPolicy};
use crate::node::items::placed::Placed;
use crate::node::operations::state::{Operations, PutPlan, stopped};
use crate::node::outcome::{OperationError, Outcome, PutError, PutOutcome};
use crate::node::query::get::Get;
use crate::node::query::put::Put;
use crate::node::query::{Ended, Queries, Query, QueryKind};
use crate::store::{Refusal, Via};
use crate::time::{Mono, nanos};

/// Maximum lead of a user's sequence over the clock, unless forced.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
impl Operations {
    /// Starts a put, which must be the first in its queue.
    pub(crate) fn start_put(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        plan: Box<PutPlan>,
    ) {
        let unsigned = Item {
            key: base.cx.public,
            seq: Seq(0),
            signature: Default::default(),
            value: plan.value.clone(),
            salt: plan.salt.clone(),
        };
        if let Err(error) = unsigned.check_sizes() {
            return self.put_failed(base, op, PutError::Item(error));
        }
        // Without a wall clock, or to compare versions, the network is read first.
        let clockless = plan.options.seq.is_none() && !base.cx.now.unix.is_set();
        let must_read = plan.options.expect.is_some() || clockless;
        if must_read && !plan.options.local_only {
            self.read_before_put(base, queries, op, plan);
        } else {
            self.sign_and_publish(base, queries, op, plan);
        }
    }

    fn read_before_put(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        mut plan: Box<PutPlan>,
    ) {
        plan.reads += 1;
        let started = plan.started;
        let owner = plan.options.mirror_of.unwrap_or(base.cx.public);
        let request = GetRequest::of(owner, plan.salt.clone(), ReadPolicy::Freshest);
        self.set_plan(op, plan);
        self.start_get(
            base,
            queries,
            op,
            Box::new(Get::new(request, true)),
            started,
        );
    }

    /// Continues a put after its read: compares versions, raises the sequence, then publishes.
    pub(crate) fn put_after_read(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        get: &Get,
        reason: StopReason,
    ) {
        if let Some(error) = stopped(reason) {
            return self.put_failed(base, op, error.into());
        }
        let Some(plan) = self.take_plan(op) else {
            return;
        };
        let highest = get.owner_seqs().map(|(seq, _)| seq).max();
        if let Some(highest) = highest {
            let own = &mut base.items.own;
            own.raise(get.request.target, highest, base.cx.now.mono);
        }
        if let Some(expected) = plan.options.expect {
            // Advisory: a majority of the holders that answered must have the expected version.
            let without = usize::from(get.without);
            let total: usize = get.owner_seqs().map(|(_, n)| n).sum::<usize>() + without;
            let agreeing: usize = match expected {
                Expected::Nothing => without,
                Expected::Version(expected) => {
                    let expected = get.owner_seqs().filter(|(seq, _)| *seq == expected);
                    expected.map(|(_, n)| n).sum()
                }
            };
            let majority = agreeing * 2 > total || (total == 0 && expected == Expected::Nothing);
            if highest > expected.version() || !majority {
                return self.put_failed(base, op, PutError::Conflict { held: highest });
            }
        }
        self.sign_and_publish(base, queries, op, plan);
    }

    fn sign_and_publish(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        plan: Box<PutPlan>,
    ) {
        let target = plan.options.target(&base.cx.public, &plan.salt);
        let options = &plan.options;
        if let Some(expected) = options.expect {
            let own = base.items.own_version(base.cx.now, &target);
            let expected = expected.version();
            if own > expected || (options.local_only && own != expected) {
                return self.put_failed(base, op, PutError::Conflict { held: own });
            }
        }
        let item = match sign_next(base, &plan, &target) {
            Ok(item) => Arc::new(item),
            Err(error) => return self.put_failed(base, op, error),
        };
        let (cx, items) = (&mut base.cx, &mut base.items);
        let Some(placed) = Placed::sign(cx, item.clone(), target) else {
            return self.put_failed(base, op, PutError::NoSecretKey);
        };
        items.cache.forget(&target);
        let admitted = items.admit(cx, placed.candidate(Via::Local), 0);
        if let Err(refusal) = admitted
            && (options.local_only || refusal == Refusal::Older)
        {
            let held = items.store.get(cx.now, &target);
            let by_owner = held.filter(|held| held.origin() == Origin::Owner);
            let error = match (refusal, items.known_seq(cx.now, &target)) {
                (Refusal::Older, Some(have)) if placed.is_mirror() && by_owner.is_some() => {
                    PutError::OwnerPublishes { have }
                }
                (Refusal::Older, Some(have)) => PutError::Sequence {
                    have,
                    got: item.seq,
                },
                (refusal, _) => PutError::Local(refusal),
            };
            return self.put_failed(base, op, error);
        }
        items.own.raise(target, item.seq, cx.now.mono);
        if options.once || item.is_tombstone() {
            items.stop_renewing(cx, &target);
        } else if options.local_only {
            // No other node holds it, so there is nothing to renew.
        } else {
            items.keep_renewed(cx, placed.clone());
        }
        let (wanted, local_only) = (options.min_replicas, options.local_only);
        let put = Put::new(placed, PutMode::Publish, wanted, admitted.is_ok());
        let started = plan.started;
        self.set_plan(op, plan);
        self.publish(base, queries, op, put, (started, local_only));
    }

    /// Publishes an item that was signed elsewhere, after its signature was checked.
    pub(crate) fn publish_signed(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        (item, options, started): (Arc<Item>, &PutOptions, Mono),
        admitted: Result<(), Refusal>,
    ) {
        if let Err(refusal) = admitted
            && options.local_only
        {
            return self.put_failed(base, op, PutError::Local(refusal));
        }
        let wanted = options.min_replicas;
        let placed = Placed::own(item);
        let put = Put::new(placed, PutMode::Publish, wanted, admitted.is_ok());
        self.publish(base, queries, op, put, (started, options.local_only));
    }

    fn publish(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        put: Put,
        (started, local_only): (Mono, bool),
    ) {
        let target = put.target();
        if local_only {
            let stats = Query::idle(&base.cx, QueryKind::Nodes, op, target, started)
                .stats(base.cx.now.mono);
            let outcome = Outcome::Put(Ok(PutOutcome {
                target,
                seq: put.item().seq,
                replicas: put.count(),
                local: put.local,
                stats,
            }));
            return self.finish(&mut base.cx, op, outcome);
        }
        let kind = QueryKind::Put(Box::new(put));
        self.start_query(base, queries, op, kind, target, started);
    }

    /// Ends a put after publishing, or repeats it with a higher sequence.
    pub(crate) fn put_ended(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        put: &Put,
        ended: &Ended,
    ) {
        let Ended { query, reason } = ended;
        let partial = PutOutcome {
            target: query.target,
            seq: put.item().seq,
            replicas: put.count(),
            local: put.local,
            stats: query.stats(base.cx.now.mono),
        };
        let acknowledged = partial.replicas.acknowledged();
        let older = put.refused_as_older();
        let (mut compared, mut automatic) = (false, false);
        let is_mirror = put.is_mirror();
        if let Some(mut plan) = self.take_plan(op)
            && *reason == StopReason::Done
            && older
        {
            compared = plan.options.expect.is_some();
            automatic = plan.options.seq.is_none();
            // Repeat once in any case, and then only while no holder stores the item. For a mirror
            // this is useless: its owner's item outranks it at any sequence.
            if !is_mirror && plan.may_try_again() && (plan.reads == 0 || acknowledged == 0) {
                // A holder has a sequence above the clock, or another node publishes at the same
                // time: read the highest sequence and sign again.
                plan.deleted = plan.deleted.max(put.mostly_deleted());
                return self.read_before_put(base, queries, op, plan);
            }
        }
        let wanted = put.wanted;
        let reached_no_peer = partial.replicas.attempted() == 0 && partial.stats.answered == 0;
        let (have, got) = (put.highest_held, put.item().seq);
        let result = match reason {
            StopReason::Cancelled => Err(OperationError::Cancelled.into()),
            StopReason::Shutdown => Err(OperationError::ShuttingDown.into()),
            _ if acknowledged >= wanted => Ok(partial),
            StopReason::Timeout => Err(PutError::Timeout {
                partial: Box::new(partial),
            }),
            StopReason::Done if reached_no_peer => Err(OperationError::NoPeers.into()),
            StopReason::Done if acknowledged == 0 && older && compared => {
                Err(PutError::Conflict { held: have })
            }
            StopReason::Done
                if acknowledged == 0
                    && older
                    && is_mirror
                    && have.is_none_or(|have| have <= got) =>
            {
                Err(PutError::OwnerPublishes {
                    have: have.unwrap_or_default(),
                })
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
        self.finish(&mut base.cx, op, Outcome::Put(result));
    }

    pub(crate) fn put_failed(&mut self, base: &mut Base, op: OperationId, error: PutError) {
        self.finish(&mut base.cx, op, Outcome::Put(Err(error)));
    }
}

/// Signs the item with the requested sequence or the automatic one.
fn sign_next(base: &mut Base, plan: &PutPlan, target: &Target) -> Result<Item, PutError> {
    let (cx, items) = (&mut base.cx, &base.items);
    let seq = match plan.options.seq {
        Some(seq) => {
            if let Some(have) = items.known_seq(cx.now, target)
                && seq <= have
            {
                return Err(PutError::Sequence { have, got: seq });
            }
            seq
        }
        None => {
            let above = |seq: Seq| seq.0.checked_add(1).map(Seq);
            let next = items.next_seq(cx.now, target);
            let next = match plan.deleted {
                Some(deleted) => next.zip(above(deleted)).map(|(a, b)| a.max(b)),
                None => next,
            };
            next.ok_or(PutError::SequenceSaturated)?
        }
    };
    // Only a sequence that the caller gave can be the caller's mistake. The automatic one after an
    // item published with a wrong clock is correct, wherever the clock is now.
    let clock = cx.now.unix.is_set().then_some(cx.now.unix.0);
    let limit = clock.map(|clock| clock.saturating_add(nanos(AHEAD)));
    let given = plan.options.seq.is_some() && !plan.options.force;
    if given && limit.is_some_and(|limit| seq.0 > limit) {
        return Err(PutError::SequenceAhead(seq));
    }
    cx.sign(seq, plan.value.clone(), plan.salt.clone())
        .ok_or(PutError::NoSecretKey)
}
