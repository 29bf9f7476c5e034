//! The operations under way, and which put of an own item has its turn.

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
pub(super) use crate::node::measurements::OperationKind as Kind;
use crate::node::outcome::{OperationError, Outcome, PeerSync};
use crate::node::output::Output;
use crate::node::query::QueryKind;
use crate::node::timers::Timer;
use crate::time::Mono;

impl Kind {
    /// How an operation of this kind ends that has no result of its own.
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

/// How far an operation is.
pub(super) enum Phase {
    New,
    /// The signature of the item to publish is being checked.
    Verifying {
        item: Arc<Item>,
        options: Box<PutOptions>,
        started: Mono,
    },
    Query(QueryId),
    Call(CallId),
    /// What storage has at its target is being loaded.
    Loading {
        command: Box<Command>,
        started: Mono,
        need: Need,
    },
    /// Another put of the same own item is under way.
    Queued,
    /// Sessions with full nodes are under way, or wait for their turn.
    Syncing(Box<Syncing>),
    /// Holders are polled for something newer.
    Watching(Box<Watching>),
    /// The table is empty, but a peer has been asked that may enter it.
    Waiting {
        kind: QueryKind,
        target: Target,
        started: Mono,
    },
}

/// A reconciliation that a user asked for.
pub(super) struct Syncing {
    /// Full nodes whose sessions have not ended.
    pub(super) waiting: BTreeSet<PublicKey>,
    pub(super) done: Vec<PeerSync>,
    pub(super) started: Mono,
}

/// A watch under way.
pub(super) struct Watching {
    pub(super) request: GetRequest,
    pub(super) after: Option<Seq>,
    pub(super) started: Mono,
    pub(super) last_read: Mono,
    /// The polls that are out.
    pub(super) polls: BTreeMap<CallId, Candidate>,
    /// Peers whose news turned out to be none.
    pub(super) distrusted: BTreeSet<NodeId>,
    /// Those whose news the read under way is to find.
    pub(super) suspects: Vec<NodeId>,
}

pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) started: Mono,
    /// The own item that it puts.
    pub(super) item: Option<Target>,
    /// What to publish, as long as it may have to be signed.
    pub(super) plan: Option<Box<PutPlan>>,
    /// What it watches, while it reads.
    pub(super) watching: Option<Box<Watching>>,
}

/// The operations under way.
#[derive(Default)]
pub(crate) struct Operations {
    pub(super) running: BTreeMap<OperationId, Operation>,
    pub(super) waiting: BTreeSet<OperationId>,
    /// Those that wait for storage.
    pub(super) loads: BTreeSet<(Need, OperationId)>,
    /// Those that watch a target.
    pub(super) watches: BTreeSet<(Target, OperationId)>,
    /// Puts of each own item: the first is under way, the others wait for their turn.
    pub(super) puts: BTreeMap<Target, VecDeque<OperationId>>,
    pub(super) last: Option<OperationId>,
}

/// How often a put without a sequence of its own reads the network for the highest one: other
/// holders of the same key may publish at the same time.
const MAX_READS: u8 = 4;

/// What a user wants published, before there is an item.
pub(crate) struct PutPlan {
    pub(super) salt: Salt,
    pub(super) value: Value,
    pub(super) options: PutOptions,
    pub(super) started: Mono,
    /// How often the network was read for the highest sequence.
    pub(super) reads: u8,
    /// A sequence that the next one must be above, beside the highest verified one: up to this,
    /// most holders refuse the item as deleted.
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

    /// Whether a higher sequence may be tried when holders have one.
    pub(super) fn may_try_again(&self) -> bool {
        let options = &self.options;
        options.seq.is_none() && options.expect.is_none() && self.reads < MAX_READS
    }
}

/// Why an operation that was stopped failed; `None` when it was not stopped.
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

    /// Whether nothing is under way or waits.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
            && self.waiting.is_empty()
            && self.loads.is_empty()
            && self.puts.is_empty()
    }

    /// Takes the number of a new operation.
    pub(crate) fn number(&mut self, op: OperationId) -> Result<(), Misuse> {
        if self.last.is_some_and(|last| op <= last) {
            return Err(Misuse::OperationNumber(op));
        }
        self.last = Some(op);
        Ok(())
    }

    /// Puts a put of an own item in the queue; whether it is its turn.
    pub(super) fn queue_put(&mut self, op: OperationId, item: Target) -> bool {
        if let Some(operation) = self.running.get_mut(&op) {
            operation.item = Some(item);
        }
        let puts = self.puts.entry(item).or_default();
        puts.push_back(op);
        puts.len() == 1
    }

    /// A put of an own item is over; whether it is the turn of another one.
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

    pub(super) fn set_phase(&mut self, op: OperationId, phase: Phase) {
        if let Some(operation) = self.running.get_mut(&op) {
            operation.phase = phase;
        }
    }

    pub(super) fn take_phase(&mut self, op: OperationId) -> Option<Phase> {
        let operation = self.running.get_mut(&op)?;
        Some(core::mem::replace(&mut operation.phase, Phase::New))
    }

    pub(super) fn set_plan(&mut self, op: OperationId, plan: Box<PutPlan>) {
        if let Some(operation) = self.running.get_mut(&op) {
            operation.plan = Some(plan);
        }
    }

    pub(super) fn take_plan(&mut self, op: OperationId) -> Option<Box<PutPlan>> {
        self.running.get_mut(&op)?.plan.take()
    }

    /// The operations that wait for a peer to start from, all at once.
    pub(crate) fn take_waiting(&mut self) -> BTreeSet<OperationId> {
        core::mem::take(&mut self.waiting)
    }

    /// Ends an operation.
    pub(super) fn finish(&mut self, cx: &mut Context, op: OperationId, outcome: Outcome) {
        if let Some(operation) = self.running.remove(&op) {
            if let Some(item) = operation.item
                && self.leave_put_queue(op, &item)
            {
                // Not here: puts that end immediately must not nest.
                cx.timers.set(Timer::Put(item), cx.now.mono);
            }
            self.waiting.remove(&op);
            if operation.kind == Kind::Watch {
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
