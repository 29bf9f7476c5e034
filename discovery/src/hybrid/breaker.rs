//! A circuit breaker for a service that fails repeatedly.

use std::time::Duration;

use skydht_core::time::Mono;

/// Consecutive failures that open the breaker.
const FAILURES: u32 = 3;
/// First and longest time for which the breaker stays open; it doubles each time.
const REST: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// The circuit breaker of one service.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Breaker {
    failures: u32,
    rest: Duration,
    closed_until: Option<Mono>,
    /// A trial request is in progress.
    trying: bool,
}

impl Breaker {
    /// Returns whether a request may be sent now. After a pause, one trial request is permitted;
    /// others are not until it has ended.
    pub fn may_ask(&mut self, now: Mono) -> bool {
        match self.closed_until {
            None => true,
            Some(until) if now < until || self.trying => false,
            Some(_) => {
                self.trying = true;
                true
            }
        }
    }

    /// Records that the service answered, whatever the response.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// Records that the service did not answer, or that its response was invalid.
    pub fn failed(&mut self, now: Mono) {
        self.failures = self.failures.saturating_add(1);
        let was_trying = std::mem::take(&mut self.trying);
        if self.failures >= FAILURES || was_trying {
            self.rest = (self.rest * 2).clamp(REST.0, REST.1);
            self.closed_until = Some(now.plus(self.rest));
        }
    }

    /// Records that the service requested a pause with HTTP status 429. The pause is limited to
    /// five minutes.
    pub fn asked_too_often(&mut self, now: Mono, wait: Duration) {
        self.trying = false;
        self.closed_until = Some(now.plus(wait.min(REST.1)));
    }
}
