//! The task of one session: drives it, passes on the peer's streams, sends keepalives, and ends it
//! when it is idle, lost or no longer wanted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::oneshot;
use futures::{FutureExt as _, StreamExt as _};
use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, Path};
use skydht_dmsg::keepalive::Keepalive;
use skydht_dmsg::secure::Secure;
use skydht_dmsg::session::{CloseReason, Driver, Incoming, Role, Session, Stall};
use skydht_runtime::{BoxFuture, Runtime};

use super::TcpInner;
use super::table::{Added, LiveSession};
use crate::transport::Accepted;

/// Interval between two checks whether a retired session has no streams any more and can be closed.
/// The first check waits as long, since the peer may not know of the other session yet.
const RETIRED_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Number of checks after which a retired session is ended with its streams.
const RETIRED_CHECKS: usize = 15;
/// Keepalive intervals without any data from the peer after which it is lost.
const MAX_SILENT_INTERVALS: u32 = 3;

/// Creates a session over an encrypted connection and spawns its task.
pub(super) fn establish<R: Runtime>(
    shared: &Arc<TcpInner<R>>,
    peer: PublicKey,
    secure: Secure<R::Connection>,
    role: Role,
    path: Path,
) -> Result<(), OpenFailure> {
    let keepalive = secure.keepalive();
    let (session, incoming, driver) = Session::new(secure, role, &shared.session_config(path));
    let now = shared.runtime.clocks().monotonic;
    let added = shared
        .table()
        .add(now, &shared.key, peer, session, role, path)?;
    let Added {
        live,
        killed,
        retired,
    } = added;
    if let Some(retired) = retired {
        retire(shared, peer, retired);
    }
    let mut task = SessionTask {
        shared: Arc::clone(shared),
        peer,
        live,
        driver,
        incoming: Some(incoming),
        taken: None,
        killed,
        tick: shared.runtime.sleep(shared.options.keepalive),
        received: keepalive.received(),
        keepalive,
        silent: 0,
        stall: Stall::new(shared.runtime.clone()),
    };
    shared
        .runtime
        .spawn(Box::pin(std::future::poll_fn(move |cx| task.poll(cx))));
    Ok(())
}

/// Spawns a task that closes a session once its streams have ended, or after [`RETIRED_CHECKS`]
/// checks.
fn retire<R: Runtime>(shared: &Arc<TcpInner<R>>, peer: PublicKey, live: LiveSession) {
    let retiring = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        for _ in 0..RETIRED_CHECKS {
            retiring.runtime.sleep(RETIRED_CHECK_INTERVAL).await;
            if !live.has_streams() {
                return live.session.close();
            }
        }
        retiring.table().ended(&peer, live.id);
    }));
}

struct SessionTask<R: Runtime> {
    shared: Arc<TcpInner<R>>,
    peer: PublicKey,
    live: LiveSession,
    driver: Driver<Secure<R::Connection>>,
    /// `None` after its end.
    incoming: Option<Incoming>,
    /// Number of accepted streams when `incoming` was last found empty; `None` before the first look.
    taken: Option<u64>,
    killed: oneshot::Receiver<()>,
    tick: BoxFuture<'static, ()>,
    keepalive: Keepalive,
    /// Value of `keepalive.received()` at the last tick.
    received: u64,
    /// Consecutive ticks without data from the peer.
    silent: u32,
    stall: Stall<R>,
}

impl<R: Runtime> SessionTask<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = match Pin::new(&mut self.driver).poll(cx) {
            Poll::Ready(reason) => Some(reason),
            Poll::Pending => self.poll_rest(cx),
        };
        match end {
            Some(reason) => {
                self.end(&reason);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Option<CloseReason> {
        if self.killed.poll_unpin(cx).is_ready() {
            return Some(CloseReason::Dropped);
        }
        self.poll_incoming(cx);
        if self.stall.poll(cx, &self.driver).is_ready() {
            return Some(CloseReason::Io(std::io::ErrorKind::TimedOut));
        }
        while self.tick.as_mut().poll(cx).is_ready() {
            self.tick = self.shared.runtime.sleep(self.shared.options.keepalive);
            if self.is_lost() {
                return Some(CloseReason::Io(std::io::ErrorKind::TimedOut));
            }
        }
        None
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) {
        // Only this task's driver adds to them, and it closes the queue when it ends.
        let accepted = self.driver.accepted();
        if self.taken == Some(accepted) {
            return;
        }
        while let Some(incoming) = &mut self.incoming {
            // Without room, the peer's streams wait in the session, which has a limit of its own.
            if self.shared.inbox.poll_room(cx).is_pending() {
                return;
            }
            match incoming.poll_next_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.incoming = None,
                Poll::Ready(Some(stream)) => {
                    self.live.touch(&self.shared.runtime);
                    self.shared.inbox.push(Accepted {
                        peer: self.peer,
                        path: self.live.path,
                        stream,
                    });
                }
            }
        }
        self.taken = Some(accepted);
    }

    /// Sends a keepalive and closes the session if it is idle. Returns whether the peer has been
    /// silent for too long.
    fn is_lost(&mut self) -> bool {
        let received = self.keepalive.received();
        self.silent = if received == self.received {
            self.silent + 1
        } else {
            0
        };
        self.received = received;
        self.keepalive.request_ping();
        let now = self.shared.runtime.clocks().monotonic;
        if self.live.has_streams() {
            self.live.touch(&self.shared.runtime);
        } else if now.saturating_sub(self.live.used()) >= self.shared.options.idle_timeout
            && !self.live.session.is_closed()
        {
            self.shared.table().stats_mut().idle_closed += 1;
            self.live.session.close();
        }
        self.silent >= MAX_SILENT_INTERVALS
    }

    fn end(&mut self, reason: &CloseReason) {
        let mut table = self.shared.table();
        if !matches!(
            reason,
            CloseReason::Local | CloseReason::Remote | CloseReason::Dropped
        ) && !table.is_retired(&self.peer, self.live.id)
        {
            table.stats_mut().lost += 1;
        }
        table.ended(&self.peer, self.live.id);
    }
}
