//! Charts of how measurements are distributed.

use super::axis::Axis;
use super::chart::{Chart, Mark, Series};
use crate::figures::samples::{Samples, quantile};

/// Maximum number of points of a cumulative curve.
const CURVE_POINTS: u16 = 200;

/// A chart of the share of measurements up to each value, with a curve for each set.
#[must_use]
pub fn cumulative<'a>(
    title: &str,
    name: &str,
    sets: impl IntoIterator<Item = (&'a str, &'a Samples)>,
) -> Chart {
    let mut unit = None;
    let series = sets
        .into_iter()
        .map(|(set, samples)| {
            let shown = *unit.get_or_insert(samples.unit());
            Series::of(set, curve(&samples.sorted(), shown), Mark::Curve)
        })
        .collect();
    Chart {
        title: title.into(),
        x: Axis::linear(format!("{name}{}", unit.unwrap_or_default().label())),
        y: Axis::linear("share not above (%)"),
        series,
    }
}

fn curve(sorted: &[u64], unit: crate::figures::Unit) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for n in 0..=CURVE_POINTS {
        let per_mille = n * (1_000 / CURVE_POINTS);
        let Some(value) = quantile(sorted, per_mille) else {
            break;
        };
        let not_above = sorted.partition_point(|other| *other <= value);
        let share = not_above as f64 * 100.0 / sorted.len() as f64;
        let x = unit.shown(value);
        // A step: the curve rises at the value, not before it.
        let before = points.last().map_or(0.0, |(_, share)| *share);
        if points.last() != Some(&(x, share)) {
            points.push((x, before));
            points.push((x, share));
        }
    }
    points
}

/// A chart of the number of measurements in each of `bins` equal parts of their range.
#[must_use]
pub fn histogram(title: &str, name: &str, samples: &Samples, bins: u8) -> Chart {
    let sorted = samples.sorted();
    let bins = u64::from(bins.max(1));
    let points = match (sorted.first(), sorted.last()) {
        (Some(min), Some(max)) => {
            let width = ((max - min) / bins).saturating_add(1);
            let mut points = Vec::new();
            let (mut begin, mut counted) = (*min, 0);
            while counted < sorted.len() {
                let end = begin.checked_add(width);
                let below = end.map_or(sorted.len(), |end| {
                    sorted.partition_point(|value| *value < end)
                });
                points.push((samples.unit().shown(begin), (below - counted) as f64));
                counted = below;
                begin = end.unwrap_or(u64::MAX);
            }
            points.push((samples.unit().shown(begin), 0.0));
            points
        }
        _ => Vec::new(),
    };
    Chart {
        title: title.into(),
        x: Axis::linear(format!("{name}{}", samples.unit().label())),
        y: Axis::linear("measurements"),
        series: vec![Series::of(name, points, Mark::Bars)],
    }
}
