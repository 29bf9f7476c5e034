//! The phases of a run.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::backend::Backend;
use super::state::{CHECK_EVERY, Run, SETTLED};
use super::verdict;
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::up_to;
use crate::scenario::action::Action;
use crate::scenario::clocks::WallClocks;
use crate::scenario::draw::PlannedItem;
use crate::scenario::work::{self, Task, UserAction};
use crate::scenario::{Outcome, Progress, RunError, Scenario, chaos};

/// Actions planned for after the end of the chaos phase are due within this time.
const AFTER_CHAOS: Duration = Duration::from_secs(120);

/// Runs a scenario on a network created for it, with the items and the random generator that result
/// from its creation.
///
/// # Errors
/// [`RunError`] if the scenario cannot be run.
pub(crate) fn play<B: Backend>(
    scenario: &Scenario,
    seed: u64,
    made: (B, Vec<PlannedItem>, ChaCha8Rng),
    clocks: WallClocks,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let mut run = Run::new(scenario, made, clocks, progress);
    run.all_phases()?;
    Ok(verdict::conclude(run, seed))
}

impl<B: Backend> Run<'_, B> {
    pub(crate) fn now(&self) -> SimTime {
        self.backend.now()
    }

    pub(crate) fn plan(&mut self, at: SimTime, action: Action) {
        self.backend.plan(at, action.into());
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostId> + use<B> {
        (0..self.backend.hosts()).map(HostId)
    }

    /// Lets time pass and carries out the actions planned for it.
    pub(crate) fn pass(&mut self, phase: &'static str, time: Duration) -> Result<(), RunError> {
        if time.is_zero() {
            return Ok(());
        }
        self.phase = phase;
        let end = self.now().plus(time);
        while let Some(planned) = B::next_planned(self, end)? {
            B::carry_out(self, planned)?;
        }
        Ok(())
    }

    /// Reports the progress of the run to the caller.
    pub(crate) fn report_progress(&mut self) {
        let Scenario {
            phases, population, ..
        } = self.scenario;
        let expiry = match phases.expiry {
            Duration::ZERO => Duration::ZERO,
            slack => population.item_ttl + slack,
        };
        let total = phases.join
            + phases.settle
            + phases.publish
            + phases.idle
            + phases.chaos
            + phases.heal
            + phases.verify
            + expiry;
        let done = Duration::from_nanos(self.now().0);
        (self.progress)(Progress {
            phase: self.phase,
            done,
            total,
        });
    }

    fn all_phases(&mut self) -> Result<(), RunError> {
        let phases = self.scenario.phases;
        self.plan(SimTime::ZERO.plus(CHECK_EVERY), Action::Check);
        B::open(self)?;
        self.set_clocks_wrong()?;
        for host in self.hosts() {
            let at = match host.0 < self.scenario.population.bootstrap {
                true => SimTime::ZERO,
                false => SimTime::ZERO.plus(up_to(phases.join, &mut self.random)),
            };
            self.plan(at, Action::Start { host, wipe: false });
        }
        self.pass("join", phases.join)?;
        self.pass("settle", phases.settle)?;

        let begin = self.now();
        for item in 0..self.items.len() {
            let at = begin.plus(up_to(phases.publish, &mut self.random));
            self.plan_user(at, item, Task::One(UserAction::Put));
        }
        self.pass("publish", phases.publish)?;
        self.finish_operations()?;
        self.pass("publish", SETTLED)?;
        B::published(self)?;

        if !phases.chaos.is_zero() {
            self.chaos()?;
        }
        self.pass("heal", phases.heal)?;
        B::healed(self);

        let begin = self.now();
        let (scenario, random) = (self.scenario, &mut self.random);
        let reads = work::checked_reads(scenario, begin, phases.verify, random);
        for (at, item, action) in reads {
            self.plan_user(at, item, Task::One(action));
        }
        self.pass("verify", phases.verify)?;
        self.finish_operations()?;
        B::wind_up(self)
    }

    pub(crate) fn plan_user(&mut self, at: SimTime, item: usize, task: Task) {
        self.plan(at, Action::User { item, task });
    }

    fn set_clocks_wrong(&mut self) -> Result<(), RunError> {
        let skewed = std::mem::take(&mut self.clocks.skewed);
        self.coverage.count("clocks_skewed", skewed.len() as u64);
        let unset = self.clocks.unset() as u64;
        self.coverage.count("clocks_unset", unset);
        for (host, by, forward) in skewed {
            self.act(Action::Step { host, by, forward })?;
        }
        Ok(())
    }

    fn chaos(&mut self) -> Result<(), RunError> {
        let (scenario, time) = (self.scenario, self.scenario.phases.chaos);
        let (begin, end) = (self.now(), self.now().plus(time));
        let victims = B::begin_chaos(self, begin, end);
        for (at, action) in chaos::plan(scenario, begin, end, &victims, &mut self.random) {
            self.plan(at, action);
        }
        B::plan_chaos(self, begin, end, &victims);
        for (at, item, task) in work::second_phase(scenario, begin, time, &mut self.random) {
            self.plan_user(at, item, task);
        }
        for (at, host) in self.clocks.plan(begin, time) {
            self.plan(at, Action::SetClock(host));
        }
        self.pass("chaos", time)?;
        // Hosts that are to return do so now.
        self.pass("chaos", AFTER_CHAOS)?;
        B::heal(self, &victims)
    }

    /// Waits until all users have their answers.
    fn finish_operations(&mut self) -> Result<(), RunError> {
        let end = self.now().plus(B::OPERATION_LIMIT);
        while !self.user_operations.is_empty() && self.now() < end {
            let before = self.now();
            self.pass(self.phase, Duration::from_secs(1))?;
            if self.now() == before {
                break; // the network makes no more progress
            }
        }
        Ok(())
    }
}
