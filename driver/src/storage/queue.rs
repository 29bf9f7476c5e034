//! Between the event loop, which never waits, and storage, which does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use skydht_core::id::Target;
use skydht_core::node::{ChangeId, StoreChange};

use super::contract::{Kept, News, Storage, StorageError, target_of};

/// Records of one page of loading.
const PAGE: usize = 256;
/// Records that wait for the event loop; loading goes on when they are fewer.
const MOST_LOADED: usize = 1_024;
/// Changes of one write.
const BATCH: usize = 4_096;
/// Targets whose changes may wait while storage does not take them. Beyond, the oldest is given
/// up: it is counted, and not durable.
const MOST_WAITING: usize = 65_536;
/// Bytes of values that may wait likewise.
const MOST_WAITING_BYTES: usize = 64 << 20;
/// Between the first two attempts while storage fails; twice as long after each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Between two questions for news when there are more.
const SOON: Duration = Duration::from_millis(5);
/// Targets that a shared storage wants again and the loop has not taken; no news until then.
const MOST_WANTED: usize = 1_024;
/// With [`Durability::Async`], what was written is durable after this.
const SYNC_EVERY: Duration = Duration::from_secs(1);
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
    loaded: VecDeque<Kept>,
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

    /// The next record of an earlier run, or of another who shares the storage; one whose
    /// signature has to be checked only if `unproven`.
    pub(crate) fn next_loaded(&self, unproven: bool) -> Option<Kept> {
        let mut state = self.shared.lock();
        if !unproven && state.loaded.front().is_some_and(|kept| !kept.proven) {
            return None;
        }
        let kept = state.loaded.pop_front()?;
        state.stats.loaded += 1;
        if state.loaded.len() == MOST_LOADED / 2 {
            self.shared.work.notify_one();
        }
        Some(kept)
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

/// The thread's side.
struct Worker {
    shared: Arc<Shared>,
    storage: Box<dyn Storage>,
    durability: Durability,
    /// Where loading goes on; none once everything is loaded.
    next_page: Option<Target>,
    unsynced: Unsynced,
    /// When a shared storage was asked for news, and when it is to be asked again.
    next_poll: Option<Instant>,
    /// Before the next attempt, should this one fail.
    pause: Duration,
}

impl Worker {
    fn run(mut self) {
        loop {
            let (batch, ending) = self.wait();
            let mut failed = None;
            if !batch.is_empty() {
                failed = self.write(batch);
            } else if self
                .unsynced
                .since
                .is_some_and(|at| ending || at.elapsed() >= SYNC_EVERY)
            {
                failed = self.write(Vec::new());
            } else if ending {
                return;
            }
            // Loading and writing take turns.
            if failed.is_none() && self.is_wanted() {
                failed = self.load();
            }
            if failed.is_none() && !ending && self.until_poll().is_some_and(|left| left.is_zero()) {
                failed = self.poll();
            }
            let failing = failed.is_some();
            self.note(failed);
            if !failing {
                self.pause = FIRST_PAUSE;
            } else if ending {
                return;
            } else {
                self.pause();
            }
        }
    }

    /// Waits for something to do, and takes what waits.
    fn wait(&mut self) -> (Vec<Waiting>, bool) {
        let mut state = self.shared.lock();
        loop {
            let loads = self.next_page.is_some() && state.loaded.len() < MOST_LOADED;
            if loads || !state.waiting.is_empty() || state.ending {
                break;
            }
            let sync = self.unsynced.since;
            let sync = sync.map(|since| SYNC_EVERY.saturating_sub(since.elapsed()));
            let Some(left) = sync.into_iter().chain(self.until_poll()).min() else {
                state = self
                    .shared
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if left.is_zero() {
                break;
            }
            let waited = self.shared.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(waiting) = state.take_oldest()
        {
            batch.push(waiting);
        }
        (batch, state.ending)
    }

    /// How long until a shared storage is asked for news.
    fn until_poll(&self) -> Option<Duration> {
        self.storage.poll_every()?;
        let at = self.next_poll.unwrap_or_else(Instant::now);
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Asks for news, unless what came before has not been taken.
    fn poll(&mut self) -> Option<StorageError> {
        let every = self.storage.poll_every()?;
        self.next_poll = Some(Instant::now() + every);
        let state = self.shared.lock();
        if state.loaded.len() >= MOST_LOADED || state.wanted.len() >= MOST_WANTED {
            return None;
        }
        drop(state);
        let news = match self.storage.poll() {
            Ok(news) => news,
            Err(error) => return Some(error),
        };
        if news.more {
            self.next_poll = Some(Instant::now() + SOON);
        }
        if news == News::default() {
            return None;
        }
        let mut state = self.shared.lock();
        state.stats.damaged += news.damaged as u64;
        state.loaded.extend(news.kept);
        state.wanted.extend(news.wanted);
        drop(state);
        self.shared.waker.wake();
        None
    }

    fn is_wanted(&self) -> bool {
        let state = self.shared.lock();
        self.next_page.is_some() && state.loaded.len() < MOST_LOADED && !state.ending
    }

    /// Writes changes; none: makes durable what was written. What was not made durable before a
    /// failure may be gone with it, hence waits again.
    fn write(&mut self, batch: Vec<Waiting>) -> Option<StorageError> {
        let changes: Vec<StoreChange> = batch.iter().map(|it| it.what.clone()).collect();
        let each = self.durability == Durability::Sync;
        let sync = each || batch.is_empty() || self.unsynced.is_full();
        let result = self.storage.write(&changes, sync);
        let mut state = self.shared.lock();
        if let Err(error) = result {
            state.put_back(batch);
            state.put_back(self.unsynced.take());
            return Some(error);
        }
        state.stats.writes += u64::from(!changes.is_empty());
        state.stats.written += changes.len() as u64;
        let durable = each && self.storage.is_durable();
        let mut batch = batch;
        let acknowledged = batch.iter_mut().flat_map(|it| it.acknowledge.drain(..));
        state.done.extend(acknowledged.map(|id| (id, durable)));
        drop(state);
        if sync {
            self.unsynced = Unsynced::default();
        } else {
            self.unsynced.add(batch);
        }
        self.shared.waker.wake();
        None
    }

    fn load(&mut self) -> Option<StorageError> {
        let page = match self.storage.page(self.next_page?, PAGE) {
            Ok(page) => page,
            Err(error) => return Some(error),
        };
        self.next_page = page.next;
        let mut state = self.shared.lock();
        state.stats.damaged += page.damaged as u64;
        state.loaded.extend(page.kept);
        drop(state);
        self.shared.waker.wake();
        None
    }

    fn note(&self, failed: Option<StorageError>) {
        let mut state = self.shared.lock();
        state.stats.failures += u64::from(failed.is_some());
        state.stats.health = match failed {
            Some(error) => StorageHealth::Failing(error),
            None if self.next_page.is_some() => StorageHealth::Loading,
            None => StorageHealth::Good,
        };
    }

    /// Waits before the next attempt, or until the end.
    fn pause(&mut self) {
        let pause = self.pause;
        self.pause = LONGEST_PAUSE.min(pause * 2);
        let state = self.shared.lock();
        let until_end = |state: &mut State| !state.ending;
        drop(
            self.shared
                .work
                .wait_timeout_while(state, pause, until_end)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

#[cfg(test)]
mod tests;
