//! The read cache, which answers only this node's own reads, and the log of peers that were sent
//! an item they lacked.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::item::Item;
use crate::time::Mono;
use crate::wire::Life;

/// How long a value that was read may answer a `FirstValid` read.
const CACHED_FOR: Duration = Duration::from_secs(60);
/// Maximum number of entries of a [`RepairLog`]; beyond it, those that end first are dropped.
const REPAIRS: usize = 4_096;

/// A value that was read.
struct Cached {
    item: Arc<Item>,
    /// As it was at `since`.
    life: Life,
    since: Mono,
    end: Mono,
}

/// A cache of values that were read.
pub(crate) struct ReadCache {
    items: BTreeMap<Target, Cached>,
    by_end: BTreeSet<(Mono, Target)>,
    max: usize,
}

impl ReadCache {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            items: BTreeMap::new(),
            by_end: BTreeSet::new(),
            max,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns the value cached for `target` and its life as it is now.
    pub(crate) fn get(&self, target: &Target, now: Mono) -> Option<(Arc<Item>, Life)> {
        let cached = self.items.get(target).filter(|cached| cached.end > now)?;
        let (elapsed, Life { age, left }) = (now.since(cached.since), cached.life);
        let life = Life {
            age: age.saturating_add(elapsed),
            left: match left {
                Duration::MAX => left,
                _ => left.saturating_sub(elapsed),
            },
        };
        Some((cached.item.clone(), life))
    }

    pub(crate) fn put(&mut self, target: Target, item: Arc<Item>, life: Life, now: Mono) {
        self.forget(&target);
        let end = now.plus(CACHED_FOR.min(life.left));
        while let Some(&(oldest, other)) = self.by_end.first()
            && (oldest <= now || self.items.len() >= self.max)
        {
            self.forget(&other);
        }
        if self.items.len() < self.max {
            let since = now;
            let cached = Cached {
                item,
                life,
                since,
                end,
            };
            self.items.insert(target, cached);
            self.by_end.insert((end, target));
        }
    }

    /// Drops a cached value, after a put or a deletion by this node.
    pub(crate) fn forget(&mut self, target: &Target) {
        if let Some(Cached { end, .. }) = self.items.remove(target) {
            self.by_end.remove(&(end, *target));
        }
    }
}

/// Which peer was recently sent which item, by a repair after a read or by a handover, and until
/// when it is not sent it again.
#[derive(Default)]
pub(crate) struct RepairLog {
    quiet_until: BTreeMap<(Target, NodeId), Mono>,
    by_end: BTreeSet<(Mono, Target, NodeId)>,
}

impl RepairLog {
    /// Returns whether the item at `target` may be sent to `peer` now. If so, it may not be sent
    /// again for `quiet`.
    pub(crate) fn note(
        &mut self,
        target: Target,
        peer: NodeId,
        now: Mono,
        quiet: Duration,
    ) -> bool {
        while let Some(&(end, target, peer)) = self.by_end.first()
            && (end <= now || self.by_end.len() >= REPAIRS)
        {
            self.by_end.pop_first();
            self.quiet_until.remove(&(target, peer));
        }
        if self.quiet_until.contains_key(&(target, peer)) {
            return false;
        }
        let end = now.plus(quiet);
        self.quiet_until.insert((target, peer), end);
        self.by_end.insert((end, target, peer));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Salt, Seq, Value};
    use crate::key::SecretKey;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn a_cache_without_capacity_keeps_nothing() {
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let item = Item::sign(&secret, Seq(1), Value::new(b"v"), Salt::from("s"));
        let (target, item) = (item.target(), Arc::new(item));
        let life = Life {
            age: Duration::ZERO,
            left: Duration::MAX,
        };
        for (max, kept) in [(0, 0), (1, 1)] {
            let mut cache = ReadCache::new(max);
            cache.put(target, item.clone(), life, at(1));
            assert_eq!(cache.len(), kept);
        }
    }

    #[test]
    fn values_last_sixty_seconds_and_the_oldest_go_first() {
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let item = Arc::new(Item::sign(
            &secret,
            Seq(1),
            Value::new(b"v"),
            Salt::default(),
        ));
        let life = Life {
            age: Duration::ZERO,
            left: Duration::from_secs(3600),
        };
        let target = |n| Target::from_bytes([n; 32]);
        let mut cache = ReadCache::new(2);
        for n in 0..3 {
            cache.put(target(n), item.clone(), life, at(n.into()));
        }
        assert_eq!(cache.len(), 2);
        assert!(cache.get(&target(0), at(3)).is_none());
        assert!(cache.get(&target(2), at(61)).is_some());
        assert!(cache.get(&target(2), at(62)).is_none());
        assert_eq!(cache.by_end.len(), cache.items.len());
    }

    #[test]
    fn a_value_ages_while_it_is_cached() {
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let salt = Salt::default();
        let item = Arc::new(Item::sign(&secret, Seq(1), Value::new(b"v"), salt));
        let seconds = Duration::from_secs;
        for (left, later) in [(seconds(100), seconds(70)), (Duration::MAX, Duration::MAX)] {
            let age = seconds(5);
            let mut cache = ReadCache::new(1);
            cache.put(Target::default(), item.clone(), Life { age, left }, at(1));
            let (_, life) = cache.get(&Target::default(), at(31)).unwrap();
            assert_eq!((life.age, life.left), (seconds(35), later));
        }
    }

    #[test]
    fn a_holder_is_repaired_once_in_the_quiet_time() {
        let mut repaired = RepairLog::default();
        let (target, peer) = (Target::default(), NodeId::default());
        let quiet = Duration::from_secs(10);
        assert!(repaired.note(target, peer, at(0), quiet));
        assert!(!repaired.note(target, peer, at(9), quiet));
        assert!(repaired.note(target, peer, at(10), quiet));
    }

    #[test]
    fn the_log_of_repairs_is_bounded() {
        let mut repaired = RepairLog::default();
        for n in 0..(REPAIRS as u64 + 10) {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            let target = Target::from_bytes(bytes);
            assert!(repaired.note(target, NodeId::default(), at(0), Duration::from_secs(9)));
        }
        assert_eq!(repaired.by_end.len(), REPAIRS);
        assert_eq!(repaired.quiet_until.len(), REPAIRS);
    }
}
