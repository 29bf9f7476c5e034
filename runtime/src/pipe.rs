//! An in-memory connection: two bounded byte queues with back-pressure.
//!
//! Each end is `AsyncRead + AsyncWrite`. Closing an end finishes its direction: the other end reads
//! what was written, then end of file. [`OnDrop`] selects what dropping an end does: a TCP socket
//! finishes, a multiplexed stream resets.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

/// Default limit of bytes in transit in one direction.
pub const DEFAULT_CAPACITY: usize = 64 * 1024;

/// Effect of dropping an end that was not closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnDrop {
    /// Like a TCP socket: the other end reads what was written, then end of file.
    #[default]
    Finish,
    /// Like a multiplexed stream: the other end reads what was written, then
    /// [`io::ErrorKind::ConnectionReset`].
    Reset,
}

/// Decides when written bytes arrive. Implemented by virtual time's network; without a delay, bytes
/// arrive immediately.
pub(crate) trait Delay: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Duration;
    /// Returns when bytes written now arrive.
    fn arrival(&self) -> Duration;
    /// Wakes `waker` at `at`.
    fn wake_at(&self, at: Duration, waker: &Waker);
    /// Called when a writer finds no room.
    fn blocked(&self);
}

#[derive(Clone)]
struct Options {
    capacity: usize,
    on_drop: OnDrop,
    delay: Option<Arc<dyn Delay>>,
}

/// How the writer ended its direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Finished,
    Reset,
}

struct Segment {
    arrives: Duration,
    bytes: VecDeque<u8>,
}

#[derive(Default)]
struct Queue {
    segments: VecDeque<Segment>,
    /// Bytes in all segments.
    len: usize,
    /// How the writer ended the direction, and when the reader can see it.
    ended: Option<(Ended, Duration)>,
    /// When the writer can see that the reader was dropped. Written bytes are discarded from the
    /// drop on, and writes fail from this moment.
    abandoned: Option<Duration>,
    /// Whether the direction is held: nothing arrives and no end is seen.
    held: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Direction {
    queue: Mutex<Queue>,
    options: Options,
}

impl Direction {
    fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            options,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrival(&self) -> Duration {
        self.options
            .delay
            .as_ref()
            .map_or(Duration::ZERO, |delay| delay.arrival())
    }

    /// Returns whether something that arrives at `at` has arrived; if not, `waker` is woken then.
    fn has_arrived(&self, at: Duration, waker: &Waker) -> bool {
        match &self.options.delay {
            Some(delay) if at > delay.now() => {
                delay.wake_at(at, waker);
                false
            }
            _ => true,
        }
    }

    fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut queue = self.lock();
        if queue.held {
            queue.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut read = 0;
        while read < buf.len() {
            let Some(segment) = queue.segments.front_mut() else {
                break;
            };
            // Set a timer only if nothing was read yet: otherwise this call returns what it has.
            if read > 0 {
                let later = self.options.delay.as_ref();
                if later.is_some_and(|delay| segment.arrives > delay.now()) {
                    break;
                }
            } else if !self.has_arrived(segment.arrives, cx.waker()) {
                queue.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let n = io::Read::read(&mut segment.bytes, &mut buf[read..])?;
            read += n;
            if segment.bytes.is_empty() {
                queue.segments.pop_front();
            }
            queue.len -= n;
        }
        if read > 0 || buf.is_empty() {
            if let Some(writer) = queue.writer.take() {
                drop(queue);
                writer.wake();
            }
            return Poll::Ready(Ok(read));
        }
        match queue.ended {
            Some((ended, at)) if self.has_arrived(at, cx.waker()) => Poll::Ready(match ended {
                Ended::Finished => Ok(0),
                Ended::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            }),
            _ => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut queue = self.lock();
        if queue.ended.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Some(at) = queue.abandoned {
            let now = self.options.delay.as_ref().map_or(at, |delay| delay.now());
            // While the direction is held, the writer does not learn that the reader was dropped.
            if at <= now && !queue.held {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            // The first bytes that arrive after the drop are answered with a reset, a round trip
            // after the write.
            queue.abandoned = Some(at.min(now + 2 * self.arrival().saturating_sub(now)));
            return Poll::Ready(Ok(bytes.len()));
        }
        let room = self.options.capacity.saturating_sub(queue.len);
        if room == 0 && !bytes.is_empty() {
            queue.writer = Some(cx.waker().clone());
            if let Some(delay) = &self.options.delay {
                delay.blocked();
            }
            return Poll::Pending;
        }
        let n = room.min(bytes.len());
        let arrives = self.arrival();
        match queue.segments.back_mut() {
            Some(segment) if segment.arrives >= arrives => segment.bytes.extend(&bytes[..n]),
            _ => queue.segments.push_back(Segment {
                arrives,
                bytes: bytes[..n].iter().copied().collect(),
            }),
        }
        queue.len += n;
        self.notify_reader(queue, arrives);
        Poll::Ready(Ok(n))
    }

    fn notify_reader(&self, mut queue: MutexGuard<'_, Queue>, at: Duration) {
        if let Some(reader) = queue.reader.take() {
            drop(queue);
            match &self.options.delay {
                Some(delay) => delay.wake_at(at, &reader),
                None => reader.wake(),
            }
        }
    }

    fn end(&self, ended: Ended) {
        let mut queue = self.lock();
        if queue.ended.is_none() {
            let at = self.arrival();
            queue.ended = Some((ended, at));
            let writer = queue.writer.take();
            self.notify_reader(queue, at);
            writer.into_iter().for_each(Waker::wake);
        }
    }

    fn abandon(&self) {
        let mut queue = self.lock();
        // The writer learns of the drop from the answer to its bytes: only a writer that waits for
        // room has sent some.
        let at = match (&self.options.delay, &queue.writer) {
            (Some(_), None) => Duration::MAX,
            _ => self.arrival(),
        };
        queue.abandoned = Some(at);
        queue.segments.clear();
        queue.len = 0;
        if queue.held {
            return; // `hold` wakes the writer
        }
        if let Some(writer) = queue.writer.take() {
            drop(queue);
            match &self.options.delay {
                Some(delay) => delay.wake_at(at, &writer),
                None => writer.wake(),
            }
        }
    }

    fn hold(&self, held: bool) {
        let mut queue = self.lock();
        let released = queue.held && !held;
        queue.held = held;
        if released {
            let wakers = [queue.reader.take(), queue.writer.take()];
            drop(queue);
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Ends the direction for both ends immediately; bytes in transit are lost.
    fn cut(&self) {
        let mut queue = self.lock();
        queue.abandoned = Some(Duration::ZERO);
        queue.segments.clear();
        queue.len = 0;
        queue.held = false;
        queue.ended = Some((Ended::Reset, Duration::ZERO));
        let wakers = [queue.reader.take(), queue.writer.take()];
        drop(queue);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// One end of an in-memory connection.
pub struct Pipe {
    incoming: Arc<Direction>,
    outgoing: Arc<Direction>,
}

/// Creates two connected ends with at most `capacity` bytes (at least 1) in transit in each
/// direction. Written bytes arrive immediately.
#[must_use]
pub fn pair(capacity: usize, on_drop: OnDrop) -> (Pipe, Pipe) {
    connect(Options {
        capacity: capacity.max(1),
        on_drop,
        delay: None,
    })
}

/// Creates the ends of a virtual TCP connection with at most `capacity` bytes (at least 1) in
/// transit in each direction.
pub(crate) fn connect_with(capacity: usize, delay: Arc<dyn Delay>) -> (Pipe, Pipe) {
    connect(Options {
        capacity: capacity.max(1),
        on_drop: OnDrop::Finish,
        delay: Some(delay),
    })
}

fn connect(options: Options) -> (Pipe, Pipe) {
    let outbound = Direction::new(options.clone());
    let inbound = Direction::new(options);
    let far = Pipe {
        incoming: Arc::clone(&outbound),
        outgoing: Arc::clone(&inbound),
    };
    let near = Pipe {
        incoming: inbound,
        outgoing: outbound,
    };
    (near, far)
}

impl Pipe {
    /// Returns a handle that can break this connection from outside, as a lost network does.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter {
            incoming: Arc::downgrade(&self.incoming),
            outgoing: Arc::downgrade(&self.outgoing),
        }
    }
}

/// Breaks a connection from outside. It does not keep the connection open.
pub struct Cutter {
    incoming: std::sync::Weak<Direction>,
    outgoing: std::sync::Weak<Direction>,
}

impl Cutter {
    /// Breaks the connection: both ends get [`io::ErrorKind::ConnectionReset`], and bytes in
    /// transit are lost.
    pub fn cut(&self) {
        for direction in [&self.incoming, &self.outgoing] {
            if let Some(direction) = direction.upgrade() {
                direction.cut();
            }
        }
    }

    /// Holds back everything in transit, ends included, in both directions, or lets it arrive
    /// again. Neither end notices, as with a cable that is unplugged and plugged in again.
    pub fn hold(&self, held: bool) {
        for direction in [&self.incoming, &self.outgoing] {
            if let Some(direction) = direction.upgrade() {
                direction.hold(held);
            }
        }
    }

    /// Resets both directions that have not finished: each end reads what is in transit, then
    /// [`io::ErrorKind::ConnectionReset`], and cannot write any more.
    pub fn hang_up(&self) {
        for direction in [&self.incoming, &self.outgoing] {
            if let Some(direction) = direction.upgrade() {
                direction.end(Ended::Reset);
            }
        }
    }

    /// Returns whether both ends were dropped.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.incoming.strong_count() == 0 && self.outgoing.strong_count() == 0
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.incoming.poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end(Ended::Finished);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.outgoing.end(match self.outgoing.options.on_drop {
            OnDrop::Finish => Ended::Finished,
            OnDrop::Reset => Ended::Reset,
        });
        self.incoming.abandon();
    }
}

crate::opaque_debug!(Pipe, Cutter);

#[cfg(test)]
mod tests;
