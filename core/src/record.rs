//! The stored record: an item with its life, as storage keeps it.

use serde::{Deserialize, Serialize};

use crate::id::Target;
use crate::item::Item;
use crate::key::Signature;
use crate::time::Unix;

/// An item as storage keeps it: at its target, with what is known of its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Where it is held; not the item's own target for a mirror.
    pub target: Target,
    /// The item.
    pub item: Item,
    /// When its signer last vouched for it; before [`Unix::BUILD`] when that is not known.
    pub vouched: Unix,
    /// When it expires; none for tiers that never do. Before [`Unix::BUILD`] when the clock
    /// was not set.
    pub expires: Option<Unix>,
    /// The signer's signature over target and payload (the `bind` extension), if it came with
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Signature>,
}
