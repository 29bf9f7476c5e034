//! Draws a trace as a timeline: one row per call, from its request to its response.

use skydht_sim::figures::plot::{label, round_step};
use skydht_sim::figures::svg::{Anchor, COLOURS, Stroke, Svg, text_width};

use super::trace::{CallPurpose, Trace, short};

const LEFT: f64 = 190.0;
const PLOT: f64 = 560.0;
const RIGHT: f64 = 330.0;
const TOP: f64 = 74.0;
const ROW: f64 = 20.0;
const TEXT: f64 = 12.0;
const FAILED: &str = "#b00020";

/// Returns the drawing as SVG.
pub(super) fn draw(trace: &Trace) -> String {
    let last = trace
        .calls
        .iter()
        .flat_map(|call| [Some(call.at_ms), call.end_ms])
        .chain([trace.finished_ms, trace.first_value_ms])
        .flatten()
        .fold(0.0, f64::max);
    let span = if last > 0.0 { last } else { 1.0 };
    let place = |at: f64| LEFT + at / span * PLOT;
    let bottom = TOP + trace.calls.len() as f64 * ROW + 8.0;
    let description = format!(
        "{} calls in the order of their sending, over {span} ms; each row is one peer",
        trace.calls.len()
    );
    let mut svg = Svg::new(
        LEFT + PLOT + RIGHT,
        bottom + 74.0,
        &trace.wanted,
        &description,
    );
    svg.text(
        (12.0, 24.0),
        Anchor::Start,
        15.0,
        &cut(&trace.wanted, 15.0, LEFT + PLOT + RIGHT - 24.0),
    );
    let target = trace
        .target
        .map_or(String::new(), |target| format!("target {target}"));
    svg.text((12.0, 44.0), Anchor::Start, TEXT, &target);
    svg.text(
        (12.0, TOP - 8.0),
        Anchor::Start,
        TEXT,
        "peer (bits shared with the target)",
    );

    let grid = Stroke::solid("#ddd", 1.0);
    let step = round_step(span / 6.0);
    let mut tick = 0.0;
    while tick <= span * 1.000_001 {
        let x = place(tick);
        svg.line((x, TOP), (x, bottom), grid);
        svg.text((x, bottom + 16.0), Anchor::Middle, TEXT, &label(tick));
        tick += step;
    }
    svg.text(
        (LEFT + PLOT / 2.0, bottom + 34.0),
        Anchor::Middle,
        TEXT,
        "ms since the operation began",
    );

    for (row, call) in trace.calls.iter().enumerate() {
        let y = TOP + row as f64 * ROW + 4.0;
        let prefix = call
            .prefix
            .map_or(String::new(), |bits| format!(" ({bits})"));
        let name = format!("{}{prefix}", short(&call.peer));
        svg.text((12.0, y + 12.0), Anchor::Start, TEXT, &name);
        let colour = match (call.failed, call.what) {
            (true, _) => FAILED,
            (_, CallPurpose::Search) => COLOURS[0],
            (_, CallPurpose::Store | CallPurpose::Renew) => COLOURS[2],
            (_, CallPurpose::Ping) => COLOURS[3],
        };
        let end = call.end_ms.unwrap_or(last);
        let width = (place(end) - place(call.at_ms)).max(2.0);
        let answer = call.answer.as_deref().unwrap_or("not waited for");
        let tip = format!("{name}: {} to {} ms: {answer}", call.at_ms, label(end));
        let height = if call.end_ms.is_some() { 12.0 } else { 4.0 };
        svg.rect(
            (place(call.at_ms), y + (14.0 - height) / 2.0),
            (width, height),
            colour,
            &tip,
        );
        let words = match call.what {
            CallPurpose::Search => answer.to_owned(),
            CallPurpose::Store => format!("store: {answer}"),
            CallPurpose::Renew => format!("renew: {answer}"),
            CallPurpose::Ping => format!("ping: {answer}"),
        };
        let mark = if call.failed { "✗ " } else { "" };
        let text = cut(&format!("{mark}{words}"), TEXT, RIGHT - 20.0);
        svg.text((LEFT + PLOT + 10.0, y + 12.0), Anchor::Start, TEXT, &text);
    }
    for (at, colour, name) in [
        (trace.first_value_ms, COLOURS[4], "first value"),
        (trace.finished_ms, COLOURS[5], "finished"),
    ] {
        if let Some(at) = at {
            let x = place(at);
            let dashes = if name == "finished" { "" } else { "5 3" };
            let stroke = Stroke {
                colour,
                width: 1.5,
                dashes,
            };
            svg.line((x, TOP - 4.0), (x, bottom), stroke);
            let anchor = if x > LEFT + PLOT / 2.0 {
                Anchor::End
            } else {
                Anchor::Start
            };
            let up = if name == "finished" { 8.0 } else { 20.0 };
            svg.text(
                (x, TOP - up),
                anchor,
                TEXT,
                &format!("{name}, {} ms", label(at)),
            );
        }
    }
    let result = trace
        .result
        .as_deref()
        .unwrap_or("not finished when the journal ends");
    svg.text(
        (12.0, bottom + 58.0),
        Anchor::Start,
        TEXT,
        &cut(result, TEXT, LEFT + PLOT + RIGHT - 24.0),
    );
    svg.finish()
}

/// Shortens a text to the available width.
fn cut(text: &str, size: f64, room: f64) -> String {
    if text_width(text, size) <= room {
        return text.into();
    }
    let mut short = String::new();
    for c in text.chars() {
        if text_width(&short, size) + 2.0 * size > room {
            break;
        }
        short.push(c);
    }
    short + "…"
}
