//! Builds the node of a host. Only this module knows the transport of a node.

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

/// First listening port of every host.
const PORT: u16 = 4_000;

/// IP address of a host.
pub(super) fn ip(host: HostId) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + host.0).into()
}

/// Listening address of the host's node after this number of moves.
pub(super) fn addr(host: HostId, moves: u16) -> SocketAddr {
    (ip(host), PORT + moves).into()
}

/// Everything needed to start a node with any transport.
pub(super) struct Plan {
    pub(super) listen: SocketAddr,
    pub(super) secret: SecretKey,
    pub(super) config: Config,
    /// Seed of the node's randomness.
    pub(super) seed: Seed,
    /// Seed of the handshakes' randomness.
    pub(super) handshakes: [u8; 32],
    pub(super) options: StartOptions,
}

/// Reason why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Starting over TCP failed.
    #[error(transparent)]
    Tcp(#[from] StartTcpError),
    /// Starting over DMSG failed.
    #[error(transparent)]
    Dmsg(#[from] StartDmsgError),
    /// Starting a relay failed.
    #[error("a relay cannot listen: {0}")]
    Relay(#[source] std::io::Error),
}

impl From<BuildError> for RunError {
    fn from(error: BuildError) -> Self {
        Self::Start(Box::new(error))
    }
}

/// Builds a [`Dht`] with some transport on a host of the virtual world.
pub(super) trait Build {
    /// Starts the node. All its tasks run on `runtime`, and all its randomness comes from the plan.
    fn start(
        &self,
        runtime: VirtualRuntime,
        plan: Plan,
    ) -> BoxFuture<'static, Result<Dht, BuildError>>;
}

/// Direct TCP with Noise and yamux.
pub(super) struct Tcp {
    options: TcpOptions,
    /// Range of [`TcpOptions::accept_queue`].
    accept_queue: RangeInclusive<u32>,
    commands: RangeInclusive<u32>,
}

/// Selects a value from `range` with four random bytes, which differ for each start.
fn drawn(range: &RangeInclusive<u32>, bytes: [u8; 4]) -> usize {
    let many = u64::from(range.end() - range.start()) + 1;
    let above = u64::from(u32::from_le_bytes(bytes)) % many;
    *range.start() as usize + above as usize
}

/// [`StartOptions::waiting_commands`] of a start with these random bytes.
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

/// DMSG: a client that has sessions with relays and closes with its node.
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
        // The random bytes exist already, so this draws none.
        Box::pin(async move { Ok(node.start_on(runtime, move || Ok(entropy)).await?) })
    }
}
