//! Round-trip times, and the soft deadlines derived from them.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::time::nanos;

/// Smoothed round-trip time and its variation, as in RFC 6298 §2, in integer nanoseconds. There is
/// one estimator per peer, and one over all peers for peers without samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RttEstimator(Option<Estimate>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Estimate {
    /// Non-zero, so that `Option<Estimate>` is no larger: a node remembers thousands.
    smoothed: NonZeroU64,
    variation: u64,
}

impl Estimate {
    fn new(smoothed: u64, variation: u64) -> Self {
        Self {
            smoothed: NonZeroU64::new(smoothed).unwrap_or(NonZeroU64::MIN),
            variation,
        }
    }
}

/// Number of variations by which a soft deadline exceeds the smoothed time. RFC 6298 uses four,
/// since early retransmissions are expensive there; here a missed deadline costs one more call,
/// while every dead peer costs the whole deadline (`docs/parameters.md` has the measurement).
const VARIATIONS: u64 = 2;

/// Maximum sample, so that sums cannot overflow: some 18 years.
const MAX_SAMPLE: u64 = u64::MAX / 32;

impl RttEstimator {
    /// Adds one round trip, with α = 1/8 and β = 1/4.
    pub fn sample(&mut self, round_trip: Duration) {
        let sample = nanos(round_trip).min(MAX_SAMPLE);
        self.0 = Some(match self.0 {
            None => Estimate::new(sample, sample / 2),
            Some(old) => {
                let smoothed = old.smoothed.get();
                Estimate::new(
                    (7 * smoothed + sample) / 8,
                    (3 * old.variation + smoothed.abs_diff(sample)) / 4,
                )
            }
        });
    }

    /// The smoothed round-trip time; `None` without a sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.0.map(|it| Duration::from_nanos(it.smoothed.get()))
    }

    /// Returns the smoothed time plus `VARIATIONS` variations, at least `min` and at most `max`;
    /// `initial` without a sample.
    #[must_use]
    pub fn soft_deadline(&self, min: Duration, max: Duration, initial: Duration) -> Duration {
        let estimated = self
            .0
            .map(|it| Duration::from_nanos(it.smoothed.get() + VARIATIONS * it.variation));
        // Not `clamp`, which panics when min > max.
        estimated.unwrap_or(initial).max(min).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(2);
    const INITIAL: Duration = Duration::from_secs(1);

    fn after(samples: impl IntoIterator<Item = u64>) -> RttEstimator {
        let mut rtt = RttEstimator::default();
        for millis in samples {
            rtt.sample(Duration::from_millis(millis));
        }
        rtt
    }

    fn deadline(samples: impl IntoIterator<Item = u64>) -> Duration {
        after(samples).soft_deadline(MIN, MAX, INITIAL)
    }

    #[test]
    fn without_samples_the_initial_deadline_holds() {
        assert_eq!(deadline([]), INITIAL);
        assert_eq!(after([]).smoothed(), None);
    }

    #[test]
    fn the_first_sample_counts_twice() {
        // RFC 6298 (2.2): SRTT = R, RTTVAR = R/2, so R + 2·R/2.
        assert_eq!(deadline([200]), Duration::from_millis(400));
    }

    #[test]
    fn later_samples_follow_the_rfc() {
        // (2.3): RTTVAR = 3/4·100 + 1/4·|200 − 280| = 95; SRTT = 7/8·200 + 1/8·280 = 210.
        assert_eq!(
            after([200, 280]).smoothed(),
            Some(Duration::from_millis(210))
        );
        assert_eq!(deadline([200, 280]), Duration::from_millis(210 + 2 * 95));
    }

    #[test]
    fn a_steady_peer_gets_a_tight_deadline_and_an_outlier_loosens_it() {
        let steady = deadline([150; 50]);
        assert!(steady < Duration::from_millis(160), "{steady:?}");
        let loosened = deadline([150; 50].into_iter().chain([1150]));
        assert!(loosened > Duration::from_millis(700), "{loosened:?}");
    }

    #[test]
    fn deadlines_stay_within_their_bounds() {
        assert_eq!(deadline([1; 50]), MIN);
        assert_eq!(deadline([9_000]), MAX);
        let mut absurd = RttEstimator::default();
        for _ in 0..100 {
            absurd.sample(Duration::MAX);
            absurd.sample(Duration::ZERO);
        }
        assert_eq!(absurd.soft_deadline(MIN, MAX, INITIAL), MAX);
    }
}
