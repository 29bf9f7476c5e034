//! Charts with axes, ticks and legends, as SVG and as the CSV of their points.
//!
//! ```
//! use skydht_sim::figures::plot::{Axis, Chart, Series};
//!
//! let chart = Chart {
//!     title: "Hops".into(),
//!     x: Axis::log("nodes"),
//!     y: Axis::linear("hops"),
//!     series: vec![Series::line("ours", vec![(1e3, 2.0), (1e4, 2.6)])],
//! };
//! assert!(chart.to_svg().contains("</svg>"));
//! ```

mod axis;
mod chart;
mod distribution;

pub use axis::{Axis, Scale, label, round_step};
pub use chart::{Chart, Mark, Point, Series};
pub use distribution::{cumulative, histogram};

#[cfg(test)]
mod tests;
