//! Marks of what is gone and must not come back from peers that still have it.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::id::Target;
use crate::item::{Origin, Seq};
use crate::store::held::Class;
use crate::sync::{Lead, Stamp};
use crate::time::{Mono, Time};

/// How long a mark stays: longer than TTL and any reconciliation of a Go full node.
pub const MARK_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What is gone at a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    /// The highest rank that may not come back.
    upto: (Origin, Seq),
    expires: Mono,
    /// What is gone had been kept alive by its owner: such marks are the last to go, so that a
    /// flood of items put and deleted within minutes leaves them alone.
    lasting: bool,
}

/// For each target the highest (origin, sequence) that is gone. Bounded: of the marks of what
/// came and went the oldest goes, and of the lasting ones only when there are no others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Marks {
    marks: BTreeMap<Target, Mark>,
    /// First those that go first.
    by_expiry: [BTreeSet<(Mono, Target)>; 2],
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

    /// Marks everything at `target` up to (origin, sequence) as gone. `class` is that of the item
    /// which was there.
    pub(super) fn add(&mut self, now: Time, target: Target, class: Class, upto: (Origin, Seq)) {
        let before = self.take(&target);
        let mark = Mark {
            upto: before.map_or(upto, |before| upto.max(before.upto)),
            expires: now.mono.plus(MARK_LIFE),
            lasting: class >= Class::Established || before.is_some_and(|before| before.lasting),
        };
        self.marks.insert(target, mark);
        self.by_expiry[usize::from(mark.lasting)].insert((mark.expires, target));
        if self.max > 0
            && self.marks.len() > self.max
            && let Some(marks) = self.by_expiry.iter_mut().find(|marks| !marks.is_empty())
            && let Some((_, target)) = marks.pop_first()
        {
            self.marks.remove(&target);
        }
    }

    /// Whether an item of this origin and sequence is gone.
    pub(super) fn covers(&self, now: Time, target: &Target, origin: Origin, seq: Seq) -> bool {
        self.marks
            .get(target)
            .is_some_and(|mark| now.mono < mark.expires && (origin, seq) <= mark.upto)
    }

    /// Whether a version is gone of which only the beginning of the target is known.
    pub(super) fn covers_lead(&self, now: Time, stamp: &Stamp) -> bool {
        let marks = self.marks.range(stamp.lead.first()..);
        let mut marks = marks.take_while(|(target, _)| Lead::of(target) == stamp.lead);
        marks.any(|(_, mark)| now.mono < mark.expires && (stamp.origin, stamp.seq) <= mark.upto)
    }

    /// The highest owner sequence that is gone.
    pub(super) fn seq(&self, now: Time, target: &Target) -> Option<Seq> {
        let mark = self.marks.get(target)?;
        let (origin, seq) = mark.upto;
        (origin == Origin::Owner && now.mono < mark.expires).then_some(seq)
    }

    /// Something newer lives there.
    pub(super) fn clear(&mut self, target: &Target) {
        self.take(target);
    }

    fn take(&mut self, target: &Target) -> Option<Mark> {
        let mark = self.marks.remove(target)?;
        self.by_expiry[usize::from(mark.lasting)].remove(&(mark.expires, *target));
        Some(mark)
    }

    pub(super) fn next_expiry(&self) -> Option<Mono> {
        let firsts = self.by_expiry.iter().filter_map(BTreeSet::first);
        firsts.map(|(expires, _)| *expires).min()
    }

    /// Drops at most `max` marks of each kind whose time is over.
    pub(super) fn sweep(&mut self, now: Time, max: usize) {
        for marks in &mut self.by_expiry {
            for _ in 0..max {
                let over = marks.first().filter(|(expires, _)| *expires <= now.mono);
                let Some((_, target)) = over.copied() else {
                    break;
                };
                marks.pop_first();
                self.marks.remove(&target);
            }
        }
    }

    pub(super) fn check_invariants(&self) {
        let mut order: [BTreeSet<_>; 2] = Default::default();
        for (target, mark) in &self.marks {
            order[usize::from(mark.lasting)].insert((mark.expires, *target));
        }
        assert_eq!(self.by_expiry, order);
        assert!(
            self.max == 0 || self.marks.len() <= self.max,
            "too many marks"
        );
    }
}
