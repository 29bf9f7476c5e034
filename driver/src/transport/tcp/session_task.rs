//! The task of one session: moves its bytes, hands out the peer's streams, keeps it alive, and
//! ends it when it is idle, dead or no longer wanted.

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

use super::Shared;
use super::table::{Added, Live};
use crate::transport::Accepted;

/// A retired session is looked at this often, and closed once it has no streams. The first look
/// comes after the same time: the peer may not know of the other session yet.
const RETIRED_LOOK: Duration = Duration::from_secs(2);
/// A retired session is ended after so many looks, whatever it does.
const RETIRED_LOOKS: usize = 15;
/// Keepalives without any sign of the peer after which it is lost.
const SILENT_BEATS: u32 = 3;

/// Makes a session of an encrypted connection and runs it.
pub(super) fn establish<R: Runtime>(
    shared: &Arc<Shared<R>>,
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

/// Closes a session once its streams have ended, and ends it if they do not.
fn retire<R: Runtime>(shared: &Arc<Shared<R>>, peer: PublicKey, live: Live) {
    let retiring = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        for _ in 0..RETIRED_LOOKS {
            retiring.runtime.sleep(RETIRED_LOOK).await;
            if !live.has_streams() {
                return live.session.close();
            }
        }
        retiring.table().ended(&peer, live.id);
    }));
}

struct SessionTask<R: Runtime> {
    shared: Arc<Shared<R>>,
    peer: PublicKey,
    live: Live,
    driver: Driver<Secure<R::Connection>>,
    /// None after its end.
    incoming: Option<Incoming>,
    /// Streams of the peer's that the session had accepted when `incoming` was last found empty.
    taken: Option<u64>,
    killed: oneshot::Receiver<()>,
    tick: BoxFuture<'static, ()>,
    keepalive: Keepalive,
    /// What the keepalive said at the last tick.
    received: u64,
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
            // Without room the peer's streams wait in the session, which has a limit of its own.
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

    /// Shows the peer that we live, closes the session if it is idle, and tells whether the peer
    /// has been silent for too long.
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
        self.silent >= SILENT_BEATS
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
