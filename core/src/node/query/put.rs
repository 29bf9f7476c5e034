//! Publishing an item: the state of each holder, and when the put is complete. Plain state without
//! I/O: events come in, [`Action`]s go out.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::{NodeId, Target};
use crate::item::{Item, Seq};
use crate::key::Signature;
use crate::lookup::Candidate;
use crate::node::ids::PutMode;
use crate::node::items::placed::Placed;
use crate::node::outcome::Replicas;
use crate::node::query::action::{Action, Outbox};
use crate::node::refusal_text;
use crate::node::rpc::calls::CallFailure;
use crate::store::Refusal;
use crate::time::Mono;
use crate::wire::{Request, Response, ResponseMessage};

/// State of a holder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replica {
    /// Asked. After this time the put does not wait for it if enough others have the item.
    Pending(Mono),
    Stored,
    /// It had the same item and renewed its lifetime.
    Refreshed,
    Refused(Refusal),
    /// It was possibly reached, but whether it has the item is unknown.
    Unknown,
}

/// State of a put.
pub(crate) struct Put {
    placed: Placed,
    mode: PutMode,
    /// Number of holders that the put requires.
    pub(crate) wanted: u16,
    /// Whether this node's own store accepted the item.
    pub(crate) local: bool,
    replicas: BTreeMap<NodeId, Replica>,
    pending: usize,
    /// Number of holders that have the item.
    acknowledged: usize,
    /// Number of full nodes, which store every item, asked in addition to the nearest peers.
    full_nodes: usize,
    /// Whether a holder is a Go node, which renews only for a higher sequence.
    pub(crate) go_holders: bool,
    /// The highest sequence that a refusal stated.
    pub(crate) highest_held: Option<Seq>,
    /// The sequence up to which each holder refuses the item as deleted.
    deleted: BTreeMap<NodeId, Seq>,
}

impl Put {
    pub(crate) fn new(placed: Placed, mode: PutMode, wanted: u16, local: bool) -> Self {
        Self {
            placed,
            mode,
            wanted: wanted.max(1),
            local,
            replicas: BTreeMap::new(),
            pending: 0,
            acknowledged: 0,
            full_nodes: 0,
            go_holders: false,
            highest_held: None,
            deleted: BTreeMap::new(),
        }
    }

    /// The published item.
    pub(crate) fn item(&self) -> &Arc<Item> {
        &self.placed.item
    }

    /// The target that it is published at.
    pub(crate) fn target(&self) -> Target {
        self.placed.target
    }

    /// Whether the target is another key's.
    pub(crate) fn is_mirror(&self) -> bool {
        self.placed.is_mirror()
    }

    /// The signature that binds a mirror to its target.
    pub(crate) fn bind(&self) -> Option<Signature> {
        self.placed.bind
    }

    /// The request that gives the item to a peer: `Renew` if possible. Only peers with our
    /// extensions know it, and its answer has no nearer peers, which a `step` of a lookup requires.
    pub(crate) fn request(&self, dialect_is_ours: bool, step: bool) -> Request {
        if self.mode == PutMode::Renew && dialect_is_ours && !step {
            return Request::Renew {
                target: self.placed.target,
                seq: self.item().seq,
                signature: self.item().signature,
                content_hash: self.item().content_hash(),
            };
        }
        self.whole()
    }

    /// The request that carries the complete item.
    pub(crate) fn whole(&self) -> Request {
        Request::PutValue {
            item: (&self.placed.item).into(),
            mirror_target: self.is_mirror().then_some(self.placed.target),
        }
    }

    /// Records that a peer was asked; after `until` the put does not wait for it if enough others
    /// have the item.
    pub(crate) fn asked(&mut self, id: NodeId, until: Mono) {
        self.set(id, Replica::Pending(until));
    }

    /// Records the number of full nodes asked in addition to the nearest peers. The put waits for
    /// all of them alike.
    pub(crate) fn asked_full_nodes(&mut self, full_nodes: usize) {
        self.full_nodes = full_nodes;
    }

    /// Takes the result of a call; `repeated` means that an earlier attempt may have reached the
    /// peer.
    pub(crate) fn on_answer(
        &mut self,
        peer: &Candidate,
        repeated: bool,
        result: Result<&ResponseMessage, CallFailure>,
        out: &mut Outbox,
    ) {
        let message = match result {
            // Never reached, so it does not count as a replica.
            Err(CallFailure::Open(_)) if !repeated => return self.forget(&peer.id),
            Err(_) => return self.set(peer.id, Replica::Unknown),
            Ok(message) => message,
        };
        let (stored, error, renewal) = match &message.response {
            Response::PutValue { stored, error } => (*stored, error, false),
            Response::Renew { stored, error } => (*stored, error, true),
            _ => return self.set(peer.id, Replica::Unknown),
        };
        let held = message.ext.as_ref().and_then(|ext| ext.held);
        if stored {
            self.go_holders |= message.ext.is_none();
            let replica = if held == Some(self.item().seq) {
                Replica::Refreshed
            } else {
                Replica::Stored
            };
            return self.set(peer.id, replica);
        }
        let refusal = refusal_text::parse(error);
        self.highest_held = self.highest_held.max(held);
        if let (Refusal::Deleted, Some(held)) = (refusal, held) {
            self.deleted.insert(peer.id, held);
        }
        if renewal && refusal == Refusal::NotHeld {
            self.forget(&peer.id);
            return out.push(Action::StoreWhole(*peer));
        }
        // The first attempt may have arrived, and this refusal may be its consequence.
        let replica = if repeated {
            Replica::Unknown
        } else {
            Replica::Refused(refusal)
        };
        self.set(peer.id, replica);
    }

    /// The reason why a peer refused the item, if it did.
    pub(crate) fn refusal(&self, id: &NodeId) -> Option<Refusal> {
        match self.replicas.get(id)? {
            Replica::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }

    pub(crate) fn has_asked(&self, id: &NodeId) -> bool {
        self.replicas.contains_key(id)
    }

    /// Whether the put is complete once the lookup has ended: all peers have answered or failed; or
    /// as many peers have the item as `k` and the additional full nodes together; or the answers so
    /// far are enough ([`Put::has_enough`]), and the others have been silent too long.
    pub(crate) fn is_complete(&self, k: usize, now: Mono) -> bool {
        self.pending == 0
            || self.acknowledged >= k + self.full_nodes
            || (self.has_enough() && self.patience().is_none_or(|until| until <= now))
    }

    /// Whether the required number has the item; or none has it and a peer refused it as older or
    /// deleted, so that the put needs a higher sequence.
    fn has_enough(&self) -> bool {
        self.acknowledged >= usize::from(self.wanted)
            || (self.acknowledged == 0 && self.refused_as_older())
    }

    /// Time until which pending answers are awaited although enough peers have the item; `None` if
    /// none is pending.
    pub(crate) fn patience(&self) -> Option<Mono> {
        let pending = self.replicas.values().filter_map(|replica| match replica {
            Replica::Pending(until) => Some(*until),
            _ => None,
        });
        pending.max()
    }

    fn set(&mut self, id: NodeId, replica: Replica) {
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

    /// Removes a peer that was never reached or is asked again.
    fn forget(&mut self, id: &NodeId) {
        self.set(*id, Replica::Unknown);
        self.replicas.remove(id);
    }

    pub(crate) fn refused_as_older(&self) -> bool {
        let mut replicas = self.replicas.values();
        replicas
            .any(|replica| matches!(replica, Replica::Refused(Refusal::Older | Refusal::Deleted)))
    }

    /// The sequence up to which most holders that answered refuse the item as deleted. No node can
    /// verify it, so the median of their statements counts: false ones cannot raise it above all
    /// true ones unless they are half of the statements or more.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Salt, Value};
    use crate::key::SecretKey;

    /// The result of `mostly_deleted` for holders that refuse the item as deleted up to a sequence,
    /// besides others that stored it, did not answer, or are pending.
    fn mostly_deleted(deleted: &[u64], stored: u8, unknown: u8, pending: u8) -> Option<u64> {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap();
        let item = Item::sign(&key, Seq(1), Value::new(b"v"), Salt::from("s"));
        let mut put = Put::new(Placed::own(Arc::new(item)), PutMode::Publish, 20, false);
        let mut id = 0;
        let mut add = |replica: Replica, deleted: Option<u64>| {
            id += 1;
            let id = NodeId::from_bytes([id; 32]);
            put.replicas.insert(id, replica);
            if let Some(seq) = deleted {
                put.deleted.insert(id, Seq(seq));
            }
        };
        for seq in deleted {
            add(Replica::Refused(Refusal::Deleted), Some(*seq));
        }
        for (replica, n) in [
            (Replica::Stored, stored),
            (Replica::Unknown, unknown),
            (Replica::Pending(Mono(1)), pending),
        ] {
            for _ in 0..n {
                add(replica, None);
            }
        }
        put.mostly_deleted().map(|seq| seq.0)
    }

    #[test]
    fn the_median_of_what_most_who_answered_say_is_deleted() {
        assert_eq!(mostly_deleted(&[], 0, 0, 0), None);
        assert_eq!(mostly_deleted(&[9], 0, 0, 0), Some(9));
        assert_eq!(mostly_deleted(&[9, 1, 5], 0, 0, 0), Some(5));
        assert_eq!(mostly_deleted(&[9, 1, 5, 7], 0, 0, 0), Some(7));
        // Half is not a majority.
        assert_eq!(mostly_deleted(&[9, 5], 2, 0, 0), None);
        assert_eq!(mostly_deleted(&[9, 5, 5], 2, 0, 0), Some(5));
        // Holders that do not answer do not count.
        assert_eq!(mostly_deleted(&[9], 0, 20, 20), Some(9));
    }
}
