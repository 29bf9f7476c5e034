//! What every scenario draws: keys, orders and items; and the configuration that its nodes share.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use skydht_core::id::Target;
use skydht_core::item::Salt;
use skydht_core::key::SecretKey;
use skydht_core::node::{Config, Limits};

use super::file::{Population, Scenario};
use super::outcome::RunError;
use crate::network::HostId;
use crate::network::faults::below;

/// An item that will be published.
#[derive(Clone, Debug)]
pub(crate) struct PlannedItem {
    pub(crate) owner: HostId,
    pub(crate) secret: SecretKey,
    pub(crate) salt: Salt,
    pub(crate) target: Target,
}

/// Draws a secret key.
pub(crate) fn secret(random: &mut ChaCha8Rng) -> SecretKey {
    let mut entropy = [0; 32];
    random.fill_bytes(&mut entropy);
    SecretKey::from_entropy(&entropy)
}

/// Returns `all` in a random order (Fisher and Yates).
pub(crate) fn shuffled(mut all: Vec<u32>, random: &mut ChaCha8Rng) -> Vec<u32> {
    for last in (1..all.len()).rev() {
        let other = below(random, last as u64 + 1) as usize;
        all.swap(last, other);
    }
    all
}

/// Plans the scenario's items, each with a different one of `owners` as long as there are enough.
/// `secrets` contains every host's key.
pub(crate) fn items(
    scenario: &Scenario,
    owners: Vec<u32>,
    secrets: &[SecretKey],
    random: &mut ChaCha8Rng,
) -> Vec<PlannedItem> {
    let owners = shuffled(owners, random);
    let planned = (0..scenario.items()).map(|n| {
        let owner = owners[n as usize % owners.len()];
        let secret = secrets[owner as usize].clone();
        let salt = Salt::from(format!("item {n}").as_str());
        PlannedItem {
            owner: HostId(owner),
            target: Target::of(&secret.public(), salt.as_bytes()),
            secret,
            salt,
        }
    });
    planned.collect()
}

/// Returns the core's limits with those that the population sets.
///
/// # Errors
/// [`RunError::UnknownLimit`].
pub(crate) fn limits(population: &Population) -> Result<Limits, RunError> {
    let known = serde_json::to_value(Limits::default()).unwrap_or_default();
    let mut limits = known.clone();
    for (name, value) in &population.limits {
        if known.get(name).is_none() {
            return Err(RunError::UnknownLimit(name.clone()));
        }
        limits[name] = (*value).into();
    }
    serde_json::from_value(limits).map_err(|_| RunError::UnknownLimit("limits".into()))
}

/// Returns the configuration of node number `n`, without its bootstrap peers and advertised
/// address.
pub(crate) fn config(who: &Population, limits: &Limits, n: u32) -> Config {
    let mut config = Config::default();
    config.alpha = who.alpha as usize;
    config.disjoint_paths = who.disjoint_paths as usize;
    config.item_ttl = who.item_ttl;
    config.full_node = n < who.full_nodes;
    config.storage = true;
    config.limits = limits.clone();
    config
}
