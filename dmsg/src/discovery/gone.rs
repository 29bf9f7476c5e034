//! Entries that were held lately, so that no replay brings them back.
//!
//! A client's entry has no time at which it is too old, and anyone can read it and send it again.
//! One of a server alone has: it is not remembered.

use std::collections::{BTreeMap, BTreeSet};

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::CLIENT_LIFE;
use crate::entry::{Entry, EntryError};

/// The timestamps of entries that are gone, for as long as a client's entry lives: until then one
/// that was held would have been refused as well.
pub(super) struct Gone {
    most: usize,
    timestamps: BTreeMap<PublicKey, (Mono, i64)>,
    by_time: BTreeSet<(Mono, PublicKey)>,
}

impl Gone {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            timestamps: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    /// This entry is gone.
    pub(super) fn note(&mut self, now: Mono, entry: &Entry) {
        if entry.client.is_none() {
            return;
        }
        let (key, timestamp) = (entry.key, entry.timestamp);
        self.forget(&key);
        if self.timestamps.len() >= self.most
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

    /// Refuses what is not newer than what was held.
    pub(super) fn judge(&self, entry: &Entry) -> Result<(), EntryError> {
        match self.timestamps.get(&entry.key) {
            Some((_, last)) if entry.timestamp <= *last => Err(EntryError::Timestamp),
            _ => Ok(()),
        }
    }
}
