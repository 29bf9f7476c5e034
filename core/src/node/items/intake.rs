//! Verified items on their way into the store, and what follows from it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::id::Target;
use crate::item::Item;
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::output::StoreChange;
use crate::node::rpc::jobs::JobFor;
use crate::record::StoredRecord;
use crate::store::{Admission, AdmissionKind, Candidate, Refusal, Via};

impl Node {
    /// Puts a verified item into the store, and notes everything that follows.
    pub(crate) fn admit(&mut self, candidate: Candidate, nearer: usize) -> Result<(), Refusal> {
        let target = candidate.target;
        let admission = self.store.admit(self.cx.now, candidate, nearer)?;
        self.note_admission(target, admission);
        Ok(())
    }

    /// The same, for an item that is held already.
    pub(crate) fn confirm(&mut self, candidate: &Candidate) -> Result<(), Refusal> {
        let admission = self.store.confirm(self.cx.now, candidate)?;
        self.note_admission(candidate.target, admission);
        Ok(())
    }

    pub(crate) fn note_admission(&mut self, target: Target, admission: Admission) {
        match admission.kind {
            AdmissionKind::Stored => self.cx.counters.count(Counter::ItemsStored),
            AdmissionKind::Renewed => self.cx.counters.count(Counter::ItemsRenewed),
            AdmissionKind::Unchanged => {}
        }
        if admission.owner_takeover {
            self.cx.counters.count(Counter::OwnerTakeovers);
        }
        if admission.conflict {
            self.cx.counters.count(Counter::Conflicts);
        }
        self.cx
            .counters
            .add(Counter::ItemsEvicted, admission.evicted.len() as u64);
        for evicted in admission.evicted {
            self.persist(StoreChange::Forget(evicted));
        }
        if admission.kind != AdmissionKind::Unchanged {
            self.persist_kept(&target);
        }
        self.schedule_expiry();
    }

    pub(crate) fn persist_kept(&mut self, target: &Target) {
        if self.cx.config.storage
            && let Some(record) = self.store.record(self.cx.now, target)
        {
            self.persist(StoreChange::Keep(record.into()));
        }
    }

    /// Storage kept a record: verified like any other.
    pub(crate) fn load(&mut self, record: Box<StoredRecord>) {
        let public = self.cx.public;
        let item = Arc::new(record.item.clone());
        if self.may_verify(&public) && item.check_sizes().is_ok() {
            self.verify(public, item, None, JobFor::Loaded(record));
        }
    }

    pub(crate) fn load_verified(&mut self, record: StoredRecord, item: Arc<Item>) {
        let candidate = Candidate {
            target: record.target,
            item,
            via: Via::Storage {
                vouched: record.vouched,
                expires: record.expires,
            },
            life: None,
            bound: record.bound,
        };
        let nearer = self
            .table
            .nearer_than_local(&record.target, self.cx.config.k);
        if let Err(refusal) = self.admit(candidate, nearer) {
            self.cx.count_refusal(refusal);
        }
    }
}
