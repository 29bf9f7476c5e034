//! Starting a node on direct TCP with one call, on any runtime.

use std::io;
use std::net::SocketAddr;

use skydht_core::Seed;
use skydht_core::key::SecretKey;
use skydht_core::node::{Advertise, BootstrapPeer, Config, Identity};
use skydht_runtime::Runtime;

use crate::dht::{Dht, StartError};
use crate::options::StartOptions;
use crate::transport::Transport as _;
use crate::transport::tcp::{TcpOptions, TcpTransport};

/// Configuration of a node on direct TCP that is about to start.
#[non_exhaustive]
pub struct TcpNode {
    /// Its secret key.
    pub secret: SecretKey,
    /// Configuration of the node.
    pub config: Config,
    /// Options of the transport.
    pub tcp: TcpOptions,
    /// Whether to advertise the port that it listens on, unless [`Config::advertise`] is set.
    pub advertise_port: bool,
    /// Seed of the node's randomness; drawn at the start if `None`. Handshakes always draw their
    /// own.
    pub seed: Option<Seed>,
    /// Further options.
    pub options: StartOptions,
}

/// Why a node on TCP could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartTcpError {
    /// The operating system provides no randomness.
    #[error("the system gives no randomness: {0}")]
    Entropy(#[source] io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(#[source] io::Error),
    /// The node could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Dht {
    /// Prepares a node on direct TCP with this key. It only dials, unless [`TcpNode::listen`] sets
    /// an address to listen on.
    #[must_use]
    pub fn tcp(secret: SecretKey) -> TcpNode {
        TcpNode::new(secret, None)
    }
}

impl TcpNode {
    /// Creates the configuration of a node with this key that listens at `listen`; with `None` it
    /// only dials.
    #[must_use]
    pub fn new(secret: SecretKey, listen: Option<SocketAddr>) -> Self {
        Self {
            secret,
            config: Config::default(),
            tcp: TcpOptions {
                listen,
                ..TcpOptions::default()
            },
            advertise_port: true,
            seed: None,
            options: StartOptions::default(),
        }
    }

    /// Listens at an address; port 0 selects a free port.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.tcp.listen = Some(addr);
        self
    }

    /// Adds bootstrap peers.
    #[must_use]
    pub fn bootstrap(mut self, peers: impl IntoIterator<Item = BootstrapPeer>) -> Self {
        self.config.bootstrap.extend(peers);
        self
    }

    /// Starts the node on a runtime. `entropy` returns 32 secret bytes from the operating system,
    /// or from a seed in virtual time.
    ///
    /// # Errors
    /// See [`StartTcpError`].
    pub async fn start_on<R: Runtime>(
        self,
        runtime: R,
        mut entropy: impl FnMut() -> io::Result<[u8; 32]>,
    ) -> Result<Dht, StartTcpError> {
        let Self {
            secret,
            mut config,
            mut tcp,
            advertise_port,
            seed,
            options,
        } = self;
        let handshakes = entropy().map_err(StartTcpError::Entropy)?;
        let seed = match seed {
            Some(seed) => seed,
            None => Seed(entropy().map_err(StartTcpError::Entropy)?),
        };
        let bootstrap = config.bootstrap.iter().map(|peer| peer.key);
        tcp.bootstrap.extend(bootstrap);
        let transport = TcpTransport::start(runtime.clone(), secret.clone(), handshakes, tcp)
            .await
            .map_err(StartTcpError::Listen)?;
        if let (Advertise::Nothing, true, Some(addr)) =
            (config.advertise, advertise_port, transport.local_addr())
        {
            config.advertise = Advertise::Port(addr.port());
        }
        let identity = Identity::Keyed(secret);
        let dht = Dht::start_with(runtime, transport, config, identity, seed, options)?;
        Ok(dht)
    }
}
