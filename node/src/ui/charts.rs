//! Charts of the status page. Each has a title and a description, and stands beside a table with
//! the same content.

use skydht_core::node::Histogram;

use super::tree::{Element, el};
use crate::read_trace::spans;
use crate::report::{BucketReport, BucketState, HopReport, HopState, PeersReport};

/// Height of the tallest bar.
const HEIGHT: u64 = 60;
/// Width of a bar with its gap.
const STEP: usize = 16;
/// Maximum number of peers on the ring.
const MOST_ON_RING: usize = 512;

fn drawing(id: &str, (width, height): (usize, usize), title: &str, about: &str) -> Element {
    let (title_id, about_id) = (format!("{id}-t"), format!("{id}-d"));
    el("svg")
        .attr("viewBox", format_args!("0 0 {width} {height}"))
        .attr("role", "img")
        .attr("aria-labelledby", format_args!("{title_id} {about_id}"))
        .child(el("title").attr("id", title_id).text(title))
        .child(el("desc").attr("id", about_id).text(about))
}

fn rect(class: &str, x: usize, height: u64, width: usize) -> Element {
    el("rect")
        .attr("class", class)
        .attr("x", x)
        .attr("y", HEIGHT + 4 - height)
        .attr("width", width)
        .attr("height", height)
}

fn label(x: usize, text: impl ToString) -> Element {
    el("text").attr("x", x).attr("y", HEIGHT + 15).text(text)
}

/// Draws a bar per bucket, in a dashed frame of the expected height.
pub(super) fn bucket_strip(buckets: &[BucketReport], k: usize) -> Element {
    let width = (buckets.len().max(8)) * STEP + 4;
    let low = buckets.iter().filter(|it| it.state == BucketState::Low);
    let about = format!(
        "{} buckets, {} of them with less than half of what is expected; a full one has {k} peers.",
        buckets.len(),
        low.count()
    );
    let height = |peers: u64| (peers * HEIGHT / (k.max(1) as u64)).min(HEIGHT);
    let bars = buckets.iter().enumerate().flat_map(|(index, bucket)| {
        let x = 2 + index * STEP;
        let frame = match bucket.state {
            BucketState::Low => "low",
            BucketState::Good | BucketState::Irrelevant => "want",
        };
        let spare = u64::from(bucket.replacements > 0) * 2;
        [
            rect("bar", x + 2, height(bucket.peers.into()), STEP - 6),
            rect(frame, x + 1, height(bucket.expected), STEP - 4),
            rect("spare", x + 2, spare, STEP - 6),
            label(x + 2, bucket.bucket),
        ]
    });
    drawing(
        "buckets",
        (width, HEIGHT as usize + 20),
        "Peers by the length of the prefix that they share with this node",
        &about,
    )
    .children(bars)
}

/// Draws the peers on a circle, by the first bits of their ids.
pub(super) fn ring(peers: &PeersReport) -> Element {
    let at = |id: &[u8; 32]| {
        let turn = f64::from(u16::from_be_bytes([id[0], id[1]])) / 65_536.0;
        let angle = turn * std::f64::consts::TAU;
        (
            format!("{:.1}", 100.0 + 88.0 * angle.sin()),
            format!("{:.1}", 100.0 - 88.0 * angle.cos()),
        )
    };
    let dot = |id: &[u8; 32], class: &str, r: u8| {
        let (x, y) = at(id);
        el("circle")
            .attr("class", class)
            .attr("cx", x)
            .attr("cy", y)
            .attr("r", r)
    };
    let circle = el("circle")
        .attr("class", "line")
        .attr("cx", 100)
        .attr("cy", 100)
        .attr("r", 88);
    let others = peers.peers.iter().take(MOST_ON_RING);
    let others = others.map(|peer| dot(peer.id.as_bytes(), "bar", 2));
    let own = peers.key.id();
    let about = format!("This node and {} peers.", peers.peers.len());
    drawing("ring", (200, 200), "Where ids lie", &about)
        .attr("class", "ring")
        .child(circle)
        .children(others)
        .child(dot(own.as_bytes(), "self", 4))
}

/// Draws a read: time from left to right, proximity to the target upwards, a line per request.
pub(super) fn read_trace(id: &str, title: &str, hops: &[HopReport]) -> Element {
    const WIDTH: f64 = 380.0;
    let spans = spans(hops);
    let longest = spans.iter().map(|span| span.to_ms).fold(0.0, f64::max);
    let longest = if longest > 0.0 { longest } else { 1.0 };
    let nearest = spans
        .iter()
        .map(|span| span.prefix)
        .max()
        .unwrap_or(0)
        .max(4);
    let about = format!(
        "{} questions over {longest:.1} ms; higher is nearer to the target, by up to {nearest} bits. \
         A dot: answered; a dashed ring: it had the item; a thick ring: failed.",
        spans.len()
    );
    let lines = spans.iter().flat_map(|span| {
        let x = |at: f64| format!("{:.1}", 8.0 + at / longest * WIDTH);
        let share = f64::from(span.prefix) / f64::from(nearest);
        let y = format!("{:.1}", 72.0 - share * 60.0);
        let line = el("line")
            .attr("class", "line")
            .attr("x1", x(span.from_ms))
            .attr("x2", x(span.to_ms))
            .attr("y1", &y)
            .attr("y2", &y);
        let (class, r) = match (span.state, span.item) {
            (HopState::Answered, true) => ("want", 4),
            (HopState::Answered, false) => ("bar", 2),
            (HopState::Failed, _) => ("low", 2),
            (HopState::Asked, _) => ("spare", 2),
        };
        let end = el("circle").attr("class", class).attr("r", r);
        [line, end.attr("cx", x(span.to_ms)).attr("cy", y)]
    });
    let start = el("text").attr("x", 2).attr("y", 88).text("0 ms");
    let end = el("text").attr("x", 350).attr("y", 88);
    let end = end.text(format_args!("{longest:.0} ms"));
    drawing(id, (400, 92), title, &about)
        .children(lines)
        .child(start)
        .child(end)
}

/// Draws a histogram.
pub(super) fn histogram(id: &str, title: &str, histogram: &Histogram) -> Element {
    let bars = steps(histogram);
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let about = format!("{} values, by upper bounds.", histogram.count());
    let step = STEP * 3;
    let drawn = bars.iter().enumerate().flat_map(|(index, (bound, count))| {
        let height = count * HEIGHT / most.max(1);
        let x = 2 + index * step;
        [rect("bar", x, height, step - 6), label(x, bound)]
    });
    let size = (bars.len() * step + 4, HEIGHT as usize + 20);
    drawing(id, size, title, &about).children(drawn)
}

/// Returns each bound as text, with the number of values between it and the previous one.
pub(super) fn steps(histogram: &Histogram) -> Vec<(String, u64)> {
    let mut before = 0;
    let mut last = 0;
    let mut steps: Vec<_> = histogram
        .cumulative()
        .map(|(bound, below)| {
            let count = below - before;
            (before, last) = (below, bound);
            (format!("≤ {}", in_words(histogram, bound)), count)
        })
        .collect();
    let above = format!("> {}", in_words(histogram, last));
    steps.push((above, histogram.count() - before));
    steps
}

/// Returns the bound of the bucket that contains this percentile.
pub(super) fn percentile(histogram: &Histogram, percent: u64) -> String {
    let count = histogram.count();
    if count == 0 {
        return "–".into();
    }
    let wanted = (count * percent).div_ceil(100);
    let mut last = 0;
    for (bound, below) in histogram.cumulative() {
        if below >= wanted {
            return format!("≤ {}", in_words(histogram, bound));
        }
        last = bound;
    }
    format!("> {}", in_words(histogram, last))
}

fn in_words(histogram: &Histogram, value: u64) -> String {
    if !histogram.scale().is_time() {
        return value.to_string();
    }
    match value / 1_000_000 {
        ms @ 0..1_000 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1_000),
    }
}
