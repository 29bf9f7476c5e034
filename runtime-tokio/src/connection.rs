//! tokio's sockets with the traits of `futures-io`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use skydht_runtime::{BoxFuture, Listener};
use tokio::io::{AsyncRead as TokioRead, AsyncWrite as TokioWrite, ReadBuf};
use tokio::net::TcpStream;

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
        let mut buf = ReadBuf::new(buf);
        ready!(TokioRead::poll_read(Pin::new(&mut self.0), cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        TokioWrite::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        TokioWrite::poll_write_vectored(Pin::new(&mut self.0), cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        TokioWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        TokioWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpListener {
    socket: tokio::net::TcpListener,
    addr: SocketAddr,
}

impl TcpListener {
    pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = tokio::net::TcpListener::bind(addr).await?;
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
