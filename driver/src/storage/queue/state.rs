//! State shared by the event loop and the storage thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::{ChangeId, StoreChange};

use crate::storage::contract::{Kept, StorageError, target_of};

/// Records that may wait for the event loop; loading continues when there are fewer.
pub(super) const MAX_LOADED: usize = 1_024;
/// Maximum number of targets with waiting changes while storage fails. Beyond it, the oldest change
/// is given up: it is counted, and acknowledged as not durable.
pub(super) const MAX_WAITING: usize = 65_536;
/// Maximum bytes of values in waiting changes; beyond it, the oldest change is given up.
pub(super) const MAX_WAITING_BYTES: usize = 64 << 20;
/// Pause after the first failure; doubled after each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Number of targets with unsynced changes, and bytes of their values, from which the next write
/// syncs.
pub(super) const MAX_UNSYNCED: usize = 16_384;
pub(super) const MAX_UNSYNCED_BYTES: usize = 16 << 20;

/// When a put that waits for storage is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Synced once per second, and at a clean shutdown: a crash loses at most the last second.
    #[default]
    Async,
    /// Synced with each write, which batches changes: nothing that was acknowledged is lost.
    Sync,
}

/// The state of storage.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum StorageHealth {
    /// There is no storage.
    #[default]
    None,
    /// Records of earlier runs are being read.
    Loading,
    /// Storage accepts changes.
    Good,
    /// Storage fails for this reason. Changes wait, and are retried after a few seconds at most.
    Failing(StorageError),
}

/// Counters of storage, all since the start, except `waiting` and `health`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct StorageStats {
    /// The kind of storage, see [`Storage::kind`](crate::storage::Storage::kind).
    pub kind: &'static str,
    /// The current state of storage.
    pub health: StorageHealth,
    /// Records of earlier runs, or of other nodes on a shared storage, that were passed to the
    /// node.
    pub loaded: u64,
    /// Values that are not records.
    pub damaged: u64,
    /// Changes that wait to be written now.
    pub waiting: usize,
    /// Changes written. Of several for one target, only the last one is.
    pub written: u64,
    /// Successful writes, each of many changes.
    pub writes: u64,
    /// Writes that failed.
    pub failures: u64,
    /// Changes given up because too many were waiting.
    pub given_up: u64,
}

/// The waiting change of one target.
pub(super) struct WaitingChange {
    pub(super) what: StoreChange,
    /// The ids to acknowledge: its own, and those of the changes that it replaced.
    pub(super) acknowledge: Vec<ChangeId>,
    pub(super) bytes: usize,
}

/// Result of loading, in the order of the targets.
#[allow(clippy::large_enum_variant, reason = "nearly all are records")]
#[derive(Debug)]
pub(crate) enum Loaded {
    /// A record of an earlier run, or of another node on a shared storage.
    Record(Kept),
    /// Everything before this target was loaded; with `None`, everything was.
    UpTo(Option<Target>),
}

/// The answer to a request for a target.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) target: Target,
    pub(crate) kept: Option<Kept>,
    /// Whether storage could be read.
    pub(crate) read: bool,
}

/// Changes that were written but not synced, and may still be lost.
#[derive(Default)]
pub(super) struct UnsyncedChanges {
    /// When the oldest of them was written.
    pub(super) since: Option<Instant>,
    pub(super) changes: BTreeMap<Target, WaitingChange>,
    pub(super) bytes: usize,
}

impl UnsyncedChanges {
    pub(super) fn add(&mut self, batch: Vec<WaitingChange>) {
        self.since.get_or_insert_with(Instant::now);
        for written in batch {
            self.bytes += written.bytes;
            let before = self.changes.insert(target_of(&written.what), written);
            self.bytes -= before.map_or(0, |before| before.bytes);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.changes.len() >= MAX_UNSYNCED || self.bytes >= MAX_UNSYNCED_BYTES
    }

    pub(super) fn take(&mut self) -> Vec<WaitingChange> {
        std::mem::take(self).changes.into_values().collect()
    }
}

#[derive(Default)]
pub(super) struct QueueState {
    pub(super) waiting: BTreeMap<Target, WaitingChange>,
    /// Targets in the order of their first waiting change; those already written are skipped.
    pub(super) order: VecDeque<Target>,
    pub(super) waiting_bytes: usize,
    pub(super) loaded: VecDeque<Loaded>,
    /// Waiting changes of marks, the last one for each mark.
    pub(super) marks_waiting: BTreeMap<(MarkKind, Target), MarkChange>,
    /// Targets that the node has requested, and the answers. The node bounds their number.
    pub(super) asked: VecDeque<Target>,
    pub(super) answers: VecDeque<Answer>,
    /// Marks of earlier runs, which the node takes before any record.
    pub(super) marks: VecDeque<StoredMark>,
    /// Targets whose records a shared storage has lost.
    pub(super) wanted: VecDeque<Target>,
    /// Acknowledgements: changes, and whether they are durable.
    pub(super) done: Vec<(ChangeId, bool)>,
    pub(super) ending: bool,
    /// Whether the thread has closed storage.
    pub(super) ended: bool,
    pub(super) stats: StorageStats,
}

pub(super) struct QueueShared {
    pub(super) state: Mutex<QueueState>,
    /// Notified when the storage thread has work.
    pub(super) work: Condvar,
    /// Wakes the event loop.
    pub(super) waker: Arc<AtomicWaker>,
}

impl QueueShared {
    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    pub(super) fn add(&mut self, change: ChangeId, what: StoreChange, acknowledge: bool) {
        let target = target_of(&what);
        let bytes = match &what {
            StoreChange::Keep(record) => record.item.value.as_bytes().len(),
            StoreChange::Forget(_) => 0,
        };
        self.waiting_bytes += bytes;
        let waiting = self.waiting.entry(target).or_insert_with(|| {
            self.order.push_back(target);
            WaitingChange {
                what: StoreChange::Forget(target),
                acknowledge: Vec::new(),
                bytes: 0,
            }
        });
        self.waiting_bytes -= std::mem::replace(&mut waiting.bytes, bytes);
        waiting.what = what;
        if acknowledge {
            waiting.acknowledge.push(change);
        }
        while self.waiting.len() > MAX_WAITING || self.waiting_bytes > MAX_WAITING_BYTES {
            let Some(given_up) = self.take_oldest() else {
                return;
            };
            self.stats.given_up += 1;
            self.done
                .extend(given_up.acknowledge.into_iter().map(|id| (id, false)));
        }
    }

    pub(super) fn add_mark(&mut self, change: MarkChange) {
        self.marks_waiting.insert(change.place(), change);
        if self.marks_waiting.len() > MAX_WAITING && self.marks_waiting.pop_first().is_some() {
            self.stats.given_up += 1;
        }
    }

    pub(super) fn take_oldest(&mut self) -> Option<WaitingChange> {
        let target = self.order.pop_front()?;
        let waiting = self.waiting.remove(&target)?;
        self.waiting_bytes -= waiting.bytes;
        Some(waiting)
    }

    /// Queues changes again that could not be written, unless a later one waits for the same
    /// target.
    pub(super) fn put_back(&mut self, batch: Vec<WaitingChange>) {
        for mut old in batch.into_iter().rev() {
            let target = target_of(&old.what);
            if let Some(later) = self.waiting.get_mut(&target) {
                old.acknowledge.append(&mut later.acknowledge);
                later.acknowledge = old.acknowledge;
            } else {
                self.waiting_bytes += old.bytes;
                self.waiting.insert(target, old);
                self.order.push_front(target);
            }
        }
    }
}
