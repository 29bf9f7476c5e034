//! Notifies several tasks that something has changed.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

#[derive(Default)]
struct SignalState {
    version: u64,
    waiting: Vec<Waker>,
}

/// A version number that only rises, and the tasks that wait for it to rise.
#[derive(Default)]
pub(crate) struct Signal(Mutex<SignalState>);

impl Signal {
    fn lock(&self) -> MutexGuard<'_, SignalState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current version. Read it before the state, then wait until it is exceeded.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(crate) fn raise(&self) {
        let mut state = self.lock();
        state.version += 1;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Completes once `holds` returns true; it is called now and after every raise.
    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let seen = self.version();
            if holds() {
                return;
            }
            self.above(seen).await;
        }
    }

    /// Completes when the version is above `seen`.
    pub(crate) async fn above(&self, seen: u64) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.version > seen {
                return Poll::Ready(());
            }
            if !state
                .waiting
                .iter()
                .any(|known| known.will_wake(cx.waker()))
            {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
