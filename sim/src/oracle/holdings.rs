//! The items at each node, derived from every change that it stores.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::node::StoreChange;
use skydht_core::store::merge::Rank;
use skydht_core::time::Unix;

use super::Violations;
use crate::clock::SimTime;
use crate::network::HostId;

/// An item at a host.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Rank of the item.
    pub rank: Rank,
    /// End of its lifetime in true time; `None`: never.
    pub until: Option<SimTime>,
}

/// Tolerance for early expiry, because of inaccurate clocks.
pub(super) const SLACK: Duration = Duration::from_secs(6);

/// The items at each node.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    at: BTreeMap<Target, BTreeMap<HostId, Holding>>,
}

impl Holdings {
    /// Takes a change at a host. Ranks must only rise while an item lives, and no item may be
    /// removed early unless the host ever `evicted` something. `clock` is the host's wall clock.
    pub fn changed(
        &mut self,
        now: SimTime,
        host: HostId,
        clock: Unix,
        change: &StoreChange,
        evicted: bool,
        violations: &mut Violations,
    ) {
        match change {
            StoreChange::Keep(record) => {
                let rank = Rank::of(&record.target, &record.item);
                let until = record.expires.map(|at| now.plus(at.since(clock)));
                let at = self.at.entry(record.target).or_default();
                let before = at.insert(host, Holding { rank, until });
                if let Some(before) = before
                    && before.rank > rank
                    && before.until.is_none_or(|until| until > now.plus(SLACK))
                {
                    let (target, before) = (record.target, before.rank);
                    let what = format_args!("{host} went back at {target}: {before:?} to {rank:?}");
                    violations.note(now, what);
                }
            }
            StoreChange::Forget(target) => {
                let at = self.at.get_mut(target);
                let Some(before) = at.and_then(|at| at.remove(&host)) else {
                    return;
                };
                if !evicted && before.until.is_none_or(|until| until > now.plus(SLACK)) {
                    let until = before.until.unwrap_or_default();
                    let seq = before.rank.seq();
                    let what =
                        format_args!("{host} forgot {target}, sequence {seq}, due at {until}");
                    violations.note(now, what);
                }
            }
        }
    }

    /// Removes the holdings of a crashed host.
    pub fn gone(&mut self, host: HostId) {
        for at in self.at.values_mut() {
            at.remove(&host);
        }
    }

    /// The hosts that have an item, with their holdings.
    pub fn of(&self, target: &Target) -> impl Iterator<Item = (HostId, &Holding)> {
        let at = self.at.get(target).into_iter().flatten();
        at.map(|(host, holding)| (*host, holding))
    }
}
