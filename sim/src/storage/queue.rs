//! Changes that wait to be written, with the rules of the driver's queue: several changes become
//! one write, only the last change of a target counts, and changes that could not be written wait
//! again.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::mark::MarkChange;
use skydht_core::node::{ChangeId, StoreChange};

/// Pause before the first new attempt. It doubles with each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Interval between syncs if writes are not synced individually.
pub(crate) const SYNC_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Waiting {
    what: StoreChange,
    /// The change's own number and those of changes that it replaced, if acknowledgements are
    /// wanted.
    acknowledge: Vec<ChangeId>,
}

fn target_of(change: &StoreChange) -> Target {
    match change {
        StoreChange::Keep(record) => record.target,
        StoreChange::Forget(target) => *target,
    }
}

/// Changes of a host on their way to its storage.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Target, Waiting>,
    /// Marks that go with the next write.
    marks: Vec<MarkChange>,
    writing: Vec<Waiting>,
    /// Written but not synced.
    unsynced: BTreeMap<Target, Waiting>,
    /// A write, or a pause before the next one, is in progress.
    is_busy: bool,
    /// A sync is planned.
    sync_planned: bool,
    pause: Duration,
}

impl Queue {
    pub(crate) fn add(&mut self, change: ChangeId, what: StoreChange, acknowledge: bool) {
        let waiting = self.waiting.entry(target_of(&what));
        let waiting = waiting.or_insert_with(|| Waiting {
            what: what.clone(),
            acknowledge: Vec::new(),
        });
        waiting.what = what;
        if acknowledge {
            waiting.acknowledge.push(change);
        }
    }

    /// Begins a write if none is in progress and changes wait. Returns whether it did.
    pub(crate) fn begin(&mut self) -> bool {
        if self.is_busy || (self.waiting.is_empty() && self.marks.is_empty()) {
            return false;
        }
        self.writing = std::mem::take(&mut self.waiting).into_values().collect();
        self.is_busy = true;
        true
    }

    pub(crate) fn add_mark(&mut self, change: MarkChange) {
        self.marks.push(change);
    }

    /// Marks to be written. They stay here until the write succeeds.
    pub(crate) fn marks(&self) -> Vec<MarkChange> {
        self.marks.clone()
    }

    /// Changes that are being written.
    pub(crate) fn writing(&self) -> Vec<StoreChange> {
        self.writing.iter().map(|it| it.what.clone()).collect()
    }

    /// The write succeeded; with `sync`, everything before it is durable. Returns the changes to
    /// acknowledge.
    pub(crate) fn wrote(&mut self, sync: bool) -> Vec<ChangeId> {
        self.is_busy = false;
        self.pause = Duration::ZERO;
        self.marks.clear();
        let mut written = std::mem::take(&mut self.writing);
        let acknowledge = written.iter_mut().flat_map(|it| it.acknowledge.drain(..));
        let acknowledge = acknowledge.collect();
        if sync {
            self.unsynced.clear();
        } else {
            let unsynced = written.into_iter().map(|it| (target_of(&it.what), it));
            self.unsynced.extend(unsynced);
        }
        acknowledge
    }

    /// The write failed: its changes, and those that were not synced, wait again. Returns the pause
    /// before the next attempt.
    pub(crate) fn failed(&mut self) -> Duration {
        let unsynced = std::mem::take(&mut self.unsynced).into_values();
        let writing = std::mem::take(&mut self.writing);
        for old in writing.into_iter().chain(unsynced) {
            match self.waiting.get_mut(&target_of(&old.what)) {
                Some(later) => later
                    .acknowledge
                    .splice(0..0, old.acknowledge)
                    .for_each(drop),
                None => drop(self.waiting.insert(target_of(&old.what), old)),
            }
        }
        self.is_busy = true;
        self.pause = (2 * self.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.pause
    }

    /// The pause is over.
    pub(crate) fn paused(&mut self) {
        self.is_busy = false;
    }

    /// Whether a sync must be planned for written changes.
    pub(crate) fn plan_sync(&mut self) -> bool {
        let plan = !self.unsynced.is_empty() && !self.sync_planned;
        self.sync_planned |= plan;
        plan
    }

    /// The planned sync is due. Returns whether there is something to sync and no write in progress
    /// that would sync it.
    pub(crate) fn sync_due(&mut self) -> bool {
        self.sync_planned = false;
        !self.unsynced.is_empty() && !self.is_busy
    }

    /// A separate sync succeeded.
    pub(crate) fn synced(&mut self) {
        self.unsynced.clear();
    }

    /// Returns all changes that a clean shutdown still writes.
    pub(crate) fn rest(&mut self) -> Vec<StoreChange> {
        let all = std::mem::take(self);
        let writing = all.writing.into_iter();
        let rest = writing.chain(all.waiting.into_values());
        rest.map(|it| it.what).collect()
    }

    /// Number of changes that are lost with the process.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.writing.len()
    }
}
