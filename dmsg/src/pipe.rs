//! An in-memory connection for tests: bounded, fragmenting, and inspectable.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// One direction of a connection.
#[derive(Default)]
pub(crate) struct Half {
    pub(crate) bytes: VecDeque<u8>,
    capacity: usize,
    writer_gone: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Number of successful writes.
    pub(crate) writes: usize,
    /// Size of the largest buffer that was offered to a read.
    pub(crate) largest_read: usize,
}

impl Half {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

/// One end of a connection. After it is dropped, the other end reads what is left, and then the
/// end.
pub(crate) struct End {
    input: Arc<Mutex<Half>>,
    output: Arc<Mutex<Half>>,
    /// Maximum bytes of the next reads and writes, used in turn; empty for no limit.
    pieces: Vec<usize>,
    turn: usize,
}

/// Creates two connected ends. Each direction holds `capacity` bytes.
pub(crate) fn pipe(capacity: usize) -> (End, End) {
    let half = || {
        Arc::new(Mutex::new(Half {
            capacity,
            ..Half::default()
        }))
    };
    let (a, b) = (half(), half());
    (End::new(a.clone(), b.clone()), End::new(b, a))
}

impl End {
    fn new(input: Arc<Mutex<Half>>, output: Arc<Mutex<Half>>) -> Self {
        Self {
            input,
            output,
            pieces: Vec::new(),
            turn: 0,
        }
    }

    /// Limits reads and writes to these sizes, cyclically; 0 counts as 1.
    pub(crate) fn in_pieces(mut self, pieces: Vec<usize>) -> Self {
        self.pieces = pieces;
        self
    }

    /// Returns the direction that this end writes to.
    pub(crate) fn output(&self) -> Arc<Mutex<Half>> {
        self.output.clone()
    }

    /// Returns the direction that this end reads from.
    pub(crate) fn input(&self) -> Arc<Mutex<Half>> {
        self.input.clone()
    }

    fn piece(&mut self) -> usize {
        if self.pieces.is_empty() {
            return usize::MAX;
        }
        self.turn = (self.turn + 1) % self.pieces.len();
        self.pieces[self.turn].max(1)
    }
}

fn lock(half: &Mutex<Half>) -> MutexGuard<'_, Half> {
    half.lock().unwrap()
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_vectored(cx, &mut [IoSliceMut::new(buf)])
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let piece = self.piece();
        let mut half = lock(&self.input);
        let offered = bufs.iter().map(|buf| buf.len()).sum();
        half.largest_read = half.largest_read.max(offered);
        let n = half.bytes.len().min(offered).min(piece);
        if n == 0 && !half.writer_gone {
            half.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let places = bufs.iter_mut().flat_map(|buf| buf.iter_mut());
        for (to, from) in places.zip(half.bytes.drain(..n)) {
            *to = from;
        }
        half.wake();
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let piece = self.piece();
        let mut half = lock(&self.output);
        if half.reader_gone || half.writer_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let offered = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let room = half.capacity - half.bytes.len();
        let n = offered.min(room).min(piece);
        if n == 0 {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        half.bytes
            .extend(bufs.iter().flat_map(|buf| buf.iter()).take(n));
        half.writes += 1;
        half.wake();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = lock(&self.output);
        half.writer_gone = true;
        half.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut output = lock(&self.output);
        output.writer_gone = true;
        output.wake();
        drop(output);
        let mut input = lock(&self.input);
        input.reader_gone = true;
        input.wake();
    }
}
