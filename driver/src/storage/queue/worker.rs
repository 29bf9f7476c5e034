//! The thread that reads and writes storage.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, MarkKind};
use skydht_core::node::{ChangeId, StoreChange};
use skydht_core::store::merge::{Judgement, Rank, judge};

use super::state::{
    Answer, Durability, FIRST_PAUSE, Loaded, MOST_LOADED, Shared, State, StorageHealth, Unsynced,
    Waiting,
};
use crate::storage::contract::{Kept, News, Storage, StorageError, target_of};

/// Records of one page of loading.
const PAGE: usize = 256;
/// Changes of one write.
const BATCH: usize = 4_096;
/// Longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Between two questions for news when there are more.
const SOON: Duration = Duration::from_millis(5);
/// Targets that a shared storage wants again and the loop has not taken; no news until then.
const MOST_WANTED: usize = 1_024;
/// With [`Durability::Async`], what was written is durable after this.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Targets remembered as given before their turn; beyond, all are forgotten, and looked at again.
const MOST_GIVEN: usize = 65_536;

/// Changes of marks by their places.
type Marks = BTreeMap<(MarkKind, Target), MarkChange>;

/// What there is to do.
struct Work {
    marks: Marks,
    /// Targets that the node needs.
    asked: VecDeque<Target>,
    batch: Vec<Waiting>,
    /// Nothing more will come.
    ending: bool,
}

/// Changes to write, and whose are not; or, after an error, all that are left to write.
type Split = Result<(Vec<Waiting>, Vec<ChangeId>), (Vec<Waiting>, StorageError)>;

/// The thread's side.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) storage: Box<dyn Storage>,
    pub(super) durability: Durability,
    /// Where loading goes on; none once everything is loaded.
    pub(super) next_page: Option<Target>,
    /// What earlier runs remembered has been read.
    pub(super) marks_read: bool,
    /// Changes of marks that were written and are not synced.
    pub(super) unsynced_marks: BTreeMap<(MarkKind, Target), MarkChange>,
    /// Targets beyond that the node was given because it asked.
    pub(super) given: BTreeSet<Target>,
    pub(super) unsynced: Unsynced,
    /// When a shared storage was asked for news, and when it is to be asked again.
    pub(super) next_poll: Option<Instant>,
    /// Before the next attempt, should this one fail.
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
            // Somebody waits for these.
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
                .is_some_and(|at| ending || at.elapsed() >= SYNC_EVERY)
            {
                failed = self.write(Vec::new(), Marks::new());
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
    fn wait(&mut self) -> Work {
        let mut state = self.shared.lock();
        loop {
            let loads = self.next_page.is_some() && state.loaded.len() < MOST_LOADED;
            let waits = !state.waiting.is_empty() || !state.marks_waiting.is_empty();
            if loads || !self.marks_read || !state.asked.is_empty() || waits || state.ending {
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
        Work {
            asked: std::mem::take(&mut state.asked),
            marks: std::mem::take(&mut state.marks_waiting),
            batch,
            ending: state.ending,
        }
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
        self.next_page.is_some() && state.loaded.len() < MOST_LOADED && !state.ending
    }

    /// Writes changes; none: makes durable what was written. What was not made durable before a
    /// failure may be gone with it, hence waits again.
    fn write(&mut self, batch: Vec<Waiting>, marks: Marks) -> Option<StorageError> {
        let (batch, outranked) = match self.spare_unread(batch) {
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
        // What is kept in place of the outranked ones is there.
        let acknowledged = acknowledged.chain(outranked);
        state.done.extend(acknowledged.map(|id| (id, durable)));
        drop(state);
        if sync {
            self.unsynced = Unsynced::default();
            self.unsynced_marks.clear();
        } else {
            self.unsynced.add(batch);
            self.unsynced_marks.extend(marks);
        }
        self.shared.waker.wake();
        None
    }

    /// Puts back what could not be written, unless something later waits in its place.
    fn put_back(&self, batch: Vec<Waiting>, marks: Marks) {
        let mut state = self.shared.lock();
        state.put_back(batch);
        for (place, change) in marks {
            state.marks_waiting.entry(place).or_insert(change);
        }
    }

    /// Reads what earlier runs remembered of targets, before anything else.
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

    /// Reads what the node asked for.
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
                        self.note_given(target);
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

    /// The node has what lies at a target, or will have it before it judges what comes later.
    fn note_given(&mut self, target: Target) {
        if self.next_page.is_none_or(|next| target < next) {
            return;
        }
        if self.given.len() >= MOST_GIVEN {
            self.given.clear();
        }
        self.given.insert(target);
    }

    /// Takes out the changes of targets of which the node was not given what lies there, where that
    /// ranks higher or is to be forgotten unseen: the node gets it instead, and judges again. The
    /// second are those who wait for an acknowledgement of what is outranked.
    fn spare_unread(&mut self, batch: Vec<Waiting>) -> Split {
        let Some(next) = self.next_page.filter(|_| !self.storage.is_shared()) else {
            return Ok((batch, Vec::new()));
        };
        let (mut written, mut outranked) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut batch = batch.into_iter();
        while let Some(change) = batch.next() {
            let target = target_of(&change.what);
            if target < next || self.given.contains(&target) {
                written.push(change);
                continue;
            }
            let there = match self.storage.get(&target) {
                Ok(there) => there,
                Err(error) => {
                    written.push(change);
                    written.extend(batch);
                    return Err((written, error));
                }
            };
            self.note_given(target);
            match there.filter(|there| outranks(there, &change.what)) {
                None => written.push(change),
                Some(there) => {
                    outranked.extend(change.acknowledge);
                    self.shared.lock().loaded.push_back(Loaded::Record(there));
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
        while let Some(first) = self.given.first()
            && self.next_page.is_none_or(|next| *first < next)
        {
            self.given.pop_first();
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

    fn note(&self, failed: Option<StorageError>) {
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
            // After what was read was handed over: who waits for this has to look again.
            state.stats.health = health;
            self.shared.waker.wake();
        }
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

/// Whether a record that the node has not seen stays in place of a change.
fn outranks(there: &Kept, change: &StoreChange) -> bool {
    let StoreChange::Keep(record) = change else {
        return true;
    };
    let rank = |record: &skydht_core::record::StoredRecord| Rank::of(&record.target, &record.item);
    let judged = judge(&rank(&there.record), &rank(record));
    matches!(judged, Judgement::Older { .. }) && (there.proven || there.record.item.check().is_ok())
}
