//! What asks to be stored, and what became of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, Life, Origin};
use crate::key::{PublicKey, Signature};
use crate::record::StoredRecord;
use crate::store::merge::Rank;
use crate::time::{Mono, Unix};

/// How an item came here, which decides how long it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// This node's own command.
    Local,
    /// Over a stream whose proven key is the item's signer. Treated as [`Via::Peer`] when it
    /// is not.
    Signer(PublicKey),
    /// Over a stream of another peer, which chose to send it.
    Peer(PublicKey),
    /// From another peer, because this node asked (a read, a synchronisation): not charged
    /// to that peer.
    Pulled(PublicKey),
    /// From storage, with the life recorded there.
    Storage {
        /// [`StoredRecord::vouched`](crate::record::StoredRecord::vouched).
        vouched: Unix,
        /// [`StoredRecord::expires`](crate::record::StoredRecord::expires).
        expires: Option<Unix>,
    },
}

impl Via {
    /// For an item that `peer`, proven by its transport, sent of its own accord.
    #[must_use]
    pub fn stream(peer: PublicKey, item: &Item) -> Self {
        if peer == item.key {
            Self::Signer(peer)
        } else {
            Self::Peer(peer)
        }
    }

    /// Whether the signer itself stands behind this, at this moment.
    pub(super) fn vouches(&self, item: &Item) -> bool {
        match self {
            Self::Local => true,
            Self::Signer(peer) => *peer == item.key,
            Self::Peer(_) | Self::Pulled(_) | Self::Storage { .. } => false,
        }
    }

    /// Who sent it of its own accord.
    pub(crate) fn sender(&self) -> Option<PublicKey> {
        match self {
            Self::Signer(peer) | Self::Peer(peer) => Some(*peer),
            Self::Local | Self::Pulled(_) | Self::Storage { .. } => None,
        }
    }
}

/// An item that asks to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Where; not the item's own target for a mirror.
    pub target: Target,
    /// What.
    pub item: Arc<Item>,
    /// How it came here.
    pub via: Via,
    /// What the sender says of its life.
    pub life: Option<Life>,
    /// The signer's signature over this target and the payload (the `bind` extension), which
    /// lets a mirror travel through others. Must be verified before [`Store::admit`].
    ///
    /// [`Store::admit`]: crate::store::Store::admit
    pub bound: Option<Signature>,
}

impl Candidate {
    /// An item at its signer's own target, with no claims about its life.
    #[must_use]
    pub fn of_owner(item: Arc<Item>, via: Via) -> Self {
        Self {
            target: item.target(),
            item,
            via,
            life: None,
            bound: None,
        }
    }

    /// What storage kept, with the life recorded there.
    #[must_use]
    pub fn recorded(record: StoredRecord) -> Self {
        Self {
            target: record.target,
            item: Arc::new(record.item),
            via: Via::Storage {
                vouched: record.vouched,
                expires: record.expires,
            },
            life: None,
            bound: record.bound,
        }
    }

    /// Its rank at its target.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank::of(&self.target, &self.item)
    }
}

/// What to do before an item can be admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precheck {
    /// There is a place for it: check its signature, then
    /// [`Store::admit`](crate::store::Store::admit).
    Verify,
    /// The same item is held, with the same signature: nothing to check, call
    /// [`Store::confirm`](crate::store::Store::confirm) at once.
    Held,
}

/// What became of an admitted item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdmissionKind {
    /// Stored anew, or in place of a lower rank.
    Stored,
    /// It was held; its life starts again because its signer vouched for it.
    Renewed,
    /// It was held, and nothing changed.
    Unchanged,
}

/// The store's answer to an item that it holds from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// What happened.
    pub kind: AdmissionKind,
    /// Owner or mirror.
    pub origin: Origin,
    /// The lower rank that it replaced.
    pub replaced: Option<Arc<Item>>,
    /// An owner's item replaced a mirror.
    pub owner_takeover: bool,
    /// Its signer has signed another content with the same sequence, which was held and lost.
    pub conflict: bool,
    /// What had to go to make room; at most
    /// [`MAX_EVICTIONS`](crate::store::MAX_EVICTIONS).
    pub evicted: Vec<Target>,
    /// When it expires; none for owner items of the tiers.
    pub expires: Option<Mono>,
}

/// Quota held for an item whose signature is being checked; give it back to
/// [`Store::release`](crate::store::Store::release), whatever the verdict.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "quota stays taken until the reservation is released"]
pub struct Reservation {
    pub(super) peer: Option<PublicKey>,
    pub(super) publisher: Option<PublicKey>,
    pub(super) bytes: usize,
}
