//! Items held: one merge rule, lives, tiers, quotas, deletions.
//!
//! The store judges; it neither verifies signatures nor writes anywhere. For each item that
//! arrives, call [`Store::precheck`]; on [`Precheck::Verify`] call [`Store::reserve`], have the
//! signature checked, then [`Store::release`] and, if it is valid, [`Store::admit`], which
//! judges again. On [`Precheck::Held`] call [`Store::confirm`] without a check.
//!
//! An expired item is absent, whether it has been swept or not.
//!
//! # Costs
//!
//! Every operation takes O(log n) of n items, but for those that say otherwise. A new item is hashed
//! (value and salt, key and salt, and its version for the fingerprints) and enters four ordered
//! trees: of all items, by expiry, by sequence, and by salt; on a regular node a fifth, by distance.
//! When it goes, it leaves them all. A renewal moves it in the tree by expiry alone. With a million
//! items most of the time is spent waiting for the lower nodes of these trees, which no cache holds:
//! a put takes some twice as long as with 100,000 (BENCHMARKS.md). Memory grows by some 480 bytes an
//! item beyond its value, the same at every size.
//!
//! Evicting costs a search for each item that goes, at most [`MAX_EVICTIONS`]; sweeping, one for each
//! expired item, at most as many as the caller says.

mod admission;
mod candidate;
mod config;
mod fill;
mod index;
mod key_counts;
mod life;
mod list;
mod marker_changes;
mod markers;
pub mod merge;
mod page;
mod refusal;
mod stored_item;
mod sync_view;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

pub use candidate::{Admission, AdmissionKind, Candidate, Precheck, Reservation, Via};
pub use config::{RECORD_OVERHEAD, StoreConfig, Tier, item_cost};
pub use fill::StoreFill;
pub use list::{Filter, ListPage, Listed};
pub use markers::MARKER_LIFE;
pub use page::{DEFAULT_PAGE, Page, PageEnd, PageReader};
pub use refusal::Refusal;
pub use stored_item::StoredItem;
pub use sync_view::SyncView;

use crate::cap::Cap;
use crate::id::Target;
use crate::item::{Item, MAX_SALT_LEN, MAX_VALUE_LEN, Origin, Salt, Seq};
use crate::key::PublicKey;
use crate::record::StoredRecord;
use crate::time::{Mono, Time, Unix, nanos};
use index::Index;
use key_counts::KeyCounts;
use life::ArrivalLife;
use markers::Markers;
use merge::Rank;
use stored_item::Class;

/// Most items that one admission evicts: the largest item in place of the smallest ones.
pub const MAX_EVICTIONS: usize = (MAX_VALUE_LEN + MAX_SALT_LEN).div_ceil(RECORD_OVERHEAD) + 1;

/// Most bytes of items whose signatures are being checked.
pub const MAX_RESERVED_BYTES: usize = 16 << 20;

/// [`item_cost`] of the largest item.
pub const MAX_ITEM_COST: usize = MAX_VALUE_LEN + MAX_SALT_LEN + RECORD_OVERHEAD;

/// Pause between looks whether the wall clock is set, while items wait for that.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// The items that a node holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    config: StoreConfig,
    index: Index,
    /// What was deleted, by its owner or here.
    tombstones: Markers,
    /// Owner items that expired.
    expired_markers: Markers,
    /// Loaded while the clock was not set: vouched and expiry as recorded.
    awaiting_wall_clock: BTreeMap<Target, (Unix, Unix)>,
    /// When to see whether the clock is set by now.
    clock_check: Option<Mono>,
    reserved: Reserved,
}

/// What is taken by items whose signatures are being checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Reserved {
    bytes: usize,
    peers: KeyCounts,
    publishers: KeyCounts,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: StoreConfig) -> Self {
        Self {
            index: Index::new(config.local, config.full_node),
            tombstones: Markers::new(config.deletion_marks),
            expired_markers: Markers::new(config.deletion_marks),
            awaiting_wall_clock: BTreeMap::new(),
            clock_check: None,
            reserved: Reserved::default(),
            config,
        }
    }

    /// What it was given.
    #[must_use]
    pub const fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Takes or leaves the rules of a full node. The limits stay as they are. O(n log n) when it
    /// becomes a regular node, which evicts by distance.
    pub fn set_full_node(&mut self, full_node: bool) {
        self.config.full_node = full_node;
        self.index.set_full_node(full_node);
    }

    /// Changes the limits on items, see [`StoreConfig`]. A store that holds more does not grow;
    /// it shrinks as items expire, or by [`Store::trim`].
    pub fn set_limits(&mut self, max_items: Cap, public_items: Cap) {
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
        let changed: Vec<(Target, StoredItem)> = self
            .index
            .range(Target::default())
            .filter(|(_, stored)| {
                stored.is_live(now)
                    && stored.origin() == Origin::Owner
                    && self.config.tier(&stored.item.key) != stored.tier
            })
            .map(|(target, stored)| (*target, stored.clone()))
            .collect();
        for (target, mut stored) in changed {
            stored.tier = self.config.tier(&stored.item.key);
            let expires = (stored.tier == Tier::Public).then(|| {
                let age = stored.age(now).unwrap_or(self.config.ttl / 2);
                now.mono.plus(self.config.ttl.saturating_sub(age))
            });
            stored.set_expires(expires);
            self.awaiting_wall_clock.remove(&target);
            self.index.insert(target, stored);
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
        if self.evaluate(now, candidate, nearer)?.is_none() && self.is_proven(candidate) {
            return Ok(Precheck::Held);
        }
        if self.reserved.bytes + item_cost(&candidate.item) > MAX_RESERVED_BYTES {
            return Err(Refusal::Busy);
        }
        Ok(Precheck::Verify)
    }

    /// Whether the signatures of a candidate equal to the item held are those held, which were
    /// checked.
    fn is_proven(&self, candidate: &Candidate) -> bool {
        self.index.get(&candidate.target).is_some_and(|stored| {
            stored.item.signature == candidate.item.signature
                && (candidate.bound.is_none() || candidate.bound.as_ref() == stored.bound())
        })
    }

    /// Bytes of the items whose signatures are being checked; at most [`MAX_RESERVED_BYTES`].
    #[must_use]
    pub const fn reserved_bytes(&self) -> usize {
        self.reserved.bytes
    }

    /// Holds quota for an item while its signature is checked: bytes; and, for a new target,
    /// a place in the quota of the peer that sent it, and in its publisher's if that is the
    /// same. Forgeries sent by others must not use up a publisher's quota.
    pub fn reserve(&mut self, candidate: &Candidate) -> Reservation {
        let Candidate {
            target, item, via, ..
        } = candidate;
        let before = self.index.get(target);
        let own = via.vouches(item) && item.origin_at(target) == Origin::Owner;
        let counted = before.and_then(StoredItem::publisher) == Some(item.key);
        let reservation = Reservation {
            peer: self
                .charged(target, via)
                .filter(|_| before.is_none())
                .map(|peer| *peer),
            publisher: (own && !counted).then_some(item.key),
            bytes: item_cost(item),
        };
        self.reserved.bytes += reservation.bytes;
        self.reserved.peers.add(reservation.peer);
        self.reserved.publishers.add(reservation.publisher);
        reservation
    }

    /// Gives reserved quota back.
    pub fn release(&mut self, reservation: Reservation) {
        self.reserved.bytes -= reservation.bytes;
        self.reserved.peers.remove(reservation.peer.as_ref());
        self.reserved
            .publishers
            .remove(reservation.publisher.as_ref());
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
        let Some(evaluation) = self.evaluate(now, &candidate, nearer)? else {
            if let Some(bound) = candidate.bound {
                self.index
                    .change(&candidate.target, |stored| stored.bind(bound));
            }
            return self.keep(now, &candidate);
        };
        for target in &evaluation.evict {
            self.take(now, target);
        }
        let target = candidate.target;
        let (origin, expires) = (evaluation.newcomer.origin(), evaluation.newcomer.expires());
        let before = self.index.insert(target, evaluation.newcomer);
        let before = before.filter(|before| before.is_live(now));
        self.awaiting_wall_clock.remove(&target);
        if let Some(recorded) = evaluation.awaiting_wall_clock {
            self.awaiting_wall_clock.insert(target, recorded);
            self.clock_check.get_or_insert(now.mono.plus(CLOCK_CHECK));
        }
        self.tombstones.clear(&target);
        self.expired_markers.clear(&target);
        Ok(Admission {
            kind: AdmissionKind::Stored,
            origin,
            owner_takeover: origin == Origin::Owner
                && before.as_ref().map(StoredItem::origin) == Some(Origin::Mirror),
            replaced: before.map(|before| before.item),
            conflict: evaluation.conflict,
            evicted: evaluation.evict,
            expires,
        })
    }

    /// For a candidate equal to the item held, signature included, which needs no check: renews the item
    /// if its signer sent it. What is held keeps its signature.
    ///
    /// # Errors
    /// [`Refusal::NotHeld`] when the same item is not held or has another signature, or why it is
    /// refused.
    pub fn confirm(&mut self, now: Time, candidate: &Candidate) -> Result<Admission, Refusal> {
        match self.evaluate(now, candidate, 0)? {
            None if self.is_proven(candidate) => self.keep(now, candidate),
            _ => Err(Refusal::NotHeld),
        }
    }

    /// Renews an item that its signer vouches for by sequence and hash alone, over its own
    /// stream, proven to be that of `by`. Returns the new expiry, none for the tiers.
    ///
    /// # Errors
    /// [`Refusal::NotHeld`]: send the item. [`Refusal::Older`], [`Refusal::Deleted`] or
    /// [`Refusal::MirrorNotAccepted`]: do not.
    pub fn renew(
        &mut self,
        now: Time,
        target: &Target,
        seq: Seq,
        content_hash: &[u8; 32],
        by: &PublicKey,
    ) -> Result<Option<Mono>, Refusal> {
        let Some(stored) = self.get(now, target) else {
            let deleted = self.is_deleted(now, target, Origin::Owner, seq);
            return Err(if deleted {
                Refusal::Deleted
            } else {
                Refusal::NotHeld
            });
        };
        let rank = stored.rank();
        if rank.key() != by {
            return Err(Refusal::NotHeld);
        }
        if rank.seq() > seq {
            return Err(if stored.is_tombstone() {
                Refusal::Deleted
            } else {
                Refusal::Older
            });
        }
        if rank.seq() < seq || rank.content_hash() != content_hash {
            return Err(Refusal::NotHeld);
        }
        if rank.origin() == Origin::Mirror && !self.takes_mirrors_of(by) {
            return Err(Refusal::MirrorNotAccepted);
        }
        Ok(self.vouch(now, target, Via::Signer(*by)))
    }

    /// The living item at `target`.
    #[must_use]
    pub fn get(&self, now: Time, target: &Target) -> Option<&StoredItem> {
        self.index.get(target).filter(|stored| stored.is_live(now))
    }

    /// The owner sequence up to which items at `target` are refused as deleted.
    #[must_use]
    pub fn deleted_up_to(&self, now: Time, target: &Target) -> Option<Seq> {
        let unswept = self
            .index
            .get(target)
            .filter(|stored| stored.is_tombstone());
        let marked = self.tombstones.seq(now, target);
        marked.max(unswept.map(|stored| stored.item.seq))
    }

    /// Removes at most `max` expired items and returns their targets; and drops at most `max`
    /// markers whose time is over; and, once the wall clock is set, gives at most `max` items that
    /// were loaded before the expiry that was recorded. Call again while
    /// [`Store::next_expiry`] is not in the future.
    pub fn sweep(&mut self, now: Time, max: usize) -> Vec<Target> {
        self.set_clock(now, max);
        let swept = self.index.expired(now.mono, max);
        for target in &swept {
            self.take(now, target);
        }
        self.tombstones.sweep(now, max);
        self.expired_markers.sweep(now, max);
        swept
    }

    /// Lets go of what a regular node would not hold, mirrors first and the farthest first: all
    /// above the limits on items and bytes, and above four fifths of them what at least k live
    /// peers are nearer to. `nearer` says how many are known for a target. Nothing of the tiers goes
    /// and nothing of this node's own. Returns the targets, at most `max`: fewer when it is done.
    pub fn trim(
        &mut self,
        now: Time,
        max: usize,
        nearer: impl Fn(&Target) -> usize,
    ) -> Vec<Target> {
        let mut gone = Vec::new();
        if self.config.full_node {
            return gone;
        }
        for class in Class::EVICTABLE {
            while gone.len() < max && self.is_filled(4, 5) {
                let Some(target) = self.index.by_distance(class).next() else {
                    break;
                };
                if !self.is_over() && nearer(&target) < self.config.k {
                    break;
                }
                self.take(now, &target);
                gone.push(target);
            }
        }
        gone
    }

    /// When [`Store::sweep`] has something to do next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Mono> {
        let items = self.index.soonest().map(|(expires, _)| expires);
        let others = [
            self.tombstones.next_expiry(),
            self.expired_markers.next_expiry(),
            self.clock_check,
        ];
        items.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The item at `target` as storage keeps it, living or not.
    #[must_use]
    pub fn record(&self, now: Time, target: &Target) -> Option<StoredRecord> {
        let stored = self.index.get(target)?;
        let recorded = self.awaiting_wall_clock.get(target).copied();
        Some(StoredRecord {
            target: *target,
            item: Item::clone(&stored.item),
            vouched: match (recorded, stored.age(now)) {
                (Some((vouched, _)), _) => vouched,
                (None, Some(age)) => now.unix.minus(age),
                (None, None) => Unix(0),
            },
            expires: match (recorded, stored.remaining(now)) {
                (Some((_, expires)), _) => Some(expires),
                (None, remaining) => remaining.map(|remaining| now.unix.plus(remaining)),
            },
            bound: stored.bound().copied(),
        })
    }

    /// What it holds, in numbers. Expired items count until they are swept.
    #[must_use]
    pub fn fill(&self) -> StoreFill {
        StoreFill {
            marks: self.tombstones.len(),
            expired_marks: self.expired_markers.len(),
            ..*self.index.fill()
        }
    }

    /// Everything held from a target on, in order; expired items too, until they are swept.
    pub fn range(&self, from: Target) -> impl Iterator<Item = (&Target, &StoredItem)> {
        self.index.range(from)
    }

    /// The items with a salt and a sequence above `since`, in order of their sequences; expired
    /// ones too, until they are swept.
    pub fn of_salt(&self, salt: &Salt, since: Seq) -> impl Iterator<Item = &StoredItem> {
        let last = Target::from_bytes([0xff; 32]);
        let items = self.index.after(Some(salt), (since, last));
        items.map(|(_, stored)| stored)
    }

    /// Compares every index and count with a recount. O(n log n), for tests.
    ///
    /// # Panics
    /// When they differ.
    pub fn check_invariants(&self) {
        assert_eq!(self.index, self.index.recount(), "index and recount differ");
        for markers in [&self.tombstones, &self.expired_markers] {
            markers.check_invariants();
        }
        assert!(self.reserved.bytes >= self.reserved.publishers.total() * RECORD_OVERHEAD);
        for (target, stored) in self.index.range(Target::default()) {
            assert_eq!(stored.rank(), Rank::of(target, &stored.item));
            assert_eq!(
                stored.expires().is_none(),
                stored.is_permanent(),
                "{target}"
            );
        }
        assert!(
            self.awaiting_wall_clock
                .keys()
                .all(|target| self.index.get(target).is_some())
        );
    }

    /// Keeps the equal item held, and renews it if the candidate's signer sent it.
    fn keep(&mut self, now: Time, candidate: &Candidate) -> Result<Admission, Refusal> {
        let target = &candidate.target;
        let stored = self.get(now, target).ok_or(Refusal::NotHeld)?;
        let (origin, mut expires) = (stored.origin(), stored.expires());
        let mut kind = AdmissionKind::Unchanged;
        if candidate.via.vouches(&candidate.item) {
            kind = AdmissionKind::Renewed;
            expires = self.vouch(now, target, candidate.via);
        } else if matches!(candidate.via, Via::Storage { .. }) {
            expires = self.extend_as_recorded(now, candidate);
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
        let charged = self.charged(target, &via);
        let ttl = self.config.ttl;
        let expires = now.mono.plus(ttl);
        self.awaiting_wall_clock.remove(target);
        self.index.change(target, |stored| {
            stored.set_expires(stored.expires().map(|stored| stored.max(expires)));
            stored.set_vouched(Some(stored_item::signed(now.mono)));
            stored.charged = charged;
            stored.pinned |= via == Via::Local;
            if stored.origin() == Origin::Owner {
                let mut standing = stored.standing();
                standing.vouch(now.mono, ttl);
                stored.set_standing(standing);
            }
        });
        self.index.get(target).and_then(StoredItem::expires)
    }

    /// Another node that shares the storage heard the signer vouch for the item held.
    fn extend_as_recorded(&mut self, now: Time, candidate: &Candidate) -> Option<Mono> {
        let life = ArrivalLife::of(now, self.config.ttl, candidate);
        let expires = now.mono.plus(life.remaining);
        let target = &candidate.target;
        let stored = self.index.get(target)?.expires();
        if life.awaiting_wall_clock.is_none() && stored.is_some_and(|stored| stored < expires) {
            self.awaiting_wall_clock.remove(target);
            self.index.change(target, |stored| {
                stored.set_expires(Some(expires));
                stored.set_vouched(stored.vouched_at().max(life.vouched(now)));
            });
            return Some(expires);
        }
        stored
    }

    /// Removes an item whose time is over or whose room is needed. A tombstone leaves a marker,
    /// and so does what expired.
    fn take(&mut self, now: Time, target: &Target) {
        let Some(stored) = self.drop_item(target) else {
            return;
        };
        let markers = if stored.is_tombstone() {
            &mut self.tombstones
        } else if stored.origin() == Origin::Owner && !stored.is_live(now) {
            &mut self.expired_markers
        } else {
            return;
        };
        markers.add(
            now,
            *target,
            stored.class(),
            (Origin::Owner, stored.item.seq),
        );
    }

    fn drop_item(&mut self, target: &Target) -> Option<StoredItem> {
        self.awaiting_wall_clock.remove(target);
        self.index.remove(target)
    }

    /// Once the clock is set, items loaded before get the expiry that was recorded.
    fn set_clock(&mut self, now: Time, max: usize) {
        if self.clock_check.is_none_or(|at| now.mono < at) && !now.unix.is_set() {
            return;
        }
        let max = if now.unix.is_set() { max } else { 0 };
        for _ in 0..max {
            let Some((target, (vouched, expires))) = self.awaiting_wall_clock.pop_first() else {
                break;
            };
            let ttl = self.config.ttl;
            self.index.change(&target, |stored| {
                let remaining = expires.since(now.unix).min(ttl);
                stored.set_expires(Some(now.mono.plus(remaining)));
                let vouched = vouched.is_set().then(|| {
                    let age = nanos(now.unix.since(vouched));
                    stored_item::signed(now.mono).saturating_sub_unsigned(age)
                });
                stored.set_vouched(vouched);
            });
        }
        let pause = if now.unix.is_set() {
            Duration::ZERO
        } else {
            CLOCK_CHECK
        };
        self.clock_check = (!self.awaiting_wall_clock.is_empty()).then(|| now.mono.plus(pause));
    }
}

#[cfg(test)]
mod tests;
