//! State that colluding hostile peers share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skydht_core::id::{NodeId, Target};
use skydht_core::item::Item;
use skydht_core::key::PublicKey;
use skydht_core::wire::WirePeer;

/// Maximum number of targets whose items are remembered.
const TARGETS: usize = 1_024;
/// Maximum number of versions per target.
const VERSIONS: usize = 8;
/// Maximum number of targets for which invented peers are remembered.
const INVENTED: usize = 256;

/// A group of colluding hostile peers: its members, the targets that they besiege, and the items
/// that they saw.
#[derive(Clone, Debug, Default)]
pub struct Collusion(Arc<Mutex<CollusionState>>);

#[derive(Debug, Default)]
struct CollusionState {
    members: BTreeMap<NodeId, PublicKey>,
    prey: BTreeSet<Target>,
    /// Versions by target, oldest first.
    seen: BTreeMap<Target, VecDeque<Arc<Item>>>,
    invented: BTreeMap<Target, Vec<WirePeer>>,
    /// The targets in `invented`, oldest first.
    invented_order: VecDeque<Target>,
}

impl Collusion {
    /// Creates an empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a target for [`Behaviour::Eclipse`](super::Behaviour::Eclipse).
    pub fn besiege(&self, target: Target) {
        self.shared().prey.insert(target);
    }

    /// The members, in order of their ids.
    #[must_use]
    pub fn members(&self) -> Vec<PublicKey> {
        self.shared().members.values().copied().collect()
    }

    /// Adds a member key, whether or not a peer with that key takes part.
    pub fn join(&self, key: PublicKey) {
        self.shared().members.insert(key.id(), key);
    }

    pub(super) fn has(&self, key: &PublicKey) -> bool {
        self.shared().members.contains_key(&key.id())
    }

    pub(super) fn besieges(&self, target: &Target) -> bool {
        self.shared().prey.contains(target)
    }

    /// The members nearest to a target, nearest first.
    pub(super) fn nearest(&self, target: &Target, count: usize) -> Vec<PublicKey> {
        let shared = self.shared();
        let mut members: Vec<(&NodeId, &PublicKey)> = shared.members.iter().collect();
        members.sort_unstable_by_key(|(id, _)| target.distance(id));
        members.truncate(count);
        members.into_iter().map(|(_, key)| *key).collect()
    }

    /// Remembers a version that a peer put, if it is the highest so far.
    pub(super) fn note(&self, target: Target, item: &Arc<Item>) {
        let mut shared = self.shared();
        if !shared.seen.contains_key(&target) && shared.seen.len() >= TARGETS {
            return;
        }
        let versions = shared.seen.entry(target).or_default();
        if versions.back().is_none_or(|last| item.seq > last.seq) {
            if versions.len() == VERSIONS {
                // Keep the oldest version, which is the most useful for replays.
                versions.remove(1);
            }
            versions.push_back(item.clone());
        }
    }

    /// The versions seen at a target, oldest first.
    pub(super) fn versions(&self, target: &Target) -> Vec<Arc<Item>> {
        let shared = self.shared();
        let versions = shared.seen.get(target).into_iter().flatten();
        versions.cloned().collect()
    }

    /// Target number `n`, modulo the number of targets seen.
    pub(super) fn seen(&self, n: u64) -> Option<Target> {
        let shared = self.shared();
        let n = n.checked_rem(shared.seen.len() as u64)?;
        shared.seen.keys().nth(usize::try_from(n).ok()?).copied()
    }

    /// The peers invented for a target, so that all members tell the same lie.
    pub(super) fn invented(
        &self,
        target: &Target,
        invent: impl FnOnce() -> Vec<WirePeer>,
    ) -> Vec<WirePeer> {
        let mut shared = self.shared();
        if let Some(known) = shared.invented.get(target) {
            return known.clone();
        }
        let peers = invent();
        if shared.invented.len() == INVENTED
            && let Some(oldest) = shared.invented_order.pop_front()
        {
            shared.invented.remove(&oldest);
        }
        shared.invented.insert(*target, peers.clone());
        shared.invented_order.push_back(*target);
        peers
    }

    fn shared(&self) -> MutexGuard<'_, CollusionState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skydht_core::item::{Salt, Seq, Value};
    use skydht_core::key::SecretKey;

    #[test]
    fn the_oldest_version_stays_and_the_rest_move_on() {
        let collusion = Collusion::new();
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let target = Target::default();
        for seq in [5, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14] {
            let item = Item::sign(&secret, Seq(seq), Value::new(b"v"), Salt::default());
            collusion.note(target, &Arc::new(item));
        }
        let seqs: Vec<u64> = collusion
            .versions(&target)
            .iter()
            .map(|it| it.seq.0)
            .collect();
        assert_eq!(seqs, [5, 8, 9, 10, 11, 12, 13, 14]);
        assert_eq!(collusion.seen(7), Some(target));
    }

    #[test]
    fn memory_is_bounded() {
        let collusion = Collusion::new();
        assert_eq!(collusion.seen(0), None);
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let item = Arc::new(Item::sign(
            &secret,
            Seq(1),
            Value::new(b""),
            Salt::default(),
        ));
        let target = |n: u16| {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            Target::from_bytes(bytes)
        };
        for n in 0..2_000 {
            collusion.note(target(n), &item);
            collusion.invented(&target(n), Vec::new);
        }
        let shared = collusion.shared();
        assert_eq!(
            (shared.seen.len(), shared.invented.len()),
            (TARGETS, INVENTED)
        );
    }

    #[test]
    fn members_come_nearest_first() {
        let collusion = Collusion::new();
        for n in 1..30 {
            collusion.join(SecretKey::from_bytes(&[n; 32]).unwrap().public());
        }
        let target = Target::from_bytes([0x77; 32]);
        let nearest = collusion.nearest(&target, 20);
        assert_eq!((nearest.len(), collusion.members().len()), (20, 29));
        assert!(nearest.is_sorted_by_key(|key| target.distance(&key.id())));
    }
}
