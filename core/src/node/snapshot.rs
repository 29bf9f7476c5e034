//! Snapshots of sizes, counts and limits.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;

use crate::id::{NodeId, Target};
use crate::key::PublicKey;
use crate::node::Node;
use crate::node::counters::Counters;
use crate::node::limits::Limit;
use crate::node::measurements::{Label as _, Measurements, Task};
use crate::node::outcome::{OwnItem, PeerInfo, SyncProgress};
use crate::node::peers::clocks::PeersClock;
use crate::node::peers::records::Dialect;
use crate::node::timers::Timer;
use crate::routing::Table;
use crate::store::{Store, StoreFill};
use crate::time::{Mono, Time};

/// Fill of one bucket of the routing table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct BucketFill {
    /// Index: the length of the prefix that its peers share with this node's id.
    pub index: u8,
    /// Number of peers.
    pub peers: u16,
    /// Number of replacement candidates.
    pub replacements: u16,
}

/// Usage of one limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LimitUse {
    /// The limit; its name is the configuration key.
    pub limit: Limit,
    /// Amount in use.
    pub used: usize,
    /// Maximum; `None` if unlimited.
    pub max: Option<usize>,
    /// How often the limit refused something.
    pub hits: u64,
}

/// State of a recurring task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct TaskState {
    /// The task.
    pub task: Task,
    /// Number of runs started.
    pub runs: u64,
    /// Time since the last run started.
    pub last_run: Option<Duration>,
    /// Time since the last success.
    pub last_ok: Option<Duration>,
    /// Time until the next run, if one is scheduled.
    pub next: Option<Duration>,
}

/// Resources held by requests of peers and by verifications. All are released again: in a network
/// that has become quiet, every count is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct InFlight {
    /// Slots taken by requests whose signatures are being checked.
    pub slots: usize,
    /// Requests that wait for their turn, a slot, room or storage.
    pub waiting_requests: usize,
    /// Verification jobs, queued or passed to the driver.
    pub verify_jobs: usize,
    /// Bytes of items whose signatures are being checked.
    pub reserved_bytes: usize,
    /// Bytes of requests, from their first byte to their answer.
    pub request_bytes: usize,
    /// Bytes of answers that have not left.
    pub answer_bytes: usize,
}

/// Sizes, counts and limits of a node at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The node's key.
    pub key: PublicKey,
    /// The node's id.
    pub id: NodeId,
    /// Whether the table is not empty and the first self-lookups are complete.
    pub ready: bool,
    /// Whether the node stores every item, whatever its distance.
    pub full_node: bool,
    /// Configured bootstrap peers.
    pub bootstrap_configured: usize,
    /// Bootstrap peers whose last call succeeded.
    pub bootstrap_reachable: usize,
    /// Keys of those bootstrap peers.
    pub bootstrap_reached: Vec<PublicKey>,
    /// Peers in the routing table, including those that no longer answer.
    pub peers: usize,
    /// Peers in the routing table whose last call did not fail and whose last sign of life is
    /// within `proven_within`. Only these are named to other peers.
    pub peers_proven: usize,
    /// Maximum age of the last sign of life of a peer that is named to others.
    pub proven_within: Duration,
    /// Time since any peer of the table gave a sign of life; `None` if the table is empty.
    pub last_sign_of_life: Option<Duration>,
    /// Estimate of the network's size, this node included, from the density of the nearest peers.
    pub network_size: u64,
    /// The buckets that are not empty.
    pub buckets: Vec<BucketFill>,
    /// Fill of the store.
    pub store: StoreFill,
    /// Own items kept renewed.
    pub own_items: usize,
    /// Other known full nodes.
    pub full_nodes: usize,
    /// Reconciliation sessions of this node in progress: the peer, and what the session has
    /// transferred.
    pub syncs: Vec<(PublicKey, SyncProgress)>,
    /// Complete requests of peers that have not been answered.
    pub requests_in_flight: usize,
    /// Calls to peers in progress.
    pub calls_in_flight: usize,
    /// Streams that peers opened.
    pub accepted_streams: usize,
    /// Streams that this node opened.
    pub opened_streams: usize,
    /// Resources held by requests of peers.
    pub in_flight: InFlight,
    /// Offset of the peers' wall clocks from this node's; `None` while too few peers have answered.
    pub peers_clock: Option<PeersClock>,
    /// State of the recurring tasks.
    pub tasks: Vec<TaskState>,
    /// Limits and their usage.
    pub limits: Vec<LimitUse>,
    /// Counters since the start.
    pub counters: Counters,
    /// Measurements by kind since the start. Not serialised: the serialised form is meant for
    /// reading.
    #[serde(skip)]
    pub measured: Box<Measurements>,
}

impl Node {
    /// The node's public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.base.cx.public
    }

    /// Sizes, counts and limits, as of the last input. O(peers in the table + limits + own items).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(self.base.cx.now)
    }

    /// Returns sizes, counts and limits, with ages relative to `now`: the last input of an idle
    /// node may be long past.
    #[must_use]
    pub fn snapshot_at(&self, now: Time) -> Snapshot {
        let mono = now.mono.max(self.base.cx.now.mono);
        let buckets = self
            .base
            .peers
            .table
            .buckets()
            .map(|(index, peers, replacements)| BucketFill {
                index,
                peers: u16::try_from(peers).unwrap_or(u16::MAX),
                replacements: u16::try_from(replacements).unwrap_or(u16::MAX),
            });
        let limits = Limit::ALL.iter().map(|limit| LimitUse {
            limit: *limit,
            used: self.used(*limit),
            max: match limit {
                // A full node is bounded by bytes only.
                Limit::store_items | Limit::public_items if self.base.cx.config.full_node => None,
                _ => limit.of(&self.base.cx.config.limits),
            },
            hits: self.base.cx.hits[*limit as usize],
        });
        Snapshot {
            key: self.base.cx.public,
            id: self.base.cx.id,
            ready: self.upkeep.is_ready(),
            full_node: self.base.cx.config.full_node,
            bootstrap_configured: self.base.cx.config.bootstrap.len(),
            bootstrap_reachable: self.upkeep.reachable(),
            bootstrap_reached: self.upkeep.reached().collect(),
            peers: self.base.peers.table.len(),
            peers_proven: self
                .base
                .peers
                .table
                .proven(mono.minus(self.base.peers.proven_within())),
            proven_within: self.base.peers.proven_within(),
            last_sign_of_life: self
                .base
                .peers
                .table
                .last_sign_of_life()
                .map(|at| mono.since(at)),
            network_size: self.base.peers.table.network_size(),
            buckets: buckets.collect(),
            store: self.base.items.store.fill(),
            own_items: self.base.items.own.renewed(),
            full_nodes: self.base.peers.store.full_nodes().len(),
            syncs: self.replication.sessions.progress().collect(),
            requests_in_flight: self.inbound.serving(),
            calls_in_flight: self.base.calls.len(),
            accepted_streams: self.inbound.accepted(),
            opened_streams: self.base.calls.open_streams(),
            in_flight: self.in_flight(),
            peers_clock: self.base.peers.clocks.offset(Time { mono, ..now }),
            tasks: Task::ALL
                .iter()
                .map(|task| self.task(*task, mono))
                .collect(),
            limits: limits.collect(),
            counters: self.base.cx.counters.clone(),
            measured: self.base.cx.measured.clone(),
        }
    }

    fn task(&self, task: Task, now: Mono) -> TaskState {
        let timers = &self.base.cx.timers;
        let due = match task {
            Task::Bootstrap => timers.due_at(Timer::Bootstrap),
            Task::SelfLookup => timers.due_at(Timer::SelfLookup),
            Task::Refresh => timers.due_at(Timer::Refresh),
            Task::Prove => timers.due_at(Timer::Prove),
            Task::Renewal => timers.first_renewal(),
            Task::Reconcile => timers.due_at(Timer::Reconcile),
            Task::Expiry => timers.due_at(Timer::Expiry),
        };
        let runs = self.base.cx.measured.tasks.of(task);
        TaskState {
            task,
            runs: runs.runs,
            last_run: runs.last_run.map(|at| now.since(at)),
            last_ok: runs.last_ok.map(|at| now.since(at)),
            next: due.map(|at| at.since(now)),
        }
    }

    /// Returns the resources held by requests of peers and by verifications. O(1).
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        InFlight {
            slots: self.inbound.slots(),
            waiting_requests: self.inbound.waiting(),
            verify_jobs: self.base.jobs.len(),
            reserved_bytes: self.base.items.store.reserved_bytes(),
            request_bytes: self.inbound.request_bytes(),
            answer_bytes: self.inbound.answer_bytes(),
        }
    }

    /// Returns the counters since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.base.cx.counters
    }

    /// The routing table, read-only.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.base.peers.table
    }

    /// Returns the items that are kept renewed, in order of their targets, with ages relative to
    /// `now`: the last input of an idle node may be long past. O(own items).
    #[must_use]
    pub fn own_items(&self, now: Mono) -> Vec<OwnItem> {
        self.base.items.own.list(&self.base.cx.timers, now)
    }

    /// The store, read-only.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.base.items.store
    }

    /// The peers in the routing table, nearest first, as of the last input.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.peers_at(self.base.cx.now.mono)
    }

    /// The peers in the routing table, nearest first, with ages relative to `now`: the last input
    /// of an idle node may be long past.
    #[must_use]
    pub fn peers_at(&self, now: Mono) -> Vec<PeerInfo> {
        let now = now.max(self.base.cx.now.mono);
        let own = Target::from(self.base.cx.id);
        let since = now.minus(self.base.peers.proven_within());
        self.base
            .peers
            .table
            .closest(&own, usize::MAX)
            .map(|contact| PeerInfo {
                key: contact.key,
                addr: contact.addr,
                bucket: self
                    .base
                    .peers
                    .table
                    .bucket_of(&contact.id.into())
                    .unwrap_or(u8::MAX),
                last_seen: now.since(contact.last_seen.mono),
                rtt: self.base.peers.store.rtt(&contact.key),
                skydht: match self.base.peers.store.dialect(&contact.key) {
                    Dialect::Unknown => None,
                    Dialect::Go => Some(false),
                    Dialect::Skydht => Some(true),
                },
                reachable: contact.reachable,
                proven: contact.is_proven(since),
            })
            .collect()
    }

    /// Amount of a limit in use; 0 for limits on single messages and on shares of one peer.
    fn used(&self, limit: Limit) -> usize {
        let fill = self.base.items.store.fill();
        match limit {
            Limit::streams => self.base.cx.open_streams,
            Limit::serving => self.inbound.slots(),
            Limit::calls => self.base.calls.len(),
            Limit::idle_streams => self.base.calls.kept(),
            Limit::operations => self.operations.len(),
            Limit::verify_jobs => self.base.jobs.len(),
            Limit::verify_window => self.base.jobs.out(),
            Limit::request_bytes => self.inbound.request_bytes(),
            Limit::answer_bytes => self.inbound.answer_bytes(),
            Limit::callers => self.base.callers.len(),
            Limit::outputs => self.base.cx.outputs.len(),
            Limit::store_items => fill.items,
            Limit::store_bytes => fill.bytes,
            Limit::public_items => fill.public,
            Limit::deletion_marks => fill.marks.max(fill.expired_marks),
            Limit::own_items => self.base.items.own.renewed(),
            Limit::cached_items => self.base.items.cache.len(),
            Limit::known_peers => self.base.peers.store.len(),
            Limit::probes => self.base.peers.probing.probes(),
            Limit::ping_backs => self.base.peers.probing.ping_backs(),
            Limit::full_nodes => self.base.peers.store.full_nodes().len(),
            Limit::sync_sessions => self.replication.sessions.len(),
            Limit::loads => self.base.loading.requested(),
            Limit::watches => self.inbound.watches(),
            Limit::offers => self.replication.offers.most_waiting(),
            Limit::streams_per_peer
            | Limit::serving_per_peer
            | Limit::request_bytes_per_peer
            | Limit::answer_bytes_per_peer
            | Limit::verify_jobs_per_peer
            | Limit::items_per_publisher
            | Limit::items_per_peer
            | Limit::replacements
            | Limit::newcomers_per_answer
            | Limit::lookup_candidates => 0,
        }
    }
}
