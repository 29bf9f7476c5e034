//! Markers of what is gone and must not come back from peers that still have it.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::cap::Cap;
use crate::id::Target;
use crate::item::{Origin, Seq};
use crate::mark::{MarkKind, StoredMark};
use crate::store::stored_item::Class;
use crate::sync::{Lead, Stamp};
use crate::time::{Mono, Time};

/// How long a marker stays: longer than TTL and any reconciliation of a Go full node.
pub const MARKER_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What is gone at a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Marker {
    /// The highest rank that may not come back.
    upto: (Origin, Seq),
    expires: Mono,
    /// What is gone had been kept alive by its owner: such markers are the last to go, so that a
    /// flood of items put and deleted within minutes leaves them alone.
    lasting: bool,
}

/// For each target the highest (origin, sequence) that is gone. Bounded: of the markers of what
/// came and went the oldest goes, and of the lasting ones only when there are no others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Markers {
    markers: BTreeMap<Target, Marker>,
    /// First those that go first.
    by_expiry: [BTreeSet<(Mono, Target)>; 2],
    max: Cap,
    /// Targets whose marker has changed, if storage keeps them.
    changed: Option<BTreeSet<Target>>,
}

impl Markers {
    pub(super) fn new(max: Cap) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// From now on [`Markers::take_changed`] says where something has changed.
    pub(super) fn note_changes(&mut self) {
        self.changed = Some(BTreeSet::new());
    }

    /// Where something has changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Target> {
        let changed = self.changed.as_mut();
        changed.map(core::mem::take).unwrap_or_default()
    }

    fn note(&mut self, target: Target) {
        if let Some(changed) = &mut self.changed {
            changed.insert(target);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.markers.len()
    }

    /// Markers everything at `target` up to (origin, sequence) as gone. `class` is that of the item
    /// which was there.
    pub(super) fn add(&mut self, now: Time, target: Target, class: Class, upto: (Origin, Seq)) {
        let expires = now.mono.plus(MARKER_LIFE);
        self.put(target, class >= Class::Established, upto, expires);
        self.note(target);
    }

    /// The marker at a target, as storage keeps it.
    pub(super) fn stored(&self, now: Time, kind: MarkKind, target: &Target) -> Option<StoredMark> {
        let marker = self.markers.get(target)?;
        let (origin, seq) = marker.upto;
        Some(StoredMark {
            target: *target,
            kind,
            origin,
            seq,
            expires: (now.unix.is_set()).then(|| now.unix.plus(marker.expires.since(now.mono))),
            lasting: marker.lasting,
        })
    }

    /// Takes a marker of an earlier run. What is over is forgotten.
    pub(super) fn load(&mut self, now: Time, stored: &StoredMark) {
        let left = match stored.expires.filter(|_| now.unix.is_set()) {
            Some(expires) => expires.since(now.unix).min(MARKER_LIFE),
            // A clock was not set: it stays for too long rather than not long enough.
            None => MARKER_LIFE,
        };
        if left.is_zero() {
            return self.note(stored.target);
        }
        let upto = (stored.origin, stored.seq);
        let later = self
            .markers
            .get(&stored.target)
            .map(|marker| marker.expires);
        let expires = later.max(Some(now.mono.plus(left)));
        self.put(
            stored.target,
            stored.lasting,
            upto,
            expires.unwrap_or_default(),
        );
    }

    fn put(&mut self, target: Target, lasting: bool, upto: (Origin, Seq), expires: Mono) {
        let before = self.take(&target);
        let marker = Marker {
            upto: before.map_or(upto, |before| upto.max(before.upto)),
            expires,
            lasting: lasting || before.is_some_and(|before| before.lasting),
        };
        self.markers.insert(target, marker);
        self.by_expiry[usize::from(marker.lasting)].insert((marker.expires, target));
        if self.max.excess(self.markers.len()) > 0
            && let Some(markers) = self
                .by_expiry
                .iter_mut()
                .find(|markers| !markers.is_empty())
            && let Some((_, target)) = markers.pop_first()
        {
            self.markers.remove(&target);
            self.note(target);
        }
    }

    /// Whether an item of this origin and sequence is gone.
    pub(super) fn covers(&self, now: Time, target: &Target, origin: Origin, seq: Seq) -> bool {
        self.markers
            .get(target)
            .is_some_and(|marker| now.mono < marker.expires && (origin, seq) <= marker.upto)
    }

    /// Whether a version is gone of which only the beginning of the target is known.
    pub(super) fn covers_lead(&self, now: Time, stamp: &Stamp) -> bool {
        let markers = self.markers.range(stamp.lead.first()..);
        let mut markers = markers.take_while(|(target, _)| Lead::of(target) == stamp.lead);
        markers.any(|(_, marker)| {
            now.mono < marker.expires && (stamp.origin, stamp.seq) <= marker.upto
        })
    }

    /// The highest owner sequence that is gone.
    pub(super) fn seq(&self, now: Time, target: &Target) -> Option<Seq> {
        let marker = self.markers.get(target)?;
        let (origin, seq) = marker.upto;
        (origin == Origin::Owner && now.mono < marker.expires).then_some(seq)
    }

    /// Something newer lives there.
    pub(super) fn clear(&mut self, target: &Target) {
        if self.take(target).is_some() {
            self.note(*target);
        }
    }

    fn take(&mut self, target: &Target) -> Option<Marker> {
        let marker = self.markers.remove(target)?;
        self.by_expiry[usize::from(marker.lasting)].remove(&(marker.expires, *target));
        Some(marker)
    }

    pub(super) fn next_expiry(&self) -> Option<Mono> {
        let firsts = self.by_expiry.iter().filter_map(BTreeSet::first);
        firsts.map(|(expires, _)| *expires).min()
    }

    /// Drops at most `max` markers of each kind whose time is over.
    pub(super) fn sweep(&mut self, now: Time, max: usize) {
        for kind in 0..self.by_expiry.len() {
            for _ in 0..max {
                let markers = &mut self.by_expiry[kind];
                let over = markers.first().filter(|(expires, _)| *expires <= now.mono);
                let Some((_, target)) = over.copied() else {
                    break;
                };
                markers.pop_first();
                self.markers.remove(&target);
                self.note(target);
            }
        }
    }

    pub(super) fn check_invariants(&self) {
        let mut order: [BTreeSet<_>; 2] = Default::default();
        for (target, marker) in &self.markers {
            order[usize::from(marker.lasting)].insert((marker.expires, *target));
        }
        assert_eq!(self.by_expiry, order);
        assert_eq!(self.max.excess(self.markers.len()), 0, "too many markers");
    }
}
