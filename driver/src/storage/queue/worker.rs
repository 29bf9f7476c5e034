//! The storage thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, MarkKind};
use skydht_core::node::{ChangeId, StoreChange};
use skydht_core::store::merge::{Judgement, Rank, judge};

use super::state::{
    Answer, Durability, FIRST_PAUSE, Loaded, MAX_LOADED, QueueShared, QueueState, StorageHealth,
    UnsyncedChanges, WaitingChange,
};
use crate::storage::contract::{Kept, News, Storage, StorageError, target_of};

/// Maximum number of records in one page of loading.
const PAGE: usize = 256;
/// Maximum number of changes in one write.
const BATCH: usize = 4_096;
/// Longest pause between two attempts while storage fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Pause between two polls while there are more changes.
const POLL_AGAIN_AFTER: Duration = Duration::from_millis(5);
/// Maximum number of lost targets that wait for the event loop; storage is not polled while there
/// are more.
const MAX_WANTED: usize = 1_024;
/// How long a write may stay unsynced with [`Durability::Async`].
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of targets remembered as already passed to the node; beyond it, all are
/// forgotten, which only causes repeated reads.
const MAX_PASSED: usize = 65_536;

/// Changes of marks by kind and target.
type Marks = BTreeMap<(MarkKind, Target), MarkChange>;

/// Work taken from the queue.
struct Work {
    marks: Marks,
    /// Targets that the node has requested.
    asked: VecDeque<Target>,
    batch: Vec<WaitingChange>,
    /// Whether nothing more will be queued.
    ending: bool,
}

/// Changes to write, and ids of changes that are outranked; after an error, all changes that are
/// left.
type Split = Result<(Vec<WaitingChange>, Vec<ChangeId>), (Vec<WaitingChange>, StorageError)>;

/// The storage thread's side of the queue.
pub(super) struct Worker {
    pub(super) shared: Arc<QueueShared>,
    pub(super) storage: Box<dyn Storage>,
    pub(super) durability: Durability,
    /// Where loading continues; `None` once everything is loaded.
    pub(super) next_page: Option<Target>,
    /// Whether the marks of earlier runs were read.
    pub(super) marks_read: bool,
    /// Changes of marks that were written and are not synced yet.
    pub(super) unsynced_marks: BTreeMap<(MarkKind, Target), MarkChange>,
    /// Targets at or after `next_page` whose record was already passed to the node.
    pub(super) passed: BTreeSet<Target>,
    pub(super) unsynced: UnsyncedChanges,
    /// When a shared storage is polled next; `None` before the first poll.
    pub(super) next_poll: Option<Instant>,
    /// How long to wait if the next attempt fails.
    pub(super) pause: Duration,
}

impl Worker {
    pub(super) fn run(mut self) {
        loop {
            let Work {
                asked,
                batch,
                marks,
                ending,
            } = self.wait();
            // Answer requests first, since operations wait for them.
            let mut failed = self.load_marks();
            if failed.is_none() {
                failed = self.answer(asked);
            } else {
                self.shared.lock().asked.extend(asked);
            }
            if failed.is_some() {
                self.put_back(batch, marks);
            } else if !batch.is_empty() || !marks.is_empty() {
                failed = self.write(batch, marks);
            } else if self
                .unsynced
                .since
                .is_some_and(|at| ending || at.elapsed() >= SYNC_INTERVAL)
            {
                failed = self.write(Vec::new(), Marks::new());
            } else if ending {
                return;
            }
            // Load a page after each write, so that neither starves the other.
            if failed.is_none() && self.is_wanted() {
                failed = self.load();
            }
            if failed.is_none() && !ending && self.until_poll().is_some_and(|left| left.is_zero()) {
                failed = self.poll();
            }
            let failing = failed.is_some();
            self.update_health(failed);
            if !failing {
                self.pause = FIRST_PAUSE;
            } else if ending {
                return;
            } else {
                self.pause();
            }
        }
    }

    /// Waits for work and takes it from the queue.
    fn wait(&mut self) -> Work {
        let mut state = self.shared.lock();
        loop {
            let loads = self.next_page.is_some() && state.loaded.len() < MAX_LOADED;
            let waits = !state.waiting.is_empty() || !state.marks_waiting.is_empty();
            if loads || !self.marks_read || !state.asked.is_empty() || waits || state.ending {
                break;
            }
            let sync = self.unsynced.since;
            let sync = sync.map(|since| SYNC_INTERVAL.saturating_sub(since.elapsed()));
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
        Work {
            asked: std::mem::take(&mut state.asked),
            marks: std::mem::take(&mut state.marks_waiting),
            batch,
            ending: state.ending,
        }
    }

    /// Returns the time until the next poll; `None` if storage is not polled.
    fn until_poll(&self) -> Option<Duration> {
        self.storage.poll_every()?;
        let at = self.next_poll.unwrap_or_else(Instant::now);
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Polls a shared storage, unless the event loop has not taken the previous results.
    fn poll(&mut self) -> Option<StorageError> {
        let every = self.storage.poll_every()?;
        self.next_poll = Some(Instant::now() + every);
        let state = self.shared.lock();
        if state.loaded.len() >= MAX_LOADED || state.wanted.len() >= MAX_WANTED {
            return None;
        }
        drop(state);
        let news = match self.storage.poll() {
            Ok(news) => news,
            Err(error) => return Some(error),
        };
        if news.more {
            self.next_poll = Some(Instant::now() + POLL_AGAIN_AFTER);
        }
        if news == News::default() {
            return None;
        }
        let mut state = self.shared.lock();
        state.stats.damaged += news.damaged as u64;
        state
            .loaded
            .extend(news.kept.into_iter().map(Loaded::Record));
        state.wanted.extend(news.wanted);
        drop(state);
        self.shared.waker.wake();
        None
    }

    fn is_wanted(&self) -> bool {
        let state = self.shared.lock();
        self.next_page.is_some() && state.loaded.len() < MAX_LOADED && !state.ending
    }

    /// Writes changes; without any, syncs what was written. After a failure, all unsynced changes
    /// are queued again, since they may be lost.
    fn write(&mut self, batch: Vec<WaitingChange>, marks: Marks) -> Option<StorageError> {
        let (batch, outranked) = match self.split_unread(batch) {
            Ok(split) => split,
            Err((batch, error)) => {
                self.put_back(batch, marks);
                return Some(error);
            }
        };
        let changes: Vec<StoreChange> = batch.iter().map(|it| it.what.clone()).collect();
        let each = self.durability == Durability::Sync;
        let sync = each || (changes.is_empty() && marks.is_empty()) || self.unsynced.is_full();
        let changed: Vec<MarkChange> = marks.values().copied().collect();
        let mut result = match changed.is_empty() {
            true => Ok(()),
            false => self.storage.write_marks(&changed),
        };
        if result.is_ok() && (sync || !changes.is_empty()) {
            result = self.storage.write(&changes, sync);
        }
        let mut state = self.shared.lock();
        if let Err(error) = result {
            state
                .done
                .extend(outranked.into_iter().map(|id| (id, false)));
            drop(state);
            self.put_back(batch, marks);
            let unsynced = std::mem::take(&mut self.unsynced_marks);
            let batch = self.unsynced.take();
            self.put_back(batch, unsynced);
            return Some(error);
        }
        state.stats.writes += u64::from(!changes.is_empty());
        state.stats.written += changes.len() as u64;
        let durable = each && self.storage.is_durable();
        let mut batch = batch;
        let acknowledged = batch.iter_mut().flat_map(|it| it.acknowledge.drain(..));
        // The stored records that outrank these changes are in storage, so they are as durable.
        let acknowledged = acknowledged.chain(outranked);
        state.done.extend(acknowledged.map(|id| (id, durable)));
        drop(state);
        if sync {
            self.unsynced = UnsyncedChanges::default();
            self.unsynced_marks.clear();
        } else {
            self.unsynced.add(batch);
            self.unsynced_marks.extend(marks);
        }
        self.shared.waker.wake();
        None
    }

    /// Queues changes again that could not be written, unless a later one waits for the same place.
    fn put_back(&self, batch: Vec<WaitingChange>, marks: Marks) {
        let mut state = self.shared.lock();
        state.put_back(batch);
        for (place, change) in marks {
            state.marks_waiting.entry(place).or_insert(change);
        }
    }

    /// Reads the marks of earlier runs, before anything else.
    fn load_marks(&mut self) -> Option<StorageError> {
        if self.marks_read {
            return None;
        }
        let marks = match self.storage.marks() {
            Ok(marks) => marks,
            Err(error) => return Some(error),
        };
        self.marks_read = true;
        self.shared.lock().marks.extend(marks);
        self.shared.waker.wake();
        None
    }

    /// Reads the requested targets.
    fn answer(&mut self, asked: VecDeque<Target>) -> Option<StorageError> {
        if asked.is_empty() {
            return None;
        }
        let mut failed = None;
        for target in asked {
            let mut answer = Answer {
                target,
                kept: None,
                read: false,
            };
            if failed.is_none() {
                match self.storage.get(&target) {
                    Ok(kept) => {
                        self.note_passed(target);
                        (answer.kept, answer.read) = (kept, true);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            self.shared.lock().answers.push_back(answer);
        }
        self.shared.waker.wake();
        failed
    }

    /// Remembers that the node has, or will have before later changes, the record at a target.
    fn note_passed(&mut self, target: Target) {
        if self.next_page.is_none_or(|next| target < next) {
            return;
        }
        if self.passed.len() >= MAX_PASSED {
            self.passed.clear();
        }
        self.passed.insert(target);
    }

    /// Splits off changes of targets whose stored record the node has not seen, if that record
    /// outranks the change or would be removed unseen: the node receives the record instead, and
    /// decides again. The second part are the ids of these changes to acknowledge.
    fn split_unread(&mut self, batch: Vec<WaitingChange>) -> Split {
        let Some(next) = self.next_page.filter(|_| !self.storage.is_shared()) else {
            return Ok((batch, Vec::new()));
        };
        let (mut written, mut outranked) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut batch = batch.into_iter();
        while let Some(change) = batch.next() {
            let target = target_of(&change.what);
            if target < next || self.passed.contains(&target) {
                written.push(change);
                continue;
            }
            let stored = match self.storage.get(&target) {
                Ok(stored) => stored,
                Err(error) => {
                    written.push(change);
                    written.extend(batch);
                    return Err((written, error));
                }
            };
            self.note_passed(target);
            match stored.filter(|stored| outranks(stored, &change.what)) {
                None => written.push(change),
                Some(stored) => {
                    outranked.extend(change.acknowledge);
                    self.shared.lock().loaded.push_back(Loaded::Record(stored));
                    self.shared.waker.wake();
                }
            }
        }
        Ok((written, outranked))
    }

    fn load(&mut self) -> Option<StorageError> {
        let page = match self.storage.page(self.next_page?, PAGE) {
            Ok(page) => page,
            Err(error) => return Some(error),
        };
        self.next_page = page.next;
        while let Some(first) = self.passed.first()
            && self.next_page.is_none_or(|next| *first < next)
        {
            self.passed.pop_first();
        }
        let mut state = self.shared.lock();
        state.stats.damaged += page.damaged as u64;
        state
            .loaded
            .extend(page.kept.into_iter().map(Loaded::Record));
        state.loaded.push_back(Loaded::UpTo(page.next));
        drop(state);
        self.shared.waker.wake();
        None
    }

    fn update_health(&self, failed: Option<StorageError>) {
        let mut state = self.shared.lock();
        if failed.is_some() {
            let asked = std::mem::take(&mut state.asked);
            let unread = asked.into_iter().map(|target| Answer {
                target,
                kept: None,
                read: false,
            });
            state.answers.extend(unread);
            self.shared.waker.wake();
        }
        state.stats.failures += u64::from(failed.is_some());
        let health = match failed {
            Some(error) => StorageHealth::Failing(error),
            None if self.next_page.is_some() => StorageHealth::Loading,
            None => StorageHealth::Good,
        };
        if state.stats.health != health {
            // Wake the event loop after the results were queued: callers that wait for this state
            // must check again.
            state.stats.health = health;
            self.shared.waker.wake();
        }
    }

    /// Waits before the next attempt, or until the queue ends.
    fn pause(&mut self) {
        let pause = self.pause;
        self.pause = LONGEST_PAUSE.min(pause * 2);
        let state = self.shared.lock();
        let until_end = |state: &mut QueueState| !state.ending;
        drop(
            self.shared
                .work
                .wait_timeout_while(state, pause, until_end)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Returns whether a stored record that the node has not seen takes precedence over a change.
fn outranks(stored: &Kept, change: &StoreChange) -> bool {
    let StoreChange::Keep(record) = change else {
        return true;
    };
    let rank = |record: &skydht_core::record::StoredRecord| Rank::of(&record.target, &record.item);
    let judged = judge(&rank(&stored.record), &rank(record));
    matches!(judged, Judgement::Older { .. })
        && (stored.proven || stored.record.item.check().is_ok())
}
