//! The items held, and every order in which they are asked for. All changes go through
//! [`Index::insert`] and [`Index::remove`], which keep the orders and the counts together.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use crate::id::{Distance, NodeId, Target};
use crate::item::{Origin, Salt, Seq};
use crate::store::config::{Tier, item_cost};
use crate::store::fill::StoreFill;
use crate::store::held::{Class, Held};
use crate::store::key_counts::KeyCounts;
use crate::store::merge::Rank;
use crate::sync::{FingerprintTree, Version};
use crate::time::Mono;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Index {
    local: NodeId,
    items: BTreeMap<Target, Held>,
    /// By class. What never expires is in none.
    expiry: [BTreeSet<(Mono, Target)>; 4],
    /// By class, without [`Class::Exempt`]. A distance to this node stands for its target.
    far: [BTreeSet<Distance>; 3],
    sequences: BTreeSet<(Seq, Target)>,
    salts: BTreeSet<(Salt, Seq, Target)>,
    /// Owner items outside the tiers, by signer.
    publishers: KeyCounts,
    /// Items by the peer charged for them.
    peers: KeyCounts,
    fill: StoreFill,
    /// Of the owners' items.
    tree: FingerprintTree,
}

impl Index {
    pub(super) fn new(local: NodeId) -> Self {
        Self {
            local,
            items: BTreeMap::new(),
            expiry: Default::default(),
            far: Default::default(),
            sequences: BTreeSet::new(),
            salts: BTreeSet::new(),
            publishers: KeyCounts::default(),
            peers: KeyCounts::default(),
            fill: StoreFill::default(),
            tree: FingerprintTree::default(),
        }
    }

    pub(super) fn get(&self, target: &Target) -> Option<&Held> {
        self.items.get(target)
    }

    /// The owners' items from a target on.
    pub(super) fn versions(&self, from: Target) -> impl Iterator<Item = (Target, Version)> {
        versions(&self.items, from)
    }

    /// From a target on, in order.
    pub(super) fn range(&self, from: Target) -> impl Iterator<Item = (&Target, &Held)> {
        self.items.range(from..)
    }

    pub(super) const fn fill(&self) -> &StoreFill {
        &self.fill
    }

    /// Fingerprints of the owners' items.
    pub(super) const fn tree(&self) -> &FingerprintTree {
        &self.tree
    }

    /// Owner items outside the tiers, by signer.
    pub(super) const fn publishers(&self) -> &KeyCounts {
        &self.publishers
    }

    /// Items by the peer charged for them.
    pub(super) const fn peers(&self) -> &KeyCounts {
        &self.peers
    }

    /// Puts an item in its place and returns what was there.
    pub(super) fn insert(&mut self, target: Target, held: Held) -> Option<Held> {
        let before = self.remove(&target);
        let version = version(&held.rank);
        self.link(target, held);
        self.add_version(&target, version);
        before
    }

    /// Takes an item out of every order.
    pub(super) fn remove(&mut self, target: &Target) -> Option<Held> {
        let held = self.unlink(target)?;
        self.remove_version(target, version(&held.rank));
        Some(held)
    }

    /// Changes an item in its place. The fingerprints, which cost most, change only when the
    /// version does: a renewal changes none.
    pub(super) fn change(&mut self, target: &Target, change: impl FnOnce(&mut Held)) {
        let Some(mut held) = self.unlink(target) else {
            return;
        };
        let before = version(&held.rank);
        change(&mut held);
        let after = version(&held.rank);
        self.link(*target, held);
        if before != after {
            self.remove_version(target, before);
            self.add_version(target, after);
        }
    }

    fn add_version(&mut self, target: &Target, version: Option<Version>) {
        if let Some(version) = version {
            let Self { items, tree, .. } = self;
            tree.insert(target, &version, |from| versions(items, from));
        }
    }

    fn remove_version(&mut self, target: &Target, version: Option<Version>) {
        if let Some(version) = version {
            self.tree.remove(target, &version);
        }
    }

    /// Into every order but the fingerprints.
    fn link(&mut self, target: Target, held: Held) {
        let class = held.class();
        if let Some(expires) = held.expires {
            self.expiry[class as usize].insert((expires, target));
        }
        if let Some(far) = self.far.get_mut(class as usize) {
            far.insert(target.distance(&self.local));
        }
        let seq = held.item.seq;
        self.sequences.insert((seq, target));
        self.salts.insert((held.item.salt.clone(), seq, target));
        self.publishers.add(held.publisher());
        self.peers.add(held.charged);
        for (count, n) in counts(&mut self.fill, &held) {
            *count += n;
        }
        self.items.insert(target, held);
    }

    /// Out of every order but the fingerprints.
    fn unlink(&mut self, target: &Target) -> Option<Held> {
        let held = self.items.remove(target)?;
        let class = held.class();
        if let Some(expires) = held.expires {
            self.expiry[class as usize].remove(&(expires, *target));
        }
        if let Some(far) = self.far.get_mut(class as usize) {
            far.remove(&target.distance(&self.local));
        }
        let seq = held.item.seq;
        self.sequences.remove(&(seq, *target));
        self.salts.remove(&(held.item.salt.clone(), seq, *target));
        self.publishers.remove(held.publisher());
        self.peers.remove(held.charged);
        for (count, n) in counts(&mut self.fill, &held) {
            *count -= n;
        }
        Some(held)
    }

    /// Items that may be evicted.
    pub(super) fn evictable(&self) -> usize {
        self.far.iter().map(BTreeSet::len).sum()
    }

    /// The item that expires first.
    pub(super) fn soonest(&self) -> Option<(Mono, Target)> {
        self.expiry
            .iter()
            .filter_map(|set| set.first().copied())
            .min()
    }

    /// Items of a class, soonest to expire first.
    pub(super) fn by_expiry(&self, class: Class) -> impl Iterator<Item = Target> {
        self.expiry[class as usize]
            .iter()
            .map(|(_, target)| *target)
    }

    /// Items of a class, farthest first; none of [`Class::Exempt`].
    pub(super) fn by_distance(&self, class: Class) -> impl Iterator<Item = Target> {
        let origin = Target::from_bytes(*self.local.as_bytes());
        self.far
            .get(class as usize)
            .into_iter()
            .flat_map(|set| set.iter().rev())
            .map(move |distance| {
                let there = NodeId::from_bytes(*distance.as_bytes());
                Target::from_bytes(*origin.distance(&there).as_bytes())
            })
    }

    /// Items behind a place in the order of (sequence, target); of one salt or of all.
    pub(super) fn after(
        &self,
        salt: Option<&Salt>,
        (seq, target): (Seq, Target),
    ) -> impl Iterator<Item = (&Target, &Held)> {
        let last = Target::from_bytes([0xff; 32]);
        let all = salt.is_none().then(|| {
            let range = (Bound::Excluded((seq, target)), Bound::Unbounded);
            self.sequences.range(range).map(|(_, target)| target)
        });
        let salted = salt.map(|salt| {
            let range = (
                Bound::Excluded((salt.clone(), seq, target)),
                Bound::Included((salt.clone(), Seq(u64::MAX), last)),
            );
            // An empty range whose ends are the wrong way round is a panic.
            let some = (seq, target) < (Seq(u64::MAX), last);
            let items = some.then(|| self.salts.range(range).map(|(_, _, target)| target));
            items.into_iter().flatten()
        });
        all.into_iter()
            .flatten()
            .chain(salted.into_iter().flatten())
            .filter_map(|target| self.items.get_key_value(target))
    }

    /// Builds every order anew from the items, to compare.
    pub(super) fn recount(&self) -> Self {
        let mut fresh = Self::new(self.local);
        for (target, held) in &self.items {
            fresh.insert(*target, held.clone());
        }
        fresh
    }
}

/// What the fingerprints are of: an owner's item as [`crate::sync`] sees it.
fn version(rank: &Rank) -> Option<Version> {
    (rank.origin() == Origin::Owner).then(|| Version {
        origin: Origin::Owner,
        seq: rank.seq(),
        payload: *rank.content_hash(),
    })
}

/// The owners' items from a target on.
fn versions(
    items: &BTreeMap<Target, Held>,
    from: Target,
) -> impl Iterator<Item = (Target, Version)> {
    let items = items.range(from..);
    items.filter_map(|(target, held)| Some((*target, version(&held.rank)?)))
}

/// The numbers that an item adds to.
fn counts<'a>(fill: &'a mut StoreFill, held: &Held) -> [(&'a mut usize, usize); 4] {
    let kind = match (held.origin(), held.tier) {
        (Origin::Mirror, _) => &mut fill.mirrors,
        (Origin::Owner, Tier::Whitelisted) => &mut fill.whitelisted,
        (Origin::Owner, Tier::Trusted) => &mut fill.trusted,
        (Origin::Owner, Tier::Public) => &mut fill.public,
    };
    [
        (kind, 1),
        (&mut fill.items, 1),
        (&mut fill.bytes, item_cost(&held.item)),
        (&mut fill.tombstones, usize::from(held.is_tombstone())),
    ]
}
