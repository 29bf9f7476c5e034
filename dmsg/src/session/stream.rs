//! One stream of a session.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::context::Permit;
use super::unread::{Buffered, Unread};

/// A byte stream to the peer, who learns of it when it is first written, flushed, read or closed.
/// Closing it sends a FIN: the peer reads the end, and we can go on
/// reading. Dropping it without closing resets it.
///
/// A reset by the peer, or because too much was left unread, reads as `ConnectionReset` (if we have not closed our side: yamux cannot
/// tell the two ends apart then), the end of the session as `ConnectionAborted`; what arrived
/// before can still be read.
pub struct Stream {
    /// yamux's stream, and how much of it waits here.
    inner: Arc<Buffered>,
    permit: Permit,
    /// Whether the peer has been told of the stream.
    announced: bool,
    write_closed: bool,
}

impl Stream {
    /// One that the peer opened. `None` if it was reset meanwhile.
    pub(super) fn inbound(inner: yamux::Stream, permit: Permit) -> Option<Self> {
        Self::new(inner, permit, true)
    }

    /// One that we open.
    pub(super) fn outbound(inner: yamux::Stream, permit: Permit) -> Option<Self> {
        Self::new(inner, permit, false)
    }

    fn new(inner: yamux::Stream, permit: Permit, announced: bool) -> Option<Self> {
        Some(Self {
            inner: permit.context().unread.take_in(inner)?,
            permit,
            announced,
            write_closed: false,
        })
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
            ready!(self.write(|it| it.poll_write(cx, &[])))?;
            self.announced = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once it was reset because too much was left unread in its session, or in all.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        Unread::poll_cut(&self.inner, cx)
    }

    /// So many bytes that were read from it are still held. They count as unread.
    pub(crate) fn keeps(&self, bytes: usize) {
        self.permit.context().unread.keeps(&self.inner, bytes);
    }

    /// Lets yamux do something with it. `None` if it was cut.
    fn with<T>(&self, act: impl FnOnce(Pin<&mut yamux::Stream>) -> T) -> Option<T> {
        Unread::with(&self.inner, |stream| act(Pin::new(stream)))
    }

    fn write<T>(
        &self,
        act: impl FnOnce(Pin<&mut yamux::Stream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = self.with(act);
        written.map_or(Poll::Ready(Err(broken())), |it| it.map_err(|_| broken()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.permit.context().unread.leave(&self.inner);
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
        let read = self.with(|mut it| {
            let read = it.as_mut().poll_read(cx, buf);
            read.map_ok(|read| (read, read == 0 && it.is_closed()))
        });
        let Some(read) = read else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let Ok((read, is_closed)) = ready!(read) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        self.permit.context().unread.took(&self.inner, read);
        if is_closed {
            if self.permit.context().is_ended() {
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
        ready!(self.permit.context().room.poll(cx));
        let written = ready!(self.write(|it| it.poll_write(cx, buf)))?;
        self.permit.context().room.add(written);
        self.announced = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_announce(cx))?;
        self.write(|it| it.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_closed {
            ready!(self.poll_announce(cx))?;
            ready!(self.write(|it| it.poll_close(cx)))?;
            self.write_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// yamux says `WriteZero` when the stream or the session is gone; or the stream was cut.
fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
