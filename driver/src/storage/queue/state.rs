//! What the event loop and the thread that reads and writes storage share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::{ChangeId, StoreChange};

use crate::storage::contract::{Kept, StorageError, target_of};

/// Records that wait for the event loop; loading goes on when they are fewer.
pub(super) const MOST_LOADED: usize = 1_024;
/// Targets whose changes may wait while storage does not take them. Beyond, the oldest is given
/// up: it is counted, and not durable.
pub(super) const MOST_WAITING: usize = 65_536;
/// Bytes of values that may wait likewise.
pub(super) const MOST_WAITING_BYTES: usize = 64 << 20;
/// Between the first two attempts while storage fails; twice as long after each.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Or once it is of so many targets, or has so many bytes of values.
pub(super) const MOST_UNSYNCED: usize = 16_384;
pub(super) const MOST_UNSYNCED_BYTES: usize = 16 << 20;

/// When a put that asks for it counts as kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Synced once a second, and at a clean end: a crash loses at most the last second.
    #[default]
    Async,
    /// Synced with each write, many changes at once: nothing that was acknowledged is lost.
    Sync,
}

/// How storage does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum StorageHealth {
    /// There is none.
    #[default]
    None,
    /// What earlier runs left is still being read.
    Loading,
    /// It takes what it is given.
    Good,
    /// It does not, for this reason; changes wait and are tried again after some seconds at most.
    Failing(StorageError),
}

/// What persistence counts; all since the start, except `waiting` and `health`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct StorageStats {
    /// What it is, see [`Storage::kind`](crate::storage::Storage::kind).
    pub kind: &'static str,
    /// How it does now.
    pub health: StorageHealth,
    /// Records of earlier runs, and of others who share the storage, that were given to the node.
    pub loaded: u64,
    /// Values found that are no records.
    pub damaged: u64,
    /// Changes that wait to be written now.
    pub waiting: usize,
    /// Changes written; of several for one target only the last is.
    pub written: u64,
    /// Writes, each of many changes.
    pub writes: u64,
    /// Writes that failed.
    pub failures: u64,
    /// Changes given up because too many waited.
    pub given_up: u64,
}

/// A change of one target that waits.
pub(super) struct Waiting {
    pub(super) what: StoreChange,
    /// Those who want to know when it is durable: its own number, and those that it replaced.
    pub(super) acknowledge: Vec<ChangeId>,
    pub(super) bytes: usize,
}

/// What comes of loading, in the order of the targets.
#[allow(clippy::large_enum_variant, reason = "nearly all are records")]
#[derive(Debug)]
pub(crate) enum Loaded {
    /// A record of an earlier run, or of another who shares the storage.
    Record(Kept),
    /// Everything before this target has come; everything, if there is none.
    UpTo(Option<Target>),
}

/// What lies at a target that the node asked for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) target: Target,
    pub(crate) kept: Option<Kept>,
    /// Storage could be read.
    pub(crate) read: bool,
}

/// What storage has taken and may still lose: kept until it is synced.
#[derive(Default)]
pub(super) struct Unsynced {
    /// Since when there is something.
    pub(super) since: Option<Instant>,
    pub(super) changes: BTreeMap<Target, Waiting>,
    pub(super) bytes: usize,
}

impl Unsynced {
    pub(super) fn add(&mut self, batch: Vec<Waiting>) {
        self.since.get_or_insert_with(Instant::now);
        for written in batch {
            self.bytes += written.bytes;
            let before = self.changes.insert(target_of(&written.what), written);
            self.bytes -= before.map_or(0, |before| before.bytes);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.changes.len() >= MOST_UNSYNCED || self.bytes >= MOST_UNSYNCED_BYTES
    }

    pub(super) fn take(&mut self) -> Vec<Waiting> {
        std::mem::take(self).changes.into_values().collect()
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: BTreeMap<Target, Waiting>,
    /// In the order of their first change; some may have been written meanwhile.
    pub(super) order: VecDeque<Target>,
    pub(super) waiting_bytes: usize,
    pub(super) loaded: VecDeque<Loaded>,
    /// Changes of marks that wait, the last of each place.
    pub(super) marks_waiting: BTreeMap<(MarkKind, Target), MarkChange>,
    /// Targets that the node needs before their turn, and what was found for them. The node bounds
    /// how many they are.
    pub(super) asked: VecDeque<Target>,
    pub(super) answers: VecDeque<Answer>,
    /// What earlier runs remembered; the node takes it before anything else.
    pub(super) marks: VecDeque<StoredMark>,
    /// Targets whose records the storage wants again.
    pub(super) wanted: VecDeque<Target>,
    /// Answers for the node: which change, and whether it is durable.
    pub(super) done: Vec<(ChangeId, bool)>,
    pub(super) ending: bool,
    /// The thread has closed the storage.
    pub(super) ended: bool,
    pub(super) stats: StorageStats,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// For the worker.
    pub(super) work: Condvar,
    /// For the loop.
    pub(super) waker: Arc<AtomicWaker>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn add(&mut self, change: ChangeId, what: StoreChange, acknowledge: bool) {
        let target = target_of(&what);
        let bytes = match &what {
            StoreChange::Keep(record) => record.item.value.as_bytes().len(),
            StoreChange::Forget(_) => 0,
        };
        self.waiting_bytes += bytes;
        let waiting = self.waiting.entry(target).or_insert_with(|| {
            self.order.push_back(target);
            Waiting {
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
        while self.waiting.len() > MOST_WAITING || self.waiting_bytes > MOST_WAITING_BYTES {
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
        if self.marks_waiting.len() > MOST_WAITING && self.marks_waiting.pop_first().is_some() {
            self.stats.given_up += 1;
        }
    }

    pub(super) fn take_oldest(&mut self) -> Option<Waiting> {
        let target = self.order.pop_front()?;
        let waiting = self.waiting.remove(&target)?;
        self.waiting_bytes -= waiting.bytes;
        Some(waiting)
    }

    /// Puts back what could not be written, unless something later waits for its target.
    pub(super) fn put_back(&mut self, batch: Vec<Waiting>) {
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
