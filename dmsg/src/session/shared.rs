//! State shared by a session's driver, its handles and its streams.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared as SharedFuture;
use futures::task::AtomicWaker;

use super::config::{CloseReason, SessionConfig, SessionCounters, SessionError};
use super::room::Room;
use super::unread::{Holder, Share};
use crate::mux::{Mux, Role};

/// Highest effective limit of streams, for each side.
const MOST_STREAMS: usize = 4096;

pub(super) struct Shared {
    state: Mutex<State>,
    max_inbound: usize,
    spare_inbound: usize,
    max_outbound: usize,
    reason: OnceLock<CloseReason>,
    ended: SharedFuture<oneshot::Receiver<()>>,
    /// Wakes the driver's task.
    pub(super) driver: AtomicWaker,
    outbound: AtomicUsize,
    inbound: AtomicUsize,
    opened: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Bytes that the connection has taken.
    sent: AtomicU64,
    /// Accounts for outgoing data that the connection has not taken.
    pub(super) room: Room,
    /// Accounts for received data that was not read.
    pub(super) unread: Share,
}

/// The multiplexer with its waiters, behind the session's lock.
pub(super) struct State {
    pub(super) mux: Mux,
    /// Wakers by stream and event.
    waiting: BTreeMap<(u32, Wish), Waker>,
    /// Tasks that wait until the peer has acknowledged some of our streams.
    openers: Vec<Waker>,
    pub(super) is_closing: bool,
}

/// The event of a stream that a task waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    Read,
    Write,
    /// The stream is reset because too much of its session's data is unread.
    Cut,
}

impl Wish {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Cut];
}

impl State {
    /// Stores `cx`'s waker until [`Self::wake`] is called for this event.
    pub(super) fn wait(&mut self, id: u32, wish: Wish, cx: &Context<'_>) {
        self.waiting
            .entry((id, wish))
            .and_modify(|waker| waker.clone_from(cx.waker()))
            .or_insert_with(|| cx.waker().clone());
    }

    pub(super) fn wake(&mut self, id: u32, wish: Wish) {
        if let Some(waker) = self.waiting.remove(&(id, wish)) {
            waker.wake();
        }
    }

    pub(super) fn wake_openers(&mut self) {
        if !self.openers.is_empty() && self.mux.can_open() {
            self.openers.drain(..).for_each(Waker::wake);
        }
    }

    /// Releases a stream that its user dropped. Drop the returned wakers only after unlocking the
    /// state: their tasks may own streams, whose drop locks it again.
    #[must_use]
    pub(super) fn leave(&mut self, id: u32) -> [Option<Waker>; 3] {
        self.mux.leave(id);
        self.wake_openers();
        Wish::ALL.map(|wish| self.waiting.remove(&(id, wish)))
    }

    /// Resets streams until at most `most` bytes are unread, and returns how many it reset.
    fn cut_down_to(&mut self, most: usize) -> usize {
        let cut = self.mux.cut_down_to(most);
        for id in &cut {
            for wish in Wish::ALL {
                self.wake(*id, wish);
            }
        }
        cut.len()
    }

    fn wake_everybody(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().for_each(Waker::wake);
        self.openers.drain(..).for_each(Waker::wake);
    }
}

impl Shared {
    pub(super) fn new(
        role: Role,
        config: &SessionConfig,
        ended: oneshot::Receiver<()>,
    ) -> Arc<Self> {
        let state = State {
            mux: Mux::new(role),
            waiting: BTreeMap::new(),
            openers: Vec::new(),
            is_closing: false,
        };
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            state: Mutex::new(state),
            max_inbound: config.max_inbound.min(MOST_STREAMS),
            spare_inbound: config.spare_inbound.min(MOST_STREAMS),
            max_outbound: config.max_outbound.min(MOST_STREAMS),
            reason: OnceLock::new(),
            ended: ended.shared(),
            driver: AtomicWaker::new(),
            outbound: AtomicUsize::new(0),
            inbound: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            room: Room::new(config.send_queue, config.send_budget.clone()),
            unread: config
                .receive_budget
                .enter(config.receive_queue, config.source, this.clone()),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream, once the peer has acknowledged enough of ours.
    pub(super) fn poll_open(
        self: &Arc<Self>,
        cx: &Context<'_>,
        permit: &mut Option<Permit>,
    ) -> Poll<Result<(u32, Permit), SessionError>> {
        let mut state = self.state();
        if state.is_closing {
            drop(state);
            return Poll::Ready(Err(SessionError::Closed(self.reason())));
        }
        let Some(held) = permit.take().or_else(|| self.permit(Side::Outbound)) else {
            return Poll::Ready(Err(SessionError::TooManyStreams));
        };
        match state.mux.open() {
            Some(id) => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(Ok((id, held)))
            }
            None => {
                *permit = Some(held);
                if !state.openers.iter().any(|it| it.will_wake(cx.waker())) {
                    state.openers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Marks the session as closing: nothing more is opened, and the driver ends once everything is
    /// sent.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closing = true;
        state.openers.drain(..).for_each(Waker::wake);
        drop(state);
        self.driver.wake();
    }

    /// Updates the amount of queued data. Returns whether it has grown, so that the driver must be
    /// woken.
    pub(super) fn note_output(&self, state: &State) -> bool {
        let before = self.room.queued();
        let unsent = state.mux.unsent();
        self.room.set(unsent);
        unsent > before
    }

    /// Records that the connection has taken `bytes` more, and that `queued` bytes are left.
    pub(super) fn count_sent(&self, bytes: usize, queued: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.room.set(queued);
    }

    /// Returns the bytes that the connection has not taken yet, and those that it has.
    pub(super) fn sending(&self) -> (usize, u64) {
        (self.room.queued(), self.sent.load(Ordering::Relaxed))
    }

    /// Ends the session with a reason, of which only the first one counts, and wakes all waiters.
    pub(super) fn end(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
        let mut state = self.state();
        state.is_closing = true;
        state.wake_everybody();
        drop(state);
        self.room.close();
    }

    /// Returns why the session ended, or is about to.
    pub(super) fn reason(&self) -> CloseReason {
        self.reason.get().cloned().unwrap_or(CloseReason::Local)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.reason.get().is_some()
    }

    pub(super) async fn ended(&self) -> CloseReason {
        // An error means that the driver was dropped, which also ends the session.
        let _ = self.ended.clone().await;
        self.reason()
    }

    /// Acquires a permit for one stream, unless the limit is reached.
    pub(super) fn permit(self: &Arc<Self>, side: Side) -> Option<Permit> {
        let (count, limit, spare) = match side {
            Side::Outbound => (&self.outbound, self.max_outbound, 0),
            Side::Inbound => (&self.inbound, self.max_inbound, self.spare_inbound),
        };
        let before = count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < limit + spare).then_some(n + 1)
            })
            .ok()?;
        Some(Permit {
            shared: Arc::clone(self),
            side,
            is_spare: before >= limit,
        })
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> SessionCounters {
        SessionCounters {
            opened: self.opened.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            outbound: self.outbound.load(Ordering::Acquire),
            inbound: self.inbound.load(Ordering::Acquire),
        }
    }
}

impl Holder for Shared {
    fn held(&self) -> usize {
        self.unread.held()
    }

    fn cut_down_to(&self, most: usize) -> usize {
        let mut state = self.state();
        let cut = state.cut_down_to(most);
        self.unread.set(state.mux.held());
        drop(state);
        self.driver.wake();
        cut
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Outbound,
    Inbound,
}

/// Permission for one stream of the session, released on drop.
pub(super) struct Permit {
    pub(super) shared: Arc<Shared>,
    side: Side,
    /// Whether it is beyond the limit, within [`SessionConfig::spare_inbound`].
    pub(super) is_spare: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let count = match self.side {
            Side::Outbound => &self.shared.outbound,
            Side::Inbound => &self.shared.inbound,
        };
        count.fetch_sub(1, Ordering::AcqRel);
    }
}
