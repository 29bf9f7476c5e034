//! What upstream runs as a goroutine: one sequence of requests, each waiting for the last.

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

/// A task, numbered upward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TaskId(pub(super) u64);

/// On whose behalf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A command's.
    Operation(OperationId),
    /// The bootstrap loop's.
    Bootstrap,
    /// The publishing loop's.
    Republish,
    /// A mirroring service's.
    Mirror,
    /// A full node's.
    FullNode,
}

/// One under way.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) purpose: Purpose,
    pub(super) started: Mono,
    pub(super) work: Work,
}

/// What it is at.
#[derive(Debug)]
pub(super) enum Work {
    /// Looking for peers, or for an item.
    Look(Box<Lookup>, Then),
    /// Giving an item to one peer after another.
    Push(Box<Push>),
    /// Waiting for one ping.
    Ping,
    /// Pinging one bootstrap peer after another.
    Bootstrap {
        /// Whom else.
        left: VecDeque<PublicKey>,
        /// Whether any answered.
        any: bool,
    },
    /// Comparing stores, one full node after another.
    Reconcile(Box<Reconcile>),
}

/// What follows a lookup.
#[derive(Debug)]
pub(super) enum Then {
    /// Its peers are the result.
    FindNode,
    /// Its item is, if it verifies.
    Get,
    /// They get an item.
    Push(Box<Push>),
}

/// An item on its way to the holders, one at a time (defect 16).
#[derive(Debug)]
pub(super) struct Push {
    pub(super) item: Arc<Item>,
    /// The target of another owner, where a mirror puts it.
    pub(super) mirror_target: Option<Target>,
    /// Whether the own store took it.
    pub(super) local: bool,
    pub(super) left: VecDeque<Contact>,
    pub(super) stats: LookupStats,
    pub(super) stored: u16,
    pub(super) refused: BTreeMap<Refusal, u16>,
    pub(super) unknown: u16,
    /// Peers asked in vain, whether or not they may have heard.
    pub(super) failed: u16,
}

/// One pass over all full nodes known.
#[derive(Debug, Default)]
pub(super) struct Reconcile {
    pub(super) left: VecDeque<PublicKey>,
    pub(super) peer: Option<PublicKey>,
    pub(super) deadline: Mono,
    pub(super) cursor: Seq,
    pub(super) seen: BTreeSet<Target>,
    /// None while pulling.
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

    /// Where it goes.
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

    /// How a put ends: well with one holder, and well when there was no peer to ask.
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
            // Dead ones, too.
            closest: self.closest().iter().filter_map(|it| it.key).collect(),
            stats: self.stats(elapsed),
        }
    }
}

impl Task {
    /// How it ends when it is cut short.
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

/// What a node publishes under one salt.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) item: Arc<Item>,
    /// Whether the publishing loop repeats it.
    pub(super) repeated: bool,
}

/// The next sequence of an own item: the clock's at the first, then one more each time.
pub(super) fn next_seq(own: Option<&Own>, clock: u64) -> Seq {
    Seq(own.map_or(clock, |own| own.item.seq.0.saturating_add(1)))
}
