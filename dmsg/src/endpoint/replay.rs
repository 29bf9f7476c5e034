//! Detects stream requests that were seen before.

use std::collections::{BTreeSet, VecDeque};

/// Maximum number of requests remembered. A relay that replays an older one gains nothing: it lacks
/// the keys of the stream.
const MAX_HASHES: usize = 8192;

/// The hashes of the latest requests.
#[derive(Default)]
pub(crate) struct ReplayCache {
    known: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl ReplayCache {
    /// Records a request. Returns whether it is new.
    pub(crate) fn insert(&mut self, hash: [u8; 32]) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_HASHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_8192_are_remembered_and_no_more() {
        let hash = |n: u32| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            hash
        };
        let mut replays = ReplayCache::default();
        for n in 0..10_000 {
            assert!(replays.insert(hash(n)));
            assert!(!replays.insert(hash(n)));
        }
        assert_eq!((replays.known.len(), replays.order.len()), (8192, 8192));
        assert!(!replays.insert(hash(10_000 - 8192)));
        assert!(replays.insert(hash(10_000 - 8193)));
    }
}
