//! The store as reconciliation sees it: owners' items and deletions, at one moment.

use alloc::sync::Arc;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Item, Life, Origin};
use crate::store::Store;
use crate::sync::{Entries, FingerprintTree, Source, Stamp, Version};
use crate::time::Time;

/// A store at one moment, for [`crate::sync`].
#[derive(Clone, Copy)]
pub struct SyncView<'a> {
    store: &'a Store,
    now: Time,
}

impl Store {
    /// The store as reconciliation sees it. Mirrored items are not in it; what has expired is
    /// until it is swept, but is not handed on.
    #[must_use]
    pub const fn sync_view(&self, now: Time) -> SyncView<'_> {
        SyncView { store: self, now }
    }
}

impl Entries for SyncView<'_> {
    fn entries(&self, from: Target) -> impl Iterator<Item = (Target, Version)> {
        self.store.index.versions(from)
    }
}

impl Source for SyncView<'_> {
    fn tree(&self) -> &FingerprintTree {
        self.store.index.tree()
    }

    fn item(&self, target: &Target) -> Option<(Arc<Item>, Life)> {
        let stored = self.store.get(self.now, target)?;
        let life = Life {
            age: stored.age(self.now).unwrap_or_default(),
            left: stored.remaining(self.now).unwrap_or(Duration::MAX),
        };
        (stored.origin() == Origin::Owner).then(|| (stored.item.clone(), life))
    }

    fn wants(&self, stamp: &Stamp) -> bool {
        stamp.origin == Origin::Owner && !self.store.tombstones.covers_lead(self.now, stamp)
    }
}
