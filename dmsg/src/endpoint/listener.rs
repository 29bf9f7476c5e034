//! Streams that wait to be accepted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::porter::Porter;
use super::stream::DmsgStream;
use crate::object::ErrorCode;

#[derive(Default)]
struct State {
    waiting: VecDeque<DmsgStream>,
    /// Places held by streams whose handshake is under way.
    held: usize,
    closed: bool,
    taker: Option<Waker>,
}

/// The queue of one listener.
pub(super) struct Queue {
    capacity: usize,
    state: Mutex<State>,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets what waits; nothing more comes.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let taker = state.taker.take();
        drop(state);
        drop(waiting);
        taker.into_iter().for_each(Waker::wake);
    }

    fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<DmsgStream>> {
        let mut state = self.lock();
        if let Some(stream) = state.waiting.pop_front() {
            return Poll::Ready(Some(stream));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.taker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A place in a queue, given back on drop.
pub(super) struct Place(Arc<Queue>);

impl Place {
    pub(super) fn hold(queue: Arc<Queue>) -> Result<Self, ErrorCode> {
        {
            let mut state = queue.lock();
            if state.closed {
                return Err(ErrorCode::NoListener);
            }
            if state.waiting.len() + state.held >= queue.capacity {
                return Err(ErrorCode::AcceptQueueFull);
            }
            state.held += 1;
        }
        Ok(Self(queue))
    }

    /// Fills the place.
    pub(super) fn deliver(self, stream: DmsgStream) {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            return drop(stream);
        }
        state.waiting.push_back(stream);
        let taker = state.taker.take();
        drop(state);
        taker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().held -= 1;
    }
}

/// Accepts the streams that others open to one port. Dropping it closes the port.
pub struct Listener {
    pub(super) porter: Porter,
    pub(super) port: u16,
    pub(super) queue: Arc<Queue>,
}

impl Listener {
    /// The next stream; none once the client or server is closed. Cancel-safe. While nobody
    /// accepts, streams beyond the queue are refused with [`ErrorCode::AcceptQueueFull`], and
    /// those who dial try again.
    pub async fn accept(&mut self) -> Option<DmsgStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The same, polled.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<DmsgStream>> {
        self.queue.poll_pop(cx)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.porter.unlisten(self.port, &self.queue);
        self.queue.close();
    }
}
