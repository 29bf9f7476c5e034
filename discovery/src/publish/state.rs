//! The publisher's state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::time::Mono;

use super::{Content, RecordId};

/// First and longest pause before a failed record is published again; it doubles with each further
/// failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
/// Pause before a record that its owner publishes is tried again.
const OWNER_RETRY: Duration = Duration::from_secs(30 * 60);

/// Limits of a [`Publisher`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum number of records.
    pub records: usize,
    /// Maximum size of values that wait to be published, in bytes.
    pub waiting_bytes: usize,
    /// Maximum number of concurrent publications.
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

/// Counts since the start; the first three are current numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Known records.
    pub records: usize,
    /// Records whose wanted content is not published yet.
    pub waiting: usize,
    /// Records that their owners publish themselves.
    pub of_owner: usize,
    /// Calls of [`Publisher::set`] with the content that was set before.
    pub unchanged: u64,
    /// Contents that were replaced before they were published.
    pub coalesced: u64,
    /// Successful publications.
    pub published: u64,
    /// Successful publications that were deletions.
    pub deleted: u64,
    /// Failed publications that will be repeated.
    pub failed: u64,
    /// Records that cannot be published.
    pub refused: u64,
    /// Contents rejected because of the limits.
    pub full: u64,
}

/// A record to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Its owner and salt.
    pub id: RecordId,
    /// The content to publish.
    pub content: Content,
}

/// Why a publication failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// A temporary failure: no peers, too few of them, or a timeout.
    Again,
    /// The owner publishes the record, which takes precedence over mirrors.
    OwnerPublishes,
    /// A permanent failure: the record is too long.
    Never,
}

/// Why [`Publisher::set`] rejected a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetError {
    /// The limit of records is reached.
    #[error("as many records as are allowed are published")]
    Records,
    /// The limit of waiting bytes is reached.
    #[error("too many bytes wait to be published")]
    Bytes,
}

#[derive(Debug, Default)]
struct Record {
    /// Hash of the published content.
    stands: Option<[u8; 32]>,
    /// The content to publish; `None` if it is published.
    wanted: Option<Content>,
    /// Hash of the content being published.
    sent: Option<[u8; 32]>,
    failures: u32,
    is_of_owner: bool,
}

/// Publishes records; see the [module](super).
#[derive(Debug)]
pub struct Publisher {
    limits: Limits,
    records: BTreeMap<RecordId, Record>,
    /// Records by the time at which they are due, and then by the order in which they were set.
    queue: BTreeMap<(Mono, u64), RecordId>,
    places: BTreeMap<RecordId, (Mono, u64)>,
    turn: u64,
    under_way: BTreeSet<RecordId>,
    waiting_bytes: usize,
    stats: Stats,
}

impl Publisher {
    /// Creates a publisher without records.
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

    /// Returns the counts. Visits every record.
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

    /// Returns the known records, whether published or waiting.
    pub fn ids(&self) -> impl Iterator<Item = &RecordId> {
        self.records.keys()
    }

    /// Sets the wanted content of a record. If it is published already, nothing happens. A content
    /// that is still waiting is replaced. [`Content::Gone`] for a record that was never published
    /// is ignored.
    ///
    /// # Errors
    /// [`SetError`]; the previous content remains wanted.
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
            // The content that is waiting or being published.
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

    /// Returns the next record to publish, if one is due and the limit of concurrent publications
    /// permits it. Its result must be passed to [`Publisher::finished`].
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

    /// Processes the result of a publication; ignores records that are not being published.
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
                    // Nothing is published until the content changes.
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

    /// Returns when [`Publisher::poll_output`] will return a record; `None` while too many are
    /// being published.
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
