//! State of a run on cores.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::node::Counter;

use super::cast::{Cast, HostKind};
use crate::clock::SimTime;
use crate::network::HostId;
use crate::scenario::action::Action;
use crate::scenario::storage::Storages;
use crate::world::World;

/// Maximum length of a step of time, so that the caller can report progress.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// The backend that runs cores in a [`World`].
pub(crate) struct Cores {
    pub(super) world: World,
    pub(super) cast: Cast,
    /// All planned actions; the world wakes the run with the index.
    pub(super) planned: Vec<Action>,
    /// End of the current step.
    pub(super) step_end: SimTime,
    /// Hosts whose machines were removed permanently.
    pub(super) dead: BTreeSet<HostId>,
    /// When each host started for the first time.
    pub(super) started: BTreeMap<HostId, SimTime>,
    pub(super) storages: Storages,
    /// Number of rounds of checks so far.
    pub(super) rounds: usize,
    /// Bytes per second and node while users only read; `None` if that was not measured.
    pub(super) upkeep: Option<u64>,
    /// Number of nodes with an empty table after the network had healed.
    pub(super) lonely: u64,
    /// Digest of the run before the final quiet phase; `None` if there is none.
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

    pub(super) fn kind(&self, host: HostId) -> HostKind {
        self.cast.kinds[host.index()]
    }

    /// Hosts of a kind that are running and not suspended.
    pub(super) fn living(&self, kind: HostKind) -> impl Iterator<Item = HostId> {
        let world = &self.world;
        let kinds = world.hosts().filter(move |host| self.kind(*host) == kind);
        kinds.filter(|host| world.is_up(*host) && !world.is_suspended(*host))
    }

    pub(super) fn has_evicted(&self, host: HostId) -> bool {
        let node = self.world.node(host);
        node.is_some_and(|node| node.counters().get(Counter::ItemsEvicted) > 0)
    }
}
