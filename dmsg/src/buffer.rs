//! Socket buffers of an encrypted stream. An idle stream holds no memory: bytes are read into space
//! that all streams of a thread share, and what has arrived is copied from there.

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::cipher::{CipherError, NONCE_LEN, RECORD_OVERHEAD, Sealer};
use crate::frame::{self, FrameTooLong, MAX_PLAINTEXT, PREFIX_LEN};

/// Bytes that a direct read accepts beyond its destination.
const BEHIND: usize = 2048;
/// Maximum size of one read from the socket, in bytes.
const BUSY: usize = 64 * 1024;
/// Unsent bytes from which writes wait for the socket.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// Unsent bytes from which a write tries the socket without waiting for a flush.
const OUTPUT_EAGER: usize = 32 * 1024;
/// Size of a caller's buffer from which data that needs no decryption is read without a copy, in
/// bytes.
const DIRECT: usize = 4 * 1024;

/// How much longer a frame is than its plaintext, in bytes.
const FRAME_OVERHEAD: usize = PREFIX_LEN + RECORD_OVERHEAD;

/// Received bytes, split into frames.
#[derive(Default)]
pub(crate) struct Input {
    /// Fully initialised; `filled` is the part that holds data.
    bytes: Vec<u8>,
    filled: Range<usize>,
    /// Whether the last read filled the buffer, so that the next one uses a large one.
    busy: bool,
}

impl Input {
    /// Takes the next complete frame and returns the range of its body, valid until the next
    /// [`Self::poll_fill`].
    pub(crate) fn next_frame(&mut self) -> Result<Option<Range<usize>>, FrameTooLong> {
        let filled = &self.bytes[self.filled.clone()];
        let Some((prefix, rest)) = filled.split_first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let len = frame::body_len(*prefix)?;
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.filled.start + PREFIX_LEN;
        self.filled.start = start + len;
        Ok(Some(start..start + len))
    }

    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    pub(crate) fn body_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }

    /// Takes buffered bytes without interpreting them. Returns how many were there.
    pub(crate) fn take(&mut self, buf: &mut [u8]) -> usize {
        let part = buf.len().min(self.filled.len());
        let end = self.filled.start + part;
        buf[..part].copy_from_slice(&self.bytes[self.filled.start..end]);
        self.filled.start = end;
        part
    }

    /// Reads into `buf`; 0 is the end. Takes buffered bytes first; otherwise reads from the socket,
    /// and buffers what is behind them.
    pub(crate) fn poll_take<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        buf: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_empty() {
            if buf.len() >= DIRECT {
                return self.poll_read_around(io, buf, cx);
            }
            if ready!(self.poll_fill(io, cx))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        Poll::Ready(Ok(self.take(buf)))
    }

    /// Reads into `buf` without a copy while the buffer is empty. Bytes beyond `buf` go to the
    /// buffer.
    fn poll_read_around<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        buf: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let len = buf.len();
        with_scratch(|scratch| {
            let behind = &mut scratch[..BEHIND];
            let mut parts = [IoSliceMut::new(buf), IoSliceMut::new(behind)];
            let read = ready!(Pin::new(io).poll_read_vectored(cx, &mut parts))?;
            let beyond = read.saturating_sub(len);
            self.bytes = scratch[..beyond].to_vec();
            self.filled = 0..beyond;
            Poll::Ready(Ok(read.min(len)))
        })
    }

    /// Returns whether no bytes are buffered. At the end of the connection, buffered bytes are a
    /// truncated frame.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Reads once from the socket; 0 is its end. Call it when [`Self::next_frame`] returns `None`.
    pub(crate) fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.bytes.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let read = if self.busy {
            self.bytes.resize(BUSY, 0);
            Pin::new(io).poll_read(cx, &mut self.bytes[self.filled.end..])
        } else {
            self.bytes.truncate(self.filled.end);
            with_scratch(|scratch| {
                let read = ready!(Pin::new(io).poll_read(cx, scratch))?;
                self.bytes.reserve_exact(read);
                self.bytes.extend_from_slice(&scratch[..read]);
                Poll::Ready(Ok(read))
            })
        };
        match read {
            Poll::Pending if self.filled.is_empty() => *self = Self::default(),
            Poll::Ready(Ok(read)) => {
                let space = if self.busy {
                    BUSY - self.filled.end
                } else {
                    BUSY
                };
                self.busy = read == space;
                self.filled.end += read;
            }
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
        read
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.bytes.capacity()
    }
}

thread_local! {
    /// What [`with_scratch`] lends; empty while it is lent, and before its first use.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends `BUSY` bytes of space that all streams of this thread read into. A connection that itself
/// reads from such a stream gets space of its own.
fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.resize(BUSY, 0);
    let result = read(&mut scratch);
    // An error: the thread is ending.
    let _ = SCRATCH.try_with(|shared| shared.set(scratch));
    result
}

/// Records to be sent. Plaintext collects in the last record until it is full or flushed, and is
/// encrypted in place.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// How much of `bytes` the socket has taken.
    sent: usize,
    /// Start of the record that still collects plaintext, including its prefix.
    open: Option<usize>,
}

impl Output {
    fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == self.sent
    }

    /// Takes as much of `data` as fits, at least one byte.
    pub(crate) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        sealer: &mut Sealer,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Result<usize, CipherError>>> {
        let room = ready!(self.poll_room(io, cx))?;
        let taking = data.len().min(room + MAX_PLAINTEXT); // the last record may pass the limit
        let wanted = taking + (taking / MAX_PLAINTEXT + 2) * FRAME_OVERHEAD;
        if self.bytes.capacity() - self.bytes.len() < wanted {
            self.drop_sent(0);
            self.bytes.reserve(wanted);
        }
        let mut taken = 0;
        while taken < data.len() && self.unsent() < OUTPUT_LIMIT {
            let start = self.open_record();
            let used = self.bytes.len() - start - PREFIX_LEN - NONCE_LEN;
            let part = (MAX_PLAINTEXT - used).min(data.len() - taken);
            self.bytes.extend_from_slice(&data[taken..taken + part]);
            taken += part;
            if used + part == MAX_PLAINTEXT
                && let Err(error) = self.seal(sealer)
            {
                return Poll::Ready(Ok(Err(error)));
            }
        }
        self.drain_eagerly(io, cx);
        Poll::Ready(Ok(Ok(taken)))
    }

    /// Completes with how many bytes may be added, at least one.
    fn poll_room<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.unsent() >= OUTPUT_LIMIT {
            let drained = self.poll_drain(io, cx)?;
            if drained.is_pending() && self.unsent() >= OUTPUT_LIMIT {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(OUTPUT_LIMIT.saturating_sub(self.unsent()).max(1)))
    }

    /// Writes to the socket once [`OUTPUT_EAGER`] bytes have collected. Ignores errors, because the
    /// data was accepted already; the flush returns them again.
    fn drain_eagerly<IO: AsyncWrite + Unpin>(&mut self, io: &mut IO, cx: &mut Context<'_>) {
        if self.unsent() >= OUTPUT_EAGER {
            let _ = self.poll_drain(io, cx);
        }
    }

    /// Opens an empty record, unless one is open. Sealed without plaintext, it serves as a
    /// keepalive.
    pub(crate) fn open_record(&mut self) -> usize {
        *self.open.get_or_insert_with(|| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&[0; PREFIX_LEN + NONCE_LEN]);
            start
        })
    }

    /// Encrypts the record that collects plaintext, if there is one.
    pub(crate) fn seal(&mut self, sealer: &mut Sealer) -> Result<(), CipherError> {
        if let Some(start) = self.open.take() {
            sealer.seal_in_place(&mut self.bytes, start + PREFIX_LEN)?;
            let len = self.bytes.len() - start - PREFIX_LEN;
            let prefix = frame::prefix(len).expect("a record holds at most MAX_PLAINTEXT");
            self.bytes[start..start + PREFIX_LEN].copy_from_slice(&prefix);
        }
        Ok(())
    }

    /// Writes all sealed records to the socket, without flushing the socket itself.
    pub(crate) fn poll_drain<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let sealed = self.open.unwrap_or(self.bytes.len());
        let result = loop {
            if self.sent == sealed {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *io).poll_write(cx, &self.bytes[self.sent..sealed]) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.sent += n,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            }
        };
        self.drop_sent(OUTPUT_LIMIT / 2);
        result
    }

    /// Frees bytes that the socket has taken: all of them, or else at least `step` bytes, since the
    /// rest must then be moved.
    fn drop_sent(&mut self, step: usize) {
        if self.is_empty() {
            self.bytes = Vec::new();
        } else if self.sent >= step {
            self.bytes.drain(..self.sent);
            self.open = self.open.map(|start| start - self.sent);
        } else {
            return;
        }
        self.sent = 0;
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.bytes.capacity()
    }
}
