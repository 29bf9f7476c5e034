//! A connection with buffered reads and unbuffered writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::buffer::Input;

/// A connection that carries unencrypted yamux. Frame headers are read separately; the buffer saves
/// most of those system calls.
pub struct ReadBuffered<IO> {
    io: IO,
    input: Input,
}

impl<IO> ReadBuffered<IO> {
    /// Creates the wrapper. `input` may hold bytes that arrived right behind the handshake.
    pub(crate) fn new(io: IO, input: Input) -> Self {
        Self { io, input }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ReadBuffered<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.input.poll_take(&mut this.io, buf, cx)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ReadBuffered<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
