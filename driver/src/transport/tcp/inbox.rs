//! The streams that peers opened, from all sessions to the one loop.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use skydht_dmsg::session::Stream;

use crate::transport::Accepted;

/// Streams that may wait for the loop. Beyond, sessions keep theirs; a session whose own
/// backlog is full resets more.
const CAPACITY: usize = 1_024;

#[derive(Default)]
struct State {
    waiting: VecDeque<Accepted<Stream>>,
    closed: bool,
    /// The loop.
    taker: Option<Waker>,
    /// Sessions that wait for room.
    givers: Vec<Waker>,
}

#[derive(Default)]
pub(super) struct Inbox(Mutex<State>);

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when there is room for one more.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.waiting.len() < CAPACITY || state.closed {
            return Poll::Ready(());
        }
        if !state.givers.iter().any(|giver| giver.will_wake(cx.waker())) {
            state.givers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Adds one; after the close it is dropped, hence reset.
    pub(super) fn push(&self, accepted: Accepted<Stream>) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return drop(accepted);
        }
        state.waiting.push_back(accepted);
        let taker = state.taker.take();
        drop(state);
        taker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Accepted<Stream>>> {
        let mut state = self.lock();
        if let Some(accepted) = state.waiting.pop_front() {
            let givers = std::mem::take(&mut state.givers);
            drop(state);
            givers.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(accepted));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        match &mut state.taker {
            Some(taker) => taker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let wakers = std::mem::take(&mut state.givers)
            .into_iter()
            .chain(state.taker.take());
        drop(state);
        drop(waiting);
        wakers.for_each(Waker::wake);
    }
}
