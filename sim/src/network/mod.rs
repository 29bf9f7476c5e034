//! A network as a state machine: sessions, streams, and everything that may happen to them.
//!
//! It has the core's shape. `handle` takes what a host wants, `tick`
//! lets the next due thing happen, `poll_output` gives what hosts learn, and
//! `next_at` says when to come back. Time and seed come from outside.
//!
//! Streams run inside sessions, as with yamux over TCP: the first stream to a peer dials,
//! later ones, from either side, use the session. Bytes arrive in order or not at all. A lost
//! transmission is repeated, so that loss looks like delay; what does not get through for
//! [`Transport::session_timeout`] ends the session. [`Faults`] are drawn from the seed, in
//! the order of what is sent.

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

/// Groups of hosts that a network can be cut into.
pub const GROUPS: u8 = 64;

/// What travels on a stream.
enum Cargo {
    /// The stream itself, to be accepted.
    Open,
    /// It was accepted.
    Confirm,
    Bytes(Arc<[u8]>),
    End(StreamEnd),
}

/// What is due some time.
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
    /// A half-open stream is noticed.
    Reset {
        stream: Ref,
    },
    /// A host in this life learns something.
    Tell {
        host: HostId,
        epoch: u32,
        what: Delivery,
    },
    /// An open that cannot succeed fails.
    Fail {
        stream: Ref,
        reason: OpenFailure,
    },
    /// Peers of a host that went silent give it up, unless it came back.
    GiveUp {
        host: HostId,
        absence: u32,
    },
}

/// What hosts learn now.
enum Ready {
    Deliver(HostId, Delivery),
    /// A resumed reader takes the next that waits.
    Read {
        stream: Ref,
        end: u8,
    },
}

/// Counts of what the network did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct NetworkStats {
    /// Sessions dialled with success.
    pub dials: u64,
    /// Dials that failed, for whatever reason.
    pub dials_failed: u64,
    /// Streams accepted.
    pub streams: u64,
    /// Frames handed to the network.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Retransmissions after a loss.
    pub retransmissions: u64,
    /// Streams and sessions reset by a fault.
    pub resets: u64,
    /// Streams that became half-open.
    pub half_open: u64,
    /// Things held up by a cut or a suspended receiver.
    pub held_up: u64,
    /// Frames that waited for a full window.
    pub blocked: u64,
}

/// The network.
pub struct Network {
    now: SimTime,
    seed: u64,
    random: ChaCha8Rng,
    faults: Faults,
    transport: Transport,
    /// For each group, to which groups nothing gets.
    cut: [u64; GROUPS as usize],
    ports: Vec<Port>,
    by_key: HashMap<PublicKey, HostId, FixedState>,
    by_addr: HashMap<SocketAddr, HostId, FixedState>,
    sessions: Slab<Session>,
    /// Every session once, in the order in which to look whether it is idle.
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

    /// Takes what a host wants, at the time of the last [`Network::tick`] or `advance`.
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

    /// What a host learns now; drain until none.
    pub(crate) fn poll_output(&mut self) -> Option<(HostId, Delivery)> {
        loop {
            match self.ready.pop_front()? {
                Ready::Deliver(host, delivery) => return Some((host, delivery)),
                Ready::Read { stream, end } => self.read_next(stream, end),
            }
        }
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<SimTime> {
        self.queue.next_at()
    }

    /// Moves time to `now`, before which nothing is due.
    pub(crate) fn advance(&mut self, now: SimTime) {
        debug_assert!(now >= self.now && self.next_at().is_none_or(|at| at >= now));
        self.now = now;
        self.end_idle_sessions();
    }

    /// Lets the next due thing happen.
    pub(crate) fn tick(&mut self) {
        if let Some(event) = self.queue.pop() {
            self.happen(event);
        }
    }

    /// Things under way: on the wire, or about to be learnt.
    pub(crate) fn in_flight(&self) -> usize {
        self.queue.len() + self.ready.len()
    }

    /// What the network does at present.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What the network does from now on. Streams under way keep what was drawn for them; the
    /// latency of every pair follows the new distribution.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// How sessions and streams are made.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What was counted since the start.
    #[must_use]
    pub fn stats(&self) -> &NetworkStats {
        &self.stats
    }

    /// Sessions that exist now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Streams that exist now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Puts a host into a group below [`GROUPS`]; every host begins in group 0.
    pub fn set_group(&mut self, host: HostId, group: u8) {
        if let Some(port) = self.ports.get_mut(host.index()) {
            port.group = group.min(GROUPS - 1);
        }
    }

    /// From now on nothing gets from one group to the other; the way back stays. What is on
    /// the wire is held up, and arrives if the cut ends before the session times out.
    pub fn cut_one_way(&mut self, from: u8, to: u8) {
        self.cut[usize::from(from.min(GROUPS - 1))] |= 1 << to.min(GROUPS - 1);
    }

    /// From now on nothing gets between two groups.
    pub fn cut(&mut self, a: u8, b: u8) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Ends every cut.
    pub fn join(&mut self) {
        self.cut = [0; GROUPS as usize];
    }

    /// Ends every cut and every fault of the network; latency, jitter and bandwidth stay.
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

    /// The same, unless the host is suspended: then it learns it afterwards.
    fn tell(&mut self, host: HostId, what: Delivery) {
        match self.port(host).presence {
            Presence::Suspended => self.port_mut(host).later.push(what),
            _ => self.deliver(host, what),
        }
    }

    fn tell_at(&mut self, at: SimTime, host: HostId, what: Delivery) {
        let epoch = self.port(host).epoch;
        self.queue.push(at, Event::Tell { host, epoch, what });
    }
}
