//! A [`Runtime`] without threads, sockets or a clock: time moves only when nothing else can.
//!
//! [`VirtualTime`] owns a world: tasks, timers and a network of hosts. One thread polls tasks in
//! the order in which they were woken; when none is left, time jumps to the next timer, those
//! of one moment in the order in which they were set. So a run is a function of its seed, if
//! the tasks have no other source of chance, and an hour takes as long as its events do.
//!
//! ```
//! use skydht_runtime::Runtime as _;
//! use skydht_runtime::virtual_time::VirtualTime;
//! use std::time::Duration;
//!
//! let world = VirtualTime::new(7);
//! let runtime = world.runtime();
//! world.run_until(runtime.sleep(Duration::from_secs(3600))).unwrap();
//! assert_eq!(world.now(), Duration::from_secs(3600));
//! ```

mod executor;
mod network;
mod wall;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::pipe::Pipe;
use crate::{BoxFuture, Clocks, Runtime};
use executor::Executor;
pub use executor::Stalled;
pub use network::{Conditions, NetworkStats, VirtualListener};
use network::{Connecting, Network, World};
use wall::Wall;

/// The wall clock's reading when a world begins: 2026-08-01T00:00:00Z.
pub const EPOCH: Duration = Duration::from_secs(1_785_542_400);

/// A world with its own time. Dropping it drops its tasks.
pub struct VirtualTime(Arc<World>);

impl VirtualTime {
    /// A world at time zero. All chance in it comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(World {
            executor: Arc::new(Executor::new()),
            network: Network::new(seed),
            wall: Wall::default(),
        }))
    }

    /// The runtime of the host 127.0.0.1.
    #[must_use]
    pub fn runtime(&self) -> VirtualRuntime {
        self.host(Ipv4Addr::LOCALHOST.into())
    }

    /// The runtime of the host `ip`: it listens and connects from there.
    #[must_use]
    pub fn host(&self, ip: IpAddr) -> VirtualRuntime {
        let world = Arc::clone(&self.0);
        VirtualRuntime { world, ip }
    }

    /// Runs the world until `future` completes. Not to be called from within a task.
    ///
    /// # Errors
    /// [`Stalled`] when it never will: nothing is left to do, or tasks wake each other without
    /// end while time stands still.
    pub fn run_until<F: Future>(&self, future: F) -> Result<F::Output, Stalled> {
        self.0.executor.run_until(future)
    }

    /// Runs the world for `duration`.
    ///
    /// # Errors
    /// [`Stalled::Busy`].
    pub fn advance(&self, duration: Duration) -> Result<(), Stalled> {
        self.0.executor.advance(duration)
    }

    /// Time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.executor.now()
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.executor.tasks()
    }

    /// One-way latency of connections made from now on: each draws its own between the two.
    /// At first it is 5 to 50 ms.
    pub fn set_latency(&self, min: Duration, max: Duration) {
        let latency = (min, max);
        self.0.network.set_conditions(Conditions {
            latency,
            ..self.0.network.conditions()
        });
    }

    /// How connections made from now on are.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.0.network.conditions()
    }

    /// Changes that.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.0.network.set_conditions(conditions);
    }

    /// What the network has counted.
    #[must_use]
    pub fn network_stats(&self) -> NetworkStats {
        self.0.network.stats()
    }

    /// Connections of which at least one end is still held, by the hosts that they join; those
    /// that wait to be accepted are among them.
    #[must_use]
    pub fn connections(&self) -> Vec<[IpAddr; 2]> {
        self.0.network.connections()
    }

    /// Times that a task was polled since the world began.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.0.executor.polls()
    }

    /// The same for the tasks of one host.
    #[must_use]
    pub fn polls_of(&self, host: IpAddr) -> u64 {
        self.0.executor.polls_of(host)
    }

    /// Tasks of one host that have not ended.
    #[must_use]
    pub fn tasks_of(&self, host: IpAddr) -> usize {
        self.0.executor.tasks_of(host)
    }

    /// Ends a host's process at once: its tasks are dropped where they stand, and with them
    /// what they hold, listeners and connections included. Not to be called from a task of
    /// that host.
    ///
    /// The other ends of its connections see what follows a process's death. Put the host on an
    /// island of its own before, and they see nothing, as when a machine loses power; when it
    /// starts again, [`VirtualTime::disconnect`] it first, for it knows nothing of them.
    pub fn crash(&self, host: IpAddr) {
        self.0.executor.crash(host);
    }

    /// Makes a host stand still, as a laptop does with its lid closed: its tasks wait, time and
    /// the network go on.
    pub fn suspend(&self, host: IpAddr) {
        self.0.executor.suspend(host);
    }

    /// Lets a suspended host go on.
    pub fn resume(&self, host: IpAddr) {
        self.0.executor.resume(host);
    }

    /// Moves a host to an island; all begin on island 0. Between islands nothing gets through
    /// and neither end is told: bytes wait until both hosts are on one island again, and connection
    /// attempts time out.
    pub fn set_island(&self, host: IpAddr, island: u32) {
        self.0.network.set_island(host, island);
    }

    /// Steps a host's wall clock, back at most to 1970. Its monotonic clock goes on.
    pub fn step_clock(&self, host: IpAddr, by: Duration, forward: bool) {
        self.0.wall.step(host, by, forward);
    }

    /// Breaks all connections of a host.
    pub fn disconnect(&self, host: IpAddr) {
        self.0.network.disconnect(host);
    }

    /// Makes a host swallow connection attempts (a firewall that drops) or answer them again.
    /// Its connections stay.
    pub fn set_silent(&self, host: IpAddr, silent: bool) {
        self.0.network.set_silent(host, silent);
    }
}

impl Drop for VirtualTime {
    fn drop(&mut self) {
        // Tasks hold the world that holds them.
        self.0.executor.clear();
        self.0.network.clear();
    }
}

/// One host of a [`VirtualTime`] world.
#[derive(Clone)]
pub struct VirtualRuntime {
    world: Arc<World>,
    ip: IpAddr,
}

impl VirtualRuntime {
    /// Its address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }
}

impl Runtime for VirtualRuntime {
    type Connection = Pipe;
    type Listener = VirtualListener;

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.world.executor.spawn(self.ip, task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.world.executor.sleep(duration))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Pipe>> {
        Box::pin(Connecting::new(Arc::clone(&self.world), self.ip, addr).run())
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<VirtualListener>> {
        let listener = network::listen(&self.world, self.ip, addr);
        Box::pin(std::future::ready(listener))
    }

    fn clocks(&self) -> Clocks {
        let monotonic = self.world.executor.now();
        Clocks {
            monotonic,
            unix: self.world.wall.read(self.ip, EPOCH + monotonic),
        }
    }
}

crate::opaque_debug!(VirtualTime, VirtualRuntime);

#[cfg(test)]
mod tests;
