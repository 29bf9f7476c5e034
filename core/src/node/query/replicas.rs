//! What a put knows while it is under way: what the user wants, and how each holder stands to it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::NodeId;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::ids::PutMode;
use crate::node::input::PutOptions;
use crate::node::outcome::Replicas;
use crate::store::Refusal;
use crate::time::Mono;

/// How often a put without a sequence of its own reads the network for the highest one: others
/// who hold the same key may publish at the same time.
const MAX_READS: u8 = 4;

/// What a user wants published, before there is an item.
pub(crate) struct PutPlan {
    pub(crate) salt: Salt,
    pub(crate) value: Value,
    pub(crate) options: PutOptions,
    pub(crate) started: Mono,
    /// How often the network was read for the highest sequence.
    pub(crate) reads: u8,
    /// A sequence that the next one must be above, beside the highest verified one: up to this,
    /// most holders refuse the item as deleted.
    pub(crate) deleted: Option<Seq>,
}

impl PutPlan {
    pub(crate) fn new(salt: Salt, value: Value, options: PutOptions, started: Mono) -> Self {
        Self {
            salt,
            value,
            options,
            started,
            reads: 0,
            deleted: None,
        }
    }

    /// Whether a higher sequence may be tried when holders have one.
    pub(crate) fn may_try_again(&self) -> bool {
        let options = &self.options;
        options.seq.is_none() && options.expect.is_none() && self.reads < MAX_READS
    }
}

/// How a holder stands to the item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replica {
    /// Asked; after this moment nobody waits for it while others have the item.
    Pending(Mono),
    Stored,
    Refreshed,
    Refused(Refusal),
    Unknown,
}

/// What a put knows so far.
pub(crate) struct PutState {
    pub(crate) item: Arc<Item>,
    pub(crate) mode: PutMode,
    pub(crate) wanted: u16,
    pub(crate) local: bool,
    /// Still needed if the sequence must be raised.
    pub(crate) plan: Option<Box<PutPlan>>,
    replicas: BTreeMap<NodeId, Replica>,
    pending: usize,
    acknowledged: usize,
    /// Whether a holder is a Go node, which renews only by a higher sequence.
    pub(crate) go_holders: bool,
    pub(crate) highest_held: Option<Seq>,
    /// Up to where holders refuse it as deleted.
    pub(crate) deleted: BTreeMap<NodeId, Seq>,
}

impl PutState {
    pub(crate) fn new(item: Arc<Item>, mode: PutMode, wanted: u16, local: bool) -> Self {
        Self {
            item,
            mode,
            wanted: wanted.max(1),
            local,
            plan: None,
            replicas: BTreeMap::new(),
            pending: 0,
            acknowledged: 0,
            go_holders: false,
            highest_held: None,
            deleted: BTreeMap::new(),
        }
    }

    pub(crate) fn has_asked(&self, id: &NodeId) -> bool {
        self.replicas.contains_key(id)
    }

    /// Whether nothing is waited for once the lookup is over: everybody asked has answered or
    /// failed; or `k` hold the item; or as many as are wanted do, and the others are silent for
    /// so long that they would only hold the put up.
    pub(crate) fn is_complete(&self, k: usize, now: Mono) -> bool {
        self.pending == 0
            || self.acknowledged >= k
            || (self.is_enough() && self.patience().is_none_or(|until| until <= now))
    }

    /// Whether as many as are wanted hold the item; or it needs a higher sequence, whatever the
    /// others say.
    fn is_enough(&self) -> bool {
        self.acknowledged >= usize::from(self.wanted)
            || (self.acknowledged == 0 && self.refused_as_older())
    }

    /// Until when answers are waited for although enough hold the item; none when nobody's is.
    pub(crate) fn patience(&self) -> Option<Mono> {
        let pending = self.replicas.values().filter_map(|replica| match replica {
            Replica::Pending(until) => Some(*until),
            _ => None,
        });
        pending.max()
    }

    pub(crate) fn set(&mut self, id: NodeId, replica: Replica) {
        let is_pending = |replica: Replica| matches!(replica, Replica::Pending(_));
        let holds = |replica: Replica| matches!(replica, Replica::Stored | Replica::Refreshed);
        let old = self.replicas.insert(id, replica);
        if let Some(old) = old {
            self.pending -= usize::from(is_pending(old));
            self.acknowledged -= usize::from(holds(old));
        }
        self.pending += usize::from(is_pending(replica));
        self.acknowledged += usize::from(holds(replica));
    }

    /// It was never reached, or is asked again: it counts for nothing.
    pub(crate) fn forget(&mut self, id: &NodeId) {
        self.set(*id, Replica::Unknown);
        self.replicas.remove(id);
    }

    pub(crate) fn refused_as_older(&self) -> bool {
        let mut replicas = self.replicas.values();
        replicas
            .any(|replica| matches!(replica, Replica::Refused(Refusal::Older | Refusal::Deleted)))
    }

    /// The sequence up to which most holders that answered refuse the item as deleted: nobody
    /// can verify it, so the median of what they say counts, which few cannot move.
    pub(crate) fn mostly_deleted(&self) -> Option<Seq> {
        let mut said: Vec<Seq> = self.deleted.values().copied().collect();
        let is_answer =
            |replica: &&Replica| !matches!(replica, Replica::Pending(_) | Replica::Unknown);
        let answered = self.replicas.values().filter(is_answer).count();
        said.sort_unstable();
        (said.len() * 2 > answered).then(|| said[said.len() / 2])
    }

    pub(crate) fn count(&self) -> Replicas {
        let mut out = Replicas::default();
        let mut refused = BTreeMap::<Refusal, u16>::new();
        for replica in self.replicas.values() {
            match replica {
                Replica::Stored => out.stored += 1,
                Replica::Refreshed => out.refreshed += 1,
                Replica::Pending(_) | Replica::Unknown => out.unknown += 1,
                Replica::Refused(reason) => *refused.entry(*reason).or_default() += 1,
            }
        }
        out.refused = refused.into_iter().collect();
        out.refused
            .sort_by_key(|(reason, n)| (core::cmp::Reverse(*n), *reason));
        out
    }
}
