//! What commands and HTTP answers say: the same structures, each with its `schema`.
//!
//! Sequence numbers are texts, because many JSON readers round numbers above 2^53. Durations
//! are milliseconds with three decimals.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Origin, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::{
    GetOutcome, LookupStats, PeerInfo, PingOutcome, PutOutcome, Reach, Snapshot, Source,
};

use crate::output::{Human, count};
use crate::verdict::{self, Reason, Verdict};

/// A sequence number as text.
pub(crate) mod seq_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use skydht_core::item::Seq;

    pub(crate) fn serialize<S: Serializer>(seq: &Seq, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(seq)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Seq, D::Error> {
        String::deserialize(d)?
            .parse()
            .map(Seq)
            .map_err(serde::de::Error::custom)
    }
}

/// Milliseconds, to the microsecond.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn from_ms(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}

/// What a search cost.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LookupReport {
    /// Peers that answered.
    pub(crate) answered: u16,
    /// Peers that failed.
    pub(crate) failed: u16,
    /// Requests sent.
    pub(crate) requests: u16,
    /// Referrals between the node and the nearest peer that answered.
    pub(crate) hops: u16,
    /// Whether the nearest live peers all answered.
    pub(crate) converged: bool,
    /// How long it took.
    pub(crate) elapsed_ms: f64,
}

impl LookupReport {
    /// From the core's figures.
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

/// How many peers refused, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RefusalCount {
    /// Why, in one stable word.
    pub(crate) reason: String,
    /// Why, in a sentence.
    pub(crate) text: String,
    /// How many.
    pub(crate) peers: u16,
}

/// Where a put arrived.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PutReport {
    pub(crate) schema: String,
    /// Where it lies.
    pub(crate) target: Target,
    /// The sequence number that it got.
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    /// Peers that hold it for sure: stored and refreshed.
    pub(crate) acknowledged: u16,
    /// Peers that were asked.
    pub(crate) asked: u16,
    /// Peers that took it anew.
    pub(crate) stored: u16,
    /// Peers that had it and renewed its life.
    pub(crate) refreshed: u16,
    /// Peers that refused, by reason.
    pub(crate) refused: Vec<RefusalCount>,
    /// Peers that may or may not hold it.
    pub(crate) unknown: u16,
    /// Whether the node itself keeps it, too.
    pub(crate) local: bool,
    /// The cost.
    pub(crate) lookup: LookupReport,
}

impl PutReport {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.put/1";

    /// From the core's outcome.
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

/// What a get found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct GetReport {
    pub(crate) schema: String,
    /// Where it was found.
    pub(crate) target: Target,
    /// Who signed it.
    pub(crate) key: PublicKey,
    /// Under which salt; bytes that are no text are escaped.
    pub(crate) salt: String,
    /// Its sequence number.
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    /// The bytes in base64.
    pub(crate) value: String,
    /// The bytes as text, if they are text.
    pub(crate) text: Option<String>,
    /// "owner" or "mirror".
    pub(crate) origin: Origin,
    /// "network", "store" or "cache".
    pub(crate) source: String,
    /// Since its signer last vouched for it, as far as known.
    pub(crate) age_ms: Option<f64>,
    /// Peers that hold this very item.
    pub(crate) agree: u16,
    /// Peers that answered the question.
    pub(crate) asked: u16,
    /// When the first valid value came.
    pub(crate) first_value_ms: f64,
    /// Whether the policy was met.
    pub(crate) complete: bool,
    /// The cost.
    pub(crate) lookup: LookupReport,
}

impl GetReport {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.get/1";

    /// From the core's outcome.
    pub(crate) fn new(outcome: &GetOutcome, complete: bool) -> Self {
        let bytes = outcome.item.value.as_bytes();
        Self {
            schema: Self::SCHEMA.into(),
            target: outcome.target,
            key: outcome.item.key,
            salt: outcome.item.salt.to_string(),
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
        }
    }

    /// The bytes.
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
        })
    }
}

/// What the store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoreReport {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) public: usize,
    pub(crate) whitelisted: usize,
    pub(crate) trusted: usize,
    pub(crate) mirrors: usize,
    pub(crate) tombstones: usize,
}

/// Use of one limit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LimitReport {
    /// The configuration key.
    pub(crate) key: String,
    pub(crate) used: usize,
    /// 0 means unlimited.
    pub(crate) max: usize,
    /// How often something was refused because of it.
    pub(crate) hits: u64,
}

impl LimitReport {
    /// How full it is, in percent; none when unlimited.
    pub(crate) fn percent(&self) -> Option<usize> {
        (self.max > 0).then(|| self.used.saturating_mul(100) / self.max)
    }
}

/// Configured bootstrap peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BootstrapReport {
    pub(crate) configured: usize,
    /// Those whose last call succeeded.
    pub(crate) reachable: usize,
}

/// How a node is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    pub(crate) schema: String,
    pub(crate) verdict: Verdict,
    /// Why it is not green; the root cause first.
    pub(crate) reasons: Vec<Reason>,
    pub(crate) ready: bool,
    pub(crate) key: PublicKey,
    pub(crate) id: NodeId,
    pub(crate) full_node: bool,
    pub(crate) version: String,
    pub(crate) uptime_ms: f64,
    /// Where it listens for peers.
    pub(crate) listen: String,
    pub(crate) bootstrap: BootstrapReport,
    /// Peers in the routing table; each has proven its key and answered.
    pub(crate) peers: usize,
    /// Estimated nodes in the network, this one included.
    pub(crate) network_size: u64,
    pub(crate) store: StoreReport,
    /// Own items that are kept renewed.
    pub(crate) own_items: usize,
    pub(crate) limits: Vec<LimitReport>,
    /// Counts since the start.
    pub(crate) counters: BTreeMap<String, u64>,
}

/// What a status says besides the snapshot.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// Whether it stores all.
    pub(crate) full_node: bool,
    /// Bucket size.
    pub(crate) k: usize,
    /// Where it listens for peers; empty when it serves nothing.
    pub(crate) listen: String,
}

impl StatusReport {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.status/1";

    /// From a snapshot.
    pub(crate) fn new(snapshot: &Snapshot, about: &About, uptime: Duration) -> Self {
        let limits: Vec<LimitReport> = snapshot
            .limits
            .iter()
            .map(|entry| LimitReport {
                key: format!("limits.{}", entry.limit.name()),
                used: entry.used,
                max: entry.max,
                hits: entry.hits,
            })
            .collect();
        let (verdict, reasons) = verdict::judge(snapshot, &limits);
        let store = &snapshot.store;
        Self {
            schema: Self::SCHEMA.into(),
            verdict,
            reasons,
            // The core calls the first node of a network ready; it has nobody to ask.
            ready: snapshot.ready && snapshot.peers > 0,
            key: snapshot.key,
            id: snapshot.id,
            full_node: about.full_node,
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: ms(uptime),
            listen: about.listen.clone(),
            bootstrap: BootstrapReport {
                configured: snapshot.bootstrap_configured,
                reachable: snapshot.bootstrap_reachable,
            },
            peers: snapshot.peers,
            network_size: snapshot.network_size,
            store: StoreReport {
                items: store.items,
                bytes: store.bytes,
                public: store.public,
                whitelisted: store.whitelisted,
                trusted: store.trusted,
                mirrors: store.mirrors,
                tombstones: store.tombstones,
            },
            own_items: snapshot.own_items,
            limits,
            counters: snapshot
                .counters
                .iter()
                .map(|(counter, n)| (counter.name().to_owned(), n))
                .collect(),
        }
    }
}

impl Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.full_node { "full node" } else { "node" };
        let uptime = Human(from_ms(self.uptime_ms));
        writeln!(f, "{} {role} {} · up {uptime}", self.verdict, self.key)?;
        for reason in &self.reasons {
            writeln!(f, "{reason}")?;
        }
        let BootstrapReport {
            configured,
            reachable,
        } = self.bootstrap;
        writeln!(
            f,
            "bootstrap {reachable} of {configured} reachable · {} proven peers · network ≈ {}",
            count(self.peers as u64),
            count(self.network_size)
        )?;
        write!(
            f,
            "store {} items, {} bytes ({} public, {} whitelisted, {} trusted, {} mirrors, {} tombstones) · {} own items",
            count(self.store.items as u64),
            count(self.store.bytes as u64),
            self.store.public,
            self.store.whitelisted,
            self.store.trusted,
            self.store.mirrors,
            self.store.tombstones,
            self.own_items
        )
    }
}

/// One peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PeerReport {
    pub(crate) key: PublicKey,
    pub(crate) id: NodeId,
    /// Where it can be dialled, if known.
    pub(crate) addr: Option<String>,
    /// Length of the prefix that it shares with the node.
    pub(crate) bucket: u8,
    pub(crate) last_seen_ms: f64,
    pub(crate) rtt_ms: Option<f64>,
    /// Whether it speaks our extensions; none while unknown.
    pub(crate) skydht: Option<bool>,
    /// Whether the node reached it by itself, and so hands it out.
    pub(crate) reachable: bool,
}

/// How one bucket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BucketState {
    /// As full as the network lets it be.
    Good,
    /// Less than half of what is expected.
    Low,
    /// The network is too small to fill it.
    Irrelevant,
}

/// Fill of one bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct BucketReport {
    /// Length of the shared prefix.
    pub(crate) bucket: u8,
    pub(crate) peers: u16,
    /// min(k, n / 2^(bucket + 1)) for a network of n.
    pub(crate) expected: u64,
    pub(crate) replacements: u16,
    pub(crate) state: BucketState,
}

/// The peers that a node knows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PeersReport {
    pub(crate) schema: String,
    pub(crate) key: PublicKey,
    pub(crate) network_size: u64,
    /// By bucket, then newest first.
    pub(crate) peers: Vec<PeerReport>,
    pub(crate) buckets: Vec<BucketReport>,
}

impl PeersReport {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.peers/1";

    /// From a snapshot and the table.
    pub(crate) fn new(snapshot: &Snapshot, peers: &[PeerInfo], k: usize) -> Self {
        let mut peers: Vec<PeerReport> = peers
            .iter()
            .map(|peer| PeerReport {
                key: peer.key,
                id: peer.key.id(),
                addr: peer.addr.map(|addr| addr.to_string()),
                bucket: peer.bucket,
                last_seen_ms: ms(peer.last_seen),
                rtt_ms: peer.rtt.map(ms),
                skydht: peer.skydht,
                reachable: peer.reachable,
            })
            .collect();
        peers.sort_by(|a, b| {
            a.bucket
                .cmp(&b.bucket)
                .then(a.last_seen_ms.total_cmp(&b.last_seen_ms))
        });
        Self {
            schema: Self::SCHEMA.into(),
            key: snapshot.key,
            network_size: snapshot.network_size,
            peers,
            buckets: judge_buckets(snapshot, k),
        }
    }
}

/// Every bucket that holds peers or should.
fn judge_buckets(snapshot: &Snapshot, k: usize) -> Vec<BucketReport> {
    let others = snapshot.network_size.saturating_sub(1);
    let report = |bucket: u8| {
        let fill = snapshot.buckets.iter().find(|fill| fill.index == bucket);
        let (peers, replacements) = fill.map_or((0, 0), |fill| (fill.peers, fill.replacements));
        let share = others.checked_shr(u32::from(bucket) + 1).unwrap_or(0);
        let expected = share.min(k as u64);
        let state = match expected {
            0 => BucketState::Irrelevant,
            _ if u64::from(peers) * 2 < expected => BucketState::Low,
            _ => BucketState::Good,
        };
        BucketReport {
            bucket,
            peers,
            expected,
            replacements,
            state,
        }
    };
    (0..=u8::MAX)
        .map(report)
        .filter(|bucket| bucket.expected > 0 || bucket.peers > 0)
        .collect()
}

/// A sign of life.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PingReport {
    pub(crate) schema: String,
    pub(crate) key: PublicKey,
    pub(crate) rtt_ms: f64,
    /// "dialled", "accepted" or "relayed".
    pub(crate) path: Reach,
    /// The other end's address, where there is one.
    pub(crate) addr: Option<String>,
    /// Length of the prefix that it shares with the node.
    pub(crate) bucket: u16,
}

impl PingReport {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.ping/1";

    /// From the core's outcome.
    pub(crate) fn new(node: NodeId, key: PublicKey, outcome: &PingOutcome) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            key,
            rtt_ms: ms(outcome.rtt),
            path: outcome.path.reach,
            addr: outcome.path.remote.map(|addr| addr.to_string()),
            bucket: node.distance(&key.id()).common_prefix().min(255),
        }
    }
}

impl Display for PingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.path {
            Reach::Dialled => "direct",
            Reach::Accepted => "over the connection that it dialled",
            Reach::Relayed => "through a relay",
        };
        let addr = self.addr.as_deref().unwrap_or("an unknown address");
        let Self {
            key,
            rtt_ms,
            bucket,
            ..
        } = self;
        write!(
            f,
            "pong from {key} via {addr} ({how}) in {rtt_ms:.1} ms, bucket {bucket}"
        )
    }
}

#[cfg(test)]
pub(crate) mod tests;
