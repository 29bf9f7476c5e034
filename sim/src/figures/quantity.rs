//! Whole numbers with a unit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Unit of a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// A number of things.
    #[default]
    Count,
    /// Nanoseconds, shown in milliseconds.
    Nanoseconds,
    /// Bytes.
    Bytes,
    /// Millionths, shown as percent.
    Share,
}

impl Unit {
    /// Suffix of a column's name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Nanoseconds => "_ms",
            Self::Bytes => "_bytes",
            Self::Share => "_percent",
        }
    }

    /// Unit text behind an axis's name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Nanoseconds => " (ms)",
            Self::Bytes => " (bytes)",
            Self::Share => " (%)",
        }
    }

    /// Number of decimal places between the unit and what is shown (a power of ten).
    const fn decimals(self) -> u32 {
        match self {
            Self::Count | Self::Bytes => 0,
            Self::Nanoseconds => 6,
            Self::Share => 4,
        }
    }

    /// The value in the unit that is shown.
    #[must_use]
    pub fn shown(self, value: u64) -> f64 {
        value as f64 / 10f64.powi(self.decimals() as i32)
    }
}

/// A whole number and its unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Quantity {
    /// The number.
    pub value: u64,
    /// Unit of the number.
    pub unit: Unit,
}

impl Quantity {
    /// A number of things.
    #[must_use]
    pub const fn count(value: u64) -> Self {
        let unit = Unit::Count;
        Self { value, unit }
    }

    /// A number of bytes.
    #[must_use]
    pub const fn bytes(value: u64) -> Self {
        let unit = Unit::Bytes;
        Self { value, unit }
    }

    /// A duration of at most 584 years.
    #[must_use]
    pub fn duration(duration: std::time::Duration) -> Self {
        Self {
            value: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
            unit: Unit::Nanoseconds,
        }
    }

    /// The share that `part` is of `whole`, rounded down; 100 % if `whole` is zero.
    #[must_use]
    pub fn share(part: u64, whole: u64) -> Self {
        let value = if whole == 0 {
            1_000_000
        } else {
            u64::try_from(u128::from(part) * 1_000_000 / u128::from(whole)).unwrap_or(u64::MAX)
        };
        let unit = Unit::Share;
        Self { value, unit }
    }

    /// The value in the unit that is shown.
    #[must_use]
    pub fn shown(self) -> f64 {
        self.unit.shown(self.value)
    }

    /// The exact decimal number in the unit that is shown, without the unit's name. For CSV.
    #[must_use]
    pub fn exact(self) -> String {
        let decimals = self.unit.decimals();
        let whole = 10u64.pow(decimals);
        let (before, after) = (self.value / whole, self.value % whole);
        if after == 0 {
            return before.to_string();
        }
        let after = format!("{after:0width$}", width = decimals as usize);
        format!("{before}.{}", after.trim_end_matches('0'))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Count => write!(f, "{}", self.value),
            Unit::Nanoseconds if self.value >= 10_000_000_000 => {
                write!(f, "{:.1} s", self.value as f64 / 1e9)
            }
            Unit::Nanoseconds => write!(f, "{:.1} ms", self.shown()),
            Unit::Bytes if self.value >= 10 << 20 => {
                write!(f, "{:.1} MiB", self.value as f64 / f64::from(1 << 20))
            }
            Unit::Bytes if self.value >= 10 << 10 => {
                write!(f, "{:.1} KiB", self.value as f64 / 1024.0)
            }
            Unit::Bytes => write!(f, "{} B", self.value),
            Unit::Share => write!(f, "{:.2} %", self.shown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_are_exact_for_machines_and_short_for_people() {
        for (quantity, exact, short) in [
            (Quantity::count(12), "12", "12"),
            (
                Quantity::duration(Duration::from_micros(41_250)),
                "41.25",
                "41.2 ms",
            ),
            (
                Quantity::duration(Duration::from_secs(75)),
                "75000",
                "75.0 s",
            ),
            (
                Quantity::duration(Duration::from_nanos(1)),
                "0.000001",
                "0.0 ms",
            ),
            (Quantity::bytes(20 << 20), "20971520", "20.0 MiB"),
            (Quantity::bytes(900), "900", "900 B"),
            (Quantity::share(995, 1000), "99.5", "99.50 %"),
            (Quantity::share(2, 3), "66.6666", "66.67 %"),
        ] {
            assert_eq!(quantity.exact(), exact);
            assert_eq!(quantity.to_string(), short);
        }
    }

    #[test]
    fn a_share_is_never_more_than_it_is() {
        assert_eq!(Quantity::share(999_999_999, 1_000_000_000).value, 999_999);
        assert_eq!(Quantity::share(0, 0).value, 1_000_000);
        assert_eq!(Quantity::share(u64::MAX, u64::MAX).value, 1_000_000);
        assert_eq!(Quantity::share(u64::MAX, 1).value, u64::MAX);
    }
}
