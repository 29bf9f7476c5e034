//! Hosts, listeners and connections in memory, with latency drawn from the world's seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::executor::Executor;
use super::wall::Wall;
use crate::pipe::{self, Cutter, Delay, Pipe};
use crate::{BoxFuture, Listener};

/// Maximum number of connections that wait to be accepted by one listener; further ones are
/// refused.
const BACKLOG: usize = 128;
/// The first port assigned to a caller that asks for port 0, and to outgoing connections.
const FIRST_EPHEMERAL_PORT: u16 = 49_152;
/// How long a connection attempt to a silent host takes to fail; Linux's default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);

/// Conditions of the network. They apply to connections made after they were set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Conditions {
    /// Range of one-way latencies, from which each connection draws its own.
    pub latency: (Duration, Duration),
    /// Maximum additional latency of each write. Bytes stay in order.
    pub jitter: Duration,
    /// Range of capacities, in bytes in transit in one direction before writes wait, from which
    /// each connection draws its own.
    pub capacity: (usize, usize),
    /// How many of a million connection attempts are refused.
    pub refused_ppm: u32,
    /// How many of a million connection attempts get no answer.
    pub lost_ppm: u32,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            latency: (Duration::from_millis(5), Duration::from_millis(50)),
            jitter: Duration::ZERO,
            capacity: (pipe::DEFAULT_CAPACITY, pipe::DEFAULT_CAPACITY),
            refused_ppm: 0,
            lost_ppm: 0,
        }
    }
}

/// Counters of the network since the world began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct NetworkStats {
    /// Connections made.
    pub connected: u64,
    /// Connection attempts refused: without a listener, with a full backlog, or at random.
    pub refused: u64,
    /// Connection attempts without an answer.
    pub lost: u64,
    /// Connections broken by [`VirtualTime::disconnect`](super::VirtualTime::disconnect).
    pub broken: u64,
    /// Times that a writer found no room.
    pub blocked: u64,
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and sufficient to draw latencies.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, min: Duration, max: Duration) -> Duration {
        let span = max.saturating_sub(min).as_nanos() + 1;
        let offset = (u128::from(self.next()) * span) >> 64;
        min + Duration::from_nanos(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    /// Draws only if there is a choice, so that a fixed size does not change the numbers that
    /// follow.
    fn size(&mut self, (min, max): (usize, usize)) -> usize {
        if max <= min {
            return min;
        }
        let span = (max - min) as u128 + 1;
        min + ((u128::from(self.next()) * span) >> 64) as usize
    }

    fn hits(&mut self, ppm: u32) -> bool {
        ppm > 0 && (u128::from(self.next()) * 1_000_000) >> 64 < u128::from(ppm)
    }
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<(Pipe, SocketAddr)>,
    accepting: Option<Waker>,
}

struct NetworkState {
    rng: Rng,
    conditions: Conditions,
    listeners: BTreeMap<SocketAddr, Arc<Mutex<Inbox>>>,
    next_port: BTreeMap<IpAddr, u16>,
    silent: BTreeSet<IpAddr>,
    /// Islands of the hosts that are not on island 0.
    islands: BTreeMap<IpAddr, u32>,
    stats: NetworkStats,
    /// Connections with their two hosts. Those that are gone are removed at times.
    connections: Vec<([IpAddr; 2], Cutter)>,
    /// Length of `connections` at which those that are gone are removed.
    sweep_at: usize,
}

pub(super) struct Network(Mutex<NetworkState>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(NetworkState {
            rng: Rng(seed),
            conditions: Conditions::default(),
            listeners: BTreeMap::new(),
            next_port: BTreeMap::new(),
            silent: BTreeSet::new(),
            islands: BTreeMap::new(),
            stats: NetworkStats::default(),
            connections: Vec::new(),
            sweep_at: 64,
        }))
    }

    pub(super) fn conditions(&self) -> Conditions {
        lock(&self.0).conditions
    }

    pub(super) fn set_conditions(&self, conditions: Conditions) {
        lock(&self.0).conditions = conditions;
    }

    pub(super) fn stats(&self) -> NetworkStats {
        lock(&self.0).stats
    }

    pub(super) fn connections(&self) -> Vec<[IpAddr; 2]> {
        let state = lock(&self.0);
        let here = state.connections.iter().filter(|(_, it)| !it.is_gone());
        here.map(|(ends, _)| *ends).collect()
    }

    pub(super) fn set_island(&self, host: IpAddr, island: u32) {
        let mut state = lock(&self.0);
        state.islands.insert(host, island);
        let state = &*state;
        for (ends, cutter) in &state.connections {
            if ends.contains(&host) {
                // This only marks tasks as ready; none runs with the lock held.
                cutter.hold(state.is_cut(*ends));
            }
        }
    }

    pub(super) fn set_silent(&self, host: IpAddr, silent: bool) {
        let mut state = lock(&self.0);
        if silent {
            state.silent.insert(host);
        } else {
            state.silent.remove(&host);
        }
    }

    pub(super) fn disconnect(&self, host: IpAddr) {
        let mut state = lock(&self.0);
        let all = std::mem::take(&mut state.connections);
        let all = all.into_iter().filter(|(_, cutter)| !cutter.is_gone());
        let (cut, keep): (Vec<_>, _) = all.partition(|(ends, _)| ends.contains(&host));
        state.connections = keep;
        state.stats.broken += cut.len() as u64;
        drop(state);
        cut.iter().for_each(|(_, cutter)| cutter.cut());
    }

    pub(super) fn clear(&self) {
        let listeners = std::mem::take(&mut lock(&self.0).listeners);
        drop(listeners); // without the lock: dropped pipes wake their other ends
    }
}

impl NetworkState {
    fn is_cut(&self, ends: [IpAddr; 2]) -> bool {
        let [a, b] = ends.map(|host| self.islands.get(&host).copied().unwrap_or(0));
        a != b
    }

    /// Returns a port of `host` without a listener. Connections need no exclusive port.
    fn free_port(&mut self, host: IpAddr) -> u16 {
        let next = self.next_port.entry(host).or_insert(FIRST_EPHEMERAL_PORT);
        let mut port = *next;
        while self.listeners.contains_key(&SocketAddr::new(host, port)) {
            port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        }
        *next = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        port
    }

    fn remember(&mut self, ends: [IpAddr; 2], cutter: Cutter) {
        if self.connections.len() >= self.sweep_at {
            self.connections.retain(|(_, cutter)| !cutter.is_gone());
            self.sweep_at = 2 * self.connections.len() + 64;
        }
        self.connections.push((ends, cutter));
    }
}

/// Delays the bytes of one connection.
struct Link {
    world: std::sync::Weak<World>,
    executor: Arc<Executor>,
    latency: Duration,
    jitter: Duration,
    rng: Mutex<Rng>,
}

impl Delay for Link {
    fn now(&self) -> Duration {
        self.executor.now()
    }

    fn arrival(&self) -> Duration {
        let mut arrival = self.executor.now() + self.latency;
        if !self.jitter.is_zero() {
            arrival += lock(&self.rng).between(Duration::ZERO, self.jitter);
        }
        arrival
    }

    fn wake_at(&self, at: Duration, waker: &Waker) {
        self.executor.wake_at(at, waker);
    }

    fn blocked(&self) {
        if let Some(world) = self.world.upgrade() {
            lock(&world.network.0).stats.blocked += 1;
        }
    }
}

/// Outcome of a connection attempt.
enum AttemptOutcome {
    Arrives,
    Refused,
    Lost,
}

/// The parts of a world.
pub(super) struct World {
    pub(super) executor: Arc<Executor>,
    pub(super) network: Network,
    pub(super) wall: Wall,
}

/// A connection attempt.
pub(super) struct Connecting {
    world: Arc<World>,
    from: IpAddr,
    to: SocketAddr,
}

impl Connecting {
    pub(super) fn new(world: Arc<World>, from: IpAddr, to: SocketAddr) -> Self {
        Self { world, from, to }
    }

    pub(super) async fn run(self) -> io::Result<Pipe> {
        let Self { world, from, to } = self;
        let (latency, local, fate) = {
            let mut state = lock(&world.network.0);
            let conditions = state.conditions;
            let (min, max) = conditions.latency;
            let latency = state.rng.between(min, max);
            let local = SocketAddr::new(from, state.free_port(from));
            let fate = if state.rng.hits(conditions.lost_ppm)
                || state.silent.contains(&to.ip())
                || state.is_cut([from, to.ip()])
            {
                AttemptOutcome::Lost
            } else if state.rng.hits(conditions.refused_ppm) {
                AttemptOutcome::Refused
            } else {
                AttemptOutcome::Arrives
            };
            (latency, local, fate)
        };
        if let AttemptOutcome::Lost = fate {
            lock(&world.network.0).stats.lost += 1;
            world.executor.sleep(CONNECT_TIMEOUT).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        world.executor.sleep(latency).await;
        let connection = match fate {
            AttemptOutcome::Arrives => world.deliver(local, to, latency),
            AttemptOutcome::Refused | AttemptOutcome::Lost => None,
        };
        if connection.is_none() {
            lock(&world.network.0).stats.refused += 1;
        }
        world.executor.sleep(latency).await;
        connection.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

impl World {
    /// Passes a new connection to the listener at `to`, if there is one with room.
    fn deliver(
        self: &Arc<Self>,
        local: SocketAddr,
        to: SocketAddr,
        latency: Duration,
    ) -> Option<Pipe> {
        let mut state = lock(&self.network.0);
        let inbox = Arc::clone(state.listeners.get(&to)?);
        let Conditions {
            jitter, capacity, ..
        } = state.conditions;
        let capacity = state.rng.size(capacity);
        let rng = match jitter {
            Duration::ZERO => 0,
            _ => state.rng.next(),
        };
        let (near, far) = pipe::connect_with(
            capacity,
            Arc::new(Link {
                world: Arc::downgrade(self),
                executor: Arc::clone(&self.executor),
                latency,
                jitter,
                rng: Mutex::new(Rng(rng)),
            }),
        );
        let cutter = near.cutter();
        let ends = [local.ip(), to.ip()];
        cutter.hold(state.is_cut(ends));
        let waker = {
            let mut inbox = lock(&inbox);
            if inbox.waiting.len() >= BACKLOG {
                return None;
            }
            inbox.waiting.push_back((far, local));
            inbox.accepting.take()
        };
        state.stats.connected += 1;
        state.remember(ends, cutter);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Some(near)
    }
}

/// A listening socket of a virtual host. Dropping it closes the connections that wait.
pub struct VirtualListener {
    world: Arc<World>,
    addr: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
}

pub(super) fn listen(
    world: &Arc<World>,
    host: IpAddr,
    addr: SocketAddr,
) -> io::Result<VirtualListener> {
    if !addr.ip().is_unspecified() && addr.ip() != host {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    let mut state = lock(&world.network.0);
    let port = match addr.port() {
        0 => state.free_port(host),
        port => port,
    };
    let addr = SocketAddr::new(host, port);
    if state.listeners.contains_key(&addr) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let inbox = Arc::<Mutex<Inbox>>::default();
    state.listeners.insert(addr, Arc::clone(&inbox));
    Ok(VirtualListener {
        world: Arc::clone(world),
        addr,
        inbox,
    })
}

impl Listener for VirtualListener {
    type Connection = Pipe;

    fn accept(&self) -> BoxFuture<'_, io::Result<(Pipe, SocketAddr)>> {
        Box::pin(poll_fn(|cx| {
            let mut inbox = lock(&self.inbox);
            if let Some(connection) = inbox.waiting.pop_front() {
                return Poll::Ready(Ok(connection));
            }
            inbox.accepting = Some(cx.waker().clone());
            Poll::Pending
        }))
    }

    fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for VirtualListener {
    fn drop(&mut self) {
        lock(&self.world.network.0).listeners.remove(&self.addr);
    }
}

crate::opaque_debug!(VirtualListener);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::Runtime as _;
    use crate::virtual_time::VirtualTime;

    #[test]
    fn the_generator_is_the_published_one() {
        let mut rng = Rng(0);
        let expected = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!([(); 3].map(|()| rng.next()), expected);
    }

    #[test]
    fn every_value_of_a_range_is_drawn_alike() {
        let mut rng = Rng(7);
        let (mut sizes, mut times, mut hits) = ([0; 3], [0; 3], 0);
        for _ in 0..3_000 {
            sizes[rng.size((3, 5)) - 3] += 1;
            let (min, max) = (Duration::from_nanos(2), Duration::from_nanos(4));
            times[(rng.between(min, max) - min).as_nanos() as usize] += 1;
            hits += u32::from(rng.hits(333_333));
            assert!(rng.hits(1_000_000));
        }
        for count in sizes.into_iter().chain(times).chain([hits]) {
            assert!((900..1_100).contains(&count), "{count}");
        }
    }

    #[test]
    fn without_a_choice_nothing_is_drawn() {
        let mut rng = Rng(7);
        assert_eq!((rng.size((5, 5)), rng.size((5, 3))), (5, 5));
        assert!(!rng.hits(0));
        assert_eq!(rng.0, 7);
    }

    #[test]
    fn connections_that_are_gone_leave_nothing() {
        let world = VirtualTime::new(1);
        let runtime = world.runtime();
        let made = world.run_until(async {
            let at = (Ipv4Addr::LOCALHOST, 0).into();
            let listener = runtime.listen(at).await.unwrap();
            for _ in 0..1_000 {
                let near = runtime.connect(listener.local_addr()).await.unwrap();
                drop((near, listener.accept().await.unwrap()));
            }
        });
        made.unwrap();
        assert!(lock(&world.0.network.0).connections.len() < 70);
    }
}
