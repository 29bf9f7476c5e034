//! Hosts start, crash, shut down, and lose their traffic.

use std::time::Duration;

use futures::FutureExt as _;
use skydht_core::node::OperationError;
use skydht_runtime::Runtime as _;

use super::action::ProgramAction;
use super::build::BuildError;
use super::machine::State;
use super::relays::RelayId;
use super::state::WholeProgram;
use crate::network::HostId;
use crate::network::faults::below;
use crate::run::Backend as _;
use crate::run::Run;
use crate::scenario::RunError;
use crate::scenario::action::Action;

/// A node that got a shutdown command must have stopped within this time.
pub(super) const SHUT_DOWN: Duration = Duration::from_secs(10);
/// Replaced sessions must be closed within this time.
pub(super) const RETIRED: Duration = Duration::from_secs(35);

impl Run<'_, WholeProgram> {
    pub(super) fn start(&mut self, host: HostId, wipe: bool) -> Result<bool, RunError> {
        let now = self.now();
        let program = &mut self.backend;
        let machine = program.machine(host);
        match machine.state {
            State::Unplugged | State::Down(None) => {}
            State::Down(Some(since)) => {
                let tasks = program.world.tasks_of(machine.ip);
                if now.since(since) > RETIRED && tasks > 0 {
                    let what = format_args!("{tasks} tasks are left on {host}, which had left");
                    self.violations.note(now, what);
                }
            }
            State::Up(_) | State::Starting(_) => return Ok(false),
            State::Leaving(since) => {
                // It starts again after it has stopped.
                let soon = since.plus(SHUT_DOWN).max(now).plus(Duration::from_secs(1));
                self.plan(soon, Action::Start { host, wipe });
                return Ok(false);
            }
        }
        let records = {
            let mut ledger = program.shared.lock();
            let disk = &mut ledger.hosts[host.index()].disk;
            if wipe {
                disk.clear();
                self.coverage.count("did_wipe", 1);
                // Also what it stored while it shut down, after it was counted as gone.
                self.holdings.gone(host);
            }
            disk.values().cloned().collect()
        };
        // Bootstrap hosts keep their address.
        let may_move = machine.lives > 0 && host.0 >= self.scenario.population.bootstrap;
        if may_move && self.scenario.program.moves.hits(&mut self.random) {
            program.machine_mut(host).change_port();
            self.coverage.count("moves", 1);
        }
        self.unset_clock(host);
        let program = &mut self.backend;
        let machine = &mut program.machines[host.index()];
        machine.start(&program.world, &*program.build, records, &program.shared)?;
        if machine.is_up() {
            self.started(host);
        }
        Ok(true)
    }

    /// The node runs now. If it ran before, it publishes its items again.
    fn started(&mut self, host: HostId) {
        if self.backend.machine(host).lives > 1 {
            self.coverage.count("restarts", 1);
            self.publish_again(host);
        }
    }

    /// Processes the nodes that have started since the last call.
    pub(super) fn take_started(&mut self) -> Result<(), RunError> {
        for host in self.hosts() {
            if self.backend.machine_mut(host).take_started()? {
                self.started(host);
            }
        }
        Ok(())
    }

    pub(super) fn start_relay(&mut self, relay: RelayId) -> Result<bool, RunError> {
        let program = &mut self.backend;
        let started = program.relays.start(&program.world, relay);
        Ok(started.map_err(BuildError::Relay)?)
    }

    pub(super) fn crash(&mut self, host: HostId, process: bool) -> bool {
        self.count_node(host);
        let machine = &mut self.backend.machines[host.index()];
        if !machine.is_up() {
            return false;
        }
        machine.suspended = false;
        if process {
            // A kernel resets a connection with unread data in its buffers, and otherwise finishes
            // it.
            if below(&mut self.random, 2) == 0 {
                self.backend.world.disconnect(machine.ip);
            }
            self.backend.world.crash(machine.ip);
            machine.state = State::Down(None);
        } else {
            let before = std::mem::replace(&mut machine.state, State::Unplugged);
            machine.place(&self.backend.world);
            self.backend.world.crash(machine.ip);
            drop(before);
        }
        self.host_failed(host);
        self.users_failed(host);
        true
    }

    pub(super) fn silence(&mut self, host: HostId, silent: bool) -> bool {
        let now = self.now();
        let machine = &mut self.backend.machines[host.index()];
        if machine.silent.is_some() == silent {
            return false;
        }
        if let Some(since) = machine.silent {
            self.check_given_up(host, since);
        }
        let machine = &mut self.backend.machines[host.index()];
        machine.silent = silent.then_some(now);
        machine.place(&self.backend.world);
        true
    }

    /// Ends a node in one of the ways that a program may use.
    pub(super) fn leave(&mut self, host: HostId) -> bool {
        self.count_node(host);
        let now = self.now();
        let way = below(&mut self.random, 3);
        let target = self.tracked[0].target;
        let machine = &mut self.backend.machines[host.index()];
        if machine.node().is_none() {
            return false;
        }
        let State::Up(dht) = std::mem::replace(&mut machine.state, State::Leaving(now)) else {
            return false;
        };
        let shared = self.backend.shared.clone();
        self.backend
            .world
            .host(machine.ip)
            .spawn(Box::pin(async move {
                match way {
                    0 => dht.shutdown().await,
                    // The caller gives up, but the shutdown continues: the next call waits for it.
                    1 => {
                        let _ = dht.shutdown().now_or_never();
                        dht.shutdown().await;
                    }
                    // The last handle is dropped after all users have their answers.
                    _ => return,
                }
                // A handle of a stopped node reports this immediately.
                let late = dht.find_node(target).now_or_never();
                if late != Some(Err(OperationError::ShuttingDown)) || dht.snapshot().await.is_ok() {
                    let what = format_args!("{host} has shut down, and answers {late:?}");
                    shared.lock().violations.note(now, what);
                }
            }));
        // Its users still get their answers.
        self.host_failed(host);
        let late = match way {
            2 => skydht_core::node::OPERATION_TIMEOUT,
            _ => Duration::ZERO,
        };
        let end = now.plus(late).plus(SHUT_DOWN);
        self.backend.plan(end, ProgramAction::Left(host));
        true
    }

    pub(super) fn left(&mut self, host: HostId) -> bool {
        let now = self.now();
        let machine = &mut self.backend.machines[host.index()];
        let State::Leaving(since) = machine.state else {
            return false;
        };
        machine.state = State::Down(Some(now));
        let lives = machine.lives;
        // The loop drops its watcher when it ends.
        let ended = self
            .backend
            .shared
            .lock()
            .lives
            .contains_key(&(host, lives));
        if !ended {
            let what = format_args!("{host} was told to shut down at {since} and still runs");
            self.violations.note(now, what);
        }
        true
    }
}
