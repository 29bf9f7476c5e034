//! What an executor must give: four functions and a clock.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection's two directions, as `futures-io`.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

/// A listening socket.
pub trait Listener: Send + Sync + 'static {
    /// What it accepts.
    type Connection: Connection;

    /// Waits for the next connection. Cancel-safe: dropping the future loses none.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Self::Connection, SocketAddr)>>;

    /// The bound address.
    fn local_addr(&self) -> SocketAddr;
}

/// An executor: spawn, sleep, connect, listen.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A connection.
    type Connection: Connection;
    /// A listening socket.
    type Listener: Listener<Connection = Self::Connection>;

    /// Runs a task to its end, independently of the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Opens a connection.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Self::Connection>>;
    /// Listens.
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Self::Listener>>;
}
