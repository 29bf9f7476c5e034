//! Peers that refused because they run no DHT, each remembered for a short time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;

/// Maximum number of refusals remembered. At the limit, the oldest makes room.
pub(super) const MAX_REFUSALS: usize = 1_024;

/// The peers that refused, and until when they are not dialled.
pub(super) struct Refusals {
    until: BTreeMap<PublicKey, Duration>,
    exempt: BTreeSet<PublicKey>,
    life: Duration,
    /// Opens that were not tried.
    pub(super) avoided: u64,
    /// Refusals that made room at the limit.
    pub(super) evicted: u64,
}

impl Refusals {
    pub(super) fn new(life: Duration, exempt: BTreeSet<PublicKey>) -> Self {
        Self {
            until: BTreeMap::new(),
            exempt,
            life,
            avoided: 0,
            evicted: 0,
        }
    }

    pub(super) fn record(&mut self, peer: PublicKey, now: Duration) {
        if self.exempt.contains(&peer) {
            return;
        }
        if self.until.len() >= MAX_REFUSALS && !self.until.contains_key(&peer) {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= MAX_REFUSALS && !self.until.contains_key(&peer) {
            let oldest = self.until.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.until.remove(&oldest);
                self.evicted += 1;
            }
        }
        self.until.insert(peer, now + self.life);
    }

    /// Returns whether an open should not be tried, and counts it then.
    pub(super) fn avoid(&mut self, peer: &PublicKey, now: Duration) -> bool {
        let Some(until) = self.until.get(peer) else {
            return false;
        };
        if *until <= now {
            self.until.remove(peer);
            return false;
        }
        self.avoided += 1;
        true
    }

    /// Forgets a refusal, because the peer has shown that it runs a DHT.
    pub(super) fn clear(&mut self, peer: &PublicKey) {
        self.until.remove(peer);
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(60);

    fn key(n: u16) -> PublicKey {
        let mut bytes = [2; 33];
        bytes[31..].copy_from_slice(&n.to_be_bytes());
        PublicKey::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn refusals_expire_are_cleared_and_spare_the_exempt() {
        let mut refusals = Refusals::new(LIFE, [key(3)].into());
        for n in 1..=3 {
            refusals.record(key(n), Duration::ZERO);
        }
        assert!(refusals.avoid(&key(1), LIFE - Duration::from_nanos(1)));
        assert!(!refusals.avoid(&key(1), LIFE));
        refusals.clear(&key(2));
        assert!(!refusals.avoid(&key(2), Duration::ZERO));
        assert!(!refusals.avoid(&key(3), Duration::ZERO));
        assert_eq!((refusals.avoided, refusals.len()), (1, 0));
    }

    #[test]
    fn at_the_limit_expired_refusals_make_room_and_are_not_counted() {
        let mut refusals = Refusals::new(LIFE, BTreeSet::new());
        for n in 0..MAX_REFUSALS as u16 {
            refusals.record(key(n), Duration::ZERO);
        }
        refusals.record(key(5_000), LIFE);
        assert_eq!((refusals.len(), refusals.evicted), (1, 0));
    }

    #[test]
    fn at_the_limit_the_oldest_makes_room() {
        let mut refusals = Refusals::new(LIFE, BTreeSet::new());
        for n in 0..1_024 {
            refusals.record(key(n), Duration::from_millis(2_000 - u64::from(n)));
        }
        refusals.record(key(7), Duration::from_secs(3)); // known: none makes room
        assert_eq!((refusals.len(), refusals.evicted), (MAX_REFUSALS, 0));
        refusals.record(key(5_000), Duration::from_secs(3));
        assert_eq!((refusals.len(), refusals.evicted), (MAX_REFUSALS, 1));
        assert!(!refusals.avoid(&key(1_023), Duration::from_secs(3)));
        assert!(refusals.avoid(&key(0), Duration::from_secs(3)));
    }
}
