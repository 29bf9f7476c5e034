//! The task of one DMSG session: moves it, keeps it alive, and notices when the peer is gone.

use std::future::{Future as _, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use skydht_runtime::Runtime;

use crate::clear::Clear;
use crate::pulse::Pulse;
use crate::session::{CloseReason, Driver};

/// How long a ping may stay without any sign of the peer, as upstream's.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a session until it ends, its peer is silent for too long, or `killed` completes.
pub(crate) async fn run<R: Runtime>(
    runtime: R,
    mut driver: Driver<Clear<R::Connection>>,
    pulse: Pulse,
    keepalive: Duration,
    mut killed: oneshot::Receiver<()>,
) -> CloseReason {
    let mut timer = runtime.sleep(keepalive);
    let mut pinged_at = None;
    poll_fn(|cx| {
        if let Poll::Ready(reason) = Pin::new(&mut driver).poll(cx) {
            return Poll::Ready(reason);
        }
        if killed.poll_unpin(cx).is_ready() {
            return Poll::Ready(CloseReason::Dropped);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let received = pulse.received();
            let next = match pinged_at.take() {
                Some(before) if before == received => {
                    return Poll::Ready(CloseReason::Io(ErrorKind::TimedOut));
                }
                Some(_) => keepalive.saturating_sub(PONG_TIMEOUT),
                None => {
                    pinged_at = Some(received);
                    pulse.beat();
                    PONG_TIMEOUT
                }
            };
            timer = runtime.sleep(next);
        }
        Poll::Pending
    })
    .await
}
