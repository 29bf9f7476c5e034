//! Configuration and counters of a node of upstream.

use std::collections::BTreeSet;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Salt, Value};
use skydht_core::key::PublicKey;

use super::store::Limits;

/// Constants of upstream, and settings of its users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamConfig {
    /// Bootstrap peers. They are pinged one after another, at the start and repeatedly afterwards.
    pub bootstrap: Vec<PublicKey>,
    /// Whether the node keeps everything, announces this, and reconciles with other full nodes.
    pub full_node: bool,
    /// Limits of the store.
    pub limits: Limits,
    /// Keys whose items never expire.
    pub whitelisted: BTreeSet<PublicKey>,
    /// Further keys whose items never expire.
    pub trusted: BTreeSet<PublicKey>,
    /// Interval at which the node signs and pushes its own items again with the next sequence
    /// number, as the visor does (defect 13); `None`: never.
    pub republish: Option<Duration>,
    /// Items of others that this node, as a service, copies to their targets under its own key.
    pub mirror: Option<MirrorConfig>,
    /// Deadline of a command that has none. Upstream's callers use their own contexts; without one,
    /// a lookup that keeps getting new peers never ends.
    pub operation_timeout: Duration,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            full_node: false,
            limits: Limits::default(),
            whitelisted: BTreeSet::new(),
            trusted: BTreeSet::new(),
            republish: Some(Duration::from_secs(60)),
            mirror: None,
            operation_timeout: Duration::from_secs(300),
        }
    }
}

/// What a service mirrors: one item, signed once and put to the targets of many owners. Its
/// sequence number is the time, so it replaces the items of all owners (defects 9, 10, 34).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorConfig {
    /// Targets of the owners.
    pub targets: Vec<Target>,
    /// Salt of the item.
    pub salt: Salt,
    /// Value of the item.
    pub value: Value,
    /// Interval between rounds.
    pub every: Duration,
}

/// Time limit for all targets of a mirror together. Targets that are not reached in time are left
/// out.
pub(super) const MIRROR_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for one request and its answer, including the dial.
pub(super) const RPC_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for a page of items.
pub(super) const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of requests served concurrently.
pub(super) const HANDLERS: usize = 128;
/// Maximum number of streams that wait for a handler. Further ones are dropped, as by DMSG's accept
/// buffer.
pub(super) const BACKLOG: usize = 20;
/// Time during which a key is not dialled again after a failed dial.
pub(super) const NO_DHT: Duration = Duration::from_secs(600);
/// Interval between sweeps of the store. Upstream calls it the refresh interval.
pub(super) const TICK: Duration = Duration::from_secs(30);
/// Interval between bootstrap attempts while no peer is known.
pub(super) const BOOTSTRAP_EMPTY: Duration = Duration::from_secs(30);
/// Interval between bootstrap attempts once a peer is known.
pub(super) const BOOTSTRAP_AGAIN: Duration = Duration::from_secs(300);

/// Salt under which a full node announces itself.
pub(super) const ADVERT_SALT: &str = "fullnode";

/// Counters of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests answered.
    pub served: u64,
    /// Requests closed without an answer: unknown methods, invalid bodies, invalid lengths.
    pub refused: u64,
    /// Accepted streams dropped because all handlers and the backlog were in use.
    pub dropped: u64,
    /// Peers inserted because of unverified claims in methods 5 and 6.
    pub claimed: u64,
    /// New peers dropped because their list was full.
    pub newcomers_dropped: u64,
    /// Requests sent.
    pub calls: u64,
    /// Requests not sent because a dial had failed in the last ten minutes.
    pub calls_skipped: u64,
    /// Requests without an answer.
    pub calls_failed: u64,
    /// Gets that ended with an error because their best item did not verify.
    pub gets_forged: u64,
    /// Own items signed and pushed again.
    pub republished: u64,
    /// Items put to the targets of others.
    pub mirrored: u64,
    /// Items received by reconciliation.
    pub pulled: u64,
    /// Items sent by reconciliation.
    pub pushed: u64,
}
