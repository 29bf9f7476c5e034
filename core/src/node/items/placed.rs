//! An item of this node and where it is published: at its own target, or, as a mirror, at another
//! key's.

use alloc::sync::Arc;

use crate::id::Target;
use crate::item::{Item, Origin};
use crate::key::Signature;
use crate::node::context::Context;
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

    /// Binds an item of this node to a target; at another key's target with a signature over it.
    pub(crate) fn sign(cx: &mut Context, item: Arc<Item>, target: Target) -> Option<Self> {
        let bind = match item.origin_at(&target) {
            Origin::Owner => None,
            Origin::Mirror => Some(cx.sign_digest(|| item.bind_digest(&target))?),
        };
        Some(Self { item, target, bind })
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
