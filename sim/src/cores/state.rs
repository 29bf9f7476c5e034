//! The world of cores, and what a run keeps about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::node::Counter;

use super::cast::{Cast, Kind};
use crate::clock::SimTime;
use crate::network::HostId;
use crate::scenario::action::Action;
use crate::scenario::storage::Storages;
use crate::world::World;

/// Time passes in steps of this length at most, so that the caller sees that the run goes on.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// Cores in a [`World`].
pub(crate) struct Cores {
    pub(super) world: World,
    pub(super) cast: Cast,
    /// All that was ever planned; the world wakes the run with the number.
    pub(super) planned: Vec<Action>,
    /// End of the current step.
    pub(super) step_end: SimTime,
    /// Whose machines vanished for good.
    pub(super) dead: BTreeSet<HostId>,
    /// When each host started for the first time.
    pub(super) started: BTreeMap<HostId, SimTime>,
    pub(super) storages: Storages,
    /// Rounds of checks so far.
    pub(super) rounds: usize,
    /// Bytes a second and node while users only read.
    pub(super) upkeep: Option<u64>,
    /// Nodes whose table was empty when all was to be well.
    pub(super) lonely: u64,
    /// Of the run, before it is looked at what is left.
    pub(super) digest: Option<String>,
}

impl Cores {
    pub(super) fn new(world: World, cast: Cast, storages: Storages) -> Self {
        Self {
            world,
            cast,
            planned: Vec::new(),
            step_end: SimTime::ZERO.plus(STEP),
            dead: BTreeSet::new(),
            started: BTreeMap::new(),
            storages,
            rounds: 0,
            upkeep: None,
            lonely: 0,
            digest: None,
        }
    }

    pub(super) fn kind(&self, host: HostId) -> Kind {
        self.cast.kinds[host.index()]
    }

    /// Hosts of a kind that run and are not suspended.
    pub(super) fn living(&self, kind: Kind) -> impl Iterator<Item = HostId> {
        let world = &self.world;
        let kinds = world.hosts().filter(move |host| self.kind(*host) == kind);
        kinds.filter(|host| world.is_up(*host) && !world.is_suspended(*host))
    }

    pub(super) fn has_evicted(&self, host: HostId) -> bool {
        let node = self.world.node(host);
        node.is_some_and(|node| node.counters().get(Counter::ItemsEvicted) > 0)
    }
}
