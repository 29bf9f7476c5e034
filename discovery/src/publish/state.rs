//! The state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::time::Mono;

use super::{Content, RecordId};

/// After a failure a record is published again so much later; twice as much after each further one.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
/// A record whose owner publishes it itself is tried again so much later.
const OWNER_RETRY: Duration = Duration::from_secs(30 * 60);

/// How much is kept and done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes of values that wait to be published.
    pub waiting_bytes: usize,
    /// Publications under way.
    pub concurrent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 100_000,
            waiting_bytes: 256 << 20,
            concurrent: 16,
        }
    }
}

/// What was counted since the start; the first three are of now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Records known.
    pub records: usize,
    /// Of these, those that are not published as they shall be.
    pub waiting: usize,
    /// Of these, those whose owner publishes them itself.
    pub of_owner: usize,
    /// States that were the same as the one that stands.
    pub unchanged: u64,
    /// States that were replaced before they were published.
    pub coalesced: u64,
    /// Publications that went well.
    pub published: u64,
    /// Of these, deletions.
    pub deleted: u64,
    /// Publications that failed and will be tried again.
    pub failed: u64,
    /// Records that cannot be published at all.
    pub refused: u64,
    /// States for which there was no room.
    pub full: u64,
}

/// What to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Where.
    pub id: RecordId,
    /// What.
    pub content: Content,
}

/// Why a publication failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// For now: no peers, too few of them, no time.
    Again,
    /// The owner publishes it itself, which comes before any mirror.
    OwnerPublishes,
    /// It will never be taken: it is too long.
    Never,
}

/// Why a state was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetError {
    /// The limit on records.
    #[error("as many records as are allowed are published")]
    Records,
    /// The limit on what waits.
    #[error("too many bytes wait to be published")]
    Bytes,
}

#[derive(Debug, Default)]
struct Record {
    /// The content that was published last.
    stands: Option<[u8; 32]>,
    /// What shall be published; none if that stands.
    wanted: Option<Content>,
    /// The content under way.
    sent: Option<[u8; 32]>,
    failures: u32,
    is_of_owner: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Publisher {
    limits: Limits,
    records: BTreeMap<RecordId, Record>,
    /// Those that are due, by time and by when they were set.
    queue: BTreeMap<(Mono, u64), RecordId>,
    places: BTreeMap<RecordId, (Mono, u64)>,
    turn: u64,
    under_way: BTreeSet<RecordId>,
    waiting_bytes: usize,
    stats: Stats,
}

impl Publisher {
    /// Nothing is published yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            records: BTreeMap::new(),
            queue: BTreeMap::new(),
            places: BTreeMap::new(),
            turn: 0,
            under_way: BTreeSet::new(),
            waiting_bytes: 0,
            stats: Stats::default(),
        }
    }

    /// What was counted. Costs a step for each record.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let records = self.records.values();
        Stats {
            records: self.records.len(),
            waiting: records.clone().filter(|it| it.wanted.is_some()).count(),
            of_owner: records.filter(|it| it.is_of_owner).count(),
            ..self.stats
        }
    }

    #[cfg(test)]
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The records that are known, published or waiting.
    pub fn ids(&self) -> impl Iterator<Item = &RecordId> {
        self.records.keys()
    }

    /// From now on a record shall say this. What stands already costs nothing; what waits is
    /// replaced; of a record that was never published [`Content::Gone`] is nothing to do.
    ///
    /// # Errors
    /// [`SetError`]; what was wanted before still is.
    pub fn set(&mut self, now: Mono, id: &RecordId, content: Content) -> Result<(), SetError> {
        let is_known = self.records.contains_key(id);
        if !is_known && content == Content::Gone {
            return Ok(());
        }
        if !is_known && self.records.len() >= self.limits.records {
            self.stats.full += 1;
            return Err(SetError::Records);
        }
        let hash = content.hash();
        let before = self.records.get(id).and_then(|it| it.wanted.as_ref());
        let freed = before.map_or(0, |it| it.bytes().len());
        let bytes = self.waiting_bytes - freed + content.bytes().len();
        if bytes > self.limits.waiting_bytes && content.bytes().len() > freed {
            self.stats.full += 1;
            return Err(SetError::Bytes);
        }
        let record = self.records.entry(id.clone()).or_default();
        let is_said = match &record.wanted {
            // What waits, or is under way.
            Some(wanted) => *wanted == content,
            None => record.stands == Some(hash),
        };
        if is_said {
            self.stats.unchanged += 1;
            return Ok(());
        }
        self.stats.coalesced += u64::from(record.wanted.is_some() && record.sent.is_none());
        record.wanted = Some(content);
        record.failures = 0;
        self.waiting_bytes = bytes;
        if record.sent.is_none() {
            self.schedule(id, now);
        }
        Ok(())
    }

    /// The next record to publish now, if one is due and not too many are under way. Each is to be
    /// reported by [`Publisher::finished`].
    pub fn poll_output(&mut self, now: Mono) -> Option<Publication> {
        if self.under_way.len() >= self.limits.concurrent {
            return None;
        }
        let (&(due, turn), _) = self.queue.first_key_value()?;
        if due > now {
            return None;
        }
        let id = self.queue.remove(&(due, turn))?;
        self.places.remove(&id);
        let record = self.records.get_mut(&id)?;
        let content = record.wanted.clone()?;
        record.sent = Some(content.hash());
        self.under_way.insert(id.clone());
        Some(Publication { id, content })
    }

    /// What came of a publication; of one that is not under way nothing changes.
    pub fn finished(&mut self, now: Mono, id: &RecordId, result: Result<(), Failure>) {
        if !self.under_way.remove(id) {
            return;
        }
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        let sent = record.sent.take();
        let wanted = record.wanted.as_ref().map(Content::hash);
        let is_latest = wanted == sent;
        record.is_of_owner = result == Err(Failure::OwnerPublishes);
        match result {
            Ok(()) => {
                self.stats.published += 1;
                record.failures = 0;
                record.stands = sent;
                let is_deletion = sent == Some(Content::Gone.hash());
                self.stats.deleted += u64::from(is_deletion);
                if is_latest {
                    self.settle(id, is_deletion);
                } else {
                    self.schedule(id, now);
                }
            }
            Err(Failure::Never) => {
                self.stats.refused += 1;
                if is_latest {
                    // Not wanted again until it changes.
                    record.stands = sent;
                    self.settle(id, false);
                } else {
                    self.schedule(id, now);
                }
            }
            Err(_) if !is_latest => {
                self.stats.failed += 1;
                self.schedule(id, now);
            }
            Err(failure) => {
                self.stats.failed += u64::from(failure == Failure::Again);
                let wait = match failure {
                    Failure::OwnerPublishes => OWNER_RETRY,
                    _ => RETRY.1.min(RETRY.0 * 2u32.saturating_pow(record.failures)),
                };
                record.failures = record.failures.saturating_add(1);
                self.schedule(id, now.plus(wait));
            }
        }
    }

    /// When [`Publisher::poll_output`] has something next; none while too many are under way.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.under_way.len() >= self.limits.concurrent {
            return None;
        }
        self.queue.keys().next().map(|(due, _)| *due)
    }

    fn settle(&mut self, id: &RecordId, is_deletion: bool) {
        if is_deletion {
            self.records.remove(id);
            return;
        }
        let record = self.records.get_mut(id);
        if let Some(content) = record.and_then(|record| record.wanted.take()) {
            self.waiting_bytes -= content.bytes().len();
        }
    }

    fn schedule(&mut self, id: &RecordId, due: Mono) {
        if let Some(place) = self.places.remove(id) {
            self.queue.remove(&place);
        }
        self.turn += 1;
        self.queue.insert((due, self.turn), id.clone());
        self.places.insert(id.clone(), (due, self.turn));
    }
}
