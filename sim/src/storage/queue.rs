//! What waits to be written, by the rules of the driver's queue: many changes are one write, of
//! several for one target the last counts, and what could not be written waits.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::mark::MarkChange;
use skydht_core::node::{ChangeId, StoreChange};

/// Before the first new attempt; twice as long after each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Where not each write is synced.
pub(crate) const SYNC_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Waiting {
    what: StoreChange,
    /// Its own number, and those of what it replaced, where these are asked for.
    acknowledge: Vec<ChangeId>,
}

fn target_of(change: &StoreChange) -> Target {
    match change {
        StoreChange::Keep(record) => record.target,
        StoreChange::Forget(target) => *target,
    }
}

/// A host's changes on their way to its storage.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Target, Waiting>,
    /// Marks that go with the next write.
    marks: Vec<MarkChange>,
    writing: Vec<Waiting>,
    /// Written and not synced.
    unsynced: BTreeMap<Target, Waiting>,
    /// A write, or a pause before the next, is under way.
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

    /// Begins a write, if none is under way and something waits. Whether it did.
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

    /// Marks to be written, until the write succeeds.
    pub(crate) fn marks(&self) -> Vec<MarkChange> {
        self.marks.clone()
    }

    /// What is being written.
    pub(crate) fn writing(&self) -> Vec<StoreChange> {
        self.writing.iter().map(|it| it.what.clone()).collect()
    }

    /// The write succeeded; with `sync` everything before it is durable. Returns whom to tell.
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

    /// The write failed: it waits again, and what was not synced with it. Returns how long until
    /// the next attempt.
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

    /// Whether a sync has to be planned for what was written.
    pub(crate) fn plan_sync(&mut self) -> bool {
        let plan = !self.unsynced.is_empty() && !self.sync_planned;
        self.sync_planned |= plan;
        plan
    }

    /// The planned sync is due. Whether there is something to sync, and no write under way, which
    /// would do it.
    pub(crate) fn sync_due(&mut self) -> bool {
        self.sync_planned = false;
        !self.unsynced.is_empty() && !self.is_busy
    }

    /// A sync alone succeeded.
    pub(crate) fn synced(&mut self) {
        self.unsynced.clear();
    }

    /// Everything that a clean end still writes.
    pub(crate) fn rest(&mut self) -> Vec<StoreChange> {
        let all = std::mem::take(self);
        let writing = all.writing.into_iter();
        let rest = writing.chain(all.waiting.into_values());
        rest.map(|it| it.what).collect()
    }

    /// How many changes are lost with the process.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.writing.len()
    }
}
