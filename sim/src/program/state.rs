//! The network of the whole program, and what a run records about it.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use skydht_runtime::virtual_time::VirtualTime;

use super::action::ProgramAction;
use super::build::Build;
use super::go::GoNodes;
use super::ledger::SharedLedger;
use super::machine::Machine;
use super::relays::Relays;
use crate::clock::SimTime;
use crate::network::{HostId, Rate};

/// Hosts that run the whole program in virtual time.
pub(crate) struct WholeProgram {
    pub(super) world: VirtualTime,
    pub(super) build: Box<dyn Build>,
    pub(super) relays: Relays,
    pub(super) go: GoNodes,
    pub(super) machines: Vec<Machine>,
    pub(super) shared: SharedLedger,
    pub(super) plan: BTreeMap<(SimTime, u64), ProgramAction>,
    /// Number of actions planned so far.
    pub(super) planned: u64,
    /// Number of commands that users have given so far.
    pub(super) asked: u64,
    /// Digest of the answers to users and their times.
    pub(super) answers_digest: Sha256,
    /// When polls were last counted, and the highest number per second of any host.
    pub(super) looked: SimTime,
    pub(super) busiest: u64,
    /// The world makes no more progress.
    pub(super) stalled: bool,
    /// Share of users that give up.
    pub(super) impatient: Rate,
}

impl WholeProgram {
    pub(super) fn new(
        world: VirtualTime,
        build: Box<dyn Build>,
        (relays, go): (Relays, GoNodes),
        machines: Vec<Machine>,
    ) -> Self {
        Self {
            world,
            build,
            relays,
            go,
            shared: SharedLedger::of(machines.len()),
            machines,
            plan: BTreeMap::new(),
            planned: 0,
            asked: 0,
            answers_digest: Sha256::new(),
            looked: SimTime::ZERO,
            busiest: 0,
            stalled: false,
            impatient: Rate::NEVER,
        }
    }

    pub(super) fn machine(&self, host: HostId) -> &Machine {
        &self.machines[host.index()]
    }

    pub(super) fn machine_mut(&mut self, host: HostId) -> &mut Machine {
        &mut self.machines[host.index()]
    }

    /// Puts every host and relay into one of two parts of the network, or all into one.
    pub(super) fn divide(&mut self, share: Rate, random: &mut ChaCha8Rng) {
        for machine in &mut self.machines {
            machine.part = u32::from(share.hits(random));
            machine.place(&self.world);
        }
        self.relays.divide(&self.world, share, random);
    }

    /// Ends the faults of connecting.
    pub(super) fn smooth(&mut self) {
        let mut calm = self.world.conditions();
        (calm.refused_ppm, calm.lost_ppm) = (0, 0);
        self.world.set_conditions(calm);
    }
}
