//! Copies a relayed stream in both directions.
//!
//! A direction reads only after the other side has taken what was read before, so a peer that does
//! not read holds back only those that send to it. An idle stream holds no buffer; buffered bytes
//! count as unread in the session that they came over.

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

/// Size of the first read after a pause, in bytes; on the stack.
const FIRST_READ: usize = 1024;
/// Size of the buffer while data flows, in bytes: what yamux puts into one frame.
const CHUNK: usize = 32 * 1024;

/// Copies until both directions have ended, one has failed, or `linger` has passed since the first
/// one ended. Then drops both streams; a direction that ended was closed before.
pub(super) async fn copy_bidirectional<R: Runtime>(
    runtime: &R,
    a: Stream,
    b: Stream,
    linger: Duration,
    copied: &Counter,
) {
    let mut copier = Copier {
        a,
        b,
        a_to_b: Direction::default(),
        b_to_a: Direction::default(),
    };
    if poll_fn(|cx| copier.poll_first(cx, copied)).await.is_ok() {
        let rest = poll_fn(|cx| copier.poll_all(cx, copied));
        within(runtime, linger, rest).await;
    }
}

struct Copier {
    a: Stream,
    b: Stream,
    a_to_b: Direction,
    b_to_a: Direction,
}

impl Copier {
    fn poll(&mut self, cx: &mut Context<'_>, copied: &Counter) -> io::Result<(Poll<()>, Poll<()>)> {
        // A stream may be reset to free its unread bytes while both directions wait for the other
        // stream, so check for that first.
        if self.a.poll_cut(cx).is_ready() || self.b.poll_cut(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let a_to_b = self.a_to_b.poll(&mut self.a, &mut self.b, cx, copied);
        let b_to_a = self.b_to_a.poll(&mut self.b, &mut self.a, cx, copied);
        Ok((a_to_b?, b_to_a?))
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
    /// Holds [`CHUNK`] bytes while data flows, otherwise exactly the bytes that wait.
    buffer: Vec<u8>,
    /// The part of `buffer` that was read and not written yet.
    filled: Range<usize>,
    /// Bytes that were last reported to the source as unread.
    kept: usize,
    /// Whether the source has ended.
    ended: bool,
    /// Whether the destination's write direction was closed.
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

    /// Shrinks the buffer to the waiting bytes, and reports them to the source as unread.
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

    /// Reads what has arrived, up to [`FIRST_READ`] bytes at first: only when there is more, a
    /// buffer is allocated and kept.
    fn poll_fill(&mut self, from: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut from = Pin::new(from);
        if self.buffer.len() < CHUNK {
            let mut first = [0; FIRST_READ];
            let read = ready!(from.as_mut().poll_read(cx, &mut first))?;
            self.ended = read == 0;
            self.buffer = first[..read].to_vec();
            self.filled = 0..read;
            if read < FIRST_READ {
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
            // Pass on what was read; an error is returned again by the next read.
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
