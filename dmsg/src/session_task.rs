//! The task of one DMSG session: drives it, sends keepalives, and notices when the peer is gone.

use std::future::{Future as _, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures_io::{AsyncRead, AsyncWrite};
use skydht_runtime::Runtime;

use crate::session::{CloseReason, Driver, Stall};

/// How long the peer may send nothing after a ping; upstream's value.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a ping and drives the session until the peer has sent something, which shows that it runs
/// the session, too.
pub(crate) async fn first_sign<IO: AsyncRead + AsyncWrite + Unpin>(
    driver: &mut Driver<IO>,
) -> Result<(), CloseReason> {
    let keepalive = driver.keepalive();
    keepalive.request_ping();
    poll_fn(|cx| match Pin::new(&mut *driver).poll(cx) {
        Poll::Ready(reason) => Poll::Ready(Err(reason)),
        // `received` changes only while this task polls the driver, so no waker is needed.
        Poll::Pending if keepalive.received() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Runs a session until it ends, its peer is silent or takes no data for too long, or `killed`
/// completes.
pub(crate) async fn run<R: Runtime, IO: AsyncRead + AsyncWrite + Unpin>(
    runtime: R,
    mut driver: Driver<IO>,
    interval: Duration,
    mut killed: oneshot::Receiver<()>,
) -> CloseReason {
    let keepalive = driver.keepalive();
    let mut timer = runtime.sleep(interval);
    let mut stall = Stall::new(runtime.clone());
    let mut pinged_at = None;
    poll_fn(|cx| {
        if let Poll::Ready(reason) = Pin::new(&mut driver).poll(cx) {
            return Poll::Ready(reason);
        }
        if killed.poll_unpin(cx).is_ready() {
            return Poll::Ready(CloseReason::Dropped);
        }
        if stall.poll(cx, &driver).is_ready() {
            return Poll::Ready(CloseReason::Io(ErrorKind::TimedOut));
        }
        while timer.as_mut().poll(cx).is_ready() {
            let received = keepalive.received();
            let next = match pinged_at.take() {
                Some(before) if before == received => {
                    return Poll::Ready(CloseReason::Io(ErrorKind::TimedOut));
                }
                Some(_) => interval.saturating_sub(PONG_TIMEOUT),
                None => {
                    pinged_at = Some(received);
                    keepalive.request_ping();
                    PONG_TIMEOUT
                }
            };
            timer = runtime.sleep(next);
        }
        Poll::Pending
    })
    .await
}
