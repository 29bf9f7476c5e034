//! One stream of a session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::shared::Permit;

/// A byte stream to the peer, who learns of it when it is first written, flushed, read or closed.
/// Closing it sends a FIN: the peer reads the end, and we can go on
/// reading. Dropping it without closing resets it.
///
/// A reset by the peer reads as `ConnectionReset` (if we have not closed our side: yamux cannot
/// tell the two ends apart then), the end of the session as `ConnectionAborted`; what arrived
/// before can still be read.
pub struct Stream {
    /// `None` only while dropping.
    inner: Option<yamux::Stream>,
    permit: Permit,
    /// Whether the peer has been told of the stream.
    announced: bool,
    write_closed: bool,
}

impl Stream {
    /// One that the peer opened.
    pub(super) fn inbound(inner: yamux::Stream, permit: Permit) -> Self {
        Self {
            inner: Some(inner),
            permit,
            announced: true,
            write_closed: false,
        }
    }

    /// One that we open.
    pub(super) fn outbound(inner: yamux::Stream, permit: Permit) -> Self {
        let mut stream = Self::inbound(inner, permit);
        stream.announced = false;
        stream
    }

    /// Whether the session was at [`SessionConfig::max_inbound`](super::SessionConfig) when the
    /// peer opened it: what costs more than an answer to a ping is to be reset.
    #[must_use]
    pub fn is_spare(&self) -> bool {
        self.permit.is_spare
    }

    /// yamux tells the peer of a new stream with its first data; a stream that is closed or read
    /// before would stay unknown, and its reader wait for ever. No data will do.
    fn poll_announce(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.announced {
            ready!(self.inner().poll_write(cx, &[])).map_err(broken)?;
            self.announced = true;
        }
        Poll::Ready(Ok(()))
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
        if !self.announced {
            let _ = ready!(self.poll_announce(cx)); // a failure shows in what follows
        }
        let Ok(read) = ready!(self.inner().poll_read(cx, buf)) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
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
        ready!(self.permit.shared().room.poll(cx));
        let written = ready!(self.inner().poll_write(cx, buf)).map_err(broken)?;
        self.permit.shared().room.add(written);
        self.announced = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_announce(cx))?;
        self.inner().poll_flush(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_closed {
            ready!(self.poll_announce(cx))?;
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
