//! The backend of a run on cores.

use std::time::Duration;

use skydht_core::item::Seq;
use skydht_core::key::PublicKey;
use skydht_core::node::{Event, GetOutcome, OperationId, Outcome, ReadPolicy};
use skydht_core::time::Unix;

use super::cast::HostKind;
use super::state::{Cores, STEP};
use crate::clock::{Clock, SimTime};
use crate::coverage::Coverage;
use crate::figures::Quantity;
use crate::network::{Departure, HostId, Rate};
use crate::oracle::Violations;
use crate::run::{Backend, Run, Totals, UserOperation};
use crate::scenario::RunError;
use crate::scenario::action::Action;
use crate::scenario::storage::StorageFault;
use crate::scenario::work::UserAction;
use crate::world::SimEvent;

/// Maximum duration of an operation of upstream's node, by its own default.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(300);

/// Maximum lag of the replica of a Redis.
const REPLICA_LAG: Duration = Duration::from_secs(1);

impl Backend for Cores {
    type Planned = Action;
    const OPERATION_LIMIT: Duration = UPSTREAM_TIMEOUT;

    fn now(&self) -> SimTime {
        self.world.now()
    }

    fn plan(&mut self, at: SimTime, planned: Action) {
        self.world.wake_at(at, self.planned.len() as u64);
        self.planned.push(planned);
    }

    fn next_planned(run: &mut Run<'_, Self>, end: SimTime) -> Result<Option<Action>, RunError> {
        loop {
            let step = end.min(run.backend.step_end);
            while let Some(event) = run.backend.world.step_until(step) {
                if let Some(action) = run.observe(event) {
                    return Ok(Some(action));
                }
            }
            run.backend.step_end = step.plus(STEP);
            if step == end {
                return Ok(None);
            }
            run.report_progress();
        }
    }

    fn carry_out(run: &mut Run<'_, Self>, planned: Action) -> Result<(), RunError> {
        run.act(planned)
    }

    fn hosts(&self) -> u32 {
        self.world.next_host().0
    }

    fn key(&self, host: HostId) -> PublicKey {
        self.cast.keys[host.index()]
    }

    fn is_up(&self, host: HostId) -> bool {
        self.world.is_up(host)
    }

    fn is_awake(&self, host: HostId) -> bool {
        self.world.is_up(host) && !self.world.is_suspended(host)
    }

    fn all_ours(&self) -> bool {
        self.cast.kinds.iter().all(|kind| *kind == HostKind::Ours)
    }

    fn readers(&self) -> Vec<HostId> {
        let ours: Vec<HostId> = self.living(HostKind::Ours).collect();
        match ours.is_empty() {
            true => self.living(HostKind::Upstream).collect(),
            false => ours,
        }
    }

    fn wall_clock(&self, host: HostId) -> Unix {
        let time = self.world.time_of(host);
        time.map_or(Unix::default(), |time| time.unix)
    }

    fn right_wall_clock(&self) -> Unix {
        Clock::new().read(self.world.now()).unix
    }

    fn start(run: &mut Run<'_, Self>, host: HostId, wipe: bool) -> Result<bool, RunError> {
        if run.backend.dead.contains(&host) || run.backend.world.is_up(host) {
            return Ok(false);
        }
        if wipe && run.backend.world.wipe(host).is_ok() {
            run.coverage.count("did_wipe", 1);
            run.durability.forget(host);
        }
        run.unset_clock(host);
        let again = run.backend.started.contains_key(&host);
        let done = run.backend.world.start(host).is_ok();
        if done && again {
            run.publish_again(host);
        }
        Ok(done)
    }

    fn crash(run: &mut Run<'_, Self>, host: HostId, process: bool) -> bool {
        let world = &mut run.backend.world;
        if let Some(node) = world.node(host) {
            run.coverage.add(node.counters());
        }
        let how = match process {
            true => Departure::Process,
            false => Departure::Machine,
        };
        world.crash(host, how).is_ok()
    }

    fn suspend(&mut self, host: HostId) -> bool {
        self.world.suspend(host).is_ok()
    }

    fn resume(&mut self, host: HostId) -> bool {
        self.world.resume(host).is_ok()
    }

    fn step_clock(&mut self, host: HostId, by: Duration, forward: bool) -> bool {
        if self.world.storage_of(host).shared {
            return false;
        }
        let step = |clock: &mut Clock, _| match forward {
            true => clock.step_forward(by),
            false => clock.step_back(by),
        };
        self.world.change_clock(host, step).is_ok()
    }

    fn drift_clock(&mut self, host: HostId, ppm: i32) -> bool {
        if self.world.storage_of(host).shared {
            return false;
        }
        let drift = |clock: &mut Clock, at| clock.drift(at, ppm);
        self.world.change_clock(host, drift).is_ok()
    }

    fn storage_fault(&mut self, fault: StorageFault) -> bool {
        let world = &mut self.world;
        match fault {
            StorageFault::Full(host) => world.set_disk_full(host, true),
            StorageFault::Free(host) => world.set_disk_full(host, false),
            StorageFault::FailOver => {
                world.fail_over(REPLICA_LAG);
                world.set_redis_away(true);
                true
            }
            StorageFault::Back => {
                world.set_redis_away(false);
                true
            }
        }
    }

    fn divide(run: &mut Run<'_, Self>, share: Rate, one_way: bool) {
        let hosts = run.hosts();
        let network = run.backend.world.network_mut();
        if share == Rate::NEVER {
            return network.join();
        }
        for host in hosts {
            network.set_group(host, u8::from(share.hits(&mut run.random)));
        }
        match one_way {
            true => network.cut_one_way(0, 1),
            false => network.cut(0, 1),
        }
    }

    fn begin(
        run: &mut Run<'_, Self>,
        host: HostId,
        item: usize,
        action: UserAction,
    ) -> Option<OperationId> {
        let command = run.command(item, action);
        let op = run.backend.world.command(host, command).ok()?;
        let timeout = match run.backend.kind(host) {
            HostKind::Ours => skydht_core::node::OPERATION_TIMEOUT,
            HostKind::Upstream | HostKind::Mirror | HostKind::Hostile => UPSTREAM_TIMEOUT,
        };
        run.operations.started(run.now(), host, op, timeout);
        Some(op)
    }

    fn tie(run: &Run<'_, Self>, item: usize) -> [UserAction; 2] {
        let tracked = &run.tracked[item];
        let floor = tracked.floor().map_or(0, |seq| seq.0);
        let seq = Seq(run.backend.wall_clock(tracked.owner).0.max(floor + 1));
        [UserAction::PutElsewhere(seq); 2]
    }

    fn open(_: &mut Run<'_, Self>) -> Result<(), RunError> {
        Ok(())
    }

    fn published(run: &mut Run<'_, Self>) -> Result<(), RunError> {
        run.measure_upkeep()?;
        run.check_calm();
        run.stop_dead_hosts()
    }

    fn begin_chaos(run: &mut Run<'_, Self>, _: SimTime, _: SimTime) -> Vec<HostId> {
        run.begin_chaos()
    }

    fn plan_chaos(run: &mut Run<'_, Self>, from: SimTime, to: SimTime, victims: &[HostId]) {
        let scenario = run.scenario;
        let storages = &mut run.backend.storages;
        for (at, fault) in storages.plan(&scenario.storage, (from, to), victims) {
            run.plan(at, Action::Storage(fault));
        }
    }

    fn heal(run: &mut Run<'_, Self>, victims: &[HostId]) -> Result<(), RunError> {
        run.backend.world.heal();
        *run.backend.world.network_mut().faults_mut() = run.scenario.network;
        for host in victims.iter().copied() {
            if run.backend.world.is_suspended(host) {
                run.act(Action::Resume(host))?;
            }
            if !run.backend.world.is_up(host) {
                run.act(Action::Start { host, wipe: false })?;
            }
        }
        Ok(())
    }

    fn healed(run: &mut Run<'_, Self>) {
        let cores = &run.backend;
        let node = |host| cores.world.node(host);
        let alone = |host: &HostId| node(*host).is_some_and(|it| it.table().is_empty());
        run.backend.lonely = cores.living(HostKind::Ours).filter(alone).count() as u64;
    }

    fn wind_up(run: &mut Run<'_, Self>) -> Result<(), RunError> {
        run.wind_up()
    }

    fn check_hosts(run: &mut Run<'_, Self>, all: bool) -> Result<(), RunError> {
        run.check_cores(all)
    }

    fn sample_read(
        run: &mut Run<'_, Self>,
        operation: &UserOperation,
        at: SimTime,
        found: &GetOutcome,
    ) {
        let UserAction::Get { policy, checked } = operation.action else {
            return;
        };
        let took = at.since(operation.started);
        let first = operation.first.unwrap_or(at).since(operation.started);
        let (whole, early) = match checked {
            true => ("get_finished", "get_first"),
            false => ("chaos_get_finished", "chaos_get_first"),
        };
        if policy == ReadPolicy::Freshest {
            run.sample(whole, took);
            run.sample(early, first);
            if checked {
                run.sample_count("get_hops", found.stats.hops.into());
                run.sample_count("get_requests", found.stats.requests.into());
            }
        } else if checked {
            run.sample("get_first_valid", took);
        }
    }

    fn totals(self, coverage: &mut Coverage, _: &mut Violations) -> Totals {
        for host in self.world.hosts() {
            if let Some(node) = self.world.node(host) {
                coverage.add(node.counters());
                coverage.add_limits(&node.snapshot().limits);
            }
        }
        let (stats, world) = (*self.world.network().stats(), self.world.stats());
        for (name, count) in [
            ("net_retransmissions", stats.retransmissions),
            ("net_resets", stats.resets),
            ("net_half_open", stats.half_open),
            ("net_held_up", stats.held_up),
            ("net_blocked", stats.blocked),
            ("net_dials_failed", stats.dials_failed),
            ("writes_failed", world.writes_failed),
            ("writes_lost", world.writes_lost),
            ("records_torn", world.torn),
            ("written_again", world.written_again),
        ] {
            coverage.count(name, count);
        }
        let nodes = u64::from(self.world.next_host().0).max(1);
        let mut figures = vec![
            ("lonely", Quantity::count(self.lonely)),
            ("inputs", Quantity::count(self.world.stats().inputs)),
            ("messages", Quantity::count(stats.messages)),
            ("bytes", Quantity::bytes(stats.bytes)),
            ("messages_per_node", Quantity::count(stats.messages / nodes)),
            ("bytes_per_node", Quantity::bytes(stats.bytes / nodes)),
            ("dials", Quantity::count(stats.dials)),
        ];
        let upkeep = self.upkeep.map(Quantity::bytes);
        figures.extend(upkeep.map(|upkeep| ("upkeep_per_second", upkeep)));
        let digest = self.digest;
        Totals {
            digest: digest.unwrap_or_else(|| self.world.digest().to_string()),
            figures,
        }
    }
}

impl Run<'_, Cores> {
    /// Updates the reference model with an event. Returns the planned action that is due, if it is
    /// one.
    pub(super) fn observe(&mut self, event: SimEvent) -> Option<Action> {
        let now = self.now();
        match event {
            SimEvent::Woke { token } => return self.backend.planned.get(token as usize).copied(),
            SimEvent::Started { host, life: 1 } => drop(self.backend.started.insert(host, now)),
            SimEvent::Started { host, .. } => self.found_on_disk(host),
            SimEvent::Crashed { host, .. } => {
                self.host_failed(host);
                self.users_failed(host);
            }
            SimEvent::Stored {
                host,
                changes,
                durable: true,
                ..
            } => self.is_durable(host, &changes),
            SimEvent::FailedOver { lost } => self.durability.failed_over(&lost),
            SimEvent::Changed { host, change } => {
                let setup = self.backend.world.storage_of(host);
                if !setup.shared && !setup.lies {
                    self.durability.changed(host, &change);
                }
                // Nodes load what others wrote to shared storage without writing it back.
                let evicted = setup.shared || self.backend.has_evicted(host);
                let clock = self.backend.wall_clock(host);
                self.stored(now, host, clock, &change, evicted);
            }
            SimEvent::Event { host, event } => match event {
                Event::FirstValue { op, .. } => {
                    if let Some(operation) = self.user_operations.get_mut(&op) {
                        operation.first.get_or_insert(now);
                    }
                }
                Event::Ready { .. } => {
                    if let Some(started) = self.backend.started.get(&host).copied() {
                        self.sample("ready", now.since(started));
                    }
                }
                _ => {}
            },
            SimEvent::Finished { host, op, outcome } => {
                let known = self
                    .operations
                    .finished(now, host, op, &mut self.violations);
                let operation = known.and_then(|_| self.user_operations.remove(&op))?;
                match &outcome {
                    Outcome::Get(read) => self.read(operation, now, read),
                    Outcome::Put(put) => self.put(operation, now, put),
                    _ => {}
                }
            }
            _ => {}
        }
        None
    }
}
