//! The items held, and every order in which they are asked for. All changes go through
//! [`Index::insert`] and [`Index::remove`], which keep the orders and the counts together.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use crate::id::{Distance, NodeId, Target};
use crate::item::{Origin, Salt, Seq};
use crate::key::PublicKey;
use crate::store::config::{Tier, item_cost};
use crate::store::fill::StoreFill;
use crate::store::held::{Class, Held};
use crate::time::Mono;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Index {
    local: NodeId,
    items: BTreeMap<Target, Held>,
    /// By class. What never expires is in none.
    expiry: [BTreeSet<(Mono, Target)>; 3],
    /// By class, without [`Class::Exempt`]. A distance to this node stands for its target.
    far: [BTreeSet<Distance>; 2],
    sequences: BTreeSet<(Seq, Target)>,
    salts: BTreeSet<(Salt, Seq, Target)>,
    /// Owner items outside the tiers, by signer.
    publishers: BTreeMap<PublicKey, usize>,
    /// Items by the peer charged for them.
    peers: BTreeMap<PublicKey, usize>,
    fill: StoreFill,
}

impl Index {
    pub(super) fn new(local: NodeId) -> Self {
        Self {
            local,
            items: BTreeMap::new(),
            expiry: [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()],
            far: [BTreeSet::new(), BTreeSet::new()],
            sequences: BTreeSet::new(),
            salts: BTreeSet::new(),
            publishers: BTreeMap::new(),
            peers: BTreeMap::new(),
            fill: StoreFill::default(),
        }
    }

    pub(super) fn get(&self, target: &Target) -> Option<&Held> {
        self.items.get(target)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Target, &Held)> {
        self.items.iter()
    }

    pub(super) const fn fill(&self) -> &StoreFill {
        &self.fill
    }

    /// Owner items of `key` outside the tiers.
    pub(super) fn of_publisher(&self, key: &PublicKey) -> usize {
        self.publishers.get(key).copied().unwrap_or(0)
    }

    /// Items for which `peer` is charged.
    pub(super) fn of_peer(&self, peer: &PublicKey) -> usize {
        self.peers.get(peer).copied().unwrap_or(0)
    }

    /// Puts an item in its place and returns what was there.
    pub(super) fn insert(&mut self, target: Target, held: Held) -> Option<Held> {
        let before = self.remove(&target);
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
        if let Some(publisher) = publisher(&held) {
            *self.publishers.entry(publisher).or_default() += 1;
        }
        if let Some(peer) = held.charged {
            *self.peers.entry(peer).or_default() += 1;
        }
        for (count, n) in counts(&mut self.fill, &held) {
            *count += n;
        }
        self.items.insert(target, held);
        before
    }

    /// Takes an item out of every order.
    pub(super) fn remove(&mut self, target: &Target) -> Option<Held> {
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
        if let Some(publisher) = publisher(&held) {
            decrease(&mut self.publishers, &publisher);
        }
        if let Some(peer) = held.charged {
            decrease(&mut self.peers, &peer);
        }
        for (count, n) in counts(&mut self.fill, &held) {
            *count -= n;
        }
        Some(held)
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

    /// Items with sequences above `since`, by (sequence, target); of one salt or of all.
    pub(super) fn since(
        &self,
        salt: Option<&[u8]>,
        since: Seq,
    ) -> impl Iterator<Item = (&Target, &Held)> {
        let (first, last) = (Target::from_bytes([0; 32]), Target::from_bytes([0xff; 32]));
        let from = since.0.checked_add(1).map(Seq);
        let all = from.filter(|_| salt.is_none()).map(|from| {
            self.sequences
                .range((from, first)..)
                .map(|(_, target)| target)
        });
        let salted = from.zip(salt).map(|(from, salt)| {
            let salt = Salt::new(salt);
            let range = (
                Bound::Included((salt.clone(), from, first)),
                Bound::Included((salt, Seq(u64::MAX), last)),
            );
            self.salts.range(range).map(|(_, _, target)| target)
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
        fresh.fill.marks = self.fill.marks;
        fresh
    }

    pub(super) fn set_marks(&mut self, marks: usize) {
        self.fill.marks = marks;
    }
}

/// Whose quota an item counts against.
fn publisher(held: &Held) -> Option<PublicKey> {
    (held.origin() == Origin::Owner && held.tier == Tier::Public).then_some(held.item.key)
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

pub(super) fn decrease(counts: &mut BTreeMap<PublicKey, usize>, key: &PublicKey) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
