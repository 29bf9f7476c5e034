//! Admission of items to the store: precheck, reserve quota, verify, admit, persist.
//!
//! Everything that arrives takes this way: puts and batches of peers, a user's put of a signed
//! item, records from storage. What this node signs itself, and what a read has verified, is
//! admitted without the first steps.

use alloc::string::{String, ToString};

use crate::id::Target;
use crate::item::{ItemError, Origin};
use crate::key::PublicKey;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{JobId, VerifyTag};
use crate::node::items::state::{Change, ChangeFrom, Items, Pending};
use crate::node::output::StoreChange;
use crate::node::refusal_text;
use crate::node::rpc::fair_queue::Lane;
use crate::node::rpc::jobs::Jobs;
use crate::node::verify::Verdict;
use crate::store::{Admission, AdmissionKind, Candidate, Precheck, Refusal, Via};

/// Why an item was rejected.
#[derive(Clone, Copy)]
pub(crate) enum Rejection {
    /// The store refused it.
    Store(Refusal),
    /// The item is invalid.
    Item(ItemError),
}

impl Rejection {
    /// The text of the rejection for an answer.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Store(refusal) => refusal_text::text(refusal).to_string(),
            Self::Item(error) => error.to_string(),
        }
    }
}

impl Items {
    /// Checks an item that has arrived before its signature is verified. If the same item is stored
    /// already, its lifetime is renewed here, provided that its signer sent it.
    pub(crate) fn precheck(
        &mut self,
        cx: &mut Context,
        candidate: &Candidate,
        nearer: usize,
    ) -> Result<Precheck, Refusal> {
        let precheck = self.store.precheck(cx.now, candidate, nearer)?;
        if precheck == Precheck::Held {
            cx.counters.count(Counter::VerifySpared);
            let admission = self.store.confirm(cx.now, candidate)?;
            self.note_admission(cx, candidate.target, admission, false);
        }
        Ok(precheck)
    }

    /// Starts checking the signature of an item on behalf of `peer`; the caller has asked
    /// [`Jobs::may_start`]. The verdict goes to [`Items::judge`].
    pub(crate) fn verify(
        &mut self,
        cx: &mut Context,
        jobs: &mut Jobs,
        peer: (PublicKey, Lane),
        candidate: Candidate,
        tag: VerifyTag,
    ) {
        let sent = candidate.via.sender().is_some();
        let reservation = sent.then(|| self.store.reserve(&candidate));
        // The binding of a record was verified before it was recorded.
        let recorded = matches!(candidate.via, Via::Storage { .. });
        let bind = candidate.bound.filter(|_| !recorded);
        let bind = bind.map(|bind| (candidate.target, bind));
        let pending = Pending {
            candidate,
            reservation,
        };
        let item = pending.candidate.item.clone();
        let job = jobs.start(cx, peer, item, bind, tag);
        self.pending.insert(job, pending);
    }

    /// The target of an item whose signature is being checked.
    pub(crate) fn pending_target(&self, job: JobId) -> Option<Target> {
        self.pending.get(&job).map(|it| it.candidate.target)
    }

    /// Drops an item whose verdict is no longer needed, and releases its quota.
    pub(crate) fn discard(&mut self, job: JobId) -> Option<Candidate> {
        let pending = self.pending.remove(&job)?;
        if let Some(reservation) = pending.reservation {
            self.store.release(reservation);
        }
        Some(pending.candidate)
    }

    /// Stores an item if its signature is valid and the store still admits it, even if the stream
    /// that it came over has closed. `nearer` refers to its [`Items::pending_target`].
    pub(crate) fn judge(
        &mut self,
        cx: &mut Context,
        job: JobId,
        verdict: Verdict,
        nearer: usize,
    ) -> Result<(), Rejection> {
        let Some(candidate) = self.discard(job) else {
            return Err(Rejection::Store(Refusal::Other));
        };
        verdict.map_err(Rejection::Item)?;
        let admitted = self.admit(cx, candidate, nearer);
        admitted.map_err(Rejection::Store)
    }

    /// Admits a verified item to the store and records all consequences.
    pub(crate) fn admit(
        &mut self,
        cx: &mut Context,
        candidate: Candidate,
        nearer: usize,
    ) -> Result<(), Refusal> {
        let target = candidate.target;
        let recorded = matches!(candidate.via, Via::Storage { .. });
        let (pulled, sender) = (
            matches!(candidate.via, Via::Pulled(_)),
            candidate.via.sender(),
        );
        let admission = self.store.admit(cx.now, candidate, nearer)?;
        let news = admission.kind == AdmissionKind::Stored && admission.origin == Origin::Owner;
        if news && cx.config.full_node && !pulled {
            let from = match sender {
                _ if recorded => ChangeFrom::Storage,
                Some(peer) => ChangeFrom::Peer(peer),
                None => ChangeFrom::Here,
            };
            self.changes.push(Change { target, from });
        }
        self.note_admission(cx, target, admission, recorded);
        Ok(())
    }

    /// `recorded`: the item came from storage, so it need not be written again.
    fn note_admission(
        &mut self,
        cx: &mut Context,
        target: Target,
        admission: Admission,
        recorded: bool,
    ) {
        match admission.kind {
            AdmissionKind::Stored => {
                cx.counters.count(Counter::ItemsStored);
                self.changed_targets.push(target);
            }
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
        if admission.kind != AdmissionKind::Unchanged && !recorded {
            self.persist_kept(cx, &target);
        }
        self.schedule_expiry(cx);
    }
}
