//! A chart of data series over two axes.

use std::fmt::Write as _;

use super::axis::{Axis, Range, label};
use crate::figures::fit::LogFit;
use crate::figures::svg::{Anchor, COLOURS, Stroke, Svg, text_width};

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Points joined by lines.
    Line,
    /// A joined line without points, for many points.
    Curve,
    /// Points only.
    Points,
    /// A dashed curve that is calculated, not measured.
    Fit,
    /// Bars from zero, each reaching to the next x value.
    Bars,
}

/// A data point and the spread of the measurements behind it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// Position on the horizontal axis.
    pub x: f64,
    /// Position on the vertical axis.
    pub y: f64,
    /// The lowest and the highest measurement, drawn as a bar.
    pub spread: Option<(f64, f64)>,
}

/// Data points that a chart shows under one name.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// Text in the legend.
    pub name: String,
    /// Points in the order in which they are joined.
    pub points: Vec<Point>,
    /// How the points are drawn.
    pub mark: Mark,
}

impl Series {
    /// A series of joined points.
    #[must_use]
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self::of(name, points, Mark::Line)
    }

    /// A series of points without spread.
    #[must_use]
    pub fn of(name: impl Into<String>, points: Vec<(f64, f64)>, mark: Mark) -> Self {
        let point = |(x, y)| Point { x, y, spread: None };
        Self {
            name: name.into(),
            points: points.into_iter().map(point).collect(),
            mark,
        }
    }

    /// A fitted line from `from` to `to`. Its name includes the formula.
    #[must_use]
    pub fn fitted(name: &str, fit: &LogFit, from: f64, to: f64) -> Self {
        let name = format!(
            "{name}: {:.2} {} {:.2} per factor of 10 (R² {:.3}), {:.2} at {}",
            fit.intercept,
            if fit.slope < 0.0 { '−' } else { '+' },
            fit.slope.abs(),
            fit.r_squared,
            fit.at(to),
            label(to),
        );
        Self::of(
            name,
            vec![(from, fit.at(from)), (to, fit.at(to))],
            Mark::Fit,
        )
    }
}

/// A chart of several series.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Chart {
    /// Title of the chart.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series, at most about seven, because more cannot be distinguished well.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 760.0;
const PLOT_HEIGHT: f64 = 360.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BELOW: f64 = 52.0;
const LEGEND_LINE: f64 = 18.0;
const TEXT: f64 = 12.0;

/// The area between the axes.
struct Area {
    x: Range,
    y: Range,
}

impl Area {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT),
            TOP + (1.0 - self.y.place(y)) * PLOT_HEIGHT,
        )
    }
}

impl Chart {
    /// Renders the chart. Points that an axis cannot show are left out.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let shown: Vec<Vec<Point>> = self
            .series
            .iter()
            .map(|series| self.shown(series))
            .collect();
        let bars = self.series.iter().any(|series| series.mark == Mark::Bars);
        let xs = shown.iter().flatten().map(|point| point.x);
        let ys = shown.iter().flatten().flat_map(|point| {
            let (low, high) = point.spread.unwrap_or((point.y, point.y));
            [low, point.y, high]
        });
        let area = Area {
            x: Range::of(self.x.scale, xs, false),
            y: Range::of(self.y.scale, ys, bars),
        };
        let legend = if self.series.len() > 1 || self.series.iter().any(|s| s.mark == Mark::Fit) {
            self.series.len() as f64 * LEGEND_LINE + 6.0
        } else {
            0.0
        };
        let height = TOP + PLOT_HEIGHT + BELOW + legend;
        let names: Vec<&str> = self
            .series
            .iter()
            .map(|series| series.name.as_str())
            .collect();
        let description = format!(
            "{} over {}: {}",
            self.y.label,
            self.x.label,
            names.join("; ")
        );
        let mut svg = Svg::new(WIDTH, height, &self.title, &description);
        svg.text((LEFT, 26.0), Anchor::Start, 15.0, &self.title);
        self.axes(&mut svg, &area);
        for (index, (series, points)) in self.series.iter().zip(&shown).enumerate() {
            draw(&mut svg, &area, index, series.mark, points);
        }
        if legend > 0.0 {
            for (index, series) in self.series.iter().enumerate() {
                let y = TOP + PLOT_HEIGHT + BELOW + index as f64 * LEGEND_LINE;
                key(&mut svg, index, series.mark, y);
                svg.text((LEFT + 40.0, y + 4.0), Anchor::Start, TEXT, &series.name);
            }
        }
        svg.finish()
    }

    /// All points as CSV, one per line: series, x, y, low, high.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut out = String::from("series,x,y,low,high\n");
        for series in &self.series {
            for Point { x, y, spread } in &series.points {
                let spread = spread.map_or(",".into(), |(low, high)| format!("{low},{high}"));
                let name = crate::figures::report::csv_field(&series.name);
                // Writing to a string does not fail.
                let _ = writeln!(out, "{name},{x},{y},{spread}");
            }
        }
        out
    }

    fn shown(&self, series: &Series) -> Vec<Point> {
        let visible = |point: &&Point| self.x.shows(point.x) && self.y.shows(point.y);
        series
            .points
            .iter()
            .filter(visible)
            .map(|point| Point {
                spread: point
                    .spread
                    .filter(|(low, high)| self.y.shows(*low) && self.y.shows(*high)),
                ..*point
            })
            .collect()
    }

    fn axes(&self, svg: &mut Svg, area: &Area) {
        let (bottom, right) = (TOP + PLOT_HEIGHT, WIDTH - RIGHT);
        let (grid, axis) = (Stroke::solid("#ddd", 1.0), Stroke::solid("#222", 1.0));
        let mut free = f64::NEG_INFINITY;
        for tick in &area.x.ticks {
            let x = LEFT + area.x.place(*tick) * (right - LEFT);
            svg.line((x, TOP), (x, bottom), grid);
            let text = label(*tick);
            let half = text_width(&text, TEXT) / 2.0;
            // A missing number is better than two overlapping numbers.
            if x - half > free {
                svg.text((x, bottom + 17.0), Anchor::Middle, TEXT, &text);
                free = x + half + 4.0;
            }
        }
        for tick in &area.y.ticks {
            let y = TOP + (1.0 - area.y.place(*tick)) * PLOT_HEIGHT;
            svg.line((LEFT, y), (right, y), grid);
            svg.text((LEFT - 7.0, y + 4.0), Anchor::End, TEXT, &label(*tick));
        }
        svg.line((LEFT, TOP), (LEFT, bottom), axis);
        svg.line((LEFT, bottom), (right, bottom), axis);
        let middle = (LEFT + right) / 2.0;
        svg.text((middle, bottom + 36.0), Anchor::Middle, TEXT, &self.x.label);
        let middle = TOP + PLOT_HEIGHT / 2.0;
        svg.text_upwards((18.0, middle), Anchor::Middle, TEXT, &self.y.label);
    }
}

fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

fn stroke(index: usize, mark: Mark) -> Stroke<'static> {
    // Not distinguished by colour alone: curves without markers have different dashes.
    let dashes = match mark {
        Mark::Fit => "2 4",
        Mark::Curve => ["", "8 3", "3 3", "10 3 2 3"][index % 4],
        _ => "",
    };
    Stroke {
        colour: colour(index),
        width: 1.8,
        dashes,
    }
}

fn draw(svg: &mut Svg, area: &Area, index: usize, mark: Mark, points: &[Point]) {
    if mark == Mark::Bars {
        return draw_bars(svg, area, index, points);
    }
    if matches!(mark, Mark::Line | Mark::Curve | Mark::Fit) && points.len() > 1 {
        let path: Vec<(f64, f64)> = points.iter().map(|p| area.at(p.x, p.y)).collect();
        svg.path(&path, stroke(index, mark));
    }
    for point in points {
        if let Some((low, high)) = point.spread {
            let (low, high) = (area.at(point.x, low), area.at(point.x, high));
            let thin = Stroke::solid(colour(index), 1.0);
            svg.line(low, high, thin);
            for (x, y) in [low, high] {
                svg.line((x - 4.0, y), (x + 4.0, y), thin);
            }
        }
    }
    if matches!(mark, Mark::Line | Mark::Points) {
        for point in points {
            svg.marker(index, area.at(point.x, point.y), colour(index));
        }
    }
}

fn draw_bars(svg: &mut Svg, area: &Area, index: usize, points: &[Point]) {
    for pair in points.windows(2) {
        let (left, top) = area.at(pair[0].x, pair[0].y);
        let (right, bottom) = area.at(pair[1].x, 0.0);
        let tip = format!("{} to {}: {}", pair[0].x, pair[1].x, pair[0].y);
        let size = (right - left - 1.0, bottom - top);
        svg.rect((left, top), size, colour(index), &tip);
    }
}

fn key(svg: &mut Svg, index: usize, mark: Mark, y: f64) {
    let middle = (LEFT + 15.0, y);
    if mark == Mark::Bars {
        svg.rect((LEFT, y - 5.0), (30.0, 10.0), colour(index), "");
        return;
    }
    if mark != Mark::Points {
        svg.line((LEFT, y), (LEFT + 30.0, y), stroke(index, mark));
    }
    if matches!(mark, Mark::Line | Mark::Points) {
        svg.marker(index, middle, colour(index));
    }
}
