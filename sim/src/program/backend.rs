//! The whole program as the backend of a run.

use std::time::Duration;

use sha2::Digest as _;
use skydht_core::item::Seq;
use skydht_core::key::PublicKey;
use skydht_core::node::{GetOutcome, OPERATION_TIMEOUT, OperationId};
use skydht_core::time::{Unix, nanos};
use skydht_runtime::Runtime as _;

use super::action::ProgramAction;
use super::directory::Presence;
use super::hosts::RETIRED;
use super::state::WholeProgram;
use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::figures::Quantity;
use crate::network::{HostId, Rate};
use crate::oracle::Violations;
use crate::run::{Backend, Run, SETTLED, Totals, UserOperation};
use crate::scenario::RunError;
use crate::scenario::storage::StorageFault;
use crate::scenario::work::UserAction;

impl Backend for WholeProgram {
    type Planned = ProgramAction;
    const OPERATION_LIMIT: Duration =
        Duration::from_secs(OPERATION_TIMEOUT.as_secs() + SETTLED.as_secs());

    fn now(&self) -> SimTime {
        SimTime::ZERO.plus(self.world.now())
    }

    fn plan(&mut self, at: SimTime, planned: ProgramAction) {
        self.planned += 1;
        self.plan.insert((at, self.planned), planned);
    }

    fn next_planned(
        run: &mut Run<'_, Self>,
        end: SimTime,
    ) -> Result<Option<ProgramAction>, RunError> {
        let program = &mut run.backend;
        if program.stalled {
            return Ok(None);
        }
        let next = program.plan.first_key_value().map(|(at, _)| at.0);
        let due = next.filter(|at| *at <= end);
        let now = program.now();
        if let Err(stalled) = program.world.advance(due.unwrap_or(end).since(now)) {
            program.stalled = true;
            let now = program.now();
            run.violations.note(now, stalled);
        }
        run.report_progress();
        run.take_started()?;
        run.process_answers();
        let planned = due.and_then(|_| run.backend.plan.pop_first());
        Ok(planned.map(|(_, planned)| planned))
    }

    fn carry_out(run: &mut Run<'_, Self>, planned: ProgramAction) -> Result<(), RunError> {
        let program = &mut run.backend;
        let (name, done) = match planned {
            ProgramAction::Common(action) => return run.act(action),
            ProgramAction::Break(host) => {
                program.world.disconnect(program.machine(host).ip);
                ("did_break", program.is_up(host))
            }
            ProgramAction::Silence(host) => ("did_silence", run.silence(host, true)),
            ProgramAction::Hear(host) => ("did_hear", run.silence(host, false)),
            ProgramAction::Leave(host) => ("did_leave", run.leave(host)),
            ProgramAction::Left(host) => ("did_stop", run.left(host)),
            ProgramAction::RelayCrash(relay, process) => {
                let (world, coverage) = (&program.world, &mut run.coverage);
                let done = program.relays.crash(world, relay, process, coverage);
                ("did_relay_crash", done)
            }
            ProgramAction::RelayStart(relay) => ("did_relay_start", run.start_relay(relay)?),
            ProgramAction::RelayBreak(relay) => {
                let done = program.relays.disconnect(&program.world, relay);
                ("did_relay_break", done)
            }
            ProgramAction::Discovery(presence) => {
                program.relays.discovery().set(presence);
                ("did_discovery_leave", presence != Presence::Here)
            }
        };
        run.coverage.count(name, u64::from(done));
        Ok(())
    }

    fn hosts(&self) -> u32 {
        self.machines.len() as u32
    }

    fn key(&self, host: HostId) -> PublicKey {
        self.machine(host).key
    }

    fn is_up(&self, host: HostId) -> bool {
        self.machine(host).is_up()
    }

    fn is_awake(&self, host: HostId) -> bool {
        self.machine(host).node().is_some()
    }

    fn all_ours(&self) -> bool {
        self.go.keys().next().is_none()
    }

    fn readers(&self) -> Vec<HostId> {
        let awake = self.machines.iter().filter(|it| it.node().is_some());
        awake.map(|it| it.host).collect()
    }

    fn wall_clock(&self, host: HostId) -> Unix {
        let clocks = self.world.host(self.machine(host).ip).clocks();
        Unix(nanos(clocks.unix))
    }

    fn right_wall_clock(&self) -> Unix {
        Unix(nanos(self.world.runtime().clocks().unix))
    }

    fn start(run: &mut Run<'_, Self>, host: HostId, wipe: bool) -> Result<bool, RunError> {
        run.start(host, wipe)
    }

    fn crash(run: &mut Run<'_, Self>, host: HostId, process: bool) -> bool {
        run.crash(host, process)
    }

    fn suspend(&mut self, host: HostId) -> bool {
        let machine = &mut self.machines[host.index()];
        if machine.node().is_none() {
            return false;
        }
        machine.suspended = true;
        self.world.suspend(machine.ip);
        true
    }

    fn resume(&mut self, host: HostId) -> bool {
        let now = self.now();
        let machine = &mut self.machines[host.index()];
        if !machine.suspended {
            return false;
        }
        machine.suspended = false;
        machine.stood = Some(now);
        self.world.resume(machine.ip);
        true
    }

    fn step_clock(&mut self, host: HostId, by: Duration, forward: bool) -> bool {
        self.world.step_clock(self.machine(host).ip, by, forward);
        true
    }

    /// The scenario refuses this for the whole program.
    fn drift_clock(&mut self, _: HostId, _: i32) -> bool {
        false
    }

    /// Always `false`: [`Scenario`](crate::scenario::Scenario) refuses storage faults for the whole
    /// program.
    fn storage_fault(&mut self, _: StorageFault) -> bool {
        false
    }

    fn divide(run: &mut Run<'_, Self>, share: Rate, _: bool) {
        run.backend.divide(share, &mut run.random);
    }

    fn begin(
        run: &mut Run<'_, Self>,
        host: HostId,
        item: usize,
        action: UserAction,
    ) -> Option<OperationId> {
        run.begin(host, item, action)
    }

    fn tie(run: &Run<'_, Self>, item: usize) -> [UserAction; 2] {
        let floor = run.tracked[item].floor();
        let seq = floor.map_or(Seq(1), |seq| Seq(seq.0 + 1));
        [UserAction::Put, UserAction::PutElsewhere(seq)]
    }

    fn open(run: &mut Run<'_, Self>) -> Result<(), RunError> {
        for relay in run.backend.relays.ids() {
            run.start_relay(relay)?;
        }
        let (program, settings) = (&mut run.backend, &run.scenario.program);
        let discovery = program.relays.discovery();
        program.go.start(&program.world, settings, discovery);
        Ok(())
    }

    fn published(run: &mut Run<'_, Self>) -> Result<(), RunError> {
        run.pass("publish", RETIRED)?;
        run.check_calm();
        Ok(())
    }

    fn begin_chaos(run: &mut Run<'_, Self>, from: SimTime, _: SimTime) -> Vec<HostId> {
        run.begin_chaos(from)
    }

    fn plan_chaos(run: &mut Run<'_, Self>, from: SimTime, to: SimTime, victims: &[HostId]) {
        run.plan_trouble(from, to, victims);
        if run.scenario.program.relays > 0 {
            run.plan_relay_trouble(from, to);
        }
        run.backend.impatient = run.scenario.program.give_up.draw(&mut run.random);
    }

    fn heal(run: &mut Run<'_, Self>, victims: &[HostId]) -> Result<(), RunError> {
        let program = &mut run.backend;
        program.impatient = Rate::NEVER;
        program.smooth();
        program.divide(Rate::NEVER, &mut run.random);
        for relay in program.relays.ids() {
            run.start_relay(relay)?;
        }
        for host in victims.iter().copied() {
            run.silence(host, false);
            run.backend.resume(host);
            run.start(host, false)?;
        }
        Ok(())
    }

    fn healed(_: &mut Run<'_, Self>) {}

    fn wind_up(run: &mut Run<'_, Self>) -> Result<(), RunError> {
        run.pass("idle", run.scenario.phases.idle)?;
        run.check_settled()?;
        run.shut_down()
    }

    fn check_hosts(run: &mut Run<'_, Self>, _: bool) -> Result<(), RunError> {
        run.check_nodes();
        Ok(())
    }

    fn sample_read(
        run: &mut Run<'_, Self>,
        operation: &UserOperation,
        at: SimTime,
        _: &GetOutcome,
    ) {
        let name = match operation.action {
            UserAction::Get { checked: true, .. } => "get",
            _ => "chaos_get",
        };
        run.sample(name, at.since(operation.started));
    }

    fn totals(self, coverage: &mut Coverage, violations: &mut Violations) -> Totals {
        let stats = self.world.network_stats();
        let (now, polls) = (self.now(), self.world.polls());
        // The last watchers of nodes end with the world.
        drop(self.world);
        drop(self.machines);
        let mut ledger = self.shared.lock();
        let mut digest = self.answers_digest;
        for ((host, life), (inputs, value)) in &ledger.lives {
            digest.update(format!("{host} {life} {inputs} {value}\n").as_bytes());
        }
        digest.update(format!("{now} {polls} {stats:?}\n").as_bytes());
        let digest = digest.finalize();
        violations.append(std::mem::take(&mut ledger.violations));
        coverage.merge(&ledger.coverage);
        for (name, count) in [
            ("net_blocked", stats.blocked),
            ("net_broken", stats.broken),
            ("net_refused", stats.refused),
            ("net_lost", stats.lost),
        ] {
            coverage.count(name, count);
        }
        Totals {
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            figures: vec![
                ("inputs", Quantity::count(ledger.inputs)),
                ("connections", Quantity::count(stats.connected)),
                ("polls", Quantity::count(polls)),
                ("busiest_polls", Quantity::count(self.busiest)),
            ],
        }
    }
}
