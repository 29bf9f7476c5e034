//! What a session's driver, its handles and its streams have in common.

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

/// The highest limit that can be set, for each side.
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
    /// For data that the connection has not taken.
    pub(super) room: Room,
    /// For data that has come and was not read.
    pub(super) unread: Share,
}

/// What only one of them may touch at a time.
pub(super) struct State {
    pub(super) mux: Mux,
    /// Who waits for what on which stream.
    waiting: BTreeMap<(u32, Wish), Waker>,
    /// Who waits for the peer to take in streams of ours.
    openers: Vec<Waker>,
    pub(super) is_closing: bool,
}

/// What a stream's user waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    Read,
    Write,
    /// That the stream is reset because too much was left unread.
    Cut,
}

impl Wish {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Cut];
}

impl State {
    /// Wakes `cx`'s task once it may be so.
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

    /// A stream's user is gone. Whose wakers those were may have streams, too: drop them only when
    /// the state is free.
    #[must_use]
    pub(super) fn leave(&mut self, id: u32) -> [Option<Waker>; 3] {
        self.mux.leave(id);
        self.wake_openers();
        Wish::ALL.map(|wish| self.waiting.remove(&(id, wish)))
    }

    /// Resets streams until no more than `most` bytes are unread; says how many.
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

    /// A stream of ours, once the peer has room for one.
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

    /// Nothing more is opened, and the driver ends once all is sent.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closing = true;
        state.openers.drain(..).for_each(Waker::wake);
        drop(state);
        self.driver.wake();
    }

    /// Takes in how much waits for the connection; says whether that has become more.
    pub(super) fn note_output(&self, state: &State) -> bool {
        let before = self.room.queued();
        let unsent = state.mux.unsent();
        self.room.set(unsent);
        unsent > before
    }

    /// The connection has taken `bytes` more, and `queued` wait for it.
    pub(super) fn count_sent(&self, bytes: usize, queued: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.room.set(queued);
    }

    /// Bytes that the connection has not taken, and that it has.
    pub(super) fn sending(&self) -> (usize, u64) {
        (self.room.queued(), self.sent.load(Ordering::Relaxed))
    }

    /// The driver ends with this reason. Only the first one counts. All who wait go on, and find it.
    pub(super) fn end(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
        let mut state = self.state();
        state.is_closing = true;
        state.wake_everybody();
        drop(state);
        self.room.close();
    }

    /// Why the session ended, or is about to.
    pub(super) fn reason(&self) -> CloseReason {
        self.reason.get().cloned().unwrap_or(CloseReason::Local)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.reason.get().is_some()
    }

    pub(super) async fn ended(&self) -> CloseReason {
        // Dropped by the driver, or fulfilled: over either way.
        let _ = self.ended.clone().await;
        self.reason()
    }

    /// Takes a place for one stream, unless all are taken.
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

/// A place among the session's streams, given back on drop.
pub(super) struct Permit {
    pub(super) shared: Arc<Shared>,
    side: Side,
    /// It is one of those beyond the limit.
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
