//! What users are told, and whether it is right.

use std::collections::BTreeSet;

use skydht_core::node::{GetError, GetOutcome, K, PutError, PutOutcome, ReadPolicy};

use super::backend::Backend;
use super::state::{Doing, Run};
use crate::clock::SimTime;
use crate::network::HostId;
use crate::oracle::promises::Verdict;
use crate::scenario::work::UserAction;

impl<B: Backend> Run<'_, B> {
    /// A read of a user ended.
    pub(crate) fn read(&mut self, doing: Doing, at: SimTime, read: &Result<GetOutcome, GetError>) {
        let UserAction::Get { policy, checked } = doing.action else {
            return;
        };
        if checked {
            self.judge(doing, policy, read);
        }
        if let Ok(found) = read {
            B::sample_read(self, &doing, at, found);
        }
    }

    /// A put of a user ended.
    pub(crate) fn put(&mut self, doing: Doing, at: SimTime, put: &Result<PutOutcome, PutError>) {
        let tracked = &mut self.tracked[doing.item];
        let Ok(outcome) = put else {
            self.coverage.count("puts_failed", 1);
            return tracked.unsure();
        };
        if !matches!(doing.action, UserAction::PutElsewhere(_)) {
            let tombstone = doing.action == UserAction::Delete;
            tracked.promised(doing.started, outcome, tombstone);
        }
        self.sample("put", at.since(doing.started));
        self.sample_count("put_replicas", outcome.replicas.acknowledged().into());
    }

    fn judge(&mut self, doing: Doing, policy: ReadPolicy, read: &Result<GetOutcome, GetError>) {
        let tracked = &self.tracked[doing.item];
        let (target, backend) = (tracked.target, &self.backend);
        let who = &self.scenario.population;
        // Some holder that has not failed is among the living nodes nearest to the target.
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
                tracked.judge(doing.started, who.item_ttl, owner_up, reachable, read)
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
