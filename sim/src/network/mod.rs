//! The network as a state machine: sessions, streams, and their faults.
//!
//! It has the same shape as the core. `handle` takes requests of hosts, `tick` processes the next
//! event, `poll_output` returns deliveries to hosts, and `next_at` returns the time of the next
//! event. Time and seed come from outside.
//!
//! Streams run inside sessions, as with yamux over TCP: the first stream to a peer dials, later
//! ones, from either side, use the session. Bytes arrive in order or not at all. A lost
//! transmission is repeated, so loss appears as delay; a session that delivers nothing for
//! [`Transport::session_timeout`] ends. [`Faults`] are drawn from the seed, in the order of
//! sending.

mod arrive;
mod dial;
pub(crate) mod faults;
mod host;
pub(crate) mod queue;
mod sessions;
mod streams;
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use serde::Serialize;
use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, StreamEnd};

pub use faults::{Faults, Rate, Spread, Transport};
pub use host::{Access, Departure, HostId};
pub(crate) use host::{Delivery, Request};

use crate::clock::SimTime;
use queue::EventQueue;
use table::{EndId, Port, Presence, Ref, Session, Slab, Stream};

/// Maximum number of groups of hosts into which a network can be divided.
pub const GROUPS: u8 = 64;

/// What is transmitted on a stream.
enum Cargo {
    /// The request to open the stream.
    Open,
    /// The confirmation that it was accepted.
    Confirm,
    Bytes(Arc<[u8]>),
    End(StreamEnd),
}

/// A future event.
enum Event {
    Arrive {
        stream: Ref,
        from: u8,
        cargo: Cargo,
    },
    Departed {
        stream: Ref,
        from: u8,
    },
    Dialled {
        session: Ref,
    },
    /// A half-open stream is detected and reset.
    Reset {
        stream: Ref,
    },
    /// A delivery to a host in a certain life.
    Notify {
        host: HostId,
        epoch: u32,
        what: Delivery,
    },
    /// An open that cannot succeed fails.
    Fail {
        stream: Ref,
        reason: OpenFailure,
    },
    /// The peers of a silent host give up on it, unless it has returned.
    GiveUp {
        host: HostId,
        absence: u32,
    },
}

/// A delivery that is due now.
enum Ready {
    Deliver(HostId, Delivery),
    /// A resumed reader takes the next waiting bytes.
    Read {
        stream: Ref,
        end: u8,
    },
}

/// Counts of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct NetworkStats {
    /// Successful dials.
    pub dials: u64,
    /// Failed dials, for any reason.
    pub dials_failed: u64,
    /// Streams accepted.
    pub streams: u64,
    /// Frames passed to the network.
    pub messages: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Retransmissions after a loss.
    pub retransmissions: u64,
    /// Streams and sessions reset by a fault.
    pub resets: u64,
    /// Streams that became half-open.
    pub half_open: u64,
    /// Transmissions held up by a cut or a suspended receiver.
    pub held_up: u64,
    /// Frames that waited because of a full window.
    pub blocked: u64,
}

/// The simulated network.
pub struct Network {
    now: SimTime,
    seed: u64,
    random: ChaCha8Rng,
    faults: Faults,
    transport: Transport,
    /// For each group, a bit set of the groups that it cannot reach.
    cut: [u64; GROUPS as usize],
    ports: Vec<Port>,
    by_key: HashMap<PublicKey, HostId, FixedState>,
    by_addr: HashMap<SocketAddr, HostId, FixedState>,
    sessions: Slab<Session>,
    /// Every session once, with the time at which to check whether it is idle.
    watched: VecDeque<(SimTime, Ref)>,
    streams: Slab<Stream>,
    by_id: HashMap<EndId, u32, FixedState>,
    queue: EventQueue<Event>,
    ready: VecDeque<Ready>,
    stats: NetworkStats,
}

impl Network {
    pub(crate) fn new(seed: u64, faults: Faults, transport: Transport) -> Self {
        Self {
            now: SimTime::ZERO,
            seed: faults::mix(seed ^ 0x6e65_7477_6f72_6b00),
            random: ChaCha8Rng::seed_from_u64(seed),
            faults,
            transport,
            cut: [0; GROUPS as usize],
            ports: Vec::new(),
            by_key: HashMap::with_hasher(FixedState::with_seed(seed)),
            by_addr: HashMap::with_hasher(FixedState::with_seed(seed)),
            sessions: Slab::default(),
            watched: VecDeque::new(),
            streams: Slab::default(),
            by_id: HashMap::with_hasher(FixedState::with_seed(seed)),
            queue: EventQueue::default(),
            ready: VecDeque::new(),
            stats: NetworkStats::default(),
        }
    }

    /// Takes a request of a host, at the time of the last [`Network::tick`] or `advance`.
    pub(crate) fn handle(&mut self, host: HostId, request: Request) {
        if self.port(host).presence != Presence::Up {
            return;
        }
        match request {
            Request::Open {
                stream,
                peer,
                addrs,
                session,
            } => self.open(host, stream, &peer, &addrs, session),
            Request::Send { stream, bytes } => self.send(host, stream, bytes),
            Request::Close { stream, graceful } => self.close(host, stream, graceful),
            Request::Pause { stream } => self.pause(host, stream),
            Request::Resume { stream } => self.resume_reading(host, stream),
            Request::Probe { probe, peer, addr } => self.probe(host, probe, &peer, addr),
        }
    }

    /// Returns the next delivery to a host. Drain until `None`.
    pub(crate) fn poll_output(&mut self) -> Option<(HostId, Delivery)> {
        loop {
            match self.ready.pop_front()? {
                Ready::Deliver(host, delivery) => return Some((host, delivery)),
                Ready::Read { stream, end } => self.read_next(stream, end),
            }
        }
    }

    /// Time of the next event.
    pub(crate) fn next_at(&self) -> Option<SimTime> {
        self.queue.next_at()
    }

    /// Advances the time to `now`, before which no event is due.
    pub(crate) fn advance(&mut self, now: SimTime) {
        debug_assert!(now >= self.now && self.next_at().is_none_or(|at| at >= now));
        self.now = now;
        self.end_idle_sessions();
    }

    /// Processes the next event.
    pub(crate) fn tick(&mut self) {
        if let Some(event) = self.queue.pop() {
            self.happen(event);
        }
    }

    /// Number of transmissions and deliveries in progress.
    pub(crate) fn in_flight(&self) -> usize {
        self.queue.len() + self.ready.len()
    }

    /// The current faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The faults from now on. Existing streams keep what was drawn for them; the latency of every
    /// pair follows the new distribution.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Properties of the transport.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> &NetworkStats {
        &self.stats
    }

    /// Number of existing sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Number of existing streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Assigns a host to a group below [`GROUPS`]; every host begins in group 0.
    pub fn set_group(&mut self, host: HostId, group: u8) {
        if let Some(port) = self.ports.get_mut(host.index()) {
            port.group = group.min(GROUPS - 1);
        }
    }

    /// Blocks all transmissions from one group to another; the opposite direction stays open.
    /// Transmissions in progress are held up, and arrive if the cut ends before the session times
    /// out.
    pub fn cut_one_way(&mut self, from: u8, to: u8) {
        self.cut[usize::from(from.min(GROUPS - 1))] |= 1 << to.min(GROUPS - 1);
    }

    /// Blocks all transmissions between two groups.
    pub fn cut(&mut self, a: u8, b: u8) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Ends every cut.
    pub fn join(&mut self) {
        self.cut = [0; GROUPS as usize];
    }

    /// Ends every cut and every fault; latency, jitter and bandwidth stay.
    pub fn heal(&mut self) {
        self.join();
        self.faults = self.faults.healed();
    }

    fn port(&self, host: HostId) -> &Port {
        &self.ports[host.index()]
    }

    fn port_mut(&mut self, host: HostId) -> &mut Port {
        &mut self.ports[host.index()]
    }

    fn is_cut(&self, from: HostId, to: HostId) -> bool {
        let (from, to) = (self.port(from).group, self.port(to).group);
        self.cut[usize::from(from)] >> to & 1 == 1
    }

    fn deliver(&mut self, host: HostId, what: Delivery) {
        self.ready.push_back(Ready::Deliver(host, what));
    }

    /// Delivers an event, for a suspended host after it resumes.
    fn notify(&mut self, host: HostId, what: Delivery) {
        match self.port(host).presence {
            Presence::Suspended => self.port_mut(host).later.push(what),
            _ => self.deliver(host, what),
        }
    }

    fn notify_at(&mut self, at: SimTime, host: HostId, what: Delivery) {
        let epoch = self.port(host).epoch;
        self.queue.push(at, Event::Notify { host, epoch, what });
    }
}
