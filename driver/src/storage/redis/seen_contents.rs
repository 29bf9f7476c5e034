//! The contents in Redis that this node has seen or written, by target.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use skydht_core::id::Target;

/// Maximum number of targets; the contents of further ones always count as new.
const MAX_TARGETS: usize = 2_000_000;

#[derive(Clone, Copy)]
struct Seen {
    /// Hash of the content with a random key, so that writers cannot construct collisions.
    hash: u64,
    /// The scan in which it was last seen.
    scan: u32,
}

/// The contents seen, as hashes; about 60 bytes per target.
pub(super) struct SeenContents {
    seen: HashMap<Target, Seen>,
    hasher: RandomState,
    scan: u32,
    max: usize,
}

impl Default for SeenContents {
    fn default() -> Self {
        Self {
            seen: HashMap::new(),
            hasher: RandomState::new(),
            scan: 0,
            max: MAX_TARGETS,
        }
    }
}

impl SeenContents {
    /// Records a content. Returns whether it differs from the last one of this target.
    pub(super) fn record(&mut self, target: &Target, content: &[u8]) -> bool {
        let seen = Seen {
            hash: self.hasher.hash_one(content),
            scan: self.scan,
        };
        if let Some(before) = self.seen.get_mut(target) {
            return std::mem::replace(before, seen).hash != seen.hash;
        }
        if self.seen.len() < self.max {
            self.seen.insert(*target, seen);
        }
        true
    }

    /// Returns whether this is the last content recorded for the target.
    pub(super) fn is_last(&self, target: &Target, content: &[u8]) -> bool {
        let hash = self.hasher.hash_one(content);
        self.seen.get(target).is_some_and(|seen| seen.hash == hash)
    }

    /// Forgets a target that is no longer in Redis.
    pub(super) fn forget(&mut self, target: &Target) {
        self.seen.remove(target);
    }

    /// Begins a scan, during which every existing target is recorded.
    pub(super) fn begin_scan(&mut self) {
        self.scan = self.scan.wrapping_add(1);
    }

    /// Ends a scan. Forgets and returns the targets that it did not find.
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
        let mut known = SeenContents::default();
        for content in [b"a", b"b", b"a"] {
            assert!(known.record(&target(1), content));
            assert!(!known.record(&target(1), content));
            assert!(known.is_last(&target(1), content) && !known.is_last(&target(2), content));
        }
        known.begin_scan();
        known.record(&target(2), b"x");
        assert_eq!(known.end_scan(), [target(1)]);
        assert!(known.end_scan().is_empty() && known.record(&target(1), b"a"));
    }

    #[test]
    fn beyond_the_limit_contents_always_count_as_new() {
        let mut known = SeenContents {
            max: 2,
            ..SeenContents::default()
        };
        for n in 0..4 {
            assert!(known.record(&target(n), b"a"));
        }
        assert_eq!(known.seen.len(), 2);
        assert!(!known.record(&target(0), b"a") && known.record(&target(3), b"a"));
        known.forget(&target(0));
        assert!(known.record(&target(3), b"a") && !known.record(&target(3), b"a"));
    }
}
