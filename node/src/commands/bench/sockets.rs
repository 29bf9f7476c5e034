//! A tokio runtime that counts reads from and writes to its sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use skydht_runtime::{BoxFuture, Listener, Runtime};
use skydht_tokio::{TcpConnection, TcpListener, TokioRuntime};

/// Counts over all sockets of a [`CountedRuntime`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SocketCounts {
    /// Reads that returned, with data or at the end of the stream.
    pub(super) reads: u64,
    /// Writes that the socket accepted.
    pub(super) writes: u64,
    /// Bytes written.
    pub(super) bytes: u64,
}

#[derive(Default)]
struct AtomicCounts {
    reads: AtomicU64,
    writes: AtomicU64,
    bytes: AtomicU64,
}

/// The surrounding tokio runtime, with counted sockets. Clones share the counts.
#[derive(Clone, Default)]
pub(super) struct CountedRuntime(Arc<AtomicCounts>);

impl CountedRuntime {
    /// Returns the counts so far.
    pub(super) fn counts(&self) -> SocketCounts {
        SocketCounts {
            reads: self.0.reads.load(Ordering::Relaxed),
            writes: self.0.writes.load(Ordering::Relaxed),
            bytes: self.0.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Runtime for CountedRuntime {
    type Connection = CountedConnection;
    type Listener = CountedListener;

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        TokioRuntime.spawn(task);
    }

    fn sleep(&self, duration: std::time::Duration) -> BoxFuture<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<CountedConnection>> {
        let counts = Arc::clone(&self.0);
        Box::pin(async move {
            let socket = TokioRuntime.connect(addr).await?;
            Ok(CountedConnection { socket, counts })
        })
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<CountedListener>> {
        let counts = Arc::clone(&self.0);
        Box::pin(async move {
            let listener = TokioRuntime.listen(addr).await?;
            Ok(CountedListener { listener, counts })
        })
    }
}

/// A listener of a [`CountedRuntime`].
pub(super) struct CountedListener {
    listener: TcpListener,
    counts: Arc<AtomicCounts>,
}

impl Listener for CountedListener {
    type Connection = CountedConnection;

    fn accept(&self) -> BoxFuture<'_, io::Result<(CountedConnection, SocketAddr)>> {
        Box::pin(async {
            let (socket, addr) = self.listener.accept().await?;
            let counts = Arc::clone(&self.counts);
            Ok((CountedConnection { socket, counts }, addr))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }
}

/// A connection of a [`CountedRuntime`].
pub(super) struct CountedConnection {
    socket: TcpConnection,
    counts: Arc<AtomicCounts>,
}

impl CountedConnection {
    fn read(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(_)) = result {
            self.counts.reads.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = result {
            self.counts.writes.fetch_add(1, Ordering::Relaxed);
            self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncRead for CountedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.read(result)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_read_vectored(cx, bufs);
        self.read(result)
    }
}

impl AsyncWrite for CountedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.written(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
