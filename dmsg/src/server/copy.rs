//! Copies a relayed stream both ways.
//!
//! A direction reads only when the other side has taken what was read before, so whoever does not
//! read holds back only who sends to them. While a stream is idle it holds no buffer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use skydht_runtime::{Runtime, within};

use super::stats::Counter;

/// Read at once, in bytes: what yamux puts into one frame.
const CHUNK: usize = 16 * 1024;

/// Copies until both directions have ended, one has failed, or `linger` has passed since the
/// first ended. Then both streams are dropped; a direction that ended was closed before.
pub(super) async fn both_ways<R: Runtime, S: AsyncRead + AsyncWrite + Unpin>(
    runtime: &R,
    a: S,
    b: S,
    linger: Duration,
    copied: &Counter,
) {
    let mut both = Both {
        a,
        b,
        forth: Direction::default(),
        back: Direction::default(),
    };
    if poll_fn(|cx| both.poll_first(cx, copied)).await.is_ok() {
        let rest = poll_fn(|cx| both.poll_all(cx, copied));
        within(runtime, linger, rest).await;
    }
}

struct Both<S> {
    a: S,
    b: S,
    forth: Direction,
    back: Direction,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Both<S> {
    fn poll(&mut self, cx: &mut Context<'_>, copied: &Counter) -> io::Result<(Poll<()>, Poll<()>)> {
        let forth = self.forth.poll(&mut self.a, &mut self.b, cx, copied);
        let back = self.back.poll(&mut self.b, &mut self.a, cx, copied);
        Ok((forth?, back?))
    }

    fn poll_first(&mut self, cx: &mut Context<'_>, copied: &Counter) -> Poll<io::Result<()>> {
        match self.poll(cx, copied)? {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_all(&mut self, cx: &mut Context<'_>, copied: &Counter) -> Poll<io::Result<()>> {
        match self.poll(cx, copied)? {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

#[derive(Default)]
struct Direction {
    /// Read, but not taken by the other side yet.
    rest: Vec<u8>,
    sent: usize,
    ended: bool,
    closed: bool,
}

impl Direction {
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        from: &mut S,
        to: &mut S,
        cx: &mut Context<'_>,
        copied: &Counter,
    ) -> io::Result<Poll<()>> {
        match self.poll_copy(from, to, cx, copied) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(result) => result.map(Poll::Ready),
        }
    }

    fn poll_copy<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        from: &mut S,
        to: &mut S,
        cx: &mut Context<'_>,
        copied: &Counter,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.sent < self.rest.len() {
                let written = Pin::new(&mut *to).poll_write(cx, &self.rest[self.sent..]);
                let written = nonzero(ready!(written)?)?;
                self.sent += written;
                copied.add(written as u64);
            }
            (self.rest, self.sent) = (Vec::new(), 0);
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_close(cx))?;
                self.closed = true;
                continue;
            }
            let mut chunk = [0; CHUNK];
            match Pin::new(&mut *from).poll_read(cx, &mut chunk)? {
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(read) => {
                    let written = match Pin::new(&mut *to).poll_write(cx, &chunk[..read])? {
                        Poll::Ready(written) => nonzero(written)?,
                        Poll::Pending => 0,
                    };
                    copied.add(written as u64);
                    self.rest = chunk[written..read].to_vec();
                }
            }
        }
    }
}

fn nonzero(written: usize) -> io::Result<usize> {
    match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}
