//! Builds the status of a node from observations, its surroundings, and the verdict.

use std::collections::BTreeMap;

use skydht_core::key::PublicKey;
use skydht_core::node::{PeerInfo, Snapshot};
use skydht_driver::storage::StorageStats;
use skydht_driver::transport::{DialFailure, TransportStats};

use crate::condition::Condition;
use crate::dmsg::Carrier;
use crate::mirror::Mirror;
use crate::report::{
    BootstrapReport, DmsgReport, LimitReport, StatusReport, StorageReport, StoreReport,
    TransportReport, Verdict, ms,
};
use crate::verdict;

/// Constant parts of a status.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) key: PublicKey,
    /// Whether the node is a full node.
    pub(crate) full_node: bool,
    /// Bucket size.
    pub(crate) k: usize,
    /// Address at which it listens for peers; empty if it serves nothing.
    pub(crate) listen: String,
}

/// Observations of a running node.
pub(crate) struct Seen {
    pub(crate) snapshot: Snapshot,
    pub(crate) peers: Vec<PeerInfo>,
    pub(crate) transport: TransportStats,
    pub(crate) failures: Vec<DialFailure>,
    pub(crate) storage: StorageStats,
}

impl StatusReport {
    /// Builds the status of a running node.
    pub(crate) fn new(seen: &Seen, about: &About, condition: &Condition) -> Self {
        let Seen {
            snapshot,
            peers,
            transport,
            failures,
            storage,
        } = seen;
        let recent = condition.recent_hits(snapshot);
        let limits = snapshot.limits.iter().zip(recent);
        let limits = limits.map(|(entry, recent_hits)| LimitReport {
            key: format!("limits.{}", entry.limit.name()),
            used: entry.used,
            max: entry.max,
            hits: entry.hits,
            recent_hits,
        });
        let store = &snapshot.store;
        let bootstrap = condition.bootstrap();
        let report = Self {
            // The core calls the first node of a network ready, although it has no peers to ask.
            ready: snapshot.ready && snapshot.peers_proven > 0,
            full_node: snapshot.full_node,
            bootstrap: bootstrap.report(Some(snapshot), peers, failures),
            peers: snapshot.peers_proven,
            proven_within_ms: ms(snapshot.proven_within),
            last_sign_of_life_ms: snapshot.last_sign_of_life.map(ms),
            network_size: snapshot.network_size,
            clock: condition.clock().report(snapshot.peers_clock),
            store: StoreReport {
                items: store.items,
                bytes: store.bytes,
                public: store.public,
                whitelisted: store.whitelisted,
                trusted: store.trusted,
                mirrors: store.mirrors,
                tombstones: store.tombstones,
            },
            storage: StorageReport::new(storage),
            own_items: snapshot.own_items,
            transport: TransportReport::new(transport),
            connections_lost: condition.carrier().is_none()
                && condition.lost_connections(transport),
            tasks: condition.tasks().report(Some(snapshot)),
            limits: limits.collect(),
            counters: snapshot
                .counters
                .iter()
                .map(|(counter, n)| (counter.name().to_owned(), n))
                .collect(),
            ..Self::blank(about, condition)
        };
        report.judged(Some(snapshot))
    }

    /// Builds the status of a node that is starting.
    pub(crate) fn starting(about: &About, condition: &Condition) -> Self {
        let mut report = Self::blank(about, condition);
        let dmsg = report.dmsg.as_ref();
        let waits_for = dmsg.map_or_else(|| "this machine".to_owned(), DmsgReport::waiting);
        report.waits_for = Some(waits_for);
        report.bootstrap = condition.bootstrap().report(None, &[], &[]);
        report.clock = condition.clock().report(None);
        report.judged(None)
    }

    fn blank(about: &About, condition: &Condition) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            verdict: Verdict::Green,
            reasons: Vec::new(),
            waits_for: None,
            ready: false,
            key: about.key,
            id: about.key.id(),
            full_node: about.full_node,
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: ms(condition.uptime()),
            listen: about.listen.clone(),
            bootstrap: BootstrapReport::default(),
            dmsg: condition.carrier().map(Carrier::report),
            mirror: condition.mirror().map(Mirror::report),
            peers: 0,
            proven_within_ms: 0.0,
            last_sign_of_life_ms: None,
            network_size: 1,
            clock: None,
            store: StoreReport::default(),
            storage: StorageReport::default(),
            own_items: 0,
            lapsed: condition.lapsed().report(),
            verified: condition
                .verified()
                .last()
                .map(|(age, report)| report.summary(age)),
            transport: TransportReport::default(),
            connections_lost: false,
            files: condition.files().cloned(),
            tasks: condition.tasks().report(None),
            limits: Vec::new(),
            counters: BTreeMap::new(),
        }
    }

    fn judged(mut self, snapshot: Option<&Snapshot>) -> Self {
        let joined = snapshot.is_some_and(|snapshot| snapshot.ready);
        (self.verdict, self.reasons) = verdict::judge(&self, joined);
        self
    }
}

impl TransportReport {
    /// Converts the transport's statistics.
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
