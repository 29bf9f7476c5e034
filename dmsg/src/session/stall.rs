//! Noticing a peer that takes nothing of what waits for it.

use std::task::{Context, Poll};
use std::time::Duration;

use skydht_runtime::{BoxFuture, Runtime};

use super::driver::Driver;

/// While data waits, the connection must take some within this …
const INTERVAL: Duration = Duration::from_secs(10);
/// … at least so many bytes.
const LEAST: u64 = 10 * 1024;

/// Watches one session. A peer that reads only its other streams is not its business: their data
/// does not wait in the session.
pub struct Stall<R> {
    runtime: R,
    /// Runs while data waits; with what had been sent when it began.
    timer: Option<(BoxFuture<'static, ()>, u64)>,
}

impl<R: Runtime> Stall<R> {
    /// For one session.
    #[must_use]
    pub fn new(runtime: R) -> Self {
        Self {
            runtime,
            timer: None,
        }
    }

    /// Ready when the session's peer is to be given up. Poll it after the driver.
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
                    if queued > 0 && sent.saturating_sub(*before) < LEAST {
                        return Poll::Ready(());
                    }
                    self.timer = None;
                }
            }
        }
    }
}
