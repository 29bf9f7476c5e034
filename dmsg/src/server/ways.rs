//! What is remembered of keys that have no session here: which server has them, or that none had
//! them a moment ago.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;

/// Keys remembered; beyond, what is forgotten soonest goes.
const MOST: usize = 8192;
/// How long no server is asked for a key that none had.
const MISSING: Duration = Duration::from_secs(30);
/// How long the server that had a key is asked first.
const FOUND: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// This server had it.
    Via(PublicKey),
    /// None had it.
    Missing,
}

/// The memory.
#[derive(Default)]
pub(super) struct Ways {
    known: BTreeMap<PublicKey, (Duration, Way)>,
    by_time: BTreeSet<(Duration, PublicKey)>,
}

impl Ways {
    pub(super) fn get(&self, now: Duration, key: &PublicKey) -> Option<Way> {
        let (until, way) = self.known.get(key)?;
        (*until > now).then_some(*way)
    }

    pub(super) fn set(&mut self, now: Duration, key: PublicKey, way: Way) {
        let life = match way {
            Way::Via(_) => FOUND,
            Way::Missing => MISSING,
        };
        self.forget(&key);
        if self.known.len() >= MOST
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

    /// A server was linked: what none had it may have.
    pub(super) fn forget_missing(&mut self) {
        let missing = self.known.iter().filter(|(_, it)| it.1 == Way::Missing);
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
    fn what_is_remembered_ends_and_is_bounded() {
        let mut ways = Ways::default();
        let at = Duration::from_secs;
        ways.set(at(0), key(1), Way::Missing);
        ways.set(at(0), key(2), Way::Via(key(9)));
        assert_eq!(ways.get(at(29), &key(1)), Some(Way::Missing));
        assert_eq!(ways.get(at(30), &key(1)), None);
        assert_eq!(ways.get(at(599), &key(2)), Some(Way::Via(key(9))));
        assert_eq!(ways.get(at(600), &key(2)), None);
        for n in 0..20_000 {
            ways.set(at(1), key(100 + n), Way::Missing);
            assert!(ways.known.len() <= MOST && ways.by_time.len() == ways.known.len());
        }
        // A way is kept longer than what was missing.
        assert_eq!(ways.get(at(2), &key(2)), Some(Way::Via(key(9))));
        ways.forget_missing();
        assert_eq!((ways.known.len(), ways.by_time.len()), (1, 1));
    }
}
