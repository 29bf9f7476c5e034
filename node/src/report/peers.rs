//! Report of the peers that a node knows.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::id::NodeId;
use skydht_core::key::PublicKey;
use skydht_core::node::{PeerInfo, PingOutcome, Reach, Snapshot};

use super::units::ms;

/// A peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PeerReport {
    pub(crate) key: PublicKey,
    pub(crate) id: NodeId,
    /// Address to dial, if known.
    pub(crate) addr: Option<String>,
    /// Length of the prefix that it shares with the node.
    pub(crate) bucket: u8,
    pub(crate) last_seen_ms: f64,
    pub(crate) rtt_ms: Option<f64>,
    /// Whether it supports this program's extensions; `None` while unknown.
    pub(crate) skydht: Option<bool>,
    /// Whether the node has reached it by a call, and so names it to other peers.
    pub(crate) reachable: bool,
    /// Whether it answered recently, and its last call did not fail.
    #[serde(default)]
    pub(crate) proven: bool,
}

/// State of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BucketState {
    /// At least half of the expected peers.
    Good,
    /// Less than half of the expected peers.
    Low,
    /// No peers are expected, because the network is too small.
    Irrelevant,
}

/// State and size of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct BucketReport {
    /// Length of the prefix shared with the node.
    pub(crate) bucket: u8,
    pub(crate) peers: u16,
    /// Expected peers: min(k, n / 2^(bucket + 1)) in a network of n nodes.
    pub(crate) expected: u64,
    pub(crate) replacements: u16,
    pub(crate) state: BucketState,
}

/// Report of the peers that a node knows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PeersReport {
    pub(crate) schema: String,
    pub(crate) key: PublicKey,
    pub(crate) network_size: u64,
    /// The peers, sorted by bucket, then newest first.
    pub(crate) peers: Vec<PeerReport>,
    pub(crate) buckets: Vec<BucketReport>,
}

impl PeersReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.peers/1";

    /// Creates the report of a node that is starting.
    pub(crate) fn none(key: PublicKey) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            key,
            network_size: 1,
            peers: Vec::new(),
            buckets: Vec::new(),
        }
    }

    /// Creates the report from a snapshot and the routing table.
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
                proven: peer.proven,
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

/// Returns the buckets that contain peers, or are expected to.
pub(super) fn judge_buckets(snapshot: &Snapshot, k: usize) -> Vec<BucketReport> {
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

/// Report of a ping.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PingReport {
    pub(crate) schema: String,
    pub(crate) key: PublicKey,
    pub(crate) rtt_ms: f64,
    /// "dialled", "accepted" or "relayed".
    pub(crate) path: Reach,
    /// Address of the peer, if the connection has one.
    pub(crate) addr: Option<String>,
    /// Number of leading bits that its id shares with the node's.
    pub(crate) bucket: u16,
}

impl PingReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.ping/1";

    /// Converts the core's outcome.
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
        let addr = self.addr.as_deref().unwrap_or("an unknown address");
        let way = match self.path {
            Reach::Dialled => format!("via {addr} (direct)"),
            Reach::Accepted => format!("via {addr} (over the connection that it dialled)"),
            Reach::Relayed => "through a relay".to_owned(),
        };
        let Self {
            key,
            rtt_ms,
            bucket,
            ..
        } = self;
        write!(
            f,
            "pong from {key} {way} in {rtt_ms:.1} ms, bucket {bucket}"
        )
    }
}
