//! The node's own items: their sequences and their renewal.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Origin, Seq};
use crate::mark::{MarkChange, MarkKind, StoredMark};
use crate::node::config::GO_RENEWAL;
use crate::node::context::Context;
use crate::node::items::placed::Placed;
use crate::node::outcome::OwnItem;
use crate::node::timers::{Timer, Timers};
use crate::time::Mono;

/// Delay of the next renewal after one that reached no peer.
const RETRY: Duration = Duration::from_secs(60);

pub(super) struct OwnEntry {
    seq: Seq,
    used: Mono,
    /// `None` if only the sequence is remembered.
    pub(super) renew: Option<RenewalState>,
}

pub(super) struct RenewalState {
    pub(super) placed: Placed,
    /// Whether some holder renews the item only for a higher sequence, as Go nodes do.
    pub(super) by_seq: bool,
    /// When holders last acknowledged the item, and how many did.
    published: Option<(Mono, u16)>,
}

/// The node's own items.
pub(crate) struct OwnItems {
    pub(super) items: BTreeMap<Target, OwnEntry>,
    /// Entries with only a sequence, least recently used first.
    idle: BTreeSet<(Mono, Target)>,
    renewed: usize,
    max: usize,
    /// Targets whose sequence has changed or been forgotten; `None` without storage.
    changed: Option<BTreeSet<Target>>,
}

impl OwnItems {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            items: BTreeMap::new(),
            idle: BTreeSet::new(),
            renewed: 0,
            max,
            changed: None,
        }
    }

    /// Number of items that are kept renewed.
    pub(crate) fn renewed(&self) -> usize {
        self.renewed
    }

    /// Starts recording changed sequences for [`OwnItems::take_changes`].
    pub(crate) fn note_changes(&mut self) {
        self.changed = Some(BTreeSet::new());
    }

    /// Returns the changes of sequences since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<MarkChange> {
        let changed = self.changed.as_mut().map(core::mem::take);
        let change = |target: Target| match self.items.get(&target) {
            Some(own) => MarkChange::Keep(StoredMark {
                target,
                kind: MarkKind::Own,
                origin: Origin::Owner,
                seq: own.seq,
                expires: None,
                lasting: true,
            }),
            None => MarkChange::Forget(MarkKind::Own, target),
        };
        changed.into_iter().flatten().map(change).collect()
    }

    /// The highest sequence known.
    pub(crate) fn seq(&self, target: &Target) -> Option<Seq> {
        self.items.get(target).map(|own| own.seq)
    }

    /// The sequence of the item that is kept renewed.
    pub(crate) fn kept_seq(&self, target: &Target) -> Option<Seq> {
        let renew = self.items.get(target)?.renew.as_ref()?;
        Some(renew.placed.item.seq)
    }

    /// Raises the sequence of a target to a verified one: the next put must be higher.
    pub(crate) fn raise(&mut self, target: Target, seq: Seq, now: Mono) {
        let own = self.items.entry(target).or_insert_with(|| {
            self.idle.insert((now, target));
            OwnEntry {
                seq: Seq(0),
                used: now,
                renew: None,
            }
        });
        if own.seq < seq || own.seq == Seq(0) {
            own.seq = seq;
            if let Some(changed) = &mut self.changed {
                changed.insert(target);
            }
        }
        if own.renew.is_none() {
            self.idle.remove(&(own.used, target));
            own.used = now;
            self.idle.insert((now, target));
        }
        while self.idle.len() > self.max.max(1) {
            let Some((_, oldest)) = self.idle.pop_first() else {
                break;
            };
            self.items.remove(&oldest);
            if let Some(changed) = &mut self.changed {
                changed.insert(oldest);
            }
        }
    }

    /// Restores a sequence of an earlier run.
    pub(crate) fn load(&mut self, target: Target, seq: Seq, now: Mono) {
        let changed = self.changed.take();
        self.raise(target, seq, now);
        self.changed = changed;
    }

    pub(super) fn keep(&mut self, placed: Placed) -> bool {
        let target = placed.target;
        let Some(own) = self.items.get_mut(&target) else {
            return false;
        };
        if own.renew.is_none() {
            if self.renewed >= self.max {
                return false;
            }
            self.renewed += 1;
            self.idle.remove(&(own.used, target));
        }
        let before = own.renew.as_ref();
        let by_seq = before.is_some_and(|renew| renew.by_seq);
        // A higher sequence with the same value is only a renewal, so its holders still count.
        let published = before
            .filter(|renew| renew.placed.item.value == placed.item.value)
            .and_then(|renew| renew.published);
        own.renew = Some(RenewalState {
            placed,
            by_seq,
            published,
        });
        true
    }

    pub(super) fn forget(&mut self, target: &Target) {
        if let Some(own) = self.items.get_mut(target)
            && own.renew.take().is_some()
        {
            self.renewed -= 1;
            self.idle.insert((own.used, *target));
        }
    }

    /// Records that a publication or renewal reached `holders` peers, and schedules the next.
    pub(crate) fn published(
        &mut self,
        cx: &mut Context,
        target: &Target,
        holders: u16,
        go_holders: bool,
    ) {
        let own = self.items.get_mut(target);
        let Some(renew) = own.and_then(|own| own.renew.as_mut()) else {
            return;
        };
        if holders == 0 {
            let retry = cx.random.renewal.jitter(RETRY);
            let at = cx.now.mono.plus(retry);
            return cx.timers.set(Timer::Renewal(*target), at);
        }
        renew.by_seq = go_holders;
        renew.published = Some((cx.now.mono, holders));
        self.schedule_renewal(cx, target);
    }

    pub(super) fn schedule_renewal(&self, cx: &mut Context, target: &Target) {
        let own = self.items.get(target);
        let Some(renew) = own.and_then(|own| own.renew.as_ref()) else {
            return;
        };
        let half = cx.random.renewal.jitter(cx.config.item_ttl / 2);
        let after = if renew.by_seq {
            half.max(GO_RENEWAL).min(cx.config.item_ttl / 2)
        } else {
            half
        };
        let at = cx.now.mono.plus(after);
        cx.timers.set(Timer::Renewal(*target), at);
    }

    /// The items that are kept renewed, in order of their targets, with ages relative to `now`.
    pub(crate) fn list(&self, timers: &Timers, now: Mono) -> Vec<OwnItem> {
        let renewed = self.items.iter();
        renewed
            .filter_map(|(target, own)| {
                let renew = own.renew.as_ref()?;
                let (item, published) = (&renew.placed.item, renew.published);
                let next_renewal = timers.due_at(Timer::Renewal(*target));
                Some(OwnItem {
                    target: *target,
                    salt: item.salt.clone(),
                    seq: item.seq,
                    value_len: item.value.as_bytes().len(),
                    holders: published.map_or(0, |(_, holders)| holders),
                    age: published.map(|(at, _)| now.since(at)),
                    next_renewal: next_renewal.map(|at| at.since(now)),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::*;
    use crate::item::{Item, Salt, Value};
    use crate::key::SecretKey;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn target(n: u8) -> Target {
        Target::from_bytes([n; 32])
    }

    fn item() -> Arc<Item> {
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        Arc::new(Item::sign(
            &secret,
            Seq(1),
            Value::new(b"v"),
            Salt::from("s"),
        ))
    }

    fn placed(target: Target) -> Placed {
        Placed {
            item: item(),
            target,
            bind: None,
        }
    }

    /// Regression test: nodes that publish fewer items than are remembered do not show it.
    #[test]
    fn what_is_kept_renewed_is_never_forgotten_for_what_is_idle() {
        let mut own = OwnItems::new(2);
        own.raise(target(1), Seq(1), at(1));
        assert!(own.keep(placed(target(1))));
        for n in 2..9 {
            own.raise(target(n), Seq(n.into()), at(n.into()));
            assert_eq!(own.kept_seq(&target(1)), Some(Seq(1)), "{n}");
            assert!(own.idle.len() <= 2);
        }
        // Raising a kept item must not make it idle.
        own.raise(target(1), Seq(5), at(10));
        own.raise(target(9), Seq(1), at(11));
        own.raise(target(10), Seq(1), at(12));
        assert_eq!((own.seq(&target(1)), own.renewed()), (Some(Seq(5)), 1));
        // An item that is no longer kept is idle, and is dropped in its turn.
        own.forget(&target(1));
        assert_eq!((own.renewed(), own.kept_seq(&target(1))), (0, None));
        own.raise(target(11), Seq(1), at(13));
        assert_eq!(own.seq(&target(1)), None);
        assert_eq!(own.items.len(), own.idle.len());
    }

    /// Regression test: clocks that only move forwards do not show it.
    #[test]
    fn an_older_verified_item_lowers_no_sequence() {
        let mut own = OwnItems::new(2);
        own.raise(target(1), Seq(9), at(1));
        own.raise(target(1), Seq(5), at(2));
        assert_eq!(own.seq(&target(1)), Some(Seq(9)));
        own.keep(placed(target(1)));
        own.raise(target(1), Seq(7), at(3));
        assert_eq!(own.seq(&target(1)), Some(Seq(9)));
    }

    #[test]
    fn storage_gets_a_sequence_once() {
        let mut own = OwnItems::new(2);
        own.note_changes();
        for (seq, changes) in [(5, 1), (5, 0), (4, 0), (6, 1)] {
            own.raise(target(1), Seq(seq), at(seq));
            assert_eq!(own.take_changes().len(), changes, "{seq}");
        }
    }

    #[test]
    fn the_holders_of_an_item_are_known_until_its_value_changes() {
        let mut own = OwnItems::new(2);
        own.raise(target(1), Seq(1), at(1));
        assert!(own.keep(placed(target(1))));
        let renew = own.items.get_mut(&target(1)).unwrap().renew.as_mut();
        renew.unwrap().published = Some((at(1), 7));
        let changed = Arc::new(Item {
            value: Value::new(b"w"),
            ..(*item()).clone()
        });
        for (item, holders) in [(item(), 7), (changed, 0)] {
            let target = target(1);
            assert!(own.keep(Placed {
                item,
                target,
                bind: None
            }));
            let listed = own.list(&Timers::default(), at(2));
            assert_eq!(listed[0].holders, holders);
        }
    }

    #[test]
    fn no_more_are_kept_than_the_limit_and_keeping_one_again_counts_once() {
        let mut own = OwnItems::new(2);
        for n in 1..=3 {
            own.raise(target(n), Seq(1), at(n.into()));
        }
        assert!(
            !own.keep(placed(target(1))),
            "forgotten: two are remembered"
        );
        assert!(own.keep(placed(target(2))) && own.keep(placed(target(2))));
        assert!(own.keep(placed(target(3))));
        own.raise(target(4), Seq(1), at(4));
        assert!(!own.keep(placed(target(4))));
        assert_eq!(own.renewed(), 2);
    }
}
