//! Whether an item may enter: rules that change nothing.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cap::Cap;
use crate::id::Target;
use crate::item::{ItemError, Origin, Seq};
use crate::key::PublicKey;
use crate::store::Store;
use crate::store::candidate::{Candidate, Via};
use crate::store::config::{StoreConfig, item_cost};
use crate::store::life::ArrivalLife;
use crate::store::merge::{Judgement, judge};
use crate::store::refusal::Refusal;
use crate::store::stored_item::{Class, Standing, StoredItem, signed};
use crate::time::{Time, Unix};

/// What admitting a candidate would do.
pub(super) struct Evaluation {
    /// The item as it would be stored.
    pub(super) newcomer: StoredItem,
    /// When it was vouched for and when it expires, as recorded, if that has to wait until
    /// the clock is set.
    pub(super) awaiting_wall_clock: Option<(Unix, Unix)>,
    /// Items to evict.
    pub(super) evict: Vec<Target>,
    /// What it replaces is another content of the same signer and sequence.
    pub(super) conflict: bool,
}

impl Store {
    /// Evaluates a candidate; `None` when the same item is held.
    pub(super) fn evaluate(
        &self,
        now: Time,
        candidate: &Candidate,
        nearer: usize,
    ) -> Result<Option<Evaluation>, Refusal> {
        let Candidate {
            target, item, via, ..
        } = candidate;
        item.check_sizes().map_err(|error| match error {
            ItemError::ValueTooLarge => Refusal::ValueTooLarge,
            ItemError::SaltTooLong => Refusal::SaltTooLong,
            ItemError::Signature(_) => Refusal::Signature,
        })?;
        let rank = candidate.rank();
        let origin = rank.origin();
        if origin == Origin::Mirror {
            let travels = match via {
                Via::Storage { .. } => true,
                Via::Peer(peer) | Via::Pulled(peer) => self.config.mirror_relays.contains(peer),
                Via::Signer(_) | Via::Local => false,
            } || candidate.bound.is_some();
            if !(travels || via.vouches(item)) || !self.takes_mirrors_of(&item.key) {
                return Err(Refusal::MirrorNotAccepted);
            }
        }
        // The one search: each costs as much as hashing the item.
        let there = self.index.get(target);
        let stored = there.filter(|stored| stored.is_live(now));
        let unswept = there.filter(|_| stored.is_none());
        let mut conflict = false;
        if let Some(stored) = stored {
            match judge(&stored.rank(), &rank) {
                Judgement::Same => return Ok(None),
                Judgement::Newer { conflict: c } => conflict = c,
                Judgement::Older { .. } if stored.is_tombstone() => return Err(Refusal::Deleted),
                Judgement::Older { conflict: true } => return Err(Refusal::Conflict),
                Judgement::Older { conflict: false } => return Err(Refusal::Older),
            }
        } else if self.is_deleted_there(now, (target, unswept), origin, item.seq) {
            return Err(Refusal::Deleted);
        } else if self.has_expired(now, candidate, unswept, origin) {
            return Err(Refusal::Expired);
        }
        let tier = self.config.tier(&item.key);
        let life = ArrivalLife::of(now, self.config.ttl, candidate);
        let standing = self.standing(now, stored, (candidate, origin), &life);
        let mut newcomer = StoredItem::new(item.clone(), &rank, tier, standing);
        newcomer.pinned = *via == Via::Local || item.key.id() == self.config.local;
        newcomer.set_vouched(life.vouched(now));
        newcomer.charged = self.charged(target, via);
        if let Some(bound) = candidate.bound {
            newcomer.bind(bound);
        }
        let mut awaiting_wall_clock = None;
        if !newcomer.is_permanent() {
            if life.remaining.is_zero() {
                return Err(Refusal::Expired);
            }
            newcomer.set_expires(Some(now.mono.plus(life.remaining)));
            awaiting_wall_clock = life.awaiting_wall_clock;
            if let Some(before) = stored {
                newcomer.outlive(before);
            }
        }
        self.check_quotas(there, &newcomer)?;
        if stored.is_none() {
            self.check_distance(&newcomer, nearer)?;
        }
        let evict = self.room((target, there), &newcomer)?;
        Ok(Some(Evaluation {
            newcomer,
            awaiting_wall_clock,
            evict,
            conflict,
        }))
    }

    /// What an arriving item has of its predecessor's standing. Only storage is believed about
    /// the time before.
    fn standing(
        &self,
        now: Time,
        stored: Option<&StoredItem>,
        (candidate, origin): (&Candidate, Origin),
        life: &ArrivalLife,
    ) -> Standing {
        let arrived = match candidate.via {
            Via::Storage { .. } => life.vouched(now),
            _ => None,
        };
        let fresh = Standing::new(arrived.unwrap_or_else(|| signed(now.mono)));
        if origin == Origin::Mirror {
            return fresh;
        }
        let mut standing = stored
            .filter(|stored| stored.origin() == Origin::Owner)
            .map_or(fresh, StoredItem::standing);
        if candidate.via.vouches(&candidate.item) {
            standing.vouch(now.mono, self.config.ttl);
        }
        standing
    }

    pub(super) fn takes_mirrors_of(&self, signer: &PublicKey) -> bool {
        self.config.mirrors.contains(signer) || signer.id() == self.config.local
    }

    /// The peer to charge for what lies at `target` from now on; none for those that the
    /// operator named. A peer whose quota is used up can still bring a newer version: the one
    /// that is charged for the older stays charged.
    pub(super) fn charged(&self, target: &Target, via: &Via) -> Option<Arc<PublicKey>> {
        let peer = via
            .sender()
            .filter(|peer| !self.config.is_configured(peer))?;
        let has_room = self
            .config
            .items_per_peer
            .has_room(self.index.peers().get(&peer));
        match self.index.get(target) {
            Some(before) if !has_room => before.charged.clone(),
            _ => Some(self.index.peers().shared(peer)),
        }
    }

    /// Whether an item there would bring back what is deleted: by a marker, or by a tombstone
    /// that has expired but is not swept.
    pub(super) fn is_deleted(&self, now: Time, target: &Target, origin: Origin, seq: Seq) -> bool {
        let there = self.index.get(target);
        let unswept = there.filter(|stored| !stored.is_live(now));
        self.is_deleted_there(now, (target, unswept), origin, seq)
    }

    fn is_deleted_there(
        &self,
        now: Time,
        (target, unswept): (&Target, Option<&StoredItem>),
        origin: Origin,
        seq: Seq,
    ) -> bool {
        self.tombstones.covers(now, target, origin, seq)
            || unswept.is_some_and(|stored| {
                stored.is_tombstone() && (origin, seq) <= (stored.origin(), stored.item.seq)
            })
    }

    /// Whether an item has had its life here and comes back from a peer that does not say
    /// how old it is: Go's full nodes give a copy a new life at each reconciliation, so that
    /// what its owner abandoned would circulate for ever.
    fn has_expired(
        &self,
        now: Time,
        candidate: &Candidate,
        unswept: Option<&StoredItem>,
        origin: Origin,
    ) -> bool {
        let Candidate { target, item, .. } = candidate;
        let says_nothing = candidate.life.is_none()
            && !candidate.via.vouches(item)
            && !matches!(candidate.via, Via::Storage { .. });
        says_nothing
            && (self.expired_markers.covers(now, target, origin, item.seq)
                || unswept
                    .is_some_and(|stored| (origin, item.seq) <= (stored.origin(), stored.item.seq)))
    }

    /// The quotas of publisher and sender. What takes the place of an item that counts
    /// already needs none.
    fn check_quotas(
        &self,
        before: Option<&StoredItem>,
        newcomer: &StoredItem,
    ) -> Result<(), Refusal> {
        let publisher = &newcomer.item.key;
        let counted = before.and_then(StoredItem::publisher) == Some(*publisher);
        let limited = matches!(newcomer.class(), Class::Public | Class::Established);
        if limited && !counted {
            let reserved = self.reserved.publishers.get(publisher);
            let used = self.index.publishers().get(publisher) + reserved;
            if !self.config.items_per_publisher.has_room(used) {
                return Err(Refusal::Quota);
            }
        }
        if let Some(peer) = &newcomer.charged
            && before.is_none()
        {
            let used = self.index.peers().get(peer) + self.reserved.peers.get(peer);
            if !self.config.items_per_peer.has_room(used) {
                return Err(Refusal::Quota);
            }
        }
        Ok(())
    }

    /// A regular node whose store fills up leaves new targets to those nearer.
    fn check_distance(&self, newcomer: &StoredItem, nearer: usize) -> Result<(), Refusal> {
        let far = nearer >= self.config.k && !self.config.full_node;
        if far && self.is_filled(4, 5) && newcomer.class() != Class::Exempt {
            return Err(Refusal::Distance);
        }
        Ok(())
    }

    /// Whether so many parts of as many of any limit are taken, or more.
    pub(super) fn is_filled(&self, parts: u128, of: u128) -> bool {
        let fills = |(used, max): (usize, usize)| used as u128 * of >= max as u128 * parts;
        self.limits_in_use().any(fills)
    }

    /// Whether more is held than any limit allows.
    pub(super) fn is_over(&self) -> bool {
        self.limits_in_use().any(|(used, max)| used > max)
    }

    /// What is used of each limit that there is, and what may be.
    fn limits_in_use(&self) -> impl Iterator<Item = (usize, usize)> {
        let fill = self.index.fill();
        let limits = [
            (fill.items, self.config.max_items),
            (fill.bytes, self.config.max_bytes),
            (self.index.evictable(), self.config.public_items),
        ];
        limits
            .into_iter()
            .filter_map(|(used, cap)| Some((used, cap.most()?)))
    }

    /// What has to go for a newcomer to fit: mirrors first, then owner items outside the
    /// tiers, the established last; the farthest, or on a full node the soonest to expire. If the newcomer itself
    /// would be among them it is refused.
    fn room(
        &self,
        (target, before): (&Target, Option<&StoredItem>),
        newcomer: &StoredItem,
    ) -> Result<Vec<Target>, Refusal> {
        let mut over = self.excess(before, newcomer);
        let mut evict = Vec::new();
        if over.is_none() {
            // Finding the first victim costs a search.
            return Ok(evict);
        }
        for victim in self.victims().filter(|victim| victim != target) {
            if over.is_none() {
                return Ok(evict);
            }
            let Some(stored) = self.index.get(&victim) else {
                continue;
            };
            if self.goes_before(target, newcomer, &victim, stored) {
                return Err(match self.config.full_node {
                    true => Refusal::Full,
                    false => Refusal::Distance,
                });
            }
            over.item = false;
            over.bytes = over.bytes.saturating_sub(item_cost(&stored.item));
            evict.push(victim);
        }
        let exempt = newcomer.class() == Class::Exempt;
        if over.is_none() || (exempt && over.bytes == 0) {
            Ok(evict)
        } else {
            Err(Refusal::Full)
        }
    }

    /// What has to be freed. For the limits on numbers that is one item: so a store that is
    /// above them (because they were lowered, or by items of the tiers) does not grow, and an
    /// admission stays cheap.
    fn excess(&self, before: Option<&StoredItem>, newcomer: &StoredItem) -> Excess {
        let above = |cap: Cap, used: usize, of: &dyn Fn(&StoredItem) -> usize| {
            cap.excess((used + of(newcomer)).saturating_sub(before.map_or(0, of)))
        };
        let evictable = |stored: &StoredItem| usize::from(stored.class() != Class::Exempt);
        let StoreConfig {
            max_items,
            max_bytes,
            public_items,
            ..
        } = self.config;
        let items = above(max_items, self.index.fill().items, &|_| 1);
        let pool = above(public_items, self.index.evictable(), &evictable);
        Excess {
            item: items > 0 || pool > 0,
            bytes: above(max_bytes, self.index.fill().bytes, &|stored| {
                item_cost(&stored.item)
            }),
        }
    }

    /// Everything that may be evicted, first to go first.
    fn victims(&self) -> impl Iterator<Item = Target> {
        Class::EVICTABLE.into_iter().flat_map(|class| {
            let (full, regular) = match self.config.full_node {
                true => (Some(self.index.by_expiry(class)), None),
                false => (None, Some(self.index.by_distance(class))),
            };
            full.into_iter()
                .flatten()
                .chain(regular.into_iter().flatten())
        })
    }

    /// Whether a newcomer would itself be evicted before `victim`.
    fn goes_before(
        &self,
        target: &Target,
        newcomer: &StoredItem,
        victim: &Target,
        stored: &StoredItem,
    ) -> bool {
        let (ours, theirs) = (newcomer.class(), stored.class());
        if ours != theirs {
            ours < theirs
        } else if self.config.full_node {
            (newcomer.expires(), target) < (stored.expires(), victim)
        } else {
            let local = &self.config.local;
            target.distance(local) > victim.distance(local)
        }
    }
}

/// What has to be freed.
struct Excess {
    /// An item.
    item: bool,
    bytes: usize,
}

impl Excess {
    fn is_none(&self) -> bool {
        !self.item && self.bytes == 0
    }
}
