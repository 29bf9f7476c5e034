//! Axes: converting values to positions, and placing ticks.

/// How values are spread over an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scale {
    /// Equal steps.
    #[default]
    Linear,
    /// Equal factors; values of 0 or less cannot be shown and are left out.
    Log,
}

/// One axis of a chart.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Axis {
    /// Description with the unit.
    pub label: String,
    /// How values become positions.
    pub scale: Scale,
}

impl Axis {
    /// Equal steps.
    #[must_use]
    pub fn linear(label: impl Into<String>) -> Self {
        let (label, scale) = (label.into(), Scale::Linear);
        Self { label, scale }
    }

    /// Equal factors.
    #[must_use]
    pub fn log(label: impl Into<String>) -> Self {
        let (label, scale) = (label.into(), Scale::Log);
        Self { label, scale }
    }

    /// Whether a value can be shown.
    pub(super) fn shows(&self, value: f64) -> bool {
        value.abs() <= LARGEST && (self.scale == Scale::Linear || value > 0.0)
    }
}

/// The part of an axis that is drawn.
pub(super) struct Range {
    scale: Scale,
    /// Bounds in the scale's own unit: logarithms for [`Scale::Log`].
    low: f64,
    high: f64,
    pub(super) ticks: Vec<f64>,
}

/// Larger values cannot be shown, since their differences could overflow.
const LARGEST: f64 = 1e300;
/// Approximate number of ticks on an axis.
const TICKS: f64 = 6.0;

impl Range {
    /// The range that contains all values, with ticks at round numbers. With `from_zero` it
    /// includes zero, without which bars and shares would mislead.
    pub(super) fn of(scale: Scale, values: impl Iterator<Item = f64>, from_zero: bool) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        match scale {
            Scale::Linear => Self::linear(low, high, from_zero),
            Scale::Log => Self::log(low, high),
        }
    }

    fn linear(mut low: f64, mut high: f64, from_zero: bool) -> Self {
        // A range that starts near zero starts at zero.
        if from_zero || (low > 0.0 && low < high * 0.4) {
            low = low.min(0.0);
            high = high.max(0.0);
        }
        if high - low <= f64::EPSILON * high.abs().max(1.0) {
            let room = if high == 0.0 { 1.0 } else { high.abs() * 0.5 };
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / TICKS);
        let first = (low / step).floor();
        let last = (high / step).ceil();
        let count = (last - first).round().clamp(1.0, 50.0) as u32;
        let ticks = (0..=count).map(|n| (first + f64::from(n)) * step).collect();
        Self {
            scale: Scale::Linear,
            low: first * step,
            high: last * step,
            ticks,
        }
    }

    fn log(low: f64, high: f64) -> Self {
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        let high = if high <= low { low + 1.0 } else { high };
        let decades = (high - low).round().clamp(1.0, 620.0) as i32;
        // Few decades also get ticks at 2 and 5, many only one at every second or third power.
        let within: &[f64] = if decades <= 2 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let every = 1 + decades / 9;
        let mut ticks = Vec::new();
        for decade in (0..=decades).step_by(every as usize) {
            let power = 10f64.powi(low as i32 + decade);
            let steps = if decade == decades {
                &within[..1]
            } else {
                within
            };
            ticks.extend(steps.iter().map(|step| step * power));
        }
        Self {
            scale: Scale::Log,
            low,
            high,
            ticks,
        }
    }

    /// The relative position of a value, from 0 to 1 for values in the range.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        };
        (value - self.low) / (self.high - self.low)
    }
}

/// The smallest of 1, 2, 5 · 10^n that is not below `rough`, for the distance between ticks.
#[must_use]
pub fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= rough * (1.0 - 1e-9));
    step.unwrap_or(power * 10.0)
}

/// The label of a tick: at most six decimals, with `k`, `M` and `G` for large numbers.
#[must_use]
pub fn label(value: f64) -> String {
    let size = value.abs();
    let (divided, suffix) = match size {
        _ if size >= 1e15 || (size > 0.0 && size < 1e-4) => return format!("{value:e}"),
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{divided:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(scale: Scale, values: &[f64]) -> Vec<String> {
        let range = Range::of(scale, values.iter().copied(), false);
        range.ticks.iter().map(|tick| label(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(
            ticks(Scale::Linear, &[0.0, 97.0]),
            ["0", "20", "40", "60", "80", "100"]
        );
        assert_eq!(
            ticks(Scale::Linear, &[99.0, 99.6]),
            ["99", "99.1", "99.2", "99.3", "99.4", "99.5", "99.6"]
        );
        assert_eq!(
            ticks(Scale::Log, &[1e3, 1e5]),
            ["1000", "2000", "5000", "10k", "20k", "50k", "100k"]
        );
        assert_eq!(ticks(Scale::Log, &[3.0, 40_000.0]).len(), 6);
        for (scale, values) in [
            (Scale::Linear, &[-3.0, 8.0][..]),
            (Scale::Linear, &[1e-9, 2e-9]),
            (Scale::Linear, &[1e300, -1e300]),
            (Scale::Log, &[1e-300, 1e300]),
            (Scale::Log, &[7.0]),
        ] {
            let range = Range::of(scale, values.iter().copied(), false);
            assert!((2..=60).contains(&range.ticks.len()), "{values:?}");
            for value in values {
                let place = range.place(*value);
                assert!((-1e-9..=1.0 + 1e-9).contains(&place), "{value}: {place}");
            }
        }
    }

    #[test]
    fn nothing_and_a_single_value_have_a_range_too() {
        for values in [&[][..], &[0.0], &[5.0], &[-5.0], &[LARGEST]] {
            let range = Range::of(Scale::Linear, values.iter().copied(), false);
            assert!(
                range
                    .place(values.first().copied().unwrap_or(1.0))
                    .is_finite()
            );
        }
    }

    #[test]
    fn labels_are_short() {
        for (value, text) in [
            (0.30000000000000004, "0.3"),
            (-0.0, "0"),
            (1_500.0, "1500"),
            (25_000.0, "25k"),
            (2e6, "2M"),
            (1e16, "1e16"),
            (2e-5, "2e-5"),
        ] {
            assert_eq!(label(value), text);
        }
    }
}
