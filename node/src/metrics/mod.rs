//! What a node counts and measures, in Prometheus' text format. docs/metrics.md lists the series.
//!
//! Labels come from enums whose values are all written each time, so that a series exists, at 0,
//! from the first second, and no peer can add one.

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

/// What the text is sent as.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All series of a node: `seen` and `own` are none and empty until it is up.
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
