//! The items held, and every order in which they are asked for. All changes go through
//! [`Index::insert`] and [`Index::remove`], which keep the orders and the counts together.
//!
//! An order does not keep targets, but their [`Head`]s: a fourth of the memory. The items of one
//! head, nearly always one, stand together among all items; those that an entry means are those
//! that have what it says.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::id::{NodeId, Target};
use crate::item::{Origin, Salt, Seq};
use crate::store::config::{Tier, item_cost};
use crate::store::fill::StoreFill;
use crate::store::key_counts::KeyCounts;
use crate::store::stored_item::{Class, StoredItem};
use crate::sync::{FingerprintTree, Version};
use crate::time::Mono;

/// The first eight bytes of a target, or of a distance.
type Head = u64;
/// A hash of a salt. Salts that share one cost a look at each other's items and nothing else, as do
/// the items of other signers under the same salt: it need not resist an attack.
type SaltTag = u64;
/// The items themselves, each in a box: a search looks at targets, and with the items between them
/// the lower half of the tree would be in no cache.
type Items = BTreeMap<Target, Box<StoredItem>>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Index {
    local: NodeId,
    items: Items,
    /// By class. What never expires is in none.
    expiry: [BTreeSet<(Mono, Head)>; 4],
    /// By class, without [`Class::Exempt`]: heads of the distances to this node. None on a full node,
    /// which evicts by expiry.
    far: Option<[BTreeSet<Head>; 3]>,
    sequences: BTreeSet<(Seq, Head)>,
    salts: BTreeSet<(SaltTag, Seq, Head)>,
    /// Items of all classes but [`Class::Exempt`].
    evictable: usize,
    /// Owner items outside the tiers, by signer.
    publishers: KeyCounts,
    /// Items by the peer charged for them.
    peers: KeyCounts,
    fill: StoreFill,
    /// Of the owners' items.
    tree: FingerprintTree,
}

impl Index {
    pub(super) fn new(local: NodeId, full_node: bool) -> Self {
        Self {
            local,
            items: Items::default(),
            expiry: Default::default(),
            far: (!full_node).then(Default::default),
            sequences: BTreeSet::new(),
            salts: BTreeSet::new(),
            evictable: 0,
            publishers: KeyCounts::default(),
            peers: KeyCounts::default(),
            fill: StoreFill::default(),
            tree: FingerprintTree::default(),
        }
    }

    /// Gives up the order by distance, or makes it: O(n log n).
    pub(super) fn set_full_node(&mut self, full_node: bool) {
        if full_node == self.far.is_none() {
            return;
        }
        self.far = (!full_node).then(Default::default);
        let Self {
            items, far, local, ..
        } = self;
        for (target, stored) in items.iter() {
            let far = far.as_mut();
            if let Some(far) = far.and_then(|far| far.get_mut(stored.class() as usize)) {
                far.insert(head_of(target) ^ id_head(local));
            }
        }
    }

    pub(super) fn get(&self, target: &Target) -> Option<&StoredItem> {
        self.items.get(target).map(|stored| &**stored)
    }

    /// The owners' items from a target on.
    pub(super) fn versions(&self, from: Target) -> impl Iterator<Item = (Target, Version)> {
        versions(&self.items, from)
    }

    /// From a target on, in order.
    pub(super) fn range(&self, from: Target) -> impl Iterator<Item = (&Target, &StoredItem)> {
        self.items
            .range(from..)
            .map(|(target, stored)| (target, &**stored))
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
    pub(super) fn insert(&mut self, target: Target, stored: StoredItem) -> Option<StoredItem> {
        let new = version(&stored);
        let before = self.link(target, stored);
        if let Some(before) = &before {
            self.remove_version(&target, version(before));
        }
        self.add_version(&target, new);
        before
    }

    /// Takes an item out of every order.
    pub(super) fn remove(&mut self, target: &Target) -> Option<StoredItem> {
        let stored = self.unlink(target)?;
        self.remove_version(target, version(&stored));
        Some(stored)
    }

    /// Changes an item in its place: when it expires and what decides its class or whom it is
    /// charged to, but not its version. Only the orders that this concerns are touched.
    pub(super) fn change(&mut self, target: &Target, change: impl FnOnce(&mut StoredItem)) {
        let Some(stored) = self.items.get_mut(target) else {
            return;
        };
        let (class, expires) = (stored.class(), stored.expires());
        let charged = stored.charged.clone();
        change(stored);
        let after = (stored.class(), stored.expires());
        if charged != stored.charged {
            self.peers.add_shared(stored.charged.as_ref());
            self.peers.remove(charged.as_deref());
        }
        if after == (class, expires) {
            return;
        }
        let head = head_of(target);
        self.join_evictable(after, head, class != after.0);
        let mut kept = Kept::default();
        for (_, other) in of_head(&self.items, head) {
            kept.class |= other.class() == class;
            kept.expiry |= (other.class(), other.expires()) == (class, expires);
        }
        self.leave_evictable((class, expires), head, class != after.0, kept);
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

    /// Into every order but the fingerprints, in place of what it returns.
    fn link(&mut self, target: Target, stored: StoredItem) -> Option<StoredItem> {
        let (class, head) = (stored.class(), head_of(&target));
        self.join_evictable((class, stored.expires()), head, true);
        let seq = stored.item.seq;
        self.sequences.insert((seq, head));
        self.salts.insert((tag_of(&stored.item.salt), seq, head));
        self.publishers.add(stored.publisher());
        self.peers.add_shared(stored.charged.as_ref());
        for (count, n) in counts(&mut self.fill, &stored) {
            *count += n;
        }
        let before = self.items.insert(target, Box::new(stored))?;
        self.leave_orders(&target, &before);
        Some(*before)
    }

    /// Out of every order but the fingerprints.
    fn unlink(&mut self, target: &Target) -> Option<StoredItem> {
        let stored = self.items.remove(target)?;
        self.leave_orders(target, &stored);
        Some(*stored)
    }

    /// Takes an item that is among all items no more out of the other orders.
    fn leave_orders(&mut self, target: &Target, stored: &StoredItem) {
        let (class, head) = (stored.class(), head_of(target));
        let (seq, tag) = (stored.item.seq, tag_of(&stored.item.salt));
        // An entry stays while it means another item of the same head.
        let mut kept = Kept::default();
        for (_, other) in of_head(&self.items, head) {
            let (same_class, same_seq) = (other.class() == class, other.item.seq == seq);
            kept.class |= same_class;
            kept.expiry |= same_class && other.expires() == stored.expires();
            kept.sequence |= same_seq;
            kept.salt |= same_seq && tag_of(&other.item.salt) == tag;
        }
        self.leave_evictable((class, stored.expires()), head, true, kept);
        if !kept.sequence {
            self.sequences.remove(&(seq, head));
        }
        if !kept.salt {
            self.salts.remove(&(tag, seq, head));
        }
        self.publishers.remove(stored.publisher().as_ref());
        self.peers.remove(stored.charged.as_deref());
        for (count, n) in counts(&mut self.fill, stored) {
            *count -= n;
        }
    }

    /// Into the orders of a class: always by expiry, by distance if the item is new in the class.
    fn join_evictable(&mut self, (class, expires): (Class, Option<Mono>), head: Head, new: bool) {
        if let Some(expires) = expires {
            self.expiry[class as usize].insert((expires, head));
        }
        if !new || class == Class::Exempt {
            return;
        }
        self.evictable += 1;
        let far = self.far.as_mut();
        if let Some(far) = far.and_then(|far| far.get_mut(class as usize)) {
            far.insert(head ^ id_head(&self.local));
        }
    }

    /// Out of them again.
    fn leave_evictable(
        &mut self,
        (class, expires): (Class, Option<Mono>),
        head: Head,
        gone: bool,
        kept: Kept,
    ) {
        if let Some(expires) = expires
            && !kept.expiry
        {
            self.expiry[class as usize].remove(&(expires, head));
        }
        if !gone || class == Class::Exempt {
            return;
        }
        self.evictable -= 1;
        let far = self.far.as_mut().filter(|_| !kept.class);
        if let Some(far) = far.and_then(|far| far.get_mut(class as usize)) {
            far.remove(&(head ^ id_head(&self.local)));
        }
    }

    /// Items that may be evicted.
    pub(super) const fn evictable(&self) -> usize {
        self.evictable
    }

    /// The item that expires first.
    pub(super) fn soonest(&self) -> Option<(Mono, Target)> {
        let firsts = (0..).zip(&self.expiry).filter_map(|(class, set)| {
            let (expires, head) = set.first()?;
            let mut items = self.expiring(class, *expires, *head);
            items.next().map(|target| (*expires, target))
        });
        firsts.min()
    }

    /// At most `max` items that expire by then, soonest first.
    pub(super) fn expired(&self, by: Mono, max: usize) -> Vec<Target> {
        let mut expired: Vec<(Mono, Target)> = Vec::new();
        for (class, set) in (0..).zip(&self.expiry) {
            let over = set.iter().take_while(|(at, _)| *at <= by).take(max);
            for (at, head) in over {
                let items = self.expiring(class, *at, *head);
                expired.extend(items.map(|target| (*at, target)));
            }
        }
        expired.sort_unstable();
        expired.truncate(max);
        expired.into_iter().map(|(_, target)| target).collect()
    }

    /// Items of a class, soonest to expire first.
    pub(super) fn by_expiry(&self, class: Class) -> impl Iterator<Item = Target> {
        let class = class as usize;
        self.expiry[class]
            .iter()
            .flat_map(move |(expires, head)| self.expiring(class, *expires, *head))
    }

    fn expiring(&self, class: usize, at: Mono, head: Head) -> impl Iterator<Item = Target> {
        of_head(&self.items, head)
            .filter(move |(_, stored)| {
                stored.class() as usize == class && stored.expires() == Some(at)
            })
            .map(|(target, _)| *target)
    }

    /// Items of a class, farthest first; none of [`Class::Exempt`], and none on a full node.
    pub(super) fn by_distance(&self, class: Class) -> impl Iterator<Item = Target> {
        let local = id_head(&self.local);
        let far = self.far.as_ref();
        far.and_then(|far| far.get(class as usize))
            .into_iter()
            .flat_map(|set| set.iter().rev())
            .flat_map(move |distance| {
                let items = of_head(&self.items, distance ^ local);
                let mut targets: SmallVec<[Target; 1]> = items
                    .filter(|(_, stored)| stored.class() == class)
                    .map(|(target, _)| *target)
                    .collect();
                targets.sort_by_key(|target| core::cmp::Reverse(target.distance(&self.local)));
                targets
            })
    }

    /// Items behind a place in the order of (sequence, target); of one salt or of all.
    pub(super) fn after(
        &self,
        salt: Option<&Salt>,
        (seq, target): (Seq, Target),
    ) -> impl Iterator<Item = (&Target, &StoredItem)> {
        let head = head_of(&target);
        let all = salt.is_none().then(|| self.sequences.range((seq, head)..));
        let all = all.into_iter().flatten().copied();
        let salted = salt.map(|salt| {
            let tag = tag_of(salt);
            let range = (tag, seq, head)..=(tag, Seq(u64::MAX), Head::MAX);
            self.salts.range(range).map(|(_, seq, head)| (*seq, *head))
        });
        let salt = salt.cloned();
        all.chain(salted.into_iter().flatten())
            .flat_map(|(seq, head)| {
                of_head(&self.items, head).filter(move |(_, stored)| stored.item.seq == seq)
            })
            .filter(move |(at, stored)| {
                (stored.item.seq, **at) > (seq, target)
                    && salt.as_ref().is_none_or(|salt| stored.item.salt == *salt)
            })
    }

    /// Builds every order anew from the items, to compare.
    pub(super) fn recount(&self) -> Self {
        let mut fresh = Self::new(self.local, self.far.is_none());
        for (target, stored) in &self.items {
            fresh.insert(*target, StoredItem::clone(stored));
        }
        fresh
    }
}

/// Which entries of an item that goes mean another item of the same head, too.
#[derive(Clone, Copy, Default)]
struct Kept {
    class: bool,
    expiry: bool,
    sequence: bool,
    salt: bool,
}

/// What the fingerprints are of: an owner's item as [`crate::sync`] sees it.
fn version(stored: &StoredItem) -> Option<Version> {
    (stored.origin() == Origin::Owner).then(|| Version {
        origin: Origin::Owner,
        seq: stored.item.seq,
        payload: *stored.content_hash(),
    })
}

/// The items whose targets begin with a head, in order.
fn of_head(items: &Items, head: Head) -> impl Iterator<Item = (&Target, &StoredItem)> {
    let items = items.range(first_of(head)..);
    let items = items.take_while(move |(target, _)| head_of(target) == head);
    items.map(|(target, stored)| (target, &**stored))
}

/// The least target that begins with a head.
fn first_of(head: Head) -> Target {
    let mut first = [0; 32];
    first[..8].copy_from_slice(&head.to_be_bytes());
    Target::from_bytes(first)
}

fn head_of(target: &Target) -> Head {
    first_eight(target.as_bytes())
}

fn id_head(id: &NodeId) -> Head {
    first_eight(id.as_bytes())
}

fn tag_of(salt: &Salt) -> SaltTag {
    FixedState::default().hash_one(salt.as_bytes())
}

fn first_eight(bytes: &[u8; 32]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |head| u64::from_be_bytes(*head))
}

/// The owners' items from a target on.
fn versions(items: &Items, from: Target) -> impl Iterator<Item = (Target, Version)> {
    let items = items.range(from..);
    items.filter_map(|(target, stored)| Some((*target, version(stored)?)))
}

/// The numbers that an item adds to.
fn counts<'a>(fill: &'a mut StoreFill, stored: &StoredItem) -> [(&'a mut usize, usize); 4] {
    let kind = match (stored.origin(), stored.tier) {
        (Origin::Mirror, _) => &mut fill.mirrors,
        (Origin::Owner, Tier::Whitelisted) => &mut fill.whitelisted,
        (Origin::Owner, Tier::Trusted) => &mut fill.trusted,
        (Origin::Owner, Tier::Public) => &mut fill.public,
    };
    [
        (kind, 1),
        (&mut fill.items, 1),
        (&mut fill.bytes, item_cost(&stored.item)),
        (&mut fill.tombstones, usize::from(stored.is_tombstone())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Item, Value};
    use crate::key::{PublicKey, Signature};
    use crate::store::merge::Rank;
    use crate::store::stored_item::Standing;
    use alloc::sync::Arc;

    /// What a million items take follows from these; with nodes of trees filled to 70 % some 480
    /// bytes on a full node, beside the value.
    #[test]
    fn nothing_that_is_kept_for_each_item_has_grown() {
        assert!(size_of::<Item>() <= 152, "{}", size_of::<Item>());
        assert!(size_of::<StoredItem>() <= 80, "{}", size_of::<StoredItem>());
        assert_eq!(size_of::<Target>(), 32);
        assert_eq!(size_of::<(Mono, Head)>(), 16);
        assert_eq!(size_of::<(SaltTag, Seq, Head)>(), 24);
    }

    /// Hidden by targets that are hashes: targets with the same head are never seen.
    #[test]
    fn items_of_one_head_are_told_apart_in_every_order() {
        let target = |n: u8| {
            let mut bytes = [7; 32];
            bytes[31] = n;
            Target::from_bytes(bytes)
        };
        let mut key = [3; 33];
        key[0] = 2;
        let key = PublicKey::from_bytes(&key).unwrap();
        let mut index = Index::new(NodeId::from_bytes([7; 32]), false);
        let stored = |n: u8, salt: &str| {
            let item = Item {
                key,
                seq: Seq(u64::from(n / 4)),
                signature: Signature::default(),
                value: Value::new(&[n]),
                salt: Salt::from(salt),
            };
            let rank = Rank::of(&target(n), &item);
            let mut stored = StoredItem::new(Arc::new(item), &rank, Tier::Public, Standing::new(0));
            stored.set_expires(Some(Mono(u64::from(n % 2))));
            stored
        };
        for n in 0..16 {
            index.insert(target(n), stored(n, ["a", "b"][usize::from(n % 3 == 0)]));
        }
        let all = |index: &Index| -> Vec<u8> {
            let all = index.after(None, (Seq(0), target(1)));
            all.map(|(target, _)| target.as_bytes()[31]).collect()
        };
        assert_eq!(all(&index), (2..16).collect::<Vec<u8>>());
        let b = Salt::from("b");
        let salted = index.after(Some(&b), (Seq(0), target(3)));
        let salted: Vec<u8> = salted.map(|(at, _)| at.as_bytes()[31]).collect();
        assert_eq!(salted, [6, 9, 12, 15]);
        let by_expiry: Vec<u8> = index
            .by_expiry(Class::Mirror)
            .map(|it| it.as_bytes()[31])
            .collect();
        let even_then_odd = (0..16).step_by(2).chain((1..16).step_by(2));
        assert_eq!(by_expiry, even_then_odd.collect::<Vec<u8>>());
        let far: Vec<u8> = index
            .by_distance(Class::Mirror)
            .map(|it| it.as_bytes()[31])
            .collect();
        let mut expected: Vec<u8> = (0..16).collect();
        expected.sort_by_key(|n| core::cmp::Reverse(n ^ 7));
        assert_eq!((far, index.evictable()), (expected, 16));
        // Any one taken out leaves the others in every order.
        for n in [5, 0, 15, 8] {
            index.remove(&target(n));
            assert_eq!(index, index.recount());
            assert!(!all(&index).contains(&n));
        }
        assert_eq!(index.soonest(), Some((Mono(0), target(2))));
        assert_eq!(all(&index).len(), 11);
    }
}
