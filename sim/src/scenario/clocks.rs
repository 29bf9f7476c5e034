//! Wall clocks that were never set, and those that are wrong from the first.

use std::collections::BTreeSet;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;

use super::file::Population;
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::below;
use crate::network::faults::up_to;

/// Separates these draws from all others.
const DRAWS: u64 = 0x434c_4f43_4b53_0000;

/// What is wrong with the hosts' wall clocks.
pub(crate) struct WallClocks {
    /// Hosts whose clock was not set yet: it shows 1970 at each start.
    unset: BTreeSet<HostId>,
    /// By how much others are wrong, and whether they are ahead.
    pub(crate) skewed: Vec<(HostId, Duration, bool)>,
    random: ChaCha8Rng,
}

impl WallClocks {
    /// Draws for these hosts.
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

    /// How many were never set.
    pub(crate) fn unset(&self) -> usize {
        self.unset.len()
    }

    /// Whether a host's clock shows 1970 when it starts.
    pub(crate) fn is_unset(&self, host: HostId) -> bool {
        self.unset.contains(&host)
    }

    /// When the clocks of half of those without are set.
    pub(crate) fn plan(&mut self, begin: SimTime, time: Duration) -> Vec<(SimTime, HostId)> {
        let random = &mut self.random;
        let half = self.unset.iter().filter_map(|host| {
            let at = begin.plus(up_to(time, random));
            (below(random, 2) == 0).then_some((at, *host))
        });
        half.collect()
    }

    /// A host's clock is set from now on. Whether it was not.
    pub(crate) fn set(&mut self, host: HostId) -> bool {
        self.unset.remove(&host)
    }
}
