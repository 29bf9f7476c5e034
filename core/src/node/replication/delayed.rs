//! Delayed offers of items from a storage that several nodes share: each of these nodes finds a new
//! item there, but only one should announce it. So each waits for a random time, and announces the
//! items that it has not been offered by then.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::id::Target;
use crate::node::context::Context;
use crate::sync::{Entries, Lead, Stamp};
use crate::time::{Mono, nanos};

/// Minimum delay: the writer may be a full node that announces the item itself, which this node
/// need not know.
const LEAST: Duration = Duration::from_secs(1);
/// Range of the random part of the delay. Offers take some 0.2 s to reach the other nodes, so of
/// ten that share a storage rarely two announce the same item.
const SPREAD: Duration = Duration::from_secs(4);

/// Targets to be announced later, with the time of each.
#[derive(Default)]
pub(super) struct DelayedOffers {
    at: BTreeMap<Target, Mono>,
    due: BTreeSet<(Mono, Target)>,
}

impl DelayedOffers {
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// The earliest time at which a target is due.
    pub(super) fn first(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Adds a target with a random delay, replacing an earlier one.
    pub(super) fn add(&mut self, cx: &mut Context, target: Target) {
        self.remove(&target);
        let spread = Duration::from_nanos(cx.random.sync.below(nanos(SPREAD)));
        let at = cx.now.mono.plus(LEAST + spread);
        self.at.insert(target, at);
        self.due.insert((at, target));
    }

    /// Removes and returns a target that is due.
    pub(super) fn pop(&mut self, now: Mono) -> Option<Target> {
        let (at, target) = *self.due.first()?;
        (at <= now).then(|| self.remove(&target))?;
        Some(target)
    }

    /// Removes the versions that another node has announced, unless this node stores a newer one.
    pub(super) fn offered(&mut self, held: &impl Entries, stamps: &[Stamp]) {
        for stamp in stamps {
            let from = stamp.lead.first();
            let Some((target, _)) = self.at.range(from..).next() else {
                continue;
            };
            let target = *target;
            if Lead::of(&target) != stamp.lead {
                continue;
            }
            let version = held.entries(target).next();
            let version = version.filter(|(held, _)| *held == target);
            let is_newer = version
                .is_some_and(|(_, held)| (held.origin, held.seq) > (stamp.origin, stamp.seq));
            if !is_newer {
                self.remove(&target);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn remove(&mut self, target: &Target) {
        if let Some(at) = self.at.remove(target) {
            self.due.remove(&(at, *target));
        }
    }
}
