//! An item of this node and where it is published: at its own target, or, as a mirror, at another
//! key's.

use alloc::sync::Arc;

use crate::id::Target;
use crate::item::Item;
use crate::key::Signature;
use crate::store::{Candidate, Via};

/// An item with its target.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) item: Arc<Item>,
    pub(crate) target: Target,
    /// The signature that lets a mirror travel: over the target and the item. None at the item's
    /// own target.
    pub(crate) bind: Option<Signature>,
}

impl Placed {
    /// At its signer's own target.
    pub(crate) fn own(item: Arc<Item>) -> Self {
        Self {
            target: item.target(),
            item,
            bind: None,
        }
    }

    /// Whether it is at another key's target.
    pub(crate) const fn is_mirror(&self) -> bool {
        self.bind.is_some()
    }

    /// What asks this node's own store for room.
    pub(crate) fn candidate(&self, via: Via) -> Candidate {
        Candidate {
            target: self.target,
            item: self.item.clone(),
            via,
            life: None,
            bound: self.bind,
        }
    }
}
