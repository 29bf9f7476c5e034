//! Admission of items that a session fetched.

use alloc::sync::Arc;

use crate::item::{Item, Life};
use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::ids::{SyncId, VerifyTag};
use crate::store::{Candidate as StoreCandidate, Precheck, Refusal, Via};

/// A fetched item, and the lifetime that the peer states for it.
pub(super) type Arrived = (Arc<Item>, Option<Life>);

/// The result of passing a fetched item to admission.
pub(super) enum Intake {
    Judged,
    Verifying,
    Later(Arrived),
}

/// Passes a fetched item to admission.
pub(super) fn submit(base: &mut Base, id: SyncId, peer: &PublicKey, arrived: Arrived) -> Intake {
    let (item, life) = &arrived;
    if item.check_sizes().is_err() {
        return Intake::Judged;
    }
    let mut candidate = StoreCandidate::of_owner(item.clone(), Via::Pulled(*peer));
    candidate.life = *life;
    let nearer = base.nearer(&candidate.target);
    match base.items.precheck(&mut base.cx, &candidate, nearer) {
        Ok(Precheck::Held) => Intake::Judged,
        Err(Refusal::Busy) => Intake::Later(arrived),
        Err(refusal) => {
            base.cx.count_refusal(refusal);
            Intake::Judged
        }
        Ok(Precheck::Verify) => {
            if !base.may_verify(peer) {
                return Intake::Later(arrived);
            }
            base.verify(peer, candidate, VerifyTag::Synced(id));
            Intake::Verifying
        }
    }
}
