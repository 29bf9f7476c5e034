//! Leaves a service alone that failed again and again.

use std::time::Duration;

use skydht_core::time::Mono;

/// Failures in a row after which it is left alone.
const FAILURES: u32 = 3;
/// The first and the longest rest; each is twice the last.
const REST: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// The state of one service.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Breaker {
    failures: u32,
    rest: Duration,
    closed_until: Option<Mono>,
    /// One question is out to see whether it is back.
    trying: bool,
}

impl Breaker {
    /// Whether it may be asked now. After a rest one question is let through; the others wait for
    /// what comes of it.
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

    /// It answered, whatever it said.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// It did not answer, or made no sense.
    pub fn failed(&mut self, now: Mono) {
        self.failures = self.failures.saturating_add(1);
        let was_trying = std::mem::take(&mut self.trying);
        if self.failures >= FAILURES || was_trying {
            self.rest = (self.rest * 2).clamp(REST.0, REST.1);
            self.closed_until = Some(now.plus(self.rest));
        }
    }

    /// It wants to be left alone for so long: HTTP's 429. At most the longest rest.
    pub fn asked_too_often(&mut self, now: Mono, wait: Duration) {
        self.trying = false;
        self.closed_until = Some(now.plus(wait.min(REST.1)));
    }
}
