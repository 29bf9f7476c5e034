//! Which content of which target this node has seen in Redis, or written there.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use skydht_core::id::Target;

/// Targets remembered; the content of others is taken for new whenever it is seen.
const MOST: usize = 2_000_000;

#[derive(Clone, Copy)]
struct Seen {
    /// Of the content, keyed: writers cannot choose two contents alike.
    hash: u64,
    /// The scan in which it was seen last.
    scan: u32,
}

/// Contents seen, some 60 bytes each.
pub(super) struct Known {
    seen: HashMap<Target, Seen>,
    hasher: RandomState,
    scan: u32,
    most: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            seen: HashMap::new(),
            hasher: RandomState::new(),
            scan: 0,
            most: MOST,
        }
    }
}

impl Known {
    /// Notes a content; whether it is new here.
    pub(super) fn note(&mut self, target: &Target, content: &[u8]) -> bool {
        let seen = Seen {
            hash: self.hasher.hash_one(content),
            scan: self.scan,
        };
        if let Some(before) = self.seen.get_mut(target) {
            return std::mem::replace(before, seen).hash != seen.hash;
        }
        if self.seen.len() < self.most {
            self.seen.insert(*target, seen);
        }
        true
    }

    /// Whether this was the last content seen.
    pub(super) fn is_last(&self, target: &Target, content: &[u8]) -> bool {
        let hash = self.hasher.hash_one(content);
        self.seen.get(target).is_some_and(|seen| seen.hash == hash)
    }

    /// What is no longer there.
    pub(super) fn forget(&mut self, target: &Target) {
        self.seen.remove(target);
    }

    /// A scan begins, which will note everything that is there.
    pub(super) fn begin_scan(&mut self) {
        self.scan = self.scan.wrapping_add(1);
    }

    /// A scan has ended: what it did not find is forgotten, and returned.
    pub(super) fn end_scan(&mut self) -> Vec<Target> {
        let scan = self.scan;
        self.seen
            .extract_if(|_, seen| seen.scan != scan)
            .map(|(target, _)| target)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(n: u8) -> Target {
        Target::from_bytes([n; 32])
    }

    #[test]
    fn a_content_is_new_once_and_again_after_another() {
        let mut known = Known::default();
        for content in [b"a", b"b", b"a"] {
            assert!(known.note(&target(1), content));
            assert!(!known.note(&target(1), content));
            assert!(known.is_last(&target(1), content) && !known.is_last(&target(2), content));
        }
        known.begin_scan();
        known.note(&target(2), b"x");
        assert_eq!(known.end_scan(), [target(1)]);
        assert!(known.end_scan().is_empty() && known.note(&target(1), b"a"));
    }

    #[test]
    fn at_its_limit_it_remembers_no_more_and_what_is_not_remembered_is_new() {
        let mut known = Known {
            most: 2,
            ..Known::default()
        };
        for n in 0..4 {
            assert!(known.note(&target(n), b"a"));
        }
        assert_eq!(known.seen.len(), 2);
        assert!(!known.note(&target(0), b"a") && known.note(&target(3), b"a"));
        known.forget(&target(0));
        assert!(known.note(&target(3), b"a") && !known.note(&target(3), b"a"));
    }
}
