//! How a node is.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skydht_core::id::NodeId;
use skydht_core::key::PublicKey;
use skydht_core::node::Snapshot;
use skydht_driver::transport::TransportStats;

use super::{from_ms, ms};
use crate::output::{Human, count};
use crate::verdict::{self, Reason, Verdict};

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

/// What the transport counts; all since the start, except `sessions`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TransportReport {
    /// Connections to peers now.
    pub(crate) sessions: usize,
    pub(crate) dials: u64,
    pub(crate) dials_failed: u64,
    pub(crate) accepted: u64,
    pub(crate) handshakes_failed: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
}

impl TransportReport {
    /// From the transport's figures.
    fn new(stats: &TransportStats) -> Self {
        Self {
            sessions: stats.sessions,
            dials: stats.dials,
            dials_failed: stats.dials_failed,
            accepted: stats.accepted,
            handshakes_failed: stats.handshakes_failed,
            refused: stats.refused,
            lost: stats.lost,
        }
    }
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
    pub(crate) transport: TransportReport,
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
    pub(crate) fn new(
        snapshot: &Snapshot,
        transport: &TransportStats,
        about: &About,
        uptime: Duration,
    ) -> Self {
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
            transport: TransportReport::new(transport),
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
            "bootstrap {reachable} of {configured} reachable · {} proven peers · network ≈ {} · {} connections",
            count(self.peers as u64),
            count(self.network_size),
            self.transport.sessions
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
