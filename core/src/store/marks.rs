//! Marks of what is gone and must not come back from peers that still have it.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::id::Target;
use crate::item::{Origin, Seq};
use crate::time::{Mono, Time};

/// How long a mark stays: longer than TTL and any reconciliation of a Go full node.
pub const MARK_LIFE: Duration = Duration::from_secs(24 * 3600);

/// For each target the highest (origin, sequence) that is gone. Bounded: the oldest goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Marks {
    marks: BTreeMap<Target, (Origin, Seq, Mono)>,
    by_expiry: BTreeSet<(Mono, Target)>,
    /// 0 means unlimited.
    max: usize,
}

impl Marks {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// Marks everything at `target` up to (origin, sequence) as gone.
    pub(super) fn add(&mut self, now: Time, target: Target, origin: Origin, seq: Seq) {
        let highest = self
            .marks
            .get(&target)
            .map_or((origin, seq), |(o, s, _)| (origin, seq).max((*o, *s)));
        self.clear(&target);
        let expires = now.mono.plus(MARK_LIFE);
        self.marks.insert(target, (highest.0, highest.1, expires));
        self.by_expiry.insert((expires, target));
        if self.max > 0 && self.marks.len() > self.max {
            self.drop_oldest();
        }
    }

    /// Whether an item of this origin and sequence is gone.
    pub(super) fn covers(&self, now: Time, target: &Target, origin: Origin, seq: Seq) -> bool {
        self.marks
            .get(target)
            .is_some_and(|(o, s, expires)| now.mono < *expires && (origin, seq) <= (*o, *s))
    }

    /// Something newer lives there.
    pub(super) fn clear(&mut self, target: &Target) {
        if let Some((_, _, expires)) = self.marks.remove(target) {
            self.by_expiry.remove(&(expires, *target));
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Mono> {
        self.by_expiry.first().map(|(expires, _)| *expires)
    }

    /// Drops at most `max` marks whose time is over.
    pub(super) fn sweep(&mut self, now: Time, max: usize) {
        for _ in 0..max {
            if self.next_expiry().is_none_or(|expires| now.mono < expires) {
                break;
            }
            self.drop_oldest();
        }
    }

    pub(super) fn check_invariants(&self) {
        let order: BTreeSet<_> = self
            .marks
            .iter()
            .map(|(target, (_, _, expires))| (*expires, *target))
            .collect();
        assert_eq!(self.by_expiry, order);
        assert!(
            self.max == 0 || self.marks.len() <= self.max,
            "too many marks"
        );
    }

    fn drop_oldest(&mut self) {
        if let Some((_, target)) = self.by_expiry.pop_first() {
            self.marks.remove(&target);
        }
    }
}
