//! What a node measures by kind: arrays indexed by enums. Names and formats are made elsewhere.

mod histogram;
mod labels;
pub(crate) mod outcomes;

pub use histogram::{Histogram, Scale};
pub use labels::{
    CallOutcome, Direction, Label, OperationKind, OperationOutcome, RepairOutcome, ServedOutcome,
    Side, SyncKind, SyncResult, Task, VerifyOutcome,
};

use alloc::boxed::Box;
use alloc::vec;
use core::marker::PhantomData;

use crate::item::Origin;
use crate::node::outcome::Source;
use crate::store::Refusal;
use crate::time::Mono;
use crate::wire::Method;

/// What an array of measurements is indexed by: a [`Label`], or two.
pub trait Key: Copy {
    /// How many there are.
    const COUNT: usize;

    /// Its place.
    fn index(self) -> usize;
}

impl<L: Label> Key for L {
    const COUNT: usize = L::ALL.len();

    fn index(self) -> usize {
        Label::index(self)
    }
}

impl<A: Label, B: Label> Key for (A, B) {
    const COUNT: usize = A::ALL.len() * B::ALL.len();

    fn index(self) -> usize {
        Label::index(self.0) * B::ALL.len() + Label::index(self.1)
    }
}

/// One measurement for each value of `K`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct By<K, V = u64> {
    values: Box<[V]>,
    key: PhantomData<K>,
}

impl<K: Key, V: Clone> By<K, V> {
    /// The same everywhere.
    #[must_use]
    pub fn new(value: V) -> Self {
        Self {
            values: vec![value; K::COUNT].into(),
            key: PhantomData,
        }
    }

    /// The one of `key`.
    #[must_use]
    pub fn of(&self, key: K) -> &V {
        &self.values[key.index()]
    }

    pub(crate) fn of_mut(&mut self, key: K) -> &mut V {
        &mut self.values[key.index()]
    }
}

impl<K: Key> By<K> {
    pub(crate) fn count(&mut self, key: K) {
        self.add(key, 1);
    }

    pub(crate) fn add(&mut self, key: K, n: u64) {
        let count = self.of_mut(key);
        *count = count.saturating_add(n);
    }
}

impl<K: Key> Default for By<K> {
    fn default() -> Self {
        Self::new(0)
    }
}

/// When a task ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TaskRuns {
    pub(crate) runs: u64,
    pub(crate) last_run: Option<Mono>,
    /// When it last did what it is for.
    pub(crate) last_ok: Option<Mono>,
}

/// What a node has measured since its start, some 5 KiB.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Measurements {
    /// Requests of peers that came whole.
    pub served: By<(Method, ServedOutcome)>,
    /// From a whole request to its answer. Requests that wait for news take as long as these.
    pub served_time: By<Method, Histogram>,
    /// Calls to peers that are over.
    pub calls: By<(Method, CallOutcome)>,
    /// From the start of a call to its answer, opening a stream included.
    pub call_time: By<Method, Histogram>,
    /// Bytes of whole messages, of both sides.
    pub message_bytes: By<(Direction, Method)>,
    /// Operations that are over.
    pub operations: By<(OperationKind, OperationOutcome)>,
    /// From command to outcome.
    pub operation_time: By<OperationKind, Histogram>,
    /// From the command of a read to its first verified value.
    pub first_value_time: Histogram,
    /// Referrals between this node and the nearest peer that answered, of lookups that ended by
    /// themselves.
    pub lookup_hops: Histogram,
    /// Requests of such a lookup, those that store included.
    pub lookup_requests: Histogram,
    /// Peers that hold an item after a put or a renewal.
    pub put_replicas: Histogram,
    /// Items given to peers by puts and renewals, and answered.
    pub replicas_asked: u64,
    /// Items refused: inbound by this node, wherever they came from, outbound by peers.
    pub refusals: By<(Side, Refusal)>,
    /// Reads that brought a value.
    pub reads: By<(Origin, Source)>,
    /// Since the signers of such values vouched for them, as far as known.
    pub read_age: By<Origin, Histogram>,
    /// Repairs of holders that lag.
    pub repairs: By<RepairOutcome>,
    /// Signatures checked.
    pub verified: By<VerifyOutcome>,
    /// From handing a check to the driver to its verdict.
    pub verify_time: Histogram,
    /// Sessions of reconciliation that this node started.
    pub syncs: By<(SyncKind, SyncResult)>,
    /// When tasks ran; a snapshot has them by age.
    pub(crate) tasks: By<Task, TaskRuns>,
}

impl Measurements {
    /// A task begins.
    pub(crate) fn task_ran(&mut self, task: Task, now: Mono) {
        let runs = self.tasks.of_mut(task);
        runs.runs = runs.runs.saturating_add(1);
        runs.last_run = Some(now);
    }

    /// A task, or a part of it, did what it is for.
    pub(crate) fn task_did(&mut self, task: Task, now: Mono) {
        self.tasks.of_mut(task).last_ok = Some(now);
    }
}

impl Default for Measurements {
    fn default() -> Self {
        let time = Histogram::new(Scale::Duration);
        Self {
            served: By::default(),
            served_time: By::new(time.clone()),
            calls: By::default(),
            call_time: By::new(time.clone()),
            message_bytes: By::default(),
            operations: By::default(),
            operation_time: By::new(time.clone()),
            first_value_time: time.clone(),
            lookup_hops: Histogram::new(Scale::Hops),
            lookup_requests: Histogram::new(Scale::Requests),
            put_replicas: Histogram::new(Scale::Replicas),
            replicas_asked: 0,
            refusals: By::default(),
            reads: By::default(),
            read_age: By::new(Histogram::new(Scale::Age)),
            repairs: By::default(),
            verified: By::default(),
            verify_time: time,
            syncs: By::default(),
            tasks: By::new(TaskRuns::default()),
        }
    }
}
