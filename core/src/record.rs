//! The stored record: an item with its life, as storage keeps it.
use crate::id::Target;
use crate::item::Item;
use crate::time::Unix;
use serde::{Deserialize, Serialize};

/// An item as storage keeps it: at its target, with what is known of its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Where it is held; not the item's own target for a mirror.
    pub target: Target,
    /// The item.
    pub item: Item,
    /// When its signer last vouched for it, as far as known.
    pub vouched: Unix,
    /// When it expires; none for tiers that never do.
    pub expires: Option<Unix>,
}
