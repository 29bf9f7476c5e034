//! The jobs that are out: for whom, and what their verdicts mean.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::id::Target;
use crate::item::Item;
use crate::key::{PublicKey, Signature};
use crate::node::Node;
use crate::node::batch::PendingItem;
use crate::node::counters::Counter;
use crate::node::input::{JobId, Misuse, OperationId, PutOptions};
use crate::node::limits::Limit;
use crate::node::output::Output;
use crate::node::search::SearchId;
use crate::node::serve::PendingPut;
use crate::node::verify::{Verdict, VerifyJob};
use crate::record::StoredRecord;
use crate::time::Mono;

/// Who waits for a verdict.
pub(super) enum JobFor {
    /// A read.
    Get(SearchId),
    /// A put over a stream.
    Put(Box<PendingPut>),
    /// One item of a batch over a stream.
    Batch(Box<PendingItem>),
    /// A user's put of a signed item.
    Signed {
        op: OperationId,
        options: Box<PutOptions>,
        started: Mono,
    },
    /// A record from storage.
    Loaded(Box<StoredRecord>),
}

struct Job {
    peer: PublicKey,
    item: Arc<Item>,
    what: JobFor,
}

/// The jobs that are out.
#[derive(Default)]
pub(super) struct Jobs {
    out: BTreeMap<JobId, Job>,
    last: u64,
}

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }
}

impl Node {
    /// Whether one more job may be handed out on behalf of `peer`.
    pub(super) fn may_verify(&mut self, peer: &PublicKey) -> bool {
        let limit = if self.jobs.len() >= self.config.limits.verify_jobs {
            Limit::verify_jobs
        } else if self.streams.usage(peer).map_or(0, |usage| usage.jobs)
            >= self.config.limits.verify_jobs_per_peer
        {
            Limit::verify_jobs_per_peer
        } else {
            return true;
        };
        self.hit(limit);
        self.counters.count(Counter::VerifyOverloaded);
        false
    }

    /// Hands out a job; ask [`Node::may_verify`] before.
    pub(super) fn verify(
        &mut self,
        peer: PublicKey,
        item: Arc<Item>,
        bind: Option<(Target, Signature)>,
        what: JobFor,
    ) -> JobId {
        self.jobs.last += 1;
        let job = JobId(self.jobs.last);
        self.counters.count(Counter::VerifyJobs);
        self.streams.usage_mut(peer, |usage| usage.jobs += 1);
        let work = VerifyJob::new(item.clone(), bind);
        self.jobs.out.insert(job, Job { peer, item, what });
        self.output(Output::Verify { job, work });
        job
    }

    /// A verdict came.
    pub(super) fn verified(&mut self, id: JobId, verdict: Verdict) -> Result<(), Misuse> {
        let job = self.jobs.out.remove(&id).ok_or(Misuse::UnknownJob(id))?;
        self.streams.usage_mut(job.peer, |usage| usage.jobs -= 1);
        match job.what {
            JobFor::Get(search) => self.get_verified(search, id, verdict),
            JobFor::Put(put) => self.put_verified(*put, &job.peer, verdict),
            JobFor::Batch(item) => self.batch_verified(*item, &job.peer, verdict),
            JobFor::Signed {
                op,
                options,
                started,
            } => {
                if !self.operations.contains(op) {
                    return Ok(());
                }
                match verdict {
                    Ok(()) => self.publish_signed(op, job.item, &options, started),
                    Err(error) => self.refuse_signed(op, error),
                }
            }
            JobFor::Loaded(record) => match verdict {
                Ok(()) => self.load_verified(*record, job.item),
                Err(_) => self.counters.count(Counter::ForgedItems),
            },
        }
        Ok(())
    }
}
