//! What upstream runs as a goroutine: a sequence of requests, each of which waits for the previous
//! one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::{
    FindNodeOutcome, GetError, LookupStats, OperationError, OperationId, Outcome, PingError,
    PutError, PutOutcome, Replicas,
};
use skydht_core::store::Refusal;
use skydht_core::time::Mono;

use super::lookup::Lookup;
use super::table::Contact;

/// A task, numbered in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TaskId(pub(super) u64);

/// Reason why a task runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A command.
    Operation(OperationId),
    /// The bootstrap loop.
    Bootstrap,
    /// The publishing loop.
    Republish,
    /// Mirroring by a service.
    Mirror,
    /// Reconciliation by a full node.
    FullNode,
}

/// A task in progress.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) purpose: Purpose,
    pub(super) started: Mono,
    pub(super) work: Work,
}

/// Current work of a task.
#[derive(Debug)]
pub(super) enum Work {
    /// Looking for peers or for an item.
    Look(Box<Lookup>, Then),
    /// Sending an item to one peer after another.
    Push(Box<Push>),
    /// Waiting for one ping.
    Ping,
    /// Pinging one bootstrap peer after another.
    Bootstrap {
        /// Remaining peers.
        left: VecDeque<PublicKey>,
        /// Whether any peer answered.
        any: bool,
    },
    /// Comparing stores with one full node after another.
    Reconcile(Box<Reconcile>),
}

/// What follows a lookup.
#[derive(Debug)]
pub(super) enum Then {
    /// The peers found are the result.
    FindNode,
    /// The item found is the result, if it verifies.
    Get,
    /// The peers found get an item.
    Push(Box<Push>),
}

/// An item being sent to the holders, one at a time (defect 16).
#[derive(Debug)]
pub(super) struct Push {
    pub(super) item: Arc<Item>,
    /// Target of another owner, to which a mirror puts the item.
    pub(super) mirror_target: Option<Target>,
    /// Whether the own store accepted the item.
    pub(super) local: bool,
    pub(super) left: VecDeque<Contact>,
    pub(super) stats: LookupStats,
    pub(super) stored: u16,
    pub(super) refused: BTreeMap<Refusal, u16>,
    pub(super) unknown: u16,
    /// Number of failed requests, whether or not the peer may have received them.
    pub(super) failed: u16,
}

/// One pass over all known full nodes.
#[derive(Debug, Default)]
pub(super) struct Reconcile {
    pub(super) left: VecDeque<PublicKey>,
    pub(super) peer: Option<PublicKey>,
    pub(super) deadline: Mono,
    pub(super) cursor: Seq,
    pub(super) seen: BTreeSet<Target>,
    /// `None` while pulling.
    pub(super) to_push: Option<VecDeque<(Target, Arc<Item>)>>,
}

impl Push {
    pub(super) fn new(item: Arc<Item>, local: bool) -> Self {
        Self {
            item,
            mirror_target: None,
            local,
            left: VecDeque::new(),
            stats: LookupStats::default(),
            stored: 0,
            refused: BTreeMap::new(),
            unknown: 0,
            failed: 0,
        }
    }

    /// Target of the item.
    pub(super) fn target(&self) -> Target {
        self.mirror_target.unwrap_or_else(|| self.item.target())
    }

    fn report(&self, elapsed: Duration) -> PutOutcome {
        let mut refused: Vec<(Refusal, u16)> =
            self.refused.iter().map(|(why, n)| (*why, *n)).collect();
        refused.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        PutOutcome {
            target: self.target(),
            seq: self.item.seq,
            replicas: Replicas {
                stored: self.stored,
                refreshed: 0,
                refused,
                unknown: self.unknown,
            },
            local: self.local,
            stats: LookupStats {
                elapsed,
                ..self.stats
            },
        }
    }

    /// Outcome of a put: successful with one holder, and also if there was no peer to ask.
    pub(super) fn outcome(&self, elapsed: Duration) -> Result<PutOutcome, PutError> {
        let report = self.report(elapsed);
        let asked = !self.refused.is_empty() || self.failed > 0;
        if self.stored == 0 && asked {
            let partial = Box::new(report);
            return Err(PutError::TooFewReplicas { wanted: 1, partial });
        }
        Ok(report)
    }
}

impl Lookup {
    pub(super) fn stats(&self, elapsed: Duration) -> LookupStats {
        LookupStats {
            answered: self.answered_count(),
            failed: self.failed_count(),
            requests: self.requests,
            hops: self.hops(),
            converged: self.converged(),
            elapsed,
        }
    }

    pub(super) fn found(&self, elapsed: Duration) -> FindNodeOutcome {
        FindNodeOutcome {
            // Including dead peers.
            closest: self.closest().iter().filter_map(|it| it.key).collect(),
            stats: self.stats(elapsed),
        }
    }
}

impl Task {
    /// Outcome of the task when it is ended early.
    pub(super) fn cut(&self, now: Mono, why: OperationError) -> Outcome {
        let elapsed = now.since(self.started);
        let timeout = why == OperationError::Timeout;
        match &self.work {
            Work::Look(lookup, Then::Get) if timeout => Outcome::Get(Err(GetError::Timeout {
                best: None,
                stats: lookup.stats(elapsed),
            })),
            Work::Look(_, Then::Get) => Outcome::Get(Err(why.into())),
            Work::Look(lookup, Then::Push(push)) if timeout => {
                let mut partial = Box::new(push.report(elapsed));
                partial.stats = lookup.stats(elapsed);
                Outcome::Put(Err(PutError::Timeout { partial }))
            }
            Work::Push(push) if timeout => {
                let partial = Box::new(push.report(elapsed));
                Outcome::Put(Err(PutError::Timeout { partial }))
            }
            Work::Look(_, Then::Push(..)) | Work::Push(_) => Outcome::Put(Err(why.into())),
            Work::Ping => Outcome::Ping(Err(PingError::Operation(why))),
            _ => Outcome::FindNode(Err(why)),
        }
    }
}

/// An item that a node publishes under one salt.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) item: Arc<Item>,
    /// Whether the publishing loop repeats it.
    pub(super) repeated: bool,
}

/// The next sequence number of an own item: first the time, then one more each time.
pub(super) fn next_seq(own: Option<&Own>, clock: u64) -> Seq {
    Seq(own.map_or(clock, |own| own.item.seq.0.saturating_add(1)))
}
