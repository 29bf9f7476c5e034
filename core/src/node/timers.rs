//! What is due some time, but for the deadlines of calls and streams, which stand in order by
//! themselves.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::id::Target;
use crate::node::ids::{OperationId, QueryId, SyncId};
use crate::node::output::{Deadline, WakeReason};
use crate::time::Mono;

/// What is due. Each stands in the set at most once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// A search may go on: a soft deadline passed.
    Query(QueryId),
    /// An operation's deadline.
    Operation(OperationId),
    /// An operation has waited long enough for storage.
    Load(OperationId),
    /// The holders of what an operation watches are to be read again.
    Watch(OperationId),
    /// The next put of an own item may begin: the one before it is over.
    Put(Target),
    /// Ask the bootstrap peers again.
    Bootstrap,
    /// Look up the own id again.
    SelfLookup,
    /// Look for stale buckets.
    Refresh,
    /// Ask peers of the table that are silent for long whether they live.
    Prove,
    /// Items expire.
    Expiry,
    /// A node that is no full node any more lets go of what is far.
    Trim,
    /// Reconcile with the full nodes whose turn it is.
    Reconcile,
    /// Items that a session brought wait for room among the signatures being checked.
    SyncRoom(SyncId),
    /// Offer other full nodes what is new.
    Offer,
    /// Hand newcomers what they should hold.
    HandOver,
    /// Say that this is a full node.
    Advert,
    /// An own item wants renewing.
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

/// The set. Every change is O(log n).
#[derive(Default)]
pub(super) struct Timers {
    /// The first of `due`, asked for at every input.
    first: Option<(Mono, Timer)>,
    due: BTreeSet<(Mono, Timer)>,
    at: BTreeMap<Timer, Mono>,
}

impl Timers {
    /// Sets `timer` to `at`, in place of any earlier setting.
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

    /// When the first own item wants renewing. O(own items).
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

    /// Takes the earliest timer that is due.
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
