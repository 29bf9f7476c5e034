//! Durability: whatever storage acknowledged is there at the next start, and nothing that was never
//! written.

use std::collections::{BTreeMap, BTreeSet};

use skydht_core::id::Target;
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_core::store::merge::Rank;
use skydht_core::time::Unix;

use super::Violations;
use super::holdings::SLACK;
use crate::clock::SimTime;
use crate::network::HostId;

/// The compared parts of a record; `None` if there is none.
type Content = Option<(Rank, Unix, Option<Unix>)>;

fn content(record: &StoredRecord) -> Content {
    let rank = Rank::of(&record.target, &record.item);
    Some((rank, record.vouched, record.expires))
}

fn of(change: &StoreChange) -> (Target, Content) {
    match change {
        StoreChange::Keep(record) => (record.target, content(record)),
        StoreChange::Forget(target) => (*target, None),
    }
}

/// A record that a Redis acknowledged.
#[derive(Clone, Copy, Debug)]
struct SharedRecord {
    rank: Rank,
    /// End of its lifetime in true time; `None`: never.
    until: Option<SimTime>,
}

/// The records that may be found in storage, and those that must be.
#[derive(Clone, Debug, Default)]
pub struct Durability {
    /// By host and target: the last acknowledged content, then every content requested since.
    disks: BTreeMap<HostId, BTreeMap<Target, Vec<Content>>>,
    shared: BTreeMap<Target, SharedRecord>,
}

impl Durability {
    /// Records that a node asked its disk to write a change.
    pub fn changed(&mut self, host: HostId, change: &StoreChange) {
        let (target, content) = of(change);
        let at = self.disks.entry(host).or_default();
        at.entry(target).or_insert_with(|| vec![None]).push(content);
    }

    /// Records that a disk acknowledged changes.
    pub fn stored(&mut self, host: HostId, changes: &[StoreChange]) {
        let at = self.disks.entry(host).or_default();
        for (target, content) in changes.iter().map(of) {
            let asked = at.entry(target).or_default();
            let last = asked.iter().rposition(|it| *it == content);
            asked.drain(..last.unwrap_or(0));
        }
    }

    /// Checks the records that a starting host finds on its disk.
    pub fn found(
        &mut self,
        now: SimTime,
        host: HostId,
        records: &[StoredRecord],
        violations: &mut Violations,
    ) {
        let found: BTreeMap<Target, Content> =
            records.iter().map(|it| (it.target, content(it))).collect();
        let at = self.disks.entry(host).or_default();
        let targets: BTreeSet<Target> = at.keys().chain(found.keys()).copied().collect();
        for target in targets {
            let there = found.get(&target).copied().flatten();
            let asked = at.insert(target, vec![there]).unwrap_or(vec![None]);
            if !asked.contains(&there) {
                let what = match (asked.first().copied().flatten(), there) {
                    (Some((rank, ..)), None) => format!("lost sequence {}", rank.seq()),
                    (before, Some((rank, ..))) => {
                        let before = before.map(|(rank, ..)| rank.seq());
                        format!("has sequence {}, after {before:?}", rank.seq())
                    }
                    (None, None) => "has nothing".to_owned(),
                };
                let what = format_args!("{host}: its disk {what} at {target}");
                violations.note(now, what);
            }
        }
    }

    /// Forgets a host whose disk was replaced or is unreliable.
    pub fn forget(&mut self, host: HostId) {
        self.disks.remove(&host);
    }

    /// Records that the Redis acknowledged changes to a host whose clock reads `clock`.
    pub fn shared(&mut self, now: SimTime, clock: Unix, changes: &[StoreChange]) {
        for change in changes {
            let StoreChange::Keep(record) = change else {
                continue;
            };
            let rank = Rank::of(&record.target, &record.item);
            let until = record.expires.map(|at| now.plus(at.since(clock)));
            let new = SharedRecord { rank, until };
            let at = self.shared.entry(record.target).or_insert(new);
            let is_over = at.until.is_some_and(|until| until <= now);
            if is_over || rank >= at.rank {
                *at = new;
            }
        }
    }

    /// Records that the Redis lost its last writes at these targets.
    pub fn failed_over(&mut self, lost: &[Target]) {
        for target in lost {
            self.shared.remove(target);
        }
    }

    /// Checks that the Redis contains what it acknowledged and did not lose.
    pub fn check_shared(
        &self,
        now: SimTime,
        records: &[StoredRecord],
        violations: &mut Violations,
    ) {
        let found: BTreeMap<Target, Rank> = records
            .iter()
            .map(|it| (it.target, Rank::of(&it.target, &it.item)))
            .collect();
        for (target, at) in &self.shared {
            let lives = at.until.is_none_or(|until| until > now.plus(SLACK));
            if lives && found.get(target).is_none_or(|found| *found < at.rank) {
                let seq = at.rank.seq();
                let what = format_args!("the redis lost sequence {seq} at {target}");
                violations.note(now, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skydht_driver::testing::record;

    const HOST: HostId = HostId(1);

    fn later(n: u64) -> StoredRecord {
        let mut record = record(n);
        record.item.seq.0 += 1;
        record
    }

    fn keep(record: StoredRecord) -> StoreChange {
        StoreChange::Keep(Box::new(record))
    }

    fn violations(check: impl FnOnce(&mut Violations)) -> u64 {
        let mut violations = Violations::default();
        check(&mut violations);
        violations.count()
    }

    #[test]
    fn what_was_acknowledged_or_came_after_may_be_found_and_nothing_else() {
        let now = SimTime::ZERO;
        for (acknowledged, found, broken) in [
            (0, None, 0),
            (0, Some(record(1)), 0),
            (0, Some(later(1)), 0),
            (1, Some(record(1)), 0),
            (1, Some(later(1)), 0),
            (1, None, 1),
            (2, Some(record(1)), 1),
            (2, Some(later(1)), 0),
            (0, Some(record(2)), 1),
        ] {
            let mut all = Durability::default();
            let changes = [keep(record(1)), keep(later(1))];
            for (n, change) in changes.iter().enumerate() {
                all.changed(HOST, change);
                if n < acknowledged {
                    all.stored(HOST, std::slice::from_ref(change));
                }
            }
            let there: Vec<_> = found.into_iter().collect();
            let noted = violations(|it| all.found(now, HOST, &there, it));
            assert_eq!(noted, broken, "{acknowledged} {there:?}");
            // From then on, that is the content of the disk.
            assert_eq!(violations(|it| all.found(now, HOST, &there, it)), 0);
            all.forget(HOST);
            assert_eq!(violations(|it| all.found(now, HOST, &[], it)), 0);
        }
    }

    #[test]
    fn the_redis_keeps_what_lives_and_was_not_lost_in_a_failover() {
        let (now, clock) = (SimTime::ZERO, record(1).vouched);
        let mut all = Durability::default();
        all.shared(now, clock, &[keep(later(1)), keep(record(2))]);
        all.shared(now, clock, &[keep(record(1))]);
        let noted = |all: &Durability, now, there: &[StoredRecord]| {
            violations(|it| all.check_shared(now, there, it))
        };
        assert_eq!(noted(&all, now, &[later(1), record(2)]), 0);
        assert_eq!(noted(&all, now, &[record(1), record(2)]), 1);
        assert_eq!(noted(&all, now, &[later(1)]), 1);
        all.failed_over(&[record(2).target]);
        assert_eq!(noted(&all, now, &[later(1)]), 0);
        let at_last = record(1).expires.unwrap().since(clock);
        assert_eq!(noted(&all, now.plus(at_last), &[]), 0);
    }
}
