//! Limits of outgoing data that the connection has not taken yet, per session and over all sessions
//! that share a budget.
//!
//! Without them, a peer that reads nothing could make us hold a full window for each stream.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Bytes that each session may queue even when the budget is spent: one frame of data.
pub(super) const LEAST: usize = 32 * 1024;
/// Default limit of a budget, in bytes.
const DEFAULT_BUDGET: usize = 32 << 20;

/// A limit of the data queued in many sessions together. Beyond it, each session may still queue 32
/// KiB. Clones share the budget.
#[derive(Clone, Debug)]
pub struct SendBudget(Arc<SendBudgetInner>);

#[derive(Debug)]
struct SendBudgetInner {
    limit: usize,
    queued: AtomicUsize,
}

impl SendBudget {
    /// Creates a budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(SendBudgetInner {
            limit,
            queued: AtomicUsize::new(0),
        }))
    }

    /// Returns the number of bytes queued.
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

/// Accounts for the outgoing data of one session, in bytes.
pub(super) struct Room {
    limit: usize,
    budget: SendBudget,
    queued: AtomicUsize,
    closed: AtomicBool,
    /// Whether `waiting` may hold wakers, so that `set` rarely needs its lock.
    has_waiting: AtomicBool,
    /// Tasks of the streams that wait for room.
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

    /// Completes when a stream may hand over data, and when the session is over.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        self.has_waiting.store(true, SeqCst);
        // A task that saw no waiter may have drained the queue since the first check.
        if self.has_room() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sets the number of queued bytes. Callers must not run concurrently.
    pub(super) fn set(&self, queued: usize) {
        let before = self.queued.swap(queued, SeqCst);
        if queued >= before {
            let more = queued - before;
            self.budget.0.queued.fetch_add(more, SeqCst);
            return;
        }
        self.budget.0.queued.fetch_sub(before - queued, SeqCst);
        // A waiter was refused while data was queued, so the queue falls to this mark and wakes it.
        let enough = if self.budget.is_spent() {
            LEAST / 2
        } else {
            self.limit / 2
        };
        if self.queued() <= enough && self.has_waiting.load(SeqCst) {
            self.wake();
        }
    }

    /// Ends all waiting, because the session is over.
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
        // Return the bytes that the connection never took to the budget.
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
        // Two sessions reach their limit, the third spends the budget, and each other one has the
        // minimum.
        assert_eq!(queued[..4], [4, 4, 2, 1]);
        assert!(queued[3..].iter().all(|n| *n == 1));
        assert_eq!(budget.queued(), (10 + 17) * LEAST);
        drop(rooms);
        assert_eq!(budget.queued(), 0);
    }
}
