//! What a store is given: whom to trust, how long items live, how much to hold.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::cap::Cap;
use crate::id::NodeId;
use crate::item::Item;
use crate::key::PublicKey;

/// Bytes that an item takes besides value and salt: key, signature, life and its places in
/// the indexes, rounded up.
pub const RECORD_OVERHEAD: usize = 640;

/// What an item counts against [`StoreConfig::max_bytes`].
#[must_use]
pub fn item_cost(item: &Item) -> usize {
    item.value.as_bytes().len() + item.salt.as_bytes().len() + RECORD_OVERHEAD
}

/// What a store is given at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreConfig {
    /// This node: items near it are the last to go, and its own are never evicted.
    pub local: NodeId,
    /// Replication: a regular node whose store is four fifths full refuses a new item when it
    /// knows this many live peers nearer to it.
    pub k: usize,
    /// Life of an item after its signer vouched for it.
    pub ttl: Duration,
    /// Take items whatever their distance, and evict the soonest to expire instead of the
    /// farthest. A full node is bounded by bytes: give it no `max_items` and no `public_items`.
    pub full_node: bool,
    /// Keys whose owner items never expire, are never evicted, and have no quota.
    pub whitelisted: BTreeSet<PublicKey>,
    /// The same, as a second tier.
    pub trusted: BTreeSet<PublicKey>,
    /// Keys from which mirrors are accepted.
    pub mirrors: BTreeSet<PublicKey>,
    /// Peers that may pass mirrors on without a binding signature.
    pub mirror_relays: BTreeSet<PublicKey>,
    /// Items held. Items of the tiers and of this node may exceed it.
    pub max_items: Cap,
    /// Bytes held, by [`item_cost`]. Nothing exceeds it.
    pub max_bytes: Cap,
    /// Items that are neither of the tiers nor put by this node, mirrors included.
    pub public_items: Cap,
    /// Owner items of one key outside the tiers. An update is no new item.
    pub items_per_publisher: Cap,
    /// Items that one peer may put, with any signer. Peers that are
    /// configured as whitelisted, trusted or mirror have no such limit.
    pub items_per_peer: Cap,
    /// Markers of deleted items, and as many again of expired ones.
    pub deletion_marks: Cap,
}

/// Which rules an owner's items follow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// A configured key: no expiry, no eviction, no quota.
    Whitelisted,
    /// A configured key, same rules.
    Trusted,
    /// Everyone else.
    Public,
}

impl StoreConfig {
    /// A regular node's with the default replication of 20, without tiers, mirrors and limits.
    #[must_use]
    pub const fn unlimited(local: NodeId, ttl: Duration) -> Self {
        Self {
            local,
            k: 20,
            ttl,
            full_node: false,
            whitelisted: BTreeSet::new(),
            trusted: BTreeSet::new(),
            mirrors: BTreeSet::new(),
            mirror_relays: BTreeSet::new(),
            max_items: Cap::UNLIMITED,
            max_bytes: Cap::UNLIMITED,
            public_items: Cap::UNLIMITED,
            items_per_publisher: Cap::UNLIMITED,
            items_per_peer: Cap::UNLIMITED,
            deletion_marks: Cap::UNLIMITED,
        }
    }

    /// The tier of a key's owner items.
    #[must_use]
    pub fn tier(&self, key: &PublicKey) -> Tier {
        if self.whitelisted.contains(key) {
            Tier::Whitelisted
        } else if self.trusted.contains(key) {
            Tier::Trusted
        } else {
            Tier::Public
        }
    }

    /// Whether the operator named this key in any role.
    pub(super) fn is_configured(&self, key: &PublicKey) -> bool {
        self.tier(key) != Tier::Public
            || self.mirrors.contains(key)
            || self.mirror_relays.contains(key)
    }
}
