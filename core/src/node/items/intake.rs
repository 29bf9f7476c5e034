//! Verified items on their way into the store, and what follows from it.

use crate::id::Target;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::items::Items;
use crate::node::output::StoreChange;
use crate::store::{Admission, AdmissionKind, Candidate, Refusal};

impl Items {
    /// Puts a verified item into the store, and notes everything that follows.
    pub(crate) fn admit(
        &mut self,
        cx: &mut Context,
        candidate: Candidate,
        nearer: usize,
    ) -> Result<(), Refusal> {
        let target = candidate.target;
        let admission = self.store.admit(cx.now, candidate, nearer)?;
        self.note_admission(cx, target, admission);
        Ok(())
    }

    /// The same, for an item that is held already.
    pub(crate) fn confirm(
        &mut self,
        cx: &mut Context,
        candidate: &Candidate,
    ) -> Result<(), Refusal> {
        let admission = self.store.confirm(cx.now, candidate)?;
        self.note_admission(cx, candidate.target, admission);
        Ok(())
    }

    fn note_admission(&mut self, cx: &mut Context, target: Target, admission: Admission) {
        match admission.kind {
            AdmissionKind::Stored => cx.counters.count(Counter::ItemsStored),
            AdmissionKind::Renewed => cx.counters.count(Counter::ItemsRenewed),
            AdmissionKind::Unchanged => {}
        }
        if admission.owner_takeover {
            cx.counters.count(Counter::OwnerTakeovers);
        }
        if admission.conflict {
            cx.counters.count(Counter::Conflicts);
        }
        cx.counters
            .add(Counter::ItemsEvicted, admission.evicted.len() as u64);
        for evicted in admission.evicted {
            self.persist(cx, StoreChange::Forget(evicted));
        }
        if admission.kind != AdmissionKind::Unchanged {
            self.persist_kept(cx, &target);
        }
        self.schedule_expiry(cx);
    }
}
