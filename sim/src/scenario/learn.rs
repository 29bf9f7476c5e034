//! What happens is measured, and judged.

use std::collections::BTreeSet;
use std::time::Duration;

use skydht_core::node::{
    Counter, Event, GetError, GetOutcome, OperationId, Outcome as Finished, ReadPolicy,
};
use skydht_core::time::nanos;

use super::cast::Kind;
use super::run::{Outcome, Run, SETTLED};
use super::verdict::{self, Found};
use super::work::{Deed, Doing};
use crate::figures::{Samples, Unit};
use crate::network::{Departure, HostId};
use crate::oracle::bounds;
use crate::oracle::promises::{Circumstances, Verdict};
use crate::upstream::UpstreamNode;
use crate::world::{Happening, Observer, World};

/// Hosts that are looked at in one round.
const CHECKED_AT_A_TIME: usize = 2_000;

impl Run<'_> {
    pub(super) fn sample(&mut self, name: &'static str, took: Duration) {
        self.samples
            .entry(name)
            .or_insert_with(|| Samples::new(Unit::Nanoseconds))
            .push(nanos(took));
    }

    pub(super) fn count(&mut self, name: &'static str, value: u64) {
        self.samples
            .entry(name)
            .or_insert_with(|| Samples::new(Unit::Count))
            .push(value);
    }

    pub(super) fn finished(&mut self, world: &World, op: OperationId, outcome: &Finished) {
        let now = world.now();
        let Some(took) = self.operations.finished(now, op, &mut self.violations) else {
            return;
        };
        let Some(doing) = self.doing.remove(&op) else {
            return;
        };
        match (doing.deed, outcome) {
            (Deed::Get { policy, checked }, Finished::Get(read)) => {
                if checked {
                    self.judge(world, doing, policy, read);
                }
                let Ok(found) = read else { return };
                let first = doing.first.unwrap_or(now).since(doing.started);
                let (whole, early) = match checked {
                    true => ("get_finished", "get_first"),
                    false => ("chaos_get_finished", "chaos_get_first"),
                };
                if policy == ReadPolicy::Freshest {
                    self.sample(whole, took);
                    self.sample(early, first);
                    if checked {
                        self.count("get_hops", found.stats.hops.into());
                        self.count("get_requests", found.stats.requests.into());
                    }
                } else if checked {
                    self.sample("get_first_valid", took);
                }
            }
            (_, Finished::Put(Ok(outcome))) => {
                self.sample("put", took);
                self.count("put_replicas", outcome.replicas.acknowledged().into());
                let tombstone = doing.deed == Deed::Delete;
                if !matches!(doing.deed, Deed::PutElsewhere(_)) {
                    self.tracked[doing.item].promised(doing.started, outcome, tombstone);
                }
            }
            (_, Finished::Put(Err(_))) => {
                self.coverage.count("puts_failed", 1);
                self.tracked[doing.item].unsure();
            }
            _ => {}
        }
    }

    pub(super) fn judge(
        &mut self,
        world: &World,
        doing: Doing,
        policy: ReadPolicy,
        read: &Result<GetOutcome, GetError>,
    ) {
        let tracked = &self.tracked[doing.item];
        let ttl = self.scenario.population.item_ttl;
        let (target, cast) = (tracked.target, &self.cast);
        let reachable = |standing: &BTreeSet<HostId>| {
            let mut living: Vec<(_, HostId)> = world
                .hosts()
                .filter(|host| world.is_up(*host))
                .map(|host| (target.distance(&cast.keys[host.0 as usize].id()), host))
                .collect();
            let k = skydht_core::node::K.min(living.len());
            living.select_nth_unstable(k - 1);
            living[..k].iter().any(|(_, host)| standing.contains(host))
        };
        let mirrors = self.scenario.population.mirrors > 0;
        let verdict = if policy == ReadPolicy::FirstValid && tracked.is_found(mirrors, read) {
            Verdict::Right
        } else {
            let owner_up = world.is_up(tracked.owner);
            tracked.judge(doing.started, ttl, owner_up, reachable, read)
        };
        self.verdicts[verdict as usize] += 1;
        if verdict == Verdict::Wrong && !self.scenario.population.hostile.is_possible() {
            let what = format_args!(
                "{target}: sequence {:?} was acknowledged, a read found {}",
                tracked.floor().map(|seq| seq.0),
                match read {
                    Ok(outcome) => format!("{}", outcome.item.seq),
                    Err(error) => error.to_string(),
                }
            );
            self.violations.note(world.now(), what);
        }
    }

    pub(super) fn has_evicted(&self, world: &World, host: HostId) -> bool {
        let node = world.node(host);
        node.is_some_and(|node| node.counters().get(Counter::ItemsEvicted) > 0)
    }

    /// The expensive invariants of all hosts, and a supervisor's work.
    pub(super) fn check(&mut self, world: &mut World) {
        self.check_some(world, 1);
    }

    /// The same, of large networks for a part of the hosts at a time: each look at a host that
    /// has nothing to do costs as much as an event.
    pub(super) fn check_now_and_then(&mut self, world: &mut World) {
        let parts = world.hosts().count().div_ceil(CHECKED_AT_A_TIME);
        self.check_some(world, parts.max(1));
    }

    fn check_some(&mut self, world: &mut World, parts: usize) {
        let now = world.now();
        self.operations.check(now, &mut self.violations);
        self.rounds += 1;
        let first = self.rounds % parts;
        let all_ours = self.cast.kinds.iter().all(|kind| *kind == Kind::Ours);
        for host in world.hosts().skip(first).step_by(parts) {
            match self.cast.kinds[host.0 as usize] {
                Kind::Ours => {
                    let Some(node) = world.node(host) else {
                        continue;
                    };
                    let violations = &mut self.violations;
                    bounds::check(now, host, node, &self.cast.existing, violations);
                    self.evicted |= self.has_evicted(world, host);
                }
                Kind::Upstream | Kind::Mirror => {
                    let crashed = world
                        .host::<UpstreamNode>(host)
                        .is_some_and(|it| it.crashed());
                    if crashed && world.crash(host, Departure::Process).is_ok() {
                        self.coverage.count("upstream_crashed", 1);
                        self.start(world, host, false);
                    }
                }
                Kind::Hostile => {}
            }
        }
        let about = Circumstances {
            life: self.scenario.population.item_ttl.saturating_sub(SETTLED),
            all_ours,
            crashes: self.crashes,
            evicted: self.evicted || self.coverage.get("items_evicted") > 0,
        };
        for tracked in &mut self.tracked {
            let is_up = |host| world.is_up(host);
            tracked.check(now, &self.holdings, &about, is_up, &mut self.violations);
        }
    }

    pub(super) fn conclude(mut self, world: &World, seed: u64) -> Outcome {
        for host in world.hosts() {
            if let Some(node) = world.node(host) {
                self.coverage.add(node.counters());
                self.coverage.add_limits(&node.snapshot().limits);
            }
        }
        let stats = *world.network().stats();
        for (name, count) in [
            ("net_retransmissions", stats.retransmissions),
            ("net_resets", stats.resets),
            ("net_half_open", stats.half_open),
            ("net_held_up", stats.held_up),
            ("net_blocked", stats.blocked),
            ("net_dials_failed", stats.dials_failed),
        ] {
            self.coverage.count(name, count);
        }
        verdict::conclude(
            self.scenario,
            Found {
                seed,
                verdicts: self.verdicts,
                upkeep: self.upkeep,
                lonely: self.lonely,
                samples: self.samples,
                violations: self.violations,
                coverage: self.coverage,
                inputs: world.stats().inputs,
                network: stats,
                digest: self.digest.unwrap_or_else(|| world.digest().to_string()),
                now: world.now(),
            },
        )
    }
}

impl Observer for Run<'_> {
    fn observe(&mut self, world: &mut World, happening: Happening) {
        match happening {
            Happening::Woke { token } => {
                if let Some(action) = self.actions.get(token as usize).copied() {
                    self.act(world, action);
                }
            }
            Happening::Started { host, life: 1 } => {
                self.started.insert(host, world.now());
            }
            Happening::Crashed {
                host, abandoned, ..
            } => {
                self.crashes += 1;
                self.operations.abandoned(&abandoned);
                for op in abandoned {
                    if let Some(doing) = self.doing.remove(&op)
                        && !matches!(doing.deed, Deed::Get { .. })
                    {
                        self.tracked[doing.item].unsure();
                    }
                }
                // What it loads again may live shorter: its clock may have been stepped.
                self.holdings.gone(host);
                for tracked in &mut self.tracked {
                    tracked.failed(host);
                }
            }
            Happening::Stored {
                host,
                change,
                durable: true,
            } => {
                let evicted = self.has_evicted(world, host);
                if let Some(clock) = world.time_of(host) {
                    let (now, violations) = (world.now(), &mut self.violations);
                    self.holdings
                        .changed(now, host, clock.unix, &change, evicted, violations);
                }
            }
            Happening::Event { host, event } => match event {
                Event::FirstValue { op, .. } => {
                    if let Some(doing) = self.doing.get_mut(&op) {
                        doing.first.get_or_insert(world.now());
                    }
                }
                Event::Ready { .. } => {
                    if let Some(started) = self.started.get(&host).copied() {
                        self.sample("ready", world.now().since(started));
                    }
                }
                _ => {}
            },
            Happening::Finished { op, outcome, .. } => self.finished(world, op, &outcome),
            _ => {}
        }
    }
}
