//! Which records have changed enough to be published again.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use skydht_core::time::Mono;

use crate::publish::{Content, RecordId};
use crate::record;

/// An entry in which nothing but its number, its time and the free sessions of a server has changed
/// is published again after this: clients sign theirs anew every 5 minutes, servers each minute.
pub const REFRESH: Duration = Duration::from_secs(20 * 60);

#[derive(Debug)]
struct Known {
    /// Of the content.
    exact: [u8; 32],
    /// Of what counts in it.
    significant: [u8; 32],
    published: Mono,
    /// Since when it is not there.
    absent_since: Option<Mono>,
}

/// The records that were passed on.
#[derive(Debug, Default)]
pub(super) struct Changes {
    known: BTreeMap<RecordId, Known>,
}

/// What a record is to what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Nothing that counts has changed.
    Same,
    /// It is to be published.
    Publish,
    /// It proves nothing, or breaks a rule.
    Rejected,
}

impl Changes {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A record is there.
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

    /// Forgets the records for which `is_there` has not held for `patience`, and gives them.
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

    /// A record went; whether it was known.
    pub(super) fn forget(&mut self, id: &RecordId) -> bool {
        self.known.remove(id).is_some()
    }
}

/// What counts in a record.
fn significant(id: &RecordId, content: &Content) -> [u8; 32] {
    if id.salt.as_bytes() == b"dmsg"
        && let Some(text) = without_volatile(content.bytes())
    {
        return Sha256::digest(text).into();
    }
    Sha256::digest(content.bytes()).into()
}

/// An entry's text without what changes each time that it is signed.
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

/// Whether a record is one: an entry is signed by its owner. Lists were made here, of transports and
/// services that were checked one by one.
fn is_believed(id: &RecordId, content: &Content) -> bool {
    match content {
        Content::Value(value) => record::read(id.salt.as_bytes(), &id.owner, value).is_ok(),
        Content::List(_) => true,
        Content::Gone => false,
    }
}
