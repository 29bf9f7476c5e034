//! Reports of commands and HTTP responses: the same structures for both, each with its `schema`.
//!
//! Sequence numbers are strings, because many JSON readers round numbers above 2^53. Durations are
//! milliseconds with three decimals.

mod dmsg;
mod found;
mod full;
mod hop;
mod items;
mod mirror;
mod peers;
mod registries;
mod status;
mod storage;
mod units;
mod verdict;
mod verify;
mod version;

use std::fmt::{self, Display};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use skydht_core::id::Target;
use skydht_core::item::{Origin, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::{GetOutcome, LookupStats, PutOutcome, Source};

pub(crate) use dmsg::{DiscoveryReport, DmsgReport, DmsgServerReport, HybridReport, RelayReport};
pub(crate) use found::{ServicesReport, TransportsReport};
pub(crate) use full::{FullNodeReport, ListReport, SyncReport, SyncsReport};
pub(crate) use hop::{HopReport, HopState};
pub(crate) use items::ItemsReport;
pub(crate) use mirror::{MirrorReport, MirrorSourceReport};
pub(crate) use peers::{BucketReport, BucketState, PeerReport, PeersReport, PingReport};
pub(crate) use registries::{RegistriesReport, RegistryReport};
pub(crate) use status::{
    BootstrapPeerReport, BootstrapReport, FilesReport, LimitReport, StatusReport, StoreReport,
    TaskReport, TransportReport,
};
pub(crate) use storage::{StorageReport, StorageState};
pub(crate) use units::{from_ms, ms, seq_text};
pub(crate) use verdict::{Check, Reason, Verdict};
#[cfg(test)]
pub(crate) use verify::VerifiedReport;
pub(crate) use verify::{VerifiedItem, VerifyOutcome, VerifyReport};
pub(crate) use version::VersionReport;

use crate::output::Human;

/// Cost of a lookup.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LookupReport {
    /// Peers that answered.
    pub(crate) answered: u16,
    /// Peers that failed to answer.
    pub(crate) failed: u16,
    /// Requests sent.
    pub(crate) requests: u16,
    /// Referrals between the node and the closest peer that answered.
    pub(crate) hops: u16,
    /// Whether the closest live peers all answered.
    pub(crate) converged: bool,
    /// Duration of the lookup.
    pub(crate) elapsed_ms: f64,
}

impl LookupReport {
    /// Converts the core's statistics.
    pub(crate) fn new(stats: &LookupStats) -> Self {
        Self {
            answered: stats.answered,
            failed: stats.failed,
            requests: stats.requests,
            hops: stats.hops,
            converged: stats.converged,
            elapsed_ms: ms(stats.elapsed),
        }
    }
}

/// Number of peers that refused, with their reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RefusalCount {
    /// The reason, as a stable identifier.
    pub(crate) reason: String,
    /// The reason, as a sentence.
    pub(crate) text: String,
    pub(crate) peers: u16,
}

/// Report of a put.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PutReport {
    pub(crate) schema: String,
    /// Target of the item.
    pub(crate) target: Target,
    /// Sequence number of the item.
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    /// Peers known to store it: `stored` and `refreshed`.
    pub(crate) acknowledged: u16,
    /// Peers that received the request.
    pub(crate) asked: u16,
    /// Peers that stored this version.
    pub(crate) stored: u16,
    /// Peers that had this version, and extended its life.
    pub(crate) refreshed: u16,
    /// Peers that refused it, by reason.
    pub(crate) refused: Vec<RefusalCount>,
    /// Peers that may or may not store it.
    pub(crate) unknown: u16,
    /// Whether the node itself stores it.
    pub(crate) local: bool,
    /// Whether the node renews it.
    #[serde(default)]
    pub(crate) renewed: bool,
    /// Cost of the lookup.
    pub(crate) lookup: LookupReport,
}

impl PutReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.put/1";

    /// Converts the core's outcome.
    pub(crate) fn new(outcome: &PutOutcome) -> Self {
        let replicas = &outcome.replicas;
        let refused = replicas
            .refused
            .iter()
            .map(|(refusal, peers)| RefusalCount {
                reason: serde_json::to_value(refusal)
                    .ok()
                    .and_then(|word| word.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                text: refusal.to_string(),
                peers: *peers,
            });
        Self {
            schema: Self::SCHEMA.into(),
            target: outcome.target,
            seq: outcome.seq,
            acknowledged: replicas.acknowledged(),
            asked: replicas.attempted(),
            stored: replicas.stored,
            refreshed: replicas.refreshed,
            refused: refused.collect(),
            unknown: replicas.unknown,
            local: outcome.local,
            renewed: false,
            lookup: LookupReport::new(&outcome.stats),
        }
    }
}

impl Display for PutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusals: u16 = self.refused.iter().map(|r| r.peers).sum();
        write!(
            f,
            "stored {}/{} ({} new, {} refreshed), {refusals} refused",
            self.acknowledged, self.asked, self.stored, self.refreshed
        )?;
        if let [first, ..] = self.refused.as_slice() {
            write!(f, " ({})", first.text)?;
        }
        if self.unknown > 0 {
            write!(f, ", {} unknown", self.unknown)?;
        }
        let elapsed = Human(from_ms(self.lookup.elapsed_ms));
        write!(f, ", seq {}, {elapsed}", self.seq)
    }
}

/// Report of a get.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct GetReport {
    pub(crate) schema: String,
    /// Target of the item.
    pub(crate) target: Target,
    /// Key that signed it.
    pub(crate) key: PublicKey,
    /// Salt of the item; bytes that are not UTF-8 are escaped.
    pub(crate) salt: String,
    /// Sequence number of the item.
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    /// The value in base64.
    pub(crate) value: String,
    /// The value as text, if it is UTF-8.
    pub(crate) text: Option<String>,
    /// "owner" or "mirror".
    pub(crate) origin: Origin,
    /// "network", "store" or "cache".
    pub(crate) source: String,
    /// Time since its signer last renewed it, if known.
    pub(crate) age_ms: Option<f64>,
    /// Peers that store exactly this item.
    pub(crate) agree: u16,
    /// Peers that answered.
    pub(crate) asked: u16,
    /// Time until the first valid value.
    pub(crate) first_value_ms: f64,
    /// Whether the policy was met.
    pub(crate) complete: bool,
    /// Cost of the lookup.
    pub(crate) lookup: LookupReport,
    /// Steps of the lookup, if requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trace: Vec<HopReport>,
}

impl GetReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.get/1";

    /// Converts the core's outcome.
    pub(crate) fn new(outcome: &GetOutcome, complete: bool) -> Self {
        let bytes = outcome.item.value.as_bytes();
        Self {
            schema: Self::SCHEMA.into(),
            target: outcome.target,
            key: outcome.item.key,
            salt: crate::printable::printable_name(outcome.item.salt.as_bytes()),
            seq: outcome.item.seq,
            value: BASE64.encode(bytes),
            text: std::str::from_utf8(bytes).ok().map(str::to_owned),
            origin: outcome.origin,
            source: match outcome.source {
                Source::Network => "network",
                Source::Store => "store",
                Source::Cache => "cache",
            }
            .into(),
            age_ms: outcome.age.map(ms),
            agree: outcome.agree,
            asked: outcome.asked,
            first_value_ms: ms(outcome.first_value),
            complete,
            lookup: LookupReport::new(&outcome.stats),
            trace: Vec::new(),
        }
    }

    /// Returns the decoded value.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        BASE64.decode(self.value.as_bytes()).unwrap_or_default()
    }
}

impl Display for GetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Owner => f.write_str("owner")?,
            Origin::Mirror => write!(f, "mirrored by {}", self.key)?,
        }
        match self.age_ms {
            Some(age) => write!(f, " · {} old", Human(from_ms(age)))?,
            None => f.write_str(" · of unknown age")?,
        }
        write!(f, " · {}/{} agree", self.agree, self.asked)?;
        f.write_str(if self.lookup.converged {
            " · converged"
        } else {
            " · not converged"
        })?;
        f.write_str(match self.source.as_str() {
            "network" => " · dht",
            "store" => " · own store",
            _ => " · cache",
        })?;
        write!(f, " · seq {}", self.seq)
    }
}

#[cfg(test)]
pub(crate) mod tests;
