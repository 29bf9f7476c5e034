//! Wall clocks that were never set, and those that are wrong from the beginning.

use std::collections::BTreeSet;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;

use super::file::Population;
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::below;
use crate::network::faults::up_to;

/// Separates these random numbers from all others.
const DRAWS: u64 = 0x434c_4f43_4b53_0000;

/// Errors of the hosts' wall clocks.
pub(crate) struct WallClocks {
    /// Hosts whose clock is not set yet: it shows 1970 at each start.
    unset: BTreeSet<HostId>,
    /// Other hosts whose clock is wrong: by how much, and whether it is ahead.
    pub(crate) skewed: Vec<(HostId, Duration, bool)>,
    random: ChaCha8Rng,
}

impl WallClocks {
    /// Draws the errors of these hosts.
    pub(crate) fn new(who: &Population, seed: u64, hosts: impl Iterator<Item = HostId>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ DRAWS);
        let share = who.no_clock.draw(&mut random);
        let (mut unset, mut skewed) = (BTreeSet::new(), Vec::new());
        for host in hosts {
            if share.hits(&mut random) {
                unset.insert(host);
            } else if !who.skew.is_zero() {
                let by = up_to(who.skew, &mut random);
                skewed.push((host, by, below(&mut random, 2) == 0));
            }
        }
        Self {
            unset,
            skewed,
            random,
        }
    }

    /// Number of clocks that are not set.
    pub(crate) fn unset(&self) -> usize {
        self.unset.len()
    }

    /// Whether a host's clock shows 1970 when it starts.
    pub(crate) fn is_unset(&self, host: HostId) -> bool {
        self.unset.contains(&host)
    }

    /// When clocks are set: those of half of the hosts without the right time.
    pub(crate) fn plan(&mut self, begin: SimTime, time: Duration) -> Vec<(SimTime, HostId)> {
        let random = &mut self.random;
        let half = self.unset.iter().filter_map(|host| {
            let at = begin.plus(up_to(time, random));
            (below(random, 2) == 0).then_some((at, *host))
        });
        half.collect()
    }

    /// Sets a host's clock from now on. Returns whether it was unset.
    pub(crate) fn set(&mut self, host: HostId) -> bool {
        self.unset.remove(&host)
    }
}
