//! The store's marks from outside: what storage keeps of them, and how an item becomes one.

use alloc::vec::Vec;

use crate::id::Target;
use crate::mark::{MarkChange, MarkKind, StoredMark};
use crate::store::Store;
use crate::store::held::Held;
use crate::time::Time;
#[cfg(test)]
use crate::{
    item::{Origin, Seq},
    store::held::Class,
};

impl Store {
    /// From now on [`Store::take_mark_changes`] says which marks have changed.
    pub fn note_mark_changes(&mut self) {
        self.deleted.note_changes();
        self.expired_markers.note_changes();
    }

    /// Which marks have changed since the last call, for storage to keep or to forget.
    pub fn take_mark_changes(&mut self, now: Time) -> Vec<MarkChange> {
        let mut changes = Vec::new();
        for (kind, marks) in [
            (MarkKind::Deleted, &mut self.deleted),
            (MarkKind::Expired, &mut self.expired_markers),
        ] {
            for target in marks.take_changed() {
                let mark = marks.stored(now, kind, &target);
                changes.push(mark.map_or(MarkChange::Forget(kind, target), MarkChange::Keep));
            }
        }
        changes
    }

    /// Takes a mark that storage kept from an earlier run; [`MarkKind::Own`] is not the store's.
    pub fn load_mark(&mut self, now: Time, mark: &StoredMark) {
        match mark.kind {
            MarkKind::Deleted => self.deleted.load(now, mark),
            MarkKind::Expired => self.expired_markers.load(now, mark),
            MarkKind::Own => {}
        }
    }

    /// Drops an item and marks it as deleted, so that peers which still have it cannot bring
    /// it back for [`MARK_LIFE`](crate::store::MARK_LIFE).
    pub fn remove_local(&mut self, now: Time, target: &Target) -> Option<Held> {
        let held = self.drop_item(target)?;
        let class = held.class();
        self.deleted
            .add(now, *target, class, (held.origin(), held.item.seq));
        Some(held)
    }

    /// Marks owner items up to a sequence as deleted, for tests of what others make of it.
    #[cfg(test)]
    pub(crate) fn mark_deleted(&mut self, now: Time, target: Target, seq: u64) {
        let upto = (Origin::Owner, Seq(seq));
        self.deleted.add(now, target, Class::Public, upto);
    }
}
