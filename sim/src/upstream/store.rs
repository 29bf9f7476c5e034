//! Upstream's store: ordered by sequence number alone, with any signer.
//!
//! Age counts from arrival (defect 14). An equal sequence number is also refused if the item is the
//! same (12) or the stored one has expired (38). A mirror overwrites any item with a lower sequence
//! number (10) and no limit applies to it (23, 37).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, ItemError, Seq};
use skydht_core::key::{PublicKey, SignatureError};
use skydht_core::store::Refusal;
use skydht_core::time::Mono;
use skydht_core::wire::WireItem;

use super::checks;

/// Page size if the caller names none.
const DEFAULT_PAGE: usize = 1_000;

/// Targets per signer if the configuration names no number.
const DEFAULT_PER_KEY: usize = 50;

/// Limits of the store. 0 means no limit only for `max_items`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum number of items. It does not apply to a full node.
    pub max_items: usize,
    /// Maximum number of items of signers that are neither whitelisted nor trusted, also on a full
    /// node.
    pub public_pool: usize,
    /// Maximum number of targets of such a signer, including mirrored copies; 0 means 50 (defect
    /// 38).
    pub items_per_key: usize,
    /// Lifetime of such an item from its arrival.
    pub item_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_items: 10_000,
            public_pool: 5_000,
            items_per_key: DEFAULT_PER_KEY,
            item_ttl: Duration::from_secs(2 * 3_600),
        }
    }
}

/// Reason why an item is refused. The texts are Go's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GoError {
    /// The item itself is invalid.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The stored item has at least this sequence number.
    #[error("dht: sequence number must increase")]
    Sequence,
    /// The signer has reached its maximum number of items.
    #[error("dht: rate limit exceeded for public key")]
    RateLimit,
}

impl GoError {
    /// The refusal that a peer's error text means.
    #[must_use]
    pub fn refusal(text: &str) -> Refusal {
        let known = [
            (Self::Sequence, Refusal::Older),
            (Self::RateLimit, Refusal::Quota),
            (ItemError::ValueTooLarge.into(), Refusal::ValueTooLarge),
            (ItemError::SaltTooLong.into(), Refusal::SaltTooLong),
        ];
        if let Some((_, refusal)) = known.iter().find(|(error, _)| error.to_string() == text) {
            return *refusal;
        }
        match text.starts_with("dht: invalid signature") {
            true => Refusal::Signature,
            false => Refusal::Other,
        }
    }
}

/// A page of items, ordered by sequence number and then by target.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// At most as many as requested, plus all further items with the last sequence number.
    pub items: Vec<(Target, Arc<Item>)>,
    /// Whether further items exist.
    pub has_more: bool,
}

#[derive(Clone, Debug)]
struct Held {
    item: Arc<Item>,
    stored: Mono,
    serial: u64,
}

/// Whose items are never evicted, never expire and have no rate limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// A configured signer.
    Whitelisted,
    /// A configured signer, treated in the same way.
    Trusted,
    /// All other signers.
    Public,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    limits: Limits,
    full_node: bool,
    whitelisted: BTreeSet<PublicKey>,
    trusted: BTreeSet<PublicKey>,
    items: BTreeMap<Target, Held>,
    by_seq: BTreeSet<(Seq, Target)>,
    /// Public items, the longest stored first. Go searches for the oldest one; the result is the
    /// same.
    public: BTreeSet<(Mono, u64, Target)>,
    by_key: BTreeMap<PublicKey, usize>,
    next_serial: u64,
}

impl Store {
    /// Creates an empty store.
    #[must_use]
    pub fn new(mut limits: Limits, full_node: bool) -> Self {
        if limits.items_per_key == 0 {
            limits.items_per_key = DEFAULT_PER_KEY;
        }
        Self {
            limits,
            full_node,
            whitelisted: BTreeSet::new(),
            trusted: BTreeSet::new(),
            items: BTreeMap::new(),
            by_seq: BTreeSet::new(),
            public: BTreeSet::new(),
            by_key: BTreeMap::new(),
            next_serial: 0,
        }
    }

    /// Removes the limit on all items or sets it again.
    pub fn set_full_node(&mut self, full: bool) {
        self.full_node = full;
    }

    /// Whether there is no limit on all items.
    #[must_use]
    pub fn is_full_node(&self) -> bool {
        self.full_node || self.limits.max_items == 0
    }

    /// Sets the signers with special treatment.
    pub fn set_trust(&mut self, whitelisted: BTreeSet<PublicKey>, trusted: BTreeSet<PublicKey>) {
        (self.whitelisted, self.trusted) = (whitelisted, trusted);
        let items = self.items.iter();
        let public = items.filter(|(_, held)| self.tier(&held.item.key) == Tier::Public);
        let order = public.map(|(target, held)| (held.stored, held.serial, *target));
        self.public = order.collect();
    }

    /// How items of `key` are treated.
    #[must_use]
    pub fn tier(&self, key: &PublicKey) -> Tier {
        if self.whitelisted.contains(key) {
            Tier::Whitelisted
        } else if self.trusted.contains(key) {
            Tier::Trusted
        } else {
            Tier::Public
        }
    }

    /// Stores an item at its own target.
    ///
    /// # Errors
    /// [`GoError`], in the order of Go's checks.
    pub fn put(&mut self, now: Mono, item: &WireItem) -> Result<(), GoError> {
        checks::verify(item)?;
        let Some(item) = item.item() else {
            return Err(ItemError::from(SignatureError::Recover).into());
        };
        let target = item.target();
        let held = self.items.get(&target).map(|held| held.item.seq);
        if held.is_some_and(|seq| item.seq <= seq) {
            return Err(GoError::Sequence);
        }
        let public = self.tier(&item.key) == Tier::Public;
        let count = self.by_key.get(&item.key).copied().unwrap_or_default();
        if public && held.is_none() && count >= self.limits.items_per_key {
            return Err(GoError::RateLimit);
        }
        self.insert(now, target, item);
        if public {
            while self.public.len() > self.limits.public_pool {
                self.evict_oldest();
            }
        }
        if !self.is_full_node() && self.items.len() > self.limits.max_items {
            self.evict_oldest();
        }
        Ok(())
    }

    /// Stores an item at the target that its sender gives. The sender does not learn whether it was
    /// stored (defect 11).
    pub fn put_mirror(&mut self, now: Mono, target: Target, item: &WireItem) -> bool {
        let held = self.items.get(&target).map(|held| held.item.seq);
        let taken = item
            .item()
            .filter(|it| checks::verify(item).is_ok() && held.is_none_or(|seq| it.seq > seq));
        if let Some(item) = taken {
            self.insert(now, target, item);
        }
        taken.is_some()
    }

    /// The item at `target`, unless it has expired.
    #[must_use]
    pub fn get(&self, now: Mono, target: &Target) -> Option<&Arc<Item>> {
        let held = self.items.get(target)?;
        let live = !self.is_expired(now, held);
        live.then_some(&held.item)
    }

    /// Removes expired items. Returns their number.
    pub fn sweep(&mut self, now: Mono) -> usize {
        let mut removed = 0;
        while let Some((_, _, target)) = self.public.first().copied() {
            let expired = self.items.get(&target);
            if !expired.is_some_and(|held| self.is_expired(now, held)) {
                break;
            }
            self.remove(&target);
            removed += 1;
        }
        removed
    }

    /// Items with this salt (empty: all) and a higher sequence number, including expired ones.
    #[must_use]
    pub fn page(&self, salt: &str, since: Seq, limit: i64) -> Page {
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let limit = limit.unwrap_or(DEFAULT_PAGE);
        let mut page = Page {
            items: Vec::new(),
            has_more: false,
        };
        let Some(first) = since.0.checked_add(1) else {
            return page;
        };
        for (seq, target) in self.by_seq.range((Seq(first), Target::default())..) {
            let Some(held) = self.items.get(target) else {
                continue;
            };
            if !salt.is_empty() && held.item.salt.as_bytes() != salt.as_bytes() {
                continue;
            }
            // Items with one sequence number are never split over pages.
            let last = page.items.last().map(|(_, item)| item.seq);
            if page.items.len() >= limit && last != Some(*seq) {
                page.has_more = true;
                break;
            }
            page.items.push((*target, held.item.clone()));
        }
        page
    }

    /// All items, by target.
    pub fn iter(&self) -> impl Iterator<Item = (&Target, &Arc<Item>)> {
        self.items.iter().map(|(target, held)| (target, &held.item))
    }

    /// Number of items, including expired ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the store is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn is_expired(&self, now: Mono, held: &Held) -> bool {
        let public = self.tier(&held.item.key) == Tier::Public;
        public && now.since(held.stored) > self.limits.item_ttl
    }

    fn insert(&mut self, now: Mono, target: Target, item: &Arc<Item>) {
        self.remove(&target);
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_seq.insert((item.seq, target));
        *self.by_key.entry(item.key).or_default() += 1;
        if self.tier(&item.key) == Tier::Public {
            self.public.insert((now, serial, target));
        }
        let held = Held {
            item: item.clone(),
            stored: now,
            serial,
        };
        self.items.insert(target, held);
    }

    fn remove(&mut self, target: &Target) {
        let Some(held) = self.items.remove(target) else {
            return;
        };
        self.by_seq.remove(&(held.item.seq, *target));
        self.public.remove(&(held.stored, held.serial, *target));
        if let Some(count) = self.by_key.get_mut(&held.item.key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(&held.item.key);
            }
        }
    }

    fn evict_oldest(&mut self) {
        if let Some((_, _, target)) = self.public.first().copied() {
            self.remove(&target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skydht_core::item::{Salt, Value};
    use skydht_core::key::SecretKey;

    fn item(key: u8, seq: u64, value: &[u8]) -> WireItem {
        let secret = SecretKey::from_bytes(&[key; 32]).unwrap();
        Item::sign(&secret, Seq(seq), Value::new(value), Salt::default()).into()
    }

    fn at(seconds: u64) -> Mono {
        Mono::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_mirror_of_the_highest_sequence_locks_the_owner_out() {
        let mut store = Store::new(Limits::default(), false);
        let owner = item(1, 5, b"mine");
        let target = owner.item().unwrap().target();
        assert_eq!(store.put(at(0), &owner), Ok(()));
        assert!(store.put_mirror(at(1), target, &item(2, u64::MAX, b"forged")));
        let next = store.put(at(2), &item(1, 6, b"mine"));
        assert_eq!(next, Err(GoError::Sequence));
        let held = store.get(at(2), &target).unwrap();
        assert_eq!(held.value.as_bytes(), b"forged");
    }

    #[test]
    fn the_same_again_is_refused_and_keeps_its_age() {
        let mut store = Store::new(Limits::default(), false);
        let mine = item(1, 5, b"mine");
        let target = mine.item().unwrap().target();
        assert_eq!(store.put(at(0), &mine), Ok(()));
        assert_eq!(store.put(at(7_199), &mine), Err(GoError::Sequence));
        assert!(store.get(at(7_200), &target).is_some());
        assert!(store.get(at(7_201), &target).is_none());
        // The item has expired but prevents a new one until the sweep.
        assert_eq!(store.put(at(7_201), &mine), Err(GoError::Sequence));
        assert_eq!((store.sweep(at(7_200)), store.sweep(at(7_201))), (0, 1));
        assert_eq!(store.put(at(7_201), &mine), Ok(()));
    }

    #[test]
    fn a_limit_of_no_items_a_key_means_fifty() {
        let limits = Limits {
            items_per_key: 0,
            ..Limits::default()
        };
        let mut store = Store::new(limits, false);
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let results = (0..51u8).map(|n| {
            let item = Item::sign(&secret, Seq(1), Value::new(b"v"), Salt::new(&[n]));
            store.put(at(0), &item.into())
        });
        let results: Vec<_> = results.collect();
        assert!(results[..50].iter().all(Result::is_ok));
        assert_eq!(results[50], Err(GoError::RateLimit));
    }

    #[test]
    fn nothing_comes_after_the_highest_sequence() {
        let mut store = Store::new(Limits::default(), false);
        store.put(at(0), &item(1, u64::MAX, b"v")).unwrap();
        assert_eq!(store.page("", Seq(0), 0).items.len(), 1);
        assert!(store.page("", Seq(u64::MAX), 0).items.is_empty());
    }

    #[test]
    fn error_texts_are_parsed_as_they_are_written() {
        let refusals = [
            (GoError::Sequence, Refusal::Older),
            (GoError::RateLimit, Refusal::Quota),
            (ItemError::SaltTooLong.into(), Refusal::SaltTooLong),
            (
                ItemError::from(SignatureError::OtherKey).into(),
                Refusal::Signature,
            ),
        ];
        for (error, refusal) in refusals {
            assert_eq!(GoError::refusal(&error.to_string()), refusal);
        }
        assert_eq!(GoError::refusal("dht: no room"), Refusal::Other);
    }
}
