//! Sizes, counts and limits at one moment.

use alloc::vec::Vec;

use serde::Serialize;

use crate::id::NodeId;
use crate::key::PublicKey;
use crate::node::counters::Counters;
use crate::node::limits::Limit;
use crate::store::StoreFill;

/// Fill of one bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct BucketFill {
    /// Length of the shared prefix.
    pub index: u8,
    /// Peers.
    pub peers: u16,
    /// Replacement candidates.
    pub replacements: u16,
}

/// Use of one limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LimitUse {
    /// Which; its name is the configuration key.
    pub limit: Limit,
    /// How much is used.
    pub used: usize,
    /// How much may be used; 0 means unlimited.
    pub max: usize,
    /// How often something was refused because of it.
    pub hits: u64,
}

/// Sizes, counts and limits at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The node's key.
    pub key: PublicKey,
    /// Its id.
    pub id: NodeId,
    /// Whether the table is not empty and the first self-lookups are done.
    pub ready: bool,
    /// Configured bootstrap peers.
    pub bootstrap_configured: usize,
    /// Bootstrap peers whose last call succeeded.
    pub bootstrap_reachable: usize,
    /// Peers in the routing table.
    pub peers: usize,
    /// Estimate of the network's size, this node included, from the density of the nearest peers.
    pub network_size: u64,
    /// Buckets that are not empty.
    pub buckets: Vec<BucketFill>,
    /// What the store holds.
    pub store: StoreFill,
    /// Own items kept renewed.
    pub own_items: usize,
    /// Limits and their use.
    pub limits: Vec<LimitUse>,
    /// Counts since the start.
    pub counters: Counters,
}
