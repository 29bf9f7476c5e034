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

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::pipe::Pipe;
use crate::{BoxFuture, Clocks, Runtime};
use executor::Executor;
pub use executor::Stalled;
pub use network::VirtualListener;
use network::{Connecting, Network};

/// The wall clock's reading when a world begins: 2026-08-01T00:00:00Z.
pub const EPOCH: Duration = Duration::from_secs(1_785_542_400);

struct World {
    executor: Arc<Executor>,
    network: Network,
}

/// A world with its own time. Dropping it drops its tasks.
pub struct VirtualTime(Arc<World>);

impl VirtualTime {
    /// A world at time zero. All chance in it comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(World {
            executor: Arc::new(Executor::new()),
            network: Network::new(seed),
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
        self.0.network.set_latency(min, max);
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
        self.world.executor.spawn(task);
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
            unix: EPOCH + monotonic,
        }
    }
}

#[cfg(test)]
mod tests;
