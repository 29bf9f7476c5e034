//! Stands between yamux and its connection, so that the driver decides when to flush and read.
//!
//! yamux flushes after every frame. [`CorkedIo`] holds flushes back while the driver collects what
//! all streams have to send, so that they share records and system calls. It also bounds how much
//! one turn reads, and can stop reading altogether.
//!
//! Pings of yamux's own are not sent: they would only serve to let windows grow, which we do not
//! want, and go by the real clock, which makes a simulated run irreproducible. And two ends that
//! cannot write would stop reading when both owe the other a pong.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::context::SessionContext;
use crate::mux_frame::{Frame, FrameTracker};

/// Bytes that the driver reads in one turn before it lets others run.
const READ_BUDGET: usize = 256 * 1024;

/// The driver's side. Only the driver's task touches it, hence the relaxed order.
#[derive(Default)]
pub(super) struct CorkState {
    /// Flushes wait.
    corked: AtomicBool,
    /// Reads wait.
    reads_held: AtomicBool,
    /// How much may still be read in this turn.
    budget: AtomicUsize,
    /// Something was written that is not flushed.
    dirty: AtomicBool,
    /// The last write did not fit.
    blocked: AtomicBool,
    /// yamux said that the peer broke the protocol.
    violated: AtomicBool,
}

impl CorkState {
    /// Starts a turn of the driver.
    pub(super) fn start_turn(&self) {
        self.budget.store(READ_BUDGET, Relaxed);
    }

    /// Holds flushes back and lets reads through.
    pub(super) fn collect(&self) {
        self.corked.store(true, Relaxed);
        self.reads_held.store(false, Relaxed);
    }

    /// Lets flushes through and holds reads.
    pub(super) fn flush(&self) {
        self.corked.store(false, Relaxed);
        self.reads_held.store(true, Relaxed);
    }

    /// Holds reads until the next [`Self::collect`].
    pub(super) fn hold_reads(&self) {
        self.reads_held.store(true, Relaxed);
    }

    pub(super) fn reads_are_held(&self) -> bool {
        self.reads_held.load(Relaxed)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Relaxed)
    }

    /// Whether yamux ends the session for what the peer did. yamux itself would go on.
    pub(super) fn is_violated(&self) -> bool {
        self.violated.load(Relaxed)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }
}

pub(super) struct CorkedIo<IO> {
    io: IO,
    outgoing: FrameTracker,
    incoming: FrameTracker,
    cork: Arc<CorkState>,
    context: Arc<SessionContext>,
}

impl<IO> CorkedIo<IO> {
    pub(super) fn new(io: IO, cork: Arc<CorkState>, context: Arc<SessionContext>) -> Self {
        Self {
            io,
            outgoing: FrameTracker::default(),
            incoming: FrameTracker::default(),
            cork,
            context,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for CorkedIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.cork.reads_held.load(Relaxed) {
            return Poll::Pending; // the driver comes back by itself
        }
        let budget = this.cork.budget.load(Relaxed);
        if budget == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let part = buf.len().min(budget);
        let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf[..part]))?;
        this.cork.budget.store(budget - read.min(budget), Relaxed);
        let unread = &this.context.unread;
        this.incoming
            .advance_with(&buf[..read], |header| unread.frame_arrived(header));
        Poll::Ready(Ok(read))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for CorkedIo<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.outgoing.starts(buf) {
            Frame::PingRequest => return Poll::Ready(Ok(buf.len())),
            Frame::GoAway => self.cork.violated.store(true, Relaxed),
            Frame::Other => {}
        }
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.cork.blocked.store(result.is_pending(), Relaxed);
        self.cork.dirty.store(true, Relaxed);
        if let Poll::Ready(Ok(written)) = result {
            let data = self.outgoing.advance(&buf[..written]);
            self.context.count_sent(data);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cork.corked.load(Relaxed) && self.cork.is_dirty() {
            return Poll::Pending; // the driver flushes at the end of its turn
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.cork.dirty.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
