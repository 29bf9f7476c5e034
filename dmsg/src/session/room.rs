//! Room for data that streams hand over and the connection has not taken: bounded for a session,
//! and over all sessions that share a budget.
//!
//! Without it a peer that reads nothing would be owed a window for each stream.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What every session may queue, even when the budget is spent: one frame of data.
pub(super) const LEAST: usize = 32 * 1024;
/// A budget unless told otherwise, in bytes.
const DEFAULT_BUDGET: usize = 32 << 20;

/// A bound on the data queued in many sessions together. Beyond it, each may still queue 32 KiB.
/// Clones are the same budget.
#[derive(Clone, Debug)]
pub struct SendBudget(Arc<Total>);

#[derive(Debug)]
struct Total {
    limit: usize,
    queued: AtomicUsize,
}

impl SendBudget {
    /// One of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Total {
            limit,
            queued: AtomicUsize::new(0),
        }))
    }

    /// Bytes queued now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.queued.load(SeqCst)
    }

    fn is_spent(&self) -> bool {
        self.queued() >= self.0.limit
    }
}

impl Default for SendBudget {
    fn default() -> Self {
        Self::new(DEFAULT_BUDGET)
    }
}

/// One session's queue, in bytes.
pub(super) struct Room {
    limit: usize,
    budget: SendBudget,
    queued: AtomicUsize,
    closed: AtomicBool,
    has_waiting: AtomicBool,
    /// Streams that wait for room.
    waiting: Mutex<Vec<Waker>>,
}

impl Room {
    pub(super) fn new(limit: usize, budget: SendBudget) -> Self {
        Self {
            limit: limit.max(LEAST),
            budget,
            queued: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            has_waiting: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(SeqCst)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let limit = if self.budget.is_spent() {
            LEAST
        } else {
            self.limit
        };
        self.queued() < limit || self.closed.load(SeqCst)
    }

    /// Ready when a stream may hand over some data, and when the session is over.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        self.has_waiting.store(true, SeqCst);
        // It may have been drained meanwhile, by a task that saw no waiter.
        if self.has_room() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// So many bytes wait now. Not for two threads at the same time.
    pub(super) fn set(&self, queued: usize) {
        let before = self.queued.swap(queued, SeqCst);
        if queued >= before {
            let more = queued - before;
            self.budget.0.queued.fetch_add(more, SeqCst);
            return;
        }
        self.budget.0.queued.fetch_sub(before - queued, SeqCst);
        // A waiter saw at least this much queued, so that this comes about for sure.
        let enough = if self.budget.is_spent() {
            LEAST / 2
        } else {
            self.limit / 2
        };
        if self.queued() <= enough && self.has_waiting.load(SeqCst) {
            self.wake();
        }
    }

    /// The session is over: nothing waits any more.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let mut waiting = self.waiting();
        self.has_waiting.store(false, SeqCst);
        let wakers = std::mem::take(&mut *waiting);
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What the connection never took is gone with it.
        let left = self.queued.load(SeqCst);
        self.budget.0.queued.fetch_sub(left, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    fn has_room(room: &Room) -> bool {
        room.poll(&Context::from_waker(noop_waker_ref())).is_ready()
    }

    #[test]
    fn a_session_and_all_together_have_a_bound() {
        let budget = SendBudget::new(10 * LEAST);
        let rooms: Vec<Room> = (0..20)
            .map(|_| Room::new(4 * LEAST, budget.clone()))
            .collect();
        for room in &rooms {
            while has_room(room) {
                room.set(room.queued() + LEAST);
            }
        }
        let queued: Vec<usize> = rooms.iter().map(|room| room.queued() / LEAST).collect();
        // Two take all they may; the third spends the budget; each other one has the least.
        assert_eq!(queued[..4], [4, 4, 2, 1]);
        assert!(queued[3..].iter().all(|n| *n == 1));
        assert_eq!(budget.queued(), (10 + 17) * LEAST);
        drop(rooms);
        assert_eq!(budget.queued(), 0);
    }
}
