//! How nodes store their records, and faults of their storage.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use super::drawn::Drawn;
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::up_to;
use crate::storage::Setup;

/// Separates these random numbers from all others.
const DRAWS: u64 = 0x4449_534b_5300_0000;
const MINUTE: Duration = Duration::from_secs(60);
/// Maximum duration of a failover.
const LONGEST_FAILOVER: Duration = Duration::from_secs(30);

/// Start or end of a storage fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StorageFault {
    /// A host's disk becomes full.
    Full(HostId),
    Free(HostId),
    /// The replica replaces the Redis that hosts share, which is unavailable in the meantime.
    FailOver,
    Back,
}

/// How our nodes store their records. Only at the core's depth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Storage {
    /// Share of nodes that sync once a second instead of with each write, so that their last writes
    /// are lost with the power.
    pub unsynced: Drawn,
    /// Share of nodes whose disks confirm syncs but do not do them. After a power loss they contain
    /// old, new or torn records.
    pub lost_syncs: Drawn,
    /// Number of nodes, from the first, that share one Redis. Their clocks are right.
    pub redis: u32,
    /// Probability per minute of the second phase that a host's disk is full for up to a minute.
    pub full: Drawn,
    /// Probability per minute of the second phase that the Redis fails over, without the last
    /// writes, and is unavailable for up to half a minute.
    pub failover: Drawn,
}

/// Storage of each host as drawn from the scenario.
pub(crate) struct Storages {
    random: ChaCha8Rng,
    pub(crate) setups: Vec<(HostId, Setup)>,
}

impl Storages {
    /// Draws the storage of these hosts, in order.
    pub(crate) fn new(scenario: &Storage, seed: u64, hosts: impl Iterator<Item = HostId>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ DRAWS);
        let unsynced = scenario.unsynced.draw(&mut random);
        let lost_syncs = scenario.lost_syncs.draw(&mut random);
        let setups = hosts.zip(0..).map(|(host, n)| {
            let setup = Setup {
                sync: !unsynced.hits(&mut random),
                lies: lost_syncs.hits(&mut random),
                shared: false,
            };
            let shared = Setup {
                shared: true,
                ..Setup::SOUND
            };
            let is_shared = n < scenario.redis;
            (host, if is_shared { shared } else { setup })
        });
        let setups = setups.collect();
        Self { random, setups }
    }

    /// Plans the storage faults between `from` and `to`.
    pub(crate) fn plan(
        &mut self,
        scenario: &Storage,
        (from, to): (SimTime, SimTime),
        victims: &[HostId],
    ) -> Vec<(SimTime, StorageFault)> {
        let random = &mut self.random;
        let full = scenario.full.draw(random);
        let failover = scenario.failover.draw(random);
        let mut plan = Vec::new();
        for minute in 0..(to.since(from).as_secs() / 60).max(1) {
            let begin = from.plus(MINUTE * minute as u32);
            for host in victims.iter().copied() {
                if full.hits(random) {
                    let at = begin.plus(up_to(MINUTE, random));
                    plan.push((at, StorageFault::Full(host)));
                    let end = at.plus(up_to(MINUTE, random));
                    plan.push((end, StorageFault::Free(host)));
                }
            }
            if scenario.redis > 0 && failover.hits(random) {
                let at = begin.plus(up_to(MINUTE, random));
                plan.push((at, StorageFault::FailOver));
                let back = at.plus(up_to(LONGEST_FAILOVER, random));
                plan.push((back, StorageFault::Back));
            }
        }
        plan
    }
}
