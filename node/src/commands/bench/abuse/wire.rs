//! Loopback connections with a simulated round trip, or that are never read.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use skydht_runtime::{BoxFuture, Listener, Runtime};
use skydht_tokio::{TcpConnection, TokioRuntime};
use tokio::net::TcpSocket;

/// Size of one read from the socket, in bytes.
const CHUNK: usize = 64 * 1024;

/// A tokio runtime whose connections deliver data `round_trip` late, and none at all after
/// [`Wire::turn_deaf`].
#[derive(Clone, Default)]
pub(super) struct Wire {
    round_trip: Duration,
    /// Source address of connections; `None`: chosen by the system.
    from: Option<IpAddr>,
    deaf: Arc<AtomicBool>,
}

impl Wire {
    /// Creates a runtime with this round trip.
    pub(super) fn with_round_trip(round_trip: Duration) -> Self {
        Self {
            round_trip,
            ..Self::default()
        }
    }

    /// Creates a runtime whose connections come from `ip`, an address of this machine.
    pub(super) fn from_address(ip: IpAddr) -> Self {
        Self {
            from: Some(ip),
            ..Self::default()
        }
    }

    /// Stops reading from all sockets of this runtime.
    pub(super) fn turn_deaf(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }
}

impl Runtime for Wire {
    type Connection = WireConnection;
    type Listener = NoListener;

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        TokioRuntime.spawn(task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<WireConnection>> {
        let wire = self.clone();
        Box::pin(async move {
            Ok(WireConnection {
                socket: match wire.from {
                    None => TokioRuntime.connect(addr).await?,
                    Some(ip) => {
                        let socket = TcpSocket::new_v4()?;
                        socket.bind(SocketAddr::new(ip, 0))?;
                        TcpConnection::new(socket.connect(addr).await?)?
                    }
                },
                wire,
                late: io::Cursor::default(),
                arrival: None,
            })
        })
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<NoListener>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// A connection of a [`Wire`].
pub(super) struct WireConnection {
    socket: TcpConnection,
    wire: Wire,
    /// Data read from the socket and not yet delivered.
    late: io::Cursor<Vec<u8>>,
    /// Completes when `late` may be delivered.
    arrival: Option<BoxFuture<'static, ()>>,
}

impl AsyncRead for WireConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.wire.deaf.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if this.wire.round_trip.is_zero() {
            return Pin::new(&mut this.socket).poll_read(cx, buf);
        }
        loop {
            if let Some(arrival) = &mut this.arrival {
                ready!(arrival.as_mut().poll(cx));
                this.arrival = None;
            }
            let read = this.late.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Poll::Ready(Ok(read));
            }
            let mut chunk = vec![0; CHUNK];
            let read = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut chunk))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            chunk.truncate(read);
            this.late = io::Cursor::new(chunk);
            this.arrival = Some(this.wire.sleep(this.wire.round_trip));
        }
    }
}

impl AsyncWrite for WireConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// A listener that accepts nothing: `listen` always fails.
pub(super) struct NoListener;

impl Listener for NoListener {
    type Connection = WireConnection;

    fn accept(&self) -> BoxFuture<'_, io::Result<(WireConnection, SocketAddr)>> {
        Box::pin(std::future::pending())
    }

    fn local_addr(&self) -> SocketAddr {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    }
}
