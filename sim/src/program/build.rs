//! How a host's node is built: the one place that knows which transport it has.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use skydht_core::Seed;
use skydht_core::key::SecretKey;
use skydht_core::node::Config;
use skydht_driver::dmsg::client::{Client, ClientConfig};
use skydht_driver::transport::dmsg::Via;
use skydht_driver::transport::tcp::TcpOptions;
use skydht_driver::{Dht, DmsgNode, StartDmsgError, StartOptions, StartTcpError, TcpNode};
use skydht_runtime::BoxFuture;
use skydht_runtime::virtual_time::VirtualRuntime;

use super::directory::Directory;
use crate::network::HostId;
use crate::scenario::Program;
use crate::scenario::RunError;

/// The port that every host listens on at first.
const PORT: u16 = 4_000;

/// A host's address.
pub(super) fn ip(host: HostId) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + host.0).into()
}

/// Where its node listens after this many moves.
pub(super) fn addr(host: HostId, moves: u16) -> SocketAddr {
    (ip(host), PORT + moves).into()
}

/// A node about to start, whatever its transport.
pub(super) struct Plan {
    pub(super) listen: SocketAddr,
    pub(super) secret: SecretKey,
    pub(super) config: Config,
    /// The node's randomness.
    pub(super) seed: Seed,
    /// The handshakes'.
    pub(super) handshakes: [u8; 32],
    pub(super) options: StartOptions,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Over TCP.
    #[error(transparent)]
    Tcp(#[from] StartTcpError),
    /// Over DMSG.
    #[error(transparent)]
    Dmsg(#[from] StartDmsgError),
    /// A relay.
    #[error("a relay cannot listen: {0}")]
    Relay(#[source] std::io::Error),
}

impl From<BuildError> for RunError {
    fn from(error: BuildError) -> Self {
        Self::Start(Box::new(error))
    }
}

/// Builds a [`Dht`] over some transport on a host of the virtual world.
pub(super) trait Build {
    /// Starts it. Everything that it runs is a task of `runtime`, and nothing draws chance
    /// from elsewhere than the plan.
    fn start(
        &self,
        runtime: VirtualRuntime,
        plan: Plan,
    ) -> BoxFuture<'static, Result<Dht, BuildError>>;
}

/// Direct TCP: Noise and yamux.
pub(super) struct Tcp {
    options: TcpOptions,
    /// What [`TcpOptions::accept_queue`] is drawn from.
    accept_queue: RangeInclusive<u32>,
    commands: RangeInclusive<u32>,
}

/// One of `range`, by four bytes that are drawn anew for each start.
fn drawn(range: &RangeInclusive<u32>, bytes: [u8; 4]) -> usize {
    let many = u64::from(range.end() - range.start()) + 1;
    let above = u64::from(u32::from_le_bytes(bytes)) % many;
    *range.start() as usize + above as usize
}

/// [`StartOptions::waiting_commands`] of a start with these bytes.
fn commands(range: &RangeInclusive<u32>, handshakes: &[u8; 32]) -> Option<NonZeroUsize> {
    let [.., a, b, c, d] = *handshakes;
    NonZeroUsize::new(drawn(range, [a, b, c, d]))
}

impl Tcp {
    pub(super) fn new(program: &Program, idle_timeout: Duration) -> Self {
        let mut options = TcpOptions::default();
        options.idle_timeout = idle_timeout;
        options.keepalive = program.keepalive;
        options.max_sessions = program.max_sessions as usize;
        options.max_handshakes = program.max_handshakes as usize;
        options.max_streams = program.max_streams as usize;
        Self {
            options,
            accept_queue: program.accept_queue_min..=program.accept_queue_max,
            commands: program.commands_min..=program.commands_max,
        }
    }
}

impl Build for Tcp {
    fn start(
        &self,
        runtime: VirtualRuntime,
        plan: Plan,
    ) -> BoxFuture<'static, Result<Dht, BuildError>> {
        let mut node = TcpNode::new(plan.secret, None);
        node.config = plan.config;
        node.tcp = self.options.clone();
        node.tcp.listen = Some(plan.listen);
        node.seed = Some(plan.seed);
        node.options = plan.options;
        let handshakes = plan.handshakes;
        let [a, b, c, d, ..] = handshakes;
        node.tcp.accept_queue = drawn(&self.accept_queue, [a, b, c, d]);
        node.options.waiting_commands = commands(&self.commands, &handshakes);
        Box::pin(async move { Ok(node.start_on(runtime, move || Ok(handshakes)).await?) })
    }
}

/// DMSG: a client with sessions with relays, which closes with its node.
pub(super) struct Dmsg {
    discovery: Directory,
    config: ClientConfig,
    commands: RangeInclusive<u32>,
}

impl Dmsg {
    pub(super) fn new(program: &Program, discovery: &Directory) -> Self {
        let mut config = ClientConfig::default();
        config.client_type = "test".to_owned();
        config.min_sessions = program.relay_sessions as usize;
        config.keepalive = program.keepalive;
        config.max_streams = program.relay_streams as usize;
        Self {
            discovery: discovery.clone(),
            config,
            commands: program.commands_min..=program.commands_max,
        }
    }
}

impl Build for Dmsg {
    fn start(
        &self,
        runtime: VirtualRuntime,
        plan: Plan,
    ) -> BoxFuture<'static, Result<Dht, BuildError>> {
        let (discovery, config) = (self.discovery.clone(), self.config.clone());
        let (secret, entropy) = (plan.secret.clone(), plan.handshakes);
        let client = Client::start(runtime.clone(), secret, entropy, discovery, config);
        let mut node = DmsgNode::new(plan.secret, Via::Client(client));
        node.config = plan.config;
        node.dmsg.close_sessions = true;
        node.seed = Some(plan.seed);
        node.options = plan.options;
        node.options.waiting_commands = commands(&self.commands, &entropy);
        // Its seed is there: nothing is drawn.
        Box::pin(async move { Ok(node.start_on(runtime, move || Ok(entropy)).await?) })
    }
}
