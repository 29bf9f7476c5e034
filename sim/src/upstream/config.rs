//! How a node of upstream's is set up, and what it counts.

use std::collections::BTreeSet;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Salt, Value};
use skydht_core::key::PublicKey;

use super::store::Limits;

/// Upstream's constants, and what its users configure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamConfig {
    /// Pinged one after another at the start, and again and again.
    pub bootstrap: Vec<PublicKey>,
    /// Keeps everything, announces that, and reconciles with others.
    pub full_node: bool,
    /// Of the store.
    pub limits: Limits,
    /// Keys whose items stay for ever.
    pub whitelisted: BTreeSet<PublicKey>,
    /// The same.
    pub trusted: BTreeSet<PublicKey>,
    /// How often the node signs and pushes its own items again with the next sequence, as the
    /// visor does (defect 13); none: never.
    pub republish: Option<Duration>,
    /// Items of others that this node, a service, copies to their targets under its own key.
    pub mirror: Option<MirrorConfig>,
    /// A command's deadline when it names none. Upstream's callers bring their own contexts,
    /// and without one a lookup that keeps being fed new peers never ends.
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

/// What a service mirrors: one item, signed once and put to the targets of many owners, with
/// the clock as its sequence, so that it beats them all (defects 9, 10, 34).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorConfig {
    /// The owners' targets.
    pub targets: Vec<Target>,
    /// The item's salt.
    pub salt: Salt,
    /// The item's value.
    pub value: Value,
    /// How often.
    pub every: Duration,
}

/// For all targets of a mirror together; those that come too late are left out.
pub(super) const MIRROR_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request and its answer, dialling included.
pub(super) const RPC_TIMEOUT: Duration = Duration::from_secs(10);
/// For a page of items.
pub(super) const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests served at once.
pub(super) const HANDLERS: usize = 128;
/// Streams that wait for a handler; more are dropped, as by DMSG's accept buffer.
pub(super) const BACKLOG: usize = 20;
/// How long a key that could not be dialled once is not dialled again.
pub(super) const NO_DHT: Duration = Duration::from_secs(600);
/// Between two sweeps of the store; upstream calls it the refresh interval.
pub(super) const TICK: Duration = Duration::from_secs(30);
/// Interval between two tries to bootstrap while no peer is known.
pub(super) const BOOTSTRAP_EMPTY: Duration = Duration::from_secs(30);
/// The same once a peer is known.
pub(super) const BOOTSTRAP_AGAIN: Duration = Duration::from_secs(300);

/// Salt under which a full node announces itself.
pub(super) const ADVERT_SALT: &str = "fullnode";

/// What happened, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests answered.
    pub served: u64,
    /// Requests closed without an answer: unknown methods, bad bodies, bad lengths.
    pub refused: u64,
    /// Accepted streams dropped because handlers and backlog were full.
    pub dropped: u64,
    /// Peers inserted by what methods 5 and 6 claim.
    pub claimed: u64,
    /// Newcomers dropped because their list was full.
    pub newcomers_dropped: u64,
    /// Requests sent.
    pub calls: u64,
    /// Requests not sent because a dial had failed in the last ten minutes.
    pub calls_skipped: u64,
    /// Requests that brought no answer.
    pub calls_failed: u64,
    /// Gets that ended in an error because their best item did not verify.
    pub gets_forged: u64,
    /// Own items signed and pushed again.
    pub republished: u64,
    /// Items put to the targets of others.
    pub mirrored: u64,
    /// Items that reconciliation brought.
    pub pulled: u64,
    /// Items that reconciliation sent.
    pub pushed: u64,
}
