//! Measurements of a node by kind, in arrays indexed by enums. Names and formats are made
//! elsewhere.

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

/// The index of an array of measurements: a [`Label`], or a pair of them.
pub trait Key: Copy {
    /// Number of values.
    const COUNT: usize;

    /// Index in the array.
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

/// One measurement per value of `K`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct By<K, V = u64> {
    values: Box<[V]>,
    key: PhantomData<K>,
}

impl<K: Key, V: Clone> By<K, V> {
    /// Creates an array with `value` everywhere.
    #[must_use]
    pub fn new(value: V) -> Self {
        Self {
            values: vec![value; K::COUNT].into(),
            key: PhantomData,
        }
    }

    /// The measurement of `key`.
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

/// Runs of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TaskRuns {
    pub(crate) runs: u64,
    pub(crate) last_run: Option<Mono>,
    /// When it last succeeded.
    pub(crate) last_ok: Option<Mono>,
}

/// Measurements since the start of a node, some 5 KiB.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Measurements {
    /// Complete requests of peers.
    pub served: By<(Method, ServedOutcome)>,
    /// Time from a complete request to its answer; for long polls this includes the wait.
    pub served_time: By<Method, Histogram>,
    /// Calls to peers that have ended.
    pub calls: By<(Method, CallOutcome)>,
    /// Time from the start of a call to its answer, opening the stream included.
    pub call_time: By<Method, Histogram>,
    /// Bytes of complete messages, requests and answers.
    pub message_bytes: By<(Direction, Method)>,
    /// Operations that have ended.
    pub operations: By<(OperationKind, OperationOutcome)>,
    /// Time from command to outcome.
    pub operation_time: By<OperationKind, Histogram>,
    /// Time from the command of a read to its first verified value.
    pub first_value_time: Histogram,
    /// Referrals between this node and the nearest peer that answered, for lookups that were not
    /// stopped.
    pub lookup_hops: Histogram,
    /// Requests of those lookups, including those that store.
    pub lookup_requests: Histogram,
    /// Peers that hold an item after a put or a renewal.
    pub put_replicas: Histogram,
    /// Requests to store or renew an item that peers answered.
    pub replicas_asked: u64,
    /// Refused items: inbound by this node, whatever their source; outbound by peers.
    pub refusals: By<(Side, Refusal)>,
    /// Reads that returned a value.
    pub reads: By<(Origin, Source)>,
    /// Time since the signers of those values vouched for them, where known.
    pub read_age: By<Origin, Histogram>,
    /// Repairs of stale holders.
    pub repairs: By<RepairOutcome>,
    /// Signatures checked.
    pub verified: By<VerifyOutcome>,
    /// Time from passing a check to the driver to its verdict.
    pub verify_time: Histogram,
    /// Sessions of reconciliation that this node started.
    pub syncs: By<(SyncKind, SyncResult)>,
    /// Runs of tasks; a snapshot reports them by age.
    pub(crate) tasks: By<Task, TaskRuns>,
}

impl Measurements {
    /// Records that a task started.
    pub(crate) fn task_started(&mut self, task: Task, now: Mono) {
        let runs = self.tasks.of_mut(task);
        runs.runs = runs.runs.saturating_add(1);
        runs.last_run = Some(now);
    }

    /// Records that a task, or a part of it, succeeded.
    pub(crate) fn task_succeeded(&mut self, task: Task, now: Mono) {
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
