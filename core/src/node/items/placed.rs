//! An own item and its target: the item's own, or another key's for a mirror.

use alloc::sync::Arc;

use crate::id::Target;
use crate::item::{Item, Origin};
use crate::key::Signature;
use crate::node::context::Context;
use crate::store::{Candidate, Via};

/// An own item with its target.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) item: Arc<Item>,
    pub(crate) target: Target,
    /// Signature over target and item that lets peers pass a mirror on; `None` at the item's own
    /// target.
    pub(crate) bind: Option<Signature>,
}

impl Placed {
    /// Places an item at its signer's own target.
    pub(crate) fn own(item: Arc<Item>) -> Self {
        Self {
            target: item.target(),
            item,
            bind: None,
        }
    }

    /// Places an item of this node at `target`; at another key's target it signs a binding. `None`
    /// if the node cannot sign.
    pub(crate) fn sign(cx: &mut Context, item: Arc<Item>, target: Target) -> Option<Self> {
        let bind = match item.origin_at(&target) {
            Origin::Owner => None,
            Origin::Mirror => Some(cx.sign_digest(|| item.bind_digest(&target))?),
        };
        Some(Self { item, target, bind })
    }

    /// Whether the target is another key's.
    pub(crate) const fn is_mirror(&self) -> bool {
        self.bind.is_some()
    }

    /// The candidate for this node's own store.
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
