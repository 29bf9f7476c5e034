//! A rate limit for accepted connections: a token bucket, represented by the time at which it is
//! full.

use std::time::Duration;

use tokio::time::Instant;

/// The token bucket.
pub(super) struct RateLimit {
    /// Time for one token to be added.
    interval: Duration,
    /// Time for an empty bucket to be filled.
    fill: Duration,
    full_at: Instant,
}

impl RateLimit {
    /// Creates a full bucket of `burst` tokens, to which `a_second` tokens are added per second.
    pub(super) fn new(a_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / a_second.max(1);
        Self {
            interval,
            fill: interval * burst,
            full_at: Instant::now(),
        }
    }

    /// Takes a token; returns when it may be used, which may be in the future.
    pub(super) fn take(&mut self) -> Instant {
        let now = Instant::now();
        self.full_at = self.full_at.max(now) + self.interval;
        // The subtraction fails only for a time before the clock's start; the token is usable then.
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
        let mut rate_limit = RateLimit::new(100, 5);
        for _ in 0..2 {
            for _ in 0..5 {
                assert_eq!(rate_limit.take(), Instant::now());
            }
            for n in 1..=3 {
                assert_eq!(
                    rate_limit.take() - Instant::now(),
                    n * Duration::from_millis(10)
                );
            }
            tokio::time::advance(Duration::from_secs(10)).await;
        }
    }
}
