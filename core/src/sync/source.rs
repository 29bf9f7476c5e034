//! The data that reconciliation reads: the store, or any set of versions ordered by target.

use alloc::sync::Arc;

use crate::id::Target;
use crate::item::{Item, Life};
use crate::sync::entry::{Stamp, Version};
use crate::sync::fingerprint::FingerprintTree;

/// Entries ordered by target.
pub trait Entries {
    /// The entries from a target on, in order.
    fn entries(&self, from: Target) -> impl Iterator<Item = (Target, Version)>;
}

/// A set with its fingerprints and its items.
pub trait Source: Entries {
    /// The fingerprints of exactly these entries.
    fn tree(&self) -> &FingerprintTree;

    /// The item at a target and its lifetime; `None` if it must not be passed on.
    fn item(&self, target: &Target) -> Option<(Arc<Item>, Life)>;

    /// Whether a version of a target that this side does not have would be accepted.
    fn wants(&self, stamp: &Stamp) -> bool;
}
