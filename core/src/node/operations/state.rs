//! The running operations, and the queues of puts of own items.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::{NodeId, Target};
use crate::item::{Item, Salt, Seq, Value};
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::context::Context;
use crate::node::ids::{CallId, OperationId, QueryId, StopReason};
use crate::node::input::{Command, GetRequest, Misuse, PutOptions};
use crate::node::loading::Need;
pub(super) use crate::node::measurements::OperationKind;
use crate::node::outcome::{OperationError, Outcome, PeerSync};
use crate::node::output::Output;
use crate::node::query::QueryKind;
use crate::node::timers::Timer;
use crate::time::Mono;

impl OperationKind {
    /// The outcome of an operation of this kind that fails with `error`.
    pub(super) fn failed(self, error: OperationError) -> Outcome {
        match self {
            Self::Put => Outcome::Put(Err(error.into())),
            Self::Get => Outcome::Get(Err(error.into())),
            Self::FindNode => Outcome::FindNode(Err(error)),
            Self::Ping => Outcome::Ping(Err(error.into())),
            Self::Sync => Outcome::Sync(Err(error.into())),
            Self::Watch => Outcome::Watch(Err(error.into())),
        }
    }
}

/// Phase of an operation.
pub(super) enum OperationPhase {
    New,
    /// The signature of the item to publish is being checked.
    Verifying {
        item: Arc<Item>,
        options: Box<PutOptions>,
        started: Mono,
    },
    Query(QueryId),
    Call(CallId),
    /// The record at the target is being loaded from storage.
    Loading {
        command: Box<Command>,
        started: Mono,
        need: Need,
    },
    /// Another put of the same own item is running.
    Queued,
    /// Sessions with full nodes are running or scheduled.
    Syncing(Box<Syncing>),
    /// Holders are polled for a newer version.
    Watching(Box<Watching>),
    /// The table is empty, but a peer that may enter it is being pinged.
    Waiting {
        kind: QueryKind,
        target: Target,
        started: Mono,
    },
}

/// State of a reconciliation that a user requested.
pub(super) struct Syncing {
    /// Full nodes whose sessions have not ended.
    pub(super) waiting: BTreeSet<PublicKey>,
    pub(super) done: Vec<PeerSync>,
    pub(super) started: Mono,
}

/// State of a watch.
pub(super) struct Watching {
    pub(super) request: GetRequest,
    pub(super) after: Option<Seq>,
    pub(super) started: Mono,
    pub(super) last_read: Mono,
    /// Polls in progress.
    pub(super) polls: BTreeMap<CallId, Candidate>,
    /// Peers that announced a newer version which a read then did not find.
    pub(super) distrusted: BTreeSet<NodeId>,
    /// Peers that announced a newer version, which the current read is to confirm.
    pub(super) suspects: Vec<NodeId>,
}

pub(super) struct Operation {
    pub(super) kind: OperationKind,
    pub(super) phase: OperationPhase,
    pub(super) started: Mono,
    /// Target of the own item that it puts.
    pub(super) item: Option<Target>,
    /// What to publish, as long as the item may have to be signed.
    pub(super) plan: Option<Box<PutPlan>>,
    /// State of its watch, while the query reads.
    pub(super) watching: Option<Box<Watching>>,
}

/// The running operations.
#[derive(Default)]
pub(crate) struct Operations {
    pub(super) running: BTreeMap<OperationId, Operation>,
    pub(super) waiting: BTreeSet<OperationId>,
    /// Operations that wait for storage.
    pub(super) loads: BTreeSet<(Need, OperationId)>,
    /// Targets that operations watch.
    pub(super) watches: BTreeSet<(Target, OperationId)>,
    /// Queues of puts of each own item; the first one is running.
    pub(super) puts: BTreeMap<Target, VecDeque<OperationId>>,
    pub(super) last: Option<OperationId>,
}

/// Maximum number of reads per put with an automatic sequence: other nodes with the same key may
/// publish at the same time.
const MAX_READS: u8 = 4;

/// What a user wants to publish, before an item is signed.
pub(crate) struct PutPlan {
    pub(super) salt: Salt,
    pub(super) value: Value,
    pub(super) options: PutOptions,
    pub(super) started: Mono,
    /// Number of reads so far.
    pub(super) reads: u8,
    /// A sequence that the next one must exceed besides the highest verified one: most holders
    /// refuse the item as deleted up to it.
    pub(super) deleted: Option<Seq>,
}

impl PutPlan {
    pub(crate) fn new(salt: Salt, value: Value, options: PutOptions, started: Mono) -> Self {
        Self {
            salt,
            value,
            options,
            started,
            reads: 0,
            deleted: None,
        }
    }

    /// Whether a higher sequence may be tried if holders refuse this one.
    pub(super) fn may_try_again(&self) -> bool {
        let options = &self.options;
        options.seq.is_none() && options.expect.is_none() && self.reads < MAX_READS
    }
}

/// The error of a stopped operation; `None` for [`StopReason::Done`].
pub(super) fn stopped(reason: StopReason) -> Option<OperationError> {
    match reason {
        StopReason::Done => None,
        StopReason::Timeout => Some(OperationError::Timeout),
        StopReason::Cancelled => Some(OperationError::Cancelled),
        StopReason::Shutdown => Some(OperationError::ShuttingDown),
    }
}

impl Operations {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn ids(&self) -> Vec<OperationId> {
        self.running.keys().copied().collect()
    }

    /// Whether no operation is running or waiting.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
            && self.waiting.is_empty()
            && self.loads.is_empty()
            && self.puts.is_empty()
    }

    /// Registers the number of a new operation, which must be higher than any before.
    pub(crate) fn number(&mut self, op: OperationId) -> Result<(), Misuse> {
        if self.last.is_some_and(|last| op <= last) {
            return Err(Misuse::OperationNumber(op));
        }
        self.last = Some(op);
        Ok(())
    }

    /// Appends a put of an own item to its queue. Returns whether it is the first.
    pub(super) fn queue_put(&mut self, op: OperationId, item: Target) -> bool {
        if let Some(operation) = self.running.get_mut(&op) {
            operation.item = Some(item);
        }
        let puts = self.puts.entry(item).or_default();
        puts.push_back(op);
        puts.len() == 1
    }

    /// Removes a put from its queue. Returns whether the next one may begin.
    pub(super) fn leave_put_queue(&mut self, op: OperationId, item: &Target) -> bool {
        let Some(puts) = self.puts.get_mut(item) else {
            return false;
        };
        let was_first = puts.front() == Some(&op);
        puts.retain(|other| *other != op);
        if puts.is_empty() {
            self.puts.remove(item);
            return false;
        }
        was_first
    }

    pub(super) fn set_phase(&mut self, op: OperationId, phase: OperationPhase) {
        if let Some(operation) = self.running.get_mut(&op) {
            operation.phase = phase;
        }
    }

    pub(super) fn take_phase(&mut self, op: OperationId) -> Option<OperationPhase> {
        let operation = self.running.get_mut(&op)?;
        Some(core::mem::replace(
            &mut operation.phase,
            OperationPhase::New,
        ))
    }

    pub(super) fn set_plan(&mut self, op: OperationId, plan: Box<PutPlan>) {
        if let Some(operation) = self.running.get_mut(&op) {
            operation.plan = Some(plan);
        }
    }

    pub(super) fn take_plan(&mut self, op: OperationId) -> Option<Box<PutPlan>> {
        self.running.get_mut(&op)?.plan.take()
    }

    /// Takes the operations that wait for a first peer.
    pub(crate) fn take_waiting(&mut self) -> BTreeSet<OperationId> {
        core::mem::take(&mut self.waiting)
    }

    /// Ends an operation with its outcome.
    pub(super) fn finish(&mut self, cx: &mut Context, op: OperationId, outcome: Outcome) {
        if let Some(operation) = self.running.remove(&op) {
            if let Some(item) = operation.item
                && self.leave_put_queue(op, &item)
            {
                // Started by a timer rather than here, so that puts that end immediately do not
                // recurse.
                cx.timers.set(Timer::Put(item), cx.now.mono);
            }
            self.waiting.remove(&op);
            if operation.kind == OperationKind::Watch {
                self.watches.retain(|(_, other)| *other != op);
                cx.timers.cancel(Timer::Watch(op));
            }
            cx.timers.cancel(Timer::Operation(op));
            let result = cx.measured.finished(&outcome);
            cx.measured.operations.count((operation.kind, result));
            let time = cx.now.mono.since(operation.started);
            let times = cx.measured.operation_time.of_mut(operation.kind);
            times.observe_time(time);
            cx.output(Output::Finished { op, outcome });
        }
    }
}
