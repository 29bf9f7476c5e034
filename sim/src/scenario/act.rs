//! What is planned is done: hosts come and go, users begin operations.

use std::time::Duration;

use skydht_core::item::Seq;

use super::cast::Kind;
use super::run::{Action, BACK, CHECK_EVERY, LATE_WRITE, Run};
use super::work::{self, Deed, Doing, Task};
use crate::clock::Clock;
use crate::network::{Departure, HostId};
use crate::world::World;

impl Run<'_> {
    pub(super) fn act(&mut self, world: &mut World, action: Action) {
        // What is refused was overtaken by something else that was planned: a host that
        // crashed cannot be suspended.
        let done = match action {
            Action::Start { host, wipe } => self.start(world, host, wipe),
            Action::Crash { host, process } => {
                if let Some(node) = world.node(host) {
                    self.coverage.add(node.counters());
                }
                let how = match process {
                    true => Departure::Process,
                    false => Departure::Machine,
                };
                world.crash(host, how).is_ok()
            }
            Action::Suspend(host) => {
                self.disturb(world, host);
                world.suspend(host).is_ok()
            }
            Action::Resume(host) => world.resume(host).is_ok(),
            Action::Step { host, by, forward } => world
                .change_clock(host, |clock, _| match forward {
                    true => clock.step_forward(by),
                    false => clock.step_back(by),
                })
                .is_ok(),
            Action::Drift { host, ppm } => {
                self.disturb(world, host);
                world
                    .change_clock(host, |clock, at| clock.drift(at, ppm))
                    .is_ok()
            }
            Action::Cut { share, one_way } => {
                for host in world.hosts() {
                    let group = u8::from(share.hits(&mut self.random));
                    world.network_mut().set_group(host, group);
                }
                match one_way {
                    true => world.network_mut().cut_one_way(0, 1),
                    false => world.network_mut().cut(0, 1),
                }
                true
            }
            Action::Join => {
                world.network_mut().join();
                true
            }
            Action::SetClock(host) => self.set_clock(world, host),
            Action::Do { item, task } => self.take_up(world, item, task),
            Action::Check => {
                self.check_now_and_then(world);
                let next = world.now().plus(CHECK_EVERY);
                self.plan(world, next, Action::Check);
                return;
            }
        };
        let name = match action {
            Action::Start { .. } => "did_start",
            Action::Crash { .. } => "did_crash",
            Action::Suspend(_) => "did_suspend",
            Action::Resume(_) => "did_resume",
            Action::Step { .. } => "did_step_clock",
            Action::Drift { .. } => "did_drift_clock",
            Action::Cut { .. } => "did_cut",
            Action::Join => "did_join",
            Action::SetClock(_) => "did_set_clock",
            Action::Do { .. } | Action::Check => return,
        };
        self.coverage.count(name, u64::from(done));
    }

    /// The wall clock of a host that never had one shows the right time from now on.
    fn set_clock(&mut self, world: &mut World, host: HostId) -> bool {
        let right = Clock::new().read(world.now()).unix;
        self.clocks.set(host)
            && world.time_of(host).is_some_and(|shown| {
                let by = right.since(shown.unix);
                let step = |clock: &mut Clock, _| clock.step_forward(by);
                world.change_clock(host, step).is_ok()
            })
    }

    pub(super) fn disturb(&mut self, world: &World, host: HostId) {
        let ops = world.operations().filter(|(_, at)| *at == host);
        self.operations.disturbed(ops.map(|(op, _)| op));
    }

    pub(super) fn start(&mut self, world: &mut World, host: HostId, wipe: bool) -> bool {
        if self.dead.contains(&host) || world.is_up(host) {
            return false;
        }
        if wipe && world.wipe(host).is_ok() {
            self.coverage.count("did_wipe", 1);
        }
        if self.clocks.is_unset(host)
            && let Some(shown) = world.time_of(host)
        {
            let by = Duration::from_nanos(shown.unix.0);
            let _ = world.change_clock(host, |clock, _| clock.step_back(by));
        }
        let again = self.started.contains_key(&host);
        let done = world.start(host).is_ok();
        if done && again {
            let at = world.now().plus(BACK);
            let own = |item: &usize| self.tracked[*item].owner == host && self.versions[*item] > 0;
            let own: Vec<usize> = (0..self.tracked.len()).filter(own).collect();
            for item in own {
                if !self.deleted[item] {
                    let task = Task::Deed(Deed::Put);
                    self.plan(world, at, Action::Do { item, task });
                }
            }
        }
        done
    }

    pub(super) fn take_up(&mut self, world: &mut World, item: usize, task: Task) -> bool {
        match task {
            Task::Deed(deed) => self.take_up_one(world, item, deed),
            Task::Tie => {
                let owner = self.tracked[item].owner;
                let clock = world.time_of(owner).map_or(0, |time| time.unix.0);
                let floor = self.tracked[item].floor().map_or(0, |seq| seq.0);
                let seq = Seq(clock.max(floor + 1));
                self.coverage.count("did_tie", 1);
                let first = self.take_up_one(world, item, Deed::PutElsewhere(seq));
                self.take_up_one(world, item, Deed::PutElsewhere(seq)) || first
            }
        }
    }

    pub(super) fn take_up_one(&mut self, world: &mut World, item: usize, deed: Deed) -> bool {
        let owner = self.tracked[item].owner;
        let host = match deed {
            Deed::Put | Deed::Delete => Some(owner),
            Deed::PutElsewhere(_) | Deed::Get { .. } => {
                let mut all: Vec<HostId> = self.living(world, Kind::Ours).collect();
                if all.is_empty() {
                    all = self.living(world, Kind::Upstream).collect();
                }
                work::any_of(&all, &mut self.random)
            }
        };
        let Some(host) = host else { return false };
        if deed == Deed::Put && self.deleted[item] {
            return false;
        }
        if !matches!(deed, Deed::Get { .. }) {
            self.versions[item] += 1;
        }
        let planned = &self.cast.items[item];
        let version = self.versions[item];
        let command = work::command(deed, item, planned, version, &self.scenario.work);
        let Ok(op) = world.command(host, command) else {
            return false;
        };
        if deed == Deed::Delete {
            self.deleted[item] = true;
            if let Some(seq) = self.tracked[item].floor() {
                let late = Task::Deed(Deed::PutElsewhere(seq));
                let at = world.now().plus(LATE_WRITE);
                self.plan(world, at, Action::Do { item, task: late });
            }
        }
        let timeout = work::timeout(self.cast.kinds[host.0 as usize]);
        self.operations.started(world.now(), op, timeout);
        let doing = Doing {
            item,
            deed,
            started: world.now(),
            first: None,
        };
        self.doing.insert(op, doing);
        if let Deed::PutElsewhere(seq) = deed {
            self.tracked[item].elsewhere(seq);
        }
        true
    }
}
