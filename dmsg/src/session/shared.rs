//! What the handles, the streams and the driver of one session have in common.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared as SharedFuture;
use futures::task::AtomicWaker;

use super::room::Room;
use super::unread::Unread;
use super::{CloseReason, SessionConfig, SessionCounters, SessionError, Stream};

/// The highest limit that can be set, for each side.
pub(super) const MOST_STREAMS: usize = 4096;

pub(super) struct Shared {
    max_inbound: usize,
    spare_inbound: usize,
    max_outbound: usize,
    requests: Mutex<Requests>,
    reason: OnceLock<CloseReason>,
    ended: SharedFuture<oneshot::Receiver<()>>,
    /// Wakes the driver's task.
    pub(super) driver: AtomicWaker,
    outbound: AtomicUsize,
    inbound: AtomicUsize,
    /// Streams that were dropped and that yamux may still have in its books.
    dropped: AtomicUsize,
    opened: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Bytes of data that the connection has taken.
    sent: AtomicU64,
    /// For data that the connection has not taken.
    pub(super) room: Room,
    /// Data that has come and was not read.
    pub(super) unread: Unread,
}

#[derive(Default)]
struct Requests {
    open: VecDeque<OpenRequest>,
    closing: bool,
}

/// Someone waits for a stream, and holds a place for it.
pub(super) struct OpenRequest {
    pub(super) permit: Permit,
    pub(super) reply: oneshot::Sender<Stream>,
}

impl Shared {
    pub(super) fn new(config: &SessionConfig, ended: oneshot::Receiver<()>) -> Self {
        Self {
            max_inbound: config.max_inbound.min(MOST_STREAMS),
            spare_inbound: config.spare_inbound.min(MOST_STREAMS),
            max_outbound: config.max_outbound.min(MOST_STREAMS),
            requests: Mutex::default(),
            reason: OnceLock::new(),
            ended: ended.shared(),
            driver: AtomicWaker::new(),
            outbound: AtomicUsize::new(0),
            inbound: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            room: Room::new(config.send_queue, config.send_budget.clone()),
            unread: Unread::new(config.receive_queue, config.receive_budget.clone()),
        }
    }

    pub(super) fn max_streams(&self) -> usize {
        self.max_inbound + self.spare_inbound + self.max_outbound
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request; the driver answers it.
    pub(super) fn request_open(
        self: &Arc<Self>,
    ) -> Result<oneshot::Receiver<Stream>, SessionError> {
        let permit = self.permit(Side::Outbound).or_else(|| {
            self.forget_cancelled();
            self.permit(Side::Outbound)
        });
        let (reply, opened) = oneshot::channel();
        {
            let mut requests = self.requests();
            if !requests.closing {
                let permit = permit.ok_or(SessionError::TooManyStreams)?;
                requests.open.push_back(OpenRequest { permit, reply });
            }
            // When closing, `reply` is dropped: the caller then learns the reason.
        }
        self.driver.wake();
        Ok(opened)
    }

    /// Frees the places of those who no longer wait.
    fn forget_cancelled(&self) {
        self.requests()
            .open
            .retain(|request| !request.reply.is_canceled());
    }

    pub(super) fn next_request(&self) -> Option<OpenRequest> {
        let mut requests = self.requests();
        loop {
            let next = requests.open.pop_front()?;
            if !next.reply.is_canceled() {
                return Some(next);
            }
        }
    }

    /// Puts back a request that cannot be served yet.
    pub(super) fn postpone(&self, request: OpenRequest) {
        self.requests().open.push_front(request);
    }

    pub(super) fn request_close(&self) {
        let refused = {
            let mut requests = self.requests();
            requests.closing = true;
            std::mem::take(&mut requests.open)
        };
        drop(refused);
        self.driver.wake();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.requests().closing
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
        self.request_close();
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
            shared: self.clone(),
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

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Acquire)
    }

    /// yamux has forgotten `n` of the dropped streams.
    pub(super) fn forget_dropped(&self, n: usize) {
        self.dropped.fetch_sub(n, Ordering::AcqRel);
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
    shared: Arc<Shared>,
    side: Side,
    /// It is one of those beyond the limit.
    pub(super) is_spare: bool,
}

impl Permit {
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
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
