//! Scenarios on cores: skydht nodes, upstream nodes and hostile peers in a [`World`].

mod backend;
mod cast;
mod checks;
mod phases;
mod state;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;

use crate::run::play;
use crate::scenario::clocks::WallClocks;
use crate::scenario::storage::Storages;
use crate::scenario::{Outcome, Progress, RunError, Scenario};
use crate::world::{World, WorldConfig};
use cast::{HostKind, populate};
use state::Cores;

/// Separates the scenario's random draws from the world's.
const DRAWS: u64 = 0x5343_454e_4152_494f;

/// Runs a scenario on cores.
///
/// # Errors
/// [`RunError`] if the scenario cannot be run.
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
    let (cast, items) = populate(&mut world, scenario, &mut random)?;
    let ours = world
        .hosts()
        .filter(|host| cast.kinds[host.index()] == HostKind::Ours);
    let storages = Storages::new(&scenario.storage, seed, ours);
    for (host, setup) in &storages.setups {
        world.set_storage(*host, *setup)?;
    }
    let on_disk = storages.setups.iter().filter(|(_, setup)| !setup.shared);
    let on_disk = on_disk.map(|(host, _)| *host);
    let clocks = WallClocks::new(&scenario.population, seed, on_disk);
    let cores = Cores::new(world, cast, storages);
    play(scenario, seed, (cores, items, random), clocks, progress)
}
