//! Metrics of a node in Prometheus' text format. docs/metrics.md lists the series.
//!
//! Labels are enums, all of whose values are always written, except the node's own key and version,
//! which are constant. Each series therefore exists from the start, and no peer can add one.

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

/// Renders all series of a node. Until the node has started, `seen` is `None` and `own` is empty.
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
