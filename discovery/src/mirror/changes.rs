//! Detects which records have changed enough to be published again.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use skydht_core::time::Mono;

use crate::publish::{Content, RecordId};
use crate::record;

/// Interval after which an entry is published again if only its sequence number, its time, or the
/// free sessions of a server have changed. Clients sign their entries again every 5 minutes,
/// servers every minute.
pub const REFRESH: Duration = Duration::from_secs(20 * 60);

#[derive(Debug)]
struct Known {
    /// Hash of the whole content.
    exact: [u8; 32],
    /// Hash of the significant part of the content.
    significant: [u8; 32],
    published: Mono,
    /// Since when the record has been absent; `None` if it is present.
    absent_since: Option<Mono>,
}

/// The records that have been reported as changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    known: BTreeMap<RecordId, Known>,
}

/// Result of comparing a record with its known version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Nothing significant has changed.
    Same,
    /// The record must be published.
    Publish,
    /// The record is invalid.
    Rejected,
}

impl Changes {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Compares a record that is present with its known version, and stores it.
    pub(super) fn note(&mut self, now: Mono, id: &RecordId, content: &Content) -> Change {
        let exact: [u8; 32] = Sha256::digest(content.bytes()).into();
        if let Some(known) = self.known.get_mut(id) {
            known.absent_since = None;
            if known.exact == exact {
                return Change::Same;
            }
        }
        let significant = significant(id, content);
        if let Some(known) = self.known.get(id)
            && known.significant == significant
            && now.since(known.published) < REFRESH
        {
            return Change::Same;
        }
        if !is_believed(id, content) {
            return Change::Rejected;
        }
        let known = Known {
            exact,
            significant,
            published: now,
            absent_since: None,
        };
        self.known.insert(id.clone(), known);
        Change::Publish
    }

    /// Removes and returns the records for which `is_there` has been false for `patience`.
    pub(super) fn forget_absent(
        &mut self,
        now: Mono,
        patience: Duration,
        is_there: impl Fn(&RecordId) -> bool,
    ) -> Vec<RecordId> {
        let mut gone = Vec::new();
        for (id, known) in &mut self.known {
            if is_there(id) {
                known.absent_since = None;
                continue;
            }
            let since = *known.absent_since.get_or_insert(now);
            if now.since(since) >= patience {
                gone.push(id.clone());
            }
        }
        for id in &gone {
            self.known.remove(id);
        }
        gone
    }

    /// Removes a record; returns whether it was known.
    pub(super) fn forget(&mut self, id: &RecordId) -> bool {
        self.known.remove(id).is_some()
    }
}

/// Returns the hash of the significant part of a record.
fn significant(id: &RecordId, content: &Content) -> [u8; 32] {
    if id.salt.as_bytes() == b"dmsg"
        && let Some(text) = without_volatile(content.bytes())
    {
        return Sha256::digest(text).into();
    }
    Sha256::digest(content.bytes()).into()
}

/// Returns an entry without the members that change with each signature.
fn without_volatile(entry: &[u8]) -> Option<Vec<u8>> {
    let mut value: serde_json::Value = serde_json::from_slice(entry).ok()?;
    let members = value.as_object_mut()?;
    for name in ["sequence", "timestamp", "signature"] {
        members.remove(name);
    }
    if let Some(server) = members.get_mut("server").and_then(|it| it.as_object_mut()) {
        server.remove("availableSessions");
    }
    serde_json::to_vec(&value).ok()
}

/// Returns whether a record is valid: an entry must be signed by its owner. Lists are built here
/// from validated transports and services.
fn is_believed(id: &RecordId, content: &Content) -> bool {
    match content {
        Content::Value(value) => record::read(id.salt.as_bytes(), &id.owner, value).is_ok(),
        Content::List(_) => true,
        Content::Gone => false,
    }
}
