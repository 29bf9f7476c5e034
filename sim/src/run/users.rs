//! Answers to users, and whether they are right.

use std::collections::BTreeSet;

use skydht_core::node::{GetError, GetOutcome, K, PutError, PutOutcome, ReadPolicy};

use super::backend::Backend;
use super::state::{Run, UserOperation};
use crate::clock::SimTime;
use crate::network::HostId;
use crate::oracle::promises::Verdict;
use crate::scenario::work::UserAction;

impl<B: Backend> Run<'_, B> {
    /// A user's read ended.
    pub(crate) fn read(
        &mut self,
        operation: UserOperation,
        at: SimTime,
        read: &Result<GetOutcome, GetError>,
    ) {
        let UserAction::Get { policy, checked } = operation.action else {
            return;
        };
        if checked {
            self.judge(operation, policy, read);
        }
        if let Ok(found) = read {
            B::sample_read(self, &operation, at, found);
        }
    }

    /// A user's put ended.
    pub(crate) fn put(
        &mut self,
        operation: UserOperation,
        at: SimTime,
        put: &Result<PutOutcome, PutError>,
    ) {
        let tracked = &mut self.tracked[operation.item];
        let Ok(outcome) = put else {
            self.coverage.count("puts_failed", 1);
            return tracked.unsure();
        };
        if !matches!(operation.action, UserAction::PutElsewhere(_)) {
            let tombstone = operation.action == UserAction::Delete;
            tracked.promised(operation.started, outcome, tombstone);
        }
        self.sample("put", at.since(operation.started));
        self.sample_count("put_replicas", outcome.replicas.acknowledged().into());
    }

    fn judge(
        &mut self,
        operation: UserOperation,
        policy: ReadPolicy,
        read: &Result<GetOutcome, GetError>,
    ) {
        let tracked = &self.tracked[operation.item];
        let (target, backend) = (tracked.target, &self.backend);
        let who = &self.scenario.population;
        // A holder that has not failed is among the running nodes nearest to the target.
        let reachable = |standing: &BTreeSet<HostId>| {
            let living = self.hosts().filter(|host| backend.is_up(*host));
            let mut living: Vec<_> = living
                .map(|host| (target.distance(&backend.key(host).id()), host))
                .collect();
            if living.len() > K {
                living.select_nth_unstable(K - 1);
                living.truncate(K);
            }
            living.iter().any(|(_, host)| standing.contains(host))
        };
        let verdict = match policy {
            ReadPolicy::FirstValid if tracked.is_found(who.mirrors > 0, read) => Verdict::Right,
            _ => {
                let owner_up = backend.is_up(tracked.owner);
                tracked.judge(operation.started, who.item_ttl, owner_up, reachable, read)
            }
        };
        self.verdicts[verdict as usize] += 1;
        if verdict == Verdict::Wrong && !who.hostile.is_possible() {
            let floor = tracked.floor().map(|seq| seq.0);
            let found = match read {
                Ok(outcome) => outcome.item.seq.to_string(),
                Err(error) => error.to_string(),
            };
            let what =
                format_args!("{target}: sequence {floor:?} was acknowledged, a read found {found}");
            let now = self.backend.now();
            self.violations.note(now, what);
        }
    }
}
