//! DMSG relays: separate hosts, which crash, come back, and lose their connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures::FutureExt as _;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use skydht_core::key::SecretKey;
use skydht_driver::dmsg::server::{Server, ServerConfig, ServerStats};
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};

use super::directory::Directory;
use crate::coverage::Coverage;
use crate::network::Rate;
use crate::scenario::Program;
use crate::scenario::draw::secret;

/// Listening port of relays.
const PORT: u16 = 8_080;

/// Number of a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RelayId(pub(super) u32);

enum State {
    /// Its process has ended.
    Down,
    /// Its power failed: its peers do not know that the connections are dead.
    Unplugged,
    Up(Server<VirtualRuntime>),
}

struct Relay {
    ip: IpAddr,
    secret: SecretKey,
    state: State,
    /// Part of the network that it is in.
    part: u32,
}

/// All relays, and the discovery that they share with the nodes.
pub(super) struct Relays {
    relays: Vec<Relay>,
    config: Program,
    random: ChaCha8Rng,
    discovery: Directory,
}

/// Current totals of all relays.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) sessions: usize,
    pub(super) handshaking: usize,
    /// Number of failures at any relay since its start.
    pub(super) failures: u64,
}

impl Relays {
    /// The number of relays that the scenario sets, all down.
    pub(super) fn new(world: &VirtualTime, program: &Program, mut random: ChaCha8Rng) -> Self {
        let relay = |n| Relay {
            ip: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 1)) + n).into(),
            secret: secret(&mut random),
            state: State::Down,
            part: 0,
        };
        Self {
            relays: (0..program.relays).map(relay).collect(),
            config: program.clone(),
            random,
            discovery: Directory::new(world),
        }
    }

    pub(super) fn discovery(&self) -> &Directory {
        &self.discovery
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = RelayId> + use<> {
        (0..self.relays.len() as u32).map(RelayId)
    }

    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.relays.iter().map(|relay| relay.ip)
    }

    fn place(&self, world: &VirtualTime, id: RelayId) {
        let relay = &self.relays[id.0 as usize];
        let island = match relay.state {
            State::Unplugged => u32::MAX / 2 - id.0,
            State::Down | State::Up(_) => relay.part,
        };
        world.set_island(relay.ip, island);
    }

    /// Starts a relay unless it runs.
    pub(super) fn start(&mut self, world: &VirtualTime, id: RelayId) -> io::Result<bool> {
        let mut entropy = [0; 32];
        self.random.fill_bytes(&mut entropy);
        let relay = &mut self.relays[id.0 as usize];
        match relay.state {
            State::Up(_) => return Ok(false),
            // A machine that starts again does not know its old connections.
            State::Unplugged => world.disconnect(relay.ip),
            State::Down => {}
        }
        let mut config = ServerConfig::new(SocketAddr::new(relay.ip, PORT));
        config.keepalive = self.config.keepalive;
        config.max_sessions = self.config.max_sessions as usize;
        config.max_handshakes = self.config.max_handshakes as usize;
        config.max_streams = self.config.relay_streams as usize;
        config.leaves_unknown_open = self.config.go_relays;
        let (secret, discovery) = (relay.secret.clone(), self.discovery.clone());
        let starting = Server::start(world.host(relay.ip), secret, entropy, discovery, config);
        // Listening is immediate, and nothing else waits.
        let late = || Err(io::ErrorKind::WouldBlock.into());
        let server = starting.now_or_never().unwrap_or_else(late)?;
        relay.state = State::Up(server);
        self.place(world, id);
        Ok(true)
    }

    /// Ends a relay: its process, or its machine, which its peers do not notice.
    pub(super) fn crash(
        &mut self,
        world: &VirtualTime,
        id: RelayId,
        process: bool,
        coverage: &mut Coverage,
    ) -> bool {
        let relay = &mut self.relays[id.0 as usize];
        let next = match process {
            true => State::Down,
            false => State::Unplugged,
        };
        if !matches!(relay.state, State::Up(_)) {
            return false;
        }
        if let State::Up(server) = std::mem::replace(&mut relay.state, next) {
            count(coverage, &server.stats());
            let ip = relay.ip;
            self.place(world, id);
            world.crash(ip);
            drop(server);
        }
        true
    }

    /// Breaks all connections of a relay.
    pub(super) fn disconnect(&self, world: &VirtualTime, id: RelayId) -> bool {
        let relay = &self.relays[id.0 as usize];
        world.disconnect(relay.ip);
        matches!(relay.state, State::Up(_))
    }

    /// Divides the relays in the same way as the nodes.
    pub(super) fn divide(&mut self, world: &VirtualTime, share: Rate, random: &mut ChaCha8Rng) {
        for id in self.ids() {
            self.relays[id.0 as usize].part = u32::from(share.hits(random));
            self.place(world, id);
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for relay in &self.relays {
            if let State::Up(server) = &relay.state {
                let it = server.stats();
                totals.sessions += it.sessions;
                totals.handshaking += it.handshaking;
                totals.failures += it.handshakes_failed
                    + it.handshakes_abandoned
                    + it.refused_sessions
                    + it.lost
                    + it.over_capacity
                    + it.invalid_requests;
            }
        }
        totals
    }

    /// Shuts all relays down properly.
    pub(super) async fn close(&mut self, coverage: &mut Coverage) {
        for relay in &mut self.relays {
            if let State::Up(server) = std::mem::replace(&mut relay.state, State::Down) {
                count(coverage, &server.stats());
                server.close().await;
            }
        }
    }
}

fn count(coverage: &mut Coverage, it: &ServerStats) {
    for (name, count) in [
        ("relay_sessions", it.accepted),
        ("relay_superseded", it.superseded),
        ("relay_lost", it.lost),
        ("relay_streams", it.relayed),
        ("relay_no_destination", it.no_destination),
        ("relay_failed_destinations", it.failed_destinations),
        ("relay_published", it.published),
    ] {
        coverage.count(name, count);
    }
}
