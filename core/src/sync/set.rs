//! An in-memory set of owners' items, for using reconciliation on its own.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Item, Life, Origin};
use crate::sync::entry::{Stamp, Version};
use crate::sync::fingerprint::FingerprintTree;
use crate::sync::source::{Entries, Source};

/// Owners' items with the highest sequence per target, and their fingerprints.
#[derive(Clone, Default, Debug)]
pub struct ItemSet {
    items: BTreeMap<Target, (Version, Arc<Item>)>,
    tree: FingerprintTree,
}

impl ItemSet {
    /// Stores an item if it ranks higher than the one at its target: by sequence, then by the
    /// smaller hash. Returns whether it does. Signatures are not checked.
    pub fn insert(&mut self, item: Arc<Item>) -> bool {
        let target = item.target();
        let version = Version {
            origin: Origin::Owner,
            seq: item.seq,
            payload: item.content_hash(),
        };
        let higher = self.items.get(&target).is_none_or(|(held, _)| {
            version.seq > held.seq || (version.seq == held.seq && version.payload < held.payload)
        });
        if higher {
            self.remove(&target);
            self.items.insert(target, (version, item));
            let Self { items, tree } = self;
            tree.insert(&target, &version, |from| entries(items, from));
        }
        higher
    }

    /// Removes and returns an item.
    pub fn remove(&mut self, target: &Target) -> Option<Arc<Item>> {
        let (version, item) = self.items.remove(target)?;
        self.tree.remove(target, &version);
        Some(item)
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All items, in order of their targets.
    pub fn items(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.items.values().map(|(_, item)| item)
    }
}

fn entries(
    items: &BTreeMap<Target, (Version, Arc<Item>)>,
    from: Target,
) -> impl Iterator<Item = (Target, Version)> {
    items
        .range(from..)
        .map(|(target, (version, _))| (*target, *version))
}

impl Entries for ItemSet {
    fn entries(&self, from: Target) -> impl Iterator<Item = (Target, Version)> {
        entries(&self.items, from)
    }
}

impl Source for ItemSet {
    fn tree(&self) -> &FingerprintTree {
        &self.tree
    }

    fn item(&self, target: &Target) -> Option<(Arc<Item>, Life)> {
        let (_, item) = self.items.get(target)?;
        let life = Life {
            age: Duration::ZERO,
            left: Duration::MAX,
        };
        Some((item.clone(), life))
    }

    fn wants(&self, _: &Stamp) -> bool {
        true
    }
}
