//! Between the event loop, which never waits, and storage, which does.

mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::{ChangeId, StoreChange};

use self::worker::Worker;
use super::contract::{Kept, Storage, StorageError, target_of};

/// Records that wait for the event loop; loading goes on when they are fewer.
const MOST_LOADED: usize = 1_024;
/// Targets whose changes may wait while storage does not take them. Beyond, the oldest is given
/// up: it is counted, and not durable.
const MOST_WAITING: usize = 65_536;
/// Bytes of values that may wait likewise.
const MOST_WAITING_BYTES: usize = 64 << 20;
/// Between the first two attempts while storage fails; twice as long after each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Or once it is of so many targets, or has so many bytes of values.
const MOST_UNSYNCED: usize = 16_384;
const MOST_UNSYNCED_BYTES: usize = 16 << 20;

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
    /// What it is, see [`Storage::kind`].
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

/// A storage and how it is used, for
/// [`StartOptions::storage`](crate::StartOptions::storage).
pub struct Persistence {
    storage: Box<dyn Storage>,
    durability: Durability,
}

impl Persistence {
    /// Uses `storage` so.
    #[must_use]
    pub fn new(storage: impl Storage, durability: Durability) -> Self {
        Self {
            storage: Box::new(storage),
            durability,
        }
    }

    /// Starts the thread, which wakes `waker` when it has something for the loop.
    pub(crate) fn start(self, waker: Arc<AtomicWaker>) -> std::io::Result<StorageQueue> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                stats: StorageStats {
                    kind: self.storage.kind(),
                    health: StorageHealth::Loading,
                    ..StorageStats::default()
                },
                ..State::default()
            }),
            work: Condvar::new(),
            waker,
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            storage: self.storage,
            durability: self.durability,
            next_page: Some(Target::default()),
            marks_read: false,
            given: BTreeSet::new(),
            unsynced_marks: BTreeMap::new(),
            unsynced: Unsynced::default(),
            next_poll: None,
            pause: FIRST_PAUSE,
        };
        let thread = thread::Builder::new()
            .name("skydht-storage".into())
            .spawn(move || {
                let shared = Arc::clone(&worker.shared);
                worker.run();
                shared.lock().ended = true;
                shared.waker.wake();
            })?;
        Ok(StorageQueue {
            shared,
            thread: Some(thread),
        })
    }
}

/// A change of one target that waits.
struct Waiting {
    what: StoreChange,
    /// Those who want to know when it is durable: its own number, and those that it replaced.
    acknowledge: Vec<ChangeId>,
    bytes: usize,
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
struct Unsynced {
    /// Since when there is something.
    since: Option<Instant>,
    changes: BTreeMap<Target, Waiting>,
    bytes: usize,
}

impl Unsynced {
    fn add(&mut self, batch: Vec<Waiting>) {
        self.since.get_or_insert_with(Instant::now);
        for written in batch {
            self.bytes += written.bytes;
            let before = self.changes.insert(target_of(&written.what), written);
            self.bytes -= before.map_or(0, |before| before.bytes);
        }
    }

    fn is_full(&self) -> bool {
        self.changes.len() >= MOST_UNSYNCED || self.bytes >= MOST_UNSYNCED_BYTES
    }

    fn take(&mut self) -> Vec<Waiting> {
        std::mem::take(self).changes.into_values().collect()
    }
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Target, Waiting>,
    /// In the order of their first change; some may have been written meanwhile.
    order: VecDeque<Target>,
    waiting_bytes: usize,
    loaded: VecDeque<Loaded>,
    /// Changes of marks that wait, the last of each place.
    marks_waiting: BTreeMap<(MarkKind, Target), MarkChange>,
    /// Targets that the node needs before their turn, and what was found for them. The node bounds
    /// how many they are.
    asked: VecDeque<Target>,
    answers: VecDeque<Answer>,
    /// What earlier runs remembered; the node takes it before anything else.
    marks: VecDeque<StoredMark>,
    /// Targets whose records the storage wants again.
    wanted: VecDeque<Target>,
    /// Answers for the node: which change, and whether it is durable.
    done: Vec<(ChangeId, bool)>,
    ending: bool,
    /// The thread has closed the storage.
    ended: bool,
    stats: StorageStats,
}

struct Shared {
    state: Mutex<State>,
    /// For the worker.
    work: Condvar,
    /// For the loop.
    waker: Arc<AtomicWaker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, change: ChangeId, what: StoreChange, acknowledge: bool) {
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

    fn add_mark(&mut self, change: MarkChange) {
        self.marks_waiting.insert(change.place(), change);
        if self.marks_waiting.len() > MOST_WAITING && self.marks_waiting.pop_first().is_some() {
            self.stats.given_up += 1;
        }
    }

    fn take_oldest(&mut self) -> Option<Waiting> {
        let target = self.order.pop_front()?;
        let waiting = self.waiting.remove(&target)?;
        self.waiting_bytes -= waiting.bytes;
        Some(waiting)
    }

    /// Puts back what could not be written, unless something later waits for its target.
    fn put_back(&mut self, batch: Vec<Waiting>) {
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

/// The loop's side.
pub(crate) struct StorageQueue {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl StorageQueue {
    /// Hands in a change. Never waits.
    pub(crate) fn submit(&self, change: ChangeId, what: StoreChange, acknowledge: bool) {
        let mut state = self.shared.lock();
        state.add(change, what, acknowledge);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Hands in a change of a mark. Never waits.
    pub(crate) fn submit_mark(&self, change: MarkChange) {
        let mut state = self.shared.lock();
        state.add_mark(change);
        drop(state);
        self.shared.work.notify_one();
    }

    /// The next mark of an earlier run.
    pub(crate) fn next_mark(&self) -> Option<StoredMark> {
        self.shared.lock().marks.pop_front()
    }

    /// Asks for what lies at a target, before its turn. While storage fails the answer is that it
    /// cannot be read.
    pub(crate) fn ask(&self, target: Target) {
        let mut state = self.shared.lock();
        if matches!(state.stats.health, StorageHealth::Failing(_)) {
            state.answers.push_back(Answer {
                target,
                kept: None,
                read: false,
            });
            drop(state);
            return self.shared.waker.wake();
        }
        state.asked.push_back(target);
        drop(state);
        self.shared.work.notify_one();
    }

    /// The next answer to what was asked.
    pub(crate) fn next_answer(&self) -> Option<Answer> {
        let mut state = self.shared.lock();
        let answer = state.answers.pop_front()?;
        state.stats.loaded += u64::from(answer.kept.is_some());
        Some(answer)
    }

    /// What comes next of an earlier run, or of another who shares the storage; a record whose
    /// signature has to be checked only if `unproven`.
    pub(crate) fn next_loaded(&self, unproven: bool) -> Option<Loaded> {
        let mut state = self.shared.lock();
        let needs_check = |loaded: &Loaded| matches!(loaded, Loaded::Record(it) if !it.proven);
        if !unproven && state.loaded.front().is_some_and(needs_check) {
            return None;
        }
        let loaded = state.loaded.pop_front()?;
        state.stats.loaded += u64::from(matches!(loaded, Loaded::Record(_)));
        if state.loaded.len() == MOST_LOADED / 2 {
            self.shared.work.notify_one();
        }
        Some(loaded)
    }

    /// The next target whose record the storage has lost.
    pub(crate) fn next_wanted(&self) -> Option<Target> {
        self.shared.lock().wanted.pop_front()
    }

    /// Swaps the answers with `empty`.
    pub(crate) fn take_done(&self, empty: &mut Vec<(ChangeId, bool)>) {
        std::mem::swap(&mut self.shared.lock().done, empty);
    }

    /// Nothing more is handed in: what waits is written and synced if storage takes it, and the
    /// storage closed.
    pub(crate) fn end(&self) {
        self.shared.lock().ending = true;
        self.shared.work.notify_one();
    }

    /// Whether the storage is closed.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.lock().ended
    }

    pub(crate) fn stats(&self) -> StorageStats {
        let state = self.shared.lock();
        StorageStats {
            waiting: state.waiting.len(),
            ..state.stats.clone()
        }
    }
}

impl Drop for StorageQueue {
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
