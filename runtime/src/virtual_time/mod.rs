//! A [`Runtime`] without threads, sockets or a real clock: time advances only when no task is
//! ready.
//!
//! [`VirtualTime`] owns a world: tasks, timers and a network of hosts. One thread polls tasks in
//! the order in which they were woken. When none is ready, time jumps to the next timer; timers of
//! the same moment fire in the order in which they were set. A run is therefore a function of its
//! seed, provided that the tasks use no other randomness, and an hour takes only as long as the
//! work in it.
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

/// Reading of the wall clock when a world begins: 2026-08-01T00:00:00Z.
pub const EPOCH: Duration = Duration::from_secs(1_785_542_400);

/// A world with its own time. Dropping it drops its tasks.
pub struct VirtualTime(Arc<World>);

impl VirtualTime {
    /// Creates a world at time zero. All its randomness is derived from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(World {
            executor: Arc::new(Executor::new()),
            network: Network::new(seed),
            wall: Wall::default(),
        }))
    }

    /// Returns the runtime of the host 127.0.0.1.
    #[must_use]
    pub fn runtime(&self) -> VirtualRuntime {
        self.host(Ipv4Addr::LOCALHOST.into())
    }

    /// Returns the runtime of the host `ip`, which listens at and connects from this address.
    #[must_use]
    pub fn host(&self, ip: IpAddr) -> VirtualRuntime {
        let world = Arc::clone(&self.0);
        VirtualRuntime { world, ip }
    }

    /// Runs the world until `future` completes. Must not be called from a task.
    ///
    /// # Errors
    /// [`Stalled`] if it cannot complete: no task is ready and no timer is set, or tasks wake each
    /// other endlessly without time advancing.
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

    /// Returns the time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.executor.now()
    }

    /// Returns the number of tasks that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.executor.tasks()
    }

    /// Sets the range of one-way latencies, from which each new connection draws its own. Initially
    /// 5 to 50 ms.
    pub fn set_latency(&self, min: Duration, max: Duration) {
        let latency = (min, max);
        self.0.network.set_conditions(Conditions {
            latency,
            ..self.0.network.conditions()
        });
    }

    /// Returns the conditions of new connections.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.0.network.conditions()
    }

    /// Sets the conditions of new connections.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.0.network.set_conditions(conditions);
    }

    /// Returns the network's counters.
    #[must_use]
    pub fn network_stats(&self) -> NetworkStats {
        self.0.network.stats()
    }

    /// Returns the two hosts of each connection with at least one end in use, including connections
    /// that wait to be accepted.
    #[must_use]
    pub fn connections(&self) -> Vec<[IpAddr; 2]> {
        self.0.network.connections()
    }

    /// Returns how often tasks were polled since the world began.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.0.executor.polls()
    }

    /// Returns how often tasks of one host were polled since the world began.
    #[must_use]
    pub fn polls_of(&self, host: IpAddr) -> u64 {
        self.0.executor.polls_of(host)
    }

    /// Returns the number of tasks of one host that have not ended.
    #[must_use]
    pub fn tasks_of(&self, host: IpAddr) -> usize {
        self.0.executor.tasks_of(host)
    }

    /// Ends a host's process immediately: its tasks are dropped in their current state, with
    /// everything they own, listeners and connections included. Must not be called from a task of
    /// that host.
    ///
    /// The other ends of its connections see the death of a process. To simulate a power loss
    /// instead, put the host on an island of its own before, so that they see nothing; when it
    /// starts again, call [`VirtualTime::disconnect`] first, because the new process does not know
    /// these connections.
    pub fn crash(&self, host: IpAddr) {
        self.0.executor.crash(host);
    }

    /// Suspends a host, as closing the lid of a laptop does: its tasks are not polled, while time
    /// and the network continue.
    pub fn suspend(&self, host: IpAddr) {
        self.0.executor.suspend(host);
    }

    /// Resumes a suspended host.
    pub fn resume(&self, host: IpAddr) {
        self.0.executor.resume(host);
    }

    /// Moves a host to an island; all hosts start on island 0. Nothing passes between islands, and
    /// neither end notices: bytes wait until both hosts are on one island again, and connection
    /// attempts time out.
    pub fn set_island(&self, host: IpAddr, island: u32) {
        self.0.network.set_island(host, island);
    }

    /// Steps a host's wall clock, back to 1970 at most. Its monotonic clock is not affected.
    pub fn step_clock(&self, host: IpAddr, by: Duration, forward: bool) {
        self.0.wall.step(host, by, forward);
    }

    /// Breaks all connections of a host.
    pub fn disconnect(&self, host: IpAddr) {
        self.0.network.disconnect(host);
    }

    /// Makes a host ignore connection attempts, like a firewall that drops them, or answer them
    /// again. Its existing connections continue.
    pub fn set_silent(&self, host: IpAddr, silent: bool) {
        self.0.network.set_silent(host, silent);
    }
}

impl Drop for VirtualTime {
    fn drop(&mut self) {
        // Break the reference cycle: tasks hold the world, and the world holds the tasks.
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
    /// Returns its address.
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
