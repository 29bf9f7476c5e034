//! Who holds what, learned from every change that a node of ours stores.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::node::StoreChange;
use skydht_core::store::merge::Rank;
use skydht_core::time::Unix;

use super::Violations;
use crate::clock::SimTime;
use crate::network::HostId;

/// One item at one host.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Its rank there.
    pub rank: Rank,
    /// Until when it lives there, in true time; none for ever.
    pub until: Option<SimTime>,
}

/// Forgetting an item this much before its time is no violation: clocks that run wrong.
pub(super) const SLACK: Duration = Duration::from_secs(6);

/// Who holds what.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    at: BTreeMap<Target, BTreeMap<HostId, Holding>>,
}

impl Holdings {
    /// A host holds something else. Ranks only rise while an item lives, and nothing is
    /// forgotten before its time, unless the host ever `evicted` something. `clock` is the
    /// host's.
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

    /// A host crashed.
    pub fn gone(&mut self, host: HostId) {
        for at in self.at.values_mut() {
            at.remove(&host);
        }
    }

    /// Who holds an item, and at which rank.
    pub fn of(&self, target: &Target) -> impl Iterator<Item = (HostId, &Holding)> {
        let at = self.at.get(target).into_iter().flatten();
        at.map(|(host, holding)| (*host, holding))
    }
}
