//! The simulated world: hosts, their clocks and disks, the network between them, and time.
//!
//! A run depends only on the seed, the configuration and the calls made; it uses one thread and no
//! real time. [`World::digest`] proves it: equal runs have equal digests.
//!
//! # How to use it
//!
//! 1. Create a world with [`World::new`]. Add a [`Boot`] for each host with [`World::add`] (for our
//!    nodes [`OurNode`](crate::ours::OurNode)). The host does not run yet. [`Access::numbered`]
//!    gives its address; it needs the number that the host will get ([`World::next_host`]).
//! 2. Start hosts with [`World::start`].
//! 3. Give commands with [`World::command`]. It returns the number of the operation, which is
//!    unique in the whole world. The outcome follows as a [`SimEvent::Finished`].
//! 4. Advance time with [`World::run_until`] and an [`Observer`] (or a closure), which gets every
//!    [`SimEvent`] and may act on the world; or with [`World::step`], one event at a time.
//!    [`World::wake_at`] schedules an event for use by scripts.
//! 5. Cause faults: [`World::network_mut`] gives access to those of the network
//!    ([`Network::faults_mut`], [`Network::cut`], [`Network::heal`]); use [`World::crash`],
//!    [`World::suspend`], [`World::change_clock`] and [`World::faults_mut`] for hosts.
//! 6. Inspect the result: [`World::node`] for a node's snapshot and store, [`World::time_of`] for a
//!    host's clock, [`World::records`] for its disk, [`World::host`] for a host of another type.
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
//! Each host verifies signatures one after the other, and each takes [`WorldConfig::verify`]. The
//! verdict is computed only once for each distinct job. A write reaches a host's storage after
//! [`WorldFaults::write`]; a crash before that may lose it. A restarted host has a new seed and its
//! old key; its clock continues. A host's deadline in the past fires one microsecond later, so time
//! always advances.

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

/// Faults inside a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WorldFaults {
    /// Duration of a write to disk.
    pub write: Spread,
}

impl Default for WorldFaults {
    fn default() -> Self {
        Self {
            write: Spread::Fixed(Duration::from_millis(2)),
        }
    }
}

/// Initial configuration of a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WorldConfig {
    /// Faults of the network.
    pub network: Faults,
    /// How sessions and streams are made.
    pub transport: Transport,
    /// Faults of the hosts.
    pub hosts: WorldFaults,
    /// Duration of one signature verification.
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

/// Scheduled events, except those of the network.
enum Due {
    Timer,
    Verified(JobId, Verdict),
    /// A write to storage ends.
    Written,
    /// The pause after a failed write is over.
    Retry,
    /// Written data must be synced.
    Sync,
    /// A shared storage is polled for changes.
    Poll,
    /// The next record is to be loaded.
    Load,
    /// A host that shut down has ended.
    Gone,
    Wake(u64),
}

struct Scheduled {
    host: HostId,
    /// The life of the host for which the event was scheduled.
    life: u32,
    due: Due,
}

/// Counts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct WorldStats {
    /// Inputs that hosts handled.
    pub inputs: u64,
    /// Verification jobs requested.
    pub jobs: u64,
    /// Signatures actually verified.
    pub jobs_run: u64,
    /// Changes that reached storage.
    pub writes: u64,
    /// Changes that were not yet written when their host ended.
    pub writes_lost: u64,
    /// Writes that failed and were tried again.
    pub writes_failed: u64,
    /// Records that were found torn after a power loss.
    pub torn: u64,
    /// Records that a shared storage had lost and that a host wrote again.
    pub written_again: u64,
}

/// The world. See the [module](self) for its use.
pub struct World {
    now: SimTime,
    seed: u64,
    config: WorldConfig,
    random: ChaCha8Rng,
    network: Network,
    slots: Vec<Slot>,
    queue: EventQueue<Scheduled>,
    /// Number of verifications and writes in progress.
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

    /// The true time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// Digest of everything so far.
    #[must_use]
    pub fn digest(&self) -> WorldDigest {
        self.digest.value()
    }

    /// Counts so far.
    #[must_use]
    pub fn stats(&self) -> WorldStats {
        WorldStats {
            jobs_run: self.verdicts.run,
            ..self.stats
        }
    }

    /// Sets which frequent events are emitted.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// The network, for its counts, sizes and reachability.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to start or end faults.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Faults inside hosts, which apply from now on.
    pub fn faults_mut(&mut self) -> &mut WorldFaults {
        &mut self.config.hosts
    }

    /// Ends all faults of the network and of hosts. Crashed and suspended hosts stay as they are.
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

    /// Whether a host runs. A suspended host counts as running.
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

    /// A running host, if it has this type.
    #[must_use]
    pub fn host<H: Host>(&self, host: HostId) -> Option<&H> {
        let host: &dyn Host = self.slots.get(host.index())?.host.as_deref()?;
        (host as &dyn std::any::Any).downcast_ref()
    }

    /// A running host, if it has this type, to change it. Its outputs are processed after its next
    /// input.
    pub fn host_mut<H: Host>(&mut self, host: HostId) -> Option<&mut H> {
        let host: &mut dyn Host = self.slots.get_mut(host.index())?.host.as_deref_mut()?;
        (host as &mut dyn std::any::Any).downcast_mut()
    }

    /// A running node of ours.
    #[must_use]
    pub fn node(&self, host: HostId) -> Option<&Node> {
        self.host::<Ours>(host).map(Ours::node)
    }

    /// Times on a host's clocks.
    #[must_use]
    pub fn time_of(&self, host: HostId) -> Option<Time> {
        let slot = self.slots.get(host.index())?;
        Some(slot.clock.read(self.now))
    }

    /// Operations without outcome and their hosts.
    pub fn operations(&self) -> impl Iterator<Item = (OperationId, HostId)> {
        self.operations.iter().map(|(op, host)| (*op, *host))
    }

    /// Changes the drift of a host's clock, or steps it.
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

    /// Changes how a host is reached. Its sessions stay.
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
