//! Traces of reads: recording and drawing.

use std::time::Instant;

use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{GetError, GetOutcome, GetRequest, HopResult, OperationError};
use skydht_driver::{Dht, GetEvent};
use skydht_sim::figures::plot::{label, round_step};
use skydht_sim::figures::svg::{Anchor, COLOURS, Stroke, Svg};

use crate::report::{HopReport, HopState, ms};

/// Maximum number of steps recorded per read.
const MOST: usize = 256;

/// Reads an item and records every step.
pub(crate) async fn follow(
    dht: &Dht,
    request: GetRequest,
) -> (Result<GetOutcome, GetError>, Vec<HopReport>) {
    let (begun, target) = (Instant::now(), request.target);
    let mut hops = Vec::new();
    let mut progress = match dht.get_with_events(request) {
        Ok(progress) => progress,
        Err(error) => return (Err(error.into()), hops),
    };
    while let Some(event) = progress.next().await {
        match event {
            GetEvent::Hop { peer, result } if hops.len() < MOST => {
                hops.push(hop(begun, &target, peer, result));
            }
            GetEvent::Finished(result) => return (result, hops),
            _ => {}
        }
    }
    (Err(OperationError::Cancelled.into()), hops)
}

fn hop(begun: Instant, target: &Target, peer: PublicKey, result: HopResult) -> HopReport {
    let prefix = target.distance(&peer.id()).common_prefix();
    HopReport::new(ms(begun.elapsed()), peer, prefix, result)
}

/// A request of a read, for drawing: its duration, the peer's distance, and the result.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Span {
    pub(crate) from_ms: f64,
    pub(crate) to_ms: f64,
    pub(crate) prefix: u16,
    pub(crate) state: HopState,
    pub(crate) item: bool,
}

/// Converts steps to requests. A request without an answer lasts until the end of the read.
pub(crate) fn spans(hops: &[HopReport]) -> Vec<Span> {
    let last = hops.last().map_or(0.0, |hop| hop.at_ms);
    let asked = hops.iter().enumerate();
    let asked = asked.filter(|(_, hop)| hop.state == HopState::Asked);
    let span = |(place, hop): (usize, &HopReport)| {
        let mut after = hops[place + 1..].iter();
        let end = after.find(|it| it.peer == hop.peer && it.state != HopState::Asked);
        Span {
            from_ms: hop.at_ms,
            to_ms: end.map_or(last, |end| end.at_ms),
            prefix: hop.prefix,
            state: end.map_or(HopState::Asked, |end| end.state),
            item: end.is_some_and(|end| end.item),
        }
    };
    asked.map(span).collect()
}

/// Draws a read: time against the prefix shared with the target, with a line per request.
pub(crate) fn draw(title: &str, hops: &[HopReport]) -> String {
    const LEFT: f64 = 60.0;
    const PLOT: (f64, f64) = (620.0, 260.0);
    const TOP: f64 = 44.0;
    let spans = spans(hops);
    let longest = spans.iter().map(|span| span.to_ms).fold(0.0, f64::max);
    let longest = if longest > 0.0 { longest } else { 1.0 };
    let nearest = spans.iter().map(|span| span.prefix).max().unwrap_or(0);
    let nearest = f64::from(nearest.max(4));
    let x = |at: f64| LEFT + at / longest * PLOT.0;
    let y = |prefix: u16| TOP + PLOT.1 - f64::from(prefix) / nearest * PLOT.1;
    let about = format!(
        "{} questions over {longest:.1} ms; higher is nearer to the target",
        spans.len()
    );
    let bottom = TOP + PLOT.1;
    let mut svg = Svg::new(LEFT + PLOT.0 + 20.0, bottom + 70.0, title, &about);
    svg.text((12.0, 24.0), Anchor::Start, 14.0, title);
    let grid = Stroke::solid("#ddd", 1.0);
    let step = round_step(longest / 6.0);
    let mut tick = 0.0;
    while tick <= longest * 1.000_001 {
        svg.line((x(tick), TOP), (x(tick), bottom), grid);
        svg.text((x(tick), bottom + 16.0), Anchor::Middle, 12.0, &label(tick));
        tick += step;
    }
    let middle = (LEFT + PLOT.0 / 2.0, bottom + 34.0);
    svg.text(middle, Anchor::Middle, 12.0, "ms since the read began");
    let side = (16.0, TOP + PLOT.1 / 2.0);
    svg.text_upwards(side, Anchor::Middle, 12.0, "bits shared with the target");
    for bits in [0, nearest as u16 / 2, nearest as u16] {
        svg.text((LEFT - 8.0, y(bits)), Anchor::End, 12.0, &bits.to_string());
    }
    for span in &spans {
        // Shapes differ, too, so that the drawing can be read without colours.
        let (kind, colour) = match (span.state, span.item) {
            (HopState::Failed, _) => (2, "#b00020"),
            (HopState::Answered, true) => (3, COLOURS[1]),
            (HopState::Answered, false) => (0, COLOURS[0]),
            (HopState::Asked, _) => (1, "#777"),
        };
        let (from, to) = (
            (x(span.from_ms), y(span.prefix)),
            (x(span.to_ms), y(span.prefix)),
        );
        svg.line(from, to, Stroke::solid(colour, 1.5));
        svg.marker(kind, to, colour);
    }
    let legend =
        "circle: answered · diamond: had the item · triangle: failed · square: not waited for";
    svg.text((LEFT, bottom + 56.0), Anchor::Start, 12.0, legend);
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::snapshot;

    #[test]
    fn a_question_lasts_until_its_answer_and_the_last_as_long_as_the_read() {
        let peer = snapshot().key;
        let other = skydht_core::key::SecretKey::from_bytes(&[9; 32])
            .unwrap()
            .public();
        let answered = HopResult::Answered { new: 3, item: true };
        let hops = [
            HopReport::new(0.0, peer, 2, HopResult::Asked),
            HopReport::new(1.0, other, 5, HopResult::Asked),
            HopReport::new(4.0, peer, 2, answered),
        ];
        let spans = spans(&hops);
        assert_eq!(spans.len(), 2);
        assert_eq!((spans[0].to_ms, spans[0].item), (4.0, true));
        assert_eq!((spans[1].to_ms, spans[1].state), (4.0, HopState::Asked));
        assert!(
            hops[2]
                .to_string()
                .ends_with("2 bits  answered, 3 new, has it")
        );
        let drawn = draw("a read", &hops);
        assert!(
            drawn.starts_with("<svg") && drawn.contains("bits shared"),
            "{drawn}"
        );
        draw("nothing", &[]);
    }
}
