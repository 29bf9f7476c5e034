//! async-std's sockets with a close that shuts down the writing direction.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_std::net::TcpStream;
use futures_io::{AsyncRead, AsyncWrite};
use skydht_runtime::{BoxFuture, Listener};

/// A TCP connection with `TCP_NODELAY`: sessions batch small writes themselves.
#[derive(Debug)]
pub struct TcpConnection(TcpStream);

impl TcpConnection {
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(addr).await?)
    }

    /// Wraps a connected socket.
    ///
    /// # Errors
    /// Errors of setting `TCP_NODELAY`.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    /// Shuts down the writing direction; async-std's own `poll_close` only flushes.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.0).poll_flush(cx))?;
        Poll::Ready(self.0.shutdown(Shutdown::Write))
    }
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpListener {
    socket: async_std::net::TcpListener,
    addr: SocketAddr,
}

impl TcpListener {
    pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = async_std::net::TcpListener::bind(addr).await?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }
}

impl Listener for TcpListener {
    type Connection = TcpConnection;

    fn accept(&self) -> BoxFuture<'_, io::Result<(TcpConnection, SocketAddr)>> {
        Box::pin(async {
            let (stream, addr) = self.socket.accept().await?;
            Ok((TcpConnection::new(stream)?, addr))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}
