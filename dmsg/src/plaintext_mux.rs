//! A connection that carries yamux in clear, as DMSG's sessions do: buffers, and keepalive.
//!
//! yamux reads and writes headers by themselves; the buffers make few system calls of them. The
//! first bytes to read are those that came right behind the handshake. Pings are ours: sent for
//! the [`Keepalive`], and their answers are taken out again before yamux, which did not ask, sees
//! them.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::buffer::{Input, Output};
use crate::keepalive::Keepalive;
use crate::mux_frame::{self, FrameTracker, HEADER_LEN, Header};

/// A connection with yamux on it.
pub struct PlaintextMux<IO> {
    io: IO,
    input: Input,
    incoming: Incoming,
    output: Output,
    outgoing: FrameTracker,
    keepalive: Keepalive,
    /// A ping waits for the end of a frame.
    ping_due: bool,
    /// Numbers of our pings: those up to the first are answered, up to the second sent.
    pings: (u32, u32),
}

/// Where reading is: a header collects, is handed out, then its body.
#[derive(Default)]
struct Incoming {
    header: Header,
    collected: usize,
    /// What of the header is to be handed out.
    ready: Range<usize>,
    body: usize,
    /// Something has come.
    begun: bool,
}

/// The first byte that came was smux's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the peer multiplexes with smux; only yamux is spoken here")]
pub(crate) struct IsSmux;

impl IsSmux {
    /// Whether this is the cause of an error that a [`PlaintextMux`] gave.
    pub(crate) fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> PlaintextMux<IO> {
    /// `input` may hold first bytes.
    pub(crate) fn new(io: IO, input: Input) -> Self {
        Self {
            io,
            input,
            incoming: Incoming::default(),
            output: Output::default(),
            outgoing: FrameTracker::default(),
            keepalive: Keepalive::default(),
            ping_due: false,
            pings: (0, 0),
        }
    }

    /// For keepalives and to watch that the peer lives.
    pub(crate) fn keepalive(&self) -> Keepalive {
        self.keepalive.clone()
    }

    /// Collects the next header that is yamux's, or what of one came before the end.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut header = self.incoming.header;
            let collected = self.incoming.collected;
            let taken = ready!(
                self.input
                    .poll_take(&mut self.io, &mut header[collected..], cx)
            )?;
            let incoming = &mut self.incoming;
            if taken > 0 && !incoming.begun {
                incoming.begun = true;
                // Its frames are shorter than ours: waiting for a whole header, we would let a
                // client wait that waits for us.
                if mux_frame::is_smux(header[0]) {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, IsSmux)));
                }
            }
            incoming.header = header;
            incoming.collected += taken;
            if incoming.collected == HEADER_LEN {
                incoming.collected = 0;
                self.keepalive.count_received();
                if self.is_our_pong(&header) {
                    continue;
                }
                self.incoming.ready = 0..HEADER_LEN;
                self.incoming.body = mux_frame::body_len(&header);
                return Poll::Ready(Ok(()));
            }
            if taken == 0 {
                self.incoming.ready = 0..std::mem::take(&mut incoming.collected);
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn is_our_pong(&mut self, header: &Header) -> bool {
        let (answered, sent) = &mut self.pings;
        match mux_frame::pong(header) {
            Some(number) if *answered < number && number <= *sent => {
                *answered = number;
                true
            }
            _ => false,
        }
    }

    /// Sends the ping that is due, if no frame is under way.
    fn ping(&mut self) {
        if self.ping_due && self.outgoing.is_between_frames() {
            self.ping_due = false;
            // After four billion of them, answers pass for violations: in 4,000 years.
            self.pings.1 = self.pings.1.saturating_add(1);
            self.output.push_plain(&mux_frame::ping(self.pings.1));
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for PlaintextMux<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.incoming.ready.is_empty() {
            if this.incoming.body > 0 {
                let part = buf.len().min(this.incoming.body);
                let taken = ready!(this.input.poll_take(&mut this.io, &mut buf[..part], cx))?;
                this.incoming.body -= taken;
                return Poll::Ready(Ok(taken));
            }
            ready!(this.poll_header(cx))?;
        }
        let ready = &mut this.incoming.ready;
        let part = ready.len().min(buf.len());
        let end = ready.start + part;
        buf[..part].copy_from_slice(&this.incoming.header[ready.start..end]);
        ready.start = end;
        Poll::Ready(Ok(part))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PlaintextMux<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.ping();
        let written = ready!(this.output.poll_write_plain(&mut this.io, buf, cx))?;
        this.outgoing.advance(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.ping_due |= this.keepalive.take_ping_request(cx.waker());
        this.ping();
        ready!(this.output.poll_drain(&mut this.io, cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
