//! Results of simulations as files: JSON, CSV, charts, and the command that reproduces them.
//!
//! | Question | Type |
//! |---|---|
//! | What did one run find? | [`Report`], of [`Quantity`]s and [`Samples`] |
//! | Which runs does a sweep make? | [`Sweep`], [`Cell`] |
//! | How do many runs differ over a parameter? | [`Runs`] |
//! | How do two runs differ? | [`Comparison`] |
//! | How is any of these drawn? | [`plot::Chart`] |
//!
//! Results are whole numbers of a [`Unit`]; fractions appear only in charts. The same results give
//! identical files.

mod compare;
mod fit;
pub mod plot;
mod quantity;
mod report;
mod samples;
pub mod svg;
mod sweep;

pub use compare::{Change, Comparison};
pub use fit::LogFit;
pub use quantity::{Quantity, Unit};
pub use report::{Report, ReportError, RunFile, SCHEMA, quote};
pub use samples::{Samples, Summary, quantile};
pub use sweep::{Cell, Runs, Spread, Sweep, SweepError, is_headline};
