//! Creates the network from a scenario, and a run on it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use skydht_core::key::SecretKey;
use skydht_core::node::{Advertise, BootstrapPeer};
use skydht_runtime::virtual_time::{Conditions, VirtualTime};

use super::build::{Build, Dmsg, Tcp, addr};
use super::go::GoNodes;
use super::machine::Machine;
use super::relays::Relays;
use super::state::WholeProgram;
use crate::coverage::Coverage;
use crate::figures::Report;
use crate::network::{HostId, Spread};
use crate::run::play;
use crate::scenario::clocks::WallClocks;
use crate::scenario::draw::{self, PlannedItem, secret};
use crate::scenario::{Outcome, Progress, RunError, Scenario};

/// Separates the scenario's random numbers from the network's.
const DRAWS: u64 = 0x5052_4f47_5241_4d00;
/// Separates the random numbers for the keys and handshakes of relays.
const RELAYS: u64 = 0x5245_4c41_5953_0000;
/// Separates the random numbers for Go nodes.
const GO_NODES: u64 = 0x474f_4e4f_4445_5300;

/// Runs a scenario with a seed. The same scenario and seed give exactly the same outcome. A panic
/// in any task is a violation.
///
/// # Errors
/// [`RunError`] if the scenario cannot be run.
pub(crate) fn run(
    scenario: &Scenario,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let run = || -> Result<Outcome, RunError> {
        let made = make(scenario, seed)?;
        let hosts = (0..scenario.population.nodes).map(HostId);
        let clocks = WallClocks::new(&scenario.population, seed, hosts);
        play(scenario, seed, made, clocks, &mut *progress)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let report = Report {
                scenario: scenario.name.clone(),
                seed,
                nodes: scenario.population.nodes.into(),
                violations: vec![format!("a task panicked: {}", panic_message(&*panic))],
                digest: "none: a task panicked".into(),
                ..Report::default()
            };
            let coverage = Coverage::default();
            Ok(Outcome { report, coverage })
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("without a word")
}

fn make(
    scenario: &Scenario,
    seed: u64,
) -> Result<(WholeProgram, Vec<PlannedItem>, ChaCha8Rng), RunError> {
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
    let limits = draw::limits(who)?;
    let machine = |(n, secret): (u32, &SecretKey)| {
        let key = secret.public();
        let mut config = draw::config(who, &limits, n);
        if !relayed {
            config.advertise = Advertise::Address(addr(HostId(n), 0));
        }
        let others = bootstrap.iter().filter(|peer| peer.key != key);
        config.bootstrap = others.cloned().collect();
        Machine::new(HostId(n), secret.clone(), config, random.next_u64())
    };
    let machines: Vec<Machine> = (0..).zip(&secrets).map(machine).collect();
    let owners = (0..who.nodes).collect();
    let items = draw::items(scenario, owners, &secrets, &mut random);
    let relays = Relays::new(&world, program, ChaCha8Rng::seed_from_u64(seed ^ RELAYS));
    let build: Box<dyn Build> = match relayed {
        true => Box::new(Dmsg::new(program, relays.discovery())),
        false => Box::new(Tcp::new(program, scenario.transport.idle_timeout)),
    };
    let network = WholeProgram::new(world, build, (relays, go), machines);
    Ok((network, items, random))
}
