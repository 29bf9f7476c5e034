//! skydht on async-std: the runtime's four functions, and nodes that start with one call.
//!
//! ```
//! use skydht_async_std::testing::Testnet;
//! use skydht_async_std::{GetRequest, PutOptions, ReadPolicy, Salt, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async_std::task::block_on(async {
//! // Five nodes on loopback. See `Start` for a node of your own.
//! let net = Testnet::new(5).await?;
//! let [alice, .., bob] = net.nodes() else { unreachable!() };
//!
//! let salt = Salt::from("greeting");
//! alice.put(salt.clone(), Value::new(b"hello"), PutOptions::default()).await?;
//! let read = bob.get(GetRequest::of(alice.key(), salt, ReadPolicy::Freshest)).await?;
//! assert_eq!(read.item.value.as_bytes(), b"hello");
//! # net.stop_all().await;
//! # Ok(())
//! })
//! # }
//! ```
//!
//! It has the same items as `skydht-tokio`. async-std is no longer developed (RUSTSEC-2025-0052):
//! use this crate where a program depends on it, and the other one for anything new.

#![warn(missing_debug_implementations)]

mod connection;
pub mod testing;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use connection::{TcpConnection, TcpListener};
pub use skydht_driver::dmsg;
pub use skydht_driver::prelude::*;

use skydht_runtime::BoxFuture;

/// async-std's global runtime. Its functions can be used anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AsyncStdRuntime;

impl Runtime for AsyncStdRuntime {
    type Connection = TcpConnection;
    type Listener = TcpListener;

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        async_std::task::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async_std::task::sleep(duration))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<TcpConnection>> {
        Box::pin(TcpConnection::connect(addr))
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<TcpListener>> {
        Box::pin(TcpListener::bind(addr))
    }
}

/// Returns 32 random bytes from the operating system.
///
/// # Errors
/// If the operating system cannot provide them.
pub fn entropy() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Starting a node on async-std's global runtime.
///
/// ```
/// use skydht_async_std::{Dht, PutError, PutOptions, Salt, SecretKey, Start as _, Value, entropy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async_std::task::block_on(async {
/// let any = ([127, 0, 0, 1], 0).into();
/// let first = Dht::tcp(SecretKey::from_entropy(&entropy()?)).listen(any).start().await?;
///
/// // Other nodes bootstrap from its key and address. A node without an address to listen on only
/// // dials. What it puts is found nevertheless, since its sessions carry streams back.
/// let second = Dht::tcp(SecretKey::from_entropy(&entropy()?))
///     .bootstrap([first.as_bootstrap()])
///     .start()
///     .await?;
/// second.ready().await?;
/// let put = second.put(Salt::from("greeting"), Value::new(b"hello"), PutOptions::default());
/// match put.await {
///     Ok(put) => assert!(put.replicas.acknowledged() > 0),
///     Err(PutError::Conflict { .. }) => println!("a newer item is there"),
///     Err(error) => return Err(error.into()),
/// }
/// # second.shutdown().await;
/// # first.shutdown().await;
/// # Ok(())
/// })
/// # }
/// ```
pub trait Start {
    /// Why the node did not start.
    type Error;

    /// Starts the node with randomness from the operating system.
    ///
    /// # Errors
    /// See [`StartTcpError`] and [`StartDmsgError`].
    fn start(self) -> impl Future<Output = Result<Dht, Self::Error>> + Send;
}

impl Start for TcpNode {
    type Error = StartTcpError;

    fn start(self) -> impl Future<Output = Result<Dht, StartTcpError>> + Send {
        self.start_on(AsyncStdRuntime, entropy)
    }
}

impl Start for DmsgNode<AsyncStdRuntime> {
    type Error = StartDmsgError;

    fn start(self) -> impl Future<Output = Result<Dht, StartDmsgError>> + Send {
        self.start_on(AsyncStdRuntime, entropy)
    }
}
