//! Which requests came already.

use std::collections::{BTreeSet, VecDeque};

/// Requests remembered. A relay that repeats an older one gains a refused handshake.
const REMEMBERED: usize = 8192;

/// The hashes of the last requests.
#[derive(Default)]
pub(crate) struct Replays {
    known: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Replays {
    /// Notes a request. Whether it is new.
    pub(crate) fn note(&mut self, hash: [u8; 32]) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
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
        let mut replays = Replays::default();
        for n in 0..10_000 {
            assert!(replays.note(hash(n)));
            assert!(!replays.note(hash(n)));
        }
        assert_eq!((replays.known.len(), replays.order.len()), (8192, 8192));
        assert!(!replays.note(hash(10_000 - 8192)));
        assert!(replays.note(hash(10_000 - 8193)));
    }
}
