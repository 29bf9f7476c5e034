//! A node on direct TCP in one call, for any runtime.

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

/// A node on direct TCP, about to start.
#[non_exhaustive]
pub struct TcpNode {
    /// Its secret key.
    pub secret: SecretKey,
    /// What it is told.
    pub config: Config,
    /// How it listens and dials.
    pub tcp: TcpOptions,
    /// Tell peers the port that it listens on, unless [`Config::advertise`] says something.
    pub advertise_port: bool,
    /// Its randomness; none: drawn at the start. Handshakes always draw theirs.
    pub seed: Option<Seed>,
    /// Anything out of the ordinary.
    pub options: StartOptions,
}

/// Why a node on TCP could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartTcpError {
    /// There is no randomness to draw.
    #[error("the system gives no randomness: {0}")]
    Entropy(#[source] io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(#[source] io::Error),
    /// The node.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Dht {
    /// A node on direct TCP with this key, about to start. It only dials, unless
    /// [`TcpNode::listen`] says where it listens.
    #[must_use]
    pub fn tcp(secret: SecretKey) -> TcpNode {
        TcpNode::new(secret, None)
    }
}

impl TcpNode {
    /// A node with this key that listens at `listen`; if at none, it only dials.
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

    /// Listens at an address; at one whose port is 0, at any free port.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.tcp.listen = Some(addr);
        self
    }

    /// Starts from these peers, besides those that were given before.
    #[must_use]
    pub fn bootstrap(mut self, peers: impl IntoIterator<Item = BootstrapPeer>) -> Self {
        self.config.bootstrap.extend(peers);
        self
    }

    /// Starts it on a runtime. `entropy` draws 32 secret bytes from the operating system, or from a seed in
    /// virtual time.
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
