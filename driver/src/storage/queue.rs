//! Between the event loop, which never waits, and storage, which does.

mod state;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use futures::task::AtomicWaker;
use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, StoredMark};
use skydht_core::node::{ChangeId, StoreChange};

pub(crate) use self::state::{Answer, Loaded};
pub use self::state::{Durability, StorageHealth, StorageStats};

use self::state::{FIRST_PAUSE, MOST_LOADED, Shared, State, Unsynced};
use self::worker::Worker;
use super::contract::Storage;

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
