//! The store's markers from outside: what storage keeps of them, and how an item becomes one.

use alloc::vec::Vec;

use crate::id::Target;
use crate::mark::{MarkChange, MarkKind, StoredMark};
use crate::store::Store;
use crate::store::stored_item::StoredItem;
use crate::time::Time;
#[cfg(test)]
use crate::{
    item::{Origin, Seq},
    store::stored_item::Class,
};

impl Store {
    /// From now on [`Store::take_marker_changes`] says which markers have changed.
    pub fn note_marker_changes(&mut self) {
        self.tombstones.note_changes();
        self.expired_markers.note_changes();
    }

    /// Which markers have changed since the last call, for storage to keep or to forget.
    pub fn take_marker_changes(&mut self, now: Time) -> Vec<MarkChange> {
        let mut changes = Vec::new();
        for (kind, markers) in [
            (MarkKind::Deleted, &mut self.tombstones),
            (MarkKind::Expired, &mut self.expired_markers),
        ] {
            for target in markers.take_changed() {
                let marker = markers.stored(now, kind, &target);
                changes.push(marker.map_or(MarkChange::Forget(kind, target), MarkChange::Keep));
            }
        }
        changes
    }

    /// Takes a marker that storage kept from an earlier run; [`MarkKind::Own`] is not the store's.
    pub fn load_marker(&mut self, now: Time, marker: &StoredMark) {
        match marker.kind {
            MarkKind::Deleted => self.tombstones.load(now, marker),
            MarkKind::Expired => self.expired_markers.load(now, marker),
            MarkKind::Own => {}
        }
    }

    /// Drops an item and leaves a tombstone, so that peers which still have it cannot bring
    /// it back for [`MARKER_LIFE`](crate::store::MARKER_LIFE).
    pub fn remove_local(&mut self, now: Time, target: &Target) -> Option<StoredItem> {
        let stored = self.drop_item(target)?;
        let class = stored.class();
        self.tombstones
            .add(now, *target, class, (stored.origin(), stored.item.seq));
        Some(stored)
    }

    /// Adds a tombstone of owner items up to a sequence, for tests of what others make of it.
    #[cfg(test)]
    pub(crate) fn add_tombstone(&mut self, now: Time, target: Target, seq: u64) {
        let upto = (Origin::Owner, Seq(seq));
        self.tombstones.add(now, target, Class::Public, upto);
    }
}
