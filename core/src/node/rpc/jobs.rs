//! Verification jobs.
//!
//! Only a limited number of jobs is passed to the driver at a time; the others wait here, where
//! peers take turns.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::id::Target;
use crate::item::Item;
use crate::key::{PublicKey, Signature};
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{JobId, VerifyTag};
use crate::node::input::Misuse;
use crate::node::limits::Limit;
use crate::node::measurements::VerifyOutcome;
use crate::node::output::Output;
use crate::node::rpc::fair_queue::{FairQueue, Lane};
use crate::node::verify::{Verdict, VerifyJob};
use crate::time::Mono;

struct Job {
    peer: PublicKey,
    tag: VerifyTag,
    /// The work, until it is passed to the driver.
    work: Option<VerifyJob>,
    /// When it was passed to the driver.
    out_at: Mono,
}

/// The jobs, queued or passed to the driver.
pub(crate) struct Jobs {
    all: BTreeMap<JobId, Job>,
    waiting: FairQueue<JobId>,
    by_peer: HashMap<PublicKey, usize, FixedState>,
    last: u64,
}

impl Jobs {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            all: BTreeMap::new(),
            waiting: FairQueue::default(),
            by_peer: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            last: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Number of jobs of one peer.
    pub(crate) fn of(&self, peer: &PublicKey) -> usize {
        self.by_peer.get(peer).copied().unwrap_or(0)
    }

    pub(crate) fn set_lane(&mut self, peer: &PublicKey, lane: Lane) {
        self.waiting.set_lane(peer, lane);
    }

    /// Number of jobs that the driver has.
    pub(crate) fn out(&self) -> usize {
        self.all.len() - self.waiting.len()
    }

    /// Whether one more job may be started on behalf of `peer`. Counts the limit that forbids it.
    pub(crate) fn may_start(&self, cx: &mut Context, peer: &PublicKey) -> bool {
        let limits = &cx.config.limits;
        let limit = if self.all.len() >= limits.verify_jobs {
            Limit::verify_jobs
        } else if self.of(peer) >= limits.verify_jobs_per_peer {
            Limit::verify_jobs_per_peer
        } else {
            return true;
        };
        cx.hit(limit);
        cx.counters.count(Counter::VerifyOverloaded);
        false
    }

    /// Starts a job on behalf of `peer`; the caller has asked [`Jobs::may_start`]. `bind` is the
    /// target of a mirror and the signature that binds the mirror to it.
    pub(crate) fn start(
        &mut self,
        cx: &mut Context,
        (peer, lane): (PublicKey, Lane),
        item: Arc<Item>,
        bind: Option<(Target, Signature)>,
        tag: VerifyTag,
    ) -> JobId {
        self.last += 1;
        let id = JobId(self.last);
        *self.by_peer.entry(peer).or_default() += 1;
        let work = Some(VerifyJob::new(item, bind));
        let out_at = cx.now.mono;
        let job = Job {
            peer,
            tag,
            work,
            out_at,
        };
        self.all.insert(id, job);
        self.waiting.push(peer, lane, id);
        self.hand_out(cx);
        id
    }

    /// Passes as many jobs to the driver as [`Limit::verify_window`] allows.
    pub(crate) fn hand_out(&mut self, cx: &mut Context) {
        while self.out() < cx.config.limits.verify_window {
            let Some((_, id)) = self.waiting.pop() else {
                return;
            };
            let Some(job) = self.all.get_mut(&id) else {
                continue;
            };
            if let Some(work) = job.work.take() {
                job.out_at = cx.now.mono;
                cx.counters.count(Counter::VerifyJobs);
                cx.output(Output::Verify { job: id, work });
            }
        }
        if self.waiting.len() > 0 {
            cx.hit(Limit::verify_window);
        }
    }

    /// Ends a job with its verdict. Returns the peer and the tag of the job.
    pub(crate) fn end(
        &mut self,
        cx: &mut Context,
        id: JobId,
        verdict: &Verdict,
    ) -> Result<(PublicKey, VerifyTag), Misuse> {
        let job = match self.all.entry(id) {
            Entry::Occupied(entry) if entry.get().work.is_none() => entry.remove(),
            _ => return Err(Misuse::UnknownJob(id)),
        };
        let time = cx.now.mono.since(job.out_at);
        cx.measured.verify_time.observe_time(time);
        cx.measured.verified.count(match verdict {
            Ok(()) => VerifyOutcome::Valid,
            Err(_) => VerifyOutcome::Invalid,
        });
        if let Some(count) = self.by_peer.get_mut(&job.peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&job.peer);
            }
        }
        Ok((job.peer, job.tag))
    }
}
