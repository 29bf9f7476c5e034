//! Timestamps of entries that were removed lately, so that a replay does not bring them back.
//!
//! A client's entry does not expire by its timestamp, and anyone can read it and send it again. The
//! entry of a server alone does, so it is not remembered.

use std::collections::{BTreeMap, BTreeSet};

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::CLIENT_LIFE;
use crate::entry::{Entry, EntryError};

/// The timestamps of removed entries, each for [`CLIENT_LIFE`]: for that long, the entry itself
/// would have prevented its replay.
pub(super) struct RemovedEntries {
    max: usize,
    timestamps: BTreeMap<PublicKey, (Mono, i64)>,
    by_time: BTreeSet<(Mono, PublicKey)>,
}

impl RemovedEntries {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            timestamps: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    /// Records that this entry was removed.
    pub(super) fn record(&mut self, now: Mono, entry: &Entry) {
        if entry.client.is_none() {
            return;
        }
        let (key, timestamp) = (entry.key, entry.timestamp);
        self.forget(&key);
        if self.timestamps.len() >= self.max
            && let Some((_, oldest)) = self.by_time.first().copied()
        {
            self.forget(&oldest);
        }
        self.timestamps.insert(key, (now, timestamp));
        self.by_time.insert((now, key));
    }

    fn forget(&mut self, key: &PublicKey) {
        if let Some((at, _)) = self.timestamps.remove(key) {
            self.by_time.remove(&(at, *key));
        }
    }

    pub(super) fn expire(&mut self, now: Mono) {
        while let Some((at, key)) = self.by_time.first().copied()
            && now.since(at) >= CLIENT_LIFE
        {
            self.forget(&key);
        }
    }

    /// Refuses an entry that is not newer than the one that was removed.
    pub(super) fn check_newer(&self, entry: &Entry) -> Result<(), EntryError> {
        match self.timestamps.get(&entry.key) {
            Some((_, last)) if entry.timestamp <= *last => Err(EntryError::Timestamp),
            _ => Ok(()),
        }
    }
}
