//! What an executor must give: four functions, and a clock that has a default.
//!
//! Everything above (DMSG, transports, the event loop, the program) is written once against
//! [`Runtime`]. [`virtual_time`] implements it without threads, sockets or a clock, so that a
//! whole network runs in one thread, as fast as it can, the same way each time. [`pipe`] is the
//! in-memory connection that it is made of.

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

/// Implements [`Debug`](std::fmt::Debug) with the name alone, for types that hold sockets, tasks or
/// secrets.
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

/// The two clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Clocks {
    /// Since an arbitrary start; never goes back.
    pub monotonic: Duration,
    /// Since the Unix epoch; zero when the wall clock stands before it. May step.
    pub unix: Duration,
}

impl Clocks {
    /// Reads the operating system's clocks. The monotonic one starts at the process's first
    /// reading.
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
/// The clock is not a fifth thing to implement: on a real executor the default is right. It
/// stands here because virtual time must replace it together with [`Runtime::sleep`], or the
/// two would disagree.
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

    /// Reads the clocks that [`Runtime::sleep`] goes by.
    fn clocks(&self) -> Clocks {
        Clocks::system()
    }
}

/// `future`'s result, unless it takes longer than `limit`; then it is dropped.
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
