//! A bounded map keyed by peer that drops the least recently used entry.
//!
//! A node remembers thousands of peers and looks them up in every call, so memory and time both
//! matter: a hash table of indices into one vector, whose entries form a linked list in the order
//! of use.

use alloc::vec::Vec;
use core::hash::BuildHasher as _;
use core::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::key::PublicKey;
use crate::time::Mono;

/// Minimum interval between two updates of an entry's position in the LRU list, so that busy peers
/// cause no relinking.
const USE_GRAIN: Duration = Duration::from_secs(10);
/// The index that stands for no entry.
const NONE: u32 = u32::MAX;

struct Slot<T> {
    value: T,
    used: Mono,
    /// Index of the next less recently used entry.
    older: u32,
    /// Index of the next more recently used entry.
    newer: u32,
    key: PublicKey,
}

/// A map from peers to `T` that drops the least recently used entry.
pub(super) struct LruMap<T> {
    numbers: HashTable<u32>,
    slots: Vec<Slot<T>>,
    oldest: u32,
    newest: u32,
    hasher: FixedState,
    max: usize,
}

impl<T: Default> LruMap<T> {
    /// Creates a map of at most `max` peers, and at least one.
    pub(super) fn new(max: usize, hash_seed: u64) -> Self {
        Self {
            numbers: HashTable::new(),
            slots: Vec::new(),
            oldest: NONE,
            newest: NONE,
            hasher: FixedState::with_seed(hash_seed),
            max: max.clamp(1, NONE as usize),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn number(&self, key: &PublicKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let same = |number: &u32| self.slots[*number as usize].key == *key;
        self.numbers.find(hash, same).copied()
    }

    /// Returns the value of a peer. Does not count as an access.
    pub(super) fn get(&self, key: &PublicKey) -> Option<&T> {
        self.number(key)
            .map(|number| &self.slots[number as usize].value)
    }

    /// Returns the value of a peer, inserting the default if absent. Counts as an access.
    pub(super) fn get_or_default(&mut self, key: &PublicKey, now: Mono) -> &mut T {
        let number = match self.number(key) {
            Some(number) => {
                if now.since(self.slots[number as usize].used) >= USE_GRAIN {
                    self.unlink(number);
                    self.link_newest(number, now);
                }
                number
            }
            None => self.add(key, now),
        };
        &mut self.slots[number as usize].value
    }

    #[allow(clippy::cast_possible_truncation, reason = "at most NONE slots")]
    fn add(&mut self, key: &PublicKey, now: Mono) -> u32 {
        let number = if self.slots.len() >= self.max {
            let oldest = self.oldest;
            self.unlink(oldest);
            let slot = &mut self.slots[oldest as usize];
            slot.value = T::default();
            let forgotten = core::mem::replace(&mut slot.key, *key);
            let hash = self.hasher.hash_one(forgotten);
            if let Ok(entry) = self.numbers.find_entry(hash, |number| *number == oldest) {
                entry.remove();
            }
            oldest
        } else {
            // Grows by an eighth: doubling would leave up to half of the memory unused.
            if self.slots.len() == self.slots.capacity() {
                self.slots.reserve_exact(self.slots.len() / 8 + 8);
            }
            self.slots.push(Slot {
                value: T::default(),
                used: now,
                older: NONE,
                newer: NONE,
                key: *key,
            });
            (self.slots.len() - 1) as u32
        };
        self.link_newest(number, now);
        let hash = self.hasher.hash_one(key);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.numbers.insert_unique(hash, number, |number| {
            hasher.hash_one(slots[*number as usize].key)
        });
        number
    }

    fn unlink(&mut self, number: u32) {
        let slot = &self.slots[number as usize];
        let (older, newer) = (slot.older, slot.newer);
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, number: u32, now: Mono) {
        let newest = core::mem::replace(&mut self.newest, number);
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = number,
            None => self.oldest = number,
        }
        let slot = &mut self.slots[number as usize];
        slot.used = now;
        slot.older = newest;
        slot.newer = NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    fn key(n: u8) -> PublicKey {
        let mut bytes = [n; 33];
        bytes[0] = 2;
        PublicKey::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn it_grows_by_an_eighth_and_not_at_every_peer() {
        let mut recent = LruMap::<u64>::new(2_000, 5);
        let (mut before, mut grown) = (0, 0);
        for n in 0..2_000_u64 {
            let mut bytes = [2; 33];
            bytes[25..].copy_from_slice(&n.to_be_bytes());
            recent.get_or_default(&PublicKey::from_bytes(&bytes).unwrap(), Mono(n));
            let (len, room) = (recent.slots.len(), recent.slots.capacity());
            assert!(room <= len + len / 8 + 8, "{room} for {len}");
            grown += usize::from(room != before);
            before = room;
        }
        assert!(grown < 80, "{grown} times");
    }

    /// Compares the map with a simple model.
    #[test]
    fn it_forgets_what_was_used_least_recently() {
        let mut random = crate::Seed::from_number(1).stream("recent");
        for max in [1, 2, 3, 7, 20] {
            let mut recent = LruMap::<u64>::new(max, 5);
            let mut model: BTreeMap<u8, (u64, u64, u64)> = BTreeMap::new();
            for step in 1..5_000u64 {
                let n = random.below(12) as u8;
                let now = Mono(step * 4_000_000_000);
                if model.len() >= max && !model.contains_key(&n) {
                    let oldest = *model.iter().min_by_key(|(_, it)| (it.0, it.1)).unwrap().0;
                    model.remove(&oldest);
                }
                let entry = model.entry(n).or_insert((now.0, step, 0));
                if now.0 - entry.0 >= 10_000_000_000 {
                    (entry.0, entry.1) = (now.0, step);
                }
                entry.2 = step;
                *recent.get_or_default(&key(n), now) = step;
                assert_eq!(recent.len(), model.len());
                for n in 0..12 {
                    let expected = model.get(&n).map(|it| it.2);
                    assert_eq!(recent.get(&key(n)).copied(), expected, "{max} {step}");
                }
            }
        }
    }
}
