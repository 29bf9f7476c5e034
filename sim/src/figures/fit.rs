//! Fit of a straight line over a logarithmic axis.

/// y = `intercept` + `slope` · log10(x): a quantity that grows by the same amount with each factor
/// of ten, such as hops with the size of a network.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LogFit {
    /// Value at x = 1.
    pub intercept: f64,
    /// Increase per factor of ten.
    pub slope: f64,
    /// Fraction of the variance that the line explains, from 0 to 1.
    pub r_squared: f64,
}

impl LogFit {
    /// The least-squares line; `None` with fewer than two different x above 0.
    #[must_use]
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let points: Vec<(f64, f64)> = points
            .iter()
            .filter(|(x, y)| *x > 0.0 && x.is_finite() && y.is_finite())
            .map(|(x, y)| (x.log10(), *y))
            .collect();
        let n = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in &points {
            xx += (x - mean_x) * (x - mean_x);
            xy += (x - mean_x) * (y - mean_y);
            yy += (y - mean_y) * (y - mean_y);
        }
        if points.len() < 2 || xx <= f64::EPSILON {
            return None;
        }
        let slope = xy / xx;
        let r_squared = if yy <= f64::EPSILON {
            1.0
        } else {
            xy * xy / (xx * yy)
        };
        Some(Self {
            intercept: mean_y - slope * mean_x,
            slope,
            r_squared,
        })
    }

    /// The value of the line at `x`.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x.log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_continued() {
        let points = [(1e3, 3.0), (1e4, 4.5), (1e5, 6.0)];
        let fit = LogFit::of(&points).unwrap();
        assert!((fit.slope - 1.5).abs() < 1e-9 && (fit.intercept + 1.5).abs() < 1e-9);
        assert!((fit.at(1e7) - 9.0).abs() < 1e-9);
        assert!((fit.r_squared - 1.0).abs() < 1e-9);
        let scattered = LogFit::of(&[(10.0, 0.0), (100.0, 1.0), (1_000.0, 0.0)]).unwrap();
        assert!(scattered.r_squared < 0.01);
    }

    #[test]
    fn what_has_no_line_has_no_fit() {
        for points in [
            &[][..],
            &[(10.0, 1.0)],
            &[(10.0, 1.0), (10.0, 2.0)],
            &[(0.0, 1.0), (-3.0, 2.0), (10.0, f64::NAN), (20.0, 1.0)],
        ] {
            assert_eq!(LogFit::of(points), None);
        }
    }
}
