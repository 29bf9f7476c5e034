//! Rate limit for the streams of one session: a token bucket, stored as the time at which it is
//! full again. Each stream costs a signature verification, whether or not it is valid.

use std::time::Duration;

/// Tokens of a new session: few, since a client can open further sessions.
const INITIAL_TOKENS: u32 = 32;

/// One session's bucket.
pub(super) struct Pace {
    /// Time in which one token is added; zero is no limit.
    interval: Duration,
    burst: u32,
    /// When the bucket is full again.
    full_at: Duration,
}

impl Pace {
    /// Creates a bucket with `rate` tokens a second, up to `burst`. A rate of 0 is no limit.
    pub(super) fn new(rate: u32, burst: u32, now: Duration) -> Self {
        let interval = match rate {
            0 => Duration::ZERO,
            rate => Duration::from_secs(1) / rate,
        };
        let full_at = now + interval * burst.saturating_sub(INITIAL_TOKENS);
        Self {
            interval,
            burst,
            full_at,
        }
    }

    /// Takes a token, and returns how long to wait for it.
    pub(super) fn take(&mut self, now: Duration) -> Duration {
        let next = self.full_at.max(now) + self.interval;
        self.full_at = next;
        let all = self.interval * self.burst.max(1);
        next.saturating_sub(now + all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn tokens_come_at_the_rate_and_collect_up_to_the_burst() {
        let mut pace = Pace::new(100, 50, millis(0));
        for _ in 0..INITIAL_TOKENS {
            assert_eq!(pace.take(millis(0)), Duration::ZERO);
        }
        assert_eq!(pace.take(millis(0)), millis(10));
        assert_eq!(pace.take(millis(10)), millis(10));
        for now in [10_000, 90_000] {
            for _ in 0..50 {
                assert_eq!(pace.take(millis(now)), Duration::ZERO);
            }
            assert_eq!(pace.take(millis(now)), millis(10));
            assert_eq!(pace.take(millis(now)), millis(20));
        }
    }

    #[test]
    fn without_a_rate_no_stream_waits() {
        let mut pace = Pace::new(0, 0, millis(5));
        assert!((0..10_000).all(|_| pace.take(millis(5)).is_zero()));
        let mut one = Pace::new(1, 0, millis(0));
        assert_eq!(one.take(millis(0)), Duration::ZERO);
        assert_eq!(one.take(millis(0)), millis(1_000));
    }
}
