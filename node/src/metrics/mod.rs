//! Metrics of a node in Prometheus' text format. docs/metrics.md lists the series.
//!
//! Labels are enums, and every value is always written. Each series therefore exists, at 0, from
//! the start, and no peer can add one.

mod labels;
mod series;
mod text;
mod view;

use skydht_core::node::OwnItem;

use crate::report::StatusReport;
use crate::status::Seen;
use series::Series;
use text::Text;
use view::View;

/// Content type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders all series of a node; `seen` is `None` and `own` is empty until it has started.
pub(crate) fn render(status: &StatusReport, seen: Option<&Seen>, own: &[OwnItem]) -> String {
    let view = View::new(status, seen, own);
    let mut text = Text::default();
    for series in Series::ALL {
        text.family(*series);
        view.write(*series, &mut text);
    }
    text.into()
}

#[cfg(test)]
mod tests;
