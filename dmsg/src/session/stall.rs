//! Detects a peer that does not take the data queued for it.

use std::task::{Context, Poll};
use std::time::Duration;

use skydht_runtime::{BoxFuture, Runtime};

use super::driver::Driver;

/// Interval in which the connection must take [`MIN_PROGRESS`] bytes while data is queued.
const INTERVAL: Duration = Duration::from_secs(10);
/// Bytes that the connection must take within [`INTERVAL`].
const MIN_PROGRESS: u64 = 10 * 1024;

/// Watches one session for a connection that stalls. A peer that stops reading single streams is
/// not detected: flow control keeps their data out of the session's queue.
pub struct Stall<R> {
    runtime: R,
    /// Runs while data is queued, with the number of bytes sent when it was started.
    timer: Option<(BoxFuture<'static, ()>, u64)>,
}

impl<R: Runtime> Stall<R> {
    /// Creates the watch for one session.
    #[must_use]
    pub fn new(runtime: R) -> Self {
        Self {
            runtime,
            timer: None,
        }
    }

    /// Completes when the connection has stalled. Poll it after the driver.
    pub fn poll<IO>(&mut self, cx: &mut Context<'_>, driver: &Driver<IO>) -> Poll<()> {
        let (queued, sent) = driver.sending();
        loop {
            match &mut self.timer {
                None if queued == 0 => return Poll::Pending,
                None => self.timer = Some((self.runtime.sleep(INTERVAL), sent)),
                Some((timer, before)) => {
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if queued > 0 && sent.saturating_sub(*before) < MIN_PROGRESS {
                        return Poll::Ready(());
                    }
                    self.timer = None;
                }
            }
        }
    }
}
