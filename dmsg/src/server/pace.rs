//! How fast the streams of one session are served: a token bucket, kept as the time at which it
//! will be full again. Each stream costs a signature check, whatever comes of it.

use std::time::Duration;

/// Streams that a new session may open at once: few, since another session may follow.
const FIRST: u32 = 32;

/// One session's bucket.
pub(super) struct Pace {
    /// One token takes this long to come; zero: no limit.
    interval: Duration,
    burst: u32,
    full_at: Duration,
}

impl Pace {
    /// `rate` tokens a second, up to `burst`; a rate of 0 is no limit.
    pub(super) fn new(rate: u32, burst: u32, now: Duration) -> Self {
        let interval = match rate {
            0 => Duration::ZERO,
            rate => Duration::from_secs(1) / rate,
        };
        let full_at = now + interval * burst.saturating_sub(FIRST);
        Self {
            interval,
            burst,
            full_at,
        }
    }

    /// Takes a token; how long to wait for it.
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
        for _ in 0..FIRST {
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
    fn without_a_rate_no_reader_waits() {
        let mut pace = Pace::new(0, 0, millis(5));
        assert!((0..10_000).all(|_| pace.take(millis(5)).is_zero()));
        let mut one = Pace::new(1, 0, millis(0));
        assert_eq!(one.take(millis(0)), Duration::ZERO);
        assert_eq!(one.take(millis(0)), millis(1_000));
    }
}
