//! A run: phase after phase, with the reference model beside the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use skydht_core::node::{Counter, OperationId};

use super::cast::{Cast, Kind, populate, shuffled};
use super::chaos;
use super::clocks::WallClocks;
use super::file::{Scenario, ScenarioError};
use super::work::{self, Deed, Doing, Task};
use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::figures::{Report, Samples};
use crate::network::faults::up_to;
use crate::network::{Faults, GROUPS, HostId, Rate};
use crate::oracle::Violations;
use crate::oracle::bounds;
use crate::oracle::holdings::Holdings;
use crate::oracle::operations::Operations;
use crate::oracle::promises::Tracked;
use crate::world::{World, WorldConfig, WorldError};

/// Separates the scenario's draws from the world's.
const DRAWS: u64 = 0x5343_454e_4152_494f;
/// How often the expensive invariants are checked.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(10);
/// After a put, who holds it is looked up this much later: writes and late replicas are done.
pub(crate) const SETTLED: Duration = Duration::from_secs(12);
/// A stale version is put again this long after a deletion.
pub(crate) const LATE_WRITE: Duration = Duration::from_secs(20);
/// An owner that is back publishes again after this, as a visor does.
pub(crate) const BACK: Duration = Duration::from_secs(5);
/// The most events within which a network must go quiet.
const QUIET_EVENTS: u64 = 2_000_000;
/// Requests and answers that do not move on are given up within this.
pub(crate) const DEADLINES: Duration = Duration::from_secs(40);
/// Networks up to this size go quiet, unless somebody attacks; in larger ones somebody is always
/// at work.
const QUIET_NODES: u32 = 300;

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The world refused something.
    #[error(transparent)]
    World(#[from] WorldError),
    /// `population.limits` names something else.
    #[error("population.limits: there is no limit {0:?}; `skydht status --limits` lists them")]
    UnknownLimit(String),
    /// A world that the seed chose cannot be.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A node of the whole program did not start.
    #[error("a node did not start: {0}")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What happens now.
    pub phase: &'static str,
    /// Virtual time so far.
    pub done: Duration,
    /// Virtual time in all, about.
    pub total: Duration,
}

/// What a run found.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Figures, violations, digest.
    pub report: Report,
    /// What happened how often.
    pub coverage: Coverage,
}

/// Something planned for a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Start {
        host: HostId,
        wipe: bool,
    },
    Crash {
        host: HostId,
        process: bool,
    },
    Suspend(HostId),
    Resume(HostId),
    Step {
        host: HostId,
        by: Duration,
        forward: bool,
    },
    Drift {
        host: HostId,
        ppm: i32,
    },
    Cut {
        share: Rate,
        one_way: bool,
    },
    Join,
    SetClock(HostId),
    Do {
        item: usize,
        task: Task,
    },
    Check,
}

/// Runs a scenario on cores.
///
/// # Errors
/// A scenario that cannot be.
pub(crate) fn run(
    scenario: &Scenario,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let config = WorldConfig {
        network: scenario.network,
        transport: scenario.transport,
        verify: scenario.population.verify,
        ..WorldConfig::default()
    };
    let mut world = World::new(seed, config);
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ DRAWS);
    let cast = populate(&mut world, scenario, &mut random)?;
    let ours = world
        .hosts()
        .filter(|host| cast.kinds[host.index()] == Kind::Ours);
    let clocks = WallClocks::new(&scenario.population, seed, ours);
    let mut run = Run::new(scenario, cast, random, clocks, progress);
    run.all_phases(&mut world);
    Ok(run.conclude(&world, seed))
}

pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) cast: Cast,
    pub(super) random: ChaCha8Rng,
    pub(super) clocks: WallClocks,
    pub(super) progress: &'a mut dyn FnMut(Progress),
    pub(super) phase: &'static str,
    pub(super) actions: Vec<Action>,
    /// Whose machines vanished for good.
    pub(super) dead: BTreeSet<HostId>,
    pub(super) tracked: Vec<Tracked>,
    pub(super) versions: Vec<u32>,
    pub(super) deleted: Vec<bool>,
    pub(super) doing: BTreeMap<OperationId, Doing>,
    pub(super) holdings: Holdings,
    pub(super) operations: Operations,
    pub(super) violations: Violations,
    pub(super) coverage: Coverage,
    pub(super) samples: BTreeMap<&'static str, Samples>,
    pub(super) verdicts: [u64; 3],
    pub(super) crashes: u64,
    /// Some node has evicted an item.
    pub(super) evicted: bool,
    /// Rounds of checks so far.
    pub(super) rounds: usize,
    pub(super) started: BTreeMap<HostId, SimTime>,
    pub(super) upkeep: Option<u64>,
    /// Nodes whose table was empty when all was to be well.
    pub(super) lonely: u64,
    /// Of the run, before it is looked at what is left.
    pub(super) digest: Option<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        cast: Cast,
        random: ChaCha8Rng,
        clocks: WallClocks,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let track =
            |it: &super::cast::Planned| Tracked::new(it.owner, it.secret.public(), it.target);
        let tracked: Vec<Tracked> = cast.items.iter().map(track).collect();
        Self {
            scenario,
            versions: vec![0; tracked.len()],
            deleted: vec![false; tracked.len()],
            tracked,
            cast,
            random,
            clocks,
            progress,
            phase: "join",
            actions: Vec::new(),
            dead: BTreeSet::new(),
            doing: BTreeMap::new(),
            holdings: Holdings::default(),
            operations: Operations::default(),
            violations: Violations::default(),
            coverage: Coverage::default(),
            samples: BTreeMap::new(),
            verdicts: [0; 3],
            crashes: 0,
            evicted: false,
            rounds: 0,
            started: BTreeMap::new(),
            upkeep: None,
            lonely: 0,
            digest: None,
        }
    }

    pub(super) fn plan(&mut self, world: &mut World, at: SimTime, action: Action) {
        world.wake_at(at, self.actions.len() as u64);
        self.actions.push(action);
    }

    /// Lets a phase pass.
    pub(super) fn pass(&mut self, world: &mut World, phase: &'static str, time: Duration) {
        self.phase = phase;
        let end = world.now().plus(time);
        self.run_to(world, end);
    }

    pub(super) fn run_to(&mut self, world: &mut World, end: SimTime) {
        let total = self.total();
        while world.now() < end {
            let now = world.now();
            (self.progress)(Progress {
                phase: self.phase,
                done: Duration::from_nanos(now.0),
                total,
            });
            world.run_until(end.min(now.plus(Duration::from_secs(5))), self);
        }
    }

    pub(super) fn total(&self) -> Duration {
        let phases = &self.scenario.phases;
        let expiry = match phases.expiry {
            Duration::ZERO => Duration::ZERO,
            slack => self.scenario.population.item_ttl + slack,
        };
        phases.join
            + phases.settle
            + phases.publish
            + phases.idle
            + phases.chaos
            + phases.heal
            + phases.verify
            + expiry
    }

    /// Waits until users have their answers.
    pub(super) fn finish_operations(&mut self, world: &mut World) {
        let end = world.now().plus(work::timeout(Kind::Upstream));
        while world.operations().next().is_some() && world.now() < end {
            let next = world.now().plus(Duration::from_secs(1));
            self.run_to(world, next);
        }
    }

    pub(super) fn all_phases(&mut self, world: &mut World) {
        let (scenario, phases) = (self.scenario, self.scenario.phases);
        self.plan(world, SimTime::ZERO.plus(CHECK_EVERY), Action::Check);
        self.wrong_clocks(world);
        for host in world.hosts() {
            let at = match host.0 < self.cast.bootstrap {
                true => SimTime::ZERO,
                false => SimTime::ZERO.plus(up_to(phases.join, &mut self.random)),
            };
            self.plan(world, at, Action::Start { host, wipe: false });
        }
        self.pass(world, "join", phases.join);
        self.pass(world, "settle", phases.settle);

        let begin = world.now();
        for item in 0..self.tracked.len() {
            let at = begin.plus(up_to(phases.publish, &mut self.random));
            let task = Task::Deed(Deed::Put);
            self.plan(world, at, Action::Do { item, task });
        }
        self.pass(world, "publish", phases.publish);
        self.finish_operations(world);
        self.pass(world, "publish", SETTLED);

        if !phases.idle.is_zero() {
            let before = world.network().stats().bytes;
            let begin = world.now();
            for (at, item, task) in work::idle_reads(scenario, begin, phases.idle, &mut self.random)
            {
                self.plan(world, at, Action::Do { item, task });
            }
            self.pass(world, "idle", phases.idle);
            let bytes = world.network().stats().bytes - before;
            let seconds = phases.idle.as_secs().max(1) * u64::from(scenario.population.nodes);
            self.upkeep = Some(bytes / seconds);
        }
        self.calm(world);
        self.kill_the_dead(world);
        if !phases.chaos.is_zero() {
            self.chaos(world);
        }
        self.pass(world, "heal", phases.heal);
        let alone = |host: &HostId| world.node(*host).is_some_and(|it| it.table().is_empty());
        self.lonely = self.living(world, Kind::Ours).filter(alone).count() as u64;

        let begin = world.now();
        for (at, item, deed) in
            work::checked_reads(scenario, begin, phases.verify, &mut self.random)
        {
            let task = Task::Deed(deed);
            self.plan(world, at, Action::Do { item, task });
        }
        self.pass(world, "verify", phases.verify);
        self.finish_operations(world);
        if !phases.expiry.is_zero() {
            self.expiry(world);
        }
        self.check(world);
        let quiet = scenario.population.nodes <= QUIET_NODES;
        if quiet && !scenario.population.hostile.is_possible() {
            self.go_quiet(world, false);
            self.digest = Some(world.digest().to_string());
            // Half-sent requests and answers that nobody took have their deadlines, too.
            self.pass(world, "quiet", DEADLINES);
            self.go_quiet(world, true);
        }
    }

    /// Waits until nothing is under way: then what requests took is given back.
    fn go_quiet(&mut self, world: &mut World, bytes: bool) {
        if let Err(error) = world.drive_bounded(QUIET_EVENTS, self) {
            return self.violations.note(world.now(), error);
        }
        for host in world.hosts() {
            if let Some(node) = world.node(host)
                && let Some(held) =
                    bounds::still_held(&node.snapshot(), node.next_deadline(), bytes)
            {
                let what = format_args!("{host}: all is quiet, and yet {held}");
                self.violations.note(world.now(), what);
            }
        }
    }

    /// Nothing went wrong so far, so no call may have failed.
    fn calm(&mut self, world: &World) {
        let Scenario {
            population: who,
            network,
            ..
        } = self.scenario;
        let faultless = Faults {
            latency: network.latency,
            jitter: network.jitter,
            ..Faults::default()
        };
        let all_ours = self.cast.kinds.iter().all(|kind| *kind == Kind::Ours);
        if *network != faultless || !all_ours || who.bootstrap_dead > 0 || who.nat.is_possible() {
            return;
        }
        if !who.limits.is_empty() {
            return; // failing at a limit is in order
        }
        for host in world.hosts() {
            let Some(node) = world.node(host) else {
                continue;
            };
            // Whoever starts first asks for bootstrap peers that are not there yet.
            let counters = node.counters();
            let failed = counters.get(Counter::CallsFailed) - counters.get(Counter::OpensFailed);
            if failed > 0 {
                let what = format_args!("{host}: nothing went wrong, yet {failed} calls failed");
                self.violations.note(world.now(), what);
            }
        }
    }

    /// What is wrong with wall clocks from the first.
    fn wrong_clocks(&mut self, world: &mut World) {
        let skewed = std::mem::take(&mut self.clocks.skewed);
        self.coverage.count("clocks_skewed", skewed.len() as u64);
        self.coverage
            .count("clocks_unset", self.clocks.unset() as u64);
        for (host, by, forward) in skewed {
            self.act(world, Action::Step { host, by, forward });
        }
    }

    pub(super) fn kill_the_dead(&mut self, world: &mut World) {
        let share = self.scenario.chaos.dead.draw(&mut self.random);
        let mortal = (self.cast.bootstrap..self.scenario.population.nodes).collect();
        let order = shuffled(mortal, &mut self.random);
        let all = u64::from(self.scenario.population.nodes);
        let count = all * u64::from(share.as_ppm()) / 1_000_000;
        for host in order.into_iter().take(count as usize).map(HostId) {
            self.dead.insert(host);
            self.act(
                world,
                Action::Crash {
                    host,
                    process: false,
                },
            );
        }
    }

    pub(super) fn chaos(&mut self, world: &mut World) {
        let (scenario, time) = (self.scenario, self.scenario.phases.chaos);
        let (begin, end) = (world.now(), world.now().plus(time));
        let faults = chaos::faults(&scenario.network, &scenario.chaos, &mut self.random);
        *world.network_mut().faults_mut() = faults;
        if scenario.chaos.blackout {
            self.cut_everybody(world);
        }
        let victims: Vec<HostId> = world.hosts().filter(|it| !self.dead.contains(it)).collect();
        let plan = chaos::plan(scenario, begin, end, &victims, &mut self.random);
        for (at, action) in plan {
            self.plan(world, at, action);
        }
        for (at, item, task) in work::second_phase(scenario, begin, time, &mut self.random) {
            self.plan(world, at, Action::Do { item, task });
        }
        for (at, host) in self.clocks.plan(begin, time) {
            self.plan(world, at, Action::SetClock(host));
        }
        self.pass(world, "chaos", time);
        // What is planned for later still comes: hosts that are to return do.
        self.pass(world, "chaos", Duration::from_secs(120));
        world.heal();
        *world.network_mut().faults_mut() = scenario.network;
        for host in victims {
            if world.is_suspended(host) {
                self.act(world, Action::Resume(host));
            }
            if !world.is_up(host) {
                self.act(world, Action::Start { host, wipe: false });
            }
        }
    }

    pub(super) fn cut_everybody(&mut self, world: &mut World) {
        for host in world.hosts() {
            world
                .network_mut()
                .set_group(host, (host.0 % u32::from(GROUPS)) as u8);
        }
        for from in 0..GROUPS {
            for to in 0..GROUPS {
                world.network_mut().cut_one_way(from, to);
            }
        }
    }

    /// The owners of every second item go, and TTL later their items must have gone as well.
    pub(super) fn expiry(&mut self, world: &mut World) {
        let ttl = self.scenario.population.item_ttl;
        let gone: BTreeSet<HostId> = self
            .tracked
            .iter()
            .step_by(2)
            .map(|item| item.owner)
            .filter(|owner| owner.0 >= self.cast.bootstrap)
            .collect();
        for host in &gone {
            self.dead.insert(*host);
            if world.is_up(*host) {
                let host = *host;
                self.act(
                    world,
                    Action::Crash {
                        host,
                        process: false,
                    },
                );
            }
        }
        let left = world.now();
        self.pass(world, "expiry", ttl + self.scenario.phases.expiry);
        let ours: Vec<HostId> = self.living(world, Kind::Ours).collect();
        for item in 0..self.tracked.len() {
            let tracked = &self.tracked[item];
            if !gone.contains(&tracked.owner) || !tracked.outlived(world.now(), left, ttl) {
                continue;
            }
            let target = tracked.target;
            for host in &ours {
                let (Some(node), Some(now)) = (world.node(*host), world.time_of(*host)) else {
                    continue;
                };
                let held = node.store().get(now, &target);
                if held.is_some_and(|held| held.is_live(now) && held.item().key == tracked.key) {
                    let what = format_args!("{host} still serves {target} of a dead owner");
                    self.violations.note(world.now(), what);
                }
            }
        }
    }

    pub(super) fn living<'w>(
        &self,
        world: &'w World,
        kind: Kind,
    ) -> impl Iterator<Item = HostId> + use<'w, 'a> {
        let kinds = self.cast.kinds.clone();
        world
            .hosts()
            .filter(move |host| kinds[host.0 as usize] == kind)
            .filter(|host| world.is_up(*host) && !world.is_suspended(*host))
    }
}
