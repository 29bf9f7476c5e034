//! A run: phase after phase.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use skydht_core::id::Target;
use skydht_core::item::Salt;
use skydht_core::node::{Advertise, BootstrapPeer, Config, GetError, GetOutcome, ReadPolicy};
use skydht_core::time::nanos;
use skydht_runtime::virtual_time::{Conditions, VirtualTime};

use super::act::{Act, Pending};
use super::build::{Build, Dmsg, Tcp, addr};
use super::go::GoNodes;
use super::ledger::{Seen, Shared};
use super::machine::Machine;
use super::relays::Relays;
use super::users::Told;
use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::figures::{Quantity, Report, Samples, Unit};
use crate::network::faults::up_to;
use crate::network::{HostId, Spread};
use crate::oracle::Violations;
use crate::oracle::promises::{Tracked, Verdict};
use crate::scenario::cast::{Planned, limits, secret, shuffled};
use crate::scenario::chaos;
use crate::scenario::clocks::WallClocks;
use crate::scenario::run::{Action, CHECK_EVERY, SETTLED};
use crate::scenario::work::{self, Deed, Doing, Task};
use crate::scenario::{Outcome, Progress, RunError, Scenario};

/// Separates the scenario's draws from the network's.
const DRAWS: u64 = 0x5052_4f47_5241_4d00;
/// The same for the relays' keys and handshakes.
const RELAYS: u64 = 0x5245_4c41_5953_0000;
/// The same for those of Go nodes.
const GO_NODES: u64 = 0x474f_4e4f_4445_5300;
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Sessions that were replaced are gone after this.
pub(super) const RETIRED: Duration = Duration::from_secs(35);
/// After this nothing may be left of a network that was shut down.
pub(super) const GONE: Duration = Duration::from_secs(60);

/// Runs a scenario with a seed. The same scenario and seed give the same outcome, bit for bit.
/// A panic in any task is a violation.
///
/// # Errors
/// A scenario that cannot be.
pub fn run(
    scenario: &Scenario,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let run = || -> Result<Outcome, RunError> {
        let mut run = Run::new(scenario, seed, &mut *progress)?;
        run.all_phases()?;
        Ok(run.conclude(seed))
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let report = Report {
                scenario: scenario.name.clone(),
                seed,
                nodes: scenario.population.nodes.into(),
                violations: vec![format!("a task panicked: {}", words(&*panic))],
                digest: "none: a task panicked".into(),
                ..Report::default()
            };
            let coverage = Coverage::default();
            Ok(Outcome { report, coverage })
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("without a word")
}

pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) world: VirtualTime,
    pub(super) build: Box<dyn Build>,
    pub(super) relays: Relays,
    pub(super) go: GoNodes,
    pub(super) machines: Vec<Machine>,
    pub(super) items: Vec<Planned>,
    pub(super) random: ChaCha8Rng,
    pub(super) clocks: WallClocks,
    pub(super) shared: Shared,
    pub(super) violations: Violations,
    pub(super) coverage: Coverage,
    samples: BTreeMap<&'static str, Samples>,
    progress: &'a mut dyn FnMut(Progress),
    phase: &'static str,
    pub(super) plan: BTreeMap<(SimTime, u64), Act>,
    planned: u64,
    pub(super) tracked: Vec<Tracked>,
    pub(super) versions: Vec<u32>,
    pub(super) deleted: Vec<bool>,
    pub(super) doing: BTreeMap<u64, Pending>,
    pub(super) asked: u64,
    /// Hosts that failed so far: each may have held what was acknowledged.
    pub(super) failures: u64,
    verdicts: [u64; 3],
    /// What users were told, and when.
    told: Sha256,
    /// When polls were last counted, and the most that any host had in a second.
    pub(super) looked: SimTime,
    pub(super) busiest: u64,
    /// The world does not go on.
    pub(super) stalled: bool,
    /// The share of users that give up.
    pub(super) impatient: crate::network::Rate,
}

impl<'a> Run<'a> {
    fn new(
        scenario: &'a Scenario,
        seed: u64,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Self, RunError> {
        let who = &scenario.population;
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ DRAWS);
        let world = VirtualTime::new(seed);
        let program = &scenario.program;
        let mut conditions = Conditions::default();
        conditions.latency = match scenario.network.latency {
            Spread::Uniform { from, to } => (from, to),
            Spread::Fixed(latency) | Spread::LogNormal { median: latency } => (latency, latency),
        };
        conditions.jitter = scenario.network.jitter;
        conditions.capacity = (program.buffer_min as usize, program.buffer_max as usize);
        world.set_conditions(conditions);

        let secrets: Vec<_> = (0..who.nodes).map(|_| secret(&mut random)).collect();
        let relayed = program.relays > 0;
        let addrs = |n| match relayed {
            true => Vec::new(),
            false => vec![addr(HostId(n), 0)],
        };
        let go = GoNodes::new(program, ChaCha8Rng::seed_from_u64(seed ^ GO_NODES));
        let bootstrap: Vec<BootstrapPeer> = (0..who.bootstrap)
            .map(|n| BootstrapPeer {
                key: secrets[n as usize].public(),
                addrs: addrs(n),
            })
            .chain(go.bootstrap())
            .collect();
        let limits = limits(who)?;
        let machine = |(n, secret): (u32, &skydht_core::key::SecretKey)| {
            let key = secret.public();
            let mut config = Config::default();
            config.alpha = who.alpha as usize;
            config.disjoint_paths = who.disjoint_paths as usize;
            config.item_ttl = who.item_ttl;
            config.full_node = n < who.full_nodes;
            config.storage = true;
            config.limits = limits.clone();
            if !relayed {
                config.advertise = Advertise::Address(addr(HostId(n), 0));
            }
            let others = bootstrap.iter().filter(|peer| peer.key != key);
            config.bootstrap = others.cloned().collect();
            Machine::new(HostId(n), secret.clone(), config, random.next_u64())
        };
        let machines: Vec<Machine> = (0..).zip(&secrets).map(machine).collect();
        let owners = shuffled((0..who.nodes).collect(), &mut random);
        let items: Vec<Planned> = (0..scenario.items())
            .map(|n| {
                let owner = owners[n as usize % owners.len()];
                let secret = secrets[owner as usize].clone();
                let salt = Salt::from(format!("item {n}").as_str());
                Planned {
                    owner: HostId(owner),
                    target: Target::of(&secret.public(), salt.as_bytes()),
                    secret,
                    salt,
                }
            })
            .collect();
        let shared = Shared::default();
        let seen = || machines.iter().map(|_| Seen::default());
        shared.lock().hosts = seen().collect();
        let relays = Relays::new(&world, program, ChaCha8Rng::seed_from_u64(seed ^ RELAYS));
        let build: Box<dyn Build> = match relayed {
            true => Box::new(Dmsg::new(program, relays.discovery())),
            false => Box::new(Tcp::new(program, scenario.transport.idle_timeout)),
        };
        let track = |it: &Planned| Tracked::new(it.owner, it.secret.public(), it.target);
        Ok(Self {
            scenario,
            build,
            relays,
            go,
            tracked: items.iter().map(track).collect(),
            versions: vec![0; items.len()],
            deleted: vec![false; items.len()],
            world,
            clocks: WallClocks::new(who, seed, machines.iter().map(|it| it.host)),
            machines,
            items,
            random,
            shared,
            violations: Violations::default(),
            coverage: Coverage::default(),
            samples: BTreeMap::new(),
            progress,
            phase: "join",
            plan: BTreeMap::new(),
            planned: 0,
            doing: BTreeMap::new(),
            asked: 0,
            failures: 0,
            verdicts: [0; 3],
            told: Sha256::new(),
            looked: SimTime::ZERO,
            busiest: 0,
            stalled: false,
            impatient: crate::network::Rate::NEVER,
        })
    }

    pub(super) fn now(&self) -> SimTime {
        SimTime::ZERO.plus(self.world.now())
    }

    pub(super) fn plan(&mut self, at: SimTime, act: Act) {
        self.planned += 1;
        self.plan.insert((at, self.planned), act);
    }

    fn total(&self) -> Duration {
        let phases = &self.scenario.phases;
        phases.join
            + phases.settle
            + phases.publish
            + phases.idle
            + phases.chaos
            + phases.heal
            + phases.verify
    }

    /// Lets time pass, and what is planned for it.
    pub(super) fn pass(&mut self, phase: &'static str, time: Duration) -> Result<(), RunError> {
        self.phase = phase;
        let end = self.now().plus(time);
        while !self.stalled {
            let next = self.plan.first_key_value().map(|(at, _)| at.0);
            let to = next.filter(|at| *at <= end).unwrap_or(end);
            self.advance(to);
            self.take_started()?;
            self.hear();
            match next.filter(|at| *at <= end) {
                None => break,
                Some(_) => {
                    if let Some((_, act)) = self.plan.pop_first() {
                        self.act(act)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, to: SimTime) {
        let total = self.total();
        let now = self.now();
        (self.progress)(Progress {
            phase: self.phase,
            done: Duration::from_nanos(now.0),
            total,
        });
        if let Err(stalled) = self.world.advance(to.since(now)) {
            self.stalled = true;
            let now = self.now();
            self.violations.note(now, stalled);
        }
    }

    fn all_phases(&mut self) -> Result<(), RunError> {
        let (scenario, phases) = (self.scenario, self.scenario.phases);
        self.plan(SimTime::ZERO.plus(CHECK_EVERY), Act::Check);
        for relay in self.relays.ids() {
            self.start_relay(relay)?;
        }
        let discovery = self.relays.discovery().clone();
        self.go.start(&self.world, &scenario.program, &discovery);
        let skewed = std::mem::take(&mut self.clocks.skewed);
        self.coverage.count("clocks_skewed", skewed.len() as u64);
        self.coverage
            .count("clocks_unset", self.clocks.unset() as u64);
        for (host, by, forward) in skewed {
            self.act(Act::Planned(Action::Step { host, by, forward }))?;
        }
        for n in 0..scenario.population.nodes {
            let at = match n < scenario.population.bootstrap {
                true => SimTime::ZERO,
                false => SimTime::ZERO.plus(up_to(phases.join, &mut self.random)),
            };
            let host = HostId(n);
            self.plan(at, Act::Planned(Action::Start { host, wipe: false }));
        }
        self.pass("join", phases.join)?;
        self.pass("settle", phases.settle)?;
        let begin = self.now();
        for item in 0..self.tracked.len() {
            let at = begin.plus(up_to(phases.publish, &mut self.random));
            let task = Task::Deed(Deed::Put);
            self.plan(at, Act::Planned(Action::Do { item, task }));
        }
        self.pass("publish", phases.publish)?;
        self.finish_operations()?;
        self.pass("publish", SETTLED)?;
        self.pass("publish", RETIRED)?;
        self.calm();
        self.chaos()?;
        self.pass("heal", phases.heal)?;

        let begin = self.now();
        let reads = work::checked_reads(scenario, begin, phases.verify, &mut self.random);
        for (at, item, deed) in reads {
            let task = Task::Deed(deed);
            self.plan(at, Act::Planned(Action::Do { item, task }));
        }
        self.pass("verify", phases.verify)?;
        self.finish_operations()?;
        self.pass("idle", phases.idle)?;
        self.settled()?;
        self.shut_down()
    }

    fn chaos(&mut self) -> Result<(), RunError> {
        let (scenario, time) = (self.scenario, self.scenario.phases.chaos);
        if time.is_zero() {
            return Ok(());
        }
        let (begin, end) = (self.now(), self.now().plus(time));
        let calm = self.world.conditions();
        let mut rough = calm;
        rough.refused_ppm = scenario.chaos.dial_refused.draw(&mut self.random).as_ppm();
        rough.lost_ppm = scenario.chaos.dial_lost.draw(&mut self.random).as_ppm();
        self.world.set_conditions(rough);
        let hosts: Vec<HostId> = self.machines.iter().map(|it| it.host).collect();
        let gone = hosts.len().saturating_sub(scenario.program.gone as usize);
        for host in hosts[gone..].iter().copied() {
            self.machines[host.index()].gone = true;
            let process = true;
            self.plan(begin, Act::Planned(Action::Crash { host, process }));
        }
        for (at, action) in chaos::plan(scenario, begin, end, &hosts, &mut self.random) {
            self.plan(at, Act::Planned(action));
        }
        self.plan_trouble(begin, end, &hosts);
        if scenario.program.relays > 0 {
            self.plan_relay_trouble(begin, end);
        }
        self.impatient = scenario.program.give_up.draw(&mut self.random);
        let work = work::second_phase(scenario, begin, time, &mut self.random);
        for (at, item, task) in work {
            self.plan(at, Act::Planned(Action::Do { item, task }));
        }
        for (at, host) in self.clocks.plan(begin, time) {
            self.plan(at, Act::Planned(Action::SetClock(host)));
        }
        self.pass("chaos", time)?;
        // What is planned for later still comes: hosts that are to return do.
        self.pass("chaos", 2 * MINUTE)?;
        self.impatient = crate::network::Rate::NEVER;
        self.world.set_conditions(calm);
        self.heal()
    }

    /// Takes the nodes that have started since the last time.
    fn take_started(&mut self) -> Result<(), RunError> {
        for n in 0..self.machines.len() {
            if self.machines[n].take_started()? {
                self.started(self.machines[n].host);
            }
        }
        Ok(())
    }

    /// Waits until users have their answers.
    fn finish_operations(&mut self) -> Result<(), RunError> {
        let end = self
            .now()
            .plus(skydht_core::node::OPERATION_TIMEOUT + SETTLED);
        while !self.doing.is_empty() && self.now() < end && !self.stalled {
            self.pass(self.phase, Duration::from_secs(1))?;
        }
        Ok(())
    }

    fn sample(&mut self, name: &'static str, took: Duration) {
        self.samples
            .entry(name)
            .or_insert_with(|| Samples::new(Unit::Nanoseconds))
            .push(nanos(took));
    }

    /// Takes what users were told since the last time.
    pub(super) fn hear(&mut self) {
        let ended = std::mem::take(&mut self.shared.lock().ended);
        for end in ended {
            let line = (end.id, end.host, end.at, &end.told);
            // Our own types have no map keys or values that JSON cannot hold.
            self.told
                .update(serde_json::to_vec(&line).unwrap_or_default());
            let Some(pending) = self.doing.remove(&end.id) else {
                continue; // it was asked beside others, and nobody minds the answer
            };
            let doing = pending.doing;
            let took = end.at.since(doing.started);
            match (doing.deed, end.told) {
                (_, Told::GaveUp) => {
                    self.coverage.count("futures_dropped", 1);
                    if !matches!(doing.deed, Deed::Get { .. }) {
                        self.tracked[doing.item].unsure();
                    }
                }
                (Deed::Get { policy, checked }, Told::Get(read)) => {
                    if read.is_ok() {
                        self.sample(if checked { "get" } else { "chaos_get" }, took);
                    }
                    if checked {
                        self.judge(doing, policy, &read);
                    }
                }
                (deed, Told::Put(Ok(outcome))) => {
                    self.sample("put", took);
                    if !matches!(deed, Deed::PutElsewhere(_)) {
                        let tombstone = deed == Deed::Delete;
                        self.tracked[doing.item].promised(doing.started, &outcome, tombstone);
                    }
                }
                (_, Told::Put(Err(_))) => {
                    self.coverage.count("puts_failed", 1);
                    self.tracked[doing.item].unsure();
                }
                _ => {}
            }
        }
    }

    fn judge(&mut self, doing: Doing, policy: ReadPolicy, read: &Result<GetOutcome, GetError>) {
        let tracked = &self.tracked[doing.item];
        let ttl = self.scenario.population.item_ttl;
        let target = tracked.target;
        let verdict = if policy == ReadPolicy::FirstValid && tracked.is_found(false, read) {
            Verdict::Right
        } else {
            let owner_up = self.machines[tracked.owner.index()].is_up();
            let mut living: Vec<_> = self.machines.iter().filter(|it| it.is_up()).collect();
            living.sort_by_key(|it| target.distance(&it.key.id()));
            living.truncate(skydht_core::node::K);
            tracked.judge(
                doing.started,
                ttl,
                owner_up,
                |standing| living.iter().any(|it| standing.contains(&it.host)),
                read,
            )
        };
        self.verdicts[verdict as usize] += 1;
        if verdict == Verdict::Wrong {
            let floor = tracked.floor().map(|seq| seq.0);
            let found = match read {
                Ok(outcome) => format!("{}", outcome.item.seq),
                Err(error) => error.to_string(),
            };
            let what =
                format_args!("{target}: sequence {floor:?} was acknowledged, a read found {found}");
            let now = self.now();
            self.violations.note(now, what);
        }
    }

    fn conclude(self, seed: u64) -> Outcome {
        let stats = self.world.network_stats();
        let (now, polls) = (self.now(), self.world.polls());
        // The last of the nodes' watchers end with the world.
        drop(self.world);
        drop(self.machines);
        let mut ledger = self.shared.lock();
        let mut digest = self.told;
        for ((host, life), (inputs, value)) in &ledger.lives {
            digest.update(format!("{host} {life} {inputs} {value}\n").as_bytes());
        }
        digest.update(format!("{now} {polls} {stats:?}\n").as_bytes());
        let digest: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut violations = std::mem::take(&mut ledger.violations);
        violations.append(self.violations);
        let mut coverage = self.coverage;
        coverage.merge(&ledger.coverage);
        for (name, count) in [
            ("net_blocked", stats.blocked),
            ("net_broken", stats.broken),
            ("net_refused", stats.refused),
            ("net_lost", stats.lost),
        ] {
            coverage.count(name, count);
        }
        let [right, wrong, unknown] = self.verdicts;
        let figures = BTreeMap::from(
            [
                ("success", Quantity::share(right, right + wrong)),
                ("reads_right", Quantity::count(right)),
                ("reads_wrong", Quantity::count(wrong)),
                ("reads_unknown", Quantity::count(unknown)),
                ("inputs", Quantity::count(ledger.inputs)),
                ("connections", Quantity::count(stats.connected)),
                ("polls", Quantity::count(polls)),
                ("busiest_polls", Quantity::count(self.busiest)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let samples: BTreeMap<String, Samples> = self
            .samples
            .into_iter()
            .map(|(name, samples)| (name.to_owned(), samples))
            .collect();
        let scenario = self.scenario;
        crate::scenario::verdict::expect(scenario, now, &figures, &samples, &mut violations);
        let report = Report {
            scenario: scenario.name.clone(),
            seed,
            nodes: scenario.population.nodes.into(),
            figures,
            samples,
            violations: violations.into_words(),
            digest,
            ..Report::default()
        };
        Outcome { report, coverage }
    }
}
