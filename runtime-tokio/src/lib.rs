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
pub use skydht_driver::dmsg;
pub use skydht_driver::transport::dmsg::{DmsgOptions, DmsgTransport, Relay, Via};
pub use skydht_driver::transport::tcp::{TcpOptions, TcpTransport};
pub use skydht_driver::{
    Dht, DhtDiscovery, DmsgNode, GetEvent, StartDmsgError, StartError, StartOptions, StartTcpError,
    TcpNode, Transport, WeakDht,
};
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

/// Starts a node on direct TCP, within the surrounding tokio runtime.
///
/// ```
/// use skydht_tokio::{BootstrapPeer, PutOptions, Salt, SecretKey, TcpNode, Value, entropy, start_tcp};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let any = ([127, 0, 0, 1], 0).into();
/// let first = start_tcp(TcpNode::new(SecretKey::from_entropy(&entropy()?), Some(any))).await?;
///
/// // Others start from its key and address. One that listens at none only dials: what it puts is
/// // found all the same, since its sessions carry streams back.
/// let mut node = TcpNode::new(SecretKey::from_entropy(&entropy()?), None);
/// node.config.bootstrap = vec![BootstrapPeer {
///     key: first.key(),
///     addrs: first.local_addr().into_iter().collect(),
/// }];
/// let second = start_tcp(node).await?;
/// second.ready().await?;
/// let put = second.put(Salt::from("greeting"), Value::new(b"hello"), PutOptions::default());
/// assert!(put.await?.replicas.acknowledged() > 0);
/// # second.shutdown().await;
/// # first.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// See [`StartTcpError`].
pub async fn start_tcp(node: TcpNode) -> Result<Dht, StartTcpError> {
    node.start(TokioRuntime, entropy).await
}

/// Starts a node over DMSG, by the sessions of a client or a relay, within the surrounding tokio
/// runtime.
///
/// # Errors
/// See [`StartDmsgError`].
pub async fn start_dmsg(node: DmsgNode<TokioRuntime>) -> Result<Dht, StartDmsgError> {
    node.start(TokioRuntime, entropy).await
}
