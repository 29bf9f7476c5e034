//! skydht on tokio: the four functions that a runtime must give, and a node in one call.
//!
//! ```
//! use skydht_tokio::testing::Testnet;
//! use skydht_tokio::{GetRequest, PutOptions, ReadPolicy, Salt, Value};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Five nodes on loopback. A node of your own: see `start_tcp`.
//! let net = Testnet::new(5).await?;
//! let [alice, .., bob] = net.nodes() else { unreachable!() };
//!
//! let salt = Salt::from("greeting");
//! alice.put(salt.clone(), Value::new(b"hello"), PutOptions::default()).await?;
//! let read = bob.get(GetRequest::of(alice.key(), salt, ReadPolicy::Freshest)).await?;
//! assert_eq!(read.item.value.as_bytes(), b"hello");
//! # net.stop_all().await;
//! # Ok(())
//! # }
//! ```

mod connection;
pub mod testing;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use connection::{TcpConnection, TcpListener};
pub use skydht_core::Seed;
pub use skydht_core::item::{Item, Salt, Seq, Value};
pub use skydht_core::key::{PublicKey, SecretKey};
pub use skydht_core::node::{
    Advertise, BootstrapPeer, Config, GetRequest, Identity, PutOptions, ReadPolicy,
};
pub use skydht_driver::transport::tcp::{TcpOptions, TcpTransport};
pub use skydht_driver::{Dht, GetEvent, StartError, StartOptions, Transport};
pub use skydht_runtime::Runtime;

use skydht_runtime::BoxFuture;

/// The tokio runtime that surrounds the caller. Its functions panic outside of one, as tokio's
/// own do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokioRuntime;

impl Runtime for TokioRuntime {
    type Connection = TcpConnection;
    type Listener = TcpListener;

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<TcpConnection>> {
        Box::pin(TcpConnection::connect(addr))
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<TcpListener>> {
        Box::pin(TcpListener::bind(addr))
    }
}

/// 32 bytes of the operating system's randomness.
///
/// # Errors
/// The operating system has none to give.
pub fn entropy() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

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
    /// Its randomness; none: the operating system's. Handshakes always use that.
    pub seed: Option<Seed>,
    /// Anything out of the ordinary.
    pub options: StartOptions,
}

impl TcpNode {
    /// A node with this key that listens at `listen`; if at none, it only dials.
    #[must_use]
    pub fn new(secret: SecretKey, listen: Option<SocketAddr>) -> Self {
        let mut tcp = TcpOptions::default();
        tcp.listen = listen;
        Self {
            secret,
            config: Config::default(),
            tcp,
            advertise_port: true,
            seed: None,
            options: StartOptions::default(),
        }
    }
}

/// Why a node on TCP could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartTcpError {
    /// The operating system has no randomness to give.
    #[error("the system gives no randomness: {0}")]
    Entropy(#[source] io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(#[source] io::Error),
    /// The node.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Starts a node on direct TCP, within the surrounding tokio runtime.
///
/// # Errors
/// See [`StartTcpError`].
pub async fn start_tcp(node: TcpNode) -> Result<Dht, StartTcpError> {
    let TcpNode {
        secret,
        mut config,
        tcp,
        advertise_port,
        seed,
        options,
    } = node;
    let draw = || entropy().map_err(StartTcpError::Entropy);
    let transport = TcpTransport::start(TokioRuntime, secret.clone(), draw()?, tcp)
        .await
        .map_err(StartTcpError::Listen)?;
    if let (Advertise::Nothing, true, Some(addr)) =
        (config.advertise, advertise_port, transport.local_addr())
    {
        config.advertise = Advertise::Port(addr.port());
    }
    let seed = match seed {
        Some(seed) => seed,
        None => Seed(draw()?),
    };
    let identity = Identity::Keyed(secret);
    let dht = Dht::start_with(TokioRuntime, transport, config, identity, seed, options)?;
    Ok(dht)
}
