//! The interface to an executor: four functions, and clocks that have a default.
//!
//! Everything above it (DMSG, transports, the event loop, the program) is written once against
//! [`Runtime`]. [`virtual_time`] implements it without threads, sockets or a real clock, so that a
//! whole network runs in one thread, without waiting and reproducibly. [`pipe`] is the in-memory
//! connection that its network uses.

#![warn(missing_debug_implementations)]

pub mod pipe;
pub mod virtual_time;

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures_io::{AsyncRead, AsyncWrite};

/// Implements [`Debug`](std::fmt::Debug) with only the type's name, for types that hold sockets,
/// tasks or secrets.
#[doc(hidden)]
#[macro_export]
macro_rules! opaque_debug {
    ($($name:ident $(<$param:ident $(: $bound:path)?>)?),* $(,)?) => { $(
        impl $(<$param $(: $bound)?>)? ::std::fmt::Debug for $name $(<$param>)? {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )* };
}

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream in both directions, with the traits of `futures-io`.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

/// A listening socket.
pub trait Listener: Send + Sync + 'static {
    /// The type of accepted connections.
    type Connection: Connection;

    /// Waits for the next connection. Cancel-safe: dropping the future loses no connection.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Self::Connection, SocketAddr)>>;

    /// Returns the bound address.
    fn local_addr(&self) -> SocketAddr;
}

/// The monotonic and the wall clock at one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Clocks {
    /// Time since an arbitrary start; never decreases.
    pub monotonic: Duration,
    /// Time since the Unix epoch; zero if the wall clock is before it. May step.
    pub unix: Duration,
}

impl Clocks {
    /// Reads the operating system's clocks. The monotonic one starts at the first call in the
    /// process.
    #[must_use]
    pub fn system() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        Self {
            monotonic: START.get_or_init(Instant::now).elapsed(),
            unix: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
        }
    }
}

/// An executor: spawn, sleep, connect, listen.
///
/// The clocks have a default implementation, which is right for real executors. They are part of
/// the trait because virtual time must replace them together with [`Runtime::sleep`].
pub trait Runtime: Clone + Send + Sync + 'static {
    /// The type of dialled and accepted connections.
    type Connection: Connection;
    /// The type of listening sockets.
    type Listener: Listener<Connection = Self::Connection>;

    /// Runs a task to completion, independently of the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Opens a connection.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Self::Connection>>;
    /// Opens a listening socket.
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Self::Listener>>;

    /// Reads the clocks that [`Runtime::sleep`] follows.
    fn clocks(&self) -> Clocks {
        Clocks::system()
    }
}

/// Returns the result of `future`, or `None` if it takes longer than `limit`; it is dropped then.
pub async fn within<R: Runtime, T>(
    runtime: &R,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut late = runtime.sleep(limit);
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        late.as_mut().poll(cx).map(|()| None)
    })
    .await
}
