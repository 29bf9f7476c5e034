//! The queue between the event loop, which must not block, and storage, which does.

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

use self::state::{FIRST_PAUSE, MAX_LOADED, QueueShared, QueueState, UnsyncedChanges};
use self::worker::Worker;
use super::contract::Storage;

/// A storage and its durability, for [`StartOptions::storage`](crate::StartOptions::storage).
pub struct Persistence {
    storage: Box<dyn Storage>,
    durability: Durability,
}

impl Persistence {
    /// Uses `storage` with this durability.
    #[must_use]
    pub fn new(storage: impl Storage, durability: Durability) -> Self {
        Self {
            storage: Box::new(storage),
            durability,
        }
    }

    /// Starts the storage thread, which wakes `waker` when it has something for the event loop.
    pub(crate) fn start(self, waker: Arc<AtomicWaker>) -> std::io::Result<StorageQueue> {
        let shared = Arc::new(QueueShared {
            state: Mutex::new(QueueState {
                stats: StorageStats {
                    kind: self.storage.kind(),
                    health: StorageHealth::Loading,
                    ..StorageStats::default()
                },
                ..QueueState::default()
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
            passed: BTreeSet::new(),
            unsynced_marks: BTreeMap::new(),
            unsynced: UnsyncedChanges::default(),
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

/// The event loop's side of the queue.
pub(crate) struct StorageQueue {
    shared: Arc<QueueShared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl StorageQueue {
    /// Queues a change without blocking.
    pub(crate) fn submit(&self, change: ChangeId, what: StoreChange, acknowledge: bool) {
        let mut state = self.shared.lock();
        state.add(change, what, acknowledge);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Queues a change of a mark without blocking.
    pub(crate) fn submit_mark(&self, change: MarkChange) {
        let mut state = self.shared.lock();
        state.add_mark(change);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Returns the next mark of an earlier run.
    pub(crate) fn next_mark(&self) -> Option<StoredMark> {
        self.shared.lock().marks.pop_front()
    }

    /// Requests the record at a target ahead of the regular loading. While storage fails, the
    /// answer says immediately that it cannot be read.
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

    /// Returns the next answer to a request.
    pub(crate) fn next_answer(&self) -> Option<Answer> {
        let mut state = self.shared.lock();
        let answer = state.answers.pop_front()?;
        state.stats.loaded += u64::from(answer.kept.is_some());
        Some(answer)
    }

    /// Returns the next record that an earlier run, or another node on a shared storage, has
    /// written, or the progress of loading. Records whose signature has to be verified are returned
    /// only if `unproven`.
    pub(crate) fn next_loaded(&self, unproven: bool) -> Option<Loaded> {
        let mut state = self.shared.lock();
        let needs_check = |loaded: &Loaded| matches!(loaded, Loaded::Record(it) if !it.proven);
        if !unproven && state.loaded.front().is_some_and(needs_check) {
            return None;
        }
        let loaded = state.loaded.pop_front()?;
        state.stats.loaded += u64::from(matches!(loaded, Loaded::Record(_)));
        if state.loaded.len() == MAX_LOADED / 2 {
            self.shared.work.notify_one();
        }
        Some(loaded)
    }

    /// Returns the next target whose record a shared storage has lost.
    pub(crate) fn next_wanted(&self) -> Option<Target> {
        self.shared.lock().wanted.pop_front()
    }

    /// Swaps the acknowledgements with `empty`.
    pub(crate) fn take_done(&self, empty: &mut Vec<(ChangeId, bool)>) {
        std::mem::swap(&mut self.shared.lock().done, empty);
    }

    /// Ends the queue: waiting changes are written and synced if storage accepts them, and storage
    /// is closed.
    pub(crate) fn end(&self) {
        self.shared.lock().ending = true;
        self.shared.work.notify_one();
    }

    /// Returns whether storage is closed.
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
            // A panic was reported already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
