//! What a session's driver, its handles and its streams have in common.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared;
use futures::task::AtomicWaker;

use super::config::{CloseReason, SessionConfig, SessionCounters};
use super::room::Room;
use super::unread::Unread;

/// The highest limit that can be set, for each side.
pub(super) const MOST_STREAMS: usize = 4096;

pub(super) struct SessionContext {
    max_inbound: usize,
    spare_inbound: usize,
    max_outbound: usize,
    reason: OnceLock<CloseReason>,
    ended: Shared<oneshot::Receiver<()>>,
    /// Wakes the driver's task.
    pub(super) driver: AtomicWaker,
    outbound: AtomicUsize,
    inbound: AtomicUsize,
    opened: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Bytes of data that the connection has taken.
    sent: AtomicU64,
    /// For data that the connection has not taken.
    pub(super) room: Room,
    /// yamux's streams, and their data that has come and was not read.
    pub(super) unread: Arc<Unread>,
}

impl SessionContext {
    pub(super) fn new(config: &SessionConfig, ended: oneshot::Receiver<()>) -> Self {
        let (queue, budget) = (config.receive_queue, config.receive_budget.clone());
        Self {
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
            unread: Unread::enter(queue, budget, config.source),
        }
    }

    pub(super) fn max_streams(&self) -> usize {
        self.max_inbound + self.spare_inbound + self.max_outbound
    }

    /// The connection has taken `n` bytes of data.
    pub(super) fn count_sent(&self, n: usize) {
        self.sent.fetch_add(n as u64, Ordering::Relaxed);
        self.room.sub(n);
    }

    /// Bytes of data that the connection has not taken, and that it has.
    pub(super) fn sending(&self) -> (usize, u64) {
        (self.room.queued(), self.sent.load(Ordering::Relaxed))
    }

    /// The driver ends with this reason. Only the first one counts.
    pub(super) fn end(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
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
            context: Arc::clone(self),
            side,
            is_spare: before >= limit,
        })
    }

    pub(super) fn count_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Outbound,
    Inbound,
}

/// A place among the session's streams, given back on drop.
pub(super) struct Permit {
    context: Arc<SessionContext>,
    side: Side,
    /// It is one of those beyond the limit.
    pub(super) is_spare: bool,
}

impl Permit {
    pub(super) fn context(&self) -> &SessionContext {
        &self.context
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let count = match self.side {
            Side::Outbound => &self.context.outbound,
            Side::Inbound => &self.context.inbound,
        };
        count.fetch_sub(1, Ordering::AcqRel);
    }
}
