//! How fast connections are taken: a token bucket, kept as the time at which it is full again.

use std::time::Duration;

use tokio::time::Instant;

/// The bucket.
pub(super) struct Pace {
    /// One token takes this long to come.
    interval: Duration,
    /// How long an empty bucket takes to be full.
    fill: Duration,
    full_at: Instant,
}

impl Pace {
    /// A full one with `burst` tokens, of which `a_second` come a second.
    pub(super) fn new(a_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / a_second.max(1);
        Self {
            interval,
            fill: interval * burst,
            full_at: Instant::now(),
        }
    }

    /// Takes a token, and says when it may be used.
    pub(super) fn take(&mut self) -> Instant {
        let now = Instant::now();
        self.full_at = self.full_at.max(now) + self.interval;
        // Of a future that is nearer than this moment, no client needs to wait for it.
        self.full_at
            .checked_sub(self.fill)
            .map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_then_tokens_come_at_the_rate() {
        let mut pace = Pace::new(100, 5);
        for _ in 0..2 {
            for _ in 0..5 {
                assert_eq!(pace.take(), Instant::now());
            }
            for n in 1..=3 {
                assert_eq!(pace.take() - Instant::now(), n * Duration::from_millis(10));
            }
            tokio::time::advance(Duration::from_secs(10)).await;
        }
    }
}
