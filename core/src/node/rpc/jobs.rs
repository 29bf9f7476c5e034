//! Verification jobs: for whom, in which order, and what their verdicts mean.
//!
//! Only a window of them is out at the driver; the others wait here, where peers take turns.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::id::Target;
use crate::item::Item;
use crate::key::{PublicKey, Signature};
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{JobId, OperationId, QueryId};
use crate::node::inbound::batch::PendingItem;
use crate::node::inbound::requests::PendingPut;
use crate::node::input::{Misuse, PutOptions};
use crate::node::limits::Limit;
use crate::node::output::Output;
use crate::node::rpc::fair_queue::{FairQueue, Lane};
use crate::node::verify::{Verdict, VerifyJob};
use crate::record::StoredRecord;
use crate::store::{Candidate, Via};
use crate::time::Mono;

/// Who waits for a verdict.
pub(crate) enum JobFor {
    /// A read.
    Get(QueryId),
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
    /// Until it goes out.
    work: Option<VerifyJob>,
}

/// The jobs, waiting or out.
#[derive(Default)]
pub(crate) struct Jobs {
    all: BTreeMap<JobId, Job>,
    waiting: FairQueue<JobId>,
    last: u64,
}

impl Jobs {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn set_lane(&mut self, peer: &PublicKey, lane: Lane) {
        self.waiting.set_lane(peer, lane);
    }

    /// Those that the driver has.
    pub(crate) fn out(&self) -> usize {
        self.all.len() - self.waiting.len()
    }
}

impl Node {
    /// Storage kept a record: verified like any other.
    pub(crate) fn load(&mut self, record: Box<StoredRecord>) {
        let public = self.cx.public;
        let item = Arc::new(record.item.clone());
        if self.may_verify(&public) && item.check_sizes().is_ok() {
            self.verify(public, item, None, JobFor::Loaded(record));
        }
    }

    fn load_verified(&mut self, record: StoredRecord, item: Arc<Item>) {
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
        if let Err(refusal) = self.items.admit(&mut self.cx, candidate, nearer) {
            self.cx.count_refusal(refusal);
        }
    }

    /// Whether one more job may be started on behalf of `peer`.
    pub(crate) fn may_verify(&mut self, peer: &PublicKey) -> bool {
        let limit = if self.jobs.len() >= self.cx.config.limits.verify_jobs {
            Limit::verify_jobs
        } else if self.streams.usage(peer).map_or(0, |usage| usage.jobs)
            >= self.cx.config.limits.verify_jobs_per_peer
        {
            Limit::verify_jobs_per_peer
        } else {
            return true;
        };
        self.cx.hit(limit);
        self.cx.counters.count(Counter::VerifyOverloaded);
        false
    }

    /// Starts a job on behalf of `peer`; ask [`Node::may_verify`] before.
    pub(crate) fn verify(
        &mut self,
        peer: PublicKey,
        item: Arc<Item>,
        bind: Option<(Target, Signature)>,
        what: JobFor,
    ) -> JobId {
        self.jobs.last += 1;
        let id = JobId(self.jobs.last);
        self.streams.usage_mut(peer, |usage| usage.jobs += 1);
        let job = Job {
            peer,
            work: Some(VerifyJob::new(item.clone(), bind)),
            item,
            what,
        };
        self.jobs.all.insert(id, job);
        let lane = match peer == self.cx.public {
            true => Lane::Known,
            false => self.lane(&peer),
        };
        self.jobs.waiting.push(peer, lane, id);
        self.hand_out_jobs();
        id
    }

    /// Gives the driver as many jobs as it may have.
    fn hand_out_jobs(&mut self) {
        while self.jobs.out() < self.cx.config.limits.verify_window {
            let Some((_, id)) = self.jobs.waiting.pop() else {
                return;
            };
            let job = self.jobs.all.get_mut(&id);
            if let Some(work) = job.and_then(|job| job.work.take()) {
                self.cx.counters.count(Counter::VerifyJobs);
                self.cx.output(Output::Verify { job: id, work });
            }
        }
        if self.jobs.waiting.len() > 0 {
            self.cx.hit(Limit::verify_window);
        }
    }

    /// A verdict came.
    pub(crate) fn verified(&mut self, id: JobId, verdict: Verdict) -> Result<(), Misuse> {
        let is_out = self.jobs.all.get(&id).is_some_and(|job| job.work.is_none());
        if !is_out {
            return Err(Misuse::UnknownJob(id));
        }
        let Some(job) = self.jobs.all.remove(&id) else {
            return Err(Misuse::UnknownJob(id));
        };
        self.streams.usage_mut(job.peer, |usage| usage.jobs -= 1);
        self.backlog.wait_queue.unpark(&job.peer);
        self.judged(job, id, verdict);
        self.hand_out_jobs();
        Ok(())
    }

    fn judged(&mut self, job: Job, id: JobId, verdict: Verdict) {
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
                    return;
                }
                match verdict {
                    Ok(()) => self.publish_signed(op, job.item, &options, started),
                    Err(error) => self.refuse_signed(op, error),
                }
            }
            JobFor::Loaded(record) => match verdict {
                Ok(()) => self.load_verified(*record, job.item),
                Err(_) => self.cx.counters.count(Counter::ForgedItems),
            },
        }
    }
}
