//! Items held: one merge rule, lives, tiers, quotas, deletions.
//!
//! The store judges; it neither verifies signatures nor writes anywhere. For each item that
//! arrives, call [`Store::precheck`]; on [`Precheck::Verify`] call [`Store::reserve`], have the
//! signature checked, then [`Store::release`] and, if it is valid, [`Store::admit`], which
//! judges again. On [`Precheck::Held`] call [`Store::confirm`] at once.
//!
//! An expired item is absent, whether it has been swept or not. Every operation takes
//! O(log n), but for those that say otherwise.

mod candidate;
mod config;
mod fill;
mod held;
mod index;
mod life;
mod marks;
pub mod merge;
mod page;
mod refusal;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub use candidate::{Admission, AdmissionKind, Candidate, ClaimedLife, Precheck, Reservation, Via};
pub use config::{RECORD_OVERHEAD, StoreConfig, Tier, item_cost};
pub use fill::StoreFill;
pub use held::Held;
pub use marks::MARK_LIFE;
pub use page::{DEFAULT_PAGE, Page};
pub use refusal::Refusal;

use crate::id::Target;
use crate::item::{Item, ItemError, Origin, Seq};
use crate::key::PublicKey;
use crate::record::StoredRecord;
use crate::time::{Mono, Time, Unix};
use held::Class;
use index::Index;
use life::Life;
use marks::Marks;
use merge::{Judgement, Rank, judge};

/// Most items that one admission evicts. Enough for one item of the largest size in place of
/// items of the smallest; a store whose limits were lowered shrinks by this many at a time.
pub const MAX_EVICTIONS: usize = 256;

/// Most bytes of items whose signatures are being checked.
pub const MAX_RESERVED_BYTES: usize = 16 << 20;

/// The items that a node holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    config: StoreConfig,
    index: Index,
    marks: Marks,
    /// Loaded while the clock was not set: vouched and expiry as recorded.
    unclocked: BTreeMap<Target, (Unix, Unix)>,
    reserved_bytes: usize,
    reserved_by_peer: BTreeMap<PublicKey, usize>,
    reserved_by_publisher: BTreeMap<PublicKey, usize>,
}

/// A place found for a candidate.
enum Place {
    /// The same item is there.
    Taken,
    /// It may go in, once these are gone.
    Free {
        held: Held,
        until: Option<(Unix, Unix)>,
        evict: Vec<Target>,
        conflict: bool,
    },
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: StoreConfig) -> Self {
        Self {
            index: Index::new(config.local),
            marks: Marks::new(config.deletion_marks),
            unclocked: BTreeMap::new(),
            reserved_bytes: 0,
            reserved_by_peer: BTreeMap::new(),
            reserved_by_publisher: BTreeMap::new(),
            config,
        }
    }

    /// What it was told.
    #[must_use]
    pub const fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Takes or leaves the rules of a full node. The limits stay as they are.
    pub fn set_full_node(&mut self, full_node: bool) {
        self.config.full_node = full_node;
    }

    /// Changes the limits on items, see [`StoreConfig`]. What is too much goes with the next
    /// admissions.
    pub fn set_limits(&mut self, max_items: usize, public_items: usize) {
        self.config.max_items = max_items;
        self.config.public_items = public_items;
    }

    /// Changes the tiers. Living items that enter one lose their expiry; items that leave one
    /// live TTL from when their signer last vouched for them. O(n log n).
    pub fn set_trust(
        &mut self,
        now: Time,
        whitelisted: BTreeSet<PublicKey>,
        trusted: BTreeSet<PublicKey>,
    ) {
        self.config.whitelisted = whitelisted;
        self.config.trusted = trusted;
        let changed: Vec<(Target, Held)> = self
            .index
            .iter()
            .filter(|(_, held)| {
                held.is_live(now)
                    && held.origin() == Origin::Owner
                    && self.config.tier(&held.item.key) != held.tier
            })
            .map(|(target, held)| (*target, held.clone()))
            .collect();
        for (target, mut held) in changed {
            held.tier = self.config.tier(&held.item.key);
            held.expires = (held.tier == Tier::Public).then(|| {
                let age = held.age(now).unwrap_or(self.config.ttl / 2);
                now.mono.plus(self.config.ttl.saturating_sub(age))
            });
            self.unclocked.remove(&target);
            self.index.insert(target, held);
        }
    }

    /// Whether an item that has just arrived is worth checking its signature. `nearer` is the
    /// number of live peers known that are nearer to the target than this node.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn precheck(
        &self,
        now: Time,
        candidate: &Candidate,
        nearer: usize,
    ) -> Result<Precheck, Refusal> {
        match self.place(now, candidate, nearer)? {
            Place::Taken => Ok(Precheck::Held),
            Place::Free { .. }
                if self.reserved_bytes + item_cost(&candidate.item) > MAX_RESERVED_BYTES =>
            {
                Err(Refusal::Busy)
            }
            Place::Free { .. } => Ok(Precheck::Verify),
        }
    }

    /// Holds quota for an item while its signature is checked: bytes; and, for a new target,
    /// a place in the quota of the peer that sent it, and in its publisher's if that is the
    /// same. Forgeries sent by others must not use up a publisher's quota.
    pub fn reserve(&mut self, candidate: &Candidate) -> Reservation {
        let new = self.index.get(&candidate.target).is_none();
        let reservation = Reservation {
            peer: candidate.via.charged().filter(|_| new),
            publisher: Some(candidate.item.key).filter(|_| {
                new && candidate.via.vouches(&candidate.item)
                    && candidate.item.origin_at(&candidate.target) == Origin::Owner
            }),
            bytes: item_cost(&candidate.item),
        };
        self.reserved_bytes += reservation.bytes;
        for (counts, key) in [
            (&mut self.reserved_by_peer, reservation.peer),
            (&mut self.reserved_by_publisher, reservation.publisher),
        ] {
            if let Some(key) = key {
                *counts.entry(key).or_default() += 1;
            }
        }
        reservation
    }

    /// Gives reserved quota back.
    pub fn release(&mut self, reservation: Reservation) {
        self.reserved_bytes -= reservation.bytes;
        if let Some(peer) = reservation.peer {
            index::decrease(&mut self.reserved_by_peer, &peer);
        }
        if let Some(publisher) = reservation.publisher {
            index::decrease(&mut self.reserved_by_publisher, &publisher);
        }
    }

    /// Takes an item whose signature (and bind signature, if any) is valid, or renews the one
    /// held. Everything is judged again, at this time.
    ///
    /// # Errors
    /// Why it is not taken; then nothing has changed.
    pub fn admit(
        &mut self,
        now: Time,
        candidate: Candidate,
        nearer: usize,
    ) -> Result<Admission, Refusal> {
        let (held, until, evict, conflict) = match self.place(now, &candidate, nearer)? {
            Place::Taken => return self.confirm_with(now, &candidate, true),
            Place::Free {
                held,
                until,
                evict,
                conflict,
            } => (held, until, evict, conflict),
        };
        for target in &evict {
            self.take(now, target);
        }
        let (origin, expires) = (held.origin(), held.expires);
        let target = candidate.target;
        let before = self.index.insert(target, held).filter(|h| h.is_live(now));
        self.marks.clear(&target);
        self.count_marks();
        match until {
            Some(until) => self.unclocked.insert(target, until),
            None => self.unclocked.remove(&target),
        };
        Ok(Admission {
            kind: AdmissionKind::Stored,
            origin,
            owner_takeover: origin == Origin::Owner
                && before.as_ref().map(Held::origin) == Some(Origin::Mirror),
            replaced: before.map(|before| before.item),
            conflict,
            evicted: evict,
            expires,
        })
    }

    /// For a candidate equal to the item held, whose signature needs no check: renews the item
    /// if its signer sent it. What is held keeps its signature.
    ///
    /// # Errors
    /// [`Refusal::NotHeld`] when the same item is not held, or why it is refused.
    pub fn confirm(&mut self, now: Time, candidate: &Candidate) -> Result<Admission, Refusal> {
        match self.place(now, candidate, 0)? {
            Place::Taken => self.confirm_with(now, candidate, false),
            Place::Free { .. } => Err(Refusal::NotHeld),
        }
    }

    /// Renews an item that its signer vouches for by sequence and hash alone, over its own
    /// stream, proven to be that of `by`. Returns the new expiry, none for the tiers.
    ///
    /// # Errors
    /// [`Refusal::Older`] or [`Refusal::Conflict`] when a higher rank is held,
    /// [`Refusal::Deleted`], or [`Refusal::NotHeld`]: send the item.
    pub fn renew(
        &mut self,
        now: Time,
        target: &Target,
        seq: Seq,
        content_hash: &[u8; 32],
        by: &PublicKey,
    ) -> Result<Option<Mono>, Refusal> {
        let Some(held) = self.get(now, target) else {
            return Err(match self.is_deleted(now, target, Origin::Owner, seq) {
                true => Refusal::Deleted,
                false => Refusal::NotHeld,
            });
        };
        let rank = held.rank;
        if rank.key() != by {
            return Err(Refusal::NotHeld);
        }
        if rank.seq() > seq {
            return Err(if held.is_tombstone() {
                Refusal::Deleted
            } else {
                Refusal::Older
            });
        }
        if rank.seq() < seq || rank.content_hash() != content_hash {
            return Err(Refusal::NotHeld);
        }
        if rank.origin() == Origin::Mirror && !self.mirror_allowed(by) {
            return Err(Refusal::MirrorNotAccepted);
        }
        Ok(self.vouch(now, target, Via::Signer(*by)))
    }

    /// The living item at `target`.
    #[must_use]
    pub fn get(&self, now: Time, target: &Target) -> Option<&Held> {
        self.index.get(target).filter(|held| held.is_live(now))
    }

    /// Drops an item and marks it as deleted, so that peers which still have it cannot bring
    /// it back for [`MARK_LIFE`].
    pub fn remove_local(&mut self, now: Time, target: &Target) -> Option<Held> {
        let held = self.drop_item(target)?;
        self.marks.add(now, *target, held.origin(), held.item.seq);
        self.count_marks();
        Some(held)
    }

    /// Removes at most `max` expired items and returns their targets; and drops at most `max`
    /// marks whose time is over, and gives at most `max` items that were loaded while the
    /// clock was not set their recorded expiry. Call again while [`Store::next_expiry`] is
    /// not in the future.
    pub fn sweep(&mut self, now: Time, max: usize) -> Vec<Target> {
        self.set_clock(now, max);
        let mut swept = Vec::new();
        while swept.len() < max {
            match self.index.soonest() {
                Some((expires, target)) if expires <= now.mono => {
                    self.take(now, &target);
                    swept.push(target);
                }
                _ => break,
            }
        }
        self.marks.sweep(now, max);
        self.count_marks();
        swept
    }

    /// When [`Store::sweep`] has something to do next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Mono> {
        let soonest = self.index.soonest().map(|(expires, _)| expires);
        soonest.into_iter().chain(self.marks.next_expiry()).min()
    }

    /// The item at `target` as storage keeps it, living or not.
    #[must_use]
    pub fn record(&self, now: Time, target: &Target) -> Option<StoredRecord> {
        let held = self.index.get(target)?;
        let recorded = self.unclocked.get(target).copied();
        Some(StoredRecord {
            target: *target,
            item: Item::clone(&held.item),
            vouched: match (recorded, held.age(now)) {
                (Some((vouched, _)), _) => vouched,
                (None, Some(age)) => now.unix.minus(age),
                (None, None) => Unix(0),
            },
            expires: match (recorded, held.remaining(now)) {
                (Some((_, expires)), _) => Some(expires),
                (None, remaining) => remaining.map(|remaining| now.unix.plus(remaining)),
            },
            bound: held.bound().copied(),
        })
    }

    /// What it holds, in numbers. Expired items count until they are swept.
    #[must_use]
    pub const fn fill(&self) -> StoreFill {
        *self.index.fill()
    }

    /// Compares every index and count with a recount. O(n log n), for tests.
    ///
    /// # Panics
    /// When they differ.
    pub fn check_invariants(&self) {
        assert_eq!(self.index, self.index.recount(), "index and recount differ");
        assert_eq!(self.fill().marks, self.marks.len());
        let max = self.config.deletion_marks;
        assert!(max == 0 || self.marks.len() <= max, "too many marks");
        let reserved: usize = self.reserved_by_publisher.values().sum();
        assert!(self.reserved_bytes >= reserved * RECORD_OVERHEAD);
        for (target, held) in self.index.iter() {
            assert_eq!(held.rank, Rank::of(target, &held.item));
            let exempt = held.origin() == Origin::Owner && held.tier != Tier::Public;
            assert_eq!(held.expires.is_none(), exempt, "expiry of {target}");
        }
        assert!(
            self.unclocked
                .keys()
                .all(|target| self.index.get(target).is_some())
        );
    }

    /// All rules, without changing anything.
    fn place(&self, now: Time, candidate: &Candidate, nearer: usize) -> Result<Place, Refusal> {
        let Candidate { target, item, .. } = candidate;
        item.check_sizes().map_err(|error| match error {
            ItemError::ValueTooLarge => Refusal::ValueTooLarge,
            ItemError::SaltTooLong => Refusal::SaltTooLong,
            ItemError::Signature(_) => Refusal::Signature,
        })?;
        let rank = candidate.rank();
        let origin = rank.origin();
        if origin == Origin::Mirror {
            let firsthand = matches!(candidate.via, Via::Storage { .. })
                || candidate.via.vouches(item)
                || candidate.bound.is_some();
            if !firsthand || !self.mirror_allowed(&item.key) {
                return Err(Refusal::MirrorNotAccepted);
            }
        }
        let held = self.get(now, target);
        let mut conflict = false;
        if let Some(held) = held {
            match judge(&held.rank, &rank) {
                Judgement::Same => return Ok(Place::Taken),
                Judgement::Newer { conflict: c } => conflict = c,
                Judgement::Older { .. } if held.is_tombstone() => return Err(Refusal::Deleted),
                Judgement::Older { conflict: true } => return Err(Refusal::Conflict),
                Judgement::Older { conflict: false } => return Err(Refusal::Older),
            }
        } else if self.is_deleted(now, target, origin, item.seq) {
            return Err(Refusal::Deleted);
        }
        let life = Life::of(now, self.config.ttl, candidate)?;
        let tier = self.config.tier(&item.key);
        let exempt = origin == Origin::Owner && tier != Tier::Public;
        let newcomer = Held {
            item: item.clone(),
            rank,
            bound: candidate.bound.map(Box::new),
            tier,
            pinned: candidate.via == Via::Local || item.key.id() == self.config.local,
            expires: (!exempt).then(|| life.expires(now)),
            vouched: life.vouched(now),
            charged: self.charged(&candidate.via),
        };
        if held.is_none() {
            self.check_quotas(&newcomer)?;
            self.check_distance(&newcomer, nearer)?;
        }
        let evict = self.room(target, &newcomer)?;
        let recorded = match candidate.via {
            Via::Storage { vouched, .. } => vouched,
            _ => Unix(0),
        };
        Ok(Place::Free {
            until: life.until.filter(|_| !exempt).map(|u| (recorded, u)),
            held: newcomer,
            evict,
            conflict,
        })
    }

    fn mirror_allowed(&self, signer: &PublicKey) -> bool {
        self.config.mirrors.contains(signer) || signer.id() == self.config.local
    }

    fn charged(&self, via: &Via) -> Option<PublicKey> {
        via.charged()
            .filter(|peer| !self.config.is_configured(peer))
    }

    /// Whether an item there would bring back what is deleted: by a mark, or by a tombstone
    /// that has expired but is not swept.
    fn is_deleted(&self, now: Time, target: &Target, origin: Origin, seq: Seq) -> bool {
        let swept = self.marks.covers(now, target, origin, seq);
        swept
            || self.index.get(target).is_some_and(|held| {
                held.is_tombstone()
                    && !held.is_live(now)
                    && (origin, seq) <= (Origin::Owner, held.item.seq)
            })
    }

    /// The quotas of a new target's publisher and sender.
    fn check_quotas(&self, newcomer: &Held) -> Result<(), Refusal> {
        let reserved =
            |counts: &BTreeMap<PublicKey, usize>, key| counts.get(key).copied().unwrap_or(0);
        let publisher = &newcomer.item.key;
        let used =
            self.index.of_publisher(publisher) + reserved(&self.reserved_by_publisher, publisher);
        let limit = self.config.items_per_publisher;
        if newcomer.class() == Class::Public && limit > 0 && used >= limit {
            return Err(Refusal::Quota);
        }
        let Some(peer) = &newcomer.charged else {
            return Ok(());
        };
        let used = self.index.of_peer(peer) + reserved(&self.reserved_by_peer, peer);
        let limit = self.config.items_per_peer;
        if limit > 0 && used >= limit {
            return Err(Refusal::Quota);
        }
        Ok(())
    }

    /// A regular node whose store fills up leaves new targets to those nearer.
    fn check_distance(&self, newcomer: &Held, nearer: usize) -> Result<(), Refusal> {
        let fill = self.index.fill();
        let fills_up = [
            (fill.items, self.config.max_items),
            (fill.bytes, self.config.max_bytes),
            (fill.public + fill.mirrors, self.config.public_items),
        ]
        .iter()
        .any(|(used, max)| *max > 0 && *used >= max - max / 5);
        let bound = !self.config.full_node && newcomer.class() != Class::Exempt;
        if bound && fills_up && nearer >= self.config.k {
            return Err(Refusal::Distance);
        }
        Ok(())
    }

    /// What has to go for a newcomer to fit: mirrors first, then owner items outside the
    /// tiers; the farthest, or on a full node the soonest to expire.
    fn room(&self, target: &Target, newcomer: &Held) -> Result<Vec<Target>, Refusal> {
        let (fill, class) = (self.index.fill(), newcomer.class());
        let pooled = |held: &Held| held.origin() == Origin::Mirror || held.tier == Tier::Public;
        let before = self.index.get(target);
        let over = |used: usize, added: usize, freed: usize, max: usize| match max {
            0 => 0,
            max => (used + added).saturating_sub(freed).saturating_sub(max),
        };
        let (items, pool, bytes) = before.map_or((0, 0, 0), |held| {
            (1, usize::from(pooled(held)), item_cost(&held.item))
        });
        let mut items = over(fill.items, 1, items, self.config.max_items);
        let mut pool = over(
            fill.public + fill.mirrors,
            usize::from(pooled(newcomer)),
            pool,
            self.config.public_items,
        );
        let cost = item_cost(&newcomer.item);
        let mut bytes = over(fill.bytes, cost, bytes, self.config.max_bytes);
        let mut evict = Vec::new();
        for victim in self.victims().filter(|victim| victim != target) {
            if (items, pool, bytes) == (0, 0, 0) || evict.len() == MAX_EVICTIONS {
                break;
            }
            let Some(held) = self.index.get(&victim) else {
                continue;
            };
            if self.goes_before(target, newcomer, &victim, held) {
                return Err(match self.config.full_node {
                    true => Refusal::Full,
                    false => Refusal::Distance,
                });
            }
            items = items.saturating_sub(1);
            pool = pool.saturating_sub(1);
            bytes = bytes.saturating_sub(item_cost(&held.item));
            evict.push(victim);
        }
        let fits = match class {
            Class::Exempt => bytes == 0,
            _ => (items, pool, bytes) == (0, 0, 0) || evict.len() == MAX_EVICTIONS,
        };
        if fits { Ok(evict) } else { Err(Refusal::Full) }
    }

    /// Everything that may be evicted, first to go first.
    fn victims(&self) -> impl Iterator<Item = Target> {
        [Class::Mirror, Class::Public]
            .into_iter()
            .flat_map(|class| {
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
    fn goes_before(&self, target: &Target, newcomer: &Held, victim: &Target, held: &Held) -> bool {
        let (ours, theirs) = (newcomer.class(), held.class());
        if ours != theirs {
            ours < theirs
        } else if self.config.full_node {
            (newcomer.expires, target) < (held.expires, victim)
        } else {
            target.distance(&self.config.local) > victim.distance(&self.config.local)
        }
    }

    fn confirm_with(
        &mut self,
        now: Time,
        candidate: &Candidate,
        verified: bool,
    ) -> Result<Admission, Refusal> {
        let target = &candidate.target;
        let held = self.get(now, target).ok_or(Refusal::NotHeld)?;
        let (origin, mut expires) = (held.origin(), held.expires);
        let kind = if candidate.via.vouches(&candidate.item) {
            expires = self.vouch(now, target, candidate.via);
            AdmissionKind::Renewed
        } else {
            AdmissionKind::Unchanged
        };
        if verified && candidate.bound.is_some() {
            self.change(target, |held| held.bound = candidate.bound.map(Box::new));
        }
        Ok(Admission {
            kind,
            origin,
            replaced: None,
            owner_takeover: false,
            conflict: false,
            evicted: Vec::new(),
            expires,
        })
    }

    /// The signer vouches for the item held, now.
    fn vouch(&mut self, now: Time, target: &Target, via: Via) -> Option<Mono> {
        let charged = self.charged(&via);
        let expires = now.mono.plus(self.config.ttl);
        self.unclocked.remove(target);
        self.change(target, |held| {
            held.expires = held.expires.map(|held| held.max(expires));
            held.vouched = Some(held::signed(now.mono));
            held.charged = charged;
            held.pinned |= via == Via::Local;
        });
        self.index.get(target).and_then(|held| held.expires)
    }

    fn change(&mut self, target: &Target, change: impl FnOnce(&mut Held)) {
        if let Some(mut held) = self.index.remove(target) {
            change(&mut held);
            self.index.insert(*target, held);
        }
    }

    /// Removes an item whose time is over or whose room is needed; a tombstone leaves a mark.
    fn take(&mut self, now: Time, target: &Target) {
        if let Some(held) = self.drop_item(target)
            && held.is_tombstone()
        {
            self.marks.add(now, *target, Origin::Owner, held.item.seq);
            self.count_marks();
        }
    }

    fn drop_item(&mut self, target: &Target) -> Option<Held> {
        self.unclocked.remove(target);
        self.index.remove(target)
    }

    fn count_marks(&mut self) {
        self.index.set_marks(self.marks.len());
    }

    /// Once the clock is set, items loaded before get the expiry that was recorded.
    fn set_clock(&mut self, now: Time, max: usize) {
        if !now.unix.is_set() {
            return;
        }
        for _ in 0..max {
            let Some((target, (vouched, expires))) = self.unclocked.pop_first() else {
                break;
            };
            let ttl = self.config.ttl;
            self.change(&target, |held| {
                let remaining = expires.since(now.unix).min(ttl);
                held.expires = Some(now.mono.plus(remaining));
                held.vouched = vouched.is_set().then(|| {
                    held::signed(now.mono)
                        .saturating_sub_unsigned(now.unix.since(vouched).as_nanos() as u64)
                });
            });
        }
    }
}
