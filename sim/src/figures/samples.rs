//! Sets of measurements.

use serde::{Deserialize, Serialize};

use super::quantity::{Quantity, Unit};

/// Measurements of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Samples {
    unit: Unit,
    values: Vec<u64>,
}

/// Count, extremes, mean and percentiles of measurements, in their unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Unit of the measurements.
    pub unit: Unit,
    /// Number of measurements.
    pub count: u64,
    /// The smallest measurement.
    pub min: u64,
    /// The mean, rounded down.
    pub mean: u64,
    /// Half of the measurements are at most this large.
    pub p50: u64,
    /// 95 % of the measurements are at most this large.
    pub p95: u64,
    /// 99 % of the measurements are at most this large.
    pub p99: u64,
    /// The largest measurement.
    pub max: u64,
}

impl Samples {
    /// Creates an empty set with this unit.
    #[must_use]
    pub const fn new(unit: Unit) -> Self {
        let values = Vec::new();
        Self { unit, values }
    }

    /// Creates a set of these measurements.
    #[must_use]
    pub fn of(unit: Unit, values: impl IntoIterator<Item = u64>) -> Self {
        let values = values.into_iter().collect();
        Self { unit, values }
    }

    /// Adds a measurement.
    pub fn push(&mut self, value: u64) {
        self.values.push(value);
    }

    /// Unit of the measurements.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// Number of measurements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no measurements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The measurements in ascending order.
    #[must_use]
    pub fn sorted(&self) -> Vec<u64> {
        let mut values = self.values.clone();
        values.sort_unstable();
        values
    }

    /// The summary; `None` without measurements.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let sorted = self.sorted();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let sum: u128 = sorted.iter().map(|value| u128::from(*value)).sum();
        let mean = sum / sorted.len() as u128;
        Some(Summary {
            unit: self.unit,
            count: sorted.len() as u64,
            min,
            mean: u64::try_from(mean).unwrap_or(u64::MAX),
            p50: quantile(&sorted, 500)?,
            p95: quantile(&sorted, 950)?,
            p99: quantile(&sorted, 990)?,
            max,
        })
    }
}

/// The smallest value of `sorted` that `per_mille` thousandths of the values do not exceed (nearest
/// rank); `None` if `sorted` is empty.
#[must_use]
pub fn quantile(sorted: &[u64], per_mille: u16) -> Option<u64> {
    let rank = (sorted.len() * usize::from(per_mille.min(1_000))).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied()
}

impl Summary {
    /// Every number of the summary with its name.
    #[must_use]
    pub fn quantities(&self) -> [(&'static str, Quantity); 7] {
        let unit = self.unit;
        [
            ("count", Quantity::count(self.count)),
            (
                "min",
                Quantity {
                    value: self.min,
                    unit,
                },
            ),
            (
                "mean",
                Quantity {
                    value: self.mean,
                    unit,
                },
            ),
            (
                "p50",
                Quantity {
                    value: self.p50,
                    unit,
                },
            ),
            (
                "p95",
                Quantity {
                    value: self.p95,
                    unit,
                },
            ),
            (
                "p99",
                Quantity {
                    value: self.p99,
                    unit,
                },
            ),
            (
                "max",
                Quantity {
                    value: self.max,
                    unit,
                },
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let samples = Samples::of(Unit::Count, (1..=200).rev());
        let summary = samples.summary().unwrap();
        assert_eq!((summary.min, summary.max, summary.mean), (1, 200, 100));
        assert_eq!((summary.p50, summary.p95, summary.p99), (100, 190, 198));
        let sorted = samples.sorted();
        assert_eq!(quantile(&sorted, 0), Some(1));
        assert_eq!(quantile(&sorted, 1_000), Some(200));
        assert_eq!(quantile(&sorted, u16::MAX), Some(200));
        assert_eq!(quantile(&[1, 4, 7], 500), Some(4));
        assert_eq!(quantile(&[1, 4, 7], 334), Some(4));
        assert_eq!(quantile(&[1, 4, 7], 333), Some(1));
        assert_eq!(quantile(&[], 500), None);
    }

    #[test]
    fn adding_one_by_one_is_the_same_as_creating_from_all() {
        let values = [5, 3, 9, 3, u64::MAX, 0];
        let mut samples = Samples::new(Unit::Bytes);
        for value in values {
            samples.push(value);
        }
        assert_eq!(samples, Samples::of(Unit::Bytes, values));
        assert_eq!(samples.summary().unwrap().mean, u64::MAX / 6 + 3);
        assert_eq!(Samples::new(Unit::Count).summary(), None);
    }
}
