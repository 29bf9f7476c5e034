//! Cache of routes to keys that have no session here: the server that has them, or that none had
//! them a moment ago.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;

/// Maximum number of keys; beyond it, the entry that expires first is removed.
const MAX_KEYS: usize = 8192;
/// How long no server is asked for a key that none had.
const MISSING_TTL: Duration = Duration::from_secs(30);
/// How long the server that had a key is asked first.
const FOUND_TTL: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CachedRoute {
    /// This server had the key.
    Via(PublicKey),
    /// No linked server had the key.
    Missing,
}

/// The cached routes, with when each expires.
#[derive(Default)]
pub(super) struct RouteCache {
    known: BTreeMap<PublicKey, (Duration, CachedRoute)>,
    by_time: BTreeSet<(Duration, PublicKey)>,
}

impl RouteCache {
    pub(super) fn get(&self, now: Duration, key: &PublicKey) -> Option<CachedRoute> {
        let (until, way) = self.known.get(key)?;
        (*until > now).then_some(*way)
    }

    pub(super) fn set(&mut self, now: Duration, key: PublicKey, way: CachedRoute) {
        let life = match way {
            CachedRoute::Via(_) => FOUND_TTL,
            CachedRoute::Missing => MISSING_TTL,
        };
        self.forget(&key);
        if self.known.len() >= MAX_KEYS
            && let Some((_, first)) = self.by_time.first().copied()
        {
            self.forget(&first);
        }
        self.known.insert(key, (now + life, way));
        self.by_time.insert((now + life, key));
    }

    fn forget(&mut self, key: &PublicKey) {
        if let Some((until, _)) = self.known.remove(key) {
            self.by_time.remove(&(until, *key));
        }
    }

    /// Removes all [`CachedRoute::Missing`], since a newly linked server may have those keys.
    pub(super) fn forget_missing(&mut self) {
        let missing = self
            .known
            .iter()
            .filter(|(_, it)| it.1 == CachedRoute::Missing);
        let missing: Vec<_> = missing.map(|(key, _)| *key).collect();
        for key in missing {
            self.forget(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> PublicKey {
        let mut bytes = [2; 33];
        bytes[1..5].copy_from_slice(&n.to_be_bytes());
        PublicKey::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn routes_expire_and_are_bounded() {
        let mut routes = RouteCache::default();
        let at = Duration::from_secs;
        routes.set(at(0), key(1), CachedRoute::Missing);
        routes.set(at(0), key(2), CachedRoute::Via(key(9)));
        assert_eq!(routes.get(at(29), &key(1)), Some(CachedRoute::Missing));
        assert_eq!(routes.get(at(30), &key(1)), None);
        assert_eq!(routes.get(at(599), &key(2)), Some(CachedRoute::Via(key(9))));
        assert_eq!(routes.get(at(600), &key(2)), None);
        for n in 0..20_000 {
            routes.set(at(1), key(100 + n), CachedRoute::Missing);
            assert!(routes.known.len() <= MAX_KEYS && routes.by_time.len() == routes.known.len());
        }
        // A route is kept longer than a missing key.
        assert_eq!(routes.get(at(2), &key(2)), Some(CachedRoute::Via(key(9))));
        routes.forget_missing();
        assert_eq!((routes.known.len(), routes.by_time.len()), (1, 1));
    }
}
