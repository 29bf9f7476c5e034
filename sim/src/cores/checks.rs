//! Invariants of cores.

use std::collections::BTreeMap;

use skydht_core::id::Target;
use skydht_core::node::{Counter, StoreChange};

use super::cast::HostKind;
use super::state::Cores;
use crate::network::{Departure, Faults, HostId};
use crate::oracle::bounds;
use crate::run::{Backend as _, Run};
use crate::scenario::{RunError, Scenario};
use crate::upstream::UpstreamNode;

/// Number of hosts checked per round: examining a host that has nothing to do costs as much as an
/// event.
const CHECKED_IN_A_ROUND: usize = 2_000;

impl Run<'_, Cores> {
    /// Checks the bounds of nodes, and restarts crashed upstream nodes as a supervisor would.
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
                HostKind::Ours => {
                    let Some(node) = self.backend.world.node(host) else {
                        continue;
                    };
                    let existing = &self.backend.cast.existing;
                    bounds::check(now, host, node, existing, &mut self.violations);
                    self.evicted |= self.backend.has_evicted(host);
                }
                HostKind::Upstream | HostKind::Mirror => {
                    let world = &mut self.backend.world;
                    let crashed = world
                        .host::<UpstreamNode>(host)
                        .is_some_and(|it| it.crashed());
                    if crashed && world.crash(host, Departure::Process).is_ok() {
                        self.coverage.count("upstream_crashed", 1);
                        Cores::start(self, host, false)?;
                    }
                }
                HostKind::Hostile => {}
            }
        }
        Ok(())
    }

    /// Checks the disk of a restarted host: everything acknowledged as durable must be there.
    pub(super) fn found_on_disk(&mut self, host: HostId) {
        let world = &self.backend.world;
        let setup = world.storage_of(host);
        if self.backend.kind(host) != HostKind::Ours || setup.shared {
            return;
        }
        if setup.lies {
            return self.durability.forget(host);
        }
        let (now, records) = (world.now(), world.records(host));
        self.durability
            .found(now, host, &records, &mut self.violations);
    }

    /// Records changes that storage acknowledged as durable to a host.
    pub(super) fn is_durable(&mut self, host: HostId, changes: &[StoreChange]) {
        let setup = self.backend.world.storage_of(host);
        if setup.shared {
            let (now, clock) = (self.now(), self.backend.wall_clock(host));
            self.durability.shared(now, clock, changes);
        } else if !setup.lies {
            self.durability.stored(host, changes);
        }
    }

    /// Checks that no node stores an item that its signer did not sign.
    pub(super) fn check_signatures(&mut self) {
        let mut checked = BTreeMap::new();
        for host in self.backend.living(HostKind::Ours) {
            let Some(node) = self.backend.world.node(host) else {
                continue;
            };
            for (target, held) in node.store().range(Target::default()) {
                let (item, seen) = (held.item(), (*target, held.rank()));
                let signed = *checked.entry(seen).or_insert_with(|| item.check().is_ok());
                if !signed {
                    let now = self.backend.world.now();
                    let what = format_args!("{host} holds a forged item at {target}");
                    self.violations.note(now, what);
                }
            }
        }
    }

    /// Checks that no call has failed while there were no faults.
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
            || who.liars > 0
            || !who.limits.is_empty()
        {
            return; // failing is in order
        }
        for host in self.hosts() {
            let Some(node) = self.backend.world.node(host) else {
                continue;
            };
            // The first hosts to start contact bootstrap peers that are not running yet.
            let counters = node.counters();
            let failed = counters.get(Counter::CallsFailed) - counters.get(Counter::OpensFailed);
            if failed > 0 {
                let what = format_args!("{host}: nothing went wrong, yet {failed} calls failed");
                self.violations.note(self.backend.world.now(), what);
            }
        }
    }
}
