//! What a storage that several nodes share brought here: each of these nodes finds it there, and one
//! of them is to announce it. So each waits for a while drawn at random, and announces what it has
//! not been offered by then.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::id::Target;
use crate::node::context::Context;
use crate::sync::{Entries, Lead, Stamp};
use crate::time::{Mono, nanos};

/// The shortest wait: the writer may be a full node that announces it, and need not be known to be.
const LEAST: Duration = Duration::from_secs(1);
/// The longest wait beyond that. Offers take some 0.2 s to the other nodes, so of ten that share a
/// storage hardly two announce one item.
const SPREAD: Duration = Duration::from_secs(4);

/// Targets to be announced later, with the times.
#[derive(Default)]
pub(super) struct Later {
    at: BTreeMap<Target, Mono>,
    due: BTreeSet<(Mono, Target)>,
}

impl Later {
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// When the first one is due.
    pub(super) fn first(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Adds a target, with a wait of its own. It is there once.
    pub(super) fn add(&mut self, cx: &mut Context, target: Target) {
        self.remove(&target);
        let spread = Duration::from_nanos(cx.random.sync.below(nanos(SPREAD)));
        let at = cx.now.mono.plus(LEAST + spread);
        self.at.insert(target, at);
        self.due.insert((at, target));
    }

    /// Takes the next target that is due.
    pub(super) fn pop(&mut self, now: Mono) -> Option<Target> {
        let (at, target) = *self.due.first()?;
        (at <= now).then(|| self.remove(&target))?;
        Some(target)
    }

    /// Another node has announced these versions: none is announced again, unless a newer one is
    /// held here.
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
