//! Starting a node over DMSG with one call, on any runtime.

use std::io;
use std::time::Duration;

use futures::future::select;
use skydht_core::Seed;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, Config, Identity};
use skydht_dmsg::object::ErrorCode;
use skydht_runtime::Runtime;

use crate::dht::{Dht, StartError};
use crate::options::StartOptions;
use crate::transport::dmsg::{DmsgOptions, DmsgTransport, Via};

/// Configuration of a node over DMSG that is about to start.
#[non_exhaustive]
pub struct DmsgNode<R: Runtime> {
    /// Its secret key, the same as the client's or relay's.
    pub secret: SecretKey,
    /// The client or relay whose sessions it uses.
    pub via: Via<R>,
    /// Configuration of the node. Its bootstrap peers are dialled even if they have refused.
    pub config: Config,
    /// Options of the transport.
    pub dmsg: DmsgOptions,
    /// How long the start waits for a discovery that does not answer, counted from the first
    /// session, or immediately for a relay. `None` waits without a limit.
    pub patience: Option<Duration>,
    /// Seed of its randomness; drawn at the start if `None`.
    pub seed: Option<Seed>,
    /// Further options.
    pub options: StartOptions,
}

/// Why a node over DMSG could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartDmsgError {
    /// The operating system provides no randomness.
    #[error("the system gives no randomness: {0}")]
    Entropy(#[source] io::Error),
    /// The port cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(#[source] ErrorCode),
    /// The node could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Dht {
    /// Prepares a node over DMSG with this key, using the sessions of a client or a relay.
    #[must_use]
    pub fn dmsg<R: Runtime>(secret: SecretKey, via: Via<R>) -> DmsgNode<R> {
        DmsgNode::new(secret, via)
    }
}

impl<R: Runtime> DmsgNode<R> {
    /// Creates the configuration of a node with this key over this client or relay.
    #[must_use]
    pub fn new(secret: SecretKey, via: Via<R>) -> Self {
        Self {
            secret,
            via,
            config: Config::default(),
            dmsg: DmsgOptions::default(),
            patience: None,
            seed: None,
            options: StartOptions::default(),
        }
    }

    /// Adds bootstrap peers. They are dialled even if they have refused.
    #[must_use]
    pub fn bootstrap(mut self, peers: impl IntoIterator<Item = PublicKey>) -> Self {
        let by_key = |key| BootstrapPeer {
            key,
            addrs: Vec::new(),
        };
        self.config.bootstrap.extend(peers.into_iter().map(by_key));
        self
    }

    /// Listens, waits until DMSG is ready, and starts the node on a runtime. It listens first, so
    /// that it can answer before it asks. `entropy` returns 32 secret bytes from the operating
    /// system, or from a seed in virtual time.
    ///
    /// # Errors
    /// See [`StartDmsgError`].
    pub async fn start_on(
        self,
        runtime: R,
        mut entropy: impl FnMut() -> io::Result<[u8; 32]>,
    ) -> Result<Dht, StartDmsgError> {
        let Self {
            secret,
            via,
            config,
            mut dmsg,
            patience,
            seed,
            options,
        } = self;
        let seed = match seed {
            Some(seed) => seed,
            None => Seed(entropy().map_err(StartDmsgError::Entropy)?),
        };
        dmsg.bootstrap
            .extend(config.bootstrap.iter().map(|peer| peer.key));
        let transport = DmsgTransport::new(runtime.clone(), via.clone(), dmsg)
            .map_err(StartDmsgError::Listen)?;
        let ready = std::pin::pin!(via.ready());
        match patience {
            None => ready.await,
            Some(patience) => {
                let late = std::pin::pin!(async {
                    via.connected().await;
                    runtime.sleep(patience).await;
                });
                select(ready, late).await;
            }
        }
        let identity = Identity::Keyed(secret);
        let dht = Dht::start_with(runtime, transport, config, identity, seed, options)?;
        Ok(dht)
    }
}
