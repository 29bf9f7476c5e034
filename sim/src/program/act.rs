//! What happens to hosts, and what users do.

use std::time::Duration;

use futures::FutureExt as _;
use skydht_core::item::{Item, Seq, Value};
use skydht_core::node::{GetRequest, OperationError};
use skydht_runtime::Runtime as _;

use super::build::BuildError;
use super::directory::Presence;
use super::machine::State;
use super::relays::RelayId;
use super::run::{RETIRED, Run};
use super::users::{self, Wish};
use crate::clock::SimTime;
use crate::network::faults::below;
use crate::network::faults::up_to;
use crate::network::{HostId, Rate};
use crate::scenario::RunError;
use crate::scenario::run::{Action, BACK, CHECK_EVERY, LATE_WRITE};
use crate::scenario::work::{self, Deed, Doing, Task};

/// Within this a node that was told to shut down has done so.
const SHUT_DOWN: Duration = Duration::from_secs(10);
/// Users that give up do so within this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something planned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// What the other depth knows, too.
    Planned(Action),
    /// All connections of a host break.
    Break(HostId),
    /// Nothing gets in or out of a host.
    Silence(HostId),
    /// It does again.
    Hear(HostId),
    /// A host shuts down in order.
    Leave(HostId),
    /// It must have.
    Left(HostId),
    /// A relay dies: its process, or its machine.
    RelayCrash(RelayId, bool),
    /// It comes back.
    RelayStart(RelayId),
    /// All its connections break.
    RelayBreak(RelayId),
    /// The discovery answers no more, or again.
    Discovery(Presence),
    /// The invariants.
    Check,
}

impl Run<'_> {
    pub(super) fn act(&mut self, act: Act) -> Result<(), RunError> {
        let (name, done) = match act {
            Act::Planned(Action::Check) | Act::Check => {
                self.check();
                let next = self.now().plus(CHECK_EVERY);
                self.plan(next, Act::Check);
                return Ok(());
            }
            Act::Planned(Action::Start { host, wipe }) => ("did_start", self.start(host, wipe)?),
            Act::Planned(Action::Crash { host, process }) => {
                ("did_crash", self.crash(host, process))
            }
            Act::Planned(Action::Suspend(host)) => ("did_suspend", self.suspend(host)),
            Act::Planned(Action::Resume(host)) => ("did_resume", self.resume(host)),
            Act::Planned(Action::Step { host, by, forward }) => {
                self.world
                    .step_clock(self.machines[host.index()].ip, by, forward);
                ("did_step_clock", true)
            }
            // Refused where the scenario is read.
            Act::Planned(Action::Drift { .. }) => ("did_drift_clock", false),
            // One way as well: TCP gets nothing through without answers.
            Act::Planned(Action::Cut { share, .. }) => ("did_cut", self.divide(share)),
            Act::Planned(Action::Join) => ("did_join", self.divide(Rate::NEVER)),
            Act::Planned(Action::SetClock(host)) => ("did_set_clock", self.set_clock(host)),
            Act::Planned(Action::Do { item, task }) => ("did_ask", self.take_up(item, task)),
            Act::Break(host) => {
                self.world.disconnect(self.machines[host.index()].ip);
                ("did_break", self.machines[host.index()].is_up())
            }
            Act::Silence(host) => ("did_silence", self.silence(host, true)),
            Act::Hear(host) => ("did_hear", self.silence(host, false)),
            Act::Leave(host) => ("did_leave", self.leave(host)),
            Act::Left(host) => ("did_stop", self.left(host)),
            Act::RelayCrash(relay, process) => {
                let (world, coverage) = (&self.world, &mut self.coverage);
                let done = self.relays.crash(world, relay, process, coverage);
                ("did_relay_crash", done)
            }
            Act::RelayStart(relay) => ("did_relay_start", self.start_relay(relay)?),
            Act::RelayBreak(relay) => {
                let done = self.relays.disconnect(&self.world, relay);
                ("did_relay_break", done)
            }
            Act::Discovery(presence) => {
                self.relays.discovery().set(presence);
                ("did_discovery_leave", presence != Presence::Here)
            }
        };
        self.coverage.count(name, u64::from(done));
        Ok(())
    }

    fn start(&mut self, host: HostId, wipe: bool) -> Result<bool, RunError> {
        let now = self.now();
        let machine = &mut self.machines[host.index()];
        match machine.state {
            State::Unplugged | State::Down(None) => {}
            State::Down(Some(since)) => {
                let tasks = self.world.tasks_of(machine.ip);
                if now.since(since) > RETIRED && tasks > 0 {
                    let what = format_args!("{tasks} tasks are left on {host}, which had left");
                    self.violations.note(now, what);
                }
            }
            State::Up(_) | State::Starting(_) => return Ok(false),
            State::Leaving(since) => {
                // It comes back once it is gone.
                let soon = since.plus(SHUT_DOWN).max(now).plus(Duration::from_secs(1));
                self.plan(soon, Act::Planned(Action::Start { host, wipe }));
                return Ok(false);
            }
        }
        let records = {
            let mut ledger = self.shared.lock();
            let disk = &mut ledger.hosts[host.index()].disk;
            if wipe {
                disk.clear();
                self.coverage.count("did_wipe", 1);
            }
            disk.values().cloned().collect()
        };
        // Those from whom others start keep their place.
        let may_move = machine.lives > 0 && host.0 >= self.scenario.population.bootstrap;
        if may_move && self.scenario.program.moves.hits(&mut self.random) {
            machine.change_port();
            self.coverage.count("moves", 1);
        }
        let clocks = |ip| self.world.host(ip).clocks();
        if self.clocks.is_unset(host) {
            let shown = clocks(machine.ip).unix;
            self.world.step_clock(machine.ip, shown, false);
        }
        machine.start(&self.world, &*self.build, records, &self.shared)?;
        if machine.is_up() {
            self.started(host);
        }
        Ok(true)
    }

    /// The wall clock of a host that never had one shows the right time from now on.
    fn set_clock(&mut self, host: HostId) -> bool {
        let ip = self.machines[host.index()].ip;
        let right = self.world.runtime().clocks().unix;
        let behind = right.saturating_sub(self.world.host(ip).clocks().unix);
        let done = self.clocks.set(host);
        if done {
            self.world.step_clock(ip, behind, true);
        }
        done
    }

    pub(super) fn start_relay(&mut self, relay: RelayId) -> Result<bool, RunError> {
        let started = self.relays.start(&self.world, relay);
        Ok(started.map_err(BuildError::Relay)?)
    }

    /// A node runs now: one that ran before publishes its items anew.
    pub(super) fn started(&mut self, host: HostId) {
        let now = self.now();
        if self.machines[host.index()].lives > 1 {
            self.coverage.count("restarts", 1);
            for item in 0..self.tracked.len() {
                let own = self.tracked[item].owner == host && self.versions[item] > 0;
                if own && !self.deleted[item] {
                    let task = Task::Deed(Deed::Put);
                    self.plan(now.plus(BACK), Act::Planned(Action::Do { item, task }));
                }
            }
        }
    }

    fn crash(&mut self, host: HostId, process: bool) -> bool {
        self.count_node(host);
        let machine = &mut self.machines[host.index()];
        if !machine.is_up() {
            return false;
        }
        machine.suspended = false;
        if process {
            // With unread data in its buffers a kernel resets, else it finishes.
            if below(&mut self.random, 2) == 0 {
                self.world.disconnect(machine.ip);
            }
            self.world.crash(machine.ip);
            machine.state = State::Down(None);
        } else {
            let before = std::mem::replace(&mut machine.state, State::Unplugged);
            machine.place(&self.world);
            self.world.crash(machine.ip);
            drop(before);
        }
        self.failed(host);
        true
    }

    /// A host runs no more: what it held and what its users asked for is lost.
    fn failed(&mut self, host: HostId) {
        self.failures += 1;
        self.shared.lock().holdings.gone(host);
        for tracked in &mut self.tracked {
            tracked.failed(host);
        }
        let gone: Vec<u64> = self
            .doing
            .iter()
            .filter(|(_, doing)| doing.host == host)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            // One that shuts down still tells its users.
            if !matches!(self.machines[host.index()].state, State::Leaving(_))
                && let Some(doing) = self.doing.remove(&id)
                && !matches!(doing.doing.deed, Deed::Get { .. })
            {
                self.tracked[doing.doing.item].unsure();
            }
        }
    }

    fn suspend(&mut self, host: HostId) -> bool {
        let machine = &mut self.machines[host.index()];
        if machine.node().is_none() {
            return false;
        }
        machine.suspended = true;
        self.world.suspend(machine.ip);
        self.disturb(host);
        true
    }

    pub(super) fn resume(&mut self, host: HostId) -> bool {
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

    fn disturb(&mut self, host: HostId) {
        for doing in self.doing.values_mut().filter(|it| it.host == host) {
            doing.disturbed = true;
        }
        self.shared.lock().hosts[host.index()]
            .operations
            .disturbed_all();
    }

    /// Divides the network into two, or joins it.
    fn divide(&mut self, share: Rate) -> bool {
        for machine in &mut self.machines {
            machine.part = u32::from(share.hits(&mut self.random));
            machine.place(&self.world);
        }
        self.relays.divide(&self.world, share, &mut self.random);
        true
    }

    fn silence(&mut self, host: HostId, silent: bool) -> bool {
        let now = self.now();
        let machine = &mut self.machines[host.index()];
        if machine.silent.is_some() == silent {
            return false;
        }
        if let Some(since) = machine.silent {
            self.check_given_up(host, since);
        }
        let machine = &mut self.machines[host.index()];
        machine.silent = silent.then_some(now);
        machine.place(&self.world);
        true
    }

    /// Ends a node in one of the ways in which a program may.
    pub(super) fn leave(&mut self, host: HostId) -> bool {
        self.count_node(host);
        let now = self.now();
        let way = below(&mut self.random, 3);
        let target = self.tracked[0].target;
        let machine = &mut self.machines[host.index()];
        if machine.node().is_none() {
            return false;
        }
        let State::Up(dht) = std::mem::replace(&mut machine.state, State::Leaving(now)) else {
            return false;
        };
        let shared = self.shared.clone();
        self.world.host(machine.ip).spawn(Box::pin(async move {
            match way {
                0 => dht.shutdown().await,
                // Whoever waits gives up, and the shutdown goes on: the next one waits for it.
                1 => {
                    let _ = dht.shutdown().now_or_never();
                    dht.shutdown().await;
                }
                // The last handle goes once all users have their answers.
                _ => return,
            }
            // A handle on a node that has stopped says so at once.
            let late = dht.find_node(target).now_or_never();
            if late != Some(Err(OperationError::ShuttingDown)) || dht.snapshot().await.is_ok() {
                let what = format_args!("{host} has shut down, and answers {late:?}");
                shared.lock().violations.note(now, what);
            }
        }));
        self.failed(host);
        let late = match way {
            2 => skydht_core::node::OPERATION_TIMEOUT,
            _ => Duration::ZERO,
        };
        self.plan(now.plus(late).plus(SHUT_DOWN), Act::Left(host));
        true
    }

    fn left(&mut self, host: HostId) -> bool {
        let now = self.now();
        let machine = &mut self.machines[host.index()];
        let State::Leaving(since) = machine.state else {
            return false;
        };
        machine.state = State::Down(Some(now));
        let lives = machine.lives;
        // The loop drops its watcher when it ends.
        let ended = self.shared.lock().lives.contains_key(&(host, lives));
        if !ended {
            let what = format_args!("{host} was told to shut down at {since} and still runs");
            self.violations.note(now, what);
        }
        true
    }

    pub(super) fn take_up(&mut self, item: usize, task: Task) -> bool {
        match task {
            Task::Deed(deed) => self.take_up_one(item, deed),
            Task::Tie => {
                let first = self.take_up_one(item, Deed::Put);
                let seq = self.tracked[item]
                    .floor()
                    .map_or(Seq(1), |seq| Seq(seq.0 + 1));
                self.take_up_one(item, Deed::PutElsewhere(seq)) || first
            }
        }
    }

    fn take_up_one(&mut self, item: usize, deed: Deed) -> bool {
        let host = match deed {
            Deed::Put | Deed::Delete => Some(self.tracked[item].owner),
            Deed::PutElsewhere(_) | Deed::Get { .. } => {
                let up = self.machines.iter().filter(|it| it.node().is_some());
                let up: Vec<HostId> = up.map(|it| it.host).collect();
                work::any_of(&up, &mut self.random)
            }
        };
        let Some(host) = host else { return false };
        if self.machines[host.index()].node().is_none() || (deed == Deed::Put && self.deleted[item])
        {
            return false;
        }
        if !matches!(deed, Deed::Get { .. }) {
            self.versions[item] += 1;
        }
        let wish = self.wish(item, deed);
        if deed == Deed::Delete {
            self.deleted[item] = true;
            if let Some(seq) = self.tracked[item].floor() {
                let task = Task::Deed(Deed::PutElsewhere(seq));
                let at = self.now().plus(LATE_WRITE);
                self.plan(at, Act::Planned(Action::Do { item, task }));
            }
        }
        if let Deed::PutElsewhere(seq) = deed {
            self.tracked[item].elsewhere(seq);
        }
        let id = self.ask(host, wish);
        let doing = Doing {
            item,
            deed,
            started: self.now(),
            first: None,
        };
        let disturbed = false;
        self.doing.insert(
            id,
            Pending {
                doing,
                host,
                disturbed,
            },
        );
        // Beside it somebody asks for something else, for races.
        let all = self.machines.len() as u32;
        let ahead = 1 + below(&mut self.random, u64::from(all) - 1) as u32;
        let other = HostId((host.0 + ahead) % all);
        let wish = match below(&mut self.random, 4) {
            0 => Wish::Find(self.tracked[item].target),
            1 => {
                let other = &self.machines[other.index()];
                Wish::Ping(other.key, other.addr())
            }
            _ => return true,
        };
        self.ask(host, wish);
        true
    }

    fn wish(&mut self, item: usize, deed: Deed) -> Wish {
        let planned = &self.items[item];
        let bytes = self.scenario.work.value_bytes;
        let value = || work::value(item, self.versions[item], bytes);
        let salt = planned.salt.clone();
        match deed {
            Deed::Put => Wish::Put(salt, value()),
            Deed::Delete => Wish::Put(salt, Value::default()),
            Deed::PutElsewhere(seq) => {
                Wish::PutSigned(Box::new(Item::sign(&planned.secret, seq, value(), salt)))
            }
            Deed::Get { policy, .. } => {
                let request = GetRequest::of(planned.secret.public(), salt, policy);
                match below(&mut self.random, 2) {
                    0 => Wish::Get(request),
                    _ => Wish::Watch(request),
                }
            }
        }
    }

    fn ask(&mut self, host: HostId, wish: Wish) -> u64 {
        self.asked += 1;
        let id = self.asked;
        let patience = match self.impatient.hits(&mut self.random) {
            true => Some(up_to(PATIENCE, &mut self.random)),
            false => None,
        };
        let machine = &self.machines[host.index()];
        if let Some(dht) = machine.node() {
            let runtime = self.world.host(machine.ip);
            let shared = self.shared.clone();
            users::ask(&runtime, dht.clone(), (host, id), wish, patience, shared);
        }
        id
    }

    /// Everything is well again, and everybody is there.
    pub(super) fn heal(&mut self) -> Result<(), RunError> {
        self.divide(Rate::NEVER);
        for relay in self.relays.ids() {
            self.start_relay(relay)?;
        }
        for n in 0..self.machines.len() {
            let host = self.machines[n].host;
            self.silence(host, false);
            self.resume(host);
            self.start(host, false)?;
        }
        Ok(())
    }

    fn close_relays(&mut self) {
        let (go, relays, coverage) = (&mut self.go, &mut self.relays, &mut self.coverage);
        let closing = async {
            go.close().await;
            relays.close(coverage).await;
        };
        if let Err(stalled) = self.world.run_until(closing) {
            self.stalled = true;
            let now = self.now();
            self.violations.note(now, stalled);
        }
    }

    /// Shuts everybody down, in the midst of lookups; then nothing may be left.
    pub(super) fn shut_down(&mut self) -> Result<(), RunError> {
        self.plan.clear();
        for n in 0..self.machines.len() {
            let host = self.machines[n].host;
            let target = self.tracked[n % self.tracked.len()].target;
            if self.machines[n].node().is_some() {
                self.ask(host, Wish::Find(target));
            }
        }
        self.pass(
            "shut down",
            up_to(Duration::from_millis(500), &mut self.random.clone()),
        )?;
        let hosts: Vec<HostId> = self.machines.iter().map(|it| it.host).collect();
        for host in hosts {
            self.leave(host);
        }
        self.pass(
            "shut down",
            skydht_core::node::OPERATION_TIMEOUT + SHUT_DOWN,
        )?;
        self.close_relays();
        self.pass("shut down", super::run::GONE)?;
        self.nothing_left();
        Ok(())
    }
}

/// A user's request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) doing: Doing,
    pub(super) host: HostId,
    /// Its host stood still meanwhile: the answer may be late.
    pub(super) disturbed: bool,
}

impl Pending {
    /// By when it must have ended.
    pub(super) fn due(&self) -> SimTime {
        let whole = skydht_core::node::OPERATION_TIMEOUT + Duration::from_secs(1);
        self.doing.started.plus(whole)
    }
}
