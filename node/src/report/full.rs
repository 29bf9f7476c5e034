//! Reports about full nodes: mode, reconciliations, stored items.

use std::fmt::{self, Display};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use skydht_core::id::Target;
use skydht_core::item::{Origin, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::{PeerSync, SyncFailure, SyncOutcome, SyncProgress};
use skydht_core::store::{ListPage, Listed};

use super::units::{from_ms, ms, seq_text};
use crate::output::{Human, count};
use crate::printable::{printable, printable_name};

/// Report of full-node mode.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FullNodeReport {
    pub(crate) schema: String,
    pub(crate) key: PublicKey,
    pub(crate) full_node: bool,
    /// Number of stored items.
    pub(crate) items: usize,
    /// Number of other full nodes that are known.
    pub(crate) full_nodes: usize,
}

impl FullNodeReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.full-node/1";
}

impl Display for FullNodeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.full_node {
            "a full node"
        } else {
            "a regular node"
        };
        write!(
            f,
            "{role} · {} items · {} other full nodes known",
            count(self.items as u64),
            self.full_nodes
        )
    }
}

/// Report of a reconciliation with one full node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PeerSyncReport {
    pub(crate) key: PublicKey,
    /// Why it did not complete, as a stable identifier.
    pub(crate) error: Option<String>,
    /// Why it did not complete, as a sentence.
    pub(crate) text: Option<String>,
    /// Items received.
    pub(crate) fetched: u64,
    /// Items sent.
    pub(crate) given: u64,
    pub(crate) round_trips: u32,
    /// Bytes of all messages, in both directions.
    pub(crate) bytes: u64,
    /// The part of `bytes` that is the items themselves.
    pub(crate) item_bytes: u64,
}

impl PeerSyncReport {
    fn new(key: PublicKey, progress: SyncProgress, failure: Option<SyncFailure>) -> Self {
        let word = |failure| match failure {
            SyncFailure::Unreached => "unreached",
            SyncFailure::NotFullNode => "not_full_node",
            SyncFailure::Broken => "broken",
            SyncFailure::Unfinished => "unfinished",
            SyncFailure::Stopped => "stopped",
            _ => "other",
        };
        Self {
            key,
            error: failure.map(|failure| word(failure).into()),
            text: failure.map(|failure| failure.to_string()),
            fetched: progress.fetched,
            given: progress.given,
            round_trips: progress.rounds,
            bytes: progress.bytes,
            item_bytes: progress.item_bytes,
        }
    }

    /// Returns whether the timeout ended it.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.error.as_deref() == Some("unfinished")
    }
}

impl Display for PeerSyncReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} fetched, {} given, {} round trips, {} bytes",
            self.key,
            count(self.fetched),
            count(self.given),
            self.round_trips,
            count(self.bytes)
        )?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// Report of a requested reconciliation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct SyncReport {
    pub(crate) schema: String,
    pub(crate) peers: Vec<PeerSyncReport>,
    pub(crate) elapsed_ms: f64,
}

impl SyncReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.sync/1";

    /// Converts the core's outcome.
    pub(crate) fn new(outcome: &SyncOutcome) -> Self {
        let peer =
            |peer: &PeerSync| PeerSyncReport::new(peer.peer, peer.progress, peer.result.err());
        Self {
            schema: Self::SCHEMA.into(),
            peers: outcome.peers.iter().map(peer).collect(),
            elapsed_ms: ms(outcome.elapsed),
        }
    }
}

impl Display for SyncReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for peer in &self.peers {
            writeln!(f, "{peer}")?;
        }
        let done = self
            .peers
            .iter()
            .filter(|peer| peer.error.is_none())
            .count();
        let (all, elapsed) = (self.peers.len(), Human(from_ms(self.elapsed_ms)));
        write!(f, "reconciled with {done} of {all} in {elapsed}")
    }
}

/// Report of the reconciliations in progress.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct SyncsReport {
    pub(crate) schema: String,
    pub(crate) sessions: Vec<PeerSyncReport>,
}

impl SyncsReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.syncs/1";

    /// Converts the core's progress.
    pub(crate) fn new(syncs: &[(PublicKey, SyncProgress)]) -> Self {
        let sessions = syncs.iter();
        let sessions = sessions.map(|(key, progress)| PeerSyncReport::new(*key, *progress, None));
        Self {
            schema: Self::SCHEMA.into(),
            sessions: sessions.collect(),
        }
    }
}

/// A stored item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ListedReport {
    pub(crate) target: Target,
    /// Key that signed it.
    pub(crate) pk: PublicKey,
    /// Salt of the item; bytes that are not UTF-8 are escaped.
    pub(crate) salt: String,
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    /// Whether it is stored at its signer's own target, rather than mirrored.
    pub(crate) owner: bool,
    pub(crate) deleted: bool,
    /// Size of its value, in bytes.
    pub(crate) bytes: usize,
    /// Time since its signer last renewed it, if known.
    pub(crate) age_ms: Option<f64>,
    /// Time until it expires; `None`: never.
    pub(crate) left_ms: Option<f64>,
    /// The value in base64, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
}

impl ListedReport {
    fn new(listed: &Listed, with_value: bool) -> Self {
        let item = &listed.item;
        let owner = listed.origin == Origin::Owner;
        Self {
            target: listed.target,
            pk: item.key,
            salt: printable_name(item.salt.as_bytes()),
            seq: item.seq,
            owner,
            deleted: owner && item.is_tombstone(),
            bytes: item.value.as_bytes().len(),
            age_ms: listed.age.map(ms),
            left_ms: listed.left.map(ms),
            value: with_value.then(|| BASE64.encode(item.value.as_bytes())),
        }
    }
}

impl Display for ListedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = self
            .age_ms
            .map_or("-".into(), |age| Human(from_ms(age)).to_string());
        let salt = match self.salt.as_str() {
            "" => "(none)",
            salt => salt,
        };
        write!(
            f,
            "{} {} {salt} seq {} {} bytes, {age} old",
            self.target, self.pk, self.seq, self.bytes
        )?;
        if !self.owner {
            f.write_str(", mirrored")?;
        }
        if self.deleted {
            f.write_str(", deleted")?;
        }
        match &self.value {
            Some(value) => {
                let bytes = BASE64.decode(value.as_bytes()).unwrap_or_default();
                write!(f, "\n  {}", printable(&bytes))
            }
            None => Ok(()),
        }
    }
}

/// Report of a page of stored items.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ListReport {
    pub(crate) schema: String,
    pub(crate) items: Vec<ListedReport>,
    /// `from` of the next page; `None` after the last one. A page may be empty without being the
    /// last.
    pub(crate) next: Option<Target>,
}

impl ListReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.list/1";

    /// Converts the core's page.
    pub(crate) fn new(page: &ListPage, with_values: bool) -> Self {
        let items = page.items.iter();
        Self {
            schema: Self::SCHEMA.into(),
            items: items
                .map(|item| ListedReport::new(item, with_values))
                .collect(),
            next: page.next,
        }
    }
}
