//! Rate limits of callers, as in Go's services: a token bucket for each, represented by the time at
//! which it is full.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::time::Mono;

/// Maximum number of callers. At the limit, the one with the fullest bucket is forgotten.
const MOST_CALLERS: usize = 4096;

/// The token buckets of all callers.
pub(crate) struct RateLimit<K> {
    /// Time for one token to be added.
    interval: Duration,
    /// Number of tokens in a full bucket.
    burst: u32,
    full_at: BTreeMap<K, Mono>,
    by_time: BTreeSet<(Mono, K)>,
}

impl<K: Ord + Copy> RateLimit<K> {
    pub(crate) const fn new(interval: Duration, burst: u32) -> Self {
        Self {
            interval,
            burst,
            full_at: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    /// Takes a token from the caller's bucket; returns whether there was one.
    pub(crate) fn take(&mut self, now: Mono, caller: K) -> bool {
        let before = self.full_at.get(&caller).copied();
        let next = before.map_or(now, |at| at.max(now)).plus(self.interval);
        if next > now.plus(self.interval * self.burst) {
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
    use super::*;

    #[test]
    fn each_caller_has_a_burst_of_200_and_100_requests_per_second() {
        let mut pace = RateLimit::new(Duration::from_millis(10), 200);
        let now = Mono(7);
        assert!((0..200).all(|_| pace.take(now, 1)));
        assert!(!pace.take(now, 1));
        assert!(pace.take(now, 2));
        let later = now.plus(Duration::from_secs(1));
        assert_eq!((0..300).filter(|_| pace.take(later, 1)).count(), 100);
        let much_later = now.plus(Duration::from_secs(60));
        assert!((0..200).all(|_| pace.take(much_later, 1)));
        assert!(!pace.take(much_later, 1));
    }

    #[test]
    fn at_the_limit_the_fullest_bucket_is_forgotten() {
        let mut pace = RateLimit::new(Duration::from_millis(10), 200);
        let now = Mono(7);
        while pace.take(now, 0) {}
        for n in 1..=5000 {
            assert!(pace.take(now, n));
            assert!(pace.full_at.len() <= MOST_CALLERS);
            assert_eq!(pace.full_at.len(), pace.by_time.len());
        }
        assert!(!pace.take(now, 0), "who asks most is remembered");
    }
}
