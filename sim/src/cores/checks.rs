//! Invariants of cores.

use skydht_core::node::Counter;

use super::cast::Kind;
use super::state::Cores;
use crate::network::{Departure, Faults};
use crate::oracle::bounds;
use crate::run::{Backend as _, Run};
use crate::scenario::{RunError, Scenario};
use crate::upstream::UpstreamNode;

/// Hosts that are checked in one round: each look at a host that has nothing to do costs as much
/// as an event.
const CHECKED_IN_A_ROUND: usize = 2_000;

impl Run<'_, Cores> {
    /// The bounds of nodes, and a supervisor's work: upstream's that crashed start again.
    pub(super) fn check_cores(&mut self, all: bool) -> Result<(), RunError> {
        let now = self.now();
        let parts = match all {
            true => 1,
            false => self.hosts().count().div_ceil(CHECKED_IN_A_ROUND).max(1),
        };
        self.backend.rounds += 1;
        let first = self.backend.rounds % parts;
        for host in self.hosts().skip(first).step_by(parts) {
            match self.backend.kind(host) {
                Kind::Ours => {
                    let Some(node) = self.backend.world.node(host) else {
                        continue;
                    };
                    let existing = &self.backend.cast.existing;
                    bounds::check(now, host, node, existing, &mut self.violations);
                    self.evicted |= self.backend.has_evicted(host);
                }
                Kind::Upstream | Kind::Mirror => {
                    let world = &mut self.backend.world;
                    let crashed = world
                        .host::<UpstreamNode>(host)
                        .is_some_and(|it| it.crashed());
                    if crashed && world.crash(host, Departure::Process).is_ok() {
                        self.coverage.count("upstream_crashed", 1);
                        Cores::start(self, host, false)?;
                    }
                }
                Kind::Hostile => {}
            }
        }
        Ok(())
    }

    /// Nothing went wrong so far, so no call may have failed.
    pub(super) fn check_calm(&mut self) {
        let Scenario {
            population: who,
            network,
            ..
        } = self.scenario;
        let faultless = Faults {
            latency: network.latency,
            jitter: network.jitter,
            ..Faults::default()
        };
        if *network != faultless
            || !self.backend.all_ours()
            || who.bootstrap_dead > 0
            || who.nat.is_possible()
            || !who.limits.is_empty()
        {
            return; // failing is in order
        }
        for host in self.hosts() {
            let Some(node) = self.backend.world.node(host) else {
                continue;
            };
            // The first to start ask for bootstrap peers that are not there yet.
            let counters = node.counters();
            let failed = counters.get(Counter::CallsFailed) - counters.get(Counter::OpensFailed);
            if failed > 0 {
                let what = format_args!("{host}: nothing went wrong, yet {failed} calls failed");
                self.violations.note(self.backend.world.now(), what);
            }
        }
    }
}
