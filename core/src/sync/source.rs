//! What reconciliation reads: the store, or any set of versions in order of their targets.

use alloc::sync::Arc;

use crate::id::Target;
use crate::item::{Item, Life};
use crate::sync::entry::{Stamp, Version};
use crate::sync::fingerprint::FingerprintTree;

/// Entries in order of their targets.
pub trait Entries {
    /// The entries from a target on.
    fn entries(&self, from: Target) -> impl Iterator<Item = (Target, Version)>;
}

/// A set with its fingerprints and the items behind its entries.
pub trait Source: Entries {
    /// The fingerprints of exactly these entries.
    fn tree(&self) -> &FingerprintTree;

    /// The item at a target, and how long it lives; none when it may not be handed on.
    fn item(&self, target: &Target) -> Option<(Arc<Item>, Life)>;

    /// Whether a version of a target that is not held here would be taken.
    fn wants(&self, stamp: &Stamp) -> bool;
}
