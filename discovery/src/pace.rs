//! How often one caller over DMSG may ask, as Go's service has it: a token bucket for each key, kept
//! as the time at which it will be full again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

/// One token takes this long to come: 100 a second.
const INTERVAL: Duration = Duration::from_millis(10);
/// As many may be taken immediately after a pause.
const BURST: u32 = 200;
/// Callers remembered. At the limit the one whose bucket is fullest is forgotten.
const MOST_CALLERS: usize = 4096;

/// The buckets of all callers.
#[derive(Default)]
pub(super) struct Pace {
    full_at: BTreeMap<PublicKey, Mono>,
    by_time: BTreeSet<(Mono, PublicKey)>,
}

impl Pace {
    /// Takes a token of this caller's; whether there was one.
    pub(super) fn take(&mut self, now: Mono, caller: PublicKey) -> bool {
        let before = self.full_at.get(&caller).copied();
        let next = before.map_or(now, |at| at.max(now)).plus(INTERVAL);
        if next > now.plus(INTERVAL * BURST) {
            return false;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, caller));
        } else if self.full_at.len() >= MOST_CALLERS
            && let Some((_, fullest)) = self.by_time.pop_first()
        {
            self.full_at.remove(&fullest);
        }
        self.full_at.insert(caller, next);
        self.by_time.insert((next, caller));
        true
    }
}

#[cfg(test)]
mod tests {
    use skydht_core::key::SecretKey;

    use super::*;

    fn key(n: u16) -> PublicKey {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_bytes(&bytes).unwrap().public()
    }

    #[test]
    fn two_hundred_at_once_and_a_hundred_a_second_for_each_caller() {
        let mut pace = Pace::default();
        let now = Mono(7);
        assert!((0..200).all(|_| pace.take(now, key(1))));
        assert!(!pace.take(now, key(1)));
        assert!(pace.take(now, key(2)));
        let later = now.plus(Duration::from_secs(1));
        assert_eq!((0..300).filter(|_| pace.take(later, key(1))).count(), 100);
        let much_later = now.plus(Duration::from_secs(60));
        assert!((0..200).all(|_| pace.take(much_later, key(1))));
        assert!(!pace.take(much_later, key(1)));
    }

    #[test]
    fn at_the_limit_the_fullest_bucket_is_forgotten() {
        let mut pace = Pace::default();
        let now = Mono(7);
        while pace.take(now, key(0)) {}
        for n in 1..=5000 {
            assert!(pace.take(now, key(n)));
            assert!(pace.full_at.len() <= MOST_CALLERS);
            assert_eq!(pace.full_at.len(), pace.by_time.len());
        }
        assert!(!pace.take(now, key(0)), "who asks most is remembered");
    }
}
