//! The world: hosts, their clocks and disks, the network between them, and time.
//!
//! A run is a function of the seed, the configuration and the calls made: one thread, no real
//! time. [`World::digest`] shows it: the same run, the same digest.
//!
//! # How to use it
//!
//! 1. [`World::new`], then [`World::add`] a [`Boot`] for each host (for our nodes
//!    [`OurNode`](crate::ours::OurNode)), which runs nothing yet; addresses come from
//!    [`Access::numbered`] with the number that the host will get ([`World::next_host`]).
//! 2. [`World::start`] hosts when they should come.
//! 3. [`World::command`] gives an operation's number at once; its outcome is a
//!    [`SimEvent::Finished`]. Operations' numbers are distinct in the whole world.
//! 4. Let time pass: [`World::run_until`] with an [`Observer`] (or a closure), which sees every
//!    [`SimEvent`] and may act on the world; or [`World::step`], one event at a time.
//!    [`World::wake_at`] makes an event of one's own, for scripts.
//! 5. Do harm: [`World::network_mut`] gives the faults of the network
//!    ([`Network::faults_mut`], [`Network::cut`], [`Network::heal`]); [`World::crash`],
//!    [`World::suspend`], [`World::change_clock`], [`World::faults_mut`] do the rest.
//! 6. Look: [`World::node`] for a node's snapshot and store, [`World::time_of`] for what its
//!    clock shows, [`World::records`] for its disk, [`World::host`] for any other host's type.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use skydht_core::key::SecretKey;
//! use skydht_core::node::{Advertise, BootstrapPeer, Command, Config, Outcome};
//! use skydht_sim::network::Access;
//! use skydht_sim::ours::OurNode;
//! use skydht_sim::world::{SimEvent, World, WorldConfig, WorldError};
//!
//! let mut world = World::new(7, WorldConfig::default());
//! let key = |n: u8| SecretKey::from_entropy(&[n; 32]);
//! let first = Access::numbered(world.next_host());
//! for n in 0..5 {
//!     let access = Access::numbered(world.next_host());
//!     let mut config = Config::default();
//!     config.advertise = access.addr.map_or(Advertise::Nothing, Advertise::Address);
//!     if n > 0 {
//!         config.bootstrap = vec![BootstrapPeer { key: key(0).public(), addrs: first.addr.into_iter().collect() }];
//!     }
//!     let host = world.add(Box::new(OurNode { config: Arc::new(config), secret: key(n), lies: false }), access)?;
//!     world.start(host)?;
//! }
//! world.run_for(Duration::from_secs(60), &mut |_: &mut World, _| {});
//!
//! let all: Vec<_> = world.hosts().collect();
//! let put = Command::Put { salt: "name".into(), value: skydht_core::item::Value::new(b"\"x\""), options: Default::default() };
//! let op = world.command(all[1], put)?;
//! let mut outcome = None;
//! world.run_for(Duration::from_secs(30), &mut |_: &mut World, event| {
//!     if let SimEvent::Finished { op: finished, outcome: o, .. } = event && finished == op {
//!         outcome = Some(o);
//!     }
//! });
//! assert!(matches!(outcome, Some(Outcome::Put(Ok(put))) if put.replicas.acknowledged() == 4));
//! # Ok::<(), WorldError>(())
//! ```
//!
//! # What is modelled
//!
//! Each host verifies one signature after the other, [`WorldConfig::verify`] each; the verdict
//! itself is computed once for each distinct job. A write reaches a host's storage after
//! [`WorldFaults::write`]; a crash before that may lose it. A restarted host has a new seed and
//! its old key; its clock goes on. A host's deadline in the past fires a microsecond later, so
//! that time always moves.

mod digest;
mod error;
mod event;
mod hosts;
mod run;
mod slot;
mod storage;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};
use skydht_core::Node;
use skydht_core::node::{JobId, OperationId, Verdict};
use skydht_core::time::Time;

pub use crate::host::{Boot, Start};
pub use digest::WorldDigest;
pub use error::{NotQuiet, WorldError};
pub use event::{Observer, SimEvent, Watch};

use crate::clock::{Clock, SimTime, text};
use crate::host::Host;
use crate::network::queue::EventQueue;
use crate::network::{Access, Faults, HostId, Network, Spread, Transport};
use crate::ours::Ours;
use crate::storage::Redis;
use digest::Running;
use slot::{Slot, State};
use verdicts::Verdicts;

/// What can go wrong inside a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WorldFaults {
    /// How long a write to disk takes.
    pub write: Spread,
}

impl Default for WorldFaults {
    fn default() -> Self {
        Self {
            write: Spread::Fixed(Duration::from_millis(2)),
        }
    }
}

/// What a world begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WorldConfig {
    /// The network.
    pub network: Faults,
    /// How sessions and streams are made.
    pub transport: Transport,
    /// The hosts.
    pub hosts: WorldFaults,
    /// How long one signature check takes.
    #[serde(with = "text")]
    pub verify: Duration,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            network: Faults::default(),
            transport: Transport::default(),
            hosts: WorldFaults::default(),
            verify: Duration::from_micros(60),
        }
    }
}

/// What is due some time, beside the network's.
enum Due {
    Timer,
    Verified(JobId, Verdict),
    /// A write to storage ends.
    Written,
    /// The pause after one that failed is over.
    Retry,
    /// What was written is to be synced.
    Sync,
    /// A shared storage is asked for news.
    Poll,
    /// The next record is to be loaded.
    Load,
    /// A host that shut down is gone.
    Gone,
    Wake(u64),
}

struct Scheduled {
    host: HostId,
    /// The host's life for which it was meant.
    life: u32,
    due: Due,
}

/// Counts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct WorldStats {
    /// Inputs that hosts took.
    pub inputs: u64,
    /// Verification jobs asked for.
    pub jobs: u64,
    /// Signatures really checked.
    pub jobs_run: u64,
    /// Changes that reached storage.
    pub writes: u64,
    /// Changes that waited for it when their host ended.
    pub writes_lost: u64,
    /// Writes that failed, and were tried again.
    pub writes_failed: u64,
    /// Records that were found torn after the loss of power.
    pub torn: u64,
    /// Records that a shared storage had lost, and that a host wrote again.
    pub written_again: u64,
}

/// The world; see the [module](self) for how to use it.
pub struct World {
    now: SimTime,
    seed: u64,
    config: WorldConfig,
    random: ChaCha8Rng,
    network: Network,
    slots: Vec<Slot>,
    queue: EventQueue<Scheduled>,
    /// Verifications and writes under way.
    jobs: usize,
    operations: BTreeMap<OperationId, HostId>,
    last_operation: u64,
    events: VecDeque<SimEvent>,
    watch: Watch,
    verdicts: Verdicts,
    redis: Redis,
    digest: Running,
    stats: WorldStats,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, config: WorldConfig) -> Self {
        Self {
            now: SimTime::ZERO,
            seed,
            config,
            random: ChaCha8Rng::seed_from_u64(!seed),
            network: Network::new(seed, config.network, config.transport),
            slots: Vec::new(),
            queue: EventQueue::default(),
            jobs: 0,
            operations: BTreeMap::new(),
            last_operation: 0,
            events: VecDeque::new(),
            watch: Watch::default(),
            verdicts: Verdicts::default(),
            redis: Redis::default(),
            digest: Running::default(),
            stats: WorldStats::default(),
        }
    }

    /// True time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// The digest of everything so far.
    #[must_use]
    pub fn digest(&self) -> WorldDigest {
        self.digest.value()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> WorldStats {
        WorldStats {
            jobs_run: self.verdicts.run,
            ..self.stats
        }
    }

    /// Chooses which frequent events are wanted.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// The network: counts, sizes, reachability.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to do harm or heal.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// What goes wrong inside hosts, from now on.
    pub fn faults_mut(&mut self) -> &mut WorldFaults {
        &mut self.config.hosts
    }

    /// Ends every fault of network and hosts; crashed and suspended hosts stay as they are.
    pub fn heal(&mut self) {
        self.network.heal();
        self.set_redis_away(false);
        for host in self.hosts() {
            if self.slots[host.index()].disk.is_some() {
                self.set_disk_full(host, false);
            }
        }
    }

    /// The number that the next added host gets.
    #[must_use]
    pub fn next_host(&self) -> HostId {
        HostId(self.slots.len() as u32)
    }

    /// All hosts, running or not.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.slots.len() as u32).map(HostId)
    }

    /// Whether a host runs; a suspended one does.
    #[must_use]
    pub fn is_up(&self, host: HostId) -> bool {
        self.slots
            .get(host.index())
            .is_some_and(|slot| slot.state != State::Down)
    }

    /// Whether a host is suspended.
    #[must_use]
    pub fn is_suspended(&self, host: HostId) -> bool {
        self.slots
            .get(host.index())
            .is_some_and(|slot| slot.state == State::Suspended)
    }

    /// A running host, if it is of this type.
    #[must_use]
    pub fn host<H: Host>(&self, host: HostId) -> Option<&H> {
        let host: &dyn Host = self.slots.get(host.index())?.host.as_deref()?;
        (host as &dyn std::any::Any).downcast_ref()
    }

    /// The same, to change it; what it then wants done is done after its next input.
    pub fn host_mut<H: Host>(&mut self, host: HostId) -> Option<&mut H> {
        let host: &mut dyn Host = self.slots.get_mut(host.index())?.host.as_deref_mut()?;
        (host as &mut dyn std::any::Any).downcast_mut()
    }

    /// A running node of ours.
    #[must_use]
    pub fn node(&self, host: HostId) -> Option<&Node> {
        self.host::<Ours>(host).map(Ours::node)
    }

    /// What a host's clocks show now.
    #[must_use]
    pub fn time_of(&self, host: HostId) -> Option<Time> {
        let slot = self.slots.get(host.index())?;
        Some(slot.clock.read(self.now))
    }

    /// Operations without outcome, and where they run.
    pub fn operations(&self) -> impl Iterator<Item = (OperationId, HostId)> {
        self.operations.iter().map(|(op, host)| (*op, *host))
    }

    /// Changes a host's clock from now on: drift or steps.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub fn change_clock(
        &mut self,
        host: HostId,
        change: impl FnOnce(&mut Clock, SimTime),
    ) -> Result<(), WorldError> {
        let now = self.now;
        change(&mut self.slot_mut(host)?.clock, now);
        self.set_timer(host);
        Ok(())
    }

    /// From now on a host is reached otherwise; its sessions stay.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::DuplicateAddress`].
    pub fn set_access(&mut self, host: HostId, access: Access) -> Result<(), WorldError> {
        self.slot_mut(host)?;
        self.check_address(&access, Some(host))?;
        self.network.set_access(host, access);
        Ok(())
    }
}
