//! Histograms with fixed bounds.

use core::time::Duration;

use crate::time::nanos;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// The quantity that a histogram measures, which determines its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Durations of calls and operations, in nanoseconds.
    Duration,
    /// Ages of items, in nanoseconds.
    Age,
    /// Referrals of a lookup.
    Hops,
    /// Requests of a lookup.
    Requests,
    /// Peers that took an item.
    Replicas,
}

impl Scale {
    /// Upper bounds of the buckets, inclusive and ascending. Values above the last bound are
    /// counted in an extra bucket.
    #[must_use]
    pub const fn bounds(self) -> &'static [u64] {
        match self {
            Self::Duration => &[
                MS,
                5 * MS,
                20 * MS,
                50 * MS,
                100 * MS,
                250 * MS,
                500 * MS,
                S,
                3 * S,
                10 * S,
            ],
            Self::Age => &[
                60 * S,
                300 * S,
                900 * S,
                3_600 * S,
                10_800 * S,
                21_600 * S,
                43_200 * S,
                86_400 * S,
                172_800 * S,
            ],
            Self::Hops => &[0, 1, 2, 3, 4, 5, 6, 8],
            Self::Requests => &[1, 3, 5, 10, 20, 30, 40, 60, 100],
            Self::Replicas => &[0, 1, 2, 5, 10, 15, 18, 20],
        }
    }

    /// Whether values are nanoseconds.
    #[must_use]
    pub const fn is_time(self) -> bool {
        match self {
            Self::Duration | Self::Age => true,
            Self::Hops | Self::Requests | Self::Replicas => false,
        }
    }
}

/// Maximum number of bounds of a scale, plus one bucket for larger values.
const BUCKETS: usize = 11;

/// A histogram over the bounds of a [`Scale`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    scale: Scale,
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Histogram {
    /// Creates an empty histogram.
    #[must_use]
    pub const fn new(scale: Scale) -> Self {
        Self {
            scale,
            counts: [0; BUCKETS],
            sum: 0,
        }
    }

    /// The scale, which determines bounds and unit.
    #[must_use]
    pub const fn scale(&self) -> Scale {
        self.scale
    }

    /// Counts one value.
    pub fn observe(&mut self, value: u64) {
        let bounds = self.scale.bounds();
        let bucket = bounds.partition_point(|bound| *bound < value);
        let count = &mut self.counts[bucket];
        *count = count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
    }

    /// Counts one duration, or age.
    pub fn observe_time(&mut self, value: Duration) {
        self.observe(nanos(value));
    }

    /// Each bound with the number of values up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut below = 0;
        let bounds = self.scale.bounds().iter().zip(self.counts);
        bounds.map(move |(bound, count)| {
            below += count;
            (*bound, below)
        })
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the values.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_it_is_not_above() {
        for scale in [
            Scale::Duration,
            Scale::Age,
            Scale::Hops,
            Scale::Requests,
            Scale::Replicas,
        ] {
            let bounds = scale.bounds();
            assert!(bounds.len() < BUCKETS && bounds.is_sorted_by(|a, b| a < b));
            let mut histogram = Histogram::new(scale);
            for bound in bounds {
                histogram.observe(*bound);
                histogram.observe(bound + 1);
            }
            let found: Vec<(u64, u64)> = histogram.cumulative().collect();
            for (index, (bound, below)) in found.iter().enumerate() {
                // Counts differ by one where a bound equals the next value.
                let expected = bounds.iter().filter(|it| **it <= *bound).count()
                    + bounds.iter().filter(|it| **it < *bound).count();
                assert_eq!(*below, expected as u64, "{scale:?} {index}");
            }
            assert_eq!(histogram.count(), 2 * bounds.len() as u64);
            let sum: u64 = bounds.iter().map(|bound| 2 * bound + 1).sum();
            assert_eq!(histogram.sum(), sum);
        }
    }
}
