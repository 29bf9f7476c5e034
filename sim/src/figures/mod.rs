//! What a simulation found, as files that one can keep: JSON, CSV, drawings, and the command
//! that makes them again.
//!
//! | question | type |
//! |---|---|
//! | what one run found | [`Report`], of [`Quantity`]s and [`Samples`] |
//! | which runs a sweep makes | [`Sweep`], [`Cell`] |
//! | how many runs differ over a parameter | [`Runs`] |
//! | how two runs differ | [`Comparison`] |
//! | a drawing of any of these | [`plot::Chart`] |
//!
//! Results are whole numbers of a [`Unit`]; fractions appear only in drawings. The same results
//! give the same files to the last byte.

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
