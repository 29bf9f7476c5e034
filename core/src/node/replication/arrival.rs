//! Items that a session brought, on their way into the store.

use alloc::sync::Arc;

use crate::item::{Item, Life};
use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::ids::{SyncId, VerifyTag};
use crate::store::{Candidate as StoreCandidate, Precheck, Refusal, Via};

/// An item that came, and what the peer says of its life.
pub(super) type Arrived = (Arc<Item>, Option<Life>);

/// What became of an item that came.
pub(super) enum Taken {
    Judged,
    Verifying,
    Later(Arrived),
}

/// Sends an item on its way into the store.
pub(super) fn take(base: &mut Base, id: SyncId, peer: &PublicKey, arrived: Arrived) -> Taken {
    let (item, life) = &arrived;
    if item.check_sizes().is_err() {
        return Taken::Judged;
    }
    let mut candidate = StoreCandidate::of_owner(item.clone(), Via::Pulled(*peer));
    candidate.life = *life;
    let nearer = base.nearer(&candidate.target);
    match base.items.precheck(&mut base.cx, &candidate, nearer) {
        Ok(Precheck::Held) => Taken::Judged,
        Err(Refusal::Busy) => Taken::Later(arrived),
        Err(refusal) => {
            base.cx.count_refusal(refusal);
            Taken::Judged
        }
        Ok(Precheck::Verify) => {
            if !base.may_verify(peer) {
                return Taken::Later(arrived);
            }
            base.verify(peer, candidate, VerifyTag::Synced(id));
            Taken::Verifying
        }
    }
}
