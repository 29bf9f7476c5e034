//! The future that drives a session.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::{mpsc, oneshot};
use futures_io::{AsyncRead, AsyncWrite};

use super::config::CloseReason;
use super::shared::{Shared, Side, State, Wish};
use super::stream::Stream;
use crate::keepalive::Keepalive;
use crate::mux::{Event, Violation};
use crate::secure::SecureError;

/// Maximum bytes read in one turn, so that other tasks can run.
const READ_BUDGET: usize = 256 * 1024;

/// Drives one session; completes when it is over. Spawn it.
#[must_use = "a session does nothing unless its driver runs"]
pub struct Driver<IO> {
    /// `None` when the session is over.
    io: Option<IO>,
    shared: Arc<Shared>,
    keepalive: Keepalive,
    queue: mpsc::Sender<Stream>,
    ended: Option<oneshot::Sender<()>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(super) fn new(
        io: IO,
        shared: Arc<Shared>,
        queue: mpsc::Sender<Stream>,
        ended: oneshot::Sender<()>,
    ) -> Self {
        Self {
            io: Some(io),
            shared,
            keepalive: Keepalive::default(),
            queue,
            ended: Some(ended),
        }
    }

    /// Performs one turn: sends and reads until nothing more is possible, then flushes once.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if self.keepalive.take_ping_request(cx.waker()) {
            self.shared.state().mux.ping();
        }
        let mut budget = READ_BUDGET;
        loop {
            let is_blocked = self.send(cx)?;
            let wanted = self.receive(cx, &mut budget)?;
            // Reading produces answers to send, and sending may allow further reads.
            let state = self.shared.state();
            let has_output = state.mux.unsent() > 0;
            let is_closing = state.is_closing;
            let goes_on = !is_blocked && (has_output || wanted != state.mux.wants_input());
            drop(state);
            if goes_on {
                continue;
            }
            let is_flushed = self.flush(cx)?;
            if is_closing && !has_output && is_flushed {
                return Err(CloseReason::Local);
            }
            return Ok(());
        }
    }

    /// Writes queued output to the connection. Returns whether the connection takes no more.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        let Some(io) = &mut self.io else {
            return Ok(true);
        };
        let mut state = self.shared.state();
        let mut taken = 0;
        let is_blocked = loop {
            let output = state.mux.output();
            if output.is_empty() {
                break false;
            }
            match Pin::new(&mut *io).poll_write(cx, output) {
                Poll::Pending => break true,
                Poll::Ready(Ok(0)) => return Err(CloseReason::Io(io::ErrorKind::WriteZero)),
                Poll::Ready(Ok(written)) => {
                    state.mux.sent(written);
                    taken += written;
                }
                Poll::Ready(Err(error)) => return Err(reason(&error)),
            }
        };
        self.shared.count_sent(taken, state.mux.unsent());
        state.wake_openers();
        Ok(is_blocked)
    }

    /// Reads until nothing has arrived, and handles the events. Returns whether more could be read
    /// at the end.
    fn receive(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<bool, CloseReason> {
        let Some(io) = &mut self.io else {
            return Ok(true);
        };
        // Streams over the backlog. Dropped after the state is unlocked, because their drop locks
        // it.
        let mut refused = Vec::new();
        let mut state = self.shared.state();
        let before = *budget;
        let frames = state.mux.frames();
        let result = loop {
            if !state.mux.wants_input() {
                break Ok(false);
            }
            if *budget == 0 {
                cx.waker().wake_by_ref();
                break Ok(true);
            }
            let space = state.mux.space();
            let most = space.len().min(*budget);
            match Pin::new(&mut *io).poll_read(cx, &mut space[..most]) {
                Poll::Pending => break Ok(true),
                Poll::Ready(Err(error)) => break Err(reason(&error)),
                Poll::Ready(Ok(0)) if state.mux.is_between_frames() => {
                    break Err(CloseReason::Remote);
                }
                Poll::Ready(Ok(0)) => {
                    break Err(CloseReason::Io(io::ErrorKind::UnexpectedEof));
                }
                Poll::Ready(Ok(read)) => {
                    *budget -= read;
                    if let Err(violation) = state.mux.received(read) {
                        break Err(violated(&mut state, io, cx, violation));
                    }
                }
            }
            if let Err(reason) = hand_out(&self.shared, &mut state, &mut self.queue, &mut refused) {
                break Err(reason);
            }
        };
        for _ in frames..state.mux.frames() {
            self.keepalive.count_received();
        }
        if *budget < before {
            self.shared.unread.set(state.mux.held());
            self.shared.note_output(&state);
            state.wake_openers();
        }
        drop(state);
        drop(refused);
        if *budget < before {
            self.shared.unread.enforce(&*self.shared);
        }
        result
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        // Flush also without data: the connection may have a keepalive to send.
        match self.io.as_mut().map(|io| Pin::new(io).poll_flush(cx)) {
            Some(Poll::Pending) => Ok(false),
            Some(Poll::Ready(Err(error))) => Err(reason(&error)),
            Some(Poll::Ready(Ok(()))) | None => Ok(true),
        }
    }

    fn end(&mut self, reason: CloseReason) {
        self.io = None;
        self.queue.close_channel();
        self.shared.end(reason);
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(());
        }
    }
}

impl<IO> Driver<IO> {
    /// Returns the bytes that the connection has not taken yet, and those that it has.
    pub(super) fn sending(&self) -> (usize, u64) {
        self.shared.sending()
    }

    /// Returns how many of the peer's streams were queued for [`Incoming`](super::Incoming).
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted()
    }

    /// Returns a handle to ping the peer and to detect a dead one.
    #[must_use]
    pub fn keepalive(&self) -> Keepalive {
        self.keepalive.clone()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Driver<IO> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.shared.driver.register(cx.waker());
        match self.turn(cx) {
            Ok(()) => Poll::Pending,
            Err(reason) => {
                self.end(reason.clone());
                Poll::Ready(reason)
            }
        }
    }
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.queue.close_channel();
            self.shared.end(CloseReason::Dropped);
        }
    }
}

/// Wakes the tasks whose streams have an event, and queues the peer's new streams.
fn hand_out(
    shared: &Arc<Shared>,
    state: &mut State,
    queue: &mut mpsc::Sender<Stream>,
    refused: &mut Vec<Stream>,
) -> Result<(), CloseReason> {
    while let Some(event) = state.mux.poll_event() {
        match event {
            Event::Readable(id) => state.wake(id, Wish::Read),
            Event::Writable(id) => state.wake(id, Wish::Write),
            Event::GoAway => return Err(CloseReason::Remote),
            Event::Opened(id) => match shared.permit(Side::Inbound) {
                None => {
                    drop(state.leave(id));
                    shared.count_refused();
                }
                Some(permit) => match queue.try_send(Stream::new(id, permit)) {
                    Ok(()) => shared.count_accepted(),
                    Err(error) => {
                        shared.count_refused();
                        refused.push(error.into_inner());
                    }
                },
            },
        }
    }
    Ok(())
}

/// Returns the close reason of a violation, after an attempt to send a go-away without waiting.
fn violated<IO: AsyncWrite + Unpin>(
    state: &mut State,
    io: &mut IO,
    cx: &mut Context<'_>,
    violation: Violation,
) -> CloseReason {
    if violation == Violation::Smux {
        return CloseReason::Smux;
    }
    state.mux.go_away();
    loop {
        let output = state.mux.output();
        match Pin::new(&mut *io).poll_write(cx, output) {
            Poll::Ready(Ok(written @ 1..)) => state.mux.sent(written),
            _ => break,
        }
    }
    let _ = Pin::new(io).poll_flush(cx);
    CloseReason::Protocol(violation.to_string().into())
}

fn reason(error: &io::Error) -> CloseReason {
    match SecureError::of(error) {
        Some(error) => CloseReason::Secure(error),
        None => CloseReason::Io(error.kind()),
    }
}
