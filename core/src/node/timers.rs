//! The timers of a node, except the deadlines of calls and streams, which their own tables keep in
//! order.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::id::Target;
use crate::node::ids::{OperationId, QueryId, SyncId};
use crate::node::output::{Deadline, WakeReason};
use crate::time::Mono;

/// What is due. The set contains each value at most once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// A query can continue: a soft deadline passed.
    Query(QueryId),
    /// An operation's deadline.
    Operation(OperationId),
    /// An operation has waited the maximum time for storage.
    Load(OperationId),
    /// The holders of a watched item must be read again.
    Watch(OperationId),
    /// The next put of an own item may begin, since the previous one is over.
    Put(Target),
    /// Contact the bootstrap peers again.
    Bootstrap,
    /// Look up the node's own id again.
    SelfLookup,
    /// Refresh stale buckets.
    Refresh,
    /// Ping peers of the table that have been silent for long.
    Prove,
    /// Items expire.
    Expiry,
    /// A node that is no longer a full node drops distant items.
    Trim,
    /// Reconcile with the full nodes that are due.
    Reconcile,
    /// Items that a session fetched wait for free verification jobs.
    SyncRoom(SyncId),
    /// Offer new items to other full nodes.
    Offer,
    /// Give new peers of the table the items that they should hold.
    HandOver,
    /// Publish the advert of this full node.
    Advert,
    /// Renew an own item.
    Renewal(Target),
}

impl Timer {
    const fn why(self) -> WakeReason {
        match self {
            Self::Query(_) => WakeReason::Call,
            Self::Operation(_) | Self::Load(_) | Self::Watch(_) | Self::Put(_) => {
                WakeReason::Operation
            }
            Self::Bootstrap
            | Self::SelfLookup
            | Self::Refresh
            | Self::Prove
            | Self::Reconcile
            | Self::SyncRoom(_)
            | Self::Offer
            | Self::HandOver
            | Self::Advert => WakeReason::Maintenance,
            Self::Expiry | Self::Trim => WakeReason::Expiry,
            Self::Renewal(_) => WakeReason::Renewal,
        }
    }
}

/// A set of timers, ordered by time. Every change is O(log n).
#[derive(Default)]
pub(super) struct Timers {
    /// The first entry of `due`, cached because every input asks for it.
    first: Option<(Mono, Timer)>,
    due: BTreeSet<(Mono, Timer)>,
    at: BTreeMap<Timer, Mono>,
}

impl Timers {
    /// Sets `timer` to `at`, replacing any earlier setting.
    pub(super) fn set(&mut self, timer: Timer, at: Mono) {
        if let Some(old) = self.at.insert(timer, at) {
            self.due.remove(&(old, timer));
        }
        self.due.insert((at, timer));
        self.first = self.due.first().copied();
    }

    /// Sets `timer` to `at` unless it is due earlier.
    pub(super) fn set_earlier(&mut self, timer: Timer, at: Mono) {
        if self.at.get(&timer).is_none_or(|old| at < *old) {
            self.set(timer, at);
        }
    }

    /// When `timer` is due.
    pub(super) fn due_at(&self, timer: Timer) -> Option<Mono> {
        self.at.get(&timer).copied()
    }

    /// When the first renewal of an own item is due. O(own items).
    pub(super) fn first_renewal(&self) -> Option<Mono> {
        let from = Timer::Renewal(Target::default());
        let renewals = self.at.range(from..);
        renewals.map(|(_, at)| *at).min()
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(old) = self.at.remove(&timer) {
            self.due.remove(&(old, timer));
            self.first = self.due.first().copied();
        }
    }

    /// Removes and returns the earliest timer that is due.
    pub(super) fn pop(&mut self, now: Mono) -> Option<Timer> {
        let (_, timer) = self.first.filter(|(at, _)| *at <= now)?;
        self.cancel(timer);
        Some(timer)
    }

    pub(super) fn next(&self) -> Option<Deadline> {
        self.first.map(|(at, timer)| Deadline {
            at,
            why: timer.why(),
        })
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_stands_once_and_pops_when_due() {
        let mut timers = Timers::default();
        timers.set(Timer::Expiry, Mono(5));
        timers.set(Timer::Expiry, Mono(9));
        timers.set_earlier(Timer::Expiry, Mono(20));
        timers.set(Timer::Bootstrap, Mono(7));
        assert_eq!(timers.pop(Mono(6)), None);
        assert_eq!(timers.next().map(|d| d.at), Some(Mono(7)));
        assert_eq!(timers.pop(Mono(9)), Some(Timer::Bootstrap));
        assert_eq!(timers.next().map(|d| d.at), Some(Mono(9)));
        assert_eq!(timers.pop(Mono(9)), Some(Timer::Expiry));
        timers.set(Timer::Refresh, Mono(30));
        timers.cancel(Timer::Refresh);
        assert_eq!(timers.pop(Mono(99)), None);
    }
}
