//! Wall clocks of hosts, as far as they were stepped.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How far a clock is off, as the sums of its steps in each direction.
#[derive(Clone, Copy, Default)]
struct Offset {
    ahead: Duration,
    behind: Duration,
}

/// The offsets of all stepped clocks; other hosts' clocks are right.
#[derive(Default)]
pub(super) struct Wall(Mutex<BTreeMap<IpAddr, Offset>>);

impl Wall {
    pub(super) fn step(&self, host: IpAddr, by: Duration, forward: bool) {
        let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = offsets.entry(host).or_default();
        let side = match forward {
            true => &mut offset.ahead,
            false => &mut offset.behind,
        };
        *side = side.saturating_add(by);
    }

    /// Returns what the host's clock shows at the true time `right`.
    pub(super) fn read(&self, host: IpAddr, right: Duration) -> Duration {
        let offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match offsets.get(&host) {
            Some(offset) => right
                .saturating_add(offset.ahead)
                .saturating_sub(offset.behind),
            None => right,
        }
    }
}
