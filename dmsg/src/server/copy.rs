//! Copies a relayed stream both ways.
//!
//! A direction reads only when the other side has taken what was read before, so a peer that does
//! not read holds back only who sends to them. While a stream is idle it holds no buffer; what a
//! buffer holds counts as unread in the session that it came over.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use skydht_runtime::{Runtime, within};

use super::stats::Counter;
use crate::session::Stream;

/// Read at first, in bytes.
const FIRST: usize = 1024;
/// Read at once while data flows, in bytes: what yamux puts into one frame.
const CHUNK: usize = 32 * 1024;

/// Copies until both directions have ended, one has failed, or `linger` has passed since the
/// first ended. Then both streams are dropped; a direction that ended was closed before.
pub(super) async fn both_ways<R: Runtime>(
    runtime: &R,
    a: Stream,
    b: Stream,
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

struct Both {
    a: Stream,
    b: Stream,
    forth: Direction,
    back: Direction,
}

impl Both {
    fn poll(&mut self, cx: &mut Context<'_>, copied: &Counter) -> io::Result<(Poll<()>, Poll<()>)> {
        // Neither may be asked for anything as long as the other is the one that waits.
        if self.a.poll_cut(cx).is_ready() || self.b.poll_cut(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
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
    /// Of [`CHUNK`] bytes while data flows, else just as long as what waits in it.
    buffer: Vec<u8>,
    /// What of it was read and is not taken by the other side yet.
    filled: Range<usize>,
    /// How much of it counts as unread.
    kept: usize,
    ended: bool,
    closed: bool,
}

impl Direction {
    fn poll(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        cx: &mut Context<'_>,
        copied: &Counter,
    ) -> io::Result<Poll<()>> {
        match self.poll_copy(from, to, cx, copied) {
            Poll::Pending => {
                self.account(from);
                Ok(Poll::Pending)
            }
            Poll::Ready(result) => result.map(Poll::Ready),
        }
    }

    /// Counts what waits, with its buffer, which is no longer than that.
    fn account(&mut self, from: &Stream) {
        let waiting = self.filled.len();
        if waiting < self.buffer.len() {
            self.buffer = self.buffer[self.filled.clone()].to_vec();
            self.filled = 0..waiting;
        }
        if waiting != self.kept {
            self.kept = waiting;
            from.keeps(waiting);
        }
    }

    fn poll_copy(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        cx: &mut Context<'_>,
        copied: &Counter,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.filled.is_empty() {
                let rest = &self.buffer[self.filled.clone()];
                let written = nonzero(ready!(Pin::new(&mut *to).poll_write(cx, rest))?)?;
                self.filled.start += written;
                copied.add(written as u64);
            }
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_close(cx))?;
                self.closed = true;
                continue;
            }
            if self.poll_fill(from, cx)?.is_pending() {
                self.buffer = Vec::new();
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
    }

    /// Reads what is there, a little at first: only for more a buffer is made, and kept.
    fn poll_fill(&mut self, from: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut from = Pin::new(from);
        if self.buffer.len() < CHUNK {
            let mut first = [0; FIRST];
            let read = ready!(from.as_mut().poll_read(cx, &mut first))?;
            self.ended = read == 0;
            self.buffer = first[..read].to_vec();
            self.filled = 0..read;
            if read < FIRST {
                return Poll::Ready(Ok(()));
            }
            self.buffer.resize(CHUNK, 0);
        } else {
            self.filled = 0..0;
        }
        let had = self.filled.end;
        match from.poll_read(cx, &mut self.buffer[had..]) {
            Poll::Ready(Ok(read)) => {
                self.ended = read == 0;
                self.filled.end += read;
                Poll::Ready(Ok(()))
            }
            nothing if had == 0 => nothing.map_ok(drop),
            // What came before is passed on; a failure comes again.
            _ => Poll::Ready(Ok(())),
        }
    }
}

fn nonzero(written: usize) -> io::Result<usize> {
    match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}

#[cfg(test)]
mod tests;
