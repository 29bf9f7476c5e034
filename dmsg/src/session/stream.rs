//! One stream of a session.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::shared::{Permit, Shared, Wish};
use crate::mux::Read;

/// A byte stream to the peer, which learns of it when it is first written, flushed, read or closed.
/// Closing it finishes our direction: the peer reads the end, and we can continue reading. Dropping
/// it without closing resets it.
///
/// After a reset, by the peer or because too much data was unread, reads fail with
/// `ConnectionReset`; after the end of the session, with `ConnectionAborted`. Data that arrived
/// before can still be read.
pub struct Stream {
    id: u32,
    permit: Permit,
}

impl Stream {
    pub(super) fn new(id: u32, permit: Permit) -> Self {
        Self { id, permit }
    }

    fn shared(&self) -> &Shared {
        &self.permit.shared
    }

    /// Returns whether the session was at its
    /// [`SessionConfig::max_inbound`](super::SessionConfig::max_inbound) when the peer opened the
    /// stream. Drop it unless it is a ping.
    #[must_use]
    pub fn is_spare(&self) -> bool {
        self.permit.is_spare
    }

    /// Completes once the stream was reset because too much data of its session, or of all, was
    /// unread.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.shared().state();
        if state.mux.is_cut(self.id) {
            return Poll::Ready(());
        }
        state.wait(self.id, Wish::Cut, cx);
        Poll::Pending
    }

    /// Sets how many bytes the stream's reader has read and still holds. They count as unread.
    pub(crate) fn keeps(&self, bytes: usize) {
        let mut state = self.shared().state();
        state.mux.keep(self.id, bytes);
        self.shared().unread.set(state.mux.held());
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let shared = self.shared();
        let mut state = shared.state();
        let wakers = state.leave(self.id);
        shared.unread.set(state.mux.held());
        let has_output = shared.note_output(&state);
        drop(state);
        drop(wakers);
        if has_output {
            shared.driver.wake();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let shared = self.shared();
        let mut state = shared.state();
        match state.mux.read(self.id, buf) {
            Read::Data(read) => {
                shared.unread.set(state.mux.held());
                let has_output = shared.note_output(&state);
                drop(state);
                if has_output {
                    shared.driver.wake();
                }
                Poll::Ready(Ok(read))
            }
            Read::End => Poll::Ready(Ok(0)),
            Read::Reset => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            Read::Nothing if shared.is_ended() => {
                Poll::Ready(Err(ErrorKind::ConnectionAborted.into()))
            }
            Read::Nothing => {
                state.wait(self.id, Wish::Read, cx);
                state.mux.announce(self.id);
                let has_output = shared.note_output(&state);
                drop(state);
                if has_output {
                    shared.driver.wake();
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let shared = self.shared();
        let mut state = shared.state();
        if shared.is_ended() || !state.mux.may_write(self.id) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        ready!(shared.room.poll(cx));
        match state.mux.write(self.id, buf) {
            Ok(0) => {
                state.wait(self.id, Wish::Write, cx);
                Poll::Pending
            }
            Ok(written) => {
                shared.note_output(&state);
                drop(state);
                shared.driver.wake();
                Poll::Ready(Ok(written))
            }
            Err(_) => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = self.shared();
        let mut state = shared.state();
        state.mux.announce(self.id);
        let has_output = shared.note_output(&state);
        drop(state);
        if has_output {
            shared.driver.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = self.shared();
        let mut state = shared.state();
        if shared.is_ended() && state.mux.may_write(self.id) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let finished = state.mux.finish(self.id);
        shared.note_output(&state);
        drop(state);
        shared.driver.wake();
        Poll::Ready(finished.map_err(|_| ErrorKind::BrokenPipe.into()))
    }
}
