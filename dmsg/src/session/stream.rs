//! One stream of a session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::shared::Permit;

/// A byte stream to the peer. Closing it sends a FIN: the peer reads the end, and we can go on
/// reading. Dropping it without closing resets it.
///
/// A reset by the peer reads as `ConnectionReset` (if we have not closed our side: yamux cannot
/// tell the two ends apart then), the end of the session as `ConnectionAborted`; what arrived
/// before can still be read.
pub struct Stream {
    /// `None` only while dropping.
    inner: Option<yamux::Stream>,
    permit: Permit,
    write_closed: bool,
}

impl Stream {
    pub(super) fn new(inner: yamux::Stream, permit: Permit) -> Self {
        Self {
            inner: Some(inner),
            permit,
            write_closed: false,
        }
    }

    fn inner(&mut self) -> Pin<&mut yamux::Stream> {
        Pin::new(self.inner.as_mut().expect("taken only on drop"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Counted before yamux can forget it.
        self.permit.shared().count_dropped();
        self.inner = None;
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let read = match ready!(self.inner().poll_read(cx, buf)) {
            Ok(read) => read,
            // Only a window update that could not be sent; there may be data to read.
            Err(_) => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        };
        if read == 0 && self.inner().is_closed() {
            if self.permit.shared().is_ended() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if !self.write_closed {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.inner().poll_write(cx, buf).map_err(broken)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_closed {
            ready!(self.inner().poll_close(cx)).map_err(broken)?;
            self.write_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// yamux says `WriteZero` when the stream or the session is gone.
fn broken(_: io::Error) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
