//! Carries out planned actions: hosts start and stop, clocks change, users begin operations.

use std::time::Duration;

use super::backend::Backend;
use super::state::{BACK, CHECK_EVERY, LATE_WRITE, Run, SETTLED, UserOperation};
use crate::network::{HostId, Rate};
use crate::oracle::promises::Circumstances;
use crate::scenario::RunError;
use crate::scenario::action::Action;
use crate::scenario::storage::StorageFault;
use crate::scenario::work::{self, Task, UserAction};

impl<B: Backend> Run<'_, B> {
    pub(crate) fn act(&mut self, action: Action) -> Result<(), RunError> {
        let (name, done) = match action {
            Action::Start { host, wipe } => ("did_start", B::start(self, host, wipe)?),
            Action::Crash { host, process } => ("did_crash", B::crash(self, host, process)),
            Action::Suspend(host) => ("did_suspend", self.suspend(host)),
            Action::Resume(host) => ("did_resume", self.backend.resume(host)),
            Action::Step { host, by, forward } => {
                let done = self.backend.step_clock(host, by, forward);
                ("did_step_clock", done)
            }
            Action::Drift { host, ppm } => {
                self.disturb(host);
                ("did_drift_clock", self.backend.drift_clock(host, ppm))
            }
            Action::Cut { share, one_way } => {
                B::divide(self, share, one_way);
                ("did_cut", true)
            }
            Action::Join => {
                B::divide(self, Rate::NEVER, false);
                ("did_join", true)
            }
            Action::Storage(fault) => {
                let name = match fault {
                    StorageFault::Full(_) => "did_fill_disk",
                    StorageFault::FailOver => "did_fail_over",
                    StorageFault::Free(_) | StorageFault::Back => "did_mend_storage",
                };
                (name, self.backend.storage_fault(fault))
            }
            Action::SetClock(host) => ("did_set_clock", self.set_clock(host)),
            Action::User { item, task } => ("did_ask", self.begin_task(item, task)),
            Action::Check => {
                self.check(false)?;
                self.plan(self.now().plus(CHECK_EVERY), Action::Check);
                return Ok(());
            }
        };
        self.coverage.count(name, u64::from(done));
        Ok(())
    }

    /// Checks the invariants that hold at any time, for all hosts or only those whose turn it is.
    pub(crate) fn check(&mut self, all: bool) -> Result<(), RunError> {
        let now = self.now();
        let is_awake = |host| self.backend.is_awake(host);
        self.operations.check(now, is_awake, &mut self.violations);
        B::check_hosts(self, all)?;
        let about = Circumstances {
            life: self.scenario.population.item_ttl.saturating_sub(SETTLED),
            all_ours: self.backend.all_ours(),
            crashes: self.crashes(),
            evicted: self.evicted || self.coverage.get("items_evicted") > 0,
        };
        for tracked in &mut self.tracked {
            let is_up = |host| self.backend.is_up(host);
            tracked.check(now, &self.holdings, &about, is_up, &mut self.violations);
        }
        Ok(())
    }

    fn suspend(&mut self, host: HostId) -> bool {
        let done = self.backend.suspend(host);
        if done {
            self.disturb(host);
        }
        done
    }

    /// Sets the wall clock of a host that never had the right time.
    fn set_clock(&mut self, host: HostId) -> bool {
        let right = self.backend.right_wall_clock();
        let behind = right.since(self.backend.wall_clock(host));
        self.clocks.set(host) && self.backend.step_clock(host, behind, true)
    }

    /// Sets the wall clock of a host that is about to start to 1970, if it was never set.
    pub(crate) fn unset_clock(&mut self, host: HostId) {
        if self.clocks.is_unset(host) {
            let by = Duration::from_nanos(self.backend.wall_clock(host).0);
            self.backend.step_clock(host, by, false);
        }
    }

    /// A node runs again: it publishes its items again, as a visor does.
    pub(crate) fn publish_again(&mut self, host: HostId) {
        let at = self.now().plus(BACK);
        for item in 0..self.items.len() {
            let own = self.tracked[item].owner == host && self.was_published(item);
            if own && !self.deleted[item] {
                self.plan_user(at, item, Task::One(UserAction::Put));
            }
        }
    }

    fn begin_task(&mut self, item: usize, task: Task) -> bool {
        match task {
            Task::One(action) => self.begin_action(item, action),
            Task::Tie => {
                let [first, second] = B::tie(self, item);
                self.coverage.count("did_tie", 1);
                let first = self.begin_action(item, first);
                self.begin_action(item, second) || first
            }
        }
    }

    fn begin_action(&mut self, item: usize, action: UserAction) -> bool {
        let host = match action {
            UserAction::Put | UserAction::Delete => Some(self.tracked[item].owner),
            UserAction::PutElsewhere(_) | UserAction::Get { .. } => {
                work::any_of(&self.backend.readers(), &mut self.random)
            }
        };
        let Some(host) = host else { return false };
        if action == UserAction::Put && self.deleted[item] {
            return false;
        }
        let started = self.now();
        let Some(op) = B::begin(self, host, item, action) else {
            return false;
        };
        match action {
            UserAction::Delete => {
                self.deleted[item] = true;
                if let Some(seq) = self.tracked[item].floor() {
                    let late = Task::One(UserAction::PutElsewhere(seq));
                    self.plan_user(started.plus(LATE_WRITE), item, late);
                }
            }
            UserAction::PutElsewhere(seq) => self.tracked[item].elsewhere(seq),
            UserAction::Put | UserAction::Get { .. } => {}
        }
        let operation = UserOperation {
            item,
            action,
            host,
            started,
            first: None,
            disturbed: false,
        };
        self.user_operations.insert(op, operation);
        true
    }
}
